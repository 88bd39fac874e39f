"""Ops that rearrange: reshape, permute, join, pad, flip and roll."""

from collections.abc import Sequence
from typing import Any

from tinygrad_cv.onnx.tracing import Varying
from tinygrad_cv.onnx.writing.graph import DeclinedError, Value, Writer, writes, writes_call


@writes("reshape")
def _reshape(g: Writer, x: Value, *, shape: Any) -> Value:
    return g.reshape(x, g.out.shape)


@writes("permute")
def _permute(g: Writer, x: Value, *, axes: Sequence[int]) -> Value:
    return g.transpose(x, [axis % x.ndim for axis in axes])


@writes("mT")
def _mt(g: Writer, x: Value) -> Value:
    order = list(range(x.ndim))
    return g.transpose(x, [*order[:-2], order[-1], order[-2]])


@writes("broadcast_to")
def _broadcast_to(g: Writer, x: Value, *, shape: Any) -> Value:
    shape = g.out.shape
    if tuple(shape) == x.shape:
        return x
    more = len(shape) - x.ndim
    # An axis that stays as it is needs no length: 1 leaves it.
    wanted = [
        1 if i >= more and x.shape is not None and x.shape[i - more] == n else n
        for i, n in enumerate(shape)
    ]
    made = g.node("Expand", x, g.shape(wanted))
    return made


@writes("cat")
def _cat(g: Writer, *xs: Value, axis: int) -> Any:
    xs = tuple(x for x in xs if x.shape != (0,)) or xs
    if len(xs) == 1:
        return xs[0]
    return g.node("Concat", *g.alike(*xs), axis=axis)


@writes("stack")
def _stack(g: Writer, *xs: Value, axis: int) -> Any:
    at = axis % (xs[0].ndim + 1)
    return g.node("Concat", *(g.unsqueeze(x, [at]) for x in g.alike(*xs)), axis=at)


@writes("pad")
def _pad(g: Writer, x: Value, *, widths: Any, value: Any) -> Value:
    return padded(g, x, widths, value)


def padded(g: Writer, x: Value, widths: Any, value: Any = 0.0, mode: str = "constant") -> Value:
    """x with (before, after) put around each axis."""
    if not any(isinstance(n, Varying) or n for pair in widths for n in pair):
        return x
    ends = [pair[0] for pair in widths], [pair[1] for pair in widths]
    filled = g.const(value, x.dtype) if mode == "constant" and value else None
    made = g.node("Pad", x, g.shape([*ends[0], *ends[1]]), filled, mode=mode)
    return made


PAD_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@writes_call("pad")
def _pad_call(g: Writer, input: Value, pad: Any, mode: str, value: Any) -> Value:
    if mode not in PAD_MODES:
        raise DeclinedError
    flat = list(pad)
    pairs = [(flat[i], flat[i + 1]) for i in range(0, len(flat), 2)][::-1]
    if any(isinstance(n, Varying) or n < 0 for pair in pairs for n in pair):
        raise DeclinedError
    return padded(g, input, [(0, 0)] * (input.ndim - len(pairs)) + pairs, mode=PAD_MODES[mode])


@writes("flip")
def _flip(g: Writer, x: Value, *, axes: Sequence[int]) -> Any:
    if not axes:
        return x
    least = [-(2**31)] * len(axes)
    back = [-1] * len(axes)
    return g.node("Slice", x, g.ints(back), g.ints(least), g.ints(axes), g.ints(back))


@writes("roll")
def _roll(g: Writer, x: Value, *, shifts: Any, axes: Any) -> Any:
    shifts = shifts if isinstance(shifts, tuple) else (shifts,)
    axes = axes if isinstance(axes, tuple) else (axes,)
    for shift, axis in zip(shifts, axes, strict=True):
        n = x.shape[axis]
        if isinstance(shift, Varying):
            g.refuse("how far it rolls depends on an axis that is free; fix it with dynamic_axes")
        shift = shift if isinstance(n, Varying) else shift % n if n else 0
        if shift:
            cut = g.ints([-shift])  # the first shall be the one that is here
            if isinstance(n, Varying) and abs(shift) > 1:
                cut = g.node("Mod", cut, g.node("Max", g.vector(n), g.ints([1])))
            along, far = g.ints([axis]), g.ints([2**31 - 1])
            ends = (
                g.node("Slice", x, cut, far, along),
                g.node("Slice", x, g.ints([0]), cut, along),
            )
            joined = g.node("Concat", *ends, axis=axis)
            x = Value(joined.name, joined.dtype, x.shape)
    return x


@writes_call("pixel_shuffle")
def _pixel_shuffle(g: Writer, input: Value, upscale_factor: int) -> Any:
    if input.ndim != 4:
        raise DeclinedError
    return g.node("DepthToSpace", input, blocksize=upscale_factor, mode="CRD")
