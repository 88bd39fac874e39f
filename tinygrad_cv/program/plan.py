"""A recorded program made ready to be replayed: what is needed, where it lies, what is called.

Planning takes a copy of the program and, in this order,

1. sees through what was packed into bits and unpacked again (`unpacked`);
2. leaves out what nobody reads (`needed`), joins layers (`patterns.join`) and passes over images
   (`passes.image_passes`), and works out once what is the same each time;
3. does for all steps of a sequence at once what it does at each (`steps.at_once`);
4. puts elementwise instructions together (`fuse.grouped`);
5. gives each value a place in one arena, by the time in which it is alive (`arranged`);
6. binds each instruction to its arrays (`emit.calls_of`).

A replay is then a list of calls, one after another.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.backend.arguments import exchanged
from tinygrad_cv.backend.base import Backend
from tinygrad_cv.backend.locks import Locked
from tinygrad_cv.backend.switch import KERNELS
from tinygrad_cv.backend.threads import on_one_blas_thread
from tinygrad_cv.program import emit
from tinygrad_cv.program.blocks import is_for_blocks
from tinygrad_cv.program.fuse import DRAWS, Group, grouped, is_internal
from tinygrad_cv.program.instructions import Instruction, Program, Value
from tinygrad_cv.program.interpret import function_of
from tinygrad_cv.program.listing import listing
from tinygrad_cv.program.passes import image_passes
from tinygrad_cv.program.patterns import join
from tinygrad_cv.program.places import empty_like, span
from tinygrad_cv.program.steps import at_once

Array = Any

ALIGNMENT = 64
LARGE = 1 << 15
"""From how many bytes on an array is not copied to its place, but looked up where it is."""


class Plan(Locked):
    """A program that can be replayed on the host.

    `plan.run(inputs)` gives the outputs, which are the caller's own arrays. `print(plan)` lists it
    (see `listing`), and `times` has the shortest time of each instruction once one was `timed`.
    """

    def __init__(self, program: Program, xp: Backend) -> None:
        super().__init__()
        self.xp, self.source = xp, program
        self._plan()

    def _plan(self) -> None:
        """Plan the program, for the memory outside of it that is there now."""
        xp = self.xp
        program, new = copied(self.source)
        self.outside = [(v, v.array) for v in new if v.kind == "held"]
        self.recorded = len(program.instructions)
        simplified(program, xp)
        self.program = program
        work = [i for i in program.instructions if not is_view(i)]
        self.order = grouped(work)
        compiled = KERNELS.compiled
        self.inlined = inlined(
            self.order, program, lambda g: g.is_generated(compiled) or is_for_blocks(g)
        )
        self._settle()
        self.calls: list[emit.Call] = []
        self.number: list[int] = []  # which of the instructions a call belongs to
        last = self._last_uses()
        for i, instruction in enumerate(self.order):
            calls = emit.calls_of(instruction, self.memory, xp, compiled)
            calls += [self.memory.forget(root) for root in last.get(i, ())]
            self.calls += calls
            self.number += [i] * len(calls)
        self.times: list[float] | None = None

    # ----- planning --------------------------------------------------------------------------

    def _settle(self) -> None:
        """Find memory for all values."""
        program, memory = self.program, emit.Slots()
        self.memory = memory
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        roots: dict[int, Value] = {}
        written: set[int] = set()
        for i, instruction in enumerate(self.order):
            for v in (*instruction.reads(), *instruction.outputs, *instruction.writes):
                root = v.root
                roots[id(root)] = root
                first.setdefault(id(root), i)
                last[id(root)] = i
            written |= {id(v.root) for v in instruction.writes}
        for v in (*program.inputs, *program.outputs):
            roots.setdefault(id(v.root), v.root)
        self.late: dict[int, Value] = {}
        for instruction in self.order:
            if isinstance(instruction, Group) or emit.writes_in_place(instruction, self.xp):
                continue
            for v in emit.made_by(instruction):
                if v.nbytes >= LARGE:
                    memory.expect(v)
                    self.late[id(v)] = v
        self.copied_inputs = []
        for v in program.inputs:
            if v.nbytes < LARGE and id(v) not in written:
                self.copied_inputs.append(v)
            else:
                memory.expect(v)
        kept = {id(v.root) for v in program.outputs}
        planned: list[tuple[int, int, Value]] = []
        for root in roots.values():
            if root.kind in ("held", "constant"):
                memory.settle(root, root.array)
            elif memory.is_late(root) or id(root) in self.inlined:
                continue
            elif root.kind == "made" and id(root) in kept and root.nbytes >= LARGE:
                memory.expect(root)
                memory.fresh.append(root)
            elif root.kind == "input" or id(root) in kept:
                planned.append((-1, len(self.order), root))
            else:
                planned.append((first[id(root)], last[id(root)], root))
        self.offsets, self.bytes = arranged([(a, b, extent(root)) for a, b, root in planned])
        self.bytes_apart = sum(extent(root) for _, _, root in planned)
        arena = host.empty(self.bytes + ALIGNMENT, "uint8")
        arena = arena[-arena.ctypes.data % ALIGNMENT :]
        self.arena = arena[: self.bytes]
        self.place: dict[int, int] = {}
        for (_, _, root), offset in zip(planned, self.offsets, strict=True):
            low, _ = span(root.shape, root.strides, root.dtype.itemsize)
            array = host.ndarray(root.shape, root.dtype, arena, offset - low, root.strides)
            memory.settle(root, array)
            self.place[id(root)] = offset
        self.last = last

    def _last_uses(self) -> dict[int, list[Value]]:
        """After which instruction a value that comes and goes can go."""
        kept = {id(v.root) for v in self.program.outputs}
        leaving: dict[int, list[Value]] = {}
        for root in self.late.values():
            if id(root) not in kept:
                leaving.setdefault(self.last[id(root)], []).append(root)
        return leaving

    # ----- replaying -------------------------------------------------------------------------

    def run(self, inputs: Sequence[Array], timed: bool = False) -> list[Array]:
        """Replay the program on these arrays."""
        with self.lock, self.xp.active:
            if any(value.array is not array for value, array in self.outside):
                self._plan()
            try:
                self.memory.renew()
                self._enter(inputs)
                on_one_blas_thread(self._replay_timed if timed else self._replay)
                return self._results()
            finally:
                self._clear()

    def _replay(self) -> None:
        for function, args in self.calls:
            function(*args)

    def _replay_timed(self) -> None:
        spent = [0.0] * len(self.order)
        for i, (function, args) in zip(self.number, self.calls, strict=True):
            start = perf_counter()
            function(*args)
            spent[i] += perf_counter() - start
        self.times = spent if self.times is None else list(map(min, self.times, spent))

    def _enter(self, inputs: Sequence[Array]) -> None:
        for value, array in zip(self.program.inputs, inputs, strict=True):
            if array.shape != value.shape or array.dtype != value.dtype:
                raise ValueError(
                    f"the program was recorded for an input {value.shape} of {value.dtype}; got "
                    f"{array.shape} of {array.dtype}."
                )
            if self.memory.is_late(value):
                self.memory.put(value, array)
            else:
                host.copyto(self.memory.homes[id(value)], array)

    def _results(self) -> list[Array]:
        results = []
        for value in self.program.outputs:
            array = self.memory.array(value)
            if type(array) is emit.Late:
                array = array.get()
                results.append(array.copy() if value.root.kind == "input" else array)
            else:
                results.append(array.copy("K"))
        return results

    def _clear(self) -> None:
        slots = self.memory.slots
        slots[:] = [None] * len(slots)

    # ----- reading ---------------------------------------------------------------------------

    def __str__(self) -> str:
        return listing(self)


# ----- steps of planning -------------------------------------------------------------------------


def copied(program: Program) -> tuple[Program, list[Value]]:
    """The program with values of its own, to be changed; and the values that it had."""
    new: dict[Value, Value] = {}

    def value(v: Value) -> Value:
        if v not in new:
            base = None if v.base is None else value(v.base)
            new[v] = replace(v, base=base)
        return new[v]

    def tree(t: Any) -> Any:
        return exchanged(lambda x: value(x) if isinstance(x, Value) else x, t)

    copy = Program(
        [
            replace(
                i,
                args=tree(i.args),
                options=tree(i.options),
                outputs=tree(i.outputs),
                writes=tree(i.writes),
            )
            for i in program.instructions
        ],
        tree(program.inputs),
        tree(program.outputs),
        {value(v): origin for v, origin in program.origins.items()},
    )
    return copy, list(new)


def simplified(program: Program, xp: Backend) -> None:
    """Change the program to do the same with less."""
    if xp.device.type != "cpu":
        program.instructions = needed(program, views=True)
        return
    unpacked(program)
    moved(program)
    program.instructions = needed(program)
    if KERNELS.compiled:
        image_passes(join(program))
    fold(program, xp)
    program.instructions = needed(program)
    at_once(program)


def inlined(
    order: Sequence[Instruction | Group], program: Program, is_one: Callable[[Group], bool]
) -> set[int]:
    """The values that never leave a group that `is_one` loop."""
    kept = {id(v.root) for v in program.outputs}
    users: dict[int, set[int]] = {}
    for instruction in order:
        for v in (*instruction.reads(), *instruction.outputs, *instruction.writes):
            users.setdefault(id(v.root), set()).add(id(instruction))
    found: set[int] = set()
    for group in order:
        if isinstance(group, Group) and is_one(group):
            group.internal = {id(v) for v in group.outputs if is_internal(v, group, users, kept)}
            found |= group.internal
    return found


def is_view(instruction: Instruction) -> bool:
    """Whether it only says where something lies."""
    outputs = instruction.outputs
    return (
        bool(outputs)
        and not instruction.writes
        and not instruction.placed
        and instruction.function != "call"
        and all(v.base is not None for v in outputs)
    )


def unpacked(program: Program) -> None:
    """What is unpacked lies where it was before it was packed: nothing is done at all."""
    packed: dict[int, Value] = {}
    all_values = {
        id(v): v for i in program.instructions for v in (*i.reads(), *i.outputs, *i.writes)
    }
    writes = {id(v.root) for i in program.instructions for v in i.writes}
    for instruction in program.instructions:
        if instruction.options or len(instruction.args) != 1 or len(instruction.outputs) != 1:
            continue
        (source,), (result,) = instruction.args, instruction.outputs
        if not isinstance(source, Value):
            continue
        dense = source.nbytes == sum(map(abs, span(source.shape, source.strides, 1)))
        if instruction.function == "packbits" and source.dtype == bool and dense:
            if id(source.root) not in writes and all(s >= 0 for s in source.strides):
                packed[id(result)] = source
        elif instruction.function == "unpackbits" and id(source) in packed:
            truth = packed[id(source)]
            views = [v for v in all_values.values() if v.base is result]
            readers = [
                i
                for i in program.instructions
                if any(v is result for v in i.reads()) and not is_view(i)
            ]
            if readers or any(v is result for v in program.outputs) or id(result) in writes:
                continue
            for v in (*views, result):
                v.base = truth.root
                v.offset += truth.offset


def moved(program: Program) -> None:
    """A copy of what nobody looks at any more is no copy: the value goes on under its name."""
    last: dict[Value, int] = {}
    for i, instruction in enumerate(program.instructions):
        for v in (*instruction.reads(), *instruction.outputs, *instruction.writes):
            last[v.root] = i
    outputs = {v.root for v in program.outputs}
    renamed: dict[Value, Value] = {}
    kept = []
    for i, instruction in enumerate(program.instructions):
        if instruction.function in ("array", "copy") and len(instruction.outputs) == 1:
            (new,), old = instruction.outputs, instruction.args[0]
            if isinstance(old, Value):
                old = renamed.get(old, old)
                if (
                    (old.kind, old.base, new.base) == ("made", None, None)
                    and (old.shape, old.strides, old.dtype) == (new.shape, new.strides, new.dtype)
                    and last[old] == i
                    and old not in outputs
                ):
                    renamed[new] = old
                    old.name = old.name or new.name
                    last[old] = last[new]
                    if new in outputs:
                        outputs.add(old)
                    continue
        kept.append(instruction)
    if not renamed:
        return

    def now(x: Any) -> Any:
        if not isinstance(x, Value):
            return x
        if x.base in renamed:
            x.base = renamed[x.base]
        return renamed.get(x, x)

    tree = partial(exchanged, now)
    program.instructions = kept
    for each in kept:
        each.args, each.options = tree(each.args), tree(each.options)
        each.outputs, each.writes = tree(each.outputs), tree(each.writes)
    program.outputs = tree(program.outputs)


def needed(program: Program, views: bool = False) -> list[Instruction]:
    """The instructions somebody waits for: an output, memory outside of the program, or a call.

    What only says where a value lies is among them with `views`.
    """
    alive = {id(v.root) for v in program.outputs}
    if views:
        alive |= set(map(id, program.outputs))
    outside = ("held", "input")
    kept = []
    for instruction in reversed(program.instructions):
        changed = [*instruction.writes, *(instruction.outputs if instruction.placed else ())]
        if (
            instruction.function == "call"
            or instruction.function in DRAWS
            or any(id(v) in alive and v.kind == "made" for v in instruction.outputs)
            or any(id(v.root) in alive or v.root.kind in outside for v in changed)
        ):
            touched = [*instruction.reads(), *changed]
            alive |= {id(v.root) for v in touched}
            if views:
                alive |= set(map(id, touched))
            kept.append(instruction)
    return kept[::-1]


def fold(program: Program, xp: Backend) -> None:
    """Work out once what is made of constants alone."""
    changing = {id(v.root) for i in program.instructions for v in i.writes}
    memory = emit.Slots()
    for instruction in program.instructions:
        if (
            instruction.function in ("call", "empty", "empty_like", *DRAWS)
            or instruction.writes
            or is_view(instruction)
            or not all(v.root.kind == "constant" for v in instruction.reads())
            or any(id(v) in changing or v.base is not None for v in instruction.outputs)
        ):
            continue
        for v in instruction.reads():
            memory.settle(v.root, v.root.array)
        function: Callable[..., Any] = function_of(xp, instruction.function)
        with xp.active:
            made = function(*memory.tree(instruction.args), **memory.tree(instruction.options))
        results = (made,) if len(instruction.outputs) == 1 else made
        for v, array in zip(instruction.outputs, results, strict=True):
            v.kind = "constant"
            v.array = host.asarray(array)
            if v.array.strides != v.strides:
                v.array = empty_like(v)
                host.copyto(v.array, array)


def extent(root: Value) -> int:
    """The bytes it takes in memory."""
    low, high = span(root.shape, root.strides, root.dtype.itemsize)
    return high - low


def arranged(lives: Sequence[tuple[int, int, int]]) -> tuple[list[int], int]:
    """A place for each (first use, last use, bytes), and how many bytes are taken in all.

    The largest come first, each to the lowest place that is free all its life.
    """
    offsets = [0] * len(lives)
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first, last
    total = 0
    for i in sorted(range(len(lives)), key=lambda i: (-lives[i][2], lives[i][0])):
        first, last, count = lives[i]
        count = -(-max(count, 1) // ALIGNMENT) * ALIGNMENT
        at = 0
        for start, end, a, b in placed:
            if a <= last and first <= b:
                if at + count <= start:
                    break
                at = max(at, end)
        offsets[i] = at
        placed.append((at, at + count, first, last))
        placed.sort()
        total = max(total, at + count)
    return offsets, total
