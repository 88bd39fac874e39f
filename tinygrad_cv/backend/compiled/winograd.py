"""Winograd's convolution: 3x3, stride 1, in tiles of m x m results, with t = m + 2 (see linear.py).

    Y = Aᵀ [Σ_c (G W Gᵀ) ⊙ (Bᵀ X B)] A

For each ξ of the t² entries, the sum over the channels c is a product of matrices, (tiles, C) by
(C, O): t²/m² multiplications for each result instead of 9, that is 2.25 with m = 4 and 4 with
m = 2. The adjoints have the same form:

    in X    the convolution with the kernel turned around, its channels exchanged
    in W    Gᵀ [Σ_tiles (Bᵀ X B) ⊙ (A dY Aᵀ)] G

Images are (N, H, W, C) in memory, and tiles are numbered through all of them. Between the
transforms lie, with channels filled up to vectors of LANES,

    V (ξ, tiles, C)  of X       U (ξ, O / 2 LANES, C, 2 LANES)  of W       M (ξ, tiles, O)  of Y

and GAP numbers between one ξ and the next: powers of 2 would share their places in the cache.
Either a group of tiles goes through all three steps with all of U (`tiles`, and `weight_sums`), or,
where images are small and weights large, all of V is made first, and then a few output channels go
through the other steps with their part of U, which so never leaves the cache (`columns`,
`weight_block`).
"""

# ruff: noqa: E741  O counts the channels out, as C those in

import math
from collections.abc import Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygrad_cv.backend.compiled.jit import inner, kernel
from tinygrad_cv.backend.compiled.linear import matrices, sandwich
from tinygrad_cv.backend.compiled.turn import channels_last
from tinygrad_cv.backend.compiled.vectors import (
    LANES,
    ROWS,
    load,
    load_first,
    splat,
    store,
    store_first,
    tile,
    total,
)
from tinygrad_cv.backend.switch import KERNELS
from tinygrad_cv.backend.threads import by_products, parallel
from tinygrad_cv.backend.windows import WEIGHT_PARTS, channels_first

Array = Any
Ints = Sequence[int]

GAP = 16
WIDE = 2 * LANES
HALF = ROWS // 2
RUN = 16
"""Tiles of a weight gradient that are summed at a time. A single sum over 256 of them has twice the
error, and five times PyTorch's; this one has up to 2.7 of it."""
BLOCK = 48
"""Input channels of a block of a weight gradient: a multiple of ROWS on every CPU."""

full_wide, half_wide = tile(ROWS, 2), tile(HALF, 2)
full_narrow, half_narrow = tile(ROWS, 1), tile(HALF, 1)


def _filled(channels: int, to: int = LANES) -> int:
    return (channels + to - 1) // to * to


def _row(channels: int) -> int:
    """From a tile of V to the next: no power of 2 either, for many are read at a time."""
    lanes = (channels + LANES - 1) // LANES * LANES
    return lanes + LANES if lanes % 256 == 0 else lanes


filled, row = inner(_filled), inner(_row)


@inner
def multiply(
    V: Array, vs: int, Cv: int, U: Array, us: int, C: int, M: Array, ms: int, width: int,
    points: int, rows: int,
) -> None:  # fmt: skip
    """M[ξ] = V[ξ] U[ξ] for each ξ. Rows are rounded up to HALF a tile; there is memory for them."""
    for k in range(points):
        for o in range(0, width, WIDE):
            u = k * us + o * C
            a = 0
            while a < rows:
                v, y = k * vs + a * Cv, k * ms + a * width + o
                if o + WIDE <= width:
                    if rows - a > HALF:
                        full_wide(V, v, Cv, 1, 0, U, u, WIDE, 0, M, y, width, C, 1, 0)
                        a += ROWS
                    else:
                        half_wide(V, v, Cv, 1, 0, U, u, WIDE, 0, M, y, width, C, 1, 0)
                        a += HALF
                elif rows - a > HALF:
                    full_narrow(V, v, Cv, 1, 0, U, u, LANES, 0, M, y, width, C, 1, 0)
                    a += ROWS
                else:
                    half_narrow(V, v, Cv, 1, 0, U, u, LANES, 0, M, y, width, C, 1, 0)
                    a += HALF


