"""Images taken apart into their windows, and put together again."""

from typing import Any

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn.module import Module


class _Windows(Module):
    def __init__(
        self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None:
        self.kernel_size, self.dilation = kernel_size, dilation
        self.padding, self.stride = padding, stride

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )


@public(NN)
class Unfold(_Windows):
    """The windows of (N, C, H, W) as columns (N, C·kh·kw, L); see `unfold`.

    >>> from tinygrad_cv import ones
    >>> Unfold((2, 2))(ones(1, 3, 4, 5)).shape
    (1, 12, 12)
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)


@public(NN)
class Fold(_Windows):
    """Columns (N, C·kh·kw, L) added to their windows of (N, C, *output_size); see `fold`.

    >>> from tinygrad_cv import ones
    >>> Fold((4, 5), (2, 2))(ones(1, 12, 12)).shape
    (1, 3, 4, 5)
    """

    def __init__(
        self,
        output_size: Any,
        kernel_size: Any,
        dilation: Any = 1,
        padding: Any = 0,
        stride: Any = 1,
    ) -> None:
        super().__init__(kernel_size, dilation, padding, stride)
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        windows = self.kernel_size, self.dilation, self.padding, self.stride
        return F.fold(input, self.output_size, *windows)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, {super().extra_repr()}"
