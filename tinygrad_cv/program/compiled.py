"""`compile`: a function that is recorded when it is first called, and replayed from then on."""

import functools
import inspect
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from itertools import combinations, count, product
from threading import get_ident
from typing import TYPE_CHECKING, Any

from tinygrad_cv import backend as backends
from tinygrad_cv._frames import place_of
from tinygrad_cv._grad_mode import is_grad_enabled
from tinygrad_cv._graph import observer
from tinygrad_cv._public import TOP, public
from tinygrad_cv._tensor import Tensor, wrap
from tinygrad_cv._trees import mapped
from tinygrad_cv.amp.autocast_mode import regions
from tinygrad_cv.autograd.anomaly_mode import is_anomaly_enabled
from tinygrad_cv.backend import host
from tinygrad_cv.backend.base import DEFAULT, Backend, drawing
from tinygrad_cv.backend.locks import Locked
from tinygrad_cv.backend.recording import (
    OtherwiseError,
    RecordingError,
    Traced,
    recording,
    written,
)
from tinygrad_cv.backend.switch import get_conv_precision, get_kernels
from tinygrad_cv.nn.module import Module
from tinygrad_cv.program.halves import Backward, Halves, backward_of, interpreted, stand
from tinygrad_cv.program.instructions import Program, Value, assumptions_first
from tinygrad_cv.program.on_device import AnyPlan, planned
from tinygrad_cv.program.record import ElsewhereError, Recorder, owner_of

Array = Any

MOST = 16
"""How many programs of one function are kept; the one that was used longest ago goes."""

TIMED = 10
"""How many replays have a clock at each instruction."""

uses = count()
"""Programs are used one after another: a number for each time."""


