"""Random changes to a batch of images that leave their labels true.

They work on host arrays (N, C, H, W) and return new ones. Use them in a DataLoader's `transform`.
"""

from tinygrad_cv.backend import as_generator, host


def random_shift(
    images: host.ndarray, pixels: int, generator: host.random.Generator | None = None
) -> host.ndarray:
    """Shift each image by up to `pixels` up or down and left or right; zeros move in.

    out[n, c, i, j] = images[n, c, i - dy[n], j - dx[n]], and 0 where that is outside the image,
    with dy[n] and dx[n] uniform on {-pixels, ..., pixels}.

    Shapes (N, C, H, W) -> (N, C, H, W), the same dtype. Raises ValueError for another number of
    axes, or a negative number of pixels.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv.data import random_shift
    >>> images = tg.ones(1, 1, 4, 4).numpy()
    >>> random_shift(images, 1, tg.manual_seed(0))[0, 0]
    array([[1., 1., 1., 1.],
           [1., 1., 1., 1.],
           [1., 1., 1., 1.],
           [0., 0., 0., 0.]], dtype=float32)
    """
    _check(images)
    if pixels < 0:
        raise ValueError(f"pixels must be 0 or more, given {pixels}.")
    count, _, height, width = images.shape
    padded = host.pad(images, ((0, 0), (0, 0), (pixels, pixels), (pixels, pixels)))
    # (N, C, 2·pixels + 1, 2·pixels + 1, H, W): every window that a shift can show
    windows = host.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))
    top, left = as_generator(generator).integers(2 * pixels + 1, size=(2, count))
    return windows[host.arange(count), :, top, left]


def random_horizontal_flip(
    images: host.ndarray, p: float = 0.5, generator: host.random.Generator | None = None
) -> host.ndarray:
    """Mirror each image left to right with probability `p`.

    Shapes (N, C, H, W) -> (N, C, H, W), the same dtype. Raises ValueError for another number of
    axes, or a p outside [0, 1].

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv.data import random_horizontal_flip
    >>> images = tg.arange(3).reshape(1, 1, 1, 3).numpy()
    >>> random_horizontal_flip(images, 1.0)
    array([[[[2, 1, 0]]]])
    """
    _check(images)
    if not 0 <= p <= 1:
        raise ValueError(f"p must be a probability between 0 and 1, given {p}.")
    flipped = as_generator(generator).random(len(images)) < p
    return host.where(flipped[:, None, None, None], images[..., ::-1], images)


def _check(images: host.ndarray) -> None:
    if images.ndim != 4:
        raise ValueError(f"images must have the shape (N, C, H, W), given {images.shape}.")
