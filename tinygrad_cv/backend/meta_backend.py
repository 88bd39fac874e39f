"""The device "meta": what would be computed has a shape and a dtype, and takes no memory.

What reads a number, or has a shape that depends on numbers, is an error that says so.
"""

import math
import operator
from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn

import numpy as np

from tinygrad_cv.backend.base import ACCUMULATORS, DEFAULT, NAMESPACE, Backend
from tinygrad_cv.backend.meta_array import (
    NUMPY,
    MetaArray,
    axes_of,
    data_dependent,
    dtype_of,
    elementwise,
    images,
    is_mask,
    laid_out,
    reduced,
    reduction,
    same_shape,
)
from tinygrad_cv.backend.numpy_backend import ERRORS, IGNORED, NumpyBackend
from tinygrad_cv.backend.operand import parts
from tinygrad_cv.backend.strided import broadcast, indexed, reshaped
from tinygrad_cv.backend.windows import output_size

Array = Any
Ints = Sequence[int]


class MetaBackend(Backend):
    """No device at all, whose arrays have shapes and dtypes."""

    has_numbers = False
    active = NumpyBackend.active

    def __init__(self) -> None:
        super().__init__("meta")
        self.prepare, self.leave = ERRORS.get, ERRORS.set  # type: ignore[method-assign, assignment]
        self.enter = partial(ERRORS.set, IGNORED)  # type: ignore[method-assign, assignment]
        kinds = dict.fromkeys(REDUCTIONS, reduction) | dict.fromkeys(SAME_SHAPE, same_shape)
        for name in NAMESPACE:
            if name not in vars(type(self)):
                setattr(self, name, partial(kinds.get(name, elementwise), name))
        self.linalg = _Linalg()

    # ----- memory ----------------------------------------------------------------------------

    def array(self, data: Any, dtype: Any) -> Array:
        data = data if type(data) is MetaArray else NUMPY.array(data, dtype)
        return MetaArray(data.shape, data.dtype if dtype is None else dtype)

    def from_host(self, data: Any) -> Array:
        return self.array(data, None)

    def receive(self, array: Array, source: Backend) -> Array:
        return MetaArray(array.shape, array.dtype)

    def to_host(self, array: Array) -> Any:
        array.refused("reading the numbers")

    def to_dlpack(self, array: Array, copy: bool, stream: Any, max_version: Any) -> Any:
        array.refused("DLPack")

    def result(self, array: Any, dtype: Any) -> Array:
        if type(array) is not MetaArray:
            array = self.from_host(NUMPY.result(array, None))
        if array.dtype is dtype or array.dtype.kind != "f":
            return array
        return self.astype(array, DEFAULT.float if dtype is None else dtype, copy=False)

    def assign(self, array: Array, index: Any, value: Any) -> None:
        self.setitem(array, index, value)

    def owns(self, array: Array) -> bool:
        return array.base is None

    def is_view(self, array: Array, inputs: Sequence[Any]) -> bool:
        return array.base is not None or any(x is array for x in inputs)

    def shares_memory(self, a: Array, b: Array) -> bool:
        return self.address(a) == self.address(b)

    def address(self, array: Array) -> int:
        return id(array if array.base is None else array.base)

    # ----- views -----------------------------------------------------------------------------

    def getitem(self, x: Array, index: Any) -> Array:
        if is_mask(index):
            data_dependent("an index of truth values")
        shape, strides = indexed(x.shape, x.strides, parts(index))
        return MetaArray(shape, x.dtype) if strides is None else x.viewed(shape, strides)

    def setitem(self, x: Array, index: Any, value: Any) -> None:
        if is_mask(index):
            return  # what it changes is not known, and no shape follows from it
        shape, given = self.getitem(x, index).shape, np.shape(value)
        while len(given) > len(shape) and given[0] == 1:
            given = given[1:]
        broadcast(given, (0,) * len(given), shape)  # or an error

    def reshape(self, x: Array, shape: Any) -> Array:
        shape = np.broadcast_to(np.zeros(()), x.shape).reshape(shape).shape
        strides = reshaped(x.shape, x.strides, shape)
        return MetaArray(shape, x.dtype) if strides is None else x.viewed(shape, strides)

    def ravel(self, x: Array) -> Array:
        return self.reshape(x, -1)

    def flatten(self, x: Array) -> Array:
        return MetaArray((x.size,), x.dtype)

    def transpose(self, x: Array, axes: Any = None) -> Array:
        order = range(x.ndim)[::-1] if axes is None else axes_of(axes, x.ndim)
        return x.viewed([x.shape[i] for i in order], [x.strides[i] for i in order])

    def swapaxes(self, x: Array, a: int, b: int) -> Array:
        order = list(range(x.ndim))
        order[a], order[b] = order[b], order[a]
        return self.transpose(x, order)

    def moveaxis(self, x: Array, source: Any, destination: Any) -> Array:
        places = np.moveaxis(np.empty([1] * x.ndim), source, destination).ndim  # or an error
        moved = dict(zip(axes_of(destination, places), axes_of(source, places), strict=True))
        rest = iter(i for i in range(x.ndim) if i not in moved.values())
        return self.transpose(x, [moved[i] if i in moved else next(rest) for i in range(x.ndim)])

    def broadcast_to(self, x: Array, shape: Any) -> Array:
        shape = (shape,) if np.ndim(shape) == 0 else tuple(shape)
        return x.viewed(shape, broadcast(x.shape, x.strides, shape))

    def expand_dims(self, x: Array, axis: Any) -> Array:
        axes = axes_of(axis, x.ndim + np.size(axis))
        return x[tuple(None if i in axes else slice(None) for i in range(x.ndim + len(axes)))]

    def squeeze(self, x: Array, axis: Any = None) -> Array:
        axes = (
            [i for i, n in enumerate(x.shape) if n == 1] if axis is None else axes_of(axis, x.ndim)
        )
        return x[tuple(0 if i in axes else slice(None) for i in range(x.ndim))]

    def flip(self, x: Array, axis: Any = None) -> Array:
        axes = axes_of(axis, x.ndim)
        return x[tuple(slice(None, None, -1 if i in axes else 1) for i in range(x.ndim))]

    def diagonal(self, x: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
        a, b = axes_of((axis1, axis2), x.ndim)
        length = len(range(max(-offset, 0), min(x.shape[a], x.shape[b] - offset)))
        kept = [i for i in range(x.ndim) if i not in (a, b)]
        return x.viewed(
            [*(x.shape[i] for i in kept), length],
            [*(x.strides[i] for i in kept), x.strides[a] + x.strides[b]],
        )

    def trace(self, x: Array, *args: Any, **options: Any) -> Array:
        return self.sum(self.diagonal(x, *args, **options), axis=-1)

    def view(self, x: Array, dtype: Any) -> Array:
        size, base = np.dtype(dtype).itemsize, x if x.base is None else x.base
        if size == x.itemsize:
            return MetaArray(x.shape, dtype, x.strides, base)
        last = x.shape[-1] * x.itemsize // size
        return MetaArray((*x.shape[:-1], last), dtype, (*x.strides[:-1], size), base)

    # ----- copies ----------------------------------------------------------------------------

    def astype(self, x: Array, dtype: Any, copy: bool = True) -> Array:
        return x if x.dtype == dtype and not copy else laid_out(x, dtype)

    def copy(self, x: Array) -> Array:
        return MetaArray(x.shape, x.dtype)

    def full(self, shape: Any, value: Any, dtype: Any = None) -> Array:
        shape = (shape,) if np.ndim(shape) == 0 else shape
        return MetaArray(shape, dtype_of("full", ((), value, dtype), {}))

    def empty(self, shape: Any, dtype: Any = float) -> Array:
        return self.full(shape, 0, dtype)

    ones = zeros = empty

    def full_like(self, x: Array, value: Any, dtype: Any = None) -> Array:
        return self.astype(x, x.dtype if dtype is None else dtype)

    def zeros_like(self, x: Array, dtype: Any = None) -> Array:
        return self.full_like(x, 0, dtype)

    ones_like = zeros_like

    def eye(self, n: int, m: int | None = None, k: int = 0, dtype: Any = float) -> Array:
        return MetaArray((n, n if m is None else m), dtype)

    def arange(self, *ends: Any, dtype: Any = None) -> Array:
        start, stop, step = (0, *ends, 1) if len(ends) == 1 else (*ends, 1)[:3]
        dtype = np.arange(*(type(end)(1) for end in ends), dtype=dtype).dtype
        return MetaArray((max(0, math.ceil((stop - start) / step)),), dtype)

    def concatenate(self, xs: Sequence[Array], axis: int = 0) -> Array:
        if axis is None:
            xs, axis = [self.ravel(x) for x in xs], 0
        (axis,), first = axes_of(axis, xs[0].ndim), xs[0].shape
        if len({(*x.shape[:axis], *x.shape[axis + 1 :]) for x in xs}) > 1:
            raise ValueError(f"arrays of {[x.shape for x in xs]} do not fit along axis {axis}")
        shape = (*first[:axis], sum(x.shape[axis] for x in xs), *first[axis + 1 :])
        return MetaArray(shape, np.result_type(*(x.dtype for x in xs)))

    def stack(self, xs: Sequence[Array], axis: int = 0) -> Array:
        return self.concatenate([self.expand_dims(x, axis) for x in xs], axis)

    def tile(self, x: Array, times: Any) -> Array:
        times = (times,) if np.ndim(times) == 0 else tuple(times)
        rank = max(x.ndim, len(times))
        own = ((1,) * (rank - x.ndim) + x.shape, (1,) * (rank - len(times)) + times)
        return MetaArray(map(operator.mul, *own), x.dtype)

    def repeat(self, x: Array, repeats: Any, axis: int | None = None) -> Array:
        if type(repeats) is MetaArray:
            data_dependent("what is repeated as often as numbers say")
        x, axis = (self.ravel(x), 0) if axis is None else (x, axes_of(axis, x.ndim)[0])
        length = int(np.broadcast_to(repeats, x.shape[axis]).sum())
        return MetaArray((*x.shape[:axis], length, *x.shape[axis + 1 :]), x.dtype)

    def pad(self, x: Array, widths: Any, mode: str = "constant", **options: Any) -> Array:
        pairs = np.broadcast_to(widths, (x.ndim, 2)).tolist()
        return MetaArray([n + a + b for n, (a, b) in zip(x.shape, pairs, strict=True)], x.dtype)

    def take(self, x: Array, places: Any, axis: int | None = None) -> Array:
        x, axis = (self.ravel(x), 0) if axis is None else (x, axes_of(axis, x.ndim)[0])
        return MetaArray((*x.shape[:axis], *np.shape(places), *x.shape[axis + 1 :]), x.dtype)

    def take_along_axis(self, x: Array, places: Array, axis: int | None) -> Array:
        x, axis = (self.ravel(x), 0) if axis is None else (x, axes_of(axis, x.ndim)[0])
        around = [(1 if i == axis else n) for i, n in enumerate(x.shape)]
        return MetaArray(np.broadcast_shapes(tuple(around), places.shape), x.dtype)

    def nonzero(self, x: Array) -> NoReturn:
        data_dependent("nonzero")

    def where(self, condition: Array, *choices: Any) -> Array:
        return elementwise("where", condition, *choices) if choices else self.nonzero(condition)

    def unravel_index(self, places: Array, shape: Ints) -> tuple[Array, ...]:
        return tuple(MetaArray(places.shape, "int64") for _ in shape)

    def packbits(self, x: Array) -> Array:
        return MetaArray((math.ceil(x.size / 8),), "uint8")

    def unpackbits(self, x: Array) -> Array:
        return MetaArray((8 * x.size,), "uint8")

    # ----- products --------------------------------------------------------------------------

    def matmul(self, a: Array, b: Array) -> Array:
        if a.shape[-1] != b.shape[max(b.ndim - 2, 0)]:
            raise ValueError(f"matmul: {a.shape} and {b.shape} do not fit")
        stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        columns = b.shape[-1:] if b.ndim > 1 else ()
        return MetaArray((*stack, *a.shape[-2:-1], *columns), np.result_type(a.dtype, b.dtype))

    def tensordot(self, a: Array, b: Array, axes: Any = 2) -> Array:
        first, second = (range(-axes, 0), range(axes)) if isinstance(axes, int) else axes
        kept = reduced(a.shape, axes_of(first, a.ndim), False)
        kept += reduced(b.shape, axes_of(second, b.ndim), False)
        return MetaArray(kept, np.result_type(a.dtype, b.dtype))

    def einsum(self, equation: str, *xs: Array, optimize: Any = False) -> Array:
        terms, _, out = equation.replace(" ", "").partition("->")
        lengths: dict[str, int] = {}
        for term, x in zip(terms.split(","), xs, strict=True):
            for letter, n in zip(term, x.shape, strict=True):
                lengths[letter] = max(n, lengths.get(letter, 1)) if n else 0
        shape = [lengths[letter] for letter in out]
        return MetaArray(shape, np.result_type(*(x.dtype for x in xs)))

    # ----- kernels ---------------------------------------------------------------------------

    def conv(
        self, x: Array, w: Array, bias: Array | None, stride: Ints, padding: Ints, dilation: Ints,
        groups: int,
    ) -> Array:  # fmt: skip
        size = output_size(x.shape[2:], w.shape[2:], stride, padding, dilation)
        return images((len(x), len(w), *size), np.result_type(x.dtype, w.dtype))

    def conv_transpose(
        self, x: Array, w: Array, size: Ints, stride: Ints, padding: Ints, dilation: Ints,
        groups: int,
    ) -> Array:  # fmt: skip
        shape = (len(x), w.shape[1] * groups, *size)
        return images(shape, np.result_type(x.dtype, w.dtype))

    def conv_weight(
        self, x: Array, g: Array, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints,
        groups: int,
    ) -> Array:  # fmt: skip
        shape = (g.shape[1], x.shape[1] // groups, *kernel)
        return MetaArray(shape, np.result_type(x.dtype, g.dtype))

    def max_pool(
        self, x: Array, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints
    ) -> tuple[Array, Array]:
        shape = (*x.shape[:2], *output_size(x.shape[2:], kernel, stride, padding, dilation))
        place = np.min_scalar_type(math.prod(kernel) - 1)
        return images(shape, x.dtype, x), images(shape, place, x)

    def window_scatter(
        self, g: Array, index: Array, size: Ints, *steps: Ints, **named: Ints
    ) -> Array:
        return images((*g.shape[:2], *size), g.dtype, g)

    def window_gather(self, x: Array, index: Array, *steps: Ints, **named: Ints) -> Array:
        return images(index.shape, x.dtype, x)

    def window_sum(
        self, x: Array, kernel: Ints, stride: Ints, padding: Ints, divisor: int
    ) -> Array:
        size = output_size(x.shape[2:], kernel, stride, padding, (1,) * len(kernel))
        return images((*x.shape[:2], *size), x.dtype, x)

    def window_spread(
        self, g: Array, size: Ints, kernel: Ints, stride: Ints, padding: Ints, divisor: int
    ) -> Array:
        return images((*g.shape[:2], *size), g.dtype, g)

    def total(self, x: Array, axis: Any = None, keepdims: bool = False) -> Array:
        dtype = ACCUMULATORS.get(x.dtype.kind, x.dtype)
        return MetaArray(reduced(x.shape, axes_of(axis, x.ndim), keepdims), dtype)

    def moments(self, x: Array, axis: tuple[int, ...]) -> tuple[Array, Array]:
        mean = self.total(x, axis, keepdims=True)
        return mean, self.copy(mean)

    def batch_norm(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Array, Array]:
        channels = x.shape[1:2]
        mean, var = MetaArray(channels, "float64"), MetaArray(channels, "float64")
        return images(x.shape, x.dtype), mean, var

    def batch_norm_backward(
        self, g: Array, x: Array, weight: Array | None, mean: Array, var: Array, eps: float
    ) -> tuple[Array, Array, Array]:
        return self.batch_norm(x, weight, None, eps)

    def erf(self, x: Array) -> Array:
        return self.exp(x)

    erfc = erfinv = lgamma = erf

    def polygamma(self, n: int, x: Array) -> Array:
        return self.exp(x)

    def relu(self, x: Array) -> tuple[Array, Array]:
        return self.maximum(x, 0), self.greater(x, 0)

    def relu_backward(self, g: Array, positive: Array) -> Array:
        return self.where(positive, g, 0)

    def cross_entropy(self, x: Array, labels: Array) -> tuple[Array, Array, Array]:
        row = MetaArray((len(x), 1), x.dtype)
        return MetaArray((len(x),), x.dtype), row, self.copy(row)

    def cross_entropy_backward(
        self, g: Array, x: Array, labels: Array, top: Array, log_total: Array
    ) -> Array:
        return self.copy(x)

    def scatter_add(self, shape: Ints, index: Any, g: Array) -> Array:
        return MetaArray(shape, g.dtype)

    def draw(self, law: str, shape: tuple[int, ...], dtype: Any, generator: Any) -> Array:
        return MetaArray(shape, dtype)

    def sgd_step(self, *arrays: Any, **numbers: Any) -> None:
        """Nothing: the shapes of what is updated in place stay."""

    adam_step = sgd_step


class _Linalg:
    """numpy.linalg: what it gives for an empty stack of the matrices, as a stack of theirs."""

    def __getattr__(self, name: str) -> Any:
        function = getattr(np.linalg, name)
        if isinstance(function, type):  # LinAlgError
            return function

        def call(*xs: Any, **options: Any) -> Any:
            stack = np.broadcast_shapes(*(x.shape[:-2] for x in xs))
            found = function(*(np.empty((0, *x.shape[-2:]), x.dtype) for x in xs), **options)
            several = isinstance(found, tuple)
            made = [
                MetaArray((*stack, *y.shape[1:]), y.dtype) for y in (found if several else (found,))
            ]
            return tuple(made) if several else made[0]

        return call


REDUCTIONS = "all any argmax argmin count_nonzero max mean median min prod sum".split()  # noqa: SIM905
SAME_SHAPE = "argsort cumprod cumsum roll sort tril triu".split()  # noqa: SIM905

META = MetaArray.backend = MetaBackend()


def open_device(index: int) -> MetaBackend:
    """The backend of "meta", of which there is one."""
    return META
