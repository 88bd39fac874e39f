"""Batch normalization, and what it shares with instance normalization."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor, as_input
from tinygrad_cv.backend.recording import recording, refuse
from tinygrad_cv.creation import empty, full, shape_from, zeros
from tinygrad_cv.distributed.collectives import differentiable_sum
from tinygrad_cv.distributed.state import get_world_size, is_initialized
from tinygrad_cv.dtypes import result_type
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn import init
from tinygrad_cv.nn.lazy import LazyModuleMixin
from tinygrad_cv.nn.linear import given
from tinygrad_cv.nn.module import Module
from tinygrad_cv.nn.parameter import Parameter, UninitializedBuffer, UninitializedParameter
from tinygrad_cv.ops.norm import check_eps, check_momentum
from tinygrad_cv.ops.shape import cat


class _NormBase(Module):
    """A scale and a shift for each channel, and running statistics of it.

    With `affine` they are learned, and start at 1 and 0; `bias=False` leaves out the shift.
    `track_running_stats` keeps running means and variances, which start at 0 and 1.
    """

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None
    dims: ClassVar[tuple[int, ...]]
    _version = 2
    """States of version 1, which PyTorch wrote up to 0.4, do not count the batches."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        (num_features,) = shape_from((num_features,))
        check_eps(type(self).__name__, eps, positive=True)
        if momentum is not None:
            check_momentum(type(self).__name__, momentum)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self._make_parameters(bias, device, dtype)

    def _make_parameters(self, bias: bool, device: Any, dtype: Any) -> None:
        options, size = given(device, dtype), (self.num_features,)
        affine, tracking = self.affine, self.track_running_stats
        self.register_parameter("weight", Parameter(empty(size, **options)) if affine else None)
        shift = Parameter(empty(size, **options)) if affine and bias else None
        self.register_parameter("bias", shift)
        self.register_buffer("running_mean", empty(size, **options) if tracking else None)
        self.register_buffer("running_var", empty(size, **options) if tracking else None)
        count = zeros((), dtype="int64", **given(device, None)) if tracking else None
        self.register_buffer("num_batches_tracked", count)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """The mean 0 and the variance 1, of no batches."""
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """The scale 1, the shift 0, and new running statistics."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check_input_dim(self, input: Tensor) -> None:
        """Raise unless the input has the axes that the layer is for."""
        if input.ndim not in self.dims:
            raise ValueError(
                f"{type(self).__name__} expects an input with {' or '.join(map(str, self.dims))} "
                f"axes; got {input.shape}."
            )

    def _channels(self, input: Tensor) -> int:
        return input.shape[1]

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        *lists: Any,
    ) -> None:
        """Older states, and dicts of no known version, need not have the number of batches."""
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, *lists
        )
        key = f"{prefix}num_batches_tracked"
        if local_metadata.get("version", 1) < 2 and key in missing_keys:
            missing_keys.remove(key)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_NormBase):
    """Normalization over the batch, with learned scale and shift; see `batch_norm`.

    In training the running statistics move by `momentum` towards those of the batch; with
    momentum=None they are the means over all batches, which `num_batches_tracked` counts. Without
    running statistics evaluation uses the batch as well.
    """

    def forward(self, input: Tensor) -> Tensor:
        input = as_input(input, self.weight)
        self._check_input_dim(input)
        tracking = self.training and self.track_running_stats
        count = self.num_batches_tracked if tracking else None
        momentum = self.momentum
        if momentum is None:
            if count is not None and recording.get() is not None:
                refuse(
                    f"{type(self).__name__}(momentum=None) in training, whose share of a batch "
                    "falls with each,",
                    "Give it a momentum, such as 0.1.",
                )
            momentum = 0.0 if count is None else 1 / (int(count) + 1)
        y = self._normalize(input, tracking or not self.training, momentum)
        if count is not None:
            # As the running statistics, without what an operation of tensors costs.
            with count._backend.active:
                count._backend.add(count._array, 1, out=count._array)
            count._changed()
        return y

    def _normalize(self, input: Tensor, used: bool, momentum: float) -> Tensor:
        """The result, by the running statistics if they are `used`, which move in training."""
        return F.batch_norm(
            input,
            self.running_mean if used else None,
            self.running_var if used else None,
            self.weight,
            self.bias,
            self.training or (self.running_mean is None and self.running_var is None),
            momentum,
            self.eps,
        )


@public(NN)
class BatchNorm1d(_BatchNorm):
    """Batch normalization of (N, C) or (N, C, L).

    >>> BatchNorm1d(1, eps=1e-9)(Tensor([[1.0], [3.0]]))
    tensor([[-1.],
            [ 1.]], grad_fn=<batch_norm>)
    """

    dims = (2, 3)


@public(NN)
class BatchNorm2d(_BatchNorm):
    """Batch normalization of (N, C, H, W).

    >>> from tinygrad_cv import ones
    >>> BatchNorm2d(3)(ones(2, 3, 4, 4)).sum().item()
    0.0
    """

    dims = (4,)


@public(NN)
class BatchNorm3d(_BatchNorm):
    """Batch normalization of (N, C, D, H, W).

    >>> from tinygrad_cv import ones
    >>> BatchNorm3d(3)(ones(2, 3, 2, 4, 4)).sum().item()
    0.0
    """

    dims = (5,)


@public(NN)
class SyncBatchNorm(_BatchNorm):
    """Batch normalization of (N, C, *S) over the batches of all ranks together.

    In training μ and σ² are those of all samples of the process group, of which each rank may have
    another number, even none; so the results, the gradients of every order and the running
    statistics are those of one process with the whole batch, to rounding. Two sums travel in each
    direction for each layer. With one rank, without a process group, and in evaluation it is
    `BatchNorm2d` and its kin.

    The gradient of the input is that of the sum of the losses of all ranks; those of `weight` and
    `bias` are this rank's share, which `DistributedDataParallel` averages with the others.

    >>> from tinygrad_cv import ones
    >>> SyncBatchNorm(3)(ones(2, 3, 4)).sum().item()
    0.0
    """

    dims = (2, 3, 4, 5)

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )
        self.process_group = process_group

    def _normalize(self, input: Tensor, used: bool, momentum: float) -> Tensor:
        group = self.process_group
        alone = get_world_size(group) == 1 if group is not None or is_initialized() else True
        learning = self.training or self.running_mean is None or self.running_var is None
        if alone or not learning:
            return super()._normalize(input, used, momentum)
        if input.shape[1] != self.num_features:
            raise ValueError(
                f"SyncBatchNorm({self.num_features}) expects an input with as many channels; got "
                f"{input.shape}."
            )
        input = input if input.is_floating_point() else input.float()
        x = input.float() if input.dtype == "float16" else input
        axes, channels = (0, *range(2, x.ndim)), (1, -1, *[1] * (x.ndim - 2))
        values = full((1,), math.prod(x.shape) // self.num_features, dtype=x.dtype, device=x.device)
        sums = differentiable_sum(cat([x.sum(axes), values]), group)
        n = sums[-1].detach()
        mean = sums[:-1] / n
        d = x - mean.reshape(channels)
        var = differentiable_sum((d * d).sum(axes), group) / n
        scale = (var + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        y = d * scale.reshape(channels)
        if self.bias is not None:
            y = y + self.bias.reshape(channels)
        if used and self.running_mean is not None and self.running_var is not None:
            with no_grad():
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
                unbiased = var * (n / (n - 1).clamp(min=1))
                self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)
        return y.to(result_type(*(t for t in (input, self.weight, self.bias) if t is not None)))

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """The module with a SyncBatchNorm in place of each batch norm in it, or of itself.

        They have the same parameters and buffers, the very tensors. What is not lazy any more
        counts as what it became.

        >>> from tinygrad_cv import nn
        >>> nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.BatchNorm2d(3)))[0].eps
        1e-05
        """
        new = module
        if isinstance(module, _BatchNorm) and not isinstance(module, _LazyNormBase | SyncBatchNorm):
            new = cls(
                module.num_features,
                module.eps,
                module.momentum,
                module.affine,
                module.track_running_stats,
                process_group,
            )
            for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
                setattr(new, name, getattr(module, name))
            new.training = module.training
        for name, child in module.named_children():
            converted = cls.convert_sync_batchnorm(child, process_group)
            if converted is not child:
                setattr(new, name, converted)
        return new


# ----- without num_features ----------------------------------------------------------------------


class _LazyNormBase(LazyModuleMixin):
    """What a normalization without num_features does with its first input."""

    affine: bool
    track_running_stats: bool
    num_features: int
    _check_input_dim: Callable[[Tensor], None]
    _channels: Callable[[Tensor], int]

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(0, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def _make_parameters(self, bias: bool, device: Any, dtype: Any) -> None:
        options, affine = given(device, dtype), self.affine
        self.register_parameter("weight", UninitializedParameter(**options) if affine else None)
        shift = UninitializedParameter(**options) if affine and bias else None
        self.register_parameter("bias", shift)
        for name in ("running_mean", "running_var"):
            value = UninitializedBuffer(**options) if self.track_running_stats else None
            self.register_buffer(name, value)
        count = zeros((), dtype="int64", **given(device, None))
        self.register_buffer("num_batches_tracked", count if self.track_running_stats else None)

    def reset_parameters(self) -> None:
        """The first values, once the shapes are known."""
        if not self.has_uninitialized_params():
            super().reset_parameters()  # type: ignore[misc]

    def initialize_parameters(self, input: Tensor) -> None:
        """Take the number of channels from the first input."""
        self._check_input_dim(input)
        self.num_features = self._channels(input)
        if not self.has_uninitialized_params():
            return  # there are none, or a state was loaded
        names = ("weight", "bias", "running_mean", "running_var")
        for tensor in [getattr(self, name) for name in names]:
            if tensor is not None:
                tensor.materialize((self.num_features,))
        self.reset_parameters()


@public(NN)
class LazyBatchNorm1d(_LazyNormBase, BatchNorm1d):
    """A BatchNorm1d whose num_features are the channels of its first input.

    >>> from tinygrad_cv import ones
    >>> layer = LazyBatchNorm1d()
    >>> layer(ones(2, 3, 4)).shape, layer.num_features
    ((2, 3, 4), 3)
    """

    cls_to_become = BatchNorm1d


@public(NN)
class LazyBatchNorm2d(_LazyNormBase, BatchNorm2d):
    """A BatchNorm2d whose num_features are the channels of its first input.

    >>> from tinygrad_cv import ones
    >>> layer = LazyBatchNorm2d()
    >>> layer(ones(2, 3, 4, 4)).shape, layer.num_features
    ((2, 3, 4, 4), 3)
    """

    cls_to_become = BatchNorm2d


@public(NN)
class LazyBatchNorm3d(_LazyNormBase, BatchNorm3d):
    """A BatchNorm3d whose num_features are the channels of its first input.

    >>> from tinygrad_cv import ones
    >>> layer = LazyBatchNorm3d()
    >>> layer(ones(2, 3, 4, 4, 4)).shape, layer.num_features
    ((2, 3, 4, 4, 4), 3)
    """

    cls_to_become = BatchNorm3d
