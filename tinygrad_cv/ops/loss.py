"""Losses: how wrong a prediction is, as one number.

A loss takes `reduction`: "none" leaves the loss of each sample, "sum" adds them up, "mean" averages
them (of nothing, to NaN).
"""

import math
import warnings
from collections.abc import Callable
from typing import Any

from tinygrad_cv._apply import F as T
from tinygrad_cv._apply import computed_in
from tinygrad_cv._graph import is_general
from tinygrad_cv._inputs import public
from tinygrad_cv._op import Op, moves, per_input
from tinygrad_cv._public import FUNCTIONAL, TOP
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.ops.elementwise import Elementwise
from tinygrad_cv.ops.index import gather
from tinygrad_cv.ops.norm import normalize
from tinygrad_cv.ops.reduce import axes_of, norm
from tinygrad_cv.ops.shape import unsqueeze


class CrossEntropy(Op):
    """-log softmax(x)[label] for each row: scores x (N, C), labels (N,) -> (N,).

    The local gradient is softmax(x) - one_hot(labels): what was predicted less what was right.
    """

    kept = ("top", "log_total")
    nondifferentiable = ("labels",)

    def forward(self, xp, x, labels):
        self.classes = x.shape[1]
        losses, self.top, self.log_total = xp.cross_entropy(x, labels)
        return losses

    def flops(self, out, x, labels):
        return 5 * math.prod(x)  # as softmax

    def grad_x(self, F, g, x, labels):
        # At the label p - 1 = e^(log p) - 1 keeps its digits, however close to 1 p is.
        right = F.let("right", F.one_hot(labels, num_classes=self.classes, dtype="bool"))
        log_p = F.let("l", F.log_softmax(x, axis=1))
        return F.reshape(g, shape=(-1, 1)) * F.where(right, F.expm1(log_p), F.exp(log_p))

    def fused(self, xp, g, x, labels, top, log_total):
        return (xp.cross_entropy_backward(g, x, labels, top, log_total),)

    def explain(self, error: ValueError, arrays: tuple[Any, ...]) -> ValueError:
        return ValueError(f"{error} Rows of one label are left out with ignore_index=label.")


class Pick(Op):
    """x[n, labels[n]] for each row: x (N, C), labels (N,) -> (N,).

    A label out of range gives NaN: to raise an error, the host would have to wait for a GPU.
    """

    nondifferentiable = ("labels",)
    flops = moves

    def forward(self, xp, x, labels):
        self.classes, self.dtype = x.shape[1], x.dtype
        place = xp.reshape(labels, (-1, 1)).astype("int64")
        exists = (place >= 0) & (place < self.classes)
        picked = xp.take_along_axis(x, xp.where(exists, place, 0), axis=1)
        return xp.where(exists, picked, float("nan"))[:, 0]

    def grad_x(self, F, g, labels):
        return F.reshape(g, shape=(-1, 1)) * F.one_hot(
            labels, num_classes=self.classes, dtype=self.dtype
        )


class EuclideanLoss(Op):
    """½ Σ_j (x_ij - t_ij)² for each row i: x and t (N, D) -> (N,)."""

    real = True
    computes_in = "float64"
    flops = per_input

    def forward(self, xp, x, t):
        return xp.sum(xp.square(x - t), axis=1) / 2

    def grad_x(self, F, g, x, t):
        return F.reshape(g, shape=(-1, 1)) * (x - t)

    def grad_t(self, F, g, x, t):
        return F.reshape(g, shape=(-1, 1)) * (t - x)


class Huber(Elementwise):
    """q · (|x| - q / 2) / scale with q = min(|x|, delta): a parabola that goes on as a line.

    In this form both branches are one, and no square overflows.
    """

    real = True
    delta: float = 1.0
    scale: float = 1.0

    def forward(self, xp, x):
        size = xp.abs(x)
        q = xp.minimum(size, self.delta)
        return q / self.scale * (size - q / 2)

    def local_x(self, F, x):
        return F.clamp(x, min=-self.delta, max=self.delta) / self.scale


class BinaryCrossEntropy(Elementwise):
    """-t · log x - (1 - t) · log(1 - x), where a logarithm is at least -100."""

    real = True

    def forward(self, xp, x, t):
        log_x = _at_least(xp, xp.log, x, x == 0)
        return -t * log_x - (1 - t) * _at_least(xp, xp.log1p, -x, x == 1)

    def grad_x(self, F, g, x, t):
        # Where x is 0 or 1, and only there, the slope of a logarithm has a bound, 1e12.
        no = (1 - t) / F.where(x == 1, 1e-12, 1 - x)
        return g * (no - t / F.where(x == 0, 1e-12, x))

    def grad_t(self, F, g, x):
        return g * (_at_least(F, F.log1p, -x, x == 1) - _at_least(F, F.log, x, x == 0))


def _at_least(F, log, x, pole):
    """log(x), at least -100; it is -100 at the pole, where log(x) is not even evaluated."""
    return F.where(pole, -100.0, F.maximum(log(F.where(pole, 0.5, x)), -100.0))


class BinaryCrossEntropyWithLogits(Elementwise):
    """-t · log σ(x) - (1 - t) · log(1 - σ(x)) = |x| · (t, or 1 - t if x > 0) + log(1 + e^-|x|).

    In this form nothing overflows or cancels and no logarithm of 0 is taken. The local gradient is
    σ(x) - t: what was predicted less what was right. As (1 - t) · σ(x) - t · σ(-x) it keeps its
    digits where the two are close.
    """

    real = True

    def forward(self, xp, x, t):
        wrong = xp.where(x > 0, 1 - t, t)
        size = xp.abs(x)
        return wrong * xp.where(wrong == 0, 0, size) + xp.log1p(xp.exp(-size))

    def local_x(self, F, x, t):
        return (1 - t) * F.sigmoid(x) - t * F.sigmoid(-x)

    def local_t(self, F, x):
        return -x


