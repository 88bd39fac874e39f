"""Pixels moved into channels, and back."""

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn.module import Module


@public(NN)
class PixelShuffle(Module):
    """(*, C·r², H, W) -> (*, C, H·r, W·r) for r = upscale_factor; see `pixel_shuffle`.

    >>> from tinygrad_cv import ones
    >>> PixelShuffle(2)(ones(1, 8, 3, 3)).shape
    (1, 2, 6, 6)
    """

    def __init__(self, upscale_factor: int) -> None:
        self.upscale_factor = upscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


@public(NN)
class PixelUnshuffle(Module):
    """(*, C, H·r, W·r) -> (*, C·r², H, W) for r = downscale_factor; see `pixel_unshuffle`.

    >>> from tinygrad_cv import ones
    >>> PixelUnshuffle(2)(ones(1, 2, 6, 6)).shape
    (1, 8, 3, 3)
    """

    def __init__(self, downscale_factor: int) -> None:
        self.downscale_factor = downscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"
