"""The oracles themselves are held to SciPy, to identities and to numbers worked by hand."""

import math
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from numpy.lib.stride_tricks import sliding_window_view
from numpy.testing import assert_allclose, assert_array_equal

import oracles

Array = oracles.Array
Pair = oracles.Pair

seeds = st.integers(0, 2**32 - 1)
pytestmark = pytest.mark.filterwarnings("error")


def whole(rng: np.random.Generator, *shape: int) -> Array:
    """Small whole numbers: sums of their products are exact in any order, so no tolerance."""
    return rng.integers(-4, 5, shape).astype(np.float64)


# ----- convolution -----


class Geometry(NamedTuple):
    """A convolution that fits: the image, the kernel, how it moves, and how many windows result."""

    size: Pair
    kernel_size: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    windows: Pair
    rest: Pair  # rows and columns that no stride reaches: conv_transpose2d's output_padding


@st.composite
def convolutions(draw: DrawFn) -> Geometry:
    axes = []
    for _ in range(2):
        kernel, stride, dilation = (draw(st.integers(1, high)) for high in (3, 3, 2))
        padding = draw(st.integers(0, 2))
        reach = dilation * (kernel - 1) + 1
        size = max(1, reach - 2 * padding) + draw(st.integers(0, 4))
        windows = len(range(0, size + 2 * padding - reach + 1, stride))
        rest = (size + 2 * padding - reach) % stride
        axes.append((size, kernel, stride, padding, dilation, windows, rest))
    return Geometry(*zip(*axes, strict=True))


class Problem(NamedTuple):
    """y = x * w, and a cotangent of y."""

    x: Array
    w: Array
    g: Array
    groups: int
    geometry: Geometry


@st.composite
def problems(draw: DrawFn) -> Problem:
    geometry = draw(convolutions())
    groups, batch, channels, outputs = (draw(st.integers(1, 2)) for _ in range(4))
    rng = np.random.default_rng(draw(seeds))
    x = whole(rng, batch, groups * channels, *geometry.size)
    w = whole(rng, groups * outputs, channels, *geometry.kernel_size)
    g = whole(rng, batch, groups * outputs, *geometry.windows)
    return Problem(x, w, g, groups, geometry)


def pad_image(image: Array, padding: Pair, value: float = 0.0) -> Array:
    return np.pad(image, [(p, p) for p in padding], constant_values=value)


def spread(image: Array, step: Pair) -> Array:
    """Zeros put between neighbours, so that they stand `step` apart."""
    spaced = np.zeros([(n - 1) * s + 1 for n, s in zip(image.shape, step, strict=True)])
    spaced[:: step[0], :: step[1]] = image
    return spaced


def group_pairs(problem: Problem) -> list[tuple[int, int, int]]:
    """(o, c, channel of x) wherever output o reads: its group's channels, c counted within it."""
    outputs, channels = problem.w.shape[0] // problem.groups, problem.w.shape[1]
    return [
        (group * outputs + o, c, group * channels + c)
        for group in range(problem.groups)
        for o in range(outputs)
        for c in range(channels)
    ]


@settings(deadline=None)
@given(problems())
def test_conv2d_is_scipys_correlation(problem: Problem) -> None:
    x, w, g, groups, geometry = problem
    _, _, stride, padding, dilation, _, _ = geometry
    expected = np.zeros(g.shape)
    for n in range(len(x)):
        for o, c, channel in group_pairs(problem):
            image, kernel = pad_image(x[n, channel], padding), spread(w[o, c], dilation)
            everywhere = scipy.signal.correlate2d(image, kernel, mode="valid")
            expected[n, o] += everywhere[:: stride[0], :: stride[1]]
    assert_array_equal(oracles.conv2d(x, w, stride, padding, dilation, groups), expected)


@settings(deadline=None)
@given(problems())
def test_conv_transpose2d_is_scipys_convolution_of_a_spread_image(problem: Problem) -> None:
    x, w, g, groups, geometry = problem
    size, _, stride, padding, dilation, _, rest = geometry
    expected = np.zeros(x.shape)
    for n in range(len(x)):
        for o, c, channel in group_pairs(problem):
            full = scipy.signal.convolve2d(spread(g[n, o], stride), spread(w[o, c], dilation))
            full = np.pad(full, [(0, r) for r in rest])
            rows, columns = (slice(p, p + n) for p, n in zip(padding, size, strict=True))
            expected[n, channel] += full[rows, columns]
    y = oracles.conv_transpose2d(g, w, stride, padding, rest, dilation, groups)
    assert_array_equal(y, expected)


