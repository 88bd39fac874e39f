"""What an image is to a transform: a Pillow image, an array or a Tensor, alone or in a batch."""

import sys
from collections.abc import Callable, Sequence
from enum import Enum
from importlib import import_module
from typing import Any

from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host

Back = Callable[[host.ndarray], Any]
"""Makes of an array (N, C, H, W) what was given: a Tensor, an array, and alone if it was alone."""


class InterpolationMode(Enum):
    """How the values between pixels are found. "box", "hamming" and "lanczos" are Pillow's.

    >>> InterpolationMode.BILINEAR.value
    'bilinear'
    """

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


PILLOW_NUMBERS = {
    InterpolationMode.NEAREST: 0,
    InterpolationMode.NEAREST_EXACT: 0,
    InterpolationMode.LANCZOS: 1,
    InterpolationMode.BILINEAR: 2,
    InterpolationMode.BICUBIC: 3,
    InterpolationMode.BOX: 4,
    InterpolationMode.HAMMING: 5,
}


def interpolation_mode(given: Any) -> InterpolationMode:
    """The mode that a mode, its name or Pillow's number for it says."""
    for mode in InterpolationMode:
        if given is mode or given == mode.value:
            return mode
        if type(given) is int and given == PILLOW_NUMBERS[mode]:
            return mode
    names = ", ".join(repr(mode.value) for mode in InterpolationMode)
    raise ValueError(f"interpolation is an InterpolationMode, or one of {names}; got {given!r}.")


def pillow(module: str) -> Any:
    """A module of Pillow, such as "Image"; a sentence where there is none."""
    try:
        return import_module(f"PIL.{module}")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "images in files, and their resizing, need Pillow: pip install 'tinygrad_cv[images]'",
            name=error.name,
        ) from None


