"""CuPy on an NVIDIA GPU.

The library comes in as `cp`, so that a stand-in with CuPy's rules can take its place in tests
(see testing/fakecuda.py). What happens to all arrays alike is CuPy's; the few kernels that it
lacks stand in kernels.py.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from importlib import import_module
from typing import Any

import numpy as np

from tinygrad_cv.backend import kernels
from tinygrad_cv.backend.base import ACCUMULATORS, DEFAULT, NAMESPACE, Backend
from tinygrad_cv.backend.windows import output_size

Array = Any
Ints = Sequence[int]

COLUMN_BYTES = 1 << 28
"""The most memory that the windows of a convolution take at a time."""

THREADS, MOST_BLOCKS = 256, 1 << 16
"""How a raw kernel is launched; a thread walks on where there are more elements than threads."""

CREATION = (
    "arange",
    "empty",
    "eye",
    "full",
    "full_like",
    "ones",
    "ones_like",
    "zeros",
    "zeros_like",
)
"""The functions of the namespace that are called outside an op too."""


def open_device(index: int) -> "CupyBackend":
    """The backend of a GPU. Raises an error that says what is missing."""
    try:
        import cupy
    except ImportError as error:
        raise ModuleNotFoundError(
            "device 'cuda' needs CuPy: pip install 'tinygrad_cv[cuda]' (for a driver of CUDA 12: "
            "pip install cupy-cuda12x)."
        ) from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise RuntimeError(
            f"device 'cuda': CuPy {cupy.__version__} is installed, and found no NVIDIA driver and "
            f"card to work with ({error})."
        ) from error
    return CupyBackend(cupy, import_module("cupyx.scipy.special"), "cuda", index, count)


def count() -> int:
    """How many GPUs there are; 0 without CuPy."""
    try:
        import cupy

        return int(cupy.cuda.runtime.getDeviceCount())
    except ImportError:
        return 0
    except cupy.cuda.runtime.CUDARuntimeError:
        return 0


def _on_device(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of the backend that is called outside an op, and makes its device the active one."""

    @wraps(method)
    def wrapped(self: "CupyBackend", *args: Any, **options: Any) -> Any:
        with self.active:
            return method(self, *args, **options)

    return wrapped


