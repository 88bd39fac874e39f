"""Compiled convolutions against sums over windows in float64, and against NumPy's kernels."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv.backend import threads
from tinygrad_cv.backend.compiled.backend import CompiledBackend
from tinygrad_cv.backend.numpy_backend import NumpyBackend
from tinygrad_cv.testing.geometry import BATCHES, Axis, ConvGeometry, conv_geometry

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("compiled_kernels")]

Array = Any
HOST, NUMPY = CompiledBackend(), NumpyBackend()
NAMES = ("conv", "conv_transpose", "conv_weight")


@pytest.fixture(autouse=True)
def direct() -> Iterator[None]:
    """Winograd's sums, which differ, have tests of their own."""
    before = tg.get_conv_precision()
    tg.set_conv_precision("exact")
    yield
    tg.set_conv_precision(before)


@st.composite
def wide(draw: Any) -> ConvGeometry:
    """With more channels than a tile has lanes, or with one kernel for each of many channels."""
    geometry = draw(st.integers(1, 3).flatmap(conv_geometry))
    groups, many = geometry.groups, st.sampled_from((1, 3, 7, 16, 17, 31, 32, 33, 40, 65))
    if draw(st.booleans()):
        channels = draw(many)
        return replace(geometry, channels=channels, outputs=channels, groups=channels)
    return replace(geometry, channels=groups * draw(many), outputs=groups * draw(many))


@contextmanager
def blocks(windows: int, part: int) -> Iterator[None]:
    """Blocks of few windows, and parts of little work: small images have many."""
    from tinygrad_cv.backend.compiled import conv

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv, "BLOCK_WINDOWS", windows)
        patch.setattr(conv, "ENOUGH_WINDOWS", min(windows, conv.ENOUGH_WINDOWS))
        patch.setattr(threads, "WORTH_A_PART", part)
        conv.windows_of.cache_clear()
        try:
            yield
        finally:
            conv.windows_of.cache_clear()


@contextmanager
def workers(count: int) -> Iterator[None]:
    before = tg.get_num_threads()
    tg.set_num_threads(count)
    try:
        yield
    finally:
        tg.set_num_threads(before)


def images(rng: Any, shape: tuple[int, ...], last: bool) -> Array:
    """Numbers of a normal distribution; their channels lie last in memory, or as they stand."""
    x = rng.standard_normal(shape).astype(np.float32)
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1) if last else x


def arguments(geometry: ConvGeometry, seed: int, with_bias: bool) -> dict[str, tuple[Any, ...]]:
    """Of the three kernels."""
    rng = np.random.default_rng(seed)
    x, g = (images(rng, s, bool(rng.integers(2))) for s in (geometry.images, geometry.maps))
    w = rng.standard_normal(geometry.weight).astype(np.float32)
    bias = rng.standard_normal(geometry.outputs).astype(np.float32) if with_bias else None
    shared = (*(geometry.lengths(n) for n in ("stride", "padding", "dilation")), geometry.groups)
    return {
        "conv": (x, w, bias, *shared),
        "conv_transpose": (g, w, geometry.lengths("size"), *shared),
        "conv_weight": (x, g, geometry.lengths("kernel"), *shared),
    }


def in_float64(values: tuple[Any, ...], absolute: bool = False) -> tuple[Any, ...]:
    return tuple(
        (np.abs(v) if absolute else v).astype(np.float64) if isinstance(v, np.ndarray) else v
        for v in values
    )


def assert_close(name: str, values: tuple[Any, ...]) -> None:
    """What rounding each product and each sum in float32 leaves: n·2⁻²⁴·Σ|terms|, and less."""
    got = getattr(HOST, name)(*values)
    kernel = getattr(NUMPY, name)
    exact, size = kernel(*in_float64(values)), kernel(*in_float64(values, absolute=True))
    own = kernel(*values)
    assert got.shape == exact.shape
    assert got.dtype == np.float32
    assert got.strides == own.strides
    error = np.abs(got - exact)
    terms = 8 + math.isqrt(max(1, values[0].size))
    assert (error <= 2.0**-24 * terms * size).all(), f"{name}: {error.max()}"


