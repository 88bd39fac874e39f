"""Files of datasets that are damaged, or made to do harm: one error, little memory, nothing left.

IDX and the binary version of CIFAR-10 have their tests in test_data.
"""

import gzip
import io
import lzma
import os
import pickle
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataset_files as make
from tinygrad_cv.data import (
    STL10,
    DatasetError,
    ImageFolder,
    TextFile,
    extract_archive,
    load_idx,
    load_image,
)
from tinygrad_cv.data.datasets import archives
from tinygrad_cv.data.datasets.cifar import read_batch
from tinygrad_cv.data.datasets.svhn import read_mat, read_svhn
from tinygrad_cv.data.files import unzip

Image = pytest.importorskip("PIL.Image", reason="needs the extra 'images'")

pytestmark = pytest.mark.host

MIB = 1 << 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


def peak(action: Callable[[], Any]) -> int:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def one_sentence(error: DatasetError, path: Path) -> None:
    message = str(error)
    assert message.startswith(str(path)), message
    assert message.endswith("."), message
    assert message.isprintable(), message
    assert len(message) < len(str(path)) + 2000


@st.composite
def damaged(draw: st.DrawFn, files: list[bytes]) -> bytes:
    """One of the files with bytes changed, cut out or doubled, cut off, and with more behind."""
    contents = bytearray(draw(st.sampled_from(files)))
    for _ in range(draw(st.integers(1, 4))):
        # Headers stand at the beginning or at the end; between there are values, which may be any.
        edge = draw(st.integers(0, min(len(contents), 300) - 1))
        place = draw(st.sampled_from([edge, len(contents) - 1 - edge, edge * len(contents) // 300]))
        place = min(place, len(contents) - 1)
        match draw(st.sampled_from(["byte", "bytes", "remove", "double", "ones"])):
            case "byte":
                contents[place] = draw(st.integers(0, 255))
            case "bytes":
                contents[place : place + 4] = draw(st.binary(min_size=4, max_size=4))
            case "remove":
                del contents[place : place + draw(st.integers(1, 8))]
            case "double":
                contents[place:place] = contents[place : place + draw(st.integers(1, 64))]
            case "ones":
                contents[place : place + 4] = b"\xff\xff\xff\x7f"
        if not contents:
            contents += b"\0"
    if draw(st.booleans()):
        contents = contents[: draw(st.integers(0, len(contents)))]
    return bytes(contents) + draw(st.binary(max_size=4))


def read_or_refused(path: Path, contents: bytes, load: Callable[[Path], Any], most: int) -> Any:
    """What is loaded, or None if it was refused; in so much memory."""
    path.write_bytes(contents)
    found = []

    def action() -> None:
        try:
            found.append(load(path))
        except DatasetError as error:
            one_sentence(error, path)

    used = peak(action)
    assert used < most, f"{used:,} bytes"
    return found[0] if found else None


# ----- IDX in xz ---------------------------------------------------------------------------------

IDX = make.idx(make.pixels(4, 5, 6))


@given(damaged([lzma.compress(IDX), lzma.compress(IDX, preset=9)]))
def test_damaged_xz(folder: Path, contents: bytes) -> None:
    array = read_or_refused(folder / "idx", contents, load_idx, 80 * MIB)
    assert array is None or array.shape == (4, 5, 6)


def test_an_xz_file_that_asks_for_much_memory(tmp_path: Path) -> None:
    path = tmp_path / "idx"
    header = b"\x02\x00\x21\x01\x24\x00\x00\x00"  # a block of LZMA2 with a dictionary of 1 GiB
    header += struct.pack("<I", zlib.crc32(header))
    path.write_bytes(lzma.compress(IDX)[:12] + header + bytes(64))
    with pytest.raises(DatasetError, match=r"a damaged xz file .Memory usage limit exceeded"):
        load_idx(path)


@pytest.mark.parametrize("zip_it", [gzip.compress, lzma.compress])
def test_unzipping_ends_at_the_limit(zip_it: Any, tmp_path: Path) -> None:
    (tmp_path / "zipped").write_bytes(zip_it(bytes(3 * MIB)))
    with pytest.raises(DatasetError, match="found more, expected an intact file of gzip or xz"):
        unzip(tmp_path / "zipped", tmp_path / "plain", max_bytes=2 * MIB)
    assert [path.name for path in tmp_path.iterdir()] == ["zipped"]
    unzip(tmp_path / "zipped", tmp_path / "plain", max_bytes=3 * MIB)
    (tmp_path / "zipped").write_bytes(zip_it(bytes(3 * MIB))[:-9])
    with pytest.raises(DatasetError, match=r"damaged|ends too early"):
        unzip(tmp_path / "zipped", tmp_path / "plain")
    assert (tmp_path / "plain").stat().st_size == 3 * MIB


# ----- CIFAR's pickles ---------------------------------------------------------------------------

ROWS, LABELS = make.batch(0, 2)
PICKLES = [make.python2_pickle(ROWS, LABELS), make.python3_pickle(4, True)(ROWS, LABELS)]


def load_batch(path: Path) -> Any:
    return read_batch(path, "labels", 10)


@given(damaged(PICKLES))
def test_damaged_pickles(folder: Path, contents: bytes) -> None:
    found = read_or_refused(folder / "batch", contents, load_batch, 4 * MIB)
    if found is not None:
        images, labels = found
        assert images.shape[1:] == (3, 32, 32)
        assert images.dtype == np.uint8
        assert len(images) == len(labels)
        assert 0 <= labels.min() <= labels.max() < 10


class Harm:
    def __reduce__(self) -> Any:
        return os.mkdir, ("harm",)


def test_pickles_of_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "batch"
    rows = np.zeros((2, 3072), np.uint8)
    nested: Any = ()
    for _ in range(60):
        nested = (nested, nested)
    for value, said in (
        (Harm(), "it asks for [a-z]+.mkdir"),
        ({"data": rows, "labels": Harm()}, "it asks for [a-z]+.mkdir"),
        ([1], "without such data"),
        ({"data": rows}, "without as many labels"),
        ({"data": rows, "labels": [1]}, "without as many labels"),
        ({"data": rows, "labels": (1, 2)}, "without as many labels"),
        ({"data": rows, "labels": [1, 10]}, "other labels"),
        ({"data": rows, "labels": [1, -1]}, "other labels"),
        ({"data": rows, "labels": [1, True]}, "other labels"),
        ({"data": rows, "labels": [1, 10**30]}, "other labels"),
        ({"data": rows, "labels": ["a", "b"]}, "other labels"),
        ({"data": rows[:0], "labels": []}, "without such data"),
        ({"data": rows[:, :-1], "labels": [1, 2]}, "without such data"),
        ({"data": rows.astype(np.int64), "labels": [1, 2]}, "without such data"),
        ({"data": rows.astype(object), "labels": [1, 2]}, "a pickle of something else"),
        ({"data": nested, "labels": [1, 2]}, "without such data"),
    ):
        path.write_bytes(pickle.dumps(value, protocol=2))
        with pytest.raises(DatasetError, match=said) as caught:
            load_batch(path)
        one_sentence(caught.value, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["batch"]


def test_a_pickle_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "batch"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole that takes no space on the disk

    def action() -> None:
        with pytest.raises(DatasetError, match="more than 1,000 bytes"):
            load_batch(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tinygrad_cv.data.datasets.cifar.MAX_PICKLE", 1000)
        assert peak(action) < 4 * MIB


# ----- MATLAB's files ----------------------------------------------------------------------------

DIGITS = make.pixels(32, 32, 3, 2)
MATS = [make.svhn_mat(DIGITS, np.array([[1], [10]], np.uint8), zipped) for zipped in (True, False)]


@given(damaged(MATS))
def test_damaged_mat_files(folder: Path, contents: bytes) -> None:
    found = read_or_refused(folder / "mat", contents, read_svhn, 8 * MIB)
    if found is not None:
        images, labels = found
        assert (images.dtype, images.shape) == (np.uint8, (len(labels), 3, 32, 32))
        assert 0 <= labels.min() <= labels.max() < 10


def element(kind: int, contents: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}II", kind, len(contents)) + contents + bytes(-len(contents) % 8)


def matrix(
    name: bytes, shape: tuple[int, ...], values: bytes, order: str = "<", kind: int = 2,
    flags: int = 9,
) -> bytes:  # fmt: skip
    parts = element(6, struct.pack(f"{order}II", flags, 0), order)
    parts += element(5, struct.pack(f"{order}{len(shape)}i", *shape), order)
    parts += element(1, name, order) + element(kind, values, order)
    return element(14, parts, order)


def mat(*elements: bytes, order: str = "<") -> bytes:
    mark = b"IM" if order == "<" else b"MI"
    return (
        b"MATLAB 5.0 MAT-file".ljust(124)
        + struct.pack(f"{order}H", 0x0100)
        + mark
        + b"".join(elements)
    )


def deflated(contents: bytes) -> bytes:
    return struct.pack("<II", 15, len(zlib.compress(contents))) + zlib.compress(contents)


def test_mat_files_of_both_orders_and_wider_values(tmp_path: Path) -> None:
    path = tmp_path / "mat"
    for order in "<>":
        values = struct.pack(f"{order}6h", *range(6))
        path.write_bytes(
            mat(
                matrix(b"other", (1, 1), b"\1", order),
                matrix(b"y", (2, 3), values, order, kind=3, flags=6),
                order=order,
            )
        )
        [array] = read_mat(path, {"y"}).values()
        assert (array.dtype, array.tolist()) == (np.float64, [[0, 2, 4], [1, 3, 5]])


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (b"", "no MAT-file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(200), "version 7.3"),
        (b"MATLAB 7.3 MAT-file".ljust(128), "version 7.3"),
        (mat(), "no array X, y"),
        (mat(matrix(b"X", (1 << 20, 1 << 20), b"1" * 99)), "of the shape"),
        (mat(matrix(b"X", (1 << 16, 1 << 15), b"1" * 99)), r"of the shape .* in 99 bytes"),
        (mat(matrix(b"X", (-1, -1), b"1")), "of the shape"),
        (mat(matrix(b"X", (), b"1")), "without lengths"),
        (mat(matrix(b"X", (1, 1), b"1", flags=1)), "no array of real numbers"),
        (mat(matrix(b"X", (1, 1), b"1", flags=0x0809)), "no array of real numbers"),
        (mat(matrix(b"X", (1, 1), b"1", kind=99)), "values of the kind 99"),
        (mat(matrix(b"X", (1, 1), bytes(8), kind=9)), "wider than its own"),
        (mat(element(5, b"12")), "an element of the kind 5"),
        (mat(struct.pack("<II", 14, 0xFFFFFFF0)), "too early"),
        (mat(struct.pack("<II", 15, 0xFFFFFFF0)), "too early"),
        (mat(struct.pack("<II", 15, 8) + b"deflated"), "damaged values"),
        (mat(deflated(b"12")), "too early"),
        (mat(deflated(struct.pack("<II", 14, 0xFFFFFFF0))), "larger than its bytes"),
        (mat(deflated(element(5, b"12"))), "deflated that is no array"),
        (mat(deflated(matrix(b"X", (1, 1), b"1") + bytes(3 * MIB))), "more behind an array"),
        (mat(matrix(b"x" * 300, (1, 1), b"1")), "an element of 300 bytes"),
    ],
)  # fmt: skip
def test_mat_files_that_lie(contents: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mat"
    path.write_bytes(contents)

    def action() -> None:
        with pytest.raises(DatasetError, match=said) as caught:
            read_svhn(path)
        one_sentence(caught.value, path)

    assert peak(action) < 8 * MIB


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (DIGITS[..., :0], np.zeros((0, 1), np.uint8), "of the shape"),
        (DIGITS[:, :, :2], np.ones((2, 1), np.uint8), r"\(32, 32, 2, 2\), expected X"),
        (DIGITS.astype(np.int16), np.ones((2, 1), np.uint8), "X of int16"),
        (DIGITS[..., 0], np.ones((2, 1), np.uint8), r"\(32, 32, 3\), expected"),
        (DIGITS, np.ones((3, 1), np.uint8), r"y of the shape \(3, 1\), expected \(2, 1\)"),
        (DIGITS, np.array([[1], [11]], np.uint8), "the label 11 at position 1"),
        (DIGITS, np.array([[1], [-1]], np.int16), "the label -1 at position 1"),
        (DIGITS, np.array([[1], [np.nan]]), "labels that are no whole numbers"),
        (DIGITS, np.array([[1], [np.inf]]), "the label inf at position 1"),
        (DIGITS, np.array([[1], [1.5]]), "labels that are no whole numbers"),
        (DIGITS, np.array([["a"], ["b"]]), "no array of real numbers"),
    ],
)
def test_mat_files_of_something_else(
    images: np.ndarray, labels: np.ndarray, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "mat"
    path.write_bytes(make.svhn_mat(images, labels))
    with pytest.raises(DatasetError, match=said):
        read_svhn(path)


# ----- STL-10 ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "contents", "said"),
    [
        ("train_X.bin", b"", "found 0 bytes, expected 1 to 100,000 images"),
        ("train_X.bin", bytes(27_647), "found 27,647 bytes"),
        ("train_X.bin", bytes(27_648), "found more than 1 bytes, expected 1 labels"),
        ("train_y.bin", b"\1" * 5, "found 5 labels, expected 6"),
        ("train_y.bin", b"\1" * 7, "found more than 6 bytes"),
        ("train_y.bin", b"\1" * 5 + b"\0", "the label -1 at position 5"),
        ("train_y.bin", b"\1" * 5 + b"\x0b", "the label 10 at position 5"),
        ("fold_indices.txt", b"", "no numbers in line 2"),
        ("fold_indices.txt", b"1\n2 6\n", "the number 6, expected 10 lines with numbers"),
        ("fold_indices.txt", b"1\n2 -1\n", "no numbers in line 2"),
        ("fold_indices.txt", b"1\n" + b"9" * 5000 + b"\n", "no numbers in line 2"),
        ("fold_indices.txt", b"\xff\n\xff", "no numbers in line 2"),
        ("fold_indices.txt", b"1 " * MIB, "more than 1,048,576 bytes"),
    ],
)
def test_damaged_stl10(name: str, contents: bytes, said: str, tmp_path: Path) -> None:
    make.write_stl10(tmp_path)
    path = tmp_path / "stl10_binary" / name
    path.write_bytes(contents)
    with pytest.raises(DatasetError, match=said) as caught:
        STL10(tmp_path, folds=1)
    one_sentence(caught.value, tmp_path)


# ----- archives ----------------------------------------------------------------------------------

MEMBERS = {"a/one": b"1" * 700, "a/two": b"", "three/" + "x" * 120: b"3", "four": b"4" * 512}
ARCHIVES = [
    make.zipped(MEMBERS),
    make.zipped(MEMBERS, zipfile.ZIP_STORED),
    *(
        make.tar(MEMBERS, form, zipped)
        for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
        for zipped in ("", "gz")
    ),
]


def refused(contents: bytes, folder: Path, **limits: Any) -> str:
    """What is said of an archive, which leaves nothing behind, neither inside nor outside."""
    folder.mkdir(exist_ok=True)
    path, to = folder / "archive", folder / "to"
    path.write_bytes(contents)
    to.mkdir(exist_ok=True)
    with pytest.raises(DatasetError) as caught:
        extract_archive(path, to, **limits)
    one_sentence(caught.value, path)
    assert [*to.iterdir()] == []
    assert sorted(entry.name for entry in folder.iterdir()) == ["archive", "to"]
    return str(caught.value)


@given(contents=damaged(ARCHIVES))
def test_damaged_archives(folder: Path, contents: bytes) -> None:
    to = folder / "unpacked" / "to"
    to.mkdir(parents=True, exist_ok=True)

    def unpack(path: Path) -> bool:
        extract_archive(path, to, max_bytes=10_000, max_files=50)
        return True

    done = read_or_refused(folder / "archive", contents, unpack, 16 * MIB)
    left = [*to.rglob("*")]
    assert bool(left) == bool(done)
    assert not [path for path in left if path.name.endswith(".unpacked")]
    assert sum(path.stat().st_size for path in left if path.is_file()) <= 10_000
    assert [path.name for path in (folder / "unpacked").iterdir()] == ["to"]
    for path in sorted(left, reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


NAMES = [
    ("../x", "stay inside"),
    ("a/../../x", "stay inside"),
    ("a/..", "stay inside"),
    ("/x", "stay inside"),
    ("//x", "stay inside"),
    ("C:/x", "stay inside"),
    ("C:x", "stay inside"),
    ("a\\..\\x", "stay inside"),
    ("\\x", "stay inside"),
    (".", "every system"),
    ("a\nb", "every system"),
    ("a\x1b[2Jb", "every system"),
    ("a/" + "b" * 256, "every system"),
    ("a/" * 100 + "b", "every system"),
    ("a\u202eb", "every system"),
]


@pytest.mark.parametrize("form", [make.tar, make.zipped])
@pytest.mark.parametrize(("name", "said"), NAMES)
def test_names_that_lead_out(name: str, said: str, form: Any, tmp_path: Path) -> None:
    assert said in refused(form({"good": b"1", name: b"2"}), tmp_path / "in")


def test_a_member_without_a_name(tmp_path: Path) -> None:
    contents = bytearray(make.zipped({"x": b"1"}))
    entry = contents.index(b"PK\x01\x02")
    contents[entry + 28] = 0  # the length of the name
    del contents[entry + 46]
    contents[contents.index(b"PK\x05\x06") + 12] -= 1  # the size of the list
    assert "every system" in refused(bytes(contents), tmp_path / "zip")
    assert "every system" in refused(make.tar({"": b"1"}), tmp_path / "tar")


@pytest.mark.parametrize("form", [make.tar, make.zipped])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a", "A"),
        ("a/x", "A/y"),
        ("straße", "STRASSE"),
        ("\u00e9", "e\u0301"),
        ("a", "a/x"),
        ("a/x", "a"),
        ("a", "./a"),
        ("a/b", "a//b"),
    ],
)
def test_names_that_are_taken(first: str, second: str, form: Any, tmp_path: Path) -> None:
    assert "each name once" in refused(form({first: b"1", second: b"2"}), tmp_path / "in")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice(tmp_path: Path) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for _ in range(2):
            archive.addfile(tarfile.TarInfo("a"))
    assert "each name once" in refused(file.getvalue(), tmp_path / "tar")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as written:
        for _ in range(2):
            written.writestr("a", b"")
    assert "each name once" in refused(file.getvalue(), tmp_path / "zip")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a pipe"),
        (tarfile.GNUTYPE_SPARSE, "a file with holes"),
        (b"Z", "a member of the kind b'Z'"),
    ],
)
def test_a_tar_file_of_more_than_files(kind: bytes, said: str, tmp_path: Path) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        info = tarfile.TarInfo("link")
        info.type = kind
        info.linkname = "/etc/passwd"
        archive.addfile(info)
    assert said in refused(file.getvalue(), tmp_path / "in")


