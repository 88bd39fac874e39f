"""Linear layers, and the arrangement of axes that goes before them."""

import math
from typing import Any

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.creation import shape_from, zeros
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn import init
from tinygrad_cv.nn.module import Module
from tinygrad_cv.nn.parameter import Parameter


def uniform(shape: tuple[int, ...], fan_in: int, generator: Any) -> Parameter:
    """New weights, uniform on ±1/√fan_in: those of PyTorch's layers."""
    bound = 1 / math.sqrt(max(1, fan_in))
    parameter = Parameter(zeros(shape))
    init.uniform_(parameter, -bound, bound, generator)
    return parameter


@public(NN)
class Linear(Module):
    """y = x wᵀ + b: (..., in_features) -> (..., out_features); the weight is (out, in).

    >>> Linear(4, 3)(ones(2, 4)).shape
    (2, 3)
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, generator: Any = None
    ) -> None:
        in_features, out_features = shape_from((in_features, out_features))
        self.in_features, self.out_features = in_features, out_features
        self.weight = uniform((out_features, in_features), in_features, generator)
        self.bias = uniform((out_features,), in_features, generator) if bias else None

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )
