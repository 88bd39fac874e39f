"""The colours of an image: brighter, greyer, inverted, spread over the whole range.

Each function takes a Pillow image, an image (C, H, W) or a batch (N, C, H, W), as an array or a
Tensor, and gives back the same kind; a factor may be one number, or one for each image of a batch.
White is 1 for floats and 255 for uint8, which is rounded down. Pillow images go through Pillow,
whose results differ from those by a level here and there.
"""

from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.data.transforms.conversion import scaled
from tinygrad_cv.data.transforms.images import (
    Back,
    bound,
    column,
    is_pillow,
    opened,
    pillow,
)

LUMA = (0.2989, 0.587, 0.114)
"""How bright red, green and blue are (ITU-R BT.601)."""


def _coloured(image: Any, name: str) -> tuple[host.ndarray, Back]:
    """An image of one or three channels of uint8 or floats."""
    x, back = opened(image, name)
    if x.shape[1] not in (1, 3) or (x.dtype.kind != "f" and x.dtype != host.uint8):
        raise ValueError(
            f"{name} takes images of 1 or 3 channels of floats or uint8; got {x.dtype} of the "
            f"shape {tuple(image.shape)}."
        )
    return x, back


def _check_mode(image: Any, name: str, modes: tuple[str, ...] = ("L", "RGB")) -> None:
    """Raise if the colours of a Pillow image are not those of these modes."""
    if image.mode not in modes:
        raise ValueError(
            f"{name} takes Pillow images of the modes {', '.join(modes)}; got one of the mode "
            f'{image.mode}: image.convert("RGB") comes first.'
        )


def _floats(x: host.ndarray) -> host.ndarray:
    return x if x.dtype.kind == "f" else x.astype("float32")


def _within(y: host.ndarray, dtype: Any) -> Any:
    """Values between black and white, in a dtype: integers rounded down."""
    return host.clip(y, 0, bound(dtype)).astype(dtype)


def _blend(x: host.ndarray, other: Any, factor: Any, name: str) -> Any:
    """factor · x + (1 - factor) · other, between black and white.

    In the form that leaves what is equal exactly as it is, before integers are rounded down.
    """
    if not (host.asarray(factor) >= 0).all():
        raise ValueError(f"{name} takes a factor that is 0 or more; got {factor}.")
    values = _floats(x)
    share = host.asarray(column(factor, len(x), name), values.dtype)
    return _within(other + share * (values - other), x.dtype)


def _grey(x: host.ndarray) -> Any:
    """The brightness (N, 1, H, W) of an image; of integers rounded down, as floats."""
    values = _floats(x)
    if x.shape[1] == 1:
        return values
    kind = values.dtype.type
    red, green, blue = (values[:, c : c + 1] * kind(share) for c, share in enumerate(LUMA))
    y = red + green + blue
    return y if x.dtype.kind == "f" else host.floor(y)


def _enhanced(image: Any, how: str, factor: Any) -> Any:
    """Pillow's own way to blend an image with one that has nothing of a property."""
    name = {"Color": "adjust_saturation"}.get(how, f"adjust_{how.lower()}")
    _check_mode(image, name, ("L", "LA", "RGB", "RGBA"))
    if not factor >= 0:
        raise ValueError(f"{name} takes a factor that is 0 or more; got {factor}.")
    return getattr(pillow("ImageEnhance"), how)(image).enhance(float(factor))


def adjust_brightness(inpt: Any, brightness_factor: Any) -> Any:
    """factor · x: 0 is black, 1 the image.

    >>> import tinygrad_cv as tg
    >>> adjust_brightness(tg.tensor([[[0.25, 0.75]]]), 2)
    tensor([[[0.5, 1. ]]])
    """
    if is_pillow(inpt):
        return _enhanced(inpt, "Brightness", brightness_factor)
    x, back = _coloured(inpt, "adjust_brightness")
    return back(_blend(x, 0, brightness_factor, "adjust_brightness"))


def adjust_contrast(inpt: Any, contrast_factor: Any) -> Any:
    """factor · x + (1 - factor) · (the mean brightness): 0 is grey, 1 the image.

    >>> import tinygrad_cv as tg
    >>> adjust_contrast(tg.tensor([[[0.25, 0.75]]]), 0.5)
    tensor([[[0.375, 0.625]]])
    """
    if is_pillow(inpt):
        return _enhanced(inpt, "Contrast", contrast_factor)
    x, back = _coloured(inpt, "adjust_contrast")
    if not x.size:
        return back(x.copy())
    grey = _grey(x)
    mean = grey.mean(axis=(1, 2, 3), keepdims=True, dtype=float).astype(grey.dtype)
    return back(_blend(x, mean, contrast_factor, "adjust_contrast"))


