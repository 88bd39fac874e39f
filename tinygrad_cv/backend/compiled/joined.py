"""Batch norm with the ReLU after it, and the largest of each window: y = max over taps of
relu((x - mean) · scale + bias), in one pass over x and one over y; `norm.py` has the statistics.

No mask is kept. Without windows the gate 0 < (x - mean) · scale + bias < top is worked out again
from x; `top` is 6 for ReLU6 and ∞ for ReLU, and `last` the last number that passes the gate.
With windows that lie side by side it is y > 0, and a gradient goes to the tap that `index` names.
"""

import math
from typing import Any

import numpy as np

from tinygrad_cv.backend.compiled.functions import largest, least
from tinygrad_cv.backend.compiled.jit import inner, kernel
from tinygrad_cv.backend.compiled.lanes import (
    at_place,
    better,
    load_places,
    load_up_to,
    splat_place,
    store_places,
    store_up_to,
    where_better,
)
from tinygrad_cv.backend.compiled.norm import (
    PART,
    ROWS,
    Columns,
    _shift,
    joined,
    rows_of_block,
)
from tinygrad_cv.backend.compiled.vectors import LANES, fma, gate, gate_up_to, splat
from tinygrad_cv.backend.threads import parallel, split

Array = Any


@inner
def _normalized(
    x: Array, at: int, center: Array, scale: Array, shift: Array, c: int, n: int
) -> Any:
    """(x - center) · scale + shift for n channels from c on: the same bits wherever it is asked."""
    z = load_up_to(x, at, n) - load_up_to(center, c, n)
    return fma(z, load_up_to(scale, c, n), load_up_to(shift, c, n))


# ----- batch norm and ReLU -----------------------------------------------------------------------
# Rows of C channels, in the runs of `norm.Columns`.


@kernel
def scale_relu(
    x: Array,
    y: Array,
    start: int,
    stop: int,
    C: int,
    center: Array,
    scale: Array,
    shift: Array,
    top: Any,
) -> None:
    """y = min(max((x - center) · scale + shift, 0), top)"""
    zero, most = splat(np.float32(0)), splat(top)
    for row in range(start, stop):
        for c in range(0, C, LANES):
            at, n = row * C + c, C - c
            z = _normalized(x, at, center, scale, shift, c, n)
            store_up_to(y, at, least(largest(z, zero), most), n)


@kernel
def gated_products(
    g: Array,
    x: Array,
    start: int,
    stop: int,
    C: int,
    center: Array,
    scale: Array,
    shift: Array,
    last: Any,
    sums: Array,
    products: Array,
) -> None:
    """sums = Σ h and products = Σ h · (x - center), where h is g behind the gate."""
    most = splat(last)
    rows = rows_of_block(2 * C)
    s, p = np.empty(C, np.float32), np.empty(C, np.float32)
    sums[:] = 0
    products[:] = 0
    for top in range(start, stop, rows):
        s[:] = 0
        p[:] = 0
        for row in range(top, min(top + rows, stop)):
            for c in range(0, C, LANES):
                at, n = row * C + c, C - c
                z = _normalized(x, at, center, scale, shift, c, n)
                h = gate_up_to(load_up_to(g, at, n), z, most)
                d = load_up_to(x, at, n) - load_up_to(center, c, n)
                store_up_to(s, c, load_up_to(s, c, n) + h, n)
                store_up_to(p, c, fma(h, d, load_up_to(p, c, n)), n)
        for c in range(C):
            sums[c] += s[c]
            products[c] += p[c]


@kernel
def gated_combine(
    g: Array,
    x: Array,
    dx: Array,
    start: int,
    stop: int,
    C: int,
    center: Array,
    scale: Array,
    shift: Array,
    last: Any,
    a: Array,
    b: Array,
    c0: Array,
) -> None:
    """dx = a · h - (b · (x - center) + c0), where h is g behind the gate."""
    most = splat(last)
    for row in range(start, stop):
        for c in range(0, C, LANES):
            at, n = row * C + c, C - c
            z = _normalized(x, at, center, scale, shift, c, n)
            h = gate_up_to(load_up_to(g, at, n), z, most)
            d = load_up_to(x, at, n) - load_up_to(center, c, n)
            rest = fma(d, load_up_to(b, c, n), load_up_to(c0, c, n))
            store_up_to(dx, at, h * load_up_to(a, c, n) - rest, n)


# ----- batch norm, ReLU and windows --------------------------------------------------------------
# Windows of KH x KW side by side that cover x (N, KH·OH, KW·OW, C); `start` to `stop` are rows of
# windows, of which there are N·OH.


