"""`apply` runs an op on tensors and records it; `F` is every op as a function of tensors."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tinygrad_cv import backend as backends
from tinygrad_cv._grad_mode import is_grad_enabled
from tinygrad_cv._graph import Guard, Node, failed, observer
from tinygrad_cv._inplace import follow
from tinygrad_cv._inputs import refuse_out
from tinygrad_cv._op import WIDTH, Op, Output, Plan, common, is_array, is_float, promoted
from tinygrad_cv._public import TOP, public
from tinygrad_cv._reading import Reading
from tinygrad_cv._tensor import StrangerError, Tensor, as_input, as_number, wrap
from tinygrad_cv.backend import host
from tinygrad_cv.backend.base import Backend, Bits


@public(TOP)
def apply(op: Op, *inputs: Any) -> Any:
    """Run `op` on tensors (plain numbers and None pass as they are) and record it if needed.

    Returns a tensor, or a tuple of them if the op has several outputs.
    """
    backend: Backend | None = None
    arrays = []
    wanted = []
    for value in inputs:
        if isinstance(value, Tensor):
            if value._backend is not backend:
                if backend is not None:
                    raise _device_error(op, inputs)
                backend = value._backend
            arrays.append(value._array)
            wanted.append(value._requires_grad)
        elif type(value) in _PLAIN and (value is not None or op.optional):
            arrays.append(value)
            wanted.append(False)
        else:
            return apply(op, *_adopted(op, inputs))
    if backend is None:
        if not inputs:
            raise TypeError(f"{op.name} takes at least one input; got none.")
        return apply(op, as_input(inputs[0]), *inputs[1:])
    eye = observer.get()
    before = backend.prepare()
    try:
        backend.enter()
        array = op.run(backend, *arrays) if eye is None else eye.forward(op, backend, arrays)
    except BaseException as error:
        failed(error, op, inputs)
        raise
    finally:
        backend.leave(before)
    if not op.usual:
        if op.outputs:
            return _several(op, inputs, arrays, tuple(wanted), array, backend)
        backend = op.destination(backend)
    out = wrap(array, backend)
    if backend.is_view(array, arrays):
        follow(op, inputs, out)
    if True in wanted and is_grad_enabled() and array.dtype.kind == "f":
        key = tuple(wanted)
        plan = op.plans.get(key) or _checked_plan(op, key, inputs)
        if plan.rules:
            _record(op, plan, inputs, arrays, out)
    if eye is not None:
        if eye.everything and out._node is None:
            _record(op, op.plan((False,) * len(inputs)), inputs, arrays, out)
        eye.made(out, inputs)
    return out


def _checked_plan(op: Op, key: tuple[bool, ...], inputs: tuple[Any, ...]) -> Plan:
    try:
        op.check_kept()
    except TypeError as error:
        failed(error, op, inputs)
        raise
    return op.plan(key)


def _several(
    op: Op,
    inputs: tuple[Any, ...],
    arrays: list[Any],
    wanted: tuple[bool, ...],
    ys: tuple[Any, ...],
    backend: Backend,
) -> tuple[Tensor, ...]:
    """The outputs of an op that has several, recorded if needed: one node, and one for each."""
    outs = tuple(wrap(y, backend) for y in ys)
    for i, out in enumerate(outs):
        if backend.is_view(out._array, (*arrays, *ys[:i])):
            follow(op, (*inputs, *outs[:i]), out)
    eye = observer.get()
    plan = _checked_plan(op, wanted, inputs) if any(wanted) and is_grad_enabled() else None
    if (plan is not None and plan.rules) or (eye is not None and eye.everything):
        plan = plan or op.plan((False,) * len(inputs))
        whole = wrap(ys[0], backend)
        _record(op, plan, inputs, arrays, whole, outs)
        for i, out in enumerate(outs):
            out._requires_grad = whole._requires_grad and out.is_floating_point()
            out._node = _output(whole.node, i)
            out._node.counter = out._counter
    if eye is not None:
        for out in outs:
            eye.made(out, inputs)
    return outs


def _output(node: Node, index: int) -> Node:
    """A node for one output of the op of `node`; the gradients of several such nodes add up."""
    assert node.op is not None
    shape, dtype = node.op.made[index]
    needs = node.requires_grad and dtype.kind == "f"
    output = Output(index=index, of=node.op.outputs[index])
    return Node(output, (node,), shape, dtype, node.backend, needs, output.plan((needs,)))


def _record(
    op: Op,
    plan: Plan,
    inputs: tuple[Any, ...],
    arrays: list[Any],
    out: Tensor,
    outs: tuple[Tensor, ...] = (),
) -> None:
    """Make the node of an op's output (of its `outs`), with what the plan says to save."""
    array = out._array
    parents = tuple([(v._node or v.node) if isinstance(v, Tensor) else v for v in inputs])
    out._requires_grad = bool(plan.rules)
    out._node = node = Node(
        op, parents, array.shape, array.dtype, out._backend, out._requires_grad, plan
    )
    node.counter = out._counter
    if plan.saves:
        saved: list[Any] = []
        guards: list[Guard] = []  # in the order of the saved tensors
        late: list[Guard] = []
        for name, where in zip(plan.names, plan.saves, strict=True):
            if type(where) is int:
                saved.append(arrays[where])
                value = inputs[where]
                if isinstance(value, Tensor):
                    guards.append((name, value._counter, value._counter[0]))
            elif where == "y":
                saved.append(array)
                guards.append((name, out._counter, out._counter[0]))
            elif where in op.outputs:
                y = outs[op.outputs.index(where)]
                saved.append(y._array)
                guards.append((name, y._counter, y._counter[0]))
            elif isinstance(where, str):
                saved.append(node.backend.packed(getattr(op, where)))
                late += _overlaps(where, saved[-1], (*inputs, *(outs or (out,))))
            else:
                saved.append(tuple(arrays[where]))
                for value in inputs[where]:
                    if isinstance(value, Tensor):
                        guards.append((name, value._counter, value._counter[0]))
        node.saved = tuple(saved)
        node.guards = (*guards, *late)
    for name in op.kept:  # what a rule wants is saved; the rest goes
        op.__dict__.pop(name, None)


