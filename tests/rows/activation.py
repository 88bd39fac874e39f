"""Rows of the nonlinearities."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

import oracles
import tinygrad_cv as tg
from rows.elementwise import each
from rows.row import Case, Row
from rows.shape import with_empty
from tinygrad_cv.testing.strategies import arrays


@st.composite
def saturating(
    draw: Any,
    kinks: Sequence[float] = (),
    options: Sequence[dict[str, Any]] = ({},),
) -> Case:
    """Elements where the curve bends, and some so far out that eˣ overflows."""
    x = draw(arrays(with_empty(), -5.0, 5.0, kinks=kinks))
    far = draw(st.lists(st.sampled_from((-1000.0, 1000.0)), max_size=x.size))
    x.flat[: len(far)] = far
    return Case((x,), dict(draw(st.sampled_from(options))))


@st.composite
def bent(draw: Any, options: Sequence[dict[str, Any]], kinks: Callable[..., Any]) -> Case:
    """Options, and elements away from the kinks that are there with them."""
    chosen = draw(st.sampled_from(options))
    x = draw(arrays(with_empty(), -5.0, 7.0, kinks=kinks(**chosen)))
    return Case((x,), dict(chosen))


@st.composite
def slopes_to_learn(draw: Any) -> Case:
    x = draw(AROUND_0)
    shape = tuple(draw(st.sampled_from((1, n))) for n in x.shape)
    return Case((x, draw(arrays(shape))))


@st.composite
def slopes_to_draw(draw: Any) -> Case:
    lower, upper = draw(st.sampled_from(((0.125, 0.25), (0.5, 0.5), (-1.0, 2.0))))
    generator = np.random.default_rng(0)
    return Case((draw(AROUND_0),), {"lower": lower, "upper": upper, "generator": generator})


@st.composite
def gated(draw: Any) -> Case:
    """An even length along one axis."""
    shape = list(draw(with_empty(1)))
    axis = draw(st.integers(0, len(shape) - 1))
    shape[axis] *= 2
    return Case((draw(arrays(shape)),), {"axis": axis})


@st.composite
def along_an_axis(draw: Any, *ranges: tuple[float, float]) -> Case:
    """Scores within one of the ranges, and the axis along which they are weighed."""
    shape = list(draw(with_empty(1)))
    axis = draw(st.integers(0, len(shape) - 1))
    shape[axis] = max(1, shape[axis])  # of no scores none is the largest
    low, high = draw(st.sampled_from(ranges))
    return Case((draw(arrays(shape, low, high)),), {"axis": axis})


# ----- one number at a time, as a textbook has it -------------------------------------------------


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def softplus(x: float, beta: float = 1.0, threshold: float = math.inf) -> float:
    z = beta * x
    if z > threshold:
        return x
    return (z + math.log1p(math.exp(-z)) if z > 0 else math.log1p(math.exp(z))) / beta


def elu(x: float, alpha: float) -> float:
    return x if x > 0 else alpha * (math.exp(x) - 1)


def selu(x: float) -> float:
    """With Klambauer et al.'s constants."""
    return 1.0507009873554804934193349852946 * elu(x, 1.6732632423543772848170429916717)


