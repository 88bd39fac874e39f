"""New tensors: from data, filled, counted. The random ones are in random.py.

They are made on `device`, by default the one that `set_default_device` chose.
"""

import functools
import inspect
import math
import sys
from collections.abc import Callable
from functools import reduce
from typing import Any, TypeVar, cast

from tinygrad_cv import backend as backends
from tinygrad_cv._inputs import public, refuse_out
from tinygrad_cv._public import TOP
from tinygrad_cv._tensor import Tensor, dtype_named, wrap
from tinygrad_cv.backend import Backend, host
from tinygrad_cv.backend.base import DEFAULT
from tinygrad_cv.dtypes import dtype_of, promote_types
from tinygrad_cv.layouts import strided
from tinygrad_cv.ops.shape import sizes_of

# ----- what the arguments say --------------------------------------------------------------------


def shape_from(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """(2, 3) given as two arguments or as one sequence, without negative lengths."""
    lengths = sizes_of(sizes)
    if min(lengths, default=0) < 0:
        raise ValueError(f"a size has no negative lengths; got {lengths}.")
    if math.prod(filter(None, lengths)) > sys.maxsize // 16:
        raise MemoryError(f"no memory holds a tensor of the size {lengths}.")
    return lengths


def number(value: Any) -> Any:
    """A Python number, that of a tensor or of a NumPy scalar too."""
    return value.item() if hasattr(value, "dtype") else value


def made(array: Any, backend: Backend, requires_grad: bool) -> Tensor:
    """The tensor around a new array."""
    tensor = wrap(array, backend)
    tensor.requires_grad = requires_grad
    return tensor


Maker = TypeVar("Maker", bound=Callable[..., Any])

LAYOUT: dict[str, Any] = {"out": None, "layout": None, "pin_memory": False, "memory_format": None}
"""What PyTorch's constructors say of memory, and the values that mean nothing."""


def laid_out(make: Maker) -> Maker:
    """A function for new tensors, with PyTorch's arguments about memory.

    `pin_memory` and `memory_format` change no value, and have no effect. `out` and a `layout` that
    is sparse would, and are TypeErrors.
    """

    @functools.wraps(make)
    def call(*args: Any, **options: Any) -> Any:
        refuse_out(make.__name__, options, ())
        for name in LAYOUT.keys() & options.keys():
            value = options.pop(name)
            if name == "layout" and value not in (None, strided):
                raise TypeError(
                    f"{make.__name__}: every tensor here is dense, of the layout strided; got "
                    f"{value!r}."
                )
        return make(*args, **options)

    signature = inspect.signature(make)
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Any)
        for name, default in LAYOUT.items()
    ]
    parameters = [*signature.parameters.values(), *more]
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return cast(Maker, call)


# ----- from data ---------------------------------------------------------------------------------


