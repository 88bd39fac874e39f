"""Images cropped, padded, mirrored, resized and seen through another geometry.

Each function takes a Pillow image, an image (C, H, W) or a batch (N, C, H, W), as an array or a
Tensor, and gives back the same kind. Where it says "of an image", a batch may have one number for
all its images or an array of one for each. Places are counted in pixels, from the upper left
corner, x to the right and y down.
"""

import math
from collections.abc import Sequence
from typing import Any

from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import as_generator, host
from tinygrad_cv.data.transforms.conversion import per_channel
from tinygrad_cv.data.transforms.images import (
    PILLOW_NUMBERS,
    InterpolationMode,
    bound,
    interpolation_mode,
    is_pillow,
    on_pixels,
    opened,
    pair,
    sizes,
)
from tinygrad_cv.ops.image import grid_sample, interpolate

PADDINGS = ("constant", "edge", "reflect", "symmetric")
Places = tuple[host.ndarray, host.ndarray]
"""How far to the right and how far down each pixel of the output looks, (1 or N, H', W') each."""
TIE = 1e-9
"""By how much of a pixel a place may be rounded."""
RESIZABLE = ("nearest", "nearest-exact", "bilinear", "bicubic")


def get_dimensions(inpt: Any) -> list[int]:
    """Channels, height and width.

    >>> import tinygrad_cv as tg
    >>> get_dimensions(tg.zeros(3, 4, 5))
    [3, 4, 5]
    """
    return [*sizes(inpt, "get_dimensions")]


def get_size(inpt: Any) -> list[int]:
    """Height and width.

    >>> import tinygrad_cv as tg
    >>> get_size(tg.zeros(3, 4, 5))
    [4, 5]
    """
    return [*sizes(inpt, "get_size")[1:]]


def get_image_size(inpt: Any) -> list[int]:
    """Width and height, in this order.

    >>> import tinygrad_cv as tg
    >>> get_image_size(tg.zeros(3, 4, 5))
    [5, 4]
    """
    return [*sizes(inpt, "get_image_size")[:0:-1]]


def get_num_channels(inpt: Any) -> int:
    """The number of channels.

    >>> import tinygrad_cv as tg
    >>> get_num_channels(tg.zeros(3, 4, 5))
    3
    """
    return sizes(inpt, "get_num_channels")[0]


get_image_num_channels = get_num_channels


# ----- mirrored -----------------------------------------------------------------------------------


def horizontal_flip(inpt: Any) -> Any:
    """y[i, j] = x[i, W - 1 - j].

    >>> import tinygrad_cv as tg
    >>> horizontal_flip(tg.tensor([[[1, 2, 3]]]))
    tensor([[[3, 2, 1]]])
    """
    if is_pillow(inpt):
        return inpt.transpose(0)  # FLIP_LEFT_RIGHT
    x, back = opened(inpt, "horizontal_flip")
    return back(x[..., ::-1].copy())


def vertical_flip(inpt: Any) -> Any:
    """y[i, j] = x[H - 1 - i, j].

    >>> import tinygrad_cv as tg
    >>> vertical_flip(tg.tensor([[[1], [2]]]))
    tensor([[[2],
             [1]]])
    """
    if is_pillow(inpt):
        return inpt.transpose(1)  # FLIP_TOP_BOTTOM
    x, back = opened(inpt, "vertical_flip")
    return back(x[..., ::-1, :].copy())


hflip, vflip = horizontal_flip, vertical_flip


# ----- padded and cropped -------------------------------------------------------------------------


