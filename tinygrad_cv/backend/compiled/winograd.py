"""Winograd's convolution: 3x3, stride 1, in tiles of m x m results, with t = m + 2 (see linear.py).

    Y = Aᵀ [Σ_c (G W Gᵀ) ⊙ (Bᵀ X B)] A

For each ξ of the t² entries, the sum over the channels c is a product of matrices, (tiles, C) by
(C, O): t²/m² multiplications for each result instead of 9, that is 2.25 with m = 4 and 4 with
m = 2. The adjoints have the same form:

    in X    the convolution with the kernel turned around, its channels exchanged
    in W    Gᵀ [Σ_tiles (Bᵀ X B) ⊙ (A dY Aᵀ)] G

Images are (N, H, W, C) in memory, and tiles are numbered through all of them. Between the
transforms lie, with channels filled up to vectors of LANES,

    V (ξ, tiles, C)   of X        U (ξ, O / 2 LANES, C, 2 LANES)   of W        M (ξ, tiles, O)   of Y

and GAP numbers between one ξ and the next: powers of 2 would share their places in the cache.
Either a group of tiles goes through all three steps with all of U (`tiles`, and `weight_sums`), or,
where images are small and weights large, all of V is made first, and then a few output channels go
through the other steps with their part of U, which so never leaves the cache (`columns`,
`weight_block`).
"""

import math
from collections.abc import Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygrad_cv.backend import windows
from tinygrad_cv.backend.compiled.jit import inner, kernel
from tinygrad_cv.backend.compiled.linear import matrices, sandwich
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
from tinygrad_cv.backend.threads import by_products, parallel, split
from tinygrad_cv.backend.windows import channels_first, channels_last

Array = Any
Ints = Sequence[int]

GAP = 16
WIDE = 2 * LANES
HALF = ROWS // 2
BLOCK = 48
"""Input channels of a block of a weight gradient: a multiple of ROWS on every CPU."""

full_wide, half_wide = tile(ROWS, 2), tile(HALF, 2)
full_narrow, half_narrow = tile(ROWS, 1), tile(HALF, 1)


