"""The host with compiled kernels: NumPy's backend, with the hot kernels replaced.

A kernel that is defined here takes what `takes` lets through, arrays of float32 that are large
enough to be worth a call; all else goes to NumPy's, which is the reference for what it computes.
"""

from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from tinygrad_cv.backend.memory import keep_what_is_freed
from tinygrad_cv.backend.numpy_backend import FLOAT32, NDARRAY, NumpyBackend
from tinygrad_cv.backend.switch import KERNELS

Array = Any

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
    keep_what_is_freed()
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
