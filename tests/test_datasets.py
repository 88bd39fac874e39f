"""Datasets under torchvision's names: what they hold, how they are fetched, and downloaded."""

import gzip
import lzma
import os
import pickle
import struct
import sys
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataset_files as make
import tinygrad_cv as tg
from tinygrad_cv import hub
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.data import (
    CIFAR10,
    CIFAR100,
    EMNIST,
    KMNIST,
    MNIST,
    QMNIST,
    STL10,
    SVHN,
    DataLoader,
    DatasetError,
    DatasetFolder,
    Digits,
    FakeData,
    FashionMNIST,
    ImageFolder,
    Subset,
    TextFile,
    VisionDataset,
    extract_archive,
    load_dataset,
    load_digits,
    load_image,
)
from tinygrad_cv.data import transforms as T
from tinygrad_cv.data.datasets.archives import _tar_members

Image = pytest.importorskip("PIL.Image", reason="needs the extra 'images'")

pytestmark = pytest.mark.host  # datasets lie in host memory


# ----- what they hold ----------------------------------------------------------------------------


def check_samples(dataset: Any, images: np.ndarray, labels: Any) -> None:
    """Images uint8 (N, H, W, C) or (N, H, W): single samples, batches, and both in a DataLoader."""
    labels = np.asarray(labels)
    assert len(dataset) == len(images)
    for place in (0, len(images) - 1, -1):
        image, label = dataset[place]
        assert isinstance(image, Image.Image)
        assert image.mode == ("L" if images.ndim == 3 else "RGB")
        np.testing.assert_array_equal(np.asarray(image), images[place], strict=True)
        assert (type(label), label) == (int, labels[place])
    for place in (len(images), -len(images) - 1):
        with pytest.raises(IndexError, match=f"sample {place} of a dataset of {len(images)}"):
            dataset[place]
    with pytest.raises(TypeError):
        dataset[0.5]
    first = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    chosen = np.array([len(images) - 1, 0, 0])
    for made in (dataset, one_by_one(dataset)):
        x, y = made[chosen]
        np.testing.assert_array_equal(x, first[chosen], strict=True)
        np.testing.assert_array_equal(y, labels[chosen].astype(np.int64), strict=True)
        [[x, y]] = DataLoader(made, len(images), device="cpu")
        assert (x.dtype, y.dtype) == (np.uint8, np.int64)
        np.testing.assert_array_equal(x.numpy(), first)
        assert y.tolist() == labels.tolist()


def one_by_one(dataset: Any) -> Any:
    """The same dataset, which has to show each sample to a transform."""
    twin = pickle.loads(pickle.dumps(dataset))
    assert twin.batched
    twin.target_transform = int
    assert not twin.batched
    return twin


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST, KMNIST])
@pytest.mark.parametrize("zipped", [False, True])
def test_mnist_and_its_kin(kind: Any, zipped: bool, tmp_path: Path) -> None:
    parts = make.write_mnist(tmp_path, kind.__name__, zipped)
    for train, (images, labels) in parts.items():
        dataset = kind(str(tmp_path), train=train)
        check_samples(dataset, images, labels)
        assert (type(dataset.data), dataset.data.dtype) == (Tensor, np.uint8)
        assert (type(dataset.targets), dataset.targets.dtype) == (Tensor, np.int64)
        assert (dataset.data.device, dataset.targets.device) == ("cpu", "cpu")
        assert dataset.data.tolist() == images.tolist()
        assert len(dataset.classes) == 10
        assert dataset.class_to_idx[dataset.classes[3]] == 3
        assert dataset.raw_folder == str(tmp_path / kind.__name__ / "raw")
    with pytest.raises(DatasetError, match="which download=True fetches"):
        kind(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("split", "labels"),
    [
        ("byclass", [0, 61]),
        ("bymerge", [46]),
        ("balanced", [46, 1]),
        ("letters", [1, 26]),
        ("digits", [9]),
        ("mnist", [0]),
    ],
)
def test_emnist(split: str, labels: list[int], tmp_path: Path) -> None:
    files = make.emnist_files(split, np.array(labels, np.uint8))
    for name, array in files.items():
        make.write(tmp_path / "EMNIST" / "raw" / name, make.idx(array))
    dataset = EMNIST(tmp_path, split, train=False)
    check_samples(dataset, files[f"emnist-{split}-test-images-idx3-ubyte"], labels)
    assert len(dataset.classes) > max(labels)
    if split == "letters":
        assert [dataset.classes[label] for label in labels] == ["a", "z"]
    name = f"emnist-{split}-test-labels-idx1-ubyte"
    wrong = np.array(labels, np.uint8)
    wrong[0] = len(dataset.classes)
    make.write(tmp_path / "EMNIST" / "raw" / name, make.idx(wrong))
    with pytest.raises(DatasetError, match=f"found the label {wrong[0]} at position 0"):
        EMNIST(tmp_path, split, train=False)
    with pytest.raises(ValueError, match=r"the split of EMNIST is one of .* given 'all'"):
        EMNIST(tmp_path, "all")


