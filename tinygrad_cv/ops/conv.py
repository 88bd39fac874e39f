"""Convolution: three ops, each the adjoint of another, so each rule is one of the three.

    conv            y  = x * w
    conv_transpose  the adjoint of conv in its image
    conv_weight     the adjoint of conv in its weight

The first two have a name for each number of spatial axes (conv1d, conv2d, conv3d), and one
definition. Unfold and fold, which take an image apart into its windows and add them up again, are
each other's adjoint as well.

As everywhere in deep learning, "convolution" is cross-correlation: the kernel is not turned.
"""

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

from tinygrad_cv._apply import F as T
from tinygrad_cv._inputs import public
from tinygrad_cv._op import Op, moves, per_input
from tinygrad_cv._public import FUNCTIONAL, TOP
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host

Ints = tuple[int, ...]

AXES = {1: "L", 2: "H, W", 3: "D, H, W"}
KERNELS = {1: "k", 2: "kh, kw", 3: "kd, kh, kw"}
"""What the spatial axes of images and kernels are called, by their number."""


class Spatial(Op):
    """Base of the ops on images (N, C, *S).

    `class Conv3d(_Conv, axes=3)` is the op for three spatial axes: the defaults of its attributes
    have as many numbers.
    """

    axes = 2

    def __init_subclass__(cls, axes: int = 0, **options: Any) -> None:
        if axes:
            cls.axes = axes
            defaults = {
                name: default[:1] * axes
                for name, default in cls.attributes.items()
                if isinstance(default, tuple)
            }
            cls.attributes = cls.attributes | defaults
            for name, default in defaults.items():
                setattr(cls, name, default)
        super().__init_subclass__(**options)

    def kin(self, F, name):
        """The op of this name for as many axes: F.conv2d where there are two."""
        return getattr(F, f"{name}{self.axes}d")


class _Convolution(Spatial):
    stride: Ints = (1, 1)
    padding: Ints = (0, 0)
    dilation: Ints = (1, 1)
    groups: int = 1

    @property
    def geometry(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }


class _Biased(_Convolution):
    def grad_b(self, F, g):
        return F.sum(g, axis=(0, *range(2, 2 + self.axes)))


class _Conv(_Biased, register=False):
    def forward(self, xp, x, w, b=None):
        check_conv(self.name, x, w, b, self)
        self.size, self.kernel = x.shape[2:], w.shape[2:]
        return xp.conv(x, w, b, self.stride, self.padding, self.dilation, self.groups)

    def flops(self, out, x, w, b=None):
        """Each output is a product with one filter: (C/groups)·kh·kw multiply-adds, and a bias."""
        return math.prod(out) * (2 * math.prod(w[1:]) + (b is not None))

    def grad_x(self, F, g, w):
        return self.kin(F, "conv_transpose")(g, w, size=self.size, **self.geometry)

    def grad_w(self, F, g, x):
        return F.conv_weight(x, g, kernel=self.kernel, **self.geometry)


class Conv1d(_Conv, axes=1):
    """x (N, C, L) * w (O, C/groups, k) + b (O,) -> (N, O, L')."""


class Conv2d(_Conv, axes=2):
    """x (N, C, H, W) * w (O, C/groups, kh, kw) + b (O,) -> (N, O, H', W')."""


class Conv3d(_Conv, axes=3):
    """x (N, C, D, H, W) * w (O, C/groups, kd, kh, kw) + b (O,) -> (N, O, D', H', W')."""


class _ConvTranspose(_Biased, register=False):
    size: Ints

    def forward(self, xp, x, w, b=None):
        self.kernel = w.shape[2:]
        y = xp.conv_transpose(
            x, w, self.size, self.stride, self.padding, self.dilation, self.groups
        )
        if b is not None:
            y += xp.reshape(b, (-1, *(1,) * self.axes))
        return y

    def flops(self, out, x, w, b=None):
        """Each input is spread by its filters: (O/groups)·kh·kw multiply-adds."""
        return 2 * math.prod(x) * math.prod(w[1:]) + (math.prod(out) if b is not None else 0)

    def grad_x(self, F, g, w):
        return self.kin(F, "conv")(g, w, **self.geometry)

    def grad_w(self, F, g, x):
        return F.conv_weight(g, x, kernel=self.kernel, **self.geometry)


