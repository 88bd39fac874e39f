"""Instance normalization: each channel of each sample by itself."""

import warnings
from typing import Any

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor, as_input
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn.batchnorm import _LazyNormBase, _NormBase


class _InstanceNorm(_NormBase):
    """Normalization of each channel over its positions; see `instance_norm`.

    An input without N is one sample. Unlike in batch normalization, there is by default neither a
    learned scale nor a running value.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )

    def _channels(self, input: Tensor) -> int:
        return input.shape[0 if input.ndim == min(self.dims) else 1]

    def forward(self, input: Tensor) -> Tensor:
        input = as_input(input, self.weight)
        self._check_input_dim(input)
        single, channels = input.ndim == min(self.dims), self._channels(input)
        if channels != self.num_features:
            text = (
                f"{type(self).__name__} is made for {self.num_features} channels; got an input of "
                f"shape {input.shape} with {channels}."
            )
            if self.affine:
                raise ValueError(text)
            warnings.warn(text, stacklevel=2)
        y = F.instance_norm(
            input.unsqueeze(0) if single else input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return y.squeeze(0) if single else y


@public(NN)
class InstanceNorm1d(_InstanceNorm):
    """Instance normalization of (N, C, L) or (C, L).

    >>> InstanceNorm1d(1, eps=1e-9)(Tensor([[[1.0, 3.0]]]))
    tensor([[[-1.,  1.]]])
    """

    dims = (2, 3)


@public(NN)
class InstanceNorm2d(_InstanceNorm):
    """Instance normalization of (N, C, H, W) or (C, H, W).

    >>> from tinygrad_cv import ones
    >>> InstanceNorm2d(3)(ones(2, 3, 4, 4)).sum().item()
    0.0
    """

    dims = (3, 4)


@public(NN)
class InstanceNorm3d(_InstanceNorm):
    """Instance normalization of (N, C, D, H, W) or (C, D, H, W).

    >>> from tinygrad_cv import ones
    >>> InstanceNorm3d(3)(ones(2, 3, 2, 4, 4)).sum().item()
    0.0
    """

    dims = (4, 5)


@public(NN)
class LazyInstanceNorm1d(_LazyNormBase, InstanceNorm1d):
    """An InstanceNorm1d whose num_features are the channels of its first input.

    >>> from tinygrad_cv import ones
    >>> layer = LazyInstanceNorm1d()
    >>> layer(ones(2, 3, 4)).shape, layer.num_features
    ((2, 3, 4), 3)
    """

    cls_to_become = InstanceNorm1d


@public(NN)
class LazyInstanceNorm2d(_LazyNormBase, InstanceNorm2d):
    """An InstanceNorm2d whose num_features are the channels of its first input.

    >>> from tinygrad_cv import ones
    >>> layer = LazyInstanceNorm2d()
    >>> layer(ones(2, 3, 4, 4)).shape, layer.num_features
    ((2, 3, 4, 4), 3)
    """

    cls_to_become = InstanceNorm2d


@public(NN)
class LazyInstanceNorm3d(_LazyNormBase, InstanceNorm3d):
    """An InstanceNorm3d whose num_features are the channels of its first input.

    >>> from tinygrad_cv import ones
    >>> layer = LazyInstanceNorm3d()
    >>> layer(ones(2, 3, 4, 4, 4)).shape, layer.num_features
    ((2, 3, 4, 4, 4), 3)
    """

    cls_to_become = InstanceNorm3d
