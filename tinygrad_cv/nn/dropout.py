"""Dropout: noise that is there while training."""

from typing import Any

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn.module import Module
from tinygrad_cv.ops.noise import check_probability, vanilla_dropout


class _DropoutNd(Module):
    """What is dropped with probability p while training, drawn from `generator`."""

    def __init__(self, p: float = 0.5, inplace: bool = False, *, generator: Any = None) -> None:
        check_probability(type(self).__name__, p)
        self.p, self.inplace, self.generator = p, inplace, generator

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


@public(NN)
class Dropout(_DropoutNd):
    """Each element dropped with probability p while training; see `dropout`.

    >>> Dropout(0.5).eval()(Tensor([1.0, 2.0]))
    tensor([1., 2.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace, generator=self.generator)


@public(NN)
class Dropout1d(_DropoutNd):
    """Whole channels of (N, C, L) or (C, L) dropped while training; see `dropout1d`.

    >>> Dropout1d(1.0)(Tensor([[1.0, 2.0]]))
    tensor([[0., 0.]])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout1d(input, self.p, self.training, self.inplace, generator=self.generator)


@public(NN)
class Dropout2d(_DropoutNd):
    """Whole channels of (N, C, H, W) or (N, C, L) dropped while training; see `dropout2d`.

    >>> Dropout2d(1.0)(Tensor([[[[1.0, 2.0]]]]))
    tensor([[[[0., 0.]]]])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout2d(input, self.p, self.training, self.inplace, generator=self.generator)


@public(NN)
class Dropout3d(_DropoutNd):
    """Whole channels of (N, C, D, H, W) or (C, D, H, W) dropped; see `dropout3d`.

    >>> Dropout3d(1.0)(Tensor([[[[1.0, 2.0]]]]))
    tensor([[[[0., 0.]]]])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout3d(input, self.p, self.training, self.inplace, generator=self.generator)


@public(NN)
class AlphaDropout(_DropoutNd):
    """Dropout that keeps the mean 0 and the variance 1 behind `SELU`; see `alpha_dropout`.

    >>> AlphaDropout(0.5).eval()(Tensor([1.0, 2.0]))
    tensor([1., 2.])
    """

    def forward(self, input: Tensor) -> Tensor:
        options = self.p, self.training, self.inplace
        return F.alpha_dropout(input, *options, generator=self.generator)


@public(NN)
class FeatureAlphaDropout(_DropoutNd):
    """AlphaDropout of whole channels (N, C, *S); see `feature_alpha_dropout`.

    >>> FeatureAlphaDropout(0.5).eval()(Tensor([[[1.0, 2.0]]]))
    tensor([[[1., 2.]]])
    """

    def forward(self, input: Tensor) -> Tensor:
        options = self.p, self.training, self.inplace
        return F.feature_alpha_dropout(input, *options, generator=self.generator)


@public(NN)
class VanillaDropout(Module):
    """Dropout as it was published: dropped in training, scaled by 1 - p in evaluation.

    `p` is the probability of dropping; see `vanilla_dropout` (Hinton et al., 2012).

    >>> VanillaDropout(0.2).eval()(Tensor([1.0, 2.0]))
    tensor([0.8, 1.6])
    """

    def __init__(self, p: float = 0.5, *, generator: Any = None) -> None:
        check_probability("VanillaDropout", p)
        self.p, self.generator = p, generator

    def forward(self, input: Tensor) -> Tensor:
        return vanilla_dropout(input, self.p, self.training, generator=self.generator)

    def extra_repr(self) -> str:
        return f"p={self.p}"