def adjust_saturation(inpt: Any, saturation_factor: Any) -> Any:
    """factor · x + (1 - factor) · (the brightness of each pixel): 0 is grey, 1 the image.

    >>> import tinygrad_cv as tg
    >>> red = tg.tensor([[[1.0]], [[0.0]], [[0.0]]])
    >>> adjust_saturation(red, 0.0).flatten()
    tensor([0.2989, 0.2989, 0.2989])
    """
    if is_pillow(inpt):
        return _enhanced(inpt, "Color", saturation_factor)
    x, back = _coloured(inpt, "adjust_saturation")
    grey = _grey(x) if x.shape[1] == 3 else _floats(x)
    return back(_blend(x, grey, saturation_factor, "adjust_saturation"))


def adjust_sharpness(inpt: Any, sharpness_factor: Any) -> Any:
    """factor · x + (1 - factor) · (x blurred): 0 is blurred, 1 the image, 2 sharper.

    Blurred is the mean of 3x3 pixels, that in the middle weighed 5 times; pixels at the edge stay.

    >>> import tinygrad_cv as tg
    >>> adjust_sharpness(tg.eye(3)[None], 0.0)[0, 1]
    tensor([0.    , 0.5385, 0.    ])
    """
    if is_pillow(inpt):
        return _enhanced(inpt, "Sharpness", sharpness_factor)
    x, back = _coloured(inpt, "adjust_sharpness")
    h, w = x.shape[2:]
    values = _floats(x)
    blurred = values.copy()
    if min(h, w) > 2:
        windows = [values[..., i : h - 2 + i, j : w - 2 + j] for i in range(3) for j in range(3)]
        total = sum(windows) + 4 * windows[4]
        mean = total / values.dtype.type(13)
        blurred[..., 1:-1, 1:-1] = mean if x.dtype.kind == "f" else host.rint(mean)
    y = _blend(x, blurred, sharpness_factor, "adjust_sharpness")
    for edge in (host.s_[..., :1, :], host.s_[..., -1:, :], host.s_[..., :1], host.s_[..., -1:]):
        y[edge] = x[edge]
    return back(y if min(h, w) > 2 else x.copy())


def adjust_hue(inpt: Any, hue_factor: Any) -> Any:
    """The hue turned by factor, in turns of the colour circle, from -0.5 to 0.5.

    The image is taken to hue, saturation and value, and back. One channel stays what it is.

    >>> import tinygrad_cv as tg
    >>> red = tg.tensor([[[1.0]], [[0.0]], [[0.0]]])
    >>> adjust_hue(red, 1 / 3).flatten()
    tensor([0., 1., 0.])
    """
    if not (host.abs(hue_factor) <= 0.5).all():
        raise ValueError(f"adjust_hue takes a factor from -0.5 to 0.5; got {hue_factor}.")
    if is_pillow(inpt):
        return _turned(inpt, hue_factor)
    x, back = _coloured(inpt, "adjust_hue")
    if x.shape[1] == 1 or not x.size:
        return back(x.copy())
    values = scaled(x, host.dtype("float32")) if x.dtype == host.uint8 else x
    hue, saturation, value = _hsv(values)
    turn = column(hue_factor, len(x), "hue_factor")
    hue = hue + host.asarray(turn, hue.dtype)
    hue -= host.floor(hue)
    return back(scaled(_rgb(hue, saturation, value), x.dtype))


def _turned(image: Any, hue_factor: Any) -> Any:
    """A Pillow image with its hue turned, in whole steps of 1/256."""
    if image.mode in ("1", "L", "I", "F"):
        return image
    h, s, v = image.convert("HSV").split()
    steps = int(hue_factor * 255)
    hue = host.asarray(h, dtype="int64") + steps
    turned = pillow("Image").fromarray((hue % 256).astype("uint8"))
    return pillow("Image").merge("HSV", (turned, s, v)).convert(image.mode)


