"""Rows of the convolutions, and the geometry of windows on images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st
from numpy.typing import NDArray

import oracles
from rows.row import Case, Row
from tinygrad_cv.testing.strategies import arrays

Array = NDArray[Any]
Shape = tuple[int, ...]
Range = tuple[int, int]

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
class Geometry:
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
class ConvGeometry(Geometry):
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


@st.composite
def axes(
    draw: Any,
    kernel: Range = (1, 3),
    stride: Range = (1, 4),
    dilation: Range = (1, 2),
    most_padding: Callable[[int], int] = lambda kernel: 2,
) -> Axis:
    """An axis with room for at least one window; `most_padding` depends on the kernel.

    Among them are windows that overlap, that touch and that leave gaps, borders that no window
    reaches, and windows larger than the image.
    """
    k, s, d = (draw(st.integers(*numbers)) for numbers in (kernel, stride, dilation))
    p = draw(st.integers(0, most_padding(k)))
    least = max(1, d * (k - 1) + 1 - 2 * p)
    return Axis(least + draw(st.integers(0, 4)), k, s, p, d)


BATCHES = st.sampled_from((1, 2, 3, 0))
ANY = axes()
DENSE = axes(stride=(1, 1))
POINTWISE = axes(kernel=(1, 1), stride=(1, 1), most_padding=lambda kernel: 0)


@st.composite
def conv_geometry(draw: Any) -> ConvGeometry:
    """Convolutions of all kinds; dense, 1x1, grouped and depthwise ones are common."""
    axis = draw(st.sampled_from((ANY, DENSE, POINTWISE)))
    one, two, three = st.just(1), st.integers(1, 2), st.integers(1, 3)
    groups, channels, outputs = draw(
        st.one_of(
            st.tuples(one, three, three),
            st.tuples(st.just(2), two, two),
            st.tuples(st.integers(2, 3), one, two),  # depthwise
        )
    )
    return ConvGeometry(
        batch=draw(BATCHES),
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
