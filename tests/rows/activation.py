"""Rows of the nonlinearities."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

import oracles
from rows.row import Case, Row
from rows.shape import with_empty
from tinygrad_cv.testing.strategies import arrays


@st.composite
def saturating(draw: Any) -> Case:
    """Elements where the curve bends, and some so far out that eˣ overflows."""
    x = draw(arrays(with_empty(), -5.0, 5.0))
    far = draw(st.lists(st.sampled_from((-1000.0, 1000.0)), max_size=x.size))
    x.flat[: len(far)] = far
    return Case((x,))


@st.composite
def along_an_axis(draw: Any, *ranges: tuple[float, float]) -> Case:
    """Scores within one of the ranges, and the axis along which they are weighed."""
    shape = list(draw(with_empty(1)))
    axis = draw(st.integers(0, len(shape) - 1))
    shape[axis] = max(1, shape[axis])  # of no scores none is the largest
    low, high = draw(st.sampled_from(ranges))
    return Case((draw(arrays(shape, low, high)),), {"axis": axis})


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
    Row("sigmoid", saturating(), oracles.sigmoid),
    Row("tanh", saturating(), lambda x: 2 * oracles.sigmoid(2 * x) - 1, exact="complex"),
    Row("softmax", along_an_axis(NEAR, SHIFTED), oracles.softmax),
    Row("log_softmax", along_an_axis(NEAR, SHIFTED, FAR_APART), oracles.log_softmax),
]
