"""Operators whose windows move over spatial axes: convolutions and pools."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import tinygrad_cv as tg
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.onnx.operators import Ints, Pads, count, numbers, operator, padded, room, smallest


@dataclass(frozen=True)
class Windows:
    """How windows move over the spatial axes."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: Pads

    @property
    def padding(self) -> list[int] | None:
        """The padding of both sides, where it is the same."""
        if any(before != after or before < 0 for before, after in self.pads):
            return None
        return [before for before, _ in self.pads]

    @property
    def pools(self) -> bool:
        """Whether the pooling functions take the padding: at most half of the kernel."""
        sides = self.padding
        return sides is not None and all(
            2 * p <= k for p, k in zip(sides, self.kernel, strict=True)
        )

    def places(self, size: Sequence[int]) -> list[int]:
        """How many windows there are along axes of lengths `size`."""
        return [
            (n + sum(sides) - d * (k - 1) - 1) // s + 1
            for n, sides, k, s, d in zip(
                size, self.pads, self.kernel, self.strides, self.dilations, strict=True
            )
        ]

    def missing(self, size: Sequence[int]) -> Pads:
        """What is missing after each axis for the last window, where lengths are rounded up.

        A window that would begin in the padding after the input is left out.
        """
        missing = []
        for i, (n, (before, after)) in enumerate(zip(size, self.pads, strict=True)):
            stride, span = self.strides[i], self.dilations[i] * (self.kernel[i] - 1) + 1
            last = math.ceil((n + before + after - span) / stride)
            if last * stride >= n + before:
                last -= 1
            missing.append((0, max(0, last * stride + span - n - before - after)))
        return missing

    def function(self, name: str) -> Callable[..., Any]:
        """The function for so many axes, such as conv2d."""
        n = len(self.kernel)
        if n not in (1, 2, 3):
            raise NotImplementedError(f"windows over {n} axes cannot be imported; 1, 2 or 3 can.")
        found: Callable[..., Any] = getattr(tg, f"{name}{n}d")
        return found


@dataclass(frozen=True)
class Geometry:
    """The attributes that say how windows move; a handler that asks for `geometry` gets them."""

    auto_pad: str = "NOTSET"
    dilations: Sequence[int] = ()
    kernel_shape: Sequence[int] = ()
    pads: Sequence[int] = ()
    strides: Sequence[int] = ()

    def over(self, shape: Sequence[int], kernel: Sequence[int]) -> Windows:
        """The windows over the spatial axes of images (N, C, ...) of this shape."""
        n, size = len(kernel), shape[2:]
        strides, dilations = list(self.strides or [1] * n), list(self.dilations or [1] * n)
        if min(*kernel, *strides, *dilations, 1) < 1:
            raise ValueError(
                f"windows of the lengths {tuple(kernel)}, with the strides {tuple(strides)} and "
                f"the dilations {tuple(dilations)}: each is at least 1."
            )
        pairs = [(0, 0)] * n
        if self.auto_pad in SAME:
            for i, (length, k, s, d) in enumerate(
                zip(size, kernel, strides, dilations, strict=True)
            ):
                span = (math.ceil(length / s) - 1) * s + d * (k - 1) + 1
                pairs[i] = self.shared(max(span - length, 0))
        elif self.auto_pad == "NOTSET" and self.pads:
            pairs = list(zip(self.pads[:n], self.pads[n:], strict=True))
        room(kernel)
        room((*shape[:2], *(n + sum(pair) for n, pair in zip(size, pairs, strict=True))))
        return Windows(list(kernel), strides, dilations, pairs)

    def shared(self, total: int) -> tuple[int, int]:
        """The two sides' shares in the padding: the upper or the lower one gets the odd one."""
        small, large = total // 2, total - total // 2
        return (small, large) if self.auto_pad == "SAME_UPPER" else (large, small)


SAME = ("SAME_UPPER", "SAME_LOWER")


