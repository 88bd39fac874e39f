"""What NumPy's functions do with tensors: `np.sin(x)` is `tg.sin(x)`, recorded as ever.

A function that means the same here is ours, whose result is a tensor. Any other gets arrays, as
`np.asarray` would give it; of a tensor that requires a gradient, or lies on a GPU, there are none
without a word, and the error says so.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from tinygrad_cv import ops
from tinygrad_cv._grad_mode import is_grad_enabled
from tinygrad_cv._public import PUBLIC, TOP
from tinygrad_cv._tensor import Tensor, adopt, as_input, as_number
from tinygrad_cv.backend import host

ELEMENTWISE = {
    "equal": "eq",  # here, `equal` is one answer for all
    "rint": "round",
    "fabs": "abs",
    "power": "pow",
    "invert": "bitwise_not",
    "left_shift": "bitwise_left_shift",
    "right_shift": "bitwise_right_shift",
    "degrees": "rad2deg",
    "radians": "deg2rad",
    "expit": "sigmoid",
    "gammaln": "lgamma",
    "psi": "digamma",
}
"""NumPy's and SciPy's names for elementwise functions that have another one here."""

INSTEAD = {
    "reduce": {
        "add": "sum",
        "multiply": "prod",
        "maximum": "amax",
        "minimum": "amin",
        "logical_and": "all",
        "logical_or": "any",
    },
    "accumulate": {
        "add": "cumsum",
        "multiply": "cumprod",
        "maximum": "cummax",
        "minimum": "cummin",
    },
    "at": {"add": "index_add"},
}
"""For the methods of NumPy's elementwise functions, the functions to use."""

Function = Callable[..., Any]


def _same(names: str) -> dict[str, Function]:
    return {name: PUBLIC[TOP][name] for name in names.split()}


def _along(function: Function, a: Tensor, axis: int | None, options: dict[str, Any]) -> Tensor:
    """Without an axis NumPy takes the elements in row-major order."""
    result: Tensor = function(a.reshape(-1) if axis is None else a, axis or 0, **options)
    return result


def _joined(arrays: Any, axis: int | None) -> Tensor:
    if axis is None:
        like = next(_tensors(arrays))
        return ops.shape.cat([as_input(a, like).reshape(-1) for a in arrays])
    return ops.shape.cat(arrays, axis)


FUNCTIONS: dict[str, Function] = {
    **_same("sum prod mean all any argmax argmin amax amin"),
    "cumsum": lambda a, axis=None, **options: _along(ops.reduce.cumsum, a, axis, options),
    "cumprod": lambda a, axis=None, **options: _along(ops.reduce.cumprod, a, axis, options),
    "max": ops.reduce.amax,
    "min": ops.reduce.amin,
    "concatenate": lambda arrays, axis=0: _joined(arrays, axis),
    **_same("stack vstack hstack dstack column_stack broadcast_to tile"),
    **_same("reshape ravel swapaxes moveaxis fliplr flipud atleast_1d atleast_2d"),
    "squeeze": lambda a, axis=None: ops.shape.squeeze(a, axis),
    "expand_dims": lambda a, axis: ops.shape.unsqueeze(a, axis),
    "roll": lambda a, shift, axis=None: ops.shape.roll(a, shift, axis),
    "transpose": lambda a, axes=None: ops.shape.permute(a, axes or tuple(range(a.ndim))[::-1]),
    **_same("where isclose allclose"),
    "clip": lambda a, a_min=None, a_max=None, min=None, max=None: ops.elementwise.clamp(
        a, min if a_min is None else a_min, max if a_max is None else a_max
    ),
    "round": lambda a, decimals=0: ops.elementwise.round(a, decimals=decimals),
    **_same("einsum outer inner trace"),
    "tensordot": lambda a, b, axes=2: ops.linalg.tensordot(a, b, axes),
    "tril": lambda m, k=0: ops.index.tril(m, k),
    "triu": lambda m, k=0: ops.index.triu(m, k),
    "diag": lambda v, k=0: ops.index.diag(v, k),
    **_same("zeros_like ones_like full_like empty_like"),
    "shape": lambda a: a.shape,
    "ndim": lambda a: a.ndim,
    "size": lambda a, axis=None: a.numel() if axis is None else a.size(axis),
}
"""The functions of NumPy that mean the same here, arguments included."""


@adopt
class Numpy(Tensor):
    """NumPy's two protocols for arrays that are not its own."""

    __slots__ = ()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        name = ELEMENTWISE.get(ufunc.__name__, ufunc.__name__)
        function = getattr(Tensor, name, None)
        if method != "__call__":
            name = INSTEAD.get(method, {}).get(ufunc.__name__, "")
            raise TypeError(
                f"np.{ufunc.__name__}.{method} takes no tensors; "
                + (f"use tinygrad_cv.{name}." if name else _arrays())
            )
        if function is None or ufunc.nout != 1:
            raise TypeError(f"there is no {name} of tensors; {_arrays()}")
        (out,) = options.pop("out", (None,))
        if options:
            raise TypeError(
                f"np.{ufunc.__name__} of tensors is tinygrad_cv.{name}, and takes no "
                f"{', '.join(options)} of NumPy."
            )
        result = function(*map(as_number, inputs))
        if out is None:
            return result
        if isinstance(out, Tensor):
            if not host.can_cast(result.dtype, out.dtype, "same_kind"):
                raise TypeError(
                    f"np.{ufunc.__name__}: the result of dtype {result.dtype} would be cut to "
                    f"{out.dtype} in out; give it a tensor of {result.dtype}."
                )
            return out.copy_(result)
        host.copyto(out, host.asarray(result), casting="same_kind")
        return out

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        name, ours = func.__name__, None
        if func.__module__ == "numpy":
            ours = FUNCTIONS.get(name)
        if ours is not None:
            signature = inspect.signature(ours)
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(
                    f"np.{name} of tensors takes ({', '.join(signature.parameters)}): {error}."
                ) from None
            return ours(*args, **kwargs)
        for tensor in _tensors((*args, *kwargs.values())):
            leaves_graph = tensor.requires_grad and is_grad_enabled()
            if leaves_graph or not tensor.is_cpu:
                here = f"use tinygrad_cv.{name}, or " if hasattr(Tensor, name) else ""
                raise TypeError(
                    f"{func.__module__}.{name} works on arrays, and would take a tensor of shape "
                    f"{tensor.shape} "
                    + ("out of its graph" if leaves_graph else f"from {tensor.device}")
                    + f" without a word; {here}{_arrays()}"
                )
        args, kwargs = _as_arrays(args), _as_arrays(kwargs)
        return func(*args, **kwargs)


def _arrays() -> str:
    return "give it arrays: x.detach().numpy()."


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _as_arrays(value: Any) -> Any:
    """The same arguments, with arrays in place of tensors."""
    if isinstance(value, Tensor):
        return host.asarray(value)
    if type(value) in (list, tuple):
        return type(value)(map(_as_arrays, value))
    if isinstance(value, dict):
        return {name: _as_arrays(part) for name, part in value.items()}
    return value
