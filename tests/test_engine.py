"""The engine, attacked: whatever is done to a graph, its gradient is right or refused."""

import contextlib
import math
import sys
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import oracles
import tinygrad_cv as tg
from programs import Array, leaf, memory, values
from tinygrad_cv import nn
from tinygrad_cv._op import Op
from tinygrad_cv._tensor import Tensor

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
    x.grad = marker = tg.ones(2, dtype=x.dtype)
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
    [[1.0, 10.0], np.array([1.0, 10.0]), np.array([1, 10]), tg.tensor],
    ids=["list", "array", "integers", "tensor"],
)
def test_backward_takes_the_gradient_of_its_output(gradient: Any) -> None:
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    if gradient is tg.tensor:
        gradient = tg.tensor([1.0, 10.0])
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
        ours = frame.f_globals.get("__name__", "").startswith("tinygrad_cv")
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
    "tanh": ((3,), tg.tanh, "x"),
    "sigmoid": ((3,), tg.sigmoid, "x"),
    "relu": ((3,), tg.relu, ""),
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


@pytest.mark.host
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


@pytest.mark.host
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