# ----- what the losses share ---------------------------------------------------------------------


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """The losses of the samples as `reduction` says: "mean", "sum" or "none"."""
    check_reduction(reduction)
    if reduction == "none":
        return loss
    return T.mean(loss) if reduction == "mean" else T.sum(loss)


def check_reduction(reduction: str) -> None:
    """Raise unless it is one that `reduced` knows."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none'; got {reduction!r}.")


def check_smoothing(name: str, share: float) -> None:
    """Raise unless it is a share."""
    if not 0 <= share <= 1:
        raise ValueError(f"{name}: label_smoothing is from 0 to 1; got {share}.")


def chosen(reduction: str, size_average: bool | None, reduce: bool | None, frames: int = 5) -> str:
    """`reduction`, or what PyTorch's former names for it say: not `reduce` is "none", not
    `size_average` is "sum". They are taken with a warning, to whoever is so many frames above.
    """
    if size_average is None and reduce is None:
        return reduction
    reduction = "none" if reduce is False else "sum" if size_average is False else "mean"
    warnings.warn(
        f"size_average and reduce are former names; write reduction={reduction!r}.",
        stacklevel=frames,
    )
    return reduction


def _times(weight: Any, value: Tensor) -> Tensor:
    """`weight` · `value`, and 0 where the weight is 0 even if the value is infinite."""
    return T.mul(weight, T.where(T.logical_and(weight == 0, T.isinf(value)), 0.0, value))


def _check_equal(name: str, *tensors: Tensor) -> None:
    if len({t.shape for t in tensors}) > 1:
        shapes = " and ".join(str(t.shape) for t in tensors)
        raise ValueError(
            f"{name}: the shapes {shapes} must be equal; broadcasting here would compare values "
            "that do not belong together. Reshape one of them, or expand it yourself."
        )


def _paired(name: str, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors, broadcast to one shape if theirs differ; a warning says so.

    PyTorch's losses broadcast, and programs rely on it; many a wrong one does so by mistake.
    """
    if len({t.shape for t in tensors}) == 1:
        return tensors
    shapes = " and ".join(str(t.shape) for t in tensors)
    try:
        shape = host.broadcast_shapes(*(t.shape for t in tensors))
    except ValueError as error:
        raise ValueError(
            f"{name}: the shapes {shapes} must be equal, or at least broadcast."
        ) from error
    warnings.warn(
        f"{name}: the shapes {shapes} are not equal and broadcast to {shape}, which may compare "
        "values that do not belong together. Reshape one of them, or expand it yourself.",
        stacklevel=5,
    )
    return tuple(T.broadcast_to(t, shape=shape) for t in tensors)


def _check_axes(name: str, *tensors: Tensor) -> None:
    if len({t.ndim for t in tensors}) > 1:
        shapes = ", ".join(str(t.shape) for t in tensors)
        raise ValueError(f"{name}: expected tensors with equally many axes; got {shapes}.")


def _beside(value: Any, input: Tensor) -> Tensor:
    """Labels as a tensor on the device of `input`."""
    return value if isinstance(value, Tensor) else Tensor(host.asarray(value), device=input.device)


def _rows(name: str, input: Tensor, target: Any) -> tuple[Tensor, Tensor]:
    """Scores (C,), (N, C) or (N, C, *S) and their labels, as (M, C) and (M,)."""
    target = _beside(target, input)
    if input.ndim == 0 or target.shape != (*input.shape[:1], *input.shape[2:])[input.ndim == 1 :]:
        raise ValueError(
            f"{name}: expected scores (N, C) with labels (N,), or (N, C, *S) with (N, *S), or (C,) "
            f"with (); got {input.shape} and {target.shape}."
        )
    if target.dtype.kind not in "iu":
        raise TypeError(
            f"{name}: labels are class numbers, of an integer dtype; got {target.dtype}. "
            "Convert them: labels.long()."
        )
    if input.ndim == 2:
        return input, target
    if input.ndim == 1:
        return T.reshape(input, shape=(1, *input.shape)), T.reshape(target, shape=(1,))
    # (N, C, *S) -> (N, *S, C) -> (M, C)
    last = T.permute(input, axes=(0, *range(2, input.ndim), 1))
    shape = (math.prod(target.shape), input.shape[1])
    return T.reshape(last, shape=shape), T.reshape(target, shape=shape[:1])


