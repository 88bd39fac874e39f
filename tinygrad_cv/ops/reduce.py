"""Reductions: many elements to one."""

import math
from typing import Any, NamedTuple

from tinygrad_cv.op import Op
from tinygrad_cv.tensor import F as T
from tinygrad_cv.tensor import Tensor

Axes = tuple[int, ...] | None


def _of_nothing(op: Op, error: ValueError, arrays: tuple[Any, ...]) -> ValueError:
    if arrays[0].size:
        return error
    return ValueError(
        f"{op.name} of a tensor of shape {arrays[0].shape} along axis {op.axis}: there is no "
        "element to choose. Leave the axis of length 0 alone, or test numel() first."
    )


class Reduction(Op):
    """Base of the reductions over `axis` (None: all axes), which stay as 1s with `keepdims`."""

    axis: Axes = None
    keepdims: bool = False

    def widen(self, F, g):
        """The reduced axes put back with length 1, so that g broadcasts against the input."""
        if self.keepdims:
            return g
        axes = range(len(self.shape)) if self.axis is None else self.axis
        kept = tuple(1 if i in axes else n for i, n in enumerate(self.shape))
        return F.reshape(g, shape=kept)

    def explain(self, error: ValueError, arrays: tuple[Any, ...]) -> ValueError:
        return _of_nothing(self, error, arrays)

    def count(self):
        """How many elements go into one."""
        axes = range(len(self.shape)) if self.axis is None else self.axis
        return math.prod(self.shape[i] for i in axes)


class Sum(Reduction):
    """Σ x."""

    def forward(self, xp, x):
        self.shape = x.shape
        return xp.sum(x, axis=self.axis, keepdims=self.keepdims)

    def grad_x(self, F, g):
        return F.broadcast_to(self.widen(F, g), shape=self.shape)


class Mean(Reduction):
    """Σ x / n."""

    def forward(self, xp, x):
        self.shape = x.shape
        return xp.mean(x, axis=self.axis, keepdims=self.keepdims)

    def grad_x(self, F, g):
        return F.broadcast_to(self.widen(F, g) / self.count(), shape=self.shape)


class Var(Reduction):
    """Σ (x - mean)² / (n - correction), in two passes, so that no large squares cancel."""

    correction: int = 1

    def forward(self, xp, x):
        self.shape = x.shape
        deviation = x - xp.mean(x, axis=self.axis, keepdims=True)
        degrees = self.count() - self.correction
        # Of too few elements there is no variance: nan, as 0 / 0.
        self.share = 1 / degrees if degrees > 0 else float("nan")
        return xp.sum(deviation * deviation, axis=self.axis, keepdims=self.keepdims) * self.share

    def grad_x(self, F, g, x):
        deviation = x - F.mean(x, axis=self.axis, keepdims=True)
        return self.widen(F, g) * (2 * self.share) * deviation


class _Extreme(Reduction):
    def grad_x(self, F, g, x, y):
        ties = F.cast(x == self.widen(F, y), dtype=self.dtype)
        return self.widen(F, g) * (ties / F.sum(ties, axis=self.axis, keepdims=True))


class Amax(_Extreme):
    """The largest element; equal ones share the gradient evenly."""

    def forward(self, xp, x):
        self.shape, self.dtype = x.shape, x.dtype
        return xp.max(x, axis=self.axis, keepdims=self.keepdims)


class Amin(_Extreme):
    """The smallest element; equal ones share the gradient evenly."""

    def forward(self, xp, x):
        self.shape, self.dtype = x.shape, x.dtype
        return xp.min(x, axis=self.axis, keepdims=self.keepdims)


class Logsumexp(Reduction):
    """log Σ eˣ, shifted by the largest element, so that nothing overflows."""

    def forward(self, xp, x):
        self.shape = x.shape
        top = xp.max(x, axis=self.axis, keepdims=True)
        top = xp.where(xp.isfinite(top), top, 0)
        y = xp.log(xp.sum(xp.exp(x - top), axis=self.axis, keepdims=True)) + top
        return y if self.keepdims else xp.squeeze(y, axis=self.axis)

    def grad_x(self, F, g, x, y):
        return self.widen(F, g) * F.exp(x - self.widen(F, y))


