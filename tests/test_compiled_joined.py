"""Layers joined in one kernel beside the kernels of each, and beside their formulas in float64."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import tinygrad_cv as tg
import tinygrad_cv.nn as nn
import tinygrad_cv.nn.functional as F
from kernels import lain_channels_last, on_threads
from tinygrad_cv.backend.compiled.backend import CompiledBackend
from tinygrad_cv.backend.numpy_backend import NumpyBackend

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("compiled_kernels")]

EPS = 1e-5
ERROR = 1e-6  # of a gradient, beside what it is a sum of
REFERENCE, COMPILED = NumpyBackend(), CompiledBackend()


def layer(seed: int, *shape: int) -> Any:
    """x, weight and bias; far from where the gate would open in float64 and not in float32."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape) * 3 + rng.standard_normal(
        (1, shape[1]) + (1,) * (len(shape) - 2)
    )
    weight, bias = rng.standard_normal((2, shape[1]))
    return lain_channels_last(x.astype(np.float32)), weight.astype("f4"), bias.astype("f4")


def close(got: Any, expected: Any, error: float, size: Any = None) -> None:
    """Within `error` of the largest number, or of `size`."""
    assert got.shape == expected.shape
    size = np.abs(expected).max() if size is None else size
    excess = np.abs(got - expected) / (size + 1e-30)
    assert (excess <= error).all(), f"off by {excess.max()} of what is added up"


def added_up(total: Any, g: Any, x: Any, weight: Any, mean: Any, var: Any) -> list[Any]:
    """How large what the gradients in x, weight and bias are sums of is, in each channel.

    With h the gradient behind the gate, `total` = Σ|h|, r = 1/√(var + ε) and z = (x - mean)·r:
    dx = weight·r·(h - Σh/n - z·Σhz/n), dweight = Σhz and dbias = Σh.
    """
    column = (1, -1, *(1,) * (x.ndim - 2))
    r, n = 1 / np.sqrt(var + EPS), x.size / x.shape[1]
    z = np.abs((x - mean.reshape(column)) * r.reshape(column)).max((0, *range(2, x.ndim)))
    dx = np.abs(weight) * r * (np.abs(g).max() + (1 + z * z) * total / n)
    return [dx.reshape(column), z * total, total]


def near(x: Any, weight: Any, bias: Any) -> Any:
    """Whether rounding may decide at a place if the gate is open."""
    z = REFERENCE.batch_norm(x.astype("f8"), weight.astype("f8"), bias.astype("f8"), EPS)[0]
    return np.abs(z) < 1e-4


def wide(*arrays: Any) -> list[Any]:
    return [a.astype(np.float64) if a.dtype == np.float32 else a for a in arrays]


seeds, channels = st.integers(0, 2**32 - 1), st.integers(1, 70)