def _overlaps(name: str, kept: Any, tensors: tuple[Any, ...]) -> list[Guard]:
    """Guards for a by-product that lies in the memory of an input or of the output."""
    guards = []
    for value in tensors:
        if isinstance(value, Tensor) and _lies_in(kept, value):
            guards.append((name, value._counter, value._counter[0]))
    return guards


def _lies_in(kept: Any, tensor: Tensor) -> bool:
    """Whether an array, or one of several, lies in the memory of a tensor."""
    if isinstance(kept, list | tuple):
        return any(_lies_in(part, tensor) for part in kept)
    return is_array(kept) and tensor._backend.shares_memory(kept, tensor._array)


_PLAIN = {int, float, bool, type(None)}
"""What an op may be given beside tensors: it has no dtype, and takes that of the tensors."""


def _adopted(op: Op, inputs: tuple[Any, ...]) -> list[Any]:
    """The inputs, with lists and arrays as tensors."""
    try:
        return [_adopt(op, value, inputs) for value in inputs]
    except Exception as error:
        failed(error, op, inputs)
        raise


def _adopt(op: Op, value: Any, inputs: tuple[Any, ...]) -> Any:
    """A list or an array as a tensor beside the other inputs; a NumPy scalar as a plain number."""
    if isinstance(value, Tensor) or (type(value) in _PLAIN and value is not None):
        return value
    like = next((other for other in inputs if isinstance(other, Tensor)), None)
    try:
        if isinstance(value, host.generic) and like is not None:
            number = as_number(value)
            return number if type(number) in _PLAIN else as_input(number, like)
        return as_input(value, like)
    except StrangerError:
        raise StrangerError(
            f"{op.name} works on tensors, arrays, lists and numbers; got {type(value).__name__}."
        ) from None


def _device_error(op: Op, inputs: tuple[Any, ...]) -> ValueError:
    places = ", ".join(
        f"{op.inputs[min(i, len(op.inputs) - 1)]} {value.shape} on {value.device}"
        for i, value in enumerate(inputs)
        if isinstance(value, Tensor)
    )
    error = ValueError(
        f"{op.name} got tensors on different devices: {places}. Move them to one device with "
        "x.to(device)."
    )
    failed(error, op, inputs)
    return error


_new = object.__new__