@kernel
def scale_relu_pool(
    x: Array,
    y: Array,
    index: Array,
    C: int,
    OW: int,
    KH: int,
    KW: int,
    start: int,
    stop: int,
    center: Array,
    scale: Array,
    shift: Array,
) -> None:
    """y = max over taps of max((x - center) · scale + shift, 0), index = the first that has it."""
    zero, line = splat(np.float32(0)), KW * OW * C
    for row in range(start, stop):
        for k in range(OW):
            corner, place = row * KH * line + k * KW * C, (row * OW + k) * C
            for c in range(0, C, LANES):
                n = C - c
                best, where = splat(np.float32(-np.inf)), splat_place(0)
                for u in range(KH):
                    for v in range(KW):
                        at = corner + u * line + v * C + c
                        z = largest(_normalized(x, at, center, scale, shift, c, n), zero)
                        where = where_better(z, best, u * KW + v, where)
                        best = better(z, best)
                store_up_to(y, place + c, best, n)
                store_places(index, place + c, where, n)


@kernel
def pool_products(
    g: Array,
    y: Array,
    index: Array,
    x: Array,
    C: int,
    OW: int,
    KH: int,
    KW: int,
    start: int,
    stop: int,
    center: Array,
    sums: Array,
    products: Array,
) -> None:
    """sums = Σ h and products = Σ h · (x - center), where h is g behind the gate y > 0 and x is
    that of the indexed tap."""
    zero, line = splat(np.float32(0)), KW * OW * C
    s, p = np.zeros(C, np.float32), np.zeros(C, np.float32)
    sums[:] = 0
    products[:] = 0
    added = 0
    for row in range(start, stop):
        for k in range(OW):
            corner, place = row * KH * line + k * KW * C, (row * OW + k) * C
            for c in range(0, C, LANES):
                n = C - c
                where = load_places(index, place + c, n)
                h = gate(load_up_to(g, place + c, n), load_up_to(y, place + c, n))
                found = zero
                for u in range(KH):
                    for v in range(KW):
                        here = load_up_to(x, corner + u * line + v * C + c, n)
                        found = at_place(here, where, u * KW + v, found)
                store_up_to(s, c, load_up_to(s, c, n) + h, n)
                d = found - load_up_to(center, c, n)
                store_up_to(p, c, fma(h, d, load_up_to(p, c, n)), n)
            added += 1
            if added == 2 * ROWS or (row + 1 == stop and k + 1 == OW):
                for c in range(C):
                    sums[c] += s[c]
                    products[c] += p[c]
                s[:] = 0
                p[:] = 0
                added = 0


@kernel
def pool_combine(
    g: Array,
    y: Array,
    index: Array,
    x: Array,
    dx: Array,
    C: int,
    OW: int,
    KH: int,
    KW: int,
    start: int,
    stop: int,
    center: Array,
    a: Array,
    b: Array,
    c0: Array,
) -> None:
    """dx = a · h - (b · (x - center) + c0), where h is g behind the gate y > 0 at the indexed tap,
    and 0 at the others."""
    zero, line = splat(np.float32(0)), KW * OW * C
    for row in range(start, stop):
        for k in range(OW):
            corner, place = row * KH * line + k * KW * C, (row * OW + k) * C
            for c in range(0, C, LANES):
                n = C - c
                where = load_places(index, place + c, n)
                h = gate(load_up_to(g, place + c, n), load_up_to(y, place + c, n))
                h = h * load_up_to(a, c, n)
                for u in range(KH):
                    for v in range(KW):
                        at = corner + u * line + v * C + c
                        d = load_up_to(x, at, n) - load_up_to(center, c, n)
                        rest = fma(d, load_up_to(b, c, n), load_up_to(c0, c, n))
                        store_up_to(dx, at, at_place(h, where, u * KW + v, zero) - rest, n)


# ----- what calls them ---------------------------------------------------------------------------


