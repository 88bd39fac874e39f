"""MNIST and CIFAR-10 as their authors publish them, read from files that are not trusted.

Whatever is wrong with a file comes out as a DatasetError, and nothing is read on the word of a
header alone: the size that it promises is first compared with the size of the file.
"""

import gzip
import lzma
import math
import stat
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import BinaryIO, cast

from tinygrad_cv.backend import host
from tinygrad_cv.data.digits import load_digits
from tinygrad_cv.storage import written

CLASSES = 10  # in each of the three datasets

IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
IDX_MAX_AXES = 64  # what a NumPy array can have
GZIP_MAGIC = b"\x1f\x8b"
DEFLATE_MAX_RATIO = 1032  # no deflate stream expands further (zlib's technical details)
XZ_MAGIC = b"\xfd7zXZ\0"
XZ_MEMORY = 128 << 20  # to unzip: what the strongest preset of xz asks for is 65 MiB
XZ_MAX_RATIO = 1 << 14  # zeros shrink to a 7,000th
MAX_BYTES = 1 << 30
"""The most that a zipped file may unzip to by default: 20 times the images of MNIST."""
CHUNK = 1 << 20

MNIST_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

CIFAR10_FOLDER = "cifar-10-batches-bin"
CIFAR10_FILES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
CIFAR10_KINDS = "airplane automobile bird cat deer dog frog horse ship truck"
CIFAR_SHAPE = (3, 32, 32)
CIFAR10_RECORD = 1 + math.prod(CIFAR_SHAPE)  # a label, then the red, green and blue planes
CIFAR_MAX_RECORDS = (10_000, 50_000)  # in a file of CIFAR-10, and of CIFAR-100


class DatasetError(ValueError):
    """A dataset cannot be read. One sentence says which file, what was found, what was expected."""

    @classmethod
    def about(cls, path: Path | str, found: str, expected: str) -> "DatasetError":
        return cls(f"{path}: found {found}, expected {expected}.")


@dataclass(frozen=True, eq=False)
class Splits:
    """A dataset for classification: images float32 (N, C, H, W) in [0, 1], labels int64 (N,).

    `class_names` are empty where they are not known.
    """

    train_images: host.ndarray
    train_labels: host.ndarray
    test_images: host.ndarray
    test_labels: host.ndarray
    classes: int
    name: str
    class_names: tuple[str, ...] = ()


def split_digits() -> Splits:
    """The digits of the package, of which the first, sixth, ... of each class are held out."""
    images, labels = load_digits()
    test = held_out(labels, CLASSES)  # ordered by writer, so a share of each writer's digits too
    return Splits(
        images[~test],
        labels[~test],
        images[test],
        labels[test],
        CLASSES,
        "digits",
        tuple("0123456789"),
    )


def held_out(labels: host.ndarray, classes: int) -> host.ndarray:
    """Which samples to keep for the test: the first, sixth, eleventh, ... of each class.

    By position and not by a random generator, whose stream may differ between NumPy versions.
    """
    test = host.zeros(len(labels), dtype=bool)
    for label in range(classes):
        test[host.flatnonzero(labels == label)[::5]] = True
    return test


# ----- MNIST ---------------------------------------------------------------------------------


def load_mnist(folder: str | PathLike[str], max_bytes: int | None = MAX_BYTES) -> Splits:
    """MNIST, or a dataset in its form, out of a folder with its four files.

    They are train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
    t10k-labels-idx1-ubyte, each as it is or gzipped (with .gz), and then of at most `max_bytes`.

    Raises DatasetError.

    Source: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to
    document recognition", Proceedings of the IEEE 86(11), 1998.
    """
    folder = Path(folder)
    expected = f"a folder with {', '.join(MNIST_FILES)} (each with or without .gz)"
    paths = located(folder, MNIST_FILES, expected)
    train_images, train_labels = mnist_part(paths[0], paths[1], max_bytes)
    test_images, test_labels = mnist_part(paths[2], paths[3], max_bytes)
    if train_images.shape[1:] != test_images.shape[1:]:
        raise DatasetError.about(
            paths[2],
            f"images of shape {test_images.shape[1:]}",
            f"{train_images.shape[1:]}, as in {paths[0].name}",
        )
    return Splits(
        scaled(train_images[:, None]),
        train_labels,
        scaled(test_images[:, None]),
        test_labels,
        CLASSES,
        "MNIST",
    )


def mnist_part(
    images_path: Path, labels_path: Path, max_bytes: int | None, classes: int = CLASSES
) -> tuple[host.ndarray, host.ndarray]:
    """The images uint8 (N, H, W), and the labels int64 (N,)."""
    images, labels = load_idx(images_path, max_bytes), load_idx(labels_path, max_bytes)
    for path, array, form, ndim in (
        (images_path, images, "(count, height, width)", 3),
        (labels_path, labels, "(count,)", 1),
    ):
        if array.dtype != host.uint8 or array.ndim != ndim:
            raise DatasetError.about(
                path,
                f"{array.dtype} values of shape {array.shape}",
                f"uint8 values of shape {form}",
            )
    if len(labels) != len(images):
        raise DatasetError.about(
            labels_path,
            f"{len(labels):,} labels",
            f"{len(images):,}, one for each image in {images_path.name}",
        )
    return images, checked_labels(labels, labels_path, classes)