@settings(deadline=None)
@given(problems())
def test_conv2d_weight_is_scipys_correlation_with_a_spread_cotangent(problem: Problem) -> None:
    x, w, g, groups, geometry = problem
    _, kernel_size, stride, padding, dilation, _, rest = geometry
    expected = np.zeros(w.shape)
    for n in range(len(x)):
        for o, c, channel in group_pairs(problem):
            image = pad_image(x[n, channel], padding)
            image = image[: image.shape[0] - rest[0], : image.shape[1] - rest[1]]
            everywhere = scipy.signal.correlate2d(image, spread(g[n, o], stride), mode="valid")
            expected[o, c] += everywhere[:: dilation[0], :: dilation[1]]
    dw = oracles.conv2d_weight(x, g, kernel_size, stride, padding, dilation, groups)
    assert_array_equal(dw, expected)


@settings(deadline=None)
@given(problems())
def test_the_three_convolutions_are_adjoint(problem: Problem) -> None:
    """<x * w, g> = <x, conv_transpose2d(g, w)> = <w, conv2d_weight(x, g)>."""
    x, w, g, groups, geometry = problem
    _, kernel_size, stride, padding, dilation, _, rest = geometry
    y = oracles.conv2d(x, w, stride, padding, dilation, groups)
    dx = oracles.conv_transpose2d(g, w, stride, padding, rest, dilation, groups)
    dw = oracles.conv2d_weight(x, g, kernel_size, stride, padding, dilation, groups)
    assert np.sum(y * g) == np.sum(x * dx) == np.sum(w * dw)


def test_convolutions_by_hand() -> None:
    x = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    w = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    # 1·1 + 2·2 + 3·4 + 4·5 = 37: the kernel is not flipped.
    assert_array_equal(oracles.conv2d(x, w)[0, 0], [[37, 47], [67, 77]])
    # Windows two apart over the image with a frame of zeros.
    y = oracles.conv2d(x, w, stride=(2, 2), padding=(1, 1))
    assert_array_equal(y[0, 0], [[4, 18], [36, 77]])
    # The corners of the image alone.
    assert_array_equal(oracles.conv2d(x, w, dilation=(2, 2))[0, 0], [[1 + 6 + 21 + 36]])

    stamp = np.array([[[[1.0, 10.0], [100.0, 1000.0]]]])
    image = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    expected = [[1, 12, 20], [103, 1234, 2040], [300, 3400, 4000]]
    assert_array_equal(oracles.conv_transpose2d(image, stamp)[0, 0], expected)

    dw = oracles.conv2d_weight(x, np.ones((1, 1, 2, 2)), (2, 2))
    assert_array_equal(dw[0, 0], [[12, 16], [24, 28]])


def test_groups_do_not_see_each_other() -> None:
    x = np.array([1.0, 10.0, 100.0, 1000.0]).reshape(1, 4, 1, 1)
    w = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(2, 2, 1, 1)
    assert_array_equal(oracles.conv2d(x, w, groups=2).ravel(), [21, 4300])
    y = oracles.conv_transpose2d(np.array([1.0, 10.0]).reshape(1, 2, 1, 1), w, groups=2)
    assert_array_equal(y.ravel(), [1, 2, 30, 40])


# ----- pooling -----


