"""The public functions under PyTorch's names: arguments, defaults, dtypes and side effects.

An example is a call on tensors beside the same thing worked out on arrays by other means. From the
examples come the forward, the gradients, and what half and single precision make of both. Below
them stands what one call alone cannot show: statistics that move, chance, blocks and threads.
"""

import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

import oracles
import tinygrad_cv as tg
from rows import ROWS
from rows.conv import shifted
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import cupy_backend, windows
from tinygrad_cv.testing import check_gradients, check_op

Array = NDArray[Any]


class Example(NamedTuple):
    """A call on tensors, its independent equal on arrays, and the arrays."""

    ours: Callable[..., Any]
    oracle: Callable[..., Any]
    inputs: tuple[Array, ...]


def example(
    ours: Callable[..., Any],
    keywords: dict[str, Any],
    oracle: Callable[..., Any],
    oracle_keywords: dict[str, Any],
    *inputs: Array,
) -> Example:
    """An example in which the two sides differ in their keywords."""
    return Example(
        lambda *tensors: ours(*tensors, **keywords),
        lambda *arrays: oracle(*arrays, **oracle_keywords),
        inputs,
    )


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def positive(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(0.5, 2.0, shape)


def integers(*shape: int, below: int) -> Array:
    return np.random.default_rng(0).integers(0, below, shape)


def written(keywords: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in keywords.items()) or "by default"


# ----- elementwise --------------------------------------------------------------------------------

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
OF_POSITIVE = {"log": np.log, "reciprocal": np.reciprocal, "sqrt": np.sqrt}
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
X = normal(2, 3)
SOME, MORE = integers(2, 3, below=2) > 0, np.array([True, False, True])
DIGITS = integers(3, 4, below=3).astype(float)

ELEMENTWISE = {
    **{name: Example(getattr(tg, name), oracle, (X,)) for name, oracle in UNARY.items()},
    **{
        name: Example(getattr(tg, name), oracle, (positive(2, 3),))
        for name, oracle in OF_POSITIVE.items()
    },
    **{
        f"{name}: tensors that broadcast": Example(
            getattr(tg, name), oracle, (positive(2, 3), positive(4, 1, 3, seed=1))
        )
        for name, oracle in BINARY.items()
    },
    **{
        name: Example(getattr(tg, name), oracle, (DIGITS, DIGITS[1]))
        for name, oracle in COMPARISONS.items()
    },
    "add: a number": Example(lambda x: tg.add(x, 2), lambda x: x + 2, (X,)),
    "sub: a number on the left": Example(lambda x: tg.sub(1, x), lambda x: 1 - x, (X,)),
    "maximum: a number": Example(lambda x: tg.maximum(x, 0.1), lambda x: np.maximum(x, 0.1), (X,)),
    "pow: a number": Example(lambda x: tg.pow(x, 3), lambda x: x * x * x, (X,)),
    "logical_and": Example(tg.logical_and, np.logical_and, (SOME, MORE)),
    "logical_or": Example(tg.logical_or, np.logical_or, (SOME, MORE)),
    "logical_not": Example(tg.logical_not, np.logical_not, (SOME,)),
    "where": Example(tg.where, np.where, (SOME, X, normal(3, seed=1))),
    "where: a number": Example(
        lambda c, x: tg.where(c, x, 0.5), lambda c, x: np.where(c, x, 0.5), (SOME, X)
    ),
    "clamp: both bounds": Example(
        lambda x: tg.clamp(x, -0.5, 0.5), lambda x: np.clip(x, -0.5, 0.5), (X,)
    ),
    "clamp: min": Example(lambda x: tg.clamp(x, min=0.1), lambda x: np.maximum(x, 0.1), (X,)),
    "clamp: max": Example(lambda x: tg.clamp(x, max=0.1), lambda x: np.minimum(x, 0.1), (X,)),
    "leaky_relu": Example(tg.leaky_relu, oracles.leaky_relu, (X,)),
    "leaky_relu: negative_slope": Example(
        lambda x: tg.leaky_relu(x, 0.3), lambda x: oracles.leaky_relu(x, 0.3), (X,)
    ),
}

# ----- reductions, and what weighs scores along an axis -------------------------------------------

REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": np.sum,
    "mean": np.mean,
    "amax": np.max,
    "amin": np.min,
    "var": oracles.var,
    "logsumexp": oracles.logsumexp,
    "any": np.any,
    "all": np.all,
}
PLACES = {"argmax": np.argmax, "argmin": np.argmin}
# What PyTorch and NumPy call the arguments, and what NumPy's functions are to be given.
AXES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"dim": 1}, {"axis": 1}),
    ({"dim": -1, "keepdim": True}, {"axis": 2, "keepdims": True}),
    ({"axis": -2}, {"axis": 1}),
    ({"axis": 0, "keepdims": True}, {"axis": 0, "keepdims": True}),
    ({"keepdim": True}, {"keepdims": True}),
]
SEVERAL_AXES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"dim": (0, -1)}, {"axis": (0, 2)}),
    ({"dim": [1, 2], "keepdim": True}, {"axis": (1, 2), "keepdims": True}),
]
BOX = normal(2, 3, 4)

REDUCED = {
    **{
        f"{name}: {written(ours)}": example(
            getattr(tg, name), ours, oracle, theirs, BOX > -1 if name in ("any", "all") else BOX
        )
        for name, oracle in REDUCTIONS.items()
        for ours, theirs in AXES + SEVERAL_AXES
    },
    **{
        f"{name}: {written(ours)}": example(getattr(tg, name), ours, oracle, theirs, BOX)
        for name, oracle in PLACES.items()
        for ours, theirs in AXES
    },
    **{
        f"{name}: {written(ours)} ({part})": example(
            lambda x, name=name, part=part, **ours: getattr(getattr(tg, name)(x, **ours), part),
            ours,
            oracle,
            theirs,
            BOX,
        )
        for name, part, oracle in (
            ("max", "values", np.max),
            ("max", "indices", np.argmax),
            ("min", "values", np.min),
            ("min", "indices", np.argmin),
        )
        for ours, theirs in AXES
        if "axis" in theirs
    },
    "max: of all": Example(tg.max, np.max, (BOX,)),
    "min: of all": Example(tg.min, np.min, (BOX,)),
    **{
        f"var: correction={correction}": example(
            tg.var, {"correction": correction}, oracles.var, {"correction": correction}, BOX
        )
        for correction in (0, 1, 2)
    },
    **{
        f"{name}: {written(ours)}": example(getattr(tg, name), ours, oracle, theirs, BOX)
        for name, oracle in (("softmax", oracles.softmax), ("log_softmax", oracles.log_softmax))
        for ours, theirs in AXES[1:4:2]
    },
}

# ----- shapes -------------------------------------------------------------------------------------

