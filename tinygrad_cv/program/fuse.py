"""Elementwise instructions that run as one: which of them may, and in what order all then run.

What an instruction needs and what it changes says what has to come before it (`dependencies`).
Among the orders that this leaves, `grouped` takes one that follows the recorded order, and lets
whoever can join the group that is at work. A group is one loop over memory: see `Group`.
"""

import heapq
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.program.instructions import Instruction, Value
from tinygrad_cv.program.places import is_same_place, overlap, size, span_of

FLOAT, BOOL = host.dtype("float32"), host.dtype("bool")
LETTER = {FLOAT: "f", BOOL: "b"}

REAL = {
    "add",
    "subtract",
    "multiply",
    "true_divide",
    "negative",
    "square",
    "reciprocal",
    "abs",
    "sqrt",
    "floor",
    "copysign",
    "maximum",
    "minimum",
    "exp",
    "expm1",
    "log",
    "log1p",
    "tanh",
    "erf",
    "erfc",
}
COMPARISONS = {"greater", "greater_equal", "less", "less_equal", "equal", "not_equal", "isnan"}
LOGICAL = {
    "logical_and": "logical_and",
    "logical_or": "logical_or",
    "logical_xor": "logical_xor",
    "logical_not": "logical_not",
    "bitwise_and": "logical_and",
    "bitwise_or": "logical_or",
    "bitwise_xor": "logical_xor",
    "invert": "logical_not",
}
DRAWS = {"uniform", "normal", "draw"}
"""What takes numbers from a generator: each replay does so again, and in the same order."""

WORTH_A_KERNEL = 1 << 11
"""From how many numbers on even a single step is faster as a kernel of ours."""

MOST_OPERANDS = 24
"""How many arrays one loop walks over: each takes a register of the CPU."""


@dataclass(frozen=True)
class Step:
    """One formula on one element of each operand; `out` says where the result goes."""

    name: str
    args: tuple[Value | float, ...]
    out: Value


def steps_of(instruction: Instruction) -> list[Step] | None:
    """An instruction as steps on elements, or None if it is something else."""
    name, args = instruction.function, instruction.args
    if name == "pointwise":
        return _named(instruction)
    if not set(instruction.options) <= {"out"} or len(instruction.outputs) > 2:
        return None
    given = instruction.options.get("out")
    if isinstance(given, tuple):
        given = given[0] if len(given) == 1 else None
    out = given if given is not None else next(iter(instruction.outputs), None)
    if name == "copyto" and len(args) == 2 and isinstance(args[0], Value):
        out, args, name = args[0], args[1:], "float" if args[0].dtype == FLOAT else "bool"
    elif name == "astype" and out is not None:
        args, name = args[:1], "float" if out.dtype == FLOAT else "bool"
    elif name == "positive":
        name = "float"
    elif name == "power" and len(args) == 2 and type(args[1]) in (int, float) and args[1] == 2:
        args, name = args[:1], "square"
    if not isinstance(out, Value) or out.dtype not in LETTER:
        return None
    values = [a for a in args if isinstance(a, Value)]
    if not values or not all(isinstance(a, Value) or _is_number(a) for a in args):
        return None
    if any(v.dtype not in LETTER for v in values):
        return None
    has_floats = any(v.dtype == FLOAT for v in values)
    plain = tuple(a if isinstance(a, Value) else float(a) for a in args)
    if name == "relu" and len(instruction.outputs) == 2 and has_floats:
        y, positive = instruction.outputs
        return [Step("maximum", (plain[0], 0.0), y), Step("greater", (y, 0.0), positive)]
    if name == "relu_backward" and has_floats:
        return [Step("where", (plain[1], plain[0], 0.0), out)]
    if name == "gate_backward" and has_floats and plain[3:] in ((), (0.0,)):
        g, truth, yes, *_ = plain
        return [Step("where", (truth, g, 0.0), out), Step("multiply", (out, yes), out)]
    if name == "scale_channels" and has_floats:
        x, center, scale, shift = plain
        return [
            Step("subtract", (x, center), out),
            Step("multiply", (out, scale), out),
            Step("add", (out, shift), out),
        ]
    if name in LOGICAL:
        if (has_floats and not name.startswith("logical")) or out.dtype != BOOL:
            return None
        return [Step(LOGICAL[name], plain, out)] if len(values) == len(args) else None
    if name in COMPARISONS:
        return [Step(name, plain, out)] if has_floats and out.dtype == BOOL else None
    if name in REAL:
        return [Step(name, plain, out)] if has_floats and out.dtype == FLOAT else None
    if name == "where":
        if len(args) != 3 or not isinstance(args[0], Value) or args[0].dtype != BOOL:
            return None
        kinds = {a.dtype for a in args[1:] if isinstance(a, Value)}
        if out.dtype == BOOL and (kinds != {BOOL} or len(values) != 3):
            return None
        return [Step(name, plain, out)]
    if name in ("float", "bool"):
        return [Step(name, plain, out)]
    return None