def _kept(
    rows: Tensor, labels: Tensor, ignore_index: int | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Scores and labels that are 0 in the rows to be ignored; which rows are kept (None: all).

    So nothing comes of an ignored row, not even NaN. On the CPU the labels are looked at, and where
    none is to be ignored nothing is done about it.
    """
    lacks = labels._backend.lacks
    if ignore_index is None or (not is_general() and lacks(labels._array, ignore_index)):
        return rows, labels, None
    kept = labels.long() != ignore_index  # -100 is no uint8
    rows = T.where(T.reshape(kept, shape=(-1, 1)), rows, 0.0)
    return rows, T.where(kept, labels, 0), kept


def _check_weight(name: str, weight: Tensor | None, classes: int) -> None:
    if weight is not None and weight.shape != (classes,):
        raise ValueError(
            f"{name}: weight must have the shape ({classes},), one number per class; got "
            f"{weight.shape}."
        )


def _share(weight: Tensor | None, rows: Tensor, labels: Tensor) -> Tensor | None:
    """The weight of the class of each row."""
    if weight is None:
        return None
    return T.pick(T.broadcast_to(weight, shape=rows.shape), labels)


def _numbers(rows: Tensor, share: Tensor | None, infinite: bool = True) -> Tensor:
    """Scores in which a row that weighs nothing is 0 if it holds a NaN: 0 · NaN would be NaN.

    A loss to which `infinite` scores, too, are of no use has these left out likewise.
    """
    if share is None:
        return rows
    wrong = T.isnan(rows) if infinite else T.logical_not(T.isfinite(rows))
    void = T.logical_and(share == 0, T.any(wrong, axis=(1,)))
    return T.where(T.reshape(void, shape=(-1, 1)), 0.0, rows)


def _averaged(
    losses: Tensor,
    share: Tensor | None,
    kept: Tensor | None,
    shape: tuple[int, ...],
    reduction: str,
    smooth: Tensor | None = None,
) -> Tensor:
    """Losses times their weights, reduced; the mean over the rows kept divides by the weights.

    What `smooth` adds to the losses is weighted by itself.
    """
    if share is None and kept is None and smooth is None:
        shaped = losses if losses.shape == shape else T.reshape(losses, shape=shape)
        return reduced(shaped, reduction)
    return _weighted(losses, share, kept, shape, reduction, smooth)


@computed_in("float64")
def _weighted(
    losses: Tensor,
    share: Tensor | None,
    kept: Tensor | None,
    shape: tuple[int, ...],
    reduction: str,
    smooth: Tensor | None,
) -> Tensor:
    if share is not None:
        losses = _times(share, losses)
    if smooth is not None:
        losses = losses + smooth
    if kept is not None:
        losses = T.where(kept, losses, 0.0)
        share = kept if share is None else T.where(kept, share, 0.0)
    if reduction == "mean" and share is not None:
        return T.sum(losses) / T.sum(share)
    return reduced(losses if losses.shape == shape else T.reshape(losses, shape=shape), reduction)


# ----- classification ----------------------------------------------------------------------------


@public(TOP, FUNCTIONAL)
@computed_in("float32")
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int | None = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(input)[target]: the softmax loss, for scores and class labels.

    input (N, C) and target (N,), or input (N, C, *S) and target (N, *S), or input (C,) and target
    (); target holds integers from 0 to C - 1. A float target of the shape of input holds the
    probability of each class, and the loss is -Σ_c target_c · log softmax(input)_c.

    - `weight` (C,) multiplies the loss of each class; for labels the mean divides by the weights.
    - Rows whose label is `ignore_index` count as 0, and not at all in the mean. With None every
      label is a class, which saves a GPU the question.
    - `label_smoothing` ε mixes the target with equal probabilities: (1 - ε) · target + ε / C.

    Raises TypeError where labels are not integers, and ValueError where one is out of range; on a
    GPU, where looking at the labels would stop the queue, the loss of such a row is NaN.

    >>> cross_entropy(Tensor([[0.0, 0.0]]), Tensor([1], dtype="int64"))
    tensor(0.6931)
    """
    reduction = chosen(reduction, size_average, reduce)
    check_smoothing("cross_entropy", label_smoothing)
    target = _beside(target, input)
    if input.ndim and target.shape == input.shape and target.dtype.kind == "f":
        if ignore_index is not None and ignore_index >= 0:
            raise ValueError(
                f"cross_entropy: ignore_index={ignore_index} is a label, and the target holds "
                "probabilities of the shape of the input."
            )
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing)
    rows, labels = _rows("cross_entropy", input, target)
    _check_weight("cross_entropy", weight, rows.shape[1])
    rows, labels, kept = _kept(rows, labels, ignore_index)
    share = _share(weight, rows, labels)
    rows = _numbers(rows, share)
    losses, smooth = T.cross_entropy(rows, labels), None
    if label_smoothing:
        log_p = T.log_softmax(rows, axis=1)
        log_p = log_p if weight is None else _times(weight, log_p)
        losses = (1 - label_smoothing) * losses
        smooth = -label_smoothing / rows.shape[1] * T.sum(log_p, axis=(1,))
    return _averaged(losses, share, kept, target.shape, reduction, smooth)


def _soft_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, label_smoothing: float
) -> Tensor:
    axis = 0 if input.ndim == 1 else 1
    classes = input.shape[axis]
    _check_weight("cross_entropy", weight, classes)
    if label_smoothing:
        target = (1 - label_smoothing) * target + label_smoothing / classes
    log_p = T.log_softmax(input, axis=axis)
    if weight is not None:
        target = target * T.reshape(weight, shape=(classes, *(1,) * (input.ndim - axis - 1)))
    return reduced(-T.sum(_times(target, log_p), axis=(axis,)), reduction)


