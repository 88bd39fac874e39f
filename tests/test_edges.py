"""Arguments and edges: numbers as rows, several names of one argument, numbers beside arrays in an
index, what adds up in one place, and where an argument was meant as another."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

import tinygrad_cv as tg
from rows import Case
from rows.shape import with_empty
from tinygrad_cv.ops import attention, index, linalg, reduce, shape, sort
from tinygrad_cv.testing import check_gradients, check_op
from tinygrad_cv.testing.strategies import arrays, shapes

Array = NDArray[Any]
NAN, INF = math.nan, math.inf


def whole(*values: Any) -> tg.Tensor:
    return tg.Tensor(np.array(values, "int64"))


def number(value: Any = 5.0) -> tg.Tensor:
    return tg.Tensor(np.array(value))


# ----- a number is a row of one ------------------------------------------------------------------

ROW_OF_ONE: dict[str, Callable[[tg.Tensor], Any]] = {
    "squeeze": lambda x: shape.squeeze(x, 0) + shape.squeeze(x, (-1,)),
    "transpose": lambda x: shape.transpose(x, 0, -1),
    "swapaxes": lambda x: shape.swapaxes(x, -1, 0),
    "movedim": lambda x: shape.movedim(x, 0, -1),
    "permute": lambda x: shape.permute(x, ()),
    "flip": lambda x: shape.flip(x, dims=(0,)),
    "gather": lambda x: index.gather(x, 0, whole(0).reshape(())),
    "index_select": lambda x: index.index_select(x, -1, whole(0)),
    "index_select: a number": lambda x: index.index_select(x, 0, whole(0).reshape(())),
    "index_add": lambda x: index.index_add(x, 0, [0], number(0.0)),
    "index_copy": lambda x: index.index_copy(x, 0, [0], x * 1),
    "index_copy: a row": lambda x: index.index_copy(x, 0, [0], x.reshape(1)),
    "index_fill": lambda x: index.index_fill(x, 0, [], 7.0),
    "scatter": lambda x: index.scatter(number(0.0), 0, [0], x.reshape(1)),
    "scatter: a number": lambda x: index.scatter(number(0.0), 0, whole(0).reshape(()), x),
    "scatter_add": lambda x: index.scatter_add(number(0.0), 0, [0], x),
    "scatter_reduce": lambda x: index.scatter_reduce(number(-9.0), 0, [0], x, "amax"),
    "take_along_dim": lambda x: shape.take_along_dim(x, whole(0)).reshape(()),
    "sort": lambda x: sort.sort(x, 0).values,
    "topk": lambda x: sort.topk(x, 1, -1).values,
    "kthvalue": lambda x: sort.kthvalue(x, 1, 0).values,
    "median": lambda x: sort.median(x, 0).values,
    "cumsum": lambda x: reduce.cumsum(x, -1),
    "cummax": lambda x: reduce.cummax(x, 0).values,
    "cummin": lambda x: reduce.cummin(x, -1).values,
    "unfold": lambda x: shape.unfold(x, 0, 1, 1).reshape(()),
    "flatten": lambda x: shape.flatten(x, 0, -1).reshape(()),
    "unsqueeze": lambda x: shape.unsqueeze(x, -1).reshape(()),
}


@pytest.mark.parametrize("name", ROW_OF_ONE)
def test_a_number_is_taken_as_a_row_of_one(name: str) -> None:
    x = tg.Tensor(np.array(5.0), requires_grad=True)
    y = ROW_OF_ONE[name](x)
    assert (y.shape, y.dtype) == ((), x.dtype)
    scale = 2.0 if name == "squeeze" else 1.0
    assert y.item() == 5.0 * scale
    y.backward()
    assert x.grad is not None
    assert (x.grad.shape, x.grad.item()) == ((), scale)


NO_ROW: dict[str, Callable[[tg.Tensor], Any]] = {
    "squeeze": lambda x: shape.squeeze(x, 1),
    "transpose": lambda x: shape.transpose(x, 0, 1),
    "flatten": lambda x: shape.flatten(x, 1),
    "unflatten": lambda x: shape.unflatten(x, 0, (1,)),
    "unbind": shape.unbind,
    "split": lambda x: shape.split(x, 1),
    "chunk": lambda x: shape.chunk(x, 1),
    "tensor_split": lambda x: shape.tensor_split(x, 1),
    "hsplit": lambda x: shape.hsplit(x, 1),
    "repeat_interleave": lambda x: shape.repeat_interleave(x, 2, 0),
    "flipud": shape.flipud,
    "cat": lambda x: shape.cat([x, x]),
    "narrow": lambda x: index.narrow(x, 0, 0, 1),
    "select": lambda x: index.select(x, 0, 0),
    "index_select": lambda x: index.index_select(x, 0, [0, 0]),
    "index_select: of nothing": lambda x: index.index_select(x, 0, []),
    "index_add": lambda x: index.index_add(x, 0, [0], x.reshape(1)),
    "diff": reduce.diff,
}


@pytest.mark.parametrize("name", NO_ROW)
def test_what_a_number_does_not_have_is_refused(name: str) -> None:
    with pytest.raises((ValueError, IndexError), match=r"shape \(\)|\(\)|a number"):
        NO_ROW[name](number())


# ----- names, and arguments meant as others ------------------------------------------------------

KEEPERS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("sum", "mean", "nansum", "nanmean", "prod", "amax", "amin", "logsumexp"), ()),
    **dict.fromkeys(("any", "all", "argmax", "argmin", "max", "min", "median"), ()),
    "norm": (2,),
    "kthvalue": (1,),
}
"""Functions that take keepdim behind dim, and what they take before it."""


@pytest.mark.parametrize("name", KEEPERS)
@pytest.mark.parametrize("keep", [1, 2, "no"])
def test_a_second_axis_is_not_taken_as_keepdim(name: str, keep: Any) -> None:
    function = getattr(sort if name in ("median", "kthvalue") else reduce, name)
    for call in (
        lambda x: function(x, *KEEPERS[name], 1, keep),
        lambda x: function(x, *KEEPERS[name], axis=1, keepdims=keep),
    ):
        with pytest.raises(TypeError, match=r"keepdim is True or False; got.*dim=\(1, 2\)"):
            call(tg.ones(2, 3, 4))


@pytest.mark.parametrize("name", ["aminmax", "var", "std", "var_mean", "std_mean"])
def test_keepdim_by_its_name_is_true_or_false(name: str) -> None:
    with pytest.raises(TypeError, match="keepdim is True or False; got 2"):
        getattr(reduce, name)(tg.ones(2, 3, 4), dim=1, keepdim=2)


@pytest.mark.parametrize("name", ["argmax", "argmin", "max", "min"])
@pytest.mark.parametrize("dim", [(0, 1), (), [1, 2]])
def test_places_are_found_along_one_axis(name: str, dim: Any) -> None:
    with pytest.raises(TypeError, match=f"{name} finds places along one axis.*{len(dim)}?"):
        getattr(reduce, name)(tg.ones(2, 3, 4), dim=dim)


@given(arrays(shapes(1)), st.booleans(), st.sampled_from(((), [])))
def test_no_axis_names_all_of_them(x: Array, keep: bool, dim: Any) -> None:
    for name in ("sum", "mean", "nansum", "prod", "amax", "amin", "logsumexp", "norm", "var"):
        function = getattr(reduce, name)
        options: dict[str, Any] = {"correction": 0} if name == "var" else {}
        y = function(tg.Tensor(x), dim=dim, keepdim=keep, **options)
        assert y.shape == ((1,) * x.ndim if keep else ())
        assert_array_equal(y.numpy(), function(tg.Tensor(x), keepdim=keep, **options).numpy())
    for name in ("any", "all"):  # as PyTorch has it
        assert_array_equal(getattr(reduce, name)(tg.Tensor(x), dim=dim).numpy(), x != 0)


def test_true_is_no_axis() -> None:
    with pytest.raises(TypeError, match="whole number; got True"):
        reduce.sum(tg.ones(2), True)


@given(arrays(shapes(1, min_side=2)), st.booleans())
def test_the_spread_takes_unbiased_as_well(x: Array, unbiased: bool) -> None:
    t, along = tg.Tensor(x), -1
    for function, numpys in ((reduce.var, np.var), (reduce.std, np.std)):
        expected = numpys(x, axis=along, ddof=int(unbiased))
        for y in (
            function(t, along, unbiased),
            function(t, dim=along, unbiased=unbiased),
            function(t, along, unbiased, True)[..., 0],
        ):
            assert_allclose(y.numpy(), expected, atol=1e-12)
        of_all = numpys(x, ddof=int(unbiased))
        for y in (
            function(t, unbiased),
            function(t, unbiased=unbiased),
            function(t, None, unbiased),
        ):
            assert_allclose(y.numpy(), of_all, atol=1e-12)
    for pair in (
        reduce.var_mean(t, along, unbiased),
        reduce.var_mean(t, unbiased=unbiased, dim=-1),
    ):
        assert_allclose(pair[0].numpy(), np.var(x, axis=along, ddof=int(unbiased)), atol=1e-12)
        assert_allclose(pair[1].numpy(), x.mean(along), atol=1e-12)
    assert_allclose(reduce.std_mean(t, unbiased)[0].numpy(), np.std(x, ddof=int(unbiased)))


@pytest.mark.parametrize(
    "options", [{"unbiased": True, "correction": 1}, {"unbiased": 2}, {"unbiased": "no"}]
)
def test_a_spread_has_one_correction(options: dict[str, Any]) -> None:
    for function in (reduce.var, reduce.std):
        with pytest.raises(TypeError, match="unbiased"):
            function(tg.ones(2, 3), 1, **options)
        with pytest.raises(TypeError, match="before unbiased"):
            function(tg.ones(2, 3), False, True)


@pytest.mark.parametrize("correction", [3, 4, 7.5])
def test_the_spread_over_too_few_is_infinite(correction: float) -> None:
    x = tg.Tensor(np.array([[1.0, 2.0, 4.0], [3.0, 3.0, 3.0]]))
    for function in (reduce.var, reduce.std):
        y = function(x, 1, correction=correction)
        assert_array_equal(y.numpy(), [INF, NAN])
    assert math.isnan(reduce.var(tg.Tensor([1.0])).item())


def test_a_softmax_is_taken_of_another_dtype() -> None:
    x = tg.Tensor(np.array([0, 1, 3]))
    e = np.exp([0.0, 1.0, 3.0])
    for dtype in ("float32", "float64"):
        assert tg.softmax(x, 0, dtype=dtype).dtype == dtype
        assert_allclose(tg.softmax(x, 0, dtype=dtype).numpy(), e / e.sum(), rtol=1e-6)
        assert_allclose(tg.softmin(-x, 0, dtype=dtype).numpy(), e / e.sum(), rtol=1e-6)
        assert_allclose(tg.log_softmax(x, 0, dtype=dtype).numpy(), np.log(e / e.sum()), rtol=1e-6)
        assert tg.log_softmax(x, 0, dtype=dtype).dtype == dtype


def test_arguments_have_their_names() -> None:
    x = tg.Tensor(np.arange(6.0).reshape(2, 3))
    assert_array_equal(tg.flip(x, dims=(0, 1)).numpy(), tg.flip(x, 0, 1).numpy())
    assert_array_equal(tg.flip(x, dims=[1]).numpy(), np.fliplr(x.numpy()))
    with pytest.raises(TypeError, match="twice"):
        tg.flip(x, 0, dims=(1,))
    assert tg.cat(tensors=[x, x], dim=1).shape == (2, 6)
    assert tg.stack(tensors=[x, x], dim=-1).shape == (2, 3, 2)
    assert tg.repeat_interleave(x, whole(1, 2), 0, output_size=3).shape == (3, 3)
    for repeats in (2, [1, 2]):
        with pytest.raises(ValueError, match="output_size=9"):
            tg.repeat_interleave(x, repeats, 0, output_size=9)
    assert_array_equal(tg.max(x, x.flip(1)).numpy(), np.maximum(x.numpy(), x.numpy()[:, ::-1]))
    assert_array_equal(tg.min(x, x.flip(1)).numpy(), np.minimum(x.numpy(), x.numpy()[:, ::-1]))
    with pytest.raises(ValueError, match="start_dim=1 comes after end_dim=0"):
        tg.flatten(x, 1, 0)


# ----- an index ----------------------------------------------------------------------------------


@st.composite
def mixed(draw: Any) -> tuple[Array, tuple[Any, ...]]:
    """Numbers, slices, None and an ellipsis beside arrays of integers, or one mask."""
    x = draw(arrays(shapes(2, 4, 1, 3)))
    parts: list[Any] = []
    for n in x.shape[: draw(st.integers(2, x.ndim))]:
        kind = draw(st.sampled_from(("number", "number", "slice", "array", "tensor")))
        if kind == "number":
            parts.append(draw(st.integers(-n, n - 1)))
        elif kind == "tensor":
            parts.append(np.array(draw(st.integers(-n, n - 1))))
        elif kind == "slice":
            parts.append(draw(st.slices(n)))
        else:
            size = draw(st.sampled_from(((2,), (1,), (3, 2))))
            parts.append(np.random.default_rng(draw(st.integers(0, 9))).integers(-n, n, size))
            assume(all(p.shape == size for p in parts if isinstance(p, np.ndarray) and p.ndim))
    if len(parts) < x.ndim and draw(st.booleans()):
        parts.append(...)
    for _ in range(draw(st.integers(0, 1))):
        parts.insert(draw(st.integers(0, len(parts))), None)
    return x, tuple(parts)


def numbers_first(x: Array, parts: tuple[Any, ...]) -> Array:
    """Each number cuts its own axis away, from the last axis on; then NumPy takes the rest."""
    axis, cuts, rest = 0, [], []
    for part in parts:
        if isinstance(part, int) or (isinstance(part, np.ndarray) and part.ndim == 0):
            cuts.append((axis, int(part)))
        else:
            rest.append(part)
        axis += part is not None
    for place, i in reversed(cuts):
        x = np.take(x, i, place)
    return np.array(x[tuple(rest)])


@given(mixed())
def test_a_number_in_an_index_cuts_an_axis_and_does_not_broadcast(drawn: Any) -> None:
    x, parts = drawn
    given_ = tuple(tg.Tensor(p) if isinstance(p, np.ndarray) else p for p in parts)
    leaf = tg.Tensor(x, requires_grad=True)
    y, expected = leaf[given_], numbers_first(x, parts)
    assert_array_equal(y.detach().numpy(), expected)
    # The gradient of what is taken goes to where it was taken from.
    g = np.random.default_rng(0).standard_normal(expected.shape)
    places = numbers_first(np.arange(x.size).reshape(x.shape), parts)
    (found,) = tg.grad(y, leaf, tg.Tensor(g), create_graph=True)
    wanted = np.bincount(places.ravel(), g.ravel(), x.size).reshape(x.shape)
    assert_allclose(found.detach().numpy(), wanted, atol=1e-12)
    if len(np.unique(places)) == places.size:  # each place once: it can be written to
        target = tg.Tensor(x)
        target[given_] = tg.Tensor(g)
        changed = x.copy()
        changed.flat[places.ravel()] = g.ravel()
        assert_array_equal(target.numpy(), changed)


def test_a_square_result_is_not_transposed() -> None:
    x = tg.Tensor(np.arange(24.0).reshape(2, 3, 4), requires_grad=True)
    y = x[0, :, [0, 2, 3]]
    assert_array_equal(y.detach().numpy(), np.arange(12.0).reshape(3, 4)[:, [0, 2, 3]])
    y[1, 0].backward()
    assert x.grad is not None
    assert_array_equal(np.argwhere(x.grad.numpy()), [[0, 1, 0]])
    check_gradients(lambda x: x[0, :, [0, 2, 3]] ** 2, [x.detach()])


@pytest.mark.parametrize("mask", [[1, 0], [[1, 0, 1], [0, 0, 1]], 1])
def test_bytes_are_neither_silently_numbers_nor_a_mask(mask: Any) -> None:
    x, wrong = tg.ones(2, 3), np.array(mask, "uint8")
    for part in (wrong, tg.Tensor(wrong)):
        with pytest.raises(IndexError, match=r"uint8.*mask.*numbers"):
            x[part]
        with pytest.raises(IndexError, match="uint8"):
            x[..., part]
        with pytest.raises(IndexError, match="uint8"):
            x[part] = 0.0
    assert_array_equal(x[tg.Tensor(wrong).to(dtype=tg.bool)].numpy(), np.ones((2, 3))[wrong > 0])
    # Where an index can be nothing else, its integers may be of any type.
    assert tg.index_select(x, 1, np.array([2, 0], "uint8")).shape == (2, 2)
    assert tg.take(x, np.array([5, 0], "uint8")).shape == (2,)
    assert tg.gather(x, 1, tg.Tensor(np.array([[1], [0]], "uint8"))).shape == (2, 1)


# ----- joined, cut, put around -------------------------------------------------------------------


@given(with_empty(2), st.data())
def test_a_tensor_of_shape_0_adds_nothing(lengths: tuple[int, ...], data: Any) -> None:
    axis = data.draw(st.integers(-len(lengths), len(lengths) - 1))
    x = np.random.default_rng(0).standard_normal(lengths)
    nothing, leaf = tg.zeros(0, dtype="float64"), tg.Tensor(x, requires_grad=True)
    for order in ([nothing, leaf], [leaf, nothing], [nothing, leaf, nothing]):
        y = tg.cat(order, axis)
        assert_array_equal(y.detach().numpy(), x)
        (g,) = tg.grad(y, leaf, y.detach())
        assert g is not None
        assert_array_equal(g.numpy(), x)
    assert tg.cat([nothing, nothing]).shape == (0,)


STACKERS = {
    "hstack": (shape.hstack, np.hstack),
    "vstack": (shape.vstack, np.vstack),
    "row_stack": (tg.row_stack, np.vstack),
    "column_stack": (
        shape.column_stack,
        lambda xs: np.column_stack([np.atleast_1d(x) for x in xs]),
    ),
}


@pytest.mark.parametrize("name", STACKERS)
def test_stacks_are_numpys(name: str) -> None:
    ours, numpys = STACKERS[name]
    pair = shapes(0, 3).flatmap(lambda s: st.tuples(arrays(s), arrays(s)))
    check_op(lambda x, y: ours([x, y]), pair, lambda x, y: numpys([x, y]))


@pytest.mark.parametrize("name", ["hsplit", "vsplit", "dsplit"])
def test_splits_are_numpys(name: str) -> None:
    ours, numpys = getattr(tg, name), getattr(np, name)
    x = np.arange(48.0).reshape(4, 2, 6)
    for places in (1, 2, (1,), [0, 1], (1, 1)):
        found, expected = ours(tg.Tensor(x), places), numpys(x, places)
        assert [part.shape for part in found] == [part.shape for part in expected]
        for part, other in zip(found, expected, strict=True):
            assert_array_equal(part.numpy(), other)
    for wrong in (5, 0):
        with pytest.raises(ValueError, match=f"{name}.*equal parts"):
            ours(tg.Tensor(x), wrong)


def test_reversed_sides_are_numpys() -> None:
    check_op(tg.fliplr, arrays(shapes(2)), np.fliplr, method="linear")
    check_op(tg.flipud, arrays(shapes(1)), np.flipud, method="linear")


@st.composite
def windows(draw: Any) -> Case:
    x = draw(arrays(shapes(1)))
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    size = draw(st.integers(1, x.shape[axis]))
    return Case((x,), {"dimension": axis, "size": size, "step": draw(st.integers(1, 3))})


def neighbours(x: Array, dimension: int, size: int, step: int) -> Array:
    every = np.lib.stride_tricks.sliding_window_view(x, size, dimension)
    return np.take(every, range(0, every.shape[dimension % x.ndim], step), dimension % x.ndim)


def test_unfold_is_every_so_manieth_window() -> None:
    check_op(shape.unfold, windows(), neighbours, method="linear")
    assert tg.ones(3).unfold(0, 0, 1).shape == (4, 0)
    for size, step in ((4, 1), (-1, 1), (1, 0)):
        with pytest.raises(ValueError, match=r"unfold.*\(3,\)"):
            tg.ones(3).unfold(0, size, step)


@given(st.data())
def test_padding_reads_at_a_place_that_is_mirrored_or_held(data: Any) -> None:
    """Also where the other side, or all of it, is cropped."""
    mode = data.draw(st.sampled_from(("reflect", "replicate")))
    n = data.draw(st.integers(1, 4))
    most = n - 1 if mode == "reflect" else 3
    before, after = (data.draw(st.integers(-n, most)) for _ in range(2))
    assume(before + n + after >= 0)
    x = np.arange(float(2 * n)).reshape(2, n)
    places = np.arange(-before, n + after)
    if mode == "replicate":
        places = np.clip(places, 0, n - 1)
    else:
        places = np.abs(places)
        places = np.where(places >= n, 2 * (n - 1) - places, places)
    y = tg.pad(tg.Tensor(x), (before, after), mode)
    assert_array_equal(y.numpy(), x[:, places])


# ----- what is sent to one place -----------------------------------------------------------------

REDUCTIONS: dict[str, Callable[[list[float]], float]] = {
    "sum": math.fsum,
    "prod": math.prod,
    "mean": lambda sent: math.fsum(sent) / len(sent),
    "amax": max,
    "amin": min,
}


@st.composite
def sendings(draw: Any) -> Case:
    """Any number of sources for a place; values apart, so that extremes stay where they are."""
    lengths = draw(shapes(1))
    axis = draw(st.integers(-len(lengths), len(lengths) - 1))
    reached = [draw(st.integers(1, n)) for n in lengths]
    reached[axis] = draw(st.integers(0, 4))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    places = rng.integers(0, lengths[axis], reached)
    source = [n + draw(st.integers(0, 1)) for n in reached]
    count = int(np.prod(lengths))
    both = draw(arrays((count + int(np.prod(source)),), distinct=True))
    x, src = both[:count].reshape(lengths), both[count:].reshape(source)
    options = {"dim": axis, "index": places, "include_self": draw(st.booleans())}
    return Case((x, src), options | {"reduce": draw(st.sampled_from(sorted(REDUCTIONS)))})


def reduced_there(
    x: Array, src: Array, dim: int, index: Array, reduce: str, include_self: bool
) -> Array:
    sent: dict[tuple[int, ...], list[float]] = {}
    for place in np.ndindex(*index.shape):
        target = list(place)
        target[dim] = index[place]
        before = [x[tuple(target)]] if include_self else []
        sent.setdefault(tuple(target), before).append(src[place])
    y = x.copy()
    for where, those in sent.items():
        y[where] = REDUCTIONS[reduce](those)
    return y


def test_scatter_reduce_reduces_what_is_sent_to_a_place() -> None:
    def call(x: tg.Tensor, src: tg.Tensor, **options: Any) -> tg.Tensor:
        return tg.scatter_reduce(x, options.pop("dim"), options.pop("index"), src, **options)

    check_op(call, sendings(), reduced_there, examples=10)


def test_equal_extremes_and_zero_factors_in_scatter_reduce() -> None:
    x = tg.Tensor(np.array([3.0, 1.0]), requires_grad=True)
    src = tg.Tensor(np.array([3.0, 2.0, 3.0, 0.0, 0.0]), requires_grad=True)
    places = [0, 0, 0, 1, 1]
    tg.scatter_reduce(x, 0, places, src, "amax").sum().backward()
    assert x.grad is not None
    assert src.grad is not None
    assert_allclose(x.grad.numpy(), [1 / 3, 1.0])
    assert_allclose(src.grad.numpy(), [1 / 3, 0, 1 / 3, 0, 0])
    check_gradients(
        lambda x, src: tg.scatter_reduce(x, 0, places, src, "prod"), [x.detach(), src.detach()]
    )
    y = tg.scatter_reduce(whole(7, 0, 5), 0, [0, 0, 2], whole(-2, 3, 4), "mean")
    assert (y.dtype, y.tolist()) == ("int64", [2, 0, 4])  # rounded down
    unknown = tg.Tensor(np.array([NAN, 1.0]))
    for extreme in ("amax", "amin"):
        assert math.isnan(
            tg.scatter_reduce(tg.zeros(1), 0, [0, 0], unknown.float(), extreme).item()
        )
    half = tg.scatter_reduce(
        tg.zeros(1, dtype="float16"), 0, [0] * 5000, tg.ones(5000, dtype="float16"), "sum"
    )
    assert (half.dtype, half.item()) == ("float16", 5000)
    for options, expected in (
        ({"src": src.detach(), "reduce": "add"}, [11.0, 1.0]),
        ({"value": 2, "reduce": "add"}, [9.0, 5.0]),
        ({"value": 2.0, "reduce": "multiply"}, [24.0, 4.0]),
    ):
        assert tg.scatter(x.detach(), 0, places, **options).tolist() == expected
    with pytest.raises(ValueError, match="'add' or 'multiply'; got 'max'"):
        tg.scatter(x, 0, places, src, reduce="max")
    with pytest.raises(ValueError, match="reduce is one of"):
        tg.scatter_reduce(x, 0, [0], src, "median")


@given(st.data())
def test_a_slice_may_be_filled_twice(data: Any) -> None:
    x = data.draw(arrays(shapes(1)))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    named = rng.integers(-x.shape[axis], x.shape[axis], data.draw(st.integers(0, 4)))
    leaf, value = tg.Tensor(x, requires_grad=True), tg.Tensor(np.array(7.0), requires_grad=True)
    y = tg.index_fill(leaf, axis, named, value)
    mask = np.zeros(x.shape, bool)
    np.moveaxis(mask, axis, 0)[named] = True
    assert_array_equal(y.detach().numpy(), np.where(mask, 7.0, x))
    g = rng.standard_normal(x.shape)
    to_input, to_value = tg.grad(y, (leaf, value), tg.Tensor(g))
    assert to_input is not None
    assert to_value is not None
    assert_array_equal(to_input.numpy(), np.where(mask, 0.0, g))
    assert_allclose(to_value.item(), g[mask].sum(), atol=1e-12)


# ----- differences -------------------------------------------------------------------------------


@st.composite
def differences(draw: Any) -> Case:
    x = draw(arrays(shapes(1)))
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    return Case((x,), {"n": draw(st.integers(0, 3)), "dim": axis})


def test_diff_is_numpys() -> None:
    check_op(
        lambda x, n, dim: tg.diff(x, n, dim, prepend=x, append=-x),
        differences(),
        lambda x, n, dim: np.diff(x, n, dim, x, -x),
    )
    x = tg.Tensor(np.arange(6.0).reshape(2, 3))
    assert tg.diff(x, 5).shape == (2, 0)
    assert tg.diff(x > 1).tolist() == [[False, True], [False, False]]
    with pytest.raises(ValueError, match="n=-1"):
        tg.diff(x, -1)
    with pytest.raises(ValueError, match=r"as many axes.*\(1,\)"):
        tg.diff(x, prepend=tg.ones(1))


@st.composite
def sampled(draw: Any) -> Case:
    x = draw(arrays(shapes(1, 3, 3, 4)))
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    step: Any = draw(st.floats(0.1, 3.0))
    if draw(st.booleans()):
        step = np.cumsum(np.random.default_rng(0).uniform(0.2, 1.0, x.shape[axis]))
    return Case((x,), {"step": step, "dim": axis, "edge_order": draw(st.integers(1, 2))})


def test_gradient_is_numpys() -> None:
    def call(x: tg.Tensor, step: Any, dim: int, edge_order: int) -> tg.Tensor:
        spacing = step if isinstance(step, float) else [tg.Tensor(step)]
        return tg.gradient(x, spacing=spacing, dim=dim, edge_order=edge_order)[0]

    check_op(
        call,
        sampled(),
        lambda x, step, dim, edge_order: np.gradient(x, step, axis=dim, edge_order=edge_order),
    )
    both = tg.gradient(tg.Tensor(np.arange(6).reshape(2, 3)), spacing=[1.0, 2.0])
    assert [part.tolist() for part in both] == [[[3.0] * 3] * 2, [[0.5] * 3] * 2]
    (half,) = tg.gradient(tg.Tensor(np.array([0, 1, 4], "float16")), spacing=0.1)
    assert (half.dtype, half.tolist()) == ("float16", [10, 20, 30])
    for options in ({"edge_order": 3}, {"edge_order": 2}, {"spacing": [1.0]}):
        with pytest.raises(ValueError, match="gradient"):
            tg.gradient(tg.ones(2, 2), **options)


# ----- attention ---------------------------------------------------------------------------------


@st.composite
def questions(draw: Any) -> Case:
    """Stacks that broadcast, a mask of truth values or of numbers that may be -inf, or none."""
    wide = draw(shapes(0, 2, 1, 2))
    q, k, v = ([1 if draw(st.booleans()) else n for n in wide] for _ in range(3))
    rows, keys, width = (draw(st.integers(1, 3)) for _ in range(3))
    inputs = [
        draw(arrays((*q, rows, width))),
        draw(arrays((*k, keys, width))),
        draw(arrays((*v, keys, draw(st.integers(1, 2))))),
    ]
    options: dict[str, Any] = {"scale": draw(st.sampled_from((None, 0.5)))}
    seen = np.random.default_rng(draw(st.integers(0, 99))).random((rows, keys)) < 0.6
    kind = draw(st.sampled_from(("none", "causal", "truth", "numbers")))
    if kind == "causal":
        options["is_causal"] = True
    if kind == "truth":
        options["attn_mask"] = seen
    if kind == "numbers":
        options["attn_mask"] = np.where(
            seen, np.cos(np.arange(seen.size).reshape(seen.shape)), -INF
        )
    return Case(tuple(inputs), options)


def attended(
    q: Array, k: Array, v: Array, scale: Any, is_causal: bool = False, attn_mask: Any = None
) -> Array:
    """Query after query; what is not seen has the weight 0, and where that is all the mean is 0."""
    stack = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    q, k, v = (np.broadcast_to(x, (*stack, *x.shape[-2:])) for x in (q, k, v))
    y = np.zeros((*stack, q.shape[-2], v.shape[-1]))
    for at in np.ndindex(*stack):
        for i, query in enumerate(q[at]):
            weights = []
            for j, key in enumerate(k[at]):
                score = query @ key * (1 / math.sqrt(len(query)) if scale is None else scale)
                if is_causal:
                    seen: Any = j <= i
                else:
                    seen = True if attn_mask is None else attn_mask[i, j]
                if isinstance(seen, bool | np.bool_):
                    weights.append(math.exp(score) if seen else 0.0)
                else:
                    weights.append(math.exp(score + seen))
            total = math.fsum(weights)
            y[(*at, i)] = sum(w / (total or 1) * x for w, x in zip(weights, v[at], strict=True))
    return y


def test_attention_is_a_weighted_mean_of_the_values() -> None:
    def call(q: tg.Tensor, k: tg.Tensor, v: tg.Tensor, **options: Any) -> tg.Tensor:
        if "attn_mask" in options:
            options["attn_mask"] = tg.Tensor(options["attn_mask"])
        return tg.scaled_dot_product_attention(q, k, v, **options)

    check_op(call, questions(), attended, examples=10)


def test_heads_that_share_keys_and_weights_that_drop_out() -> None:
    rng = np.random.default_rng(0)
    q, k, v = (tg.Tensor(rng.standard_normal((2, n, 3, 2))) for n in (4, 2, 2))
    call = attention.scaled_dot_product_attention
    several = [x.numpy().repeat(2, axis=1) for x in (k, v)]
    expected = attended(q.numpy(), *several, scale=None)
    assert_allclose(call(q, k, v, enable_gqa=True).numpy(), expected, rtol=1e-12)
    assert_allclose(
        call(q, k, v, enable_gqa=True, scale=0.0).numpy()[0, 0, 0], v.numpy()[0, 0].mean(0)
    )
    wide = tg.ones(1, 2000, dtype="float64"), tg.ones(2000, 2000, dtype="float64"), tg.ones(2000, 1)
    y = call(*wide, dropout_p=0.5, generator=np.random.default_rng(0))
    again = call(*wide, dropout_p=0.5, generator=np.random.default_rng(0))
    assert y.item() == again.item()
    assert 0.8 < y.item() < 1.2 != y.item()
    for wrong, match in (
        (lambda: call(q, k, v), "matmul"),
        (lambda: call(q[:, :3], k, v, enable_gqa=True), "multiple"),
        (lambda: call(q, q, q, tg.ones(3, 3), is_causal=True), "is_causal"),
        (lambda: call(q, q[..., :1], q), "expected query"),
    ):
        with pytest.raises(ValueError, match=match):
            wrong()


# ----- what is there, and how often --------------------------------------------------------------


@given(with_empty(0, 3), st.data())
def test_unique_is_numpys(lengths: tuple[int, ...], data: Any) -> None:
    x = np.rint(data.draw(arrays(lengths))).astype(data.draw(st.sampled_from(("float64", "int64"))))
    dim = data.draw(st.none() | st.integers(-x.ndim, x.ndim - 1)) if x.ndim else None
    if dim is not None:
        assume(x.size)
    values, inverse, counts = sort.unique(tg.tensor(x), True, True, True, dim)
    expected = np.unique(x, return_inverse=True, return_counts=True, axis=dim)
    assert_array_equal(values.numpy(), expected[0])
    assert_array_equal(inverse.numpy(), expected[1].reshape(x.shape if dim is None else -1))
    assert_array_equal(counts.numpy(), expected[2])
    assert values.dtype == x.dtype
    rows = np.moveaxis(x, dim, 0) if dim is not None else x.ravel()
    runs: list[list[Any]] = []
    for row in rows:
        if runs and np.array_equal(runs[-1][0], row):
            runs[-1][1] += 1
        else:
            runs.append([row, 1])
    values, inverse, counts = sort.unique_consecutive(tg.tensor(x), True, True, dim)
    assert counts.tolist() == [count for _, count in runs]
    assert inverse.numpy().ravel().tolist() == [
        i for i, (_, n) in enumerate(runs) for _ in range(n)
    ]
    listed = values.numpy() if dim is None else np.moveaxis(values.numpy(), dim, 0)
    assert_array_equal(listed, np.array([row for row, _ in runs]).reshape(listed.shape))


def test_nan_equals_nothing_and_empty_slices_are_refused() -> None:
    values, counts = tg.unique(tg.Tensor([NAN, 1.0, NAN]), return_counts=True)
    assert_array_equal(values.numpy(), [1, NAN, NAN])
    assert counts.tolist() == [1, 1, 1]
    for function in (tg.unique, tg.unique_consecutive):
        with pytest.raises(ValueError, match="are empty"):
            function(tg.zeros(3, 0), dim=0)


@given(st.lists(st.integers(0, 9)), st.integers(0, 12), st.booleans())
def test_bincount_is_numpys(numbers: list[int], least: int, weighted: bool) -> None:
    x = np.array(numbers, "int64")
    w = np.random.default_rng(0).standard_normal(len(x))
    if not weighted:
        y = tg.bincount(tg.Tensor(x), minlength=least)
        assert (y.dtype, y.tolist()) == ("int64", np.bincount(x, minlength=least).tolist())
        return
    leaf = tg.Tensor(w, requires_grad=True)
    y = tg.bincount(tg.Tensor(x), leaf, least)
    assert_allclose(y.detach().numpy(), np.bincount(x, w, least), atol=1e-12)
    if len(x):
        g = np.random.default_rng(1).standard_normal(y.shape)
        (found,) = tg.grad(y, leaf, tg.Tensor(g))
        assert found is not None
        assert_array_equal(found.numpy(), g[x])


@given(arrays(shapes(0)), st.integers(1, 6), st.booleans())
def test_histc_is_numpys(x: Array, bins: int, ranged: bool) -> None:
    x = np.rint(x * 4)
    low, high = (-3.0, 5.0) if ranged else (x.min(), x.max())
    if low == high:
        low, high = low - 1, high + 1
    y = tg.histc(tg.Tensor(x), bins, *((-3, 5) if ranged else ()))
    assert y.dtype == x.dtype
    assert_array_equal(y.numpy(), np.histogram(x, bins, (low, high))[0])


def test_what_cannot_be_counted_is_refused() -> None:
    assert_array_equal(tg.histc(tg.Tensor([NAN, 1.0, INF]), 2, 0, 2).numpy(), [0, 1])
    for wrong, match in (
        (lambda: tg.bincount(tg.ones(2)), "integers"),
        (lambda: tg.bincount(whole(1, -1)), "from 0 up"),
        (lambda: tg.bincount(whole(1), minlength=-1), "from 0 up"),
        (lambda: tg.bincount(whole(1), tg.ones(2)), "a weight for each"),
        (lambda: tg.histc(tg.Tensor([1.0, INF])), "finite"),
        (lambda: tg.histc(tg.ones(2), 0), "bins=0"),
        (lambda: tg.histc(tg.ones(2), 2, 3, 1), "min < max"),
    ):
        with pytest.raises(ValueError, match=match):
            wrong()
    with pytest.raises(TypeError, match="floats"):
        tg.histc(whole(1))


def test_places_to_insert_at() -> None:
    row = tg.Tensor([5.0, 1.0, 3.0])
    order = tg.argsort(row)
    assert tg.searchsorted(row, tg.Tensor([2.0, 3.0]), sorter=order).tolist() == [1, 1]
    assert tg.searchsorted(row[order], 3.0, side="right").item() == 2
    found = tg.searchsorted(row[order], tg.Tensor([[3.0]]), right=True, out_int32=True)
    assert (found.dtype, found.tolist()) == ("int32", [[2]])
    assert tg.bucketize(tg.Tensor([[0.0, 3.0]]), row[order]).tolist() == [[0, 1]]
    assert tg.bucketize(3.0, row[order], right=True).item() == 2
    for wrong in (
        lambda: tg.searchsorted(row, row, side="up"),
        lambda: tg.searchsorted(row, row, side="left", right=True),
        lambda: tg.searchsorted(tg.ones(2, 3), tg.ones(3)),
        lambda: tg.searchsorted(tg.ones(()), tg.ones(3)),
        lambda: tg.searchsorted(row, row, sorter=whole(0)),
        lambda: tg.bucketize(row, tg.ones(2, 3)),
    ):
        with pytest.raises(ValueError, match=r"searchsorted|bucketize"):
            wrong()


# ----- the largest so far, and the largest few ---------------------------------------------------


@pytest.mark.parametrize("name", ["cummax", "cummin"])
def test_running_extremes_send_the_gradient_to_the_last_of_equal_ones(name: str) -> None:
    function = getattr(tg, name)
    flip = 1.0 if name == "cummax" else -1.0
    x = tg.Tensor(flip * np.array([1.0, 3.0, 3.0, 2.0]), requires_grad=True)
    values, indices = function(x, 0)
    assert indices.tolist() == [0, 1, 2, 2]
    assert_array_equal(values.detach().numpy(), flip * np.array([1.0, 3, 3, 3]))
    values.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1, 1, 2, 0]
    rows = shapes(1).flatmap(lambda s: arrays(s, distinct=True))
    accumulate = np.maximum.accumulate if name == "cummax" else np.minimum.accumulate
    check_op(lambda x: function(x, -1).values, rows, lambda x: accumulate(x, -1), examples=10)
    values, indices = function(tg.Tensor([1.0, NAN, 2.0, NAN, 0.0]), axis=0)
    assert indices.tolist() == [0, 1, 1, 3, 3]


@given(st.integers(1, 300), st.integers(0, 20), st.booleans(), st.integers(0, 99))
def test_the_largest_few_are_the_first_of_a_stable_order(
    n: int, k: int, largest: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, rng.integers(2, 1000), (3, n)).astype("float64")
    if seed % 3 == 0:
        x[rng.random(x.shape) < 0.1] = NAN
    pair = tg.topk(tg.Tensor(x), min(k, n), 1, largest)
    whole_order = sort.sort(tg.Tensor(x), 1, largest)
    assert_array_equal(pair.indices.numpy(), whole_order.indices.numpy()[:, :k])
    assert_array_equal(pair.values.numpy(), whole_order.values.numpy()[:, :k])


@pytest.mark.host  # CuPy's partition sorts
def test_the_largest_few_of_many_are_not_sorted_out_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    x = tg.Tensor(np.random.default_rng(0).permutation(10_000).reshape(10, 1000))
    seen: list[int] = []
    backend = x._backend
    argsort = backend.argsort
    monkeypatch.setattr(
        backend, "argsort", lambda a, **options: seen.append(a.size) or argsort(a, **options)
    )
    tg.topk(x, 5, 1)
    assert max(seen) <= 50


# ----- cross products ----------------------------------------------------------------------------


def test_cross_products_are_numpys() -> None:
    vectors = shapes(0, 2).map(lambda s: (*s, 3)).flatmap(lambda s: st.tuples(arrays(s), arrays(s)))
    check_op(tg.linalg.cross, vectors, np.cross, examples=10)
    a, b = (np.random.default_rng(i).standard_normal((3, 3)) for i in range(2))
    assert_allclose(tg.cross(tg.Tensor(a), tg.Tensor(b)).numpy(), np.cross(a, b, axis=0))
    assert_allclose(tg.cross(tg.Tensor(a), tg.Tensor(b), 1).numpy(), np.cross(a, b))
    for x, y in ((tg.ones(2, 3), tg.ones(3)), (tg.ones(2, 2), tg.ones(2, 2))):
        with pytest.raises(ValueError, match="cross"):
            linalg.cross(x, y)


# ----- what PyTorch takes at the edges -----------------------------------------------------------


@pytest.mark.parametrize("function", [tg.softmax, tg.softmin, tg.log_softmax])
def test_shares_along_an_empty_axis(function: Any) -> None:
    x = tg.zeros(0, 3, requires_grad=True)
    y = function(x, 0)
    (g,) = tg.grad(y.sum(), x, create_graph=True)
    assert y.shape == g.shape == (0, 3)


def test_logsumexp_of_nothing_is_the_logarithm_of_nothing() -> None:
    x = tg.zeros(0, 3, requires_grad=True)
    assert tg.logsumexp(x, 0).tolist() == [-np.inf] * 3
    assert tg.logsumexp(x, 1).shape == (0,)
    assert tg.grad(tg.logsumexp(x), x)[0].shape == (0, 3)  # type: ignore[union-attr]


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("pool", ["max_pool", "avg_pool", "lp_pool"])
def test_no_stride_is_the_length_of_the_window(pool: str, dims: int) -> None:
    function = getattr(tg, f"{pool}{dims}d")
    first = (2, 2) if pool == "lp_pool" else (2,)
    x = tg.rand(1, 2, *[6] * dims)
    assert_array_equal(function(x, *first, stride=()).numpy(), function(x, *first).numpy())


def test_multi_margin_loss_of_one_sample() -> None:
    assert tg.multi_margin_loss(tg.tensor(1.0), tg.tensor(0)).item() == 0
    scores = tg.tensor([0.1, 0.4])
    several = tg.multi_margin_loss(scores, tg.tensor([1]), reduction="none")
    assert several.shape == (1,)
    assert several.item() == tg.multi_margin_loss(scores, tg.tensor(1)).item()


def test_arguments_by_position_as_in_pytorch() -> None:
    x = tg.tensor([1.0, 2.0])
    same = x.to(tg.float32, False)
    assert same is x
    assert x.to("cpu" if x.is_cpu else x.device, tg.float32, False, True) is not x
    assert tg.ones(2, 3, 4).count_nonzero(1, 2).tolist() == [12, 12]
    assert tg.repeat_interleave(tg.tensor([1, 0, 2])).tolist() == [0, 2, 2]
    assert tg.concat([x, x], dim=0).tolist() == tg.concatenate([x, x]).tolist() == [1, 2, 1, 2]
    assert x.sum(np.int64(0)).item() == 3


@pytest.mark.parametrize("order", ["sort", "argsort"])
def test_a_second_axis_is_not_taken_for_descending(order: str) -> None:
    with pytest.raises(TypeError, match="descending is True or False"):
        getattr(tg.ones(2, 3), order)(0, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: tg.take_along_dim(x, tg.tensor(0), 0), "take_along_dim: indices of shape"),
        (lambda x: x.unsqueeze("a"), "unsqueeze: dim is a whole number; got 'a'"),
        (lambda x: x.squeeze(True), "squeeze: dim is a whole number; got True"),
        (lambda x: tg.tensor([2**70]), "does not fit into int64"),
    ],
)
def test_errors_in_words_of_our_own(call: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError), match=message):
        call(tg.tensor(1.0))


def test_a_number_may_be_rolled() -> None:
    assert tg.roll(tg.tensor(1.0), 3, 0).item() == 1
