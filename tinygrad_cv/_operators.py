"""The operators of tensors, conversions, and changes in place."""

import operator
from collections.abc import Callable
from typing import Any, cast

from tinygrad_cv import backend as backends
from tinygrad_cv._apply import F
from tinygrad_cv._grad_mode import enable_grad, is_grad_enabled, no_grad
from tinygrad_cv._graph import numbers
from tinygrad_cv._indexing import index_steps, raw_index, repeats
from tinygrad_cv._inplace import (
    is_rearranged,
    is_recorded,
    keep_old,
    move_on,
    overwritten,
    relaid,
    root_of,
)
from tinygrad_cv._tensor import (
    StrangerError,
    Tensor,
    adopt,
    as_content,
    as_input,
    dtype_named,
    where_to,
)
from tinygrad_cv.backend import host
from tinygrad_cv.layouts import layout, strided

Operator = Callable[[Tensor, Any], Tensor]

TYPE_NAMES = {
    "float32": "FloatTensor",
    "float64": "DoubleTensor",
    "float16": "HalfTensor",
    "int64": "LongTensor",
    "int32": "IntTensor",
    "int16": "ShortTensor",
    "int8": "CharTensor",
    "uint8": "ByteTensor",
    "bool": "BoolTensor",
}
"""PyTorch's older names of dtypes."""


def _binary(name: str) -> tuple[Operator, Operator]:
    """The operator of the op of this name, and the reflected one.

    They leave what is neither a tensor, an array, a list nor a number to its own operator.
    """

    def operator(self: Tensor, other: Any) -> Tensor:
        try:
            result: Tensor = getattr(F, name)(self, other)
            return result
        except StrangerError:
            return cast(Tensor, NotImplemented)

    def reflected(self: Tensor, other: Any) -> Tensor:
        try:
            result: Tensor = getattr(F, name)(other, self)
            return result
        except StrangerError:
            return cast(Tensor, NotImplemented)

    return operator, reflected


_to_the, _the_power_of = _binary("pow_tensor")


@adopt
class Operators(Tensor):
    """The operators; they follow NumPy's broadcasting."""

    __slots__ = ()

    __add__, __radd__ = _binary("add")
    __sub__, __rsub__ = _binary("sub")
    __mul__, __rmul__ = _binary("mul")
    __truediv__, __rtruediv__ = _binary("div")
    __floordiv__, __rfloordiv__ = _binary("floor_divide")
    __mod__, __rmod__ = _binary("remainder")
    __rpow__ = _the_power_of

    def __pow__(self, other: Any) -> "Tensor":
        return F.pow(self, n=other) if isinstance(other, int | float) else _to_the(self, other)

    def __matmul__(self, other: Any) -> "Tensor":
        try:
            return self.matmul(other)
        except StrangerError:
            return cast(Tensor, NotImplemented)

    def __rmatmul__(self, other: Any) -> "Tensor":
        try:
            return as_input(other, self).matmul(self)
        except StrangerError:
            return cast(Tensor, NotImplemented)

    def __neg__(self) -> "Tensor":
        return F.neg(self)

    def __pos__(self) -> "Tensor":
        if self.dtype.kind == "b":
            raise TypeError("positive: truth values have no sign; convert them first: x.long().")
        return self

    def __abs__(self) -> "Tensor":
        return F.abs(self)

    __lt__ = _binary("lt")[0]
    __le__ = _binary("le")[0]
    __gt__ = _binary("gt")[0]
    __ge__ = _binary("ge")[0]
    # Of a stranger, None among them, Python makes False and True by itself.
    __eq__ = _binary("eq")[0]  # type: ignore[assignment]
    __ne__ = _binary("ne")[0]  # type: ignore[assignment]

    def __contains__(self, element: Any) -> bool:
        """Whether any element equals this one; a stranger is in no tensor."""
        equal: Any = self == element
        return equal if isinstance(equal, bool) else bool(equal.any())

    __and__, __rand__ = _binary("bitwise_and")
    __or__, __ror__ = _binary("bitwise_or")
    __xor__, __rxor__ = _binary("bitwise_xor")
    __lshift__, __rlshift__ = _binary("bitwise_left_shift")
    __rshift__, __rrshift__ = _binary("bitwise_right_shift")

    def __invert__(self) -> "Tensor":
        return F.bitwise_not(self)

    def __getitem__(self, index: Any) -> "Tensor":
        first, rest = index_steps(raw_index(index, self._backend))
        part = F.getitem(self, index=first)
        return part if rest is None else F.getitem(part, index=rest)

    # The functions that are marked METHOD are methods as well: _methods.py attaches them.