def _filled(channels: int, to: int = LANES) -> int:
    return -(-channels // to) * to


@inner
def multiply(
    V: Array, vs: int, Cv: int, U: Array, us: int, C: int, M: Array, ms: int, width: int,
    points: int, rows: int,
) -> None:  # fmt: skip
    """M[ξ] = V[ξ] U[ξ] for each ξ. Rows are rounded up to HALF a tile, and what is there ignored."""
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
    """D[ξ] (+)= V[ξ]ᵀ M[ξ] for each ξ, of `count` tiles; D is (ξ, rows, width)."""
    for k in range(points):
        for o in range(0, width, WIDE):
            for c in range(0, rows, ROWS):
                a, b, d = v + k * vs + c, m + k * ms + o, k * ds + c * width + o
                if o + WIDE <= width:
                    full_wide(V, a, 1, Cv, 0, M, b, Ov, 0, D, d, width, count, 1, add)
                else:
                    full_narrow(V, a, 1, Cv, 0, M, b, Ov, 0, D, d, width, count, 1, add)


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
            Cv = (C + LANES - 1) // LANES * LANES
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
                    check = check + from_weights(D, at, t * ds, ds, patch, 0, 3 * LANES, LANES, zero)
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
    def transform_weights(w, strides, C, O, first, last, U, us, width):
        weights(w, strides, C, O, first, last, U, us, 0, width)

    @kernel(name=f"winograd{m}_transform_images")
    def transform_images(x, shape, padding, grid, first, last, V, v, vs):
        fill_images(x, shape, padding, grid, first, last, V, v, vs)

    @kernel(name=f"winograd{m}_transform_results")
    def transform_results(g, shape, padding, grid, first, last, M, v, ms):
        fill_results(g, shape, padding, grid, first, last, M, v, ms)

    @kernel(name=f"winograd{m}_tiles")
    def tiles(x, size, padding, U, bias, y, shape, grid, first, last, group):
        """y of the tiles first to last, `group` of them at a time; the sum of it."""
        C, O = size[2], shape[2]
        Cv, Ov = (C + LANES - 1) // LANES * LANES, (O + LANES - 1) // LANES * LANES
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
    def columns(V, C, vs, w, strides, bias, y, shape, grid, count, group, first, last):
        """The output channels first to last of all tiles, WIDE of them at a time; their sum."""
        O = shape[2]
        Cv, Ov = (C + LANES - 1) // LANES * LANES, (O + LANES - 1) // LANES * LANES
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
    def weight_sums(x, size, padding, g, shape, grid, first, last, group, D, d):
        """D[d:] (ξ, C, O) = the sums over the tiles first to last."""
        C, O = size[2], shape[2]
        Cv, Ov = (C + LANES - 1) // LANES * LANES, (O + LANES - 1) // LANES * LANES
        rows = (C + ROWS - 1) // ROWS * ROWS
        vs, ms, ds = group * Cv + GAP, group * Ov + GAP, rows * Ov + GAP
        V, M = np.empty(points * vs, np.float32), np.empty(points * ms, np.float32)
        D = D[d:]
        for q in range(first, last, group):
            end = min(q + group, last)
            fill_images(x, size, padding, grid, q, end, V, 0, vs)
            fill_results(g, shape, (0, 0), grid, q, end, M, 0, ms)
            add = 1 if q > first else 0
            multiply_tiles(V, 0, vs, Cv, M, 0, ms, Ov, D, ds, rows, Ov, points, end - q, add)

    @kernel(name=f"winograd{m}_weight_gradients")
    def weight_gradients(D, parts, C, O, dw, first, last):
        """dw of the output channels first to last, from the sums of all parts; its sum."""
        rows, width = (C + ROWS - 1) // ROWS * ROWS, (O + LANES - 1) // LANES * LANES
        ds = rows * width + GAP
        return total(gradients(D, parts, ds, width, dw, C, O, 0, C, first, last, 0))

    @kernel(name=f"winograd{m}_weight_block")
    def weight_block(V, vs, M, ms, count, C, O, dw, first, last):
        """dw of the output channels first to last, WIDE by BLOCK of them at a time; its sum."""
        Cv, Ov = (C + LANES - 1) // LANES * LANES, (O + LANES - 1) // LANES * LANES
        ds = BLOCK * WIDE + GAP
        D = np.empty(points * ds, np.float32)
        check = splat(np.float32(0))
        for o in range(first, last, WIDE):
            width = min(WIDE, Ov - o)
            for c in range(0, C, BLOCK):
                rows = (min(BLOCK, C - c) + ROWS - 1) // ROWS * ROWS
                multiply_tiles(
                    V, c, vs, Cv, M, o, ms, Ov, D, ds, rows, width, points, count, 0
                )
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


# ----- which, and how much at a time ---------------------------------------------------------------


def _results(height: int, width: int, m: int) -> tuple[int, int]:
    """How many tiles there are below and beside each other."""
    return -(-height // m), -(-width // m)


def tile_size(height: int, width: int) -> int:
    return 2 if min(height, width) <= 2 else 4


def suits(x_shape: Ints, w_shape: Ints, stride: Ints, padding: Ints, dilation: Ints, groups: int) -> bool:
    return True


FEW = 1024


def conv(x: Array, w: Array, bias: Array | None, padding: Ints, _m=None, _deep=None, _group=None) -> Array:
    O, C = w.shape[:2]
    strides = (0, 9 * C, 9, 1)
    y = _forward(x, w, bias, padding, O, strides, _m, _deep, _group)
    return windows.conv(x, w, bias, (1, 1), padding, (1, 1), 1) if y is None else y


def conv_transpose(g: Array, w: Array, size: Ints, padding: Ints, _m=None, _deep=None, _group=None) -> Array:
    O, C = w.shape[:2]
    strides = (8, 9, 9 * C, -1)
    inverse = tuple(2 - p for p in padding)
    y = _forward(g, w, None, inverse, C, strides, _m, _deep, _group)
    return windows.conv_transpose(g, w, size, (1, 1), padding, (1, 1), 1) if y is None else y


def _forward(x, w, bias, padding, O, strides, m=None, deep=None, group=None):
    x = channels_last(x)
    w = np.ascontiguousarray(w).reshape(-1)
    N, H, W, C = x.shape
    shape = H + 2 * padding[0] - 2, W + 2 * padding[1] - 2, O
    m = m or tile_size(*shape[:2])
    do, t2 = kernels(m), (m + 2) ** 2
    grid = _results(*shape[:2], m)
    count = N * grid[0] * grid[1]
    Cv, Ov = _filled(C), _filled(O)
    b = np.zeros(Ov, np.float32)
    if bias is not None:
        b[:O] = bias
    y = np.empty((N, *shape), np.float32)
    flat_x, flat_y = x.reshape(-1), y.reshape(-1)
    size, padding = (H, W, C), tuple(padding)
    products = count * t2 * C * O
    if deep is None:
        deep = count <= FEW and C * O >= 128 * 128
    group = group or (16 if C < 256 else 64)
    blocks = [slice(p.start * WIDE, min(Ov, p.stop * WIDE)) for p in by_products(-(-Ov // WIDE), products)]
    units = -(-count // ROWS)
    if deep:
        vs = count * Cv + GAP
        V = np.empty(t2 * vs + ROWS * Cv, np.float32)
        parts = [slice(p.start * ROWS, min(count, p.stop * ROWS)) for p in by_products(units, products)]
        parallel(
            lambda p: do.transform_images(
                flat_x, size, padding, grid, p.start, p.stop, V, p.start * Cv, vs
            ),
            parts,
        )
        checks = parallel(
            lambda p: do.columns(
                V, C, vs, w, strides, b, flat_y, shape, grid, count, group, p.start, p.stop
            ),
            blocks,
        )
    else:
        us = C * Ov + GAP
        U = np.empty(t2 * us, np.float32)
        parallel(
            lambda p: do.transform_weights(w, strides, C, O, p.start, p.stop, U, us, Ov), blocks
        )
        most = max(2, count // group)
        parts = [slice(p.start * ROWS, min(count, p.stop * ROWS)) for p in by_products(units, products, most)]
        checks = parallel(
            lambda p: do.tiles(
                flat_x, size, padding, U, b, flat_y, shape, grid, p.start, p.stop, group
            ),
            parts,
        )
    return channels_first(y) if math.isfinite(sum(checks)) else None


def conv_weight(x: Array, g: Array, padding: Ints, _m=None, _deep=None, _group=None) -> Array:
    fx, fg = channels_last(x), channels_last(g)
    N, H, W, C = fx.shape
    _, Ho, Wo, O = fg.shape
    m = _m or tile_size(Ho, Wo)
    do, t2 = kernels(m), (m + 2) ** 2
    grid = _results(Ho, Wo, m)
    count = N * grid[0] * grid[1]
    Cv, Ov = _filled(C), _filled(O)
    size, shape, padding = (H, W, C), (Ho, Wo, O), tuple(padding)
    products = count * t2 * C * O
    flat_x, flat_g = fx.reshape(-1), fg.reshape(-1)
    dw = np.empty((O, C, 3, 3), np.float32)
    flat_w = dw.reshape(-1)
    deep = count <= FEW and C * O >= 128 * 128 if _deep is None else _deep
    units = -(-count // ROWS)
    if deep:
        vs, ms = count * Cv + GAP, count * Ov + GAP
        V, M = np.empty(t2 * vs, np.float32), np.empty(t2 * ms, np.float32)

        def transform(p):
            do.transform_images(flat_x, size, padding, grid, p.start, p.stop, V, p.start * Cv, vs)
            do.transform_results(flat_g, shape, (0, 0), grid, p.start, p.stop, M, p.start * Ov, ms)

        parallel(transform, by_products(count, products))
        blocks = [slice(p.start * WIDE, min(Ov, p.stop * WIDE)) for p in by_products(-(-Ov // WIDE), products)]
        checks = parallel(
            lambda p: do.weight_block(V, vs, M, ms, count, C, O, flat_w, p.start, p.stop), blocks
        )
    else:
        group = _group or (32 if C < 256 else 64)
        ds = _filled(C, ROWS) * Ov + GAP
        most = min(8, max(2, count // group))
        parts = [slice(p.start * ROWS, min(count, p.stop * ROWS)) for p in by_products(units, products, most)]
        D = np.empty(len(parts) * t2 * ds, np.float32)
        place = {p.start: i * t2 * ds for i, p in enumerate(parts)}
        parallel(
            lambda p: do.weight_sums(
                flat_x, size, padding, flat_g, shape, grid, p.start, p.stop, group, D, place[p.start]
            ),
            parts,
        )
        blocks = [slice(p.start * LANES, min(Ov, p.stop * LANES)) for p in split(Ov // LANES, 8)]
        checks = parallel(
            lambda p: do.weight_gradients(D, len(parts), C, O, flat_w, p.start, p.stop), blocks
        )
    if math.isfinite(sum(checks)):
        return dw
    return windows.conv_weight(x, g, (3, 3), (1, 1), padding, (1, 1), 1)
