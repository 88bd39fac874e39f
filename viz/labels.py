"""What a box of a picture says, as the HTML-like labels that Graphviz lays out."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import islice
from typing import Any, NamedTuple

from tinygrad_cv.graph import Node
from tinygrad_cv.symbol import derive

FONT = "Helvetica"  # every renderer knows its widths; where it is missing a sans serif stands in
SIZE = 11
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
LINE, LINES = 56, 12  # characters in a line of running text, and lines of it in a box


class Operand(NamedTuple):
    """An input of a node: its port on the box, its name, its rule (and the part of it), itself."""

    port: str
    name: str
    rule: str
    part: int
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
        rule, part = op.inputs[min(i, last)], max(0, i - last)
        name = f"{rule}[{part}]" if op.variadic and i >= last else rule
        differentiable = isinstance(value, Node) and value.requires_grad and rule in op.rules
        found.append(Operand(f"i{i}", name, rule, part, value, differentiable))
    return found


# ----- text --------------------------------------------------------------------------------------


def text(value: Any, limit: int = NAME) -> str:
    """Anything as one line of HTML: of limited length, and with nothing that XML cannot carry."""
    full = str(value)
    cut = full if len(full) <= limit else full[: limit - 1] + "…"
    line = "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in cut)
    return escape(line).replace("\\", r"\\")  # Graphviz would read \N as the id of the box


def heading(html: str) -> str:
    """HTML as the title of a box."""
    return f'<FONT POINT-SIZE="{SIZE + 2}"><B>{html}</B></FONT>'


def colored(html: str, color: str) -> str:
    """HTML in a colour."""
    return f'<FONT COLOR="{color}">{html}</FONT>'


def wrapped(line: str, indent: int = 0) -> list[str]:
    """A long line as several, of which the later ones are indented further."""
    return textwrap.wrap(
        line,
        LINE,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 4),
        break_on_hyphens=False,
        max_lines=4,
        placeholder=" …",
    )


def formulas_of(node: Node) -> str:
    """The formula of each rule that runs, in lines that begin at the left."""
    lines = list(islice(_formula_lines(node), LINES + 1))
    if len(lines) > LINES:
        lines[LINES:] = ["…"]
    html = []
    for line in lines:
        bare = line.lstrip(" ")
        indent = "&#160;" * (len(line) - len(bare))
        html.append(f'{indent}{text(bare, LINE)}<BR ALIGN="LEFT"/>')
    return "".join(html)


def _formula_lines(node: Node) -> Iterator[str]:
    told: dict[str, str] = {}
    for operand in operands(node):
        if operand.differentiable:
            expression, definitions = _formula(node, operand)
            yield from wrapped(f"∂L/∂{operand.name} = {expression}")
            for name, meaning in definitions.items():
                if told.get(name) != meaning:  # several rules may share a definition
                    told[name] = meaning
                    yield from wrapped(f"where {name} = {meaning}", indent=4)


def _formula(node: Node, operand: Operand) -> tuple[str, dict[str, str]]:
    """The rule for one input as text, and the definitions that it uses."""
    assert node.op is not None
    try:
        result, definitions = derive(node.op, operand.rule, attributes=False, inputs=node.inputs)
    except Exception:  # a rule may do with its arrays what cannot be done with symbols
        return "…", {}
    expression = result[operand.part] if isinstance(result, list | tuple) else result
    return str(expression), {name: str(meaning) for name, meaning in definitions.items()}


# ----- boxes -------------------------------------------------------------------------------------


def box(
    kind: str, rows: Iterable[str], ports: Sequence[tuple[str, str]] = (), below: bool = False
) -> str:
    """A table: rows of HTML, and above or below them, ruled off, a row of cells (port, HTML)."""
    fill, line = STYLES[kind]
    table = [f'<TR><TD COLSPAN="{max(1, len(ports))}">{row}</TD></TR>' for row in rows]
    if ports:
        cells = "<VR/>".join(f'<TD PORT="{port}">{html}</TD>' for port, html in ports)
        ruled = ["<HR/>", f"<TR>{cells}</TR>"]
        table = table + ruled if below else ruled[::-1] + table
    frame = f'CELLBORDER="0" CELLSPACING="0" CELLPADDING="3" COLOR="{line}" BGCOLOR="{fill}"'
    return "\n".join([f"<<TABLE {frame}>", *table, "</TABLE>>"])


def type_of(node: Node) -> str:
    """The dtype and shape of a node's value."""
    return text(f"{node.dtype} {node.shape}")


