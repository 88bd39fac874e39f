"""What the datasets of images share: transforms, what a sample is, and how a batch is fetched."""

from collections.abc import Callable, Sequence
from operator import index as as_index
from os import PathLike
from pathlib import Path
from typing import Any

from tinygrad_cv._downloads import download, has_md5
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.data.collate import stacked
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


class ArrayDataset(VisionDataset):
    """Images that lie in memory, uint8, in `data`, and their classes in `targets`.

    Sample i is (image, class). The image is a Pillow image, as in torchvision; where Pillow is not
    installed (pip install 'tinygrad_cv[images]') it is the array uint8 (H, W, C), of gray images
    (H, W), that the Pillow image would be made of. `transforms.ToTensor` makes the same of both.

    A DataLoader fetches a whole batch with one fancy index where no transform wants to see the
    single images: without one the images of a batch are uint8 (N, H, W, C) or (N, H, W). `data` and
    `targets` may be replaced, such as by some of their rows.
    """

    data: Any
    targets: Any
    classes: Sequence[str] = ()
    channels_first = False  # whether data is (N, C, H, W)

    @property
    def batched(self) -> bool:  # type: ignore[override]
        """Whether an integer array as the index gives the samples there as a batch of arrays."""
        changes = (self.transforms, self.transform, self.target_transform)
        return all(change is None for change in changes)

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
            return self._pixels(index), self._labels(index)
        place = as_index(index)
        if not -len(self) <= place < len(self):
            raise IndexError(f"sample {index} of a dataset of {len(self)}.")
        return self.transformed(as_image(self._pixels(place)), self._label(place))

    def _pixels(self, index: Any) -> host.ndarray:
        """uint8 (H, W, C) or (H, W), with a further axis in front for an array of indices."""
        data = self.data.numpy() if isinstance(self.data, Tensor) else self.data
        chosen: host.ndarray = data[index]
        return host.moveaxis(chosen, -3, -1) if self.channels_first else chosen

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
    """uint8 (H, W, C) or (H, W) as a Pillow image, or as it is where there is no Pillow.

    So is an image of a number of channels that Pillow has no name for.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError:
        return pixels
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim == 3 and pixels.shape[-1] not in (3, 4):
        return pixels
    return Image.fromarray(pixels)


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
