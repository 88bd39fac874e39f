"""Products with Jacobians, Jacobians, Hessians and checkpoints, held against one another.

A transform is compared with closed forms, with measured slopes, and with the other transforms; a
checkpoint with the same call without it, to the last bit.
"""

import gc
import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

import tinygrad_cv as tg
from tinygrad_cv import nn, optim
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.testing.measure import slope
from tinygrad_cv.testing.strategies import Expression, expressions
from tinygrad_cv.transforms import checkpoint, hessian, hvp, jacobian, jvp, vjp

Array = NDArray[Any]


def leaf(values: Any) -> Tensor:
    return Tensor(np.array(values, dtype="float64"), requires_grad=True)


def values(tensor: Any) -> Array:
    return np.array(tensor.detach().numpy())


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def like(tensors: Any, seed: int) -> tuple[Tensor, ...]:
    """Random tensors of the same shapes."""
    rng = np.random.default_rng(seed)
    return tuple(Tensor(rng.standard_normal(x.shape), device=x.device) for x in tensors)


def inner(xs: Any, ys: Any) -> float:
    return float(sum((values(x) * values(y)).sum() for x, y in zip(xs, ys, strict=True)))


# ----- transforms of random functions ------------------------------------------------------------


def two_outputs(expression: Expression) -> Callable[..., tuple[Tensor, Tensor]]:
    """A function of the leaves with a matrix and a vector for outputs."""

    def function(*xs: Tensor) -> tuple[Tensor, Tensor]:
        y = expression(*xs)
        return xs[0] * y.sin(), (xs[-1] + y).tanh().sum(0)

    return function


@given(expressions(max_steps=4), st.integers(0, 9))
def test_products_with_jacobians_are_each_others_transposes(drawn: Any, seed: int) -> None:
    expression, inputs = drawn
    xs = tuple(map(Tensor, inputs))
    function = two_outputs(expression)
    outputs, moved = jvp(function, xs, v := like(xs, seed))
    again, pulled = vjp(function, xs, u := like(outputs, seed + 1))
    for a, b, c in zip(outputs, again, function(*xs), strict=True):
        assert_array_equal(values(a), values(c))
        assert_array_equal(values(b), values(c))
    assert math.isclose(inner(u, moved), inner(pulled, v), rel_tol=1e-9, abs_tol=1e-9)

    def along(t: float) -> float:
        return inner(u, function(*(x + t * d for x, d in zip(xs, v, strict=True))))

    measured = slope(along)
    assert math.isclose(inner(u, moved), measured.value, rel_tol=1e-6, abs_tol=1e-7)


@given(expressions(max_steps=4), st.integers(0, 9))
def test_a_jacobian_holds_all_products(drawn: Any, seed: int) -> None:
    expression, inputs = drawn
    xs = tuple(map(Tensor, inputs))
    function = two_outputs(expression)
    matrix = jacobian(function, xs)
    outputs, moved = jvp(function, xs, v := like(xs, seed))
    _, pulled = vjp(function, xs, u := like(outputs, seed))
    for i, (y, t) in enumerate(zip(outputs, moved, strict=True)):
        assert [part.shape for part in matrix[i]] == [(*y.shape, *x.shape) for x in xs]
        total = sum(
            np.tensordot(values(part), values(d), d.ndim)
            for part, d in zip(matrix[i], v, strict=True)
        )
        assert_allclose(total, values(t), rtol=1e-9, atol=1e-10)
    for j, g in enumerate(pulled):
        total = sum(np.tensordot(values(w), values(matrix[i][j]), w.ndim) for i, w in enumerate(u))
        assert_allclose(total, values(g), rtol=1e-9, atol=1e-10)


