"""STL-10, in its binary version."""

from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

from tinygrad_cv.backend import host
from tinygrad_cv.data.datasets.archives import extract_archive
from tinygrad_cv.data.datasets.vision import ArrayDataset, Transform, fetched, one_of
from tinygrad_cv.data.files import DatasetError, checked_labels, located, opened, read

SHAPE = (3, 96, 96)
KINDS = "airplane bird car cat deer dog horse monkey ship truck"
PIXELS = 3 * 96 * 96
MOST = 100_000  # images in a file, of which the unlabelled ones are the most
FOLDS = 10


class STL10(ArrayDataset):
    """Photographs of ten kinds of things, 96x96, in colour, few of them with labels.

    `split` is train (5,000), test (8,000), unlabeled (100,000, with the class -1; 2.8 GB) or
    train+unlabeled. `folds`, 0 to 9, stands for one of the ten published thousands of the training
    images. The files lie in `root`/stl10_binary, and `download` fetches them (2.6 GB).

    A sample is (image, class); see `ArrayDataset` for what an image is. `data` is an array uint8
    (N, 3, 96, 96), `labels` (also `targets`) one of int64 (N,).

    Raises ValueError for another split or fold, DatasetError for files that are missing or damaged,
    and hub.DownloadError.

    Source: A. Coates, H. Lee and A. Y. Ng, "An analysis of single-layer networks in unsupervised
    feature learning", AISTATS 2011.

    >>> from tinygrad_cv.data import STL10
    >>> STL10.classes
    ['airplane', 'bird', 'car', 'cat', 'deer', 'dog', 'horse', 'monkey', 'ship', 'truck']
    """

    base_folder = "stl10_binary"
    url = "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz"
    filename = "stl10_binary.tar.gz"
    tgz_md5 = "91f7769df0f17e558f3565bffb0c7dfb"
    splits = ("train", "train+unlabeled", "unlabeled", "test")
    folds_list_file = "fold_indices.txt"
    classes = KINDS.split()
    axes = "NCHW"
    _files: ClassVar[dict[str, tuple[str, ...]]] = {
        "train": ("train_X.bin", "train_y.bin"),
        "unlabeled": ("unlabeled_X.bin",),
        "test": ("test_X.bin", "test_y.bin"),
    }

    def __init__(
        self,
        root: str | PathLike[str],
        split: str = "train",
        folds: int | None = None,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.split = one_of("the split of STL10", split, self.splits)
        if folds is not None and (type(folds) is not int or not 0 <= folds < FOLDS):
            raise ValueError(f"a fold of STL10 is a number from 0 to 9, or None; given {folds!r}.")
        self.folds = folds
        if download:
            self.download()
        parts = [self._read(part) for part in self.split.split("+")]
        self.data, self.labels = parts[0]
        if len(parts) > 1:
            self.data, self.labels = (host.concatenate([a, b]) for a, b in zip(*parts, strict=True))

    @property
    def targets(self) -> Any:
        """The labels, by the name that other datasets have for them."""
        return self.labels

    def _read(self, part: str) -> tuple[host.ndarray, host.ndarray]:
        folder = Path(str(self.root)) / self.base_folder
        names = list(self._files[part])
        if part == "train" and self.folds is not None:
            names.append(self.folds_list_file)
        expected = f"a folder with {', '.join(names)}, which download=True fetches"
        images_path, *others = located(folder, names, expected)
        images = _images(images_path)
        if not others:
            return images, host.full(len(images), -1)
        labels = _labels(others[0], len(images))
        if self.folds is not None and part == "train":
            chosen = _fold(others[1], self.folds, len(images))
            return images[chosen], labels[chosen]
        return images, labels

    def download(self) -> None:
        """Fetch and unpack the archive if a file is not there. Raises hub.DownloadError."""
        root = Path(str(self.root))
        names = [self.folds_list_file, *(name for part in self._files.values() for name in part)]
        if not all((root / self.base_folder / name).is_file() for name in names):
            extract_archive(fetched(root, self.filename, [self.url], self.tgz_md5), root)

    def extra_repr(self) -> str:
        return f"Split: {self.split}"


def _images(path: Path) -> host.ndarray:
    """uint8 (N, 3, 96, 96) of a file with the columns of each plane one after the other."""
    expected = f"1 to {MOST:,} images of {PIXELS:,} bytes"
    contents = _contents(path, MOST * PIXELS, expected)
    if not contents or len(contents) % PIXELS:
        raise DatasetError.about(path, f"{len(contents):,} bytes", expected)
    return host.frombuffer(contents, host.uint8).reshape(-1, *SHAPE).swapaxes(2, 3)


def _labels(path: Path, count: int) -> host.ndarray:
    """int64 (N,), 0 to 9; in the file they are 1 to 10."""
    contents = _contents(path, count, f"{count:,} labels, one for each image")
    if len(contents) != count:
        raise DatasetError.about(path, f"{len(contents):,} labels", f"{count:,}")
    return checked_labels(host.frombuffer(contents, host.uint8).astype(host.int64) - 1, path)


def _fold(path: Path, fold: int, count: int) -> host.ndarray:
    """The indices in one of the lines."""
    expected = f"{FOLDS} lines with numbers of images, 0 to {count - 1:,}"
    lines = bytes(_contents(path, 1 << 20, expected)).splitlines()
    words = lines[fold].split() if fold < len(lines) else []
    if not words or not all(word.isdigit() and len(word) < 10 for word in words):
        raise DatasetError.about(path, f"no numbers in line {fold + 1}", expected)
    chosen = host.asarray([*map(int, words)])
    if chosen.max() >= count:
        raise DatasetError.about(path, f"the number {chosen.max()}", expected)
    return chosen


def _contents(path: Path, most: int, expected: str) -> bytearray:
    with opened(path, expected) as (file, _, _):
        contents = read(file, most + 1)
    if len(contents) > most:
        raise DatasetError.about(path, f"more than {most:,} bytes", expected)
    return contents
