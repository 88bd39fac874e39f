"""Normalization."""

from typing import Any

from tinygrad_cv.op import Op
from tinygrad_cv.tensor import F as T
from tinygrad_cv.tensor import Tensor


class BatchNorm(Op):
    """y = w · (x - mean) / √(var + eps) + b, with the statistics of each channel (axis 1).

    The fused rule reads the statistics that the forward kept. The plain rules work them out from
    x again, because in a second derivative they are functions of x and not constants.
    """

    eps: float = 1e-5
    running: Any = None
    """Running (mean, var) arrays to move towards the batch's in place, or None."""
    momentum: float = 0.1
    kept = ("mean", "var")
    hidden = ("running", "momentum")

    def forward(self, xp, x, w=None, b=None):
        y, self.mean, self.var = xp.batch_norm(x, w, b, self.eps)
        self.axes = (0, *range(2, x.ndim))
        self.channels = (1, -1, *(1,) * (x.ndim - 2))  # a vector (C,) beside (N, C, *S)
        if self.running is not None:
            count = x.size // x.shape[1]
            unbiased = self.var * (count / (count - 1))
            for running, batch in zip(self.running, (self.mean, unbiased), strict=True):
                running += self.momentum * (batch - running)
        return y

    def normalized(self, F, x):
        """(z, 1/σ), as functions of x."""
        mean = F.mean(x, axis=self.axes, keepdims=True)
        var = F.var(x, axis=self.axes, keepdims=True, correction=0)
        r = F.let("r", 1 / F.sqrt(var + self.eps))
        return F.let("z", (x - mean) * r), r

    def grad_x(self, F, g, x, w):
        z, r = self.normalized(F, x)
        if w is not None:
            g = F.let("h", g * F.reshape(w, shape=self.channels))
        along = F.mean(g * z, axis=self.axes, keepdims=True)
        return r * (g - F.mean(g, axis=self.axes, keepdims=True) - z * along)

    def grad_w(self, F, g, x):
        z, _ = self.normalized(F, x)
        return F.sum(g * z, axis=self.axes)

    def grad_b(self, F, g):
        return F.sum(g, axis=self.axes)

    def fused(self, xp, g, x, w, mean, var):
        return xp.batch_norm_backward(g, x, w, mean, var, self.eps)


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Batch normalization of (N, C) or (N, C, *S) (Ioffe and Szegedy, 2015).

    y = weight · (x - μ) / √(σ² + eps) + bias for each channel. In training μ and σ² (biased) are
    those of the batch, and the running statistics move towards them by `momentum` (the variance
    unbiased), in place. Otherwise μ and σ² are the running ones.

    >>> batch_norm(Tensor([[1.0], [3.0]]), training=True, eps=0.0)
    tensor([[-1.],
            [ 1.]])
    """
    if input.ndim < 2:
        raise ValueError(f"batch_norm: expected (N, C) or (N, C, *S); got {input.shape}.")
    channels = input.shape[1]
    for name, value in (
        ("running_mean", running_mean),
        ("running_var", running_var),
        ("weight", weight),
        ("bias", bias),
    ):
        if value is not None and value.shape != (channels,):
            raise ValueError(
                f"batch_norm: {name} must have the shape ({channels},) for an input "
                f"{input.shape}, one number per channel; got {value.shape}."
            )
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError(
                "batch_norm: outside training the running statistics are needed; pass "
                "running_mean and running_var, or training=True."
            )
        shape = (1, channels, *(1,) * (input.ndim - 2))
        scale = (running_var + eps) ** -0.5
        scale = scale if weight is None else scale * weight
        shift = -running_mean * scale
        shift = shift if bias is None else shift + bias
        return input * scale.reshape(shape) + shift.reshape(shape)
    if input.numel() <= channels:
        raise ValueError(
            f"batch_norm: an input {input.shape} has {input.numel() // max(1, channels)} value(s) "
            "per channel; in training a variance needs at least 2."
        )
    if (running_mean is None) != (running_var is None):
        raise ValueError("batch_norm: pass both running_mean and running_var, or neither.")
    running = None
    if running_mean is not None and running_var is not None:
        running = (running_mean._array, running_var._array)
        running_mean._changed()
        running_var._changed()
    return T.batch_norm(input, weight, bias, eps=eps, running=running, momentum=momentum)
