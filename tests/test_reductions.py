"""Reductions, running totals and sorting as functions: what the rows of single ops do not show."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

import oracles
import tinygrad_cv as tg
from rows import Case
from rows.shape import with_empty
from tinygrad_cv._apply import F
from tinygrad_cv.ops import reduce, sort
from tinygrad_cv.testing import check_op, no_sync
from tinygrad_cv.testing.strategies import arrays, shapes

Array = NDArray[Any]
INF, NAN = math.inf, math.nan


def leaf(values: Any, dtype: str = "float64") -> tg.Tensor:
    return tg.Tensor(np.array(values, dtype), requires_grad=True)


def slopes(function: Callable[[tg.Tensor], tg.Tensor], values: Any, dtype: str = "float64") -> Any:
    """The gradient of the function at these values."""
    x = leaf(values, dtype)
    function(x).backward()
    assert x.grad is not None
    assert x.grad.dtype == dtype
    return x.grad.numpy()


# ----- beside NumPy -------------------------------------------------------------------------------


@st.composite
def reduced(draw: Any, least: int = 1, several: bool = True, **values: Any) -> Case:
    """By default, along an axis or along several, under both names of the arguments."""
    shape = draw(shapes(1, min_side=least))
    axes = draw(st.lists(st.integers(-len(shape), -1), unique=True, min_size=1))
    chosen: list[dict[str, Any]] = [{}, {"dim": axes[0]}]
    chosen += [{"axis": axes[0], "keepdims": True}, {"dim": axes[0], "keepdim": True}]
    if several:
        chosen += [{"keepdim": True}, {"dim": tuple(axes)}, {"axis": axes, "keepdims": True}]
    return Case((draw(arrays(shape, **values)),), draw(st.sampled_from(chosen)))


@st.composite
def along(draw: Any, keepdim: bool = False, **values: Any) -> Case:
    """Along one axis, under both names, of what has axes or none."""
    shape = list(draw(shapes()))
    axis = draw(st.integers(-max(1, len(shape)), max(1, len(shape)) - 1))
    options: dict[str, Any] = {draw(st.sampled_from(("dim", "axis"))): axis}
    if keepdim:
        options[draw(st.sampled_from(("keepdim", "keepdims")))] = draw(st.booleans())
    return Case((draw(arrays(shape, **values)),), options)


def with_options(case: Case, **options: Any) -> Case:
    return Case(case.inputs, case.attributes | options)


@st.composite
def spreads(draw: Any) -> Case:
    return with_options(draw(reduced(least=3)), correction=draw(st.integers(0, 2)))


@st.composite
def norms(draw: Any) -> Case:
    """Away from 0, and from where two elements are the largest or the smallest."""
    p = draw(st.sampled_from(("fro", INF, -INF, 0.5, 1, 2, 2.5)))
    apart: dict[str, Any] = {"low": 0.1, "high": 2.0, "distinct": True}
    case = draw(reduced(**(apart if p in (INF, -INF) else {"kinks": (0.0,)})))
    sign = draw(st.sampled_from((1, -1)))
    return with_options(Case((sign * case.inputs[0],), case.attributes), p=p)


@st.composite
def partly_unknown(draw: Any) -> Case:
    case = draw(reduced(least=2))
    (x,) = case.inputs
    unknown = np.zeros(x.shape, bool)
    unknown[(0,) * x.ndim] = True
    return Case((np.where(unknown, NAN, x),), case.attributes)


@st.composite
def tops(draw: Any) -> Case:
    case = draw(along(distinct=True))
    (x,), axis = case.inputs, next(iter(case.attributes.values()))
    k = draw(st.integers(0, x.shape[axis])) if x.ndim else 1
    return with_options(case, k=k, largest=draw(st.booleans()))


@st.composite
def ranks(draw: Any) -> Case:
    case = draw(along(keepdim=True, distinct=True))
    (x,) = case.inputs
    axis = case.attributes.get("dim", case.attributes.get("axis"))
    return with_options(case, k=draw(st.integers(1, x.shape[axis] if x.ndim else 1)))


def of_numpy(function: Callable[..., Any]) -> Callable[..., Any]:
    """NumPy's function, with PyTorch's names for axes and whether they stay."""

    def reference(x: Array, **options: Any) -> Any:
        axis = options.pop("dim", options.pop("axis", None))
        keep = options.pop("keepdim", options.pop("keepdims", False))
        axis = tuple(axis) if isinstance(axis, list) else axis
        return function(x, axis=axis, keepdims=keep, **options)

    return reference


def of_rows(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a list, for each row along the axis; a number is a row of one."""

    def reference(x: Array, keepdim: bool = False, keepdims: bool = False, **options: Any) -> Any:
        axis = options.pop("dim", options.pop("axis", -1))
        rows = np.moveaxis(x if x.ndim else x.reshape(1), axis if x.ndim else 0, -1)
        results = [function(rows[at].tolist(), **options) for at in np.ndindex(*rows.shape[:-1])]
        y = np.array(results, "float64")
        if not x.ndim:
            return y.reshape(())
        y = y.reshape((*rows.shape[:-1], *y.shape[1:]))
        if y.ndim == x.ndim:  # a row became a row, and not a number
            return np.moveaxis(y, -1, axis)
        return np.expand_dims(y, axis) if keepdim or keepdims else y

    return reference


