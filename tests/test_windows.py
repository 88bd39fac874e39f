"""Convolution and pooling beyond their ops: options, sizes, indices, and what goes wrong."""

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

import oracles
import tinygrad_cv as tg
from rows.conv import shifted
from tinygrad_cv import backend as backends
from tinygrad_cv.ops import conv as convs
from tinygrad_cv.ops import pool as pools
from tinygrad_cv.testing import Case, check_op
from tinygrad_cv.testing.geometry import Axis, Geometry
from tinygrad_cv.testing.strategies import arrays, conv_geometry, pool_geometry

Array = NDArray[Any]

DIMENSIONS = [1, 2, 3]
GEOMETRY = ("stride", "padding", "dilation")
TAPS = ("kernel", *GEOMETRY)


def named(module: Any, name: str, spatial: int) -> Callable[..., Any]:
    """conv2d for ("conv", 2)."""
    function: Callable[..., Any] = getattr(module, f"{name}{spatial}d")
    return function


def whole(*shape: int, seed: int = 0) -> Array:
    """Small whole numbers: sums of their products are exact, in any order."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(float)


# ----- the oracles --------------------------------------------------------------------------------


@given(conv_geometry(), st.integers(0, 99))
def test_the_oracles_for_any_number_of_axes_are_those_for_images(geometry: Any, seed: int) -> None:
    """The ones for images are held to SciPy (test_oracles.py)."""
    x, w = whole(*geometry.images, seed=seed), whole(*geometry.weight, seed=seed + 1)
    g, how = whole(*geometry.maps, seed=seed + 2), geometry.attributes()
    size, kernel = geometry.lengths("size"), geometry.lengths("kernel")
    y = oracles.conv(x, w, **how)
    dx, dw = oracles.conv_transpose(g, w, size, **how), oracles.conv_weight(x, g, kernel, **how)
    assert_array_equal(y, oracles.conv2d(x, w, **how))
    assert_array_equal(dw, oracles.conv2d_weight(x, g, kernel, **how))
    assert (y * g).sum() == (dx * x).sum() == (dw * w).sum()
    columns = oracles.unfold(x, kernel, *(geometry.lengths(name) for name in GEOMETRY))
    again = oracles.fold(columns, size, kernel, *(geometry.lengths(name) for name in GEOMETRY))
    assert (columns * columns).sum() == (x * again).sum()


@given(pool_geometry())
def test_the_oracle_over_windows_is_that_for_images(geometry: Geometry) -> None:
    x = whole(*geometry.images)
    how = [geometry.lengths(name) for name in TAPS]
    values, _ = oracles.max_pool2d(x, *how)
    windows = [places(axis, ceil=False) for axis in geometry.axes]
    assert_array_equal(oracles.over_windows(x, windows, lambda seen, _: seen.max()), values)


def places(axis: Any, ceil: bool) -> list[list[int]]:
    """The places that each window of an axis looks at, also those outside of the image.

    With `ceil` windows follow until one reaches the end, or starts behind the image.
    """
    starts = list(axis.starts)
    reach = axis.dilation * (axis.kernel - 1) + 1
    while (
        ceil
        and starts[-1] + reach < axis.size + axis.padding
        and starts[-1] + axis.stride < axis.size
    ):
        starts.append(starts[-1] + axis.stride)
    return [[start + u * axis.dilation for u in range(axis.kernel)] for start in starts]


# ----- convolution --------------------------------------------------------------------------------


@st.composite
def same_sized(draw: Any, spatial: int) -> Case:
    """Inputs and weights of a convolution with stride 1 that keeps the size."""
    size = draw(st.tuples(*[st.integers(1, 5 if spatial < 3 else 3)] * spatial))
    kernel = draw(st.tuples(*[st.integers(1, 4)] * spatial))
    dilation = draw(st.tuples(*[st.integers(1, 2)] * spatial))
    x, w = draw(arrays((2, 2, *size))), draw(arrays((3, 2, *kernel)))
    return Case((x, w), {"padding": "same", "dilation": dilation})


def conv_same(x: Array, w: Array, padding: str, dilation: Sequence[int]) -> Array:
    """Half of the zeros in front, and of an odd number the greater half behind."""
    total = [d * (k - 1) for k, d in zip(w.shape[2:], dilation, strict=True)]
    padded = np.pad(x, [(0, 0), (0, 0), *((t // 2, t - t // 2) for t in total)])
    ones, zeros = (1,) * len(total), (0,) * len(total)
    return oracles.conv(padded, w, ones, zeros, dilation)


@pytest.mark.parametrize("spatial", DIMENSIONS)
def test_padding_same_keeps_the_size(spatial: int) -> None:
    check_op(named(convs, "conv", spatial), same_sized(spatial), conv_same, order=1)


@pytest.mark.parametrize("spatial", DIMENSIONS)
def test_padding_valid_is_none(spatial: int) -> None:
    x, w = tg.tensor(whole(1, 2, *(4,) * spatial)), tg.tensor(whole(2, 2, *(3,) * spatial))
    conv = named(convs, "conv", spatial)
    y, expected = conv(x, w, stride=2, padding="valid"), conv(x, w, stride=2)
    assert_array_equal(y.numpy(), expected.numpy())


@st.composite
def convolutions(draw: Any, spatial: int) -> Case:
    """What the function is given: numbers for each axis by keyword."""
    geometry = draw(conv_geometry(spatial))
    x, w = draw(arrays(geometry.images)), draw(arrays(geometry.weight))
    return Case((x, w, draw(arrays((geometry.outputs,)))), geometry.attributes())


@pytest.mark.parametrize("spatial", DIMENSIONS)
def test_conv_is_the_op_of_its_dimension(spatial: int) -> None:
    def reference(x: Array, w: Array, b: Array, **geometry: Any) -> Array:
        return shifted(oracles.conv(x, w, **geometry), b)

    check_op(named(convs, "conv", spatial), convolutions(spatial), reference, order=1)


@st.composite
def transposed(draw: Any, spatial: int) -> Case:
    """Output paddings of all sizes: below the stride, and between it and the dilation."""
    geometry = draw(conv_geometry(spatial))
    x, w = draw(arrays(geometry.maps)), draw(arrays(geometry.weight))
    extra = tuple(
        draw(st.integers(0, max(axis.stride, axis.dilation) - 1)) for axis in geometry.axes
    )
    return Case((x, w), {**geometry.attributes(), "output_padding": extra})


def spanned(x: Array, w: Array, output_padding: Sequence[int], **geometry: Any) -> list[int]:
    """The size of a transposed convolution."""
    sizes = x.shape[2:], w.shape[2:], *(geometry[name] for name in GEOMETRY), output_padding
    lengths = zip(*sizes, strict=True)
    return [(n - 1) * s - 2 * p + d * (k - 1) + e + 1 for n, k, s, p, d, e in lengths]


@pytest.mark.parametrize("spatial", DIMENSIONS)
def test_conv_transpose_has_the_size_that_its_arguments_say(spatial: int) -> None:
    def reference(x: Array, w: Array, output_padding: Any, **geometry: Any) -> Array:
        size = spanned(x, w, output_padding, **geometry)
        return oracles.conv_transpose(x, w, size, **geometry)

    cases = transposed(spatial).filter(
        lambda case: min(spanned(*case.inputs, **case.attributes)) > 0
    )
    check_op(named(convs, "conv_transpose", spatial), cases, reference)


# ----- without weight sharing ---------------------------------------------------------------------


@st.composite
def local(draw: Any) -> Case:
    geometry = draw(conv_geometry())
    outputs = draw(st.integers(1, 3))
    x = draw(arrays(geometry.images))
    kernels = (*geometry.lengths("out"), outputs, geometry.channels, *geometry.lengths("kernel"))
    b = draw(st.none() | arrays((outputs, *geometry.lengths("out"))))
    attributes = {name: geometry.lengths(name) for name in GEOMETRY}
    return Case((x, draw(arrays(kernels)), b), attributes)


def locally_connected2d(x: Array, w: Array, b: Array | None, **geometry: Any) -> Array:
    """Each place of the output is that of a convolution with the kernel of this place."""
    y = np.empty((len(x), w.shape[2], *w.shape[:2]))
    for i, j in np.ndindex(*w.shape[:2]):
        y[..., i, j] = oracles.conv2d(x, w[i, j], **geometry)[..., i, j]
    return y if b is None else y + b


def test_a_locally_connected_layer_has_a_kernel_for_each_place() -> None:
    check_op(convs.locally_connected2d, local(), locally_connected2d)


def test_with_equal_kernels_it_is_a_convolution() -> None:
    x, w = tg.tensor(whole(2, 3, 5, 6)), tg.tensor(whole(4, 3, 3, 2))
    shared = tg.conv2d(x, w, stride=2, padding=1)
    kernels = tg.broadcast_to(w, (*shared.shape[2:], *w.shape))
    y = convs.locally_connected2d(x, kernels, stride=2, padding=1)
    assert_array_equal(y.numpy(), shared.numpy())


# ----- unfold and fold ----------------------------------------------------------------------------


@given(conv_geometry(), st.integers(0, 99))
def test_a_convolution_is_a_product_with_the_unfolded_image(geometry: Any, seed: int) -> None:
    x = tg.tensor(whole(*geometry.images, seed=seed))
    w = tg.tensor(whole(2, geometry.channels, *geometry.lengths("kernel"), seed=seed + 1))
    how = {name: geometry.lengths(name) for name in GEOMETRY}
    columns = convs.unfold(x, geometry.lengths("kernel"), **how)
    y = tg.conv2d(x, w, **how)
    assert_array_equal((w.flatten(1) @ columns).numpy(), y.flatten(2).numpy())


@given(conv_geometry())
def test_fold_adds_up_what_unfold_took_apart(geometry: Any) -> None:
    x = whole(*geometry.images)
    how = {name: geometry.lengths(name) for name in GEOMETRY}
    kernel, size = geometry.lengths("kernel"), geometry.lengths("size")
    again = convs.fold(convs.unfold(tg.tensor(x), kernel, **how), size, kernel, **how)
    seen = np.zeros(size)
    for _, _, pixel in oracles.looks(size, kernel, *how.values()):
        seen[pixel] += 1
    assert_array_equal(again.numpy(), x * seen)


# ----- pooling ------------------------------------------------------------------------------------


@st.composite
def pooled(draw: Any, spatial: int, most_dilation: int = 1, **options: Any) -> Case:
    """A call of a pooling function; `options` are strategies of further arguments."""
    geometry = draw(pool_geometry(most_dilation, spatial))
    x = draw(arrays(geometry.images, distinct=True))
    attributes = {
        "kernel_size": geometry.lengths("kernel"),
        "stride": geometry.lengths("stride"),
        "padding": geometry.lengths("padding"),
        **({"dilation": geometry.lengths("dilation")} if most_dilation > 1 else {}),
    }
    return Case((x,), attributes | {name: draw(option) for name, option in options.items()})


def windows(size: Sequence[int], ceil_mode: bool, geometry: dict[str, Any]) -> Any:
    """The places that the windows of each axis look at."""
    kernel, ones = geometry["kernel_size"], (1,) * len(size)
    lengths = (size, kernel, geometry["stride"], geometry["padding"])
    dilation = geometry.get("dilation", ones)
    return [places(axis, ceil_mode) for axis in map(Axis, *lengths, dilation)]


def max_pool(x: Array, ceil_mode: bool, **geometry: Any) -> Array:
    seen = windows(x.shape[2:], ceil_mode, geometry)
    return oracles.over_windows(x, seen, lambda pixels, _: pixels.max())


@pytest.mark.parametrize("spatial", DIMENSIONS)
def test_max_pool(spatial: int) -> None:
    cases = pooled(spatial, 2, ceil_mode=st.booleans())
    check_op(named(pools, "max_pool", spatial), cases, max_pool, order=1)


@pytest.mark.parametrize("spatial", DIMENSIONS)
@given(data=st.data())
def test_indices_say_where_the_maxima_are(spatial: int, data: Any) -> None:
    case = data.draw(pooled(spatial, 2, ceil_mode=st.booleans()))
    x = np.rint(case.inputs[0] / 4)  # equal numbers are common: the first of them counts
    y, indices = named(pools, "max_pool", spatial)(
        tg.tensor(x), **case.attributes, return_indices=True
    )
    seen = windows(x.shape[2:], case.attributes["ceil_mode"], case.attributes)
    first = oracles.over_windows(x, seen, lambda pixels, numbers: numbers[pixels.argmax()])
    assert indices.dtype == "int64"
    assert_array_equal(indices.numpy(), first)
    assert_array_equal(y.numpy(), oracles.over_windows(x, seen, lambda pixels, _: pixels.max()))


def avg_pool(
    x: Array,
    ceil_mode: bool,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    **geometry: Any,
) -> Array:
    """With padding counted, a window counts the places of the padded image that it sees."""
    seen = windows(x.shape[2:], ceil_mode, geometry)
    sums = oracles.over_windows(x, seen, lambda pixels, _: pixels.sum())
    if divisor_override is not None:
        return sums / divisor_override
    border = geometry["padding"] if count_include_pad else (0,) * len(seen)
    counts = [
        [sum(-p <= place < n + p for place in window) for window in axis]
        for axis, n, p in zip(seen, x.shape[2:], border, strict=True)
    ]
    divisors = [math.prod(each) for each in itertools.product(*counts)]
    return sums / np.reshape(divisors, sums.shape[2:])


@pytest.mark.parametrize("spatial", DIMENSIONS)
def test_avg_pool(spatial: int) -> None:
    options = {"ceil_mode": st.booleans(), "count_include_pad": st.booleans()}
    if spatial > 1:
        options["divisor_override"] = st.none() | st.integers(1, 5)
    check_op(named(pools, "avg_pool", spatial), pooled(spatial, **options), avg_pool, order=1)


@st.composite
def powers(draw: Any, spatial: int) -> Case:
    case = draw(pooled(spatial, ceil_mode=st.booleans()))
    attributes = dict(case.attributes)
    del attributes["padding"]
    (x,) = case.inputs
    away = np.where(x < 0, x - 0.5, x + 0.5)  # from 0, where |x| has a kink
    return Case((away,), {**attributes, "norm_type": draw(st.sampled_from((1, 2, 3, 3.5)))})


def lp_pool(x: Array, norm_type: float, **geometry: Any) -> Array:
    """Signs count for p = 1 alone."""
    powers = x if norm_type == 1 else np.abs(x) ** norm_type
    means = avg_pool(powers, padding=(0,) * (x.ndim - 2), **geometry)
    return (means * math.prod(geometry["kernel_size"])) ** (1 / norm_type)


@pytest.mark.parametrize("spatial", DIMENSIONS)
def test_lp_pool(spatial: int) -> None:
    cases = powers(spatial).filter(lambda case: fits(case, spatial))
    check_op(named(pools, "lp_pool", spatial), cases, lp_pool, order=1)


def fits(case: Case, spatial: int) -> bool:
    """Whether a window fits in without the padding."""
    size, kernel = case.inputs[0].shape[2:], case.attributes["kernel_size"]
    return all(n >= k for n, k in zip(size, kernel, strict=True))


def test_windows_are_as_long_as_a_number_of_numpy_says() -> None:
    for pool in (pools.max_pool2d, pools.avg_pool2d, lambda x, k: pools.lp_pool2d(x, 2, k)):
        assert pool(tg.ones(1, 1, 4, 4), np.int64(2)).shape == (1, 1, 2, 2)
    assert tg.nn.MaxPool2d(np.int64(2))(tg.ones(1, 1, 4, 4)).shape == (1, 1, 2, 2)


def test_the_root_of_nothing_has_no_slope() -> None:
    x = tg.zeros(1, 1, 2, 4)
    x.data[..., 2:] = 3.0
    x.requires_grad = True
    y = pools.lp_pool2d(x, 2, 2)
    y.sum().backward()
    assert x.grad is not None
    assert_allclose(x.grad.numpy(), np.repeat([[[[0, 0, 0.5, 0.5]]]], 2, 2))


@given(st.data(), st.sampled_from((2, 3, 0.5, 20, math.inf)), st.sampled_from((1e20, 1e-20)))
def test_lp_pool_of_large_and_small_numbers(data: Any, p: float, scale: float) -> None:
    """In single precision as in double, where the powers are beyond it; inf gives the largest."""
    case = data.draw(powers(2).filter(lambda case: fits(case, 2)))
    x, options = case.inputs[0], {**case.attributes, "norm_type": p}
    y = pools.lp_pool2d(tg.Tensor(x * scale, dtype="float32"), **options)
    if p == math.inf:
        seen = windows(x.shape[2:], options["ceil_mode"], {**options, "padding": (0, 0)})
        wanted = oracles.over_windows(x, seen, lambda pixels, _: np.abs(pixels).max())
    else:
        wanted = lp_pool(x, **options)
    assert_allclose(y.numpy() / np.float32(scale), wanted, rtol=1e-5)


# ----- unpooling ----------------------------------------------------------------------------------


@st.composite
def unpooled(draw: Any, spatial: int) -> Case:
    """Windows that do not overlap, each with one of its places: no place is named twice."""
    kernel = draw(st.tuples(*[st.integers(1, 3)] * spatial))
    out = draw(st.tuples(*[st.integers(1, 3 if spatial < 3 else 2)] * spatial))
    rest = draw(st.tuples(*[st.integers(0, k - 1) for k in kernel]))
    shape = (draw(st.integers(1, 2)), 2, *out)
    size = tuple(n * k + e for n, k, e in zip(out, kernel, rest, strict=True))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    corners = np.indices(out).reshape(spatial, -1) * np.reshape(kernel, (-1, 1))
    taps = [rng.integers(0, k, (2 * shape[0], corners.shape[1])) for k in kernel]
    numbers = np.ravel_multi_index(
        tuple(c + t for c, t in zip(corners, taps, strict=True)), size
    ).reshape(shape)
    given = {"output_size": draw(st.sampled_from((size, shape[:2] + size)))}
    exact = {} if any(rest) or draw(st.booleans()) else {"output_size": None}
    return Case((draw(arrays(shape)), numbers), {"kernel_size": kernel, **given, **exact})


def max_unpool(x: Array, indices: Array, kernel_size: Any, output_size: Any) -> Array:
    size = [n * k for n, k in zip(x.shape[2:], kernel_size, strict=True)]
    if output_size is not None:
        size = list(output_size)[-len(kernel_size) :]
    y = np.zeros((*x.shape[:2], math.prod(size)))
    for place in np.ndindex(*x.shape):
        y[*place[:2], indices[place]] = x[place]
    return y.reshape(*x.shape[:2], *size)


@pytest.mark.parametrize("spatial", DIMENSIONS)
def test_max_unpool(spatial: int) -> None:
    check_op(named(pools, "max_unpool", spatial), unpooled(spatial), max_unpool)


@given(pool_geometry(1))
def test_unpooling_leaves_the_maxima_and_nothing_else(geometry: Geometry) -> None:
    """Also where windows share a maximum; and the pooled image is pooled to itself again."""
    x = tg.tensor(np.abs(whole(*geometry.images)) + 1)
    how = {
        "kernel_size": geometry.lengths("kernel"),
        "stride": geometry.lengths("stride"),
        "padding": geometry.lengths("padding"),
    }
    y, indices = pools.max_pool2d(x, **how, return_indices=True)
    back = pools.max_unpool2d(y, indices, **how, output_size=geometry.lengths("size"))
    kept = np.zeros((*x.shape[:2], math.prod(x.shape[2:])))
    for place in np.ndindex(*indices.shape):
        kept[*place[:2], indices.numpy()[place]] = 1
    assert_array_equal(back.numpy(), x.numpy() * kept.reshape(x.shape))
    assert_array_equal(pools.max_pool2d(back, **how).numpy(), y.numpy())


@given(st.data())
def test_of_several_windows_at_a_place_the_last_counts_and_each_gets_its_gradient(
    data: Any,
) -> None:
    shape = data.draw(st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 6)))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x, places = whole(*shape), rng.integers(0, shape[2] + 1, shape)
    x.flat[rng.integers(x.size)] = np.inf
    leaf = tg.tensor(x, requires_grad=True)
    y = pools.max_unpool1d(leaf, tg.tensor(places), 2, stride=1)
    assert_array_equal(y.detach().numpy(), max_unpool(x, places, (1,), (shape[2] + 1,)))
    g = tg.tensor(rng.standard_normal(y.shape), requires_grad=True)
    (got,) = tg.grad(y, leaf, g, create_graph=True)
    assert_array_equal(got.detach().numpy(), np.take_along_axis(g.detach().numpy(), places, 2))
    h = rng.standard_normal(shape)
    (back,) = tg.grad(got, g, tg.tensor(h))
    wanted = np.zeros(y.shape)
    for place in np.ndindex(*shape):
        wanted[*place[:2], places[place]] += h[place]
    assert_allclose(back.numpy(), wanted)


def test_a_maximum_that_windows_share_gets_its_gradient_from_each() -> None:
    x = tg.tensor([[[0.0, 5.0, 1.0]]], requires_grad=True)
    y, indices = pools.max_pool1d(x, 2, stride=1, return_indices=True)
    back = pools.max_unpool1d(y, indices, 2, stride=1)
    assert back.tolist() == [[[0, 5, 0]]]
    back.backward(tg.tensor([[[1.0, 10.0, 100.0]]]))
    assert x.grad is not None
    assert x.grad.tolist() == [[[0, 20, 0]]]


# ----- dtypes -------------------------------------------------------------------------------------

FLOATS = ("float16", "float32", "float64")

PRODUCTS: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "conv1d": (tg.conv1d, ((2, 4, 7), (6, 4, 3))),
    "conv2d": (tg.conv2d, ((2, 4, 5, 5), (6, 4, 3, 3))),
    "conv2d, depthwise": (partial(tg.conv2d, groups=4), ((2, 4, 5, 5), (4, 1, 3, 3))),
    "conv_transpose2d": (tg.conv_transpose2d, ((2, 6, 3, 3), (6, 4, 3, 3))),
    "conv_transpose2d, depthwise": (
        partial(tg.conv_transpose2d, groups=4, stride=2),
        ((2, 4, 3, 3), (4, 1, 3, 3)),
    ),
    "linear": (tg.linear, ((5, 40), (3, 40))),
    "matmul": (tg.matmul, ((5, 40), (40, 3))),
    "stacked matmul": (tg.matmul, ((2, 5, 40), (2, 40, 3))),
}


@pytest.mark.parametrize("name", PRODUCTS)
@given(kinds=st.tuples(*[st.sampled_from(FLOATS)] * 2), seed=st.integers(0, 2**32 - 1))
def test_a_product_of_two_dtypes_is_that_of_the_wider_one(
    name: str, kinds: tuple[str, str], seed: int
) -> None:
    """Sums beyond float16 on the way included, and the gradients."""
    function, shapes = PRODUCTS[name]
    rng = np.random.default_rng(seed)
    inputs = [
        rng.uniform(10, 300, shape).astype(kind) for shape, kind in zip(shapes, kinds, strict=True)
    ]
    if "float16" in (*kinds,) and kinds[0] == kinds[1]:
        inputs = [x / x.dtype.type(100) for x in inputs]
    wider = max(kinds, key=lambda kind: int(kind[5:]))
    given_ones = [tg.tensor(x, requires_grad=True) for x in inputs]
    exact_ones = [tg.tensor(x.astype(float), requires_grad=True) for x in inputs]
    y, exact = function(*given_ones), function(*exact_ones)
    assert y.dtype == wider
    rtol = 8 * float(np.finfo(wider).eps)
    assert_allclose(y.detach().numpy(), exact.detach().numpy(), rtol=rtol)
    g = rng.uniform(0.5, 1, y.shape).astype(wider)
    gradients = tg.grad(y, given_ones, tg.tensor(g))
    expected = tg.grad(exact, exact_ones, tg.tensor(g.astype(float)))
    for gradient, right, kind in zip(gradients, expected, kinds, strict=True):
        assert gradient.dtype == kind
        wanted = right.numpy().astype(kind)
        if np.isfinite(wanted).all():
            assert_allclose(gradient.numpy(), wanted, rtol=8 * float(np.finfo(kind).eps))


@given(conv_geometry(), st.tuples(*[st.sampled_from(("float32", "float64"))] * 2))
def test_the_kernels_take_two_dtypes(geometry: Geometry, kinds: tuple[str, str]) -> None:
    """By themselves, without the op that brings its inputs to one."""
    x, w, g = whole(*geometry.images), whole(*geometry.weight), whole(*geometry.maps)
    how, xp = geometry.attributes(), backends.get(tg.get_default_device())
    size, kernel = geometry.lengths("size"), geometry.lengths("kernel")
    wider = np.result_type(*kinds)

    def here(array: Array, kind: str) -> Any:
        return xp.array(array / 3, kind)

    with xp.active:
        results = [
            (xp.conv(here(x, kinds[0]), here(w, kinds[1]), None, **how), oracles.conv(x, w, **how)),
            (
                xp.conv_transpose(here(g, kinds[0]), here(w, kinds[1]), size, **how),
                oracles.conv_transpose(g, w, size, **how),
            ),
            (
                xp.conv_weight(here(x, kinds[0]), here(g, kinds[1]), kernel, **how),
                oracles.conv_weight(x, g, kernel, **how),
            ),
        ]
        for y, expected in results:
            assert y.dtype == wider
            assert_allclose(xp.to_host(y), expected / 9, rtol=1e-4, atol=1e-4)


# ----- what an infinity reaches -------------------------------------------------------------------


@pytest.mark.parametrize("spatial", DIMENSIONS)
@given(data=st.data())
def test_an_infinite_pixel_reaches_the_windows_that_see_it(spatial: int, data: Any) -> None:
    """It stays in its image and its group, whatever was padded or joined to rows."""
    geometry = data.draw(conv_geometry(spatial))
    x, w = np.ones(geometry.images), np.ones(geometry.weight)
    if x.size == 0:
        return
    place = tuple(data.draw(st.integers(0, n - 1)) for n in x.shape)
    one = np.zeros_like(x)
    one[place], x[place] = 1, np.inf
    how = geometry.attributes()
    with np.errstate(invalid="ignore"):  # BLAS, on the stand-in
        y = named(convs, "conv", spatial)(tg.tensor(x), tg.tensor(w), **how).numpy()
    assert_array_equal(np.isinf(y), oracles.conv(one, w, **how) != 0)
    assert not np.isnan(y).any()


# ----- adaptive pooling ---------------------------------------------------------------------------


@st.composite
def adaptive(draw: Any, spatial: int) -> Case:
    """Output sizes smaller, larger and divisors of the input's; None keeps an axis."""
    most = 7 if spatial < 3 else 4
    size = draw(st.tuples(*[st.integers(1, most)] * spatial))
    x = draw(arrays((draw(st.integers(0, 2)), 2, *size), distinct=True))
    number = st.integers(1, most)
    each = st.tuples(*[st.none() | number] * spatial)
    return Case((x,), {"output_size": draw(number | each)})


