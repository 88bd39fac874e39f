"""Every state that random numbers are drawn from, noted and put back."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import as_generator, host

MANY = 1000
"""Lists and dicts with more in them hold data, and no generators."""

SOURCES = (host.random.Generator, host.random.RandomState, random.Random)
OTHERS = (Tensor, host.ndarray, ModuleType, type, str, bytes, int, float, type(None))


class Randomness:
    """The states of the default generator, of those of Python and NumPy, and of some objects'.

    Those are what is found among the attributes of the owners, and of what they hold. They are told
    apart by their order, which is the same where the owners were made in the same way.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv import nn
    >>> dropout = nn.Dropout(0.5, generator=tg.Generator())
    >>> randomness = Randomness(dropout)
    >>> with randomness.kept():
    ...     first = dropout(tg.ones(20)), tg.rand(3), random.random()
    >>> dropout(tg.ones(20)).equal(first[0]), random.random() == first[2]
    (True, True)
    """

    def __init__(self, *owners: Any) -> None:
        self.sources = [*_sources(owners)]

    def _all(self) -> list[Any]:
        return [*dict.fromkeys([as_generator(None), *self.sources])]

    def state_dict(self) -> dict[str, Any]:
        """The states, as plain values."""
        return {
            "python": _state_of(random),
            "numpy": host.random.get_state(legacy=False),
            "generators": [_state_of(source) for source in self._all()],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there. Raises ValueError for another number of generators."""
        sources, states = self._all(), state_dict["generators"]
        if len(sources) != len(states):
            raise ValueError(f"there are {len(sources)} generators, and states for {len(states)}.")
        _set_state(random, state_dict["python"])
        host.random.set_state(state_dict["numpy"])
        for source, state in zip(sources, states, strict=True):
            _set_state(source, state)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """A block after which all random numbers go on as if it had not been."""
        state = self.state_dict()
        try:
            yield
        finally:
            self.load_state_dict(state)


def _state_of(source: Any) -> Any:
    if isinstance(source, host.random.Generator):
        state = source.bit_generator.state
        return {"state": state, "seed": getattr(source, "_seed", None)}
    if isinstance(source, host.random.RandomState):
        return source.get_state(legacy=False)
    version, numbers, gauss = source.getstate()
    return {"version": version, "numbers": host.array(numbers, "uint32"), "gauss": gauss}


def _set_state(source: Any, state: Any) -> None:
    if isinstance(source, host.random.Generator):
        source.bit_generator.state = state["state"]
        if state["seed"] is not None:
            source._seed = state["seed"]  # type: ignore[attr-defined]
    elif isinstance(source, host.random.RandomState):
        source.set_state(state)
    else:
        source.setstate((state["version"], tuple(state["numbers"].tolist()), state["gauss"]))


def _sources(owners: tuple[Any, ...]) -> Iterator[Any]:
    """The generators that the owners hold, each once, in a fixed order."""
    waiting, seen = [*reversed(owners)], dict[int, Any]()
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, OTHERS):
            continue
        seen[id(thing)] = thing
        if isinstance(thing, SOURCES):
            yield thing
        else:
            waiting += reversed(_parts(thing))


def _parts(thing: Any) -> list[Any]:
    if isinstance(thing, dict | list | tuple):
        few = len(thing) <= MANY
        return [*(thing.values() if isinstance(thing, dict) else thing)] if few else []
    if isinstance(thing, partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if isinstance(thing, MethodType):
        return [thing.__self__, thing.__func__]
    if isinstance(thing, FunctionType):
        return [cell.cell_contents for cell in thing.__closure__ or () if _is_filled(cell)]
    return [*vars(thing).values()] if hasattr(thing, "__dict__") else []


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018  raises if it is empty
    except ValueError:
        return False
    return True
