"""Recording: a step is run for real, and what is done to its arrays becomes a program."""

import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib import import_module
from typing import Any
from zlib import crc32

from tinygrad_cv import _autograd
from tinygrad_cv import backend as backends
from tinygrad_cv._frames import line_of_user
from tinygrad_cv._graph import Node, Observer, Scope, numbers, observer, scope
from tinygrad_cv._tensor import Tensor, wrap
from tinygrad_cv.backend import host
from tinygrad_cv.backend.arguments import each, exchanged
from tinygrad_cv.backend.base import Backend, drawing
from tinygrad_cv.backend.devices import KINDS
from tinygrad_cv.backend.operand import looked_at
from tinygrad_cv.backend.recording import (
    WRITES,
    RecordingBackend,
    RecordingError,
    Traced,
    recorded_by,
    refuse,
    unrecorded,
)
from tinygrad_cv.program.instructions import Instruction, Origin, Program, Value
from tinygrad_cv.program.interpret import function_of

Array = Any


class LiveGenerator:
    """The generator that is used where none is given, whichever `manual_seed` has put there."""

    def __getattr__(self, name: str) -> Any:
        return getattr(backends.as_generator(None), name)


LIVE = LiveGenerator()


class ElsewhereError(Exception):
    """A function without arguments computes on another device than was thought."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend


@cache
def apart(backend: Backend) -> Backend:
    """A backend of the same device for who computes while another one is recorded."""
    place = backend.device
    opened: Backend = import_module(KINDS[place.type]).open_device(place.index or 0)
    return opened


class HostCall:
    """A function of the host that reads gradients in the `.grad` of parameters."""

    def __init__(
        self,
        function: Callable[[], Any],
        parameters: list[weakref.ref[Tensor]],
        gradients: list[Any],
        backend: Backend,
    ) -> None:
        self.function, self.parameters, self.backend = function, parameters, backend
        self.given = [g is not None for g in gradients]

    def __repr__(self) -> str:
        function = getattr(self.function, "func", self.function)
        return str(getattr(function, "__qualname__", function))

    def __call__(self, *gradients: Array) -> Any:
        rest = iter(gradients)
        found = [
            (reference(), next(rest) if given else None)
            for reference, given in zip(self.parameters, self.given, strict=True)
        ]
        if (update := getattr(self.function, "with_gradients", None)) is not None:
            known = {p: g for p, g in found if p is not None and g is not None}
            if update(known):
                return None
        # Hooks may keep them, and the memory of a plan is used again.
        for parameter, gradient in found:
            if parameter is not None:
                own = (
                    None
                    if gradient is None
                    else wrap(self.backend.array(gradient, None), self.backend)
                )
                parameter._grad = own
        result = self.function()
        for parameter, gradient in found:
            if parameter is not None and parameter._grad is not None and gradient is not None:
                with self.backend.active:
                    gradient[...] = parameter._grad._array
        return result


class Gradients:
    """What the `.grad` of tensors from outside was at first, and whether the step goes by it."""

    def __init__(self) -> None:
        self.before: dict[Tensor, Tensor | None] = {}
        self.looked: set[Tensor] = set()
        self.replaced: set[Tensor] = set()

    def meet(self, tensor: Tensor) -> None:
        """Note what it is now."""
        if tensor not in self.before:
            self.before[tensor] = tensor._grad

    def look(self, tensor: Tensor) -> None:
        """What it is matters, unless the step has set it before."""
        self.meet(tensor)
        self.looked.add(tensor)

    def replace(self, tensor: Tensor) -> None:
        """The step is about to set it."""
        self.meet(tensor)
        if tensor not in self.looked:
            self.replaced.add(tensor)


class Recorder(Observer):
    """Notes what a step does.

    `program` grows as it runs. What the arrays of tensors from outside are is told by `held`, which
    has an entry for each array that was met, with the tensors that it was seen in.
    """

    def __init__(
        self, function: Callable[..., Any], inputs: Iterable[Tensor], host: Backend
    ) -> None:
        self.function, self.host = function, host
        self.real = apart(host)
        self.backend = RecordingBackend(self.real)
        self.before = observer.get()
        self.everything = self.before is not None and self.before.everything
        self.program = Program([], [], [])
        self.start = next(numbers)
        self.held: dict[int, Traced] = {}
        self.extents: dict[Value, tuple[int, int, int]] = {}
        # of roots: the addresses of their lowest byte, behind the highest, and of the first element
        self.sums: dict[Value, int] = {}
        self.families: dict[int, list[Value]] = {}  # the held values in the memory of an array
        self.tensors: dict[Tensor, Value] = {}
        self.gradients = Gradients()
        self.modules: dict[weakref.ref[Any], None] = {}
        self.around = scope.get()
        self.walked: set[int] = set()  # the numbers of the nodes that got a gradient
        self.known: dict[Value, Array] | None = None  # the numbers of what is read, if asked for
        self.node_scope: Scope | None = None  # of the node whose rules are at work
        self.busy = False
        for tensor in inputs:
            if id(tensor._array) not in self.held:
                self.enter(tensor._array)

    def enter(self, array: Array) -> Traced:
        """An array as the next input of the program."""
        value = self._value(array, "input")
        self._root(value, array)
        self.held[id(array)] = traced = Traced(array, value)
        self.program.inputs.append(value)
        return traced

    def run(self, call: Callable[[], Any]) -> Any:
        """What a call returns; what this thread does meanwhile is noted."""

        def noted() -> Any:
            observer.set(self)
            drawing.set(self._draw)
            return call()

        return recorded_by(self, self.host, noted)

    # ----- calls -----------------------------------------------------------------------------

    def note_call(self, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Do a call for real, and note it."""
        args, options = self._traced(args), self._traced(options)
        out = options.get("out")
        out = out[0] if isinstance(out, tuple) else out
        changed = [out] if out is not None else self._changed_by(name, args, options)
        made = self._run(function_of(self.real, name), args, options)
        sources = list(_arrays((args, options)))
        if self.known is not None:
            self.known |= {x.value: x.numbers for x in sources}
        outputs: list[Value] = []
        result = out if out is not None else self._made(made, sources, outputs)
        if outputs or changed or name == "call":
            self._note(
                Instruction(
                    name,
                    _values(args),
                    _values(options),
                    tuple(outputs),
                    tuple(x.value for x in changed),
                    line_of_user(),
                )
            )
        return result

    def _note(self, instruction: Instruction) -> None:
        """Add an instruction to the program, and say what its values were made for."""
        self.program.instructions.append(instruction)
        part: Any = "forward"
        here = scope.get()
        if _in_backward_pass():
            part, here = "backward", self.node_scope
        elif here is None and any(v.root.kind == "held" for v in instruction.writes):
            part = "update"
        for value in (*instruction.outputs, *instruction.writes):
            self.program.origins.setdefault(value, Origin(part, here))

    def _run(self, function: Callable[..., Any], args: Any, options: Any) -> Any:
        busy, self.busy = self.busy, True
        try:
            with unrecorded():
                return function(*looked_at(args), **looked_at(options))
        finally:
            self.busy = busy

    def _changed_by(self, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> list[Any]:
        """The arrays that a call without `out` changes."""
        if name == "setitem":
            return [args[0]]
        if name not in WRITES:
            return []
        given = dict(zip(KERNEL_ARGUMENTS[name], args, strict=False)) | options
        return [given[which] for which in WRITES[name] if type(given.get(which)) is Traced]

    def _made(
        self, made: Any, sources: list[Traced], outputs: list[Value], among: bool = False
    ) -> Any:
        """What a call returned, as traced arrays; the new values go to `outputs`.

        What it hands on of its arguments is new only `among` others, whose places count.
        """
        if isinstance(made, tuple | list):
            parts = [self._made(part, sources, outputs, among=True) for part in made]
            return type(made)(*parts) if hasattr(made, "_fields") else type(made)(parts)
        if made is None:
            return None
        if not isinstance(made, self.backend.kind | host.ndarray | host.generic):
            raise RecordingError(f"{line_of_user()}: a kernel gave {made!r}, which is no array.")
        array = host.asarray(made) if isinstance(made, host.generic) else made
        same = next((source for source in sources if source.numbers is array), None)
        if same is not None and not among:
            return same
        lies = same is not None or array.base is not None
        value = self._view_of(array, sources) if lies else None
        if value is None:
            value = self._value(array, "made")
            self._root(value, array)
        outputs.append(value)
        return Traced(array, value)

    def _view_of(self, array: Array, sources: list[Traced]) -> Value | None:
        """The value of a result that lies in the memory of one of the arrays it was made of."""
        owner, (low, high) = owner_of(array), _extent(array)
        for source in sources:
            root = source.value.root
            first, last, start = self.extents[root]
            if first <= low and high <= last and owner_of(source.numbers) is owner:
                return self._value(array, "made", root, _address(array) - start)
        return None

    def _draw(self, generator: Any, law: Callable[[Any], Any]) -> Any:
        if self.busy:
            return law(generator)
        return self.note_call("call", (law, generator), {})

    def host_call(self, function: Callable[[], Any], parameters: list[Tensor]) -> Any:
        """Run a function of the host, such as the step of an optimizer, now and at each replay.

        It finds the gradients of the parameters in their `.grad`, and may change all that is held.
        """
        gradients = [None if p._grad is None else self._traced(p._grad._array) for p in parameters]
        for parameter in parameters:
            if type(parameter._array) is Traced:
                refuse(
                    f"a step on a parameter of shape {parameter.shape} that got new data before",
                    "Change it in place: p.data.copy_(...).",
                )
            self.meet(parameter)
            self.gradients.look(parameter)
        known = [t for t in self.held.values() if t.value.kind == "held"]
        before = [_sum(t.numbers) for t in known]
        call = HostCall(function, [weakref.ref(p) for p in parameters], gradients, self.host)
        traced = [p._grad for p in parameters]
        arrays = [g for g in gradients if g is not None]
        with unrecorded():
            eye, draws = observer.set(self.before), drawing.set(None)
            try:
                result = call(*looked_at(arrays))
            finally:
                drawing.reset(draws)
                observer.reset(eye)
                for parameter, gradient in zip(parameters, traced, strict=True):
                    parameter._grad = gradient
        for parameter in parameters:
            if self.held.get(id(parameter._array)) is None:
                refuse(
                    f"a step that gives a parameter of shape {parameter.shape} other memory",
                    "Let it change the parameter in place.",
                )
        changed = [t for t, s in zip(known, before, strict=True) if _sum(t.numbers) != s]
        changed += [self.trace(p._array) for p in parameters if p._grad is not None]
        self._note(
            Instruction(
                "call",
                (call, *_values(tuple(arrays))),
                {},
                (),
                tuple(dict.fromkeys(x.value for x in (*changed, *arrays))),
                line_of_user(),
            )
        )
        return result

    # ----- at the end ------------------------------------------------------------------------

    def changed_otherwise(self, changed: set[Value]) -> str | None:
        """What was changed though it is not among the changed values, if anything."""
        for traced in self.held.values():
            value = traced.value
            quiet = value.kind == "held" and value.root not in changed
            if quiet and _sum(traced.numbers) != self.sums[value]:
                name = next((x.name for x, v in self.tensors.items() if v is value), None)
                return f"{name or 'a tensor'} of shape {value.shape}"
        return None

    def settle(self) -> None:
        """After an error: the tensors from outside hold numbers, as they do after any error."""
        for tensor in self.tensors:
            for part in (tensor, tensor._grad):
                if part is not None and type(part._array) is Traced:
                    part._array = part._array.numbers

    def check(self, function: Callable[..., Any], *arrays: Any) -> None:
        """Call a function that may raise, of these arrays, now and at each replay."""
        self.note_call("call", (function, *arrays), {})

    # ----- values ----------------------------------------------------------------------------

    def _value(self, array: Array, kind: Any, base: Value | None = None, offset: int = 0) -> Value:
        return Value(array.shape, array.dtype, array.strides, kind, base, offset)

    def _root(self, value: Value, array: Array) -> None:
        self.extents[value] = (*_extent(array), _address(array))

    def trace(self, array: Array) -> Traced:
        """The array of a tensor from outside, or one that Python made on the way."""
        known = self.held.get(id(array))
        if known is not None:
            return known
        value = self._value(array, "held")
        value.array = array
        low, high = _extent(array)
        owner = owner_of(array)
        family = self.families.setdefault(id(owner), [])
        for other in family:
            if other.base is None:
                first, last, start = self.extents[other]
                if first <= low and high <= last:
                    value.base, value.offset = other, _address(array) - start
                    break
                if low < last and first < high and not (low <= first and last <= high):
                    self.trace(owner)  # which contains both
                    return self.trace(array)
        else:
            self._root(value, array)
            for other in family:  # those that were met before what they lie in
                first, last, _ = self.extents.get(other, (0, 0, 0))
                if other.base is None and low <= first and last <= high:
                    self._rebase(other, value)
        family.append(value)
        self.held[id(array)] = traced = Traced(array, value)
        self.sums[value] = _sum(array)
        return traced

    def _rebase(self, root: Value, value: Value) -> None:
        """A held root turns out to lie in another value, and so does what lies in it."""
        by = self.extents[root][2] - self.extents[value][2]
        everything = {
            v
            for i in self.program.instructions
            for v in (*i.reads(), *i.outputs, *i.writes)
            if v.base is root
        } | {t.value for t in self.held.values() if t.value.base is root}
        for v in (root, *everything):
            v.base, v.offset = value, v.offset + by

    def _traced(self, tree: Any) -> Any:
        """Arguments with traced arrays in place of all others."""

        def traced(x: Any) -> Any:
            if type(x) is self.backend.kind:
                return self.trace(x)
            if isinstance(x, host.random.Generator) and x is backends.as_generator(None):
                return LIVE
            return x

        return exchanged(traced, tree)

    # ----- as an observer --------------------------------------------------------------------

    def forward(self, op: Any, backend: Any, arrays: Any) -> Any:
        if backend is not self.host:
            if not self.program.instructions and not self.program.inputs:
                raise ElsewhereError(backend)
            refuse(
                f"{op.name} on {backend.device}", f"The function computes on {self.host.device}."
            )
        arrays[:] = map(self._traced, arrays)  # the same list is what the op's node saves from
        for name, attribute in vars(op).items():
            setattr(op, name, self._traced(attribute))
        here = scope.get()
        while here is not None and here is not self.around:
            self.modules[here.module] = None
            here = here.outer
        return (self.before or Observer()).forward(op, backend, arrays)

    def made(self, tensor: Tensor, inputs: tuple[Any, ...]) -> None:
        for value in inputs:
            if isinstance(value, Tensor):
                self.meet(value)
        if self.before is not None:
            self.before.made(tensor, inputs)

    def meet(self, tensor: Tensor) -> None:
        """Note whose array a held one is."""
        array = tensor._array
        if type(array) is self.backend.kind:
            self.tensors.setdefault(tensor, self.trace(array).value)
            self.gradients.meet(tensor)

    def arrived(self, node: Node, gradient: Any) -> None:
        self.walked.add(node.number)
        if node.op is None and node.tensor is not None and (leaf := node.tensor()) is not None:
            self.gradients.look(leaf)
        if self.before is not None:
            self.before.arrived(node, gradient)

    def backward(self, reading: Any, node: Node, gradient: Any, useful: Any) -> Any:
        if node.number < self.start:
            refuse(
                f"a backward pass through {node.label}, which was computed before the compiled "
                "function was called,",
                "Compute it inside, or detach() it.",
            )
        self.node_scope = node.scope
        try:
            return (self.before or Observer()).backward(reading, node, gradient, useful)
        finally:
            self.node_scope = None


KERNEL_ARGUMENTS = {
    name: getattr(Backend, name).__code__.co_varnames[
        1 : getattr(Backend, name).__code__.co_argcount
    ]
    for name in WRITES
    if name != "setitem"
}


def _in_backward_pass() -> bool:
    """Whether a walk through a graph is what calls."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code not in WALKS:
        frame = frame.f_back
    return frame is not None


WALKS = {_autograd._backward.__code__, _autograd.grad.__code__}


def owner_of(array: Any) -> Any:
    """What the memory of an array belongs to."""
    while getattr(array, "base", None) is not None:
        array = array.base
    return array


def _address(array: Array) -> int:
    if isinstance(array, host.ndarray):
        return int(array.__array_interface__["data"][0])
    return int(array.data.ptr)


def _extent(array: Array) -> tuple[int, int]:
    """The first address that an array reaches, and the one behind the last."""
    low = high = _address(array)
    if not array.size:
        return low, high
    for n, stride in zip(array.shape, array.strides, strict=True):
        if stride < 0:
            low += (n - 1) * stride
        else:
            high += (n - 1) * stride
    return low, high + array.itemsize


def _sum(array: Array) -> int:
    """A checksum of its elements."""
    numbers = array if isinstance(array, host.ndarray) else array.get()
    return crc32(host.ascontiguousarray(numbers).data)


def _arrays(tree: Any) -> Iterator[Traced]:
    return (x for x in each(tree) if type(x) is Traced)


def _values(tree: Any) -> Any:
    """The values in place of traced arrays."""
    return exchanged(lambda x: x.value if type(x) is Traced else x, tree)
