"""How tensors lie in memory, as far as PyTorch's programs speak of it.

Here every tensor is strided, and no memory format is promised: these names are accepted, and change
nothing.
"""

from tinygrad_cv._public import TOP, public


class _Named:
    """A constant of which there is one, by its name."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"tinygrad_cv.{self._name}"

    def __reduce__(self) -> str:
        return self._name


@public(TOP)
class layout(_Named):  # noqa: N801  PyTorch's name
    """The type of `strided`, the one layout that tensors have.

    >>> import tinygrad_cv as tg
    >>> isinstance(tg.strided, tg.layout)
    True
    """


@public(TOP)
class memory_format(_Named):  # noqa: N801  PyTorch's name
    """The type of `contiguous_format`, `channels_last`, `channels_last_3d` and `preserve_format`.

    Where PyTorch takes one it is accepted, and changes nothing.

    >>> import tinygrad_cv as tg
    >>> tg.channels_last
    tinygrad_cv.channels_last
    """


strided = layout("strided")
contiguous_format = memory_format("contiguous_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")
preserve_format = memory_format("preserve_format")
