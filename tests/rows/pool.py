"""Rows of the pooling ops."""

from typing import Any

import numpy as np
import oracles
from hypothesis import strategies as st
from numpy.typing import NDArray

from rows.conv import NUMBERS, Axis, PoolGeometry, axes
from rows.row import Case, Row
from tinygrad_cv.testing.strategies import arrays

Array = NDArray[Any]

# ----- geometry -----------------------------------------------------------------------------------


@st.composite
def tiles(draw: Any) -> Axis:
    """An axis that is cut into windows without gaps, overlaps or leftover."""
    kernel, out = draw(NUMBERS(1, 3)), draw(NUMBERS(1, 3))
    padding = draw(NUMBERS(0, (kernel if out > 1 else kernel - 1) // 2))
    return Axis(kernel * out - 2 * padding, kernel, kernel, padding, 1)


@st.composite
def pool_geometry(draw: Any, most_dilation: int = 2) -> PoolGeometry:
    """Windows that all see a pixel: tiles, or overlapping, apart and with borders left over."""
    anywhere = axes(padding=lambda kernel: NUMBERS(0, kernel // 2), dilation=NUMBERS(1, most_dilation))
    axis = draw(st.sampled_from((tiles(), anywhere.filter(lambda axis: all(axis.seen)))))
    return PoolGeometry(draw(NUMBERS(1, 3)), draw(NUMBERS(1, 3)), (draw(axis), draw(axis)))


# ----- cases --------------------------------------------------------------------------------------

DILATED = ("kernel", "stride", "padding", "dilation")
PLAIN = ("kernel", "stride", "padding")


@st.composite
def largest(draw: Any) -> Case:
    geometry = draw(pool_geometry())
    return Case((draw(arrays(geometry.images, distinct=True)),), geometry.attributes(*DILATED))


@st.composite
def indices(draw: Any, geometry: PoolGeometry) -> Array:
    """For each window the number of one of its taps, one that sees a pixel."""
    rng = np.random.default_rng(draw(NUMBERS(0, 2**32 - 1)))
    rows, columns = (axis.seen for axis in geometry.axes)
    width = geometry.axes[1].kernel
    index = np.empty(geometry.windows, np.intp)
    for place in np.ndindex(*index.shape):
        index[place] = rng.choice(rows[place[2]]) * width + rng.choice(columns[place[3]])
    return index


@st.composite
def scattered(draw: Any) -> Case:
    geometry = draw(pool_geometry())
    x = draw(arrays(geometry.windows))
    return Case((x, draw(indices(geometry))), geometry.attributes("size", *DILATED))


@st.composite
def gathered(draw: Any) -> Case:
    geometry = draw(pool_geometry())
    x = draw(arrays(geometry.images))
    return Case((x, draw(indices(geometry))), geometry.attributes(*DILATED))


@st.composite
def summed(draw: Any) -> Case:
    geometry = draw(pool_geometry(most_dilation=1))
    return Case((draw(arrays(geometry.images)),), geometry.attributes(*PLAIN))


@st.composite
def spread(draw: Any) -> Case:
    geometry = draw(pool_geometry(most_dilation=1))
    return Case((draw(arrays(geometry.windows)),), geometry.attributes("size", *PLAIN))


# ----- oracles ------------------------------------------------------------------------------------


def window_sum(x: Array, kernel: Any, stride: Any, padding: Any) -> Array:
    """A mean times its number of terms."""
    return oracles.avg_pool2d(x, kernel, stride, padding) * np.prod(kernel)


def window_spread(x: Array, size: Any, kernel: Any, stride: Any, padding: Any) -> Array:
    """Each number, times one, at each place of its window."""
    places = np.ndindex(*kernel)
    return sum(
        oracles.window_scatter(x, np.full(x.shape, number), ...)
        for number, _ in enumerate(places)
    )


ROWS = []