@adopt
class Conversions(Tensor):
    """To other devices, dtypes and memory layouts."""

    __slots__ = ()

    def to(
        self,
        *target: Any,
        device: str | int | None = None,
        dtype: Any = None,
        non_blocking: bool = False,
        copy: bool = False,
        other: "Tensor | None" = None,
        memory_format: Any = None,
    ) -> "Tensor":
        """The tensor on another device or with another dtype, or with those of another tensor.

        It is the tensor itself if nothing changes, unless a `copy` is asked for. Gradients flow
        back. `non_blocking` and `memory_format` change nothing: a GPU is waited for only where that
        is needed. Both switches may follow the target without their names.

        >>> import tinygrad_cv as tg
        >>> tg.tensor([1.5]).to("cpu", tg.float64).dtype
        dtype('float64')
        """
        switches = [value for value in target if isinstance(value, bool)]
        if len(switches) > 2:
            raise TypeError("to: at most two switches are expected, non_blocking and copy.")
        copy = switches[1] if len(switches) == 2 else copy
        device, dtype = where_to(target if other is None else (*target, other), device, dtype)
        result: Tensor = self
        if device is not None and (backend := backends.get(device)) is not self._backend:
            result = F.to_device(self, device=str(backend.device))
        if dtype is not None and (wanted := dtype_named(dtype)) != self.dtype:
            result = F.cast(result, dtype=wanted)
        return F.clone(self) if copy and result is self else result

    def cpu(self, memory_format: Any = None) -> "Tensor":
        """The tensor in host memory."""
        return self.to(device="cpu")

    def cuda(
        self,
        device: int | str | None = None,
        non_blocking: bool = False,
        memory_format: Any = None,
    ) -> "Tensor":
        """The tensor on a GPU, by default the current one."""
        return self.to(device="cuda" if device is None else device)

    @property
    def layout(self) -> layout:
        """`strided`: every tensor is dense."""
        return strided

    def share_memory_(self) -> "Tensor":
        """The tensor itself, which other processes do not see: each gets a copy."""
        return self

    def type(self, dtype: Any = None, non_blocking: bool = False) -> Any:
        """The tensor in a dtype; without one, PyTorch's name for that and the place.

        Such a name, "torch.LongTensor" or "torch.cuda.LongTensor", says both here, too.

        >>> import tinygrad_cv as tg
        >>> x = tg.tensor([1.5])
        >>> x.type(), x.type(tg.float64).dtype, x.type("torch.LongTensor")
        ('torch.FloatTensor', dtype('float64'), tensor([1]))
        """
        if dtype is None:
            place = "torch.cuda." if self.is_cuda else "torch."
            return f"{place}{TYPE_NAMES.get(self.dtype.name, self.dtype.name)}"
        place, _, known = dtype.rpartition(".") if isinstance(dtype, str) else ("", "", "")
        for name, theirs in TYPE_NAMES.items():
            if known == theirs and place in ("torch", "torch.cuda"):
                here = self.cuda() if place == "torch.cuda" and self.is_cpu else self
                return (here if place == "torch.cuda" else here.cpu()).to(dtype=name)
        return self.to(dtype=getattr(dtype, "dtype", dtype))

    def type_as(self, other: "Tensor") -> "Tensor":
        """The tensor in the dtype and on the device of another one."""
        return self.to(as_input(other, self))

    def float(self) -> "Tensor":
        """The tensor as float32."""
        return self.to(dtype="float32")

    def double(self) -> "Tensor":
        """The tensor as float64."""
        return self.to(dtype="float64")

    def half(self) -> "Tensor":
        """The tensor as float16."""
        return self.to(dtype="float16")

    def long(self) -> "Tensor":
        """The tensor as int64."""
        return self.to(dtype="int64")

    def clone(self, *, memory_format: Any = None) -> "Tensor":
        """A copy of the values that stays in the graph. There is one memory format."""
        return F.clone(self)

    def to_dense(self, dtype: Any = None, *, masked_grad: bool | None = None) -> "Tensor":
        """The tensor itself, or in another dtype: there are dense tensors only."""
        return self.to(dtype=dtype)

    def contiguous(self, memory_format: Any = None) -> "Tensor":
        """The tensor itself if it lies in memory in row-major order, otherwise a copy that does.

        A view of memory that happens to lie in another order is copied as if it lay row-major:
        who writes into the result means no other tensor.
        """
        if not self.is_contiguous():
            return self.reshape(-1).reshape(self.shape)
        return F.clone(self) if is_rearranged(self) else self

    @property
    def T(self) -> "Tensor":
        """The transpose of a matrix (all axes reversed)."""
        return F.permute(self, axes=tuple(range(self.ndim))[::-1])

    @property
    def mT(self) -> "Tensor":
        """The last two axes exchanged."""
        return F.mT(self)

    @property
    def mH(self) -> "Tensor":
        """The last two axes exchanged, as `mT`: what is real is its own conjugate."""
        return F.mT(self)

    @property
    def H(self) -> "Tensor":
        """The transpose of a matrix; a tensor without axes as it is."""
        if self.ndim not in (0, 2):
            raise ValueError(
                f"H is for matrices; got the shape {self.shape}. x.mH exchanges the last two axes."
            )
        return self.T

    # These names hide Python's, from here to the end of the class.

    def int(self) -> "Tensor":
        """The tensor as int32."""
        return self.to(dtype="int32")

    def short(self) -> "Tensor":
        """The tensor as int16."""
        return self.to(dtype="int16")

    def char(self) -> "Tensor":
        """The tensor as int8."""
        return self.to(dtype="int8")

    def byte(self) -> "Tensor":
        """The tensor as uint8."""
        return self.to(dtype="uint8")

    def bool(self) -> "Tensor":
        """The tensor as truth values: whether each element is not 0."""
        return self.to(dtype="bool")


