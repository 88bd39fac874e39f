"""Softmax, its logarithm and the cross-entropy: each row, along the axis, by itself.

With t the largest of a row, eˣ / Σ eˣ = e^(x - t) / Σ e^(x - t), where nothing overflows. A row
stays in the cache while it is walked over for t, for the powers and for the shares. What lies
beyond the last whole vector goes through the same instructions, so that equal numbers have equal
shares.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from tinygrad_cv.backend.compiled.functions import (
    INTEGERS,
    Lanes,
    _power_of_2,
    _reduced,
    exp,
    function,
    largest,
    limited,
    select,
)
from tinygrad_cv.backend.compiled.jit import inner, kernel
from tinygrad_cv.backend.compiled.vectors import (
    I32,
    LANES,
    fma,
    load,
    load_first,
    splat,
    store,
    store_first,
    total,
    vector,
)
from tinygrad_cv.backend.threads import parallel, split

Array = Any

PART = 1 << 14
"""How many numbers a part has at least; a power takes as long as four sums."""

LONG = 1 << 10
"""How many numbers of a row are added up in float32, in as many sums as a vector has lanes."""


@intrinsic
def _top_lane(typing: Any, x: Any) -> Any:
    """The largest lane, and NaN where one is"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        v, apart = args[0], LANES
        while apart := apart // 2:
            places = ir.Constant(INTEGERS, [i ^ apart for i in range(LANES)])
            other = builder.shuffle_vector(v, v, places)
            v = largest(Lanes(builder, v), Lanes(builder, other)).value
        return builder.extract_element(v, ir.Constant(I32, 0))

    return types.float32(vector), generate


@function
def below(x: Lanes, top: Lanes) -> Lanes:
    """x - top, where ∞ less ∞ is 0"""
    return select(x.equals(math.inf), 0.0, x - top)


@function
def where_equal(x: Lanes, y: Lanes, a: Lanes, b: Lanes) -> Lanes:
    """a where x = y, else b"""
    return select(x.equals(y), a, b)


@function
def larger(x: Lanes, y: Lanes) -> Lanes:
    """max(x, y), and y where x is NaN"""
    return select(x > y, x, y)


@function
def log_slope(g: Lanes, y: Lanes, all_of_g: Lanes) -> Lanes:
    """-g · (eʸ - 1) - eʸ · (Σ g - g), where eʸ - 1 has all its digits"""
    n, whole, rest = _reduced(limited(y, -104.0, 89.0))
    half = n >> 1
    power = (rest + 1.0) * _power_of_2(half) * _power_of_2(n - half)
    less = select(whole.equals(0.0), rest, power - 1.0)
    return -(g * less) - power * (all_of_g - g)


@inner
def _largest(x: Array, o: int, n: int) -> Any:
    """The largest of n numbers, NaN before all others."""
    i, stop = o, o + n
    top = splat(x[o])
    while i + LANES <= stop:
        top = largest(top, load(x, i))
        i += LANES
    for j in range(i, stop):
        top = largest(top, splat(x[j]))
    return _top_lane(top)


@inner
def _first_total(v: Any, k: int, room: Array) -> float:
    """The sum of the first k lanes."""
    store(room, 0, v)
    result = 0.0
    for j in range(k):
        result += np.float64(room[j])
    return result


@kernel
def _softmax(x: Array, y: Array, n: int, first: int, last: int) -> None:
    """y = e^(x - t) / Σ e^(x - t)"""
    room, whole = np.empty(LANES, np.float32), n - n % LANES
    for o in range(first * n, last * n, n):
        t = splat(_largest(x, o, n))
        s = 0.0
        for block in range(o, o + whole, LONG):
            a = splat(np.float32(0))
            for i in range(block, min(block + LONG, o + whole), LANES):
                e = exp(below(load(x, i), t))
                store(y, i, e)
                a += e
            s += np.float64(total(a))
        i, k = o + whole, n - whole
        if k:
            e = exp(below(load_first(x, i, k), t))
            store_first(y, i, e, k)
            s += _first_total(e, k, room)
        r = splat(np.float32(1 / s))
        for j in range(o, o + whole, LANES):
            store(y, j, load(y, j) * r)
        if k:
            store_first(y, i, load_first(y, i, k) * r, k)


