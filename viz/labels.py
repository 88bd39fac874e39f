"""What a box of a picture says, as the HTML-like labels that Graphviz lays out."""

import re
import textwrap
from collections.abc import Iterable
from html import escape
from typing import Any, NamedTuple

from tinygrad_cv.graph import Node
from tinygrad_cv.symbol import formula

FONT = "Helvetica"  # every renderer knows its widths; where it is missing a sans serif stands in
SIZE, SMALL = 13, 11
INK, FADED, GRADIENT = "#222222", "#666666", "#B34700"
# (fill, line) of each kind of box. Blue and vermilion differ for every kind of colour vision
# (Okabe and Ito, 2008).
STYLES = {
    "input": ("#EEEEEE", "#666666"),
    "parameter": ("#D6E9F6", "#0072B2"),
    "op": ("#FFFFFF", INK),
    "gradient": ("#FCE9DE", "#D55E00"),
}
NAME = 40  # characters of a name; a longer one ends in …
LINE, LINES = 48, 6  # characters in a line of running text, and lines of it


class Operand(NamedTuple):
    """An input of a node: its port on the box, its name in the formulas, and what it is."""

    port: str
    name: str
    value: Any
    differentiable: bool


def operands(node: Node) -> list[Operand]:
    """The inputs that were given; those of a variadic op are named xs[0], xs[1], ..."""
    op = node.op
    if op is None:
        return []
    found = []
    last = len(op.inputs) - 1
    for i, value in enumerate(node.inputs):
        if value is None:
            continue
        rule = op.inputs[min(i, last)]
        name = f"{rule}[{i - last}]" if op.variadic and i >= last else rule
        differentiable = isinstance(value, Node) and value.requires_grad and rule in op.rules
        found.append(Operand(f"i{i}", name, value, differentiable))
    return found


# ----- text --------------------------------------------------------------------------------------


def text(value: Any, limit: int = NAME) -> str:
    """Anything as one line of HTML: of limited length, and with nothing that XML cannot carry."""
    full = str(value)
    cut = full if len(full) <= limit else full[: limit - 1] + "…"
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in cut))


def font(html: str, size: int = SMALL, color: str = INK, bold: bool = False) -> str:
    """HTML in a size and a colour."""
    html = f"<B>{html}</B>" if bold else html
    return f'<FONT POINT-SIZE="{size}" COLOR="{color}">{html}</FONT>'


def bold(html: str) -> str:
    """HTML as the title of a box."""
    return font(html, SIZE, bold=True)


def wrapped(line: str, indent: int = 0) -> list[str]:
    """A long line as several, of which the later ones are indented further."""
    return textwrap.wrap(
        line,
        LINE,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 4),
        break_on_hyphens=False,
        max_lines=LINES,
        placeholder=" …",
    )


def flush_left(lines: Iterable[str], color: str = INK) -> str:
    """Lines as HTML that keeps their indentation."""
    html = []
    for line in lines:
        bare = line.lstrip(" ")
        indent = "&#160;" * (len(line) - len(bare))
        html.append(f'{indent}{text(bare, LINE)}<BR ALIGN="LEFT"/>')
    return font("".join(html), color=color)


def formula_lines(node: Node) -> list[str]:
    """The formula of each rule that runs. A definition that several share is told once."""
    try:
        formulas = formula(node, attributes=False)
    except Exception:  # a rule may do things to its inputs that no symbol can bear
        formulas = {}
    lines = []
    told = set()
    for operand in operands(node):
        if not operand.differentiable:
            continue
        expression, _, where = formulas.get(operand.name, "…").partition("  where ")
        lines += wrapped(f"∂L/∂{operand.name} = {expression}")
        for definition in re.split(r", (?=\w+ = )", where) if where else []:
            if definition not in told:
                told.add(definition)
                lines += wrapped(f"where {definition}", indent=4)
    return lines


# ----- boxes -------------------------------------------------------------------------------------


def box(kind: str, rows: Iterable[str], ports: Iterable[tuple[str, str]] = ()) -> str:
    """A table: on top a row of cells (port, HTML), and below it rows of HTML."""
    fill, line = STYLES[kind]
    cells = [f'<TD PORT="{port}" BORDER="1" SIDES="BR">{html}</TD>' for port, html in ports]
    if cells:
        cells[-1] = cells[-1].replace('"BR"', '"B"')  # the table's own border ends the row
    table = [f"<TR>{''.join(cells)}</TR>"] if cells else []
    table += [f'<TR><TD COLSPAN="{max(1, len(cells))}">{row}</TD></TR>' for row in rows]
    return (
        f'<<TABLE BORDER="1" CELLBORDER="0" CELLSPACING="0" CELLPADDING="3" COLOR="{line}" '
        f'BGCOLOR="{fill}">{"".join(table)}</TABLE>>'
    )


def type_of(node: Node) -> str:
    """The dtype and shape of a node's value."""
    return font(text(f"{node.dtype} {node.shape}"))


def place(i: int) -> str:
    """The number of a node in the listing of its graph."""
    return font(f"%{i} ", color=FADED)


def leaf_box(node: Node, i: int, name: str | None) -> str:
    """A parameter or an input: its name, and its dtype and shape."""
    return box(node.label, [bold(text(name or node.label)), place(i) + type_of(node)])


def op_box(node: Node, i: int, kind: str, name: str | None, formulas: bool) -> str:
    """An op: the names of its inputs, its own with its attributes, what it makes, its formulas."""
    assert node.op is not None
    ports = [
        (o.port, font(text(o.name if isinstance(o.value, Node) else f"{o.name} = {o.value}")))
        for o in operands(node)
    ]
    rows = [bold((f"{text(name)} = " if name else "") + text(node.label))]
    if attributes := node.op.describe():
        rows.append("<BR/>".join(font(text(line, LINE)) for line in wrapped(attributes)))
    rows.append(place(i) + type_of(node))
    if formulas:
        rows.append(flush_left(formula_lines(node), GRADIENT))
    return box(kind, rows, ports)


def rules_box(node: Node, arrivals: int, formulas: bool) -> str:
    """The rules of an op: the gradients that they make, and their formulas."""
    ports = [
        (o.port, font(f"∂L/∂{text(o.name)}<BR/>{text(o.value.shape)}", color=GRADIENT))
        for o in operands(node)
        if o.differentiable
    ]
    rows = [bold(f"backward of {text(node.label)}")]
    if arrivals > 1:
        rows.append(font(f"g = the sum of {arrivals} gradients"))
    if formulas:
        rows.append(flush_left(formula_lines(node)))
    return box("gradient", rows, ports)


def gradient_box(title: str, node: Node, arrivals: int) -> str:
    """A gradient that is complete: where it comes from, if from several, and what it is."""
    rows = [bold(title)]
    if arrivals > 1:
        rows.append(font(f"the sum of {arrivals} gradients"))
    return box("gradient", [*rows, type_of(node)])


def legend(kinds: Iterable[str], letters: str) -> str:
    """What the colours and the letters mean."""
    swatches = "".join(
        f'<TD BORDER="1" COLOR="{STYLES[kind][1]}" BGCOLOR="{STYLES[kind][0]}">{font(kind)}</TD>'
        for kind in kinds
    )
    return (
        '<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="6" CELLPADDING="3">'
        f"<TR>{swatches}<TD>{font(letters, color=FADED)}</TD></TR></TABLE>>"
    )


def reference_box(node: Node, i: int) -> str:
    """A value of the forward graph, told by its number."""
    kind = node.label if node.op is None else "op"
    return box(kind, [place(i) + font(text(node.name or node.label))])
