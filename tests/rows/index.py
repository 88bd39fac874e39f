"""Rows of taking elements out, and of adding them back in."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from numpy.typing import NDArray

from rows.row import Case, Row
from rows.shape import with_empty
from tinygrad_cv._op import REGISTRY, Op
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
def distinct(draw: Any, length: int) -> Array:
    """Places along an axis, none of them twice, some from the end; the shapes broadcast."""
    shape = draw(st.sampled_from([s for s in ((3,), (2, 1), (1,), ()) if prod(s) <= length]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    chosen = rng.permutation(length)[: prod(shape)]
    return np.asarray(chosen - length * rng.integers(0, 2, prod(shape))).reshape(shape)


@st.composite
def masks(draw: Any, shape: Shape) -> Array:
    return np.random.default_rng(draw(st.integers(0, 99))).random(shape) < 0.5


@st.composite
def indices(draw: Any, shape: Shape, integers: Any = repeating) -> Any:
    """A part for each axis, or for the first of them; one ... and some None between them.

    The advanced parts are arrays of integers, or one mask over one or two axes. No op gets a number
    beside them: that is taken before (see `index_steps`).
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
            kinds.append(integers(length))
        if advanced == "mask":
            kinds += [masks(shape[axis : axis + 1]), masks(shape[axis : axis + 2])]
        part = draw(st.one_of(kinds))
        parts.append(part)
        if isinstance(part, np.ndarray) and part.dtype == bool:
            axis += part.ndim
            advanced = "none"
        else:
            axis += 1
    if any(isinstance(part, np.ndarray) for part in parts):
        parts = [slice(part, None) if isinstance(part, int) else part for part in parts]
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


VIEWS: dict[str, tuple[Callable[[Shape], dict[str, Any]], Callable[[Array], Array]]] = {
    "getitem": (lambda shape: {"index": (slice(1, None),)}, lambda x: x[1:]),
    "permute": (lambda shape: {"axes": tuple(range(len(shape)))[::-1]}, np.transpose),
    "mT": (lambda shape: {}, lambda x: x.swapaxes(-1, -2)),
    "reshape": (lambda shape: {"shape": (prod(shape),)}, np.ravel),
    "diagonal": (lambda shape: {"offset": 1}, lambda x: x.diagonal(1)),
}
"""Views of an array: the attributes of the op, and the same in NumPy."""


def seen(x: Array, view: tuple[Op, ...]) -> Array:
    for step in view:
        x = VIEWS[step.name][1](x)
    return x


@st.composite
def replacements(draw: Any) -> Case:
    """A source in the shape of what is replaced, or one that broadcasts to it, or a number."""
    shape = draw(shapes(1) | with_empty())
    view: tuple[Op, ...] = ()
    inner = shape
    for name in draw(st.lists(st.sampled_from(list(VIEWS)), max_size=2)):
        if len(inner) >= (1 if name == "getitem" else 2):
            view += (REGISTRY[name](**VIEWS[name][0](inner)),)
            inner = seen(np.empty(shape), view).shape
    index = draw(indices(inner, distinct))
    named = places(inner, index).shape
    kept = named[draw(st.integers(0, len(named))) :]
    source = draw(arrays(tuple(1 if n == 1 or draw(st.booleans()) else n for n in kept)))
    if draw(st.sampled_from((False, False, False, True))):
        source = 2.5
    return Case((draw(arrays(shape)), source), {"index": index, "view": view})


def replaced(x: Array, source: Any, index: Any, view: tuple[Op, ...] = ()) -> Array:
    """One element after the other."""
    y = x.copy()
    named = np.asarray(seen(np.arange(x.size).reshape(x.shape), view)[index])
    for place, value in zip(named.flat, np.broadcast_to(source, named.shape).flat, strict=True):
        y.flat[place] = value
    return y


@st.composite
def sent(draw: Any) -> Case:
    """A source, or a number, for distinct places along an axis, of some lines of x."""
    shape = draw(shapes(1))
    axis = draw(st.integers(0, len(shape) - 1))
    part = tuple(draw(st.integers(0 if n > 3 else 1, n)) for n in shape)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    lines = np.broadcast_to(np.arange(shape[axis]), (*part[:axis], *part[axis + 1 :], shape[axis]))
    chosen = rng.permuted(lines, axis=-1)[..., : part[axis]]
    source: Any = 2.5 if draw(st.sampled_from((False, False, False, True))) else draw(arrays(part))
    return Case((draw(arrays(shape)), np.moveaxis(chosen, -1, axis), source), {"axis": axis})


def scattered(x: Array, index: Array, source: Any, axis: int) -> Array:
    y, source = x.copy(), np.broadcast_to(source, index.shape)
    for place in np.ndindex(*index.shape):
        y[*place[:axis], index[place], *place[axis + 1 :]] = source[place]
    return y


