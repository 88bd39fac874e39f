"""Losses: how far a result is from the target. The formulas are those of the functions."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.creation import arange
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn.distance import PairwiseDistance
from tinygrad_cv.nn.linear import Linear
from tinygrad_cv.nn.module import Module
from tinygrad_cv.ops.loss import (
    check_reduction,
    check_smoothing,
    chosen,
    euclidean_loss,
    one_vs_all_logistic_loss,
    svm_loss,
)


class _Loss(Module):
    """What the losses share: `reduction`, and PyTorch's former names for it."""

    also: ClassVar[tuple[str, ...]] = ()
    """The reductions beside "mean", "sum" and "none"."""

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        self.reduction = chosen(reduction, size_average, reduce, frames=3)
        if self.reduction not in self.also:
            check_reduction(self.reduction)


class _WeightedLoss(_Loss):
    """A loss with a weight per class (or per element), which is a buffer."""

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


# ----- classification ----------------------------------------------------------------------------


@public(NN)
class CrossEntropyLoss(_WeightedLoss):
    """-log softmax(input)[target], the softmax loss; see `cross_entropy`.

    Scores (N, C, ...) with class labels (N, ...) or with the probability of each class.

    >>> CrossEntropyLoss()(Tensor([[0.0, 0.0]]), Tensor([1]).long())
    tensor(0.6931)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int | None = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


@public(NN, also="NLLLoss2d")
class NLLLoss(_WeightedLoss):
    """-input[target], for logarithms of probabilities (N, C, ...); see `nll_loss`.

    >>> NLLLoss()(Tensor([[-0.5, -1.0]]), Tensor([1]).long())
    tensor(1.)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int | None = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction
        )


@public(NN)
@dataclass(frozen=True)
class LinearCrossEntropyOptions:
    """How PyTorch's `LinearCrossEntropyLoss` is to save memory. Taken, and without effect here.

    >>> LinearCrossEntropyOptions(batch_chunk_size=64).batch_chunk_size
    64
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: Any = None


@public(NN)
class LinearCrossEntropyLoss(_WeightedLoss):
    """The `cross_entropy` of the scores of a linear layer: the last layer and its loss in one.

    input (N, in_features) gets scores (N, num_classes, *out_features). `options` has no effect.

    >>> from tinygrad_cv import ones
    >>> LinearCrossEntropyLoss(4, 3)(ones(2, 4), Tensor([0, 2]).long()).shape
    ()
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: Any = None,
        dtype: Any = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: LinearCrossEntropyOptions | None = None,
        generator: Any = None,
    ) -> None:
        super().__init__(weight, reduction=reduction)
        if weight is not None and weight.shape != (num_classes,):
            raise ValueError(f"weight is ({num_classes},), one a class; got {weight.shape}.")
        check_smoothing("LinearCrossEntropyLoss", label_smoothing)
        self.num_classes, self.out_features = num_classes, tuple(out_features)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing
        self.options = options
        scores = num_classes * math.prod(self.out_features)
        self.linear = Linear(in_features, scores, bias, device, dtype, generator=generator)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        shape = (*input.shape[:-1], self.num_classes, *self.out_features)
        return F.cross_entropy(
            self.linear(input).reshape(shape),
            target,
            self.weight,
            ignore_index=-100 if self.ignore_index is None else self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )

    def extra_repr(self) -> str:
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, "
            f"out_features={self.out_features}, bias={self.linear.bias is not None}, "
            f"reduction={self.reduction}, ignore_index={self.ignore_index}, "
            f"label_smoothing={self.label_smoothing}, options={self.options}"
        )


