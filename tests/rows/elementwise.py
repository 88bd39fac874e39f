"""Rows of the elementwise ops."""

import math
import operator
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from statistics import NormalDist
from typing import Any

import numpy as np
import scipy.special
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from rows.row import Case, Row
from tinygrad_cv.testing.strategies import arrays, broadcastable, shapes


def unary(
    name: str,
    oracle: Callable[..., Any],
    low: float = -2.0,
    high: float = 2.0,
    kinks: Sequence[float] = (),
    at: Sequence[float] = (),
    exact: str = "",
) -> Row:
    """A row for an op of one input; `at` holds the kinks to stand on."""
    drawn = arrays(shapes(), low, high, kinks)
    standing = tuple(Case((np.array([point, 0.7]),)) for point in at)
    return Row(name, drawn.map(lambda x: Case((x,))), oracle, standing, exact)


@st.composite
def pairs(draw: Any, **ranges: Any) -> Case:
    """Two arrays that broadcast against each other, or an array and a number."""
    a, b = draw(broadcastable())
    x, y = draw(arrays(a, **ranges)), draw(arrays(b, **ranges))
    kind = draw(st.sampled_from(("both", "number right", "number left")))
    if kind == "number right":
        return Case((x, float(np.ravel(y)[0])))
    if kind == "number left":
        return Case((float(np.ravel(x)[0]), y))
    return Case((x, y))


def binary(name: str, oracle: Callable[..., Any], exact: str = "complex", **ranges: Any) -> Row:
    """A row for an arithmetic op of two inputs."""
    return Row(name, pairs(**ranges), oracle, exact=exact)