@st.composite
def competitors(draw: Any) -> Case:
    """Some for each place along an axis, now and then none; no two are alike."""
    shape = draw(with_empty(1))
    axis = draw(st.integers(0, len(shape) - 1))
    length = draw(st.integers(1, 4)) if shape[axis] else draw(st.integers(0, 4))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    index = rng.integers(-length, max(length, 1), shape)
    attributes = {"axis": axis, "length": length, "largest": draw(st.booleans())}
    return Case((draw(arrays(shape, distinct=True)), index), attributes)


def extremes(x: Array, index: Array, axis: int, length: int, largest: bool) -> Array:
    """The best so far of each place, one after the other; 0 where there is none."""
    best: dict[Shape, float] = {}
    for place in np.ndindex(*index.shape):
        target = (*place[:axis], int(index[place]) % length, *place[axis + 1 :])
        best[target] = (max if largest else min)(best.get(target, x[place]), x[place])
    y = np.zeros((*x.shape[:axis], length, *x.shape[axis + 1 :]))
    for target, value in best.items():
        y[target] = value
    return y


equal_competitors = Case(
    (np.array([2.0, 1.0, 2.0, -1.0, -1.0]), np.array([0, 0, 0, 2, 2])),
    {"axis": 0, "length": 3, "largest": True},
)


@st.composite
def sparse(draw: Any) -> Case:
    """Numbers or truth values, many of them 0."""
    x = np.asarray(draw(arrays(with_empty())).round())
    return Case((np.asarray(x, draw(st.sampled_from(("float64", "int64", "bool")))),))


def nonzero(x: Array) -> Array:
    found = [place for place in np.ndindex(*x.shape) if x[place]]
    return np.array(found, "int64").reshape(len(found), x.ndim)


@st.composite
def triangles(draw: Any) -> Case:
    return Case((draw(arrays(with_empty(2, 4))),), {"diagonal": draw(st.integers(-3, 3))})


def lower(x: Array, diagonal: int) -> Array:
    y = np.zeros_like(x)
    for *batch, i, j in np.ndindex(*x.shape):
        if j - i <= diagonal:
            y[*batch, i, j] = x[*batch, i, j]
    return y


def upper(x: Array, diagonal: int) -> Array:
    return x - lower(x, diagonal - 1)


@st.composite
def diagonals(draw: Any) -> Case:
    x = draw(arrays(with_empty(2, 4)))
    axis1, axis2 = draw(st.permutations(range(x.ndim)))[:2]
    offset = draw(st.integers(-3, 3))
    return Case((x,), {"offset": offset, "axis1": axis1, "axis2": axis2})


def diagonal(x: Array, offset: int, axis1: int, axis2: int) -> Array:
    x = np.moveaxis(x, (axis1, axis2), (-2, -1))
    on_it = [x[..., i, i + offset] for i in range(x.shape[-2]) if 0 <= i + offset < x.shape[-1]]
    return np.stack(on_it, -1) if on_it else np.empty((*x.shape[:-2], 0))


@st.composite
def embeddings(draw: Any) -> Case:
    """Vectors as long as the diagonal of matrices with `rows` and `columns`."""
    rows, columns = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    offset = draw(st.integers(-3, 3))
    length = sum(0 <= i + offset < columns for i in range(rows))
    x = draw(arrays((*draw(with_empty(0, 2)), length)))
    axis1, axis2 = draw(st.permutations(range(x.ndim + 1)))[:2]
    sizes = {"rows": rows, "columns": columns}
    return Case((x,), {"offset": offset, "axis1": axis1, "axis2": axis2, **sizes})


def diag_embed(x: Array, offset: int, axis1: int, axis2: int, rows: int, columns: int) -> Array:
    y = np.zeros((*x.shape[:-1], rows, columns))
    for *batch, k in np.ndindex(*x.shape):
        y[*batch, k + max(0, -offset), k + max(0, offset)] = x[*batch, k]
    return np.moveaxis(y, (-2, -1), (axis1, axis2))


ROWS = [
    Row("getitem", gathers(), taken, exact="linear"),
    Row("scatter_add", scatters(), added, exact="linear"),
    Row("index_put", replacements(), replaced),
    Row("scatter", sent(), scattered),
    Row("scatter_extreme", competitors(), extremes, kinks=(equal_competitors,)),
    Row("nonzero", sparse(), nonzero),
    Row("tril", triangles(), lower, exact="linear"),
    Row("triu", triangles(), upper, exact="linear"),
    Row("diagonal", diagonals(), diagonal, exact="linear"),
    Row("diag_embed", embeddings(), diag_embed, exact="linear"),
    Row("one_hot", labels(), lambda x, num_classes, dtype: np.eye(num_classes, dtype=dtype)[x]),
]
