"""Arrays, lists and numbers are taken wherever a tensor is, and mean the same."""

import inspect
import math
import pickle
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import tinygrad_cv as tg
from calls import PUBLIC, call_of
from tinygrad_cv import nn
from tinygrad_cv._tensor import Tensor

NOT_HERE = {"conv_output_size", "rand_like", "randn_like", "empty_like"}
"""The first has no tensors, the others no values; they are tried below."""
NAMES = sorted(PUBLIC.keys() - NOT_HERE)


def values(result: Any) -> list[Any]:
    """A result as a list of arrays and plain values."""
    if isinstance(result, Tensor):
        return [result.numpy()]
    if isinstance(result, tuple | list):
        return [value for part in result for value in values(part)]
    return [result]


def run(name: str, convert: Callable[[Any], Any]) -> list[Any]:
    found = call_of(name).on(convert)
    return values(PUBLIC[name](*found.args, **found.options))


def same(found: list[Any], expected: list[Any], tolerance: float) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert np.shape(a) == np.shape(b)
        assert getattr(a, "dtype", None) == getattr(b, "dtype", None)
        assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def single(value: Any) -> Any:
    return value.astype("float32") if value.dtype.kind == "f" else value


@pytest.mark.parametrize("name", NAMES)
def test_arrays_and_lists_mean_what_the_tensor_means(name: str) -> None:
    expected = run(name, tg.tensor)
    same(run(name, lambda array: array), expected, 1e-12)
    expected = run(name, lambda array: tg.tensor(single(array)))
    same(run(name, lambda array: array.tolist()), expected, 1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_each_input_may_be_an_array_beside_tensors(name: str) -> None:
    expected = run(name, tg.tensor)
    seen: list[Any] = []
    call_of(name).on(seen.append)
    for chosen in range(len(seen) if len(seen) > 1 else 0):
        place = iter(range(len(seen)))
        same(
            run(name, lambda array: array if next(place) == chosen else tg.tensor(array)),  # noqa: B023
            expected,
            1e-12,
        )


def of_numpy(value: Any, whole: Any, real: Any) -> Any:
    """An argument whose numbers are NumPy's, those in tuples as well."""
    if isinstance(value, tuple):
        return tuple(of_numpy(part, whole, real) for part in value)
    if type(value) is int and (value >= 0 or whole is not np.uint8):
        return whole(value)
    return real(value) if type(value) is float else value


@pytest.mark.host  # arguments are no arrays, and stay in the host
@pytest.mark.parametrize("name", NAMES)
def test_numbers_of_numpy_are_numbers(name: str) -> None:
    """Sizes, places, counts and factors, the defaults written out as well."""
    args, options = call_of(name).on(tg.tensor)
    parameters = inspect.signature(PUBLIC[name]).parameters.values()
    bound = inspect.signature(PUBLIC[name]).bind(*args, **options).arguments
    open_ended = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    for p in parameters:
        plain = isinstance(p.default, int | float | tuple) and p.name not in (*bound, "axis")
        if plain and (p.kind is p.KEYWORD_ONLY or not open_ended):
            options = options | {p.name: p.default}
    expected = values(PUBLIC[name](*args, **options))
    for whole, real in ((np.int64, np.float32), (np.int32, np.float64), (np.uint8, float)):
        found = PUBLIC[name](
            *(of_numpy(value, whole, real) for value in args),
            **{n: of_numpy(value, whole, real) for n, value in options.items()},
        )
        same(values(found), expected, 1e-6)


@pytest.mark.parametrize("name", ["rand_like", "randn_like", "empty_like", "zeros_like"])
def test_what_is_made_like_an_array_has_its_shape_and_dtype(name: str) -> None:
    made = PUBLIC[name](np.zeros((2, 3), "float64"))
    assert (made.shape, made.dtype) == ((2, 3), "float64")


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Linear": (lambda: nn.Linear(3, 4), (2, 3)),
    "Linear without bias": (lambda: nn.Linear(3, 4, bias=False), (2, 3)),
    "Conv2d": (lambda: nn.Conv2d(1, 2, 2), (1, 1, 3, 3)),
    "Conv2d without bias": (lambda: nn.Conv2d(1, 2, 2, bias=False), (1, 1, 3, 3)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(1, 2, 2, bias=False), (1, 1, 3, 3)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(3), (4, 3)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(2, affine=False), (2, 2, 2, 2)),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), (1, 1, 4, 4)),
    "AvgPool2d": (lambda: nn.AvgPool2d(2), (1, 1, 4, 4)),
    "Flatten": (nn.Flatten, (2, 2, 2)),
    "ReLU": (nn.ReLU, (2,)),
    "Dropout": (lambda: nn.Dropout(0.0), (2,)),
    "Sequential": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (2, 2, 2)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_takes_arrays_and_lists(name: str) -> None:
    make, shape = LAYERS[name]
    layer, x = make(), np.random.default_rng(0).standard_normal(shape).astype("float32")
    expected = layer(tg.tensor(x)).detach().numpy()
    for value in (x, x.tolist()):
        assert_allclose(layer(value).detach().numpy(), expected, rtol=1e-6)


