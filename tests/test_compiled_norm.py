"""Compiled normalization and sums beside NumPy's kernels, and beside their formulas in float64."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kernels import lain_channels_last, on_threads
from tinygrad_cv.backend.compiled.backend import CompiledBackend
from tinygrad_cv.backend.numpy_backend import NumpyBackend

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("compiled_kernels")]

EPS = 1e-5
REFERENCE, COMPILED = NumpyBackend(), CompiledBackend()


def numbers(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def wide(*arrays: Any) -> list[Any]:
    return [None if a is None else a.astype(np.float64) for a in arrays]


def steps(x: Any) -> list[int]:
    """The strides of the axes that have any."""
    return [stride for n, stride in zip(x.shape, x.strides, strict=True) if n > 1]


def close(got: Any, expected: Any, error: Any, sizes: Any = None) -> None:
    """Within `error` of the largest number (or of `sizes`)."""
    assert got.shape == expected.shape
    largest = np.abs(expected).max() if sizes is None else sizes
    excess = np.abs(got - expected) - (error * largest + 1e-30)
    assert (excess <= 0).all(), f"off by {excess.max()} more than {error} * {largest}"


def by_hand(x: Any, axes: tuple[int, ...], w: Any, b: Any, g: Any) -> Any:
    """The formulas, in float64: y, mean, variance, and the gradients; w and b as wide as x."""
    x, w, b, g = wide(x, w, b, g)
    mean = x.mean(axes, keepdims=True)
    var = ((x - mean) ** 2).mean(axes, keepdims=True)
    r = 1 / np.sqrt(var + EPS)
    z = (x - mean) * r
    h = g * w
    dx = r * (h - h.mean(axes, keepdims=True) - z * (h * z).mean(axes, keepdims=True))
    return z * w + b, mean, var, dx, g * z, g


def added_up(a: Any, shape: tuple[int, ...]) -> Any:
    axes = tuple(i for i, n in enumerate(shape) if n == 1 and a.shape[i] != 1)
    return a.sum(axes, keepdims=True)


sizes = st.integers(1, 9)


@given(
    st.integers(1, 9),
    st.sampled_from([1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 48, 65, 130]),
    st.lists(st.integers(1, 40), min_size=0, max_size=3),
    st.booleans(),
    st.sampled_from([0.0, 30.0, -1000.0]),
    st.integers(0, 99),
)
@example(100, 32, [32, 33], False, 0.0, 0)  # in parts for the threads
@example(9, 130, [9, 29], True, 30.0, 1)
def test_batch_norm(
    samples: int, channels: int, size: list[int], plain: bool, level: float, seed: int
) -> None:
    each = channels * int(np.prod(size))
    samples = max(samples, 2048 // each + 1)
    x, g = numbers(seed, samples, channels, *size), numbers(seed + 1, samples, channels, *size)
    x += np.float32(level)
    if not plain:
        x, g = lain_channels_last(x), lain_channels_last(g)
    w, b = numbers(seed + 2, channels), numbers(seed + 3, channels)
    cpu, axes = COMPILED, (0, *range(2, x.ndim))
    column = (1, -1, *(1,) * (x.ndim - 2))
    y, mean, var = on_threads(lambda: cpu.batch_norm(x, w, b, EPS))
    reference = REFERENCE.batch_norm(x, w, b, EPS)
    assert (y.dtype, steps(y), mean.dtype) == (x.dtype, steps(reference[0]), np.float64)
    full = [v.reshape(column) for v in (w, b)]
    expected = by_hand(x, axes, *full, g)
    # What the rounding of x - mean leaves is small beside w / σ, however large the mean.
    spread = np.abs(w).max() / np.sqrt(expected[2].min() + EPS) + np.abs(b).max()
    tolerance = 4e-6 * (np.abs(expected[0]).max() + spread)
    np.testing.assert_allclose(y, expected[0], rtol=0, atol=tolerance)
    close(mean, expected[1].ravel(), 3e-7, np.abs(x).max())
    close(var, expected[2].ravel(), 3e-6)
    np.testing.assert_allclose(y, reference[0], rtol=0, atol=tolerance)
    got = on_threads(lambda: cpu.batch_norm_backward(g, x, w, mean, var, EPS))
    total = np.abs(wide(g)[0]).sum(axes).max() * (1 + np.abs(expected[4]).max())
    close(got[1], expected[4].sum(axes), 1e-6, total)
    close(got[2], expected[5].sum(axes), 1e-6, total)
    close(got[0], expected[3], 1e-5, np.abs(expected[3]).max() + spread)
    for a, c in zip(got, REFERENCE.batch_norm_backward(g, x, w, mean, var, EPS), strict=True):
        assert (a.shape, steps(a)) == (c.shape, steps(c))


@pytest.mark.parametrize("value", [0.1, -3e38, 1e-40, 7.0])
def test_the_mean_of_a_constant_channel_is_that_constant(value: float) -> None:
    """However many its numbers; and what is left of it is the bias."""
    x = lain_channels_last(np.full((3, 5, 41, 43), value, np.float32))
    bias = numbers(0, 5)
    y, mean, var = COMPILED.batch_norm(x, None, bias, EPS)
    np.testing.assert_array_equal(mean, x[0, :, 0, 0].astype(np.float64))
    np.testing.assert_array_equal(var, 0)
    np.testing.assert_array_equal(y, np.broadcast_to(bias.reshape(1, 5, 1, 1), x.shape))
    rows = np.full((50, 83), value, np.float32)
    y, mean, var = COMPILED.standardize(rows, None, numbers(0, 83), (1,), EPS)
    np.testing.assert_array_equal(mean, rows[:, :1].astype(np.float64))
    np.testing.assert_array_equal(var, 0)
    np.testing.assert_array_equal(y, np.broadcast_to(numbers(0, 83), rows.shape))


@pytest.mark.parametrize("scale", [1e20, 1e36, np.inf, np.nan])
def test_numbers_whose_squares_overflow(scale: float) -> None:
    """They are as NumPy's kernels have them; and one channel leaves the others alone."""
    with np.errstate(all="ignore"):
        x = numbers(3, 64, 50)
        x[:, 7] *= np.float32(scale)
        got, expected = (b.batch_norm(x, None, None, EPS) for b in (COMPILED, REFERENCE))
        for a, c in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, c, rtol=2e-5, atol=2e-5)
        x = np.ascontiguousarray(x.T)
        got, expected = (b.standardize(x, None, None, (1,), EPS) for b in (COMPILED, REFERENCE))
        for a, c in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, c, rtol=2e-5, atol=2e-5)


