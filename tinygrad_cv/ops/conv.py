"""Convolution: three ops, each the adjoint of another, so each rule is one of the three.

    conv2d            y  = x * w
    conv_transpose2d  the adjoint of conv2d in its image
    conv_weight       the adjoint of conv2d in its weight

As everywhere in deep learning, "convolution" is cross-correlation: the kernel is not turned.
"""

from typing import Any

from tinygrad_cv.op import Op
from tinygrad_cv.tensor import F as T
from tinygrad_cv.tensor import Tensor

Pair = tuple[int, int]


class _Convolution(Op):
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    @property
    def geometry(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }


class Conv2d(_Convolution):
    """x (N, C, H, W) * w (O, C/groups, kh, kw) + b (O,) -> (N, O, H', W')."""

    def forward(self, xp, x, w, b=None):
        check_conv("conv2d", x, w, b, self)
        self.size, self.kernel = x.shape[2:], w.shape[2:]
        return xp.conv(x, w, b, self.stride, self.padding, self.dilation, self.groups)

    def grad_x(self, F, g, w):
        return F.conv_transpose2d(g, w, size=self.size, **self.geometry)

    def grad_w(self, F, g, x):
        return F.conv_weight(x, g, kernel=self.kernel, **self.geometry)

    def grad_b(self, F, g):
        return F.sum(g, axis=(0, 2, 3))


class ConvTranspose2d(_Convolution):
    """x (N, C, H, W), w (C, O/groups, kh, kw), b (O,) -> (N, O, *size)."""

    size: Pair
    reached = None  # the part of the output that kernels reach, if it is not all of it

    def forward(self, xp, x, w, b=None):
        self.kernel = w.shape[2:]
        # With output_padding >= stride the last rows and columns are reached by no kernel, and a
        # convolution of all of the output would have more windows than x has pixels.
        most = [
            (n - 1) * s + d * (k - 1) - 2 * p + s
            for n, k, s, p, d in zip(
                x.shape[2:], self.kernel, self.stride, self.padding, self.dilation, strict=True
            )
        ]
        if any(n > m for n, m in zip(self.size, most, strict=True)):
            self.reached = (..., *map(slice, most))
        y = xp.conv_transpose(
            x, w, self.size, self.stride, self.padding, self.dilation, self.groups
        )
        if b is not None:
            y += b[:, None, None]
        return y

    def crop(self, F, g):
        return g if self.reached is None else F.getitem(g, index=self.reached)

    def grad_x(self, F, g, w):
        return F.conv2d(self.crop(F, g), w, **self.geometry)

    def grad_w(self, F, g, x):
        g = self.crop(F, g)
        return F.conv_weight(g, x, kernel=self.kernel, **self.geometry)

    def grad_b(self, F, g):
        return F.sum(g, axis=(0, 2, 3))


class ConvWeight(_Convolution):
    """The weight gradient of conv2d: x (N, C, H, W), d (N, O, H', W') -> (O, C/groups, kh, kw)."""

    kernel: Pair

    def forward(self, xp, x, d):
        self.size = x.shape[2:]
        return xp.conv_weight(
            x, d, self.kernel, self.stride, self.padding, self.dilation, self.groups
        )

    def grad_x(self, F, g, d):
        return F.conv_transpose2d(d, g, size=self.size, **self.geometry)

    def grad_d(self, F, g, x):
        return F.conv2d(x, g, **self.geometry)


# ----- as functions ------------------------------------------------------------------------------


def pair(value: Any, name: str, least: int) -> Pair:
    """One number for both spatial axes, or one for each."""
    numbers = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(numbers) != 2 or not all(isinstance(n, int) and n >= least for n in numbers):
        raise ValueError(f"{name} must be a whole number >= {least}, or two of them; got {value}.")
    return numbers