class ConvTranspose1d(_ConvTranspose, axes=1):
    """x (N, C, L), w (C, O/groups, k), b (O,) -> (N, O, *size)."""


class ConvTranspose2d(_ConvTranspose, axes=2):
    """x (N, C, H, W), w (C, O/groups, kh, kw), b (O,) -> (N, O, *size)."""


class ConvTranspose3d(_ConvTranspose, axes=3):
    """x (N, C, D, H, W), w (C, O/groups, kd, kh, kw), b (O,) -> (N, O, *size)."""


class ConvWeight(_Convolution):
    """The weight gradient of conv: x (N, C, *S), d (N, O, *S') -> (O, C/groups, *kernel)."""

    kernel: Ints

    def forward(self, xp, x, d):
        self.size, self.axes = x.shape[2:], x.ndim - 2
        return xp.conv_weight(
            x, d, self.kernel, self.stride, self.padding, self.dilation, self.groups
        )

    def flops(self, out, x, d):
        """Each place of an output meets each element of its filter."""
        return 2 * math.prod(d) * math.prod(out[1:])

    def grad_x(self, F, g, d):
        return self.kin(F, "conv_transpose")(d, g, size=self.size, **self.geometry)

    def grad_d(self, F, g, x):
        return self.kin(F, "conv")(x, g, **self.geometry)


class _Taps(Op):
    kernel: Ints
    stride: Ints = (1, 1)
    padding: Ints = (0, 0)
    dilation: Ints = (1, 1)

    @property
    def geometry(self) -> dict[str, Any]:
        return {
            "kernel": self.kernel,
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
        }

    def windows(self, shape: Ints) -> Ints:
        """The number of windows along each axis of images."""
        return check_windows(self.name, shape, *self.geometry.values())

    def taps(self, out: Ints) -> Iterator[tuple[Any, ...]]:
        """For each tap, row by row: the index of the places that it sees, of all windows."""
        for tap in product(*map(range, self.kernel)):
            places = zip(tap, self.dilation, self.stride, out, strict=True)
            yield (..., *(slice(u * d, u * d + s * (n - 1) + 1, s) for u, d, s, n in places))


class Unfold(_Taps):
    """The windows of x (N, C, *S) as columns: (N, C·K, L) for K taps and L windows."""

    flops = moves

    def forward(self, xp, x):
        self.size = x.shape[2:]
        out = self.windows(x.shape)
        padded = xp.pad(x, ((0, 0), (0, 0), *((p, p) for p in self.padding)))
        columns = xp.stack([padded[seen] for seen in self.taps(out)], axis=2)
        rows = x.shape[1] * math.prod(self.kernel)
        return xp.reshape(columns, (x.shape[0], rows, math.prod(out)))

    def grad_x(self, F, g):
        return F.fold(g, size=self.size, **self.geometry)


class Fold(_Taps):
    """Each column added to its window, (N, C·K, L) -> (N, C, *size): the adjoint of unfold."""

    size: Ints
    flops = per_input

    def forward(self, xp, x):
        taps, out = math.prod(self.kernel), self.windows((1, 1, *self.size))
        channels = x.shape[1] // taps
        columns = xp.reshape(x, (x.shape[0], channels, taps, *out))
        grown = [n + 2 * p for n, p in zip(self.size, self.padding, strict=True)]
        padded = xp.zeros((x.shape[0], channels, *grown), x.dtype)
        for number, seen in enumerate(self.taps(out)):
            padded[seen] += columns[:, :, number]
        inside = [slice(p, p + n) for n, p in zip(self.size, self.padding, strict=True)]
        return padded[(..., *inside)]

    def grad_x(self, F, g):
        return F.unfold(g, **self.geometry)


# ----- as functions ------------------------------------------------------------------------------


