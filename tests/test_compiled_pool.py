"""Compiled pooling and sums of rows against NumPy's kernels, and against sums in float64."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import tinygrad_cv as tg
from tinygrad_cv import backend as backends
from tinygrad_cv.backend.numpy_backend import NumpyBackend
from tinygrad_cv.nn import functional as F

pytestmark = pytest.mark.host

Array = Any

ROUND = 2.0**-24
"""Half a unit in the last place of float32."""


@pytest.fixture(autouse=True)
def _of_any_size(compiled_kernels: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small arrays too, in parts."""
    from tinygrad_cv.backend.compiled import backend, pool, row_sums

    monkeypatch.setattr(backend.takes, "__kwdefaults__", {"least": 0})
    monkeypatch.setattr(backend, "LEAST", 0)
    monkeypatch.setattr(pool, "PART", 64)
    monkeypatch.setattr(row_sums, "PART", 64)


def host() -> Any:
    return backends.get("cpu")


REFERENCE = NumpyBackend()


def both(name: str, *args: Any, **options: Any) -> tuple[Any, Any]:
    """What a kernel gives compiled, the same for 1 to 3 threads; and what NumPy's gives."""
    found = []
    with REFERENCE.active:
        for threads in (1, 2, 3):
            tg.set_num_threads(threads)
            found.append(getattr(host(), name)(*args, **options))
        expected = getattr(REFERENCE, name)(*args, **options)
    for other in found[1:]:
        for a, b in zip(several(found[0]), several(other), strict=True):
            assert a.tobytes() == b.tobytes()
    for a, b in zip(several(found[0]), several(expected), strict=True):
        assert a.shape == b.shape
    return found[0], expected


def several(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


@st.composite
def windows(draw: Any) -> dict[str, Any]:
    """Images of 1 to 3 axes, their channels around a whole number of vectors, and windows."""
    axes = draw(st.integers(1, 3))
    most = (0, 40, 9, 5)[axes]

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.lists(st.integers(low, high), min_size=axes, max_size=axes)))

    size, kernel, dilation = each(1, most), each(1, 4), each(1, 2)
    stride = kernel if draw(st.booleans()) else each(1, 4)
    padding = tuple(draw(st.integers(0, 3)) for _ in kernel)
    for n, k, p, d in zip(size, kernel, padding, dilation, strict=True):
        assume(n + 2 * p >= d * (k - 1) + 1)
    images = draw(st.integers(0, 3)), draw(st.sampled_from((1, 3, 15, 16, 17, 33))), *size
    how = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    return {"images": images, "how": how, "seed": draw(st.integers(0, 99))}


def images(shape: Any, rng: Any, channels_last: bool = True, special: bool = False) -> Array:
    x = rng.standard_normal(shape).astype("float32")
    if special:  # equal ones, and what is no number
        x = np.round(x)
        x[rng.random(shape) < 0.3] = -np.inf
        x[rng.random(shape) < 0.1] = np.nan
        x[rng.random(shape) < 0.1] = np.inf
    if not channels_last:
        return x
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


@settings(max_examples=60)
@given(case=windows(), special=st.booleans(), last=st.booleans())
def test_the_largest_of_each_window_and_its_place(case: Any, special: bool, last: bool) -> None:
    x = images(case["images"], np.random.default_rng(case["seed"]), last, special)
    (y, index), (values, places) = both("max_pool", x, **case["how"])
    assert_array_equal(y, values)
    assert_array_equal(index, places)
    assert index.dtype == places.dtype


@settings(max_examples=60)
@given(case=windows())
def test_what_is_scattered_to_the_places_of_windows_and_gathered_there(case: Any) -> None:
    """Whole numbers, whose sums are exact; infinities stay at their places."""
    rng, how = np.random.default_rng(case["seed"]), case["how"]
    x = images(case["images"], rng)
    _, index = REFERENCE.max_pool(x, **how)
    g = np.round(8 * images(index.shape, rng))
    assert_array_equal(*both("window_scatter", g, index, x.shape[2:], **how))
    assert_array_equal(*both("window_gather", x, index, **how))
    g[rng.random(g.shape) < 0.1] = np.inf
    assert_array_equal(*both("window_scatter", g, index, x.shape[2:], **how))


@settings(max_examples=60)
@given(case=windows(), divisor=st.integers(1, 30))
def test_sums_over_windows_are_those_in_float64(case: Any, divisor: int) -> None:
    rng, how = np.random.default_rng(case["seed"]), dict(case["how"])
    how["dilation"] = (1,) * len(how.pop("dilation"))
    assume(
        all(
            n + 2 * p >= k
            for n, p, k in zip(case["images"][2:], how["padding"], how["kernel"], strict=True)
        )
    )
    del how["dilation"]
    x = images(case["images"], rng)
    y, _ = both("window_sum", x, **how, divisor=divisor)
    exact = REFERENCE.window_sum(x.astype(float), **how, divisor=divisor)
    assert (abs(y - exact) <= ROUND * abs(exact) + 1e-15).all()
    g = images(y.shape, rng)
    dx, _ = both("window_spread", g, x.shape[2:], **how, divisor=divisor)
    exact = REFERENCE.window_spread(g.astype(float), x.shape[2:], **how, divisor=divisor)
    assert (abs(dx - exact) <= ROUND * abs(exact) + 1e-15).all()


