"""Ops that move elements without changing them.

Views share the memory of their input, and a change of one in place shows in the other: permute,
transpose, movedim, squeeze, unsqueeze, the parts that split, chunk, unbind and the like cut,
and reshape, flatten and unflatten where the new shape can be laid over the old memory. So are
broadcast_to, expand and meshgrid, which cannot be written to. Copies are what cat, stack, pad,
flip, roll, tile, repeat and the like make, and what is taken by an index. `ops.VIEWS` names all
functions that make views.
"""

import math
import operator
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any

from tinygrad_cv._apply import F as T
from tinygrad_cv._graph import in_one
from tinygrad_cv._inputs import public
from tinygrad_cv._op import Op, moves, per_input
from tinygrad_cv._public import FUNCTIONAL, METHOD, TOP
from tinygrad_cv._tensor import Tensor, dtype_named, wrap
from tinygrad_cv.backend import host


class Movement(Op):
    """Base of the ops that move elements without changing them, in the dtype that they have."""

    computes_in = "float16"
    flops = moves


class Reshape(Movement):
    """The same elements, in row-major order, in another shape."""

    shape: tuple[int, ...]
    views = True

    def forward(self, xp, x):
        self.before = x.shape
        return xp.reshape(x, self.shape)

    def grad_x(self, F, g):
        return F.reshape(g, shape=self.before)

    def explain(self, error: ValueError, arrays: tuple[Any, ...]) -> ValueError:
        return ValueError(
            f"reshape: {arrays[0].size} elements of shape {arrays[0].shape} do not fill the shape "
            f"{self.shape}. One length may be -1; it is then worked out."
        )


class Permute(Movement):
    """The axes in another order."""

    axes: tuple[int, ...]
    views = True

    def forward(self, xp, x):
        self.back = tuple(sorted(range(x.ndim), key=self.axes.__getitem__))
        return xp.transpose(x, self.axes)

    def grad_x(self, F, g):
        return F.permute(g, axes=self.back)


class MT(Movement):
    """The transpose of each matrix: the last two axes exchanged."""

    name = "mT"
    symbol = "{}ᵀ"
    views = True

    def forward(self, xp, x):
        return xp.swapaxes(x, -1, -2)

    def grad_x(self, F, g):
        return F.mT(g)


class BroadcastTo(Movement):
    """Repeated along new axes and along axes of length 1, without copying."""

    shape: tuple[int, ...]
    views = True

    def forward(self, xp, x):
        self.before = x.shape
        y = xp.broadcast_to(x, self.shape)
        # What repeats nothing may be written to, and broadcast_to's results may not.
        return xp.reshape(x, self.shape) if y.size == x.size else y

    def grad_x(self, F, g):
        return F.sum_to(g, shape=self.before)

    def explain(self, error: ValueError, arrays: tuple[Any, ...]) -> ValueError:
        return ValueError(
            f"broadcast_to: the shape {arrays[0].shape} does not broadcast to {self.shape}; "
            "compared from the last axis backwards, lengths must be equal, or 1 in the first."
        )


class Cat(Movement):
    """Tensors joined along an existing axis."""

    axis: int = 0

    def forward(self, xp, *xs):
        self.ends = [0]
        for x in xs:
            self.ends.append(self.ends[-1] + x.shape[self.axis])
        return xp.concatenate(xs, axis=self.axis)

    def grad_xs(self, F, g):
        before = (slice(None),) * self.axis
        return [
            F.getitem(g, index=(*before, slice(a, b)))
            for a, b in zip(self.ends, self.ends[1:], strict=False)
        ]

    def explain(self, error: ValueError, arrays: tuple[Any, ...]) -> ValueError:
        shapes = ", ".join(str(a.shape) for a in arrays)
        return ValueError(
            f"cat along axis {self.axis}: the shapes {shapes} must agree in every other axis."
        )


class Stack(Movement):
    """Tensors of one shape joined along a new axis."""

    axis: int = 0

    def forward(self, xp, *xs):
        self.number = len(xs)
        return xp.stack(xs, axis=self.axis)

    def grad_xs(self, F, g):
        before = (slice(None),) * self.axis
        return [F.getitem(g, index=(*before, i)) for i in range(self.number)]

    def explain(self, error: ValueError, arrays: tuple[Any, ...]) -> ValueError:
        shapes = ", ".join(str(a.shape) for a in arrays)
        return ValueError(f"stack: all shapes must be equal; got {shapes}.")


class Pad(Movement):
    """`value` put around: `widths` holds (before, after) for each axis."""

    widths: tuple[tuple[int, int], ...]
    value: float = 0.0

    def forward(self, xp, x):
        self.inside = tuple(
            slice(before, before + n) for (before, _), n in zip(self.widths, x.shape, strict=True)
        )
        return xp.pad(x, self.widths or 0, constant_values=self.value)

    def grad_x(self, F, g):
        return F.getitem(g, index=self.inside)


class Flip(Movement):
    """The elements in reverse order along `axes`."""

    axes: tuple[int, ...]

    def forward(self, xp, x):
        back = slice(None, None, -1)
        index = tuple(back if i in self.axes else slice(None) for i in range(x.ndim))
        return x[(*index, ...)]

    def grad_x(self, F, g):
        return F.flip(g, axes=self.axes)


