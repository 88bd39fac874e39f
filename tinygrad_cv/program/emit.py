"""Instructions as calls that are ready to be made: a function, and arrays that are there already.

What writes into memory that it is given (ufuncs, reductions, copies, kernels with an `out`) writes
where the plan says. What makes an array of its own is copied there if it is small; a large one
stays where it is, and who reads it looks it up anew in each replay (`Slots`).
"""

import inspect
import operator
from collections.abc import Callable
from functools import partial
from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.backend.arguments import each, exchanged
from tinygrad_cv.backend.base import Backend
from tinygrad_cv.backend.compiled.backend import family
from tinygrad_cv.backend.switch import KERNELS
from tinygrad_cv.backend.threads import WORTH_A_PART, parallel, split
from tinygrad_cv.program.blocks import in_blocks, is_for_blocks
from tinygrad_cv.program.fuse import LETTER, Group, number_of
from tinygrad_cv.program.instructions import Instruction, Value
from tinygrad_cv.program.interpret import function_of
from tinygrad_cv.program.places import empty_like, is_contiguous, size, span, view

Array = Any
Call = tuple[Callable[..., Any], tuple[Any, ...]]

BYTE = host.dtype("uint8")
PART = 1 << 16
"""How many numbers a part has at least, to be worth a hand-over to another thread."""

REDUCTIONS = {
    "sum": "add",
    "prod": "multiply",
    "max": "maximum",
    "min": "minimum",
    "any": "logical_or",
    "all": "logical_and",
}


class Late:
    """An array that is another one in each replay: the one in a slot, or a view of its memory."""

    __slots__ = ("index", "layout", "slots")

    def __init__(self, slots: "Slots", index: int, layout: tuple[Any, ...] | None) -> None:
        self.slots, self.index, self.layout = slots, index, layout

    @property
    def dtype(self) -> Any:
        """The dtype, which is the same in each replay."""
        return self.slots.roots[self.index].dtype if self.layout is None else self.layout[1]

    def get(self) -> Array:
        array = self.slots.slots[self.index]
        if self.layout is None:
            return array
        shape, dtype, offset, strides = self.layout
        order = self.slots.orders[self.index]
        memory = raw(array) if order is None else array.transpose(order)
        return host.ndarray(shape, dtype, memory, offset, strides)


def found(tree: Any) -> Any:
    """Arrays in place of what is Late."""
    return exchanged(lambda x: x.get() if type(x) is Late else x, tree)


def is_late(tree: Any) -> bool:
    """Whether something in it is Late."""
    return any(type(x) is Late for x in each(tree))


def bound(function: Callable[..., Any], args: tuple[Any, ...]) -> Callable[[], Any]:
    """`function(*args)` for each replay, which finds what is Late anew."""
    late = [(i, x) for i, x in enumerate(args) if is_late(x)]
    if not late:
        return partial(function, *args)
    if not all(type(x) is Late for _, x in late):
        return lambda: function(*found(args))

    def call() -> Any:
        given = list(args)
        for i, x in late:
            given[i] = x.get()
        return function(*given)

    return call


def raw(array: Array) -> Array:
    """The memory of an array as bytes, from the lowest address on."""
    low, high = span(array.shape, array.strides, array.itemsize)
    return view(array, low, (high - low,), (1,), BYTE)


def dense_order(value: Value) -> list[int] | None:
    """The order of axes in which its elements lie one after another; None if there is none."""
    order = sorted(range(len(value.shape)), key=lambda axis: -value.strides[axis])
    shape, strides = ([of[axis] for axis in order] for of in (value.shape, value.strides))
    return order if is_contiguous(tuple(shape), tuple(strides), value.dtype.itemsize) else None


