"""`apply` runs an op on tensors and records it; `F` is every op as a function of tensors."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tinygrad_cv import backend as backends
from tinygrad_cv._grad_mode import is_grad_enabled
from tinygrad_cv._graph import Node, observer
from tinygrad_cv._inplace import follow
from tinygrad_cv._op import WIDTH, Op, Plan, is_float, promoted
from tinygrad_cv._reading import Reading
from tinygrad_cv._tensor import Tensor, operand, wrap
from tinygrad_cv.backend import host
from tinygrad_cv.backend.base import Backend


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
    if backend.is_view(array, arrays):
        follow(op, inputs, out)
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
    return Tensor(value) if like is None else operand(value, like)


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
