"""Normalization that does not look at the batch."""

from collections.abc import Iterable
from typing import Any

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.creation import empty, shape_from
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn import init
from tinygrad_cv.nn.linear import given
from tinygrad_cv.nn.module import Module
from tinygrad_cv.nn.parameter import Parameter


class _Affine(Module):
    """A scale that starts at 1 and a shift that starts at 0, or None."""

    weight: Parameter | None
    bias: Parameter | None

    def _make_parameters(
        self, shape: tuple[int, ...], weight: bool, bias: bool, options: dict[str, Any]
    ) -> None:
        self.register_parameter("weight", Parameter(empty(shape, **options)) if weight else None)
        self.register_parameter("bias", Parameter(empty(shape, **options)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The scale 1 and the shift 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


def _shape(normalized_shape: Any) -> tuple[int, ...]:
    sizes = normalized_shape if isinstance(normalized_shape, Iterable) else (normalized_shape,)
    return shape_from(tuple(sizes))


@public(NN)
class LayerNorm(_Affine):
    """Normalization of each sample over its last axes, of shape `normalized_shape`.

    Weight and bias have that shape; see `layer_norm` (Ba, Kiros and Hinton, 2016).

    >>> LayerNorm(2, eps=0.0)(Tensor([[1.0, 3.0], [10.0, 30.0]]))
    tensor([[-1.,  1.],
            [-1.,  1.]], grad_fn=<standardize>)
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.normalized_shape = _shape(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        affine, options = elementwise_affine, given(device, dtype)
        self._make_parameters(self.normalized_shape, affine, affine and bias, options)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


@public(NN)
class GroupNorm(_Affine):
    """Normalization of each of `num_groups` groups of channels of (N, num_channels, *S).

    Weight and bias have a number for each channel; see `group_norm` (Wu and He, 2018).

    >>> GroupNorm(2, 4, eps=0.0, affine=False)(Tensor([[1.0, 3.0, 10.0, 30.0]]))
    tensor([[-1.,  1., -1.,  1.]])
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        num_groups, num_channels = shape_from((num_groups, num_channels))
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: num_groups={num_groups} must divide num_channels={num_channels}."
            )
        self.num_groups, self.num_channels = num_groups, num_channels
        self.eps, self.affine = eps, affine
        self._make_parameters((num_channels,), affine, affine and bias, given(device, dtype))

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


@public(NN)
class RMSNorm(Module):
    """x / √(mean(x²) + eps) · weight over the last axes; see `rms_norm` (Zhang and Sennrich, 2019).

    By default `eps` is the distance from 1 to the next number of the dtype.

    >>> RMSNorm(3, elementwise_affine=False)(Tensor([3.0, 3.0, -3.0]))
    tensor([ 1.,  1., -1.])
    """

    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.normalized_shape = _shape(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        scale = None
        if elementwise_affine:
            scale = Parameter(empty(self.normalized_shape, **given(device, dtype)))
        self.register_parameter("weight", scale)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The scale 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


@public(NN)
class LocalResponseNorm(Module):
    """x / (k + alpha / size · Σ x²)^beta over `size` neighbouring channels of (N, C, *S).

    `divide=False` leaves alpha undivided: AlexNet has
    LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0, divide=False). See `local_response_norm`
    (Krizhevsky, Sutskever and Hinton, 2012).

    >>> layer = LocalResponseNorm(3, alpha=1.0, beta=0.5, k=0.0, divide=False)
    >>> layer(Tensor([[[1.0], [2.0], [2.0]]])).flatten()
    tensor([0.4472, 0.6667, 0.7071])
    """

    def __init__(
        self,
        size: int,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 1.0,
        *,
        divide: bool = True,
    ) -> None:
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k
        self.divide = divide

    def forward(self, input: Tensor) -> Tensor:
        options = self.size, self.alpha, self.beta, self.k
        return F.local_response_norm(input, *options, divide=self.divide)

    def extra_repr(self) -> str:
        text = f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
        return text if self.divide else f"{text}, divide=False"


@public(NN)
class CrossMapLRN2d(Module):
    """LocalResponseNorm of images (N, C, H, W), as Caffe has it.

    For an odd `size` they are the same. Of an even one the window has one channel less, so that
    each channel is in the middle of its own; alpha is divided by `size` all the same.
    (PyTorch's leaves the first channel in every window.)

    >>> CrossMapLRN2d(3, alpha=3.0, beta=0.5, k=0)(Tensor([[[[1.0]], [[2.0]], [[2.0]]]])).flatten()
    tensor([0.4472, 0.6667, 0.7071])
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1) -> None:
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim != 4:
            raise ValueError(f"CrossMapLRN2d expects an input (N, C, H, W); got {input.shape}.")
        window = self.size - (self.size % 2 == 0)
        options = self.alpha / self.size, self.beta, self.k
        return F.local_response_norm(input, window, *options, divide=False)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
