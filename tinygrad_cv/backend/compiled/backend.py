"""The host with compiled kernels: NumPy's backend, with the hot kernels replaced.

A kernel that is defined here takes what `takes` lets through, arrays of float32 that are large
enough to be worth a call; all else goes to NumPy's, which is the reference for what it computes.
"""

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from tinygrad_cv.backend import windows
from tinygrad_cv.backend.memory import keep_what_is_freed
from tinygrad_cv.backend.numpy_backend import FLOAT32, NDARRAY, NumpyBackend, images_of
from tinygrad_cv.backend.switch import KERNELS
from tinygrad_cv.backend.threads import undisturbed

Array = Any
Ints = Sequence[int]

LEAST = 1 << 11
"""With fewer elements an elementwise kernel is no faster than NumPy's."""

FEW = 1 << 6
"""With fewer a kernel that stands for a dozen of NumPy's is not worth numba's import."""

MANY = 1 << 14
"""With fewer NumPy has added them up before it is clear how they lie."""

LEAST_SIDE, LEAST_PRODUCTS = 8, 1 << 19
"""From what sizes on a product of matrices is faster in tiles than in BLAS, which is slower where
the second lies column by column."""

LEAST_EPS = 1e-30
"""Above it 1 / √eps is a float32, and what vanishes in a square of one does not count."""

LEAST_OF = {
    "exp": 1 << 14,
    "expm1": 1 << 14,
    "log": 1 << 17,
    "log1p": 1 << 17,
    "tanh": 1 << 17,
    "sqrt": 1 << 17,
    "add": 1 << 17,
    "subtract": 1 << 17,
    "multiply": 1 << 17,
    "true_divide": 1 << 17,
}
"""From how many elements on a ufunc has a faster kernel: many where only threads make it so."""


def _sooner(ufunc: Any, name: str, least: int) -> Callable[..., Array]:
    """The ufunc, and its kernel for what that takes."""
    count = ufunc.nin

    def call(*arrays: Any, **options: Any) -> Array:
        if not options and len(arrays) == count and takes(*arrays, least=least):
            first, last = arrays[0], arrays[-1]
            if first.strides == last.strides and first.shape == last.shape:
                return family("elementwise").pointwise(name, arrays)
        return ufunc(*arrays, **options)

    call.ufunc, call.least = ufunc, least  # type: ignore[attr-defined]
    return call


@cache
def family(name: str) -> ModuleType:
    """The file of a family of kernels, imported (and numba with it) when the first is needed."""
    return undisturbed(import_module, f"tinygrad_cv.backend.compiled.{name}")


def takes(*arrays: Array, least: int = LEAST) -> bool:
    """Whether compiled kernels are on, and all of these are arrays for them."""
    if not KERNELS.compiled:
        return False
    for x in arrays:
        if type(x) is not NDARRAY or x.size < least:
            return False
        if x.dtype is not FLOAT32 and x.dtype != FLOAT32:  # after a pickle it is another object
            return False
    return True


def _takes_all(*columns: Sequence[Array] | None, least: int = FEW) -> bool:
    """Whether these lists are of arrays for compiled kernels, with enough elements together."""
    there = [column for column in columns if column is not None]
    return sum(x.size for x in there[0]) >= least and all(takes(*c, least=0) for c in there)


def is_for_tiles(a: Array, b: Array) -> bool:
    """Whether (..., n, k) @ (..., k, m) is a product for `matmul.py`."""
    n, k, m = a.shape[-2], a.shape[-1], b.shape[-1]
    least = LEAST_PRODUCTS if b.strides[-1] != b.itemsize else 2 * LEAST_PRODUCTS
    return (
        a.shape[:-2] == b.shape[:-2]
        and b.shape[-2] == k
        and min(n, m, k) >= LEAST_SIDE
        and a.size * m >= least
    )


def _is_narrow(index: Array) -> bool:
    """Whether places in windows are of a dtype that `max_pool` gives."""
    return index.dtype.kind == "u" and index.dtype.itemsize <= 2


