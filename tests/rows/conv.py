"""Rows of the convolutions, and the geometry of windows on images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import oracles
from hypothesis import strategies as st
from numpy.typing import NDArray

from rows.row import Case, Row
from tinygrad_cv.testing.strategies import arrays

Array = NDArray[Any]
Shape = tuple[int, ...]

# ----- geometry -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axis:
    """The windows along one axis of an image."""

    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int

    @property
    def starts(self) -> range:
        """The first place of each window; padding lies before 0 and from `size` on."""
        reach = self.dilation * (self.kernel - 1)
        return range(-self.padding, self.size + self.padding - reach, self.stride)

    @property
    def out(self) -> int:
        """The number of windows."""
        return len(self.starts)

    @property
    def seen(self) -> list[list[int]]:
        """For each window, its taps that see a pixel and not the padding."""
        return [
            [u for u in range(self.kernel) if 0 <= start + u * self.dilation < self.size]
            for start in self.starts
        ]


@dataclass(frozen=True)
class PoolGeometry:
    """Windows on images of shape (batch, channels, *size)."""

    batch: int
    channels: int
    axes: tuple[Axis, ...]

    def lengths(self, name: str) -> Shape:
        """An attribute of the axes, such as their strides."""
        return tuple(getattr(axis, name) for axis in self.axes)

    def attributes(self, *names: str) -> dict[str, Any]:
        """Attributes for an op; `size` is the size of the images."""
        return {name: self.lengths(name) for name in names}

    @property
    def images(self) -> Shape:
        return (self.batch, self.channels, *self.lengths("size"))

    @property
    def windows(self) -> Shape:
        """The shape of what has one number for each window."""
        return (self.batch, self.channels, *self.lengths("out"))


@dataclass(frozen=True)
class ConvGeometry(PoolGeometry):
    """Windows on which kernels (outputs, channels / groups, *kernel) lie."""

    outputs: int
    groups: int

    def attributes(self, *names: str) -> dict[str, Any]:
        shared = super().attributes("stride", "padding", "dilation", *names)
        return {**shared, "groups": self.groups}

    @property
    def weight(self) -> Shape:
        return (self.outputs, self.channels // self.groups, *self.lengths("kernel"))

    @property
    def maps(self) -> Shape:
        """The shape of the images that the convolution makes."""
        return replace(self, channels=self.outputs).windows


NUMBERS = st.integers


@st.composite
def axes(
    draw: Any,
    kernel: Any = NUMBERS(1, 3),
    stride: Any = NUMBERS(1, 4),
    padding: Callable[[int], Any] = lambda kernel: NUMBERS(0, 2),
    dilation: Any = NUMBERS(1, 2),
) -> Axis:
    """An axis with room for one window at least.

    Among them are windows that overlap, that touch and that leave gaps, borders that no window
    reaches, and windows larger than the image. `padding` is a strategy for a given kernel.
    """
    k, s, d = draw(kernel), draw(stride), draw(dilation)
    p = draw(padding(k))
    least = max(1, d * (k - 1) + 1 - 2 * p)
    return Axis(least + draw(NUMBERS(0, 4)), k, s, p, d)


@st.composite
def conv_geometry(draw: Any) -> ConvGeometry:
    """Convolutions: plain, 1x1, dense (stride 1), in groups, depthwise."""
    one, none = st.just(1), st.just(0)
    axis = draw(
        st.sampled_from(
            (
                axes(),
                axes(stride=one),
                axes(kernel=one, stride=one, padding=lambda kernel: none),
            )
        )
    )
    groups, channels, outputs = draw(
        st.one_of(
            st.tuples(one, NUMBERS(1, 3), NUMBERS(1, 3)),
            st.tuples(st.just(2), NUMBERS(1, 2), NUMBERS(1, 2)),
            st.tuples(NUMBERS(2, 3), one, NUMBERS(1, 2)),  # depthwise
        )
    )
    return ConvGeometry(
        batch=draw(NUMBERS(1, 3)),
        channels=groups * channels,
        axes=(draw(axis), draw(axis)),
        outputs=groups * outputs,
        groups=groups,
    )


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
    """The oracle takes the output padding: what `size` exceeds the smallest possible by."""
    smallest = oracles.conv_transpose2d(x[:1], w, **geometry).shape[2:]
    padding = tuple(int(n) for n in np.subtract(size, smallest))
    return shifted(oracles.conv_transpose2d(x, w, output_padding=padding, **geometry), b)


def conv_weight(x: Array, d: Array, kernel: Sequence[int], **geometry: Any) -> Array:
    return oracles.conv2d_weight(x, d, kernel_size=kernel, **geometry)


ROWS = [
    Row(
        "conv2d",
        convolutions(),
        lambda x, w, b, **geometry: shifted(oracles.conv2d(x, w, **geometry), b),
    ),
    Row("conv_transpose2d", transposed(), conv_transpose2d),
    Row("conv_weight", weight_gradients(), conv_weight),
]
