"""A small graph as a circuit: gates, values above the wires, gradients below, and a play of both.

    viz.circuit(loss).save("circuit.html")

A `Moment` is one picture of the play: the inputs, then the forward pass gate by gate, then the
backward pass. The page, the pictures and the notebook show the same drawing (see `schematic`).
"""

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from string import Template
from typing import Any, Literal

from tinygrad_cv._graph import Graph, Node
from tinygrad_cv._symbol import ATOM, Symbol
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.storage import write
from tinygrad_cv.viz import playing
from tinygrad_cv.viz.data import Edge, Input, Trace
from tinygrad_cv.viz.data import Node as Told
from tinygrad_cv.viz.gates import applied, face
from tinygrad_cv.viz.page import beside, hash_of, inert
from tinygrad_cv.viz.playing import SMALL, Played
from tinygrad_cv.viz.render import check_path
from tinygrad_cv.viz.schematic import Direction, Look, Schematic
from tinygrad_cv.viz.structure import receivers
from tinygrad_cv.viz.summarizing import norm

EQUATION = 90  # characters of a whole expression


@dataclass(frozen=True)
class Moment:
    """One picture of the play."""

    title: str
    """What happens: "backward: q = x + y"."""
    lines: tuple[str, ...]
    """The formulas with the numbers in them."""
    known: frozenset[str]
    """What has a number by now: "v3" the value of node 3, "d3" its gradient, "s5:0" what flows
    back through input 0 of node 5."""
    gate: int | None = None
    """The node that computes."""
    backward: bool = False


