"""Sums over axes, added up in float64 in the order of the memory."""

from typing import Any

import numpy as np

from tinygrad_cv.backend.compiled.jit import kernel
from tinygrad_cv.backend.compiled.norm import PART, Columns
from tinygrad_cv.backend.numpy_backend import joined_axes
from tinygrad_cv.backend.threads import parallel, split

Array = Any


@kernel(fast=True)
def _run_sums(x: Array, bounds: Array, first: int, last: int, sums: Array) -> None:
    """sums[i] = Σ x over the run from bounds[i] to bounds[i + 1]"""
    for i in range(first, last):
        run, s = x[bounds[i] : bounds[i + 1]], 0.0
        for j in range(run.size):
            s += np.float64(run[j])
        sums[i] = s


@kernel
def _column_sums(x: Array, bounds: Array, first: int, last: int, C: int, sums: Array) -> None:
    """sums[i, c] = Σ x over the rows bounds[i] to bounds[i + 1] of C numbers"""
    for i in range(first, last):
        s = sums[i]
        s[:] = 0
        start, stop = bounds[i] * C, bounds[i + 1] * C
        fours = start + (stop - start) // (4 * C) * (4 * C)
        for o in range(start, fours, 4 * C):  # which read and write s once
            p, q, r, t = x[o:], x[o + C :], x[o + 2 * C :], x[o + 3 * C :]
            for c in range(C):
                first_two = np.float64(p[c]) + np.float64(q[c])
                s[c] += first_two + (np.float64(r[c]) + np.float64(t[c]))
        for o in range(fours, stop, C):
            row = x[o : o + C]
            for c in range(C):
                s[c] += np.float64(row[c])


def _of_runs(x: Array, n: int) -> Array:
    """The sums of runs of n numbers."""
    many = x.size // n
    if many == 1:  # which is shared out
        edges = [part.stop for part in split(n, min(16, n // PART))]
        bounds = np.array([0, *edges], np.int64)
        parts = split(len(edges), len(edges))
    else:
        bounds = np.arange(many + 1, dtype=np.int64) * n
        parts = split(many, min(16, x.size // PART))
    sums = np.empty(len(bounds) - 1)
    parallel(lambda part: _run_sums(x, bounds, part.start, part.stop, sums), parts)
    return sums if many > 1 else sums.sum(keepdims=True)


def _of_columns(x: Array, samples: int, channels: int) -> Array:
    """The sums of the columns of each sample, (samples, C)."""
    columns = Columns(x.size // channels, channels, samples if samples > 1 else 0)
    sums = np.empty((columns.runs, columns.width))

    def work(part: slice) -> None:
        _column_sums(x, columns.bounds, part.start, part.stop, columns.width, sums)

    parallel(work, columns.parts)
    return sums.reshape(samples, -1, channels).sum(1)


def total(x: Array, axis: Any, keepdims: bool) -> Array | None:
    """See `Backend.total`; None where the memory has gaps."""
    given = range(x.ndim) if axis is None else np.atleast_1d(axis) % x.ndim
    summed = [i in given for i in range(x.ndim)]
    # Axes of length 1 may have any strides, and say nothing of how x lies.
    longer = [i for i, n in enumerate(x.shape) if n > 1]
    order = sorted(longer, key=lambda i: -abs(x.strides[i]))
    memory = x.squeeze().transpose([longer.index(i) for i in order])
    if not memory.flags.c_contiguous or not any(summed[i] for i in order):
        return None
    rows, gone = joined_axes(memory, [summed[i] for i in order])
    flat, shape = memory.reshape(-1), rows.shape
    if gone[-1]:
        y = _of_runs(flat, shape[-1]).reshape(shape[:-1])
        rest = gone[:-1]
    else:
        lead = shape[:-2]
        y = _of_columns(flat, int(np.prod(lead)), shape[-1]).reshape(*lead, shape[-1])
        rest = [*gone[:-2], False]
    y = np.asarray(y.sum(tuple(i for i, g in enumerate(rest) if g)))
    kept = [i for i in order if not summed[i]]
    y = y.reshape([x.shape[i] for i in kept]).transpose(np.argsort(kept))
    if keepdims:
        return y.reshape([1 if s else n for s, n in zip(summed, x.shape, strict=True)])
    return y.reshape([n for s, n in zip(summed, x.shape, strict=True) if not s])
