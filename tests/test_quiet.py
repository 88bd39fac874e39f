"""What has a value in floating point is computed without a warning: 1/0, log 0, e^1000, ∞ - ∞."""

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_cv as tg
from calls import PUBLIC, call_of
from tinygrad_cv import optim
from tinygrad_cv._tensor import Tensor

EXTREMES = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e300, -1e300, 1e-310, 1e38, 6e4, 1e-7)
FLOATS = ("float16", "float32", "float64")


@st.composite
def extremes(draw: Any, shape: tuple[int, ...], dtype: str) -> Any:
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        return rng.choice(EXTREMES, shape).astype(dtype)


def tensors_in(value: Any) -> list[Tensor]:
    if isinstance(value, tuple | list):
        return [tensor for part in value for tensor in tensors_in(part)]
    return [value] if isinstance(value, Tensor) else []


@pytest.mark.host  # a card says nothing anyway
@pytest.mark.parametrize("name", PUBLIC)
@settings(max_examples=2)
@given(data=st.data(), dtype=st.sampled_from(FLOATS))
def test_no_function_warns(name: str, data: Any, dtype: str) -> None:
    """Neither forward, nor backward in either reading, nor the second derivative.

    Some refuse numbers that are not finite: that is their word, and no warning.
    """

    def convert(array: Any) -> Tensor:
        if array.dtype.kind != "f":
            return tg.tensor(array)
        return tg.tensor(data.draw(extremes(array.shape, dtype)), requires_grad=True)

    call = call_of(name).on(convert)
    leaves = [x for x in tensors_in([*call.args, *call.options.values()]) if x.requires_grad]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            results = tensors_in(PUBLIC[name](*call.args, **call.options))
            results = [y for y in results if y.requires_grad]
            if not results:
                return
            loss = sum((y.sum() for y in results[1:]), results[0].sum())
            tg.grad(loss, leaves, retain_graph=True, allow_unused=True)
            slopes = tg.grad(loss, leaves, create_graph=True, allow_unused=True)
            steep = [g for g in slopes if g is not None and g.requires_grad]
            if steep:
                tg.grad([g.sum() for g in steep], leaves, allow_unused=True)
        except (ValueError, TypeError, ZeroDivisionError, IndexError, np.linalg.LinAlgError):
            pass


def steps(kind: Any) -> None:
    w = tg.full((3,), 1e30, requires_grad=True)
    optimizer = kind([w], lr=1e30, weight_decay=1e30)
    for _ in range(3):
        (w * w).sum().backward()
        optimizer.step()


def assigned() -> None:
    x = tg.zeros(3, dtype="float16")
    x[0] = np.array(1e300)
    x[1:] = tg.tensor([1e300, -1e300], dtype="float64")
    x.copy_(np.full(3, 1e300))
    x += 6e4
    x.data = x * x


PLACES = {
    "a cast": lambda: tg.tensor([1e300], dtype="float64").to(dtype="float16"),
    "a cast to integers": lambda: tg.tensor([np.nan, np.inf, 1e300]).long(),
    "a tensor": lambda: tg.Tensor(np.array([1e300, np.nan]), dtype="float16"),
    "integers": lambda: tg.tensor([np.nan, 1e30], dtype="int32"),
    "full": lambda: tg.full((2,), 1e300, dtype="float16"),
    "logspace": lambda: tg.logspace(0, 1000, 3),
    "linspace": lambda: tg.linspace(-1e308, 1e308, 3),
    "normal": lambda: tg.normal(0.0, 1e38, (9,)) * 1e3,
    "assignment": assigned,
    "printing": lambda: repr(tg.tensor([1e-310, 1e300, np.inf, np.nan], dtype="float64")),
    "SGD": lambda: steps(optim.SGD),
    "Adam": lambda: steps(optim.Adam),
    "an operator": lambda: (1 / tg.zeros(1) - 1 / tg.zeros(1)).exp().log(),
    "item": lambda: int(tg.tensor(3.7).item()),
    "a list": lambda: tg.add(tg.ones(1, dtype="float16"), [1e300]),
    "two threads": lambda: (tg.full((300, 300), 1e30) @ tg.full((300, 300), 1e30)).sum(),
}


@pytest.mark.parametrize("place", PLACES)
def test_no_place_warns(place: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PLACES[place]()


@pytest.mark.host
def test_what_numpy_says_elsewhere_stays() -> None:
    """Neither after an op, nor after one that failed, nor in a function called in the middle."""
    x = tg.zeros(2, requires_grad=True)
    (1 / x).sum().backward()
    with pytest.raises(ValueError, match="shape"):
        tg.zeros(2) + tg.zeros(3)
    with np.errstate(divide="raise"):
        assert np.isinf((1 / x).detach().numpy()).all()
        with pytest.raises(FloatingPointError):
            np.log(np.zeros(1))
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        np.log(np.zeros(1))
