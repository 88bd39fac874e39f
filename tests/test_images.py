"""Images in another geometry: resized, sampled on a grid, with pixels moved into channels."""

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

import tinygrad_cv as tg
from rows.image import cubic, resample, shares
from rows.shape import with_empty
from tinygrad_cv.ops import image
from tinygrad_cv.testing import Case, check_op
from tinygrad_cv.testing.strategies import arrays

Array = NDArray[Any]

# ----- resizing -----------------------------------------------------------------------------------

MODES = {
    1: ("nearest", "nearest-exact", "area", "linear"),
    2: ("nearest", "nearest-exact", "area", "bilinear", "bicubic"),
    3: ("nearest", "nearest-exact", "area", "trilinear"),
}
SIDES = st.integers(1, 4)


@st.composite
def images(draw: Any, axes: tuple[int, ...] = (1, 2, 3)) -> Array:
    sides = [draw(SIDES) for _ in range(draw(st.sampled_from(axes)))]
    return np.asarray(draw(arrays((draw(st.integers(1, 2)), draw(st.integers(1, 2)), *sides))))


@st.composite
def resizings(draw: Any) -> Case:
    """Sizes or factors, one for all axes or one each."""
    x = draw(images())
    count = x.ndim - 2
    options: dict[str, Any] = {"mode": draw(st.sampled_from(MODES[count]))}
    kind = draw(st.sampled_from(("size", "sizes", "factor", "factors")))
    if kind == "size":
        options["size"] = draw(SIDES)
    elif kind == "sizes":
        options["size"] = tuple(draw(SIDES) for _ in range(count))
    elif kind == "factor":
        options["scale_factor"] = draw(st.sampled_from((1, 1.1, 1.5, 2.05, 2.6)))
    else:
        factors = (st.sampled_from((1, 1.1, 1.5, 2.05, 2.6, 1 / n)) for n in x.shape[2:])
        options["scale_factor"] = tuple(map(draw, factors))
    if "scale_factor" in options:
        options["recompute_scale_factor"] = draw(st.sampled_from((None, False, True)))
    if options["mode"].endswith(("linear", "cubic")):
        options["align_corners"] = draw(st.sampled_from((None, False, True)))
    if options["mode"] in ("bilinear", "bicubic"):
        options["antialias"] = draw(st.booleans())
    return Case((x,), options)


WRITTEN = {f: Fraction(str(f)) for f in (1.1, 1.5, 2.05, 2.6, 0.1, 0.29, 0.7)}
WRITTEN |= {1 / n: Fraction(1, n) for n in range(1, 60)}
"""What the factors of these tests are meant to be."""


