"""Shapes, parts and repetitions as functions: what the rows of single ops do not show."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

import tinygrad_cv as tg
from rows import Case
from rows.shape import places_along, stretched, with_empty
from tinygrad_cv.ops import shape
from tinygrad_cv.testing import check_op
from tinygrad_cv.testing.strategies import arrays, shapes

Array = NDArray[Any]


def ones(*lengths: int) -> tg.Tensor:
    return tg.ones(lengths)


# ----- beside NumPy -------------------------------------------------------------------------------


def in_one(parts: Sequence[tg.Tensor]) -> tg.Tensor:
    """Several results as one, each with a weight of its own."""
    return shape.cat([shape.ravel(part) * (i + 1) for i, part in enumerate(parts)])


def in_one_array(parts: Sequence[Array]) -> Array:
    return np.concatenate([np.ravel(part) * (i + 1) for i, part in enumerate(parts)])


@st.composite
def an_axis(draw: Any, *others: Any, keyword: str = "", least: int = 1, most: int = 3) -> Case:
    """A tensor, what `others` draw, and an axis counted from either end."""
    x = draw(arrays(with_empty(least, most)))
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    given = tuple(draw(other) for other in others)
    return Case((x, *given), {keyword: axis}) if keyword else Case((x, *given, axis))


@st.composite
def sections(draw: Any) -> Case:
    case = draw(an_axis(keyword="dim"))
    (x,), axis = case.inputs, case.attributes["dim"]
    ends = sorted(draw(st.lists(st.integers(0, x.shape[axis]), max_size=3)))
    return Case((x, [b - a for a, b in zip([0, *ends], [*ends, x.shape[axis]], strict=True)]), {"dim": axis})


@st.composite
def unflattened(draw: Any) -> Case:
    sizes = draw(shapes(1, 3))
    x = draw(arrays((*draw(shapes(0, 1)), math.prod(sizes), 2)))
    wanted = list(sizes)
    if draw(st.booleans()):
        wanted[draw(st.integers(0, len(sizes) - 1))] = -1
    return Case((x, draw(st.sampled_from((x.ndim - 2, -2))), tuple(wanted)))


@st.composite
def moved(draw: Any) -> Case:
    x = draw(arrays(with_empty(1, 4)))
    source = draw(st.lists(st.integers(0, x.ndim - 1), unique=True))
    target = draw(st.permutations(range(x.ndim)))[: len(source)]
    return Case((x, tuple(source), tuple(i - x.ndim for i in target)))


@st.composite
def squeezed(draw: Any) -> Case:
    lengths = draw(st.lists(st.sampled_from((1, 1, 3)), min_size=1, max_size=4))
    dims = draw(st.sets(st.integers(0, len(lengths) - 1)))
    return Case((draw(arrays(lengths)), tuple(dims)))


@st.composite
def rolled(draw: Any) -> Case:
    x = draw(arrays(with_empty(1)))
    axes = draw(st.lists(st.integers(-x.ndim, x.ndim - 1), min_size=1, max_size=3))
    shifts = tuple(draw(st.integers(-5, 5)) for _ in axes)
    chosen = ((x, shifts, tuple(axes)), (x, shifts[0], axes[0]), (x, shifts[0]))
    return Case(draw(st.sampled_from(chosen)))


@st.composite
def tiled(draw: Any, all_axes: bool) -> Case:
    x = draw(arrays(with_empty()))
    least = x.ndim if all_axes else 0
    return Case((x, tuple(draw(st.lists(st.integers(0, 3), min_size=least, max_size=3)))))


@st.composite
def interleaved(draw: Any) -> Case:
    """A number; one for each place along an axis; or one in a list, that counts for all."""
    x = draw(arrays(with_empty(1)))
    dim = draw(st.none() | st.integers(-x.ndim, x.ndim - 1))
    length = x.size if dim is None else x.shape[dim]
    many = st.lists(st.integers(0, 3), min_size=length, max_size=length)
    return Case((x, draw(st.integers(0, 3) | st.just([2]) | many)), {"dim": dim})


MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@st.composite
def continued(draw: Any) -> Case:
    """Some of the last axes with more of themselves around them."""
    mode = draw(st.sampled_from([*MODES]))
    x = draw(arrays(shapes(1, 3)))
    widths: list[int] = []
    for n in reversed(x.shape[draw(st.integers(0, x.ndim - 1)) :]):
        most = {"reflect": n - 1, "circular": n, "replicate": 5}[mode]
        widths += [draw(st.integers(0, most)), draw(st.integers(0, most))]
    return Case((x, tuple(widths)), {"mode": mode})


def numpy_pad(x: Array, pad: Sequence[int], mode: str) -> Array:
    pairs = [(0, 0)] * (x.ndim - len(pad) // 2)
    pairs += [(pad[i], pad[i + 1]) for i in range(len(pad) - 2, -1, -2)]
    return np.pad(x, pairs, mode=MODES[mode])  # type: ignore[call-overload]


@st.composite
def sequences(draw: Any, least: int = 0) -> Case:
    lengths = draw(with_empty(least))
    return Case(tuple(draw(arrays(lengths)) for _ in range(draw(st.integers(1, 3)))))


@st.composite
def taken(draw: Any) -> Case:
    """Of a tensor of one row, of several, or from many rows at one row of places."""
    index, axis, length = draw(places_along())
    narrow = [n if i == axis or draw(st.booleans()) else 1 for i, n in enumerate(index.shape)]
    x = draw(arrays([length if i == axis else n for i, n in enumerate(narrow)]))
    return Case((x, index), {"dim": axis - index.ndim})


def numpy_take(x: Array, index: Array, dim: int) -> Array:
    other = [n for i, n in enumerate(index.shape) if i != index.ndim + dim]
    rows = np.broadcast_to(np.moveaxis(x, dim, -1), (*other, x.shape[dim]))
    places = np.moveaxis(index, dim, -1)
    y = np.empty(places.shape)
    for place in np.ndindex(*places.shape):
        y[place] = rows[place[:-1]][places[place]]
    return np.moveaxis(y, -1, dim)


def by_sequence(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *tensors: function(tensors)


def parts_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """All the tensors that a function returns, as one."""

    def joined(*args: Any, **options: Any) -> tg.Tensor:
        result = function(*args, **options)
        return in_one([result] if isinstance(result, tg.Tensor) else result)

    return joined


def arrays_of(function: Callable[..., Any]) -> Callable[..., Any]:
    def joined(*args: Any, **options: Any) -> Array:
        result = function(*args, **options)
        return in_one_array([result] if isinstance(result, np.ndarray) else result)

    return joined


def numpy_split(x: Array, lengths: Any, dim: int) -> list[Array]:
    """So many at a time, or parts of these lengths."""
    n = x.shape[dim]
    if isinstance(lengths, int):
        lengths = [min(lengths, n - i) for i in range(0, n, lengths)] or [0]
    return np.split(x, np.cumsum(lengths)[:-1], dim)


def numpy_chunk(x: Array, chunks: int, dim: int) -> list[Array]:
    n = x.shape[dim]
    return numpy_split(x, math.ceil(n / chunks), dim) if n else [x] * chunks


FUNCTIONS: dict[str, tuple[Callable[..., Any], Any, Callable[..., Any]]] = {
    "ravel": (shape.ravel, arrays(with_empty()), np.ravel),
    "unflatten": (
        shape.unflatten,
        unflattened(),
        lambda x, dim, sizes: x.reshape((*x.shape[:-2], *sizes, 2)),
    ),
    "movedim": (shape.movedim, moved(), np.moveaxis),
    "swapaxes": (
        lambda x, a: shape.swapaxes(x, a, 0),
        an_axis(),
        lambda x, a: np.swapaxes(x, 0, a),
    ),
    "squeeze": (shape.squeeze, squeezed(), np.squeeze_some if hasattr(np, "squeeze_some") else None),
    "split": (
        parts_of(shape.split),
        sections() | an_axis(st.integers(1, 4), keyword="dim"),
        arrays_of(numpy_split),
    ),
    "chunk": (
        parts_of(shape.chunk),
        an_axis(st.integers(1, 5), keyword="dim"),
        arrays_of(numpy_chunk),
    ),
    "tensor_split": (
        parts_of(shape.tensor_split),
        an_axis(st.integers(1, 5) | st.lists(st.integers(-3, 4), max_size=3), keyword="dim"),
        arrays_of(lambda x, places, dim: np.array_split(x, places, dim)),
    ),
    "unbind": (
        lambda x, dim: in_one([*shape.unbind(x, dim), shape.ravel(x)]),
        an_axis(),
        lambda x, dim: in_one_array([*np.moveaxis(x, dim, 0), x]),
    ),
    "flip": (
        shape.flip,
        st.one_of(an_axis(), squeezed()),
        lambda x, dims: np.flip(x, dims),
    ),
    "roll": (shape.roll, rolled(), np.roll),
    "tile": (shape.tile, tiled(False), np.tile),
    "repeat": (shape.repeat, tiled(True), np.tile),
    "repeat_interleave": (
        shape.repeat_interleave,
        interleaved(),
        lambda x, repeats, dim: np.repeat(x, repeats, dim),
    ),
    "pad": (shape.pad, continued(), numpy_pad),
    "hstack": (by_sequence(shape.hstack), sequences(), by_sequence(np.hstack)),
    "vstack": (by_sequence(shape.vstack), sequences(), by_sequence(np.vstack)),
    "dstack": (by_sequence(shape.dstack), sequences(), by_sequence(np.dstack)),
    "atleast_1d": (parts_of(shape.atleast_1d), sequences(), arrays_of(np.atleast_1d)),
    "atleast_2d": (parts_of(shape.atleast_2d), sequences(), arrays_of(np.atleast_2d)),
    "atleast_3d": (parts_of(shape.atleast_3d), sequences(), arrays_of(np.atleast_3d)),
    "take_along_dim": (shape.take_along_dim, taken(), numpy_take),
}
