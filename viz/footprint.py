"""The memory of a training step, op by op: its peak, and what recomputing would save where."""

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any

from tinygrad_cv.printing import aligned, quantity
from tinygrad_cv.viz.data import Module, Trace
from tinygrad_cv.viz.ledger import Facts, Moment, Run, bytes_of
from tinygrad_cv.viz.plots import SMALL, as_label, blank_figure, legend_below, plain, saved
from tinygrad_cv.viz.text import one_line
from tinygrad_cv.viz.tracing import trace as traced

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS = 10  # calls of modules of which is told what recomputing them would save
NAME = 40  # characters of a name
LETTER = 0.009  # of the width of the plot, that a letter below it takes

PURPOSES = {
    "leaves": ("parameters and inputs", "#BBBBBB"),
    "saved": ("saved for the backward pass", "#56B4E9"),
    "gradients": ("gradients", "#D55E00"),
    "temporary": ("temporary", "#E69F00"),
}
"""What bytes are for, from below, with their names and colours (Okabe and Ito, 2008)."""


@dataclass(frozen=True)
class Saving:
    """What it would bring to recompute one call of a module (`tg.recompute`)."""

    module: int
    """The id of the call in the trace."""
    name: str
    type: str
    freed: int
    """Bytes less that are kept between the forward and the backward pass."""
    flops: int
    """Operations that run again."""
    peak: int
    """The peak of the whole step then, in bytes."""


