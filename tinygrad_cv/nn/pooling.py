"""Pooling: one number for each window."""

from typing import Any

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn.module import Module
from tinygrad_cv.ops.conv import pair
from tinygrad_cv.ops.pool import check_padding


class _Pool(Module):
    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride
        kernel = pair(kernel_size, "kernel_size", 1)
        pair(self.stride, "stride", 1)
        check_padding(type(self).__name__, pair(padding, "padding", 0), kernel)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


@public(NN)
class MaxPool2d(_Pool):
    """The largest element of each window; see `max_pool2d`."""

    def forward(self, input: Tensor) -> Tensor:
        y: Tensor = F.max_pool2d(input, self.kernel_size, self.stride, self.padding)
        return y


@public(NN)
class AvgPool2d(_Pool):
    """The mean of each window; see `avg_pool2d`."""

    def forward(self, input: Tensor) -> Tensor:
        y: Tensor = F.avg_pool2d(input, self.kernel_size, self.stride, self.padding)
        return y