@public(TOP, FUNCTIONAL)
@computed_in("float32")
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int | None = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-input[target], for logarithms of probabilities and class labels; see `cross_entropy`.

    A label out of range gives NaN.

    >>> nll_loss(Tensor([[-0.5, -1.0]]), Tensor([1], dtype="int64"))
    tensor(1.)
    """
    reduction = chosen(reduction, size_average, reduce)
    target = _beside(target, input)
    rows, labels = _rows("nll_loss", input, target)
    _check_weight("nll_loss", weight, rows.shape[1])
    rows, labels, kept = _kept(rows, labels, ignore_index)
    share = _share(weight, rows, labels)
    losses = -T.pick(_numbers(rows, share), labels)
    return _averaged(losses, share, kept, target.shape, reduction)


@public(TOP)
@computed_in("float32")
def one_vs_all_logistic_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Σ_c of the logistic losses of C questions "is it class c?", for scores and class labels.

    The loss of a sample is -log σ(s_y) - Σ_{c≠y} log(1 - σ(s_c)). input (N, C), target (N,); a
    label out of range gives NaN.

    >>> one_vs_all_logistic_loss(Tensor([[0.0, 0.0]]), Tensor([1], dtype="int64"))
    tensor(1.3863)
    """
    target = _beside(target, input)
    rows, labels = _rows("one_vs_all_logistic_loss", input, target)
    yes = T.binary_cross_entropy_with_logits(T.pick(rows, labels), 1.0)
    no = _others(T.binary_cross_entropy_with_logits(rows, 0.0), labels)
    return reduced(T.reshape(yes + no, shape=target.shape), reduction)


def _others(values: Tensor, labels: Tensor) -> Tensor:
    """Σ over the classes of a row but that of its label."""
    right = T.one_hot(labels, num_classes=values.shape[1], dtype="bool")
    return T.sum(T.where(right, 0.0, values), axis=(1,))


@public(TOP)
@computed_in("float32")
def svm_loss(
    input: Tensor, target: Tensor, delta: float = 1.0, *, reduction: str = "mean"
) -> Tensor:
    """Σ_{c≠y} max(0, s_c - s_y + delta): the hinge loss of a multi-class SVM.

    input (N, C), target (N,); a label out of range gives NaN. It is C times `multi_margin_loss`.

    >>> svm_loss(Tensor([[3.2, 5.1, -1.7]]), Tensor([0], dtype="int64"))
    tensor(2.9)
    """
    target = _beside(target, input)
    rows, labels = _rows("svm_loss", input, target)
    losses = _others(_hinges(rows, labels, delta), labels)
    return reduced(T.reshape(losses, shape=target.shape), reduction)


def _hinges(rows: Tensor, labels: Tensor, margin: float) -> Tensor:
    """max(0, s_c - s_y + margin) for each row and class."""
    own = T.reshape(T.pick(rows, labels), shape=(-1, 1))
    return T.relu(rows - own + margin)


@public(TOP, FUNCTIONAL)
@computed_in("float32")
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """weight_y · Σ_{c≠y} max(0, margin - s_y + s_c)ᵖ / C with p = 1 or 2.

    input (N, C) and target (N,), or (C,) and () or (1,), a number being one class; a label out of
    range gives NaN.

    >>> multi_margin_loss(Tensor([[0.1, 0.2, 0.4, 0.8]]), Tensor([3], dtype="int64"))
    tensor(0.325)
    """
    reduction = chosen(reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: p is 1 or 2; got {p}.")
    target = _beside(target, input)
    input = input if input.ndim else T.reshape(input, shape=(1,))
    one = input.ndim == 1 and target.shape == (1,)
    label = T.reshape(target, shape=()) if one else target
    rows, labels = _rows("multi_margin_loss", input, label)
    _check_weight("multi_margin_loss", weight, rows.shape[1])
    share = _share(weight, rows, labels)
    hinges = _hinges(_numbers(rows, share, infinite=False), labels, margin)
    losses = _others(hinges if p == 1 else T.square(hinges), labels) / rows.shape[1]
    if share is not None:
        losses = _times(share, losses)
    return reduced(T.reshape(losses, shape=target.shape), reduction)


@public(TOP, FUNCTIONAL)
@computed_in("float32")
def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Σ_{y in Y} Σ_{c not in Y} max(0, 1 - s_y + s_c) / C, where Y are the classes of a sample.

    input and target (N, C), or (C,): a row of target lists the classes up to the first that is
    negative, and what comes after it does not count.

    >>> multilabel_margin_loss(Tensor([[0.1, 0.2, 0.4, 0.8]]), Tensor([[3, 0, -1, 1]]).long())
    tensor(0.85)
    """
    reduction = chosen(reduction, size_average, reduce)
    target = _beside(target, input)
    _check_equal("multilabel_margin_loss", input, target)
    if input.ndim > 2 or target.dtype.kind not in "iu":
        raise ValueError(
            "multilabel_margin_loss: expected scores (N, C) or (C,) and class numbers of an "
            f"integer dtype; got {input.shape} and {target.dtype}."
        )
    classes = input.shape[-1] if input.ndim else 1
    rows, labels = (T.reshape(x, shape=(-1, classes)) for x in (input, target.long()))
    listed = T.cumsum((labels < 0).long(), axis=1) == 0
    labels = T.where(listed, labels, 0)
    right = T.one_hot(labels, num_classes=classes, dtype="bool")  # (N, listed, C)
    right = T.any(T.logical_and(right, unsqueeze(listed, 2)), axis=(1,))
    own = unsqueeze(gather(rows, 1, labels), 2)
    pairs = T.logical_and(unsqueeze(listed, 2), unsqueeze(T.logical_not(right), 1))
    hinges = T.where(pairs, T.relu(1 - own + unsqueeze(rows, 1)), 0.0)
    return reduced(
        T.reshape(T.sum(hinges, axis=(1, 2)), shape=input.shape[:-1]) / classes, reduction
    )


@public(TOP, FUNCTIONAL)
@computed_in("float32")
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-target · log input - (1 - target) · log(1 - input), for probabilities.

    A logarithm counts as -100 at least, so the loss is finite at 0 and 1. `weight` multiplies the
    losses. For scores, `binary_cross_entropy_with_logits` is more accurate.

    >>> binary_cross_entropy(Tensor([0.5, 0.0]), Tensor([1.0, 1.0]), reduction="none")
    tensor([  0.6931, 100.    ])
    """
    reduction = chosen(reduction, size_average, reduce)
    _check_equal("binary_cross_entropy", input, target)
    losses = T.binary_cross_entropy(input, target)
    return reduced(losses if weight is None else _times(weight, losses), reduction)


@public(TOP, FUNCTIONAL)
@computed_in("float32")
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """-pos_weight · target · log σ(input) - (1 - target) · log(1 - σ(input)), for scores.

    `weight` multiplies the losses, and `pos_weight` the share of the positive class; both
    broadcast. It is finite for all scores.

    >>> binary_cross_entropy_with_logits(Tensor([0.0, 1000.0]), Tensor([1.0, 1.0]))
    tensor(0.3466)
    """
    reduction = chosen(reduction, size_average, reduce)
    _check_equal("binary_cross_entropy_with_logits", input, target)
    if pos_weight is None:
        losses = T.binary_cross_entropy_with_logits(input, target)
    else:  # the losses for the targets 1 and 0 are -log σ(x) and -log(1 - σ(x))
        yes = T.binary_cross_entropy_with_logits(input, 1.0)
        no = T.binary_cross_entropy_with_logits(input, 0.0)
        losses = _times(pos_weight * target, yes) + _times(1 - target, no)
    return reduced(losses if weight is None else _times(weight, losses), reduction)


@public(TOP, FUNCTIONAL)
@computed_in("float32")
def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + e^(-target · input)), for scores and targets 1 or -1.

    >>> soft_margin_loss(Tensor([0.0]), Tensor([-1.0]))
    tensor(0.6931)
    """
    reduction = chosen(reduction, size_average, reduce)
    input, target = _paired("soft_margin_loss", input, target)
    return reduced(T.binary_cross_entropy_with_logits(target * input, 1.0), reduction)


@public(TOP, FUNCTIONAL)
@computed_in("float32")
def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over the last axis of weight · `binary_cross_entropy_with_logits`.

    input and target (N, C): target says with 1 or 0 whether a sample belongs to a class.

    >>> multilabel_soft_margin_loss(Tensor([[0.0, 0.0]]), Tensor([[1.0, 0.0]]))
    tensor(0.6931)
    """
    reduction = chosen(reduction, size_average, reduce)
    input, target = _paired("multilabel_soft_margin_loss", input, target)
    losses = T.binary_cross_entropy_with_logits(input, target)
    losses = losses if weight is None else _times(weight, losses)
    return reduced(T.mean(losses, axis=(input.ndim - 1,)), reduction)


