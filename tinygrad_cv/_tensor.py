"""Tensor: an array, and the node that made it. What needs ops is adopted (see `adopt`)."""

import math
from collections.abc import Callable
from copy import deepcopy
from numbers import Real
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeVar, cast, overload

from tinygrad_cv import backend as backends
from tinygrad_cv._grad_mode import is_grad_enabled, no_grad
from tinygrad_cv._graph import Node, numbers, observer
from tinygrad_cv._inplace import View, copied
from tinygrad_cv._public import TOP, public
from tinygrad_cv.backend import host
from tinygrad_cv.backend.base import DEFAULT, Backend
from tinygrad_cv.backend.devices import SINGLE
from tinygrad_cv.backend.devices import device as Device
from tinygrad_cv.backend.recording import recording
from tinygrad_cv.printing import text

if TYPE_CHECKING:
    from tinygrad_cv._stubs.methods import Attached
else:
    Attached = object  # methods of functions, and of the class bodies that are adopted


@public(TOP)
class Size(tuple[int, ...]):
    """The shape of a tensor: a tuple that counts the elements.

    >>> Size([2, 3]).numel(), Size([2, 3])[1:].numel()
    (6, 3)
    """

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements that a tensor of this shape has."""
        return math.prod(self)

    @overload
    def __getitem__(self, index: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> "Size": ...
    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        part: Any = tuple.__getitem__(self, index)
        return Size(part) if type(index) is slice else part

    def __add__(self, other: Any) -> Any:
        return Size(tuple.__add__(self, other))

    def __radd__(self, other: Any) -> Any:
        return Size((*other, *self)) if isinstance(other, tuple) else NotImplemented

    def __mul__(self, times: SupportsIndex) -> "Size":
        return Size(tuple.__mul__(self, times))

    __rmul__ = __mul__


@public(TOP)
class Tensor(Attached):
    """An n-dimensional array that remembers how it was computed.

    `data` may be a Python number or nested list (it becomes float32), a NumPy array (it keeps its
    dtype), or a Tensor; it is copied. Whole numbers by themselves, or a Size, are the lengths of a
    tensor of any values, as `Tensor(2, 3)`, and `Tensor()` is empty. With `requires_grad=True` the
    ops that use the tensor are recorded, and `backward()` on a result leaves the gradient in
    `.grad`.

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
        "_counter",
        "_grad",
        "_name",
        "_node",
        "_requires_grad",
        "_view",
    )
    _grad: "Tensor | None"
    _name: str | None
    _array: Any
    _backend: Backend
    _node: Node | None
    _requires_grad: bool
    _counter: list[int]
    _view: View | None

    def __init__(
        self,
        *data: Any,
        dtype: Any = None,
        device: str | int | None = None,
        requires_grad: bool = False,
    ) -> None:
        dtype = None if dtype is None else dtype_named(dtype)
        sizes = None if len(data) == 1 and dtype is not None else sizes_given(data)
        if sizes is None:
            self._hold(data[0], dtype, device)
        else:
            backend = backends.get(device)
            self._set(backend.empty(sizes, dtype=dtype or DEFAULT.float), backend)
        self.requires_grad = requires_grad

    def _hold(self, data: Any, dtype: Any, device: str | int | None) -> None:
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
                dtype = DEFAULT.float
            array = None if data is None else backend.array(data, dtype)
        if array is None or array.dtype.kind not in "biufc":
            raise TypeError(f"a tensor holds numbers; got {data!r}.")
        self._set(array, backend)

    def _set(self, array: Any, backend: Backend) -> None:
        self._array = array
        self._backend = backend
        self._node = None
        self._requires_grad = False
        self._counter = [0, 0, 0]
        self._view = None
        self._grad = None
        self._name = None

    # ----- what it is ------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        return Size(self._array.shape)

    @property
    def ndim(self) -> int:
        return cast(int, self._array.ndim)

    @property
    def dtype(self) -> Any:
        return self._array.dtype

    @property
    def device(self) -> Device:
        """The device, a string such as "cpu" or "cuda:0" with the parts `type` and `index`."""
        return self._backend.device

    @property
    def is_leaf(self) -> bool:
        """Whether the user made it: no op that is part of a backward pass did."""
        return not self._requires_grad or self.grad_fn is None

    def size(self, dim: int | None = None) -> Any:
        """The shape, or its length along `dim`."""
        return self.shape if dim is None else self._along(self._array.shape, dim)

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
        return self.device.type not in SINGLE

    @property
    def is_meta(self) -> bool:
        """Whether it has a shape and a dtype only, and no numbers."""
        return self.device == "meta"

    def get_device(self) -> int:
        """The number of the GPU; -1 where there is none."""
        return int(self.device.partition(":")[2] or -1)

    @property
    def grad_fn(self) -> Node | None:
        """The node of the op that made it; None for a leaf."""
        node = self._node if self._view is None else self.node
        return None if node is None or node.op is None else node

    @property
    def _version(self) -> int:
        """How often the memory was changed in place, as PyTorch's programs ask for it."""
        return self._counter[0]

    @property
    def output_nr(self) -> int:
        """Which of the outputs of its op it is."""
        node = self.grad_fn
        several = node is not None and node.op is not None and node.op.name == "output"
        return node.op.index if several else 0  # type: ignore[union-attr]

    def data_ptr(self) -> int:
        """The address of the first element in memory."""
        return int(self._backend.address(self._array))

    @property
    def is_sparse(self) -> bool:
        """False: there are dense tensors only."""
        return False

    is_quantized = is_mkldnn = is_mps = is_xpu = is_nested = is_sparse

    def is_complex(self) -> bool:
        """False: there are no complex tensors."""
        return False

    is_conj = is_neg = is_inference = is_distributed = is_complex

    def is_signed(self) -> bool:
        """Whether the dtype has negative numbers."""
        return self.dtype.kind in "if"

    def is_nonzero(self) -> bool:
        """Whether the one element is not 0."""
        return bool(self)

    def is_pinned(self, device: Any = None) -> bool:
        """False: no memory of the host is held for a GPU."""
        return False

    def pin_memory(self, device: Any = None) -> "Tensor":
        """The tensor itself: no memory of the host is held for a GPU."""
        return self

    def is_shared(self) -> bool:
        """False: no memory is shared with other processes."""
        return False

    def is_floating_point(self) -> bool:
        """Whether the dtype is a float (only such tensors have gradients)."""
        return cast(bool, self.dtype.kind == "f")

    @property
    def requires_grad(self) -> bool:
        """Whether ops on this tensor are recorded, so that a gradient can reach it."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not isinstance(value, bool | host.bool):
            raise TypeError(f"requires_grad is True or False; got {value!r}.")
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
                f"{self.node.label}. Use x.detach() to cut it off from its graph."
            )
        self._requires_grad = value
        self._renew_node()  # a leaf's node records whether it needs a gradient

    def requires_grad_(self, requires_grad: bool = True) -> "Tensor":
        """Set `requires_grad` and return the tensor."""
        self.requires_grad = requires_grad
        return self

    @property
    def grad(self) -> "Tensor | None":
        """The gradient that backward passes have added up here; None at first.

        It can be set to None, or to a tensor of the same shape, dtype and device.
        """
        return self._grad

    @grad.setter
    def grad(self, value: "Tensor | None") -> None:
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(f"a gradient is a tensor or None; got {type(value).__name__}.")
        if value is not None and (value.shape, value.dtype, value._backend) != (
            self.shape,
            self.dtype,
            self._backend,
        ):
            raise ValueError(
                f"a gradient of {value.dtype} {value.shape} on {value.device} was given to a "
                f"tensor of {self.dtype} {self.shape} on {self.device}; it has the same of each."
            )
        if (recorder := recording.get()) is not None:
            recorder.gradients.replace(self)
        self._grad = value

    @property
    def node(self) -> Node:
        """The node of the graph that this tensor stands for; a leaf's is made when first asked."""
        if self._node is not None:
            return self._node
        return Node.leaf(self) if self._view is None else self._view.node(self)

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
            self._node.title = value

    # ----- values ----------------------------------------------------------------------------

    def numpy(self, *, force: bool = False) -> Any:
        """The values as a NumPy array that cannot be written to (a graph may rely on them).

        Use `.numpy().copy()` for an array of your own, and assign into the tensor itself to
        change it: `x.data[...] = value`. From a GPU the values are copied. A tensor that requires
        a gradient gives them with `force`, as `x.detach().numpy()`, or where nothing is recorded.
        """
        if not force:
            self._leaves_graph("numpy()")
        return self._on_host()

    def _on_host(self) -> Any:
        if (eye := observer.get()) is not None:
            eye.leaving(self)
        return self._backend.to_host(self._array)

    def _leaves_graph(self, how: str) -> None:
        if self._requires_grad and is_grad_enabled():
            raise RuntimeError(
                f"{how} of a tensor that requires a gradient would leave the graph without a "
                "word; say so with x.detach().numpy()."
            )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        self._leaves_graph("an array")
        if self.device not in SINGLE:
            raise TypeError(
                f"NumPy was given a tensor of shape {self.shape} on {self.device}, and would copy "
                "it to the host without a word; say so with x.numpy()."
            )
        if copy is False and (dtype is not None and dtype != self.dtype):
            raise ValueError(f"no {dtype} view of a {self.dtype} tensor without a copy")
        values = self._on_host()
        return host.array(values, dtype=dtype) if copy else host.asarray(values, dtype=dtype)

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """NumPy's older protocol, which Pillow's `Image.fromarray` asks for.

        The values lie in a buffer that cannot be written to, and that lives as long as its reader.
        Where `__array__` refuses, there is no such attribute.
        """
        try:
            values: Any = host.asarray(self.__array__(), order="C")
        except (RuntimeError, TypeError) as error:
            raise AttributeError(str(error)) from None
        described: dict[str, Any] = values.__array_interface__
        return described | {"data": memoryview(values).toreadonly(), "strides": values.strides}

    def tobytes(self) -> bytes:
        """The bytes of the elements in row-major order."""
        return self.numpy().tobytes()  # type: ignore[no-any-return]

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: Any = None,
        dl_device: Any = None,
        copy: Any = None,
    ) -> Any:
        """The values for another library: `torch.from_dlpack(x)`, `np.from_dlpack(x)`.

        They are copied, so that nobody changes what a graph relies on. With `copy=False` the memory
        in the host is shared, marked as not to be written to; a GPU's cannot be marked so.
        """
        if self._requires_grad:
            raise BufferError(
                "DLPack of a tensor that requires a gradient would leave the graph without a word; "
                "say so with x.detach()."
            )
        if dl_device not in (None, self.__dlpack_device__()):
            raise BufferError(
                f"DLPack: a tensor on {self.device} was asked for on the device {dl_device}. Move "
                "it first: x.to(device)."
            )
        return self._backend.to_dlpack(self._array, copy is not False, stream, max_version)

    def __dlpack_device__(self) -> tuple[int, int]:
        """The kind of device and its number: (1, 0) for the host, (2, n) for a GPU."""
        return (1, 0) if self.is_cpu else (2, self.get_device())

    def item(self) -> Any:
        """The value of a one-element tensor as a Python number."""
        if self.numel() != 1:
            raise ValueError(f"item() needs one element; this tensor has shape {self.shape}.")
        return self._on_host().item()

    def tolist(self) -> Any:
        """The values as (nested) Python numbers."""
        return self._on_host().tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu" or self.numel() != 1:
            raise TypeError(
                f"an index of Python's is one integer; got a {self.dtype} tensor of shape "
                f"{self.shape}."
            )
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
        numbers = self._backend.has_numbers
        details = [text(self._backend.to_host(self._array)) if numbers else "..."]
        if self.device != "cpu":
            details.append(f"device='{self.device}'")
        if (self.numel() == 0 and self.ndim != 1) or not numbers:
            details.append(f"size={self.shape}")
        if str(self.dtype) not in ("float32", "int64", "bool"):
            details.append(f"dtype={self.dtype}")
        if self.grad_fn is not None:
            details.append(f"grad_fn=<{self.grad_fn.label}>")
        elif self._requires_grad:
            details.append("requires_grad=True")
        return f"tensor({', '.join(details)})"

    def __format__(self, spec: str) -> str:
        """f"{loss}" writes the number of a tensor without axes, f"{x:.3f}" that of one element."""
        if not spec and (self.ndim or not self._backend.has_numbers):
            return str(self)
        if self.numel() != 1:
            raise TypeError(
                f"the format {spec!r} is for one number; this tensor has shape {self.shape}. "
                "Format its elements, or set_printoptions(precision=3)."
            )
        return format(self.item(), spec)

    __hash__ = object.__hash__  # by identity

    def __copy__(self) -> "Tensor":
        copy = type(self).__new__(type(self))
        copy._set(self._array, self._backend)
        copy._counter, copy._requires_grad, copy.name = (
            self._counter,
            self._requires_grad,
            self.name,
        )
        # The node of a leaf stands for that one tensor; a result may stand at its node twice.
        copy._node = None if self.is_leaf else self._node
        if not (self.is_leaf and self._requires_grad):
            copied(self, copy)
        copy.grad = None if self.grad is None else self.grad.clone()
        return copy

    def __deepcopy__(self, memo: dict[int, Any]) -> "Tensor":
        if not self.is_leaf:
            raise RuntimeError("only leaves can be deep-copied; use x.detach().clone()")
        twin = type(self).__new__(type(self))
        twin._set(self._backend.array(self._array, None), self._backend)
        twin._requires_grad, twin.name = self._requires_grad, self.name
        memo[id(self)] = twin  # what is one tensor stays one
        if self._grad is not None:
            twin._grad = deepcopy(self._grad if self._grad.is_leaf else self._grad.detach(), memo)
        return twin

    def __reduce_ex__(self, protocol: Any) -> Any:
        """For pickle: the values, and what the user said of them; as in PyTorch no gradient.

        Tensors that share an array, such as `x` and `x.detach()`, share it again if they are
        pickled together.
        """
        if self._requires_grad and not self.is_leaf:
            raise RuntimeError(
                f"a tensor of shape {self.shape} that {self._node and self._node.label} made "
                "stands in a graph, which cannot be pickled; say so with x.detach()."
            )
        on_host = self.device in SINGLE
        values = self._array if on_host else self._backend.to_host(self._array)
        said = (self._requires_grad, self._name, self._counter)
        return _pickled, (type(self), values, self.device, *said), getattr(self, "__dict__", None)

    # ----- sharing and changing memory -------------------------------------------------------

    def detach(self) -> "Tensor":
        """The same memory outside the graph: no gradient flows through the result."""
        alias = wrap(self._array, self._backend)
        alias._counter = self._counter
        return alias

    def detach_(self) -> "Tensor":
        """Leave the graph: the tensor becomes a leaf that needs no gradient."""
        self._node, self._view, self._requires_grad = None, None, False
        return self

    @property
    def data(self) -> "Tensor":
        """The same memory outside the graph, to read or to change: `w.data -= lr * w.grad`.

        A change is counted: if a graph relies on the old value, its backward pass says so.
        """
        return self.detach()

    @data.setter
    def data(self, value: "Tensor") -> None:
        value = as_content(value, self)
        if value._array is self._array:
            return  # the end of an in-place operator on x.data
        if (recorder := recording.get()) is not None:
            recorder.meet(self)
        described = (self.shape, self.dtype, self._backend)
        same = (value.shape, value.dtype, value._backend) == described
        if not same and not self.is_leaf:
            raise ValueError(
                f"data of {value.dtype} {value.shape} on {value.device} given to a result of "
                f"{self.dtype} {self.shape} on {self.device}; of a result all three must stay."
            )
        if self._requires_grad and not value.is_floating_point():
            raise TypeError(
                f"data of {value.dtype} was given to a tensor that requires a gradient; only "
                "float tensors have gradients."
            )
        # The old array stays as it was, so a graph that saved it still has the right values.
        moment = self._counter[2] = next(numbers)  # what was computed before had other values
        self._array, self._counter, self._view = value._array, value._counter, None
        self._counter[1:] = moment, moment
        if not same:  # it is another leaf for graphs to come, and its gradient is of no use
            self._backend, self._grad = value._backend, None
            self._renew_node()

    def _turn_into(self, fn: Callable[["Tensor"], "Tensor"]) -> None:
        """This very tensor (a leaf), with its gradient, as what a function makes of its values."""
        with no_grad():
            moved = fn(self.detach())
        if moved._array is self._array:
            return
        # Graphs that were made with it keep the old array and the old node.
        self._array, self._backend, self._counter = moved._array, moved._backend, [0, 0, 0]
        self._view = None
        self._renew_node()
        if self._grad is not None:
            self._grad._turn_into(fn)

    def _changed(self, recorded: bool = False) -> None:
        """Count an in-place change of the array (shared with all views of it), and say when."""
        self._counter[0] += 1
        self._counter[1] = next(numbers)
        if not recorded:
            self._counter[2] = self._counter[1]


