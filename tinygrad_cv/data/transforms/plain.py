"""The transforms that draw nothing."""

from typing import Any

from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.data.transforms import functional
from tinygrad_cv.data.transforms.geometry import margins, padding_kind, resized_to
from tinygrad_cv.data.transforms.images import (
    InterpolationMode,
    interpolation_mode,
    numbers_of,
    opened,
    pair,
)
from tinygrad_cv.data.transforms.transform import Transform


class ToTensor(Transform):
    """A Pillow image or an array as a Tensor (C, H, W) of floats; uint8 becomes x / 255.

    Of an array (H, W), or (H, W, C) with channels last as Pillow and OpenCV have them, the channels
    go first. An array that begins with 1 to 4 rows, and does not end with 1 to 4 channels, has them
    there already, as images of this package do; so does a batch (N, C, H, W), and every Tensor.

    >>> from PIL import Image
    >>> ToTensor()(Image.new("RGB", (5, 4), (0, 51, 255))).flatten(1)[:, 0]
    tensor([0. , 0.2, 1. ])
    """

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.to_tensor(image)


class PILToTensor(Transform):
    """A Pillow image as a Tensor (C, H, W), its values as they are; what is no Pillow image stays.

    >>> from PIL import Image
    >>> PILToTensor()(Image.new("L", (1, 1), 7))
    tensor([[[7]]], dtype=uint8)
    """

    def change(self, image: Any, **parameters: Any) -> Any:
        return (
            image if isinstance(image, Tensor | host.ndarray) else functional.pil_to_tensor(image)
        )


class ToImage(Transform):
    """A Pillow image or an array as a Tensor (C, H, W), its values as they are; see `ToTensor`.

    >>> import numpy as np
    >>> ToImage()(np.zeros((4, 5, 3), "uint8")).shape
    (3, 4, 5)
    """

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.to_image(image)


class ToPureTensor(Transform):
    """The image as it is: a Tensor is of one class here.

    >>> import tinygrad_cv as tg
    >>> ToPureTensor()(tg.zeros(1, 1, 1)).shape
    (1, 1, 1)
    """

    def change(self, image: Any, **parameters: Any) -> Any:
        return image


class ToDtype(Transform):
    """An array or a Tensor in another dtype; with `scale` black and white stay: see `to_dtype`.

    >>> import tinygrad_cv as tg
    >>> ToDtype("float32", scale=True)(tg.tensor([[[0, 255]]], dtype="uint8"))
    tensor([[[0., 1.]]])
    """

    def __init__(self, dtype: Any, scale: bool = False) -> None:
        try:
            self.dtype = host.dtype("" if dtype is None else dtype)
        except (TypeError, ValueError):
            raise TypeError(f"ToDtype takes a dtype such as tg.float32; got {dtype!r}.") from None
        self.scale = scale

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.to_dtype(image, self.dtype, self.scale)


class ConvertImageDtype(Transform):
    """`ToDtype` with `scale`.

    >>> import tinygrad_cv as tg
    >>> ConvertImageDtype()(tg.tensor([[[0, 255]]], dtype="uint8"))
    tensor([[[0., 1.]]])
    """

    def __init__(self, dtype: Any = "float32") -> None:
        self.dtype = ToDtype(dtype).dtype

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.to_dtype(image, self.dtype, scale=True)


class ToPILImage(Transform):
    """A Tensor (C, H, W) or an array as a Pillow image; see `to_pil_image`.

    >>> import tinygrad_cv as tg
    >>> ToPILImage()(tg.zeros(3, 4, 5)).size
    (5, 4)
    """

    def __init__(self, mode: str | None = None) -> None:
        self.mode = mode

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.to_pil_image(image, self.mode)


class Normalize(Transform):
    """y = (x - mean) / std, channel by channel; uint8 is taken as x / 255.

    >>> import tinygrad_cv as tg
    >>> Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))(tg.ones(3, 1, 1)).flatten()
    tensor([2., 2., 2.])
    """

    def __init__(self, mean: Any, std: Any, inplace: bool = False) -> None:
        self.mean, self.std = numbers_of(mean, "mean"), numbers_of(std, "std")
        if not all(self.std):
            raise ValueError(f"Normalize divides by std, which must not be 0; got {std}.")
        self.inplace = inplace

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.normalize(image, self.mean, self.std, self.inplace)


class Resize(Transform):
    """(.., H, W) -> (.., H', W'): Pillow images by Pillow, others by `interpolate`; see `resize`.

    >>> import tinygrad_cv as tg
    >>> Resize(4)(tg.zeros(3, 8, 10)).shape
    (3, 4, 5)
    """

    def __init__(
        self,
        size: Any,
        interpolation: Any = InterpolationMode.BILINEAR,
        max_size: int | None = None,
        antialias: bool | None = True,
    ) -> None:
        resized_to(1, 1, size, max_size)  # says what is wrong with them
        self.size = size
        self.interpolation = interpolation_mode(interpolation)
        self.max_size = max_size
        self.antialias = antialias

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.resize(
            image, self.size, self.interpolation, self.max_size, self.antialias
        )


class CenterCrop(Transform):
    """The middle of an image: (.., H, W) -> (.., *size), with zeros where it is smaller.

    >>> import tinygrad_cv as tg
    >>> CenterCrop(2)(tg.arange(16).reshape(1, 4, 4))
    tensor([[[ 5,  6],
             [ 9, 10]]])
    """

    def __init__(self, size: Any) -> None:
        self.size = pair(size, "size")

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.center_crop(image, self.size)


