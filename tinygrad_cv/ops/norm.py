"""Normalization."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

from tinygrad_cv._apply import F as T
from tinygrad_cv._apply import computed_in
from tinygrad_cv._graph import in_one
from tinygrad_cv._inputs import public
from tinygrad_cv._op import Op
from tinygrad_cv._public import FUNCTIONAL, TOP
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.ops.reduce import Axes, axes_of, centered, norm, vector_length


class BatchNorm(Op):
    """y = w · (x - mean) / √(var + eps) + b, with the statistics of each channel (axis 1).

    The fused rule reads the statistics that the forward kept. The plain rules work them out from
    x again, because in a second derivative they are functions of x and not constants; and they do
    so in float64, which a variance of 10⁴⁰ needs.
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
                running[...] = moved(running, batch, self.momentum)
        return y

    def flops(self, out, x, *rest):
        return 5 * math.prod(x)  # for the mean, the variance, a difference, a scale and a shift

    def normalized(self, F, x):
        """(z, 1/σ), as functions of x."""
        d = F.let("d", F.subtract_mean(F.widened(x, "float64"), axis=self.axes))
        r = F.let("r", 1 / F.sqrt(F.mean(d * d, axis=self.axes, keepdims=True) + self.eps))
        return F.let("z", d * r), r

    def grad_x(self, F, g, x, w):
        z, r = self.normalized(F, x)
        g = F.widened(g, "float64")
        along = F.mean(g * z, axis=self.axes, keepdims=True)
        s = r if w is None else F.let("s", r * F.reshape(w, shape=self.channels))
        return s * (F.subtract_mean(g, axis=self.axes) - z * along)

    def grad_w(self, F, g, x):
        z, _ = self.normalized(F, x)
        return F.sum(g * z, axis=self.axes)

    def grad_b(self, F, g):
        return F.sum(g, axis=self.axes)

    def fused(self, xp, g, x, w, mean, var):
        return xp.batch_norm_backward(g, x, w, mean, var, self.eps)


def moved(running, batch, momentum):
    """(1 - momentum) · running + momentum · batch; the running value may be infinite."""
    return batch if momentum == 1 else (1 - momentum) * running + momentum * batch


class Standardize(Op):
    """w · z + b for z = (x - mean) / √(var + eps), of mean 0 and variance 1 over `axis`.

    w and b broadcast to the shape of x; either may be left out. The variance takes two passes, so
    it is never negative, however large the mean. As in BatchNorm, the fused rule reads the
    statistics that the forward kept, and the plain rules work them out from x again, in float64.
    """

    real = True
    axis: tuple[int, ...]
    eps: float = 1e-5
    kept = ("mean", "var")

    def forward(self, xp, x, w=None, b=None):
        if not x.size:  # nothing has no mean
            self.mean = self.var = x
            return x
        self.affine = host.broadcast_shapes(*(v.shape for v in (w, b) if v is not None))
        y, self.mean, self.var = xp.standardize(x, w, b, self.axis, self.eps)
        return y

    def flops(self, out, x, *affine):
        return 5 * math.prod(x)  # as BatchNorm

    def normalized(self, F, x):
        """(z, 1/σ), as functions of x."""
        d = F.let("d", F.subtract_mean(F.widened(x, "float64"), axis=self.axis))
        r = F.let("r", 1 / F.sqrt(F.mean(d * d, axis=self.axis, keepdims=True) + self.eps))
        return F.let("z", d * r), r

    def grad_x(self, F, g, x, w):
        """g less its mean and less its share along z, times 1/σ: what is left moves neither the
        mean of z nor its variance."""
        z, r = self.normalized(F, x)
        g = F.widened(g, "float64")
        g = g if w is None else F.let("h", g * w)
        along = F.mean(g * z, axis=self.axis, keepdims=True)
        return r * (F.subtract_mean(g, axis=self.axis) - z * along)

    def grad_w(self, F, g, x):
        z, _ = self.normalized(F, x)
        return F.widened(g, "float64") * z

    def grad_b(self, F, g):
        return g

    def fused(self, xp, g, x, w, mean, var):
        if not x.size:
            return g, g, g
        return xp.standardize_backward(g, x, w, mean, var, self.axis, self.affine, self.eps)