def each(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function of Python numbers as an oracle for arrays that broadcast."""

    def oracle(*inputs: Any, **attributes: Any) -> Any:
        inputs = np.broadcast_arrays(*inputs)
        values = [
            f(*map(float, point), **attributes)
            for point in zip(*(x.flat for x in inputs), strict=True)
        ]
        return np.array(values).reshape(inputs[0].shape)

    return oracle


@st.composite
def apart(draw: Any) -> Case:
    """Two arrays whose elements differ from each other by at least 0.1."""
    a, b = draw(broadcastable())
    x = np.round(draw(arrays(a)), 1)
    y = np.round(draw(arrays(b)), 1) + 0.05
    return Case((x, y))


@st.composite
def powers(draw: Any) -> Case:
    n = draw(st.sampled_from([-2, -0.5, 0, 0.5, 1, 2, 3, 2.5]))
    low = -2.0 if isinstance(n, int) else 0.2
    return Case((draw(arrays(shapes(), low, 2.0, kinks=(0.0,), margin=0.2)),), {"n": n})


@st.composite
def powers_of_tensors(draw: Any) -> Case:
    a, b = draw(broadcastable())
    return Case((draw(arrays(a, 0.3, 2.0)), draw(arrays(b, -2.0, 2.0))))


@st.composite
def clamps(draw: Any) -> Case:
    bounds = draw(st.sampled_from([(-1.0, 1.0), (None, 0.5), (-0.5, None)]))
    kinks = [bound for bound in bounds if bound is not None]
    x = draw(arrays(shapes(), kinks=kinks))
    return Case((x,), {"min": bounds[0], "max": bounds[1]})


@st.composite
def choices(draw: Any) -> Case:
    a, b, c = draw(broadcastable(3))
    condition = np.random.default_rng(draw(st.integers(0, 99))).random(a) < 0.5
    return Case((condition, draw(arrays(b)), draw(arrays(c))))


@st.composite
def compared(draw: Any) -> Case:
    """Few distinct values, so that equal pairs are common."""
    a, b = draw(broadcastable())
    return Case((np.round(draw(arrays(a))), np.round(draw(arrays(b)))))


@st.composite
def divisions(draw: Any) -> Case:
    """Dividends and divisors whose quotients keep 0.05 away from whole numbers."""
    a, b = draw(broadcastable())
    rest = draw(arrays(a, 0.1, 0.4))
    x = np.round(draw(arrays(a, -4.0, 4.0))) / 2 + rest
    d = np.sign(draw(arrays(b, kinks=(0.0,)))) * 2.0 ** np.round(draw(arrays(b, -1.0, 1.0)))
    return Case((x, d))


@st.composite
def entropies(draw: Any) -> Case:
    """Factors of which some are 0."""
    a, b = draw(broadcastable())
    x, y = draw(arrays(a)), draw(arrays(b, 0.2, 2.0))
    return Case((np.where(np.abs(x) < 0.5, 0.0, x), y))


# Points away from the origin, and from the cut where the angle jumps from π to -π.
POINTS = pairs(kinks=(0.0,), margin=0.3)


@st.composite
def derivatives(draw: Any) -> Case:
    n = draw(st.integers(0, 3))
    if n == 0 and draw(st.booleans()):
        return Case((draw(arrays(shapes(), -1.8, -1.2)),), {"n": n})
    return Case((draw(arrays(shapes(), 0.3, 3.0)),), {"n": n})


def polygamma(x: float, n: int) -> float:
    """(-1)ⁿ⁺¹ n! Σ 1 / (x + k)ⁿ⁺¹ over k: a hundred terms, and Euler and Maclaurin's tail."""
    near = sum(1 / (x + k) ** (n + 1) for k in range(100))
    z, s = x + 100, n + 1
    bend = s / 12 / z ** (s + 1) - s * (s + 1) * (s + 2) / 720 / z ** (s + 3)
    if n == 0:
        return math.log(z) - 1 / (2 * z) - bend - near
    far = z ** (1 - s) / (s - 1) + z**-s / 2 + bend
    return float((-1) ** (n + 1) * math.factorial(n) * (near + far))


@st.composite
def roundings(draw: Any) -> Case:
    """Numbers at least a tenth of the last place away from the middle between two results."""
    decimals = draw(st.sampled_from((0, 1, 2, -1)))
    whole = np.round(draw(arrays(shapes(), -30.0, 30.0)))
    x = (whole + draw(arrays(whole.shape, -0.4, 0.4))) * 10.0**-decimals
    return Case((x,), {"decimals": decimals})


def rounded(x: float, decimals: int) -> float:
    """In decimal arithmetic, which has no error of its own."""
    last = Decimal(1).scaleb(-decimals)
    return float(Decimal(x).quantize(last, ROUND_HALF_EVEN))


@st.composite
def with_holes(draw: Any, **attributes: float) -> Case:
    """Numbers among which some are NaN or infinite."""
    x = draw(arrays(shapes()))
    holes = draw(st.lists(st.sampled_from((np.nan, np.inf, -np.inf)), max_size=x.size))
    x.flat[: len(holes)] = holes
    return Case((x,), attributes)


def nan_to_num(x: float, nan: float, posinf: float, neginf: float) -> float:
    return {"nan": nan, "inf": posinf, "-inf": neginf}.get(str(x), x)


def quantile(x: float) -> float:
    """The erf of x is a probability of the normal distribution, whose quantiles Python knows."""
    return NormalDist(sigma=0.5**0.5).inv_cdf((x + 1) / 2)


@st.composite
def waves(draw: Any) -> Case:
    """Arguments on both sides of 2, where the series ends; some are 0."""
    x = draw(arrays(shapes(), -6.0, 6.0))
    return Case((np.where(np.abs(x) < 0.3, 0.0, x),), {"n": draw(st.integers(0, 3))})


@st.composite
def integers(draw: Any, kinds: str = "iub", low: int = -8, count: int = 2) -> Case:
    """Integers of one dtype or truth values, some of them 0; shapes that broadcast."""
    dtype = draw(st.sampled_from([d for d in ("int64", "int32", "uint8", "bool") if d[0] in kinds]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    least = 0 if dtype in ("uint8", "bool") else low
    inputs = [rng.integers(least, 8, shape).astype(dtype) for shape in draw(broadcastable(count))]
    return Case(tuple(inputs))


@st.composite
def shifts(draw: Any) -> Case:
    """Integers and how far they go, so that no bit falls off the end."""
    x, y = draw(integers("iu")).inputs
    return Case((x % 16 - (8 if x.dtype.kind == "i" else 0), abs(y) % 4))


def bits(f: Callable[[int, int], int]) -> Callable[..., Any]:
    """A function of Python's integers, or truth values, as an oracle for arrays that broadcast."""

    def oracle(x: Any, y: Any) -> Any:
        x, y = np.broadcast_arrays(x, y)
        values = [f(a, b) for a, b in zip(x.ravel().tolist(), y.ravel().tolist(), strict=True)]
        return np.array(values, x.dtype).reshape(x.shape)

    return oracle


def turned(x: Any) -> Any:
    """The largest number less x; of a signed integer -1 - x, since -1 is all ones."""
    ones = {"b": 1, "u": 2 ** (8 * x.itemsize) - 1, "i": -1}[x.dtype.kind]
    return np.array([ones - v for v in x.ravel().tolist()], x.dtype).reshape(x.shape)


WHOLE, HALVES = (-2.0, -1.0, 0.0, 1.0, 2.0), (-1.5, -0.5, 0.5, 1.5)

CAST = arrays(shapes()).map(lambda x: Case((x,), {"dtype": np.dtype("float64")}))
COMPARISONS: dict[str, SearchStrategy[Case] | Any] = {
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": lambda x, y: (x != 0) != (y != 0),
}

ROWS = [
    binary("add", lambda x, y: x + y),
    binary("sub", lambda x, y: x - y),
    binary("mul", lambda x, y: x * y),
    binary("div", lambda x, y: x / y, kinks=(0.0,), margin=0.3),
    unary("neg", lambda x: 0 - x, exact="linear"),
    Row("pow", powers(), lambda x, n: np.power(x, n)),
    Row("pow_tensor", powers_of_tensors(), lambda x, n: np.exp(n * np.log(x))),
    Row(
        "maximum",
        apart(),
        lambda x, y: np.where(x > y, x, y),
        kinks=(Case((np.array([1.0, 2.0]), np.array([1.0, 3.0]))),),
    ),
    Row(
        "minimum",
        apart(),
        lambda x, y: np.where(x < y, x, y),
        kinks=(Case((np.array([1.0, 2.0]), np.array([1.0, 3.0]))),),
    ),
    Row("floor_divide", divisions(), each(lambda x, d: math.floor(x / d))),
    Row("remainder", divisions(), each(lambda x, d: x - math.floor(x / d) * d)),
    Row("fmod", divisions(), each(lambda x, d: x - math.trunc(x / d) * d)),
    binary("hypot", lambda a, b: (a * a + b * b) ** 0.5, exact="", kinks=(0.0,), margin=0.2),
    unary("exp", lambda x: np.e**x, exact="complex"),
    unary("log", lambda x: np.log2(x) / np.log2(np.e), 0.2, 3.0, exact="complex"),
    unary("expm1", lambda x: np.exp(x) - 1, exact="complex"),
    unary("log1p", lambda x: np.log(1 + x), -0.8, 3.0, exact="complex"),
    unary("log2", lambda x: np.log(x) / np.log(2), 0.2, 3.0),
    unary("log10", lambda x: np.log(x) / np.log(10), 0.2, 3.0, exact="complex"),
    binary("logaddexp", lambda a, b: np.log(np.exp(a) + np.exp(b)), exact=""),
    Row("xlogy", entropies(), each(lambda a, b: a * math.log(b) if a else 0.0)),
    unary("sqrt", lambda x: x**0.5, 0.2, 3.0, exact="complex"),
    unary("square", lambda x: x * x, exact="complex"),
    unary("reciprocal", lambda x: x**-1.0, kinks=(0.0,), exact="complex"),
    unary("rsqrt", lambda x: x**-0.5, 0.2, 3.0, exact="complex"),
    unary("sin", np.sin, exact="complex"),
    unary("cos", lambda x: np.sin(x + np.pi / 2), exact="complex"),
    unary("tan", lambda x: np.sin(x) / np.cos(x), -1.3, 1.3, exact="complex"),
    unary("asin", lambda x: np.arctan(x / np.sqrt(1 - x * x)), -0.9, 0.9, exact="complex"),
    unary("acos", lambda x: np.pi / 2 - np.arcsin(x), -0.9, 0.9, exact="complex"),
    unary("atan", lambda x: np.arcsin(x / np.sqrt(1 + x * x)), exact="complex"),
    Row("atan2", POINTS, each(lambda a, b: 2 * math.atan(a / (math.hypot(a, b) + b)))),
    unary("sinh", lambda x: (np.exp(x) - np.exp(-x)) / 2, exact="complex"),
    unary("cosh", lambda x: (np.exp(x) + np.exp(-x)) / 2, exact="complex"),
    unary("asinh", lambda x: np.log(x + np.sqrt(x * x + 1)), exact="complex"),
    unary("acosh", lambda x: np.log(x + np.sqrt(x * x - 1)), 1.2, 3.0, exact="complex"),
    unary("atanh", lambda x: np.log((1 + x) / (1 - x)) / 2, -0.9, 0.9, exact="complex"),
    unary("erf", each(math.erf)),
    unary("erfc", each(math.erfc), -2.0, 6.0),
    unary("lgamma", each(math.lgamma), 0.3, 4.0),
    Row("polygamma", derivatives(), each(polygamma)),
    unary("abs", lambda x: np.maximum(x, -x), kinks=(0.0,), at=(0.0,)),
    unary("sign", lambda x: (x > 0) * 1.0 - (x < 0) * 1.0, kinks=(0.0,)),
    unary("floor", each(math.floor), kinks=WHOLE),
    unary("ceil", each(math.ceil), kinks=WHOLE),
    unary("trunc", each(math.trunc), kinks=WHOLE),
    Row("round", roundings(), each(rounded)),
    Row("nan_to_num", with_holes(nan=0.5, posinf=3.0, neginf=-2.0), each(nan_to_num)),
    Row(
        "clamp",
        clamps(),
        lambda x, min, max: np.clip(x, min, max),
        kinks=(Case((np.array([-1.0, 0.5, 1.0]),), {"min": -1.0, "max": 1.0}),),
    ),
    Row("where", choices(), lambda c, x, y: c * x + ~c * y),
    unary("clone", lambda x: x + 0, exact="linear"),
    Row(
        "to_device",
        arrays(shapes()).map(lambda x: Case((x,), {"device": "cpu"})),
        lambda x, device: x,
        exact="linear",
    ),
    Row("cast", CAST, lambda x, dtype: x.astype(dtype), exact="linear"),
    *(Row(name, compared(), oracle) for name, oracle in COMPARISONS.items()),
    unary("logical_not", lambda x: x == 0),
    Row("bitwise_and", integers(), bits(operator.and_)),
    Row("bitwise_or", integers(), bits(operator.or_)),
    Row("bitwise_xor", integers(), bits(operator.xor)),
    Row("bitwise_not", integers(count=1), turned),
    Row("bitwise_left_shift", shifts(), bits(lambda x, y: x * 2**y)),
    Row("bitwise_right_shift", shifts(), bits(lambda x, y: x // 2**y)),
    Row("gcd", integers("iu"), bits(math.gcd)),
    Row("lcm", integers("iu"), bits(math.lcm)),
    Row("isnan", with_holes(), each(math.isnan)),
    Row("isinf", with_holes(), each(math.isinf)),
    Row("isfinite", with_holes(), each(math.isfinite)),
    Row(
        "copysign",
        pairs(kinks=(0.0,), margin=0.1).filter(lambda case: isinstance(case.inputs[0], np.ndarray)),
        each(math.copysign),
        kinks=(Case((np.array([0.0, 0.7]), np.array([-1.0, 2.0]))),),
    ),
    unary("exp2", lambda x: np.exp(x * np.log(2)), exact="complex"),
    binary("logaddexp2", lambda a, b: np.log2(2**a + 2**b), exact=""),
    unary("logit", each(lambda x: math.log(x) - math.log1p(-x)), 0.05, 0.95),
    unary("erfinv", each(quantile), -0.95, 0.95),
    Row("spherical_bessel", waves(), lambda z, n: scipy.special.spherical_jn(n, z)),
]
