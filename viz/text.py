"""A model as a table for a terminal: what each layer gives, holds, costs and keeps."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.nn import Module
from tinygrad_cv.printing import aligned, quantity, seconds
from tinygrad_cv.viz.data import Node, Trace
from tinygrad_cv.viz.receptive import attributes_of, kernel_of, receptive_fields
from tinygrad_cv.viz.tracing import trace

NAME = 40  # characters of a name
WIDTH = 100  # characters of a line, if it is not said which columns there are

COLUMNS = (
    "layer", "type", "input", "output", "kernel", "parameters", "parameters %", "FLOPs", "FLOPs %",
    "saved", "field", "time",
)  # fmt: skip
LEFT = ("layer", "type", "input", "output", "kernel")
GIVEN_UP = ("time", "input", "parameters %", "FLOPs %", "kernel", "field")
"""Columns that are left out by themselves, in this order, until the lines are short enough."""


@dataclass(frozen=True)
class Row:
    """A module call with all that is in it, or an op that stands beside modules."""

    depth: int
    name: str
    type: str
    output: tuple[int, ...]
    parameters: int | None
    """None where an earlier row counts them: a call of the same module."""
    flops: int
    saved_bytes: int
    input: tuple[int, ...] | None = None
    """The shape of the first thing that comes in from outside; None if nothing does."""
    kernel: str = ""
    """Of one convolution or pool: "3×3", and "/2" for a stride of 2."""
    field: str = ""
    """The receptive field of the output, in pixels of the input; see `summary`."""
    seconds: float | None = None
    """Of the forward pass; None where it was not measured."""


@dataclass(frozen=True)
class Table:
    """What `viz.summary` found: `print` it, or read its rows and totals."""

    rows: tuple[Row, ...]
    parameters: int
    trainable: int
    parameter_bytes: int
    flops: int
    uncounted: tuple[str, ...]
    """Names of ops whose operations nobody can count; the sums leave them out."""
    saved_bytes: int
    columns: tuple[str, ...] | None = None
    """Those that were asked for; None for as many as fit."""

    def cells(self, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """Each row as text, with these columns."""
        for row in self.rows:
            yield tuple(self._cell(row, column) for column in columns)

    def _cell(self, row: Row, column: str) -> str:
        match column:
            case "layer":
                return "  " * row.depth + one_line(row.name, NAME)
            case "type":
                return one_line(row.type, NAME)
            case "input":
                return "–" if row.input is None else str(row.input)
            case "output":
                return str(row.output)
            case "kernel":
                return row.kernel
            case "parameters":
                return "shared" if row.parameters is None else f"{row.parameters:,}"
            case "parameters %":
                return percent(row.parameters, self.parameters)
            case "FLOPs":
                return quantity(row.flops)
            case "FLOPs %":
                return percent(row.flops, self.flops)
            case "saved":
                return quantity(row.saved_bytes, "B")
            case "field":
                return row.field or "–"
            case _:
                return "–" if row.seconds is None else seconds(row.seconds)

    def totals(self) -> list[str]:
        """The lines below the rows."""
        fixed = self.parameters - self.trainable
        frozen = f", of which {fixed:,} are frozen" if fixed else ""
        others = f", without {', '.join(self.uncounted)}" if self.uncounted else ""
        return [
            f"parameters: {self.parameters:,}, {quantity(self.parameter_bytes, 'B')}{frozen}",
            f"one forward pass: {quantity(self.flops, 'FLOP')}{others}",
            f"saved for the backward pass: {quantity(self.saved_bytes, 'B')}",
        ]

    def __str__(self) -> str:
        columns = list(self.columns or COLUMNS)
        for column in ("", *GIVEN_UP) if self.columns is None else ("",):
            columns = [other for other in columns if other != column]
            sides = "".join("l" if column in LEFT else "r" for column in columns)
            lines, rule = aligned([_headings(columns), *self.cells(columns)], sides)
            if len(rule) <= WIDTH and "time" not in columns:
                break
        return "\n".join([lines[0], rule, *lines[1:], rule, *self.totals()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        columns = self.columns or COLUMNS

        def line(cells: Sequence[str], tag: str) -> str:
            shown = "".join(
                f'<{tag} style="text-align:{"left" if column in LEFT else "right"};'
                f'white-space:pre">{escape(cell)}</{tag}>'
                for column, cell in zip(columns, cells, strict=True)
            )
            return f"<tr>{shown}</tr>"

        body = "".join(line(cells, "td") for cells in self.cells(columns))
        totals = escape("\n".join(self.totals()))
        return f"<table>{line(_headings(columns), 'th')}{body}</table><pre>{totals}</pre>"


def _headings(columns: Sequence[str]) -> list[str]:
    """What stands above the columns: "%" alone right behind what it is a share of."""
    return [
        "%" if column == f"{before} %" else column
        for before, column in zip(["", *columns], columns, strict=False)
    ]


def percent(part: float | None, whole: float) -> str:
    """A share of a whole: "12%", "<1%", "–" where there is none."""
    if part is None or not whole:
        return "–"
    share = part / whole
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"


def summary(
    model: Any,
    *inputs: Any,
    depth: int | None = None,
    columns: Sequence[str] | None = None,
    **named: Any,
) -> Table:
    """A table of a model's layers: shapes, parameters, FLOPs, bytes saved for backward.

    The model (a module or a function) is called once with the inputs, each a tensor or a shape
    such as (1, 3, 32, 32), or what holds some (see `viz.trace`), in the mode that it is in;
    afterwards its buffers and the random generators are as they were. A row is a call of a module
    with all that is in it, or an op that stands beside modules; `depth` leaves out the rows below
    that level.

    `columns` are among "layer", "type", "input", "output", "kernel", "parameters", "parameters %",
    "FLOPs", "FLOPs %", "saved", "field" and "time"; by default those that fit into 100 characters,
    and in a notebook all. The kernel is followed by the stride, if it is not 1: "7×7 /2". Time is
    that of this one forward pass; what an op does at its first call only, such as to compile its
    kernel, counts.

    FLOPs are those of the forward pass: a multiply-add counts two, an elementwise op one for each
    output, what only moves elements none. Saved are the arrays that the rules keep for the
    backward pass, apart from parameters and inputs, which are there anyway. The receptive field
    is how many pixels of the input, along each axis of the image, one element of the output
    depends on: through windows of size k and stride s, r grows by (k - 1) · j, and j, the pixels
    between neighbours, s times; where branches meet the largest counts. It may be larger than the
    image; "all" stands behind a global pool or a linear layer, "–" where nobody knows.

    Raises ValueError for a column that there is not.

    >>> from tinygrad_cv import nn, viz
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten())
    >>> viz.summary(net, (1, 3, 4, 4))
    layer       type     output        kernel  parameters     %   FLOPs     %  saved  field
    ---------------------------------------------------------------------------------------
    Sequential           (1, 128)                     224  100%  7.17 k  100%  128 B      3
      0         Conv2d   (1, 8, 4, 4)  3×3            224  100%  7.04 k   98%    0 B      3
      1         ReLU     (1, 8, 4, 4)                   0    0%     128    2%  128 B      3
      2         Flatten  (1, 128)                       0    0%       0    0%    0 B      3
    ---------------------------------------------------------------------------------------
    parameters: 224, 896 B
    one forward pass: 7.17 kFLOP
    saved for the backward pass: 128 B
    """
    if columns is not None and (unknown := [name for name in columns if name not in COLUMNS]):
        known = ", ".join(map(repr, COLUMNS))
        raise ValueError(f"the columns are {known}; there is no {unknown[0]!r}.")
    seen = trace(model, *inputs, **named)
    if isinstance(model, Module):
        sizes = [(p.numel(), p.dtype.itemsize, p.requires_grad) for p in model.parameters()]
    else:
        sizes = [
            (math.prod(node.shape), host.dtype(node.dtype).itemsize, node.requires_grad)
            for node in seen.nodes
            if node.kind == "parameter"
        ]
    ops = [node for node in seen.nodes if node.kind == "op"]
    return Table(
        rows=tuple(row for row in _rows(seen) if depth is None or row.depth <= depth),
        parameters=sum(size for size, _, _ in sizes),
        trainable=sum(size for size, _, learned in sizes if learned),
        parameter_bytes=sum(size * itemsize for size, itemsize, _ in sizes),
        flops=sum(node.flops or 0 for node in ops),
        uncounted=tuple(sorted({node.op for node in ops if node.flops is None})),
        saved_bytes=sum(node.saved_bytes or 0 for node in ops),
        columns=None if columns is None else tuple(columns),
    )


def _rows(seen: Trace) -> Iterator[Row]:
    """A row for each module call, and for each op in a call that has others in it."""
    inside: dict[int, list[Node]] = {module.id: [] for module in seen.modules}
    parents = {module.parent for module in seen.modules}
    fields = receptive_fields(seen)
    told: set[int] = set()
    for node in seen.nodes:
        for module in seen.ancestors(node.module):
            inside[module.id].append(node)
    for node in seen.nodes:
        if node.kind != "op":
            continue
        around = list(seen.ancestors(node.module))[::-1]
        for depth, module in enumerate(around):
            if module.id not in told:
                told.add(module.id)
                name = module.path.rpartition(".")[2] if depth else module.path
                yield _row(
                    seen,
                    [n for n in inside[module.id] if n.kind == "op"],
                    fields,
                    depth=depth,
                    leaf=module.id not in parents,
                    name=name or module.type,
                    type=module.type if name else "",
                    parameters=None if module.call else module.parameters,
                )
        if node.module is None or node.module in parents:
            name, kind = (node.name, node.op) if node.name else (node.op, "")
            place = {"depth": len(around), "name": name, "type": kind, "parameters": 0}
            yield _row(seen, [node], fields, leaf=True, **place)


def _row(seen: Trace, ops: list[Node], fields: dict[int, str], leaf: bool, **place: Any) -> Row:
    """The row of so many ops: what goes into the first ones and comes out of the last."""
    own = {node.id for node in ops}
    sources = (entry.source for node in ops for entry in node.inputs)
    outside = (seen.nodes[i] for i in sources if i is not None and i not in own)
    given = next((node for node in outside if node.kind != "parameter"), None)
    kernels = [text for node in ops if (text := _kernel(node, seen))]
    times = [node.seconds for node in ops if node.seconds is not None]
    return Row(
        output=tuple(ops[-1].shape),
        flops=sum(node.flops or 0 for node in ops),
        saved_bytes=sum(node.saved_bytes or 0 for node in ops),
        input=None if given is None else tuple(given.shape),
        kernel=kernels[0] if leaf and len(kernels) == 1 else "",
        field=fields.get(ops[-1].id, ""),
        seconds=sum(times) if times else None,
        **place,
    )


def _kernel(node: Node, seen: Trace) -> str:
    """The kernel of a convolution or a pool with its stride: "7×7 /2", "3×3 /2×1"."""
    kernel = kernel_of(node, seen)
    stride = attributes_of(node).get("stride", (1,)) if kernel else (1,)
    if set(stride) == {1}:
        return "×".join(map(str, kernel))
    steps = stride[:1] if len(set(stride)) == 1 else stride
    return f"{'×'.join(map(str, kernel))} /{'×'.join(map(str, steps))}"


def one_line(text: str, limit: int) -> str:
    """Text as one line of limited length, with nothing in it that cannot be printed."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in cut)
