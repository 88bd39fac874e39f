"""Rows of taking elements out, and of adding them back in."""

from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from numpy.typing import NDArray

from rows.row import Case, Row
from rows.shape import with_empty
from tinygrad_cv.testing.strategies import arrays, shapes

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
def repeating(draw: Any, length: int) -> Array:
    """Places along an axis, some of them twice; the shapes broadcast against each other."""
    shape = draw(st.sampled_from(((3,), (2, 1), (2, 3), ())))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return np.asarray(rng.integers(-length, length, shape))


@st.composite
def masks(draw: Any, shape: Shape) -> Array:
    return np.random.default_rng(draw(st.integers(0, 99))).random(shape) < 0.5


@st.composite
def indices(draw: Any, shape: Shape) -> Any:
    """A part for each axis, or for the first of them; one ... and some None between them.

    The advanced parts are arrays of integers, or one mask over one or two axes.
    """
    advanced = draw(st.sampled_from(("integers", "integers", "mask", "none")))
    parts: list[Any] = []
    axis = 0
    while axis < len(shape):
        length = shape[axis]
        kinds: list[SearchStrategy[Any]] = [st.slices(length)]
        if length:
            kinds.append(st.integers(-length, length - 1))
        if length and advanced == "integers":
            kinds.append(repeating(length))
        if advanced == "mask":
            kinds += [masks(shape[axis : axis + 1]), masks(shape[axis : axis + 2])]
        part = draw(st.one_of(kinds))
        parts.append(part)
        if isinstance(part, np.ndarray) and part.dtype == bool:
            axis += part.ndim
            advanced = "none"
        else:
            axis += 1
    if draw(st.booleans()):
        replaced = draw(st.integers(0, len(parts)))
        parts[replaced : replaced + draw(st.integers(0, 1))] = [...]
    elif draw(st.booleans()):
        parts[-1:] = []
    for _ in range(draw(st.sampled_from((0, 0, 1, 2)))):
        parts.insert(draw(st.integers(0, len(parts))), None)
    return parts[0] if len(parts) == 1 and draw(st.booleans()) else tuple(parts)


@st.composite
def gathers(draw: Any) -> Case:
    x = draw(arrays(shapes(1) | with_empty()))
    return Case((x,), {"index": draw(indices(x.shape))})


@st.composite
def scatters(draw: Any) -> Case:
    shape = draw(shapes(1) | with_empty())
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
    Row("getitem", gathers(), taken, exact="linear"),
    Row("scatter_add", scatters(), added, exact="linear"),
    Row("one_hot", labels(), lambda x, num_classes, dtype: np.eye(num_classes, dtype=dtype)[x]),
]
