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

from tinygrad_cv.backend.compiled.jit import kernel
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
from tinygrad_cv.backend.compiled.vectors import LANES, splat
from tinygrad_cv.backend.threads import parallel, split
from tinygrad_cv.backend.windows import channels_first, channels_last, output_size

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
    (D, H, W), (_, OH, OW), (_, KH, KW) = size, windows, kernel
    (sd, sh, sw), (pd, ph, pw), (dd, dh, dw) = stride, padding, dilation
    deep, high, wide = inside
    for row in range(start, stop):
        i, j = row // OH % windows[0], row % OH
        n = row // OH // windows[0]
        a0, a1, b0, b1 = deep[i, 0], deep[i, 1], high[j, 0], high[j, 1]
        for k in range(OW):
            c0, c1 = wide[k, 0], wide[k, 1]
            corner = ((n * D + i * sd - pd) * H + j * sh - ph) * W + k * sw - pw
            number = (a0 * KH + b0) * KW + c0
            if a0 == a1 or b0 == b1 or c0 == c1:
                number = 0  # a window in the padding
            for c in range(0, channels, LANES):
                best, where = splat(np.float32(-np.inf)), splat_place(number)
                for u in range(a0, a1):
                    for v in range(b0, b1):
                        at = corner + (u * dd * H + v * dh) * W
                        for w in range(c0, c1):
                            value = load_up_to(x, (at + w * dw) * channels + c, channels - c)
                            where = where_better(value, best, (u * KH + v) * KW + w, where)
                            best = better(value, best)
                place = (row * OW + k) * channels + c
                store_up_to(y, place, best, channels - c)
                store_places(index, place, where, channels - c)


def max_pool(
    x: Array, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints
) -> tuple[Array, Array]:
    """See `Backend.max_pool`."""
    rows = channels_last(x)
    geometry = _Geometry(x.shape[2:], kernel, stride, padding, dilation)
    shape = (len(x), *geometry.out, x.shape[1])
    y = np.empty(shape, np.float32)
    index = np.empty(shape, np.min_scalar_type(math.prod(kernel) - 1))
    flat = rows.reshape(-1), y.reshape(-1), index.reshape(-1)
    g, channels = geometry, x.shape[1]
    steps = g.size, g.windows, g.kernel, g.stride, g.padding, g.dilation, g.inside

    def work(start: int, stop: int) -> None:
        _max_pool(*flat, channels, *steps, start, stop)

    _over_rows(work, len(x) * math.prod(g.windows[:2]), y.size * math.prod(kernel))
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
    for row in range(start, stop):
        i, j, n = row // H % D, row % H, row // H // D
        for k in range(W):
            for c in range(0, channels, LANES):
                total = zero
                for a in range(deep[i], deep[i + 1]):
                    for b in range(high[j], high[j + 1]):
                        number = (us[a] * KH + vs[b]) * KW
                        line = ((n * OD + ds[a]) * OH + hs[b]) * OW
                        for e in range(wide[k], wide[k + 1]):
                            place = (line + ks[e]) * channels + c
                            where = load_places(index, place, channels - c)
                            value = load_up_to(g, place, channels - c)
                            total = total + at_place(value, where, number + ws[e], zero)
                store_up_to(x, (row * W + k) * channels + c, total, channels - c)


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
    geometry = _Geometry(size, kernel, stride, padding, dilation)
    x = np.empty((len(g), *size, g.shape[1]), np.float32)
    flat = channels_last(g).reshape(-1), channels_last(index).reshape(-1), x.reshape(-1)
    q, channels = geometry, g.shape[1]
    steps = q.size, q.windows, q.kernel, q.seen_by

    def work(start: int, stop: int) -> None:
        _window_scatter(*flat, channels, *steps, start, stop)

    _over_rows(work, len(g) * math.prod(q.size[:2]), x.size + g.size * math.prod(kernel))
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
    (D, H, W), (_, OH, OW), (_, KH, KW) = size, windows, kernel
    (sd, sh, sw), (pd, ph, pw), (dd, dh, dw) = stride, padding, dilation
    deep, high, wide = inside
    for row in range(start, stop):
        i, j = row // OH % windows[0], row % OH
        n = row // OH // windows[0]
        for k in range(OW):
            corner = ((n * D + i * sd - pd) * H + j * sh - ph) * W + k * sw - pw
            for c in range(0, channels, LANES):
                place = (row * OW + k) * channels + c
                where, found = load_places(index, place, channels - c), splat(np.float32(0))
                for u in range(deep[i, 0], deep[i, 1]):
                    for v in range(high[j, 0], high[j, 1]):
                        at = corner + (u * dd * H + v * dh) * W
                        for w in range(wide[k, 0], wide[k, 1]):
                            value = load_up_to(x, (at + w * dw) * channels + c, channels - c)
                            found = at_place(value, where, (u * KH + v) * KW + w, found)
                store_up_to(y, place, found, channels - c)


