"""Taking elements out, and adding gradients back in where they came from."""

import itertools
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from tinygrad_cv._apply import F as T
from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._graph import in_one, is_general
from tinygrad_cv._indexing import raw_index
from tinygrad_cv._inputs import public
from tinygrad_cv._op import Op, moves, per_input
from tinygrad_cv._public import FUNCTIONAL, IN_PLACE, METHOD, TOP
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.backend.recording import recording, refuse
from tinygrad_cv.ops.reduce import axes_of, norm
from tinygrad_cv.ops.shape import Movement, apart, sizes_of

# ----- by an index -------------------------------------------------------------------------------


class Getitem(Movement):
    """x[index] for a basic (slices, integers, None, ...) or an advanced (arrays) index."""

    index: Any
    views = True

    def forward(self, xp, x):
        self.shape = x.shape
        index = self.index if isinstance(self.index, tuple) else (self.index,)
        if not any(part is Ellipsis for part in index):
            index = (*index, ...)  # one element is then a view as well, and not a copy
        return x[index]

    def grad_x(self, F, g):
        return F.placed(g, index=self.index, shape=self.shape)


class ScatterAdd(Op):
    """Zeros of `shape` with x added at `index`; places named twice accumulate."""

    index: Any
    shape: tuple[int, ...]
    flops = per_input

    def forward(self, xp, x):
        return xp.scatter_add(self.shape, self.index, x)

    def grad_x(self, F, g):
        return F.getitem(g, index=self.index)


class IndexPut(Movement):
    """x with `source` (broadcast) in place of the elements x[index].

    With a `view`, ops that are taken one after the other, it is the elements at the index of that
    view of x. A place is to be named once: of several values for it any may win. An assignment that
    is recorded gets the node of this op, and the forward is what it wrote already.
    """

    index: Any
    view: tuple[Op, ...] = ()

    def forward(self, xp, x, source):
        self.before = getattr(source, "shape", ())
        y = xp.array(x, None)
        part = y
        for step in self.view:
            part = step.forward(xp, part)
        if not self.view or xp.shares_memory(part, y):
            xp.assign(part, self.index, source)
            return y
        places = xp.reshape(xp.arange(x.size), x.shape)  # this layout of x has no such view
        for step in self.view:
            places = step.forward(xp, places)
        flat = xp.array(xp.reshape(x, (-1,)), None)
        xp.assign(flat, places[self.index], source)
        return xp.reshape(flat, x.shape)

    def grad_x(self, F, g):
        return F.index_put(g, 0.0, index=self.index, view=self.view)

    def grad_source(self, F, g):
        for step in self.view:
            g = F.bind(type(step))(g, **{name: getattr(step, name) for name in step.attributes})
        return F.sum_to(F.getitem(g, index=self.index), shape=self.before)


class Scatter(Movement):
    """x with y[..., index[..., k, ...], ...] = source[..., k, ...] along `axis`.

    In the other axes a source is written to its own place; there `index`, in the shape of the
    source, may be shorter than x. A place is to be named once: of several values for it any may
    win.
    """

    axis: int
    nondifferentiable = ("index",)

    def forward(self, xp, x, index, source):
        self.part = tuple(
            slice(None) if i == self.axis else slice(0, n) for i, n in enumerate(index.shape)
        )
        places = [
            xp.reshape(xp.arange(n), (-1, *(1,) * (index.ndim - 1 - i)))
            for i, n in enumerate(index.shape)
        ]
        places[self.axis] = index
        y = xp.array(x, None)
        xp.assign(y, tuple(places), source)
        return y

    def grad_x(self, F, g, index):
        return F.scatter(g, index, 0.0, axis=self.axis)

    def grad_source(self, F, g, index):
        return F.take_along_dim(F.getitem(g, index=self.part), index, axis=self.axis)


class ScatterExtreme(Op):
    """The largest (or smallest) x[..., j, ...] among those sent to each of `length` places.

    `index` says where along `axis` each goes. Of equal ones all share the gradient evenly, and a
    nan is the largest and the smallest. A place that nothing is sent to holds 0.
    """

    axis: int
    length: int
    largest: bool = True
    nondifferentiable = ("index",)
    flops = per_input

    def forward(self, xp, x, index):
        self.dtype = "float32" if x.dtype == "float16" else x.dtype
        ends, order = _segments(xp, x, index, self.axis, self.length)
        if not x.shape[self.axis]:
            return xp.zeros(ends.shape, x.dtype)
        x = xp.take_along_axis(x, order, self.axis)
        y = last = xp.take_along_axis(x, xp.maximum(ends - 1, 0), self.axis)
        starts = _before(xp, ends, self.axis)
        if not self.largest:
            within = xp.minimum(starts, x.shape[self.axis] - 1)
            y = xp.where(last != last, last, xp.take_along_axis(x, within, self.axis))
        return xp.where(ends > starts, y, xp.zeros_like(y))

    def grad_x(self, F, g, x, index, y):
        ties = F.let("ties", x == F.take_along_dim(y, index, axis=self.axis))
        count = F.put_along_dim(
            F.cast(ties, dtype=self.dtype), index, axis=self.axis, length=self.length
        )
        share = g / F.maximum(count, 1)
        return F.where(ties, F.take_along_dim(share, index, axis=self.axis), 0.0)


def _segments(xp, x, index, axis, length):
    """Where, in the order of (index, x), the elements of each place end; and that order."""
    order = xp.argsort(x, axis=axis, kind="stable")
    index = xp.where(index < 0, index + length, index)
    index = xp.take_along_axis(index, order, axis)
    order = xp.take_along_axis(order, xp.argsort(index, axis=axis, kind="stable"), axis)
    mesh = [xp.reshape(xp.arange(n), (n, *(1,) * (x.ndim - 1 - i))) for i, n in enumerate(x.shape)]
    mesh[axis] = index
    shape = (*x.shape[:axis], length, *x.shape[axis + 1 :])
    counts = xp.scatter_add(shape, tuple(mesh), xp.ones(x.shape, "int64"))
    return xp.cumsum(counts, axis=axis), order


