"""Reductions: many elements to one; and running ones, which keep every total on the way.

What is added up or multiplied along an axis is so in float64, and rounded once at the end: a sum of
n numbers x is off by its rounding to the dtype and by n · 2⁻⁵³ · Σ |x| at most.
"""

import builtins
import math
import sys
from typing import Any, NamedTuple, overload

from tinygrad_cv._apply import F as T
from tinygrad_cv._apply import computed_in
from tinygrad_cv._inputs import public
from tinygrad_cv._op import Op, per_input
from tinygrad_cv._public import IN_PLACE, METHOD, TOP
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.ops.shape import sizes_of

Axes = tuple[int, ...] | None

LARGEST = sys.float_info.max / 2
"""What stands for an infinity where two are subtracted, which would be nan."""


def _of_nothing(op: Op, error: ValueError, arrays: tuple[Any, ...]) -> ValueError:
    if arrays[0].size:
        return error
    return ValueError(
        f"{op.name} of a tensor of shape {arrays[0].shape} along axis {op.axis}: there is no "
        "element to choose. Leave the axis of length 0 alone, or test numel() first."
    )


def addable(x):
    """The array as it is added up or multiplied: unsigned integers as int64."""
    return x.astype("int64") if x.dtype.kind == "u" else x


def centered(xp, x, axis):
    """x - mean over `axis`.

    The mean of what is left takes off what its own rounding left in, the whole of it where all
    elements are equal.
    """
    if not x.size:  # nothing has no mean
        return x
    rest = x - xp.mean(x, axis=axis, keepdims=True)
    left = xp.mean(rest, axis=axis, keepdims=True)
    return rest - xp.where(xp.isfinite(left), left, 0)


def vector_length(xp, x, axis, p=2):
    """(Σ |x|ᵖ)^(1/p); divided by the largest |x| first, so that no power over- or underflows."""
    size = xp.abs(x)
    if not x.size:  # nothing has no maximum
        return xp.sum(size, axis=axis, keepdims=True)
    top = xp.max(size, axis=axis, keepdims=True)
    scale = xp.where((top > 0) & xp.isfinite(top), top, 1)
    ratio = size / scale
    if p == 2:
        return scale * xp.sqrt(xp.sum(ratio * ratio, axis=axis, keepdims=True))
    return scale * xp.sum(ratio**p, axis=axis, keepdims=True) ** (1 / p)


class Reduction(Op):
    """Base of the reductions over `axis` (None: all axes), which stay as 1s with `keepdims`."""

    axis: Axes = None
    keepdims: bool = False
    flops = per_input

    def note(self, x):
        """What the rules are to know of the input: its shape, without the reduced axes as well, and
        how many elements go into one."""
        given = (self.axis,) if isinstance(self.axis, int) else self.axis
        axes = range(x.ndim) if given is None else given
        self.shape = x.shape
        self.thin = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
        self.count = math.prod(x.shape[i] for i in axes)

    def narrow(self, xp, y):
        """Without the reduced axes, which the forward kept as 1s, unless they are to stay."""
        return y if self.keepdims else xp.squeeze(y, axis=self.axis)

    def widen(self, F, g):
        """The reduced axes put back with length 1, so that g broadcasts against the input."""
        return g if self.keepdims else F.reshape(g, shape=self.thin)

    def explain(self, error: ValueError, arrays: tuple[Any, ...]) -> ValueError:
        return _of_nothing(self, error, arrays)


class Sum(Reduction):
    """Σ x."""

    def forward(self, xp, x):
        self.note(x)
        return xp.total(x, axis=self.axis, keepdims=self.keepdims)

    def grad_x(self, F, g):
        return F.broadcast_to(self.widen(F, g), shape=self.shape)


class Mean(Reduction):
    """Σ x / n."""

    def forward(self, xp, x):
        self.note(x)
        return xp.total(x, axis=self.axis, keepdims=self.keepdims) / self.count

    def grad_x(self, F, g):
        return F.broadcast_to(self.widen(F, g) / self.count, shape=self.shape)


class _Spread(Reduction):
    correction: int = 1
    computes_in = "float64"

    def deviation(self, xp, x):
        """x - mean; and for the rules the share 1 / (n - correction) of each square, or nan."""
        self.note(x)
        degrees = self.count - self.correction
        self.share = 1 / degrees if degrees > 0 else math.nan
        return centered(xp, x if x.dtype.kind in "fc" else x.astype("float64"), self.axis)

    def shared(self, xp, total, share):
        """total · share; where there is none, the total over 0: inf, or of 0 nan."""
        return xp.where(total > 0, math.inf, math.nan) if math.isnan(share) else total * share


class Var(_Spread):
    """Σ (x - mean)² / (n - correction), in two passes, so that no large squares cancel."""

    def forward(self, xp, x):
        deviation = self.deviation(xp, x)
        total = xp.sum(deviation * deviation, axis=self.axis, keepdims=self.keepdims)
        return self.shared(xp, total, self.share)

    def grad_x(self, F, g, x):
        deviation = F.subtract_mean(x, axis=self.axis)
        return self.widen(F, g) * (2 * self.share) * deviation


class Std(_Spread):
    """The root of var, finite where var itself overflows; without variance the gradient is 0."""

    def forward(self, xp, x):
        length = vector_length(xp, self.deviation(xp, x), self.axis)
        return self.narrow(xp, self.shared(xp, length, self.share**0.5))

    def grad_x(self, F, g, x):
        deviation = F.let("d", F.subtract_mean(x, axis=self.axis))
        length = F.let("l", F.norm(deviation, axis=self.axis, keepdims=True))
        direction = deviation / F.where(length == 0, 1.0, length)
        return self.widen(F, g) * (direction * self.share**0.5)