def conv_output_size(
    size: int, kernel_size: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> int:
    """floor((w + 2p - d(k - 1) - 1) / s) + 1: the length of a convolution's output.

    >>> conv_output_size(227, 11, stride=4)
    55
    """
    return (size + 2 * padding - dilation * (kernel_size - 1) - 1) // stride + 1


def check_windows(name: str, shape: Any, kernel: Any, op: Any, dilation: Any) -> None:
    """Raise unless each axis has room for at least one window."""
    for n, k, s, p, d in zip(shape[2:], kernel, op.stride, op.padding, dilation, strict=True):
        if conv_output_size(n, k, s, p, d) < 1:
            raise ValueError(
                f"{name}: the input {shape} leaves no room for one window: with kernel {k}, "
                f"stride {s}, padding {p} and dilation {d}, a length of {n} gives "
                f"floor(({n} + 2·{p} - {d}·({k} - 1) - 1) / {s}) + 1 < 1. "
                "Use a smaller kernel or more padding."
            )


def check_float(name: str, *arrays: Any) -> None:
    """Raise unless all are floats: a weighted sum of bytes does not fit into bytes."""
    if any(a.dtype.kind not in "fc" for a in arrays):
        raise TypeError(
            f"{name}: expected floats; got {' and '.join(str(a.dtype) for a in arrays)}. Convert "
            "images of bytes first: x.float() / 255."
        )


def check_conv(name: str, images: Any, weight: Any, bias: Any, op: Any) -> None:
    """Raise unless x (N, C, H, W) and w (O, C/groups, kh, kw) fit."""
    check_float(name, images, weight)
    x, w = images.shape, weight.shape
    if len(x) != 4 or len(w) != 4:
        raise ValueError(
            f"{name}: expected an input (N, C, H, W) and a weight (O, C/groups, kh, kw); "
            f"got {x} and {w}. For one image, add the batch axis: x[None]."
        )
    if op.groups < 1 or x[1] != w[1] * op.groups or w[0] % op.groups:
        raise ValueError(
            f"{name}: the input {x} has {x[1]} channels; the weight {w} with groups={op.groups} "
            f"takes {w[1]} · {op.groups} = {w[1] * op.groups} and makes {w[0]}, which groups must "
            "divide. The weight is (out_channels, in_channels / groups, kh, kw)."
        )
    if bias is not None and bias.shape != (w[0],):
        raise ValueError(
            f"{name}: the bias must be ({w[0]},), one number per output channel; got {bias.shape}."
        )
    check_windows(name, x, w[2:], op, op.dilation)


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
    input channels makes its own group of output channels.

    Raises ValueError where the shapes do not fit or no window fits into the input.

    >>> x, w = Tensor([[[[1.0, 2.0, 3.0]]]]), Tensor([[[[1.0, 1.0]]]])
    >>> conv2d(x, w)
    tensor([[[[3., 5.]]]])
    """
    return T.conv2d(
        input,
        weight,
        bias,
        stride=pair(stride, "stride", 1),
        padding=pair(padding, "padding", 0),
        dilation=pair(dilation, "dilation", 1),
        groups=groups,
    )


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
    H' = (H - 1)·stride - 2·padding + dilation·(kh - 1) + output_padding + 1.

    >>> conv_transpose2d(Tensor([[[[1.0, 2.0]]]]), Tensor([[[[1.0, 1.0]]]]))
    tensor([[[[1., 3., 2.]]]])
    """
    s, p = pair(stride, "stride", 1), pair(padding, "padding", 0)
    extra, d = pair(output_padding, "output_padding", 0), pair(dilation, "dilation", 1)
    x, w = input.shape, weight.shape
    check_float("conv_transpose2d", input, weight)
    if len(x) != 4 or len(w) != 4 or groups < 1 or x[1] != w[0] or x[1] % groups:
        raise ValueError(
            "conv_transpose2d: expected an input (N, C, H, W) and a weight (C, O/groups, kh, kw) "
            f"whose C agree and are divided by groups; got {x} and {w} with groups={groups}."
        )
    if any(e >= max(a, b) for e, a, b in zip(extra, s, d, strict=True)):
        raise ValueError(
            f"conv_transpose2d: output_padding {extra} must be smaller than the stride {s} or "
            f"the dilation {d}."
        )
    if bias is not None and bias.shape != (w[1] * groups,):
        raise ValueError(
            f"conv_transpose2d: the bias must be ({w[1] * groups},); got {bias.shape}."
        )
    size = tuple(
        (n - 1) * a - 2 * b + c * (k - 1) + e + 1
        for n, k, a, b, c, e in zip(x[2:], w[2:], s, p, d, extra, strict=True)
    )
    if min(size) < 1:
        raise ValueError(f"conv_transpose2d: the input {x} gives an output of size {size}.")
    return T.conv_transpose2d(
        input, weight, bias, size=size, stride=s, padding=p, dilation=d, groups=groups
    )