def test_qmnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = make.write_qmnist(tmp_path)
    for what in ("train", "test", "nist"):
        _, images, labels = files[what]
        check_samples(QMNIST(tmp_path, what), images, labels[:, 0])
        whole = QMNIST(tmp_path, what, compat=False)
        assert whole.targets.tolist() == labels.tolist()
        assert whole[1][1].tolist() == labels[1].tolist()
        np.testing.assert_array_equal(whole[np.array([2, 0])][1], labels[[2, 0]])
    assert QMNIST(tmp_path).what == "train"
    assert QMNIST(tmp_path, train=False).what == "test"
    assert len(QMNIST(tmp_path, "test10k")) == 6  # of the six that there are
    with pytest.raises(DatasetError, match="found no images of test50k, expected some"):
        QMNIST(tmp_path, "test50k")


@pytest.mark.parametrize(
    "form",
    [make.python2_pickle, make.python3_pickle(2, True), make.python3_pickle(2, False),
     make.python3_pickle(4, True), make.python3_pickle(5, False), "bin"],
)  # fmt: skip
def test_cifar10(form: Any, tmp_path: Path) -> None:
    batches = make.write_cifar10(tmp_path, form)
    for train, parts in ((True, batches[:5]), (False, batches[5:])):
        dataset = CIFAR10(tmp_path, train)
        rows = np.concatenate([data for data, _ in parts])
        labels = [label for _, part in parts for label in part]
        check_samples(dataset, rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels)
        assert (type(dataset.data), dataset.data.shape[1:]) == (np.ndarray, (32, 32, 3))
        assert dataset.targets == labels
        assert dataset.class_to_idx["truck"] == 9


@pytest.mark.parametrize("binary", [False, True])
def test_cifar100(binary: bool, tmp_path: Path) -> None:
    parts = {name: make.batch(seed, classes=100) for seed, name in enumerate(("train", "test"))}
    for name, (data, labels) in parts.items():
        if binary:
            coarse = np.full(len(labels), 255, np.uint8)
            records = np.column_stack([coarse, np.array(labels, np.uint8), data])
            make.write(tmp_path / "cifar-100-binary" / f"{name}.bin", records.tobytes())
        else:
            contents = make.python2_pickle(data, labels, "fine_labels")
            make.write(tmp_path / "cifar-100-python" / name, contents)
    for name, (data, labels) in parts.items():
        dataset = CIFAR100(tmp_path, train=name == "train")
        check_samples(dataset, data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels)
    assert len(set(CIFAR100.classes)) == 100
    assert sorted(CIFAR100.classes) == CIFAR100.classes


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_svhn(compressed: bool, dtype: str, tmp_path: Path) -> None:
    images = make.pixels(32, 32, 3, 5)
    labels = np.array([[1], [10], [9], [2], [10]], dtype)
    for split in ("train", "test", "extra"):
        contents = make.svhn_mat(images, labels, compressed)
        (tmp_path / f"{split}_32x32.mat").write_bytes(contents)
        dataset = SVHN(tmp_path, split)
        check_samples(dataset, images.transpose(3, 0, 1, 2), [1, 0, 9, 2, 0])
        assert dataset.data.shape == (5, 3, 32, 32)
        assert dataset.labels.tolist() == [1, 0, 9, 2, 0]


def test_stl10(tmp_path: Path) -> None:
    held = make.write_stl10(tmp_path)

    def upright(name: str) -> np.ndarray:
        return held[name].transpose(0, 3, 2, 1)  # the columns of a plane come one after the other

    for part in ("train", "test"):
        check_samples(STL10(tmp_path, part), upright(f"{part}_X"), held[f"{part}_y"] - 1)
    check_samples(STL10(tmp_path, "unlabeled"), upright("unlabeled_X"), [-1] * 3)
    both = np.concatenate([upright("train_X"), upright("unlabeled_X")])
    check_samples(STL10(tmp_path, "train+unlabeled"), both, [0, 1, 2, 3, 4, 5, -1, -1, -1])
    folded = STL10(tmp_path, folds=3)
    check_samples(folded, upright("train_X")[[3, 5]], [3, 5])
    for folds in (10, -1, 1.0, "1", True):
        with pytest.raises(ValueError, match="a number from 0 to 9"):
            STL10(tmp_path, folds=folds)  # type: ignore[arg-type]


def test_digits_are_those_of_the_package() -> None:
    images, labels = load_digits()
    train, test = Digits(), Digits(train=False)
    assert (len(train), len(test)) == (1433, 364)
    for part in (train, test):
        check_samples(part, part.data, part.targets)
    every = np.concatenate([train.data, test.data])
    assert sorted(np.rint(every / 255 * 16).astype(int).reshape(-1, 64).tolist()) == sorted(
        (images * 16).astype(int).reshape(-1, 64).tolist()
    )
    assert (
        np.bincount(np.concatenate([train.targets, test.targets])).tolist()
        == np.bincount(labels).tolist()
    )


@given(st.integers(1, 40), st.permutations(range(6)), st.integers(-50, 2**70))
def test_fake_data_depends_on_the_index_alone(size: int, order: list[int], offset: int) -> None:
    state = tg.default_generator.bit_generator.state
    options: Any = {"image_size": (3, 5, 4), "num_classes": 3, "random_offset": offset}
    fake = FakeData(size, **options)
    places = [place % size for place in order]
    shown = {place: fake[place] for place in places}
    for place, (image, label) in shown.items():
        again, label_again = FakeData(size, **options)[place - size]
        assert (image.size, type(label)) == ((4, 5), int)
        assert (again.tobytes(), label_again) == (image.tobytes(), label)
        shifted = FakeData(size + 7, **{**options, "random_offset": offset - 7})[place + 7]
        assert shifted[0].tobytes() == image.tobytes()
    assert len({image.tobytes() for image, _ in shown.values()}) == len(shown)
    assert tg.default_generator.bit_generator.state == state


