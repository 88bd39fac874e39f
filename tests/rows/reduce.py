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


def running(function: Callable[[list[Any]], Any]) -> Callable[..., Array]:
    """An oracle: a plain function of a list, for each beginning (or end) of each row of an axis."""

    def oracle(x: Array, axis: int, reverse: bool = False) -> Array:
        y = np.empty(x.shape)
        for place in np.ndindex(*y.shape):
            here = place[axis]
            part = slice(here, None) if reverse else slice(0, here + 1)
            y[place] = function(x[*place[:axis], part, *place[axis + 1 :]].tolist())
        return y

    return oracle


def recurrence(x: Array, w: Array, axis: int, reverse: bool = False) -> Array:
    """y_i = x_i + w_i · y_(i-1), step by step."""
    x, w = (np.moveaxis(a[(slice(None),) * axis], axis, 0) for a in (x, w))
    y = np.zeros_like(x)
    places = range(len(x))
    before = np.zeros(x.shape[1:])
    for i in reversed(places) if reverse else places:
        before = y[i] = x[i] + w[i] * before
    return np.moveaxis(y, 0, axis)


def std(x: Array, axis: Axis, keepdims: bool, correction: int) -> Array:
    return np.sqrt(oracles.var(x, axis, correction, keepdims))


def norm(x: Array, axis: Axis, keepdims: bool, p: float) -> Array:
    """Of numbers small enough to be raised to a power as they are."""
    return of_each_slice(lambda part: math.fsum(abs(v) ** p for v in part) ** (1 / p))(
        x, axis, keepdims
    )


def sum_to(x: Array, shape: tuple[int, ...]) -> Array:
    """Each element goes where a tensor of `shape` would be read for it."""
    y = np.zeros(shape)
    for place in np.ndindex(*x.shape):
        y[seen_through_broadcasting(place, shape)] += x[place]
    return y


# ----- calls to try -------------------------------------------------------------------------------


@st.composite
def reductions(draw: Any, empty: bool = False, least: int = 1, **values: Any) -> Case:
    """Axes to reduce: all, some, one or none of them. `empty` ones have a result too.

    With a `least` of 2 they are at least one axis, of at least that length.
    """
    shape = list(draw(with_empty(least - 1)))
    some = st.lists(st.sampled_from(range(len(shape))), unique=True) if shape else st.just([])
    axes = draw(st.none() | some.map(tuple))
    if least > 1:
        axes = axes or None
    if not empty:
        for i in range(len(shape)) if axes is None else axes:
            shape[i] = max(least, shape[i])
    x = draw(arrays(shape, **values))
    return Case((x,), {"axis": axes, "keepdims": draw(st.booleans())})


@st.composite
def variances(draw: Any, least: int = 1) -> Case:
    case = draw(reductions(least=least) | reductions(least=least, low=98.0, high=102.0))
    (x,), axis = case.inputs, case.attributes["axis"]
    count = math.prod(x.shape if axis is None else [x.shape[i] for i in axis])
    correction = draw(st.integers(0, min(2, count - 1)))
    return Case(case.inputs, case.attributes | {"correction": correction})


@st.composite
def norms(draw: Any) -> Case:
    """No element is 0, where some powers have a kink."""
    case = draw(reductions(kinks=(0.0,)))
    return Case(case.inputs, case.attributes | {"p": draw(st.sampled_from((0.5, 1.5, 2.0, 3.0)))})


@st.composite
def products(draw: Any) -> Case:
    """Along one axis, every third time with one factor or two that are 0."""
    shape = draw(with_empty(1))
    axis = draw(st.integers(0, len(shape) - 1))
    x = draw(arrays(shape))
    for _ in range(draw(st.sampled_from((0, 1, 2)))):
        if shape[axis]:
            x[(slice(None),) * axis + (draw(st.integers(0, shape[axis] - 1)),)] = 0
    return Case((x,), {"axis": (axis,), "keepdims": draw(st.booleans())})


