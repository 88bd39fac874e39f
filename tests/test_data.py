"""Datasets, the loader, augmentation, the embedded digits, and image files of all conditions."""

import gzip
import itertools
import math
import os
import re
import struct
import sys
import tracemalloc
import zipfile
from collections import Counter, OrderedDict, defaultdict, namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_cv as tg
from tinygrad_cv import manual_seed
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import as_generator
from tinygrad_cv.data import (
    BatchSampler,
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    DatasetError,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Splits,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    default_convert,
    get_worker_info,
    load_cifar10,
    load_dataset,
    load_digits,
    load_idx,
    load_mnist,
    random_horizontal_flip,
    random_shift,
    random_split,
)
from tinygrad_cv.data.digits import make

ROOT = Path(__file__).parent.parent
DIGITS = ROOT / "tinygrad_cv" / "data" / "digits"


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


class Squares(Dataset):
    """Sample i is (i, i²/2, [whether i is even]): Python numbers, one sample at a time."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Any:
        assert type(index) is int, f"a plain int was expected, not {index!r}"
        return index, index**2 / 2, [index % 2 == 0]


# ----- datasets ------------------------------------------------------------------------------


def test_dataset_asks_for_both_methods() -> None:
    class Half(Dataset):
        def __len__(self) -> int:
            return 1

    with pytest.raises(TypeError, match="__getitem__"):
        Half()  # type: ignore[abstract]


def test_tensor_dataset_by_int_slice_and_integer_array() -> None:
    images = np.arange(24, dtype=np.float64).reshape(4, 2, 3)
    labels = np.array([7, 8, 9, 10], dtype=np.uint8)
    dataset = TensorDataset(images, labels)
    assert len(dataset) == 4
    for index in (2, -1, slice(1, 3), slice(None, None, -1), np.array([3, 0, 3])):
        got_images, got_labels = dataset[index]
        np.testing.assert_array_equal(got_images, images[index], strict=True)
        np.testing.assert_array_equal(np.asarray(got_labels), np.asarray(labels[index]))
        assert got_labels.dtype == np.uint8
    with pytest.raises(IndexError):
        dataset[4]


def test_tensor_dataset_takes_tensors_and_lists() -> None:
    x = Tensor(np.arange(6, dtype=np.float64).reshape(3, 2))
    a, b, c = TensorDataset(x, [1, 2, 3], [0.5, 1.5, 2.5]).arrays
    np.testing.assert_array_equal(a, [[0, 1], [2, 3], [4, 5]])
    assert [array.dtype for array in (a, b, c)] == [np.float64, np.int64, np.float32]
    assert all(type(array) is np.ndarray for array in (a, b, c))


@pytest.mark.parametrize(
    ("shapes", "listed"),
    [
        (((3, 2), (4,)), r"\(3, 2\), \(4,\)"),
        (((3,), ()), r"\(3,\), \(\)"),
        (((), ()), r"\(\), \(\)"),
        ((), "none"),
    ],
)
def test_tensor_dataset_lists_shapes_that_do_not_fit(
    shapes: tuple[tuple[int, ...], ...], listed: str
) -> None:
    with pytest.raises(ValueError, match=f"the shapes given: {listed}\\."):
        TensorDataset(*(np.zeros(shape) for shape in shapes))


def test_subset_follows_its_indices() -> None:
    subset = Subset(TensorDataset(np.arange(10) * 10), [5, 2, 7])
    assert len(subset) == 3
    assert [int(subset[i][0]) for i in range(3)] == [50, 20, 70]
    np.testing.assert_array_equal(subset[1:][0], [20, 70])
    np.testing.assert_array_equal(subset[np.array([2, 2, 0])][0], [70, 70, 50])


def test_subset_of_a_dataset_that_knows_only_single_samples() -> None:
    subset = Subset(Subset(Squares(10), [9, 8, 3, 1]), np.array([2, 0]))
    assert subset[0] == (3, 4.5, [False])
    index, half, even = subset[np.array([0, 1])]
    np.testing.assert_array_equal(index, [3, 9])
    np.testing.assert_array_equal(half, [4.5, 40.5])
    np.testing.assert_array_equal(even, [[False, False]])


def test_a_subset_keeps_the_indices_as_given() -> None:
    given: Any
    for given in ([3, 1], range(1, 3), np.array([3, 1]), (3, 1)):
        subset = Subset(TensorDataset(np.arange(5)), given)
        assert subset.indices is given
        places = [int(place) for place in given]
        assert [int(subset[row][0]) for row in (0, 1, -1)] == [*places, places[-1]]
        np.testing.assert_array_equal(subset[np.array([1, 0])][0], places[::-1])
        np.testing.assert_array_equal(subset[::-1][0], places[::-1])
    subset = Subset(range(5), [3, 1])
    subset.indices = [4]
    assert [*map(plain, DataLoader(subset))] == [[4]]
    a, b = random_split(range(5), [3, 2])
    assert sorted(a.indices + b.indices) == [0, 1, 2, 3, 4]


def test_subset_may_be_empty() -> None:
    assert len(Subset(Squares(3), [])) == 0


@pytest.mark.parametrize("indices", [[0.0, 1.0], [[0, 1]], [True, False], 3])
def test_subset_refuses_what_are_no_indices(indices: Any) -> None:
    with pytest.raises(TypeError, match="sequence of integers; given"):
        Subset(Squares(3), indices)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=5), st.integers(0, 2**32))
def test_random_split_by_counts_is_a_partition(lengths: list[int], seed: int) -> None:
    parts = random_split(range(sum(lengths)), lengths, rng(seed))
    assert [len(part) for part in parts] == lengths
    assert sorted(i for part in parts for i in part.indices) == list(range(sum(lengths)))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.integers(0, 200))
def test_random_split_by_fractions_is_a_partition(weights: list[int], samples: int) -> None:
    fractions = [weight / sum(weights) for weight in weights]
    parts = random_split(range(samples), fractions, rng())
    assert sorted(i for part in parts for i in part.indices) == list(range(samples))
    for fraction, part in zip(fractions, parts, strict=True):
        assert 0 <= len(part) - math.floor(fraction * samples) <= 1


def test_random_split_gives_what_is_left_over_to_the_first_parts() -> None:
    assert [len(part) for part in random_split(range(11), [0.3, 0.3, 0.4], rng())] == [4, 3, 4]
    assert [len(part) for part in random_split(range(1), [0.5, 0.5], rng())] == [1, 0]


@given(st.integers(1, 99), st.integers(1, 10_000), st.booleans())
def test_random_split_by_percents_counts_exactly(percent: int, hundreds: int, rest: bool) -> None:
    """No share is a sample short because its fraction, or 1 less than it, was rounded."""
    share = percent / 100
    split = [share, 1 - share] if rest else [share, (100 - percent) / 100]
    parts = random_split(range(100 * hundreds), split, rng())
    assert [len(part) for part in parts] == [percent * hundreds, (100 - percent) * hundreds]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.integers(1, 300))
def test_random_split_by_ratios_counts_exactly(weights: list[int], samples: int) -> None:
    """⌊n·w / Σw⌋ of them each, in whole numbers, and the rest to the first ones."""
    total = sum(weights)
    counts = [samples * w // total for w in weights]
    for part in range(samples - sum(counts)):
        counts[part % len(counts)] += 1
    parts = random_split(range(samples), [w / total for w in weights], rng())
    assert [len(part) for part in parts] == counts


def test_random_split_shuffles_and_follows_the_generator() -> None:
    def order(generator: np.random.Generator | None) -> list[int]:
        [part] = random_split(range(100), [100], generator)
        return list(part.indices)

    assert order(rng(1)) == order(rng(1)) != order(rng(2))
    assert order(rng(1)) != list(range(100))
    manual_seed(1)
    assert order(None) == order(rng(1))


@pytest.mark.parametrize("lengths", [[3, 8], [5, 6], [12, -2], [0.5, 0.4], [1.5, -0.5], [1, 0], []])
def test_random_split_refuses_lengths_that_do_not_add_up(lengths: list[float]) -> None:
    with pytest.raises(ValueError, match=r"add up to the 10 samples, or fractions .* given \["):
        random_split(range(10), lengths, rng())


# ----- loader --------------------------------------------------------------------------------


def test_loader_in_order() -> None:
    images, labels = np.arange(10, dtype=np.float32).reshape(5, 2), np.arange(5)
    batches = list(DataLoader(TensorDataset(images, labels), batch_size=2))
    assert [tuple(map(type, batch)) for batch in batches] == [(Tensor, Tensor)] * 3
    assert [y.tolist() for _, y in batches] == [[0, 1], [2, 3], [4]]
    np.testing.assert_array_equal(np.concatenate([x.numpy() for x, _ in batches]), images)
    assert not batches[0][0].requires_grad


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.uint8, np.bool])
def test_loader_keeps_the_dtype(dtype: Any) -> None:
    [[x]] = DataLoader(TensorDataset(np.ones(2, dtype)), batch_size=2)
    assert x.dtype == dtype
    assert x.device == tg.get_default_device()


def test_loader_copies() -> None:
    data = np.zeros(4)
    [[x]] = DataLoader(TensorDataset(data), batch_size=4)
    data[:] = 1
    assert x.tolist() == [0, 0, 0, 0]


@given(
    samples=st.integers(0, 30),
    batch_size=st.integers(1, 12),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
)
def test_loader_gives_each_sample_once(
    samples: int, batch_size: int, shuffle: bool, drop_last: bool
) -> None:
    dataset = TensorDataset(np.arange(samples))
    loader = DataLoader(dataset, batch_size, shuffle, drop_last=drop_last, generator=rng())
    for _ in range(2):
        batches = [x.tolist() for [x] in loader]
        assert len(batches) == len(loader)
        lengths = [batch_size] * (samples // batch_size)
        if samples % batch_size and not drop_last:
            lengths.append(samples % batch_size)
        assert [len(batch) for batch in batches] == lengths
        seen = [sample for batch in batches for sample in batch]
        assert len(set(seen)) == len(seen) == sum(lengths)
        assert set(seen) <= set(range(samples))
        if not shuffle:
            assert seen == list(range(sum(lengths)))


def epochs(count: int, **options: Any) -> list[list[int]]:
    loader = DataLoader(TensorDataset(np.arange(50)), batch_size=8, **options)
    return [[sample for [x] in loader for sample in x.tolist()] for _ in range(count)]


def test_loader_order_is_new_in_each_epoch_and_fixed_by_the_seed() -> None:
    first = epochs(3, shuffle=True, generator=rng(1))
    assert len({tuple(epoch) for epoch in first}) == 3
    assert first == epochs(3, shuffle=True, generator=rng(1))
    assert first != epochs(3, shuffle=True, generator=rng(2))
    assert all(sorted(epoch) == [*range(50)] for epoch in first)


def test_loader_without_generator_follows_manual_seed_even_after_it_was_made() -> None:
    loader = DataLoader(TensorDataset(np.arange(50)), batch_size=50, shuffle=True)
    orders = []
    for seed in (3, 4, 3):
        manual_seed(seed)
        [[x]] = loader
        orders.append(x.tolist())
    assert orders[0] == orders[2] != orders[1]


@pytest.mark.parametrize("size", [0, -1, 2.0, 2.5, "2", True, math.nan, math.inf, [2]])
def test_loader_of_no_batch_size(size: Any) -> None:
    with pytest.raises(ValueError, match=rf"at least 1, given {re.escape(repr(size))}\."):
        DataLoader(range(3), batch_size=size)


def test_loader_takes_a_batch_size_of_numpy() -> None:
    assert [len(x) for x in DataLoader(range(3), batch_size=np.int64(2))] == [2, 1]


@pytest.mark.parametrize("shuffle", [False, True])
def test_loader_draws_one_number_an_epoch(shuffle: bool) -> None:
    generator, expected = rng(), rng()
    epochs(3, shuffle=shuffle, generator=generator)
    expected.integers(2**63, size=3)
    assert generator.random() == expected.random()


def test_loader_of_single_samples_stacks_them() -> None:
    [first, last] = DataLoader(Squares(5), batch_size=3)
    index, half, [even] = first
    assert [x.tolist() for x in (index, half, even)] == [
        [0, 1, 2],
        [0, 0.5, 2],
        [True, False, True],
    ]
    assert [x.tolist() for x in last[:2]] == [[3, 4], [4.5, 8]]
    assert [x.dtype for x in (index, half, even)] == [np.int64, np.float32, np.bool]


def test_loader_takes_any_sequence_and_samples_of_one_field() -> None:
    assert [x.tolist() for x in DataLoader(range(3), batch_size=2)] == [[0, 1], [2]]
    pairs = [(np.full((2, 2), i, dtype=np.float64), Tensor([float(i)])) for i in range(4)]
    [[x, y]] = DataLoader(pairs, batch_size=4)
    assert (x.shape, x.dtype) == ((4, 2, 2), np.float64)
    assert y.tolist() == [[0], [1], [2], [3]]
    assert y.dtype == np.float32


def test_loader_single_samples_and_index_arrays_agree() -> None:
    images, labels = rng().random((7, 2, 3), dtype=np.float32), np.arange(7)
    options: dict[str, Any] = {"batch_size": 3, "shuffle": True}
    whole = DataLoader(TensorDataset(images, labels), generator=rng(), **options)
    single = DataLoader(list(zip(images, labels, strict=True)), generator=rng(), **options)
    for expected, got in zip(whole, single, strict=True):
        for a, b in zip(expected, got, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy(), strict=True)


def test_loader_fetches_a_batched_dataset_once_a_batch() -> None:
    asked: list[list[int]] = []

    class Recorder(Dataset):
        batched = True

        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: Any) -> Any:
            asked.append(index.tolist())
            return (index,)

    assert len(list(DataLoader(Recorder(), batch_size=2))) == 3
    assert asked == [[0, 1], [2, 3], [4]]


class Centred(TensorDataset):
    """What a program writes that takes samples, and knows nothing of arrays of indices."""

    def __getitem__(self, index: Any) -> Any:
        x, y = super().__getitem__(index)
        return x - x.mean(), y


class CentredSubset(Subset):
    def __getitem__(self, index: Any) -> Any:
        x, y = super().__getitem__(index)
        return x - x.mean(), y


class Doubled(Centred):
    """One that does know says so again."""

    batched = True

    def __getitem__(self, index: Any) -> Any:
        return tuple(2 * value for value in TensorDataset.__getitem__(self, index))


def test_a_dataset_with_a_getitem_of_its_own_is_asked_for_single_samples() -> None:
    x, y = rng().random((6, 3)), np.arange(6)
    centred = x - x.mean(1, keepdims=True)
    for dataset, expected in (
        (Centred(x, y), centred),
        (CentredSubset(TensorDataset(x, y), [4, 2]), centred[[4, 2]]),
        (Subset(Centred(x, y), [4, 2]), centred[[4, 2]]),
        (type("Below", (Centred,), {})(x, y), centred),
        (Doubled(x, y), 2 * x),
        (type("Below", (Doubled,), {})(x, y), 2 * x),
    ):
        [batch] = DataLoader(dataset, batch_size=6)
        np.testing.assert_allclose(batch[0].numpy(), expected, atol=1e-15)


def test_loader_names_what_does_not_stack() -> None:
    with pytest.raises(ValueError, match=r"in field 1 found \(2,\), \(3,\)"):
        next(iter(DataLoader([(0, np.zeros(2)), (0, np.zeros(3))], batch_size=2)))
    with pytest.raises(ValueError, match=r"same number of fields; found \[1, 2\]"):
        next(iter(DataLoader([(0, 1), (0,)], batch_size=2)))


def test_loader_transform_gets_the_fields_and_a_generator_that_follows_the_seed() -> None:
    def transform(x: np.ndarray, y: np.ndarray, given: np.random.Generator) -> tuple[Any, ...]:
        assert given is as_generator(None)
        assert type(x) is np.ndarray
        return x + 100, y, np.array([given.random()])

    def drawn(seed: int) -> list[float]:
        numbers = []
        for x, y, noise in DataLoader(dataset, 2, generator=rng(seed), transform=transform):
            assert (x.numpy() - 100).tolist() == (y.numpy() / 2).tolist()
            numbers += noise.tolist()
        return numbers

    dataset = TensorDataset(np.arange(3), np.arange(3) * 2)
    assert len({*drawn(1), *drawn(2)}) == 4
    assert drawn(1) == drawn(1)


def test_loader_refuses_a_transform_that_forgets_the_labels() -> None:
    loader = DataLoader(TensorDataset(np.arange(3)), transform=lambda x, generator: x)
    with pytest.raises(TypeError, match=r"must return a tuple of arrays.* returned a ndarray"):
        next(iter(loader))


@pytest.mark.parametrize("batch_size", [0, -3])
def test_loader_refuses_a_batch_size_below_one(batch_size: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1, given {batch_size}"):
        DataLoader(Squares(3), batch_size=batch_size)


@pytest.mark.parametrize(
    "use",
    [
        lambda seed: list(DataLoader(Squares(3), generator=seed)),
        lambda seed: random_split(Squares(3), [2, 1], seed),
        lambda seed: random_shift(np.zeros((1, 1, 2, 2)), 1, seed),
        lambda seed: random_horizontal_flip(np.zeros((1, 1, 2, 2)), 0.5, seed),
    ],
)
def test_a_seed_is_no_generator(use: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError, match=r"given 7; for a seed, give numpy.random.default_rng"):
        use(7)


# ----- the loader's other arguments -----------------------------------------------------------

Pair = namedtuple("Pair", "image label")


class Stream(IterableDataset):
    def __init__(self, length: int) -> None:
        self.length = length

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.length))


def plain(batch: Any) -> Any:
    """The batch with lists of numbers in the place of Tensors."""
    if isinstance(batch, Tensor):
        return batch.tolist()
    if isinstance(batch, dict):
        return {key: plain(value) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        parts = [plain(part) for part in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    return batch


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([1, 2], [1, 2]),
        ([True, False], [True, False]),
        ([(1, 2), (3, 4)], [[1, 3], [2, 4]]),
        ([[1, 2], [3, 4]], [[1, 3], [2, 4]]),
        ([(1, (2, "x")), (3, (4, "y"))], [[1, 3], [[2, 4], ("x", "y")]]),
        ([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], {"a": [1, 2], "b": ["x", "y"]}),
        ([OrderedDict(a=1), OrderedDict(a=2)], OrderedDict(a=[1, 2])),
        ([defaultdict(list, a=[1])] * 2, defaultdict(list, a=[[1, 1]])),
        ([Pair(1, {"x": 2}), Pair(3, {"x": 4})], Pair([1, 3], {"x": [2, 4]})),
        (["a", "b"], ["a", "b"]),
        ([(), ()], []),
        ([np.array(3), np.array(4)], [3, 4]),
        ([np.float64(0.5)], [0.5]),
        ([tg.ones(2), tg.zeros(2)], [[1, 1], [0, 0]]),
        ([(np.zeros((1, 2)), tg.tensor(3))], [[[[0, 0]]], [3]]),
    ],
)
def test_samples_of_every_structure(samples: Any, expected: Any) -> None:
    [batch] = DataLoader(samples, batch_size=len(samples))
    for found in (batch, default_collate(samples)):
        assert plain(found) == expected
        assert type(found) is (Tensor if isinstance(samples[0], int) else type(found))
        assert type(found) is not tuple


@pytest.mark.parametrize("sample", [None, object(), {1}, 1j, np.array(["a"]), (0, None)])
def test_what_makes_no_batch_is_named(sample: Any) -> None:
    kind = type(sample[1] if isinstance(sample, tuple) else sample).__name__
    with pytest.raises(TypeError, match=rf"found a {kind}\. Give the DataLoader a collate_fn"):
        default_collate([sample, sample])


def test_collate_fn_makes_what_it_likes() -> None:
    data = [([1], "a"), ([2, 3], "b"), ([4], "c")]
    assert [*DataLoader(data, 2, collate_fn=list)] == [data[:2], data[2:]]
    assert [*DataLoader(Subset(data, [2, 0]), 2, collate_fn=list)] == [[data[2], data[0]]]
    pairs = TensorDataset(tg.arange(3), np.arange(3))
    [batch] = DataLoader(pairs, 3, collate_fn=lambda samples: [*zip(*samples, strict=True)])
    assert [*map(type, batch[0])] == [Tensor] * 3
    [moved] = DataLoader(pairs, 3, collate_fn=default_collate, device="fakecuda:1")
    assert [x.device for x in moved] == ["fakecuda:1", "fakecuda:1"]
    [moved] = DataLoader([1], collate_fn=lambda s: {"x": Tensor(s)}, device="fakecuda:1")
    assert moved["x"].device == "fakecuda:1"


def test_samples_without_batches() -> None:
    data = [(np.ones(2), 3, "a"), (np.zeros(2), 4, "b")]
    loader = DataLoader(data, batch_size=None)
    assert len(loader) == 2
    assert plain([*loader]) == [[[1, 1], 3, "a"], [[0, 0], 4, "b"]]
    assert plain([*DataLoader(data, batch_size=None, sampler=[1])]) == [[[0, 0], 4, "b"]]
    assert [*DataLoader(data, batch_size=None, collate_fn=len)] == [3, 3]
    assert [*DataLoader(Stream(3), batch_size=None)] == [0, 1, 2]
    assert plain(default_convert({"x": np.ones(1), "y": [2, "z"]})) == {"x": [1], "y": [2, "z"]}


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 4), st.booleans())
def test_a_sampler_gives_the_order(order: list[int], size: int, drop_last: bool) -> None:
    rows = [order[i : i + size] for i in range(0, len(order), size)]
    if drop_last:
        rows = [row for row in rows if len(row) == size]
    for data in (range(10), TensorDataset(np.arange(10))):
        loader = DataLoader(data, size, sampler=order, drop_last=drop_last)
        flat = [plain(batch[0] if isinstance(batch, list) else batch) for batch in loader]
        assert flat == rows
        assert len(loader) == len(rows)
        by_batch = DataLoader(data, batch_sampler=rows)
        assert [plain(x[0] if isinstance(x, list) else x) for x in by_batch] == rows
        assert len(by_batch) == len(rows)
    assert [*BatchSampler(order, size, drop_last)] == rows


def test_indices_may_be_what_the_dataset_likes() -> None:
    data = {"a": 1, "b": 2}
    assert plain([*DataLoader(data, 2, sampler=["b", "a"])]) == [[2, 1]]
    assert plain([*DataLoader(data, batch_sampler=[["b"], ["a"]])]) == [[2], [1]]


@given(st.integers(0, 9), st.integers(1, 4), st.booleans())
def test_a_stream_is_cut_into_batches(length: int, size: int, drop_last: bool) -> None:
    loader = DataLoader(Stream(length), size, drop_last=drop_last)
    rows = [[*range(length)][i : i + size] for i in range(0, length, size)]
    assert plain([*loader]) == [row for row in rows if len(row) == size or not drop_last]
    with pytest.raises(TypeError, match="len"):
        len(loader)
    assert isinstance(Stream(1), Dataset)
    both = Stream(2) + Stream(1)
    assert isinstance(both, ChainDataset)
    assert [*both] == [0, 1, 0]


def test_a_stream_of_known_length() -> None:
    class Known(Stream):
        def __len__(self) -> int:
            return self.length

    assert len(DataLoader(Known(5), 2)) == 3
    assert len(DataLoader(Known(5), 2, drop_last=True)) == 2
    assert len(DataLoader(Known(5), None)) == 5
    assert len(ChainDataset([Known(5), Known(2)])) == 7


def test_what_a_loader_shows() -> None:
    data, calls = TensorDataset(np.arange(4)), []
    loader = DataLoader(
        data,
        2,
        True,
        None,
        None,
        4,
        None,
        True,
        True,
        5,
        calls.append,
        "spawn",
        rng(),
        prefetch_factor=2,
        persistent_workers=True,
        pin_memory_device="cuda",
        in_order=False,
    )
    assert (loader.dataset, loader.batch_size, loader.num_workers) == (data, 2, 4)
    assert (loader.drop_last, loader.pin_memory, loader.timeout) == (True, True, 5)
    assert (loader.prefetch_factor, loader.persistent_workers) == (2, True)
    assert loader.multiprocessing_context.get_start_method() == "spawn"
    assert isinstance(loader.sampler, RandomSampler)
    assert isinstance(loader.batch_sampler, BatchSampler)
    assert loader.collate_fn is default_collate
    assert isinstance(DataLoader(data).sampler, SequentialSampler)
    assert DataLoader(data, batch_sampler=[[0]]).batch_size is None
    assert DataLoader(data).prefetch_factor is None
    assert DataLoader(data, num_workers=1).prefetch_factor == 2
    assert get_worker_info() is None


@pytest.mark.parametrize("name", ["dataset", "batch_size", "sampler", "batch_sampler", "drop_last"])
def test_what_the_samplers_were_made_for_stays(name: str) -> None:
    loader = DataLoader(range(4), 2)
    with pytest.raises(ValueError, match=f"the {name} of a DataLoader is fixed"):
        setattr(loader, name, 3)
    loader.collate_fn = sum
    assert [*loader] == [1, 5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": [0], "shuffle": True}, "leave out shuffle"),
        ({"batch_sampler": [[0]], "batch_size": 2}, "leave out batch_size"),
        ({"batch_sampler": [[0]], "shuffle": True}, "leave out batch_size, shuffle"),
        ({"batch_sampler": [[0]], "sampler": [0]}, "leave out batch_size"),
        ({"batch_sampler": [[0]], "drop_last": True}, "leave out batch_size"),
        ({"batch_size": None, "drop_last": True}, "leave out drop_last"),
        ({"num_workers": -1}, "0 or more; got -1"),
        ({"timeout": -1}, "0 or more; got 0 and -1"),
        ({"timeout": 1}, "timeout is about workers, and there are none"),
        ({"prefetch_factor": 2}, "prefetch_factor is about workers"),
        ({"persistent_workers": True}, "persistent_workers is about workers"),
        ({"multiprocessing_context": "spawn"}, "multiprocessing_context is about workers"),
        (
            {"num_workers": 1, "prefetch_factor": 0},
            "prefetch_factor must be .* at least 1, given 0",
        ),
        ({"num_workers": 1, "multiprocessing_context": "a"}, "ways to start a .*'spawn'.* got 'a'"),
    ],
)
def test_arguments_that_exclude_each_other(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataLoader(range(3), **options)
    for option in ({"shuffle": True}, {"sampler": [0]}, {"batch_sampler": [[0]]}):
        with pytest.raises(ValueError, match="leave out shuffle, sampler"):
            DataLoader(Stream(3), **option)
    DataLoader(Stream(3), shuffle=False)


def test_the_device_of_tensors_on_a_gpu_stays() -> None:
    x = tg.arange(4, device="fakecuda:1")
    for data in (TensorDataset(x, np.arange(4)), [*zip(x, np.arange(4), strict=True)]):
        [(a, b)] = DataLoader(data, 4)
        assert (a.device, b.device) == ("fakecuda:1", tg.get_default_device())
        assert a.tolist() == b.tolist() == [0, 1, 2, 3]
        [(a, b)] = DataLoader(data, 4, device="cpu")
        assert (a.device, b.device) == ("cpu", "cpu")


@pytest.mark.parametrize("build", [TensorDataset, lambda x: [*zip(x, strict=True)]])
def test_samples_that_belong_to_a_graph(build: Callable[..., Any], device: str) -> None:
    x = tg.ones(3, 2, requires_grad=True)
    [[batch]] = DataLoader(build(x), 2, sampler=[2, 2])
    (batch * 3.0).sum().backward()
    assert x.grad.tolist() == [[0, 0], [0, 0], [6, 6]]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system forks no processes")
def test_workers_make_what_goes_to_the_device(device: str) -> None:
    if device == "cuda":
        pytest.skip("a forked process has no CUDA")
    rows = Tensor(np.arange(6.0).reshape(3, 2))
    for data in (TensorDataset(rows, [1, 2, 3]), [*zip(rows, [1, 2, 3], strict=True)]):
        loader = DataLoader(data, 2, num_workers=1, multiprocessing_context="fork")
        for (x, y), (expected, labels) in zip(loader, DataLoader(data, 2), strict=True):
            assert x.device == y.device == device
            assert x.tolist() == expected.tolist()
            assert y.tolist() == labels.tolist()
            assert x.dtype == expected.dtype
            x += 1  # a batch is its own
    assert rows.tolist() == [[0, 1], [2, 3], [4, 5]]


def test_a_dataset_without_a_length() -> None:
    class Endless(Dataset):
        def __getitem__(self, index: int) -> int:
            return 2 * index

    assert plain([*DataLoader(Endless(), 2, sampler=[5, 7, 9])]) == [[10, 14], [18]]
    with pytest.raises(TypeError, match="len"):
        len(DataLoader(Endless(), 2))


def test_a_dataset_that_fetches_several_samples() -> None:
    class Rows(Squares):
        def __getitems__(self, indices: list[int]) -> list[Any]:
            return [-index for index in indices]

    assert plain([*DataLoader(Rows(3), 2)]) == [[0, -1], [-2]]
    assert [*DataLoader(Rows(3), 3, collate_fn=list)] == [[0, -1, -2]]


def test_samples_of_tensors_are_tensors() -> None:
    x = tg.ones(3, 2)
    dataset = TensorDataset(x, np.arange(3), [5, 6, 7])
    row, label, number = dataset[1]
    assert isinstance(row, Tensor)
    assert row.unsqueeze(0).shape == (1, 2)
    assert (int(label), int(number)) == (1, 6)
    assert dataset.tensors[0] is x
    for part in (Subset(dataset, [2, 0, 1]), Subset(Subset(dataset, [1, 2, 0]), [1, 2, 0])):
        for index in (slice(0, 2), [0, 1]):
            rows, labels, numbers = part[index]
            assert isinstance(rows, Tensor)
            assert rows.shape == (2, 2)
            assert (labels.tolist(), numbers.tolist()) == ([2, 0], [7, 5])
    assert [*map(type, dataset.tensors)] == [Tensor] * 3


@given(st.lists(st.integers(0, 4), min_size=1, max_size=5))
def test_joined_datasets(lengths: list[int]) -> None:
    parts = [[(part, i) for i in range(length)] for part, length in enumerate(lengths)]
    joined, flat = ConcatDataset(parts), [*itertools.chain(*parts)]
    assert [joined[i] for i in range(len(joined))] == flat
    assert [joined[-i - 1] for i in range(len(joined))] == flat[::-1]
    for beyond in (len(flat), -len(flat) - 1):
        with pytest.raises(IndexError, match=f"sample {beyond} of a dataset of {len(flat)}"):
            joined[beyond]


def test_sums_and_stacks_of_datasets() -> None:
    both = Squares(2) + Squares(3)
    assert [both[i][0] for i in range(len(both))] == [0, 1, 0, 1, 2]
    assert [*StackDataset("ab", [1, 2])] == [("a", 1), ("b", 2)]
    assert plain([*DataLoader(StackDataset(x=[1, 2], y="ab"), 2)]) == [
        {"x": [1, 2], "y": ["a", "b"]}
    ]
    with pytest.raises(ValueError, match=r"lengths \[1, 2\]"):
        StackDataset("a", "bc")
    for wrong in ({}, {"args": "a"}):
        with pytest.raises(ValueError, match="one or the other"):
            StackDataset(*wrong, **wrong)
    with pytest.raises(ValueError, match="one dataset at least"):
        ConcatDataset([])
    with pytest.raises(TypeError, match="ChainDataset"):
        ConcatDataset([Stream(1)])

    class Pairs(Dataset[tuple[int, int]]):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> Any:
            return index, index

    assert plain([*DataLoader(Pairs())]) == [[[0], [0]]]


# ----- samplers ------------------------------------------------------------------------------


@given(st.integers(0, 12), st.integers(1, 30), st.integers(0, 2**32))
def test_random_sampler_without_replacement(length: int, count: int, seed: int) -> None:
    """In each round all come once, so no place comes twice more often than another."""
    for wanted in (None, count):
        drawn = [*RandomSampler(range(length), num_samples=wanted, generator=rng(seed))]
        expected = length if wanted is None else (count if length else 0)
        assert len(drawn) == expected
        for start in range(0, expected, max(length, 1)):
            part = drawn[start : start + length]
            assert len({*part}) == len(part)
            assert {*part} <= {*range(length)}


def test_samplers_follow_their_generator_and_manual_seed() -> None:
    for sampler_of in (
        lambda g: RandomSampler(range(50), generator=g),
        lambda g: RandomSampler(range(50), True, 20, g),
        lambda g: SubsetRandomSampler(range(50, 90), g),
        lambda g: WeightedRandomSampler(np.arange(50), 20, generator=g),
        lambda g: WeightedRandomSampler([1.0] * 50, 20, False, g),
    ):
        assert [*sampler_of(rng(1))] == [*sampler_of(rng(1))] != [*sampler_of(rng(2))]
        sampler = sampler_of(None)
        manual_seed(1)
        assert [*sampler] == [*sampler_of(rng(1))]
        assert len(sampler) == len([*sampler])
        assert all(type(place) is int for place in sampler)
    assert sorted(SubsetRandomSampler([7, 3, 3])) == [3, 3, 7]


@given(st.integers(1, 20), st.integers(1, 5), st.booleans(), st.booleans(), st.integers(0, 3))
def test_processes_share_the_places(
    samples: int, replicas: int, shuffle: bool, drop_last: bool, epoch: int
) -> None:
    parts = [
        DistributedSampler(range(samples), replicas, rank, shuffle, 5, drop_last)
        for rank in range(replicas)
    ]
    for part in parts:
        part.set_epoch(epoch)
    shares = [[*part] for part in parts]
    assert {len(share) for share in shares} == {len(parts[0])}
    dealt = [place for places in zip(*shares, strict=True) for place in places]
    whole = samples // replicas * replicas if drop_last else -(-samples // replicas) * replicas
    assert len(dealt) == whole
    first = dealt[: min(samples, whole)]
    assert len({*first}) == len(first)
    assert dealt[samples:] == [*itertools.islice(itertools.cycle(first), max(whole - samples, 0))]
    if not shuffle:
        assert first == [*range(len(first))]
    assert shares == [[*part] for part in parts]  # the same until the epoch is another


def test_an_epoch_has_its_own_order() -> None:
    sampler = DistributedSampler(range(50))
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        orders.append(tuple(sampler))
    assert len({*orders}) == 3
    assert sorted(orders[0]) == [*range(50)]
    with pytest.raises(
        ValueError, match="of one of 2 processes is 0 or more and below that; got 2"
    ):
        DistributedSampler(range(3), 2, 2)


def test_weights_are_the_shares_of_what_is_drawn() -> None:
    counts = Counter(WeightedRandomSampler(tg.tensor([1.0, 0.0, 3.0]), 8000, generator=rng()))
    assert counts[1] == 0
    assert abs(counts[0] - 2000) < 200  # five deviations
    assert sorted(WeightedRandomSampler([1.0, 0.0, 3.0], 2, False, rng())) == [0, 2]
    with pytest.raises(ValueError, match="different places"):
        [*WeightedRandomSampler([1.0, 0.0, 3.0], 3, False, rng())]


def test_samplers_refuse_what_is_no_number() -> None:
    for sampler_of in (
        lambda n: RandomSampler(range(3), True, n),
        lambda n: WeightedRandomSampler([1.0], n),
        lambda n: BatchSampler(range(3), n, False),
    ):
        for wrong in (0, -1, 1.5, "2", True):
            with pytest.raises(ValueError, match="whole number, at least 1"):
                sampler_of(wrong)
    for sampler_of in (
        RandomSampler,
        lambda data, replace: WeightedRandomSampler([1.0], 1, replace),
    ):
        with pytest.raises(TypeError, match="replacement is True or False; got 5"):
            sampler_of(range(3), 5)
    with pytest.raises(ValueError, match=r"one row; got the shape \(1, 1\)"):
        WeightedRandomSampler([[1.0]], 1)
    with pytest.raises(ValueError, match="nothing to draw from"):
        list(RandomSampler([], True, 3))
    with pytest.raises(NotImplementedError, match="Sampler has no __iter__"):
        iter(Sampler())


# ----- augmentation --------------------------------------------------------------------------

IMAGES = hnp.arrays(
    st.sampled_from([np.float32, np.uint8]),
    hnp.array_shapes(min_dims=4, max_dims=4, max_side=5),
    elements=st.integers(0, 255),
)


def shifted(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """One image (C, H, W), moved pixel by pixel."""
    out = np.zeros_like(image)
    _, height, width = image.shape
    for i, j in itertools.product(range(height), range(width)):
        if 0 <= i - down < height and 0 <= j - right < width:
            out[:, i, j] = image[:, i - down, j - right]
    return out


@given(IMAGES, st.integers(0, 6), st.integers(0, 2**32))
def test_random_shift_gives_some_shift_of_each_image(
    images: np.ndarray, pixels: int, seed: int
) -> None:
    before = images.copy()
    out = random_shift(images, pixels, rng(seed))
    assert (out.shape, out.dtype) == (images.shape, images.dtype)
    np.testing.assert_array_equal(images, before)
    assert not np.shares_memory(images, out)
    steps = range(-pixels, pixels + 1)
    for image, moved in zip(images, out, strict=True):
        assert any(
            np.array_equal(shifted(image, down, right), moved)
            for down, right in itertools.product(steps, steps)
        )


def test_random_shift_takes_every_shift_equally_often_and_each_image_its_own() -> None:
    image = np.arange(1, 26, dtype=np.float32).reshape(1, 5, 5)
    out = random_shift(np.repeat(image[None], 9_000, axis=0), 1, rng())
    counts = Counter(moved.tobytes() for moved in out)
    expected = {
        shifted(image, down, right).tobytes()
        for down, right in itertools.product((-1, 0, 1), repeat=2)
    }
    assert set(counts) == expected
    assert all(abs(count - 1_000) < 160 for count in counts.values())  # over five deviations


@given(IMAGES, st.floats(0, 1), st.integers(0, 2**32))
def test_random_flip_mirrors_some_images(images: np.ndarray, p: float, seed: int) -> None:
    before = images.copy()
    out = random_horizontal_flip(images, p, rng(seed))
    assert (out.shape, out.dtype) == (images.shape, images.dtype)
    np.testing.assert_array_equal(images, before)
    assert not np.shares_memory(images, out)
    for image, turned in zip(images, out, strict=True):
        mirrored = np.array([[row[::-1] for row in channel] for channel in image])
        assert np.array_equal(turned, image) or np.array_equal(turned, mirrored)


@pytest.mark.parametrize(("p", "low", "high"), [(0, 0, 0), (0.25, 2_200, 2_800), (1, 10**4, 10**4)])
def test_random_flip_has_its_probability(p: float, low: int, high: int) -> None:
    images = np.tile(np.array([0.0, 1.0]), (10**4, 1, 1, 1))
    assert low <= (random_horizontal_flip(images, p, rng())[..., 0] == 1).sum() <= high


def test_augmentation_follows_the_generator() -> None:
    images = rng().random((20, 1, 6, 6))
    for change in (
        lambda g: random_shift(images, 2, g),
        lambda g: random_horizontal_flip(images, 0.5, g),
    ):
        np.testing.assert_array_equal(change(rng(1)), change(rng(1)))
        assert not np.array_equal(change(rng(1)), change(rng(2)))
        manual_seed(1)
        np.testing.assert_array_equal(change(None), change(rng(1)))


def test_augmentation_refuses_wrong_arguments() -> None:
    images = np.zeros((2, 1, 3, 3))
    with pytest.raises(ValueError, match=r"pixels must be 0 or more, given -1"):
        random_shift(images, -1, rng())
    for p in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=f"between 0 and 1, given {p}"):
            random_horizontal_flip(images, p, rng())
    for change in (random_shift, random_horizontal_flip):
        with pytest.raises(ValueError, match=r"shape \(N, C, H, W\), given \(1, 3, 3\)"):
            change(images[0], 1, rng())


# ----- the embedded digits -------------------------------------------------------------------


def test_digits_are_as_described() -> None:
    images, labels = load_digits()
    assert (images.shape, images.dtype) == ((1797, 1, 8, 8), np.float32)
    assert (labels.shape, labels.dtype) == ((1797,), np.int64)
    assert (images.min(), images.max()) == (0, 1)
    assert np.array_equal(np.unique(images * 16), np.arange(17))
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert images.flags.writeable
    assert images.flags.c_contiguous


def test_digits_file_is_as_described() -> None:
    with np.load(DIGITS / "digits.npz") as archive:
        assert sorted(archive) == ["images", "labels"]
        assert (archive["images"].shape, archive["images"].dtype) == ((1797, 8, 8), np.uint8)
        assert (archive["labels"].shape, archive["labels"].dtype) == ((1797,), np.uint8)
        assert archive["images"].max() == 16
    assert "CC BY 4.0" in (DIGITS / "SOURCE.md").read_text(encoding="utf-8")


def test_digits_are_scikit_learns() -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="the origin of the digits")
    origin = datasets.load_digits()
    images, labels = load_digits()
    np.testing.assert_array_equal(images[:, 0] * 16, origin.images)
    np.testing.assert_array_equal(labels, origin.target)


def test_script_makes_the_shipped_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn", reason="the digits are made out of scikit-learn's copy")
    path = tmp_path / "digits.npz"
    monkeypatch.setattr(sys, "argv", ["make", str(path)])
    make.main()
    with np.load(path) as made, np.load(DIGITS / "digits.npz") as shipped:
        assert sorted(made) == sorted(shipped)
        for name in shipped:
            np.testing.assert_array_equal(made[name], shipped[name], strict=True)
    assert "made from sklearn.datasets.load_digits()" in capsys.readouterr().out


def test_script_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sklearn.datasets", raising=False)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(SystemExit, match="pip install scikit-learn"):
        make.make()


def test_archive_depends_on_nothing_but_the_arrays(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    path.write_bytes(make.archive(a=np.arange(3), b=np.eye(2)))
    with zipfile.ZipFile(path) as file:
        for entry in file.infolist():
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert entry.create_system == 3
            assert entry.compress_type == zipfile.ZIP_DEFLATED
    with np.load(path) as archive:
        np.testing.assert_array_equal(archive["a"], np.arange(3, dtype=np.uint8), strict=True)
        np.testing.assert_array_equal(archive["b"], np.eye(2, dtype=np.uint8), strict=True)


def test_digits_split_holds_out_a_fifth_of_each_class() -> None:
    splits = load_dataset("digits")
    assert (splits.name, splits.classes) == ("digits", 10)
    check_splits(splits)
    held = np.bincount(splits.test_labels)
    total = np.bincount(load_digits()[1])
    assert held.tolist() == [math.ceil(count / 5) for count in total]
    # Nothing is lost: the parts are the whole, which has no image twice.
    whole = {image.tobytes() for image in load_digits()[0]}
    train = {image.tobytes() for image in splits.train_images}
    test = {image.tobytes() for image in splits.test_images}
    assert len(train) + len(test) == len(whole) == 1797
    assert train | test == whole


def test_digits_split_is_the_rule_in_its_description() -> None:
    images, labels = load_digits()
    seen: Counter[int] = Counter()
    held = []
    for image, label in zip(images, labels.tolist(), strict=True):
        if seen[label] % 5 == 0:
            held.append(image)
        seen[label] += 1
    np.testing.assert_array_equal(load_dataset("digits").test_images, held)


# ----- files ---------------------------------------------------------------------------------


def check_splits(splits: Splits) -> None:
    for images, labels in (
        (splits.train_images, splits.train_labels),
        (splits.test_images, splits.test_labels),
    ):
        assert (images.ndim, images.dtype) == (4, np.float32)
        assert (labels.shape, labels.dtype) == ((len(images),), np.int64)
        assert images.min() >= 0
        assert images.max() <= 1
        assert 0 <= labels.min() <= labels.max() < splits.classes


def idx(array: np.ndarray) -> bytes:
    """The array as an IDX file."""
    code = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}[array.dtype.str[1:]]
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def raises_one_sentence(path: Path, found: str, expected: str) -> Any:
    """The message names the file, what was found and what was expected, on one line."""
    sentence = rf"found [^\n]*{found}[^\n]*, expected [^\n]*{expected}[^\n]*\."
    return pytest.raises(DatasetError, match=rf"\A{re.escape(str(path))}: {sentence}\Z")


@given(
    hnp.arrays(
        st.sampled_from(["u1", "i1", "<i2", "<i4", "<f4", "<f8", ">i2"]),
        hnp.array_shapes(max_dims=4, max_side=4),
    ),
    st.booleans(),
)
def test_idx_round_trip(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, zipped: bool
) -> None:
    path = tmp_path_factory.mktemp("idx") / "some-idx"
    path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
    loaded = load_idx(str(path))
    np.testing.assert_array_equal(loaded, array)
    assert loaded.dtype == array.dtype.newbyteorder("=")
    assert loaded.dtype.isnative
    assert loaded.flags.writeable


GOOD = idx(np.arange(12, dtype=np.uint8).reshape(3, 4))
ZIPPED = gzip.compress(GOOD, mtime=0)
NOISE = gzip.compress(idx(rng().integers(0, 256, 5_000, dtype=np.uint8)), mtime=0)
FLIPPED_CHECKSUM = ZIPPED[:-8] + bytes([ZIPPED[-8] ^ 1]) + ZIPPED[-7:]
MIB = 1 << 20


@pytest.mark.parametrize(
    ("contents", "found", "expected"),
    [
        pytest.param(b"", "first bytes ''", "begins with 00 00", id="empty"),
        pytest.param(GOOD[:3], "first bytes '00 00 08'", "begins with 00 00", id="half a magic"),
        pytest.param(b"PK\x03\x04", "first bytes '50 4b 03 04'", "IDX file", id="another format"),
        pytest.param(b"\0\1" + GOOD[2:], "first bytes '00 01 08 02'", "IDX", id="magic"),
        pytest.param(b"\0\0\x0a" + GOOD[3:], "first bytes '00 00 0a 02'", "08, 09", id="dtype"),
        pytest.param(b"\0\0\x08\0", "announces 0 axes", "1 to 64 axes", id="no axes"),
        pytest.param(b"\0\0\x08\xff" + bytes(2_000), "255 axes", "1 to 64 axes", id="axes"),
        pytest.param(GOOD[:9], "header of 9 bytes that announces 2 axes", "4 bytes", id="header"),
        pytest.param(GOOD[:-1], "room for 11 bytes", r"12 bytes .* \(3, 4\)", id="truncated"),
        pytest.param(GOOD + b"!", "more than 12 bytes", r"12 bytes .* \(3, 4\)", id="too long"),
        pytest.param(
            b"\0\0\x08\1" + bytes(4), r"no values \(shape \(0,\)\)", "one", id="no values"
        ),
        pytest.param(
            b"\0\0\x0e\3" + b"\xff" * 12, "room for 0 bytes", "[0-9,]{30,} bytes", id="absurd size"
        ),
        pytest.param(
            gzip.compress(GOOD[:-1]), "11 bytes", r"12 bytes .* \(3, 4\)", id="zipped truncated"
        ),
        pytest.param(gzip.compress(GOOD + b"!"), "more than 12", "12 bytes", id="zipped too long"),
        pytest.param(
            gzip.compress(b"\0\0\x0e\3" + b"\xff" * 12),
            "room for [0-9,]{5,7} bytes",
            "[0-9,]{30,} bytes",
            id="zipped absurd size",
        ),
        pytest.param(ZIPPED[:-9], "gzip file that ends too early", "intact IDX", id="cut gzip"),
        pytest.param(ZIPPED[:5], "gzip file that ends too early", "intact IDX", id="cut in header"),
        pytest.param(FLIPPED_CHECKSUM, "damaged gzip file", "intact IDX", id="gzip checksum"),
        pytest.param(ZIPPED[:2] + b"?" + ZIPPED[3:], "damaged gzip", "IDX", id="gzip method"),
        pytest.param(ZIPPED[:10] + b"\xff" * 40, "damaged gzip", "IDX", id="gzip stream"),
        pytest.param(ZIPPED + b"more", "damaged gzip file", "IDX", id="bytes after gzip"),
        pytest.param(gzip.compress(b""), "first bytes ''", "IDX", id="nothing zipped"),
    ],
)
def test_idx_says_what_is_wrong(tmp_path: Path, contents: bytes, found: str, expected: str) -> None:
    path = tmp_path / "some-idx"
    path.write_bytes(contents)
    with raises_one_sentence(path, found, expected):
        load_idx(path)


def test_idx_that_is_no_file(tmp_path: Path) -> None:
    with raises_one_sentence(tmp_path / "gone", "nothing by this name", "IDX file"):
        load_idx(tmp_path / "gone")
    with raises_one_sentence(tmp_path, "no ordinary file", "IDX file"):
        load_idx(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_idx_does_not_wait_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with raises_one_sentence(tmp_path / "pipe", "no ordinary file", "IDX file"):
        load_idx(tmp_path / "pipe")


@pytest.mark.parametrize("method", ["stat", "open"])
def test_idx_without_permission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    path = tmp_path / "some-idx"
    path.write_bytes(GOOD)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, method, refuse)  # chmod would not keep root out
    with raises_one_sentence(path, r"cannot be read \(Permission denied\)", "IDX file"):
        load_idx(path)


def peak(action: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_takes_no_memory_for_what_is_not_there(tmp_path: Path, zipped: bool) -> None:
    """The header promises 200 MiB, which the size of the zipped file does not rule out."""
    contents = b"\0\0\x08\1" + struct.pack(">I", 200 * MIB) + rng().bytes(MIB // 2)
    path = tmp_path / "some-idx"
    path.write_bytes(gzip.compress(contents, 1) if zipped else contents)

    def load() -> None:
        with raises_one_sentence(path, "bytes", "209,715,200 bytes"):
            load_idx(path)

    assert peak(load) < 8 * MIB


@given(st.data())
def test_idx_is_loaded_whole_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A sound file, plain or zipped, with a few bytes changed and perhaps cut off or extended."""
    contents = bytearray(data.draw(st.sampled_from([GOOD, ZIPPED, NOISE])))
    for _ in range(data.draw(st.integers(0, 3))):
        contents[data.draw(st.integers(0, len(contents) - 1))] = data.draw(st.integers(0, 255))
    contents = contents[: data.draw(st.integers(0, len(contents)))] + data.draw(
        st.binary(max_size=4)
    )
    path = tmp_path_factory.mktemp("idx") / "some-idx"
    path.write_bytes(contents)
    try:
        array = load_idx(path)
    except DatasetError as error:
        message = str(error)
    else:
        inner = gzip.decompress(contents) if contents.startswith(b"\x1f\x8b") else bytes(contents)
        assert idx(array) == inner
        return
    assert message.startswith(f"{path}: found ")
    assert message.endswith(".")