def test_fake_data_of_other_sizes() -> None:
    assert FakeData(image_size=(1, 2, 3))[0][0].mode == "L"
    assert FakeData(image_size=(5, 2, 3))[0][0].shape == (5, 2, 3)
    assert len(FakeData()) == 1000
    assert len({label for _, label in FakeData(50, (1, 1, 1), 3)}) == 3
    with pytest.raises(IndexError):
        FakeData(3)[3]
    for wrong in (
        {"size": -1},
        {"image_size": (3, 4)},
        {"image_size": (0, 1, 1)},
        {"num_classes": 0},
    ):
        with pytest.raises(ValueError, match="FakeData has"):
            FakeData(**wrong)  # type: ignore[arg-type]


# ----- transforms, and batches -------------------------------------------------------------------


def test_a_dataset_takes_transforms_of_one_kind() -> None:
    class Numbers(VisionDataset):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: Any) -> Any:
            return self.transformed(index, -index)

    assert Numbers(transforms=lambda x, y: (y, x))[1] == (-1, 1)
    assert Numbers(transform=str, target_transform=abs)[1] == ("1", 1)
    with pytest.raises(ValueError, match="given both"):
        Numbers(transforms=lambda x, y: (x, y), transform=str)
    assert repr(Numbers("~/x", transform=abs)).split("\n") == [
        "Dataset Numbers",
        "    Number of datapoints: 2",
        f"    Root location: {Path.home() / 'x'}",
        "    transform: <built-in function abs>",
    ]


NORMALIZE = T.Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))


@pytest.mark.parametrize(
    ("transform", "batched"),
    [
        (T.ToTensor(), True),
        (T.PILToTensor(), True),
        (T.Compose([T.ToTensor(), NORMALIZE]), True),
        (T.Compose([T.PILToTensor(), T.ConvertImageDtype("float32"), NORMALIZE]), True),
        (T.Compose([T.ToImage(), T.ToDtype("float32", scale=True), NORMALIZE]), True),
        (T.Compose([T.CenterCrop(24), T.Compose([T.ToTensor()]), T.Identity()]), True),
        (T.Compose([T.Resize(16), T.ToTensor()]), False),
        (T.Compose([T.Compose([]), T.PILToTensor()]), True),
        (T.Compose([T.Lambda(np.asarray), T.ToTensor()]), False),
        (lambda image: np.asarray(image)[:2, :3], False),
    ],
)
def test_batches_are_what_the_samples_are(transform: Any, batched: bool, tmp_path: Path) -> None:
    make.write_cifar10(tmp_path)
    dataset = CIFAR10(tmp_path, transform=transform)
    assert dataset.batched == batched
    single = [T.Compose([transform])(dataset.__class__(tmp_path)[place][0]) for place in (4, 0, 9)]
    expected = np.stack([np.asarray(x.numpy() if isinstance(x, Tensor) else x) for x in single])
    for indexed in (dataset, Subset(dataset, range(15))):
        images, _ = indexed[np.array([4, 0, 9])]
        np.testing.assert_array_equal(images, expected, strict=True)
    [[x, _]] = DataLoader(Subset(dataset, [4, 0, 9]), 3, device="cpu")
    np.testing.assert_array_equal(x.numpy(), expected, strict=True)


def test_what_takes_no_pillow_image_is_refused_in_batches_too(tmp_path: Path) -> None:
    make.write_cifar10(tmp_path)
    for first in (NORMALIZE, T.ToDtype("float32"), T.ConvertImageDtype()):
        dataset = CIFAR10(tmp_path, transform=T.Compose([first, T.ToTensor()]))
        for index in (0, np.array([0])):
            with pytest.raises(TypeError):
                dataset[index]


AUGMENT = T.Compose(
    [T.RandomCrop(32, padding=4), T.RandomHorizontalFlip(), T.RandomVerticalFlip(), T.ToTensor(),
     T.RandomErasing()]
)  # fmt: skip


ALONE = [T.Compose([T.ToTensor(), part]) for part in AUGMENT.transforms]


@pytest.mark.parametrize("transform", [AUGMENT, *ALONE])
def test_batches_draw_for_their_images_one_after_the_other(transform: Any, tmp_path: Path) -> None:
    """So what is random in a single transform is the same; of several it draws in another order."""
    make.write_cifar10(tmp_path)
    dataset = CIFAR10(tmp_path, transform=transform)
    assert dataset.batched
    tg.manual_seed(5)
    images, _ = dataset[np.array([4, 0, 9])]
    assert (images.shape, images.dtype) == ((3, 3, 32, 32), np.float32)
    if transform is not AUGMENT:
        tg.manual_seed(5)
        expected = [dataset[place][0].numpy() for place in (4, 0, 9)]
        np.testing.assert_array_equal(images, expected, strict=True)


