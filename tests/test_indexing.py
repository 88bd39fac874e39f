"""Functions that take elements out by an index, and put them in: values, gradients, errors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

import tinygrad_cv as tg
from rows.index import (
    added,
    diag_embed,
    diagonal,
    distinct,
    indices,
    lower,
    places,
    replaced,
    upper,
)
from rows.shape import with_empty
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.ops import index as ops
from tinygrad_cv.testing import Case, check_op
from tinygrad_cv.testing.strategies import arrays, shapes

Array = NDArray[Any]

# ----- calls to try -------------------------------------------------------------------------------


@st.composite
def lines(draw: Any) -> tuple[Array, int, int]:
    """An array, one of its axes, and what an axis may be called."""
    x = draw(arrays(shapes(1)))
    axis = draw(st.integers(0, x.ndim - 1))
    return x, axis, draw(st.sampled_from((axis, axis - x.ndim)))


@st.composite
def some(draw: Any, length: int, once: bool) -> Array:
    """A vector of places along an axis."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    count = draw(st.integers(0, length))
    return rng.permutation(length)[:count] if once else rng.integers(0, length, count + 2)


@st.composite
def selections(draw: Any, once: bool = False) -> Case:
    x, axis, dim = draw(lines())
    return Case((x, draw(some(x.shape[axis], once))), {"dim": dim})


@st.composite
def with_slices(draw: Any, once: bool) -> Case:
    """A slice for each place that is named."""
    case = draw(selections(once))
    x, index = case.inputs
    shape = list(x.shape)
    shape[case.attributes["dim"]] = len(index)
    return Case((x, index, draw(arrays(shape))), case.attributes)


@st.composite
def along(draw: Any, once: bool, with_source: bool) -> Case:
    """An index in the shape of a part of x, and a source that may be longer than the index."""
    x, axis, dim = draw(lines())
    shape = [draw(st.integers(1, n)) for n in x.shape]
    if not once:
        shape[axis] = draw(st.integers(0, 5))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    index = np.empty(shape, "int64")
    for line in np.ndindex(*shape[:axis], 1, *shape[axis + 1 :]):
        n = x.shape[axis]
        chosen = rng.permutation(n) if once else rng.integers(0, n, shape[axis])
        index[*line[:axis], :, *line[axis + 1 :]] = chosen[: shape[axis]]
    if not with_source:
        return Case((x, index), {"dim": dim})
    longer = [n + draw(st.integers(0, 1)) for n in shape]
    return Case((x, index, draw(arrays(longer))), {"dim": dim})


@st.composite
def masked(draw: Any) -> Case:
    """An array and truth values, either of them broadcast."""
    wide = draw(with_empty())
    one, two = (
        tuple(1 if draw(st.booleans()) else n for n in wide[draw(st.integers(0, len(wide))) :])
        for _ in range(2)
    )
    mask = np.random.default_rng(draw(st.integers(0, 99))).random(two) < 0.5
    return Case((draw(arrays(one)), np.asarray(mask)))