class RmsNorm(Op):
    """w · x · r for r = 1 / √(mean(x²) + eps) over `axis`; w broadcasts to the shape of x, or is
    left out. The fused rule reads the mean that the forward kept; the plain rules work it out from
    x again, in float64."""

    axis: tuple[int, ...]
    eps: float
    kept = ("square",)

    def forward(self, xp, x, w=None):
        if not x.size:  # nothing has no mean
            self.square = x
            return x
        y, self.square = xp.rms_norm(x, w, self.axis, self.eps)
        return y

    def flops(self, out, x, *affine):
        return 4 * math.prod(x)  # square, add up, and two products

    def normalized(self, F, x):
        """(x · r, r), as functions of x."""
        x = F.let("x", F.widened(x, "float64"))
        r = F.let("r", 1 / F.sqrt(F.mean(x * x, axis=self.axis, keepdims=True) + self.eps))
        return F.let("z", x * r), r

    def grad_x(self, F, g, x, w):
        z, r = self.normalized(F, x)
        g = F.widened(g, "float64")
        g = g if w is None else F.let("h", g * w)
        return r * (g - z * F.mean(g * z, axis=self.axis, keepdims=True))

    def grad_w(self, F, g, x):
        z, _ = self.normalized(F, x)
        return F.widened(g, "float64") * z

    def fused(self, xp, g, x, w, square):
        if not x.size:
            return g, g
        return xp.rms_norm_backward(g, x, w, square, self.axis, self.eps)


class ScaleChannels(Op):
    """(x - center) · scale + shift, with a number of each for every channel (axis 1): batch norm
    with statistics that are given."""

    def forward(self, xp, x, center, scale, shift=None):
        self.axes = (0, *range(2, x.ndim))
        self.channels = (1, -1, *(1,) * (x.ndim - 2))  # a vector (C,) beside (N, C, *S)
        center, scale = (xp.reshape(v, self.channels) for v in (center, scale))
        shift = 0.0 if shift is None else xp.reshape(shift, self.channels)
        return xp.scale_channels(x, center, scale, shift)

    def flops(self, out, x, *vectors):
        return 3 * math.prod(x)

    def grad_x(self, F, g, scale):
        return g * F.reshape(scale, shape=self.channels)

    def grad_center(self, F, g, scale):
        return -scale * F.sum(g, axis=self.axes)

    def grad_scale(self, F, g, x, center):
        return F.sum(g * (x - F.reshape(center, shape=self.channels)), axis=self.axes)

    def grad_shift(self, F, g):
        return F.sum(g, axis=self.axes)


