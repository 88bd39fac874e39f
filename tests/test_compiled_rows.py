"""Compiled softmax and cross-entropy beside NumPy's kernels, and beside float64."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kernels import on_threads
from tinygrad_cv.backend.compiled.backend import CompiledBackend
from tinygrad_cv.backend.numpy_backend import NumpyBackend

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("compiled_kernels")]

REFERENCE, COMPILED = NumpyBackend(), CompiledBackend()
INF = np.float32(np.inf)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """As ops call them: kernels say nothing of ∞ and NaN."""
    with np.errstate(all="ignore"):
        yield


WIDTHS = st.sampled_from([1, 2, 3, 10, 15, 16, 17, 31, 33, 64, 65, 197, 1000, 1024, 1031])


def scores(n: int, seed: int) -> Any:
    """Rows of scores, some with ∞, -∞, NaN, ties, or one that is far above the others."""
    rng = np.random.default_rng(seed)
    rows = 256 // n + 8 + seed % 30
    x = rng.standard_normal((rows, n)).astype(np.float32) * np.float32([1, 9][seed % 2])
    place = [0, n - 1, n // 2][seed % 3]
    x[0, place] = INF
    x[1] = -INF
    x[2, place] = np.nan
    x[3, place] = -INF
    x[4] = x[4, 0]
    x[5, place] += 60
    x[6] = np.where(np.arange(n) % 2, INF, x[6])
    return x


SEEDS = st.integers(0, 999)
LARGE = 4099
"""So wide that the rows go in parts over the threads."""


@given(WIDTHS, SEEDS)
@example(LARGE, 0)
def test_softmax(n: int, seed: int) -> None:
    x, cpu = scores(n, seed), COMPILED
    (y,) = on_threads(lambda: [cpu.softmax(x, 1)])
    expected = REFERENCE.softmax(x.astype(np.float64), 1)
    assert y.dtype == np.float32
    # x less the largest is rounded, and so is what eˣ makes of it
    finite = np.where(np.isfinite(x), np.abs(x), 0).max()
    np.testing.assert_allclose(y, expected, rtol=4e-7 + 1.2e-7 * finite, atol=3e-45)
    np.testing.assert_allclose(y, REFERENCE.softmax(x, 1), rtol=2e-6, atol=3e-45)
    sums = y.sum(1)
    np.testing.assert_allclose(sums[~np.isnan(sums)], 1, rtol=3e-6)


@given(WIDTHS, SEEDS)
@example(LARGE, 0)
def test_the_gradient_of_softmax(n: int, seed: int) -> None:
    x, cpu = scores(n, seed), COMPILED
    g = np.random.default_rng(seed).standard_normal(x.shape).astype(np.float32)
    y = REFERENCE.softmax(x, 1)
    (dx,) = on_threads(lambda: [cpu.softmax_backward(g, y, 1)])
    wide = y.astype(np.float64)
    expected = REFERENCE.softmax_backward(g.astype(np.float64), wide, 1)
    np.testing.assert_allclose(dx, expected, rtol=0, atol=5e-6 * np.abs(g).max())
    # In proportion to each share, however small, and that of the only largest to all the others.
    top = wide == wide.max(1, keepdims=True)
    others = np.where(top, 0, wide).sum(1, keepdims=True)
    alone = top & (top.sum(1, keepdims=True) == 1)
    each = np.where(alone, np.minimum(wide, others), wide) + 1e-37
    error = np.abs(dx - expected) / (np.abs(g).max() * each)
    assert not (error > 1e-5).any()


@given(WIDTHS, SEEDS)
@example(LARGE, 0)
def test_log_softmax(n: int, seed: int) -> None:
    x, cpu = scores(n, seed), COMPILED
    (y,) = on_threads(lambda: [cpu.log_shares(x, 1)])
    expected = REFERENCE.log_shares(x.astype(np.float64), 1)
    # All digits of a logarithm that is close to 0; the others lose what the subtraction rounds.
    spread = x - x.max(1, keepdims=True)
    size = np.where(np.isfinite(spread), np.abs(spread), 0)
    error = (4e-7 + 1.2e-7 * size.max()) * np.abs(expected) + 2e-7 * size
    same = (y == expected) | (np.isnan(y) & np.isnan(expected))
    assert (same | (np.abs(y - expected) <= error)).all()
    g = np.random.default_rng(seed).standard_normal(x.shape).astype(np.float32)
    (dx,) = on_threads(lambda: [cpu.log_softmax_backward(g, y, 1)])
    expected = REFERENCE.log_softmax_backward(g.astype(np.float64), y.astype(np.float64), 1)
    error = 1e-6 * (np.abs(g) * -np.expm1(y) + np.exp(y) * np.abs(g).sum(1, keepdims=True))
    same = np.isnan(dx) & np.isnan(expected)
    assert (same | (np.abs(dx - expected) <= error + 1e-37)).all()


@given(WIDTHS, st.sampled_from(["int64", "int32", "uint8"]), SEEDS)
@example(LARGE, "int64", 0)
def test_cross_entropy(n: int, dtype: str, seed: int) -> None:
    x, cpu = scores(n, seed), COMPILED
    rows, largest = len(x), np.where(np.isfinite(x), np.abs(x), 0).max()
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, min(n, 256), rows).astype(dtype)
    g = rng.standard_normal(rows).astype(np.float32)
    losses, top, log_total = on_threads(lambda: cpu.cross_entropy(x, labels))
    expected = REFERENCE.cross_entropy(x.astype(np.float64), labels)
    np.testing.assert_array_equal(top, expected[1])
    np.testing.assert_allclose(log_total, expected[2], rtol=1e-6 + 1.2e-7 * largest, atol=1e-45)
    np.testing.assert_allclose(losses, expected[0], rtol=6e-7 + 1.2e-7 * largest, atol=1e-45)
    (dx,) = on_threads(lambda: [cpu.cross_entropy_backward(g, x, labels, top, log_total)])
    assert dx.dtype == np.float32
    wide = [a.astype(np.float64) for a in (g, x, top, log_total)]
    want = REFERENCE.cross_entropy_backward(*wide[:2], labels, *wide[2:])
    np.testing.assert_allclose(dx, want, rtol=1e-6 + 2.5e-7 * largest, atol=1e-37)


@pytest.mark.parametrize("wrong", [-1, 10, 1 << 40])
@pytest.mark.parametrize("place", [0, 57, 99])
def test_a_label_out_of_range_is_named(wrong: int, place: int) -> None:
    x, labels = np.zeros((100, 10), np.float32), np.zeros(100, np.int64)
    labels[place] = wrong
    with pytest.raises(ValueError, match=f"label {wrong} is out of range"):
        COMPILED.cross_entropy(x, labels)


@given(st.permutations(range(3)), st.integers(0, 2), st.integers(0, 99))
def test_any_axis_of_any_layout(order: list[int], axis: int, seed: int) -> None:
    """As NumPy's, with the same strides; a gradient may lie otherwise, or be one number."""
    rng, cpu = np.random.default_rng(seed), COMPILED
    x = rng.standard_normal((9, 17, 20)).astype(np.float32).transpose(order)
    g = rng.standard_normal(x.shape).astype(np.float32)
    for name in ("softmax", "log_shares"):
        got, expected = (getattr(b, name)(x, axis) for b in (cpu, REFERENCE))
        assert got.strides == expected.strides
        np.testing.assert_allclose(got, expected, rtol=3e-6)
        back = {"softmax": "softmax_backward", "log_shares": "log_softmax_backward"}[name]
        for h in (g, np.broadcast_to(np.float32(2), x.shape)):
            slopes = [getattr(b, back)(h, expected, axis) for b in (cpu, REFERENCE)]
            np.testing.assert_allclose(*slopes, rtol=0, atol=2e-5)


def test_equal_scores_have_equal_shares() -> None:
    """Wherever in a row they stand."""
    for n in (15, 16, 17, 37):
        x = np.full((40, n), -3.3, np.float32)
        x[:, n // 3] = 1.7
        others = np.arange(n) != n // 3
        for name in ("softmax", "log_shares"):
            y = getattr(COMPILED, name)(x, 1)[:, others]
            np.testing.assert_array_equal(y, np.broadcast_to(y[:1, :1], y.shape))