class Recorded:
    """One program of a function, and what has to be as it was for it to be the right one."""

    def __init__(
        self, recorder: Recorder, given: list[Tensor], returned: Any, back: Backward | None
    ) -> None:
        self.used = next(uses)
        self.name = getattr(recorder.function, "__name__", type(recorder.function).__name__)
        self.backend, self.real = recorder.host, recorder.real
        self._plan: AnyPlan | None = None
        self._halves: Halves | None = None
        self.program: Program = recorder.program
        assumptions_first(self.program)
        changed = {v.root for i in self.program.instructions for v in i.writes}
        _check_unchanged(recorder, changed)
        _check_members(recorder)
        places = {id(x): k for k, x in reversed(list(enumerate(given)))}
        roots = {} if back is None else {node: k for k, node in enumerate(back.roots)}
        self.first: list[Array] = []

        def give(tensor: Tensor) -> int:
            """Let the array of a tensor be an output."""
            array = tensor._array
            array = array if type(array) is Traced else recorder.trace(array)
            self.program.outputs.append(array.value)
            self.first.append(array.numbers.copy(order="K"))
            return len(self.first) - 1

        def result(leaf: Any) -> Any:
            if isinstance(leaf, Iterator | Awaitable | AsyncIterator):
                raise RecordingError(
                    f"{_place(recorder.function)}: a compiled function returned {leaf!r}, which "
                    "runs later, and once. Return a list."
                )
            if not isinstance(leaf, Tensor):
                return leaf
            return _Result(give(leaf), roots.get(leaf.node) if leaf._requires_grad else None)

        self.returned = mapped(result, returned)
        # What tensors from outside have been given: new gradients, and new data.
        self.targets: list[tuple[Any, str, Any]] = []
        self.flags: list[tuple[weakref.ref[Tensor], bool]] = []
        self.grads: list[tuple[Any, bool]] = []
        self.held: list[tuple[weakref.ref[Tensor], Value]] = []
        self.own: list[tuple[Any, str]] = []  # whose arrays are inputs, beside the arguments
        # The held values, which memory theirs is in, and what the program changes of all.
        self.changed = changed
        self.owners: set[int] | None = None
        gradients = recorder.gradients
        parts = _parts(recorder.modules)
        _name(parts, recorder.held)
        for k, value in enumerate(self.program.inputs):
            value.name = f"input {k}"
        for tensor, value in list(recorder.tensors.items()):
            value.name = value.name or tensor.name or ""
            place: Any = places.get(id(tensor), weakref.ref(tensor))
            if type(tensor._array) is Traced:
                self.targets.append((place, "_array", give(tensor)))
                if value.kind == "held":
                    self._as_input(value, place, "_array")
            if value.kind == "held":
                self.held.append((weakref.ref(tensor), value))
                self.flags.append((weakref.ref(tensor), tensor._requires_grad))
        for tensor, before in list(gradients.before.items()):
            place = places.get(id(tensor), weakref.ref(tensor))
            if tensor._grad is not None and type(tensor._grad._array) is Traced:
                self.targets.append((place, "_grad", give(tensor._grad)))
                gradient, of = self.program.outputs[-1].root, recorder.tensors.get(tensor)
                if gradient.kind == "made" and of is not None and of.name:
                    gradient.name = f"{of.name}.grad"
            elif tensor._grad is None and (before is not None or tensor in gradients.replaced):
                self.targets.append((place, "_grad", None))
            if before is not None and (known := recorder.held.get(id(before._array))) is not None:
                if known.value.kind == "held":
                    self._as_input(known.value, place, "_grad")
                self.grads.append((place, True))
            elif tensor in gradients.looked and tensor not in gradients.replaced:
                self.grads.append((place, before is not None))
        self.modules = [(weakref.ref(part), part.training, _ids(part)) for part in parts]
        own = {t for part in self.modules for t in part[2]}
        self.same = [(k, weakref.ref(x)) for k, x in enumerate(given) if id(x) in own]
        values = dict.fromkeys(t.value.root for t in recorder.held.values())
        self.roots = [v for v in values if v.kind == "held"]
        self.changed_inputs = {k for k, v in enumerate(self.program.inputs) if v.root in changed}
        self.back = back
        if back is not None:
            self.program.outputs += back.gradients
            self.standing = _standing(given)
            self.guarded = self._guarded(given)

    def _guarded(self, given: list[Tensor]) -> list[Any]:
        """Whose numbers the backward reads, so that they may not change before."""
        numbers: dict[int, int] = {}
        for tensor in given:
            numbers.setdefault(id(tensor._array), len(numbers))
        found: list[Any] = [
            k for k, x in enumerate(given) if numbers[id(x._array)] in self.halves.reads
        ]
        return found + [x for x, v in self.held if id(v.root.array) in self.halves.held]

    def _as_input(self, value: Value, place: Any, name: str) -> None:
        """What is another array after each replay is an input of the program."""
        value.kind, value.array = "input", None
        self.program.inputs.append(value)
        self.own.append((place, name))

    @property
    def halves(self) -> Halves:
        """How it is replayed, if a graph comes out."""
        assert self.back is not None
        if self._halves is None:
            self._halves = Halves(self.program, self.back, self.real)
        return self._halves

    @property
    def plan(self) -> AnyPlan:
        """How it is replayed; made for the first replay."""
        if self.back is not None:
            return self.halves.forward
        if self._plan is None:
            self._plan = planned(self.program, self.real)
        return self._plan

    def forget_its_own(self) -> None:
        """Tensors that are gone with the call that was recorded were made in it."""
        self.held = [(tensor, value) for tensor, value in self.held if tensor() is not None]

    def fits(self, given: list[Tensor]) -> bool:
        """Whether it is the program to be replayed, as things are."""
        if self.back is not None and _standing(given) != self.standing:
            return False
        for reference, training, tensors in self.modules:
            module = reference()
            if module is None or module.training is not training or _ids(module) != tensors:
                return False
        if any(given[k] is not tensor() for k, tensor in self.same):  # a parameter was an argument
            return False
        for tensor_of, requires in self.flags:
            tensor = tensor_of()
            if tensor is not None and tensor._requires_grad is not requires:
                return False
        for place, there in self.grads:
            tensor = self._at(place, given)
            if tensor is not None and (tensor._grad is not None) is not there:
                return False
        for tensor_of, value in self.held:
            tensor = tensor_of()
            if tensor is None:  # and another may be in its place
                return False
            if tensor._array is value.array or value.kind == "input":
                continue
            array = tensor._array
            if (
                type(array) is not type(value.array)
                or value.base is not None
                or (
                    (array.shape, array.dtype, array.strides)
                    != (value.shape, value.dtype, value.strides)
                )
            ):
                return False
            value.array, self.owners = array, None
            self._halves = None  # whose programs have values of their own
        return True

    def _at(self, place: Any, given: list[Tensor]) -> Tensor | None:
        return given[place] if isinstance(place, int) else place()

    def inputs(self, given: list[Tensor], arrays: list[Array]) -> list[Array]:
        """The arrays of the inputs: those of the arguments, and others that each replay brings."""
        own = []
        for place, name in self.own:
            tensor: Any = self._at(place, given)
            part = tensor if name == "_array" else getattr(tensor, name)
            own.append(part._array)
        return [*arrays, *own]

    def is_tangled(self, inputs: list[Array]) -> bool:
        """Whether an input lies in memory that the program knows as another, and changes.

        A plan takes its values for apart, so the function then runs as it is written.
        """
        owners = [*map(id, map(owner_of, inputs))]
        if self.owners is None:
            held = [(id(owner_of(v.array)), v in self.changed) for v in self.roots]
            self.owners = {o for o, changed in held if changed or self.changed_inputs}
        if self.owners.isdisjoint(owners) and (
            not self.changed_inputs or len({*owners}) == len(owners)
        ):
            return False
        held = [(v.array, v in self.changed) for v in self.roots]
        brought = [(x, k in self.changed_inputs) for k, x in enumerate(inputs)]
        pairs = [*product(brought, held), *combinations(brought, 2)]
        return any((a or b) and self.backend.shares_memory(x, y) for (x, a), (y, b) in pairs)

    def replay(self, given: list[Tensor], inputs: list[Array], timed: bool) -> Any:
        """Run the program."""
        if self.back is None:
            outputs = self.plan.run(inputs, timed)
            self._count()
            return self.results(given, outputs)
        halves = self.halves
        outputs, kept = halves.run(inputs, timed)
        self._count()
        return self.results(given, outputs, halves.backward.run, kept)

    def _count(self) -> None:
        """Count the changes of the tensors that the program has written to."""
        for tensor_of, value in self.held:
            tensor = tensor_of() if value.root in self.changed else None
            if tensor is not None:
                tensor._changed()

    def begin(self, given: list[Tensor]) -> Any:
        """What the call that was recorded returns."""
        outputs, self.first = self.first, []
        if self.back is None:
            return self.results(given, outputs)
        program, kept = self.back.plain(self.program)
        self.back.roots, self.back.known = [], {}
        return self.results(given, outputs, interpreted(program, self.real), kept)

    def results(
        self,
        given: list[Tensor],
        outputs: list[Array],
        backward: Callable[[list[Array]], list[Array]] | None = None,
        kept: list[Array] | None = None,
    ) -> Any:
        """Give tensors from outside what is theirs, and return what the function returns.

        With a `backward`, which takes gradients and what is `kept` for it, that has a graph.
        """
        roots: dict[int, list[Tensor]] = {}
        for place, name, k in self.targets:
            tensor = self._at(place, given)
            if tensor is None:
                continue
            if name == "_grad":
                tensor._grad = None if k is None else wrap(outputs[k], self.backend)
            else:
                tensor._array = outputs[k]

        def made(leaf: Any) -> Any:
            if type(leaf) is not _Result:
                return leaf
            tensor = wrap(outputs[leaf.place], self.backend)
            if leaf.root is not None:
                roots.setdefault(leaf.root, []).append(tensor)
            return tensor

        returned = mapped(made, self.returned)
        if self.back is not None:
            assert backward is not None
            assert kept is not None
            receivers = [self._at(place, given) for place in self.back.receivers]
            found = [x for place in self.guarded if (x := self._at(place, given)) is not None]
            guards = tuple((x.name or "input", x._counter, x._counter[0]) for x in found)
            stand(roots, receivers, backward, kept, guards, self.name)
        return returned


