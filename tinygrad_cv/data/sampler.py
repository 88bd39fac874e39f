"""Samplers: in which order the samples of a dataset come, and how they are put into batches.

`generator` draws the order; None stands for the one that `tinygrad_cv.manual_seed` seeds, looked up
in each epoch.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import chain, islice
from operator import index
from typing import Any

from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import as_generator, host
from tinygrad_cv.distributed.state import get_rank, get_world_size


class Sampler:
    """Base of the samplers: subclass it and write `__iter__`, and `__len__` if it is known.

    >>> from tinygrad_cv.data import DataLoader, Sampler
    >>> class Backwards(Sampler):
    ...     def __init__(self, data):
    ...         self.data = data
    ...
    ...     def __iter__(self):
    ...         return iter(range(len(self.data))[::-1])
    ...
    ...     def __len__(self):
    ...         return len(self.data)
    >>> [batch.tolist() for batch in DataLoader([5, 6, 7], 2, sampler=Backwards([5, 6, 7]))]
    [[7, 6], [5]]
    """

    def __init__(self, data_source: Any = None) -> None:
        """Takes a dataset, which it does not need."""

    @abstractmethod
    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} has no __iter__.")

    def state_dict(self) -> dict[str, Any]:
        """What the next order follows from, in plain values: the state of its own `generator`.

        A DataLoader asks for it at the start of an epoch (see `DataLoader.state_dict`).

        >>> import tinygrad_cv as tg
        >>> from tinygrad_cv.data import RandomSampler
        >>> sampler = RandomSampler(range(9), generator=tg.Generator())
        >>> state = sampler.state_dict()
        >>> order = [*sampler]
        >>> sampler.load_state_dict(state)
        >>> order == [*sampler]
        True
        """
        generator = self._own()
        return {} if generator is None else {"generator": generator.bit_generator.state}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next order be the one that came after `state_dict`.

        Raises ValueError if only one of the two samplers has a generator of its own.
        """
        generator = self._own()
        if (generator is None) != ("generator" not in state_dict):
            raise ValueError("one of the two samplers has a generator of its own, the other none")
        if generator is not None:
            generator.bit_generator.state = state_dict["generator"]

    def _own(self) -> host.random.Generator | None:
        generator = getattr(self, "generator", None)
        return generator if isinstance(generator, host.random.Generator) else None

    def __class_getitem__(cls, kind: Any) -> Any:
        return cls


