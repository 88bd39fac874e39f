"""Functions keep their digits: what they and their gradients are far out, close to 0 and at ±∞.

The reference is the same function in double precision on the same numbers, which its own tests hold
against independent oracles; at ±∞, where double precision could be wrong in the same way, there is
a table of limits.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from programs import values
from tinygrad_cv import nn
from tinygrad_cv.tensor import Tensor

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
    """Equal up to some units in the last place of the dtype, its smallest and its largest number."""
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