class LocalResponseNorm(Op):
    """x / (k + share · Σ x²)^beta, summed over `size` neighbouring channels of (N, C, *S).

    The window of channel c starts at c - ⌊size / 2⌋; beyond the first and the last channel there
    are zeros.
    """

    size: int
    share: float
    beta: float
    k: float
    computes_in = "float64"

    def forward(self, xp, x):
        samples, channels = x.shape[:2]
        self.shape = x.shape
        # (N, C, *S) -> (N, 1, C, |S|): a window over channels is one over the rows of an image
        self.images = (samples, 1, channels, math.prod(x.shape[2:]))
        self.kernel, self.padding = (self.size, 1), (self.size // 2, 0)
        # An even size gives one window too many. That of channel c is in the windows of the
        # channels from c + ⌊size / 2⌋ - size + 1 on.
        every, even = slice(None), 1 - self.size % 2
        self.own = (every, every, slice(0, channels))
        self.others = (every, every, slice(even, even + channels))
        squares = xp.reshape(x * x, self.images)
        total = xp.window_sum(squares, self.kernel, (1, 1), self.padding, 1)[self.own]
        return x / (self.k + self.share * xp.reshape(total, x.shape)) ** self.beta

    def flops(self, out, x):
        return (self.size + 5) * math.prod(x)  # square, add up a window, · share, + k, power, /

    def summed(self, F, x, windows):
        """The sums over these of the windows."""
        images = F.reshape(x, shape=self.images)
        total = F.window_sum(images, kernel=self.kernel, stride=(1, 1), padding=self.padding)
        return F.reshape(F.getitem(total, index=windows), shape=self.shape)

    def grad_x(self, F, g, x):
        s = F.let("s", self.k + self.share * self.summed(F, x * x, self.own))
        h = F.let("h", g / s**self.beta)
        others = self.summed(F, h * x / s, self.others)
        return h - 2 * self.beta * self.share * x * others


class Normalize(Op):
    """x / max(‖x‖, eps) over `axis`. Below eps the length does not count."""

    axis: Axes = None
    eps: float = 1e-12
    real = True
    computes_in = "float64"

    def forward(self, xp, x):
        return x / xp.maximum(vector_length(xp, x, self.axis), self.eps)

    def flops(self, out, x):
        return 3 * math.prod(x)  # square, add up, divide

    def grad_x(self, F, g, x):
        n = F.let("n", F.norm(x, axis=self.axis, keepdims=True))
        m = F.let("m", F.clamp(n, min=self.eps))
        z = F.let("z", x / m)
        along = F.where(n < self.eps, 0.0, F.sum(g * z, axis=self.axis, keepdims=True))
        return (g - z * along) / m


class SubtractMean(Op):
    """x - mean over `axis` (None: all axes). Backward it is the same operation."""

    axis: Axes = None
    computes_in = "float64"

    def forward(self, xp, x):
        return centered(xp, x, self.axis)

    def flops(self, out, x):
        return 2 * math.prod(x)

    def grad_x(self, F, g):
        return F.subtract_mean(g, axis=self.axis)


# ----- as functions ------------------------------------------------------------------------------


@public(TOP, FUNCTIONAL)
@in_one
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

    >>> batch_norm(Tensor([[1.0], [3.0]]), training=True, eps=1e-9)
    tensor([[-1.],
            [ 1.]])
    """
    if input.ndim < 2:
        raise ValueError(f"batch_norm: expected (N, C) or (N, C, *S); got {input.shape}.")
    check_eps("batch_norm", eps, positive=True)
    check_momentum("batch_norm", momentum)
    channels = input.shape[1]
    if not input.is_floating_point():
        input = input.float()
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
        return _normalized(input, running_mean, running_var, weight, bias, eps)
    if not input.shape[0]:  # no samples have no statistics, and move none
        none = T.sum(input.detach(), axis=(0, *range(2, input.ndim)))
        return _normalized(input, none, none, weight, bias, eps)
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


def check_eps(name: str, eps: float, positive: bool = False) -> None:
    """Raise unless `eps` is a finite number of 0 or more, or above 0."""
    if not isinstance(eps, Real) or not 0 <= eps < math.inf or (positive and eps == 0):
        raise ValueError(
            f"{name}: eps is added to a variance, and is {'above 0' if positive else '0 or more'}; "
            f"got {eps!r}."
        )


def check_momentum(name: str, momentum: float) -> None:
    """Raise unless `momentum` is the share of a batch in a running value."""
    if not isinstance(momentum, Real) or not 0 <= momentum <= 1:
        raise ValueError(
            f"{name}: momentum is the share of the batch in the running statistics, from 0 to 1; "
            f"got {momentum!r}."
        )


def _check_affine(
    name: str, weight: Tensor | None, bias: Tensor | None, shape: tuple[int, ...]
) -> None:
    for which, value in (("weight", weight), ("bias", bias)):
        if value is not None and value.shape != shape:
            raise ValueError(f"{name}: the {which} must have the shape {shape}; got {value.shape}.")


@computed_in("float32")
def _normalized(
    x: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """weight · (x - mean) / √(var + eps) + bias for each channel, with given statistics."""
    scale = (var + eps) ** -0.5
    scale = scale if weight is None else scale * weight
    if scale.requires_grad:  # whose rule reads the mean, which a training step may move before
        mean = mean.clone()
    y: Tensor = T.scale_channels(x, mean, scale, bias)
    return y


def _standardized(
    x: Tensor,
    axes: tuple[int, ...],
    weight: Tensor | None,
    bias: Tensor | None,
    shape: tuple[int, ...],
    eps: float,
) -> Tensor:
    """weight · (x - μ) / √(σ² + eps) + bias, with the statistics over `axes`; weight and bias are
    seen in `shape`."""
    y: Tensor = T.standardize(x, _seen(weight, shape), _seen(bias, shape), axis=axes, eps=eps)
    return y


def _seen(value: Tensor | None, shape: tuple[int, ...]) -> Tensor | None:
    if value is None or value.shape == shape:
        return value
    seen: Tensor = T.reshape(value, shape=shape)
    return seen


def _last_axes(name: str, input: Tensor, normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    """The axes of `input` that `normalized_shape` names, which must be its last ones."""
    given = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    first = input.ndim - len(given)
    if not given or first < 0 or input.shape[first:] != given:
        raise ValueError(
            f"{name}: the input must end in the axes of normalized_shape {given}; got an input of "
            f"shape {input.shape}."
        )
    return tuple(range(first, input.ndim))


@public(TOP, FUNCTIONAL)
def layer_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Layer normalization over the last axes, of shape `normalized_shape` (Ba et al., 2016).

    y = weight · (x - μ) / √(σ² + eps) + bias, where μ and σ² (biased) are those of each sample by
    itself, and weight and bias have the shape `normalized_shape`.

    >>> layer_norm(Tensor([[1.0, 3.0], [10.0, 30.0]]), (2,), eps=0.0)
    tensor([[-1.,  1.],
            [-1.,  1.]])
    """
    axes = _last_axes("layer_norm", input, normalized_shape)
    check_eps("layer_norm", eps)
    shape = input.shape[axes[0] :]
    _check_affine("layer_norm", weight, bias, shape)
    return _standardized(input, axes, weight, bias, shape, eps)


@public(TOP, FUNCTIONAL)
@in_one
def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Group normalization of (N, C, *S) (Wu and He, 2018).

    The channels are split into `num_groups` groups of C / num_groups neighbours.
    y = weight · (x - μ) / √(σ² + eps) + bias, where μ and σ² (biased) are those of one group in
    one sample; weight and bias (C,) have a number for each channel.

    >>> group_norm(Tensor([[1.0, 3.0, 10.0, 30.0]]), 2, eps=0.0)
    tensor([[-1.,  1., -1.,  1.]])
    """
    if input.ndim < 2:
        raise ValueError(f"group_norm: expected (N, C) or (N, C, *S); got {input.shape}.")
    check_eps("group_norm", eps)
    channels = input.shape[1]
    if num_groups < 1 or channels % num_groups:
        raise ValueError(
            f"group_norm: {channels} channels do not split into {num_groups} equal groups; "
            "num_groups must divide the number of channels."
        )
    _check_affine("group_norm", weight, bias, (channels,))
    # (N, C, *S) -> (N, groups, C / groups, *S)
    groups = (input.shape[0], num_groups, channels // num_groups, *input.shape[2:])
    column = (*groups[1:3], *(1,) * (input.ndim - 2))
    axes = tuple(range(2, len(groups)))
    y = _standardized(T.reshape(input, shape=groups), axes, weight, bias, column, eps)
    return T.reshape(y, shape=input.shape)


@public(TOP, FUNCTIONAL)
@in_one
def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Instance normalization of (N, C, *S) (Ulyanov et al., 2016).

    y = weight · (x - μ) / √(σ² + eps) + bias, where μ and σ² (biased) are those of one channel of
    one sample. Running statistics (C,), where given, move by `momentum` towards the means over the
    batch of μ and of σ² (unbiased), in place. Without `use_input_stats` μ and σ² are the running
    ones, as in `batch_norm`.

    >>> instance_norm(Tensor([[[1.0, 3.0], [10.0, 30.0]]]), eps=0.0)
    tensor([[[-1.,  1.],
             [-1.,  1.]]])
    """
    check_eps("instance_norm", eps)
    check_momentum("instance_norm", momentum)
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, eps=eps)
    if input.ndim < 3 or math.prod(input.shape[2:]) == 1:
        raise ValueError(
            "instance_norm: expected (N, C, *S) with at least 2 positions, since a channel is "
            f"normalized over its positions; got {input.shape}."
        )
    if (running_mean is None) != (running_var is None):
        raise ValueError("instance_norm: pass both running_mean and running_var, or neither.")
    channels = input.shape[1:2]
    _check_affine("instance_norm", weight, bias, channels)
    axes = tuple(range(2, input.ndim))
    if running_mean is not None and running_var is not None:
        x = T.widened(input.detach(), "float64")
        for running, batch in (
            (running_mean, T.mean(x, axis=axes)),
            (running_var, T.var(x, axis=axes, correction=1)),
        ):
            running.copy_(moved(running, T.mean(batch, axis=(0,)), momentum))
    return _standardized(input, axes, weight, bias, (*channels, *(1,) * len(axes)), eps)


