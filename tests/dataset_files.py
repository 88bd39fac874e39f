"""Datasets in small, written as their authors publish them, each by a writer of somebody else's."""

import gzip
import hashlib
import io
import lzma
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def md5(contents: bytes) -> str:
    return hashlib.md5(contents).hexdigest()


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return rng(seed).integers(0, 256, shape, dtype=np.uint8)


def idx(array: np.ndarray) -> bytes:
    """The array as an IDX file."""
    code = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}[array.dtype.str[1:]]
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write(path: Path, contents: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(contents)


def write_mnist(
    root: Path, name: str = "MNIST", zipped: bool = False, classes: int = 10, seed: int = 1
) -> dict[bool, tuple[np.ndarray, np.ndarray]]:
    """`root`/MNIST/raw: the images (N, 28, 28) and labels of both parts, by `train`."""
    parts = {}
    for train, part, count in ((True, "train", 12), (False, "t10k", 5)):
        images = pixels(count, 28, 28, seed=seed + train)
        labels = (np.arange(count) % classes).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            contents = idx(array)
            path = root / name / "raw" / f"{part}-{kind}-ubyte{'.gz' if zipped else ''}"
            write(path, gzip.compress(contents, mtime=0) if zipped else contents)
        parts[train] = images, labels
    return parts


def emnist_files(split: str, labels: np.ndarray) -> dict[str, np.ndarray]:
    """The files of a split, by name."""
    files: dict[str, np.ndarray] = {}
    for part in ("train", "test"):
        files[f"emnist-{split}-{part}-images-idx3-ubyte"] = pixels(len(labels), 28, 28)
        files[f"emnist-{split}-{part}-labels-idx1-ubyte"] = labels
    return files


def emnist_zip(files: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in files.items():
            archive.writestr(f"gzip/{name}.gz", gzip.compress(idx(array)))
    return file.getvalue()


def qmnist_files(count: int = 6) -> dict[str, tuple[bytes, np.ndarray, np.ndarray]]:
    """By what: the ending of the names, the images and the labels (N, 8)."""
    files = {}
    for seed, what in enumerate(("train", "test", "nist")):
        labels = rng(seed).integers(0, 10, (count, 8)).astype(np.int32)
        files[what] = (
            b".xz" if what == "nist" else b".gz",
            pixels(count, 28, 28, seed=seed),
            labels,
        )
    return files


def write_qmnist(root: Path) -> dict[str, tuple[bytes, np.ndarray, np.ndarray]]:
    files = qmnist_files()
    for what, (_, images, labels) in files.items():
        name = "xnist" if what == "nist" else f"qmnist-{what}"
        write(root / "QMNIST" / "raw" / f"{name}-images-idx3-ubyte", idx(images))
        write(root / "QMNIST" / "raw" / f"{name}-labels-idx2-int", idx(labels))
    return files


def python2_pickle(data: np.ndarray, labels: list[int], key: str = "labels") -> bytes:
    """What Python 2 and its NumPy wrote, opcode by opcode: its strings are bytes without a name."""

    def text(value: bytes) -> bytes:
        if len(value) < 256:
            return b"U" + bytes([len(value)]) + value
        return b"T" + struct.pack("<i", len(value)) + value

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    dtype = (
        b"cnumpy\ndtype\n"
        + text(b"u1")
        + b"K\x00K\x01\x87R"
        + (b"(K\x03" + text(b"|") + b"NNN" + number(-1) + number(-1) + b"K\x00tb")
    )
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
        + text(b"b")
        + (
            b"\x87R(K\x01"
            + number(data.shape[0])
            + number(data.shape[1])
            + b"\x86"
            + dtype
            + b"\x89"
            + text(data.tobytes())
            + b"tb"
        )
    )
    listed = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    items = text(b"data") + array + text(key.encode()) + listed
    items += text(b"batch_label") + text(b"training batch 1 of 5")
    return b"\x80\x02}(" + items + b"u."


def batch(seed: int, count: int = 3, classes: int = 10) -> tuple[np.ndarray, list[int]]:
    """Rows (N, 3072) and labels of a file of CIFAR's."""
    return pixels(count, 3072, seed=seed), rng(seed).integers(0, classes, count).tolist()


CIFAR10 = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


def write_cifar10(root: Path, form: Any = python2_pickle) -> list[tuple[np.ndarray, list[int]]]:
    """`root`/cifar-10-batches-py, or -bin with form "bin": rows and labels, the test part last."""
    batches = [batch(seed) for seed in range(6)]
    for name, (data, labels) in zip(CIFAR10, batches, strict=True):
        if form == "bin":
            records = np.column_stack([np.array(labels, np.uint8), data])
            write(root / "cifar-10-batches-bin" / f"{name}.bin", records.tobytes())
        else:
            write(root / "cifar-10-batches-py" / name, form(data, labels))
    return batches


def python3_pickle(protocol: int, as_bytes: bool) -> Any:
    def make(data: np.ndarray, labels: list[int]) -> bytes:
        held = {"data": data, "labels": labels, "filenames": ["a.png"] * len(labels)}
        named = {name.encode() if as_bytes else name: value for name, value in held.items()}
        return pickle.dumps(named, protocol=protocol)

    return make


def svhn_mat(images: np.ndarray, labels: np.ndarray, compressed: bool = True) -> bytes:
    """Images (32, 32, 3, N) and labels (N, 1), 1 to 10, as MATLAB does."""
    file = io.BytesIO()
    scipy.io.savemat(file, {"X": images, "y": labels}, do_compression=compressed)
    return file.getvalue()


def write_stl10(root: Path) -> dict[str, np.ndarray]:
    """`root`/stl10_binary: what each file holds."""
    folder = root / "stl10_binary"
    held: dict[str, np.ndarray] = {}
    for part, count in (("train", 6), ("unlabeled", 3), ("test", 4)):
        held[f"{part}_X"] = pixels(count, 3, 96, 96, seed=count)
        write(folder / f"{part}_X.bin", held[f"{part}_X"].tobytes())
        if part != "unlabeled":
            held[f"{part}_y"] = (np.arange(count) % 10 + 1).astype(np.uint8)
            write(folder / f"{part}_y.bin", held[f"{part}_y"].tobytes())
    folds = "\n".join(f"{fold % 6} {(fold + 2) % 6} " for fold in range(10))
    write(folder / "fold_indices.txt", folds.encode())
    return held


def tar(members: dict[str, bytes], form: int = tarfile.GNU_FORMAT, zipped: str = "") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name, contents in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(contents)
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            archive.addfile(info, io.BytesIO(contents))
    made = file.getvalue()
    return {"": bytes, "gz": gzip.compress, "xz": lzma.compress}[zipped](made)


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, contents in members.items():
            archive.writestr(name, contents)
    return file.getvalue()