def wrap(array: Any, backend: Backend) -> Tensor:
    """A tensor around an array that nobody else will write to."""
    tensor = _new(Tensor)
    tensor._set(array, backend)
    return tensor


_new = object.__new__


def _pickled(
    kind: type[Tensor],
    values: Any,
    device: str,
    requires_grad: bool,
    name: str | None,
    version: list[int],
) -> Tensor:
    """The tensor of these values that was pickled on a device."""
    try:
        backend = backends.get(device)
    except (ImportError, RuntimeError, ValueError) as error:
        raise RuntimeError(
            f"a tensor of shape {values.shape} was pickled on {device}, which is not here "
            f"({error}); pickle x.cpu() instead."
        ) from error
    # What others may write to, or what may not be written to, is copied.
    own = backend.device == "cpu" and type(values) is host.ndarray and values.flags.writeable
    tensor = kind.__new__(kind)
    tensor._set(values if own else backend.array(values, None), backend)
    version[1:] = [0, 0]  # no node here is older
    tensor._requires_grad, tensor._name, tensor._counter = requires_grad, name, version
    return tensor


def sizes_given(data: tuple[Any, ...]) -> tuple[int, ...] | None:
    """The sizes that a constructor is called with, as Tensor(2, 3), Tensor(Size) or Tensor();
    None where it is data."""
    if len(data) == 1 and isinstance(data[0], Size):
        return data[0]
    if any(isinstance(n, bool) or not isinstance(n, int | host.integer) for n in data):
        if len(data) == 1:
            return None
        raise TypeError(
            "a new tensor is made of data, or of sizes as in Tensor(2, 3); dtype, device and "
            f"requires_grad are given by their names. Got {data}."
        )
    if min(data, default=0) < 0:
        raise ValueError(f"a size has no negative lengths; got {data}.")
    return tuple(map(int, data)) or (0,)


