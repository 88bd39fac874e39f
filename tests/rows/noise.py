"""Rows of the noise that regularizes."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

import tinygrad_cv as tg
from rows.row import Case, Row
from rows.shape import with_empty
from tinygrad_cv.testing.strategies import arrays


def dropout(x: NDArray[Any], p: float, generator: np.random.Generator) -> NDArray[Any]:
    """One single-precision draw an element: below p it is dropped, else divided by 1 - p."""
    kept = tg.rand(x.shape, generator=generator).numpy() >= p
    return np.divide(x, 1 - p, out=np.zeros_like(x), where=kept)


@st.composite
def droppings(draw: Any) -> Case:
    p = draw(st.sampled_from((0.5, 0.0, 0.1, 0.9, 1.0)))
    return Case((draw(arrays(with_empty())),), {"p": p, "generator": np.random.default_rng(0)})


ROWS = [Row("dropout", droppings(), dropout, exact="linear")]
