"""Boxes of letters and strokes: beside each other, above each other, raised, under a root.

What a formula is set with (see `typesetting`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape

_HELVETICA = """
278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556
556 278 278 584 584 584 556 1015 667 667 722 722 667 611 778 722 278 500 667 556 833 722 778 667 778
722 667 611 722 667 944 667 667 611 278 278 278 469 556 333 556 556 500 556 556 278 556 556 222 222
500 222 833 556 556 556 556 333 500 278 556 500 722 500 500 500 334 260 334 584
"""  # the widths of its letters from the blank on, in thousandths of the size
_WIDTHS = dict(zip(map(chr, range(32, 127)), map(int, _HELVETICA.split()), strict=True)) | {
    "·": 300, "−": 720, "+": 720, "=": 720, "<": 720, ">": 720, "≤": 720, "≥": 720, "≠": 720,
    "∂": 500, "Σ": 640, "σ": 600, "‖": 440, "ᵀ": 420, ",": 290, ".": 290
}  # fmt: skip
_ROOM = 1.12  # DejaVu is as much wider, and programs that heed no textLength use it
SMALLER = 0.72  # the size of what is raised or lowered, relative to the line


@dataclass(frozen=True)
class Letters:
    """A word: where its base line begins, its size and width."""

    x: float
    y: float
    text: str
    size: float
    width: float
    slanted: bool = False


@dataclass(frozen=True)
class Stroke:
    """A line through points."""

    points: tuple[tuple[float, float], ...]
    width: float


Mark = Letters | Stroke


@dataclass(frozen=True)
class Box:
    """Marks, relative to a point on their base line, and how far they reach from it."""

    width: float
    up: float
    down: float
    marks: tuple[Mark, ...] = ()

    def at(self, x: float, y: float) -> tuple[Mark, ...]:
        """The marks, moved."""
        return tuple(
            replace(mark, x=mark.x + x, y=mark.y + y)
            if isinstance(mark, Letters)
            else replace(mark, points=tuple((a + x, b + y) for a, b in mark.points))
            for mark in self.marks
        )

    @property
    def height(self) -> float:
        return self.up + self.down


def svg(marks: Iterable[Mark]) -> str:
    """Marks as SVG; words keep their width whatever font there is."""
    parts = []
    for mark in marks:
        if isinstance(mark, Letters):
            slanted = ' font-style="italic"' if mark.slanted else ""
            fit = f' textLength="{mark.width:.4g}" lengthAdjust="spacingAndGlyphs"'
            parts.append(
                f'<text x="{mark.x:.1f}" y="{mark.y:.1f}" font-size="{mark.size:.4g}"{slanted}'
                f"{fit if len(mark.text) > 1 else ''}>{escape(mark.text)}</text>"
            )
        else:
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in mark.points)
            parts.append(f'<polyline points="{points}" stroke-width="{mark.width:.2f}"/>')
    return "".join(parts)


def words(text: str, size: float, slanted: bool = False) -> Box:
    """Plain words."""
    bare = text.strip()  # blanks at the ends are places, since SVG drops them
    whole, left, inner = (
        sum(_WIDTHS.get(letter, 620) for letter in part) * size * _ROOM / 1000
        for part in (text, text[: len(text) - len(text.lstrip())], bare)
    )
    mark = Letters(left, 0.0, bare, size, inner, slanted)
    return Box(whole, 0.76 * size, 0.24 * size, (mark,) if bare else ())


def row(boxes: Iterable[Box]) -> Box:
    """Boxes beside each other."""
    x, up, down = 0.0, 0.0, 0.0
    marks: list[Mark] = []
    for box in boxes:
        marks += box.at(x, 0.0)
        x, up, down = x + box.width, max(up, box.up), max(down, box.down)
    return Box(x, up, down, tuple(marks))


def space(width: float) -> Box:
    """Nothing."""
    return Box(width, 0.0, 0.0)


def stacked(above: Box, below: Box, size: float) -> Box:
    """A fraction."""
    width, axis, gap = max(above.width, below.width) + 0.3 * size, 0.3 * size, 0.14 * size
    marks = (
        *above.at((width - above.width) / 2, -axis - gap - above.down),
        Stroke(((0.05 * size, -axis), (width - 0.05 * size, -axis)), 0.06 * size),
        *below.at((width - below.width) / 2, -axis + gap + below.up),
    )
    return Box(width, axis + gap + above.height, gap + below.height - axis, marks)


def raised(base: Box, high: Box, size: float) -> Box:
    """A power."""
    lift = max(0.4 * size, base.up - 0.3 * size)
    return Box(
        base.width + high.width + 0.04 * size,
        max(base.up, lift + high.up),
        base.down,
        (*base.marks, *high.at(base.width + 0.04 * size, -lift)),
    )


def lowered(base: Box, low: Box, size: float) -> Box:
    """An index."""
    drop = 0.22 * size
    marks = (*base.marks, *low.at(base.width, drop))
    return Box(base.width + low.width, base.up, max(base.down, drop + low.down), marks)


def root(inside: Box, size: float) -> Box:
    """A square root."""
    left, over = 0.55 * size, inside.up + 0.12 * size
    hook = ((0.05 * size, -0.3 * size), (0.18 * size, -0.38 * size), (0.33 * size, inside.down))
    bar = ((0.52 * size, -over), (left + inside.width, -over))
    marks = (Stroke((*hook, *bar), 0.06 * size), *inside.at(left, 0.0))
    return Box(left + inside.width + 0.1 * size, over + 0.05 * size, inside.down, marks)


def fenced(inside: Box, size: float, shape: str = "()") -> Box:
    """Something between parentheses, brackets or bars as tall as it is; "{" has no right one."""
    side = 0.3 * size
    top, bottom = -inside.up + 0.02 * size, inside.down - 0.04 * size
    left = _fence(shape[0], side, top, bottom)
    marks: tuple[Mark, ...] = (Stroke(left, 0.06 * size), *inside.at(side * 1.15, 0.0))
    width = inside.width + side * 1.15
    if len(shape) > 1:
        width += side * 1.15
        marks += (Stroke(tuple((width - x, y) for x, y in left), 0.06 * size),)
    return Box(width, inside.up, inside.down, marks)


def _fence(shape: str, side: float, top: float, bottom: float) -> tuple[tuple[float, float], ...]:
    middle, reach = (top + bottom) / 2, bottom - top
    if shape == "|":
        return ((side / 2, top), (side / 2, bottom))
    if shape == "[":
        return ((side * 0.8, top), (side * 0.35, top), (side * 0.35, bottom), (side * 0.8, bottom))
    if shape == "{":
        bend = min(side / 2, reach / 8)
        x, right = side / 2, side * 0.95
        return (
            (right, top), (x, top + bend), (x, middle - bend), (x - bend, middle),
            (x, middle + bend), (x, bottom - bend), (right, bottom),
        )  # fmt: skip
    turns = [i / 8 for i in range(9)]
    return tuple((side * (0.3 + 0.55 * (2 * t - 1) ** 2), top + reach * t) for t in turns)


def grid(rows: Sequence[Sequence[Box]], size: float, align: str = "right") -> Box:
    """Rows below each other with their columns aligned, around the axis of a line."""
    columns = [max(box.width for box in column) for column in zip(*rows, strict=True)]
    gap, line = 0.5 * size, 0.15 * size
    heights = [max(0.9 * size, *(box.height for box in cells)) + line for cells in rows]
    y = -0.3 * size - sum(heights) / 2
    top, marks = y, list[Mark]()
    for cells, height in zip(rows, heights, strict=True):
        x, base = 0.0, y + line / 2 + max(box.up for box in cells)
        for box, width in zip(cells, columns, strict=True):
            marks += box.at(x + (width - box.width if align == "right" else 0.0), base)
            x += width + gap
        y += height
    return Box(sum(columns) + gap * (len(columns) - 1), -top, y, tuple(marks))


def below(boxes: Iterable[Box], gap: float) -> Box:
    """Boxes below each other; the base line is that of the first."""
    first, *others = boxes
    width, down, marks = first.width, first.down, list(first.marks)
    for box in others:
        marks += box.at(0.0, down + gap + box.up)
        width, down = max(width, box.width), down + gap + box.height
    return Box(width, first.up, down, tuple(marks))


def fitted(box: Box, width: float) -> Box:
    """A box made smaller where it is wider than there is room."""
    if box.width <= width:
        return box
    scale = width / box.width
    marks = tuple(
        replace(
            mark, x=mark.x * scale, y=mark.y * scale, size=mark.size * scale,
            width=mark.width * scale,
        )
        if isinstance(mark, Letters)
        else Stroke(tuple((x * scale, y * scale) for x, y in mark.points), mark.width * scale)
        for mark in box.marks
    )  # fmt: skip
    return Box(width, box.up * scale, box.down * scale, marks)
