"""Formulas as a book sets them: from the text of a formula to letters and strokes in their places.

A formula is parsed into a tree of tuples such as ("call", "exp", [("name", "x")]); each of these
becomes a `Box`, and boxes are put beside and above each other: 2 · x is 2x, x ** 2 is raised,
a / b is a fraction, `where` is a brace with two cases. What cannot be parsed is set as it stands.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise
from typing import Any

Tree = tuple[Any, ...]

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


# ----- boxes -------------------------------------------------------------------------------------


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


# ----- from text to a tree -----------------------------------------------------------------------

_TOKEN = re.compile(
    r"\s*(?:(?P<partial>∂L/∂(?P<of>%?(?:(?![ᵀ])[\w'])+(?:\[[^\[\]]*\])*))"
    r"|(?P<path>(?:\w+\.)+[^\W\d]\w*\b(?!\())"
    r"|(?P<number>\d+\.?\d*(?:e[+-]?\d+)?)"
    r"|(?P<name>%\d+|(?:(?![ᵀ\d])\w)(?:(?!ᵀ)[\w'])*)"
    r"|(?P<sign>\*\*|<=|>=|==|!=|[-+·/@<>&|~()\[\],.…ᵀ:]))"
)


class _Parser:
    """Reads what `Symbol` writes, in its order of precedence."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str, bool]] = []
        place = 0
        while place < len(text.rstrip()):
            found = _TOKEN.match(text, place)
            if found is None:
                raise ValueError(f"{text[place:]!r} is no part of a formula")
            kind = "partial" if found["of"] else str(found.lastgroup)
            value = found["of"] or found[kind]
            self.tokens.append((kind, value, text[place] == " "))
            place = found.end()
        self.i = 0

    def whole(self) -> Tree:
        tree = self.comparison()
        if self.i < len(self.tokens):
            raise ValueError(f"{self.tokens[self.i][1]!r} follows a whole formula")
        return tree

    def next(self, *signs: str) -> str:
        """The next sign if it is one of these; else ""."""
        if self.i < len(self.tokens):
            kind, value, _ = self.tokens[self.i]
            if kind == "sign" and value in signs:
                self.i += 1
                return value
        return ""

    def comparison(self) -> Tree:
        tree = self.sum()
        while sign := self.next("<", "<=", ">", ">=", "==", "!=", "&", "|"):
            tree = ("compare", sign, tree, self.sum())
        return tree

    def sum(self) -> Tree:
        terms = [("+", self.product())]
        while sign := self.next("+", "-"):
            terms.append((sign, self.product()))
        return terms[0][1] if len(terms) == 1 else ("sum", terms)

    def product(self) -> Tree:
        factors = [("·", self.unary())]
        while sign := self.next("·", "/", "@"):
            factors.append((sign, self.unary()))
        return factors[0][1] if len(factors) == 1 else ("product", factors)

    def unary(self) -> Tree:
        if sign := self.next("-", "~"):
            return ("negative", sign, self.unary())
        base = self.postfix()
        return ("power", base, self.unary()) if self.next("**") else base

    def postfix(self) -> Tree:
        tree = self.atom()
        while True:
            if self.next("ᵀ"):
                tree = ("transposed", tree)
            elif self.tokens[self.i : self.i + 1] == [("sign", "[", False)]:
                tree = ("index", tree, self.index())
            elif self.next("."):
                tree = ("index", tree, self.tokens[self.i][1])
                self.i += 1
            else:
                return tree

    def index(self) -> str:
        """What stands between brackets, as it is."""
        depth, text = 0, ""
        for kind, value, spaced in self.tokens[self.i :]:
            self.i += 1
            depth += (kind, value) == ("sign", "[")
            depth -= (kind, value) == ("sign", "]")
            text += " " * spaced + value
            if not depth:
                return text[1:-1]
        raise ValueError("a bracket is not closed")

    def atom(self) -> Tree:
        if self.i == len(self.tokens):
            raise ValueError("the formula ends too early")
        kind, value, _ = self.tokens[self.i]
        self.i += 1
        if kind in ("partial", "number"):
            return (kind, value)
        if kind == "path":
            return ("name", value)
        if kind == "name":
            if self.tokens[self.i : self.i + 1] == [("sign", "(", False)]:
                self.i += 1
                return ("call", value, self.listed(")"))
            return ("name", value)
        if value == "(":
            items = self.listed(")")
            return ("group", items[0]) if len(items) == 1 else ("list", items)
        if value == "[":
            return ("list", self.listed("]"))
        if value == "…":
            return ("name", value)
        raise ValueError(f"{value!r} begins no formula")

    def listed(self, end: str) -> list[Tree]:
        """Formulas with commas between them, to the closing sign."""
        items: list[Tree] = []
        while not self.next(end):
            items.append(self.comparison())
            if not self.next(","):
                if not self.next(end):
                    raise ValueError(f"{end!r} is missing")
                break
        return items