@st.composite
def poolings(draw: DrawFn) -> tuple[Array, dict[str, Pair]]:
    """An image with many ties, and windows that each see at least one pixel."""
    axes = []
    for _ in range(2):
        kernel, stride, dilation = (draw(st.integers(1, 3)) for _ in range(3))
        padding = draw(st.integers(0, kernel // 2))
        extent = dilation * (kernel - 1) + 1 + draw(st.integers(0, 3))
        axes.append((extent, kernel, stride, padding, dilation))
    size, *moves = zip(*axes, strict=True)
    batch, channels = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    x = whole(np.random.default_rng(draw(seeds)), batch, channels, *size)
    return x, dict(zip(("kernel_size", "stride", "padding", "dilation"), moves, strict=True))


def windows(
    x: Array, fill: float, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair = (1, 1)
) -> Array:
    """(N, C, H, W) -> (N, C, H', W', kh·kw): every window in row-major order, padding filled."""
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)], constant_values=fill)
    reach = [d * (k - 1) + 1 for k, d in zip(kernel_size, dilation, strict=True)]
    view = sliding_window_view(x, reach, axis=(2, 3))
    view = view[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
    return view.reshape(*view.shape[:4], -1)


@settings(deadline=None)
@given(poolings())
def test_max_pool2d_is_the_argmax_of_the_windows(pooling: tuple[Array, dict[str, Pair]]) -> None:
    x, geometry = pooling
    seen = windows(x, -np.inf, **geometry)
    values, index = oracles.max_pool2d(x, **geometry)
    assert_array_equal(values, seen.max(axis=-1))
    assert_array_equal(index, seen.argmax(axis=-1))
    assert_array_equal(oracles.window_gather(x, index, **geometry), values)


@settings(deadline=None)
@given(poolings(), st.booleans())
def test_avg_pool2d_is_the_mean_of_the_windows(
    pooling: tuple[Array, dict[str, Pair]], count_include_pad: bool
) -> None:
    x, geometry = pooling
    del geometry["dilation"]
    pixels = windows(np.ones_like(x), float(count_include_pad), **geometry).sum(axis=-1)
    y = oracles.avg_pool2d(x, **geometry, count_include_pad=count_include_pad)
    assert_array_equal(y, windows(x, 0.0, **geometry).sum(axis=-1) / pixels)


@settings(deadline=None)
@given(poolings(), seeds)
def test_any_tap_is_gathered_and_scatter_is_the_adjoint(
    pooling: tuple[Array, dict[str, Pair]], seed: int
) -> None:
    """<gather(x), g> = <x, scatter(g)>, for taps drawn among those that see a pixel."""
    x, geometry = pooling
    rng = np.random.default_rng(seed)
    sees = ~np.isnan(windows(x, np.nan, **geometry))
    index = np.where(sees, rng.random(sees.shape), -1.0).argmax(axis=-1)
    g = whole(rng, *index.shape)

    picked = np.take_along_axis(windows(x, np.nan, **geometry), index[..., np.newaxis], axis=-1)
    assert_array_equal(oracles.window_gather(x, index, **geometry), picked[..., 0])
    scattered = oracles.window_scatter(g, index, x.shape, **geometry)
    assert scattered.shape == x.shape
    assert np.sum(picked[..., 0] * g) == np.sum(x * scattered)


def test_max_pool2d_by_hand() -> None:
    x = np.array([[[[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]]])
    values, index = oracles.max_pool2d(x, (2, 2), (2, 2))
    assert_array_equal(values[0, 0], [[6, 8], [3, 4]])
    assert_array_equal(index[0, 0], [[3, 3], [0, 3]])
    assert values.dtype == x.dtype


def test_the_first_maximum_wins_and_padding_never_does() -> None:
    x = np.full((1, 1, 2, 2), -5.0)
    values, index = oracles.max_pool2d(x, (2, 2), (1, 1), padding=(1, 1))
    assert_array_equal(values, np.full((1, 1, 3, 3), -5.0))
    assert_array_equal(index[0, 0], [[3, 2, 2], [1, 0, 0], [1, 0, 0]])


def test_nan_is_the_maximum() -> None:
    x = np.array([[[[1.0, np.nan], [9.0, 2.0]]]])
    values, index = oracles.max_pool2d(x, (2, 2), (2, 2))
    assert np.isnan(values[0, 0, 0, 0])
    assert index[0, 0, 0, 0] == 1


def test_avg_pool2d_by_hand() -> None:
    x = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    y = oracles.avg_pool2d(x, (2, 2), (2, 2), padding=(1, 1))
    assert_array_equal(y[0, 0], [[0.25, 0.5], [0.75, 1.0]])
    y = oracles.avg_pool2d(x, (2, 2), (2, 2), padding=(1, 1), count_include_pad=False)
    assert_array_equal(y, x)


def test_window_scatter_adds_where_windows_overlap() -> None:
    g = np.array([[[[1.0, 10.0]]]])
    index = np.array([[[[1, 0]]]])  # the right tap of the left window, the left tap of the right
    x = oracles.window_scatter(g, index, (1, 1, 1, 3), (1, 2), (1, 1))
    assert_array_equal(x, [[[[0, 11, 0]]]])


def test_a_tap_in_the_padding_is_refused() -> None:
    index = np.zeros((1, 1, 2, 2), np.intp)
    geometry = {"kernel_size": (2, 2), "stride": (1, 1), "padding": (1, 1)}
    with pytest.raises(KeyError):
        oracles.window_gather(np.ones((1, 1, 1, 1)), index, **geometry)
    with pytest.raises(KeyError):
        oracles.window_scatter(np.ones((1, 1, 2, 2)), index, (1, 1, 1, 1), **geometry)


# ----- normalization -----


@pytest.mark.parametrize("shape", [(5, 3), (4, 2, 6), (3, 2, 4, 5)])
def test_batch_norm_agrees_with_numpys_statistics(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(3.0, 2.0, shape)
    weight, bias = rng.normal(size=(2, shape[1]))
    axes = (0, *range(2, len(shape)))

    y, mean, var = oracles.batch_norm_train(x, weight, bias, eps=1e-3)
    assert_allclose(mean, np.mean(x, axes), rtol=1e-13)
    assert_allclose(var, np.var(x, axes), rtol=1e-13)
    assert_allclose(np.mean(y, axes), bias, rtol=1e-13, atol=1e-14)
    assert_allclose(np.var(y, axes), weight**2 * var / (var + 1e-3), rtol=1e-13)
    assert_array_equal(oracles.batch_norm_eval(x, mean, var, weight, bias, eps=1e-3), y)


def test_batch_norm_by_hand() -> None:
    x, one = np.array([[1.0], [3.0]]), np.array([1.0])
    assert_array_equal(oracles.batch_norm_train(x, None, None, eps=0.0)[0], [[-1], [1]])
    assert_array_equal(oracles.batch_norm_train(x, None, None, eps=3.0)[0], [[-0.5], [0.5]])
    assert_array_equal(oracles.batch_norm_train(x, 3 * one, one, eps=0.0)[0], [[-2], [4]])
    y = oracles.batch_norm_eval(x, mean=one, var=4 * one, weight=3 * one, bias=one, eps=0.0)
    assert_array_equal(y, [[1], [4]])


def test_running_update_by_hand() -> None:
    running, batch = np.array([1.0, 0.0]), np.array([2.0, 4.0])
    assert_allclose(oracles.running_update(running, batch, 0.1, 3, unbiased=False), [1.1, 0.4])
    assert_allclose(oracles.running_update(running, batch, 0.1, 3, unbiased=True), [1.2, 0.6])


# ----- softmax and losses -----

SCORES = [
    [1.0, 2.0, 3.0],
    [1000.0, 1001.0, 998.5],
    [-1000.0, -1000.0, -1003.0],
    [700.0, -700.0, 0.0],
]


@pytest.mark.parametrize("scores", SCORES)
def test_softmax_and_its_logarithms_agree_with_decimal_arithmetic(scores: list[float]) -> None:
    powers = [Decimal(score).exp() for score in scores]
    total = sum(powers, Decimal(0))
    share = [power / total for power in powers]

    x = np.array(scores)
    assert_allclose(oracles.softmax(x, 0), [float(s) for s in share], rtol=1e-13)
    assert_allclose(oracles.log_softmax(x, 0), [float(s.ln()) for s in share], atol=1e-14)
    assert_allclose(oracles.logsumexp(x, 0), float(total.ln()), rtol=1e-14)


def test_the_axis_of_softmax_and_its_logarithms() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    for axis in (0, 1, -1):
        expected = np.exp(x) / np.exp(x).sum(axis, keepdims=True)
        assert_allclose(oracles.softmax(x, axis), expected, rtol=1e-13)
        assert_allclose(oracles.log_softmax(x, axis), np.log(expected), rtol=1e-13)
    for axes in (1, (0, -1), None):
        for keepdims in (False, True):
            expected = np.log(np.exp(x).sum(axes, keepdims=keepdims))
            y = oracles.logsumexp(x, axes, keepdims)
            assert y.shape == expected.shape
            assert_allclose(y, expected, rtol=1e-13)


def test_logsumexp_of_nothing_likely() -> None:
    assert oracles.logsumexp(np.array([-np.inf, -np.inf]), 0) == -np.inf


def test_cross_entropy_by_hand() -> None:
    logits = np.log([[1.0, 3.0], [1.0, 1.0], [4.0, 1.0]])
    labels = np.array([1, 0, 1])
    losses = [math.log(4 / 3), math.log(2), math.log(5)]
    assert_allclose(oracles.cross_entropy(logits, labels, "none"), losses)
    assert_allclose(oracles.cross_entropy(logits, labels, "sum"), math.log(40 / 3))
    assert_allclose(oracles.cross_entropy(logits, labels, "mean"), math.log(40 / 3) / 3)


def test_cross_entropy_at_every_pixel() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(2, 5, 3, 4)), rng.integers(0, 5, (2, 3, 4))
    likelihood = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    chosen = np.take_along_axis(likelihood, labels[:, np.newaxis], axis=1)[:, 0]
    assert_allclose(oracles.cross_entropy(logits, labels, "none"), -np.log(chosen))
    assert_allclose(oracles.cross_entropy(logits, labels), -np.log(chosen).mean())


def test_mse_loss_by_hand() -> None:
    x, y = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 0.0], [0.0, 5.0]])
    assert_array_equal(oracles.mse_loss(x, y, "none"), [[0, 4], [9, 1]])
    assert oracles.mse_loss(x, y, "sum") == 14
    assert oracles.mse_loss(x, y) == 3.5


