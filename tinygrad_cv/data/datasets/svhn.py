"""SVHN: house numbers, in MATLAB's files of version 5."""

import math
import zlib
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from tinygrad_cv.backend import host
from tinygrad_cv.data.datasets.vision import ArrayDataset, Transform, fetched, one_of
from tinygrad_cv.data.files import CHUNK, DEFLATE_MAX_RATIO, DatasetError, checked_labels, opened

URL = "http://ufldl.stanford.edu/housenumbers/"


class SVHN(ArrayDataset):
    """Digits of house numbers in photographs, 32x32, in colour.

    `split` is train (73,257), test (26,032) or extra (531,131 easier ones, 1.6 GB). They lie in
    `root` as train_32x32.mat and so on, and `download` fetches those that are not there.

    A sample is (image, class); see `ArrayDataset` for what an image is. `data` is an array uint8
    (N, 3, 32, 32), `labels` (also `targets`) one of int64 (N,), with 0 for the digit 0, which in
    the file is 10.

    Raises ValueError for another split, DatasetError for files that are missing or damaged, and
    hub.DownloadError.

    Source: Y. Netzer et al., "Reading digits in natural images with unsupervised feature
    learning", 2011.

    >>> from tinygrad_cv.data import SVHN
    >>> try:
    ...     SVHN("data", split="val")
    ... except ValueError as error:
    ...     print(error)
    the split of SVHN is one of 'train', 'test', 'extra'; given 'val'.
    """

    axes = "NCHW"
    classes = tuple("0123456789")
    split_list: ClassVar[dict[str, tuple[str, str]]] = {
        "train": ("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
        "test": ("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
        "extra": ("extra_32x32.mat", "a93ce644f1a588dc4d68dda5feec44a7"),
    }

    def __init__(
        self,
        root: str | PathLike[str],
        split: str = "train",
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.split = one_of("the split of SVHN", split, [*self.split_list])
        self.filename, self.file_md5 = self.split_list[self.split]
        if download:
            self.download()
        self.data, self.labels = read_svhn(Path(str(self.root)) / self.filename)

    @property
    def targets(self) -> Any:
        """The labels, by the name that other datasets have for them."""
        return self.labels

    def download(self) -> None:
        """Fetch the file if it is not there. Raises hub.DownloadError."""
        root = Path(str(self.root))
        if not (root / self.filename).is_file():
            fetched(root, self.filename, [URL + self.filename], self.file_md5)

    def extra_repr(self) -> str:
        return f"Split: {self.split}"


def read_svhn(path: Path) -> tuple[host.ndarray, host.ndarray]:
    """The images uint8 (N, 3, 32, 32) and the labels int64 (N,), 10 being 0."""
    arrays = read_mat(path, {"X", "y"})
    images, labels = arrays["X"], arrays["y"]
    if images.dtype != host.uint8 or images.shape[:3] != (32, 32, 3) or images.ndim != 4:
        raise DatasetError.about(
            path, f"X of {images.dtype}, {images.shape}", "X of uint8, (32, 32, 3, N)"
        )
    count = images.shape[3]
    if labels.shape not in ((count, 1), (1, count)):
        raise DatasetError.about(path, f"y of the shape {labels.shape}", f"({count}, 1)")
    labels = labels.reshape(-1)
    if not host.array_equal(labels, host.trunc(labels)):  # NaN is none either
        raise DatasetError.about(path, "labels that are no whole numbers", "labels 1 to 10")
    checked_labels(labels, path, 11)
    numbers = labels.astype(host.int64)
    numbers[numbers == 10] = 0
    return host.transpose(images, (3, 2, 0, 1)), numbers


# ----- MATLAB's files of version 5 ---------------------------------------------------------------
# An element is a tag, its kind and its number of bytes, then these, padded to a multiple of 8. One
# of at most four bytes lies in the tag itself. An array is an element of elements: flags, lengths
# of the axes, name, values in Fortran's order; it may lie, deflated, in an element.

MAX_MAT = 4 << 30
"""The most bytes of values: SVHN's extra part has 1,631,634,432."""
MAX_AXES = 32
MATRIX, DEFLATED = 14, 15
KINDS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""The dtype of values by the kind of element."""
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4",
           14: "i8", 15: "u8"}  # fmt: skip
"""The dtype of an array by the class in its flags. Its values can be stored as smaller ones."""
EXPECTED = "an intact MAT-file of version 5"


def read_mat(path: Path, names: set[str]) -> dict[str, host.ndarray]:
    """The arrays of numbers by these names in a MAT-file of version 5.

    Nothing is allocated on the word of the file: of what it promises the part is kept that is
    there, up to `MAX_MAT` bytes.
    """
    found: dict[str, host.ndarray] = {}
    with opened(path, EXPECTED) as (file, _, _):
        header = file.read(128)
        if header[:8] == b"\x89HDF\r\n\x1a\n" or b"MATLAB 7.3" in header[:116]:
            raise DatasetError.about(path, "a MAT-file of version 7.3 (HDF5)", EXPECTED)
        order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
        if order is None:
            raise DatasetError.about(path, "no MAT-file", EXPECTED)
        stream = _Stream(file, path, order)
        while (tag := stream.tag(last=True)) is not None:
            kind, size = tag
            if kind == DEFLATED:
                stream.left = size
                inner = _Stream(_Inflated(stream, size), path, order)  # type: ignore[arg-type]
                inner_tag = inner.tag()
                if inner_tag is None or inner_tag[0] != MATRIX:
                    raise DatasetError.about(path, "something deflated that is no array", EXPECTED)
                if inner_tag[1] > size * DEFLATE_MAX_RATIO:
                    raise DatasetError.about(path, "an array larger than its bytes", EXPECTED)
                name, array = inner.matrix(inner_tag[1], names)
                if array is not None:
                    inner.end()
                stream.skip(stream.left)
                stream.left = 0
            elif kind == MATRIX:
                before = stream.taken
                name, array = stream.matrix(size, names)
                stream.skip(size - (stream.taken - before))
            else:
                raise DatasetError.about(path, f"an element of the kind {kind}", EXPECTED)
            if array is not None:
                found[name] = array
            if len(found) == len(names):
                return found
    missing = ", ".join(sorted(names - found.keys()))
    raise DatasetError.about(path, f"no array {missing}", f"{', '.join(sorted(names))} in it")


class _Stream:
    """Elements, as they come. `taken` counts the bytes."""

    def __init__(self, file: BinaryIO, path: Path, order: str) -> None:
        self.file, self.path, self.order = file, path, order
        self.taken = 0
        self.left = 0

    def damaged(self, found: str) -> DatasetError:
        return DatasetError.about(self.path, found, EXPECTED)

    def take(self, size: int) -> bytearray:
        """So many bytes, all there."""
        if size > MAX_MAT:
            raise self.damaged(f"values of {size:,} bytes")
        contents = bytearray()
        while len(contents) < size:
            piece = self.file.read(min(size - len(contents), CHUNK))
            if not piece:
                raise self.damaged("a file that ends too early")
            contents += piece
        self.taken += size
        return contents

    def skip(self, size: int) -> None:
        if size < 0:
            raise self.damaged("an array larger than its element")
        while size:
            size -= len(self.take(min(size, CHUNK)))

    def number(self, contents: bytes | bytearray) -> int:
        return int.from_bytes(contents, "little" if self.order == "<" else "big")

    def tag(self, last: bool = False) -> tuple[int, int] | None:
        """Kind and size of a large element; None at the end of the file, if that may be here."""
        first = self.file.read(8)
        if last and not first:
            return None
        while len(first) < 8 and (more := self.file.read(8 - len(first))):
            first += more
        if len(first) < 8:
            raise self.damaged("a file that ends too early")
        self.taken += 8
        return self.number(first[:4]), self.number(first[4:])

    def element(self, most: int) -> tuple[int, bytes | bytearray]:
        """Kind and contents of an element of at most so many bytes."""
        tag = self.take(8)
        word = self.number(tag[:4])
        if small := word >> 16:
            if small > 4:
                raise self.damaged("a damaged element")
            return word & 0xFFFF, tag[4 : 4 + small]
        size = self.number(tag[4:])
        if size > most:
            raise self.damaged(f"an element of {size:,} bytes")
        contents = self.take(size)
        self.take(-size % 8)
        return word, contents

    def matrix(self, size: int, names: set[str]) -> tuple[str, host.ndarray | None]:
        """The name of an array, and its values if they are asked for."""
        kind, flags = self.element(8)
        if kind != 6 or len(flags) != 8:
            raise self.damaged("an array without flags")
        word = self.number(flags[:4])
        kind, lengths = self.element(4 * MAX_AXES)
        if kind != 5 or len(lengths) % 4 or len(lengths) < 8:
            raise self.damaged("an array without lengths")
        shape = tuple(host.frombuffer(lengths, f"{self.order}i4").tolist())
        kind, text = self.element(256)
        name = bytes(text).decode("latin-1")
        if kind != 1 or name not in names:
            return name, None
        if word & 0xFF not in CLASSES or word & 0x0800:
            raise self.damaged(f"{name}, which is no array of real numbers,")
        if min(shape) < 1 or math.prod(shape) > MAX_MAT:
            raise self.damaged(f"{name} of the shape {shape}")
        kind, values = self.element(size)
        if kind not in KINDS:
            raise self.damaged(f"{name} with values of the kind {kind}")
        dtype = host.dtype(self.order + KINDS[kind])
        if len(values) != math.prod(shape) * dtype.itemsize:
            raise self.damaged(f"{name} of the shape {shape} in {len(values):,} bytes")
        stored = host.frombuffer(values, dtype)
        wide = host.dtype(CLASSES[word & 0xFF])
        if dtype.itemsize > wide.itemsize:
            raise self.damaged(f"{name} with values wider than its own")
        return name, stored.astype(wide, copy=False).reshape(shape, order="F")

    def end(self) -> None:
        """Read what may be left, so that the checksum of what is deflated is compared."""
        for _ in range(2):
            if not self.file.read(CHUNK):
                return
        raise self.damaged("more behind an array than its padding")


class _Inflated:
    """The next `size` bytes of a stream, inflated as they are read."""

    def __init__(self, stream: _Stream, size: int) -> None:
        self.pieces = self._pieces(stream, size)
        self.machine = zlib.decompressobj()
        self.damaged = stream.damaged

    def _pieces(self, stream: _Stream, size: int) -> Iterator[bytearray]:
        while stream.left:
            piece = stream.take(min(stream.left, CHUNK))
            stream.left -= len(piece)
            yield piece

    def read(self, size: int) -> bytes:
        while not self.machine.eof:
            given: Any = self.machine.unconsumed_tail or next(self.pieces, b"")
            try:
                piece = self.machine.decompress(given, size)
            except zlib.error as error:
                raise self.damaged(f"damaged values ({error})") from error
            if piece:
                return piece
            if not given:
                raise self.damaged("values that end too early")
        return b""
