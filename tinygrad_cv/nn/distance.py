"""How far vectors are from one another, and how alike."""

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn.module import Module


@public(NN)
class PairwiseDistance(Module):
    """‖x1 - x2 + eps‖ₚ along the last axis: (..., D) and (..., D) -> (...).

    See `pairwise_distance`.

    >>> PairwiseDistance()(Tensor([[3.0, 0.0]]), Tensor([[0.0, 4.0]]))
    tensor([5.])
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


@public(NN)
class CosineSimilarity(Module):
    """x1 · x2 / (‖x1‖ ‖x2‖) along `dim`, which is gone from the result; see `cosine_similarity`.

    >>> CosineSimilarity()(Tensor([[3.0, 4.0]]), Tensor([[4.0, 3.0]]))
    tensor([0.96])
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        self.dim, self.eps = dim, eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)
