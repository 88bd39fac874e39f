"""Arrays that have a shape, a dtype and a layout, and no numbers.

What a function of them gives follows from rules: its shape; and its dtype, which is that of the
same function of *twins*, arrays of NumPy's with at most one element along each axis.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn

import numpy as np

from tinygrad_cv.backend.arguments import exchanged
from tinygrad_cv.backend.numpy_backend import NumpyBackend
from tinygrad_cv.backend.operand import Operand, parts
from tinygrad_cv.backend.strided import contiguous, in_order, like

Array = Any
Ints = Sequence[int]


class MetaArray(Operand):
    """A shape, a dtype and a layout; `base` is the array in whose memory a view would lie."""

    __slots__ = ("__weakref__", "base", "dtype", "shape", "strides")

    backend: ClassVar[Any]
    """The one of "meta", whose functions are what its methods and operators do."""

    def __init__(
        self, shape: Any, dtype: Any, strides: Any = None, base: "MetaArray | None" = None
    ) -> None:
        self.shape, self.dtype = tuple(map(int, shape)), np.dtype(dtype)
        if min(self.shape, default=0) < 0:
            raise ValueError(f"negative dimensions are not allowed: {self.shape}")
        self.strides = contiguous(self.shape, self.itemsize) if strides is None else strides
        self.base = base

    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: math.prod(self.shape))
    itemsize = property(lambda self: self.dtype.itemsize)
    nbytes = property(lambda self: self.size * self.itemsize)
    numbers = property(lambda self: np.broadcast_to(np.zeros((), self.dtype), self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<meta {self.dtype} {self.shape}>"

    def __reduce__(self) -> Any:
        return MetaArray, (self.shape, self.dtype, self.strides)

    @staticmethod
    def call(name: str, *args: Any, **options: Any) -> Any:
        return getattr(MetaArray.backend, name)(*args, **options)

    @staticmethod
    def refused(how: str) -> NoReturn:
        raise NotImplementedError(
            f"{how} of a tensor on meta, which has a shape and a dtype and no numbers. Make it on "
            "another device; a model gets memory by model.to_empty(device='cpu'), and numbers by "
            "load_state_dict."
        )

    def viewed(self, shape: Ints, strides: Ints) -> "MetaArray":
        """A view of the same memory."""
        base = self if self.base is None else self.base
        return MetaArray(shape, self.dtype, tuple(strides), base)

    @property
    def real(self) -> "MetaArray":
        return self if self.dtype.kind != "c" else self._half()

    @property
    def imag(self) -> "MetaArray":
        return self._half()

    def _half(self) -> "MetaArray":
        half = np.zeros(1, self.dtype).real.dtype
        base = self if self.base is None else self.base
        return MetaArray(self.shape, half, self.strides, base)


# ----- twins -------------------------------------------------------------------------------------

NUMPY = NumpyBackend()


def twin(x: Any) -> Any:
    """An array of ones with the dtype of x, empty where x is, of at most one element."""
    return np.ones([min(n, 1) for n in x.shape], x.dtype) if type(x) is MetaArray else x


def dtype_of(name: str, args: Any, options: Any) -> Any:
    """The dtype of what a function gives."""
    y = getattr(NUMPY, name)(*exchanged(twin, args), **exchanged(twin, options))
    return np.asarray(y).dtype


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """Axes that were given as one, several or None for all, counted from the front."""
    given = range(ndim) if axis is None else (axis,) if np.ndim(axis) == 0 else axis
    return tuple(range(max(ndim, 1))[a] for a in given)


def reduced(shape: Ints, axes: Any, keepdims: bool) -> list[int]:
    """A shape without some axes, which stay as 1s for `keepdims`."""
    return [1 if i in axes else n for i, n in enumerate(shape) if keepdims or i not in axes]


def is_mask(index: Any) -> bool:
    """Whether there are truth values in an index, so that its result is as long as they are."""
    return any(hasattr(part, "dtype") and part.dtype.kind == "b" for part in parts(index))


def data_dependent(what: str) -> NoReturn:
    raise NotImplementedError(
        f"{what} has a shape that depends on numbers, and a tensor on meta has none. Run it on "
        "another device, or choose with where(mask, x, 0), whose shape is that of the mask."
    )


# ----- the rules ---------------------------------------------------------------------------------


def elementwise(name: str, *args: Any, out: Any = None, **options: Any) -> Array:
    """A function of each element: broadcast, and laid out as the first input of that shape."""
    dtype = dtype_of(name, args, options)
    given = [x for x in args if hasattr(x, "shape")]
    shape = np.broadcast_shapes(*(x.shape for x in given))
    if out is not None:
        out = out[0] if isinstance(out, tuple) else out
        if out.shape != shape:
            raise ValueError(f"non-broadcastable output operand: {shape} does not fit {out.shape}")
        return out
    first = next((x for x in given if x.shape == shape), None)
    return MetaArray(shape, dtype) if first is None else laid_out(first, dtype)


def laid_out(x: Array, dtype: Any) -> Array:
    """A new array with the shape and the layout of x."""
    return MetaArray(x.shape, dtype, like(x.shape, x.strides, np.dtype(dtype).itemsize))


def images(shape: Ints, dtype: Any, x: Array | None = None) -> Array:
    """New images (N, C, *S), channels-last unless the images x lie otherwise."""
    if x is not None and x.strides[1] > min(x.strides[2:], default=0):
        return MetaArray(shape, dtype)
    order = (0, *range(2, len(shape)), 1)
    return MetaArray(shape, dtype, in_order(shape, order, np.dtype(dtype).itemsize))


def reduction(
    name: str, x: Array, axis: Any = None, *args: Any, keepdims: bool = False, **options: Any
) -> Array:
    """A function of the elements along some axes, which are gone."""
    dtype = dtype_of(name, (x, axis, *args), options)
    return MetaArray(reduced(x.shape, axes_of(axis, x.ndim), keepdims), dtype)


def same_shape(name: str, x: Array, *args: Any, **options: Any) -> Array:
    """A function that leaves an array its shape: of some its dtype, too."""
    return MetaArray(x.shape, dtype_of(name, (x, *args), options))