def place(i: int) -> str:
    """The number of a node in the listing of its graph."""
    return colored(f"%{i} ", FADED)


def leaf_box(node: Node, i: int, name: str | None) -> str:
    """A parameter or an input: its name, and its dtype and shape."""
    return box(node.label, [heading(text(name or node.label)), place(i) + type_of(node)])


def op_box(node: Node, i: int, name: str | None, formulas: bool) -> str:
    """An op: the names of its inputs, its own and its attributes, what it makes, its formulas."""
    rows = op_rows(node, i, name)
    if formulas:
        rows.append(colored(formulas_of(node), GRADIENT))
    return box("op", rows, input_cells(node))


def backward_op_box(node: Node, i: int) -> str:
    """An op of the backward pass. Its inputs come from below."""
    return box("gradient", op_rows(node, i, None), input_cells(node), below=True)


def op_rows(node: Node, i: int, name: str | None) -> list[str]:
    """An op as rows: its name and attributes, and what it makes."""
    assert node.op is not None
    rows = [heading((f"{text(name)} = " if name else "") + text(node.label))]
    if attributes := node.op.describe():
        rows.append("<BR/>".join(text(line, LINE) for line in wrapped(attributes)))
    return [*rows, place(i) + type_of(node)]


def input_cells(node: Node) -> list[tuple[str, str]]:
    """The inputs of an op by name, each with its port; a plain number is told in full."""
    return [
        (o.port, text(o.name if isinstance(o.value, Node) else f"{o.name} = {o.value}"))
        for o in operands(node)
    ]


def rules_box(node: Node, origin: str, formulas: bool, ports: bool) -> str:
    """The rules of an op: where g comes from, and perhaps a port for each gradient they make."""
    cells = [
        (o.port, colored(f"∂L/∂{text(o.name)}<BR/>{text(o.value.shape)}", GRADIENT))
        for o in operands(node)
        if o.differentiable and ports
    ]
    rows = [heading(f"backward of {text(node.label)}")]
    if origin:
        rows.append(f"g = {origin}")
    if formulas:
        rows.append(formulas_of(node))
    return box("gradient", rows, cells)


def gradient_box(node: Node, i: int, origin: str) -> str:
    """The gradient of a leaf, and where it comes from."""
    rows = [heading(f"gradient of {text(node.name or f'%{i}')}"), type_of(node)]
    return box("gradient", [*rows, origin] if origin else rows)


def reference_box(node: Node, i: int) -> str:
    """A value of the forward graph, told by its number."""
    kind = node.label if node.op is None else "op"
    return box(kind, [place(i) + text(node.name or node.label)])


def legend(kinds: set[str], formulas: bool) -> str:
    """What the colours and the letters mean."""
    cells = [
        f'<TD BORDER="1" COLOR="{line}" BGCOLOR="{fill}">{kind}</TD>'
        for kind, (fill, line) in STYLES.items()
        if kind in kinds
    ]
    if formulas:
        letters = "y: the output of an op; g = ∂L/∂y: the gradient that reaches it"
        cells.append(f"<TD>{colored(letters, FADED)}</TD>")
    return (
        '<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="6" CELLPADDING="3">'
        f"<TR>{''.join(cells)}</TR></TABLE>>"
    )