class Norm(Reduction):
    """(Σ |x|ᵖ)^(1/p) for p > 0; at x = 0 the gradient is 0.

    The direction of an infinite vector is that of its infinite elements.
    """

    p: float = 2.0
    computes_in = "float64"

    def forward(self, xp, x):
        self.note(x)
        return self.narrow(xp, vector_length(xp, x, self.axis, self.p))

    def grad_x(self, F, g, x):
        endless = F.any(F.isinf(x), axis=self.axis, keepdims=True)
        x = F.let("v", F.where(endless, F.where(F.isinf(x), F.sign(x), 0.0), x))
        length = F.let("l", F.norm(x, axis=self.axis, keepdims=True, p=self.p))
        length = F.where(length == 0, 1.0, length)
        if self.p == 2:
            return self.widen(F, g) * (x / length)
        # 1 for 0, whose sign is 0: for p < 1 the power of 0 is infinite.
        ratio = F.where(x == 0, 1.0, F.abs(x) / length)
        return self.widen(F, g) * F.sign(x) * ratio ** (self.p - 1)


class Prod(Reduction):
    """Π x along one axis. The derivative in each factor is the product of the others.

    That is the product of those before it times that of those behind it: nothing is divided, so
    factors may be 0.
    """

    axis: tuple[int]
    computes_in = "float64"

    def forward(self, xp, x):
        self.note(x)
        return xp.prod(addable(x), axis=self.axis, keepdims=self.keepdims)

    def grad_x(self, F, g, x):
        (axis,) = self.axis
        before = F.cumprod(_shifted(F, x, self.shape, axis, 1, 1.0), axis=axis)
        behind = F.cumprod(_shifted(F, x, self.shape, axis, -1, 1.0), axis=axis, reverse=True)
        return self.widen(F, g) * before * behind


class _Extreme(Reduction):
    def note(self, x):
        super().note(x)
        self.dtype = x.dtype

    def grad_x(self, F, g, x, y):
        # nan, which equals nothing, is the extreme wherever there is one.
        ties = F.let("ties", F.logical_or(x == self.widen(F, y), F.isnan(x)))
        count = F.sum(F.cast(ties, dtype=self.dtype), axis=self.axis, keepdims=True)
        return F.where(ties, self.widen(F, g) / count, 0.0)


class Amax(_Extreme):
    """The largest element; equal ones share the gradient evenly."""

    def forward(self, xp, x):
        self.note(x)
        return xp.max(x, axis=self.axis, keepdims=self.keepdims)


class Amin(_Extreme):
    """The smallest element; equal ones share the gradient evenly."""

    def forward(self, xp, x):
        self.note(x)
        return xp.min(x, axis=self.axis, keepdims=self.keepdims)


class Logsumexp(Reduction):
    """log Σ eˣ, shifted by the largest element, so that nothing overflows.

    The gradient is eˣ / Σ eˣ, shifted by y, of which nothing but its size matters: a y of 10⁸ has
    no digits for the logarithm of 2. Of infinite elements each has the same share.
    """

    computes_in = "float64"
    real = True

    def forward(self, xp, x):
        self.note(x)
        if not x.size:  # nothing has no maximum; its sum is 0
            return self.narrow(xp, xp.sum(x, axis=self.axis, keepdims=True) - math.inf)
        top = xp.max(x, axis=self.axis, keepdims=True)
        shift = xp.where(xp.isfinite(top), top, 0)
        total = xp.sum(xp.exp(x - shift), axis=self.axis, keepdims=True)
        none = total == 0  # of -inf alone
        y = xp.log(xp.where(none, 1, total)) + xp.where(none, top, shift)
        return self.narrow(xp, y)

    def grad_x(self, F, g, x, y):
        shift = F.clamp(self.widen(F, y), min=-LARGEST, max=LARGEST)
        e = F.let("e", F.exp(F.clamp(x, min=None, max=LARGEST) - shift))
        total = F.let("total", F.sum(e, axis=self.axis, keepdims=True))
        return self.widen(F, g) * (e / F.where(total == 0, 1.0, total))


class _Arg(Op):
    """Base of the ops that find a place along one axis (None: in the flattened tensor)."""

    axis: int | None = None
    keepdims: bool = False
    nondifferentiable = ("x",)
    flops = per_input

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
    flops = per_input

    def forward(self, xp, x):
        self.wide = x.shape
        extra = x.ndim - len(self.shape)
        stretched = tuple(
            i + extra
            for i, (n, m) in enumerate(zip(self.shape, x.shape[extra:], strict=False))
            if n == 1 != m
        )
        y = xp.total(x, axis=tuple(range(extra)) + stretched, keepdims=True)
        if extra < 0 or y.shape[extra:] != tuple(self.shape):
            raise ValueError(
                f"a gradient of shape {x.shape} cannot be summed down to {self.shape}: that shape "
                "does not broadcast to it. The rule that made it is wrong."
            )
        return xp.reshape(y, self.shape)

    def grad_x(self, F, g):
        return F.broadcast_to(g, shape=self.wide)


# ----- running totals ---------------------------------------------------------------------------


def _shifted(F, x, shape, axis, by, fill):
    """x one place further (by = 1) or back (by = -1) along an axis, with `fill` at the open end."""
    widths = [(0, 0)] * len(shape)
    widths[axis] = (1, 0) if by == 1 else (0, 1)
    first = 0 if by == 1 else 1
    part = (*[slice(None)] * axis, slice(first, first + shape[axis]))
    return F.getitem(F.pad(x, widths=tuple(widths), value=fill), index=part)


