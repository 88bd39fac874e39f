"""The expression graph, and beside it the backward graph, as a picture.

The picture is DOT text. A forward box carries the names of its op's inputs along its top edge,
because those are the names that the formulas use; the backward box of the same op stands in the
same row and carries a gradient for each of them. So the gradients flow up one column as the
values flow down the other. The formulas are the rules themselves, read on symbols.
"""

import os
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tinygrad_cv.creation import ones_like
from tinygrad_cv.graph import Graph, Node, backpropagate, enable_grad, topological
from tinygrad_cv.op import Reading
from tinygrad_cv.symbol import formula
from tinygrad_cv.tensor import Recorded, Tensor
from tinygrad_cv.viz.render import FORMATS, check_path, render, write

FONT = "Helvetica"  # its widths are known to every renderer; Arial or any sans serif stands in
SIZE, SMALL = 13, 11
INK, FADED, GRADIENT = "#222222", "#666666", "#B34700"
# (fill, line) of each kind of box. Blue and vermilion differ for every kind of colour vision
# (Okabe and Ito, 2008), and a gradient says in words that it is one.
STYLES = {
    "input": ("#EEEEEE", "#666666"),
    "parameter": ("#D6E9F6", "#0072B2"),
    "op": ("#FFFFFF", INK),
    "gradient": ("#FCE9DE", "#D55E00"),
}

NAME_LIMIT, ATTRIBUTES_LIMIT = 40, 160  # characters; a longer text ends in …
LINE, LINES = 48, 6  # characters in a line of a formula, and lines of it


@dataclass(frozen=True)
class Drawing:
    """A picture of a graph: `source` is its DOT text. A notebook shows it by itself."""

    source: str

    def save(self, path: str | os.PathLike[str], timeout: float = 30.0) -> Path:
        """Write the picture to a file, whole or not at all, in the format that its suffix names.

        `.dot` is the text itself. `.svg` and `.png` are rendered by Graphviz's `dot` or by
        `graphviz-pure`, which may take `timeout` seconds.

        Raises ValueError for another suffix, RuntimeError if neither program is there or it
        fails, TimeoutError if it takes longer.
        """
        path = check_path(path, (*FORMATS, ".dot"))
        suffix = path.suffix.lower()
        encoded = self.source.encode()
        write(path, encoded if suffix == ".dot" else render(self.source, suffix, timeout))
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

    In a formula, y is the op's output and g is ∂L/∂y, the gradient that reaches it. Boxes are
    numbered as in `print(tg.graph(...))`, and the same graph gives the same text in every run.

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
    try:
        import graphviz
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "graphs are drawn with the graphviz package; run pip install 'tinygrad_cv[viz]'.",
            name=error.name,
        ) from error
    graph = Graph([tensor.node for tensor in tensors])
    picture = graphviz.Digraph(
        graph_attr={
            "bgcolor": "white",
            "fontname": FONT,
            "newrank": "true",  # rows run through both columns
            "nodesep": "0.25",
            "ranksep": "0.35",
            "labelloc": "b",
            "labeljust": "l",
            "label": _legend(bool(backward), formulas),
        },
        node_attr={"shape": "plain", "fontname": FONT, "fontsize": str(SIZE)},
        edge_attr={"color": INK, "arrowsize": "0.7", "fontname": FONT, "fontsize": str(SMALL)},
    )
    names = {tensor.node: tensor.name for tensor in tensors}
    with _column(picture, "forward", FADED) as column:
        _draw_forward(column, graph, names, formulas and not backward)
    if backward:
        roots = list(dict.fromkeys(t.node for t in tensors if t.requires_grad))
        if not roots:
            raise RuntimeError(
                "there is no backward pass to draw: none of the tensors requires a gradient. "
                "Nothing they were computed from has requires_grad=True, or they were made under "
                "no_grad() or detached."
            )
        arrivals = _arrivals(roots)
        with _column(picture, "backward", GRADIENT) as column:
            if backward == "ops":
                _draw_ops(column, graph, tensors, arrivals, formulas)
            else:
                _draw_rules(column, graph, arrivals, formulas)
            _draw_gradients(column, graph, arrivals)
        for node in graph:
            if node in arrivals:
                with picture.subgraph() as row:
                    row.attr(rank="same")
                    row.node(f"n{graph.ids[node]}")
                    row.node(f"g{graph.ids[node]}")
        for root in roots:
            i = graph.ids[root]
            picture.edge(
                f"n{i}",
                f"g{i}",
                label=" g = 1 ",
                color=GRADIENT,
                fontcolor=GRADIENT,
                constraint="false",
            )
    return Drawing(picture.source)


