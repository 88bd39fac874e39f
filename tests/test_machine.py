"""A machine builds, changes and differentiates graphs step by step, beside autograd on one page.

The page comes first: reverse mode in NumPy, with nothing in it but the chain rule. Below it, a
state machine does to tensors what a program may do to them, in any order. Whatever it did, every
tensor and every gradient is what the page says, or the backward pass was refused with a reason.
"""

import contextlib
import itertools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)
from numpy.testing import assert_allclose

import tinygrad_cv as tg
from programs import memory
from tinygrad_cv._tensor import Tensor

Array = npt.NDArray[Any]


# ----- autograd on one page ----------------------------------------------------------------------


@dataclass(eq=False, repr=False)
class Node:
    """One step of a computation: (input, pull, what the pull reads) for each of its inputs.

    A pull turns the gradient of this node into its share of the gradient of the input.
    """

    pulls: "list[tuple[Node, Callable[[Value], Value], Sequence[Value]]]"
    freed: bool = False  # a pass that was not to retain the graph came by
    age: int = field(default_factory=itertools.count().__next__)

    def __post_init__(self) -> None:
        self.reaches: set[Node] = {self}.union(*(parent.reaches for parent, *_ in self.pulls))


@dataclass(eq=False, repr=False)
class Value:
    """Numbers, and the step that made them: None for a constant. Gradients are Values as well."""

    array: Array
    node: Node | None = None
    changed: bool = False  # the memory in which these numbers lay holds others now

    def __post_init__(self) -> None:
        self.array = np.asarray(self.array)  # NumPy makes plain numbers of arrays without axes

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def made_from(self, *inputs: Any) -> "Value":
        """Note for each input (itself, the pull towards it, the values that this pull reads)."""
        pulls = [(x.node, pull, reads) for x, pull, reads in inputs if x.node is not None]
        self.node = Node(pulls) if pulls else None
        return self

    def __add__(a, b: "Value") -> "Value":  # noqa: N805  as the mathematics has it
        return Value(a.array + b.array).made_from(
            (a, lambda g: sum_to(g, a), []), (b, lambda g: sum_to(g, b), [])
        )

    def __mul__(a, b: "Value") -> "Value":  # noqa: N805
        return Value(a.array * b.array).made_from(
            (a, lambda g: sum_to(g * b, a), [b]), (b, lambda g: sum_to(g * a, b), [a])
        )


def take(x: Value, places: Array) -> Value:
    """The elements of x at these places of x.ravel(): any slice, transpose or broadcast."""
    return Value(x.array.ravel()[places]).made_from((x, lambda g: put(g, places, x.shape), []))


def put(x: Value, places: Array, shape: tuple[int, ...]) -> Value:
    """Zeros with the elements of x added at these places: the transpose of `take`."""
    out = np.zeros(shape)
    np.add.at(out.reshape(-1), places, x.array)
    return Value(out).made_from((x, lambda g: take(g, places), []))


def masked(x: Value, kept: Array) -> Value:
    """x where `kept` is 1, and 0 where it is 0: its own transpose."""
    return Value(x.array * kept).made_from((x, lambda g: masked(g, kept), []))


def sum_to(g: Value, like: Value) -> Value:
    """g summed over the axes along which `like` was broadcast."""
    if g.shape == like.shape:
        return g
    return put(g, np.broadcast_to(numbered(like.array), g.shape), like.shape)


def numbered(x: Array) -> Array:
    return np.arange(x.size).reshape(x.shape)


def gradients(seeds: dict[Node, Value], wanted: set[Node]) -> tuple[dict[Node, Value], set[Node]]:
    """The gradients on the ways from the seeds to the wanted nodes, and whose pulls were used.

    The youngest node goes first. Its consumers are younger, so all of them have been: its
    gradient, the sum of what they sent, is complete.
    """
    found, waiting, used = dict(seeds), set(seeds), set()
    while waiting:
        node = max(waiting, key=lambda node: node.age)
        waiting.remove(node)
        for parent, pull, _ in node.pulls:
            if not wanted.isdisjoint(parent.reaches):
                share = pull(found[node])
                found[parent] = found[parent] + share if parent in found else share
                waiting.add(parent)
                used.add(node)
    return found, used


