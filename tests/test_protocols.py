"""Python's and NumPy's protocols: formats, operators beside strangers, arrays, ufuncs, DLPack."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_cv as tg
from calls import SQUARE, V
from tinygrad_cv._numpy import FUNCTIONS
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.testing.strategies import arrays, shapes

# ----- text --------------------------------------------------------------------------------------


@given(
    st.floats(-1e6, 1e6, width=32),
    st.sampled_from((".3f", "8.2e", "+.1f", "g", ">12", "010.4f", "%", ",.0f")),
    st.sampled_from(((), (1,), (1, 1, 1))),
)
def test_a_format_is_that_of_the_number(value: float, spec: str, shape: tuple[int, ...]) -> None:
    x = tg.full(shape, value, requires_grad=True)
    assert format(x, spec) == format(np.float32(value).item(), spec)
    assert f"{x}" == (str(x) if shape else str(np.float32(value).item()))


def test_whole_numbers_and_truth_values_format_as_python_s() -> None:
    assert f"{tg.tensor(12):05d} {tg.tensor([3]):x} {tg.tensor(True):d}" == "00012 3 1"


@given(shapes(1, 3))
def test_a_format_of_several_numbers_is_refused(shape: tuple[int, ...]) -> None:
    x = tg.zeros(*shape, 2)
    assert f"{x}" == str(x)
    with pytest.raises(TypeError, match="one number"):
        format(x, ".3f")


# ----- operators ---------------------------------------------------------------------------------

BINARY = [
    getattr(operator, name)
    for name in (
        [
            "add",
            "sub",
            "mul",
            "truediv",
            "floordiv",
            "mod",
            "pow",
            "matmul",
            "and_",
            "or_",
            "xor",
            "lshift",
            "rshift",
            "lt",
            "le",
            "gt",
            "ge",
        ]
    )
]
IN_PLACE = [
    getattr(operator, name)
    for name in [
        "iadd",
        "isub",
        "imul",
        "itruediv",
        "ifloordiv",
        "imod",
        "ipow",
        "iand",
        "ior",
        "ixor",
        "ilshift",
        "irshift",
    ]
]


class Stranger:
    """It has every operator, and an answer of its own."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def _answer(self: Stranger, other: Any) -> str:
    return "mine"


for _name in [
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
]:
    setattr(Stranger, f"__{_name}__", _answer)
    setattr(Stranger, f"__r{_name}__", _answer)
for _name in ["lt", "le", "gt", "ge", "eq", "ne"]:
    setattr(Stranger, f"__{_name}__", _answer)


@pytest.mark.parametrize("function", BINARY, ids=lambda f: f.__name__)
def test_a_stranger_answers_for_itself(function: Callable[..., Any]) -> None:
    x = tg.tensor([1, 2])
    assert function(x, Stranger()) == "mine"
    assert function(Stranger(), x) == "mine"


@pytest.mark.parametrize("function", IN_PLACE, ids=lambda f: f.__name__)
def test_a_stranger_answers_in_place_too(function: Callable[..., Any]) -> None:
    x = tg.tensor([1, 2])
    assert function(x, Stranger()) == "mine"
    assert x.tolist() == [1, 2]


@pytest.mark.parametrize("function", [*BINARY, *IN_PLACE], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    "stranger", ["1", None, object(), {}, {1}, b"1", 1j], ids=lambda s: type(s).__name__
)
def test_what_has_no_answer_is_a_type_error_of_python(
    function: Callable[..., Any], stranger: Any
) -> None:
    x = tg.tensor([1, 2])
    # A str asks how often it is to be repeated.
    words = "not supported between|unsupported operand|an index of Python's"
    with pytest.raises(TypeError, match=words):
        function(x, stranger)
    if function not in IN_PLACE and not (
        isinstance(stranger, str | bytes) and function is operator.mod
    ):
        with pytest.raises(TypeError):  # a str or bytes words it in its own way; "%s" % x is text
            function(stranger, x)
    assert x.tolist() == [1, 2]


def test_a_tensor_equals_no_stranger() -> None:
    x = tg.tensor([1.0, 2.0])
    for stranger in (None, "a", object(), {}):
        assert (x == stranger, stranger == x) == (False, False)
        assert (x != stranger, stranger != x) == (True, True)
    assert x in [None, x]
    assert None not in [x]
    assert (x == Stranger(), x != Stranger()) == ("mine", "mine")
    assert (x == [1.0, 3.0]).tolist() == (x == np.array([1.0, 3.0])).tolist() == [True, False]