ONES_AROUND = normal(1, 3, 1)
SHAPED = {
    "reshape: lengths": Example(
        lambda x: tg.reshape(x, 4, -1), lambda x: np.array(list(x.flat)).reshape(4, 6), (BOX,)
    ),
    "reshape: a tuple": Example(
        lambda x: tg.reshape(x, (6, 4)), lambda x: np.array(list(x.flat)).reshape(6, 4), (BOX,)
    ),
    "flatten": Example(tg.flatten, np.ravel, (BOX,)),
    "flatten: from an axis": Example(
        lambda x: tg.flatten(x, 1), lambda x: np.reshape(x, (2, 12)), (BOX,)
    ),
    "flatten: between axes": Example(
        lambda x: tg.flatten(x, start_dim=-3, end_dim=-2), lambda x: np.reshape(x, (6, 4)), (BOX,)
    ),
    "flatten: no axes": Example(tg.flatten, np.ravel, (np.array(1.5),)),
    "permute": Example(lambda x: tg.permute(x, 2, 0, 1), lambda x: np.moveaxis(x, 2, 0), (BOX,)),
    "permute: a tuple, from the end": Example(
        lambda x: tg.permute(x, (0, -1, 1)), lambda x: np.swapaxes(x, 1, 2), (BOX,)
    ),
    "transpose": Example(lambda x: tg.transpose(x, 0, 2), lambda x: np.swapaxes(x, 0, 2), (BOX,)),
    "transpose: from the end": Example(
        lambda x: tg.transpose(x, -1, -2), lambda x: np.swapaxes(x, 1, 2), (BOX,)
    ),
    "squeeze": Example(tg.squeeze, np.ravel, (ONES_AROUND,)),
    "squeeze: one axis": Example(
        lambda x: tg.squeeze(x, dim=-1), lambda x: x[..., 0], (ONES_AROUND,)
    ),
    "squeeze: an axis that is longer": Example(
        lambda x: tg.squeeze(x, 1), np.array, (ONES_AROUND,)
    ),
    "unsqueeze": Example(lambda x: tg.unsqueeze(x, 0), lambda x: x[None], (X,)),
    "unsqueeze: from the end": Example(
        lambda x: tg.unsqueeze(x, dim=-1), lambda x: x[..., None], (X,)
    ),
    "broadcast_to: lengths": Example(
        lambda x: tg.broadcast_to(x, 2, 3), lambda x: np.stack([x, x]), (normal(3),)
    ),
    "broadcast_to: a tuple": Example(
        lambda x: tg.broadcast_to(x, (1, 3, 2)), lambda x: np.concatenate([x, x], 2), (ONES_AROUND,)
    ),
    "expand": Example(
        lambda x: tg.expand(x, -1, -1, 2), lambda x: np.concatenate([x, x], 2), (ONES_AROUND,)
    ),
    "expand: a new axis": Example(
        lambda x: tg.expand(x, (2, -1, 3)), lambda x: np.stack([x, x]), (X,)
    ),
    **{
        f"cat: {written(ours)}": example(
            lambda *xs, **ours: tg.cat(xs, **ours),
            ours,
            lambda *xs, **theirs: np.concatenate(xs, **theirs),
            theirs,
            BOX,
            normal(2, 3, 4, seed=1),
        )
        for ours, theirs in AXES
        if "keepdims" not in theirs
    },
    "cat: other lengths": Example(
        lambda *xs: tg.cat(list(xs), -2),
        lambda *xs: np.hstack(xs),
        (normal(2, 1, 3), normal(2, 4, 3, seed=1), normal(2, 0, 3)),
    ),
    **{
        f"stack: {written(ours)}": example(
            lambda *xs, **ours: tg.stack(xs, **ours),
            ours,
            lambda *xs, **theirs: np.stack(xs, **theirs),
            theirs,
            X,
            normal(2, 3, seed=1),
        )
        for ours, theirs in AXES
        if "keepdims" not in theirs
    },
    **{
        f"pad: {widths}": Example(
            lambda x, widths=widths: tg.pad(x, widths),
            lambda x, pairs=pairs: oracles.pad(x, pairs),
            (BOX,),
        )
        for widths, pairs in {
            (1, 2): [(0, 0), (0, 0), (1, 2)],
            (0, 1, 2, 0): [(0, 0), (2, 0), (0, 1)],
            (0, 0, 0, 0, 1, 1): [(1, 1), (0, 0), (0, 0)],
            (-1, -2): [(0, 0), (0, 0), (-1, -2)],
            (3, -1, -2, 1): [(0, 0), (-2, 1), (3, -1)],
            (0, -4): [(0, 0), (0, 0), (0, -4)],
        }.items()
    },
    "pad: value": Example(
        lambda x: tg.pad(x, [1, 0], mode="constant", value=-3),
        lambda x: oracles.pad(x, [(0, 0), (1, 0)], -3.0),
        (X,),
    ),
    "pad: no value": Example(
        lambda x: tg.pad(x, [1, 0], "constant", None),
        lambda x: oracles.pad(x, [(0, 0), (1, 0)], 0.0),
        (X,),
    ),
    "one_hot": Example(
        lambda x: tg.one_hot(x, 4), lambda x: np.eye(4, dtype=int)[x], (integers(2, 3, below=4),)
    ),
}

# ----- matrix products, losses --------------------------------------------------------------------


def linear(x: Array, w: Array, b: Array | None = None) -> Array:
    return oracles.matmul(x, w.T) + (0 if b is None else b)


SCORES = {
    (5, 3): (5,),
    (2, 3, 4): (2, 4),
    (2, 3, 2, 2): (2, 2, 2),
}
PRODUCTS = [
    ((3,), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3,)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 1, 2, 3), (4, 3, 2)),
    ((3,), (5, 3, 4)),
    ((5, 2, 3), (3,)),
    ((2, 5, 3), (2, 1, 3, 1)),
    ((2, 0), (0, 3)),
    ((1,), (1, 1)),
    ((20, 40), (40, 30)),
]
PREDICTED = {
    **{
        f"matmul: {a} @ {b}": Example(tg.matmul, oracles.matmul, (normal(*a), normal(*b, seed=1)))
        for a, b in PRODUCTS
    },
    **{
        f"linear: {shape}": Example(
            tg.linear, linear, (normal(*shape), normal(4, 3, seed=1), normal(4, seed=2))
        )
        for shape in ((2, 3), (3,), (2, 5, 3), (2, 2, 2, 3), (0, 3), (0, 2, 3))
    },
    "linear: one output": Example(
        tg.linear, lambda x, w: (x * w).sum(-1), (normal(2, 5, 3), normal(3, seed=1))
    ),
    "linear: a bias with axes of length 1": Example(
        tg.linear, linear, (normal(2, 3), normal(4, 3, seed=1), normal(1, 4, seed=2))
    ),
    "linear: no bias": Example(tg.linear, linear, (normal(2, 5, 3), normal(4, 3, seed=1))),
    **{
        f"cross_entropy: {shape} {written(how)}": example(
            tg.cross_entropy,
            how,
            oracles.cross_entropy,
            how,
            3 * normal(*shape),
            integers(*labels, below=3),
        )
        for shape, labels in SCORES.items()
        for how in ({}, {"reduction": "sum"}, {"reduction": "none"}, {"reduction": "mean"})
    },
    **{
        f"mse_loss: {written(how)}": example(
            tg.mse_loss, how, oracles.mse_loss, how, X, normal(2, 3, seed=1)
        )
        for how in ({}, {"reduction": "sum"}, {"reduction": "none"}, {"reduction": "mean"})
    },
}

