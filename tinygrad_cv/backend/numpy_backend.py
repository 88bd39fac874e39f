"""NumPy in host memory, with the hot kernels threaded and cache-blocked."""

import math
from collections.abc import Callable, Sequence
from contextvars import Context, ContextVar, copy_context
from functools import cache, partial
from importlib import import_module
from sys import getrefcount
from typing import Any

import numpy as np

from tinygrad_cv.backend import windows
from tinygrad_cv.backend.base import ACCUMULATORS, DEFAULT, NAMESPACE, Backend
from tinygrad_cv.backend.threads import (
    WORTH_A_PART,
    by_products,
    is_below_threads,
    on_one_blas_thread,
    parallel,
    split,
)

Array = Any

NDARRAY, FLOAT32 = np.ndarray, np.dtype("float32")
RESULTS = (np.generic, int, float, np.ndarray)
"""What a forward may return: a number, too, and an array of a kind of its own."""


def _silence() -> tuple[ContextVar[Any], Any]:
    """Where NumPy keeps what it does about 1 / 0 and the like, and the value that says: nothing.

    `np.errstate` sets it as well, at four times the cost, which is more than that of a small op.
    """
    before = copy_context()
    with np.errstate(all="ignore"):
        inside: Context = copy_context()
    return next((v, x) for v, x in inside.items() if before.get(v) is not x)


ERRORS, IGNORED = _silence()


class _Quiet:
    """A context in which the values that floats have for 1 / 0 and 0 / 0 are no news."""

    __slots__ = ("before",)

    def __enter__(self) -> None:
        self.before = ERRORS.get()
        ERRORS.set(IGNORED)

    def __exit__(self, *error: object) -> None:
        ERRORS.set(self.before)


def _is_all_of(memory: Any, view: Array) -> bool:
    return (
        type(memory) is np.ndarray
        and memory.base is None
        and memory.nbytes == view.nbytes
        and view.flags.writeable
    )


def _holders(view: Array) -> int:
    """How many hold what a view looks at, in the words of `getrefcount`."""
    return getrefcount(view.base)


ONE = _holders(np.empty(1)[:])


