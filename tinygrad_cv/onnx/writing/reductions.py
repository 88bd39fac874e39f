"""Ops that reduce axes, or go along one: sums, extremes, places, running sums and orders."""

import math
from collections.abc import Callable
from typing import Any

from tinygrad_cv.onnx.writing.graph import Value, Writer, refuses, writes


def axes_of(x: Value, axis: Any) -> list[int]:
    """The axes that are reduced."""
    if axis is None:
        return list(range(x.ndim))
    return [i % x.ndim for i in (axis if isinstance(axis, tuple | list) else (axis,))]


def reduced(g: Writer, operator: str, x: Value, axes: list[int], keep: bool) -> Value:
    """A reduction over axes; over none it is no reduction."""
    if not axes:
        if operator == "ReduceL2":
            made = g.node("Abs", x)
            return made
        return x
    made = g.node(operator, x, g.ints(axes), keepdims=int(keep))
    return made


def _reduction(operator: str) -> Callable[..., Value]:
    def handler(g: Writer, x: Value, *, axis: Any, keepdims: bool) -> Value:
        return reduced(g, operator, g.cast(x, g.out.dtype), axes_of(x, axis), keepdims)

    return handler


for _name, _operator in (
    ("sum", "ReduceSum"),
    ("mean", "ReduceMean"),
    ("prod", "ReduceProd"),
    ("logsumexp", "ReduceLogSumExp"),
):
    writes(_name)(_reduction(_operator))


def _extreme(operator: str) -> Callable[..., Value]:
    def handler(g: Writer, x: Value, *, axis: Any, keepdims: bool) -> Value:
        return reduced(g, operator, x, axes_of(x, axis), keepdims)

    return handler


writes("amax")(_extreme("ReduceMax"))
writes("amin")(_extreme("ReduceMin"))


@writes("any", "all")
def _any(g: Writer, x: Value, *, axis: Any, keepdims: bool) -> Value:
    # Of no elements none holds, and all do.
    operator = "ReduceSum" if g.here.op.name == "any" else "ReduceMin"
    return reduced(g, operator, g.cast(g.cast(x, "bool"), "int64"), axes_of(x, axis), keepdims)


def variance(g: Writer, x: Value, axis: Any, keepdims: bool, correction: float) -> Any:
    """The mean of the squared deviations, of which `correction` are not counted."""
    axes = axes_of(x, axis)
    lengths = [x.shape[i] for i in axes] if x.shape is not None else []
    x = g.cast(x, g.out.dtype)
    off = g.node("Sub", x, reduced(g, "ReduceMean", x, axes, True))
    squares = g.node("Mul", off, off)
    if correction == 0:
        return reduced(g, "ReduceMean", squares, axes, keepdims)
    count = math.prod(g.fixed(lengths, "the number of elements that a variance is of"))
    if count - correction <= 0:
        g.refuse(f"a variance of {count} element(s) with the correction {correction} is none")
    total = reduced(g, "ReduceSum", squares, axes, keepdims)
    return g.node("Div", total, g.const(count - correction, x.dtype))


@writes("var")
def _var(g: Writer, x: Value, *, axis: Any, keepdims: bool, correction: float) -> Any:
    return variance(g, x, axis, keepdims, correction)


@writes("std")
def _std(g: Writer, x: Value, *, axis: Any, keepdims: bool, correction: float) -> Any:
    return g.node("Sqrt", variance(g, x, axis, keepdims, correction))


@writes("norm")
def _norm(g: Writer, x: Value, *, axis: Any, keepdims: bool, p: float) -> Any:
    axes = axes_of(x, axis)
    x = g.cast(x, g.out.dtype)
    if p == 2:
        return reduced(g, "ReduceL2", x, axes, keepdims)
    size = g.node("Abs", x)
    if math.isinf(p):
        return reduced(g, "ReduceMax" if p > 0 else "ReduceMin", size, axes, keepdims)
    if p == 1:
        return reduced(g, "ReduceSum", size, axes, keepdims)
    if p == 0:
        zero = g.node("Equal", x, g.const(0, x.dtype), dtype="bool")
        return reduced(g, "ReduceSum", g.where(zero, 0.0, 1.0), axes, keepdims)
    powers = g.node("Pow", size, g.const(p, x.dtype))
    total = reduced(g, "ReduceSum", powers, axes, keepdims)
    return g.node("Pow", total, g.const(1 / p, x.dtype))