# ----- what a node has to show -------------------------------------------------------------------


class Operand(NamedTuple):
    """An input of a node: its port on the box, its name in the formulas, and what it is."""

    port: str
    name: str
    value: Any
    differentiable: bool


def _operands(node: Node) -> list[Operand]:
    """The inputs that were given; those of a variadic op are named xs[0], xs[1], ..."""
    op = node.op
    if op is None:
        return []
    operands = []
    last = len(op.inputs) - 1
    for i, value in enumerate(node.inputs):
        name = rule = op.inputs[min(i, last)]
        if op.variadic and i >= last:
            name = f"{rule}[{i - last}]"
        differentiable = isinstance(value, Node) and value.requires_grad and rule in op.rules
        if value is not None:
            operands.append(Operand(f"i{i}", name, value, differentiable))
    return operands


def _arrivals(roots: list[Node]) -> Counter[Node]:
    """How many gradients reach each node: the seed of a root, and a share from each consumer."""
    arrivals = Counter(roots)
    for node in topological(roots):
        if node in arrivals:
            arrivals.update(o.value for o in _operands(node) if o.differentiable)
    return arrivals


def _formulas(node: Node) -> list[str]:
    """The formula of each rule that runs, in lines; definitions that they share are told once."""
    try:
        texts = formula(node, attributes=False)
    except Exception:  # a rule may do to a symbol what only an array can bear
        texts = {}
    lines = []
    told = set()
    for operand in _operands(node):
        if not operand.differentiable:
            continue
        text, _, where = texts.get(operand.name, "…").partition("  where ")
        lines += _wrap(f"∂L/∂{operand.name} = {text}")
        for definition in re.split(r", (?=\w+ = )", where) if where else []:
            if definition not in told:
                told.add(definition)
                lines += _wrap(f"where {definition}", indent=4)
    return lines


# ----- HTML-like labels --------------------------------------------------------------------------


def _wrap(text: str, indent: int = 0) -> list[str]:
    return textwrap.wrap(
        text,
        LINE,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 4),
        break_on_hyphens=False,
        max_lines=LINES,
        placeholder=" …",
    )


def _text(value: Any, limit: int = NAME_LIMIT) -> str:
    """Any text as one line of HTML: cut to a length, and with nothing that XML cannot carry."""
    text = str(value)[: limit + 1]
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))


def _font(html: str, size: int = SMALL, color: str = INK, bold: bool = False) -> str:
    html = f"<B>{html}</B>" if bold else html
    return f'<FONT POINT-SIZE="{size}" COLOR="{color}">{html}</FONT>'


def _left(lines: Iterable[str]) -> str:
    """Lines of text as HTML, flush left except for their indentation."""
    stripped = ((line.lstrip(" "), line) for line in lines)
    return "".join(
        f'{"&#160;" * (len(line) - len(bare))}{_text(bare, 2 * LINE)}<BR ALIGN="LEFT"/>'
        for bare, line in stripped
    )


def _box(kind: str, rows: Iterable[str], ports: Iterable[tuple[str, str]] = ()) -> str:
    """A table: a row of small cells with a port each, and below it rows of HTML."""
    fill, line = STYLES[kind]
    cells = [f'<TD PORT="{port}" BORDER="1" SIDES="BR">{html}</TD>' for port, html in ports]
    if cells:
        cells[-1] = cells[-1].replace('"BR"', '"B"')
    table = [f"<TR>{''.join(cells)}</TR>"] if cells else []
    table += [f'<TR><TD COLSPAN="{max(1, len(cells))}">{row}</TD></TR>' for row in rows]
    return (
        f'<<TABLE BORDER="1" CELLBORDER="0" CELLSPACING="0" CELLPADDING="3" COLOR="{line}" '
        f'BGCOLOR="{fill}">{"".join(table)}</TABLE>>'
    )


