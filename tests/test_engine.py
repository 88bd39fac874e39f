"""The engine, attacked: whatever is done to a graph, its gradient is right or refused.

The oracle of most tests is forward-mode differentiation in NumPy, done beside the program while it
runs (see `Program`). It walks no graph, so it shares none of the engine's ways to be wrong.
"""

import array
import asyncio
import contextlib
import copy
import math
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, event, example, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import oracles
import tinygrad_cv as tg
from tinygrad_cv import nn, optim
from tinygrad_cv.op import REGISTRY, Op
from tinygrad_cv.tensor import F, Tensor

Array = oracles.Array


def leaf(value: Any, dtype: Any = "float64") -> Tensor:
    return Tensor(value, dtype=dtype, requires_grad=True)


def values(tensor: Tensor) -> Array:
    """A copy of what a tensor holds now."""
    return tensor.detach().numpy().copy()


def memory(tensor: Tensor) -> Array:
    """The array that owns the memory of a tensor."""
    owner = tensor.detach().numpy()
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    return owner


# ----- random programs and their oracle ----------------------------------------------------------


def each(f: Callable[[Array], Array]) -> Callable[..., Array]:
    """A linear function of an array as a function of a stack of tangents."""
    return lambda x, tangents: np.stack([f(t) for t in tangents])


def local(slope: Callable[[Array], Array]) -> Callable[..., Array]:
    """The tangent of an elementwise function."""
    return lambda x, tangents: slope(x) * tangents


def sigmoid_slope(x: Array) -> Array:
    y = 1 / (1 + np.exp(-x))
    return y * (1 - y)


def flat(x: Any) -> Any:
    return x.reshape(-1)


UNARY: dict[str, tuple[Callable[[Tensor], Tensor], Callable[..., Array]]] = {
    "tanh": (tg.tanh, local(lambda x: 1 - np.tanh(x) ** 2)),
    "sin": (tg.sin, local(np.cos)),
    "cos": (tg.cos, local(lambda x: -np.sin(x))),
    "sigmoid": (tg.sigmoid, local(sigmoid_slope)),
    "square": (lambda x: x**2, local(lambda x: 2 * x)),
    "cube root of 1 + x²": (
        lambda x: (1 + x * x) ** (1 / 3),
        local(lambda x: 2 / 3 * x * (1 + x * x) ** (-2 / 3)),
    ),
    "relu": (tg.relu, local(lambda x: (x > 0).astype(float))),
    "neg": (lambda x: -x, each(lambda x: -x)),
    "transpose": (lambda x: x.T, each(lambda x: x.T)),
    "flat": (flat, each(flat)),
    "first row": (lambda x: flat(x)[:1], each(lambda x: flat(x)[:1])),
    "backwards": (lambda x: flat(x)[::-1], each(lambda x: flat(x)[::-1])),
    "repeated": (lambda x: flat(x)[[0, -1, 0]], each(lambda x: flat(x)[[0, -1, 0]])),
    "column": (lambda x: flat(x)[:, None], each(lambda x: flat(x)[:, None])),
    "sum": (lambda x: x.sum(), each(lambda x: np.asarray(x.sum()))),
    "mean": (lambda x: x.mean(), each(lambda x: np.asarray(x.mean()))),
}
BINARY: dict[str, tuple[Callable[..., Tensor], Callable[..., Array]]] = {
    "add": (lambda a, b: a + b, lambda a, b, s, t: s + t),
    "sub": (lambda a, b: a - b, lambda a, b, s, t: s - t),
    "mul": (lambda a, b: a * b, lambda a, b, s, t: s * b + a * t),
    "div": (
        lambda a, b: a / (1 + b * b),
        lambda a, b, s, t: s / (1 + b * b) - a * 2 * b * t / (1 + b * b) ** 2,
    ),
    "outer": (
        lambda a, b: flat(a)[:, None] @ flat(b)[None],
        lambda a, b, s, t: np.outer(s, b) + np.outer(a, t),
    ),
    "cat": (
        lambda a, b: tg.cat([flat(a), flat(b)]),
        lambda a, b, s, t: np.concatenate([flat(s), flat(t)]),
    ),
}


def set_no_grad(x: Tensor) -> None:
    with tg.no_grad():
        x[...] = 0.25


def add_no_grad(x: Tensor) -> None:
    with tg.no_grad():
        x += 0.25


def scale_data(x: Tensor) -> None:
    x.data *= -0.5


def subtract_data(x: Tensor) -> None:
    x.data -= 0.75


def subtract_elements(x: Tensor) -> None:
    x.data[...] -= 0.75


def divide_detached(x: Tensor) -> None:
    y = x.detach()
    y /= -2.0


def set_rows(x: Tensor) -> None:
    for row in x.data.reshape(1, -1):
        row[...] = 0.25


def swap_data(x: Tensor) -> None:
    x.data = x.data * -0.5


IN_PLACE: dict[str, Callable[[Tensor], Any]] = {
    "data[...] =": lambda x: x.data.__setitem__(..., 0.25),
    "data[mask] =": lambda x: x.data.__setitem__(x.data == x.data, 0.25),
    "data -=": subtract_data,
    "data[...] -=": subtract_elements,
    "data *=": scale_data,
    "detach() /=": divide_detached,
    "[...] = under no_grad": set_no_grad,
    "+= under no_grad": add_no_grad,
    "copy_ a number": lambda x: x.data.copy_(0.25),
    "copy_ a tensor": lambda x: x.data.copy_(x.detach() * -0.5),
    "zero_": lambda x: x.data.zero_(),
    "data[0] = by a view": lambda x: x.data.reshape(1, -1)[0].__setitem__(0, 0.25),
    "rows": set_rows,
    "T": lambda x: x.data.T.zero_(),
    "mT": lambda x: x.data.reshape(1, -1).mT.zero_(),
    "view": lambda x: x.data.view(-1, 1).zero_(),
    "unsqueeze": lambda x: x.data.unsqueeze(0).zero_(),
    "squeeze": lambda x: x.data.squeeze().zero_(),
    "flatten": lambda x: x.data.flatten().zero_(),
    "expand to its own shape": lambda x: x.data.clamp().zero_(),
    "to its own dtype": lambda x: x.data.double().zero_(),
    "contiguous": lambda x: x.data.contiguous().zero_(),
    "init.uniform_": lambda x: nn.init.uniform_(x, -1, 1, np.random.default_rng(0)),
}


class Program:
    """A program on tensors that differentiates itself in forward mode while it runs.

    Beside each tensor stand its tangents: (P, *shape), the derivative by each of the P numbers in
    the leaves. They are worked out from the values that an op saw when it ran; what is done to
    those values later cannot reach them.
    """

    def __init__(self, *leaves: Array) -> None:
        self.leaves = [leaf(value) for value in leaves]
        self.tensors = list(self.leaves)
        total = sum(value.size for value in leaves)
        identity = np.eye(total)
        ends = np.cumsum([value.size for value in leaves])[:-1]
        self.tangents = [
            rows.T.reshape(total, *value.shape)
            for rows, value in zip(np.split(identity, ends), leaves, strict=True)
        ]

    def put(self, tensor: Tensor, tangents: Array) -> None:
        assert tangents.shape[1:] == tensor.shape
        self.tensors.append(tensor)
        self.tangents.append(tangents)

    def unary(self, name: str, i: int) -> None:
        f, tangent = UNARY[name]
        i %= len(self.tensors)
        x = values(self.tensors[i])
        # Slopes are broadcast against the stack of tangents from the last axis on.
        self.put(f(self.tensors[i]), tangent(x, self.tangents[i]))

    def binary(self, name: str, i: int, j: int) -> None:
        f, tangent = BINARY[name]
        i, j = i % len(self.tensors), j % len(self.tensors)
        if name not in ("outer", "cat"):
            try:
                np.broadcast_shapes(self.tensors[i].shape, self.tensors[j].shape)
            except ValueError:
                self.unary("sum", j)
                j = len(self.tensors) - 1
        a, b = values(self.tensors[i]), values(self.tensors[j])
        tangents = [
            tangent(a, b, s, t) for s, t in zip(self.tangents[i], self.tangents[j], strict=True)
        ]
        self.put(f(self.tensors[i], self.tensors[j]), np.stack(tangents))

    def write(self, name: str, i: int) -> None:
        x = self.tensors[i % len(self.tensors)]
        before = values(x)
        IN_PLACE[name](x)
        assert x.shape == before.shape

    def run(self, steps: Sequence[tuple[str, int, int]]) -> None:
        for name, i, j in steps:
            if name in UNARY:
                self.unary(name, i)
            elif name in BINARY:
                self.binary(name, i, j)
            else:
                self.write(name, i)

    def loss(self) -> tuple[Tensor, list[Array]]:
        """A random combination of the last results, and its gradient for each leaf."""
        rng = np.random.default_rng(0)
        total, gradient = leaf(0.0) * 1, np.zeros(len(self.tangents[0]))
        for tensor, tangents in list(zip(self.tensors, self.tangents, strict=True))[-3:]:
            weights = rng.normal(size=tensor.shape)
            total = total + (tensor * weights).sum()
            gradient += (tangents * weights).reshape(len(tangents), -1).sum(1)
        ends = np.cumsum([x.numel() for x in self.leaves])[:-1]
        parts = np.split(gradient, ends)
        return total, [p.reshape(x.shape) for p, x in zip(parts, self.leaves, strict=True)]


@contextlib.contextmanager
def right_or_refused() -> Iterator[None]:
    """What runs inside may end with the error that a value changed in place, and only with it."""
    try:
        yield
    except RuntimeError as error:
        if "in place" not in str(error):
            raise


def programs(names: Sequence[str]) -> st.SearchStrategy[list[tuple[str, int, int]]]:
    place = st.integers(0, 30)
    # Most programs talk about what they computed last.
    return st.lists(st.tuples(st.sampled_from(names), place, place), min_size=1, max_size=9)


def starting_values(seed: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (2, 3)), rng.uniform(-1, 1, (3,))


seeds = st.integers(0, 2**32 - 1)
pure = programs([*UNARY, *BINARY])
writing = programs([*UNARY, *BINARY, *IN_PLACE])


def agree(gradients: Sequence[Tensor | None], expected: Sequence[Array]) -> None:
    for g, e in zip(gradients, expected, strict=True):
        scale = max(1.0, float(np.abs(e).max()))
        actual = np.zeros(e.shape) if g is None else values(g)
        assert actual.shape == e.shape
        assert_allclose(actual, e, rtol=1e-9, atol=1e-10 * scale)


@given(pure, seeds)
def test_random_programs_have_the_gradients_of_forward_mode(steps: Any, seed: int) -> None:
    program = Program(*starting_values(seed))
    program.run(steps)
    loss, expected = program.loss()
    leaves = program.leaves
    agree(tg.grad(loss, leaves, allow_unused=True, retain_graph=True), expected)
    agree(tg.grad(loss, leaves, allow_unused=True, create_graph=True), expected)
    assert all(x.grad is None for x in leaves)
    loss.backward(retain_graph=True)
    agree([x.grad for x in leaves], expected)
    loss.backward()
    agree([x.grad for x in leaves], [2 * e for e in expected])


