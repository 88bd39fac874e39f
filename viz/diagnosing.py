"""What was found in a training run, on the graph: a list above it, and the places marked in it."""

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tinygrad_cv.viz.data import Remark, Trace
from tinygrad_cv.viz.symptoms import as_remark, symptoms

if TYPE_CHECKING:
    from tinygrad_cv.train.health import Finding
    from tinygrad_cv.viz.drawing import Drawing

LINES = 5
"""The most findings that are told in a picture."""


def diagnosis(trace: Trace, findings: "Iterable[Finding] | None" = None) -> "Drawing":
    """Draw the graph of a training run with what was found in it, the places of it marked.

    `trace` is that of the model, as of `viz.watch(model).trace` or `viz.trace(model, x)`. The
    `findings` are those of `train.health`; without them it is told what the numbers of the trace
    show by themselves: gradients that shrink or grow from layer to layer, units that are dead or
    saturated, where the first NaN arose, weights that are not updated.

    Saved as a page it has the findings as a list above the graph, and each leads to the boxes that
    it is about; in a picture they are marked, and told above. A finding about no place is in the
    list alone. Neither the trace nor the findings are changed.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv import nn, train, viz
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> found = train.health.Finding(
    ...     "dead_units",
    ...     "warning",
    ...     "3 of 4 units give 0",
    ...     "the rate was too high",
    ...     "lower it",
    ...     "D3",
    ...     where="1 (ReLU)",
    ...     key="1/relu.0",
    ... )
    >>> picture = viz.diagnosis(viz.trace(model, tg.ones(5, 3)), [found])
    >>> [(node.op, node.note) for node in picture.trace.nodes if node.note]
    [('relu', 'warning: dead units')]
    >>> picture.save("doctor.html").name
    'doctor.html'

    >>> layers = [part for _ in range(9) for part in (nn.Linear(4, 4), nn.Sigmoid())]
    >>> seen = viz.trace(nn.Sequential(*layers), (20, 4), values=True, gradients=True)
    >>> [remark.kind for remark in viz.diagnosis(seen).trace.remarks]
    ['vanishing_gradient']
    """
    from tinygrad_cv.viz.drawing import draw

    shown = copy.copy(trace)
    shown.nodes = [copy.copy(node) for node in trace.nodes]
    shown.remarks = (
        symptoms(trace)
        if findings is None
        else [as_remark(finding, places_of(trace, finding)) for finding in findings]
    )
    for remark in shown.remarks:
        told = f"{remark.level}: {remark.kind.replace('_', ' ')}"
        for i in remark.nodes:
            node = shown.nodes[i]
            if told not in node.note.split("; "):
                node.note = "; ".join(filter(None, (node.note, told)))
    return draw(shown, backward=any(node.requires_grad for node in trace.nodes))


def remarks_on(trace: Trace) -> list[Remark]:
    """What was found about a trace: what somebody found already, or what its numbers show."""
    return symptoms(trace) if trace.remarks is None else trace.remarks


def lines(trace: Trace, most: int = LINES) -> list[str]:
    """What was found, a line for each, for the top of a picture; no more than `most` of them.

    Where nobody has looked, it is what the numbers of the trace show, without what is but a note.

    >>> from tinygrad_cv.viz.data import Remark, Trace
    >>> lines(Trace(remarks=[Remark("error", "not_finite", "NaN: log got -2 at [3, 1]")]))
    ['error: NaN: log got -2 at [3, 1]']
    """
    remarks = [r for r in remarks_on(trace) if trace.remarks is not None or r.level != "note"]
    kept = remarks if len(remarks) <= most else remarks[: most - 1]
    told = [_line(remark) for remark in kept]
    if len(kept) < len(remarks):
        told.append(f"… and {len(remarks) - len(kept)} more; they stand in the page (.html)")
    return told


def _line(remark: Remark) -> str:
    where = f"{remark.where}: " if remark.where not in remark.seen else ""
    return f"{remark.level}: {where}{remark.seen}"


def places_of(trace: Trace, finding: "Finding") -> list[int]:
    """The nodes that a finding is about: that of its key; or what the module of that path gave."""
    layer = finding.where.partition(" (")[0] if " (" in finding.where else ""
    for key in filter(None, (finding.key, layer)):
        same = [node.id for node in trace.nodes if key in (node.key, node.name)]
        if same:
            return same
        calls = {module.id for module in trace.modules if module.path == key}
        last = {
            call: node.id
            for node in trace.nodes
            if node.kind == "op"
            for call in calls.intersection(m.id for m in trace.ancestors(node.module))
        }
        if last:
            return sorted(set(last.values()))
    return []
