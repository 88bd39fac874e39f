"""Rows of taking elements out, and of adding them back in."""

from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from rows.row import Case, Row
from rows.shape import with_empty
from tinygrad_cv.testing.strategies import arrays

Array = NDArray[Any]
Shape = tuple[int, ...]

# ----- an index, by the numbers of the places that it names ---------------------------------------


def places(shape: Shape, index: Any) -> Array:
    """The number of each place that the index names, counted in row-major order."""
    return np.asarray(np.arange(prod(shape)).reshape(shape)[index])


def taken(x: Array, index: Any) -> Array:
    return x.ravel().take(places(x.shape, index))


def added(x: Array, index: Any, shape: Shape) -> Array:
    """How often each place is named, weighted by what is sent there."""
    named = places(shape, index)
    return np.bincount(named.ravel(), x.ravel(), prod(shape)).reshape(shape)


# ----- calls to try -------------------------------------------------------------------------------


@st.composite
def slices(draw: Any, length: int) -> slice:
    """Open or not, counted from either end, in steps of either sign, at times empty."""
    bound = st.none() | st.integers(-length, length)
    return slice(draw(bound), draw(bound), draw(st.sampled_from((None, 2, -1, -2))))


@st.composite
def repeating(draw: Any, length: int) -> Array:
    """Places along an axis, some of them twice; the shapes broadcast against each other."""
    shape = draw(st.sampled_from(((3,), (1,), (2, 3), ())))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return np.asarray(rng.integers(-length, length, shape))


@st.composite
def indices(draw: Any, shape: Shape) -> Any:
    """A part for each axis, then ... for a run of parts, then None between them.

    The advanced parts are arrays of integers, or one mask over one or two axes.
    """
    advanced = draw(st.sampled_from(("none", "integers", "mask")))
    parts: list[Any] = []
    axis = 0
    while axis < len(shape):
        length = shape[axis]
        kinds = [slices(length)]
        if length:
            kinds.append(st.integers(-length, length - 1))
        if length and advanced == "integers":
            kinds.append(repeating(length))
        if advanced == "mask" and draw(st.booleans()):
            advanced = "none"
            covered = shape[axis : axis + draw(st.integers(1, 2))]
            rng = np.random.default_rng(draw(st.integers(0, 99)))
            parts.append(rng.random(covered) < 0.5)
            axis += len(covered)
        else:
            parts.append(draw(st.one_of(kinds)))
            axis += 1
    first = draw(st.integers(0, len(parts)))
    last = draw(st.integers(first, len(parts)))
    unsaid = last == len(parts) and draw(st.booleans())
    parts[first:last] = [] if unsaid else [...]
    for _ in range(draw(st.integers(0, 2))):
        parts.insert(draw(st.integers(0, len(parts))), None)
    return parts[0] if len(parts) == 1 and draw(st.booleans()) else tuple(parts)


@st.composite
def gathers(draw: Any) -> Case:
    x = draw(arrays(with_empty()))
    return Case((x,), {"index": draw(indices(x.shape))})


@st.composite
def scatters(draw: Any) -> Case:
    shape = draw(with_empty())
    index = draw(indices(shape))
    return Case((draw(arrays(places(shape, index).shape)),), {"index": index, "shape": shape})


@st.composite
def labels(draw: Any) -> Case:
    classes = draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.integers(0, classes, draw(with_empty()))
    dtype = draw(st.sampled_from(("float32", "float64", "int64")))
    attributes = {"num_classes": classes, "dtype": np.dtype(dtype)}
    return Case((np.asarray(x, draw(st.sampled_from(("int64", "uint8")))),), attributes)


ROWS = [
    Row("getitem", gathers(), taken),
    Row("scatter_add", scatters(), added),
    Row("one_hot", labels(), lambda x, num_classes, dtype: np.eye(num_classes, dtype=dtype)[x]),
]
