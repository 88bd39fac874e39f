"""What a box of a picture says, as the HTML-like labels that Graphviz lays out."""

import math
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby, islice
from typing import Any

from tinygrad_cv.printing import quantity, seconds
from tinygrad_cv.viz.data import Failure, Input, Node, Step, Summary
from tinygrad_cv.viz.text import one_line
from tinygrad_cv.viz.widths import padded
from tinygrad_cv.viz.words import Words, name_of

FONT = "Helvetica"  # every renderer knows its widths; where it is missing a sans serif stands in
SIZE = 11
INK, FADED, GRADIENT = "#222222", "#595959", "#A33F00"
# (fill, line) of each kind of box. Blue and vermilion differ for every kind of colour vision
# (Okabe and Ito, 2008).
STYLES = {
    "input": ("#EEEEEE", "#666666"),
    "parameter": ("#D6E9F6", "#0072B2"),
    "op": ("#FFFFFF", INK),
    "module": ("#E3F3EC", "#007A59"),
    "output": ("#FFFFFF", "#666666"),
    "gradient": ("#FCEBE1", "#C75300"),
    "failure": ("#FFE3CC", "#C75300"),
}
NAME = 40  # characters of a name; a longer one ends in …
LINE, LINES = 56, 12  # characters in a line of running text, and lines of it in a box
UNKNOWN = "–"  # what was not computed

# ----- numbers in colour -------------------------------------------------------------------------

BLUE, NEUTRAL, VERMILION, MAGENTA = "#0072B2", "#808080", "#D55E00", "#C06399"
DEEP = "#005A8E"  # blue as text
ORANGE = "#B97F00"  # what a playback is at, and what differs: Okabe and Ito's, dark enough on white
HEALTHY = (1e-4, 1e-2)  # update/weight; 1e-3 is in the middle
ALARM = 0.5  # the share of dead or saturated units from which on it is told in bold
COSTLY = "#BFE3F7"  # the ground of the box that costs most: light enough for all text
STILL, FULL = 2.0, 6.0  # decades up to which a gradient is grey, and from which on all colour


def tone(t: float) -> tuple[str, float]:
    """The colour and the width of an arrow by t, in decades (see `viz.judging`): blue is vanishing.

    >>> tone(0.0), tone(-8.0)
    (('#808080', 2.0), ('#0072B2', 1.0))
    """
    if math.isnan(t):
        return MAGENTA, 4.0
    share = min(1.0, max(0.0, (abs(t) - STILL) / (FULL - STILL)))
    width = 2.0 + (2.0 if t > 0 else -1.0) * share
    return mixed(NEUTRAL, VERMILION if t > 0 else BLUE, share), width


def arrow(t: float | None) -> dict[str, str]:
    """How an arrow shows t; one that is not known is dotted, a gradient of exactly 0 dashed."""
    if t is None:
        return {"color": NEUTRAL, "penwidth": "1", "style": "dotted"}
    color, width = tone(t)
    dashed = math.isnan(t) or t == -math.inf
    return {"color": color, "penwidth": f"{width:.4g}"} | ({"style": "dashed"} if dashed else {})


def worst(found: Iterable[float]) -> float | None:
    """NaN where there is one, else the t farthest from 0; None of none.

    -inf counts last: the first step of a loop may send nothing where all later ones do.
    """
    told = list(found)
    finite = [t for t in told if math.isfinite(t)]
    broken = next((t for t in told if math.isnan(t)), None)
    return broken if broken is not None else max(finite or told, key=abs, default=None)


