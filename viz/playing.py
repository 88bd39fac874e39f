"""The backward pass in slow motion: one node a frame, with the numbers in its formulas."""

import math
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tinygrad_cv._frames import frames_of_user
from tinygrad_cv._graph import Graph, Node
from tinygrad_cv._reading import Placed, Reading, raw
from tinygrad_cv._symbol import ATOM, NEGATE, Symbol
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.storage import write
from tinygrad_cv.viz import data
from tinygrad_cv.viz.data import Frame, Trace
from tinygrad_cv.viz.drawing import draw
from tinygrad_cv.viz.letters import Naming
from tinygrad_cv.viz.naming import variables
from tinygrad_cv.viz.recalling import recalled
from tinygrad_cv.viz.recorder import Recorder
from tinygrad_cv.viz.structure import receivers
from tinygrad_cv.viz.summarizing import norm

SMALL = 40  # nodes of a graph that can be drawn as a circuit
WRITTEN_OUT = 6  # elements; a larger array is told by its shape and norm


@dataclass(frozen=True)
class Playback:
    """The frames of a backward pass, in `trace.frames`.

    A notebook shows them as a page; those of a small graph as a circuit (see `viz.circuit`).
    """

    trace: Trace
    played: "Played | None" = field(default=None, repr=False, compare=False)
    """What a circuit is made from, of a small graph."""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a page with a slider (.html), or into a folder a numbered SVG for each frame.

        A folder is made if it is not there; it must hold no frames of another playback.
        """
        path = Path(path)
        if path.suffix:
            return draw(self.trace, backward=True).save(path)
        return frames(
            path, len(self), lambda i: draw(self.trace, backward=True, frame=i)._repr_svg_()
        )

    def __len__(self) -> int:
        return len(self.trace.frames)

    def __str__(self) -> str:
        return "\n\n".join("\n".join(frame.lines) for frame in self.trace.frames)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        from tinygrad_cv.viz.notebook import interactive

        if self.played is None:
            return interactive(draw(self.trace, backward=True), str(self))
        from tinygrad_cv.viz.circuits import circuit_of

        bundle = circuit_of(self.played)._repr_mimebundle_(include, exclude)
        return {**bundle, "text/plain": str(self)}


def frames(folder: Path, count: int, drawn: Callable[[int], str]) -> Path:
    """Write so many numbered SVGs into a folder, which is made if it is not there.

    Raises FileExistsError if it holds frames of another play.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if stale := sorted(folder.glob("[0-9]*.svg")):
        raise FileExistsError(
            f"the folder {str(folder)!r} holds {stale[0].name} of an earlier playback; remove "
            "it, or save to another folder."
        )
    digits = max(3, len(str(count)))
    hidden = sys.stderr is None or None  # closed, or perhaps no terminal
    for i in tqdm(range(count), desc="frames", disable=hidden):
        write(folder / f"{i:0{digits}}.svg", drawn(i).encode(errors="backslashreplace"))
    return folder


def playback(loss: Tensor) -> Playback:
    """Walk backward from a loss, one node at a time, and write down each step.

    A frame holds the rule of one op, with the numbers in it:

        [gradient to the left] = [gradient from the right] · [local gradient]

    Numbers and arrays of up to 6 elements are written out; of a larger array its shape and norm
    ‖·‖ are told, and by which factor the norm grows or shrinks on its way through the op. The
    gradient of a value with several consumers is the sum of what they send. Neither `.grad` nor
    the graph is changed.

    Raises RuntimeError if no gradient can flow, or if what the rules saved was freed.

    Source: CS231n's notes on backpropagation, whose two gates these are:

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv import viz
    >>> x, y, z = (tg.tensor(v, requires_grad=True) for v in (-2.0, 5.0, -4.0))
    >>> q = x + y
    >>> f = q * z
    >>> print(viz.playback(f))
    f = mul(q, z): g = ∂L/∂f = 1
    ∂L/∂q = g · z = 1 · (-4) = -4
    ∂L/∂z = g · q = 1 · 3 = 3
    <BLANKLINE>
    q = add(x, y): g = ∂L/∂q = -4
    ∂L/∂x = g = -4
    ∂L/∂y = g = -4
    """
    played = play(loss)
    return Playback(played.trace, played if len(played.trace.nodes) <= SMALL else None)


@dataclass(frozen=True)
class Played:
    """A backward pass that was looked at."""

    trace: Trace
    """With its frames."""
    player: "Player"
    naming: Naming
    values: dict[Node, Any]
    """The arrays that are known, in host memory."""


def play(loss: Tensor) -> Played:
    """Walk backward from a loss once, and look on."""
    values = {node: node.backend.to_host(array) for node, array, _ in recalled([loss])}
    player = Player()
    player.recall([loss])
    trace = player.traced({loss: ""}, variables(next(frames_of_user(), None)))
    naming = Naming(Graph([loss.node]), [node.name for node in trace.nodes])
    trace.frames = [
        Frame(naming.ids[rule.node], list(_lines(rule, trace, naming))) for rule in player.rules
    ]
    return Played(trace, player, naming, values)


