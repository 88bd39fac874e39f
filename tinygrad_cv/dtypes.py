"""Questions about tensors and dtypes, under PyTorch's names."""

from functools import reduce
from typing import Any

from tinygrad_cv._inputs import public
from tinygrad_cv._public import TOP
from tinygrad_cv._tensor import Size, Tensor, dtype_named
from tinygrad_cv.backend import host
from tinygrad_cv.backend.base import DEFAULT

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


@public(TOP)
def is_complex(input: Tensor) -> bool:
    """Whether the dtype is a complex one.

    >>> is_complex(Tensor([1.0]))
    False
    """
    return bool(input.dtype.kind == "c")


@public(TOP)
def is_signed(input: Tensor) -> bool:
    """Whether the dtype has negative numbers.

    >>> is_signed(Tensor([1.0])), is_signed(Tensor([1], dtype="uint8"))
    (True, False)
    """
    return bool(input.dtype.kind in "ifc")


@public(TOP)
def is_nonzero(input: Tensor) -> bool:
    """Whether the one element is not 0; RuntimeError for a tensor of another size.

    >>> is_nonzero(Tensor([2.0]))
    True
    """
    if input.numel() != 1:
        raise RuntimeError(
            f"is_nonzero needs one element; this tensor has shape {input.shape}. See any() and "
            "all()."
        )
    return bool(input)


@public(TOP)
def typename(obj: Any) -> str:
    """The name of an object's type; of a tensor `x.type()`.

    >>> typename([1.0])
    'builtins.list'
    """
    if isinstance(obj, Tensor):
        return str(obj.type())
    return f"{type(obj).__module__}.{type(obj).__qualname__}"


@public(TOP)
def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that tensors of these shapes broadcast to; an integer is a shape of one axis.

    Raises RuntimeError where they do not.

    >>> broadcast_shapes((2, 1), (3,))
    (2, 3)
    """
    try:
        return Size(host.broadcast_shapes(*shapes))
    except ValueError:
        raise RuntimeError(
            f"broadcast_shapes: {', '.join(map(str, shapes))} do not fit; of each axis, counted "
            "from the last, the lengths are equal or 1."
        ) from None


# ----- the numbers of a dtype ---------------------------------------------------------------------


@public(TOP)
class finfo:  # noqa: N801  PyTorch's name
    """The numbers that a dtype of floats holds, as Python's: `eps`, `max`, `min`, `tiny`, `bits`.

    >>> finfo("float32").eps == 2.0**-23, finfo(Tensor([1.0]).dtype).max > 1e38
    (True, True)
    """

    def __init__(self, type: Any = None) -> None:
        dtype = dtype_named(type)
        if dtype.kind != "f":
            raise TypeError(f"finfo is about floats; got {dtype}. See iinfo.")
        known = host.finfo(dtype)
        self.dtype, self.bits = str(dtype), int(known.bits)
        self.eps, self.resolution = float(known.eps), float(f"1e-{known.precision}")
        self.max, self.min = float(known.max), float(known.min)
        self.tiny = self.smallest_normal = float(known.smallest_normal)

    def __repr__(self) -> str:
        shown = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        numbers = ", ".join(f"{name}={getattr(self, name):.6g}" for name in shown)
        return f"finfo({numbers}, dtype={self.dtype})"


@public(TOP)
class iinfo:  # noqa: N801  PyTorch's name
    """The whole numbers that a dtype of integers holds: `min` to `max`, in `bits`.

    >>> iinfo("uint8").max
    255
    """

    def __init__(self, type: Any) -> None:
        dtype = dtype_named(type)
        if dtype.kind not in "iu":
            raise TypeError(f"iinfo is about integers; got {dtype}. See finfo.")
        known = host.iinfo(dtype)
        self.dtype, self.bits = str(dtype), int(known.bits)
        self.max, self.min = int(known.max), int(known.min)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


def dtype_of(value: Any) -> Any:
    """The dtype that a number stands for: bool, int64 or float32, or its own if it has one."""
    if hasattr(value, "dtype"):
        return value.dtype
    for kind, dtype in ((bool, "bool"), (int, "int64"), (float, DEFAULT.float)):
        if isinstance(value, kind):
            return host.dtype(dtype)
    raise TypeError(f"a tensor holds numbers; got {value!r}.")
