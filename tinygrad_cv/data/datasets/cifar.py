"""CIFAR-10 and CIFAR-100, from the version for Python or the binary one."""

from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

from tinygrad_cv.backend import host
from tinygrad_cv.data.datasets.archives import extract_archive
from tinygrad_cv.data.datasets.vision import ArrayDataset, Transform, fetched
from tinygrad_cv.data.files import (
    CIFAR10_KINDS,
    CIFAR_SHAPE,
    DatasetError,
    checked_labels,
    cifar_part,
    located,
    opened,
    read,
)
from tinygrad_cv.pth import DAMAGE, Machine, UnknownNameError

FINE_KINDS = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
    butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch
    crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo
    keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain
    mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain
    plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
    skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone
    television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
MAX_PICKLE = 256 << 20  # bytes: the largest, CIFAR-100's, has 155,261,506


class CIFAR10(ArrayDataset):
    """Photographs of ten kinds of things: 50,000 to train and 10,000 to test, 32x32, in colour.

    They lie in `root`/cifar-10-batches-py, as torchvision keeps them (data_batch_1 to data_batch_5
    and test_batch, pickles that are read without running them), or in `root`/cifar-10-batches-bin,
    the binary version. `download` fetches the former if neither is there.

    A sample is (image, class); see `ArrayDataset` for what an image is. `data` is an array uint8
    (N, 32, 32, 3), `targets` a list of ints.

    Raises DatasetError for files that are missing or damaged, and hub.DownloadError.

    Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.

    >>> from tinygrad_cv.data import CIFAR10
    >>> CIFAR10.classes
    ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck']
    """

    base_folder = "cifar-10-batches-py"
    binary_folder = "cifar-10-batches-bin"
    url = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    filename = "cifar-10-python.tar.gz"
    tgz_md5 = "c58f30108f718f92721af3b95e74349a"
    train_list: ClassVar[list[str]] = [f"data_batch_{number}" for number in range(1, 6)]
    test_list: ClassVar[list[str]] = ["test_batch"]
    axes = "NHWC"
    classes = CIFAR10_KINDS.split()
    _key = "labels"
    _coarse = 0

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
        self.data = host.moveaxis(images, 1, -1)
        self.targets = labels.tolist()

    def _read(self) -> tuple[host.ndarray, host.ndarray]:
        root = Path(str(self.root))
        names = self.train_list if self.train else self.test_list
        binary = root / self.binary_folder
        if binary.is_dir() and not (root / self.base_folder).is_dir():
            names = [f"{name}.bin" for name in names]
            paths = located(binary, names, f"a folder with {', '.join(names)}")
            return cifar_part(paths, self._coarse, len(self.classes))
        expected = f"a folder with {', '.join(names)}, which download=True fetches"
        paths = located(root / self.base_folder, names, expected)
        parts = [read_batch(path, self._key, len(self.classes)) for path in paths]
        images, labels = (host.concatenate([part[i] for part in parts]) for i in (0, 1))
        return images, labels

    def download(self) -> None:
        """Fetch and unpack the archive if the files are not there. Raises hub.DownloadError."""
        root = Path(str(self.root))
        names = [*self.train_list, *self.test_list]
        for folder, end in ((self.base_folder, ""), (self.binary_folder, ".bin")):
            if all((root / folder / f"{name}{end}").is_file() for name in names):
                return
        extract_archive(fetched(root, self.filename, [self.url], self.tgz_md5), root)

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"


class CIFAR100(CIFAR10):
    """Photographs of a hundred kinds of things: 50,000 to train and 10,000 to test, 32x32.

    They lie in `root`/cifar-100-python (train and test), or, in the binary version, in
    `root`/cifar-100-binary; see `CIFAR10` for the rest.

    >>> from tinygrad_cv.data import CIFAR100
    >>> len(CIFAR100.classes), CIFAR100.classes[0], CIFAR100.classes[-1]
    (100, 'apple', 'worm')
    """

    base_folder = "cifar-100-python"
    binary_folder = "cifar-100-binary"
    url = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
    filename = "cifar-100-python.tar.gz"
    tgz_md5 = "eb9058c3a382ffc7106e4002c42a8d85"
    train_list: ClassVar[list[str]] = ["train"]
    test_list: ClassVar[list[str]] = ["test"]
    classes = FINE_KINDS.split()
    _key = "fine_labels"
    _coarse = 1


def read_batch(path: Path, key: str, classes: int) -> tuple[host.ndarray, host.ndarray]:
    """Images uint8 (N, 3, 32, 32) and labels int64 (N,) of a pickle, which is not run.

    It holds a dict with data, uint8 (N, 3072), and a list of labels under `key`.
    """
    expected = f"a pickle with data, uint8 (N, 3072), and N {key}"
    with opened(path, expected) as (file, _, _):
        contents = read(file, MAX_PICKLE + 1)
    if len(contents) > MAX_PICKLE:
        raise DatasetError.about(path, f"more than {MAX_PICKLE:,} bytes", expected)
    try:
        value = Machine(_no_storage, len(contents)).run(BytesIO(contents))
    except (*DAMAGE, ValueError) as error:
        said = "it is damaged"  # not what a library says of values of the file: it could show them
        if isinstance(error, UnknownNameError):
            said = f"it asks for {error.text}"
        elif type(error) is ValueError:
            said = "".join(c if c.isprintable() else "?" for c in str(error)[:200])
        raise DatasetError.about(path, f"a pickle of something else ({said})", expected) from error
    # Python 2 wrote the keys as strings, and whoever reads them as bytes writes bytes.
    named = {
        name.decode("latin-1") if type(name) is bytes else name: part
        for name, part in (value.items() if type(value) is dict else ())
    }
    data, labels = named.get("data"), named.get(key)
    pixels = CIFAR_SHAPE[0] * CIFAR_SHAPE[1] * CIFAR_SHAPE[2]
    if not (
        type(data) is host.ndarray
        and data.dtype == host.uint8
        and data.ndim == 2
        and data.shape[1] == pixels
        and len(data)
    ):
        raise DatasetError.about(path, "a pickle without such data", expected)
    if type(labels) is not list or len(labels) != len(data):
        raise DatasetError.about(path, "a pickle without as many labels", expected)
    if any(type(label) is not int or not 0 <= label < classes for label in labels):
        raise DatasetError.about(path, "other labels", f"labels 0 to {classes - 1}")
    numbers = checked_labels(host.asarray(labels, host.int64), path, classes)
    return data.reshape(-1, *CIFAR_SHAPE), numbers


def _no_storage(*_: Any) -> Any:
    raise ValueError("it asks for a tensor")