def test_a_window_of_more_taps_than_a_byte_counts() -> None:
    x = images((2, 17, 20, 20), np.random.default_rng(0))
    how = {"kernel": (20, 20), "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}
    (y, index), (values, places) = both("max_pool", x, **how)
    assert index.dtype == np.uint16
    assert_array_equal(y, values)
    assert_array_equal(index, places)
    assert_array_equal(*both("window_scatter", y, index, (20, 20), **how))


# ----- sums of rows ------------------------------------------------------------------------------


def order_of(x: Array, draw: Any) -> Array:
    """The same numbers in another order of the memory."""
    order = draw(st.permutations(range(x.ndim)))
    return np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))


@settings(max_examples=60)
@given(data=st.data())
def test_rows_added_at_repeated_places(data: Any) -> None:
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    shape = draw(st.lists(st.sampled_from((1, 2, 5, 16, 19)), min_size=1, max_size=3))
    axis = draw(st.integers(0, len(shape) - 1))
    named = draw(st.lists(st.integers(0, 6), min_size=1, max_size=2))
    index = rng.integers(-shape[axis], shape[axis], named)
    g = rng.standard_normal((*shape[:axis], *named, *shape[axis + 1 :])).astype("float32")
    g = order_of(g, draw)
    at = (*[slice(None)] * axis, index)
    y, _ = both("scatter_add", tuple(shape), at if axis else index, g)
    exact = REFERENCE.scatter_add(tuple(shape), at, g.astype(float))
    assert (abs(y - exact) <= ROUND * abs(exact) + 1e-15).all()


@pytest.mark.parametrize("wrong", [5, -6])
def test_a_row_that_is_not_there_is_named(wrong: int) -> None:
    with pytest.raises(IndexError, match=str(wrong)):
        host().scatter_add((5, 40), np.array([0, wrong]), np.ones((2, 40), "float32"))


RESIZE: dict[str, Callable[[tg.Tensor], tg.Tensor]] = {
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "bilinear": lambda x: F.interpolate(x, size=(7, 4), mode="bilinear"),
    "corners": lambda x: F.interpolate(x, size=(9, 3), mode="bilinear", align_corners=True),
    "bicubic": lambda x: F.interpolate(x, size=(4, 11), mode="bicubic"),
    "antialias": lambda x: F.interpolate(x, size=(2, 3), mode="bilinear", antialias=True),
    "adaptive mean": lambda x: F.adaptive_avg_pool2d(x, (3, 4)),
    "adaptive maximum": lambda x: F.adaptive_max_pool2d(x, (3, 4)),
    "mean": lambda x: F.avg_pool2d(x, 3, 2, 1),
    "maximum": lambda x: F.max_pool2d(x, 3, 2, 1),
}


def with_gradients(f: Callable[..., tg.Tensor], *values: Array) -> list[Array]:
    inputs = [tg.Tensor(x, requires_grad=True) for x in values]
    y = f(*inputs)
    g = np.random.default_rng(1).standard_normal(y.shape).astype(values[0].dtype)
    return [a.detach().numpy() for a in (y, *tg.grad(y, inputs, tg.Tensor(g)))]


def assert_as_exact(f: Callable[..., tg.Tensor], *values: Array, error: float) -> None:
    """f and its gradients off by `error` times the largest number at most."""
    exact = with_gradients(f, *(x.astype(float) for x in values))
    for a, b in zip(with_gradients(f, *values), exact, strict=True):
        assert a.dtype == np.float32
        assert abs(a - b).max(initial=0) <= error * abs(b).max(initial=1)


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("channels", [1, 3, 16, 37])
@pytest.mark.parametrize("name", RESIZE)
def test_images_of_another_size(name: str, channels: int, last: bool) -> None:
    x = images((3, channels, 5, 8), np.random.default_rng(channels), last)
    assert_as_exact(RESIZE[name], x, error=8 * ROUND)


@pytest.mark.parametrize("channels", [1, 3, 16, 37])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_images_sampled_on_a_grid(mode: str, padding: str, channels: int) -> None:
    rng = np.random.default_rng(channels)
    x = images((2, channels, 5, 6), rng)
    grid = rng.uniform(-1.2, 1.2, (2, 4, 7, 2)).astype("float32")

    def sampled(x: tg.Tensor, place: tg.Tensor) -> tg.Tensor:
        y = F.grid_sample(x, place, mode, padding)
        return y if mode != "nearest" else y + 0 * place.sum()  # which has no gradient for places

    assert_as_exact(sampled, x, grid, error=32 * ROUND)


def test_a_weight_of_0_has_no_part_in_a_sample() -> None:
    rng = np.random.default_rng(0)
    x, w = images((2, 18, 5), rng), rng.standard_normal((2, 3, 4)).astype("float32")
    index = rng.integers(0, 4, (2, 3, 4))
    index[:, 1], w[:, 1], x[:, :, 4] = 4, 0, np.inf
    y, expected = both("sample", x, w, index)
    assert np.isfinite(y).all()
    assert abs(y - expected).max() <= 4 * ROUND * abs(expected).max()
    w[0, 0, 0] = np.nan
    y, _ = both("sample", x, w, index)
    assert np.isnan(y[0, :, 0]).all()


def test_the_gradient_of_an_embedding_is_added_up_in_float64() -> None:
    count = 3000
    rng = np.random.default_rng(0)
    g = (0.1 + 1e-3 * rng.standard_normal((count, 17))).astype("float32")
    y, _ = both("scatter_add", (2, 17), np.zeros(count, int), g)
    exact = [math.fsum(column.tolist()) for column in g.T]
    assert (abs(y[0] - exact) <= ROUND * np.abs(exact) + 1e-12).all()
    assert not y[1].any()
