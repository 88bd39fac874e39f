"""Elementwise functions, activations and noise as functions: options, edges, kinks, errors, chance.

The rules of the ops are tested in test_ops.py; here is what the functions make of them.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

import oracles
import tinygrad_cv as tg
from rows.row import Case
from rows.shape import with_empty
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.testing import check_op
from tinygrad_cv.testing.strategies import arrays, broadcastable, shapes

Array = NDArray[Any]


def leaf(values: Any, dtype: str = "float64") -> Tensor:
    return Tensor(np.array(values, dtype=dtype), requires_grad=True)


def values(tensor: Tensor | None) -> Array:
    assert tensor is not None
    return np.array(tensor.detach().numpy())


def slopes(function: Callable[..., Tensor], *points: Any) -> list[Any]:
    """The gradient of the sum of an elementwise function, for each input."""
    leaves = [leaf(x) for x in points]
    return [values(g).tolist() for g in tg.grad(function(*leaves).sum(), leaves)]


# ----- what all of them have in common ------------------------------------------------------------

SMOOTH = (
    *("celu", "elu", "gelu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu"),
    *("logsigmoid", "mish", "relu", "relu6", "rrelu", "selu", "sigmoid", "silu", "softplus"),
    *("softshrink", "softsign", "tanh", "tanhshrink"),
)
CALLS: dict[str, Callable[..., Tensor]] = {
    **{name: getattr(tg, name) for name in SMOOTH},
    "gelu, tanh": lambda input: tg.gelu(input, approximate="tanh"),
    "prelu": lambda input: tg.prelu(input, Tensor([0.25], dtype=input.dtype)),
    "rrelu, training": lambda input: tg.rrelu(input, training=True),
    "softplus, beta": lambda input: tg.softplus(input, beta=3.0),
    "threshold": lambda input: tg.threshold(input, 0.5, 7.0),
}
FUNCTIONS = (
    *("abs", "acos", "asin", "asinh", "atan", "ceil", "cos", "cosh", "digamma", "erf", "erfc"),
    *("exp", "expm1", "floor", "log1p", "neg", "round", "sign", "sin", "sinh", "square", "tan"),
    *("trunc", "atanh"),
)
PAIRS = (
    *("add", "atan2", "div", "eq", "floor_divide", "fmod", "ge", "gt", "hypot", "le", "logaddexp"),
    *("logical_and", "logical_or", "logical_xor", "lt", "maximum", "minimum", "mul", "ne"),
    *("remainder", "sub", "xlogy"),
)


@pytest.mark.parametrize("name", [*SMOOTH, *FUNCTIONS])
def test_the_input_can_be_given_by_name(name: str) -> None:
    x = tg.tensor([-0.75, 0.5])
    f = getattr(tg, name)
    assert_array_equal(values(f(input=x)), values(f(x)))


@pytest.mark.parametrize("name", PAIRS)
def test_both_inputs_can_be_given_by_name(name: str) -> None:
    x, y = tg.tensor([1.0, 2.0]), tg.tensor([3.0, 0.5])
    f = getattr(tg, name)
    expected = values(f(x, y))
    assert_array_equal(values(f(input=x, other=y)), expected)
    assert_array_equal(values(f(x, other=y)), expected)


@pytest.mark.parametrize("name", [*CALLS, *FUNCTIONS])
def test_what_is_no_number_stays_none(name: str) -> None:
    f = CALLS.get(name) or getattr(tg, name)
    assert np.isnan(values(f(tg.tensor([math.nan])))).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", CALLS)
def test_far_out_values_and_slopes_are_finite(name: str, dtype: str) -> None:
    """Without a warning, and in the dtype of the input: up to where x² is finite."""
    largest = 0.9 * float(np.finfo(dtype).max) ** 0.5
    far = np.array([20.5, 88.8, 0.1 * largest, largest])
    x = leaf([*far, *-far], dtype)
    y = CALLS[name](x)
    assert y.dtype == dtype
    assert np.isfinite(values(y)).all()
    (g,) = tg.grad(y.sum(), x, create_graph=True)
    assert g is not None
    assert g.dtype == dtype
    assert np.isfinite(values(g)).all()
    if g.requires_grad:
        (h,) = tg.grad(g.sum(), x, allow_unused=True)
        assert h is None or np.isfinite(values(h)).all()


ALIASES = {
    "absolute": "abs",
    "clip": "clamp",
    "divide": "div",
    "multiply": "mul",
    "negative": "neg",
    "subtract": "sub",
}


@pytest.mark.parametrize("name", ALIASES)
def test_an_alias_is_the_function_itself(name: str) -> None:
    assert getattr(tg, name) is getattr(tg, ALIASES[name])


# ----- arithmetic -------------------------------------------------------------------------------


@st.composite
def several(draw: Any, count: int, **ranges: Any) -> tuple[Array, ...]:
    return tuple(draw(arrays(shape, **ranges)) for shape in draw(broadcastable(count)))


COMPOSED: dict[str, tuple[Callable[..., Any], Any, Callable[..., Any]]] = {
    "add": (lambda x, y: tg.add(x, y, alpha=2.5), several(2), lambda x, y: x + 2.5 * y),
    "sub": (lambda x, y: tg.sub(x, y, alpha=-2), several(2), lambda x, y: x + 2 * y),
    "div": (
        tg.div,
        several(2, kinks=(0.0,), margin=0.3),
        lambda x, y: x * y**-1,
    ),
    "lerp": (tg.lerp, several(3), lambda x, end, w: (1 - w) * x + w * end),
    "lerp, by a number": (
        lambda x, end: tg.lerp(x, end, 0.3),
        several(2),
        lambda x, end: 0.7 * x + 0.3 * end,
    ),
    "addcmul": (tg.addcmul, several(3), lambda x, y, z: x + y * z),
    "addcmul, value": (
        lambda x, y, z: tg.addcmul(x, y, z, value=-3),
        several(3),
        lambda x, y, z: x - 3 * y * z,
    ),
    "addcdiv": (tg.addcdiv, several(3, kinks=(0.0,), margin=0.3), lambda x, y, z: x + y / z),
    "addcdiv, value": (
        lambda x, y, z: tg.addcdiv(x, y, z, value=0.5),
        several(3, kinks=(0.0,), margin=0.3),
        lambda x, y, z: x + y / z / 2,
    ),
    "xlogy, by a number": (
        lambda x: tg.xlogy(x, 2.3),
        arrays(shapes()),
        lambda x: x * math.log(2.3),
    ),
    "xlogy, of a number": (
        lambda x: tg.xlogy(2.3, x),
        arrays(shapes(), 0.2, 2.0),
        lambda x: 2.3 * np.log(x),
    ),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_composed_functions(name: str) -> None:
    check_op(*COMPOSED[name])


def test_lists_and_numbers_are_taken_beside_tensors() -> None:
    x = tg.tensor([1.0, 2.0])
    assert tg.add(x, [3.0, 4.0], alpha=10).tolist() == [31, 42]
    assert tg.sub([3.0, 4.0], x, alpha=2).tolist() == [1, 0]
    assert tg.sub(1, x, alpha=2).tolist() == [-1, -3]
    assert tg.lerp(x, [3.0, 4.0], [0.0, 1.0]).tolist() == [1, 4]
    assert tg.addcmul(x, [1.0, 2.0], [3.0, 4.0], value=2).tolist() == [7, 18]
    assert tg.addcdiv(x, [1.0, 2.0], 2, value=2).tolist() == [2, 4]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [(None, [1.75, -1.75, -1.75]), ("floor", [1, -2, -2]), ("trunc", [1, -1, -1])],
)
def test_a_quotient_is_rounded_as_asked(mode: str | None, expected: list[float]) -> None:
    x, y = leaf([7.0, -7.0, 7.0]), tg.tensor([4.0, 4.0, -4.0], dtype=tg.float64)
    q = tg.div(x, y, rounding_mode=mode)
    assert q.tolist() == expected
    assert q.requires_grad == (mode is None)


def test_remainders_have_the_sign_of_the_divisor_or_of_the_dividend() -> None:
    x, d = tg.tensor([7.0, -7.0, 7.0, -7.0]), tg.tensor([4.0, 4.0, -4.0, -4.0])
    assert tg.remainder(x, d).tolist() == [7 % 4, -7 % 4, 7 % -4, -7 % -4] == [3, 1, -1, -3]
    assert tg.fmod(x, d).tolist() == [3, -3, 3, -3]


# ----- clamp ------------------------------------------------------------------------------------


@st.composite
def bounded(draw: Any) -> Case:
    """x between bounds that are numbers, tensors, or nothing; none of them is met exactly."""
    a, b, c = draw(broadcastable(3))
    x = np.round(draw(arrays(a)), 1)
    low, high = np.round(draw(arrays(b)), 1) - 0.03, np.round(draw(arrays(c)), 1) + 0.05
    bounds = (low, high), (low, None), (None, high), (low, 0.72), (-0.72, high)
    return Case((x, *draw(st.sampled_from(bounds))))


def limited(x: Array, low: Any, high: Any) -> Array:
    """Where the bounds are the wrong way round, the upper one wins."""
    low, high = (-np.inf if low is None else low), (np.inf if high is None else high)
    x, low, high = np.broadcast_arrays(x, low, high)
    return np.where(x > high, high, np.where(x < low, np.where(low > high, high, low), x))


def test_clamp_between_tensors() -> None:
    check_op(tg.clamp, bounded(), limited)


def test_at_a_bound_the_gradient_passes_to_the_input() -> None:
    def between(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
        return tg.clamp(x, low, high)

    x, low, high = slopes(between, [1.0, 2.0, 0.0, 3.0], [1.0] * 4, [2.0] * 4)
    assert (x, low, high) == ([1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1])
    assert slopes(lambda x: tg.clamp(x, 1, 2), [1.0, 2.0, 0.0, 3.0]) == [[1, 1, 0, 0]]


def test_clamp_passes_on_what_is_no_number() -> None:
    nan, one = tg.tensor([math.nan]), tg.tensor([1.0])
    for x, low, high in ((nan, one, one), (one, nan, one), (one, one, nan)):
        assert np.isnan(values(tg.clamp(x, low, high))).all()


# ----- functions --------------------------------------------------------------------------------


@given(st.floats(-12, 0))
def test_small_numbers_keep_their_digits(exponent: float) -> None:
    x = 10.0**exponent
    for sign in (1, -1):
        assert_allclose(tg.expm1(leaf([sign * x])).item(), math.expm1(sign * x), rtol=1e-14)
        small = sign * x / 2
        assert_allclose(tg.log1p(leaf([small])).item(), math.log1p(small), rtol=1e-14)


def test_tails_are_accurate_and_nothing_overflows() -> None:
    x = np.array([5.0, 20.0, 26.0])
    assert_allclose(values(tg.erfc(leaf(x))), [math.erfc(v) for v in x], rtol=1e-12)
    far = leaf([1000.0, -1000.0])
    assert tg.logaddexp(far, far).tolist() == [1000 + math.log(2), -1000 + math.log(2)]
    assert slopes(tg.logaddexp, [1000.0, -1000.0], [0.0, 0.0]) == [[1, 0], [0, 1]]
    assert tg.hypot(leaf([3e200]), leaf([4e200])).item() == pytest.approx(5e200)
    assert slopes(tg.hypot, [3e200], [4e200]) == [[pytest.approx(0.6)], [pytest.approx(0.8)]]
    assert slopes(tg.asinh, [1e200]) == [[pytest.approx(1e-200)]]
    assert slopes(tg.atan2, [3e-200], [4e-200]) == [
        [pytest.approx(1.6e199)],
        [pytest.approx(-1.2e199)],
    ]


def test_an_angle_and_a_length_have_the_gradient_0_at_the_origin() -> None:
    assert slopes(tg.hypot, [0.0], [0.0]) == [[0], [0]]
    assert slopes(tg.atan2, [0.0], [0.0]) == [[0], [0]]


@given(st.floats(-math.pi + 0.01, math.pi - 0.01), st.floats(0.1, 10))
def test_atan2_finds_the_angle_of_a_point(angle: float, radius: float) -> None:
    y, x = leaf([radius * math.sin(angle)]), leaf([radius * math.cos(angle)])
    assert_allclose(tg.atan2(y, x).item(), angle, rtol=1e-12, atol=1e-14)


def test_xlogy_is_0_where_its_first_factor_is() -> None:
    x, y = [0.0, 0.0, 0.0, 2.0], [0.0, -1.0, 3.0, 3.0]
    assert tg.xlogy(leaf(x), leaf(y)).tolist() == [0, 0, 0, 2 * math.log(3)]
    dx, dy = slopes(tg.xlogy, x, y)
    assert dx == [0, 0, math.log(3), math.log(3)]
    assert dy == [0, 0, 0, 2 / 3]
    assert np.isnan(values(tg.xlogy(leaf([0.0]), leaf([math.nan])))).all()
    assert slopes(lambda x: tg.xlogy(x, 2.3), [0.0]) == [[math.log(2.3)]]  # all its digits


@given(arrays(shapes(), 0.2, 3.0), st.integers(0, 4))
def test_polygamma_obeys_its_recurrence(x: Array, n: int) -> None:
    """log Γ(x + 1) = log Γ(x) + log x, differentiated n + 1 times."""
    step = values(tg.polygamma(n, leaf(x + 1))) - values(tg.polygamma(n, leaf(x)))
    assert_allclose(step, (-1) ** n * math.factorial(n) / x ** (n + 1), rtol=1e-9, atol=1e-9)


@given(arrays(shapes(), -0.9, -0.1))
def test_digamma_and_its_derivative_obey_the_reflection(x: Array) -> None:
    """ψ(1 - x) - ψ(x) = π / tan πx, below 0 as well; the derivative of ψ is ψ₁."""
    below, above = leaf(x), leaf(1 - x)
    difference = values(tg.digamma(above)) - values(tg.digamma(below))
    assert_allclose(difference, np.pi / np.tan(np.pi * x), rtol=1e-9, atol=1e-9)
    (g,) = tg.grad(tg.digamma(below).sum(), below)
    total = values(g) + values(tg.polygamma(1, above))
    assert_allclose(total, (np.pi / np.sin(np.pi * x)) ** 2, rtol=1e-9)


def test_the_digamma_of_1_is_eulers_constant() -> None:
    assert tg.digamma(leaf([1.0])).item() == pytest.approx(-np.euler_gamma, rel=1e-14)
    assert tg.lgamma(leaf([5.0])).item() == pytest.approx(math.log(24), rel=1e-14)


def test_whole_numbers_become_floats() -> None:
    x = tg.tensor([1, 2])
    for f in (tg.exp, tg.erf, tg.digamma, tg.lgamma, lambda x: tg.polygamma(1, x)):
        assert_allclose(values(f(x)), values(f(x.float())), rtol=1e-6)
        assert f(x).dtype == "float32"


def test_halves_are_rounded_to_even() -> None:
    assert tg.round(leaf([-1.5, -0.5, 0.5, 1.5, 2.5])).tolist() == [-2, 0, 0, 2, 2]
    assert tg.round(leaf([0.25, 0.75]), decimals=1).tolist() == [0.2, 0.8]
    assert tg.round(leaf([15.0, 25.0]), decimals=-1).tolist() == [20, 20]


@pytest.mark.parametrize("name", ["ceil", "floor", "round", "sign", "trunc"])
def test_a_step_function_is_a_constant_to_the_gradient(name: str) -> None:
    step = getattr(tg, name)
    assert not step(leaf([0.3])).requires_grad
    assert slopes(lambda x: x - step(x), [0.3, -1.7]) == [[1, 1]]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_holes_are_filled_with_the_extremes_of_the_dtype(dtype: str) -> None:
    x = leaf([1.5, math.nan, math.inf, -math.inf], dtype)
    top = float(np.finfo(dtype).max)
    y = tg.nan_to_num(x)
    assert y.dtype == dtype
    assert y.tolist() == [1.5, 0, top, -top]
    assert tg.nan_to_num(x, 2, 3, neginf=4).tolist() == [1.5, 2, 3, 4]
    (g,) = tg.grad((y * tg.tensor([2.0, 3.0, 0.0, 0.0])).sum(), x)
    assert values(g).tolist() == [2, 0, 0, 0]


# ----- activations --------------------------------------------------------------------------------

CORNERS: dict[str, tuple[Callable[[Tensor], Tensor], float, float]] = {
    "relu": (tg.relu, 0.0, 0.0),
    "leaky_relu": (lambda x: tg.leaky_relu(x, 0.2), 0.0, 0.2),
    "prelu": (lambda x: tg.prelu(x, leaf(0.2)), 0.0, 0.2),
    "rrelu": (lambda x: tg.rrelu(x, 0.25, 0.25, training=True), 0.0, 0.25),
    "relu6, below": (tg.relu6, 0.0, 0.0),
    "relu6, above": (tg.relu6, 6.0, 0.0),
    "hardtanh, below": (tg.hardtanh, -1.0, 0.0),
    "hardtanh, above": (tg.hardtanh, 1.0, 0.0),
    "elu": (lambda x: tg.elu(x, 2.0), 0.0, 2.0),
    "selu": (tg.selu, 0.0, 1.0507009873554805 * 1.6732632423543772),
    "celu": (lambda x: tg.celu(x, 2.0), 0.0, 1.0),
    "softshrink, below": (tg.softshrink, -0.5, 0.0),
    "softshrink, above": (tg.softshrink, 0.5, 0.0),
    "hardshrink": (tg.hardshrink, 0.5, 0.0),
    "hardsigmoid, below": (tg.hardsigmoid, -3.0, 0.0),
    "hardsigmoid, above": (tg.hardsigmoid, 3.0, 0.0),
    "hardswish, below": (tg.hardswish, -3.0, 0.0),
    "hardswish, above": (tg.hardswish, 3.0, 1.0),
    "threshold": (lambda x: tg.threshold(x, 0.5, 0.5), 0.5, 0.0),
    "softsign": (tg.softsign, 0.0, 1.0),
}


@pytest.mark.parametrize("name", CORNERS)
def test_the_slope_at_a_corner(name: str) -> None:
    f, at, slope = CORNERS[name]
    assert slopes(f, [at]) == [[pytest.approx(slope)]]


def test_selu_keeps_the_mean_and_the_variance_of_the_standard_normal() -> None:
    """∫ selu(x) φ(x) dx = 0 and ∫ selu(x)² φ(x) dx = 1: the two equations that fix its numbers."""
    x = np.linspace(-12, 12, 200_001)
    weight = np.exp(-x * x / 2) / np.sqrt(2 * np.pi) * (x[1] - x[0])
    y = values(tg.selu(leaf(x)))
    assert_allclose([(y * weight).sum(), (y * y * weight).sum()], [0, 1], atol=1e-8)


@given(arrays(shapes(), -6.0, 6.0))
def test_activations_are_related(x: Array) -> None:
    t = leaf(x)

    def same(a: Tensor, b: Tensor, atol: float = 1e-12) -> None:
        assert_allclose(values(a), values(b), rtol=1e-12, atol=atol)

    same(tg.silu(t), t * tg.sigmoid(t))
    same(tg.logsigmoid(t), tg.log(tg.sigmoid(t)))
    same(tg.softplus(t) - tg.softplus(-t), t)
    same(tg.softplus(t, beta=2.0), tg.softplus(2 * t) / 2)
    same(tg.mish(t), t * tg.tanh(tg.softplus(t)))
    same(tg.relu6(t), tg.hardtanh(t, 0.0, 6.0))
    same(tg.hardswish(t), t * tg.hardsigmoid(t))
    same(tg.hardshrink(t, 1.0), tg.softshrink(t, 1.0) + tg.sign(tg.softshrink(t, 1.0)))
    same(tg.elu(t), tg.celu(t))
    same(tg.gelu(t) - tg.gelu(-t), t)
    same(tg.gelu(t), tg.gelu(t, approximate="tanh"), atol=5e-4)
    same(tg.tanhshrink(t), t - tg.tanh(t))


def test_beyond_its_threshold_softplus_is_the_line() -> None:
    x = [1.1, 0.9, 5.0]
    soft = math.log1p(math.exp(1.8)) / 2
    near = tg.softplus(leaf(x), beta=2.0, threshold=2.0)
    assert near.tolist() == [1.1, pytest.approx(soft), 5.0]
    (g,) = slopes(lambda x: tg.softplus(x, beta=2.0, threshold=2.0), x)
    assert g == [1, pytest.approx(1 / (1 + math.exp(-1.8))), 1]


@st.composite
def learned(draw: Any) -> Case:
    """Inputs with any number of axes; one slope (with an axis or without), or one a channel."""
    x = draw(arrays(with_empty(0, 4), kinks=(0.0,)))
    channels = x.shape[1] if x.ndim > 1 else 1
    return Case((x, draw(arrays(draw(st.sampled_from(((), (1,), (channels,))))))))


def prelu(x: Array, weight: Array) -> Array:
    y = np.array(x)
    for place in np.ndindex(*x.shape):
        slope = weight.flat[place[1] if weight.size > 1 else 0]
        y[place] = x[place] if x[place] > 0 else slope * x[place]
    return y


def test_prelu_learns_one_slope_or_one_a_channel() -> None:
    filled = learned().filter(lambda case: case.inputs[0].size and case.inputs[1].size)
    check_op(tg.prelu, filled, prelu)


def test_prelu_of_nothing_is_nothing() -> None:
    x, weight = leaf(np.zeros((2, 3, 0))), leaf([0.1, 0.2, 0.3])
    y = tg.prelu(x, weight)
    assert y.shape == (2, 3, 0)
    (g,) = tg.grad(y.sum(), weight)
    assert values(g).tolist() == [0, 0, 0]


@st.composite
def grouped(draw: Any) -> Case:
    shape, pieces = list(draw(with_empty(1))), draw(st.integers(1, 3))
    axis = draw(st.integers(0, len(shape) - 1))
    shape[axis] *= pieces
    dim = draw(st.sampled_from((axis, axis - len(shape))))
    return Case((draw(arrays(shape, distinct=True)),), {"pieces": pieces, "dim": dim})


def maxout(x: Array, pieces: int, dim: int) -> Array:
    x = np.moveaxis(x, dim, 0)
    groups = [x[i : i + pieces].max(0, initial=-np.inf) for i in range(0, len(x), pieces)]
    return np.moveaxis(np.array(groups).reshape(len(groups), *x.shape[1:]), 0, dim)


def test_maxout_is_the_maximum_of_neighbouring_channels() -> None:
    check_op(tg.maxout, grouped(), maxout)


def test_maxout_after_a_layer_is_the_maximum_of_affine_pieces() -> None:
    rng = np.random.default_rng(0)
    x, w, b = rng.normal(size=(5, 3)), rng.normal(size=(8, 3)), rng.normal(size=8)
    y = tg.maxout(tg.linear(leaf(x), leaf(w), leaf(b)), pieces=2)
    expected = np.maximum(x @ w[::2].T + b[::2], x @ w[1::2].T + b[1::2])
    assert_allclose(values(y), expected, rtol=1e-12)


def test_equal_pieces_share_the_gradient_evenly() -> None:
    (g,) = slopes(lambda x: tg.maxout(x, 3), [[2.0, 2.0, 1.0, 0.0, 5.0, 4.0]])
    assert g == [[0.5, 0.5, 0, 0, 1, 0]]


@st.composite
def gates(draw: Any) -> Case:
    shape = list(draw(shapes(1)))
    axis = draw(st.integers(0, len(shape) - 1))
    shape[axis] *= 2
    dim = draw(st.sampled_from((axis, axis - len(shape))))
    return Case((draw(arrays(shape)),), {"dim": dim})


def glu(x: Array, dim: int) -> Array:
    a, b = np.split(x, 2, axis=dim)
    return a / (1 + np.exp(-b))


def test_glu_along_any_axis() -> None:
    check_op(tg.glu, gates(), glu)
    assert tg.glu(leaf([[1.0, 0.0], [3.0, 0.0]])).tolist() == [[0.5], [1.5]]  # the last axis


@st.composite
def weighed(draw: Any) -> Case:
    x = draw(arrays(shapes(1)))
    return Case((x,), {draw(st.sampled_from(("dim", "axis"))): draw(st.integers(-x.ndim, -1))})


def softmin(x: Array, dim: int | None = None, axis: int | None = None) -> Array:
    return np.asarray(oracles.softmax(-x, (dim if axis is None else axis) or 0))


def test_softmin_gives_the_smallest_the_most() -> None:
    check_op(tg.softmin, weighed(), softmin)
    assert tg.softmin(leaf(3.0), 0).item() == 1


# ----- noise --------------------------------------------------------------------------------------


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


MANY = 100_000

NOISY: dict[str, Callable[..., Tensor]] = {
    "alpha_dropout": tg.alpha_dropout,
    "dropout": tg.dropout,
    "dropout1d": lambda x, **options: tg.dropout1d(x[None], **options)[0],
    "dropout2d": lambda x, **options: tg.dropout2d(x[None, ..., None], **options)[0, ..., 0],
    "dropout3d": lambda x, **options: tg.dropout3d(x[None, ..., None, None], **options)[
        0, ..., 0, 0
    ],
    "gaussian_noise": lambda x, **options: tg.gaussian_noise(x, 0.5, **options),
    "rrelu": tg.rrelu,
    "vanilla_dropout": tg.vanilla_dropout,
}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", NOISY)
def test_the_generator_decides_and_the_dtype_stays(name: str, dtype: str) -> None:
    f, x = NOISY[name], leaf(-np.ones((50, 3)), dtype)
    generator = seeded(1)
    first, second = (f(x, training=True, generator=generator) for _ in range(2))
    assert first.dtype == dtype
    assert first.tolist() != second.tolist()  # it moves on
    assert f(x, training=True, generator=seeded(1)).tolist() == first.tolist()
    draws = []
    for _ in range(2):
        tg.manual_seed(7)
        draws.append(f(x, training=True).tolist())
    assert draws[0] == draws[1] != first.tolist()
    (g,) = tg.grad(first.sum(), x)
    assert g is not None
    assert g.dtype == dtype


@pytest.mark.parametrize("name", sorted(NOISY.keys() - {"rrelu", "vanilla_dropout"}))
def test_evaluation_changes_nothing(name: str) -> None:
    x = tg.tensor(seeded().normal(size=(4, 3)))
    assert_array_equal(values(NOISY[name](x, training=False)), values(x))


@given(st.sampled_from((1, 2, 3)), st.sampled_from((0.2, 0.5, 0.8)), st.integers(0, 9))
def test_a_channel_is_dropped_as_a_whole(n: int, p: float, seed: int) -> None:
    x = leaf(seeded(seed).uniform(1, 2, (6, 5, *range(2, 2 + n))))
    f = getattr(tg, f"dropout{n}d")
    y = f(x, p, generator=seeded(seed))
    kept = (values(y) != 0).reshape(30, -1)
    assert_array_equal(kept.all(1), kept.any(1))
    mask = np.where(kept, 1 / (1 - p), 0).reshape(x.shape)
    assert_allclose(values(y), values(x) * mask, rtol=1e-12)
    (g,) = tg.grad(y.sum(), x)
    assert_allclose(values(g), mask, rtol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_share_of_dropped_channels(n: int) -> None:
    x = tg.ones(200, 500, *[1] * n)
    dropped = (values(getattr(tg, f"dropout{n}d")(x, 0.3, generator=seeded())) == 0).mean()
    assert abs(dropped - 0.3) < 5 * math.sqrt(0.3 * 0.7 / MANY)


def test_one_image_without_a_batch_loses_whole_channels_too() -> None:
    y = values(tg.dropout1d(tg.ones(40, 6), generator=seeded()))
    assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))
    assert set(y.flat) == {0, 2}


@pytest.mark.parametrize("p", [0.0, 0.2, 0.75, 1.0])
def test_vanilla_dropout_drops_in_training_and_scales_in_evaluation(p: float) -> None:
    x = leaf(seeded().uniform(1, 2, MANY))
    train = values(tg.vanilla_dropout(x, p, generator=seeded(1)))
    test = values(tg.vanilla_dropout(x, p, training=False))
    assert_allclose(test, (1 - p) * values(x), rtol=1e-12)
    kept = train != 0
    assert_array_equal(train[kept], values(x)[kept])  # nothing is scaled
    assert abs(kept.mean() - (1 - p)) <= 5 * math.sqrt(p * (1 - p) / MANY)
    if 0 < p < 1:  # what is expected in training is what a test sees, and what dropout keeps
        inverted = values(tg.dropout(x, p, generator=seeded(1)))
        assert_allclose(train, (1 - p) * inverted, rtol=1e-12)


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    x = leaf(seeded().normal(size=MANY))
    for p in (0.1, 0.5, 0.9):
        y = tg.alpha_dropout(x, p, training=True, generator=seeded(1))
        assert abs(values(y).mean()) < 5 / math.sqrt(MANY)
        assert abs(values(y).var() - 1) < 0.05
        (g,) = tg.grad(y.sum(), x)
        slope = sorted(set(values(g).tolist()))
        assert len(slope) == 2
        assert slope[0] == 0
        assert abs((values(g) == 0).mean() - p) < 5 * math.sqrt(p * (1 - p) / MANY)
        assert len(set(values(y)[values(g) == 0].tolist())) == 1
    assert not values(tg.alpha_dropout(x, 1.0, training=True)).any()


def test_gaussian_noise_is_added_and_leaves_the_gradient() -> None:
    x = leaf(np.full(MANY, 3.0))
    y = tg.gaussian_noise(x, 0.5, generator=seeded())
    noise = values(y) - 3
    assert abs(noise.mean()) < 5 * 0.5 / math.sqrt(MANY)
    assert abs(noise.std() - 0.5) < 5 * 0.5 / math.sqrt(2 * MANY)
    (g,) = tg.grad((2 * y).sum(), x)
    assert set(values(g).tolist()) == {2}
    assert tg.gaussian_noise(x, 0) is x


def test_rrelu_draws_a_slope_for_each_element_below_0() -> None:
    x = leaf(seeded().normal(size=MANY))
    y = tg.rrelu(x, 0.2, 0.6, training=True, generator=seeded(1))
    (g,) = tg.grad(y.sum(), x)
    below, slope = values(x) < 0, values(g)
    assert_array_equal(values(y)[~below], values(x)[~below])
    assert_allclose(values(y)[below], (slope * values(x))[below], rtol=1e-12)
    assert set(slope[~below].tolist()) == {1}
    assert 0.2 <= slope[below].min() < 0.201
    assert 0.599 < slope[below].max() <= 0.6 + 1e-7
    assert abs(slope[below].mean() - 0.4) < 5 * 0.4 / math.sqrt(12 * below.sum())
    mean = tg.rrelu(x, 0.2, 0.6)
    assert_allclose(values(mean)[below], 0.4 * values(x)[below], rtol=1e-12)


# ----- errors -------------------------------------------------------------------------------------

X = (2, 4)

ERRORS: dict[str, tuple[Callable[[Tensor], Any], type[Exception], Sequence[str]]] = {
    "div: rounding": (lambda x: tg.div(x, x, rounding_mode="up"), ValueError, ("'trunc'", "'up'")),
    "polygamma: n": (lambda x: tg.polygamma(-1, x), ValueError, ("polygamma", "-1")),
    "hypot: shapes": (lambda x: tg.hypot(x, x.T), ValueError, ("hypot", "(2, 4) and (4, 2)")),
    "prelu: channels": (
        lambda x: tg.prelu(x, tg.ones(3)),
        ValueError,
        ("channels on axis 1", "(3,)", "(2, 4)"),
    ),
    "prelu: a matrix": (lambda x: tg.prelu(x, tg.ones(1, 4)), ValueError, ("(1, 4)", "(2, 4)")),
    "rrelu: bounds": (lambda x: tg.rrelu(x, 0.5, 0.2), ValueError, ("lower", "0.5 and 0.2")),
    "hardtanh: bounds": (lambda x: tg.hardtanh(x, 1, -1), ValueError, ("min_val", "1 and -1")),
    "elu: alpha": (lambda x: tg.elu(x, -0.5), ValueError, ("alpha", "-0.5")),
    "celu: alpha": (lambda x: tg.celu(x, 0), ValueError, ("alpha", "got 0")),
    "softplus: beta": (lambda x: tg.softplus(x, beta=0), ValueError, ("beta",)),
    "gelu: approximate": (
        lambda x: tg.gelu(x, approximate="fast"),
        ValueError,
        ("'none' or 'tanh'", "'fast'"),
    ),
    "softshrink: lambd": (lambda x: tg.softshrink(x, -1), ValueError, ("softshrink", "-1")),
    "maxout: pieces": (lambda x: tg.maxout(x, 3), ValueError, ("4 channels", "pieces=3")),
    "maxout: none": (lambda x: tg.maxout(x, 0), ValueError, ("pieces=0",)),
    "maxout: axis": (lambda x: tg.maxout(x, 2, dim=2), IndexError, ("axis 2", "(2, 4)")),
    "glu: odd": (lambda x: tg.glu(x[:, :3]), ValueError, ("halves", "(2, 3)", "even")),
    "softmin: axis": (lambda x: tg.softmin(x, 2), IndexError, ("axis 2", "(2, 4)")),
    "dropout: p": (lambda x: tg.dropout(x, -0.1), ValueError, ("dropout", "-0.1")),
    "dropout1d: p": (lambda x: tg.dropout1d(x, 2), ValueError, ("dropout1d", "got 2")),
    "dropout1d: axes": (lambda x: tg.dropout1d(x[0]), ValueError, ("(N, C, L)", "(4,)")),
    "dropout2d: axes": (lambda x: tg.dropout2d(x[0]), ValueError, ("(N, C, L)", "(4,)")),
    "dropout3d: axes": (lambda x: tg.dropout3d(x[0]), ValueError, ("(N, C, D, H, W)", "(4,)")),
    "vanilla_dropout: p": (lambda x: tg.vanilla_dropout(x, 1.5), ValueError, ("1.5",)),
    "alpha_dropout: p": (lambda x: tg.alpha_dropout(x, -1), ValueError, ("alpha_dropout", "-1")),
    "gaussian_noise: std": (lambda x: tg.gaussian_noise(x, -1), ValueError, ("std", "-1")),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_was_expected(name: str) -> None:
    call, kind, words = ERRORS[name]
    with pytest.raises(kind) as error:
        call(tg.ones(*X))
    for word in words:
        assert word in str(error.value)