def _hsv(x: host.ndarray) -> tuple[host.ndarray, host.ndarray, host.ndarray]:
    """Hue in turns, saturation and value, each (N, 1, H, W), of (N, 3, H, W) (Smith, 1978)."""
    red, green, blue = (x[:, c : c + 1] for c in range(3))
    most, least = host.maximum(host.maximum(red, green), blue), host.minimum(red, green)
    chroma = most - host.minimum(least, blue)
    plain = chroma == 0
    step = host.where(plain, x.dtype.type(1), chroma)
    sixths = host.where(
        most == red,
        (green - blue) / step,
        host.where(most == green, 2 + (blue - red) / step, 4 + (red - green) / step),
    )
    hue = sixths / 6
    hue += hue < 0
    return hue, chroma / host.where(plain, x.dtype.type(1), most), most


def _rgb(hue: host.ndarray, saturation: host.ndarray, value: host.ndarray) -> Any:
    """The way back from `_hsv`: v · (1 - s · min(k, 4 - k, 1)), k the sixths from where it falls.

    It is kept from 0 below; red falls from 5/6 of a turn on, green from 3/6, blue from 1/6.
    """
    kind = hue.dtype.type
    sixths = kind(6) * hue + host.array([5, 3, 1], hue.dtype)[:, None, None]
    sixths -= kind(6) * (sixths >= 6)
    share = host.clip(host.minimum(sixths, kind(4) - sixths), 0, 1)
    return value - value * saturation * share


def adjust_gamma(inpt: Any, gamma: Any, gain: float = 1) -> Any:
    """gain · x^gamma on [0, 1], within [0, 1].

    >>> import tinygrad_cv as tg
    >>> adjust_gamma(tg.tensor([[[0.5, 1.0]]]), 2)
    tensor([[[0.25, 1.  ]]])
    """
    if not (host.asarray(gamma) >= 0).all():
        raise ValueError(f"adjust_gamma takes a gamma that is 0 or more; got {gamma}.")
    if is_pillow(inpt):
        levels = [int((255 + 1 - 1e-3) * gain * pow(v / 255.0, gamma)) for v in range(256)]
        table = [min(max(level, 0), 255) for level in levels]
        colours = inpt.convert("RGB") if inpt.mode not in ("L", "RGB") else inpt
        return colours.point(table * len(colours.getbands())).convert(inpt.mode)
    x, back = _coloured(inpt, "adjust_gamma")
    values = scaled(x, host.dtype("float32")) if x.dtype == host.uint8 else x
    power = host.asarray(column(gamma, len(x), "gamma"), values.dtype)
    y = host.clip(values.dtype.type(gain) * values**power, 0, 1)
    return back(scaled(y.astype(values.dtype, copy=False), x.dtype))


def invert(inpt: Any) -> Any:
    """White - x.

    >>> import tinygrad_cv as tg
    >>> invert(tg.tensor([[[0.25, 1.0]]]))
    tensor([[[0.75, 0.  ]]])
    """
    if is_pillow(inpt):
        _check_mode(inpt, "invert")
        return pillow("ImageOps").invert(inpt)
    x, back = _coloured(inpt, "invert")
    return back(x.dtype.type(bound(x.dtype)) - x)


def posterize(inpt: Any, bits: Any) -> Any:
    """The upper `bits` of each value, 0 to 8 of them: of floats ⌊2ᵇ · x⌋ / 2ᵇ.

    >>> import tinygrad_cv as tg
    >>> posterize(tg.tensor([[[100, 200]]], dtype="uint8"), 1)
    tensor([[[  0, 128]]], dtype=uint8)
    """
    numbers = host.asarray(bits)
    if numbers.dtype.kind not in "iu" or not ((numbers >= 0) & (numbers <= 8)).all():
        raise ValueError(f"posterize takes a whole number of bits from 0 to 8; got {bits}.")
    if is_pillow(inpt):
        _check_mode(inpt, "posterize")
        if not numbers:
            return inpt.point([0] * 256 * len(inpt.getbands()))
        return pillow("ImageOps").posterize(inpt, int(numbers))
    x, back = _coloured(inpt, "posterize")
    kept = host.asarray(column(bits, len(x), "bits"))
    if x.dtype.kind != "f":
        return back(x & (256 - (256 >> kept)).astype("uint8"))
    levels = (2.0**kept).astype(x.dtype)
    return back(host.clip(host.floor(x * levels), 0, levels - 1) / levels)