# ----- what a program does with tensors, and what it should come to ------------------------------


ONE, MINUS = Value(np.array(1.0)), Value(np.array(-1.0))


def sin(x: Value) -> Value:
    return Value(np.sin(x.array)).made_from((x, lambda g: g * cos(x), [x]))


def cos(x: Value) -> Value:
    return Value(np.cos(x.array)).made_from((x, lambda g: g * MINUS * sin(x), [x]))


class Squashed(tg.Op, register=False):
    """tanh x, by a rule that reads the result."""

    def forward(self, xp: Any, x: Any) -> Any:
        return xp.tanh(x)

    def local_x(self, F: Any, y: Any) -> Any:
        return 1 - y * y


squashed = tg.function(Squashed)


def tanh(x: Value) -> Value:
    y = Value(np.tanh(x.array))
    return y.made_from((x, lambda g: g * (ONE + MINUS * y * y), [y]))


def clone(x: Value) -> Value:
    return Value(x.array).made_from((x, lambda g: g, []))


def relu(x: Value) -> Value:
    y = Value(np.maximum(x.array, 0))
    return y.made_from((x, lambda g: g * Value(np.sign(y.array)), [y]))


def total(x: Value) -> Value:
    return put(x, np.zeros(x.shape, int), ())


def cat(x: Value, y: Value) -> Value:
    n, m = x.array.size, y.array.size
    return put(x, numbered(x.array), (n + m,)) + put(y, n + numbered(y.array), (n + m,))


VIEWS: dict[str, Callable[[Any, Any], Any]] = {  # of tensors and of arrays alike
    "all": lambda xp, x: x[...],
    "first": lambda xp, x: x[..., None][0],
    "every second": lambda xp, x: x[..., None][::2],
    "backwards": lambda xp, x: x[(*[slice(None, None, -1)] * x.ndim, ...)],
    "transpose": lambda xp, x: x.T,
    "flat": lambda xp, x: x.reshape(-1),
    "repeated": lambda xp, x: xp.broadcast_to(x, (2, *x.shape)),
}
MAY_COPY = {"flat"}  # where the memory does not lie in order; a single element


def fitting(f: Callable[[Any, Any], Any], add_up: Callable[[Any], Any]) -> Callable[..., Any]:
    """f of x and y, or of x and the sum of y where their shapes do not go together."""

    def fitted(x: Any, y: Any) -> Any:
        try:
            np.broadcast_shapes(x.shape, y.shape)
        except ValueError:
            y = add_up(y)
        return f(x, y)

    return fitted


COMPUTE: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Value, Value], Value]]] = {
    "tanh": (lambda x, _: squashed(x), lambda x, _: tanh(x)),
    "sin": (lambda x, _: tg.sin(x), lambda x, _: sin(x)),  # its rule reads the input
    "relu": (lambda x, _: tg.relu(x), lambda x, _: relu(x)),
    "sum": (lambda x, _: x.sum(), lambda x, _: total(x)),
    "clone": (lambda x, _: x.clone(), lambda x, _: clone(x)),
    "add": (fitting(operator.add, tg.sum), fitting(operator.add, total)),
    "mul": (fitting(operator.mul, tg.sum), fitting(operator.mul, total)),
    "square": (lambda x, _: x * x, lambda x, _: x * x),
    "cat": (lambda x, y: tg.cat([x.reshape(-1), y.reshape(-1)]), cat),
} | {
    name: (
        lambda x, _, f=f: f(tg, x),
        lambda x, _, f=f: take(x, f(np, numbered(x.array))),
    )
    for name, f in VIEWS.items()
}


@dataclass(frozen=True)
class Write:
    """A change in place, of tensors and of arrays alike.

    `index` says, for a shape, which elements change; `new` gives their new values from the old ones
    and a source, as Values.
    """

    run: Callable[[Any, Any], Any]
    index: Callable[[tuple[int, ...]], Any] = lambda shape: ...
    new: Callable[[Value, Value], Value] = lambda old, source: source


