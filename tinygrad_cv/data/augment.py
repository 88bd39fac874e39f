"""Random changes to a batch of images that leave their labels true.

They work on host arrays (N, C, H, W) and return new ones; `transforms` has more of the kind.
"""

from tinygrad_cv.backend import host
from tinygrad_cv.data.transforms.random_geometry import RandomCrop, RandomHorizontalFlip


def random_shift(
    images: host.ndarray, pixels: int, generator: host.random.Generator | None = None
) -> host.ndarray:
    """Shift each image by up to `pixels` up or down and left or right; zeros move in.

    out[n, c, i, j] = images[n, c, i - dy[n], j - dx[n]], and 0 where that is outside the image,
    with dy[n] and dx[n] uniform on {-pixels, ..., pixels}. It is the transform `RandomCrop` to the
    size of the images, with padding.

    Shapes (N, C, H, W) -> (N, C, H, W), the same dtype. Raises ValueError for another number of
    axes, or a negative number of pixels.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv.data import random_shift
    >>> images = tg.ones(1, 1, 4, 4).numpy()
    >>> random_shift(images, 1, tg.manual_seed(0))[0, 0]
    array([[0., 1., 1., 1.],
           [0., 1., 1., 1.],
           [0., 1., 1., 1.],
           [0., 1., 1., 1.]], dtype=float32)
    """
    _check(images)
    if pixels < 0:
        raise ValueError(f"pixels must be 0 or more, given {pixels}.")
    shifted: host.ndarray = RandomCrop(images.shape[2:], pixels, generator=generator)(images)
    return shifted


def random_horizontal_flip(
    images: host.ndarray, p: float = 0.5, generator: host.random.Generator | None = None
) -> host.ndarray:
    """Mirror each image left to right with probability `p`, as `RandomHorizontalFlip` does.

    Shapes (N, C, H, W) -> (N, C, H, W), the same dtype. Raises ValueError for another number of
    axes, or a p outside [0, 1].

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv.data import random_horizontal_flip
    >>> images = tg.arange(3).reshape(1, 1, 1, 3).numpy()
    >>> random_horizontal_flip(images, 1.0)
    array([[[[2, 1, 0]]]])
    """
    _check(images)
    flipped: host.ndarray = RandomHorizontalFlip(p, generator=generator)(images)
    return flipped.copy() if flipped is images else flipped


def _check(images: host.ndarray) -> None:
    if images.ndim != 4:
        raise ValueError(f"images must have the shape (N, C, H, W), given {images.shape}.")
