"""What is to be pointed out in a picture: where the first number arose that is not finite."""

import math
from collections import Counter

from tinygrad_cv.viz import labels
from tinygrad_cv.viz.data import Step, Trace
from tinygrad_cv.viz.labels import Mark


def first_bad(trace: Trace, step: Step) -> tuple[int, Mark] | None:
    """The op that made the first value that is not finite, and what to say of it.

    A trace that looked on knows it. Else it is the first whose value is seen; if one of its inputs
    is not known, nobody knows whether it arose there.
    """
    if step.broken is not None:
        words = f"first {_kind(step, step.broken.node)} here: {step.broken.words}"
        return step.broken.node, Mark(labels.MAGENTA, words)
    i = min((i for i, told in step.values.items() if not told.finite), default=None)
    if i is None:
        return None
    sources = [entry.source for entry in trace.nodes[i].inputs if entry.source is not None]
    seen = "" if all(source in step.values for source in sources) else "seen "
    return i, Mark(labels.MAGENTA, f"first {_kind(step, i)} {seen}here")


def first_bad_gradient(trace: Trace, step: Step) -> tuple[int, Mark] | None:
    """The op whose rule made the first gradient that is not finite, and what to say of it."""
    if step.broken_gradient is not None:
        words = f"first NaN or inf gradient made here: {step.broken_gradient.words}"
        return step.broken_gradient.node, Mark(labels.MAGENTA, words)
    i = max((i for i, told in step.gradients.items() if not told.finite), default=None)
    if i is None:
        return None
    kind = "NaN" if step.gradients[i].nan else "inf"
    makers = [
        edge.target
        for edge in trace.edges
        if edge.source == i and not math.isfinite(step.shares.get(edge.key, 0.0))
    ]
    if makers:  # their own gradients are finite, since i is the last that is not
        return max(makers), Mark(labels.MAGENTA, f"first {kind} gradient made here")
    return i, Mark(labels.MAGENTA, f"first {kind} gradient here")


def named(trace: Trace, i: int, mark: Mark) -> Mark:
    """A mark that names its node, for a box that is not that of the node alone."""
    return Mark(mark.color, f"{mark.words}; {name(trace, i)}")


def name(trace: Trace, i: int) -> str:
    """What a mark calls a node: "log %2", and a leaf by its own name if it has one."""
    node = trace.nodes[i]
    return node.name if node.kind != "op" and node.name else f"{node.op} %{i}"


def _kind(step: Step, i: int) -> str:
    told = step.values.get(i)
    return "NaN or inf" if told is None or told.finite else "NaN" if told.nan else "inf"


def origins(trace: Trace) -> dict[int, str]:
    """The nodes that a gradient reaches, each with what its gradient is, if a note is needed.

    A root receives the seed of the walk, and every node a share from each of its consumers; an op
    with several outputs one gradient for each, which are not added.
    """
    seeds = Counter(i for i in set(trace.outputs) if trace.nodes[i].requires_grad)
    arrivals = seeds.copy()
    for node in reversed(trace.nodes):
        if node.id in arrivals:
            receiving = [e.source for e in node.inputs if e.gradient and e.source is not None]
            if node.op == "output":
                arrivals |= Counter(receiving)
            else:
                arrivals.update(receiving)
    return {
        i: f"the sum of {count} gradients" if count > 1 else "1" if i in seeds else ""
        for i, count in arrivals.items()
    }
