"""The graph: what was computed from what, and the walk back through it.

A `Node` is one application of an op. It knows the nodes of its inputs and what its rules asked
to keep, but not the tensor it made: tensors point at nodes and never the other way, so a graph
has no reference cycles and its memory goes the moment the loss goes.
"""

import itertools
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from functools import wraps
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tinygrad_cv._public import TOP, public
from tinygrad_cv.backend.locks import Locked

if TYPE_CHECKING:
    from tinygrad_cv._op import Op, Plan
    from tinygrad_cv._reading import Reading


Called = TypeVar("Called", bound=Callable[..., Any])

numbers = itertools.count(step=1 << 20)
"""Numbers nodes, and moments between them: what is made later has a higher number.

They leave room for the views of what changes in place (see `Family`).
"""

_naming = Locked()


class Scope:
    """One running call of a module, and the call around it: where a node was made.

    It does not own the module, which may own tensors that own nodes.
    """

    __slots__ = ("module", "outer", "type")

    def __init__(self, module: Any, outer: "Scope | None") -> None:
        self.module = weakref.ref(module)
        self.type = type(module)
        self.outer = outer


scope: ContextVar[Scope | None] = ContextVar("scope", default=None)
"""The innermost call of a module that is running in this thread (or task)."""


class Failure:
    """What an exception that passed through the engine carries, as `error.tinygrad_cv`.

    The `op` whose forward or rule raised, and its `inputs` (tensors in a forward, nodes in a
    backward pass); None and () where neither did, but a module. The `node` whose rules were run,
    and the `roots` of the walks that got there, in a backward pass. The `scope`, the innermost call
    of a module that was running. It lives as long as the exception, and is not pickled with it.
    """

    def __init__(self, op: "Op | None", inputs: tuple[Any, ...]) -> None:
        self.op, self.inputs = op, inputs
        self.node: Node | None = None
        self.roots: tuple[Node, ...] = ()
        self.scope = scope.get()

    def __reduce__(self) -> Any:
        return type(None), ()  # to another process goes what the exception says, not its graph


def failed(
    error: BaseException,
    op: "Op | None" = None,
    inputs: tuple[Any, ...] = (),
    node: "Node | None" = None,
    roots: Iterable["Node"] = (),
) -> None:
    """Let an exception carry where it comes from. The innermost op, node and call stay."""
    with suppress(Exception):  # its class may allow no attributes; what it says goes first
        known = getattr(error, "tinygrad_cv", None)
        if not isinstance(known, Failure):
            known = error.tinygrad_cv = Failure(op, inputs)  # type: ignore[attr-defined]
        if node is not None:
            if known.node is None:
                known.op, known.inputs, known.node = op, inputs, node
            known.roots += tuple(roots)