class _Arg(Op):
    """Base of the ops that find a place along one axis (None: in the flattened tensor)."""

    axis: int | None = None
    keepdims: bool = False
    nondifferentiable = ("x",)

    def explain(self, error: ValueError, arrays: tuple[Any, ...]) -> ValueError:
        return _of_nothing(self, error, arrays)


class Argmax(_Arg):
    """The place of the (first) largest element."""

    def forward(self, xp, x):
        return xp.argmax(x, axis=self.axis, keepdims=self.keepdims)


class Argmin(_Arg):
    """The place of the (first) smallest element."""

    def forward(self, xp, x):
        return xp.argmin(x, axis=self.axis, keepdims=self.keepdims)


class Any_(Reduction):  # noqa: N801  the registry name is "any"
    """Whether any element is true."""

    name = "any"
    nondifferentiable = ("x",)

    def forward(self, xp, x):
        return xp.any(x, axis=self.axis, keepdims=self.keepdims)


class All(Reduction):
    """Whether all elements are true."""

    nondifferentiable = ("x",)

    def forward(self, xp, x):
        return xp.all(x, axis=self.axis, keepdims=self.keepdims)


class SumTo(Op):
    """Summed over broadcast axes down to `shape`: the adjoint of broadcast_to."""

    shape: tuple[int, ...]

    def forward(self, xp, x):
        self.wide = x.shape
        extra = x.ndim - len(self.shape)
        stretched = tuple(
            i + extra
            for i, (n, m) in enumerate(zip(self.shape, x.shape[extra:], strict=False))
            if n == 1 != m
        )
        y = xp.sum(x, axis=tuple(range(extra)) + stretched, keepdims=True)
        if extra < 0 or y.shape[extra:] != tuple(self.shape):
            raise ValueError(
                f"a gradient of shape {x.shape} cannot be summed down to {self.shape}: that shape "
                "does not broadcast to it. The rule that made it is wrong."
            )
        return xp.reshape(y, self.shape)

    def grad_x(self, F, g):
        return F.broadcast_to(g, shape=self.wide)


# ----- as functions: PyTorch's arguments, NumPy's taken as well ---------------------------------


def axes_of(input: Tensor, dim: Any, axis: Any) -> Axes:
    """The axes named by `dim` or `axis` as non-negative numbers; None for all."""
    if dim is not None and axis is not None:
        raise TypeError(f"dim and axis mean the same; got dim={dim} and axis={axis}.")
    given = axis if dim is None else dim
    if given is None:
        return None
    axes: list[int] = []
    for i in given if isinstance(given, tuple | list) else (given,):
        if not isinstance(i, int):
            raise TypeError(f"an axis is a whole number; got {i!r}.")
        if not -input.ndim <= i < (input.ndim or 1):
            raise IndexError(
                f"axis {i} of a tensor of shape {input.shape}: it has {input.ndim} axes."
            )
        axes.append(i % (input.ndim or 1))
    if len(set(axes)) != len(axes):
        raise ValueError(f"the axes {given} of a tensor of shape {input.shape} repeat.")
    return tuple(axes) if input.ndim else None


def _reduce(op: str, input: Tensor, dim: Any, keepdim: bool, axis: Any, keepdims: Any) -> Tensor:
    keep = keepdim if keepdims is None else keepdims
    call = getattr(T, op)
    result: Tensor = call(input, axis=axes_of(input, dim, axis), keepdims=keep)
    return result


