"""What a box of a picture says, as the HTML-like labels that Graphviz lays out."""

import math
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape, unescape
from itertools import islice
from typing import Any

from tinygrad_cv.printing import quantity, seconds
from tinygrad_cv.viz.data import Failure, Input, Module, Node, Step, Summary
from tinygrad_cv.viz.text import one_line

FONT = "Helvetica"  # every renderer knows its widths; where it is missing a sans serif stands in
SIZE = 11
INK, FADED, GRADIENT = "#222222", "#666666", "#B34700"
# (fill, line) of each kind of box. Blue and vermilion differ for every kind of colour vision
# (Okabe and Ito, 2008).
STYLES = {
    "input": ("#EEEEEE", "#666666"),
    "parameter": ("#D6E9F6", "#0072B2"),
    "op": ("#FFFFFF", INK),
    "module": ("#E3F3EC", "#009E73"),
    "gradient": ("#FCE9DE", "#D55E00"),
    "failure": ("#FFD2B0", "#D55E00"),
}
NAME = 40  # characters of a name; a longer one ends in …
LINE, LINES = 56, 12  # characters in a line of running text, and lines of it in a box
UNKNOWN = "–"  # what was not computed

# ----- numbers in colour -------------------------------------------------------------------------

BLUE, NEUTRAL, VERMILION, MAGENTA = "#0072B2", "#808080", "#D55E00", "#CC79A7"
ORANGE = "#E69F00"  # what a playback is at
HEALTHY = (1e-4, 1e-2)  # update/weight; 1e-3 is in the middle
ALARM = 0.5  # the share of dead or saturated units from which on it is told in bold


def gradient_color(norm: float) -> str:
    """The colour of a gradient by t = log10 of its norm: blue at -7, grey in -3..1, red at 5."""
    if not math.isfinite(norm):
        return MAGENTA
    t = _magnitude(norm)
    if t < -3:
        return _mixed(NEUTRAL, BLUE, min(1.0, (-3 - t) / 4))
    return _mixed(NEUTRAL, VERMILION, min(1.0, max(0.0, (t - 1) / 4)))


def gradient_arrow(norm: float | None) -> dict[str, str]:
    """How an arrow shows the norm of the gradient on it; one that is not known is thin."""
    if norm is None:
        return {"color": NEUTRAL, "penwidth": "1", "style": "dotted"}
    if not math.isfinite(norm):
        return {"color": MAGENTA, "penwidth": "4", "style": "dashed"}
    width = 1 + 3 * min(1.0, max(0.0, (_magnitude(norm) + 7) / 12))
    look = {"color": gradient_color(norm), "penwidth": f"{width:.2f}"}
    return look | ({"style": "dashed"} if norm == 0 else {})


def _magnitude(norm: float) -> float:
    return math.log10(norm) if norm > 0 else -math.inf


