"""The drawing of a circuit: gates, wires, numbers and formulas in their places and states."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Literal

from tinygrad_cv.viz import boxing
from tinygrad_cv.viz.boxing import Box, below, fitted, row, space, words
from tinygrad_cv.viz.data import Edge, Trace
from tinygrad_cv.viz.sheets import Curve, Element, Layer, Plate, Sheet, corners, written
from tinygrad_cv.viz.typesetting import equation, formula
from tinygrad_cv.viz.wiring import Part, bent, layered, ordered, placed

if TYPE_CHECKING:
    from tinygrad_cv.viz.circuits import Moment

Direction = Literal["right", "down"]

SIZE = 18.0  # of numbers
SMALL = 16.0  # of what is told beside
LARGE = (36.0, 32.0, 28.0, 24.0, 20.0, 16.0)  # of a formula, as large as there is room
RADIUS, PORT, MARGIN, STUB, RUN = 25.0, 34.0, 20.0, 18.0, 64.0
STAGE = (1280.0, 720.0)
PANEL = 250.0  # height of the formulas on the stage
LEGIBLE = 12.0  # pixels on the stage


@dataclass(frozen=True)
class Look:
    """What stands at a node."""

    face: str
    value: str
    gradient: str


class Schematic:
    """Where everything in a circuit stands."""

    def __init__(
        self,
        trace: Trace,
        looks: dict[int, Look],
        shares: dict[str, str],
        direction: Direction,
    ) -> None:
        self.trace, self.looks, self.shares = trace, looks, shares
        self.across = direction == "down"
        """Whether the flow is downwards."""
        self.uses = Counter(edge.source for edge in trace.edges)
        self.edges: list[Edge] = list(trace.edges)
        self.readable = LEGIBLE / SMALL
        self.faces = {node.id: self._face(node.id) for node in trace.nodes}
        self.values = {i: formula(look.value, SIZE) for i, look in looks.items()}
        self.gradients = {i: formula(look.gradient, SIZE) for i, look in looks.items()}
        self.names = {
            node.id: formula(node.called, SMALL) if node.kind == "op" else space(0)
            for node in trace.nodes
        }
        """What stands at the wires of ops: the user's name, or the letter in the formulas."""
        self.letters = {
            edge: formula(trace.nodes[edge.target].inputs[edge.port].called, SMALL)
            for edge in self.edges
        }
        self.spacing: dict[int, float] = defaultdict(lambda: PORT)
        """Between the wires that arrive at a gate."""
        for edge in self.edges:
            for box in self._share(edge):
                letter = self.letters[edge]
                least = 14 + (
                    box.width + letter.width if self.across else box.height + letter.height
                )
                self.spacing[edge.target] = max(self.spacing[edge.target], least)
        self._place()

    def _share(self, edge: Edge) -> list[Box]:
        """What flows back along a wire of several."""
        return [formula(self.shares[edge.key], SMALL)] if edge.key in self.shares else []

    def _face(self, i: int) -> Box:
        node = self.trace.nodes[i]
        if node.kind == "op":
            face = self.looks[i].face
            if face == "·":  # a small sign, above its base line
                return replace(words(face, 44), up=0.74 * 44, down=0.0)
            return words(face, 24 if len(face) < 3 else 20)
        return formula(self.looks[i].face, 22)

    def _place(self) -> None:
        """Layers along the flow, and the places across it."""
        nodes, wires = self.trace.nodes, [(edge.source, edge.target) for edge in self.edges]
        layers = layered(len(nodes), wires, self.trace.outputs)
        ways = bent(layers, wires)
        rows = ordered(layers, ways)
        parts = dict.fromkeys(range(len(layers)), Part(14.0, 14.0))
        parts |= {node.id: self._part(node.id) for node in nodes}
        self.side = placed(rows, ways, parts)
        self.center: dict[int, float] = {}
        self.stub: dict[int, tuple[float, float]] = {}
        at = 0.0
        room: dict[int, float] = defaultdict(lambda: RUN)
        for edge in self.edges:
            beside = [self.letters[edge], *self._share(edge)]
            length = max(box.height if self.across else box.width for box in beside)
            room[layers[edge.target]] = max(room[layers[edge.target]], length + 44)
        for k, line in enumerate(rows):
            real = [i for i in line if i < len(nodes)]
            length = max(self.size(i)[self.across] for i in real)
            trunk = max(self._trunk(i) for i in real)
            for i in line:
                self.center[i] = at + length / 2
                begin = at if i >= len(nodes) else self.center[i] + self.size(i)[self.across] / 2
                self.stub[i] = (begin, at + length + trunk)
            at += length + trunk + room[k + 1]
        self.ways = dict(zip(self.edges, ways, strict=True))
        arriving = defaultdict(list)
        for edge, way in self.ways.items():
            arriving[edge.target].append((self.side[way[-2]], edge.port, edge))
        self.ports = {
            edge: (k - (len(group) - 1) / 2) * self.spacing[target]
            for target, group in arriving.items()
            for k, (_, _, edge) in enumerate(sorted(group))
        }
        shapes = self.elements()
        reached = [corner for element in shapes for corner in corners(element.shapes)]
        xs, ys = [x for x, _ in reached], [y for _, y in reached]
        self.box = (
            min(xs) - MARGIN,
            min(ys) - MARGIN,
            max(xs) - min(xs) + 2 * MARGIN,
            max(ys) - min(ys) + 2 * MARGIN,
        )

    def size(self, i: int) -> tuple[float, float]:
        """The width and height of a gate or a leaf."""
        node, face = self.trace.nodes[i], self.faces[i]
        count = len([entry for entry in node.inputs if entry.source is not None])
        spread = self.spacing[i] * (count - 1) - PORT if count > 1 else 0.0
        wide = max(2 * RADIUS, face.width + (24 if face.width > 1.5 * RADIUS else 0))
        high = 2 * RADIUS if node.kind == "op" else 40.0
        return (wide + spread, high) if self.across else (wide, high + spread)

    def _part(self, i: int) -> Part:
        """The room beside the wire: for the shape, the value on one side, the gradient."""
        value, gradient = self.values[i], self.gradients[i]
        half = self.size(i)[not self.across] / 2
        arriving = [edge for edge in self.edges if edge.target == i]
        outer = self.spacing[i] * (len(arriving) - 1) / 2  # the last port
        shares = [box for edge in arriving for box in self._share(edge)]
        beside = max((outer + (b.width if self.across else b.height) for b in shares), default=0.0)
        if self.across:
            after = max(half, gradient.width + 14, beside + 10)
            return Part(max(half, value.width + 14) + 8, after + 8)
        after = max(half, gradient.height + 8, beside + 8)
        return Part(max(half, value.height + 8) + 5, after + 5)

    def _trunk(self, i: int) -> float:
        """How long the wire of a node goes straight: for its name, and its numbers."""
        boxes, name = (self.values[i], self.gradients[i]), self.names[i]
        if self.across:
            return max(box.height for box in boxes) + STUB + name.height
        return max(box.width for box in boxes) + STUB + name.width

    def point(self, along: float, side: float) -> tuple[float, float]:
        """Coordinates in the drawing."""
        return (side, along) if self.across else (along, side)

    # What is drawn.

    def elements(self) -> list[Element]:
        """Wires, then what stands on them."""
        found = [self._wire(edge) for edge in self.edges]
        for node in self.trace.nodes:
            i = node.id
            found.append(self._stub(i))
            x, y = self.point(self.center[i], self.side[i])
            width, height = self.size(i)
            round_ = RADIUS if node.kind == "op" else 6.0
            face = self.faces[i]
            kind = f"gate {node.kind}"
            found.append(
                Element(
                    f"n{i}",
                    kind,
                    (
                        Plate(x, y, width, height, round_),
                        *face.at(x - face.width / 2, y + (face.up - face.down) / 2),
                    ),
                )
            )
            found += self._numbers(i)
        for edge in self.edges:
            found += self._at_port(edge)
        return found

    def _stub(self, i: int) -> Element:
        begin, end = self.stub[i]
        a, b = self.point(begin, self.side[i]), self.point(end, self.side[i])
        return Element(f"t{i}", "wire", (Curve((a, a, b, b)),))

    def _end(self, edge: Edge) -> tuple[float, float]:
        """Where a wire meets its gate: how far along, and at which side."""
        offset, size = self.ports[edge], self.size(edge.target)
        half, reach = size[self.across] / 2, size[not self.across] / 2
        corner = min(RADIUS, half, reach)
        into = max(0.0, abs(offset) - (reach - corner))
        back = corner - math.sqrt(max(0.0, corner**2 - into**2))
        return self.center[edge.target] - half + back, self.side[edge.target] + offset

    def _wire(self, edge: Edge) -> Element:
        way = self.ways[edge]
        points = [self.point(self.stub[edge.source][1], self.side[edge.source])]

        def bow(begin: tuple[float, float], end: tuple[float, float]) -> None:
            """Leave and arrive in the direction of the flow."""
            middle = (begin[0] + end[0]) / 2
            control = [self.point(middle, begin[1]), self.point(middle, end[1])]
            points.extend([*control, self.point(*end)])

        last = (self.stub[edge.source][1], self.side[edge.source])
        for i in way[1:-1]:
            begin, end = ((along, self.side[i]) for along in self.stub[i])
            bow(last, begin)
            points.extend([self.point(*begin), self.point(*end), self.point(*end)])
            last = end
        bow(last, self._end(edge))
        return Element(f"w{edge.key}", "wire", (Curve(tuple(points)),))

    def _numbers(self, i: int) -> list[Element]:
        """The value on one side of the wire, the gradient on the other."""
        begin, end = self.stub[i]
        value, gradient, side = self.values[i], self.gradients[i], self.side[i]
        name, found = self.names[i], list[Element]()
        if self.across:
            middle = (begin + name.height + end) / 2
            y = middle + (value.up - value.down) / 2
            found.append(Element(f"v{i}", "value", value.at(side - 8 - value.width, y)))
            y = middle + (gradient.up - gradient.down) / 2
            found.append(Element(f"d{i}", "gradient", gradient.at(side + 8, y)))
            at = (side + 6, begin + name.up + 2)
        else:
            right = end - STUB / 3
            found.append(
                Element(f"v{i}", "value", value.at(right - value.width, side - 7 - value.down))
            )
            found.append(
                Element(
                    f"d{i}", "gradient", gradient.at(right - gradient.width, side + 7 + gradient.up)
                )
            )
            at = (begin + 4, side - 6 - name.down)
        if name.marks:
            found.append(Element(f"y{i}", self._naming(i), name.at(*at)))
        return found

    def _naming(self, i: int) -> str:
        """Whether a value has a name, or a number, everywhere; or but a letter at each gate."""
        node = self.trace.nodes[i]
        own = node.kind != "op" or node.name or node.called.startswith("%")
        return "name" if own else "letter"

    def _at_port(self, edge: Edge) -> list[Element]:
        """What the formulas of a gate call an input, and what flows back through it."""
        target, (_, side) = edge.target, self._end(edge)
        rim = self.center[target] - self.size(target)[self.across] / 2
        letter, found = self.letters[edge], []
        source, told = self.trace.nodes[edge.source], self.trace.nodes[target].inputs[edge.port]
        name = source.called if source.kind == "op" else self.looks[edge.source].face
        if told.called != name or self._naming(source.id) == "letter":
            if self.across:
                at = (side - 6 - letter.width, rim - 8)
            else:
                at = (rim - 10 - letter.width, side - 6 - letter.down)
            kind = "name" if told.called.startswith("%") else "letter"
            found.append(Element(f"l{edge.key}", kind, letter.at(*at)))
        for share in self._share(edge):
            if self.across:
                at = (side + 6, rim - 8 - share.down)
            else:
                at = (rim - 10 - share.width, side + 5 + share.up)
            found.append(Element(f"s{edge.key}", "gradient", share.at(*at)))
        return found

    # The states of the play.

    @cached_property
    def parts(self) -> tuple[Element, ...]:
        return tuple(self.elements())

    def shown(self, moment: "Moment") -> set[str]:
        """The keys of what has something to say; wires and gates always have."""
        own: set[str] = set()
        if moment.gate is not None:
            inputs = self.trace.nodes[moment.gate].inputs
            own = {f"y{moment.gate}"} | {f"l{moment.gate}:{port}" for port in range(len(inputs))}
        return {
            element.key
            for element in self.parts
            if element.kind not in ("value", "gradient", "letter")
            or element.key in moment.known
            or element.key in own
        }

    def active(self, moment: "Moment") -> set[str]:
        """The keys of what computes: a gate, its wires, and the numbers that are new."""
        if moment.gate is None:
            if moment.backward:
                [root] = self.trace.outputs
                return {f"t{root}", f"d{root}"}
            return {e.key for e in self.parts if e.key.startswith("v") and e.key in moment.known}
        node = self.trace.nodes[moment.gate]
        wires = {
            f"w{edge.key}"
            for edge in self.edges
            if edge.target == node.id and (edge.gradient or not moment.backward)
        }
        found = {f"n{node.id}", *wires}
        if not moment.backward:
            return found | {f"t{node.id}", f"v{node.id}"}
        for edge in self.edges:
            if edge.target == node.id and edge.gradient:
                found |= {f"s{edge.key}"}
                if f"d{edge.source}" in moment.known:
                    found |= {f"d{edge.source}", f"t{edge.source}"}
        return found

    def focus(self, moment: "Moment") -> tuple[float, float]:
        """Where to look."""
        i = moment.gate
        if i is None:
            i = self.trace.outputs[0] if moment.backward else 0
        x, y = self.point(self.center[i], self.side[i])
        return round(x, 1), round(y, 1)

    # Pictures.

    def drawing(self) -> str:
        """The circuit as an SVG element for the page."""
        box = " ".join(f"{length:.1f}" for length in self.box)
        return (
            f'<svg id="circuit" viewBox="{box}" role="img" aria-label="the circuit">'
            f"{written(self.parts)}</svg>"
        )

    def _said(self, moment: "Moment", width: float, height: float) -> Box:
        """What happens, and the formulas as large as there is room."""
        head, colon, rest = moment.title.partition(": ")
        title = row([words(head + colon, 20), equation(rest, 20, width)])
        for size in LARGE:
            lines = [fitted(equation(line, size, width), width) for line in moment.lines]
            box = below([title, *lines], 0.45 * size)
            if box.height <= height:
                return box
        return box

    def formulas(self, moment: "Moment") -> str:
        """What is said at a moment for the page: once for a wide window, once for a phone."""
        kind = "said backward" if moment.backward else "said"
        told = escape("; ".join((moment.title, *moment.lines)), quote=True)
        parts = []
        for name, width, height in (("wide", STAGE[0] - 80, PANEL - 30), ("narrow", 520.0, 420.0)):
            box = self._said(moment, width, height)
            parts.append(
                f'<svg class="{name}" viewBox="0 0 {width:.0f} {box.height + 4:.1f}" role="img" '
                f'aria-label="{told}">{boxing.svg(box.at(0, box.up))}</svg>'
            )
        return f'<div class="{kind}">{"".join(parts)}</div>'

    def frame(self, moment: "Moment") -> Sheet:
        """A moment on a stage of 1280 x 720."""
        width, height = STAGE
        shown, active = self.shown(moment), self.active(moment)
        elements = tuple(
            replace(e, kind=f"{e.kind} now{' back' * moment.backward}") if e.key in active else e
            for e in self.parts
            if e.key in shown
        )
        left, top, wide, high = self.box
        room = height - PANEL
        scale = min(width / wide, room / high, 1.6)
        x, y = left + wide / 2, top + high / 2
        if scale < self.readable:
            scale = self.readable
            x, y = self.focus(moment)
            reach = width / scale / 2
            x = (
                left + wide / 2
                if wide < 2 * reach
                else min(max(x, left + reach), left + wide - reach)
            )
            reach = room / scale / 2
            y = top + high / 2 if high < 2 * reach else min(max(y, top + reach), top + high - reach)
        circuit = Layer(elements, width / 2 - x * scale, room / 2 - y * scale, scale)
        box = self._said(moment, width - 80, PANEL - 30)
        panel = Element("", "panel", (Plate(width / 2, height - PANEL / 2, width, PANEL, 0),))
        kind = "said backward" if moment.backward else "said"
        said = Element("", kind, box.at(40, room + 12 + box.up))
        return Sheet(width, height, (circuit, Layer((panel, said))))

    def whole(self, moments: Sequence["Moment"]) -> Sheet:
        """All numbers at once, above the formulas of the backward pass."""
        elements = tuple(e for e in self.parts if e.kind != "letter")
        left, top, wide, high = self.box
        told = [self._rules(moment) for moment in moments if moment.backward and moment.gate]
        column = max((box.width for box in told), default=0) + 2 * MARGIN
        count = max(1, min(len(told), int(max(wide, 700) // column)))
        each = max(1, -(-len(told) // count))
        columns = [told[k : k + each] for k in range(0, len(told), each)]
        boxes = [below(part, 16) for part in columns]
        texts = [
            Element("", "said backward", box.at(MARGIN + k * column, high + 8 + box.up))
            for k, box in enumerate(boxes)
        ]
        height = high + 8 + max((box.height for box in boxes), default=0) + MARGIN
        width = max(wide, MARGIN + len(boxes) * column)
        circuit = Layer(elements, (width - wide) / 2 - left, -top)
        return Sheet(width, height, (circuit, Layer(tuple(texts))))

    def _rules(self, moment: "Moment") -> Box:
        """What a gate computes, and its formulas."""
        _, _, call = moment.title.partition(": ")
        lines = [equation(line, 20, 520) for line in moment.lines]
        return below([equation(call, 17, 520), *lines], 9)