@pytest.mark.parametrize("function", [*BINARY, *IN_PLACE], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    "stranger",
    [np.datetime64("2020"), np.str_("a"), [None, 1], ["a", "b"], [1j, 2]],
    ids=repr,
)
def test_what_numpy_or_a_list_holds_beside_numbers_is_no_number(
    function: Callable[..., Any], stranger: Any
) -> None:
    """And ends in a TypeError, not in a recursion between two libraries."""
    x = tg.tensor([1, 2])
    for call in (lambda: function(x, stranger), lambda: function(x.float(), stranger)):
        with pytest.raises(TypeError):
            call()
    if function in (operator.add, operator.pow, operator.isub):
        with pytest.raises(TypeError):
            function(x, np.complex64(1j))
    assert x.tolist() == [1, 2]
    if not isinstance(stranger, np.generic):
        assert (x == stranger, x != stranger, stranger in x) == (False, True, False)


@pytest.mark.parametrize("function", BINARY[:7] + BINARY[-4:], ids=lambda f: f.__name__)
@pytest.mark.parametrize("kind", [np.float64, np.float16, np.longdouble, np.int8, np.bool_])
@pytest.mark.parametrize("dtype", ["float16", "float32", "int64"])
def test_a_number_of_numpy_s_is_that_of_python(function: Any, kind: Any, dtype: str) -> None:
    x, number = tg.tensor([1, 3]).to(dtype=dtype), kind(2)
    same = float(number) if kind is np.longdouble else number.item()
    for found, expected in (
        (function(x, number), function(x, same)),
        (function(number, x), function(same, x)),
    ):
        assert (found.dtype, found.tolist()) == (expected.dtype, expected.tolist())


@given(arrays(shapes(0, 3)), st.floats(-1, 1, width=32), st.integers(0, 99))
def test_in_asks_every_element(values: Any, element: float, place: int) -> None:
    x = tg.tensor(values)
    assert (element in x) == (element in values)
    assert (tg.tensor(element) in x) == (element in values)
    if values.size:
        assert values.flat[place % values.size].item() in x


def test_no_list_takes_tensors_out_of_their_graph() -> None:
    """As no array does: tg.stack keeps the gradient."""
    w = tg.tensor(1.0, requires_grad=True)
    for call in (
        lambda: tg.ones(2) * [w, w],
        lambda: tg.sin([w, w * 2]),
        lambda: tg.zeros(2).copy_([w, w]),
        lambda: tg.conv1d(tg.ones(1, 1, 2), tg.ones(1, 1, 1), [w]),
    ):
        with pytest.raises(RuntimeError, match=r"requires a gradient.*detach\(\)"):
            call()
    assert (tg.ones(2) * [w.detach(), 3]).tolist() == [1.0, 3.0]


@pytest.mark.parametrize("value", [np.complex64(1j), np.array([1j, 2]), np.array([[1j]])], ids=repr)
def test_no_complex_number_loses_its_imaginary_part(value: Any) -> None:
    x = tg.zeros(2)
    for call in (lambda: x.__setitem__(..., value), lambda: x.copy_(value)):
        with pytest.raises(TypeError, match="real parts only"):
            call()
    assert x.tolist() == [0.0, 0.0]


def test_plus_is_the_tensor_itself() -> None:
    x = tg.tensor([1.0], requires_grad=True)
    assert +x is x
    with pytest.raises(TypeError, match="truth values have no sign"):
        +tg.tensor([True])


# ----- arrays of NumPy ---------------------------------------------------------------------------

CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "asarray": np.asarray,
    "array": np.array,
    "asarray, copy=False": lambda x: np.asarray(x, copy=False),
    "ascontiguousarray": np.ascontiguousarray,
    "a list": lambda x: np.array([x, x]),
    "a dtype": lambda x: np.asarray(x, "float64"),
    "from_dlpack": np.from_dlpack,
    "from_dlpack, copy=False": lambda x: np.from_dlpack(x, copy=False),
    "tobytes": lambda x: np.frombuffer(x.tobytes(), "float32"),
    "numpy()": lambda x: x.numpy(),
    "assignment": lambda x: np.zeros(x.shape).__setitem__(..., x) or x.numpy(),
}


