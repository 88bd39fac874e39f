"""From a live graph, or from a call that is watched, to a `Trace`: plain data.

A graph knows its ops, modules and rules, and what the rules saved. What it does not keep (values,
times, the lines of the user's program) is seen by a `Recorder` that looks on while a model runs.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from inspect import Parameter, signature
from typing import Any, Literal

from tinygrad_cv._frames import frames_of_user
from tinygrad_cv._grad_mode import enable_grad, no_grad
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.backend.base import drawing
from tinygrad_cv.nn import Module
from tinygrad_cv.random import randn
from tinygrad_cv.viz.data import Trace
from tinygrad_cv.viz.naming import variables
from tinygrad_cv.viz.recorder import Recorder
from tinygrad_cv.viz.structure import LIBRARY


def trace(
    target: Any,
    *inputs: Any,
    values: bool = False,
    gradients: bool = False,
    backward: Literal[False, "ops"] = False,
    images: bool = False,
    title: str = "",
    **named: Any,
) -> Trace:
    """The graph of tensors, of a model or of a function as plain data.

    `target` is a tensor or several, whose graph is read as it stands; or a module or a function,
    which is called with `inputs` and those that are `named` once and watched. An input may be a
    shape, such as (1, 3, 32, 32), for random numbers of that shape, and hold tensors and shapes in
    lists, tuples and dicts; the model may return such, and dataclasses. Watched, every op is seen
    (those that need no gradient too) with the line of the program that made it, its time and the
    names of the variables; afterwards the model's buffers and the random generators are as they
    were.

    `values` adds a summary of what each node gave. Of a graph that was not watched that is what its
    rules saved, and what can be computed again: not where an op drew random numbers, nor where
    memory was written to since. `gradients` runs the backward pass, from ones, and adds a summary
    of each gradient; neither `.grad` nor the graph is changed. `backward="ops"` adds the ops that
    the backward pass consists of. `images` adds to the values small pictures of images, of what
    convolutions give for the first sample, and of their filters.

    Raises TypeError if there is no tensor in what was given or returned, RuntimeError if gradients
    are asked for where none can flow, or where the values that they need were freed.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv import nn, viz
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> seen = viz.trace((x * x).sum(), values=True, gradients=True)
    >>> [(node.op, node.name, node.shape) for node in seen.nodes]
    [('parameter', 'x', [2]), ('mul', '', [2]), ('sum', '', [])]
    >>> round(seen.steps[0].gradients[0].norm, 3)
    4.472
    >>> viz.Trace.from_json(seen.to_json()) == seen
    True
    >>> [node.op for node in viz.trace(nn.Linear(3, 2), (4, 3)).nodes if node.kind == "op"]
    ['linear']
    >>> def model(image, scale):
    ...     return {"scores": image * scale["by"]}
    >>> seen = viz.trace(model, (2, 3), scale={"by": (1,)})
    >>> [node.name for node in seen.nodes if node.kind == "input"], seen.output_names
    (['image', "scale['by']"], ['scores'])
    """
    recorder = Recorder(values=values, gradients=gradients, images=images)
    names = variables(next(frames_of_user(), None))
    try:
        outputs = _outputs(target, inputs, named, recorder, names)
        traced = recorder.traced(outputs, names, backward)
    finally:
        recorder.forget()
    traced.title = title or (type(target).__name__ if isinstance(target, Module) else "")
    return traced


def _outputs(
    target: Any,
    inputs: tuple[Any, ...],
    named: dict[str, Any],
    recorder: Recorder,
    names: dict[int, str],
) -> dict[Tensor, str]:
    """The tensors that were given, or that the watched call returned, and what they are called."""
    if isinstance(target, Tensor) or not callable(target):
        if inputs or named:
            given = f" (got {', '.join(named)})" if named else ""
            raise TypeError(
                f"inputs are for a module or a function; a tensor has its graph{given}."
            )
        outputs = {tensor: "" for tensor, _ in tensors_in(target)}
        if recorder.wants_values:
            recorder.recall(outputs)
    else:
        parameter = next(target.parameters(), None) if isinstance(target, Module) else None
        made = _Inputs(None if parameter is None else parameter.device)
        arguments, options = map(made.read, ([*inputs], named))
        # What is made here lives until all is read: no op keeps it for the backward pass alone.
        recorder.held = [arguments, options]
        with recorder.watching(names), untouched(target), enable_grad():
            outputs = {}
            for tensor, name in tensors_in(target(*arguments, **options)):
                outputs.setdefault(tensor, name)
        for tensor, name in _called(target, arguments, options).items():
            if name in named or "[" in name:
                names[tensor.node.number] = name
            elif not type(target).__module__.startswith(LIBRARY):  # which says "input" or "x"
                names.setdefault(tensor.node.number, name)
    if not outputs:
        given = type(target).__name__
        raise TypeError(f"a graph belongs to tensors; there is none in the {given} given.")
    return outputs


def tensors_in(value: Any, name: str = "") -> Iterator[tuple[Tensor, str]]:
    """The tensors in nested lists, tuples, dicts and dataclasses, and where each stands.

    >>> from tinygrad_cv import tensor
    >>> [name for _, name in tensors_in({"boxes": [tensor(1)], "scores": tensor(2)})]
    ['boxes[0]', 'scores']
    """
    if isinstance(value, Tensor):
        yield value, name
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from tensors_in(part, f"{name}[{key!r}]" if name else str(key))
    elif isinstance(value, list | tuple):
        own = getattr(value, "_fields", None)
        for i, part in enumerate(value):
            yield from tensors_in(part, _field(name, own[i]) if own else f"{name}[{i}]")
    elif is_dataclass(value) and not isinstance(value, type):
        for each in fields(value):
            yield from tensors_in(getattr(value, each.name), _field(name, each.name))


def _field(name: str, field: str) -> str:
    return f"{name}.{field}" if name else field


class _Inputs:
    """Makes the inputs of a traced call: random numbers for a shape, the same in every run."""

    def __init__(self, device: str | None) -> None:
        self.device, self.count = device, 0

    def read(self, value: Any) -> Any:
        """An input with tensors where shapes stand."""
        if isinstance(value, list | dict):
            new = copy.copy(value)
            for key, part in value.items() if isinstance(value, dict) else enumerate(value):
                new[key] = self.read(part)
            return new
        if isinstance(value, tuple) and not _is_shape(value):
            parts = [self.read(part) for part in value]
            return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
        rng = host.random.default_rng(self.count)
        self.count += 1
        return randn(*value, generator=rng, device=self.device) if _is_shape(value) else value


def _is_shape(value: Any) -> bool:
    return type(value) is tuple and value != () and all(type(length) is int for length in value)


def _called(target: Any, inputs: list[Any], named: dict[str, Any]) -> dict[Tensor, str]:
    """What the inputs are called: parameters of the function, and keys: "batch['image']"."""
    try:
        bound = signature(target.forward if isinstance(target, Module) else target)
        given = bound.bind(*inputs, **named)
    except (TypeError, ValueError):  # nothing is known of what is not written in Python
        return {}
    parameters: dict[str, Any] = {}
    for name, value in given.arguments.items():
        rest = bound.parameters[name].kind is Parameter.VAR_KEYWORD
        parameters |= value if rest else {name: value}
    return {
        tensor: called
        for name, value in parameters.items()
        for tensor, called in tensors_in(value, name)
    }


@contextmanager
def untouched(target: Any) -> Iterator[None]:
    """Leave the buffers of a module as they were, and draw from copies of the generators."""
    buffers = list(target.named_buffers()) if isinstance(target, Module) else []
    before = [(tensor, tensor.detach().clone()) for _, tensor in buffers]
    copies: dict[Any, Any] = {}

    def draw(generator: Any, law: Callable[[Any], Any]) -> Any:
        if generator not in copies:
            copies[generator] = copy.deepcopy(generator)
        return law(copies[generator])

    token = drawing.set(draw)
    try:
        yield
    finally:
        drawing.reset(token)
        with no_grad():
            for tensor, values in before:
                tensor.copy_(values)