def solarize(inpt: Any, threshold: Any) -> Any:
    """White - x where x ≥ threshold, else x.

    >>> import tinygrad_cv as tg
    >>> solarize(tg.tensor([[[0.25, 0.75]]]), 0.5)
    tensor([[[0.25, 0.25]]])
    """
    if is_pillow(inpt):
        _check_mode(inpt, "solarize")
        return pillow("ImageOps").solarize(inpt, threshold)
    x, back = _coloured(inpt, "solarize")
    limit = host.asarray(column(threshold, len(x), "threshold"))
    if not (limit <= bound(x.dtype)).all():
        raise ValueError(
            f"solarize: the threshold is at most white, {bound(x.dtype):g}; got {threshold}."
        )
    return back(host.where(x >= limit, x.dtype.type(bound(x.dtype)) - x, x))


def autocontrast(inpt: Any) -> Any:
    """Each channel spread so that its least value is black and its largest white.

    A channel of one value stays.

    >>> import tinygrad_cv as tg
    >>> autocontrast(tg.tensor([[[0.25, 0.5, 0.75]]]))
    tensor([[[0. , 0.5, 1. ]]])
    """
    if is_pillow(inpt):
        _check_mode(inpt, "autocontrast")
        return pillow("ImageOps").autocontrast(inpt)
    x, back = _coloured(inpt, "autocontrast")
    if not x.size:
        return back(x.copy())
    values = _floats(x)
    least, most = (f(axis=(2, 3), keepdims=True) for f in (values.min, values.max))
    plain = most == least
    least = host.where(plain, 0, least)
    step = host.where(plain, 1, (most - least) * values.dtype.type(1 / bound(x.dtype)))
    return back(_within((values - least) / step, x.dtype))


def equalize(inpt: Any) -> Any:
    """Each channel changed so that all levels become about equally frequent.

    Level k becomes (s // 2 + the number of values below k) // s, where s is the 255th part of the
    number of values that are not of the largest level there is; a channel where s is 0 stays.
    Floats are taken to uint8 and back.

    >>> import tinygrad_cv as tg
    >>> equalize(tg.arange(4).to("uint8").repeat(1, 256, 1))[0, 0]
    tensor([  0,  85, 171, 255], dtype=uint8)
    """
    if is_pillow(inpt):
        _check_mode(inpt, "equalize")
        return pillow("ImageOps").equalize(inpt)
    x, back = _coloured(inpt, "equalize")
    count, channels, h, w = x.shape
    flat = scaled(x, host.dtype("uint8")).reshape(count * channels, h * w)
    if not flat.size:
        return back(x.copy())
    rows = host.arange(len(flat))[:, None]
    number = host.bincount((flat + 256 * rows).ravel(), minlength=256 * len(flat))
    number = number.reshape(-1, 256)
    below = number.cumsum(axis=1) - number
    last = number[rows[:, 0], flat.max(axis=1)]
    step = ((h * w - last) // 255)[:, None]
    level = host.clip((below + step // 2) // host.maximum(step, 1), 0, 255)
    level = host.where(step == 0, host.arange(256), level).astype("uint8")
    return back(scaled(level[rows, flat].reshape(x.shape), x.dtype))


def rgb_to_grayscale(inpt: Any, num_output_channels: int = 1) -> Any:
    """0.2989 · red + 0.587 · green + 0.114 · blue, in one channel or in three equal ones.

    >>> import tinygrad_cv as tg
    >>> rgb_to_grayscale(tg.tensor([[[1.0]], [[1.0]], [[0.0]]]))
    tensor([[[0.8859]]])
    """
    if num_output_channels not in (1, 3):
        raise ValueError(f"num_output_channels is 1 or 3; got {num_output_channels}.")
    if is_pillow(inpt):
        grey = inpt.convert("L")
        return grey if num_output_channels == 1 else pillow("Image").merge("RGB", (grey,) * 3)
    x, back = _coloured(inpt, "rgb_to_grayscale")
    y = _grey(x).astype(x.dtype)
    return back(y if num_output_channels == 1 else host.repeat(y, 3, axis=1))


to_grayscale = rgb_to_grayscale


def grayscale_to_rgb(inpt: Any) -> Any:
    """One channel three times; three channels as they are.

    >>> import tinygrad_cv as tg
    >>> grayscale_to_rgb(tg.zeros(1, 2, 2)).shape
    (3, 2, 2)
    """
    if is_pillow(inpt):
        return inpt.convert("RGB")
    x, back = _coloured(inpt, "grayscale_to_rgb")
    return back(host.repeat(x, 3, axis=1) if x.shape[1] == 1 else x.copy())