@inner
def _log_total(x: Array, o: int, n: int, top: Any, room: Array) -> Any:
    """log Σ e^(x - t) (see `Backend.log_total`): log1p of what all but one of the largest add."""
    t, zero, one = splat(top), splat(np.float32(0)), splat(np.float32(1))
    whole, others, most = n - n % LANES, 0.0, 0.0
    for block in range(o, o + whole, LONG):
        a, b = zero, zero
        for i in range(block, min(block + LONG, o + whole), LANES):
            d = below(load(x, i), t)
            a += where_equal(d, zero, zero, exp(d))
            b += where_equal(d, zero, one, zero)
        others += np.float64(total(a))
        most += np.float64(total(b))
    k = n - whole
    if k:
        d = below(load_first(x, o + whole, k), t)
        others += _first_total(where_equal(d, zero, zero, exp(d)), k, room)
        most += _first_total(where_equal(d, zero, one, zero), k, room)
    return np.float32(math.log1p(others + (most - 1)))


@kernel
def _log_softmax(x: Array, y: Array, n: int, first: int, last: int) -> None:
    """y = (x - t) - log Σ e^(x - t)"""
    room, whole = np.empty(LANES, np.float32), n - n % LANES
    for o in range(first * n, last * n, n):
        top = _largest(x, o, n)
        t, s = splat(top), splat(_log_total(x, o, n, top, room))
        for i in range(o, o + whole, LANES):
            store(y, i, below(load(x, i), t) - s)
        i, k = o + whole, n - whole
        if k:
            store_first(y, i, below(load_first(x, i, k), t) - s, k)


@inner
def _dot(g: Array, y: Array, o: int, n: int, mean: Any) -> tuple[float, Any]:
    """Σ (g - mean) · y over n numbers, and the largest y in each lane."""
    along, top = 0.0, splat(np.float32(0))
    for block in range(o, o + n, LONG):
        stop = min(block + LONG, o + n)
        whole = stop - (stop - block) % LANES
        a = splat(np.float32(0))
        for j in range(block, whole, LANES):
            v = load(y, j)
            a = fma(load(g, j) - mean, v, a)
            top = larger(v, top)
        if whole < stop:  # beyond them y is 0
            v = load_first(y, whole, stop - whole)
            a = fma(load_first(g, whole, stop - whole) - mean, v, a)
            top = larger(v, top)
        along += np.float64(total(a))
    return along, top


@kernel
def _softmax_backward(g: Array, y: Array, dx: Array, n: int, first: int, last: int) -> None:
    """dx = y · (h - Σ h · y) for h = g - its mean where y is largest, or h = g where no share is
    so large that what the others get might be lost in a difference"""
    room, whole, zero = np.empty(LANES, np.float32), n - n % LANES, splat(np.float32(0))
    one = splat(np.float32(1))
    for o in range(first * n, last * n, n):
        i, k = o + whole, n - whole
        mean = zero
        along, tops = _dot(g, y, o, n, mean)
        most = _top_lane(tops)
        if most > np.float32(0.5):
            t, level, ties = splat(most), 0.0, 0.0
            for j in range(o, o + whole, LANES):
                level += np.float64(total(where_equal(load(y, j), t, load(g, j), zero)))
                ties += np.float64(total(where_equal(load(y, j), t, one, zero)))
            if k:
                v = load_first(y, i, k)
                level += _first_total(where_equal(v, t, load_first(g, i, k), zero), k, room)
                ties += _first_total(where_equal(v, t, one, zero), k, room)
            mean = splat(np.float32(level / ties))
            along, _ = _dot(g, y, o, n, mean)
        s = splat(np.float32(along))
        for j in range(o, o + whole, LANES):
            store(dx, j, load(y, j) * ((load(g, j) - mean) - s))
        if k:
            h = load_first(g, i, k) - mean
            store_first(dx, i, load_first(y, i, k) * (h - s), k)


@kernel
def _log_softmax_backward(g: Array, y: Array, dx: Array, n: int, first: int, last: int) -> None:
    """dx = -g · (eʸ - 1) - eʸ · (Σ g - g)"""
    room, whole = np.empty(LANES, np.float32), n - n % LANES
    for o in range(first * n, last * n, n):
        s = 0.0
        for block in range(o, o + whole, LONG):
            a = splat(np.float32(0))
            for i in range(block, min(block + LONG, o + whole), LANES):
                a += load(g, i)
            s += np.float64(total(a))
        i, k = o + whole, n - whole
        if k:
            s += _first_total(load_first(g, i, k), k, room)
        all_of_g = splat(np.float32(s))
        for j in range(o, o + whole, LANES):
            store(dx, j, log_slope(load(g, j), load(y, j), all_of_g))
        if k:
            v = log_slope(load_first(g, i, k), load_first(y, i, k), all_of_g)
            store_first(dx, i, v, k)