def _is_finite(w: Array) -> bool:
    """Whether a weight may be multiplied by the zeros around an image, which ∞ makes NaN of."""
    return bool(np.isfinite(np.add.reduce(w, axis=None)))


def open_device(index: int) -> "CompiledBackend":
    """The backend of the host; there is one."""
    keep_what_is_freed()
    return CompiledBackend()


class CompiledBackend(NumpyBackend):
    """The device "cpu"; where numba is missing, NumPy's kernels do everything."""

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        for name, least in LEAST_OF.items():
            setattr(self, name, _sooner(getattr(np, name), name, least))

    # ----- elementwise -----------------------------------------------------------------------

    def relu(self, x: Array) -> tuple[Array, Array]:
        return family("elementwise").gate("relu", x) if takes(x) else super().relu(x)

    def relu_backward(self, g: Array, positive: Array) -> Array:
        if takes(g) and positive.shape == g.shape:
            return family("elementwise").gate_backward(g, positive)
        return super().relu_backward(g, positive)

    def gate(self, name: str, x: Array, number: float = 0.0) -> tuple[Array, Array] | None:
        return family("elementwise").gate(name, x, number) if takes(x) else None

    def gate_backward(self, g: Array, truth: Array, yes: float, no: float = 0.0) -> Array:
        if takes(g) and truth.shape == g.shape:
            return family("elementwise").gate_backward(g, truth, yes, no)
        return super().gate_backward(g, truth, yes, no)

    def pointwise(self, name: str, *arrays: Array, numbers: Sequence[float] = ()) -> Array | None:
        if not takes(*arrays) or (len(arrays) == 2 and arrays[0].shape != arrays[1].shape):
            return None
        return family("elementwise").pointwise(name, arrays, numbers)

    def sigmoid(self, x: Array) -> Array:
        y = self.pointwise("sigmoid", x)
        return super().sigmoid(x) if y is None else y

    def erf(self, x: Array) -> Array:
        y = self.pointwise("erf", x)
        return super().erf(x) if y is None else y

    def erfc(self, x: Array) -> Array:
        y = self.pointwise("erfc", x)
        return super().erfc(x) if y is None else y

    # ----- convolution -----------------------------------------------------------------------

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
        if takes(x, w, *(() if bias is None else (bias,)), least=1):
            return family("conv").conv(x, w, bias, stride, padding, dilation, groups)
        return super().conv(x, w, bias, stride, padding, dilation, groups)

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
        if takes(x, w, least=1) and _is_finite(w):
            return family("conv").conv_transpose(x, w, size, stride, padding, dilation, groups)
        return super().conv_transpose(x, w, size, stride, padding, dilation, groups)

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
        if takes(x, g, least=1):
            return family("conv").conv_weight(x, g, kernel, stride, padding, dilation, groups)
        return super().conv_weight(x, g, kernel, stride, padding, dilation, groups)

    # ----- recurrent networks ----------------------------------------------------------------

    def lstm_gates(self, gates: Array, c: Array) -> tuple[Array, Array] | None:
        return family("recurrent").lstm_gates(gates, c) if takes(gates, c, least=1) else None

    def lstm_gates_backward(
        self, g_h: Array, g_c: Array, gates: Array, c: Array, c_next: Array
    ) -> tuple[Array, Array] | None:
        given = (g_h, g_c, gates, c, c_next)
        return family("recurrent").lstm_gates_backward(*given) if takes(*given, least=1) else None

    def gru_gates(self, x: Array, y: Array, h: Array) -> Array | None:
        return family("recurrent").gru_gates(x, y, h) if takes(x, y, h, least=1) else None

    def gru_gates_backward(
        self, g: Array, x: Array, y: Array, h: Array
    ) -> tuple[Array, Array, Array] | None:
        given = (g, x, y, h)
        return family("recurrent").gru_gates_backward(*given) if takes(*given, least=1) else None

    # ----- products --------------------------------------------------------------------------

    def matmul(self, a: Array, b: Array) -> Array:
        if takes(a, b, least=LEAST_SIDE * LEAST_SIDE) and is_for_tiles(a, b):
            c = family("matmul").matmul(a, b)
            if c is not None:
                return c
        return super().matmul(a, b)

    # ----- updates ---------------------------------------------------------------------------

    @property
    def updates_at_once(self) -> bool:
        return KERNELS.compiled

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
        numbers = (lr, momentum, dampening, weight_decay, nesterov)
        given = ([p], [g], None if velocity is None else [velocity])
        least = LEAST if velocity is None else FEW
        if not _takes_all(*given, least=least) or not family("update").sgd_steps(*given, *numbers):
            super().sgd_step(p, g, velocity, *numbers)

    def sgd_steps(
        self,
        ps: Sequence[Array],
        gs: Sequence[Array],
        velocities: Sequence[Array] | None,
        **numbers: Any,
    ) -> None:
        given = (ps, gs, velocities)
        if not _takes_all(*given) or not family("update").sgd_steps(*given, **numbers):
            super().sgd_steps(*given, **numbers)

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
        numbers, given = (step, lr, betas, eps, weight_decay), ([p], [g], [m], [v])
        taken = largest is None and _takes_all(*given)
        if not taken or not family("update").adam_steps(*given, *numbers, kept):
            super().adam_step(p, g, m, v, *numbers, largest, kept)

    def adam_steps(
        self,
        ps: Sequence[Array],
        gs: Sequence[Array],
        ms: Sequence[Array],
        vs: Sequence[Array],
        **numbers: Any,
    ) -> None:
        given = (ps, gs, ms, vs)
        if not _takes_all(*given) or not family("update").adam_steps(*given, **numbers):
            super().adam_steps(*given, **numbers)

    def norm_of_all(self, xs: Sequence[Array]) -> Array | None:
        return family("update").norm_of_all(xs) if _takes_all(xs) else None

    # ----- pooling ---------------------------------------------------------------------------

    def max_pool(
        self, x: Array, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints
    ) -> tuple[Array, Array]:
        pool = family("pool") if takes(x) else windows
        found: tuple[Array, Array] = pool.max_pool(x, kernel, stride, padding, dilation)
        return found

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
        pool = family("pool") if takes(g) and _is_narrow(index) else windows
        return pool.window_scatter(g, index, size, kernel, stride, padding, dilation)

    def window_gather(
        self,
        x: Array,
        index: Array,
        kernel: Ints,
        stride: Ints,
        padding: Ints,
        dilation: Ints,
    ) -> Array:
        pool = family("pool") if takes(x) and _is_narrow(index) else windows
        return pool.window_gather(x, index, kernel, stride, padding, dilation)

    def window_sum(
        self, x: Array, kernel: Ints, stride: Ints, padding: Ints, divisor: int
    ) -> Array:
        pool = family("pool") if takes(x) else windows
        return pool.window_sum(x, kernel, stride, padding, divisor)

    def window_spread(
        self, g: Array, size: Ints, kernel: Ints, stride: Ints, padding: Ints, divisor: int
    ) -> Array:
        pool = family("pool") if takes(g) else windows
        return pool.window_spread(g, size, kernel, stride, padding, divisor)

    # ----- sums of rows ----------------------------------------------------------------------

    def scatter_add(self, shape: Sequence[int], index: Any, g: Array) -> Array:
        if takes(g):
            found = family("row_sums").row_index(shape, index)
            if found is not None:
                return family("row_sums").scatter_rows(shape, *found, g)
        return super().scatter_add(shape, index, g)

    def weighted_sums(
        self, x: Array, axis: int, terms: Sequence[Any], count: int, wide: bool
    ) -> Array:
        if takes(x) and terms and family("row_sums").has_rows(x, axis):
            return family("row_sums").weighted_sums(x, axis, terms, count)
        return super().weighted_sums(x, axis, terms, count, wide)

    def sample(self, x: Array, w: Array, index: Array) -> Array:
        if takes(x, w, least=1) and x.shape[1] * w.size >= LEAST:
            return family("row_sums").sample(x, w, index)
        return super().sample(x, w, index)

    def sample_transpose(self, d: Array, w: Array, index: Array, length: int) -> Array:
        if takes(d, w, least=1) and d.shape[1] * w.size >= LEAST:
            return family("row_sums").sample_transpose(d, w, index, length)
        return super().sample_transpose(d, w, index, length)

    def sample_weight(self, x: Array, d: Array, index: Array) -> Array:
        if takes(x, d, least=1) and x.shape[1] * index.size >= LEAST:
            return family("row_sums").sample_weight(x, d, index)
        return super().sample_weight(x, d, index)

    # ----- sums ------------------------------------------------------------------------------

    def total(
        self, x: Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
    ) -> Array:
        y = family("sums").total(x, axis, keepdims) if takes(x, least=MANY) else None
        return super().total(x, axis, keepdims) if y is None else y

    # ----- normalization ---------------------------------------------------------------------

    def batch_norm(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Array, Array]:
        if takes(x):
            found = family("norm").batch_norm(family("turn").rows_of(x), weight, bias, eps)
            if found is not None:
                y, mean, var = found
                return images_of(y, x.shape), mean, var
        return super().batch_norm(x, weight, bias, eps)

    def batch_norm_backward(
        self, g: Array, x: Array, weight: Array | None, mean: Array, var: Array, eps: float
    ) -> tuple[Array, Array, Array]:
        if not takes(g, x):
            return super().batch_norm_backward(g, x, weight, mean, var, eps)
        rows = map(family("turn").rows_of, (g, x))
        dx, dw, db = family("norm").batch_norm_backward(*rows, weight, mean, var, eps)
        return images_of(dx, x.shape), dw, db

    def standardize(
        self, x: Array, w: Array | None, b: Array | None, axis: tuple[int, ...], eps: float
    ) -> tuple[Array, Array, Array]:
        if takes(x):
            affine = np.broadcast_shapes(*(v.shape for v in (w, b) if v is not None))
            walk = family("norm").layout(x, axis, affine)
            found = walk and walk.forward(x, w, b, eps)
            if found is not None:
                return found
        return super().standardize(x, w, b, axis, eps)

    def standardize_backward(
        self,
        g: Array,
        x: Array,
        w: Array | None,
        mean: Array,
        var: Array,
        axis: tuple[int, ...],
        affine: tuple[int, ...],
        eps: float,
    ) -> tuple[Array, Array, Array]:
        if takes(g, x):
            walk = family("norm").layout(x, axis, affine)
            if walk is not None:
                return walk.backward(g, x, w, mean, var, eps)
        return super().standardize_backward(g, x, w, mean, var, axis, affine, eps)

    def rms_norm(
        self, x: Array, w: Array | None, axis: tuple[int, ...], eps: float
    ) -> tuple[Array, Array]:
        if takes(x, *(() if w is None else (w,)), least=1) and takes(x) and eps > LEAST_EPS:
            walk = family("norm").Rows(x, axis, () if w is None else w.shape, centered=False)
            if walk.fits:
                y, _, square = walk.forward(x, w, None, eps)
                return y, square
        return super().rms_norm(x, w, axis, eps)

    def rms_norm_backward(
        self,
        g: Array,
        x: Array,
        w: Array | None,
        square: Array,
        axis: tuple[int, ...],
        eps: float,
    ) -> tuple[Array, Array]:
        if takes(g, x) and eps > LEAST_EPS:
            walk = family("norm").Rows(x, axis, () if w is None else w.shape, centered=False)
            if walk.fits:
                dx, dw, _ = walk.backward(g, x, w, np.zeros_like(square), square, eps)
                return dx, dw
        return super().rms_norm_backward(g, x, w, square, axis, eps)

    def scale_channels(self, x: Array, center: Array, scale: Array, shift: Array | float) -> Array:
        if takes(x) and takes(center, scale, least=1):
            vectors = (np.broadcast_to(v, scale.shape).reshape(-1) for v in (center, scale, shift))
            y = family("norm").scale_channels(family("turn").rows_of(x), *vectors)
            return images_of(y, x.shape)
        return super().scale_channels(x, center, scale, shift)

    # ----- joined layers ---------------------------------------------------------------------

    def batch_norm_relu(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Array, Array]:
        if takes(x):
            found = family("joined").batch_norm_relu(family("turn").rows_of(x), weight, bias, eps)
            if found is not None:
                y, mean, var = found
                return images_of(y, x.shape), mean, var
        return super().batch_norm_relu(x, weight, bias, eps)

    def batch_norm_relu_backward(
        self,
        g: Array,
        x: Array,
        weight: Array | None,
        bias: Array | None,
        mean: Array,
        var: Array,
        eps: float,
    ) -> tuple[Array, Array, Array]:
        if not takes(g, x) or not np.isfinite(var).all():
            return super().batch_norm_relu_backward(g, x, weight, bias, mean, var, eps)
        rows = map(family("turn").rows_of, (g, x))
        backward = family("joined").batch_norm_relu_backward
        dx, dw, db = backward(*rows, weight, bias, mean, var, eps)
        return images_of(dx, x.shape), dw, db

    def batch_norm_relu_max_pool(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float, kernel: Ints
    ) -> tuple[Array, Array, Array, Array]:
        if takes(x) and self._covers(x, kernel):
            images = family("turn").channels_last(x)
            forward = family("joined").batch_norm_relu_max_pool
            found = forward(images, weight, bias, eps, kernel)
            if found is not None:
                y, index, mean, var = found
                return windows.channels_first(y), windows.channels_first(index), mean, var
        return super().batch_norm_relu_max_pool(x, weight, bias, eps, kernel)

    def batch_norm_relu_max_pool_backward(
        self,
        g: Array,
        y: Array,
        index: Array,
        x: Array,
        weight: Array | None,
        mean: Array,
        var: Array,
        eps: float,
        kernel: Ints,
    ) -> tuple[Array, Array, Array]:
        statistics = mean, var, eps, kernel
        if not takes(x) or not takes(g, y, least=1) or not self._covers(x, kernel):
            given = g, y, index, x, weight
            return super().batch_norm_relu_max_pool_backward(*given, *statistics)
        images = map(family("turn").channels_last, (g, y, index, x))
        backward = family("joined").batch_norm_relu_max_pool_backward
        dx, dw, db = backward(*images, weight, *statistics)
        return windows.channels_first(dx), dw, db

    @staticmethod
    def _covers(x: Array, kernel: Ints) -> bool:
        """Whether windows side by side cover images of two axes, each with a place in a byte."""
        if len(kernel) != 2 or x.ndim != 4 or kernel[0] * kernel[1] > 256:
            return False
        return not (x.shape[2] % kernel[0] or x.shape[3] % kernel[1])

    # ----- softmax and loss ------------------------------------------------------------------

    def softmax(self, x: Array, axis: int) -> Array:
        y = family("rows").softmax(x, axis) if takes(x, least=FEW) else None
        return super().softmax(x, axis) if y is None else y

    def softmax_backward(self, g: Array, y: Array, axis: int) -> Array:
        dx = family("rows").softmax_backward(g, y, axis) if takes(g, y, least=FEW) else None
        return super().softmax_backward(g, y, axis) if dx is None else dx

    def log_shares(self, x: Array, axis: int) -> Array:
        y = family("rows").log_softmax(x, axis) if takes(x, least=FEW) else None
        return super().log_shares(x, axis) if y is None else y

    def log_softmax_backward(self, g: Array, y: Array, axis: int) -> Array:
        dx = family("rows").log_softmax_backward(g, y, axis) if takes(g, y, least=FEW) else None
        return super().log_softmax_backward(g, y, axis) if dx is None else dx

    def cross_entropy(self, x: Array, labels: Array) -> tuple[Array, Array, Array]:
        found = family("rows").cross_entropy(x, labels) if takes(x, least=FEW) else None
        return super().cross_entropy(x, labels) if found is None else found  # it names the label

    def cross_entropy_backward(
        self, g: Array, x: Array, labels: Array, top: Array, log_total: Array
    ) -> Array:
        if takes(x, least=FEW) and takes(g, top, log_total, least=1):
            return family("rows").cross_entropy_backward(g, x, labels, top, log_total)
        return super().cross_entropy_backward(g, x, labels, top, log_total)
