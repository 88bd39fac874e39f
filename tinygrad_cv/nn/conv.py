"""Convolutions and their adjoints."""

import math
from typing import Any

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.creation import shape_from
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn.linear import uniform
from tinygrad_cv.nn.module import Module
from tinygrad_cv.ops.conv import pair


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
        self.weight = uniform(shape, fan_in, generator)
        self.bias = uniform((out_channels,), fan_in, generator) if bias else None

    def _channels(self) -> tuple[int, int]:
        return self.out_channels, self.in_channels // self.groups

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}"
        )


@public(NN)
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


@public(NN)
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
