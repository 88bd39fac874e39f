"""Training as it goes: the health of every node, each so many steps."""

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from tinygrad_cv._frames import frames_of_user
from tinygrad_cv._graph import Graph, Node, Observer, observer
from tinygrad_cv._reading import Reading
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.nn import Module
from tinygrad_cv.viz.data import Trace
from tinygrad_cv.viz.drawing import Drawing, draw
from tinygrad_cv.viz.naming import variables
from tinygrad_cv.viz.recorder import Recorder
from tinygrad_cv.viz.structure import Calls, saved_by
from tinygrad_cv.viz.summarizing import norm
from tinygrad_cv.viz.uniting import Union

LIMIT = 200  # recorded steps; a longer training is recorded half as often from there on


class Watch:
    """Records the health of a model while it learns; made by `viz.watch`."""

    def __init__(self, model: Module, every: int = 100) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1 step; got {every}.")
        self.model, self.every = model, every
        self.trace = Trace(title=type(model).__name__)
        """The graph of all steps that were recorded, with what was seen in each."""
        self.steps = 0
        """How many steps began."""
        self._union = Union(self.trace)

    def step(self) -> "_Step":
        """The `with` block of one training step: forward, backward and update."""
        self.steps += 1
        number = self.steps - 1
        return _Step(self, number, recorded=number % self.every == 0)

    def state_dict(self) -> dict[str, Any]:
        """What a run needs to go on: plain values."""
        trace = host.frombuffer(self.trace.to_json().encode(), "uint8")
        return {"steps": self.steps, "every": self.every, "trace": trace}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict`. Raises ValueError for what is none, with nothing changed."""
        trace = Trace.from_json(state_dict["trace"].tobytes().decode())
        self.steps, self.every = state_dict["steps"], state_dict["every"]
        self.trace, self._union = trace, Union(trace)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page or a picture; see `viz.draw`. A page has a slider over the steps.

        Raises RuntimeError if no step was recorded.
        """
        return self.drawing().save(path)

    def drawing(self) -> Drawing:
        """The picture of the last recorded step."""
        if not self.trace.steps:
            raise RuntimeError(
                "nothing was recorded: do each training step, with its backward pass, inside "
                "`with watch.step():`."
            )
        return draw(self.trace, backward=True)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        from tinygrad_cv.viz.notebook import interactive

        if not self.trace.steps:
            return {"text/plain": repr(self)}
        drawing = self.drawing()
        return interactive(drawing, repr(drawing))

    def _keep(self, seen: "_Recorder", number: int, before: dict[str, Any], names: Any) -> None:
        """Add a step to the trace."""
        trace, union = self.trace, self._union
        graph = seen.links.graph(seen.roots())
        calls = Calls(graph, self.model)
        places = union.places(graph, calls, seen)
        if news := union.news():
            told = seen.structure(graph, names, calls)
            for node, each in zip(graph, told.nodes, strict=True):
                each.saved = seen.saved.get(node, each.saved)
            if trace.nodes:
                trace.changed.append(f"the graph changed at step {number}: {news} more")
            union.add(told, places)
        step = seen.step(graph, [trace.nodes[i] for i in union.ids(places)], number)
        for name, parameter in self.model.named_parameters():
            size = norm(before[name]) if name in before else 0.0
            if parameter._node in graph.ids and size:
                after = parameter._backend.to_host(parameter._array)
                with host.errstate(over="ignore", invalid="ignore"):
                    change = norm(after - before[name])
                step.updates[graph.ids[parameter._node]] = change / size
        if not any(step.updates.values()):
            step.updates = {}  # no update was made inside the block
        trace.steps.append(union.step(step, places))
        if len(trace.steps) > LIMIT:
            trace.steps = trace.steps[::2]
            self.every *= 2


def watch(model: Module, every: int = 100) -> Watch:
    """Record the health of every node of a model, each `every` steps of its training.

    Do each step (forward, backward and update) inside `with watch.step():`. Of a recorded step
    every activation and gradient is summarized, and for each parameter ‖update‖ / ‖weight‖, which
    is healthy around 1e-3. The other steps cost nothing; a recorded one takes two to three times
    as long, and with the default the whole under 5 % more.

    After 200 recorded steps every second one is dropped, and `every` doubled.

    `watch.trace` holds one graph with all recorded steps. Where a later step has nodes that were
    not there before, they are added, and `watch.trace.changed` says so.
    `watch.save("training.html")` writes a page with a slider over the steps.

    Raises ValueError if `every` is less than 1.

    Source: the deck "training neural networks" of the course: track the ratio of weight updates to
    weight magnitudes, and the share of dead units.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv import nn, optim, viz
    >>> generator = tg.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> optimizer = optim.SGD(model.parameters(), lr=0.1)
    >>> watch = viz.watch(model, every=2)
    >>> x, labels = tg.randn(8, 2), tg.tensor([0, 1] * 4)
    >>> for _ in range(5):
    ...     with watch.step():
    ...         loss = tg.cross_entropy(model(x), labels)
    ...         optimizer.zero_grad()
    ...         loss.backward()
    ...         optimizer.step()
    >>> [step.number for step in watch.trace.steps]
    [0, 2, 4]
    >>> relu = next(node.id for node in watch.trace.nodes if node.op == "relu")
    >>> [step.values[relu].dead for step in watch.trace.steps]
    [0.0, 0.0, 0.0]
    """
    return Watch(model, every)


class _Recorder(Recorder):
    """Also knows which nodes a backward pass began from, and what was saved until then.

    The observer that was there before looks on, too.
    """

    everything = True

    def __init__(self, before: Observer | None) -> None:
        self.before = before or Observer()
        self.general = self.before.general
        # Without times, the same training gives the same trace.
        super().__init__(values=True, gradients=True, times=False)
        self.reached: dict[int, Node] = {}
        self.received: set[int] = set()
        self.saved: dict[Node, dict[str, int] | None] = {}

    def run(self, op: Any, backend: Any, arrays: Iterable[Any]) -> Any:
        return self.before.forward(op, backend, arrays)

    def made(self, tensor: Tensor, inputs: tuple[Any, ...]) -> None:
        self.before.made(tensor, inputs)
        super().made(tensor, inputs)

    def updated(self, optimizer: Any) -> None:
        self.before.updated(optimizer)

    def sent(
        self, reading: Reading, node: Node, gradient: Any, useful: set[Node] | None
    ) -> list[tuple[Node, Any]]:
        return self.before.backward(reading, node, gradient, useful)

    def arrived(self, node: Node, gradient: Any) -> None:
        self.before.arrived(node, gradient)
        if node.number not in self.received:  # its rules free what was saved
            self.saved = saved_by(Graph([node])) | self.saved
        self.reached.setdefault(node.number, node)
        super().arrived(node, gradient)

    def backward(
        self, reading: Reading, node: Node, gradient: Any, useful: set[Node] | None
    ) -> list[tuple[Node, Any]]:
        sent = super().backward(reading, node, gradient, useful)
        self.received.update(receiver.number for receiver, _ in sent)
        return sent

    def roots(self) -> list[Node]:
        """Those that received a gradient from outside."""
        return [node for number, node in self.reached.items() if number not in self.received]


class _Step:
    """One step of a training loop. Only a recorded one costs anything."""

    def __init__(self, watch: Watch, number: int, recorded: bool) -> None:
        self.watch, self.number, self.recorded = watch, number, recorded

    def __enter__(self) -> None:
        if not self.recorded:
            return
        self.before = {
            name: parameter._backend.to_host(parameter._array).copy()
            for name, parameter in self.watch.model.named_parameters()
            if parameter._backend.has_numbers
        }
        self.seen = _Recorder(observer.get())
        self.names: dict[int, str] = {}
        self.watching = self.seen.watching(self.names)
        self.watching.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self.recorded:
            return
        self.watching.__exit__(None, None, None)
        try:
            if error is None and self.seen.reached:
                names = self.names | variables(next(frames_of_user(), None))
                self.watch._keep(self.seen, self.number, self.before, names)
        finally:
            self.seen.forget()