# ----- windows ------------------------------------------------------------------------------------


def conv2d(x: Array, w: Array, b: Array | None = None, **geometry: Any) -> Array:
    return shifted(oracles.conv2d(x, w, **geometry), b)


def conv_transpose2d(x: Array, w: Array, b: Array | None = None, **geometry: Any) -> Array:
    return shifted(oracles.conv_transpose2d(x, w, **geometry), b)


def max_pool2d(x: Array, *geometry: Any) -> Array:
    return oracles.max_pool2d(x, *geometry)[0]


IMAGES, BIAS = normal(2, 4, 6, 7), normal(6, seed=2)
KERNEL, GROUPED, DEPTHWISE = (normal(6, c, 3, 2, seed=1) for c in (4, 2, 1))
# The weight of a transposed convolution is (C, O/groups, kh, kw).
STAMP, GROUPED_STAMP = (normal(4, o, 3, 2, seed=1) for o in (6, 3))
DISTINCT = np.random.default_rng(0).permutation(2 * 3 * 7 * 6).reshape(2, 3, 7, 6) / 10

WINDOWED = {
    "conv2d": Example(tg.conv2d, conv2d, (IMAGES, KERNEL)),
    "conv2d: with a bias": Example(tg.conv2d, conv2d, (IMAGES, KERNEL, BIAS)),
    "conv2d: one number for both axes": Example(
        lambda x, w, b: tg.conv2d(x, w, b, stride=2, padding=1, dilation=2),
        lambda x, w, b: conv2d(x, w, b, stride=(2, 2), padding=(1, 1), dilation=(2, 2)),
        (IMAGES, KERNEL, BIAS),
    ),
    "conv2d: a number for each axis": Example(
        lambda x, w: tg.conv2d(x, w, stride=(1, 2), padding=[0, 3], dilation=(2, 1)),
        lambda x, w: conv2d(x, w, stride=(1, 2), padding=(0, 3), dilation=(2, 1)),
        (IMAGES, KERNEL),
    ),
    "conv2d: by position": Example(
        lambda x, w, b: tg.conv2d(x, w, b, 2, 1, 3, 2),
        lambda x, w, b: conv2d(x, w, b, stride=(2, 2), padding=(1, 1), dilation=(3, 3), groups=2),
        (IMAGES, GROUPED, BIAS),
    ),
    "conv2d: depthwise": Example(
        lambda x, w: tg.conv2d(x, w, groups=4, padding=1),
        lambda x, w: conv2d(x, w, groups=4, padding=(1, 1)),
        (IMAGES, DEPTHWISE[:4]),
    ),
    "conv2d: 1x1": Example(tg.conv2d, conv2d, (IMAGES, KERNEL[..., :1, :1], BIAS)),
    "conv2d: no images": Example(tg.conv2d, conv2d, (IMAGES[:0], KERNEL, BIAS)),
    "conv_transpose2d": Example(tg.conv_transpose2d, conv_transpose2d, (IMAGES, STAMP)),
    "conv_transpose2d: with a bias": Example(
        tg.conv_transpose2d, conv_transpose2d, (IMAGES, STAMP, BIAS)
    ),
    "conv_transpose2d: one number for both axes": Example(
        lambda x, w, b: tg.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1),
        lambda x, w, b: conv_transpose2d(
            x, w, b, stride=(2, 2), padding=(1, 1), output_padding=(1, 1)
        ),
        (IMAGES, STAMP, BIAS),
    ),
    "conv_transpose2d: a number for each axis": Example(
        lambda x, w: tg.conv_transpose2d(
            x, w, stride=(3, 1), padding=[0, 2], output_padding=(2, 0), dilation=(1, 2)
        ),
        lambda x, w: conv_transpose2d(
            x, w, stride=(3, 1), padding=(0, 2), output_padding=(2, 0), dilation=(1, 2)
        ),
        (IMAGES, STAMP),
    ),
    "conv_transpose2d: by position": Example(
        lambda x, w, b: tg.conv_transpose2d(x, w, b, 3, 1, 2, 2, 2),
        lambda x, w, b: conv_transpose2d(
            x,
            w,
            b,
            stride=(3, 3),
            padding=(1, 1),
            output_padding=(2, 2),
            groups=2,
            dilation=(2, 2),
        ),
        (IMAGES, GROUPED_STAMP, BIAS),
    ),
    "conv_transpose2d: output_padding below the dilation": Example(
        lambda x, w: tg.conv_transpose2d(x, w, dilation=2, output_padding=1),
        lambda x, w: conv_transpose2d(x, w, dilation=(2, 2), output_padding=(1, 1)),
        (IMAGES, STAMP),
    ),
    "max_pool2d": Example(
        lambda x: tg.max_pool2d(x, 2), lambda x: max_pool2d(x, (2, 2), (2, 2)), (DISTINCT,)
    ),
    "max_pool2d: by position": Example(
        lambda x: tg.max_pool2d(x, 3, 2, 1, 2),
        lambda x: max_pool2d(x, (3, 3), (2, 2), (1, 1), (2, 2)),
        (DISTINCT,),
    ),
    "max_pool2d: a number for each axis": Example(
        lambda x: tg.max_pool2d(x, (3, 2), stride=[1, 3], padding=(1, 0), dilation=(2, 1)),
        lambda x: max_pool2d(x, (3, 2), (1, 3), (1, 0), (2, 1)),
        (DISTINCT,),
    ),
    "avg_pool2d": Example(
        lambda x: tg.avg_pool2d(x, (3, 2)),
        lambda x: oracles.avg_pool2d(x, (3, 2), (3, 2)),
        (IMAGES,),
    ),
    "avg_pool2d: padding counts": Example(
        lambda x: tg.avg_pool2d(x, 3, 2, 1),
        lambda x: oracles.avg_pool2d(x, (3, 3), (2, 2), (1, 1), count_include_pad=True),
        (IMAGES,),
    ),
    "avg_pool2d: padding does not count": Example(
        lambda x: tg.avg_pool2d(
            x, kernel_size=(3, 4), stride=(2, 1), padding=(1, 2), count_include_pad=False
        ),
        lambda x: oracles.avg_pool2d(x, (3, 4), (2, 1), (1, 2), count_include_pad=False),
        (IMAGES,),
    ),
}

# ----- normalization ------------------------------------------------------------------------------

SHAPES = [(5, 3), (4, 3, 2), (2, 3, 4, 2)]
WEIGHT, SHIFT, MEAN = (normal(3, seed=seed) for seed in (1, 2, 3))
VAR = positive(3, seed=4)


def normalized(x: Array, *affine: Array, eps: float = 1e-5) -> Array:
    weight, bias = affine or (None, None)
    return oracles.batch_norm_train(x, weight, bias, eps)[0]


