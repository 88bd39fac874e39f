"""The loader's arguments and batches are PyTorch's."""

import inspect
from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv import data
from tinygrad_cv._tensor import Tensor

OURS = {"transform", "device"}
FREE = {"TensorDataset", "StackDataset", "Sampler", "random_split"}
"""Whose arguments have other names or defaults: *tensors, a data_source that old programs give."""
CLASSES = {name for name in dir(data) if inspect.isclass(getattr(data, name))}
NAMES = CLASSES.intersection(dir(torch.utils.data)) | {"default_collate", "default_convert"}


@pytest.mark.host
@pytest.mark.parametrize("name", sorted(NAMES - FREE))
def test_arguments(name: str) -> None:
    ours, theirs = (
        [
            (parameter.name, parameter.default, parameter.kind)
            for parameter in inspect.signature(getattr(module, name)).parameters.values()
        ]
        for module in (data, torch.utils.data)
    )
    assert [parameter for parameter in ours if parameter[0] not in OURS] == theirs


@pytest.mark.host
@pytest.mark.parametrize("name", ["load", "save"])
def test_arguments_of_files(name: str) -> None:
    ours, theirs = (
        {
            parameter.name: parameter.kind
            for parameter in inspect.signature(getattr(module, name)).parameters.values()
        }
        for module in (tg, torch)
    )
    theirs.pop("pickle_load_args", None)
    theirs.pop("_disable_byteorder_record", None)
    ours.pop("encoding", None)
    assert [*ours.items()] == [*theirs.items()]


Pair = namedtuple("Pair", "a b")
LEAVES = st.integers(-9, 9) | st.booleans() | st.sampled_from(["a", "b"])
ARRAYS = st.sampled_from(
    [np.ones(2), np.arange(3), np.float32(2), np.zeros((1, 2), "uint8"), np.array(3)]
)
STRUCTURES = st.recursive(
    LEAVES | ARRAYS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.tuples(inner, inner).map(lambda pair: Pair(*pair))
        | st.dictionaries(st.sampled_from("xyz"), inner, max_size=2)
        | st.dictionaries(st.sampled_from("xyz"), inner, max_size=2).map(OrderedDict)
    ),
    max_leaves=6,
)


def same(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, torch.Tensor):
        assert isinstance(ours, Tensor)
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), strict=True)
        return
    assert type(ours) is type(theirs)
    if isinstance(theirs, np.ndarray):
        np.testing.assert_array_equal(ours, theirs, strict=True)
    elif isinstance(theirs, dict):
        assert [*ours] == [*theirs]
        for key, value in theirs.items():
            same(ours[key], value)
    elif isinstance(theirs, list | tuple):
        for a, b in zip(ours, theirs, strict=True):
            same(a, b)
    else:
        assert ours == theirs


@given(STRUCTURES, st.integers(1, 3))
def test_batches_of_every_structure(sample: Any, count: int) -> None:
    samples = [sample] * count
    same(data.default_collate(samples), torch.utils.data.default_collate(samples))
    same(data.default_convert(sample), torch.utils.data.default_convert(sample))


@given(
    st.integers(0, 9),
    st.fixed_dictionaries(
        {},
        optional={
            "batch_size": st.none() | st.integers(-1, 4),
            "shuffle": st.sampled_from([None, False, True]),
            "sampler": st.none() | st.lists(st.integers(0, 2), max_size=5),
            "batch_sampler": st.none() | st.lists(st.lists(st.integers(0, 2), min_size=1)),
            "drop_last": st.booleans(),
            "collate_fn": st.sampled_from([None, list]),
            "num_workers": st.sampled_from([0, 0, -1]),
        },
    ),
)
def test_combinations_of_arguments(length: int, options: dict[str, Any]) -> None:
    """The same batches but for the order of a shuffle, or an error of the same kind."""
    samples = [(i, {"x": np.full(2, i)}) for i in range(length)]
    try:
        theirs = torch.utils.data.DataLoader(samples, **options)
    except (ValueError, TypeError):
        with pytest.raises((ValueError, TypeError)):
            data.DataLoader(samples, **options)
        return
    ours = data.DataLoader(samples, **options)
    assert len(ours) == len(theirs)
    assert ours.batch_size == theirs.batch_size
    assert ours.drop_last == theirs.drop_last
    for name in ("sampler", "batch_sampler"):
        if options.get(name) is None:
            kinds = [type(getattr(loader, name)).__name__ for loader in (ours, theirs)]
            assert kinds[0] == kinds[1]
    try:
        expected = [*theirs]
    except IndexError:
        with pytest.raises(IndexError):
            list(ours)
        return
    got = [*ours]
    if options.get("shuffle"):
        assert len(got) == len(expected)
        return
    for a, b in zip(got, expected, strict=True):
        same(a, b)
