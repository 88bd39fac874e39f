"""Our datasets beside torchvision's: the arguments, the addresses, and what they hold."""

import gzip
import inspect
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dataset_files as make
from tinygrad_cv import data
from tinygrad_cv.data.datasets.mnist import QMNIST_URL
from tinygrad_cv.data.datasets.svhn import URL as SVHN_URL

datasets = pytest.importorskip("torchvision.datasets", reason="needs torchvision")

pytestmark = pytest.mark.host

NAMES = """
    MNIST FashionMNIST KMNIST EMNIST QMNIST CIFAR10 CIFAR100 SVHN STL10 ImageFolder DatasetFolder
    FakeData
"""
FILES = "b/2.png b/10.jpg b/a/1.png b/a.d/1.png B/x.PNG c/y/z.bmp"


@pytest.mark.parametrize("name", NAMES.split())
def test_arguments(name: str) -> None:
    ours, theirs = (
        [
            (parameter.name, parameter.default, parameter.kind)
            for parameter in inspect.signature(getattr(module, name)).parameters.values()
            if parameter.name != "loader"  # whose default is their function
        ]
        for module in (data, datasets)
    )
    assert ours == theirs


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "KMNIST"])
def test_addresses_of_mnist_and_its_kin(name: str) -> None:
    ours, theirs = getattr(data, name), getattr(datasets, name)
    assert (ours.mirrors, ours.resources) == (theirs.mirrors, theirs.resources)
    assert ours.classes == theirs.classes


def test_addresses_of_others() -> None:
    assert (data.EMNIST.url, data.EMNIST.md5) == (datasets.EMNIST.url, datasets.EMNIST.md5)
    assert data.EMNIST.splits == datasets.EMNIST.splits
    assert data.EMNIST.classes_split_dict == datasets.EMNIST.classes_split_dict
    assert data.QMNIST.subsets == datasets.QMNIST.subsets
    assert {
        what: [(QMNIST_URL + name, md5) for name, md5 in parts]
        for what, parts in data.QMNIST.resources.items()
    } == datasets.QMNIST.resources
    for name in ("CIFAR10", "CIFAR100", "STL10"):
        ours, theirs = getattr(data, name), getattr(datasets, name)
        for field in ("url", "filename", "tgz_md5", "base_folder"):
            assert getattr(ours, field) == getattr(theirs, field)
    for name in ("CIFAR10", "CIFAR100"):
        ours, theirs = getattr(data, name), getattr(datasets, name)
        assert ours.train_list == [file for file, _ in theirs.train_list]
        assert ours.test_list == [file for file, _ in theirs.test_list]
    assert {
        split: [SVHN_URL + name, name, md5] for split, (name, md5) in data.SVHN.split_list.items()
    } == datasets.SVHN.split_list


def check(ours: Any, theirs: Any) -> None:
    assert len(ours) == len(theirs)
    for place in range(len(ours)):
        (image, label), (their_image, their_label) = ours[place], theirs[place]
        assert (image.mode, image.size, label) == (their_image.mode, their_image.size, their_label)
        assert type(label) is type(their_label)
        assert image.tobytes() == their_image.tobytes()
    assert np.shape(ours.data) == np.shape(theirs.data)
    assert np.array_equal(np.asarray(ours.data), np.asarray(theirs.data))


def test_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MNIST", "FashionMNIST", "KMNIST"):
        make.write_mnist(tmp_path, name)
        for train in (True, False):
            check(getattr(data, name)(tmp_path, train), getattr(datasets, name)(tmp_path, train))
    for name, array in make.emnist_files("letters", np.array([1, 26], np.uint8)).items():
        make.write(tmp_path / "EMNIST" / "raw" / name, make.idx(array))
    check(data.EMNIST(tmp_path, "letters"), datasets.EMNIST(tmp_path, "letters"))
    make.write_qmnist(tmp_path)
    for what in ("train", "nist", "test10k"):
        check(data.QMNIST(tmp_path, what), datasets.QMNIST(tmp_path, what))
    make.write_stl10(tmp_path)
    mat = make.svhn_mat(make.pixels(32, 32, 3, 3), np.array([[1], [10], [2]], np.uint8))
    (tmp_path / "train_32x32.mat").write_bytes(mat)
    for kind in (datasets.CIFAR10, datasets.STL10, datasets.SVHN):
        monkeypatch.setattr(kind, "_check_integrity", lambda self: True)
    for options in ({}, {"folds": 2}, {"split": "test"}, {"split": "train+unlabeled"}):
        check(data.STL10(tmp_path, **options), datasets.STL10(tmp_path, **options))
    check(data.SVHN(tmp_path), datasets.SVHN(tmp_path))
    make.write_cifar10(tmp_path)
    monkeypatch.setattr(datasets.CIFAR10, "_load_meta", lambda self: None)
    for train in (True, False):
        ours, theirs = data.CIFAR10(tmp_path, train), datasets.CIFAR10(tmp_path, train)
        check(ours, theirs)
        assert ours.targets == theirs.targets


def test_folders(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for number, name in enumerate(FILES.split()):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        image.fromarray(make.pixels(5 + number, 6, 3, seed=number)).save(tmp_path / name)
    ours, theirs = data.ImageFolder(str(tmp_path)), datasets.ImageFolder(str(tmp_path))
    for field in ("classes", "class_to_idx", "samples", "imgs", "targets"):
        assert getattr(ours, field) == getattr(theirs, field)
    for (mine, label), (other, their_label) in zip(ours, theirs, strict=True):
        assert (mine.tobytes(), label) == (other.tobytes(), their_label)


def test_what_we_download_theirs_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = make.write_mnist(tmp_path / "source")
    source = tmp_path / "source" / "MNIST" / "raw"
    resources = []
    for path in sorted(source.iterdir()):
        zipped = gzip.compress(path.read_bytes())
        (source / f"{path.name}.gz").write_bytes(zipped)
        resources.append((f"{path.name}.gz", make.md5(zipped)))
    monkeypatch.setattr(data.MNIST, "mirrors", [f"{source.as_uri()}/"])
    monkeypatch.setattr(data.MNIST, "resources", resources)
    data.MNIST(tmp_path / "root", download=True)
    shutil.rmtree(source)
    theirs = datasets.MNIST(tmp_path / "root")
    assert np.array_equal(np.asarray(theirs.data), parts[True][0])
