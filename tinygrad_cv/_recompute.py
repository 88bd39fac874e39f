"""`recompute`: a function that saves nothing for the backward pass, which runs it again."""

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from tinygrad_cv._apply import F, Recorded, apply
from tinygrad_cv._draws import Draws
from tinygrad_cv._grad_mode import enable_grad, is_grad_enabled
from tinygrad_cv._graph import Node, Observer, backpropagate, current, is_general, numbers, observer
from tinygrad_cv._inplace import View
from tinygrad_cv._op import Op, is_array
from tinygrad_cv._public import TOP, public
from tinygrad_cv._tensor import Tensor, wrap
from tinygrad_cv._trees import mapped, tensors_in
from tinygrad_cv.backend import host
from tinygrad_cv.backend.base import Backend
from tinygrad_cv.backend.recording import recording


@public(TOP, also="checkpoint")
def recompute(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    determinism_check: str = "default",
    debug: bool = False,
    **kwargs: Any,
) -> Any:
    """`function(*args, **kwargs)`, saving nothing of it but what goes in.

    The backward pass computes it again, when the gradient arrives (Chen et al., Training deep nets
    with sublinear memory cost, 2016): more time for less memory. Values and gradients of every
    order are those of the plain call. Tensors that the function finds by itself, such as
    parameters, get their gradients too, and random numbers are drawn again as they were.

    What goes in and out are tensors and other values, alone or in tuples, lists and dicts. Arrays
    and lists that go in are copied. Tensors that go in, or that the function uses, may not be
    changed before the backward pass, as any value that a graph has saved. The function must
    compute the same once more: what else it reads may not change either, and what it writes is
    written twice (the running statistics of a batch norm, for one, move twice).

    PyTorch's name for it is `checkpoint`, and means the same here. Its `use_reentrant`,
    `preserve_rng_state`, `determinism_check` and `debug` choose between ways of doing it; there is
    one here, and they have no effect.

    A result that lies in the memory of what goes in, or of another result, cannot be changed in
    place where a graph is recorded.
    Of several results none depends on another one: the gradient of (and a hook on) one of them does
    not see what the function made of it for the others.

    In a function that is compiled it is the plain call: the plan says what is kept.

    Raises TypeError if no tensor comes out or an iterator goes in, and RuntimeError if the function
    changes a tensor that goes in or was computed before, or in the backward pass if it does not do
    the same again.

    >>> import tinygrad_cv as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> y = tg.recompute(lambda x: (x * x).tanh() * x, x)
    >>> print(tg.graph(y))
    %0  parameter        float32 (2,)
    %1  recompute  (%0)  float32 (2,)
    """
    if not is_grad_enabled() or recording.get() is not None or is_general():
        return function(*args, **kwargs)
    segment = _Segment(function, args, kwargs)
    with segment.used.noted(), segment.draws.noted():
        returned = function(*args, **kwargs)
    tensors = list(tensors_in(returned))
    if not tensors:
        raise TypeError(
            "recompute: the function must return tensors, alone or in tuples, lists and dicts; "
            f"got {type(returned).__name__}."
        )
    segment.places = [k for k, y in enumerate(tensors) if y.requires_grad]
    if not segment.places:
        return returned
    outputs = [tensors[k] for k in segment.places]
    parts = dict(zip(segment.places, segment.record(outputs), strict=True))
    results = iter([parts.get(k, y) for k, y in enumerate(tensors)])
    return mapped(lambda y: next(results) if isinstance(y, Tensor) else y, returned)


class Recompute(Op, register=False):
    """What a function computed, of which nothing is saved: the rule computes it again."""

    segment: "_Segment"
    chooses_dtype = True
    dtype: Any
    kept = ("segment",)  # so that the function goes where the inputs go, after the pass
    hidden = ("segment", "dtype")
    computes_in = "float16"  # what goes in must go in again as it is

    def forward(self, xp: Any, *xs: Any) -> Any:
        return self.segment.take()

    def destination(self, backend: Backend) -> Backend:
        return self.segment.backend

    def grad_xs(self, F: Any, g: Any, xs: Any, segment: Any) -> Any:
        return F.memory(segment).gradients(F, g, xs)


