"""Questions about tensors and dtypes, under PyTorch's names."""

from functools import reduce
from typing import Any

from tinygrad_cv._public import TOP, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host

CATEGORIES = "biuf"
"""The kinds of dtypes: truth values, integers with and without a sign, floats."""


@public(TOP)
def is_tensor(obj: Any) -> bool:
    """Whether it is a Tensor.

    >>> is_tensor(Tensor([1.0])), is_tensor([1.0])
    (True, False)
    """
    return isinstance(obj, Tensor)


@public(TOP)
def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a float.

    >>> is_floating_point(Tensor([1.0]))
    True
    """
    return input.is_floating_point()


@public(TOP)
def numel(input: Tensor) -> int:
    """The number of elements.

    >>> numel(Tensor([[1.0, 2.0]]))
    2
    """
    return input.numel()


@public(TOP)
def promote_types(type1: Any, type2: Any) -> Any:
    """The smallest dtype that holds both; of an integer and a float it is the float.

    >>> promote_types("int64", "float16"), promote_types("uint8", "int8")
    (dtype('float16'), dtype('int16'))
    """
    a, b = host.dtype(type1), host.dtype(type2)
    if (a.kind == "f") != (b.kind == "f"):
        return a if a.kind == "f" else b
    return host.promote_types(a, b)


@public(TOP)
def result_type(*tensors: Any) -> Any:
    """The dtype of an operation on tensors and numbers.

    A tensor without axes counts only if it is of a higher category than those with axes (truth
    values, integers, floats), and a number only if it is of a higher one than all tensors.

    >>> result_type(Tensor([1, 2], dtype="int8"), 5), result_type(Tensor([1, 2], dtype="int8"), 0.5)
    (dtype('int8'), dtype('float32'))
    """
    ranks: tuple[list[Any], ...] = ([], [], [])  # of tensors with axes, of others, of numbers
    for value in tensors:
        if isinstance(value, Tensor):
            ranks[0 if value.ndim else 1].append(value.dtype)
        else:
            ranks[2].append(dtype_of(value))
    groups = [reduce(promote_types, rank) for rank in ranks if rank]
    if not groups:
        raise TypeError("result_type needs at least one tensor or number.")
    return reduce(lambda high, low: low if _category(low) > _category(high) else high, groups)


@public(TOP)
def can_cast(from_: Any, to: Any) -> bool:
    """Whether the conversion stays in its category or goes to a higher one, as from int to float.

    >>> can_cast("float64", "float32"), can_cast("float32", "int64")
    (True, False)
    """
    return _category(host.dtype(from_)) <= _category(host.dtype(to))


def _category(dtype: Any) -> int:
    return (0, 1, 1, 2)[CATEGORIES.index(dtype.kind)]


def dtype_of(value: Any) -> Any:
    """The dtype that a number stands for: bool, int64 or float32, or its own if it has one."""
    if hasattr(value, "dtype"):
        return value.dtype
    for kind, dtype in ((bool, "bool"), (int, "int64"), (float, "float32")):
        if isinstance(value, kind):
            return host.dtype(dtype)
    raise TypeError(f"a tensor holds numbers; got {value!r}.")