class NumpyBackend(Backend):
    """The host, with NumPy's kernels: the reference."""

    conv = staticmethod(windows.conv)
    conv_transpose = staticmethod(windows.conv_transpose)
    conv_weight = staticmethod(windows.conv_weight)
    max_pool = staticmethod(windows.max_pool)
    window_scatter = staticmethod(windows.window_scatter)
    window_gather = staticmethod(windows.window_gather)
    window_sum = staticmethod(windows.window_sum)
    window_spread = staticmethod(windows.window_spread)

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        # On the object they are found sooner than in its class.
        self.prepare, self.leave = ERRORS.get, ERRORS.set  # type: ignore[method-assign, assignment]
        self.enter = partial(ERRORS.set, IGNORED)  # type: ignore[method-assign, assignment]
        for name in NAMESPACE:
            setattr(self, name, getattr(np, name))
        for name in ("floor_divide", "remainder", "fmod"):
            setattr(self, name, _by_no_zero(name))
        self.einsum, self.tensordot = _einsum, partial(on_one_blas_thread, np.tensordot)
        self.diagonal = _diagonal
        self.linalg = LINALG

    @property
    def active(self) -> _Quiet:  # type: ignore[override]
        return _Quiet()

    # ----- memory ----------------------------------------------------------------------------

    def array(self, data: Any, dtype: Any) -> Array:
        if type(data) is not NDARRAY and hasattr(data, "__array__"):
            data = np.asarray(data)  # many an __array__ knows no `copy`, and warns
        with _Quiet():
            array = np.array(data, dtype=dtype)
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))

    def from_host(self, data: Any) -> Array:
        return data

    def to_host(self, array: Array) -> Any:
        view = np.asarray(array).view()
        view.flags.writeable = False
        return view

    def to_dlpack(self, array: Array, copy: bool, stream: Any, max_version: Any) -> Any:
        version = {} if max_version is None else {"max_version": max_version}
        return (array.copy() if copy else self.to_host(array)).__dlpack__(**version)

    def from_dlpack(self, source: Any) -> Array:
        return self.array(np.from_dlpack(source), None)

    def result(self, array: Any, dtype: Any) -> Array:
        if type(array) is not NDARRAY:  # a full reduction gives a NumPy scalar
            if not isinstance(array, RESULTS):
                raise TypeError("Expected one array; several outputs are named: outputs = (...).")
            array = np.asarray(array)
        if array.dtype is dtype or array.dtype.kind != "f":
            return array
        return array.astype(DEFAULT.float if dtype is None else dtype, copy=False)

    def assign(self, array: Array, index: Any, value: Any) -> None:
        array[index] = value

    def lent(self, array: Array) -> Array:
        return self.to_host(array)

    def owns(self, array: Array) -> bool:
        if type(array) is not np.ndarray or array.base is None:
            return type(array) is np.ndarray
        # All of a memory that nobody else looks at is as good as one's own.
        return _is_all_of(array.base, array) and _holders(array) == ONE

    def is_view(self, array: Array, inputs: Sequence[Any]) -> bool:
        if array.base is not None:
            return True
        for x in inputs:  # noqa: SIM110  any() with a generator costs more than the loop
            if x is array:
                return True
        return False

    def lacks(self, array: Array, number: Any) -> bool:
        return not (array == number).any()

    def address(self, array: Array) -> int:
        return int(array.ctypes.data)

    def shares_memory(self, a: Array, b: Array) -> bool:
        if a.base is None and b.base is None:  # each has memory of its own
            return a is b
        return np.may_share_memory(a, b)

    # ----- matrix products -------------------------------------------------------------------

    def matmul(self, a: Array, b: Array) -> Array:
        rows, inner, columns = factors = a.shape[-2], a.shape[-1], b.shape[-1]
        if inner == 1 == b.shape[-2]:  # an outer product, at which BLAS is slow
            return np.multiply(a, b)
        is_small, is_stack = is_below_threads(*factors), a.ndim > 2 or b.ndim > 2
        if is_small and not is_stack:
            return np.matmul(a, b)
        if not is_stack and rows * inner * columns < 2 * WORTH_A_PART:
            return on_one_blas_thread(np.matmul, a, b)
        if is_stack:
            stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
            parts = by_products(stack[0], math.prod(stack) * math.prod(factors))
        else:
            stack, longer = (), max(rows, columns)
            # BLAS copies the shorter side anew for each part, so a part should be long.
            parts = by_products(longer, math.prod(factors), max(2, longer // 128))
        if len(parts) == 1 or inner != b.shape[-2]:
            return np.matmul(a, b) if is_small else on_one_blas_thread(np.matmul, a, b)
        out = np.empty((*stack, rows, columns), np.result_type(a, b))

        def work(part: slice) -> None:
            if is_stack:
                x, y = (z[part] if z.ndim == out.ndim and len(z) > 1 else z for z in (a, b))
                np.matmul(x, y, out=out[part])
            elif rows >= columns:
                np.matmul(a[part], b, out=out[part])
            else:
                np.matmul(a, b[:, part], out=out[:, part])

        parallel(work, parts, factors)
        return out

    # ----- sums ------------------------------------------------------------------------------

    def total(
        self, x: Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
    ) -> Array:
        dtype = ACCUMULATORS.get(x.dtype.kind)
        if x.nbytes <= windows.BLOCK_BYTES:
            return x.sum(axis=axis, dtype=dtype, keepdims=keepdims)
        given = range(x.ndim) if axis is None else np.atleast_1d(axis) % x.ndim
        summed = [i in given for i in range(x.ndim)]
        y = _sum_of_blocks(x, summed, dtype)
        if not keepdims:
            return y
        return y.reshape([1 if s else n for s, n in zip(summed, x.shape, strict=True)])

    def moments(self, x: Array, axis: tuple[int, ...]) -> tuple[Array, Array]:
        count = math.prod(x.shape[i] for i in axis)
        mean = self.total(x, axis, keepdims=True) / count
        if x.dtype == np.float64:  # where a sum of equal numbers is rounded
            mean += self.total(x - mean, axis, keepdims=True) / count

        def variance(x: Array) -> Array:
            center = mean.astype(x.dtype)
            deviation = x - center
            with np.errstate(over="ignore"):
                deviation *= deviation
            return self.total(deviation, axis, keepdims=True) / count - (center - mean) ** 2

        var = variance(x)
        if not np.isfinite(var).all():  # deviations from 10¹⁹ on: their squares are beyond float32
            var = variance(x.astype(np.float64))
        return mean, np.maximum(var, 0)

    # ----- normalization ---------------------------------------------------------------------

    def batch_norm(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Array, Array]:
        rows = rows_of(x)
        mean, var = _moments(rows)
        scale = 1 / np.sqrt(var + eps)
        if weight is not None:
            scale = scale * weight
        # (x - mean)·scale + bias; what the rounding of the mean leaves of it goes to the bias.
        center = mean.astype(rows.dtype)
        shift = (center - mean) * np.where(np.isfinite(scale), scale, 0)
        if bias is not None:
            shift = shift + bias
        y = np.empty_like(rows)

        def work(out: Array, x: Array, center: Array, scale: Array, shift: Array) -> None:
            np.subtract(x, center, out=out)
            out *= scale
            out += shift

        _in_wide_rows(work, (y, rows), (center, scale, shift))
        return images_of(y, x.shape), mean, var

    def batch_norm_backward(
        self, g: Array, x: Array, weight: Array | None, mean: Array, var: Array, eps: float
    ) -> tuple[Array, Array, Array]:
        g_rows, rows = rows_of(g), rows_of(x)
        inverse = 1 / np.sqrt(var + eps)
        center = mean.astype(rows.dtype)

        def sums(g: Array, x: Array, center: Array) -> tuple[Array, Array]:
            return _short_sums(g), _short_sums(x - center, g)

        parts = _in_wide_rows(sums, (g_rows, rows), (center,))
        bias_gradient = sum(part[0] for part in parts)
        products = sum(part[1] for part in parts) + (center - mean) * bias_gradient
        weight_gradient = products * inverse
        # dx = a·(g - mean(g) - x̂·mean(g·x̂)) = a·(g - (x - center)·b - c), per channel
        a = inverse if weight is None else inverse * weight
        b = inverse * weight_gradient / len(rows)
        c = bias_gradient / len(rows) + (center - mean) * b
        dx = np.empty_like(rows)

        def work(
            out: Array, g: Array, x: Array, center: Array, a: Array, b: Array, c: Array
        ) -> None:
            np.subtract(x, center, out=out)
            out *= b
            rest = g - c
            np.subtract(rest, out, out=out)
            out *= a

        _in_wide_rows(work, (dx, g_rows, rows), (center, a, b, c))
        return images_of(dx, x.shape), weight_gradient, bias_gradient

    # ----- elementwise -----------------------------------------------------------------------

    def relu(self, x: Array) -> tuple[Array, Array]:
        if x.nbytes <= windows.BLOCK_BYTES:  # in the cache
            y = np.asarray(np.maximum(x, 0))
            return y, np.asarray(y > 0)
        y, positive = np.empty_like(x), np.empty_like(x, dtype=bool)

        def work(y: Array, x: Array, positive: Array) -> None:
            np.maximum(x, 0, out=y)
            np.greater(y, 0, out=positive)

        _in_flat_parts(work, y, x, positive)
        return y, positive

    def relu_backward(self, g: Array, positive: Array) -> Array:
        if g.nbytes <= windows.BLOCK_BYTES:
            return np.where(positive, g, 0)
        out = np.empty_like(g)
        bits = windows.bits

        def work(out: Array, g: Array, positive: Array) -> None:
            np.multiply(bits(g), positive, out=bits(out))

        _in_flat_parts(work, out, g, positive)
        return out

    # ----- loss ------------------------------------------------------------------------------

    def below(self, x: Array, top: Array) -> Array:
        return super().below(x, top) if math.inf in top else x - top

    def cross_entropy(self, x: Array, labels: Array) -> tuple[Array, Array, Array]:
        classes = x.shape[1]
        if labels.size and (labels.min() < 0 or labels.max() >= classes):
            wrong = labels[(labels < 0) | (labels >= classes)]
            raise ValueError(
                f"cross_entropy: label {wrong[0]} is out of range for scores {x.shape}: "
                f"{classes} classes are numbered 0 to {classes - 1}."
            )
        top = x.max(axis=1, keepdims=True)
        shifted = self.below(x, top)
        log_total = self.log_total(shifted, 1)
        own = np.arange(len(labels)), labels
        return log_total[:, 0] - shifted[own], top, log_total

    def cross_entropy_backward(
        self, g: Array, x: Array, labels: Array, top: Array, log_total: Array
    ) -> Array:
        log_p = self.below(x, top)
        log_p -= log_total
        own = np.arange(len(labels)), labels  # each row once
        less_1 = np.expm1(log_p[own])  # p - 1, however close to 1 p is
        gradient = np.exp(log_p, out=log_p)
        gradient[own] = less_1
        gradient *= g[:, None]
        return gradient

    # ----- special functions: SciPy's, imported when the first is needed ----------------------

    def erf(self, x: Array) -> Array:
        return _special().erf(x)

    def erfc(self, x: Array) -> Array:
        return _special().erfc(x)

    def erfinv(self, x: Array) -> Array:
        return _special().erfinv(x)

    def lgamma(self, x: Array) -> Array:
        return _special().gammaln(x)

    def polygamma(self, n: int, x: Array) -> Array:
        return _special().digamma(x) if n == 0 else _special().polygamma(n, x).astype(x.dtype)

    # ----- index, random numbers, updates ----------------------------------------------------

    def scatter_add(self, shape: Sequence[int], index: Any, g: Array) -> Array:
        parts = index if isinstance(index, tuple) else (index,)
        if not any(isinstance(part, np.ndarray) for part in parts):
            total = np.zeros(shape, g.dtype)
            total[index] = g  # a basic index names each place once
            return total
        places = _places(tuple(shape), index).ravel()
        size = math.prod(shape)
        if g.dtype.kind == "f" and g.size:  # of nothing it gives integers
            return np.bincount(places, g.ravel(), minlength=size).reshape(shape)
        total = np.zeros(size, g.dtype)
        np.add.at(total, places, g.ravel())
        return total.reshape(shape)

    def top(self, x: Array, k: int, largest: bool) -> Array:
        n = x.shape[-1]
        if not 0 < k < n // 8:
            return super().top(x, k, largest)
        place = n - k if largest else k - 1
        last = np.partition(x, place, axis=-1)[..., place, None]
        candidates = x >= last if largest else x <= last
        # Others may equal the last one that is wanted, and come before it; and nan equals nothing.
        if (np.count_nonzero(candidates, axis=-1) != k).any():
            return super().top(x, k, largest)
        chosen = np.nonzero(candidates)[-1].reshape(*x.shape[:-1], k)
        values = np.take_along_axis(x, chosen, -1)
        return np.take_along_axis(chosen, super().top(values, k, largest), -1)

    def draw(
        self, law: str, shape: tuple[int, ...], dtype: Any, generator: np.random.Generator
    ) -> Array:
        if law == "uniform":
            return generator.random(shape, dtype=dtype)
        return generator.standard_normal(shape, dtype=dtype)

    def sgd_step(
        self,
        p: Array,
        g: Array,
        velocity: Array | None,
        lr: float,
        momentum: float,
        dampening: float,
        weight_decay: float,
        nesterov: bool,
    ) -> None:
        g = _penalized(p, g, weight_decay)
        if velocity is not None:
            velocity *= momentum
            velocity += g * (1 - dampening) if dampening else g
            g = g + momentum * velocity if nesterov else velocity
        p -= lr * g

    def adam_step(
        self,
        p: Array,
        g: Array,
        m: Array,
        v: Array,
        step: float,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        largest: Array | None = None,
        kept: float = 1.0,
    ) -> None:
        if kept != 1:
            p *= kept
        g = _penalized(p, g, weight_decay)
        m *= betas[0]
        m += (1 - betas[0]) * g
        v *= betas[1]
        v += (1 - betas[1]) * (g * g)
        if largest is not None:
            v = np.maximum(largest, v, out=largest)
        # The moments start at zero; dividing by 1 - betaᵗ takes that bias out.
        denominator = np.sqrt(v / (1 - betas[1] ** step))
        denominator += eps
        p -= (lr / (1 - betas[0] ** step)) * m / denominator


def _diagonal(array: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """A diagonal as a view that can be written to wherever the array can."""
    view = np.diagonal(array, offset, axis1, axis2)
    view.flags.writeable = array.flags.writeable
    return view


def _by_no_zero(name: str) -> Callable[[Array, Array], Array]:
    """A division with a remainder that does not say 0 where an integer is divided by 0."""
    divide = getattr(np, name)

    def checked(x: Array, divisor: Array) -> Array:
        kinds = {np.asarray(value).dtype.kind for value in (x, divisor)}
        if kinds <= {"b", "i", "u"} and not np.all(divisor):
            raise ZeroDivisionError(
                f"{name}: an integer was divided by 0, and no integer is infinite or NaN. Convert "
                "it to a float first: x.float()."
            )
        return divide(x, divisor)

    return checked


def _einsum(*operands: Any, **options: Any) -> Array:
    """np.einsum, which leaves products to BLAS where it may choose their order."""
    if options.get("optimize"):
        return on_one_blas_thread(np.einsum, *operands, **options)
    return np.einsum(*operands, **options)


class _Linalg:
    """numpy.linalg on one thread of BLAS, whose number would show in the last bits.

    What iterates refuses inf and NaN, with which LAPACK may go on for ever.
    """

    def __getattr__(self, name: str) -> Any:
        function = getattr(np.linalg, name)
        if isinstance(function, type):  # LinAlgError
            return function
        if name in ("eig", "eigh", "eigvalsh", "svd"):
            function = self._finite(function)
        setattr(self, name, partial(on_one_blas_thread, function))
        return getattr(self, name)

    @staticmethod
    def _finite(function: Callable[..., Any]) -> Callable[..., Any]:
        def checked(x: Array, *args: Any, **options: Any) -> Any:
            if not np.isfinite(x).all():
                raise np.linalg.LinAlgError("inf or NaN among the numbers")
            return function(x, *args, **options)

        return checked


LINALG = _Linalg()


def _penalized(p: Array, g: Array, weight_decay: float) -> Array:
    """g + weight_decay · p in the dtype of p, or in float32 if that is wider."""
    if p.dtype.itemsize < FLOAT32.itemsize:
        p, g = p.astype(FLOAT32), g.astype(FLOAT32)
    return g + weight_decay * p if weight_decay else g


@cache
def _special() -> Any:
    return import_module("scipy.special")


# ----- sums --------------------------------------------------------------------------------------


def _sum_of_blocks(x: Array, summed: Sequence[bool], dtype: Any) -> Array:
    """Σ x over some axes, block by block over the worker threads.

    The axes are taken in the order of the memory, and neighbours that share their fate as one. The
    blocks are the same for any number of workers, and so is the result.
    """
    order = sorted(range(x.ndim), key=lambda i: -abs(x.strides[i]))
    rows, gone = joined_axes(x.transpose(order), [summed[i] for i in order])
    count = math.ceil(x.nbytes / windows.BLOCK_BYTES)
    axes = tuple(i for i, s in enumerate(gone) if s)
    results = math.prod(n for n, s in zip(rows.shape, gone, strict=True) if not s)
    few = count * results <= x.size // 8  # partial sums, where a summed axis is cut
    cuts = (i for i, n in enumerate(rows.shape) if n >= count and (few or not gone[i]))
    cut = next(cuts, int(np.argmax(rows.shape)))

    def work(part: slice) -> Array:
        block = rows[(slice(None),) * cut + (part,)]
        if axes == (0,) and block.ndim == 2:
            return _sum_of_rows(block, dtype)
        return np.add.reduce(block, axis=axes, dtype=dtype)

    parts = parallel(work, split(rows.shape[cut], count))
    if gone[cut]:
        y = np.asarray(sum(parts[1:], parts[0]))
    else:
        y = np.concatenate(parts, axis=gone[:cut].count(False))
    kept = [i for i in order if not summed[i]]
    return y.reshape([x.shape[i] for i in kept]).transpose(np.argsort(kept))


def joined_axes(x: Array, flags: Sequence[bool]) -> tuple[Array, list[bool]]:
    """A view in which neighbouring axes with the same flag are one, where the memory allows it."""
    shape, strides, joined = [x.shape[0]], [x.strides[0]], [flags[0]]
    for n, stride, flag in zip(x.shape[1:], x.strides[1:], flags[1:], strict=True):
        if flag == joined[-1] and strides[-1] == n * stride:
            shape[-1], strides[-1] = shape[-1] * n, stride
        else:
            shape, strides, joined = [*shape, n], [*strides, stride], [*joined, flag]
    return x.reshape(shape), joined


def _sum_of_rows(rows: Array, dtype: Any) -> Array:
    """The sum over the first of two axes. Short rows are joined, to lengthen the inner loop."""
    count, width = rows.shape
    fold = max(1, 64 // width)
    whole = count - count % fold
    wide = np.add.reduce(rows[:whole].reshape(-1, fold * width), axis=0, dtype=dtype)
    rest = np.add.reduce(rows[whole:], axis=0, dtype=dtype)
    return wide.reshape(fold, width).sum(0) + rest


def _places(shape: tuple[int, ...], index: Any) -> Array:
    """The row-major number of each place that an index of arrays names in an array of `shape`.

    That is the sum of what each axis adds to it, read by the index from arrays without memory.
    """
    total: Array = 0 if shape else np.asarray(np.zeros((), "int64")[index])
    for axis, n in enumerate(shape):
        steps = np.arange(n) * math.prod(shape[axis + 1 :])
        steps = steps.reshape(-1, *(1,) * (len(shape) - axis - 1))
        total = total + np.broadcast_to(steps, shape)[index]
    return total


# ----- channels as columns -----------------------------------------------------------------------


def rows_of(x: Array) -> Array:
    """(N, C, *S) -> (N·S, C), contiguous; no copy of an array that lies channels-last."""
    return windows.channels_last(x).reshape(-1, x.shape[1])


def images_of(rows: Array, shape: tuple[int, ...]) -> Array:
    """(N·S, C) -> (N, C, *S), a view."""
    return windows.channels_first(rows.reshape(shape[0], *shape[2:], shape[1]))


def _in_wide_rows(
    work: Callable[..., Any], arrays: Sequence[Array], vectors: Sequence[Array]
) -> list[Any]:
    """`work(*blocks, *vectors)` for blocks of the (rows, C) arrays, over the worker threads.

    A row of C numbers is a short inner loop, so rows are joined: (rows, C) is viewed as
    (rows/k, k·C) and the vectors, in the dtype of the arrays, are repeated k times. Results that
    have a value for each of the k·C columns are folded back to C.
    """
    count, channels = arrays[0].shape
    fold = next(k for k in (8, 4, 2, 1) if count % k == 0)
    wide = [a.reshape(count // fold, fold * channels) for a in arrays]
    tiled = [np.tile(v.astype(arrays[0].dtype, copy=False), fold) for v in vectors]
    bytes_each = sum(a.itemsize for a in arrays) * fold * channels

    def run(part: slice) -> Any:
        result = work(*(a[part] for a in wide), *tiled)
        return result and tuple(r.reshape(fold, channels).sum(0) for r in result)

    return parallel(run, windows.batch_parts(count // fold, bytes_each))


def _moments(rows: Array) -> tuple[Array, Array]:
    """Mean and biased variance of each column in one pass over the memory, in float64.

    Each block gives its count, its mean and its sum of squared deviations; the blocks are joined
    by the parallel formula of Chan, Golub and LeVeque (1979), which never subtracts large squares.
    What is added up is what x differs by from the mean of the first rows: equal numbers have their
    value as the mean, whatever their number, and the variance 0.
    """
    count, channels = rows.shape
    parts = windows.batch_parts(count, channels * rows.itemsize)

    def work(part: slice, dtype: Any = rows.dtype) -> tuple[int, Array, Array]:
        block = rows[part].astype(dtype, copy=False)
        fold = next(k for k in (8, 4, 2, 1) if len(block) % k == 0)
        # (rows, C) -> (rows/k, k·C), as in _in_wide_rows
        wide = block.reshape(len(block) // fold, fold * channels)

        def average(*factors: Array) -> Array:
            return _short_sums(*factors).reshape(fold, channels).sum(0) / len(block)

        with np.errstate(over="ignore", invalid="ignore"):
            first = block[:32].mean(0)
            deviation = wide - np.tile(first, fold)
            rest = average(deviation)
            rounded = rest.astype(dtype)
            deviation -= np.tile(rounded, fold)
            squares = average(deviation, deviation) - (rounded - rest) ** 2
        return len(block), first + rest, squares

    blocks = parallel(work, parts)
    if not all(np.isfinite(squares).all() for _, _, squares in blocks):
        # Deviations from 10¹⁹ on: their squares are beyond float32.
        blocks = parallel(lambda part: work(part, np.float64), parts)
    _, first, _ = blocks[0]
    mean = first + sum(n * (m - first) for n, m, _ in blocks) / count
    var = sum(n * (s + (m - mean) ** 2) for n, m, s in blocks) / count
    return np.asarray(mean), np.maximum(var, 0)


def _short_sums(x: Array, *y: Array) -> Array:
    """Σ x or Σ x·y over the first axis in float64, of sums of 32 terms in the dtype of x."""
    whole, width = len(x) - len(x) % 32, x.shape[1]
    form = "ij,ij->j" if y else "ij->j"
    # Each sum is over rows far apart, for a long inner loop.
    runs = np.einsum(form, *(a[:whole].reshape(32, -1) for a in (x, *y)))
    rest = np.einsum(form, *(a[whole:] for a in (x, *y)))
    return np.add.reduce(runs.reshape(-1, width), axis=0, dtype=np.float64) + rest


def _steps(x: Array) -> list[int]:
    """The strides in elements."""
    return [stride // x.itemsize for stride in x.strides]


def _in_flat_parts(work: Callable[..., Any], *arrays: Array) -> None:
    """`work` on blocks of arrays that share shape and layout, over the worker threads."""
    first = arrays[0]
    if first.nbytes * len(arrays) <= windows.BLOCK_BYTES or not all(
        _steps(a) == _steps(first) for a in arrays
    ):
        work(*arrays)
        return
    order = sorted(range(first.ndim), key=lambda axis: -first.strides[axis])
    flat = [a.transpose(order) for a in arrays]
    parts = windows.batch_parts(flat[0].shape[0], first.nbytes * len(arrays) // flat[0].shape[0])
    parallel(lambda part: work(*(a[part] for a in flat)), parts)
