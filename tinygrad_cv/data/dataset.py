"""Datasets: a length, samples by index, and how single samples become a batch."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from numbers import Integral
from typing import Any, ClassVar

from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import as_generator, host


class Dataset(ABC):
    """Samples by index: subclass it and write `__len__` and `__getitem__`, as in PyTorch.

    A sample is a tuple such as (image, label), or a single value.

    A dataset whose `__getitem__` also takes an integer array, and then returns a tuple of arrays
    with one row a sample, says so with `batched = True`. A batch is then fetched in one call;
    otherwise sample by sample.

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
    def __len__(self) -> int:
        """The number of samples."""

    @abstractmethod
    def __getitem__(self, index: Any) -> Any:
        """The sample at `index`."""


class TensorDataset(Dataset):
    """Samples that are the rows of arrays: sample i is `(arrays[0][i], arrays[1][i], ...)`.

    The arrays, or Tensors, have the same length and are kept in host memory, not copied. Indexed
    by an int it gives a sample; by a slice or an integer array a batch, with one fancy index an
    array.

    Raises ValueError if there is no array, or if their lengths differ.

    >>> from tinygrad_cv.data import TensorDataset
    >>> dataset = TensorDataset([[1.0, 2.0], [3.0, 4.0]], [0, 1])
    >>> dataset[1]
    (array([3., 4.], dtype=float32), np.int64(1))
    """

    batched = True

    def __init__(self, *arrays: Any) -> None:
        self.arrays = tuple(as_array(array) for array in arrays)
        lengths = {array.shape[:1] for array in self.arrays}
        if len(lengths) != 1 or () in lengths:
            shapes = ", ".join(str(array.shape) for array in self.arrays) or "none"
            raise ValueError(
                "the arrays of a TensorDataset must have the same length along their first axis, "
                f"one row a sample; the shapes given: {shapes}."
            )

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return tuple(array[index] for array in self.arrays)


class Subset(Dataset):
    """The samples of `dataset` at `indices`, in that order.

    Indexed by an int it gives a sample; by a slice or an integer array a batch.

    Raises TypeError if the indices are not one sequence of integers.

    >>> from tinygrad_cv.data import Subset
    >>> odd = Subset("abcdef", [1, 3, 5])
    >>> len(odd), odd[0]
    (3, 'b')
    """

    batched = True

    def __init__(self, dataset: Dataset | Sequence[Any], indices: Any) -> None:
        self.dataset = dataset
        self.indices = host.asarray(indices)
        if self.indices.size == 0:
            self.indices = self.indices.astype(host.int64)  # [] alone would be floats
        if self.indices.ndim != 1 or self.indices.dtype.kind not in "iu":
            raise TypeError(
                "the indices of a Subset must be a sequence of integers; given "
                f"{self.indices.dtype} of shape {self.indices.shape}."
            )

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        chosen = self.indices[index]
        return self.dataset[int(chosen)] if chosen.ndim == 0 else fetch(self.dataset, chosen)


def random_split(
    dataset: Dataset | Sequence[Any],
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
    return [Subset(dataset, order[start:stop]) for start, stop in pairwise(stops)]


def _whole_part(x: float) -> int:
    """⌊x⌋, where x may have been rounded to just below a whole number."""
    nearest = round(x)
    return nearest if math.isclose(x, nearest, rel_tol=1e-12) else math.floor(x)


def fetch(dataset: Dataset | Sequence[Any], indices: host.ndarray) -> tuple[host.ndarray, ...]:
    """The samples at the indices as a batch: one array for each field, one row a sample."""
    if getattr(dataset, "batched", False):
        fields: tuple[host.ndarray, ...] = dataset[indices]  # type: ignore[call-overload]
        return fields
    return collate([dataset[int(index)] for index in indices])


def collate(samples: Sequence[Any]) -> tuple[host.ndarray, ...]:
    """Single samples as a batch: [(x₁, y₁), (x₂, y₂), ...] becomes (stack of x, stack of y).

    A sample that is no tuple or list has one field. A field whose values have several dtypes gets
    the widest float dtype among them, as in arithmetic: 1 and 2.5 are float32 together. Raises
    ValueError if the samples differ in their number of fields, or in the shape of a field.

    >>> collate([(1, [0.5, 1.5]), (2.5, [0.0, 1.0])])
    (array([1. , 2.5], dtype=float32), array([[0.5, 1.5],
           [0. , 1. ]], dtype=float32))
    """
    rows = [sample if isinstance(sample, tuple | list) else (sample,) for sample in samples]
    lengths = sorted({len(row) for row in rows})
    if len(lengths) > 1:
        raise ValueError(
            f"the samples of a batch must have the same number of fields; found {lengths}."
        )
    fields = [[as_array(value) for value in column] for column in zip(*rows, strict=True)]
    for number, arrays in enumerate(fields):
        shapes = sorted({array.shape for array in arrays})
        if len(shapes) > 1:
            raise ValueError(
                "the samples of a batch must have the same shapes; in field "
                f"{number} found {', '.join(map(str, shapes))}."
            )
    return tuple(host.stack(arrays, dtype=_common_dtype(arrays)) for arrays in fields)


def _common_dtype(arrays: Sequence[host.ndarray]) -> Any:
    """The widest float dtype; of no floats, the one that holds all values."""
    floats = {array.dtype for array in arrays if array.dtype.kind == "f"}
    return host.result_type(*(floats or {array.dtype for array in arrays}))


def as_array(value: Any) -> host.ndarray:
    """A value in host memory: arrays and Tensors keep their dtype, Python floats are float32.

    So do NumPy's numbers, also in a list.
    """
    array = value.numpy() if isinstance(value, Tensor) else host.asarray(value)
    if array.dtype == host.float64 and not _has_float64(value):
        return array.astype(host.float32)
    return array


def _has_float64(value: Any) -> bool:
    """Whether a value, or something in a list, is in double precision itself."""
    if isinstance(value, list | tuple):
        return any(map(_has_float64, value))
    return getattr(value, "dtype", None) == host.float64