def differentiate_again(
    first: Sequence[Tensor | None], weights: Sequence[Any], leaves: Sequence[Tensor]
) -> list[Array]:
    """The gradient of Σ first · weights, where None and what does not depend stand for zeros."""
    parts = [(g * w).sum() for g, w in zip(first, weights, strict=True) if g is not None]
    parts = [part for part in parts if part.requires_grad]
    second = tg.grad(parts, leaves, allow_unused=True) if parts else [None] * len(leaves)
    return [
        np.zeros(x.shape) if s is None else values(s) for s, x in zip(second, leaves, strict=True)
    ]


@given(pure, seeds)
def test_random_programs_have_second_derivatives(steps: Any, seed: int) -> None:
    """H·v against central differences of the forward-mode gradient."""
    starts = starting_values(seed)
    rng = np.random.default_rng(seed)
    v = [rng.normal(size=value.shape) for value in starts]

    def gradient(t: float) -> list[Array]:
        shifted = Program(*(x + t * u for x, u in zip(starts, v, strict=True)))
        shifted.run(steps)
        return shifted.loss()[1]

    def slope(h: float) -> list[Array]:
        pairs = zip(gradient(h), gradient(-h), strict=True)
        return [(right - left) / (2 * h) for right, left in pairs]

    fine, coarse = slope(1e-4), slope(2e-4)
    expected = [(4 * a - b) / 3 for a, b in zip(fine, coarse, strict=True)]  # Richardson
    scale = max(1.0, *(float(np.abs(part).max()) for part in (*expected, *gradient(0.0))))
    for a, b in zip(fine, coarse, strict=True):  # at a kink of relu there is no derivative
        assume(np.abs(a - b).max() < 1e-4 * scale)
    program = Program(*starts)
    program.run(steps)
    loss, _ = program.loss()
    first = tg.grad(loss, program.leaves, create_graph=True, allow_unused=True)
    for s, e in zip(differentiate_again(first, v, program.leaves), expected, strict=True):
        assert_allclose(s, e, rtol=1e-5, atol=1e-6 * scale)


@given(pure, seeds)
def test_a_graph_lists_inputs_before_what_is_made_of_them(steps: Any, seed: int) -> None:
    program = Program(*starting_values(seed))
    program.run(steps)
    graph = tg.graph(program.loss()[0])
    for node in graph:
        for parent in node.parents():
            assert graph.ids[parent] < graph.ids[node]
    assert len(str(graph).splitlines()) == len(graph) == len(set(graph.nodes))


@given(writing, seeds)
def test_a_program_that_changes_values_is_right_or_refused(steps: Any, seed: int) -> None:
    program = Program(*starting_values(seed))
    program.run(steps)
    loss, expected = program.loss()
    changed = any(name in IN_PLACE for name, _, _ in steps)
    with right_or_refused() if changed else contextlib.nullcontext():
        loss.backward()
        agree([x.grad for x in program.leaves], expected)
        event("computed")


@given(writing, seeds, st.sampled_from(list(IN_PLACE)), st.integers(0, 30))
def test_a_change_between_forward_and_backward_is_right_or_refused(
    steps: Any, seed: int, write: str, place: int
) -> None:
    program = Program(*starting_values(seed))
    program.run(steps)
    loss, expected = program.loss()
    program.write(write, place)
    with right_or_refused():
        loss.backward()
        agree([x.grad for x in program.leaves], expected)


@example([("sin", 0, 0)], 0, "data[...] =", 0)
@given(pure, seeds, st.sampled_from(list(IN_PLACE)), st.integers(0, 30))
def test_a_change_between_two_backwards_is_right_or_refused(
    steps: Any, seed: int, write: str, place: int
) -> None:
    """The backward graph saves values as well, and they are guarded as well."""

    def second_derivatives(change: bool) -> list[Array]:
        program = Program(*starting_values(seed))
        program.run(steps)
        loss, _ = program.loss()
        first = tg.grad(loss, program.leaves, create_graph=True, allow_unused=True)
        if change:
            program.write(write, place)
        return differentiate_again(first, [1.0, 2.0], program.leaves)

    expected = second_derivatives(change=False)
    with right_or_refused():
        for a, e in zip(second_derivatives(change=True), expected, strict=True):
            assert_array_equal(a, e)


# ----- order -------------------------------------------------------------------------------------


def test_two_hundred_diamonds_are_walked_once_each() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(200):
        y = y + y
    assert len(tg.graph(y)) == 201
    (first,) = tg.grad(y, x, create_graph=True)
    assert first.item() == 2.0**200
    y.backward()
    assert x.grad.item() == 2.0**200


def test_diamonds_of_products_differentiate_again_and_again() -> None:
    x = leaf(1.1)
    y = x
    for _ in range(5):
        y = y * y  # x³²
    factor = 1.0
    for n in range(32, 28, -1):
        (y,) = tg.grad(y, x, create_graph=True)
        factor *= n
        assert math.isclose(y.item(), factor * 1.1 ** (n - 1), rel_tol=1e-12)


def test_long_and_short_paths_meet() -> None:
    """The number of paths through a ladder of skip connections is a Fibonacci number."""
    x = leaf(1.0)
    before, y, paths_before, paths = x, x, 1, 1
    for _ in range(70):
        before, y = y, y + before
        paths_before, paths = paths, paths + paths_before
    y.backward()
    assert x.grad.item() == paths


def test_a_value_used_late_still_comes_first() -> None:
    x = leaf(3.0)
    shared = x * x
    y = shared
    for _ in range(10):
        y = y + 1
    (y * shared).backward()  # (x² + 10) x²
    assert x.grad.item() == 4 * 3**3 + 20 * 3


def test_one_tensor_in_several_places_gets_the_sum() -> None:
    start, weights = np.array([[0.5, 2.0], [1.5, -1.0], [3.0, 0.0]]), np.array([0.3, 0.7])

    def both(w: Array) -> float:
        z = (start - start.mean(0)) / np.sqrt(start.var(0) + 1e-5)
        return float(((z * w + w) ** 2).sum())

    for create_graph in (False, True):
        w = leaf(weights)
        y = (tg.batch_norm(Tensor(start), weight=w, bias=w, training=True) ** 2).sum()
        y.backward(create_graph=create_graph)
        assert_allclose(values(w.grad), oracles.numerical_gradient(both, weights), rtol=1e-6)
    x = leaf(start)
    (x.T @ x).sum().backward()
    assert_allclose(values(x.grad), 2 * start.sum(1, keepdims=True) + np.zeros((3, 2)))


@pytest.mark.parametrize("create_graph", [False, True])
def test_nothing_has_a_gradient_of_nothing(create_graph: bool) -> None:
    x, row = leaf(np.zeros((0, 3))), leaf([1.0, 2.0, 3.0])
    (x * row + row).sum().backward(create_graph=create_graph)
    assert (x.grad.shape, x.grad.dtype) == ((0, 3), tg.float64)
    assert values(row.grad).tolist() == [0, 0, 0]
    assert tg.grad((row * row).sum(), []) == ()


# ----- grad --------------------------------------------------------------------------------------


@given(st.floats(-3, 3))
def test_three_derivatives_of_the_sine(value: float) -> None:
    x = leaf(value)
    y = x.sin()
    for expected in (math.cos(value), -math.sin(value), -math.cos(value)):
        (y,) = tg.grad(y, x, create_graph=True)
        assert math.isclose(y.item(), expected, abs_tol=1e-15)


@given(st.floats(-2, 2) | st.just(0.0))
def test_all_derivatives_of_a_power(value: float) -> None:
    x = leaf(value)
    y, polynomial = x**5, np.poly1d([1, 0, 0, 0, 0, 0])
    for _ in range(6):
        (y,) = tg.grad(y, x, create_graph=True)
        polynomial = polynomial.deriv()
        assert math.isclose(y.item(), polynomial(value), rel_tol=1e-12, abs_tol=1e-12)


def test_mixed_derivatives_do_not_depend_on_their_order() -> None:
    x, y = leaf(0.3), leaf(0.7)
    f = (x * y).sin() * x
    (fx,), (fy,) = tg.grad(f, x, create_graph=True), tg.grad(f, y, create_graph=True)
    (fxy,), (fyx,) = tg.grad(fx, y, retain_graph=True), tg.grad(fy, x)
    expected = 2 * 0.3 * math.cos(0.21) - 0.3**2 * 0.7 * math.sin(0.21)
    assert math.isclose(fxy.item(), expected)
    assert math.isclose(fyx.item(), expected)


def test_a_gradient_penalty_reaches_the_parameters() -> None:
    """d/dw of Σ (df/dx)² for f = Σ tanh(w x) through backward, not grad."""
    w, x = leaf([[0.3, -0.2], [0.5, 0.1]]), leaf([0.7, -0.4])

    def penalty(w: Array) -> float:
        return float((((1 - np.tanh(w @ [0.7, -0.4]) ** 2) @ w) ** 2).sum())

    (g,) = tg.grad((w @ x).tanh().sum(), x, create_graph=True)
    (g * g).sum().backward()
    assert_allclose(values(w.grad), oracles.numerical_gradient(penalty, values(w)), rtol=1e-7)


def test_several_outputs_add_up() -> None:
    x, y = leaf([1.0, 2.0]), leaf(3.0)
    u, v = np.array([1.0, 10.0]), np.array(100.0)
    gx, gy = tg.grad([x * y, (x * x).sum()], [x, y], grad_outputs=[u, v])
    assert_array_equal(values(gx), 3 * u + 100 * 2 * np.array([1.0, 2.0]))
    assert gy.item() == 1 * 1 + 2 * 10


def test_an_output_counts_as_often_as_it_is_named_and_along_every_path() -> None:
    x = leaf(2.0)
    y = x * x
    z = y * y
    (g,) = tg.grad([y, z, y], x)
    assert g.item() == 2 * (2 * 2) + 4 * 2**3


@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_with_respect_to_intermediate_values(create_graph: bool) -> None:
    x = leaf(2.0)
    y = x * x
    z = y * y * x
    gz, gy, gx = tg.grad(z, [z, y, x], create_graph=create_graph)
    assert (gz.item(), gy.item(), gx.item()) == (1, 2 * 4 * 2, 5 * 2**4)
    assert x.grad is None
    assert y.grad is None


def test_an_input_that_is_not_used() -> None:
    x, unused = leaf(2.0), leaf([1.0, 2.0])
    y = x * x
    with pytest.raises(RuntimeError, match="allow_unused"):
        tg.grad(y, [x, unused], retain_graph=True)
    gx, none = tg.grad(y, [x, unused], allow_unused=True)
    assert gx.item() == 4
    assert none is None


