"""Noise that regularizes."""

from typing import Any

from tinygrad_cv.backend import default_generator
from tinygrad_cv.op import Op
from tinygrad_cv.tensor import F as T
from tinygrad_cv.tensor import Tensor


class Dropout(Op):
    """x · mask, where the mask is 0 with probability p and 1 / (1 - p) otherwise."""

    p: float
    generator: Any
    kept = ("mask",)
    hidden = ("generator",)

    def forward(self, xp, x):
        keep = xp.uniform(x.shape, "float32", self.generator) >= self.p
        self.mask = keep * x.dtype.type(1 / (1 - self.p) if self.p < 1 else 0)
        return x * self.mask

    def grad_x(self, F, g, mask):
        return g * mask


def dropout(
    input: Tensor, p: float = 0.5, training: bool = True, *, generator: Any = None
) -> Tensor:
    """Each element dropped with probability p, the others scaled by 1/(1 - p) (inverted dropout).

    The scaling keeps the expected value, so nothing is left to do at test time (Srivastava et
    al., 2014). The draw comes from `generator`, or from the one that `manual_seed` seeds.

    >>> dropout(Tensor([1.0, 2.0]), p=0.5, training=False)
    tensor([1., 2.])
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p is a probability, between 0 and 1; got {p}.")
    if not training or p == 0:
        return input
    return T.dropout(input, p=p, generator=generator or default_generator())