class _Segment:
    """One call of a function, to be run again.

    `nodes` are what its result depends on: the nodes of the tensors among the arguments, and then
    those outside the call that the function found by itself, such as parameters. `places` says
    which of the tensors that it returns have gradients. `seen` are the nodes that the function can
    reach, those of unused arguments among them.
    """

    places: list[int]

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.function = function
        self.given = mapped(_copied, (args, kwargs))
        self.used = _Used(tensors_in(self.given))
        self.draws = Draws()

    def record(self, outputs: list[Tensor]) -> list[Tensor]:
        """The outputs of the first run as those of one op on all that they depend on."""
        alone = self.used.alone(outputs)
        guards = self.used.settle()
        y = _joined(outputs)
        outside = _outside(y.node, self.used.start)
        inputs: dict[Node, Tensor] = {}
        self.seen = set(outside)

        def entered(value: Any) -> Any:
            """An argument; of a tensor its place, for the graph saves its array and frees it."""
            if not isinstance(value, Tensor):
                return value
            node = value.node
            self.seen.add(node)
            if value.requires_grad and node not in outside:  # it is unused, and gets no gradient
                value = value.detach()
            inputs[value.node] = value
            return _Place(list(inputs).index(value.node), node)

        self.given = mapped(entered, self.given)
        for node in outside:
            if node not in inputs:
                tensor = _tensor_of(node)
                inputs[node] = _standing_at(node) if tensor is None else tensor
        self.nodes = list(inputs)
        self.result, self.backend = y._array, y._backend
        out = apply(Recompute(segment=self, dtype=y.dtype), *inputs.values())
        out.node.guards += guards
        parts, end = [], 0
        for output, is_alone in zip(outputs, alone, strict=True):
            part = out
            if len(outputs) > 1:
                index, end = slice(end, end + output.numel()), end + output.numel()
                part = F.reshape(F.getitem(out, index=(index,)), shape=output.shape)
            part = part if part.dtype == output.dtype else F.cast(part, dtype=output.dtype)
            # It has the memory that the function gave it. What lies there as well, an input or
            # another output, would not move on with it.
            part._array, part._counter = output._array, output._counter
            part._view = None if is_alone else View(None, None, None, part.shape)
            if output.node.op is not None and output.node.tensor is not None:
                part.retain_grad()
            parts.append(part)
        return parts

    def take(self) -> Any:
        """The array that the first run computed."""
        result = self.result
        del self.result
        return result

    def gradients(self, reading: Any, g: Any, xs: Sequence[Any]) -> list[Any]:
        """The gradient for each of `nodes`, in the reading at hand."""
        recorded = isinstance(reading, Recorded)
        inputs = [
            x if recorded else _standing_at(node, x) for x, node in zip(xs, self.nodes, strict=True)
        ]
        found = self.walk(F if recorded else reading, g, inputs, keep=recorded)

        def share(node: Node) -> Any:
            shares = [found[place] for place in {node, current(node)} if place in found]
            if shares:
                return sum(shares[1:], start=shares[0])
            with node.backend.active:
                zeros = node.backend.zeros(node.shape, dtype=node.dtype)
            return wrap(zeros, node.backend) if recorded else zeros

        return list(map(share, self.nodes))

    def walk(self, reading: Any, g: Any, inputs: list[Tensor], keep: bool) -> dict[Node, Any]:
        """Run the function again, and walk back through it to where it comes from."""
        self.used.check()
        start = next(numbers)
        # What happens inside is no step of the walk outside, which somebody may be looking at.
        before = observer.get()
        try:
            observer.set(None)
            with enable_grad(), self.draws.again(_differs), _as_they_were(self.seen):
                y = self.run(inputs)
            if y.shape != g.shape:
                raise _differs(f"gave the shape {y.shape}, and before {g.shape}")
            if not y.requires_grad:
                if all(map(_frozen, self.nodes)):
                    return {}
                raise _differs("gave a result that depends on no input")
            ends = set(_outside(y.node, start))
            strangers = ends.difference(self.nodes, map(current, self.nodes))
            if strangers:
                first = min(strangers, key=attrgetter("number"))
                raise _differs(
                    f"used a {first.label} of shape {first.shape} that it had not used before"
                )
            steps = backpropagate({y.node: g}, reading, towards=ends, ends=ends, keep=keep)
            return {node: gradient for node, gradient in steps if node in ends}
        finally:
            observer.set(before)

    def run(self, inputs: Sequence[Tensor]) -> Tensor:
        """The function on these inputs, and of its outputs those that have gradients, joined."""

        def argument(value: Any) -> Any:
            if not isinstance(value, _Place):
                return _copied(value)
            x = inputs[value.number]
            return x if x.node is value.node else _standing_at(value.node, x._array)

        args, kwargs = mapped(argument, self.given)
        tensors = list(tensors_in(self.function(*args, **kwargs)))
        if len(tensors) <= self.places[-1]:
            raise _differs(f"returned {len(tensors)} tensors")
        return _joined([tensors[k] for k in self.places])