def test_what_a_comparison_or_detach_cut_off_is_not_used() -> None:
    x = leaf([1.0, -2.0])
    y = (x * x.detach()).sum() + (x > 0).double().sum() + x.sign().sum()
    (g,) = tg.grad(y, x)
    assert g.tolist() == [1, -2]


def test_grad_leaves_no_trace_on_leaves() -> None:
    x = leaf([1.0, 2.0])
    x.grad = marker = tg.ones(2)
    tg.grad((x * x).sum(), x, create_graph=True)
    tg.grad((x * x).sum(), x)
    assert x.grad is marker
    assert marker.tolist() == [1, 1]


def test_a_graph_is_kept_when_asked_and_freed_otherwise() -> None:
    x = leaf(2.0)
    y = x * x * x
    for _ in range(2):
        assert tg.grad(y, x, retain_graph=True)[0].item() == 12
    assert tg.grad(y, x)[0].item() == 12
    with pytest.raises(RuntimeError, match="second time"):
        tg.grad(y, x)
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


# ----- pruning -----------------------------------------------------------------------------------


class Trap(Op, register=False):
    """The identity; its rule must not run."""

    def forward(self, xp, x):
        return x * 1

    def grad_x(self, F, g):
        raise AssertionError("a rule ran that nobody needed")


class TrapProduct(Op, register=False):
    """x · y; the rule for y must not run."""

    def forward(self, xp, x, y):
        return x * y

    def grad_x(self, F, g, y):
        return g * y

    def grad_y(self, F, g, x):
        raise AssertionError("a rule ran that nobody needed")


class TrapSum(Op, register=False):
    """x + Σ y; the rule for the y must not run."""

    def forward(self, xp, x, *ys):
        return sum(ys, x)

    def grad_x(self, F, g):
        return g

    def grad_ys(self, F, g):
        raise AssertionError("a rule ran that nobody needed")


trap, trap_product, trap_sum = map(tg.function, (Trap, TrapProduct, TrapSum))


@pytest.mark.parametrize("create_graph", [False, True])
class TestPruning:
    def test_a_branch_that_leads_elsewhere(self, create_graph: bool) -> None:
        x, y = leaf(2.0), leaf(3.0)
        z = x * x + trap(y * 2).exp()
        assert tg.grad(z, x, create_graph=create_graph)[0].item() == 4

    def test_the_other_input_of_an_op(self, create_graph: bool) -> None:
        x, y = leaf(2.0), leaf(3.0)
        z = trap_product(x, y)
        assert tg.grad(z, x, create_graph=create_graph)[0].item() == 3

    def test_the_other_inputs_of_a_variadic_op(self, create_graph: bool) -> None:
        x, y = leaf(2.0), leaf(3.0)
        z = trap_sum(x * x, y, y)
        assert tg.grad(z, x, create_graph=create_graph)[0].item() == 4
        trap_sum(x * x, Tensor(3.0), 1.0).backward(create_graph=create_graph)
        assert x.grad.item() == 4

    def test_what_lies_before_an_intermediate_value(self, create_graph: bool) -> None:
        y = trap(leaf(2.0))
        assert tg.grad(y * y, y, create_graph=create_graph)[0].item() == 4

    def test_an_output_that_is_the_wanted_value(self, create_graph: bool) -> None:
        y = trap(leaf(2.0))
        assert tg.grad(y, y, create_graph=create_graph)[0].item() == 1

    def test_an_input_that_needs_no_gradient(self, create_graph: bool) -> None:
        x = leaf(2.0)
        trap_product(x, Tensor(3.0)).backward(create_graph=create_graph)
        assert x.grad.item() == 3

    def test_wanted_values_behind_each_other(self, create_graph: bool) -> None:
        x = leaf(2.0)
        y = x * x
        z = trap_product(y, leaf(3.0))
        gy, gx = tg.grad(z, [y, x], create_graph=create_graph)
        assert (gy.item(), gx.item()) == (3, 12)


def test_the_traps_do_spring() -> None:
    for y in (trap(leaf(2.0)), trap_product(leaf(2.0), leaf(3.0)), trap_sum(1.0, leaf(2.0))):
        with pytest.raises(AssertionError, match="nobody needed"):
            y.backward()


def test_what_was_not_walked_keeps_its_saved_values() -> None:
    x = leaf(2.0)
    y = x * x
    (g,) = tg.grad(y * y, y)
    y.backward(g)
    assert x.grad.item() == 4 * 2**3


# ----- backward ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_gradients_accumulate_over_backwards(shape: tuple[int, ...]) -> None:
    x = leaf(np.full(shape, 3.0))
    for times in range(1, 4):
        (x * x).sum().backward()
        assert_array_equal(values(x.grad), np.full(shape, 6.0 * times))
    (x * x).sum().backward(create_graph=True)
    assert_array_equal(values(x.grad), np.full(shape, 24.0))
    x.grad = None
    (x * x).sum().backward()
    assert_array_equal(values(x.grad), np.full(shape, 6.0))


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("create_graph", [False, True])
def test_an_accumulated_gradient_is_a_tensor_like_any_other(
    shape: tuple[int, ...], create_graph: bool
) -> None:
    x = leaf(np.full(shape, 3.0))
    for _ in range(2):
        (x * 2).sum().backward(create_graph=create_graph)
        assert (x.grad.shape, x.grad.dtype, x.grad.detach().tolist()) == (
            shape,
            tg.float64,
            np.full(shape, x.grad.detach().numpy().max()).tolist(),
        )
        x.grad.data *= 0.5  # clipping
    assert_array_equal(values(x.grad), np.full(shape, (2 * 0.5 + 2) * 0.5))


@pytest.mark.parametrize(
    "gradient",
    [[1.0, 10.0], np.array([1.0, 10.0]), np.array([1, 10]), tg.tensor([1.0, 10.0])],
    ids=["list", "array", "integers", "tensor"],
)
def test_backward_takes_the_gradient_of_its_output(gradient: Any) -> None:
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    (x * x).sum(axis=0).backward(gradient=gradient)
    assert x.grad.tolist() == [[2, 40], [6, 80]]
    assert x.grad.dtype == tg.float64


def test_backward_of_one_element_needs_no_gradient() -> None:
    x = leaf([[2.0]])
    (x * x).backward()
    assert x.grad.tolist() == [[4]]


def test_backward_of_a_leaf() -> None:
    x = leaf([1.0, 2.0])
    seed = tg.tensor([3.0, 4.0], dtype=tg.float64)
    x.backward(seed)
    x.grad.zero_()
    assert seed.tolist() == [3, 4]


def test_retain_grad_keeps_the_gradient_of_an_intermediate_value() -> None:
    x = leaf([1.0, 2.0])
    y = x * x
    y.retain_grad()
    z = (y * y).sum()
    z.backward(retain_graph=True)
    assert y.grad.tolist() == [2, 8]
    assert x.grad.tolist() == [4, 32]
    y.grad.zero_()
    z.backward()
    assert y.grad.tolist() == [2, 8]
    assert x.grad.tolist() == [8, 64]


def test_a_retained_gradient_keeps_no_tensor_alive() -> None:
    x = leaf([1.0, 2.0])
    y = x * x
    y.retain_grad()
    gone = weakref.ref(y)
    z = (y * y).sum()
    del y
    assert gone() is None
    z.backward()
    assert x.grad.tolist() == [4, 32]


@contextlib.contextmanager
def tensors_made() -> Iterator[list[Any]]:
    """A list with an entry for every tensor that this thread makes, by whatever way."""
    made: list[Any] = []

    def watch(frame: FrameType, event: str, called: Any) -> None:
        ours = frame.f_globals["__name__"].startswith("tinygrad_cv")
        if (event == "c_call" and called is object.__new__ and ours) or (
            event == "call" and frame.f_code is Tensor.__init__.__code__
        ):
            made.append(frame.f_code.co_qualname)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        yield made
    finally:
        sys.setprofile(before)


def test_an_ordinary_backward_makes_no_tensors_but_the_gradients_of_leaves() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.LeakyReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 2, groups=2),
        nn.Sigmoid(),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(36, 5),
    )
    x, labels = tg.rand(2, 1, 8, 8), tg.tensor([1, 3])
    with tensors_made() as made:
        loss = tg.cross_entropy(model(x), labels) + model[0].weight.square().mean()
    assert len(made) >= len([node for node in tg.graph(loss) if node.op is not None])
    with tensors_made() as made:
        loss.backward()
    assert len([p for p in model.parameters() if p.grad is not None]) == 8
    assert len(made) <= 8 + 1, made  # and dL/dL = 1


# ----- what is saved -----------------------------------------------------------------------------

IMAGE, KERNEL = (2, 2, 4, 4), (3, 2, 3, 3)

SAVED: dict[str, tuple[tuple[int, ...], Callable[[Tensor], Tensor], str]] = {
    "add": ((3,), lambda x: x + 1, ""),
    "sub": ((3,), lambda x: 1 - x, ""),
    "neg": ((3,), lambda x: -x, ""),
    "mul by a constant": ((3,), lambda x: x * tg.ones(3), ""),
    "mul by a parameter": ((3,), lambda x: x * leaf(np.ones(3)), "x"),
    "div by a constant": ((3,), lambda x: x / 3, ""),
    "div into a constant": ((3,), lambda x: 3 / x, "x"),
    "square": ((3,), tg.square, "x"),
    "pow": ((3,), lambda x: x**3, "x"),
    "sqrt": ((3,), tg.sqrt, "y"),
    "exp": ((3,), tg.exp, "y"),
    "log": ((3,), tg.log, "x"),
    "sin": ((3,), tg.sin, "x"),
    "tanh": ((3,), tg.tanh, "y"),
    "sigmoid": ((3,), tg.sigmoid, "y"),
    "relu": ((3,), tg.relu, "y"),
    "softmax": ((2, 3), lambda x: tg.softmax(x, 1), "y"),
    "log_softmax": ((2, 3), lambda x: tg.log_softmax(x, 1), "y"),
    "sum": ((3,), tg.sum, ""),
    "mean": ((3,), tg.mean, ""),
    "var": ((3,), tg.var, "x"),
    "amax": ((3,), tg.amax, "xy"),
    "where": ((3,), lambda x: tg.where(x.detach() > 0, x, 0.0), ""),
    "cat": ((3,), lambda x: tg.cat([x, x]), ""),
    "pad": ((3,), lambda x: tg.pad(x, (1, 1)), ""),
    "advanced index": ((3,), lambda x: x[[0, 0, 1]], ""),
    "clone": ((3,), tg.clone, ""),
    "cast": ((3,), lambda x: x.half(), ""),
    "matmul by a constant": ((2, 3), lambda x: x @ tg.ones(3, 2), ""),
    "matmul by a parameter": ((2, 3), lambda x: x @ leaf(np.ones((3, 2))), "x"),
    "linear": ((2, 3), lambda x: tg.linear(x, leaf(np.ones((4, 3)))), "x"),
    "linear, frozen": ((2, 3), lambda x: tg.linear(x, tg.ones(4, 3), leaf(np.ones(4))), ""),
    "conv2d": (IMAGE, lambda x: tg.conv2d(x, leaf(np.ones(KERNEL))), "x"),
    "conv2d, frozen": (IMAGE, lambda x: tg.conv2d(x, tg.ones(*KERNEL), leaf(np.ones(3))), ""),
    "conv2d as a kernel": (KERNEL, lambda x: tg.conv2d(tg.ones(*IMAGE), x), ""),
    "max_pool2d": (IMAGE, lambda x: tg.max_pool2d(x, 2), ""),
    "avg_pool2d": (IMAGE, lambda x: tg.avg_pool2d(x, 2), ""),
    "dropout": ((3,), lambda x: tg.dropout(x, 0.5), ""),
    "batch_norm": (IMAGE, lambda x: tg.batch_norm(x, training=True), "x"),
    "cross_entropy": ((2, 3), lambda x: tg.cross_entropy(x, tg.tensor([0, 1])), "x"),
}


