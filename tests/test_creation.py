"""New tensors: sizes, dtypes, devices, and numbers that are rounded once."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import tinygrad_cv as tg
from tinygrad_cv._tensor import Tensor

# ----- sizes -------------------------------------------------------------------------------------

SIZED: dict[str, Callable[..., Tensor]] = {
    "empty": tg.empty,
    "ones": tg.ones,
    "rand": tg.rand,
    "randn": tg.randn,
    "zeros": tg.zeros,
    "new_zeros": tg.ones(1).new_zeros,
    "new_ones": tg.ones(1).new_ones,
    "new_empty": tg.ones(1).new_empty,
}
WITH_SIZE: dict[str, Callable[[Any], Tensor]] = {
    "full": lambda size: tg.full(size, 1.0),
    "new_full": lambda size: tg.ones(1).new_full(size, 1.0),
    "normal": lambda size: tg.normal(0.0, 1.0, size),
    "randint": lambda size: tg.randint(0, 5, size),
}


OF_SIZES_OR_DATA: dict[str, Callable[..., Tensor]] = {
    "Tensor": tg.Tensor,
    "DoubleTensor": tg.DoubleTensor,
    "LongTensor": tg.LongTensor,
    "new": tg.ones(1).new,
}


@pytest.mark.parametrize("name", OF_SIZES_OR_DATA)
def test_whole_numbers_and_sizes_are_sizes_and_all_else_is_data(name: str) -> None:
    make = OF_SIZES_OR_DATA[name]
    lengths = [np.int64(2), *np.array([3], np.uint8)]
    for made in (make(2, 3), make(*lengths), make(tg.Size([2, 3])), make(tg.ones(2, 3).size())):
        assert made.shape == (2, 3)
    assert make(4).shape == make(np.int64(4)).shape == (4,)
    assert make().shape == (0,)
    for data in ([2, 3], (2, 3), np.array([2, 3]), tg.tensor([2, 3])):
        assert make(data).tolist() == [2, 3]
    assert make([]).shape == (0,)
    assert make(np.array(4)).tolist() == make(tg.tensor(4)).tolist() == 4
    for wrong in ((-1,), (2, -1)):
        with pytest.raises(ValueError, match="no negative lengths"):
            make(*wrong)
    for wrong in (
        ([1.0], "float64"),
        ([1.0], None, None, True),
        ([1.0], 3),
        (2.0, 3),
        (2, True),
        (tg.Size([2]), 3),
    ):
        with pytest.raises(TypeError, match=r"dtype, device and requires_grad .* by their names"):
            make(*wrong)


def test_whole_numbers_of_numpy_are_data_elsewhere() -> None:
    n, x = np.int64(3), tg.tensor([1.0, 2.0])
    assert (x + n).tolist() == (n + x).tolist() == [4.0, 5.0]
    for made in (tg.tensor(n), tg.as_tensor(n), tg.add(n, 0), tg.nn.Parameter(n.astype(float))):
        assert (made.shape, made.item()) == ((), 3)
    assert (tg.nn.Parameter(3).shape, tg.nn.Parameter(3).item()) == ((), 3)
    x[0] = n
    assert x.tolist() == [3.0, 2.0]


@pytest.mark.parametrize("name", SIZED)
def test_a_size_is_given_in_one_or_in_several_arguments(name: str) -> None:
    make = SIZED[name]
    for made in (make(2, 3), make((2, 3)), make([2, 3]), make(size=(2, 3)), make(np.int64(2), 3)):
        assert made.shape == (2, 3)
    assert make(tg.tensor(2), 3).shape == (2, 3)
    assert make(0).shape == (0,)
    assert make(()).shape == ()


NO_SIZES = [2.5, (2, 2.5), "a", True, None, (2, (3,)), [[2]]]


@pytest.mark.parametrize(
    ("name", "size"),
    [
        (name, size)
        for name in [*SIZED, *WITH_SIZE]
        for size in NO_SIZES
        if size is not None or name not in ("normal", "randint")  # there None is none given
    ],
)
def test_what_is_no_size_is_refused(name: str, size: Any) -> None:
    with pytest.raises(TypeError, match=r"made of whole numbers|randint is called"):
        {**SIZED, **WITH_SIZE}[name](size)


@pytest.mark.parametrize(
    "make",
    [*WITH_SIZE.values(), *SIZED.values(), tg.eye, tg.randperm, lambda n: tg.linspace(0, 1, n)],
)
def test_negative_lengths_are_refused(make: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="no negative lengths"):
        make(-1)


def test_a_tensor_of_several_elements_is_no_size() -> None:
    with pytest.raises(TypeError, match="made of whole numbers"):
        tg.zeros(tg.tensor([2, 3]))


# ----- what the new tensor is --------------------------------------------------------------------

LIKE: dict[str, Callable[..., Tensor]] = {
    "empty_like": tg.empty_like,
    "full_like": lambda x, **options: tg.full_like(x, 1, **options),
    "ones_like": tg.ones_like,
    "rand_like": tg.rand_like,
    "randint_like": lambda x, **options: tg.randint_like(x, 3, **options),
    "randn_like": tg.randn_like,
    "zeros_like": tg.zeros_like,
    "new_empty": lambda x, **options: x.new_empty(x.shape, **options),
    "new_full": lambda x, **options: x.new_full(x.shape, 1, **options),
    "new_ones": lambda x, **options: x.new_ones(x.shape, **options),
    "new_tensor": lambda x, **options: x.new_tensor(x.tolist(), **options),
    "new_zeros": lambda x, **options: x.new_zeros(x.shape, **options),
}


@pytest.mark.parametrize("name", LIKE)
def test_one_like_another_is_like_it_but_for_what_is_given(name: str, device: str) -> None:
    for dtype in ("float16", "float32", "float64"):
        x = tg.ones(2, 3, dtype=dtype, requires_grad=True)
        y = LIKE[name](x)
        assert (y.shape, y.dtype, y.device) == (x.shape, x.dtype, device)
        assert y.is_leaf
        assert not y.requires_grad
    other = LIKE[name](x, dtype="float32", device="cpu", requires_grad=True)
    assert (other.dtype, other.device, other.requires_grad) == ("float32", "cpu", True)
    elsewhere = tg.ones(2, device="fakecuda:0")
    assert LIKE[name](elsewhere).device == "fakecuda:0"


@pytest.mark.parametrize("name", sorted(LIKE.keys() - {"rand_like", "randn_like"}))
def test_one_like_another_of_integers(name: str) -> None:
    assert LIKE[name](tg.tensor([1, 2], dtype="int32")).dtype == "int32"


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (True, "bool"),
        (np.True_, "bool"),
        (4, "int64"),
        (np.int32(4), "int64"),
        (4.0, "float32"),
        (np.float64(4), "float32"),
        (tg.tensor(4), "int64"),
        (tg.tensor(4.5, dtype="float64"), "float32"),
    ],
    ids=repr,
)
def test_full_is_of_the_kind_of_its_value(value: Any, dtype: str) -> None:
    made = tg.full((2,), value)
    assert made.dtype == dtype
    assert made.tolist() == [value, value]
    assert tg.full((2,), value, dtype="float64").dtype == "float64"


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(300, "uint8"), (-1, "uint8"), (2**63, "int64"), (float("nan"), "int32"), (1e30, "int64")],
)
def test_full_refuses_what_the_dtype_lacks(value: Any, dtype: str) -> None:
    with pytest.raises(ValueError, match=f"full: {dtype} has no"):
        tg.full((2,), value, dtype=dtype)


# ----- from data ---------------------------------------------------------------------------------

KINDS: dict[str, tuple[Any, ...]] = {
    "bool": (True, False, np.True_),
    "uint8": (np.uint8(3),),
    "int32": (np.int32(3), np.array(3, "int32")),
    "int64": (3, -1, np.int64(3)),
    "float16": (np.float16(0.5),),
    "float32": (0.5, np.float32(0.5), 1e300),
    "float64": (np.float64(0.5), np.array(0.5)),
}


@given(st.data())
def test_a_list_has_the_smallest_dtype_that_holds_all(data: Any) -> None:
    """Python's numbers count as bool, int64 and float32, all others as what they are."""
    parts = st.sampled_from([(kind, value) for kind in KINDS for value in KINDS[kind]])
    chosen = data.draw(st.lists(parts, min_size=1, max_size=4))
    expected = np.dtype(chosen[0][0])
    for kind, _ in chosen[1:]:
        other = np.dtype(kind)
        if "f" in (expected.kind + other.kind) and expected.kind != other.kind:
            expected = expected if expected.kind == "f" else other
        else:
            expected = np.promote_types(expected, other)
    values = [value for _, value in chosen]
    if data.draw(st.booleans()):
        values = [tg.tensor(v) if isinstance(v, np.generic) else v for v in values]
    with np.errstate(over="ignore"):
        flat, nested = tg.tensor(values), tg.tensor([[v] for v in values])
        exact = np.array([float(v) for v in values]).astype(expected)
    assert flat.dtype == nested.dtype == expected
    assert_array_equal(flat.numpy(), exact)
    assert_array_equal(nested.numpy()[:, 0], exact)


