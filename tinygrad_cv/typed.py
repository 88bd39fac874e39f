"""PyTorch's constructors of one dtype, and the dtype that is taken where none is given."""

from typing import Any

from tinygrad_cv import backend as backends
from tinygrad_cv._public import TOP, public
from tinygrad_cv._tensor import Tensor, dtype_named, sizes_given
from tinygrad_cv.backend.base import DEFAULT
from tinygrad_cv.creation import empty, tensor


class OfDtype(type):
    """A constructor: called it gives a tensor, and such tensors are its instances."""

    dtype: str
    kind: str | None = None
    """The kind of device; None for the default one, or for any."""

    def __call__(cls, *data: Any, device: Any = None) -> Tensor:
        place = cls.kind if device is None else device
        sizes = sizes_given(data)
        if sizes is None:
            return tensor(data[0], dtype=cls.dtype, device=place)
        return empty(sizes, dtype=cls.dtype, device=place)

    def __instancecheck__(cls, value: object) -> bool:
        return (
            isinstance(value, Tensor)
            and value.dtype == cls.dtype
            and cls.kind in (None, value.device.type)
        )


@public(TOP)
class FloatTensor(metaclass=OfDtype):
    """A float32 tensor of some data, or of some size with any values.

    >>> FloatTensor([1, 2]), FloatTensor(2, 3).shape, isinstance(FloatTensor(2), FloatTensor)
    (tensor([1., 2.]), (2, 3), True)
    """

    dtype = "float32"


@public(TOP)
class DoubleTensor(metaclass=OfDtype):
    """A float64 tensor; see `FloatTensor`."""

    dtype = "float64"


@public(TOP)
class HalfTensor(metaclass=OfDtype):
    """A float16 tensor; see `FloatTensor`."""

    dtype = "float16"


@public(TOP)
class LongTensor(metaclass=OfDtype):
    """An int64 tensor; see `FloatTensor`."""

    dtype = "int64"


@public(TOP)
class IntTensor(metaclass=OfDtype):
    """An int32 tensor; see `FloatTensor`."""

    dtype = "int32"


@public(TOP)
class ShortTensor(metaclass=OfDtype):
    """An int16 tensor; see `FloatTensor`."""

    dtype = "int16"


@public(TOP)
class CharTensor(metaclass=OfDtype):
    """An int8 tensor; see `FloatTensor`."""

    dtype = "int8"


@public(TOP)
class ByteTensor(metaclass=OfDtype):
    """A uint8 tensor; see `FloatTensor`."""

    dtype = "uint8"


@public(TOP)
class BoolTensor(metaclass=OfDtype):
    """A tensor of truth values; see `FloatTensor`."""

    dtype = "bool"


FLOATS = (FloatTensor, DoubleTensor, HalfTensor)
INTEGERS = (LongTensor, IntTensor, ShortTensor, CharTensor, ByteTensor)
TYPES = {kind.__name__: kind for kind in (*FLOATS, *INTEGERS, BoolTensor)}


# ----- the dtype that is taken where none is given ------------------------------------------------


@public(TOP)
def get_default_dtype() -> Any:
    """The dtype of floats that say none: of lists, of `zeros`, of what integers divide to.

    >>> get_default_dtype()
    dtype('float32')
    """
    return DEFAULT.float


@public(TOP)
def set_default_dtype(d: Any) -> None:
    """Let floats that say no dtype be of this one; it must be one of floats.

    >>> import tinygrad_cv as tg
    >>> set_default_dtype(tg.float64)
    >>> tg.zeros(2).dtype
    dtype('float64')
    >>> set_default_dtype(tg.float32)
    """
    dtype = dtype_named(d)
    if dtype.kind != "f":
        raise TypeError(f"set_default_dtype: the default is a dtype of floats; got {dtype}.")
    DEFAULT.float = dtype


@public(TOP)
def set_default_tensor_type(t: Any) -> None:
    """`set_default_dtype`, and the device, by a constructor or its name, "torch.FloatTensor".

    >>> import tinygrad_cv as tg
    >>> set_default_tensor_type("torch.DoubleTensor")
    >>> tg.ones(1)
    tensor([1.], dtype=float64)
    >>> set_default_tensor_type(tg.FloatTensor)
    """
    path = t.split(".") if isinstance(t, str) else []
    kind = TYPES.get(path[-1]) if path else t
    if not isinstance(kind, OfDtype):
        raise TypeError(
            f"set_default_tensor_type: expected a name such as 'torch.FloatTensor'; got {t!r}."
        )
    set_default_dtype(kind.dtype)
    backends.set_default_device("cuda" if "cuda" in path else kind.kind or "cpu")