def running(function: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
    return lambda row: [function(row[: i + 1]) for i in range(len(row))]


def norm(x: Array, p: Any, axis: Any, keepdims: bool) -> Any:
    size = np.abs(x)
    if p in (INF, -INF):
        return (np.max if p > 0 else np.min)(size, axis=axis, keepdims=keepdims)
    p = 2 if p == "fro" else p
    return np.sum(size**p, axis=axis, keepdims=keepdims) ** (1 / p)


def std(x: Array, correction: int, axis: Any, keepdims: bool) -> Any:
    return np.sqrt(oracles.var(x, axis, correction, keepdims))


def ranked(row: list[Any], k: int, largest: bool) -> list[Any]:
    return sorted(row, reverse=largest)[:k]


def lower_median(row: list[Any]) -> Any:
    return sorted(row)[(len(row) - 1) // 2]


def values_of(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, **options: function(x, **options).values


FUNCTIONS: dict[str, tuple[Callable[..., Any], Any, Callable[..., Any]]] = {
    "std": (reduce.std, spreads(), of_numpy(std)),
    "norm": (reduce.norm, norms(), of_numpy(norm)),
    "prod": (reduce.prod, reduced(), of_numpy(np.prod)),
    "nansum": (reduce.nansum, partly_unknown(), of_numpy(np.nansum)),
    "nanmean": (
        reduce.nanmean,
        partly_unknown(),
        of_numpy(np.nanmean),
    ),
    "cumsum": (reduce.cumsum, along(), of_rows(running(math.fsum))),
    "cumprod": (reduce.cumprod, along(), of_rows(running(math.prod))),
    "logcumsumexp": (reduce.logcumsumexp, along(), of_rows(running(oracles.logsumexp))),
    "sort": (values_of(sort.sort), along(distinct=True), of_rows(sorted)),
    "topk": (values_of(sort.topk), tops(), of_rows(ranked)),
    "kthvalue": (
        values_of(sort.kthvalue),
        ranks(),
        of_rows(lambda row, k: sorted(row)[k - 1]),
    ),
    "median": (
        values_of(sort.median),
        along(keepdim=True, distinct=True),
        of_rows(lower_median),
    ),
    "median of all": (
        sort.median,
        arrays(shapes(), distinct=True),
        lambda x: lower_median([*x.flat]),
    ),
    "msort": (sort.msort, arrays(shapes(1), distinct=True), lambda x: np.sort(x, 0)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients(name: str) -> None:
    function, cases, reference = FUNCTIONS[name]
    check_op(function, cases, reference)


@given(case=spreads())
def test_a_pair_holds_what_its_functions_give(case: Case) -> None:
    x, options = tg.Tensor(case.inputs[0]), case.attributes
    mean = reduce.mean(x, **{k: v for k, v in options.items() if k != "correction"})
    for pair, first in ((reduce.var_mean, reduce.var), (reduce.std_mean, reduce.std)):
        found = pair(x, **options)
        assert_array_equal(found[0].numpy(), first(x, **options).numpy())
        assert_array_equal(found[1].numpy(), mean.numpy())


@given(case=along(keepdim=True))
def test_aminmax_is_amin_and_amax(case: Case) -> None:
    x, options = tg.Tensor(case.inputs[0]), case.attributes
    found = reduce.aminmax(x, **options)
    assert_array_equal(found.min.numpy(), reduce.amin(x, **options).numpy())
    assert_array_equal(found.max.numpy(), reduce.amax(x, **options).numpy())


@given(x=arrays(with_empty(1)).map(np.rint), data=st.data())
def test_the_order_of_equal_elements_is_kept(x: Array, data: Any) -> None:
    dim, down = data.draw(st.integers(-x.ndim, x.ndim - 1)), data.draw(st.booleans())
    found = sort.sort(tg.Tensor(x), dim, descending=down)
    assert_array_equal(np.take_along_axis(x, found.indices.numpy(), dim), found.values.numpy())
    assert_array_equal(sort.argsort(tg.Tensor(x), dim, down).numpy(), found.indices.numpy())
    # Of two neighbours the second is behind the first: by value, else by place.
    values, places = (np.moveaxis(part.numpy(), dim, -1) for part in found)
    steps = np.diff(values) * (-1 if down else 1)
    assert ((steps > 0) | ((steps == 0) & (np.diff(places) > 0))).all()


@given(case=tops())
def test_the_indices_of_topk_say_where_its_values_are(case: Case) -> None:
    (x,) = case.inputs
    found = sort.topk(tg.Tensor(x), **case.attributes)
    axis = case.attributes.get("dim", case.attributes.get("axis"))
    taken = np.take_along_axis(np.atleast_1d(x), np.atleast_1d(found.indices.numpy()), axis)
    assert_array_equal(taken.reshape(found.values.shape), found.values.numpy())


# ----- dtypes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64"])
def test_integers_are_added_up_and_multiplied_in_int64(dtype: str) -> None:
    x = tg.Tensor(np.array([[1, 0, 1], [1, 1, 1]], dtype))
    for y in (reduce.sum(x), reduce.prod(x, 1), reduce.cumsum(x, 0), reduce.cumprod(x, 0)):
        assert y.dtype == "int64"
    assert reduce.count_nonzero(x).item() == 5
    assert_array_equal(reduce.count_nonzero(x, axis=1).numpy(), [2, 3])
    assert sort.sort(x, 1).values.dtype == dtype
    assert_array_equal(sort.sort(x, 1).values.numpy(), np.sort(x.numpy(), 1))
    assert_array_equal(sort.sort(x, 1, descending=True).indices.numpy(), [[0, 2, 1], [0, 1, 2]])


def test_a_dtype_is_that_of_the_terms() -> None:
    x = tg.Tensor(np.array([200, 100], "uint8"))
    for function in (reduce.sum, reduce.prod, reduce.mean, reduce.nansum):
        assert function(x, dtype="float64").dtype == "float64"
    assert_array_equal(reduce.cumsum(x, 0, dtype="float32").numpy(), [200, 300])
    assert_array_equal(reduce.cumprod(x, 0, dtype="float64").numpy(), [200, 20000])
    assert reduce.sum(x).item() == 300
    assert_allclose(slopes(lambda x: reduce.sum(x, dtype="float64"), [1.0, 2.0], "float32"), 1)
    assert reduce.norm(tg.Tensor([3e30, 4e30]), dtype="float64").item() == pytest.approx(5e30)


LARGE = np.full(70_000, 60_000.0)
HALF: dict[str, tuple[Callable[[tg.Tensor], tg.Tensor], Any, float]] = {
    "mean of 70,000 ones": (reduce.mean, np.ones(70_000), 1),
    "mean of large numbers": (reduce.mean, LARGE, 60_000),
    "sum beyond the largest on the way": (reduce.sum, [60_000, 60_000, -60_000, -48_000], 12_000),
    "sum of small terms": (lambda x: reduce.sum(x, 0)[0], np.full((4000, 2), 0.25), 1000),
    "var": (reduce.var, [500, 700] * 2000, 10_000 * 4000 / 3999),
    "var: a mean beyond the largest": (reduce.var, 60_000 + 64 * np.arange(5.0), 10_240),
    "std": (lambda x: reduce.std(x, correction=0), [60_000, -60_000], 60_000),
    "norm": (reduce.norm, np.full(70_000, 100.0), 100 * 70_000**0.5),
    "norm of small numbers": (reduce.norm, [3e-5, 4e-5], 5e-5),
    "prod": (reduce.prod, [300, 300, 0.01], 900),
    "logsumexp": (reduce.logsumexp, np.zeros(70_000), math.log(70_000)),
    "cumsum": (lambda x: reduce.cumsum(x, 0)[-1], np.ones(5000), 5000),
    "cumprod": (lambda x: reduce.cumprod(x, 0)[-1], [1.001] * 1000, 1.0009765625**1000),
    "logcumsumexp": (lambda x: reduce.logcumsumexp(x, 0)[-1], np.zeros(5000), math.log(5000)),
    "nanmean": (reduce.nanmean, np.append(LARGE, NAN), 60_000),
}


@pytest.mark.parametrize("name", HALF)
def test_half_precision_is_added_up_in_single(name: str) -> None:
    function, values, expected = HALF[name]
    y = function(tg.Tensor(np.array(values, "float16")))
    assert y.dtype == "float16"
    assert_allclose(float(y.item()), expected, rtol=2e-3)


def test_the_gradients_of_70_000_numbers_in_half_precision() -> None:
    ones = np.ones(70_000)
    share = 1 / 70_000
    for function in (reduce.mean, reduce.amax, reduce.amin, reduce.logsumexp):
        assert_allclose(slopes(function, ones, "float16"), share, rtol=5e-3)
    assert_allclose(
        slopes(lambda x: reduce.norm(x) * 8, ones, "float16"), 8 * share**0.5, rtol=2e-3
    )
    assert_allclose(slopes(reduce.prod, ones, "float16"), 1)


def test_a_gradient_is_added_over_broadcast_axes_in_single() -> None:
    weights = tg.Tensor(np.array([60_000, 60_000, -60_000, -48_000], "float16"))
    assert_allclose(slopes(lambda x: reduce.sum(x * weights), [1.0], "float16"), 12_000)


# ----- the ends of what floats hold ---------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1.0, 1e160, 1e300])
def test_a_norm_is_finite_where_the_exact_value_is(scale: float) -> None:
    for p, length in ((2, 5.0), (3, 91 ** (1 / 3)), (0.5, 3 + 4 + 2 * 12**0.5)):
        x = [3 * scale, -4 * scale]
        assert_allclose(reduce.norm(tg.Tensor(np.array(x)), p).item(), length * scale)
        expected = [(3 / length) ** (p - 1), -((4 / length) ** (p - 1))]
        assert_allclose(slopes(lambda x, p=p: reduce.norm(x, p), x), expected)
    spread = np.array([3 * scale, -3 * scale])
    assert_allclose(reduce.std(tg.Tensor(spread)).item(), 18**0.5 * scale)
    expected = [0.5**0.5, -(0.5**0.5)]
    assert_allclose(slopes(reduce.std, spread), expected)


def test_the_norm_of_what_is_no_number() -> None:
    for p in (1, 2, 3, INF):
        assert reduce.norm(tg.Tensor([1.0, -INF]), p).item() == INF
        assert math.isnan(reduce.norm(tg.Tensor([1.0, NAN]), p).item())
    assert reduce.norm(tg.Tensor(np.zeros((0, 2))), dim=0).tolist() == [0, 0]
    assert reduce.norm(tg.Tensor([0.0, 3.0, -2.0]), 0).item() == 2


@pytest.mark.parametrize("p", [1, 1.5, 2, 3, INF])
def test_at_zero_the_gradient_of_a_norm_is_zero(p: float) -> None:
    rows = [[0.0, 0.0], [2.0, 1.0]]
    found = slopes(lambda x: reduce.norm(x, p, 1).sum(), rows)
    assert_array_equal(found[0], 0)
    assert np.abs(found[1]).max() > 0.5


def test_a_power_below_1_leaves_zeros_where_they_are() -> None:
    # (√0 + √4 + √1)²: the slope in the first is infinite, and 0 is taken for it, as in PyTorch.
    assert_allclose(slopes(lambda x: reduce.norm(x, 0.5), [0.0, 4.0, -1.0]), [0, 1.5, -3])


def test_without_variance_the_gradients_of_std_are_zero_in_both_orders() -> None:
    x = leaf([[2.0, 2.0, 2.0], [1.0, 2.0, 4.0]])
    y = reduce.std(x, 1)
    assert y.detach().numpy()[0] == 0
    (first,) = tg.grad(y.sum(), x, create_graph=True)
    assert first is not None
    (second,) = tg.grad((first * tg.Tensor(np.array([1.0, 2.0, 5.0]))).sum(), x)
    assert second is not None
    assert_array_equal(first.detach().numpy()[0], 0)
    assert np.isfinite(second.numpy()).all()


def test_of_too_few_numbers_there_is_no_spread() -> None:
    for function in (reduce.var, reduce.std):
        assert math.isnan(function(tg.Tensor([1.0])).item())
        assert function(tg.Tensor([1.0]), correction=0).item() == 0
        # Σ (x - mean)² / 0, as PyTorch has it
        for correction in (2, 3):
            assert function(tg.Tensor([1.0, 2.0]), correction=correction).item() == INF


@pytest.mark.parametrize("shift", [0.0, -1000.0, 1000.0, -1e5])
def test_logcumsumexp_starts_with_probabilities_of_zero(shift: float) -> None:
    x = [-INF, -INF, shift, shift + 1, -INF, shift - 1]
    y = reduce.logcumsumexp(tg.Tensor(np.array(x)), 0).numpy()
    expected = [oracles.logsumexp(np.array(x[: i + 1])) for i in range(2, 6)]
    assert_allclose(y, [-INF, -INF, *expected])
    weights = np.exp(np.array(x) - shift)
    found = slopes(lambda x: reduce.logcumsumexp(x, 0)[-1], x)
    assert_allclose(found, weights / weights.sum())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_logcumsumexp_of_probabilities_of_zero_alone(dtype: str) -> None:
    def function(x: tg.Tensor) -> tg.Tensor:
        y = reduce.logcumsumexp(x, 0)
        assert y.tolist() == [-INF, -INF]
        return y[0]

    assert_array_equal(slopes(function, [-INF, -INF], dtype), 0)


# ----- infinite elements --------------------------------------------------------------------------

TIES = [
    ([INF, 1.0, 2.0], [1, 0, 0]),
    ([INF, 1.0, INF], [0.5, 0, 0.5]),
    ([-INF, -INF], None),
    ([-INF, 0.0], [0, 1]),
    ([1e8, 1e8], [0.5, 0.5]),
    ([1e20, 1e20, -1e20], [0.5, 0.5, 0]),
    ([0.0, math.log(3)], [0.25, 0.75]),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("values", "expected"), TIES)
def test_the_gradient_of_logsumexp_is_the_softmax(values: Any, expected: Any, dtype: str) -> None:
    """Infinite elements have the same share; of probabilities of zero alone none has any."""
    shares = [0] * len(values) if expected is None else expected
    total = oracles.logsumexp(np.array(values)) if INF not in values else INF
    for shift in (0.0, 2.0):
        rows = np.array([values, [shift] * len(values)], dtype)
        assert_allclose(reduce.logsumexp(tg.Tensor(rows), 1).numpy()[0], total)
        found = slopes(lambda x: reduce.logsumexp(x, 1).sum(), rows, dtype)
        assert_allclose(found, [shares, [1 / len(values)] * len(values)], rtol=1e-6)


@pytest.mark.parametrize(("values", "expected"), [*TIES[:1], *TIES[2:5], TIES[6]])
def test_the_last_running_logsumexp_has_the_same_gradient(values: Any, expected: Any) -> None:
    shares = [0] * len(values) if expected is None else expected
    for reverse in (False, True):
        order = values[::-1] if reverse else values
        x = leaf(order, "float32")
        y = F.logcumsumexp(x, axis=0, reverse=reverse)
        (found,) = tg.grad(y[0 if reverse else -1], x)
        assert found is not None
        assert_allclose(found.numpy()[:: -1 if reverse else 1], shares, rtol=1e-6)


@pytest.mark.parametrize("p", [1, 1.5, 2, 3, INF])
def test_the_direction_of_an_infinite_vector_is_that_of_its_infinite_elements(p: float) -> None:
    found = slopes(lambda x: reduce.norm(x, p, 1).sum(), [[1.0, -INF, 0.0], [0.0, 2.0, 0.0]])
    if p == 1:  # every element counts there
        assert_array_equal(found, [[1, -1, 0], [0, 1, 0]])
    else:
        assert_array_equal(found, [[0, -1, 0], [0, 1, 0]])
    if p in (1.5, 2, 3):
        share = 0.5 ** (1 - 1 / p)
        assert_allclose(slopes(lambda x: reduce.norm(x, p), [INF, -INF]), [share, -share])


def test_the_extreme_of_infinities_and_of_what_is_no_number() -> None:
    for function, sign in ((reduce.amax, 1), (reduce.amin, -1)):
        for values, shares in (
            ([INF, 1.0, INF], [0.5, 0, 0.5]),
            ([NAN, 1.0, INF], [1, 0, 0]),
            ([-INF, -INF], [0.5, 0.5]),
        ):
            found = slopes(lambda x, f=function: f(x), sign * np.array(values))
            assert_array_equal(found, shares)


def test_a_row_with_an_infinity_leaves_the_others_alone() -> None:
    rows = np.array([[1.0, 2.0, 4.0], [INF, 1.0, 2.0]])
    with np.errstate(invalid="ignore"):
        for function in (reduce.mean, reduce.var, reduce.std, reduce.logsumexp):
            alone = reduce_and_slope(function, rows[:1])
            both = reduce_and_slope(function, rows)
            for one, two in zip(alone, both, strict=True):
                assert_array_equal(one, two[:1])
        assert reduce.mean(tg.Tensor(rows), 1).tolist()[1] == INF
        assert reduce.norm(tg.Tensor(rows), 2, 1).tolist()[1] == INF


def reduce_and_slope(function: Callable[..., tg.Tensor], rows: Array) -> tuple[Array, Array]:
    y = function(tg.Tensor(rows), 1).numpy()
    return y, slopes(lambda x: function(x, 1).sum(), rows)


def test_a_product_with_0_and_infinity_has_the_products_of_the_others() -> None:
    with np.errstate(invalid="ignore"):
        assert_array_equal(slopes(reduce.prod, [0.0, INF, 3.0]), [INF, 0, NAN])
        assert_array_equal(slopes(reduce.prod, [2.0, INF, 3.0]), [INF, 6, INF])
        assert_array_equal(slopes(reduce.prod, [0.0, 0.0, INF]), [NAN, NAN, 0])
        # Products on the way do not contain what comes later.
        for values in ([2.0, 0.0, INF, 3.0], [2.0, INF, 0.0, 3.0]):
            for i, expected in enumerate(([1, 0, 0, 0], [values[1], 2, 0, 0])):
                found = slopes(lambda x, i=i: reduce.cumprod(x, 0)[i], values)
                assert_array_equal(found, expected)


# ----- the digits of narrow floats ----------------------------------------------------------------


@given(
    dtype=st.sampled_from(("float16", "float32")),
    mean=st.sampled_from((0.0, 1e3, 1e4)),
    seed=st.integers(0, 99),
)
def test_the_spread_of_numbers_far_from_0(dtype: str, mean: float, seed: int) -> None:
    """Against exact fractions of the same numbers: forward, and the gradient in both readings."""
    x = (mean + 64 * np.random.default_rng(seed).standard_normal(64)).astype(dtype)
    exact = [Fraction(float(v)) for v in x]
    center = sum(exact) / 64
    var = float(sum((v - center) ** 2 for v in exact) / 63)
    apart = np.array([float(v - center) for v in exact])
    near = 2 * float(np.finfo(dtype).eps)
    for function, value, slope in (
        (reduce.var, var, 2 * apart / 63),
        (reduce.std, var**0.5, apart / 63 / var**0.5),
    ):
        leaf_x = leaf(x, dtype)
        y = function(leaf_x)
        assert_allclose(y.item(), value, rtol=near)
        for graph in (True, False):
            (found,) = tg.grad(y, leaf_x, create_graph=graph)
            assert found is not None
            assert_allclose(found.detach().numpy(), slope, rtol=near, atol=1e-7)


WIDE = {
    "std": (reduce.std, [1e20, -1e20, 3e20]),
    "norm": (reduce.norm, [3e38, -1e38]),
    "norm: p = 3": (lambda x: reduce.norm(x, 3), [1e20, -2e20]),
    "prod": (reduce.prod, [1e30, 1e30, 1e-30, 1e-30]),
    "cumprod": (lambda x: reduce.cumprod(x, 0)[-1], [1e20, 1e-20, 1e15, 3e-10]),
    "logsumexp": (reduce.logsumexp, [-0.6931472, -0.6931471]),  # nearly log 1
    "logcumsumexp": (lambda x: reduce.logcumsumexp(x, 0)[-1], [1e8, 1e8 - 8]),
}


@pytest.mark.parametrize("name", WIDE)
def test_single_precision_gives_what_double_gives(name: str) -> None:
    function, values = WIDE[name]
    x = np.array(values, "float32")
    exact = function(tg.Tensor(x.astype("float64"))).item()
    assert_allclose(function(tg.Tensor(x)).item(), exact, rtol=1e-7)
    slope = slopes(function, x)
    assert_allclose(slopes(function, x, "float32"), slope, rtol=2e-7)


def test_products_with_zeros_by_hand() -> None:
    x = leaf([2.0, 0.0, 3.0])
    (first,) = tg.grad(reduce.prod(x), x, create_graph=True)
    assert first is not None
    assert_array_equal(first.detach().numpy(), [0, 6, 0])
    rows = [tg.grad(first[i], x, retain_graph=True)[0] for i in range(3)]
    # d²/(dx_i dx_j) is the product of the others.
    assert_array_equal(
        [row.numpy() for row in rows if row is not None], [[0, 3, 0], [3, 0, 2], [0, 2, 0]]
    )
    assert_array_equal(slopes(reduce.prod, [0.0, 0.0, 3.0]), [0, 0, 0])
    assert_array_equal(slopes(lambda x: reduce.cumprod(x, 0).sum(), [2.0, 0.0, 3.0]), [1, 8, 0])


def test_products_can_be_differentiated_three_times() -> None:
    def twice(x: tg.Tensor) -> tg.Tensor:
        """The gradient of a weighted sum of the gradient."""
        weights = tg.Tensor(np.array([1.0, -2.0, 0.5, 3.0]))
        (first,) = tg.grad(reduce.prod(x), x, create_graph=True)
        (second,) = tg.grad((first * weights).sum(), x, create_graph=True)  # type: ignore[operator]
        assert second is not None
        return second

    x = leaf([2.0, 0.0, 3.0, -1.0])
    (third,) = tg.grad((twice(x) * tg.Tensor(np.array([2.0, 1.0, 1.0, 1.0]))).sum(), x)
    assert third is not None
    a, b = np.array([1.0, -2.0, 0.5, 3.0]), np.array([2.0, 1.0, 1.0, 1.0])
    values = [2.0, 0.0, 3.0, -1.0]
    expected = [
        sum(
            a[i] * b[j] * math.prod(values[m] for m in range(4) if m not in (i, j, k))
            for i in range(4)
            for j in range(4)
            if len({i, j, k}) == 3
        )
        for k in range(4)
    ]
    assert_allclose(third.numpy(), expected)


def test_a_long_recurrence_is_that_of_a_loop() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 1000)), rng.uniform(-1, 1, (2, 1000))
    y = np.zeros((2, 1001))
    for i in range(1000):
        y[:, i] = x[:, i] + w[:, i] * y[:, i - 1]
    found = F.recurrence(tg.Tensor(x), tg.Tensor(w), axis=1)
    assert_allclose(found.numpy(), y[:, :-1], rtol=1e-9, atol=1e-12)


# ----- nan, kinks, edges --------------------------------------------------------------------------


def test_nan_counts_as_larger_than_every_number() -> None:
    x = tg.Tensor([2.0, NAN, 1.0])
    assert sort.argsort(x).tolist() == [2, 0, 1]
    assert sort.argsort(x, descending=True).tolist() == [1, 0, 2]
    assert math.isnan(sort.topk(x, 1).values.item())
    assert sort.kthvalue(x, 2).values.item() == 2
    assert math.isnan(sort.median(x).item())
    assert sort.median(x, 0).indices.item() == 1


def test_all_unknown() -> None:
    assert reduce.nansum(tg.Tensor([NAN, NAN])).item() == 0
    assert_array_equal(slopes(reduce.nansum, [NAN, 1.0]), [0, 1])
    assert_array_equal(slopes(reduce.nanmean, [NAN, 1.0, 2.0]), [0, 0.5, 0.5])


def test_a_median_is_one_element_and_has_the_whole_gradient() -> None:
    x = [[5.0, 1.0, 2.0, 9.0], [3.0, 3.0, 3.0, 0.0]]
    found = sort.median(tg.Tensor(x), 1)
    assert found.values.tolist() == [2, 3]
    slope = slopes(lambda x: sort.median(x, 1).values.sum(), x)
    assert_array_equal(slope.sum(1), 1)
    assert_array_equal(np.argmax(slope, 1), found.indices.numpy())
    assert sort.median(tg.Tensor(x)).item() == 3


def test_the_gradients_of_sorting_go_where_the_values_were() -> None:
    weights = tg.Tensor([1.0, 10.0, 100.0])
    assert_array_equal(
        slopes(lambda x: (sort.sort(x).values * weights).sum(), [3.0, 1.0, 2.0]), [100, 1, 10]
    )
    assert_array_equal(
        slopes(lambda x: (sort.topk(x, 2).values * weights[:2]).sum(), [3.0, 1.0, 2.0]), [1, 0, 10]
    )


@pytest.mark.parametrize("dim", [0, -1])
def test_a_number_is_a_row_of_one(dim: int) -> None:
    x = tg.Tensor(3.0)
    for function in (reduce.cumsum, reduce.cumprod, reduce.logcumsumexp, reduce.prod, reduce.std):
        assert function(x, dim, **({"correction": 0} if function is reduce.std else {})).shape == ()
    for found in (sort.sort(x, dim), sort.topk(x, 1, dim), sort.kthvalue(x, 1, dim)):
        assert (found.values.item(), found.indices.item(), found.values.shape) == (3, 0, ())
    assert sort.median(x).item() == sort.median(x, dim).values.item() == 3


def test_of_nothing() -> None:
    x = tg.Tensor(np.zeros((0, 3)))
    assert reduce.prod(x).item() == 1
    assert reduce.prod(x, 0).tolist() == [1, 1, 1]
    assert reduce.cumsum(x, 0).shape == reduce.cumprod(x, 1).shape == (0, 3)
    assert reduce.logcumsumexp(x, 0).shape == sort.sort(x, 0).values.shape == (0, 3)
    assert sort.median(x, 1).values.shape == sort.kthvalue(x, 1, 1).values.shape == (0,)
    assert reduce.count_nonzero(x).item() == 0
    y = leaf(np.zeros((0, 3)))
    (reduce.prod(y, 0).sum() + reduce.cumprod(y, 0).sum() + reduce.norm(y)).backward()
    assert y.grad is not None
    assert y.grad.shape == (0, 3)


def test_nothing_waits_for_the_device() -> None:
    x = leaf(np.random.default_rng(0).standard_normal((3, 4)))
    with no_sync():
        parts = [
            reduce.prod(x, 1),
            reduce.norm(x),
            reduce.std(x, 0),
            reduce.cumprod(x, 0),
            reduce.logcumsumexp(x, 1),
            sort.sort(x, descending=True).values,
            sort.topk(x, 2).values,
            sort.median(x, 0).values,
        ]
        total = reduce.sum(parts[0])
        for part in parts[1:]:
            total = total + reduce.sum(part)
        total.backward()


ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], tuple[str, ...]]] = {
    "norm: of no matrix": (
        lambda: reduce.norm(tg.ones(2), "nuc"),
        ValueError,
        ("two axes", "(2,)"),
    ),
    "norm: unknown": (lambda: reduce.norm(tg.ones(2), "2"), ValueError, ("matrix_norm", "'2'")),
    "norm: nan": (lambda: reduce.norm(tg.ones(2), float("nan")), ValueError, ("got nan",)),
    "cumsum: no axis": (lambda: reduce.cumsum(tg.ones(2, 3)), TypeError, ("one axis", "(2, 3)")),
    "cumsum: an axis": (lambda: reduce.cumsum(tg.ones(2, 3), 2), IndexError, ("axis 2", "(2, 3)")),
    "cumprod: a number": (lambda: reduce.cumprod(tg.ones(()), 1), IndexError, ("axis 1", "()")),
    "prod: dim and axis": (lambda: reduce.prod(tg.ones(2), 0, axis=0), TypeError, ("same",)),
    "sort: an axis": (lambda: sort.sort(tg.ones(2), 1), IndexError, ("axis 1", "(2,)")),
    "topk: k": (lambda: sort.topk(tg.ones(2, 3), 4), ValueError, ("topk", "0 to 3", "got 4")),
    "kthvalue: k": (lambda: sort.kthvalue(tg.ones(2, 3), 0), ValueError, ("1 to 3", "got 0")),
    "median: nothing": (lambda: sort.median(tg.zeros(0, 2)), ValueError, ("median", "no element")),
    "median: an axis": (lambda: sort.median(tg.zeros(0, 2), 0), ValueError, ("(0, 2)", "axis 0")),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_was_given_and_what_was_expected(name: str) -> None:
    call, kind, parts = ERRORS[name]
    with pytest.raises(kind) as caught:
        call()
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("f", [tg.amax, tg.amin])
@pytest.mark.parametrize("recorded", [False, True])
def test_an_infinite_gradient_goes_to_the_extreme_alone(f: Any, recorded: bool) -> None:
    x = tg.tensor([[5.0, 1.0], [1.0, 2.0]], requires_grad=True)
    g = tg.tensor([math.inf, 1.0])
    (gradient,) = tg.grad(f(x, 1), [x], g, create_graph=recorded)
    expected = [[math.inf, 0], [0, 1]] if f is tg.amax else [[0, math.inf], [1, 0]]
    assert gradient.tolist() == expected


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint8", "float16", "float64", "bool"])
@pytest.mark.parametrize("name", ["sum", "prod", "cumsum", "cumprod", "nansum"])
def test_a_dtype_that_is_asked_for_is_that_of_the_result(name: str, dtype: str) -> None:
    x = tg.tensor([[1, 2, 0], [3, 1, 1]])
    function = getattr(tg, name)
    for dim in (0, 1) if name.startswith("cum") else (None, 0, (0, 1)):
        assert function(x, dim, dtype=dtype).dtype == dtype
        assert function(x.float(), dim, dtype=dtype).dtype == dtype
    exact = function(x, 1).numpy().astype(dtype)
    assert_array_equal(function(x, 1, dtype=dtype).numpy(), exact)
