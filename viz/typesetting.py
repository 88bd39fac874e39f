"""Formulas as a book sets them: from the text of a formula to letters and strokes in their places.

The text is parsed into a tree; each of its parts becomes a box, and boxes are put beside and above
each other: 2 · x is 2x, x ** 2 is raised, a / b is a fraction, `where` is a brace with two cases.
What cannot be parsed is set as it stands.
"""

import re
from itertools import pairwise
from typing import Any

from tinygrad_cv.viz.boxing import (
    SMALLER,
    Box,
    below,
    fenced,
    grid,
    lowered,
    raised,
    root,
    row,
    space,
    stacked,
    words,
)
from tinygrad_cv.viz.parsing import Parser, Tree

_SIGNS = {"-": "−", "==": "=", "<=": "≤", ">=": "≥", "!=": "≠", "~": "¬"}
SILENT = ("reshape", "broadcast_to", "cast")  # they change a shape or a dtype, and no number
_FUNCTIONS = {"sigmoid": "σ", "amax": "max", "maximum": "max", "amin": "min", "minimum": "min"}


def formula(text: str, size: float) -> Box:
    """The box of one formula; of plain words if it is none."""
    try:
        tree = Parser(text).whole()
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
