"""A recorded program made ready to be replayed on a GPU.

The calls are those that were recorded, in an order that lets elementwise ones run as one
`ElementwiseKernel`, which is written here from their steps (`source`). Memory is the pool's: what
is read for the last time goes back to it. Views are made anew from what they lie in.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from tinygrad_cv.backend.arguments import exchanged
from tinygrad_cv.backend.base import Backend
from tinygrad_cv.backend.locks import Locked
from tinygrad_cv.program.emit import registers_of
from tinygrad_cv.program.fuse import Group, grouped
from tinygrad_cv.program.instructions import Instruction, Program, Value
from tinygrad_cv.program.interpret import function_of
from tinygrad_cv.program.plan import Plan, copied, inlined, is_view, simplified

if TYPE_CHECKING:
    from tinygrad_cv.backend.cupy_backend import CupyBackend

Array = Any
Arrays = dict[Value, Array]
Step = tuple[Callable[[Arrays], None], tuple[Value, ...]]
"""What is done, and the values that nobody reads any more."""


class DevicePlan(Locked):
    """A program that can be replayed on a GPU.

    `plan.run(inputs)` gives the outputs, which are the caller's own arrays. `print(plan)` lists it.
    """

    def __init__(self, program: Program, xp: "CupyBackend") -> None:
        super().__init__()
        self.xp, self.source = xp, program
        self._plan()

    def _plan(self) -> None:
        """Plan the program, for the memory outside of it that is there now."""
        program, new = copied(self.source)
        self.outside = [(v, v.array) for v in new if v.array is not None]
        self.recorded = len(program.instructions)
        simplified(program, self.xp)
        self.program = program
        work = grouped([i for i in program.instructions if not is_view(i)])
        self.inlined = inlined(work, program, lambda g: g.is_generated(compiled=True))
        self.order = [*_with_views(work, program)]
        self.held = {
            v: v.array for i in self.order for v in (*i.reads(), *i.writes) if v.array is not None
        } | {v: v.array for v in program.outputs if v.array is not None}
        last: dict[Value, int] = {}
        for k, instruction in enumerate(self.order):
            for v in (*instruction.reads(), *instruction.outputs, *instruction.writes):
                last[v] = k
        leaving: dict[int, list[Value]] = {}
        for v, k in last.items():
            if v not in program.outputs and v not in self.held:
                leaving.setdefault(k, []).append(v)
        self.steps: list[Step] = [
            (self._step(instruction), tuple(leaving.get(k, ())))
            for k, instruction in enumerate(self.order)
        ]

    def _step(self, instruction: Instruction | Group) -> Callable[[Arrays], None]:
        if not isinstance(instruction, Group):
            return partial(_call, function_of(self.xp, instruction.function), instruction)
        if not instruction.is_generated(compiled=True):
            calls = [self._step(i) for i in instruction.instructions]
            return partial(_one_by_one, calls)
        inputs, outputs, body = source(instruction)
        name = f"group_{hashlib.sha256(body.encode()).hexdigest()[:16]}"
        kernel = self.xp.cp.ElementwiseKernel(
            ", ".join(declared for declared, _ in inputs),
            ", ".join(declared for declared, _ in outputs),
            body,
            name,
        )
        given, made = [v for _, v in inputs], [v for _, v in outputs]

        def call(arrays: Arrays) -> None:
            for v in made:
                if v not in arrays:
                    arrays[v] = self._fresh(v)
            kernel(*[arrays[v] for v in given], *[arrays[v] for v in made])

        return call

    def _fresh(self, value: Value) -> Array:
        """Memory for a value, with its axes in the order in which they lay when it was recorded."""
        axes = sorted(range(len(value.shape)), key=lambda i: -abs(value.strides[i]))
        array = self.xp.cp.empty(tuple(value.shape[i] for i in axes), value.dtype)
        return array.transpose([axes.index(i) for i in range(len(axes))])

    def run(self, inputs: Sequence[Array], timed: bool = False) -> list[Array]:
        """Replay the program on these arrays. A card works on its own time: none is taken."""
        with self.lock, self.xp.active:
            if any(value.array is not array for value, array in self.outside):
                self._plan()
            arrays = self.held | dict(zip(self.program.inputs, inputs, strict=True))
            for step, leaving in self.steps:
                step(arrays)
                for value in leaving:
                    arrays.pop(value, None)
            taken: set[Value] = set()
            results = []
            for value in self.program.outputs:
                own = value.root.kind == "made" and value.root not in taken
                taken.add(value.root)
                results.append(arrays[value] if own else arrays[value].copy(order="K"))
            return results

    def __str__(self) -> str:
        lines = [f"{len(self.order)} calls of {self.recorded} recorded instructions"]
        for k, instruction in enumerate(self.order):
            kernel = instruction.function
            if isinstance(instruction, Group):
                kernel = " ".join(step.name for step in instruction.steps)
            made = {id(v): v for v in (*instruction.outputs, *instruction.writes)}
            shapes = [str(v.shape) for v in made.values() if id(v) not in self.inlined]
            lines.append(f"{k:4} {kernel} -> {', '.join(shapes)}  {instruction.line}")
        return "\n".join(lines)


AnyPlan = Plan | DevicePlan


def planned(program: Program, xp: Backend) -> AnyPlan:
    """The program made ready for its device."""
    if xp.device.type == "cpu":
        return Plan(program, xp)
    return DevicePlan(program, cast("CupyBackend", xp))


def _with_views(
    work: Sequence[Instruction | Group], program: Program
) -> Iterator[Instruction | Group]:
    """The instructions, and each view before it is used first."""
    views = {v: i for i in program.instructions if is_view(i) for v in i.outputs}

    def behind(values: Sequence[Value]) -> Iterator[Instruction]:
        for value in values:
            if (maker := views.pop(value, None)) is not None:
                yield from behind([*maker.reads()])
                yield maker

    for instruction in work:
        own = set(instruction.outputs)  # a step may look at what an earlier one of its group made
        touched = [*instruction.reads(), *instruction.writes]
        yield from behind([v for v in touched if v.root not in own])
        yield instruction
    yield from behind(program.outputs)


def _one_by_one(calls: list[Callable[[Arrays], None]], arrays: Arrays) -> None:
    for call in calls:
        call(arrays)


def _call(function: Callable[..., Any], instruction: Instruction, arrays: Arrays) -> None:
    """Do an instruction as it was recorded."""
    args, options = exchanged(
        lambda x: arrays[x] if isinstance(x, Value) else x,
        (instruction.args, instruction.options),
    )
    made = function(*args, **options)
    if instruction.outputs:
        several = made if isinstance(made, tuple | list) else (made,)
        results = [array for array in several if array is not None]
        arrays.update(zip(instruction.outputs, results, strict=True))


# ----- generated kernels -------------------------------------------------------------------------

TYPES = {"f": "float", "b": "bool"}
DTYPES = {"f": "float32", "b": "bool"}

REAL = {
    "add": "{} + {}",
    "subtract": "{} - {}",
    "multiply": "{} * {}",
    "true_divide": "{} / {}",
    "negative": "-{}",
    "square": "{0} * {0}",
    "reciprocal": "1.0f / {}",
    "abs": "fabsf({})",
    "maximum": "{0} > {1} || {0} != {0} ? {0} : {1}",  # NaN of either
    "minimum": "{0} < {1} || {0} != {0} ? {0} : {1}",
    "copysign": "copysignf({}, {})",
    "float": "{}",
} | {
    name: f"{name}f({{}})"
    for name in ("sqrt", "floor", "exp", "expm1", "log", "log1p", "tanh", "erf", "erfc")
}
"""Steps on numbers, in C."""

COMPARISONS = {
    "greater": "{} > {}",
    "greater_equal": "{} >= {}",
    "less": "{} < {}",
    "less_equal": "{} <= {}",
    "equal": "{} == {}",
    "not_equal": "{} != {}",
    "isnan": "{0} != {0}",
}
"""Steps from numbers to a truth value."""

LOGICAL = {
    "logical_and": "{} && {}",
    "logical_or": "{} || {}",
    "logical_xor": "{} != {}",
    "logical_not": "!{}",
    "bool": "{}",
}
"""Steps on truth values."""


def source(group: Group) -> tuple[list[tuple[str, Value]], list[tuple[str, Value]], str]:
    """The inputs and the outputs as CuPy declares them, each with its value, and the body.

    An output that is read as well is an input, too; all it holds is read before it is written.
    """
    (inputs, steps, outputs), places = registers_of(group, group.internal)
    kinds = [kind for kind, _ in inputs]
    names = [f"x{k}" for k in range(len(inputs))]
    lines = []

    def of(kind: str, register: int | float) -> str:
        """A register, or a number, as a number or as a truth value."""
        if isinstance(register, float):
            return _literal(register) if kind == "f" else str(bool(register)).lower()
        if kinds[register] == kind:
            return names[register]
        return f"{TYPES[kind]}({names[register]})"

    for name, args in steps:
        if name == "where":
            truth, *choices = args
            kind = "b" if all(type(c) is int and kinds[c] == "b" for c in choices) else "f"
            text = " ".join(("{} ?", "{} : {}")).format(
                of("b", truth), *(of(kind, c) for c in choices)
            )
        else:
            taken = "b" if name in LOGICAL else "f"
            kind = "f" if name in REAL else "b"
            form = REAL.get(name) or COMPARISONS.get(name) or LOGICAL[name]
            text = form.format(*(of(taken, a) for a in args))
        kinds.append(kind)
        names.append(f"r{len(names)}")
        lines.append(f"{TYPES[kind]} {names[-1]} = {text};")
    lines += [f"y{k} = {of(kind, register)};" for k, (register, kind) in enumerate(outputs)]
    values = [group.places[k] for k in places]
    read, stored = values[: len(inputs)], values[len(inputs) :]
    return (
        [(f"{DTYPES[i[0]]} x{k}", v) for k, (i, v) in enumerate(zip(inputs, read, strict=True))],
        [(f"{DTYPES[o[1]]} y{k}", v) for k, (o, v) in enumerate(zip(outputs, stored, strict=True))],
        " ".join(lines),
    )


def _literal(x: float) -> str:
    """A number in C. The names for infinity are in headers that may not be found."""
    if x != x:
        return "logf(-1.0f)"
    if x in (float("inf"), -float("inf")):
        return "-logf(0.0f)" if x > 0 else "logf(0.0f)"
    return f"{x!r}f" if x >= 0 else f"({x!r}f)"
