"""Axes joined and taken apart."""

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn.module import Module
from tinygrad_cv.ops.shape import flatten


@public(NN)
class Flatten(Module):
    """The axes from start_dim to end_dim joined: (N, C, H, W) -> (N, C·H·W)."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        return flatten(input, self.start_dim, self.end_dim)
