"""Datasets that need no files: the digits of the package, and images at random."""

from operator import index as as_index
from os import PathLike
from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.data.datasets.mnist import DIGITS
from tinygrad_cv.data.datasets.vision import ArrayDataset, Transform, VisionDataset, as_image
from tinygrad_cv.data.files import split_digits


class Digits(ArrayDataset):
    """The 1,797 handwritten digits that come with the package, 8x8, in gray.

    `train` says which part: 1,433 of them, or the 364 that `load_dataset("digits")` holds out. A
    sample is (image, class); see `ArrayDataset` for what an image is. `data` is uint8 (N, 8, 8),
    ⌊255·k/16 + 1/2⌋ for the count k of dark dots that a pixel stands for, so ToTensor gives k/16
    but for 1/510 at most; `targets` is int64 (N,). `root` and `download` are taken, and not needed.

    Source: see `load_digits`.

    >>> from tinygrad_cv.data import DataLoader, Digits
    >>> images, classes = next(iter(DataLoader(Digits(), batch_size=32)))
    >>> images.shape, images.dtype, classes.dtype
    ((32, 1, 8, 8), dtype('uint8'), dtype('int64'))
    """

    classes = DIGITS

    def __init__(
        self,
        root: str | PathLike[str] | None = None,
        train: bool = True,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        splits = split_digits()
        images = splits.train_images if train else splits.test_images
        self.data = host.floor(images[:, 0] * 255 + 0.5).astype(host.uint8)
        self.targets = splits.train_labels if train else splits.test_labels

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"


class FakeData(VisionDataset):
    """Images and classes at random, to try a program without data.

    Sample i is the same whenever and in whatever order it is asked for: its values are drawn from
    a generator of its own, seeded by `random_offset` + i. The image has `image_size` (C, H, W) and
    uniform bytes; see `ArrayDataset` for what an image is. The class is uniform too, below
    `num_classes`. They are not the numbers that torchvision draws.

    Raises ValueError for sizes below 1.

    >>> from tinygrad_cv.data import FakeData
    >>> fake = FakeData(size=5, image_size=(3, 4, 4), num_classes=2)
    >>> len(fake), fake[3][1] == FakeData(3, (3, 4, 4), 2, random_offset=2)[1][1]
    (5, True)
    """

    def __init__(
        self,
        size: int = 1000,
        image_size: tuple[int, int, int] = (3, 224, 224),
        num_classes: int = 10,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        random_offset: int = 0,
    ) -> None:
        super().__init__(transform=transform, target_transform=target_transform)
        if size < 0 or num_classes < 1 or len(image_size) != 3 or min(image_size) < 1:
            raise ValueError(
                "FakeData has size 0 or more, an image_size (C, H, W) and num_classes of 1 or more;"
                f" given {size}, {image_size} and {num_classes}."
            )
        self.size = size
        self.image_size = image_size
        self.num_classes = num_classes
        self.random_offset = random_offset

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        place = as_index(index)
        if not -self.size <= place < self.size:
            raise IndexError(f"sample {index} of a dataset of {self.size}.")
        seed = place % self.size + self.random_offset
        generator = host.random.default_rng([seed % (1 << 64), int(seed < 0)])
        pixels = generator.integers(0, 256, self.image_size, dtype=host.uint8)
        target = int(generator.integers(self.num_classes))
        return self.transformed(as_image(pixels), target)
