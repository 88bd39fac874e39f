"""Normalization: y = (x - mean) / √(var + eps) · weight + bias.

The statistics are those of columns, where the channels lie last in memory (batch norm; group and
instance norm of images), or of rows (layer norm). In either case a block of x that fits into the
cache is walked over twice, for its mean and for its squared deviations, and blocks are joined in
float64. What is added up is what x differs by from its first number: the mean of equal numbers is
that number, and their variance 0.
"""

import math
from typing import Any

import numpy as np

from tinygrad_cv.backend.compiled.jit import inner, kernel
from tinygrad_cv.backend.compiled.vectors import (
    LANES,
    fma,
    load,
    load_first,
    splat,
    store,
    store_first,
    total,
)
from tinygrad_cv.backend.threads import parallel, split

Array = Any

PART = 1 << 16
"""How many numbers a part has at least: a hand-over to another thread takes as long."""

BLOCK = 1 << 13
"""How many numbers a block has: 32 KB, the first-level cache."""

ROWS = 32
"""How many rows it has at least: joining it to the others takes as long as a few of them; and at
most four times as many, which float32 adds up well."""


def parts_of(length: int, size: int) -> list[slice]:
    """`length` items of `size` numbers in all, in parts for the threads."""
    return split(length, min(16, size // PART))


@inner
def rows_of_block(width: int) -> int:
    """How many rows of `width` numbers are taken at a time."""
    return min(max(ROWS, BLOCK // width), 4 * ROWS)


# ----- columns -----------------------------------------------------------------------------------
# Rows of C channels, in runs: run i is the rows bounds[i] to bounds[i + 1]. Batch norm has one set
# of statistics, whose rows are cut into runs for the threads; in group norm a run is a sample.
# Numbers for each channel are vectors (C,), or one for each run, `step` numbers apart.


@kernel
def _moments(
    x: Array, bounds: Array, first: int, last: int, C: int, mean: Array, squares: Array
) -> None:
    """mean[i, c] of run i, and Σ (x - mean)², for the runs from `first` to `last`.

    Blocks are joined by the formula of Chan, Golub and LeVeque (1979): with d what the means of
    m and n numbers differ by, Σ (x - mean)² of all is that of both plus d² · m n / (m + n).
    """
    rows, whole = rows_of_block(C), C - C % LANES
    rest = np.empty(C, np.float32)
    center, square = np.empty_like(rest), np.empty_like(rest)
    for i in range(first, last):
        mean[i] = 0
        squares[i] = 0
        m = 0
        for top in range(bounds[i], bounds[i + 1], rows):
            n = min(rows, bounds[i + 1] - top)
            begin, share = top * C, np.float32(1 / n)
            rest[:] = 0
            for o in range(begin, begin + n * C, C):
                for c in range(0, whole, LANES):
                    store(rest, c, load(rest, c) + (load(x, o + c) - load(x, begin + c)))
                for c in range(whole, C):
                    rest[c] += x[o + c] - x[begin + c]
            for c in range(C):
                rest[c] *= share
                center[c] = x[begin + c] + rest[c]
            square[:] = 0
            for o in range(begin, begin + n * C, C):
                for c in range(0, whole, LANES):
                    z = load(x, o + c) - load(center, c)
                    store(square, c, fma(z, z, load(square, c)))
                for c in range(whole, C):
                    z1 = x[o + c] - center[c]
                    square[c] += z1 * z1
            old, new = m / (m + n), n / (m + n)
            for c in range(C):
                exact = np.float64(x[begin + c]) + np.float64(rest[c])
                shift = center[c] - exact
                apart = exact - mean[i, c]
                mean[i, c] += apart * new
                squares[i, c] += square[c] - n * shift * shift + apart * apart * (old * n)
            m += n


@kernel
def _scale(
    x: Array,
    y: Array,
    bounds: Array,
    first: int,
    last: int,
    C: int,
    step: int,
    center: Array,
    scale: Array,
    shift: Array,
) -> None:
    """y = (x - center) · scale + shift, for each channel of each run."""
    whole = C - C % LANES
    for i in range(first, last):
        at = i * step
        for row in range(bounds[i], bounds[i + 1]):
            o = row * C
            for c in range(0, whole, LANES):
                z = load(x, o + c) - load(center, at + c)
                store(y, o + c, fma(z, load(scale, at + c), load(shift, at + c)))
            if whole < C:
                n, c = C - whole, whole
                z = load_first(x, o + c, n) - load_first(center, at + c, n)
                z = fma(z, load_first(scale, at + c, n), load_first(shift, at + c, n))
                store_first(y, o + c, z, n)


@kernel
def _products(
    g: Array,
    x: Array,
    bounds: Array,
    first: int,
    last: int,
    C: int,
    step: int,
    center: Array,
    sums: Array,
    products: Array,
) -> None:
    """sums[i] = Σ g and products[i] = Σ g · (x - center), for each channel of run i."""
    rows, whole = rows_of_block(2 * C), C - C % LANES
    s, p = np.empty(C, np.float32), np.empty(C, np.float32)
    for i in range(first, last):
        at = i * step
        sums[i] = 0
        products[i] = 0
        for top in range(bounds[i], bounds[i + 1], rows):
            s[:] = 0
            p[:] = 0
            for row in range(top, min(top + rows, bounds[i + 1])):
                o = row * C
                for c in range(0, whole, LANES):
                    u, z = load(g, o + c), load(x, o + c) - load(center, at + c)
                    store(s, c, load(s, c) + u)
                    store(p, c, fma(u, z, load(p, c)))
                for c in range(whole, C):
                    s[c] += g[o + c]
                    p[c] += g[o + c] * (x[o + c] - center[at + c])
            for c in range(C):
                sums[i, c] += s[c]
                products[i, c] += p[c]


@kernel
def _combine(
    g: Array,
    x: Array,
    y: Array,
    bounds: Array,
    first: int,
    last: int,
    C: int,
    step: int,
    center: Array,
    a: Array,
    b: Array,
    c: Array,
) -> None:
    """y = a · g - (b · (x - center) + c), for each channel of each run."""
    whole = C - C % LANES
    for i in range(first, last):
        at = i * step
        for row in range(bounds[i], bounds[i + 1]):
            o = row * C
            for k in range(0, whole, LANES):
                z = load(x, o + k) - load(center, at + k)
                z = fma(z, load(b, at + k), load(c, at + k))
                store(y, o + k, load(g, o + k) * load(a, at + k) - z)
            if whole < C:
                n, k = C - whole, whole
                z = load_first(x, o + k, n) - load_first(center, at + k, n)
                z = fma(z, load_first(b, at + k, n), load_first(c, at + k, n))
                u = load_first(g, o + k, n) * load_first(a, at + k, n)
                store_first(y, o + k, u - z, n)


def fold(rows: int, channels: int) -> int:
    """How many rows are taken as one, so that few lanes are empty, and the sums of four vectors
    wait for nothing."""

    def speed(k: int) -> tuple[float, int]:
        width = k * channels
        return width / (-(-width // LANES) * LANES), min(width, 4 * LANES)

    return max((k for k in (1, 2, 4, 8) if rows % k == 0), key=speed)


class Columns:
    """Rows of C channels (flat), in runs that the threads take: see the kernels above."""

    def __init__(self, rows: int, channels: int, samples: int = 0) -> None:
        """With `samples` each of them is a run with vectors of its own; else all share them."""
        each = rows // max(samples, 1)
        self.fold = fold(each, channels)
        self.rows, self.channels = rows // self.fold, channels
        self.width = channels * self.fold
        if samples:
            bounds = [i * (each // self.fold) for i in range(samples + 1)]
        else:
            bounds = [0, *(part.stop for part in parts_of(self.rows, rows * channels))]
        self.bounds = np.array(bounds, np.int64)
        self.runs = len(bounds) - 1
        self.step = self.width if samples else 0
        self.parts = split(self.runs, min(16, rows * channels // PART) if samples else self.runs)

    def moments(self, x: Array) -> tuple[Array, Array, Array]:
        """How many rows each run has, their mean and their Σ (x - mean)², (runs, fold, C)."""
        mean, squares = np.empty((2, self.runs, self.width))

        def work(part: slice) -> None:
            _moments(x, self.bounds, part.start, part.stop, self.width, mean, squares)

        parallel(work, self.parts)
        shape = self.runs, self.fold, self.channels
        counts = np.broadcast_to(np.diff(self.bounds).reshape(-1, 1, 1), shape)
        return counts, mean.reshape(shape), squares.reshape(shape)

    def vector(self, v: Array) -> Array:
        """Numbers for each channel, (C,) or (runs, C), repeated for the rows that are joined."""
        v = v.astype(np.float32)
        return v.reshape(-1) if self.fold == 1 else np.tile(v, self.fold).reshape(-1)

    def scale(self, x: Array, center: Array, scale: Array, shift: Array) -> Array:
        """(x - center) · scale + shift"""
        y = np.empty_like(x)
        vectors = self.vector(center), self.vector(scale), self.vector(shift)

        def work(part: slice) -> None:
            _scale(x, y, self.bounds, part.start, part.stop, self.width, self.step, *vectors)

        parallel(work, self.parts)
        return y

    def products(self, g: Array, x: Array, center: Array) -> tuple[Array, Array]:
        """Σ g and Σ g · (x - center) of each run, (runs, C)."""
        sums, products = np.empty((2, self.runs, self.width))
        c = self.vector(center)

        def work(part: slice) -> None:
            place = self.bounds, part.start, part.stop, self.width, self.step
            _products(g, x, *place, c, sums, products)

        parallel(work, self.parts)
        shape = self.runs, self.fold, self.channels
        return sums.reshape(shape).sum(1), products.reshape(shape).sum(1)

    def combine(self, g: Array, x: Array, center: Array, a: Array, b: Array, c: Array) -> Array:
        """a · g - (b · (x - center) + c)"""
        y = np.empty_like(x)
        vectors = self.vector(center), self.vector(a), self.vector(b), self.vector(c)

        def work(part: slice) -> None:
            _combine(g, x, y, self.bounds, part.start, part.stop, self.width, self.step, *vectors)

        parallel(work, self.parts)
        return y


def joined(counts: Array, means: Array, squares: Array, axis: tuple[int, ...]) -> Any:
    """Mean and biased variance of all, from those of parts along an axis (see `_moments`)."""
    count = counts.sum(axis, keepdims=True)
    first = means[tuple(slice(1) if i in axis else slice(None) for i in range(means.ndim))]
    mean = first + (counts * (means - first)).sum(axis, keepdims=True) / count
    var = (squares + counts * (means - mean) ** 2).sum(axis, keepdims=True) / count
    return mean, np.maximum(var, 0)


def _shift(center: Array, mean: Array, scale: Array) -> Array:
    """What the rounding of the mean leaves of it, scaled; a scale may be infinite."""
    return (center - mean) * np.where(np.isfinite(scale), scale, 0)


def batch_norm(
    rows: Array, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array] | None:
    """See `Backend.batch_norm`; for rows (N·S, C). None where the variance is not finite."""
    columns, x = Columns(*rows.shape), rows.reshape(-1)
    mean, var = (a.reshape(-1) for a in joined(*columns.moments(x), (0, 1)))
    if not np.isfinite(var).all():
        return None
    scale = 1 / np.sqrt(var + eps)
    if weight is not None:
        scale = scale * weight
    center = mean.astype(np.float32)
    shift = _shift(center, mean, scale)
    if bias is not None:
        shift = shift + bias
    return columns.scale(x, center, scale, shift).reshape(rows.shape), mean, var


def batch_norm_backward(
    g: Array, rows: Array, weight: Array | None, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """See `Backend.batch_norm_backward`; for rows (N·S, C)."""
    columns, x, g = Columns(*rows.shape), rows.reshape(-1), g.reshape(-1)
    inverse, center = 1 / np.sqrt(var + eps), mean.astype(np.float32)
    sums, products = (a.sum(0) for a in columns.products(g, x, center))
    weight_gradient = (products + (center - mean) * sums) * inverse
    # dx = a·(g - mean(g) - x̂·mean(g·x̂)) = a·g - (b·(x - center) + c)
    a = inverse if weight is None else inverse * weight
    b = a * inverse * weight_gradient / len(rows)
    c = a * sums / len(rows) + (center - mean) * b
    dx = columns.combine(g, x, center, a, b, c)
    return dx.reshape(rows.shape), weight_gradient, sums


def scale_channels(rows: Array, center: Array, scale: Array, shift: Array) -> Array:
    """See `Backend.scale_channels`; for rows (N·S, C) and vectors (C,)."""
    columns = Columns(*rows.shape)
    return columns.scale(rows.reshape(-1), center, scale, shift).reshape(rows.shape)


# ----- rows --------------------------------------------------------------------------------------
# Rows of n numbers; weight and bias are (p, n), and row i has those of i modulo p.

LONG = 1 << 10
"""How many numbers of a row are added up in float32, in twice as many sums as a vector has."""


@inner
def _sum(x: Array, start: int, n: int, center: Any) -> float:
    """Σ (x - center) over n numbers"""
    mu, result = splat(center), 0.0
    for block in range(start, start + n, LONG):
        stop = min(block + LONG, start + n)
        i = block
        a, b = splat(np.float32(0)), splat(np.float32(0))
        while i + 2 * LANES <= stop:
            a += load(x, i) - mu
            b += load(x, i + LANES) - mu
            i += 2 * LANES
        result += np.float64(total(a + b))
        for j in range(i, stop):
            result += np.float64(x[j] - center)
    return result


@inner
def _square_sum(x: Array, start: int, n: int, center: Any) -> float:
    """Σ (x - center)² over n numbers"""
    mu, result = splat(center), 0.0
    for block in range(start, start + n, LONG):
        stop = min(block + LONG, start + n)
        i = block
        a, b = splat(np.float32(0)), splat(np.float32(0))
        while i + 2 * LANES <= stop:
            z = load(x, i) - mu
            a = fma(z, z, a)
            z = load(x, i + LANES) - mu
            b = fma(z, z, b)
            i += 2 * LANES
        result += np.float64(total(a + b))
        for j in range(i, stop):
            d = np.float64(x[j] - center)
            result += d * d
    return result


@inner
def _row_moments(x: Array, start: int, n: int, share: float, centered: int) -> tuple[float, float]:
    """Mean and variance of n numbers, share = 1 / n; the mean is taken for 0 unless `centered`."""
    mean = np.float64(x[start]) + _sum(x, start, n, x[start]) * share if centered else 0.0
    center = np.float32(mean)
    var = _square_sum(x, start, n, center) * share - (center - mean) ** 2
    if not np.isfinite(var):  # their squares are beyond float32
        mean, var = 0.0, 0.0
        if centered:
            for j in range(start, start + n):
                mean += np.float64(x[j])
            mean /= n
        for j in range(start, start + n):
            var += (np.float64(x[j]) - mean) ** 2
        var /= n
    return mean, 0.0 if var < 0 else var


@kernel
def _standardize(
    x: Array,
    y: Array,
    n: int,
    centered: int,
    first: int,
    last: int,
    w: Array,
    b: Array,
    p: int,
    eps: float,
    mean: Array,
    var: Array,
) -> None:
    """y = w · (x - mean) / √(var + eps) + b, with the mean and the variance of each row; the mean
    is 0 unless `centered`."""
    whole, share = n - n % LANES, 1 / n
    for row in range(first, last):
        o, at = row * n, row % p * n if p > 1 else 0
        m, v = _row_moments(x, o, n, share, centered)
        center = np.float32(m)
        mean[row], var[row] = m, v
        r = 1 / math.sqrt(v + eps)
        mu, scale, shift = splat(center), splat(np.float32(r)), splat(np.float32((center - m) * r))
        for j in range(0, whole, LANES):
            z = fma(load(x, o + j) - mu, scale, shift)
            store(y, o + j, fma(z, load(w, at + j), load(b, at + j)))
        if whole < n:
            k = n - whole
            z = fma(load_first(x, o + whole, k) - mu, scale, shift)
            z = fma(z, load_first(w, at + whole, k), load_first(b, at + whole, k))
            store_first(y, o + whole, z, k)


@kernel
def _standardize_backward(
    g: Array,
    x: Array,
    dx: Array,
    n: int,
    centered: int,
    first: int,
    last: int,
    w: Array,
    p: int,
    eps: float,
    mean: Array,
    var: Array,
    dw: Array,
    db: Array,
) -> None:
    """With z = (x - mean) · r for r = 1 / √(var + eps), and h = g · w: dx = r · (h - mean(h) -
    z · mean(h · z)) for each row, and dw = Σ g · z, db = Σ g over the rows. Without `centered` the
    mean is 0, and h keeps its own."""
    whole, zero, part = n - n % LANES, splat(np.float32(0)), 1 / n
    dw[:] = 0
    db[:] = 0
    # Sums of as many rows as float32 adds up well.
    some_w, some_b = np.zeros(p * n, np.float32), np.zeros(p * n, np.float32)
    for row in range(first, last):
        o, at = row * n, row % p * n if p > 1 else 0
        m = mean[row]
        center, r = np.float32(m), np.float32(1 / math.sqrt(var[row] + eps))
        rest = np.float32((center - m) * r)
        mu, scale, shift = splat(center), splat(r), splat(rest)
        along, level = 0.0, 0.0
        for block in range(0, n, LONG):
            a, b = zero, zero
            for j in range(block, min(block + LONG, whole), LANES):
                z = fma(load(x, o + j) - mu, scale, shift)
                u = load(g, o + j)
                store(some_w, at + j, fma(u, z, load(some_w, at + j)))
                store(some_b, at + j, load(some_b, at + j) + u)
                h = u * load(w, at + j)
                a += h
                b = fma(h, z, b)
            level += np.float64(total(a))
            along += np.float64(total(b))
        for j in range(whole, n):
            zj = (x[o + j] - center) * r + rest
            some_w[at + j] += g[o + j] * zj
            some_b[at + j] += g[o + j]
            hj = g[o + j] * w[at + j]
            level += np.float64(hj)
            along += np.float64(hj * zj)
        lowered, share = np.float32(level * part if centered else 0.0), np.float32(along * part)
        for j in range(0, whole, LANES):
            z = fma(load(x, o + j) - mu, scale, shift)
            h = load(g, o + j) * load(w, at + j) - splat(lowered)
            store(dx, o + j, (h - z * splat(share)) * scale)
        for j in range(whole, n):
            zj = (x[o + j] - center) * r + rest
            dx[o + j] = (g[o + j] * w[at + j] - lowered - zj * share) * r
        if (row + 1 - first) % (ROWS * p) == 0 or row + 1 == last:
            for j in range(p * n):
                dw[j] += some_w[j]
                db[j] += some_b[j]
            some_w[:] = 0
            some_b[:] = 0


# In runs of numbers that share a weight and a bias, such as the pixels of a channel, a row has
# n / run of them, and row i has those of i modulo p.


@inner
def _with_deviations(g: Array, x: Array, start: int, n: int, center: Any) -> tuple[float, float]:
    """Σ g and Σ g · (x - center) over n numbers"""
    mu, sums, products = splat(center), 0.0, 0.0
    for block in range(start, start + n, LONG):
        stop = min(block + LONG, start + n)
        whole = stop - (stop - block) % LANES
        a, b = splat(np.float32(0)), splat(np.float32(0))
        for i in range(block, whole, LANES):
            u = load(g, i)
            a += u
            b = fma(u, load(x, i) - mu, b)
        if whole < stop:  # beyond them g is 0
            u = load_first(g, whole, stop - whole)
            a += u
            b = fma(u, load_first(x, whole, stop - whole) - mu, b)
        sums += np.float64(total(a))
        products += np.float64(total(b))
    return sums, products


@kernel
def _standardize_runs(
    x: Array,
    y: Array,
    n: int,
    run: int,
    first: int,
    last: int,
    w: Array,
    b: Array,
    p: int,
    eps: float,
    mean: Array,
    var: Array,
) -> None:
    """`_standardize`, with a weight and a bias for each run."""
    for row in range(first, last):
        k = row % p * (n // run)
        m, v = _row_moments(x, row * n, n, 1 / n, 1)
        mean[row], var[row] = m, v
        center = np.float32(m)
        mu, r = splat(center), 1 / math.sqrt(v + eps)
        for start in range(row * n, (row + 1) * n, run):
            scale, stop = r * w[k], start + run
            s, t = splat(np.float32(scale)), splat(np.float32(b[k] + (center - m) * scale))
            whole = stop - run % LANES
            for i in range(start, whole, LANES):
                store(y, i, fma(load(x, i) - mu, s, t))
            if whole < stop:
                z = load_first(x, whole, stop - whole) - mu
                store_first(y, whole, fma(z, s, t), stop - whole)
            k += 1


@kernel
def _standardize_runs_backward(
    g: Array,
    x: Array,
    dx: Array,
    n: int,
    run: int,
    first: int,
    last: int,
    w: Array,
    p: int,
    eps: float,
    mean: Array,
    var: Array,
    dw: Array,
    db: Array,
) -> None:
    """`_standardize_backward`, with a weight and a bias for each run."""
    dw[:] = 0
    db[:] = 0
    for row in range(first, last):
        m, r = mean[row], 1 / math.sqrt(var[row] + eps)
        center = np.float32(m)
        rest, along, level = (center - m) * r, 0.0, 0.0
        k = row % p * (n // run)
        for start in range(row * n, (row + 1) * n, run):
            sums, products = _with_deviations(g, x, start, run, center)
            products = products * r + rest * sums
            db[k] += sums
            dw[k] += products
            level += w[k] * sums
            along += w[k] * products
            k += 1
        mu, scale, shift = splat(center), splat(np.float32(r)), splat(np.float32(rest))
        lowered, share = splat(np.float32(-level / n)), splat(np.float32(along / n))
        k = row % p * (n // run)
        for start in range(row * n, (row + 1) * n, run):
            weight, stop = splat(w[k]), start + run
            whole = stop - run % LANES
            for i in range(start, whole, LANES):
                z = fma(load(x, i) - mu, scale, shift)
                store(dx, i, (fma(load(g, i), weight, lowered) - z * share) * scale)
            if whole < stop:
                z = fma(load_first(x, whole, stop - whole) - mu, scale, shift)
                h = fma(load_first(g, whole, stop - whole), weight, lowered)
                store_first(dx, whole, (h - z * share) * scale, stop - whole)
            k += 1


class Rows:
    """x as rows over its last axes, all of its memory; weight and bias of shape `affine`."""

    kernels = _standardize, _standardize_backward

    def __init__(
        self, x: Array, axis: tuple[int, ...], affine: tuple[int, ...], centered: bool = True
    ) -> None:
        self.lead = x.ndim - len(axis)
        shape = (1,) * (x.ndim - len(affine)) + affine
        own = 0  # the axes from here on have weights of their own
        while own < self.lead and shape[own] == 1:
            own += 1
        self.fits = (
            x.flags.c_contiguous
            and axis == tuple(range(self.lead, x.ndim))
            and shape[own : self.lead] == x.shape[own : self.lead]
        )
        self.shape, self.n = x.shape, math.prod(x.shape[self.lead :])
        self.affine = (1,) * own + x.shape[own:]
        self.p = math.prod(x.shape[own : self.lead])
        self.rows = x.size // self.n
        self.parts = parts_of(self.rows, x.size)
        self.sizes = self.n, int(centered)

    def vector(self, v: Array | None, missing: float) -> Array:
        """Weight or bias (p · n)"""
        if v is None:
            return np.full(math.prod(self.affine), missing, np.float32)
        return np.ascontiguousarray(np.broadcast_to(v, self.affine)).reshape(-1)

    def forward(self, x: Array, w: Array | None, b: Array | None, eps: float) -> Any:
        y, flat = np.empty_like(x), x.reshape(-1)
        mean, var = np.empty((2, self.rows))
        weights = self.vector(w, 1), self.vector(b, 0), self.p, eps

        def work(part: slice) -> None:
            place = *self.sizes, part.start, part.stop
            self.kernels[0](flat, y.reshape(-1), *place, *weights, mean, var)

        parallel(work, self.parts)
        kept = self.shape[: self.lead] + (1,) * (len(self.shape) - self.lead)
        return y, mean.reshape(kept), var.reshape(kept)

    def backward(
        self, g: Array, x: Array, w: Array | None, mean: Array, var: Array, eps: float
    ) -> Any:
        dx, flat, g = np.empty_like(x), x.reshape(-1), np.ascontiguousarray(g).reshape(-1)
        weight = self.vector(w, 1)
        statistics = mean.reshape(-1), var.reshape(-1)

        def work(part: slice) -> Array:
            sums = np.empty((2, len(weight)))
            place = *self.sizes, part.start, part.stop, weight, self.p, eps
            self.kernels[1](g, flat, dx.reshape(-1), *place, *statistics, *sums)
            return sums

        dw, db = sum(parallel(work, self.parts))
        return dx, dw.reshape(self.affine), db.reshape(self.affine)


class Runs(Rows):
    """Rows in which runs of numbers share a weight and a bias."""

    kernels = _standardize_runs, _standardize_runs_backward

    def __init__(self, x: Array, axis: tuple[int, ...], affine: tuple[int, ...]) -> None:
        super().__init__(x, axis, affine)
        shape, inner = (1,) * (x.ndim - len(affine)) + affine, x.ndim
        while inner > self.lead and shape[inner - 1] == 1:
            inner -= 1
        self.affine = self.affine[:inner] + (1,) * (x.ndim - inner)
        self.sizes = self.n, math.prod(x.shape[inner:])
        self.fits &= shape[self.lead : inner] == x.shape[self.lead : inner]
        self.fits &= self.sizes[1] >= LANES


# ----- groups of columns -------------------------------------------------------------------------


class Groups:
    """Images x (N, G, *S) or (N, G, C/G, *S) that lie channels-last, over all axes but the first
    two; weight and bias of shape `affine`, with a number for each channel."""

    def __init__(self, x: Array, axis: tuple[int, ...], affine: tuple[int, ...]) -> None:
        wide = (1,) * (x.ndim - len(affine)) + affine
        self.fits = False
        for channels in ((1,), (1, 2))[: max(0, x.ndim - 2)]:
            self.order = [0, *range(1 + len(channels), x.ndim), *channels]
            if axis == tuple(range(2, x.ndim)) and x.transpose(self.order).flags.c_contiguous:
                self.fits = all(n == 1 for i, n in enumerate(wide) if i not in channels)
                break
        if not self.fits:
            return
        self.shape, self.samples = x.shape, x.shape[0]
        self.group = (x.shape[1], math.prod(x.shape[i] for i in channels[1:]))
        self.affine = tuple(n if i in channels else 1 for i, n in enumerate(x.shape))
        self.count = x.size // math.prod(x.shape[:2])  # numbers in a group
        channels_in_all = math.prod(self.group)
        self.columns = Columns(x.size // channels_in_all, channels_in_all, self.samples)

    def memory(self, x: Array) -> Array:
        """All of it, flat; a copy where it lies otherwise."""
        return np.ascontiguousarray(x.transpose(self.order)).reshape(-1)

    def images(self, y: Array) -> Array:
        """What `memory` takes apart."""
        back = sorted(range(len(self.order)), key=self.order.__getitem__)
        return y.reshape([self.shape[i] for i in self.order]).transpose(back)

    def vector(self, v: Array | None, missing: float) -> Array:
        """(G, C/G)"""
        if v is None:
            return np.full(self.group, missing)
        return np.broadcast_to(v, self.affine).reshape(self.group)

    def each(self, v: Array) -> Array:
        """(N, G, C/G) or (N, G, 1) as numbers for each channel, (N, C)."""
        return np.broadcast_to(v, (self.samples, *self.group)).reshape(self.samples, -1)

    def forward(self, x: Array, w: Array | None, b: Array | None, eps: float) -> Any:
        flat, weight = self.memory(x), self.vector(w, 1)
        shape = (self.samples, self.columns.fold, *self.group)
        counts, means, squares = (a.reshape(shape) for a in self.columns.moments(flat))
        both = joined(counts, means, squares, (1, 3))
        mean, var = (a[:, 0] for a in both)  # (N, G, 1)
        if not np.isfinite(var).all():
            return None
        r, center = 1 / np.sqrt(var + eps), mean.astype(np.float32)
        shift = _shift(center, mean, r) * weight + self.vector(b, 0)
        vectors = (self.each(v) for v in (center, r * weight, shift))
        kept = self.shape[:2] + (1,) * (len(self.shape) - 2)
        return (
            self.images(self.columns.scale(flat, *vectors)),
            mean.reshape(kept),
            var.reshape(kept),
        )

    def backward(
        self, g: Array, x: Array, w: Array | None, mean: Array, var: Array, eps: float
    ) -> Any:
        flat, g, weight = self.memory(x), self.memory(g), self.vector(w, 1)
        mean, var = (a.reshape(self.samples, -1, 1) for a in (mean, var))
        r, center = 1 / np.sqrt(var + eps), mean.astype(np.float32)
        shape = (self.samples, *self.group)
        sums, products = (
            a.reshape(shape) for a in self.columns.products(g, flat, self.each(center))
        )
        products = (products + (center - mean) * sums) * r
        level = (sums * weight).sum(2, keepdims=True) / self.count
        along = (products * weight).sum(2, keepdims=True) / self.count
        # dx = r · (w · g - level - (x - mean) · r · along)
        b = r * r * along
        c = r * level + (center - mean) * b
        vectors = (self.each(v) for v in (center, r * weight, b, c))
        dx = self.images(self.columns.combine(g, flat, *vectors))
        return dx, products.sum(0).reshape(self.affine), sums.sum(0).reshape(self.affine)


def layout(x: Array, axis: tuple[int, ...], affine: tuple[int, ...]) -> Rows | Groups | None:
    """How x lies in memory: in rows or in columns over `axis`, or otherwise."""
    for kind in (Runs, Rows, Groups):
        if (found := kind(x, axis, affine)).fits:
            return found
    return None