@given(expressions(max_steps=4), st.integers(0, 9))
def test_a_hessian_is_symmetric_and_the_jacobian_of_the_gradient(drawn: Any, seed: int) -> None:
    expression, inputs = drawn
    xs = tuple(map(Tensor, inputs))
    matrix = hessian(expression, xs)

    def gradient(*xs: Tensor) -> tuple[Tensor, ...]:
        return vjp(expression, xs, create_graph=True)[1]  # type: ignore[return-value]

    by_jacobian = jacobian(gradient, xs)
    value, product = hvp(expression, xs, v := like(xs, seed))
    assert_array_equal(values(value), values(expression(*xs)))
    for i, x in enumerate(xs):
        for j, other in enumerate(xs):
            assert matrix[i][j].shape == (*x.shape, *other.shape)
            turned = np.moveaxis(values(matrix[j][i]), (0, 1), (2, 3))
            assert_allclose(values(matrix[i][j]), turned, rtol=1e-9, atol=1e-9)
            assert_allclose(values(matrix[i][j]), values(by_jacobian[i][j]), rtol=1e-12, atol=1e-12)
        total = sum(
            np.tensordot(values(part), values(d), d.ndim)
            for part, d in zip(matrix[i], v, strict=True)
        )
        assert_allclose(total, values(product[i]), rtol=1e-9, atol=1e-9)

    def along(t: float) -> float:
        moved = [leaf(values(x) + t * values(d)) for x, d in zip(xs, v, strict=True)]
        found = tg.grad(expression(*moved), moved)
        return inner([g for g in found if g is not None], v)

    measured = slope(along)
    assert math.isclose(inner(product, v), measured.value, rel_tol=1e-6, abs_tol=1e-6)


# ----- closed forms ------------------------------------------------------------------------------


def test_the_jacobian_of_a_linear_function_is_its_matrix() -> None:
    A = normal(3, 4)
    assert_array_equal(values(jacobian(lambda x: Tensor(A) @ x, Tensor(normal(4)))), A)


def test_the_jacobian_of_softmax() -> None:
    x = normal(5)
    p = np.exp(x) / np.exp(x).sum()
    found = jacobian(lambda x: tg.softmax(x, 0), Tensor(x))
    assert_allclose(values(found), np.diag(p) - np.outer(p, p), atol=1e-15)


def test_the_hessian_of_a_quadratic_form() -> None:
    A, b = normal(3, 3), normal(3, seed=1)
    found = hessian(lambda x: x @ Tensor(A) @ x + Tensor(b) @ x, Tensor(normal(3, seed=2)))
    assert_allclose(values(found), A + A.T, atol=1e-14)


def test_newtons_method_takes_one_step_to_the_minimum_of_a_quadratic() -> None:
    A, b = np.diag([1.0, 4.0]) + 0.5, np.array([1.0, -2.0])

    def loss(x: Tensor) -> Tensor:
        return x @ Tensor(A) @ x / 2 - Tensor(b) @ x

    x = Tensor(normal(2))
    _, g = vjp(loss, x)
    step = np.linalg.solve(values(hessian(loss, x)), values(g))
    assert_allclose(values(x) - step, np.linalg.solve(A, b), atol=1e-12)


def test_derivatives_of_derivatives_have_a_graph_if_asked() -> None:
    x = leaf([0.5, -1.0, 2.0])
    third = x
    for result in (
        jacobian(lambda x: x**3, x, create_graph=True).sum(),
        vjp(lambda x: x**3, x, Tensor(np.ones(3)), create_graph=True)[1].sum(),  # type: ignore[union-attr]
        jvp(lambda x: x**3, x, Tensor(np.ones(3)), create_graph=True)[1].sum(),  # type: ignore[union-attr]
    ):
        (third,) = tg.grad(result, x)  # type: ignore[assignment]
        assert_allclose(values(third), 6 * values(x))
    v = Tensor(np.array([1.0, 10.0, 100.0]))
    (g,) = tg.grad(hvp(lambda x: (x**4).sum(), x, v, create_graph=True)[1].sum(), x)  # type: ignore[union-attr]
    assert_allclose(values(g), 24 * values(x) * values(v))
    (g,) = tg.grad(hessian(lambda x: (x**3).sum(), x, create_graph=True).sum(), x)
    assert_allclose(values(g), [6.0, 6.0, 6.0])