def test_a_zip_file_of_more_than_files(tmp_path: Path) -> None:
    def with_entry(**changes: Any) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            info = zipfile.ZipInfo("link")
            for name, value in changes.items():
                setattr(info, name, value)
            archive.writestr(info, b"/etc/passwd")
        return file.getvalue()

    assert "a link or a device" in refused(with_entry(external_attr=0o120777 << 16), tmp_path / "a")
    assert "a link or a device" in refused(with_entry(external_attr=0o060777 << 16), tmp_path / "b")
    encrypted = bytearray(with_entry())
    for mark in (b"PK\x03\x04", b"PK\x01\x02"):
        encrypted[encrypted.index(mark) + (6 if mark == b"PK\x03\x04" else 8)] |= 1
    assert "an encrypted member" in refused(bytes(encrypted), tmp_path / "c")
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        assert "compressed by method" in refused(make.zipped(MEMBERS, method), tmp_path / "d")


@pytest.mark.parametrize("form", [make.zipped, lambda members: make.tar(members, zipped="gz")])
def test_an_archive_that_unpacks_to_much(form: Any, tmp_path: Path) -> None:
    members = {f"{number}": bytes(MIB) for number in range(4)}
    contents = form(members)
    assert len(contents) < 20_000

    def action() -> None:
        said = refused(contents, tmp_path / "in", max_bytes=3 * MIB)
        assert "4,194,304 bytes or more in its members, expected at most 3,145,728" in said
        assert "expected at most 3" in refused(contents, tmp_path / "in", max_files=3)

    assert peak(action) < 8 * MIB


