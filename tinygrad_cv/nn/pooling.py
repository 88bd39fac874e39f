"""Pooling: one number for each window of a sequence, an image or a volume.

The arguments are those of the functions; the stride is the kernel size by default, and an input may
be without N.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn.module import Module
from tinygrad_cv.ops.conv import per_axis
from tinygrad_cv.ops.pool import check_padding, kernel_and_stride


class _Pool(Module):
    """Base of the pools over windows of `axes` axes."""

    axes: ClassVar[int]
    _function: ClassVar[Callable[..., Any]]
    """What a call computes."""

    def _take(self, kernel_size: Any, stride: Any, padding: Any) -> None:
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride
        kernel, _ = kernel_and_stride(self.axes, kernel_size, stride)
        pads = per_axis(self.axes, padding, "padding", 0)
        check_padding(type(self).__name__, pads, kernel)


class _MaxPoolNd(_Pool):
    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        self._take(kernel_size, stride, padding)
        self.dilation, self.return_indices, self.ceil_mode = dilation, return_indices, ceil_mode

    def forward(self, input: Tensor) -> Any:
        windows = self.kernel_size, self.stride, self.padding, self.dilation
        return self._function(input, *windows, self.ceil_mode, self.return_indices)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


@public(NN)
class MaxPool1d(_MaxPoolNd):
    """The largest element of each window of (N, C, L); see `max_pool1d`.

    >>> from tinygrad_cv import ones
    >>> MaxPool1d(2)(ones(1, 2, 8)).shape
    (1, 2, 4)
    """

    axes = 1
    _function = staticmethod(F.max_pool1d)


@public(NN)
class MaxPool2d(_MaxPoolNd):
    """The largest element of each window of (N, C, H, W); see `max_pool2d`.

    >>> from tinygrad_cv import ones
    >>> MaxPool2d(2)(ones(1, 2, 8, 6)).shape
    (1, 2, 4, 3)
    """

    axes = 2
    _function = staticmethod(F.max_pool2d)


@public(NN)
class MaxPool3d(_MaxPoolNd):
    """The largest element of each window of (N, C, D, H, W); see `max_pool3d`.

    >>> from tinygrad_cv import ones
    >>> MaxPool3d(2)(ones(1, 2, 4, 8, 6)).shape
    (1, 2, 2, 4, 3)
    """

    axes = 3
    _function = staticmethod(F.max_pool3d)


class _MaxUnpoolNd(_Pool):
    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        self.kernel_size = per_axis(self.axes, kernel_size, "kernel_size", 1)
        steps = kernel_size if stride is None else stride
        self.stride = per_axis(self.axes, steps, "stride", 1)
        self.padding = per_axis(self.axes, padding, "padding", 0)

    def forward(
        self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None
    ) -> Tensor:
        windows = self.kernel_size, self.stride, self.padding
        y: Tensor = self._function(input, indices, *windows, output_size)
        return y

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


@public(NN)
class MaxUnpool1d(_MaxUnpoolNd):
    """Zeros with each maximum of a MaxPool1d put back; see `max_unpool1d`.

    >>> from tinygrad_cv import ones
    >>> pool = MaxPool1d(2, return_indices=True)
    >>> MaxUnpool1d(2)(*pool(ones(1, 2, 8))).shape
    (1, 2, 8)
    """

    axes = 1
    _function = staticmethod(F.max_unpool1d)


@public(NN)
class MaxUnpool2d(_MaxUnpoolNd):
    """Zeros with each maximum of a MaxPool2d put back; see `max_unpool2d`.

    >>> from tinygrad_cv import ones
    >>> pool = MaxPool2d(2, return_indices=True)
    >>> MaxUnpool2d(2)(*pool(ones(1, 2, 8, 6))).shape
    (1, 2, 8, 6)
    """

    axes = 2
    _function = staticmethod(F.max_unpool2d)


@public(NN)
class MaxUnpool3d(_MaxUnpoolNd):
    """Zeros with each maximum of a MaxPool3d put back; see `max_unpool3d`.

    >>> from tinygrad_cv import ones
    >>> pool = MaxPool3d(2, return_indices=True)
    >>> MaxUnpool3d(2)(*pool(ones(1, 2, 4, 8, 6))).shape
    (1, 2, 4, 8, 6)
    """

    axes = 3
    _function = staticmethod(F.max_unpool3d)


class _AvgPoolNd(_Pool):
    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        self._take(kernel_size, stride, padding)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        windows = self.kernel_size, self.stride, self.padding
        options = self.ceil_mode, self.count_include_pad, self.divisor_override
        y: Tensor = self._function(input, *windows, *options)
        return y

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


@public(NN)
class AvgPool1d(_AvgPoolNd):
    """The mean of each window of (N, C, L); see `avg_pool1d`.

    >>> from tinygrad_cv import ones
    >>> AvgPool1d(2)(ones(1, 2, 8)).shape
    (1, 2, 4)
    """

    axes = 1

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        self._take(kernel_size, stride, padding)
        self.kernel_size = per_axis(1, kernel_size, "kernel_size", 1)
        self.stride = per_axis(1, self.stride, "stride", 1)
        self.padding = per_axis(1, padding, "padding", 0)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        windows = self.kernel_size, self.stride, self.padding
        return F.avg_pool1d(input, *windows, self.ceil_mode, self.count_include_pad)


@public(NN)
class AvgPool2d(_AvgPoolNd):
    """The mean of each window of (N, C, H, W); see `avg_pool2d`.

    >>> from tinygrad_cv import ones
    >>> AvgPool2d(2)(ones(1, 2, 8, 6)).shape
    (1, 2, 4, 3)
    """

    axes = 2
    _function = staticmethod(F.avg_pool2d)


@public(NN)
class AvgPool3d(_AvgPoolNd):
    """The mean of each window of (N, C, D, H, W); see `avg_pool3d`.

    >>> from tinygrad_cv import ones
    >>> AvgPool3d(2)(ones(1, 2, 4, 8, 6)).shape
    (1, 2, 2, 4, 3)
    """

    axes = 3
    _function = staticmethod(F.avg_pool3d)


class _LPPoolNd(Module):
    _function: ClassVar[Callable[..., Any]]
    """What a call computes."""

    def __init__(
        self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
    ) -> None:
        self.norm_type, self.kernel_size = norm_type, kernel_size
        self.stride, self.ceil_mode = stride, ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        options = self.kernel_size, self.stride, self.ceil_mode
        y: Tensor = self._function(input, float(self.norm_type), *options)
        return y

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


@public(NN)
class LPPool1d(_LPPoolNd):
    """(Σ |x|^p)^(1/p) over each window of (N, C, L), p = norm_type; see `lp_pool1d`.

    >>> from tinygrad_cv import ones
    >>> LPPool1d(2, 2)(ones(1, 2, 8)).shape
    (1, 2, 4)
    """

    _function = staticmethod(F.lp_pool1d)


@public(NN)
class LPPool2d(_LPPoolNd):
    """(Σ |x|^p)^(1/p) over each window of (N, C, H, W), p = norm_type; see `lp_pool2d`.

    >>> from tinygrad_cv import ones
    >>> LPPool2d(2, 2)(ones(1, 2, 8, 6)).shape
    (1, 2, 4, 3)
    """

    _function = staticmethod(F.lp_pool2d)


@public(NN)
class LPPool3d(_LPPoolNd):
    """(Σ |x|^p)^(1/p) over each window of (N, C, D, H, W), p = norm_type; see `lp_pool3d`.

    >>> from tinygrad_cv import ones
    >>> LPPool3d(2, 2)(ones(1, 2, 4, 8, 6)).shape
    (1, 2, 2, 4, 3)
    """

    _function = staticmethod(F.lp_pool3d)


class _AdaptiveAvgPoolNd(Module):
    _function: ClassVar[Callable[..., Any]]
    """What a call computes."""

    def __init__(self, output_size: Any) -> None:
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        y: Tensor = self._function(input, self.output_size)
        return y

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _AdaptiveMaxPoolNd(Module):
    _function: ClassVar[Callable[..., Any]]
    """What a call computes."""

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, input: Tensor) -> Any:
        return self._function(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


@public(NN)
class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    """The means of windows that make (N, C, L) `output_size` large.

    See `adaptive_avg_pool1d`.

    >>> from tinygrad_cv import ones
    >>> AdaptiveAvgPool1d(3)(ones(1, 2, 8)).shape
    (1, 2, 3)
    """

    _function = staticmethod(F.adaptive_avg_pool1d)


@public(NN)
class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    """The means of windows that make (N, C, H, W) `output_size` large.

    See `adaptive_avg_pool2d`.

    >>> from tinygrad_cv import ones
    >>> AdaptiveAvgPool2d((3, None))(ones(1, 2, 8, 6)).shape
    (1, 2, 3, 6)
    """

    _function = staticmethod(F.adaptive_avg_pool2d)


@public(NN)
class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    """The means of windows that make (N, C, D, H, W) `output_size` large.

    See `adaptive_avg_pool3d`.

    >>> from tinygrad_cv import ones
    >>> AdaptiveAvgPool3d((2, 3, None))(ones(1, 2, 4, 8, 6)).shape
    (1, 2, 2, 3, 6)
    """

    _function = staticmethod(F.adaptive_avg_pool3d)


@public(NN)
class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """The largest element of windows that make (N, C, L) `output_size` large.

    See `adaptive_max_pool1d`.

    >>> from tinygrad_cv import ones
    >>> AdaptiveMaxPool1d(3)(ones(1, 2, 8)).shape
    (1, 2, 3)
    """

    _function = staticmethod(F.adaptive_max_pool1d)


@public(NN)
class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """The largest element of windows that make (N, C, H, W) `output_size` large.

    See `adaptive_max_pool2d`.

    >>> from tinygrad_cv import ones
    >>> AdaptiveMaxPool2d((3, None))(ones(1, 2, 8, 6)).shape
    (1, 2, 3, 6)
    """

    _function = staticmethod(F.adaptive_max_pool2d)


@public(NN)
class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """The largest element of windows that make (N, C, D, H, W) `output_size` large.

    See `adaptive_max_pool3d`.

    >>> from tinygrad_cv import ones
    >>> AdaptiveMaxPool3d((2, 3, None))(ones(1, 2, 4, 8, 6)).shape
    (1, 2, 2, 3, 6)
    """

    _function = staticmethod(F.adaptive_max_pool3d)


class _FractionalMaxPoolNd(Module):
    axes: ClassVar[int]
    _function: ClassVar[Callable[..., Any]]
    """What a call computes."""
    _random_samples: Tensor | None

    def __init__(
        self,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
        *,
        generator: Any = None,
    ) -> None:
        name, axes = type(self).__name__, self.axes
        self.kernel_size = per_axis(axes, kernel_size, "kernel_size", 1)
        self.return_indices, self.generator = return_indices, generator
        self.register_buffer("_random_samples", _random_samples)
        if (output_size is None) == (output_ratio is None):
            raise ValueError(
                f"{name}: either output_size or output_ratio is asked for; got "
                f"output_size={output_size} and output_ratio={output_ratio}."
            )
        self.output_size = output_size
        if output_size is not None:
            self.output_size = per_axis(axes, output_size, "output_size", 1)
        self.output_ratio = output_ratio
        if output_ratio is not None:
            each = output_ratio if isinstance(output_ratio, Sequence) else (output_ratio,) * axes
            self.output_ratio = tuple(each)
            if not all(0 < ratio < 1 for ratio in each):
                raise ValueError(f"{name}: output_ratio lies between 0 and 1; got {output_ratio}.")

    def forward(self, input: Tensor) -> Any:
        return self._function(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            self._random_samples,
            generator=self.generator,
        )


@public(NN)
class FractionalMaxPool2d(_FractionalMaxPoolNd):
    """The largest elements of windows at random places; see `fractional_max_pool2d`.

    `output_size` is the size of the output, or `output_ratio` its share of that of the input.

    >>> from tinygrad_cv import ones
    >>> FractionalMaxPool2d(2, output_ratio=0.5)(ones(1, 2, 8, 6)).shape
    (1, 2, 4, 3)
    """

    axes = 2
    _function = staticmethod(F.fractional_max_pool2d)


@public(NN)
class FractionalMaxPool3d(_FractionalMaxPoolNd):
    """The largest elements of windows at random places; see `fractional_max_pool3d`.

    `output_size` is the size of the output, or `output_ratio` its share of that of the input.

    >>> from tinygrad_cv import ones
    >>> FractionalMaxPool3d(2, output_ratio=0.5)(ones(1, 2, 4, 8, 6)).shape
    (1, 2, 2, 4, 3)
    """

    axes = 3
    _function = staticmethod(F.fractional_max_pool3d)
