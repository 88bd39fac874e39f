"""The ops, one file a family. Importing this package registers them all."""

from tinygrad_cv.ops import (
    activation,
    attention,
    conv,
    elementwise,
    image,
    index,
    linalg,
    loss,
    noise,
    norm,
    pool,
    reduce,
    shape,
    sort,
)

__all__ = [
    "activation",
    "attention",
    "conv",
    "elementwise",
    "image",
    "index",
    "linalg",
    "loss",
    "noise",
    "norm",
    "pool",
    "reduce",
    "shape",
    "sort",
]