NORMALIZED = {
    **{
        f"batch_norm: training {shape}": Example(
            lambda x, w, b: tg.batch_norm(x, weight=w, bias=b, training=True),
            normalized,
            (normal(*shape), WEIGHT, SHIFT),
        )
        for shape in SHAPES
    },
    "batch_norm: training, no weight and bias, eps": Example(
        lambda x: tg.batch_norm(x, training=True, eps=0.1),
        lambda x: normalized(x, eps=0.1),
        (normal(4, 3, 2),),
    ),
    **{
        f"batch_norm: evaluation {shape}": Example(
            lambda x, m, v, w, b: tg.batch_norm(x, m, v, w, b),
            oracles.batch_norm_eval,
            (normal(*shape), MEAN, VAR, WEIGHT, SHIFT),
        )
        for shape in SHAPES
    },
    "batch_norm: evaluation, no weight and bias, eps": Example(
        lambda x, m, v: tg.batch_norm(x, m, v, eps=0.1),
        lambda x, m, v: oracles.batch_norm_eval(x, m, v, None, None, 0.1),
        (normal(4, 3, 2), MEAN, VAR),
    ),
    "dropout: evaluation": Example(
        lambda x: tg.dropout(x, 0.9, training=False), np.array, (normal(4, 5),)
    ),
    "dropout: of nothing": Example(lambda x: tg.dropout(x, p=0), np.array, (normal(4, 5),)),
}

# ----- from the examples --------------------------------------------------------------------------

EXAMPLES = {**ELEMENTWISE, **REDUCED, **SHAPED, **PREDICTED, **WINDOWED, **NORMALIZED}
FUNCTIONS = {
    name: value
    for name, value in vars(tg).items()
    if callable(value) and str(getattr(value, "__module__", "")).startswith("tinygrad_cv.ops.")
}
FLAT = {*COMPARISONS, "logical_and", "logical_or", "logical_not", "any", "all", "sign", "one_hot"}
FLAT |= {"argmax", "argmin"}
"""What is constant between its jumps, so that no gradient flows through it."""
SMOOTH = {
    name: each
    for name, each in EXAMPLES.items()
    if name.partition(":")[0] not in FLAT and not name.endswith("(indices)")
}


def tensors(inputs: tuple[Array, ...], dtype: Any = None) -> list[Tensor]:
    """Leaves; float arrays require a gradient and may get another dtype."""
    return [
        tg.tensor(v, dtype=dtype, requires_grad=True) if v.dtype.kind == "f" else tg.tensor(v)
        for v in inputs
    ]


def test_every_public_function_is_named_in_a_test() -> None:
    """As it is, or without its dimensions: f"max_pool{n}d"."""
    text = "\n".join(path.read_text("utf-8") for path in Path(__file__).parent.rglob("*.py"))
    words = set(re.findall(r"\w+", text))
    unnamed = {name for name in FUNCTIONS if not {name, re.sub(r"\dd$", "", name)} & words}
    assert unnamed == set()
    assert {name.partition(":")[0] for name in EXAMPLES} <= FUNCTIONS.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_forward(name: str) -> None:
    ours, oracle, inputs = EXAMPLES[name]
    y, expected = ours(*tensors(inputs)), np.asarray(oracle(*inputs))
    assert y.shape == expected.shape
    assert y.dtype.kind == expected.dtype.kind
    assert_allclose(y.detach().numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients(name: str) -> None:
    ours, _, inputs = SMOOTH[name]

    def call(*values: Any) -> Any:
        return ours(*(v if isinstance(v, Tensor) else tg.tensor(v) for v in values))

    empty = 0 in (call(*inputs).numel(), *(v.size for v in inputs))
    check_gradients(call, inputs, order=1, allow_zero=empty)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in SMOOTH])
def test_no_gradient_flows_through_what_is_flat(name: str) -> None:
    ours, _, inputs = EXAMPLES[name]
    assert not ours(*tensors(inputs)).requires_grad


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("name", SMOOTH)
def test_the_precision_of_the_input_is_that_of_the_results(name: str, dtype: str) -> None:
    """The dtype stays, and the numbers are those of float64 up to a few roundings."""
    ours, _, inputs = SMOOTH[name]
    low = tensors(inputs, dtype)
    high = tensors(tuple(leaf.detach().numpy() for leaf in low), "float64")
    y, exact = ours(*low), ours(*high)
    assert y.dtype == dtype
    v = tg.tensor(np.random.default_rng(0).standard_normal(y.shape), dtype=dtype)
    y.backward(v)
    exact.backward(v.double())
    results = [(y, exact)]
    for leaf, twin in zip(low, high, strict=True):
        if leaf.requires_grad:
            assert leaf.grad is not None
            assert twin.grad is not None
            assert leaf.grad.dtype == dtype
            results.append((leaf.grad, twin.grad))
    for ours_low, ours_high in results:
        expected = ours_high.detach().numpy()
        few = 16 * float(np.finfo(dtype).eps)
        scale = max(1.0, float(np.abs(expected).max(initial=0)))
        assert_allclose(ours_low.detach().numpy(), expected, rtol=0, atol=few * scale)


METHODS = sorted(FUNCTIONS.keys() & vars(Tensor).keys() - {"clone", "polygamma", "unfold", "where"})
"""But for `where` and `polygamma`, whose tensor is the second argument of the function, and for
`unfold`, which cuts windows out of an axis there, and patches out of images as a function; all as
in PyTorch."""


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_the_function_of_its_name(name: str) -> None:
    assert getattr(Tensor, name) is FUNCTIONS[name]


# ----- what PyTorch's samples ask for ------------------------------------------------------------


def test_windows_take_one_number_in_a_tuple_and_no_stride() -> None:
    x = tg.tensor(normal(1, 2, 5, 6))
    for pool in (tg.max_pool2d, tg.avg_pool2d):
        expected = pool(x, 2, 2, 1).numpy()
        assert_array_equal(pool(x, (2,), (2,), (1,)).numpy(), expected)
        for none in (None, (), []):
            assert_array_equal(pool(x, 2, none, 1).numpy(), expected)
    y, places = tg.max_pool2d(x, 2, return_indices=True)
    back = tg.max_unpool2d(y, places, 2, output_size=(5, 6)).numpy()
    assert_array_equal(tg.max_unpool2d(y, places, 2, (), output_size=(5, 6)).numpy(), back)


def test_a_target_of_gaussians_broadcasts() -> None:
    x, target, var = normal(4, 3), normal(3, seed=1), np.exp(normal(1, 3, seed=2))
    expected = 0.5 * (np.log(var) + (x - target) ** 2 / var)
    given = tensors((x, target, var))
    assert_allclose(tg.gaussian_nll_loss(*given, reduction="none").detach().numpy(), expected)
    with pytest.raises(ValueError, match=r"gaussian_nll_loss: .*\(4, 3\) and \(2,\)"):
        tg.gaussian_nll_loss(given[0], tg.ones(2), given[2])
    with pytest.raises(ValueError, match="1 in place of one of its axes"):
        tg.gaussian_nll_loss(given[0], given[1], tg.ones(1, 1))


def test_a_target_that_is_no_sign_gets_both_parts_of_the_hinge() -> None:
    x, target = tg.tensor([0.25, 0.25, 0.25]), tg.tensor([1.0, -1.0, 0.0])
    losses = tg.hinge_embedding_loss(x, target, tg.tensor(2.0), reduction="none")
    assert losses.tolist() == [0.25, 1.75, 2.0]