@pytest.mark.parametrize(("shape", "f", "expected"), SAVED.values(), ids=SAVED.keys())
def test_nothing_is_saved_but_what_the_rules_ask_for(
    shape: tuple[int, ...], f: Callable[[Tensor], Tensor], expected: str
) -> None:
    start = tg.full(shape, 0.5, dtype=tg.float64, requires_grad=True)
    x = start + 0.25
    y = f(x)
    node = y.node
    references = {"x": weakref.ref(memory(x)), "y": weakref.ref(memory(y))}
    del x, y
    kept = "".join(name for name, reference in references.items() if reference() is not None)
    assert kept == expected
    assert node.saved is not None


def test_an_image_is_saved_for_its_kernel_and_the_kernel_is_not_saved_for_it() -> None:
    image, kernel = tg.ones(*IMAGE), leaf(np.ones(KERNEL), "float32")
    assert [a.shape for a in tg.conv2d(image, kernel).node.saved] == [IMAGE]
    image.requires_grad = True
    saved = tg.conv2d(image, kernel).node.saved
    assert sorted(a.shape for a in saved) == sorted([IMAGE, KERNEL])
    assert [a.shape for a in tg.conv2d(image, kernel.detach()).node.saved] == [KERNEL]


@pytest.mark.parametrize("keep", [False, True])
def test_backward_frees_what_was_saved(keep: bool) -> None:
    """By-products as well: the index of max-pool, the mask of dropout, the statistics."""
    start = tg.rand(4, 2, 4, 4, requires_grad=True)
    x = tg.max_pool2d(tg.batch_norm(start * 2, training=True).relu(), 2)
    loss = tg.cross_entropy(tg.dropout(x.flatten(1), 0.5).tanh(), tg.tensor([0, 1, 2, 3]))
    del x
    mine = id(memory(start))
    saved = [a for node in tg.graph(loss) for a in node.saved if isinstance(a, np.ndarray)]
    references = [weakref.ref(a) for a in saved if a.size > 1 and id(a) != mine]
    del saved
    assert len(references) >= 8
    loss.backward(retain_graph=keep)
    alive = sum(reference() is not None for reference in references)
    assert alive == (len(references) if keep else 0)
    first = values(start.grad)
    if keep:
        start.grad = None
        loss.backward()
        assert_array_equal(values(start.grad), first)
    else:
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()


def test_a_by_product_that_no_rule_wants_is_dropped() -> None:
    x, labels = tg.rand(4, 3), tg.tensor([0, 1, 2, 0])
    weight = leaf(np.ones(2), "float32")
    y = tg.batch_norm(tg.rand(4, 2), weight=None, bias=weight, training=True)
    assert y.node.op is not None
    assert not {"mean", "var"} & vars(y.node.op).keys()
    assert not tg.cross_entropy(x, labels).requires_grad


# ----- no_grad -----------------------------------------------------------------------------------


def recording() -> bool:
    """Whether an op is recorded, found out by doing one."""
    found = (leaf(1.0) * 2).requires_grad
    assert found == tg.is_grad_enabled()
    return found


def test_no_grad_nests() -> None:
    with tg.no_grad():
        assert not recording()
        with tg.enable_grad():
            assert recording()
            with tg.no_grad():
                assert not recording()
            assert recording()
        assert not recording()
    assert recording()


def test_no_grad_ends_with_an_exception() -> None:
    with pytest.raises(KeyError), tg.no_grad():
        raise KeyError
    assert recording()


def test_one_no_grad_serves_many_times() -> None:
    quiet = tg.no_grad()
    for _ in range(2):
        with quiet:
            assert not recording()
            with quiet, tg.enable_grad():
                assert recording()
            assert not recording()
        assert recording()


def test_no_grad_makes_a_decorator() -> None:
    @tg.no_grad()
    def inner(depth: int) -> list[bool]:
        return [recording()] + (inner(depth - 1) if depth else [])

    @tg.enable_grad()
    def outer() -> list[bool]:
        return [recording(), *inner(2), recording()]

    with tg.no_grad():
        assert outer() == [True, False, False, False, True]
    assert inner(0) == [False]  # more than once
    assert recording()


def test_no_grad_decorates_a_generator() -> None:
    """The body runs without recording, and who takes the values goes on recording."""

    @tg.no_grad()
    def batches() -> Iterator[bool]:
        for _ in range(3):
            yield recording()

    seen = [(inside, recording()) for inside in batches()]
    assert seen == [(False, True)] * 3


def test_a_generator_restores_what_it_found() -> None:
    def batches() -> Iterator[bool]:
        with tg.no_grad():
            yield recording()

    assert list(batches()) == [False]
    assert recording()
    generator = batches()
    next(generator)
    generator.close()
    assert recording()


def test_a_generator_may_be_closed_in_another_thread() -> None:
    """As happens to the last batch of a loader whose worker is gone."""

    def batches() -> Iterator[int]:
        with tg.no_grad():
            yield 1

    generator = batches()
    thread = threading.Thread(target=next, args=(generator,))
    thread.start()
    thread.join()
    generator.close()
    assert recording()


def test_no_grad_belongs_to_one_thread() -> None:
    inside, checked = threading.Event(), threading.Event()
    found = []

    def other() -> None:
        inside.wait(10)
        found.append(recording())
        with tg.no_grad():
            checked.set()
            found.append(recording())

    thread = threading.Thread(target=other)
    thread.start()
    with tg.no_grad():
        inside.set()
        assert checked.wait(10)
    assert recording()
    thread.join()
    assert found == [True, False]


def test_no_grad_belongs_to_one_task() -> None:
    async def quiet(turn: asyncio.Event, done: asyncio.Event) -> bool:
        with tg.no_grad():
            turn.set()
            await done.wait()
            return recording()

    async def loud(turn: asyncio.Event, done: asyncio.Event) -> bool:
        await turn.wait()
        found = recording()
        done.set()
        return found

    async def both() -> list[bool]:
        turn, done = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(quiet(turn, done), loud(turn, done))

    assert asyncio.run(both()) == [False, True]
    assert recording()


def test_an_abandoned_asynchronous_generator_is_closed_without_a_word() -> None:
    """asyncio closes it in a task of its own."""
    complaints = []

    async def batches() -> AsyncIterator[int]:
        with tg.no_grad():
            yield 1

    async def first() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, c: complaints.append(c))
        async for _ in batches():
            break

    asyncio.run(first())
    assert complaints == []


# ----- threads -----------------------------------------------------------------------------------


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def at_once(work: Callable[[int], Any], threads: int) -> list[Any]:
    """`work(i)` in that many threads, let go at the same moment."""
    barrier = threading.Barrier(threads)

    def run(i: int) -> Any:
        barrier.wait(10)
        return work(i)

    with ThreadPoolExecutor(threads) as executor:
        return list(executor.map(run, range(threads)))


def test_threads_with_graphs_of_their_own(hasty_threads: None) -> None:
    def work(i: int) -> tuple[Tensor, list[Array]]:
        program = Program(*starting_values(i))
        names = [*UNARY, *BINARY]
        rng = np.random.default_rng(i)
        program.run([(rng.choice(names), *rng.integers(0, 30, 2)) for _ in range(30)])
        loss, expected = program.loss()
        loss.backward()
        return [x.grad for x in program.leaves], expected

    for gradients, expected in at_once(work, 8):
        agree(gradients, expected)


def test_threads_that_share_parameters(hasty_threads: None) -> None:
    """Whoever uses a leaf first makes its node; two that come at once must not make two."""
    for _ in range(150):
        x = leaf([0.5, 1.5])

        def work(i: int, x: Tensor = x) -> Array:
            y = x * x + x.sin() * i
            return values(tg.grad(y.sum(), x)[0])

        for i, g in enumerate(at_once(work, 6)):
            assert_allclose(g, [1 + i * math.cos(0.5), 3 + i * math.cos(1.5)])


def test_threads_whose_kernels_use_threads() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(4, 3, 8, 8)), rng.normal(size=(5, 3, 3, 3))
    g = rng.normal(size=(4, 5, 6, 6))
    expected = oracles.conv2d_weight(x, g, (3, 3))

    def work(i: int) -> Tensor:
        kernel = leaf(w)
        tg.conv2d(Tensor(x), kernel).backward((i + 1) * g)
        return kernel.grad

    for i, gradient in enumerate(at_once(work, 6)):
        assert_allclose(values(gradient), (i + 1) * expected, rtol=1e-10, atol=1e-10)


# ----- gradients have memory of their own --------------------------------------------------------


class Same(Op, register=False):
    """The identity, without a copy in either direction."""

    def forward(self, xp, x):
        return x

    def grad_x(self, F, g):
        return g


class HalfSquare(Op, register=False):
    """x²/2: the gradient is x itself where the gradient of the output is 1."""

    def forward(self, xp, x):
        return x * x / 2

    def grad_x(self, F, g, x):
        return x


class Exponential(Op, register=False):
    """eˣ: the gradient is y itself where the gradient of the output is 1."""

    def forward(self, xp, x):
        return xp.exp(x)

    def grad_x(self, F, g, y):
        return y


class Both(Op, register=False):
    """x + y with one array for both gradients."""

    def forward(self, xp, x, y):
        return x + y

    def grad_x(self, F, g):
        return g

    def grad_y(self, F, g):
        return g


class FusedBoth(Both, register=False):
    """The same, fused."""

    def fused(self, xp, g):
        g = g + 0
        return g, g