@public(NN)
class BCELoss(_WeightedLoss):
    """-target · log input - (1 - target) · log(1 - input), for probabilities.

    See `binary_cross_entropy`.

    >>> BCELoss()(Tensor([0.5]), Tensor([1.0]))
    tensor(0.6931)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


@public(NN)
class BCEWithLogitsLoss(_WeightedLoss):
    """The `BCELoss` of σ(input), for scores; see `binary_cross_entropy_with_logits`.

    `pos_weight` multiplies the share of the positive class, and is a buffer, too.

    >>> BCEWithLogitsLoss()(Tensor([0.0]), Tensor([1.0]))
    tensor(0.6931)
    """

    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


@public(NN)
class SoftMarginLoss(_Loss):
    """log(1 + e^(-target · input)), for scores and targets 1 or -1; see `soft_margin_loss`.

    >>> SoftMarginLoss()(Tensor([0.0]), Tensor([-1.0]))
    tensor(0.6931)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.soft_margin_loss(input, target, reduction=self.reduction)


@public(NN)
class MultiLabelSoftMarginLoss(_WeightedLoss):
    """The `BCEWithLogitsLoss` of each sample's C classes, averaged over them.

    See `multilabel_soft_margin_loss`.

    >>> MultiLabelSoftMarginLoss()(Tensor([[0.0, 0.0]]), Tensor([[1.0, 0.0]]))
    tensor(0.6931)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)


@public(NN)
class MultiLabelMarginLoss(_Loss):
    """Σ_{y in Y} Σ_{c not in Y} max(0, 1 - s_y + s_c) / C; see `multilabel_margin_loss`.

    >>> MultiLabelMarginLoss()(Tensor([[0.1, 0.2, 0.4, 0.8]]), Tensor([[3, 0, -1, 1]]).long())
    tensor(0.85)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


@public(NN)
class MultiMarginLoss(_WeightedLoss):
    """weight_y · Σ_{c≠y} max(0, margin - s_y + s_c)ᵖ / C; see `multi_margin_loss`.

    >>> MultiMarginLoss()(Tensor([[0.1, 0.2, 0.4, 0.8]]), Tensor([3]).long())
    tensor(0.325)
    """

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        if p not in (1, 2):
            raise ValueError(f"MultiMarginLoss: p is 1 or 2; got {p}.")
        if weight is not None and weight.ndim != 1:
            raise ValueError(f"MultiMarginLoss: weight is (C,); got {weight.shape}.")
        self.p, self.margin = p, margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multi_margin_loss(
            input, target, self.p, self.margin, self.weight, reduction=self.reduction
        )


@public(NN)
class OneVsAllLoss(_Loss):
    """The logistic losses of C questions "is it class c?"; see `one_vs_all_logistic_loss`.

    >>> OneVsAllLoss()(Tensor([[0.0, 0.0]]), Tensor([1]).long())
    tensor(1.3863)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return one_vs_all_logistic_loss(input, target, reduction=self.reduction)


@public(NN)
class SVMLoss(_Loss):
    """Σ_{c≠y} max(0, s_c - s_y + delta), the hinge loss of a multi-class SVM; see `svm_loss`.

    >>> SVMLoss()(Tensor([[3.2, 5.1, -1.7]]), Tensor([0]).long())
    tensor(2.9)
    """

    def __init__(
        self,
        delta: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return svm_loss(input, target, self.delta, reduction=self.reduction)


# ----- regression --------------------------------------------------------------------------------


@public(NN)
class MSELoss(_Loss):
    """(input - target)²; see `mse_loss`.

    >>> MSELoss()(Tensor([1.0, 2.0]), Tensor([0.0, 0.0]))
    tensor(2.5)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(input, target, reduction=self.reduction)


@public(NN)
class EuclideanLoss(_Loss):
    """½ ‖input_i - target_i‖² of each sample i of (N, ...); see `euclidean_loss`.

    >>> EuclideanLoss()(Tensor([[1.0, 2.0], [0.0, 0.0]]), Tensor([[0.0, 0.0], [1.0, 0.0]]))
    tensor(1.5)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return euclidean_loss(input, target, reduction=self.reduction)


@public(NN)
class L1Loss(_Loss):
    """|input - target|; see `l1_loss`.

    >>> L1Loss()(Tensor([1.0, -2.0]), Tensor([0.0, 0.0]))
    tensor(1.5)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.l1_loss(input, target, reduction=self.reduction)


