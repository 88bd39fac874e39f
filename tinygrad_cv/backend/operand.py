"""Arrays that are not NumPy's: each operator and each method is a call by name."""

from collections.abc import Iterator
from functools import partial
from typing import Any, NoReturn

from tinygrad_cv.backend.arguments import exchanged
from tinygrad_cv.backend.base import NAMESPACE

METHODS = ("astype", "copy", "flatten", "view")
"""What arrays do by themselves, beside what is in the namespace as well."""

READS = ("item", "tolist", "tobytes", "dump", "dumps", "tofile")

METADATA = ("can_cast", "result_type", "shape", "ndim", "size", "broadcast_shapes", "iscomplexobj")
"""The functions that look at what arrays are, and not at what is in them."""


class Operand:
    """An array of whose operators a subclass says what they mean: `x + y` is `call("add", x, y)`.

    Whatever Python would go by, such as the truth of an array, is `refused`.
    """

    __slots__ = ()
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    numbers: Any
    """An array of the shape and dtype of this one, to be looked at."""

    @staticmethod
    def call(name: str, *args: Any, **options: Any) -> Any:
        """What a function of the namespace, or a method, gives for its arguments."""
        raise NotImplementedError

    @staticmethod
    def refused(how: str) -> NoReturn:
        """Raise the error for somebody who reads the numbers, and say how he does."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        if name in METHODS or name in NAMESPACE:
            return partial(self.call, name, self)
        if name in READS:
            self.refused(f".{name}()")
        raise AttributeError(f"{type(self).__name__} has no {name}")

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        return self.call("getitem", self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        if value is not self or parts(index) != (Ellipsis,):  # x[...] += 1 ends with that
            self.call("setitem", self, index, value)

    # ----- what is not to be asked -----------------------------------------------------------

    def __bool__(self) -> bool:
        self.refused("the truth")

    def __float__(self) -> float:
        self.refused("float()")

    def __int__(self) -> int:
        self.refused("int()")

    __index__ = __int__

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        self.refused("reading the numbers")

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func.__name__ in METADATA:
            return func(*looked_at(args), **looked_at(kwargs))
        self.refused(f"numpy.{func.__name__}")

    # ----- methods that take their arguments in several ways ---------------------------------

    @property
    def T(self) -> Any:
        return self.call("transpose", self)

    def reshape(self, *shape: Any, **options: Any) -> Any:
        return self.call("reshape", self, shape[0] if len(shape) == 1 else shape, **options)

    def transpose(self, *axes: Any) -> Any:
        return self.call(
            "transpose", self, *([axes[0] if len(axes) == 1 else axes] if axes else [])
        )

    def fill(self, value: Any) -> None:
        self.call("setitem", self, Ellipsis, value)

    def __pow__(self, n: Any) -> Any:
        name = POWERS.get(n) if type(n) in (int, float) and self.dtype.kind == "f" else None
        return self.call("power", self, n) if name is None else self.call(name, self)

    def __rpow__(self, other: Any) -> Any:
        return self.call("power", other, self)


POWERS = {2: "square", 0.5: "sqrt", -1: "reciprocal"}
"""What NumPy's ** does for some exponents, whose bits are not those of `power`."""


def parts(index: Any) -> tuple[Any, ...]:
    """The parts of an index, one for each axis."""
    return index if isinstance(index, tuple) else (index,)


def looked_at(tree: Any) -> Any:
    """The arrays in place of those that stand for them."""
    return exchanged(lambda x: x.numbers if isinstance(x, Operand) else x, tree)


def _operator(name: str, how: str) -> None:
    """Let Operand have an operator, the reflected one, and the one in place."""

    def call(self: Operand, *other: Any) -> Any:
        return self.call(name, self, *other)

    def reflected(self: Operand, other: Any) -> Any:
        return self.call(name, other, self)

    def in_place(self: Operand, other: Any) -> Any:
        return self.call(name, self, other, out=self)

    setattr(Operand, f"__{how}__", call)
    if how not in ("neg", "invert", "abs", "pos", "lt", "le", "gt", "ge", "eq", "ne"):
        setattr(Operand, f"__r{how}__", reflected)
        setattr(Operand, f"__i{how}__", in_place)


for _name, _how in {
    "add": "add",
    "subtract": "sub",
    "multiply": "mul",
    "true_divide": "truediv",
    "bitwise_and": "and",
    "bitwise_or": "or",
    "bitwise_xor": "xor",
    "left_shift": "lshift",
    "right_shift": "rshift",
    "floor_divide": "floordiv",
    "remainder": "mod",
    "matmul": "matmul",
    "negative": "neg",
    "invert": "invert",
    "abs": "abs",
    "less": "lt",
    "less_equal": "le",
    "greater": "gt",
    "greater_equal": "ge",
    "equal": "eq",
    "not_equal": "ne",
}.items():
    _operator(_name, _how)