@inner
def multiply_tiles(
    V: Array, v: int, vs: int, Cv: int, M: Array, m: int, ms: int, Ov: int, D: Array, ds: int,
    rows: int, width: int, points: int, count: int, add: int,
) -> None:  # fmt: skip
    """D[ξ] (+)= V[ξ]ᵀ M[ξ] for each ξ, of `count` tiles; D is (ξ, rows, width).

    The sums are of RUN tiles each, and then of those.
    """
    for k in range(points):
        for o in range(0, width, WIDE):
            for c in range(0, rows, ROWS):
                d = k * ds + c * width + o
                for q in range(0, count, RUN):
                    a, b = v + k * vs + q * Cv + c, m + k * ms + q * Ov + o
                    n, more = min(RUN, count - q), 1 if q > 0 else add
                    if o + WIDE <= width:
                        full_wide(V, a, 1, Cv, 0, M, b, Ov, 0, D, d, width, n, 1, more)
                    else:
                        full_narrow(V, a, 1, Cv, 0, M, b, Ov, 0, D, d, width, n, 1, more)


@cache
def kernels(m: int) -> SimpleNamespace:
    """The kernels of tiles of m x m results.

    Their arguments: x and y are (N, H, W, channels) with `shape` = (H, W, channels); `grid` is the
    number of tiles below and beside each other in an image; first to last are tiles.
    """
    t = m + 2
    points = t * t
    Bt, G, At = matrices(m)

    def filler(size: int, transform: Any) -> Any:
        @inner
        def fill(
            x: Array, shape: Ints, padding: Ints, grid: Ints, first: int, last: int,
            V: Array, v: int, vs: int,
        ) -> None:  # fmt: skip
            """V[ξ, tile] = the transform of the window of each tile, with zeros around the image"""
            H, W, C = shape
            Cv = row(C)
            patch = np.empty(size * size * LANES, np.float32)
            zero = splat(np.float32(0))
            for q in range(first, last):
                n, r, s = q // (grid[0] * grid[1]), q // grid[1] % grid[0], q % grid[1]
                h, w = r * m - padding[0], s * m - padding[1]
                inside = h >= 0 and w >= 0 and h + size <= H and w + size <= W
                for c in range(0, C, LANES):
                    start = ((n * H + h) * W + w) * C + c
                    to = v + (q - first) * Cv + c
                    if inside and c + LANES <= C:
                        transform(x, start, W * C, C, V, to, t * vs, vs, zero)
                    else:
                        lanes = min(LANES, C - c)
                        for i in range(size):
                            for j in range(size):
                                at = (i * size + j) * LANES
                                if 0 <= h + i < H and 0 <= w + j < W:
                                    pixel = load_first(x, start + (i * W + j) * C, lanes)
                                    store(patch, at, pixel)
                                else:
                                    store(patch, at, zero)
                        transform(patch, 0, size * LANES, LANES, V, to, t * vs, vs, zero)

        return fill

    fill_images, fill_results = filler(t, sandwich(Bt)), filler(m, sandwich(At.T))
    to_weights, from_weights, to_results = sandwich(G), sandwich(G.T), sandwich(At)

    @inner
    def results(
        M: Array, ms: int, width: int, o0: int, bias: Array,
        y: Array, shape: Ints, grid: Ints, first: int, last: int,
    ) -> Any:  # fmt: skip
        """The tiles of y in the channels from o0 on, with bias; the sum of them."""
        H, W, O = shape
        patch = np.empty(m * m * LANES, np.float32)
        check = splat(np.float32(0))
        for q in range(first, last):
            n, r, s = q // (grid[0] * grid[1]), q // grid[1] % grid[0], q % grid[1]
            h, w = r * m, s * m
            inside = h + m <= H and w + m <= W
            for o in range(o0, min(O, o0 + width), LANES):
                start = ((n * H + h) * W + w) * O + o
                at = (q - first) * width + o - o0
                b = load(bias, o)
                if inside and o + LANES <= O:
                    check = check + to_results(M, at, t * ms, ms, y, start, W * O, O, b)
                else:
                    check = check + to_results(M, at, t * ms, ms, patch, 0, m * LANES, LANES, b)
                    lanes = min(LANES, O - o)
                    for i in range(min(m, H - h)):
                        for j in range(min(m, W - w)):
                            value = load(patch, (i * m + j) * LANES)
                            store_first(y, start + (i * W + j) * O, value, lanes)
        return check

    @inner
    def weights(
        w: Array, strides: Ints, C: int, O: int, first: int, last: int,
        U: Array, us: int, o0: int, width: int,
    ) -> None:  # fmt: skip
        """U of the output channels first to last; those of U begin with o0.

        W[o, c, k] = w[start + o·(its stride) + c·(its) + k·(its)], with k = 0 to 8.
        """
        start, along_o, along_c, along_k = strides
        patch = np.zeros(9 * LANES, np.float32)
        zero = splat(np.float32(0))
        for o in range(first, last, LANES):
            block = (o - o0) // WIDE * WIDE
            across = min(WIDE, width - block)
            for c in range(C):
                for lane in range(min(LANES, O - o)):
                    i = start + (o + lane) * along_o + c * along_c
                    for k in range(9):
                        patch[k * LANES + lane] = w[i + k * along_k]
                to = block * C + c * across + o - o0 - block
                to_weights(patch, 0, 3 * LANES, LANES, U, to, t * us, us, zero)

    @inner
    def gradients(
        D: Array, parts: int, ds: int, width: int, dw: Array, C: int, O: int,
        c0: int, c1: int, o0: int, o1: int, left: int,
    ) -> Any:  # fmt: skip
        """dw (O, C, 9) of some channels, from D (parts, ξ, C from c0 on, O from `left` on)."""
        patch, values = np.empty(9 * LANES, np.float32), np.empty(points * LANES, np.float32)
        zero = splat(np.float32(0))
        check = splat(np.float32(0))
        for o in range(o0, min(o1, O), LANES):
            for c in range(c0, min(c1, C)):
                at = (c - c0) * width + o - left
                if parts == 1:
                    check = check + from_weights(
                        D, at, t * ds, ds, patch, 0, 3 * LANES, LANES, zero
                    )
                else:
                    for k in range(points):
                        value = load(D, at + k * ds)
                        for p in range(1, parts):
                            value = value + load(D, at + (p * points + k) * ds)
                        store(values, k * LANES, value)
                    check = check + from_weights(
                        values, 0, t * LANES, LANES, patch, 0, 3 * LANES, LANES, zero
                    )
                for lane in range(min(LANES, O - o)):
                    i = ((o + lane) * C + c) * 9
                    for k in range(9):
                        dw[i + k] = patch[k * LANES + lane]
        return check

    @kernel(name=f"winograd{m}_transform_weights")
    def transform_weights(
        w: Array, strides: Ints, C: int, O: int, first: int, last: int, U: Array, us: int,
        width: int,
    ) -> None:  # fmt: skip
        weights(w, strides, C, O, first, last, U, us, 0, width)

    @kernel(name=f"winograd{m}_transform_images")
    def transform_images(
        x: Array, shape: Ints, padding: Ints, grid: Ints, first: int, last: int, V: Array,
        v: int, vs: int,
    ) -> None:  # fmt: skip
        fill_images(x, shape, padding, grid, first, last, V, v, vs)

    @kernel(name=f"winograd{m}_transform_results")
    def transform_results(
        g: Array, shape: Ints, padding: Ints, grid: Ints, first: int, last: int, M: Array,
        v: int, ms: int,
    ) -> None:  # fmt: skip
        fill_results(g, shape, padding, grid, first, last, M, v, ms)

    @kernel(name=f"winograd{m}_tiles")
    def tiles(
        x: Array, size: Ints, padding: Ints, U: Array, bias: Array, y: Array, shape: Ints,
        grid: Ints, first: int, last: int, group: int,
    ) -> float:  # fmt: skip
        """y of the tiles first to last, `group` of them at a time; the sum of it."""
        C, O = size[2], shape[2]
        Cv, Ov = row(C), filled(O)
        vs, ms, us = group * Cv + GAP, group * Ov + GAP, C * Ov + GAP
        V, M = np.empty(points * vs, np.float32), np.empty(points * ms, np.float32)
        check = splat(np.float32(0))
        for q in range(first, last, group):
            end = min(q + group, last)
            fill_images(x, size, padding, grid, q, end, V, 0, vs)
            multiply(V, vs, Cv, U, us, C, M, ms, Ov, points, end - q)
            check = check + results(M, ms, Ov, 0, bias, y, shape, grid, q, end)
        return total(check)

    @kernel(name=f"winograd{m}_columns")
    def columns(
        V: Array, C: int, vs: int, w: Array, strides: Ints, bias: Array, y: Array, shape: Ints,
        grid: Ints, count: int, group: int, first: int, last: int,
    ) -> float:  # fmt: skip
        """The output channels first to last of all tiles, WIDE of them at a time; their sum."""
        O = shape[2]
        Cv, Ov = row(C), filled(O)
        us, ms = C * WIDE + GAP, group * WIDE + GAP
        U, M = np.empty(points * us, np.float32), np.empty(points * ms, np.float32)
        check = splat(np.float32(0))
        for o in range(first, last, WIDE):
            width = min(WIDE, Ov - o)
            weights(w, strides, C, O, o, o + width, U, us, o, width)
            for q in range(0, count, group):
                end = min(q + group, count)
                multiply(V[q * Cv :], vs, Cv, U, us, C, M, ms, width, points, end - q)
                check = check + results(M, ms, width, o, bias, y, shape, grid, q, end)
        return total(check)

    @kernel(name=f"winograd{m}_weight_sums")
    def weight_sums(
        x: Array, size: Ints, padding: Ints, g: Array, shape: Ints, grid: Ints, first: int,
        last: int, group: int, D: Array, d: int,
    ) -> None:  # fmt: skip
        """D[d:] (ξ, C, O) = the sums over the tiles first to last."""
        C, O = size[2], shape[2]
        Cv, Ov, rows, width = row(C), row(O), filled(C, ROWS), filled(O)
        vs, ms, ds = group * Cv + GAP, group * Ov + GAP, rows * width + GAP
        V, M = np.empty(points * vs, np.float32), np.empty(points * ms, np.float32)
        D = D[d:]
        for q in range(first, last, group):
            end = min(q + group, last)
            fill_images(x, size, padding, grid, q, end, V, 0, vs)
            fill_results(g, shape, (0, 0), grid, q, end, M, 0, ms)
            add = 1 if q > first else 0
            multiply_tiles(V, 0, vs, Cv, M, 0, ms, Ov, D, ds, rows, width, points, end - q, add)

    @kernel(name=f"winograd{m}_weight_gradients")
    def weight_gradients(
        D: Array, parts: int, C: int, O: int, dw: Array, first: int, last: int,
    ) -> float:  # fmt: skip
        """dw of the output channels first to last, from the sums of all parts; its sum."""
        rows, width = filled(C, ROWS), filled(O)
        ds = rows * width + GAP
        return total(gradients(D, parts, ds, width, dw, C, O, 0, C, first, last, 0))

    @kernel(name=f"winograd{m}_weight_block")
    def weight_block(
        V: Array, vs: int, M: Array, ms: int, count: int, C: int, O: int, dw: Array, first: int,
        last: int,
    ) -> float:  # fmt: skip
        """dw of the output channels first to last, WIDE by BLOCK of them at a time; its sum."""
        Cv, Ov = row(C), row(O)
        ds = BLOCK * WIDE + GAP
        D = np.empty(points * ds, np.float32)
        check = splat(np.float32(0))
        for o in range(first, last, WIDE):
            width = min(WIDE, filled(O) - o)
            for c in range(0, C, BLOCK):
                rows = filled(min(BLOCK, C - c), ROWS)
                multiply_tiles(V, c, vs, Cv, M, o, ms, Ov, D, ds, rows, width, points, count, 0)
                check = check + gradients(D, 1, ds, width, dw, C, O, c, c + rows, o, o + width, o)
        return total(check)

    return SimpleNamespace(
        transform_weights=transform_weights,
        transform_images=transform_images,
        transform_results=transform_results,
        tiles=tiles,
        columns=columns,
        weight_sums=weight_sums,
        weight_gradients=weight_gradients,
        weight_block=weight_block,
    )


