"""Pooling: windows of images (N, *S, C) that lie channels-last, a vector of channels at a time.

What has 1 or 2 spatial axes gets others of length 1 in front. A window i sees along an axis the
places i·s - p + u·d for its taps 0 <= u < k, as far as they lie in the image. Maxima and sums walk
over windows, and look at the taps that are inside. Their adjoints walk over places, and look at the
windows that see them, in the order of the taps: each number is written once, by one thread, and is
the same for any number of them.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from tinygrad_cv.backend.compiled.jit import inner, kernel
from tinygrad_cv.backend.compiled.lanes import (
    at_place,
    better,
    load_places,
    load_up_to,
    rounded,
    splat_place,
    splat_wide,
    store_places,
    store_up_to,
    where_better,
    widened,
)
from tinygrad_cv.backend.compiled.turn import channels_last
from tinygrad_cv.backend.compiled.vectors import LANES, splat
from tinygrad_cv.backend.threads import parallel, split
from tinygrad_cv.backend.windows import channels_first, output_size

Array = Any
Ints = Sequence[int]

PART = 1 << 15
"""How many numbers a part looks at, at least: a hand-over to another thread takes as long."""


@lru_cache(maxsize=256)
def inside(n: int, k: int, s: int, p: int, d: int, out: int) -> Array:
    """For each window along an axis its first tap in the image, and the end of those: (out, 2)."""
    starts = np.arange(out) * s - p
    first = np.clip(-(starts // d), 0, k)
    end = np.clip(-((starts - n) // d), 0, k)
    return np.ascontiguousarray(np.stack((first, np.maximum(first, end)), 1))


@lru_cache(maxsize=256)
def seen_by(n: int, k: int, s: int, p: int, d: int, out: int) -> tuple[Array, Array, Array]:
    """For each place along an axis which taps of which windows see it, in the order of the taps.

    The pairs (tap, window) of place i are starts[i] to starts[i + 1].
    """
    tap, window = np.meshgrid(np.arange(k), np.arange(out), indexing="ij")
    at = (window * s - p + tap * d).ravel()
    order = np.argsort(at, kind="stable")
    order = order[(at[order] >= 0) & (at[order] < n)]
    starts = np.searchsorted(at[order], np.arange(n + 1))
    return starts, tap.ravel()[order], window.ravel()[order]


class _Geometry:
    """Windows along three axes, made of those along one to three."""

    def __init__(self, size: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints):
        self.out = output_size(size, kernel, stride, padding, dilation)
        more = 3 - len(self.out)

        def three(values: Ints, other: int) -> tuple[int, int, int]:
            a, b, c = (other,) * more + tuple(map(int, values))
            return a, b, c

        self.size, self.kernel = three(size, 1), three(kernel, 1)
        self.stride, self.padding = three(stride, 1), three(padding, 0)
        self.dilation, self.windows = three(dilation, 1), three(self.out, 1)
        self.axes = list(
            zip(
                self.size,
                self.kernel,
                self.stride,
                self.padding,
                self.dilation,
                self.windows,
                strict=True,
            )
        )

    @property
    def tiles(self) -> bool:
        """Whether the windows lie side by side from the first place on."""
        ones = all(d == 1 or k == 1 for d, k in zip(self.dilation, self.kernel, strict=True))
        return ones and self.kernel == self.stride and not any(self.padding)

    def uncovered(self, shape: Ints) -> Array:
        """Memory for images (N, *S, C), of zeros if the kernels do not write every place of it."""
        reached = (k * n for k, n in zip(self.kernel, self.windows, strict=True))
        whole = not self.tiles or tuple(reached) == self.size
        return (np.empty if whole else np.zeros)(shape, np.float32)

    @property
    def inside(self) -> tuple[Array, Array, Array]:
        a, b, c = (inside(*axis) for axis in self.axes)
        return a, b, c

    @property
    def seen_by(self) -> tuple[Any, Any, Any]:
        a, b, c = (seen_by(*axis) for axis in self.axes)
        return a, b, c


def _over_rows(work: Callable[[int, int], Any], rows: int, looked_at: int) -> None:
    """`work` on rows of windows or of pixels, over the threads."""
    parts = split(rows, min(16, looked_at // PART))
    parallel(lambda part: work(part.start, part.stop), parts)


@inner
def _lines_of(
    row: int,
    size: Any,
    windows: Any,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    inside: Any,
    lines: Array,
    taps: Array,
) -> int:
    """The lines of the images that a row of windows sees, with their first taps; how many."""
    (D, H, W), (OD, OH, _), (_, KH, KW) = size, windows, kernel
    (sd, sh, _), (pd, ph, _), (dd, dh, _) = stride, padding, dilation
    deep, high, _ = inside
    n, i, j = row // OH // OD, row // OH % OD, row % OH
    count = 0
    for u in range(deep[i, 0], deep[i, 1]):
        for v in range(high[j, 0], high[j, 1]):
            z, h = i * sd - pd + u * dd, j * sh - ph + v * dh
            lines[count], taps[count] = ((n * D + z) * H + h) * W, (u * KH + v) * KW
            count += 1
    return count


# ----- the largest -------------------------------------------------------------------------------


@kernel
def _max_pool(
    x: Array,
    y: Array,
    index: Array,
    channels: int,
    size: Any,
    windows: Any,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    inside: Any,
    start: int,
    stop: int,
) -> None:
    """Rows start to stop of windows: y = max x over the taps, index = the first tap that has it."""
    geometry = size, windows, kernel, stride, padding, dilation
    OW, sw, pw, dw, wide = windows[2], stride[2], padding[2], dilation[2], inside[2]
    lines, taps = (
        np.empty(kernel[0] * kernel[1], np.int64),
        np.empty(kernel[0] * kernel[1], np.int64),
    )
    for row in range(start, stop):
        count = _lines_of(row, *geometry, inside, lines, taps)
        for k in range(OW):
            left, first, end = k * sw - pw, wide[k, 0], wide[k, 1]
            number = taps[0] + first if count > 0 and first < end else 0
            for c in range(0, channels, LANES):
                best, where = splat(np.float32(-np.inf)), splat_place(number)
                for r in range(count):
                    at, tap = (lines[r] + left) * channels + c, taps[r]
                    for w in range(first, end):
                        value = load_up_to(x, at + w * dw * channels, channels - c)
                        where = where_better(value, best, tap + w, where)
                        best = better(value, best)
                place = (row * OW + k) * channels + c
                store_up_to(y, place, best, channels - c)
                store_places(index, place, where, channels - c)


def max_pool(
    x: Array, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints
) -> tuple[Array, Array]:
    """See `Backend.max_pool`."""
    q, channels = _Geometry(x.shape[2:], kernel, stride, padding, dilation), x.shape[1]
    shape = (len(x), *q.out, channels)
    y = np.empty(shape, np.float32)
    index = np.empty(shape, np.min_scalar_type(math.prod(kernel) - 1))
    flat = channels_last(x).reshape(-1), y.reshape(-1), index.reshape(-1)
    steps = q.size, q.windows, q.kernel, q.stride, q.padding, q.dilation, q.inside

    def work(start: int, stop: int) -> None:
        _max_pool(*flat, channels, *steps, start, stop)

    _over_rows(work, len(x) * math.prod(q.windows[:2]), y.size * math.prod(kernel))
    return channels_first(y), channels_first(index)


@kernel
def _window_scatter(
    g: Array,
    index: Array,
    x: Array,
    channels: int,
    size: Any,
    windows: Any,
    kernel: Any,
    seen_by: Any,
    start: int,
    stop: int,
) -> None:
    """Rows start to stop of places: x = Σ g over the windows whose indexed tap is there."""
    (D, H, W), (OD, OH, OW), (_, KH, KW) = size, windows, kernel
    (deep, us, ds), (high, vs, hs), (wide, ws, ks) = seen_by
    zero = splat(np.float32(0))
    lines, taps = np.empty(kernel[0] * KH, np.int64), np.empty(kernel[0] * KH, np.int64)
    for row in range(start, stop):
        n, i, j = row // H // D, row // H % D, row % H
        count = 0
        for a in range(deep[i], deep[i + 1]):
            for b in range(high[j], high[j + 1]):
                lines[count] = ((n * OD + ds[a]) * OH + hs[b]) * OW
                taps[count] = (us[a] * KH + vs[b]) * KW
                count += 1
        for k in range(W):
            first, end = wide[k], wide[k + 1]
            for c in range(0, channels, LANES):
                total = zero
                for r in range(count):
                    for e in range(first, end):
                        at = (lines[r] + ks[e]) * channels + c
                        where = load_places(index, at, channels - c)
                        value = load_up_to(g, at, channels - c)
                        total = total + at_place(value, where, taps[r] + ws[e], zero)
                store_up_to(x, (row * W + k) * channels + c, total, channels - c)


@kernel
def _tile_scatter(
    g: Array,
    index: Array,
    x: Array,
    channels: int,
    size: Any,
    windows: Any,
    kernel: Any,
    start: int,
    stop: int,
) -> None:
    """`_window_scatter` by rows of windows, where each place is in one window at most."""
    (D, H, W), (OD, OH, OW), (KD, KH, KW) = size, windows, kernel
    zero = splat(np.float32(0))
    for row in range(start, stop):
        n, i, j = row // OH // OD, row // OH % OD, row % OH
        for k in range(OW):
            corner = (((n * D + i * KD) * H + j * KH) * W + k * KW) * channels
            for c in range(0, channels, LANES):
                place = (row * OW + k) * channels + c
                where = load_places(index, place, channels - c)
                value = load_up_to(g, place, channels - c)
                for u in range(KD):
                    for v in range(KH):
                        at, tap = corner + (u * H + v) * W * channels + c, (u * KH + v) * KW
                        for w in range(KW):
                            here = at_place(value, where, tap + w, zero)
                            store_up_to(x, at + w * channels, here, channels - c)


def window_scatter(
    g: Array,
    index: Array,
    size: Ints,
    kernel: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
) -> Array:
    """See `Backend.window_scatter`."""
    q, channels = _Geometry(size, kernel, stride, padding, dilation), g.shape[1]
    x = q.uncovered((len(g), *size, channels))
    flat = channels_last(g).reshape(-1), channels_last(index).reshape(-1), x.reshape(-1)
    steps = q.size, q.windows, q.kernel

    def by_windows(start: int, stop: int) -> None:
        _tile_scatter(*flat, channels, *steps, start, stop)

    def by_places(start: int, stop: int) -> None:
        _window_scatter(*flat, channels, *steps, q.seen_by, start, stop)

    work, lines = (by_windows, q.windows) if q.tiles else (by_places, q.size)
    _over_rows(work, len(g) * math.prod(lines[:2]), x.size + g.size * math.prod(kernel))
    return channels_first(x)


@kernel
def _window_gather(
    x: Array,
    index: Array,
    y: Array,
    channels: int,
    size: Any,
    windows: Any,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    inside: Any,
    start: int,
    stop: int,
) -> None:
    """Rows start to stop of windows: y = x at the indexed tap, 0 in the padding."""
    geometry = size, windows, kernel, stride, padding, dilation
    OW, sw, pw, dw, wide = windows[2], stride[2], padding[2], dilation[2], inside[2]
    lines, taps = (
        np.empty(kernel[0] * kernel[1], np.int64),
        np.empty(kernel[0] * kernel[1], np.int64),
    )
    for row in range(start, stop):
        count = _lines_of(row, *geometry, inside, lines, taps)
        for k in range(OW):
            left, first, end = k * sw - pw, wide[k, 0], wide[k, 1]
            for c in range(0, channels, LANES):
                place = (row * OW + k) * channels + c
                where, found = load_places(index, place, channels - c), splat(np.float32(0))
                for r in range(count):
                    at, tap = (lines[r] + left) * channels + c, taps[r]
                    for w in range(first, end):
                        value = load_up_to(x, at + w * dw * channels, channels - c)
                        found = at_place(value, where, tap + w, found)
                store_up_to(y, place, found, channels - c)


def window_gather(
    x: Array, index: Array, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints
) -> Array:
    """See `Backend.window_gather`."""
    q, channels = _Geometry(x.shape[2:], kernel, stride, padding, dilation), x.shape[1]
    y = np.empty((len(x), *q.out, channels), np.float32)
    flat = channels_last(x).reshape(-1), channels_last(index).reshape(-1), y.reshape(-1)
    steps = q.size, q.windows, q.kernel, q.stride, q.padding, q.dilation, q.inside

    def work(start: int, stop: int) -> None:
        _window_gather(*flat, channels, *steps, start, stop)

    _over_rows(work, len(x) * math.prod(q.windows[:2]), y.size * math.prod(kernel))
    return channels_first(y)


# ----- the sum -----------------------------------------------------------------------------------


@kernel
def _window_sum(
    x: Array,
    y: Array,
    channels: int,
    size: Any,
    windows: Any,
    kernel: Any,
    stride: Any,
    padding: Any,
    inside: Any,
    share: float,
    start: int,
    stop: int,
) -> None:
    """Rows start to stop of windows: y = share · Σ x over the taps, in float64."""
    geometry = size, windows, kernel, stride, padding, (1, 1, 1)
    OW, sw, pw, wide = windows[2], stride[2], padding[2], inside[2]
    lines, taps = (
        np.empty(kernel[0] * kernel[1], np.int64),
        np.empty(kernel[0] * kernel[1], np.int64),
    )
    for row in range(start, stop):
        count = _lines_of(row, *geometry, inside, lines, taps)
        for k in range(OW):
            left, first, end = k * sw - pw, wide[k, 0], wide[k, 1]
            for c in range(0, channels, LANES):
                total = splat_wide(0.0)
                for r in range(count):
                    for w in range(first, end):
                        at = (lines[r] + left + w) * channels + c
                        total = total + widened(load_up_to(x, at, channels - c))
                mean = rounded(total * splat_wide(share))
                store_up_to(y, (row * OW + k) * channels + c, mean, channels - c)


def window_sum(x: Array, kernel: Ints, stride: Ints, padding: Ints, divisor: int) -> Array:
    """See `Backend.window_sum`."""
    q = _Geometry(x.shape[2:], kernel, stride, padding, (1,) * len(kernel))
    y = np.empty((len(x), *q.out, x.shape[1]), np.float32)
    flat, channels = (channels_last(x).reshape(-1), y.reshape(-1)), x.shape[1]
    steps = q.size, q.windows, q.kernel, q.stride, q.padding, q.inside, 1 / divisor

    def work(start: int, stop: int) -> None:
        _window_sum(*flat, channels, *steps, start, stop)

    _over_rows(work, len(x) * math.prod(q.windows[:2]), y.size * math.prod(kernel))
    return channels_first(y)


@kernel
def _window_spread(
    g: Array,
    x: Array,
    channels: int,
    size: Any,
    windows: Any,
    kernel: Any,
    seen_by: Any,
    share: float,
    start: int,
    stop: int,
) -> None:
    """Rows start to stop of places: x = share · Σ g over the windows that see them, in float64."""
    (D, H, W), (OD, OH, OW) = size, windows
    (deep, _, ds), (high, _, hs), (wide, _, ks) = seen_by
    lines = np.empty(kernel[0] * kernel[1], np.int64)
    for row in range(start, stop):
        n, i, j = row // H // D, row // H % D, row % H
        count = 0
        for a in range(deep[i], deep[i + 1]):
            for b in range(high[j], high[j + 1]):
                lines[count] = ((n * OD + ds[a]) * OH + hs[b]) * OW
                count += 1
        for k in range(W):
            first, end = wide[k], wide[k + 1]
            for c in range(0, channels, LANES):
                total = splat_wide(0.0)
                for r in range(count):
                    for e in range(first, end):
                        at = (lines[r] + ks[e]) * channels + c
                        total = total + widened(load_up_to(g, at, channels - c))
                spread = rounded(total * splat_wide(share))
                store_up_to(x, (row * W + k) * channels + c, spread, channels - c)


@kernel
def _tile_spread(
    g: Array,
    x: Array,
    channels: int,
    size: Any,
    windows: Any,
    kernel: Any,
    share: float,
    start: int,
    stop: int,
) -> None:
    """`_window_spread` by rows of windows, where each place is in one window at most."""
    (D, H, W), (OD, OH, OW), (KD, KH, KW) = size, windows, kernel
    for row in range(start, stop):
        n, i, j = row // OH // OD, row // OH % OD, row % OH
        for k in range(OW):
            corner = (((n * D + i * KD) * H + j * KH) * W + k * KW) * channels
            for c in range(0, channels, LANES):
                value = widened(load_up_to(g, (row * OW + k) * channels + c, channels - c))
                part = rounded(value * splat_wide(share))
                for u in range(KD):
                    for v in range(KH):
                        at = corner + (u * H + v) * W * channels + c
                        for w in range(KW):
                            store_up_to(x, at + w * channels, part, channels - c)


def window_spread(
    g: Array, size: Ints, kernel: Ints, stride: Ints, padding: Ints, divisor: int
) -> Array:
    """See `Backend.window_spread`."""
    q = _Geometry(size, kernel, stride, padding, (1,) * len(kernel))
    channels, share = g.shape[1], 1 / divisor
    x = q.uncovered((len(g), *size, channels))
    flat, steps = (channels_last(g).reshape(-1), x.reshape(-1)), (q.size, q.windows, q.kernel)

    def by_windows(start: int, stop: int) -> None:
        _tile_spread(*flat, channels, *steps, share, start, stop)

    def by_places(start: int, stop: int) -> None:
        _window_spread(*flat, channels, *steps, q.seen_by, share, start, stop)

    work, lines = (by_windows, q.windows) if q.tiles else (by_places, q.size)
    _over_rows(work, len(g) * math.prod(lines[:2]), x.size + g.size * math.prod(kernel))
    return channels_first(x)