SHARING: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": lambda p, q: p + q,
    "sub": lambda p, q: p - q,
    "neg": lambda p, q: -p + -q,
    "a sum of the same": lambda p, q: p + p + q,
    "reshape": lambda p, q: p.reshape(2, 2) + q.reshape(2, 2),
    "reshape of one": lambda p, q: p.reshape(4) + q,
    "transpose": lambda p, q: (p.reshape(2, 2).T + q.reshape(2, 2)).reshape(4),
    "permute twice": lambda p, q: p.reshape(2, 2).T.T + q.reshape(2, 2),
    "broadcast": lambda p, q: p.broadcast_to(3, 4) + q,
    "expand": lambda p, q: p[None].expand(1, 4) + q,
    "clone": lambda p, q: p.clone() + q.clone(),
    "cast": lambda p, q: p.double() + q.float().double(),
    "cat": lambda p, q: tg.cat([p, q]),
    "stack": lambda p, q: tg.stack([p, q]),
    "slices": lambda p, q: p[:2] + q[2:],
    "a whole slice": lambda p, q: p[:] + q[...],
    "pad": lambda p, q: tg.pad(p, (0, 0)) + q,
    "where": lambda p, q: tg.where(np.array([True] * 4), p, q),
    "clamp without bounds": lambda p, q: p.clamp() + q.clamp(),
    "sum": lambda p, q: p.sum() + q.sum(),
    "mean of one element": lambda p, q: p[:1].mean() + q[:1].mean(),
    "max_pool2d of one pixel": lambda p, q: (
        tg.max_pool2d(p.reshape(1, 1, 2, 2), 1) + q.reshape(1, 1, 2, 2)
    ),
    "conv2d with a bias": lambda p, q: tg.conv2d(tg.ones(1, 1, 1, 1), p.reshape(4, 1, 1, 1), q),
    "linear with a bias": lambda p, q: tg.linear(tg.ones(1, 1), p.reshape(4, 1), q),
    "the identity of a user": lambda p, q: tg.function(Same)(p) + tg.function(Same)(q),
    "the identity twice": lambda p, q: tg.function(Same)(tg.function(Same)(p)) + q,
    "a rule that gives its input": lambda p, q: tg.function(HalfSquare)(p) + q,
    "a rule that gives its output": lambda p, q: tg.function(Exponential)(p) + q,
    "a rule that gives one array twice": tg.function(Both),
    "a fused rule that gives one array twice": tg.function(FusedBoth),
}


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("through_grad", [False, True], ids=["backward", "grad"])
@pytest.mark.parametrize("f", SHARING.values(), ids=SHARING.keys())
def test_gradients_share_memory_with_nothing(
    f: Callable[[Tensor, Tensor], Tensor], through_grad: bool, create_graph: bool
) -> None:
    p, q = leaf([1.0, 2.0, 3.0, 4.0]), leaf([5.0, 6.0, 7.0, 8.0])
    h = p * 1.0  # not a leaf, so that a saved value is somebody else's memory too
    y = f(h, q)
    seed = tg.ones(*y.shape, dtype=tg.float64)

    def gradients() -> list[Tensor]:
        if through_grad:
            options = {"create_graph": create_graph, "retain_graph": True}
            return list(tg.grad(y, [h, q], grad_outputs=seed, **options))
        h.grad = q.grad = None
        h.retain_grad()
        y.backward(seed, retain_graph=True, create_graph=create_graph)
        return [h.grad, q.grad]

    first = gradients()
    expected = [values(g) for g in first]
    bystanders = [seed, p, q, h, y]
    for a, b in combinations([*first, *bystanders], 2):
        if any(a is g for g in first):
            assert not np.shares_memory(a.detach().numpy(), b.detach().numpy())
    before = [values(t) for t in bystanders]
    for g, e in zip(first, expected, strict=True):
        assert_array_equal(values(g), e)
        g.data.copy_(float("nan"))
    for t, e in zip(bystanders, before, strict=True):
        assert_array_equal(values(t), e)
    for g, e in zip(gradients(), expected, strict=True):
        assert_array_equal(values(g), e)


def test_a_gradient_is_not_the_memory_of_a_parameter() -> None:
    """Zeroing the gradients must not zero the parameters."""
    for op in (Same, HalfSquare, Exponential):
        for create_graph in (False, True):
            x = leaf([1.0, 2.0])
            y = tg.function(op)(x)
            result = values(y)
            y.sum().backward(create_graph=create_graph)
            x.grad.data.zero_()
            assert x.tolist() == [1, 2]
            assert_array_equal(values(y), result)


def test_a_gradient_that_was_changed_does_not_spoil_the_next() -> None:
    p, q = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    y = (p + q).sum()
    y.backward(retain_graph=True)
    p.grad *= 100.0
    y.backward()
    assert p.grad.tolist() == [101, 101]
    assert q.grad.tolist() == [2, 2]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_gets_its_own_gradient(copied: Callable[[Tensor], Tensor]) -> None:
    x = leaf([1.0, 2.0])
    (x * 3).sum().backward()
    z = copied(x)
    (z * 5).sum().backward()
    assert x.grad.tolist() == [3, 3]
    assert z.grad.tolist() == [8, 8]  # its own came along
    z.grad.zero_()
    assert x.grad.tolist() == [3, 3]


# ----- values that change ------------------------------------------------------------------------

LEAF_ONLY: dict[str, Callable[[Tensor], Any]] = {
    "SGD": lambda x: step(optim.SGD([x], lr=0.1), x),
    "SGD with momentum": lambda x: step(optim.SGD([x], lr=0.1, momentum=0.9), x),
    "Adam": lambda x: step(optim.Adam([x], lr=0.1), x),
    "load_state_dict": lambda x: holder(x).load_state_dict({"x": tg.zeros(*x.shape)}),
    "state_dict": lambda x: holder(x).state_dict()["x"].zero_(),
}


def step(optimizer: optim.Optimizer, x: Tensor) -> None:
    x.grad = tg.ones(*x.shape, dtype=x.dtype)
    optimizer.step()


def holder(x: Tensor) -> nn.Module:
    module = nn.Module()
    module.register_buffer("x", x)
    return module


@pytest.mark.parametrize("name", [*IN_PLACE, *LEAF_ONLY])
def test_a_parameter_that_changed_since_is_refused(name: str) -> None:
    x = leaf([[0.5, -1.5], [2.5, 3.5]])
    y = (x * x).sum()
    (IN_PLACE | LEAF_ONLY)[name](x)
    assert x.tolist() != [[0.5, -1.5], [2.5, 3.5]]
    with pytest.raises(RuntimeError, match="in place"):
        y.backward()
    assert x.grad is None or x.grad.tolist() == [[1, 1], [1, 1]]  # the one of `step`
    (x * x).sum().backward()  # a new forward pass sees the new values


@pytest.mark.parametrize("name", IN_PLACE)
def test_an_intermediate_value_that_changed_since_is_refused(name: str) -> None:
    x = leaf([[0.5, -1.5], [2.5, 3.5]])
    for made in (lambda: x * 1.0, lambda: x.tanh(), lambda: x.T, lambda: x[:1]):
        h = made()
        y = (h * h).sum()
        before = values(h)
        IN_PLACE[name](h)
        if not (values(h) == before).all():  # reshape copies what is transposed
            with pytest.raises(RuntimeError, match="in place"):
                y.backward()
        x.data.copy_([[0.5, -1.5], [2.5, 3.5]])


@pytest.mark.parametrize("name", [*IN_PLACE, *LEAF_ONLY])
def test_a_change_between_two_derivatives_is_right_or_refused(name: str) -> None:
    """x³ and eˣ: the first derivative saved x (or what was made of it) for the second."""
    start = np.array([[0.5, -1.5], [2.5, 3.5]])
    for f, second_derivative in (
        (lambda x: x**3, 6 * start),
        (lambda x: x * x * x, 6 * start),
        (lambda x: x.exp(), np.exp(start)),
        (lambda x: x.sin(), -np.sin(start)),
        (lambda x: 1 / x, 2 / start**3),
        (lambda x: x.T.T.log(), -1 / start**2),
    ):
        x = leaf(np.abs(start)) if second_derivative[0, 1] == -1 / 1.5**2 else leaf(start)
        (first,) = tg.grad(f(x).sum(), x, create_graph=True)
        (IN_PLACE | LEAF_ONLY)[name](x)
        with right_or_refused():
            (second,) = tg.grad(first.sum(), x)
            assert_allclose(values(second), second_derivative)


def test_the_view_and_its_base_count_changes_together() -> None:
    for change in (
        lambda x, h: x.data[0].zero_(),
        lambda x, h: h.data.zero_(),
        lambda x, h: x.data.T[1].zero_(),
        lambda x, h: h.detach()[:1].zero_(),
    ):
        for view in (lambda x: x[1:], lambda x: x.T, lambda x: x.reshape(4), lambda x: x[None]):
            x = leaf([[1.0, 2.0], [3.0, 4.0]])
            h = view(x)
            y = (h * h).sum()
            change(x, h)
            with pytest.raises(RuntimeError, match="in place"):
                y.backward()


def test_a_change_through_a_tensor_that_was_put_into_data() -> None:
    x, source = leaf([1.0, 2.0]), Tensor([3.0, 4.0], dtype="float64")
    x.data = source
    y = (x * x).sum()
    source[0] = 9.0
    with pytest.raises(RuntimeError, match="in place"):
        y.backward()


def test_a_change_that_no_rule_can_see_is_not_refused() -> None:
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    y = ((x + w).tanh() + x.exp()).sum()  # these rules read outputs
    x.data.zero_()
    w.data.zero_()
    y.backward()
    expected = 1 - np.tanh([4.0, 6.0]) ** 2
    assert_allclose(values(x.grad), expected + np.exp([1.0, 2.0]))
    assert_allclose(values(w.grad), expected)


def test_a_change_before_the_value_is_used_is_not_refused() -> None:
    x = leaf([1.0, 2.0])
    x.data += 2.0
    h = x * 1.0
    h.data *= 10.0
    (h * h).sum().backward()
    assert x.grad.tolist() == [60, 80]


def test_data_replaced_leaves_the_graph_its_old_values() -> None:
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    x.data = Tensor([10.0, 20.0], dtype="float64")
    y.backward()
    assert x.grad.tolist() == [2, 4]
    (x * x).sum().backward()
    assert x.grad.tolist() == [2 + 20, 4 + 40]


def test_a_step_on_a_graph_that_is_kept_is_noticed() -> None:
    w = leaf([1.0, 2.0])
    optimizer = optim.SGD([w], lr=0.1)
    loss = (w**3).sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="in place"):
        loss.backward()


def test_arrays_that_tensors_were_made_from_are_copied() -> None:
    a = np.array([1.0, 2.0])
    made = [Tensor(a), tg.tensor(a), nn.Parameter(a), leaf(a), Tensor(Tensor(a))]
    made += [tg.eye(2)[0].double(), tg.full((2,), 1.0).double()]
    a[:] = 9
    assert [t.tolist() for t in made[:5]] == [[1, 2]] * 5


