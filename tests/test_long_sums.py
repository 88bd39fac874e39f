"""Sums of many numbers are as accurate as promised, whatever the axes, the memory and the workers.

The promise: a sum or mean of n numbers is off by one unit in the last place of its dtype and by
n · 2⁻⁵³ · Σ |x| (of a mean: that over n) at most.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv.nn import functional as F

Array = Any

SHAPES = [(400_000,), (150_000, 2), (2, 150_000), (3, 50_000, 2), (64, 60, 80), (40, 9, 20, 50)]
"""Most of them are larger than one block of the worker threads in float32."""


@st.composite
def long_sums(draw: Any) -> tuple[tg.Tensor, Array, tuple[int, ...]]:
    """A tensor in some order of the memory, its values, and axes to sum over."""
    shape = draw(st.sampled_from(SHAPES))
    dtype = draw(st.sampled_from(("float16", "float32", "float64")))
    offset, scale = draw(st.sampled_from(((0.0, 1.0), (100.1, 0.0), (-1e3, 1e-2), (0.1, 1e-4))))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    values = (offset + scale * rng.standard_normal(shape)).astype(dtype)
    order = draw(st.permutations(range(len(shape))))
    x = tg.permute(tg.Tensor(values), order)
    values = values.transpose(order)
    if draw(st.booleans()):
        x, values = x[::2], values[::2]
    axes = draw(st.lists(st.sampled_from(range(len(shape))), min_size=1, unique=True))
    return x, values, tuple(axes)


def assert_as_promised(y: float, terms: Array, dtype: Any, count: int = 1) -> None:
    """y = Σ terms / count."""
    numbers = terms.astype("float64").ravel().tolist()
    exact = math.fsum(numbers) / count
    largest = math.fsum(map(abs, numbers))
    last_place = float(np.spacing(np.abs(np.asarray(exact, dtype))))
    assert abs(y - exact) <= last_place + len(numbers) * 2**-53 * largest / count, (y, exact)


@settings(max_examples=12)
@given(case=long_sums(), keepdim=st.booleans(), data=st.data())
def test_the_promised_accuracy_of_a_sum_and_a_mean(case: Any, keepdim: bool, data: Any) -> None:
    x, values, axes = case
    mean = tg.mean(x, axes, keepdim)
    total = tg.sum(x, axes, keepdim, dtype="float32" if x.dtype == "float16" else None)
    shape = np.any(values, axes, keepdims=keepdim).shape
    assert mean.shape == total.shape == shape
    assert mean.dtype == x.dtype
    kept = [i for i in range(values.ndim) if i not in axes]
    for _ in range(3):
        place = {i: data.draw(st.integers(0, values.shape[i] - 1)) for i in kept}
        terms = values[tuple(place.get(i, slice(None)) for i in range(values.ndim))]
        at = tuple(place.get(i, 0) for i in range(values.ndim) if keepdim or i in kept)
        assert_as_promised(float(mean.numpy()[at]), terms, mean.dtype, terms.size)
        assert_as_promised(float(total.numpy()[at]), terms, total.dtype)


def test_sums_in_both_orders_of_the_memory_by_hand() -> None:
    assert tg.ones(20_000_000, 2).mean(0).tolist() == [1, 1]
    assert tg.std(tg.full((1_000_000, 2), 100.1), 0).tolist() == [0, 0]
    assert tg.cumsum(tg.full((2_000_000,), 0.1), 0)[-1].item() == 200_000
    assert tg.sum(tg.full((70_000,), True)).item() == 70_000
    assert tg.sum(tg.Tensor(np.full((300_000, 3), 200, "uint8")), 0).tolist() == [60_000_000] * 3


# What adds up many terms on its way, with the terms of one number of its result.

RNG = np.random.default_rng(0)
MANY = (0.1 + 1e-3 * RNG.standard_normal(300_000)).astype("float32")
FEW_ROWS = RNG.integers(0, 3, len(MANY))


def gradient(function: Callable[[tg.Tensor], tg.Tensor], shape: tuple[int, ...], g: Array) -> Array:
    x = tg.zeros(shape, requires_grad=True)
    y = function(x)
    y.backward(tg.Tensor(g.reshape(y.shape)))
    assert x.grad is not None
    return x.grad.numpy()


def of_row_1(found: Array) -> float:
    return float(found.ravel()[1])


ON_THE_WAY: dict[str, Callable[[], tuple[float, Array]]] = {
    "the bias of a linear layer": lambda: (
        of_row_1(
            gradient(lambda b: F.linear(tg.zeros(len(MANY) // 2, 2), tg.eye(2), b), (2,), MANY)
        ),
        MANY[1::2],
    ),
    "the bias of a convolution": lambda: (
        gradient(
            lambda b: F.conv2d(tg.zeros(3, 1, 250, 400), tg.ones(1, 1, 1, 1), b), (1,), MANY
        ).item(),
        MANY,
    ),
    "a broadcast row": lambda: (
        of_row_1(gradient(lambda x: x + tg.zeros(len(MANY) // 2, 2), (1, 2), MANY)),
        MANY[1::2],
    ),
    "a running sum": lambda: (tg.cumsum(tg.Tensor(MANY), 0)[-1].item(), MANY),
    "its gradient": lambda: (
        float(gradient(lambda x: tg.cumsum(x, 0), MANY.shape, MANY)[0]),
        MANY,
    ),
    "rows of an embedding": lambda: (
        of_row_1(
            gradient(lambda w: F.embedding(tg.Tensor(FEW_ROWS), w), (3, 1), MANY),
        ),
        MANY[FEW_ROWS == 1],
    ),
    "an index": lambda: (
        of_row_1(gradient(lambda x: x[:, tg.Tensor(FEW_ROWS)], (1, 3), MANY)),
        MANY[FEW_ROWS == 1],
    ),
    "gathering": lambda: (
        of_row_1(gradient(lambda x: tg.gather(x, 0, tg.Tensor(FEW_ROWS)), (3,), MANY)),
        MANY[FEW_ROWS == 1],
    ),
    "index_add": lambda: (
        tg.index_add(tg.zeros(3), 0, tg.Tensor(FEW_ROWS), tg.Tensor(MANY))[1].item(),
        MANY[FEW_ROWS == 1],
    ),
    "scatter_add": lambda: (
        tg.scatter_add(tg.zeros(3), 0, tg.Tensor(FEW_ROWS), tg.Tensor(MANY))[1].item(),
        MANY[FEW_ROWS == 1],
    ),
    "index_put": lambda: (
        tg.index_put(tg.zeros(3), (tg.Tensor(FEW_ROWS),), tg.Tensor(MANY), accumulate=True)[
            1
        ].item(),
        MANY[FEW_ROWS == 1],
    ),
}


@pytest.mark.parametrize("name", ON_THE_WAY)
def test_what_adds_up_on_its_way_does_it_as_accurately(name: str) -> None:
    y, terms = ON_THE_WAY[name]()
    assert_as_promised(y, terms, "float32")


def test_half_precision_on_the_way() -> None:
    ones = tg.ones(5000, 1, dtype="float16")
    w = tg.ones(1, 1, dtype="float16", requires_grad=True)
    F.embedding([0] * 5000, w).backward(ones)
    assert w.grad is not None
    assert w.grad.tolist() == [[5000]]
    b = tg.zeros(1, dtype="float16", requires_grad=True)
    (ones + b).backward(ones)
    assert b.grad is not None
    assert b.grad.item() == 5000
    zeros = tg.zeros(70_000, dtype="float16")
    assert tg.softmax(zeros, 0)[0].item() == pytest.approx(1 / 70_000, rel=5e-3)
    assert tg.log_softmax(zeros, 0)[0].item() == pytest.approx(-math.log(70_000), rel=1e-3)


@pytest.mark.parametrize("recorded", [False, True])
def test_half_precision_on_the_way_of_a_broadcast_gradient(recorded: bool) -> None:
    """Its shares may be beyond float16, and many, where their sum is an ordinary number."""
    x = tg.tensor([[300.0], [-300.0], [2.0]] * 999, dtype=tg.float16)
    b = tg.ones(1, dtype=tg.float16, requires_grad=True)
    g = tg.tensor([[300.0], [300.0], [1.0]] * 999, dtype=tg.float16)
    (gradient,) = tg.grad(x * b, [b], g, create_graph=recorded)
    assert gradient.dtype == tg.float16
    assert gradient.tolist() == [1998]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("f", [tg.nn.functional.softmax, tg.nn.functional.softmin])
def test_a_softmax_of_many_halves(f: Any, axis: int) -> None:
    """eˣ adds up to more than float16 holds, and each share is a number of it."""
    count = 100_000
    x = tg.zeros((count, 2) if axis == 0 else (2, count), dtype=tg.float16)
    y = f(x, axis)
    assert y.dtype == tg.float16
    assert set(y.numpy().ravel()) == {np.float16(1 / count)}
    log_y = tg.nn.functional.log_softmax(x, axis)
    assert set(log_y.numpy().ravel()) == {np.float16(-np.log(count))}


def test_a_softmax_along_a_leading_axis() -> None:
    """Of many small shares in float32 each is right to the last places."""
    x = np.full((300_000, 2), -2.3, "float32")
    x[0] = 0
    y = F.softmax(tg.Tensor(x), 0).numpy()
    expected = np.exp(x.astype("float64"))
    expected /= expected.sum(0)
    np.testing.assert_allclose(y, expected, rtol=1e-6)