def _before(xp, ends, axis):
    """Where each segment starts: at the end of the one before it."""
    first = (*(slice(None),) * axis, slice(0, 1))
    others = (*(slice(None),) * axis, slice(0, -1))
    return xp.concatenate([xp.zeros_like(ends[first]), ends[others]], axis=axis)


class Nonzero(Op):
    """The places of the elements that are not 0, a row for each: (count, number of axes)."""

    nondifferentiable = ("x",)
    flops = moves

    def forward(self, xp, x):
        places = xp.nonzero(xp.reshape(x, x.shape or (1,)))
        return xp.stack(places, axis=1)[:, : x.ndim]


# ----- parts of matrices -------------------------------------------------------------------------


class Tril(Movement):
    """The lower triangle of each matrix, with the diagonals up to number `diagonal`; else 0."""

    diagonal: int = 0

    def forward(self, xp, x):
        return xp.tril(x, self.diagonal)

    def grad_x(self, F, g):
        return F.tril(g, diagonal=self.diagonal)


class Triu(Movement):
    """The upper triangle of each matrix, from the diagonal number `diagonal` on; else 0."""

    diagonal: int = 0

    def forward(self, xp, x):
        return xp.triu(x, self.diagonal)

    def grad_x(self, F, g):
        return F.triu(g, diagonal=self.diagonal)


class Diagonal(Movement):
    """The elements x[..., i, ..., i + offset, ...] of two axes, as a new last axis."""

    offset: int = 0
    axis1: int = 0
    axis2: int = 1
    views = True

    def forward(self, xp, x):
        self.rows, self.columns = x.shape[self.axis1], x.shape[self.axis2]
        return xp.diagonal(x, self.offset, self.axis1, self.axis2)

    def grad_x(self, F, g):
        return F.diag_embed(
            g,
            offset=self.offset,
            axis1=self.axis1,
            axis2=self.axis2,
            rows=self.rows,
            columns=self.columns,
        )


class DiagEmbed(Movement):
    """Zeros with the last axis of x on a diagonal of two new axes: the adjoint of diagonal."""

    offset: int
    axis1: int
    axis2: int
    rows: int
    columns: int

    def forward(self, xp, x):
        y = xp.zeros((*x.shape[:-1], self.rows, self.columns), x.dtype)
        i = xp.arange(x.shape[-1])
        xp.assign(y, (..., i - min(self.offset, 0), i + max(self.offset, 0)), x)
        return xp.moveaxis(y, (-2, -1), (self.axis1, self.axis2))

    def grad_x(self, F, g):
        return F.diagonal(g, offset=self.offset, axis1=self.axis1, axis2=self.axis2)


# ----- classes -----------------------------------------------------------------------------------


class OneHot(Op):
    """A new last axis of length `num_classes` with a 1 at the place that x names."""

    num_classes: int
    chooses_dtype = True
    dtype: Any = "float32"
    nondifferentiable = ("x",)
    flops = moves

    def forward(self, xp, x):
        return xp.equal(x[..., None], xp.arange(self.num_classes)).astype(self.dtype)


# ----- as functions ------------------------------------------------------------------------------


