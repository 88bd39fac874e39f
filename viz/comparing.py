"""Two graphs side by side, or two steps of one, with what changed."""

import dataclasses
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygrad_cv.storage import write
from tinygrad_cv.viz.aligning import Line, Row, lines, pairs, unified
from tinygrad_cv.viz.data import Input, Module, Node, Step, Summary, Trace
from tinygrad_cv.viz.diffing import diff_page
from tinygrad_cv.viz.drawing import Drawing, draw
from tinygrad_cv.viz.notebook import framed
from tinygrad_cv.viz.render import encoded

FACTOR = 10.0  # between two norms, or two update ratios, that is worth telling
SPREAD = 2.0  # the same for standard deviations of activations
SHARE = 0.1  # the same, as a difference, for shares of dead and saturated units


@dataclass(frozen=True)
class Change:
    """What differs between a node of the first trace and its counterpart in the second."""

    left: int | None
    """The node's id in the first trace; None if only the second has it."""
    right: int | None
    key: str
    """`Node.key`, of the first trace if it has the node."""
    what: tuple[str, ...]
    """Such as "shape (2, 3) -> (2, 4)", or "only in the second"."""


@dataclass(frozen=True)
class Diff:
    """What `viz.diff` found. `print` it; save it as a picture or a page; a notebook shows it."""

    changes: tuple[Change, ...]
    trace: Trace
    """Both graphs in one, with the changes as notes."""
    names: tuple[str, str]
    rows: tuple[Row, ...]
    """The nodes of both, aligned in the order of computation."""
    lines: tuple[tuple[Line, ...], tuple[Line, ...]]
    """The nodes of each graph in words, by their ids."""

    def drawing(self) -> Drawing:
        """Both graphs, each in its frame, the changed boxes marked."""
        return draw(self.trace)

    def page(self) -> str:
        """The aligned lines as the text of one HTML document; it opens at the first change."""
        return diff_page(self.names, self.rows, self.lines)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a page (.html) of aligned lines, or a picture of the graphs; see `Drawing.save`."""
        if Path(path).suffix.lower() != ".html":
            return self.drawing().save(path)
        write(Path(path), encoded(self.page()))
        return Path(path)

    def __str__(self) -> str:
        """A unified diff, in colours if it goes to a terminal."""
        if not self.changes:
            return "no difference"
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        return "\n".join(unified(self.rows, self.names, *self.lines, colour))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"text/html": framed(self.page()), "text/plain": str(self)}


def diff(first: Trace, second: Trace, names: tuple[str, str] | None = None) -> Diff:
    """Hold two traces against each other: two models, or two steps (`trace.at(step)`) of one.

    Nodes are matched in the order of computation by place, op, attributes and shape, so a layer
    that was put in between does not disturb those after it. Told is which nodes only one of them
    has, which are in both at another place in the order, what differs in attributes, shape and
    dtype, and where the health of the last step of each differs: norms of gradients and update
    ratios by a factor of 10, the spread of activations by 2, shares of dead and saturated units by
    a tenth, and what is finite in one of them only.

    `names` are those of the two, by default their titles, with the step where there is one.

    >>> from tinygrad_cv import nn, viz
    >>> small = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> large = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
    >>> traces = viz.trace(small, (1, 4)), viz.trace(large, (1, 4))
    >>> print(viz.diff(*traces, names=("small", "large")))
    --- small
    +++ large
      input  float32 (1, 4)
      0: weight  float32 (8, 4)
      0: bias  float32 (8,)
      0 Linear 8  float32 (1, 8)
      1 ReLU  float32 (1, 8)
    + 2 Dropout  p=0.5, float32 (1, 8)
      3: weight  float32 (2, 8)
      3: bias  float32 (2,)
      3 Linear 2  float32 (1, 2)
    """
    names = names or (_name(first), _name(second))
    if names[0] == names[1]:
        names = (f"{names[0]}, first", f"{names[1]}, second")
    joined = _joined(first, second, names)
    rows, changes = [], []
    for row, change in _compared(first, second):
        rows.append(row)
        if change is None:
            continue
        changes.append(change)
        for i, start in ((row.left, 0), (row.right, len(first.nodes))):
            if i is not None:
                joined.nodes[start + i].note = "; ".join(row.what)
    told = tuple(lines(first)), tuple(lines(second))
    return Diff(tuple(dict.fromkeys(changes)), joined, names, tuple(rows), told)


def _compared(first: Trace, second: Trace) -> Iterator[tuple[Row, Change | None]]:
    """The aligned nodes, and what is to be told of them."""
    found = list(pairs(first.nodes, second.nodes))
    alone = {second.nodes[j].key: j for i, j in found if i is None and j is not None}
    moved = {
        i: alone[key]
        for i, j in found
        if j is None and i is not None and (key := first.nodes[i].key) in alone
        if first.nodes[i].op == second.nodes[alone[key]].op
    }
    back = {j: i for i, j in moved.items()}
    before, after = first.steps[-1:], second.steps[-1:]
    for i, j in found:
        # Where it is in both, but in another order, it is two rows and one change.
        left = i if i is not None else back.get(j) if j is not None else None
        right = j if j is not None else moved.get(i) if i is not None else None
        if left is None or right is None:
            what: tuple[str, ...] = (f"only in the {'first' if right is None else 'second'}",)
            key = first.nodes[left].key if left is not None else second.nodes[right or 0].key
        else:
            key = first.nodes[left].key
            what = tuple(_differences(first.nodes[left], second.nodes[right], before, after))
            if i is None or j is None:
                what = ("in both, at another place in the order", *what)
        kind: Any = "removed" if j is None else "added" if i is None else "changed"
        if what:
            yield Row(kind, i, j, what), Change(left, right, key, what)
        else:
            yield Row("equal", i, j), None


def _name(trace: Trace) -> str:
    step = f"step {trace.steps[-1].number}" if trace.steps else ""
    return ", ".join(filter(None, (trace.title, step))) or "graph"


def _differences(left: Node, right: Node, before: list[Step], after: list[Step]) -> Iterator[str]:
    for field in ("attributes", "shape", "dtype", "device"):
        a, b = getattr(left, field), getattr(right, field)
        if a != b:
            a, b = (tuple(v) if isinstance(v, list) else v or "none" for v in (a, b))
            yield f"{field} {a} -> {b}"
    for old in before:
        for new in after:
            values = old.values.get(left.id), new.values.get(right.id)
            gradients = old.gradients.get(left.id), new.gradients.get(right.id)
            updates = old.updates.get(left.id), new.updates.get(right.id)
            yield from _health("value", *values)
            yield from _health("gradient", *gradients)
            yield from _ratio("update/weight", *updates, FACTOR)


def _health(what: str, old: Summary | None, new: Summary | None) -> Iterator[str]:
    if old is None or new is None:
        return
    if old.finite != new.finite:
        yield f"{what} {_finiteness(old)} -> {_finiteness(new)}"
    elif what == "gradient":
        yield from _ratio("‖gradient‖", old.norm, new.norm, FACTOR)
    elif old.count > 1 and new.count > 1:
        yield from _ratio("std", old.std, new.std, SPREAD)
    for name in ("dead", "saturated"):
        a, b = getattr(old, name), getattr(new, name)
        if a is not None and b is not None and abs(a - b) >= SHARE:
            yield f"{name} {a:.0%} -> {b:.0%}"


def _ratio(what: str, old: float | None, new: float | None, factor: float) -> Iterator[str]:
    if old is None or new is None or old == new:
        return
    low, high = sorted((abs(old), abs(new)))
    if low * factor <= high:
        yield f"{what} {old:.2g} -> {new:.2g}"


def _finiteness(told: Summary) -> str:
    return "finite" if told.finite else "NaN" if told.nan else "infinite"


# ----- both in one -------------------------------------------------------------------------------


def _joined(first: Trace, second: Trace, names: tuple[str, str]) -> Trace:
    """The two graphs as one trace, each inside a module of its own."""
    joined = Trace(title=" | ".join(names))
    steps = []
    for trace, name in zip((first, second), names, strict=True):
        nodes, modules = len(joined.nodes), len(joined.modules) + 1
        root = Module(id=modules - 1, path=name, type="graph", parent=None)
        joined.modules.append(root)
        for module in trace.modules:
            parent = root.id if module.parent is None else module.parent + modules
            joined.modules.append(
                dataclasses.replace(module, id=module.id + modules, parent=parent)
            )
        joined.nodes += [_shifted(node, nodes, modules, root.id) for node in trace.nodes]
        joined.outputs += [i + nodes for i in trace.outputs]
        steps += [_shifted_step(step, nodes) for step in trace.steps[-1:]]
    if steps:
        joined.steps = [
            Step(
                values={k: v for step in steps for k, v in step.values.items()},
                gradients={k: v for step in steps for k, v in step.gradients.items()},
                shares={k: v for step in steps for k, v in step.shares.items()},
                updates={k: v for step in steps for k, v in step.updates.items()},
            )
        ]
    return joined


def _shifted(node: Node, nodes: int, modules: int, root: int) -> Node:
    def moved(i: int | None) -> int | None:
        return None if i is None else i + nodes

    inputs: list[Input] = [
        dataclasses.replace(operand, source=moved(operand.source), share=moved(operand.share))
        for operand in node.inputs
    ]
    return dataclasses.replace(
        node,
        id=node.id + nodes,
        key=f"{root}:{node.key}",
        module=root if node.module is None else node.module + modules,
        inputs=inputs,
        rule=moved(node.rule),
        gradient=moved(node.gradient),
        note="",
    )


def _shifted_step(step: Step, nodes: int) -> Step:
    def moved(told: dict[int, Any]) -> dict[int, Any]:
        return {i + nodes: value for i, value in told.items()}

    def edge(key: str) -> str:
        target, _, port = key.partition(":")
        return f"{int(target) + nodes}:{port}"

    return dataclasses.replace(
        step,
        values=moved(step.values),
        gradients=moved(step.gradients),
        shares={edge(key): norm for key, norm in step.shares.items()},
        updates=moved(step.updates),
    )