@dataclass(frozen=True, repr=False)
class Memory:
    """What `viz.memory` found: `print` it, plot it, or read its numbers (bytes)."""

    trace: Trace
    again: tuple[int, ...]
    """The ids of the calls that are taken to be computed a second time."""
    moments: tuple[Moment, ...]
    """What is there while each op computes, forward and then backward."""
    parameters: int
    inputs: int
    """Inputs and constants."""

    @cached_property
    def at(self) -> int:
        """The place of the peak among `moments`; the first one, if there are several."""
        totals = [moment.total for moment in self.moments]
        return totals.index(max(totals))

    @property
    def leaves(self) -> int:
        """Parameters and inputs, which are there all the time."""
        return self.parameters + self.inputs

    @property
    def peak(self) -> int:
        """The most bytes that are there at a time."""
        return self.leaves + self.moments[self.at].total

    @property
    def saved(self) -> int:
        """What is kept between the forward and the backward pass."""
        return [moment for moment in self.moments if moment.during == "forward"][-1].saved

    @cached_property
    def savings(self) -> tuple[Saving, ...]:
        """What recomputing would bring, for the calls of modules that free the most by it."""
        facts = Facts(self.trace)
        taken = {module.id for i in self.again for module in self.trace.ancestors(i)}
        taken |= {m.id for m in self.trace.modules if not taken.isdisjoint(self._around(m))}
        roots = [module.id for module in self.trace.modules if module.parent is None]
        taken |= set(roots) if len(roots) == 1 else set()  # it would be all of the forward pass
        freed = {m.id: facts.freed(m.id) for m in self.trace.modules if m.id not in taken}
        best = sorted((i for i in freed if freed[i] > 0), key=lambda i: (-freed[i], i))[:ROWS]
        return tuple(self._saving(facts, i, freed[i]) for i in best)

    def _around(self, module: Module) -> Iterator[int]:
        return (outer.id for outer in self.trace.ancestors(module.id) if outer.id in self.again)

    def _saving(self, facts: Facts, i: int, freed: int) -> Saving:
        module = self.trace.modules[i]
        return Saving(
            module=i,
            name=_name(module),
            type=module.type,
            freed=freed,
            flops=sum(node.flops or 0 for node in facts.within[i]),
            peak=self.leaves + max(m.total for m in Run(facts, {*self.again, i}).moments),
        )

    def place(self, moment: Moment) -> str:
        """Where a moment is, in words: "the backward pass, relu in layer1.0 (model.py:12)"."""
        node = self.trace.nodes[moment.node]
        around = next(self.trace.ancestors(node.module), None)
        inside = f" in {_name(around)}" if around is not None else ""
        line = f" ({node.source})" if node.source else ""
        passed = {
            "forward": "the forward pass",
            "again": "the backward pass, computing again",
            "backward": "the backward pass",
        }[moment.during]
        return one_line(f"{passed}, {node.name or node.op}{inside}{line}", 2 * NAME)

    def __str__(self) -> str:
        peak = self.moments[self.at]
        parts = [
            ("parameters", self.parameters),
            ("inputs", self.inputs),
            ("saved for the backward pass", peak.saved),
            ("gradients", peak.gradients),
            ("temporary", peak.temporary),
        ]
        lines, _ = aligned([(f"  {name}", quantity(size, "B")) for name, size in parts], "lr")
        told = [f"peak {quantity(self.peak, 'B')}: {self.place(peak)}", *lines]
        told.append(f"between the passes {quantity(self.saved, 'B')} are saved")
        if any(node.op == "recompute" for node in self.trace.nodes):
            told.append("what recompute computes again is not in the trace: the peak may be higher")
        if self.savings:
            head = ("recompute", "type", "saves", "FLOPs again", "peak then", "")
            rows = [
                (
                    one_line(each.name, NAME),
                    one_line(each.type, NAME),
                    quantity(each.freed, "B"),
                    quantity(each.flops),
                    quantity(each.peak, "B"),
                    f"{(each.peak - self.peak) / self.peak:+.0%}".replace("-", "−"),
                )
                for each in self.savings
            ]
            lines, rule = aligned([head, *rows], "llrrrr")
            told += ["", lines[0], rule, *lines[1:]]
        return "\n".join(told)

    __repr__ = __str__

    def figure(self) -> "Figure":
        """The bytes over the ops of both passes as stacked areas, with the peak marked."""
        figure = blank_figure(10.5, 5.0)
        axes = figure.add_subplot()
        unit, name = _unit(self.peak)
        edges = range(len(self.moments) + 1)
        below = [0.0] * len(self.moments)
        for purpose, (words, colour) in PURPOSES.items():
            own = [getattr(m, purpose, self.leaves) / unit for m in self.moments]
            above = [a + b for a, b in zip(below, own, strict=True)]
            axes.stairs(above, edges, baseline=below, fill=True, color=colour, label=words, lw=0.5)
            below = above
        x, y = self.at + 0.5, self.peak / unit
        axes.plot([x], [y], "v", color="black", ms=9, clip_on=False)
        left = 0.32 < x / len(self.moments) < 0.5 or x / len(self.moments) > 0.68
        axes.annotate(
            as_label(f"peak {quantity(self.peak, 'B')}: {self._short()}", 2 * NAME),
            (x, y),
            (-10 if left else 10, 6),
            textcoords="offset points",
            ha="right" if left else "left",
            fontweight="bold",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            zorder=3,
        )
        forward = sum(moment.during == "forward" for moment in self.moments)
        axes.axvline(forward, color="black", lw=1, ls="--")
        for middle, words in ((forward / 2, "forward"), ((forward + len(below)) / 2, "backward")):
            if words == "forward" or forward < len(below):
                axes.text(middle, 1.16 * y, f"{words} pass", ha="center", va="top")
        axes.set(xlim=(0, len(self.moments)), ylim=(0, 1.17 * y), ylabel=name)
        self._name_places(axes)
        plain(axes, grid="y")
        legend_below(figure, axes.patches)
        return figure

    def _short(self) -> str:
        node = self.trace.nodes[self.moments[self.at].node]
        around = next(self.trace.ancestors(node.module), None)
        if around is None or not around.path:
            return node.op
        name = _name(around)
        return name if name.rpartition(".")[2] == node.op else f"{node.op} in {name}"

    def _name_places(self, axes: "Axes") -> None:
        """What the ops belong to, where there is room for the name."""
        ticks, start = [], 0
        for words, moments in groupby(self.moments, key=self._outer):
            count = len(list(moments))
            if count >= LETTER * len(words) * len(self.moments):
                ticks.append((start + count / 2, as_label(words)))
            axes.axvline(start, color="white", lw=0.6)
            start += count
        axes.set_xticks([middle for middle, _ in ticks])
        axes.set_xticklabels([words for _, words in ticks], size=SMALL)
        axes.tick_params(axis="x", length=0)
        axes.set_xlabel("ops, in the order in which they run", size=SMALL)

    def _outer(self, moment: Moment) -> str:
        """The outermost call below the model that an op belongs to; alone, the op's name."""
        node = self.trace.nodes[moment.node]
        around = list(self.trace.ancestors(node.module))[::-1]
        named = [module for module in around if module.path]
        return _name(named[0]) if named else node.op

    def save(self, path: str | os.PathLike[str]) -> "Path":
        """Save the figure (.svg or .png), whole or not at all."""
        from pathlib import Path

        saved(self.figure(), path)
        return Path(path)

    def _repr_png_(self) -> bytes:
        import io

        contents = io.BytesIO()
        self.figure().savefig(contents, format="png")
        return contents.getvalue()


