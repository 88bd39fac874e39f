"""Arithmetic and functions, element by element."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

import tinygrad_cv as tg
from beside_torch.call import Beside, Call
from rows.elementwise import HALVES, WHOLE, apart, divisions, roundings
from rows.shape import with_empty
from tinygrad_cv.testing.strategies import arrays, broadcastable

Calls = SearchStrategy[Call]


def call(*inputs: Any, **options: Any) -> Call:
    """NumPy makes scalars of arrays without axes on many occasions; PyTorch takes none."""
    return Call(tuple(np.asarray(x) if isinstance(x, np.generic) else x for x in inputs), options)


def one(low: float = -2.0, high: float = 2.0, kinks: Sequence[float] = ()) -> Calls:
    return arrays(with_empty(), low, high, kinks).map(lambda x: Call((x,)))


@st.composite
def several(
    draw: Any, count: int = 2, options: Sequence[dict[str, Any]] = ({},), **ranges: Any
) -> Call:
    """Arrays that broadcast, and one of the options."""
    shapes = draw(broadcastable(count))
    inputs = tuple(draw(arrays(shape, **ranges)) for shape in shapes)
    return Call(inputs, dict(draw(st.sampled_from(options))))


@st.composite
def small_wholes(draw: Any) -> Call:
    """Few distinct values, so that equal pairs are common."""
    return call(*(np.round(x) for x in draw(several()).inputs))


@st.composite
def powers(draw: Any) -> Call:
    exponent = draw(st.sampled_from((-2, 0, 1, 2, 3, 0.5, -1.5)))
    return Call((draw(arrays(with_empty(), 0.2, 2.0)), exponent))


@st.composite
def bounded(draw: Any) -> Call:
    """Bounds by number or by tensor, of which the lower is now and then above the upper."""
    a, b, c = draw(broadcastable(3))
    # Off the bounds, where PyTorch's slope has been 1 and is 0 or shared since 2.14.
    x = np.round(draw(arrays(np.broadcast_shapes(a, b, c))), 1) + 0.01
    if draw(st.booleans()):
        low, high = draw(st.sampled_from(((-1.0, 1.0), (None, 0.5), (-0.5, None), (1.0, -1.0))))
        return call(x, min=low, max=high)
    low, high = np.round(draw(arrays(b)), 1) - 0.03, np.round(draw(arrays(c)), 1) + 0.05
    return call(*draw(st.sampled_from(((x, low, high), (x, low), (x, None, high)))))


@st.composite
def choices(draw: Any) -> Call:
    x, y, z = draw(several(3)).inputs
    return call(x > 0, y, z)


@st.composite
def orders(draw: Any) -> Call:
    n = draw(st.integers(0, 4))
    x = draw(arrays(with_empty(), 0.3, 3.0) | arrays(with_empty(), -1.8, -1.2))
    return call(n, x if n < 2 else np.abs(x))


@st.composite
def lines(draw: Any) -> Call:
    x, end, weight = draw(several(3)).inputs
    return call(x, end, draw(st.sampled_from((weight, 0, 0.25, 0.5, 1, 1.5))))


@st.composite
def special(draw: Any, options: Sequence[dict[str, Any]] = ({},)) -> Call:
    x = draw(arrays(with_empty()))
    holes = draw(st.lists(st.sampled_from((np.nan, np.inf, -np.inf)), max_size=x.size))
    x.flat[: len(holes)] = holes
    return Call((x,), dict(draw(st.sampled_from(options))))


@st.composite
def logits(draw: Any) -> Call:
    x = draw(arrays(with_empty(), 0.05, 0.95, (0.25, 0.75)))
    return Call((x,), draw(st.sampled_from(({}, {"eps": None}, {"eps": 0.25}))))


@st.composite
def close(draw: Any) -> Call:
    """Pairs on both sides of the tolerance, with holes."""
    x = draw(special()).inputs[0]
    steps = draw(arrays(x.shape, -2.0, 2.0))
    y = np.where(np.isfinite(x), x + 0.1 * np.round(steps), x)
    options: tuple[dict[str, Any], ...] = ({}, {"atol": 0.15}, {"rtol": 0.15, "equal_nan": True})
    return call(x, y, **draw(st.sampled_from(options)))


def called(cases: Any) -> Any:
    """The cases of a row as calls."""
    return cases.map(lambda case: Call(case.inputs, case.attributes))


QUOTIENTS = st.builds(
    lambda case, mode: Call(case.inputs, {"rounding_mode": mode}),
    divisions(),
    st.sampled_from((None, "floor", "trunc")),
)
SUMS = several(options=({}, {"alpha": 2.5}, {"alpha": -1}))
PRODUCTS = several(3, ({}, {"value": 0.5}, {"value": -2}), kinks=(0.0,), margin=0.3)
POSITIVE, INSIDE, APART = one(0.2, 3.0), one(-0.9, 0.9), several(kinks=(0.0,), margin=0.2)


def beside(
    calls: Any, *names: str, gradients: bool = True, theirs: Callable[..., Any] | None = None
) -> list[Beside]:
    return [
        Beside(name, calls, ours=getattr(tg, name), theirs=theirs, gradients=gradients)
        for name in names
    ]


CALLS = [
    *beside(SUMS, "add", "sub", "subtract"),
    *beside(several(), "mul", "multiply", "maximum", "minimum", "logaddexp"),
    *beside(several(kinks=(0.0,), margin=0.3), "div"),
    *beside(QUOTIENTS, "divide", gradients=False),
    *beside(called(divisions()), "remainder", "fmod"),
    *beside(called(divisions()), "floor_divide", gradients=False),
    *beside(APART, "hypot", "atan2"),
    *beside(several(low=0.2), "xlogy"),
    *beside(powers() | several(low=0.2), "pow"),
    *beside(one(), "neg", "negative", "exp", "expm1", "square", "sin", "cos", "sinh", "cosh"),
    *beside(one(), "atan", "asinh", "erf", "erfc", "abs", "absolute"),
    *beside(POSITIVE, "log", "log2", "log10", "sqrt", "rsqrt", "reciprocal", "lgamma", "digamma"),
    *beside(INSIDE, "log1p", "tan", "asin", "acos", "atanh"),
    *beside(one(1.2, 3.0), "acosh"),
    *beside(orders(), "polygamma"),
    *beside(one(kinks=WHOLE), "floor", "ceil", "trunc", "sign", gradients=False),
    *beside(one(kinks=HALVES) | called(roundings()), "round", gradients=False),
    *beside(bounded(), "clamp", "clip"),
    *beside(choices(), "where"),
    *beside(lines(), "lerp"),
    *beside(PRODUCTS, "addcmul", "addcdiv"),
    *beside(
        special(({}, {"nan": 0.5}, {"posinf": 3.0}, {"neginf": -2.0, "posinf": 1.0})), "nan_to_num"
    ),
    *beside(special(), "isnan", "isinf", "isfinite"),
    *beside(small_wholes(), "lt", "le", "gt", "ge", "eq", "ne"),
    *beside(small_wholes(), "logical_and", "logical_or", "logical_xor"),
    *beside(one(), "logical_not", "clone"),
    *beside(APART, "copysign", "arctan2"),
    *beside(several(low=0.2), "float_power"),
    *beside(called(apart()), "fmax", "fmin"),
    *beside(several(), "logaddexp2"),
    *beside(SUMS, "rsub"),
    *beside(several(kinks=(0.0,), margin=0.3), "true_divide"),
    *beside(one(), "exp2", "sinc", "deg2rad", "rad2deg", "positive", "arctan", "arcsinh"),
    *beside(one(kinks=WHOLE), "frac"),
    *beside(INSIDE, "erfinv", "arcsin", "arccos", "arctanh"),
    *beside(one(1.2, 3.0), "arccosh"),
    *beside(logits(), "logit"),
    *beside(one(kinks=WHOLE), "fix", "sgn", "signbit", gradients=False),
    *beside(several(), "ldexp"),
    *beside(special(), "isposinf", "isneginf", "isreal"),
    *beside(small_wholes(), "less", "less_equal", "greater", "greater_equal", "not_equal"),
    *beside(close(), "isclose", gradients=False),
]