def window_gather(
    x: Array, index: Array, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints
) -> Array:
    """See `Backend.window_gather`."""
    geometry = _Geometry(x.shape[2:], kernel, stride, padding, dilation)
    y = np.empty((len(x), *geometry.out, x.shape[1]), np.float32)
    flat = channels_last(x).reshape(-1), channels_last(index).reshape(-1), y.reshape(-1)
    q, channels = geometry, x.shape[1]
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
    stride: Any,
    padding: Any,
    inside: Any,
    share: float,
    start: int,
    stop: int,
) -> None:
    """Rows start to stop of windows: y = share · Σ x over the taps, in float64."""
    (D, H, W), (_, OH, OW) = size, windows
    (sd, sh, sw), (pd, ph, pw) = stride, padding
    deep, high, wide = inside
    for row in range(start, stop):
        i, j = row // OH % windows[0], row % OH
        n = row // OH // windows[0]
        for k in range(OW):
            corner = ((n * D + i * sd - pd) * H + j * sh - ph) * W + k * sw - pw
            for c in range(0, channels, LANES):
                total = splat_wide(0.0)
                for u in range(deep[i, 0], deep[i, 1]):
                    for v in range(high[j, 0], high[j, 1]):
                        at = corner + (u * H + v) * W
                        for w in range(wide[k, 0], wide[k, 1]):
                            value = load_up_to(x, (at + w) * channels + c, channels - c)
                            total = total + widened(value)
                mean = rounded(total * splat_wide(share))
                store_up_to(y, (row * OW + k) * channels + c, mean, channels - c)


def window_sum(x: Array, kernel: Ints, stride: Ints, padding: Ints, divisor: int) -> Array:
    """See `Backend.window_sum`."""
    q = _Geometry(x.shape[2:], kernel, stride, padding, (1,) * len(kernel))
    y = np.empty((len(x), *q.out, x.shape[1]), np.float32)
    flat, channels = (channels_last(x).reshape(-1), y.reshape(-1)), x.shape[1]
    steps = q.size, q.windows, q.stride, q.padding, q.inside, 1 / divisor

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
    seen_by: Any,
    share: float,
    start: int,
    stop: int,
) -> None:
    """Rows start to stop of places: x = share · Σ g over the windows that see them, in float64."""
    (D, H, W), (OD, OH, OW) = size, windows
    (deep, _, ds), (high, _, hs), (wide, _, ks) = seen_by
    for row in range(start, stop):
        i, j, n = row // H % D, row % H, row // H // D
        for k in range(W):
            for c in range(0, channels, LANES):
                total = splat_wide(0.0)
                for a in range(deep[i], deep[i + 1]):
                    for b in range(high[j], high[j + 1]):
                        line = ((n * OD + ds[a]) * OH + hs[b]) * OW
                        for e in range(wide[k], wide[k + 1]):
                            value = load_up_to(g, (line + ks[e]) * channels + c, channels - c)
                            total = total + widened(value)
                spread = rounded(total * splat_wide(share))
                store_up_to(x, (row * W + k) * channels + c, spread, channels - c)


def window_spread(
    g: Array, size: Ints, kernel: Ints, stride: Ints, padding: Ints, divisor: int
) -> Array:
    """See `Backend.window_spread`."""
    q = _Geometry(size, kernel, stride, padding, (1,) * len(kernel))
    x = np.empty((len(g), *size, g.shape[1]), np.float32)
    flat, channels = (channels_last(g).reshape(-1), x.reshape(-1)), g.shape[1]
    steps = q.size, q.windows, q.seen_by, 1 / divisor

    def work(start: int, stop: int) -> None:
        _window_spread(*flat, channels, *steps, start, stop)

    _over_rows(work, len(g) * math.prod(q.size[:2]), x.size + g.size * math.prod(kernel))
    return channels_first(x)