def test_an_input_with_a_history_is_a_variable_of_its_own() -> None:
    """d/dw of the derivative at x = w²: 3x² = 3w⁴, so 12w³."""
    w = leaf(2.0)
    x = w * w
    (g,) = tg.grad(jacobian(lambda x: x**3, x, create_graph=True), w)
    assert g is not None
    assert g.item() == 12 * 8
    a, b = w * 1, w * w
    first, second = jacobian(lambda a, b: a * b, (a, b))
    assert (first.item(), second.item()) == (4, 2)
    first, second = jacobian(lambda a, b: a * b, (w, b), create_graph=True)
    assert (first.item(), second.item()) == (4, 2)
    first, second = jacobian(lambda a, b: a * b, (w, w))
    assert (first.item(), second.item()) == (2, 2)
    assert w.grad is None


def test_without_a_graph_the_results_are_constants() -> None:
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])  # w stands in the function, and is no input
    ones = Tensor(np.ones(2))
    for result in (
        *vjp(lambda x: x * w, x, ones),
        *jvp(lambda x: x * w, x, ones),
        *hvp(lambda x: (x * x * w).sum(), x, ones),
        jacobian(lambda x: x * w, x),
        hessian(lambda x: (x * x * w).sum(), x),
    ):
        assert not result.requires_grad
    assert x.grad is None
    assert w.grad is None


def test_transforms_record_for_themselves_where_recording_is_off() -> None:
    x = Tensor(np.array([1.0, 2.0]))
    with tg.no_grad():
        assert values(jacobian(lambda x: x**2, x)).tolist() == [[2, 0], [0, 4]]
        assert values(hessian(lambda x: (x**3).sum(), x)).tolist() == [[6, 0], [0, 12]]
        assert values(jvp(lambda x: x**2, x, x)[1]).tolist() == [2, 8]
        assert not (x * 1).requires_grad


# ----- structure ---------------------------------------------------------------------------------


def test_results_are_tuples_where_inputs_or_outputs_are() -> None:
    x, y = Tensor(normal(2)), Tensor(normal(3))
    one, many = (lambda x: x * 2), (lambda x, y: (x * y[0], y.sum()))
    assert isinstance(jacobian(one, x), Tensor)
    assert [part.shape for part in jacobian(one, (x,))] == [(2, 2)]
    assert [part.shape for part in jacobian(lambda x: (x, x[0]), x)] == [(2, 2), (2,)]
    found = jacobian(many, [x, y])
    assert [[part.shape for part in row] for row in found] == [[(2, 2), (2, 3)], [(2,), (3,)]]
    outputs, pulled = vjp(many, (x, y), (Tensor(normal(2)), Tensor(1.0)))
    assert [t.shape for t in outputs] == [(2,), ()]
    assert [t.shape for t in pulled] == [(2,), (3,)]
    outputs, moved = jvp(one, (x,), (x,))
    assert isinstance(outputs, Tensor)
    assert isinstance(moved, Tensor)
    matrix = hessian(lambda x, y: x.sum() * (y * y).sum(), (x, y))
    assert [[part.shape for part in row] for row in matrix] == [[(2, 2), (2, 3)], [(3, 2), (3, 3)]]