def _named(instruction: Instruction) -> list[Step] | None:
    """The step of `Backend.pointwise`, whose first argument says which function it is."""
    (name, *values), numbers = instruction.args, instruction.options.get("numbers", ())
    (out,) = instruction.outputs
    if any(not isinstance(v, Value) or v.dtype != FLOAT for v in (*values, out)):
        return None
    return [Step(name, (*values, *map(float, numbers)), out)]


def _is_number(x: Any) -> bool:
    if type(x) not in (int, float, bool) and not isinstance(x, host.float32):
        return False
    return bool(abs(x) < 3e38 or x != x or abs(x) == float("inf"))


def is_check(instruction: Instruction) -> bool:
    """Whether it is a call that looks at its arguments, and raises or does nothing."""
    return instruction.function == "call" and getattr(instruction.args[0], "assumes", False)


# ----- one loop ----------------------------------------------------------------------------------


@dataclass(eq=False)
class Group:
    """Elementwise steps of one shape, for which memory is walked over once.

    In memory every array is `rows` rows of `columns` numbers, or less: one row for all, or one
    number for a row. `layouts` says how far apart two rows and two columns of each place are.
    """

    shape: tuple[int, ...]
    instructions: list[Instruction] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    places: list[Value] = field(default_factory=list)
    layouts: list[tuple[int, int]] = field(default_factory=list)
    rows: int = 1
    columns: int = 1
    internal: set[int] = field(default_factory=set)

    function = "group"

    @property
    def line(self) -> str:
        return self.instructions[0].line

    def reads(self) -> Iterator[Value]:
        for instruction in self.instructions:
            yield from instruction.reads()

    @property
    def outputs(self) -> tuple[Value, ...]:
        return tuple(v for i in self.instructions for v in i.outputs)

    @property
    def writes(self) -> tuple[Value, ...]:
        return tuple(v for i in self.instructions for v in i.writes)

    def takes(self, instruction: Instruction, steps: list[Step]) -> bool:
        """Add an instruction, if it has a place in this loop."""
        if any(step.out.shape != self.shape for step in steps):
            return False
        places = list(self.places)
        for step in steps:
            for v in (*step.args, step.out):
                if isinstance(v, Value) and not any(is_same_place(v, p) for p in places):
                    places.append(v)
        if len(places) > MOST_OPERANDS:
            return False
        written = [s.out for s in (*self.steps, *steps)]
        for w in written:
            if any(overlap(w, p) and not is_same_place(w, p) for p in places):
                return False
        nest = _nest(self.shape, places, written)
        if nest is None:
            return False
        self.rows, self.columns, self.layouts = nest
        self.places = places
        self.instructions.append(instruction)
        self.steps += steps
        return True

    def is_generated(self, compiled: bool) -> bool:
        """Whether a kernel of its own is worth it; else its steps run one by one."""
        return compiled and (len(self.steps) > 1 or self.rows * self.columns >= WORTH_A_KERNEL)

    def is_related(self, steps: list[Step]) -> bool:
        """Whether steps read or write what a step of this group does."""
        theirs = [v for s in steps for v in (*s.args, s.out) if isinstance(v, Value)]
        return any(v.root is p.root for v in theirs for p in self.places)


def number_of(group: Group, value: Value) -> int:
    """Which of the places of a group a value has."""
    return next(k for k, place in enumerate(group.places) if is_same_place(value, place))


def _steps(value: Value, shape: tuple[int, ...]) -> list[int]:
    """The strides of a value that is broadcast to a shape, in elements."""
    missing = len(shape) - len(value.shape)
    strides = [
        0 if n == 1 else s // value.dtype.itemsize
        for n, s in zip(value.shape, value.strides, strict=True)
    ]
    return [0] * missing + strides


def _order(shape: tuple[int, ...], like: Value) -> list[int]:
    """The axes in the order in which they lie in memory."""
    steps = _steps(like, shape)
    return sorted((i for i, n in enumerate(shape) if n != 1), key=lambda i: -abs(steps[i]))


