"""Datasets: a length and samples by index, or a stream of samples."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from numbers import Integral
from typing import Any, ClassVar

from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import as_generator, host
from tinygrad_cv.data.collate import as_array, stacked, stays


class Dataset(ABC):
    """Samples by index: subclass it and write `__getitem__` and `__len__`, as in PyTorch.

    Without a length it can be loaded in the order of a `sampler` only.

    A sample is a tuple such as (image, label), a dict, or a single value; see `default_collate`.
    Two datasets are joined by `a + b`. `Dataset[...]` is for annotations, and the same class.

    A dataset whose `__getitem__` also takes an integer array, and then returns a tuple of arrays
    with one row a sample, says so with `batched = True`. A batch is then fetched in one call;
    otherwise sample by sample, or by `__getitems__(indices)`, which returns a list of samples. A
    class below it that has a `__getitem__` of its own says so again, or is asked for single ones.
    A property `batched` can depend on the dataset.

    >>> from tinygrad_cv.data import DataLoader, Dataset
    >>> class Squares(Dataset):
    ...     def __len__(self):
    ...         return 4
    ...
    ...     def __getitem__(self, index):
    ...         return float(index), index**2
    >>> for x, y in DataLoader(Squares(), batch_size=2):
    ...     print(x, y)
    tensor([0., 1.]) tensor([0, 1])
    tensor([2., 3.]) tensor([4, 9])
    """

    batched: ClassVar[bool] = False

    @abstractmethod
    def __getitem__(self, index: Any) -> Any:
        """The sample at `index`."""

    def __add__(self, other: Any) -> "ConcatDataset":
        return ConcatDataset([self, other])

    def __class_getitem__(cls, kind: Any) -> Any:
        return cls


class IterableDataset(ABC):
    """A stream of samples: subclass it and write `__iter__`. Each epoch is one pass.

    It has no order to be drawn, so a DataLoader of it takes no `shuffle` and no `sampler`. Two
    streams are joined by `a + b`.

    >>> from tinygrad_cv.data import DataLoader, IterableDataset
    >>> class Count(IterableDataset):
    ...     def __iter__(self):
    ...         return iter(range(3))
    >>> [batch.tolist() for batch in DataLoader(Count(), batch_size=2)]
    [[0, 1], [2]]
    """

    @abstractmethod
    def __iter__(self) -> Iterator[Any]:
        """The samples, one after the other."""

    def __add__(self, other: Any) -> "ChainDataset":
        return ChainDataset([self, other])

    def __class_getitem__(cls, kind: Any) -> Any:
        return cls


# A kind of Dataset, as in PyTorch, but without a length and an index.
Dataset.register(IterableDataset)  # type: ignore[type-abstract]


class TensorDataset(Dataset):
    """Samples that are the rows of tensors: sample i is `(tensors[0][i], tensors[1][i], ...)`.

    They may be Tensors, arrays or lists, have the same length, and are not copied. Indexed by an
    int it gives a sample, by a slice or a list a batch; what was given as a Tensor gives Tensors,
    the rest arrays. An integer array gives a batch of arrays, with one fancy index each; a Tensor
    on a GPU stays there, and one that requires a gradient stays a Tensor.

    `.tensors` are all of them as Tensors, `.arrays` as arrays in host memory.

    Raises ValueError if there is none, or if their lengths differ.

    >>> from tinygrad_cv.data import TensorDataset
    >>> dataset = TensorDataset([[1.0, 2.0], [3.0, 4.0]], [0, 1])
    >>> dataset[1]
    (array([3., 4.], dtype=float32), np.int64(1))
    """

    batched = True

    def __init__(self, *tensors: Any) -> None:
        self._given = tuple(
            value if isinstance(value, Tensor) else as_array(value) for value in tensors
        )
        lengths = {value.shape[:1] for value in self._given}
        if len(lengths) != 1 or () in lengths:
            shapes = ", ".join(str(value.shape) for value in self._given) or "none"
            raise ValueError(
                "the arrays of a TensorDataset must have the same length along their first axis, "
                f"one row a sample; the shapes given: {shapes}."
            )

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(value if isinstance(value, Tensor) else Tensor(value) for value in self._given)

    @property
    def arrays(self) -> tuple[host.ndarray, ...]:
        return tuple(as_array(value) for value in self._given)

    def __len__(self) -> int:
        return len(self._given[0])

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        if isinstance(index, host.ndarray):
            return tuple(
                value[index] if stays(value) else as_array(value)[index] for value in self._given
            )
        return tuple(value[index] for value in self._given)


class ConcatDataset(Dataset):
    """Several datasets, one behind the other.

    >>> from tinygrad_cv.data import ConcatDataset
    >>> joined = ConcatDataset(["abc", "de"])
    >>> len(joined), joined[3], joined[-1]
    (5, 'd', 'e')
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = [*datasets]
        if not self.datasets:
            raise ValueError("a ConcatDataset is made of one dataset at least; got none.")
        if any(isinstance(part, IterableDataset) for part in self.datasets):
            raise TypeError("an IterableDataset has no index; join it with ChainDataset.")
        self.cumulative_sizes = [
            int(total) for total in host.cumsum([len(part) for part in self.datasets])
        ]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: Any) -> Any:
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"sample {index} of a dataset of {len(self)}.")
        part = int(host.searchsorted(self.cumulative_sizes, place, side="right"))
        return self.datasets[part][place - self.cumulative_sizes[part] + len(self.datasets[part])]


