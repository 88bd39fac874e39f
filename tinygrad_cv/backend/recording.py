"""Arrays that note what is done to them, and the backend that they live on.

While a step is recorded (see `program/record.py`) the backend of its device is a `RecordingBackend`
to the thread that records, and as ever to all others. Its arrays are `Traced`: each stands for an
array of the device, with which everything is done for real, and each call is noted as an
instruction. What would make of a number something that Python goes by, such as `if` or `float()`,
is refused, for the next step has other numbers.
"""

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import cache, partial, wraps
from typing import Any, NoReturn

import numpy as np

from tinygrad_cv._frames import line_of_user
from tinygrad_cv.backend.base import NAMESPACE, Backend
from tinygrad_cv.backend.locks import Locked
from tinygrad_cv.backend.operand import Operand, looked_at, parts

Array = Any

recording: ContextVar[Any] = ContextVar("recording", default=None)
"""The recorder of this thread, or None."""

written: ContextVar[bool] = ContextVar("written", default=False)
"""Whether compiled functions run as they are written; see `as_written`."""


@contextmanager
def as_written() -> Iterator[None]:
    """Let no compiled function replay: hooks and options of layers then have their effect."""
    token = written.set(True)
    try:
        yield
    finally:
        written.reset(token)


class RecordingError(RuntimeError):
    """A step does what a recorded program cannot do again."""


class OtherwiseError(Exception):
    """A program does not hold for these numbers: what was assumed of them is otherwise."""


class Lacks:
    """The assumption that no element of an array is this number."""

    assumes = True

    def __init__(self, number: Any) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"without {self.number}"

    def __call__(self, array: Any) -> None:
        if np.any(array == self.number):
            raise OtherwiseError(f"{self.number} is among the numbers")


def refuse(what: str, instead: str) -> NoReturn:
    """Raise for what cannot be recorded, with the line of the user's that asks for it."""
    raise RecordingError(f"{line_of_user()}: {what} cannot be recorded. {instead}")


def _read(how: str) -> NoReturn:
    refuse(
        f"{how} of a tensor in a compiled function, whose number is another one at each replay,",
        "Return the tensor and read it outside, or choose with where(condition, a, b).",
    )


def on_host(function: Callable[..., Any]) -> Callable[..., Any]:
    """A method that counts and decides in Python: recorded as one call, to be made at each replay.

    What it is given is the same each time, so tensors of the step are refused by what reads them.
    """

    @wraps(function)
    def called(*args: Any, **options: Any) -> Any:
        recorder = recording.get()
        if recorder is None:
            return function(*args, **options)
        return recorder.host_call(partial(function, *args, **options), [])

    called.on_host = True  # type: ignore[attr-defined]
    return called


# ----- arrays ------------------------------------------------------------------------------------


class Traced(Operand):
    """An array of a step that is recorded: `numbers`, for real, and the `value` of the program."""

    __slots__ = ("__weakref__", "numbers", "value")

    def __init__(self, numbers: Any, value: Any) -> None:
        self.numbers, self.value = numbers, value

    # ----- what it is ------------------------------------------------------------------------

    shape = property(lambda self: self.numbers.shape)
    ndim = property(lambda self: self.numbers.ndim)
    dtype = property(lambda self: self.numbers.dtype)
    size = property(lambda self: self.numbers.size)
    itemsize = property(lambda self: self.numbers.itemsize)
    nbytes = property(lambda self: self.numbers.nbytes)
    strides = property(lambda self: self.numbers.strides)
    base = property(lambda self: self.numbers.base)
    flags = property(lambda self: self.numbers.flags)

    def __repr__(self) -> str:
        return f"<recorded {self.dtype} {self.shape}>"

    # ----- what is done with it --------------------------------------------------------------

    @staticmethod
    def call(name: str, *args: Any, **options: Any) -> Any:
        return note(name, *args, **options)

    @staticmethod
    def refused(how: str) -> NoReturn:
        _read(how)

    @property
    def real(self) -> Any:
        return note("call", operator.attrgetter("real"), self)

    @property
    def imag(self) -> Any:
        return note("call", operator.attrgetter("imag"), self)

    def __getitem__(self, index: Any) -> Any:
        if any(type(part) is Traced and part.dtype.kind == "b" for part in parts(index)):
            refuse(
                "an index of truth values, whose result has a shape that depends on them,",
                "Choose with where(mask, x, 0), whose shape is that of the mask.",
            )
        return note("getitem", self, index)


def note(name: str, *args: Any, **options: Any) -> Any:
    """Do a call for real and note it."""
    recorder = recording.get()
    if recorder is None:
        raise RecordingError(
            "a tensor that a compiled function made is used outside of it, where it has no "
            "numbers. Let the function return it."
        )
    return recorder.note_call(name, args, options)


# ----- the backend -------------------------------------------------------------------------------

WRITES = {
    "setitem": ("x",),
    "sgd_step": ("p", "velocity"),
    "adam_step": ("p", "m", "v", "largest"),
}
"""What a call changes that has no `out`, by the names of its arguments."""


