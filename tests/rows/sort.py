"""Rows of the ops that sort."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from rows.row import Case, Row
from rows.shape import with_empty
from tinygrad_cv.testing.strategies import arrays

Array = NDArray[Any]


def order(x: Array, axis: int, descending: bool) -> Array:
    """Python's sort, which leaves equal elements as they stand, row by row."""
    rows = np.moveaxis(x, axis, -1)
    y = np.empty(rows.shape, "int64")
    for place in np.ndindex(*rows.shape[:-1]):
        row = rows[place].tolist()
        y[place] = sorted(range(len(row)), key=row.__getitem__, reverse=descending)
    return np.moveaxis(y, -1, axis)


def middle(x: Array, axis: int) -> Array:
    """The place that stands in the middle, before it where two do; of a nan, if there is any."""
    rows = np.moveaxis(x, axis, -1)
    y = np.empty((*rows.shape[:-1], 1), "int64")
    for place in np.ndindex(*rows.shape[:-1]):
        row = rows[place].tolist()
        unknown = [i for i, value in enumerate(row) if value != value]
        ranked = sorted(range(len(row)), key=row.__getitem__)
        y[place] = unknown[-1] if unknown else ranked[(len(row) - 1) // 2]
    return np.moveaxis(y, -1, axis)


@st.composite
def orders(draw: Any) -> Case:
    """Few distinct values, so that equal ones are to be kept in order."""
    x = np.rint(draw(arrays(with_empty(1))))
    axis = draw(st.integers(0, x.ndim - 1))
    return Case((x,), {"axis": axis, "descending": draw(st.booleans())})


@st.composite
def medians(draw: Any) -> Case:
    shape = list(draw(with_empty(1)))
    axis = draw(st.integers(0, len(shape) - 1))
    shape[axis] = draw(st.integers(1, 5))
    x = np.rint(draw(arrays(shape)))
    if x.size and draw(st.booleans()):
        x.flat[draw(st.integers(0, x.size - 1))] = np.nan
    return Case((x,), {"axis": axis})


@st.composite
def tops(draw: Any) -> Case:
    """Rows of few distinct values or of many, some so long that they are not sorted as a whole."""
    shape = list(draw(with_empty(1)))
    axis = draw(st.integers(0, len(shape) - 1))
    if draw(st.booleans()):
        shape[axis] = draw(st.integers(9, 40))
    x = draw(arrays(shape))
    if draw(st.booleans()):
        x = np.rint(x)
    k = draw(st.integers(0, shape[axis]))
    return Case(
        (x,), {"axis": axis, "k": min(k, draw(st.integers(1, 40))), "largest": draw(st.booleans())}
    )


def top(x: Array, axis: int, k: int, largest: bool) -> Array:
    return np.take(order(x, axis, largest), range(k), axis)


@st.composite
def searches(draw: Any) -> Case:
    """Rows that ascend, one for all or one for each row of what is looked for."""
    shape = draw(with_empty(1))
    rows = shape[:-1] if draw(st.booleans()) else ()
    x = np.sort(np.rint(draw(arrays((*rows, draw(st.integers(0, 9)))))), -1)
    v = np.rint(draw(arrays(shape, -3.0, 3.0)))
    if not rows:
        v = v.ravel()
    if v.size and draw(st.booleans()):
        v.flat[draw(st.integers(0, v.size - 1))] = np.nan
    return Case((x, v), {"right": draw(st.booleans())})


def found(x: Array, v: Array, right: bool) -> Array:
    y = np.empty(v.shape, "int64")
    for place in np.ndindex(*v.shape):
        row, value = x[place[:-1]].tolist() if x.ndim > 1 else x.tolist(), v[place]
        y[place] = sum(not (e > value if right else e >= value) for e in row)
    return y


ROWS = [
    Row("argtop", tops(), top),
    Row("searchsorted", searches(), found),
    Row("argsort", orders(), order),
    Row("argmedian", medians(), middle),
]
