"""What a plan does, instruction by instruction, and what that costs beside what the CPU can do."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

from tinygrad_cv.backend.arguments import each
from tinygrad_cv.backend.base import Local
from tinygrad_cv.backend.limits import limits
from tinygrad_cv.backend.switch import KERNELS
from tinygrad_cv.printing import aligned, quantity, seconds
from tinygrad_cv.program.fuse import Group
from tinygrad_cv.program.instructions import Instruction, Value
from tinygrad_cv.program.places import size

if TYPE_CHECKING:
    from tinygrad_cv.program.plan import Plan

ROOM = 48
"""For how many characters the steps of a loop, or the arrays that it reads, are told by name."""


def listing(plan: "Plan") -> str:
    """A table of the instructions of a plan.

    - kernel: the function; several are steps of one generated loop, and (in parentheses) ufuncs
      that are called one by one;
    - reads: the arrays with their shapes, and their dtypes where those are not float32; "~" is a
      view. They are called as inputs, parameters and buffers are, and v0, v1, ... by themselves;
    - makes: the same, and where: "@64" lies 64 bytes behind the start of the plan's own memory,
      where others lie before and after; "fresh" is memory that each replay gets anew, and "there"
      what lives outside, and is changed in place. What stays in registers is left out;
    - bytes: those of the arrays that are read and made;
    - FLOP: operations on numbers, a multiply-add as two, of what is not a product one for each
      element; those of the formula, though Winograd's tiles take fewer;
    - at least: how long that takes at the limits of the CPU (`backend.limits`); or, after
      `Compiled.profile`, the time, operations and bytes in a second, and the share of the time that
      it takes at least. The share may be over 100 %, where the bytes came from a cache;
    - line: where in the program it comes from.
    """
    limit = limits()
    times = plan.times
    named = Names()
    head = ["", "kernel", "reads", "makes", "bytes", "FLOP"]
    head += ["at least"] if times is None else ["time", "FLOP/s", "B/s", "of limit"]
    rows = [[*head, "line"]]
    least = 0.0
    for i, instruction in enumerate(plan.order):
        nbytes, work = moved(plan, instruction), flops(instruction)
        bound = limit.seconds(work, nbytes)
        least += bound
        cells = [
            str(i),
            kernel(instruction),
            listed(map(named, read_by(plan, instruction))),
            listed(f"{named(v)} {place(plan, v)}" for v in made_by(plan, instruction)),
            quantity(nbytes, "B"),
            quantity(work),
        ]
        if times is None:
            cells.append(seconds(bound))
        elif not times[i]:  # nothing is left to do, as of a view
            cells += ["–"] * 4
        else:
            rates = quantity(work / times[i]), quantity(nbytes / times[i])
            cells += [seconds(times[i]), *rates, f"{bound / times[i]:.0%}"]
        rows.append([*cells, instruction.line])
    lines, rule = aligned(rows, f"rlllrr{'r' if times is None else 'rrrr'}l")
    told = f"at least {seconds(least)}"
    if times is not None:
        total = sum(times)
        told = f"{seconds(total)}, of which {least / total:.0%} at the limits"
    return "\n".join(
        [
            f"{len(plan.order)} instructions of {plan.recorded} recorded; "
            f"{quantity(plan.bytes, 'B')} of memory, {quantity(plan.bytes_apart, 'B')} without "
            "reuse",
            f"{told}; limits measured: {limit}",
            rule,
            lines[0],
            rule,
            *lines[1:],
        ]
    )


class Names:
    """What the values of a plan are called, each by a name of its own."""

    def __init__(self) -> None:
        self.found: dict[Value, str] = {}
        self.numbers = count()

    def __call__(self, value: Value) -> str:
        """Its name, its shape, and its dtype if that is not float32."""
        shape = "x".join(map(str, value.shape)) or "1"
        dtype = "" if value.dtype == "float32" else f" {value.dtype}"
        return f"{self.of(value)} {shape}{dtype}"

    def of(self, value: Value) -> str:
        """Its name alone."""
        root = value.root
        if root not in self.found:
            letter = "v" if root.kind == "made" else "c" if root.kind == "constant" else "h"
            self.found[root] = root.name or f"{letter}{next(self.numbers)}"
        return f"{self.found[root]}{'' if value is root else '~'}"


def listed(words: Iterable[str], separator: str = ", ", room: int = ROOM) -> str:
    """As many of them as there is room for, one at least, and how many more there are."""
    told, *rest = [*words] or [""]
    while rest and len(told) + len(rest[0]) < room:
        told += separator + rest.pop(0)
    return f"{told} and {len(rest)} more" if rest else told


def kernel(instruction: Instruction | Group) -> str:
    """What an instruction calls."""
    if isinstance(instruction, Group):
        told = listed((step.name for step in instruction.steps), " ", ROOM // 2)
        return told if instruction.is_generated(KERNELS.compiled) else f"({told})"
    if instruction.function in ("call", "pointwise", "gate", "gate_backward"):
        return str(instruction.args[0])
    if instruction.function == "image_pass":
        return listed((name for name, *_ in instruction.args[0]), " - ", ROOM // 2)
    return instruction.function


def place(plan: "Plan", value: Value) -> str:
    """Where a value lies."""
    if value.root.kind in ("held", "input"):
        return "there"
    return f"@{plan.place[id(value.root)]:,}" if id(value.root) in plan.place else "fresh"


# ----- costs -------------------------------------------------------------------------------------


def read_by(plan: "Plan", instruction: Instruction | Group) -> Iterator[Value]:
    """The values that it reads from memory."""
    return _in_memory(plan, instruction.reads())


def made_by(plan: "Plan", instruction: Instruction | Group) -> Iterator[Value]:
    """The values that it writes to memory."""
    return _in_memory(plan, (*instruction.outputs, *instruction.writes))


def _in_memory(plan: "Plan", values: Iterable[Value]) -> Iterator[Value]:
    return (v for v in dict.fromkeys(values) if id(v.root) not in plan.inlined)


def moved(plan: "Plan", instruction: Instruction | Group) -> int:
    """How many bytes an instruction reads and writes."""
    values = (*read_by(plan, instruction), *made_by(plan, instruction))
    return sum(v.nbytes for v in values)


def _of_convolution(y: Any, weight: Any) -> int:
    """Each element of the result meets each weight of its channel."""
    return 2 * size(y) * (size(weight) // max(1, int(weight.shape[0])))


PRODUCTS: dict[str, Callable[[Sequence[Any], Sequence[Any]], int]] = {
    "matmul": lambda args, made: 2 * size(made[0]) * int(args[0].shape[-1]),
    "conv": lambda args, made: _of_convolution(made[0], args[1]),
    "conv_transpose": lambda args, made: _of_convolution(args[0], args[1]),
    "conv_weight": lambda args, made: _of_convolution(args[1], made[0]),
}
"""What multiplies, and how many operations that takes, by its arguments and results."""

MOVES = """
    array copy copyto getitem setitem take take_along_axis reshape transpose astype pad roll flip
    repeat tile concatenate stack broadcast_to packbits unpackbits call
""".split()  # noqa: SIM905  as in `backend.base.NAMESPACE`
"""What moves elements only, or may do anything."""


def flops(instruction: Instruction | Group) -> int:
    """How many operations on numbers an instruction takes."""
    if isinstance(instruction, Group):
        return len(instruction.steps) * instruction.rows * instruction.columns
    if instruction.function == "image_pass":
        return sum(_flops(name, args, made) for name, args, _, made in instruction.args[0])
    return _flops(instruction.function, instruction.args, instruction.outputs)


def _flops(name: str, args: Sequence[Any], made: Sequence[Any]) -> int:
    if name in MOVES:
        return 0
    if name in PRODUCTS:
        return PRODUCTS[name](args, made)
    shaped = (v for v in each((args, made)) if isinstance(v, Value | Local))
    return max(map(size, shaped), default=0)