def margins(padding: Any) -> tuple[int, int, int, int]:
    """Left, top, right and bottom, from one number, (left and right, top and bottom), or all."""
    values = list(padding) if isinstance(padding, Sequence) else [padding]
    whole = all(isinstance(v, int | host.integer) and not isinstance(v, bool) for v in values)
    if not whole or len(values) not in (1, 2, 4) or min(values) < 0:
        raise ValueError(
            "padding is a whole number of pixels, 0 or more, or 2 (left and right, top and bottom) "
            f"or 4 (left, top, right, bottom) of such; got {padding!r}."
        )
    left, top, right, bottom = (values * (4 // len(values)))[:4]
    return left, top, right, bottom


def padding_kind(padding_mode: str) -> Any:
    """The mode of padding, checked."""
    if padding_mode not in PADDINGS:
        raise ValueError(f"padding_mode is one of {', '.join(PADDINGS)}; got {padding_mode!r}.")
    return padding_mode


def pad(inpt: Any, padding: Any, fill: Any = 0, padding_mode: str = "constant") -> Any:
    """(.., H, W) -> (.., H + top + bottom, W + left + right).

    `padding` is one number, (left and right, top and bottom), or (left, top, right, bottom). What
    moves in is `fill`, a number or one for each channel; or the pixel at the "edge"; or the image
    mirrored, without ("reflect") or with ("symmetric") the pixel at the edge.

    >>> import tinygrad_cv as tg
    >>> pad(tg.tensor([[[1, 2]]]), (1, 0))
    tensor([[[0, 1, 2, 0]]])
    """
    left, top, right, bottom = margins(padding)
    mode = padding_kind(padding_mode)
    if is_pillow(inpt):
        return on_pixels(lambda x: pad(x, padding, fill, padding_mode), inpt)
    x, back = opened(inpt, "pad")
    if mode == "reflect" and (max(left, right) >= x.shape[3] or max(top, bottom) >= x.shape[2]):
        raise ValueError(
            f"pad: padding {padding} by reflection is less than the image: {x.shape[2:]}."
        )
    width = ((0, 0), (0, 0), (top, bottom), (left, right))
    if mode != "constant":
        return back(host.pad(x, width, mode))
    count, channels, h, w = x.shape
    y = host.empty((count, channels, h + top + bottom, w + left + right), x.dtype)
    y[...] = in_dtype_of(per_channel(0 if fill is None else fill, x, "fill"), x)
    y[:, :, top : top + h, left : left + w] = x
    return back(y)


def crop(inpt: Any, top: Any, left: Any, height: int, width: int) -> Any:
    """The `height` rows from `top` on and the `width` columns from `left` on, zeros outside.

    `top` and `left` are numbers of an image: a batch may have one for each.

    >>> import tinygrad_cv as tg
    >>> crop(tg.arange(6).reshape(1, 2, 3), 1, 1, 1, 2)
    tensor([[[4, 5]]])
    """
    if is_pillow(inpt):
        return inpt.crop((left, top, left + width, top + height))
    x, back = opened(inpt, "crop")
    count, channels, h, w = x.shape
    tops, lefts = (host.broadcast_to(host.asarray(v), (count,)) for v in (top, left))
    if not count:
        return back(host.empty((0, channels, height, width), x.dtype))
    over = [tops.min(), h - height - tops.max(), lefts.min(), w - width - lefts.max()]
    if min(over) < 0:
        above, below, before, behind = (max(-int(n), 0) for n in over)
        x = pad(x, (before, above, behind, below))
        tops, lefts = tops + above, lefts + before
    y = host.empty((count, channels, height, width), x.dtype)
    for image, out, i, j in zip(x, y, tops.tolist(), lefts.tolist(), strict=True):
        out[...] = image[:, i : i + height, j : j + width]
    return back(y)


def center_crop(inpt: Any, output_size: Any) -> Any:
    """The middle of an image: (.., H, W) -> (.., *output_size), with zeros where it is smaller.

    >>> import tinygrad_cv as tg
    >>> center_crop(tg.arange(9).reshape(1, 3, 3), 1)
    tensor([[[4]]])
    """
    height, width = pair(output_size, "output_size")
    _, h, w = sizes(inpt, "center_crop")
    if h < height or w < width:
        more, wider = max(height - h, 0), max(width - w, 0)
        inpt = pad(inpt, (wider // 2, more // 2, (wider + 1) // 2, (more + 1) // 2))
        h, w = max(h, height), max(w, width)
    return crop(inpt, round((h - height) / 2), round((w - width) / 2), height, width)


def five_crop(inpt: Any, size: Any) -> tuple[Any, ...]:
    """Five parts of the size: upper left and right, lower left and right, and the middle.

    >>> import tinygrad_cv as tg
    >>> [part.item() for part in five_crop(tg.arange(9).reshape(1, 3, 3), 1)]
    [0, 2, 6, 8, 4]
    """
    height, width = pair(size, "size")
    _, h, w = sizes(inpt, "five_crop")
    if height > h or width > w:
        raise ValueError(f"five_crop: the size {(height, width)} is larger than the image {h, w}.")
    corners = [(i, j) for i in (0, h - height) for j in (0, w - width)]
    return (*(crop(inpt, i, j, height, width) for i, j in corners), center_crop(inpt, size))


def ten_crop(inpt: Any, size: Any, vertical_flip: bool = False) -> tuple[Any, ...]:
    """`five_crop` of the image and of its mirror image, left to right or top to bottom.

    >>> import tinygrad_cv as tg
    >>> [part.item() for part in ten_crop(tg.arange(9).reshape(1, 3, 3), 1)]
    [0, 2, 6, 8, 4, 2, 0, 8, 6, 4]
    """
    mirrored = vflip(inpt) if vertical_flip else hflip(inpt)
    return five_crop(inpt, size) + five_crop(mirrored, size)


# ----- resized ------------------------------------------------------------------------------------


def resized_to(h: int, w: int, size: Any, max_size: int | None = None) -> tuple[int, int]:
    """The height and width that `resize` gives an image."""
    if not h or not w:
        raise ValueError(f"resize: an image of {h} x {w} has no pixels.")
    if size is None:
        if not isinstance(max_size, int):
            raise ValueError("resize: give a size, or a max_size for the longer side.")
        longest = max(h, w)
        return _at_least_1(int(max_size * h / longest), int(max_size * w / longest))
    if isinstance(size, Sequence) and len(size) == 2:
        if max_size is not None:
            raise ValueError(
                f"resize: max_size={max_size} goes with one size, that of the shorter side; got "
                f"size={size}."
            )
        return pair(size, "size")
    short, _ = pair(size, "size")
    if max_size is not None and max_size <= short:
        raise ValueError(
            f"resize: max_size={max_size}, for the longer side, must be above the size {short} of "
            "the shorter one."
        )
    long = int(short * max(h, w) / min(h, w))
    if max_size is not None and long > max_size:
        short, long = int(max_size * short / long), max_size
    return _at_least_1(short, long) if h <= w else _at_least_1(long, short)


def _at_least_1(*lengths: int) -> tuple[int, int]:
    height, width = (max(length, 1) for length in lengths)
    return height, width


def resize(
    inpt: Any,
    size: Any,
    interpolation: Any = InterpolationMode.BILINEAR,
    max_size: int | None = None,
    antialias: bool | None = True,
) -> Any:
    """(.., H, W) -> (.., H', W').

    `size` is (H', W'), or one number for the shorter side; then the longer one keeps the ratio, and
    with `max_size` is at most that. None stands for what makes the longer side `max_size`.

    A Pillow image is resized by Pillow, which weighs all pixels that a new one covers. Arrays and
    Tensors go through `interpolate`, which does so with `antialias`; integers are rounded, and kept
    within their range. The modes "box", "hamming" and "lanczos" are Pillow's alone.

    >>> import tinygrad_cv as tg
    >>> resize(tg.tensor([[[0.0, 1.0, 2.0, 3.0]]]), (1, 2))
    tensor([[[0.7143, 2.2857]]])
    """
    mode = interpolation_mode(interpolation)
    _, h, w = sizes(inpt, "resize")
    wanted = resized_to(h, w, size, max_size)
    if wanted == (h, w):
        return inpt
    if is_pillow(inpt):
        return inpt.resize(wanted[::-1], PILLOW_NUMBERS[mode])
    x, back = opened(inpt, "resize")
    return back(_interpolated(x, wanted, mode, bool(antialias)))


def _interpolated(
    x: host.ndarray, size: tuple[int, int], mode: InterpolationMode, antialias: bool
) -> host.ndarray:
    if mode.value not in RESIZABLE:
        raise ValueError(
            f"the interpolation {mode.value!r} is Pillow's; arrays and Tensors take one of "
            f"{', '.join(RESIZABLE)}."
        )
    if not len(x):
        return host.empty((*x.shape[:2], *size), x.dtype)
    weighs = mode.value in ("bilinear", "bicubic")
    values = x if x.dtype.kind == "f" else x.astype(_wide(x))
    with no_grad():
        y = interpolate(
            Tensor(values, device="cpu"), size, mode=mode.value, antialias=weighs and antialias
        )
    return in_dtype_of(y.numpy(), x)


def _wide(x: host.ndarray) -> str:
    """A float dtype that holds the integers of an image."""
    return "float32" if x.dtype.itemsize <= 2 else "float64"


def in_dtype_of(y: host.ndarray, x: host.ndarray) -> host.ndarray:
    """Floats in the dtype of x: integers rounded, and kept within their range."""
    if x.dtype.kind == "b":
        y = y >= 0.5
    elif x.dtype.kind != "f":
        limits = host.iinfo(x.dtype)
        y = host.clip(host.rint(y), limits.min, limits.max)
    return y.astype(x.dtype, copy=False)


def resized_crop(
    inpt: Any,
    top: Any,
    left: Any,
    height: Any,
    width: Any,
    size: Any,
    interpolation: Any = InterpolationMode.BILINEAR,
    antialias: bool | None = True,
) -> Any:
    """`crop`, and then `resize` to (H', W'). A batch may have a window of its own for each image.

    >>> import tinygrad_cv as tg
    >>> resized_crop(tg.arange(4.0).reshape(1, 2, 2), 0, 0, 1, 2, (1, 3))
    tensor([[[0. , 0.5, 1. ]]])
    """
    if is_pillow(inpt) or all(host.ndim(v) == 0 for v in (top, left, height, width)):
        window = crop(inpt, top, left, height, width)
        return resize(window, size, interpolation, antialias=antialias)
    x, back = opened(inpt, "resized_crop")
    mode = interpolation_mode(interpolation)
    wanted = pair(size, "size")
    y = host.empty((*x.shape[:2], *wanted), x.dtype)
    windows = [host.broadcast_to(host.asarray(v), len(x)) for v in (top, left, height, width)]
    for image, out, i, j, h, w in zip(x, y, *(v.tolist() for v in windows), strict=True):
        inside = min(i, j, x.shape[2] - i - h, x.shape[3] - j - w) >= 0
        part = image[:, i : i + h, j : j + w] if inside else crop(image, i, j, h, w)
        out[...] = _interpolated(part[None], wanted, mode, bool(antialias))[0]
    return back(y)


# ----- in another geometry ------------------------------------------------------------------------


def _inverse_affine(
    angle: Any, translate: Any, scale: Any, shear: Any, center: tuple[float, float]
) -> host.ndarray:
    """M⁻¹ (N, 2, 3) of y = c + t + scale · R(angle) · Sy · Sx · (x - c), angles in degrees.

    Sx has -tan(shear x) above the diagonal, Sy -tan(shear y) below it. y comes from M⁻¹ (y, 1).
    """
    angle, scale = host.atleast_1d(angle), host.atleast_1d(scale)
    translate, shear = host.atleast_2d(translate), host.atleast_2d(shear)
    (count,) = host.broadcast_shapes(*((len(v),) for v in (angle, scale, translate, shear)))
    a, (x, y) = host.deg2rad(angle), host.deg2rad(shear.T)
    inverse = host.empty((count, 2, 3))
    tan_x, tan_y, cos, sin = host.tan(x), host.tan(y), host.cos(a), host.sin(a)
    # Sx⁻¹ · Sy⁻¹ · R(-angle) / scale
    below = host.stack(host.broadcast_arrays(tan_y * cos - sin, tan_y * sin + cos), axis=-1)
    above = host.stack(host.broadcast_arrays(cos, sin), axis=-1)
    inverse[:, 0, :2] = (above + tan_x[:, None] * below) / scale[:, None]
    inverse[:, 1, :2] = below / scale[:, None]
    moved = host.asarray(center, float) + translate  # c + t
    inverse[:, :, 2] = host.asarray(center) - (inverse[:, :, :2] @ moved[..., None])[..., 0]
    return inverse


def _sampled(x: host.ndarray, places: Places, mode: InterpolationMode, fill: Any) -> host.ndarray:
    """Images (N, C, H, W) at places in pixels, across and down, with `fill` outside.

    Pixel i reaches from i to i + 1. Where the nearest one is asked for, a place between two belongs
    to the second, as in Pillow.
    """
    if mode.value not in ("nearest", "bilinear"):
        raise ValueError(
            "the interpolation of arrays and Tensors in another geometry is 'nearest' or "
            f"'bilinear'; got {mode.value!r}."
        )
    count, channels, h, w = x.shape
    size = places[0].shape[1:]
    outside = per_channel(0 if fill is None else fill, x, "fill")
    if not h or not w:
        return host.broadcast_to(in_dtype_of(outside, x), (count, channels, *size)).copy()
    if mode is InterpolationMode.NEAREST:
        column, row = (host.floor(place + TIE) for place in places)
        inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
        index = host.where(inside, row * w + column, 0).astype("int64")
        flat = x.reshape(count, channels, h * w)
        index = index.reshape(len(index), 1, math.prod(size))
        y = host.take_along_axis(flat, index, axis=2).reshape(count, channels, *size)
        return host.where(inside[:, None], y, in_dtype_of(outside, x))
    values = x if x.dtype.kind == "f" else x.astype(_wide(x))
    filled = bool(outside.any())
    if filled:  # what is above 0 of it comes from inside
        values = host.concatenate([values, host.ones_like(values[:, :1])], axis=1)
    grid = host.empty((count, *size, 2), values.dtype)
    for axis, (place, length) in enumerate(zip(places, (w, h), strict=True)):
        grid[..., axis] = place * (2 / length) - 1
    with no_grad():
        y = grid_sample(
            Tensor(values, device="cpu"), Tensor(grid, device="cpu"), align_corners=False
        ).numpy()
    if filled:
        y, inner = y[:, :-1], y[:, -1:]
        y = y + (1 - inner) * outside.astype(values.dtype)
    return in_dtype_of(y, x)


def _middles(height: int, width: int) -> Places:
    """The places (1, 1, W) and (1, H, 1) of the middles of pixels."""
    return host.arange(width)[None, None] + 0.5, host.arange(height)[None, :, None] + 0.5


def _mapped(inverse: host.ndarray, out: tuple[int, int], x: host.ndarray) -> Places:
    """The places of M⁻¹ (N, 2, 3), which counts from the middles of both images, for each pixel."""
    height, width = out
    across, down = _middles(height, width)
    across, down = across - width / 2, down - height / 2
    (a, b, c), (d, e, f) = inverse.transpose(1, 2, 0)[..., None, None]
    return (
        a * across + (b * down + (c + x.shape[3] / 2)),
        d * across + (e * down + (f + x.shape[2] / 2)),
    )


def _pillow_fill(fill: Any, image: Any) -> Any:
    """The colour of `fill` as Pillow takes it: a number, or a tuple of one for each band."""
    bands = len(image.getbands())
    if fill is None:
        fill = 0
    values = [*fill] if isinstance(fill, Sequence | host.ndarray) else [fill] * bands
    values = values * bands if len(values) == 1 else values
    if len(values) != bands:
        raise ValueError(
            f"fill is one number, or one for each of the {bands} channels; got {fill}."
        )
    numbers = [float(v) if image.mode == "F" else int(v) for v in values]
    return numbers[0] if bands == 1 else tuple(numbers)


def _pillow_transform(
    image: Any, method: int, coefficients: Any, mode: InterpolationMode, fill: Any
) -> Any:
    return image.transform(
        image.size,
        method,
        tuple(map(float, coefficients)),
        PILLOW_NUMBERS[mode],
        fillcolor=_pillow_fill(fill, image),
    )


def affine(
    inpt: Any,
    angle: Any,
    translate: Any,
    scale: Any,
    shear: Any,
    interpolation: Any = InterpolationMode.NEAREST,
    fill: Any = None,
    center: Any = None,
) -> Any:
    """What lay at x comes to c + translate + scale · R(angle) · S(shear) · (x - c).

    The rotation goes clockwise, angles are in degrees, translations in pixels (to the right, down),
    and S is [1, 0; -tan b, 1] · [1, -tan a; 0, 1] for shear = (a, b), or a alone. c is `center`
    (x, y), by default the middle. Outside of the image it is `fill`, by default 0.

    All four may be numbers of an image: a batch has angles and scales (N,), translations and shears
    (N, 2). Pillow images go through Pillow, the others through `grid_sample`.

    >>> import tinygrad_cv as tg
    >>> affine(tg.tensor([[[1.0, 2.0, 3.0]]]), 0, (1, 0), 1.0, 0.0)
    tensor([[[0., 1., 2.]]])
    """
    mode = interpolation_mode(interpolation)
    if host.ndim(shear) == 0:
        shear = (shear, 0.0)
    elif host.ndim(shear) == 1 and len(shear) == 1:
        shear = (shear[0], 0.0)
    if host.shape(translate)[-1:] != (2,) or host.shape(shear)[-1:] != (2,):
        raise ValueError(
            "affine takes translate=(to the right, down), and shear=(along x, along y) or one "
            f"number; got {translate} and {shear}."
        )
    if not host.all(host.asarray(scale) > 0):
        raise ValueError(f"affine: scale is above 0; got {scale}.")
    _, h, w = sizes(inpt, "affine")
    if is_pillow(inpt):
        middle = (w / 2, h / 2) if center is None else tuple(center)
        inverse = _inverse_affine(angle, translate, scale, shear, middle)[0]
        return _pillow_transform(inpt, 0, inverse.ravel(), mode, fill)
    middle = (0.0, 0.0) if center is None else (center[0] - w / 2, center[1] - h / 2)
    x, back = opened(inpt, "affine")
    inverse = _inverse_affine(angle, translate, scale, shear, middle)
    _check_count(inverse, x, "affine")
    return back(_sampled(x, _mapped(inverse, (h, w), x), mode, fill))


def _check_count(parameters: host.ndarray, x: host.ndarray, name: str) -> None:
    if len(parameters) not in (1, len(x)):
        raise ValueError(f"{name}: got numbers for {len(parameters)} images, and {len(x)} images.")


def rotate(
    inpt: Any,
    angle: Any,
    interpolation: Any = InterpolationMode.NEAREST,
    expand: bool = False,
    center: Any = None,
    fill: Any = None,
) -> Any:
    """Turned by `angle` degrees against the clock, about `center` (x, y), by default the middle.

    With `expand` the image becomes as large as what is turned, about the middle; of a batch all
    images are then turned by one angle. Outside of the image it is `fill`, by default 0. Pillow
    images go through Pillow, the others through `grid_sample`.

    >>> import tinygrad_cv as tg
    >>> rotate(tg.tensor([[[1.0, 2.0], [3.0, 4.0]]]), 90)
    tensor([[[2., 4.],
             [1., 3.]]])
    """
    mode = interpolation_mode(interpolation)
    if is_pillow(inpt):
        return inpt.rotate(
            float(angle),
            PILLOW_NUMBERS[mode],
            expand,
            None if center is None else tuple(center),
            fillcolor=_pillow_fill(fill, inpt),
        )
    x, back = opened(inpt, "rotate")
    h, w = x.shape[2:]
    out = (h, w)
    middle = (0.0, 0.0)
    if expand and host.size(angle) != 1:
        raise ValueError("rotate: with expand=True the images of a batch have one angle.")
    quarters = float(host.reshape(angle, -1)[0]) / 90 if host.size(angle) == 1 else 0.5
    if quarters % 1 == 0 and (expand or (center is None and (quarters % 2 == 0 or h == w))):
        return back(host.rot90(x, int(quarters), (2, 3)).copy())
    if expand:
        cos, sin = abs(math.cos(quarters * math.pi / 2)), abs(math.sin(quarters * math.pi / 2))
        out = (_covered(h * cos + w * sin, h), _covered(w * cos + h * sin, w))
    elif center is not None:
        middle = (center[0] - w / 2, center[1] - h / 2)
    inverse = _inverse_affine(-host.asarray(angle, float), (0, 0), 1.0, (0.0, 0.0), middle)
    _check_count(inverse, x, "rotate")
    return back(_sampled(x, _mapped(inverse, out, x), mode, fill))


def _covered(extent: float, length: int) -> int:
    """How many pixels an extent about the middle of an axis touches."""
    half, odd = (extent - 1e-4) / 2, length / 2 % 1
    return math.ceil(half + odd) - math.floor(odd - half)


def _perspective_coefficients(startpoints: Any, endpoints: Any) -> Any:
    """(N, 8): what the end points map to the start points by, four each, (N, 4, 2) or (4, 2)."""
    starts, ends = (
        host.asarray(points, float).reshape(-1, 4, 2) for points in (startpoints, endpoints)
    )
    starts, ends = host.broadcast_arrays(starts, ends)
    x, y = ends[..., 0], ends[..., 1]
    one, zero = host.ones_like(x), host.zeros_like(x)
    u, v = starts[..., 0], starts[..., 1]
    # u · (gx + hy + 1) = ax + by + c, and v · (gx + hy + 1) = dx + ey + f
    rows = [
        host.stack([x, y, one, zero, zero, zero, -u * x, -u * y], axis=-1),
        host.stack([zero, zero, zero, x, y, one, -v * x, -v * y], axis=-1),
    ]
    matrix = host.concatenate(rows, axis=-2)
    places = host.concatenate([u, v], axis=-1)[..., None]
    try:
        return host.linalg.solve(matrix, places)[..., 0]
    except host.linalg.LinAlgError:  # three of them on a line: the coefficients of least squares
        return (host.linalg.pinv(matrix) @ places)[..., 0]


def perspective(
    inpt: Any,
    startpoints: Any,
    endpoints: Any,
    interpolation: Any = InterpolationMode.BILINEAR,
    fill: Any = None,
    coefficients: Any = None,
) -> Any:
    """What lay at the four `startpoints` (x, y) comes to the `endpoints`, straight lines straight.

    The value at (x, y) is that at ((ax + by + c) / (gx + hy + 1), (dx + ey + f) / (gx + hy + 1));
    `coefficients` (a, ..., h) may be given instead of the points. A batch may have its own points,
    (N, 4, 2), or coefficients, (N, 8), for each image. Outside of the image it is `fill`, by
    default 0. Pillow images go through Pillow, the others through `grid_sample`.

    >>> import tinygrad_cv as tg
    >>> corners = [[0, 0], [2, 0], [2, 1], [0, 1]]
    >>> perspective(tg.tensor([[[1.0, 2.0]]]), corners, [[2 - x, y] for x, y in corners])
    tensor([[[2., 1.]]])
    """
    mode = interpolation_mode(interpolation)
    if coefficients is None:
        if host.shape(startpoints)[-2:] != (4, 2) or host.shape(endpoints)[-2:] != (4, 2):
            raise ValueError(
                "perspective takes four startpoints (x, y) and four endpoints; got "
                f"{startpoints} and {endpoints}."
            )
        coefficients = _perspective_coefficients(startpoints, endpoints)
    elif startpoints is not None or endpoints is not None:
        raise ValueError("perspective takes points or coefficients, not both.")
    numbers = host.asarray(coefficients, float)
    if numbers.shape[-1:] != (8,) or numbers.ndim > 2:
        raise ValueError(
            f"perspective takes 8 coefficients, (8,) or (N, 8); got the shape {numbers.shape}."
        )
    numbers = numbers.reshape(-1, 8)
    if is_pillow(inpt):
        return _pillow_transform(inpt, 2, numbers[0], mode, fill)
    x, back = opened(inpt, "perspective")
    _check_count(numbers, x, "perspective")
    h, w = x.shape[2:]
    a, b, c, d, e, f, g, k = numbers.T[:, :, None, None]
    across, down = _middles(h, w)
    below = g * across + k * down + 1
    with host.errstate(divide="ignore", invalid="ignore"):
        column = (a * across + b * down + c) / below
        row = (d * across + e * down + f) / below
    horizon = below == 0
    places = host.where(horizon, -1.0, column), host.where(horizon, -1.0, row)  # which is outside
    return back(_sampled(x, places, mode, fill))


def elastic(
    inpt: Any,
    displacement: Any,
    interpolation: Any = InterpolationMode.BILINEAR,
    fill: Any = None,
) -> Any:
    """Each value is that at its place plus `displacement` (1 or N, H, W, 2), in halves of the size.

    Simard et al., 2003, "Best practices for convolutional neural networks applied to visual
    document analysis". A Pillow image goes through an array too.

    >>> import tinygrad_cv as tg
    >>> moves = tg.tensor([[[[0.0, 0.0], [-1.0, 0.0]]]])
    >>> elastic(tg.tensor([[[1.0, 2.0]]]), moves)
    tensor([[[1., 1.]]])
    """
    if is_pillow(inpt):
        return on_pixels(lambda x: elastic(x, displacement, interpolation, fill), inpt)
    x, back = opened(inpt, "elastic")
    h, w = x.shape[2:]
    moves = displacement.numpy() if isinstance(displacement, Tensor) else displacement
    if moves.shape not in ((1, h, w, 2), (len(x), h, w, 2)):
        raise ValueError(
            f"elastic takes a displacement (1, H, W, 2) or one for each image, for H, W = {h, w}; "
            f"got the shape {moves.shape}."
        )
    across, down = _middles(h, w)
    places = across + moves[..., 0] * (w / 2), down + moves[..., 1] * (h / 2)
    return back(_sampled(x, places, interpolation_mode(interpolation), fill))


elastic_transform = elastic


def erase(inpt: Any, i: Any, j: Any, h: Any, w: Any, v: Any, inplace: bool = False) -> Any:
    """The rows i to i + h and the columns j to j + w become v, on a copy unless `inplace`.

    `i`, `j`, `h` and `w` are numbers of an image. `v` is a number, one for each channel, or values
    that broadcast to (C, h, w). Integers are kept within their range.

    >>> import tinygrad_cv as tg
    >>> erase(tg.ones(1, 2, 2), 0, 1, 1, 1, 0)
    tensor([[[1., 0.],
             [1., 1.]]])
    """
    if is_pillow(inpt):
        return on_pixels(lambda x: erase(x, i, j, h, w, v), inpt)
    x, back = opened(inpt, "erase")
    y = x if inplace and isinstance(inpt, host.ndarray) else x.copy()
    value = v.numpy() if isinstance(v, Tensor) else host.asarray(v)
    if value.ndim == 1:
        if len(value) not in (1, x.shape[1]):
            raise ValueError(
                f"erase takes one value or one for each of the {x.shape[1]} channels; got {v}."
            )
        value = value.reshape(-1, 1, 1)
    if x.dtype.kind in "iu":
        value = host.clip(value, 0, bound(x.dtype)).astype(x.dtype)
    windows = [host.broadcast_to(host.asarray(n), len(x)).tolist() for n in (i, j, h, w)]
    for image, top, left, height, width in zip(y, *windows, strict=True):
        image[:, top : top + height, left : left + width] = value
    return inpt if y is x else back(y)


def permute_channels(inpt: Any, permutation: Any) -> Any:
    """y[c] = x[permutation[c]]; a batch may have a permutation of its own for each image, (N, C).

    >>> import tinygrad_cv as tg
    >>> permute_channels(tg.tensor([[[1]], [[2]]]), [1, 0]).flatten()
    tensor([2, 1])
    """
    if is_pillow(inpt):
        return on_pixels(lambda x: permute_channels(x, permutation), inpt)
    x, back = opened(inpt, "permute_channels")
    order = host.atleast_2d(host.asarray(permutation))
    if order.shape[1] != x.shape[1] or not (host.sort(order) == host.arange(x.shape[1])).all():
        raise ValueError(
            f"permute_channels takes an order of the {x.shape[1]} channels; got {permutation}."
        )
    return back(x[host.arange(len(x))[:, None], order])


def _weights(kernel_size: int, sigma: Any) -> Any:
    """Those of a Gaussian (N, k) at the whole places about 0, which add up to 1."""
    place = host.arange(kernel_size) - (kernel_size - 1) / 2
    weights = host.exp(-0.5 * (place / host.reshape(sigma, (-1, 1))) ** 2)
    return weights / weights.sum(axis=1, keepdims=True)


def gaussian_blur(inpt: Any, kernel_size: Any, sigma: Any = None) -> Any:
    """Each pixel as the mean of its neighbours, weighed by exp(-d² / 2σ²) within the kernel.

    `kernel_size` is an odd number, or (width, height) of such; `sigma` a number of an image, or for
    both axes in a list (along x, along y); by default 0.3 · ((kernel_size - 1) / 2 - 1) + 0.8. The
    image is mirrored at its edges.

    >>> import tinygrad_cv as tg
    >>> gaussian_blur(tg.tensor([[[0.0, 4.0, 0.0, 0.0, 0.0]]]), (3, 1), 0.5)
    tensor([[[0.8521, 3.1479, 0.426 , 0.    , 0.    ]]])
    """
    kernel = pair(kernel_size, "kernel_size")
    if any(k % 2 == 0 for k in kernel):
        raise ValueError(f"gaussian_blur: kernel_size is odd; got {kernel_size}.")
    if is_pillow(inpt):
        return on_pixels(lambda x: gaussian_blur(x, kernel_size, sigma), inpt)
    x, back = opened(inpt, "gaussian_blur")
    if sigma is None:
        spreads: Any = [0.3 * ((k - 1) * 0.5 - 1) + 0.8 for k in kernel]
    elif isinstance(sigma, list | tuple):
        spreads = [sigma[0], sigma[-1]]
    else:
        spreads = [sigma, sigma]
    if not all(host.all(host.asarray(s) > 0) for s in spreads):
        raise ValueError(f"gaussian_blur: sigma is above 0; got {sigma}.")
    dtype = x.dtype if x.dtype.kind == "f" else _wide(x)
    y = x.astype(dtype)
    for axis, k, spread in ((3, kernel[0], spreads[0]), (2, kernel[1], spreads[1])):
        length = y.shape[axis]
        if k // 2 >= length:
            raise ValueError(
                f"gaussian_blur: half of the kernel {kernel_size} is less than the image; got "
                f"{x.shape[2:]}."
            )
        weights = _weights(k, spread).astype(dtype)
        _check_count(weights, x, "gaussian_blur")
        width = [(0, 0)] * 4
        width[axis] = (k // 2, k // 2)
        padded = host.moveaxis(host.pad(y, width, "reflect"), axis, 0)
        total = 0
        for n, weight in enumerate(weights.T):
            total = total + padded[n : n + length] * weight[:, None, None]
        y = host.moveaxis(host.asarray(total), 0, axis)
    return back(host.ascontiguousarray(in_dtype_of(y, x)))


def gaussian_noise(
    inpt: Any, mean: float = 0.0, sigma: float = 0.1, clip: bool = True, generator: Any = None
) -> Any:
    """x + mean + sigma · ε with ε normal, within [0, 1] if `clip`; uint8 counts as x / 255.

    >>> import tinygrad_cv as tg
    >>> gaussian_noise(tg.zeros(1, 1, 2), sigma=0.0, mean=2.0)
    tensor([[[1., 1.]]])
    """
    if sigma < 0:
        raise ValueError(f"gaussian_noise: sigma is 0 or more; got {sigma}.")
    x, back = opened(inpt, "gaussian_noise")
    white = bound(x.dtype)
    noise = as_generator(generator).standard_normal(x.shape)
    y = x + white * (mean + sigma * noise)
    if clip or x.dtype.kind in "iu":
        y = host.clip(y, 0, white)
    return back(in_dtype_of(y, x))
