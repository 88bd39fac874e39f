"""When something breaks: the graph up to the exception, with the op that raised."""

import inspect
import linecache
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Any

from tinygrad_cv._frames import is_ours, place_of
from tinygrad_cv._graph import Failure as Carried
from tinygrad_cv._graph import Graph, Node
from tinygrad_cv._op import Op, brief
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.viz.data import Failure, Trace
from tinygrad_cv.viz.drawing import Drawing, draw
from tinygrad_cv.viz.letters import input_names
from tinygrad_cv.viz.naming import variables
from tinygrad_cv.viz.structure import Calls, structure

OPS = os.path.join(os.path.dirname(sys.modules[Op.__module__].__file__ or ""), "ops", "")
"""Where the functions lie that check their arguments before an op runs."""


def draw_error(error: BaseException | None = None) -> Drawing:
    """Draw the graph up to an exception: the op that raised, its inputs and their shapes.

    `error` is what was caught, by default the last exception that ended a program or a cell. It
    carries its op, so nothing has to be prepared; the history of the op's inputs is there as far as
    it was recorded (not under `no_grad`). In a backward pass the node is marked whose rule raised.

    Raises ValueError if there is no exception, or none that an op or a function of tensors raised.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv import nn, viz
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.Linear(4, 2))
    >>> try:
    ...     model(tg.ones(5, 4))
    ... except ValueError as error:
    ...     picture = viz.draw_error(error)
    >>> picture.trace.failure.op, [told for _, _, told in picture.trace.failure.inputs]
    ('linear', ['float32 (5, 3)', 'float32 (2, 4)', 'float32 (2,)'])
    """
    if error is None:
        error = sys.exc_info()[1] or getattr(sys, "last_value", None)
    if error is None:
        raise ValueError("there is no exception to draw; pass the one that was caught.")
    return draw(trace_error(error))


def trace_error(error: BaseException) -> Trace:
    """The graph up to an exception as data; see `draw_error`."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    lines = [line for _, line in traceback.walk_tb(error.__traceback__)]
    raised = list(_causes(error))
    carried = next(filter(None, map(_carried, raised)), None)
    found = (None if carried is None else _in_op(carried)) or next(
        filter(None, map(_in_function, raised)), None
    )
    if found is None:
        raise ValueError(
            f"no op and no function of tensors raised this {type(error).__name__}; its traceback "
            "is all there is to see."
        )
    op, inputs, roots, broken = found
    graph = Graph(roots)
    calls = Calls(graph)
    scope = None if carried is None else carried.scope
    home = calls.enter(scope) if broken is None else calls.home(broken)
    names: dict[int, str] = {}
    source, code = "", ""
    for frame, line in zip(frames, lines, strict=True):
        file = frame.f_code.co_filename
        if not is_ours(file):
            names = variables(frame) | names
            source = place_of(file, line)
            code = linecache.getline(file, line).strip()
    traced = structure(graph, names, calls)
    traced.title = f"{type(error).__name__} in {op}"
    traced.failure = Failure(
        op=op,
        message=str(error),
        inputs=[
            (name, graph.ids[node] if node is not None else None, told)
            for name, node, told in inputs
        ],
        module=home,
        source=source,
        code=code,
        during="forward" if broken is None else "backward",
        node=None if broken is None else graph.ids[broken],
    )
    return traced


Found = tuple[str, list[tuple[str, Node | None, str]], list[Node], Node | None]
"""The op's name, its inputs (name, node, what it is), the roots of the graph, the node to mark."""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, what it was raised from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__


def _carried(error: BaseException) -> Carried | None:
    """What the engine knows of an exception."""
    known = vars(error).get("tinygrad_cv")
    return known if isinstance(known, Carried) else None


def _in_op(carried: Carried) -> Found | None:
    """A forward that raised, or a rule; or a value that a rule needs and that is gone."""
    op, node = carried.op, carried.node
    if op is None:
        return None
    told = _told(zip(input_names(op, len(carried.inputs)), carried.inputs, strict=True))
    if node is None:
        return op.name, told, _nodes(told), None
    return op.name, told, list(carried.roots), node


def _in_function(error: BaseException) -> Found | None:
    """A function of tensors that refused its arguments; the one that the program called."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    ours = [frame for frame in frames if frame.f_code.co_filename.startswith(OPS)]
    for frame in ours:
        code = frame.f_code
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        given: dict[str, Any] = {}
        for name in (*names, *_starred(code)):
            value = frame.f_locals.get(name)
            if isinstance(value, list | tuple) and any(isinstance(v, Tensor) for v in value):
                given |= {f"{name}[{i}]": part for i, part in enumerate(value)}
            elif value is not None:
                given[name] = value
        if any(isinstance(value, Tensor) for value in given.values()):
            told = _told(given.items())
            return code.co_name, told, _nodes(told), None
    return None


def _starred(code: CodeType) -> tuple[str, ...]:
    """The name of the parameter that takes any number of arguments, if there is one."""
    first = code.co_argcount + code.co_kwonlyargcount
    return code.co_varnames[first : first + bool(code.co_flags & inspect.CO_VARARGS)]


def _told(values: Iterable[tuple[str, Any]]) -> list[tuple[str, Node | None, str]]:
    """Inputs by name: the node of each, if it has one, and what it is."""
    told: list[tuple[str, Node | None, str]] = []
    for name, value in values:
        node = value.node if isinstance(value, Tensor) else value
        if isinstance(node, Node):
            told.append((name, node, f"{node.dtype} {node.shape}"))
        else:
            told.append((name, None, brief(value)))
    return told


def _nodes(told: list[tuple[str, Node | None, str]]) -> list[Node]:
    return [node for _, node, _ in told if node is not None]
