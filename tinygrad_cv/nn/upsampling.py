"""Images of another size."""

from typing import Any

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn.module import Module


@public(NN)
class Upsample(Module):
    """Images (N, C, *S) resized to `size`, or by `scale_factor`; the modes are in `interpolate`.

    >>> from tinygrad_cv import ones
    >>> Upsample(scale_factor=2)(ones(1, 3, 4, 5)).shape
    (1, 3, 8, 10)
    """

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        self.name = type(self).__name__
        self.size, self.mode, self.align_corners = size, mode, align_corners
        if isinstance(scale_factor, tuple):
            self.scale_factor: Any = tuple(float(factor) for factor in scale_factor)
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            self.recompute_scale_factor,
        )

    def extra_repr(self) -> str:
        to = "size" if self.scale_factor is None else "scale_factor"
        return f"{to}={getattr(self, to)!r}, mode={self.mode!r}"


@public(NN)
class UpsamplingNearest2d(Upsample):
    """Images (N, C, H, W) with their pixels repeated.

    >>> UpsamplingNearest2d(scale_factor=2)(Tensor([[[[1.0, 2.0]]]]))
    tensor([[[[1., 1., 2., 2.],
              [1., 1., 2., 2.]]]])
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


@public(NN)
class UpsamplingBilinear2d(Upsample):
    """Images (N, C, H, W) interpolated so that the centres of the corners stay.

    >>> UpsamplingBilinear2d(size=(1, 3))(Tensor([[[[1.0, 2.0]]]]))
    tensor([[[[1. , 1.5, 2. ]]]])
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
