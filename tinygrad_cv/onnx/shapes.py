"""Operators that make shapes and arrangements: reshape, pad, tile, slice, and what is filled."""

import math
from typing import Any

import tinygrad_cv as tg
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.onnx.operators import (
    Ints,
    Pads,
    beside,
    count,
    meet,
    number,
    numbers,
    operator,
    padded,
    room,
)
from tinygrad_cv.onnx.protobuf import dtype_of


@operator("Identity")
def _identity(x: Tensor) -> Tensor:
    return x


@operator("Shape")
def _shape(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    return tg.tensor(list(x.shape[start:end]), dtype="int64", device=x.device)


@operator("Size")
def _size(x: Tensor) -> Tensor:
    return tg.tensor(x.numel(), device=x.device)


@operator("Reshape")
def _reshape(x: Tensor, shape: Any, *, allowzero: int = 0) -> Tensor:
    sizes = numbers(shape)
    if not allowzero:
        sizes = [x.shape[i] if n == 0 else n for i, n in enumerate(sizes)]
    if min(sizes, default=0) < -1:
        raise ValueError(f"a shape has lengths from 0 on, and one -1 for the rest; got {sizes}.")
    return x.reshape(sizes)


@operator("Flatten")
def _flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@operator("Transpose")
def _transpose(x: Tensor, *, perm: Ints = None) -> Tensor:
    return tg.permute(x, perm if perm is not None else list(range(x.ndim))[::-1])


@operator("Squeeze")
def _squeeze(x: Tensor, axes: Any = None) -> Tensor:
    gone = [axis % x.ndim for axis in numbers(axes)]
    gone = gone if axes is not None else [i for i, n in enumerate(x.shape) if n == 1]
    for axis in sorted(gone, reverse=True):
        x = tg.squeeze(x, axis)
    return x


@operator("Unsqueeze")
def _unsqueeze(x: Tensor, axes: Any) -> Tensor:
    new = numbers(axes)
    for axis in sorted(axis % (x.ndim + len(new)) for axis in new):
        x = tg.unsqueeze(x, axis)
    return x


@operator("Expand")
def _expand(x: Tensor, shape: Any) -> Tensor:
    wanted = numbers(shape)
    meet(x, wanted)
    return tg.broadcast_to(x, host.broadcast_shapes(x.shape, tuple(wanted)))


@operator("Concat")
def _concat(*xs: Tensor, axis: int) -> Tensor:
    room((sum(x.numel() for x in xs),))
    return tg.cat(xs, axis)


@operator("Split")
def _split(
    x: Tensor, split: Any = None, *, axis: int = 0, num_outputs: int | None = None, outputs: int
) -> Any:
    n, parts = x.shape[axis], num_outputs or outputs
    room((parts,))
    share = math.ceil(n / parts)
    even = [max(0, min(share, n - i * share)) for i in range(parts)]
    return tuple(tg.split(x, numbers(split) or even, axis))


@operator("Tile")
def _tile(x: Tensor, repeats: Any) -> Tensor:
    times = numbers(repeats)
    room((x.numel(), *times))
    return tg.tile(x, times)


PAD_MODES = {"edge": "replicate", "wrap": "circular"}


@operator("Pad")
def _pad_node(
    x: Tensor,
    pads: Any,
    constant_value: Any = None,
    axes: Any = None,
    *,
    mode: str = "constant",
    value: float = 0.0,
) -> Tensor:
    widths = numbers(pads)
    pairs: Pads = [(0, 0)] * x.ndim
    chosen = numbers(axes) or range(x.ndim)
    for axis, before, after in zip(
        chosen, widths[: len(chosen)], widths[len(chosen) :], strict=True
    ):
        pairs[axis] = (before, after)
    while len(pairs) > 1 and pairs[0] == (0, 0):
        pairs = pairs[1:]
    return padded(x, pairs, number(constant_value, value), PAD_MODES.get(mode, mode))


@operator("Slice")
def _slice(x: Tensor, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Tensor:
    first, last = numbers(starts), numbers(ends)
    index = [slice(None)] * x.ndim
    by = numbers(steps) or [1] * len(first)
    for axis, *parts in zip(numbers(axes) or range(len(first)), first, last, by, strict=True):
        index[axis] = slice(*parts)
    return x[tuple(index)]


@operator("CenterCropPad")
def _center_crop_pad(x: Tensor, shape: Any, *, axes: Ints = None) -> Tensor:
    pairs: Pads = [(0, 0)] * x.ndim
    for axis, n in zip(axes or range(x.ndim), numbers(shape), strict=True):
        more = n - x.shape[axis]
        before = more // 2 if more > 0 else -(-more // 2)
        pairs[axis] = (before, more - before)
    return padded(x, pairs)


@operator("ConstantOfShape")
def _constant_of_shape(shape: Tensor, *, value: Any = None) -> Tensor:
    filled, dtype = (0.0, "float32") if value is None else (value.item(), value.dtype)
    wanted = tuple(numbers(shape))
    room(wanted)
    return tg.full(wanted, filled, dtype=dtype, device=shape.device)


@operator("Range")
def _range(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    bounds = first, last, step = number(start), number(limit), number(delta)
    if step == 0 or not math.isfinite((last - first) / step):
        raise ValueError(f"a Range from {first} to {last} in steps of {step} has no end.")
    if (last - first) * step < 0:
        bounds = (0, 0, 1)  # such steps lead nowhere, which in ONNX is no error
    room((math.ceil((last - first) / step),))
    return tg.arange(*bounds, dtype=start.dtype, device=start.device)


@operator("EyeLike")
def _eye_like(x: Tensor, *, dtype: int | None = None, k: int = 0) -> Tensor:
    rows, columns = (count(n, x) for n in x.shape)
    diagonal = beside(rows, 0, 2) + k == beside(columns, 1, 2)
    return diagonal.to(dtype=x.dtype if dtype is None else dtype_of(dtype))


@operator("Trilu")
def _trilu(x: Tensor, k: Any = None, *, upper: int = 1) -> Tensor:
    return tg.triu(x, number(k, 0)) if upper else tg.tril(x, number(k, 0))