@dataclass(frozen=True, repr=False)
class Circuit:
    """A circuit and its play; made by `viz.circuit`. A notebook plays it by itself."""

    trace: Trace
    looks: dict[int, Look]
    """What stands at each node."""
    shares: dict[str, str]
    """What flows back along the wires of values with several uses, by `Edge.key`."""
    moments: tuple[Moment, ...]
    direction: Direction = "right"

    def __repr__(self) -> str:
        return f"<Circuit of {len(self.trace.nodes)} nodes, played in {len(self.moments)} pictures>"

    def __len__(self) -> int:
        return len(self.moments)

    @cached_property
    def schematic(self) -> Schematic:
        """Where all of it stands."""
        return Schematic(self.trace, self.looks, self.shares, self.direction)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a page that plays (.html), the whole circuit (.svg, .png, .pdf), or its frames.

        A path without a suffix is a folder, which receives an SVG of 1280 x 720 for each picture
        of the play: 000.svg, 001.svg, and so on. A folder is made if it is not there; it must hold
        no frames of another play. .png and .pdf need matplotlib.

        Raises ValueError for another suffix, FileExistsError for a folder with frames.
        """
        path = Path(path)
        if not path.suffix:
            return playing.frames(path, len(self.moments), self.frame)
        path = check_path(path, (".html", ".svg", ".png", ".pdf"))
        if path.suffix.lower() == ".html":
            contents = self.page().encode(errors="backslashreplace")
        elif path.suffix.lower() == ".svg":
            contents = self.svg().encode(errors="backslashreplace")
        else:
            from tinygrad_cv.viz.inking import painted

            contents = painted(self.schematic.whole(self.moments), path.suffix[1:].lower())
        write(path, contents)
        return path

    def svg(self) -> str:
        """All values and gradients in one picture, and below it the formulas."""
        return self.schematic.whole(self.moments).svg()

    def frame(self, i: int) -> str:
        """A picture of the play as SVG, 1280 x 720.

        Raises IndexError if there is no such picture.
        """
        return self.schematic.frame(self.moments[i]).svg()

    def page(self, plays: bool = False) -> str:
        """The HTML page: ← and → play it, space goes on by itself. `plays` begins with that."""
        style, script = beside("circuit.css"), beside("circuit.js")
        title = self.trace.title or f"circuit of {self._goal()}"
        told = {
            "plays": plays,
            "moments": [
                {
                    "title": moment.title,
                    "known": sorted(self.schematic.shown(moment)),
                    "now": sorted(self.schematic.active(moment)),
                    "backward": moment.backward,
                    "focus": self.schematic.focus(moment),
                }
                for moment in self.moments
            ],
            "readable": self.schematic.readable,
        }
        return Template(beside("circuit.html")).substitute(
            title=escape(title),
            policy=f"default-src 'none'; style-src {hash_of(style)}; script-src {hash_of(script)}; "
            "base-uri 'none'; form-action 'none'",
            style=style,
            circuit=self.schematic.drawing(),
            formulas="\n".join(map(self.schematic.formulas, self.moments)),
            data=inert(json.dumps(told, ensure_ascii=False)),
            script=script,
        )

    def _goal(self) -> str:
        return self.trace.nodes[self.trace.outputs[0]].called

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        from tinygrad_cv.viz.notebook import framed

        return {
            "text/plain": repr(self),
            "text/html": framed(self.page(plays=True)),
            "image/svg+xml": self.svg(),
        }


def circuit(loss: Tensor, direction: Literal["right", "down"] = "right") -> Circuit:
    """A small graph as the circuit of the lecture, to be played forward and backward.

    Gates with their signs, above each wire the value, below it the gradient (to the left and to
    the right of it with `direction="down"`), and for each gate its formula with the user's names
    and numbers: ∂L/∂q = g · z = 1 · (-4) = -4. In the page ← and → go from gate to gate, space
    plays; a notebook shows that page. Numbers and arrays of up to 6 elements are written out, a
    larger array is told by its shape and norm. Neither `.grad` nor the graph is changed.

    Raises ValueError for a graph of more than 40 nodes, RuntimeError if no gradient can flow, or
    if what the rules saved was freed.

    Source: CS231n's notes on backpropagation.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv import viz
    >>> x, y, z = (tg.tensor(v, requires_grad=True) for v in (-2.0, 5.0, -4.0))
    >>> q = x + y
    >>> f = q * z
    >>> play = viz.circuit(f)
    >>> play
    <Circuit of 5 nodes, played in 6 pictures>
    >>> for moment in play.moments:
    ...     print(moment.title, *moment.lines, sep="; ")
    the inputs; q = x + y; f = q · z
    forward; q = x + y = -2 + 5 = 3
    forward; f = q · z = 3 · (-4) = -12
    the gradient of f itself; ∂L/∂f = 1
    backward: f = q · z; ∂L/∂q = g · z = 1 · (-4) = -4; ∂L/∂z = g · q = 1 · 3 = 3
    backward: q = x + y; ∂L/∂x = g = -4; ∂L/∂y = g = -4
    """
    if direction not in ("right", "down"):
        raise ValueError(f"direction must be 'right' or 'down'; got {direction!r}.")
    size = len(Graph([loss.node]))
    if size > SMALL:
        raise ValueError(
            f"a circuit is for up to {SMALL} nodes, and this graph has {size}. viz.playback(loss) "
            "plays a larger one, viz.draw(loss, backward=True) draws it."
        )
    return circuit_of(playing.play(loss), direction)


def circuit_of(played: Played, direction: Direction = "right") -> Circuit:
    """The circuit of a backward pass that was looked at."""
    return _Maker(played).circuit(direction)


def wired(array: Any) -> str:
    """An array as it stands at a wire: its elements, or its shape and norm."""
    if playing.is_large(array):
        return f"{array.shape}, ‖{norm(array):.3g}‖"
    return playing.told(array, 3)


class _Maker:
    """Puts together what was seen."""

    def __init__(self, played: Played) -> None:
        self.trace, self.player, self.arrays = played.trace, played.player, played.values
        self.ids = played.naming.ids
        self.nodes = list(self.ids)
        self.uses = Counter(edge.source for edge in self.trace.edges if edge.gradient)
        self.shares = {
            f"{self.ids[rule.node]}:{port}": wired(rule.node.backend.to_host(share))
            for rule in self.player.rules
            for (port, _), share in zip(receivers(rule.node, None), rule.sent, strict=True)
        }

    def circuit(self, direction: Direction) -> Circuit:
        several = {
            edge.key: self.shares[edge.key]
            for edge in self.trace.edges
            if edge.key in self.shares and self.entry(edge).summed
        }
        looks = {i: self.look(node) for node, i in self.ids.items()}
        return Circuit(self.trace, looks, several, tuple(self.moments()), direction)

    def look(self, node: Node) -> Look:
        told = self.trace.nodes[self.ids[node]]
        arrived = node in self.player.arrays
        return Look(
            face=self.leaf(told) if node.op is None else face(told, node.op),
            value=wired(self.arrays[node]) if node in self.arrays else "–",
            gradient=self.told(self.ids[node]) if arrived else "",
        )

    def leaf(self, told: Told) -> str:
        """What a leaf is called: without a name as the op that it goes into calls it."""
        entries = (entry for node in self.trace.nodes for entry in node.inputs)
        called = (entry.called for entry in entries if entry.source == told.id)
        return told.called if told.name else next(called, told.called)

    # The play.

    def moments(self) -> Iterator[Moment]:
        nodes = self.trace.nodes
        known = {f"v{node.id}" for node in nodes if node.kind != "op"}
        yield Moment("the inputs", tuple(self.equations()), frozenset(known))
        for node, i in self.ids.items():
            if node.op is not None:
                known.add(f"v{i}")
                yield Moment("forward", (self.forward(node),), frozenset(known), i)
        [root] = self.trace.outputs
        known.add(f"d{root}")
        name = nodes[root].called
        seed = f"∂L/∂{name} = {self.told(root)}"
        yield Moment(f"the gradient of {name} itself", (seed,), frozenset(known), None, True)
        left = Counter(self.uses)
        for frame in self.trace.frames:
            lines = frame.lines[1:]
            for edge in self.trace.edges:
                if edge.target != frame.node or not edge.gradient:
                    continue
                known.add(f"s{edge.key}")
                left[edge.source] -= 1
                if not left[edge.source] and f"d{edge.source}" not in known:
                    known.add(f"d{edge.source}")
                    if self.entry(edge).summed:
                        lines.append(self.total(edge.source))
            title = f"backward: {self.call(self.nodes[frame.node])}"
            yield Moment(title, tuple(lines), frozenset(known), frame.node, True)

    def total(self, source: int) -> str:
        """The sum of what came along several wires: "∂L/∂x = 3 + 3 = 6"."""
        parts = [
            self.shares[edge.key]
            for edge in self.trace.edges
            if edge.source == source and edge.gradient
        ]
        terms = " + ".join(f"({part})" if part.startswith("-") else part for part in parts)
        return f"∂L/∂{self.trace.nodes[source].called} = {terms} = {self.told(source)}"

    def told(self, i: int) -> str:
        """The complete gradient of a node."""
        node = self.nodes[i]
        return wired(node.backend.to_host(self.player.arrays[node]))

    def entry(self, edge: Edge) -> Input:
        return self.trace.nodes[edge.target].inputs[edge.port]

    def symbols(self, node: Node) -> list[Any]:
        """The inputs of an op as its formulas call them; plain values as they are."""
        told = self.trace.nodes[self.ids[node]]
        return [
            Symbol(entry.called) if isinstance(value, Node) else value
            for entry, value in zip(told.inputs, node.inputs, strict=True)
        ]

    def call(self, node: Node) -> str:
        return f"{self.trace.nodes[self.ids[node]].called} = {applied(node, self.symbols(node))}"

    def forward(self, node: Node) -> str:
        """The forward of an op with its numbers: "q = x + y = -2 + 5 = 3"."""
        parts = [self.call(node)]
        values = [self.arrays.get(v) if isinstance(v, Node) else v for v in node.inputs]
        known = all(
            value is not None or v is None for v, value in zip(node.inputs, values, strict=True)
        )
        if known and not any(map(playing.is_large, values)):
            written = [playing.symbols(value, host.asarray) for value in values]
            parts.append(str(applied(node, written)))
        if node in self.arrays:
            parts.append(playing.told(self.arrays[node]))
        return " = ".join(dict.fromkeys(parts))

    def equations(self) -> Iterator[str]:
        """The whole computation: what has a name, in terms of what has one."""
        whole: dict[Node, Any] = {}
        for node, i in self.ids.items():
            told = self.trace.nodes[i]
            if node.op is None:
                whole[node] = Symbol(told.name or told.called, ATOM)
                continue
            values = [whole[v] if isinstance(v, Node) else v for v in node.inputs]
            made = applied(node, values)
            if told.name or i in self.trace.outputs or len(str(made)) > EQUATION:
                yield f"{told.called} = {made}"
                made = Symbol(told.called, ATOM)
            whole[node] = made
