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
    return Case(
        (x, [b - a for a, b in zip([0, *ends], [*ends, x.shape[axis]], strict=True)]), {"dim": axis}
    )


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
    x = draw(arrays(with_empty(2, 4)))
    count = draw(st.integers(1, x.ndim))
    source, target = (draw(st.permutations(range(x.ndim)))[:count] for _ in range(2))
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
    """One row of x, or one row of places, may stand for many."""
    index, axis, length = draw(places_along())
    x = draw(arrays([length if i == axis else n for i, n in enumerate(index.shape)]))
    for i in range(x.ndim):
        if i != axis and x.shape[i] and draw(st.booleans()):
            first = (*[slice(None)] * i, slice(0, 1))
            x, index = draw(st.sampled_from(((x[first], index), (x, index[first]))))
    return Case((x, index), {"dim": axis - index.ndim})


def numpy_take(x: Array, index: Array, dim: int) -> Array:
    rows, places = np.moveaxis(x, dim, -1), np.moveaxis(index, dim, -1)
    other = np.broadcast_shapes(rows.shape[:-1], places.shape[:-1])
    rows = np.broadcast_to(rows, (*other, rows.shape[-1]))
    places = np.broadcast_to(places, (*other, places.shape[-1]))
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
    "squeeze": (
        shape.squeeze,
        squeezed(),
        lambda x, dims: np.squeeze(x, tuple(i for i in dims if x.shape[i] == 1)),
    ),
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


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients(name: str) -> None:
    function, cases, reference = FUNCTIONS[name]
    check_op(function, cases, reference)


@given(
    lengths=st.lists(st.integers(0, 3), min_size=1, max_size=3),
    indexing=st.sampled_from(("ij", "xy")),
)
def test_meshgrid_is_numpys(lengths: list[int], indexing: Any) -> None:
    lines = [np.arange(n) + 10.0 * i for i, n in enumerate(lengths)]
    found = shape.meshgrid(*map(tg.Tensor, lines), indexing=indexing)
    for grid, expected in zip(found, np.meshgrid(*lines, indexing=indexing), strict=True):
        assert_array_equal(grid.numpy(), expected)
    again = shape.meshgrid([tg.Tensor(line) for line in lines], indexing=indexing)
    for grid, same in zip(again, found, strict=True):
        assert_array_equal(grid.numpy(), same.numpy())


