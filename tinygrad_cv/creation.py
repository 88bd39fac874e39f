"""New tensors: from data, filled, counted, random.

They are made on `device`, by default the one that `set_default_device` chose.
"""

from typing import Any

from tinygrad_cv import backend as backends
from tinygrad_cv.backend import default_generator, host
from tinygrad_cv.ops.shape import sizes_of
from tinygrad_cv.tensor import Tensor, wrap


def tensor(
    data: Any, *, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor with a copy of `data`, whose dtype is inferred as PyTorch does.

    Python floats become float32, Python integers int64, truth values bool; arrays and tensors
    keep their dtype.

    >>> tensor([1, 2]).dtype, tensor([1.0, 2]).dtype
    (dtype('int64'), dtype('float32'))
    """
    if dtype is None and not hasattr(data, "dtype"):
        data = (
            [part.tolist() if hasattr(part, "tolist") else part for part in data]
            if isinstance(data, list | tuple)
            else data
        )
        data = host.asarray(data)
        dtype = "float32" if data.dtype.kind == "f" else data.dtype
    return Tensor(data, dtype=dtype, device=device, requires_grad=requires_grad)


def full(
    size: Any,
    fill_value: float,
    *,
    dtype: Any = "float32",
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of one repeated value.

    >>> full((2,), 7.0)
    tensor([7., 7.])
    """
    backend = backends.get(device)
    result = wrap(backend.full(sizes_of((size,)), fill_value, dtype=dtype), backend)
    result.requires_grad = requires_grad
    return result


def zeros(
    *size: Any, dtype: Any = "float32", device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of zeros.

    >>> zeros(2, 3).shape
    (2, 3)
    """
    return full(sizes_of(size), 0, dtype=dtype, device=device, requires_grad=requires_grad)


def ones(
    *size: Any, dtype: Any = "float32", device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of ones.

    >>> ones(2)
    tensor([1., 1.])
    """
    return full(sizes_of(size), 1, dtype=dtype, device=device, requires_grad=requires_grad)


def zeros_like(input: Tensor, *, dtype: Any = None) -> Tensor:
    """Zeros in the shape of `input`, on its device."""
    return full(input.shape, 0, dtype=dtype or input.dtype, device=input.device)


def ones_like(input: Tensor, *, dtype: Any = None) -> Tensor:
    """Ones in the shape of `input`, on its device."""
    return full(input.shape, 1, dtype=dtype or input.dtype, device=input.device)


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: Any = "float32",
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """The n x m matrix with ones on its diagonal.

    >>> eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    return Tensor(host.eye(n, m, dtype=dtype), device=device, requires_grad=requires_grad)


def arange(
    start: float,
    end: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, ... below `end`: int64 if all are integers, else float32.

    >>> arange(3), arange(0, 1, 0.5)
    (tensor([0, 1, 2]), tensor([0. , 0.5]))
    """
    start, end = (0, start) if end is None else (start, end)
    if dtype is None:
        whole = all(isinstance(value, int) for value in (start, end, step))
        dtype = "int64" if whole else "float32"
    values = host.arange(start, end, step, dtype=dtype)
    return Tensor(values, device=device, requires_grad=requires_grad)


def rand(
    *size: Any,
    generator: Any = None,
    dtype: Any = "float32",
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Random numbers, uniform on [0, 1).

    `generator` is a numpy.random.Generator; by default the one that `manual_seed` seeds.

    >>> rand(2, 3).shape
    (2, 3)
    """
    backend = backends.get(device)
    values = backend.uniform(sizes_of(size), dtype, generator or default_generator())
    result = wrap(values, backend)
    result.requires_grad = requires_grad
    return result


def randn(
    *size: Any,
    generator: Any = None,
    dtype: Any = "float32",
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Random numbers from the standard normal distribution; see `rand`.

    >>> randn(2, 3).shape
    (2, 3)
    """
    backend = backends.get(device)
    values = backend.normal(sizes_of(size), dtype, generator or default_generator())
    result = wrap(values, backend)
    result.requires_grad = requires_grad
    return result


def randint(
    low: int, high: int, size: Any, *, generator: Any = None, device: str | None = None
) -> Tensor:
    """Random int64 numbers from low to high - 1.

    >>> randint(5, 6, (2,))
    tensor([5, 5])
    """
    draw = (generator or default_generator()).integers(low, high, sizes_of((size,)))
    return Tensor(draw, device=device)
