"""The only place that imports an array library. Everything else works through a `Backend`.

`host` is the namespace of host memory, for code that prepares data before it becomes a Tensor.
"""

from functools import cache

import numpy as host

from tinygrad_cv.backend.base import Backend

__all__ = ["Backend", "default_generator", "get", "host", "is_device", "manual_seed"]

_generator = host.random.default_rng()


def manual_seed(seed: int) -> host.random.Generator:
    """Seed the generator that is used where none is given, and return it.

    >>> import tinygrad_cv as tg
    >>> _ = tg.manual_seed(0)
    >>> a = tg.rand(2)
    >>> _ = tg.manual_seed(0)
    >>> (a == tg.rand(2)).tolist()
    [True, True]
    """
    global _generator
    _generator = host.random.default_rng(seed)
    return _generator


def default_generator() -> host.random.Generator:
    """The generator that `manual_seed` seeds."""
    return _generator


def is_device(name: str) -> bool:
    """Whether the text names a kind of device (not whether this machine has one)."""
    return name.partition(":")[0] in ("cpu", "cuda")


@cache
def get(device: str) -> Backend:
    """The backend of a device such as "cpu"."""
    if device == "cpu":
        from tinygrad_cv.backend.numpy_backend import NumpyBackend

        return NumpyBackend()
    if is_device(device):
        raise ValueError(f"device {device!r} is not supported by this version; use 'cpu'.")
    raise ValueError(f"unknown device {device!r}; expected 'cpu'.")