@public(TOP, FUNCTIONAL)
def rms_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """x / √(mean(x²) + eps) · weight over the last axes (Zhang and Sennrich, 2019).

    By default `eps` is the distance from 1 to the next number of the dtype.

    >>> rms_norm(Tensor([3.0, 3.0, -3.0]), (3,))
    tensor([ 1.,  1., -1.])
    """
    axes = _last_axes("rms_norm", input, normalized_shape)
    shape = input.shape[axes[0] :]
    _check_affine("rms_norm", weight, None, shape)
    if not input.is_floating_point():
        input = input.float()
    if eps is None:
        eps = float(host.finfo(input.dtype).eps)
    check_eps("rms_norm", eps)
    y: Tensor = T.rms_norm(input, weight, axis=axes, eps=eps)
    return y


@public(TOP, FUNCTIONAL)
def local_response_norm(
    input: Tensor,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    divide: bool = True,
) -> Tensor:
    """x / (k + alpha / size · Σ x²)^beta, summed over `size` neighbouring channels of (N, C, *S).

    The window of channel c starts at c - ⌊size / 2⌋; beyond the first and the last channel there
    are zeros. `divide=False` leaves alpha undivided, as Krizhevsky et al. (2012) have it: AlexNet
    is size=5, alpha=1e-4, beta=0.75, k=2, divide=False.

    >>> x = Tensor([[[1.0], [2.0], [2.0]]])
    >>> local_response_norm(x, 3, alpha=1.0, beta=0.5, k=0.0, divide=False)
    tensor([[[0.4472],
             [0.6667],
             [0.7071]]])
    """
    if input.ndim < 3:
        raise ValueError(f"local_response_norm: expected (N, C, *S); got {input.shape}.")
    if size < 1:
        raise ValueError(f"local_response_norm: size counts channels, at least 1; got {size}.")
    if not input.is_floating_point():
        input = input.float()
    share = alpha / size if divide else alpha
    y: Tensor = T.local_response_norm(input, size=size, share=share, beta=beta, k=k)
    return y