class _Result:
    """A tensor among what a function returns: one of the outputs of the program.

    If it has a graph, `root` is the number of its node among the roots of the backward pass.
    """

    def __init__(self, place: int, root: int | None) -> None:
        self.place, self.root = place, root


def _standing(given: list[Tensor]) -> list[int]:
    """Which of the arguments with a gradient stand for the same node: for each the first."""
    nodes = [x.node for x in given if x._requires_grad]
    return list(map(nodes.index, nodes))


def _check_no_graph(recorder: Recorder, tensor: Tensor) -> None:
    """Raise if a tensor from outside has become the result of what was recorded."""
    node = tensor._node
    if not tensor._requires_grad or node is None or node.op is None:
        return
    if node.number >= recorder.start and node.number not in recorder.walked:
        raise RecordingError(
            f"{_place(recorder.function)}: a compiled function changes {tensor.name or 'a tensor'} "
            f"of shape {tensor.shape} in place, which requires a gradient. Return the new value."
        )


def _ids(module: Any) -> list[int]:
    """Which objects the parameters and buffers of a module are."""
    held = vars(module)
    return [id(held.get(name)) for name, kind in module._kinds.items() if kind != "module"]


def _parts(modules: Iterable[weakref.ref[Any]]) -> list[Any]:
    """The modules that were called, and all that is in them."""
    called = [module for reference in modules if (module := reference()) is not None]
    return list(dict.fromkeys(part for module in called for part in module.modules()))