# ----- regression --------------------------------------------------------------------------------


@public(TOP, FUNCTIONAL)
@computed_in("float32")
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """weight · (input - target)², reduced; "mean" divides by the sum of the weights.

    Shapes that differ broadcast with a warning.

    >>> mse_loss(Tensor([1.0, 2.0]), Tensor([0.0, 0.0]))
    tensor(2.5)
    """
    reduction = chosen(reduction, size_average, reduce)
    input, target = _paired("mse_loss", input, target)
    return _weighed("mse_loss", T.square(input - target), weight, reduction)


@public(TOP)
@computed_in("float32")
def euclidean_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """½ Σ_j (input_ij - target_ij)² for each sample i, and the mean over the samples.

    Of (N, ...) everything but the first axis is added up.

    >>> euclidean_loss(Tensor([[1.0, 2.0], [0.0, 0.0]]), Tensor([[0.0, 0.0], [1.0, 0.0]]))
    tensor(1.5)
    """
    _check_equal("euclidean_loss", input, target)
    if input.ndim == 0:
        raise ValueError("euclidean_loss: expected a batch (N, ...); got a number, of shape ().")
    shape = (input.shape[0], math.prod(input.shape[1:]))
    losses = T.euclidean_loss(T.reshape(input, shape=shape), T.reshape(target, shape=shape))
    return reduced(losses, reduction)


@public(TOP, FUNCTIONAL)
@computed_in("float32")
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """weight · |input - target|, reduced; "mean" divides by the sum of the weights.

    Shapes that differ broadcast with a warning.

    >>> l1_loss(Tensor([1.0, -2.0]), Tensor([0.0, 0.0]))
    tensor(1.5)
    """
    reduction = chosen(reduction, size_average, reduce)
    input, target = _paired("l1_loss", input, target)
    return _weighed("l1_loss", T.abs(input - target), weight, reduction)