def assign(x: Any, new: Any) -> None:
    x[...] = new


def copy(x: Any, new: Any) -> None:
    x.copy_(new) if isinstance(x, Tensor) else np.copyto(x, new)


def at(where: Callable[[tuple[int, ...]], Any]) -> Callable[[Any, Any], None]:
    """x[index] = new"""
    return lambda x, new: operator.setitem(x, where(x.shape), new)


def multiply_at(where: Callable[[tuple[int, ...]], Any]) -> Callable[[Any, Any], None]:
    """x[index] *= new: the part is taken out, changed, and put back."""

    def change(x: Any, new: Any) -> None:
        x[where(x.shape)] *= new

    return change


def product(old: Value, source: Value) -> Value:
    return old * source


FIRST = lambda shape: (0,) * len(shape)  # noqa: E731
INDICES: dict[str, Callable[[tuple[int, ...]], Any]] = {
    "number": lambda shape: 0 if shape else (),
    "numbers": FIRST,
    "slice": lambda shape: (..., slice(None, None, 2)) if shape else ...,
    "array": lambda shape: np.array([shape[0] - 1]) if shape else (),
    "mask": lambda shape: np.arange(np.prod(shape)).reshape(shape) % 2 == 0,
    "two steps": lambda shape: (0, ..., np.array([0])) if len(shape) > 1 else ...,
}
WRITES = {
    "assign": Write(assign),
    "copy": Write(copy),
    "subtract": Write(operator.isub, new=lambda old, source: old + MINUS * source),
    "multiply": Write(operator.imul, new=product),
    **{f"assign: {name}": Write(at(index), index) for name, index in INDICES.items()},
    **{
        f"multiply: {name}": Write(multiply_at(index), index, product)
        for name, index in INDICES.items()
    },
}


@dataclass(eq=False, repr=False)
class Memory:
    """A stretch of memory, and every value that was seen in it."""

    numbers: Array
    seen: list[Value] = field(default_factory=list)


@dataclass(eq=False, repr=False)
class Family:
    """A tensor and the views of it: what they are made of, wherever it was changed.

    `root` is the value of the whole, which lies at these places of the memory.
    """

    base: "Twin | None"
    places: Array
    root: Value

    def overwrite(self, memory: Memory, places: Array, new: Value) -> None:
        """The whole with new values at some places of the memory: a new value, as all are."""
        order = np.full(memory.numbers.size, -1)
        order[self.places] = numbered(self.places)
        kept = np.ones(self.places.size)
        kept[order[places]] = 0
        old = Value(memory.numbers[self.places], self.root.node)
        spread = take(new, np.broadcast_to(numbered(new.array), places.shape))
        self.root = masked(old, kept.reshape(old.shape)) + put(spread, order[places], old.shape)

    def part(self, memory: Memory, places: Array) -> Value:
        order = np.full(memory.numbers.size, -1)
        order[self.places] = numbered(self.places)
        return take(self.root, order[places])


@dataclass(eq=False, repr=False)
class Twin:
    """A tensor, and beside it what it should be. A view taken under no_grad() has no family."""

    tensor: Tensor
    memory: Memory
    places: Array  # where in the memory its elements lie
    value: Value
    writable: bool = True
    retains: bool = False
    grad: "Twin | None" = None
    family: Family | None = None

    def __post_init__(self) -> None:
        self.memory.seen.append(self.value)
        self.family = Family(self, self.places, self.value)

    def move(self) -> None:
        """Leave the family, for one of its own."""
        if self.family is not None and self.family.base is self:
            self.family.base = None
        self.family = Family(self, self.places, self.value)

    def look(self, node: Node | None) -> None:
        """Read the memory again, as the value of a node."""
        self.value = Value(self.memory.numbers[self.places], node)
        self.memory.seen.append(self.value)

    @property
    def node(self) -> Node | None:
        return self.value.node

    @property
    def shape(self) -> tuple[int, ...]:
        return self.places.shape


