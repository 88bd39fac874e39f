"""Ops that move elements without changing them; most results are views of their input."""

from collections.abc import Sequence
from typing import Any

from tinygrad_cv.op import Op
from tinygrad_cv.tensor import F as T
from tinygrad_cv.tensor import Tensor


class Reshape(Op):
    """The same elements, in row-major order, in another shape."""

    shape: tuple[int, ...]

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


class Permute(Op):
    """The axes in another order."""

    axes: tuple[int, ...]

    def forward(self, xp, x):
        return xp.transpose(x, self.axes)

    def grad_x(self, F, g):
        back = sorted(range(len(self.axes)), key=self.axes.__getitem__)
        return F.permute(g, axes=tuple(back))


class MT(Op):
    """The transpose of each matrix: the last two axes exchanged."""

    name = "mT"
    symbol = "{}ᵀ"

    def forward(self, xp, x):
        return xp.swapaxes(x, -1, -2)

    def grad_x(self, F, g):
        return F.mT(g)


class BroadcastTo(Op):
    """Repeated along new axes and along axes of length 1, without copying."""

    shape: tuple[int, ...]

    def forward(self, xp, x):
        self.before = x.shape
        return xp.broadcast_to(x, self.shape)

    def grad_x(self, F, g):
        return F.sum_to(g, shape=self.before)

    def explain(self, error: ValueError, arrays: tuple[Any, ...]) -> ValueError:
        return ValueError(
            f"broadcast_to: the shape {arrays[0].shape} does not broadcast to {self.shape}; "
            "compared from the last axis backwards, lengths must be equal, or 1 in the first."
        )


class Cat(Op):
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


class Stack(Op):
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


class Pad(Op):
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


# ----- as functions ------------------------------------------------------------------------------


def sizes_of(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """(2, 3) given as two arguments or as one sequence."""
    if len(sizes) == 1 and isinstance(sizes[0], tuple | list):
        sizes = tuple(sizes[0])
    return tuple(int(n) for n in sizes)


def _axis(input: Tensor, dim: int, extra: int = 0) -> int:
    count = input.ndim + extra
    if not -count <= dim < count:
        raise IndexError(f"axis {dim} of a tensor of shape {input.shape}: {count} are possible.")
    return dim % count


def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape; one length may be -1.

    >>> reshape(Tensor([[1.0, 2.0], [3.0, 4.0]]), (4,))
    tensor([1., 2., 3., 4.])
    """
    return T.reshape(input, shape=sizes_of(shape))


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes from `start_dim` to `end_dim` joined into one.

    >>> flatten(Tensor([[[1.0, 2.0]], [[3.0, 4.0]]]), 1).shape
    (2, 2)
    """
    if input.ndim == 0:
        return reshape(input, 1)
    first, last = _axis(input, start_dim), _axis(input, end_dim)
    length = 1
    for n in input.shape[first : last + 1]:
        length *= n
    return reshape(input, *input.shape[:first], length, *input.shape[last + 1 :])


def permute(input: Tensor, *dims: Any) -> Tensor:
    """The axes in the order `dims`.

    >>> permute(Tensor([[1.0, 2.0]]), 1, 0).shape
    (2, 1)
    """
    axes = tuple(_axis(input, d) for d in sizes_of(dims))
    if sorted(axes) != list(range(input.ndim)):
        raise ValueError(f"permute: {dims} does not name each axis of {input.shape} once.")
    return T.permute(input, axes=axes)


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged.

    >>> transpose(Tensor([[1.0, 2.0]]), 0, 1).shape
    (2, 1)
    """
    axes = list(range(input.ndim))
    a, b = _axis(input, dim0), _axis(input, dim1)
    axes[a], axes[b] = b, a
    return T.permute(input, axes=tuple(axes))


def squeeze(input: Tensor, dim: int | None = None) -> Tensor:
    """Without the axes of length 1, or without `dim` if its length is 1."""
    axes = range(input.ndim) if dim is None else (_axis(input, dim),)
    return reshape(input, [n for i, n in enumerate(input.shape) if not (n == 1 and i in axes)])


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """With a new axis of length 1 at `dim`."""
    at = _axis(input, dim, extra=1)
    return reshape(input, *input.shape[:at], 1, *input.shape[at:])


def broadcast_to(input: Tensor, *shape: Any) -> Tensor:
    """Repeated to `shape` without copying.

    >>> broadcast_to(Tensor([1.0, 2.0]), (2, 2))
    tensor([[1., 2.],
            [1., 2.]])
    """
    return T.broadcast_to(input, shape=sizes_of(shape))


def expand(input: Tensor, *sizes: Any) -> Tensor:
    """Axes of length 1 repeated to `sizes`; -1 keeps a length."""
    wanted = sizes_of(sizes)
    extra = len(wanted) - input.ndim
    filled = [input.shape[i - extra] if n == -1 and i >= extra else n for i, n in enumerate(wanted)]
    return T.broadcast_to(input, shape=tuple(filled))


def _check_sequence(name: str, tensors: Sequence[Tensor]) -> None:
    if len(tensors) == 0:
        raise ValueError(f"{name}: expected at least one tensor; got an empty sequence.")
    if len({len(t.shape) for t in tensors}) > 1:
        shapes = ", ".join(str(t.shape) for t in tensors)
        raise ValueError(
            f"{name}: the tensors must have equally many axes; got the shapes {shapes}. "
            "unsqueeze adds an axis."
        )


def cat(tensors: Sequence[Tensor], dim: int = 0, *, axis: int | None = None) -> Tensor:
    """Tensors joined along `dim`; the other axes must agree.

    >>> cat([Tensor([1.0]), Tensor([2.0, 3.0])])
    tensor([1., 2., 3.])
    """
    _check_sequence("cat", tensors)
    return T.cat(*tensors, axis=_axis(tensors[0], dim if axis is None else axis))


def stack(tensors: Sequence[Tensor], dim: int = 0, *, axis: int | None = None) -> Tensor:
    """Tensors of one shape joined along a new axis `dim`.

    >>> stack([Tensor([1.0]), Tensor([2.0])]).shape
    (2, 1)
    """
    _check_sequence("stack", tensors)
    return T.stack(*tensors, axis=_axis(tensors[0], dim if axis is None else axis, extra=1))


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    """`value` put around the last axes; a negative width crops.

    `pad` counts from the last axis backwards: (left, right, top, bottom, ...).

    >>> pad(Tensor([1.0, 2.0]), (1, 2))
    tensor([0., 1., 2., 0., 0.])
    """
    if mode != "constant":
        raise ValueError(f"pad: the mode {mode!r} is not supported; use 'constant'.")
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise ValueError(
            f"pad: widths come in pairs, at most {input.ndim} for the shape {input.shape}; "
            f"got {tuple(pad)}."
        )
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)][::-1]
    pairs = [(0, 0)] * (input.ndim - len(pairs)) + pairs
    lengths = [n + sum(widths) for n, widths in zip(input.shape, pairs, strict=True)]
    if min(lengths, default=0) < 0 or any(
        -min(widths) > n for n, widths in zip(input.shape, pairs, strict=True)
    ):
        raise ValueError(
            f"pad: the widths {tuple(pad)} crop more than there is of the shape {input.shape}."
        )
    if min(pad, default=0) < 0:
        crop = tuple(
            slice(max(0, -before), n - max(0, -after))
            for (before, after), n in zip(pairs, input.shape, strict=True)
        )
        input = T.getitem(input, index=crop)
        pairs = [(max(0, before), max(0, after)) for before, after in pairs]
    return T.pad(input, widths=tuple(pairs), value=float(value))
