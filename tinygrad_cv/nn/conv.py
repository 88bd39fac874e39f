"""Convolutions, their adjoints, and the convolution that shares no weights."""

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.creation import empty, shape_from
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn.lazy import LazyModuleMixin
from tinygrad_cv.nn.linear import given, uniform_
from tinygrad_cv.nn.module import Module
from tinygrad_cv.nn.parameter import Parameter, UninitializedParameter
from tinygrad_cv.ops.conv import AXES, check_windows, locally_connected2d, pair, per_axis

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """Base of the convolutions. The length of `kernel_size` counts the spatial axes of the images.

    Weight and bias are uniform on ±1/√fan_in at first, where fan_in is the number of weights in
    weight[0]; they are drawn from `generator`, or from the one that `manual_seed` seeds. The
    arguments are in PyTorch's order: layers of others derive from this class.
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, ...],
        stride: Any,
        padding: Any,
        dilation: Any,
        transposed: bool,
        output_padding: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        name, axes = type(self).__name__, len(kernel_size)
        in_channels, out_channels, groups = shape_from((in_channels, out_channels, groups))
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"groups={groups} must divide in_channels={in_channels} and "
                f"out_channels={out_channels}."
            )
        if padding_mode not in PADDING_MODES:
            raise ValueError(
                f"{name}: padding_mode is one of {', '.join(PADDING_MODES)}; got {padding_mode!r}."
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.transposed = transposed
        self.kernel_size = per_axis(axes, kernel_size, "kernel_size", 1)
        self.stride = per_axis(axes, stride, "stride", 1)
        self.dilation = per_axis(axes, dilation, "dilation", 1)
        self.output_padding = per_axis(axes, output_padding, "output_padding", 0)
        self.padding_mode, self.generator = padding_mode, generator
        if not isinstance(padding, str):
            self.padding: Any = per_axis(axes, padding, "padding", 0)
        elif padding == "valid" or (padding == "same" and max(self.stride) == 1):
            self.padding = padding
        else:
            raise ValueError(
                f"{name}: padding is 'valid', 'same' (with stride 1) or numbers; got {padding!r} "
                f"with stride {self.stride}."
            )
        self._reversed_padding_repeated_twice = self._widths()
        self._make_parameters(bias, given(device, dtype))

    def _weight_shape(self) -> tuple[int, ...]:
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        return first, second // self.groups, *self.kernel_size

    def _make_parameters(self, bias: bool, options: dict[str, Any]) -> None:
        self.weight = Parameter(empty(self._weight_shape(), **options))
        one_each = Parameter(empty((self.out_channels,), **options)) if bias else None
        self.register_parameter("bias", one_each)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """New random values, by the law of the first ones."""
        uniform_(math.prod(self.weight.shape[1:]), self.generator, self.weight, self.bias)

    def _widths(self) -> tuple[int, ...]:
        """What is put around the last axis, then around the one before it, and so on."""
        widths: list[int] = []
        for axis in reversed(range(len(self.kernel_size))):
            total = self.dilation[axis] * (self.kernel_size[axis] - 1)
            if self.padding == "same":
                widths += [total // 2, total - total // 2]
            else:
                widths += [0 if self.padding == "valid" else self.padding[axis]] * 2
        return tuple(widths)

    def _padded(self, input: Tensor) -> tuple[Tensor, Any]:
        """The input with its borders continued, and the padding that is left to do."""
        if self.padding_mode == "zeros":
            return input, self.padding
        widths = self._reversed_padding_repeated_twice
        return F.pad(input, widths, mode=self.padding_mode), 0

    def extra_repr(self) -> str:
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        ones, zeros = (1,) * len(self.kernel_size), (0,) * len(self.kernel_size)
        usual = {"padding": zeros, "dilation": ones, "output_padding": zeros, "groups": 1}
        for name, value in usual.items():
            if getattr(self, name) != value:
                text += f", {name}={getattr(self, name)}"
        text += ", bias=False" if self.bias is None else ""
        return text + (
            f", padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else ""
        )


class _Convolution(_ConvNd):
    """Base of Conv1d, Conv2d and Conv3d: the arguments of their constructors."""

    axes: ClassVar[int]
    _function: ClassVar[Callable[..., Any]]
    """What a call computes."""

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
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        kernel_size = per_axis(self.axes, kernel_size, "kernel_size", 1)
        windows = kernel_size, stride, padding, dilation
        options: tuple[Any, ...] = (groups, bias, padding_mode, device, dtype)
        super().__init__(
            in_channels, out_channels, *windows, False, 0, *options, generator=generator
        )

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        x, padding = self._padded(input)
        options = self.stride, padding, self.dilation, self.groups
        y: Tensor = self._function(x, weight, bias, *options)
        return y

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)


@public(NN)
class Conv1d(_Convolution):
    """Convolution of (N, in_channels, L); see `conv1d`. The weight is (out, in/groups, k).

    The arguments are those of `Conv2d`.

    >>> from tinygrad_cv import ones
    >>> Conv1d(3, 8, 3, padding=1)(ones(1, 3, 5)).shape
    (1, 8, 5)
    """

    axes = 1
    _function = staticmethod(F.conv1d)


@public(NN)
class Conv2d(_Convolution):
    """Convolution of (N, in_channels, H, W); see `conv2d`. The weight is (out, in/groups, kh, kw).

    `padding` is a number, one for each axis, "valid" or "same"; `padding_mode` says what is put
    there: "zeros", or the image continued by "reflect", "replicate" or "circular" (see `pad`).

    Raises ValueError where groups do not divide the channels, and for "same" with a stride.

    >>> from tinygrad_cv import ones
    >>> Conv2d(3, 8, 3, padding=1)(ones(1, 3, 5, 5)).shape
    (1, 8, 5, 5)
    """

    axes = 2
    _function = staticmethod(F.conv2d)


@public(NN)
class Conv3d(_Convolution):
    """Convolution of (N, in_channels, D, H, W); see `conv3d`.

    The arguments are those of `Conv2d`; the weight is (out, in/groups, kd, kh, kw).

    >>> from tinygrad_cv import ones
    >>> Conv3d(3, 8, 3, padding="same")(ones(1, 3, 2, 5, 5)).shape
    (1, 8, 2, 5, 5)
    """

    axes = 3
    _function = staticmethod(F.conv3d)


class _ConvTransposeNd(_ConvNd):
    """Base of the adjoints of the convolutions."""

    axes: ClassVar[int]
    _function: ClassVar[Callable[..., Any]]
    """What a call computes."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        name = type(self).__name__
        if padding_mode != "zeros":
            raise ValueError(f"{name}: padding_mode can only be 'zeros'; got {padding_mode!r}.")
        if isinstance(padding, str):
            raise ValueError(f"{name}: padding is made of numbers; got {padding!r}.")
        kernel_size = per_axis(self.axes, kernel_size, "kernel_size", 1)
        windows = kernel_size, stride, padding, dilation
        options: tuple[Any, ...] = (groups, bias, padding_mode, device, dtype)
        super().__init__(
            in_channels, out_channels, *windows, True, output_padding, *options, generator=generator
        )

    def _output_padding(
        self,
        input: Tensor,
        output_size: Sequence[int] | None,
        stride: Sequence[int],
        padding: Sequence[int],
        kernel_size: Sequence[int],
        num_spatial_dims: int,
        dilation: Sequence[int] | None = None,
    ) -> tuple[int, ...]:
        """The output_padding for an output of this size, which may be given with N and C."""
        if output_size is None:
            return self.output_padding
        name, axes = type(self).__name__, num_spatial_dims
        if len(output_size) not in (axes, input.ndim):
            raise ValueError(
                f"{name}: output_size has {axes} or {input.ndim} numbers for an input of shape "
                f"{input.shape}; got {tuple(output_size)}."
            )
        dilation = (1,) * axes if dilation is None else dilation
        lengths = zip(input.shape[-axes:], kernel_size, stride, padding, dilation, strict=True)
        least = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, k, s, p, d in lengths]
        extra = tuple(m - n for m, n in zip(output_size[-axes:], least, strict=True))
        if any(not 0 <= e < s for e, s in zip(extra, stride, strict=True)):
            most = [n + s - 1 for n, s in zip(least, stride, strict=True)]
            raise ValueError(
                f"{name}: an input of shape {input.shape} gives an output from {tuple(least)} to "
                f"{tuple(most)}; got output_size={tuple(output_size)}."
            )
        return extra

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        windows = self.stride, self.padding, self.kernel_size, self.axes, self.dilation
        extra = self._output_padding(input, output_size, *windows)
        options = self.stride, self.padding, extra, self.groups, self.dilation
        y: Tensor = self._function(input, self.weight, self.bias, *options)
        return y