@public(TOP)
def subtract_mean(input: Tensor, dim: Any = None, *, axis: Any = None) -> Tensor:
    """x - mean over `dim` (an axis, several, or None for all).

    Of one sample this is h_i = x_i - (1/D) Σ_k x_k. Of a batch of images (N, C, H, W), dim=0
    subtracts the mean image, and dim=(0, 2, 3) the mean of each channel. Keep the mean of the
    training set for images that come later: they must be treated alike.

    >>> subtract_mean(Tensor([1.0, 2.0, 6.0]))
    tensor([-2., -1.,  3.])
    """
    return T.subtract_mean(input, axis=axes_of(input, dim, axis))


@public(TOP, FUNCTIONAL)
def normalize(input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Tensor:
    """x / max(‖x‖ₚ, eps) along `dim`: vectors of length 1; that of 0 stays.

    >>> normalize(Tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6, 0.8],
            [0. , 0. ]])
    """
    if p == 2:
        y: Tensor = T.normalize(input, axis=axes_of(input, dim, None), eps=eps)
        return y
    return _by_norm(input, p, dim, eps)


@computed_in("float64")
def _by_norm(input: Tensor, p: float, dim: Any, eps: float) -> Tensor:
    return input / T.clamp(norm(input, p, dim, True), min=eps)
