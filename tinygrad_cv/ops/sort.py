"""Sorting, and what is found by it: an order is looked for, and elements are taken in it.

The order itself has no gradient. The elements do: each gradient goes to the element that was
taken. nan counts as larger than every number.
"""

import math
from collections.abc import Callable
from typing import Any, overload

from tinygrad_cv._apply import F as T
from tinygrad_cv._apply import computed_in
from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._indexing import raw_index
from tinygrad_cv._inputs import public
from tinygrad_cv._op import Op, per_input
from tinygrad_cv._public import METHOD, TOP
from tinygrad_cv._tensor import Tensor, as_input
from tinygrad_cv.backend import host
from tinygrad_cv.ops.reduce import ValuesIndices, axis_of, cummax, kept


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

    def flops(self, out, x):
        return math.prod(x) * (x[self.axis] - 1).bit_length()  # n log n comparisons


class Argtop(Op):
    """The places of the `k` largest (or smallest) elements along `axis`, ordered by their size.

    Of equal ones the first comes first.
    """

    axis: int
    k: int
    largest: bool = True
    nondifferentiable = ("x",)
    flops = per_input

    def forward(self, xp, x):
        places = xp.top(xp.moveaxis(x, self.axis, -1), self.k, self.largest)
        return xp.moveaxis(places, -1, self.axis)


class Searchsorted(Op):
    """How many elements of each row of x (..., n), which ascends, are below each v (..., m).

    With `right` those that are equal count too. nan is above everything. Each step halves what is
    left to look at.
    """

    right: bool = False
    nondifferentiable = ("x", "v")

    def forward(self, xp, x, v):
        low, high = xp.zeros(v.shape, "int64"), xp.full(v.shape, x.shape[-1], "int64")
        for _ in range(x.shape[-1].bit_length()):
            middle = (low + high) // 2
            found = xp.take_along_axis(x, xp.minimum(middle, x.shape[-1] - 1), -1)
            stop = found > v if self.right else found >= v
            open_ = low < high
            low = xp.where(open_ & ~stop, middle + 1, low)
            high = xp.where(open_ & stop, middle, high)
        return low

    def flops(self, out, x, v):
        return math.prod(v) * x[-1].bit_length()


class Argmedian(Op):
    """The place along `axis` of the median, the lower one of two; or of a nan, if there is any."""

    axis: int
    nondifferentiable = ("x",)
    flops = per_input

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
    axis = axis_of(pair.values, axis, None)
    shape = shape[:axis] + shape[axis + 1 :]
    return ValuesIndices(*(T.reshape(part, shape=shape) for part in pair))


@public(TOP, METHOD)
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
    if not isinstance(descending, bool):
        raise TypeError(f"sort: descending is True or False, and dim one axis; got {descending!r}.")
    return _found(input, dim, axis, lambda x, i: T.argsort(x, axis=i, descending=descending))


@public(TOP, METHOD)
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


@public(TOP, METHOD)
def msort(input: Tensor) -> Tensor:
    """The elements along the first axis in the order of their size.

    >>> msort(Tensor([3.0, 1.0, 2.0]))
    tensor([1., 2., 3.])
    """
    return sort(input, 0).values


@public(TOP, METHOD)
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
        return T.argtop(x, axis=i, k=k, largest=largest)

    return _found(input, dim, axis, first)


@public(TOP, METHOD)
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
    keep = kept(keepdim, keepdims)
    return _without(pair, dim if axis is None else axis, keep)


@overload
def median(input: Tensor, dim: None = None) -> Tensor: ...
@overload
def median(
    input: Tensor, dim: int, keepdim: bool = False, *, keepdims: bool | None = None
) -> ValuesIndices: ...
@overload
def median(
    input: Tensor, *, axis: int, keepdim: bool = False, keepdims: bool | None = None
) -> ValuesIndices: ...
@public(TOP, METHOD)
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
    keep = keepdim, keepdims
    return _middle("median", input, dim if axis is None else axis, keep, T.argmedian)


