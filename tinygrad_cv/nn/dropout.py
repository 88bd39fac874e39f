"""Dropout: noise that is there while training."""

from typing import Any

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn.module import Module
from tinygrad_cv.ops.noise import check_probability


@public(NN)
class Dropout(Module):
    """Each element dropped with probability p while training; see `dropout`."""

    def __init__(self, p: float = 0.5, *, generator: Any = None) -> None:
        check_probability("Dropout", p)
        self.p, self.generator = p, generator

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, generator=self.generator)

    def extra_repr(self) -> str:
        return f"p={self.p}"
