"""A view of a trace as DOT text.

A box has two halves: what an op makes, and beside it the formulas of its rules. Values flow down;
where the backward pass is drawn, an arrow for the gradient runs up beside that of the value. The
formulas are the rules themselves, read on symbols. Calls of modules are frames where that says
something; what `viz.folding` folds is one box, and outputs are small boxes at the bottom.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tinygrad_cv.viz import labels
from tinygrad_cv.viz.data import Node, Step
from tinygrad_cv.viz.diagnosing import lines
from tinygrad_cv.viz.folding import Box, Link, View
from tinygrad_cv.viz.judging import Judged, judge
from tinygrad_cv.viz.labels import FADED, FONT, GRADIENT, INK, SIZE, STYLES, Mark
from tinygrad_cv.viz.legend import Key, findings, legend
from tinygrad_cv.viz.letters import letters_in
from tinygrad_cv.viz.marking import first_bad, first_bad_gradient, named, origins
from tinygrad_cv.viz.words import Words, frame, name_of, parameter

Backward = bool | Literal["ops"]
CELLS = 8  # the most inputs that a box tells by name
SEVERAL = 3  # arrows between the same two boxes that become a fat one
SMALL = 8  # rows of boxes of a picture that has all its inputs in the first


@dataclass(frozen=True)
class Style:
    """What is drawn of what is visible."""

    backward: Backward = False
    formulas: bool = True
    details: bool = False
    step: Step | None = None
    """The numbers that the picture shows; none without it."""
    frame: int | None = None
    """How far a playback got."""
    direction: Literal["down", "right"] = "down"
    print: bool = False
    """In greys."""
    cost: str = ""
    """What the colour of the boxes tells: "flops", "parameters", "saved" or "time"."""
    shares: Mapping[int, float] = field(default_factory=dict)
    """Of each node, of that."""


# ----- the picture -------------------------------------------------------------------------------

Arrow = tuple[str, str, dict[str, str]]
"""Tail, head, attributes."""


@dataclass
class Statement:
    """A box, or a frame of boxes, with the arrows that are drawn after it."""

    frame: int | None
    write: Callable[[Any], None]
    arrows: list[Arrow] = field(default_factory=list)
    """They stand outside of frames: DOT takes an end for a member."""


class Painter:
    """Writes a view down as DOT."""

    def __init__(self, view: View, style: Style, note: str = "") -> None:
        self.view, self.style, self.note = view, style, note
        self.trace, self.nodes = view.trace, view.trace.nodes
        self.down = style.direction == "down"
        self.origins = origins(self.trace) if style.backward else {}
        self.spelled = "g" in letters_in(node.name for node in self.trace.nodes)
        """Whether g is somebody's name, and gradients are written in full."""
        self.keys = {Key.BLOCKS} if view.repeated else set()
        self.links: dict[str, list[Link]] = defaultdict(list)
        for link in view.links:
            self.links[link.target].append(link)
        self.places = {name: place for place, name in enumerate(view.boxes)}
        self.recorded = style.step is not None and any(step.shares for step in self.trace.steps)
        self.judged = Judged() if style.step is None else judge(self.trace, style.step)
        self.bad = {
            i for i, told in (style.step.values.items() if style.step else ()) if not told.finite
        }
        self.marks = self._marked()
        self.sent = self._sent()
        self.consumers: dict[int, set[int]] = defaultdict(set)
        for edge in self.trace.edges:
            if edge.gradient:
                self.consumers[edge.source].add(edge.target)
        self.main = self._main()

    def source(self) -> str:
        """The DOT text."""
        statements = [*self.statements()]
        picture = self.blank()
        self.arrange(picture, "f", statements)
        self.finish(picture)
        text = str(picture.source)
        return labels.greyed(text) if self.style.print else text

    def statements(self) -> Iterator[Statement]:
        """All boxes with the arrows that lead to them."""
        for found in self.view.boxes.values():
            yield self.statement(found, found.id, self.label(found), [*self._arrows(found)])
        yield from self._outputs()
        if self.trace.failure is not None:
            yield self._failed()

    def blank(self) -> Any:
        """A picture with nothing but its legend."""
        try:
            import graphviz
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "graphs are drawn with the graphviz package; run pip install 'tinygrad_cv[viz]'.",
                name=error.name,
            ) from error
        style = self.style
        notes = [labels.text(self.note, len(self.note))] if self.note else []
        if style.frame is not None:
            rule = self.trace.frames[style.frame].lines
            caption = [part for line in rule for part in labels.wrapped(*labels.indented(line))]
            notes.insert(0, labels.left_aligned(caption))
        below = {"label": legend(self.kinds(), self.keys, style, notes), "labelloc": "b"}
        font = {"fontname": FONT, "fontsize": str(SIZE), "fontcolor": INK}
        # A row runs through all frames (newrank).
        space = {"nodesep": "0.3", "ranksep": "0.22", "newrank": "true"}
        turned = {} if self.down else {"rankdir": "LR"}
        return graphviz.Digraph(
            graph_attr={"bgcolor": "white", **font, **space, **turned, **below},
            node_attr={"shape": "plain", **font},
            edge_attr={"color": INK, "arrowsize": "0.6"},
        )

    def kinds(self) -> set[str]:
        """The kinds of boxes that there are, for the legend."""
        found = {
            "module" if box.node is None else self.nodes[box.node].kind
            for box in self.view.boxes.values()
        }
        if self.trace.outputs:
            found.add("output")
        if self.trace.failure:
            found.add("failure")
        return found

    def arrange(self, column: Any, prefix: str, statements: Iterable[Statement]) -> None:
        """Write statements into their frames, each frame where its first statement is."""
        frames = self.view.frames
        contents: dict[int | None, list[Statement | int]] = defaultdict(list)
        placed: set[int] = set()
        for statement in statements:
            entry: Statement | int = statement
            inner = statement.frame
            contents[inner].append(entry)
            while inner is not None and inner not in placed:
                placed.add(inner)
                contents[frames[inner]].append(inner)
                inner = frames[inner]

        def write(graph: Any, around: int | None) -> list[Arrow]:
            """Also gives the arrows that are still to be drawn."""
            arrows = []
            for entry in contents[around]:
                if isinstance(entry, int):
                    name = f"cluster_{prefix}m{entry}"
                    with graph.subgraph(name=name, graph_attr=self._frame(entry)) as inner:
                        arrows += write(inner, entry)
                else:
                    entry.write(graph)
                    arrows += entry.arrows
                if around is None:
                    for tail, head, attributes in arrows:
                        graph.edge(tail, head, **attributes)
                    arrows = []
            return arrows

        write(column, None)

    def _frame(self, m: int) -> dict[str, str]:
        """The looks of a frame; that of equal blocks is heavy."""
        module = self.trace.modules[m]
        title = f"<B>{labels.text(frame(module), labels.LINE)}</B>"
        look = {
            "label": f"<{title}>",
            "labeljust": "l",
            "labelloc": "t",
            "fontsize": str(SIZE),
            "fontcolor": FADED,
            "color": "#888888",
            "peripheries": "1",
            "style": "rounded",
            "penwidth": "1",  # not that of the frame around it
            "margin": "8",
        }
        if module.repeat > 1:
            look |= {"color": INK, "fontcolor": INK, "penwidth": "2"}
        return look

    def finish(self, picture: Any) -> None:
        """Say what stands in one row: the outputs in the last, the inputs of a small net on top."""
        last = [f"o{k}" for k in range(len(self._results()))]
        ranks = self.view.ranks
        first = [
            found.id
            for found in self.view.boxes.values()
            if found.node is not None and self.nodes[found.node].kind != "op" and not found.frame
        ]
        diagnosed = self._diagnose(picture)
        rows = [("max", last)]
        if max(ranks.values(), default=0) <= SMALL:
            rows.append(("same" if diagnosed else "min", first))
        for rank, names in rows:
            if len(names) > 1:
                with picture.subgraph(graph_attr={"rank": rank}) as row:
                    for name in names:
                        row.node(name)

    def _diagnose(self, picture: Any) -> bool:
        """Put what was found above all else, if there is something."""
        told = lines(self.trace) if self.style.frame is None and self.style.step else []
        if told:
            picture.node("diagnosis", label=findings(told))
            picture.edge("diagnosis", next(iter(self.view.boxes)), style="invis", weight="0")
        return bool(told)

    # ----- what sets boxes apart -----------------------------------------------------------------

    def _marked(self) -> dict[str, Mark]:
        """The marks of boxes by their ids."""
        marks: dict[str, Mark] = {}
        step, failure = self.style.step, self.trace.failure
        for found in self.view.boxes.values():
            if words := "; ".join(dict.fromkeys(self._notes(found))):
                marks[found.id] = Mark(labels.ORANGE, words)
        if step is not None:
            bad = first_bad_gradient(self.trace, step), first_bad(self.trace, step)
            for i, mark in filter(None, bad):
                home = self.view.home[i]
                alone = self.view.boxes[home].node == i
                marks[home] = mark if alone else named(self.trace, i, mark)
        if failure is not None and failure.node is not None:
            words = "the backward pass failed here"
            marks[self.view.home[failure.node]] = Mark(STYLES["failure"][1], words)
        if self.style.frame is not None:
            current = self.view.home[self.trace.frames[self.style.frame].node]
            marks[current] = Mark(labels.ORANGE)
        return marks

    def _notes(self, found: Box) -> Iterator[str]:
        """What is to be pointed out about a box: of many nodes how many they are."""
        modules, layer = self.trace.modules, self.view.wording.layer.get(found.node or -1)
        for m in (found.module, layer):
            if m is not None and modules[m].note:
                yield modules[m].note
        noted = [self.nodes[i].note for i in found.nodes if self.nodes[i].note]
        if found.node is None and len(noted) > 1:
            same = noted[0] if len(set(noted)) == 1 else "pointed out"
            yield f"{len(noted)} of its nodes: {same}"
        elif noted:
            yield noted[0]

    def _sent(self) -> set[int] | None:
        """The nodes that sent their gradients on so far; None if all did."""
        if self.style.frame is None:
            return None
        return {found.node for found in self.trace.frames[: self.style.frame + 1]}

    # ----- boxes ---------------------------------------------------------------------------------

    def statement(
        self, found: Box, name: str, label: str, arrows: list[Arrow], **attributes: str
    ) -> Statement:
        return Statement(found.frame, lambda graph: graph.node(name, label, **attributes), arrows)

    def label(self, found: Box) -> str:
        """A box: what it is and makes, and behind it how its gradients come about."""
        told, mark = self.view.words(found), self.marks.get(found.id)
        if mark is not None and mark.color == labels.ORANGE:
            self.keys.add(Key.PLACE if self.style.frame is not None else Key.DIFFERENT)
        if found.node is None:
            assert found.module is not None
            own = self.own_ops(found)
            made = self.nodes[own[-1]] if own else None
            rows = labels.rows_of(told, None if made is None else made.id)
            details = self.trace.modules[found.module].details
            if self.style.details and details:
                rows[1:1] = [labels.text(line, labels.LINE) for line in labels.wrapped(details)]
            rows += self._rows(found, made)
            return labels.box("module", rows, mark=mark, fill=self._fill(found))
        node = self.nodes[found.node]
        rows = [*labels.rows_of(told, node.id), *self._rows(found, node)]
        if self.style.details:
            rows += labels.detail_rows(node)
        cells = [] if node.kind != "op" else self._cells(found, node)
        behind = self._behind(found, told)
        return labels.box(node.kind, rows, cells, behind, mark, self._fill(found))

    def own_ops(self, found: Box) -> list[int]:
        """The ops in a folded module itself, without their twins in hidden blocks."""
        return [
            i
            for i in found.nodes
            if self.nodes[i].kind == "op"
            and self.nodes[i].rule is None
            and any(m.id == found.module for m in self.trace.ancestors(self.nodes[i].module))
        ]

    def _rows(self, found: Box, node: Node | None) -> list[str]:
        """The parameters in a box, and what was seen of what it makes."""
        rows = []
        for i in found.parameters:
            rows.append(labels.text(parameter(self.trace, i)))
            rows += [f"&#160;&#160;{row}" for row in self._arrived(i, short=True)]
        step = self.style.step
        if node is not None and step is not None:
            seen = labels.value_rows(node, step)
            told = step.values.get(node.id)
            if told is not None and told.count > 1 and told.mean is not None:
                self.keys.add(Key.SPREAD)
            rows = [*seen, *rows]
            if node.requires_grad:
                rows += self._arrived(node.id)
        elif node is not None and self.style.backward is True and node.kind != "op":
            rows += filter(None, [self.origins.get(node.id, "").removeprefix("1")])
        if note := self._note(found):
            rows.append(labels.colored(labels.text(note, labels.LINE), FADED))
        if self.style.cost and (share := self._share(found)) is not None:
            rows.append(f"<B>{share:.1%}</B> of all {COSTS[self.style.cost]}")
        return rows

    def _note(self, found: Box) -> str:
        """What judging says of a node in it: "no effect before batch norm"."""
        ids = [found.node, *found.parameters] if found.node is not None else []
        notes = ((i, self.judged.notes.get(i)) for i in ids)
        return "; ".join(
            note if i == found.node else f"{self.nodes[i].name.rpartition('.')[2]}: {note}"
            for i, note in notes
            if note and i is not None
        )

    def _arrived(self, i: int, short: bool = False) -> list[str]:
        """What was seen of the gradient of a node, as rows; `short` on one line."""
        step, node = self.style.step, self.nodes[i]
        if step is None:
            return []
        known = self.sent is None or self.consumers[i] <= self.sent
        told = step.gradients.get(i) if known else None
        single = math.prod(node.shape) == 1
        rows = [labels.gradient_row(told, single, self.judged.nodes.get(i))]
        if node.kind == "parameter" and step.updates:
            rows.append(labels.update_row(step.updates.get(i)))
        return [", ".join(rows)] if short else rows

    def _behind(self, found: Box, told: Words) -> str:
        """The half with the formulas; empty where there are none."""
        assert found.node is not None
        node = self.nodes[found.node]
        if not self.style.formulas or not told.formulas or node.kind != "op":
            return ""
        self.keys.add(Key.FORMULAS)
        letters = {word for line in told.formulas for word in re.findall(r"\w+", line)}
        spelled = self.spelled or any(entry.called == "g" for entry in node.inputs)
        if "g" in letters and not spelled:
            self.keys.add(Key.ARRIVING)
        if "y" in letters and node.called == "y" != node.name:
            self.keys.add(Key.OUTPUT)
        if any(entry.called == "y" for entry in node.inputs):
            self.keys.add(Key.SECOND)
        if any(" += " in formula for formula in told.formulas):
            self.keys.add(Key.SUM)
        html, origin = labels.formulas_of(told), self.origins.get(node.id, "")
        if origin:
            arrived = f"∂L/∂{node.called}" if spelled else "g"
            html = f'{labels.text(f"{arrived} = {origin}")}<BR ALIGN="LEFT"/>{html}'
        return labels.colored(html, GRADIENT if self._is_there(found) else STYLES["gradient"][0])

    def _is_there(self, found: Box) -> bool:
        """Whether a playback got to a box: one of its consumers has sent gradients on."""
        return self.sent is None or any(
            i in self.trace.outputs or not self.consumers[i].isdisjoint(self.sent)
            for i in found.nodes
            if i not in found.parameters
        )

    def _cells(self, found: Box, node: Node) -> list[tuple[str, str]]:
        """The names of the inputs, where several arrows come in."""
        ports = {link.port for link in self.links[found.id]}
        if not self.down or not 2 <= len(ports) <= CELLS:
            return []
        return [
            (f"i{port}", labels.text(name_of(node.inputs[port])))
            for port in sorted(port for port in ports if port is not None)
        ]

    def _share(self, found: Box) -> float | None:
        """What a box costs, of all."""
        known = [self.style.shares[i] for i in found.nodes if i in self.style.shares]
        return sum(known) if known else None

    def _fill(self, found: Box) -> str:
        """The colour of its cost, the darkest for the box that costs most."""
        share = self._share(found) if self.style.cost else None
        if not share:
            return ""
        return labels.mixed("#FFFFFF", labels.COSTLY, math.sqrt(share / self._most()))

    def _most(self) -> float:
        return max(filter(None, map(self._share, self.view.boxes.values())), default=1.0)

    # ----- arrows --------------------------------------------------------------------------------

    def _main(self) -> set[tuple[str, str]]:
        """The ends of the arrows on the longest way through the picture, which is straight."""
        ranks = self.view.ranks
        name = max(ranks, key=lambda name: ranks[name], default="")
        found = set()
        while name:
            above = [
                link.source
                for link in self.links[name]
                if ranks[link.source] == ranks[name] - 1 and not self.goes_back(link)
            ]
            if above:
                found.add((above[0], name))
            name = above[0] if above else ""
        return found

    def _arrows(self, found: Box) -> Iterator[Arrow]:
        """The arrows that lead to a box, and those of the gradients that leave it."""
        cells = {link.port for link in self.links[found.id]}
        between: dict[str, list[Link]] = defaultdict(list)
        for link in self.links[found.id]:
            between[link.source].append(link)
        for source, links in between.items():
            if len(links) >= SEVERAL:
                yield from self._pair(source, found.id, links, several=True)
                continue
            for link in links:
                named = link.port is not None and 2 <= len(cells) <= CELLS and self.down
                named = named and not self.goes_back(link)
                head = f"{found.id}:i{link.port}:n" if named else found.id
                yield from self._pair(source, head, [link])

    def _pair(
        self, tail: str, head: str, links: list[Link], several: bool = False
    ) -> Iterator[Arrow]:
        """The arrow of the value, and that of its gradient."""
        back, route = self.goes_back(links[0]), self.route(links[0])
        look: dict[str, str] = {}
        if any(i in self.bad for i in self._sources(links)):
            look = labels.arrow(math.nan)
            self.keys.add(Key.BROKEN)
        gradient = any(link.gradient for link in links)
        if gradient and not look and self.recorded and not self.style.backward:
            look = self._look(links)
        if several:
            self.keys.add(Key.SEVERAL)
            look = {"arrowsize": "0.8", **look, "penwidth": "5"}
        yield self._directed(tail, head, back, look | route)
        if gradient and self.style.backward is True:
            self.keys.add(Key.PAIR)
            look = self._look(links)
            targets = {target for link in links for target in link.targets}
            if self.sent is not None and self.sent.isdisjoint(targets):
                look = {"style": "invis"}
            there, back_again, flow = self._directed(tail, head, back, look | route)
            flow["dir"] = "forward" if back else "back"
            yield there, back_again, flow

    def _directed(self, tail: str, head: str, back: bool, look: dict[str, str]) -> Arrow:
        """An arrow whose upper end comes first, since layout goes from the top down."""
        return (head, tail, {"dir": "back", **look}) if back else (tail, head, look)

    def _sources(self, links: Iterable[Link]) -> Iterator[int]:
        """The nodes whose values an arrow carries."""
        for link in links:
            for key in link.keys:
                target, _, port = key.partition(":")
                source = self.nodes[int(target)].inputs[int(port)].source
                assert source is not None
                yield source

    def _look(self, links: Iterable[Link]) -> dict[str, str]:
        """The colour and width of an arrow that a gradient flows along: the worst of its edges."""
        if not self.recorded:
            return {"color": GRADIENT}
        keys = (key for link in links for key in link.keys)
        edges = self.judged.edges
        t = labels.worst(edges[key] for key in keys if key in edges)
        self.keys.add(Key.SCALE)
        if t is None:
            self.keys.add(Key.UNKNOWN)
        elif math.isnan(t):
            self.keys.add(Key.BROKEN)
        elif t == -math.inf:
            self.keys.add(Key.ZERO)
        return labels.arrow(t)

    def goes_back(self, link: Link) -> bool:
        """Whether an arrow leads to an earlier box: from one repetition to the next."""
        return self.places[link.source] >= self.places[link.target]

    def route(self, link: Link) -> dict[str, str]:
        """The longest way is straight, and what skips boxes moves none of them."""
        if link.source == link.target:
            return {}
        if (link.source, link.target) in self.main:
            return {"weight": "20"}
        ranks = self.view.ranks
        return {"weight": "0"} if abs(ranks[link.target] - ranks[link.source]) > 2 else {}

    # ----- what is no node -----------------------------------------------------------------------

    def _results(self) -> list[tuple[int, str]]:
        """Each output with what it is called."""
        outputs, names = self.trace.outputs, self.trace.output_names
        return [
            (i, names[k] if k < len(names) and names[k] else self.nodes[i].name or "output")
            for k, i in enumerate(outputs)
            if self.trace.failure is None
        ]

    def _outputs(self) -> Iterator[Statement]:
        for k, (i, name) in enumerate(self._results()):
            label = labels.box("output", [labels.text(name)])
            tail, head = self.view.home[i], f"o{k}"
            route = {"weight": "20" if k == 0 else "1"}
            look = labels.arrow(math.nan) if i in self.bad else {}
            arrows: list[Arrow] = [(tail, head, look | route)]
            if self.style.backward is True and self.nodes[i].requires_grad:
                arrows.append((tail, head, {"dir": "back", "color": GRADIENT, **route}))
            yield Statement(None, _node(head, label), arrows)

    def _failed(self) -> Statement:
        failure = self.trace.failure
        assert failure is not None
        around = None if failure.module is None else self.view.around[failure.module]
        arrows: list[Arrow] = [
            (self.view.home[i], f"failure:i{port}:n", {"color": STYLES["failure"][1]})
            for port, (_, i, _) in enumerate(failure.inputs)
            if i is not None
        ]
        return Statement(around, _node("failure", labels.failure_box(failure)), arrows)


COSTS = {"flops": "FLOPs", "parameters": "parameters", "saved": "bytes saved", "time": "time"}


def _node(name: str, label: str) -> Callable[[Any], None]:
    return lambda graph: graph.node(name, label)