@overload
def nanmedian(input: Tensor, dim: None = None) -> Tensor: ...
@overload
def nanmedian(
    input: Tensor, dim: int, keepdim: bool = False, *, keepdims: bool | None = None
) -> ValuesIndices: ...
@overload
def nanmedian(
    input: Tensor, *, axis: int, keepdim: bool = False, keepdims: bool | None = None
) -> ValuesIndices: ...
@public(TOP, METHOD)
def nanmedian(
    input: Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    axis: int | None = None,
    keepdims: bool | None = None,
) -> Any:
    """The `median` without the elements that are nan; nan where there are no others.

    >>> nanmedian(Tensor([4.0, 1.0, float("nan"), 3.0]))
    tensor(3.)
    """
    keep = keepdim, keepdims
    return _middle("nanmedian", input, dim if axis is None else axis, keep, _argnanmedian)


def _middle(
    name: str,
    input: Tensor,
    dim: int | None,
    keep: tuple[bool, bool | None],
    place: Callable[..., Tensor],
) -> Any:
    """The elements along `dim` at the `place` found there, or the one of all elements."""
    if dim is None:
        row = T.reshape(input, shape=(input.numel(),))
        return _middle(name, row, 0, (False, None), place).values

    def middle(x: Tensor, i: int) -> Tensor:
        if not x.shape[i]:
            raise ValueError(
                f"{name} of a tensor of shape {input.shape} along axis {i}: there is no element "
                "to choose. Leave the axis of length 0 alone, or test numel() first."
            )
        return place(x, axis=i)

    keepdim = kept(*keep)
    return _without(_found(input, dim, None, middle), dim, keepdim)