@pytest.mark.parametrize("kind", [b"L", b"K", b"x", b"g"])
def test_a_description_in_a_tar_file_that_takes_much(kind: bytes, tmp_path: Path) -> None:
    """16 MiB of name, in 16 KiB."""
    info = tarfile.TarInfo("long")
    info.type, info.size = kind, 16 * MIB
    contents = gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(16 * MIB))

    def action() -> None:
        assert "16,777,216 bytes about a member" in refused(contents, tmp_path / "in")

    assert peak(action) < 8 * MIB


def test_a_zip_file_that_lies_about_its_size(tmp_path: Path) -> None:
    contents = bytearray(make.zipped({"a": bytes(MIB), "b": bytes(MIB)}))
    place = -1
    while (place := contents.find(b"PK\x01\x02", place + 1)) >= 0:
        contents[place + 24 : place + 28] = struct.pack("<I", 5)
    refused(bytes(contents), tmp_path / "in", max_bytes=MIB)


def test_descriptions_without_end(tmp_path: Path) -> None:
    info = tarfile.TarInfo("long")
    info.type, info.size = b"x", 0
    contents = info.tobuf(tarfile.GNU_FORMAT) * 22
    said = refused(contents, tmp_path / "in", max_files=5)
    assert "found more members, expected at most 5" in said


