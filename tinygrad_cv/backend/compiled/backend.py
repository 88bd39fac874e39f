"""The host with compiled kernels: NumPy's backend, with the hot kernels replaced.

A kernel that is defined here takes what `takes` lets through, arrays of float32 that are large
enough to be worth a call; all else goes to NumPy's, which is the reference for what it computes.
"""

from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from tinygrad_cv.backend.numpy_backend import (
    FLOAT32,
    NDARRAY,
    NumpyBackend,
    images_of,
    rows_of,
)
from tinygrad_cv.backend.switch import KERNELS

Array = Any

LEAST = 1 << 11
"""With fewer elements an elementwise kernel is no faster than NumPy's."""

FEW = 1 << 8
"""With fewer a kernel that stands for a dozen of NumPy's is not worth numba's import."""

MANY = 1 << 14
"""With fewer NumPy has added them up before it is clear how they lie."""


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
            found = family("norm").batch_norm(rows_of(x), weight, bias, eps)
            if found is not None:
                y, mean, var = found
                return images_of(y, x.shape), mean, var
        return super().batch_norm(x, weight, bias, eps)

    def batch_norm_backward(
        self, g: Array, x: Array, weight: Array | None, mean: Array, var: Array, eps: float
    ) -> tuple[Array, Array, Array]:
        if not takes(g, x):
            return super().batch_norm_backward(g, x, weight, mean, var, eps)
        rows = rows_of(g), rows_of(x)
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
