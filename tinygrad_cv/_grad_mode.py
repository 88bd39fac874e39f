"""Whether ops are recorded: a switch of the running thread (or task)."""

import functools
import inspect
import types
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from tinygrad_cv._public import AUTOGRAD, TOP, public

_blocks: ContextVar[tuple[Any, ...]] = ContextVar("blocks", default=(True, None))
"""The open blocks, from inside out: whether ops are recorded in it, and the switch that opened it.

The tuple is the thread's or the task's, and a switch has no state: so it may be shared.
"""

Function = TypeVar("Function")


@public(TOP)
def is_grad_enabled() -> bool:
    """Whether ops are recorded for a backward pass in this thread (or task)."""
    return _blocks.get()[0]  # type: ignore[no-any-return]


class _Switch:
    """A context and a decorator. The state belongs to the running thread or asyncio task."""

    enabled: bool

    def __new__(cls, *given: Any, **named: Any) -> Any:
        """A switch; or as a decorator without parentheses, the decorated function."""
        if given and (callable(given[0]) or isinstance(given[0], classmethod)):
            return cls()(given[0])
        return super().__new__(cls)

    def __init__(self) -> None:
        pass  # it takes no arguments

    def __enter__(self) -> None:
        _blocks.set((self.enabled, self, *_blocks.get()))

    def __exit__(self, *error: object) -> None:
        blocks = _blocks.get()
        # Generators end in any order, so blocks of others may be inside; and one may be closed in
        # a thread that never entered, where nothing is to be undone.
        for k in range(0, len(blocks), 2):
            if blocks[k + 1] is self:
                _blocks.set(blocks[:k] + blocks[k + 2 :])
                return

    def __call__(self, function: Function) -> Function:
        """The function, switched while it runs: each step of a generator or a coroutine."""
        if isinstance(function, staticmethod | classmethod):
            return cast(Function, type(function)(self(function.__func__)))
        if not callable(function) or isinstance(function, type):
            raise TypeError(
                f"{type(self).__name__} decorates functions and methods; got {function!r}. Of a "
                "class decorate the methods that are meant, such as __init__."
            )

        def call(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        def generator(*args: Any, **kwargs: Any) -> Any:
            return (yield from _steps(self.enabled, function(*args, **kwargs)))

        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            return await _steps(self.enabled, function(*args, **kwargs))

        async def stream(*args: Any, **kwargs: Any) -> Any:
            inner = function(*args, **kwargs)
            step = inner.asend(None)
            while True:
                try:
                    value = await _steps(self.enabled, step)
                except StopAsyncIteration:
                    return
                try:
                    step = inner.asend((yield value))
                except BaseException as error:  # also that it is to close
                    step = inner.athrow(error)

        if inspect.isgeneratorfunction(function):
            wrapped: Callable[..., Any] = generator
        elif inspect.iscoroutinefunction(function):
            wrapped = coroutine
        else:
            wrapped = stream if inspect.isasyncgenfunction(function) else call
        return cast(Function, functools.wraps(function)(wrapped))


@types.coroutine
def _steps(enabled: bool, inner: Any) -> Generator[Any, Any, Any]:
    """What `inner`, a generator or a coroutine, does: switched while it runs, not in between.

    The blocks that it has open are put away with it, and opened again for its next step.
    """
    outermost = object()
    own: tuple[Any, ...] = (enabled, outermost)
    resume, sent = inner.send, None
    while True:
        _blocks.set(own + _blocks.get())
        try:
            value = resume(sent)
        except StopIteration as end:
            return end.value
        finally:
            blocks = _blocks.get()
            k = blocks.index(outermost) + 1
            own = blocks[:k]
            _blocks.set(blocks[k:])
        try:
            resume, sent = inner.send, (yield value)
        except BaseException as error:  # also that it is to close
            resume, sent = inner.throw, error


@public(TOP, AUTOGRAD)
class no_grad(_Switch):  # noqa: N801  PyTorch's name
    """Compute without recording a graph: `with no_grad():`, or `@no_grad()` on a function.

    The switch belongs to the running thread (or asyncio task): others keep recording, also where
    they share one `no_grad` object. A decorated generator or coroutine is switched while it runs,
    and who waits for it is not. Of a class decorate the methods.

    >>> import tinygrad_cv as tg
    >>> w = tg.tensor(3.0, requires_grad=True)
    >>> with tg.no_grad():
    ...     y = w * w
    >>> y.requires_grad
    False
    """

    enabled = False


@public(TOP, AUTOGRAD)
class enable_grad(_Switch):  # noqa: N801  PyTorch's name
    """Record again inside a `no_grad` block, as a context or as a decorator."""

    enabled = True


@public(TOP, AUTOGRAD)
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
        self.enabled = bool(mode)
        self.before = _blocks.get()
        self.after = (self.enabled, *self.before[1:])
        _blocks.set(self.after)

    def _undo(self) -> None:
        """It turns out to be a context or a decorator, and holds only inside."""
        if _blocks.get() is self.after:
            _blocks.set(self.before)

    def __enter__(self) -> None:
        self._undo()
        super().__enter__()

    def __call__(self, function: Function) -> Function:
        self._undo()
        return super().__call__(function)


@public(TOP, AUTOGRAD)
class inference_mode(_Switch):  # noqa: N801  PyTorch's name
    """`no_grad` under another name, or `enable_grad` with `mode=False`.

    >>> import tinygrad_cv as tg
    >>> with tg.inference_mode():
    ...     print(tg.is_grad_enabled())
    False
    """

    def __init__(self, mode: bool = True) -> None:
        self.enabled = not mode


@public(TOP)
def is_inference_mode_enabled() -> bool:
    """Whether the innermost `inference_mode` that is open in this thread is one."""
    opened = [switch for switch in _blocks.get() if isinstance(switch, inference_mode)]
    return bool(opened) and not opened[0].enabled