def spans(n: int, m: int) -> list[list[int]]:
    """Places j of n whose stretch [j·m, (j + 1)·m) meets [i·n, (i + 1)·n), for i < m."""
    return [[j for j in range(n) if j * m < (i + 1) * n and (j + 1) * m > i * n] for i in range(m)]


def over_spans(x: Array, output_size: Any, function: Callable[..., Any]) -> Array:
    size = x.shape[2:]
    wanted = output_size if isinstance(output_size, tuple) else (output_size,) * len(size)
    filled = [n if m is None else m for n, m in zip(size, wanted, strict=True)]
    return oracles.over_windows(x, [*map(spans, size, filled)], function)


@pytest.mark.parametrize("spatial", DIMENSIONS)
def test_adaptive_avg_pool(spatial: int) -> None:
    def reference(x: Array, output_size: Any) -> Array:
        return over_spans(x, output_size, lambda pixels, _: pixels.mean())

    check_op(named(pools, "adaptive_avg_pool", spatial), adaptive(spatial), reference)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("spatial", DIMENSIONS)
@given(data=st.data(), adapted=st.booleans())
def test_a_mean_of_the_largest_numbers_is_finite_and_rounded_once(
    spatial: int, dtype: str, data: Any, adapted: bool
) -> None:
    calls = adaptive(spatial) if adapted else pooled(spatial)
    case = data.draw(calls.filter(lambda case: case.inputs[0].size > 0))
    most = float(np.finfo(dtype).max) / (1000 if adapted else 1)
    x = (case.inputs[0] * (most / np.abs(case.inputs[0]).max())).astype(dtype)
    y = named(pools, "adaptive_avg_pool" if adapted else "avg_pool", spatial)(
        tg.Tensor(x), **case.attributes
    )
    exact = mean(x.astype(float), adapted, **case.attributes)
    kind = np.finfo(dtype)
    allowed = float(kind.eps) * np.abs(exact) + float(kind.smallest_subnormal) + most * 2.0**-48
    if adapted:  # each axis that the windows do not tile is rounded
        allowed = spatial * (allowed + most * float(kind.eps))
    assert y.dtype == dtype
    assert (np.abs(y.numpy() - exact) <= allowed).all()