@st.composite
def taken(draw: Any) -> Case:
    x = draw(arrays(shapes(0)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return Case((x, np.asarray(rng.integers(-x.size, x.size, draw(shapes(0, 2))))))


@st.composite
def narrowed(draw: Any) -> Case:
    x, axis, dim = draw(lines())
    start = draw(st.integers(0, x.shape[axis]))
    length = draw(st.integers(0, x.shape[axis] - start))
    start -= x.shape[axis] if start < x.shape[axis] and draw(st.booleans()) else 0
    return Case((x,), {"dim": dim, "start": start, "length": length})


@st.composite
def selected(draw: Any) -> Case:
    x, axis, dim = draw(lines())
    n = x.shape[axis]
    return Case((x,), {"dim": dim, "index": draw(st.integers(-n, n - 1))})


@st.composite
def placed(draw: Any, once: bool) -> Case:
    """An index of arrays or masks, and values that broadcast to what it names."""
    x = draw(arrays(shapes(1)))
    index = draw(indices(x.shape, distinct)) if once else draw(indices(x.shape))
    index = index if isinstance(index, tuple) else (index,)
    named = places(x.shape, index).shape
    kept = named[draw(st.integers(0, len(named))) :]
    return Case((x, draw(arrays(kept))), {"indices": index})


@st.composite
def matrices(draw: Any) -> Case:
    return Case((draw(arrays(with_empty(2, 4))),), {"diagonal": draw(st.integers(-3, 3))})


@st.composite
def two_axes(draw: Any) -> Case:
    x = draw(arrays(with_empty(2, 4)))
    dim1, dim2 = (dim - draw(st.sampled_from((0, x.ndim))) for dim in pair(draw, x.ndim))
    return Case((x,), {"offset": draw(st.integers(-3, 3)), "dim1": dim1, "dim2": dim2})


@st.composite
def vectors(draw: Any) -> Case:
    x = draw(arrays(with_empty(1)))
    count = x.ndim + 1
    dim1, dim2 = (dim - draw(st.sampled_from((0, count))) for dim in pair(draw, count))
    return Case((x,), {"offset": draw(st.integers(-3, 3)), "dim1": dim1, "dim2": dim2})


def pair(draw: Any, count: int) -> tuple[int, int]:
    first, second, *_ = draw(st.permutations(range(count)))
    return first, second


@st.composite
def words(draw: Any) -> Case:
    """Numbers of rows of a weight."""
    rows = draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    number = np.asarray(rng.integers(0, rows, draw(shapes(0, 2))))
    return Case((number, draw(arrays((rows, draw(st.integers(1, 3)))))))


# ----- the same, one element after the other ------------------------------------------------------


def index_add(x: Array, index: Array, source: Array, dim: int, alpha: float = 1) -> Array:
    y = np.moveaxis(x, dim, 0).copy()
    for k, part in zip(index, np.moveaxis(source, dim, 0), strict=True):
        y[k] += alpha * part
    return np.moveaxis(y, 0, dim)


def index_copy(x: Array, index: Array, source: Array, dim: int) -> Array:
    y = np.moveaxis(x, dim, 0).copy()
    for k, part in zip(index, np.moveaxis(source, dim, 0), strict=True):
        y[k] = part
    return np.moveaxis(y, 0, dim)


def index_fill(x: Array, index: Array, dim: int) -> Array:
    y = np.moveaxis(x, dim, 0).copy()
    for k in index:
        y[k] = 2.5
    return np.moveaxis(y, 0, dim)


def moved(place: tuple[int, ...], index: Array, dim: int) -> tuple[int, ...]:
    """Where the element of an index at a place points to."""
    target = list(place)
    target[dim] = int(index[place])
    return tuple(target)


def gather(x: Array, index: Array, dim: int) -> Array:
    y = np.empty(index.shape)
    for place in np.ndindex(*index.shape):
        y[place] = x[moved(place, index, dim)]
    return y


def scatter(x: Array, index: Array, source: Array, dim: int) -> Array:
    y = x.copy()
    for place in np.ndindex(*index.shape):
        y[moved(place, index, dim)] = source[place]
    return y


def scatter_add(x: Array, index: Array, source: Array, dim: int) -> Array:
    y = x.copy()
    for place in np.ndindex(*index.shape):
        y[moved(place, index, dim)] += source[place]
    return y


def masked_select(x: Array, mask: Array) -> Array:
    shape = np.broadcast_shapes(x.shape, mask.shape)
    x, mask = np.broadcast_to(x, shape), np.broadcast_to(mask, shape)
    return np.array([x[place] for place in np.ndindex(*shape) if mask[place]])


def take(x: Array, index: Array) -> Array:
    return np.array([x.ravel()[k] for k in index.ravel()]).reshape(index.shape)


def narrow(x: Array, dim: int, start: int, length: int) -> Array:
    slices = np.moveaxis(x, dim, 0)
    first = start + len(slices) if start < 0 else start
    kept = [slices[k] for k in range(first, first + length)]
    return np.moveaxis(np.reshape(kept, (length, *slices.shape[1:])), 0, dim)


def select(x: Array, dim: int, index: int) -> Array:
    return np.moveaxis(x, dim, 0)[index]


def embedding(number: Array, weight: Array) -> Array:
    rows = [weight[k] for k in number.ravel()]
    return np.array(rows).reshape(*number.shape, weight.shape[1])


def diag(x: Array, diagonal: int) -> Array:
    return np.diag(x, diagonal)


# ----- all functions ------------------------------------------------------------------------------


def named(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its tensors first, and what stands between them by keyword."""

    def call(x: Tensor, index: Any, *rest: Any, dim: int, **options: Any) -> Any:
        return function(x, dim, index, *rest, **options)

    return call


FUNCTIONS: dict[str, tuple[Callable[..., Any], Any, Callable[..., Any]]] = {
    "diag": (
        ops.diag,
        st.builds(
            lambda x, diagonal: Case((x,), {"diagonal": diagonal}),
            arrays(with_empty(1, 2)),
            st.integers(-3, 3),
        ),
        diag,
    ),
    "diag_embed": (
        ops.diag_embed,
        vectors(),
        lambda x, offset, dim1, dim2: diag_embed(
            x, offset, dim1, dim2, *[x.shape[-1] + np.abs(offset)] * 2
        ),
    ),
    "diagonal": (
        ops.diagonal,
        two_axes(),
        lambda x, offset, dim1, dim2: diagonal(x, offset, dim1 % x.ndim, dim2 % x.ndim),
    ),
    "embedding": (ops.embedding, words(), embedding),
    "gather": (named(ops.gather), along(False, False), gather),
    "index_add": (named(ops.index_add), with_slices(False), index_add),
    "index_add: alpha": (
        lambda *inputs, dim: named(ops.index_add)(*inputs, dim=dim, alpha=-0.5),
        with_slices(False),
        lambda *inputs, dim: index_add(*inputs, dim, -0.5),
    ),
    "index_copy": (named(ops.index_copy), with_slices(True), index_copy),
    "index_fill": (
        lambda x, index, dim: ops.index_fill(x, dim, index, 2.5),
        selections(True),
        index_fill,
    ),
    "index_put": (
        lambda x, values, indices: ops.index_put(x, indices, values),
        placed(True),
        lambda x, values, indices: replaced(x, values, indices),
    ),
    "index_put: accumulate": (
        lambda x, values, indices: ops.index_put(x, indices, values, accumulate=True),
        placed(False),
        lambda x, values, indices: (
            x + added(np.broadcast_to(values, places(x.shape, indices).shape), indices, x.shape)
        ),
    ),
    "index_select": (
        named(ops.index_select),
        selections(),
        lambda x, index, dim: np.stack([select(x, dim, k) for k in index], dim),
    ),
    "masked_fill": (
        lambda x, mask: ops.masked_fill(x, mask, 2.5),
        masked(),
        lambda x, mask: x * ~mask + 2.5 * mask,
    ),
    "masked_fill: a tensor": (
        lambda x, mask, value: ops.masked_fill(x, mask, value),
        st.builds(lambda case, value: Case((*case.inputs, value)), masked(), arrays(())),
        lambda x, mask, value: x * ~mask + value * mask,
    ),
    "masked_select": (ops.masked_select, masked(), masked_select),
    "narrow": (ops.narrow, narrowed(), narrow),
    "scatter": (named(ops.scatter), along(True, True), scatter),
    "scatter: a number": (
        lambda x, index, dim: ops.scatter(x, dim, index, 2.5),
        along(True, False),
        lambda x, index, dim: scatter(x, index, np.full(index.shape, 2.5), dim),
    ),
    "scatter: a value": (
        lambda x, index, value, dim: ops.scatter(x, dim, index, value=value),
        st.builds(
            lambda case, value: Case((*case.inputs, value), case.attributes),
            along(True, False),
            arrays(()),
        ),
        lambda x, index, value, dim: scatter(x, index, np.full(index.shape, value), dim),
    ),
    "scatter_add": (named(ops.scatter_add), along(False, True), scatter_add),
    "select": (ops.select, selected(), select),
    "take": (ops.take, taken(), take),
    "tril": (ops.tril, matrices(), lower),
    "triu": (ops.triu, matrices(), upper),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients(name: str) -> None:
    function, strategy, reference = FUNCTIONS[name]
    check_op(function, strategy, reference)


# ----- what a table does not show -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_an_index_may_have_any_integer_dtype_and_may_be_a_list(dtype: str) -> None:
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    for index in (tg.tensor([1, 0], dtype=dtype), np.array([1, 0], dtype), [1, 0]):
        assert ops.index_select(x, 0, index).tolist() == [[3, 4], [1, 2]]
        assert ops.take(x, index).tolist() == [2, 1]
        assert ops.embedding(index, x).tolist() == [[3, 4], [1, 2]]
    for index in (tg.tensor([[1], [0]], dtype=dtype), np.array([[1], [0]], dtype), [[1], [0]]):
        assert ops.gather(x, 1, index).tolist() == [[2], [3]]
        assert ops.scatter(x, 1, index, 0.0).tolist() == [[1, 0], [0, 4]]
        assert ops.scatter_add(x, 1, index, x).tolist() == [[1, 3], [6, 4]]


def test_an_empty_list_names_nothing() -> None:
    x = tg.ones(2, 3)
    assert ops.index_select(x, 1, []).shape == (2, 0)
    assert ops.index_fill(x, 1, [], 0).tolist() == x.tolist()
    assert ops.take(x, []).shape == ops.gather(x[0], 0, []).shape == (0,)


def test_integers_and_truth_values_stay_what_they_are() -> None:
    i = tg.tensor([[1, 2], [3, 4]])
    results = (
        ops.gather(i, 1, [[1], [0]]),
        ops.index_select(i, 0, [0]),
        ops.index_fill(i, 0, [0], 7),
        ops.scatter(i, 1, [[1], [0]], i),
        ops.tril(i),
        ops.triu(i),
        ops.diag(i),
        ops.diag_embed(i),
        ops.masked_fill(i, i > 2, 7),
        ops.masked_select(i, i > 2),
    )
    assert {str(result.dtype) for result in results} == {"int64"}
    assert ops.gather(i > 2, 1, [[1], [0]]).tolist() == [[False], [True]]


def test_the_padding_row_of_an_embedding_gets_no_gradient() -> None:
    for padding_idx in (1, -2):
        weight = tg.tensor([[1.0], [2.0], [3.0]], requires_grad=True)
        rows = ops.embedding([[0, 1], [1, 0], [0, 2]], weight, padding_idx)
        assert rows.tolist() == [[[1], [2]], [[2], [1]], [[1], [3]]]
        (rows * rows).sum().backward()
        assert weight.grad is not None
        assert weight.grad.tolist() == [[3 * 2 * 1], [0], [2 * 3]]


@given(masked())
def test_nonzero_as_a_tuple_is_an_index(case: Case) -> None:
    x, mask = (tg.Tensor(value) for value in np.broadcast_arrays(*case.inputs))
    found = ops.nonzero(mask, as_tuple=True)
    if mask.ndim:
        assert len(found) == mask.ndim
        assert_array_equal(x[found].numpy(), x.numpy()[mask.numpy()])
    else:  # as of shape (1,)
        assert [places.tolist() for places in found] == [[0] * int(mask.item())]
    assert_array_equal(ops.argwhere(mask).numpy(), ops.nonzero(mask).numpy())
    assert ops.nonzero(mask).shape == (int(mask.numpy().sum()), mask.ndim)


def test_one_hot_counts_the_classes_itself() -> None:
    labels = tg.tensor([0, 2])
    assert ops.one_hot(labels).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert ops.one_hot(labels, 4).shape == (2, 4)
    assert ops.one_hot(tg.tensor(1)).tolist() == [0, 1]


def test_parts_are_views() -> None:
    x = tg.zeros(2, 3)
    parts = ops.narrow(x, 1, 1, 2), ops.select(x, 0, 1), ops.diagonal(x)
    x[...] = 5.0
    assert all(part.amin().item() == 5 for part in parts)


def test_functions_leave_their_input_alone() -> None:
    x, source = tg.zeros(2, 2), tg.ones(2, 2)
    for y in (
        ops.scatter(x, 0, [[0, 1], [1, 0]], source),
        ops.scatter_add(x, 0, [[0, 1], [1, 0]], source),
        ops.index_copy(x, 0, [1, 0], source),
        ops.index_add(x, 0, [1, 0], source),
        ops.index_fill(x, 0, [1, 0], 1),
        ops.index_put(x, ([0, 0, 1, 1], [0, 1, 0, 1]), tg.tensor(1.0)),
        ops.masked_fill(x, x == 0, 1),
    ):
        assert y.tolist() == [[1, 1], [1, 1]]
        assert x.tolist() == [[0, 0], [0, 0]]


X, INDEX = tg.ones(2, 3), tg.tensor([[0, 1, 0]])

ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], tuple[str, ...]]] = {
    "an axis that is not there": (
        lambda: ops.gather(X, 2, INDEX),
        IndexError,
        ("axis 2", "(2, 3)"),
    ),
    "no axis": (lambda: ops.select(tg.ones(), 0, 0), IndexError, ("()", "(1,)")),
    "gather: axes": (lambda: ops.gather(X, 0, [0]), ValueError, ("2 axes", "(2, 3)", "(1,)")),
    "gather: too long": (
        lambda: ops.gather(X, 0, tg.zeros(1, 4, dtype="int64")),
        ValueError,
        ("(2, 3)", "(1, 4)"),
    ),
    "gather: floats": (lambda: ops.gather(X, 0, X), TypeError, ("float32", ".long()")),
    "index_select: a matrix": (lambda: ops.index_select(X, 0, INDEX), ValueError, ("(1, 3)",)),
    "scatter: neither": (lambda: ops.scatter(X, 0, INDEX), TypeError, ("src", "value")),
    "scatter: both": (lambda: ops.scatter(X, 0, INDEX, X, value=1), TypeError, ("src", "value")),
    "scatter: src too short": (
        lambda: ops.scatter(X, 0, INDEX, tg.ones(1, 2)),
        ValueError,
        ("(1, 3)", "(1, 2)"),
    ),
    "scatter: two dtypes": (
        lambda: ops.scatter(X, 0, INDEX, X.double()),
        TypeError,
        ("float32", "float64"),
    ),
    "scatter: a value with axes": (
        lambda: ops.scatter(X, 0, INDEX, value=tg.ones(2)),
        ValueError,
        ("one value", "(2,)"),
    ),
    "scatter_add: src too short": (
        lambda: ops.scatter_add(X, 0, INDEX, tg.ones(1, 2)),
        ValueError,
        ("(1, 3)", "(1, 2)"),
    ),
    "index_add: slices": (
        lambda: ops.index_add(X, 0, [0], X),
        ValueError,
        ("1 slices", "(1, 3)", "(2, 3)"),
    ),
    "index_copy: slices": (
        lambda: ops.index_copy(X, 1, [0], X),
        ValueError,
        ("1 slices", "(2, 1)", "(2, 3)"),
    ),
    "index_fill: a value with axes": (
        lambda: ops.index_fill(X, 0, [0], tg.ones(2)),
        ValueError,
        ("one value", "(2,)"),
    ),
    "masked_fill: no mask": (
        lambda: ops.masked_fill(X, X, 0),
        TypeError,
        ("float32", "mask != 0"),
    ),
    "masked_select: shapes": (
        lambda: ops.masked_select(X, tg.ones(2) > 0),
        ValueError,
        ("(2, 3)", "(2,)"),
    ),
    "narrow: too long": (
        lambda: ops.narrow(X, 1, 2, 2),
        IndexError,
        ("2 elements from 2", "axis 1", "(2, 3)"),
    ),
    "narrow: before the start": (lambda: ops.narrow(X, 1, -4, 1), IndexError, ("-4", "(2, 3)")),
    "narrow: a negative length": (lambda: ops.narrow(X, 1, 1, -1), IndexError, ("-1", "(2, 3)")),
    "select": (lambda: ops.select(X, 1, 3), IndexError, ("no 3", "axis 1", "(2, 3)")),
    "tril: a vector": (lambda: ops.tril(tg.ones(3)), ValueError, ("matrices", "(3,)")),
    "triu: a vector": (lambda: ops.triu(tg.ones(3)), ValueError, ("matrices", "(3,)")),
    "diag: images": (lambda: ops.diag(tg.ones(2, 2, 2)), ValueError, ("(2, 2, 2)",)),
    "diagonal: one axis": (lambda: ops.diagonal(X, 0, 1, -1), ValueError, ("dim2=-1", "one axis")),
    "diag_embed: one axis": (
        lambda: ops.diag_embed(X, 0, 0, -3),
        ValueError,
        ("dim1=0", "dim2=-3", "3 axes"),
    ),
    "diag_embed: not there": (lambda: ops.diag_embed(X, 0, 0, 3), ValueError, ("dim2=3",)),
    "diag_embed: no axis": (lambda: ops.diag_embed(tg.ones()), ValueError, ("()",)),
    "embedding: the weight": (
        lambda: ops.embedding([0], tg.ones(3)),
        ValueError,
        ("(V, D)", "(3,)"),
    ),
    "embedding: the padding": (
        lambda: ops.embedding([0], X, 2),
        ValueError,
        ("no row 2", "(2, 3)"),
    ),
    "one_hot: a label too large": (
        lambda: ops.one_hot(tg.tensor([0, 3]), 3),
        ValueError,
        ("0 to 2", "3"),
    ),
    "one_hot: negative": (lambda: ops.one_hot(tg.tensor([-1, 0])), ValueError, ("-1",)),
    "one_hot: floats": (lambda: ops.one_hot(tg.ones(2)), ValueError, ("integers", "float32")),
    "one_hot: no labels": (
        lambda: ops.one_hot(tg.zeros(0, dtype="int64")),
        ValueError,
        ("0 labels", "num_classes=-1"),
    ),
}


@pytest.mark.host
@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_was_given_and_what_was_expected(name: str) -> None:
    mistake, error, words = ERRORS[name]
    with pytest.raises(error) as caught:
        mistake()
    for word in words:
        assert word in str(caught.value)