def load_idx(path: str | PathLike[str], max_bytes: int | None = MAX_BYTES) -> host.ndarray:
    """The array in an IDX file, the format of MNIST, gzipped or not.

    An IDX file holds two zero bytes, a code for the dtype, the number of axes, the length of each
    axis as a big-endian uint32, then the values, row-major and big-endian. The array has the
    machine's own byte order. A gzipped file that holds more than `max_bytes` of values is refused,
    whatever is in it; None allows any size.

    Raises DatasetError.
    """
    path = Path(path)
    expected = "an intact IDX file, gzipped or not"
    with opened(path, expected) as (file, limit, zipped):
        magic = read(file, 4)
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in IDX_DTYPES:
            codes = ", ".join(f"{code:02x}" for code in IDX_DTYPES)
            raise DatasetError.about(
                path,
                f"the first bytes {magic.hex(' ')!r}",
                f"{expected}, which begins with 00 00, a dtype code ({codes}) and a number of axes",
            )
        dtype, axes = host.dtype(IDX_DTYPES[magic[2]]), magic[3]
        header = read(file, 4 * axes)
        if not 1 <= axes <= IDX_MAX_AXES or len(header) < 4 * axes:
            raise DatasetError.about(
                path,
                f"a header of {4 + len(header)} bytes that announces {axes} axes",
                f"1 to {IDX_MAX_AXES} axes and 4 bytes for the length of each",
            )
        shape = struct.unpack(f">{axes}I", header)
        size = math.prod(shape) * dtype.itemsize
        promised = f"{size:,} bytes for the {dtype.name} values of shape {shape} in its header"
        if size == 0:
            raise DatasetError.about(path, f"no values (shape {shape})", "at least one")
        room = limit - 4 - 4 * axes
        if size > room:
            raise DatasetError.about(path, f"a file with room for {room:,} bytes", promised)
        if zipped and max_bytes is not None and size > max_bytes:
            raise DatasetError.about(
                path,
                f"a {zipped} file of {promised}",
                f"at most {max_bytes:,} bytes, as max_bytes (in the shell: --max-bytes) has it",
            )
        values = read(file, size)
        if len(values) < size:
            raise DatasetError.about(path, f"{len(values):,} bytes", promised)
        if file.read(1):  # reaching the end also makes gzip compare its checksum
            raise DatasetError.about(path, f"more than {size:,} bytes", promised)
    array = host.frombuffer(values, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


# ----- CIFAR-10 ------------------------------------------------------------------------------


def load_cifar10(folder: str | PathLike[str]) -> Splits:
    """CIFAR-10 out of the folder with its binary version, or out of the folder around that one.

    The binary version is data_batch_1.bin to data_batch_5.bin and test_batch.bin, each as it is or
    gzipped (with .gz). They hold records of 3,073 bytes: the label, then 3x32x32 pixels.

    Raises DatasetError.

    Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """
    folder = Path(folder)
    expected = f"a folder with {', '.join(CIFAR10_FILES)} (the binary version of CIFAR-10)"
    files = files_in(folder, expected)
    if files.keys().isdisjoint(CIFAR10_FILES) and CIFAR10_FOLDER in files:
        folder = files[CIFAR10_FOLDER]
    *train_paths, test_path = located(folder, CIFAR10_FILES, expected)
    train_images, train_labels = cifar_part(train_paths)
    test_images, test_labels = cifar_part([test_path])
    return Splits(
        scaled(train_images),
        train_labels,
        scaled(test_images),
        test_labels,
        CLASSES,
        "CIFAR-10",
        tuple(CIFAR10_KINDS.split()),
    )


def cifar_part(
    paths: Sequence[Path], coarse: int = 0, classes: int = CLASSES
) -> tuple[host.ndarray, host.ndarray]:
    """The images uint8 (N, 3, 32, 32) and labels int64 (N,) of the binary version, out of files.

    Each record begins with the label, in CIFAR-100 behind `coarse` = 1 label of a coarser kind.
    """
    parts = [_cifar_records(path, coarse, classes) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        if len(part) != len(parts[0]):  # a file cut off between two records looks sound by itself
            raise DatasetError.about(
                path, f"{len(part):,} records", f"{len(parts[0]):,}, as in {paths[0].name}"
            )
    records = host.concatenate(parts) if len(parts) > 1 else parts[0]
    images = records[:, coarse + 1 :].reshape(-1, *CIFAR_SHAPE)
    return images, records[:, coarse].astype(host.int64)


def _cifar_records(path: Path, coarse: int, classes: int) -> host.ndarray:
    """The records of one file, uint8 (N, 3073 + coarse), with sound labels."""
    size = coarse + CIFAR10_RECORD
    expected = f"1 to {CIFAR_MAX_RECORDS[coarse]:,} records of {size:,} bytes"
    most = CIFAR_MAX_RECORDS[coarse] * size
    with opened(path, expected) as (file, _, _):
        contents = read(file, most + 1)
    if len(contents) > most:
        raise DatasetError.about(path, f"more than {most:,} bytes", expected)
    if not contents or len(contents) % size:
        raise DatasetError.about(path, f"{len(contents):,} bytes", expected)
    records = host.frombuffer(contents, host.uint8).reshape(-1, size)
    checked_labels(records[:, coarse], path, classes)
    return records


# ----- what all share ------------------------------------------------------------------------


def scaled(images: host.ndarray) -> host.ndarray:
    """Bytes 0 to 255 as float32 in [0, 1]."""
    scaled: host.ndarray = host.divide(images, 255, dtype=host.float32)
    return scaled


def checked_labels(labels: host.ndarray, path: Path, classes: int = CLASSES) -> host.ndarray:
    """Labels (N,) as int64, if all are 0 to `classes` - 1."""
    wrong = host.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        where = int(wrong[labels[wrong].argmax()])
        raise DatasetError.about(
            path, f"the label {labels[where]} at position {where:,}", f"labels 0 to {classes - 1}"
        )
    return labels.astype(host.int64)


@contextmanager
def explained(path: Path, expected: str) -> Iterator[None]:
    """Failures to read as a DatasetError."""
    try:
        yield
    except FileNotFoundError:
        raise DatasetError.about(path, "nothing by this name", expected) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DatasetError.about(path, f"a damaged gzip file ({error})", expected) from error
    except lzma.LZMAError as error:
        raise DatasetError.about(path, f"a damaged xz file ({error})", expected) from error
    except EOFError as error:
        raise DatasetError.about(path, "a gzip file that ends too early", expected) from error
    except OSError as error:
        found = f"something that cannot be read ({error.strerror or error})"
        raise DatasetError.about(path, found, expected) from error


@contextmanager
def opened(path: Path, expected: str) -> Iterator[tuple[BinaryIO, int, str]]:
    """The file, unzipped if need be, the most bytes that it can hold, and by what it is zipped."""
    with explained(path, expected):
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # to open a pipe would wait for a writer
            raise DatasetError.about(path, "something that is no ordinary file", expected)
        with path.open("rb") as file:
            first = file.read(len(XZ_MAGIC))
            file.seek(0)
            if first.startswith(GZIP_MAGIC):
                with gzip.open(file) as unzipped:
                    yield cast(BinaryIO, unzipped), status.st_size * DEFLATE_MAX_RATIO, "gzip"
            elif first == XZ_MAGIC:
                yield cast(BinaryIO, _Unxzed(file)), status.st_size * XZ_MAX_RATIO, "xz"
            else:
                yield file, status.st_size, ""


class _Unxzed:
    """An xz file, unzipped as it is read. One that asks for much memory to be unzipped is refused.

    Python's own reader takes the word of the file for how much that is.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.machine = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, and none at the end only."""
        while size and not self.machine.eof:
            given = self.file.read(CHUNK) if self.machine.needs_input else b""
            if self.machine.needs_input and not given:
                raise lzma.LZMAError("it ends too early")
            if chunk := self.machine.decompress(given, size):
                return chunk
        if size and (self.machine.unused_data or self.file.read(1)):
            raise lzma.LZMAError("there is more behind its end")
        return b""


def unzip(path: Path, target: Path, max_bytes: int = MAX_BYTES) -> None:
    """Write what a gzip or xz file holds, at most `max_bytes`, to another, whole or not at all."""
    expected = f"an intact file of gzip or xz, and at most {max_bytes:,} bytes in it"
    left = max_bytes
    with opened(path, expected) as (file, _, _), written(target) as out:
        while chunk := file.read(CHUNK):
            left -= len(chunk)
            if left < 0:
                raise DatasetError.about(path, "more", expected)
            out.write(chunk)


def read(file: BinaryIO, size: int) -> bytearray:
    """`size` bytes, or fewer if the file ends before; memory grows with what is really there."""
    contents = bytearray()
    while chunk := file.read(min(size - len(contents), CHUNK)):
        contents += chunk
    return contents


def files_in(folder: Path, expected: str) -> dict[str, Path]:
    """What is in a folder, by name without .gz; where there are both, the plain file."""
    with explained(folder, expected):
        # In reverse order "name.gz" comes before "name", which so takes its place.
        paths = sorted(folder.iterdir(), reverse=True)
        return {path.name.removesuffix(".gz"): path for path in paths}


def located(folder: Path, names: Sequence[str], expected: str) -> list[Path]:
    """The paths of these files in the folder; none may be missing."""
    files = files_in(folder, expected)
    missing = [name for name in names if name not in files]
    if missing:
        raise DatasetError.about(folder, f"a folder without {', '.join(missing)}", expected)
    return [files[name] for name in names]