@contextmanager
def _as_they_were(nodes: Iterable[Node]) -> Iterator[None]:
    """Inside, hooks and retain_grad() on these nodes were there before, or are to be forgotten."""
    before = [(node, node.tensor, set(node.hooks or ())) for node in nodes]
    try:
        yield
    finally:
        for node, tensor, hooks in before:
            node.tensor = tensor
            for hook in set(node.hooks or ()) - hooks:
                node.hooks.pop(hook)  # type: ignore[union-attr]


@dataclass(frozen=True)
class _Place:
    """An argument that is the tensor at a place among the inputs, for the function at this node."""

    number: int
    node: Node


# ----- what goes in and out ----------------------------------------------------------------------


def _copied(value: Any) -> Any:
    """An argument that the caller cannot change any more, if it is an array or the like."""
    if isinstance(value, Iterator):
        raise TypeError(
            f"recompute: the function is called twice, and an iterator ({type(value).__name__}) "
            "can be run through once; give it a list."
        )
    changeable = isinstance(value, bytearray | set) or is_array(value)
    return value.copy() if changeable and not isinstance(value, Tensor | type) else value


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    """One tensor with the elements of all; a single one as it is."""
    if len(tensors) == 1:
        return tensors[0]
    dtype = host.result_type(*(tensor.dtype for tensor in tensors))
    flat = [F.reshape(tensor, shape=(-1,)) for tensor in tensors]
    return F.cat(*(t if t.dtype == dtype else F.cast(t, dtype=dtype) for t in flat), axis=0)


# ----- what the function depends on --------------------------------------------------------------


def _outside(root: Node, start: int) -> list[Node]:
    """The nodes made before `start`, and the leaves, that the gradient of `root` comes to first."""
    outside, seen, stack = [], {root}, [root]
    while stack:
        node = stack.pop()
        if node.op is None or node.number < start:
            outside.append(node)
            continue
        reached = {parent for parent in node.parents() if _needs_gradient(parent)} - seen
        seen |= reached
        stack += reached
    return sorted(outside, key=attrgetter("number"))


def _needs_gradient(node: Node) -> bool:
    """Whether a gradient for the node can be seen: a leaf that is gone shows it to nobody."""
    return node.requires_grad and (node.op is not None or _tensor_of(node) is not None)


def _frozen(node: Node) -> bool:
    """Whether there is no gradient for the node, or none any more."""
    tensor = _tensor_of(node)
    return not (node.requires_grad if tensor is None else tensor.requires_grad)


def _tensor_of(node: Node) -> Tensor | None:
    """The tensor of a leaf, if it is still there."""
    return None if node.op is not None or node.tensor is None else node.tensor()


def _standing_at(node: Node, array: Any = None) -> Tensor:
    """A tensor at a node; without an array, one whose values nobody reads."""
    if array is None:
        with node.backend.active:
            zero = node.backend.zeros((), dtype=node.dtype)
            array = node.backend.broadcast_to(zero, node.shape)
    tensor = wrap(array, node.backend)
    tensor._node, tensor._requires_grad = node, node.requires_grad
    return tensor


