"""Folders of files, one folder a class."""

import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from operator import index as as_index
from os import PathLike
from pathlib import Path
from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.data.datasets.vision import Transform, VisionDataset
from tinygrad_cv.data.files import DatasetError, explained
from tinygrad_cv.data.transforms.images import pillow

IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "DIB", "GIF", "TIFF", "WEBP")
"""What Pillow is asked to read: others of its formats run programs of the machine."""


class DatasetFolder(VisionDataset):
    """Files in folders, one folder a class: `root`/cat/1.npy, `root`/dog/young/7.npy.

    The folders in `root`, sorted, are the classes 0, 1, ... Sample i is (loader(path), class). The
    files are those, however deep, that end with one of `extensions`, in upper or lower case, or for
    whose path `is_valid_file` says so; one of the two is given. They are sorted by class, folder
    and name. Links to folders are followed, but not round in a circle.

    `samples` is the list of (path, class), `targets` that of the classes, `classes` that of their
    names, and `class_to_idx` tells the class by its name. A subclass may write `find_classes` and
    `make_dataset`.

    Raises DatasetError if there are no folders, or a class has no files, which `allow_empty`
    allows.

    >>> from pathlib import Path
    >>> from tinygrad_cv.data import DatasetFolder
    >>> for name in ("a/one.txt", "b/deeper/two.txt", "b/three.TXT"):
    ...     path = Path("texts", name)
    ...     path.parent.mkdir(parents=True, exist_ok=True)
    ...     _ = path.write_text(path.stem)
    >>> dataset = DatasetFolder("texts", lambda path: Path(path).read_text(), (".txt",))
    >>> list(dataset), dataset.class_to_idx
    ([('one', 0), ('three', 1), ('two', 1)], {'a': 0, 'b': 1})
    """

    def __init__(
        self,
        root: str | PathLike[str],
        loader: Callable[[str], Any],
        extensions: Sequence[str] | None = None,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.loader = loader
        self.extensions = extensions
        self.classes, self.class_to_idx = self.find_classes(str(self.root))
        self.samples = self.make_dataset(
            str(self.root), self.class_to_idx, extensions, is_valid_file, allow_empty
        )
        self.targets = [target for _, target in self.samples]

    def find_classes(self, directory: str | PathLike[str]) -> tuple[list[str], dict[str, int]]:
        """The names of the classes, and the number of each."""
        folder = Path(directory)
        expected = "a folder with a folder for each class in it"
        with explained(folder, expected):
            classes = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
        if not classes:
            raise DatasetError.about(folder, "no folders in it", expected)
        return classes, {name: number for number, name in enumerate(classes)}

    @staticmethod
    def make_dataset(
        directory: str | PathLike[str],
        class_to_idx: dict[str, int],
        extensions: Sequence[str] | None = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> list[tuple[str, int]]:
        """The list of (path, class)."""
        if (extensions is None) == (is_valid_file is None):
            raise ValueError("the files of a folder are told by extensions or by is_valid_file.")
        if extensions is not None:
            ends = (extensions,) if isinstance(extensions, str) else tuple(extensions)
            wanted = f"files that end with {', '.join(ends)}"
        else:
            wanted = "files for which is_valid_file holds"
        samples, empty = [], []
        for name in sorted(class_to_idx):
            folder = os.path.join(directory, name)
            paths = [
                path
                for path in (_paths(folder) if os.path.isdir(folder) else ())
                if (path.lower().endswith(ends) if is_valid_file is None else is_valid_file(path))
            ]
            samples += [(path, class_to_idx[name]) for path in paths]
            if not paths:
                empty.append(name)
        if empty and not allow_empty:
            raise DatasetError.about(
                Path(directory), f"nothing for {', '.join(empty[:6])}", f"{wanted} for each class"
            )
        return samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        path, target = self.samples[as_index(index)]
        return self.transformed(self.loader(path), target)


def _paths(folder: str) -> list[str]:
    """The files in a folder, however deep: by the path of the folder, then by name."""
    found = sorted((place, sorted(names)) for place, names in _walk(folder))
    return [os.path.join(place, name) for place, names in found for name in names]


def _walk(folder: str) -> Iterator[tuple[str, list[str]]]:
    """A folder and those in it, however deep: the path of each, and the names of its files."""
    left: list[tuple[str, frozenset[tuple[int, int]]]] = [(folder, frozenset())]
    while left:
        place, above = left.pop()
        with explained(Path(place), "a folder that can be read"):
            status = os.stat(place)
            here = (status.st_dev, status.st_ino)
            if here in above:  # a link has led back
                continue
            with os.scandir(place) as entries:
                listed = [(entry.name, entry.is_dir()) for entry in entries]
        yield place, [name for name, is_folder in listed if not is_folder]
        left += [
            (os.path.join(place, name), above | {here}) for name, is_folder in listed if is_folder
        ]


class ImageFolder(DatasetFolder):
    """Images in folders, one folder a class: `root`/cat/1.jpg, `root`/dog/young/7.png.

    It is a `DatasetFolder` of the files of .jpg .jpeg .png .ppm .bmp .pgm .tif .tiff .webp, read by
    `load_image`: sample i is (image, class), with a Pillow image in red, green and blue. Give a
    `transform` that makes arrays of one shape, and a DataLoader makes batches. `imgs` is another
    name of `samples`.

    Raises DatasetError as DatasetFolder does, and, when a sample is asked for, for a file that is
    no intact image; ModuleNotFoundError without the extra `images`.

    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from tinygrad_cv.data import ImageFolder
    >>> for name, color in (("cat", "red"), ("dog", "blue")):
    ...     Path("pets", name).mkdir(parents=True)
    ...     Image.new("RGB", (4, 3), color).save(f"pets/{name}/1.png")
    >>> pets = ImageFolder("pets")
    >>> image, target = pets[1]
    >>> image.size, image.getpixel((0, 0)), pets.classes[target]
    ((4, 3), (0, 0, 255), 'dog')
    """

    def __init__(
        self,
        root: str | PathLike[str],
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        loader: Callable[[str], Any] | None = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        super().__init__(
            root,
            load_image if loader is None else loader,
            IMG_EXTENSIONS if is_valid_file is None else None,
            transform,
            target_transform,
            is_valid_file,
            allow_empty,
        )
        self.imgs = self.samples


DAMAGE = (OSError, SyntaxError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
          EOFError, RuntimeError, AssertionError, NotImplementedError, struct.error, zlib.error,
          MemoryError)  # fmt: skip
"""How it shows in Pillow that a file is no intact image."""


def load_image(path: str | PathLike[str]) -> Any:
    """The image in a file as a Pillow image in red, green and blue.

    Gray and palette become colour, transparency is left out, of 16 bits the upper 8 are kept, of a
    moving image there is the first picture. What a camera noted of how it was held is not applied.
    The formats are JPEG, PNG, PPM, BMP, TIFF, WebP and GIF, told by the contents.

    Raises DatasetError for a file that is damaged, cut off, no image, no regular file, or has more
    than twice `PIL.Image.MAX_IMAGE_PIXELS` pixels; ModuleNotFoundError without the extra `images`.

    >>> from PIL import Image
    >>> from tinygrad_cv.data import load_image
    >>> Image.new("L", (2, 2), 7).save("gray.png")
    >>> load_image("gray.png").getpixel((0, 0))
    (7, 7, 7)
    """
    with _image(Path(path)) as image:
        return _in_colour(image)


def image_size(path: str | PathLike[str]) -> tuple[int, int]:
    """Height and width of the image in a file, by its header. Raises what `load_image` does."""
    with _image(Path(path)) as image:
        return image.height, image.width


@contextmanager
def _image(path: Path) -> Iterator[Any]:
    """The image in a file, opened but not decoded yet; failures to do that as DatasetError."""
    module = pillow("Image")
    expected = "an intact image"
    with explained(path, expected):
        if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe would wait for a writer
            raise DatasetError.about(path, "something that is no ordinary file", expected)
        file = path.open("rb")
    with file:
        try:
            with module.open(file, formats=FORMATS) as image:
                yield image
        except (*DAMAGE, module.DecompressionBombError) as error:
            said = "".join(c if c.isprintable() else "?" for c in str(error)[:200])
            named = f"{type(error).__name__}: {said}" if said else type(error).__name__
            found = f"no image, or a damaged one ({named})"
            raise DatasetError.about(path, found, expected) from error


def _in_colour(image: Any) -> Any:
    if image.mode.startswith("I"):
        # Of 16 bits, which Pillow would cut off at 255. "I" has 32, for files of 16.
        values = host.clip(host.asarray(image), 0, 0xFFFF) >> 8
        image = pillow("Image").fromarray(values.astype(host.uint8))
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # of which Pillow would warn
    return image.convert("RGB")


def holds_images(folder: Path) -> bool:
    """Whether there is an image, however deep, in a folder in this one.

    Somebody may have named the root of the disk, so only the first 10,000 folders are looked into.
    """
    with explained(folder, "a folder that can be read"):
        inner = [str(entry) for entry in sorted(folder.iterdir()) if entry.is_dir()]
    walked = islice(chain.from_iterable(map(_walk, inner)), 10_000)
    return any(name.lower().endswith(IMG_EXTENSIONS) for _, names in walked for name in names)
