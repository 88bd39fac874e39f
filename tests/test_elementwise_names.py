"""Elementwise functions beside NumPy, SciPy and exact arithmetic: values, dtypes, edges."""

import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_cv as tg
from tinygrad_cv.testing import check_gradients

INF, NAN = math.inf, math.nan
SPECIAL = np.array([-INF, -2.5, -1.0, -0.75, -0.0, 0.0, 0.25, 0.5, 1.0, 3.0, INF, NAN])
PAIRS = tuple(map(np.ravel, np.meshgrid(SPECIAL, SPECIAL)))

ONE: dict[str, Callable[..., Any]] = {
    "deg2rad": np.deg2rad,
    "exp2": np.exp2,
    "fix": np.trunc,
    "isneginf": np.isneginf,
    "isposinf": np.isposinf,
    "isreal": np.isreal,
    "positive": np.positive,
    "rad2deg": np.rad2deg,
    "sgn": np.sign,
    "signbit": np.signbit,
}
TWO: dict[str, Callable[..., Any]] = {
    "copysign": np.copysign,
    "fmax": np.fmax,
    "fmin": np.fmin,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "heaviside": np.heaviside,
    "isclose": np.isclose,
    "less": np.less,
    "less_equal": np.less_equal,
    "not_equal": np.not_equal,
}
SECOND_NAMES = {
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctan2": "atan2",
    "arctanh": "atanh",
    "fix": "trunc",
    "greater": "gt",
    "greater_equal": "ge",
    "less": "lt",
    "less_equal": "le",
    "not_equal": "ne",
    "true_divide": "div",
}


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64"])
def test_a_function_of_one_number(name: str, dtype: str) -> None:
    x = (SPECIAL if dtype[0] == "f" else np.array([-3, 0, 5])).astype(dtype)
    y, expected = getattr(tg, name)(tg.tensor(x)), ONE[name](x)
    few = 4 * float(np.finfo(dtype if dtype[0] == "f" else "float32").eps)
    assert_allclose(y.numpy(), expected, rtol=few)
    assert_array_equal(np.signbit(y.numpy()), np.signbit(expected))
    kept = dtype if dtype[0] == "f" or name in ("fix", "positive", "sgn") else "float32"
    assert y.dtype == ("bool" if expected.dtype == bool else kept)


@pytest.mark.parametrize("name", TWO)
def test_a_function_of_two_numbers(name: str) -> None:
    a, b = PAIRS
    y, expected = getattr(tg, name)(tg.tensor(a), tg.tensor(b)), TWO[name](a, b)
    assert y.numpy().dtype == expected.dtype
    if name == "heaviside":  # NumPy takes the second where the first is 0, and NaN before all
        expected = np.where(np.isnan(a), NAN, expected)
    assert_array_equal(y.numpy(), expected)


@pytest.mark.parametrize("name", SECOND_NAMES)
def test_second_names(name: str) -> None:
    assert getattr(tg, name) is getattr(tg, SECOND_NAMES[name])
    assert getattr(tg.Tensor, name) is getattr(tg, name)


def test_the_other_way_round() -> None:
    x = tg.tensor([1.0, 2.0])
    assert tg.rsub(x, 5).tolist() == [4, 3]
    assert tg.rsub(x, tg.tensor([1.0, 1.0]), alpha=2).tolist() == [-1, -3]


def test_frac_and_float_power() -> None:
    x = tg.tensor([2.25, -2.25, 0.0], requires_grad=True)
    y = tg.frac(x)
    assert y.tolist() == [0.25, -0.25, 0.0]
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1, 1, 1]
    for base, power in ((tg.tensor([2, 3]), -1), (2, tg.tensor([1, -1])), (tg.tensor([2.0]), 0.5)):
        result = tg.float_power(base, power)
        expected = np.float_power(
            *(np.asarray(v.numpy() if isinstance(v, tg.Tensor) else v) for v in (base, power))
        )
        assert result.dtype == "float64"
        assert_allclose(result.numpy(), expected, rtol=1e-15)
    with pytest.raises(TypeError, match="truth values have no sign"):
        tg.positive(tg.tensor([True]))


# ----- gradients at edges ------------------------------------------------------------------------


def gradient(function: Callable[..., Any], *points: Any) -> list[Any]:
    xs = [tg.tensor(point, dtype="float64", requires_grad=True) for point in points]
    y = function(*xs)
    return [g.tolist() for g in tg.grad(y, xs, tg.ones_like(y)) if g is not None]


def test_copysign_passes_the_gradient_with_the_sign_it_changed() -> None:
    x = [1.0, 1.0, -2.0, -2.0, 0.0, 0.0, 3.0]
    y = tg.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0, -0.0])
    assert gradient(lambda x: tg.copysign(x, y), x) == [[1, -1, -1, 1, 0, 0, -1]]


