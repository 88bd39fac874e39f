"""What the colours, the arrows and the letters of a picture mean: all that is in it, no more."""

import math
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING

from tinygrad_cv.viz import labels
from tinygrad_cv.viz.labels import BARE, FADED, GRADIENT, INK, LINE, ORANGE, STYLES

if TYPE_CHECKING:
    from tinygrad_cv.viz.painting import Style


class Key(Enum):
    """What a picture may have in it that is to be explained."""

    FORMULAS = "formulas of rules"
    ARRIVING = "the letter g in them"
    OUTPUT = "the letter y in them"
    SECOND = "the letter y for an input"
    SUM = "shares of a gradient that are added"
    PAIR = "an arrow for a value and one for its gradient"
    SCALE = "arrows in the colours of gradients"
    ZERO = "a gradient that is exactly 0"
    UNKNOWN = "a gradient that is not known"
    BROKEN = "a value or a gradient that is not finite"
    SEVERAL = "a fat arrow"
    BLOCKS = "one of several equal blocks"
    SPREAD = "mean and deviation"
    DIFFERENT = "what differs"
    PLACE = "where a playback is"


FLAT = 'BORDER="0" CELLBORDER="0" CELLPADDING="0"'
PAIRS = 4  # keys in a row
DECADES = (("÷10⁶", -6.0), ("as at the output", 0.0), ("×10⁴", 4.0), ("×10⁶", 6.0))


def legend(kinds: set[str], keys: set[Key], style: "Style", notes: Sequence[str] = ()) -> str:
    """A table for the bottom of a picture, below further notes."""
    span = f'COLSPAN="{2 * PAIRS}"'
    lines = [*notes, *_texts(keys, style)]
    rows = [f"<TR><TD {span}>{line}</TD></TR>" for line in lines]
    entries = [*_scale(keys), *_arrows(keys, style), *_boxes(kinds, keys)]
    for first in range(0, len(entries), PAIRS):
        cells = "".join(
            f'<TD>{swatch}</TD><TD ALIGN="LEFT">{words}</TD>'
            for swatch, words in entries[first : first + PAIRS]
        )
        rows.append(f"<TR>{cells}</TR>")
    return f'<<TABLE {BARE} CELLPADDING="2">{"".join(rows)}</TABLE>>'


def findings(lines: Sequence[str]) -> str:
    """A table for the top of a picture: what was found, one "level: words" after the other."""
    rows = []
    for line in lines:
        first, *more = labels.wrapped(line)
        level, colon, words = first.partition(": ")
        if colon:
            first = (
                f"<B>{labels.colored(labels.text(level), GRADIENT)}</B> {labels.text(words, LINE)}"
            )
        rest = labels.left_aligned(f"  {part}" for part in more)
        rows.append(f'<TR><TD ALIGN="LEFT">{first}<BR ALIGN="LEFT"/>{rest}</TD></TR>')
    return f'<<TABLE BORDER="1" CELLBORDER="0" COLOR="{ORANGE}">{"".join(rows)}</TABLE>>'


def _scale(keys: set[Key]) -> list[tuple[str, str]]:
    if Key.SCALE not in keys:
        return []
    return [(_line(*labels.tone(t)), f"gradient {words}") for words, t in DECADES]


def _arrows(keys: set[Key], style: "Style") -> list[tuple[str, str]]:
    """The kinds of arrows, each with a piece of one."""
    found = []
    if Key.PAIR in keys:
        found.append((_line(INK, 1), "value"))
        if Key.SCALE not in keys:
            found.append((_line(GRADIENT, 1), "its gradient"))
    if Key.ZERO in keys:
        found.append((_line(*labels.tone(-math.inf), "dashed"), "gradient exactly 0"))
    if Key.UNKNOWN in keys:
        found.append((_line(labels.NEUTRAL, 1, "dotted"), "gradient not known"))
    if Key.BROKEN in keys:
        found.append((_line(*labels.tone(math.nan), "dashed"), "NaN or inf"))
    if Key.SEVERAL in keys:
        found.append((_line(INK, 5), "several values"))
    return found


def _boxes(kinds: set[str], keys: set[Key]) -> list[tuple[str, str]]:
    """The kinds of boxes, each with a small one, and the borders that set some apart."""
    named = kinds | ({"gradient"} if Key.FORMULAS in keys else set())
    found = [
        (_swatch(line, fill), "rules of its gradient" if kind == "gradient" else kind)
        for kind, (fill, line) in STYLES.items()
        if kind in named
    ]
    if Key.BLOCKS in keys:
        found.append((_swatch(INK, "#FFFFFF", 2), "equal blocks, one shown"))
    if Key.DIFFERENT in keys:
        found.append((_swatch(labels.ORANGE, "#FFFFFF", 3), "pointed out"))
    if Key.PLACE in keys:
        found.append((_swatch(labels.ORANGE, "#FFFFFF", 3), "sends its gradients on"))
    return found


def _texts(keys: set[Key], style: "Style") -> list[str]:
    """What is written in boxes."""
    told = []
    letters = {
        Key.ARRIVING: "g: the gradient that reaches an op, ∂L/∂(its output)",
        Key.OUTPUT: f"y: its output{', where no input is y' if Key.SECOND in keys else ''}",
        Key.SUM: "+=: added to what others send",
    }
    if named := [words for key, words in letters.items() if key in keys]:
        told.append("; ".join(named))
    if Key.SPREAD in keys:
        told.append("mean ± standard deviation, least to most, and a histogram")
    if Key.BLOCKS in keys and style.step:
        told.append("of equal blocks boxes show the first, and arrows the worst")
    if style.cost:
        told.append("the darker a box, the larger its share of the cost")
    return [labels.colored(labels.text(line, len(line)), FADED) for line in told]


def _swatch(line: str, fill: str, width: int = 1) -> str:
    size = f'FIXEDSIZE="TRUE" WIDTH="24" HEIGHT="11" BORDER="{width}"'
    cell = f'<TD {size} COLOR="{line}" BGCOLOR="{fill}"></TD>'
    return f"<TABLE {FLAT}><TR>{cell}</TR></TABLE>"


def _line(color: str, width: float, kind: str = "solid") -> str:
    """A piece of an arrow."""
    parts, gap = {"solid": ([24], 0), "dashed": ([6] * 3, 3), "dotted": ([2] * 5, 3)}[kind]
    size = f'FIXEDSIZE="TRUE" HEIGHT="{max(1, round(width))}" BGCOLOR="{color}"'
    cells = "".join(f'<TD {size} WIDTH="{part}"></TD>' for part in parts)
    return f'<TABLE {FLAT} CELLSPACING="{gap}"><TR>{cells}</TR></TABLE>'