def test_a_dtype_that_is_given_is_what_the_data_is_rounded_to() -> None:
    third = 1 / 3
    assert tg.tensor([third], dtype="float64").item() == third
    assert tg.tensor(third, dtype="float64").item() == third
    assert tg.tensor([2**53 + 1], dtype="int64").item() == 2**53 + 1
    assert tg.tensor([1.7, -1.7], dtype="int64").tolist() == [1, -1]
    assert tg.tensor([[0.0, 2.0]], dtype="bool").tolist() == [[False, True]]


def test_what_is_no_data() -> None:
    for data in ("ab", ["a"], None, [None], [1, "a"], {1}):
        with pytest.raises(TypeError, match="a tensor holds numbers"):
            tg.tensor(data)
    for ragged in ([1, [2]], [[1], [1, 2]], [np.zeros(2), np.zeros(3)]):
        with pytest.raises(ValueError, match="lists in the data must have equal lengths"):
            tg.tensor(ragged)
    assert tg.tensor(range(3)).dtype == "int64"
    assert tg.tensor([]).dtype == "float32"
    assert tg.tensor([[], []]).shape == (2, 0)


def test_as_tensor_copies_all_but_tensors() -> None:
    x = tg.ones(2, requires_grad=True)
    assert tg.as_tensor(x) is x
    assert tg.as_tensor(x, dtype="float32") is x
    double = tg.as_tensor(x, "float64")
    assert double.dtype == "float64"
    assert double.requires_grad
    array = np.array([1.0, 2.0])
    made, also = tg.as_tensor(array), tg.from_numpy(array)
    array[0] = 5
    for tensor in (made, also):
        assert tensor.dtype == "float64"
        assert tensor.tolist() == [1, 2]
    assert tg.as_tensor([1, 2]).dtype == "int64"
    assert tg.as_tensor([1, 2], device="cpu").device == "cpu"
    for data in ([1.0], np.float64(1), x):
        with pytest.raises(TypeError, match=r"takes a numpy\.ndarray"):
            tg.from_numpy(data)


