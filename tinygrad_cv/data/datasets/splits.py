"""A whole dataset as arrays, named by the folder that holds it."""

from collections.abc import Callable
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.data import transforms as T
from tinygrad_cv.data.collate import as_array
from tinygrad_cv.data.datasets.cifar import CIFAR10, CIFAR100
from tinygrad_cv.data.datasets.folder import ImageFolder, holds_images, image_size
from tinygrad_cv.data.datasets.mnist import KMNIST, MNIST, QMNIST, FashionMNIST
from tinygrad_cv.data.datasets.stl10 import STL10
from tinygrad_cv.data.datasets.svhn import SVHN
from tinygrad_cv.data.datasets.vision import ArrayDataset
from tinygrad_cv.data.files import (
    CIFAR10_FILES,
    CIFAR10_FOLDER,
    MAX_BYTES,
    MNIST_FILES,
    DatasetError,
    Splits,
    files_in,
    held_out,
    load_cifar10,
    load_mnist,
    scaled,
    split_digits,
)

SIDE = 64  # pixels, of images that are not all of one size
TEST_FOLDERS = ("test", "val", "valid", "validation")


def load_dataset(
    source: str | PathLike[str], max_bytes: int | None = MAX_BYTES, size: int | None = None
) -> Splits:
    """The dataset that `source` names: "digits", or a folder that holds one.

    "digits" are the images of `load_digits`, of which the first, sixth, eleventh, ... of each class
    are held out for the test: 364 of the 1,797, the same ones always. Which one a folder holds is
    told by what is in it:

    - the files of `load_mnist` or `load_cifar10`,
    - what is in the `root` of `MNIST`, `FashionMNIST`, `KMNIST`, `QMNIST`, `CIFAR10`, `CIFAR100`,
      `SVHN` or `STL10`, as those classes describe it,
    - or else images in a folder for each class, as in an `ImageFolder`; or folders train and test
      (or val, valid, validation) of that kind. Without those, images are held out for the test as
      with the digits.

    Images of a folder are read in colour and brought to `size` x `size`: the shorter side becomes
    as long, and the middle is cut out. With `size` None they stay as they are if all have the same
    size, and become 64x64 else.

    A gzipped file that unzips to more than `max_bytes` is refused, for a small file can unzip to
    more than there is memory, and so are images of a folder that take more; None allows any size.

    Raises DatasetError.

    >>> from tinygrad_cv.data import load_dataset
    >>> digits = load_dataset("digits")
    >>> digits.train_images.shape, digits.test_images.shape, digits.classes
    ((1433, 1, 8, 8), (364, 1, 8, 8), 10)
    """
    if source == "digits":
        return split_digits()
    if size is not None and size < 1:
        raise ValueError(f"the size of images is at least 1; given {size}.")
    folder = Path(source)
    expected = (
        f"'digits', a folder with MNIST ({MNIST_FILES[0]} and so on), one with the binary version "
        f"of CIFAR-10 ({CIFAR10_FILES[0]} and so on), one with another dataset as torchvision has "
        "it, or one with a folder of images for each class"
    )
    names = files_in(folder, expected)
    found: dict[str, Load] = {}
    for name, marks, load in KNOWN:
        if any(_has(folder, names, mark) for mark in marks):
            found.setdefault(name, load)
    if len(found) > 1:
        raise DatasetError.about(folder, f"files of both {' and '.join(found)}", "one dataset only")
    for load in found.values():
        return load(folder, max_bytes)
    if holds_images(folder):
        return _load_images(folder, max_bytes, size)
    listed = sorted(path.name for path in names.values())
    shown = ", ".join(listed[:6]) + (", ..." if len(listed) > 6 else "")
    raise DatasetError.about(folder, f"a folder with {shown or 'nothing in it'}", expected)


Load = Callable[[Path, int | None], Splits]


def _has(folder: Path, names: dict[str, Path], mark: str) -> bool:
    first, _, rest = mark.partition("/")
    return first in names and (not rest or (folder / mark).is_dir())


def _of_two(name: str, make: Callable[[Path, bool], ArrayDataset]) -> Load:
    """How a dataset is loaded whose two parts `make(root, train)` gives."""

    def load(root: Path, max_bytes: int | None) -> Splits:
        parts: list[host.ndarray] = []
        for train in (True, False):
            part = make(root, train)
            every = host.arange(len(part))
            parts += [scaled(part._pixels(every)), part._labels(every)]
        classes = tuple(part.classes)
        return Splits(parts[0], parts[1], parts[2], parts[3], len(classes), name, classes)

    return load