def _mixed(start: str, end: str, share: float) -> str:
    channels = ((int(start[i : i + 2], 16), int(end[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * share):02X}" for a, b in channels)


def number(value: float | None) -> str:
    """A number in three digits; "–" if it is not known."""
    return UNKNOWN if value is None else f"{value:.3g}"


# ----- text --------------------------------------------------------------------------------------


def text(value: Any, limit: int = NAME) -> str:
    """Anything as one line of HTML: of limited length, and with nothing that XML cannot carry."""
    line = one_line(str(value), limit)
    return escape(line).replace("\\", r"\\")  # Graphviz would read \N as the id of the box


def heading(html: str) -> str:
    """HTML as the title of a box."""
    return f'<FONT POINT-SIZE="{SIZE + 2}"><B>{html or UNKNOWN}</B></FONT>'


def colored(html: str, color: str) -> str:
    """HTML in a colour; there must be some, since Graphviz allows no empty element."""
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


def indented(line: str) -> tuple[str, int]:
    """A line without the blanks that it begins with, and how many those are."""
    bare = line.lstrip(" ")
    return bare, len(line) - len(bare)


def formulas_of(node: Node) -> str:
    """The formula of each rule that runs, in lines that begin at the left."""
    lines = list(islice(_formula_lines(node), LINES + 1))
    if len(lines) > LINES:
        lines[LINES:] = ["…"]
    return left_aligned(lines)


def left_aligned(lines: Iterable[str]) -> str:
    """Lines that begin at the left, with their indents."""
    html = []
    for line in lines:
        bare, indent = indented(line)
        html.append(f'{"&#160;" * indent}{text(bare, LINE)}<BR ALIGN="LEFT"/>')
    return "".join(html)


def _formula_lines(node: Node) -> Iterator[str]:
    told: dict[str, str] = {}
    for entry in node.inputs:
        if entry.gradient:
            yield from wrapped(f"∂L/∂{entry.name} = {entry.formula}")
            for name, meaning in entry.where.items():
                if told.get(name) != meaning:  # several rules may share a definition
                    told[name] = meaning
                    yield from wrapped(f"where {name} = {meaning}", indent=4)


# ----- boxes -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mark:
    """What sets a box apart: a heavy border in a colour, and words above the rest."""

    color: str
    words: str = ""


def box(
    kind: str,
    rows: Iterable[str],
    ports: Sequence[tuple[str, str]] = (),
    below: bool = False,
    mark: Mark | None = None,
) -> str:
    """A table: rows of HTML, and above or below them, ruled off, a row of cells (port, HTML)."""
    fill, line = STYLES[kind]
    border = ""
    if mark is not None:
        line, border = mark.color, 'BORDER="5" '
        words = "<BR/>".join(f"<B>{text(line, LINE)}</B>" for line in mark.words.split("; "))
        rows = [*([words] if mark.words else []), *rows]
    table = [f'<TR><TD COLSPAN="{max(1, len(ports))}">{row}</TD></TR>' for row in rows]
    if ports:
        cells = "<VR/>".join(f'<TD PORT="{port}">{html}</TD>' for port, html in ports)
        ruled = ["<HR/>", f"<TR>{cells}</TR>"]
        table = table + ruled if below else ruled[::-1] + table
    frame = f'CELLBORDER="0" CELLSPACING="0" CELLPADDING="3" COLOR="{line}" BGCOLOR="{fill}"'
    return "\n".join([f"<<TABLE {border}{frame}>", *table, "</TABLE>>"])


def shape_of(shape: Iterable[int]) -> str:
    """A shape as Python writes it."""
    return text(tuple(shape))


def type_of(node: Node) -> str:
    """The dtype and shape of a node's value."""
    return text(f"{node.dtype} {tuple(node.shape)}")


def place(i: int) -> str:
    """The number of a node in the listing of its graph."""
    return colored(f"%{i} ", FADED)


def given(node: Node) -> list[tuple[str, Input]]:
    """The inputs of an op that are there, each with its port."""
    return [
        (f"i{port}", entry)
        for port, entry in enumerate(node.inputs)
        if entry.source is not None or entry.text != "None"
    ]


def leaf_box(node: Node, name: str, extra: Sequence[str] = (), mark: Mark | None = None) -> str:
    """A parameter or an input: its name, and its dtype and shape."""
    rows = [heading(text(name or node.kind)), place(node.id) + type_of(node), *extra]
    return box(node.kind, rows, mark=mark)


def op_box(node: Node, formulas: bool, extra: Sequence[str] = (), mark: Mark | None = None) -> str:
    """An op: the names of its inputs, its own and its attributes, what it makes, its formulas."""
    rows = [*op_rows(node, node.name), *extra]
    if formulas and (lines := formulas_of(node)):
        rows.append(colored(lines, GRADIENT))
    return box("op", rows, input_cells(node), mark=mark)


def backward_op_box(node: Node) -> str:
    """An op of the backward pass. Its inputs come from below."""
    return box("gradient", op_rows(node, ""), input_cells(node), below=True)


def op_rows(node: Node, name: str) -> list[str]:
    """An op as rows: its name and attributes, and what it makes."""
    rows = [heading((f"{text(name)} = " if name else "") + text(node.op))]
    if node.attributes:
        rows.append("<BR/>".join(text(line, LINE) for line in wrapped(node.attributes)))
    return [*rows, place(node.id) + type_of(node)]


def input_cells(node: Node) -> list[tuple[str, str]]:
    """The inputs of an op by name, each with its port; a plain number is told in full."""
    return [
        (port, text(entry.name if entry.source is not None else f"{entry.name} = {entry.text}"))
        for port, entry in given(node)
    ]


def rules_box(
    node: Node,
    origin: str,
    formulas: bool,
    cells: Sequence[tuple[str, str]] = (),
    extra: Sequence[str] = (),
    mark: Mark | None = None,
) -> str:
    """The rules of an op: where g comes from, and perhaps a port for each gradient they make."""
    rows = [heading(f"backward of {text(node.op)}")]
    if origin:
        rows.append(f"g = {origin}")
    rows += extra
    if formulas:
        rows.append(formulas_of(node))
    return box("gradient", rows, cells, mark=mark)


def gradient_cells(
    node: Node, shapes: Iterable[list[int]], norms: dict[int, float] | None
) -> list[tuple[str, str]]:
    """A port for each gradient that an op's rules make, with its norm if norms are asked for."""
    cells = []
    differentiable = (entry for entry in enumerate(node.inputs) if entry[1].gradient)
    for (port, entry), shape in zip(differentiable, shapes, strict=True):
        lines = [f"∂L/∂{text(entry.name)}", shape_of(shape)]
        if norms is not None:
            lines.append(f"norm {number(norms.get(port))}")
        cells.append((f"i{port}", colored("<BR/>".join(lines), GRADIENT)))
    return cells


def gradient_box(
    node: Node, origin: str, extra: Sequence[str] = (), mark: Mark | None = None
) -> str:
    """The gradient of a leaf, and where it comes from."""
    rows = [heading(f"gradient of {text(node.name or f'%{node.id}')}"), type_of(node)]
    return box("gradient", [*rows, *([origin] if origin else []), *extra], mark=mark)


def reference_box(node: Node) -> str:
    """A value of the forward graph, told by its number."""
    return box(node.kind, [place(node.id) + text(node.name or node.op)])


def title_of(module: Module) -> str:
    """Which module it is: "×16 · layers.3 … layers.18 · Block"."""
    times = f"×{module.repeat}" if module.repeat > 1 else ""
    parts = [text(part) for part in (times, module.path, module.type) if part] or [UNKNOWN]
    return " · ".join([f"<B>{parts[0]}</B>", *parts[1:]])


def frame_heading(module: Module) -> str:
    """The heading of an unfolded module, left of the middle, where arrows enter a frame."""
    title = title_of(module)
    letters = len(unescape(re.sub("<[^>]*>", "", title)))
    return f"<{title}{'&#160;' * (2 * letters + 6)}>"


def module_box(
    module: Module,
    ops: int,
    made: Node | None,
    details: bool,
    extra: Sequence[str] = (),
    mark: Mark | None = None,
) -> str:
    """A folded module: how much is in it, and what its last op makes."""
    counts = [f"{ops:,} op{'s' * (ops != 1)}"]
    if module.parameters:
        counts.append(f"{module.parameters:,} parameters")
    rows = [f'<FONT POINT-SIZE="{SIZE + 2}">{title_of(module)}</FONT>', ", ".join(counts)]
    if details and module.details:
        rows.append("<BR/>".join(text(line, LINE) for line in wrapped(module.details)))
    if made is not None:
        rows.append(place(made.id) + type_of(made))
    return box("module", [*rows, *extra], mark=mark)


def module_gradient_box(module: Module, extra: Sequence[str] = (), mark: Mark | None = None) -> str:
    """The rules of all ops in a folded module."""
    return box("gradient", [f"backward of {title_of(module)}", *extra], mark=mark)


def failure_box(failure: Failure) -> str:
    """An op that raised: its message, and what it was given."""
    rows = [heading(f"{text(failure.op)} failed")]
    if failure.source:
        rows.append(text(failure.source))
    if failure.code:
        rows.append(text(failure.code, LINE))
    lines = textwrap.wrap(failure.message[: LINE * LINES], LINE) or [""]
    rows.append(f"<B>{left_aligned(lines)}</B>")
    cells = [
        (f"i{port}", f"{text(name)}<BR/>{text(told)}")
        for port, (name, _, told) in enumerate(failure.inputs)
    ]
    return box("failure", rows, cells, mark=Mark(STYLES["failure"][1]))


# ----- what was seen of a node -------------------------------------------------------------------


def detail_rows(node: Node) -> list[str]:
    """The line that made it, and what it costs, as far as that is known."""
    costs = []
    if node.flops:
        costs.append(quantity(node.flops, "FLOP"))
    if node.saved_bytes:
        costs.append(f"saves {quantity(node.saved_bytes, 'B')}")
    times = [seconds(time) for time in (node.seconds, node.backward_seconds) if time is not None]
    if times:
        costs.append(" + ".join(times))
    rows = [text(node.source)] if node.source else []
    if node.code:
        rows.append(text(node.code, LINE))
    return [colored(row, FADED) for row in [*rows, ", ".join(costs)] if row]


def value_rows(node: Node, step: Step) -> list[str]:
    """What a node gave: its mean and spread, its range, and a histogram."""
    told = step.values.get(node.id)
    rows = list(_summary_rows(told))
    if told is None:
        return rows
    bad = [f"{count:,} {name}" for name, count in (("NaN", told.nan), ("inf", told.inf)) if count]
    if bad:
        rows.append(f"<B>{' and '.join(bad)}</B> of {told.count:,}")
    for name, share in (("dead", told.dead), ("saturated", told.saturated)):
        if share is not None:
            words = f"{name} {share:.0%}"
            rows.append(colored(f"<B>{words}</B>", VERMILION) if share >= ALARM else words)
    return rows


def _summary_rows(told: Summary | None) -> Iterator[str]:
    if told is None:
        yield f"value {UNKNOWN}"
    elif told.count == 1 and told.mean is not None:
        yield f"value {number(told.mean)}"
    elif told.mean is not None:
        spread = f"{number(told.mean)} ± {number(told.std)}"
        yield f"{spread}<BR/>{number(told.min)} to {number(told.max)}"
        if any(told.histogram):
            yield histogram(told.histogram)


HEIGHT, WIDTH, BARS = 16, 5, 16  # of a histogram: points, points of a bar, the most bars


def histogram(counts: list[int]) -> str:
    """Bars as cells of a table, since fonts lack the characters for them."""
    per = math.ceil(len(counts) / BARS)
    sums = [sum(counts[i : i + per]) for i in range(0, len(counts), per)]
    bare = 'BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"'
    cells = []
    for count in sums:
        full = max(1, round(HEIGHT * count / max(sums))) if count else 0
        parts = ((HEIGHT - full, ""), (full, f' BGCOLOR="{FADED}"'))
        rows = "".join(
            f'<TR><TD WIDTH="{WIDTH}" HEIGHT="{height}"{fill}></TD></TR>'
            for height, fill in parts
            if height
        )
        cells.append(f"<TD><TABLE {bare}>{rows}</TABLE></TD>")
    return f"<TABLE {bare}><TR>{''.join(cells)}</TR></TABLE>"


def gradient_row(norm: float | None, value: float | None = None) -> str:
    """The norm of the complete gradient at a node, or its value where it is one number."""
    told = f"gradient norm {number(norm)}" if value is None else f"gradient {number(value)}"
    if norm is None:
        return told
    if not math.isfinite(norm):
        return f"<B>{told}</B>"
    color = gradient_color(norm)
    return told if color == NEUTRAL else colored(f"<B>{told}</B>", color)


def gradient_norm(told: Summary | None) -> float | None:
    """The norm, but NaN or infinite where an element is; None if it is not known."""
    if told is None:
        return None
    if told.nan:
        return math.nan
    return math.inf if told.inf else told.norm


def update_row(ratio: float | None) -> str:
    """‖update‖ / ‖weight‖ of a parameter."""
    told = f"update/weight {number(ratio)}"
    if ratio is None or HEALTHY[0] <= ratio <= HEALTHY[1]:
        return told
    return colored(f"<B>{told}</B>", BLUE if ratio < HEALTHY[0] else VERMILION)


# ----- the legend --------------------------------------------------------------------------------

SCALE = (
    ("0", 0.0),
    ("1e-7", 1e-7),
    ("1e-5", 1e-5),
    ("1e-3 to 10", 1.0),
    ("1e3", 1e3),
    ("1e5", 1e5),
)


def legend(kinds: set[str], formulas: bool, scale: str = "", notes: Sequence[str] = ()) -> str:
    """What the colours and the letters mean, below further notes.

    `scale` says what the colours of arrows are about; without it they have none.
    """
    cells = [
        f'<TD BORDER="1" COLOR="{line}" BGCOLOR="{fill}">{kind}</TD>'
        for kind, (fill, line) in STYLES.items()
        if kind in kinds
    ]
    if formulas:
        letters = "y: the output of an op; g = ∂L/∂y: the gradient that reaches it"
        cells.append(f"<TD>{colored(letters, FADED)}</TD>")
    rows = [*notes, *([_scale(scale)] if scale else [])]
    above = "".join(f'<TR><TD COLSPAN="{max(1, len(cells))}">{row}</TD></TR>' for row in rows)
    return (
        '<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="6" CELLPADDING="3">'
        f"{above}<TR>{''.join(cells) or '<TD></TD>'}</TR></TABLE>>"
    )


def _scale(about: str) -> str:
    cells = [f"<TD>{colored(about, FADED)}</TD>"]
    for name, norm in (*SCALE, ("NaN or inf", math.nan)):
        swatch = f'FIXEDSIZE="TRUE" WIDTH="16" HEIGHT="8" BGCOLOR="{gradient_color(norm)}"'
        cells.append(f"<TD {swatch}></TD><TD>{name}</TD>")
    bare = 'BORDER="0" CELLBORDER="0" CELLSPACING="4" CELLPADDING="0"'
    return f"<TABLE {bare}><TR>{''.join(cells)}</TR></TABLE>"
