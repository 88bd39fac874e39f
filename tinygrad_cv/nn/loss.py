"""Losses: how far a result is from the target."""

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn.module import Module
from tinygrad_cv.ops.loss import check_reduction


@public(NN)
class CrossEntropyLoss(Module):
    """The softmax loss; see `cross_entropy`."""

    def __init__(self, reduction: str = "mean") -> None:
        check_reduction(reduction)
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(input, target, reduction=self.reduction)


@public(NN)
class MSELoss(Module):
    """The squared error; see `mse_loss`."""

    def __init__(self, reduction: str = "mean") -> None:
        check_reduction(reduction)
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(input, target, reduction=self.reduction)
