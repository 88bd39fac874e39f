"""The ops of a backward pass as a column of their own, beside the forward pass: backward="ops"."""

from collections.abc import Iterator
from typing import Any

from tinygrad_cv.viz import labels
from tinygrad_cv.viz.data import Node
from tinygrad_cv.viz.folding import Box, Link
from tinygrad_cv.viz.labels import FADED, GRADIENT, STYLES
from tinygrad_cv.viz.painting import Arrow, Painter, Statement
from tinygrad_cv.viz.words import frame


class PassPainter(Painter):
    """Writes a view with the ops of rules down as DOT: two columns, each op in the same row."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.reached = [
            found
            for found in self.view.boxes.values()
            if any(i in self.origins for i in found.nodes)
        ]

    def source(self) -> str:
        forward, backward = [*self.statements()], [*self._backward()]
        picture = self.blank()
        with self._column(picture, "forward", FADED) as column:
            self.arrange(column, "f", forward)
        with self._column(picture, "backward", GRADIENT) as column:
            self.arrange(column, "b", backward)
        self._join(picture)
        text = str(picture.source)
        return labels.greyed(text) if self.style.print else text

    def kinds(self) -> set[str]:
        return super().kinds() | {"gradient"}

    def _behind(self, *given: Any) -> str:
        return ""  # formulas stand in the other column

    def _column(self, picture: Any, name: str, color: str) -> Any:
        """A group of boxes under a heading, without a frame."""
        heading = {"label": name, "labelloc": "t", "fontsize": "18", "fontcolor": color}
        return picture.subgraph(name=f"cluster_{name}", graph_attr={"peripheries": "0", **heading})

    def _backward(self) -> Iterator[Statement]:
        ops = [f for f in self.reached if f.node is None or self.nodes[f.node].kind == "op"]
        yield from map(self._rule_in_ops, reversed(ops))
        for found in self.reached:
            if found.node is not None and self.nodes[found.node].kind != "op":
                node = self.nodes[found.node]
                rows = [labels.heading(f"gradient of {labels.text(node.name or f'%{node.id}')}")]
                origin = self.origins.get(node.id, "")
                rows += [
                    labels.type_of(node),
                    *([origin] if origin else []),
                    *self._arrived(node.id),
                ]
                yield self.statement(found, _back(found.id), labels.box("gradient", rows), [])

    def _rule(self, found: Box) -> Statement:
        """The rules of all ops in a folded module, or of an op that no gradient reached."""
        arrows = [self._up(_back(found.id), k) for k in self.links[found.id] if k.gradient]
        return self.statement(found, _back(found.id), self._rules(found), arrows)

    def _rules(self, found: Box) -> str:
        """A backward box."""
        if found.node is None:
            assert found.module is not None
            ops = self.own_ops(found)
            title = labels.text(frame(self.trace.modules[found.module]), labels.LINE)
            rows = [labels.heading(f"backward of {title}")]
            return labels.box("gradient", [*rows, *(self._arrived(ops[-1]) if ops else [])])
        node = self.nodes[found.node]
        rows = [labels.heading(f"backward of {labels.text(node.op)}")]
        if origin := self.origins.get(node.id, ""):
            rows.append(f"g = {origin}")
        rows += self._arrived(node.id)
        if self.style.formulas:
            rows.append(labels.formulas_of(self.view.words(found)))
        return labels.box("gradient", rows)

    def _up(self, source: str, link: Link) -> Arrow:
        """An arrow for a gradient. Layout goes from the top down, so its upper end comes first."""
        return _back(link.source), source, {"dir": "back", **self._look([link]), **self.route(link)}

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
            look = {"label": "", "peripheries": "1", "color": STYLES["gradient"][1]}
            if found.frame is not None:
                look |= {"style": "solid", "penwidth": "1"}  # not those of the frame around it
            with graph.subgraph(name=f"cluster_{i}", graph_attr=look) as cluster:
                for n in made:
                    told = self.nodes[n]
                    if n != gradient and told.rule is not None and told.kind == "op":
                        for port, entry in labels.given(told):
                            if entry.source is not None:
                                end = f"{boxes[n]}:{port}:s"
                                flow = {"dir": "back", "color": GRADIENT}
                                cluster.edge(end, boxes[entry.source], **flow)
                    cluster.node(boxes[n], self._rules(found) if n == gradient else _box(told))

        arrows = []
        for link in self.links[found.id]:
            if link.gradient and link.port is not None:
                share = node.inputs[link.port].share
                arrows.append(self._up(boxes[gradient if share is None else share], link))
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
        for found in self.reached:
            with picture.subgraph(graph_attr={"rank": "same"}) as row:
                row.node(found.id)
                row.node(_back(found.id))
        roots = (i for i in self.trace.outputs if self.nodes[i].requires_grad)
        for name in dict.fromkeys(self.view.home[root] for root in roots):
            picture.edge(name, _back(name), constraint="false", color=GRADIENT)


def _box(node: Node) -> str:
    """An op of the backward pass, whose inputs come from below, or what it reads."""
    if node.rule is None:
        return labels.box(node.kind, [labels.place(node.id) + labels.text(node.name or node.op)])
    if node.kind != "op":
        rows = [labels.heading("constant"), labels.place(node.id) + labels.type_of(node)]
        return labels.box(node.kind, rows)
    return labels.box("gradient", labels.op_rows(node, ""), labels.input_cells(node), below=True)


def _back(name: str) -> str:
    """The id of the backward box of a forward box."""
    return f"g{name[1:]}" if name.startswith("n") else f"g{name}"