@given(seeds, st.integers(1, 9), channels, st.integers(1, 13), st.integers(1, 13))
@example(0, 8, 33, 32, 32)  # several parts, and a last vector that is not full
@example(1, 5, 3, 61, 67)  # rows that are folded
@settings(max_examples=40)
def test_batch_norm_relu(seed: int, n: int, c: int, h: int, w: int) -> None:
    if n * c * h * w < 1 << 11:
        n = -(-(1 << 11) // (c * h * w))
    x, weight, bias = layer(seed, n, c, h, w)
    xp = COMPILED
    y, mean, var = on_threads(lambda: xp.batch_norm_relu(x, weight, bias, EPS))
    expected = REFERENCE.batch_norm_relu(*wide(x, weight, bias), EPS)
    spread = np.abs(weight).max() / np.sqrt(expected[2].min() + EPS) + np.abs(bias).max()
    close(y, expected[0], 4e-6, expected[0].max() + spread)
    close(mean, expected[1], 3e-7, np.abs(x).max())
    close(var, expected[2], 3e-6)
    assert y.strides == xp.batch_norm(x, weight, bias, EPS)[0].strides
    # A kernel alone, to the last bit: what the gate is worked out from is what was written.
    np.testing.assert_array_equal(y, xp.relu(xp.batch_norm(x, weight, bias, EPS)[0])[0])
    g = layer(seed + 1, n, c, h, w)[0] * ~near(x, weight, bias)
    grads = on_threads(lambda: xp.batch_norm_relu_backward(g, x, weight, bias, mean, var, EPS))
    rest = (*wide(x, weight, bias), mean, var, EPS)
    exact, (*_, total) = (
        REFERENCE.batch_norm_relu_backward(h.astype("f8"), *rest) for h in (g, np.abs(g))
    )
    for got, right, size in zip(
        grads, exact, added_up(total, g, *rest[:2], mean, var), strict=True
    ):
        close(got, right, ERROR, size)


@given(
    seeds,
    st.integers(1, 5),
    channels,
    st.integers(1, 7),
    st.integers(1, 7),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
@example(0, 8, 33, 16, 16, (2, 2))
@example(1, 3, 70, 5, 70, (3, 2))  # rows of windows that are longer than what is added at once
@settings(max_examples=40)
def test_batch_norm_relu_max_pool(
    seed: int, n: int, c: int, oh: int, ow: int, kernel: tuple[int, int]
) -> None:
    h, w = oh * kernel[0], ow * kernel[1]
    if n * c * h * w < 1 << 11:
        n = -(-(1 << 11) // (c * h * w))
    x, weight, bias = layer(seed, n, c, h, w)
    xp = COMPILED
    y, index, mean, var = on_threads(
        lambda: xp.batch_norm_relu_max_pool(x, weight, bias, EPS, kernel)
    )
    z = xp.batch_norm_relu(x, weight, bias, EPS)[0]
    apart = xp.max_pool(z, kernel, kernel, (0, 0), (1, 1))
    for got, right in zip((y, index), apart, strict=True):
        np.testing.assert_array_equal(got, right)
        assert (got.dtype, got.strides) == (right.dtype, right.strides)
    g = layer(seed + 1, *y.shape)[0]
    grads = on_threads(
        lambda: xp.batch_norm_relu_max_pool_backward(g, y, index, x, weight, mean, var, EPS, kernel)
    )
    rest = (*wide(y, index, x, weight), mean, var, EPS, kernel)
    exact, (*_, total) = (
        REFERENCE.batch_norm_relu_max_pool_backward(h.astype("f8"), *rest) for h in (g, np.abs(g))
    )
    for got, right, size in zip(
        grads, exact, added_up(total, g, *rest[2:4], mean, var), strict=True
    ):
        close(got, right, ERROR, size)


@pytest.mark.parametrize("number", [np.nan, np.inf, 3e38])
def test_what_is_not_finite(number: float) -> None:
    x, weight, bias = layer(0, 4, 20, 8, 8)
    x[1, 3, 2, 2] = number
    xp, g = COMPILED, layer(1, 4, 20, 8, 8)[0]
    with np.errstate(all="ignore"):
        z, mean, var = xp.batch_norm(x, weight, bias, EPS)
        y, positive = xp.relu(z)
        pooled = xp.max_pool(y, (2, 2), (2, 2), (0, 0), (1, 1))
        np.testing.assert_array_equal(xp.batch_norm_relu(x, weight, bias, EPS)[0], y)
        got = xp.batch_norm_relu_max_pool(x, weight, bias, EPS, (2, 2))[:2]
        for a, b in zip(got, pooled, strict=True):
            np.testing.assert_array_equal(a, b)
        apart = xp.batch_norm_backward(xp.relu_backward(g, positive), x, weight, mean, var, EPS)
        grads = xp.batch_norm_relu_backward(g, x, weight, bias, mean, var, EPS)
    for a, b in zip(grads, apart, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


# ----- in programs -------------------------------------------------------------------------------


def names(step: Any) -> list[str]:
    return [i.function for i in step.plan.program.instructions]


def network(pool: bool) -> Any:
    layers = [nn.Conv2d(3, 20, 3, padding=1), nn.BatchNorm2d(20), nn.ReLU()]
    return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if pool else []))


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("looks", ["no", "at the normalized", "at the activation"])
def test_join(pool: bool, looks: str) -> None:
    """Joined where nobody looks at what lies between; the same numbers in either case."""
    net = network(pool)
    rng = np.random.default_rng(0)
    x = tg.tensor(rng.standard_normal((4, 3, 12, 12)).astype(np.float32))

    def step(x: Any) -> Any:
        for p in net.parameters():
            p.grad = None
        z = net[1](net[0](x))
        y = F.relu(z)
        out = F.max_pool2d(y, 2) if pool else y
        loss = (out * out * 0.5).sum()
        if looks == "at the normalized":
            loss = loss + z.exp().sum()
        if looks == "at the activation":
            loss = loss + y.exp().sum()
        loss.backward()
        return loss.detach()

    expected = [float(step(x).item()), *(p.grad.numpy().copy() for p in net.parameters())]
    replayed = tg.compile(step)
    for _ in range(3):
        got = [float(replayed(x).item()), *(p.grad.numpy() for p in net.parameters())]
        for a, b in zip(got[:1] + got[2:], expected[:1] + expected[2:], strict=True):
            if np.ndim(a) != 1 or np.abs(b).max() > 1e-2:
                np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * np.abs(b).max())
    joined = [n for n in names(replayed) if n.startswith("batch_norm_relu")]
    if looks == "at the normalized":
        assert joined == []
    elif looks == "no":
        name = "batch_norm_relu_max_pool" if pool else "batch_norm_relu"
        assert joined == [name, f"{name}_backward"]


def test_a_bias_that_changes_before_the_gradient() -> None:
    """The gate is that of the bias in the forward: then nothing is joined."""
    net = network(False)
    x = tg.tensor(np.random.default_rng(0).standard_normal((4, 3, 12, 12)).astype(np.float32))
    norm = net[1]

    def step(x: Any) -> Any:
        norm.bias.grad = None
        y = net(x)
        with tg.no_grad():
            norm.bias.add_(3.0)
        y.sum().backward()
        with tg.no_grad():
            norm.bias.sub_(3.0)
        return norm.bias.grad

    replayed = tg.compile(step)
    expected = step(x).numpy()
    for _ in range(3):
        np.testing.assert_allclose(replayed(x).numpy(), expected, rtol=0, atol=1.5)