@pytest.mark.host
@pytest.mark.parametrize("name", CONVERSIONS)
def test_an_array_of_a_tensor_that_requires_a_gradient_is_refused(name: str) -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    for recorded in (x, x * 2):
        with pytest.raises((RuntimeError, BufferError), match=r"requires a gradient.*detach\(\)"):
            CONVERSIONS[name](recorded)
    found = CONVERSIONS[name](x.detach())
    assert_array_equal(found, np.broadcast_to([1.0, 2.0], found.shape))


@pytest.mark.host
@given(arrays(shapes(0, 3)), st.booleans())
def test_nobody_writes_into_a_tensor_through_an_array(values: Any, turned: bool) -> None:
    x = tg.tensor(values)
    x = x.T if turned else x
    for convert in (np.asarray, np.from_dlpack, lambda x: np.from_dlpack(x, copy=False)):
        found = convert(x)
        assert_array_equal(found, values.T if turned else values)
        if found.flags.writeable:
            found[...] = 7.0
        else:
            with pytest.raises(ValueError, match="read-only"):
                found[...] = 7.0
        assert_array_equal(x.numpy(), values.T if turned else values)


@pytest.mark.host
def test_memory_is_shared_where_it_is_safe() -> None:
    x = tg.ones(2, 3)
    assert np.shares_memory(np.asarray(x), x.numpy())
    assert np.shares_memory(np.from_dlpack(x, copy=False), x.numpy())
    assert not np.shares_memory(np.from_dlpack(x), x.numpy())


@pytest.mark.host
def test_an_array_outlives_its_tensor() -> None:
    x = tg.ones(1000)
    found = np.asarray(x)
    x.data = tg.zeros(1000)
    del x
    assert found.sum() == 1000


@pytest.mark.host
@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (1, 1), (3, 4)])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float64"])
def test_every_shape_and_dtype_goes_to_numpy_and_back(shape: tuple[int, ...], dtype: str) -> None:
    x = tg.ones(*shape, dtype=dtype) if shape else tg.tensor(1).to(dtype=dtype)
    for found in (np.asarray(x), np.from_dlpack(x)):
        assert (found.shape, found.dtype) == (shape, dtype)
        assert_array_equal(tg.from_dlpack(found).numpy(), found)


def test_an_array_of_another_library_needs_no_copy_keyword() -> None:
    """As those of PyTorch, which NumPy warns of; and nobody shares the memory."""

    class Foreign:
        values = np.array([1.0, 2.0])
        dtype, ndim = values.dtype, 1

        def __array__(self, dtype: Any = None) -> Any:
            return self.values

    made = [tg.tensor(Foreign()), tg.Tensor(Foreign(), dtype="float32"), tg.abs(Foreign())]
    made.append(tg.zeros(2) + Foreign())
    Foreign.values[:] = 7
    assert [x.tolist() for x in made] == [[1.0, 2.0]] * 4


@pytest.mark.host
def test_from_dlpack_copies() -> None:
    values = np.ones(3)
    x = tg.from_dlpack(values)
    values[:] = 0
    assert x.tolist() == [1.0, 1.0, 1.0]
    assert tg.from_dlpack(x).tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(TypeError, match="__dlpack__; got list"):
        tg.from_dlpack([1.0])


def test_the_device_of_dlpack_is_named() -> None:
    x = tg.ones(2)
    assert x.__dlpack_device__() == ((1, 0) if x.device == "cpu" else (2, x.get_device()))
    with pytest.raises(BufferError, match="Move it first"):
        x.__dlpack__(dl_device=(4, 0))


@pytest.mark.host
def test_pillow_makes_a_picture_of_a_tensor() -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.arange(24, dtype="uint8").reshape(2, 4, 3)
    for values in (pixels, pixels[..., 0], np.asfortranarray(pixels)):
        assert_array_equal(np.asarray(image.fromarray(tg.tensor(values))), values)
    with pytest.raises(AttributeError, match="requires a gradient"):
        image.fromarray(tg.ones(2, 2, requires_grad=True))


# ----- functions of NumPy ------------------------------------------------------------------------

