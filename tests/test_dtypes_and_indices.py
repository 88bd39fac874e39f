"""Dtypes follow PyTorch's rules, and an index gives its gradient back where it came from."""

import array
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_cv as tg
from programs import leaf, values
from test_changed_values import FUNCTIONS, fixed
from tinygrad_cv._apply import apply
from tinygrad_cv._op import REGISTRY
from tinygrad_cv._tensor import Tensor

# ----- indices -----------------------------------------------------------------------------------

INDICES: dict[str, Any] = {
    "integer": 1,
    "negative": -1,
    "NumPy integer": np.int64(1),
    "slice": slice(None, None, 2),
    "slice backwards": slice(None, None, -1),
    "ellipsis": (..., 0),
    "new axis": (None, slice(None), None),
    "list": [0, 0, 2],
    "tuple in a tuple": ((0, 0, 2),),
    "tuple beside a slice": ((0, 0, 2), slice(1)),
    "two tuples": ((0, 0, 2), (1, 1, 0)),
    "list beside a tuple": ([0, 0, 2], (1, 1, 0)),
    "nested lists": [[0, 0], [2, 0]],
    "array": np.array([0, 0, 2]),
    "array of small integers": np.array([0, 0, 2], "int8"),
    "buffer": array.array("q", [0, 0, 2]),
    "range": range(2),
    "tensor": tg.tensor([0, 0, 2]),
    "mask": np.array([True, False, True]),
    "list of truth values": [True, False, True],
    "mask of elements": np.arange(6).reshape(3, 2) % 2 == 0,
    "one truth value": True,
    "array of one number": np.array(1),
    "outer product": np.ix_([0, 0, 2], [1, 1]),
    "integer beside an array": (np.array([0, 0, 2]), 1),
    "arrays around a slice": (np.array([0, 0]), slice(None), np.array([1])),
}


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES.keys())
def test_an_element_taken_twice_has_twice_the_gradient(index: Any) -> None:
    start = np.arange(6.0).reshape(3, 2)
    if "slice(None, None, None)" in str(index) and isinstance(index, tuple) and len(index) == 3:
        start = start[:, None] if index[0] is not None else start
    x = leaf(start)
    plain = np.asarray(index.numpy()) if isinstance(index, Tensor) else index
    y = x[index]
    assert_array_equal(values(y), start[plain])
    g = np.random.default_rng(0).normal(size=y.shape)
    y.backward(g)
    expected = np.zeros_like(start)
    np.add.at(expected, plain, g)
    assert_allclose(values(x.grad), expected)


def test_an_index_may_change_after_it_was_used() -> None:
    for index in ([0, 0], np.array([0, 0]), tg.tensor([0, 0]), array.array("q", [0, 0])):
        x = leaf([1.0, 2.0])
        y = (x[index] * Tensor([1.0, 10.0])).sum()
        index[0] = 1
        y.backward()
        assert x.grad.tolist() == [11, 0]


# ----- dtypes ------------------------------------------------------------------------------------


def test_python_values_become_float32_and_arrays_stay() -> None:
    for value in (1, 1.0, True, [1, 2], [[1.0]], (1, 2), []):
        assert Tensor(value).dtype == tg.float32
    for dtype in ("float16", "float32", "float64", "int32", "int64", "uint8", "bool"):
        assert Tensor(np.ones(2, dtype)).dtype == dtype
        assert tg.tensor(np.ones(2, dtype)).dtype == dtype
        assert Tensor(Tensor(np.ones(2, dtype))).dtype == dtype
        assert Tensor([1, 0], dtype=dtype).dtype == dtype


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1, "int64"),
        (1.0, "float32"),
        (True, "bool"),
        ([1, 2], "int64"),
        ([1, 2.0], "float32"),
        ([True, False], "bool"),
        ([True, 2], "int64"),
        ([[1.0], [2.0]], "float32"),
        (np.float64(1), "float64"),
        (np.int32(1), "int32"),
    ],
)
def test_tensor_infers_the_dtype_as_pytorch_does(value: Any, dtype: str) -> None:
    assert tg.tensor(value).dtype == dtype