@pytest.mark.parametrize("transform", [AUGMENT, T.Compose([T.Lambda(lambda x: x), AUGMENT])])
def test_a_share_of_a_batch_is_drawn_as_in_the_whole(transform: Any, tmp_path: Path) -> None:
    """As by one of several processes that train: of batches, and of samples one by one."""
    make.write_cifar10(tmp_path)
    dataset = CIFAR10(tmp_path, transform=transform)

    def images(share: tuple[int, int]) -> np.ndarray:
        tg.manual_seed(1)
        loader = DataLoader(Subset(dataset, range(12)), 6, True, device="cpu")
        loader.share = share
        return np.stack([x.numpy() for x, _ in loader])

    whole = images((0, 1))
    np.testing.assert_array_equal(
        np.concatenate([images((0, 2)), images((1, 2))], axis=1), whole, strict=True
    )


def test_a_class_below_with_samples_of_its_own_is_asked_for_those(tmp_path: Path) -> None:
    make.write_cifar10(tmp_path)

    class Doubled(CIFAR10):
        def __getitem__(self, index: Any) -> Any:
            image, label = super().__getitem__(index)
            return image, label * 2

    [[_, y]] = DataLoader(Doubled(tmp_path), 15, device="cpu")
    assert y.tolist() == [2 * label for label in CIFAR10(tmp_path).targets]


def test_rows_may_be_chosen(tmp_path: Path) -> None:
    make.write_mnist(tmp_path)
    make.write_cifar10(tmp_path)
    mnist, cifar = MNIST(tmp_path), CIFAR10(tmp_path)
    even = mnist.targets % 2 == 0
    mnist.data, mnist.targets = mnist.data[even], mnist.targets[even]
    assert (len(mnist), mnist[1][1]) == (6, 2)
    assert mnist[np.array([1, 2])][1].tolist() == [2, 4]
    cifar.data, cifar.targets = cifar.data[3:5], np.array(cifar.targets, np.uint8)[3:5]
    _, labels = cifar[np.array([1, 0])]
    assert (labels.dtype, labels.tolist()) == (np.int64, cifar.targets[::-1].tolist())
    assert type(cifar[0][1]) is int


def test_without_pillow_images_are_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make.write_mnist(tmp_path)
    make.write_cifar10(tmp_path)
    change = T.Compose([T.ToTensor()])
    kinds: list[Callable[..., Any]] = [MNIST, CIFAR10]
    with_it = [change(kind(tmp_path)[2][0]).numpy() for kind in kinds]
    for name in [name for name in sys.modules if name.partition(".")[0] == "PIL"]:
        monkeypatch.setitem(sys.modules, name, None)
    for kind, expected in zip(kinds, with_it, strict=True):
        dataset = kind(tmp_path)
        image, _ = dataset[2]
        assert (type(image), image.dtype) == (np.ndarray, np.uint8)
        assert image.shape == expected.shape
        np.testing.assert_array_equal(change(image).numpy(), expected)
        np.testing.assert_array_equal(dataset[np.array([2])][0][0], image)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tinygrad_cv\[images\]'"):
        load_image(tmp_path / "x.png")


# ----- folders -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """root/dog, root/cat with one deeper, of two sizes; and files that are no images."""
    root = tmp_path_factory.mktemp("pets")
    for place, name in enumerate(
        [
            "dog/b.png",
            "dog/a.JPG",
            "cat/x/2.bmp",
            "cat/1.webp",
            "cat/x.ppm",
            "cat/y/1.tif",
            "dog/c.gif",
        ]
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6 + place, 8), (40 * place, 0, 9)).save(root / name)
    (root / "dog" / "notes.txt").write_text("barks")
    (root / "readme.md").write_text("pets")
    return root


def test_an_image_folder_lists_classes_folders_and_names(pets: Path) -> None:
    dataset = ImageFolder(str(pets))
    assert dataset.classes == ["cat", "dog"]
    assert dataset.class_to_idx == {"cat": 0, "dog": 1}
    names = ["cat/1.webp", "cat/x.ppm", "cat/x/2.bmp", "cat/y/1.tif", "dog/a.JPG", "dog/b.png"]
    assert dataset.samples == dataset.imgs == [(str(pets / n), n[0] == "d") for n in names]
    assert dataset.targets == [0, 0, 0, 0, 1, 1]
    image, label = dataset[-1]
    assert (image.mode, image.size, label) == ("RGB", (6, 8), 1)
    gifs = ImageFolder(pets, is_valid_file=lambda path: path.endswith("c.gif"), allow_empty=True)
    assert [Path(path).name for path, _ in gifs.samples] == ["c.gif"]
    assert gifs.classes == ["cat", "dog"]
    with pytest.raises(DatasetError, match="found nothing for cat, expected files for which"):
        ImageFolder(pets, is_valid_file=lambda path: path.endswith("c.gif"))
    sizes = ImageFolder(pets, loader=lambda path: Path(path).name, target_transform=lambda y: y + 1)
    assert sizes[0] == ("1.webp", 1)


def test_batches_of_an_image_folder(pets: Path) -> None:
    change = T.Compose([T.Resize(8), T.CenterCrop(6), T.ToTensor()])
    for dataset in (ImageFolder(pets, change), ImageFolder(pets, T.CenterCrop(6))):
        [[x, y]] = DataLoader(dataset, 6, device="cpu")
        assert (x.shape, y.tolist()) == ((6, 3, 6, 6), [0, 0, 0, 0, 1, 1])
    assert x.dtype == np.uint8
    with pytest.raises(ValueError, match="must have the same shapes"):
        next(iter(DataLoader(ImageFolder(pets), 6)))


