"""The ops, one file a family. Importing this package registers them all.

A function whose first parameter is a tensor is attached to `Tensor` as a method of that name.
"""

from tinygrad_cv.ops import (
    activation,
    conv,
    elementwise,
    index,
    linalg,
    loss,
    noise,
    norm,
    pool,
    reduce,
    shape,
)
from tinygrad_cv.tensor import Tensor

__all__ = ["conv", "index", "loss", "noise", "norm", "pool"]

_METHODS = {
    activation: "log_softmax relu sigmoid softmax tanh",
    elementwise: "abs clamp cos exp log maximum minimum neg pow reciprocal sign sin sqrt square",
    linalg: "matmul",
    reduce: "all amax amin any argmax argmin logsumexp max mean min sum var",
    shape: "broadcast_to expand flatten permute reshape squeeze transpose unsqueeze",
}

for _family, _names in _METHODS.items():
    for _name in _names.split():
        setattr(Tensor, _name, getattr(_family, _name))

Tensor.view = Tensor.reshape  # type: ignore[attr-defined]
