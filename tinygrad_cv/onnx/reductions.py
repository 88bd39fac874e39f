"""Operators that reduce axes, order them or run along them."""

from collections.abc import Callable
from typing import Any

import tinygrad_cv as tg
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.onnx.operators import along, largest, number, numbers, operator, smallest


def _reduction(name: str, function: Callable[..., Tensor], empty: Any = None) -> None:
    """Register `function(x, dim, keepdim)`; `empty` is the result over no elements."""

    @operator(name)
    def handler(
        x: Tensor, axes: Any = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> Tensor:
        dims = tuple(numbers(axes))
        if (
            not dims and noop_with_empty_axes
        ):  # each element for itself: over a new axis of length 1
            return function(x[None], (0,), False).to(dtype=x.dtype)
        if not dims:
            dims = tuple(range(x.ndim))
        if empty is not None and any(x.shape[dim] == 0 for dim in dims):
            shape = tg.sum(x, dims, bool(keepdims)).shape
            return tg.full(shape, empty(x.dtype), dtype=x.dtype, device=x.device)
        return function(x, dims, bool(keepdims)).to(dtype=x.dtype)


def _product(x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    for dim in sorted((dim % x.ndim for dim in dims), reverse=True):
        x = tg.prod(x, dim, keepdim)
    return x


_reduction("ReduceSum", tg.sum)
_reduction("ReduceMean", tg.mean)
_reduction("ReduceMax", tg.amax, smallest)
_reduction("ReduceMin", tg.amin, largest)
_reduction("ReduceProd", _product)
_reduction("ReduceL1", lambda x, dim, keep: tg.sum(tg.abs(x), dim, keep))
_reduction("ReduceL2", lambda x, dim, keep: tg.norm(x, 2, dim, keep))
_reduction("ReduceSumSquare", lambda x, dim, keep: tg.sum(tg.square(x), dim, keep))
_reduction("ReduceLogSum", lambda x, dim, keep: tg.log(tg.sum(x, dim, keep)))
_reduction("ReduceLogSumExp", tg.logsumexp, smallest)


def _place(function: str) -> Callable[..., Tensor]:
    def handler(
        x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0
    ) -> Tensor:
        x = tg.flip(x, (axis,)) if select_last_index else x
        place: Tensor = getattr(tg, function)(x, axis, bool(keepdims))
        return x.shape[axis] - 1 - place if select_last_index else place

    return handler


operator("ArgMax")(_place("argmax"))
operator("ArgMin")(_place("argmin"))


@operator("TopK")
def _top_k(
    x: Tensor, k: Any, *, axis: int = -1, largest: int = 1, sorted: int = 1
) -> tuple[Tensor, Tensor]:
    values, indices = tg.topk(x, number(k), axis, bool(largest), bool(sorted))
    return values, indices


def _cumulative(function: str, start: int) -> Callable[..., Tensor]:
    """A running sum or product; an exclusive one begins at `start` and leaves each element out."""

    def handler(x: Tensor, axis: Any, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
        dim = number(axis) % x.ndim
        x = tg.flip(x, (dim,)) if reverse else x
        total: Tensor = getattr(tg, function)(x, dim).to(dtype=x.dtype)
        if exclusive:
            first = x[along(dim, slice(0, 1))]
            before = tg.full(first.shape, start, dtype=x.dtype, device=x.device)
            total = tg.cat([before, total[along(dim, slice(0, -1))]], dim)
        return tg.flip(total, (dim,)) if reverse else total

    return handler


operator("CumSum")(_cumulative("cumsum", 0))
operator("CumProd")(_cumulative("cumprod", 1))