NUMBERS: dict[str, Callable[[Any], Any]] = {
    "+ 2.5": lambda x: x + 2.5,
    "2.5 -": lambda x: 2.5 - x,
    "* 2.5": lambda x: x * 2.5,
    "/ 2.5": lambda x: x / 2.5,
    "2.5 /": lambda x: 2.5 / x,
    "** 2.5": lambda x: x**2.5,
    "2.5 **": lambda x: 2.5**x,
    "+= 2.5": lambda x: x.__iadd__(2.5),
    "* np.sqrt(2)": lambda x: x * np.sqrt(2),
    "** np.float64": lambda x: x ** np.float64(2.5),
    "maximum": lambda x: tg.maximum(x, 2.5),
    "where": lambda x: tg.where(x > 1, x, 2.5),
    "clamp": lambda x: x.clamp(0.5, 2.5),
    "* True": lambda x: x * True,
    "+ integers": lambda x: x + tg.tensor([1, 2]),
    "* truth values": lambda x: x * (x > 1),
}


@pytest.mark.parametrize("f", NUMBERS.values(), ids=NUMBERS.keys())
def test_a_number_does_not_change_the_dtype(f: Callable[[Any], Any]) -> None:
    assert f(Tensor([1.0, 2.0])).dtype == tg.float32
    assert f(Tensor([1.0, 2.0], dtype="float64")).dtype == tg.float64


@pytest.mark.parametrize(
    "f",
    [
        lambda i: i * 2.5,
        lambda i: 2.5 - i,
        lambda i: i / 2,
        lambda i: i / i,
        lambda i: i**0.5,
        lambda i: i * tg.tensor(2.5),
        lambda i: i + tg.tensor([1.0, 2.0]),
        lambda i: i.float(),
        lambda i: i.mean(),
        lambda i: i.sin(),
        lambda i: i.sqrt(),
        lambda i: tg.where(i > 1, i, 2.5),
    ],
)
def test_integers_that_become_floats_become_float32(f: Callable[[Tensor], Tensor]) -> None:
    for dtype in (tg.int32, tg.int64, tg.uint8):
        assert f(tg.tensor([1, 2], dtype=dtype)).dtype == tg.float32


def test_integers_stay_integers() -> None:
    i = tg.tensor([1, 2])
    assert [t.dtype for t in (i + 1, i * i, -i, i.sum(), i[0], i.amax(), i.argmax())] == [
        "int64"
    ] * 7
    assert [t.dtype for t in (i > 1, i == 1, ~(i > 1))] == ["bool"] * 3


@pytest.mark.parametrize(
    "make",
    [lambda: tg.ones(2), lambda: tg.tensor([1, 2]), lambda: 2.5, lambda: np.ones(2, "float32")],
)
def test_float64_stays_where_it_is(make: Callable[[], Any]) -> None:
    other = make()
    x = Tensor([1.0, 2.0], dtype="float64")
    for y in (x + other, other * x, x / other, tg.maximum(x, other)):
        assert y.dtype == tg.float64
    big_endian = Tensor(np.array([1 / 3, 2 / 3], ">f8"))
    assert_array_equal(values(big_endian * 1 + other * 0), [1 / 3, 2 / 3])


def test_an_operand_that_is_an_array_brings_its_dtype() -> None:
    assert (Tensor([1.0]) * np.ones(1)).dtype == tg.float64
    assert (np.ones(1) * Tensor([1.0])).dtype == tg.float64
    assert (Tensor([1.0]) * np.ones(1, "float32")).dtype == tg.float32