def test_a_folder_pickles_small(pets: Path) -> None:
    dataset = ImageFolder(pets, T.ToTensor())
    assert len(pickle.dumps(dataset)) < 2500
    twin = pickle.loads(pickle.dumps(dataset))
    assert (twin[3][0] == dataset[3][0]).all()


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="the system has no links")
def test_links_are_followed_but_not_round_in_a_circle(tmp_path: Path) -> None:
    make.write(tmp_path / "root" / "a" / "one.png", b"")
    make.write(tmp_path / "other" / "two.png", b"")
    (tmp_path / "root" / "a" / "round").symlink_to(tmp_path / "root")
    (tmp_path / "root" / "a" / "there").symlink_to(tmp_path / "other")
    (tmp_path / "root" / "b").symlink_to(tmp_path / "other")
    (tmp_path / "root" / "b" / "broken.png").symlink_to(tmp_path / "gone")
    names = [
        str(Path(path).relative_to(tmp_path / "root"))
        for path, _ in ImageFolder(tmp_path / "root").samples
    ]
    assert "a/one.png" in names
    assert "a/there/two.png" in names
    assert "b/two.png" in names
    assert len(names) < 20


def test_folders_in_one_another(tmp_path: Path) -> None:
    deep = tmp_path.joinpath("a", *["b"] * 50)
    deep.mkdir(parents=True)
    (deep / "x.png").touch()
    assert ImageFolder(tmp_path).samples == [(str(deep / "x.png"), 0)]
    with pytest.raises(DatasetError, match="found no image"):
        load_dataset(tmp_path)
    (deep / "x.png").rename(tmp_path / "x.png")
    with pytest.raises(DatasetError, match=r"found a folder with a, x.png, expected 'digits'"):
        load_dataset(tmp_path)


def test_folders_that_will_not_do(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="found nothing by this name"):
        ImageFolder(tmp_path / "gone")
    with pytest.raises(
        DatasetError, match="found no folders in it, expected a folder with a folder"
    ):
        ImageFolder(tmp_path)
    (tmp_path / "a").mkdir()
    with pytest.raises(
        DatasetError, match=r"found nothing for a, expected files that end with \.jpg"
    ):
        ImageFolder(tmp_path)
    assert len(ImageFolder(tmp_path, allow_empty=True)) == 0
    for options in ({}, {"extensions": (".x",), "is_valid_file": bool}):
        with pytest.raises(ValueError, match="told by extensions or by is_valid_file"):
            DatasetFolder(tmp_path, str, **options)  # type: ignore[arg-type]


def test_images_of_all_modes_become_colour(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    wide = np.array([[0, 255, 256, 65535]], np.uint16)
    for image, name, expected in (
        (Image.fromarray(wide), "png", [0, 0, 1, 255]),
        (Image.fromarray(wide), "tif", [0, 0, 1, 255]),
        (Image.new("L", (4, 1), 7), "png", [7] * 4),
        (Image.new("1", (4, 1), 1), "png", [255] * 4),
        (Image.new("LA", (4, 1), (9, 0)), "png", [9] * 4),
        (Image.new("RGBA", (4, 1), (9, 9, 9, 0)), "png", [9] * 4),
        (Image.new("CMYK", (4, 1), (0, 0, 0, 0)), "tif", [255] * 4),
    ):
        path = tmp_path / f"image.{name}"
        image.save(path)
        loaded = load_image(path)
        assert loaded.mode == "RGB"
        assert np.asarray(loaded)[0].tolist() == [[value] * 3 for value in expected], image.mode
    palette = Image.new("P", (2, 1), 1)
    palette.putpalette([0, 0, 0, 5, 6, 7])
    palette.save(path := tmp_path / "p.png", transparency=b"\0\x80")
    frames = [Image.new("P", (2, 1), 0), Image.new("P", (2, 1), 1)]
    for frame in frames:
        frame.putpalette([1, 2, 3, 5, 6, 7])
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_image(path).getpixel((0, 0)) == (5, 6, 7)
    assert load_image(tmp_path / "moving.gif").getpixel((0, 0)) == (1, 2, 3)
    turned = Image.new("RGB", (2, 1))
    turned.getexif()[0x0112] = 6  # the camera was held sideways
    turned.save(tmp_path / "turned.jpg", exif=turned.getexif())
    assert load_image(tmp_path / "turned.jpg").size == (2, 1)


# ----- texts -------------------------------------------------------------------------------------


@given(
    st.text(st.sampled_from("abc €\n𝄞"), min_size=2, max_size=60),
    st.integers(1, 6),
    st.one_of(st.none(), st.integers(1, 8)),
    st.sampled_from(["characters", "bytes"]),
)
def test_a_text_is_cut_into_sequences(
    tmp_path_factory: pytest.TempPathFactory, text: str, length: int, stride: Any, units: str
) -> None:
    path = tmp_path_factory.mktemp("text") / "text"
    path.write_bytes(text.encode())
    whole: Any = text if units == "characters" else text.encode()
    if len(whole) <= length:
        with pytest.raises(DatasetError, match=f"found {len(whole)} {units}, expected more than"):
            TextFile(path, length, stride, units)
        return
    dataset = TextFile(path, length, stride, units)
    step = stride or length
    starts = [start for start in range(0, len(whole), step) if start + length < len(whole)]
    assert len(dataset) == len(starts)
    for place, start in enumerate(starts):
        x, y = dataset[place]
        assert dataset.decode(x) == whole[start : start + length]
        assert dataset.decode(y) == whole[start + 1 : start + length + 1]
        assert (x.dtype, x.shape) == (np.int64, (length,))
    assert dataset.decode(dataset.encode(whole)) == whole
    x, y = dataset[np.array([0, -1])]
    np.testing.assert_array_equal(x, [dataset[0][0], dataset[-1][0]])
    np.testing.assert_array_equal(y, [dataset[0][1], dataset[-1][1]])
    with pytest.raises(IndexError):
        dataset[len(starts)]
    if units == "characters":
        assert dataset.vocabulary == sorted(set(text))


def test_a_text_with_the_vocabulary_of_another(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("hello")
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"hole"))
    first = TextFile(tmp_path / "a", 2)
    second = TextFile(tmp_path / "b.gz", 2, vocabulary=first.vocabulary)
    assert second.decode(second[0][0]) == "ho"
    with pytest.raises(DatasetError, match="found 'h', expected the 3 characters given"):
        TextFile(tmp_path / "a", 2, vocabulary="elo")
    with pytest.raises(ValueError, match="'x' is not in the vocabulary"):
        first.encode("hex")
    [x, y] = next(iter(DataLoader(first, 2, device="cpu")))
    assert (x.tolist(), y.tolist()) == ([[1, 0], [2, 2]], [[0, 2], [2, 3]])


