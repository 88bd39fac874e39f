"""What is in an array, in a few numbers."""

import math
import sys
from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.viz.data import Summary

BINS = 16
SAMPLE = 16_384
"""A histogram of more elements than this is of so many of them, evenly spread."""


def summarize(values: Any, op: str = "") -> Summary:
    """What is in an array (in host memory), in a few numbers; `op` is what made it."""
    values = host.asarray(values)
    told = Summary(count=values.size)
    if not values.size or values.dtype.kind not in "fiub":
        return told
    flat = values.ravel(order="K")  # as it lies in memory: no copy
    told.zeros = int(host.count_nonzero(flat == 0)) / flat.size
    if flat.dtype.kind != "f" or flat.dtype.itemsize < 4:
        flat = flat.astype("float32" if flat.dtype.kind == "f" else "float64")
    with host.errstate(over="ignore", invalid="ignore"):
        squares, unit = float(host.dot(flat, flat)), 1.0
    if not math.isfinite(squares):  # something is not finite, or the sum overflows
        finite = host.isfinite(flat)
        told.nan = int(host.count_nonzero(host.isnan(flat)))
        told.inf = int(flat.size - host.count_nonzero(finite)) - told.nan
        flat = flat[finite].astype("float64")
        if not flat.size:
            return told
        unit = float(abs(flat).max()) or 1.0
        flat /= unit
        squares = float(host.dot(flat, flat))
    least, most = float(flat.min()), float(flat.max())
    mean = float(host.add.reduce(flat)) / flat.size
    variance = squares / flat.size - mean * mean
    if variance < 0.01 * mean * mean:  # the difference cancels: look again
        variance = float(flat.var())
    told.min, told.max, told.mean = least * unit, most * unit, mean * unit
    told.std = math.sqrt(variance) * unit
    told.norm = min(math.sqrt(squares) * unit, sys.float_info.max)
    told.histogram = _histogram(flat[:: max(1, flat.size // SAMPLE)], least, most)
    if op in ("relu", "relu6"):
        # A unit is a column of (N, F), a channel of (N, C, ...).
        axes = tuple(axis for axis in range(values.ndim) if axis != 1 or values.ndim == 1)
        told.dead = float((values.max(axis=axes) <= 0).mean()) if values.ndim > 1 else told.zeros
    elif op in RANGES:
        low, high = RANGES[op]
        margin = (high - low) / 100
        near = (values < low + margin) | (values > high - margin)
        told.saturated = float(near.mean())
    return told


def seen(backend: Any, array: Any, op: str = "") -> Summary:
    """What is in an array of a backend; of one without numbers how many there would be."""
    if not backend.has_numbers:
        return Summary(count=array.size)
    return summarize(backend.to_host(array), op)


def _histogram(sample: Any, least: float, most: float) -> list[int]:
    """Counts in equal bins from the least to the most; all in the middle if there is one value."""
    scale = BINS / (most - least) if most > least else 0.0
    if not 0 < scale < math.inf:
        return [len(sample) if i == BINS // 2 else 0 for i in range(BINS)]
    # In double precision: of numbers around 1e-45 the scale has no place in another.
    bins = host.minimum((sample.astype("float64") - least) * scale, BINS - 1).astype("int64")
    counts: list[int] = host.bincount(bins, minlength=BINS).tolist()
    return counts


RANGES = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}


def norm(array: Any) -> float:
    """‖x‖, as `summarize` has it, but NaN or infinite where x is."""
    values = host.asarray(array).reshape(-1)
    with host.errstate(over="ignore", invalid="ignore"):
        return float(
            host.linalg.norm(values.astype("float32") if values.dtype.itemsize < 4 else values)
        )
