"""What a backend offers: an array namespace, the hot kernels, and transfers.

An op's forward gets a backend as `xp`. The names in `NAMESPACE` are the array functions that ops
may use, with NumPy's meaning (`linalg` is a namespace of its own); everything that has to be fast,
or that array libraries do not share, is a kernel method. A new device is a new subclass, and no op
changes.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as host

from tinygrad_cv.backend.arguments import exchanged
from tinygrad_cv.backend.devices import device

Array = Any

NAMESPACE = """
    abs add arccos arccosh arcsin arcsinh arctan arctan2 arctanh bitwise_and bitwise_or bitwise_xor
    cbrt ceil copysign cos cosh equal exp exp2 expm1 floor floor_divide fmod greater greater_equal
    gcd hypot invert isfinite isinf isnan lcm left_shift less less_equal log log10 log1p log2
    logaddexp logaddexp2 logical_and logical_not logical_or logical_xor maximum minimum multiply
    nan_to_num negative not_equal power reciprocal remainder right_shift rint sign sin sinh sqrt
    square subtract tan tanh true_divide trunc where

    all any argmax argmin count_nonzero cumprod cumsum max mean median min prod sum trace

    argsort clip diagonal einsum linalg nonzero round sort tensordot tril triu unravel_index

    arange broadcast_to concatenate empty expand_dims eye flip full full_like moveaxis ones
    ones_like packbits pad ravel repeat reshape roll squeeze stack swapaxes take take_along_axis
    tile transpose unpackbits zeros zeros_like
""".split()  # noqa: SIM905  a list of 110 quoted names is harder to read


ACCUMULATORS = {"f": "float64", "i": "int64", "u": "int64", "b": "int64"}
"""In what numbers of a kind are added up."""

drawing: ContextVar[Callable[[Any, Callable[[Any], Any]], Any] | None] = ContextVar(
    "drawing", default=None
)
"""Who draws in place of `drawn`, in this thread or task."""


def drawn(generator: Any, law: Callable[[Any], Any]) -> Any:
    """`law(generator)`: random numbers. Every draw goes through here, so it can be repeated."""
    deputy = drawing.get()
    return law(generator) if deputy is None else deputy(generator, law)


rows_here: ContextVar[tuple[int, int, int]] = ContextVar("rows_here", default=(0, 1, 1))
"""Which rows of a batch are in this process, and how many there are in all: (first, end, all).

Of a batch that several processes share, each draws the random numbers of all rows and takes those
of its own, as one process would have drawn them.
"""


@contextmanager
def rows(first: int, end: int, total: int) -> Iterator[None]:
    """A block in which random arrays with a row for each of these, or so many, are parts of all.

    They are those whose first axis is a multiple of end - first.
    """
    before = rows_here.get()
    rows_here.set((first, end, total))
    try:
        yield
    finally:
        rows_here.set(before)


class Defaults:
    """What a program may choose once for all that it makes."""

    float: Any = host.dtype("float32")
    """The dtype of floats that say none: of Python's numbers, and of what integers divide to."""


DEFAULT = Defaults()


class Bits:
    """Truth values of any shape, eight to a byte, in the order in which they lie in memory."""

    __slots__ = ("axes", "bytes", "shape", "xp")

    LEAST = 1024
    """How many there have to be, to be worth the packing."""

    def __init__(self, xp: "Backend", truth: Array) -> None:
        self.xp, self.shape = xp, truth.shape
        self.axes = sorted(range(truth.ndim), key=lambda i: -truth.strides[i])
        self.bytes = xp.packbits(xp.transpose(truth, self.axes))

    @property
    def nbytes(self) -> int:
        return int(self.bytes.nbytes)

    def truth(self) -> Array:
        """The array that was packed, in its layout."""
        flat = self.xp.unpackbits(self.bytes)[: math.prod(self.shape)].view(bool)
        ordered = flat.reshape([self.shape[i] for i in self.axes])
        return ordered.transpose(sorted(range(len(self.axes)), key=self.axes.__getitem__))


