"""Where the elements of a view lie: shapes, and strides in bytes, without an array."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Ints = Sequence[int]


def contiguous(shape: Ints, step: int) -> tuple[int, ...]:
    """The strides of an array in row-major order, whose elements are `step` apart.

    >>> contiguous((2, 3, 4), 8)
    (96, 32, 8)
    """
    return tuple(step * math.prod(shape[i + 1 :]) for i in range(len(shape)))


def in_order(shape: Ints, order: Ints, step: int) -> tuple[int, ...]:
    """The strides of an array whose axes lie in memory in an order, the outermost first.

    >>> in_order((2, 3, 4), (0, 2, 1), 8)  # channels last
    (96, 8, 24)
    """
    steps = contiguous([shape[i] for i in order], step)
    return tuple(steps[order.index(i)] for i in range(len(shape)))


def like(shape: Ints, strides: Ints, step: int) -> tuple[int, ...]:
    """The strides of a new array with the layout of another one, as NumPy's order "K".

    >>> like((2, 3), (4, 8), 1)
    (1, 2)
    """
    order = sorted(range(len(shape)), key=lambda i: -abs(strides[i]))
    return in_order(shape, order, step)


def broadcast(shape: Ints, strides: Ints, wanted: Ints) -> tuple[int, ...]:
    """The strides of a view in a wider shape: 0 where it repeats. ValueError if it cannot be.

    >>> broadcast((3, 1), (8, 8), (2, 3, 4))
    (0, 8, 0)
    """
    extra = len(wanted) - len(shape)
    pairs = zip(shape, wanted[max(extra, 0) :], strict=True) if extra >= 0 else [(2, 3)]
    if any(n not in (1, m) for n, m in pairs):
        raise ValueError(f"an array of shape {tuple(shape)} cannot be repeated to {tuple(wanted)}")
    own = zip(shape, strides, wanted[extra:], strict=True)
    return (0,) * extra + tuple(step if n == m else 0 for n, step, m in own)


def reshaped(shape: Ints, strides: Ints, wanted: Ints) -> tuple[int, ...] | None:
    """The strides of a view in another shape of as many elements; None where it takes a copy.

    Axes from the inner to the outer are gathered into runs in which each element lies a step from
    the one before, and each run is cut anew.

    >>> reshaped((2, 3, 4), (48, 16, 4), (6, 2, 2))
    (16, 8, 4)
    >>> reshaped((2, 3), (4, 8), (6,)) is None  # a transposed matrix
    True
    """
    if 0 in shape:
        return contiguous(wanted, 1)
    steps, axis = [0] * len(wanted), len(wanted) - 1
    run, step = 1, 0
    own = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    for i in range(len(own) - 1, -1, -1):
        n, stride = own[i]
        if run == 1:
            step = stride
        run *= n
        if i and own[i - 1][1] == run * step:
            continue
        cut = 1
        while axis >= 0 and (cut < run or wanted[axis] == 1):
            steps[axis] = cut * step
            cut *= wanted[axis]
            axis -= 1
        if cut != run:
            return None
        run = 1
    return tuple(steps)


def indexed(shape: Ints, strides: Ints, index: Sequence[Any]) -> tuple[Any, Any]:
    """The shape of x[index], and the strides; None for those where arrays make it a copy.

    The parts are numbers, slices, None, ... and arrays of integers. IndexError for what is out of
    range; of arrays that is not known.

    >>> indexed((4, 5, 6), (120, 24, 4), (1, slice(None, None, -2)))
    ((3, 6), (-48, 4))
    """
    axes = sum(part is not None and part is not Ellipsis for part in index)
    if axes > len(shape):
        raise IndexError(f"too many indices: {axes} for the shape {tuple(shape)}")
    given = list(index)
    at = next((i for i, part in enumerate(given) if part is Ellipsis), len(given))
    given[at : at + 1] = [slice(None)] * (len(shape) - axes)
    are_arrays = any(hasattr(part, "dtype") for part in given)
    found: list[tuple[int, int]] = []
    arrays: list[tuple[int, ...]] = []
    own = zip(shape, strides, strict=True)
    for part in given:
        if part is None:
            found.append((1, 0))
            continue
        n, stride = next(own)
        if isinstance(part, slice):
            seen = range(*part.indices(n))
            found.append((len(seen), stride * seen.step))
            continue
        if not hasattr(part, "dtype") and not -n <= part < n:
            raise IndexError(f"index {part} is out of bounds for axis of length {n}")
        if are_arrays:
            arrays.append(tuple(getattr(part, "shape", ())))
            found.append((ARRAY, 0))
    if not are_arrays:
        return tuple(n for n, _ in found), tuple(step for _, step in found)
    kept = [n for n, _ in found]
    places = [i for i, part in enumerate(index) if not isinstance(part, BASIC)]
    beside = places[-1] - places[0] == len(places) - 1
    front = kept.index(ARRAY) if beside else 0  # what is apart goes to the front
    rest = [n for n in kept[front:] if n != ARRAY]
    return (*kept[:front], *np.broadcast_shapes(*arrays), *rest), None


BASIC = (slice, type(None), type(Ellipsis))
ARRAY = -1
"""The length of an axis that arrays index, and that goes."""