def _part(train: bool) -> str:
    return "train" if train else "test"


def _of_mnist(kind: type[MNIST], name: str) -> Load:
    """How a dataset is loaded that has the files of MNIST."""

    def load(root: Path, max_bytes: int | None) -> Splits:
        splits = load_mnist(root / kind.__name__ / "raw", max_bytes)
        return replace(splits, name=name, class_names=tuple(kind.classes))

    return load


def _cifar10(root: Path, max_bytes: int | None) -> Splits:
    return load_cifar10(root)


KNOWN: list[tuple[str, tuple[str, ...], Load]] = [
    ("MNIST", MNIST_FILES, load_mnist),
    ("CIFAR-10", (CIFAR10_FOLDER, *CIFAR10_FILES), _cifar10),
    ("MNIST", ("MNIST/raw",), _of_mnist(MNIST, "MNIST")),
    ("Fashion-MNIST", ("FashionMNIST/raw",), _of_mnist(FashionMNIST, "Fashion-MNIST")),
    ("KMNIST", ("KMNIST/raw",), _of_mnist(KMNIST, "KMNIST")),
    (
        "QMNIST",
        ("QMNIST/raw",),
        _of_two("QMNIST", lambda root, train: QMNIST(root, _part(train))),
    ),
    ("CIFAR-10", ("cifar-10-batches-py",), _of_two("CIFAR-10", CIFAR10)),
    (
        "CIFAR-100",
        ("cifar-100-python", "cifar-100-binary"),
        _of_two("CIFAR-100", CIFAR100),
    ),
    ("SVHN", ("train_32x32.mat",), _of_two("SVHN", lambda root, train: SVHN(root, _part(train)))),
    ("STL-10", ("stl10_binary",), _of_two("STL-10", lambda root, train: STL10(root, _part(train)))),
]
"""Each dataset by what is in its folder, and how it is loaded from there."""


def _load_images(folder: Path, max_bytes: int | None, size: int | None) -> Splits:
    """Folders of images, one folder a class."""
    train_folder = folder / "train"
    others = [folder / name for name in TEST_FOLDERS if (folder / name).is_dir()]
    if not (train_folder.is_dir() and holds_images(train_folder)):
        train_folder, others = folder, []
    parts = [ImageFolder(path) for path in (train_folder, *others[:1])]
    if parts[-1].classes != parts[0].classes:
        raise DatasetError.about(
            others[0],
            f"folders for {', '.join(parts[1].classes[:6])}",
            f"those of {train_folder.name}, {', '.join(parts[0].classes[:6])}",
        )
    paths = [path for part in parts for path, _ in part.samples]
    change: Any = None
    if size is None:
        sizes = {image_size(path) for path in paths}
        height, width = sizes.pop() if len(sizes) == 1 else (SIDE, SIDE)
        resized = bool(sizes)
    else:
        height, width, resized = size, size, True
    if resized:
        change = T.Compose([T.Resize(height), T.CenterCrop(height)])
    needed = len(paths) * 3 * height * width * host.dtype(host.float32).itemsize
    if max_bytes is not None and needed > max_bytes:
        raise DatasetError.about(
            folder,
            f"{len(paths):,} images of {height}x{width}, which take {needed:,} bytes",
            f"at most {max_bytes:,} bytes, as max_bytes (in the shell: --max-bytes) has it",
        )
    arrays = []
    for part in parts:
        images = host.empty((len(part), 3, height, width), host.float32)
        for place, (path, _) in enumerate(part.samples):
            image = part.loader(path)
            pixels = as_array(image if change is None else change(image))
            if pixels.shape != images.shape[1:]:  # another size than its header had before
                raise DatasetError.about(
                    Path(path), f"an image of {pixels.shape}", f"{images.shape[1:]}"
                )
            images[place] = scaled(pixels)
        arrays.append((images, host.asarray(part.targets, host.int64)))
    classes = tuple(parts[0].classes)
    (images, labels), (test_images, test_labels) = arrays[0], arrays[-1]
    if len(parts) == 1:
        test = held_out(labels, len(classes))
        test_images, test_labels = images[test], labels[test]
        images, labels = images[~test], labels[~test]
    return Splits(
        images, labels, test_images, test_labels, len(classes), folder.resolve().name, classes
    )