@pytest.mark.parametrize("spatial", DIMENSIONS)
@given(data=st.data(), adapted=st.booleans())
def test_an_infinity_stays_in_the_windows_that_see_it(
    spatial: int, data: Any, adapted: bool
) -> None:
    """A window is neither a difference of sums nor a product with 0; nor is its gradient."""
    calls = adaptive(spatial) if adapted else pooled(spatial)
    case = data.draw(calls.filter(lambda case: case.inputs[0].size > 0))
    function = named(pools, "adaptive_avg_pool" if adapted else "avg_pool", spatial)
    x = np.ones_like(case.inputs[0])
    x[tuple(data.draw(st.integers(0, n - 1)) for n in x.shape)] = np.inf
    leaf = tg.tensor(x, requires_grad=True)
    y = function(leaf, **case.attributes)
    assert_allclose(y.detach().numpy(), mean(x, adapted, **case.attributes), rtol=1e-12)
    g = np.ones(y.shape)
    place = tuple(data.draw(st.integers(0, n - 1)) for n in y.shape)
    g[place] = np.inf
    (back,) = tg.grad(y, leaf, tg.tensor(g))
    for pixel in np.ndindex(*x.shape):
        one = np.zeros_like(x)
        one[pixel] = 1
        seen = mean(one, adapted, **case.attributes)[place] != 0
        assert back.numpy()[pixel] == np.inf if seen else np.isfinite(back.numpy()[pixel])