def test_what_does_not_depend_is_zero_or_refused() -> None:
    x, y = Tensor(normal(2)), Tensor(normal(3))
    function = lambda x, y: (x * 2, Tensor(normal(4)))  # noqa: E731
    found = jacobian(function, (x, y))
    assert [[values(part).any() for part in row] for row in found] == [[True, False], [False] * 2]
    assert [t.shape for t in jvp(function, (x, y), (x, y))[1]] == [(2,), (4,)]
    assert [t.shape for t in vjp(function, (x, y), function(x, y))[1]] == [(2,), (3,)]
    assert not values(hvp(lambda x: x.sum(), x, x)[1]).any()
    assert not values(hessian(lambda x: x.sum(), x)).any()
    assert not values(hessian(lambda x: Tensor(1.0), x)).any()
    for call in (
        lambda: jacobian(function, (x, y), strict=True),
        lambda: jvp(function, (x, y), (x, y), strict=True),
        lambda: vjp(function, (x, y), function(x, y), strict=True),
        lambda: hvp(lambda x: x.sum(), x, x, strict=True),
        lambda: hessian(lambda x: x.sum(), x, strict=True),
    ):
        with pytest.raises(RuntimeError, match="with strict, every output must depend"):
            call()


def test_integer_outputs_and_empty_ones() -> None:
    x = Tensor(normal(2, 3))
    function = lambda x: (x * x, x.argmax(1))  # noqa: E731
    assert [t.dtype for t in jvp(function, x, x)[1]] == [tg.float64, tg.int64]
    assert jacobian(lambda x: x[:0] * 2, x).shape == (0, 3, 2, 3)
    assert jacobian(lambda x: x * 2, x[:0]).shape == (0, 3, 0, 3)