def _without_leading(value: Tensor) -> Tensor:
    """A value to be written, without leading axes of length 1, of which a place may have fewer."""
    extra = 0
    while extra < value.ndim and value.shape[extra] == 1:
        extra += 1
    return value.reshape(value.shape[extra:]) if extra else value


@adopt
class Changes(Tensor):
    """Changes in place."""

    __slots__ = ()

    def _assign(self, index: Any, value: Any, how: str) -> "Tensor":
        """self[index] = value; where a graph is recorded, self moves on to a node of this change.

        An index of raw arrays. The write comes first: if it fails, nothing has changed.
        """
        if not isinstance(value, int | float):
            value = _without_leading(as_content(value, self).to(self.device))
        first, rest = index_steps(index)
        recorded = is_recorded(self, value)
        if recorded:
            root = root_of(self, how, value)
            if isinstance(value, Tensor):
                value = self._written(index, value, how)
            node = overwritten(self, root, first, rest, value)
        self._write(first, rest, value, recorded)
        if recorded:
            move_on(self, node)
        return self

    def _write(self, first: Any, rest: Any, value: Any, recorded: bool) -> None:
        """self[first][rest] = value, and no more than that."""
        array = value._array if isinstance(value, Tensor) else value
        if isinstance(value, Tensor) and value._counter is self._counter:
            array = self._backend.array(array, None)  # x[1:] = x[:-1] reads what it writes
        try:
            with self._backend.active:
                part = self._array if rest is None else self._array[first]
                self._backend.assign(part, first if rest is None else rest, array)
        except ValueError as error:
            raise ValueError(
                f"a value of shape {getattr(value, 'shape', ())} cannot be written into this "
                f"tensor of shape {self.shape}: {error}. What was broadcast repeats its memory and "
                "is read-only; x.clone() has memory of its own."
            ) from error
        self._changed(recorded)

    def _written(self, index: Any, value: Tensor, how: str) -> Tensor:
        """A value as the graph needs it: of this dtype."""
        value = value.to(dtype=self.dtype)
        if not value._requires_grad:
            return value
        if repeats(index, self.shape, self._backend):
            raise RuntimeError(
                f"{how}: the index names a place twice, and which of two values stays there is "
                "not certain, so neither is the gradient. Name each place once, or add with "
                "index_put(..., accumulate=True) or index_add."
            )
        return value

    def __setitem__(self, index: Any, value: Any) -> None:
        self._assign(raw_index(index, self._backend), value, "assigning to elements")

    def copy_(self, src: Any, non_blocking: bool = False) -> "Tensor":
        """Overwrite the values with those of `src` (broadcast); see `to` for `non_blocking`."""
        return self._assign(..., src, "copy_")

    def zero_(self) -> "Tensor":
        """Overwrite the values with zeros."""
        return self._assign(..., 0, "zero_")

    def _in_place(
        self, function: Callable[..., Any], how: str, *args: Any, **options: Any
    ) -> "Tensor":
        """Take the values of function(self, ...)."""
        since = next(numbers)
        result = function(self, *args, **options)
        if not isinstance(result, Tensor):  # what a stranger makes of a tensor
            return cast(Tensor, result)
        return self._become(result, how, since)

    def _become(self, result: "Tensor", how: str, since: int | None = None) -> "Tensor":
        """Take the values of a result of this shape, and of a dtype that is not a higher kind.

        The nodes from number `since` on were made for it, and may read the old values.
        """
        if result.shape != self.shape:
            raise ValueError(
                f"the result of shape {result.shape} does not fit in place into {self.shape}."
            )
        if not host.can_cast(result.dtype, self.dtype, "same_kind") and (
            {result.dtype.kind, self.dtype.kind} != {"i", "u"}
        ):
            raise TypeError(
                f"the result of dtype {result.dtype} would be cut to {self.dtype} in place; "
                "write x = x + y, or convert x first: x.float()."
            )
        if result._requires_grad and since is not None and is_recorded(self, result):
            root_of(self, how, result)
            keep_old(result.node, since, self)
            if self._view is None or not self._view.path():  # all of the memory
                result = result.to(dtype=self.dtype)
                self._write(..., None, result, True)
                move_on(self, result.node)
                return self
        return self._assign(..., result, how)

    def _relay(
        self, function: Callable[..., Any], how: str, *args: Any, **options: Any
    ) -> "Tensor":
        """Become the view function(self, ...): other axes over the same memory."""
        leaf = self._requires_grad and self.is_leaf
        if leaf and is_grad_enabled():
            raise RuntimeError(
                f"{how} in place on a leaf of shape {self.shape} that requires a gradient: the "
                f"parameter would become the result of an op. Write y = x.{how[:-1]}(...), or "
                "change it inside `with no_grad():`."
            )
        with no_grad() if leaf else enable_grad():
            seen = function(self, *args, **options)
        if seen is not self:
            relaid(self, seen)
        return self

    def __iadd__(self, other: Any) -> "Tensor":
        return self._in_place(operator.add, "an operator", other)

    def __isub__(self, other: Any) -> "Tensor":
        return self._in_place(operator.sub, "an operator", other)

    def __imul__(self, other: Any) -> "Tensor":
        return self._in_place(operator.mul, "an operator", other)

    def __itruediv__(self, other: Any) -> "Tensor":
        return self._in_place(operator.truediv, "an operator", other)

    def __ifloordiv__(self, other: Any) -> "Tensor":
        return self._in_place(operator.floordiv, "an operator", other)

    def __imod__(self, other: Any) -> "Tensor":
        return self._in_place(operator.mod, "an operator", other)

    def __ipow__(self, other: Any) -> "Tensor":
        return self._in_place(operator.pow, "an operator", other)

    def __iand__(self, other: Any) -> "Tensor":
        return self._in_place(operator.and_, "an operator", other)

    def __ior__(self, other: Any) -> "Tensor":
        return self._in_place(operator.or_, "an operator", other)

    def __ixor__(self, other: Any) -> "Tensor":
        return self._in_place(operator.xor, "an operator", other)

    def __ilshift__(self, other: Any) -> "Tensor":
        return self._in_place(operator.lshift, "an operator", other)

    def __irshift__(self, other: Any) -> "Tensor":
        return self._in_place(operator.rshift, "an operator", other)