# ----- from a tree to a box ----------------------------------------------------------------------

_SIGNS = {"-": "−", "==": "=", "<=": "≤", ">=": "≥", "!=": "≠", "~": "¬"}
SILENT = ("reshape", "broadcast_to", "cast")  # they change a shape or a dtype, and no number
_FUNCTIONS = {"sigmoid": "σ", "amax": "max", "maximum": "max", "amin": "min", "minimum": "min"}


def formula(text: str, size: float) -> Box:
    """The box of one formula; of plain words if it is none."""
    try:
        tree = _Parser(text).whole()
    except ValueError:
        return words(text, size)
    return _set(tree, size)


def _set(tree: Tree, size: float) -> Box:
    box: Box = _SETTERS[tree[0]](size, *tree[1:])
    return box


def _number(size: float, text: str) -> Box:
    mantissa, _, exponent = text.partition("e")
    mantissa = re.sub(r"\.0+$", "", mantissa).rstrip(".")
    if not exponent:
        return words(mantissa, size)
    power = raised(words("10", size), _negative(size * SMALLER, str(int(exponent))), size)
    return power if mantissa == "1" else row([words(f"{mantissa} · ", size), power])


def _negative(size: float, text: str) -> Box:
    return words(text.replace("-", "−"), size)


def _name(size: float, name: str) -> Box:
    if name in ("inf", "nan"):
        return words({"inf": "∞", "nan": "NaN"}[name], size)
    found = re.fullmatch(r"([^\W\d_]{1,2})_?(\d+)", name)
    if found is None:
        return words(name, size, slanted=not name.startswith(("%", "…")))
    return lowered(words(found[1], size, slanted=True), words(found[2], size * SMALLER), size)


def _partial(size: float, name: str) -> Box:
    small = size * 0.85
    base, bracket, rest = name.partition("[")
    below = _name(small, base)
    if bracket:
        below = lowered(below, words(rest[:-1].replace("][", ", "), small * SMALLER), small)
    above = row([words("∂", small), words("L", small, slanted=True)])
    return stacked(above, row([words("∂", small), below]), size)


def _sum(size: float, terms: list[tuple[str, Tree]]) -> Box:
    parts = [_set(terms[0][1], size)]
    for sign, term in terms[1:]:
        parts += [words(f" {_SIGNS.get(sign, sign)} ", size), _set(term, size)]
    return row(parts)


def _minus(size: float, sign: str, tree: Tree) -> Box:
    return row([words(_SIGNS[sign], size), _set(tree, size)])


def _product(size: float, factors: list[tuple[str, Tree]]) -> Box:
    """Factors beside each other; what is divided by others stands above them."""
    above: list[tuple[str, Tree]] = []
    below: list[tuple[str, Tree]] = []
    for sign, factor in factors:
        if sign == "/":
            below.append(("·", factor))
            continue
        if below:
            above, below = [("·", ("quotient", above, below))], []
        if factor != ("number", "1") or not above or _is_number(above[0][1]):  # x · 1 is x
            above.append((sign, factor))
    if below:
        return _quotient(size, above, below)
    above = _powers(above)
    parts = [_set(above[0][1], size)]
    for (_, left), (sign, right) in pairwise(above):
        close = sign == "@" or (_is_number(left) and not _begins_with_number(right))
        parts += [space(0.15 * size) if close else words(" · ", size), _set(right, size)]
    return row(parts)


def _powers(factors: list[tuple[str, Tree]]) -> list[tuple[str, Tree]]:
    """y · y as a power of y."""
    told: list[tuple[str, Tree]] = []
    for sign, factor in factors:
        before = told[-1][1] if told else ()
        if sign == "·" and before == factor and _is_atom(factor):
            told[-1] = (told[-1][0], ("power", factor, ("number", "2")))
        elif sign == "·" and before[:2] == ("power", factor) and before[2] == ("number", "2"):
            told[-1] = (told[-1][0], ("power", factor, ("number", "3")))
        else:
            told.append((sign, factor))
    return told


def _is_atom(tree: Tree) -> bool:
    return tree[0] == "name" or (tree[0] == "number" and len(tree[1]) > 2)  # 1 · 1 is no power


def _is_number(tree: Tree) -> bool:
    return tree[0] == "number" or (tree[0] == "negative" and _is_number(tree[2]))


def _begins_with_number(tree: Tree) -> bool:
    while tree[0] in ("power", "negative", "transposed", "index"):
        tree = tree[2] if tree[0] == "negative" else tree[1]
    numbered = tree[0] == "name" and tree[1].startswith("%")
    return numbered or tree[0] in ("number", "list") or (tree[0] == "group" and _is_number(tree[1]))


