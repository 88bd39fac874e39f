"""Rows of the matrix products."""

from typing import Any

from hypothesis import strategies as st

import oracles
from rows.row import Case, Row
from tinygrad_cv.testing.strategies import arrays, broadcastable

LENGTHS = st.sampled_from((1, 2, 3, 4, 0))


@st.composite
def products(draw: Any) -> Case:
    """Matrices, and stacks of them whose leading axes broadcast."""
    n, k, m = (draw(LENGTHS) for _ in range(3))
    left, right = draw(broadcastable(max_dims=2))
    return Case((draw(arrays((*left, n, k))), draw(arrays((*right, k, m)))))


@st.composite
def layers(draw: Any) -> Case:
    """Rows, a weight (out, in), and a bias or none."""
    n, inner, out = (draw(LENGTHS) for _ in range(3))
    b = draw(st.none() | arrays((out,)))
    return Case((draw(arrays((n, inner))), draw(arrays((out, inner))), b))


ROWS = [
    Row("matmul", products(), oracles.matmul, exact="linear"),
    Row(
        "linear",
        layers(),
        lambda x, w, b: oracles.matmul(x, w.T) + (0 if b is None else b),
    ),
]