def test_asarray_copies_where_it_is_asked() -> None:
    x = tg.ones(2, requires_grad=True)
    assert tg.asarray(x, requires_grad=True) is x
    plain = tg.asarray(x)
    assert not plain.requires_grad
    assert plain.data.zero_().tolist() == x.tolist() == [0, 0]
    copy = tg.asarray(plain, copy=True)
    copy.fill_(5)
    assert plain.tolist() == [0, 0]
    assert tg.asarray([1, 2], dtype="float64", requires_grad=True).requires_grad
    with pytest.raises(ValueError, match="are copied"):
        tg.asarray(np.ones(2), copy=False)
    assert tg.scalar_tensor(3).dtype == "float32"
    assert tg.scalar_tensor(3, dtype="int64").item() == 3


@pytest.mark.parametrize("size", [2.5, "a", True, (1, 2.0)], ids=str)
@pytest.mark.parametrize("function", [tg.reshape, tg.expand, tg.broadcast_to, tg.tile, tg.permute])
def test_sizes_are_whole_numbers_elsewhere_too(function: Callable[..., Any], size: Any) -> None:
    with pytest.raises(TypeError, match="made of whole numbers"):
        function(tg.ones(2), size)


# ----- counted -----------------------------------------------------------------------------------


@given(
    st.integers(-1000, 1000),
    st.integers(-1000, 1000),
    st.integers(0, 200),
    st.sampled_from(("float16", "float32", "float64")),
)
def test_linspace_is_exact_to_one_rounding(start: int, end: int, steps: int, dtype: str) -> None:
    made = tg.linspace(start / 8, end / 8, steps, dtype=dtype).numpy()
    assert made.shape == (steps,)
    for i, value in enumerate(made.tolist()):
        exact = Fraction(start, 8)
        if steps > 1:
            exact += Fraction(end - start, 8) * i / (steps - 1)
        step = float(np.spacing(np.abs(np.float64(exact)).astype(dtype)))
        noise = float(abs(exact)) * 1e-15 + abs(end - start) * 1e-16
        assert abs(Fraction(value) - exact) <= step * (0.5 if dtype != "float64" else 2) + noise
    if steps > 1:
        assert made[0] == np.dtype(dtype).type(start / 8)
        assert made[-1] == np.dtype(dtype).type(end / 8)


