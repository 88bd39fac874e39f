"""Rows of taking elements out, and of adding them back in."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from rows.row import Case, Row
from rows.shape import with_empty
from tinygrad_cv.testing.strategies import arrays

Array = NDArray[Any]


# ----- an index, by the numbers of the places it names ---------------------------------------------


def places(shape: tuple[int, ...], index: Any) -> Array:
    """The number, in row-major order, of each place that the index names."""
    return np.asarray(np.arange(np.prod(shape, dtype=int)).reshape(shape)[index])


def taken(x: Array, index: Any) -> Array:
    return np.ravel(x).take(places(x.shape, index))


def added(x: Array, index: Any, shape: tuple[int, ...]) -> Array:
    """Each place counts how often it is named, weighed by what is sent there."""
    named = np.ravel(places(shape, index))
    return np.bincount(named, np.ravel(x), np.prod(shape, dtype=int)).reshape(shape)


# ----- calls to try --------------------------------------------------------------------------------


@st.composite
def slices(draw: Any, length: int) -> slice:
    """Any slice: open or not, counted from either end, in steps of either sign, or empty."""
    bound = st.none() | st.integers(-length, length)
    return slice(draw(bound), draw(bound), draw(st.sampled_from((None, 1, 2, -1, -2))))


@st.composite
def integers(draw: Any, length: int, shape: tuple[int, ...]) -> Array:
    """An array of places along an axis; few, so that some repeat."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return rng.integers(-length, length, shape)


@st.composite
def masks(draw: Any, shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(draw(st.integers(0, 99))).random(shape) < 0.5


@st.composite
def mixtures(draw: Any, shape: tuple[int, ...]) -> Any:
    """For each axis a slice, an integer or an array; None and ... between them."""
    named = draw(st.integers(0, len(shape)))  # the axes before the ...
    left = [draw(parts(n)) for n in shape[:named]]
    ...
