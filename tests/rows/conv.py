"""Rows of the convolutions."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from numpy.typing import NDArray

import oracles
from rows.row import Case, Row
from tinygrad_cv.testing.strategies import arrays, conv_geometry

Array = NDArray[Any]
Shape = tuple[int, ...]

# ----- cases --------------------------------------------------------------------------------------


@st.composite
def convolutions(draw: Any) -> Case:
    geometry = draw(conv_geometry())
    x, w = draw(arrays(geometry.images)), draw(arrays(geometry.weight))
    b = draw(st.none() | arrays((geometry.outputs,)))
    return Case((x, w, b), geometry.attributes())


@st.composite
def transposed(draw: Any) -> Case:
    """The way back: from the maps of a convolution to its images, whose size it has to be told."""
    geometry = draw(conv_geometry())
    x, w = draw(arrays(geometry.maps)), draw(arrays(geometry.weight))
    b = draw(st.none() | arrays((geometry.channels,)))
    return Case((x, w, b), geometry.attributes("size"))


@st.composite
def weight_gradients(draw: Any) -> Case:
    geometry = draw(conv_geometry())
    x, d = draw(arrays(geometry.images)), draw(arrays(geometry.maps))
    return Case((x, d), geometry.attributes("kernel"))


# ----- oracles ------------------------------------------------------------------------------------


def shifted(y: Array, b: Array | None) -> Array:
    """One number added to each channel."""
    return y if b is None else y + b.reshape(-1, 1, 1)


def conv_transpose2d(x: Array, w: Array, b: Array | None, size: Shape, **geometry: Any) -> Array:
    """The oracle is told the output padding: by how much `size` exceeds what the kernels span."""
    stride, padding, dilation = (geometry[name] for name in ("stride", "padding", "dilation"))
    spans = [
        (n - 1) * s - 2 * p + d * (k - 1) + 1
        for n, k, s, p, d in zip(x.shape[2:], w.shape[2:], stride, padding, dilation, strict=True)
    ]
    extra = tuple(n - span for n, span in zip(size, spans, strict=True))
    return shifted(oracles.conv_transpose2d(x, w, output_padding=extra, **geometry), b)


def conv_weight(x: Array, d: Array, kernel: Sequence[int], **geometry: Any) -> Array:
    return oracles.conv2d_weight(x, d, kernel_size=kernel, **geometry)


ROWS = [
    Row(
        "conv2d",
        convolutions(),
        lambda x, w, b, **geometry: shifted(oracles.conv2d(x, w, **geometry), b),
    ),
    Row("conv_transpose2d", transposed(), conv_transpose2d),
    Row("conv_weight", weight_gradients(), conv_weight, exact="linear"),
]