class RecordingBackend(Backend):
    """A device, noting what is computed there. `real` computes.

    Each name of the namespace and each kernel is one instruction, whatever it does inside.
    """

    def __init__(self, real: Backend) -> None:
        super().__init__(real.device)
        self.real = real
        self.kind = type(real.zeros((), dtype="float32"))  # of the arrays that compute
        self.prepare, self.enter, self.leave = (  # type: ignore[method-assign]
            real.prepare,
            real.enter,
            real.leave,
        )
        kernels = [name for name in dir(type(real)) if name[0] != "_"]
        for name in {*NAMESPACE, *kernels} - {*vars(type(self)), "prepare", "enter", "leave"}:
            setattr(self, name, partial(note, name))
        self.linalg = _Linalg(real)

    @property
    def active(self) -> Any:  # type: ignore[override]
        return self.real.active

    @property
    def updates_at_once(self) -> bool:
        return False  # a call notes what it changes by the name of an array

    # ----- what has a shape that depends on numbers ------------------------------------------

    def nonzero(self, x: Array) -> NoReturn:
        refuse(
            "nonzero, whose result has a shape that depends on the numbers,",
            "Choose with where(mask, x, 0), whose shape is that of the mask.",
        )

    def arange(self, *args: Any, **options: Any) -> Array:
        if any(type(a) is Traced for a in (*args, *options.values())):
            _read("a range")
        return note("arange", *args, **options)

    def repeat(self, x: Array, repeats: Any, axis: int | None = None) -> Array:
        if type(repeats) is Traced:
            _read("repeating by the numbers")
        return note("repeat", x, repeats, axis)

    def where(self, condition: Array, *choices: Any) -> Array:
        return note("where", condition, *choices) if choices else self.nonzero(condition)

    # ----- memory ----------------------------------------------------------------------------

    def lacks(self, array: Array, number: Any) -> bool:
        lacks = self.real.lacks(looked_at(array), number)
        if lacks:
            recording.get().check(Lacks(number), array)
        return lacks

    def array(self, data: Any, dtype: Any) -> Array:
        if type(data) in (Traced, self.kind):
            return note("array", data, dtype)
        if type(data) is list and any(type(part) is Traced for part in data):
            _read("a list of numbers")
        return note("array", self.real.array(data, dtype), None)

    def from_host(self, data: Any) -> Array:
        return data if type(data) is self.kind else self.array(data, None)

    def receive(self, array: Array, source: Backend) -> NoReturn:
        refuse(
            f"a transfer from {source.device}",
            "Move the tensors before the function is called.",
        )

    @property
    def cp(self) -> NoReturn:
        """CuPy, which the backend of another card looks for to copy from this one."""
        refuse("a transfer to another device", "Return the tensor, and move it outside.")

    def to_host(self, array: Array) -> NoReturn:
        _read("reading the numbers")

    def to_dlpack(self, *args: Any) -> NoReturn:
        _read("DLPack")

    def from_dlpack(self, source: Any) -> NoReturn:
        refuse("DLPack", "Make the tensor before the function is called.")

    def result(self, array: Any, dtype: Any) -> Array:
        if type(array) is not Traced:
            array = note("array", self.real.result(array, None), None)
        if array.dtype is dtype or array.dtype.kind != "f":
            return array
        kind = self.real.result(self.real.empty((0,), dtype=array.dtype), dtype).dtype
        return array if array.dtype == kind else note("astype", array, kind)

    def assign(self, array: Array, index: Any, value: Any) -> None:
        note("setitem", array, index, value)

    def lent(self, array: Array) -> Array:
        if type(array) is not Traced:
            return self.real.lent(array)
        return Traced(self.real.lent(array.numbers), array.value)

    def packed(self, value: Any) -> Any:
        return value  # where it lies meanwhile is for the plan to say

    def owns(self, array: Array) -> bool:
        return self.real.owns(looked_at(array))

    def is_view(self, array: Array, inputs: Sequence[Any]) -> bool:
        return self.real.is_view(looked_at(array), looked_at(list(inputs)))

    def address(self, array: Array) -> int:
        return self.real.address(looked_at(array))

    def shares_memory(self, a: Array, b: Array) -> bool:
        return self.real.shares_memory(looked_at(a), looked_at(b))


class _Linalg:
    """numpy.linalg, noted."""

    def __init__(self, real: Backend) -> None:
        self.real = real

    def __getattr__(self, name: str) -> Any:
        function = getattr(self.real.linalg, name)
        if isinstance(function, type):  # LinAlgError
            return function
        return partial(note, f"linalg.{name}")


# ----- who records -------------------------------------------------------------------------------


@cache
def _recorded(kind: type[Backend]) -> type[Backend]:
    """What the class of a backend is while somebody records: to him, one that notes."""

    class Recorded(kind):  # type: ignore[valid-type,misc]
        plain = kind

        def __getattribute__(self, name: str) -> Any:
            recorder = recording.get()
            if recorder is None or recorder.host is not self or name in OWN:
                return object.__getattribute__(self, name)
            return getattr(recorder.backend, name)

    return Recorded


OWN = ("__class__", "__dict__", "device")
_recorders: set[Any] = set()
_settling = Locked()


def _settle(backend: Backend) -> None:
    """The backend of a device notes while somebody records what it does."""
    plain: Any = getattr(type(backend), "plain", type(backend))
    with _settling.lock:
        is_recorded = backend in [recorder.host for recorder in [*_recorders]]
        backend.__class__ = _recorded(plain) if is_recorded else plain


def recorded_by(recorder: Any, backend: Backend, call: Callable[[], Any]) -> Any:
    """`call()`, and what the backend of a device does meanwhile, in this thread, is noted.

    It has a context of its own, which goes with it: Ctrl-C may end it anywhere.
    """

    def noted() -> Any:
        recording.set(recorder)
        return call()

    try:
        _recorders.add(recorder)
        _settle(backend)
        return copy_context().run(noted)
    finally:
        _recorders.discard(recorder)
        _settle(backend)


@contextmanager
def unrecorded() -> Iterator[None]:
    """Inside, in this thread, nothing is noted."""
    token = recording.set(None)
    try:
        yield
    finally:
        recording.reset(token)