@public(TOP)
@laid_out
def tensor(
    data: Any, *, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor with a copy of `data`, whose dtype is inferred as PyTorch does.

    Python floats become float32, Python integers int64, truth values bool; arrays and tensors
    keep their dtype, and so do NumPy's numbers. A list is of the smallest dtype that holds all.

    >>> tensor([1, 2]).dtype, tensor([1.0, 2]).dtype
    (dtype('int64'), dtype('float32'))
    """
    if isinstance(data, host.generic):
        data = host.asarray(data)  # Tensor takes a whole number for a size
    if hasattr(data, "dtype"):
        return Tensor(data, dtype=dtype, device=device, requires_grad=requires_grad)
    if isinstance(data, list | tuple):
        found = _dtypes_in(data)
        inferred = reduce(promote_types, found) if found else DEFAULT.float
        data = _without_tensors(data)
    else:
        inferred = dtype_of(data) if isinstance(data, int | float) else None
    try:
        with host.errstate(all="ignore"):  # 1e300 is ∞ in float32
            values = host.asarray(data, dtype=inferred if dtype is None else None)
    except ValueError as error:
        raise ValueError(
            "tensor: the lists in the data must have equal lengths at each depth, and hold "
            f"nothing but numbers ({error})."
        ) from error
    except OverflowError as error:
        raise OverflowError(f"tensor: a whole number does not fit into int64 ({error}).") from error
    if values.dtype.kind not in "biufc":
        raise TypeError(f"a tensor holds numbers; got {data!r}.")
    return Tensor(values, dtype=dtype, device=device, requires_grad=requires_grad)


def _dtypes_in(data: Any) -> set[Any]:
    """The dtypes of all that is in nested lists."""
    kinds = set(map(type, data))
    if kinds <= {bool, int, float}:
        return {dtype_of(kind()) for kind in kinds}
    return set().union(
        *(_dtypes_in(part) if isinstance(part, list | tuple) else {dtype_of(part)} for part in data)
    )


def _without_tensors(data: Any) -> Any:
    """Nested lists whose tensors have become lists."""
    if isinstance(data, list | tuple):
        if set(map(type, data)) <= {bool, int, float}:
            return data
        return [_without_tensors(part) for part in data]
    return data.tolist() if isinstance(data, Tensor) else data


@public(TOP)
def as_tensor(data: Any, dtype: Any = None, device: str | None = None) -> Tensor:
    """`data` itself if it is a Tensor of this dtype on this device, otherwise see `tensor`.

    An array is copied, unlike in PyTorch: nobody can change the values of a graph from outside.

    >>> x = tensor([1.0])
    >>> as_tensor(x) is x
    True
    """
    if isinstance(data, Tensor):
        return data.to(dtype=dtype, device=device)
    return tensor(data, dtype=dtype, device=device)


@public(TOP)
def from_numpy(ndarray: Any) -> Tensor:
    """A tensor with a copy of a NumPy array, in its dtype; PyTorch's shares the memory.

    >>> import numpy as np
    >>> from_numpy(np.array([1.0, 2.0]))
    tensor([1., 2.], dtype=float64)
    """
    if not isinstance(ndarray, host.ndarray):
        raise TypeError(
            f"from_numpy takes a numpy.ndarray; got {type(ndarray).__name__}. "
            "tensor() takes numbers and lists as well."
        )
    return Tensor(ndarray)


@public(TOP)
def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor with a copy of what another library holds, on the device where it lies.

    It may be anything with `__dlpack__`, such as an array of CuPy or a tensor of PyTorch, whose own
    function shares the memory.

    >>> import numpy as np
    >>> from_dlpack(np.array([1.0, 2.0], dtype="float32"))
    tensor([1., 2.])
    """
    if not hasattr(ext_tensor, "__dlpack_device__"):
        raise TypeError(
            f"from_dlpack takes what has __dlpack__; got {type(ext_tensor).__name__}. tensor() "
            "takes numbers, lists and arrays."
        )
    kind, number = (int(part) for part in ext_tensor.__dlpack_device__())
    if kind not in DLPACK:
        raise ValueError(
            f"from_dlpack: the data lies on a device of the kind {kind}; expected the host (1) or "
            "an NVIDIA GPU (2)."
        )
    backend = backends.get(DLPACK[kind].format(number))
    return wrap(backend.from_dlpack(ext_tensor), backend)


DLPACK = {1: "cpu", 2: "cuda:{}", 3: "cpu", 13: "cuda:{}"}
"""DLPack's numbers for memory: of the host, of a GPU, pinned in the host, and managed."""


@public(TOP)
def asarray(
    obj: Any,
    *,
    dtype: Any = None,
    device: str | None = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """`as_tensor`, or with `copy=True` a copy of a Tensor too; outside of the graph.

    >>> x = tensor([1.0])
    >>> asarray(x, copy=True) is x
    False
    """
    if copy is False and not isinstance(obj, Tensor):
        raise ValueError("asarray: numbers, lists and arrays are copied; copy is None or True.")
    made = as_tensor(obj, dtype=dtype, device=device)
    if made.requires_grad == requires_grad and not copy:
        return made
    made = made.detach()
    return (made.clone() if copy else made).requires_grad_(requires_grad)


@public(TOP)
@laid_out
def scalar_tensor(
    s: Any,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor without axes of one number.

    >>> scalar_tensor(2)
    tensor(2.)
    """
    return full((), s, dtype=dtype_named(dtype), device=device, requires_grad=requires_grad)


# ----- filled ------------------------------------------------------------------------------------


@public(TOP)
@laid_out
def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of one repeated value: bool, int64 or float32, as the value is.

    >>> full((2,), 7.0), full((2,), 7)
    (tensor([7., 7.]), tensor([7, 7]))
    """
    value = number(fill_value)
    dtype = dtype_named(dtype_of(value) if dtype is None else dtype)
    numbers: Any = (int, float, complex) if dtype.kind == "c" else (int, float)
    if not isinstance(value, numbers):
        raise TypeError(f"full: the value is one number that {dtype} holds; got {value!r}.")
    if dtype.kind in "iu":
        bounds = host.iinfo(dtype)
        if not (math.isfinite(value) and bounds.min <= int(value) <= bounds.max):
            raise ValueError(f"full: {dtype} has no {value}; it goes to {bounds.max}.")
        value = int(value)
    backend = backends.get(device)
    with backend.active:
        array = backend.full(shape_from((size,)), value, dtype=dtype)
    return made(array, backend, requires_grad)


@public(TOP)
@laid_out
def zeros(
    *sizes: Any,
    size: Any = (),
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of zeros.

    >>> zeros(2, 3).shape
    (2, 3)
    """
    shape = shape_from(sizes or (size,))
    return full(shape, 0, dtype=dtype_named(dtype), device=device, requires_grad=requires_grad)


@public(TOP)
@laid_out
def ones(
    *sizes: Any,
    size: Any = (),
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of ones.

    >>> ones(2)
    tensor([1., 1.])
    """
    shape = shape_from(sizes or (size,))
    return full(shape, 1, dtype=dtype_named(dtype), device=device, requires_grad=requires_grad)


@public(TOP)
@laid_out
def empty(
    *sizes: Any,
    size: Any = (),
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of any values: memory that nobody has written to yet.

    >>> empty(2, 3).shape
    (2, 3)
    """
    backend = backends.get(device)
    array = backend.empty(shape_from(sizes or (size,)), dtype=dtype_named(dtype))
    return made(array, backend, requires_grad)


@public(TOP)
@laid_out
def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """One repeated value in the shape and dtype of `input`, on its device.

    >>> full_like(tensor([1, 2]), 7)
    tensor([7, 7])
    """
    return full(
        input.shape,
        fill_value,
        dtype=input.dtype if dtype is None else dtype,
        device=input.device if device is None else device,
        requires_grad=requires_grad,
    )


@public(TOP)
@laid_out
def zeros_like(
    input: Tensor, *, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Zeros in the shape and dtype of `input`, on its device.

    >>> zeros_like(tensor([1.0, 2.0]))
    tensor([0., 0.])
    """
    return full_like(input, 0, dtype=dtype, device=device, requires_grad=requires_grad)


@public(TOP)
@laid_out
def ones_like(
    input: Tensor, *, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Ones in the shape and dtype of `input`, on its device.

    >>> ones_like(tensor([1.0, 2.0]))
    tensor([1., 1.])
    """
    return full_like(input, 1, dtype=dtype, device=device, requires_grad=requires_grad)


@public(TOP)
@laid_out
def empty_like(
    input: Tensor, *, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Any values in the shape and dtype of `input`, on its device; see `empty`.

    >>> empty_like(tensor([1.0, 2.0])).shape
    (2,)
    """
    return empty(
        input.shape,
        dtype=input.dtype if dtype is None else dtype,
        device=input.device if device is None else device,
        requires_grad=requires_grad,
    )


# ----- counted -----------------------------------------------------------------------------------


@public(TOP)
@laid_out
def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """The n x m matrix with ones on its diagonal.

    >>> eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    rows, columns = shape_from((n, n if m is None else m))
    values = host.eye(rows, columns, dtype=dtype_named(dtype))
    return Tensor(values, device=device, requires_grad=requires_grad)


@public(TOP)
@laid_out
def arange(
    start: Any = 0,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, ... below `end`: int64 if all are integers, else float32.

    >>> arange(3), arange(0, 1, 0.5)
    (tensor([0, 1, 2]), tensor([0. , 0.5]))
    """
    start, end, step = map(number, (0, start, step) if end is None else (start, end, step))
    if not all(
        isinstance(value, int | float) and math.isfinite(value) for value in (start, end, step)
    ):
        raise ValueError(
            f"arange: start, end and step are finite numbers; got {start}, {end} and {step}."
        )
    if step == 0:
        raise ValueError("arange: the step is not 0.")
    if (end - start) * step < 0:
        raise ValueError(f"arange: steps of {step} lead away from {end}, starting at {start}.")
    whole = all(isinstance(value, int) for value in (start, end, step))
    if dtype is None:
        dtype = "int64" if whole else DEFAULT.float
    # Counted in full precision, and rounded once.
    values = host.arange(start, end, step, dtype="int64" if whole else "float64")
    return Tensor(values, dtype=dtype, device=device, requires_grad=requires_grad)


@public(TOP)
@laid_out
def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` numbers at equal distances from `start` to `end`, both among them.

    They are worked out in float64 and rounded once; to integers towards 0.

    >>> linspace(0, 1, 3)
    tensor([0. , 0.5, 1. ])
    """
    (count,) = shape_from((steps,))
    with host.errstate(all="ignore"):
        values = host.linspace(number(start), number(end), count)
    return Tensor(values, dtype=dtype_named(dtype), device=device, requires_grad=requires_grad)


@public(TOP)
@laid_out
def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` numbers at equal ratios from `base` ** `start` to `base` ** `end`; see `linspace`.

    >>> logspace(0, 2, 3)
    tensor([  1.,  10., 100.])
    """
    (count,) = shape_from((steps,))
    with host.errstate(all="ignore"):
        values = host.power(float(base), host.linspace(number(start), number(end), count))
    return Tensor(values, dtype=dtype_named(dtype), device=device, requires_grad=requires_grad)


@public(TOP)
@laid_out
def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = "int64", device: str | None = None
) -> Tensor:
    """The places (2, n) on and below a diagonal of a `row` x `col` matrix, row by row.

    >>> tril_indices(2, 2)
    tensor([[0, 1, 1],
            [0, 0, 1]])
    """
    rows, columns = shape_from((row, col))
    places = host.stack(host.tril_indices(rows, offset, columns))
    return Tensor(places, dtype=dtype, device=device)


@public(TOP)
@laid_out
def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = "int64", device: str | None = None
) -> Tensor:
    """The places (2, n) on and above a diagonal of a `row` x `col` matrix, row by row.

    >>> triu_indices(2, 2)
    tensor([[0, 0, 1],
            [0, 1, 1]])
    """
    rows, columns = shape_from((row, col))
    places = host.stack(host.triu_indices(rows, offset, columns))
    return Tensor(places, dtype=dtype, device=device)