def _argnanmedian(x: Tensor, axis: int) -> Tensor:
    """The place of the median of what is not nan; the first nan where there is nothing else."""
    numbers = T.sum(x == x, axis=(axis,), keepdims=True)  # nan alone differs from itself
    last = T.maximum(numbers - 1, 0)
    place: Tensor = T.take_along_dim(T.argsort(x, axis=axis), last // 2, axis=axis)
    return place


QUANTILES = ("linear", "lower", "higher", "nearest", "midpoint")
"""How a quantile between two elements is made of them."""


@computed_in("float32")
def _quantile(
    name: str, input: Tensor, q: Any, dim: Any, keepdim: bool, interpolation: str, skip: bool
) -> Tensor:
    if interpolation not in QUANTILES:
        raise ValueError(
            f"{name}: interpolation is one of {', '.join(QUANTILES)}; got {interpolation!r}."
        )
    shares = q if isinstance(q, Tensor) else Tensor(q, dtype="float64", device=input.device)
    if shares.ndim > 1:
        raise ValueError(
            f"{name}: q is a number or a vector of them; got the shape {shares.shape}."
        )
    given = host.asarray(q) if not isinstance(q, Tensor) else host.zeros(0)
    if not ((given >= 0) & (given <= 1)).all():
        raise ValueError(f"{name}: q is a share, from 0 to 1; got {q}.")
    rows = T.reshape(input, shape=(input.numel(),)) if dim is None or not input.ndim else input
    axis = axis_of(rows, 0 if dim is None else dim, None)
    last = rows.ndim - 1
    n = rows.shape[axis]
    if not n:
        raise ValueError(
            f"{name} of a tensor of shape {input.shape}: there is no element to choose."
        )
    x = T.permute(rows, axes=(*(i for i in range(rows.ndim) if i != axis), axis))
    x = T.take_along_dim(x, T.argsort(x, axis=last), axis=last)
    numbers = T.sum(x == x, axis=(last,), keepdims=True)  # nan alone differs from itself
    ends = T.maximum(numbers - 1, 0)
    flat = T.cast(T.reshape(shares, shape=(-1,)), dtype="float64")
    ranks = flat * T.cast(ends, dtype="float64")
    if not skip:  # with a nan in a row, all that is asked is nan, and that comes last
        ranks = T.where(numbers < n, float(n - 1), ranks)
    if interpolation == "nearest":
        ranks = T.round(ranks)
    low, high = T.floor(ranks), T.ceil(ranks)
    lower, higher = (
        T.take_along_dim(x, T.cast(place, dtype="int64"), axis=last) for place in (low, high)
    )
    if interpolation in ("lower", "nearest"):
        found = lower
    elif interpolation == "higher":
        found = higher
    else:
        between = 0.5 if interpolation == "midpoint" else T.cast(ranks - low, dtype=x.dtype)
        found = lower + T.where(low == high, 0.0, higher - lower) * between
    # The shares are the last axis; they come first.
    found = T.permute(found, axes=(last, *range(last)))
    shape: tuple[int, ...] = found.shape[1:]
    if keepdim:
        shape = (1,) * input.ndim if dim is None else (*shape[:axis], 1, *shape[axis:])
        shape = shape if input.ndim else ()
    result: Tensor = T.reshape(
        found, shape=shape if not shares.ndim else (*found.shape[:1], *shape)
    )
    return result


@public(TOP, METHOD)
def quantile(
    input: Tensor,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """What a share q of the elements along `dim` is below: the element at q · (n - 1), ordered.

    Between two elements it is on the line from one to the other; or the "lower", the "higher" or
    the "nearest" one, or their "midpoint" (`interpolation`). A vector q makes a new first axis.
    With a nan among the elements it is nan. A tensor q has a gradient too.

    >>> quantile(Tensor([4.0, 1.0, 3.0, 2.0]), 0.5)
    tensor(2.5)
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False)


@public(TOP, METHOD)
def nanquantile(
    input: Tensor,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """The `quantile` of the elements that are not nan; nan where there are none.

    >>> nanquantile(Tensor([1.0, float("nan"), 3.0]), 0.5)
    tensor(2.)
    """
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)


# ----- what is there, and how often --------------------------------------------------------------


@public(TOP, METHOD)
@no_grad()
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The distinct elements in the order of their size, `sorted` or not; of `dim`, distinct slices.

    With `return_inverse` also which of them stands at each place of the input, and with
    `return_counts` how often each is there: then a tuple. A nan equals nothing, itself included.
    How many there are depends on the values: on a GPU this is a wait. There is no gradient.

    >>> unique(Tensor([3.0, 1.0, 3.0]), return_counts=True)
    (tensor([1., 3.]), tensor([1, 2]))
    """
    rows, along = _slices("unique", input, dim)
    order = _row_order(rows)
    ordered = T.getitem(rows, index=raw_index(order, rows._backend))
    values, runs, counts = _runs(ordered)
    back = T.put_along_dim(runs, order, axis=0, length=runs.numel())
    return _unique_result(input, along, values, back, counts, return_inverse, return_counts)


@public(TOP, METHOD)
@no_grad()
def unique_consecutive(
    input: Tensor,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The elements without those that equal the one before them; of `dim`, slices. See `unique`.

    >>> unique_consecutive(Tensor([1.0, 1.0, 2.0, 1.0]))
    tensor([1., 2., 1.])
    """
    rows, along = _slices("unique_consecutive", input, dim)
    values, runs, counts = _runs(rows)
    return _unique_result(input, along, values, runs, counts, return_inverse, return_counts)


def _slices(name: str, input: Tensor, dim: int | None) -> tuple[Tensor, int | None]:
    """What is compared, one row each; and the axis that it lies along."""
    if dim is None or input.ndim == 0:
        return T.reshape(input, shape=(-1, 1)), None
    axis = axis_of(input, dim, None)
    moved = input.movedim(axis, 0)
    if not moved.numel() and len(moved):
        raise ValueError(
            f"{name}: the slices along axis {axis} of the shape {input.shape} are empty, and none "
            "differs from another."
        )
    return T.reshape(moved, shape=(len(moved), math.prod(moved.shape[1:]))), axis


def _row_order(rows: Tensor) -> Tensor:
    """The order of rows as words are ordered, by their first element first."""
    order = Tensor(host.arange(len(rows)), device=rows.device)
    for column in reversed(range(rows.shape[1])):
        by = T.take_along_dim(T.getitem(rows, index=(slice(None), column)), order, axis=0)
        order = T.take_along_dim(order, T.argsort(by, axis=0), axis=0)
    return order


def _runs(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The first row of each run of equal ones, which run each belongs to, and how long they are."""
    count = len(rows)
    later = T.getitem(rows, index=(slice(1, None),))
    earlier = T.getitem(rows, index=(slice(0, max(count - 1, 0)),))
    first = T.cat(
        Tensor(host.ones(min(count, 1), bool), device=rows.device),
        T.any(later != earlier, axis=(1,)),
        axis=0,
    )
    starts = T.reshape(T.nonzero(first), shape=(-1,))
    values = T.getitem(rows, index=raw_index(starts, rows._backend))
    ends = T.cat(starts, Tensor(host.array([count]), device=rows.device), axis=0)
    lengths = T.getitem(ends, index=(slice(1, None),)) - starts
    return values, T.cumsum(first.long(), axis=0) - 1, lengths


def _unique_result(
    input: Tensor,
    axis: int | None,
    values: Tensor,
    inverse: Tensor,
    counts: Tensor,
    return_inverse: bool,
    return_counts: bool,
) -> Any:
    if axis is None:
        values, inverse = T.reshape(values, shape=(-1,)), T.reshape(inverse, shape=input.shape)
    else:
        others = (*input.shape[:axis], *input.shape[axis + 1 :])
        values = T.reshape(values, shape=(len(values), *others)).movedim(0, axis)
    result = (values, *([inverse] * return_inverse), *([counts] * return_counts))
    return result if len(result) > 1 else values


@public(TOP)
def isin(
    elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False
) -> Tensor:
    """Whether each of `elements` is one of `test_elements`, or (`invert`) none of them.

    Both are tensors, or one is a number; `assume_unique` changes nothing. nan is in no tensor.

    >>> isin(Tensor([1.0, 2.0, 3.0]), Tensor([3.0, 1.0]))
    tensor([ True, False,  True])
    """
    like = elements if isinstance(elements, Tensor) else test_elements
    like = like if isinstance(like, Tensor) else None
    given = [as_input(value, like).detach() for value in (elements, test_elements)]
    dtype = host.result_type(*(x.dtype for x in given))
    wanted, among = (x.to(dtype=dtype) for x in given)
    if dtype.kind == "b":
        wanted, among = wanted.byte(), among.byte()
    if not among.numel():
        found = T.ne(wanted, wanted) & False
    else:
        among = sort(among.reshape(-1)).values
        place = T.clamp(searchsorted(among, wanted), min=None, max=among.numel() - 1)
        found = T.eq(T.getitem(among, index=place._array), wanted)
    return ~found if invert else found


@public(TOP, METHOD)
def mode(
    input: Tensor,
    dim: int = -1,
    keepdim: bool = False,
    *,
    axis: int | None = None,
    keepdims: bool | None = None,
) -> ValuesIndices:
    """The value that stands most often along `dim`, of several the smallest, and its last place.

    The gradient goes to that place. Each nan is a value of its own.

    >>> mode(Tensor([3.0, 1.0, 3.0, 2.0]))
    ValuesIndices(values=tensor(3.), indices=tensor(2))
    """

    def only(x: Tensor, i: int) -> Tensor:
        length, x = x.shape[i], x.detach()
        if not length:
            raise IndexError(f"mode: axis {i} of the shape {input.shape} is empty.")
        order = T.argsort(x, axis=i)
        values = T.take_along_dim(x, order, axis=i)
        place = T.reshape(
            Tensor(host.arange(length), device=x.device), shape=(-1, *(1,) * (x.ndim - 1 - i))
        )
        changed = T.ne(_part(values, i, 1, length), _part(values, i, 0, length - 1))
        later = T.where(changed, T.getitem(place, index=(slice(1, None),)), 0)
        start = T.pad(later, widths=tuple((int(axis == i), 0) for axis in range(x.ndim)))
        run = place - cummax(start, i).values
        return T.take_along_dim(order, T.argmax(run, axis=i, keepdims=True), axis=i)

    pair = _found(input, dim, axis, only)
    return _without(pair, dim if axis is None else axis, kept(keepdim, keepdims))


@public(TOP, METHOD)
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each number from 0 up is there; or the sum of the `weights` that stand beside it.

    The result is as long as the largest number needs (on a GPU a wait), and `minlength` at least.
    Weights are differentiated.

    >>> bincount(Tensor([1, 1, 3], dtype="int64"))
    tensor([0, 2, 0, 1])
    """
    if input.ndim != 1 or input.dtype.kind not in "iu":
        raise ValueError(
            f"bincount: expected a vector of integers; got {input.dtype} {input.shape}."
        )
    if weights is not None and weights.shape != input.shape:
        raise ValueError(
            f"bincount: expected a weight for each number, {input.shape}; got {weights.shape}."
        )
    if minlength < 0 or (input.numel() and bool(T.amin(input) < 0)):
        raise ValueError(
            f"bincount: numbers and minlength are from 0 up; got minlength={minlength} and "
            f"{input!r}."
        )
    length = max(minlength, int(T.amax(input)) + 1 if input.numel() else 0)
    if weights is None:
        weights = Tensor(host.ones(input.shape, "int64"), device=input.device)
    elif weights.dtype != "float32":
        weights = weights.double()
    y: Tensor = T.scatter_add(
        weights, index=raw_index(input.long(), input._backend), shape=(length,)
    )
    return y


@public(TOP, METHOD)
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements lie in each of `bins` equal parts of [min, max], in the input's dtype.

    max itself belongs to the last part; what lies outside is not counted, nor is nan. With min =
    max the range is that of the elements (on a GPU a wait), and if they are all equal, 1 more to
    each side.

    >>> histc(Tensor([1.0, 2.0, 1.0]), bins=4, min=0, max=3)
    tensor([0., 2., 1., 0.])
    """
    if not input.is_floating_point():
        raise TypeError(f"histc: expected floats; got {input.dtype}. Convert them: input.float().")
    x = input.detach().double()
    low, high = float(min), float(max)
    if low == high and x.numel():
        low, high = float(T.amin(x)), float(T.amax(x))
    if low == high:
        low, high = low - 1, high + 1
    if bins < 1 or not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(
            f"histc: expected bins, a number above 0, and a finite range with min < max; got "
            f"bins={bins} and the range {low} to {high}."
        )
    inside = T.logical_and(x >= low, x <= high)
    part = T.floor((T.where(inside, x, low) - low) / (high - low) * bins)
    place = T.minimum(T.reshape(part, shape=(-1,)), bins - 1).long()
    counted = T.reshape(inside, shape=(-1,)).long()
    total = T.scatter_add(counted, index=raw_index(place, x._backend), shape=(bins,))
    return total.to(dtype=input.dtype)


@public(TOP)
def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where each element of `input` would go into a row that ascends, so that it still does.

    Before the elements that equal it, or with `right` (or side="right") after them. The sequence is
    one row (n,) for an input of any shape, or rows (..., n) for an input (..., m) with the same
    leading axes. `sorter` is the order (see argsort) of a sequence that is not sorted itself.

    >>> searchsorted(Tensor([1.0, 3.0, 5.0]), Tensor([0.0, 3.0, 6.0]))
    tensor([0, 1, 3])
    """
    x = sorted_sequence
    if side not in (None, "left", "right") or (right and side == "left"):
        raise ValueError(
            f"searchsorted: side is 'left' or 'right', and agrees with right; got side={side!r} "
            f"and right={right}."
        )
    if sorter is not None:
        if sorter.shape != x.shape:
            raise ValueError(
                f"searchsorted: the sorter has the shape of the sequence, {x.shape}; got "
                f"{sorter.shape}."
            )
        x = T.take_along_dim(x, sorter, axis=x.ndim - 1)
    if not isinstance(input, Tensor):
        input = Tensor(input, dtype="float64", device=x.device)
    if x.ndim == 0 or (x.ndim > 1 and x.shape[:-1] != input.shape[:-1]):
        raise ValueError(
            f"searchsorted: expected a sequence (n,), or (..., n) with the leading axes of the "
            f"input; got {x.shape} and an input of {input.shape}."
        )
    flat = T.reshape(input, shape=(-1,)) if x.ndim == 1 else input
    found = T.searchsorted(x.detach(), flat.detach(), right=right or side == "right")
    return T.reshape(found, shape=input.shape).to(dtype="int32" if out_int32 else "int64")


@public(TOP)
def bucketize(
    input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False
) -> Tensor:
    """In which interval between `boundaries`, which ascend, each element lies; see searchsorted.

    >>> bucketize(Tensor([0.0, 2.0, 6.0]), Tensor([1.0, 3.0, 5.0]))
    tensor([0, 1, 3])
    """
    if boundaries.ndim != 1:
        raise ValueError(f"bucketize: boundaries are one row (n,); got {boundaries.shape}.")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)
