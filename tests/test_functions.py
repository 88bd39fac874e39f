"""The public functions under PyTorch's names: their arguments, defaults, dtypes and side effects.

Each example is a call on tensors beside the same thing worked out on arrays by other means. From
it come the forward, the gradients, and what half and single precision make of both.
"""

import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.special
from numpy.lib.stride_tricks import sliding_window_view
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

import oracles
import tinygrad_cv as tg
from rows import ROWS
from rows.conv import shifted
from tinygrad_cv.backend import numpy_backend, threads, windows
from tinygrad_cv.tensor import Tensor
from tinygrad_cv.testing import check_gradients, check_op

Array = NDArray[Any]


class Example(NamedTuple):
    """A call on tensors, an independent equal of it on arrays, and the arrays."""

    call: Callable[..., Any]
    oracle: Callable[..., Any]
    inputs: tuple[Array, ...]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def positive(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(0.5, 2.0, shape)


def truths(*shape: int) -> Array:
    return np.arange(math.prod(shape)).reshape(shape) % 3 > 0


def labels(*shape: int, classes: int) -> Array:
    return np.random.default_rng(0).integers(0, classes, shape)


# ----- elementwise and activations ----------------------------------------------------------------

X = normal(2, 3)
UNARY: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "clone": np.array,
    "cos": np.cos,
    "exp": np.exp,
    "neg": np.negative,
    "relu": oracles.relu,
    "sigmoid": oracles.sigmoid,
    "sign": np.sign,
    "sin": np.sin,
    "square": np.square,
    "tanh": np.tanh,
}
ON_POSITIVE = {"log": np.log, "reciprocal": np.reciprocal, "sqrt": np.sqrt}
BINARY = {
    "add": np.add,
    "div": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "mul": np.multiply,
    "pow": np.power,
    "sub": np.subtract,
}
COMPARISONS = {
    "eq": np.equal,
    "ge": np.greater_equal,
    "gt": np.greater,
    "le": np.less_equal,
    "lt": np.less,
    "ne": np.not_equal,
}


def elementwise() -> Iterator[tuple[str, Example]]:
    for name, oracle in UNARY.items():
        yield name, Example(getattr(tg, name), oracle, (X,))
    for name, oracle in ON_POSITIVE.items():
        yield name, Example(getattr(tg, name), oracle, (positive(2, 3),))
    for name, oracle in BINARY.items():
        ours, x, y = getattr(tg, name), positive(2, 3), positive(4, 1, 3, seed=1)
        yield f"{name}: tensors that broadcast", Example(ours, oracle, (x, y))
        yield (
            f"{name}: a number on the right",
            Example(lambda x, f=ours: f(x, 1.5), lambda x, f=oracle: f(x, 1.5), (x,)),
        )
    for name, oracle in COMPARISONS.items():
        x, y = np.round(normal(3, 4)), np.round(normal(4, seed=1))
        yield name, Example(getattr(tg, name), oracle, (x, y))
    yield "logical_and", Example(tg.logical_and, np.logical_and, (truths(2, 3), truths(3)))
    yield "logical_or", Example(tg.logical_or, np.logical_or, (truths(2, 3), truths(3)))
    yield "logical_not", Example(tg.logical_not, np.logical_not, (truths(2, 3),))
    yield "where", Example(tg.where, np.where, (truths(2, 3), X, normal(3, seed=1)))
    yield "clamp: both bounds", Example(
        lambda x: tg.clamp(x, -0.5, 0.5), lambda x: np.clip(x, -0.5, 0.5), (X,)
    )
    yield "clamp: from below", Example(
        lambda x: tg.clamp(x, min=0.1), lambda x: np.maximum(x, 0.1), (X,)
    )
    yield "clamp: from above", Example(
        lambda x: tg.clamp(x, max=0.1), lambda x: np.minimum(x, 0.1), (X,)
    )
    yield "leaky_relu", Example(tg.leaky_relu, oracles.leaky_relu, (X,))
    yield "leaky_relu: another slope", Example(
        lambda x: tg.leaky_relu(x, negative_slope=0.3),
        lambda x: oracles.leaky_relu(x, 0.3),
        (X,),
    )
    for name, along in (("softmax", oracles.softmax), ("log_softmax", oracles.log_softmax)):
        for how in ({"dim": 1}, {"dim": -2}, {"axis": 0}):
            (axis,) = how.values()
            yield f"{name}: {how}", example(getattr(tg, name), how, along, {"axis": axis}, normal(2, 3, 4))


def example(
    ours: Callable[..., Any],
    keywords: dict[str, Any],
    oracle: Callable[..., Any],
    oracle_keywords: dict[str, Any],
    *inputs: Array,
) -> Example:
    """The same inputs with keywords for each side."""
    return Example(
        lambda *tensors: ours(*tensors, **keywords),
        lambda *arrays: oracle(*arrays, **oracle_keywords),
        inputs,
    )
