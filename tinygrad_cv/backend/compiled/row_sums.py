"""Sums of rows: y = M x for a matrix M with few numbers that are not 0.

That is what resizing an image does along an axis, sampling one on a grid, and the gradient of rows
taken at an index, an embedding's among them. A row of y is written once, by one thread, whatever
their number; it is added up in float64.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_cv.backend.compiled.jit import kernel
from tinygrad_cv.backend.compiled.lanes import (
    load_up_to,
    rounded,
    splat_wide,
    store_up_to,
    widened,
)
from tinygrad_cv.backend.compiled.turn import channels_last
from tinygrad_cv.backend.compiled.vectors import LANES, fma, splat, total
from tinygrad_cv.backend.threads import parallel, split

Array = Any

PART = 1 << 15
"""How many numbers a part adds up, at least: a hand-over to another thread takes as long."""


@kernel
def _combined(
    x: Array,
    y: Array,
    starts: Array,
    places: Array,
    weights: Array,
    length: int,
    count: int,
    width: int,
    start: int,
    stop: int,
) -> None:
    """y[o, i] = Σ weights[k] · x[o, places[k]], starts[i] <= k < starts[i + 1], for rows (o, i).

    x (O, length, width), y (O, count, width), its rows from start to stop. A weight of 0 has no
    part, not even as 0·∞.
    """
    for row in range(start, stop):
        block, i = row // count * length, row % count
        for c in range(0, width, LANES):
            sum = splat_wide(0.0)
            for k in range(starts[i], starts[i + 1]):
                if weights[k] != 0:
                    value = load_up_to(x, (block + places[k]) * width + c, width - c)
                    sum = sum + widened(value) * splat_wide(weights[k])
            store_up_to(y, row * width + c, rounded(sum), width - c)


def _combine(
    x: Array, y: Array, starts: Array, places: Array, weights: Array, outer: int, width: int
) -> None:
    """y = M x for contiguous x (O, length, width) and y (O, count, width), over the threads."""
    count = len(starts) - 1
    length = x.size // max(1, outer * width)
    flat = x.reshape(-1), y.reshape(-1), starts, places, weights, length, count, width
    parts = split(outer * count, min(16, outer * width * (len(places) + count) // PART))
    parallel(lambda part: _combined(*flat, part.start, part.stop), parts)


@kernel
def _sort(index: Array, starts: Array, order: Array) -> None:
    """The numbers of the entries in `order`: from starts[i] to starts[i + 1] those of place i."""
    for place in index:
        starts[place + 1] += 1
    for i in range(1, len(starts)):
        starts[i] += starts[i - 1]
    following = starts.copy()
    for k in range(len(index)):
        order[following[index[k]]] = k
        following[index[k]] += 1


def _sorted(index: Array, count: int) -> tuple[Array, Array]:
    starts, order = np.zeros(count + 1, np.int64), np.empty(len(index), np.int64)
    _sort(index, starts, order)
    return starts, order


# ----- along an axis -----------------------------------------------------------------------------


def _along(x: Array, axis: int) -> tuple[Array, list[int], int]:
    """x in the order of its memory, contiguous; that order; and which axis of it is meant."""
    order = sorted(range(x.ndim), key=lambda i: -abs(x.strides[i]))
    return np.ascontiguousarray(x.transpose(order)), order, order.index(axis)


def has_rows(x: Array, axis: int) -> bool:
    """Whether rows along the axis are more than single numbers."""
    return any(n > 1 and 0 < s < x.strides[axis] for n, s in zip(x.shape, x.strides, strict=True))


def weighted_sums(x: Array, axis: int, terms: Sequence[Any], count: int) -> Array:
    """See `Backend.weighted_sums`."""
    rows = np.concatenate([np.arange(t.rows.start, t.rows.stop) for t in terms])
    places = np.concatenate([t.places for t in terms])
    weights = np.concatenate(
        [np.ones(len(t.places)) if t.weights is None else t.weights for t in terms]
    )
    starts, order = _sorted(rows, count)
    flat, axes, at = _along(x, axis)
    shape = (*flat.shape[:at], count, *flat.shape[at + 1 :])
    y = np.empty(shape, np.float32)
    outer, width = math.prod(shape[:at]), math.prod(shape[at + 1 :])
    _combine(flat, y, starts, places[order], weights[order], outer, width)
    return y.transpose(np.argsort(axes))


def row_index(shape: Sequence[int], index: Any) -> tuple[int, Array] | None:
    """The one axis that is indexed, and the places along it; None for any other index."""
    parts = index if isinstance(index, tuple) else (index,)
    arrays = [i for i, part in enumerate(parts) if isinstance(part, np.ndarray)]
    if len(arrays) != 1 or len(parts) > len(shape):
        return None
    (axis,) = arrays
    others = (part for i, part in enumerate(parts) if i != axis)
    places = parts[axis]
    if places.dtype.kind not in "iu" or places.ndim == 0 or not places.size:
        return None
    if not all(isinstance(part, slice) and part == slice(None) for part in others):
        return None
    n = shape[axis]
    if places.min() < -n or places.max() >= n or math.prod(shape[axis + 1 :]) == 1 == axis:
        return None
    return axis, places


def scatter_rows(shape: Sequence[int], axis: int, index: Array, g: Array) -> Array:
    """Zeros of `shape` with each row of g added at its place of an axis (see `row_index`)."""
    n, count = shape[axis], index.size
    if index.ndim > 1:
        g = np.ascontiguousarray(g).reshape(*shape[:axis], count, *shape[axis + 1 :])
    flat, axes, at = _along(g, axis)
    places = index.reshape(-1).astype(np.int64)
    starts, order = _sorted(np.where(places < 0, places + n, places), n)
    made = [n if i == axis else flat.shape[j] for j, i in enumerate(axes)]
    y = np.empty(made, np.float32)
    outer, width = math.prod(made[:at]), math.prod(made[at + 1 :])
    _combine(flat, y, starts, order, np.ones(count), outer, width)
    return y.transpose(np.argsort(axes))


# ----- at places of their own for each image -----------------------------------------------------


def _flat_places(index: Array, length: int) -> Array:
    """index (N, K, L) as places among all images, (N·L·K,)"""
    first = np.arange(len(index), dtype=np.int64).reshape(-1, 1, 1) * length
    return np.ascontiguousarray((index + first).transpose(0, 2, 1)).reshape(-1)


def _flat_weights(w: Array) -> Array:
    """w (N, K, L) as (N·L·K,)"""
    return np.ascontiguousarray(w.transpose(0, 2, 1), np.float64).reshape(-1)


def sample(x: Array, w: Array, index: Array) -> Array:
    """See `Backend.sample`."""
    count, taps, samples = index.shape
    y = np.empty((count, samples, x.shape[1]), np.float32)
    starts = np.arange(count * samples + 1) * taps
    places = _flat_places(index, x.shape[2])
    _combine(channels_last(x), y, starts, places, _flat_weights(w), 1, x.shape[1])
    return y.transpose(0, 2, 1)


def sample_transpose(d: Array, w: Array, index: Array, length: int) -> Array:
    """See `Backend.sample_transpose`."""
    x = np.empty((len(d), length, d.shape[1]), np.float32)
    starts, order = _sorted(_flat_places(index, length), len(d) * length)
    weights = _flat_weights(w)[order]
    _combine(channels_last(d), x, starts, order // index.shape[1], weights, 1, d.shape[1])
    return x.transpose(0, 2, 1)


@kernel
def _products(
    x: Array, d: Array, y: Array, places: Array, taps: int, width: int, start: int, stop: int
) -> None:
    """y[l, k] = Σ x[places[l, k]] · d[l] over the channels, for l from start to stop."""
    for sample in range(start, stop):
        for k in range(sample * taps, (sample + 1) * taps):
            sum = splat(np.float32(0))
            for c in range(0, width, LANES):
                value = load_up_to(x, places[k] * width + c, width - c)
                sum = fma(value, load_up_to(d, sample * width + c, width - c), sum)
            y[k] = total(sum)


def sample_weight(x: Array, d: Array, index: Array) -> Array:
    """See `Backend.sample_weight`."""
    count, taps, samples = index.shape
    y = np.empty((count, samples, taps), np.float32)
    flat = channels_last(x).reshape(-1), channels_last(d).reshape(-1), y.reshape(-1)
    places, width = _flat_places(index, x.shape[2]), x.shape[1]
    parts = split(count * samples, min(16, y.size * width // PART))
    parallel(lambda part: _products(*flat, places, taps, width, part.start, part.stop), parts)
    return y.transpose(0, 2, 1)