class Backend:
    """An array library on one device, such as "cuda:0"."""

    active: AbstractContextManager[Any] = nullcontext()
    """Inside it, arithmetic on arrays takes place on this device, and says nothing of ∞ and NaN."""

    has_numbers = True
    """Whether there is anything in its arrays to be read; on "meta" there is not."""

    def __init__(self, name: str) -> None:
        self.device: device = str.__new__(device, name)  # of a kind that nobody lists as well

    if TYPE_CHECKING:  # the names of NAMESPACE, which a subclass sets on itself

        def __getattr__(self, name: str) -> Any: ...

    def prepare(self) -> Any:
        """Begin what is meant to be done inside `active`; give the result to `leave`.

        An op does so, as the three calls cost it less than a `with`; and a `with` that Ctrl-C ends
        as it begins would leave `active` on.
        """
        self.active.__enter__()

    def enter(self) -> None:
        """What of that can be left without having been entered: inside of `try`."""

    def leave(self, before: Any) -> None:
        """End what `prepare` and `enter` began: in `finally`."""
        self.active.__exit__(None, None, None)

    # ----- memory ----------------------------------------------------------------------------

    def array(self, data: Any, dtype: Any) -> Array:
        """A new array with these values (always a copy)."""
        raise NotImplementedError

    def from_host(self, data: Any) -> Array:
        """A host array moved here; no copy where the memory is the same."""
        raise NotImplementedError

    def receive(self, array: Array, source: "Backend") -> Array:
        """A copy of an array that lies on the device of another backend."""
        return self.array(source.to_host(array), None)

    def to_host(self, array: Array) -> Any:
        """The values as a NumPy array that cannot be written to."""
        raise NotImplementedError

    def to_dlpack(self, array: Array, copy: bool, stream: Any, max_version: Any) -> Any:
        """A capsule with a copy of the array, or with the array, not to be written to."""
        raise NotImplementedError

    def from_dlpack(self, source: Any) -> Array:
        """A copy of what another library holds on this device."""
        raise NotImplementedError

    def result(self, array: Any, dtype: Any) -> Array:
        """An op's result as an array, a float as `dtype`; None stands for the default one."""
        raise NotImplementedError

    def assign(self, array: Array, index: Any, value: Any) -> None:
        """`array[index] = value`, in place."""
        raise NotImplementedError

    def lent(self, array: Array) -> Array:
        """The values for somebody who is not to change them: changes raise, or reach a copy."""
        return self.array(array, None)

    def owns(self, array: Array) -> bool:
        """Whether the array is no view of another one."""
        raise NotImplementedError

    def is_view(self, array: Array, inputs: Sequence[Any]) -> bool:
        """Whether an op's result may lie in the memory of one of its inputs."""
        raise NotImplementedError

    def shares_memory(self, a: Array, b: Array) -> bool:
        """Whether two arrays (may) overlap in memory."""
        raise NotImplementedError

    def address(self, array: Array) -> int:
        """Where its first element lies in memory."""
        raise NotImplementedError

    def lacks(self, array: Array, number: Any) -> bool:
        """Whether it is known that no element is this number; what is known without waiting."""
        return False

    def packed(self, value: Any) -> Any:
        """A by-product as it is saved: many truth values as bits, all else as it is."""
        if not hasattr(value, "dtype") or value.dtype.kind != "b" or value.size < Bits.LEAST:
            return value
        with self.active:
            return Bits(self, value)

    # ----- kernels ---------------------------------------------------------------------------
    # Images are (N, C, *S) with any number of spatial axes; sizes, strides, paddings and
    # dilations are tuples of that many integers.

    def conv(
        self,
        x: Array,
        w: Array,
        bias: Array | None,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        groups: int,
    ) -> Array:
        """Cross-correlation of x (N, C, *S) with w (O, C/groups, *K), plus bias (O,)."""
        raise NotImplementedError

    def conv_transpose(
        self,
        x: Array,
        w: Array,
        size: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        groups: int,
    ) -> Array:
        """The adjoint of `conv` in its image: (N, O, *S') * (O, C/groups, *K) -> (N, C, *size)."""
        raise NotImplementedError

    def conv_weight(
        self,
        x: Array,
        g: Array,
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        groups: int,
    ) -> Array:
        """The adjoint of `conv` in its weight: x (N, C, *S), g (N, O, *S') -> (O, C/groups, *K)."""
        raise NotImplementedError

    def max_pool(
        self,
        x: Array,
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
    ) -> tuple[Array, Array]:
        """The maximum of each window and its place in the window (row-major, the first one)."""
        raise NotImplementedError

    def window_scatter(
        self,
        g: Array,
        index: Array,
        size: Sequence[int],
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
    ) -> Array:
        """Zeros (N, C, *size) with each g added at the indexed place of its window."""
        raise NotImplementedError

    def window_gather(
        self,
        x: Array,
        index: Array,
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
    ) -> Array:
        """The element at the indexed place of each window: the adjoint of `window_scatter`."""
        raise NotImplementedError

    def window_sum(
        self,
        x: Array,
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        divisor: int,
    ) -> Array:
        """The sum over each window, divided; floats are added up in double precision."""
        raise NotImplementedError

    def window_spread(
        self,
        g: Array,
        size: Sequence[int],
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        divisor: int,
    ) -> Array:
        """Each g, divided, added to every place of its window: the adjoint of `window_sum`."""
        raise NotImplementedError

    def total(
        self, x: Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
    ) -> Array:
        """Σ x over axes (None: all). Floats are added up in float64, integers in int64; the result
        is left in it."""
        raise NotImplementedError

    def moments(self, x: Array, axis: tuple[int, ...]) -> tuple[Array, Array]:
        """Mean and biased variance over axes, which stay as 1s, in float64."""
        raise NotImplementedError

    def matmul(self, a: Array, b: Array) -> Array:
        """The product of matrices (..., n, k) and (..., k, m); leading axes broadcast."""
        raise NotImplementedError

    def batch_norm(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Array, Array]:
        """Normalize over all axes but 1: (y, mean, biased variance), the last two (C,) in float64.

        The mean of a constant channel is that constant, and its y is the bias.
        """
        raise NotImplementedError

    def batch_norm_backward(
        self, g: Array, x: Array, weight: Array | None, mean: Array, var: Array, eps: float
    ) -> tuple[Array, Array, Array]:
        """The gradients of `batch_norm` for x, weight and bias, from the mean and the variance."""
        raise NotImplementedError

    def batch_norm_relu(
        self,
        x: Array,
        weight: Array | None,
        bias: Array | None,
        eps: float,
        top: float = math.inf,
    ) -> tuple[Array, Array, Array]:
        """min(max(y, 0), top) in place of the y of `batch_norm`, with the mean and the variance."""
        y, mean, var = self.batch_norm(x, weight, bias, eps)
        return self.minimum(self.relu(y)[0], top), mean, var

    def batch_norm_relu_backward(
        self,
        g: Array,
        x: Array,
        weight: Array | None,
        bias: Array | None,
        mean: Array,
        var: Array,
        eps: float,
        top: float = math.inf,
    ) -> tuple[Array, Array, Array]:
        """The gradients of `batch_norm_relu` for x, weight and bias; where 0 < y < top is worked
        out again."""
        y, positive = self.relu(self.batch_norm(x, weight, bias, eps)[0])
        inside = positive if top == math.inf else positive & (y < top)
        return self.batch_norm_backward(self.relu_backward(g, inside), x, weight, mean, var, eps)

    def batch_norm_relu_max_pool(
        self,
        x: Array,
        weight: Array | None,
        bias: Array | None,
        eps: float,
        kernel: Sequence[int],
    ) -> tuple[Array, Array, Array, Array]:
        """`max_pool` of the y of `batch_norm_relu`, with windows side by side that cover it: the
        maximum, its place in the window, the mean and the variance."""
        y, mean, var = self.batch_norm_relu(x, weight, bias, eps)
        axes = len(kernel)
        return *self.max_pool(y, kernel, kernel, (0,) * axes, (1,) * axes), mean, var

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
        kernel: Sequence[int],
    ) -> tuple[Array, Array, Array]:
        """The gradients of `batch_norm_relu_max_pool` for x, weight and bias.

        The place that a maximum y comes from is positive where y is.
        """
        g, axes = self.relu_backward(g, y > 0), len(kernel)
        steps = kernel, kernel, (0,) * axes, (1,) * axes
        g = self.window_scatter(g, index, x.shape[2:], *steps)
        return self.batch_norm_backward(g, x, weight, mean, var, eps)

    # ----- passes over images ----------------------------------------------------------------
    # Batch norm in two steps: what is added up over all images, and what is done to each. `norm` is
    # (mean, var, weight, bias, eps), or in evaluation the (center, scale, shift) of scale_channels,
    # and `top` is None without an activation, ∞ with ReLU and 6 with ReLU6.

    def image_pass(self, stages: Sequence[Any], wanted: Sequence["Local"]) -> Any:
        """Kernels one after another: a stage is (name, arguments, options, results), and a result
        is a `Local` of the pass, which later stages take. Returns those that are wanted.

        Each goes image by image, or adds up over images, so a kernel may take a few images at a
        time through all stages.
        """
        made: dict[Any, Array] = {}

        def known(x: Any) -> Any:
            return made[x] if type(x) is Local else x

        for name, args, options, results in stages:
            found = getattr(self, name)(*exchanged(known, args), **options)
            made |= zip(results, found if isinstance(found, tuple) else (found,), strict=True)
        arrays = tuple(made[local] for local in wanted)
        return arrays[0] if len(arrays) == 1 else arrays

    def channel_moments(self, x: Array) -> tuple[Array, Array]:
        """Mean and biased variance of the channels, (C,) in float64."""
        mean, var = self.moments(x, (0, *range(2, x.ndim)))
        return mean.reshape(-1), var.reshape(-1)

    def normalized(self, x: Array, norm: Any, top: float | None = None) -> Array:
        """(x - mean) / √(var + eps) · weight + bias, within [0, top]."""
        if len(norm) == 3:
            y = self.scale_channels(x, *norm)
        else:
            (mean, var, weight, bias, eps), column = norm, _column(x)
            y = _scaled(x, mean.reshape(column), 1 / self.sqrt(var + eps).reshape(column))
            if weight is not None:
                y *= weight.reshape(column)
            if bias is not None:
                y += bias.reshape(column)
        return y if top is None else self.minimum(self.maximum(y, 0), top)

    def normalized_sums(
        self, g: Array, x: Array, norm: Any, top: float | None = None
    ) -> tuple[Array, Array]:
        """The gradients of `normalized` for weight and bias: Σ h · x̂ and Σ h, where h is g behind
        the gate 0 < y < top, and x̂ is (x - mean) / √(var + eps)."""
        mean, var, weight, _, eps = norm
        return self.batch_norm_backward(self._gated(g, x, norm, top), x, weight, mean, var, eps)[1:]

    def normalized_backward(
        self, g: Array, x: Array, norm: Any, weight_sum: Array, bias_sum: Array, top: float | None
    ) -> Array:
        """The gradient of `batch_norm` and its activation for x, from the `normalized_sums`:
        (h - mean(h) - x̂ · mean(h · x̂)) · weight / √(var + eps)."""
        (mean, var, weight, _, eps), column, count = norm, _column(x), x.size // x.shape[1]
        r = 1 / self.sqrt(var + eps)
        away = _scaled(x, mean.reshape(column), (r * weight_sum / count).reshape(column))
        away += (bias_sum / count).astype(x.dtype).reshape(column)
        a = r if weight is None else r * weight
        return (self._gated(g, x, norm, top) - away) * a.astype(x.dtype).reshape(column)

    def _gated(self, g: Array, x: Array, norm: Any, top: float | None) -> Array:
        if top is None:
            return g
        y = self.normalized(x, norm)
        return self.where((y > 0) & (y < top), g, 0)

    def pooled(self, x: Array, norm: Any, kernel: Sequence[int]) -> tuple[Array, Array]:
        """`max_pool` of `normalized` behind ReLU, with windows side by side that cover it."""
        axes = len(kernel)
        y = self.normalized(x, norm, math.inf)
        return self.max_pool(y, kernel, kernel, (0,) * axes, (1,) * axes)

    def pooled_sums(
        self, g: Array, y: Array, index: Array, x: Array, norm: Any, kernel: Sequence[int]
    ) -> tuple[Array, Array]:
        """`normalized_sums` for the gradient of what is `pooled`, (y, index)."""
        return self.normalized_sums(self._unpooled(g, y, index, x, kernel), x, norm)

    def pooled_backward(
        self, g: Array, y: Array, index: Array, x: Array, norm: Any, weight_sum: Array,
        bias_sum: Array, kernel: Sequence[int],
    ) -> Array:  # fmt: skip
        """`normalized_backward` for the gradient of what is `pooled`."""
        h = self._unpooled(g, y, index, x, kernel)
        return self.normalized_backward(h, x, norm, weight_sum, bias_sum, None)

    def _unpooled(self, g: Array, y: Array, index: Array, x: Array, kernel: Sequence[int]) -> Array:
        g, axes = self.relu_backward(g, y > 0), len(kernel)
        return self.window_scatter(g, index, x.shape[2:], kernel, kernel, (0,) * axes, (1,) * axes)

    # ----- rows ------------------------------------------------------------------------------

    def standardize(
        self, x: Array, w: Array | None, b: Array | None, axis: tuple[int, ...], eps: float
    ) -> tuple[Array, Array, Array]:
        """w · (x - mean) / √(var + eps) + b, with the mean and the biased variance over `axis`;
        and these two, in float64, with the axes as 1s. w and b broadcast to the shape of x."""
        mean, var = self.moments(x, axis)
        y = _scaled(x, mean, 1 / self.sqrt(var + eps))
        if w is not None:
            y *= w
        if b is not None:
            y += b
        return y, mean, var

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
        """The gradients of `standardize` for x, w and b, from the mean and the variance.

        `affine` is the shape to which w and b broadcast: those for them are added up to it, or to
        a shape that can be added up to it.
        """
        r = 1 / self.sqrt(var + eps)
        z = _scaled(x, mean, r)
        share = mean.size / x.size
        weight_gradient = gz = g * z
        h = g
        if w is not None:
            h, gz = g * w, gz * w
        along = self.total(gz, axis=axis, keepdims=True) * share
        z *= along.astype(x.dtype)
        gradient = h - (self.total(h, axis=axis, keepdims=True) * share).astype(x.dtype)
        gradient -= z
        gradient *= r.astype(x.dtype)
        return gradient, weight_gradient, g

    def rms_norm(
        self, x: Array, w: Array | None, axis: tuple[int, ...], eps: float
    ) -> tuple[Array, Array]:
        """w · x / √(mean(x²) + eps) over `axis`, and mean(x²) in float64, with the axes as 1s."""
        wide = x.astype("float64")
        square = self.mean(wide * wide, axis=axis, keepdims=True)
        y = wide * (1 / self.sqrt(square + eps))
        return y if w is None else y * w, square

    def rms_norm_backward(
        self,
        g: Array,
        x: Array,
        w: Array | None,
        square: Array,
        axis: tuple[int, ...],
        eps: float,
    ) -> tuple[Array, Array]:
        """The gradients of `rms_norm` for x and w, that for w to be added up to its shape."""
        r = 1 / self.sqrt(square + eps)
        z = x * r
        weight_gradient = gz = g * z
        h = g
        if w is not None:
            h, gz = g * w, gz * w
        return r * (h - z * self.mean(gz, axis=axis, keepdims=True)), weight_gradient

    def scale_channels(self, x: Array, center: Array, scale: Array, shift: Array | float) -> Array:
        """(x - center) · scale + shift, with numbers for each channel, (1, C, 1, ...)."""
        return (x - center) * scale + shift

    def erf(self, x: Array) -> Array:
        """2/√π ∫₀ˣ e^(-t²) dt"""
        raise NotImplementedError

    def erfc(self, x: Array) -> Array:
        """1 - erf x, accurate where that is small"""
        raise NotImplementedError

    def erfinv(self, x: Array) -> Array:
        """The number whose erf is x, for -1 <= x <= 1"""
        raise NotImplementedError

    def lgamma(self, x: Array) -> Array:
        """log |Γ(x)|"""
        raise NotImplementedError

    def polygamma(self, n: int, x: Array) -> Array:
        """The derivative of order n + 1 of log Γ(x), for x > 0; of order 1 (n = 0) for every x."""
        raise NotImplementedError

    def relu(self, x: Array) -> tuple[Array, Array]:
        """(max(x, 0), x > 0)"""
        raise NotImplementedError

    def relu_backward(self, g: Array, positive: Array) -> Array:
        """g where `positive`, else 0"""
        raise NotImplementedError

    def pointwise(self, name: str, *arrays: Array, numbers: Sequence[float] = ()) -> Array | None:
        """A function of each number, by its name, in one pass over the memory.

        Either f(x), or g · f'(x) of a gradient g and x as "f_backward"; `numbers` are those that f
        depends on. None where there is no kernel for it: the forward and the rule of the op are
        what it computes.
        """
        return None

    def gate(self, name: str, x: Array, number: float = 0.0) -> tuple[Array, Array] | None:
        """f(x) of straight lines, by its name, and where its slope is that of the middle; or None,
        as `pointwise`."""
        return None

    def gate_backward(self, g: Array, truth: Array, yes: float, no: float = 0.0) -> Array:
        """yes · g where `truth`, else no · g, which is 0 for no = 0, whatever g is."""
        return self.where(truth, g * yes if yes != 1 else g, no * g if no else 0)

    # The gates of recurrent networks in one pass; None as `pointwise`.

    def lstm_gates(self, gates: Array, c: Array) -> tuple[Array, Array] | None:
        """(h, c') of the gates (N, 4H) and a state c (N, H)."""
        return None

    def lstm_gates_backward(
        self, g_h: Array, g_c: Array, gates: Array, c: Array, c_next: Array
    ) -> tuple[Array, Array] | None:
        """The gradients of `gates` and c."""
        return None

    def gru_gates(self, x: Array, y: Array, h: Array) -> Array | None:
        """The next state of x, y (N, 3H) and h (N, H)."""
        return None

    def gru_gates_backward(
        self, g: Array, x: Array, y: Array, h: Array
    ) -> tuple[Array, Array, Array] | None:
        """The gradients of x, y and h."""
        return None

    def sigmoid(self, x: Array) -> Array:
        """1 / (1 + e⁻ˣ), whose tails do not overflow."""
        # Both powers are at most 1. A choice between 1 and the second takes longer than the first.
        return self.exp(self.minimum(x, 0)) / (1 + self.exp(-self.abs(x)))

    def below_top(self, x: Array, axis: int) -> Array:
        """x less its largest element along an axis, where ∞ less ∞ is 0."""
        return self.below(x, self.max(x, axis=axis, keepdims=True))

    def below(self, x: Array, top: Array) -> Array:
        """x - top, where ∞ less ∞ is 0."""
        infinite = x == math.inf
        return self.where(infinite, 0, x) - self.where(infinite, 0, top)

    def softmax(self, x: Array, axis: int) -> Array:
        """eˣ / Σ eˣ along an axis; the largest element is subtracted first."""
        e = self.exp(self.below_top(x, axis))
        return e / self.sum(e, axis=axis, keepdims=True, dtype="float64").astype(e.dtype)

    def softmax_backward(self, g: Array, y: Array, axis: int) -> Array:
        """The gradient of `softmax` from its result: y · (h - Σ h y), for h = g - level.

        The level is the mean of g where y is largest.
        """
        top = y == self.max(y, axis=axis, keepdims=True)
        level = self.total(self.where(top, g, 0), axis, keepdims=True)
        h = g - (level / self.total(top, axis, keepdims=True)).astype(g.dtype)
        return y * (h - self.total(h * y, axis, keepdims=True).astype(g.dtype))

    def log_softmax_backward(self, g: Array, y: Array, axis: int) -> Array:
        """The gradient of `log_shares` from its result: -g · (eʸ - 1) - eʸ · (Σ g - g)."""
        others = self.total(g, axis, keepdims=True).astype(g.dtype) - g
        return -g * self.expm1(y) - self.exp(y) * others

    def log_shares(self, x: Array, axis: int) -> Array:
        """log softmax(x) along an axis, with all digits where a share is close to 1."""
        shifted = self.below_top(x, axis)
        return shifted - self.log_total(shifted, axis)

    def log_total(self, shifted: Array, axis: int) -> Array:
        """log Σ eˣ along an axis, for what `below_top` gives.

        The largest elements are 1 each in the sum of powers. One of them stays out of it, and log1p
        keeps what the others add to it, however little.
        """
        most = shifted == 0
        ties = most.sum(axis=axis, keepdims=True) - 1
        powers = self.where(most, 0, self.exp(shifted))
        others = powers.sum(axis=axis, keepdims=True, dtype="float64")
        return self.log1p(others + ties).astype(shifted.dtype)

    def cross_entropy(self, x: Array, labels: Array) -> tuple[Array, Array, Array]:
        """For scores x (N, C) and labels (N,): -log softmax(x)[label] for each row; and (N, 1) the
        largest score of each and what `log_total` gives.

        A label out of range is an error, or gives NaN where looking at the labels would make the
        host wait for the device.
        """
        raise NotImplementedError

    def cross_entropy_backward(
        self, g: Array, x: Array, labels: Array, top: Array, log_total: Array
    ) -> Array:
        """g · (softmax(x) - one_hot(labels)), row by row."""
        raise NotImplementedError

    def scatter_add(self, shape: Sequence[int], index: Any, g: Array) -> Array:
        """Zeros of `shape` with g added at `index`; repeated places accumulate, in float64."""
        raise NotImplementedError

    def weighted_sums(
        self, x: Array, axis: int, terms: Sequence[Any], count: int, wide: bool
    ) -> Array:
        """y[i] = Σ w · x[place] along an axis, for `count` places i; in float64 if `wide`.

        A term of the sums says for a slice of the i (`rows`) at which host `places` x is read and
        what its `weights` are, None for ones. What has no weight in one has no part in it, not
        even as 0·∞.
        """
        before = (slice(None),) * axis
        column = (-1, *(1,) * (x.ndim - 1 - axis))
        dtype = "float64" if wide else x.dtype
        y = None
        for rows, places, weights in terms:
            term = self.take(x, self.from_host(places), axis=axis)
            if weights is not None:
                none = weights == 0
                w = host.where(none, 1, weights).astype(dtype)
                term = term * self.reshape(self.from_host(w), column)
                if none.any():
                    term = self.where(self.reshape(self.from_host(none), column), 0, term)
            if y is None and rows == slice(0, count):
                y = term
                continue
            if y is None:
                y = self.zeros((*x.shape[:axis], count, *x.shape[axis + 1 :]), dtype)
            y[(*before, rows)] += term
        return y

    def sample(self, x: Array, w: Array, index: Array) -> Array:
        """y[n, c, l] = Σ w[n, k, l] · x[n, c, index[n, k, l]], over k; a weight 0 has no part."""
        planes = self._planes(x)
        y = self.zeros((len(planes), index.shape[0] * index.shape[2]), x.dtype)
        for k, places in enumerate(self._flat_places(index, x.shape[2])):
            y += self._weighed(self.take(planes, places, axis=1), w[:, k])
        return self._unplanes(y, len(x))

    def sample_transpose(self, d: Array, w: Array, index: Array, length: int) -> Array:
        """The adjoint of `sample` in its image: d (N, C, L) -> (N, C, length)."""
        planes = self._planes(d)
        channels, size = len(planes), len(d) * length
        first = self.reshape(self.arange(channels) * size, (-1, 1))
        x = self.zeros((channels * size,), d.dtype)
        for k, places in enumerate(self._flat_places(index, length)):
            shares = self.ravel(self._weighed(planes, w[:, k]))
            x += self.scatter_add(x.shape, self.ravel(first + places), shares)
        return self._unplanes(self.reshape(x, (channels, size)), len(d))

    def sample_weight(self, x: Array, d: Array, index: Array) -> Array:
        """The adjoint of `sample` in its weights: Σ x[n, c, index[n, k, l]] · d[n, c, l] over c."""
        planes, others = self._planes(x), self._planes(d)
        return self.stack(
            [
                self.reshape(
                    self.sum(self.take(planes, places, axis=1) * others, axis=0), (len(x), -1)
                )
                for places in self._flat_places(index, x.shape[2])
            ],
            axis=1,
        )

    def _flat_places(self, index: Array, length: int) -> list[Array]:
        """For each k the places in what `_planes` returns, (N·L,)."""
        first = self.reshape(self.arange(index.shape[0]) * length, (-1, 1))
        return [self.ravel(index[:, k] + first) for k in range(index.shape[1])]

    def _planes(self, x: Array) -> Array:
        """(N, C, P) -> (C, N·P)"""
        return self.reshape(self.swapaxes(x, 0, 1), (x.shape[1], x.shape[0] * x.shape[2]))

    def _unplanes(self, planes: Array, count: int) -> Array:
        """(C, N·P) -> (N, C, P)"""
        shape = (planes.shape[0], count, planes.shape[1] // max(count, 1))
        return self.swapaxes(self.reshape(planes, shape), 0, 1)

    def _weighed(self, values: Array, w: Array) -> Array:
        """values (C, N·L) times the weights w (N, L)."""
        w = self.ravel(w)
        values = self.where(w == 0, 0, values)
        values *= w
        return values

    def top(self, x: Array, k: int, largest: bool) -> Array:
        """The places of the k largest (or smallest) elements along the last axis, in their order.

        Equal ones come in the order of their places, and nan is larger than every number.
        """
        order = self.argsort(x if not largest else self.flip(x, -1), axis=-1, kind="stable")
        if not largest:
            return order[..., :k]
        return x.shape[-1] - 1 - self.flip(order, -1)[..., :k]

    def uniform(self, shape: Sequence[int], dtype: Any, generator: Any) -> Array:
        """Random numbers from [0, 1). `generator` is a numpy.random.Generator on every device."""
        if dtype != "float16":
            return self._drawn("uniform", shape, dtype, generator)
        draw = self._drawn("uniform", shape, "float32", generator)
        with self.active:  # cut to the 11 bits of half precision: rounding could give 1
            return self.array(self.floor(draw * 2048) / 2048, dtype)

    def normal(self, shape: Sequence[int], dtype: Any, generator: Any) -> Array:
        """Random numbers from the standard normal distribution."""
        if dtype != "float16":
            return self._drawn("normal", shape, dtype, generator)
        return self.array(self._drawn("normal", shape, "float32", generator), dtype)

    def _drawn(self, law: str, shape: Sequence[int], dtype: Any, generator: Any) -> Array:
        def draw(source: Any) -> Array:
            first, end, total = rows_here.get()
            if first == 0 and end == total:
                return self.draw(law, tuple(shape), dtype, source)
            times = shape[0] // (end - first) if shape and end > first else 1
            if not shape or shape[0] != times * (end - first):
                return self.draw(law, tuple(shape), dtype, source)
            whole = self.draw(law, (times * total, *shape[1:]), dtype, source)
            return whole[times * first : times * end]

        return drawn(generator, draw)

    def draw(self, law: str, shape: tuple[int, ...], dtype: Any, generator: Any) -> Array:
        """Random numbers of a law, "uniform" or "normal"."""
        raise NotImplementedError

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
        """One update of the parameter and its velocity, in place (see optim.SGD).

        In half precision it is computed in float32, which is the dtype of the velocity then.
        """
        raise NotImplementedError

    @property
    def updates_at_once(self) -> bool:
        """Whether `sgd_steps` and `adam_steps` are more than one step after another."""
        return False

    def sgd_steps(
        self,
        ps: Sequence[Array],
        gs: Sequence[Array],
        velocities: Sequence[Array] | None,
        **numbers: Any,
    ) -> None:
        """`sgd_step` of many parameters."""
        for p, g, v in zip(ps, gs, velocities or [None] * len(ps), strict=True):
            self.sgd_step(p, g, v, **numbers)

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
        """One update of the parameter and its moments, in place (see optim.Adam).

        `largest`, if given, is the largest v so far, of which the step is made (amsgrad). At first
        p ← kept · p. In half precision it is computed in float32, which is the dtype of the moments
        then.
        """
        raise NotImplementedError

    def adam_steps(
        self,
        ps: Sequence[Array],
        gs: Sequence[Array],
        ms: Sequence[Array],
        vs: Sequence[Array],
        **numbers: Any,
    ) -> None:
        """`adam_step` of many parameters."""
        for given in zip(ps, gs, ms, vs, strict=True):
            self.adam_step(*given, **numbers)

    def norm_of_all(self, xs: Sequence[Array]) -> Array | None:
        """√Σx² over the elements of many arrays; None where no kernel does it in one pass."""
        return None


class Lasting(list[Array]):
    """Arrays that stay what they are: a kernel may keep in `known` what it finds out of them."""

    known: Any = None


@dataclass(frozen=True)
class Local:
    """A result within an `image_pass`, by its number."""

    number: int
    shape: tuple[int, ...] = ()


def _column(x: Array) -> tuple[int, ...]:
    """The shape of numbers for each channel."""
    return 1, -1, *(1,) * (x.ndim - 2)


def _scaled(x: Array, mean: Array, r: Array) -> Array:
    """(x - mean) · r in the dtype of x. What the rounding of the mean leaves of it is added."""
    center = mean.astype(x.dtype)
    y = x - center
    y *= r.astype(x.dtype)
    y += ((center - mean) * r).astype(x.dtype)
    return y
