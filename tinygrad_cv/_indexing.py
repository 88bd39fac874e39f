"""Indices as people write them, and as array libraries take them."""

import math
from typing import Any

from tinygrad_cv._graph import observer
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.backend.base import Backend


def raw_index(index: Any, backend: Backend) -> Any:
    """An index in which tensors, sequences and arrays have become arrays of our own."""
    if isinstance(index, tuple):
        return tuple(_raw_part(part, backend) for part in index)
    return _raw_part(index, backend)


def index_steps(index: Any) -> tuple[Any, Any]:
    """An index as one or two that are taken one after the other; the second may be None.

    Numbers, also in tensors of shape (), are taken before arrays and masks, as PyTorch has it:
    x[0, :, [0, 2]] is x[0][:, [0, 2]]. NumPy would let the number and the array broadcast, and put
    the axis of both in front.
    """
    if not isinstance(index, tuple):
        return index, None
    sizes = [_array_axes(part) for part in index]
    if 0 not in sizes or max(sizes) < 1:
        return index, None
    first: list[Any] = []
    rest: list[Any] = []
    for part, axes in zip(index, sizes, strict=True):
        if axes == 0:
            if (eye := observer.get()) is not None:
                eye.leaving(part)
            first.append(int(part))
        elif axes > 0:
            first += [slice(None)] * (part.ndim if part.dtype.kind == "b" else 1)
            rest.append(part)
        else:
            first.append(part)
            rest.append(part if part is Ellipsis else slice(None))
    if not any(part is Ellipsis for part in first):
        first.append(...)
    return tuple(first), tuple(rest)


def repeats(index: Any, shape: tuple[int, ...], backend: Backend) -> bool:
    """Whether an index of raw arrays names a place twice. On a GPU this is a wait."""
    parts = index if isinstance(index, tuple) else (index,)
    if not any(_array_axes(part) > 0 and part.dtype.kind in "iu" for part in parts):
        return False
    first, rest = index_steps(index)
    with backend.active:
        places = backend.reshape(backend.arange(math.prod(shape)), shape)[first]
        places = backend.sort(backend.ravel(places if rest is None else places[rest]))
        return bool((places[1:] == places[:-1]).any())


def _array_axes(part: Any) -> int:
    """The axes of an array in an index; 0 for a number, and -1 for what is neither."""
    if hasattr(part, "dtype"):
        return max(1, part.ndim) if part.dtype.kind == "b" else int(part.ndim)
    return 0 if type(part) is int else -1


def _raw_part(part: Any, backend: Backend) -> Any:
    if part is None or part is Ellipsis or isinstance(part, int | slice):
        return part
    if getattr(part, "dtype", None) == "uint8":
        raise IndexError(
            f"an index of dtype uint8 and shape {part.shape} could be meant as a mask (as PyTorch "
            "takes it) or as numbers (as NumPy does). Say which: index.astype(bool) or "
            "index.astype(int) for an array, index.to(dtype=bool) or index.long() for a tensor."
        )
    if isinstance(part, Tensor):
        if part._backend is backend:
            array = backend.array(part._array, None)
        else:
            array = backend.receive(part._array, part._backend)
        if (eye := observer.get()) is not None:
            eye.copied(array, part)
        return array
    array = part if hasattr(part, "dtype") else host.asarray(part)
    if array.size == 0 and array.dtype.kind not in "iub":
        array = array.astype("int64")  # [] alone would be floats
    if array.dtype.kind not in "iub":
        raise IndexError(
            f"an index must be integers, slices, truth values, None or ...; got {part!r}."
        )
    return backend.array(array, None)
