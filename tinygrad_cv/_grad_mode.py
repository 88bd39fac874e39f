"""Whether ops are recorded: a switch of the running thread (or task)."""

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from tinygrad_cv._public import TOP, public

Function = TypeVar("Function", bound=Callable[..., Any])


class _Frame:
    """One `with` block that switched recording, and the block around it.

    A call that only set the switch is a `loose` frame on top, which goes with the block it is in.
    """

    __slots__ = ("enabled", "loose", "outer")

    def __init__(self, enabled: bool, outer: "_Frame | None", loose: bool = False) -> None:
        self.enabled, self.outer, self.loose = enabled, outer, loose


_innermost: ContextVar[_Frame] = ContextVar("innermost", default=_Frame(True, None))  # noqa: B039  never changed


@public(TOP)
def is_grad_enabled() -> bool:
    """Whether ops are recorded for a backward pass in this thread (or task)."""
    return _innermost.get().enabled


class _Switch:
    """A context and a decorator. The state belongs to the running thread or asyncio task."""

    enabled: bool

    def __new__(cls, *given: Any, **named: Any) -> Any:
        """A switch; or as a decorator without parentheses, the decorated function."""
        return cls()(given[0]) if given and callable(given[0]) else super().__new__(cls)

    def __init__(self) -> None:
        self.frames: list[_Frame] = []

    def _again(self) -> "_Switch":
        """Such a switch, for one call of a decorated function."""
        return type(self)()

    def __enter__(self) -> None:
        frame = _Frame(self.enabled, _innermost.get())
        self.frames.append(frame)
        _innermost.set(frame)

    def __exit__(self, *error: object) -> None:
        frame = self.frames.pop()
        # A generator may be closed in a thread that never entered; nothing is to be undone there.
        here = _innermost.get()
        if (here.outer if here.loose else here) is frame and frame.outer is not None:
            _innermost.set(frame.outer)

    def __call__(self, function: Function) -> Function:
        if inspect.isgeneratorfunction(function):
            return cast(Function, self._decorate_generator(function))

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return cast(Function, wrapped)

    def _decorate_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Switched while the generator runs, and not while its consumer does."""

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            generator = function(*args, **kwargs)
            sent = None
            try:
                while True:
                    with self._again():
                        value = generator.send(sent)
                    sent = yield value
            except StopIteration as end:
                return end.value
            finally:
                generator.close()

        return wrapped


@public(TOP)
class no_grad(_Switch):  # noqa: N801  PyTorch's name
    """Compute without recording a graph: `with no_grad():`, or `@no_grad()` on a function.

    The switch belongs to the running thread (or asyncio task): others keep recording.

    >>> import tinygrad_cv as tg
    >>> w = tg.tensor(3.0, requires_grad=True)
    >>> with tg.no_grad():
    ...     y = w * w
    >>> y.requires_grad
    False
    """

    enabled = False


@public(TOP)
class enable_grad(_Switch):  # noqa: N801  PyTorch's name
    """Record again inside a `no_grad` block, as a context or as a decorator."""

    enabled = True


@public(TOP)
class set_grad_enabled(_Switch):  # noqa: N801  PyTorch's name
    """Record or not, from now on; as a context or as a decorator, only inside.

    Called inside of a `with no_grad():` and the like, it holds until the end of that block.

    >>> import tinygrad_cv as tg
    >>> with tg.set_grad_enabled(False):
    ...     print(tg.is_grad_enabled())
    False
    >>> tg.is_grad_enabled()
    True
    """

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self.enabled = bool(mode)
        self.before = _innermost.get()
        outer = self.before.outer if self.before.loose else self.before
        self.set = _Frame(self.enabled, outer, loose=True)
        _innermost.set(self.set)

    def _again(self) -> "set_grad_enabled":
        return set_grad_enabled(self.enabled)

    def _undo(self) -> None:
        """It turns out to be a context or a decorator, and holds only inside."""
        if _innermost.get() is self.set:
            _innermost.set(self.before)

    def __enter__(self) -> None:
        self._undo()
        super().__enter__()

    def __call__(self, function: Function) -> Function:
        self._undo()
        return super().__call__(function)


@public(TOP)
class inference_mode(_Switch):  # noqa: N801  PyTorch's name
    """`no_grad` under another name, or `enable_grad` with `mode=False`.

    >>> import tinygrad_cv as tg
    >>> with tg.inference_mode():
    ...     print(tg.is_grad_enabled())
    False
    """

    def __init__(self, mode: bool = True) -> None:
        super().__init__()
        self.enabled = not mode

    def _again(self) -> "inference_mode":
        return inference_mode(not self.enabled)