def test_texts_that_will_not_do(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"caf\xe9 noir")
    with pytest.raises(DatasetError, match="found the byte 0xe9 at position 3, expected UTF-8"):
        TextFile(path, 2)
    assert TextFile(path, 2, units="bytes").decode([0xE9]) == b"\xe9"
    with pytest.raises(DatasetError, match="found more, expected a text of at most 8 bytes"):
        TextFile(path, 2, units="bytes", max_bytes=8)
    with pytest.raises(DatasetError, match="found nothing by this name"):
        TextFile(tmp_path / "gone")
    for options in ({"length": 0}, {"stride": 0}, {"units": "lines"}):
        with pytest.raises(ValueError, match="given"):
            TextFile(path, **options)  # type: ignore[arg-type]


# ----- downloads ---------------------------------------------------------------------------------


def served(folder: Path, name: str, contents: bytes) -> tuple[str, str]:
    """The address of a file with these contents, and its MD5."""
    make.write(folder / name, contents)
    return (folder / name).as_uri(), make.md5(contents)


def test_mnist_is_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = make.write_mnist(tmp_path / "source", zipped=True)
    there = tmp_path / "source" / "MNIST" / "raw"
    digests = [(name, make.md5((there / name).read_bytes())) for name, _ in MNIST.resources]
    monkeypatch.setattr(MNIST, "resources", digests)
    monkeypatch.setattr(MNIST, "mirrors", [f"{there.as_uri()}/gone/", f"{there.as_uri()}/"])
    dataset = MNIST(tmp_path / "root", download=True)
    check_samples(dataset, *parts[True])
    raw = Path(dataset.raw_folder)
    assert (raw / "t10k-labels-idx1-ubyte").read_bytes() == make.idx(parts[False][1])
    for path in (*there.iterdir(), *raw.glob("*.gz")):
        path.unlink()
    check_samples(MNIST(tmp_path / "root", train=False, download=True), *parts[False])
    with pytest.raises(hub.DownloadError, match="No such file"):
        MNIST(tmp_path / "other", download=True)


def test_emnist_is_downloaded_as_an_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = make.emnist_files("letters", np.array([1, 26], np.uint8))
    files |= make.emnist_files("mnist", np.array([0], np.uint8))
    url, md5 = served(tmp_path / "source", "gzip.zip", make.emnist_zip(files))
    monkeypatch.setattr(EMNIST, "url", url)
    monkeypatch.setattr(EMNIST, "md5", md5)
    letters = EMNIST(tmp_path, "letters", download=True)
    check_samples(letters, files["emnist-letters-train-images-idx3-ubyte"], [1, 26])
    names = sorted(path.name for path in Path(letters.raw_folder).iterdir())
    assert names == sorted([*(name for name in files if "letters" in name), "gzip.zip"])
    (tmp_path / "source" / "gzip.zip").unlink()
    assert len(EMNIST(tmp_path, "mnist", download=True)) == 1  # the archive is there
    with pytest.raises(DatasetError, match="found an archive without it, expected gzip/emnist-dig"):
        EMNIST(tmp_path, "digits", download=True)