def test_the_dtype_stays_single() -> None:
    x = tg.ones(2)
    for result in (
        jacobian(lambda x: x**2, x),
        hessian(lambda x: (x**3).sum(), x),
        *vjp(lambda x: x**2, x, x.double()),
        *jvp(lambda x: x**2, x, x.double()),
    ):
        assert result.dtype == tg.float32


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: vjp(lambda x: x, x), ValueError, r"vjp: v may be left out .* shapes \(2, 3\)"),
        (lambda x: jvp(lambda x: x, x), ValueError, "jvp: v may be left out"),
        (lambda x: hvp(lambda x: x.sum(), x), ValueError, "hvp: v may be left out"),
        (lambda x: vjp(lambda x: x, x, x[0]), ValueError, r"v has the shapes \(3,\), and the outp"),
        (lambda x: jvp(lambda x: x, x, (x, x)), ValueError, r"\(2, 3\), \(2, 3\), and the inputs"),
        (lambda x: hvp(lambda x: x, x, x), ValueError, r"one number, .* the shape \(2, 3\)"),
        (lambda x: hessian(lambda x: x[0], x), ValueError, r"hessian: the function must return"),
        (lambda x: hvp(lambda x: (x.sum(),), x, x), ValueError, r"it returned the shapes \(\)"),
        (lambda x: jacobian(lambda x: 1.0, x), TypeError, "the outputs of the function must be a"),
        (lambda x: jacobian(lambda x: x, 1.0), TypeError, "inputs must be a tensor .* got float"),
        (lambda x: jacobian(lambda x: x, x.long()), TypeError, "input of dtype int64 has no deriv"),
    ],
)
def test_mistakes_are_explained(
    call: Callable[[Tensor], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(Tensor(normal(2, 3)))


# ----- checkpoints: the same numbers -------------------------------------------------------------


def numbers(
    function: Callable[..., Tensor], *starts: Array, order: int, use: Callable[..., Any]
) -> list[Array]:
    """The value, and the gradients up to an order, of a function of what is made of leaves."""
    leaves = [leaf(x) for x in starts]
    rng = np.random.default_rng(0)
    y = use(function, *(x * 1 for x in leaves))
    found = [values(y)]
    for k in range(order):
        parts = tg.grad(y, leaves, create_graph=k + 1 < order, allow_unused=True)
        here = [
            np.zeros(x.shape) if g is None else values(g)
            for g, x in zip(parts, starts, strict=True)
        ]
        found += here
        weighted = [
            (g * Tensor(rng.standard_normal(g.shape))).sum()
            for g in parts
            if g is not None and g.requires_grad
        ]
        if not weighted:
            break
        y = sum(weighted[1:], start=weighted[0])
    return found


def plain(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


def agree(
    function: Callable[..., Tensor],
    *starts: Array,
    order: int = 3,
    use: Callable[..., Any] = checkpoint,
) -> None:
    """With and without a checkpoint: the same value to the bit, and the same gradients."""
    expected = numbers(function, *starts, order=order, use=plain)
    found = numbers(function, *starts, order=order, use=use)
    assert_array_equal(found[0], expected[0])
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@given(expressions())
def test_a_checkpoint_changes_no_number(drawn: Any) -> None:
    expression, inputs = drawn
    agree(expression, *inputs)


@given(expressions(max_steps=3), expressions(max_steps=3, max_leaves=1), st.booleans())
def test_neither_do_checkpoints_in_checkpoints(first: Any, second: Any, shared: bool) -> None:
    (outer, inputs), (inside, _) = first, second

    def nested(*xs: Tensor) -> Tensor:
        h = checkpoint(outer, *xs)
        g = (xs[0] * h).tanh()
        # What the innermost function finds by itself is made of arguments of the outer ones.
        return checkpoint(lambda x: inside(x) * (g.sum() if shared else 1) + (g * x).sum(), g)

    agree(nested, *inputs)


def test_an_argument_of_two_checkpoints_is_found_by_the_inner_one_too() -> None:
    def function(x: Tensor) -> Tensor:
        h = x.sin()
        return checkpoint(lambda a: checkpoint(lambda b: (a * b * h * b.cos()).sum(), a), h)

    agree(function, normal(3))


@given(expressions(max_steps=3), st.data())
def test_intermediate_values_may_come_in_by_any_way(drawn: Any, data: Any) -> None:
    """As arguments, found by the function, or both; some made of others."""
    expression, inputs = drawn
    ways = st.sampled_from(("argument", "found", "both", "twice"))
    chosen = [data.draw(ways) for _ in range(3)]

    def function(*xs: Tensor, use: Callable[..., Tensor]) -> Tensor:
        h = expression(*xs).tanh() * xs[0]
        values = [xs[0], h, (h * xs[-1]).sin()]
        given = [v for v, way in zip(values, chosen, strict=True) if way != "found"]
        given += [v for v, way in zip(values, chosen, strict=True) if way == "twice"]

        def block(*given: Tensor) -> Tensor:
            total = xs[0].sum() ** 2
            for k, v in enumerate(given):
                total = total + ((k + 1) * v**2).sum()
            for v, way in zip(values, chosen, strict=True):
                if way in ("found", "both"):
                    total = total + (v * v.cos()).sum()
            return total * xs[0].sum()

        return use(block, *given)

    expected = numbers(partial(function, use=plain), *inputs, order=3, use=plain)
    found = numbers(partial(function, use=checkpoint), *inputs, order=3, use=plain)
    for a, b in zip(found, expected, strict=True):
        assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_the_function_runs_once_for_each_pass() -> None:
    squares = []
    x = leaf([1.0, 2.0])

    def function(x: Tensor) -> Tensor:
        squares.append(x * x)
        return squares[-1].sum()

    y = checkpoint(function, x)
    assert len(squares) == 1
    y.backward(retain_graph=True)
    assert len(squares) == 2
    y.backward()
    assert len(squares) == 3
    assert [square.node.saved is None for square in squares] == [False, True, True]
    assert values(x.grad).tolist() == [4, 8]
    with pytest.raises(RuntimeError, match="a second time"):
        y.backward()


# ----- checkpoints: what goes in and comes out ---------------------------------------------------


class Pair(NamedTuple):
    first: Tensor
    second: Tensor


@pytest.mark.parametrize("order", [1, 2])
def test_several_outputs_cost_one_run(order: int) -> None:
    runs = []

    def function(x: Tensor, scale: float, *, shift: Tensor, power: int) -> list[Any]:
        runs.append(1)
        y = x * scale + shift
        b = y.float() ** power
        return [b, y.argmax(), "a name", y.tanh(), Tensor(1.0), y[0] * shift.sum()]

    results = []
    for use in (plain, checkpoint):
        x, shift = leaf([1.0, 2.0]), leaf([0.5, 0.25])
        outputs = use(function, x, 3.0, shift=shift, power=3)
        assert type(outputs) is list
        b, place, name, a, constant, c = outputs
        assert_allclose(values(a), np.tanh(values(x) * 3 + values(shift)), rtol=1e-13)
        assert (place.item(), name, constant.item()) == (1, "a name", 1.0)
        assert (a.dtype, b.dtype, c.shape) == (tg.float64, tg.float32, ())
        runs.clear()
        total = a.sum() * b.sum().double() + c
        found = tg.grad(total, [x, shift], create_graph=order == 2)
        if order == 2:
            (found[0] * found[1]).sum().backward()  # type: ignore[operator]
            found = (x.grad, shift.grad)
        results.append([values(total), *map(values, found)])
    assert len(runs) == order  # in the second order the checkpoint is walked through once more
    for p, q in zip(*results, strict=True):
        assert_allclose(p, q, rtol=1e-6)


def test_the_kind_of_tuple_stays() -> None:
    x = leaf([1.0, 2.0])
    pair = checkpoint(lambda x: Pair(x * 2, x + 1), x)
    assert isinstance(pair, Pair)
    (pair.first.sum() * 3 + pair.second.sum()).backward()
    assert values(x.grad).tolist() == [7, 7]


def test_a_function_that_hands_its_input_on() -> None:
    x, w = leaf([1.0, 2.0]), leaf(3.0)
    h = x * 2
    checkpoint(lambda h: h, h).sum().backward(retain_graph=True)
    assert values(x.grad).tolist() == [2, 2]
    a, b = checkpoint(lambda h: (h, w), h)
    (a.sum() * b).backward()
    assert values(x.grad).tolist() == [8, 8]
    assert w.grad is not None
    assert w.grad.item() == 6


def test_an_unused_argument_has_no_gradient() -> None:
    x, y = leaf([1.0]), leaf([2.0])
    found = tg.grad(checkpoint(lambda x, y: x * y.detach(), x, y).sum(), [x, y], allow_unused=True)
    assert found[1] is None
    assert found[0] is not None
    assert found[0].item() == 2


def test_nothing_to_save_is_no_op() -> None:
    x, constant = leaf([1.0]), Tensor([1.0])
    with tg.no_grad():
        assert not checkpoint(lambda x: x * 2, x).requires_grad
        assert checkpoint(lambda x: x, x) is x
    assert not checkpoint(lambda c: c * 2, constant).requires_grad
    assert checkpoint(lambda x: x * 2, x).node.label == "checkpoint"
    with pytest.raises(TypeError, match=r"must return a tensor, or a tuple.* got dict"):
        checkpoint(lambda x: {"y": x}, x)


def test_integer_arguments_pass() -> None:
    x, labels = leaf(normal(4, 3)), tg.tensor([0, 2, 1, 1])
    checkpoint(tg.cross_entropy, x, labels).backward()
    expected = np.exp(values(x)) / np.exp(values(x)).sum(1, keepdims=True)
    expected[np.arange(4), [0, 2, 1, 1]] -= 1
    assert_allclose(values(x.grad), expected / 4)


def test_transforms_go_through_checkpoints() -> None:
    x, v = Tensor(normal(3)), Tensor(normal(3, seed=1))
    function = lambda x: (x.sin() * x).sum()  # noqa: E731
    saving = lambda x: checkpoint(function, x)  # noqa: E731
    assert_allclose(values(hessian(saving, x)), values(hessian(function, x)), atol=1e-14)
    for transform in (jvp, hvp):
        assert_allclose(values(transform(saving, x, v)[1]), values(transform(function, x, v)[1]))


# ----- checkpoints: parameters and chance --------------------------------------------------------


def make_block() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )


def trained(use: Callable[..., Any]) -> tuple[list[Array], float]:
    """The parameters after some steps, and a number drawn then."""
    tg.manual_seed(1)
    block, head = make_block(), nn.Linear(64, 3)
    parameters = [*block.parameters(), *head.parameters()]
    optimizer = optim.SGD(parameters, lr=0.1, momentum=0.9)
    images, labels = tg.rand(5, 1, 8, 8), tg.tensor([0, 1, 2, 1, 0])
    for _ in range(3):
        optimizer.zero_grad()
        features = use(lambda x: use(block, x) * 1.5, images)
        tg.cross_entropy(use(head, features), labels).backward()
        optimizer.step()
    return [values(p) for p in parameters], tg.rand(1).item()


def test_training_is_the_same_with_checkpoints_in_checkpoints() -> None:
    """A network with dropout, whose parameters are no arguments."""
    expected, then = trained(plain)
    found, now = trained(checkpoint)
    for a, b in zip(found, expected, strict=True):
        assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert now == then


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("own", [False, True])
def test_random_numbers_are_drawn_again(own: bool, order: int) -> None:
    """From the common generator or from one that only the function knows; both then go on."""
    results = []
    for use in (plain, checkpoint):
        tg.manual_seed(3)
        generator = np.random.default_rng(4) if own else None

        def function(x: Tensor, generator: Any = generator) -> Tensor:
            y = tg.dropout(x * x, 0.5, generator=generator) * tg.randn(3, 4).double()
            return checkpoint(lambda y: (tg.dropout(y, 0.3, generator=generator) ** 2).sum(), y)

        found = numbers(function, normal(3, 4), order=order, use=use)
        then = tg.rand(2), (generator or np.random.default_rng(0)).random(2)
        results.append([*found, *map(np.asarray, map(values_or_array, then))])
    for a, b in zip(*results, strict=True):
        assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def values_or_array(value: Any) -> Array:
    return values(value) if isinstance(value, Tensor) else np.asarray(value)


def test_a_new_seed_between_the_passes_does_not_matter() -> None:
    x = leaf(np.ones(50))
    y = checkpoint(lambda x: tg.dropout(x, 0.5) * x, x)
    tg.manual_seed(7)
    y.sum().backward()
    assert_allclose(values(x.grad), 2 * values(y))
    expected = np.array(tg.manual_seed(7).random(3))
    tg.manual_seed(7)
    assert_array_equal(tg.manual_seed(7).random(3), expected)


def test_a_seed_goes_on_after_the_backward_pass() -> None:
    x = leaf(np.ones(5))
    tg.manual_seed(7)
    checkpoint(lambda x: tg.dropout(x, 0.5), x)
    expected = [values(tg.rand(3)), values(tg.rand(3))]
    tg.manual_seed(7)
    y = checkpoint(lambda x: tg.dropout(x, 0.5), x).sum()
    between = values(tg.rand(3))
    y.backward()
    assert_array_equal([between, values(tg.rand(3))], expected)


def test_the_innermost_function_may_be_the_one_that_draws() -> None:
    x, generator = leaf(np.ones(50)), np.random.default_rng(0)

    def outer(x: Tensor) -> Tensor:
        return checkpoint(lambda x: tg.dropout(x, 0.5, generator=generator), x) * x

    y = checkpoint(outer, x)
    y.sum().backward()
    assert_allclose(values(x.grad), 2 * values(y))


# ----- checkpoints: memory -----------------------------------------------------------------------


def saved_bytes(y: Tensor) -> int:
    """What the graph keeps for the backward pass, each array once."""
    arrays: dict[int, Any] = {}
    for node in tg.graph(y):
        for value in node.saved or ():
            for array in value if isinstance(value, tuple) else (value,):
                arrays[id(array)] = array
    return sum(getattr(array, "nbytes", 0) for array in arrays.values())


def deep(x: Tensor) -> Tensor:
    for _ in range(10):
        x = (x.tanh() * x).exp() * 0.1
    return x


def test_a_checkpoint_saves_its_input_alone() -> None:
    x = tg.ones(100, requires_grad=True)
    assert saved_bytes(deep(deep(x)).sum()) > 30 * 400
    y = checkpoint(deep, checkpoint(deep, x)).sum()
    assert saved_bytes(y) == 2 * 400
    assert [node.label for node in tg.graph(y)] == ["parameter", "checkpoint", "checkpoint", "sum"]


@contextmanager
def no_garbage_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.host
def test_nobody_keeps_the_result_of_the_first_run() -> None:
    with no_garbage_collector():
        y = checkpoint(lambda x: x * 2, tg.ones(100, requires_grad=True))
        array, z = weakref.ref(y._array), y + 1  # a sum saves nothing
        del y
        assert array() is None
        z.sum().backward()


def test_what_a_checkpoint_saves_goes_after_the_pass_and_with_the_graph() -> None:
    with no_garbage_collector():
        w, found = tg.ones(100, requires_grad=True), tg.ones(100)
        h = w * 2

        def make(h: Tensor, found: Tensor) -> Tensor:
            return checkpoint(lambda x: checkpoint(deep, x * w) * found, h).sum()

        y = make(h, found)
        nodes = [weakref.ref(node) for node in tg.graph(y) if node.op is not None]
        tensor = weakref.ref(found)
        del h, found
        assert saved_bytes(y) > 0
        assert tensor() is not None
        y.backward()
        assert saved_bytes(y) == 0
        assert tensor() is None
        del y
        assert [node() for node in nodes if node() is not None] == []
        assert gc.collect() == 0


# ----- checkpoints: what cannot be repeated ------------------------------------------------------


def test_what_changed_in_between_is_refused() -> None:
    def made() -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x, w, c = leaf([1.0, 2.0]), leaf([3.0, 4.0]), Tensor([5.0, 6.0])
        return x, w, c, checkpoint(lambda x: x + w + c, x).sum()

    for change in (
        lambda x, w, c: x.data.zero_(),
        lambda x, w, c: w.data.zero_(),
        lambda x, w, c: c.zero_(),
    ):
        x, w, c, y = made()
        change(x, w, c)
        with pytest.raises(RuntimeError, match=r"checkpoint of shape \(2,\) .* in place since"):
            y.backward()
    x, w, c, y = made()
    w.data = w.data * 2
    with pytest.raises(RuntimeError, match=r"a parameter of shape \(2,\) .* was replaced"):
        y.backward()


def test_a_function_that_does_something_else_the_second_time_is_refused() -> None:
    x, w = leaf([1.0, 2.0]), leaf([3.0])
    ways: list[Callable[[Tensor], Tensor]] = [lambda x: x * 2]

    def function(x: Tensor) -> Tensor:
        return ways[-1](x)

    for way, message in (
        (lambda x: x[:1] * 2, r"gave the shape \(1,\), and before \(2,\)"),
        (lambda x: x * w, r"used a parameter of shape \(1,\) that it had not used"),
        (lambda x: x.detach(), "depends on no input"),
    ):
        ways[:] = [lambda x: x * 2]
        y = checkpoint(function, x).sum()
        ways.append(way)
        with pytest.raises(RuntimeError, match=message):
            y.backward()


def test_a_checkpoint_has_no_formula() -> None:
    y = checkpoint(lambda x: x * 2, leaf([1.0]))
    with pytest.raises(ValueError, match="the rule of checkpoint"):
        tg.formula(y)


@pytest.mark.parametrize("backward", [True, "ops"])
def test_a_checkpoint_can_be_drawn(backward: Any) -> None:
    x, w = leaf(normal(2, 3)), leaf(normal(3, 4))
    y = checkpoint(lambda x: (x @ w).tanh() * x.sum(), x * 2).sum()
    source = tg.viz.draw(y, backward=backward).source
    assert "<B>backward of checkpoint</B>" in source
    assert ("<B>tanh</B>" in source) == (backward == "ops")  # it is computed there once more