@writes("argmax", "argmin")
def _argmax(g: Writer, x: Value, *, axis: Any, keepdims: bool) -> Any:
    operator = "ArgMax" if g.here.op.name == "argmax" else "ArgMin"
    if x.dtype == "bool":
        x = g.cast(x, "int32")
    if axis is None:
        flat = g.node(operator, g.node("Reshape", x, g.ints([-1])), dtype="int64", axis=0)
        return g.reshape(flat, g.out.shape)
    if not x.ndim:
        return g.node("Cast", g.node("Mul", x, g.const(0, x.dtype)), dtype="int64", to=7)
    return g.node(operator, x, dtype="int64", axis=axis, keepdims=int(keepdims))


@writes("sum_to")
def _sum_to(g: Writer, x: Value, *, shape: Any) -> Any:
    more = x.ndim - len(shape)
    axes = [
        i
        for i, n in enumerate(x.shape)
        if i < more or (n != shape[i - more] and shape[i - more] == 1)
    ]
    return g.reshape(reduced(g, "ReduceSum", x, axes, True), shape)


# ----- along an axis -----------------------------------------------------------------------------


@writes("cumsum", "cumprod")
def _cumulative(g: Writer, x: Value, *, axis: int, reverse: bool) -> Any:
    operator = "CumSum" if g.here.op.name == "cumsum" else "CumProd"
    x = g.cast(x, g.out.dtype)
    return g.node(operator, x, g.const(axis, "int64"), reverse=int(reverse))


refuses(
    "logcumsumexp",
    "ONNX has no running sum of powers; take the log of a cumsum of exp, less the maximum",
)
refuses("recurrence argcummax", "ONNX has no operator that goes on from its own result")


# ----- orders ------------------------------------------------------------------------------------


def places(g: Writer, x: Value, axis: int, k: Any, largest: bool) -> Value:
    """The places of the `k` largest or smallest elements along an axis, in their order."""
    if x.dtype == "bool":
        x = g.cast(x, "uint8")
    if x.dtype in ("int8", "int16", "uint8", "uint16"):
        x = g.cast(x, "int32")
    found = g.several("TopK", x, g.vector(k), outputs=2, axis=axis, largest=int(largest), sorted=1)
    return Value(found[1].name, "int64")


@writes("argsort")
def _argsort(g: Writer, x: Value, *, axis: int, descending: bool) -> Value:
    return places(g, x, axis, x.shape[axis], descending)


@writes("argtop")
def _argtop(g: Writer, x: Value, *, axis: int, k: Any, largest: bool) -> Value:
    return places(g, x, axis, k, largest)


@writes("argmedian")
def _argmedian(g: Writer, x: Value, *, axis: int) -> Any:
    (n,) = g.fixed([x.shape[axis]], "the length of which a median is taken")
    order = places(g, x, axis, n, False)
    middle = g.slice(order, axis, (n - 1) // 2, (n - 1) // 2 + 1)
    if x.dtype[:5] == "float":
        nan = g.cast(g.node("IsNaN", x, dtype="bool"), "int32")
        found = g.node("ReduceMax", nan, g.ints([axis]), keepdims=1)
        last = g.node("ArgMax", nan, dtype="int64", axis=axis, select_last_index=1)
        middle = g.where(g.cast(found, "bool"), last, middle)
    return g.reshape(middle, g.out.shape)


@writes("searchsorted")
def _searchsorted(g: Writer, x: Value, v: Value, *, right: bool) -> Any:
    dtype = max(x.dtype, v.dtype, key=lambda name: (name[:5] == "float", name))
    row, sought = g.cast(x, dtype), g.cast(v, dtype)
    row = g.unsqueeze(row, [x.ndim - 1]) if x.ndim == v.ndim else row
    sought = g.unsqueeze(sought, [v.ndim])
    operator = "LessOrEqual" if right else "Less"
    below = g.node(operator, row, sought, dtype="bool")
    if dtype[:5] == "float":  # nan is above everything
        above = g.node("IsNaN", sought, dtype="bool")
        if not right:
            above = g.node("And", above, g.node("Not", g.node("IsNaN", row, dtype="bool")))
        below = g.node("Or", below, above)
    return g.node("ReduceSum", g.cast(below, "int64"), g.ints([-1]), keepdims=0)