class SequentialSampler(Sampler):
    """The places 0, 1, 2, ... in their order.

    >>> from tinygrad_cv.data import SequentialSampler
    >>> [*SequentialSampler("abc")]
    [0, 1, 2]
    """

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler):
    """The places in a new random order each time; or, with `replacement`, each drawn anew.

    `num_samples` of them, by default as many as there are: without replacement nothing comes an
    n-th time before all have come n - 1 times.

    >>> from tinygrad_cv.data import RandomSampler
    >>> sorted(RandomSampler("abc")), len([*RandomSampler("abc", True, 5)])
    ([0, 1, 2], 5)
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Any = None,
    ) -> None:
        if not isinstance(replacement, bool):
            raise TypeError(f"replacement is True or False; got {replacement!r}.")
        self.data_source, self.replacement, self.generator = data_source, replacement, generator
        self._num_samples = None if num_samples is None else count_of("num_samples", num_samples)

    @property
    def num_samples(self) -> int:
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        generator, left, places = as_generator(self.generator), len(self), len(self.data_source)
        if self.replacement:
            if not places:
                raise ValueError("RandomSampler: there is nothing to draw from, the data is empty.")
            return iter(generator.integers(places, size=left).tolist())
        orders = []
        while left and places:
            orders.append(generator.permutation(places)[:left].tolist())
            left -= len(orders[-1])
        return chain.from_iterable(orders)

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler):
    """The indices given, in a new random order each time.

    >>> from tinygrad_cv.data import SubsetRandomSampler
    >>> sorted(SubsetRandomSampler([3, 5, 7]))
    [3, 5, 7]
    """

    def __init__(self, indices: Sequence[int], generator: Any = None) -> None:
        self.indices, self.generator = indices, generator

    def __iter__(self) -> Iterator[int]:
        order = as_generator(self.generator).permutation(len(self.indices)).tolist()
        return (self.indices[place] for place in order)

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler):
    """Places drawn with probabilities in proportion to `weights`, which need not add up to 1.

    Without `replacement` none is drawn twice; it then takes as many weights above 0 as samples.

    >>> from tinygrad_cv.data import WeightedRandomSampler
    >>> [*WeightedRandomSampler([0.0, 2.0, 0.0], 3)]
    [1, 1, 1]
    """

    def __init__(
        self,
        weights: Any,
        num_samples: int,
        replacement: bool = True,
        generator: Any = None,
    ) -> None:
        if not isinstance(replacement, bool):
            raise TypeError(f"replacement is True or False; got {replacement!r}.")
        self.weights = Tensor(weights, dtype="float64", device="cpu")
        if self.weights.ndim != 1:
            raise ValueError(f"the weights are one row; got the shape {self.weights.shape}.")
        self.num_samples = count_of("num_samples", num_samples)
        self.replacement, self.generator = replacement, generator

    def __iter__(self) -> Iterator[int]:
        drawn = self.weights.multinomial(
            self.num_samples, self.replacement, generator=self.generator
        )
        return iter(drawn.tolist())

    def __len__(self) -> int:
        return self.num_samples


class DistributedSampler(Sampler):
    """One process's share of the places, of `num_replicas` processes that share the work.

    Every process has as many: to that end the first places come again, or with `drop_last` the last
    ones are left out. The order is drawn by `seed` and the epoch that `set_epoch` tells, the same
    in every process. How many there are, and which this is, the process group says by default: one,
    if there is none.

    >>> from tinygrad_cv.data import DistributedSampler
    >>> [[*DistributedSampler(range(5), 2, rank, shuffle=False)] for rank in (0, 1)]
    [[0, 2, 4], [1, 3, 0]]
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        self.dataset, self.shuffle, self.seed, self.drop_last = dataset, shuffle, seed, drop_last
        replicas = get_world_size() if num_replicas is None else num_replicas
        self.num_replicas = count_of("num_replicas", replicas)
        self.rank = get_rank() if rank is None else rank
        if not 0 <= self.rank < self.num_replicas:
            raise ValueError(
                f"the rank of one of {self.num_replicas} processes is 0 or more and below that; "
                f"got {rank}."
            )
        self.epoch = 0
        samples = len(dataset) if drop_last else len(dataset) + self.num_replicas - 1
        self.num_samples = samples // self.num_replicas
        self.total_size = self.num_samples * self.num_replicas

    def set_epoch(self, epoch: int) -> None:
        """Let the next order be that of this epoch."""
        self.epoch = epoch

    def state_dict(self) -> dict[str, Any]:
        """The epoch, which was told."""
        return {"epoch": self.epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Set the epoch."""
        self.epoch = state_dict["epoch"]

    def __iter__(self) -> Iterator[int]:
        places = host.arange(len(self.dataset))
        if self.shuffle:
            places = host.random.default_rng((self.seed, self.epoch)).permutation(places)
        shared = host.resize(places, self.total_size)  # in which the first come again
        return iter(shared[self.rank :: self.num_replicas].tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler):
    """Lists of `batch_size` of what another sampler gives; the last may be shorter, or left out.

    >>> from tinygrad_cv.data import BatchSampler
    >>> [*BatchSampler(range(5), 2, False)], [*BatchSampler(range(5), 2, True)]
    ([[0, 1], [2, 3], [4]], [[0, 1], [2, 3]])
    """

    def __init__(self, sampler: Iterable[Any], batch_size: int, drop_last: bool) -> None:
        self.sampler, self.drop_last = sampler, drop_last
        self.batch_size = count_of("batch_size", batch_size)

    def __iter__(self) -> Iterator[list[Any]]:
        return self._cut(iter(self.sampler))

    def _cut(self, places: Iterator[Any]) -> Iterator[list[Any]]:
        while batch := [*islice(places, self.batch_size)]:
            if self.drop_last and len(batch) < self.batch_size:
                return
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """That of the sampler below, if it has one."""
        tell = getattr(self.sampler, "state_dict", None)
        return {} if tell is None else {"sampler": tell()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the sampler below load its own."""
        if "sampler" in state_dict:
            self.sampler.load_state_dict(state_dict["sampler"])  # type: ignore[attr-defined]

    def __len__(self) -> int:
        samples = len(self.sampler)  # type: ignore[arg-type]
        if not self.drop_last:
            samples += self.batch_size - 1  # rounds up
        return samples // self.batch_size


def count_of(name: str, value: Any) -> int:
    whole = hasattr(value, "__index__") and not isinstance(value, bool | host.ndarray)
    if not whole or index(value) < 1:
        raise ValueError(f"{name} must be a whole number, at least 1, given {value!r}.")
    return index(value)