def test_omitted_inputs_may_stand_beside_arrays() -> None:
    x, w = np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2))
    assert tg.conv2d(tg.tensor(x), w).shape == (1, 1, 2, 2)
    assert tg.conv2d(x, tg.tensor(w), None).shape == (1, 1, 2, 2)
    assert tg.conv2d(x, weight=w, bias=[1.0]).tolist() == [[[[5.0] * 2] * 2]]
    assert tg.linear(np.ones((2, 3)), np.ones((4, 3))).shape == (2, 4)


@pytest.mark.parametrize("number", [3, 2.5, True, np.float64(2.5), np.int8(3), Fraction(5, 2)])
def test_a_number_is_a_tensor_without_axes(number: Any) -> None:
    """In functions made from one op and from several, and beside an array."""
    plain = float(number)
    assert tg.sum(number).item() == plain
    assert tg.exp(number).item() == pytest.approx(math.exp(plain))
    assert (tg.tensor([1.0]) * number).tolist() == [plain]
    assert tg.atleast_1d(number).tolist() == [plain]


@given(st.sampled_from(("float16", "float32", "float64", "int32", "uint8", "bool")))
def test_a_list_keeps_its_kind_and_takes_the_dtype_of_its_neighbour(dtype: str) -> None:
    like = tg.ones(2, dtype=dtype)
    assert tg.atleast_1d([True]).dtype == "bool"
    assert tg.stack([like, [2, 3]])[1].tolist() == [2, 3]
    floats, whole = (tg.broadcast_tensors(like, values)[1] for values in ([0.5], [2]))
    assert floats.dtype == (dtype if dtype.startswith("float") else "float32")
    assert whole.dtype == (dtype if "int" in dtype else "int64")


def test_methods_take_what_functions_take() -> None:
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert x.index_select(0, [1]).tolist() == x.index_select(0, np.array([1])).tolist()
    assert x.matmul([[1.0], [1.0]]).tolist() == [[3.0], [7.0]]
    assert (np.eye(2, dtype="float32") @ x).tolist() == ([[1, 0], [0, 1]] @ x).tolist()
    assert x.take_along_dim([[1], [0]], 1).tolist() == [[2.0], [3.0]]


def test_transforms_and_draws_take_arrays() -> None:
    x = np.array([1.0, 2.0])
    y, slope = tg.jvp(lambda v: (v * v).sum(), x, x)
    assert (y.item(), slope.item()) == (5.0, 10.0)
    assert tg.vjp(lambda v: v * v, tg.tensor(x), x)[1].tolist() == [2.0, 8.0]
    assert tg.hvp(lambda v: (v * v).sum(), x, x)[1].tolist() == [2.0, 4.0]
    assert tg.hessian(lambda v: (v * v).sum(), x).tolist() == [[2.0, 0.0], [0.0, 2.0]]
    assert tg.normal(x, 0.0).tolist() == tg.normal([1.0, 2.0], 0.0).tolist() == [1.0, 2.0]
    assert tg.ones(2).type_as(x).dtype == "float64"


def test_an_array_goes_to_the_device_of_the_tensors(device: str) -> None:
    assert tg.linear(np.ones((2, 3)), tg.ones(4, 3)).device == tg.ones(1).device
    with_tensors = [tg.ones(2, device="cpu"), [1.0, 1.0]]
    assert tg.stack(with_tensors).device == "cpu"


@pytest.mark.parametrize("stranger", ["1", {"a": 1}, object(), {1, 2}])
def test_a_stranger_is_named(stranger: Any) -> None:
    for function in (tg.relu, tg.softmax, tg.mean, tg.linear, tg.conv2d):
        arguments = [stranger, tg.ones(1)] if function in (tg.linear, tg.conv2d) else [stranger]
        with pytest.raises(TypeError, match=rf"{function.__name__}.*tensor.*"):
            function(*arguments)


def test_nothing_where_an_input_is_needed_is_refused() -> None:
    for call in (lambda: tg.relu(None), lambda: tg.conv2d(None, tg.ones(1, 1, 1, 1))):
        with pytest.raises(TypeError, match="None"):
            call()


def test_a_name_that_is_not_taken_is_named_with_those_that_are() -> None:
    for name in NAMES:
        with pytest.raises(TypeError, match=r"take.*nonsense"):
            PUBLIC[name](nonsense=np.ones(2))


def test_a_function_keeps_its_signature_and_its_name() -> None:
    """For `help()`, and for pickling by name."""
    for name in NAMES:
        function = PUBLIC[name]
        assert pickle.loads(pickle.dumps(function)) is function
        assert function.__doc__
