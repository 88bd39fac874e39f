"""Rows of the convolutions, and of unfold and fold."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from numpy.typing import NDArray

import oracles
from rows.row import Case, Row
from tinygrad_cv.testing.strategies import arrays, conv_geometry

Array = NDArray[Any]
Shape = tuple[int, ...]

TAPS = ("kernel", "stride", "padding", "dilation")

# ----- cases --------------------------------------------------------------------------------------


def dimensions() -> Any:
    """How many spatial axes, for an op that takes any number."""
    return st.integers(1, 3)


@st.composite
def convolutions(draw: Any, spatial: int) -> Case:
    geometry = draw(conv_geometry(spatial))
    x, w = draw(arrays(geometry.images)), draw(arrays(geometry.weight))
    b = draw(st.none() | arrays((geometry.outputs,)))
    return Case((x, w, b), geometry.attributes())


@st.composite
def transposed(draw: Any, spatial: int) -> Case:
    """The way back: from the maps of a convolution to its images, whose size it has to be told."""
    geometry = draw(conv_geometry(spatial))
    x, w = draw(arrays(geometry.maps)), draw(arrays(geometry.weight))
    b = draw(st.none() | arrays((geometry.channels,)))
    return Case((x, w, b), geometry.attributes("size"))


@st.composite
def weight_gradients(draw: Any) -> Case:
    geometry = draw(dimensions().flatmap(conv_geometry))
    x, d = draw(arrays(geometry.images)), draw(arrays(geometry.maps))
    return Case((x, d), geometry.attributes("kernel"))


@st.composite
def unfolded(draw: Any) -> Case:
    geometry = draw(dimensions().flatmap(conv_geometry))
    attributes = {name: geometry.lengths(name) for name in TAPS}
    return Case((draw(arrays(geometry.images)),), attributes)


@st.composite
def folded(draw: Any) -> Case:
    case = draw(unfolded())
    (x,), attributes = case.inputs, case.attributes
    columns = oracles.unfold(x, *(attributes[name] for name in TAPS))
    return Case((draw(arrays(columns.shape)),), {"size": x.shape[2:], **attributes})


# ----- oracles ------------------------------------------------------------------------------------


def shifted(y: Array, b: Array | None) -> Array:
    """One number added to each channel."""
    return y if b is None else y + b.reshape(-1, *(1,) * (y.ndim - 2))


def conv(x: Array, w: Array, b: Array | None, **geometry: Any) -> Array:
    return shifted(oracles.conv(x, w, **geometry), b)


def conv_transpose(x: Array, w: Array, b: Array | None, **geometry: Any) -> Array:
    return shifted(oracles.conv_transpose(x, w, **geometry), b)


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
    return oracles.conv_weight(x, d, kernel, **geometry)


def unfold(x: Array, kernel: Sequence[int], **geometry: Any) -> Array:
    return oracles.unfold(x, kernel, **geometry)


def fold(x: Array, size: Shape, kernel: Sequence[int], **geometry: Any) -> Array:
    return oracles.fold(x, size, kernel, **geometry)


ROWS = [
    Row("conv1d", convolutions(1), conv),
    Row(
        "conv2d",
        convolutions(2),
        lambda x, w, b, **geometry: shifted(oracles.conv2d(x, w, **geometry), b),
    ),
    Row("conv3d", convolutions(3), conv),
    Row("conv_transpose1d", transposed(1), conv_transpose),
    Row("conv_transpose2d", transposed(2), conv_transpose2d),
    Row("conv_transpose3d", transposed(3), conv_transpose),
    Row("conv_weight", weight_gradients(), conv_weight, exact="linear"),
    Row("unfold", unfolded(), unfold, exact="linear"),
    Row("fold", folded(), fold, exact="linear"),
]