# ----- where it pays ------------------------------------------------------------------------------
# Times are of PyTorch's (channels-last, near the peak) on one core of an AMD Zen 4 with AVX-512.


def _products(size: Ints, m: int) -> int:
    """Multiplications of an image of so many results, for a channel in and a channel out."""
    return (m + 2) ** 2 * math.prod(-(-n // m) for n in size)


def tile_size(count: int, size: Ints, C: int, O: int) -> int:
    """m: 4, and 2 where that multiplies no more, as for 2 and 6 results: it transforms less.

    2 as well where 4 has more than three times PyTorch's error: with short sums, where a third of
    what the windows see is padding, and for one small image, which PyTorch convolves in another way
    with a fifth of the error.
    """
    if _products(size, 2) <= _products(size, 4) or (C < 64 and max(size) <= 4):
        return 2
    return 2 if count == 1 and min(C, O) * math.prod(size) <= 20480 else 4


def weight_tile_size(count: int, size: Ints, C: int, O: int) -> int:
    """m of a weight gradient: 4 needs a long sum, over 192 rows of pixels or 3072 pixels.

    Its transforms cost 5e-7 where PyTorch's error grows with the sum: from 1.1e-7 (32 rows of 8)
    to 4e-7, so that the ratio falls from 4.4 to 1.6. With m = 2 it is 1.5 to .5.
    """
    long = count * size[0] >= 192 or count * math.prod(size) >= 3072
    return tile_size(count, size, min(C, O), O) if long else 2


def suits(
    x_shape: Ints,
    w_shape: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
    channels: int = 24,
) -> bool:
    """Whether a convolution and both its gradients are faster here, and may be less exact.

    To transform a weight takes as long as 6 tiles. The transforms of the images, and the loads and
    stores between them, eat up what is won until the products are at most .6 of a direct
    convolution's: not for 5 x 5 results (1.0), nor for one image of 4 x 4 with 128 channels (2.3);
    but for 3 x 3 (.7), and for 8 images of 7 x 7 with 512 channels (.5). With fewer than 24
    channels direct sums are so short that m = 4 has three times their error; m = 2 is no faster.
    Gradients in weights, which are sums over pixels, ask for 16 `channels`, that no lane is empty.
    """
    if KERNELS.precision == "exact" or len(x_shape) != 4 or groups != 1:
        return False
    if tuple(w_shape[2:]) != (3, 3) or any(n != 1 for n in (*stride, *dilation)):
        return False
    size = [n + 2 * p - 2 for n, p in zip(x_shape[2:], padding, strict=True)]
    if min(size) < 1 or not all(0 <= p <= 2 for p in padding) or min(w_shape[:2]) < channels:
        return False
    m = tile_size(x_shape[0], size, *sorted(w_shape[:2]))
    work = x_shape[0] * _products(size, m) + 6 * (m + 2) ** 2
    return work <= 0.6 * 9 * x_shape[0] * math.prod(size)


def by_columns(count: int, O: int) -> bool:
    """Whether U is the larger one, and so is made a few output channels at a time.

    512 channels at 4 x 4, 64 images: .43 of PyTorch's time instead of .71; with as many tiles as
    channels the two are equal.
    """
    return 2 * count <= O


def by_blocks(count: int, C: int, O: int, m: int) -> bool:
    """Whether a weight gradient goes through all tiles for a block of channels, then the next.

    The sums (ξ, C, O) then need not leave the cache; V and M have to fit into the last one. 512
    channels at 4 x 4, 64 images: .29 instead of .61; 1024 tiles of 128 channels: .72 for .48.
    """
    return count <= 256 and (m + 2) ** 2 * count * (C + O) <= 5 << 20


def _group(tiles: int) -> int:
    """So many tiles at a time, or a few more: in whole tiles of the product."""
    return _filled(tiles, ROWS)


def _in_steps(parts: Sequence[slice], step: int, end: int) -> list[slice]:
    """Parts of so many steps as parts of what the steps are made of."""
    return [slice(part.start * step, min(part.stop * step, end)) for part in parts]


# ----- convolutions -------------------------------------------------------------------------------


# Each is None where a result is no finite number: then direct sums have to tell which are not. A
# tile has one where a pixel it sees is NaN or ∞, or a sum overflows, and then in all its results,
# also in those that do not see that pixel.


def conv(x: Array, w: Array, bias: Array | None, padding: Ints) -> Array | None:
    """See `Backend.conv`; stride and dilation are 1."""
    O, C = w.shape[:2]
    return _forward(x, w, bias, padding, O, (0, 9 * C, 9, 1))


def conv_transpose(g: Array, w: Array, padding: Ints) -> Array | None:
    """See `Backend.conv_transpose`: a convolution with the kernel turned around."""
    C = w.shape[1]
    return _forward(g, w, None, [2 - p for p in padding], C, (8, 9, 9 * C, -1))


def _forward(
    x: Array, w: Array, bias: Array | None, padding: Ints, O: int, strides: Ints
) -> Array | None:
    """The convolution with the O kernels that lie in w with these strides (see `weights`)."""
    images = channels_last(x)
    count, *size = images.shape
    C = size[2]
    shape = (*(n + 2 * p - 2 for n, p in zip(size[:2], padding, strict=True)), O)
    m = tile_size(count, shape[:2], C, O)
    do, points = kernels(m), (m + 2) ** 2
    grid = (-(-shape[0] // m), -(-shape[1] // m))
    y = np.empty((count, *shape), np.float32)
    count *= math.prod(grid)
    Cv, Ov = _row(C), _filled(O)
    added = np.zeros(Ov, np.float32)
    if bias is not None:
        added[:O] = bias
    w = np.ascontiguousarray(w).reshape(-1)
    image = images.reshape(-1), tuple(size), tuple(padding)
    result = added, y.reshape(-1), shape, grid
    products = count * points * C * O
    group = _group(16 if C < 256 else 64)
    steps = -(-count // ROWS)
    if by_columns(count, O):
        vs = count * Cv + GAP
        V = np.empty(points * vs + ROWS * Cv, np.float32)
        parallel(
            lambda part: do.transform_images(
                *image, grid, part.start, part.stop, V, part.start * Cv, vs
            ),
            _in_steps(by_products(steps, products), ROWS, count),
        )
        sums = parallel(
            lambda part: do.columns(
                V, C, vs, w, strides, *result, count, group, part.start, part.stop
            ),
            _in_steps(by_products(-(-Ov // WIDE), products), WIDE, Ov),
        )
    else:
        us = C * Ov + GAP
        U = np.empty(points * us, np.float32)
        parallel(
            lambda part: do.transform_weights(w, strides, C, O, part.start, part.stop, U, us, Ov),
            _in_steps(by_products(Ov // LANES, 8 * points * C * O), LANES, Ov),
        )
        parts = by_products(steps, products, max(2, count // group))
        sums = parallel(
            lambda part: do.tiles(*image, U, *result, part.start, part.stop, group),
            _in_steps(parts, ROWS, count),
        )
    return channels_first(y) if math.isfinite(sum(sums)) else None


def conv_weight(x: Array, g: Array, padding: Ints) -> Array | None:
    """See `Backend.conv_weight`; stride and dilation are 1."""
    images, results = channels_last(x), channels_last(g)
    (count, *size), shape = images.shape, results.shape[1:]
    C, O = size[2], shape[2]
    m = weight_tile_size(count, shape[:2], C, O)
    do, points = kernels(m), (m + 2) ** 2
    grid = (-(-shape[0] // m), -(-shape[1] // m))
    count *= math.prod(grid)
    width = _filled(O)
    image = images.reshape(-1), tuple(size), tuple(padding)
    gradient = results.reshape(-1), shape
    dw = np.empty((O, C, 3, 3), np.float32)
    flat = dw.reshape(-1)
    products = count * points * C * O
    steps = -(-count // ROWS)
    if by_blocks(count, C, O, m):
        Cv, Ov = _row(C), _row(O)
        vs, ms = count * Cv + GAP, count * Ov + GAP
        V, M = np.empty(points * vs, np.float32), np.empty(points * ms, np.float32)

        def transform(part: slice) -> None:
            first, last = part.start, part.stop
            do.transform_images(*image, grid, first, last, V, first * Cv, vs)
            do.transform_results(*gradient, (0, 0), grid, first, last, M, first * Ov, ms)

        parallel(transform, _in_steps(by_products(steps, products), ROWS, count))
        sums = parallel(
            lambda part: do.weight_block(V, vs, M, ms, count, C, O, flat, part.start, part.stop),
            _in_steps(by_products(-(-width // WIDE), products), WIDE, width),
        )
    else:
        group = _group(32 if C < 128 else 128)
        each = points * (_filled(C, ROWS) * width + GAP)
        parts = by_products(steps, products, min(WEIGHT_PARTS, max(2, count // group)))
        D = np.empty(len(parts) * each, np.float32)

        def add_up(part: slice) -> None:
            first, last = part.start * ROWS, min(part.stop * ROWS, count)
            do.weight_sums(*image, *gradient, grid, first, last, group, D, parts.index(part) * each)

        parallel(add_up, parts)
        sums = parallel(
            lambda part: do.weight_gradients(D, len(parts), C, O, flat, part.start, part.stop),
            _in_steps(by_products(width // LANES, 8 * points * C * O), LANES, width),
        )
    return dw if math.isfinite(sum(sums)) else None