def mixed(start: str, end: str, share: float) -> str:
    """A colour between two."""
    channels = ((int(start[i : i + 2], 16), int(end[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * share):02X}" for a, b in channels)


def luminance(color: str) -> float:
    """How light a colour is, 0 to 1 (relative luminance, WCAG 2.2)."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a: str, b: str) -> float:
    """Of two colours, 1 to 21 (WCAG 2.2)."""
    dark, light = sorted((luminance(a), luminance(b)))
    return (light + 0.05) / (dark + 0.05)


def greyed(source: str) -> str:
    """The same with each colour as the grey that is as light: all contrasts stay as they are."""

    def grey(found: re.Match[str]) -> str:
        y = luminance(found[0])
        level = 12.92 * y if y <= 0.0031308 else 1.055 * y ** (1 / 2.4) - 0.055
        return "#" + f"{round(255 * level):02X}" * 3

    return re.sub(r"#[0-9A-F]{6}\b", grey, source)


def number(value: float | None) -> str:
    """A number in three digits; "–" if it is not known."""
    return UNKNOWN if value is None else f"{value:.3g}"


# ----- text --------------------------------------------------------------------------------------


def text(value: Any, limit: int = NAME) -> str:
    """Anything as one line of HTML: of limited length, and with nothing that XML cannot carry."""
    line = padded(one_line(str(value), limit))
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


def formulas_of(told: Words) -> str:
    """The formula of each rule that runs, in lines that begin at the left."""
    lines = (part for line in told.formulas for part in wrapped(*indented(line)))
    shown = list(islice(lines, LINES + 1))
    if len(shown) > LINES:
        shown[LINES:] = ["…"]
    return left_aligned(shown)


def left_aligned(lines: Iterable[str]) -> str:
    """Lines that begin at the left, with their indents."""
    html = []
    for line in lines:
        bare, indent = indented(line)
        html.append(f'{"&#160;" * indent}{text(bare, LINE)}<BR ALIGN="LEFT"/>')
    return "".join(html)


# ----- boxes -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mark:
    """What sets a box apart: a heavy border in a colour, and words above the rest."""

    color: str
    words: str = ""


BARE = 'BORDER="0" CELLBORDER="0" CELLSPACING="0"'


def box(
    kind: str,
    rows: Iterable[str],
    ports: Sequence[tuple[str, str]] = (),
    behind: str = "",
    mark: Mark | None = None,
    fill: str = "",
    below: bool = False,
) -> str:
    """A table: rows of HTML, beside them what is `behind`, and above or below a row of ports."""
    ground, line = STYLES[kind]
    border = ""
    if mark is not None:
        line, border = mark.color, 'BORDER="4" '
        words = [part for line in mark.words.split("; ") for part in wrapped(line)]
        rows = [*(f"<B>{text(line, LINE)}</B>" for line in words), *rows]
    ground_of = f' BGCOLOR="{fill}"' if fill else ""
    half = f'<TD ALIGN="LEFT"{ground_of}>{_stacked(rows)}</TD>'
    if behind:
        half += f'<TD BGCOLOR="{STYLES["gradient"][0]}" ALIGN="LEFT">{behind}</TD>'
    table = [f"<TR>{half}</TR>"]
    if ports:
        cells = "<VR/>".join(f'<TD PORT="{port}">{html}</TD>' for port, html in ports)
        span = f'<TD CELLPADDING="0" COLSPAN="{2 if behind else 1}">'
        named = f'<TR>{span}<TABLE {BARE} CELLPADDING="2"><TR>{cells}</TR></TABLE></TD></TR>'
        table = [*table, "<HR/>", named] if below else [named, "<HR/>", *table]
    frame = f'CELLBORDER="0" CELLSPACING="0" CELLPADDING="2" COLOR="{line}" BGCOLOR="{ground}"'
    return "\n".join([f"<<TABLE {border}{frame}>", *table, "</TABLE>>"])


def _stacked(rows: Iterable[str]) -> str:
    """Rows that begin at the left: lines of text, and tables on their own."""
    parts = [
        "".join(row if is_table else f'{row}<BR ALIGN="LEFT"/>' for row in group)
        for is_table, group in groupby(rows, key=lambda row: row.startswith("<TABLE"))
    ]
    if len(parts) == 1:
        return parts[0]
    lines = "".join(f'<TR><TD ALIGN="LEFT">{part}</TD></TR>' for part in parts)
    return f'<TABLE {BARE} CELLPADDING="0">{lines}</TABLE>'


def type_of(node: Node) -> str:
    """The dtype and shape of a node's value."""
    return text(f"{node.dtype} {tuple(node.shape)}")


def place(i: int) -> str:
    """The number of a node in the listing of its graph."""
    return colored(f"%{i} ", FADED)


def rows_of(told: Words, i: int | None = None) -> list[str]:
    """What a box says, as rows; the last tells what it makes, with the number of node i."""
    *attributes, made = told.rows
    lines = [part for row in attributes for part in wrapped(row)]
    number = "" if i is None else place(i)
    return [
        heading(text(told.title, LINE)),
        *(text(line, LINE) for line in lines),
        number + text(made),
    ]


def given(node: Node) -> list[tuple[str, Input]]:
    """The inputs of an op that are there, each with its port."""
    return [
        (f"i{port}", entry)
        for port, entry in enumerate(node.inputs)
        if entry.source is not None or entry.text != "None"
    ]


def input_cells(node: Node) -> list[tuple[str, str]]:
    """The inputs of an op by name, each with its port; a plain number is told in full."""
    return [
        (port, text(name_of(entry) if entry.source is not None else f"{entry.name} = {entry.text}"))
        for port, entry in given(node)
    ]


def op_rows(node: Node, name: str) -> list[str]:
    """An op as rows: its name and attributes, and what it makes."""
    rows = [heading((f"{text(name)} = " if name else "") + text(node.op))]
    rows += (text(line, LINE) for line in wrapped(node.attributes))
    return [*rows, place(node.id) + type_of(node)]


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
            rows.append(colored(f"<B>{words}</B>", GRADIENT) if share >= ALARM else words)
    return rows


def _summary_rows(told: Summary | None) -> Iterator[str]:
    if told is None:
        yield f"value {UNKNOWN}"
    elif told.count == 1 and told.mean is not None:
        yield f"value {number(told.mean)}"
    elif told.mean is not None:
        yield f"{number(told.mean)} ± {number(told.std)}"
        yield f"{number(told.min)} to {number(told.max)}"
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


def gradient_row(told: Summary | None, single: bool = False, t: float | None = None) -> str:
    """The norm of the complete gradient at a node, or its value where it is a `single` number.

    It is in colour where t (see `tone`) says that it vanishes or explodes.
    """
    norm = gradient_norm(told)
    signed = told is not None and norm is not None and math.isfinite(norm)
    value = told.mean if single and told is not None and signed else norm
    words = f"gradient {'' if single else 'norm '}{number(value)}"
    if norm is None or (math.isfinite(norm) and not (t is not None and abs(t) > STILL)):
        return words
    color = DEEP if t is not None and t < 0 else GRADIENT
    return f"<B>{words}</B>" if not math.isfinite(norm) else colored(f"<B>{words}</B>", color)


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
    return colored(f"<B>{told}</B>", DEEP if ratio < HEALTHY[0] else GRADIENT)