class Roll(Movement):
    """The elements moved on by `shifts` along `axes`; what leaves at the end enters in front."""

    shifts: tuple[int, ...]
    axes: tuple[int, ...]

    def forward(self, xp, x):
        self.back = tuple(-shift for shift in self.shifts)
        return xp.roll(x, self.shifts, self.axes) if self.axes else x

    def grad_x(self, F, g):
        return F.roll(g, shifts=self.back, axes=self.axes)


class TakeAlongDim(Movement):
    """y[..., j, ...] = x[..., index[..., j, ...], ...] along `axis`; the other axes agree."""

    axis: int
    nondifferentiable = ("index",)

    def forward(self, xp, x, index):
        self.length = x.shape[self.axis]
        return xp.take_along_axis(x, index, self.axis)

    def grad_x(self, F, g, index):
        return F.put_along_dim(g, index, axis=self.axis, length=self.length)


class PutAlongDim(Op):
    """Zeros of `length` along `axis` with each x added where its index says; repeats add up."""

    axis: int
    length: int
    nondifferentiable = ("index",)
    flops = per_input

    def forward(self, xp, x, index):
        shape = (*x.shape[: self.axis], self.length, *x.shape[self.axis + 1 :])
        mesh = [
            xp.reshape(xp.arange(n), (n, *(1,) * (x.ndim - 1 - i))) for i, n in enumerate(x.shape)
        ]
        mesh[self.axis] = index
        return xp.scatter_add(shape, tuple(mesh), x)

    def grad_x(self, F, g, index):
        return F.take_along_dim(g, index, axis=self.axis)


# ----- as functions ------------------------------------------------------------------------------


def apart(result: Tensor, input: Tensor) -> Tensor:
    """A result as PyTorch's copy: it does not lie in the memory of the input."""
    return T.clone(result) if result._counter is input._counter else result


