"""Where values lie in memory: who overlaps with whom, and views made without their makers."""

import math
from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.program.instructions import Value

Array = Any


def span(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> tuple[int, int]:
    """The bytes between which the elements lie, from the first element on."""
    if 0 in shape:
        return 0, 0
    steps = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
    return sum(min(s, 0) for s in steps), sum(max(s, 0) for s in steps) + itemsize


def span_of(value: Value) -> tuple[int, int]:
    """The bytes of a value in the memory of its root."""
    low, high = span(value.shape, value.strides, value.dtype.itemsize)
    return value.offset + low, value.offset + high


def is_same_place(a: Value, b: Value) -> bool:
    """Whether element i of one is element i of the other."""
    return a is b or (
        a.root is b.root
        and a.offset == b.offset
        and a.shape == b.shape
        and a.strides == b.strides
        and a.dtype == b.dtype
    )


def overlap(a: Value, b: Value) -> bool:
    """Whether two values of one root may have bytes in common."""
    if a.root is not b.root:
        return False
    (low, high), (start, stop) = span_of(a), span_of(b)
    return low < stop and start < high


class _Memory:
    """A piece of memory in NumPy's words, and who keeps it alive."""

    def __init__(self, keeper: Any, interface: dict[str, Any]) -> None:
        self.keeper, self.__array_interface__ = keeper, interface


def view(
    array: Array, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any
) -> Array:
    """A view of an array's memory, `offset` bytes from its first element."""
    if 0 in shape:
        return host.empty(shape, dtype)
    interface = {
        "version": 3,
        "shape": shape,
        "strides": strides,
        "typestr": dtype.str,
        "data": (array.ctypes.data + offset, not array.flags.writeable),
    }
    return host.asarray(_Memory(array, interface))


def empty_like(root: Value) -> Array:
    """Memory of its own for a value, in the layout that it has."""
    low, high = span(root.shape, root.strides, root.dtype.itemsize)
    memory = host.empty(high - low, "uint8")
    return host.ndarray(root.shape, root.dtype, memory, -low, root.strides)


def is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> bool:
    """Whether the elements lie one after another in row-major order."""
    expected = itemsize
    for n, stride in zip(reversed(shape), reversed(strides), strict=True):
        if n != 1 and stride != expected:
            return False
        expected *= n
    return True


def size(value: Any) -> int:
    """The number of its elements."""
    return math.prod(value.shape)
