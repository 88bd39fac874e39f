"""The names of devices."""

from contextvars import ContextVar
from typing import Any, SupportsIndex

from tinygrad_cv._public import TOP, public

KINDS = {
    "cpu": "tinygrad_cv.backend.compiled.backend",
    "cuda": "tinygrad_cv.backend.cupy_backend",
    "fakecuda": "tinygrad_cv.testing.fakecuda",
    "meta": "tinygrad_cv.backend.meta_backend",
}
"""For each kind of device the module whose `open_device(index)` gives its backend. It is imported
when the device is first asked for."""

SINGLE = ("cpu", "meta")
"""Of which there is one, that goes by no number."""

within: ContextVar[tuple["device", ...]] = ContextVar("within", default=())
"""The devices of the `with device(...)` blocks around, in this thread or task."""


@public(TOP)
class device(str):  # noqa: N801  PyTorch's name
    """The name of a device: "cpu", "cuda" (the first GPU), "cuda:1" or "meta", with its parts.

    It is a string, and wherever a device is asked for a string does. `device(1)` is the GPU of that
    number. In a `with` block new tensors are made there, as after `set_default_device`. Raises
    ValueError for a name that is no device's; whether it is here is found when it is used.
    On "meta" tensors have a shape and a dtype, no numbers and no memory: enough to draw a model.

    >>> import tinygrad_cv as tg
    >>> place = tg.device("cuda", 1)
    >>> place.type, place.index, place == "cuda:1"
    ('cuda', 1, True)
    >>> with tg.device("cpu"):
    ...     x = tg.zeros(2)
    >>> x.device
    device(type='cpu')
    """

    __slots__ = ()

    def __new__(cls, type: str | int, index: int | None = None) -> "device":
        name: Any = type
        if isinstance(name, SupportsIndex) and not isinstance(name, bool):
            name = f"cuda:{name.__index__()}"
        if index is not None:
            name = f"{name}:{index}"
        kind, separator, number = str(name).partition(":")
        numbered = number.isdecimal() and (kind not in SINGLE or int(number) == 0)
        if not isinstance(name, str) or kind not in KINDS or (separator and not numbered):
            raise ValueError(
                f"unknown device {name!r}; expected 'cpu', 'cuda', 'cuda:1' for the second GPU, or "
                "'meta' for shapes without numbers."
            )
        return super().__new__(cls, name)

    @property
    def type(self) -> str:
        """Its kind: "cpu", "cuda" or "meta"."""
        return str(self).partition(":")[0]

    @property
    def index(self) -> int | None:  # type: ignore[override]
        """Its number among those of its kind; None where none is said."""
        number = str(self).partition(":")[2]
        return int(number) if number else None

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{index})"

    def __enter__(self) -> "device":
        within.set((*within.get(), self))
        return self

    def __exit__(self, *error: object) -> None:
        within.set(within.get()[:-1])