def is_pillow(image: Any) -> bool:
    """Whether it is an image of Pillow's, asked without importing that."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(image, module.Image)


def opened(image: Any, name: str) -> tuple[host.ndarray, Back]:
    """An array or a Tensor as an array (N, C, H, W) in host memory, and the way back.

    `name` is the function that asks. Raises TypeError for what is neither, ValueError for another
    number of axes or for channels that come last, and for a tensor that requires a gradient.
    """
    if not isinstance(image, Tensor | host.ndarray):
        several = isinstance(image, tuple | list | dict)
        hint = " What goes with an image stands behind it: transform(image, label)."
        raise TypeError(
            f"{name} takes a Pillow image, or an array or a Tensor (C, H, W) or (N, C, H, W); got "
            f"a {type(image).__name__}.{hint if several else ''}"
        )
    if isinstance(image, Tensor) and image.requires_grad:
        raise ValueError(
            f"{name} changes values and records no graph, and the tensor requires a gradient; give "
            "x.detach()."
        )
    if image.ndim not in (3, 4):
        raise ValueError(
            f"{name} takes an image (C, H, W) or a batch (N, C, H, W); got the shape "
            f"{tuple(image.shape)}."
        )
    x = image.numpy() if isinstance(image, Tensor) else image
    if x.dtype.kind not in "fiub":
        raise TypeError(f"{name} takes images of uint8 or floats; got {x.dtype}.")
    check_order(x.shape, name)
    alone = x.ndim == 3

    def back(y: host.ndarray) -> Any:
        y = y[0] if alone else y
        return Tensor(y, device=image.device) if isinstance(image, Tensor) else y

    return x[None] if alone else x, back


def check_order(shape: Sequence[int], name: str) -> None:
    """Raise if these are, by all appearance, images with their channels last."""
    if shape[-1] in (1, 3) and min(shape[-3:-1]) >= 8:
        moves = (2, 0, 1) if len(shape) == 3 else (0, 3, 1, 2)
        raise ValueError(
            f"{name} takes images with the channels first, (C, H, W); the shape {tuple(shape)} has "
            f"them last: give x.transpose{moves} of an array, x.permute{moves} of a Tensor, or "
            "ToImage()(x)."
        )


def array_of(image: Any) -> host.ndarray:
    """The pixels of a Pillow image, an array (C, H, W) of its own."""
    pixels = host.array(image)
    return pixels[None] if pixels.ndim == 2 else host.ascontiguousarray(pixels.transpose(2, 0, 1))


def pillow_of(pixels: host.ndarray, like: Any) -> Any:
    """An array (C, H, W) as a Pillow image of the mode, and with the palette, of another."""
    flat = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    if like.mode == "1":
        return pillow("Image").fromarray(flat.astype("uint8") * 255).convert("1")
    made = pillow("Image").fromarray(host.ascontiguousarray(flat))
    if like.mode == "P":
        made.putpalette(like.getpalette())
    elif made.mode != like.mode:  # such as CMYK, which looks like RGBA
        made = pillow("Image").frombytes(like.mode, made.size, made.tobytes())
    return made


def on_pixels(change: Callable[[host.ndarray], host.ndarray], image: Any) -> Any:
    """A Pillow image with its pixels, as a batch of one (1, C, H, W), changed."""
    return pillow_of(change(array_of(image)[None])[0], image)


def sizes(image: Any, name: str) -> tuple[int, int, int]:
    """Channels, height and width."""
    if is_pillow(image):
        return len(image.getbands()), image.height, image.width
    x, _ = opened(image, name)
    channels, height, width = x.shape[1:]
    return channels, height, width


def bound(dtype: Any) -> float:
    """The value of white: 1 for floats, and the largest of an integer dtype."""
    dtype = host.dtype(dtype)
    return 1.0 if dtype.kind in "fb" else float(host.iinfo(dtype).max)


def column(value: Any, count: int, name: str) -> Any:
    """A number for all images as it is; one for each as an array (N, 1, 1, 1)."""
    values = host.asarray(value)
    if values.ndim == 0:
        return value
    if values.shape != (count,):
        raise ValueError(
            f"{name} is a number, or one for each of the {count} images; got the shape "
            f"{values.shape}."
        )
    return values[:, None, None, None]


def pair(value: Any, name: str) -> tuple[int, int]:
    """A size (height, width), from one number for both or from one or two in a sequence."""
    values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    whole = all(isinstance(v, int | host.integer) and not isinstance(v, bool) for v in values)
    if not whole or len(values) not in (1, 2) or min(values) < 1:
        raise ValueError(
            f"{name} is a whole number above 0, or (height, width) of such; got {value!r}."
        )
    return int(values[0]), int(values[-1])


def span(value: Any, name: str, low: float = -host.inf, high: float = host.inf) -> Any:
    """A range (a, b) with low ≤ a ≤ b ≤ high, checked."""
    good = isinstance(value, Sequence) and len(value) == 2
    good = good and all(
        isinstance(v, float | int | host.number) and not isinstance(v, bool) for v in value
    )
    if not good or not low <= value[0] <= value[1] <= high:
        within = "" if low == -host.inf else f", within [{low}, {high}]"
        raise ValueError(f"{name} is a range (least, most) of numbers{within}; got {value!r}.")
    return float(value[0]), float(value[1])


def probability(p: Any) -> float:
    """A probability, checked."""
    if not isinstance(p, float | int | host.number) or not 0 <= p <= 1:
        raise ValueError(f"p must be a probability between 0 and 1, given {p}.")
    return float(p)


def numbers_of(value: Any, name: str) -> Sequence[float]:
    """One number or several as a list of floats."""
    listed = value.tolist() if isinstance(value, Tensor | host.ndarray) else value
    try:
        return [float(v) for v in listed] if isinstance(listed, Sequence) else [float(listed)]
    except (TypeError, ValueError):
        raise TypeError(f"{name} is a number, or a list of them; got {value!r}.") from None
