"""Ops whose windows move over spatial axes: convolutions and pools."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.onnx.tracing import Varying
from tinygrad_cv.onnx.writing.graph import (
    DeclinedError,
    Value,
    Writer,
    refuses,
    writes,
    writes_call,
)
from tinygrad_cv.onnx.writing.shapes import padded

# ----- convolutions ------------------------------------------------------------------------------


@writes("conv1d", "conv2d", "conv3d")
def _conv(
    g: Writer,
    x: Value,
    w: Value,
    b: Value | None,
    *,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Any:
    x, w = g.alike(x, w)
    shift = None if b is None else g.cast(b, x.dtype)
    kernel = g.fixed(w.shape[2:], "the size of a kernel")
    return g.node(
        "Conv",
        x,
        w,
        shift,
        kernel_shape=kernel,
        strides=list(stride),
        pads=[*padding, *padding],
        dilations=list(dilation),
        group=groups,
    )


@writes("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _conv_transpose(
    g: Writer,
    x: Value,
    w: Value,
    b: Value | None,
    *,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    size: Sequence[Any],
) -> Any:
    x, w = g.alike(x, w)
    shift = None if b is None else g.cast(b, x.dtype)
    kernel = g.fixed(w.shape[2:], "the size of a kernel")
    extra = []
    for n, after, s, p, d, k in zip(
        x.shape[2:], size, stride, padding, dilation, kernel, strict=True
    ):
        ends = [
            (getattr(n, which, n) - 1) * s - 2 * p + d * (k - 1) + 1
            for which in ("first", "second")
        ]
        wanted = [getattr(after, which, after) for which in ("first", "second")]
        more = [m - e for m, e in zip(wanted, ends, strict=True)]
        if more[0] != more[1]:
            g.refuse("the size of its result depends on an axis that is free; fix that axis")
        extra.append(more[0])
    negative = [min(0, n) for n in extra]  # what is cut off the end is padding there
    return g.node(
        "ConvTranspose",
        x,
        w,
        shift,
        kernel_shape=kernel,
        strides=list(stride),
        pads=[*padding, *(p - n for p, n in zip(padding, negative, strict=True))],
        output_padding=[max(0, n) for n in extra],
        dilations=list(dilation),
        group=groups,
    )


@writes("unfold")
def _unfold(
    g: Writer,
    x: Value,
    *,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Any:
    """A convolution with the kernels that each take one place of the window."""
    (channels,) = g.fixed(x.shape[1:2], "the number of channels")
    area = math.prod(kernel)
    places = host.eye(area, dtype=x.dtype).reshape(area, 1, *kernel)
    ones = host.concatenate([places] * channels)
    columns = g.node(
        "Conv",
        x,
        g.const(ones),
        strides=list(stride),
        pads=[*padding, *padding],
        dilations=list(dilation),
        group=channels,
    )
    if x.shape[0] == 0:
        return g.reshape(columns, g.out.shape)
    return g.node("Reshape", columns, g.ints([0, channels * area, -1]))


@writes("fold")
def _fold(
    g: Writer,
    x: Value,
    *,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    size: Sequence[Any],
) -> Any:
    return g.node(
        "Col2Im",
        x,
        g.shape(size),
        g.ints(kernel),
        strides=list(stride),
        pads=[*padding, *padding],
        dilations=list(dilation),
    )


# ----- pools -------------------------------------------------------------------------------------


def _per_axis(value: Any, axes: int) -> list[int]:
    parts = list(value) if isinstance(value, tuple | list) else [value]
    return parts * axes if len(parts) == 1 else parts


def _pool_call(operator: str, axes: int) -> Callable[..., Any]:
    def handler(
        g: Writer,
        input: Value,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
        count_include_pad: bool | None = None,
        divisor_override: int | None = None,
    ) -> Any:
        kernel = _per_axis(kernel_size, axes)
        strides = kernel if stride in (None, (), []) else _per_axis(stride, axes)
        pads, dilations = _per_axis(padding, axes), _per_axis(dilation, axes)
        wrong = any(p >= k for p, k in zip(pads, kernel, strict=True))
        if return_indices or divisor_override is not None or wrong:
            raise DeclinedError
        if input.ndim != axes + 2 or input.dtype[:5] != "float":
            raise DeclinedError
        return g.node(
            operator,
            g.cast(input, g.out.dtype),
            kernel_shape=kernel,
            strides=strides,
            pads=[*pads, *pads],
            dilations=dilations if set(dilations) != {1} else None,
            ceil_mode=int(ceil_mode) or None,
            count_include_pad=None if count_include_pad is None else int(count_include_pad),
        )

    return handler


def _adaptive_call(operator: str, axes: int) -> Callable[..., Any]:
    def handler(g: Writer, input: Value, output_size: Any, return_indices: bool = False) -> Any:
        if return_indices or input.ndim != axes + 2 or input.dtype[:5] != "float":
            raise DeclinedError
        x = g.cast(input, g.out.dtype)
        sizes = [None if n is None else n for n in _per_axis(output_size, axes)]
        lengths = input.shape[2:]
        if all(n == 1 for n in sizes):
            return g.node(f"Global{operator}", x)
        if any(
            isinstance(n, Varying) or isinstance(m, Varying) or (m is not None and n % m)
            for n, m in zip(lengths, sizes, strict=True)
        ):
            if any(isinstance(n, Varying) for n in lengths):
                g.refuse(
                    "windows whose size depends on an axis that is free; pool to 1, or fix the axis"
                )
            raise DeclinedError
        kernel = [1 if m is None else n // m for n, m in zip(lengths, sizes, strict=True)]
        return g.node(operator, x, kernel_shape=kernel, strides=kernel)

    return handler


for _axes in (1, 2, 3):
    writes_call(f"max_pool{_axes}d")(_pool_call("MaxPool", _axes))
    writes_call(f"avg_pool{_axes}d")(_pool_call("AveragePool", _axes))
    writes_call(f"adaptive_avg_pool{_axes}d")(_adaptive_call("AveragePool", _axes))
    writes_call(f"adaptive_max_pool{_axes}d")(_adaptive_call("MaxPool", _axes))


@writes_call("lp_pool1d", "lp_pool2d", "lp_pool3d")
def _lp_pool(
    g: Writer, input: Value, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool
) -> Any:
    axes = input.ndim - 2
    if norm_type % 2 or norm_type <= 0 or axes < 1 or ceil_mode or input.dtype[:5] != "float":
        raise DeclinedError
    kernel = _per_axis(kernel_size, axes)
    return g.node(
        "LpPool",
        g.cast(input, g.out.dtype),
        p=int(norm_type),
        kernel_shape=kernel,
        strides=kernel if stride in (None, (), []) else _per_axis(stride, axes),
    )


@writes("max_pool1d", "max_pool2d", "max_pool3d")
def _max_pool(
    g: Writer,
    x: Value,
    *,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Any:
    x, padding = _in_bounds(g, x, kernel, padding, -math.inf)
    return g.node(
        "MaxPool",
        x,
        kernel_shape=list(kernel),
        strides=list(stride),
        pads=[*padding, *padding],
        dilations=list(dilation),
    )


def _in_bounds(
    g: Writer, x: Value, kernel: Sequence[int], padding: Sequence[int], value: float
) -> tuple[Value, Sequence[int]]:
    """The input of a pool, padded beforehand where the padding is as long as the kernel."""
    if x.dtype[:5] != "float":
        g.refuse(f"ONNX pools floats; got {x.dtype}")
    if all(p < k for p, k in zip(padding, kernel, strict=True)):
        return x, padding
    around = [(0, 0), (0, 0), *((p, p) for p in padding)]
    return padded(g, x, around, value), [0] * len(padding)


@writes("max_pool_with_places")
def _max_pool_with_places(
    g: Writer,
    x: Value,
    *,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Any:
    if not all(p < k for p, k in zip(padding, kernel, strict=True)):
        g.refuse("its padding is as long as the kernel; pad first")
    area = g.node("ReduceProd", g.shape(x.shape[2:]), keepdims=0)
    y, places = g.several(
        "MaxPool",
        x,
        outputs=2,
        kernel_shape=list(kernel),
        strides=list(stride),
        pads=[*padding, *padding],
        dilations=list(dilation),
    )
    # The standard counts through the whole tensor, not anew in each channel of each image.
    return y, g.node("Mod", Value(places.name, "int64"), area)


@writes("window_sum")
def _window_sum(
    g: Writer,
    x: Value,
    *,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    divisor: float,
) -> Any:
    x, padding = _in_bounds(g, x, kernel, padding, 0.0)
    mean = g.node(
        "AveragePool",
        x,
        kernel_shape=list(kernel),
        strides=list(stride),
        pads=[*padding, *padding],
        count_include_pad=1,
    )
    factor = math.prod(kernel) / divisor
    return mean if factor == 1 else g.node("Mul", mean, g.const(factor, x.dtype))


refuses(
    "conv_weight window_scatter window_gather window_spread",
    "it belongs to a backward pass, and gradients are not exported",
)