@public(TOP)
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
    plain = not op.required and op.__init__ is Op.__init__  # nothing is to be set on a new one

    def call(*inputs: Any, **attributes: Any) -> Any:
        if plain and not attributes and len(inputs) == most:
            return apply(_new(op), *inputs)
        if "out" in attributes:
            refuse_out(op.name, attributes, op.attributes)
        if attributes and len(inputs) < most:
            inputs = _with_named(op, names, inputs, attributes)
        given = len(inputs)
        if given != most:
            if given < least or (given > most and not op.variadic):
                raise TypeError(_taken(op, names, given, attributes))
            inputs += (None,) * (most - op.variadic - given)
        for name, value in attributes.items():
            if name in names:
                raise TypeError(f"{op.name} got its input {name} twice: by position and by name.")
            if isinstance(value, Tensor):
                raise TypeError(
                    f"{op.name}: the attribute {name} is a Tensor of shape {value.shape}, and no "
                    "gradient flows through attributes. Make it an input of forward, or pass a "
                    "number: x.item()."
                )
            if isinstance(value, host.ndarray):  # the caller may change the array later
                home = next((v._backend for v in inputs if isinstance(v, Tensor)), None)
                attributes[name] = (home or backends.get(None)).array(value, None)
                if (eye := observer.get()) is not None:
                    eye.copied(attributes[name], value)
        return apply(op(**attributes), *inputs)

    call.__name__ = call.__qualname__ = op.name
    call.__doc__ = op.__doc__
    call.__module__ = op.__module__
    call.__signature__ = _signature(op, names)  # type: ignore[attr-defined]
    call.takes_arrays = True  # type: ignore[attr-defined]
    return call


def _with_named(
    op: type[Op], names: tuple[str, ...], inputs: tuple[Any, ...], attributes: dict[str, Any]
) -> tuple[Any, ...]:
    """The inputs, with those that were given by name in place: of the optional ones, any."""
    given = len(inputs)
    rest = names[given:]
    last = max((i for i, name in enumerate(rest) if name in attributes), default=-1)
    least = len(names) - op.optional - op.variadic
    for name in rest[: last + 1]:
        if name not in attributes and len(inputs) < least:
            raise TypeError(_taken(op, names, given, attributes))
        inputs += (attributes.pop(name, None),)
    return inputs


def _signature(op: type[Op], names: tuple[str, ...]) -> inspect.Signature:
    """How the function of an op is called: what `help` shows, and type checkers are told."""
    annotations: dict[str, Any] = {}
    for base in reversed(op.__mro__):
        annotations |= inspect.get_annotations(base)
    parameters = []
    least = len(names) - op.optional - op.variadic
    for i, name in enumerate(names):
        rest = op.variadic and i == len(names) - 1
        kind = inspect.Parameter.VAR_POSITIONAL if rest else inspect.Parameter.POSITIONAL_OR_KEYWORD
        default = inspect.Parameter.empty if rest or i < least else None
        values = Tensor if len(names) == 1 else Any  # of several, some may be numbers
        parameters.append(inspect.Parameter(name, kind, default=default, annotation=values))
    for name, default in op.attributes.items():
        default = inspect.Parameter.empty if name in op.required else default
        parameters.append(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=default,
                annotation=annotations.get(name, Any),
            )
        )
    return inspect.Signature(parameters, return_annotation=Tensor)


def _taken(op: type[Op], names: tuple[str, ...], given: int, attributes: Iterable[str]) -> str:
    """What an op takes and what it got, where the two do not agree."""
    unknown = [name for name in attributes if name not in op.attributes]
    return f"{op.name} takes the inputs ({', '.join(names)}); got {given}" + (
        f", and the name {unknown[0]} for none of them." if unknown else "."
    )


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
            dtype = common(tensors)
            if dtype is not None and dtype.itemsize >= WIDTH[least]:
                return function(*args, **options)  # as nearly always
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
        if isinstance(value, tuple):
            return tuple(None if part is None else part._array for part in value)
        return value._array

    def zeros(self, backend: Backend, shape: tuple[int, ...], dtype: Any) -> Any:
        return wrap(backend.zeros(shape, dtype=dtype), backend)

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
            tensor._counter = next(counters)  # a later change of the original counts here too
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
            elif node.op is not None and where in node.op.outputs:
                values.append(at(value, _output(node, node.op.outputs.index(where))))
            else:
                value = value.truth() if type(value) is Bits else value
                values.append(wrap(value, node.backend))
        return tuple(values)


F = Recorded()
"""Every registered op as a function of tensors, by its name in the registry."""
