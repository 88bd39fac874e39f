"""How one process makes the batches of a dataset, be it the main one or a worker."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any, NamedTuple

from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import Seeded, as_generator, host
from tinygrad_cv.data.collate import as_array, default_convert, like, stacked, stays
from tinygrad_cv.data.dataset import IterableDataset, Subset, TensorDataset, fetch, takes_arrays
from tinygrad_cv.distributed.group import part_of


class WorkerInfo:
    """What `get_worker_info` tells: `id`, `num_workers`, `seed` and `dataset`."""

    def __init__(self, id: int, num_workers: int, seed: int, dataset: Any) -> None:
        self.id, self.num_workers, self.seed, self.dataset = id, num_workers, seed, dataset

    def __repr__(self) -> str:
        return (
            f"WorkerInfo(id={self.id}, num_workers={self.num_workers}, seed={self.seed}, "
            f"dataset={self.dataset!r})"
        )


ABOUT_WORKER: dict[int, WorkerInfo] = {}
"""Under 0, in a process that is a worker, what it is told."""


def get_worker_info() -> WorkerInfo | None:
    """In a worker of a DataLoader what it is told of itself, elsewhere None.

    `id` is its number, from 0 to `num_workers` - 1; `seed` is that of the epoch plus `id`; and
    `dataset` is its own copy of the dataset, which `worker_init_fn` may change.

    >>> from tinygrad_cv.data import get_worker_info
    >>> get_worker_info() is None
    True
    """
    return ABOUT_WORKER.get(0)


STILL = (TensorDataset, list, tuple, str, range, host.ndarray)
"""Datasets of exactly these types draw nothing."""


class Task(NamedTuple):
    """A batch of a dataset with an index: the places, and the samples' numbers in the epoch."""

    places: Any
    numbers: range


class _End:
    def __reduce__(self) -> str:
        return "END"  # the one of this module, in every process


END = _End()
"""What stands for a batch after the last one of a stream."""


class Recipe(NamedTuple):
    """What of a DataLoader says how its batches are made."""

    dataset: Any
    of_one: bool
    """Whether a batch is a single sample, not stacked with others."""
    batch_size: int | None
    """Of a stream; elsewhere the places are cut into batches before."""
    drop_last: bool
    collate: Callable[[Any], Any]
    transform: Callable[..., tuple[host.ndarray, ...]] | None
    share: tuple[int, int] = (0, 1)
    """Which of how many parts of each batch are made (see `DataLoader.share`)."""

    def begin(self, seed: int) -> Callable[[Task | None], Any]:
        """The function that makes the batches of an epoch, of a Task or the next of a stream.

        `seed` is that of all that is random in them. The batches are in host memory still.
        """
        if isinstance(self.dataset, IterableDataset):
            return _OfStream(self, seed)
        return _OfPlaces(self, seed)

    def part(self, count: int, by_itself: bool) -> tuple[slice, slice | None]:
        """Which of so many samples are needed, and which rows of their batch are the part.

        None stands for all rows. With samples that are made each `by_itself` only those of the part
        are needed, or one, of whose batch no row is taken.
        """
        if self.share[1] == 1:
            return slice(None), None
        first, end = part_of(count, *self.share)
        if self.transform is not None or not by_itself:
            return slice(None), slice(first, end)
        return (slice(first, end), None) if first < end else (slice(0, 1), slice(0, 0))

    def _finished(self, samples: Any) -> Any:
        batch = self.collate(samples)
        return batch if self.transform is None else self._changed(batch, self.transform)

    def _changed(self, batch: Any, transform: Callable[..., Any]) -> list[Any]:
        fields = batch if isinstance(batch, list | tuple) else [batch]
        arrays = [as_array(x) if isinstance(x, Tensor) else x for x in fields]
        changed = transform(*arrays, as_generator(None))
        if not isinstance(changed, tuple):
            raise TypeError(
                "the transform of a DataLoader must return a tuple of arrays, such as "
                f"(images, labels); it returned a {type(changed).__name__}."
            )
        # A Tensor on the CPU, as of ToTensor, goes where the other fields go.
        return [as_array(x) if isinstance(x, Tensor) and not stays(x) else x for x in changed]