def test_an_empty_axis_of_shares_has_a_gradient() -> None:
    for function in (tg.softmax, tg.softmin, tg.log_softmax):
        x = tg.zeros(2, 0, requires_grad=True)
        (g,) = tg.grad(function(x, 1).sum(), x)
        assert g is not None
        assert g.shape == (2, 0)


def test_an_empty_index_may_have_any_shape() -> None:
    x = tg.ones(3, 2, requires_grad=True)
    y = tg.gather(x, 1, tg.zeros(0, 5, 1, dtype="int64"))
    assert (y.shape, y.dtype) == ((0, 5, 1), x.dtype)
    (g,) = tg.grad(y.sum(), x)
    assert g is not None
    assert g.tolist() == [[0, 0]] * 3


def test_switches_of_to_need_no_name() -> None:
    x = tg.ones(2)
    assert x.to("float32", True) is x
    assert x.to(x.device, "float32", False, True) is not x
    assert x.to("float64", False, True).dtype == "float64"
    with pytest.raises(TypeError, match="at most two switches"):
        x.to("float32", True, True, True)


def test_one_image_is_dropped_channel_by_channel() -> None:
    y = tg.dropout3d(tg.ones(50, 3, 2, 2)).numpy().reshape(50, -1)
    assert set(y.ravel()) == {0.0, 2.0}
    assert (y == y[:, :1]).all()


@pytest.mark.parametrize("shape", [(50, 4), (50, 4, 3), (50, 4, 3, 2), (50, 4, 3, 2, 2)])
def test_dropout2d_drops_the_channels_of_every_sample(shape: tuple[int, ...]) -> None:
    """Also behind a linear layer, (N, C), and of sequences, (N, C, L)."""
    y = tg.dropout2d(tg.ones(*shape)).numpy().reshape(200, -1)
    assert (y == y[:, :1]).all()
    whole = y[:, 0].reshape(50, 4)
    assert set(whole.ravel()) == {0.0, 2.0}
    assert any(set(sample) == {0.0, 2.0} for sample in whole)


@pytest.mark.parametrize("shape", [(), (2,), (2, 1, 2, 1), (2, 1, 2, 2)])
def test_dropouts_of_other_axes_take_the_first_two_for_samples_and_channels(
    shape: tuple[int, ...],
) -> None:
    for dropout, spatial in ((tg.dropout2d, 2), (tg.dropout3d, 3)):
        if len(shape) not in (spatial - 1, spatial):  # one image, and images
            y = dropout(tg.ones(20, 30, *shape)).numpy().reshape(20, 30, -1)
            assert (y == y[:, :, :1]).all()
            assert all(set(row) == {0.0, 2.0} for row in y[:, :, 0])


REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "cat": (
        lambda: tg.cat([tg.ones(2), None]),
        TypeError,
        "cat: expected a tensor, an array, a list or a number; got None",
    ),
    "roll": (lambda: tg.roll(tg.ones(3), ()), ValueError, "at least one shift"),
    "max": (lambda: tg.max(2, 3), IndexError, "axis 3 of a tensor of shape ()"),
    "min": (lambda: tg.min(2, 3), IndexError, "axis 3 of a tensor of shape ()"),
    "mean": (lambda: tg.mean(tg.ones(3), dtype="int64"), TypeError, "is no whole number"),
    "max_pool1d": (lambda: tg.max_pool1d(tg.ones(0, 4), 1), ValueError, "only N may have"),
    "triplet_margin_loss": (
        lambda: tg.triplet_margin_loss(*[tg.ones(2, 3)] * 3, margin=-1.0),
        ValueError,
        "the margin is 0 or more; got -1",
    ),
    "cov": (
        lambda: tg.cov(tg.ones(3), fweights=tg.tensor([1, -1, 1])),
        ValueError,
        "one of them is negative",
    ),
    "quantile": (lambda: tg.quantile(tg.ones(3), 2.0), ValueError, "a share, from 0 to 1; got 2"),
    "multi_dot": (
        lambda: tg.linalg.multi_dot([tg.ones(2, 3), tg.ones(2, 3)]),
        ValueError,
        "the shapes",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_pytorch_refuses_too(name: str) -> None:
    call, kind, message = REFUSED[name]
    with pytest.raises(kind, match=re.escape(message)):
        call()


def test_the_chain_is_multiplied_in_the_cheapest_order() -> None:
    """(10, 1) (1, 10) (10, 1): from the left it makes a matrix of 100 numbers, and need not."""
    first, *others = tg.ones(10, 1, requires_grad=True), tg.ones(1, 10), tg.ones(10, 1)
    y = tg.linalg.multi_dot([first, *others])
    assert y.tolist() == [[10.0]] * 10
    assert "(10, 1)" in str(tg.graph(y))
    assert "(10, 10)" not in str(tg.graph(y))
    assert "(10, 10)" in str(tg.graph(first @ others[0] @ others[1]))


def test_second_names() -> None:
    assert tg.concat is tg.concatenate is tg.cat
    assert tg.trapz is tg.trapezoid
    assert tg.ger is tg.outer
    assert tg.inverse is tg.linalg.inv
    A = tg.tensor([[2.0, 0.0], [0.0, 1e-3]])
    assert_allclose(tg.pinverse(A, 1e-2).numpy(), [[0.5, 0], [0, 0]])
    assert_allclose(tg.pinverse(A).numpy(), [[0.5, 0], [0, 1e3]], rtol=1e-6)
    x = tg.tensor([1.0, 2.5])
    assert_array_equal(x.polygamma(2).numpy(), tg.polygamma(2, x).numpy())


# ----- names and places of arguments --------------------------------------------------------------

# PyTorch's parameters up to the `*`, after which nothing can be given by position.
PYTORCH = {
    "adaptive_avg_pool2d": "input output_size",
    "adaptive_avg_pool3d": "input output_size",
    "affine_grid": "theta size align_corners",
    "all": "input dim keepdim",
    "alpha_dropout": "input p training inplace",
    "amax": "input dim keepdim",
    "amin": "input dim keepdim",
    "any": "input dim keepdim",
    "argmax": "input dim keepdim",
    "argmin": "input dim keepdim",
    "avg_pool2d": "input kernel_size stride padding ceil_mode count_include_pad divisor_override",
    "batch_norm": "input running_mean running_var weight bias training momentum eps",
    "binary_cross_entropy": "input target weight size_average reduce reduction",
    "binary_cross_entropy_with_logits": (
        "input target weight size_average reduce reduction pos_weight"
    ),
    "cat": "tensors dim",
    "cdist": "x1 x2 p compute_mode",
    "celu": "input alpha inplace",
    "clamp": "input min max",
    "conv2d": "input weight bias stride padding dilation groups",
    "conv_transpose2d": "input weight bias stride padding output_padding groups dilation",
    "cosine_embedding_loss": "input1 input2 target margin size_average reduce reduction",
    "cross_entropy": (
        "input target weight size_average ignore_index reduce reduction label_smoothing"
    ),
    "dropout": "input p training inplace",
    "dropout1d": "input p training inplace",
    "dropout2d": "input p training inplace",
    "dropout3d": "input p training inplace",
    "elu": "input alpha inplace",
    "embedding": "input weight padding_idx max_norm norm_type scale_grad_by_freq sparse",
    "flatten": "input start_dim end_dim",
    "fold": "input output_size kernel_size dilation padding stride",
    "gaussian_nll_loss": "input target var full eps reduction",
    "glu": "input dim",
    "grid_sample": "input grid mode padding_mode align_corners",
    "group_norm": "input num_groups weight bias eps",
    "hardtanh": "input min_val max_val inplace",
    "hinge_embedding_loss": "input target margin size_average reduce reduction",
    "huber_loss": "input target reduction delta weight",
    "instance_norm": "input running_mean running_var weight bias use_input_stats momentum eps",
    "interpolate": "input size scale_factor mode align_corners recompute_scale_factor antialias",
    "kl_div": "input target size_average reduce reduction log_target",
    "l1_loss": "input target size_average reduce reduction weight",
    "layer_norm": "input normalized_shape weight bias eps",
    "leaky_relu": "input negative_slope inplace",
    "linear": "input weight bias",
    "local_response_norm": "input size alpha beta k",
    "log_softmax": "input dim _stacklevel dtype",
    "logsumexp": "input dim keepdim",
    "lp_pool1d": "input norm_type kernel_size stride ceil_mode",
    "lp_pool2d": "input norm_type kernel_size stride ceil_mode",
    "lp_pool3d": "input norm_type kernel_size stride ceil_mode",
    "margin_ranking_loss": "input1 input2 target margin size_average reduce reduction",
    "matmul": "input other",
    "max": "input dim keepdim",
    "max_pool2d": "input kernel_size stride padding dilation ceil_mode return_indices",
    "max_unpool1d": "input indices kernel_size stride padding output_size",
    "max_unpool2d": "input indices kernel_size stride padding output_size",
    "max_unpool3d": "input indices kernel_size stride padding output_size",
    "mean": "input dim keepdim",
    "min": "input dim keepdim",
    "mse_loss": "input target size_average reduce reduction weight",
    "multi_margin_loss": "input target p margin weight size_average reduce reduction",
    "multilabel_soft_margin_loss": "input target weight size_average reduce reduction",
    "nll_loss": "input target weight size_average ignore_index reduce reduction",
    "norm": "input p dim keepdim dtype",
    "normalize": "input p dim eps out",
    "one_hot": "tensor num_classes",
    "pad": "input pad mode value",
    "poisson_nll_loss": "input target log_input full size_average eps reduce reduction",
    "pow": "input exponent",
    "rms_norm": "input normalized_shape weight eps",
    "rrelu": "input lower upper training inplace",
    "smooth_l1_loss": "input target size_average reduce reduction beta",
    "soft_margin_loss": "input target size_average reduce reduction",
    "scaled_dot_product_attention": (
        "query key value attn_mask dropout_p is_causal scale enable_gqa"
    ),
    "scatter_reduce": "input dim index src reduce",
    "searchsorted": "sorted_sequence input",
    "softmax": "input dim _stacklevel dtype",
    "softmin": "input dim _stacklevel dtype",
    "split": "tensor split_size_or_sections dim",
    "squeeze": "input dim",
    "stack": "tensors dim",
    "std": "input dim unbiased keepdim",
    "sum": "input dim keepdim",
    "tensordot": "a b dims out",
    "threshold": "input threshold value inplace",
    "transpose": "input dim0 dim1",
    "triplet_margin_loss": (
        "anchor positive negative margin p eps swap size_average reduce reduction"
    ),
    "unfold": "input kernel_size dilation padding stride",
    "unsqueeze": "input dim",
    "unique": "input sorted return_inverse return_counts dim",
    "unique_consecutive": "input return_inverse return_counts dim",
    "var": "input dim unbiased keepdim",
}


@pytest.mark.parametrize("name", PYTORCH)
def test_what_is_given_by_position_means_what_it_means_in_pytorch(name: str) -> None:
    parameters = inspect.signature(FUNCTIONS[name]).parameters.values()
    ours = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    assert ours == PYTORCH[name].split()[: len(ours)]


def test_conv_output_size_counts_the_windows() -> None:
    for size, kernel, stride, padding, dilation in np.ndindex(9, 4, 4, 3, 3):
        geometry = size + 1, kernel + 1, stride + 1, padding, dilation + 1
        n, k, s, p, d = geometry
        last = n + 2 * p - d * (k - 1)
        if last > 0:
            assert tg.conv_output_size(*geometry) == len(range(0, last, s))


def test_matmul_is_an_operator_that_takes_arrays_on_either_side() -> None:
    a, b = normal(2, 3), normal(3, 4, seed=1)
    for product in (tg.tensor(a) @ tg.tensor(b), tg.tensor(a) @ b, a @ tg.tensor(b)):
        assert isinstance(product, Tensor)
        assert_allclose(product.numpy(), oracles.matmul(a, b), rtol=1e-12)


@pytest.mark.parametrize("widths", [(0, -4), (-4, 0), (-4, 2), (2, -4), (-2, -2)])
def test_pad_crops_no_more_than_there_is(widths: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="pad"):
        tg.pad(tg.ones(2, 3), widths)


@pytest.mark.parametrize("correction", [1, 2])
def test_a_variance_of_too_few_is_not_finite(correction: int) -> None:
    """Σ (x - mean)² / max(0, n - correction) is 0 / 0, and so is its slope."""
    x = tg.tensor([2.0], requires_grad=True)
    y = tg.var(x, correction=correction)
    y.backward()
    assert np.isnan(y.item())
    assert x.grad is not None
    assert np.isnan(x.grad.item())


# ----- extremes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extreme", "along", "place"),
    [(tg.max, tg.amax, tg.argmax), (tg.min, tg.amin, tg.argmin)],
)
def test_equal_extremes_share_the_gradient_and_the_first_gives_its_place(
    extreme: Any, along: Any, place: Any
) -> None:
    x = tg.tensor([[2.0, 5.0, 2.0, 5.0], [1.0, 1.0, 1.0, 1.0]], requires_grad=True)
    values, indices = extreme(x, dim=1)
    assert_array_equal(values.detach().numpy(), along(x, 1).detach().numpy())
    assert_array_equal(indices.numpy(), place(x, 1).numpy())
    assert indices.tolist() == ([1, 0] if extreme is tg.max else [0, 0])
    values.backward(tg.tensor([1.0, 8.0]))
    row = [0, 0.5, 0, 0.5] if extreme is tg.max else [0.5, 0, 0.5, 0]
    assert x.grad is not None
    assert x.grad.tolist() == [row, [2, 2, 2, 2]]