@dataclass(frozen=True)
class Rule:
    """What ran at a node: its gradient g, what the rules asked for, and what they gave."""

    node: Node
    g: Any
    asked: dict[str, Any]
    sent: list[Any]


class Player(Recorder):
    """Also keeps the arrays that each rule ran on."""

    def __init__(self) -> None:
        super().__init__(values=True, gradients=True, lines=False, times=False)
        self.rules: list[Rule] = []
        self.arrays: dict[Node, Any] = {}
        """The complete gradient of each node."""

    def arrived(self, node: Node, gradient: Any) -> None:
        super().arrived(node, gradient)
        self.arrays[node] = gradient

    def backward(
        self, reading: Reading, node: Node, gradient: Any, useful: set[Node] | None
    ) -> list[tuple[Node, Any]]:
        sent = super().backward(reading, node, gradient, useful)
        assert node.plan is not None
        asked = dict(zip(node.plan.names, raw(node.backend).values(node), strict=True))
        shares = [
            share.whole(node.backend) if type(share) is Placed else share for _, share in sent
        ]
        self.rules.append(Rule(node, gradient, asked, shares))
        return sent


def _lines(rule: Rule, trace: Trace, naming: Naming) -> Iterator[str]:
    """A frame as text: what arrives, and for each input what is sent on."""
    node, into = rule.node, trace.nodes[naming.ids[rule.node]]
    to_host = node.backend.to_host
    op = node.op
    assert op is not None
    if op.outputs:
        letters = naming.symbols(node)["g"]
        given = [
            (g, to_host(part)) for g, part in zip(letters, rule.g, strict=True) if part is not None
        ]
        parts = [part for _, part in given]
        arrived = ", ".join(f"{g} = {told(part)}" for g, part in given)
    else:
        parts = [to_host(rule.g)]
        arrived = f"g = ∂L/∂{into.called} = {told(parts[0])}"
    yield f"{_made(trace, into)}: {arrived}"
    read = rule.asked | {"g": rule.g}
    small = not any(map(is_large, read.values()))
    numbers = {name: symbols(value, to_host) for name, value in read.items() if small}
    for (port, _), share in zip(receivers(node, None), rule.sent, strict=True):
        operand, left = into.inputs[port], to_host(share)
        goal = f"∂L/∂{operand.called}"
        sign = "+=" if operand.summed else "="
        if small:
            formula, where = naming.formula(node, port, numbers)
            chain = dict.fromkeys([operand.formula, formula, told(left)])
            yield f"{goal} {sign} {' = '.join(chain)}"
            for name, meaning in operand.where.items():
                yield f"    where {' = '.join(dict.fromkeys([name, meaning, where[name]]))}"
        else:
            yield f"{goal} {sign} {operand.formula}"
            yield from (f"    where {name} = {meaning}" for name, meaning in operand.where.items())
            before, after = math.hypot(*map(norm, parts)), norm(left)
            factor = f" · {after / before:.3g}" if before else ""
            yield f"    ‖{goal}‖ = {after:.3g} = ‖g‖ {before:.3g}{factor}, shape {left.shape}"


def _made(trace: Trace, node: data.Node) -> str:
    """The call of an op: "q = add(x, y)"; "%4 = exp(%3), y = exp(x)" where it has but letters."""
    letters, places = [node.called], [_place(node)]
    for entry in node.inputs:
        source = entry.source
        letters.append(entry.text if source is None else entry.called)
        places.append(entry.text if source is None else _place(trace.nodes[source]))
    calls = [f"{y} = {node.op}({', '.join(xs)})" for y, *xs in (places, letters)]
    return ", ".join(dict.fromkeys(calls))


def _place(node: data.Node) -> str:
    return node.name or f"%{node.id}"


def is_large(value: Any) -> bool:
    """Whether there are more numbers in it than a line can hold."""
    if isinstance(value, tuple):
        return any(map(is_large, value))
    return hasattr(value, "dtype") and value.size > WRITTEN_OUT


def symbols(value: Any, to_host: Callable[[Any], Any]) -> Any:
    """Arrays as symbols that are written as their numbers."""
    if isinstance(value, tuple):
        return [symbols(part, to_host) for part in value]
    if not hasattr(value, "dtype"):
        return value
    written = told(to_host(value))
    return Symbol(written, NEGATE if written.startswith("-") else ATOM)


def told(array: Any, digits: int = 4) -> str:
    """The elements of a small array; the shape and norm of another."""
    array = host.asarray(array)
    if is_large(array):
        return f"an array of shape {array.shape}, norm {norm(array):.3g}"
    if array.size == 1:
        return f"{array.item():.{digits}g}"
    written = host.array2string(
        array, separator=", ", formatter={"all": lambda v: f"{v:.{digits}g}"}
    )
    return " ".join(written.split())