def test_linspace_of_integers_rounds_towards_0() -> None:
    assert tg.linspace(0, 10, 4, dtype="int64").tolist() == [0, 3, 6, 10]
    assert tg.linspace(-10, 10, 4, dtype="int64").tolist() == [-10, -3, 3, 10]
    assert tg.linspace(tg.tensor(0.0), np.float64(1), 3).tolist() == [0, 0.5, 1]
    with pytest.raises(TypeError, match="a whole number"):
        tg.linspace(0, 1, 2.5)  # type: ignore[arg-type]


def test_logspace() -> None:
    assert tg.logspace(0, 3, 4, base=2, dtype="int64").tolist() == [1, 2, 4, 8]
    assert_array_equal(
        tg.logspace(-2, 2, 5, dtype="float64").numpy(), [0.01, 0.1, 1.0, 10.0, 100.0]
    )
    assert tg.logspace(0, 1, 0).shape == (0,)


@given(st.integers(-100, 100), st.integers(-100, 100), st.integers(-7, 7).filter(bool))
def test_arange_counts_in_full_precision(start: int, end: int, step: int) -> None:
    expected = [start + step * i for i in range(len(range(start, end, step)))]
    if (end - start) * step < 0:
        for count in (1, 0.5):
            with pytest.raises(ValueError, match=r"arange: steps of .* lead away from"):
                tg.arange(start * count, end * count, step * count)
        return
    for convert in (int, np.int32, tg.tensor):
        made = tg.arange(convert(start), convert(end), convert(step))
        assert made.dtype == "int64"
        assert made.tolist() == expected
    halves = tg.arange(start / 2, end / 2, step / 2)
    assert halves.dtype == "float32"
    assert halves.tolist() == [value / 2 for value in expected]
    cut = tg.arange(start / 2, end / 2, step / 2, dtype="int64")
    assert cut.tolist() == [int(value / 2) for value in expected]


def test_arange_does_not_drift() -> None:
    made = tg.arange(0, 100_000 * 0.1, 0.1)
    assert_array_equal(made.numpy(), (np.arange(100_000) * 0.1).astype("float32"))
    with pytest.raises(ValueError, match="the step is not 0"):
        tg.arange(0, 5, 0)


@given(st.integers(0, 5), st.integers(0, 5), st.integers(-6, 6))
def test_the_places_of_triangles(rows: int, columns: int, offset: int) -> None:
    places = [(i, j) for i in range(rows) for j in range(columns)]
    below = [(i, j) for i, j in places if j - i <= offset]
    above = [(i, j) for i, j in places if j - i >= offset]
    for made, expected in (
        (tg.tril_indices(rows, columns, offset), below),
        (tg.triu_indices(rows, columns, offset), above),
    ):
        assert made.dtype == "int64"
        assert made.shape == (2, len(expected))
        assert [*zip(*made.tolist(), strict=True)] == expected


# ----- what tensors are --------------------------------------------------------------------------


def test_questions() -> None:
    assert tg.is_tensor(tg.ones(1))
    assert not tg.is_tensor([1.0])
    assert tg.is_floating_point(tg.ones(1, dtype="float16"))
    assert not tg.is_floating_point(tg.tensor(1))
    assert tg.numel(tg.ones(2, 3)) == 6


ALL = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")


@given(*[st.sampled_from(ALL)] * 3)
def test_promotion_holds_both_and_forgets_their_order(a: str, b: str, c: str) -> None:
    both = tg.promote_types(a, b)
    assert both == tg.promote_types(b, a)
    assert tg.promote_types(both, c) == tg.promote_types(a, tg.promote_types(b, c))
    assert tg.promote_types(a, a) == a
    for dtype in (a, b):
        assert tg.can_cast(dtype, both)
        assert np.can_cast(dtype, both) or both.kind == "f"
    if both.kind == "f":
        assert both in (a, b)


def test_result_type_ranks_axes_before_tensors_before_numbers() -> None:
    byte = tg.tensor([1], dtype="int8")
    for other, expected in (
        (5, "int8"),
        (True, "int8"),
        (0.5, "float32"),
        (tg.tensor(5), "int8"),
        (tg.tensor(0.5, dtype="float64"), "float64"),
        (tg.tensor([5]), "int64"),
    ):
        assert tg.result_type(byte, other) == tg.result_type(other, byte) == expected
    assert tg.result_type(tg.ones(1, dtype="float16"), tg.tensor(0.5)) == "float16"
    assert tg.result_type(tg.tensor(True), 5) == "int64"
    assert tg.result_type(1, 2.0) == "float32"
    with pytest.raises(TypeError, match="at least one"):
        tg.result_type()
    assert not tg.can_cast("float16", "int64")
    assert not tg.can_cast("int8", "bool")
