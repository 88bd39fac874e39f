"""MNIST and the datasets in its form: IDX files, gzipped or not."""

from os import PathLike
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase, digits
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from tinygrad_cv._tensor import wrap
from tinygrad_cv.backend import get, host
from tinygrad_cv.data.datasets.archives import extract_archive
from tinygrad_cv.data.datasets.vision import ArrayDataset, Transform, fetched, one_of
from tinygrad_cv.data.files import (
    MAX_BYTES,
    DatasetError,
    checked_labels,
    load_idx,
    located,
    mnist_part,
    unzip,
)

NAMES = "zero one two three four five six seven eight nine"
DIGITS = [f"{number} - {name}" for number, name in enumerate(NAMES.split())]
CLOTHES = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"
SIGNS = "o ki su tsu na ha ma ya re wo"


class MNIST(ArrayDataset):
    """Handwritten digits: 60,000 images to train and 10,000 to test, 28x28, in gray.

    They lie in `root`/MNIST/raw, as torchvision keeps them: train-images-idx3-ubyte,
    train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each as it is or
    gzipped (with .gz). `download` fetches those that are not there.

    A sample is (image, class); see `ArrayDataset` for what an image is. `data` is a Tensor uint8
    (N, 28, 28), `targets` one of int64 (N,), both in host memory.

    Raises DatasetError for files that are missing or damaged, and hub.DownloadError.

    Source: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to
    document recognition", Proceedings of the IEEE 86(11), 1998.

    >>> from tinygrad_cv.data import MNIST, DatasetError
    >>> try:
    ...     MNIST("data")
    ... except DatasetError as error:
    ...     print("download=True" in str(error))
    True
    """

    mirrors: ClassVar[list[str]] = [
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    ]
    resources: ClassVar[Any] = [
        ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
        ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
        ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
    ]
    classes = DIGITS

    def __init__(
        self,
        root: str | PathLike[str],
        train: bool = True,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        if download:
            self.download()
        images, labels = self._read()
        self.data, self.targets = (wrap(array, get("cpu")) for array in (images, labels))

    @property
    def raw_folder(self) -> str:
        """The folder with the files."""
        return str(Path(str(self.root)) / type(self).__name__ / "raw")

    def _names(self) -> tuple[str, str]:
        """The files with the images and with the labels."""
        part = "train" if self.train else "t10k"
        return f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"

    def _paths(self) -> list[Path]:
        names = self._names()
        expected = f"a folder with {' and '.join(names)}, which download=True fetches"
        return located(Path(self.raw_folder), names, expected)

    def _read(self) -> tuple[host.ndarray, host.ndarray]:
        images, labels = self._paths()
        return mnist_part(images, labels, MAX_BYTES, len(self.classes))

    def download(self) -> None:
        """Fetch the files that are not there. Raises hub.DownloadError."""
        for name, md5 in self.resources:
            self._fetch(name, [mirror + name for mirror in self.mirrors], md5)

    def _fetch(self, name: str, urls: list[str], md5: str) -> None:
        folder = Path(self.raw_folder)
        plain = folder / name.rpartition(".")[0]
        if not plain.is_file():
            unzip(fetched(folder, name, urls, md5), plain)

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"


class FashionMNIST(MNIST):
    """Clothes in the form of MNIST: 60,000 images to train and 10,000 to test, 28x28, in gray.

    They lie in `root`/FashionMNIST/raw; see `MNIST` for the rest.

    Source: H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a novel image dataset for
    benchmarking machine learning algorithms", 2017.

    >>> from tinygrad_cv.data import FashionMNIST
    >>> FashionMNIST.classes[0], FashionMNIST.classes[-1]
    ('T-shirt/top', 'Ankle boot')
    """

    mirrors: ClassVar[list[str]] = ["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"]
    resources: ClassVar[Any] = [
        ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
        ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
        ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    ]
    classes = CLOTHES.split(",")


class KMNIST(MNIST):
    """Kuzushiji, cursive Japanese, in the form of MNIST: ten signs, 28x28, in gray.

    They lie in `root`/KMNIST/raw; see `MNIST` for the rest.

    Source: T. Clanuwat et al., "Deep learning for classical Japanese literature", 2018.

    >>> from tinygrad_cv.data import KMNIST
    >>> KMNIST.classes
    ['o', 'ki', 'su', 'tsu', 'na', 'ha', 'ma', 'ya', 're', 'wo']
    """

    mirrors: ClassVar[list[str]] = ["http://codh.rois.ac.jp/kmnist/dataset/kmnist/"]
    resources: ClassVar[Any] = [
        ("train-images-idx3-ubyte.gz", "bdb82020997e1d708af4cf47b453dcf7"),
        ("train-labels-idx1-ubyte.gz", "e144d726b3acfaa3e44228e80efcd344"),
        ("t10k-images-idx3-ubyte.gz", "5c965bf0a639b31b8f53240b1b52f4d7"),
        ("t10k-labels-idx1-ubyte.gz", "7320c461ea6c1c855c0b718fb2a4b134"),
    ]
    classes = SIGNS.split()


MERGED = set("cijklmopsuvwxyz")  # small letters that look like their capitals
CHARACTERS = digits + ascii_uppercase + ascii_lowercase


class EMNIST(MNIST):
    """Handwritten digits and letters in the form of MNIST, 28x28, in gray.

    `split` is one of byclass (62 classes), bymerge and balanced (47, with the small letters that
    look like capitals among those), letters (26, numbered from 1), digits and mnist (10). They lie
    in `root`/EMNIST/raw as emnist-balanced-train-images-idx3-ubyte and so on, gzipped or not;
    `download` fetches the archive of all splits, and unzips this one. See `MNIST` for the rest.

    The images are as published, and as torchvision gives them: rows and columns are exchanged.
    With `transforms.Lambda(lambda x: x.transpose(-2, -1))` behind ToTensor they stand upright.

    Raises ValueError for another split, and what MNIST does.

    Source: G. Cohen, S. Afshar, J. Tapson and A. van Schaik, "EMNIST: an extension of MNIST to
    handwritten letters", 2017.

    >>> from tinygrad_cv.data import EMNIST
    >>> {split: len(classes) for split, classes in EMNIST.classes_split_dict.items()}
    {'byclass': 62, 'bymerge': 47, 'balanced': 47, 'letters': 27, 'digits': 10, 'mnist': 10}
    """

    url = "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip"
    md5 = "58c8d27c78d21e728a6bc7b3cc06412e"
    splits = ("byclass", "bymerge", "balanced", "letters", "digits", "mnist")
    classes_split_dict: ClassVar[dict[str, list[str]]] = {
        "byclass": [*CHARACTERS],
        "bymerge": [c for c in CHARACTERS if c not in MERGED],
        "balanced": [c for c in CHARACTERS if c not in MERGED],
        "letters": ["N/A", *ascii_lowercase],
        "digits": [*digits],
        "mnist": [*digits],
    }

    def __init__(self, root: str | PathLike[str], split: str, **kwargs: Any) -> None:
        self.split = one_of("the split of EMNIST", split, self.splits)
        self.classes = self.classes_split_dict[self.split]
        super().__init__(root, **kwargs)

    def _names(self, part: str | None = None) -> tuple[str, str]:
        prefix = f"emnist-{self.split}-{part or ('train' if self.train else 'test')}"
        return f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"

    def download(self) -> None:
        """Fetch the archive if a file of the split is not there. Raises hub.DownloadError."""
        folder = Path(self.raw_folder)
        names = [name for part in ("train", "test") for name in self._names(part)]
        missing = [name for name in names if not (folder / name).is_file()]
        if not missing:
            return
        archive = fetched(folder, self.url.rpartition("/")[2], [self.url], self.md5)
        with TemporaryDirectory(prefix=".unpacked.", dir=folder) as there:
            extract_archive(archive, there, members=[f"gzip/{name}.gz" for name in missing])
            for name in missing:
                unzip(Path(there) / "gzip" / f"{name}.gz", folder / name)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, {self.split}"


QMNIST_URL = "https://raw.githubusercontent.com/facebookresearch/qmnist/master/"


class QMNIST(MNIST):
    """MNIST again from its source, with all 60,000 digits to test, and who wrote each.

    `what` is train, test, test10k (the test part of MNIST), test50k (the rest), or nist (all
    402,953); None stands for train or test, as `train` says. They lie in `root`/QMNIST/raw as
    qmnist-train-images-idx3-ubyte, qmnist-train-labels-idx2-int and so on.

    `targets` are int64 (N, 8): the class, the series, the writer, the number of the image by this
    writer, the code of the class, the number in all, and two of no use. With `compat` the target of
    a sample is its class, without it the Tensor of all eight. See `MNIST` for the rest.

    Raises ValueError for another `what`, and what MNIST does.

    Source: C. Yadav and L. Bottou, "Cold case: the lost MNIST digits", NeurIPS 2019.

    >>> from tinygrad_cv.data import QMNIST
    >>> try:
    ...     QMNIST("data", "dev")
    ... except ValueError as error:
    ...     print(error)
    what is one of 'train', 'test', 'test10k', 'test50k', 'nist'; given 'dev'.
    """

    subsets: ClassVar[dict[str, str]] = {
        "train": "train",
        "test": "test",
        "test10k": "test",
        "test50k": "test",
        "nist": "nist",
    }
    resources: ClassVar[Any] = {
        "train": [
            ("qmnist-train-images-idx3-ubyte.gz", "ed72d4157d28c017586c42bc6afe6370"),
            ("qmnist-train-labels-idx2-int.gz", "0058f8dd561b90ffdd0f734c6a30e5e4"),
        ],
        "test": [
            ("qmnist-test-images-idx3-ubyte.gz", "1394631089c404de565df7b7aeaf9412"),
            ("qmnist-test-labels-idx2-int.gz", "5b5b05890a5e13444e108efe57b788aa"),
        ],
        "nist": [
            ("xnist-images-idx3-ubyte.xz", "7f124b3b8ab81486c9d8c2749c17f834"),
            ("xnist-labels-idx2-int.xz", "5ed0e788978e45d4a8bd4b7caec3d79d"),
        ],
    }

    def __init__(
        self,
        root: str | PathLike[str],
        what: str | None = None,
        compat: bool = True,
        train: bool = True,
        **kwargs: Any,
    ) -> None:
        default = "train" if train else "test"
        self.what = one_of("what", default if what is None else what, [*self.subsets])
        self.compat = compat
        super().__init__(root, train, **kwargs)

    def _names(self) -> tuple[str, str]:
        (images, _), (labels, _) = self.resources[self.subsets[self.what]]
        return images.rpartition(".")[0], labels.rpartition(".")[0]

    def _read(self) -> tuple[host.ndarray, host.ndarray]:
        images_path, labels_path = self._paths()
        images, labels = load_idx(images_path), load_idx(labels_path)
        if images.dtype != host.uint8 or images.ndim != 3:
            raise DatasetError.about(
                images_path,
                f"{images.dtype} values of shape {images.shape}",
                "uint8 values of shape (count, height, width)",
            )
        if labels.dtype != host.int32 or labels.shape != (len(images), 8):
            raise DatasetError.about(
                labels_path,
                f"{labels.dtype} values of shape {labels.shape}",
                f"int32 values of shape ({len(images)}, 8), a row for each image",
            )
        checked_labels(labels[:, 0], labels_path, len(self.classes))
        rows = {"test10k": slice(10_000), "test50k": slice(10_000, None)}.get(
            self.what, slice(None)
        )
        if not len(images[rows]):
            raise DatasetError.about(images_path, f"no images of {self.what}", "some")
        return images[rows], labels[rows].astype(host.int64)

    def download(self) -> None:
        """Fetch the files of this part that are not there. Raises hub.DownloadError."""
        for name, md5 in self.resources[self.subsets[self.what]]:
            self._fetch(name, [QMNIST_URL + name], md5)

    def _label(self, place: int) -> Any:
        return int(self.targets[place, 0]) if self.compat else self.targets[place]

    def _labels(self, index: host.ndarray) -> host.ndarray:
        rows = super()._labels(index)
        return rows[:, 0] if self.compat else rows

    def extra_repr(self) -> str:
        return f"Split: {self.what}"
