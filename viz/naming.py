"""What the user's program calls things: tensors, models, the lines that run."""

from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from types import FrameType, ModuleType
from typing import Any

from tinygrad_cv._frames import frames_of_user
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn import Module

CALLERS = 8
"""In so many calls, the innermost ones, it is looked for what holds a model."""


def variables(frame: FrameType | None, ended: bool = False) -> dict[int, str]:
    """The names of a frame's variables that hold tensors, by the number of the tensor's node.

    Its variables are its own and the global ones that its code mentions. A list or dict of tensors
    names its elements: "hs[3]". In a function that `ended`, what it was called with names leaves
    only: its caller has the better name for what it computed itself.
    """
    if frame is None:
        return {}
    given = frame.f_code.co_varnames[: frame.f_code.co_argcount] if ended else ()
    own, known = frame.f_locals, frame.f_globals
    mentioned = {n: known[n] for n in frame.f_code.co_names if n in known and n not in own}
    return named({**own, **mentioned}, given)


def named(values: Mapping[str, Any], given: Collection[str] = ()) -> dict[int, str]:
    """The names of tensors among variables; of those that were `given`, leaves only."""
    found: list[tuple[str, Any]] = []
    inside: list[tuple[str, Any]] = []
    for name, value in values.items():
        if name.startswith("_") or not name.isidentifier():
            continue
        if isinstance(value, Tensor):
            node = value._node
            if node is not None and (node.op is None or name not in given):
                found.append((name, value))
        elif isinstance(value, list | dict):
            inside += _parts(name, value)
    names: dict[int, str] = {}
    for called, part in found + inside:  # a variable of its own is the better name
        if isinstance(part, Tensor) and part._node is not None:
            names.setdefault(part._node.number, called)
    return names


def _parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What is in a list, a tuple or a dict of this name."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return ((f"{name}[{key!r}]", part) for key, part in items)


class Running:
    """The calls of the user's program while ops are made, and the names that they leave behind.

    Their frames are held until the next op finds them ended: then their variables hold what they
    held at the end. No profiler is needed for that, so that of the user goes on.
    """

    def __init__(self, names: dict[int, str]) -> None:
        self.names = names
        """By the number of a tensor's node."""
        self._frames: list[FrameType] = []
        self._base = next(frames_of_user(), None)

    def look(self) -> FrameType | None:
        """The innermost frame of the user's, after a look at those that have ended."""
        now: list[FrameType] = []
        for frame in frames_of_user():
            if frame is self._base:
                break
            now.append(frame)
        self._end(now)
        return now[0] if now else self._base

    def end(self) -> None:
        """All calls have ended; a leaf of the caller may have got its node just now."""
        self._end([])
        for number, name in variables(self._base).items():
            self.names.setdefault(number, name)
        self._base = None

    def _end(self, now: list[FrameType]) -> None:
        running = set(map(id, now))
        for frame in self._frames:
            if id(frame) not in running:
                for number, name in variables(frame, ended=True).items():
                    self.names.setdefault(number, name)
        self._frames = now


def holders(modules: Collection[Module]) -> dict[int, str]:
    """What holds each of these models in the program that is running, by the model's id.

    That is a variable, "G"; a place in a list or dict, "nets[0]"; or an attribute of an object that
    a variable holds, such as "G" of self.G.
    """
    wanted = {id(module) for module in modules}
    names: dict[int, str] = {}
    for frame in islice(frames_of_user(), CALLERS):
        for called, value in _held(frame):
            if len(names) == len(wanted):
                return names
            if id(value) in wanted:
                names.setdefault(id(value), called)
    return names


def _held(frame: FrameType) -> Iterator[tuple[str, Any]]:
    """What the variables of a frame hold, by name; then what is in it, and the globals."""
    own = [(name, value) for name, value in frame.f_locals.items() if _is_told(name)]
    yield from own
    for name, value in own:
        if isinstance(value, list | tuple | dict):
            yield from _parts(name, value)
    for _, value in [*own, ("self", frame.f_locals.get("self"))]:
        if not isinstance(value, ModuleType | type | Tensor):
            yield from ((each, part) for each, part in _attributes(value) if _is_told(each))
    yield from ((name, value) for name, value in frame.f_globals.items() if _is_told(name))


def _attributes(value: Any) -> list[tuple[str, Any]]:
    """What an object holds; nothing of its own is run to find out."""
    try:
        return [*object.__getattribute__(value, "__dict__").items()]
    except AttributeError:
        return []


def _is_told(name: str) -> bool:
    return name != "self" and not name.startswith("_") and name.isidentifier()