def _differs(how: str) -> RuntimeError:
    return RuntimeError(
        f"recompute: called again for the backward pass, the function {how}. It must do the same "
        "each time."
    )


class _Used(Observer):
    """The tensors that a function uses the first time, which must have the same values the second.

    While it looks on, so does the observer that was there before.
    """

    def __init__(self, given: Iterable[Tensor]) -> None:
        self.given = {id(x): x._counter for x in given}
        self.fixed = set(map(id, self.given.values()))  # the counters that may not move
        self.versions: dict[int, tuple[str, list[int], int]] = {}
        self.own: dict[int, list[int]] = {}  # the counters of what the function made
        self.tensors: dict[int, tuple[weakref.ref[Tensor], list[int]]] = {}

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Inside, what ops use is noted."""
        before = observer.get()
        self.before, self.start = before or Observer(), next(numbers)
        self.everything = self.before.everything
        try:
            observer.set(self)
            yield
        finally:
            observer.set(before)
            del self.before

    def forward(self, op: Op, backend: Any, arrays: Any) -> Any:
        return self.before.forward(op, backend, arrays)

    def made(self, tensor: Tensor, inputs: tuple[Any, ...]) -> None:
        for x in inputs:
            # What is changed in place reads itself, and the function may have made it.
            if isinstance(x, Tensor) and x is not tensor and id(x._counter) not in self.own:
                self.note(x)
        if id(tensor._counter) not in self.versions:  # it is no view of what was there
            self.own[id(tensor._counter)] = tensor._counter
        self.before.made(tensor, inputs)

    def note(self, x: Tensor) -> None:
        """The function used a tensor that it has not made."""
        if not x.is_leaf and x.node.number < self.start:
            self.fixed.add(id(x._counter))
        name = x.name or ("parameter" if x.requires_grad else "input")
        self.versions.setdefault(id(x._counter), (name, x._counter, x._counter[0]))
        self.tensors[id(x)] = weakref.ref(x), x._counter

    def alone(self, outputs: list[Tensor]) -> list[bool]:
        """Which outputs have memory that is new and not that of another output, too."""
        for y in outputs:
            if id(y._counter) not in self.own:
                self.note(y)
        counters = [id(y._counter) for y in outputs]
        return [c in self.own and counters.count(c) == 1 for c in counters]

    def arrived(self, node: Node, gradient: Any) -> None:
        self.before.arrived(node, gradient)

    def backward(self, reading: Any, node: Node, gradient: Any, useful: Any) -> Any:
        return self.before.backward(reading, node, gradient, useful)

    def settle(self) -> tuple[tuple[str, list[int], int], ...]:
        """Guards for what was used. What the function changed itself is its state, if it can be."""
        guards = tuple(guard for guard in self.versions.values() if guard[1][0] == guard[2])
        changed = self.versions.keys() - {id(counter) for _, counter, _ in guards}
        if not changed.isdisjoint(self.fixed):
            raise RuntimeError(
                "recompute: the function changed in place a tensor that it was given, or that was "
                "computed before, so it cannot be called again with the same. Let it change a "
                "copy: x.clone()."
            )
        # Of an argument the graph saves the array, whatever becomes of the tensor.
        self.tensors = {
            key: (ref, counter)
            for key, (ref, counter) in self.tensors.items()
            if key not in self.given and (x := ref()) is not None and x._counter is counter
        }
        del self.given, self.fixed, self.versions, self.own
        return guards

    def check(self) -> None:
        """Raise if a tensor is no longer around the array that it was around."""
        for ref, counter in self.tensors.values():
            x = ref()
            if x is not None and x._counter is not counter:
                raise RuntimeError(
                    f"recompute: a {x.node.label} of shape {x.shape} that the function used was "
                    "replaced before the backward pass, so nothing can be computed again with it. "
                    "Update parameters after backward()."
                )
