"""`autocast`: a region that is said to compute in half precision, and computes as ever."""

import functools
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, TypeVar, cast

from tinygrad_cv._public import AMP, TOP, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv._trees import mapped
from tinygrad_cv.backend import host

Function = TypeVar("Function", bound=Callable[..., Any])

regions: ContextVar[Mapping[str, tuple[bool, Any]]] = ContextVar(
    "regions",
    default=MappingProxyType({}),
)
"""For each type of device, whether autocast is on in this thread or task, and its dtype."""


@public(AMP, TOP)
class autocast:  # noqa: N801  PyTorch's name
    """A context and decorator that changes nothing: float32 stays float32 inside of it.

    In PyTorch matrix products and convolutions of a GPU round their inputs to half precision in
    it. Here they take the dtype of their inputs, inside as outside; convert a model with
    `model.half()` to have it small. What is asked for is remembered: `is_autocast_enabled()` says
    so inside. `cache_enabled` has no effect.

    >>> import tinygrad_cv as tg
    >>> with autocast("cpu"):
    ...     print(tg.is_autocast_enabled("cpu"))
    True
    """

    def __init__(
        self,
        device_type: str,
        dtype: Any = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if not isinstance(device_type, str):
            raise TypeError(
                f"autocast takes the type of a device, such as 'cuda'; got {device_type!r}."
            )
        self.device = device_type.partition(":")[0]
        self.fast_dtype = host.dtype("float16") if dtype is None else dtype
        self.enabled = bool(enabled)
        self.before: list[Mapping[str, tuple[bool, Any]]] = []

    def __enter__(self) -> "autocast":
        before = regions.get()
        self.before.append(before)
        regions.set({**before, self.device: (self.enabled, self.fast_dtype)})
        return self

    def __exit__(self, *error: object) -> None:
        regions.set(self.before.pop())

    def __call__(self, func: Function) -> Function:
        """The function, called inside of it."""

        @functools.wraps(func)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self:
                return func(*args, **kwargs)

        return cast(Function, call)


@public(TOP)
def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether it is inside of an `autocast` for this type of device.

    >>> is_autocast_enabled()
    False
    """
    return regions.get().get(device_type, (False, None))[0]


@public(TOP)
def get_autocast_dtype(device_type: str) -> Any:
    """The dtype that the innermost `autocast` for this type of device asks for.

    >>> get_autocast_dtype("cuda")
    dtype('float16')
    """
    return regions.get().get(device_type, (False, host.dtype("float16")))[1]


@public(AMP)
def is_autocast_available(device_type: str) -> bool:
    """Whether there is an `autocast` for this type of device: for "cpu" and "cuda".

    >>> is_autocast_available("cuda")
    True
    """
    return device_type in ("cpu", "cuda")


@public(AMP)
def custom_fwd(
    fwd: Callable[..., Any] | None = None, *, device_type: str, cast_inputs: Any = None
) -> Callable[..., Any]:
    """A decorator for the `forward` of an `autograd.Function`, inside of autocast.

    With `cast_inputs`, a dtype, tensors of float16 and float32 are given to it in that.

    >>> import tinygrad_cv as tg
    >>> class Square(tg.autograd.Function):
    ...     @staticmethod
    ...     @custom_fwd(device_type="cuda", cast_inputs=tg.float32)
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x
    ...
    ...     @staticmethod
    ...     @custom_bwd(device_type="cuda")
    ...     def backward(ctx, g):
    ...         return 2 * g * ctx.saved_tensors[0]
    """
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)
    forward = fwd

    @functools.wraps(forward)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        if cast_inputs is None or not is_autocast_enabled(device_type):
            return forward(*args, **kwargs)

        def converted(x: Any) -> Any:
            narrow = isinstance(x, Tensor) and x.is_floating_point() and x.dtype != "float64"
            return x.to(dtype=cast_inputs) if narrow else x

        with autocast(device_type, enabled=False):
            return forward(*mapped(converted, args), **mapped(converted, kwargs))

    return decorated


@public(AMP)
def custom_bwd(bwd: Callable[..., Any] | None = None, *, device_type: str) -> Callable[..., Any]:
    """A decorator for the `backward` beside a `custom_fwd`; it changes nothing.

    >>> custom_bwd(lambda ctx, g: 2 * g, device_type="cuda")(None, 3.0)
    6.0
    """
    return functools.partial(custom_bwd, device_type=device_type) if bwd is None else bwd