def _name(module: Module) -> str:
    """What a call of a module is called: its path, and which call it is."""
    return (module.path or module.type) + (f", call {module.call + 1}" if module.call else "")


def _unit(size: int) -> tuple[float, str]:
    """The unit for a plot up to this size, in bytes, and its name."""
    for scale, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= scale:
            return scale, name
    return 1.0, "B"


def memory(target: Any, *inputs: Any, recompute: Collection[str] = (), **kwargs: Any) -> Memory:
    """The bytes of a training step, op by op: what is there, why, when the most, and what to do.

    `target` is a model or a function, which is called once with the inputs (tensors or shapes), as
    by `viz.trace`; or tensors whose graph is there, or a trace. Nothing is measured: from the
    shapes, from what each rule keeps for the backward pass and from the order in which the pass
    lets go of it, it is worked out which arrays are there while each op computes. What an op needs
    for itself while it computes is left out, but for the windows of convolutions. With compiled
    kernels the peak that NumPy counts of small nets is within a fifth of this one; without them it
    is higher. What a user's variables hold beside the inputs and the result is not known, and nor
    are the states of an optimizer.

    `print` tells the peak, and the calls of modules that would free the most if they were computed
    again in the backward pass (`tg.recompute`), with the operations that this costs and the peak
    that is left: it need not be lower, where the peak is at a call that is computed again.
    `recompute` names modules, by their paths, that are taken to be so. `figure()` and `save()` show
    all as stacked areas.

    Raises ValueError if what the graph saved was freed by its backward pass, or for the path of a
    module that there is not.

    >>> from tinygrad_cv import nn, viz
    >>> first, second = (
    ...     nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 8), nn.Tanh()) for _ in "ab"
    ... )
    >>> told = viz.memory(nn.Sequential(first, second, nn.Linear(8, 1)), (1000, 8))
    >>> for each in told.savings:
    ...     print(each.name, each.freed, each.flops, each.peak - told.peak)
    0 544000 2192000 -539616
    1 544000 2192000 32000
    """
    seen = target if isinstance(target, Trace) else traced(target, *inputs, **kwargs)
    facts = Facts(seen)
    again = tuple(i for path in recompute for i in _called(seen, path))
    run = Run(facts, again)
    if not run.moments:
        raise ValueError("there is no op in this graph, and so no memory to tell of.")
    read = {entry.source for node in facts.ops for entry in node.inputs}
    leaves = [node for node in seen.nodes if node.kind != "op" and node.id in read]
    sizes = {
        kind: sum(bytes_of(node) for node in leaves if node.kind == kind)
        for kind in ("parameter", "input")
    }
    return Memory(seen, again, tuple(run.moments), sizes["parameter"], sizes["input"])


def _called(trace: Trace, path: str) -> list[int]:
    """The calls of the module at a path."""
    found = [module.id for module in trace.modules if module.path == path]
    if not found:
        known = ", ".join(repr(module.path) for module in trace.modules[:ROWS]) or "none"
        raise ValueError(f"no module {path!r} was called; there are: {known}.")
    return found