def test_arrays_that_took_part_may_change_afterwards() -> None:
    a, index, mask = np.array([3.0, 4.0]), np.array([0, 1]), np.array([True, False])
    slope = np.array([1.0, 10.0])
    x = leaf([1.0, 2.0])
    y = x * a + x[index] * 1.0 + tg.where(mask, x, 0.0)
    x.grad = tg.zeros(2, dtype=tg.float64)
    (first,) = tg.grad(y, x, grad_outputs=[slope], retain_graph=True)
    a[:], index[:], mask[:] = 0, 0, False
    assert values(first).tolist() == [5, 50]
    y.backward(slope)
    slope[:] = 0
    assert x.grad.tolist() == [5, 50]


@pytest.mark.parametrize("view", [lambda x: x.detach().numpy(), lambda x: np.asarray(x.detach())])
def test_arrays_that_tensors_hand_out_cannot_be_written(view: Callable[[Tensor], Array]) -> None:
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    y = (x * x).sum()
    for h in (x, x * 1.0, x.T, x.sum(), x[0, 0]):
        given = view(h)
        for same in (given, given[...], given.T):
            with pytest.raises(ValueError, match="read-only"):
                same[...] = 0
    y.backward()
    assert x.grad.tolist() == [[2, 4], [6, 8]]


def test_arrays_that_are_asked_for_as_copies_can_be_written() -> None:
    x = leaf([1.0, 2.0])
    for mine in (np.array(x.detach()), np.asarray(x.detach(), dtype="float32")):
        mine[:] = 0
    assert x.tolist() == [1, 2]


def test_statistics_that_moved_on_do_not_spoil_a_gradient() -> None:
    rng = np.random.default_rng(0)
    batches = rng.normal(size=(2, 5, 2))
    layer = nn.BatchNorm1d(2)
    x = leaf(batches[0])
    y = (layer(x) * batches[1]).sum()
    moved = values(layer.running_mean)
    layer(Tensor(batches[1]))
    assert (values(layer.running_mean) != moved).all()

    def normalized(x: Array) -> float:
        z = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
        return float((z * batches[1]).sum())

    y.backward()
    assert_allclose(values(x.grad), oracles.numerical_gradient(normalized, batches[0]), atol=1e-7)


def test_statistics_in_use_are_right_or_refused_when_they_move() -> None:
    layer = nn.BatchNorm1d(2)
    layer.eval()
    x = leaf(np.ones((3, 2)))
    y = layer(x).sum()
    layer.train()
    layer(tg.rand(5, 2))
    with right_or_refused():
        y.backward()
        # At first the variance is 1 and the weight is 1.
        assert_allclose(values(x.grad), np.full((3, 2), 1 / np.sqrt(1 + 1e-5)), rtol=1e-6)


def test_statistics_that_a_graph_reads_are_refused_when_they_move() -> None:
    layer = nn.BatchNorm1d(2)
    for statistic in (layer.running_mean, layer.running_var):
        x = leaf(np.ones((3, 2)), "float32")
        y = (x * statistic).sum()
        layer(tg.rand(5, 2))
        with pytest.raises(RuntimeError, match="in place"):
            y.backward()


def fixed(*shape: int) -> Tensor:
    """Numbers in (0, 1), the same ones in each call."""
    return leaf(np.random.default_rng(sum(shape)).uniform(0.1, 0.9, shape))


# Everything that has a rule, with the tensors whose change has to be noticed.
FUNCTIONS: dict[str, tuple[Callable[..., Tensor], tuple[tuple[int, ...], ...]]] = {
    "add": (tg.add, ((2, 3), (3,))),
    "mul": (tg.mul, ((2, 3), (3,))),
    "div": (tg.div, ((2, 3), (3,))),
    "pow": (lambda x: x**2.5, ((3,),)),
    "pow of tensors": (lambda x, n: x**n, ((3,), (3,))),
    "maximum": (tg.maximum, ((3,), (3,))),
    "exp": (tg.exp, ((3,),)),
    "log": (tg.log, ((3,),)),
    "sqrt": (tg.sqrt, ((3,),)),
    "square": (tg.square, ((3,),)),
    "reciprocal": (tg.reciprocal, ((3,),)),
    "sin": (tg.sin, ((3,),)),
    "cos": (tg.cos, ((3,),)),
    "abs": (tg.abs, ((3,),)),
    "clamp": (lambda x: x.clamp(0.3, 0.6), ((5,),)),
    "where": (lambda x, y: tg.where(x > y, x * x, y * y), ((5,), (5,))),
    "relu": (lambda x: tg.relu(x - 0.5), ((5,),)),
    "leaky_relu": (lambda x: tg.leaky_relu(x - 0.5), ((5,),)),
    "sigmoid": (tg.sigmoid, ((3,),)),
    "tanh": (tg.tanh, ((3,),)),
    "softmax": (lambda x: tg.softmax(x, 1), ((2, 3),)),
    "log_softmax": (lambda x: tg.log_softmax(x, 1), ((2, 3),)),
    "var": (lambda x: x.var(1), ((2, 3),)),
    "amax": (lambda x: x.amax(1), ((2, 3),)),
    "logsumexp": (lambda x: x.logsumexp(1), ((2, 3),)),
    "matmul": (tg.matmul, ((2, 3), (3, 2))),
    "linear": (tg.linear, ((2, 3), (4, 3), (4,))),
    "conv2d": (tg.conv2d, ((2, 2, 4, 4), (3, 2, 2, 2), (3,))),
    "conv_transpose2d": (tg.conv_transpose2d, ((2, 3, 2, 2), (3, 2, 2, 2), (2,))),
    "max_pool2d": (lambda x: tg.max_pool2d(x, 2), ((2, 2, 4, 4),)),
    "avg_pool2d": (lambda x: tg.avg_pool2d(x, 2), ((2, 2, 4, 4),)),
    "batch_norm": (
        lambda x, w, b: tg.batch_norm(x, weight=w, bias=b, training=True),
        ((4, 2), (2,), (2,)),
    ),
    "dropout": (lambda x: tg.dropout(x, 0.5, generator=np.random.default_rng(0)), ((9,),)),
    "cross_entropy": (lambda x: tg.cross_entropy(x, tg.tensor([0, 2])), ((2, 3),)),
    "mse_loss": (tg.mse_loss, ((3,), (3,))),
    "cat": (lambda x, y: tg.cat([x * x, y * y]), ((3,), (2,))),
    "getitem": (lambda x: x[[0, 0, 1]] * x[1:], ((4,),)),
}


def first_and_second(y: Tensor, leaves: Sequence[Tensor]) -> Iterator[list[Array | None]]:
    """The gradient of Σ w·y for random w, then the gradient of Σ v·gradient for random v."""
    rng = np.random.default_rng(0)
    first = tg.grad(y, leaves, [rng.normal(size=y.shape)], create_graph=True)
    yield [values(g) for g in first]
    weights = [rng.normal(size=g.shape) for g in first]
    yield differentiate_again(first, weights, leaves)  # type: ignore[misc]


@pytest.mark.parametrize(("f", "shapes"), FUNCTIONS.values(), ids=FUNCTIONS.keys())
@pytest.mark.parametrize("after", ["forward", "backward"])
def test_no_op_computes_with_values_that_changed(
    f: Callable[..., Tensor], shapes: Sequence[tuple[int, ...]], after: str
) -> None:
    """What was changed does not matter, or it is refused: the gradients never differ."""
    leaves = [fixed(*shape) for shape in shapes]
    expected = list(first_and_second(f(*leaves), leaves))
    for changed in range(len(leaves) + 1):
        leaves = [fixed(*shape) for shape in shapes]
        y = f(*leaves)
        derivatives = first_and_second(y, leaves)
        passed = [next(derivatives)] if after == "backward" else []
        (*leaves, y)[changed].data.copy_(0.45)
        with right_or_refused():
            passed += derivatives
        for actual, wanted in zip(passed, expected, strict=False):
            for a, w in zip(actual, wanted, strict=True):
                assert_array_equal(a, w)


@pytest.mark.parametrize("backward", ["raw", "recorded"])
def test_what_an_op_keeps_is_guarded_like_what_it_saves(backward: str) -> None:
    """A by-product may be a view of an input."""

    class SquaredNorm(Op, register=False):
        kept = ("flat",)

        def forward(self, xp, x):
            self.flat = xp.reshape(x, -1)
            return xp.sum(self.flat * self.flat)

        def grad_x(self, F, g, x, flat):
            return F.reshape(2 * g * flat, shape=x.shape)

    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    h = x * 1.0
    y = tg.function(SquaredNorm)(h)
    h.data.zero_()
    with pytest.raises(RuntimeError, match="in place"):
        y.backward(create_graph=backward == "recorded")


# ----- indices -----------------------------------------------------------------------------------

INDICES: dict[str, Any] = {
    "integer": 1,
    "negative": -1,
    "NumPy integer": np.int64(1),
    "slice": slice(None, None, 2),
    "slice backwards": slice(None, None, -1),
    "ellipsis": (..., 0),
    "new axis": (None, slice(None), None),
    "list": [0, 0, 2],
    "tuple in a tuple": ((0, 0, 2),),
    "tuple beside a slice": ((0, 0, 2), slice(1)),
    "two tuples": ((0, 0, 2), (1, 1, 0)),
    "list beside a tuple": ([0, 0, 2], (1, 1, 0)),
    "nested lists": [[0, 0], [2, 0]],
    "array": np.array([0, 0, 2]),
    "array of bytes": np.array([0, 0, 2], "uint8"),
    "buffer": array.array("q", [0, 0, 2]),
    "range": range(2),
    "tensor": tg.tensor([0, 0, 2]),
    "mask": np.array([True, False, True]),
    "list of truth values": [True, False, True],
    "mask of elements": np.arange(6).reshape(3, 2) % 2 == 0,
    "one truth value": True,
    "array of one number": np.array(1),
    "outer product": np.ix_([0, 0, 2], [1, 1]),
    "integer beside an array": (np.array([0, 0, 2]), 1),
    "arrays around a slice": (np.array([0, 0]), slice(None), np.array([1])),
}


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES.keys())
def test_an_element_taken_twice_has_twice_the_gradient(index: Any) -> None:
    start = np.arange(6.0).reshape(3, 2)
    if "slice(None, None, None)" in str(index) and isinstance(index, tuple) and len(index) == 3:
        start = start[:, None] if index[0] is not None else start
    x = leaf(start)
    plain = np.asarray(index.numpy()) if isinstance(index, Tensor) else index
    y = x[index]
    assert_array_equal(values(y), start[plain])
    g = np.random.default_rng(0).normal(size=y.shape)
    y.backward(g)
    expected = np.zeros_like(start)
    np.add.at(expected, plain, g)
    assert_allclose(values(x.grad), expected)


def test_an_index_may_change_after_it_was_used() -> None:
    for index in ([0, 0], np.array([0, 0]), tg.tensor([0, 0]), array.array("q", [0, 0])):
        x = leaf([1.0, 2.0])
        y = (x[index] * Tensor([1.0, 10.0])).sum()
        index[0] = 1
        y.backward()
        assert x.grad.tolist() == [11, 0]