@public(TOP, FUNCTIONAL)
def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Labels as rows with a single 1 (int64, as PyTorch's). On a GPU, checking them takes a wait.

    -1 takes as many classes as the largest label asks for.

    >>> one_hot(Tensor([0, 2], dtype="int64"), 3)
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    if tensor.dtype.kind not in "iu":
        raise ValueError(
            f"one_hot: labels are integers; got {tensor.dtype} {tensor.shape}. Convert them: "
            "labels.long()."
        )
    if num_classes == -1 and tensor.numel():
        if recording.get() is not None:
            refuse(
                "one_hot without num_classes", "How many classes there are is its shape: give it."
            )
        num_classes = max(1, int(T.amax(tensor)) + 1)
    if num_classes < 1:
        raise ValueError(
            f"one_hot: expected num_classes, a positive number, or labels to find it by; got "
            f"num_classes={num_classes} and {tensor.numel()} labels."
        )
    if (recorder := recording.get()) is not None:
        recorder.check(partial(_classes, num_classes, tensor._backend), tensor._array)
    elif not is_general() and tensor._backend.has_numbers:
        _classes(num_classes, tensor._backend, tensor._array)
    return T.one_hot(tensor, num_classes=num_classes, dtype="int64")


def _classes(num_classes: int, backend: Any, labels: Any) -> None:
    """Raise ValueError unless all labels, an array of the backend, are classes."""
    with backend.active:
        wrong = bool(((labels < 0) | (labels >= num_classes)).any())
    if wrong:
        raise ValueError(
            f"one_hot: expected integers from 0 to {num_classes - 1} for num_classes="
            f"{num_classes}; got {backend.to_host(labels)}."
        )


def _row(input: Tensor) -> Tensor:
    """A number as a row of one, which is how the functions here take it; others as they are."""
    return input if input.ndim else T.reshape(input, shape=(1,))


def _axis(name: str, input: Tensor, dim: int) -> int:
    """The axis `dim` as a non-negative number."""
    axes = axes_of(input, dim, None)
    if axes is None:
        raise IndexError(f"{name}: a tensor of shape () has no axis {dim}; reshape it to (1,).")
    return axes[0]


def _whole(name: str, index: Any, like: Tensor) -> Tensor:
    """An index as a tensor of integers on the device of another tensor."""
    if not isinstance(index, Tensor):
        values = host.asarray(index)
        # [] alone would be floats
        index = Tensor(values if values.size else values.astype("int64"), device=like.device)
    whole: Tensor = index
    if whole.dtype.kind not in "iu":
        raise TypeError(
            f"{name}: an index is made of integers; got {whole.dtype} {whole.shape}. Convert it: "
            "index.long()."
        )
    return whole.long() if whole.dtype == "uint8" else whole


def _along(name: str, input: Tensor, dim: int, index: Any) -> Any:
    """The index that names whole slices along one axis, in arrays."""
    index = _whole(name, index, input)
    if index.ndim > 1:
        raise ValueError(f"{name}: the index must be a vector; got {index.shape}.")
    axis = _axis(name, input, dim)
    return raw_index((slice(None),) * axis + (index.reshape(-1),), input._backend)


def _same_dtype(name: str, input: Tensor, source: Tensor) -> None:
    if source.dtype != input.dtype:
        raise TypeError(
            f"{name}: what is written must have the dtype of the input, {input.dtype}; got "
            f"{source.dtype}. Convert it: source.to(input.dtype)."
        )


@public(TOP, METHOD)
def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """The `length` elements from `start` on along `dim`; a view.

    >>> narrow(Tensor([1.0, 2.0, 3.0]), 0, 1, 2)
    tensor([2., 3.])
    """
    axis = _axis("narrow", input, dim)
    n = input.shape[axis]
    first = start + n if start < 0 else start
    if length < 0 or not 0 <= first <= first + length <= n:
        raise IndexError(
            f"narrow: {length} elements from {start} on are not in axis {axis} of {input.shape}."
        )
    return T.getitem(input, index=(slice(None),) * axis + (slice(first, first + length),))


@public(TOP, METHOD)
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """Element `index` along `dim`, which is gone from the result; a view.

    >>> select(Tensor([[1.0, 2.0], [3.0, 4.0]]), 1, 0)
    tensor([1., 3.])
    """
    axis = _axis("select", input, dim)
    if not -input.shape[axis] <= index < input.shape[axis]:
        raise IndexError(f"select: there is no {index} in axis {axis} of {input.shape}.")
    return T.getitem(input, index=(slice(None),) * axis + (index,))


@public(TOP, METHOD)
def index_select(input: Tensor, dim: int, index: Any) -> Tensor:
    """The slices of `input` along `dim` that a vector names, in its order.

    >>> index_select(Tensor([[1.0, 2.0], [3.0, 4.0]]), 1, [1, 1, 0])
    tensor([[2., 2., 1.],
            [4., 4., 3.]])
    """
    rows = _row(input)
    places = _along("index_select", rows, dim, index)
    if input.ndim == 0 and len(places[-1]) != 1:
        raise ValueError(
            f"index_select: a number can be selected once; got {len(places[-1])} indices."
        )
    y: Tensor = T.getitem(rows, index=places)
    return y if input.ndim else T.reshape(y, shape=())


@public(TOP, METHOD, IN_PLACE)
def index_add(input: Tensor, dim: int, index: Any, source: Tensor, *, alpha: float = 1) -> Tensor:
    """`input` with `alpha` times each slice of `source` added to the slice that `index` names.

    >>> index_add(Tensor([1.0, 1.0]), 0, [1, 1], Tensor([2.0, 3.0]))
    tensor([1., 6.])
    """
    if input.ndim == 0 and source.ndim == 0:
        y = index_add(_row(input), dim, index, _row(source), alpha=alpha)
        return T.reshape(y, shape=())
    places = _along("index_add", input, dim, index)
    _check_slices("index_add", input, source, places)
    added = T.scatter_add(source, index=places, shape=input.shape)
    return input + (added if alpha == 1 else added * alpha)


@public(TOP, METHOD, IN_PLACE)
def index_copy(input: Tensor, dim: int, index: Any, source: Tensor) -> Tensor:
    """`input` with the slices that `index` names replaced by those of `source`.

    A slice is to be named once. The gradient goes to `source` there, and to `input` elsewhere.

    >>> index_copy(Tensor([1.0, 2.0, 3.0]), 0, [2, 0], Tensor([10.0, 20.0]))
    tensor([20.,  2., 10.])
    """
    if input.ndim == 0:
        return T.reshape(index_copy(_row(input), dim, index, source), shape=())
    places = _along("index_copy", input, dim, index)
    source = _row(source)
    _check_slices("index_copy", input, source, places)
    return T.index_put(input, source, index=places)


def _check_slices(name: str, input: Tensor, source: Tensor, places: tuple[Any, ...]) -> None:
    """Raise unless the source has a slice for each that is named."""
    axis = len(places) - 1
    expected = (*input.shape[:axis], *places[-1].shape, *input.shape[axis + 1 :])
    if source.shape != expected:
        raise ValueError(
            f"{name}: {len(places[-1])} slices along axis {axis} of {input.shape} have the shape "
            f"{expected}; got a source of {source.shape}."
        )
    _same_dtype(name, input, source)


@public(TOP, METHOD, IN_PLACE)
def index_fill(input: Tensor, dim: int, index: Any, value: Any) -> Tensor:
    """`input` with one value, a number or a tensor of shape (), in the slices that `index` names.

    They may be named several times; to the value goes the gradient of each slice once.

    >>> index_fill(Tensor([1.0, 2.0, 3.0]), 0, [0, 2], -1)
    tensor([-1.,  2., -1.])
    """
    _check_value("index_fill", value)
    if input.ndim == 0:
        return T.reshape(index_fill(_row(input), dim, index, value), shape=())
    places = _along("index_fill", input, dim, index)
    axis = len(places) - 1
    length = input.shape[axis]
    named = Tensor(host.ones(places[-1].shape, "int64"), device=input.device)
    count = T.scatter_add(named, index=(places[-1],), shape=(length,))
    mask = T.reshape(count > 0, shape=(length, *(1,) * (input.ndim - 1 - axis)))
    return T.where(mask, value, input)


@public(TOP, METHOD, IN_PLACE)
def index_put(
    input: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool = False
) -> Tensor:
    """`input` with `values` (broadcast) in place of the elements input[indices].

    With `accumulate` they are added to those elements, as often as they are named; otherwise each
    is to be named once.

    >>> index_put(Tensor([[1.0, 2.0], [3.0, 4.0]]), ([0, 1], [1, 0]), Tensor([5.0, 6.0]))
    tensor([[1., 5.],
            [6., 4.]])
    """
    _same_dtype("index_put", input, values)
    index = raw_index(tuple(indices), input._backend)
    if not accumulate:
        return T.index_put(input, values, index=index)
    named = T.getitem(input.detach(), index=index).shape
    return input + T.scatter_add(values.broadcast_to(named), index=index, shape=input.shape)


@public(TOP, METHOD, IN_PLACE)
def put(input: Tensor, index: Any, source: Tensor, accumulate: bool = False) -> Tensor:
    """`input` with the elements that an index of any shape names, counted in row-major order,
    replaced by those of `source`; see index_put.

    >>> put(Tensor([[1.0, 2.0], [3.0, 4.0]]), [3, 0], Tensor([5.0, 6.0]))
    tensor([[6., 2.],
            [3., 5.]])
    """
    places = _whole("put", index, input)
    if places.numel() != source.numel():
        raise ValueError(
            f"put: expected an element of source for each place; got a source of {source.shape} "
            f"and an index of {places.shape}."
        )
    flat = T.reshape(input, shape=(-1,))
    written = index_put(flat, (places.reshape(-1),), source.reshape(-1), accumulate)
    return T.reshape(written, shape=input.shape)


@public(TOP, METHOD)
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """`input` with `src` in place of select(input, dim, index).

    >>> select_scatter(Tensor([[1.0, 2.0], [3.0, 4.0]]), Tensor([5.0, 6.0]), 1, 0)
    tensor([[5., 2.],
            [6., 4.]])
    """
    place = (slice(None),) * _axis("select_scatter", input, dim)
    return _replaced("select_scatter", input, src, (*place, index), select(input, dim, index))


@public(TOP, METHOD)
def slice_scatter(
    input: Tensor,
    src: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    """`input` with `src` in place of its slice start:end:step along `dim`.

    >>> slice_scatter(Tensor([1.0, 2.0, 3.0, 4.0]), Tensor([5.0, 6.0]), 0, 1, None, 2)
    tensor([1., 5., 3., 6.])
    """
    if step < 1:
        raise ValueError(f"slice_scatter: the step is 1 or more; got {step}.")
    place = (slice(None),) * _axis("slice_scatter", input, dim) + (slice(start, end, step),)
    return _replaced("slice_scatter", input, src, place, T.getitem(input, index=place))


@public(TOP, METHOD)
def diagonal_scatter(
    input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    """`input` with `src` in place of diagonal(input, offset, dim1, dim2).

    >>> diagonal_scatter(Tensor([[1.0, 2.0], [3.0, 4.0]]), Tensor([5.0, 6.0]))
    tensor([[5., 2.],
            [3., 6.]])
    """
    old = diagonal(input, offset, dim1, dim2)
    _check_replacement("diagonal_scatter", input, src, old)
    way = (Diagonal(offset=offset, axis1=dim1 % input.ndim, axis2=dim2 % input.ndim),)
    return T.index_put(input, src, index=(...,), view=way)


def _replaced(name: str, input: Tensor, src: Tensor, place: Any, old: Tensor) -> Tensor:
    """`input` with `src` at a place that holds `old`."""
    _check_replacement(name, input, src, old)
    return T.index_put(input, src, index=place)


def _check_replacement(name: str, input: Tensor, src: Tensor, old: Tensor) -> None:
    if src.shape != old.shape:
        raise ValueError(
            f"{name}: what is replaced has the shape {old.shape}; got a src of {src.shape}."
        )
    _same_dtype(name, input, src)


@public(TOP, METHOD)
def gather(input: Tensor, dim: int, index: Any, *, sparse_grad: bool = False) -> Tensor:
    """y[i, j, k] = input[i, index[i, j, k], k] for `dim` = 1; the result has the index's shape.

    `index` has as many axes as `input`; in those other than `dim` it may be shorter. An empty one
    may have any shape. The gradient is dense, whatever `sparse_grad` says.

    >>> gather(Tensor([[1.0, 2.0], [3.0, 4.0]]), 1, [[1], [0]])
    tensor([[2.],
            [3.]])
    """
    given, rows = _whole("gather", index, input), _row(input)
    if not given.numel():
        return T.reshape(T.getitem(rows, index=(slice(0, 0),) * rows.ndim), shape=given.shape)
    axis, index = _check_along("gather", rows, dim, given)
    part = _part(rows, index, axis)
    y: Tensor = T.take_along_dim(T.getitem(rows, index=part), index, axis=axis)
    return y if given.ndim else T.reshape(y, shape=())


@public(TOP, METHOD, IN_PLACE)
def scatter(
    input: Tensor,
    dim: int,
    index: Any,
    src: Any = None,
    *,
    value: Any = None,
    reduce: str | None = None,
) -> Tensor:
    """`input` with y[i, index[i, j, k], k] = src[i, j, k], for `dim` = 1; or one value there.

    `index` has as many axes as `input` and `src`; in those other than `dim` it may be shorter
    than `input`, and everywhere than `src`. Each place is to be named once: of several values for
    it any may win, as in PyTorch. The gradient goes to `src` there, and to `input` elsewhere.
    `reduce`="add" or "multiply" is scatter_reduce with "sum" or "prod", for places named often.

    >>> scatter(Tensor([[0.0, 0.0], [0.0, 0.0]]), 1, [[1], [0]], Tensor([[5.0], [6.0]]))
    tensor([[0., 5.],
            [6., 0.]])
    """
    if (src is None) == (value is None):
        raise TypeError("scatter: expected either src, a tensor, or value, a number.")
    if reduce is not None:
        if reduce not in ("add", "multiply"):
            raise ValueError(f"scatter: reduce is 'add' or 'multiply'; got {reduce!r}.")
        index, given = _whole("scatter", index, input), value if src is None else src
        if not (isinstance(given, Tensor) and given.ndim):
            one = Tensor(given, dtype=input.dtype, device=input.device)
            given = one.to(dtype=input.dtype).broadcast_to(index.shape)
        return scatter_reduce(input, dim, index, given, "sum" if reduce == "add" else "prod")
    if input.ndim == 0:
        return T.reshape(scatter(_row(input), dim, index, src, value=value), shape=())
    axis, index = _check_along("scatter", input, dim, index)
    if not isinstance(src, Tensor):
        one = value if src is None else src
        _check_value("scatter", one)
        one = one.broadcast_to(index.shape) if isinstance(one, Tensor) else one
        return T.scatter(input, index, one, axis=axis)
    return T.scatter(input, index, _cropped("scatter", input, index, src), axis=axis)


@public(TOP, METHOD, IN_PLACE)
def scatter_add(input: Tensor, dim: int, index: Any, src: Tensor) -> Tensor:
    """`input` with src[i, j, k] added to y[i, index[i, j, k], k], for `dim` = 1.

    The shapes are those of `scatter`; what is sent to one place adds up.

    >>> scatter_add(Tensor([1.0, 1.0]), 0, [1, 1], Tensor([2.0, 3.0]))
    tensor([1., 6.])
    """
    if input.ndim == 0:
        return T.reshape(scatter_add(_row(input), dim, index, src), shape=())
    axis, index = _check_along("scatter_add", input, dim, index)
    source = _cropped("scatter_add", input, index, src)
    length = input.shape[axis]
    added = T.put_along_dim(source, index, axis=axis, length=length)
    rest = tuple((0, n - m) for n, m in zip(input.shape, added.shape, strict=True))
    return input + T.pad(added, widths=rest)


@public(TOP, METHOD, IN_PLACE)
def scatter_reduce(
    input: Tensor, dim: int, index: Any, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """`input` with what is sent to each place reduced to one: "sum", "prod", "mean", "amax" or
    "amin" of the src[i, j, k] with one index[i, j, k], for `dim` = 1.

    The shapes are those of `scatter`. The element of `input` counts as one more that is sent to its
    place, unless not `include_self`; a place that nothing is sent to stays. Equal extremes share
    the gradient evenly, and the factors of a product may be 0. Means of integers are rounded down.

    >>> x, src = Tensor([1.0, 1.0, 1.0]), Tensor([2.0, 3.0, 4.0])
    >>> scatter_reduce(x, 0, [0, 0, 2], src, "mean", include_self=False)
    tensor([2.5, 1. , 4. ])
    """
    if reduce not in (kinds := ("sum", "prod", "mean", "amax", "amin")):
        raise ValueError(f"scatter_reduce: reduce is one of {', '.join(kinds)}; got {reduce!r}.")
    if input.dtype == "float16":  # rounded once
        y = scatter_reduce(
            input.float(), dim, index, src.float(), reduce, include_self=include_self
        )
        return y.half()
    if input.ndim == 0:
        y = scatter_reduce(_row(input), dim, index, src, reduce, include_self=include_self)
        return T.reshape(y, shape=())
    axis, index = _check_along("scatter_reduce", input, dim, index)
    source = _cropped("scatter_reduce", input, index, src)
    part = _part(input, index, axis)
    old = T.getitem(input, index=part)
    along: dict[str, int] = {"axis": axis, "length": old.shape[axis]}
    one = Tensor(1, dtype="int64", device=input.device)
    count = T.put_along_dim(T.broadcast_to(one, shape=index.shape), index, **along)
    if reduce in ("amax", "amin"):
        if include_self:  # every element is sent to its own place as well
            own = Tensor(host.arange(old.shape[axis]), device=input.device)
            own = T.reshape(own, shape=(-1, *(1,) * (input.ndim - 1 - axis)))
            index = T.cat(index, T.broadcast_to(own, shape=old.shape), axis=axis)
            source = T.cat(source, old, axis=axis)
        new = T.scatter_extreme(source, index, largest=reduce == "amax", **along)
    elif reduce == "prod":
        new = _products(source, index, count, axis)
        new = old * new if include_self else new
    else:
        new = T.put_along_dim(source, index, **along)
        new = old + new if include_self else new
    if reduce == "mean":
        number = count + 1 if include_self else T.maximum(count, 1)
        whole = input.dtype.kind in "iu"
        new = T.floor_divide(new, number) if whole else new / T.cast(number, dtype=input.dtype)
    new = T.where(count > 0, T.cast(new, dtype=input.dtype), old)
    return new if old.shape == input.shape else T.index_put(input, new, index=part)


@public(TOP, METHOD, IN_PLACE)
def index_reduce(
    input: Tensor,
    dim: int,
    index: Any,
    source: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """`input` with the slices of `source` that are sent to one slice reduced to it: by "prod",
    "mean", "amax" or "amin", as scatter_reduce does.

    >>> index_reduce(Tensor([1.0, 1.0]), 0, [1, 1], Tensor([2.0, 3.0]), "prod")
    tensor([1., 6.])
    """
    if reduce not in (kinds := ("prod", "mean", "amax", "amin")):
        raise ValueError(f"index_reduce: reduce is one of {', '.join(kinds)}; got {reduce!r}.")
    if input.ndim == 0:
        y = index_reduce(_row(input), dim, index, _row(source), reduce, include_self=include_self)
        return T.reshape(y, shape=())
    places = _along("index_reduce", input, dim, index)
    _check_slices("index_reduce", input, source, places)
    axis = len(places) - 1
    row = _whole("index_reduce", index, input).reshape(-1, *(1,) * (input.ndim - 1 - axis))
    every = T.broadcast_to(row, shape=source.shape)
    return scatter_reduce(input, axis, every, source, reduce, include_self=include_self)


def _products(source: Tensor, index: Tensor, count: Tensor, axis: int) -> Tensor:
    """The product of what is sent to each place, and 1 where that is nothing.

    In the order of the index the factors of one product stand together; a running product that
    starts anew with each place ends in it.
    """
    length = source.shape[axis]
    if not length:
        return T.put_along_dim(source, index, axis=axis, length=count.shape[axis]) + 1
    index = T.where(index < 0, index + count.shape[axis], index)
    order = T.argsort(index, axis=axis)
    factors = T.take_along_dim(source, order, axis=axis)
    place = T.take_along_dim(index, order, axis=axis)
    every = (slice(None),) * axis
    changed = T.ne(
        T.getitem(place, index=(*every, slice(1, None))),
        T.getitem(place, index=(*every, slice(0, length - 1))),
    )
    first = T.getitem(place, index=(*every, slice(0, 1)))
    fresh = T.cat(first == first, changed, axis=axis)
    running = T.recurrence(T.where(fresh, factors, 0), T.where(fresh, 0, factors), axis=axis)
    last = T.maximum(T.cumsum(count, axis=axis) - 1, 0)
    return T.where(count > 0, T.take_along_dim(running, last, axis=axis), 1)


def _check_along(name: str, input: Tensor, dim: int, index: Any) -> tuple[int, Tensor]:
    """The axis, and an index that fits along it."""
    axis, index = _axis(name, input, dim), _row(_whole(name, index, input))
    fits = index.ndim == input.ndim and all(
        i == axis or m <= n for i, (n, m) in enumerate(zip(input.shape, index.shape, strict=True))
    )
    if not fits:
        raise ValueError(
            f"{name}: the index must have {input.ndim} axes, and in those other than {axis} be no "
            f"longer than the input {input.shape}; got {index.shape}."
        )
    return axis, index


def _part(input: Tensor, index: Tensor, axis: int) -> tuple[slice, ...]:
    """The part of the input that an index reaches."""
    return tuple(slice(None) if i == axis else slice(0, n) for i, n in enumerate(index.shape))


def _cropped(name: str, input: Tensor, index: Tensor, src: Tensor) -> Tensor:
    """The part of `src` that is sent somewhere."""
    src = _row(src)
    if src.ndim != index.ndim or any(m > n for n, m in zip(src.shape, index.shape, strict=True)):
        raise ValueError(
            f"{name}: the index {index.shape} names a place for each element of src; it must have "
            f"as many axes as src {src.shape}, and be no longer."
        )
    _same_dtype(name, input, src)
    if src.shape == index.shape:
        return src
    return T.getitem(src, index=tuple(slice(0, n) for n in index.shape))


def _check_value(name: str, value: Any) -> None:
    if isinstance(value, Tensor) and value.ndim:
        raise ValueError(f"{name}: expected one value; got a tensor of shape {value.shape}.")


@public(TOP, METHOD)
def take(input: Tensor, index: Any) -> Tensor:
    """The elements that an index of any shape names, counted in row-major order.

    >>> take(Tensor([[1.0, 2.0], [3.0, 4.0]]), [3, 0])
    tensor([4., 1.])
    """
    return input.reshape(-1)[_whole("take", index, input)]


@public(TOP, METHOD, IN_PLACE)
def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """`value`, a number or a tensor of shape (), where the mask holds, else `input`.

    >>> masked_fill(Tensor([1.0, 2.0]), Tensor([1.0, 2.0]) > 1, 0.0)
    tensor([1., 0.])
    """
    _check_mask("masked_fill", mask)
    _check_value("masked_fill", value)
    return T.where(mask, value, input)


@public(TOP, METHOD, IN_PLACE)
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """`input` with the elements of `source`, one after the other, where the mask holds.

    The shapes of input and mask broadcast. On a GPU this is a wait.

    >>> mask = Tensor([1.0, 0.0, 1.0]) > 0
    >>> masked_scatter(Tensor([1.0, 2.0, 3.0]), mask, Tensor([8.0, 9.0]))
    tensor([8., 2., 9.])
    """
    _check_mask("masked_scatter", mask)
    _same_dtype("masked_scatter", input, source)
    try:
        shape = host.broadcast_shapes(input.shape, mask.shape)
    except ValueError as error:
        raise ValueError(
            f"masked_scatter: the shapes {input.shape} and {mask.shape} do not broadcast."
        ) from error
    places = T.nonzero(T.reshape(mask.broadcast_to(shape), shape=(-1,))).reshape(-1)
    count = places.numel()
    if source.numel() < count:
        raise ValueError(
            f"masked_scatter: the mask holds at {count} places; got a source of {source.shape}."
        )
    flat = T.reshape(input.broadcast_to(shape), shape=(-1,))
    written = index_put(flat, (places,), source.reshape(-1)[:count])
    return T.reshape(written, shape=shape)


@public(TOP, METHOD)
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask holds, as a vector; the shapes broadcast.

    Its length depends on the mask: on a GPU this is a wait.

    >>> masked_select(Tensor([1.0, 2.0, 3.0]), Tensor([1.0, 0.0, 1.0]) > 0)
    tensor([1., 3.])
    """
    _check_mask("masked_select", mask)
    try:
        shape = host.broadcast_shapes(input.shape, mask.shape)
    except ValueError as error:
        raise ValueError(
            f"masked_select: the shapes {input.shape} and {mask.shape} do not broadcast."
        ) from error
    return input.broadcast_to(shape).reshape(-1)[mask.broadcast_to(shape).reshape(-1)]


def _check_mask(name: str, mask: Tensor) -> None:
    if mask.dtype.kind != "b":
        raise TypeError(
            f"{name}: a mask holds truth values; got {mask.dtype} {mask.shape}. Compare it: "
            "mask != 0."
        )


@public(TOP, METHOD)
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """The places of the elements that are not 0: (count, number of axes) in row-major order.

    With `as_tuple` one vector for each axis, which is an index: x[nonzero(x, as_tuple=True)]. The
    count depends on the values: on a GPU this is a wait.

    >>> nonzero(Tensor([[0.0, 5.0], [6.0, 0.0]]))
    tensor([[0, 1],
            [1, 0]])
    """
    if not as_tuple:
        return T.nonzero(input)
    places = T.nonzero(input if input.ndim else input.reshape(1))
    return tuple(places[:, axis] for axis in range(places.shape[1]))


@public(TOP, METHOD)
def argwhere(input: Tensor) -> Tensor:
    """The places of the elements that are not 0, as `nonzero`.

    >>> argwhere(Tensor([0.0, 5.0]))
    tensor([[1]])
    """
    return T.nonzero(input)


@public(TOP, METHOD, IN_PLACE)
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of each matrix, else 0; a positive `diagonal` keeps more above it.

    >>> tril(Tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[1., 0.],
            [3., 4.]])
    """
    _check_matrices("tril", input)
    return T.tril(input, diagonal=diagonal)


@public(TOP, METHOD, IN_PLACE)
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of each matrix, else 0; a negative `diagonal` keeps more below it.

    >>> triu(Tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[1., 2.],
            [0., 4.]])
    """
    _check_matrices("triu", input)
    return T.triu(input, diagonal=diagonal)


def _check_matrices(name: str, input: Tensor) -> None:
    if input.ndim < 2:
        raise ValueError(f"{name}: expected matrices (..., n, m); got {input.shape}.")


@public(TOP, METHOD)
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A diagonal of two axes, as a new last axis; `offset` > 0 lies above the main one.

    >>> diagonal(Tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([1., 4.])
    """
    axis1, axis2 = _axis("diagonal", input, dim1), _axis("diagonal", input, dim2)
    if axis1 == axis2:
        raise ValueError(f"diagonal: dim1={dim1} and dim2={dim2} of {input.shape} are one axis.")
    return T.diagonal(input, offset=offset, axis1=axis1, axis2=axis2)


@public(TOP, METHOD)
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Square matrices with the last axis of `input` on a diagonal, else 0.

    The rows are the axis `dim1` of the result, the columns `dim2`.

    >>> diag_embed(Tensor([1.0, 2.0]))
    tensor([[1., 0.],
            [0., 2.]])
    """
    count = input.ndim + 1
    axes = [dim % count for dim in (dim1, dim2) if -count <= dim < count]
    if len(set(axes)) < 2 or input.ndim == 0:
        raise ValueError(
            f"diag_embed: dim1={dim1} and dim2={dim2} do not name two of the {count} axes that "
            f"the result of {input.shape} has."
        )
    n = input.shape[-1] + abs(offset)
    return T.diag_embed(input, offset=offset, axis1=axes[0], axis2=axes[1], rows=n, columns=n)


@public(TOP, METHOD)
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A vector as the diagonal of a square matrix, or the diagonal of a matrix as a vector.

    >>> diag(Tensor([1.0, 2.0]))
    tensor([[1., 0.],
            [0., 2.]])
    """
    if input.ndim == 1:
        return diag_embed(input, diagonal)
    if input.ndim != 2:
        raise ValueError(f"diag: expected a vector or a matrix; got {input.shape}.")
    return apart(T.diagonal(input, offset=diagonal), input)


@public(TOP, METHOD)
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """All elements, in row-major order, as a diagonal of a square matrix.

    >>> diagflat(Tensor([[1.0], [2.0]]))
    tensor([[1., 0.],
            [0., 2.]])
    """
    return diag_embed(T.reshape(input, shape=(-1,)), offset)


@public(TOP)
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """The ways to choose `r` elements of a vector, in order, a row for each: (count, r).

    >>> combinations(Tensor([1.0, 2.0, 3.0]))
    tensor([[1., 2.],
            [1., 3.],
            [2., 3.]])
    """
    if input.ndim != 1 or r < 0:
        raise ValueError(f"combinations: expected a vector and r >= 0; got {input.shape}, r={r}.")
    ways = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    places = [*ways(range(input.numel()), r)] if r else []
    return input[host.array(places, "int64").reshape(-1, r) if r else slice(0, 0)]


@public(TOP)
def unravel_index(indices: Tensor, shape: int | Sequence[int]) -> tuple[Tensor, ...]:
    """The places, an index along each axis of `shape`, of indices that count in row-major order.

    >>> unravel_index(Tensor([4, 1], dtype="int64"), (2, 3))
    (tensor([1, 0]), tensor([1, 1]))
    """
    rest = _whole("unravel_index", indices, indices)
    lengths = sizes_of((shape,))
    size = math.prod(lengths)
    if ((rest < 0) | (rest >= size)).any():
        raise ValueError(
            f"unravel_index: a tensor of shape {lengths} has {size} elements; got {indices!r}."
        )
    places = []
    for n in lengths[::-1]:
        places.append(T.remainder(rest, n))
        rest = T.floor_divide(rest, n)
    return tuple(places[::-1])


@public(TOP, FUNCTIONAL)
def embedding(
    input: Any,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The row of `weight` (V, D) for each number in `input`: (*) -> (*, D).

    The row `padding_idx` gets no gradient. With `max_norm`, a row that is looked up and longer than
    that (in the norm of order `norm_type`) is first shortened to it, in place. With
    `scale_grad_by_freq` the gradient of a row is divided by how often it was looked up. The
    gradient is dense, whatever `sparse` says.

    >>> embedding([1, 0], Tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[3., 4.],
            [1., 2.]])
    """
    input = _whole("embedding", input, weight)
    if weight.ndim != 2:
        raise ValueError(f"embedding: expected a weight (V, D); got {weight.shape}.")
    if max_norm is not None:
        _shorten(weight, input, max_norm, norm_type)
    rows = weight[input]
    if scale_grad_by_freq:
        rows = _shared_out(rows, input, weight.shape[0])
    if padding_idx is None:
        return rows
    row = _row_number("embedding", padding_idx, weight)
    return T.where((input == row).unsqueeze(-1), rows.detach(), rows)


def _row_number(name: str, padding_idx: int, weight: Tensor) -> int:
    count = weight.shape[0]
    if not -count <= padding_idx < count:
        raise ValueError(f"{name}: there is no row {padding_idx} in a weight {weight.shape}.")
    return padding_idx % count


def _shorten(weight: Tensor, input: Tensor, max_norm: float, norm_type: float) -> None:
    """Bring the rows that are looked up to a length of at most `max_norm`, in place."""
    with no_grad():
        values, named = weight.detach(), _counted(input, weight.shape[0]).unique()
        rows = values[named]
        length = norm(rows, norm_type, -1, True)
        values[named] = T.where(length > max_norm, rows * (max_norm / (length + 1e-7)), rows)


def _counted(input: Tensor, count: int) -> Tensor:
    """All numbers of rows in a row, counted from the first one."""
    flat = input.reshape(-1)
    return T.where(flat < 0, flat + count, flat)


def _shared_out(rows: Tensor, input: Tensor, count: int) -> Tensor:
    """The rows, whose gradient is divided by how often their number is in `input`."""
    flat = _counted(input, count)
    ones = T.cast(flat == flat, dtype=rows.dtype)
    times = T.scatter_add(ones, index=flat._array, shape=(count,))[input].unsqueeze(-1)
    fixed = rows.detach()
    return fixed + (rows - fixed) / times


@public(FUNCTIONAL)
@in_one
def embedding_bag(
    input: Any,
    weight: Tensor,
    offsets: Any = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """The rows of `weight` (V, D) that each bag of numbers names, reduced to one: (B, D).

    input (B, n) holds B bags of n numbers; input (m,) all of them in a row, and `offsets` (B,)
    where each begins, with `include_last_offset` (B + 1,) and m at the end. `mode` is "sum", "mean"
    or "max"; of an empty bag it is 0. `per_sample_weights`, in the shape of the input, are factors
    of the rows for "sum". What names the row `padding_idx` counts as not there (a GPU is waited
    for). The other arguments are those of `embedding`.

    >>> w = Tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> embedding_bag([[0, 1], [1, 2]], w)
    tensor([[2., 3.],
            [4., 5.]])
    >>> embedding_bag([0, 1, 2], w, [0, 1], mode="sum")
    tensor([[ 1.,  2.],
            [ 8., 10.]])
    """
    name = "embedding_bag"
    input = _whole(name, input, weight)
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"{name}: the mode is sum, mean or max; got {mode!r}.")
    if per_sample_weights is not None and (
        mode != "sum" or per_sample_weights.shape != input.shape
    ):
        raise ValueError(
            f"{name}: per_sample_weights go with mode='sum' and have the shape of the input, "
            f"{input.shape}; got the mode {mode!r} and {per_sample_weights.shape}."
        )
    if input.ndim not in (1, 2) or (input.ndim == 1) != (offsets is not None):
        raise ValueError(
            f"{name}: bags are an input (B, n) without offsets, or an input (m,) with offsets that "
            f"say where they begin; got the input {input.shape}"
            f"{'' if offsets is None else ' and offsets'}."
        )
    if offsets is None:
        bags = input.shape[0]
        bag = Tensor(host.repeat(host.arange(bags), input.shape[1]), device=input.device)
    else:
        starts = _whole(name, offsets, weight)
        if starts.ndim != 1 or (include_last_offset and not starts.shape[0]):
            raise ValueError(f"{name}: offsets are a vector; got {starts.shape}.")
        if input.device == "cpu" and starts.shape[0]:
            known = starts.numpy()
            if known[0] != 0 or known[-1] > input.shape[0] or (host.diff(known) < 0).any():
                raise ValueError(
                    f"{name}: offsets begin with 0, go up, and end at the {input.shape[0]} numbers "
                    f"of the input; got {known.tolist()}."
                )
        starts = starts[:-1] if include_last_offset else starts
        bags = starts.shape[0]
        places = Tensor(host.arange(input.shape[0]), device=input.device)
        bag = (T.reshape(places, shape=(-1, 1)) >= starts).sum(1) - 1
    flat = input.reshape(-1)
    factors = None if per_sample_weights is None else per_sample_weights.reshape(-1)
    if padding_idx is not None:
        there = flat != _row_number(name, padding_idx, weight)
        flat, bag = flat[there], bag[there]
        factors = None if factors is None else factors[there]
    rows = embedding(flat, weight, None, max_norm, norm_type, scale_grad_by_freq)
    if mode == "max":
        index = T.broadcast_to(T.reshape(bag, shape=(-1, 1)), shape=rows.shape)
        return T.scatter_extreme(rows, index, axis=0, length=bags)
    if factors is not None:
        rows = rows * factors.unsqueeze(-1)
    shape = (bags, weight.shape[1])
    total = T.scatter_add(rows, index=bag._array, shape=shape)
    if mode == "sum":
        return total
    ones = T.cast(bag == bag, dtype=rows.dtype)
    counts = T.clamp(T.scatter_add(ones, index=bag._array, shape=(bags,)), min=1)
    return total / counts.unsqueeze(-1)