UNARY = [
    "sin",
    "cos",
    "tan",
    "exp",
    "log",
    "sqrt",
    "abs",
    "absolute",
    "negative",
    "positive",
    "square",
    "floor",
    "ceil",
    "trunc",
    "sign",
    "tanh",
    "isnan",
    "isfinite",
    "reciprocal",
    "log1p",
    "expm1",
    "exp2",
    "log2",
    "arctan",
    "sinh",
    "rint",
    "fabs",
    "degrees",
    "radians",
]
PAIRS = [
    "add",
    "subtract",
    "multiply",
    "divide",
    "true_divide",
    "power",
    "maximum",
    "minimum",
    "fmax",
    "fmin",
    "arctan2",
    "hypot",
    "logaddexp",
    "greater",
    "less",
    "equal",
    "not_equal",
    "greater_equal",
    "less_equal",
    "copysign",
    "floor_divide",
    "remainder",
    "fmod",
    "matmul",
    "logical_and",
    "logical_or",
    "float_power",
]
WHOLE = ["bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"]


@pytest.mark.parametrize("name", UNARY + PAIRS + WHOLE + ["invert", "logical_not"])
def test_a_ufunc_is_the_op_of_its_name(name: str) -> None:
    ufunc = getattr(np, name)
    x = np.array([[0, 2, 1], [3, 1, 2], [1, 1, 1]]) if name in [*WHOLE, "invert"] else SQUARE
    expected = ufunc(*[x] * ufunc.nin)
    calls = [[tg.tensor(x)] * ufunc.nin]
    if ufunc.nin == 2:
        calls += [[x, tg.tensor(x)], [tg.tensor(x), x]]
    for inputs in calls:
        found = ufunc(*inputs)
        assert isinstance(found, Tensor)
        assert found.device == tg.get_default_device()
        assert found.dtype == expected.dtype
        assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_a_ufunc_is_recorded() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    np.add(np.ones(2, dtype="float32"), np.multiply(x, np.sin(x))).sum().backward()
    at = np.array([1.0, 2.0])
    assert x.grad is not None
    assert_allclose(x.grad.numpy(), np.sin(at) + at * np.cos(at), rtol=1e-6)


def test_a_number_of_numpy_s_on_the_left_is_a_number() -> None:
    y = np.float64(2) * tg.ones(2, requires_grad=True)
    assert (y.dtype, y.tolist(), y.requires_grad) == ("float32", [2.0, 2.0], True)