# ----- dtypes ------------------------------------------------------------------------------------


def test_python_values_become_float32_and_arrays_stay() -> None:
    for value in (1, 1.0, True, [1, 2], [[1.0]], (1, 2), []):
        assert Tensor(value).dtype == tg.float32
    for dtype in ("float16", "float32", "float64", "int32", "int64", "uint8", "bool"):
        assert Tensor(np.ones(2, dtype)).dtype == dtype
        assert tg.tensor(np.ones(2, dtype)).dtype == dtype
        assert Tensor(Tensor(np.ones(2, dtype))).dtype == dtype
        assert Tensor([1, 0], dtype=dtype).dtype == dtype


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1, "int64"),
        (1.0, "float32"),
        (True, "bool"),
        ([1, 2], "int64"),
        ([1, 2.0], "float32"),
        ([True, False], "bool"),
        ([True, 2], "int64"),
        ([[1.0], [2.0]], "float32"),
        (np.float64(1), "float64"),
        (np.int32(1), "int32"),
    ],
)
def test_tensor_infers_the_dtype_as_pytorch_does(value: Any, dtype: str) -> None:
    assert tg.tensor(value).dtype == dtype


NUMBERS: dict[str, Callable[[Any], Any]] = {
    "+ 2.5": lambda x: x + 2.5,
    "2.5 -": lambda x: 2.5 - x,
    "* 2.5": lambda x: x * 2.5,
    "/ 2.5": lambda x: x / 2.5,
    "2.5 /": lambda x: 2.5 / x,
    "** 2.5": lambda x: x**2.5,
    "2.5 **": lambda x: 2.5**x,
    "+= 2.5": lambda x: x.__iadd__(2.5),
    "* np.sqrt(2)": lambda x: x * np.sqrt(2),
    "** np.float64": lambda x: x ** np.float64(2.5),
    "maximum": lambda x: tg.maximum(x, 2.5),
    "where": lambda x: tg.where(x > 1, x, 2.5),
    "clamp": lambda x: x.clamp(0.5, 2.5),
    "* True": lambda x: x * True,
    "+ integers": lambda x: x + tg.tensor([1, 2]),
    "* truth values": lambda x: x * (x > 1),
}


@pytest.mark.parametrize("f", NUMBERS.values(), ids=NUMBERS.keys())
def test_a_number_does_not_change_the_dtype(f: Callable[[Any], Any]) -> None:
    assert f(Tensor([1.0, 2.0])).dtype == tg.float32
    assert f(Tensor([1.0, 2.0], dtype="float64")).dtype == tg.float64


@pytest.mark.parametrize(
    "f",
    [
        lambda i: i * 2.5,
        lambda i: 2.5 - i,
        lambda i: i / 2,
        lambda i: i / i,
        lambda i: i**0.5,
        lambda i: i * tg.tensor(2.5),
        lambda i: i + tg.tensor([1.0, 2.0]),
        lambda i: i.float(),
        lambda i: i.mean(),
        lambda i: i.sin(),
        lambda i: i.sqrt(),
        lambda i: tg.where(i > 1, i, 2.5),
    ],
)
def test_integers_that_become_floats_become_float32(f: Callable[[Tensor], Tensor]) -> None:
    for dtype in (tg.int32, tg.int64, tg.uint8):
        assert f(tg.tensor([1, 2], dtype=dtype)).dtype == tg.float32


def test_integers_stay_integers() -> None:
    i = tg.tensor([1, 2])
    assert [t.dtype for t in (i + 1, i * i, -i, i.sum(), i[0], i.amax(), i.argmax())] == [
        "int64"
    ] * 7
    assert [t.dtype for t in (i > 1, i == 1, ~(i > 1))] == ["bool"] * 3


@pytest.mark.parametrize("other", [tg.ones(2), tg.tensor([1, 2]), 2.5, np.ones(2, "float32")])
def test_float64_stays_where_it_is(other: Any) -> None:
    x = Tensor([1.0, 2.0], dtype="float64")
    for y in (x + other, other * x, x / other, tg.maximum(x, other)):
        assert y.dtype == tg.float64
    big_endian = Tensor(np.array([1 / 3, 2 / 3], ">f8"))
    assert_array_equal(values(big_endian * 1 + other * 0), [1 / 3, 2 / 3])


def test_an_operand_that_is_an_array_brings_its_dtype() -> None:
    assert (Tensor([1.0]) * np.ones(1)).dtype == tg.float64
    assert (np.ones(1) * Tensor([1.0])).dtype == tg.float64
    assert (Tensor([1.0]) * np.ones(1, "float32")).dtype == tg.float32