class Slots:
    """Memory for values: `place(root)` is an array for good, or None where it comes and goes."""

    def __init__(self) -> None:
        self.homes: dict[int, Array] = {}
        self.fresh: list[Value] = []
        self.numbers: dict[int, int] = {}
        self.roots: list[Value] = []
        self.orders: list[list[int] | None] = []
        self.slots: list[Any] = []
        self.views: dict[tuple[Any, ...], Array] = {}

    def settle(self, root: Value, array: Array) -> None:
        """A value lies in this array in all replays."""
        self.homes[id(root)] = array

    def expect(self, root: Value) -> int:
        """A value lies in an array that each replay brings."""
        number = self.numbers[id(root)] = len(self.slots)
        self.roots.append(root)
        self.orders.append(dense_order(root))
        self.slots.append(None)
        return number

    def is_late(self, value: Value) -> bool:
        return id(value.root) in self.numbers

    def renew(self) -> None:
        """Memory of this replay's own for what begins anew in each."""
        for root in self.fresh:
            self.slots[self.numbers[id(root)]] = empty_like(root)

    def put(self, root: Value, array: Array) -> None:
        """What a late value is in this replay."""
        if array.strides != root.strides or array.dtype != root.dtype:
            given, array = array, empty_like(root)
            host.copyto(array, given)
        self.slots[self.numbers[id(root)]] = array

    def forget(self, root: Value) -> Call:
        return self.slots.__setitem__, (self.numbers[id(root)], None)

    def array(self, value: Value) -> Any:
        """The array of a value, or how to find it."""
        return self.shaped(value, value.shape, value.strides)

    def flat(self, value: Value) -> Any:
        """Its memory as a vector, from its first element on."""
        itemsize = value.dtype.itemsize
        _, high = span(value.shape, tuple(map(abs, value.strides)), itemsize)
        return self.shaped(value, (max(high // itemsize, 1),), (itemsize,))

    def grid(self, group: Group, k: int) -> Any:
        """The memory of one of the places of a group, as rows and columns."""
        value = group.places[k]
        itemsize = value.dtype.itemsize
        row, column = group.layouts[k]
        strides = row * itemsize, column * itemsize
        return self.shaped(value, (group.rows, group.columns), strides)

    def shaped(self, value: Value, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
        root = value.root
        if id(root) in self.numbers:
            low, _ = span(root.shape, root.strides, root.dtype.itemsize)
            layout = shape, value.dtype, value.offset - low, strides
            whole = value is root and (shape, strides) == (root.shape, root.strides)
            return Late(self, self.numbers[id(root)], None if whole else layout)
        home = self.homes[id(root)]
        if value is root and shape == home.shape and strides == home.strides:
            return home
        key = id(root), value.offset, shape, strides, value.dtype
        if key not in self.views:
            self.views[key] = view(home, value.offset, shape, strides, value.dtype)
        return self.views[key]

    def tree(self, tree: Any) -> Any:
        """Arrays in place of values."""
        return exchanged(lambda x: self.array(x) if isinstance(x, Value) else x, tree)


# ----- what an instruction calls -----------------------------------------------------------------


def takes_out(function: Callable[..., Any]) -> bool:
    """Whether a kernel writes where it is told to."""
    try:
        return "out" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def called(instruction: Instruction, xp: Backend) -> Callable[..., Any]:
    """The function of an instruction: a ufunc, where no kernel stands before it for that size."""
    function = function_of(xp, instruction.function)
    ufunc = getattr(function, "ufunc", None)
    if ufunc is not None and (not KERNELS.compiled or largest(instruction) < function.least):  # type: ignore[attr-defined]
        return ufunc  # type: ignore[no-any-return]
    return function


def largest(instruction: Instruction) -> int:
    """The elements of the largest of its values."""
    return max(map(size, (*instruction.reads(), *instruction.outputs)), default=0)


def writes_in_place(instruction: Instruction, xp: Backend) -> bool:
    """Whether it writes its results into memory that it is given, so that nothing is copied."""
    name = instruction.function
    if name in GATES:
        return KERNELS.compiled
    if len(instruction.outputs) > 1:
        return name == "relu"
    function = called(instruction, xp)
    return (
        isinstance(function, host.ufunc)
        or name in REDUCTIONS
        or name in COPIES
        or name in ("where", "relu_backward", "concatenate", "stack", "total", "mean", "matmul")
        or takes_out(function)
    )


GATES = {"lstm_gates", "lstm_gates_backward", "gru_gates", "gru_gates_backward"}
"""What a recurrent network does at each step, to arrays so small that a call is what it costs."""


COPIES = {
    "array",
    "astype",
    "copy",
    "ravel",
    "reshape",
    "ascontiguousarray",
    "positive",
    "full",
    "zeros",
} | {
    "ones",
    "empty",
    "full_like",
    "zeros_like",
    "ones_like",
}


def calls_of(
    instruction: Instruction | Group, memory: Slots, xp: Backend, compiled: bool
) -> list[Call]:
    """The calls that do an instruction, in their order."""
    if isinstance(instruction, Group):
        calls = _group(instruction, memory, compiled)
        if calls is None:
            calls = [c for i in instruction.instructions for c in calls_of(i, memory, xp, compiled)]
        return calls
    calls = _known(instruction, memory, xp)
    if calls is None:
        calls = [_opaque(instruction, memory, xp)]
    return [_looked_up(call) for call in calls]


def _looked_up(call: Call) -> Call:
    function, args = call
    return (bound(function, args), ()) if is_late(args) else call


def made_by(instruction: Instruction) -> list[Value]:
    """The values that begin with an instruction."""
    return [
        v
        for v in instruction.outputs
        if v.base is None and v.kind == "made" and v not in instruction.writes
    ]


def _opaque(instruction: Instruction, memory: Slots, xp: Backend) -> Call:
    """Call it, and take what it returns."""
    function = function_of(xp, instruction.function)
    args, options = memory.tree(instruction.args), memory.tree(instruction.options)
    outs = [*instruction.outputs] if instruction.placed else made_by(instruction)
    if takes_out(function) and len(outs) == 1 == len(instruction.outputs):
        return partial(_into, function, **options), (memory.array(outs[0]), *args)
    if instruction.function in GATES and KERNELS.compiled and not is_late((args, options)):
        prepared = _prepared(instruction.function, args, memory.tree(instruction.outputs))
        if prepared is not None:
            return prepared
    made_of = bound(partial(function, **options), args)
    if is_late(options):
        made_of = lambda: function(*found(args), **found(options))  # noqa: E731
    single = len(instruction.outputs) == 1
    # What a replay brings is taken as it is; a part of it was brought already, and is written into.
    places = [
        None if v not in outs else v if v.base is None and memory.is_late(v) else memory.array(v)
        for v in instruction.outputs
    ]
    if not places:
        return made_of, ()

    def call() -> None:
        made = made_of()
        several = (made,) if single else [array for array in made if array is not None]
        for place, array in zip(places, several, strict=True):
            if isinstance(place, Value):
                memory.put(place, host.asarray(array))
            elif place is not None:
                part = place.get() if type(place) is Late else place
                host.copyto(part, array, casting="unsafe")

    return call, ()


def _prepared(name: str, args: tuple[Any, ...], made: tuple[Any, ...]) -> Call | None:
    """The kernel itself, bound to its arrays, where nothing is left to be decided at a replay."""
    return None if is_late(made) else family("recurrent").prepared(name, args, made)


def _known(instruction: Instruction, memory: Slots, xp: Backend) -> list[Call] | None:
    """As calls that write where they should; None if there is no such way."""
    name, options = instruction.function, dict(instruction.options)
    brought = any(memory.is_late(v) and v.root not in memory.fresh for v in instruction.outputs)
    if name in ("call", "setitem") or brought:
        if name == "setitem":
            return [(operator.setitem, memory.tree(instruction.args))]
        return None
    args = memory.tree(instruction.args)
    function = called(instruction, xp)
    if name == "copyto":
        return [(partial(host.copyto, **memory.tree(options)) if options else host.copyto, args)]
    outputs = instruction.outputs
    given = options.pop("out", None)
    given = given[0] if isinstance(given, tuple) and len(given) == 1 else given
    if name == "relu" and len(outputs) == 2:
        y, positive = map(memory.array, outputs)
        return [(partial(_into, host.maximum), (y, args[0], 0)), (host.greater, (y, 0, positive))]
    target = given if given is not None else outputs[0] if len(outputs) == 1 else None
    is_view = given is None and isinstance(target, Value) and target.base is not None
    if not isinstance(target, Value) or (is_view and not instruction.placed):
        return None
    out = memory.array(target)
    options = memory.tree(options)
    if isinstance(function, host.ufunc) and function.nout == 1 and len(args) == function.nin:
        args = _as_arrays(args)
        if name in ("maximum", "minimum"):  # which take no third array
            return [(partial(_into, function, **options), (out, *args))]
        return [(partial(function, **options) if options else function, (*args, out))]
    if given is not None:
        return None
    if name == "relu_backward":
        return [(host.copyto, (out, 0)), (_copy_where, (out, args[0], args[1]))]
    if name == "where" and len(args) == 3 and not options:
        return [(host.copyto, (out, args[2])), (_copy_where, (out, args[1], args[0]))]
    if name in ("astype", "array") or (
        name in ("copy", "ravel", "ascontiguousarray") and not options
    ):
        x = args[0]
        if name == "ravel":
            return _reshaped(x, out, instruction)
        return [(host.copyto, (out, x, "unsafe"))]
    if name == "reshape" and options.get("order", "C") == "C":
        return _reshaped(args[0], out, instruction)
    if name in ("zeros", "ones", "zeros_like", "ones_like"):
        return [(host.copyto, (out, int("ones" in name), "unsafe"))]
    if name in ("full", "full_like") and "fill_value" not in options:
        return [(host.copyto, (out, args[1], "unsafe"))]
    if name in ("empty", "empty_like"):
        return []
    if name in REDUCTIONS or name == "total":
        return _reduced(instruction, args, options, out)
    if name == "mean":
        return [(partial(_into, host.mean, **options), (out, *args))]
    if name == "matmul" and set(options) <= set():
        return _product(instruction, args, out)
    if name in ("concatenate", "stack"):
        return [(partial(_into, getattr(host, name), **options), (out, *args))]
    return None


def _copy_where(out: Array, x: Any, truth: Array) -> None:
    host.copyto(out, x, where=truth)


def _into(function: Callable[..., Any], out: Array, *args: Any, **options: Any) -> None:
    function(*args, out=out, **options)


def _as_arrays(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Plain numbers as arrays beside those of the dtype in question: NumPy need not make them."""
    beside = {a.dtype for a in args if hasattr(a, "dtype")}
    if beside != {host.dtype("float32")}:
        return args
    return tuple(host.asarray(a, "float32") if type(a) in (int, float) else a for a in args)


def _reshaped(x: Any, out: Array, instruction: Instruction) -> list[Call] | None:
    if type(out) is Late or not out.flags.c_contiguous:
        return None
    return [(host.copyto, (out.reshape(instruction.args[0].shape), x, "unsafe"))]


def _reduced(
    instruction: Instruction, args: tuple[Any, ...], options: dict[str, Any], out: Array
) -> list[Call] | None:
    """Sums and their kin; large ones are the backend's, which shares them out over the threads."""
    source = instruction.args[0]
    if len(args) > 2 or not set(options) <= {"axis", "dtype", "keepdims"}:
        return None
    axis = args[1] if len(args) == 2 else options.get("axis")
    if isinstance(axis, list):
        axis = tuple(axis)
    dtype, name = options.get("dtype"), instruction.function
    if name == "total":
        if not isinstance(source, Value) or source.nbytes > 1 << 18:
            return None
        dtype = out.dtype
    reduce = getattr(host, REDUCTIONS.get(name, "add")).reduce
    return [(reduce, (args[0], axis, dtype, out, bool(options.get("keepdims", False))))]


def _product(instruction: Instruction, args: tuple[Any, ...], out: Array) -> list[Call] | None:
    """Small products go straight to BLAS; others are the backend's, which knows about threads."""
    a, b = instruction.args
    if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[1] == 1:
        return None
    if a.shape[0] * a.shape[1] * b.shape[1] >= 2 * WORTH_A_PART:
        return None
    return [(host.matmul, (*args, out))]


# ----- groups ------------------------------------------------------------------------------------


def registers_of(group: Group, internal: set[int]) -> tuple[Any, list[int]]:
    """A group as a recipe for generated code, and the places of its arguments."""
    number = partial(number_of, group)
    written: set[int] = set()
    read: list[int] = []
    for step in group.steps:
        for a in step.args:
            if isinstance(a, Value) and (k := number(a)) not in written and k not in read:
                read.append(k)
        written.add(number(step.out))
    where = {k: i for i, k in enumerate(read)}
    steps: list[tuple[str, tuple[int | float, ...]]] = []
    for step in group.steps:
        args = tuple(where[number(a)] if isinstance(a, Value) else a for a in step.args)
        where[number(step.out)] = len(read) + len(steps)
        steps.append((step.name, args))
    stored = [k for k in sorted(written) if id(group.places[k].root) not in internal]

    def letter(k: int) -> str:
        return LETTER[group.places[k].dtype]

    inputs = tuple((letter(k), group.layouts[k][1] == 0) for k in read)
    outputs = tuple((where[k], letter(k)) for k in stored)
    return (inputs, tuple(steps), outputs), [*read, *stored]


def _group(group: Group, memory: Slots, compiled: bool) -> list[Call] | None:
    if group.is_generated(compiled):
        loops = family("generated")
        recipe, places = registers_of(group, group.internal)
        kernel = loops.generated(loops.Recipe(*recipe))
        arrays = tuple(memory.flat(group.places[k]) for k in places)
        steps = tuple(group.layouts[k][0] for k in places)
        parts = _parts(group)
        if len(parts) == 1:
            return [_looked_up((kernel, (*arrays, *steps, *parts[0])))]

        def shared(*arrays: Array) -> None:
            parallel(lambda part: kernel(*arrays, *steps, *part), parts)  # type: ignore[arg-type,misc]

        return [_looked_up((shared, arrays))]
    if is_for_blocks(group):
        run, places = in_blocks(group)
        return [_looked_up((run, tuple(memory.grid(group, k) for k in places)))]
    return None


def _parts(group: Group) -> list[tuple[int, int, int, int]]:
    """Rows and columns in parts that are worth a thread each."""
    count = group.rows * group.columns
    parts = min(16, count // PART)
    if parts < 2:
        return [(0, group.rows, 0, group.columns)]
    if group.rows >= parts:
        return [(p.start, p.stop, 0, group.columns) for p in split(group.rows, parts)]
    return [(0, group.rows, p.start, p.stop) for p in split(group.columns, parts)]
