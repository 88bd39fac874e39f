"""Products with Jacobians, Jacobians and Hessians, held against one another.

A transform is compared with closed forms, with measured slopes, and with the other transforms.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_cv as tg
from programs import leaf, normal, values
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.testing.measure import slope
from tinygrad_cv.testing.strategies import Expression, expressions
from tinygrad_cv.transforms import hessian, hvp, jacobian, jvp, vjp


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