@public(NN)
class ConvTranspose1d(_ConvTransposeNd):
    """The adjoint of Conv1d; see `conv_transpose1d`. The weight is (in, out/groups, k).

    >>> from tinygrad_cv import ones
    >>> ConvTranspose1d(3, 8, 2, stride=2)(ones(1, 3, 5)).shape
    (1, 8, 10)
    """

    axes = 1
    _function = staticmethod(F.conv_transpose1d)


@public(NN)
class ConvTranspose2d(_ConvTransposeNd):
    """The adjoint of Conv2d; see `conv_transpose2d`. The weight is (in, out/groups, kh, kw).

    Images whose sizes differ by less than a stride have convolutions of one size, so which of them
    comes out is said by `output_padding`, or in the call by `output_size`.

    >>> from tinygrad_cv import ones
    >>> layer = ConvTranspose2d(3, 8, 2, stride=2)
    >>> layer(ones(1, 3, 5, 5)).shape, layer(ones(1, 3, 5, 5), output_size=(11, 10)).shape
    ((1, 8, 10, 10), (1, 8, 11, 10))
    """

    axes = 2
    _function = staticmethod(F.conv_transpose2d)


@public(NN)
class ConvTranspose3d(_ConvTransposeNd):
    """The adjoint of Conv3d; see `conv_transpose3d`. The weight is (in, out/groups, kd, kh, kw).

    >>> from tinygrad_cv import ones
    >>> ConvTranspose3d(3, 8, 2, stride=2)(ones(1, 3, 1, 5, 5)).shape
    (1, 8, 2, 10, 10)
    """

    axes = 3
    _function = staticmethod(F.conv_transpose3d)