@pytest.mark.parametrize("change", [lambda i: i.__iadd__(0.5), lambda i: i.__itruediv__(2)])
def test_an_operator_in_place_does_not_cut_off_fractions(change: Callable[[Tensor], Any]) -> None:
    i = tg.tensor([1, 2])
    with pytest.raises(TypeError, match="int64"):
        change(i)
    assert i.tolist() == [1, 2]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(("f", "shapes"), FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_gradients_have_the_dtype_and_shape_of_their_leaf(
    f: Callable[..., Tensor], shapes: Sequence[tuple[int, ...]], dtype: str
) -> None:
    leaves = [leaf(values(fixed(*shape)), dtype) for shape in shapes]
    y = f(*leaves)
    assert y.dtype == dtype
    recorded = tg.grad(y.sum(), leaves, create_graph=True)
    y.sum().backward()
    for x, g in zip(leaves, recorded, strict=True):
        assert (x.grad.dtype, x.grad.shape) == (g.dtype, g.shape) == (dtype, x.shape)
    # Half precision says the same as double precision, only less exactly.
    exact = [leaf(values(fixed(*shape))) for shape in shapes]
    tolerance = {"float16": 0.02, "float32": 1e-5, "float64": 0.0}[dtype]
    assert_allclose(values(y), values(f(*exact)), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("create_graph", [False, True])
def test_each_leaf_of_a_mixed_graph_gets_its_own_dtype(create_graph: bool) -> None:
    half, single, double = (leaf([1.0, 2.0], f"float{bits}") for bits in (16, 32, 64))
    y = (half * single + single * double).sum() + half.float().sum() + double.half().sum()
    assert y.dtype == tg.float64
    y.backward(create_graph=create_graph)
    assert [x.grad.dtype for x in (half, single, double)] == ["float16", "float32", "float64"]
    assert [values(x.grad).tolist() for x in (half, single, double)] == [[2, 3], [2, 4], [2, 3]]


def test_no_gradient_passes_through_integers() -> None:
    x = leaf([1.6, 2.4])
    for whole in (x.long(), x.to("uint8"), x.to("bool"), x > 2, x.argmax()):
        assert not whole.requires_grad
    y = (x * x.long()).sum()
    y.backward()
    assert x.grad.tolist() == [1, 2]


# ----- an op of one's own ------------------------------------------------------------------------


class Local(Op, register=False):
    """x³, by its local gradient."""

    def forward(self, xp, x):
        return x * x * x

    def local_x(self, F, x):
        return 3 * x * x


class Full(Op, register=False):
    """x³, by its gradient."""

    def forward(self, xp, x):
        return x * x * x

    def grad_x(self, F, g, x):
        return g * 3 * x * x


class FromOutput(Op, register=False):
    """x³, by its output: 3 y / x."""

    def forward(self, xp, x):
        return x * x * x

    def grad_x(self, F, g, x, y):
        return g * 3 * y / x


class Power(Op, register=False):
    """xⁿ for an attribute n."""

    n: int = 3

    def forward(self, xp, x):
        return x**self.n

    def local_x(self, F, x):
        return self.n * x ** (self.n - 1)


class Masked(Op, register=False):
    """x³ where x is positive or negative, by a mask that is kept."""

    kept = ("sign",)

    def forward(self, xp, x):
        self.sign = xp.sign(x)
        return self.sign * xp.abs(x * x * x)

    def local_x(self, F, x, sign):
        return 3 * x * x * sign * sign


class Product(Op, register=False):
    """x · x · ... of any number of inputs."""

    def forward(self, xp, *xs):
        y = 1
        for x in xs:
            y = y * x
        return y

    def grad_xs(self, F, g, xs):
        shares = []
        for i in range(len(xs)):
            share = g
            for x in (*xs[:i], *xs[i + 1 :]):
                share = share * x
            shares.append(share)
        return shares


class Scaled(Op, register=False):
    """x³ · w if there is a w."""

    def forward(self, xp, x, w=None):
        y = x * x * x
        return y if w is None else y * w

    def grad_x(self, F, g, x, w):
        g = g * 3 * x * x
        return g if w is None else g * w

    def grad_w(self, F, g, x):
        return g * x * x * x


class Weighted(Op, register=False):
    """x³ · weights, which no gradient reaches."""

    nondifferentiable = ("weights",)

    def forward(self, xp, x, weights):
        return x * x * x * weights

    def grad_x(self, F, g, x, weights):
        return g * 3 * x * x * weights


class Fused(Full, register=False):
    """x³ with a rule for arrays alone."""

    def fused(self, xp, g, x):
        return (xp.multiply(g, 3 * x * x),)


CUBES: dict[str, Callable[[Tensor], Tensor]] = {
    "local rule": tg.function(Local),
    "full rule": tg.function(Full),
    "rule of the output": tg.function(FromOutput),
    "attribute": lambda x: tg.function(Power)(x, n=3),
    "default attribute": tg.function(Power),
    "kept by-product": tg.function(Masked),
    "variadic": lambda x: tg.function(Product)(x, x, x),
    "variadic, with a number": lambda x: tg.function(Product)(x, 2.0, x, x, Tensor(0.5)),
    "optional input left out": tg.function(Scaled),
    "optional input None": lambda x: tg.function(Scaled)(x, None),
    "optional input given": lambda x: tg.function(Scaled)(x, tg.ones(3, dtype=tg.float64)),
    "input without a gradient": lambda x: tg.function(Weighted)(x, leaf(np.ones(3))),
    "input of integers": lambda x: tg.function(Weighted)(x, tg.tensor([1, 1, 1])),
    "fused": tg.function(Fused),
}


@pytest.mark.parametrize("cube", CUBES.values(), ids=CUBES.keys())
def test_an_op_of_ones_own_is_an_op_like_any_other(cube: Callable[[Tensor], Tensor]) -> None:
    start, v = np.array([0.5, -1.5, 2.0]), np.array([1.0, -2.0, 0.5])
    x = leaf(start)
    y = cube(x)
    assert_allclose(values(y), start**3)
    (first,) = tg.grad(y.sum(), x, create_graph=True)
    assert_allclose(values(first), 3 * start**2)
    (second,) = tg.grad((first * v).sum(), x, create_graph=True)
    assert_allclose(values(second), 6 * start * v)
    y.sum().backward()
    assert_allclose(values(x.grad), 3 * start**2)

    z = cube(x.tanh()).sum()  # in the middle of a graph
    z.backward()
    expected = 3 * start**2 + 3 * np.tanh(start) ** 2 * (1 - np.tanh(start) ** 2)
    assert_allclose(values(x.grad), expected)

    op = y.node.op
    assert op is not None
    assert f"  {op.name} " in str(tg.graph(y))
    assert "grad_fn=<" in repr(y)
    assert tg.formula(y)
    with tg.no_grad():
        assert not cube(x).requires_grad
    y = cube(x)
    x.data.zero_()
    with pytest.raises(RuntimeError, match="in place"):
        y.sum().backward()


def test_a_listing_shows_the_attributes_of_ones_own_op() -> None:
    x = leaf([1.0, 2.0])
    assert str(tg.graph(tg.function(Power)(x, n=4))).splitlines() == [
        "%0  parameter             float64 (2,)",
        "%1  power      (%0)  n=4  float64 (2,)",
    ]


def test_formulas_of_ones_own_op() -> None:
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    assert tg.formula(Local) == {"x": "g · 3 · x · x"}
    assert tg.formula(FromOutput) == {"x": "g · 3 · y / x"}
    assert tg.formula(tg.function(Power)(x, n=4)) == {"x": "g · 4 · x ** 3"}
    assert tg.formula(tg.function(Scaled)(x, w)) == {"x": "g · 3 · x · x · w", "w": "g · x · x · x"}


def test_a_fused_rule_runs_on_arrays_and_the_plain_rules_on_tensors() -> None:
    seen = []

    class Noted(Op, register=False):
        def forward(self, xp, x, w):
            return x * w

        def grad_x(self, F, g, w):
            seen.append(("x", type(g)))
            return g * w

        def grad_w(self, F, g, x):
            seen.append(("w", type(g)))
            return g * x

        def fused(self, xp, g, x, w):
            seen.append(("both", type(g)))
            return g * w, g * x

    x, w = leaf([2.0]), leaf([3.0])
    tg.function(Noted)(x, w).backward()
    assert seen == [("both", np.ndarray)]
    tg.function(Noted)(x, w).backward(create_graph=True)
    assert seen[1:] == [("x", Tensor), ("w", Tensor)]
    assert (values(x.grad).tolist(), values(w.grad).tolist()) == ([6], [4])
    (g,) = tg.grad(tg.function(Noted)(x, 5.0), x)
    assert g.tolist() == [5]


def test_every_input_of_a_variadic_op_gets_its_own_gradient() -> None:
    parts = [leaf(2.0), Tensor(3.0, dtype="float64"), leaf(5.0), leaf(7.0)]
    y = tg.function(Product)(*parts, 2.0)
    y.backward()
    assert [p.grad and p.grad.item() for p in parts] == [210, None, 84, 60]


def test_an_optional_input_gets_a_gradient_when_it_is_there() -> None:
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    tg.function(Scaled)(x, w).sum().backward()
    assert w.grad.tolist() == [1, 8]
    with pytest.raises(TypeError, match=r"scaled takes the inputs \(x, w\)"):
        tg.function(Scaled)()


def test_an_op_may_broadcast_without_knowing_it() -> None:
    x, w = leaf(np.ones((2, 3))), leaf(np.full((2, 1), 2.0))
    for create_graph in (False, True):
        gx, gw = tg.grad(tg.function(Scaled)(x, w).sum(), [x, w], create_graph=create_graph)
        assert_array_equal(values(gx), np.full((2, 3), 6.0))
        assert_array_equal(values(gw), [[3], [3]])


def refused_class(error: str, define: Callable[[], Any]) -> None:
    known = dict(REGISTRY)
    with pytest.raises(TypeError, match=error):
        define()
    assert known == REGISTRY


class TestRefusedOps:
    """What a class cannot mean is refused where it is written."""

    def test_no_rule_for_an_input(self) -> None:
        def define() -> None:
            class Halfway(Op, register=False):
                def forward(self, xp, x, y):
                    return x * y

                def grad_x(self, F, g, y):
                    return g * y

        refused_class("Halfway has no rule for its input y.*nondifferentiable", define)

    def test_a_rule_that_asks_for_something_unknown(self) -> None:
        def define() -> None:
            class Curious(Op, register=False):
                def forward(self, xp, x):
                    return x * x

                def grad_x(self, F, g, z):
                    return g * z

        refused_class("Curious.grad_x asks for z.*kept", define)

    def test_a_local_rule_that_asks_for_the_gradient(self) -> None:
        def define() -> None:
            class Greedy(Op, register=False):
                def forward(self, xp, x):
                    return x * x

                def local_x(self, F, g, x):
                    return g * x

        refused_class("Greedy.local_x asks for g", define)

    @pytest.mark.parametrize("kind", ["grad", "local"])
    def test_a_rule_for_something_that_is_no_input(self, kind: str) -> None:
        def define() -> None:
            body = {
                "forward": lambda self, xp, x: x * 1,
                "grad_x": lambda self, F, g: g,
                f"{kind}_zzz": lambda self, F, g: g,
            }
            type("Stray", (Op,), body, register=False)

        refused_class(f"Stray.{kind}_zzz is a rule for zzz.*not an input", define)

    def test_a_fused_rule_that_asks_for_something_unknown(self) -> None:
        def define() -> None:
            class Fast(Op, register=False):
                def forward(self, xp, x):
                    return x * 1

                def grad_x(self, F, g):
                    return g

                def fused(self, xp, g, z):
                    return (g,)

        refused_class("fused asks for z", define)

    def test_a_name_that_is_taken(self) -> None:
        def define() -> None:
            class Tanh(Op):
                def forward(self, xp, x):
                    return x * 1

                def grad_x(self, F, g):
                    return g

        refused_class("'tanh' exists already.*rename.*register=False", define)

    def test_attributes(self) -> None:
        class Named(Op, register=False):
            size: int

            def forward(self, xp, x):
                return x * self.size

            def grad_x(self, F, g):
                return g * self.size

        named = tg.function(Named)
        assert named(tg.ones(1), size=2).tolist() == [2]
        with pytest.raises(TypeError, match="missing: size"):
            named(tg.ones(1))
        with pytest.raises(TypeError, match="unknown: sizes"):
            named(tg.ones(1), size=1, sizes=2)


def wrong_rule(rule: Callable[..., Any]) -> Callable[[Tensor], Tensor]:
    """The identity with this for a rule."""
    body = {"forward": lambda self, xp, x: x * 1, "grad_x": rule}
    return tg.function(type("Wrong", (Op,), body, register=False))


WRONG_RULES: dict[str, Callable[..., Any]] = {
    "nothing": lambda self, F, g: None,
    "a number": lambda self, F, g: 0.0,
    "too few elements": lambda self, F, g: g[:1],
    "a scalar": lambda self, F, g: F.sum(g),
    "another length": lambda self, F, g: F.getitem(g, index=slice(1, None)),
    "too many elements": lambda self, F, g, x: F.reshape(g, shape=(-1, 1)) * x,
    "a matrix": lambda self, F, g: F.broadcast_to(g, shape=(2, 3)),
    "a list": lambda self, F, g: [g],
}


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("rule", WRONG_RULES.values(), ids=WRONG_RULES.keys())
def test_what_a_wrong_rule_returns_is_refused_by_name(
    rule: Callable[..., Any], create_graph: bool
) -> None:
    x = leaf([1.0, 2.0, 3.0])
    y = wrong_rule(rule)(x).sum()
    with pytest.raises((TypeError, ValueError), match="wrong"):
        y.backward(create_graph=create_graph)
    assert x.grad is None


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_gradient_is_summed_over_axes_that_were_broadcast_and_no_others(
    create_graph: bool,
) -> None:
    """A length 1 that stayed 1 was not broadcast: a longer gradient is a mistake of the rule."""
    x = leaf([[2.0]])
    y = wrong_rule(lambda self, F, g: F.broadcast_to(g, shape=(1, 3)))(x)
    with pytest.raises((TypeError, ValueError), match="wrong"):
        y.backward(create_graph=create_graph)


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("create_graph", [False, True])
def test_a_variadic_rule_gives_one_gradient_for_each_input(count: int, create_graph: bool) -> None:
    class Total(Op, register=False):
        def forward(self, xp, *xs):
            return xs[0] + xs[1]

        def grad_xs(self, F, g):
            return [g] * count

    x, y = leaf(1.0), leaf(2.0)
    z = tg.function(Total)(x, y)
    with pytest.raises((TypeError, ValueError), match="total"):
        z.backward(create_graph=create_graph)


def test_a_tensor_cannot_hide_in_an_attribute() -> None:
    """No gradient would reach it, without a word."""
    x, n = leaf([1.0, 2.0]), leaf(3.0)
    with pytest.raises(TypeError, match=r"power.*n|n.*power"):
        tg.function(Power)(x, n=n)


def test_an_array_attribute_that_changed_is_right_or_refused() -> None:
    class Window(Op, register=False):
        weights: Any

        def forward(self, xp, x):
            return x * self.weights

        def grad_x(self, F, g):
            return g * self.weights

    x, weights = leaf([1.0, 2.0]), np.array([3.0, 4.0])
    y = tg.function(Window)(x, weights=weights).sum()
    weights[:] = 0
    with right_or_refused():
        y.backward()
        assert x.grad.tolist() == [3, 4]


def test_an_array_that_an_op_keeps_without_saying_so_is_right_or_refused() -> None:
    """It would be a constant of the second derivative, and no guard would watch it."""

    class Secretive(Op, register=False):
        def forward(self, xp, x):
            self.x = x
            return x * x * x

        def grad_x(self, F, g):
            return g * 3 * self.x * self.x

    x = leaf([1.0, 2.0])
    try:
        y = tg.function(Secretive)(x).sum()
        (first,) = tg.grad(y, x, create_graph=True)
        (second,) = tg.grad(first.sum(), x)
    except TypeError as error:
        if "kept" not in str(error):
            raise
        return
    assert second.tolist() == [6, 12]


@pytest.fixture
def registry() -> Iterator[dict[str, type[Op]]]:
    """The registry, put back in order afterwards."""
    before = dict(REGISTRY)
    yield REGISTRY
    REGISTRY.clear()
    REGISTRY.update(before)


def test_a_notebook_cell_that_runs_again_replaces_its_op(registry: dict[str, type[Op]]) -> None:
    def cell(factor: float) -> Callable[[Tensor], Tensor]:
        class CellTimes(Op):
            def forward(self, xp, x):
                return x * factor

            def grad_x(self, F, g):
                return F.cell_times(g)

        return tg.function(CellTimes)

    for factor in (2.0, 3.0):
        times = cell(factor)
        assert registry["cell_times"].__qualname__.endswith("CellTimes")
        for create_graph in (False, True):
            x = leaf(1.0)
            y = times(x)
            y.backward(create_graph=create_graph)
            assert (y.item(), x.grad.item()) == (factor, factor)
        assert F.cell_times(leaf(1.0)).item() == factor
