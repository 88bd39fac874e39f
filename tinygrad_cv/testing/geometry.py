"""Windows on images, drawn at random: sizes, kernels, strides, paddings and groups that fit."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

Shape = tuple[int, ...]
Range = tuple[int, int]


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
    room: int = 4,
) -> Axis:
    """An axis with room for at least one window; `most_padding` depends on the kernel.

    `room` is by how much it may be longer than that takes.

    Among them are windows that overlap, that touch and that leave gaps, borders that no window
    reaches, and windows larger than the image.
    """
    k, s, d = (draw(st.integers(*numbers)) for numbers in (kernel, stride, dilation))
    p = draw(st.integers(0, most_padding(k)))
    least = max(1, d * (k - 1) + 1 - 2 * p)
    return Axis(least + draw(st.integers(0, room)), k, s, p, d)


BATCHES = st.sampled_from((1, 2, 3, 0))
ROOM = {1: 4, 2: 4, 3: 1}
"""What axes have to spare, by the number of spatial axes: volumes grow fast."""


@st.composite
def conv_geometry(draw: Any, spatial: int = 2) -> ConvGeometry:
    """Convolutions of all kinds; dense, 1x1, grouped and depthwise ones are common.

    `spatial` is the number of spatial axes.
    """
    room = ROOM[spatial]
    dense = axes(stride=(1, 1), room=room)
    pointwise = axes(kernel=(1, 1), stride=(1, 1), most_padding=lambda kernel: 0, room=room)
    axis = draw(st.sampled_from((axes(room=room), dense, pointwise)))
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
        axes=tuple(draw(axis) for _ in range(spatial)),
        outputs=groups * outputs,
        groups=groups,
    )


@st.composite
def tiles(draw: Any) -> Axis:
    """An axis cut into windows without gaps, overlaps or leftover."""
    kernel, out = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    padding = draw(st.integers(0, (kernel if out > 1 else kernel - 1) // 2))
    return Axis(kernel * out - 2 * padding, kernel, kernel, padding, 1)


def anywhere(most_dilation: int, room: int) -> Any:
    """Axes of any kind on which every window sees a pixel."""
    padded = axes(dilation=(1, most_dilation), most_padding=lambda kernel: kernel // 2, room=room)
    return padded.filter(lambda axis: all(axis.seen))


@st.composite
def pool_geometry(draw: Any, most_dilation: int = 2, spatial: int = 2) -> Geometry:
    """Windows that all see a pixel: overlapping, apart, with a border left over, or tiles.

    `spatial` is the number of spatial axes.
    """
    axis = draw(st.sampled_from((tiles(), anywhere(most_dilation, ROOM[spatial]))))
    return Geometry(
        batch=draw(BATCHES),
        channels=draw(st.integers(1, 3)),
        axes=tuple(draw(axis) for _ in range(spatial)),
    )
