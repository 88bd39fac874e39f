"""Layers that go image by image, put together in passes: `Backend.image_pass` does one.

Batch norm is taken apart, for its sums over all images end one pass and what it does with them
begins the next. So a pass of the forward is

    [batch norm and activation - ] convolution [ - moments of the next batch norm]

and stands where the first of these stood; one of the backward is

    gradient of them - gradients of the convolution [ - sums of the batch norm below]

and stands where the gradient of batch norm stood. In evaluation, with given statistics, it is

    convolution - batch norm and activation

What only the convolution and its weight's gradient look at is worked out in both, and nowhere kept.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tinygrad_cv.backend.base import Local
from tinygrad_cv.program.instructions import Instruction, Program, Value
from tinygrad_cv.program.patterns import WORTH_A_PASS
from tinygrad_cv.program.places import size

Stage = tuple[str, tuple[Any, ...], dict[str, Any], tuple[Local, ...]]

CONVOLUTIONS = ("conv", "conv_transpose", "conv_weight")


@dataclass(eq=False)
class Norm:
    """A batch norm with what `join` joined to it, and where its two halves went."""

    forward: Instruction
    backward: Instruction | None = None
    has_moments: bool = False  # in the pass of the convolution before it
    is_taken: bool = False  # by the pass of the convolution after it
    has_sums: bool = False  # in the pass of the gradient that reaches it

    @property
    def x(self) -> Value:
        x: Value = self.forward.args[0]
        return x

    @property
    def maps(self) -> tuple[Value, ...]:
        """y, or y and the index of windows."""
        return self.forward.outputs[:-2]

    @property
    def kernel(self) -> Any:
        return self.forward.options.get("kernel")

    @property
    def norm(self) -> tuple[Any, ...]:
        """(mean, var, weight, bias, eps), as `Backend.normalized` takes it."""
        return *self.forward.outputs[-2:], *self.forward.args[1:4]

    @property
    def how(self) -> dict[str, Any]:
        if self.kernel is not None:
            return {"kernel": self.kernel}
        plain = self.forward.function == "batch_norm"
        return {"top": None if plain else self.forward.options.get("top", math.inf)}

    @property
    def name(self) -> str:
        return "normalized" if self.kernel is None else "pooled"

    def gradient_of(self, g: Any) -> tuple[Any, ...]:
        """The maps that its gradient is made of."""
        return (g, self.x) if self.kernel is None else (g, *self.maps, self.x)


class Given(Norm):
    """One with given statistics, as `join` makes it."""

    @property
    def maps(self) -> tuple[Value, ...]:
        return self.forward.outputs

    @property
    def norm(self) -> tuple[Any, ...]:
        found: tuple[Any, ...] = self.forward.args[1]
        return found

    @property
    def how(self) -> dict[str, Any]:
        return self.forward.options


@dataclass(eq=False)
class Pass:
    """Stages, and which of their results are values of the program."""

    stages: list[Stage] = field(default_factory=list)
    made: dict[Value, Local] = field(default_factory=dict)
    numbers: Any = field(default_factory=count)

    def add(
        self, name: str, args: tuple[Any, ...], options: dict[str, Any], results: Iterable[Value]
    ) -> None:
        args = tuple(self.made.get(a, a) if isinstance(a, Value) else a for a in args)
        own = {v: Local(next(self.numbers), v.shape) for v in results}
        self.made |= own
        self.stages.append((name, args, options, tuple(own.values())))

    def moments(self, norm: Norm) -> None:
        self.add("channel_moments", (norm.x,), {}, norm.forward.outputs[-2:])

    def activation(self, norm: Norm) -> None:
        self.add(norm.name, (norm.x, norm.norm), norm.how, norm.maps)

    def sums(self, norm: Norm) -> None:
        assert norm.backward is not None
        maps = norm.gradient_of(norm.backward.args[0])
        results = norm.backward.outputs[1:]
        self.add(f"{norm.name}_sums", (*maps, norm.norm), norm.how, results)

    def gradient(self, norm: Norm) -> None:
        assert norm.backward is not None
        g, (dx, *sums) = norm.backward.args[0], norm.backward.outputs
        args = *norm.gradient_of(g), norm.norm, *sums
        self.add(f"{norm.name}_backward", args, norm.how, (dx,))

    def convolution(self, instruction: Instruction) -> None:
        self.add(instruction.function, instruction.args, instruction.options, instruction.outputs)

    def instruction(self, line: str, without: Iterable[Value] = ()) -> Instruction:
        dropped = set(without)
        outputs = {v: local for v, local in self.made.items() if v not in dropped}
        args = tuple(self.stages), tuple(outputs.values())
        return Instruction("image_pass", args, {}, tuple(outputs), line=line)


class _Passes:
    """The passes of one program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.place = {instruction: i for i, instruction in enumerate(program.instructions)}
        self.maker: dict[Value, int] = {}
        self.readers: dict[Value, list[Instruction]] = {}
        self.writes: dict[Value, list[int]] = {}
        self.norms: dict[Value, Norm] = {}  # by their mean
        self.given: list[Given] = []
        for i, instruction in enumerate(program.instructions):
            for v in instruction.reads():
                self.readers.setdefault(v.root, []).append(instruction)
            for v in instruction.writes:
                self.writes.setdefault(v.root, []).append(i)
            for v in instruction.outputs:
                self.maker.setdefault(v.root, i)
            self._meet(instruction)
        self.outputs = {v.root for v in program.outputs}
        self.by_x = {norm.x: norm for norm in self.norms.values()}
        self.by_y = {norm.maps[0]: norm for norm in self.norms.values()}
        self.by_g = {n.backward.args[0]: n for n in self.norms.values() if n.backward is not None}
        self.instead: dict[Instruction, list[Instruction]] = {}

    def _meet(self, instruction: Instruction) -> None:
        name, args = instruction.function, instruction.args
        if name in ("normalized", "pooled"):
            self.given.append(Given(instruction))
        if not name.startswith("batch_norm") or args[0].dtype != "float32":
            return
        if not name.endswith("_backward"):
            self.norms[instruction.outputs[-2]] = Norm(instruction)
            return
        mean = args[-3]
        norm = self.norms.get(mean)
        if norm is not None and f"{norm.forward.function}_backward" == name:
            same = norm.gradient_of(args[0])
            if norm.backward is None and all(a is b for a, b in zip(args, same, strict=False)):
                norm.backward = instruction

    def is_steady(self, values: Iterable[Any], *instructions: Instruction) -> bool:
        """Whether values stay what they are from the first to the last of these instructions."""
        places = [self.place[i] for i in instructions]
        span = range(min(places), max(places) + 1)
        roots = {v.root for v in values if isinstance(v, Value)}
        return not any(at in span for root in roots for at in self.writes.get(root, ()))

    def is_there(self, value: Any, instruction: Instruction) -> bool:
        """Whether a value is made before an instruction."""
        return not isinstance(value, Value) or (
            self.maker.get(value.root, -1) < self.place[instruction]
        )

    def form(self) -> None:
        from tinygrad_cv.backend.compiled.passes import is_for_pass

        convolutions = [
            i
            for i in self.program.instructions
            if i.function in CONVOLUTIONS
            and not i.options
            and size(i.args[0]) >= WORTH_A_PASS
            and is_for_pass(i.function, i.args)
        ]
        for given in self.given:
            self._given(given, {c.outputs[0]: c for c in convolutions if c.function == "conv"})
        forward: list[tuple[Instruction, Norm | None, Norm | None]] = []
        for conv in convolutions:
            if conv.function == "conv" and conv not in self.instead:
                before, after = self._around(conv)
                if before is not None or after is not None:
                    forward.append((conv, before, after))
        backward = [
            (norm, found)
            for norm in self.norms.values()
            if norm.backward is not None and (found := self._gradients(norm, set(convolutions)))
        ]
        again = {
            v.args[0]: v for _, found in backward for v in found if v.function == "conv_weight"
        }
        unkept = {
            before.maps[0]
            for conv, before, _ in forward
            if before is not None and self._is_seen_by(before, conv, again.get(before.maps[0]))
        }
        for conv, before, after in forward:
            self._forward(conv, before, after, unkept)
        for norm, found in backward:
            self._backward(norm, found, unkept)
        self._rest()

    def _given(self, norm: Given, made_by: dict[Value, Instruction]) -> None:
        """A pass of batch norm with given statistics, and of the convolution before it."""
        made, conv = Pass(), made_by.get(norm.x)
        if (
            conv is not None
            and self.readers[norm.x] == [norm.forward]
            and norm.x not in self.outputs
            and self.is_steady((*conv.args, norm.x), conv, norm.forward)
        ):
            made.convolution(conv)
            self.instead[conv] = []
        made.activation(norm)
        dropped = [norm.x, *(v for v in norm.maps if not self._is_read(v, set()))]
        self.instead[norm.forward] = [made.instruction(norm.forward.line, dropped)]

    def _around(self, conv: Instruction) -> tuple[Norm | None, Norm | None]:
        """The batch norms before and after a convolution that its pass takes in."""
        x, y = conv.args[0], conv.outputs[0]
        before, after = self.by_y.get(x), self.by_x.get(y)
        if before is not None and (
            before.is_taken
            or not all(self.is_there(a, before.forward) for a in conv.args[1:])
            or not self.is_steady((*before.forward.args, *conv.args), before.forward, conv)
        ):
            before = None
        if after is not None and not self.is_steady((y,), conv, after.forward):
            after = None
        if before is not None:
            before.is_taken = True
        if after is not None:
            after.has_moments = True
        return before, after

    def _gradients(self, norm: Norm, able: set[Instruction]) -> list[Instruction]:
        """The gradients of the convolution before a batch norm that its backward takes in."""
        assert norm.backward is not None
        dx = norm.backward.outputs[0]
        found = []
        for reader in self.readers.get(dx, ()):
            at = {"conv_transpose": 0, "conv_weight": 1}.get(reader.function)
            if (
                at is not None
                and reader in able
                and reader.args[at] is dx
                and all(a is dx or self.is_there(a, norm.backward) for a in reader.args)
                and self.is_steady((*reader.args, *norm.forward.args), norm.forward, reader)
            ):
                found.append(reader)
        return sorted(found, key=lambda i: i.function)

    def _is_seen_by(self, norm: Norm, conv: Instruction, gradient: Instruction | None) -> bool:
        """Whether nobody else sees what it makes, and the gradient can make it again."""
        if gradient is not None and not self.is_steady(norm.forward.args, norm.forward, gradient):
            return False
        seen = {r for v in norm.maps for r in self.readers.get(v, ())}
        kept = any(v in self.outputs for v in norm.maps)
        return norm.kernel is None and not kept and seen <= {conv, gradient}

    def _forward(
        self, conv: Instruction, before: Norm | None, after: Norm | None, unkept: set[Value]
    ) -> None:
        made = Pass()
        if before is not None:
            made.activation(before)
        made.convolution(conv)
        if after is not None:
            made.moments(after)
        dropped = [] if before is None else [v for v in before.maps if not self._is_read(v, unkept)]
        instruction = made.instruction(conv.line, dropped)
        self.instead[conv] = []
        self.instead.setdefault(conv if before is None else before.forward, []).append(instruction)

    def _is_read(self, value: Value, unkept: set[Value]) -> bool:
        """Whether somebody outside of the pass that makes it reads a map."""
        return value not in unkept and (value in self.readers or value in self.outputs)

    def _backward(self, norm: Norm, found: list[Instruction], unkept: set[Value]) -> None:
        assert norm.backward is not None
        made, dx = Pass(), norm.backward.outputs[0]
        made.gradient(norm)
        dropped = [] if len(found) < len(self.readers[dx]) or dx in self.outputs else [dx]
        for gradient in found:
            x = gradient.args[0]
            if x in unkept:
                made.activation(self.by_y[x])
                dropped.append(x)
            made.convolution(gradient)
            self.instead[gradient] = []
            below = self.by_g.get(gradient.outputs[0])
            if gradient.function == "conv_transpose" and below is not None:
                assert below.backward is not None
                steady = self.is_steady(below.forward.args, below.forward, below.backward)
                if steady and self.is_steady(gradient.outputs, gradient, below.backward):
                    below.has_sums = True
                    made.sums(below)
        self.instead[norm.backward] = [made.instruction(norm.backward.line, dropped)]

    def _rest(self) -> None:
        """The halves of batch norms that no pass took in, each by itself."""
        for norm in self.norms.values():
            here, back = norm.forward, norm.backward
            if norm.has_moments or norm.is_taken:
                passes = self.instead.setdefault(here, [])
                if not norm.has_moments:
                    passes.insert(0, self._alone("moments", norm, here))
                if not norm.is_taken:
                    passes.append(self._alone("activation", norm, here))
            if back is not None and (norm.has_sums or back in self.instead):
                passes = self.instead.setdefault(back, [])
                if not passes:
                    passes.append(self._alone("gradient", norm, back))
                if not norm.has_sums:
                    passes.insert(0, self._alone("sums", norm, back))

    @staticmethod
    def _alone(half: str, norm: Norm, here: Instruction) -> Instruction:
        made = Pass()
        getattr(made, half)(norm)
        return made.instruction(here.line)


def image_passes(program: Program) -> Program:
    """Put layers together that go image by image."""
    passes = _Passes(program)
    if passes.norms or passes.given:
        passes.form()
    instead = passes.instead
    program.instructions = [new for i in program.instructions for new in instead.get(i, [i])]
    return program
