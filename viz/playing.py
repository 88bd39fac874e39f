"""The backward pass in slow motion: one node a frame, with the numbers in its formulas."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tinygrad_cv._frames import frames_of_user
from tinygrad_cv._graph import Graph, Node
from tinygrad_cv._reading import Placed, Reading, raw
from tinygrad_cv._symbol import ATOM, NEGATE, Symbol, derive
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.viz.data import Frame, Trace
from tinygrad_cv.viz.drawing import draw
from tinygrad_cv.viz.naming import variables
from tinygrad_cv.viz.recorder import Recorder
from tinygrad_cv.viz.structure import receivers
from tinygrad_cv.viz.summarizing import norm

WRITTEN_OUT = 6  # elements; a larger array is told by its shape and norm


@dataclass(frozen=True)
class Playback:
    """The frames of a backward pass, in `trace.frames`. A notebook shows them as a page."""

    trace: Trace

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a page with a slider (.html), or into a folder a numbered SVG for each frame.

        A folder is made if it is not there; it must hold no frames of another playback.
        """
        path = Path(path)
        if path.suffix:
            return draw(self.trace, backward=True).save(path)
        path.mkdir(parents=True, exist_ok=True)
        if stale := sorted(path.glob("[0-9]*.svg")):
            raise FileExistsError(
                f"the folder {str(path)!r} holds {stale[0].name} of an earlier playback; remove "
                "it, or save to another folder."
            )
        digits = len(str(len(self.trace.frames)))
        hidden = sys.stderr is None or None  # closed, or perhaps no terminal
        for i in tqdm(range(len(self.trace.frames)), desc="frames", disable=hidden):
            draw(self.trace, backward=True, frame=i).save(path / f"{i:0{max(3, digits)}}.svg")
        return path

    def __len__(self) -> int:
        return len(self.trace.frames)

    def __str__(self) -> str:
        return "\n\n".join("\n".join(frame.lines) for frame in self.trace.frames)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        bundle = draw(self.trace, backward=True)._repr_mimebundle_(include, exclude)
        return {**bundle, "text/plain": str(self)}


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
    player = _Player()
    player.recall([loss])
    trace = player.traced({loss: ""}, variables(next(frames_of_user(), None)))
    ids = Graph([loss.node]).ids
    trace.frames = [
        Frame(ids[rule.node], list(_lines(rule, trace, ids[rule.node]))) for rule in player.rules
    ]
    return Playback(trace)


@dataclass(frozen=True)
class _Rule:
    """What ran at a node: its gradient g, what the rules asked for, and what they gave."""

    node: Node
    g: Any
    asked: dict[str, Any]
    sent: list[Any]


class _Player(Recorder):
    """Also keeps the arrays that each rule ran on."""

    def __init__(self) -> None:
        super().__init__(values=True, gradients=True, lines=False, times=False)
        self.rules: list[_Rule] = []

    def backward(
        self, reading: Reading, node: Node, gradient: Any, useful: set[Node] | None
    ) -> list[tuple[Node, Any]]:
        sent = super().backward(reading, node, gradient, useful)
        assert node.plan is not None
        asked = dict(zip(node.plan.names, raw(node.backend).values(node), strict=True))
        shares = [
            share.whole(node.backend) if type(share) is Placed else share for _, share in sent
        ]
        self.rules.append(_Rule(node, gradient, asked, shares))
        return sent


def _lines(rule: _Rule, trace: Trace, i: int) -> Iterator[str]:
    """A frame as text: what arrives, and for each input what is sent on."""
    node, told = rule.node, trace.nodes[i]
    assert node.op is not None
    to_host = node.backend.to_host
    called = [told.name or f"%{i}"] + [
        operand.text if operand.source is None else _name(trace, operand.source)
        for operand in told.inputs
    ]
    names = _names(trace, i)
    g = to_host(rule.g)
    yield f"{called[0]} = {told.op}({', '.join(called[1:])}): g = ∂L/∂{called[0]} = {_told(g)}"
    read = rule.asked | {"g": rule.g}
    small = not any(map(_is_large, read.values()))
    numbers = {name: _symbols(value, to_host) for name, value in read.items() if small}
    for (port, _), share in zip(receivers(node, None), rule.sent, strict=True):
        operand, left = told.inputs[port], to_host(share)
        goal = f"∂L/∂{called[port + 1]}"
        base, _, part = operand.name.partition("[")
        named = _derived(node, base, part, names)
        if small:
            written = _derived(node, base, part, {**names, **numbers})
            yield " = ".join(dict.fromkeys([goal, named[0], written[0], _told(left)]))
            for name, meaning in named[1].items():
                yield f"    where {' = '.join(dict.fromkeys([name, meaning, written[1][name]]))}"
        else:
            yield f"{goal} = {named[0]}"
            yield from (f"    where {name} = {meaning}" for name, meaning in named[1].items())
            before, after = norm(g), norm(left)
            factor = f" · {after / before:.3g}" if before else ""
            yield f"    ‖{goal}‖ = {after:.3g} = ‖g‖ {before:.3g}{factor}, shape {left.shape}"


def _name(trace: Trace, i: int) -> str:
    return trace.nodes[i].name or f"%{i}"


def _names(trace: Trace, i: int) -> dict[str, Any]:
    """The user's names for the inputs and the output, by those that the op's formulas use.

    None where one of them has no name, or two have the same: then the op's own are clearer.
    """
    node = trace.nodes[i]
    called = {o.name: trace.nodes[o.source].name for o in node.inputs if o.source is not None}
    named = called if any(o.name == "y" for o in node.inputs) else {"y": node.name, **called}
    if not all(named.values()) or len({*named.values()}) < len(named) or "g" in named.values():
        return {}
    if any("[" in name for name in called):  # of a variadic op: a list
        return {}
    return {name: Symbol(meaning) for name, meaning in named.items()}


def _derived(
    node: Node, rule: str, part: str, numbers: dict[str, Any]
) -> tuple[str, dict[str, str]]:
    """The formula of a rule with these symbols in it, and what it defines for itself."""
    assert node.op is not None
    try:
        result, definitions = derive(node.op, rule, False, node.inputs, numbers)
    except Exception:  # a rule may do with its arrays what cannot be done with symbols
        return "…", {}
    chosen = result[int(part.rstrip("]"))] if isinstance(result, list | tuple) else result
    return str(chosen), {name: str(meaning) for name, meaning in definitions.items()}


def _is_large(value: Any) -> bool:
    """Whether there are more numbers in it than a line can hold."""
    if isinstance(value, tuple):
        return any(map(_is_large, value))
    return hasattr(value, "dtype") and value.size > WRITTEN_OUT


def _symbols(value: Any, to_host: Callable[[Any], Any]) -> Any:
    """Arrays as symbols that are written as their numbers."""
    if isinstance(value, tuple):
        return [_symbols(part, to_host) for part in value]
    if not hasattr(value, "dtype"):
        return value
    written = _told(to_host(value))
    return Symbol(written, NEGATE if written.startswith("-") else ATOM)


def _told(array: Any) -> str:
    """The elements of a small array; the shape and norm of another."""
    array = host.asarray(array)
    if _is_large(array):
        return f"an array of shape {array.shape}, norm {norm(array):.3g}"
    if array.size == 1:
        return f"{array.item():.4g}"
    written = host.array2string(array, separator=", ", formatter={"all": lambda v: f"{v:.4g}"})
    return " ".join(written.split())