class _Running(Op):
    """Base of what runs along `axis`, from its start or in `reverse` from its end."""

    axis: int
    reverse: bool = False
    computes_in = "float64"
    flops = per_input

    def directed(self, xp, x):
        """x in the order of the run; once more, and it is in its own."""
        return xp.flip(x, self.axis) if self.reverse else x

    def scanned(self, xp, xs, combine):
        """The scan of an associative `combine` over lists of arrays; what the first becomes.

        After step k each place has combined the 2ᵏ places that end there: log n passes over whole
        arrays, and not n steps.
        """
        xs = [self.directed(xp, x) for x in xs]
        every = (slice(None),) * self.axis
        length, step = xs[0].shape[self.axis], 1
        while step < length:
            early, late = slice(0, length - step), slice(step, length)
            joined = combine([x[(*every, early)] for x in xs], [x[(*every, late)] for x in xs])
            done = [x[(*every, slice(0, step))] for x in xs]
            xs = [xp.concatenate(pair, axis=self.axis) for pair in zip(done, joined, strict=True)]
            step *= 2
        return self.directed(xp, xs[0])

    def shifted(self, F, x, by, fill):
        """x one place on in the direction of the run, or back; see _shifted."""
        return _shifted(F, x, self.shape, self.axis, -by if self.reverse else by, fill)


class Cumsum(_Running):
    """y_i = Σ x_j over j <= i. The gradient is summed from the other end."""

    def forward(self, xp, x):
        return self.directed(xp, xp.cumsum(self.directed(xp, addable(x)), axis=self.axis))

    def grad_x(self, F, g):
        return F.cumsum(g, axis=self.axis, reverse=not self.reverse)


class Cumprod(_Running):
    """y_i = Π x_j over j <= i. No factor is divided out again, so factors may be 0.

    What x_i does to y_i is the product before it, y_(i-1); from there the later factors carry it
    on to the later products. Where these have no gradient, an infinite product has none either.
    """

    def forward(self, xp, x):
        self.shape = x.shape
        return self.directed(xp, xp.cumprod(self.directed(xp, addable(x)), axis=self.axis))

    def grad_x(self, F, g, x):
        factors = self.shifted(F, x, -1, 0.0)
        later = F.let("later", F.recurrence(g, factors, axis=self.axis, reverse=not self.reverse))
        y = F.cumprod(x, axis=self.axis, reverse=self.reverse)
        before = F.let("before", self.shifted(F, y, 1, 1.0))
        counts = F.logical_or(later != 0, F.isfinite(before))
        return F.where(counts, before, 0.0) * later


class Logcumsumexp(_Running):
    """y_i = log Σ e^(x_j) over j <= i, without overflow.

    The gradient, Σ g_i e^(x_j - y_i) over i >= j, is added up from the other end, and no exponent
    on the way is above 0. It works out y again: rounded, a y of 10⁸ has no digits left for the
    logarithm of 2.
    """

    real = True

    def forward(self, xp, x):
        self.shape = x.shape
        return self.scanned(xp, [x], lambda early, late: [xp.logaddexp(early[0], late[0])])

    def grad_x(self, F, g, x):
        x = F.clamp(x, min=None, max=LARGEST)
        y = F.logcumsumexp(x, axis=self.axis, reverse=self.reverse)
        total = F.let("total", F.clamp(y, min=-LARGEST, max=None))
        kept = F.exp(total - self.shifted(F, total, -1, LARGEST))
        later = F.recurrence(g, kept, axis=self.axis, reverse=not self.reverse)
        return F.exp(x - total) * later


class Recurrence(_Running):
    """y_i = x_i + w_i · y_(i-1): something new, and what came before with a weight.

    Where nothing came before, an infinite weight has nothing to carry on.
    """

    def forward(self, xp, x, w):
        self.shape = x.shape

        def joined(early, late):
            carried = xp.where(early[0] == 0, 0, late[1]) * early[0]
            return [late[0] + carried, late[1] * early[1]]

        return self.scanned(xp, [x, w], joined)

    def grad_x(self, F, g, w):
        weights = self.shifted(F, w, -1, 0.0)
        return F.recurrence(g, weights, axis=self.axis, reverse=not self.reverse)

    def grad_w(self, F, g, w, y):
        return self.grad_x(F, g, w) * self.shifted(F, y, 1, 0.0)


class Argcummax(_Running):
    """Where the largest (or smallest) x_j over j <= i is: the last of equal ones, or of nans."""

    largest: bool = True
    nondifferentiable = ("x",)

    def forward(self, xp, x):
        shape = [1] * x.ndim
        shape[self.axis] = -1
        place = xp.reshape(xp.arange(x.shape[self.axis]), shape)

        def later(early, late):
            ahead = late[1] >= early[1] if self.largest else late[1] <= early[1]
            ahead = ahead | (late[1] != late[1])
            return [xp.where(ahead, b, a) for a, b in zip(early, late, strict=True)]

        return self.scanned(xp, [xp.broadcast_to(place, x.shape), x], later)


# ----- as functions: PyTorch's arguments, NumPy's taken as well ---------------------------------


def axes_of(input: Tensor, dim: Any, axis: Any) -> Axes:
    """The axes named by `dim` or `axis` as non-negative numbers; None for all, as () names them."""
    if dim is not None and axis is not None:
        raise TypeError(f"dim and axis mean the same; got dim={dim} and axis={axis}.")
    given = axis if dim is None else dim
    if given is None:
        return None
    axes: list[int] = []
    count = input.ndim or 1  # a number may be taken along its axis 0 (or -1), as in PyTorch
    for i in given if isinstance(given, tuple | list) else (given,):
        if not isinstance(i, int | host.integer) or isinstance(i, bool):
            raise TypeError(f"an axis is a whole number; got {i!r}.")
        if not -count <= i < count:
            raise IndexError(
                f"axis {i} of a tensor of shape {input.shape}: it has {input.ndim} axes."
            )
        axes.append(int(i) % count)
    if len(set(axes)) != len(axes):
        raise ValueError(f"the axes {given} of a tensor of shape {input.shape} repeat.")
    return tuple(axes) if axes and input.ndim else None


def axis_of(input: Tensor, dim: Any, axis: Any) -> int:
    """The one axis named by `dim` or `axis`, as a non-negative number."""
    axes = axes_of(input, dim, axis)
    if axes is None or len(axes) != 1:
        raise TypeError(
            f"expected one axis of the tensor of shape {input.shape}; got dim={dim}, axis={axis}."
        )
    return axes[0]