def mean(x: Array, adapted: bool, **options: Any) -> Array:
    if adapted:
        return over_spans(x, options["output_size"], lambda pixels, _: pixels.mean())
    return avg_pool(x, ceil_mode=False, **options)


@pytest.mark.parametrize("spatial", DIMENSIONS)
def test_adaptive_max_pool(spatial: int) -> None:
    def reference(x: Array, output_size: Any) -> Array:
        return over_spans(x, output_size, lambda pixels, _: pixels.max())

    check_op(named(pools, "adaptive_max_pool", spatial), adaptive(spatial), reference, order=1)


@pytest.mark.parametrize("spatial", DIMENSIONS)
@given(data=st.data())
def test_adaptive_indices_say_where_the_maxima_are(spatial: int, data: Any) -> None:
    case = data.draw(adaptive(spatial))
    x = np.rint(case.inputs[0] / 4)
    leaf = tg.tensor(x, requires_grad=True)
    y, indices = named(pools, "adaptive_max_pool", spatial)(
        leaf, **case.attributes, return_indices=True
    )
    first = over_spans(
        x, case.attributes["output_size"], lambda pixels, numbers: numbers[pixels.argmax()]
    ).astype(int)
    assert_array_equal(indices.numpy(), first)
    # The gradient goes where the index says.
    g = whole(*y.shape)
    y.backward(tg.tensor(g))
    expected = np.zeros((*x.shape[:2], math.prod(x.shape[2:])))
    for n, c, *window in np.ndindex(*y.shape):
        expected[n, c, first[n, c, *window]] += g[n, c, *window]
    assert leaf.grad is not None
    assert_array_equal(leaf.grad.numpy(), expected.reshape(x.shape))


