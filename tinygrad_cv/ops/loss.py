"""Losses: how wrong a prediction is, as one number."""

from tinygrad_cv.backend import host
from tinygrad_cv.op import Op
from tinygrad_cv.tensor import F as T
from tinygrad_cv.tensor import Tensor


class CrossEntropy(Op):
    """-log softmax(x)[label] for each row: scores x (N, C), labels (N,) -> (N,).

    The local gradient is softmax(x) - one_hot(labels): what was predicted less what was right.
    """

    kept = ("log_p",)
    nondifferentiable = ("labels",)

    def forward(self, xp, x, labels):
        self.classes, self.dtype = x.shape[1], x.dtype
        losses, self.log_p = xp.cross_entropy(x, labels)
        return losses

    def grad_x(self, F, g, x, labels):
        right = F.one_hot(labels, num_classes=self.classes, dtype=self.dtype)
        return F.reshape(g, shape=(-1, 1)) * (F.softmax(x, axis=1) - right)

    def fused(self, xp, g, labels, log_p):
        return (xp.cross_entropy_backward(g, labels, log_p),)


# ----- as functions ------------------------------------------------------------------------------


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """The losses of the samples as `reduction` says: "mean", "sum" or "none"."""
    if reduction == "mean":
        return T.mean(loss)
    if reduction == "sum":
        return T.sum(loss)
    if reduction == "none":
        return loss
    raise ValueError(f"reduction must be 'mean', 'sum' or 'none'; got {reduction!r}.")


def cross_entropy(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """-log softmax(input)[target]: the softmax loss, for scores and class labels.

    input (N, C) and target (N,), or input (N, C, *S) and target (N, *S); target holds integers
    from 0 to C - 1.

    Raises TypeError where labels are not integers, and ValueError where one is out of range; on a
    GPU, where looking at the labels would stop the queue, the loss of such a row is NaN.

    >>> cross_entropy(Tensor([[0.0, 0.0]]), Tensor([1], dtype="int64"))
    tensor(0.6931)
    """
    if not isinstance(target, Tensor):
        target = Tensor(host.asarray(target), device=input.device)
    if input.ndim < 2 or target.shape != (input.shape[0], *input.shape[2:]):
        raise ValueError(
            "cross_entropy: expected scores (N, C) with labels (N,), or (N, C, *S) with (N, *S); "
            f"got {input.shape} and {target.shape}."
        )
    if target.dtype.kind not in "iu":
        raise TypeError(
            f"cross_entropy: labels are class numbers, of an integer dtype; got {target.dtype}. "
            "Convert them: labels.long()."
        )
    if input.ndim > 2:
        # (N, C, *S) -> (N, *S, C) -> (N·S, C)
        rows = T.permute(input, axes=(0, *range(2, input.ndim), 1)).reshape(-1, input.shape[1])
        losses = T.cross_entropy(rows, target.reshape(-1)).reshape(target.shape)
    else:
        losses = T.cross_entropy(input, target)
    return reduced(losses, reduction)


def mse_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """(input - target)², reduced. The shapes must be equal.

    >>> mse_loss(Tensor([1.0, 2.0]), Tensor([0.0, 0.0]))
    tensor(2.5)
    """
    if input.shape != target.shape:
        raise ValueError(
            f"mse_loss: the prediction {input.shape} and the target {target.shape} must have "
            "equal shapes; broadcasting here would average over pairs that do not belong together."
        )
    return reduced(T.square(input - target), reduction)
