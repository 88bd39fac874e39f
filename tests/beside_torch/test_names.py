"""Every name of PyTorch's that a program could use is here, or says what to use instead.

And the constructors take the same calls, which give the same shapes and dtypes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import absent
import tinygrad_cv as tg


def test_each_name_is_here_or_says_so() -> None:
    assert absent.missing() == {}, "see python -m tests.absent"


CALLS: dict[str, Callable[[Any], Any]] = {
    "Tensor()": lambda t: t.Tensor(),
    "Tensor(2, 3)": lambda t: t.Tensor(2, 3),
    "Tensor(3)": lambda t: t.Tensor(3),
    "Tensor([1, 2])": lambda t: t.Tensor([1, 2]),
    "Tensor(size)": lambda t: t.Tensor(t.ones(2, 3).size()),
    "FloatTensor(2, 3)": lambda t: t.FloatTensor(2, 3),
    "FloatTensor([1, 2])": lambda t: t.FloatTensor([1, 2]),
    "FloatTensor()": lambda t: t.FloatTensor(),
    "LongTensor([1, 2])": lambda t: t.LongTensor([1, 2]),
    "LongTensor(2, 3)": lambda t: t.LongTensor(2, 3),
    "ByteTensor([1, 0])": lambda t: t.ByteTensor([1, 0]),
    "BoolTensor([True])": lambda t: t.BoolTensor([True]),
    "DoubleTensor([[1.0]])": lambda t: t.DoubleTensor([[1.0]]),
    "tensor(ints)": lambda t: t.tensor([1, 2, 3]),
    "tensor(mixed)": lambda t: t.tensor([1, 2.5]),
    "tensor(bools)": lambda t: t.tensor([True, False]),
    "tensor(number)": lambda t: t.tensor(3),
    "tensor(data=)": lambda t: t.tensor(data=[1.0], dtype=t.double),
    "tensor(array)": lambda t: t.tensor(np.zeros(2)),
    "as_tensor(array)": lambda t: t.as_tensor(np.arange(3), dtype=t.float),
    "from_numpy(array)": lambda t: t.from_numpy(np.zeros((2, 2), "float32")),
    "zeros(2, 3)": lambda t: t.zeros(2, 3, dtype=t.long),
    "zeros((2, 3))": lambda t: t.zeros((2, 3), requires_grad=True),
    "zeros(size=)": lambda t: t.zeros(size=(2, 3), layout=t.strided, pin_memory=False),
    "ones([2])": lambda t: t.ones([2], device=t.device("cpu")),
    "empty": lambda t: t.empty(2, 3, memory_format=t.contiguous_format),
    "full": lambda t: t.full((2, 3), 7),
    "full(fill_value=)": lambda t: t.full(size=(2,), fill_value=1.5),
    "arange(3)": lambda t: t.arange(3),
    "arange(end=)": lambda t: t.arange(end=5),
    "arange(start=, end=, step=)": lambda t: t.arange(start=1, end=2, step=0.25),
    "linspace": lambda t: t.linspace(0, 1, 5),
    "linspace(steps=)": lambda t: t.linspace(start=0, end=1, steps=5, dtype=t.double),
    "logspace(base=)": lambda t: t.logspace(0, 3, 4, base=2),
    "eye": lambda t: t.eye(2, 3),
    "rand(size)": lambda t: t.rand(t.ones(2, 3).shape),
    "randn(generator=)": lambda t: t.randn(2, generator=t.Generator().manual_seed(1)),
    "randn_like": lambda t: t.randn_like(t.ones(2), dtype=t.double, requires_grad=True),
    "randint(10, (2,))": lambda t: t.randint(10, (2,)),
    "randint(low=, high=, size=)": lambda t: t.randint(low=1, high=3, size=(2, 2), dtype=t.int),
    "randint(0, 5, [3])": lambda t: t.randint(0, 5, [3], generator=t.default_generator),
    "randperm": lambda t: t.randperm(5, generator=t.Generator(device="cpu")),
    "normal(0, 1, size=)": lambda t: t.normal(0, 1, size=(2, 3)),
    "normal(mean=, std=)": lambda t: t.normal(mean=t.zeros(2), std=t.ones(2)),
    "zeros_like": lambda t: t.zeros_like(t.ones(2), device="cpu", requires_grad=True),
    "ones_like": lambda t: t.ones_like(t.ones(2), memory_format=t.preserve_format),
    "full_like": lambda t: t.full_like(t.ones(2), 3, dtype=t.long),
    "empty_like": lambda t: t.empty_like(t.ones(2, 3), dtype=t.half),
    "new_zeros": lambda t: t.ones(1, dtype=t.double).new_zeros(2, 3),
    "new_tensor": lambda t: t.ones(1, dtype=t.double).new_tensor([1, 2]),
    "bernoulli": lambda t: t.bernoulli(t.full((3,), 0.5)),
    "multinomial": lambda t: t.multinomial(t.ones(4), 2),
    "poisson": lambda t: t.poisson(t.ones(4)),
    "binomial": lambda t: t.binomial(t.full((2,), 3.0), t.full((2,), 0.5)),
    "fill": lambda t: t.fill(t.ones(2), 3),
    "to": lambda t: t.ones(2).to(t.device("cpu"), t.double, non_blocking=True),
    "cpu": lambda t: t.ones(2).cpu(),
    "relu_": lambda t: t.relu_(t.ones(2)),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_gives_the_same_shape_and_dtype(name: str) -> None:
    ours, theirs = CALLS[name](tg), CALLS[name](torch)
    assert ours.shape == tuple(theirs.shape)
    assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch.")
    assert ours.requires_grad == theirs.requires_grad
    assert (ours.device, ours.device.type) == (str(theirs.device), theirs.device.type)


@pytest.mark.parametrize("given", [("cpu",), ("cuda",), ("cuda", 1), ("cuda:3",)])
def test_devices_say_the_same(given: Any) -> None:
    ours, theirs = tg.device(*given), torch.device(*given)
    assert (ours.type, ours.index) == (theirs.type, theirs.index)
    assert (str(ours), repr(ours)) == (str(theirs), repr(theirs))


@pytest.mark.parametrize("name", ["float16", "float32", "float64", "half", "double"])
def test_the_numbers_of_a_float(name: str) -> None:
    ours, theirs = tg.finfo(getattr(tg, name)), torch.finfo(getattr(torch, name))
    for part in ("eps", "max", "min", "tiny", "smallest_normal", "resolution", "bits"):
        assert getattr(ours, part) == pytest.approx(getattr(theirs, part), rel=1e-6)
