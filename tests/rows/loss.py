"""Rows of the losses."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

import oracles
from rows.row import Case, Row
from tinygrad_cv.testing.strategies import arrays


@st.composite
def classified(draw: Any) -> Case:
    """Scores, near 0 or all of them large, and labels of several integer types."""
    samples, classes = draw(st.sampled_from((1, 2, 3, 4, 0))), draw(st.integers(1, 4))
    middle = draw(st.sampled_from((0.0, 1000.0)))
    x = draw(arrays((samples, classes), middle - 2, middle + 2))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    dtype = draw(st.sampled_from(("int64", "int32", "uint8")))
    return Case((x, rng.integers(0, classes, samples, dtype)))


ROWS = [
    Row(
        "cross_entropy",
        classified(),
        lambda x, labels: oracles.cross_entropy(x, labels, reduction="none"),
    ),
]