# ----- activations -----


def test_activations_by_hand() -> None:
    x = np.array([-2.0, 0.0, 3.0])
    assert_array_equal(oracles.relu(x), [0, 0, 3])
    assert_array_equal(oracles.leaky_relu(x, 0.25), [-0.5, 0, 3])
    sigmoid = [1 / (1 + math.exp(2)), 0.5, 1 / (1 + math.exp(-3))]
    assert_allclose(oracles.sigmoid(x), sigmoid, rtol=1e-15)
    softplus = [math.log(1 + math.exp(-2)), math.log(2), math.log(1 + math.exp(3))]
    assert_allclose(oracles.softplus(x), softplus, rtol=1e-14)
    assert_array_equal(x, [-2, 0, 3])


def test_activations_far_from_zero() -> None:
    x = np.array([-np.inf, -1000.0, 1000.0, np.inf, np.nan])
    assert_array_equal(oracles.relu(x), [0, 0, 1000, np.inf, np.nan])
    assert_array_equal(oracles.leaky_relu(x, 0.5), [-np.inf, -500, 1000, np.inf, np.nan])
    assert_array_equal(oracles.sigmoid(x), [0, 0, 1, 1, np.nan])
    assert_array_equal(oracles.softplus(x), [0, 0, 1000, np.inf, np.nan])


