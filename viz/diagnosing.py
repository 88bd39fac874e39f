"""What was found in a training run, on the graph: a list above it, and the places marked in it."""

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tinygrad_cv.viz.data import Remark, Trace
from tinygrad_cv.viz.drawing import Drawing, draw

if TYPE_CHECKING:
    from tinygrad_cv.train.health import Finding


def diagnosis(trace: Trace, findings: "Iterable[Finding]") -> Drawing:
    """Draw the graph of a training run with what `train.health` found, the places of it marked.

    `trace` is that of the model, as of `viz.watch(model).trace` or `viz.trace(model, x)`. Saved as
    a page it has the findings as a list above the graph, and each leads to the boxes that it is
    about; in a picture they are marked. A finding about no place is in the list alone. Neither the
    trace nor the findings are changed.

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
    """
    shown = copy.copy(trace)
    shown.nodes = [copy.copy(node) for node in trace.nodes]
    shown.remarks = []
    for finding in findings:
        places = places_of(trace, finding)
        shown.remarks.append(
            Remark(
                level=finding.level,
                kind=finding.kind,
                seen=finding.seen,
                means=finding.means,
                remedy=finding.remedy,
                source=finding.source,
                step=finding.step,
                where=finding.where,
                nodes=places,
            )
        )
        for i in places:
            node, told = shown.nodes[i], f"{finding.level}: {finding.kind.replace('_', ' ')}"
            if told not in node.note.split("; "):
                node.note = "; ".join(filter(None, (node.note, told)))
    return draw(shown, backward=any(node.requires_grad for node in trace.nodes))


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