class ChainDataset(IterableDataset):
    """Several streams, one after the other.

    >>> from tinygrad_cv.data import ChainDataset
    >>> [*ChainDataset([iter("ab"), iter("c")])]
    ['a', 'b', 'c']
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = datasets

    def __iter__(self) -> Iterator[Any]:
        return chain.from_iterable(self.datasets)

    def __len__(self) -> int:
        return sum(map(len, self.datasets))


class StackDataset(Dataset):
    """Datasets of the same length side by side: a sample is a tuple of theirs, or a dict by name.

    >>> from tinygrad_cv.data import StackDataset
    >>> StackDataset("abc", [1, 2, 3])[1], StackDataset(image="abc", label=[1, 2, 3])[0]
    (('b', 2), {'image': 'a', 'label': 1})
    """

    def __init__(self, *datasets: Any, **named: Any) -> None:
        if bool(datasets) == bool(named):
            raise ValueError(
                "a StackDataset takes datasets, or datasets by name; one or the other."
            )
        self.datasets: Any = datasets or named
        lengths = sorted({len(part) for part in datasets or named.values()})
        if len(lengths) > 1:
            raise ValueError(f"the datasets of a StackDataset have the lengths {lengths}.")

    def __len__(self) -> int:
        parts = self.datasets
        return len(parts[0] if isinstance(parts, tuple) else next(iter(parts.values())))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, tuple):
            return tuple(part[index] for part in self.datasets)
        return {name: part[index] for name, part in self.datasets.items()}


class Subset(Dataset):
    """The samples of `dataset` at `indices`, in that order.

    Indexed by an int it gives a sample; by a slice, a list or an integer array a batch. `.indices`
    is what was given.

    Raises TypeError if the indices are not one sequence of integers.

    >>> from tinygrad_cv.data import Subset
    >>> odd = Subset("abcdef", [1, 3, 5])
    >>> len(odd), odd[0]
    (3, 'b')
    """

    batched = True

    def __init__(self, dataset: Any, indices: Any) -> None:
        places = host.asarray(indices)
        if places.ndim != 1 or (places.size and places.dtype.kind not in "iu"):
            raise TypeError(
                "the indices of a Subset must be a sequence of integers; given "
                f"{places.dtype} of shape {places.shape}."
            )
        self.dataset = dataset
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            chosen = host.asarray(self.indices[index], dtype="int64")
        elif (rows := host.asarray(index)).ndim == 0:
            return self.dataset[int(self.indices[index])]
        else:
            chosen = host.asarray([self.indices[row] for row in rows.tolist()], dtype="int64")
        if isinstance(self.dataset, TensorDataset | Subset) and not isinstance(index, host.ndarray):
            return self.dataset[chosen.tolist()]  # its Tensors as such
        return fetch(self.dataset, chosen)


def random_split(
    dataset: Any,
    lengths: Sequence[float],
    generator: host.random.Generator | None = None,
) -> list[Subset]:
    """Split a dataset at random into parts of the given lengths that do not overlap.

    The lengths are numbers of samples that add up to the whole, or fractions that add up to 1.
    The part of a fraction f of n samples has ⌊f·n⌋ of them, or the whole number that f·n is but for
    rounding; what is left over goes to the parts one by one, the first part first.

    Raises ValueError if the lengths are negative or do not add up.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv.data import random_split
    >>> train, test = random_split(range(10), [0.75, 0.25], tg.manual_seed(0))
    >>> len(train), len(test)
    (8, 2)
    """
    total = len(dataset)
    counted = all(isinstance(length, Integral) for length in lengths)
    whole = total if counted else 1
    if min(lengths, default=0) < 0 or not math.isclose(math.fsum(lengths), whole):
        raise ValueError(
            f"the lengths of a split must be counts that add up to the {total} samples, or "
            f"fractions that add up to 1; given {list(lengths)}."
        )
    if counted:
        counts = [int(length) for length in lengths]
    else:
        counts = [_whole_part(length * total) for length in lengths]
        for part in range(total - sum(counts)):
            counts[part % len(counts)] += 1
    order = as_generator(generator).permutation(total)
    stops = host.cumsum([0, *counts])
    return [Subset(dataset, order[start:stop].tolist()) for start, stop in pairwise(stops)]


def _whole_part(x: float) -> int:
    """⌊x⌋, where x may have been rounded to just below a whole number."""
    nearest = round(x)
    return nearest if math.isclose(x, nearest, rel_tol=1e-12) else math.floor(x)


def fetch(dataset: Any, indices: Any) -> Any:
    """The samples at the indices as a batch of arrays, one row a sample; see `stacked`."""
    if takes_arrays(dataset):
        batch = dataset[host.asarray(indices)]
        return [*batch] if type(batch) is tuple else batch
    return stacked(samples_at(dataset, indices))


def takes_arrays(dataset: Any) -> bool:
    """Whether its `__getitem__` is that of a class that says `batched`, or below it."""
    for base in type(dataset).__mro__:
        if "batched" in vars(base):
            return bool(dataset.batched)
        if "__getitem__" in vars(base):
            return False
    return False


def samples_at(dataset: Any, indices: Any) -> list[Any]:
    """The samples at the indices, one by one."""
    places = indices.tolist() if isinstance(indices, host.ndarray) else indices
    if getattr(dataset, "__getitems__", None) is not None:
        return [*dataset.__getitems__(places)]
    return [dataset[place] for place in places]