# ----- linear algebra -----


@pytest.mark.parametrize(
    ("left", "right", "result"),
    [
        ((3,), (3,), ()),
        ((3,), (3, 4), (4,)),
        ((2, 3), (3,), (2,)),
        ((2, 3), (3, 4), (2, 4)),
        ((3,), (5, 3, 4), (5, 4)),
        ((5, 2, 3), (3,), (5, 2)),
        ((5, 2, 3), (3, 4), (5, 2, 4)),
        ((5, 2, 3), (5, 3, 4), (5, 2, 4)),
        ((6, 1, 2, 3), (5, 3, 1), (6, 5, 2, 1)),
        ((1, 3), (3, 1), (1, 1)),
        ((2, 0), (0, 4), (2, 4)),
        ((0, 3), (3, 4), (0, 4)),
    ],
)
def test_matmul_is_numpys(
    left: tuple[int, ...], right: tuple[int, ...], result: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    a, b = whole(rng, *left), whole(rng, *right)
    y = oracles.matmul(a, b)
    assert y.shape == result
    assert_array_equal(y, a @ b)


def test_matmul_refuses_operands_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="zip"):
        oracles.matmul(np.ones((2, 3)), np.ones((4, 2)))


# ----- shape and index -----


def test_pad_is_numpys() -> None:
    x = np.arange(6).reshape(2, 3)
    y = oracles.pad(x, ((1, 0), (2, 3)), value=7)
    assert_array_equal(y, np.pad(x, ((1, 0), (2, 3)), constant_values=7))
    assert y.dtype == x.dtype