def test_qmnist_is_downloaded_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resources: dict[str, Any] = {}
    files = make.qmnist_files()
    for what, (ending, images, labels) in files.items():
        name = "xnist" if what == "nist" else f"qmnist-{what}"
        zip_it = lzma.compress if ending == b".xz" else gzip.compress
        resources[what] = []
        for kind, array in (("images-idx3-ubyte", images), ("labels-idx2-int", labels)):
            full = f"{name}-{kind}{ending.decode()}"
            _, md5 = served(tmp_path / "source", full, zip_it(make.idx(array)))
            resources[what].append((full, md5))
    monkeypatch.setattr(QMNIST, "resources", resources)
    monkeypatch.setattr(
        "tinygrad_cv.data.datasets.mnist.QMNIST_URL", f"{(tmp_path / 'source').as_uri()}/"
    )
    for what in ("nist", "test"):
        _, images, labels = files[what]
        check_samples(QMNIST(tmp_path, what, download=True), images, labels[:, 0])
    with pytest.raises(DatasetError, match="which download=True fetches"):
        QMNIST(tmp_path, "train")


def test_archives_are_downloaded_and_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make.write_cifar10(tmp_path / "source")
    make.write_stl10(tmp_path / "source")
    for kind, folder in ((CIFAR10, "cifar-10-batches-py"), (STL10, "stl10_binary")):
        members = {
            f"{folder}/{path.name}": path.read_bytes()
            for path in sorted((tmp_path / "source" / folder).iterdir())
        }
        url, md5 = served(tmp_path / "served", kind.filename, make.tar(members, zipped="gz"))
        monkeypatch.setattr(kind, "url", url)
        monkeypatch.setattr(kind, "tgz_md5", "0" * 32)
        with pytest.raises(hub.DownloadError, match="was expected to begin it: it is damaged"):
            kind(tmp_path / "root", download=True)
        assert not (tmp_path / "root" / folder).exists()
        monkeypatch.setattr(kind, "tgz_md5", md5)
        got = kind(tmp_path / "root", download=True)
        np.testing.assert_array_equal(got.data, kind(tmp_path / "source").data)
        (tmp_path / "root" / kind.filename).unlink()
        (tmp_path / "served" / kind.filename).unlink()
        kind(tmp_path / "root", download=True)
    assert sorted(path.name for path in (tmp_path / "root").iterdir()) == [
        "cifar-10-batches-py",
        "stl10_binary",
    ]


def test_svhn_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = make.svhn_mat(make.pixels(32, 32, 3, 2), np.array([[3], [10]], np.uint8))
    _, md5 = served(tmp_path / "source", "test_32x32.mat", contents)
    monkeypatch.setitem(SVHN.split_list, "test", ("test_32x32.mat", md5))
    monkeypatch.setattr("tinygrad_cv.data.datasets.svhn.URL", f"{(tmp_path / 'source').as_uri()}/")
    assert SVHN(tmp_path / "root", "test", download=True).labels.tolist() == [3, 0]


# ----- archives ----------------------------------------------------------------------------------

LONG = "/".join(["folder" * 12] * 3) + "/" + "file" * 20
MEMBERS = {
    "a/b/one.txt": b"one" * 1000,
    "a/two": b"",
    "top": b"x" * 512,
    "ä €.png": b"p",
    LONG: b"l",
}


@pytest.mark.parametrize("zipped", ["", "gz", "xz"])
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_file_is_unpacked(form: int, zipped: str, tmp_path: Path) -> None:
    members = MEMBERS | {"a/": b"", "a/empty/": b""}
    if form == tarfile.USTAR_FORMAT:
        members[LONG[74:]] = members.pop(LONG)  # 100 bytes, and a folder of at most 155
    path = tmp_path / "archive"
    path.write_bytes(make.tar(members, form, zipped))
    assert extract_archive(path, tmp_path / "to") == tmp_path / "to"
    for name, contents in members.items():
        there = tmp_path / "to" / name
        assert there.is_dir() if name.endswith("/") else there.read_bytes() == contents
    assert not [entry for entry in (tmp_path / "to").iterdir() if entry.name.startswith(".")]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_file_is_unpacked(method: int, tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(make.zipped(MEMBERS, method))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "two").write_bytes(b"older")
    (tmp_path / "a" / "mine").write_bytes(b"stays")
    assert extract_archive(str(tmp_path / "archive")) == tmp_path
    for name, contents in MEMBERS.items():
        assert (tmp_path / name).read_bytes() == contents
    assert (tmp_path / "a" / "mine").read_bytes() == b"stays"


def test_a_zip_file_in_the_form_for_large_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = make.zipped(MEMBERS)
    place = contents.index(b"PK\x05\x06")
    _, _, count, _, size, offset, _ = struct.unpack("<HHHHIIH", contents[place + 4 :])
    large = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, size, offset)
    large += b"PK\x06\x07" + struct.pack("<IQI", 0, place, 1)
    ones = struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    (tmp_path / "archive").write_bytes(contents[:place] + large + b"PK\x05\x06" + ones)
    monkeypatch.setattr("tinygrad_cv.data.datasets.archives.MAX_DIRECTORY", size)
    extract_archive(tmp_path / "archive", tmp_path / "to")
    assert (tmp_path / "to" / "top").read_bytes() == MEMBERS["top"]
    monkeypatch.setattr("tinygrad_cv.data.datasets.archives.MAX_DIRECTORY", size - 1)
    with pytest.raises(DatasetError, match=f"a list of members of {size} bytes"):
        extract_archive(tmp_path / "archive", tmp_path / "to")