def dtype_named(dtype: Any) -> Any:
    """The dtype that somebody asks for, which is one of numbers; for None the default one."""
    if dtype is None:
        return DEFAULT.float
    try:
        found = host.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found.kind not in "biufc":
        raise TypeError(
            f"a dtype is one of numbers, such as 'float32' or tinygrad_cv.int64; got {dtype!r}."
        )
    return found


def where_to(target: tuple[Any, ...], device: Any = None, dtype: Any = None) -> tuple[Any, Any]:
    """The device and the dtype that the arguments of `to` name, in any order; None for none."""
    for value in target:
        if isinstance(value, Tensor):
            device, dtype = value.device, value.dtype
        elif type(value) in (Device, int) or (isinstance(value, str) and not hasattr(host, value)):
            device = value
        elif value is not None and not isinstance(value, bool):
            dtype = value
    return device, dtype


class StrangerError(TypeError):
    """Something that is no tensor, array, list or number was given where one of them is meant."""


def as_input(value: Any, like: Tensor | None = None) -> Tensor:
    """`value` as a tensor on the device of `like`; tensors pass as they are.

    Arrays keep their dtype. Numbers and lists become truth values, int64 or float32, as they are;
    beside a tensor `like` of their kind, integers or floats, they take its dtype.
    """
    if isinstance(value, Tensor):
        return value
    dtype = value.dtype if isinstance(value, host.generic) else None
    if not hasattr(value, "dtype"):
        if isinstance(value, Real):
            value = value if isinstance(value, int | float) else float(value)
        elif not isinstance(value, list | tuple):
            raise StrangerError(f"expected a tensor, an array, a list or a number; got {value!r}.")
        elif any(isinstance(part, Tensor) for part in value):
            for part in value:
                if isinstance(part, Tensor):
                    part._leaves_graph("a list")
            value = [part.tolist() if isinstance(part, Tensor) else part for part in value]
        kind = _kind_of(value)
        own = None if like is None else like.dtype
        if own is not None and own.kind in KINDS.get(kind, ""):
            dtype = own
        else:
            dtype = {"b": "bool", "i": "int64", "u": "int64"}.get(kind, DEFAULT.float)
    return Tensor(value, dtype=dtype, device=None if like is None else like.device)


