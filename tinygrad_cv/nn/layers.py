"""The layers. Names, arguments and parameter shapes are PyTorch's, and so is the initialization:
weights and biases uniform on ±1/√fan_in."""

import math
from typing import Any

from tinygrad_cv._tensor import Tensor, as_input
from tinygrad_cv.creation import ones, shape_from, zeros
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn import init
from tinygrad_cv.nn.module import Module, Parameter
from tinygrad_cv.ops.conv import pair
from tinygrad_cv.ops.loss import check_reduction
from tinygrad_cv.ops.noise import check_probability
from tinygrad_cv.ops.norm import check_eps, check_momentum
from tinygrad_cv.ops.pool import check_padding
from tinygrad_cv.ops.shape import flatten


def _weight(shape: tuple[int, ...], fan_in: int, generator: Any) -> Parameter:
    bound = 1 / math.sqrt(max(1, fan_in))
    parameter = Parameter(zeros(shape))
    init.uniform_(parameter, -bound, bound, generator)
    return parameter


class Linear(Module):
    """y = x wᵀ + b: (..., in_features) -> (..., out_features); the weight is (out, in).

    >>> Linear(4, 3)(ones(2, 4)).shape
    (2, 3)
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, generator: Any = None
    ) -> None:
        in_features, out_features = shape_from((in_features, out_features))
        self.in_features, self.out_features = in_features, out_features
        self.weight = _weight((out_features, in_features), in_features, generator)
        self.bias = _weight((out_features,), in_features, generator) if bias else None

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class _Convolution(Module):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        generator: Any = None,
    ) -> None:
        in_channels, out_channels, groups = shape_from((in_channels, out_channels, groups))
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"groups={groups} must divide in_channels={in_channels} and "
                f"out_channels={out_channels}."
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = pair(kernel_size, "kernel_size", 1)
        self.stride = pair(stride, "stride", 1)
        self.padding = pair(padding, "padding", 0)
        self.dilation = pair(dilation, "dilation", 1)
        shape = (*self._channels(), *self.kernel_size)
        fan_in = math.prod(shape[1:])
        self.weight = _weight(shape, fan_in, generator)
        self.bias = _weight((out_channels,), fan_in, generator) if bias else None

    def _channels(self) -> tuple[int, int]:
        return self.out_channels, self.in_channels // self.groups

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}"
        )


class Conv2d(_Convolution):
    """Convolution of (N, in_channels, H, W); see `conv2d`. The weight is (out, in/groups, kh, kw).

    >>> Conv2d(3, 8, 3, padding=1)(ones(1, 3, 5, 5)).shape
    (1, 8, 5, 5)
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
        )


class ConvTranspose2d(_Convolution):
    """The adjoint of Conv2d; see `conv_transpose2d`. The weight is (in, out/groups, kh, kw).

    >>> ConvTranspose2d(3, 8, 2, stride=2)(ones(1, 3, 5, 5)).shape
    (1, 8, 10, 10)
    """

    def _channels(self) -> tuple[int, int]:
        return self.in_channels, self.out_channels // self.groups

    def forward(self, input: Tensor, output_padding: Any = 0) -> Tensor:
        return F.conv_transpose2d(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            output_padding,
            self.groups,
            self.dilation,
        )


class _BatchNorm(Module):
    """Normalization over the batch, with learned scale and shift; see `batch_norm`."""

    dims: tuple[int, ...]
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        (num_features,) = shape_from((num_features,))
        check_eps(type(self).__name__, eps, positive=True)
        check_momentum(type(self).__name__, momentum)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = Parameter(ones(num_features)) if affine else None
        self.bias = Parameter(zeros(num_features)) if affine else None
        self.register_buffer("running_mean", zeros(num_features) if track_running_stats else None)
        self.register_buffer("running_var", ones(num_features) if track_running_stats else None)

    def forward(self, input: Tensor) -> Tensor:
        input = as_input(input, self.weight)
        if input.ndim not in self.dims:
            raise ValueError(
                f"{type(self).__name__} expects an input with {' or '.join(map(str, self.dims))} "
                f"axes; got {input.shape}."
            )
        return F.batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=self.training or self.running_mean is None,
            momentum=self.momentum,
            eps=self.eps,
        )

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


class BatchNorm1d(_BatchNorm):
    """Batch normalization of (N, C) or (N, C, L).

    >>> BatchNorm1d(1, eps=1e-9)(Tensor([[1.0], [3.0]]))
    tensor([[-1.],
            [ 1.]], grad_fn=<batch_norm>)
    """

    dims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalization of (N, C, H, W).

    >>> BatchNorm2d(3)(ones(2, 3, 4, 4)).sum().item()
    0.0
    """

    dims = (4,)


class _Pool(Module):
    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride
        kernel = pair(kernel_size, "kernel_size", 1)
        pair(self.stride, "stride", 1)
        check_padding(type(self).__name__, pair(padding, "padding", 0), kernel)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool2d(_Pool):
    """The largest element of each window; see `max_pool2d`."""

    def forward(self, input: Tensor) -> Tensor:
        y: Tensor = F.max_pool2d(input, self.kernel_size, self.stride, self.padding)
        return y


class AvgPool2d(_Pool):
    """The mean of each window; see `avg_pool2d`."""

    def forward(self, input: Tensor) -> Tensor:
        y: Tensor = F.avg_pool2d(input, self.kernel_size, self.stride, self.padding)
        return y


class ReLU(Module):
    """max(x, 0)"""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input)


class LeakyReLU(Module):
    """x where x > 0, else negative_slope · x."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class Sigmoid(Module):
    """1 / (1 + e⁻ˣ)"""

    def forward(self, input: Tensor) -> Tensor:
        return F.sigmoid(input)


class Tanh(Module):
    """tanh x"""

    def forward(self, input: Tensor) -> Tensor:
        return F.tanh(input)


class Dropout(Module):
    """Each element dropped with probability p while training; see `dropout`."""

    def __init__(self, p: float = 0.5, *, generator: Any = None) -> None:
        check_probability("Dropout", p)
        self.p, self.generator = p, generator

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, generator=self.generator)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Flatten(Module):
    """The axes from start_dim to end_dim joined: (N, C, H, W) -> (N, C·H·W)."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        return flatten(input, self.start_dim, self.end_dim)


class CrossEntropyLoss(Module):
    """The softmax loss; see `cross_entropy`."""

    def __init__(self, reduction: str = "mean") -> None:
        check_reduction(reduction)
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(input, target, reduction=self.reduction)


class MSELoss(Module):
    """The squared error; see `mse_loss`."""

    def __init__(self, reduction: str = "mean") -> None:
        check_reduction(reduction)
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(input, target, reduction=self.reduction)
