"""A model as a table for a terminal: what each layer gives, holds, costs and keeps."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.nn import Module
from tinygrad_cv.printing import aligned, quantity
from tinygrad_cv.viz.data import Node, Trace
from tinygrad_cv.viz.tracing import trace

COLUMNS = ("layer", "type", "output", "parameters", "FLOPs", "saved")
TEXTS = 3  # of the columns are text and stand at the left
NAME = 40  # characters of a name


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

    def cells(self) -> Iterator[tuple[str, ...]]:
        """Each row as text."""
        for row in self.rows:
            yield (
                "  " * row.depth + one_line(row.name, NAME),
                one_line(row.type, NAME),
                str(row.output),
                "shared" if row.parameters is None else f"{row.parameters:,}",
                quantity(row.flops),
                quantity(row.saved_bytes, "B"),
            )

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
        lines, rule = aligned([COLUMNS, *self.cells()], "l" * TEXTS + "r" * 3)
        return "\n".join([lines[0], rule, *lines[1:], rule, *self.totals()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def line(cells: tuple[str, ...], tag: str) -> str:
            columns = "".join(
                f'<{tag} style="text-align:{"left" if i < TEXTS else "right"};white-space:pre">'
                f"{escape(cell)}</{tag}>"
                for i, cell in enumerate(cells)
            )
            return f"<tr>{columns}</tr>"

        body = "".join(line(cells, "td") for cells in self.cells())
        totals = escape("\n".join(self.totals()))
        return f"<table>{line(COLUMNS, 'th')}{body}</table><pre>{totals}</pre>"


def summary(model: Any, *inputs: Any, depth: int | None = None, **named: Any) -> Table:
    """A table of a model's layers: output shape, parameters, FLOPs, bytes saved for backward.

    The model (a module or a function) is called once with the inputs, each a tensor or a shape
    such as (1, 3, 32, 32), or what holds some (see `viz.trace`), in the mode that it is in;
    afterwards its buffers and the random generators are as they were. A row is a call of a module
    with all that is in it, or an op that stands beside modules; `depth` leaves out the rows below
    that level.

    FLOPs are those of the forward pass: a multiply-add counts two, an elementwise op one for each
    output, what only moves elements none. Saved are the arrays that the rules keep for the
    backward pass, apart from parameters and inputs, which are there anyway.

    >>> from tinygrad_cv import nn, viz
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten())
    >>> viz.summary(net, (1, 3, 4, 4))
    layer       type     output        parameters   FLOPs  saved
    ------------------------------------------------------------
    Sequential           (1, 128)             224  7.17 k  128 B
      0         Conv2d   (1, 8, 4, 4)         224  7.04 k    0 B
      1         ReLU     (1, 8, 4, 4)           0     128  128 B
      2         Flatten  (1, 128)               0       0    0 B
    ------------------------------------------------------------
    parameters: 224, 896 B
    one forward pass: 7.17 kFLOP
    saved for the backward pass: 128 B
    """
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
    )


def _rows(seen: Trace) -> Iterator[Row]:
    """A row for each module call, and for each op in a call that has others in it."""
    inside: dict[int, list[Node]] = {module.id: [] for module in seen.modules}
    parents = {module.parent for module in seen.modules}
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
                ops = [n for n in inside[module.id] if n.kind == "op"]
                yield Row(
                    depth=depth,
                    name=name or module.type,
                    type=module.type if name else "",
                    output=tuple(ops[-1].shape),
                    parameters=None if module.call else module.parameters,
                    flops=sum(n.flops or 0 for n in ops),
                    saved_bytes=sum(n.saved_bytes or 0 for n in ops),
                )
        if node.module is None or node.module in parents:
            yield Row(
                depth=len(around),
                name=node.name or node.op,
                type=node.op if node.name else "",
                output=tuple(node.shape),
                parameters=0,
                flops=node.flops or 0,
                saved_bytes=node.saved_bytes or 0,
            )


def one_line(text: str, limit: int) -> str:
    """Text as one line of limited length, with nothing in it that cannot be printed."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in cut)
