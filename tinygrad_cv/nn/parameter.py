"""Parameter: a tensor that a module learns. Buffer: one that it only keeps."""

from typing import Any

from tinygrad_cv import backend as backends
from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor, dtype_named


@public(NN)
class Parameter(Tensor):
    """A tensor that a module learns: it requires a gradient, and modules list it.

    Of a tensor it shares the memory, as `detach()` does; arrays and lists are copied. It takes
    attributes that a program gives it, and a deep copy has none of them, and no gradient.

    >>> Parameter(Tensor([1.0]))
    Parameter containing:
    tensor([1.], requires_grad=True)
    """

    def __init__(self, data: Any = None, requires_grad: bool = True) -> None:
        _around(self, data)
        self.requires_grad = requires_grad

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        twin = super().__deepcopy__(memo)
        twin.grad = None
        return twin


@public(NN)
class Buffer(Tensor):
    """A tensor that a module keeps and does not learn: assigned, it is registered as a buffer.

    If it is not `persistent`, it is moved with the module but not in its `state_dict`.

    >>> from tinygrad_cv import nn
    >>> model = nn.Module()
    >>> model.mean = nn.Buffer(Tensor([1.0]))
    >>> list(model.state_dict())
    ['mean']
    """

    __slots__ = ("persistent",)

    def __init__(self, data: Any = None, *, persistent: bool = True) -> None:
        _around(self, data)
        self.persistent = persistent


def _around(tensor: Tensor, data: Any) -> None:
    """Make a tensor of the memory of another, or of a copy of what else there is."""
    if isinstance(data, Tensor):
        tensor._set(data._array, data._backend)
        tensor._counter = data._counter  # a change of the one is one of the other
    else:
        tensor._hold([] if data is None else data, None, None)


class _Uninitialized:
    """What a tensor is whose shape is not known yet: `materialize` gives it one."""

    __slots__ = ()

    @property
    def shape(self) -> Any:
        raise RuntimeError(
            f"an {type(self).__name__} has no shape yet; it gets one with the first input of its "
            "module, with the fit of preprocessing, or with materialize(shape)."
        )

    def numel(self) -> int:
        """A ValueError, as of PyTorch's methods on such a tensor (its `shape`: a RuntimeError)."""
        raise ValueError(
            f"an {type(self).__name__} has no number of elements yet; its module gets one with its "
            "first input. Run the module once before you count."
        )

    def _assign(self: Any, *args: Any, **options: Any) -> Tensor:
        self.shape  # noqa: B018  what was written here, such as first values, would be lost
        tensor: Tensor = super()._assign(*args, **options)  # type: ignore[misc]  # Tensor has it
        return tensor

    def _take_shape(
        self: Any, kind: type[Tensor], shape: Any, device: str | None, dtype: Any
    ) -> None:
        backend = self._backend if device is None else backends.get(device)
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        dtype = self.dtype if dtype is None else dtype_named(dtype)
        self._array, self._backend = backend.zeros(shape, dtype=dtype), backend
        self.__class__ = kind
        self._renew_node()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __deepcopy__(self: Any, memo: dict[int, Any]) -> Any:
        memo[id(self)] = twin = self.__copy__()
        return twin


@public(NN)
class UninitializedParameter(_Uninitialized, Parameter):
    """A parameter whose shape is not known yet, such as a weight of `nn.LazyLinear`.

    >>> weight = UninitializedParameter()
    >>> weight.materialize((2, 3))
    >>> type(weight).__name__, weight.shape
    ('Parameter', (2, 3))
    """

    __slots__ = ()

    def __init__(
        self, requires_grad: bool = True, device: str | None = None, dtype: Any = None
    ) -> None:
        Tensor.__init__(self, [], device=device, dtype=dtype)
        self.requires_grad = requires_grad

    def materialize(self, shape: Any, device: str | None = None, dtype: Any = None) -> None:
        """Become a Parameter of zeros of this shape."""
        self._take_shape(Parameter, shape, device, dtype)


@public(NN)
class UninitializedBuffer(_Uninitialized, Tensor):
    """A buffer whose shape is not known yet, such as the mean of `nn.LazyBatchNorm2d`.

    >>> mean = UninitializedBuffer()
    >>> mean.materialize(3)
    >>> mean
    tensor([0., 0., 0.])
    """

    __slots__ = ()

    def __init__(
        self,
        requires_grad: bool = False,
        device: str | None = None,
        dtype: Any = None,
        persistent: bool = True,
    ) -> None:
        Tensor.__init__(self, [], device=device, dtype=dtype)
        self.requires_grad = requires_grad

    def materialize(self, shape: Any, device: str | None = None, dtype: Any = None) -> None:
        """Become a Tensor of zeros of this shape."""
        self._take_shape(Tensor, shape, device, dtype)


def is_lazy(param: Any) -> bool:
    """Whether a tensor waits for its shape."""
    return isinstance(param, _Uninitialized)