@operator("Conv")
def _conv(
    x: Tensor, w: Tensor, b: Tensor | None = None, *, group: int = 1, geometry: Geometry
) -> Tensor:
    windows = geometry.over(x.shape, w.shape[2:])
    room((x.shape[0], w.shape[0], *windows.places(x.shape[2:])))
    if windows.padding is None:
        x = padded(x, windows.pads)
    conv = windows.function("conv")
    y: Tensor = conv(x, w, b, windows.strides, windows.padding or 0, windows.dilations, group)
    return y


@operator("ConvTranspose")
def _conv_transpose(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    group: int = 1,
    output_padding: Ints = None,
    output_shape: Ints = None,
    geometry: Geometry,
) -> Tensor:
    windows = geometry.over(x.shape, w.shape[2:])
    n = len(windows.kernel)
    extra = list(output_padding or [0] * n)
    if output_shape or geometry.auto_pad in SAME:
        lengths = output_shape or [a * b for a, b in zip(x.shape[2:], windows.strides, strict=True)]
        for i, length in enumerate(lengths[-n:]):
            span = windows.dilations[i] * (windows.kernel[i] - 1) + 1
            total = windows.strides[i] * (x.shape[2 + i] - 1) + extra[i] + span - length
            extra[i] += max(0, -total)
            windows.pads[i] = geometry.shared(max(0, total))
    reached = [
        (n - 1) * s + d * (k - 1) + 1 + more
        for n, s, d, k, more in zip(
            x.shape[2:], windows.strides, windows.dilations, windows.kernel, extra, strict=True
        )
    ]
    room((x.shape[0], w.shape[1] * group, *reached))
    transposed = windows.function("conv_transpose")
    padding = windows.padding or 0
    y: Tensor = transposed(x, w, b, windows.strides, padding, extra, group, windows.dilations)
    if windows.padding is None:
        y = padded(y, [(-before, -after) for before, after in windows.pads])
    return y


@operator("MaxPool")
def _max_pool(
    x: Tensor, *, ceil_mode: int = 0, storage_order: int = 0, geometry: Geometry, outputs: int
) -> Any:
    windows = geometry.over(x.shape, geometry.kernel_shape)
    moves = {"stride": windows.strides, "dilation": windows.dilations}
    pool = partial(windows.function("max_pool"), kernel_size=windows.kernel, **moves)
    if windows.pools:
        pool = partial(pool, padding=windows.padding, ceil_mode=bool(ceil_mode))
        if outputs == 1:
            return pool(x)
        y, places = pool(x, return_indices=True)
        if storage_order:
            places = _column_major(places, x.shape[2:])
        # The standard counts through the whole tensor, not anew in each channel of each image.
        planes = count(math.prod(x.shape[:2]), x).reshape(*x.shape[:2], *[1] * (x.ndim - 2))
        return y, places + planes * math.prod(x.shape[2:])
    if outputs > 1:
        raise NotImplementedError(
            "MaxPool with indices needs the same padding on both sides, at most half of the kernel."
        )
    lowest = smallest(x.dtype)
    missing = windows.missing(x.shape[2:]) if ceil_mode else []
    return pool(padded(padded(x, windows.pads, lowest), missing, lowest))


def _column_major(places: Tensor, shape: Sequence[int]) -> Tensor:
    """Places counted with the first axis fastest, from places counted with the last one fastest."""
    found = tg.zeros_like(places)
    for i, n in reversed(list(enumerate(shape))):
        along = tg.remainder(places, n)
        found = found + along * math.prod(shape[:i])
        places = tg.floor_divide(places, n)
    return found


@operator("MaxUnpool")
def _max_unpool(
    x: Tensor, indices: Tensor, output_shape: Any = None, *, geometry: Geometry
) -> Tensor:
    windows = geometry.over(x.shape, geometry.kernel_shape)
    size = [
        (n - 1) * s - sum(sides) + k
        for n, s, k, sides in zip(
            x.shape[2:], windows.strides, windows.kernel, windows.pads, strict=True
        )
    ]
    room((*x.shape[:2], *size))
    places = tg.remainder(indices, math.prod(size))
    unpool = windows.function("max_unpool")
    y: Tensor = unpool(x, places, windows.kernel, windows.strides, output_size=size)
    wanted = numbers(output_shape)[2:] or size
    return padded(y, [(0, n - m) for n, m in zip(wanted, size, strict=True)])