def gelu(x: float, approximate: str) -> float:
    if approximate == "none":
        return x / 2 * (1 + math.erf(x / math.sqrt(2)))
    return x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def limited(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


def softshrink(x: float, lambd: float) -> float:
    return x - lambd if x > lambd else x + lambd if x < -lambd else 0.0


def rrelu(x: Any, lower: float, upper: float, generator: np.random.Generator) -> Any:
    """One single-precision draw an element, stretched to [lower, upper)."""
    draws = tg.rand(x.shape, generator=generator).numpy()
    drawn = draws * np.float32(upper - lower) + np.float32(lower)
    return np.where(x > 0, x, x * drawn)


def glu(x: Any, axis: int) -> Any:
    a, b = np.split(x, 2, axis=axis)
    return a * oracles.sigmoid(b)


AROUND_0 = arrays(with_empty(), kinks=(0.0,))
SLOPES = st.sampled_from((0.01, 0.5, 1.0, 1.5, 0.0))
NEAR, SHIFTED, FAR_APART = (-2.0, 2.0), (998.0, 1002.0), (-500.0, 500.0)

ROWS = [
    Row(
        "relu",
        st.builds(lambda x: Case((x,)), AROUND_0),
        oracles.relu,
        kinks=(Case((np.array([0.0, -0.0, 0.7]),)),),
    ),
    Row(
        "leaky_relu",
        st.builds(lambda x, slope: Case((x,), {"negative_slope": slope}), AROUND_0, SLOPES),
        oracles.leaky_relu,
        kinks=(Case((np.array([0.0, -0.7]),), {"negative_slope": 0.2}),),
    ),
    Row(
        "prelu",
        slopes_to_learn(),
        each(lambda x, w: x if x > 0 else w * x),
        kinks=(Case((np.array([0.0, -0.7]), np.array([0.2]))),),
    ),
    Row(
        "rrelu",
        slopes_to_draw(),
        rrelu,
        kinks=(
            Case(
                (np.array([0.0, -0.7]),),
                {"lower": 0.1, "upper": 0.3, "generator": np.random.default_rng(0)},
            ),
        ),
    ),
    Row(
        "relu6",
        bent(({},), lambda: (0.0, 6.0)),
        each(lambda x: limited(x, 0.0, 6.0)),
        kinks=(Case((np.array([0.0, 6.0, 0.7]),)),),
    ),
    Row(
        "hardtanh",
        bent(
            ({"min_val": -1.0, "max_val": 1.0}, {"min_val": -2.0, "max_val": 0.5}),
            lambda min_val, max_val: (min_val, max_val),
        ),
        each(lambda x, min_val, max_val: limited(x, min_val, max_val)),
        kinks=(Case((np.array([-1.0, 1.0, 0.7]),)),),
    ),
    Row(
        "elu",
        saturating((0.0,), [{"alpha": alpha} for alpha in (1.0, 0.3, 2.0, 0.0)]),
        each(elu),
        kinks=(Case((np.array([0.0, -0.7]),), {"alpha": 2.0}),),
    ),
    Row("selu", saturating((0.0,)), each(selu), kinks=(Case((np.array([0.0, -0.7]),)),)),
    Row(
        "celu",
        saturating((0.0,), [{"alpha": alpha} for alpha in (1.0, 0.3, 2.0)]),
        each(lambda x, alpha: elu(x / alpha, 1.0) * alpha),
    ),
    Row("sigmoid", saturating(), oracles.sigmoid),
    Row("logsigmoid", saturating(), each(lambda x: -softplus(-x))),
    Row(
        "softplus",
        saturating((0.5,), [{}, {"beta": 0.5}, {"beta": 3.0}, {"beta": 2.0, "threshold": 1.0}]),
        each(lambda x, beta=1.0, threshold=20.0: softplus(x, beta, threshold)),
    ),
    Row("silu", saturating(), each(lambda x: x * sigma(x))),
    Row("mish", saturating(), each(lambda x: x * math.tanh(softplus(x)))),
    Row(
        "gelu",
        saturating((), [{"approximate": "none"}, {"approximate": "tanh"}]),
        each(gelu),
    ),
    Row("softsign", saturating((0.0,)), each(lambda x: x / (1 + abs(x)))),
    Row("tanhshrink", saturating(), each(lambda x: x - math.tanh(x))),
    Row(
        "softshrink",
        bent(({"lambd": 0.5}, {"lambd": 1.5}, {"lambd": 0.0}), lambda lambd: (0.0, lambd, -lambd)),
        each(softshrink),
        kinks=(Case((np.array([0.5, -0.5, 0.7]),)),),
    ),
    Row(
        "hardshrink",
        bent(({"lambd": 0.5}, {"lambd": 1.5}), lambda lambd: (lambd, -lambd)),
        each(lambda x, lambd: x if abs(x) > lambd else 0.0),
    ),
    Row(
        "hardsigmoid",
        bent(({},), lambda: (-3.0, 3.0)),
        each(lambda x: limited(x + 3, 0, 6) / 6),
        kinks=(Case((np.array([-3.0, 3.0, 0.7]),)),),
    ),
    Row(
        "hardswish",
        bent(({},), lambda: (-3.0, 3.0)),
        each(lambda x: x * limited(x + 3, 0, 6) / 6),
        kinks=(Case((np.array([-3.0, 3.0, 0.7]),)),),
    ),
    Row(
        "threshold",
        bent(
            ({"threshold": 0.5, "value": 0.5}, {"threshold": -1.0, "value": 3.0}),
            lambda threshold, value: (threshold,),
        ),
        each(lambda x, threshold, value: x if x > threshold else value),
        kinks=(Case((np.array([0.5, 0.7]),), {"threshold": 0.5, "value": 0.5}),),
    ),
    Row("glu", gated(), glu),
    Row("tanh", saturating(), lambda x: 2 * oracles.sigmoid(2 * x) - 1, exact="complex"),
    Row("softmax", along_an_axis(NEAR, SHIFTED), oracles.softmax),
    Row("log_softmax", along_an_axis(NEAR, SHIFTED, FAR_APART), oracles.log_softmax),
]
