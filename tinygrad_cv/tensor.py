"""Tensor: an array, the node that made it, and the operators; `apply` runs an op on tensors."""

import functools
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tinygrad_cv import backend as backends
from tinygrad_cv.backend import host
from tinygrad_cv.backend.base import Backend
from tinygrad_cv.graph import Graph, Handle, Node, backpropagate, is_grad_enabled, no_grad, observer
from tinygrad_cv.op import WIDTH, Op, Plan, Reading, is_float, promoted
from tinygrad_cv.printing import text


class Tensor:
    """An n-dimensional array that remembers how it was computed.

    `data` may be a Python number or nested list (it becomes float32), a NumPy array (it keeps its
    dtype), or a Tensor; it is copied. With `requires_grad=True` the ops that use the tensor are
    recorded, and `backward()` on a result leaves the gradient in `.grad`.

    Only float tensors can require a gradient. The operators follow NumPy's broadcasting.

    >>> import tinygrad_cv as tg
    >>> x = tg.Tensor([1.0, 2.0], requires_grad=True)
    >>> y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    tensor([2., 4.])
    """

    __slots__ = (
        "__weakref__",
        "_array",
        "_backend",
        "_name",
        "_node",
        "_requires_grad",
        "_version",
        "grad",
    )
    # NumPy must leave `array + tensor` to __radd__ instead of looping over the tensor.
    __array_ufunc__ = None

    grad: "Tensor | None"
    _name: str | None
    _array: Any
    _backend: Backend
    _node: Node | None
    _requires_grad: bool
    _version: list[int]

    def __init__(
        self,
        data: Any,
        dtype: Any = None,
        device: str | None = None,
        requires_grad: bool = False,
    ) -> None:
        if isinstance(data, Tensor):
            backend = data._backend if device is None else backends.get(device)
            values = (
                data._array
                if backend is data._backend
                else backend.receive(data._array, data._backend)
            )
            array = backend.array(values, dtype)
        else:
            backend = backends.get(device)
            if dtype is None and not hasattr(data, "dtype"):
                dtype = "float32"
            array = None if data is None else backend.array(data, dtype)
        if array is None or array.dtype.kind not in "biufc":
            raise TypeError(f"a tensor holds numbers; got {data!r}.")
        self._set(array, backend)
        self.requires_grad = requires_grad

    def _set(self, array: Any, backend: Backend) -> None:
        self._array = array
        self._backend = backend
        self._node = None
        self._requires_grad = False
        self._version = [0]
        self.grad = None
        self._name = None

    # ----- what it is ------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return cast(tuple[int, ...], self._array.shape)

    @property
    def ndim(self) -> int:
        return cast(int, self._array.ndim)

    @property
    def dtype(self) -> Any:
        return self._array.dtype

    @property
    def device(self) -> str:
        """The device as a string, such as "cpu" or "cuda:0"."""
        return self._backend.device

    @property
    def is_leaf(self) -> bool:
        """Whether the user made it (no recorded op did)."""
        return self._node is None or self._node.op is None

    def size(self, dim: int | None = None) -> Any:
        """The shape, or its length along `dim`."""
        return self.shape if dim is None else self._along(self.shape, dim)

    def _along(self, values: tuple[int, ...], dim: int) -> int:
        """One of as many values as there are axes."""
        if not -self.ndim <= dim < self.ndim:
            raise IndexError(
                f"axis {dim} of a tensor of shape {self.shape}: it has {self.ndim} axes."
            )
        return values[dim]

    def dim(self) -> int:
        """The number of dimensions."""
        return self.ndim

    def numel(self) -> int:
        """The number of elements."""
        return cast(int, self._array.size)

    ndimension = dim
    nelement = numel

    def is_same_size(self, other: "Tensor") -> bool:
        """Whether the other tensor has the same shape."""
        return self.shape == other.shape

    @property
    def itemsize(self) -> int:
        """The bytes of one element."""
        return cast(int, self.dtype.itemsize)

    def element_size(self) -> int:
        """The bytes of one element."""
        return self.itemsize

    @property
    def nbytes(self) -> int:
        """The bytes of all elements."""
        return self.numel() * self.itemsize

    def stride(self, dim: int | None = None) -> Any:
        """How many elements lie from one index to the next, along each axis or along `dim`."""
        steps = tuple(step // self.itemsize for step in self._array.strides)
        return steps if dim is None else self._along(steps, dim)

    def is_contiguous(self) -> bool:
        """Whether the elements lie in memory in row-major order, without gaps."""
        dense = 1
        for length, step in zip(self.shape[::-1], self.stride()[::-1], strict=True):
            if length != 1 and step != dense and self.numel():
                return False
            dense *= length
        return True

    @property
    def is_cpu(self) -> bool:
        """Whether it lies in host memory."""
        return self.device == "cpu"

    @property
    def is_cuda(self) -> bool:
        """Whether it lies on a GPU (or on its stand-in)."""
        return self.device != "cpu"

    def get_device(self) -> int:
        """The number of the GPU; -1 in host memory."""
        return int(self.device.partition(":")[2] or -1)

    @property
    def grad_fn(self) -> Node | None:
        """The node of the op that made it; None for a leaf."""
        return None if self.is_leaf else self._node

    def is_floating_point(self) -> bool:
        """Whether the dtype is a float (only such tensors have gradients)."""
        return cast(bool, self.dtype.kind == "f")

    @property
    def requires_grad(self) -> bool:
        """Whether ops on this tensor are recorded, so that a gradient can reach it."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value == self._requires_grad:
            return
        if value and not self.is_floating_point():
            raise TypeError(
                f"a gradient was asked of a {self.dtype} tensor of shape {self.shape}; only float "
                "tensors have gradients. Convert it first: x.float()."
            )
        if not self.is_leaf:
            raise RuntimeError(
                "requires_grad can be changed on leaves only; this tensor was made by "
                f"{self._node and self._node.label}. Use x.detach() to cut it off from its graph."
            )
        self._requires_grad = value
        self._renew_node()  # a leaf's node records whether it needs a gradient

    def requires_grad_(self, requires_grad: bool = True) -> "Tensor":
        """Set `requires_grad` and return the tensor."""
        self.requires_grad = requires_grad
        return self

    @property
    def node(self) -> Node:
        """The node of the graph that this tensor stands for; a leaf's is made when first asked."""
        return self._node or Node.leaf(self)

    def _renew_node(self) -> None:
        """A leaf has become another one for graphs to come; its hooks stay."""
        hooks, self._node = None if self._node is None else self._node.hooks, None
        if hooks:
            self.node.hooks = hooks

    @property
    def name(self) -> str | None:
        """A name for listings and pictures of graphs; None unless somebody gave one."""
        return self._name

    @name.setter
    def name(self, value: str | None) -> None:
        self._name = value
        if self._node is not None:
            self._node.name = value

    # ----- values ----------------------------------------------------------------------------

    def numpy(self) -> Any:
        """The values as a NumPy array that cannot be written to (a graph may rely on them).

        Use `.numpy().copy()` for an array of your own, and assign into the tensor itself to
        change it: `x.data[...] = value`. From a GPU the values are copied.
        """
        if self._requires_grad:
            raise RuntimeError(
                "numpy() of a tensor that requires a gradient would leave the graph without a "
                "word; say so with x.detach().numpy()."
            )
        return self._backend.to_host(self._array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        if self.device != "cpu":
            raise TypeError(
                f"NumPy was given a tensor of shape {self.shape} on {self.device}, and would copy "
                "it to the host without a word; say so with x.numpy()."
            )
        if copy is False and (dtype is not None and dtype != self.dtype):
            raise ValueError(f"no {dtype} view of a {self.dtype} tensor without a copy")
        values = self._backend.to_host(self._array)
        return host.array(values, dtype=dtype) if copy else host.asarray(values, dtype=dtype)

    def item(self) -> Any:
        """The value of a one-element tensor as a Python number."""
        if self.numel() != 1:
            raise ValueError(f"item() needs one element; this tensor has shape {self.shape}.")
        return self._backend.to_host(self._array).item()

    def tolist(self) -> Any:
        """The values as (nested) Python numbers."""
        return self._backend.to_host(self._array).tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise TypeError(f"a {self.dtype} tensor cannot be an index")
        return int(self.item())

    def __bool__(self) -> bool:
        if self.numel() != 1:
            raise ValueError(
                f"the truth of a tensor of shape {self.shape} is ambiguous; "
                "use .any(), .all() or a comparison of one element."
            )
        return bool(self.item())

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        details = [text(self._backend.to_host(self._array))]
        if self.numel() == 0 and self.ndim != 1:
            details.append(f"size={self.shape}")
        if str(self.dtype) not in ("float32", "int64", "bool"):
            details.append(f"dtype={self.dtype}")
        if self.device != "cpu":
            details.append(f"device='{self.device}'")
        if self._node is not None and self._node.op is not None:
            details.append(f"grad_fn=<{self._node.label}>")
        elif self._requires_grad:
            details.append("requires_grad=True")
        return f"tensor({', '.join(details)})"

    def __hash__(self) -> int:
        return id(self)

    def __copy__(self) -> "Tensor":
        copy = type(self).__new__(type(self))
        copy._set(self._array, self._backend)
        copy._version, copy._requires_grad, copy.name = (
            self._version,
            self._requires_grad,
            self.name,
        )
        # The node of a leaf stands for that one tensor; a result may stand at its node twice.
        copy._node = None if self.is_leaf else self._node
        copy.grad = None if self.grad is None else self.grad.clone()
        return copy

    def __deepcopy__(self, memo: dict[int, Any]) -> "Tensor":
        if not self.is_leaf:
            raise RuntimeError("only leaves can be deep-copied; use x.detach().clone()")
        copy = type(self).__new__(type(self))
        copy._set(self._backend.array(self._array, None), self._backend)
        copy._requires_grad, copy.name = self._requires_grad, self.name
        copy.grad = None if self.grad is None else self.grad.clone()
        memo[id(self)] = copy
        return copy

    # ----- sharing and changing memory -------------------------------------------------------

    def detach(self) -> "Tensor":
        """The same memory outside the graph: no gradient flows through the result."""
        alias = wrap(self._array, self._backend)
        alias._version = self._version
        return alias

    def detach_(self) -> "Tensor":
        """Leave the graph: the tensor becomes a leaf that needs no gradient."""
        self._node, self._requires_grad = None, False
        return self

    @property
    def data(self) -> "Tensor":
        """The same memory outside the graph, to read or to change: `w.data -= lr * w.grad`.

        A change is counted: if a graph relies on the old value, its backward pass says so.
        """
        return self.detach()

    @data.setter
    def data(self, value: "Tensor") -> None:
        value = _operand(value, self)
        if value._array is self._array:
            return  # the end of an in-place operator on x.data
        if value.shape != self.shape or value.dtype != self.dtype:
            raise ValueError(
                f"data of {value.dtype} {value.shape} given to a tensor of "
                f"{self.dtype} {self.shape}; the shape and dtype must stay."
            )
        # The old array stays as it was, so a graph that saved it still has the right values.
        self._array, self._version = value._array, value._version

    def _move(self, device: str | None, dtype: Any) -> None:
        """This very tensor, with its gradient, to another device or float dtype (a leaf)."""
        dtype = dtype if self.is_floating_point() else None
        with no_grad():
            moved = self.detach().to(device=device, dtype=dtype)
        if moved._array is self._array:
            return
        # Graphs that were made with it keep the old array and the old node.
        self._array, self._backend, self._version = moved._array, moved._backend, [0]
        self._renew_node()
        if self.grad is not None:
            self.grad._move(device, dtype)

    def _changed(self) -> None:
        """Count an in-place change of the array (shared with all views of it)."""
        self._version[0] += 1

    def _refuse_recorded(self, value: Any, how: str) -> None:
        if is_grad_enabled() and (
            self._requires_grad or (isinstance(value, Tensor) and value._requires_grad)
        ):
            raise RuntimeError(
                f"{how} in place would not be recorded, and the gradient would be wrong. Compute "
                "a new tensor (where, cat, scatter), or make the change outside the graph: on "
                "x.data, or inside `with no_grad():`."
            )

    def _assign(self, index: Any, value: Any, how: str) -> "Tensor":
        self._refuse_recorded(value, how)
        if not isinstance(value, int | float):
            value = _operand(value, self).to(self.device)._array
        first, rest = index_steps(index)
        try:
            with self._backend.active:
                part = self._array if rest is None else self._array[first]
            self._backend.assign(part, first if rest is None else rest, value)
        except ValueError as error:
            raise ValueError(
                f"a value of shape {getattr(value, 'shape', ())} cannot be written into this "
                f"tensor of shape {self.shape}: {error}. What was broadcast repeats its memory and "
                "is read-only; x.clone() has memory of its own."
            ) from error
        self._changed()
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        self._assign(raw_index(index, self._backend), value, "assigning to elements")

    def copy_(self, source: Any) -> "Tensor":
        """Overwrite the values with those of `source` (broadcast)."""
        return self._assign(..., source, "copy_")

    def zero_(self) -> "Tensor":
        """Overwrite the values with zeros."""
        return self._assign(..., 0, "zero_")

    def _in_place(self, result: "Tensor") -> "Tensor":
        """`x += y`: in place on plain data, a new tensor where a graph is recorded."""
        if result._requires_grad or (self._requires_grad and is_grad_enabled()):
            if self._requires_grad and self.is_leaf:
                raise RuntimeError(
                    "an in-place operator on a leaf that requires a gradient would replace the "
                    "parameter by the result of a recorded op. Update it with x.data -= ..., or "
                    "inside `with no_grad():`."
                )
            return result
        return self._become(result, "an operator")

    def _become(self, result: "Tensor", how: str) -> "Tensor":
        """Take the values of a result of this shape, and of a dtype that is not a higher kind."""
        self._refuse_recorded(result, how)
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
        return self._assign(..., result, how)

    def __iadd__(self, other: Any) -> "Tensor":
        return self._in_place(self + other)

    def __isub__(self, other: Any) -> "Tensor":
        return self._in_place(self - other)

    def __imul__(self, other: Any) -> "Tensor":
        return self._in_place(self * other)

    def __itruediv__(self, other: Any) -> "Tensor":
        return self._in_place(self / other)

    def __ifloordiv__(self, other: Any) -> "Tensor":
        return self._in_place(self // other)

    def __imod__(self, other: Any) -> "Tensor":
        return self._in_place(self % other)

    def __ipow__(self, other: Any) -> "Tensor":
        return self._in_place(self**other)

    def __iand__(self, other: Any) -> "Tensor":
        return self._in_place(self & other)

    def __ior__(self, other: Any) -> "Tensor":
        return self._in_place(self | other)

    def __ixor__(self, other: Any) -> "Tensor":
        return self._in_place(self ^ other)

    def __ilshift__(self, other: Any) -> "Tensor":
        return self._in_place(self << other)

    def __irshift__(self, other: Any) -> "Tensor":
        return self._in_place(self >> other)

    # ----- conversions -----------------------------------------------------------------------

    def to(
        self,
        *target: Any,
        device: str | None = None,
        dtype: Any = None,
        non_blocking: bool = False,
        copy: bool = False,
    ) -> "Tensor":
        """The tensor on another device or with another dtype, or with those of another tensor.

        It is the tensor itself if nothing changes, unless a `copy` is asked for. Gradients flow
        back. `non_blocking` changes nothing: a GPU is waited for only where that is needed. Both
        switches may follow the target without their names.

        >>> import tinygrad_cv as tg
        >>> tg.tensor([1.5]).to("cpu", tg.float64).dtype
        dtype('float64')
        """
        switches = [value for value in target if isinstance(value, bool)]
        if len(switches) > 2:
            raise TypeError("to: at most two switches are expected, non_blocking and copy.")
        copy = switches[1] if len(switches) == 2 else copy
        for value in target:
            if isinstance(value, bool):
                continue
            if isinstance(value, Tensor):
                device, dtype = value.device, value.dtype
            elif isinstance(value, str) and not hasattr(host, value):
                device = value
            else:
                dtype = value
        result = self
        if device is not None and (backend := backends.get(device)) is not self._backend:
            result = F.to_device(self, device=backend.device)
        if dtype is not None and host.dtype(dtype) != self.dtype:
            result = F.cast(result, dtype=host.dtype(dtype))
        return F.clone(self) if copy and result is self else result

    def cpu(self) -> "Tensor":
        """The tensor in host memory."""
        return self.to(device="cpu")

    def cuda(self, device: int | str | None = None, non_blocking: bool = False) -> "Tensor":
        """The tensor on the GPU, by default the first."""
        return self.to(device=f"cuda:{device or 0}" if not isinstance(device, str) else device)

    def type(self, dtype: Any = None) -> Any:
        """The tensor in a dtype; without one, the name of the dtype that it has."""
        return str(self.dtype) if dtype is None else self.to(dtype=dtype)

    def type_as(self, other: "Tensor") -> "Tensor":
        """The tensor in the dtype and on the device of another one."""
        return self.to(other)

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

    def clone(self) -> "Tensor":
        """A copy of the values that stays in the graph."""
        return F.clone(self)

    def contiguous(self) -> "Tensor":
        """The tensor itself if it lies in memory in row-major order, otherwise a copy that does."""
        return self if self.is_contiguous() else self.reshape(-1).reshape(self.shape)

    # ----- gradients -------------------------------------------------------------------------

    def retain_grad(self) -> None:
        """Keep the gradient of this intermediate result in `.grad` as well."""
        if not self._requires_grad:
            raise RuntimeError(
                f"retain_grad of a tensor of shape {self.shape} that needs no gradient: nothing "
                "it was computed from has requires_grad=True."
            )
        self.node.tensor = weakref.ref(self)

    def register_hook(self, hook: Callable[["Tensor"], "Tensor | None"]) -> Handle:
        """Call `hook(gradient)` whenever the gradient of this tensor is complete.

        What the hook returns takes the place of the gradient, for `.grad` as for what lies behind;
        None leaves it as it is. The hook gets a copy. With `create_graph` what it computes is
        recorded. Several hooks are called in the order of their registration. Returns a handle,
        whose `remove()` takes the hook away.

        >>> import tinygrad_cv as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> handle = x.register_hook(lambda g: g.clamp(max=3))
        >>> (x**2).sum().backward()
        >>> x.grad
        tensor([2., 3.])
        >>> handle.remove()
        """
        if not self._requires_grad:
            raise RuntimeError(
                f"register_hook on a tensor of shape {self.shape} that needs no gradient: nothing "
                "it was computed from has requires_grad=True."
            )
        node = self.node
        node.hooks = {} if node.hooks is None else node.hooks
        return Handle(node.hooks, functools.partial(_call_hook, hook))

    def backward(
        self,
        gradient: Any = None,
        retain_graph: bool = False,
        create_graph: bool = False,
    ) -> None:
        """Add the gradient of this tensor with respect to every leaf to the leaf's `.grad`.

        `gradient` is dL/d(self); it may be left out for a scalar (it is 1). The graph's saved
        values are freed on the way unless `retain_graph`. With `create_graph` the pass is itself
        recorded, so the gradients can be differentiated again.

        >>> import tinygrad_cv as tg
        >>> x = tg.tensor(3.0, requires_grad=True)
        >>> (x**2).backward()
        >>> x.grad.item()
        6.0
        """
        gradient = _seed(self, gradient)
        given = _Given(gradient)
        reading: Reading = F if create_graph else self._backend.raw
        seed = gradient if create_graph else gradient._array
        keep = retain_graph or create_graph
        for node, g in backpropagate({self.node: seed}, reading, keep=keep):
            target = node.tensor() if node.tensor is not None else None
            if target is None:
                continue
            if target._node is not node:  # it went to another device since (see `_move`)
                g = g if create_graph else wrap(g, node.backend)
                moved = g.to(device=target.device, dtype=target.dtype)
                target.grad = moved if target.grad is None else target.grad + moved
            elif target.grad is None:
                target.grad = given.own(g, node)
            elif create_graph:
                target.grad = target.grad + g
            else:
                total = node.backend.result(target.grad._array + g, g.dtype)
                target.grad = wrap(total, node.backend)

    # ----- operators -------------------------------------------------------------------------

    def __add__(self, other: Any) -> "Tensor":
        return F.add(self, other)

    def __radd__(self, other: Any) -> "Tensor":
        return F.add(other, self)

    def __sub__(self, other: Any) -> "Tensor":
        return F.sub(self, other)

    def __rsub__(self, other: Any) -> "Tensor":
        return F.sub(other, self)

    def __mul__(self, other: Any) -> "Tensor":
        return F.mul(self, other)

    def __rmul__(self, other: Any) -> "Tensor":
        return F.mul(other, self)

    def __truediv__(self, other: Any) -> "Tensor":
        return F.div(self, other)

    def __rtruediv__(self, other: Any) -> "Tensor":
        return F.div(other, self)

    def __floordiv__(self, other: Any) -> "Tensor":
        return F.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> "Tensor":
        return F.floor_divide(other, self)

    def __mod__(self, other: Any) -> "Tensor":
        return F.remainder(self, other)

    def __rmod__(self, other: Any) -> "Tensor":
        return F.remainder(other, self)

    def __pow__(self, other: Any) -> "Tensor":
        if isinstance(other, int | float):
            return F.pow(self, n=other)
        return F.pow_tensor(self, other)

    def __rpow__(self, other: Any) -> "Tensor":
        return F.pow_tensor(other, self)

    def __matmul__(self, other: Any) -> "Tensor":
        return self.matmul(_operand(other, self))

    def __rmatmul__(self, other: Any) -> "Tensor":
        return _operand(other, self).matmul(self)

    def __neg__(self) -> "Tensor":
        return F.neg(self)

    def __pos__(self) -> "Tensor":
        if self.dtype.kind == "b":
            raise TypeError("positive: truth values have no sign; convert them first: x.long().")
        return self

    def __abs__(self) -> "Tensor":
        return F.abs(self)

    def __lt__(self, other: Any) -> "Tensor":
        return F.lt(self, other)

    def __le__(self, other: Any) -> "Tensor":
        return F.le(self, other)

    def __gt__(self, other: Any) -> "Tensor":
        return F.gt(self, other)

    def __ge__(self, other: Any) -> "Tensor":
        return F.ge(self, other)

    def __eq__(self, other: Any) -> "Tensor":  # type: ignore[override]
        return F.eq(self, other)

    def __ne__(self, other: Any) -> "Tensor":  # type: ignore[override]
        return F.ne(self, other)

    def __and__(self, other: Any) -> "Tensor":
        return F.bitwise_and(self, other)

    def __or__(self, other: Any) -> "Tensor":
        return F.bitwise_or(self, other)

    def __xor__(self, other: Any) -> "Tensor":
        return F.bitwise_xor(self, other)

    def __rand__(self, other: Any) -> "Tensor":
        return F.bitwise_and(other, self)

    def __ror__(self, other: Any) -> "Tensor":
        return F.bitwise_or(other, self)

    def __rxor__(self, other: Any) -> "Tensor":
        return F.bitwise_xor(other, self)

    def __lshift__(self, other: Any) -> "Tensor":
        return F.bitwise_left_shift(self, other)

    def __rlshift__(self, other: Any) -> "Tensor":
        return F.bitwise_left_shift(other, self)

    def __rshift__(self, other: Any) -> "Tensor":
        return F.bitwise_right_shift(self, other)

    def __rrshift__(self, other: Any) -> "Tensor":
        return F.bitwise_right_shift(other, self)

    def __invert__(self) -> "Tensor":
        return F.bitwise_not(self)

    def __getitem__(self, index: Any) -> "Tensor":
        first, rest = index_steps(raw_index(index, self._backend))
        part = F.getitem(self, index=first)
        return part if rest is None else F.getitem(part, index=rest)

    # The functions of `ops` whose first parameter is a tensor are its methods as well; the package
    # attaches them when it is imported.
    if TYPE_CHECKING:
        abs: Callable[..., "Tensor"]
        abs_: Callable[..., "Tensor"]
        absolute: Callable[..., "Tensor"]
        absolute_: Callable[..., "Tensor"]
        acos: Callable[..., "Tensor"]
        acos_: Callable[..., "Tensor"]
        acosh: Callable[..., "Tensor"]
        acosh_: Callable[..., "Tensor"]
        add: Callable[..., "Tensor"]
        add_: Callable[..., "Tensor"]
        addbmm: Callable[..., "Tensor"]
        addcdiv: Callable[..., "Tensor"]
        addcdiv_: Callable[..., "Tensor"]
        addcmul: Callable[..., "Tensor"]
        addcmul_: Callable[..., "Tensor"]
        addmm: Callable[..., "Tensor"]
        addmv: Callable[..., "Tensor"]
        addr: Callable[..., "Tensor"]
        all: Callable[..., "Tensor"]
        allclose: Callable[..., Any]
        amax: Callable[..., "Tensor"]
        amin: Callable[..., "Tensor"]
        aminmax: Callable[..., Any]
        any: Callable[..., "Tensor"]
        arccos: Callable[..., "Tensor"]
        arccos_: Callable[..., "Tensor"]
        arccosh: Callable[..., "Tensor"]
        arccosh_: Callable[..., "Tensor"]
        arcsin: Callable[..., "Tensor"]
        arcsin_: Callable[..., "Tensor"]
        arcsinh: Callable[..., "Tensor"]
        arcsinh_: Callable[..., "Tensor"]
        arctan: Callable[..., "Tensor"]
        arctan2: Callable[..., "Tensor"]
        arctan2_: Callable[..., "Tensor"]
        arctan_: Callable[..., "Tensor"]
        arctanh: Callable[..., "Tensor"]
        arctanh_: Callable[..., "Tensor"]
        argmax: Callable[..., "Tensor"]
        argmin: Callable[..., "Tensor"]
        argsort: Callable[..., "Tensor"]
        argwhere: Callable[..., "Tensor"]
        asin: Callable[..., "Tensor"]
        asin_: Callable[..., "Tensor"]
        asinh: Callable[..., "Tensor"]
        asinh_: Callable[..., "Tensor"]
        atan: Callable[..., "Tensor"]
        atan2: Callable[..., "Tensor"]
        atan2_: Callable[..., "Tensor"]
        atan_: Callable[..., "Tensor"]
        atanh: Callable[..., "Tensor"]
        atanh_: Callable[..., "Tensor"]
        baddbmm: Callable[..., "Tensor"]
        bernoulli: Callable[..., "Tensor"]
        bernoulli_: Callable[..., "Tensor"]
        bincount: Callable[..., "Tensor"]
        bitwise_and: Callable[..., "Tensor"]
        bitwise_left_shift: Callable[..., "Tensor"]
        bitwise_not: Callable[..., "Tensor"]
        bitwise_or: Callable[..., "Tensor"]
        bitwise_right_shift: Callable[..., "Tensor"]
        bitwise_xor: Callable[..., "Tensor"]
        bmm: Callable[..., "Tensor"]
        broadcast_to: Callable[..., "Tensor"]
        ceil: Callable[..., "Tensor"]
        ceil_: Callable[..., "Tensor"]
        cholesky: Callable[..., "Tensor"]
        chunk: Callable[..., Any]
        clamp: Callable[..., "Tensor"]
        clamp_: Callable[..., "Tensor"]
        clamp_max: Callable[..., "Tensor"]
        clamp_max_: Callable[..., "Tensor"]
        clamp_min: Callable[..., "Tensor"]
        clamp_min_: Callable[..., "Tensor"]
        clip: Callable[..., "Tensor"]
        clip_: Callable[..., "Tensor"]
        copysign: Callable[..., "Tensor"]
        copysign_: Callable[..., "Tensor"]
        corrcoef: Callable[..., "Tensor"]
        cos: Callable[..., "Tensor"]
        cos_: Callable[..., "Tensor"]
        cosh: Callable[..., "Tensor"]
        cosh_: Callable[..., "Tensor"]
        count_nonzero: Callable[..., "Tensor"]
        cov: Callable[..., "Tensor"]
        cross: Callable[..., "Tensor"]
        cummax: Callable[..., Any]
        cummin: Callable[..., Any]
        cumprod: Callable[..., "Tensor"]
        cumprod_: Callable[..., "Tensor"]
        cumsum: Callable[..., "Tensor"]
        cumsum_: Callable[..., "Tensor"]
        deg2rad: Callable[..., "Tensor"]
        deg2rad_: Callable[..., "Tensor"]
        det: Callable[..., "Tensor"]
        diag: Callable[..., "Tensor"]
        diag_embed: Callable[..., "Tensor"]
        diagonal: Callable[..., "Tensor"]
        diff: Callable[..., "Tensor"]
        digamma: Callable[..., "Tensor"]
        digamma_: Callable[..., "Tensor"]
        dist: Callable[..., "Tensor"]
        div: Callable[..., "Tensor"]
        div_: Callable[..., "Tensor"]
        divide: Callable[..., "Tensor"]
        divide_: Callable[..., "Tensor"]
        dot: Callable[..., "Tensor"]
        dsplit: Callable[..., Any]
        eq: Callable[..., "Tensor"]
        eq_: Callable[..., "Tensor"]
        equal: Callable[..., Any]
        erf: Callable[..., "Tensor"]
        erf_: Callable[..., "Tensor"]
        erfc: Callable[..., "Tensor"]
        erfc_: Callable[..., "Tensor"]
        erfinv: Callable[..., "Tensor"]
        erfinv_: Callable[..., "Tensor"]
        exp: Callable[..., "Tensor"]
        exp2: Callable[..., "Tensor"]
        exp2_: Callable[..., "Tensor"]
        exp_: Callable[..., "Tensor"]
        expand: Callable[..., "Tensor"]
        expand_as: Callable[..., "Tensor"]
        expm1: Callable[..., "Tensor"]
        expm1_: Callable[..., "Tensor"]
        exponential_: Callable[..., "Tensor"]
        fill_: Callable[..., "Tensor"]
        fix: Callable[..., "Tensor"]
        fix_: Callable[..., "Tensor"]
        flatten: Callable[..., "Tensor"]
        flip: Callable[..., "Tensor"]
        fliplr: Callable[..., "Tensor"]
        flipud: Callable[..., "Tensor"]
        float_power: Callable[..., "Tensor"]
        float_power_: Callable[..., "Tensor"]
        floor: Callable[..., "Tensor"]
        floor_: Callable[..., "Tensor"]
        floor_divide: Callable[..., "Tensor"]
        floor_divide_: Callable[..., "Tensor"]
        fmax: Callable[..., "Tensor"]
        fmin: Callable[..., "Tensor"]
        fmod: Callable[..., "Tensor"]
        fmod_: Callable[..., "Tensor"]
        frac: Callable[..., "Tensor"]
        frac_: Callable[..., "Tensor"]
        gather: Callable[..., "Tensor"]
        ge: Callable[..., "Tensor"]
        ge_: Callable[..., "Tensor"]
        ger: Callable[..., "Tensor"]
        greater: Callable[..., "Tensor"]
        greater_: Callable[..., "Tensor"]
        greater_equal: Callable[..., "Tensor"]
        greater_equal_: Callable[..., "Tensor"]
        gt: Callable[..., "Tensor"]
        gt_: Callable[..., "Tensor"]
        hardshrink: Callable[..., "Tensor"]
        heaviside: Callable[..., "Tensor"]
        heaviside_: Callable[..., "Tensor"]
        histc: Callable[..., "Tensor"]
        hsplit: Callable[..., Any]
        hypot: Callable[..., "Tensor"]
        hypot_: Callable[..., "Tensor"]
        index_add: Callable[..., "Tensor"]
        index_add_: Callable[..., "Tensor"]
        index_copy: Callable[..., "Tensor"]
        index_copy_: Callable[..., "Tensor"]
        index_fill: Callable[..., "Tensor"]
        index_fill_: Callable[..., "Tensor"]
        index_put: Callable[..., "Tensor"]
        index_put_: Callable[..., "Tensor"]
        index_select: Callable[..., "Tensor"]
        inner: Callable[..., "Tensor"]
        inverse: Callable[..., "Tensor"]
        isclose: Callable[..., "Tensor"]
        isfinite: Callable[..., "Tensor"]
        isinf: Callable[..., "Tensor"]
        isnan: Callable[..., "Tensor"]
        isneginf: Callable[..., "Tensor"]
        isposinf: Callable[..., "Tensor"]
        isreal: Callable[..., "Tensor"]
        kron: Callable[..., "Tensor"]
        kthvalue: Callable[..., Any]
        ldexp: Callable[..., "Tensor"]
        le: Callable[..., "Tensor"]
        le_: Callable[..., "Tensor"]
        lerp: Callable[..., "Tensor"]
        lerp_: Callable[..., "Tensor"]
        less: Callable[..., "Tensor"]
        less_: Callable[..., "Tensor"]
        less_equal: Callable[..., "Tensor"]
        less_equal_: Callable[..., "Tensor"]
        lgamma: Callable[..., "Tensor"]
        lgamma_: Callable[..., "Tensor"]
        log: Callable[..., "Tensor"]
        log10: Callable[..., "Tensor"]
        log10_: Callable[..., "Tensor"]
        log1p: Callable[..., "Tensor"]
        log1p_: Callable[..., "Tensor"]
        log2: Callable[..., "Tensor"]
        log2_: Callable[..., "Tensor"]
        log_: Callable[..., "Tensor"]
        log_softmax: Callable[..., "Tensor"]
        logaddexp: Callable[..., "Tensor"]
        logaddexp2: Callable[..., "Tensor"]
        logcumsumexp: Callable[..., "Tensor"]
        logdet: Callable[..., "Tensor"]
        logical_and: Callable[..., "Tensor"]
        logical_and_: Callable[..., "Tensor"]
        logical_not: Callable[..., "Tensor"]
        logical_not_: Callable[..., "Tensor"]
        logical_or: Callable[..., "Tensor"]
        logical_or_: Callable[..., "Tensor"]
        logical_xor: Callable[..., "Tensor"]
        logical_xor_: Callable[..., "Tensor"]
        logit: Callable[..., "Tensor"]
        logit_: Callable[..., "Tensor"]
        logsumexp: Callable[..., "Tensor"]
        lt: Callable[..., "Tensor"]
        lt_: Callable[..., "Tensor"]
        masked_fill: Callable[..., "Tensor"]
        masked_fill_: Callable[..., "Tensor"]
        masked_select: Callable[..., "Tensor"]
        matmul: Callable[..., "Tensor"]
        matrix_power: Callable[..., "Tensor"]
        max: Callable[..., Any]
        maximum: Callable[..., "Tensor"]
        mean: Callable[..., "Tensor"]
        median: Callable[..., Any]
        min: Callable[..., Any]
        minimum: Callable[..., "Tensor"]
        mm: Callable[..., "Tensor"]
        moveaxis: Callable[..., "Tensor"]
        movedim: Callable[..., "Tensor"]
        msort: Callable[..., "Tensor"]
        mul: Callable[..., "Tensor"]
        mul_: Callable[..., "Tensor"]
        multinomial: Callable[..., "Tensor"]
        multiply: Callable[..., "Tensor"]
        multiply_: Callable[..., "Tensor"]
        mv: Callable[..., "Tensor"]
        nan_to_num: Callable[..., "Tensor"]
        nan_to_num_: Callable[..., "Tensor"]
        nanmean: Callable[..., "Tensor"]
        nanmedian: Callable[..., Any]
        nanquantile: Callable[..., "Tensor"]
        nansum: Callable[..., "Tensor"]
        narrow: Callable[..., "Tensor"]
        ne: Callable[..., "Tensor"]
        ne_: Callable[..., "Tensor"]
        neg: Callable[..., "Tensor"]
        neg_: Callable[..., "Tensor"]
        negative: Callable[..., "Tensor"]
        negative_: Callable[..., "Tensor"]
        new_empty: Callable[..., "Tensor"]
        new_full: Callable[..., "Tensor"]
        new_ones: Callable[..., "Tensor"]
        new_tensor: Callable[..., "Tensor"]
        new_zeros: Callable[..., "Tensor"]
        nonzero: Callable[..., Any]
        norm: Callable[..., "Tensor"]
        normal_: Callable[..., "Tensor"]
        not_equal: Callable[..., "Tensor"]
        not_equal_: Callable[..., "Tensor"]
        outer: Callable[..., "Tensor"]
        permute: Callable[..., "Tensor"]
        pinverse: Callable[..., "Tensor"]
        polygamma: Callable[..., "Tensor"]
        positive: Callable[..., "Tensor"]
        pow: Callable[..., "Tensor"]
        pow_: Callable[..., "Tensor"]
        prelu: Callable[..., "Tensor"]
        prod: Callable[..., "Tensor"]
        quantile: Callable[..., "Tensor"]
        rad2deg: Callable[..., "Tensor"]
        rad2deg_: Callable[..., "Tensor"]
        random_: Callable[..., "Tensor"]
        ravel: Callable[..., "Tensor"]
        reciprocal: Callable[..., "Tensor"]
        reciprocal_: Callable[..., "Tensor"]
        relu: Callable[..., "Tensor"]
        relu_: Callable[..., "Tensor"]
        remainder: Callable[..., "Tensor"]
        remainder_: Callable[..., "Tensor"]
        repeat: Callable[..., "Tensor"]
        repeat_interleave: Callable[..., "Tensor"]
        reshape: Callable[..., "Tensor"]
        reshape_as: Callable[..., "Tensor"]
        roll: Callable[..., "Tensor"]
        rot90: Callable[..., "Tensor"]
        round: Callable[..., "Tensor"]
        round_: Callable[..., "Tensor"]
        rsqrt: Callable[..., "Tensor"]
        rsqrt_: Callable[..., "Tensor"]
        scatter: Callable[..., "Tensor"]
        scatter_: Callable[..., "Tensor"]
        scatter_add: Callable[..., "Tensor"]
        scatter_add_: Callable[..., "Tensor"]
        scatter_reduce: Callable[..., "Tensor"]
        select: Callable[..., "Tensor"]
        sgn: Callable[..., "Tensor"]
        sgn_: Callable[..., "Tensor"]
        sigmoid: Callable[..., "Tensor"]
        sigmoid_: Callable[..., "Tensor"]
        sign: Callable[..., "Tensor"]
        sign_: Callable[..., "Tensor"]
        signbit: Callable[..., "Tensor"]
        sin: Callable[..., "Tensor"]
        sin_: Callable[..., "Tensor"]
        sinc: Callable[..., "Tensor"]
        sinc_: Callable[..., "Tensor"]
        sinh: Callable[..., "Tensor"]
        sinh_: Callable[..., "Tensor"]
        slogdet: Callable[..., Any]
        softmax: Callable[..., "Tensor"]
        sort: Callable[..., Any]
        split: Callable[..., Any]
        sqrt: Callable[..., "Tensor"]
        sqrt_: Callable[..., "Tensor"]
        square: Callable[..., "Tensor"]
        square_: Callable[..., "Tensor"]
        squeeze: Callable[..., "Tensor"]
        std: Callable[..., "Tensor"]
        sub: Callable[..., "Tensor"]
        sub_: Callable[..., "Tensor"]
        subtract: Callable[..., "Tensor"]
        subtract_: Callable[..., "Tensor"]
        sum: Callable[..., "Tensor"]
        swapaxes: Callable[..., "Tensor"]
        take: Callable[..., "Tensor"]
        take_along_dim: Callable[..., "Tensor"]
        tan: Callable[..., "Tensor"]
        tan_: Callable[..., "Tensor"]
        tanh: Callable[..., "Tensor"]
        tanh_: Callable[..., "Tensor"]
        tensor_split: Callable[..., Any]
        tile: Callable[..., "Tensor"]
        topk: Callable[..., Any]
        trace: Callable[..., "Tensor"]
        transpose: Callable[..., "Tensor"]
        tril: Callable[..., "Tensor"]
        tril_: Callable[..., "Tensor"]
        triu: Callable[..., "Tensor"]
        triu_: Callable[..., "Tensor"]
        true_divide: Callable[..., "Tensor"]
        true_divide_: Callable[..., "Tensor"]
        trunc: Callable[..., "Tensor"]
        trunc_: Callable[..., "Tensor"]
        unbind: Callable[..., Any]
        unflatten: Callable[..., "Tensor"]
        unfold: Callable[..., "Tensor"]
        uniform_: Callable[..., "Tensor"]
        unique: Callable[..., Any]
        unique_consecutive: Callable[..., Any]
        unsqueeze: Callable[..., "Tensor"]
        var: Callable[..., "Tensor"]
        vdot: Callable[..., "Tensor"]
        view_as: Callable[..., "Tensor"]
        vsplit: Callable[..., Any]
        where: Callable[..., "Tensor"]
        xlogy: Callable[..., "Tensor"]
        xlogy_: Callable[..., "Tensor"]

    @property
    def T(self) -> "Tensor":
        """The transpose of a matrix (all axes reversed)."""
        return F.permute(self, axes=tuple(range(self.ndim))[::-1])

    @property
    def mT(self) -> "Tensor":
        """The last two axes exchanged."""
        return F.mT(self)

    def t(self) -> "Tensor":
        """The transpose of a matrix; a tensor of one axis or none as it is."""
        if self.ndim > 2:
            raise ValueError(
                f"t() is for matrices; got the shape {self.shape}. x.mT exchanges the last two "
                "axes, x.permute(...) any."
            )
        return self.T if self.ndim == 2 else self

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


def wrap(array: Any, backend: Backend) -> Tensor:
    """A tensor around an array that nobody else will write to."""
    tensor = _new(Tensor)
    tensor._array = array
    tensor._backend = backend
    tensor._node = None
    tensor._requires_grad = False
    tensor._version = [0]
    tensor.grad = None
    tensor._name = None
    return tensor


_new = object.__new__


def _call_hook(hook: Callable[[Tensor], Tensor | None], node: Node, g: Any) -> Any:
    """The gradient g (an array or a Tensor) of a node, or what the hook makes of it."""
    if isinstance(g, Tensor):
        result = hook(F.clone(g))
    else:
        with no_grad():
            result = hook(wrap(node.backend.array(g, None), node.backend))
    if result is None:
        return g
    if not isinstance(result, Tensor) or result.shape != node.shape:
        raise ValueError(
            f"a hook returned {getattr(result, 'shape', result)!r} for a gradient of shape "
            f"{node.shape}; it returns a tensor of that shape, or None."
        )
    if isinstance(g, Tensor):
        return result.to(device=node.backend.device, dtype=node.dtype)
    return result.detach().to(device=node.backend.device, dtype=node.dtype, copy=True)._array


def _operand(value: Any, like: Tensor) -> Tensor:
    """`value` as a tensor on the device of `like`; tensors pass as they are.

    Numbers and lists take the dtype of `like`, if it is of their kind; else 2.5 beside integers
    would be cut to 2.
    """
    if isinstance(value, Tensor):
        return value
    dtype = None
    if not hasattr(value, "dtype"):
        kind, own = host.asarray(value).dtype.kind, like.dtype.kind
        if own == "f" or kind == "b" or (kind in "iu" and own in "iu"):
            dtype = like.dtype
        elif kind in "iu":
            dtype = "int64"
    return Tensor(value, dtype=dtype, device=like.device)


class _Given:
    """The memory that a backward pass has given away as gradients.

    No two gradients share memory, nor a gradient and a value: each may be changed in place.
    """

    def __init__(self, *seeds: Tensor) -> None:
        self.ids = {id(seed._array) for seed in seeds}
        self.kept: list[Any] = []  # an id is good as long as its array lives

    def own(self, g: Any, node: Node) -> Tensor:
        """The gradient g (an array or a Tensor) of a node as a Tensor with memory of its own."""
        if isinstance(g, Tensor):
            # Of two inputs that get the same gradient, neither may seem to depend on the other.
            return F.clone(g)
        if id(g) in self.ids or not node.backend.owns(g) or node.op is not None:
            return wrap(node.backend.array(g, None), node.backend)
        self.ids.add(id(g))
        self.kept.append(g)
        return wrap(g, node.backend)


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
            return backend.array(part._array, None)
        return backend.receive(part._array, part._backend)
    array = part if hasattr(part, "dtype") else host.asarray(part)
    if array.size == 0 and array.dtype.kind not in "iub":
        array = array.astype("int64")  # [] alone would be floats
    if array.dtype.kind not in "iub":
        raise IndexError(
            f"an index must be integers, slices, truth values, None or ...; got {part!r}."
        )
    return backend.array(array, None)


def apply(op: Op, *inputs: Any) -> Tensor:
    """Run `op` on tensors (plain numbers and None pass as they are) and record it if needed."""
    backend: Backend | None = None
    recorded = False
    arrays = []
    wanted = []
    for value in inputs:
        if isinstance(value, Tensor):
            if backend is None:
                backend = value._backend
            elif value._backend is not backend:
                raise _device_error(op, inputs)
            arrays.append(value._array)
            wanted.append(value._requires_grad)
            recorded = recorded or value._requires_grad
        elif type(value) in _PLAIN and (value is not None or op.optional):
            arrays.append(value)
            wanted.append(False)
        else:
            return apply(op, *[_adopt(op, value, inputs) for value in inputs])
    if backend is None:
        return apply(op, Tensor(inputs[0]), *inputs[1:])
    eye = observer.get()
    with backend.active:
        array = op.run(backend, *arrays) if eye is None else eye.forward(op, backend, arrays)
    backend = op.destination(backend)
    out = wrap(array, backend)
    if backend.is_view(array, arrays):  # it counts its in-place changes together with its base
        for value in inputs:
            if isinstance(value, Tensor) and backend.shares_memory(array, value._array):
                out._version = value._version
    if recorded and is_grad_enabled() and array.dtype.kind == "f":
        key = tuple(wanted)
        if key not in op.plans:
            op.check_kept()
        plan = op.plan(key)
        if plan.rules:
            _record(op, plan, inputs, arrays, out)
    if eye is not None:
        if eye.everything and out._node is None:
            _record(op, op.plan((False,) * len(inputs)), inputs, arrays, out)
        eye.made(out)
    return out


def _record(op: Op, plan: Plan, inputs: tuple[Any, ...], arrays: list[Any], out: Tensor) -> None:
    """Make the node of an op's output, with what the plan says to save."""
    requires_grad = bool(plan.rules)
    node = Node(
        op,
        tuple([(v._node or v.node) if isinstance(v, Tensor) else v for v in inputs]),
        out._array.shape,
        out._array.dtype,
        out._backend,
        requires_grad,
        plan,
    )
    saved: list[Any] = []
    guards = []  # in the order of the saved tensors
    late: list[Any] = []
    for name, where in zip(plan.names, plan.saves, strict=True):
        if where == "y":
            saved.append(out._array)
            guards.append((name, out._version, out._version[0]))
        elif isinstance(where, str):
            saved.append(getattr(op, where))
            late += _views(where, saved[-1], inputs)
        else:
            saved.append(tuple(arrays[where]) if isinstance(where, slice) else arrays[where])
            for value in inputs[where] if isinstance(where, slice) else (inputs[where],):
                if isinstance(value, Tensor):
                    guards.append((name, value._version, value._version[0]))
    for name in op.kept:  # what a rule wants is saved; the rest goes
        op.__dict__.pop(name, None)
    node.saved = tuple(saved)
    node.guards = (*guards, *late)
    out._node = node
    out._requires_grad = requires_grad


def _views(name: str, kept: Any, inputs: tuple[Any, ...]) -> list[tuple[str, list[int], int]]:
    """Guards for a by-product that lies in the memory of an input."""
    return [
        (name, value._version, value._version[0])
        for value in inputs
        if isinstance(value, Tensor)
        and hasattr(kept, "dtype")
        and value._backend.shares_memory(kept, value._array)
    ]


_PLAIN = {int, float, bool, type(None)}
"""What an op may be given beside tensors: it has no dtype, and takes that of the tensors."""


def _adopt(op: Op, value: Any, inputs: tuple[Any, ...]) -> Any:
    """A list or an array as a tensor beside the other inputs; a NumPy scalar as a plain number."""
    if isinstance(value, Tensor) or (type(value) in _PLAIN and value is not None):
        return value
    if isinstance(value, host.generic):
        return value.item()
    like = next((other for other in inputs if isinstance(other, Tensor)), None)
    if not (isinstance(value, list | tuple) or hasattr(value, "dtype")):
        raise TypeError(
            f"{op.name} works on tensors, arrays, lists and numbers; got {type(value).__name__}."
        )
    return Tensor(value) if like is None else _operand(value, like)


def _device_error(op: Op, inputs: tuple[Any, ...]) -> ValueError:
    places = ", ".join(
        f"{op.inputs[min(i, len(op.inputs) - 1)]} {value.shape} on {value.device}"
        for i, value in enumerate(inputs)
        if isinstance(value, Tensor)
    )
    return ValueError(
        f"{op.name} got tensors on different devices: {places}. Move them to one device with "
        "x.to(device)."
    )


def function(op: type[Op], *names: str) -> Callable[..., Tensor]:
    """An op as a function of tensors: inputs by position or name, attributes by keyword.

    `names` are the names of the inputs for the caller, by default those in `forward`.

    >>> import tinygrad_cv as tg
    >>> class Shift(tg.Op):
    ...     by: float = 1.0
    ...
    ...     def forward(self, xp, x):
    ...         return x + self.by
    ...
    ...     def grad_x(self, F, g):
    ...         return g
    >>> shift = tg.function(Shift)
    >>> shift(tg.tensor([1.0]), by=2.0)
    tensor([3.])
    """
    most = len(op.inputs)
    least = most - op.optional - op.variadic
    names = names or op.inputs

    def call(*inputs: Any, **attributes: Any) -> Tensor:
        while attributes and len(inputs) < most and names[len(inputs)] in attributes:
            inputs += (attributes.pop(names[len(inputs)]),)
        given = len(inputs)
        if given != most:
            if given < least or (given > most and not op.variadic):
                raise TypeError(f"{op.name} takes the inputs ({', '.join(names)}); got {given}.")
            inputs += (None,) * (most - op.variadic - given)
        for name, value in attributes.items():
            if isinstance(value, Tensor):
                raise TypeError(
                    f"{op.name}: the attribute {name} is a Tensor of shape {value.shape}, and no "
                    "gradient flows through attributes. Make it an input of forward, or pass a "
                    "number: x.item()."
                )
            if isinstance(value, host.ndarray):  # the caller may change the array later
                home = next((v._backend for v in inputs if isinstance(v, Tensor)), None)
                attributes[name] = (home or backends.get(None)).array(value, None)
        return apply(op(**attributes), *inputs)

    call.__name__ = call.__qualname__ = op.name
    call.__doc__ = op.__doc__
    call.__module__ = op.__module__
    return call


Function = TypeVar("Function", bound=Callable[..., Any])


def computed_in(least: str) -> Callable[[Function], Function]:
    """A function made of several ops that computes in the float dtype `least` at least.

    By itself each op rounds its result, and a square or a power on the way may be beyond float16
    where the end is not. So tensors that are narrower than `least`, or than the widest of them, go
    in as that, and the result is rounded once, to the dtype that one op of the same inputs has.

    >>> import tinygrad_cv as tg
    >>> @computed_in("float32")
    ... def length(x):
    ...     return (x * x).sum().sqrt()
    >>> length(tg.tensor([300.0, 400.0], dtype=tg.float16))
    tensor(500., dtype=float16)
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def wrapped(*args: Any, **options: Any) -> Any:
            tensors = [x for x in (*args, *options.values()) if isinstance(x, Tensor)]
            dtype = promoted(tensors)
            if dtype is None:
                return function(*args, **options)
            wanted = least if dtype.itemsize < WIDTH[least] else dtype.name
            if not any(is_float(x) and x.dtype.itemsize < WIDTH[wanted] for x in tensors):
                return function(*args, **options)

            def wide(x: Any) -> Any:
                return F.widened(x, wanted) if isinstance(x, Tensor) else x

            def rounded(y: Any) -> Any:
                return F.cast(y, dtype=dtype) if isinstance(y, Tensor) and is_float(y) else y

            y = function(*map(wide, args), **{name: wide(x) for name, x in options.items()})
            return tuple(map(rounded, y)) if isinstance(y, tuple) else rounded(y)

        return cast(Function, wrapped)

    return decorate


class Recorded(Reading):
    """Rules on Tensors: the backward pass becomes an ordinary graph."""

    bind = staticmethod(function)

    def memory(self, value: Any) -> Any:
        return value._array

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Callable[..., Tensor]: ...

    def values(self, node: Node) -> tuple[Any, ...]:
        assert node.saved is not None
        assert node.plan is not None
        counters = (counter for _, counter, _ in node.guards)

        def at(value: Any, place: Any) -> Any:
            """The tensor that stands at a node, rebuilt around its saved value."""
            if not isinstance(place, Node):
                return value
            tensor = wrap(value, place.backend)
            tensor._version = next(counters)  # a later change of the original counts here too
            tensor._node = place
            tensor._requires_grad = place.requires_grad
            return tensor

        values: list[Any] = []
        for value, where in zip(node.saved, node.plan.saves, strict=True):
            if where == "y":
                values.append(at(value, node))
            elif isinstance(where, slice):
                values.append(tuple(map(at, value, node.inputs[where])))
            elif isinstance(where, int):
                values.append(at(value, node.inputs[where]))
            else:
                values.append(wrap(value, node.backend))
        return tuple(values)


F = Recorded()
"""Every registered op as a function of tensors, by its name in the registry."""


def _seed(output: Tensor, gradient: Any) -> Tensor:
    """dL/d(output), checked."""
    if not output._requires_grad:
        raise RuntimeError(
            f"backward from a tensor of shape {output.shape} that does not require a gradient: "
            "nothing it was computed from has requires_grad=True, or it was made under no_grad() "
            "or detached."
        )
    if gradient is None:
        if output.numel() != 1:
            raise RuntimeError(
                f"backward from a tensor of shape {output.shape}: only a scalar has an obvious "
                "starting gradient. Reduce it first (loss.sum() or loss.mean()), or pass "
                f"gradient=, a tensor of shape {output.shape}."
            )
        return wrap(output._backend.ones(output.shape, output.dtype), output._backend)
    gradient = _operand(gradient, output)
    if gradient.shape != output.shape:
        raise ValueError(
            f"the gradient of shape {gradient.shape} does not match the output of shape "
            f"{output.shape}; they must be equal."
        )
    if gradient._backend is not output._backend:
        raise ValueError(
            f"the gradient is on {gradient.device} and the output on {output.device}; "
            "move it with gradient.to(output.device)."
        )
    return gradient if gradient.dtype == output.dtype else F.cast(gradient, dtype=output.dtype)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    create_graph: bool = False,
    allow_unused: bool = False,
    retain_graph: bool | None = None,
) -> tuple[Tensor | None, ...]:
    """The gradients of `outputs` with respect to `inputs`, without touching any `.grad`.

    Returns one gradient per input: sum over outputs of grad_output · d(output)/d(input). With
    `create_graph` they can be differentiated again. An input that the outputs do not depend on is
    an error, or None with `allow_unused`. The graph is kept if `retain_graph`, which is by
    default the value of `create_graph`.

    >>> import tinygrad_cv as tg
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> (first,) = tg.grad(x**3, x, create_graph=True)
    >>> (second,) = tg.grad(first, x)
    >>> first.item(), second.item()
    (12.0, 12.0)
    """
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if grad_outputs is None or isinstance(grad_outputs, Tensor):
        grad_outputs = [grad_outputs] * (len(outputs) if grad_outputs is None else 1)
    if len(grad_outputs) != len(outputs):
        raise ValueError(
            f"grad_outputs must hold one gradient (or None) for each of the {len(outputs)} "
            f"outputs; got {len(grad_outputs)}."
        )
    for value in inputs:
        if not value.requires_grad:
            raise RuntimeError(
                f"a gradient was asked with respect to a tensor of shape {value.shape} that does "
                "not require one; create it with requires_grad=True."
            )
    reading: Reading = F if create_graph else outputs[0]._backend.raw
    seeds: dict[Node, Any] = {}
    for output, gradient in zip(outputs, grad_outputs, strict=True):
        seed: Any = _seed(output, gradient)
        seed = seed if create_graph else seed._array
        with output._backend.active:
            seeds[output.node] = seeds[output.node] + seed if output.node in seeds else seed
    found: dict[Node, Tensor] = {}
    given = _Given(*[t for t in grad_outputs if isinstance(t, Tensor)])
    wanted = {value.node for value in inputs}
    keep = create_graph if retain_graph is None else retain_graph
    for node, g in backpropagate(seeds, reading, towards=wanted, keep=keep):
        if node in wanted:
            found[node] = given.own(g, node)
    missing = [i for i, value in enumerate(inputs) if value.node not in found]
    if missing and not allow_unused:
        raise RuntimeError(
            f"the outputs do not depend on input {missing[0]} (shape "
            f"{inputs[missing[0]].shape}). Pass allow_unused=True to get None for it."
        )
    return tuple(found.get(value.node) for value in inputs)


def graph(*tensors: Tensor | Iterable[Tensor]) -> Graph:
    """The expression graph of one or more tensors; `print` lists it, one line a node.

    >>> import tinygrad_cv as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> print(tg.graph((x * x).sum()))
    %0  parameter            float32 (2,)
    %1  mul        (%0, %0)  float32 (2,)
    %2  sum        (%1)      float32 ()
    """
    flat = [t for group in tensors for t in ([group] if isinstance(group, Tensor) else group)]
    return Graph([tensor.node for tensor in flat])
