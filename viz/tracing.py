"""From a live graph, or from a run that is watched, to a `Trace`: plain data.

A graph knows its ops, modules and rules, and what the rules saved. What it does not keep (values,
times, the lines of the user's program) is seen by a `Recorder` that looks on while a model runs.
"""

import copy
import linecache
import math
import os
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Literal

import tinygrad_cv
from tinygrad_cv._grad_mode import enable_grad, no_grad
from tinygrad_cv._graph import Graph, Node, Observer, backpropagate, observer
from tinygrad_cv._reading import Reading, raw
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.backend.base import drawing
from tinygrad_cv.nn import Module
from tinygrad_cv.random import randn
from tinygrad_cv.viz import data
from tinygrad_cv.viz.data import Trace
from tinygrad_cv.viz.structure import add_backward, receivers, recorded_walk, structure

OURS = tuple(
    os.path.join(os.path.dirname(os.path.abspath(path)), "")
    for path in (tinygrad_cv.__file__, __file__)
)
"""Where the package lies; a line of the user's program lies elsewhere."""


def trace(
    target: Any,
    *inputs: Any,
    values: bool = False,
    gradients: bool = False,
    backward: Literal[False, "ops"] = False,
    title: str = "",
) -> Trace:
    """The graph of tensors, of a model or of a function as plain data.

    `target` is a tensor or several, whose graph is read as it stands; or a module or a function,
    which is called with `inputs` once and watched. An input may be a shape, such as (1, 3, 32, 32),
    for random numbers of that shape. Watched, every op is seen (those that need no gradient too)
    with the line of the program that made it, its time and the names of the variables; afterwards
    the model's buffers and the random generators are as they were.

    `values` adds a summary of what each node gave. Of a graph that was not watched only what its
    rules saved is there. `gradients` runs the backward pass, from ones, and adds a summary of each
    gradient; neither `.grad` nor the graph is changed. `backward="ops"` adds the ops that the
    backward pass consists of.

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
    """
    recorder = Recorder(values=values, gradients=gradients)
    caller = user_frame()
    names = {} if caller is None else variables(caller)
    try:
        outputs = _outputs(target, inputs, recorder, names)
        traced = recorder.traced(outputs, names, backward)
    finally:
        recorder.forget()
    traced.title = title or (type(target).__name__ if isinstance(target, Module) else "")
    return traced


def _outputs(
    target: Any, inputs: tuple[Any, ...], recorder: "Recorder", names: dict[int, str]
) -> list[Tensor]:
    """The tensors that were given, or that the watched call returned."""
    if isinstance(target, Tensor) or not callable(target):
        if inputs:
            raise TypeError("inputs are for a module or a function; a tensor has its graph.")
        outputs = list(tensors_in(target))
        if recorder.wants_values:
            recorder.recall(outputs)
    else:
        parameter = next(target.parameters(), None) if isinstance(target, Module) else None
        device = None if parameter is None else parameter.device
        # What is made here lives until all is read: no op keeps it for the backward pass alone.
        arguments = recorder.held = [_argument(value, i, device) for i, value in enumerate(inputs)]
        with recorder.watching(names), untouched(target), enable_grad():
            outputs = list(tensors_in(target(*arguments)))
    if not outputs:
        given = type(target).__name__
        raise TypeError(f"a graph belongs to tensors; there is none in the {given} given.")
    return outputs


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in nested lists, tuples and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_in(part)


def _argument(value: Any, i: int, device: str | None) -> Any:
    """An argument of the traced call; random numbers for a shape, the same in every run."""
    if isinstance(value, tuple) and value and all(isinstance(length, int) for length in value):
        return randn(*value, generator=host.random.default_rng(i), device=device)
    return value


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


# ----- what the user's program calls things ------------------------------------------------------


