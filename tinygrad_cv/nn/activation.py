"""Activations: functions of single elements, as layers."""

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn.module import Module


@public(NN)
class ReLU(Module):
    """max(x, 0)"""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input)


@public(NN)
class LeakyReLU(Module):
    """x where x > 0, else negative_slope · x."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


@public(NN)
class Sigmoid(Module):
    """1 / (1 + e⁻ˣ)"""

    def forward(self, input: Tensor) -> Tensor:
        return F.sigmoid(input)


@public(NN)
class Tanh(Module):
    """tanh x"""

    def forward(self, input: Tensor) -> Tensor:
        return F.tanh(input)