def _name(modules: list[Any], held: dict[int, Traced]) -> None:
    """Call the parameters and buffers of modules by their paths in the outermost that has them."""
    for module in sorted(modules, key=lambda module: -sum(1 for _ in module.modules())):
        for path, tensor in (*module.named_parameters(), *module.named_buffers()):
            traced = held.get(id(tensor._array))
            if traced is not None and not traced.value.name:
                given = tensor.name if tensor.name != path.rpartition(".")[2] else None
                traced.value.name = given or path


def _place(function: Any) -> str:
    """Where a function is defined."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return repr(function) if code is None else place_of(code.co_filename, code.co_firstlineno)


def _check_unchanged(recorder: Recorder, changed: set[Value]) -> None:
    """Raise if what is held was changed, and no instruction says so."""
    tensor = recorder.changed_otherwise(changed)
    if tensor is not None:
        raise RecordingError(
            f"a compiled function changes {tensor} outside of what is recorded, so a replay would "
            "not. Change it with operations on tensors, such as x.copy_(...) under no_grad()."
        )


def _check_members(recorder: Recorder) -> None:
    """Raise if a module has got another parameter or buffer, which none of the next calls gives."""
    for part in _parts(recorder.modules):
        for name, tensor in (*part._parameters.items(), *part._buffers.items()):
            if tensor is None or type(tensor._array) is not Traced or tensor in recorder.tensors:
                continue
            tensor._array = tensor._array.numbers
            raise RecordingError(
                f"{_place(recorder.function)}: {type(part).__name__}.{name} becomes another tensor "
                f"in a compiled function, so a replay would not change it. Change it in place: "
                f"{name}.copy_(...) under no_grad()."
            )


@public(TOP)
class Compiled(Locked):
    """What `compile` makes of a function: it is called as that is."""

    def __init__(
        self, function: Callable[..., Any], undo: Callable[[], Callable[[], None]] | None = None
    ) -> None:
        """With `undo` the first call is a replay too, and gives the bits that all others give.

        A recording adds up in another order. `undo()` notes what it may change, and returns a
        function that takes it back.
        """
        super().__init__()
        self._orig_mod = function  # PyTorch's name, which the parameters of a module come under
        self.undo = undo
        self.programs: dict[Any, list[Recorded]] = {}
        self.latest: Recorded | None = None
        self.replaying: int | None = None  # a thread: a forked child has another one

    def __reduce__(self) -> Any:
        own = (self._orig_mod,) if self.undo is None else (self._orig_mod, self.undo)
        return type(self), own  # a copy records by itself

    @property
    def function(self) -> Callable[..., Any]:
        """What was compiled."""
        return self._orig_mod

    @property
    def program(self) -> Program:
        """The program that was recorded or replayed last."""
        if self.latest is None:
            raise RuntimeError("nothing is recorded yet; call the compiled function first.")
        return self.latest.program

    @property
    def plan(self) -> AnyPlan:
        """How the program that was recorded or replayed last is replayed: `print` lists it."""
        self.program  # noqa: B018  raises if there is none
        assert self.latest is not None
        return self.latest.plan

    @property
    def backward_plan(self) -> AnyPlan | None:
        """How its backward pass is, if what it returns has a graph."""
        self.program  # noqa: B018  raises if there is none
        assert self.latest is not None
        return None if self.latest.back is None else self.latest.halves.backward

    @property
    def returned(self) -> list[int]:
        """Which outputs of the program the function returns; the others go to tensors outside."""
        self.program  # noqa: B018  raises if there is none
        assert self.latest is not None
        found: list[int] = []
        mapped(
            lambda x: found.append(x.place) if type(x) is _Result else None, self.latest.returned
        )
        return found

    @property
    def trained(self) -> set[int]:
        """Of the arrays of parameters that the program reads: which objects they are."""
        self.program  # noqa: B018  raises if there is none
        assert self.latest is not None
        tensors = (tensor_of() for tensor_of, _ in self.latest.held)
        return {id(t._array) for t in tensors if t is not None and t._requires_grad}

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        return self if owner is None else functools.partial(self, owner)

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._call(args, options, timed=False)

    def profile(self, *args: Any, **options: Any) -> AnyPlan:
        """Call it some ten times with a clock at each instruction; returns its `plan`.

        The times in the plan are the shortest of those replays. They are calls as ever: parameters
        are updated, and random numbers drawn.

        >>> import tinygrad_cv as tg
        >>> product = tg.compile(lambda x, y: (x @ y).relu())
        >>> print(product.profile(tg.ones(64, 128), tg.ones(128, 32)))
        2 instructions of 2 recorded; ... of memory, ... without reuse
        ...s, of which ...% at the limits; limits measured: ... GFLOP/s and ... GB/s by ...
        ---...
           kernel   reads                           makes      bytes   FLOP  time  FLOP/s  B/s ...
        ---...
        0  matmul   input 0 64x128, input 1 128x32  v0 64x32 @...  57.3 kB  524 k ...
        1  ...      v0 64x32                        v1 64x32 @...
        """
        for _ in range(1 + TIMED):  # the first may have to record
            self._call(args, options, timed=True)
        return self.plan

    def _call(self, args: tuple[Any, ...], options: dict[str, Any], timed: bool) -> Any:
        looked_at = observer.get() is not None and not is_anomaly_enabled()
        repeated = drawing.get() is not None  # as in recompute(), with the numbers drawn before
        inside = recording.get() is not None  # part of what is recorded
        if looked_at or repeated or inside or written.get():
            return self.function(*args, **options)
        key, given = _described(args, options)
        if not all(x._backend.has_numbers for x in given):
            return self.function(*args, **options)  # there is nothing to compute
        arrays = list({id(x._array): x._array for x in given}.values())
        with self.lock:
            if self.replaying == get_ident():  # a signal or a hook came in between
                return self.function(*args, **options)
            programs = self.programs.setdefault(key, [])
            for recorded in programs:
                if recorded.fits(given):
                    self.latest, recorded.used = recorded, next(uses)
                    inputs = recorded.inputs(given, arrays)
                    if recorded.is_tangled(inputs):
                        return self.function(*args, **options)
                    try:
                        self.replaying = get_ident()
                        return recorded.replay(given, inputs, timed)
                    except OtherwiseError:
                        continue
                    finally:
                        self.replaying = None
            undone = None if self.undo is None else self.undo()
            recorded, result = _record(self.function, args, options, given)
            recorded.forget_its_own()
            programs.append(recorded)
            self.latest = recorded
            self._drop_oldest()
            if undone is None:
                return result
            undone()
            inputs = recorded.inputs(given, arrays)
            if not recorded.fits(given) or recorded.is_tangled(inputs):
                return self.function(*args, **options)
            try:
                self.replaying = get_ident()
                return recorded.replay(given, inputs, timed)
            finally:
                self.replaying = None

    def _drop_oldest(self) -> None:
        """Drop the program that was used longest ago, if there are more than enough."""
        for key, programs in [*self.programs.items()]:
            if not programs:  # what could not be recorded
                del self.programs[key]
        if sum(map(len, self.programs.values())) > MOST:
            key = min(self.programs, key=lambda key: min(r.used for r in self.programs[key]))
            programs = self.programs[key]
            programs.remove(min(programs, key=lambda recorded: recorded.used))
            if not programs:
                del self.programs[key]


def _record(
    function: Callable[..., Any],
    args: Any,
    options: Any,
    given: list[Tensor],
    backend: Backend | None = None,
) -> tuple[Recorded, Any]:
    home = backend or (given[0]._backend if given else backends.get(None))
    recorder = Recorder(function, given, home)
    for tensor in given:
        recorder.meet(tensor)
    try:

        def call() -> tuple[Any, Backward | None]:
            returned = function(*args, **options)
            for tensor in recorder.tensors:
                _check_no_graph(recorder, tensor)
            return returned, backward_of(recorder, given, returned, _place(function))

        returned, back = recorder.run(call)
        with recorder.real.active:
            recorded = Recorded(recorder, given, returned, back)
            return recorded, recorded.begin(given)
    except ElsewhereError as found:
        return _record(function, args, options, given, found.backend)
    except BaseException:
        recorder.settle()
        raise


def _described(args: Any, options: Any) -> tuple[Any, list[Tensor]]:
    """What a program is recorded for: all of the arguments but the numbers of tensors, and the
    switches."""
    given: list[Tensor] = []
    places: dict[int, int] = {}
    key = (
        _kind(args, given, places),
        _kind(options, given, places),
        is_grad_enabled(),
        DEFAULT.float,
        get_kernels(),
        get_conv_precision(),
        tuple(sorted(regions.get().items())),
        type(observer.get()),
        getattr(observer.get(), "check_nan", None),
    )
    return key, given


def _kind(value: Any, given: list[Tensor], places: dict[int, int]) -> Any:
    """What a program is recorded for of an argument; its tensors go to `given`."""
    if isinstance(value, Tensor):
        array = value._array
        place = places.setdefault(id(array), len(places))
        given.append(value)
        return (
            type(value),
            place,
            array.shape,
            array.dtype,
            array.strides,
            value._requires_grad,
            value.device,
        )
    if isinstance(value, tuple | list):
        return (type(value), *(_kind(part, given, places) for part in value))
    if isinstance(value, dict):
        return (dict, *((k, _kind(part, given, places)) for k, part in value.items()))
    if isinstance(value, slice):
        return (slice, value.start, value.stop, value.step)
    if isinstance(value, host.ndarray):
        raise TypeError(
            f"a compiled function takes tensors, and got an array of shape {value.shape}: "
            "pass tensor(array), or from_numpy(array)."
        )
    if type(value).__hash__ is None:
        raise TypeError(
            f"a compiled function got {value!r}, which may be another the next time and still the "
            f"same object, as any {type(value).__name__}; pass a tuple of what is in it."
        )
    return type(value), repr(value) if isinstance(value, float) else value


OWN = ("programs", "latest", "lock", "replaying", "training", "undo")


class CompiledModule(Module, Compiled):
    """A module that is replayed where it is called, with the parameters and names of the module.

    It is a module around the other one, `_orig_mod`, as PyTorch has it. What it has not itself is
    that one's, and what is set is set there.
    """

    def __init__(self, module: Module) -> None:
        Compiled.__init__(self, module)
        self.training = module.training

    __reduce__ = Compiled.__reduce__

    def forward(self, *args: Any, **options: Any) -> Any:
        return Compiled.__call__(self, *args, **options)

    def __setattr__(self, name: str, value: Any) -> None:
        owner = self if name in OWN or name[0] == "_" else self._orig_mod
        if owner is self:
            super().__setattr__(name, value)
        else:
            setattr(owner, name, value)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            known = vars(self).get("_orig_mod")
            if known is None or name == "_orig_mod":
                return super().__getattr__(name)
            return getattr(known, name)


@public(TOP)
def compile(
    model: Callable[..., Any] | None = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: Any = None,
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    name: str | None = None,
    disable: bool = False,
    recompile_limit: int | None = None,
    isolate_recompiles: bool = False,
    dynamic_shapes: Any = None,
) -> Any:
    """A function or a module, recorded when it is first called and replayed from then on.

    The first call runs the function as ever, and notes what is done to arrays: the forward and the
    backward pass, the changes of running statistics, the step of an optimizer. Later calls replay
    that as a plan (`print(compiled.plan)`), without Python's part of the work: memory is laid out
    once, what nobody reads is left out, elementwise operations run as one loop. The results are
    those of the function to rounding, and the same bits at each replay.

    It is best to compile a whole step. Where what is returned has a graph, as of
    `model = compile(model)`, the backward pass is a plan of its own (`compiled.backward_plan`), for
    when a gradient comes: to the arguments, and to parameters and other leaves that the function
    found. In the graph it is one node, so it is freed as a whole, and a result that gets no
    gradient counts as one that gets 0. It cannot be differentiated again. What a module becomes is
    a module around it, as in PyTorch.

    A replay takes in anew

    - the numbers of the tensors among the arguments, in tuples, lists and dicts too;
    - the numbers of parameters, buffers and of other tensors that the function finds by itself;
    - gradients that were there before, and the options of optimizers, such as a learning rate that
      a schedule changes;
    - random numbers: generators go on, and after `manual_seed` they begin as without `compile`.

    All else is as it was when it was recorded: what Python does beside, such as printing or
    counting, happens once, and a number that the function finds by itself (`scale = 2.0` outside)
    stays. Numbers and strings among the arguments belong to the program, and so do shapes, dtypes,
    layouts, `requires_grad`, train() or eval() of the modules that are called, which objects their
    parameters are, whether there are gradients, no_grad(), the default dtype, `set_kernels`,
    `set_conv_precision` and autocast. Where one of them is another, it is recorded again; the 16
    programs that were used last are kept. A call that an observer such as `viz.watch` looks on at,
    or inside of `recompute`, runs as it is written.

    Of PyTorch's options `disable` gives back the function as it is; the others choose between ways
    of doing it, of which there is one here, and have no effect. Without a function the result is a
    decorator.

    Errors stay errors: a label that is out of range, an index that is, NaN under `detect_anomaly`.

    Raises RecordingError, a RuntimeError which names the line, where a replay could not do the
    same: for `if`, `.item()`, `float()` or `.numpy()` of a tensor; for a result whose shape depends
    on numbers, such as `nonzero` or `x[mask]`; for a graph that goes in otherwise than with an
    argument; for tensors of other devices than "cpu"; and for an optimizer's closure and
    `BatchNorm(momentum=None)` in training, which go by numbers as well. Raises TypeError for a
    NumPy array among the arguments.

    >>> import tinygrad_cv as tg
    >>> w = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> descent = tg.optim.SGD([w], lr=0.25)
    >>> @tg.compile
    ... def step(x):
    ...     print("recorded")
    ...     descent.zero_grad()
    ...     loss = ((w - x) ** 2).sum()
    ...     loss.backward()
    ...     descent.step()
    ...     return loss
    >>> step(tg.zeros(2))
    recorded
    tensor(5.)
    >>> step(tg.zeros(2))
    tensor(1.25)
    >>> w
    tensor([0.25, 0.5 ], requires_grad=True)
    """
    if model is None:
        return lambda model: compile(model, disable=disable)
    if disable:
        return model
    if isinstance(model, Module):
        return CompiledModule(model)
    return functools.update_wrapper(Compiled(model), model, updated=())