def as_number(value: Any) -> Any:
    """A number of NumPy's as Python's."""
    if isinstance(value, host.floating):
        return float(value)
    return value.item() if isinstance(value, host.generic) else value


def _kind_of(value: Any) -> str:
    """The kind of the numbers in lists: "b", "i", "u", "f", or "O" if there are Python's own."""
    try:
        values = host.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"lists have equal lengths at each depth, and hold nothing but numbers ({error})."
        ) from None
    kind: str = values.dtype.kind
    if kind not in "biuf" and not (kind == "O" and all(isinstance(n, Real) for n in values.flat)):
        raise StrangerError(f"expected numbers in a list; got {value!r}.")
    return kind


KINDS = {"f": "f", "i": "iu", "u": "iu"}
"""The kinds of dtypes that a list with numbers of this kind may take."""


def as_content(value: Any, like: Tensor) -> Tensor:
    """`value` as a tensor to be written into `like`, whose dtype lists and numbers take."""
    made = as_input(value, like)
    if made.dtype.kind == "c" and like.dtype.kind != "c":
        raise TypeError(
            f"complex numbers of shape {made.shape} were given to a tensor of {like.dtype}, which "
            "would keep their real parts only."
        )
    if hasattr(value, "dtype") or not host.can_cast(made.dtype, like.dtype, "same_kind"):
        return made
    return Tensor(made, dtype=like.dtype)


Body = TypeVar("Body", bound=type[Tensor])


def adopt(body: Body) -> Body:
    """Give Tensor the methods of a class body: those that need ops, as ops need Tensor."""
    for name, value in vars(body).items():
        if callable(value) or isinstance(value, property):
            if hasattr(value, "__qualname__"):
                value.__qualname__ = f"Tensor.{name}"
            setattr(Tensor, name, value)
    return body