class CupyBackend(Backend):
    """One GPU, "cuda:0" and so on."""

    def __init__(self, cp: Any, special: Any, kind: str, index: int, count: int) -> None:
        if index >= count:
            raise ValueError(
                f"device '{kind}:{index}' is not there: this machine has {count}, numbered from "
                f"'{kind}:0'."
            )
        super().__init__(f"{kind}:{index}")
        self.cp, self.special, self.active = cp, special, cp.cuda.Device(index)
        self._compiled: dict[tuple[str, str], Any] = {}
        for name in NAMESPACE:
            setattr(self, name, getattr(cp, name))
        for name in CREATION:
            setattr(self, name, self._here(getattr(cp, name)))

    def _here(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            with self.active:
                return function(*args, **options)

        return wrapped

    # ----- the card --------------------------------------------------------------------------

    def properties(self) -> dict[str, Any]:
        """What is known of the card."""
        found = self.cp.cuda.runtime.getDeviceProperties(self.device.index)
        names = ("major", "minor", "multiProcessorCount", "totalGlobalMem")
        major, minor, processors, memory = (found[name] for name in names)
        return {
            "name": found["name"].decode(),
            "major": major,
            "minor": minor,
            "multi_processor_count": processors,
            "total_memory": memory,
        }

    def synchronize(self) -> None:
        """Wait until it has done all that it was given."""
        self.cp.cuda.Device(self.device.index).synchronize()

    @_on_device
    def memory(self) -> tuple[int, int]:
        """The bytes that are free, and all of them."""
        free, total = self.cp.cuda.runtime.memGetInfo()
        return free, total

    @_on_device
    def pool(self) -> Any:
        """The pool of the card's memory."""
        return self.cp.get_default_memory_pool()

    # ----- memory ----------------------------------------------------------------------------

    @_on_device
    def array(self, data: Any, dtype: Any) -> Array:
        if not isinstance(data, self.cp.ndarray):
            data = np.asarray(data, dtype=dtype)
            data = data if data.dtype.isnative else data.astype(data.dtype.newbyteorder("="))
        return self.cp.array(data, dtype=dtype)

    def from_host(self, data: Any) -> Array:
        return self.array(data, None)

    def to_host(self, array: Array) -> Any:
        values = array.get()
        values.flags.writeable = False
        return values

    def receive(self, array: Array, source: Backend) -> Array:
        if isinstance(source, CupyBackend) and source.cp is self.cp:
            return self.array(array, None)  # from one card to the other
        return super().receive(array, source)

    @_on_device
    def to_dlpack(self, array: Array, copy: bool, stream: Any, max_version: Any) -> Any:
        if not copy:
            raise BufferError(
                f"DLPack: the memory of {self.device} cannot be marked as not to be written to, so "
                "it is copied; ask for a copy."
            )
        return array.copy().__dlpack__(stream=stream)

    @_on_device
    def from_dlpack(self, source: Any) -> Array:
        return self.array(self.cp.from_dlpack(source), None)

    def result(self, array: Any, dtype: Any) -> Array:
        if not isinstance(array, self.cp.ndarray):
            if not isinstance(array, int | float | np.generic):
                raise TypeError(
                    f"Expected one array on {self.device}: its forward must stay on the device. "
                    "Use the functions of `xp`, and no other array library; several outputs are "
                    "named: outputs = (...)."
                )
            return self.array(array, None if isinstance(array, int) else dtype or DEFAULT.float)
        wanted = DEFAULT.float if dtype is None else dtype
        return array if array.dtype.kind != "f" or array.dtype == wanted else array.astype(wanted)

    @_on_device
    def assign(self, array: Array, index: Any, value: Any) -> None:
        if array.size and 0 in [
            s for n, s in zip(array.shape, array.strides, strict=True) if n > 1
        ]:
            raise ValueError("the destination is read-only")  # CuPy would write all the same
        array[index] = value

    def owns(self, array: Array) -> bool:
        return array.base is None

    def is_view(self, array: Array, inputs: Sequence[Any]) -> bool:
        return array.base is not None or any(x is array for x in inputs)

    def address(self, array: Array) -> int:
        return int(array.data.ptr)

    def shares_memory(self, a: Array, b: Array) -> bool:
        return a is b or bool(self.cp.may_share_memory(a, b))

    # ----- our kernels -----------------------------------------------------------------------

    def _run(self, kernel: kernels.Elementwise | kernels.Reduction, *args: Any, **axes: Any) -> Any:
        key = (kernel.name, "")
        if key not in self._compiled:
            self._compiled[key] = (
                self.cp.ElementwiseKernel(kernel.inputs, kernel.outputs, kernel.body, kernel.name)
                if isinstance(kernel, kernels.Elementwise)
                else self.cp.ReductionKernel(
                    kernel.inputs,
                    kernel.outputs,
                    kernel.map,
                    kernel.reduce,
                    kernel.post,
                    kernel.identity,
                    kernel.name,
                )
            )
        return self._compiled[key](*args, **axes)

    def _launch(self, kernel: kernels.RawKernel, dtype: Any, count: int, *args: Any) -> None:
        """A raw kernel on `count` elements; a Python integer becomes C's int."""
        if count == 0:
            return
        key = (kernel.name, dtype.name)
        if key not in self._compiled:
            self._compiled[key] = self.cp.RawKernel(kernel.code(dtype), kernel.name)
        blocks = min(math.ceil(count / THREADS), MOST_BLOCKS)
        typed = tuple(np.int32(a) if isinstance(a, int) else a for a in args)
        self._compiled[key]((blocks,), (THREADS,), typed)

    def _plain(self, x: Array) -> Array:
        """The array in row-major order, in a dtype that our raw kernels compute in."""
        if x.dtype.name not in kernels.TYPES and x.dtype.kind in "fiub":
            x = x.astype(np.float32 if x.dtype.kind == "f" else np.int64)
        return self.cp.ascontiguousarray(x)

    def _pair(self, a: Array, b: Array) -> tuple[Any, Array, Array]:
        """The dtype of a product of two arrays, and both as our raw kernels take them."""
        dtype = self.cp.result_type(a, b)
        a, b = (self._plain(x.astype(dtype, copy=False)) for x in (a, b))
        return dtype, a, b

    # ----- convolution -----------------------------------------------------------------------

    def _columns(
        self,
        x: Array,
        kernel: Ints,
        out: Ints,
        stride: Ints,
        padding: Ints,
        dilation: Ints,
        groups: int,
    ) -> Iterator[tuple[slice, Array]]:
        """Some images at a time: their place, and their windows (G, C/G·K, n·S') (im2col)."""
        numbers = kernels.geometry(x.shape[2:], out, kernel, stride, padding, dilation)
        for part in self._parts(x, kernel, out):
            images = x[part]
            n, c = images.shape[:2]
            columns = self.cp.empty(
                (groups, c // groups * math.prod(kernel), n * math.prod(out)), x.dtype
            )
            threads = c * n * math.prod(out)  # each walks over the taps of one window
            self._launch(kernels.IM2COL, x.dtype, threads, images, columns, n, c, *numbers)
            yield part, columns

    def _parts(self, x: Array, kernel: Ints, out: Ints) -> Iterator[slice]:
        """The batch in parts whose windows fit into COLUMN_BYTES."""
        each = x.shape[1] * math.prod(kernel) * math.prod(out) * x.itemsize
        step = max(1, COLUMN_BYTES // max(1, each))
        for start in range(0, len(x), step):
            yield slice(start, min(start + step, len(x)))

    def _maps(self, y: Array, part: slice, groups: int) -> Array:
        """(N, O, *S') -> for some images a copy (G, O/G, n·S'), an operand for each group."""
        n = part.stop - part.start
        split = y[part].reshape(n, groups, y.shape[1] // groups, -1)
        return split.transpose(1, 2, 0, 3).reshape(groups, y.shape[1] // groups, -1)

    def conv(
        self,
        x: Array,
        w: Array,
        bias: Array | None,
        stride: Ints,
        padding: Ints,
        dilation: Ints,
        groups: int,
    ) -> Array:
        dtype, x, w = self._pair(x, w)
        kernel, each = w.shape[2:], w.shape[0] // groups
        out = output_size(x.shape[2:], kernel, stride, padding, dilation)
        weights = w.reshape(groups, each, -1)
        y = self.cp.empty((len(x), groups, each, math.prod(out)), x.dtype)
        for part, columns in self._columns(x, kernel, out, stride, padding, dilation, groups):
            for group in range(groups):
                product = self.cp.dot(weights[group], columns[group])  # (O/G, n·S')
                y[part, group] = product.reshape(each, -1, math.prod(out)).swapaxes(0, 1)
        y = y.reshape(len(x), groups * each, *out)
        if bias is not None:
            y += bias.reshape(-1, *(1,) * len(kernel))
        return y.astype(dtype, copy=False)

    def conv_transpose(
        self,
        x: Array,
        w: Array,
        size: Ints,
        stride: Ints,
        padding: Ints,
        dilation: Ints,
        groups: int,
    ) -> Array:
        dtype, x, w = self._pair(x, w)
        kernel, small = w.shape[2:], x.shape[2:]
        weights = w.reshape(groups, w.shape[0] // groups, -1)  # (G, O/G, C/G·K)
        channels = groups * w.shape[1]
        y = self.cp.empty((len(x), channels, *size), x.dtype)
        numbers = kernels.geometry(size, small, kernel, stride, padding, dilation)
        for part in self._parts(y, kernel, small):
            images = y[part]
            maps = self._maps(x, part, groups)
            columns = self.cp.empty((groups, weights.shape[2], maps.shape[2]), x.dtype)
            for group in range(groups):
                columns[group] = self.cp.dot(weights[group].T, maps[group])
            counts = (len(images), channels)
            self._launch(kernels.COL2IM, x.dtype, images.size, columns, images, *counts, *numbers)
        return y.astype(dtype, copy=False)

    def conv_weight(
        self,
        x: Array,
        g: Array,
        kernel: Ints,
        stride: Ints,
        padding: Ints,
        dilation: Ints,
        groups: int,
    ) -> Array:
        dtype, x, g = self._pair(x, g)
        outputs, channels, out = g.shape[1], x.shape[1] // groups, g.shape[2:]
        width = channels * math.prod(kernel)
        total = self.cp.zeros((groups, outputs // groups, width), x.dtype)
        for part, columns in self._columns(x, kernel, out, stride, padding, dilation, groups):
            maps = self._maps(g, part, groups)
            for group in range(groups):
                total[group] += self.cp.dot(maps[group], columns[group].T)
        return total.reshape(outputs, channels, *kernel).astype(dtype, copy=False)

    # ----- pooling ---------------------------------------------------------------------------

    def _pool(
        self,
        kernel: kernels.RawKernel,
        given: Sequence[Array],
        shape: Ints,
        numbers: Ints,
        *divisor: int,
    ) -> Array:
        """A pooling kernel from arrays (N, C, ...) to one of `shape`, in the first's dtype."""
        source = self._plain(given[0])
        y = self.cp.empty(tuple(shape), source.dtype)
        places = [self.cp.ascontiguousarray(index.astype(np.int32)) for index in given[1:]]
        planes = y.shape[0] * y.shape[1]
        self._launch(kernel, y.dtype, y.size, source, *places, y, planes, *divisor, *numbers)
        return y.astype(given[0].dtype, copy=False)

    def max_pool(
        self, x: Array, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints
    ) -> tuple[Array, Array]:
        source = self._plain(x)
        out = output_size(x.shape[2:], kernel, stride, padding, dilation)
        y = self.cp.empty((*x.shape[:2], *out), source.dtype)
        index = self.cp.empty(y.shape, np.int32)
        numbers = kernels.geometry(x.shape[2:], out, kernel, stride, padding, dilation)
        planes = x.shape[0] * x.shape[1]
        self._launch(kernels.MAX_POOL, y.dtype, y.size, source, y, index, planes, *numbers)
        return y.astype(x.dtype, copy=False), index

    def window_scatter(
        self,
        g: Array,
        index: Array,
        size: Ints,
        kernel: Ints,
        stride: Ints,
        padding: Ints,
        dilation: Ints,
    ) -> Array:
        numbers = kernels.geometry(size, g.shape[2:], kernel, stride, padding, dilation)
        return self._pool(kernels.WINDOW_SCATTER, (g, index), (*g.shape[:2], *size), numbers)

    def window_gather(
        self,
        x: Array,
        index: Array,
        kernel: Ints,
        stride: Ints,
        padding: Ints,
        dilation: Ints,
    ) -> Array:
        out = index.shape[2:]
        numbers = kernels.geometry(x.shape[2:], out, kernel, stride, padding, dilation)
        return self._pool(kernels.WINDOW_GATHER, (x, index), index.shape, numbers)

    def window_sum(
        self, x: Array, kernel: Ints, stride: Ints, padding: Ints, divisor: int
    ) -> Array:
        ones = (1,) * len(kernel)
        out = output_size(x.shape[2:], kernel, stride, padding, ones)
        numbers = kernels.geometry(x.shape[2:], out, kernel, stride, padding, ones)
        return self._pool(kernels.WINDOW_SUM, (x,), (*x.shape[:2], *out), numbers, divisor)

    def window_spread(
        self, g: Array, size: Ints, kernel: Ints, stride: Ints, padding: Ints, divisor: int
    ) -> Array:
        ones = (1,) * len(kernel)
        numbers = kernels.geometry(size, g.shape[2:], kernel, stride, padding, ones)
        return self._pool(kernels.WINDOW_SPREAD, (g,), (*g.shape[:2], *size), numbers, divisor)

    # ----- matrix products and normalization --------------------------------------------------

    def matmul(self, a: Array, b: Array) -> Array:
        return self.cp.matmul(a, b)

    def total(
        self, x: Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
    ) -> Array:
        return self.cp.sum(x, axis=axis, dtype=ACCUMULATORS.get(x.dtype.kind), keepdims=keepdims)

    def moments(self, x: Array, axis: Ints) -> tuple[Array, Array]:
        mean = self.cp.mean(x, axis=tuple(axis), dtype=np.float64, keepdims=True)
        if x.dtype == np.float64:  # where a sum of equal numbers is rounded
            mean = mean + self.cp.mean(x - mean, axis=tuple(axis), keepdims=True)
        deviation = x - mean
        return mean, self.cp.mean(deviation * deviation, axis=tuple(axis), keepdims=True)

    def batch_norm(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Array, Array]:
        axes, column = _per_channel(x)
        mean = self.cp.mean(x, axis=axes, dtype=np.float64, keepdims=True)
        if x.dtype == np.float64:  # where a sum of equal numbers is rounded
            mean = mean + self.cp.mean(x - mean, axis=axes, keepdims=True)
        squares = self._run(kernels.SQUARE_DEVIATIONS, x, mean, axis=axes, keepdims=True)
        var = squares / (x.size // x.shape[1])
        scale, shift = 1 / self.cp.sqrt(var + eps), self.cp.zeros_like(mean)
        if weight is not None:
            scale = scale * weight.reshape(column)
        if bias is not None:
            shift = shift + bias.reshape(column)
        y = self._run(kernels.BATCH_NORM, x, mean, scale, shift)
        return y, mean.reshape(-1), var.reshape(-1)

    def batch_norm_backward(
        self, g: Array, x: Array, weight: Array | None, mean: Array, var: Array, eps: float
    ) -> tuple[Array, Array, Array]:
        axes, column = _per_channel(x)
        mean, inverse = mean.reshape(column), 1 / self.cp.sqrt(var.reshape(column) + eps)
        count = x.size // x.shape[1]
        bias_gradient = self.total(g, axes, keepdims=True)
        products = self._run(kernels.PRODUCT_DEVIATIONS, g, x, mean, axis=axes, keepdims=True)
        weight_gradient = products * inverse
        # dx = a·(g - mean(g) - x̂·mean(g·x̂)) = a·(g - (x - mean)·b - c), per channel
        a = inverse if weight is None else inverse * weight.reshape(column)
        b = inverse * weight_gradient / count
        c = bias_gradient / count
        dx = self._run(kernels.BATCH_NORM_BACKWARD, g, x, mean, a, b, c)
        return dx, weight_gradient.reshape(-1), bias_gradient.reshape(-1)

    # ----- elementwise and loss --------------------------------------------------------------

    def erf(self, x: Array) -> Array:
        return self.special.erf(x)

    def erfc(self, x: Array) -> Array:
        return self.special.erfc(x)

    def erfinv(self, x: Array) -> Array:
        return self.special.erfinv(x)

    def lgamma(self, x: Array) -> Array:
        return self.special.gammaln(x)

    def polygamma(self, n: int, x: Array) -> Array:
        if n == 0:
            return self.special.digamma(x)
        order = self.cp.full_like(x, n)
        return self.special.polygamma(order, x).astype(x.dtype, copy=False)

    def relu(self, x: Array) -> tuple[Array, Array]:
        return self.cp.maximum(x, 0), x > 0

    def relu_backward(self, g: Array, positive: Array) -> Array:
        return self.cp.where(positive, g, 0)

    def cross_entropy(self, x: Array, labels: Array) -> tuple[Array, Array, Array]:
        top = self.cp.max(x, axis=1, keepdims=True)
        shifted = self.below(x, top)
        log_total = self.log_total(shifted, 1)
        log_p = self.cp.ascontiguousarray(shifted - log_total)
        return self._run(kernels.PICK_LABEL, log_p, labels, x.shape[1]), top, log_total

    def cross_entropy_backward(
        self, g: Array, x: Array, labels: Array, top: Array, log_total: Array
    ) -> Array:
        log_p = self.below(x, top) - log_total
        classes = log_p.shape[1]
        column = self.cp.arange(classes, dtype=labels.dtype)
        return self._run(
            kernels.CROSS_ENTROPY_BACKWARD, g[:, None], log_p, labels[:, None], column, classes
        )

    # ----- index, random numbers, updates ----------------------------------------------------

    def scatter_add(self, shape: Ints, index: Any, g: Array) -> Array:
        if g.dtype.kind == "i" and g.dtype != "int32":  # which CuPy adds up as unsigned only
            return self.scatter_add(shape, index, g.astype("uint64")).astype(g.dtype)
        parts = index if isinstance(index, tuple) else (index,)
        if any(isinstance(part, self.cp.ndarray) for part in parts):
            dtype = np.float64 if g.dtype.kind == "f" else g.dtype
            total = self.cp.zeros(tuple(shape), dtype)
            self.cp.add.at(total, index, g.astype(dtype, copy=False))
        else:
            total = self.cp.zeros(tuple(shape), g.dtype)
            total[index] = g  # a basic index names each place once
        return total

    @_on_device
    def draw(
        self, law: str, shape: tuple[int, ...], dtype: Any, generator: np.random.Generator
    ) -> Array:
        """Element i is a function of i and of one key from the generator, which stays here."""
        dtype = np.dtype(dtype)
        if dtype not in (np.float32, np.float64):
            raise TypeError(f"random numbers are float32 or float64; asked for {dtype}.")
        kernel = kernels.UNIFORM if law == "uniform" else kernels.NORMAL
        y = self.cp.empty(shape, dtype)
        key = generator.integers(0, 1 << 64, dtype=np.uint64)
        self._launch(kernel, dtype, y.size, y, np.int64(y.size), key)
        return y

    @_on_device
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
        if velocity is None:
            self._step(kernels.SGD, p, g, (lr, weight_decay))
        else:
            numbers = (lr, momentum, 1 - dampening, weight_decay, nesterov)
            self._step(kernels.SGD_MOMENTUM, p, g, numbers, velocity)

    @_on_device
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
        step_size, correction = lr / (1 - betas[0] ** step), 1 - betas[1] ** step
        rates = (betas[0], 1 - betas[0], betas[1], 1 - betas[1])
        numbers = (*rates, step_size, correction, eps, weight_decay)
        if largest is None:
            self._step(kernels.ADAM, p, g, numbers, m, v)
        else:
            self._step(kernels.AMSGRAD, p, g, numbers, m, v, largest)

    def _step(
        self, kernel: kernels.Elementwise, p: Array, g: Array, numbers: Any, *state: Array
    ) -> None:
        """A kernel that changes p and the state in place; p of half precision by way of single."""
        wide = p.astype(np.float32) if p.dtype == np.float16 else p
        self._run(kernel, g.astype(wide.dtype, copy=False), *numbers, wide, *state)
        if wide is not p:
            p[...] = wide


def _per_channel(x: Array) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """All axes of x (N, C, *S) but 1, and the shape of a vector (C,) beside it."""
    return (0, *range(2, x.ndim)), (1, -1, *(1,) * (x.ndim - 2))