class Machine(RuleBasedStateMachine):
    """Every rule does one thing to tensors and to their twins."""

    twins: Bundle[Twin] = Bundle("twins")
    results = twins.filter(lambda twin: bool(twin.node and twin.node.pulls))
    roots = results | results | twins
    often = st.sampled_from([True, True, True, False])
    names = st.sampled_from(list(COMPUTE))
    steps = st.lists(
        st.tuples(names, often, st.integers(0, 2), st.integers(0, 4)), min_size=4, max_size=10
    )

    def __init__(self) -> None:
        super().__init__()
        self.every: list[Twin] = []

    def add(self, tensor: Tensor, value: Value, at: Twin | None = None, places: Any = None) -> Twin:
        """A twin with memory of its own, or at some places of another one's."""
        if at is None:
            twin = Twin(tensor, Memory(value.array.flatten()), numbered(value.array), value)
        else:
            twin = Twin(tensor, at.memory, places, value, at.writable)
        self.every.append(twin)
        return twin

    # ----- building ------------------------------------------------------------------------------

    @initialize(target=twins, steps=steps)
    def start(self, steps: list[tuple[str, bool, int, int]]) -> Any:
        """Two leaves and what came of them; most steps go on from what was made last."""
        made = [self.leaf((2, 3), 0), self.leaf((3,), 1)]
        for name, recorded, i, j in steps:
            made += self.step(name, recorded, made[-1 - i % len(made)], made[-1 - j % len(made)])
        return multiple(*made)

    @rule(
        target=twins,
        shape=st.sampled_from([(), (1,), (3,), (2, 1)]),
        seed=st.integers(0, 9),
        requires_grad=often,
    )
    def another(self, shape: tuple[int, ...], seed: int, requires_grad: bool) -> Any:
        return self.leaf(shape, seed, requires_grad)

    @rule(target=twins, name=names, recorded=often, x=twins, y=twins)
    def compute(self, name: str, recorded: bool, x: Twin, y: Twin) -> Any:
        return multiple(*self.step(name, recorded, x, y))

    @rule(target=twins, x=twins, name=st.sampled_from(["detach", "data", "grad"]))
    def take_out(self, x: Twin, name: str) -> Any:
        if name == "grad":
            return multiple() if x.grad is None else x.grad
        tensor = x.tensor.detach() if name == "detach" else x.tensor.data
        return self.add(tensor, Value(x.value.array), at=x, places=x.places)

    def leaf(self, shape: tuple[int, ...], seed: int, requires_grad: bool = True) -> Twin:
        start = np.random.default_rng(seed).uniform(-1, 1, shape)
        tensor = tg.tensor(start, requires_grad=requires_grad)
        return self.add(tensor, Value(start, Node([]) if requires_grad else None))

    def step(self, name: str, recorded: bool, x: Twin, y: Twin) -> list[Twin]:
        """The result, unless it is large: numbers that grow without end would compare nothing."""
        f, reference = COMPUTE[name]
        value = reference(x.value, y.value)
        if value.array.size > 24 or np.abs(value.array).max() > 4:
            return []
        with contextlib.nullcontext() if recorded else tg.no_grad():
            tensor = f(x.tensor, y.tensor)
        value = value if recorded else Value(value.array)
        if name not in VIEWS or (
            name in MAY_COPY and not np.may_share_memory(array(tensor), array(x.tensor))
        ):
            return [self.add(tensor, value)]
        twin = self.add(tensor, value, at=x, places=VIEWS[name](np, x.places))
        twin.writable = x.writable and name != "repeated"
        twin.family = x.family if recorded else None
        return [twin]

    # ----- changing values -----------------------------------------------------------------------

    @rule(
        x=roots,
        name=st.sampled_from(list(WRITES)),
        source=twins,
        way=st.sampled_from(["data", "no_grad", "recorded", "recorded", "recorded"]),
    )
    def write(self, x: Twin, name: str, source: Twin, way: str) -> None:
        write = WRITES[name]
        index = write.index(x.shape)
        if x.shape == source.shape and index is ...:
            tensor, new = source.tensor, source.value
        else:
            tensor, new = source.tensor.sum(), total(source.value)
        numbers = x.value.array.copy()
        write.run(numbers, new.array)
        if np.abs(numbers).max() > 4:
            return
        recorded = way == "recorded" and (x.node is not None or new.node is not None)
        expected: Any = contextlib.nullcontext()
        if recorded and x.family is None:
            expected = pytest.raises(RuntimeError, match=r"in place on a view .* no_grad")
        elif recorded and x.family and is_leaf(x.family.root.node):
            expected = pytest.raises(RuntimeError, match=r"in place on a (view of a )?leaf")
        elif not x.writable and places_named(x, index).size:
            expected = pytest.raises(ValueError, match="read-only")
        with expected, tg.no_grad() if way == "no_grad" else contextlib.nullcontext():
            target = x.tensor.data if way == "data" else x.tensor
            write.run(target, tensor if way == "recorded" else tensor.detach())
        if not isinstance(expected, contextlib.nullcontext):
            return
        if recorded:
            assert x.family is not None
            # What this very change reads of what it overwrites is kept for it, in new values.
            old = take(Value(x.value.array, x.node), numbered(x.value.array)[index])
            own = tensor is source.tensor and source.memory is x.memory
            changed = write.new(old, Value(new.array, new.node) if own else new)
            x.family.overwrite(x.memory, x.places[index], changed)
        for value in x.memory.seen:
            value.changed = True
        x.memory.seen.clear()
        x.memory.numbers[x.places] = numbers
        for twin in self.every:
            if twin.memory is not x.memory:
                continue
            if recorded and twin.family is x.family:
                assert twin.family is not None
                base = twin.family.base is twin
                root = twin.family.root
                twin.look((root if base else twin.family.part(x.memory, twin.places)).node)
            else:
                twin.look(twin.node)

    @rule(x=twins, source=twins)
    def replace_data(self, x: Twin, source: Twin) -> None:
        """From now on x has the memory of another tensor; what read its old memory still can."""
        if x.shape == source.shape:
            own = x.tensor._array is source.tensor._array  # the end of x.data -= ...
            x.tensor.data = source.tensor.detach()
            x.memory, x.places, x.writable = source.memory, source.places, source.writable
            x.look(x.node)
            if not own:
                x.move()

    # ----- gradients -----------------------------------------------------------------------------

    @rule(x=twins)
    def retain_grad(self, x: Twin) -> None:
        with contextlib.nullcontext() if x.node else pytest.raises(RuntimeError, match="needs no"):
            x.tensor.retain_grad()
        x.retains = x.node is not None

    @rule(x=twins)
    def forget_grad(self, x: Twin) -> None:
        x.tensor.grad = x.grad = None

    def seed(self, root: Twin, seed: Twin) -> tuple[Tensor | None, Value]:
        """What to start from: another tensor where the shape allows, ones or weights elsewhere."""
        if seed.shape == root.shape:
            return seed.tensor, seed.value
        weights = 1.0 + numbered(root.value.array)
        return None if root.shape == () else tg.tensor(weights), Value(weights)

    def allowed(self, used: set[Node], keep: bool, walk: Callable[[], Any]) -> tuple[bool, Any]:
        """Whether the backward pass was carried out, and what it returned.

        A pass through what was freed is refused. One that needs a value which changed may be.
        """
        freed = any(node.freed for node in used)
        changed = any(v.changed for node in used for _, _, reads in node.pulls for v in reads)
        refusal, result = "", None
        try:
            result = walk()
        except RuntimeError as error:
            refusal = str(error)
        if refusal:
            assert (freed and "second time" in refusal) or (changed and "in place" in refusal)
            self.abandon(used)
        else:
            assert not freed
            for node in used:
                saved = any(reads for _, _, reads in node.pulls)
                node.freed = node.freed or (saved and not keep)
        return not refusal, result

    def abandon(self, used: set[Node]) -> None:
        """A refused pass may have been half done, so nobody goes on with its graph."""
        for twin in self.every:
            twin.tensor.grad = twin.grad = None
            if twin.node is not None and not used.isdisjoint(twin.node.reaches):
                twin.tensor, twin.retains = twin.tensor.detach(), False
                twin.look(None)
                twin.move()

    @rule(root=roots, seed=twins, retain_graph=st.booleans(), create_graph=st.booleans())
    def backward(self, root: Twin, seed: Twin, retain_graph: bool, create_graph: bool) -> None:
        tensor, value = self.seed(root, seed)
        if root.node is None:
            with pytest.raises(RuntimeError, match="does not require"):
                root.tensor.backward(tensor)
            return
        found, used = gradients({root.node: value}, root.node.reaches)
        if too_large(found):
            return
        done, _ = self.allowed(
            used,
            retain_graph or create_graph,
            lambda: root.tensor.backward(tensor, retain_graph, create_graph),
        )
        for twin in self.every.copy() if done else []:
            if twin.node in found and (twin.retains or is_leaf(twin.node)):
                g = found[twin.node]
                g = clone(g) if twin.grad is None else twin.grad.value + g
                assert twin.tensor.grad is not None
                twin.grad = self.add(twin.tensor.grad, g if create_graph else Value(g.array))

    @rule(
        target=twins,
        roots=st.lists(st.tuples(roots, twins), min_size=1, max_size=2),
        wanted=st.lists(twins, min_size=1, max_size=4),
        create_graph=st.booleans(),
        retain_graph=st.sampled_from([None, True, False]),
    )
    def grad(
        self,
        roots: list[tuple[Twin, Twin]],
        wanted: list[Twin],
        create_graph: bool,
        retain_graph: bool | None,
    ) -> Any:
        nodes = {twin.node: twin for twin in wanted if twin.node is not None}
        outputs, tensors = [], []
        seeds: dict[Node, Value] = {}
        for root, seed in roots:
            if root.node is not None:
                tensor, value = self.seed(root, seed)
                outputs.append(root.tensor)
                tensors.append(tensor)
                seeds[root.node] = seeds[root.node] + value if root.node in seeds else value
        if not outputs or not nodes:
            return multiple()
        found, used = gradients(seeds, set(nodes))
        if too_large(found):
            return multiple()
        done, results = self.allowed(
            used,
            create_graph if retain_graph is None else retain_graph,
            lambda: tg.grad(
                outputs,
                [twin.tensor for twin in nodes.values()],
                tensors,
                retain_graph=retain_graph,
                create_graph=create_graph,
                allow_unused=True,
            ),
        )
        if not done:
            return multiple()
        made = []
        for node, result in zip(nodes, results, strict=True):
            assert (result is None) == (node not in found)
            if result is not None:
                g = clone(found[node])
                made.append(self.add(result, g if create_graph else Value(g.array)))
        return multiple(*made)

    # ----- what holds after every step -----------------------------------------------------------

    @invariant()
    def tensors_are_what_they_should_be(self) -> None:
        actual = np.concatenate([array(twin.tensor).ravel() for twin in self.every])
        expected = np.concatenate([twin.value.array.ravel() for twin in self.every])
        assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)
        for twin in self.every:
            assert twin.tensor.shape == twin.value.shape == twin.shape
            assert twin.tensor.requires_grad == (twin.node is not None)
            assert twin.tensor.grad is (None if twin.grad is None else twin.grad.tensor)

    @invariant()
    def gradients_and_copies_have_memory_of_their_own(self) -> None:
        places = {(id(memory(twin.tensor)), id(twin.memory)) for twin in self.every}
        assert len({owner for owner, _ in places}) == len(places)


def array(tensor: Tensor) -> Array:
    values: Array = tensor.detach().numpy()
    return values


def is_leaf(node: Node | None) -> bool:
    return node is not None and not node.pulls


def places_named(x: Twin, index: Any) -> Array:
    places: Array = x.places[index]
    return np.asarray(places)


def too_large(found: dict[Node, Value]) -> bool:
    return any(np.abs(g.array).max() > 1e3 for g in found.values())


PROFILE = settings.default
assert PROFILE is not None
TestMachine = Machine.TestCase
# A walk is cheap, and the rare meetings of two rules need many.
TestMachine.settings = settings(max_examples=5 * PROFILE.max_examples, stateful_step_count=40)