class Observer:
    """Looks on while ops run, forward and backward. Set it in `observer`; it may change nothing.

    With `everything` the ops that need no gradient get a node as well.
    """

    everything = False
    general = False
    """Whether what runs is to be right for any input: no op is chosen by the numbers at hand."""

    def forward(self, op: "Op", backend: Any, arrays: Iterable[Any]) -> Any:
        """Run the forward of an op."""
        return op.run(backend, *arrays)

    def made(self, tensor: Any, inputs: tuple[Any, ...]) -> None:
        """An op made this tensor of these inputs; it has a node if it was recorded.

        A recorded change in place makes it of itself.
        """

    def changing(self, tensor: Any, value: Any) -> None:
        """The memory of this tensor, which is no view, is about to get this value in some part.

        It is a change that is recorded; the value may be a number.
        """

    def copied(self, array: Any, source: Any) -> None:
        """This array, which an op is about to get as an attribute, is a copy of a tensor or of
        another array."""

    def leaving(self, values: Any) -> None:
        """The values of a tensor, or of an array in an index, are about to be known to Python."""

    def composed(
        self, function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        """Run a function that is `in_one`."""
        return function(*args, **options)

    def arrived(self, node: "Node", gradient: Any) -> None:
        """The gradient of a node (an array) is complete."""

    def backward(
        self, reading: "Reading", node: "Node", gradient: Any, useful: "set[Node] | None"
    ) -> "list[tuple[Node, Any]]":
        """Run the rules of a node."""
        return reading.gradients(node, gradient, useful)

    def updated(self, optimizer: Any) -> None:
        """An optimizer made a step."""


class Beside(Observer):
    """Looks on beside the observer that was there before, which goes on seeing everything."""

    def __init__(self, before: Observer | None) -> None:
        self.before = before or Observer()
        self.everything, self.general = self.before.everything, self.before.general

    def forward(self, op: "Op", backend: Any, arrays: Iterable[Any]) -> Any:
        return self.before.forward(op, backend, arrays)

    def made(self, tensor: Any, inputs: tuple[Any, ...]) -> None:
        self.before.made(tensor, inputs)

    def changing(self, tensor: Any, value: Any) -> None:
        self.before.changing(tensor, value)

    def copied(self, array: Any, source: Any) -> None:
        self.before.copied(array, source)

    def leaving(self, values: Any) -> None:
        self.before.leaving(values)

    def composed(
        self, function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        return self.before.composed(function, args, options)

    def arrived(self, node: "Node", gradient: Any) -> None:
        self.before.arrived(node, gradient)

    def backward(
        self, reading: "Reading", node: "Node", gradient: Any, useful: "set[Node] | None"
    ) -> "list[tuple[Node, Any]]":
        return self.before.backward(reading, node, gradient, useful)

    def updated(self, optimizer: Any) -> None:
        self.before.updated(optimizer)


observer: ContextVar[Observer | None] = ContextVar("observer", default=None)
"""Who looks on in this thread (or task)."""


def is_general() -> bool:
    """Whether what runs now is to be right for any input (see `Observer.general`)."""
    eye = observer.get()
    return eye is not None and eye.general


def in_one(function: Called) -> Called:
    """A function made of several ops, of which an observer hears as one."""

    @wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        eye = observer.get()
        return function(*args, **options) if eye is None else eye.composed(function, args, options)

    return cast(Called, call)


class Handle:
    """What registering a hook returns: `remove()`, or the end of a `with`, takes the hook away."""

    def __init__(self, hooks: dict[int, Callable[..., Any]], hook: Callable[..., Any]) -> None:
        self.hooks, self.id = hooks, next(numbers)
        hooks[self.id] = hook

    def remove(self) -> None:
        """Take the hook away; once more does nothing."""
        self.hooks.pop(self.id, None)

    def __enter__(self) -> "Handle":
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


Guard = tuple[str, list[int], int]
"""A saved tensor: its name, its counter of in-place changes, and the count when it was saved.

A counter belongs to memory. It holds how often that was changed, and two of `numbers`: of the last
change, and of the last one that no node stands for. Nodes with lower ones were made before.
"""


@public(TOP)
class Node:
    """One application of `op`, or a leaf (a parameter, an input, a constant) when `op` is None.

    `inputs` holds the node of each tensor input and the plain value of every other one.
    `saved` holds just what the rules of the inputs that need a gradient ask for.
    """

    __slots__ = (
        "__weakref__",
        "backend",
        "counter",
        "dtype",
        "guards",
        "hooks",
        "inputs",
        "number",
        "op",
        "plan",
        "requires_grad",
        "saved",
        "scope",
        "shape",
        "tensor",
        "title",
    )

    def __init__(
        self,
        op: "Op | None",
        inputs: tuple[Any, ...],
        shape: tuple[int, ...],
        dtype: Any,
        backend: Any,
        requires_grad: bool,
        plan: "Plan | None" = None,
    ) -> None:
        self.number = next(numbers)
        self.title: str | None = None
        self.op = op
        self.inputs = inputs
        self.shape = shape
        self.dtype = dtype
        self.backend = backend
        self.requires_grad = requires_grad
        self.plan = plan
        self.scope = None if op is None else scope.get()
        self.saved: tuple[Any, ...] | None = ()
        # That of the memory of the value, if it is known.
        self.counter: list[int] | None = None
        # What was saved must still hold the same value when a rule reads it.
        self.guards: tuple[Guard, ...] = ()
        # What changes its gradient when that is complete (see Tensor.register_hook).
        self.hooks: dict[int, Callable[..., Any]] | None = None
        # A leaf, and a tensor that called retain_grad(), can be found to receive a gradient.
        self.tensor: weakref.ref[Any] | None = None

    @classmethod
    def leaf(cls, tensor: Any) -> "Node":
        """The node of a tensor that no op made; the same one for every thread that asks."""
        with _naming.lock:
            node: Node | None = tensor._node
            if node is None:
                node = cls(
                    None, (), tensor.shape, tensor.dtype, tensor._backend, tensor._requires_grad
                )
                node.tensor, node.title = weakref.ref(tensor), tensor.name
                tensor._node = node
        return node

    def __repr__(self) -> str:
        return f"<{self.label} {self.dtype} {self.shape}>"

    @property
    def label(self) -> str:
        """The op's name; for a leaf what it is: "parameter" if it needs a gradient, or "input"."""
        if self.op is not None:
            return self.op.name
        return "parameter" if self.requires_grad else "input"

    def name(self) -> str:
        """PyTorch's kind of name for it: "MulBackward0", or "AccumulateGrad" for a leaf."""
        if self.op is None:
            return "AccumulateGrad"
        if self.op.name[:1].isupper():  # that of a class
            return f"{self.op.name}Backward"
        return "".join(map(str.capitalize, self.op.name.split("_"))) + "Backward0"

    @property
    def next_functions(self) -> tuple[tuple["Node | None", int], ...]:
        """For each tensor input the node behind it, and which of its outputs it is.

        None stands for an input that needs no gradient.
        """
        found: list[tuple[Node | None, int]] = []
        for node in self.parents():
            if not node.requires_grad:
                found.append((None, 0))
            elif node.op is not None and node.op.name == "output":
                found.append((next(node.parents()), node.op.index))
            else:
                found.append((node, 0))
        return tuple(found)

    @property
    def variable(self) -> Any:
        """The tensor of a leaf, if it is still there."""
        if self.op is not None:
            raise AttributeError(f"{self.name()} has no variable: only a leaf has one.")
        return None if self.tensor is None else self.tensor()

    def parents(self) -> Iterator["Node"]:
        """The nodes among the inputs."""
        for value in self.inputs:
            if isinstance(value, Node):
                yield value

    def check(self) -> None:
        """Raise if what the rules saved is gone or was changed in place."""
        if self.saved is None:
            raise RuntimeError(
                f"backward through {self.label} of shape {self.shape} a second time: the values it "
                "saved were freed by the first pass. Call backward(retain_graph=True) the first "
                "time, or compute the forward pass again."
            )
        for name, counter, version in self.guards:
            if counter[0] != version:
                raise RuntimeError(
                    f"{self.label} of shape {self.shape} saved its value '{name}' for the backward "
                    f"pass, and '{name}' was changed in place since (version {counter[0]}, saved "
                    f"at version {version}). Make the change after backward(), or change a copy: "
                    "x.detach().clone()."
                )

    def release(self) -> None:
        """Let go of everything saved. The node stays, for listing and drawing."""
        self.saved = None
        self.guards = ()


def topological(
    roots: Iterable[Node], ends: Collection[Node] = (), differentiable: bool = False
) -> list[Node]:
    """Every node the roots depend on, each before the nodes it was computed from.

    Those behind the `ends` are left out; with `differentiable`, those that need no gradient, too.

    A gradient is complete only when all consumers of a value have sent their share; this order
    guarantees that. A node is made after its inputs, so counting down creation numbers is such an
    order, found without recursion however deep the graph is.
    """
    seen = {node for node in roots if node.requires_grad or not differentiable}
    stack = list(seen)
    while stack:
        node = stack.pop()
        for value in () if node in ends else node.inputs:
            if (
                isinstance(value, Node)
                and value not in seen
                and (value.requires_grad or not differentiable)
            ):
                seen.add(value)
                stack.append(value)
    return sorted(seen, key=attrgetter("number"), reverse=True)


def with_leaves_early(order: list[Node]) -> list[Node]:
    """The same order, but a leaf with hooks stands right behind the last node that sends to it.

    By its number a parameter, which is older than all that is computed from it, would be among the
    last; who waits for its gradient can go on while those of others are computed.
    """
    waiting = {node for node in order if node.op is None and node.hooks}
    if not waiting:
        return order
    last = {leaf: node for node in order for leaf in node.parents() if leaf in waiting}
    behind: dict[Node, list[Node]] = {}
    for leaf, node in last.items():
        behind.setdefault(node, []).append(leaf)
    early: list[Node] = []
    for node in order:
        if node not in last:
            early += [node, *behind.get(node, ())]
    return early


ending: ContextVar[list[Callable[[], None]] | None] = ContextVar("ending", default=None)
"""What is called when the backward pass of this thread has reached all leaves; None outside one."""


def current(node: Node) -> Node:
    """Where the tensor of a leaf stands now: at a new node, if it was frozen for a while."""
    tensor = node.tensor() if node.op is None and node.tensor is not None else None
    return node if tensor is None else tensor.node


def backpropagate(
    seeds: dict[Node, Any],
    reading: "Reading",
    *,
    towards: set[Node] | None = None,
    ends: Collection[Node] = (),
    keep: bool,
) -> Iterator[tuple[Node, Any]]:
    """Walk from the seeds to the leaves, yielding those that are asked for with their gradients.

    Asked for are leaves, nodes whose tensor retains its gradient, and `towards`.

    [gradient to the left] = [gradient from the right] · [local gradient], summed over the
    consumers of each value. The reading decides what a gradient is: an array in the raw reading,
    a Tensor in the graph reading. With `towards`, only the paths that end there are walked. At the
    `ends` the walk stops: what lies behind, and their hooks, are for a walk around this one.
    """
    order = with_leaves_early(topological(seeds, ends, differentiable=True))
    useful = None
    if towards is not None:
        useful = set(towards)
        for node in reversed(order):
            if node.op is None and current(node) in towards:
                useful.add(node)
            if not useful.isdisjoint(node.parents()):
                useful.add(node)
    pending: dict[Any, Any] = dict(seeds)
    here, before, eye = None, None, observer.get()
    try:
        for node in order:
            if node not in pending:
                continue
            if node in ends:
                yield node, pending.pop(node)
                continue
            if node.backend is not here:
                if here is not None:
                    here.leave(before)
                here, before = node.backend, node.backend.prepare()
                here.enter()
                reading = reading.on(here)
            if node.op is not None and node.op.outputs:
                gradient = reading.completed(node, pending.pop(node))
            else:
                if pending[node].dtype is not node.dtype:
                    pending[node] = reading.rounded(pending[node], node)
                if node.hooks:
                    for hook in tuple(node.hooks.values()):
                        pending[node] = hook(node, pending[node])
                if eye is not None:
                    eye.arrived(node, reading.memory(pending[node]))
                if node.op is None:
                    yield node, pending.pop(node)  # which nobody here holds any more
                    continue
                gradient = pending.pop(node)
                if node.tensor is not None or (towards is not None and node in towards):
                    yield node, gradient
            if useful is not None and useful.isdisjoint(node.parents()):
                continue  # its rules are not needed, and what they saved stays for later
            try:
                if eye is None:
                    sent = reading.gradients(node, gradient, useful)
                else:
                    sent = eye.backward(reading, node, gradient, useful)
            except BaseException as error:
                failed(error, node.op, node.inputs, node, seeds)
                raise
            for parent, share in sent:
                if parent.op is not None and parent.op.outputs:
                    reading.collect(pending.setdefault(parent, {}), node.op.index, share)
                elif parent.backend is here:
                    reading.collect(pending, parent, share)
                else:
                    with parent.backend.active:
                        reading.on(parent.backend).collect(pending, parent, share)
            if not keep and node.saved and (node.guards or node.op.kept):
                node.release()  # unless it saved but plain numbers
    finally:
        if here is not None:
            here.leave(before)


@public(TOP)
class Graph:
    """The expression graph of one or more tensors as data: `print` lists it, one line a node.

    `nodes` are in the order they were computed, a leaf right before its first use. A node's id is
    its place in that list, so the same program prints the same listing in every run.
    """

    def __init__(self, roots: Iterable[Node]) -> None:
        self.roots = list(dict.fromkeys(roots))
        placed: dict[Node, None] = {}
        for node in reversed(topological(self.roots)):
            if node.op is not None or node in self.roots:
                placed |= dict.fromkeys(leaf for leaf in node.parents() if leaf.op is None)
                placed[node] = None
        self.nodes = list(placed)
        self.ids = {node: i for i, node in enumerate(self.nodes)}

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def arguments(self, node: Node) -> str:
        """The inputs of a node as text: ids of nodes, plain values as they are."""
        return ", ".join(
            f"%{self.ids[value]}" if isinstance(value, Node) else repr(value)
            for value in node.inputs
        )

    def __str__(self) -> str:
        rows = []
        for node in self.nodes:
            inputs = f"({self.arguments(node)})" if node.op is not None else node.title or ""
            attributes = node.op.describe() if node.op is not None else ""
            rows.append((f"%{self.ids[node]}", node.label, inputs, attributes))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                [cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width]
                + [f"{node.dtype} {node.shape}"]
            )
            for row, node in zip(rows, self.nodes, strict=True)
        )
