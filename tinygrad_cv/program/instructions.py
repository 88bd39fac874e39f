"""What a recorded program consists of: values, and instructions that make them of others.

A program is straight-line code. Every array that was seen while it was recorded is a `Value`; every
call that made or changed one is an `Instruction`, in the order in which they ran. Views are values
too: they know the value whose memory they lie in, and where.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from tinygrad_cv._graph import Scope
from tinygrad_cv.backend.arguments import each

Kind = Literal["made", "input", "held", "constant"]


@dataclass(eq=False)
class Value:
    """An array of the program.

    - "made": by an instruction. Its memory is planned.
    - "input": an argument of the compiled function; each replay brings its own.
    - "held": memory that lives outside, such as a parameter, a running mean or a tensor that the
      function found by itself. It is read and written where it is, at each replay.
    - "constant": made from Python's numbers while recording, never written, the same each time.

    `base` is the value whose memory a view lies in (never a view itself), with the offset of its
    first element in bytes. `array` is the array of a held value or a constant.
    """

    shape: tuple[int, ...]
    dtype: Any
    strides: tuple[int, ...]
    kind: Kind = "made"
    base: "Value | None" = None
    offset: int = 0
    array: Any = None
    name: str = ""

    @property
    def root(self) -> "Value":
        """The value that owns the memory."""
        return self if self.base is None else self.base

    @property
    def nbytes(self) -> int:
        """The bytes of its elements."""
        size = int(self.dtype.itemsize)
        for n in self.shape:
            size *= n
        return size


@dataclass(eq=False)
class Instruction:
    """One call: `outputs = function(*args, **options)`, with values in place of arrays.

    `function` is a name in `NAMESPACE`, a kernel of `Backend`, or what arrays do by themselves:
    "getitem", "setitem", "copyto", "astype", "reshape", "transpose" ... A name of a ufunc with an
    `out` among its outputs' own memory is a change in place: then `writes` lists the values whose
    memory it changes. A "call" runs a Python function of the host, such as a step of an optimizer.
    `line` is where in the user's code it came from.
    """

    function: str
    args: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)
    outputs: tuple[Value, ...] = ()
    writes: tuple[Value, ...] = ()
    line: str = ""

    def reads(self) -> Iterator[Value]:
        """The values among its arguments, in their order."""
        yield from values_in(self.args)
        yield from values_in(self.options)


class Origin(NamedTuple):
    """What a value was made for: a part of the step, and a call of a module.

    "update" is what changes held memory from outside of modules and of backward passes, such as the
    step of an optimizer.
    """

    part: Literal["forward", "backward", "update"]
    scope: Scope | None


@dataclass(eq=False)
class Program:
    """A recorded step: its instructions, what goes in and what comes out.

    `origins` says what the values were made for that instructions made or changed.
    """

    instructions: list[Instruction]
    inputs: list[Value]
    outputs: list[Value]
    origins: dict[Value, Origin] = field(default_factory=dict)


def assumptions_first(program: Program) -> None:
    """Move what a program assumes of its inputs to the front, before it changes anything.

    What an assumption is made of moves with it, as far as it is made of the inputs alone.
    """
    made_by = {v: i for i in program.instructions for v in i.outputs}
    written = {v.root for i in program.instructions for v in i.writes}
    first: dict[Instruction, None] = {}

    def sources(instruction: Instruction) -> list[Instruction] | None:
        found: list[Instruction] = []
        for value in instruction.reads():
            if value.root in written:
                return None
            maker = made_by.get(value)
            before = [] if maker is None else sources(maker)
            if before is None or (maker is not None and maker.function == "call"):
                return None
            found += [*before, *([maker] if maker is not None else [])]
        return found

    for instruction in program.instructions:
        if instruction.function == "call" and getattr(instruction.args[0], "assumes", False):
            before = sources(instruction)
            if before is not None:
                first |= dict.fromkeys([*before, instruction])
    rest = [i for i in program.instructions if i not in first]
    program.instructions[:] = [*first, *rest]


def values_in(tree: Any) -> Iterator[Value]:
    """The values in tuples, lists, dicts and slices."""
    return (x for x in each(tree) if isinstance(x, Value))
