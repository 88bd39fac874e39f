"""Functions keep their digits: what they and their gradients are far out, close to 0 and at ±∞.

The reference is the same function in double precision on the same numbers, which its own tests hold
against independent oracles; at ±∞, where double precision could be wrong in the same way, there is
a table of limits.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from programs import values
from tinygrad_cv import nn
from tinygrad_cv._tensor import Tensor

NF = nn.functional
INF, NAN = math.inf, math.nan


@dataclass(frozen=True)
class Function:
    """A function of single numbers, where they come from, and how to leave out what cancels.

    Around a zero of the function or its slope the digits are lost in any arithmetic; `roots` names
    the places, and a tenth around them is left out.
    """

    f: Callable[..., Tensor]
    domain: tuple[tuple[float, float], ...] = ((-INF, INF),)
    roots: tuple[float, ...] = ()
    apart: Callable[..., Any] | None = None


LINE = (-INF, INF)
POSITIVE = (0.0, INF)
SHARE = (0.0, 1.0)

UNARY: dict[str, Function] = {
    "exp": Function(tg.exp),
    "expm1": Function(tg.expm1),
    "log": Function(tg.log, (POSITIVE,), roots=(1.0,)),
    "log1p": Function(tg.log1p, ((-1.0, INF),)),
    "log2": Function(tg.log2, (POSITIVE,), roots=(1.0,)),
    "log10": Function(tg.log10, (POSITIVE,), roots=(1.0,)),
    "sqrt": Function(tg.sqrt, (POSITIVE,)),
    "rsqrt": Function(tg.rsqrt, (POSITIVE,)),
    "square": Function(tg.square),
    "reciprocal": Function(tg.reciprocal),
    "asin": Function(tg.asin, ((-1.0, 1.0),)),
    "acos": Function(tg.acos, ((-1.0, 0.9),)),
    "atan": Function(tg.atan),
    "sinh": Function(tg.sinh),
    "cosh": Function(tg.cosh),
    "asinh": Function(tg.asinh),
    "acosh": Function(tg.acosh, ((1.01, INF),)),
    "atanh": Function(tg.atanh, ((-1.0, 1.0),)),
    "erf": Function(tg.erf),
    "erfc": Function(tg.erfc),
    "abs": Function(tg.abs),
    "x ** 3": Function(lambda x: x**3),
    "x ** 4": Function(lambda x: x**4),
    "x ** -1": Function(lambda x: x**-1),
    "x ** -2": Function(lambda x: x**-2),
    "x ** -3": Function(lambda x: x**-3),
    "x ** 0.5": Function(lambda x: x**0.5, (POSITIVE,)),
    "x ** -0.5": Function(lambda x: x**-0.5, ((1e-24, INF),)),
    "x ** 2.5": Function(lambda x: x**2.5, (POSITIVE,)),
    "round": Function(lambda x: tg.round(x, decimals=2) + 0 * x),
    "relu": Function(tg.relu),
    "leaky_relu": Function(NF.leaky_relu),
    "elu": Function(NF.elu),
    "elu with alpha": Function(lambda x: NF.elu(x, 0.3)),
    "selu": Function(NF.selu),
    "celu": Function(lambda x: NF.celu(x, 0.7)),
    "sigmoid": Function(tg.sigmoid),
    "tanh": Function(tg.tanh),
    "logsigmoid": Function(NF.logsigmoid),
    "softplus": Function(NF.softplus),
    "softplus with beta": Function(lambda x: NF.softplus(x, beta=0.7)),
    "silu": Function(NF.silu, roots=(-1.278,)),
    "mish": Function(NF.mish, roots=(-1.192,)),
    "gelu": Function(NF.gelu, roots=(-0.752,)),
    "gelu tanh": Function(lambda x: NF.gelu(x, approximate="tanh"), roots=(-0.752,)),
    "softsign": Function(NF.softsign),
    "softshrink": Function(NF.softshrink),
    "hardshrink": Function(NF.hardshrink),
    "tanhshrink": Function(NF.tanhshrink),
    "hardsigmoid": Function(NF.hardsigmoid),
    "hardswish": Function(NF.hardswish, roots=(-1.5,)),
    "hardtanh": Function(lambda x: NF.hardtanh(x, -0.1, 0.1)),
    "clamp": Function(lambda x: x.clamp(-0.1, 0.1)),
}

BINARY: dict[str, Function] = {
    "mul": Function(tg.mul, (LINE, LINE)),
    "div": Function(tg.div, (LINE, LINE)),
    "hypot": Function(tg.hypot, (LINE, LINE)),
    "atan2": Function(tg.atan2, (LINE, LINE)),
    "logaddexp": Function(tg.logaddexp, (LINE, LINE), apart=lambda a, b: np.exp(a) + np.exp(b) - 1),
    "xlogy": Function(tg.xlogy, (LINE, POSITIVE), apart=lambda a, b: b - 1),
    "maximum": Function(tg.maximum, (LINE, LINE)),
    "soft_margin_loss": Function(
        lambda x, t: NF.soft_margin_loss(x, t.sign() + 0 * t, reduction="none"), (LINE, LINE)
    ),
    "binary_cross_entropy": Function(
        lambda x, t: NF.binary_cross_entropy(x, t, reduction="none"),
        (SHARE, SHARE),
        apart=lambda x, t: (x - t) * (x - 0.5),
    ),
    "binary_cross_entropy_with_logits": Function(
        lambda x, t: NF.binary_cross_entropy_with_logits(x, t, reduction="none"),
        (LINE, SHARE),
        apart=lambda x, t: 1 / (1 + np.exp(-x)) - t,
    ),
    "smooth_l1_loss": Function(
        lambda x, t: NF.smooth_l1_loss(x, t, reduction="none", beta=1e-3),
        (LINE, LINE),
        apart=lambda x, t: x - t,
    ),
    "huber_loss": Function(
        lambda x, t: NF.huber_loss(x, t, reduction="none", delta=3.0),
        (LINE, LINE),
        apart=lambda x, t: x - t,
    ),
    "gaussian_nll_loss": Function(
        lambda d, v: NF.gaussian_nll_loss(
            d, tg.zeros(*d.shape).to(dtype=d.dtype), v, reduction="none"
        ),
        (LINE, POSITIVE),
        apart=lambda d, v: (v - 1) * (d * d - v) * (d * d / v + np.log(v)),
    ),
}
FUNCTIONS = UNARY | BINARY

EXTREMES = {"float16": (-24.0, 15.9), "float32": (-149.0, 127.9)}
"""The binary exponents of the smallest and the largest numbers of a dtype."""


def numbers(rng: np.random.Generator, dtype: str, low: float, high: float, count: int) -> Any:
    """Numbers of all sizes between two bounds, half of them of the size of 1."""
    smallest, largest = EXTREMES[dtype]
    exponents = np.where(
        rng.random(count) < 0.5, rng.uniform(-6, 7, count), rng.uniform(smallest, largest, count)
    )
    x = (2.0**exponents * rng.choice([-1.0, 1.0], count)).astype(dtype)
    if low >= 0:
        x = np.abs(x)
    inside = (x > low) & (x < high) & (x != 0)
    stand_in = 0.6 if high <= 1 else 1.7  # inside every domain
    return np.where(inside, x, np.array(stand_in, dtype))


def results(f: Callable[..., Tensor], inputs: Any, dtype: str, recorded: bool) -> list[Any]:
    """The value of a function of single numbers and its derivatives, in double precision."""
    leaves = [tg.Tensor(x.astype(dtype), requires_grad=True) for x in inputs]
    with np.errstate(all="ignore"):
        y = f(*leaves)
        g = tg.Tensor(np.ones(y.shape, dtype))
        slopes = tg.grad(y, leaves, g, create_graph=recorded)
    assert {str(t.dtype) for t in (y, *slopes) if t is not None} == {dtype}
    return [values(t).astype("float64") for t in (y, *slopes) if t is not None]


def assert_digits(found: Any, exact: Any, dtype: str, units: float, inputs: Any) -> None:
    """Equal up to some units in the last place, and up to the smallest and the largest number."""
    kind = np.finfo(dtype)
    with np.errstate(invalid="ignore"):
        error = np.abs(found - exact)
    # Half precision is computed in single; in single itself a factor of 100 can magnify the last
    # digit of a number that is close to the smallest.
    smallest = float(kind.smallest_subnormal) * (2 if dtype == "float16" else 256)
    allowed = units * float(kind.eps) * np.abs(exact) + smallest
    huge = np.abs(exact) > float(kind.max) * (1 - units * float(kind.eps))
    right = (
        (error <= allowed) | (found == exact) | (huge & (np.abs(found) >= 0.99 * float(kind.max)))
    )
    right |= np.isnan(exact) & np.isnan(found)
    wrong = np.flatnonzero(~right)[:3]
    assert right.all(), [
        (*(float(x[i]) for x in inputs), float(found[i]), float(exact[i])) for i in wrong
    ]


@pytest.mark.host
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("name", FUNCTIONS)
@given(seed=st.integers(0, 2**32))
def test_the_digits_of_a_number_and_its_slope(name: str, dtype: str, seed: int) -> None:
    function, rng = FUNCTIONS[name], np.random.default_rng(seed)
    inputs = [numbers(rng, dtype, low, high, 40) for low, high in function.domain]
    keep = np.ones(40, bool)
    for root in function.roots:
        keep &= np.abs(inputs[0] - root) > 0.1
    wide = [x.astype("float64") for x in inputs]
    if function.apart is not None:
        with np.errstate(all="ignore"):
            keep &= ~(np.abs(function.apart(*wide)) < 0.1)
    inputs, wide = [x[keep] for x in inputs], [x[keep] for x in wide]
    exact = results(function.f, wide, "float64", False)
    for recorded in (False, True):
        found = results(function.f, inputs, dtype, recorded)
        for a, b in zip(found, exact, strict=True):
            assert_digits(a, b, dtype, 12.0 if dtype == "float32" else 3.0, inputs)


# ----- at infinity -------------------------------------------------------------------------------

LIMITS: dict[str, tuple[Callable[..., Tensor], list[float], list[float]]] = {
    # f, its values at -∞ and ∞, its slopes there
    "exp": (tg.exp, [0, INF], [0, INF]),
    "expm1": (tg.expm1, [-1, INF], [0, INF]),
    "atan": (tg.atan, [-math.pi / 2, math.pi / 2], [0, 0]),
    "asinh": (tg.asinh, [-INF, INF], [0, 0]),
    "erf": (tg.erf, [-1, 1], [0, 0]),
    "erfc": (tg.erfc, [2, 0], [0, 0]),
    "abs": (tg.abs, [INF, INF], [-1, 1]),
    "sign": (lambda x: tg.sign(x) + 0 * x.clamp(-1, 1), [-1, 1], [0, 0]),
    "square": (tg.square, [INF, INF], [-INF, INF]),
    "reciprocal": (tg.reciprocal, [0, 0], [0, 0]),
    "x ** 0": (lambda x: x**0, [1, 1], [0, 0]),
    "x ** 1": (lambda x: x**1, [-INF, INF], [1, 1]),
    "x ** 3": (lambda x: x**3, [-INF, INF], [INF, INF]),
    "x ** -1": (lambda x: x**-1, [0, 0], [0, 0]),
    "x ** tensor(0)": (lambda x: x ** tg.zeros(2, dtype=x.dtype), [1, 1], [0, 0]),
    "hypot": (lambda x: tg.hypot(x, 3.0), [INF, INF], [-1, 1]),
    "atan2": (lambda x: tg.atan2(x, 3.0), [-math.pi / 2, math.pi / 2], [0, 0]),
    "maximum": (lambda x: tg.maximum(x, 3.0), [3, INF], [0, 1]),
    "minimum": (lambda x: tg.minimum(x, 3.0), [-INF, 3], [1, 0]),
    "where": (lambda x: tg.where(x > 0, x, 2 * x), [-INF, INF], [2, 1]),
    "clamp": (lambda x: x.clamp(-1, 1), [-1, 1], [0, 0]),
    "logaddexp": (lambda x: tg.logaddexp(x, tg.ones(2, dtype=x.dtype)), [1, INF], [0, 1]),
    "relu": (tg.relu, [0, INF], [0, 1]),
    "relu6": (NF.relu6, [0, 6], [0, 0]),
    "leaky_relu": (NF.leaky_relu, [-INF, INF], [0.01, 1]),
    "leaky_relu, slope 0": (lambda x: NF.leaky_relu(x, 0.0), [0, INF], [0, 1]),
    "prelu": (lambda x: NF.prelu(x, tg.full((1,), 0.5, dtype=x.dtype)), [-INF, INF], [0.5, 1]),
    "prelu, slope 0": (lambda x: NF.prelu(x, tg.zeros(1, dtype=x.dtype)), [0, INF], [0, 1]),
    "rrelu": (lambda x: NF.rrelu(x, 0.5, 0.5, True), [-INF, INF], [0.5, 1]),
    "rrelu, slope 0": (lambda x: NF.rrelu(x, 0.0, 0.0, True), [0, INF], [0, 1]),
    "hardtanh": (NF.hardtanh, [-1, 1], [0, 0]),
    "elu": (NF.elu, [-1, INF], [0, 1]),
    "elu, alpha 0": (lambda x: NF.elu(x, 0.0), [0, INF], [0, 1]),
    "celu": (lambda x: NF.celu(x, 2.0), [-2, INF], [0, 1]),
    "selu": (NF.selu, [-1.7580993408473766, INF], [0, 1.0507009873554805]),
    "sigmoid": (tg.sigmoid, [0, 1], [0, 0]),
    "tanh": (tg.tanh, [-1, 1], [0, 0]),
    "logsigmoid": (NF.logsigmoid, [-INF, 0], [1, 0]),
    "softplus": (NF.softplus, [0, INF], [0, 1]),
    "softplus, beta -1": (lambda x: NF.softplus(x, beta=-1.0), [-INF, 0], [1, 0]),
    "silu": (NF.silu, [0, INF], [0, 1]),
    "mish": (NF.mish, [0, INF], [0, 1]),
    "gelu": (NF.gelu, [0, INF], [0, 1]),
    "gelu tanh": (lambda x: NF.gelu(x, approximate="tanh"), [0, INF], [0, 1]),
    "softsign": (NF.softsign, [-1, 1], [0, 0]),
    "softshrink": (NF.softshrink, [-INF, INF], [1, 1]),
    "hardshrink": (NF.hardshrink, [-INF, INF], [1, 1]),
    "tanhshrink": (NF.tanhshrink, [-INF, INF], [1, 1]),
    "hardsigmoid": (NF.hardsigmoid, [0, 1], [0, 0]),
    "hardswish": (NF.hardswish, [0, INF], [0, 1]),
    "threshold": (lambda x: NF.threshold(x, 0.5, 7.0), [7, INF], [0, 1]),
    "the gate of glu": (
        lambda x: NF.glu(tg.stack([tg.ones(2, dtype=x.dtype), x]), 0).reshape(2),
        [0, 1],
        [0, 0],
    ),
    "dropout of everything": (lambda x: NF.dropout(x, 1.0), [0, 0], [0, 0]),
    "alpha_dropout of everything": (lambda x: NF.alpha_dropout(x, 1.0, True), [0, 0], [0, 0]),
    "soft_margin_loss": (
        lambda x: NF.soft_margin_loss(x, tg.ones(2, dtype=x.dtype), reduction="none"),
        [INF, 0],
        [-1, 0],
    ),
    "binary_cross_entropy_with_logits": (
        lambda x: NF.binary_cross_entropy_with_logits(
            x, tg.tensor([0.0, 1.0]).to(dtype=x.dtype), reduction="none"
        ),
        [0, 0],
        [0, 0],
    ),
    "with pos_weight": (
        lambda x: NF.binary_cross_entropy_with_logits(
            x,
            tg.tensor([0.0, 1.0]).to(dtype=x.dtype),
            reduction="none",
            pos_weight=tg.full((2,), 3.0, dtype=x.dtype),
        ),
        [0, 0],
        [0, 0],
    ),
    "huber_loss": (
        lambda x: NF.huber_loss(x, tg.zeros(2, dtype=x.dtype), reduction="none"),
        [INF, INF],
        [-1, 1],
    ),
    "smooth_l1_loss": (
        lambda x: NF.smooth_l1_loss(x, tg.zeros(2, dtype=x.dtype), reduction="none"),
        [INF, INF],
        [-1, 1],
    ),
    "poisson_nll_loss": (
        lambda x: NF.poisson_nll_loss(x, tg.zeros(2, dtype=x.dtype), reduction="none"),
        [0, INF],
        [0, INF],
    ),
}


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(("f", "value", "slope"), LIMITS.values(), ids=LIMITS.keys())
def test_a_value_and_a_slope_at_infinity_are_their_limits(
    f: Callable[..., Tensor], value: list[float], slope: list[float], dtype: str, recorded: bool
) -> None:
    x = tg.Tensor(np.array([-INF, INF], dtype), requires_grad=True)
    y = f(x)
    ones = tg.ones(2, dtype=dtype)
    (g,) = tg.grad(y, [x], ones, create_graph=recorded)
    assert g is not None
    rtol = 2 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(values(y).astype("float64"), value, rtol=rtol)
    np.testing.assert_allclose(values(g).astype("float64"), slope, rtol=rtol)


@pytest.mark.parametrize("name", LIMITS)
def test_what_is_no_number_stays_none(name: str) -> None:
    x = tg.Tensor([NAN, NAN])
    y = values(LIMITS[name][0](x))
    if "dropout" not in name and name not in ("x ** 0", "x ** tensor(0)", "where"):
        assert np.isnan(y).all()


# ----- 0 · ∞ -------------------------------------------------------------------------------------

LABEL_1 = [[0.0, 1.0, 0.0]]


def class_1(*, weight: list[float] | None = None, **options: Any) -> Callable[..., Tensor]:
    def loss(rows: Tensor) -> Tensor:
        w = None if weight is None else tg.tensor(weight).to(dtype=rows.dtype)
        return NF.cross_entropy(rows, tg.tensor([1, 0]), w, reduction="sum", **options)

    return loss


NOTHING_TIMES_INFINITY: dict[str, tuple[Callable[..., Tensor], Any, float, Any]] = {
    "xlogy(0, inf)": (lambda b: tg.xlogy(tg.zeros(1, dtype=b.dtype), b).sum(), [INF], 0, [0]),
    "xlogy(0, 0)": (lambda b: tg.xlogy(tg.zeros(1, dtype=b.dtype), b).sum(), [0.0], 0, [0]),
    "soft cross_entropy": (
        lambda x: NF.cross_entropy(x, tg.tensor(LABEL_1).to(dtype=x.dtype)),
        [[-INF, 0.0, 0.0]],
        math.log(2),
        [[0, -0.5, 0.5]],
    ),
    "kl_div": (
        lambda x: NF.kl_div(x, tg.tensor([[0.0, 1.0]]).to(dtype=x.dtype), reduction="sum"),
        [[-INF, 0.0]],
        0,
        [[0, -1]],
    ),
    "kl_div(log_target)": (
        lambda x: NF.kl_div(
            x, tg.tensor([[-INF, 0.0]]).to(dtype=x.dtype), reduction="sum", log_target=True
        ),
        [[-INF, 0.0]],
        0,
        [[0, -1]],
    ),
    "a class of weight 0 that costs ∞": (
        class_1(weight=[1.0, 0.0, 1.0]),
        [[0.0, -INF, 0.0], [0.0, 0.0, 0.0]],
        math.log(3),
        [[0, 0, 0], [-2 / 3, 1 / 3, 1 / 3]],
    ),
    "a class of weight 0 with NaN": (
        class_1(weight=[1.0, 0.0, 1.0]),
        [[NAN, 0.0, 0.0], [0.0, 0.0, 0.0]],
        math.log(3),
        [[0, 0, 0], [-2 / 3, 1 / 3, 1 / 3]],
    ),
    "a row that is ignored": (
        class_1(ignore_index=1),
        [[NAN, INF, -INF], [0.0, 0.0, 0.0]],
        math.log(3),
        [[0, 0, 0], [-2 / 3, 1 / 3, 1 / 3]],
    ),
    "nll_loss, a row that is ignored": (
        lambda x: NF.nll_loss(x, tg.tensor([1, 0]), ignore_index=1, reduction="sum"),
        [[NAN, -INF], [-2.0, -1.0]],
        2,
        [[0, 0], [-1, 0]],
    ),
    "nll_loss, a class of weight 0": (
        lambda x: NF.nll_loss(
            x, tg.tensor([1, 0]), tg.tensor([1.0, 0.0]).to(dtype=x.dtype), reduction="sum"
        ),
        [[0.0, -INF], [-2.0, -1.0]],
        2,
        [[0, 0], [-1, 0]],
    ),
    "softmax with one ∞": (
        lambda x: (tg.softmax(x, 0) * tg.tensor([2.0, 3.0]).to(dtype=x.dtype)).sum(),
        [0.0, INF],
        3,
        [0, 0],
    ),
    "softmax with -∞": (
        lambda x: (tg.softmax(x, 0) * tg.tensor([1.0, 2.0, 4.0]).to(dtype=x.dtype)).sum(),
        [0.0, 0.0, -INF],
        1.5,
        [-0.25, 0.25, 0],
    ),
    "x ** n at 0, n < 0": (
        lambda n: (0.0**n).reshape(1).sum(),
        -1.5,
        INF,
        -INF,
    ),
    "∞ ** n, n < 0": (lambda n: (INF**n).sum(), [-1.5], 0, [0]),
}


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    ("f", "x", "value", "slope"),
    NOTHING_TIMES_INFINITY.values(),
    ids=NOTHING_TIMES_INFINITY.keys(),
)
def test_nothing_times_infinity_is_nothing(
    f: Callable[..., Tensor], x: Any, value: float, slope: Any, dtype: str, recorded: bool
) -> None:
    leaf = tg.Tensor(np.array(x, dtype), requires_grad=True)
    y = f(leaf)
    (g,) = tg.grad(y, [leaf], create_graph=recorded)
    assert g is not None
    tolerance = {"rtol": 4 * float(np.finfo(dtype).eps), "atol": float(np.finfo(dtype).eps)}
    np.testing.assert_allclose(values(y).astype("float64"), value, **tolerance)
    np.testing.assert_allclose(values(g).astype("float64"), slope, **tolerance)


# ----- confident rows ----------------------------------------------------------------------------


def shares(x: Any) -> Any:
    """softmax of each row, and what the other classes have, without a difference of shares."""
    powers = np.exp(x - x.max(1, keepdims=True))
    total = powers.sum(1, keepdims=True)
    others = np.array([[np.delete(row, c).sum() for c in range(len(row))] for row in powers])
    return powers / total, others / total


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("recorded", [False, True])
@given(seed=st.integers(0, 2**32))
def test_what_is_left_to_the_other_classes(dtype: str, recorded: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(6, 4))
    x[np.arange(6), rng.integers(0, 4, 6)] += rng.uniform(0, 30, 6)
    x = x.astype(dtype)
    labels = rng.integers(0, 4, 6)
    labels[:3] = x[:3].argmax(1)
    p, others = shares(x.astype("longdouble"))
    rows = np.arange(6)
    ones = tg.ones(6, dtype=dtype)
    # The logarithm of a share is -50 at least; rounded, it moves the share by 25 units.
    rtol = 40 * float(np.finfo(dtype).eps)

    def check(f: Callable[..., Tensor], value: Any, slope: Any, g: Any = ones) -> None:
        leaf = tg.Tensor(x, requires_grad=True)
        y = f(leaf)
        (found,) = tg.grad(y, [leaf], g, create_graph=recorded)
        assert found is not None
        for a, b in ((y, value), (found, slope)):
            np.testing.assert_allclose(values(a), b.astype("float64"), rtol=rtol)

    slope = p.copy()
    slope[rows, labels] = -others[rows, labels]
    sure = others[rows, labels]
    loss = np.where(sure < 0.5, -np.log1p(-sure), -np.log(p[rows, labels]))
    target = tg.tensor(labels)
    check(lambda x: NF.cross_entropy(x, target, reduction="none"), loss, slope)
    check(lambda x: NF.nll_loss(tg.log_softmax(x, 1), target, reduction="none"), loss, slope)
    soft = tg.Tensor(np.eye(4, dtype=dtype)[labels])
    check(lambda x: NF.cross_entropy(x, soft, reduction="none"), loss, slope)
    # One class counts in the sum of the shares, so that its slope there is p (1 - p).
    mine = -p * p[rows, labels][:, None]
    mine[rows, labels] = (p * others)[rows, labels]
    check(lambda x: (tg.softmax(x, 1) * soft).sum(1), p[rows, labels], mine)


# ----- values that were wrong --------------------------------------------------------------------


def slope_of(f: Callable[..., Tensor], x: float, dtype: str = "float32", g: float = 1.0) -> float:
    leaf = tg.Tensor([x], dtype=dtype, requires_grad=True)
    (found,) = tg.grad(f(leaf), [leaf], tg.full((1,), g, dtype=dtype))
    assert found is not None
    return float(found.item())


SLOPES: dict[str, tuple[Callable[..., Tensor], float, float]] = {
    "elu": (NF.elu, -10.0, 4.5399929762e-05),
    "elu far out": (NF.elu, -20.0, 2.0611536224e-09),
    "selu": (NF.selu, -20.0, 1.7580993408473766 * 2.0611536224e-09),
    "celu": (NF.celu, -20.0, 2.0611536224e-09),
    "expm1": (tg.expm1, -20.0, 2.0611536224e-09),
    "sigmoid": (tg.sigmoid, 20.0, 2.0611536139e-09),
    "tanh": (tg.tanh, 10.0, 8.2446144551e-09),
    "acosh": (tg.acosh, 1e20, 1e-20),
    "atan": (tg.atan, 1e15, 1e-30),
    "soft_margin_loss": (
        lambda x: NF.soft_margin_loss(x, tg.ones(1), reduction="none"),
        20.0,
        -2.0611536139e-09,
    ),
    "binary_cross_entropy_with_logits": (
        lambda x: NF.binary_cross_entropy_with_logits(x, tg.ones(1), reduction="none"),
        20.0,
        -2.0611536139e-09,
    ),
}


@pytest.mark.parametrize(("f", "x", "slope"), SLOPES.values(), ids=SLOPES.keys())
def test_a_slope_far_out_is_small_and_not_0(f: Any, x: float, slope: float) -> None:
    assert slope_of(f, x) == pytest.approx(slope, rel=1e-6, abs=0)


def test_half_precision_on_the_way() -> None:
    half = tg.float16
    hypot = lambda x: tg.hypot(x, tg.zeros(1, dtype=half))  # noqa: E731
    assert slope_of(hypot, 100.0, "float16", 1024.0) == 1024
    entropy = lambda x: NF.binary_cross_entropy(x, tg.zeros(1, dtype=half))  # noqa: E731
    x = tg.zeros(1, dtype=half, requires_grad=True)
    (g,) = tg.grad(entropy(x), [x])
    assert g is not None
    assert g.tolist() == [1]
    many = tg.zeros(70000, 2, dtype=half)
    labels = tg.zeros(70000, dtype=tg.int64)
    loss = NF.cross_entropy(many, labels, tg.ones(2, dtype=half))
    assert loss.dtype == half
    assert loss.item() == np.float16(math.log(2))


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 0.7, 1.0])
def test_lerp_ends_where_it_should(weight: float) -> None:
    start, end = tg.tensor([1e8, -3e38, 5.0]), tg.tensor([0.1, 3e38, 5.0])
    exact = values(start).astype("float64") * (1 - weight) + values(end).astype("float64") * weight
    for w in (weight, tg.tensor(weight), tg.full((3,), weight)):
        np.testing.assert_allclose(values(tg.lerp(start, end, w)), exact, rtol=1e-6)


@given(st.floats(-1e300, 1e300), st.integers(-400, 400), st.sampled_from(["float32", "float64"]))
def test_round_leaves_what_has_no_such_digit(x: float, decimals: int, dtype: str) -> None:
    given = np.array([x]).astype(dtype) if dtype == "float64" else np.array([x / 1e262], dtype)
    y = values(tg.round(tg.Tensor(given), decimals=decimals))[0]
    assert np.isfinite(y)
    step = 10.0**-decimals if -308 <= -decimals <= 308 else 0.0 if decimals > 0 else INF
    assert abs(float(y) - float(given[0])) <= 0.5001 * step + 1e-15 * abs(float(given[0]))
    if step == INF:
        assert y == 0


def test_a_small_variance_gets_the_gradient_of_eps() -> None:
    x, t = tg.tensor([1.0]), tg.tensor([3.0])
    small, eps = (tg.tensor([v], requires_grad=True) for v in (1e-9, 1e-6))
    losses = [NF.gaussian_nll_loss(x, t, v) for v in (small, eps)]
    assert losses[0].item() == losses[1].item()
    (a,), (b,) = (tg.grad(loss, [v]) for loss, v in zip(losses, (small, eps), strict=True))
    assert a is not None
    assert b is not None
    assert a.item() == pytest.approx(b.item(), rel=1e-5)


def test_a_mask_of_dropout_takes_a_byte_an_element() -> None:
    for f in (NF.dropout, lambda x: NF.alpha_dropout(x, 0.5, True)):
        y = f(tg.ones(8, dtype="float64", requires_grad=True))
        assert [array.dtype for array in y.node.saved or ()] == ["bool"]
    infinite = tg.full((1000,), INF)
    assert not np.isnan(values(NF.dropout(infinite, 0.5))).any()


def test_clamp_between_tensors_at_a_tie() -> None:
    """At a bound the gradient passes to the input, and none to the bound."""
    x = tg.tensor([1.0, 2.0, 0.0], requires_grad=True)
    low = tg.tensor([1.0, 0.0, 0.5], requires_grad=True)
    high = tg.tensor([3.0, 2.0, 3.0], requires_grad=True)
    gradients = tg.grad(x.clamp(low, high), [x, low, high], tg.ones(3))
    assert [g is not None and g.tolist() for g in gradients] == [[1, 1, 0], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize("recorded", [False, True])
def test_how_often_a_divisor_fits_is_not_rounded_up(recorded: bool) -> None:
    x = tg.tensor([3.4e38, -3.4e38, 7.0, 0.7])
    d = tg.tensor([1e37, 1e37, -2.0, 0.1], requires_grad=True)
    (gradient,) = tg.grad(tg.fmod(x, d).sum(), [d], create_graph=recorded)
    exact = [
        -math.trunc(Fraction(a) / Fraction(b)) for a, b in zip(x.tolist(), d.tolist(), strict=True)
    ]
    assert gradient.tolist() == exact
