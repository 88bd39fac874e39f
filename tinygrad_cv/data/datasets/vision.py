"""What the datasets of images share: transforms, what a sample is, and how a batch is fetched."""

from collections.abc import Callable, Iterator, Sequence
from operator import index as as_index
from os import PathLike
from pathlib import Path
from typing import Any

from tinygrad_cv._downloads import download, has_md5
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.data import transforms as T
from tinygrad_cv.data.collate import as_array, stacked
from tinygrad_cv.data.dataset import Dataset

Transform = Callable[[Any], Any]


class VisionDataset(Dataset):
    """Samples (image, target) under `root`, changed by transforms as they are asked for.

    `transform(image)` changes the image, `target_transform(target)` the target; or
    `transforms(image, target)` both. A subclass writes `__getitem__` and `__len__`, and can return
    `self.transformed(image, target)`.

    Raises ValueError if both kinds are given.

    >>> from tinygrad_cv.data.datasets import VisionDataset
    >>> class Ones(VisionDataset):
    ...     def __len__(self):
    ...         return 3
    ...
    ...     def __getitem__(self, index):
    ...         return self.transformed(1, index)
    >>> Ones(transform=lambda image: image / 2, target_transform=str)[2]
    (0.5, '2')
    """

    def __init__(
        self,
        root: str | PathLike[str] | None = None,
        transforms: Callable[[Any, Any], tuple[Any, Any]] | None = None,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
    ) -> None:
        if transforms is not None and (transform is not None or target_transform is not None):
            raise ValueError(
                "a dataset takes transforms, which change image and target, or else transform "
                "and target_transform, which change one of them; given both."
            )
        self.root = Path(root).expanduser() if isinstance(root, str) else root
        self.transforms = transforms
        self.transform = transform
        self.target_transform = target_transform

    def transformed(self, image: Any, target: Any) -> tuple[Any, Any]:
        """The sample, after the transforms of this dataset."""
        if self.transforms is not None:
            return self.transforms(image, target)
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    def extra_repr(self) -> str:
        """Further lines of the repr, for a subclass to write."""
        return ""

    def __repr__(self) -> str:
        lines = [f"Number of datapoints: {len(self)}"]  # type: ignore[arg-type]
        if self.root is not None:
            lines.append(f"Root location: {self.root}")
        lines += self.extra_repr().splitlines()
        for name in ("transforms", "transform", "target_transform"):
            if (change := getattr(self, name)) is not None:
                lines += f"{name}: {change!r}".splitlines()
        return "\n    ".join([f"Dataset {type(self).__name__}", *lines])


TO_ARRAYS = (T.ToTensor, T.PILToTensor, T.ToImage)
ON_PIXELS = (T.RandomCrop, T.RandomHorizontalFlip, T.RandomVerticalFlip, T.CenterCrop, T.Identity)
ON_ARRAYS = (T.Normalize, T.ToDtype, T.ConvertImageDtype, T.RandomErasing)
"""Transforms that make of arrays exactly what they make of Pillow images, and of a batch what they
make of its images one after the other. Those of `ON_ARRAYS` do so behind one of `TO_ARRAYS`."""


def takes_batches(transform: Any) -> bool:
    """Whether a transform can be shown a batch of arrays (N, C, H, W) with the same result."""
    arrays = False
    for part in _parts(transform):
        arrays |= type(part) in TO_ARRAYS
        if type(part) not in (*TO_ARRAYS, *ON_PIXELS, *(ON_ARRAYS if arrays else ())):
            return False
    return True


def _parts(transform: Any) -> Iterator[Any]:
    """The transforms that are done one after the other."""
    if type(transform) is T.Compose:
        for part in transform.transforms:
            yield from _parts(part)
    elif transform is not None:
        yield transform


class ArrayDataset(VisionDataset):
    """Images that lie in memory, uint8, in `data`, and their classes in `targets`.

    Sample i is (image, class). The image is a Pillow image, as in torchvision; where Pillow is not
    installed (pip install 'tinygrad_cv[images]') it is an array uint8 (C, H, W). In the batches of
    a DataLoader it is uint8 (C, H, W) in any case, and what `transform` makes of it.

    A DataLoader fetches a whole batch with one fancy index where no transform has to see the single
    images: without one, and with one that makes of arrays what it makes of Pillow images, such as
    ToTensor, Normalize, RandomCrop, RandomHorizontalFlip, and Compose of those. They get the batch
    then, and draw for its images one after the other.

    `data` and `targets` may be replaced, such as by some of their rows.
    """

    data: Any
    targets: Any
    classes: Sequence[str] = ()
    axes = "NHW"  # of data

    @property
    def batched(self) -> bool:  # type: ignore[override]
        """Whether an integer array as the index gives the samples there as a batch of arrays."""
        none = self.transforms is None and self.target_transform is None
        return none and takes_batches(self.transform)

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The number of each class by its name."""
        return {name: number for number, name in enumerate(self.classes)}

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        if isinstance(index, host.ndarray) and index.ndim:
            if not self.batched:
                batch = stacked([self[place] for place in index.tolist()])
                return batch[0], batch[1]
            images: Any = self._pixels(index)
            if self.transform is not None:
                images = as_array(self.transform(images))
            return images, self._labels(index)
        place = as_index(index)
        if not -len(self) <= place < len(self):
            raise IndexError(f"sample {index} of a dataset of {len(self)}.")
        return self.transformed(as_image(self._pixels(place)), self._label(place))

    def _pixels(self, index: Any) -> host.ndarray:
        """uint8 (C, H, W), or (N, C, H, W) for an array of indices."""
        data = self.data.numpy() if isinstance(self.data, Tensor) else self.data
        chosen: host.ndarray = data[index]
        if self.axes == "NHW":
            return chosen[..., None, :, :]
        if self.axes == "NHWC":
            chosen = host.moveaxis(chosen, -1, -3)
        return host.ascontiguousarray(chosen)

    def _label(self, place: int) -> Any:
        return int(self.targets[place])

    def _labels(self, index: host.ndarray) -> host.ndarray:
        if isinstance(self.targets, Tensor):
            chosen: Any = self.targets.numpy()[index]
        elif isinstance(self.targets, host.ndarray):
            chosen = self.targets[index]
        else:
            chosen = [self.targets[place] for place in index.tolist()]
        return host.asarray(chosen, host.int64)


def as_image(pixels: host.ndarray) -> Any:
    """uint8 (C, H, W) as a Pillow image, or as it is where there is no Pillow.

    So is an image of a number of channels that Pillow has no name for.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError:
        return pixels
    if len(pixels) == 1:
        return Image.fromarray(pixels[0])
    if len(pixels) in (3, 4):
        return Image.fromarray(host.ascontiguousarray(pixels.transpose(1, 2, 0)))
    return pixels


def one_of(name: str, value: Any, choices: Sequence[str]) -> str:
    """The value, if it is one of the choices."""
    if value not in choices:
        raise ValueError(f"{name} is one of {', '.join(map(repr, choices))}; given {value!r}.")
    return str(value)


def fetched(folder: Path, name: str, urls: Sequence[str], md5: str) -> Path:
    """The path of a file in the folder that is there with this MD5, downloaded if it was not."""
    path = folder / name
    if not has_md5(path, md5):
        folder.mkdir(parents=True, exist_ok=True)
        download(urls, path, md5=md5)
    return path