def _weighed(name: str, losses: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """The losses times their weights, reduced; the mean divides by the sum of the weights."""
    if weight is None:
        return reduced(losses, reduction)
    _check_equal(f"{name}: those of the input and of the weight", losses, weight)
    losses = _times(weight, losses)
    return T.sum(losses) / T.sum(weight) if reduction == "mean" else reduced(losses, reduction)


@public(TOP, FUNCTIONAL)
@computed_in("float32")
def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """½ d² where |d| <= delta, else delta · (|d| - ½ delta), of d = input - target (Huber, 1964).

    `weight` multiplies the losses; "mean" then divides by the sum of the weights. Shapes that
    differ broadcast with a warning.

    >>> huber_loss(Tensor([1.0, 3.0]), Tensor([0.0, 0.0]), reduction="none")
    tensor([0.5, 2.5])
    """
    if not delta > 0:
        raise ValueError(f"huber_loss: delta must be above 0; got {delta}.")
    input, target = _paired("huber_loss", input, target)
    return _weighed("huber_loss", T.huber(input - target, delta=delta), weight, reduction)


@public(TOP, FUNCTIONAL)
@computed_in("float32")
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """½ d² / beta where |d| < beta, else |d| - ½ beta, of d = input - target (Girshick, 2015).

    Shapes that differ broadcast with a warning.

    >>> smooth_l1_loss(Tensor([1.0, 3.0]), Tensor([0.0, 0.0]), beta=2.0, reduction="none")
    tensor([0.25, 2.  ])
    """
    reduction = chosen(reduction, size_average, reduce)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must not be negative; got {beta}.")
    input, target = _paired("smooth_l1_loss", input, target)
    difference = input - target
    if beta == 0:
        return reduced(T.abs(difference), reduction)
    return reduced(T.huber(difference, delta=beta, scale=beta), reduction)


@public(TOP, FUNCTIONAL)
@computed_in("float32")
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """λ - target · log λ, where input is log λ; or λ itself, and log(λ + eps), without log_input.

    `full` adds Stirling's log target! for targets above 1: t · log t - t + ½ log(2π t).

    >>> poisson_nll_loss(Tensor([0.0]), Tensor([2.0]))
    tensor(1.)
    """
    reduction = chosen(reduction, size_average, reduce)
    input, target = _paired("poisson_nll_loss", input, target)
    rate, log_rate = (T.exp(input), input) if log_input else (input, T.log(input + eps))
    # Beside an infinite rate its logarithm is nothing.
    losses = rate - _times(target, T.where(log_rate == math.inf, 0.0, log_rate))
    if full:
        t = T.where(target > 1, target, 1.0)
        stirling = t * T.log(t) - t + 0.5 * T.log(2 * math.pi * t)
        losses = losses + T.where(target > 1, stirling, 0.0)
    return reduced(losses, reduction)


@public(TOP, FUNCTIONAL)
@computed_in("float64")
def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """½ (log var + (input - target)² / var), where a variance counts as eps at least.

    A variance below eps gets the gradient that eps would get, so it can grow again. `target`
    broadcasts. `var` is one number, or has the shape of input, or 1 in place of one of its axes, or
    no last axis. `full` adds ½ log 2π.

    >>> gaussian_nll_loss(Tensor([1.0]), Tensor([3.0]), Tensor([1.0]))
    tensor(2.)
    """
    _broadcast_shape("gaussian_nll_loss", input, target)
    if var.shape == input.shape[:-1] and input.ndim:
        var = T.reshape(var, shape=(*var.shape, 1))
    if var.shape not in ((), input.shape, *_with_a_one(input.shape)):
        raise ValueError(
            "gaussian_nll_loss: var must be a number, or have the shape "
            f"{input.shape} of the input, or 1 in place of one of its axes, or no last axis; got "
            f"{var.shape}."
        )
    # What is added to eps is 0, but it lets the gradient through.
    var = T.where(var < eps, eps + (var - var.detach()), var)
    losses = 0.5 * (T.log(var) + T.square((input - target) / T.sqrt(var)))
    return reduced(losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction)


def _with_a_one(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The shapes with 1 in place of one length."""
    return [(*shape[:i], 1, *shape[i + 1 :]) for i in range(len(shape))]


# ----- distributions -----------------------------------------------------------------------------


@public(TOP, FUNCTIONAL)
@computed_in("float32")
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """target · (log target - input): the divergence of probabilities from those of `input`.

    `input` holds logarithms of probabilities, and so does `target` with `log_target`. 0 · log 0 is
    0. The reduction "batchmean" divides the sum by the length of the first axis, which makes it the
    divergence of the distributions; "mean" divides by the number of elements.

    >>> kl_div(Tensor([[-0.6931, -0.6931]]), Tensor([[0.0, 1.0]]), reduction="batchmean")
    tensor(0.6931)
    """
    reduction = chosen(reduction, size_average, reduce)
    input, target = _paired("kl_div", input, target)
    if log_target:
        gone = target == -math.inf  # e^-∞ · (-∞ - input) counts as 0
        losses = T.exp(target) * (T.where(gone, 0.0, target) - T.where(gone, 0.0, input))
    else:
        losses = T.xlogy(target, target) - _times(target, input)
    if reduction != "batchmean":
        return reduced(losses, reduction)
    return T.sum(losses) / input.shape[0] if input.ndim else losses


# ----- distances ---------------------------------------------------------------------------------


@public(TOP, FUNCTIONAL)
@computed_in("float32")
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 · x2 / (max(‖x1‖, eps) · max(‖x2‖, eps)) along `dim` of the broadcast shape.

    >>> cosine_similarity(Tensor([[3.0, 4.0]]), Tensor([[4.0, 3.0]]))
    tensor([0.96])
    """
    shape = _broadcast_shape("cosine_similarity", x1, x2)
    x1, x2 = T.broadcast_to(x1, shape=shape), T.broadcast_to(x2, shape=shape)
    axis = axes_of(x1, dim, None)
    return T.sum(normalize(x1, 2.0, dim, eps) * normalize(x2, 2.0, dim, eps), axis=axis)


def _broadcast_shape(name: str, x1: Tensor, x2: Tensor) -> tuple[int, ...]:
    try:
        return host.broadcast_shapes(x1.shape, x2.shape)
    except ValueError as error:
        raise ValueError(
            f"{name}: the shapes {x1.shape} and {x2.shape} do not broadcast. Compared from the "
            "last axis backwards, two lengths must be equal or one of them 1."
        ) from error


@public(TOP, FUNCTIONAL)
@computed_in("float32")
def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """‖x1 - x2 + eps‖ₚ along the last axis; the axes before it broadcast.

    >>> pairwise_distance(Tensor([[3.0, 0.0]]), Tensor([[0.0, 4.0]]))
    tensor([5.])
    """
    difference = x1 - x2 + eps
    if difference.ndim == 0:
        raise ValueError("pairwise_distance: expected vectors (..., D); got numbers.")
    return norm(difference, p, -1, keepdim)


@public(TOP, FUNCTIONAL)
@computed_in("float32")
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """input where target is 1, and max(0, margin - input) where it is -1; input is a distance.

    As in PyTorch, a target that is neither gets the sum of both. `margin` may be a tensor.

    >>> hinge_embedding_loss(Tensor([0.3, 0.3]), Tensor([1.0, -1.0]), reduction="none")
    tensor([0.3, 0.7])
    """
    reduction = chosen(reduction, size_average, reduce)
    input, target = _paired("hinge_embedding_loss", input, target)
    losses = T.where(target == -1, 0.0, input)
    losses = losses + T.where(target == 1, 0.0, T.clamp(margin - input, min=0))
    return reduced(losses, reduction)


@public(TOP, FUNCTIONAL)
@computed_in("float32")
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin - target · (input1 - input2)): with the target 1, input1 should be larger.

    >>> margin_ranking_loss(Tensor([1.0]), Tensor([3.0]), Tensor([1.0]))
    tensor(2.)
    """
    reduction = chosen(reduction, size_average, reduce)
    _check_axes("margin_ranking_loss", input1, input2, target)
    input1, input2, target = _paired("margin_ranking_loss", input1, input2, target)
    return reduced(T.clamp(margin - target * (input1 - input2), min=0), reduction)


@public(TOP, FUNCTIONAL)
@computed_in("float32")
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos where target is 1, and max(0, cos - margin) where it is -1.

    cos is the `cosine_similarity` of input1 and input2: (N, D) with target (N,), or (D,) with ().

    >>> cosine_embedding_loss(Tensor([[1.0, 0.0]]), Tensor([[0.0, 1.0]]), Tensor([1.0]))
    tensor(1.)
    """
    reduction = chosen(reduction, size_average, reduce)
    input1, input2 = _paired("cosine_embedding_loss", input1, input2)
    if input1.ndim not in (1, 2) or target.shape != input1.shape[:-1]:
        raise ValueError(
            "cosine_embedding_loss: expected inputs (N, D) with a target (N,), or (D,) with (); "
            f"got {input1.shape} and {target.shape}."
        )
    similarity = cosine_similarity(input1, input2, dim=-1)
    losses = T.where(target == 1, 1 - similarity, T.clamp(similarity - margin, min=0))
    return reduced(losses, reduction)


@public(TOP, FUNCTIONAL)
@computed_in("float32")
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), d the `pairwise_distance`.

    `swap` puts the smaller of d(anchor, negative) and d(positive, negative) in its place (Balntas
    et al., 2016).

    >>> anchor, positive = Tensor([[0.0, 0.0]]), Tensor([[3.0, 0.0]])
    >>> triplet_margin_loss(anchor, positive, Tensor([[0.0, 1.0]]))
    tensor(3.)
    """
    reduction = chosen(reduction, size_average, reduce)
    _check_axes("triplet_margin_loss", anchor, positive, negative)
    anchor, positive, negative = _paired("triplet_margin_loss", anchor, positive, negative)
    if not margin >= 0:
        raise ValueError(f"triplet_margin_loss: the margin is 0 or more; got {margin}.")
    return triplet_margin_with_distance_loss(
        anchor,
        positive,
        negative,
        distance_function=lambda x1, x2: pairwise_distance(x1, x2, p, eps),
        margin=margin,
        swap=swap,
        reduction=reduction,
    )


@public(FUNCTIONAL)
@computed_in("float32")
def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), d being any function of two.

    d is the `pairwise_distance` by default. `swap` is that of `triplet_margin_loss`.

    >>> anchor, positive, negative = Tensor([[0.0]]), Tensor([[3.0]]), Tensor([[1.0]])
    >>> triplet_margin_with_distance_loss(
    ...     anchor, positive, negative, distance_function=lambda x, y: (x - y).abs().sum(1)
    ... )
    tensor(3.)
    """
    if not margin >= 0:
        raise ValueError(f"triplet_margin_with_distance_loss: margin is 0 or more; got {margin}.")
    distance = distance_function or pairwise_distance
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = T.minimum(far, distance(positive, negative))
    return reduced(T.clamp(near - far + margin, min=0), reduction)