@public(NN)
class LocallyConnected2d(Module):
    """A convolution whose windows each have a kernel of their own; see `locally_connected2d`.

    It is made for images of one size, `input_size`: (N, in_channels, H, W) -> (N, out_channels,
    H', W'), with the H' and W' of a convolution. The weight is (H', W', out, in, kh, kw), the bias
    (out, H', W'); both are uniform on ±1/√(in·kh·kw) at first, as those of Conv2d.

    >>> from tinygrad_cv import ones
    >>> layer = LocallyConnected2d(3, 8, (6, 5), 3)
    >>> layer(ones(2, 3, 6, 5)).shape, layer.weight.shape
    ((2, 8, 4, 3), (4, 3, 8, 3, 3, 3))
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        input_size: Any,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        self.in_channels, self.out_channels = shape_from((in_channels, out_channels))
        self.input_size = pair(input_size, "input_size", 1)
        self.kernel_size = pair(kernel_size, "kernel_size", 1)
        self.stride = pair(stride, "stride", 1)
        self.padding = pair(padding, "padding", 0)
        self.dilation = pair(dilation, "dilation", 1)
        self.generator = generator
        out = check_windows(
            "LocallyConnected2d",
            (1, self.in_channels, *self.input_size),
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
        )
        options = given(device, dtype)
        shape = (*out, self.out_channels, self.in_channels, *self.kernel_size)
        self.weight = Parameter(empty(shape, **options))
        one_each = Parameter(empty((self.out_channels, *out), **options)) if bias else None
        self.register_parameter("bias", one_each)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """New random values, by the law of the first ones."""
        uniform_(math.prod(self.weight.shape[3:]), self.generator, self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        options = self.stride, self.padding, self.dilation
        return locally_connected2d(input, self.weight, self.bias, *options)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, input_size={self.input_size}, "
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        )


# ----- without in_channels -----------------------------------------------------------------------


class _LazyConvXdMixin(LazyModuleMixin):
    """What a convolution without in_channels does with its first input."""

    axes: ClassVar[int]
    transposed: bool
    in_channels: int
    out_channels: int
    groups: int
    weight: Any
    bias: Any
    _weight_shape: Callable[[], tuple[int, ...]]

    def _make_parameters(self, bias: bool, options: dict[str, Any]) -> None:
        self.weight = UninitializedParameter(**options)
        self.register_parameter("bias", UninitializedParameter(**options) if bias else None)

    def reset_parameters(self) -> None:
        """New random values, once the shapes are known."""
        if not self.has_uninitialized_params():
            super().reset_parameters()  # type: ignore[misc]

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        """Take the number of channels from the first input."""
        if input.ndim not in (self.axes + 1, self.axes + 2):
            raise RuntimeError(
                f"{type(self).__name__}: expected an input (N, C, {AXES[self.axes]}), or without "
                f"N; got {input.shape}."
            )
        channels = input.shape[-1 - self.axes]
        if channels % self.groups:
            raise ValueError(
                f"{type(self).__name__}: groups={self.groups} must divide the {channels} channels "
                f"of the input {input.shape}."
            )
        self.in_channels = channels
        if not self.has_uninitialized_params():
            return  # of a state that was loaded
        self.weight.materialize(self._weight_shape())
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()


class _LazyConvNd(_LazyConvXdMixin):
    def __init__(
        self,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        windows = kernel_size, stride, padding, dilation, groups
        options = bias, padding_mode, device, dtype
        super().__init__(0, out_channels, *windows, *options, generator=generator)


class _LazyConvTransposeNd(_LazyConvXdMixin):
    def __init__(
        self,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        windows = kernel_size, stride, padding, output_padding, groups
        options = bias, dilation, padding_mode, device, dtype
        super().__init__(0, out_channels, *windows, *options, generator=generator)


@public(NN)
class LazyConv1d(_LazyConvNd, Conv1d):
    """A Conv1d whose in_channels are those of its first input.

    >>> from tinygrad_cv import ones
    >>> layer = LazyConv1d(8, 3)
    >>> _ = layer(ones(1, 3, 5))
    >>> layer
    Conv1d(3, 8, kernel_size=(3,), stride=(1,))
    """

    cls_to_become = Conv1d


@public(NN)
class LazyConv2d(_LazyConvNd, Conv2d):
    """A Conv2d whose in_channels are those of its first input.

    >>> from tinygrad_cv import ones
    >>> layer = LazyConv2d(8, 3)
    >>> _ = layer(ones(1, 3, 5, 5))
    >>> layer
    Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
    """

    cls_to_become = Conv2d


@public(NN)
class LazyConv3d(_LazyConvNd, Conv3d):
    """A Conv3d whose in_channels are those of its first input.

    >>> from tinygrad_cv import ones
    >>> layer = LazyConv3d(8, 3)
    >>> _ = layer(ones(1, 3, 5, 5, 5))
    >>> layer
    Conv3d(3, 8, kernel_size=(3, 3, 3), stride=(1, 1, 1))
    """

    cls_to_become = Conv3d


@public(NN)
class LazyConvTranspose1d(_LazyConvTransposeNd, ConvTranspose1d):
    """A ConvTranspose1d whose in_channels are those of its first input.

    >>> from tinygrad_cv import ones
    >>> layer = LazyConvTranspose1d(8, 3)
    >>> _ = layer(ones(1, 3, 5))
    >>> layer
    ConvTranspose1d(3, 8, kernel_size=(3,), stride=(1,))
    """

    cls_to_become = ConvTranspose1d


@public(NN)
class LazyConvTranspose2d(_LazyConvTransposeNd, ConvTranspose2d):
    """A ConvTranspose2d whose in_channels are those of its first input.

    >>> from tinygrad_cv import ones
    >>> layer = LazyConvTranspose2d(8, 3)
    >>> _ = layer(ones(1, 3, 5, 5))
    >>> layer
    ConvTranspose2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
    """

    cls_to_become = ConvTranspose2d


@public(NN)
class LazyConvTranspose3d(_LazyConvTransposeNd, ConvTranspose3d):
    """A ConvTranspose3d whose in_channels are those of its first input.

    >>> from tinygrad_cv import ones
    >>> layer = LazyConvTranspose3d(8, 3)
    >>> _ = layer(ones(1, 3, 5, 5, 5))
    >>> layer
    ConvTranspose3d(3, 8, kernel_size=(3, 3, 3), stride=(1, 1, 1))
    """

    cls_to_become = ConvTranspose3d
