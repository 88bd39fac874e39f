"""Rows of the ops that move elements."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from numpy.typing import NDArray

import oracles
from rows.row import Case, Row
from tinygrad_cv.testing.strategies import arrays, shapes

Array = NDArray[Any]
Place = tuple[int, ...]


def with_empty(min_dims: int = 0, max_dims: int = 3) -> SearchStrategy[Place]:
    """Shapes, of which about every fourth has a length of 0."""
    some: SearchStrategy[Place] = shapes(min_dims, max_dims, min_side=0, max_side=2)
    return shapes(min_dims, max_dims) | some


@st.composite
def stretched(draw: Any) -> tuple[Place, Place]:
    """A shape, and one that it broadcasts to."""
    wide = draw(with_empty())
    first = draw(st.integers(0, len(wide)))
    return tuple(1 if draw(st.booleans()) else n for n in wide[first:]), wide


# ----- what an op does, element by element --------------------------------------------------------


def gathered(x: Array, shape: Sequence[int], source: Callable[[Place], Place]) -> Array:
    """y[place] = x[source(place)]"""
    y = np.empty(shape, x.dtype)
    for place in np.ndindex(*shape):
        y[place] = x[source(place)]
    return y


def seen_through_broadcasting(place: Place, shape: Place) -> Place:
    """Where an array of this shape is read for a place of the shape it was broadcast to."""
    last = place[len(place) - len(shape) :]
    return tuple(0 if n == 1 else i for i, n in zip(last, shape, strict=True))


def reshaped(x: Array, shape: Place) -> Array:
    """Both shapes are walked in row-major order."""
    known = prod(n for n in shape if n != -1)
    full = [x.size // known if n == -1 else n for n in shape]
    order = dict(zip(np.ndindex(*full), np.ndindex(*x.shape), strict=True))
    return gathered(x, full, order.__getitem__)


def permuted(x: Array, axes: Place) -> Array:
    def source(place: Place) -> Place:
        return tuple(place[axes.index(axis)] for axis in range(x.ndim))

    return gathered(x, [x.shape[axis] for axis in axes], source)


def transposed(x: Array) -> Array:
    *batch, rows, columns = x.shape
    return gathered(x, (*batch, columns, rows), lambda place: (*place[:-2], place[-1], place[-2]))


def broadcast(x: Array, shape: Place) -> Array:
    return gathered(x, shape, lambda place: seen_through_broadcasting(place, x.shape))


def joined(*xs: Array, axis: int) -> Array:
    """Place i along the axis is in the input that holds the i-th of all the slices."""
    slices = [(x, i) for x in xs for i in range(x.shape[axis])]
    y = np.empty((*xs[0].shape[:axis], len(slices), *xs[0].shape[axis + 1 :]))
    for place in np.ndindex(*y.shape):
        x, i = slices[place[axis]]
        y[place] = x[*place[:axis], i, *place[axis + 1 :]]
    return y


def stacked(*xs: Array, axis: int) -> Array:
    y = np.empty((*xs[0].shape[:axis], len(xs), *xs[0].shape[axis:]))
    for place in np.ndindex(*y.shape):
        y[place] = xs[place[axis]][*place[:axis], *place[axis + 1 :]]
    return y


def turned(x: Array, axes: Place) -> Array:
    def source(place: Place) -> Place:
        ends = zip(place, x.shape, strict=True)
        return tuple(n - 1 - i if axis in axes else i for axis, (i, n) in enumerate(ends))

    return gathered(x, x.shape, source)


def rolled(x: Array, shifts: Place, axes: Place) -> Array:
    def source(place: Place) -> Place:
        at = list(place)
        for shift, axis in zip(shifts, axes, strict=True):
            at[axis] = (at[axis] - shift) % x.shape[axis]
        return tuple(at)

    return gathered(x, x.shape, source)


def taken_along(x: Array, index: Array, axis: int) -> Array:
    def source(place: Place) -> Place:
        return (*place[:axis], int(index[place]), *place[axis + 1 :])

    return gathered(x, index.shape, source)


def put_along(x: Array, index: Array, axis: int, length: int) -> Array:
    y = np.zeros((*x.shape[:axis], length, *x.shape[axis + 1 :]))
    for place in np.ndindex(*x.shape):
        y[*place[:axis], index[place], *place[axis + 1 :]] += x[place]
    return y


# ----- calls to try -------------------------------------------------------------------------------


@st.composite
def reshapes(draw: Any) -> Case:
    """The lengths in another order, two of them joined, 1s put in, one left to be worked out."""
    x = draw(arrays(with_empty()))
    shape = list(draw(st.permutations(x.shape)))
    if len(shape) > 1 and draw(st.booleans()):
        shape[:2] = [shape[0] * shape[1]]
    for _ in range(draw(st.integers(0, 2))):
        shape.insert(draw(st.integers(0, len(shape))), 1)
    if shape and x.size and draw(st.booleans()):
        shape[draw(st.integers(0, len(shape) - 1))] = -1
    return Case((x,), {"shape": tuple(shape)})


@st.composite
def permutations(draw: Any) -> Case:
    x = draw(arrays(with_empty(max_dims=4)))
    return Case((x,), {"axes": tuple(draw(st.permutations(range(x.ndim))))})


@st.composite
def repetitions(draw: Any) -> Case:
    narrow, wide = draw(stretched())
    return Case((draw(arrays(narrow)),), {"shape": wide})


@st.composite
def joins(draw: Any) -> Case:
    """Tensors of any lengths along one axis, now and then one of integers among them."""
    shape = draw(with_empty(1))
    axis = draw(st.integers(0, len(shape) - 1))
    ends = draw(st.lists(st.integers(0, 3), max_size=3))
    xs = [draw(arrays((*shape[:axis], n, *shape[axis + 1 :]))) for n in (shape[axis], *ends)]
    if len(xs) > 1 and draw(st.booleans()):
        xs[-1] = np.rint(xs[-1]).astype("int64")
    return Case(tuple(xs), {"axis": axis})


@st.composite
def stacks(draw: Any) -> Case:
    shape = draw(with_empty())
    xs = [draw(arrays(shape)) for _ in range(draw(st.integers(1, 3)))]
    return Case(tuple(xs), {"axis": draw(st.integers(0, len(shape)))})


@st.composite
def pads(draw: Any) -> Case:
    x = draw(arrays(with_empty()))
    width = st.integers(0, 2)
    widths = tuple((draw(width), draw(width)) for _ in x.shape)
    return Case((x,), {"widths": widths, "value": draw(st.sampled_from((0.0, -1.5)))})


@st.composite
def turns(draw: Any) -> Case:
    x = draw(arrays(with_empty()))
    axes = draw(st.sets(st.integers(0, x.ndim - 1))) if x.ndim else ()
    return Case((x,), {"axes": tuple(axes)})


@st.composite
def rolls(draw: Any) -> Case:
    x = draw(arrays(with_empty()))
    axes = draw(st.lists(st.integers(0, x.ndim - 1), unique=True)) if x.ndim else []
    shifts = [draw(st.integers(-5, 5)) for _ in axes]
    return Case((x,), {"shifts": tuple(shifts), "axes": tuple(axes)})


@st.composite
def places_along(draw: Any) -> tuple[Array, int, int]:
    """Places along an axis of some length, some of them twice and some counted from the end."""
    shape = list(draw(with_empty(1)))
    axis = draw(st.integers(0, len(shape) - 1))
    length = draw(st.integers(1, 4)) if shape[axis] else draw(st.integers(0, 4))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return rng.integers(-length, max(length, 1), shape), axis, length


@st.composite
def takes_along(draw: Any) -> Case:
    index, axis, length = draw(places_along())
    x = draw(arrays((*index.shape[:axis], length, *index.shape[axis + 1 :])))
    return Case((x, index), {"axis": axis})


@st.composite
def puts_along(draw: Any) -> Case:
    index, axis, length = draw(places_along())
    return Case((draw(arrays(index.shape)), index), {"axis": axis, "length": length})


ROWS = [
    Row("reshape", reshapes(), reshaped, exact="linear"),
    Row("permute", permutations(), permuted, exact="linear"),
    Row("mT", arrays(with_empty(2, 4)).map(lambda x: Case((x,))), transposed, exact="linear"),
    Row("broadcast_to", repetitions(), broadcast, exact="linear"),
    Row("cat", joins(), joined, exact="complex"),
    Row("stack", stacks(), stacked, exact="complex"),
    Row("pad", pads(), oracles.pad, exact="complex"),
    Row("flip", turns(), turned, exact="linear"),
    Row("roll", rolls(), rolled, exact="linear"),
    Row("take_along_dim", takes_along(), taken_along, exact="linear"),
    Row("put_along_dim", puts_along(), put_along, exact="linear"),
]
