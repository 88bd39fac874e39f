"""The expression graph, and beside it the backward graph, as a picture.

The picture is DOT text. A forward box carries the names of its op's inputs along its top edge,
because those are the names that the formulas use; the backward box of the same op stands in the
same row and carries a gradient for each of them. So the gradients flow up one column as the
values flow down the other. The formulas are the rules themselves, read on symbols.
"""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

from tinygrad_cv.creation import ones_like
from tinygrad_cv.graph import Graph, Node, backpropagate, enable_grad, topological
from tinygrad_cv.storage import write
from tinygrad_cv.tensor import Recorded, Tensor
from tinygrad_cv.viz import labels
from tinygrad_cv.viz.labels import FADED, FONT, GRADIENT, INK, SIZE, STYLES, operands
from tinygrad_cv.viz.render import FORMATS, check_path, render


@dataclass(frozen=True)
class Drawing:
    """A picture of a graph: `source` is its DOT text. A notebook shows it by itself."""

    source: str

    def save(self, path: str | os.PathLike[str], timeout: float = 30.0) -> Path:
        """Write the picture to a file, whole or not at all, in the format that its suffix names.

        `.dot` is the text itself. `.svg` and `.png` are rendered by Graphviz's `dot` or by
        `graphviz-pure`, taking at most `timeout` seconds.

        Raises ValueError for another suffix, RuntimeError if neither program is there or it
        fails, TimeoutError if it takes longer.
        """
        path = check_path(path, (*FORMATS, ".dot"))
        suffix = path.suffix.lower()
        dot = suffix == ".dot"
        write(path, self.source.encode() if dot else render(self.source, suffix, timeout))
        return path

    def _repr_svg_(self) -> str:
        return render(self.source, ".svg", timeout=30.0).decode()


def draw(
    *tensors: Tensor, backward: bool | Literal["ops"] = False, formulas: bool = True
) -> Drawing:
    """Draw the graph of one or more tensors, with the formula of each gradient rule.

    With `backward=True` the backward graph stands beside the forward graph, one box for the rules
    of each op. `backward="ops"` draws every op of the backward pass instead; to find them it runs
    the pass (starting from ones), so the saved values must still be there. `formulas=False`
    leaves the formulas out. Neither `.grad` nor the graph is changed.

    In a formula, y is the op's output and g is ∂L/∂y, the gradient that reaches it. Where an input
    was broadcast, its gradient is then summed back to its shape. Boxes are numbered as in
    `print(tg.graph(...))`, and the same graph gives the same text in every run.

    Raises RuntimeError if no gradient can flow, or if the values that `backward="ops"` needs were
    freed.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv import viz
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> picture = viz.draw(tg.tanh(x).sum(), backward=True)
    >>> "∂L/∂x = g · (1 - y · y)" in picture.source
    True
    >>> picture.save("graph.svg").name
    'graph.svg'
    """
    if backward not in (False, True, "ops"):
        raise ValueError(f"backward must be False, True or 'ops'; got {backward!r}.")
    if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors):
        given = ", ".join(type(tensor).__name__ for tensor in tensors) or "nothing"
        raise TypeError(f"draw takes the tensors whose graph to draw; got {given}.")
    graph = Graph([tensor.node for tensor in tensors])
    kinds = {"op" if node.op else node.label for node in graph}
    picture = _blank(kinds | {"gradient"} if backward else kinds, formulas)
    names = {tensor.node: tensor.name for tensor in tensors}
    with _column(picture, "forward", FADED) as column:
        _draw_forward(column, graph, names, formulas and not backward)
    if backward:
        _draw_backward(picture, graph, tensors, backward == "ops", formulas)
    return Drawing(picture.source)


def _blank(kinds: set[str], formulas: bool) -> Any:
    """A picture with nothing but its legend."""
    try:
        import graphviz
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "graphs are drawn with the graphviz package; run pip install 'tinygrad_cv[viz]'.",
            name=error.name,
        ) from error
    font = {"fontname": FONT, "fontsize": str(SIZE), "fontcolor": INK}
    space = {"nodesep": "0.25", "ranksep": "0.35"}
    rows = {"newrank": "true"}  # a row runs through both columns
    legend = {"label": labels.legend(kinds, formulas), "labelloc": "b"}
    return graphviz.Digraph(
        graph_attr={"bgcolor": "white", **font, **space, **rows, **legend},
        node_attr={"shape": "plain", **font},
        edge_attr={"color": INK, "arrowsize": "0.7"},
    )


def _column(picture: Any, name: str, color: str) -> Any:
    """A group of boxes under a heading, without a frame."""
    heading = {"label": name, "labelloc": "t", "fontsize": "18", "fontcolor": color}
    return picture.subgraph(name=f"cluster_{name}", graph_attr={"peripheries": "0", **heading})


def _draw_forward(column: Any, graph: Graph, names: dict[Node, str | None], formulas: bool) -> None:
    for node, i in graph.ids.items():
        name = names.get(node) or node.name
        if node.op is None:
            column.node(f"n{i}", labels.leaf_box(node, i, name))
        else:
            column.node(f"n{i}", labels.op_box(node, i, name, formulas))
        for operand in operands(node):
            if isinstance(operand.value, Node):
                column.edge(f"n{graph.ids[operand.value]}", f"n{i}:{operand.port}:n")


# ----- backward ----------------------------------------------------------------------------------