def _nest(
    shape: tuple[int, ...], places: Sequence[Value], written: Sequence[Value]
) -> tuple[int, int, list[tuple[int, int]]] | None:
    """Rows and columns as which all of the places can be walked over, and their steps."""
    if 0 in shape:
        return None
    order = _order(shape, written[0])
    table = [_steps(v, shape) for v in places]
    joined: list[tuple[int, list[int]]] = []
    for axis in order:
        n, steps = shape[axis], [row[axis] for row in table]
        if joined and all(a == n * b for a, b in zip(joined[-1][1], steps, strict=True)):
            joined[-1] = joined[-1][0] * n, steps
        else:
            joined.append((n, steps))
    if len(joined) > 2:
        return None
    once = 1, [0] * len(places)
    (rows, outer), (columns, inner) = [once, once, *joined][-2:]
    for v, o, i in zip(places, outer, inner, strict=True):
        is_written = any(is_same_place(v, w) for w in written)
        if i not in (0, 1) or (is_written and ((columns > 1 and i == 0) or (rows > 1 and o == 0))):
            return None
    return rows, columns, list(zip(outer, inner, strict=True))


# ----- order -------------------------------------------------------------------------------------


class Touched:
    """Which instructions touch which bytes of a root.

    Spans of about the same length stand together, by where they begin: so what touches one slice of
    thousands is found without a look at the others.
    """

    def __init__(self) -> None:
        self.spans: dict[int, list[tuple[int, int, int]]] = defaultdict(list)

    def add(self, i: int, value: Value) -> None:
        """Instruction i touches the bytes of a value."""
        low, high = span_of(value)
        insort(self.spans[(high - low).bit_length()], (low, high, i))

    def by(self, value: Value) -> Iterator[int]:
        """The instructions that touch a byte between the first and the last of a value."""
        low, high = span_of(value)
        for bits, spans in self.spans.items():
            near = range(bisect_left(spans, (low - (1 << bits),)), bisect_left(spans, (high,)))
            yield from (spans[k][2] for k in near if spans[k][1] > low)

    def forget(self, value: Value) -> None:
        """Who comes after them comes after who writes this value: that one comes after them."""
        low, high = span_of(value)
        for spans in self.spans.values():
            inside = slice(bisect_left(spans, (low,)), bisect_left(spans, (high,)))
            spans[inside] = [span for span in spans[inside] if span[1] > high]


def dependencies(instructions: Sequence[Instruction]) -> list[set[int]]:
    """For each instruction those that have to be done before it."""
    before: list[set[int]] = []
    writers: dict[int, Touched] = defaultdict(Touched)
    readers: dict[int, Touched] = defaultdict(Touched)
    barrier, draw = -1, -1
    for i, instruction in enumerate(instructions):
        needs: set[int] = set() if barrier < 0 else {barrier}
        reads = list(instruction.reads())
        writes = [*instruction.outputs, *instruction.writes]
        for v in (*reads, *writes):
            needs.update(writers[id(v.root)].by(v))
        for v in writes:
            needs.update(readers[id(v.root)].by(v))
        if instruction.function == "call" and not is_check(instruction):
            needs, barrier = set(range(i)), i
        if instruction.function in DRAWS:
            needs |= {draw} - {-1}
            draw = i
        for v in reads:
            readers[id(v.root)].add(i, v)
        for v in writes:
            readers[id(v.root)].forget(v)
            writers[id(v.root)].forget(v)
            writers[id(v.root)].add(i, v)
        needs.discard(i)
        before.append(needs)
    return before


def grouped(instructions: Sequence[Instruction]) -> list[Instruction | Group]:
    """The instructions in an order that lets elementwise ones run in groups."""
    before = dependencies(instructions)
    missing = [len(needs) for needs in before]
    after: list[list[int]] = [[] for _ in instructions]
    for i, needs in enumerate(before):
        for j in needs:
            after[j].append(i)
    steps = [steps_of(i) for i in instructions]
    ready = [i for i, n in enumerate(missing) if n == 0]
    waiting = set(ready)  # of the ready ones, those that nobody took yet
    order: list[Instruction | Group] = []

    def done(i: int) -> None:
        waiting.discard(i)
        for j in after[i]:
            missing[j] -= 1
            if missing[j] == 0:
                heapq.heappush(ready, j)
                waiting.add(j)

    while ready:
        i = heapq.heappop(ready)
        if i not in waiting:
            continue
        own = steps[i]
        group = None if own is None else Group(own[0].out.shape)
        if own is None or group is None or not group.takes(instructions[i], own):
            order.append(instructions[i])
            done(i)
            continue
        order.append(group)
        done(i)
        grew = True
        while grew:
            grew = False
            for j in sorted(waiting):
                theirs = steps[j]
                if theirs and group.is_related(theirs) and group.takes(instructions[j], theirs):
                    done(j)
                    grew = True
    return order


def is_internal(root: Value, group: Group, users: dict[int, set[int]], kept: set[int]) -> bool:
    """Whether a value is made in a group and nobody else ever sees it."""
    return (
        root.kind == "made"
        and root.base is None  # and no view that is written through
        and id(root) not in kept
        and users[id(root)] == {id(group)}
        and any(root is v for v in group.outputs)
        and size(root) == size(group.steps[0].out)
    )
