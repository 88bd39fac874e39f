"""Rows of the reductions."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

import oracles
from rows.row import Case, Row
from rows.shape import seen_through_broadcasting, stretched, with_empty
from tinygrad_cv.testing.strategies import arrays

Array = NDArray[Any]
Axis = int | tuple[int, ...] | None

# ----- what a reduction does, slice by slice ------------------------------------------------------


def of_each_slice(function: Callable[[list[Any]], Any]) -> Callable[..., Array]:
    """An oracle: a plain function of a list, for the elements of each slice that becomes one."""

    def oracle(x: Array, axis: Axis, keepdims: bool) -> Array:
        axes = range(x.ndim) if axis is None else np.atleast_1d(axis).tolist()
        y = np.empty([1 if i in axes else n for i, n in enumerate(x.shape)])
        for place in np.ndindex(*y.shape):
            part = tuple(slice(None) if i in axes else place[i] for i in range(x.ndim))
            y[place] = function(np.ravel(x[part]).tolist())
        return y if keepdims else np.squeeze(y, tuple(axes))

    return oracle


def sum_to(x: Array, shape: tuple[int, ...]) -> Array:
    """Each element goes where a tensor of `shape` would be read for it."""
    y = np.zeros(shape)
    for place in np.ndindex(*x.shape):
        y[seen_through_broadcasting(place, shape)] += x[place]
    return y


# ----- calls to try -------------------------------------------------------------------------------


@st.composite
def reductions(draw: Any, empty: bool = False, **values: Any) -> Case:
    """Axes to reduce: all, some, one or none of them. `empty` ones have a result too."""
    shape = list(draw(with_empty()))
    some = st.lists(st.sampled_from(range(len(shape))), unique=True) if shape else st.just([])
    axes = draw(st.none() | some.map(tuple))
    if not empty:
        for i in range(len(shape)) if axes is None else axes:
            shape[i] = max(1, shape[i])
    x = draw(arrays(shape, **values))
    return Case((x,), {"axis": axes, "keepdims": draw(st.booleans())})


@st.composite
def variances(draw: Any) -> Case:
    case = draw(reductions() | reductions(low=98.0, high=102.0))
    (x,), axis = case.inputs, case.attributes["axis"]
    count = math.prod(x.shape if axis is None else [x.shape[i] for i in axis])
    correction = draw(st.integers(0, min(2, count - 1)))
    return Case(case.inputs, case.attributes | {"correction": correction})


@st.composite
def searches(draw: Any) -> Case:
    """Few distinct values, so that the first of several equal ones is to be found."""
    shape = list(draw(with_empty()))
    axis = draw(st.none() | st.sampled_from(range(len(shape)))) if shape else None
    for i in range(len(shape)) if axis is None else (axis,):
        shape[i] = max(1, shape[i])
    x = np.rint(draw(arrays(shape)))
    return Case((x,), {"axis": axis, "keepdims": draw(st.booleans())})


@st.composite
def truths(draw: Any) -> Case:
    """Zeros and others, as numbers or as booleans; of nothing all are true, and none is any."""
    case = draw(reductions(empty=True, low=-1.0, high=1.0))
    x = np.rint(case.inputs[0])
    return Case((x.astype(draw(st.sampled_from(("bool", "float64", "int64")))),), case.attributes)


@st.composite
def sums_back(draw: Any) -> Case:
    narrow, wide = draw(stretched())
    return Case((draw(arrays(wide)),), {"shape": narrow})


def ties(*elements: float) -> tuple[Case, ...]:
    """Elements that share the extreme: all in one slice, and in the first of two."""
    x = np.array(elements)
    rows = np.stack([x, np.arange(float(len(x)))])
    return (
        Case((x,), {"axis": None, "keepdims": False}),
        Case((rows,), {"axis": (1,), "keepdims": True}),
    )


ROWS = [
    Row("sum", reductions(empty=True), of_each_slice(math.fsum), exact="linear"),
    Row(
        "mean",
        reductions(),
        of_each_slice(lambda part: math.fsum(part) / len(part)),
        exact="linear",
    ),
    Row("var", variances(), oracles.var, exact="complex"),
    Row("amax", reductions(distinct=True), of_each_slice(max), kinks=ties(1.0, 0.2, 1.0, 1.0)),
    Row("amin", reductions(distinct=True), of_each_slice(min), kinks=ties(-1.0, 0.2, -1.0)),
    Row(
        "logsumexp",
        reductions() | reductions(low=998.0, high=1002.0) | reductions(low=-1002.0, high=-998.0),
        of_each_slice(oracles.logsumexp),
    ),
    Row("argmax", searches(), of_each_slice(lambda part: part.index(max(part)))),
    Row("argmin", searches(), of_each_slice(lambda part: part.index(min(part)))),
    Row("any", truths(), of_each_slice(any)),
    Row("all", truths(), of_each_slice(all)),
    Row("sum_to", sums_back(), sum_to, exact="linear"),
]