def _draw_backward(
    picture: Any, graph: Graph, tensors: Iterable[Tensor], ops: bool, formulas: bool
) -> None:
    roots = {tensor.node: tensor for tensor in tensors if tensor.requires_grad}
    if not roots:
        raise RuntimeError(
            "there is no backward pass to draw: none of the tensors requires a gradient. Nothing "
            "they were computed from has requires_grad=True, or they were made under no_grad() or "
            "detached."
        )
    origins = _origins(roots)
    with _column(picture, "backward", GRADIENT) as column:
        if ops:
            _draw_ops(column, graph, roots, origins, formulas)
        else:
            _draw_rules(column, graph, origins, formulas)
        for node, i in graph.ids.items():
            if node.op is None and node in origins:
                column.node(f"g{i}", labels.gradient_box(node, i, origins[node]))
    for node, i in graph.ids.items():
        if node in origins:
            with picture.subgraph(graph_attr={"rank": "same"}) as row:
                row.node(f"n{i}")
                row.node(f"g{i}")
    for root in roots:
        i = graph.ids[root]
        picture.edge(f"n{i}", f"g{i}", constraint="false", color=GRADIENT)


def _origins(roots: Iterable[Node]) -> dict[Node, str]:
    """The nodes that a gradient reaches, each with what its gradient is, if a note is needed.

    A root receives the seed of the walk, and every node a share from each of its consumers.
    """
    seeds = Counter(list(roots))
    arrivals = seeds.copy()
    for node in topological(seeds):
        if node in arrivals:
            arrivals.update(o.value for o in operands(node) if o.differentiable)
    return {
        node: f"the sum of {count} gradients" if count > 1 else "1" if node in seeds else ""
        for node, count in arrivals.items()
    }


def _up(column: Any, target: str, source: str) -> None:
    """An arrow for a gradient. Layout goes from the top down, so its upper end comes first."""
    column.edge(target, source, dir="back", color=GRADIENT)


def _draw_rules(column: Any, graph: Graph, origins: dict[Node, str], formulas: bool) -> None:
    """One box for the rules of each op, with a port for each gradient that they make."""
    for node, i in graph.ids.items():
        if node.op is None or node not in origins:
            continue
        column.node(f"g{i}", labels.rules_box(node, origins[node], formulas, ports=True))
        for operand in operands(node):
            if operand.differentiable:
                _up(column, f"g{graph.ids[operand.value]}", f"g{i}:{operand.port}:n")


class _Traced(Recorded):
    """The graph reading, with a record: each node's gradient, and its (parent, share) pairs."""

    def __init__(self) -> None:
        self.steps: dict[Node, tuple[Node, list[tuple[Node, Node]]]] = {}

    def gradients(self, node: Node, g: Any, useful: set[Node] | None) -> list[tuple[Node, Any]]:
        sent = super().gradients(node, g, useful)
        self.steps[node] = (g.node, [(parent, share.node) for parent, share in sent])
        return sent


def _trace(roots: dict[Node, Tensor], nodes: Iterable[Node]) -> _Traced:
    """Run the backward pass from the roots through these nodes in the graph reading."""
    freed = next((node for node in nodes if node.saved is None), None)
    if freed is not None:
        raise RuntimeError(
            f"the ops of the backward pass cannot be found: what {freed.label} of shape "
            f"{freed.shape} saved for it was freed by backward(). Draw before that, call "
            "backward(retain_graph=True), or draw the rules alone: draw(..., backward=True)."
        )
    # A seed that requires a gradient makes each op that it flows through a part of the graph.
    seeds = {root: ones_like(tensor).requires_grad_() for root, tensor in roots.items()}
    reading = _Traced()
    with enable_grad():
        for _ in backpropagate(seeds, reading, keep=True):
            pass
    return reading


def _draw_ops(
    column: Any, graph: Graph, roots: dict[Node, Tensor], origins: dict[Node, str], formulas: bool
) -> None:
    """A frame for the rules of each op, around the ops that they consist of.

    A forward value that a rule reads is told by its number instead of by a long arrow. The sum of
    several gradients is not drawn as ops: all its arrows end at the same box.
    """
    steps = _trace(roots, origins).steps
    shares = [share for _, sent in steps.values() for _, share in sent]
    ids = Graph([*graph.roots, *shares]).ids
    frame = {"label": "", "peripheries": "1", "color": STYLES["gradient"][1]}
    for node, (gradient, sent) in steps.items():
        i = graph.ids[node]
        made = _made(graph, gradient, [share for _, share in sent])
        boxes = {n: f"s{i}_{ids[n]}" if n in graph.ids else f"n{ids[n]}" for n in made}
        boxes[gradient] = f"g{i}"
        with column.subgraph(name=f"cluster_{i}", graph_attr=frame) as cluster:
            for n in made:
                if n is gradient:
                    box = labels.rules_box(node, origins[node], formulas, ports=False)
                elif n in graph.ids:
                    box = labels.reference_box(n, ids[n])
                elif n.op is None:
                    box = labels.leaf_box(n, ids[n], "constant")
                else:
                    box = labels.backward_op_box(n, ids[n])
                    for operand in operands(n):
                        if isinstance(operand.value, Node):
                            _up(cluster, f"{boxes[n]}:{operand.port}:s", boxes[operand.value])
                cluster.node(boxes[n], box)
        for parent, share in sent:
            _up(column, f"g{graph.ids[parent]}", boxes[share])


def _made(graph: Graph, gradient: Node, shares: Iterable[Node]) -> list[Node]:
    """What the shares were computed from, back to the gradient and the forward graph, in order."""
    seen = {gradient, *shares}
    stack = list(seen)
    while stack:
        node = stack.pop()
        if node is not gradient and node not in graph.ids:
            stack += (parent for parent in node.parents() if parent not in seen)
            seen.update(node.parents())
    return sorted(seen, key=attrgetter("number"))