def user_frame() -> FrameType | None:
    """The innermost frame that runs a line of the user's program."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(OURS):
        frame = frame.f_back
    return frame


def variables(frame: FrameType, ended: bool = False) -> dict[int, str]:
    """The names of a frame's variables that hold tensors, by the number of the tensor's node.

    A list or dict of tensors names its elements: "hs[3]". In a function that `ended`, what it was
    called with names leaves only: its caller has the better name for what it computed itself.
    """
    found: list[tuple[str, Any]] = []
    inside: list[tuple[str, Any]] = []
    given = frame.f_code.co_varnames[: frame.f_code.co_argcount] if ended else ()
    for name, value in frame.f_locals.items():
        if name.startswith("_") or not name.isidentifier():
            continue
        if isinstance(value, Tensor):
            node = value._node
            if node is not None and (node.op is None or name not in given):
                found.append((name, value))
        elif isinstance(value, list):
            inside += ((f"{name}[{i}]", part) for i, part in enumerate(value))
        elif isinstance(value, dict):
            inside += ((f"{name}[{key!r}]", part) for key, part in value.items())
    names: dict[int, str] = {}
    for called, part in found + inside:  # a variable of its own is the better name
        if isinstance(part, Tensor) and part._node is not None:
            names.setdefault(part._node.number, called)
    return names


# ----- seeing -----------------------------------------------------------------------------------


BINS = 16
SAMPLE = 65_536
"""A histogram of more elements than this is of so many of them, evenly spread."""


def summarize(values: Any, op: str = "") -> data.Summary:
    """What is in an array (in host memory), in a few numbers; `op` is what made it."""
    values = host.asarray(values)
    told = data.Summary(count=values.size)
    if not values.size or values.dtype.kind not in "fiub":
        return told
    flat = values.ravel(order="K")  # as it lies in memory: no copy
    told.zeros = 1 - int(host.count_nonzero(flat)) / flat.size
    if flat.dtype.kind != "f" or flat.dtype.itemsize < 4:
        flat = flat.astype("float32" if flat.dtype.kind == "f" else "float64")
    with host.errstate(over="ignore", invalid="ignore"):
        squares, unit = float(host.dot(flat, flat)), 1.0
    if not math.isfinite(squares):  # something is not finite, or the sum overflows
        finite = host.isfinite(flat)
        told.nan = int(host.count_nonzero(host.isnan(flat)))
        told.inf = int(flat.size - host.count_nonzero(finite)) - told.nan
        flat = flat[finite].astype("float64")
        if not flat.size:
            return told
        unit = float(abs(flat).max()) or 1.0
        flat /= unit
        squares = float(host.dot(flat, flat))
    least, most, mean = float(flat.min()), float(flat.max()), float(flat.mean())
    variance = squares / flat.size - mean * mean
    if variance < 0.01 * mean * mean:  # the difference cancels: look again
        variance = float(flat.var())
    told.min, told.max, told.mean = least * unit, most * unit, mean * unit
    told.std = math.sqrt(variance) * unit
    told.norm = min(math.sqrt(squares) * unit, sys.float_info.max)
    told.histogram = _histogram(flat[:: max(1, flat.size // SAMPLE)], least, most)
    if op in ("relu", "relu6"):
        # A unit is a column of (N, F), a channel of (N, C, ...).
        axes = tuple(axis for axis in range(values.ndim) if axis != 1 or values.ndim == 1)
        told.dead = float((values.max(axis=axes) <= 0).mean()) if values.ndim > 1 else told.zeros
    elif op in RANGES:
        low, high = RANGES[op]
        margin = (high - low) / 100
        near = (values < low + margin) | (values > high - margin)
        told.saturated = float(near.mean())
    return told


def _histogram(sample: Any, least: float, most: float) -> list[int]:
    """Counts in equal bins from the least to the most; all in the middle if there is one value."""
    scale = BINS / (most - least) if most > least else 0.0
    if not 0 < scale < math.inf:
        return [len(sample) if i == BINS // 2 else 0 for i in range(BINS)]
    # In double precision: of numbers around 1e-45 the scale has no place in another.
    bins = host.minimum((sample.astype("float64") - least) * scale, BINS - 1).astype("int64")
    counts: list[int] = host.bincount(bins, minlength=BINS).tolist()
    return counts


RANGES = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}


class Recorder(Observer):
    """Watches ops run, and remembers what each node gave, received and sent, by its number."""

    def __init__(
        self, values: bool, gradients: bool, lines: bool = True, times: bool = True
    ) -> None:
        self.wants_values, self.wants_gradients = values, gradients
        self.wants_lines, self.wants_times = lines, times
        self.values: dict[int, data.Summary] = {}
        self.gradients: dict[int, data.Summary] = {}
        self.shares: dict[tuple[int, int], float] = {}
        self.seconds: dict[int, float] = {}
        self.backward_seconds: dict[int, float] = {}
        self.lines: dict[int, tuple[str, int]] = {}
        self._elapsed = 0.0
        self.held: list[Any] = []
        # Tensors that have a node for this observer alone.
        self._extra: list[weakref.ref[Tensor]] = []

    # As an observer of the engine.

    def run(self, op: Any, backend: Any, arrays: Iterable[Any]) -> Any:
        """The forward of an op, with nothing beside it."""
        return op.run(backend, *arrays)

    def sent(
        self, reading: Reading, node: Node, gradient: Any, useful: set[Node] | None
    ) -> list[tuple[Node, Any]]:
        """The rules of a node, with nothing beside them."""
        return reading.gradients(node, gradient, useful)

    def forward(self, op: Any, backend: Any, arrays: Iterable[Any]) -> Any:
        started = time.perf_counter()
        array = self.run(op, backend, arrays)
        self._elapsed = time.perf_counter() - started
        return array

    def made(self, tensor: Tensor, inputs: tuple[Any, ...]) -> None:
        node = tensor.grad_fn
        if node is None:
            return
        if self.wants_times:
            self.seconds[node.number] = self._elapsed
        if self.wants_lines and (frame := user_frame()) is not None:
            self.lines[node.number] = (frame.f_code.co_filename, frame.f_lineno)
        if not node.requires_grad:
            self._extra.append(weakref.ref(tensor))
        if self.wants_values:
            self.note(node, tensor._array)
            for parent in node.parents():
                self.note_leaf(parent)  # now: it may be gone, or changed, when all is done

    def arrived(self, node: Node, gradient: Any) -> None:
        if self.wants_gradients:
            self.gradients[node.number] = summarize(node.backend.to_host(gradient))

    def backward(
        self, reading: Reading, node: Node, gradient: Any, useful: set[Node] | None
    ) -> list[tuple[Node, Any]]:
        started = time.perf_counter()
        sent = self.sent(reading, node, gradient, useful)
        if self.wants_times:
            self.backward_seconds[node.number] = time.perf_counter() - started
        if self.wants_gradients:
            for (port, _), (receiver, share) in zip(receivers(node, useful), sent, strict=True):
                array = receiver.backend.to_host(reading.memory(share))
                self.shares[node.number, port] = norm(array)
        return sent

    @contextmanager
    def watching(self, names: dict[int, str]) -> Iterator[None]:
        """Look on at all that runs in the block; `names` receives what the program calls things."""
        self.everything = True
        token, before = observer.set(self), sys.getprofile()

        def returned(frame: FrameType, event: str, argument: Any) -> None:
            if event == "return" and not frame.f_code.co_filename.startswith(OURS):
                for number, name in variables(frame, ended=True).items():
                    names.setdefault(number, name)

        sys.setprofile(returned)
        try:
            yield
        finally:
            sys.setprofile(before)
            observer.reset(token)

    def recall(self, outputs: Iterable[Tensor]) -> None:
        """Summarize the values of a graph that its rules saved, and that have not changed."""
        for tensor in outputs:
            self.note(tensor.node, tensor._array)
        for node in Graph([tensor.node for tensor in outputs]):
            if node.saved is None or node.plan is None:
                continue
            if any(counter[0] != version for _, counter, version in node.guards):
                continue
            for value, where in zip(node.saved, node.plan.saves, strict=True):
                if where == "y":
                    self.note(node, value)
                elif isinstance(where, int):
                    self.note(node.inputs[where], value)
                elif isinstance(where, slice):
                    for source, part in zip(node.inputs[where], value, strict=True):
                        self.note(source, part)

    def note(self, node: Any, array: Any) -> None:
        """Summarize the value of a node, an array of its backend, if that was not done yet."""
        if isinstance(node, Node) and node.number not in self.values:
            op = "" if node.op is None else node.op.name
            self.values[node.number] = summarize(node.backend.to_host(array), op)

    def note_leaf(self, node: Node) -> None:
        """Summarize the value of a leaf whose tensor is still there."""
        tensor = node.tensor() if node.op is None and node.tensor is not None else None
        if tensor is not None:
            self.note(node, tensor._array)

    # As a maker of traces.

    def traced(
        self, outputs: Sequence[Tensor], names: dict[int, str], backward: Literal[False, "ops"]
    ) -> Trace:
        """The graph of these tensors with all that was seen."""
        graph = Graph([tensor.node for tensor in outputs])
        steps: dict[Node, tuple[Node, list[tuple[Node, Node]]]] = {}
        if self.wants_gradients or backward == "ops":
            roots = {tensor.node: tensor for tensor in outputs if tensor.requires_grad}
            _check_can_flow(roots, graph)
        if self.wants_gradients:
            self._walk(roots)
        if backward == "ops":
            steps = recorded_walk(roots)
        called = {tensor.node.number: tensor.name for tensor in outputs if tensor.name}
        traced = self.structure(graph, names | called)
        add_backward(traced, graph, steps)
        if self.wants_values or self.wants_gradients:
            traced.steps = [self.step(graph)]
        return traced

    def forget(self) -> None:
        """Take away the nodes that ops without a gradient have got."""
        for gone in self._extra:
            if (tensor := gone()) is not None:
                tensor._node = None

    def structure(self, graph: Graph, names: dict[int, str]) -> Trace:
        """A graph as data, with the lines that made it and the times that it took."""
        traced = structure(graph, names)
        for node, told in zip(graph, traced.nodes, strict=True):
            told.seconds = self.seconds.get(node.number)
            told.backward_seconds = self.backward_seconds.get(node.number)
            if node.number in self.lines:
                file, line = self.lines[node.number]
                told.source = f"{os.path.basename(file)}:{line}"
                told.code = linecache.getline(file, line).strip()
        return traced

    def _walk(self, roots: dict[Node, Tensor]) -> None:
        """Run the backward pass once, from ones, and look on."""
        seeds = {
            node: tensor._backend.ones(tensor.shape, tensor.dtype) for node, tensor in roots.items()
        }
        reading = raw(next(iter(roots.values()))._backend)
        token = observer.set(self)
        try:
            with no_grad():
                for _ in backpropagate(seeds, reading, keep=True):
                    pass
        finally:
            observer.reset(token)

    def step(self, graph: Graph, number: int = 0) -> data.Step:
        """What was seen of a graph, by the ids of its nodes."""
        step = data.Step(number=number)
        if self.wants_values:
            for node in graph:
                self.note_leaf(node)
        for node, i in graph.ids.items():
            if node.number in self.values:
                step.values[i] = self.values[node.number]
            if node.number in self.gradients:
                step.gradients[i] = self.gradients[node.number]
            for port in range(len(node.inputs)):
                if (node.number, port) in self.shares:
                    step.shares[f"{i}:{port}"] = self.shares[node.number, port]
        root = step.values.get(graph.ids[graph.roots[0]])
        if root is not None and root.count == 1 and len(graph.roots) == 1:
            step.loss = root.mean if root.finite else float("nan")
        return step


def norm(array: Any) -> float:
    """‖x‖, as `summarize` has it, but NaN or infinite where x is."""
    values = host.asarray(array).reshape(-1)
    with host.errstate(over="ignore", invalid="ignore"):
        return float(
            host.linalg.norm(values.astype("float32") if values.dtype.itemsize < 4 else values)
        )


def _check_can_flow(roots: dict[Node, Tensor], graph: Graph) -> None:
    if not roots:
        raise RuntimeError(
            "there is no backward pass to trace: none of the tensors requires a gradient. Nothing "
            "they were computed from has requires_grad=True, or they were made under no_grad() or "
            "detached."
        )
    freed = next((node for node in graph if node.saved is None), None)
    if freed is not None:
        raise RuntimeError(
            f"the backward pass cannot be traced: what {freed.label} of shape {freed.shape} saved "
            "for it was freed by backward(). Trace before that, or call "
            "backward(retain_graph=True)."
        )
