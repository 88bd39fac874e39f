"""The only place that imports an array library. Everything else works through a `Backend`.

`host` is the namespace of host memory, for code that prepares data before it becomes a Tensor.
"""

import copyreg
import os
from importlib import import_module
from threading import RLock
from typing import Any

import numpy as host

from tinygrad_cv._public import TOP, public
from tinygrad_cv.backend.base import Backend
from tinygrad_cv.backend.threads import get_num_threads, set_num_threads

__all__ = [
    "Backend",
    "as_generator",
    "default_generator",
    "get",
    "get_default_device",
    "get_num_threads",
    "host",
    "manual_seed",
    "set_default_device",
    "set_num_threads",
]

KINDS = {
    "cpu": "tinygrad_cv.backend.numpy_backend",
    "cuda": "tinygrad_cv.backend.cupy_backend",
    "fakecuda": "tinygrad_cv.testing.fakecuda",
}
"""For each kind of device the module whose `open_device(index)` gives its backend. It is imported
when the device is first asked for."""

_generator = host.random.default_rng()
_default_device = "cpu"
_opened: dict[str, Backend] = {}
_opening = RLock()


@public(TOP)
def manual_seed(seed: int) -> host.random.Generator:
    """Seed the generator that is used where none is given, and return it.

    Every device draws from it: a GPU takes its keys from here (see `Backend.uniform`).

    >>> import tinygrad_cv as tg
    >>> _ = tg.manual_seed(0)
    >>> a = tg.rand(2)
    >>> _ = tg.manual_seed(0)
    >>> (a == tg.rand(2)).tolist()
    [True, True]
    """
    global _generator
    try:
        _generator = host.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"manual_seed: a seed is a whole number, 0 or more; got {seed!r}."
        ) from None
    return _generator


def default_generator() -> host.random.Generator:
    """The generator that `manual_seed` seeds."""
    return _generator


def as_generator(generator: Any) -> host.random.Generator:
    """The generator given, or for None the one that `manual_seed` seeds."""
    if generator is None:
        return _generator
    if not isinstance(generator, host.random.Generator):
        raise TypeError(
            f"generator must be a numpy.random.Generator or None, given {generator!r}; for a seed, "
            "give numpy.random.default_rng(seed)."
        )
    return generator


@public(TOP)
def set_default_device(device: str) -> None:
    """Where new tensors are made when no device is given; "cpu" at first.

    >>> import tinygrad_cv as tg
    >>> tg.set_default_device("cpu")
    >>> tg.zeros(2).device
    'cpu'
    """
    global _default_device
    _default_device = get(device).device


@public(TOP)
def get_default_device() -> str:
    """The device that `set_default_device` chose.

    >>> import tinygrad_cv as tg
    >>> tg.zeros(2).device == tg.get_default_device()
    True
    """
    return _default_device


def get(device: str | None) -> Backend:
    """The backend of a device such as "cpu" or "cuda:1"; None stands for the default device."""
    name = _default_device if device is None else device
    return _opened.get(name) or _open(name)


def _open(device: str) -> Backend:
    """Two threads that come at once, and all ways to write a device, get the same backend."""
    kind, separator, number = str(device).partition(":")
    if kind not in KINDS or (separator and not (number.isdecimal() and kind != "cpu")):
        raise ValueError(
            f"unknown device {device!r}; expected 'cpu', 'cuda', or 'cuda:1' for the second GPU."
        )
    module, index = import_module(KINDS[kind]), int(number or 0)
    name = kind if kind == "cpu" else f"{kind}:{index}"
    with _opening:
        if name not in _opened:
            backend = _opened.setdefault(name, module.open_device(index))
            copyreg.pickle(type(backend), _by_its_device)
        return _opened.setdefault(device, _opened[name])


def _by_its_device(backend: Backend) -> tuple[Any, ...]:
    """How a backend is pickled and copied: there is one a device, in every process."""
    return get, (backend.device,)


def _after_fork() -> None:
    """A lock that another thread held does not come free in the child."""
    global _opening
    _opening = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