def kept(keepdim: Any, keepdims: Any) -> bool:
    """Whether the reduced axes stay, as 1s. A number here was meant as a second axis."""
    keep = keepdim if keepdims is None else keepdims
    if not isinstance(keep, bool):
        raise TypeError(
            f"keepdim is True or False; got {keep!r}. Several axes are given as one argument, as "
            "in sum(dim=(1, 2))."
        )
    return keep


def _one_axis(name: str, input: Tensor, dim: Any, axis: Any) -> int | None:
    """The one axis that `dim` or `axis` names; None if there is none, or no axis to name."""
    given = axis if dim is None else dim
    if isinstance(given, tuple | list) and len(given) != 1:
        raise TypeError(
            f"{name} finds places along one axis (or, without dim, in the flattened tensor); got "
            f"{given} for the shape {input.shape}. Values over several axes: amax, amin."
        )
    axes = axes_of(input, dim, axis)
    return None if axes is None else axes[0]


def _as(input: Tensor, dtype: Any) -> Tensor:
    return input if dtype is None else input.to(dtype=dtype)


def _reduce(op: str, input: Tensor, dim: Any, keepdim: bool, axis: Any, keepdims: Any) -> Tensor:
    keep = kept(keepdim, keepdims)
    call = getattr(T, op)
    result: Tensor = call(input, axis=axes_of(input, dim, axis), keepdims=keep)
    return result


@public(TOP, METHOD)
def sum(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """Σ x over `dim` (an axis, several, or None for all), of x as `dtype` if given, in which it is.

    float16 is added up in float32, integers and truth values in int64.

    >>> sum(Tensor([[1.0, 2.0], [3.0, 4.0]]), dim=0)
    tensor([4., 6.])
    """
    return _as(_reduce("sum", _as(input, dtype), dim, keepdim, axis, keepdims), dtype)


@public(METHOD)
def sum_to_size(input: Tensor, *size: Any) -> Tensor:
    """The sum over the axes along which `size` would be broadcast to this shape.

    >>> sum_to_size(Tensor([[1.0, 2.0], [3.0, 4.0]]), 1, 2)
    tensor([[4., 6.]])
    """
    lengths = sizes_of(size)
    try:
        fits = host.broadcast_shapes(lengths, input.shape) == input.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"sum_to_size: {lengths} does not broadcast to {input.shape}.")
    return T.sum_to(input, shape=lengths)