def test_the_gradient_of_the_sign_of_a_number_stays_on_the_device() -> None:
    x = tg.tensor([2.0, -3.0], device="fakecuda", requires_grad=True)
    (found,) = tg.grad(tg.copysign(x, -1.0).sum(), x, create_graph=True)
    assert found is not None
    assert str(found.device).startswith("fakecuda")
    assert found.tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("name", ["fmax", "fmin"])
def test_the_gradient_goes_around_nan(name: str) -> None:
    a, b = [1.0, NAN, 1.0, 2.0], [NAN, 1.0, 1.0, 3.0]
    larger, smaller = [1.0, 0.0, 0.5, 0.0], [0.0, 1.0, 0.5, 1.0]
    expected = [larger, smaller] if name == "fmax" else [[1, 0, 0.5, 1], [0, 1, 0.5, 0]]
    assert gradient(getattr(tg, name), a, b) == expected


def test_heaviside_passes_the_gradient_to_its_values_at_0() -> None:
    x = tg.tensor([-1.0, 0.0, 2.0])
    assert gradient(lambda values: tg.heaviside(x, values), [0.5, 0.5, 0.5]) == [[0, 1, 0]]


def test_erfinv_is_infinite_at_its_ends() -> None:
    y = tg.erfinv(tg.tensor([-1.0, 1.0, 1.5], dtype="float64"))
    assert_array_equal(y.numpy(), [-INF, INF, NAN])
    assert gradient(tg.erfinv, [-1.0, 1.0]) == [[INF, INF]]


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=5))
def test_erfinv_undoes_erf(values: list[float]) -> None:
    x = np.array([math.erf(v) for v in values])
    inside = np.abs(x) < 1
    y = tg.erfinv(tg.tensor(x)).numpy()
    # What x does not tell apart, y cannot: dy = dx √π/2 e^(y²).
    allowed = 4e-16 * np.exp(np.square(values)) * np.maximum(np.abs(x), 1e-300) + 1e-15
    assert (np.abs(y - values) <= allowed)[inside].all()


@given(st.integers(1, 2**52 - 1), st.sampled_from((2**52, 2**60, 2**80)))
def test_logit_is_exact_to_a_few_roundings(numerator: int, denominator: int) -> None:
    """Everywhere, near 1/2 too, where the result is near 0."""
    x = numerator / denominator
    with localcontext() as context:
        context.prec = 60
        exact = Decimal(x) / (1 - Decimal(x))
        expected = float(exact.ln())
    assert_allclose(tg.logit(tg.tensor([x], dtype="float64")).numpy(), [expected], rtol=4e-15)


def test_logit_near_the_middle_and_at_the_ends() -> None:
    x = tg.tensor([0.5 + 2.0**-40, 0.5, 0.5 - 2.0**-40], dtype="float64")
    assert_allclose(tg.logit(x).numpy(), [2.0**-38, 0, -(2.0**-38)], rtol=1e-15)
    with np.errstate(divide="ignore", invalid="ignore"):
        assert_array_equal(tg.logit(tg.tensor([0.0, 1.0, 2.0])).numpy(), [-INF, INF, NAN])
        assert_array_equal(tg.logit(tg.tensor([0, 1], dtype="uint8")).numpy(), [-INF, INF])


def test_logit_with_eps_is_flat_outside() -> None:
    x = [-1.0, 0.0, 0.1, 0.5, 0.9, 1.0, 2.0]
    y = tg.logit(tg.tensor(x, dtype="float64"), eps=0.2).numpy()
    assert_allclose(y, scipy.special.logit(np.clip(x, 0.2, 0.8)), rtol=1e-12)
    assert_allclose(gradient(lambda v: tg.logit(v, 0.2), x), [[0, 0, 0, 4, 0, 0, 0]], rtol=1e-12)
    assert tg.logit(tg.tensor([0.5]), eps=None).tolist() == [0]


# ----- sinc --------------------------------------------------------------------------------------


def sinc_derivative(order: int, x: float) -> float:
    """The power series of sin(πx)/(πx), term by term, in 60 digits."""
    with localcontext() as context:
        context.prec = 60
        pi = Decimal("3.14159265358979323846264338327950288419716939937510582097494")
        total, point = Decimal(0), Decimal(x)
        for k in range(120):
            if 2 * k >= order:
                term = (-1) ** k * pi ** (2 * k) / math.factorial(2 * k + 1)
                power = point ** (2 * k - order) if 2 * k > order else Decimal(1)
                total += term * math.perm(2 * k, order) * power
        return float(total)


@given(
    st.floats(-4, 4)
    | st.floats(-1e-3, 1e-3)
    | st.sampled_from((0.0, 5e-324, 1e-160, 1e-30, 2 / math.pi))
)
def test_sinc_and_its_derivatives_are_exact_around_0_too(point: float) -> None:
    x = y = tg.tensor(point, dtype="float64", requires_grad=True)
    y = tg.sinc(x)
    for order in range(5):
        assert_allclose(y.item(), sinc_derivative(order, point), rtol=0, atol=2e-13 * 4**order)
        (y,) = tg.grad(y, x, create_graph=True)


