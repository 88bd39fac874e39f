"""When something breaks: the graph up to the exception, with the op that raised."""

import inspect
import linecache
import os
import sys
import traceback
from types import CodeType, FrameType
from typing import Any

from tinygrad_cv._apply import apply
from tinygrad_cv._graph import Graph, Node, Scope, backpropagate
from tinygrad_cv._op import Op, brief
from tinygrad_cv._reading import Reading
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn import Module
from tinygrad_cv.viz.data import Failure, Trace
from tinygrad_cv.viz.drawing import Drawing, draw
from tinygrad_cv.viz.structure import Calls, input_names, structure
from tinygrad_cv.viz.tracing import OURS, variables

OPS = os.path.join(os.path.dirname(sys.modules[Op.__module__].__file__ or ""), "ops", "")
"""Where the functions lie that check their arguments before an op runs."""


def draw_error(error: BaseException | None = None) -> Drawing:
    """Draw the graph up to an exception: the op that raised, its inputs and their shapes.

    `error` is what was caught, by default the last exception that ended a program or a cell. The
    op is found in the traceback, so nothing has to be prepared; its inputs' history is there as
    far as it was recorded (not under `no_grad`). In a backward pass the node is marked whose rule
    raised.

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
    found = _in_backward(frames) or _in_op(frames) or _in_function(frames)
    if found is None:
        raise ValueError(
            f"no op and no function of tensors raised this {type(error).__name__}; its traceback "
            "is all there is to see."
        )
    op, inputs, roots, broken = found
    graph = Graph(roots)
    calls = Calls(graph)
    home = calls.enter(_scope(frames)) if broken is None else calls.home(broken)
    names: dict[int, str] = {}
    source, code = "", ""
    for frame, line in zip(frames, lines, strict=True):
        file = frame.f_code.co_filename
        if not file.startswith(OURS):
            names = variables(frame) | names
            source = f"{os.path.basename(file)}:{line}"
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


def _in_backward(frames: list[FrameType]) -> Found | None:
    """A rule that raised, or a value that it needs and that is gone."""
    for frame in reversed(frames):
        if frame.f_code is Reading.gradients.__code__:
            node: Node = frame.f_locals["node"]
            assert node.op is not None
            walks = (f for f in frames if f.f_code is backpropagate.__code__)
            roots = [root for walk in walks for root in walk.f_locals["seeds"]]
            names = input_names(node.op, len(node.inputs))
            inputs = [_input(name, value) for name, value in zip(names, node.inputs, strict=True)]
            return node.label, inputs, roots or [node], node
    return None


def _in_op(frames: list[FrameType]) -> Found | None:
    """A forward that raised."""
    for frame in reversed(frames):
        if frame.f_code is apply.__code__:
            op, values = frame.f_locals["op"], frame.f_locals["inputs"]
            return _call(op.name, zip(input_names(op, len(values)), values, strict=True))
    return None


def _in_function(frames: list[FrameType]) -> Found | None:
    """A function of tensors that refused its arguments; the one that the program called."""
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
            return _call(code.co_name, given.items())
    return None


def _starred(code: CodeType) -> tuple[str, ...]:
    """The name of the parameter that takes any number of arguments, if there is one."""
    first = code.co_argcount + code.co_kwonlyargcount
    return code.co_varnames[first : first + bool(code.co_flags & inspect.CO_VARARGS)]


def _call(op: str, inputs: Any) -> Found:
    told = [_input(name, value) for name, value in inputs]
    return op, told, [node for _, node, _ in told if node is not None], None


def _input(name: str, value: Any) -> tuple[str, Node | None, str]:
    if isinstance(value, Tensor):
        value = value.node
    if isinstance(value, Node):
        return name, value, f"{value.dtype} {value.shape}"
    return name, None, brief(value)


def _scope(frames: list[FrameType]) -> Scope | None:
    """The innermost call of a module that was running."""
    calls = [frame for frame in frames if frame.f_code is Module.__call__.__code__]
    return calls[-1].f_locals.get("here") if calls else None