def _type(node: Node) -> str:
    return _text(f"{node.dtype} {node.shape}")


# ----- the boxes and arrows ----------------------------------------------------------------------


def _column(picture: Any, name: str, color: str) -> Any:
    return picture.subgraph(
        name=f"cluster_{name}",
        graph_attr={"label": name, "fontcolor": color, "fontsize": "18", "penwidth": "0"},
    )


def _op_box(node: Node, kind: str, title: str, place: str, formulas: bool = False) -> str:
    """The name of an op, its attributes, what it makes, and the formulas of its rules."""
    assert node.op is not None
    ports = [
        (o.port, _font(_text(o.name if isinstance(o.value, Node) else f"{o.name} = {o.value}")))
        for o in _operands(node)
    ]
    attributes = textwrap.wrap(_text(node.op.describe(), ATTRIBUTES_LIMIT), LINE)
    rows = [_font(_text(title), SIZE + 1, bold=True)]
    rows += ["<BR/>".join(_font(line) for line in attributes)] if attributes else []
    rows += [_font(place, color=FADED) + _font(_type(node))]
    rows += [_font(_left(_formulas(node)), color=GRADIENT)] if formulas else []
    return _box(kind, rows, ports)


def _draw_forward(
    column: Any, graph: Graph, names: dict[Node, str | None], formulas: bool
) -> None:
    for node, i in graph.ids.items():
        name = names.get(node) or node.name
        place = f"%{i}  "
        if node.op is None:
            rows = [_font(_text(name or node.label), SIZE, bold=True)]
            rows += [_font(place, color=FADED) + _font(_type(node))]
            column.node(f"n{i}", _box(node.label, rows))
            continue
        title = f"{name} = {node.label}" if name else node.label
        column.node(f"n{i}", _op_box(node, "op", title, place, formulas))
        for operand in _operands(node):
            if isinstance(operand.value, Node):
                column.edge(f"n{graph.ids[operand.value]}", f"n{i}:{operand.port}:n")
        boundary = {gradient, *graph.nodes}
        made = _between(boundary, [share for _, share in sent])
        places = {n: f"n{ids[n]}" for n in made} | {gradient: f"g{i}"}
        places |= {n: f"s{i}_{ids[n]}" for n in made if n in graph.ids}
        title = [_font(f"backward of {_text(node.label)}", SIZE, GRADIENT, bold=True)]
        title += [_font(_left(_formulas(node)))] * formulas
        with column.subgraph(name=f"cluster_{i}") as cluster:
            cluster.attr(label=f"<{'<BR/>'.join(title)}>", color=STYLES["gradient"][1], labeljust="l")
            rows = [_font("g", SIZE, bold=True)]
            rows += [_font(_sum_of(arrivals[node]))] * (arrivals[node] > 1)
            rows += [_font(_text(f"{gradient.dtype} {gradient.shape}"))]
            cluster.node(f"g{i}", _box("gradient", rows))
            for n in made:
                if n in graph.ids:
                    told = _font(f"%{ids[n]} ", color=FADED) + _font(_text(n.name or n.label))
                    cluster.node(places[n], _box(n.label if n.op is None else "op", [told]))
                elif n.op is None and n is not gradient:
                    cluster.node(places[n], _box("input", [_font("constant"), _font(_text(f"{n.dtype} {n.shape}"))]))
                elif n is not gradient:
                    cluster.node(places[n], _op_box(n, ids[n], "gradient"))
                    for o in _operands(n):
                        if isinstance(o.value, Node):
                            color = FADED if o.value in graph.ids else GRADIENT
                            cluster.edge(f"{places[n]}:{o.port}:s", places[o.value], dir="back", color=color)
        for parent, share in sent:
            column.edge(f"g{graph.ids[parent]}", places[share], dir="back", color=GRADIENT)


def _between(boundary: set[Node], ends: Iterable[Node]) -> list[Node]:
    """The nodes that the ends were computed from, back to the boundary and with it, in order."""
    seen = set(ends)
    stack = list(seen)
    while stack:
        node = stack.pop()
        if node not in boundary:
            stack += (parent for parent in node.parents() if parent not in seen)
            seen.update(node.parents())
    return sorted(seen, key=lambda node: node.number)