def sizes_of(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """(2, 3) given as two arguments or as one sequence."""
    if len(sizes) == 1 and isinstance(sizes[0], tuple | list):
        sizes = tuple(sizes[0])
    try:
        if any(isinstance(n, bool) for n in sizes):
            raise TypeError
        return tuple(map(operator.index, sizes))
    except (TypeError, ValueError):  # the latter from a tensor of several elements
        raise TypeError(
            f"a size is made of whole numbers, as in (2, 3); got {', '.join(map(repr, sizes))}."
        ) from None


def _axis(input: Tensor, dim: int, extra: int = 0) -> int:
    """The axis `dim` as a non-negative number; a number has an axis 0 (or -1), as in PyTorch."""
    count = input.ndim + extra or 1
    if not isinstance(dim, int | host.integer) or isinstance(dim, bool):
        raise TypeError(f"an axis is a whole number; got {dim!r}.")
    if not -count <= dim < count:
        raise IndexError(f"axis {dim} of a tensor of shape {input.shape}: {count} are possible.")
    return int(dim) % count


@public(TOP, METHOD)
def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The same elements, in row-major order, in another shape; one length may be -1.

    A view of the memory where the new shape can be laid over it, otherwise a copy.

    >>> reshape(Tensor([[1.0, 2.0], [3.0, 4.0]]), (4,))
    tensor([1., 2., 3., 4.])
    """
    lengths = sizes_of(shape)
    if min(lengths, default=0) < -1:
        raise ValueError(
            f"reshape: a length is 0 or more, or -1 to be worked out; got {lengths} for the shape "
            f"{input.shape}."
        )
    return T.reshape(input, shape=lengths)


@public(METHOD)
def view(input: Tensor, *size: Any, dtype: Any = None) -> Tensor:
    """`reshape`; or, given a dtype, the same bytes read as that, along the last axis.

    Where PyTorch's says that a shape cannot be a view, this one copies. The bytes are those of the
    tensor, and outside of the graph, as after `detach`.

    >>> view(Tensor([1.0, -2.0]), "int32")
    tensor([ 1065353216, -1073741824], dtype=int32)
    """
    if dtype is None and len(size) == 1 and not isinstance(size[0], int | tuple | list):
        dtype, size = (None, size) if hasattr(size[0], "__index__") else (size[0], ())
    if dtype is None:
        return reshape(input, *size)
    if size:
        raise TypeError(f"view: expected a size or a dtype; got {size} and {dtype}.")
    try:
        bytes_read = input._array.view(dtype_named(dtype))
    except ValueError as error:
        raise ValueError(
            f"view: the shape {input.shape} of {input.dtype} cannot be read as {dtype} ({error})."
        ) from None
    alias = wrap(bytes_read, input._backend)
    alias._counter = input._counter
    return alias


@public(TOP, METHOD)
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes from `start_dim` to `end_dim` joined into one; see reshape.

    >>> flatten(Tensor([[[1.0, 2.0]], [[3.0, 4.0]]]), 1).shape
    (2, 2)
    """
    first, last = _axis(input, start_dim), _axis(input, end_dim)
    if last < first:
        raise ValueError(
            f"flatten: start_dim={start_dim} comes after end_dim={end_dim} in the shape "
            f"{input.shape}."
        )
    length = 1
    for n in input.shape[first : last + 1]:
        length *= n
    return reshape(input, *input.shape[:first], length, *input.shape[last + 1 :])


@public(TOP, METHOD)
def ravel(input: Tensor) -> Tensor:
    """All elements along one axis; see reshape.

    >>> ravel(Tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([1., 2., 3., 4.])
    """
    return reshape(input, input.numel())


@public(METHOD, also="view_as")
def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """The elements in the shape of `other`; see reshape."""
    return reshape(input, other.shape)


@public(TOP, METHOD)
def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """The axis `dim` split into axes of these lengths, of which one may be -1; see reshape.

    >>> unflatten(Tensor([1.0, 2.0, 3.0, 4.0]), 0, (2, -1))
    tensor([[1., 2.],
            [3., 4.]])
    """
    _with_axes("unflatten", input, 1)
    axis, lengths = _axis(input, dim), tuple(sizes)
    length, known = input.shape[axis], math.prod(n for n in lengths if n != -1)
    if known:
        lengths = tuple(length // known if n == -1 else n for n in lengths)
    if min(lengths, default=0) < 0 or math.prod(lengths) != length:
        raise ValueError(
            f"unflatten: the lengths {tuple(sizes)} do not multiply to {length}, that of axis "
            f"{axis} of the shape {input.shape}. One may be -1; it is then worked out."
        )
    return reshape(input, *input.shape[:axis], *lengths, *input.shape[axis + 1 :])


@public(TOP, METHOD)
def permute(input: Tensor, *dims: Any) -> Tensor:
    """The axes in the order `dims`; a view.

    >>> permute(Tensor([[1.0, 2.0]]), 1, 0).shape
    (2, 1)
    """
    axes = tuple(_axis(input, d) for d in sizes_of(dims))
    if sorted(axes) != list(range(input.ndim)):
        raise ValueError(f"permute: {dims} does not name each axis of {input.shape} once.")
    return T.permute(input, axes=axes)


@public(TOP, METHOD)
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged; a view.

    >>> transpose(Tensor([[1.0, 2.0]]), 0, 1).shape
    (2, 1)
    """
    axes = list(range(input.ndim))
    a, b = _axis(input, dim0), _axis(input, dim1)
    if axes:
        axes[a], axes[b] = b, a
    return T.permute(input, axes=tuple(axes))


@public(TOP, METHOD)
def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """Two axes exchanged: transpose by its other name."""
    return transpose(input, axis0, axis1)


@public(TOP, METHOD)
def swapdims(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged: transpose by its other name."""
    return transpose(input, dim0, dim1)


@public(TOP, METHOD)
def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; a tensor of one axis or none as it is. A view.

    >>> t(Tensor([[1.0, 2.0]]))
    tensor([[1.],
            [2.]])
    """
    if input.ndim > 2:
        raise ValueError(
            f"t() is for matrices; got the shape {input.shape}. x.mT exchanges the last two axes, "
            "x.permute(...) any."
        )
    return transpose(input, 0, 1) if input.ndim == 2 else input


@public(TOP, METHOD)
def adjoint(input: Tensor) -> Tensor:
    """The last two axes exchanged, as `mT`: what is real is its own conjugate. A view."""
    if input.ndim < 2:
        raise ValueError(f"adjoint: expected matrices (..., n, m); got {input.shape}.")
    return T.mT(input)


@public(TOP, METHOD, also="moveaxis")
def movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """The axes `source` moved to the places `destination`, the others in their order; a view.

    >>> movedim(broadcast_to(Tensor([0.0]), 2, 3, 4), 0, -1).shape
    (3, 4, 2)
    """
    old = [_axis(input, d) for d in ([source] if isinstance(source, int) else source)]
    new = [
        _axis(input, d) for d in ([destination] if isinstance(destination, int) else destination)
    ]
    if len(old) != len(new) or len(set(old)) != len(old) or len(set(new)) != len(new):
        raise ValueError(
            f"movedim: equally many axes are named in source and destination, none of them twice; "
            f"got {source} and {destination}."
        )
    axes = [i for i in range(input.ndim) if i not in old]
    for to, axis in sorted(zip(new, old, strict=True)):
        axes.insert(to, axis)
    return permute(input, axes) if input.ndim else input


@public(TOP, METHOD)
def squeeze(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Without the axes of length 1, or without those of them that `dim` names; a view.

    >>> squeeze(Tensor([[[1.0, 2.0]]])).shape, squeeze(Tensor([[[1.0, 2.0]]]), (0, 2)).shape
    ((2,), (1, 2))
    """
    named = range(input.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    axes = {_axis(input, d) for d in named}
    return reshape(input, [n for i, n in enumerate(input.shape) if not (n == 1 and i in axes)])


@public(TOP, METHOD)
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """With a new axis of length 1 at `dim`; a view."""
    at = _axis(input, dim, extra=1)
    return reshape(input, *input.shape[:at], 1, *input.shape[at:])


def _each(tensors: tuple[Any, ...], change: Callable[[Tensor], Tensor]) -> Any:
    """One tensor changed, or a tuple of all where there are several or a sequence."""
    if len(tensors) == 1 and isinstance(tensors[0], Tensor):
        return change(tensors[0])
    several = tensors[0] if len(tensors) == 1 else tensors
    return tuple(change(tensor) for tensor in several)


@public(TOP)
def atleast_1d(*tensors: Tensor | Sequence[Tensor]) -> Any:
    """A number as a tensor of one element; what has axes stays. A tuple, for several tensors.

    >>> atleast_1d(Tensor(1.0))
    tensor([1.])
    """
    return _each(tensors, lambda x: x if x.ndim else reshape(x, 1))


@public(TOP)
def atleast_2d(*tensors: Tensor | Sequence[Tensor]) -> Any:
    """Numbers and vectors as a matrix of one row. A tuple, for several tensors.

    >>> atleast_2d(Tensor([1.0, 2.0]))
    tensor([[1., 2.]])
    """
    return _each(tensors, lambda x: x if x.ndim > 1 else reshape(x, 1, -1))


@public(TOP)
def atleast_3d(*tensors: Tensor | Sequence[Tensor]) -> Any:
    """Of shape (n,) to (1, n, 1), and of shape (m, n) to (m, n, 1). A tuple, for several tensors.

    >>> atleast_3d(Tensor([1.0, 2.0])).shape
    (1, 2, 1)
    """
    return _each(tensors, lambda x: x if x.ndim > 2 else unsqueeze(atleast_2d(x), -1))


@public(TOP, METHOD)
def broadcast_to(input: Tensor, *size: Any) -> Tensor:
    """Repeated to `size` without copying: a view that cannot be written to.

    >>> broadcast_to(Tensor([1.0, 2.0]), (2, 2))
    tensor([[1., 2.],
            [1., 2.]])
    """
    return T.broadcast_to(input, shape=sizes_of(size))


@public(TOP, METHOD)
def expand(input: Tensor, *size: Any) -> Tensor:
    """Axes of length 1 repeated to `size`; -1 keeps a length. See broadcast_to."""
    wanted = sizes_of(size)
    extra = len(wanted) - input.ndim
    filled = [input.shape[i - extra] if n == -1 and i >= extra else n for i, n in enumerate(wanted)]
    return T.broadcast_to(input, shape=tuple(filled))


@public(METHOD)
def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """Repeated to the shape of `other`; see broadcast_to."""
    return broadcast_to(input, other.shape)


@public(TOP)
def meshgrid(*tensors: Tensor | Sequence[Tensor], indexing: str = "ij") -> tuple[Tensor, ...]:
    """The coordinates of a grid: for each tensor its elements along an axis of their own.

    With the indexing "xy" the first two axes are exchanged. The results are as broadcast_to's.

    >>> rows, columns = meshgrid(Tensor([0.0, 1.0]), Tensor([5.0, 6.0, 7.0]))
    >>> rows
    tensor([[0., 0., 0.],
            [1., 1., 1.]])
    """
    if indexing not in ("ij", "xy"):
        raise ValueError(f"meshgrid: the indexing is 'ij' or 'xy'; got {indexing!r}.")
    several: Sequence[Any] = tensors
    if len(tensors) == 1 and not isinstance(tensors[0], Tensor):
        several = tensors[0]
    if any(tensor.ndim > 1 for tensor in several):
        shapes = ", ".join(str(tensor.shape) for tensor in several)
        raise ValueError(f"meshgrid: expected tensors with one axis; got the shapes {shapes}.")
    shape = tuple(tensor.numel() for tensor in several)
    count = len(shape)
    grids = (
        broadcast_to(reshape(tensor, *(1,) * i, shape[i], *(1,) * (count - 1 - i)), shape)
        for i, tensor in enumerate(several)
    )
    swapped = indexing == "xy" and count > 1
    return tuple(transpose(grid, 0, 1) if swapped else grid for grid in grids)


def _check_some(name: str, tensors: Sequence[Tensor]) -> None:
    if len(tensors) == 0:
        raise ValueError(f"{name}: expected at least one tensor; got an empty sequence.")


def _check_sequence(name: str, tensors: Sequence[Tensor]) -> None:
    _check_some(name, tensors)
    if len({len(t.shape) for t in tensors}) > 1:
        shapes = ", ".join(str(t.shape) for t in tensors)
        raise ValueError(
            f"{name}: the tensors must have equally many axes; got the shapes {shapes}. "
            "unsqueeze adds an axis."
        )


@public(TOP, also="concat concatenate")
def cat(tensors: Sequence[Tensor], dim: int = 0, *, axis: int | None = None) -> Tensor:
    """Tensors joined along `dim`; the other axes must agree.

    A tensor of shape (0,) adds nothing to tensors of any shape, as in PyTorch.

    >>> cat([Tensor([1.0]), Tensor([2.0, 3.0])])
    tensor([1., 2., 3.])
    """
    _check_some("cat", tensors)
    whole = next((x for x in tensors if x.shape != (0,)), None)
    if whole is not None and whole.ndim > 1:
        at = _axis(whole, dim if axis is None else axis)
        nothing = tuple(0 if i == at else n for i, n in enumerate(whole.shape))
        tensors = [reshape(x, nothing) if x.shape == (0,) else x for x in tensors]
    _check_sequence("cat", tensors)
    _with_axes("cat", tensors[0], 1)
    return T.cat(*tensors, axis=_axis(tensors[0], dim if axis is None else axis))


@public(TOP)
def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All tensors repeated to the shape that they broadcast to together; see broadcast_to.

    >>> rows, columns = broadcast_tensors(Tensor([[1.0], [2.0]]), Tensor([5.0, 6.0]))
    >>> rows
    tensor([[1., 1.],
            [2., 2.]])
    """
    shapes = [x.shape for x in tensors]
    try:
        shape = host.broadcast_shapes(*shapes)
    except ValueError as error:
        raise ValueError(
            f"broadcast_tensors: the shapes {', '.join(map(str, shapes))} do not broadcast. "
            "Compared from the last axis backwards, two lengths must be equal or one of them 1."
        ) from error
    return tuple(broadcast_to(x, shape) for x in tensors)


@public(TOP)
def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All rows with one element of each vector, the last one changing first; of one, itself.

    >>> cartesian_prod(Tensor([1.0, 2.0]), Tensor([5.0, 6.0]))
    tensor([[1., 5.],
            [1., 6.],
            [2., 5.],
            [2., 6.]])
    """
    _check_some("cartesian_prod", tensors)
    if any(x.ndim != 1 for x in tensors):
        shapes = ", ".join(str(x.shape) for x in tensors)
        raise ValueError(f"cartesian_prod: expected vectors; got the shapes {shapes}.")
    if len(tensors) == 1:
        only: Tensor = tensors[0]
        return only
    return stack([ravel(grid) for grid in meshgrid(*tensors)], 1)


@public(TOP)
def block_diag(*tensors: Tensor) -> Tensor:
    """Matrices along the diagonal of a matrix of zeros. A vector is a row, a number a matrix.

    >>> block_diag(Tensor([[1.0, 2.0]]), Tensor(3.0))
    tensor([[1., 2., 0.],
            [0., 0., 3.]])
    """
    _check_some("block_diag", tensors)
    if any(x.ndim > 2 for x in tensors):
        shapes = ", ".join(str(x.shape) for x in tensors)
        raise ValueError(f"block_diag: expected matrices at most; got the shapes {shapes}.")
    blocks = [atleast_2d(x) for x in tensors]
    width, before, rows = sum(x.shape[1] for x in blocks), 0, []
    for block in blocks:
        after = width - before - block.shape[1]
        rows.append(T.pad(block, widths=((0, 0), (before, after))))
        before += block.shape[1]
    return cat(rows, 0)


@public(TOP)
def stack(tensors: Sequence[Tensor], dim: int = 0, *, axis: int | None = None) -> Tensor:
    """Tensors of one shape joined along a new axis `dim`.

    >>> stack([Tensor([1.0]), Tensor([2.0])]).shape
    (2, 1)
    """
    _check_sequence("stack", tensors)
    return T.stack(*tensors, axis=_axis(tensors[0], dim if axis is None else axis, extra=1))


@public(TOP)
def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined side by side: along the axis 1, vectors and numbers along their only one.

    >>> hstack([Tensor([1.0]), Tensor([2.0, 3.0])])
    tensor([1., 2., 3.])
    """
    _check_some("hstack", tensors)
    several = atleast_1d(list(tensors))
    return cat(several, 0 if several[0].ndim == 1 else 1)


@public(TOP, also="row_stack")
def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined one below the other: along the axis 0, vectors and numbers as rows.

    >>> vstack([Tensor([1.0, 2.0]), Tensor([3.0, 4.0])])
    tensor([[1., 2.],
            [3., 4.]])
    """
    _check_some("vstack", tensors)
    return cat(atleast_2d(list(tensors)), 0)


@public(TOP)
def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined one behind the other: along the axis 2, after atleast_3d.

    >>> dstack([Tensor([1.0, 2.0]), Tensor([3.0, 4.0])]).shape
    (1, 2, 2)
    """
    _check_some("dstack", tensors)
    return cat(atleast_3d(list(tensors)), 2)


@public(TOP)
def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along the axis 1, vectors and numbers as columns.

    >>> column_stack([Tensor([1.0, 2.0]), Tensor([3.0, 4.0])])
    tensor([[1., 3.],
            [2., 4.]])
    """
    _check_some("column_stack", tensors)
    return cat([x if x.ndim > 1 else reshape(x, -1, 1) for x in tensors], 1)


def _cut(input: Tensor, axis: int, start: Any, stop: Any) -> Tensor:
    result: Tensor = T.getitem(input, index=(*[slice(None)] * axis, slice(start, stop)))
    return result


@public(TOP, METHOD)
def split(
    tensor: Tensor,
    split_size_or_sections: int | Sequence[int],
    dim: int = 0,
    *,
    axis: int | None = None,
) -> tuple[Tensor, ...]:
    """Parts along `dim` of one length (the last may be shorter), or of the lengths given; views.

    >>> split(Tensor([1.0, 2.0, 3.0]), 2)
    (tensor([1., 2.]), tensor([3.]))
    """
    _with_axes("split", tensor, 1)
    at = _axis(tensor, dim if axis is None else axis)
    length = tensor.shape[at]
    if isinstance(split_size_or_sections, int):
        size = split_size_or_sections
        if size < 0 or (size == 0 and length):
            raise ValueError(f"split: the length of a part is above 0; got {size}.")
        starts = range(0, length or 1, size or 1)
        return tuple(_cut(tensor, at, i, i + size) for i in starts)
    sections = list(split_size_or_sections)
    if min(sections, default=0) < 0 or sum(sections) != length:
        raise ValueError(
            f"split: the lengths {sections} do not add up to {length}, that of axis {at} of the "
            f"shape {tensor.shape}."
        )
    ends = [0, *accumulate(sections)]
    return tuple(_cut(tensor, at, a, b) for a, b in pairwise(ends))


@public(TOP, METHOD)
def chunk(
    input: Tensor, chunks: int, dim: int = 0, *, axis: int | None = None
) -> tuple[Tensor, ...]:
    """At most `chunks` parts along `dim`, all as long as the first but for the last; views.

    >>> chunk(Tensor([1.0, 2.0, 3.0, 4.0, 5.0]), 3)
    (tensor([1., 2.]), tensor([3., 4.]), tensor([5.]))
    """
    if chunks < 1:
        raise ValueError(f"chunk: the number of parts is above 0; got {chunks}.")
    _with_axes("chunk", input, 1)
    at = _axis(input, dim if axis is None else axis)
    length = input.shape[at]
    return split(input, -(-length // chunks) if length else [0] * chunks, at)


@public(TOP, METHOD)
def tensor_split(
    input: Tensor,
    indices_or_sections: Any,
    dim: int = 0,
    *,
    axis: int | None = None,
) -> tuple[Tensor, ...]:
    """So many parts along `dim`, the first ones longer by 1 if need be; or cut at places; views.

    >>> tensor_split(Tensor([1.0, 2.0, 3.0]), 2), tensor_split(Tensor([1.0, 2.0, 3.0]), [1])
    ((tensor([1., 2.]), tensor([3.])), (tensor([1.]), tensor([2., 3.])))
    """
    _with_axes("tensor_split", input, 1)
    at = _axis(input, dim if axis is None else axis)
    places = indices_or_sections
    if hasattr(places, "tolist"):
        places = places.tolist()
    if isinstance(places, int):
        if places < 1:
            raise ValueError(f"tensor_split: the number of parts is above 0; got {places}.")
        size, longer = divmod(input.shape[at], places)
        return split(input, [size + (i < longer) for i in range(places)], at)
    return tuple(_cut(input, at, a, b) for a, b in pairwise([None, *places, None]))


def _split_at(name: str, least: int, dim: int, input: Tensor, places: Any) -> tuple[Tensor, ...]:
    _with_axes(name, input, least)
    if isinstance(places, int | host.integer) and (places < 1 or input.shape[dim] % places):
        raise ValueError(
            f"{name}: axis {dim} of the shape {input.shape} has no {places} equal parts; "
            "tensor_split makes parts that differ by 1."
        )
    return tensor_split(input, places, dim)


@public(TOP, METHOD)
def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of these lengths along `dim`; views. It is split(input, split_sizes, dim).

    >>> split_with_sizes(Tensor([1.0, 2.0, 3.0]), [1, 2])
    (tensor([1.]), tensor([2., 3.]))
    """
    return split(input, list(split_sizes), dim)


@public(TOP, METHOD)
def hsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Equal parts along axis 1 (of a vector: along its only one), or parts cut at places; views.

    >>> hsplit(Tensor([[1.0, 2.0], [3.0, 4.0]]), 2)[0]
    tensor([[1.],
            [3.]])
    """
    return _split_at("hsplit", 1, min(input.ndim - 1, 1), input, indices_or_sections)


@public(TOP, METHOD)
def vsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Equal parts along axis 0 of a matrix, or parts cut at places; views.

    >>> vsplit(Tensor([[1.0, 2.0], [3.0, 4.0]]), 2)[0]
    tensor([[1., 2.]])
    """
    return _split_at("vsplit", 2, 0, input, indices_or_sections)


@public(TOP, METHOD)
def dsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Equal parts along axis 2, or parts cut at places; views.

    >>> dsplit(Tensor([[[1.0, 2.0]]]), 2)[1]
    tensor([[[2.]]])
    """
    return _split_at("dsplit", 3, 2, input, indices_or_sections)


@public(TOP, METHOD)
def unbind(input: Tensor, dim: int = 0, *, axis: int | None = None) -> tuple[Tensor, ...]:
    """The slices along `dim`, without that axis; views.

    >>> unbind(Tensor([[1.0, 2.0], [3.0, 4.0]]))
    (tensor([1., 2.]), tensor([3., 4.]))
    """
    _with_axes("unbind", input, 1)
    at = _axis(input, dim if axis is None else axis)
    every = (slice(None),) * at
    return tuple(T.getitem(input, index=(*every, i)) for i in range(input.shape[at]))


def _with_axes(name: str, input: Tensor, least: int) -> None:
    if input.ndim < least:
        raise ValueError(
            f"{name}: expected a tensor with {least} axes or more; got the shape {input.shape}. "
            "unsqueeze adds an axis."
        )


def _distinct_axes(name: str, input: Tensor, dims: Sequence[int]) -> tuple[int, ...]:
    axes = tuple(_axis(input, d) for d in dims)
    if len(set(axes)) != len(axes):
        raise ValueError(f"{name}: the axes {tuple(dims)} of the shape {input.shape} repeat.")
    return axes


@public(TOP, METHOD)
def flip(input: Tensor, *dims: Any) -> Tensor:
    """The elements in reverse order along each axis given, as flip(x, 0, 1) or dims=(0, 1).

    >>> flip(Tensor([[1.0, 2.0], [3.0, 4.0]]), 1)
    tensor([[2., 1.],
            [4., 3.]])
    """
    result: Tensor = T.flip(input, axes=_distinct_axes("flip", input, sizes_of(dims)))
    return result


@public(TOP, METHOD)
def fliplr(input: Tensor) -> Tensor:
    """The elements in reverse order along axis 1; a view.

    >>> fliplr(Tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[2., 1.],
            [4., 3.]])
    """
    _with_axes("fliplr", input, 2)
    return flip(input, 1)


@public(TOP, METHOD)
def flipud(input: Tensor) -> Tensor:
    """The elements in reverse order along axis 0; a view.

    >>> flipud(Tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[3., 4.],
            [1., 2.]])
    """
    _with_axes("flipud", input, 1)
    return flip(input, 0)


@public(TOP, METHOD)
def roll(input: Tensor, shifts: int | Sequence[int], dims: Any = None) -> Tensor:
    """The elements moved on by `shifts` along `dims`; what leaves at the end enters in front.

    Without `dims` they move in row-major order.

    >>> roll(Tensor([1.0, 2.0, 3.0]), 1)
    tensor([3., 1., 2.])
    """
    steps = [shifts] if isinstance(shifts, int) else list(shifts)
    if dims is None and len(steps) == 1:
        return reshape(roll(ravel(input), steps, 0), input.shape)
    if not steps:
        raise ValueError("roll: expected at least one shift; got none.")
    named = list(dims) if isinstance(dims, tuple | list) else [] if dims is None else [dims]
    if len(steps) != len(named):
        raise ValueError(f"roll: there is a shift for each axis; got {shifts} and dims={dims}.")
    total: dict[int, int] = {}
    for step, d in zip(steps, named, strict=True):
        axis = _axis(input, d)
        total[axis] = total.get(axis, 0) + step
    if input.ndim == 0:  # there is no axis to move along, and nowhere to go
        total = {}
    result: Tensor = T.roll(input, shifts=tuple(total.values()), axes=tuple(total))
    return result


def _tiled(name: str, input: Tensor, counts: tuple[int, ...]) -> Tensor:
    if min(counts, default=0) < 0:
        raise ValueError(f"{name}: a number of repetitions is not below 0; got {counts}.")
    lengths = (1,) * (len(counts) - input.ndim) + input.shape
    pairs = list(zip(counts, lengths, strict=True))
    spread = reshape(input, [n for _, length in pairs for n in (1, length)])
    wide = broadcast_to(spread, [n for pair in pairs for n in pair])
    return apart(reshape(wide, [count * length for count, length in pairs]), input)


@public(TOP, METHOD)
def tile(input: Tensor, *dims: Any) -> Tensor:
    """The whole repeated along each axis; `dims` counts for the last axes, or adds new ones.

    >>> tile(Tensor([1.0, 2.0]), 2)
    tensor([1., 2., 1., 2.])
    """
    counts = sizes_of(dims)
    return _tiled("tile", input, (1,) * (input.ndim - len(counts)) + counts)


@public(METHOD)
def repeat(input: Tensor, *repeats: Any) -> Tensor:
    """The whole repeated along each axis; more numbers than axes add new axes in front.

    >>> repeat(Tensor([1.0, 2.0]), 2, 2)
    tensor([[1., 2., 1., 2.],
            [1., 2., 1., 2.]])
    """
    counts = sizes_of(repeats)
    if len(counts) < input.ndim:
        raise ValueError(
            f"repeat: expected a number for each of the {input.ndim} axes of the shape "
            f"{input.shape}; got {counts}. tile takes fewer."
        )
    return _tiled("repeat", input, counts)


@public(TOP, METHOD)
def repeat_interleave(
    input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Each element repeated in its place, along `dim` or (None) in the flattened tensor.

    `repeats` is a number, or one for each place along the axis (a sequence or a tensor of
    integers, whose values the host then waits for on a GPU). `output_size`, if given, must be the
    length that comes out. With one argument those are the numbers, and what is repeated are the
    places 0, 1, 2, ...

    >>> repeat_interleave(Tensor([1.0, 2.0]), 2), repeat_interleave(Tensor([1.0, 2.0]), [1, 2])
    (tensor([1., 1., 2., 2.]), tensor([1., 2., 2.]))
    """
    if repeats is None:
        every = Tensor(host.arange(input.numel()), device=input.device)
        return repeat_interleave(every, input, dim, output_size=output_size)
    if dim is None:
        return repeat_interleave(ravel(input), repeats, 0, output_size=output_size)
    _with_axes("repeat_interleave", input, 1)
    axis = _axis(input, dim)
    before, length, behind = input.shape[:axis], input.shape[axis], input.shape[axis + 1 :]
    counts = repeats.tolist() if hasattr(repeats, "tolist") else repeats
    if not isinstance(counts, int | list | tuple):
        raise TypeError(
            f"repeat_interleave: repeats is a whole number, or a list of them; got {repeats!r}."
        )
    if not isinstance(counts, int) and len(counts) == 1:
        (counts,) = counts
    total = counts * length if isinstance(counts, int) else sum(counts)
    if output_size not in (None, total):
        raise ValueError(
            f"repeat_interleave: these numbers make {total} places along axis {axis} of the shape "
            f"{input.shape}; got output_size={output_size}."
        )
    if isinstance(counts, int):
        if counts < 0:
            raise ValueError(f"repeat_interleave: expected a number from 0 up; got {counts}.")
        wide = broadcast_to(unsqueeze(input, axis + 1), *before, length, counts, *behind)
        return apart(reshape(wide, *before, length * counts, *behind), input)
    if len(counts) != length or min(counts, default=0) < 0:
        raise ValueError(
            f"repeat_interleave: expected {length} numbers from 0 up, one for each place along "
            f"axis {axis} of the shape {input.shape}; got {counts}."
        )
    places = [i for i, count in enumerate(counts) for _ in range(count)]
    return input[(*[slice(None)] * axis, places)]


@public(METHOD)
def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """The windows of `size` neighbours along an axis, one every `step`: (..., n, ...) -> (..., m,
    ..., size) with m = (n - size) // step + 1.

    The method x.unfold; the function `unfold` takes patches out of images. The gradient is added
    up over the windows that hold an element.

    >>> unfold(Tensor([1.0, 2.0, 3.0, 4.0]), 0, 2, 1)
    tensor([[1., 2.],
            [2., 3.],
            [3., 4.]])
    """
    axis = _axis(input, dimension)
    length = input.shape[axis] if input.ndim else 1
    if not 0 <= size <= length or step < 1:
        raise ValueError(
            f"unfold: a window of {size} elements, one every {step}, does not fit along axis "
            f"{axis} of the shape {input.shape}. size is from 0 to {length}, and step at least 1."
        )
    rows = reshape(input, *(input.shape or (1,)))
    count = (length - size) // step + 1
    places = [[i * step + j for j in range(size)] for i in range(count)]
    windows = rows[(*[slice(None)] * axis, host.array(places, "int64").reshape(count, size))]
    return reshape(windows, size) if not input.ndim else movedim(windows, axis + 1, -1)


def _continued(x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    """x with more of itself before and after it along an axis."""
    length = x.shape[axis]
    most = {"reflect": length - 1, "circular": length, "replicate": math.inf if length else 0}[mode]
    if max(before, after) > most:
        raise ValueError(
            f"pad: the mode {mode!r} adds at most {max(most, 0)} to each end of axis {axis} of the "
            f"shape {x.shape}; got {before} and {after}."
        )
    if mode == "reflect":
        front = flip(_cut(x, axis, 1, before + 1), axis)
        back = flip(_cut(x, axis, length - 1 - after, length - 1), axis)
    elif mode == "circular":
        front, back = _cut(x, axis, length - before, length), _cut(x, axis, 0, after)
    else:
        front = repeat_interleave(_cut(x, axis, 0, 1), before, axis)
        back = repeat_interleave(_cut(x, axis, length - 1, length), after, axis)
    return cat([front, x, back], axis)


@public(TOP, FUNCTIONAL)
@in_one
def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """The last axes with more put around them; a negative width crops.

    `pad` counts from the last axis backwards: (left, right, top, bottom, ...). The mode says what
    is put there: "constant" (`value`, by default 0), "reflect" (the elements mirrored at the first
    and the last one), "replicate" (the first and the last one) or "circular" (the elements from the
    other end).

    >>> pad(Tensor([1.0, 2.0]), (1, 2))
    tensor([0., 1., 2., 0., 0.])
    >>> pad(Tensor([1.0, 2.0, 3.0]), (2, 1), mode="reflect")
    tensor([3., 2., 1., 2., 3., 2.])
    """
    if mode not in (modes := ("constant", "reflect", "replicate", "circular")):
        raise ValueError(f"pad: expected a mode out of {', '.join(modes)}; got {mode!r}.")
    if not isinstance(pad, Sequence):
        raise TypeError(f"pad: expected widths (left, right, top, bottom, ...); got {pad!r}.")
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise ValueError(
            f"pad: widths come in pairs, at most {input.ndim} for the shape {input.shape}; "
            f"got {tuple(pad)}."
        )
    pad = sizes_of((pad,))
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)][::-1]
    pairs = [(0, 0)] * (input.ndim - len(pairs)) + pairs
    lengths = [n + sum(widths) for n, widths in zip(input.shape, pairs, strict=True)]
    if min(lengths, default=0) < 0 or any(
        -min(widths) > n for n, widths in zip(input.shape, pairs, strict=True)
    ):
        raise ValueError(
            f"pad: the widths {tuple(pad)} crop more than there is of the shape {input.shape}."
        )
    more = tuple((max(0, before), max(0, after)) for before, after in pairs)
    less = [(max(0, -before), max(0, -after)) for before, after in pairs]

    def cropped(x: Tensor) -> Tensor:
        if min(pad, default=0) >= 0:
            return x
        ends = zip(less, x.shape, strict=True)
        return x[tuple(slice(before, n - after) for (before, after), n in ends)]

    if mode == "constant":
        result: Tensor = T.pad(cropped(input), widths=more, value=float(value or 0))
        return result
    # What is mirrored or repeated may itself be cropped; what comes from the other end is what
    # remains there.
    result = cropped(input) if mode == "circular" else input
    for axis, (before, after) in enumerate(more):
        if before or after:
            result = _continued(result, axis, before, after, mode)
    return result if mode == "circular" else cropped(result)


@public(TOP, METHOD)
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """The elements that `indices` names along `dim`; the other axes broadcast.

    It takes what argsort, argmax or topk point at. Without `dim` both are flattened first. A
    negative index counts from the end. The gradient is added up where an element was taken from.

    >>> x = Tensor([[3.0, 1.0, 2.0]])
    >>> take_along_dim(x, Tensor([[1, 2, 0]], dtype="int64"), dim=1)
    tensor([[1., 2., 3.]])
    """
    if indices.dtype.kind not in "iu":
        raise TypeError(f"take_along_dim: the indices are integers; got {indices.dtype}.")
    if dim is None:
        return take_along_dim(reshape(input, -1), reshape(indices, -1), 0)
    axis = _axis(input, dim)
    if not 0 < indices.ndim == input.ndim or any(
        1 != n != m != 1
        for i, (n, m) in enumerate(zip(input.shape, indices.shape, strict=True))
        if i != axis
    ):
        raise ValueError(
            f"take_along_dim: indices of shape {indices.shape} do not fit an input of shape "
            f"{input.shape}: expected as many axes, at least one, and but for axis {axis} equal "
            "lengths, or one of them 1."
        )

    def stretched(tensor: Tensor) -> Tensor:
        shape = [
            tensor.shape[i] if i == axis else m if n == 1 else n
            for i, (n, m) in enumerate(zip(input.shape, indices.shape, strict=True))
        ]
        return tensor if list(tensor.shape) == shape else broadcast_to(tensor, shape)

    result: Tensor = T.take_along_dim(stretched(input), stretched(indices), axis=axis)
    return result