def test_pad_by_a_negative_width_crops() -> None:
    x = np.arange(12).reshape(3, 4)
    assert_array_equal(oracles.pad(x, ((-1, 0), (1, -2))), [[0, 4, 5], [0, 8, 9]])


INDICES: list[tuple[Any, Any, list[float]]] = [
    ([0, 2, 0], [1.0, 2.0, 4.0], [5, 0, 2]),
    ([-1, 2], [1.0, 2.0], [0, 0, 3]),
    (slice(1, None), [1.0, 2.0], [0, 1, 2]),
    (np.array([True, False, True]), [1.0, 2.0], [1, 0, 2]),
    (1, 3.5, [0, 3.5, 0]),
]


@pytest.mark.parametrize(("index", "g", "expected"), INDICES)
def test_scatter_add_index_by_hand(index: Any, g: Any, expected: list[float]) -> None:
    assert_array_equal(oracles.scatter_add_index((3,), index, g), expected)


# ----- statistics -----


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), ()])
@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("keepdims", [False, True])
def test_var_is_numpys(axis: oracles.Axis, correction: int, keepdims: bool) -> None:
    x = np.random.default_rng(0).normal(5.0, 2.0, (3, 4, 5))
    y = oracles.var(x, axis, correction, keepdims)
    with np.errstate(invalid="ignore"):
        deviations = x - x.mean(axis, keepdims=True)
        n = x.size // deviations.mean(axis).size
        expected = (deviations**2).sum(axis, keepdims=keepdims) / np.float64(n - correction)
    assert y.shape == expected.shape
    assert_allclose(y, expected, rtol=1e-13, atol=1e-28)


def test_var_by_hand() -> None:
    x = np.array([[1.0, 3.0, 8.0]])
    assert oracles.var(x) == 13
    assert_array_equal(oracles.var(x, 1, correction=0), [26 / 3])
    assert_array_equal(oracles.var(x, 0), [np.nan] * 3)
    assert_array_equal(oracles.var(x, 0, correction=0, keepdims=True), [[0, 0, 0]])


# ----- gradients -----


def test_numerical_gradient_of_a_quadratic_form() -> None:
    rng = np.random.default_rng(0)
    a, x = rng.normal(size=(4, 4)), rng.normal(size=4)
    before = x.copy()
    gradient = oracles.numerical_gradient(lambda x: x @ a @ x, x)
    assert_allclose(gradient, (a + a.T) @ x, rtol=1e-8)
    assert_array_equal(x, before)


def test_numerical_gradient_keeps_shapes_and_hands_out_copies() -> None:
    def spoil(x: Array) -> float:
        y = math.fsum(x.ravel() ** 3)
        x[...] = np.nan
        return y

    for x in (np.array(2.0), np.array([[1.0, -2.0], [0.5, 4.0]]), np.zeros((0, 3))):
        gradient = oracles.numerical_gradient(spoil, x)
        assert gradient.shape == x.shape
        assert_allclose(gradient, 3 * x**2, rtol=1e-8)


# ----- types -----


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int64])
def test_arithmetic_is_done_in_float64(dtype: type[np.number[Any]]) -> None:
    """In float16 or float32, 2049·2049 would already be rounded."""
    x = np.full((1, 1, 1, 1), 2047, dtype)
    assert oracles.conv2d(x, x).dtype == np.float64
    assert oracles.conv2d(x, x).item() == 2047**2
    assert oracles.matmul(x, x).item() == 2047**2
    assert oracles.mse_loss(x, -x).item() == 4 * 2047**2
    assert oracles.avg_pool2d(x, (1, 1), (1, 1)).dtype == np.float64