def test_sinc_at_0_and_at_infinity() -> None:
    x = tg.tensor([0.0, INF, -INF], dtype="float64", requires_grad=True)
    y = tg.sinc(x)
    assert y.tolist() == [1, 0, 0]
    (first,) = tg.grad(y.sum(), x, create_graph=True)
    assert first.tolist() == [0, 0, 0]
    (second,) = tg.grad(first.sum(), x)
    assert second is not None
    assert_allclose(second.numpy(), [-(math.pi**2) / 3, 0, 0], rtol=1e-15)
    assert tg.sinc(tg.tensor([1, 2])).dtype == "float32"


def test_sinc_gradients() -> None:
    check_gradients(tg.sinc, [np.array([-2.3, -0.2, 0.0, 0.6, 1.5])], order=2)


def test_logaddexp2_is_exact_where_powers_overflow() -> None:
    a, b = np.array([2000.0, -2000.0, 0.0]), np.array([2000.0, -2000.0, 53.0])
    y = tg.logaddexp2(tg.tensor(a), tg.tensor(b)).numpy()
    assert_array_equal(y[:2], [2001, -1999])
    assert_allclose(y[2], np.log2(1 + 2.0**53), rtol=1e-15)


# ----- closeness ---------------------------------------------------------------------------------


@given(st.data())
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64"])
def test_the_distance_of_integers_is_exact(dtype: str, data: Any) -> None:
    bounds = np.iinfo(dtype)
    numbers = st.integers(int(bounds.min), int(bounds.max))
    a, b, atol = data.draw(numbers), data.draw(numbers), data.draw(st.integers(0, 300))
    b = data.draw(st.sampled_from((b, min(a + 1, int(bounds.max)), max(a - 200, int(bounds.min)))))
    x, y = tg.tensor([a], dtype=dtype), tg.tensor([b], dtype=dtype)
    expected = abs(a - b) <= atol
    assert tg.isclose(x, y, rtol=0, atol=atol).tolist() == [expected]
    assert tg.allclose(x, y, rtol=0, atol=atol) == expected


@given(*[st.floats(width=32)] * 2, st.sampled_from((0, 1e-8, 0.5)), st.sampled_from((0, 1e-5, 1)))
def test_the_distance_of_floats(a: float, b: float, atol: float, rtol: float) -> None:
    close = tg.isclose(tg.tensor([a]), tg.tensor([b]), rtol, atol).item()
    if a == b or not (math.isfinite(a) and math.isfinite(b)):
        assert close == (a == b)
    else:
        distance, allowed = (
            abs(Fraction(a) - Fraction(b)),
            Fraction(atol) + Fraction(rtol) * abs(Fraction(b)),
        )
        if abs(distance - allowed) > Fraction(1, 2**50) * max(distance, allowed):
            assert close == (distance <= allowed)


def test_closeness_of_what_is_no_number() -> None:
    x, y = tg.tensor([NAN, INF, -INF, 1.0]), tg.tensor([NAN, INF, INF, 1.0])
    assert tg.isclose(x, y).tolist() == [False, True, False, True]
    assert tg.isclose(x, y, equal_nan=True).tolist() == [True, True, False, True]
    assert not tg.allclose(x, y)
    assert tg.allclose(x[:2], y[:2], equal_nan=True)
    assert tg.allclose(tg.zeros(0), tg.zeros(0))
    assert tg.isclose(tg.tensor([True, False]), tg.tensor([True, True])).tolist() == [True, False]
    half = tg.tensor([1e-7], dtype="float16")  # 1e-8 is 0 in half precision
    assert tg.isclose(half, half * 0, rtol=0, atol=1e-6).item()
    for keyword in ("rtol", "atol"):
        with pytest.raises(ValueError, match="rtol and atol are 0 or more"):
            tg.isclose(x, y, **{keyword: -1.0})
    leaf = tg.ones(2, requires_grad=True)
    assert not tg.isclose(leaf, leaf).requires_grad


def test_equal_compares_shapes_and_elements() -> None:
    x = tg.tensor([[1.0, 2.0]])
    assert tg.equal(x, x.clone())
    assert x.equal(tg.tensor([[1, 2]]))
    assert not tg.equal(x, x[0])
    assert not tg.equal(x, x + tg.tensor([0.0, 1e-6]))
    assert not tg.equal(tg.tensor([NAN]), tg.tensor([NAN]))
    assert tg.equal(tg.zeros(0, 2), tg.zeros(0, 2))
    assert not tg.equal(tg.zeros(0, 2), tg.zeros(0, 3))