def interpolate(
    x: Array,
    mode: str,
    size: Any = None,
    scale_factor: Any = None,
    align_corners: Any = None,
    recompute_scale_factor: Any = None,
    antialias: bool = False,
) -> Array:
    """Axis after axis, pixel by pixel."""
    for axis in range(2, x.ndim):
        n = x.shape[axis]
        wanted = size[axis - 2] if isinstance(size, tuple) else size
        factor = scale_factor[axis - 2] if isinstance(scale_factor, tuple) else scale_factor
        written = None if factor is None else WRITTEN.get(factor, Fraction(factor))
        m = wanted or math.floor(n * written)
        # A factor near 1 (or 2) is taken for that.
        rounded = (mode.endswith("linear") and m == n) or (
            mode == "nearest" and x.ndim == 4 and m in (n, 2 * n)
        )
        if align_corners:
            step = Fraction(n - 1, m - 1) if m > 1 else Fraction(0)
        elif factor is None or recompute_scale_factor or rounded:
            step = Fraction(n, m)
        else:
            step = 1 / written
        method = {"bilinear": "linear", "trilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
        how = {"aligned": bool(align_corners), "antialias": antialias}
        x = resample(x, axis, m, step=step.as_integer_ratio(), mode=method, **how)
    return x


def test_interpolate() -> None:
    check_op(image.interpolate, resizings(), interpolate)


@given(resizings(), st.floats(-5, 5))
def test_an_image_of_one_colour_keeps_it(case: Case, colour: float) -> None:
    x = tg.Tensor(np.full_like(case.inputs[0], colour))
    y = image.interpolate(x, **case.attributes)
    assert_allclose(y.numpy(), np.full(y.shape, colour), rtol=1e-12, atol=1e-12)


@given(images())
def test_the_size_that_an_image_has_changes_nothing(x: Array) -> None:
    for mode in MODES[x.ndim - 2]:
        y = image.interpolate(tg.Tensor(x), x.shape[2:], mode=mode)
        assert_allclose(y.numpy(), x, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("mode", ["linear", "bilinear", "trilinear", "nearest"])
def test_a_factor_near_1_leaves_a_short_image_as_it_is(mode: str) -> None:
    """As in PyTorch: also near 2 with "nearest" on two axes, but there alone."""
    x = np.arange(4.0)
    shape = (1, 1) + (4,) * {"linear": 1, "bilinear": 2, "nearest": 2, "trilinear": 3}[mode]
    image_of_x = tg.Tensor(np.broadcast_to(x, shape))
    y = image.interpolate(image_of_x, scale_factor=1.1, mode=mode)
    assert_allclose(y.numpy(), image_of_x.numpy())
    y = image.interpolate(image_of_x, scale_factor=2.05, mode=mode)
    if mode == "nearest":
        assert_array_equal(y.numpy()[0, 0, 0], x.repeat(2))
    else:
        line = np.interp((np.arange(8) + 0.5) / 2.05 - 0.5, x, x)
        assert_allclose(y.numpy()[(0,) * (y.ndim - 1)], line)
    for lengths in ((4,), (4, 4, 4)):
        y = image.interpolate(tg.Tensor(np.broadcast_to(x, (1, 1, *lengths))), scale_factor=1.1)
        assert_array_equal(y.numpy()[(0,) * (y.ndim - 1)], [0, 0, 1, 2])


@given(images((2,)), st.integers(1, 3), st.integers(1, 3))
def test_whole_factors_are_blocks(x: Array, rows: int, columns: int) -> None:
    """Larger: each pixel repeated. Smaller: the mean of a block, or its first pixel."""
    large = x.repeat(rows, 2).repeat(columns, 3)
    for mode in ("nearest", "nearest-exact", "area"):
        y = image.interpolate(tg.Tensor(x), scale_factor=(rows, columns), mode=mode)
        assert_allclose(y.numpy(), large, rtol=1e-13)
    wide = np.random.default_rng(0).normal(size=large.shape)
    blocks = wide.reshape(*x.shape[:3], rows, x.shape[3], columns)
    y = image.interpolate(tg.Tensor(wide), x.shape[2:], mode="area")
    assert_allclose(y.numpy(), blocks.mean((3, 5)), rtol=1e-12, atol=1e-14)
    y = image.interpolate(tg.Tensor(wide), x.shape[2:])
    assert_array_equal(y.numpy(), blocks[:, :, :, 0, :, 0])


@given(images(), st.integers(2, 6))
def test_aligned_corners_stay(x: Array, size: int) -> None:
    mode = MODES[x.ndim - 2][3]
    y = image.interpolate(tg.Tensor(x), size, mode=mode, align_corners=True).numpy()
    corners = (..., *np.ix_(*[(0, -1)] * (x.ndim - 2)))
    assert_allclose(y[corners], x[corners], rtol=1e-13)


def test_nearest_takes_any_dtype_and_keeps_a_nan_where_it_is() -> None:
    for dtype in ("uint8", "int64", "bool", "float16", "float32"):
        x = np.array([[[1, 0, 1]]], dtype)
        for mode in ("nearest", "nearest-exact"):
            y = image.interpolate(tg.Tensor(x), 6, mode=mode)
            assert y.dtype == dtype
            assert_array_equal(y.numpy(), x.repeat(2, 2))
    y = image.interpolate(tg.tensor([[[1.0, np.nan, np.inf]]]), 6)
    assert_array_equal(y.numpy(), [[[1, 1, np.nan, np.nan, np.inf, np.inf]]])


METHODS = ("nearest", "nearest-exact", "area", "linear")


def smooth(axes: int, mode: str) -> dict[str, Any]:
    """The mode "linear" or "cubic" for this many axes; another one as it is."""
    names = {"linear": (None, "linear", "bilinear", "trilinear")[axes], "cubic": "bicubic"}
    return {"mode": names.get(mode, mode)}


@pytest.mark.parametrize("mode", [*METHODS, "cubic"])
@given(
    n=st.integers(1, 200),
    m=st.integers(1, 200),
    factor=st.none() | st.sampled_from(sorted(WRITTEN)),
    recompute=st.booleans(),
    align=st.booleans(),
    antialias=st.booleans(),
)
def test_weights_are_exact(
    mode: str, n: int, m: int, factor: Any, recompute: bool, align: bool, antialias: bool
) -> None:
    """Every output of a line against whole fractions: no position is on the wrong side of a pixel,
    and no pixel without weight has a part in it."""
    axes = 2 if mode == "cubic" or antialias else 1
    options: dict[str, Any] = smooth(axes, mode)
    written = None if factor is None else WRITTEN[factor]
    if mode in ("linear", "cubic"):
        options |= {"align_corners": align, **({"antialias": antialias} if axes == 2 else {})}
    if written is None:
        options["size"] = (1, m)[2 - axes :]
    else:
        m = math.floor(n * written)
        if not m:
            return
        options |= {"scale_factor": (1, factor)[2 - axes :], "recompute_scale_factor": recompute}
    rounded = (mode == "linear" and m == n) or ((mode, axes) == ("nearest", 2) and m in (n, 2 * n))
    if options.get("align_corners"):
        step = Fraction(n - 1, m - 1) if m > 1 else Fraction(0)
    else:
        step = Fraction(n, m) if written is None or recompute or rounded else 1 / written
    how = {"aligned": bool(options.get("align_corners")), "antialias": axes == 2 and antialias}
    how["antialias"] &= mode in ("linear", "cubic")
    lines = np.eye(n)[:, None] if axes == 1 else np.eye(n)[:, None, None]
    y = image.interpolate(tg.Tensor(lines), **options).numpy().reshape(n, m)
    x = tg.tensor(np.where(np.eye(n), np.inf, 1.0).reshape(lines.shape))
    touched = ~np.isfinite(image.interpolate(x, **options).numpy().reshape(n, m))
    for i in range(m):
        wanted = shares(n, i, m, step, mode, **how)
        assert {*np.flatnonzero(y[:, i])} == {*np.flatnonzero(touched[:, i])} == {*wanted}
        for j, weight in wanted.items():
            # Keys' polynomials have terms up to 6, the tent up to 1.
            assert abs(y[j, i] - weight) < (4e-15 if mode == "cubic" else 4e-16), (i, j)


@given(images(), st.data())
def test_an_infinity_reaches_only_the_outputs_that_weigh_it(x: Array, data: st.DataObject) -> None:
    """Both ways: in an image, and in the gradient of one."""
    mode = data.draw(st.sampled_from(MODES[x.ndim - 2]))
    options = {"mode": mode, "size": tuple(data.draw(st.integers(1, 6)) for _ in x.shape[2:])}
    place = tuple(data.draw(st.integers(0, n - 1)) for n in x.shape)
    ordinary, extreme, one = np.ones(x.shape), np.ones(x.shape), np.zeros(x.shape)
    extreme[place], one[place] = np.inf, 1
    y = image.interpolate(tg.Tensor(extreme), **options).numpy()
    weight = interpolate(one, **options)
    assert_array_equal(np.isfinite(y), weight == 0)
    assert_allclose(y[weight == 0], interpolate(ordinary, **options)[weight == 0], rtol=1e-12)
    # The adjoint: an infinite gradient of one output goes to the pixels that it weighs.
    where = tuple(data.draw(st.integers(0, n - 1)) for n in y.shape)
    g = np.ones(y.shape)
    g[where] = np.inf
    leaf = tg.tensor(x, requires_grad=True)
    (back,) = tg.grad(image.interpolate(leaf, **options), leaf, tg.Tensor(g))
    for pixel in np.ndindex(*x.shape):
        one = np.zeros(x.shape)
        one[pixel] = 1
        assert np.isfinite(back.numpy()[pixel]) == (interpolate(one, **options)[where] == 0)


def test_a_position_is_not_rounded_off_a_pixel() -> None:
    assert image.interpolate(tg.tensor([[[0.0, 1.0]]]), size=82)[0, 0, 41].item() == 1
    x = tg.arange(10.0).reshape(1, 1, 10)
    assert image.interpolate(x, scale_factor=0.7).shape[2] == 7
    assert_array_equal(
        image.interpolate(tg.arange(30.0).reshape(1, 1, 30), scale_factor=0.1).numpy(),
        [[[0, 10, 20]]],
    )


# ----- grids --------------------------------------------------------------------------------------

PADDINGS = ("zeros", "border", "reflection")


@st.composite
def samplings(draw: Any, mode: str, spatial: int) -> Case:
    """A few small images and a grid.

    Its places are on and around the image, a tenth of a pixel or more away from the centres and
    the edges of pixels, where a sample has a kink or a jump.
    """
    batch = draw(st.sampled_from(((1, 1), (2, 1), (1, 2))))
    x = draw(arrays((*batch, *(draw(st.integers(1, 5 - spatial)) for _ in range(spatial)))))
    lengths = x.shape[:1:-1]  # the first coordinate of a place belongs to the last axis
    align = draw(st.booleans())
    shape = (len(x), *(1 for _ in lengths[1:]), draw(st.integers(1, 2)), len(lengths))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = np.array(lengths)
    cells = rng.integers(-2 * n - 2, 3 * n + 2, shape) / 2
    positions = cells + rng.uniform(0.1, 0.4, shape)
    grid = 2 * positions / np.maximum(n - 1, 1) - 1 if align else (2 * positions + 1) / n - 1
    options = {"mode": mode, "padding_mode": draw(st.sampled_from(PADDINGS))}
    return Case((x, grid), {**options, "align_corners": align})


def grid_sample(x: Array, grid: Array, mode: str, padding_mode: str, align_corners: bool) -> Array:
    """Place by place, from pixels that are looked up one by one."""
    y = np.zeros((*x.shape[:2], *grid.shape[1:-1]))
    for n, *place in np.ndindex(*grid.shape[:-1]):
        per_axis = [
            looked_up(c, length, mode, padding_mode, align_corners)
            for c, length in zip(grid[n, *place][::-1], x.shape[2:], strict=True)
        ]
        for corner in itertools.product(*per_axis):
            pixel = [k for k, _ in corner]
            if all(0 <= k < length for k, length in zip(pixel, x.shape[2:], strict=True)):
                y[n, :, *place] += math.prod(w for _, w in corner) * x[n, :, *pixel]
    return y


def looked_up(c: float, length: int, mode: str, padding: str, align: bool) -> list[Any]:
    """The pixels along an axis that a coordinate sees, with their weights."""
    p = (c + 1) / 2 * (length - 1) if align else ((c + 1) * length - 1) / 2
    if mode == "bicubic":
        taps = range(math.floor(p) - 1, math.floor(p) + 3)
        weights = [float(cubic(Fraction(p - k), Fraction(-3, 4))) for k in taps]
        return [(bounced(k, length, padding, align), w) for k, w in zip(taps, weights, strict=True)]
    if padding == "reflection":
        low, high = (0, length - 1) if align else (-0.5, length - 0.5)
        while high > low and not low <= p <= high:  # a mirror at each end
            p = 2 * low - p if p < low else 2 * high - p
    if padding != "zeros":
        p = min(max(p, 0), length - 1)
    if mode == "nearest":
        return [(round(p), 1.0)]
    below = math.floor(p)
    return [(below, 1 - (p - below)), (below + 1, p - below)]


def bounced(k: int, length: int, padding: str, align: bool) -> int:
    """The pixel that a whole place stands for."""
    if padding == "zeros":
        return k
    while padding == "reflection" and length > 1 and not 0 <= k < length:
        low, high = (0, length - 1) if align else (-0.5, length - 0.5)
        k = round(2 * (low if k < 0 else high) - k)
    return min(max(k, 0), length - 1)


ON_A_PIXEL = Case(
    (np.array([[[[1.0, 3.0, 4.0]]]]), np.array([[[[0.0, 0.0]]]])), {"align_corners": True}
)
"""In the middle of a pixel, whose neighbours on the two sides differ by 2 and by 1."""

AT_THE_BORDER = Case(
    (np.array([[[[1.0, 3.0]]]]), np.array([[[[1.0, 0.0]]]])),
    {"align_corners": True, "padding_mode": "border"},
)

IN_THE_MIRROR = Case(
    (np.array([[[[1.0, 3.0, 4.0]]]]), np.array([[[[1.0, 0.0]]]])),
    {"align_corners": True, "padding_mode": "reflection"},
)


def some() -> int:
    """A third of the usual number of examples: the gradient of each is 130 samplings or more."""
    return settings.default.max_examples // 3  # type: ignore[union-attr]


def test_grid_sample() -> None:
    kinks = (ON_A_PIXEL, AT_THE_BORDER, IN_THE_MIRROR)
    check_op(image.grid_sample, samplings("bilinear", 2), grid_sample, kinks=kinks, examples=some())


def test_grid_sample_by_cubics() -> None:
    check_op(image.grid_sample, samplings("bicubic", 2), grid_sample, order=1, examples=some())


@given(
    st.sampled_from([("bilinear", 2), ("nearest", 2), ("bicubic", 2), ("bilinear", 3)]).flatmap(
        lambda kind: samplings(*kind)
    ),
    st.data(),
)
def test_an_infinite_pixel_is_seen_only_by_the_samples_that_weigh_it(
    case: Case, data: st.DataObject
) -> None:
    """In the image, and in its gradient."""
    # At an edge and in a mirror cubics weigh a pixel twice, by weights of two signs: inf - inf.
    assume(case.attributes["mode"] != "bicubic" or case.attributes["padding_mode"] == "zeros")
    x, grid = case.inputs
    place = tuple(data.draw(st.integers(0, n - 1)) for n in x.shape)
    one, extreme = np.zeros_like(x), np.ones_like(x)
    one[place], extreme[place] = 1, np.inf
    leaf = tg.tensor(extreme, requires_grad=True)
    y = image.grid_sample(leaf, tg.tensor(grid), **case.attributes)
    seen = grid_sample(one, grid, **case.attributes)
    assert_array_equal(np.isfinite(y.detach().numpy()), seen == 0)
    where = tuple(data.draw(st.integers(0, n - 1)) for n in y.shape)
    g = np.ones(y.shape)
    g[where] = np.inf
    (back,) = tg.grad(y, leaf, tg.tensor(g))
    for pixel in np.ndindex(*x.shape):
        one = np.zeros_like(x)
        one[pixel] = 1
        weight = grid_sample(one, grid, **case.attributes)[where]
        assert np.isfinite(back.numpy()[pixel]) == (weight == 0)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_a_place_on_a_pixel_sees_no_neighbour(mode: str) -> None:
    x = tg.tensor([[[[np.inf, 1.0, np.inf], [np.nan, np.inf, np.nan]]]])
    middle = tg.tensor([[[[0.0, -1.0]]]], requires_grad=True)
    for padding in PADDINGS:
        y = image.grid_sample(x, middle, mode, padding, align_corners=True)
        assert y.item() == 1


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@given(data=st.data())
def test_samples_are_as_good_as_their_dtype(dtype: str, mode: str, data: Any) -> None:
    """A place in a large image, whose weights single precision would spoil."""
    n = data.draw(st.integers(2, 3000))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    x = rng.normal(size=(1, 1, 1, n)).astype(dtype)
    grid = np.stack([rng.uniform(-1, 1, (1, 1, 5)), np.zeros((1, 1, 5))], -1).astype(dtype)
    options = {"padding_mode": "border", "align_corners": data.draw(st.booleans())}
    y = image.grid_sample(tg.Tensor(x), tg.Tensor(grid), mode, **options)
    wanted = grid_sample(x.astype(float), grid.astype(float), mode, **options)
    assert y.dtype == dtype
    assert_allclose(
        y.numpy(), wanted, rtol=0, atol=2 * float(np.finfo(dtype).eps) * np.abs(x).max()
    )


def test_grid_sample_of_volumes() -> None:
    check_op(image.grid_sample, samplings("bilinear", 3), grid_sample, order=1, examples=some())


@pytest.mark.parametrize("spatial", [2, 3])
def test_grid_sample_of_the_nearest_pixel(spatial: int) -> None:
    """The grid is no variable: the pixel that is taken does not move with it."""

    def sampled(x: Any, grid: Array, **options: Any) -> Any:
        return image.grid_sample(x, tg.Tensor(grid), **options)

    fixed = samplings("nearest", spatial).map(
        lambda case: Case(case.inputs[:1], {"grid": case.inputs[1], **case.attributes})
    )
    check_op(sampled, fixed, grid_sample, examples=some())
    x, grid = tg.ones(1, 1, 2, 2), tg.zeros(1, 1, 1, 2, requires_grad=True)
    assert not image.grid_sample(x, grid, "nearest").requires_grad


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@given(x=images((2, 3)))
def test_the_identity_gives_the_image(x: Array, mode: str, align_corners: bool) -> None:
    spatial = x.ndim - 2
    theta = tg.Tensor(np.stack([np.eye(spatial, spatial + 1)] * len(x)))
    grid = image.affine_grid(theta, x.shape, align_corners)
    for padding in PADDINGS:
        y = image.grid_sample(tg.Tensor(x), grid, mode, padding, align_corners)
        assert_allclose(y.numpy(), x, rtol=1e-12, atol=1e-12)


def test_places_outside_of_an_image() -> None:
    x = tg.tensor([[[[1.0, 2.0, 3.0]]]])
    places = [-3.0, -5 / 3, -1 / 3, 7 / 3, 1e30, np.inf, -np.inf, np.nan]
    grid = tg.tensor([[[[place, 0.0] for place in places]]])
    for mode in ("bilinear", "nearest"):
        y = image.grid_sample(x, grid, mode).flatten().tolist()
        assert y[:2] == [0, 0]
        assert y[3:7] == [0, 0, 0, 0]
        assert np.isnan(y[7])
    border = image.grid_sample(x, grid, padding_mode="border").flatten().tolist()
    assert border[:7] == [1, 1, 1.5, 3, 3, 3, 1]
    mirrored = image.grid_sample(x, grid[:, :, :4], padding_mode="reflection").flatten()
    assert_allclose(mirrored.numpy(), [3, 1.5, 1.5, 1.5], rtol=1e-6)


@st.composite
def transformations(draw: Any) -> Case:
    spatial = draw(st.sampled_from((2, 3)))
    theta = draw(arrays((draw(st.integers(1, 2)), spatial, spatial + 1)))
    size = (len(theta), 1, *(draw(SIDES) for _ in range(spatial)))
    return Case((theta,), {"size": size, "align_corners": draw(st.booleans())})


def affine_grid(theta: Array, size: tuple[int, ...], align_corners: bool) -> Array:
    lengths = size[2:]
    grid = np.empty((size[0], *lengths, len(lengths)))
    for n, *place in np.ndindex(size[0], *lengths):
        point = []
        for i, length in zip(place[::-1], lengths[::-1], strict=True):
            ends = (-1, 1) if align_corners else (-1 + 1 / length, 1 - 1 / length)
            point.append(np.linspace(*ends, length)[i] if length > 1 else 0)
        grid[n, *place] = theta[n] @ [*point, 1]
    return grid


def test_affine_grid() -> None:
    check_op(image.affine_grid, transformations(), affine_grid)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@given(transformations(), st.integers(1, 3000))
def test_an_affine_grid_is_rounded_once(dtype: str, case: Case, length: int) -> None:
    theta = case.inputs[0].astype(dtype)
    size = (*case.attributes["size"][:-1], length)
    align = case.attributes["align_corners"]
    y = image.affine_grid(tg.Tensor(theta), size, align).numpy()
    wanted = affine_grid(theta.astype(float), size, align)
    assert y.dtype == dtype
    one = float(np.finfo(dtype).smallest_subnormal)
    assert_allclose(y, wanted, rtol=float(np.finfo(dtype).eps), atol=one + 1e-12)


# ----- pixels and channels ------------------------------------------------------------------------


@st.composite
def shuffles(draw: Any) -> Case:
    r = draw(st.integers(1, 3))
    *batch, channels, height, width = draw(with_empty(3, 4))
    return Case((draw(arrays((*batch, channels * r * r, height, width))),), {"upscale_factor": r})


def pixel_shuffle(x: Array, upscale_factor: int) -> Array:
    """Channel c·r² + i·r + j holds the pixels at row i and column j of the squares."""
    r = upscale_factor
    *batch, channels, height, width = x.shape
    y = np.empty((*batch, channels // r**2, height * r, width * r))
    for *b, c, h, w in np.ndindex(*y.shape):
        y[*b, c, h, w] = x[*b, c * r**2 + (h % r) * r + w % r, h // r, w // r]
    return y


def test_pixel_shuffle() -> None:
    check_op(image.pixel_shuffle, shuffles(), pixel_shuffle)


@given(shuffles())
def test_pixel_unshuffle_is_the_inverse(case: Case) -> None:
    x, r = tg.Tensor(case.inputs[0]), case.attributes["upscale_factor"]
    back = image.pixel_unshuffle(image.pixel_shuffle(x, r), r)
    assert back.shape == x.shape
    assert_array_equal(back.numpy(), x.numpy())


@st.composite
def decks(draw: Any) -> Case:
    groups = draw(st.integers(1, 3))
    batch, each, *sizes = draw(with_empty(3, 4))
    return Case((draw(arrays((batch, groups * each, *sizes))),), {"groups": groups})


def channel_shuffle(x: Array, groups: int) -> Array:
    each = x.shape[1] // groups
    return x[:, [g * each + k for k in range(each) for g in range(groups)]]


def test_channel_shuffle() -> None:
    check_op(image.channel_shuffle, decks(), channel_shuffle)


@st.composite
def turns(draw: Any) -> Case:
    x = draw(arrays(with_empty(2, 3)))
    axes = draw(st.permutations(range(x.ndim)))[:2]
    dims = tuple(axis - draw(st.sampled_from((0, x.ndim))) for axis in axes)
    return Case((x,), {"k": draw(st.integers(-5, 5)), "dims": dims})


def test_rot90() -> None:
    check_op(image.rot90, turns(), lambda x, k, dims: np.rot90(x, k, dims))


# ----- dtypes and errors --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_results_have_the_dtype_of_the_images(dtype: str) -> None:
    x = tg.ones(1, 4, 2, 2, dtype=dtype, requires_grad=True)
    theta = tg.ones(1, 2, 3, dtype=dtype, requires_grad=True)
    results = [
        *(image.interpolate(x, 3, mode=mode) for mode in MODES[2]),
        image.pixel_shuffle(x, 2),
        image.pixel_unshuffle(x, 2),
        image.channel_shuffle(x, 2),
        image.rot90(x),
        image.affine_grid(theta, (1, 1, 2, 2)),
        *(
            image.grid_sample(x, image.affine_grid(theta, (1, 1, 2, 2)), padding_mode=padding)
            for padding in PADDINGS
        ),
    ]
    for y in results:
        assert y.dtype == dtype
        y.sum().backward()
    assert x.grad is not None
    assert theta.grad is not None
    assert x.grad.dtype == theta.grad.dtype == dtype


def resize(*shape: int, **options: Any) -> Callable[[], Any]:
    return lambda: image.interpolate(tg.ones(*shape), **options)


X, GRID = tg.ones(2, 3, 4, 5), tg.zeros(2, 1, 1, 2)

ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], tuple[str, ...]]] = {
    "interpolate: the mode": (
        resize(1, 1, 4, size=2, mode="cubic"),
        ValueError,
        ("'cubic'", "nearest", "bicubic"),
    ),
    "interpolate: axes": (
        resize(1, 1, 4, size=2, mode="bilinear"),
        ValueError,
        ("'bilinear'", "2 spatial axes", "(1, 1, 4)"),
    ),
    "interpolate: no spatial axis": (
        resize(4, 4, size=2),
        ValueError,
        ("1 or 2 or 3 spatial axes", "(4, 4)"),
    ),
    "interpolate: no pixels": (resize(1, 1, 0, size=2), ValueError, ("no pixels", "(1, 1, 0)")),
    "interpolate: integers": (
        lambda: image.interpolate(tg.tensor([[[1, 2]]]), 4, mode="linear"),
        TypeError,
        ("int64", ".float()"),
    ),
    "interpolate: align_corners": (
        resize(1, 1, 4, size=2, align_corners=False),
        ValueError,
        ("align_corners", "'nearest'"),
    ),
    "interpolate: neither": (resize(1, 1, 4), ValueError, ("size=None", "scale_factor=None")),
    "interpolate: both": (
        resize(1, 1, 4, size=2, scale_factor=2),
        ValueError,
        ("size=2", "scale_factor=2"),
    ),
    "interpolate: recompute_scale_factor": (
        resize(1, 1, 4, size=2, recompute_scale_factor=True),
        ValueError,
        ("recompute_scale_factor",),
    ),
    "interpolate: too many sizes": (
        resize(1, 1, 4, size=(2, 3)),
        ValueError,
        ("size=(2, 3)", "2 values", "1 spatial"),
    ),
    "interpolate: too many factors": (
        resize(1, 1, 4, scale_factor=(2, 3)),
        ValueError,
        ("scale_factor=(2, 3)", "2 values", "1 spatial"),
    ),
    "interpolate: nothing left": (
        resize(1, 1, 4, 4, scale_factor=0.2),
        ValueError,
        ("(4, 4)", "(0, 0)"),
    ),
    "grid_sample: axes": (
        lambda: image.grid_sample(tg.ones(2, 3, 4), GRID),
        ValueError,
        ("(N, C, H, W)", "(2, 3, 4)", "(2, 1, 1, 2)"),
    ),
    "grid_sample: coordinates": (
        lambda: image.grid_sample(X, tg.ones(2, 1, 1, 3)),
        ValueError,
        ("(N, H', W', 2)", "(2, 1, 1, 3)"),
    ),
    "grid_sample: how many grids": (
        lambda: image.grid_sample(X, tg.ones(1, 1, 1, 2)),
        ValueError,
        ("1 grids", "2 images"),
    ),
    "grid_sample: no pixels": (
        lambda: image.grid_sample(tg.ones(2, 3, 0, 5), GRID),
        ValueError,
        ("no pixels", "(2, 3, 0, 5)"),
    ),
    "grid_sample: the mode": (
        lambda: image.grid_sample(X, GRID, "cubic"),
        ValueError,
        ("'bilinear'", "'bicubic'", "'cubic'"),
    ),
    "grid_sample: cubic volumes": (
        lambda: image.grid_sample(tg.ones(1, 1, 2, 2, 2), tg.ones(1, 1, 1, 1, 3), "bicubic"),
        ValueError,
        ("'bicubic'", "(N, C, H, W)", "(1, 1, 2, 2, 2)"),
    ),
    "grid_sample: the padding": (
        lambda: image.grid_sample(X, GRID, padding_mode="mirror"),
        ValueError,
        ("'reflection'", "'mirror'"),
    ),
    "affine_grid": (
        lambda: image.affine_grid(tg.ones(2, 2, 3), (1, 1, 4, 4)),
        ValueError,
        ("(2, 2, 3)", "(1, 1, 4, 4)"),
    ),
    "pixel_shuffle": (lambda: image.pixel_shuffle(X, 2), ValueError, ("r = 2", "(2, 3, 4, 5)")),
    "pixel_unshuffle": (
        lambda: image.pixel_unshuffle(X, 2),
        ValueError,
        ("r = 2", "(2, 3, 4, 5)"),
    ),
    "channel_shuffle": (
        lambda: image.channel_shuffle(X, 2),
        ValueError,
        ("groups=2", "(2, 3, 4, 5)"),
    ),
    "rot90: no such axis": (lambda: image.rot90(X, 1, (0, 4)), ValueError, ("(0, 4)",)),
    "rot90: one axis": (lambda: image.rot90(X, 1, (0, -4)), ValueError, ("(0, -4)", "twice")),
    "rot90: three axes": (lambda: image.rot90(X, 1, (0, 1, 2)), ValueError, ("(0, 1, 2)",)),
}


@pytest.mark.host
@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_was_given_and_what_was_expected(name: str) -> None:
    mistake, error, words = ERRORS[name]
    with pytest.raises(error) as caught:
        mistake()
    for word in words:
        assert word in str(caught.value)
