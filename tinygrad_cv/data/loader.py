"""DataLoader: a dataset as batches of Tensors, in order or shuffled."""

from collections.abc import Callable, Iterator, Sequence
from operator import index
from typing import Any

from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import as_generator, host
from tinygrad_cv.data.dataset import Dataset, fetch


class DataLoader:
    """The batches of a dataset. Iterating over it is one epoch and yields tuples of Tensors.

    - `shuffle` puts the samples into a new random order in each epoch.
    - `drop_last` leaves out the last batch if it is not full.
    - `generator` draws the order, and is what `transform` gets; None stands for the one that
      `tinygrad_cv.manual_seed` seeds. The same seed gives the same batches.
    - `transform(*fields, generator)` takes the host arrays of a batch and returns a tuple of them.
      It runs on batches in host memory: the place for augmentation.
    - `device` is where the Tensors are made, each field of a batch moved in one piece; None
      stands for the default device.

    `len(loader)` is the number of batches.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv.data import DataLoader, TensorDataset, random_shift
    >>> images, labels = tg.ones(5, 1, 8, 8), [0, 1, 2, 3, 4]
    >>> def augment(images, labels, generator):
    ...     return random_shift(images, 1, generator), labels
    >>> loader = DataLoader(
    ...     TensorDataset(images, labels),
    ...     batch_size=2,
    ...     shuffle=True,
    ...     generator=tg.manual_seed(0),
    ...     transform=augment,
    ... )
    >>> len(loader)
    3
    >>> for x, y in loader:
    ...     print(x.shape, y.shape)
    (2, 1, 8, 8) (2,)
    (2, 1, 8, 8) (2,)
    (1, 1, 8, 8) (1,)
    """

    def __init__(
        self,
        dataset: Dataset | Sequence[Any],
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        generator: host.random.Generator | None = None,
        transform: Callable[..., tuple[host.ndarray, ...]] | None = None,
        device: str | None = None,
    ) -> None:
        whole = hasattr(batch_size, "__index__") and not isinstance(batch_size, bool)
        if not whole or index(batch_size) < 1:
            raise ValueError(
                f"batch_size must be a whole number, at least 1, given {batch_size!r}."
            )
        self.dataset = dataset
        self.batch_size = index(batch_size)
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.generator = generator
        self.transform = transform
        self.device = device

    def __len__(self) -> int:
        samples = len(self.dataset)
        if not self.drop_last:
            samples += self.batch_size - 1  # rounds up
        return samples // self.batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        # Looked up in each epoch: manual_seed may have replaced the default since the last one.
        generator = as_generator(self.generator)
        samples = len(self.dataset)
        order = generator.permutation(samples) if self.shuffle else host.arange(samples)
        for batch in range(len(self)):
            start = batch * self.batch_size
            fields = fetch(self.dataset, order[start : start + self.batch_size])
            if self.transform is not None:
                fields = self.transform(*fields, generator)
                if not isinstance(fields, tuple):
                    raise TypeError(
                        "the transform of a DataLoader must return a tuple of arrays, such as "
                        f"(images, labels); it returned a {type(fields).__name__}."
                    )
            yield tuple(Tensor(field, device=self.device) for field in fields)
