"""Who looks on while a model runs, and makes a trace of what was seen."""

import linecache
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from tinygrad_cv._frames import frames_of_user, place_of
from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._graph import Graph, Node, Observer, backpropagate, observer
from tinygrad_cv._reading import Reading, raw
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.viz import data
from tinygrad_cv.viz.breaking import Breaks
from tinygrad_cv.viz.data import Trace
from tinygrad_cv.viz.linking import Links, note_cuts
from tinygrad_cv.viz.naming import Running
from tinygrad_cv.viz.recalling import recalled
from tinygrad_cv.viz.structure import Calls, add_backward, receivers, recorded_walk, structure
from tinygrad_cv.viz.summarizing import norm, seen
from tinygrad_cv.viz.thumbnails import image_of


class Recorder(Observer):
    """Watches ops run, and remembers what each node gave, received and sent, by its number."""

    def __init__(
        self,
        values: bool,
        gradients: bool,
        lines: bool = True,
        times: bool = True,
        images: bool = False,
    ) -> None:
        self.wants_values, self.wants_gradients = values or images, gradients
        self.wants_lines, self.wants_times, self.wants_images = lines, times, images
        self.values: dict[int, data.Summary] = {}
        self.gradients: dict[int, data.Summary] = {}
        self.shares: dict[tuple[int, int], float] = {}
        self.seconds: dict[int, float] = {}
        self.backward_seconds: dict[int, float] = {}
        self.lines: dict[int, tuple[str, int]] = {}
        self.breaks, self.links = Breaks(), Links()
        self.held: list[Any] = []
        self._running: Running | None = None
        self._elapsed = 0.0
        self._ran: tuple[Any, Sequence[Any]] = (None, ())
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
        arrays = tuple(arrays)
        started = time.perf_counter()
        array = self.run(op, backend, arrays)
        self._elapsed = time.perf_counter() - started
        self._ran = op, arrays
        return array

    def made(self, tensor: Tensor, inputs: tuple[Any, ...]) -> None:
        node = tensor.grad_fn
        if node is None or node.op is None:
            return
        if self.wants_times and node.backend.has_numbers:
            self.seconds[node.number] = self._elapsed
        if self.wants_lines:
            running = self._running
            frame = next(frames_of_user(), None) if running is None else running.look()
            if frame is not None:
                self.lines[node.number] = (frame.f_code.co_filename, frame.f_lineno)
        if not node.requires_grad:
            self._extra.append(weakref.ref(tensor))
        if self.everything:
            self.links.made(node, tensor._array)
        for parent in node.parents():
            self.note_leaf(parent)  # now: it may be gone, or changed, when all is done
        if self.wants_values:
            op, arrays = self._ran
            ran = op is (node.inputs[0].op if node.op.name == "output" else node.op)
            self.note(node, tensor._array, arrays if ran else None)

    def arrived(self, node: Node, gradient: Any) -> None:
        if self.wants_gradients:
            self.gradients[node.number] = seen(node.backend, gradient)

    def backward(
        self, reading: Reading, node: Node, gradient: Any, useful: set[Node] | None
    ) -> list[tuple[Node, Any]]:
        saved = node.saved or ()
        started = time.perf_counter()
        sent = self.sent(reading, node, gradient, useful)
        if self.wants_times and node.backend.has_numbers:
            self.backward_seconds[node.number] = time.perf_counter() - started
        if self.wants_gradients:
            for (port, _), (receiver, share) in zip(receivers(node, useful), sent, strict=True):
                if not receiver.backend.has_numbers:
                    continue
                array = reading.memory(share)
                size = self.shares[node.number, port] = norm(receiver.backend.to_host(array))
                if not size < float("inf"):
                    self.breaks.backward(node, port, receiver, array, gradient, saved, size != size)
        return sent

    @contextmanager
    def watching(self, names: dict[int, str]) -> Iterator[None]:
        """Look on at all that runs in the block; `names` receives what the program calls things."""
        self.everything = True
        token = observer.set(self)
        self._running = Running(names)
        try:
            yield
        finally:
            observer.reset(token)
            self._running.end()
            self._running = None

    def recall(self, outputs: Iterable[Tensor]) -> None:
        """Summarize the values of a graph that were saved, or can be computed again."""
        for node, array, given in recalled(outputs):
            self.note(node, array, given)

    def note(self, node: Node, array: Any, given: Sequence[Any] | None = None) -> None:
        """Summarize the value of a node, an array of its backend, if that was not done yet."""
        if node.number in self.values:
            return
        op = "" if node.op is None else node.op.name
        told = self.values[node.number] = seen(node.backend, array, op)
        if self.wants_images and node.backend.has_numbers:
            told.image = image_of(node.backend.to_host(array), node)
        if not told.finite and node.op is not None:
            self.breaks.forward(node, array, given, told.nan > 0)

    def note_leaf(self, node: Node) -> None:
        """Look at a leaf whose tensor is still there."""
        tensor = node.tensor() if node.op is None and node.tensor is not None else None
        if tensor is not None:
            self.links.read(node, tensor)
            if self.wants_values:
                self.note(node, tensor._array)

    # As a maker of traces.

    def traced(
        self,
        outputs: dict[Tensor, str],
        names: dict[int, str],
        backward: Literal[False, "ops"] = False,
    ) -> Trace:
        """The graph of these tensors, which have names, with all that was seen."""
        for tensor in outputs:
            self.note_output(tensor)
        roots = [tensor.node for tensor in outputs]
        graph = Graph(roots) if backward == "ops" else self.links.graph(roots)
        steps: dict[Node, tuple[Node, list[tuple[Node, Node]]]] = {}
        if self.wants_gradients or backward == "ops":
            ends = {tensor.node: tensor for tensor in outputs if tensor.requires_grad}
            _check_can_flow(ends, graph)
        if self.wants_gradients:
            self._walk(ends)
        if backward == "ops":
            steps = recorded_walk(ends)
        names = names | {tensor.node.number: tensor.name for tensor in outputs if tensor.name}
        told = {tensor.node: name for tensor, name in reversed(outputs.items()) if name}
        traced = self.structure(graph, names)
        traced.output_names = [told.get(n) or traced.nodes[graph.ids[n]].name for n in graph.roots]
        add_backward(traced, graph, steps)
        if self.wants_values or self.wants_gradients:
            traced.steps = [self.step(graph, traced.nodes)]
        return traced

    def note_output(self, tensor: Tensor) -> None:
        """Look at an output that is an input as well."""
        if self.everything and tensor.is_leaf:
            self.note_leaf(tensor.node)

    def forget(self) -> None:
        """Take away the nodes that ops without a gradient have got."""
        for gone in self._extra:
            if (tensor := gone()) is not None:
                tensor._node = None

    def structure(self, graph: Graph, names: dict[int, str], calls: Calls | None = None) -> Trace:
        """A graph as data, with the lines that made it and the times that it took."""
        traced = structure(graph, names, calls)
        for node, told in zip(graph, traced.nodes, strict=True):
            told.seconds = self.seconds.get(node.number)
            told.backward_seconds = self.backward_seconds.get(node.number)
            told.source, told.code = self.line(node)
        self.links.draw(graph, traced)
        note_cuts(traced)
        return traced

    def line(self, node: Node) -> tuple[str, str]:
        """The line of the program that made a node: where it stands, and what stands in it."""
        if node.number not in self.lines:
            return "", ""
        file, line = self.lines[node.number]
        return place_of(file, line), linecache.getline(file, line).strip()

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

    def step(self, graph: Graph, nodes: list[data.Node], number: int = 0) -> data.Step:
        """What was seen of a graph, by the ids of its nodes."""
        step = data.Step(number=number)
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
        step.broken = self.breaks.first(graph, nodes)
        step.broken_gradient = self.breaks.first_gradient(graph, nodes)
        return step


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