@given(pair=stretched())
def test_the_shape_of_another_tensor(pair: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    narrow, wide = pair
    x, other = tg.Tensor(np.random.default_rng(0).random(narrow)), tg.zeros(wide)
    assert_array_equal(shape.expand_as(x, other).numpy(), np.broadcast_to(x.numpy(), wide))
    flat = shape.ravel(x)
    assert_array_equal(shape.reshape_as(flat, x).numpy(), x.numpy())
    assert_array_equal(flat.view_as(x).numpy(), x.numpy())


@given(case=continued())
def test_cropping_takes_back_what_was_added(case: Case) -> None:
    x, pad = case.inputs
    wide = shape.pad(tg.Tensor(x), pad, **case.attributes)
    for mode in ("constant", *MODES):
        assert_array_equal(shape.pad(wide, [-width for width in pad], mode).numpy(), x)


def test_one_end_cropped_and_the_other_continued() -> None:
    x = tg.Tensor([0.0, 1.0, 2.0, 3.0])
    assert shape.pad(x, (-1, 2), "reflect").tolist() == [1, 2, 3, 2, 1]
    assert shape.pad(x, (-3, 3), "reflect").tolist() == [3, 2, 1, 0]
    assert shape.pad(x, (2, -1), "circular").tolist() == [1, 2, 0, 1, 2]
    assert shape.pad(x, (-1, 2), "replicate").tolist() == [1, 2, 3, 3, 3]
    assert shape.pad(x, (-1, 1), "constant", 7).tolist() == [1, 2, 3, 7]


def test_axes_are_moved_in_the_order_of_their_places() -> None:
    x = tg.zeros(2, 3, 4)
    assert shape.movedim(x, (0, 1), (1, 0)).shape == (3, 2, 4)
    assert tg.moveaxis(x, 0, -1).shape == (3, 4, 2)


def test_parts_of_nothing() -> None:
    x = tg.zeros(0, 2)
    assert [part.shape for part in shape.split(x, 3)] == [(0, 2)]
    assert [part.shape for part in shape.split(x, 0)] == [(0, 2)]
    assert [part.shape for part in shape.chunk(x, 2)] == [(0, 2)] * 2
    assert shape.unbind(x) == ()
    assert shape.take_along_dim(x, tg.Tensor(np.zeros((0, 5), "int64")), 1).shape == (0, 5)


def test_numbers_of_repetitions_as_a_tensor() -> None:
    x = tg.Tensor([[1.0, 2.0], [3.0, 4.0]])
    counts = tg.Tensor([2, 1], dtype="int64")
    assert shape.repeat_interleave(x, counts, 1).tolist() == [[1, 1, 2], [3, 3, 4]]
    assert shape.tensor_split(x, tg.Tensor([1], dtype="int64"), 1)[1].tolist() == [[2], [4]]


def test_take_along_dim_without_an_axis() -> None:
    x = tg.Tensor([[3.0, 1.0], [2.0, 4.0]])
    places = tg.Tensor([3, -1, 0], dtype="int64")
    assert shape.take_along_dim(x, places).tolist() == [4, 4, 3]


def test_the_axis_has_two_names() -> None:
    x = tg.Tensor(np.arange(6.0).reshape(2, 3))
    for function, how in ((shape.split, 2), (shape.chunk, 2), (shape.tensor_split, 2)):
        for a, b in zip(function(x, how, dim=1), function(x, how, axis=1), strict=True):
            assert_array_equal(a.numpy(), b.numpy())
    assert len(shape.unbind(x, axis=-1)) == 3


# ----- views and copies ---------------------------------------------------------------------------

VIEWS: dict[str, Callable[[tg.Tensor], tg.Tensor]] = {
    "reshape": lambda x: shape.reshape(x, 6),
    "flatten": shape.flatten,
    "ravel": shape.ravel,
    "unflatten": lambda x: shape.unflatten(x, 1, (3, 1)),
    "permute": lambda x: shape.permute(x, 1, 0),
    "transpose": lambda x: shape.transpose(x, 0, 1),
    "swapaxes": lambda x: shape.swapaxes(x, 0, 1),
    "movedim": lambda x: shape.movedim(x, 0, 1),
    "squeeze": shape.squeeze,
    "unsqueeze": lambda x: shape.unsqueeze(x, 0),
    "split": lambda x: shape.split(x, 1)[0],
    "chunk": lambda x: shape.chunk(x, 2)[0],
    "tensor_split": lambda x: shape.tensor_split(x, 2)[0],
    "unbind": lambda x: shape.unbind(x)[0],
    "broadcast_to": lambda x: shape.broadcast_to(x, 2, 2, 3),
    "meshgrid": lambda x: shape.meshgrid(shape.ravel(x), tg.ones(2))[0],
}
COPIES: dict[str, Callable[[tg.Tensor], tg.Tensor]] = {
    "reshape": lambda x: shape.reshape(shape.transpose(x, 0, 1), 6),
    "cat": lambda x: shape.cat([x, x]),
    "stack": lambda x: shape.stack([x, x]),
    "hstack": lambda x: shape.hstack([x]),
    "pad": lambda x: shape.pad(x, (1, 1)),
    "pad: circular": lambda x: shape.pad(x, (1, 1), "circular"),
    "flip": lambda x: shape.flip(x, 0, 1),
    "roll": lambda x: shape.roll(x, 1),
    "tile": lambda x: shape.tile(x, 2),
    "repeat": lambda x: shape.repeat(x, 2, 1),
    "repeat_interleave": lambda x: shape.repeat_interleave(x, 2),
    "repeat_interleave: places": lambda x: shape.repeat_interleave(x, [1, 2], 0),
    "take_along_dim": lambda x: shape.take_along_dim(x, tg.zeros(2, 1, dtype="int64"), 1),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_shows_a_change(name: str) -> None:
    x = tg.Tensor(np.arange(6.0).reshape(2, 3))
    y = VIEWS[name](x)
    x.data[0, 0] = 100.0
    assert 100 in np.asarray(y.tolist())


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_does_not_show_a_change(name: str) -> None:
    x = tg.Tensor(np.arange(6.0).reshape(2, 3))
    y = COPIES[name](x)
    x.data[...] = 100.0
    assert 100 not in np.asarray(y.tolist())


# ----- errors -------------------------------------------------------------------------------------

ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], tuple[str, ...]]] = {
    "unflatten": (lambda: shape.unflatten(ones(2, 6), 1, (4, 2)), ValueError, ("(4, 2)", "to 6")),
    "unflatten: two unknown": (
        lambda: shape.unflatten(ones(2, 6), 1, (-1, -1)),
        ValueError,
        ("(-1, -1)", "One may be -1"),
    ),
    "unflatten: below 0": (
        lambda: shape.unflatten(ones(2, 6), 1, (-2, -3)),
        ValueError,
        ("(-2, -3)", "to 6"),
    ),
    "unflatten: no whole number": (
        lambda: shape.unflatten(ones(2, 6), 1, (4, -1)),
        ValueError,
        ("(4, -1)", "(2, 6)"),
    ),
    "unflatten: of nothing": (
        lambda: shape.unflatten(tg.zeros(0, 3), 1, (5,)),
        ValueError,
        ("(5,)", "to 3"),
    ),
    "movedim": (lambda: shape.movedim(ones(2, 3), (0, 1), (0,)), ValueError, ("(0, 1)", "(0,)")),
    "movedim: twice": (lambda: shape.movedim(ones(2, 3), (0, -2), (0, 1)), ValueError, ("twice",)),
    "squeeze: an axis": (lambda: shape.squeeze(ones(2), (0, 1)), IndexError, ("axis 1", "(2,)")),
    "split: the sum": (lambda: shape.split(ones(5), [2, 2]), ValueError, ("[2, 2]", "to 5")),
    "split: below 0": (lambda: shape.split(ones(5), [6, -1]), ValueError, ("[6, -1]",)),
    "split: 0": (lambda: shape.split(ones(5), 0), ValueError, ("above 0", "got 0")),
    "split: an axis": (lambda: shape.split(ones(5), 1, 1), IndexError, ("axis 1", "(5,)")),
    "chunk: 0": (lambda: shape.chunk(ones(5), 0), ValueError, ("above 0", "got 0")),
    "tensor_split: 0": (lambda: shape.tensor_split(ones(5), 0), ValueError, ("above 0", "got 0")),
    "flip: twice": (lambda: shape.flip(ones(2, 3), 0, -2), ValueError, ("(0, -2)", "repeat")),
    "roll": (lambda: shape.roll(ones(2, 3), (1, 2), 0), ValueError, ("(1, 2)", "dims=0")),
    "roll: no axes": (lambda: shape.roll(ones(2, 3), (1, 2)), ValueError, ("a shift for each",)),
    "tile: below 0": (lambda: shape.tile(ones(2), -1), ValueError, ("tile", "(-1,)")),
    "repeat: too few": (
        lambda: shape.repeat(ones(2, 3), 2),
        ValueError,
        ("2 axes", "(2,)", "tile"),
    ),
    "repeat_interleave: how many": (
        lambda: shape.repeat_interleave(ones(3), [1, 2]),
        ValueError,
        ("3 numbers", "[1, 2]"),
    ),
    "repeat_interleave: below 0": (
        lambda: shape.repeat_interleave(ones(3), -1),
        ValueError,
        ("from 0 up", "got -1"),
    ),
    "pad: mode": (
        lambda: shape.pad(ones(3), (1, 1), mode="mirror"),
        ValueError,
        ("reflect", "'mirror'"),
    ),
    "pad: reflect": (
        lambda: shape.pad(ones(2, 3), (3, 0), "reflect"),
        ValueError,
        ("'reflect'", "at most 2", "axis 1", "got 3 and 0"),
    ),
    "pad: circular": (
        lambda: shape.pad(ones(2, 3), (0, 4), "circular"),
        ValueError,
        ("'circular'", "at most 3", "got 0 and 4"),
    ),
    "pad: replicate": (
        lambda: shape.pad(tg.zeros(2, 0), (0, 1), "replicate"),
        ValueError,
        ("'replicate'", "at most 0", "(2, 0)"),
    ),
    "meshgrid: indexing": (
        lambda: shape.meshgrid(ones(2), indexing="ji"),
        ValueError,
        ("'ij' or 'xy'", "'ji'"),
    ),
    "meshgrid: a matrix": (lambda: shape.meshgrid(ones(2, 2)), ValueError, ("one axis", "(2, 2)")),
    "hstack: nothing": (lambda: shape.hstack([]), ValueError, ("hstack", "at least one")),
    "vstack": (lambda: shape.vstack([ones(2), ones(3)]), ValueError, ("(1, 2)", "(1, 3)")),
    "take_along_dim: floats": (
        lambda: shape.take_along_dim(ones(2), ones(2), 0),
        TypeError,
        ("integers", "float32"),
    ),
    "take_along_dim: shapes": (
        lambda: shape.take_along_dim(ones(2, 3), tg.zeros(3, 1, dtype="int64"), 1),
        ValueError,
        ("(3, 1)", "(2, 3)", "axis 1"),
    ),
    "take_along_dim: axes": (
        lambda: shape.take_along_dim(ones(2), tg.zeros(2, 1, dtype="int64"), 0),
        ValueError,
        ("(2, 1)", "(2,)"),
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_was_given_and_what_was_expected(name: str) -> None:
    call, kind, parts = ERRORS[name]
    with pytest.raises(kind) as caught:
        call()
    for part in parts:
        assert part in str(caught.value)