def per_axis(axes: int, value: Any, name: str, least: int) -> Ints:
    """One number for all spatial axes, also as (number,), or one for each."""
    numbers = tuple(value) if isinstance(value, tuple | list) else (value,)
    numbers = numbers * axes if len(numbers) == 1 else numbers
    if len(numbers) != axes or not all(is_integer(n) and n >= least for n in numbers):
        several = "" if axes == 1 else f", or {axes} of them"
        raise ValueError(f"{name} must be a whole number >= {least}{several}; got {value}.")
    return tuple(map(int, numbers))


def is_integer(value: Any) -> bool:
    """Whether it is an integer, of Python's or NumPy's."""
    return isinstance(value, int | host.integer) and not isinstance(value, bool)


def pair(value: Any, name: str, least: int) -> Ints:
    """One number for both axes of an image, or one for each."""
    return per_axis(2, value, name, least)


def as_batch(function: Callable[..., Any], *images: Tensor) -> Any:
    """A function of images, with one or several results, on one image without the batch axis."""
    result = function(*(T.reshape(x, shape=(1, *x.shape)) for x in images))
    if isinstance(result, tuple):
        return tuple(T.reshape(y, shape=y.shape[1:]) for y in result)
    return T.reshape(result, shape=result.shape[1:])


@public(TOP)
def conv_output_size(
    size: int, kernel_size: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> int:
    """floor((w + 2p - d(k - 1) - 1) / s) + 1: the length of a convolution's output.

    Raises ValueError where that is less than 1: no window fits in.

    >>> conv_output_size(227, 11, stride=4)
    55
    """
    length = (size + 2 * padding - dilation * (kernel_size - 1) - 1) // stride + 1
    if length < 1:
        raise ValueError(
            f"no room for one window: with kernel {kernel_size}, stride {stride}, padding "
            f"{padding} and dilation {dilation}, a length of {size} gives floor(({size} + "
            f"2·{padding} - {dilation}·({kernel_size} - 1) - 1) / {stride}) + 1 = {length}. "
            "Use a smaller kernel or more padding."
        )
    return length


def check_windows(
    name: str, shape: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints
) -> Ints:
    """How many windows each axis of images has; ValueError unless there is one."""
    try:
        lengths = zip(shape[2:], kernel, stride, padding, dilation, strict=True)
        return tuple(conv_output_size(*numbers) for numbers in lengths)
    except ValueError as error:
        raise ValueError(f"{name}: the input {shape} leaves {error}") from None


def check_float(name: str, *arrays: Any) -> None:
    """Raise unless all are floats: a weighted sum of bytes does not fit into bytes."""
    if any(a.dtype.kind not in "fc" for a in arrays):
        raise TypeError(
            f"{name}: expected floats; got {' and '.join(str(a.dtype) for a in arrays)}. Convert "
            "images of bytes first: x.float() / 255."
        )


def check_conv(name: str, images: Any, weight: Any, bias: Any, op: _Convolution) -> None:
    """Raise unless x (N, C, *S) and w (O, C/groups, *K) fit."""
    check_float(name, images, weight)
    x, w = images.shape, weight.shape
    if len(x) != 2 + op.axes or len(w) != 2 + op.axes:
        raise ValueError(
            f"{name}: expected an input (N, C, {AXES[op.axes]}), or without N, and a weight "
            f"(O, C/groups, {KERNELS[op.axes]}); got {x} and {w}."
        )
    if op.groups < 1 or x[1] != w[1] * op.groups or w[0] % op.groups:
        raise ValueError(
            f"{name}: the input {x} has {x[1]} channels; the weight {w} with groups={op.groups} "
            f"takes {w[1]} · {op.groups} = {w[1] * op.groups} and makes {w[0]}, which groups must "
            f"divide. The weight is (out_channels, in_channels / groups, {KERNELS[op.axes]})."
        )
    if bias is not None and bias.shape != (w[0],):
        raise ValueError(
            f"{name}: the bias must be ({w[0]},), one number per output channel; got {bias.shape}."
        )
    check_windows(name, x, w[2:], op.stride, op.padding, op.dilation)


def _same(name: str, input: Tensor, kernel: Ints, stride: Ints, dilation: Ints) -> Any:
    """The input and the padding for an output of its size; an odd row of zeros goes to the end."""
    if any(s != 1 for s in stride):
        raise ValueError(
            f"{name}: padding='same' keeps the size, and a stride of {stride} does not. Give the "
            "padding as a number."
        )
    total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    if any(t % 2 for t in total):
        widths = ((0, 0), (0, 0), *((0, t % 2) for t in total))
        input = T.pad(input, widths=widths, value=0.0)
    return input, tuple(t // 2 for t in total)


def _conv(
    axes: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Tensor:
    name = f"conv{axes}d"
    if input.ndim == 1 + axes:
        options = (weight, bias, stride, padding, dilation, groups)
        y: Tensor = as_batch(lambda images: _conv(axes, images, *options), input)
        return y
    s, d = per_axis(axes, stride, "stride", 1), per_axis(axes, dilation, "dilation", 1)
    if not isinstance(padding, str):
        p = per_axis(axes, padding, "padding", 0)
    elif padding == "same" and input.ndim == weight.ndim == 2 + axes:
        input, p = _same(name, input, weight.shape[2:], s, d)
    elif padding in ("same", "valid"):
        p = (0,) * axes
    else:
        raise ValueError(f"{name}: padding must be 'same', 'valid' or numbers; got {padding!r}.")
    call: Callable[..., Tensor] = getattr(T, name)
    return call(input, weight, bias, stride=s, padding=p, dilation=d, groups=groups)


@public(TOP, FUNCTIONAL)
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation along one axis: y[n, o, i] = b[o] + Σ w[o, c, p] · x[n, c, i·s + p·d].

    input (N, C, L), weight (O, C/groups, k), bias (O,) -> (N, O, L'). See `conv2d`.

    >>> conv1d(Tensor([[[1.0, 2.0, 3.0]]]), Tensor([[[1.0, 1.0]]]))
    tensor([[[3., 5.]]])
    """
    return _conv(1, input, weight, bias, stride, padding, dilation, groups)


@public(TOP, FUNCTIONAL)
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation: y[n, o, i, j] = b[o] + Σ w[o, c, p, q] · x[n, c, i·s + p·d, j·s + q·d].

    input (N, C, H, W), weight (O, C/groups, kh, kw), bias (O,) -> (N, O, H', W') with
    H' = floor((H + 2·padding - dilation·(kh - 1) - 1) / stride) + 1. With groups, each group of
    input channels makes its own group of output channels. An input without N is one image.

    `padding` is a number of zeros (for each axis), "valid" for none, or "same" for an output of
    the size of the input, with stride 1; where that takes an odd number of zeros, one more stands
    at the end.

    Raises ValueError where the shapes do not fit or no window fits into the input.

    >>> x, w = Tensor([[[[1.0, 2.0, 3.0]]]]), Tensor([[[[1.0, 1.0]]]])
    >>> conv2d(x, w)
    tensor([[[[3., 5.]]]])
    >>> conv2d(x, w, padding="same")
    tensor([[[[3., 5., 3.]]]])
    """
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


@public(TOP, FUNCTIONAL)
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of volumes, or of videos.

    input (N, C, D, H, W), weight (O, C/groups, kd, kh, kw), bias (O,) -> (N, O, D', H', W'). See
    `conv2d`.

    >>> conv3d(Tensor([[[[[1.0]], [[2.0]], [[3.0]]]]]), Tensor([[[[[1.0]], [[1.0]]]]]))
    tensor([[[[[3.]],
              [[5.]]]]])
    """
    return _conv(3, input, weight, bias, stride, padding, dilation, groups)


def _conv_transpose(
    axes: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    name = f"conv_transpose{axes}d"
    if input.ndim == 1 + axes:
        options = (weight, bias, stride, padding, output_padding, groups, dilation)
        y: Tensor = as_batch(lambda images: _conv_transpose(axes, images, *options), input)
        return y
    s, p = per_axis(axes, stride, "stride", 1), per_axis(axes, padding, "padding", 0)
    extra = per_axis(axes, output_padding, "output_padding", 0)
    d = per_axis(axes, dilation, "dilation", 1)
    x, w = input.shape, weight.shape
    check_float(name, input, weight)
    if len(x) != 2 + axes or len(w) != 2 + axes or groups < 1 or x[1] != w[0] or x[1] % groups:
        raise ValueError(
            f"{name}: expected an input (N, C, {AXES[axes]}), or without N, and a weight "
            f"(C, O/groups, {KERNELS[axes]}) whose C agree and are divided by groups; got {x} "
            f"and {w} with groups={groups}."
        )
    if any(e >= max(a, b) for e, a, b in zip(extra, s, d, strict=True)):
        raise ValueError(
            f"{name}: output_padding {extra} must be smaller than the stride {s} or the dilation "
            f"{d}."
        )
    if bias is not None and bias.shape != (w[1] * groups,):
        raise ValueError(f"{name}: the bias must be ({w[1] * groups},); got {bias.shape}.")
    size = tuple(
        (n - 1) * a - 2 * b + c * (k - 1) + e + 1
        for n, k, a, b, c, e in zip(x[2:], w[2:], s, p, d, extra, strict=True)
    )
    if min(size) < 1:
        raise ValueError(
            f"{name}: the input {x} gives an output of size {size}: (n - 1)·stride - 2·padding + "
            f"dilation·(k - 1) + output_padding + 1 with the kernel {w[2:]}, stride {s}, padding "
            f"{p}, dilation {d} and output_padding {extra}. Use less padding."
        )
    # An output_padding of a stride or more makes room for windows that no pixel has: they hold 0.
    windows = check_windows(name, (1, 1, *size), w[2:], s, p, d)
    missing = [m - n for m, n in zip(windows, x[2:], strict=True)]
    if any(missing):
        input = T.pad(input, widths=((0, 0), (0, 0), *((0, m) for m in missing)), value=0.0)
    call: Callable[..., Tensor] = getattr(T, name)
    return call(input, weight, bias, size=size, stride=s, padding=p, dilation=d, groups=groups)


@public(TOP, FUNCTIONAL)
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The adjoint of conv1d: input (N, C, L), weight (C, O/groups, k), bias (O,) -> (N, O, L').

    See `conv_transpose2d`.

    >>> conv_transpose1d(Tensor([[[1.0, 2.0]]]), Tensor([[[1.0, 1.0]]]), stride=2)
    tensor([[[1., 1., 2., 2.]]])
    """
    return _conv_transpose(
        1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@public(TOP, FUNCTIONAL)
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The adjoint of conv2d: each input pixel spreads its kernel over the output.

    input (N, C, H, W), weight (C, O/groups, kh, kw), bias (O,) -> (N, O, H', W') with
    H' = (H - 1)·stride - 2·padding + dilation·(kh - 1) + output_padding + 1. An input without N is
    one image.

    >>> conv_transpose2d(Tensor([[[[1.0, 2.0]]]]), Tensor([[[[1.0, 1.0]]]]))
    tensor([[[[1., 3., 2.]]]])
    """
    return _conv_transpose(
        2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@public(TOP, FUNCTIONAL)
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The adjoint of conv3d: input (N, C, D, H, W), weight (C, O/groups, kd, kh, kw).

    See `conv_transpose2d`.

    >>> conv_transpose3d(Tensor([[[[[2.0]]]]]), Tensor([[[[[1.0, 3.0]]]]]))
    tensor([[[[[2., 6.]]]]])
    """
    return _conv_transpose(
        3, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


# ----- windows as columns ------------------------------------------------------------------------


@public(TOP, FUNCTIONAL)
def unfold(
    input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """The windows of an image as columns (im2col): (N, C, H, W) -> (N, C·kh·kw, L).

    Column l holds what the taps of window l see, channel by channel and row by row; the L windows
    are numbered row by row. An input without N is one image.

    A convolution is a matrix product with them: w.reshape(O, -1) @ unfold(x, ...).

    >>> unfold(Tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]]), (2, 2))
    tensor([[[1., 2.],
             [2., 3.],
             [4., 5.],
             [5., 6.]]])
    """
    if input.ndim == 3:
        y: Tensor = as_batch(lambda x: unfold(x, kernel_size, dilation, padding, stride), input)
        return y
    if input.ndim != 4:
        raise ValueError(
            f"unfold: expected an input (N, C, H, W), or without N; got {input.shape}."
        )
    geometry = _pairs(kernel_size, dilation, padding, stride)
    check_windows("unfold", input.shape, **geometry)
    return T.unfold(input, **geometry)


@public(TOP, FUNCTIONAL)
def fold(
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """Each column added to its window (col2im): (N, C·kh·kw, L) -> (N, C, *output_size).

    The adjoint of `unfold`, not its inverse: a pixel that several windows see is their sum. An
    input without N is one image.

    >>> x = Tensor([[[1.0, 2.0, 3.0]]])
    >>> fold(unfold(x, (1, 2)), (1, 3), (1, 2))
    tensor([[[1., 4., 3.]]])
    """
    if input.ndim == 2:
        options = (output_size, kernel_size, dilation, padding, stride)
        y: Tensor = as_batch(lambda x: fold(x, *options), input)
        return y
    size = pair(output_size, "output_size", 1)
    geometry = _pairs(kernel_size, dilation, padding, stride)
    out = check_windows("fold", (1, 1, *size), **geometry)
    taps, columns = math.prod(geometry["kernel"]), math.prod(out)
    if input.ndim != 3 or input.shape[1] % taps or input.shape[2] != columns:
        raise ValueError(
            f"fold: expected an input (N, C·{taps}, {columns}), or without N; got {input.shape}. "
            f"The kernel {geometry['kernel']} has {taps} taps, and an image of size {size} has "
            f"{' · '.join(map(str, out))} = {columns} windows."
        )
    return T.fold(input, size=size, **geometry)


def _pairs(kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> dict[str, Ints]:
    return {
        "kernel": pair(kernel_size, "kernel_size", 1),
        "stride": pair(stride, "stride", 1),
        "padding": pair(padding, "padding", 0),
        "dilation": pair(dilation, "dilation", 1),
    }


@public(TOP)
def locally_connected2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
) -> Tensor:
    """A convolution without weight sharing: each window has a kernel of its own.

    y[n, o, i, j] = b[o, i, j] + Σ w[i, j, o, c, p, q] · x[n, c, i·s + p·d, j·s + q·d]

    input (N, C, H, W), weight (H', W', O, C, kh, kw), bias (O, H', W') -> (N, O, H', W') with the
    H' and W' of `conv2d`: weight[i, j] is what conv2d would be given for the window (i, j). An
    input without N is one image.

    >>> x = Tensor([[[[1.0, 2.0, 3.0]]]])
    >>> w = Tensor([1.0, 10.0, 100.0]).reshape(1, 3, 1, 1, 1, 1)
    >>> locally_connected2d(x, w)
    tensor([[[[  1.,  20., 300.]]]])
    """
    if input.ndim == 3:
        options = (weight, bias, stride, padding, dilation)
        y: Tensor = as_batch(lambda x: locally_connected2d(x, *options), input)
        return y
    x, w = input.shape, weight.shape
    if len(x) != 4 or len(w) != 6 or x[1] != w[3]:
        raise ValueError(
            "locally_connected2d: expected an input (N, C, H, W), or without N, and a weight "
            f"(H', W', O, C, kh, kw) whose C agree; got {x} and {w}."
        )
    geometry = _pairs(w[4:], dilation, padding, stride)
    out = check_windows("locally_connected2d", x, **geometry)
    if w[:2] != out:
        raise ValueError(
            f"locally_connected2d: the input {x} has {out[0]} · {out[1]} windows, and the weight "
            f"{w} has kernels for {w[0]} · {w[1]}."
        )
    outputs = w[2]
    if bias is not None and bias.shape != (outputs, *out):
        raise ValueError(
            f"locally_connected2d: the bias must be {(outputs, *out)}, one number for each place "
            f"of the output; got {bias.shape}."
        )
    # For each of the L windows: (O, C·K) @ (C·K, N), and (L, O, N) -> (N, O, L).
    columns = T.permute(T.unfold(input, **geometry), axes=(2, 1, 0))
    kernels = T.reshape(weight, shape=(math.prod(out), outputs, math.prod(w[3:])))
    maps = T.permute(T.matmul(kernels, columns), axes=(2, 1, 0))
    maps = T.reshape(maps, shape=(x[0], outputs, *out))
    return maps if bias is None else maps + bias
