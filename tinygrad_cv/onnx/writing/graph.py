"""The graph that is written, its values, and how a handler is found.

A handler gets the `Writer`, the values that the op was given (None where one was left out, a plain
number where it was one) and the attributes by name, and returns the value of the result, or a tuple
of several. In an attribute, and in a shape, a length that is not fixed is a `Varying`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from tinygrad_cv._graph import Node, Scope
from tinygrad_cv._op import is_array
from tinygrad_cv._tensor import wrap
from tinygrad_cv.backend import host
from tinygrad_cv.onnx.protobuf import DTYPES, package
from tinygrad_cv.onnx.tracing import Call, Trace, Varying, shapes, together

Handler = TypeVar("Handler", bound=Callable[..., Any])

OPS: dict[str, Callable[..., Any]] = {}
"""The handlers of ops, by name."""

CALLS: dict[str, Callable[..., Any]] = {}
"""The handlers of functions that are several ops here and one operator there (see `in_one`)."""

REFUSED: dict[str, str] = {}
"""Ops that no operators of ONNX compute, and what to do instead."""

CODES = {dtype: code for code, dtype in DTYPES.items()}
"""The element types of the standard by dtype."""


def writes(*names: str, table: dict[str, Callable[..., Any]] = OPS) -> Callable[[Handler], Handler]:
    """Register the handler of the ops of these names."""

    def register(handler: Handler) -> Handler:
        table.update(dict.fromkeys(names, handler))
        return handler

    return register


def writes_call(*names: str) -> Callable[[Handler], Handler]:
    """Register the handler of calls of the functions of these names."""
    return writes(*names, table=CALLS)


def refuses(names: str, instead: str) -> None:
    """Say of ops (names with spaces between) that they cannot be exported, and what to do."""
    REFUSED.update(dict.fromkeys(names.split(), instead))


class DeclinedError(Exception):
    """A call cannot be written as one operator: its ops are to be written one by one."""


@dataclass(frozen=True)
class Value:
    """A value of the graph that is written: its name there, and what is known of it.

    The shape of a value between the operators of one op is None. `array` holds what is constant.
    """

    name: str
    dtype: str
    shape: Any = None
    array: Any = None

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)


class Writer:
    """Writes two traces of a model, compared, as the nodes and initializers of an ONNX graph."""

    def __init__(
        self,
        traces: tuple[Trace, Trace],
        opset: int,
        weights: dict[int, str],
        modules: dict[int, str],
        inputs: Sequence[tuple[str, tuple[Any, ...]]],
    ) -> None:
        self.first, self.second = traces
        self.opset, self.weights, self.modules = opset, weights, modules
        self.helper = package().helper
        # Each node (and call) of the first trace that is needed, and the same of the second.
        self.pairs: dict[Any, Any] = {}
        self.alive: dict[Node, bool] = {}
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        self.done: dict[Any, Any] = {}
        self.made: list[Value] = []
        self.names: set[str] = {*weights.values(), *(name for name, _ in inputs)}
        self.counts: Counter[str] = Counter()
        self.constants: dict[Any, Value] = {}
        self.lengths: dict[tuple[str, int], Value] = {}
        self.here: Any = None
        self.out = Value("", "float32", ())
        self.outs: tuple[Value, ...] = ()
        self.inputs: list[Value] = []
        for node, (name, shape) in zip(self.first.inputs, inputs, strict=True):
            self.inputs.append(Value(name, node.dtype.name, shape))
            self.done[node] = self.inputs[-1]
        self.made += self.inputs

    # ----- what is said where something cannot be written ----------------------------------------

    def place(self, node: Node | None) -> str:
        """The module that a node was made in, by its name in the model and its class."""
        scope: Scope | None = None if node is None else node.scope
        if scope is None:
            return ""
        inner = scope
        while scope is not None:
            name = self.modules.get(id(scope.module()))
            if name is not None:
                inside = "" if scope is inner else f" (in its {inner.type.__name__})"
                return f"{scope.type.__name__} {name!r}{inside}" if name else scope.type.__name__
            scope = scope.outer
        return inner.type.__name__

    def error(self, node: Node, why: str) -> NotImplementedError:
        """The error that names an op, where it is, and why it cannot be exported."""
        name = node.label if node.op is None else node.op.name
        place = self.place(node)
        return NotImplementedError(
            f"{name}{f' in {place}' if place else ''} cannot be exported to ONNX: {why}."
        )

    def refuse(self, why: str) -> NoReturn:
        """Raise for the op that is being written."""
        raise self.error(self.here, why)

    # ----- from the traces -----------------------------------------------------------------------

    def write(self, outputs: Iterable[Node]) -> list[Value]:
        """Write all that these nodes need."""
        declined: set[Call] = set()
        found = []
        outputs, others = list(outputs), self.second.outputs
        if len(outputs) != len(others):
            raise self.error(outputs[0], "how many outputs there are depends on the input")
        for root, other in zip(outputs, others, strict=True):
            self.pair(root, other)
            stack = [self.first.origin(root)]
            while stack:
                node = stack[-1]
                if node in self.done:
                    stack.pop()
                    continue
                call = self.call_of(node, declined)
                waiting = [n for n in self.needs(node, call) if n not in self.done]
                if waiting:
                    stack += waiting[::-1]
                    continue
                try:
                    self.emit(node, call)
                except DeclinedError:
                    assert call is not None
                    declined.add(call)
            found.append(self.done[self.first.origin(root)])
        return found

    def pair(self, one: Node, other: Node) -> None:
        """Note that a node of the second trace is what one of the first is there."""
        one, other = self.first.origin(one), self.second.origin(other)
        self.pairs.setdefault(one, other)

    def lives(self, node: Node) -> bool:
        """Whether a value is made as the model runs: it depends on the inputs or their lengths."""
        if node not in self.alive:
            other = self.pairs.get(node)
            alive = self.first.depends(node)
            if not alive and node.op is not None and other is not None and other.op is not None:
                one, two = self.first.values.get(node), self.second.values.get(other)
                if one is not None and two is not None:
                    one, two = (wrap(a, node.backend).numpy(force=True) for a in (one, two))
                    alive = not self.equal(one, two)
            self.alive[node] = alive
        return self.alive[node]

    def equal(self, one: Any, other: Any) -> bool:
        """Whether two arrays of the host hold the same."""
        return one.shape == other.shape and bool(
            host.array_equal(one, other, equal_nan=one.dtype.kind == "f")
        )

    def call_of(self, node: Node, declined: set[Call]) -> Call | None:
        """The outermost call of which a node is a result, and which is written as one."""
        if not self.lives(node):
            return None
        calls, others = (
            trace.calls.get(n, [])
            for trace, n in ((self.first, node), (self.second, self.pairs[node]))
        )
        if [call.name for call in calls] != [call.name for call in others]:
            return None
        for call, other in zip(reversed(calls), reversed(others), strict=True):
            if call.name in CALLS and call not in declined:
                if call not in self.pairs:
                    mine, theirs = list(call.nodes()), list(other.nodes())
                    if len(mine) != len(theirs):
                        continue
                    self.pairs[call] = other
                    for pair in zip((*mine, *call.results), (*theirs, *other.results), strict=True):
                        self.pair(*pair)
                return call
        return None

    def needs(self, node: Node, call: Call | None) -> list[Node]:
        """What has to be written before a node."""
        if call is not None:
            return [self.first.origin(n) for n in call.nodes()]
        other = self.pairs[node]
        depends = self.first.depends(node)
        if depends != self.second.depends(other):
            raise self.error(node, "whether it depends on the input of the model depends on that")
        if not self.lives(node):
            return []
        mine, theirs = self.first.sources(node), self.second.sources(other)
        if type(node.op) is not type(other.op) or len(mine) != len(theirs):
            raise self.error(node, "which ops the model computes depends on its input")
        for pair in zip(mine, theirs, strict=True):
            self.pair(*pair)
        return mine

    def emit(self, node: Node, call: Call | None) -> None:
        """Write a node, or the call that it is a result of."""
        self.here = node
        if not self.lives(node):
            self.done[node] = self.constant_of(node)
            return
        if call is not None:
            written = len(self.nodes)
            self.outs = tuple(self.described(result) for result in call.results)
            self.out = self.outs[0]
            try:
                arguments = self.given(call.arguments, self.pairs[call].arguments)
                results = CALLS[call.name](self, **arguments)
            except DeclinedError:
                del self.nodes[written:]
                raise
            results = results if isinstance(results, tuple) else (results,)
            for result, value in zip(call.results, results, strict=True):
                self.done[result] = self.finished(value, self.described(result))
            return
        op = node.op
        assert op is not None
        if op.name == "output":
            whole = self.done[self.first.origin(node.inputs[0])]
            self.done[node] = self.finished(whole[op.index], self.described(node))
            return
        handler = OPS.get(op.name)
        if handler is None or op.foreign:
            instead = REFUSED.get(op.name, "it has no operator there; write it with other ops")
            self.refuse(instead)
        self.out = self.described(node)
        self.outs = (
            tuple(
                Value("", dtype.name, shapes(shape, other))
                for (shape, dtype), (other, _) in zip(
                    op.made, self.pairs[node].op.made, strict=True
                )
            )
            if op.outputs
            else ()
        )
        other = self.pairs[node]
        inputs = [self.given(one, two) for one, two in zip(node.inputs, other.inputs, strict=True)]
        attributes = {
            name: self.given(getattr(op, name), getattr(other.op, name), name)
            for name in op.attributes
            if name not in op.hidden
        }
        result = handler(self, *inputs, **attributes)
        self.done[node] = result if op.outputs else self.finished(result, self.out)

    def described(self, node: Node) -> Value:
        """What is known of the value of a node."""
        other = self.pairs.get(node)
        shape = node.shape if other is None else shapes(node.shape, other.shape)
        return Value("", node.dtype.name, shape)

    def finished(self, value: Value, described: Value) -> Value:
        """The value of a result, in the dtype that it has here."""
        value = self.cast(value, described.dtype)
        value = Value(value.name, described.dtype, described.shape, value.array)
        self.made.append(value)
        return value

    def given(self, one: Any, other: Any, name: str = "") -> Any:
        """What a handler gets for an input or an attribute."""
        if isinstance(one, Node):
            return self.done[self.first.origin(one)]
        if isinstance(one, dict):
            return {key: self.given(value, other[key], key) for key, value in one.items()}
        if isinstance(one, tuple | list):
            if not isinstance(other, tuple | list) or len(one) != len(other):
                self.refuse(f"its {name or 'input'} depends on the input of the model")
            return tuple(self.given(a, b, name) for a, b in zip(one, other, strict=True))
        if is_array(one) and is_array(other) and not isinstance(one, type):
            home = self.first.home.get(id(one))
            if home is not None and self.lives(self.first.origin(home)):
                return self.done[self.first.origin(home)]
            return self.same_array(one, other)
        if hasattr(one, "attributes") and type(one) is type(other):  # an op among attributes
            return (
                one.name,
                {k: self.given(getattr(one, k), getattr(other, k), k) for k in one.attributes},
            )
        try:
            return together(one, other)
        except ValueError:
            self.refuse(
                f"its {name or 'number'} depends on the input of the model ({one!r} for one, "
                f"{other!r} for another)"
            )

    def same_array(self, one: Any, other: Any, hint: str = "") -> Value:
        """A constant of two traces."""
        one, other = self.on_host(one), self.on_host(other)
        if self.equal(one, other):
            return self.const(one, hint=hint)
        return self.spread(one, other)

    def on_host(self, array: Any) -> Any:
        """An array of any device as NumPy's."""
        return wrap(array, self.here.backend).numpy(force=True)

    def constant_of(self, node: Node) -> Value:
        """A value that depends on no input: a weight by its name, or a constant."""
        array, other = (
            self.first.values.get(node),
            self.second.values.get(self.pairs.get(node, node)),
        )
        if array is None:  # a view of what was changed in place
            self.refuse("it is a view of a constant that is changed in place; make a new tensor")
        name = self.weights.get(id(array))
        if name is not None:
            value = Value(name, node.dtype.name, tuple(node.shape), self.on_host(array))
            self.initializers.setdefault(name, value.array)
            return value
        weights = {
            name
            for source in self.first.sources(node)
            if (name := self.weights.get(id(self.first.values.get(source)))) is not None
        }
        hint = f"{min(weights)}.{node.label}" if weights else ""
        if other is None:
            return self.const(self.on_host(array), hint=hint)
        return self.same_array(array, other, hint)

    def spread(self, one: Any, other: Any) -> Value:
        """A constant that is longer in the other trace: of equal parts, counted on, or a matrix
        that is 1 on the diagonal, and perhaps below it."""
        if one.ndim == other.ndim and one.dtype == other.dtype:
            shape = shapes(one.shape, other.shape)
            varying = [i for i in range(one.ndim) if one.shape[i] != other.shape[i]]
            part = one[tuple(slice(0, 1) if i in varying else slice(None) for i in range(one.ndim))]
            if varying and all(
                host.array_equal(a, host.broadcast_to(part, a.shape), equal_nan=a.dtype.kind == "f")
                for a in (one, other)
                if host.broadcast_shapes(a.shape, part.shape) == a.shape
            ):
                made = self.node("Expand", self.const(part), self.shape(shape))
                return Value(made.name, made.dtype, shape)
            if (
                len(varying) == 1
                and one.dtype.kind in "iuf"
                and one.shape[varying[0]] > 1
                and one.size
            ):
                (axis,) = varying
                along = [-1 if i == axis else 1 for i in range(one.ndim)]
                step = (host.diff(one, axis=axis).ravel()[0]).item()
                if all(
                    host.array_equal(a, part + step * host.arange(a.shape[axis]).reshape(along))
                    for a in (one, other)
                ):
                    counted = self.counted(shape[axis])
                    counted = self.node(
                        "Reshape", self.cast(counted, one.dtype.name), self.ints(along)
                    )
                    steps = self.node("Mul", counted, self.const(step, one.dtype))
                    made = self.node("Add", self.const(part), steps)
                    return Value(made.name, made.dtype, shape)
            for law, holds in ((host.tri, "GreaterOrEqual"), (host.eye, "Equal")):
                if one.ndim == 2 and all(
                    host.array_equal(a, law(*a.shape, dtype=a.dtype)) for a in (one, other)
                ):
                    row, column = map(self.counted, shape)
                    row = self.node("Reshape", row, self.ints([-1, 1]))
                    made = self.node(holds, row, column, dtype="bool")
                    return Value(self.cast(made, one.dtype.name).name, one.dtype.name, shape)
        self.refuse(
            "it is a constant in the graph, and another one for another input: a value was taken "
            "out of a tensor (.item(), .numpy(), an if), or it depends on a length that is to be "
            "free; compute it with ops, or fix the axis with dynamic_axes"
        )

    # ----- what handlers write with --------------------------------------------------------------

    def name(self, like: str) -> str:
        """A new name."""
        while True:
            self.counts[like] += 1
            name = like if self.counts[like] == 1 else f"{like}_{self.counts[like] - 1}"
            if name not in self.names:
                self.names.add(name)
                return name

    def path(self) -> str:
        """The names of the modules that what is written belongs to, as in a path."""
        scope = getattr(self.here, "scope", None)
        while scope is not None:
            if name := self.modules.get(id(scope.module())):
                return f"{name}."
            scope = scope.outer
        return ""

    def node(
        self, operator: str, *inputs: Value | None, dtype: str = "", **attributes: Any
    ) -> Value:
        """Write a node. Its result has the dtype of the first input, unless another is said."""
        return self.several(operator, *inputs, outputs=1, dtype=dtype, **attributes)[0]

    def several(
        self,
        operator: str,
        *inputs: Value | None,
        outputs: int,
        dtype: str = "",
        **attributes: Any,
    ) -> tuple[Value, ...]:
        """Write a node with several results."""
        self.check(operator)
        name = self.name(f"{self.path()}{operator}")
        names = [f"{name}.{i}" if outputs > 1 else name for i in range(outputs)]
        given = ["" if value is None else value.name for value in inputs]
        while given and not given[-1]:
            given.pop()
        attributes = {k: v for k, v in attributes.items() if v is not None}
        self.nodes.append(self.helper.make_node(operator, given, names, name=name, **attributes))
        dtype = dtype or next(value.dtype for value in inputs if value is not None)
        return tuple(Value(each, dtype) for each in names)

    def check(self, operator: str) -> None:
        """Raise unless the version of the standard that is written has an operator."""
        defs = package().defs
        since = defs.get_schema(operator).since_version
        try:
            since = defs.get_schema(operator, self.opset).since_version
        except defs.SchemaError:
            self.refuse(f"{operator} came with opset {since}; raise opset_version to that at least")

    def const(self, value: Any, dtype: Any = None, hint: str = "") -> Value:
        """A constant; whole numbers by themselves are int64."""
        array = host.asarray(value)
        if dtype is not None and array.dtype != dtype:
            array = array.astype(dtype)  # of -1 as uint8 comes 255
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.constants:
            if array.dtype.name not in CODES:
                self.refuse(f"ONNX has no tensors of {array.dtype}")
            name = self.name(hint or f"constant_{len(self.constants)}")
            self.initializers[name] = array
            self.constants[key] = Value(name, array.dtype.name, array.shape, array)
        return self.constants[key]

    def ints(self, values: Iterable[int]) -> Value:
        """A constant vector of whole numbers, such as axes."""
        return self.const(host.asarray(list(values), dtype="int64"))

    def cast(self, value: Any, dtype: str) -> Value:
        """A value, or a plain number, in a dtype."""
        if not isinstance(value, Value):
            if isinstance(value, Varying):
                return self.cast(self.number(value), dtype)
            return self.const(value, dtype)
        if value.dtype == dtype:
            return value
        if dtype not in CODES or value.dtype not in CODES:
            self.refuse(f"ONNX has no tensors of {dtype if dtype not in CODES else value.dtype}")
        if value.array is not None and value.array.size <= 1:
            with host.errstate(all="ignore"):
                return self.const(value.array, dtype)
        cast = self.node("Cast", value, dtype=dtype, to=CODES[dtype])
        return Value(cast.name, dtype, value.shape)

    def alike(self, *values: Any) -> list[Value]:
        """Values and plain numbers in the dtype of the result."""
        return [self.cast(value, self.out.dtype) for value in values]

    def length(self, value: Value, axis: int) -> Value:
        """The length of an axis when the model runs, as a vector of one number."""
        key = (value.name, axis)
        if key not in self.lengths:
            self.lengths[key] = self.node("Shape", value, dtype="int64", start=axis, end=axis + 1)
        return self.lengths[key]

    def vector(self, n: Any) -> Value:
        """A number that may vary, as a vector of one."""
        if not isinstance(n, Varying):
            return self.ints([n])
        known = [*self.inputs, *reversed(self.made)]
        axes = [
            (v, i, d) for v in known for i, d in enumerate(v.shape or ()) if isinstance(d, Varying)
        ]
        for value, axis, d in axes:
            if d == n:
                return self.length(value, axis)
        for value, axis, d in axes:
            if n.first * d.second == n.second * d.first:  # the same multiple of both
                if n.first % d.first == 0:
                    return self.node(
                        "Mul", self.length(value, axis), self.ints([n.first // d.first])
                    )
                if d.first % n.first == 0:
                    return self.node(
                        "Div", self.length(value, axis), self.ints([d.first // n.first])
                    )
        for value, axis, d in axes:
            if n.first - d.first == n.second - d.second:
                return self.node("Add", self.length(value, axis), self.ints([n.first - d.first]))
        for k, (value, axis, d) in enumerate(axes):
            for value2, axis2, d2 in axes[k:]:
                product = d.first * d2.first, d.second * d2.second
                if product[0] * n.second == product[1] * n.first and n.first % product[0] == 0:
                    both = self.node("Mul", self.length(value, axis), self.length(value2, axis2))
                    times = n.first // product[0]
                    return both if times == 1 else self.node("Mul", both, self.ints([times]))
        self.refuse(
            f"it needs a number that depends on the lengths of the inputs in a way that is not "
            f"known ({n}); fix the axis with dynamic_axes"
        )

    def number(self, n: Any) -> Value:
        """A number that may vary, as a tensor without axes."""
        if not isinstance(n, Varying):
            return self.const(n, "int64")
        return self.node("Squeeze", self.vector(n), self.ints([0]))

    def counted(self, n: Any) -> Value:
        """The numbers from 0 to n - 1."""
        return self.node("Range", self.const(0), self.number(n), self.const(1))

    def shape(self, lengths: Sequence[Any]) -> Value:
        """A shape as a vector."""
        if not any(isinstance(n, Varying) for n in lengths):
            return self.ints(lengths)
        parts: list[Value] = []
        fixed: list[int] = []
        for n in (*lengths, None):
            if isinstance(n, int):
                fixed.append(n)
                continue
            if fixed:
                parts.append(self.ints(fixed))
                fixed = []
            if n is not None:
                parts.append(self.vector(n))
        return parts[0] if len(parts) == 1 else self.node("Concat", *parts, axis=0)

    def reshape(self, value: Value, lengths: Sequence[Any]) -> Value:
        """A value in another shape."""
        if value.shape is not None and tuple(value.shape) == tuple(lengths):
            return value
        sizes = list(lengths)
        varying = [i for i, n in enumerate(sizes) if isinstance(n, Varying)]
        if value.shape is not None and 0 not in sizes:
            kept = [i for i in varying if i < len(value.shape) and value.shape[i] == sizes[i]]
            for i in (
                kept
                if len(varying) > 1 or not all(isinstance(n, Varying) or n for n in sizes)
                else ()
            ):
                sizes[i] = 0
            varying = [i for i in varying if i not in kept or sizes[i] != 0]
        if len(varying) == 1 and 0 not in [n for n in lengths if isinstance(n, int)]:
            sizes[varying[0]] = -1
        zero = any(isinstance(n, int) and n == 0 for n in lengths)
        made = self.node("Reshape", value, self.shape(sizes), allowzero=1 if zero else None)
        return Value(made.name, made.dtype, tuple(lengths))

    def fixed(self, lengths: Iterable[Any], what: str) -> list[int]:
        """Lengths that must not vary."""
        found = list(lengths)
        if any(isinstance(n, Varying) for n in found):
            self.refuse(f"{what} may not depend on an axis that is free; fix it with dynamic_axes")
        return found

    def transpose(self, value: Value, axes: Sequence[int]) -> Value:
        """The axes in another order."""
        if list(axes) == list(range(len(axes))):
            return value
        made = self.node("Transpose", value, perm=list(axes))
        shape = None if value.shape is None else tuple(value.shape[i] for i in axes)
        return Value(made.name, made.dtype, shape)

    def unsqueeze(self, value: Value, axes: Sequence[int]) -> Value:
        """New axes of length 1 at these places of the result."""
        made = self.node("Unsqueeze", value, self.ints(axes))
        return made

    def squeeze(self, value: Value, axes: Sequence[int]) -> Value:
        """Without these axes."""
        made = self.node("Squeeze", value, self.ints(axes))
        return made

    def slice(self, value: Value, axis: int, start: int, stop: int, step: int = 1) -> Value:
        """A part along one axis."""
        by = None if step == 1 else self.ints([step])
        made = self.node(
            "Slice", value, self.ints([start]), self.ints([stop]), self.ints([axis]), by
        )
        return made

    def where(self, condition: Value, x: Any, y: Any, dtype: str = "") -> Value:
        """x where the condition holds, else y."""
        dtype = dtype or self.out.dtype
        made = self.node("Where", condition, self.cast(x, dtype), self.cast(y, dtype), dtype=dtype)
        return made
