"""DataLoader: a dataset as batches of Tensors, in order or shuffled."""

from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from typing import Any

from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import as_generator, host
from tinygrad_cv.data.collate import as_array, default_collate, default_convert, stacked, tensors
from tinygrad_cv.data.dataset import IterableDataset, fetch, samples_at
from tinygrad_cv.data.sampler import BatchSampler, RandomSampler, SequentialSampler


class DataLoader:
    """The batches of a dataset. Iterating over it is one epoch.

    A batch is what `collate_fn` makes of a list of samples: by default `default_collate`, which
    gives a list of Tensors where a sample is a tuple, a dict where it is a dict, and so on.

    - `batch_size` samples are a batch; with None each comes alone, through `default_convert`.
    - `shuffle` puts the samples into a new random order in each epoch.
    - `sampler`, an iterable of indices, gives the order instead, and `batch_sampler`, an iterable
      of lists of indices, the batches.
    - `drop_last` leaves out the last batch if it is not full.
    - `generator` draws the order, and is what `transform` gets; None stands for the one that
      `tinygrad_cv.manual_seed` seeds. The same seed gives the same batches.
    - `transform(*fields, generator)` takes the host arrays of a batch and returns a tuple of them,
      which becomes the list that is the batch. It is the place for augmentation.
    - `device` is where the Tensors are made, each field of a batch moved in one piece; None stands
      for the default device, and leaves Tensors on a GPU where they are.

    The batches are made in this process, when they are asked for: `num_workers`, `pin_memory`,
    `timeout`, `worker_init_fn`, `multiprocessing_context`, `prefetch_factor`,
    `persistent_workers`, `pin_memory_device` and `in_order` are kept as attributes and change
    nothing.

    `len(loader)` is the number of batches. Raises ValueError for arguments that exclude each other,
    and TypeError by `len` if the dataset has none.

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
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
        transform: Callable[..., tuple[host.ndarray, ...]] | None = None,
        device: str | None = None,
    ) -> None:
        if num_workers < 0 or timeout < 0:
            raise ValueError(
                f"num_workers and timeout are 0 or more; got {num_workers} and {timeout}."
            )
        streams = isinstance(dataset, IterableDataset)
        if streams and (shuffle or sampler is not None or batch_sampler is not None):
            raise ValueError(
                "an IterableDataset gives its samples in its own order; leave out shuffle, sampler "
                "and batch_sampler."
            )
        if sampler is not None and shuffle:
            raise ValueError("a sampler gives the order itself; leave out shuffle=True.")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "a batch_sampler gives the batches itself; leave out batch_size, shuffle, "
                    "sampler and drop_last."
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None gives single samples; leave out drop_last=True.")
        if sampler is None:
            if streams:
                sampler = repeat(None)  # as often as there are samples
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)
            else:
                sampler = SequentialSampler(dataset)
        if batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
            batch_size = batch_sampler.batch_size
        if collate_fn is None:
            collate_fn = default_convert if batch_sampler is None else default_collate
        self.dataset = dataset
        self.batch_size = batch_size
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.drop_last = drop_last
        self.collate_fn = collate_fn
        self.generator = generator
        self.transform = transform
        self.device = device
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.prefetch_factor = prefetch_factor
        self.persistent_workers = persistent_workers
        self.in_order = in_order

    def __class_getitem__(cls, kind: Any) -> Any:
        return cls

    def __len__(self) -> int:
        if isinstance(self.dataset, IterableDataset):
            samples: Any = self.dataset
            if self.batch_size is None:
                return len(samples)
            return len(BatchSampler(samples, self.batch_size, self.drop_last))
        batches: Any = self.sampler if self.batch_sampler is None else self.batch_sampler
        return len(batches)

    def __iter__(self) -> Iterator[Any]:
        # Looked up in each epoch: manual_seed may have replaced the default since the last one.
        generator = as_generator(self.generator)
        for batch in self._batches():
            if self.transform is not None:
                fields = batch if isinstance(batch, list | tuple) else [batch]
                arrays = [as_array(x) if isinstance(x, Tensor) else x for x in fields]
                changed = self.transform(*arrays, generator)
                if not isinstance(changed, tuple):
                    raise TypeError(
                        "the transform of a DataLoader must return a tuple of arrays, such as "
                        f"(images, labels); it returned a {type(changed).__name__}."
                    )
                batch = [*changed]
            elif self.collate_fn not in (default_collate, default_convert) and self.device is None:
                yield batch  # as the function has made it
                continue
            yield tensors(batch, self.device)

    def _batches(self) -> Iterator[Any]:
        """The batches, those of `default_collate` still in host memory."""
        collate = stacked if self.collate_fn is default_collate else self.collate_fn
        if isinstance(self.dataset, IterableDataset):
            chunks: Iterable[Any] = self.dataset
            if self.batch_size is not None:
                chunks = BatchSampler(self.dataset, self.batch_size, self.drop_last)
            yield from map(collate, chunks)
        elif self.batch_sampler is None:
            for index in self.sampler:
                yield collate(self.dataset[index])
        elif collate is stacked:
            for indices in self.batch_sampler:
                yield fetch(self.dataset, indices)
        else:
            for indices in self.batch_sampler:
                yield collate(samples_at(self.dataset, indices))


def get_worker_info() -> None:
    """None, as in the main process of PyTorch: there are no workers.

    >>> from tinygrad_cv.data import get_worker_info
    >>> get_worker_info() is None
    True
    """
    return