@public(NN)
class BinnedCrossEntropyLoss(_Loss):
    """Regression as classification: the values are sorted into bins, with a softmax over these.

    The range from `low` to `high` is cut into `bins` of one width, and the loss is `cross_entropy`
    of scores (N, bins, ...) with the bin of each target (N, ...); values outside of the range
    belong to the bin at its end. It is what the lectures advise where the Euclidean loss is
    unstable ("discretizing into category bins and using softmax"): an outlier costs no more than
    any other mistake, and the scores tell how sure the net is. `values` makes numbers of scores
    again.

    Raises ValueError unless low < high, both finite, and there are 2 bins or more.

    >>> loss = BinnedCrossEntropyLoss(0.0, 10.0, bins=5)
    >>> loss.classes(Tensor([0.0, 3.0, 10.0, 99.0]))
    tensor([0, 1, 4, 4])
    >>> scores = Tensor([[0.0, 9.0, 9.0, 0.0, 0.0]])
    >>> loss(scores, Tensor([3.0])), loss.values(scores)
    (tensor(0.6933), tensor([4.0003]))
    """

    def __init__(self, low: float, high: float, bins: int, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        if not -math.inf < low < high < math.inf:
            raise ValueError(f"the range is from low to a greater high; got {low} and {high}.")
        if not isinstance(bins, int | host.integer) or isinstance(bins, bool) or bins < 2:
            raise ValueError(f"bins is how many parts the range has, 2 or more; got {bins!r}.")
        self.low, self.high, self.bins = low, high, int(bins)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        if input.ndim < 2 or input.shape[1] != self.bins:
            raise ValueError(
                f"BinnedCrossEntropyLoss takes scores (N, {self.bins}, ...); got {input.shape}."
            )
        return F.cross_entropy(input, self.classes(target), reduction=self.reduction)

    def classes(self, target: Tensor) -> Tensor:
        """The bin of each value, int64: the labels of the classification."""
        target = target.detach()
        if target.dtype.itemsize < 4:  # halves do not tell many bins apart
            target = target.float()
        place = (target - self.low) * (self.bins / (self.high - self.low))
        return place.floor().clamp(0, self.bins - 1).long()

    def values(self, input: Tensor) -> Tensor:
        """Σ_b softmax(s)_b · (the middle of bin b), of scores (N, bins, ...): numbers (N, ...)."""
        width = (self.high - self.low) / self.bins
        steps = arange(self.bins, dtype=input.dtype, device=input.device)
        middles = (self.low + width * (steps + 0.5)).reshape(-1, *[1] * (input.ndim - 2))
        return (F.softmax(input, 1) * middles).sum(1)

    def extra_repr(self) -> str:
        return f"{self.low}, {self.high}, bins={self.bins}"


@public(NN)
class SmoothL1Loss(_Loss):
    """½ d² / beta where |d| < beta, else |d| - ½ beta, of d = input - target.

    See `smooth_l1_loss`.

    >>> SmoothL1Loss(reduction="none")(Tensor([1.0, 3.0]), Tensor([0.0, 0.0]))
    tensor([0.5, 2.5])
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


@public(NN)
class HuberLoss(_Loss):
    """½ d² where |d| <= delta, else delta · (|d| - ½ delta); see `huber_loss`.

    >>> HuberLoss(delta=2.0)(Tensor([3.0]), Tensor([0.0]))
    tensor(4.)
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.huber_loss(input, target, self.reduction, self.delta)


@public(NN)
class PoissonNLLLoss(_Loss):
    """λ - target · log λ, where input is log λ, or λ; see `poisson_nll_loss`.

    >>> PoissonNLLLoss()(Tensor([0.0]), Tensor([2.0]))
    tensor(1.)
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        return F.poisson_nll_loss(
            log_input,
            target,
            self.log_input,
            self.full,
            eps=self.eps,
            reduction=self.reduction,
        )


@public(NN)
class GaussianNLLLoss(_Loss):
    """½ (log var + (input - target)² / var), var being the third input; see `gaussian_nll_loss`.

    >>> GaussianNLLLoss()(Tensor([1.0]), Tensor([3.0]), Tensor([1.0]))
    tensor(2.)
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full, self.eps = full, eps

    def forward(self, input: Tensor, target: Tensor, var: Tensor) -> Tensor:
        return F.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


@public(NN)
class KLDivLoss(_Loss):
    """target · (log target - input), input being logarithms of probabilities; see `kl_div`.

    The reduction "batchmean" divides the sum by the number of samples.

    >>> KLDivLoss(reduction="batchmean")(Tensor([[-0.6931, -0.6931]]), Tensor([[0.0, 1.0]]))
    tensor(0.6931)
    """

    also = ("batchmean",)

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


# ----- distances ---------------------------------------------------------------------------------


@public(NN)
class HingeEmbeddingLoss(_Loss):
    """input where target is 1, max(0, margin - input) where it is -1; see `hinge_embedding_loss`.

    >>> HingeEmbeddingLoss(reduction="none")(Tensor([0.3, 0.3]), Tensor([1.0, -1.0]))
    tensor([0.3, 0.7])
    """

    def __init__(
        self,
        margin: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)


@public(NN)
class MarginRankingLoss(_Loss):
    """max(0, margin - target · (input1 - input2)); see `margin_ranking_loss`.

    >>> MarginRankingLoss()(Tensor([1.0]), Tensor([3.0]), Tensor([1.0]))
    tensor(2.)
    """

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return F.margin_ranking_loss(input1, input2, target, self.margin, reduction=self.reduction)


@public(NN)
class CosineEmbeddingLoss(_Loss):
    """1 - cos where target is 1, max(0, cos - margin) where it is -1; see `cosine_embedding_loss`.

    >>> CosineEmbeddingLoss()(Tensor([[1.0, 0.0]]), Tensor([[0.0, 1.0]]), Tensor([1.0]))
    tensor(1.)
    """

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return F.cosine_embedding_loss(
            input1, input2, target, self.margin, reduction=self.reduction
        )


@public(NN)
class TripletMarginLoss(_Loss):
    """max(0, d(anchor, positive) - d(anchor, negative) + margin); see `triplet_margin_loss`.

    >>> loss = TripletMarginLoss()
    >>> loss(Tensor([[0.0, 0.0]]), Tensor([[3.0, 0.0]]), Tensor([[0.0, 1.0]]))
    tensor(3.)
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        if not margin >= 0:
            raise ValueError(f"TripletMarginLoss: the margin is 0 or more; got {margin}.")
        self.margin, self.p, self.eps, self.swap = margin, p, eps, swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_loss(
            anchor,
            positive,
            negative,
            self.margin,
            self.p,
            self.eps,
            self.swap,
            reduction=self.reduction,
        )


@public(NN)
class TripletMarginWithDistanceLoss(_Loss):
    """The `TripletMarginLoss` with any distance; see `triplet_margin_with_distance_loss`.

    >>> loss = TripletMarginWithDistanceLoss(distance_function=lambda x, y: (x - y).abs().sum(1))
    >>> loss(Tensor([[0.0]]), Tensor([[3.0]]), Tensor([[1.0]]))
    tensor(3.)
    """

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        if not margin >= 0:
            raise ValueError(
                f"TripletMarginWithDistanceLoss: the margin is 0 or more; got {margin}."
            )
        self.distance_function = distance_function or PairwiseDistance()
        self.margin, self.swap = margin, swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )


# ----- sequences ---------------------------------------------------------------------------------


@public(NN)
class CTCLoss(_Loss):
    """-log of the probability of the labels, over all alignments with the steps; see `ctc_loss`.

    log_probs (T, N, C), or (T, C), with targets (N, S), or one after the other.

    >>> log_probs = Tensor([[0.5, 0.5], [0.5, 0.5]]).log()
    >>> CTCLoss()(log_probs, Tensor([1]).long(), Tensor([2]).long(), Tensor([1]).long())
    tensor(0.2877)
    """

    def __init__(
        self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False
    ) -> None:
        super().__init__(reduction=reduction)
        self.blank, self.zero_infinity = blank, zero_infinity

    def forward(
        self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any
    ) -> Tensor:
        return F.ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            self.blank,
            self.reduction,
            self.zero_infinity,
        )