@pytest.mark.parametrize("change", [lambda i: i.__iadd__(0.5), lambda i: i.__itruediv__(2)])
def test_an_operator_in_place_does_not_cut_off_fractions(change: Callable[[Tensor], Any]) -> None:
    i = tg.tensor([1, 2])
    with pytest.raises(TypeError, match="int64"):
        change(i)
    assert i.tolist() == [1, 2]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(("f", "shapes"), FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_gradients_have_the_dtype_and_shape_of_their_leaf(
    f: Callable[..., Tensor], shapes: Sequence[tuple[int, ...]], dtype: str
) -> None:
    leaves = [leaf(values(fixed(*shape)), dtype) for shape in shapes]
    y = f(*leaves)
    assert y.dtype == dtype
    recorded = tg.grad(y.sum(), leaves, create_graph=True)
    y.sum().backward()
    for x, g in zip(leaves, recorded, strict=True):
        assert (x.grad.dtype, x.grad.shape) == (g.dtype, g.shape) == (dtype, x.shape)
    # Half precision says the same as double precision, only less exactly.
    exact = [leaf(values(fixed(*shape))) for shape in shapes]
    tolerance = {"float16": 0.02, "float32": 1e-5, "float64": 0.0}[dtype]
    assert_allclose(values(y), values(f(*exact)), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("create_graph", [False, True])
def test_each_leaf_of_a_mixed_graph_gets_its_own_dtype(create_graph: bool) -> None:
    half, single, double = (leaf([1.0, 2.0], f"float{bits}") for bits in (16, 32, 64))
    y = (half * single + single * double).sum() + half.float().sum() + double.half().sum()
    assert y.dtype == tg.float64
    y.backward(create_graph=create_graph)
    assert [x.grad.dtype for x in (half, single, double)] == ["float16", "float32", "float64"]
    assert [values(x.grad).tolist() for x in (half, single, double)] == [[2, 3], [2, 4], [2, 3]]


def test_no_gradient_passes_through_integers() -> None:
    x = leaf([1.6, 2.4])
    for whole in (x.long(), x.to("uint8"), x.to("bool"), x > 2, x.argmax()):
        assert not whole.requires_grad
    y = (x * x.long()).sum()
    y.backward()
    assert x.grad.tolist() == [1, 2]


DTYPES = (
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "bool",
)
SHAPES = [((2,), (2,)), ((2,), ()), ((), (2,)), ((), ()), ((2, 1), (2,))]


def pytorchs(a: Any, b: Any) -> Any:
    """PyTorch's rule: first whether it has axes decides, then the kind, then the width."""
    kinds = {"b": 0, "u": 1, "i": 1, "f": 2}
    first, second = sorted((a, b), key=lambda x: -x.ndim)
    if not first.ndim or (second.ndim and first.ndim):
        group = [first.dtype, second.dtype]
    elif kinds[second.dtype.kind] > kinds[first.dtype.kind]:
        group = [second.dtype]
    else:
        group = [first.dtype]
    floats = [dtype for dtype in group if dtype.kind == "f"]
    # Of floats the widest; for integers NumPy has the same table, int16 for int8 and uint8.
    return max(floats, key=lambda dtype: dtype.itemsize) if floats else np.result_type(*group)


ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "*": operator.mul,
    "maximum": tg.maximum,
    "minimum": tg.minimum,
    "where": lambda a, b: tg.where(tg.tensor(True), a, b),
}
# NumPy and PyTorch refuse to subtract truth values, or to divide them with a remainder.
NOT_OF_BOOLS = {"-": operator.sub, "//": operator.floordiv, "%": operator.mod, "**": operator.pow}
BITWISE = {"&": operator.and_, "|": operator.or_, "^": operator.xor}


@pytest.mark.parametrize("a", DTYPES)
@pytest.mark.parametrize("b", DTYPES)
@pytest.mark.parametrize("shapes", SHAPES)
def test_dtypes_are_promoted_as_in_pytorch(a: str, b: str, shapes: Any) -> None:
    x, y = (np.ones(shape, dtype) for shape, dtype in zip(shapes, (a, b), strict=True))
    expected = pytorchs(x, y)
    functions = dict(ARITHMETIC)
    if expected.kind != "b":
        functions |= NOT_OF_BOOLS
    if expected.kind != "f":
        functions |= BITWISE
    for sign, f in functions.items():
        assert f(tg.Tensor(x), tg.Tensor(y)).dtype == expected, sign
    floating = expected if expected.kind == "f" else tg.float32
    assert (tg.Tensor(x) / tg.Tensor(y)).dtype == floating


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(), (2,)])
def test_a_number_widens_only_the_kind(dtype: str, shape: tuple[int, ...]) -> None:
    """A Python number is of a kind (a truth value, an integer, a float) and has no width."""
    x = tg.Tensor(np.ones(shape, dtype))
    for f in (*ARITHMETIC.values(), operator.pow, operator.floordiv):
        assert f(x, 2).dtype == f(2, x).dtype == ("int64" if dtype == "bool" else dtype)
    for f in (operator.add, operator.mul, operator.pow, operator.truediv, tg.maximum):
        assert f(x, 2.5).dtype == f(2.5, x).dtype == tg.float32