def test_some_members_are_unpacked(tmp_path: Path) -> None:
    for number, contents in enumerate((make.zipped(MEMBERS), make.tar(MEMBERS, zipped="gz"))):
        (tmp_path / "archive").write_bytes(contents)
        there = extract_archive(tmp_path / "archive", tmp_path / str(number), members=["a/two"])
        assert [path.name for path in there.rglob("*")] == ["a", "two"]


def test_what_a_killed_process_has_unpacked_is_cleared(tmp_path: Path) -> None:
    stale = tmp_path / f".archive.{'0' * 16}.unpacked"
    make.write(stale / "half", b"")
    os.utime(stale, (0, 0))
    (tmp_path / "archive").write_bytes(make.zipped({"x": b"1"}))
    extract_archive(tmp_path / "archive")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "x"]


def test_a_large_size_in_a_tar_file_is_base_256(tmp_path: Path) -> None:
    """Beyond 8 GiB, GNU's way; the file ends long before."""
    info = tarfile.TarInfo("large")
    info.size = 1 << 40
    path = tmp_path / "archive"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"some of it")
    with path.open("rb") as file:
        [(name, _, _)] = [next(_tar_members(file, path, 9, 1 << 50))]
    assert name == "large"
    with pytest.raises(DatasetError, match="found 1,099,511,627,776 bytes or more in its members"):
        extract_archive(path)
    with pytest.raises(DatasetError, match="a tar file that ends too early"):
        extract_archive(path, max_bytes=1 << 50)


# ----- whole datasets by the name of a folder ----------------------------------------------------


def test_a_folder_of_images_is_loaded_whole(pets: Path, tmp_path: Path) -> None:
    splits = load_dataset(pets)
    assert (splits.classes, splits.class_names, splits.name) == (2, ("cat", "dog"), pets.name)
    assert splits.train_images.shape == (4, 3, 64, 64)  # the first of each class is held out
    assert splits.test_images.shape == (2, 3, 64, 64)
    assert (splits.train_labels.tolist(), splits.test_labels.tolist()) == ([0, 0, 0, 1], [0, 1])
    small = load_dataset(pets, size=5)
    assert small.train_images.shape == (4, 3, 5, 5)
    assert small.train_images.max() <= 1
    with pytest.raises(DatasetError, match=r"found 6 images of 64x64, which take 294,912 bytes"):
        load_dataset(pets, max_bytes=294_911)
    assert load_dataset(pets, max_bytes=294_912).classes == 2
    for part, count in (("train", 3), ("val", 2)):
        for name in ("red", "blue"):
            for number in range(count):
                (tmp_path / part / name).mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (7, 5), name).save(tmp_path / part / name / f"{number}.png")
    splits = load_dataset(str(tmp_path))
    assert splits.train_images.shape == (6, 3, 5, 7)  # as they are
    assert splits.test_labels.tolist() == [0, 0, 1, 1]
    assert splits.test_images[0, :, 0, 0].tolist() == [0, 0, 1]
    (tmp_path / "val" / "red").rename(tmp_path / "val" / "green")
    with pytest.raises(
        DatasetError, match="found folders for blue, green, expected those of train"
    ):
        load_dataset(tmp_path)


def test_datasets_as_torchvision_keeps_them_are_loaded_whole(tmp_path: Path) -> None:
    mat = make.svhn_mat(make.pixels(32, 32, 3, 3), np.array([[1], [10], [2]], np.uint8))
    (tmp_path / "svhn").mkdir()
    for part in ("train", "test"):
        (tmp_path / "svhn" / f"{part}_32x32.mat").write_bytes(mat)
    make.write_mnist(tmp_path / "mnist")
    make.write_mnist(tmp_path / "fashion", "FashionMNIST", zipped=True)
    make.write_mnist(tmp_path / "kmnist", "KMNIST")
    make.write_qmnist(tmp_path / "qmnist")
    make.write_cifar10(tmp_path / "cifar")
    make.write_stl10(tmp_path / "stl")
    for folder, name, shape, kind in (
        ("svhn", "SVHN", (3, 3, 32, 32), SVHN),
        ("mnist", "MNIST", (12, 1, 28, 28), MNIST),
        ("fashion", "Fashion-MNIST", (12, 1, 28, 28), FashionMNIST),
        ("kmnist", "KMNIST", (12, 1, 28, 28), KMNIST),
        ("qmnist", "QMNIST", (6, 1, 28, 28), QMNIST),
        ("cifar", "CIFAR-10", (15, 3, 32, 32), CIFAR10),
        ("stl", "STL-10", (6, 3, 96, 96), STL10),
    ):
        splits = load_dataset(tmp_path / folder)
        assert (splits.name, splits.classes, splits.train_images.shape) == (name, 10, shape)
        [[x, y]] = DataLoader(kind(tmp_path / folder, transform=T.ToTensor()), 20, device="cpu")
        np.testing.assert_array_equal(splits.train_images, x.numpy(), strict=True)
        np.testing.assert_array_equal(splits.train_labels, y.numpy(), strict=True)
        assert len(splits.test_images) == len(splits.test_labels) > 0
    make.write_cifar10(tmp_path / "cifar", "bin")  # both versions of one dataset
    assert load_dataset(tmp_path / "cifar").name == "CIFAR-10"
    make.write_mnist(tmp_path / "cifar")
    with pytest.raises(DatasetError, match="files of both CIFAR-10 and MNIST, expected one"):
        load_dataset(tmp_path / "cifar")
