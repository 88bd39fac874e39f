"""Winograd's convolution beside NumPy's, and beside float64 for its error."""

# ruff: noqa: E741  O counts the channels out, as C those in

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba")

import tinygrad_cv as tg
from tinygrad_cv.backend import switch, windows
from tinygrad_cv.backend.compiled import conv, linear, winograd

pytestmark = pytest.mark.host
ONES = (1, 1)


def relative(a, b):
    """‖a - b‖ / ‖b‖"""
    return np.linalg.norm(np.asarray(a, dtype=float) - b) / max(np.linalg.norm(b), 1e-300)


def reference(x, w, bias, g, padding, dtype=float):
    """The convolution and its adjoints, by NumPy's kernels."""
    x, w, g = (a.astype(dtype) for a in (x, w, g))
    bias = None if bias is None else bias.astype(dtype)
    return (
        windows.conv(x, w, bias, ONES, padding, ONES, 1),
        windows.conv_transpose(g, w, x.shape[2:], ONES, padding, ONES, 1),
        windows.conv_weight(x, g, (3, 3), ONES, padding, ONES, 1),
    )


def ours(x, w, bias, g, padding):
    return (
        winograd.conv(x, w, bias, padding),
        winograd.conv_transpose(g, w, padding),
        winograd.conv_weight(x, g, padding),
    )