# ----- a maximum that padding could be taken for --------------------------------------------------

LOWEST = {"float32": -np.inf, "float64": -np.inf, "uint8": 0, "int32": np.iinfo("int32").min}


@pytest.mark.parametrize("dtype", LOWEST)
@pytest.mark.parametrize("spatial", DIMENSIONS)
@given(data=st.data())
def test_the_index_of_the_lowest_value_names_a_pixel(spatial: int, dtype: str, data: Any) -> None:
    """The first tap that sees a pixel, where all that it sees is the lowest value there is."""
    geometry = data.draw(pool_geometry(spatial=spatial))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = np.where(rng.random(geometry.images) < 0.8, LOWEST[dtype], 1).astype(dtype)
    xp = backends.get(None)
    how = {name: geometry.lengths(name) for name in TAPS}
    with xp.active:
        values, index = xp.max_pool(xp.from_host(x), **how)
    expected = np.empty(geometry.windows, int)
    for n, c, *window in np.ndindex(*expected.shape):
        seen = [look for look in oracles.looks(x.shape[2:], *how.values()) if look[0] == (*window,)]
        best = np.argmax([x[n, c, *pixel] for _, _, pixel in seen])
        _, tap, pixel = seen[best]
        expected[n, c, *window] = np.ravel_multi_index(tap, how["kernel"])
        assert xp.to_host(values)[n, c, *window] == x[n, c, *pixel]
    assert_array_equal(xp.to_host(index), expected)