class Place:
    """How far an epoch has come; without a seed there is none."""

    def __init__(
        self,
        seed: int | None = None,
        given: int | None = 0,
        beyond: Iterable[int] = (),
        sampler: Any = None,
    ) -> None:
        self.seed, self.given, self.beyond, self.sampler = seed, given, {*beyond}, sampler

    def give(self, number: int | None) -> None:
        """The batch of this number, or for None the next one, is given."""
        if self.given is None:
            return
        number = self.given if number is None else number
        self.beyond.add(number)
        while self.given in self.beyond:
            self.beyond.remove(self.given)
            self.given += 1

    def has(self, number: int) -> bool:
        assert self.given is not None
        return number < self.given or number in self.beyond

    def end(self) -> None:
        """The epoch is over."""
        self.seed, self.given, self.beyond, self.sampler = None, 0, set(), None


class _OfPlaces:
    """The samples at places of a dataset that has an index."""

    def __init__(self, recipe: Recipe, seed: int) -> None:
        self.recipe, self.seeded = recipe, Seeded(seed)
        inner = recipe.dataset
        while type(inner) is Subset:
            inner = inner.dataset
        own = recipe.transform is not None or recipe.collate not in (stacked, default_convert)
        self.draws = own or type(inner) not in STILL

    def __call__(self, task: Task | None) -> Any:
        assert task is not None
        block: AbstractContextManager[Any] = self.seeded if self.draws else nullcontext()
        with block:
            try:
                return self._part(*task)
            except StopIteration as error:  # which would end the epoch without a word
                raise RuntimeError(STOPPED) from error

    def _part(self, places: Any, numbers: range) -> Any:
        recipe, dataset = self.recipe, self.recipe.dataset
        if recipe.of_one:
            return self._made(places, numbers)
        while type(dataset) is Subset:
            dataset = dataset.dataset
        at_once = takes_arrays(dataset) or getattr(dataset, "__getitems__", None) is not None
        needed, taken = recipe.part(len(places), not (at_once and self.draws))
        batch = self._made(places[needed], numbers[needed])
        return batch if taken is None else rows_of(batch, taken)

    def _made(self, places: Any, numbers: range) -> Any:
        recipe, dataset = self.recipe, self.recipe.dataset
        if recipe.of_one:
            self._at(numbers[0])
            return recipe._finished(dataset[places])
        while type(dataset) is Subset:  # each sample has its own numbers, or all are had at once
            dataset, places = dataset.dataset, [dataset.indices[place] for place in places]
        if recipe.collate is stacked and takes_arrays(dataset):
            self._at(numbers.start)
            batch = fetch(dataset, places)
            return batch if recipe.transform is None else recipe._changed(batch, recipe.transform)
        if getattr(dataset, "__getitems__", None) is not None:
            self._at(numbers.start)
            return recipe._finished([*dataset.__getitems__(places)])
        samples = []
        for place, number in zip(places, numbers, strict=True):
            self._at(number)
            samples.append(dataset[place])
        return recipe._finished(samples)

    def _at(self, number: int) -> None:
        if self.draws:
            self.seeded.at(number)


class _OfStream:
    """The samples of a stream as they come."""

    def __init__(self, recipe: Recipe, seed: int) -> None:
        self.recipe, self.seeded, self.number = recipe, Seeded(seed), 0
        with self.seeded:
            self.seeded.at(-1)
            self.stream = iter(recipe.dataset)

    def __call__(self, task: Task | None) -> Any:
        recipe, size = self.recipe, self.recipe.batch_size or 1
        with self.seeded:
            samples = [*islice(self._samples(), size)]
            if not samples or (recipe.drop_last and len(samples) < size):
                return END
            try:
                if recipe.of_one:
                    return recipe._finished(samples[0])
                needed, taken = recipe.part(len(samples), True)
                batch = recipe._finished(samples[needed])
                return batch if taken is None else rows_of(batch, taken)
            except StopIteration as error:
                raise RuntimeError(STOPPED) from error

    def _samples(self) -> Iterator[Any]:
        """Inside of the block only."""
        while True:
            self.seeded.at(self.number)
            try:
                sample = next(self.stream)
            except StopIteration:
                return
            self.number += 1
            yield sample


def rows_of(batch: Any, rows: slice) -> Any:
    """These rows of all tensors and arrays of a batch, and of its rows of strings."""
    if isinstance(batch, Mapping):
        return like(batch, {key: rows_of(value, rows) for key, value in batch.items()})
    if isinstance(batch, list | tuple):
        if batch and all(isinstance(value, str | bytes) for value in batch):
            return batch[rows]
        parts = [rows_of(value, rows) for value in batch]
        return tuple(parts) if type(batch) is tuple else like(batch, parts)
    return batch[rows] if getattr(batch, "ndim", 0) else batch


STOPPED = (
    "StopIteration came out of the dataset, collate_fn or transform of a DataLoader, where it "
    "would end the epoch early; let them raise another error."
)