@pytest.mark.parametrize(
    "about",
    [b"5 a=b", b"x", b"0 path=y\n", b"99 path=y\n", b"9 path=y!", b"12 size=-12\n", b"11 size=1e\n",
     b"15 size=" + b"9" * 50 + b"\n", b"22 GNU.sparse.major=1\n", b"7 path\n"],
)  # fmt: skip
def test_descriptions_that_lie(about: bytes, tmp_path: Path) -> None:
    info = tarfile.TarInfo("about")
    info.type, info.size = b"x", len(about)
    contents = info.tobuf(tarfile.GNU_FORMAT) + about.ljust(512, b"\0")
    refused(contents + tarfile.TarInfo("a").tobuf() + bytes(1024), tmp_path / "in")


@pytest.mark.parametrize("field", [b"\xff" * 12, b"\x80" + b"\xff" * 11, b"-1", b"9" * 11, b"1e3"])
def test_sizes_in_a_tar_file_that_lie(field: bytes, tmp_path: Path) -> None:
    header = bytearray(tarfile.TarInfo("a").tobuf())
    header[124:136] = field.ljust(12, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    refused(bytes(header) + bytes(1024), tmp_path / "in")


def test_a_zip_file_whose_list_is_said_to_be_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_DIRECTORY", 100)
    assert "a list of members of" in refused(make.zipped(MEMBERS), tmp_path / "in")


@pytest.mark.parametrize("contents", [b"", b"PK", b"no archive", bytes(5000), b"PK\x03\x04"])
def test_what_is_no_archive(contents: bytes, tmp_path: Path) -> None:
    refused(contents, tmp_path / "in")


def test_an_archive_that_is_cut_off(tmp_path: Path) -> None:
    for number, contents in enumerate(ARCHIVES):
        refused(contents[: len(contents) // 2], tmp_path / str(number))
    flipped = bytearray(make.tar(MEMBERS, zipped="gz"))
    flipped[-6] ^= 1  # in the checksum
    assert "damaged gzip file" in refused(bytes(flipped), tmp_path / "sum")
    behind = make.tar(MEMBERS) + bytes(3 * MIB)
    assert "more behind its end" in refused(behind, tmp_path / "behind")


def test_an_archive_that_is_no_file(tmp_path: Path) -> None:
    for path, said in ((tmp_path, "no ordinary file"), (tmp_path / "gone", "nothing by this name")):
        with pytest.raises(DatasetError, match=said):
            extract_archive(path, tmp_path / "to")
    assert not (tmp_path / "to").exists()


# ----- images ------------------------------------------------------------------------------------


def picture(form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(make.pixels(9, 11, 3)).save(file, form, **options)
    return file.getvalue()


PICTURES = [picture(form) for form in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")]


@given(damaged(PICTURES))
@pytest.mark.filterwarnings("ignore")  # Pillow warns of some damage, and reads what it can
def test_damaged_images(folder: Path, contents: bytes) -> None:
    image = read_or_refused(folder / "image", contents, load_image, 64 * MIB)
    assert image is None or image.mode == "RGB"


def test_images_that_take_much_memory(tmp_path: Path) -> None:
    def chunk(kind: bytes, contents: bytes) -> bytes:
        body = kind + contents
        return struct.pack(">I", len(contents)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(MIB)))
    )

    def action() -> None:
        with pytest.raises(DatasetError, match="DecompressionBombError: Image size") as caught:
            load_image(path)
        one_sentence(caught.value, path)

    assert peak(action) < 8 * MIB


def test_what_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    for contents in (b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"):
        path.write_bytes(contents)
        with pytest.raises(DatasetError, match="found no image, or a damaged one"):
            load_image(path)
    for where in (tmp_path, tmp_path / "gone.png"):
        with pytest.raises(DatasetError, match=r"no ordinary file|nothing by this name"):
            load_image(where)
    for contents in PICTURES[:2]:
        path.write_bytes(contents[:-40])
        with pytest.raises(DatasetError, match="damaged"):
            load_image(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_in_a_folder_of_images_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a" / "image.png")
    with pytest.raises(DatasetError, match="no ordinary file"):
        ImageFolder(tmp_path)[0]


# ----- texts -------------------------------------------------------------------------------------


@given(damaged([gzip.compress("héllo wörld".encode() * 5, mtime=0), "héllo wörld".encode() * 5]))
def test_damaged_texts(folder: Path, contents: bytes) -> None:
    text = read_or_refused(folder / "text", contents, lambda path: TextFile(path, 2), 4 * MIB)
    if text is not None:
        inner = gzip.decompress(contents) if contents.startswith(b"\x1f\x8b") else contents
        assert text.decode(text.data) == inner.decode()