def affine(
    weight: Array | None, bias: Array | None, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """center, scale and shift of batch norm."""
    scale = 1 / np.sqrt(var + eps)
    if weight is not None:
        scale = scale * weight
    center = mean.astype(np.float32)
    shift = _shift(center, mean, scale)
    return center, scale, shift if bias is None else shift + bias


def _statistics(rows: Array) -> tuple[Array, Array] | None:
    """Mean and variance; None where that is not finite."""
    mean, var = (
        a.reshape(-1) for a in joined(*Columns(*rows.shape).moments(rows.reshape(-1)), (0, 1))
    )
    return (mean, var) if np.isfinite(var).all() else None


def weight_sum(sums: Array, products: Array, mean: Array, var: Array, eps: float) -> Array:
    """The weight's gradient Σ h · x̂, from Σ h and Σ h · (x - center)."""
    return (products + (mean.astype(np.float32) - mean) * sums) / np.sqrt(var + eps)


def slopes(
    weight_sum: Array,
    sums: Array,
    count: int,
    weight: Array | None,
    mean: Array,
    var: Array,
    eps: float,
) -> tuple[Array, Array, Array]:
    """The vectors a, b, c of dx = a · h - (b · (x - center) + c)."""
    inverse = 1 / np.sqrt(var + eps)
    a = inverse if weight is None else inverse * weight
    b = a * inverse * weight_sum / count
    return a, b, a * sums / count + (mean.astype(np.float32) - mean) * b


def last_below(top: float) -> Any:
    """The last number that the gate lets pass."""
    return np.float32(top if math.isinf(top) else np.nextafter(np.float32(top), np.float32(0)))


def batch_norm_relu(
    rows: Array, weight: Array | None, bias: Array | None, eps: float, top: float
) -> tuple[Array, Array, Array] | None:
    """See `Backend.batch_norm_relu`; for rows (N·S, C). None where the variance is not finite."""
    found = _statistics(rows)
    if found is None:
        return None
    columns, x, y = Columns(*rows.shape), rows.reshape(-1), np.empty_like(rows)
    vectors = [columns.vector(v) for v in affine(weight, bias, *found, eps)]

    def work(part: slice) -> None:
        bounds = int(columns.bounds[part.start]), int(columns.bounds[part.stop])
        scale_relu(x, y.reshape(-1), *bounds, columns.width, *vectors, np.float32(top))

    parallel(work, columns.parts)
    return y, *found


def batch_norm_relu_backward(
    g: Array,
    rows: Array,
    weight: Array | None,
    bias: Array | None,
    mean: Array,
    var: Array,
    eps: float,
    top: float,
) -> tuple[Array, Array, Array]:
    """See `Backend.batch_norm_relu_backward`; for rows (N·S, C)."""
    columns, x, g, dx = Columns(*rows.shape), rows.reshape(-1), g.reshape(-1), np.empty_like(rows)
    vectors = [columns.vector(v) for v in affine(weight, bias, mean, var, eps)] + [last_below(top)]
    added = np.empty((columns.runs, 2, columns.width))

    def add(part: slice) -> None:
        for i in range(part.start, part.stop):
            bounds = int(columns.bounds[i]), int(columns.bounds[i + 1])
            gated_products(g, x, *bounds, columns.width, *vectors, *added[i])

    parallel(add, columns.parts)
    folded = added.reshape(columns.runs, 2, columns.fold, columns.channels)
    sums, products = folded.sum(2).sum(0)
    weight_gradient = weight_sum(sums, products, mean, var, eps)
    abc = slopes(weight_gradient, sums, len(rows), weight, mean, var, eps)
    abc = tuple(columns.vector(v) for v in abc)

    def work(part: slice) -> None:
        bounds = int(columns.bounds[part.start]), int(columns.bounds[part.stop])
        gated_combine(g, x, dx.reshape(-1), *bounds, columns.width, *vectors, *abc)

    parallel(work, columns.parts)
    return dx, weight_gradient, sums


def batch_norm_relu_max_pool(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    kernel: tuple[int, int],
) -> tuple[Array, Array, Array, Array] | None:
    """See `Backend.batch_norm_relu_max_pool`; for images (N, H, W, C)."""
    (N, H, W, C), (KH, KW) = x.shape, kernel
    found = _statistics(x.reshape(-1, C))
    if found is None:
        return None
    shape = N, H // KH, W // KW, C
    y, index = np.empty(shape, np.float32), np.empty(shape, np.uint8)
    vectors = [v.astype(np.float32) for v in affine(weight, bias, *found, eps)]
    flat = x.reshape(-1), y.reshape(-1), index.reshape(-1)

    def work(part: slice) -> None:
        scale_relu_pool(*flat, C, shape[2], KH, KW, part.start, part.stop, *vectors)

    parallel(work, split(N * shape[1], min(16, x.size // PART)))
    return y, index, *found


def batch_norm_relu_max_pool_backward(
    g: Array,
    y: Array,
    index: Array,
    x: Array,
    weight: Array | None,
    mean: Array,
    var: Array,
    eps: float,
    kernel: tuple[int, int],
) -> tuple[Array, Array, Array]:
    """See `Backend.batch_norm_relu_max_pool_backward`; for images (N, H, W, C)."""
    (N, OH, OW, C), (KH, KW) = y.shape, kernel
    parts = split(N * OH, min(16, x.size // PART))
    center, dx = mean.astype(np.float32), np.empty_like(x)
    flat = g.reshape(-1), y.reshape(-1), index.reshape(-1), x.reshape(-1)

    def add(part: slice) -> Array:
        added = np.empty((2, C))
        pool_products(*flat, C, OW, KH, KW, part.start, part.stop, center, *added)
        return added

    sums, products = sum(parallel(add, parts))
    weight_gradient = weight_sum(sums, products, mean, var, eps)
    abc = slopes(weight_gradient, sums, x.size // C, weight, mean, var, eps)
    abc = tuple(v.astype(np.float32) for v in abc)

    def work(part: slice) -> None:
        place = C, OW, KH, KW, part.start, part.stop
        pool_combine(*flat, dx.reshape(-1), *place, center, *abc)

    parallel(work, parts)
    return dx, weight_gradient, sums