def test_a_window_in_the_padding_has_the_index_0() -> None:
    """The kernels agree on what no pooling function lets happen."""
    xp = backends.get(None)
    with xp.active:
        values, index = xp.max_pool(xp.ones((1, 1, 1), "float32"), (2,), (1,), (2,), (1,))
    assert xp.to_host(values).tolist() == [[[-np.inf, 1, 1, -np.inf]]]
    assert xp.to_host(index).tolist() == [[[0, 1, 0, 0]]]


def test_the_gradient_of_minus_infinity_is_not_lost() -> None:
    x = tg.full((1, 1, 2, 2), -np.inf, requires_grad=True)
    tg.max_pool2d(x, 2, stride=1, padding=1).sum().backward()
    assert x.grad is not None
    assert x.grad.sum().item() == 9


# ----- one image ----------------------------------------------------------------------------------


def one_image_calls() -> dict[str, tuple[Callable[..., Any], tuple[int, ...]]]:
    calls: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {}
    for n in DIMENSIONS:
        w = whole(2, 2, *(2,) * n)
        conv, transpose = named(convs, "conv", n), named(convs, "conv_transpose", n)
        largest, mean = named(pools, "max_pool", n), named(pools, "avg_pool", n)
        to_mean, to_max = named(pools, "adaptive_avg_pool", n), named(pools, "adaptive_max_pool", n)
        power, back = named(pools, "lp_pool", n), named(pools, "max_unpool", n)
        shape = (2, *(4,) * n)
        calls |= {
            f"conv{n}d": (lambda x, f=conv, w=w: f(x, tg.tensor(w), padding="same"), shape),
            f"conv_transpose{n}d": (
                lambda x, f=transpose, w=w: f(x, tg.tensor(w), stride=2),
                shape,
            ),
            f"max_pool{n}d": (lambda x, f=largest: f(x, 2, return_indices=True), shape),
            f"avg_pool{n}d": (lambda x, f=mean: f(x, 2, ceil_mode=True), shape),
            f"lp_pool{n}d": (lambda x, f=power: f(x, 2, 2), shape),
            f"adaptive_avg_pool{n}d": (lambda x, f=to_mean: f(x, 3), shape),
            f"adaptive_max_pool{n}d": (lambda x, f=to_max: f(x, 3, True), shape),
            f"max_unpool{n}d": (
                lambda x, f=largest, g=back: g(*f(x, 2, None, 0, 1, 0, 1), 2),
                shape,
            ),
        }
    return calls | {
        "unfold": (lambda x: convs.unfold(x, 2), (2, 5, 5)),
        "fold": (lambda x: convs.fold(x, (3, 3), 2), (8, 4)),
        "locally_connected2d": (
            lambda x: convs.locally_connected2d(x, tg.tensor(whole(4, 4, 3, 2, 2, 2))),
            (2, 5, 5),
        ),
    }


