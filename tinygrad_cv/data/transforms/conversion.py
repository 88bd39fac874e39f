"""From Pillow images and arrays to Tensors and back, from one dtype to another."""

from typing import Any

from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.backend.base import DEFAULT
from tinygrad_cv.data.transforms.images import (
    array_of,
    bound,
    check_order,
    is_pillow,
    numbers_of,
    opened,
    pillow,
)

FOUR = range(1, 5)
"""How many channels a Pillow image has."""


def channels_first(array: host.ndarray, name: str) -> host.ndarray:
    """An array (H, W), or (H, W, C) as Pillow and OpenCV have it, as (C, H, W).

    One that has 1 to 4 rows, and not 1 to 4 channels behind them, is (C, H, W) already.
    """
    if array.ndim == 2:
        return array[None]
    if array.ndim not in (3, 4):
        raise ValueError(
            f"{name} takes an array (H, W), (H, W, C), (C, H, W) or (N, C, H, W); got the shape "
            f"{array.shape}."
        )
    if array.ndim == 4:
        check_order(array.shape, name)
        return array
    first = array.shape[0] in FOUR and array.shape[2] not in FOUR
    return array if first else array.transpose(2, 0, 1)


def to_image(inpt: Any) -> Any:
    """A Pillow image or an array as a Tensor (C, H, W) on the CPU, its values as they are.

    Of an array (H, W, C) the channels go first; see `ToTensor`. A Tensor stays what it is.

    >>> import numpy as np
    >>> to_image(np.zeros((4, 5, 3), "uint8")).shape
    (3, 4, 5)
    """
    if isinstance(inpt, Tensor):
        return inpt if inpt.ndim > 2 else inpt[None]
    if is_pillow(inpt):
        return Tensor(array_of(inpt), device="cpu")
    if isinstance(inpt, host.ndarray):
        return Tensor(channels_first(inpt, "to_image"), device="cpu")
    raise TypeError(f"to_image takes a Pillow image, an array or a Tensor; got {_kind(inpt)}.")


def pil_to_tensor(pic: Any) -> Tensor:
    """A Pillow image as a Tensor (C, H, W) on the CPU, its values as they are.

    >>> from PIL import Image
    >>> pil_to_tensor(Image.new("RGB", (5, 4), (1, 2, 3))).flatten(1)[:, 0]
    tensor([1, 2, 3], dtype=uint8)
    """
    if not is_pillow(pic):
        raise TypeError(f"pil_to_tensor takes a Pillow image; got {_kind(pic)}.")
    return Tensor(array_of(pic), device="cpu")


def to_tensor(inpt: Any) -> Tensor:
    """A Pillow image or an array as a Tensor (C, H, W) of floats; uint8 becomes x / 255.

    Of an array (H, W, C) the channels go first; see `ToTensor`.

    >>> import numpy as np
    >>> to_tensor(np.array([[0, 51], [102, 255]], "uint8"))
    tensor([[[0. , 0.2],
             [0.4, 1. ]]])
    """
    if is_pillow(inpt):
        x = array_of(inpt)
        if inpt.mode == "1":
            x = x.astype("uint8") * host.uint8(255)
    elif isinstance(inpt, Tensor):
        return to_dtype(inpt, DEFAULT.float, scale=True) if inpt.dtype == host.uint8 else inpt
    elif isinstance(inpt, host.ndarray):
        x = channels_first(inpt, "to_tensor")
    else:
        raise TypeError(f"to_tensor takes a Pillow image, an array or a Tensor; got {_kind(inpt)}.")
    return Tensor(
        x.astype(DEFAULT.float) / bound(x.dtype) if x.dtype == host.uint8 else x, device="cpu"
    )


def to_dtype(inpt: Any, dtype: Any = "float32", scale: bool = False) -> Any:
    """An image or a batch in another dtype; with `scale` black stays black and white white.

    White is 1 for floats, and the largest number of an integer dtype. A float x becomes the integer
    ⌊x · (white + 1 - 0.001)⌋, so that each has an equal share of [0, 1]; an integer dtype keeps the
    upper bits, or puts the value into them. A Pillow image is an error: ToImage comes first.

    >>> to_dtype(Tensor([[[0.0, 0.5, 1.0]]]), "uint8", scale=True)
    tensor([[[  0, 127, 255]]], dtype=uint8)
    """
    if is_pillow(inpt):
        raise TypeError("to_dtype takes an array or a Tensor; make one of it by ToImage() first.")
    x, back = opened(inpt, "to_dtype")
    return back(scaled(x, host.dtype(dtype)) if scale else x.astype(dtype))


def scaled(x: host.ndarray, dtype: Any) -> Any:
    """The array in another dtype, black still black and white white; see `to_dtype`."""
    given = x.dtype
    if given == dtype:
        return x
    if given.kind == "b":
        return x.astype(dtype) * dtype.type(bound(dtype))
    if dtype.kind == "f":
        return x.astype(dtype) if given.kind == "f" else x.astype(dtype) / dtype.type(bound(given))
    if dtype.kind == "b":
        return x.astype(bool)
    white = int(bound(dtype))
    if given.kind == "f":
        if white > 2 ** (host.finfo(given).nmant + 1):
            raise ValueError(f"{given} has too few digits for all values of {dtype}.")
        return (x * given.type(white + 1 - 1e-3)).astype(dtype)
    bits, wanted = (int(bound(d)).bit_length() for d in (given, dtype))
    if bits > wanted:
        return (x >> (bits - wanted)).astype(dtype)
    return x.astype(dtype) << (wanted - bits)


