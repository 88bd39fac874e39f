"""The host with compiled kernels: NumPy's backend, with the hot kernels replaced.

A kernel that is defined here takes what `takes` lets through, arrays of float32 that are large
enough to be worth a call; all else goes to NumPy's, which is the reference for what it computes.
"""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from tinygrad_cv.backend import windows
from tinygrad_cv.backend.numpy_backend import FLOAT32, NDARRAY, NumpyBackend
from tinygrad_cv.backend.switch import KERNELS

Array = Any
Ints = Sequence[int]

LEAST = 1 << 11
"""With fewer elements an elementwise kernel is no faster than NumPy's."""


@cache
def family(name: str) -> ModuleType:
    """The file of a family of kernels, imported (and numba with it) when the first is needed."""
    return import_module(f"tinygrad_cv.backend.compiled.{name}")


def takes(*arrays: Array, least: int = LEAST) -> bool:
    """Whether compiled kernels are on, and all of these are arrays for them."""
    if not KERNELS.compiled:
        return False
    for x in arrays:
        if type(x) is not NDARRAY or x.dtype is not FLOAT32 or x.size < least:
            return False
    return True


def open_device(index: int) -> "CompiledBackend":
    """The backend of the host; there is one."""
    return CompiledBackend()


class CompiledBackend(NumpyBackend):
    """The device "cpu"; where numba is missing, NumPy's kernels do everything."""

    # ----- elementwise -----------------------------------------------------------------------

    def relu(self, x: Array) -> tuple[Array, Array]:
        return family("elementwise").relu(x) if takes(x) else super().relu(x)

    def relu_backward(self, g: Array, positive: Array) -> Array:
        if takes(g):
            return family("elementwise").relu_backward(g, positive)
        return super().relu_backward(g, positive)

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
        pool = family("pool") if takes(g) else windows
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
        pool = family("pool") if takes(x) else windows
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
            found = family("rows").row_index(shape, index)
            if found is not None:
                return family("rows").scatter_rows(shape, *found, g)
        return super().scatter_add(shape, index, g)

    def weighted_sums(
        self, x: Array, axis: int, terms: Sequence[Any], count: int, wide: bool
    ) -> Array:
        if takes(x) and terms and family("rows").has_rows(x, axis):
            return family("rows").weighted_sums(x, axis, terms, count)
        return super().weighted_sums(x, axis, terms, count, wide)

    def sample(self, x: Array, w: Array, index: Array) -> Array:
        if takes(x, w, least=1) and x.shape[1] * w.size >= LEAST:
            return family("rows").sample(x, w, index)
        return super().sample(x, w, index)

    def sample_transpose(self, d: Array, w: Array, index: Array, length: int) -> Array:
        if takes(d, w, least=1) and d.shape[1] * w.size >= LEAST:
            return family("rows").sample_transpose(d, w, index, length)
        return super().sample_transpose(d, w, index, length)

    def sample_weight(self, x: Array, d: Array, index: Array) -> Array:
        if takes(x, d, least=1) and x.shape[1] * index.size >= LEAST:
            return family("rows").sample_weight(x, d, index)
        return super().sample_weight(x, d, index)
