"""Operators that read and write places: gather, scatter, and their kin."""

import math
from collections.abc import Sequence
from typing import Any

import tinygrad_cv as tg
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.onnx.operators import (
    along,
    beside,
    count,
    from_end,
    largest,
    number,
    operator,
    room,
    smallest,
)


@operator("Gather")
def _gather(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    axis %= x.ndim
    room((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))
    return x[along(axis, indices)]


@operator("GatherElements")
def _gather_elements(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    return tg.gather(x, axis, from_end(indices, x.shape[axis]))


def _coordinates(indices: Tensor, batch_dims: int = 0) -> tuple[Any, ...]:
    """An index from the last axis of `indices`, one part for each number along it."""
    batches = [
        beside(count(indices.shape[i], indices), i, indices.ndim - 1) for i in range(batch_dims)
    ]
    return (*batches, *(indices[..., i] for i in range(indices.shape[-1])))


@operator("GatherND")
def _gather_nd(x: Tensor, indices: Tensor, *, batch_dims: int = 0) -> Tensor:
    room((*indices.shape[:-1], *x.shape[batch_dims + indices.shape[-1] :]))
    return x[_coordinates(indices, batch_dims)]


def _combined(x: Tensor, places: Tensor, updates: Tensor, reduction: str) -> Tensor:
    """x (n,) with each of the updates (m,) combined into the place (m,) that is named for it."""
    if reduction == "none":
        return tg.scatter(x, 0, places, updates)
    if reduction == "add":
        return tg.scatter_add(x, 0, places, updates)
    room((places.numel(), x.numel()))
    # (m, n): each update at its place, elsewhere what changes nothing
    here = places.reshape(-1, 1) == count(x.numel(), x)
    neutral = {"mul": 1.0, "max": smallest(x.dtype), "min": largest(x.dtype)}[reduction]
    spread = tg.where(here, updates.reshape(-1, 1), neutral)
    if reduction == "mul":
        return x * tg.prod(spread, 0)
    if reduction == "max":
        return tg.maximum(x, tg.amax(spread, 0))
    return tg.minimum(x, tg.amin(spread, 0))


def _flat_places(index: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
    """The place in row-major order for each coordinate of an index."""
    places = from_end(index[0], shape[0])
    for part, n in zip(index[1:], shape[1:], strict=True):
        places = places * n + from_end(part, n)
    return places.flatten()


@operator("ScatterElements", "Scatter")
def _scatter_elements(
    x: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none"
) -> Tensor:
    axis %= x.ndim
    index = [
        indices if i == axis else tg.broadcast_to(beside(count(n, x), i, x.ndim), indices.shape)
        for i, n in enumerate(indices.shape)
    ]
    places = _flat_places(index, x.shape)
    return _combined(x.flatten(), places, updates.flatten(), reduction).reshape(x.shape)


@operator("ScatterND")
def _scatter_nd(x: Tensor, indices: Tensor, updates: Tensor, *, reduction: str = "none") -> Tensor:
    depth = indices.shape[-1]
    rows = _flat_places(_coordinates(indices), x.shape[:depth])
    inner = math.prod(x.shape[depth:])
    places = (rows.reshape(-1, 1) * inner + count(inner, x)).flatten()
    return _combined(x.flatten(), places, updates.flatten(), reduction).reshape(x.shape)


@operator("OneHot")
def _one_hot(indices: Tensor, depth: Any, values: Tensor, *, axis: int = -1) -> Tensor:
    n = int(number(depth))
    room((*indices.shape, n))
    axis %= indices.ndim + 1
    classes = beside(count(n, indices), axis, indices.ndim + 1)
    hot = tg.unsqueeze(from_end(indices, n), axis) == classes
    return tg.where(hot, values[1], values[0])


@operator("NonZero")
def _non_zero(x: Tensor) -> Tensor:
    places: Tensor = tg.nonzero(x)
    return places.T


@operator("Compress")
def _compress(x: Tensor, condition: Tensor, *, axis: int | None = None) -> Tensor:
    if axis is None:
        x, axis = x.flatten(), 0
    chosen = count(condition.numel(), x)[condition]
    return x[along(axis % x.ndim, chosen)]