def standardize_cases() -> Any:
    """Shape, whether channels-last, the axes, and the shapes of weight and bias."""
    widths = st.sampled_from([1, 3, 10, 16, 31, 37, 64, 197, 1100])
    rows = st.tuples(st.integers(1, 40), widths).map(
        lambda s: ((2048 // (s[0] * s[1]) + 1, *s), False, (2,), (s[1],))
    )
    both = st.tuples(sizes, sizes).map(lambda s: ((70, *s, 31), False, (2, 3), (s[1], 31)))
    planes = st.tuples(sizes, sizes, sizes).map(
        lambda s: ((5, *s, 2 + 2048 // (5 * int(np.prod(s)))), False, (2, 3, 4), (s[0], s[1], 1, 1))
    )
    groups = st.tuples(sizes, sizes, sizes).map(
        lambda s: ((5, *s, 2 + 2048 // (5 * int(np.prod(s)))), True, (2, 3, 4), (s[0], s[1], 1, 1))
    )
    instances = st.tuples(st.integers(2, 40), sizes).map(
        lambda s: ((3, *s, 2 + 2048 // (3 * s[0] * s[1])), True, (2, 3), (s[0], 1, 1))
    )
    return st.one_of(rows, both, planes, groups, instances)


@given(standardize_cases(), st.sampled_from([0.0, 100.0]), st.booleans(), st.integers(0, 99))
@example(((40, 50, 192), False, (2,), (192,)), 0.0, True, 0)
@example(((6, 4, 9, 40, 31), True, (2, 3, 4), (4, 9, 1, 1)), 0.0, True, 0)
@example(((6, 4, 9, 40, 31), False, (2, 3, 4), (4, 9, 1, 1)), 30.0, True, 0)  # for runs of rows
@example(((6, 4, 9, 40, 31), False, (2, 3, 4), (9, 40, 1)), 0.0, True, 0)
@example(((40, 3, 1111), False, (2,), (3, 1)), 0.0, True, 0)  # weights for each row in turn
@example(((40, 3, 1111), False, (2,), (40, 1, 1)), 0.0, True, 0)  # not in turn: NumPy's
def test_standardize(case: Any, level: float, affine: bool, seed: int) -> None:
    shape, last, axes, own = case
    x, g = numbers(seed, *shape) + np.float32(level), numbers(seed + 1, *shape)
    if last:  # (N, G, C/G, *S) of (N, C, *S)
        channels = (shape[1], shape[2]) if len(shape) == 5 else shape[1:2]
        flat = (shape[0], int(np.prod(channels)), *shape[1 + len(channels) :])
        x, g = (lain_channels_last(a.reshape(flat)).reshape(shape) for a in (x, g))
    w, b = (numbers(seed + 2, *own), numbers(seed + 3, *own)) if affine else (None, None)
    cpu = COMPILED
    broadcast = own if affine else ()
    full = (1,) * (x.ndim - len(broadcast)) + broadcast
    ones, zeros = np.ones(full), np.zeros(full)
    with np.errstate(all="ignore"):
        y, mean, var = on_threads(lambda: cpu.standardize(x, w, b, axes, EPS))
    expected = by_hand(
        x, axes, ones if w is None else w.reshape(full), zeros if b is None else b.reshape(full), g
    )
    assert y.dtype == np.float32
    assert steps(y) == steps(REFERENCE.standardize(x, w, b, axes, EPS)[0])
    most = 1 if w is None else np.abs(w).max()
    inverse = 1 / np.sqrt(expected[2] + EPS)
    close(y, expected[0], 5e-6, np.abs(expected[0]).max() + most * (1 + inverse))
    close(mean, expected[1], 1e-6, np.abs(x).max())
    np.testing.assert_allclose(var, expected[2], rtol=4e-6, atol=1e-30)
    got = on_threads(lambda: cpu.standardize_backward(g, x, w, mean, var, axes, broadcast, EPS))
    largest = np.abs(expected[3]).max() + most * (1 + inverse) * np.abs(g).max()
    close(got[0], expected[3], 1e-5, largest)
    for part, terms in zip(got[1:], expected[4:], strict=True):
        size = np.abs(added_up(np.abs(terms), full)).max() + 1
        close(added_up(part, full), added_up(terms, full), 1e-5, size)


@given(
    st.integers(1, 40),
    st.sampled_from([1, 3, 10, 16, 31, 37, 64, 197, 1100]),
    st.sampled_from([(), (2,), (1,), (1, 2)]),
    st.sampled_from([0.0, 30.0]),
    st.integers(0, 99),
)
@example(40, 1111, (2,), 30.0, 0)  # in parts for the threads
@example(70, 1111, (1, 2), 0.0, 0)
def test_rms_norm(rows: int, n: int, own: tuple[int, ...], level: float, seed: int) -> None:
    shape = (2048 // (rows * n) + 2, rows, n)
    x, g = numbers(seed, *shape) + np.float32(level), numbers(seed + 1, *shape)
    w = numbers(seed + 2, *(shape[i] for i in own)) if own else None
    if own == (1,):
        w = numbers(seed + 2, rows, 1)
    y, square = on_threads(lambda: COMPILED.rms_norm(x, w, (2,), EPS))
    expected = REFERENCE.rms_norm(x, w, (2,), EPS)
    np.testing.assert_allclose(square, expected[1], rtol=4e-6)
    close(y, expected[0], 1e-6)
    assert expected[0].dtype == np.float64
    got = on_threads(lambda: COMPILED.rms_norm_backward(g, x, w, square, (2,), EPS))
    wanted = REFERENCE.rms_norm_backward(*wide(g, x, w), expected[1], (2,), EPS)
    # Where x is far from 0 its multiples cancel in the gradient, but for w · g / √square.
    size = np.abs(g if w is None else g * w).max() / np.sqrt(square)
    close(got[0], wanted[0], 4e-6, size)
    if w is not None:
        full = (1,) * (3 - w.ndim) + w.shape
        total = added_up(np.abs(wanted[1]), full).max() + 1
        close(added_up(got[1], full), added_up(wanted[1], full), 2e-6, total)


@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1e20, 1e36, np.inf, np.nan])
@pytest.mark.parametrize("eps", [0.0, 1e-12])
def test_the_size_of_numbers_whose_squares_are_out_of_range(scale: float, eps: float) -> None:
    x = numbers(3, 64, 50)
    x[7] *= np.float32(scale)
    with np.errstate(all="ignore"):
        got, expected = (b.rms_norm(x, None, (1,), eps) for b in (COMPILED, REFERENCE))
        for a, c in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, c, rtol=2e-5, atol=2e-5)


@given(
    st.integers(1, 9),
    st.sampled_from([1, 3, 8, 16, 17, 33, 130]),
    st.lists(st.integers(1, 40), max_size=3),
    st.booleans(),
    st.booleans(),
)
@example(40, 32, [32, 33], True, True)  # in parts for the threads
def test_scale_channels(
    samples: int, channels: int, size: list[int], last: bool, shifted: bool
) -> None:
    samples += 2048 // (channels * int(np.prod(size)))
    x = numbers(0, samples, channels, *size)
    x = lain_channels_last(x) if last else x
    column = (1, channels, *(1,) * len(size))
    center, scale, b = (numbers(i, *column) for i in (1, 2, 3))
    shift = b if shifted else 0.0
    (y,) = on_threads(lambda: [COMPILED.scale_channels(x, center, scale, shift)])
    expected = REFERENCE.scale_channels(*wide(x, center, scale), shift)
    close(y, expected, 2e-7, np.abs((x - center) * scale).max() + 5)
    assert y.dtype == np.float32
    assert steps(y) == steps(lain_channels_last(x))  # as that of batch norm in training


def test_what_is_not_float32_or_lies_otherwise_is_left_to_numpy() -> None:
    cpu = COMPILED
    for x in (
        numbers(0, 70, 50).astype(np.float64),
        numbers(0, 70, 100)[:, ::2],
        numbers(0, 50, 70).T,
        numbers(0, 3, 5),
    ):
        got, expected = (b.standardize(x, None, None, (1,), EPS) for b in (cpu, REFERENCE))
        for a, c in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, c)


# ----- sums --------------------------------------------------------------------------------------


@given(st.data())
def test_total(data: Any) -> None:
    """In float64 to its last digits, in every layout, over any axes."""
    shape = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    place = data.draw(st.integers(0, len(shape) - 1))
    shape[place] = max(shape[place], (1 << 14) * shape[place] // int(np.prod(shape)) + 1)
    order = data.draw(st.permutations(range(len(shape))))
    axes = data.draw(st.sets(st.integers(-len(shape), -1)))
    keepdims = data.draw(st.booleans())
    x = numbers(data.draw(st.integers(0, 99)), *shape).transpose(order)
    axis = tuple(axes) if axes else None
    (got,) = on_threads(lambda: [np.asarray(COMPILED.total(x, axis, keepdims))])
    expected = x.astype(np.float64).sum(axis=axis, keepdims=keepdims)
    assert (got.shape, got.dtype) == (expected.shape, np.float64)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13 * np.abs(wide(x)[0]).sum())


@pytest.mark.parametrize("axis", [None, (0,), (1,), (0, 2), (0, 2, 3), (2, 3)])
def test_a_large_total_is_shared_out(axis: Any) -> None:
    x = lain_channels_last(numbers(5, 33, 7, 41, 40))
    (got,) = on_threads(lambda: [np.asarray(COMPILED.total(x, axis))])
    np.testing.assert_allclose(got, x.astype(np.float64).sum(axis), rtol=0, atol=1e-9)


@pytest.mark.parametrize("stride", [0, 4, 1000])
@pytest.mark.parametrize("shape", [(400, 1, 60), (1, 150, 200), (200, 150, 1)])
def test_axes_of_length_1_have_any_strides(shape: tuple[int, ...], stride: int) -> None:
    """As those have that NumPy's broadcast_to leaves."""
    x = numbers(0, *shape)
    steps = [stride if n == 1 else s for n, s in zip(shape, x.strides, strict=True)]
    x = np.lib.stride_tricks.as_strided(x, shape, steps)
    for axis in (0, 1, 2, (0, 1), (0, 2), (1, 2), (0, 1, 2)):
        for keepdims in (False, True):
            got, expected = (cpu.total(x, axis, keepdims) for cpu in (COMPILED, REFERENCE))
            close(np.asarray(got), np.asarray(expected), 1e-5)