def test_the_first_maximum_of_a_window_gets_all() -> None:
    x = tg.ones(1, 1, 3, 3, requires_grad=True)
    tg.max_pool2d(x, 2, stride=1).backward(tg.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
    assert x.grad is not None
    assert x.grad.tolist() == [[[[1, 2, 0], [3, 4, 0], [0, 0, 0]]]]


def test_padding_never_wins_a_window() -> None:
    x = -(normal(1, 2, 4, 4) ** 2) - 1
    y = tg.max_pool2d(tg.tensor(x), 3, stride=1, padding=1).numpy()
    assert_array_equal(y, max_pool2d(x, (3, 3), (1, 1), (1, 1)))


# ----- batch norm moves its statistics ------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.1, 0.7, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_training_moves_the_running_statistics(shape: tuple[int, ...], momentum: float) -> None:
    mean, var = MEAN.copy(), VAR.copy()
    running_mean, running_var = tg.tensor(mean), tg.tensor(var)
    count = math.prod(shape) // shape[1]
    for step in range(3):
        x = normal(*shape, seed=step) * (step + 1) + step
        y = tg.batch_norm(tg.tensor(x), running_mean, running_var, training=True, momentum=momentum)
        expected, batch_mean, batch_var = oracles.batch_norm_train(x, None, None)
        assert_allclose(y.numpy(), expected, rtol=1e-10, atol=1e-12)
        mean = oracles.running_update(mean, batch_mean, momentum, count, unbiased=False)
        var = oracles.running_update(var, batch_var, momentum, count, unbiased=True)
        assert_allclose(running_mean.numpy(), mean, rtol=1e-10)
        assert_allclose(running_var.numpy(), var, rtol=1e-10)


def test_the_momentum_is_a_tenth_unless_said_otherwise() -> None:
    running_mean, running_var = tg.zeros(1), tg.ones(1)
    x = tg.tensor([[1.0], [3.0]])
    tg.batch_norm(x, running_mean, running_var, training=True)
    assert_allclose(running_mean.numpy(), [0.1 * 2], rtol=1e-6)
    assert_allclose(running_var.numpy(), [0.9 + 0.1 * 2], rtol=1e-6)


def test_evaluation_leaves_the_running_statistics_alone() -> None:
    running_mean, running_var = tg.tensor(MEAN), tg.tensor(VAR)
    x = tg.tensor(normal(5, 3), requires_grad=True)
    tg.batch_norm(x, running_mean, running_var).sum().backward()
    assert_array_equal(running_mean.numpy(), MEAN)
    assert_array_equal(running_var.numpy(), VAR)


def test_a_gradient_of_a_gradient_moves_the_running_statistics_once() -> None:
    running_mean, running_var = tg.zeros(3), tg.ones(3)
    x = tg.tensor(normal(5, 3), requires_grad=True)
    y = tg.batch_norm(x, running_mean, running_var, training=True)
    once = running_mean.numpy().copy(), running_var.numpy().copy()
    (first,) = tg.grad((y * y * y).sum(), x, create_graph=True)
    tg.grad((first * first).sum(), x)
    assert_array_equal(running_mean.numpy(), once[0])
    assert_array_equal(running_var.numpy(), once[1])


def test_an_evaluation_keeps_the_gradient_of_the_statistics_that_it_used() -> None:
    running_mean, running_var = tg.tensor(MEAN), tg.tensor(VAR)
    weight = tg.tensor(WEIGHT, requires_grad=True)
    x = normal(5, 3)
    y = tg.batch_norm(tg.tensor(x), running_mean, running_var, weight)
    tg.batch_norm(tg.tensor(x), running_mean, running_var, training=True)
    y.sum().backward()
    assert weight.grad is not None
    expected = ((x - MEAN) / np.sqrt(VAR + 1e-5)).sum(0)
    assert_allclose(weight.grad.numpy(), expected, rtol=1e-10)


# ----- dropout draws ------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.2, 0.5, 0.9])
def test_dropout_drops_a_share_and_scales_the_rest(p: float) -> None:
    x = tg.tensor(positive(100, 100), requires_grad=True)
    y = tg.dropout(x, p, generator=np.random.default_rng(0))
    kept = y.detach().numpy() != 0
    spread = math.sqrt(p * (1 - p) / kept.size)
    assert abs((1 - kept.mean()) - p) < 5 * spread
    assert_allclose(y.detach().numpy(), x.detach().numpy() * kept / (1 - p), rtol=1e-6)
    y.backward(tg.ones(100, 100))
    assert x.grad is not None
    assert_allclose(x.grad.numpy(), kept / (1 - p), rtol=1e-6)


def test_dropout_of_everything_is_zero_and_so_is_its_gradient() -> None:
    x = tg.tensor(normal(4, 5), requires_grad=True)
    y = tg.dropout(x, p=1.0)
    y.sum().backward()
    assert_array_equal(y.detach().numpy(), np.zeros((4, 5)))
    assert x.grad is not None
    assert_array_equal(x.grad.numpy(), np.zeros((4, 5)))


def test_dropout_has_the_gradients_that_small_steps_find() -> None:
    check_gradients(
        lambda x: tg.dropout(x, 0.4, generator=np.random.default_rng(3)), [normal(4, 5)]
    )


def test_dropout_is_half_in_training_and_draws_from_the_seed() -> None:
    x = tg.ones(1000)
    draws = []
    for seed in (0, 0, 1):
        tg.manual_seed(seed)
        draws.append(tg.dropout(x).numpy())
    assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()
    assert set(draws[0]) == {0.0, 2.0}
    assert 400 < (draws[0] == 0).sum() < 600


# ----- blocks and threads -------------------------------------------------------------------------

BLOCKED = [
    "batch_norm",
    "conv2d",
    "conv_transpose2d",
    "conv_weight",
    "max_pool2d",
    "relu",
    "window_gather",
    "window_scatter",
    "window_spread",
    "window_sum",
]


@pytest.mark.parametrize("block_bytes", [30, 300, 2000])
@pytest.mark.parametrize("name", BLOCKED)
def test_small_arrays_in_blocks(
    name: str, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks this small hold a few rows of an image, or a few images, and a last one is shorter."""
    monkeypatch.setattr(windows, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(cupy_backend, "COLUMN_BYTES", block_bytes)
    row = ROWS[name]
    check_op(row.op, row.cases, row.oracle, order=1)


@given(count=st.integers(1, 7), images=st.integers(1, 7), groups=st.integers(1, 2))
def test_convolutions_of_some_images_at_a_time(count: int, images: int, groups: int) -> None:
    """Whatever their number, and also where the last time there are fewer of them."""
    x, w = normal(count, 2 * groups, 5, 4), normal(3 * groups, 2, 3, 2, seed=1)
    g = normal(count, 3 * groups, 3, 3, seed=2)
    leaves = tensors((x, w))
    with pytest.MonkeyPatch.context() as patch:
        for module, limit in ((windows, "BLOCK_BYTES"), (cupy_backend, "COLUMN_BYTES")):
            patch.setattr(module, limit, images * 2 * groups * (3 * 2) * (3 * 3) * 8)
        y = tg.conv2d(*leaves, groups=groups)
        gradients = tg.grad(y, leaves, tg.tensor(g))
        # The gradient of x with stride 1 is a convolution, and this one is none.
        spread = tg.conv_transpose2d(tg.tensor(g), tg.tensor(w), stride=2, groups=groups)
    expected = (
        oracles.conv2d(x, w, groups=groups),
        oracles.conv_transpose2d(g, w, groups=groups),
        oracles.conv2d_weight(x, g, (3, 2), groups=groups),
        oracles.conv_transpose2d(g, w, (2, 2), groups=groups),
    )
    for found, right in zip((y.detach(), *gradients, spread), expected, strict=True):
        assert_allclose(found.numpy(), right, rtol=0, atol=1e-12)


def conv_by_views(
    x: Array, w: Array, b: Array | None = None, stride: int = 1, padding: int = 0
) -> Array:
    """All windows as one view, contracted with the kernels at once."""
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    views = sliding_window_view(padded, w.shape[2:], (2, 3))[:, :, ::stride, ::stride]
    y = np.tensordot(views, w, ((1, 4, 5), (1, 2, 3)))  # (N, H', W', O)
    return shifted(y.transpose(0, 3, 1, 2), b)


def in_groups(x: Array, w: Array, groups: int, **geometry: int) -> Array:
    """Each group by itself."""
    parts = zip(np.split(x, groups, 1), np.split(w, groups), strict=True)
    return np.concatenate([conv_by_views(*part, **geometry) for part in parts], 1)


# Column buffers of float64 against BLOCK_BYTES: an image of the first takes 2.4 times as much, so
# it goes in bands; 10 of the second fit, and a part has 11 or 12; the third needs none.
LARGE = {
    "bands of an image": ((3, 16, 41, 40), (5, 16, 3, 3), {"padding": 1}),
    "several images": ((90, 8, 14, 13), (6, 8, 3, 3), {}),
    "pixels": ((10, 40, 33, 32), (7, 40, 1, 1), {}),
    "strides": ((9, 8, 40, 41), (5, 8, 5, 3), {"stride": 2, "padding": 1}),
    "groups": ((7, 12, 40, 40), (8, 6, 3, 3), {"groups": 2, "padding": 1}),
    "depthwise": ((7, 24, 40, 40), (24, 1, 3, 3), {"groups": 24, "stride": 3}),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LARGE)
def test_convolutions_larger_than_a_block(name: str, dtype: str) -> None:
    image_shape, kernel_shape, geometry = LARGE[name]
    x, w = normal(*image_shape).astype(dtype), normal(*kernel_shape, seed=1).astype(dtype)
    y = tg.conv2d(tg.tensor(x), tg.tensor(w), **geometry)
    expected = in_groups(x.astype(float), w.astype(float), **{"groups": 1, **geometry})
    few = 32 * float(np.finfo(dtype).eps)
    assert y.dtype == dtype
    assert_allclose(y.numpy(), expected, rtol=0, atol=few * np.abs(expected).max())


@pytest.mark.parametrize("name", LARGE)
def test_gradients_of_convolutions_larger_than_a_block(name: str) -> None:
    """<g, conv(u, w)> = <dx, u> for every u, and <g, conv(x, v)> = <dw, v> for every v."""
    image_shape, kernel_shape, geometry = LARGE[name]
    x = tg.tensor(normal(*image_shape), requires_grad=True)
    w = tg.tensor(normal(*kernel_shape, seed=1), requires_grad=True)
    y = tg.conv2d(x, w, **geometry)
    g = normal(*y.shape, seed=2)
    y.backward(tg.tensor(g))
    assert x.grad is not None
    assert w.grad is not None
    for seed in range(3, 6):
        u, v = normal(*image_shape, seed=seed), normal(*kernel_shape, seed=seed)
        how = {"groups": 1, **geometry}
        for gradient, direction, moved in (
            (x.grad, u, in_groups(u, w.detach().numpy(), **how)),
            (w.grad, v, in_groups(x.detach().numpy(), v, **how)),
        ):
            terms = moved * g
            assert_allclose(
                (gradient.numpy() * direction).sum(),
                terms.sum(),
                rtol=0,
                atol=1e-12 * np.abs(terms).sum(),
            )


# Split by rows, by columns, by the leading axis, and not at all.
@pytest.mark.parametrize(
    "shapes",
    [
        ((901, 50), (50, 99)),
        ((99, 50), (50, 901)),
        ((14, 90, 50), (50, 80)),
        ((14, 90, 50), (1, 50, 80)),
        ((301, 50), (50, 99)),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_matrix_products_over_threads(shapes: Any, dtype: str) -> None:
    a, b = (normal(*shape, seed=len(shape)).astype(dtype) for shape in shapes)
    expected = np.einsum("...ij,...jk->...ik", a.astype(float), b.astype(float))
    few = 32 * float(np.finfo(dtype).eps)
    y = tg.tensor(a) @ tg.tensor(b)
    assert y.dtype == dtype
    assert_allclose(y.numpy(), expected, rtol=0, atol=few * np.abs(expected).max())


def doubled(y: Array) -> Array:
    """Each pixel as a square of four."""
    return y.repeat(2, axis=2).repeat(2, axis=3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pooling_larger_than_a_block(dtype: str) -> None:
    shape = (9, 16, 62, 64)
    x = np.random.default_rng(0).permutation(math.prod(shape)).reshape(shape).astype(dtype)
    squares = x.reshape(9, 16, 31, 2, 32, 2)
    g = normal(9, 16, 31, 32).astype(dtype)

    pixels = tg.tensor(x, requires_grad=True)
    largest = tg.max_pool2d(pixels, 2)
    assert_array_equal(largest.detach().numpy(), squares.max((3, 5)))
    largest.backward(tg.tensor(g))
    assert pixels.grad is not None
    won = x == doubled(squares.max((3, 5)))
    assert_array_equal(pixels.grad.numpy(), np.where(won, doubled(g), 0))

    pixels = tg.tensor(x, requires_grad=True)
    means = tg.avg_pool2d(pixels, 2)
    assert_allclose(means.detach().numpy(), squares.mean((3, 5)), rtol=1e-6)
    means.backward(tg.tensor(g))
    assert pixels.grad is not None
    assert_array_equal(pixels.grad.numpy(), doubled(g) / 4)


def test_normalization_larger_than_a_block() -> None:
    inputs = 3 * normal(11, 24, 31, 30) + 5, normal(24, seed=1), normal(24, seed=2)

    def ours(x: Any, w: Any, b: Any) -> Tensor:
        return tg.batch_norm(x, weight=w, bias=b, training=True)

    y = ours(*tensors(inputs))
    assert_allclose(y.detach().numpy(), normalized(*inputs), rtol=1e-9, atol=1e-11)
    check_gradients(ours, inputs, order=1)


def test_relu_larger_than_a_block() -> None:
    x, g = normal(11, 24, 31, 30), normal(11, 24, 31, 30, seed=1)
    leaf = tg.tensor(x, requires_grad=True)
    y = tg.relu(leaf)
    y.backward(tg.tensor(g))
    assert leaf.grad is not None
    assert_array_equal(y.detach().numpy(), np.maximum(x, 0))
    assert_array_equal(leaf.grad.numpy(), np.where(x > 0, g, 0))


def test_a_nan_in_a_window_gets_the_gradient() -> None:
    x = tg.tensor([[[[1.0, 5.0], [np.nan, 7.0]]]], requires_grad=True)
    y = tg.max_pool2d(x, 2)
    assert np.isnan(y.item())
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[[[0, 0], [1, 0]]]]


def test_half_of_the_running_statistics_is_refused() -> None:
    with pytest.raises(ValueError, match="both"):
        tg.batch_norm(tg.ones(4, 2), tg.zeros(2), None, training=True)