def _window_sum(x: Tensor, windows: Windows) -> Tensor:
    """The sum over each window of an input that is padded already: a convolution with ones."""
    channels = x.reshape(-1, 1, *x.shape[2:])
    ones = tg.ones(1, 1, *windows.kernel, dtype=x.dtype, device=x.device)
    conv = windows.function("conv")
    total: Tensor = conv(channels, ones, None, windows.strides, 0, windows.dilations)
    return total.reshape(*x.shape[:2], *total.shape[2:])


@operator("AveragePool")
def _average_pool(
    x: Tensor, *, ceil_mode: int = 0, count_include_pad: int = 0, geometry: Geometry
) -> Tensor:
    windows = geometry.over(x.shape, geometry.kernel_shape)
    if windows.pools and set(windows.dilations) == {1}:
        pool = windows.function("avg_pool")
        options = {"ceil_mode": bool(ceil_mode), "count_include_pad": bool(count_include_pad)}
        y: Tensor = pool(x, windows.kernel, windows.strides, windows.padding, **options)
        return y
    missing = windows.missing(x.shape[2:]) if ceil_mode else []
    counted = padded(tg.ones_like(x[:1, :1]), windows.pads, float(count_include_pad))
    total = _window_sum(padded(padded(x, windows.pads), missing), windows)
    return total / _window_sum(padded(counted, missing), windows)


@operator("LpPool")
def _lp_pool(x: Tensor, *, p: int = 2, ceil_mode: int = 0, geometry: Geometry) -> Tensor:
    windows = geometry.over(x.shape, geometry.kernel_shape)
    missing = windows.missing(x.shape[2:]) if ceil_mode else []
    x = padded(padded(x, windows.pads), missing)
    if set(windows.dilations) == {1}:
        pool = windows.function("lp_pool")
        # ONNX has |x| for every p, and lp_pool the sum of x for p = 1.
        y: Tensor = pool(tg.abs(x) if p == 1 else x, p, windows.kernel, windows.strides)
        return y
    return _window_sum(tg.abs(x) ** p, windows) ** (1 / p)


@operator("GlobalAveragePool")
def _global_average_pool(x: Tensor) -> Tensor:
    return tg.mean(x, tuple(range(2, x.ndim)), True)


@operator("GlobalMaxPool")
def _global_max_pool(x: Tensor) -> Tensor:
    return tg.amax(x, tuple(range(2, x.ndim)), True)


@operator("GlobalLpPool")
def _global_lp_pool(x: Tensor, *, p: int = 2) -> Tensor:
    return tg.norm(x, p, tuple(range(2, x.ndim)), True)


@operator("Col2Im")
def _col2im(x: Tensor, image_shape: Any, block_shape: Any, *, geometry: Geometry) -> Tensor:
    size, block = numbers(image_shape), numbers(block_shape)
    area = math.prod(block)
    windows = geometry.over((x.shape[0], x.shape[1] // max(area, 1), *size), block)
    places = windows.places(size)
    room((area, area))
    # Each number of a block is a channel, whose kernel puts it into its place.
    kernels = tg.eye(area, dtype=x.dtype, device=x.device).reshape(area, 1, *block)
    channels = x.shape[1] // max(area, 1)
    columns = x.reshape(x.shape[0] * channels, area, *places)
    spread = windows.function("conv_transpose")
    y: Tensor = spread(columns, kernels, stride=windows.strides, dilation=windows.dilations)
    around = [
        (-before, before + n - m)
        for n, m, (before, _) in zip(size, y.shape[2:], windows.pads, strict=True)
    ]
    return padded(y, around).reshape(x.shape[0], channels, *size)