@pytest.mark.host
def test_an_array_on_the_left_in_place_takes_the_values() -> None:
    a = np.ones(2)
    a += tg.tensor([1.0, 2.0])
    assert a.tolist() == [2.0, 3.0]
    out = np.zeros(2)
    assert np.add(a, tg.ones(2), out=out) is out
    with pytest.raises(RuntimeError, match="requires a gradient"):
        a += tg.ones(2, requires_grad=True)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: np.add.reduce(x), ("np.add.reduce", "tinygrad_cv.sum")),
        (lambda x: np.maximum.reduce(x), ("tinygrad_cv.amax",)),
        (lambda x: np.add.accumulate(x), ("tinygrad_cv.cumsum",)),
        (lambda x: np.subtract.outer(x, x), ("np.subtract.outer", "detach")),
        (lambda x: np.cbrt(x), ("no cbrt", "detach")),
        (lambda x: np.modf(x), ("no modf", "detach")),
        (lambda x: np.add(x, x, where=[True]), ("np.add", "tinygrad_cv.add", "where")),
        (lambda x: np.std(x), ("numpy.std", "tinygrad_cv.std", "detach")),
        (lambda x: np.linalg.norm(x), ("numpy.linalg.norm", "tinygrad_cv.norm")),
        (lambda x: np.percentile(x, 50), ("numpy.percentile", "detach")),
        (lambda x: np.interp(x, [1], [2]), ("numpy.interp", "detach")),
        (lambda x: np.sum(x, out=np.zeros(())), ("np.sum", "out")),
        (lambda x: np.clip(x, 0, 1, out=np.zeros(2)), ("np.clip", "a_max", "out")),
        (lambda x: np.sin(x, out=tg.zeros(2, dtype="int32")), ("np.sin", "int32", "out")),
    ],
)
def test_what_is_no_op_says_which_function_to_use(call: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(TypeError) as caught:
        call(tg.ones(2, requires_grad=True))
    assert [word for word in words if word not in str(caught.value)] == []


ARGUMENTS: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "concatenate": [
        (([SQUARE, SQUARE],), {"axis": 1}),
        (((V, V),), {}),
        (([SQUARE, V],), {"axis": None}),
    ],
    "stack": [(([V, V],), {"axis": 1})],
    "vstack": [(([V, V],), {})],
    "hstack": [(([V, V],), {})],
    "dstack": [(([V, V],), {})],
    "column_stack": [(([V, V],), {})],
    "broadcast_to": [((V, (2, 3)), {})],
    "tile": [((V, 2), {}), ((V, (2, 1)), {})],
    "reshape": [((SQUARE, (9,)), {}), ((SQUARE, -1), {})],
    "swapaxes": [((SQUARE, 0, 1), {})],
    "moveaxis": [((SQUARE, 0, 1), {})],
    "squeeze": [((SQUARE[None],), {}), ((SQUARE[None], 0), {}), ((SQUARE[None],), {"axis": 0})],
    "expand_dims": [((V, 0), {}), ((V,), {"axis": -1})],
    "roll": [((SQUARE, 1), {}), ((SQUARE, 1), {"axis": 0})],
    "transpose": [((SQUARE,), {}), ((SQUARE[None], (1, 2, 0)), {})],
    "where": [((SQUARE > 0.3, SQUARE, 0.0), {})],
    "isclose": [((SQUARE, SQUARE + 1e-9), {})],
    "allclose": [((SQUARE, SQUARE + 1e-9), {})],
    "clip": [
        ((SQUARE, 0.2, 0.4), {}),
        ((SQUARE, V, None), {}),
        ((SQUARE,), {"a_min": 0.2, "a_max": V}),
        ((SQUARE,), {"max": 0.3}),
    ],
    "round": [((SQUARE,), {}), ((SQUARE, 1), {}), ((SQUARE,), {"decimals": 2})],
    "einsum": [(("ij,jk->ik", SQUARE, SQUARE), {})],
    "outer": [((V, V), {})],
    "inner": [((V, V), {}), ((SQUARE, SQUARE), {})],
    "tensordot": [((SQUARE, SQUARE), {}), ((SQUARE, SQUARE), {"axes": 1})],
    "tril": [((SQUARE,), {}), ((SQUARE, 1), {}), ((SQUARE,), {"k": -1})],
    "triu": [((SQUARE, -1), {}), ((SQUARE,), {"k": 1})],
    "diag": [((SQUARE, 1), {}), ((V,), {}), ((V,), {"k": 1})],
    "size": [((SQUARE,), {}), ((SQUARE[:2], 0), {}), ((SQUARE,), {"axis": -1})],
    "full_like": [((SQUARE, 2.0), {})],
    "empty_like": [((SQUARE[:0],), {})],
    "cumsum": [((SQUARE, 1), {}), ((SQUARE,), {"axis": 0}), ((SQUARE,), {})],
    "cumprod": [((SQUARE,), {"axis": 0}), ((SQUARE,), {})],
    "argmax": [((SQUARE,), {}), ((SQUARE, 1), {}), ((SQUARE,), {"axis": 0, "keepdims": True})],
}
REDUCED = [
    ((SQUARE,), {}),
    ((SQUARE, 1), {}),
    ((SQUARE,), {"axis": (0, 1)}),
    ((SQUARE,), {"axis": 0, "keepdims": True}),
]
ARGUMENTS |= dict.fromkeys(
    ["sum", "prod", "mean", "all", "any", "amax", "amin", "max", "min"], REDUCED
)
ARGUMENTS["argmin"] = ARGUMENTS["argmax"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_numpy_that_means_the_same_is_ours(name: str) -> None:
    function = getattr(np, name)
    for args, options in ARGUMENTS.get(name, [((SQUARE,), {})]):
        expected = function(*args, **options)
        tensors = [
            [tg.tensor(part) for part in value]
            if isinstance(value, list | tuple) and isinstance(value[0], np.ndarray)
            else tg.tensor(value)
            if isinstance(value, np.ndarray)
            else value
            for value in args
        ]
        found = function(*tensors, **options)
        values = found.numpy() if isinstance(found, Tensor) else found
        assert np.shape(values) == np.shape(expected)
        assert np.asarray(values).dtype == np.asarray(expected).dtype
        assert_allclose(values, expected, rtol=1e-12)


@pytest.mark.host
def test_another_function_of_numpy_gets_arrays() -> None:
    x = tg.tensor(SQUARE)
    assert np.std(x) == np.std(SQUARE)
    assert_array_equal(np.sort(x, axis=0), np.sort(SQUARE, axis=0))
    assert_array_equal(np.linalg.inv(x), np.linalg.inv(SQUARE))


def test_numpy_asks_for_no_values_to_say_a_shape() -> None:
    x = tg.ones(2, 3, requires_grad=True)
    assert (np.shape(x), np.ndim(x), np.size(x)) == ((2, 3), 2, 6)