# ----- MNIST ---------------------------------------------------------------------------------

MNIST = {
    "train-images-idx3-ubyte": rng(1).integers(0, 256, (12, 4, 5), dtype=np.uint8),
    "train-labels-idx1-ubyte": np.arange(12, dtype=np.uint8) % 10,
    "t10k-images-idx3-ubyte": rng(2).integers(0, 256, (3, 4, 5), dtype=np.uint8),
    "t10k-labels-idx1-ubyte": np.array([9, 0, 4], dtype=np.uint8),
}


def write_mnist(folder: Path, zipped: bool = False, **changes: Any) -> Path:
    """MNIST in small; `changes` replaces a file's array, with _ for - in its name."""
    folder.mkdir(exist_ok=True)
    for name, array in MNIST.items():
        contents = idx(changes.get(name.replace("-", "_"), array))
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(contents))
        else:
            (folder / name).write_bytes(contents)
    return folder


def test_a_small_file_that_unzips_to_much_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    size = 1 << 24
    path.write_bytes(gzip.compress(b"\0\0\x08\1" + struct.pack(">I", size) + bytes(size)))
    assert path.stat().st_size < size / 500
    limit = size - 1
    for load in (load_idx, load_mnist, load_dataset):
        where = path if load is load_idx else tmp_path
        for name in ("train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
            (tmp_path / name).write_bytes(idx(np.ones((1, 1, 1), np.uint8)))
        tracemalloc.start()
        with pytest.raises(DatasetError, match=r"a gzip file of 16,777,216 .* at most 16,777,215 "):
            load(where, max_bytes=limit)
        assert tracemalloc.get_traced_memory()[1] < size / 8
        tracemalloc.stop()
    for limited in (size, None):
        assert load_idx(path, limited).shape == (size,)
    noise = rng().bytes(1_100_000)  # with room for more, at deflate's best
    path.write_bytes(gzip.compress(b"\0\0\x08\1" + struct.pack(">I", (1 << 30) + 1) + noise, 1))
    with pytest.raises(DatasetError, match=r"expected at most 1,073,741,824 bytes"):
        load_idx(path)
    plain = tmp_path / "plain"
    plain.write_bytes(idx(np.zeros(100, np.uint8)))
    assert load_idx(plain, max_bytes=10).shape == (100,)  # it is as large as it says


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("load", [load_mnist, load_dataset])
def test_mnist(tmp_path: Path, zipped: bool, load: Callable[[Any], Splits]) -> None:
    splits = load(write_mnist(tmp_path, zipped))
    assert (splits.name, splits.classes) == ("MNIST", 10)
    check_splits(splits)
    for part, name in (("train", "train"), ("test", "t10k")):
        images, labels = MNIST[f"{name}-images-idx3-ubyte"], MNIST[f"{name}-labels-idx1-ubyte"]
        expected = (images / 255).astype(np.float32)[:, None]
        np.testing.assert_array_equal(getattr(splits, f"{part}_images"), expected)
        np.testing.assert_array_equal(getattr(splits, f"{part}_labels"), labels)


def test_mnist_takes_the_plain_file_where_there_are_both(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"no gzip")
    assert len(load_mnist(str(tmp_path)).train_images) == 12


@pytest.mark.parametrize("name", MNIST)
def test_mnist_names_a_missing_file(tmp_path: Path, name: str) -> None:
    write_mnist(tmp_path)
    (tmp_path / name).unlink()
    with raises_one_sentence(tmp_path, f"a folder without {name}", "t10k-labels-idx1-ubyte"):
        load_mnist(tmp_path)
    with raises_one_sentence(tmp_path, f"a folder without {name}", "t10k-labels-idx1-ubyte"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("name", MNIST)
@pytest.mark.parametrize("zipped", [False, True])
def test_mnist_names_a_damaged_file(tmp_path: Path, name: str, zipped: bool) -> None:
    write_mnist(tmp_path, zipped)
    path = tmp_path / (f"{name}.gz" if zipped else name)
    path.write_bytes(path.read_bytes()[:-1])
    found = "gzip file that ends too early" if zipped else "room for"
    with raises_one_sentence(path, found, "bytes|IDX"):
        load_mnist(tmp_path)


@pytest.mark.parametrize(
    ("name", "array", "found", "expected"),
    [
        (
            "train-labels-idx1-ubyte",
            np.zeros(11, "u1"),
            "11 labels",
            "12, one for each image in tr",
        ),
        ("t10k-labels-idx1-ubyte", np.zeros(4, "u1"), "4 labels", "3, one for each image in t10k"),
        (
            "t10k-labels-idx1-ubyte",
            np.array([1, 10, 255], "u1"),
            "label 255 at position 2",
            "labels 0 to 9",
        ),
        (
            "train-images-idx3-ubyte",
            np.zeros((12, 20), "u1"),
            r"\(12, 20\)",
            "count, height, width",
        ),
        ("train-labels-idx1-ubyte", np.zeros((12, 1), "u1"), r"\(12, 1\)", r"shape \(count,\)"),
        ("train-labels-idx1-ubyte", np.zeros(12, "<i4"), "int32 values", "uint8 values"),
        (
            "t10k-images-idx3-ubyte",
            np.zeros((3, 5, 5), "u1"),
            r"\(5, 5\)",
            r"\(4, 5\), as in train",
        ),
        ("train-images-idx3-ubyte", np.zeros((0, 4, 5), "u1"), "no values", "at least one"),
    ],
)
def test_mnist_says_what_does_not_fit(
    tmp_path: Path, name: str, array: np.ndarray, found: str, expected: str
) -> None:
    write_mnist(tmp_path, **{name.replace("-", "_"): array})
    with raises_one_sentence(tmp_path / name, found, expected):
        load_mnist(tmp_path)


# ----- CIFAR-10 ------------------------------------------------------------------------------

CIFAR10 = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]


def record(label: int, image: np.ndarray) -> bytes:
    """The label, then the red plane row by row, the green and the blue one."""
    values = [label]
    for channel, row, column in itertools.product(range(3), range(32), range(32)):
        values.append(int(image[channel, row, column]))
    return bytes(values)


def write_cifar10(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """CIFAR-10 in small, two records a file: all its images and labels, the test's last."""
    folder.mkdir(exist_ok=True)
    images = rng(3).integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)
    labels = rng(4).integers(0, 10, 12)
    for number, name in enumerate(CIFAR10):
        chosen = range(2 * number, 2 * number + 2)
        (folder / name).write_bytes(b"".join(record(labels[i], images[i]) for i in chosen))
    return images, labels


@pytest.mark.parametrize("inner", ["", "cifar-10-batches-bin"])
@pytest.mark.parametrize("load", [load_cifar10, load_dataset])
def test_cifar10(tmp_path: Path, inner: str, load: Callable[[Any], Splits]) -> None:
    images, labels = write_cifar10(tmp_path / inner)
    splits = load(tmp_path)
    assert (splits.name, splits.classes) == ("CIFAR-10", 10)
    check_splits(splits)
    expected = (images / 255).astype(np.float32)
    np.testing.assert_array_equal(splits.train_images, expected[:10])
    np.testing.assert_array_equal(splits.test_images, expected[10:])
    np.testing.assert_array_equal(splits.train_labels, labels[:10])
    np.testing.assert_array_equal(splits.test_labels, labels[10:])


@pytest.mark.parametrize("inner", ["", "cifar-10-batches-bin"])
@pytest.mark.parametrize("name", CIFAR10)
def test_cifar10_names_a_missing_file(tmp_path: Path, inner: str, name: str) -> None:
    folder = tmp_path / inner
    write_cifar10(folder)
    (folder / name).unlink()
    for load in (load_cifar10, load_dataset):
        with raises_one_sentence(folder, f"a folder without {name}", "binary version of CIFAR-10"):
            load(tmp_path)


@pytest.mark.parametrize("name", CIFAR10)
@pytest.mark.parametrize(
    ("change", "found", "expected"),
    [
        (lambda old: old[:-1], "6,145 bytes", "records of 3,073 bytes"),
        (lambda old: old + b"!", "6,147 bytes", "records of 3,073 bytes"),
        (lambda old: b"", "0 bytes", "1 to 10,000 records"),
        (lambda old: old[:3073] + b"\x0a" + old[3074:], "label 10 at position 1", "labels 0 to 9"),
        (lambda old: b"\x1f\x8b" + old, "damaged gzip file", "records of 3,073 bytes"),
    ],
)
def test_cifar10_names_a_damaged_file(
    tmp_path: Path, name: str, change: Callable[[bytes], bytes], found: str, expected: str
) -> None:
    write_cifar10(tmp_path)
    path = tmp_path / name
    path.write_bytes(change(path.read_bytes()))
    with raises_one_sentence(path, found, expected):
        load_cifar10(tmp_path)


def test_cifar10_notices_a_file_cut_off_between_two_records(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    path = tmp_path / "data_batch_4.bin"
    path.write_bytes(path.read_bytes()[:3073])
    with raises_one_sentence(path, "1 records", "2, as in data_batch_1.bin"):
        load_cifar10(tmp_path)


def test_cifar10_does_not_read_on_without_end(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    path = tmp_path / "test_batch.bin"
    with path.open("wb") as file:
        file.truncate(256 * MIB)  # a hole that takes no space on the disk

    def load() -> None:
        with raises_one_sentence(path, "more than 30,730,000 bytes", "1 to 10,000 records"):
            load_cifar10(tmp_path)

    assert peak(load) < 80 * MIB


# ----- which dataset it is -------------------------------------------------------------------


@pytest.mark.parametrize("load", [load_mnist, load_cifar10, load_dataset])
def test_folder_that_is_not_there(tmp_path: Path, load: Callable[[Any], Splits]) -> None:
    with raises_one_sentence(tmp_path / "gone", "nothing by this name", "a folder with"):
        load(str(tmp_path / "gone"))


@pytest.mark.parametrize("load", [load_mnist, load_cifar10, load_dataset])
def test_file_in_the_place_of_a_folder(tmp_path: Path, load: Callable[[Any], Splits]) -> None:
    path = tmp_path / "mnist.zip"
    path.write_bytes(b"PK")
    with raises_one_sentence(path, "cannot be read", "a folder with"):
        load(path)


@pytest.mark.parametrize("load", [load_mnist, load_cifar10, load_dataset])
def test_folder_without_permission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load: Callable[[Any], Splits]
) -> None:
    def refuse(folder: Path) -> Iterator[Path]:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with raises_one_sentence(tmp_path, r"cannot be read \(Permission denied\)", "a folder with"):
        load(tmp_path)


def test_folder_without_a_dataset(tmp_path: Path) -> None:
    with raises_one_sentence(tmp_path, "a folder with nothing in it", "'digits', a folder with"):
        load_dataset(tmp_path)
    for name in "hgfedcba":
        (tmp_path / name).touch()
    with raises_one_sentence(tmp_path, r"a folder with a, b, c, d, e, f, \.\.\.", "CIFAR-10"):
        load_dataset(tmp_path)


def test_folder_with_two_datasets(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    write_cifar10(tmp_path)
    with raises_one_sentence(tmp_path, "files of both MNIST and CIFAR-10", "one dataset only"):
        load_dataset(tmp_path)
    assert load_mnist(tmp_path).name == "MNIST"
    assert load_cifar10(tmp_path).name == "CIFAR-10"


def test_splits_are_frozen() -> None:
    with pytest.raises(AttributeError):
        load_dataset("digits").classes = 3  # type: ignore[misc]


NUMBERS = {
    "int": (lambda: 1, "int64"),
    "float": (lambda: 2.5, "float32"),
    "bool": (lambda: True, "bool"),
    "float16": (lambda: np.float16(0.5), "float16"),
    "float64": (lambda: np.float64(0.1), "float64"),
    "int32": (lambda: np.int32(3), "int32"),
    "uint8 array": (lambda: np.array(3, np.uint8), "uint8"),
    "tensor": (lambda: tg.tensor(0.5, dtype="float64"), "float64"),
}


@given(st.lists(st.sampled_from(sorted(NUMBERS)), min_size=1, max_size=5))
def test_a_batch_has_the_widest_float_dtype_of_its_values(kinds: list[str]) -> None:
    values = [NUMBERS[kind][0]() for kind in kinds]
    dtypes = [NUMBERS[kind][1] for kind in kinds]
    floats = [dtype for dtype in dtypes if dtype.startswith("float")]
    wanted = max(floats, key=lambda dtype: int(dtype[5:])) if floats else np.result_type(*dtypes)
    [batch] = DataLoader(values, batch_size=len(values))
    assert batch.dtype == wanted
    assert batch.tolist() == [np.dtype(wanted).type(float(value)) for value in values]
    [(batch, names)] = DataLoader([(value, (0, 1)) for value in values], batch_size=len(values))
    assert batch.dtype == wanted
    assert [name.dtype for name in names] == ["int64", "int64"]


def test_numbers_of_numpy_keep_their_dtype_in_a_list() -> None:
    [[[first, second]]] = DataLoader([([np.float64(0.1), 2],), ([1.5, 2],)], batch_size=2)
    assert (first.dtype, second.dtype) == ("float64", "int64")
    assert first.tolist() == [0.1, 1.5]