def chosen(x, w, bias, g, padding):
    """The same as ops call them: by Winograd where all is finite, and else by direct sums."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "suits", lambda *geometry, **options: True)
        return (
            conv.conv(x, w, bias, ONES, padding, ONES, 1),
            conv.conv_transpose(g, w, x.shape[2:], ONES, padding, ONES, 1),
            conv.conv_weight(x, g, (3, 3), ONES, padding, ONES, 1),
        )


@pytest.fixture
def ways(monkeypatch):
    """Have tiles of m x m, and whole weights at a time, or a few channels of them."""

    def choose(m, whole):
        monkeypatch.setattr(winograd, "tile_size", lambda *sizes: m)
        monkeypatch.setattr(winograd, "weight_tile_size", lambda *sizes: m)
        monkeypatch.setattr(winograd, "by_columns", lambda *sizes: not whole)
        monkeypatch.setattr(winograd, "by_blocks", lambda *sizes: not whole)

    return choose


@pytest.fixture
def threads():
    before = tg.get_num_threads()
    yield tg.set_num_threads
    tg.set_num_threads(before)


# ----- the transforms -----------------------------------------------------------------------------


@pytest.mark.parametrize("m", [2, 4])
def test_transforms_are_a_correlation(m):
    Bt, G, At = linear.matrices(m)
    rng = np.random.default_rng(m)
    d, g = rng.standard_normal(m + 2), rng.standard_normal(3)
    np.testing.assert_allclose(At @ ((G @ g) * (Bt @ d)), np.correlate(d, g), atol=1e-13)


@settings(max_examples=50)
@given(st.data())
def test_a_program_computes_its_matrix(data):
    entries = st.sampled_from([0.0, 0.0, 1.0, -1.0, 2.0, -2.0, 0.625, -1.5])
    rows, columns = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    M = np.array(data.draw(st.lists(entries, min_size=rows * columns, max_size=rows * columns)))
    M = M.reshape(rows, columns)
    M[~M.any(1), 0] = 1  # each row has something to compute
    steps, results = linear.program(M)
    x = np.random.default_rng(0).standard_normal(columns)
    values = list(x)
    for i, c, j in steps:
        values.append(c * values[i] + (0 if j is None else values[j]))
    np.testing.assert_allclose([values[i] for i in results], M @ x, atol=1e-12)


@pytest.mark.parametrize("m", [2, 4])
def test_a_program_is_short(m):
    """The sums of the transforms as they are written take two and a half times as many steps."""
    Bt, G, At = linear.matrices(m)
    counts = [len(linear.program(M)[0]) for M in (Bt, G, At, At.T, G.T)]
    assert counts == ([4, 5, 4, 2, 6] if m == 2 else [12, 9, 12, 8, 11])


# ----- the convolutions ---------------------------------------------------------------------------

sizes = st.integers(1, 19)
channels = st.one_of(st.integers(1, 70), st.sampled_from([16, 32, 48, 64]))


@settings(max_examples=60)
@given(
    st.tuples(st.integers(1, 5), channels, sizes, sizes),
    channels,
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.sampled_from([2, 4]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_as_numpy(shape, O, padding, m, whole, has_bias, last, seed):
    """Any geometry, either way of going through it, with the same bits on 1 to 3 threads."""
    count, C, H, W = shape
    H, W = max(H, 3 - 2 * padding[0]), max(W, 3 - 2 * padding[1])
    out = (count, O, H + 2 * padding[0] - 2, W + 2 * padding[1] - 2)
    rng = np.random.default_rng(seed)
    x, g, w = (
        rng.standard_normal(shape, dtype=np.float32)
        for shape in ((count, C, H, W), out, (O, C, 3, 3))
    )
    if last:
        x, g = (windows.channels_first(windows.channels_last(a)) for a in (x, g))
    bias = rng.standard_normal(O, dtype=np.float32) if has_bias else None
    before = tg.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "tile_size", lambda *sizes: m)
        patch.setattr(winograd, "weight_tile_size", lambda *sizes: m)
        patch.setattr(winograd, "by_columns", lambda *sizes: not whole)
        patch.setattr(winograd, "by_blocks", lambda *sizes: not whole)
        results = []
        for number in (1, 2, 3):
            tg.set_num_threads(number)
            results.append(ours(x, w, bias, g, padding))
        tg.set_num_threads(before)
    small = reference(x, w, bias, g, padding, np.float32)
    for first, *others, right, numpy in zip(
        *results, reference(x, w, bias, g, padding), small, strict=True
    ):
        assert all((first == other).all() for other in others)
        assert relative(first, right) < 2e-6
        assert first.shape == numpy.shape
        assert first.dtype == numpy.dtype
        assert first.strides == numpy.strides


@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("geometry", [(13, 33, 40, 27, 30), (5, 256, 260, 9, 6)])
def test_many_groups_of_tiles(ways, threads, m, whole, geometry):
    """Several groups in each part, the last one not full, and parts enough for all threads."""
    ways(m, whole)
    N, C, O, H, W = geometry
    rng = np.random.default_rng(m)
    x, g, w = (
        rng.standard_normal(shape, dtype=np.float32)
        for shape in ((N, C, H, W), (N, O, H, W), (O, C, 3, 3))
    )
    results = []
    for number in (1, 2, 3):
        threads(number)
        results.append(ours(x, w, None, g, (1, 1)))
    for first, *others, right in zip(*results, reference(x, w, None, g, (1, 1)), strict=True):
        assert all((first == other).all() for other in others)
        assert relative(first, right) < 2e-6


# ----- what is not finite -------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38])
@pytest.mark.parametrize("where", ["x", "w", "g", "bias"])
@pytest.mark.parametrize("whole", [True, False])
def test_what_is_not_finite_stays_where_it_is(ways, value, where, whole):
    ways(4, whole)
    rng = np.random.default_rng(0)
    arrays = {
        "x": rng.standard_normal((2, 16, 9, 10), dtype=np.float32),
        "w": rng.standard_normal((17, 16, 3, 3), dtype=np.float32),
        "bias": rng.standard_normal(17, dtype=np.float32),
        "g": rng.standard_normal((2, 17, 9, 10), dtype=np.float32),
    }
    arrays[where].reshape(-1)[-1] = value
    args = arrays["x"], arrays["w"], arrays["bias"], arrays["g"], (1, 1)
    with np.errstate(over="ignore"):
        results = zip(chosen(*args), reference(*args, np.float32), strict=True)
    for mine, right in results:
        np.testing.assert_array_equal(np.isnan(mine), np.isnan(right))
        np.testing.assert_array_equal(np.isposinf(mine), np.isposinf(right))
        np.testing.assert_array_equal(np.isneginf(mine), np.isneginf(right))


@settings(max_examples=40)
@given(
    st.integers(0, 12 * 11 - 1),
    st.sampled_from([np.nan, np.inf, -np.inf]),
    st.sampled_from([2, 4]),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
def test_a_pixel_spoils_the_windows_that_see_it(pixel, value, m, padding):
    """Wherever it lies in its tiles, also where one ends outside of the image."""
    rng = np.random.default_rng(pixel)
    x, w = rng.standard_normal((1, 3, 12, 11)), rng.standard_normal((5, 3, 3, 3))
    x, w = x.astype(np.float32), w.astype(np.float32)
    x[0, 1].reshape(-1)[pixel] = value
    g = rng.standard_normal((1, 5, 10 + 2 * padding[0], 9 + 2 * padding[1])).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "tile_size", lambda *sizes: m)
        patch.setattr(winograd, "weight_tile_size", lambda *sizes: m)
        mine = chosen(x, w, None, g, padding)
    for a, b in zip(mine, reference(x, w, None, g, padding, np.float32), strict=True):
        np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))
        assert relative(a[np.isfinite(a)], b[np.isfinite(b)]) < 2e-6


# ----- where it pays ------------------------------------------------------------------------------


def suits(x, w, stride=ONES, padding=ONES, dilation=ONES, groups=1):
    return winograd.suits(x, w, stride, padding, dilation, groups)


def test_what_it_suits():
    x, w = (8, 32, 16, 16), (32, 32, 3, 3)
    assert suits(x, w)
    assert all(suits(x, w, padding=(p, p)) for p in (0, 1, 2))
    assert suits((1, 64, 28, 28), (64, 64, 3, 3))
    assert suits((64, 512, 2, 2), (512, 512, 3, 3))
    assert not suits(x, w, stride=(2, 2))
    assert not suits(x, w, dilation=(1, 2))
    assert not suits(x, w, padding=(1, 3))
    assert not suits(x, (32, 16, 3, 3), groups=2)
    assert not suits(x, (32, 32, 3, 1), padding=(1, 0))
    assert not suits((8, 32, 16), (32, 32, 3), (1,), (1,), (1,))
    assert not suits((8, 3, 16, 16), (32, 3, 3, 3))
    assert not suits((8, 16, 16, 16), (32, 16, 3, 3))
    assert winograd.suits((8, 16, 16, 16), (32, 16, 3, 3), *[ONES] * 3, 1, channels=16)
    assert not suits((0, 32, 16, 16), w)
    assert not suits((8, 32, 2, 2), w, padding=(0, 0))
    assert not suits((64, 128, 5, 5), (128, 128, 3, 3))
    assert not suits((1, 128, 4, 4), (128, 128, 3, 3))


@pytest.fixture
def precision():
    before = tg.get_conv_precision()
    yield tg.set_conv_precision
    tg.set_conv_precision(before)


def test_exact_never_takes_it(precision):
    precision("exact")
    assert not suits((8, 32, 16, 16), (32, 32, 3, 3))
    precision("fast")
    assert suits((8, 32, 16, 16), (32, 32, 3, 3))
    with pytest.raises(ValueError, match="'exact' or 'fast'; got 'slow'"):
        precision("slow")


def test_precision_from_the_environment():
    assert switch._Kernels({}).precision == "fast"
    assert switch._Kernels({"TINYGRAD_CV_CONV_PRECISION": "exact"}).precision == "exact"
    with pytest.raises(ValueError, match="TINYGRAD_CV_CONV_PRECISION is 'slow'"):
        switch._Kernels({"TINYGRAD_CV_CONV_PRECISION": "slow"})