@public(TOP, METHOD)
def mean(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """Σ x / n over `dim`, of x as `dtype` if given, which is a float dtype.

    >>> mean(Tensor([1.0, 2.0, 6.0]))
    tensor(3.)
    """
    x = _as(input, dtype)
    if dtype is not None and not x.is_floating_point():
        raise TypeError(f"mean: a mean is no whole number; got {x.dtype} {x.shape}.")
    return _reduce("mean", x, dim, keepdim, axis, keepdims)


@public(TOP, METHOD)
def nansum(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """Σ x over `dim` without the elements that are nan.

    >>> nansum(Tensor([1.0, float("nan"), 2.0]))
    tensor(3.)
    """
    known = T.where(input == input, input, 0)  # nan alone differs from itself
    return sum(known, dim, keepdim, dtype=dtype, axis=axis, keepdims=keepdims)


@public(TOP, METHOD)
def nanmean(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """The mean over `dim` of the elements that are not nan; nan where there is none.

    >>> nanmean(Tensor([1.0, float("nan"), 2.0]))
    tensor(1.5)
    """
    same: dict[str, Any] = {"axis": axis, "keepdims": keepdims}
    x = _as(input, dtype)
    # A total may be beyond float16 where the mean is not.
    total = nansum(x, dim, keepdim, dtype="float32" if x.dtype == "float16" else None, **same)
    y = total / sum(x == x, dim, keepdim, **same)
    return _as(y, x.dtype) if x.is_floating_point() else y


@public(TOP, METHOD)
def prod(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """Π x over `dim` (an axis, several, or None for all), of x as `dtype` if given, in which it is.

    Factors may be 0: the gradient of each is the product of the others, found without a division.

    >>> x = Tensor([2.0, 0.0, 3.0], requires_grad=True)
    >>> prod(x).backward()
    >>> x.grad
    tensor([0., 6., 0.])
    """
    axes, keep = axes_of(input, dim, axis), kept(keepdim, keepdims)
    result = _as(input, dtype)
    if axes is None:
        result = T.prod(T.reshape(result, shape=(input.numel(),)), axis=(0,))
        if keep and input.ndim:
            result = T.reshape(result, shape=(1,) * input.ndim)
        return _as(result, dtype)
    for i in sorted(axes, reverse=True):
        result = T.prod(result, axis=(i,), keepdims=keep)
    return _as(result, dtype)


def _spread(
    op: str,
    input: Tensor,
    dim: Any,
    unbiased: Any,
    correction: float | None,
    keepdim: Any,
    axis: Any,
    keepdims: Any,
) -> Tensor:
    if isinstance(dim, bool):  # var(x, False)
        if unbiased is not None:
            raise TypeError(f"{op}: expected an axis before unbiased={unbiased}; got dim={dim}.")
        dim, unbiased = None, dim
    if unbiased is not None:
        if not isinstance(unbiased, bool) or correction is not None:
            raise TypeError(
                f"{op}: expected unbiased, True or False, or correction, a number; got unbiased="
                f"{unbiased!r} and correction={correction!r}. Several axes are given as one "
                f"argument, as in {op}(dim=(1, 2))."
            )
        correction = int(unbiased)
    result: Tensor = getattr(T, op)(
        input,
        axis=axes_of(input, dim, axis),
        keepdims=kept(keepdim, keepdims),
        correction=1 if correction is None else correction,
    )
    return result


@public(TOP, METHOD)
def var(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """Σ (x - mean)² / (n - correction) over `dim`; correction=0 gives the biased variance.

    `unbiased`, which may come first instead of `dim`, is the older name: True is correction=1, the
    default, and False correction=0. From correction = n on the variance is inf, and that of equal
    elements nan (0 / 0).

    >>> var(Tensor([1.0, 2.0, 3.0])), var(Tensor([1.0, 2.0, 3.0]), correction=0)
    (tensor(1.), tensor(0.6667))
    """
    return _spread("var", input, dim, unbiased, correction, keepdim, axis, keepdims)


@public(TOP, METHOD)
def std(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """√var over `dim`, finite where var itself overflows. Where it is 0, so is the gradient.

    >>> std(Tensor([1.0, 2.0, 3.0])), std(Tensor([1.0, 2.0, 3.0]), correction=0)
    (tensor(1.), tensor(0.8165))
    """
    return _spread("std", input, dim, unbiased, correction, keepdim, axis, keepdims)


@public(TOP)
def var_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    axis: Any = None,
    keepdims: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """The pair (var, mean) over `dim`.

    >>> var_mean(Tensor([1.0, 2.0, 3.0]))
    (tensor(1.), tensor(2.))
    """
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    same: dict[str, Any] = {"keepdim": keepdim, "axis": axis, "keepdims": keepdims}
    spread = var(input, dim, unbiased, correction=correction, **same)
    return spread, mean(input, dim, **same)


@public(TOP)
def std_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    axis: Any = None,
    keepdims: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """The pair (std, mean) over `dim`.

    >>> std_mean(Tensor([1.0, 2.0, 3.0]))
    (tensor(1.), tensor(2.))
    """
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    same: dict[str, Any] = {"keepdim": keepdim, "axis": axis, "keepdims": keepdims}
    spread = std(input, dim, unbiased, correction=correction, **same)
    return spread, mean(input, dim, **same)


@public(TOP, METHOD)
def norm(
    input: Tensor,
    p: float | str = "fro",
    dim: Any = None,
    keepdim: bool = False,
    dtype: Any = None,
    *,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """(Σ |x|ᵖ)^(1/p) over `dim`, the p-norm of the elements as one long vector.

    p is "fro" (the same as 2) or a number; inf gives the largest |x|, -inf the smallest, and 0 the
    number of elements that are not 0 (without a gradient). For p < 0 it is 1 / ‖1/x‖₋ₚ, and 0 with
    the gradient 0 where an element is 0. The powers are taken of x over its largest |x|: the norm
    is finite wherever the exact value is. At 0 the gradient is 0. p = "nuc" is the sum of the
    singular values of the matrices along two axes; `linalg.matrix_norm` has other norms of those.

    >>> norm(Tensor([3.0, 4.0])), norm(Tensor([3.0, -4.0]), float("inf"))
    (tensor(5.), tensor(4.))
    """
    if p == "nuc":
        axes = axes_of(input, dim, axis) or tuple(range(input.ndim))
        if len(axes) != 2:
            raise ValueError(
                f"norm: p='nuc' is of matrices along two axes; got dim={dim} of {input.shape}."
            )
        return _nuclear_norm(_as(input, dtype), axes, kept(keepdim, keepdims))
    power = 2 if p in ("fro", None) else p.item() if isinstance(p, host.generic) else p
    if not isinstance(power, int | float) or math.isnan(power):
        raise ValueError(
            f"norm: p is 'fro', 'nuc' or a number; got {p!r}. linalg.matrix_norm knows more norms "
            "of matrices."
        )
    x = _as(input, dtype)
    same: dict[str, Any] = {"keepdim": keepdim, "axis": axis, "keepdims": keepdims}
    if power == math.inf:
        return amax(T.abs(x), dim, **same)
    if power == -math.inf:
        return amin(T.abs(x), dim, **same)
    if power == 0:
        return sum(T.cast(x != 0, dtype=x.dtype), dim, **same)
    if power == 1:
        return sum(T.abs(x), dim, **same)
    if power < 0:
        return _negative_norm(x, -power, dim, same)
    keep = kept(keepdim, keepdims)
    result: Tensor = T.norm(x, axis=axes_of(x, dim, axis), keepdims=keep, p=float(power))
    return result


def _nuclear_norm(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    """The sum of the singular values of the matrices along two axes."""
    rows, columns = axes
    others = [i for i in range(x.ndim) if i not in (rows, columns)]
    values = T.svdvals(T.permute(x, axes=(*others, rows, columns)))
    total = T.sum(values, axis=(len(others),))
    shape = tuple(1 if i in (rows, columns) else n for i, n in enumerate(x.shape))
    return T.reshape(total, shape=shape) if keep else total


@computed_in("float64")
def _negative_norm(x: Tensor, power: float, dim: Any, same: dict[str, Any]) -> Tensor:
    """(Σ |x|⁻ᵖ)^(-1/p) = 1 / ‖1/x‖ₚ; its gradient divides by x²."""
    if not x.numel():
        amin(T.abs(x), dim, **same)  # of nothing there is none: this says so
    none = x == 0
    inverse = norm(1 / T.where(none, 1.0, x), power, dim, **same)
    return T.where(any(none, dim, **same), 0.0, 1 / inverse)


@public(TOP, METHOD)
def count_nonzero(input: Tensor, dim: Any = None, *dims: int, axis: Any = None) -> Tensor:
    """How many elements over `dim`, or over several axes in turn, are not 0 (int64).

    >>> count_nonzero(Tensor([[0.0, 2.0], [3.0, 4.0]]), dim=1)
    tensor([1, 2])
    """
    return sum(input != 0, (dim, *dims) if dims else dim, axis=axis)


def _run(op: str, input: Tensor, dim: Any, axis: Any) -> Tensor:
    if input.ndim == 0:
        axes_of(input, dim, axis)
        return T.reshape(_run(op, T.reshape(input, shape=(1,)), 0, None), shape=())
    result: Tensor = getattr(T, op)(input, axis=axis_of(input, dim, axis))
    return result


@public(TOP, METHOD, IN_PLACE)
def cumsum(
    input: Tensor, dim: int | None = None, *, dtype: Any = None, axis: int | None = None
) -> Tensor:
    """The running sum along `dim`: each element and all those before it.

    >>> cumsum(Tensor([1.0, 2.0, 3.0]), dim=0)
    tensor([1., 3., 6.])
    """
    return _as(_run("cumsum", _as(input, dtype), dim, axis), dtype)


@public(TOP, METHOD, IN_PLACE)
def cumprod(
    input: Tensor, dim: int | None = None, *, dtype: Any = None, axis: int | None = None
) -> Tensor:
    """The running product along `dim`. Factors may be 0: the gradient divides by none of them.

    >>> cumprod(Tensor([1.0, 2.0, 3.0]), dim=0)
    tensor([1., 2., 6.])
    """
    return _as(_run("cumprod", _as(input, dtype), dim, axis), dtype)


@public(TOP, METHOD)
def diff(
    input: Tensor,
    n: int = 1,
    dim: int = -1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """The differences x_(i+1) - x_i of neighbours along `dim`, `n` times over.

    What is to be put before and behind is joined first. Of truth values it is whether they differ.

    >>> diff(Tensor([1.0, 3.0, 6.0]))
    tensor([2., 3.])
    """
    if input.ndim == 0 or n < 0:
        raise ValueError(
            f"diff: expected a tensor with an axis, and n from 0 up; got {input.shape} and n={n}."
        )
    axis = axis_of(input, dim, None)
    parts = [part for part in (prepend, input, append) if part is not None]
    if n == 0:
        return T.clone(input)
    if builtins.any(part.ndim != input.ndim for part in parts):
        raise ValueError(
            "diff: what is put before and behind has as many axes as the input; got the shapes "
            f"{', '.join(str(part.shape) for part in parts)}."
        )
    x = T.cat(*parts, axis=axis) if len(parts) > 1 else input
    every = (slice(None),) * axis
    for _ in range(builtins.min(n, x.shape[axis])):
        later = T.getitem(x, index=(*every, slice(1, None)))
        earlier = T.getitem(x, index=(*every, slice(0, x.shape[axis] - 1)))
        x = T.ne(later, earlier) if x.dtype.kind == "b" else T.sub(later, earlier)
    return x


def _areas(
    y: Tensor, x: Tensor | None, dx: float | None, dim: int, name: str
) -> tuple[Tensor, int]:
    """The areas under the lines from each point of a curve to the next, and the axis."""
    if x is not None and dx is not None:
        raise TypeError(f"{name}: expected either x, the places, or dx, their distance.")
    axis = axis_of(y, dim, None)
    every = (slice(None),) * axis
    n = y.shape[axis]
    later = T.getitem(y, index=(*every, slice(1, None)))
    earlier = T.getitem(y, index=(*every, slice(0, builtins.max(n - 1, 0))))
    widths: Any = 1 if dx is None else dx
    if x is not None:
        lone = x.ndim == 1
        shape = (-1, *(1,) * (y.ndim - 1 - axis)) if lone else (1,) * (y.ndim - x.ndim) + x.shape
        places = T.reshape(x, shape=shape)
        widths = diff(places, dim=places.ndim - y.ndim + axis)
        if lone and x.shape[0] != n:
            raise ValueError(f"{name}: there is a place for each of {n} values; got {x.shape}.")
    return T.mul(T.add(later, earlier), widths) / 2, axis


@public(TOP, also="trapz")
@computed_in("float64")
def trapezoid(
    y: Tensor, x: Tensor | None = None, *, dx: float | None = None, dim: int = -1
) -> Tensor:
    """The integral of y along `dim` by the trapezoidal rule: Σ (x_(i+1) - x_i) (y_i + y_(i+1)) / 2.

    The places x are a vector, or as many as y; or their distance is dx, which is 1 by default.

    >>> trapezoid(Tensor([1.0, 3.0, 5.0]), Tensor([0.0, 1.0, 3.0]))
    tensor(10.)
    """
    areas, axis = _areas(y, x, dx, dim, "trapezoid")
    return sum(areas, axis)


@public(TOP)
@computed_in("float64")
def cumulative_trapezoid(
    y: Tensor, x: Tensor | None = None, *, dx: float | None = None, dim: int = -1
) -> Tensor:
    """The integral of y from the first place on to each of the others; see `trapezoid`.

    >>> cumulative_trapezoid(Tensor([1.0, 3.0, 5.0]))
    tensor([2., 6.])
    """
    areas, axis = _areas(y, x, dx, dim, "cumulative_trapezoid")
    return cumsum(areas, axis)


@public(TOP, METHOD)
@computed_in("float64")
def cov(
    input: Tensor,
    *,
    correction: int = 1,
    fweights: Tensor | None = None,
    aweights: Tensor | None = None,
) -> Tensor:
    """The covariances of variables, the rows of x (m, n) with n observations: (m, m).

    C = Σ_k w_k (x_ik - μ_i) (x_jk - μ_j) / (Σ w - correction · Σ w a / Σ w), where w is the product
    of fweights, how often each was observed, and of aweights a, how much it counts. A vector is one
    variable, of which the variance is given. Looking for negative weights makes the host wait for a
    GPU.

    >>> cov(Tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    if input.ndim > 2:
        raise ValueError(f"cov: expected variables (m, n), or one (n,); got {input.shape}.")
    x = T.reshape(input, shape=(1, -1)) if input.ndim < 2 else input
    n = x.shape[1]
    for name, weights in (("fweights", fweights), ("aweights", aweights)):
        if weights is not None and weights.shape not in ((n,), ())[: 1 + (n == 1)]:
            raise ValueError(f"cov: there are {n} {name}, one for each; got {weights.shape}.")
        if weights is not None and (name == "aweights") is not weights.is_floating_point():
            raise TypeError(
                f"cov: fweights are integers, and aweights floats; got {weights.dtype}."
            )
        if weights is not None and bool(T.any(weights < 0)):
            raise ValueError(f"cov: {name} are 0 or more; one of them is negative.")
    given = [T.reshape(w, shape=(-1,)) for w in (fweights, aweights) if w is not None]
    w = None
    for factor in given:
        factor = factor.to(dtype=x.dtype)
        w = factor if w is None else T.mul(w, factor)
    total: Any = n if w is None else sum(w)
    norm_of: Any = total - correction
    if aweights is not None and w is not None:
        norm_of = total - correction * sum(T.mul(w, given[-1].to(dtype=x.dtype))) / total
    mean_of = sum(x if w is None else T.mul(x, w), 1, True) / total
    deviation = T.sub(x, mean_of)
    product = T.matmul(deviation if w is None else T.mul(deviation, w), T.mT(deviation))
    if isinstance(norm_of, Tensor):
        norm_of = T.maximum(norm_of, 0)
    else:
        norm_of = Tensor(builtins.max(norm_of, 0), dtype=x.dtype, device=x.device)
    covariance: Tensor = T.div(product, norm_of)
    return T.reshape(covariance, shape=()) if x.shape[0] == 1 else covariance


@public(TOP, METHOD)
@computed_in("float64")
def corrcoef(input: Tensor) -> Tensor:
    """The correlations of variables, the rows of x (m, n): c_ij / √(c_ii c_jj), with c of `cov`.

    >>> corrcoef(Tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    c = cov(input)
    if not c.ndim:
        return c / c
    n = c.shape[0]
    spread = T.sqrt(T.getitem(T.reshape(c, shape=(-1,)), index=slice(None, None, n + 1)))
    ratio = c / T.reshape(spread, shape=(-1, 1)) / spread
    return T.clamp(ratio, min=-1.0, max=1.0)


@public(TOP)
def gradient(
    input: Tensor, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1
) -> tuple[Tensor, ...]:
    """The slopes along each axis of a function that is known at the points of a grid.

    Each is that of the parabola through a point and its two neighbours, exact to second order. At
    the two ends it is that of the line through the last two points, or with edge_order=2 of the
    parabola through the last three (Fornberg, 1988). `spacing` is the distance of neighbours, one
    number (None: 1) or one for each axis, or vectors that hold the coordinates; `dim` names the
    axes (default: all).

    >>> gradient(Tensor([1.0, 4.0, 9.0, 16.0]), spacing=2.0)
    (tensor([1.5, 2. , 3. , 3.5]),)
    """
    axes = axes_of(input, dim, None) or tuple(range(input.ndim))
    if edge_order not in (1, 2):
        raise ValueError(f"gradient: edge_order is 1 or 2; got {edge_order}.")
    spacing = 1 if spacing is None else spacing
    spacing = spacing.item() if isinstance(spacing, host.generic) else spacing
    spacings = [spacing] * len(axes) if isinstance(spacing, int | float) else list(spacing)
    if len(spacings) != len(axes):
        raise ValueError(
            f"gradient: expected a spacing for each of the {len(axes)} axes; got {len(spacings)}."
        )
    x = input if input.dtype in ("float32", "float64") else input.float()
    slopes = (_slope(x, i, step, edge_order) for i, step in zip(axes, spacings, strict=True))
    dtype = input.dtype if input.is_floating_point() else None
    return tuple(_as(slope, dtype) for slope in slopes)


def _slope(x: Tensor, axis: int, spacing: Any, edge_order: int) -> Tensor:
    length = x.shape[axis]
    if length <= edge_order:
        raise ValueError(
            f"gradient: edge_order={edge_order} needs {edge_order + 1} points along each axis; got "
            f"the shape {x.shape}."
        )
    if isinstance(spacing, int | float):
        spacing = Tensor([spacing * i for i in range(length)], dtype=x.dtype, device=x.device)
    elif not isinstance(spacing, Tensor):
        spacing = Tensor(spacing, dtype=x.dtype, device=x.device)
    if spacing.shape != (length,):
        raise ValueError(
            f"gradient: expected a coordinate for each of the {length} points along axis {axis}; "
            f"got {spacing.shape}."
        )
    every = (slice(None),) * axis

    def part(values: Tensor, start: int, stop: int | None) -> Tensor:
        y: Tensor = T.getitem(values, index=(*every, slice(start, stop)))
        return y

    along = [1] * x.ndim
    along[axis] = length
    step = diff(T.reshape(spacing, shape=tuple(along)), dim=axis)
    slope = diff(x, dim=axis) / step
    first, last = part(slope, 0, 1), part(slope, length - 2, None)
    if length == 2:
        return T.cat(first, last, axis=axis)
    # The slope in the middle of three points, from those of the two lines between them.
    before, behind = part(step, 0, length - 2), part(step, 1, None)
    left, right = part(slope, 0, length - 2), part(slope, 1, None)
    inner = (behind * left + before * right) / (before + behind)
    if edge_order == 2:  # a parabola's slopes at both ends of a line have that of the line as mean
        first = 2 * first - part(inner, 0, 1)
        last = 2 * last - part(inner, length - 3, None)
    return T.cat(first, inner, last, axis=axis)


@public(TOP, METHOD)
def logcumsumexp(input: Tensor, dim: int | None = None, *, axis: int | None = None) -> Tensor:
    """The running log Σ eˣ along `dim`, finite wherever the exact value is.

    >>> logcumsumexp(Tensor([1000.0, 1000.0]), dim=0)
    tensor([1000.    , 1000.6932])
    """
    return _run("logcumsumexp", input, dim, axis)


def _running_extreme(input: Tensor, dim: Any, axis: Any, largest: bool) -> "ValuesIndices":
    if input.ndim == 0:
        axes_of(input, dim, axis)
        pair = _running_extreme(T.reshape(input, shape=(1,)), 0, None, largest)
        return ValuesIndices(*(T.reshape(part, shape=()) for part in pair))
    along = axis_of(input, dim, axis)
    indices = T.argcummax(input, axis=along, largest=largest)
    return ValuesIndices(T.take_along_dim(input, indices, axis=along), indices)


@public(TOP, METHOD)
def cummax(input: Tensor, dim: int | None = None, *, axis: int | None = None) -> "ValuesIndices":
    """The largest element so far along `dim`, and where it is: a pair (values, indices).

    Of equal ones it is the last, and to it goes the gradient. From a nan on, all are nan.

    >>> cummax(Tensor([1.0, 3.0, 2.0]), dim=0)
    ValuesIndices(values=tensor([1., 3., 3.]), indices=tensor([0, 1, 1]))
    """
    return _running_extreme(input, dim, axis, largest=True)


@public(TOP, METHOD)
def cummin(input: Tensor, dim: int | None = None, *, axis: int | None = None) -> "ValuesIndices":
    """The smallest element so far along `dim`, and where it is. See `cummax`.

    >>> cummin(Tensor([2.0, 3.0, 1.0]), dim=0)
    ValuesIndices(values=tensor([2., 2., 1.]), indices=tensor([0, 0, 2]))
    """
    return _running_extreme(input, dim, axis, largest=False)


@public(TOP, METHOD)
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


@public(TOP, METHOD)
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


@public(TOP, METHOD)
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
    input: Tensor,
    dim: Any,
    keepdim: bool,
    other: Tensor | None,
    axis: Any,
    keepdims: Any,
    value: str,
    place: str,
) -> Any:
    if other is not None:
        if dim is not None or axis is not None:
            raise TypeError(f"{place[3:]}: expected an axis or another tensor; got both.")
        dim = other
    if isinstance(dim, Tensor):
        return (T.maximum if value == "amax" else T.minimum)(input, dim)
    if dim is None and axis is None:
        return _reduce(value, input, None, keepdim, None, keepdims)
    only = _one_axis(place[3:], input, dim, axis)
    keep = kept(keepdim, keepdims)
    return ValuesIndices(
        getattr(T, value)(input, axis=None if only is None else (only,), keepdims=keep),
        getattr(T, place)(input, axis=only, keepdims=keep),
    )


@overload
def max(input: Tensor, dim: Tensor | None = None, *, other: Tensor | None = None) -> Tensor: ...
@overload
def max(
    input: Tensor, dim: int, keepdim: bool = False, *, keepdims: bool | None = None
) -> ValuesIndices: ...
@overload
def max(
    input: Tensor, *, axis: int, keepdim: bool = False, keepdims: bool | None = None
) -> ValuesIndices: ...
@public(TOP, METHOD)
def max(
    input: Tensor,
    dim: int | Tensor | None = None,
    keepdim: bool = False,
    *,
    other: Tensor | None = None,
    axis: int | None = None,
    keepdims: bool | None = None,
) -> Any:
    """The largest element; along `dim`, a pair (values, indices); max(x, y) is maximum(x, y).

    Equal elements share the gradient evenly; the index is that of the first.

    >>> max(Tensor([[1.0, 5.0], [4.0, 2.0]]), dim=1).indices
    tensor([1, 0])
    """
    return _extreme(input, dim, keepdim, other, axis, keepdims, "amax", "argmax")


@overload
def min(input: Tensor, dim: Tensor | None = None, *, other: Tensor | None = None) -> Tensor: ...
@overload
def min(
    input: Tensor, dim: int, keepdim: bool = False, *, keepdims: bool | None = None
) -> ValuesIndices: ...
@overload
def min(
    input: Tensor, *, axis: int, keepdim: bool = False, keepdims: bool | None = None
) -> ValuesIndices: ...
@public(TOP, METHOD)
def min(
    input: Tensor,
    dim: int | Tensor | None = None,
    keepdim: bool = False,
    *,
    other: Tensor | None = None,
    axis: int | None = None,
    keepdims: bool | None = None,
) -> Any:
    """The smallest element; along `dim`, a pair (values, indices). See `max`."""
    return _extreme(input, dim, keepdim, other, axis, keepdims, "amin", "argmin")


class MinMax(NamedTuple):
    """What `aminmax` returns."""

    min: Tensor
    max: Tensor


@public(TOP, METHOD)
def aminmax(
    input: Tensor,
    *,
    dim: int | None = None,
    keepdim: bool = False,
    axis: int | None = None,
    keepdims: bool | None = None,
) -> MinMax:
    """The pair (min, max) of the smallest and the largest element over `dim`.

    >>> aminmax(Tensor([3.0, 1.0, 2.0]))
    MinMax(min=tensor(1.), max=tensor(3.))
    """
    same: dict[str, Any] = {"keepdim": keepdim, "axis": axis, "keepdims": keepdims}
    return MinMax(amin(input, dim, **same), amax(input, dim, **same))


def _place(input: Tensor, op: str, dim: Any, keepdim: bool, axis: Any, keepdims: Any) -> Tensor:
    only, keep = _one_axis(op, input, dim, axis), kept(keepdim, keepdims)
    result: Tensor = getattr(T, op)(input, axis=only, keepdims=keep)
    return result


@public(TOP, METHOD)
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


@public(TOP, METHOD)
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


def _names_no_axis(dim: Any) -> bool:
    return isinstance(dim, tuple | list) and not dim


@public(TOP, METHOD)
def any(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """Whether any element over `dim` is true.

    With dim=() no axis is reduced (in other reductions that means all axes), as in PyTorch.
    """
    if _names_no_axis(dim if axis is None else axis):
        return input != 0
    return _reduce("any", input, dim, keepdim, axis, keepdims)


@public(TOP, METHOD)
def all(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """Whether all elements over `dim` are true.

    With dim=() no axis is reduced (in other reductions that means all axes), as in PyTorch.
    """
    if _names_no_axis(dim if axis is None else axis):
        return input != 0
    return _reduce("all", input, dim, keepdim, axis, keepdims)
