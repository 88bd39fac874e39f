"""Rows of the pooling ops."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

import oracles
from rows.conv import conv_transpose, dimensions
from rows.row import Case, Row
from tinygrad_cv.testing.geometry import Geometry
from tinygrad_cv.testing.strategies import arrays, pool_geometry

Array = NDArray[Any]

# ----- cases --------------------------------------------------------------------------------------

DILATED = ("kernel", "stride", "padding", "dilation")
PLAIN = ("kernel", "stride", "padding")


def windows(most_dilation: int = 2) -> Any:
    """Windows for an op that takes any number of spatial axes."""
    return dimensions().flatmap(lambda spatial: pool_geometry(most_dilation, spatial))


@st.composite
def largest(draw: Any, spatial: int) -> Case:
    geometry = draw(pool_geometry(spatial=spatial))
    return Case((draw(arrays(geometry.images, distinct=True)),), geometry.attributes(*DILATED))


@st.composite
def largest_of_any(draw: Any) -> Case:
    geometry = draw(windows())
    return Case((draw(arrays(geometry.images, distinct=True)),), geometry.attributes(*DILATED))


@st.composite
def indices(draw: Any, geometry: Geometry) -> Array:
    """For each window the number of one of its taps, one that sees a pixel."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    seen = [axis.seen for axis in geometry.axes]
    index = np.empty(geometry.windows, np.intp)
    for place in np.ndindex(*index.shape):
        tap = [rng.choice(taps[i]) for taps, i in zip(seen, place[2:], strict=True)]
        index[place] = np.ravel_multi_index(tap, geometry.lengths("kernel"))
    return index


@st.composite
def scattered(draw: Any) -> Case:
    geometry = draw(windows())
    x = draw(arrays(geometry.windows))
    return Case((x, draw(indices(geometry))), geometry.attributes("size", *DILATED))


@st.composite
def gathered(draw: Any) -> Case:
    geometry = draw(windows())
    x = draw(arrays(geometry.images))
    return Case((x, draw(indices(geometry))), geometry.attributes(*DILATED))


@st.composite
def summed(draw: Any) -> Case:
    geometry = draw(windows(most_dilation=1))
    divisor = {"divisor": draw(st.sampled_from((1, 3, -2)))}
    return Case((draw(arrays(geometry.images)),), geometry.attributes(*PLAIN) | divisor)


@st.composite
def spread(draw: Any) -> Case:
    geometry = draw(windows(most_dilation=1))
    divisor = {"divisor": draw(st.sampled_from((1, 3, -2)))}
    return Case((draw(arrays(geometry.windows)),), geometry.attributes("size", *PLAIN) | divisor)


# ----- oracles ------------------------------------------------------------------------------------


def max_pool2d(x: Array, kernel: Any, **geometry: Any) -> Array:
    return oracles.max_pool2d(x, kernel, **geometry)[0]


def seen(size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """{(window, number of the tap): pixel} for each tap that sees a pixel."""
    return {
        (window, int(np.ravel_multi_index(tap, kernel))): pixel
        for window, tap, pixel in oracles.looks(size, kernel, stride, padding, dilation)
    }


def max_pool(x: Array, **geometry: Any) -> Array:
    """The first of equal maxima is not asked for: only its value."""
    y = np.full((*x.shape[:2], *oracles.count_windows(x.shape[2:], *geometry.values())), -np.inf)
    for (window, _), pixel in seen(x.shape[2:], **geometry).items():
        y[:, :, *window] = np.fmax(y[:, :, *window], x[:, :, *pixel])
    return y


def max_pool_index(x: Array, **geometry: Any) -> Array:
    y = np.full((*x.shape[:2], *oracles.count_windows(x.shape[2:], *geometry.values())), -1)
    for (window, _), pixel in seen(x.shape[2:], **geometry).items():
        number = np.ravel_multi_index(pixel, x.shape[2:])
        for n, c in np.ndindex(*x.shape[:2]):
            best = y[n, c, *window]
            if best < 0 or x[n, c, *pixel] > x[n, c].flat[best]:
                y[n, c, *window] = number
    return y


def window_scatter(x: Array, index: Array, size: Any, **geometry: Any) -> Array:
    taps, y = seen(size, **geometry), np.zeros((*x.shape[:2], *size))
    for n, c, *window in np.ndindex(*x.shape):
        pixel = taps[tuple(window), int(index[n, c, *window])]
        y[n, c, *pixel] += x[n, c, *window]
    return y


def window_gather(x: Array, index: Array, **geometry: Any) -> Array:
    taps, y = seen(x.shape[2:], **geometry), np.empty(index.shape)
    for n, c, *window in np.ndindex(*index.shape):
        y[n, c, *window] = x[n, c, *taps[tuple(window), int(index[n, c, *window])]]
    return y


def window_sum(x: Array, kernel: Any, divisor: int, **geometry: Any) -> Array:
    """A convolution of each channel with a kernel of ones."""
    ones = np.ones((x.shape[1], 1, *kernel))
    dilation = (1,) * len(kernel)
    return oracles.conv(x, ones, dilation=dilation, groups=x.shape[1], **geometry) / divisor


def window_spread(x: Array, kernel: Any, divisor: int, **geometry: Any) -> Array:
    """Each number times a kernel of ones, stamped onto an image of its own channel."""
    ones = np.ones((x.shape[1], 1, *kernel))
    geometry |= {"dilation": (1,) * len(kernel), "groups": x.shape[1]}
    return conv_transpose(x, ones, None, **geometry) / divisor


@st.composite
def unpooled(draw: Any) -> Case:
    """No place is named twice: there the gradient is the derivative."""
    length = draw(st.integers(1, 6))
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, length)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    places = rng.permuted(np.broadcast_to(np.arange(length), (*shape[:2], length)), axis=2)
    return Case((draw(arrays(shape)), places[..., : shape[2]]), {"length": length})


def unpool(x: Array, index: Array, length: int) -> Array:
    y = np.zeros((*x.shape[:2], length))
    for place in np.ndindex(*x.shape):
        y[*place[:2], index[place]] = x[place]
    return y


TIE = Case(
    (np.array([[[[0.0, 2.0, 1.0], [2.0, -1.0, 0.0]]]]),),
    {"kernel": (2, 2), "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)},
)
"""The first window has two largest elements, the second has one."""

ROWS = [
    Row("max_pool1d", largest(1), max_pool),
    Row("max_pool2d", largest(2), max_pool2d, kinks=(TIE,)),
    Row("max_pool3d", largest(3), max_pool),
    Row(
        "max_pool_with_places",
        largest_of_any(),
        lambda x, **geometry: (max_pool(x, **geometry), max_pool_index(x, **geometry)),
        kinks=(TIE,),
    ),
    Row("window_scatter", scattered(), window_scatter, exact="linear"),
    Row("window_gather", gathered(), window_gather, exact="linear"),
    Row("unpool", unpooled(), unpool, exact="linear"),
    Row("window_sum", summed(), window_sum, exact="linear"),
    Row("window_spread", spread(), window_spread, exact="linear"),
]
