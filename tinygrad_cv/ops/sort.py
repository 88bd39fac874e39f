"""Sorting, and what is found by it: an order is looked for, and elements are taken in it.

The order itself has no gradient. The elements do: each gradient goes to the element that was
taken. nan counts as larger than every number.
"""

from collections.abc import Callable
from typing import Any

from tinygrad_cv.op import Op
from tinygrad_cv.ops.reduce import ValuesIndices, axis_of
from tinygrad_cv.tensor import F as T
from tinygrad_cv.tensor import Tensor


class Argsort(Op):
    """The places of the elements along `axis` in the order of their size; equal ones stay put."""

    axis: int
    descending: bool = False
    nondifferentiable = ("x",)

    def forward(self, xp, x):
        if not self.descending:
            return xp.argsort(x, axis=self.axis, kind="stable")
        # Backwards twice, so that equal elements keep their order.
        last = x.shape[self.axis] - 1
        order = xp.argsort(xp.flip(x, self.axis), axis=self.axis, kind="stable")
        return last - xp.flip(order, self.axis)


class Argmedian(Op):
    """The place along `axis` of the median, the lower one of two; or of a nan, if there is any."""

    axis: int
    nondifferentiable = ("x",)

    def forward(self, xp, x):
        order = xp.argsort(x, axis=self.axis, kind="stable")
        before = (slice(None),) * self.axis
        middle = (x.shape[self.axis] - 1) // 2
        median, last = (order[(*before, slice(i, i + 1))] for i in (middle, x.shape[self.axis] - 1))
        largest = xp.take_along_axis(x, last, self.axis)
        return xp.where(largest != largest, last, median)


# ----- as functions ------------------------------------------------------------------------------


def _found(
    input: Tensor, dim: int, axis: int | None, places: Callable[[Tensor, int], Tensor]
) -> ValuesIndices:
    """The elements at the places that `places` finds along an axis; a number is a row of one."""
    rows = input if input.ndim else T.reshape(input, shape=(1,))
    along = axis_of(rows, dim if axis is None else axis, None)
    indices = places(rows, along)
    values = T.take_along_dim(rows, indices, axis=along)
    if input.ndim:
        return ValuesIndices(values, indices)
    return ValuesIndices(T.reshape(values, shape=()), T.reshape(indices, shape=()))


def _part(order: Tensor, axis: int, start: int, stop: int) -> Tensor:
    result: Tensor = T.getitem(order, index=(*[slice(None)] * axis, slice(start, stop)))
    return result


def _without(pair: ValuesIndices, axis: int, keepdim: bool) -> ValuesIndices:
    """Both without an axis of length 1, unless it is to stay."""
    shape = pair.values.shape
    if keepdim or not shape:
        return pair
    axis %= len(shape)
    shape = shape[:axis] + shape[axis + 1 :]
    return ValuesIndices(*(T.reshape(part, shape=shape) for part in pair))


def sort(
    input: Tensor,
    dim: int = -1,
    descending: bool = False,
    stable: bool = False,
    *,
    axis: int | None = None,
) -> ValuesIndices:
    """The elements along `dim` in the order of their size, and where each one was.

    Equal elements keep their order, `stable` or not. The gradient of a value goes to where the
    value was.

    >>> sort(Tensor([3.0, 1.0, 2.0]))
    ValuesIndices(values=tensor([1., 2., 3.]), indices=tensor([1, 2, 0]))
    """
    return _found(input, dim, axis, lambda x, i: T.argsort(x, axis=i, descending=descending))


def argsort(
    input: Tensor,
    dim: int = -1,
    descending: bool = False,
    stable: bool = False,
    *,
    axis: int | None = None,
) -> Tensor:
    """The places of the elements along `dim` in the order of their size; see sort.

    >>> argsort(Tensor([3.0, 1.0, 2.0]), descending=True)
    tensor([0, 2, 1])
    """
    return sort(input.detach(), dim, descending, axis=axis).indices


def msort(input: Tensor) -> Tensor:
    """The elements along the first axis in the order of their size.

    >>> msort(Tensor([3.0, 1.0, 2.0]))
    tensor([1., 2., 3.])
    """
    return sort(input, 0).values


def topk(
    input: Tensor,
    k: int,
    dim: int = -1,
    largest: bool = True,
    sorted: bool = True,
    *,
    axis: int | None = None,
) -> ValuesIndices:
    """The `k` largest elements along `dim` (or the smallest ones), and where they are.

    They come in the order of their size, `sorted` or not; of equal ones the first come first.

    >>> topk(Tensor([3.0, 1.0, 2.0]), 2)
    ValuesIndices(values=tensor([3., 2.]), indices=tensor([0, 2]))
    """

    def first(x: Tensor, i: int) -> Tensor:
        if not 0 <= k <= x.shape[i]:
            raise ValueError(
                f"topk: k is from 0 to {x.shape[i]}, the length of axis {i} of the shape "
                f"{input.shape}; got {k}."
            )
        return _part(T.argsort(x, axis=i, descending=largest), i, 0, k)

    return _found(input, dim, axis, first)


def kthvalue(
    input: Tensor,
    k: int,
    dim: int = -1,
    keepdim: bool = False,
    *,
    axis: int | None = None,
    keepdims: bool | None = None,
) -> ValuesIndices:
    """The `k`-th smallest element along `dim`, counted from 1, and where it is.

    >>> kthvalue(Tensor([3.0, 1.0, 2.0]), 2)
    ValuesIndices(values=tensor(2.), indices=tensor(2))
    """

    def only(x: Tensor, i: int) -> Tensor:
        if not 1 <= k <= x.shape[i]:
            raise ValueError(
                f"kthvalue: k is from 1 to {x.shape[i]}, the length of axis {i} of the shape "
                f"{input.shape}; got {k}."
            )
        return _part(T.argsort(x, axis=i), i, k - 1, k)

    pair = _found(input, dim, axis, only)
    keep = keepdim if keepdims is None else keepdims
    return _without(pair, dim if axis is None else axis, keep)


def median(
    input: Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    axis: int | None = None,
    keepdims: bool | None = None,
) -> Any:
    """The median of all elements; along `dim`, a pair (values, indices).

    Of an even number of elements it is the lower one of the two in the middle. The gradient goes
    to the element at the index. With a nan among the elements, the median is nan.

    >>> median(Tensor([4.0, 1.0, 3.0, 2.0]))
    tensor(2.)
    >>> median(Tensor([[4.0, 1.0, 3.0]]), dim=1)
    ValuesIndices(values=tensor([3.]), indices=tensor([2]))
    """
    chosen = dim if axis is None else axis
    if chosen is None:
        return median(T.reshape(input, shape=(input.numel(),)), 0).values

    def middle(x: Tensor, i: int) -> Tensor:
        if not x.shape[i]:
            raise ValueError(
                f"median of a tensor of shape {input.shape} along axis {i}: there is no element "
                "to choose. Leave the axis of length 0 alone, or test numel() first."
            )
        return T.argmedian(x, axis=i)

    keep = keepdim if keepdims is None else keepdims
    return _without(_found(input, chosen, None, middle), chosen, keep)
