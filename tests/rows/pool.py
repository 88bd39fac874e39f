"""Rows of the pooling ops."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

import oracles
from rows.conv import conv_transpose2d
from rows.row import Case, Row
from tinygrad_cv.testing.geometry import Geometry
from tinygrad_cv.testing.strategies import arrays, pool_geometry

Array = NDArray[Any]

# ----- cases --------------------------------------------------------------------------------------

DILATED = ("kernel", "stride", "padding", "dilation")
PLAIN = ("kernel", "stride", "padding")


@st.composite
def largest(draw: Any) -> Case:
    geometry = draw(pool_geometry())
    return Case((draw(arrays(geometry.images, distinct=True)),), geometry.attributes(*DILATED))


@st.composite
def indices(draw: Any, geometry: Geometry) -> Array:
    """For each window the number of one of its taps, one that sees a pixel."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
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


def max_pool2d(x: Array, kernel: Any, **geometry: Any) -> Array:
    return oracles.max_pool2d(x, kernel, **geometry)[0]


def window_scatter(x: Array, index: Array, size: Any, kernel: Any, **geometry: Any) -> Array:
    return oracles.window_scatter(x, index, (*x.shape[:2], *size), kernel, **geometry)


def window_gather(x: Array, index: Array, kernel: Any, **geometry: Any) -> Array:
    return oracles.window_gather(x, index, kernel, **geometry)


def window_sum(x: Array, kernel: Any, stride: Any, padding: Any) -> Array:
    """A mean times its number of terms."""
    return oracles.avg_pool2d(x, kernel, stride, padding) * np.prod(kernel)


def window_spread(x: Array, kernel: Any, **geometry: Any) -> Array:
    """Each number times a kernel of ones, stamped onto an image of its own channel."""
    channels = x.shape[1]
    ones = np.ones((channels, 1, *kernel))
    return conv_transpose2d(x, ones, None, dilation=(1, 1), groups=channels, **geometry)


TIE = Case(
    (np.array([[[[0.0, 2.0, 1.0], [2.0, -1.0, 0.0]]]]),),
    {"kernel": (2, 2), "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)},
)
"""The first window has two largest elements, the second has one."""

ROWS = [
    Row("max_pool2d", largest(), max_pool2d, kinks=(TIE,)),
    Row("window_scatter", scattered(), window_scatter, exact="linear"),
    Row("window_gather", gathered(), window_gather, exact="linear"),
    Row("window_sum", summed(), window_sum, exact="linear"),
    Row("window_spread", spread(), window_spread, exact="linear"),
]