@kernel
def _cross_entropy(
    x: Array,
    labels: Array,
    n: int,
    first: int,
    last: int,
    losses: Array,
    top: Array,
    log_total: Array,
) -> bool:
    """losses = log Σ e^(x - t) - (x[label] - t) for each row; False where a label is none."""
    room = np.empty(LANES, np.float32)
    for row in range(first, last):
        o, label = row * n, labels[row]
        if label < 0 or label >= n:
            return False
        t = _largest(x, o, n)
        s = _log_total(x, o, n, t, room)
        own = x[o + label]
        top[row], log_total[row] = t, s
        losses[row] = s - (np.float32(0) if own == np.inf else own - t)
    return True


@kernel
def _cross_entropy_backward(
    g: Array,
    x: Array,
    labels: Array,
    top: Array,
    log_total: Array,
    dx: Array,
    n: int,
    first: int,
    last: int,
) -> None:
    """dx = g · (p - 1 at the label, else p) for log p = (x - t) - log Σ e^(x - t)"""
    whole = n - n % LANES
    for row in range(first, last):
        o = row * n
        t, s, u = splat(top[row]), splat(log_total[row]), splat(g[row])
        for i in range(o, o + whole, LANES):
            store(dx, i, exp(below(load(x, i), t) - s) * u)
        i, k = o + whole, n - whole
        if k:
            store_first(dx, i, exp(below(load_first(x, i, k), t) - s) * u, k)
        own = x[o + labels[row]]
        log_p = (np.float32(0) if own == np.inf else own - top[row]) - log_total[row]
        dx[o + labels[row]] = np.float32(math.expm1(np.float64(log_p))) * g[row]


# ----- arrays ------------------------------------------------------------------------------------


def in_rows(x: Array, axis: int) -> list[int] | None:
    """The order of the axes in memory, if `axis` is the last and there are no gaps; else None."""
    others = [i for i in range(x.ndim) if i != axis % x.ndim]
    order = [*sorted(others, key=lambda i: -abs(x.strides[i])), axis % x.ndim]
    return order if x.transpose(order).flags.c_contiguous else None


def _parts(rows: int, size: int) -> list[slice]:
    return split(rows, min(16, size // PART))


def _along(kernel: Callable[..., None], axis: int, *arrays: Array) -> Array | None:
    """What a kernel makes of arrays of one shape, in rows along an axis; None without rows."""
    order = in_rows(arrays[-1], axis)
    if order is None:
        return None
    n, size = arrays[-1].shape[axis], arrays[-1].size
    y = np.empty_like(arrays[-1])
    # A gradient may lie otherwise, or stand for many equal numbers.
    flat = [np.ascontiguousarray(a.transpose(order)).reshape(-1) for a in arrays]
    out = y.transpose(order).reshape(-1)
    parallel(lambda part: kernel(*flat, out, n, part.start, part.stop), _parts(size // n, size))
    return y


def softmax(x: Array, axis: int) -> Array | None:
    """See `Backend.softmax`; None where the axis is not the last in memory."""
    return _along(_softmax, axis, x)


def log_softmax(x: Array, axis: int) -> Array | None:
    """See `Backend.log_shares`; None as in `softmax`."""
    return _along(_log_softmax, axis, x)


def softmax_backward(g: Array, y: Array, axis: int) -> Array | None:
    """See `Backend.softmax_backward`; None as in `softmax`."""
    return _along(_softmax_backward, axis, g, y)


def log_softmax_backward(g: Array, y: Array, axis: int) -> Array | None:
    """See `Backend.log_softmax_backward`; None as in `softmax`."""
    return _along(_log_softmax_backward, axis, g, y)


def cross_entropy(x: Array, labels: Array) -> tuple[Array, Array, Array] | None:
    """See `Backend.cross_entropy`; None where a label is out of range."""
    rows, n = x.shape
    losses, top, log_total = (np.empty(rows, np.float32) for _ in range(3))
    flat = np.ascontiguousarray(x).reshape(-1)
    labels = np.ascontiguousarray(labels, np.int64)

    def work(part: slice) -> bool:
        known: bool = _cross_entropy(flat, labels, n, part.start, part.stop, losses, top, log_total)
        return known

    if not all(parallel(work, _parts(rows, x.size))):
        return None
    return losses, top[:, None], log_total[:, None]


def cross_entropy_backward(
    g: Array, x: Array, labels: Array, top: Array, log_total: Array
) -> Array:
    """See `Backend.cross_entropy_backward`."""
    rows, n = x.shape
    dx = np.empty((rows, n), np.float32)
    flat, g = np.ascontiguousarray(x).reshape(-1), np.ascontiguousarray(g)
    labels = np.ascontiguousarray(labels, np.int64)
    numbers = top.reshape(-1), log_total.reshape(-1), dx.reshape(-1), n

    def work(part: slice) -> None:
        _cross_entropy_backward(g, flat, labels, *numbers, part.start, part.stop)

    parallel(work, _parts(rows, x.size))
    return dx
