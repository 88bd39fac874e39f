"""The only place that imports an array library. Everything else works through a `Backend`.

`host` is the namespace of host memory, for code that prepares data before it becomes a Tensor.
"""

import copy
import copyreg
import random
from contextvars import ContextVar, Token
from importlib import import_module
from typing import Any

import numpy as host

from tinygrad_cv._public import TOP, public
from tinygrad_cv.backend.base import Backend
from tinygrad_cv.backend.devices import KINDS, SINGLE, device, within
from tinygrad_cv.backend.locks import Locked
from tinygrad_cv.backend.switch import (
    get_conv_precision,
    get_kernels,
    set_conv_precision,
    set_kernels,
)
from tinygrad_cv.backend.threads import get_num_threads, set_num_threads

__all__ = [
    "Backend",
    "Seeded",
    "as_generator",
    "choose",
    "device",
    "draw_from",
    "get",
    "get_conv_precision",
    "get_default_device",
    "get_kernels",
    "get_num_threads",
    "host",
    "set_conv_precision",
    "set_default_device",
    "set_kernels",
    "set_num_threads",
]

_generator = host.random.default_rng()
_numpys: Any = host.random  # its functions, which draw from one hidden source
_within_seeded: ContextVar[host.random.Generator | None] = ContextVar("seeded", default=None)
_default_device = device("cpu")
_opened: dict[str, Backend] = {}
_opening = Locked()


def draw_from(generator: host.random.Generator) -> None:
    """Let this generator be the one that is used where none is given."""
    global _generator
    _generator = generator


def as_generator(generator: Any) -> host.random.Generator:
    """The generator given, or for None the one that `manual_seed` seeds."""
    if generator is None:
        return _within_seeded.get() or _generator
    if not isinstance(generator, host.random.Generator):
        raise TypeError(
            "generator must be a Generator, a numpy.random.Generator or None, given "
            f"{generator!r}; for a seed, give numpy.random.default_rng(seed), or "
            "Generator().manual_seed(seed)."
        )
    return generator


class Seeded:
    """A `with` block in which all that is random by default follows from a seed and a number.

    After `at(number)` these draw what belongs to (seed, number): the generator that stands for
    None, also on a GPU; Python's `random`; and NumPy's functions, such as `numpy.random.rand`.
    Different numbers, whole and of any sign, give independent streams, in any order and process.
    After the block each of them goes on from where it was before.

    The generator of a number is PCG64(seed), jumped ahead so many times (M. E. O'Neill, "PCG: a
    family of simple fast space-efficient statistically good algorithms", 2014); the other two are
    seeded with its first 64 bits. The generator belongs to this thread or task; the other two
    belong to the process, and so does the block as far as they go.

    A block costs some 60 µs, most of it for NumPy's old state, and `at` some 10 µs: enter once for
    several numbers.

    >>> with Seeded(7) as seeded:
    ...     seeded.at(3)
    ...     first = as_generator(None).random(), random.random(), host.random.rand()
    ...     seeded.at(4)
    ...     other = as_generator(None).random(), random.random(), host.random.rand()
    >>> with Seeded(7) as seeded:
    ...     seeded.at(3)
    ...     first == (as_generator(None).random(), random.random(), host.random.rand())
    True
    >>> any(a == b for a, b in zip(first, other))
    False
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._start = host.random.PCG64(seed).state
        self._of_numpy = host.random.MT19937(seed)

    def __enter__(self) -> "Seeded":
        self._generator = copy.copy(_generator)
        self._outer: Token[Any] = _within_seeded.set(self._generator)
        self._python = random.getstate()
        self._numpy = _numpys.get_bit_generator(), host.random.get_state(legacy=False)
        _numpys.set_bit_generator(self._of_numpy)
        return self

    def at(self, number: int) -> None:
        """From here on, what belongs to this number is drawn."""
        source: Any = self._generator.bit_generator
        source.state = self._start
        source.advance(number * JUMP % 2**128)
        bits = int(source.random_raw())
        random.seed(bits)
        host.random.seed(bits % 2**32)

    def __exit__(self, *error: object) -> None:
        _within_seeded.reset(self._outer)
        random.setstate(self._python)
        bits, state = self._numpy
        _numpys.set_bit_generator(bits)
        if state["has_gauss"]:  # the second of two normal numbers, which is no part of the bits
            host.random.set_state(state)


JUMP = 0x9E3779B97F4A7C15F39CC0605CEDC835
"""How far the streams of two neighbours are apart: 2¹²⁸ divided by the golden ratio."""


@public(TOP)
def set_default_device(device: str | int | None) -> None:
    """Where new tensors are made when no device is given; "cpu" at first, and for None.

    >>> import tinygrad_cv as tg
    >>> tg.set_default_device("cpu")
    >>> tg.zeros(2).device
    device(type='cpu')
    """
    global _default_device
    _default_device = get("cpu" if device is None else device).device


@public(TOP)
def get_default_device() -> device:
    """The device of the `with device(...)` around, or the one that `set_default_device` chose.

    >>> import tinygrad_cv as tg
    >>> tg.zeros(2).device == tg.get_default_device()
    True
    """
    return get(None).device


def get(device: str | int | None) -> Backend:
    """The backend of a device such as "cpu" or "cuda:1"; None stands for the default device."""
    name: Any = device
    if name is None:
        blocks = within.get()
        name = blocks[-1] if blocks else _default_device
    return _opened.get(name) or _open(name)


def _open(name: str | int) -> Backend:
    """Two threads that come at once, and all ways to write a device, get the same backend."""
    place = device(name)
    module, index = import_module(KINDS[place.type]), place.index or 0
    full = place.type if place.type in SINGLE else f"{place.type}:{index}"
    with _opening.lock:
        if full not in _opened:
            backend = _opened.setdefault(full, module.open_device(index))
            copyreg.pickle(type(backend), _by_its_device)
        return _opened.setdefault(str(place), _opened[full])


def choose(device: str | int) -> None:
    """Let the kind of this device without a number, such as "cuda", stand for it."""
    backend = get(device)
    _opened[backend.device.type] = backend


def _by_its_device(backend: Backend) -> tuple[Any, ...]:
    """How a backend is pickled and copied: there is one a device, in every process."""
    return get, (backend.device,)
