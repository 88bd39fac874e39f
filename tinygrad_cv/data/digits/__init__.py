"""1,797 handwritten digits, 8x8, that come with the package. SOURCE.md says where from."""

from importlib.resources import files

from tinygrad_cv.backend import host


def load_digits() -> tuple[host.ndarray, host.ndarray]:
    """The images, float32 (1797, 1, 8, 8) with values in [0, 1], and the labels, int64 (1797,).

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository, 1998, doi:10.24432/C50P49, CC BY 4.0.

    >>> from tinygrad_cv.data import load_digits
    >>> images, labels = load_digits()
    >>> images.shape, images.dtype, labels[:5]
    ((1797, 1, 8, 8), dtype('float32'), array([0, 1, 2, 3, 4]))
    """
    with files(__name__).joinpath("digits.npz").open("rb") as file, host.load(file) as archive:
        images, labels = archive["images"], archive["labels"]
    # A pixel counts the dark ones among 4x4 pixels of the original bitmap: 0 to 16.
    return host.divide(images[:, None], 16, dtype=host.float32), labels.astype(host.int64)