WITH_INTEGERS: dict[str, tuple[Callable[[], Tensor], Any]] = {
    "2.5 ** integers": (lambda: 2.5 ** tg.tensor([1, 2, 3]), [2.5, 6.25, 15.625]),
    "2 ** True": (lambda: 2 ** tg.tensor([True, False]), [2, 1]),
    "0.5 ** arange": (lambda: 0.5 ** tg.arange(4), [1, 0.5, 0.25, 0.125]),
    "2 ** floats": (lambda: 2 ** tg.tensor([0.5, 2.0]), [math.sqrt(2), 4]),
    "integers ** 2.0": (lambda: tg.tensor([3]) ** 2.0, [9]),
    "integers ** 3": (lambda: tg.tensor([-3], dtype=tg.int32) ** 3, [-27]),
    "integers ** 0.5": (lambda: tg.tensor([9]) ** 0.5, [3]),
    "integers ** -1.0": (lambda: tg.tensor([4]) ** -1.0, [0.25]),
    "True ** 2": (lambda: tg.tensor([True]) ** 2, [1]),
    "a list @ integers": (lambda: [0.5, 1.5] @ tg.tensor([1, 2]), 3.5),
    "integers @ a list": (lambda: tg.tensor([1, 2]) @ [0.5, 1.5], 3.5),
    "integers - a list": (lambda: tg.tensor([1, 2]) - [0.5, 1.5], [0.5, 0.5]),
    "a list * integers": (lambda: [0.5, 1.5] * tg.tensor([1, 2]), [0.5, 3]),
    "integers // 2.5": (lambda: tg.tensor([7]) // 2.5, [2]),
    "7.5 % integers": (lambda: 7.5 % tg.tensor([2]), [1.5]),
    "clamp of integers": (lambda: tg.tensor([1, 5]).clamp(max=2.5), [1, 2.5]),
    "a list beside double": (
        lambda: tg.tensor([1.0], dtype=tg.float64) * [0.1],
        [0.1],
    ),
}


@pytest.mark.parametrize(("f", "expected"), WITH_INTEGERS.values(), ids=WITH_INTEGERS.keys())
def test_no_number_is_cut_to_the_integers_beside_it(f: Callable[[], Tensor], expected: Any) -> None:
    y = f()
    rtol = 1e-15 if y.dtype == tg.float64 else 1e-7
    assert_allclose(values(y), expected, rtol=rtol)


def test_a_list_of_integers_beside_integers() -> None:
    numbers = [3, 4]
    for dtype in (tg.int32, tg.uint8):
        y = tg.tensor([1, 2], dtype=dtype) + numbers
        assert (y.tolist(), y.dtype) == ([4, 6], dtype)
    assert (tg.tensor([True, False]) + numbers).dtype == tg.int64


def test_bits() -> None:
    x, y = tg.tensor([12, 10]), tg.tensor([10, 3])
    assert (x & y).tolist() == [8, 2]
    assert (x | y).tolist() == [14, 11]
    assert (x ^ y).tolist() == [6, 9]
    assert (~x).tolist() == [-13, -11]
    assert (x & 3).tolist() == (3 & x).tolist() == [0, 2]
    assert (x << 2).tolist() == [48, 40]
    assert (1 << y).tolist() == [1024, 8]
    assert (x >> 1).tolist() == [6, 5]
    assert (100 >> y).tolist() == [0, 12]
    yes, no = tg.tensor([True, True]), tg.tensor([True, False])
    assert [(yes & no).tolist(), (yes ^ no).tolist(), (~no).tolist()] == [
        [True, False],
        [False, True],
        [False, True],
    ]
    assert (no & True).dtype == tg.bool
    assert x.bitwise_and(y).tolist() == tg.bitwise_and(x, y).tolist() == [8, 2]


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x & x,
        lambda x: x | tg.tensor([1, 2]),
        lambda x: tg.tensor([1, 2]) ^ x,
        lambda x: ~x,
        lambda x: x << 1,
        lambda x: tg.tensor([1, 2]) >> 1.5,
        lambda x: tg.tensor([True, False]) << tg.tensor([True, True]),
    ],
)
def test_floats_have_no_bits(f: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(TypeError, match="works on the bits of integers"):
        f(tg.tensor([1.0, 2.0]))


def test_an_integer_to_a_negative_power_is_no_shape() -> None:
    for f in (lambda i: i**-1, lambda i: i ** tg.tensor([-1]), lambda i: 2 ** (0 - i)):
        with pytest.raises(ValueError, match="are no integers"):
            f(tg.tensor([2]))


@pytest.mark.host  # a GPU does not look
@pytest.mark.parametrize("f", [operator.floordiv, operator.mod, tg.fmod])
def test_an_integer_divided_by_0_is_an_error(f: Callable[..., Tensor]) -> None:
    for divisor in (0, tg.tensor([1, 0]), tg.tensor([True, False])):
        with pytest.raises(ZeroDivisionError, match="divided by 0"):
            f(tg.tensor([1, 2]), divisor)
    assert f(tg.tensor([7, 8]), 2).tolist() == f(tg.tensor([7, 8]), tg.tensor(2)).tolist()


OF_REALS = sorted(
    name
    for name, op in REGISTRY.items()
    if op.__module__ in ("tinygrad_cv.ops.activation", "tinygrad_cv.ops.elementwise")
    and len(op.inputs) == 1
    and not op.required - {"axis"}
    and "dtype" not in op.attributes
    and name not in ("bitwise_not", "to_device")
)


@pytest.mark.parametrize("name", OF_REALS)
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32"])
def test_a_function_of_reals_is_one_of_small_integers(name: str, dtype: str) -> None:
    """No intermediate result may be cut to the integers, or to the float16 NumPy finds enough."""
    numbers = np.array([[1, 0], [1, 1]] if dtype == "bool" else [[1, 0], [3, 100]], dtype)
    op = REGISTRY[name](**({"axis": 1} if "axis" in REGISTRY[name].required else {}))
    if dtype == "bool" and name in ("neg", "relu"):
        return  # these are not of truth values
    with np.errstate(all="ignore"):
        expected = apply(op, tg.Tensor(numbers.astype("float64")))
        y = apply(op, tg.Tensor(numbers))
        rounded = values(expected).astype("float32")
    if y.dtype.kind == "f":
        assert y.dtype == tg.float32
        assert_allclose(values(y), rounded, rtol=1e-6, atol=1e-7)
    elif name not in ("neg", "square"):  # of which the integers may have no room for the result
        assert_allclose(values(y).astype("float64"), values(expected))


@pytest.mark.parametrize("sign", ["&", "|", "^", "<<", ">>"])
def test_bits_change_in_place(sign: str) -> None:
    change = {
        "&": operator.iand,
        "|": operator.ior,
        "^": operator.ixor,
        "<<": operator.ilshift,
        ">>": operator.irshift,
    }[sign]
    x = tg.tensor([6, 3], dtype=tg.uint8)
    same = x
    x = change(x, tg.tensor([1, 2]))
    assert x is same
    assert x.dtype == tg.uint8
    expected = {"&": [0, 2], "|": [7, 3], "^": [7, 1], "<<": [12, 12], ">>": [3, 0]}[sign]
    assert x.tolist() == expected


def test_plus_leaves_a_number_as_it_is() -> None:
    assert (+tg.tensor([1, -2])).tolist() == [1, -2]
    with pytest.raises(TypeError, match="no sign"):
        +tg.tensor([True])