@given(wide(), st.integers(0, 99), st.booleans(), st.sampled_from((5, 16, 4096)))
@settings(max_examples=120)
def test_each_kernel_is_the_sum_over_windows(
    geometry: ConvGeometry, seed: int, with_bias: bool, windows: int
) -> None:
    with blocks(windows, part=1 << 8):
        for name, values in arguments(geometry, seed, with_bias).items():
            assert_close(name, values)


@given(wide(), st.integers(0, 99))
@settings(max_examples=25)
def test_the_number_of_threads_changes_no_bit(geometry: ConvGeometry, seed: int) -> None:
    with blocks(16, part=1 << 8):
        for name, values in arguments(geometry, seed, True).items():
            results = []
            for count in (1, 2, 3):
                with workers(count):
                    results.append(getattr(HOST, name)(*values))
            for other in results[1:]:
                assert np.array_equal(results[0], other)


def square(size: int, k: int, s: int = 1, p: int = 0, d: int = 1) -> tuple[Axis, Axis]:
    return (Axis(size, k, s, p, d),) * 2


LARGE = [
    ConvGeometry(3, 3, square(33, 3, 1, 1), 40, 1),  # several images, or bands of one
    ConvGeometry(1, 3, square(97, 7, 2, 3), 33, 1),
    ConvGeometry(2, 20, square(65, 3, 2, 1), 50, 1),
    ConvGeometry(17, 70, square(4, 3, 1, 1), 130, 1),  # more images than blocks
    ConvGeometry(2, 48, square(57, 3, 2, 1), 48, 48),
    ConvGeometry(9, 33, square(7, 5, 1, 2), 33, 33),
    ConvGeometry(2, 36, square(29, 1, 2), 24, 1),
    ConvGeometry(2, 16, square(31, 4, 2, 1), 8, 4),
]


@pytest.mark.parametrize("geometry", LARGE, ids=lambda g: f"{g.images}x{g.weight}")
def test_images_of_several_blocks(geometry: ConvGeometry) -> None:
    for name, values in arguments(geometry, 1, True).items():
        assert_close(name, values)


@given(conv_geometry(), BATCHES, st.sampled_from((np.float16, np.float64)))
@settings(max_examples=20)
def test_other_dtypes_are_as_numpys(geometry: ConvGeometry, batch: int, dtype: Any) -> None:
    for name, values in arguments(replace(geometry, batch=batch), 3, True).items():
        values = tuple(v.astype(dtype) if isinstance(v, np.ndarray) else v for v in values)
        got, expected = (getattr(backend, name)(*values) for backend in (HOST, NUMPY))
        assert got.dtype == expected.dtype == dtype
        assert np.array_equal(got, expected)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_pixel_that_is_no_number_reaches_the_windows_that_see_it(value: float) -> None:
    values = arguments(ConvGeometry(2, 5, square(9, 3, 2, 1), 20, 1), 0, True)
    for name, (first, *rest) in values.items():
        first = first.copy()
        first[1, 2, 2, 2] = value
        with np.errstate(invalid="ignore"):
            expected = getattr(NUMPY, name)(first, *rest)
            got = getattr(HOST, name)(first, *rest)
        assert np.array_equal(np.isfinite(got), np.isfinite(expected))
        assert not np.isfinite(got).all()


def test_results_do_not_change_with_the_next_call() -> None:
    """Nothing that is handed out is used again."""
    values = arguments(LARGE[0], 0, True)
    before = {name: getattr(HOST, name)(*v) for name, v in values.items()}
    copies = {name: v.copy() for name, v in before.items()}
    for name, v in arguments(LARGE[0], 1, False).items():
        getattr(HOST, name)(*v)
    for name, v in before.items():
        assert np.array_equal(v, copies[name])


@pytest.mark.parametrize("padding", [(1, 1), (0, 2)])
def test_where_winograd_is_chosen_the_sums_are_the_same(padding: tuple[int, int]) -> None:
    both = tuple(Axis(23, 3, 1, p, 1) for p in padding)
    values = arguments(ConvGeometry(8, 40, both, 36, 1), 0, True)
    exact = {name: getattr(HOST, name)(*v) for name, v in values.items()}
    tg.set_conv_precision("fast")
    for name, v in values.items():
        fast = getattr(HOST, name)(*v)
        assert not np.array_equal(fast, exact[name])  # it was chosen
        error = np.linalg.norm(fast - exact[name]) / np.linalg.norm(exact[name])
        assert error < 3e-6