def sum(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """Σ x over `dim` (an axis, several, or None for all).

    >>> sum(Tensor([[1.0, 2.0], [3.0, 4.0]]), dim=0)
    tensor([4., 6.])
    """
    return _reduce("sum", input, dim, keepdim, axis, keepdims)


def mean(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """Σ x / n over `dim`.

    >>> mean(Tensor([1.0, 2.0, 6.0]))
    tensor(3.)
    """
    return _reduce("mean", input, dim, keepdim, axis, keepdims)


def var(
    input: Tensor,
    dim: Any = None,
    *,
    correction: int = 1,
    keepdim: bool = False,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """Σ (x - mean)² / (n - correction) over `dim`; correction=0 gives the biased variance.

    >>> var(Tensor([1.0, 2.0, 3.0])), var(Tensor([1.0, 2.0, 3.0]), correction=0)
    (tensor(1.), tensor(0.6667))
    """
    keep = keepdim if keepdims is None else keepdims
    result: Tensor = T.var(
        input, axis=axes_of(input, dim, axis), keepdims=keep, correction=correction
    )
    return result


def logsumexp(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """log Σ eˣ over `dim`, finite wherever the exact value is.

    >>> logsumexp(Tensor([1000.0, 1000.0]), dim=0)
    tensor(1000.6932)
    """
    return _reduce("logsumexp", input, dim, keepdim, axis, keepdims)


def amax(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """The largest element over `dim`; equal ones share the gradient evenly."""
    return _reduce("amax", input, dim, keepdim, axis, keepdims)


def amin(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """The smallest element over `dim`; equal ones share the gradient evenly."""
    return _reduce("amin", input, dim, keepdim, axis, keepdims)


class ValuesIndices(NamedTuple):
    """What `max` and `min` along an axis return."""

    values: Tensor
    indices: Tensor


def _extreme(
    input: Tensor, dim: Any, keepdim: bool, axis: Any, keepdims: Any, value: str, place: str
) -> Any:
    if dim is None and axis is None:
        return _reduce(value, input, None, keepdim, None, keepdims)
    axes = axes_of(input, dim, axis)
    if axes is not None and len(axes) > 1:
        raise TypeError(f"one axis gives values and indices; for several, use a{place[3:]}.")
    only = None if axes is None else axes[0]
    keep = keepdim if keepdims is None else keepdims
    return ValuesIndices(
        getattr(T, value)(input, axis=axes, keepdims=keep),
        getattr(T, place)(input, axis=only, keepdims=keep),
    )


def max(
    input: Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    axis: int | None = None,
    keepdims: bool | None = None,
) -> Any:
    """The largest element; along `dim`, a pair (values, indices).

    Equal elements share the gradient evenly; the index is that of the first.

    >>> max(Tensor([[1.0, 5.0], [4.0, 2.0]]), dim=1).indices
    tensor([1, 0])
    """
    return _extreme(input, dim, keepdim, axis, keepdims, "amax", "argmax")


def min(
    input: Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    axis: int | None = None,
    keepdims: bool | None = None,
) -> Any:
    """The smallest element; along `dim`, a pair (values, indices). See `max`."""
    return _extreme(input, dim, keepdim, axis, keepdims, "amin", "argmin")


def _place(input: Tensor, op: str, dim: Any, keepdim: bool, axis: Any, keepdims: Any) -> Tensor:
    axes = axes_of(input, dim, axis)
    keep = keepdim if keepdims is None else keepdims
    result: Tensor = getattr(T, op)(input, axis=None if axes is None else axes[0], keepdims=keep)
    return result


def argmax(
    input: Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    axis: int | None = None,
    keepdims: bool | None = None,
) -> Tensor:
    """The place of the first largest element along `dim` (None: in the flattened tensor).

    >>> argmax(Tensor([1.0, 5.0, 5.0]))
    tensor(1)
    """
    return _place(input, "argmax", dim, keepdim, axis, keepdims)


def argmin(
    input: Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    axis: int | None = None,
    keepdims: bool | None = None,
) -> Tensor:
    """The place of the first smallest element along `dim` (None: in the flattened tensor)."""
    return _place(input, "argmin", dim, keepdim, axis, keepdims)


def any(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """Whether any element over `dim` is true."""
    return _reduce("any", input, dim, keepdim, axis, keepdims)


def all(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """Whether all elements over `dim` are true."""
    return _reduce("all", input, dim, keepdim, axis, keepdims)