def convert_image_dtype(image: Any, dtype: Any = "float32") -> Any:
    """`to_dtype` with `scale`.

    >>> convert_image_dtype(Tensor([[[0.0, 1.0]]]), "uint8")
    tensor([[[  0, 255]]], dtype=uint8)
    """
    return to_dtype(image, dtype, scale=True)


MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
WIDER = {"int16": "I;16", "uint16": "I;16", "int32": "I", "float32": "F"}


def to_pil_image(pic: Any, mode: str | None = None) -> Any:
    """A Tensor (C, H, W), or an array (H, W), (H, W, C) or (C, H, W), as a Pillow image.

    The mode is L, LA, RGB or RGBA by the number of channels; of one channel of 16 or 32 bits it is
    I;16, I or F. Floats of a Tensor, and of an array with several channels, become ⌊255 · x⌋.

    >>> to_pil_image(Tensor([[[0.0, 1.0]]])).getpixel((1, 0))
    255
    """
    image = pillow("Image")
    if isinstance(pic, Tensor):
        x = pic.detach().numpy()
        x = x[None] if x.ndim == 2 else x
    elif isinstance(pic, host.ndarray):
        x = channels_first(pic, "to_pil_image")
    else:
        raise TypeError(f"to_pil_image takes an array or a Tensor; got {_kind(pic)}.")
    if x.ndim != 3 or len(x) not in FOUR:
        raise ValueError(
            "to_pil_image takes one image (C, H, W) of 1 to 4 channels; got the shape "
            f"{tuple(pic.shape)}."
        )
    keeps = mode == "F" or (mode is None and len(x) == 1 and not isinstance(pic, Tensor))
    if x.dtype.kind == "f" and not keeps:
        x = (x * x.dtype.type(255)).astype("uint8")
    elif x.dtype == host.float64:
        x = x.astype("float32")
    found = MODES[len(x)]
    if x.dtype != host.uint8:
        if len(x) > 1 or str(x.dtype) not in WIDER:
            raise TypeError(
                f"to_pil_image takes uint8 and floats, and one channel of {', '.join(WIDER)}; got "
                f"{x.dtype} of the shape {tuple(pic.shape)}."
            )
        found = WIDER[str(x.dtype)]
    flat = host.ascontiguousarray(x[0] if len(x) == 1 else x.transpose(1, 2, 0))
    if mode is None or mode == found:
        return image.frombytes(found, flat.shape[1::-1], flat.tobytes())
    if image.getmodebands(mode) != len(x):
        raise ValueError(f"to_pil_image: the mode {mode!r} is not one of {len(x)} channels.")
    return image.frombytes(mode, flat.shape[1::-1], flat.tobytes())


def normalize(inpt: Any, mean: Any, std: Any, inplace: bool = False) -> Any:
    """y = (x - mean) / std, channel by channel; uint8 is taken as x / 255.

    (C, H, W) or (N, C, H, W), and one mean and one deviation, or one for each channel. Floats keep
    their dtype, uint8 becomes the default one. `inplace` changes an array itself.

    Raises TypeError for other dtypes, and ValueError if a deviation is 0 or the number of channels
    is another.

    >>> normalize(Tensor([[[0.0, 1.0]]]), [0.5], [0.25])
    tensor([[[-2.,  2.]]])
    """
    if is_pillow(inpt):
        raise TypeError("normalize takes an array or a Tensor; make one of it by ToTensor() first.")
    x, back = opened(inpt, "normalize")
    if x.dtype == host.uint8:
        y = x.astype(DEFAULT.float)
        y /= y.dtype.type(255)
    elif x.dtype.kind != "f":
        raise TypeError(
            f"normalize takes floats or uint8; got {x.dtype}: convert it by ToDtype first."
        )
    else:
        y = x if inplace and isinstance(inpt, host.ndarray) else x.copy()
    centre, spread = per_channel(mean, x, "mean"), per_channel(std, x, "std")
    if not spread.all():
        raise ValueError(f"normalize divides by std, which must not be 0; got {std}.")
    y -= centre.astype(y.dtype)
    y /= spread.astype(y.dtype)
    return inpt if y is x else back(y)


def per_channel(values: Any, x: host.ndarray, name: str) -> host.ndarray:
    """One number, or one for each channel of (N, C, H, W), as an array (C, 1, 1)."""
    numbers = host.array(numbers_of(values, name))
    if numbers.size not in (1, x.shape[1]):
        raise ValueError(
            f"{name} is one number, or one for each of the {x.shape[1]} channels; got {values} for "
            f"images {x.shape[1:]}."
        )
    return numbers.reshape(-1, 1, 1)


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"
