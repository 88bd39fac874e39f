"""Two graphs as aligned lines, like two versions of a text: equal, changed, added or removed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from typing import Literal, NamedTuple

from tinygrad_cv.viz.data import Node, Trace
from tinygrad_cv.viz.text import one_line
from tinygrad_cv.viz.words import Wording, singles

Pair = tuple[int | None, int | None]
"""The ids of counterparts in the first and in the second graph; None where there is none."""

SEEN = ("attributes", "shape", "dtype")
"""Of these differences, what a line itself says."""
CONTEXT = 3  # equal lines around a change, as in git
LINE = 160  # characters of a line


@dataclass(frozen=True)
class Line:
    """One node in words."""

    place: str
    """The path of the module that it stands in."""
    title: str
    """As in its box: "conv1 Conv2d 3×3, 64"."""
    rest: str
    """Attributes, dtype and shape."""

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        return one_line(f"{where}{self.title}  {self.rest}", LINE)


@dataclass(frozen=True)
class Row:
    """A line of the first graph beside its counterpart in the second."""

    kind: Literal["equal", "changed", "removed", "added"]
    left: int | None
    """The id of the node in the first graph; None where only the second has it."""
    right: int | None
    what: tuple[str, ...] = ()
    """What differs."""


def pairs(first: Sequence[Node], second: Sequence[Node]) -> Iterator[Pair]:
    """Counterparts, in the order of computation.

    Found first are those with the same place, op, attributes and shape; in what is between them
    those with the same op, attributes and shape, or those with the same place, whichever are more;
    and what is left between these is matched by the op alone, in the same order. Leaves are the
    same only where the same op reads them: behind a layer in between the bias of a convolution is
    called "15.bias" like that of a norm before.
    """
    left, right = [*_read(first)], [*_read(second)]
    return _aligned(left, right, range(len(left)), range(len(right)), LEVELS)


class Read(NamedTuple):
    """A node, and of a leaf the op that reads it first, as what."""

    node: Node
    reader: tuple[str, str] | None


Token = Callable[[Read], object]


def _read(nodes: Sequence[Node]) -> Iterator[Read]:
    readers = {
        operand.source: (node.op, operand.name)
        for node in reversed(nodes)
        for operand in reversed(node.inputs)
    }
    for node in nodes:
        yield Read(node, None if node.kind == "op" else readers.get(node.id))


def _form(read: Read) -> object:
    node, reader = read
    return node.op, node.attributes, tuple(node.shape), reader


def _place(read: Read) -> object:
    node, _ = read
    if node.kind == "input" and not node.name:
        return object()  # constants are but numbered: this says nothing about which it is
    path = node.key.rpartition("/")[0] if node.kind == "op" else node.key
    return path, node.op


def _exact(read: Read) -> object:
    return _place(read), _form(read)


LEVELS: tuple[tuple[Token, ...], ...] = ((_exact,), (_form, _place))
"""By what counterparts are found: one level after the other, of each what finds the most."""


def _aligned(
    first: Sequence[Read],
    second: Sequence[Read],
    left: range,
    right: range,
    levels: Sequence[Sequence[Token]],
) -> Iterator[Pair]:
    """The counterparts within these ranges."""
    if not left or not right or not levels:
        yield from _in_order(first, second, left, right)
        return
    found = [
        _matched([token(first[i]) for i in left], [token(second[j]) for j in right])
        for token in levels[0]
    ]
    for same, i, j, k, m in max(
        found, key=lambda parts: sum(j - i for same, i, j, *_ in parts if same)
    ):
        if same:
            yield from zip(left[i:j], right[k:m], strict=True)
        else:
            yield from _aligned(first, second, left[i:j], right[k:m], levels[1:])


def _in_order(
    first: Sequence[Read], second: Sequence[Read], left: range, right: range
) -> Iterator[Pair]:
    """Each with the next one of the same op."""
    rest = list(right)
    for i in left:
        match = next((n for n, j in enumerate(rest) if second[j].node.op == first[i].node.op), None)
        if match is None:
            yield i, None
            continue
        yield from ((None, j) for j in rest[:match])
        yield i, rest[match]
        rest = rest[match + 1 :]
    yield from ((None, j) for j in rest)


def _matched(left: list[object], right: list[object]) -> list[tuple[bool, int, int, int, int]]:
    """Stretches [i:j] and [k:m] of both that are the same, or not.

    What is the same at both ends is found first: a search takes long where many are alike.
    """
    shorter = min(len(left), len(right))
    start = next((n for n in range(shorter) if left[n] != right[n]), shorter)
    shorter -= start
    end = next((n for n in range(shorter) if left[-1 - n] != right[-1 - n]), shorter)
    i, k = len(left) - end, len(right) - end
    search = SequenceMatcher(None, left[start:i], right[start:k], autojunk=False)
    inner = [
        (what == "equal", start + a, start + b, start + c, start + d)
        for what, a, b, c, d in search.get_opcodes()
    ]
    ends = [(True, 0, start, 0, start), (True, i, len(left), k, len(right))]
    return [part for part in (ends[0], *inner, ends[1]) if part[1] < part[2] or part[3] < part[4]]


def lines(trace: Trace) -> list[Line]:
    """Each node in words, those of the boxes of the pictures."""
    wording, layers = Wording(trace), {op: module for module, op in singles(trace).items()}
    found = []
    for node in trace.nodes:
        layer = layers.get(node.id)
        home = node.module if layer is None else trace.modules[layer].parent
        told = wording.of_node(node.id)
        place = "" if home is None else trace.modules[home].path
        found.append(
            Line(*(one_line(text, LINE) for text in (place, told.title, ", ".join(told.rows))))
        )
    return found


def folded(rows: Sequence[Row]) -> Iterator[tuple[bool, list[Row]]]:
    """The rows in stretches: (False, those to be seen) and (True, equal ones far from changes)."""
    changes = [n for n, row in enumerate(rows) if row.kind != "equal"]
    near = {n for change in changes for n in range(change - CONTEXT, change + CONTEXT + 1)}
    for seen, stretch in groupby(range(len(rows)), key=lambda n: n in near):
        block = [rows[n] for n in stretch]
        yield not seen and len(block) > CONTEXT, block


RED, GREEN, YELLOW, CYAN, PLAIN = "\033[31m", "\033[32m", "\033[33m", "\033[36m", "\033[0m"
"""Colours of a terminal."""


def unified(
    rows: Sequence[Row],
    names: tuple[str, str],
    left: Sequence[Line],
    right: Sequence[Line],
    colour: bool,
) -> Iterator[str]:
    """The rows as lines of a unified diff: "-" of the first graph, "+" of the second.

    Below a line that stands for a node of both, "~" says what else differs.
    """

    def painted(text: str, paint: str) -> str:
        return f"{paint}{text}{PLAIN}" if colour else text

    yield painted(f"--- {one_line(names[0], LINE)}", RED)
    yield painted(f"+++ {one_line(names[1], LINE)}", GREEN)
    for is_folded, block in folded(rows):
        if is_folded:
            yield painted(f"@@ {len(block):,} equal @@", CYAN)
            continue
        for row in block:
            old = "" if row.left is None else str(left[row.left])
            new = "" if row.right is None else str(right[row.right])
            if old == new or row.kind == "equal":
                yield f"  {new}"
            else:
                yield from (painted(f"- {old}", RED),) * bool(old)
                yield from (painted(f"+ {new}", GREEN),) * bool(new)
            seen = SEEN if old != new else ()  # in the two lines above
            for words in row.what:
                if not words.startswith(("only in", *seen)):
                    yield painted(f"  ~ {one_line(words, LINE)}", YELLOW)