ONE_IMAGE = one_image_calls()


@pytest.mark.parametrize("name", ONE_IMAGE)
def test_one_image_is_a_batch_of_one(name: str) -> None:
    function, shape = ONE_IMAGE[name]
    x = whole(*shape)
    alone, batch = function(tg.tensor(x)), function(tg.tensor(x[None]))
    assert isinstance(alone, tuple) == isinstance(batch, tuple)
    for one, several in zip(several_of(alone), several_of(batch), strict=True):
        assert_array_equal(one.numpy(), several.numpy()[0])


def several_of(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


# ----- errors -------------------------------------------------------------------------------------


def ones(*shape: int) -> tg.Tensor:
    return tg.ones(*shape)


ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], tuple[str, ...]]] = {
    "conv1d: room": (
        lambda: convs.conv1d(ones(1, 2, 3), ones(1, 2, 5)),
        ValueError,
        ("conv1d", "(1, 2, 3)", "kernel 5", "(3 + 2·0 - 1·(5 - 1) - 1) / 1) + 1 = -1"),
    ),
    "conv1d: an image": (
        lambda: convs.conv1d(ones(1, 2, 3, 3), ones(1, 2, 3)),
        ValueError,
        ("conv1d", "(N, C, L)", "(1, 2, 3, 3)"),
    ),
    "conv2d: a kernel with one axis, same": (
        lambda: convs.conv2d(ones(1, 2, 3, 3), ones(1, 2, 3), padding="same"),
        ValueError,
        ("conv2d", "(O, C/groups, kh, kw)", "(1, 2, 3)"),
    ),
    "conv3d: two strides": (
        lambda: convs.conv3d(ones(1, 2, 3, 3, 3), ones(1, 2, 3, 3, 3), stride=(1, 2)),
        ValueError,
        ("stride", "3 of them", "(1, 2)"),
    ),
    "conv2d: same with a stride": (
        lambda: convs.conv2d(ones(1, 2, 3, 3), ones(1, 2, 3, 3), stride=2, padding="same"),
        ValueError,
        ("'same'", "(2, 2)", "number"),
    ),
    "conv2d: full": (
        lambda: convs.conv2d(ones(1, 2, 3, 3), ones(1, 2, 3, 3), padding="full"),
        ValueError,
        ("'same'", "'valid'", "'full'"),
    ),
    "conv_transpose3d: nothing left": (
        lambda: convs.conv_transpose3d(ones(1, 1, 1, 1, 1), ones(1, 1, 2, 2, 2), padding=1),
        ValueError,
        ("(0, 0, 0)", "padding (1, 1, 1)", "less padding"),
    ),
    "conv_transpose1d: channels": (
        lambda: convs.conv_transpose1d(ones(1, 2, 3), ones(3, 1, 1)),
        ValueError,
        ("conv_transpose1d", "(N, C, L)", "(1, 2, 3)", "(3, 1, 1)"),
    ),
    "conv_output_size": (
        lambda: tg.conv_output_size(4, 7, padding=1),
        ValueError,
        ("kernel 7", "(4 + 2·1 - 1·(7 - 1) - 1) / 1) + 1 = 0", "smaller kernel"),
    ),
    "unfold: room": (
        lambda: convs.unfold(ones(1, 2, 3, 3), 4),
        ValueError,
        ("unfold", "(1, 2, 3, 3)", "kernel 4"),
    ),
    "unfold: axes": (lambda: convs.unfold(ones(3, 3), 2), ValueError, ("(N, C, H, W)", "(3, 3)")),
    "fold: columns": (
        lambda: convs.fold(ones(1, 8, 3), (3, 3), 2),
        ValueError,
        ("(N, C·4, 4)", "(1, 8, 3)", "2 · 2 = 4 windows"),
    ),
    "fold: taps": (
        lambda: convs.fold(ones(1, 6, 4), (3, 3), 2),
        ValueError,
        ("(1, 6, 4)", "4 taps"),
    ),
    "fold: room": (lambda: convs.fold(ones(1, 4, 1), (1, 1), 2), ValueError, ("fold", "kernel 2")),
    "locally_connected2d: windows": (
        lambda: convs.locally_connected2d(ones(1, 1, 3, 3), ones(3, 3, 1, 1, 2, 2)),
        ValueError,
        ("2 · 2 windows", "3 · 3"),
    ),
    "locally_connected2d: channels": (
        lambda: convs.locally_connected2d(ones(1, 2, 3, 3), ones(2, 2, 1, 1, 2, 2)),
        ValueError,
        ("(H', W', O, C, kh, kw)", "(1, 2, 3, 3)"),
    ),
    "locally_connected2d: bias": (
        lambda: convs.locally_connected2d(ones(1, 1, 3, 3), ones(2, 2, 5, 1, 2, 2), ones(5)),
        ValueError,
        ("(5, 2, 2)", "(5,)"),
    ),
    "max_pool1d: room": (
        lambda: pools.max_pool1d(ones(1, 1, 2), 5, 1, ceil_mode=True),
        ValueError,
        ("max_pool1d", "(1, 1, 2)", "kernel 5"),
    ),
    "max_pool3d: axes": (
        lambda: pools.max_pool3d(ones(1, 1), 2),
        ValueError,
        ("(N, C, D, H, W)", "(1, 1)"),
    ),
    "avg_pool2d: bytes": (
        lambda: pools.avg_pool2d(tg.zeros(1, 1, 2, 2, dtype=tg.uint8), 2),
        TypeError,
        ("avg_pool2d", "uint8", "float"),
    ),
    "avg_pool2d: nothing to divide by": (
        lambda: pools.avg_pool2d(ones(1, 1, 2, 2), 2, divisor_override=0),
        ValueError,
        ("divisor_override", "0"),
    ),
    "avg_pool2d: half a divisor": (
        lambda: pools.avg_pool2d(ones(1, 1, 2, 2), 2, divisor_override=1.5),
        TypeError,
        ("divisor_override", "whole", "1.5"),
    ),
    "lp_pool2d: no norm": (
        lambda: pools.lp_pool2d(ones(1, 1, 2, 2), 0, 2),
        ValueError,
        ("lp_pool2d", "norm_type", "above 0", "got 0"),
    ),
    "adaptive_avg_pool2d: size": (
        lambda: pools.adaptive_avg_pool2d(ones(1, 1, 2, 2), (2, 0)),
        ValueError,
        ("output_size", "(2, 0)", "None"),
    ),
    "adaptive_max_pool2d: number of sizes": (
        lambda: pools.adaptive_max_pool2d(ones(1, 1, 2, 2), (2, 2, 2)),
        ValueError,
        ("2 of them", "(2, 2, 2)"),
    ),
    "adaptive_avg_pool1d: nothing": (
        lambda: pools.adaptive_avg_pool1d(ones(1, 1, 0), 1),
        ValueError,
        ("(1, 1, 0)", "no pixels"),
    ),
    "max_unpool2d: indices of another shape": (
        lambda: pools.max_unpool2d(ones(1, 1, 2, 2), tg.zeros(1, 1, 2, dtype="int64"), 2),
        ValueError,
        ("(1, 1, 2, 2)", "(1, 1, 2)", "return_indices=True"),
    ),
    "max_unpool2d: indices that are no numbers of places": (
        lambda: pools.max_unpool2d(ones(1, 1, 2, 2), ones(1, 1, 2, 2), 2),
        ValueError,
        ("float32", "return_indices=True"),
    ),
    "max_unpool2d: output_size": (
        lambda: pools.max_unpool2d(
            ones(1, 1, 2, 2), tg.zeros(1, 1, 2, 2, dtype="int64"), 2, output_size=(6, 4)
        ),
        ValueError,
        ("(6, 4)", "(4, 4)", "less than a stride"),
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_was_given_and_what_to_do(name: str) -> None:
    call, kind, words = ERRORS[name]
    with pytest.raises(kind) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.host  # a GPU does not look at indices
def test_the_indices_of_a_longer_sequence_name_places_that_are_not_there() -> None:
    x, indices = ones(1, 1, 1), tg.tensor([[[2]]], dtype="int64")
    with pytest.raises(IndexError, match=r"max_unpool1d: .* size \(2,\) .*output_size"):
        pools.max_unpool1d(x, indices, 2)


@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 1),
    st.integers(0, 2**32 - 1),
)
def test_the_maximum_of_truth_values_is_whether_any_is_true(
    kernel: int, stride: int, padding: int, seed: int
) -> None:
    """The places as those of numbers: the first that is true, or else the first."""
    x = tg.tensor(np.random.default_rng(seed).random((2, 1, 5, 6)) > 0.8)
    padding = min(padding, kernel // 2)
    found, places = tg.max_pool2d(x, kernel, stride, padding, return_indices=True)
    numbers, expected = tg.max_pool2d(x.float(), kernel, stride, padding, return_indices=True)
    assert (found.dtype, found.tolist()) == ("bool", (numbers == 1).tolist())
    assert places.tolist() == expected.tolist()
    assert tg.adaptive_max_pool2d(x, 1).tolist() == (x.sum(dim=(2, 3), keepdim=True) > 0).tolist()
