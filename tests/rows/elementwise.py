"""Rows of the elementwise ops."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
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


def binary(name: str, oracle: Callable[..., Any], **ranges: Any) -> Row:
    """A row for an arithmetic op of two inputs."""
    return Row(name, pairs(**ranges), oracle, exact="complex")


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
    unary("exp", lambda x: np.e**x, exact="complex"),
    unary("log", lambda x: np.log2(x) / np.log2(np.e), 0.2, 3.0, exact="complex"),
    unary("sqrt", lambda x: x**0.5, 0.2, 3.0, exact="complex"),
    unary("square", lambda x: x * x, exact="complex"),
    unary("reciprocal", lambda x: x**-1.0, kinks=(0.0,), exact="complex"),
    unary("sin", np.sin, exact="complex"),
    unary("cos", lambda x: np.sin(x + np.pi / 2), exact="complex"),
    unary("abs", lambda x: np.maximum(x, -x), kinks=(0.0,), at=(0.0,)),
    unary("sign", lambda x: (x > 0) * 1.0 - (x < 0) * 1.0, kinks=(0.0,)),
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
]