# ----- sequences ---------------------------------------------------------------------------------


@public(TOP, FUNCTIONAL)
@computed_in("float32")
def ctc_loss(
    log_probs: Tensor,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-log of the probability of a sequence of labels, over all ways to align it with the steps.

    At each step one class is emitted, `blank` among them. A way emits the target if it is so once
    repetitions are joined and then blanks taken out; the probabilities of all such ways add up, by
    dynamic programming over prefixes (Graves et al., 2006).

    log_probs (T, N, C), or (T, C), holds logarithms of probabilities, as of `log_softmax`. targets
    are (N, S), a row each, or all targets one after the other, (Σ target_lengths,). The lengths,
    (N,) or () each, say how much of each counts. Targets and lengths are read by the host, which
    waits for a GPU if they lie there. "mean" divides each loss by the length of its target first.
    What no way can emit has the loss ∞, or 0 and no gradient with `zero_infinity`.

    >>> ctc_loss(
    ...     Tensor([[0.5, 0.5], [0.5, 0.5]]).log(), Tensor([1]).long(), [2], [1], reduction="sum"
    ... )
    tensor(0.2877)
    """
    check_reduction(reduction)
    single = log_probs.ndim == 2
    steps = unsqueeze(log_probs, 1) if single else log_probs
    if steps.ndim != 3:
        raise ValueError(
            f"ctc_loss: expected log_probs (T, N, C) or (T, C); got {log_probs.shape}."
        )
    number, classes = steps.shape[1:]
    if not 0 <= blank < classes:
        raise ValueError(f"ctc_loss: blank is one of the {classes} classes; got {blank}.")
    times, lengths = (
        _lengths(name, value, number)
        for name, value in (("input_lengths", input_lengths), ("target_lengths", target_lengths))
    )
    if any(not 0 <= n <= len(steps) for n in times):
        raise ValueError(f"ctc_loss: input_lengths are from 0 to {len(steps)}; got {times}.")
    rows = _padded(targets, lengths, blank)
    # What is emitted: the labels, and a blank before, between and after them.
    emitted = host.full((number, 2 * rows.shape[1] + 1), blank)
    emitted[:, 1::2] = rows
    if emitted.min(initial=0) < 0 or emitted.max(initial=0) >= classes:
        raise ValueError(f"ctc_loss: targets are classes, 0 to {classes - 1}; got {rows.tolist()}.")
    # A blank may be left out between two labels that differ.
    leaps = host.zeros(emitted.shape, dtype=bool)
    leaps[:, 3::2] = rows[:, 1:] != rows[:, :-1]
    places = host.broadcast_to(emitted, (len(steps), *emitted.shape))
    scores = gather(steps, 2, Tensor(places, device=steps.device))  # (T, N, 2S + 1)
    scores = T.clamp(scores, min=-FAR)
    prefixes = _prefixes(scores, Tensor(leaps, device=steps.device))
    # The last step of each sequence, and its last label or the blank behind it.
    each = host.arange(number)
    ends = [host.asarray(lengths) * 2, host.maximum(host.asarray(lengths) * 2 - 1, 0)]
    last, before = (prefixes[host.asarray(times), each, end] for end in ends)
    some = Tensor(host.asarray(lengths) > 0, device=steps.device)
    losses = -T.logaddexp(last, T.where(some, before, -FAR))
    losses = T.where(losses > FAR / 2, 0.0 if zero_infinity else math.inf, losses)
    if reduction == "mean":
        losses = losses / Tensor(host.asarray(host.maximum(lengths, 1)), device=steps.device)
    return reduced(T.reshape(losses, shape=()) if single else losses, reduction)


FAR = 1e30
"""-log of a probability of 0, as a finite number: no difference of two is NaN, and e^-FAR is 0."""


def _prefixes(scores: Tensor, leaps: Tensor) -> Tensor:
    """log of the probability that after t steps the places up to s have been emitted, s the last.

    scores (T, N, S) -> (T + 1, N, S); before the first step a place in front of all is the last,
    which stands here as the first.
    """
    shape = scores.shape[1:]
    start = host.full(shape, -FAR)
    start[:, :1] = 0
    rows = [T.cast(Tensor(start, device=scores.device), dtype=scores.dtype)]
    for t, score in enumerate(T.getitem(scores, index=(t,)) for t in range(len(scores))):
        before = rows[-1]
        one = _shifted(before, 1)
        reached = T.logaddexp(before, one)
        if t:
            reached = T.logaddexp(reached, T.where(leaps, _shifted(before, 2), -FAR))
        rows.append(reached + score)
    return T.stack(*rows, axis=0)


def _shifted(x: Tensor, by: int) -> Tensor:
    """Each element moved to the right by so many places; what comes in is impossible."""
    kept = T.getitem(x, index=(slice(None), slice(None, max(0, x.shape[1] - by))))
    return T.pad(kept, widths=((0, 0), (min(by, x.shape[1]), 0)), value=-FAR)


def _lengths(name: str, value: Any, number: int) -> list[int]:
    """The lengths of the sequences of a batch, as numbers on the host."""
    array = host.asarray(value.cpu().numpy() if isinstance(value, Tensor) else value).reshape(-1)
    if array.dtype.kind not in "iu" or len(array) != number:
        raise ValueError(f"ctc_loss: {name} are {number} integers; got {array.tolist()}.")
    return [int(n) for n in array]


def _padded(targets: Any, lengths: list[int], blank: int) -> Any:
    """The targets as rows on the host, filled up with blanks."""
    labels = host.asarray(targets.cpu().numpy() if isinstance(targets, Tensor) else targets)
    if labels.dtype.kind not in "iu" and labels.size:
        raise TypeError(f"ctc_loss: targets are class numbers, integers; got {labels.dtype}.")
    longest = max(lengths, default=0)
    if labels.ndim == 1:
        ends = host.cumsum(lengths)
        parts = [labels[end - n : end] for n, end in zip(lengths, ends, strict=True)]
        fits = sum(lengths) == len(labels) and min(lengths, default=0) >= 0
    else:
        fits = labels.ndim == 2 and len(labels) == len(lengths) and longest <= labels.shape[1]
        parts = [row[:n] for row, n in zip(labels, lengths, strict=False)]
    if not fits:
        raise ValueError(
            f"ctc_loss: expected targets (N, S), or (Σ target_lengths,) for one after the other; "
            f"got {labels.shape} with the lengths {lengths}."
        )
    rows = host.full((len(lengths), longest), blank)
    for row, part in zip(rows, parts, strict=True):
        row[: len(part)] = part
    return rows
