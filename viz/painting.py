"""A view of a trace as DOT text.

A forward box carries the names of its op's inputs along its top edge, because those are the names
that the formulas use; the backward box of the same op stands in the same row and carries a gradient
for each of them. So the gradients flow up one column as the values flow down the other. The
formulas are the rules themselves, read on symbols. Calls of modules are frames; what `viz.folding`
folds is one box.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from tinygrad_cv.viz import labels
from tinygrad_cv.viz.data import Node, Step, Trace
from tinygrad_cv.viz.folding import Box, Link, View
from tinygrad_cv.viz.labels import FADED, FONT, GRADIENT, INK, SIZE, STYLES, Mark

Backward = bool | Literal["ops"]


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


# ----- what is seen in numbers -------------------------------------------------------------------


def first_bad_value(step: Step) -> int | None:
    """The first node whose value is not finite; its inputs, as far as they are known, are."""
    return min((i for i, told in step.values.items() if not told.finite), default=None)


def first_bad_gradient(step: Step) -> int | None:
    """The node that a gradient which is not finite reaches first: the last one in the graph."""
    return max((i for i, told in step.gradients.items() if not told.finite), default=None)


def _origins(trace: Trace) -> dict[int, str]:
    """The nodes that a gradient reaches, each with what its gradient is, if a note is needed.

    A root receives the seed of the walk, and every node a share from each of its consumers.
    """
    seeds = Counter(i for i in set(trace.outputs) if trace.nodes[i].requires_grad)
    arrivals = seeds.copy()
    for node in reversed(trace.nodes):
        if node.id in arrivals:
            arrivals.update(
                entry.source for entry in node.inputs if entry.gradient and entry.source is not None
            )
    return {
        i: f"the sum of {count} gradients" if count > 1 else "1" if i in seeds else ""
        for i, count in arrivals.items()
    }


# ----- the picture -------------------------------------------------------------------------------


@dataclass
class Statement:
    """A box, or a frame of boxes, with the arrows that are drawn after it."""

    frame: int | None
    write: Callable[[Any], None]
    arrows: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """Tail, head, attributes. They stand outside of frames: DOT takes an end for a member."""


class Painter:
    """Writes a view down as DOT."""

    def __init__(self, view: View, style: Style, note: str = "") -> None:
        self.view, self.style, self.note = view, style, note
        self.trace, self.nodes = view.trace, view.trace.nodes
        self.origins = _origins(self.trace) if style.backward else {}
        self.links: dict[str, list[Link]] = defaultdict(list)
        for link in view.links:
            self.links[link.target].append(link)
        self.places = {name: place for place, name in enumerate(view.boxes)}
        self.reached = {
            found.id for found in view.boxes.values() if any(i in self.origins for i in found.nodes)
        }
        self.marks, self.gradient_marks = self._marked()
        self.sent = self._sent()
        self.consumers: dict[int, set[int]] = defaultdict(set)
        for edge in self.trace.edges:
            if edge.gradient:
                self.consumers[edge.source].add(edge.target)

    def source(self) -> str:
        """The DOT text."""
        picture = self.blank()
        with self._column(picture, "forward", FADED) as column:
            self.arrange(column, "f", self._forward())
        if self.style.backward:
            with self._column(picture, "backward", GRADIENT) as column:
                self.arrange(column, "b", self._backward())
            self._join(picture)
        return str(picture.source)

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
            lines = self.trace.frames[style.frame].lines
            caption = [part for line in lines for part in labels.wrapped(*labels.indented(line))]
            notes.insert(0, labels.left_aligned(caption))
        if style.step is not None and self.view.repeated:
            told = "of equal blocks the boxes show the first, and arrows the largest norm"
            notes.append(labels.colored(told, FADED))
        scale = "" if style.step is None else "norm of the gradient that flows along an arrow:"
        legend = {
            "label": labels.legend(self.kinds(), style.formulas, scale, notes),
            "labelloc": "b",
        }
        font = {"fontname": FONT, "fontsize": str(SIZE), "fontcolor": INK}
        space = {"nodesep": "0.25", "ranksep": "0.35"}
        rows = {"newrank": "true"}  # a row runs through both columns
        return graphviz.Digraph(
            graph_attr={"bgcolor": "white", **font, **space, **rows, **legend},
            node_attr={"shape": "plain", **font},
            edge_attr={"color": INK, "arrowsize": "0.7"},
        )

    def kinds(self) -> set[str]:
        """The kinds of boxes that there are, for the legend."""
        found = {
            "module" if box.node is None else self.nodes[box.node].kind
            for box in self.view.boxes.values()
        }
        if self.style.backward:
            found.add("gradient")
        if self.trace.failure:
            found.add("failure")
        return found

    def _column(self, picture: Any, name: str, color: str) -> Any:
        """A group of boxes under a heading, without a frame."""
        heading = {"label": name, "labelloc": "t", "fontsize": "18", "fontcolor": color}
        return picture.subgraph(name=f"cluster_{name}", graph_attr={"peripheries": "0", **heading})

    def arrange(self, column: Any, prefix: str, statements: Iterable[Statement]) -> None:
        """Write statements into their frames, each frame where its first statement is."""
        frames = self.view.frames
        contents: dict[int | None, list[Statement | int]] = defaultdict(list)
        placed: set[int] = set()
        for statement in statements:
            entry: Statement | int = statement
            frame = statement.frame
            contents[frame].append(entry)
            while frame is not None and frame not in placed:
                placed.add(frame)
                contents[frames[frame]].append(frame)
                frame = frames[frame]

        def write(graph: Any, frame: int | None) -> list[tuple[str, str, dict[str, str]]]:
            """Also gives the arrows that are still to be drawn."""
            arrows = []
            for entry in contents[frame]:
                if isinstance(entry, int):
                    module = self.trace.modules[entry]
                    look = {
                        "label": labels.frame_heading(module),
                        "labeljust": "l",
                        "labelloc": "t",
                        "fontsize": str(SIZE),
                        "fontcolor": FADED,
                        "color": "#999999",
                        "peripheries": "1",
                        "style": "rounded",
                        "penwidth": "1",  # not that of the frame around it
                    }
                    if module.repeat > 1:
                        look |= {"color": INK, "fontcolor": INK, "penwidth": "2"}
                    with graph.subgraph(name=f"cluster_{prefix}m{entry}", graph_attr=look) as inner:
                        arrows += write(inner, entry)
                else:
                    entry.write(graph)
                    arrows += entry.arrows
                if frame is None:
                    for tail, head, attributes in arrows:
                        graph.edge(tail, head, **attributes)
                    arrows = []
            return arrows

        write(column, None)

    # What sets boxes apart.

    def _marked(self) -> tuple[dict[str, Mark], dict[str, Mark]]:
        """The marks of forward boxes and of backward boxes, by the id of the forward box."""
        marks: dict[str, Mark] = {}
        gradient_marks: dict[str, Mark] = {}
        step, failure = self.style.step, self.trace.failure
        for found in self.view.boxes.values():
            noted = [self.nodes[i] for i in found.nodes if self.nodes[i].note]
            if found.node is None and noted:
                marks[found.id] = Mark(labels.ORANGE, f"{len(noted)} of its nodes differ")
            elif noted:
                marks[found.id] = Mark(labels.ORANGE, noted[0].note)
        if step is not None:
            value, gradient = first_bad_value(step), first_bad_gradient(step)
            if gradient is not None:
                place = gradient_marks if self.style.backward else marks
                what = "" if self.style.backward else " gradient"
                nan = step.gradients[gradient].nan
                place[self.view.home[gradient]] = self._bad(gradient, nan, what)
            if value is not None:
                marks[self.view.home[value]] = self._bad(value, step.values[value].nan)
        if failure is not None and failure.node is not None:
            words = "the backward pass failed here"
            marks[self.view.home[failure.node]] = Mark(STYLES["failure"][1], words)
        if self.style.frame is not None:
            current = self.view.home[self.trace.frames[self.style.frame].node]
            marks[current] = gradient_marks[current] = Mark(labels.ORANGE)
        return marks, gradient_marks

    def _bad(self, i: int, nan: int, what: str = "") -> Mark:
        words = f"first {'NaN' if nan else 'inf'}{what} here"
        if self.view.boxes[self.view.home[i]].node is None:
            words += f": {self.nodes[i].op} %{i}"
        return Mark(labels.MAGENTA, words)

    def _sent(self) -> set[int] | None:
        """The nodes that sent their gradients on so far; None if all did."""
        if self.style.frame is None:
            return None
        return {frame.node for frame in self.trace.frames[: self.style.frame + 1]}

    def _gradient_of(self, i: int) -> float | None:
        """The norm of a node's complete gradient, if it is known and the playback got there."""
        assert self.style.step is not None
        if self.sent is not None and not self.consumers[i] <= self.sent:
            return None
        return labels.gradient_norm(self.style.step.gradients.get(i))

    # The two columns.

    def _forward(self) -> Iterator[Statement]:
        colored = self.style.step is not None and not self.style.backward
        for found in self.view.boxes.values():
            arrows = []
            for link in self.links[found.id]:
                look = self._look(link) if colored and link.gradient else {}
                head = found.id if link.port is None else f"{found.id}:i{link.port}:n"
                tail = link.source + self.end(link)
                arrows.append((tail, head, look | self.route(link)))
            yield self.statement(found, found.id, self.label(found), arrows)
        failure = self.trace.failure
        if failure is not None:
            frame = None if failure.module is None else self.view.around[failure.module]
            arrows = [
                (self.view.home[i], f"failure:i{port}:n", {"color": STYLES["failure"][1]})
                for port, (_, i, _) in enumerate(failure.inputs)
                if i is not None
            ]
            label = labels.failure_box(failure)
            yield Statement(frame, lambda graph: graph.node("failure", label), arrows)

    def statement(
        self,
        found: Box,
        name: str,
        label: str,
        arrows: list[tuple[str, str, dict[str, str]]],
        **attributes: str,
    ) -> Statement:
        return Statement(found.frame, lambda graph: graph.node(name, label, **attributes), arrows)

    def _look(self, link: Link) -> dict[str, str]:
        """The colour and width of an arrow that a gradient flows along."""
        if self.style.step is None:
            return {"color": GRADIENT}
        return labels.gradient_arrow(link.norm(self.style.step))

    def label(self, found: Box) -> str:
        """A forward box."""
        mark = self.marks.get(found.id)
        if found.node is None:
            assert found.module is not None
            module = self.trace.modules[found.module]
            own = self._own(found)
            ops = [i for i in own if self.nodes[i].kind == "op"]
            made = self.nodes[ops[-1]] if ops else None
            extra = self._seen(made) if made is not None else []
            return labels.module_box(module, len(ops), made, self.style.details, extra, mark)
        node = self.nodes[found.node]
        extra = self._seen(node)
        if self.style.details:
            extra += labels.detail_rows(node)
        if node.kind != "op":
            return labels.leaf_box(node, node.name, extra, mark)
        return labels.op_box(node, self.style.formulas and not self.style.backward, extra, mark)

    def _own(self, found: Box) -> list[int]:
        """The nodes in a folded module itself, without their twins in hidden blocks."""
        return [
            i
            for i in found.nodes
            if self.nodes[i].rule is None
            and any(m.id == found.module for m in self.trace.ancestors(self.nodes[i].module))
        ]

    def _seen(self, node: Node) -> list[str]:
        """What was seen of a node, as rows."""
        step = self.style.step
        if step is None:
            return []
        rows = labels.value_rows(node, step)
        if not self.style.backward and node.requires_grad:
            rows += self._arrived(node.id)
        if node.kind == "parameter" and step.updates:
            rows.append(labels.update_row(step.updates.get(node.id)))
        return rows

    def _backward(self) -> Iterator[Statement]:
        boxes = [found for found in self.view.boxes.values() if found.id in self.reached]
        ops = [f for f in boxes if f.node is None or self.nodes[f.node].kind == "op"]
        if self.style.backward == "ops":
            yield from map(self._rule_in_ops, reversed(ops))
        else:
            yield from map(self._rule, ops)
        for found in boxes:
            if found.node is not None and self.nodes[found.node].kind != "op":
                node, mark = self.nodes[found.node], self.gradient_marks.get(found.id)
                origin, extra = self.origins.get(node.id, ""), self._arrived(node.id)
                label = labels.gradient_box(node, origin, extra, mark)
                yield self.statement(found, _back(found.id), label, [], **self._shown(found.nodes))

    def _rule(self, found: Box) -> Statement:
        """The rules of one op, with a port for each gradient that they make, or of a module."""
        arrows = []
        for link in self.links[found.id]:
            if link.gradient:
                head = _back(found.id) + (f":i{link.port}:n" if link.port is not None else "")
                arrows.append(self._up(head, link))
        return self.statement(
            found, _back(found.id), self._rules(found, True), arrows, **self._shown(found.nodes)
        )

    def _rules(self, found: Box, ports: bool) -> str:
        """A backward box."""
        mark = self.gradient_marks.get(found.id)
        if found.node is None:
            assert found.module is not None
            ops = [i for i in self._own(found) if self.nodes[i].kind == "op"]
            extra = self._arrived(ops[-1]) if ops else []
            return labels.module_gradient_box(self.trace.modules[found.module], extra, mark)
        node, step = self.nodes[found.node], self.style.step
        origin, extra = self.origins.get(node.id, ""), self._arrived(node.id)
        cells = []
        if ports:
            shapes = [
                self.nodes[entry.source].shape
                for entry in node.inputs
                if entry.gradient and entry.source is not None
            ]
            norms = None
            if step is not None:
                links = (link for link in self.links[found.id] if link.gradient)
                told = ((link.port, link.norm(step)) for link in links)
                norms = {port: norm for port, norm in told if port is not None and norm is not None}
                if self.sent is not None and node.id not in self.sent:
                    norms = {}
            cells = labels.gradient_cells(node, shapes, norms)
        return labels.rules_box(node, origin, self.style.formulas, cells, extra, mark)

    def _arrived(self, i: int) -> list[str]:
        """The norm of the gradient of a node, as rows."""
        if self.style.step is None:
            return []
        norm, told = self._gradient_of(i), self.style.step.gradients.get(i)
        single = norm is not None and told is not None and told.count == 1
        return [labels.gradient_row(norm, told.mean if single and told else None)]

    def _shown(self, nodes: Iterable[int]) -> dict[str, str]:
        """How the backward box of these nodes is hidden until a playback got there.

        A node is there once one of its consumers has sent gradients on, an output from the start.
        """
        if self.sent is None:
            return {}
        there = any(
            i in self.trace.outputs or not self.consumers[i].isdisjoint(self.sent) for i in nodes
        )
        return {} if there else {"style": "invis"}

    def _up(self, source: str, link: Link) -> tuple[str, str, dict[str, str]]:
        """An arrow for a gradient. Layout goes from the top down, so its upper end comes first."""
        look = self._look(link) | self.route(link)
        if self.sent is not None and self.sent.isdisjoint(link.targets):
            look = {"style": "invis"}
        return _back(link.source) + self.end(link), source, {"dir": "back", **look}

    def end(self, link: Link) -> str:
        """Where an arrow leaves the upper box: from below, if it has to cross a frame."""
        source, target = (self.view.boxes[end] for end in (link.source, link.target))
        return "" if source.frame == target.frame or self._goes_back(link) else ":s"

    def _goes_back(self, link: Link) -> bool:
        """Whether an arrow leads to an earlier box: from one repetition to the next."""
        return self.places[link.source] >= self.places[link.target]

    def route(self, link: Link) -> dict[str, str]:
        """How often an arrow is there, and that one back to an earlier op moves no box."""
        look = {}
        if self._goes_back(link):
            look["constraint"] = "false"
        if len(link.keys) != self._repeats(link):
            look |= {"label": f" ×{len(link.keys)}", "fontname": FONT, "fontsize": str(SIZE)}
        return look

    def _repeats(self, link: Link) -> int:
        """How often the frames around both ends of an arrow are there."""
        around = [
            set(self.view.frames_around(self.view.boxes[end].frame))
            for end in (link.source, link.target)
        ]
        return math.prod(self.trace.modules[frame].repeat for frame in around[0] & around[1])

    def _rule_in_ops(self, found: Box) -> Statement:
        """A frame for the rules of an op, around the ops that they consist of.

        A forward value that a rule reads is told by its number instead of by a long arrow. The sum
        of several gradients is not drawn as ops: all its arrows end at the same box.
        """
        node = self.nodes[found.node] if found.node is not None else None
        if node is None or node.gradient is None:
            return self._rule(found)
        i, gradient = node.id, node.gradient
        made = self._made(node)
        boxes = {n: f"n{n}" if self.nodes[n].rule is not None else f"s{i}_{n}" for n in made}
        boxes[gradient] = f"g{i}"

        def write(graph: Any) -> None:
            frame = {"label": "", "peripheries": "1", "color": STYLES["gradient"][1]}
            if found.frame is not None:
                frame |= {"style": "solid", "penwidth": "1"}  # not those of the frame around it
            with graph.subgraph(name=f"cluster_{i}", graph_attr=frame) as cluster:
                for n in made:
                    told = self.nodes[n]
                    if n == gradient:
                        label = self._rules(found, ports=False)
                    elif told.rule is None:
                        label = labels.reference_box(told)
                    elif told.kind != "op":
                        label = labels.leaf_box(told, "constant")
                    else:
                        label = labels.backward_op_box(told)
                        for port, entry in labels.given(told):
                            if entry.source is not None:
                                end = f"{boxes[n]}:{port}:s"
                                look = {"dir": "back", "color": GRADIENT}
                                cluster.edge(end, boxes[entry.source], **look)
                    cluster.node(boxes[n], label)

        arrows = []
        for link in self.links[found.id]:
            if link.gradient and link.port is not None:
                share = node.inputs[link.port].share
                end = boxes[gradient if share is None else share]
                arrows.append(self._up(end, link))
        return Statement(found.frame, write, arrows)

    def _made(self, node: Node) -> list[int]:
        """What a node's rules computed, back to its gradient and the forward graph, in order."""
        ends = (node.gradient, *(entry.share for entry in node.inputs))
        seen = {end for end in ends if end is not None}
        stack = list(seen)
        while stack:
            told = self.nodes[stack.pop()]
            if told.id != node.gradient and told.rule is not None:
                read = (entry.source for entry in told.inputs)
                sources = {source for source in read if source is not None} - seen
                stack += sources
                seen |= sources
        return sorted(seen)

    def _join(self, picture: Any) -> None:
        """Each op in the same row in both columns, and the arrows from the one to the other."""
        for name in self.view.boxes:
            if name in self.reached:
                with picture.subgraph(graph_attr={"rank": "same"}) as row:
                    row.node(name)
                    row.node(_back(name))
        roots = (i for i in self.trace.outputs if self.nodes[i].requires_grad)
        for name in dict.fromkeys(self.view.home[root] for root in roots):
            picture.edge(name, _back(name), constraint="false", color=GRADIENT)


def _back(name: str) -> str:
    """The id of the backward box of a forward box."""
    return f"g{name[1:]}" if name.startswith("n") else f"g{name}"