def _quotient(size: float, above: list[tuple[str, Tree]], below: list[tuple[str, Tree]]) -> Box:
    sign = ""
    if above[0][1][0] == "negative" and above[0][1][1] == "-":
        sign, above = "−", [("·", above[0][1][2]), *above[1:]]
    small = size * 0.85
    top, bottom = (
        _set(_bare(part[0][1]), small) if len(part) == 1 else _product(small, part)
        for part in (above, below)
    )
    return row([words(sign, size), stacked(top, bottom, size)])


def _bare(tree: Tree) -> Tree:
    """Without the parentheses that a bar makes needless."""
    return tree[1] if tree[0] == "group" else tree


def _power(size: float, base: Tree, exponent: Tree) -> Box:
    if exponent == ("number", "1"):
        return _set(base, size)
    return raised(_set(base, size), _set(_bare(exponent), max(size * SMALLER, 1)), size)


def _group(size: float, tree: Tree) -> Box:
    return fenced(_set(tree, size), size)


def _call(size: float, name: str, arguments: list[Tree]) -> Box:
    only = arguments[0] if len(arguments) == 1 else None
    if only is not None and name == "exp" and not _is_tall(only):
        return raised(words("e", size, slanted=True), _set(only, size * SMALLER), size)
    if only is not None and name == "sqrt":
        return root(_set(only, size), size)
    if only is not None and name in SILENT:
        return _set(only, size)
    if only is not None and name == "abs":
        return fenced(_set(only, size), size, "||")
    if only is not None and name == "sum":
        inside = _group(size, only) if _is_loose(only) else _set(only, size)
        return row([words("Σ", size * 1.15), space(0.12 * size), inside])
    if name == "where" and len(arguments) == 3:
        condition, yes, no = (_set(argument, size) for argument in arguments)
        rows = [[yes, row([words("if ", size), condition])], [no, words("otherwise", size)]]
        return row([fenced(grid(rows, size, "left"), size, "{"), space(0.3 * size)])
    inside = row(_listed(size, arguments))
    return row([words(_FUNCTIONS.get(name, name), size), fenced(inside, size)])


def _is_loose(tree: Tree) -> bool:
    """Whether it needs parentheses after a Σ: a sum, or something with a sign."""
    first = tree[1][0][1] if tree[0] == "product" else tree
    return first[0] in ("sum", "compare", "negative")


def _listed(size: float, items: list[Tree]) -> list[Box]:
    parts: list[Box] = []
    for item in items:
        parts += [*([words(", ", size)] if parts else []), _set(item, size)]
    return parts


def _is_tall(tree: Any) -> bool:
    """Whether there is a fraction, a list or a case in it."""
    if isinstance(tree, list):
        return any(map(_is_tall, tree))
    return isinstance(tree, tuple) and (
        tree[:1] in (("list",), ("partial",), ("/",))
        or tree[:2] == ("call", "where")
        or any(map(_is_tall, tree))
    )


def _list(size: float, items: list[Tree]) -> Box:
    """A vector; of equally long vectors a matrix."""
    lengths = {len(item[1]) if item[0] == "list" else 0 for item in items}
    if items and len(lengths) == 1 and lengths != {0}:
        return fenced(grid([[_set(x, size) for x in item[1]] for item in items], size), size, "[]")
    return fenced(row(_listed(size, items)), size, "[]")


def _transposed(size: float, tree: Tree) -> Box:
    return raised(_set(tree, size), words("T", size * 0.6), size)


def _index(size: float, tree: Tree, text: str) -> Box:
    return lowered(_set(tree, size), words(text, size * SMALLER), size)


def _compared(size: float, sign: str, left: Tree, right: Tree) -> Box:
    return row([_set(left, size), words(f" {_SIGNS.get(sign, sign)} ", size), _set(right, size)])


_SETTERS: dict[str, Any] = {
    "number": _number,
    "name": _name,
    "partial": _partial,
    "sum": _sum,
    "negative": _minus,
    "product": _product,
    "quotient": _quotient,
    "power": _power,
    "group": _group,
    "call": _call,
    "list": _list,
    "transposed": _transposed,
    "index": _index,
    "compare": _compared,
}

# ----- whole lines -------------------------------------------------------------------------------


def equation(text: str, size: float, width: float) -> Box:
    """A chain "a = b = c" in as many lines as it needs, broken before equal signs.

    A line that begins with "where" has that word before it.
    """
    bare = text.strip()
    before = words("where ", size) if bare.startswith("where ") else space(0.0)
    parts = re.split(r" (\+?=) ", bare.removeprefix("where "))
    first = row([before, formula(parts[0], size)])
    lines: list[list[Box]] = [[first]]
    for sign, part in zip(parts[1::2], parts[2::2], strict=True):
        added = row([words(f" {sign} ", size), formula(part, size)])
        if len(lines[-1]) > 1 and sum(box.width for box in lines[-1]) + added.width > width:
            lines.append([space(first.width)])
        lines[-1].append(added)
    return below(map(row, lines), 0.35 * size)


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