class FiveCrop(Transform):
    """The four corners and the middle, as a tuple of five images.

    >>> import tinygrad_cv as tg
    >>> [part.shape for part in FiveCrop((1, 2))(tg.zeros(1, 4, 4))][:2]
    [(1, 1, 2), (1, 1, 2)]
    """

    def __init__(self, size: Any) -> None:
        self.size = pair(size, "size")

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.five_crop(image, self.size)


class TenCrop(Transform):
    """`FiveCrop` of the image and of its mirror image, as a tuple of ten images.

    >>> import tinygrad_cv as tg
    >>> len(TenCrop(2)(tg.zeros(1, 4, 4)))
    10
    """

    def __init__(self, size: Any, vertical_flip: bool = False) -> None:
        self.size = pair(size, "size")
        self.vertical_flip = vertical_flip

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.ten_crop(image, self.size, self.vertical_flip)


class Pad(Transform):
    """(.., H, W) -> (.., H + top + bottom, W + left + right); see `pad`.

    >>> import tinygrad_cv as tg
    >>> Pad((1, 2), padding_mode="edge")(tg.zeros(1, 4, 4)).shape
    (1, 8, 6)
    """

    def __init__(self, padding: Any, fill: Any = 0, padding_mode: str = "constant") -> None:
        margins(padding)  # says what is wrong with them
        self.padding = padding
        self.fill = fill
        self.padding_mode = padding_kind(padding_mode)

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.pad(image, self.padding, self.fill, self.padding_mode)


class Grayscale(Transform):
    """The brightness of each pixel, in one channel or three equal ones; see `rgb_to_grayscale`.

    >>> import tinygrad_cv as tg
    >>> Grayscale()(tg.zeros(3, 4, 4)).shape
    (1, 4, 4)
    """

    def __init__(self, num_output_channels: int = 1) -> None:
        if num_output_channels not in (1, 3):
            raise ValueError(f"num_output_channels is 1 or 3; got {num_output_channels}.")
        self.num_output_channels = num_output_channels

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.rgb_to_grayscale(image, self.num_output_channels)


class RGB(Transform):
    """Three channels: of one the same three times.

    >>> import tinygrad_cv as tg
    >>> RGB()(tg.zeros(1, 4, 4)).shape
    (3, 4, 4)
    """

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.grayscale_to_rgb(image)


class LinearTransformation(Transform):
    """(x - mean) · M of each image as a row of C·H·W numbers, such as whitening.

    `transformation_matrix` (C·H·W, C·H·W) and `mean_vector` (C·H·W,).

    >>> import tinygrad_cv as tg
    >>> LinearTransformation(2 * tg.eye(2), tg.ones(2))(tg.tensor([[[1.0, 3.0]]]))
    tensor([[[0., 4.]]])
    """

    def __init__(self, transformation_matrix: Any, mean_vector: Any) -> None:
        matrix, mean = (
            v.numpy() if isinstance(v, Tensor) else host.asarray(v)
            for v in (transformation_matrix, mean_vector)
        )
        if matrix.ndim != 2 or matrix.shape != 2 * mean.shape:
            raise ValueError(
                "LinearTransformation takes a matrix (D, D) and a vector (D,); got the shapes "
                f"{matrix.shape} and {mean.shape}."
            )
        self.transformation_matrix, self.mean_vector = matrix, mean

    def change(self, image: Any, **parameters: Any) -> Any:
        x, back = opened(image, "LinearTransformation")
        rows = x.reshape(len(x), -1)
        if rows.shape[1] != len(self.mean_vector):
            raise ValueError(
                f"LinearTransformation of {len(self.mean_vector)} numbers got images {x.shape[1:]}."
            )
        dtype = x.dtype if x.dtype.kind == "f" else host.dtype("float32")
        moved = rows.astype(dtype) - self.mean_vector.astype(dtype)
        return back((moved @ self.transformation_matrix.astype(dtype)).reshape(x.shape))


class ImageClassification(Transform):
    """What published weights of a classifier expect: resize, crop the middle, scale, normalize.

    A Pillow image, an array or a Tensor, alone or in a batch, becomes a Tensor of float32
    (.., C, crop_size, crop_size): uint8 as x / 255, minus `mean`, over `std`.

    >>> import tinygrad_cv as tg
    >>> preset = ImageClassification(crop_size=4, resize_size=5)
    >>> preset(tg.zeros(3, 8, 10, dtype="uint8")).shape
    (3, 4, 4)
    """

    def __init__(
        self,
        *,
        crop_size: int,
        resize_size: int = 256,
        mean: Any = (0.485, 0.456, 0.406),
        std: Any = (0.229, 0.224, 0.225),
        interpolation: Any = InterpolationMode.BILINEAR,
        antialias: bool | None = True,
    ) -> None:
        self.crop_size = CenterCrop(crop_size).size
        resize = Resize(resize_size, interpolation, antialias=antialias)
        self.resize_size, self.interpolation = resize.size, resize.interpolation
        normalize = Normalize(mean, std)
        self.mean, self.std = normalize.mean, normalize.std
        self.antialias = antialias

    def change(self, image: Any, **parameters: Any) -> Any:
        image = functional.resize(
            image, self.resize_size, self.interpolation, antialias=self.antialias
        )
        image = functional.to_image(functional.center_crop(image, self.crop_size))
        image = functional.to_dtype(image, "float32", scale=True)
        return functional.normalize(image, self.mean, self.std)

    def describe(self) -> str:
        """What it does, in a sentence."""
        return (
            f"The shorter side is resized to {self.resize_size} ({self.interpolation.value}), the "
            f"middle {self.crop_size} cropped, values scaled to [0, 1] and normalized with "
            f"mean={self.mean} and std={self.std}."
        )