@st.composite
def runs(draw: Any, inputs: int = 1, **values: Any) -> Case:
    """Along an axis, that is now and then longer than most: a scan doubles its step."""
    shape = list(draw(with_empty(1)))
    axis = draw(st.integers(0, len(shape) - 1))
    if draw(st.booleans()):
        shape[axis] = draw(st.integers(5, 9))
    xs = tuple(draw(arrays(shape, **values)) for _ in range(inputs))
    return Case(xs, {"axis": axis, "reverse": draw(st.booleans())})


@st.composite
def running_products(draw: Any) -> Case:
    case = draw(runs())
    (x,), axis = case.inputs, case.attributes["axis"]
    for _ in range(draw(st.sampled_from((0, 1, 2)))):
        if x.shape[axis]:
            x[(slice(None),) * axis + (draw(st.integers(0, x.shape[axis] - 1)),)] = 0
    return case


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


@st.composite
def running_extremes(draw: Any) -> Case:
    """Few distinct values, so that the last of several equal ones is to be found; now and then
    a nan."""
    case = draw(runs())
    x = np.rint(case.inputs[0])
    if x.size and draw(st.booleans()):
        x.flat[draw(st.integers(0, x.size - 1))] = np.nan
    return Case((x,), case.attributes | {"largest": draw(st.booleans())})


def last_extreme(x: Array, axis: int, reverse: bool, largest: bool) -> Array:
    """Of the elements up to each, in the direction of the run, the place of the last best one."""
    rows = np.moveaxis(x, axis, -1)
    y = np.empty(rows.shape, "int64")
    for place in np.ndindex(*rows.shape[:-1]):
        row, best = rows[place].tolist(), None
        for i in reversed(range(len(row))) if reverse else range(len(row)):
            if (
                best is None
                or math.isnan(row[i])
                or (row[i] >= row[best] if largest else row[i] <= row[best])
            ):
                best = i
            y[(*place, i)] = best
    return np.moveaxis(y, -1, axis)


def ties(*elements: float) -> tuple[Case, ...]:
    """Elements that share the extreme: all in one slice, and in the first of two."""
    x = np.array(elements)
    rows = np.stack([x, np.arange(float(len(x)))])
    return (
        Case((x,), {"axis": None, "keepdims": False}),
        Case((rows,), {"axis": (1,), "keepdims": True}),
    )


spread_of_equals = Case(
    (np.array([[1.0, 1.0, 1.0], [0.0, 1.0, 3.0]]),),
    {"axis": (1,), "keepdims": False, "correction": 1},
)


def norm_of_zeros(p: float) -> Case:
    x = np.array([[0.0, 0.0], [1.0, -2.0]])
    return Case((x,), {"axis": (1,), "keepdims": False, "p": p})


ROWS = [
    Row("sum", reductions(empty=True), of_each_slice(math.fsum), exact="linear"),
    Row(
        "mean",
        reductions(),
        of_each_slice(lambda part: math.fsum(part) / len(part)),
        exact="linear",
    ),
    Row("var", variances(), oracles.var, exact="complex"),
    Row("std", variances(least=2), std, kinks=(spread_of_equals,)),
    Row("norm", norms(), norm, kinks=tuple(norm_of_zeros(p) for p in (1.5, 2.0))),
    Row("prod", products(), of_each_slice(math.prod), exact="complex"),
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
    Row("cumsum", runs(), running(math.fsum), exact="linear"),
    Row("cumprod", running_products(), running(math.prod), exact="complex"),
    Row("logcumsumexp", runs() | runs(low=998.0, high=1002.0), running(oracles.logsumexp)),
    Row("recurrence", runs(inputs=2), recurrence, exact="complex"),
    Row("argcummax", running_extremes(), last_extreme),
    Row("sum_to", sums_back(), sum_to, exact="linear"),
]
