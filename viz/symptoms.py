"""What the numbers of a trace alone show of a run: gradients that vanish, units that are dead.

The words, and the bounds from which on something is said, are those of `train.health`.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from statistics import correlation, fmean, linear_regression, median
from typing import TYPE_CHECKING, NamedTuple

from tinygrad_cv.viz.data import Node, Remark, Step, Trace
from tinygrad_cv.viz.judging import Judged, judge_steps, layers_of
from tinygrad_cv.viz.words import step_of

if TYPE_CHECKING:
    from tinygrad_cv.train.health import Finding

DECADES = 3.0
"""So many from the output to the first layer are told."""

STRAIGHT = 0.7
"""The least correlation of t and depth: below it is no trend, but one layer that differs."""

SAMPLES = 16
"""So many numbers of a unit that are all 0 are not so by chance."""

HALF, MOST = 0.5, 4
"""The share from which on one step shows a dead or saturated layer; the most remarks of a kind."""


def symptoms(trace: Trace, judged: list[Judged] | None = None) -> list[Remark]:
    """What is to be said about the run, the worst first; nothing where no numbers were recorded.

    `judged` is what `judge_steps` says of the trace, if that was asked already.
    """
    from tinygrad_cv.train.health.finding import LEVELS

    if not trace.steps:
        return []
    judged = judge_steps(trace) if judged is None else judged
    told = [*_broken(trace)]
    sound = next((i for i, step in enumerate(trace.steps) if _is_broken(step)), len(judged))
    if sound:  # what comes after a NaN says nothing
        trace = replace(trace, steps=trace.steps[:sound])
        told += _of_sound(trace, judged[:sound])
    told += [
        Remark("note", "graph_changed", words, means="boxes of both graphs are shown")
        for words in trace.changed
    ]
    return sorted(told, key=lambda remark: LEVELS.index(remark.level))


def _of_sound(trace: Trace, judged: list[Judged]) -> list[Remark]:
    """What is to be said of steps whose numbers are finite."""
    return [
        *_trend(trace, judged),
        *_zeros(trace, judged),
        *_dead(trace),
        *_saturated(trace),
        *_updates(trace),
        *_without_effect(trace, judged[-1]),
    ]


def _is_broken(step: Step) -> bool:
    """Whether a value or a gradient is not finite."""
    told = (*step.values.values(), *step.gradients.values())
    return bool(step.broken or step.broken_gradient or any(not each.finite for each in told))


def as_remark(finding: "Finding", places: list[int]) -> Remark:
    """A finding of `train.health` as data of a trace, with the nodes that it is about."""
    return Remark(
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


# ----- when and where ----------------------------------------------------------------------------


class Since(NamedTuple):
    """From when on something holds."""

    step: int | None
    words: str


def _since(steps: list[Step], holds: Iterable[bool]) -> Since | None:
    """From when on, up to the last step; None if it does not hold there."""
    first = len(steps)
    for place, held in reversed([*enumerate(holds)]):
        if not held:
            break
        first = place
    if first == len(steps):
        return None
    if len(steps) == 1:
        return Since(None, "")
    number = steps[first].number
    return Since(number, f", since step {number}" if first else ", from the first step on")


def called(trace: Trace, i: int) -> str:
    """What people call the layer of a node: "features.3 (ReLU)"; "h, t = 3" in a loop."""
    node = trace.nodes[i]
    if node.kind != "op":
        return node.name or node.key
    name, step = node.name or node.op, ""
    for module in trace.ancestors(node.module):
        if module.type and module.repeat == 1:  # a call of a module
            name = f"{module.path} ({module.type})" if module.path else name
            break
        if module.repeat == 1 and module.parent is not None and not step:
            blocks = [other.id for other in trace.modules if other.parent == module.parent]
            step = f", {step_of(trace.modules[module.parent], blocks.index(module.id))}"
    return name + step


def _few(names: list[str]) -> str:
    """Names; of more than two the first and the last, in the order of the network."""
    return " and ".join(names) if len(names) < 3 else f"{names[0]} … {names[-1]} ({len(names)})"


# ----- gradients ---------------------------------------------------------------------------------


def _broken(trace: Trace) -> Iterator[Remark]:
    """The first number that is not finite."""
    from tinygrad_cv.train.health.kinds import found

    step = next(filter(_is_broken, trace.steps), None)
    if step is None:
        return
    arose = step.broken or step.broken_gradient
    node, words = (arose.node, arose.words) if arose else _first_broken(trace, step)
    value = step.values.get(node)
    wrong = value if value is not None and not value.finite else step.gradients.get(node)
    infinite = wrong is not None and wrong.inf > 0 and not wrong.nan
    if step.broken is None and step.broken_gradient is not None:  # what its rules gave
        ports = range(len(trace.nodes[node].inputs))
        shares = [step.shares.get(f"{node}:{port}", 0.0) for port in ports]
        infinite = math.inf in shares and not any(map(math.isnan, shares))
    name = "infinite" if infinite else "NaN"
    number = step.number if len(trace.steps) > 1 else None
    finding = found("not_finite", f"{name}: {words}", step=number, where=called(trace, node))
    yield as_remark(finding, [node])


def _first_broken(trace: Trace, step: Step) -> tuple[int, str]:
    """The first value, or the last gradient, that is not finite, where no op was caught at it."""

    def words(i: int) -> str:
        name = called(trace, i)
        return f"what {name} gave" if trace.nodes[i].kind == "op" else name

    values = [i for i, told in step.values.items() if not told.finite]
    if values:
        return min(values), f"first in {words(min(values))}"
    last = max(i for i, told in step.gradients.items() if not told.finite)
    return last, f"first in the gradient of {words(last)}"


class Fit(NamedTuple):
    """A line through t over the depth."""

    slope: float
    """The decades of a layer; above 0 the gradient shrinks on its way back."""
    depth: int
    first: int
    last: int


def _trend(trace: Trace, judged: list[Judged]) -> Iterator[Remark]:
    """Gradients that shrink or grow from layer to layer, or from step to step of a sequence."""
    layers = layers_of(trace)
    depths = _depths(trace, {node.id for node in layers})
    fits = [_fit(layers, depths, told) for told in judged]
    fit = fits[-1]
    if fit is None:
        return
    shrinks = fit.slope > 0
    since = _since(trace.steps, [f is not None and (f.slope > 0) == shrinks for f in fits])
    assert since is not None
    # In a sequence the same weights are used again and again.
    uses = Counter(part.source for node in layers for part in node.inputs if part.name == "w")
    times = max(uses.values(), default=1)
    each, over = "layer", fit.depth + 1
    if times > over / 3 and times > 3:
        each, over = "step", times
    factor = 10 ** (abs(fit.slope) * fit.depth / (over - 1))
    ends = [trace.steps[-1].gradients[i].norm or 0.0 for i in (fit.last, fit.first)]
    yield Remark(
        level="warning",
        kind="vanishing_gradient" if shrinks else "exploding_gradient",
        seen=f"the gradient {'shrinks' if shrinks else 'grows'} ×{factor:.3g} per {each} over "
        f"{over} {each}s on its way back, from {ends[0]:.3g} at {called(trace, fit.last)} to "
        f"{ends[1]:.3g} at {called(trace, fit.first)}{since.words}",
        means="what comes first learns next to nothing"
        if shrinks
        else "what comes first is thrown far by each update",
        remedy=(
            "an LSTM or GRU, whose state is added to and not multiplied; shorter sequences"
            if each == "step"
            else "ReLU in place of sigmoid and tanh, He's initialization, batch norm, residual "
            "connections"
        )
        if shrinks
        else "smaller weights (Xavier's or He's initialization), batch norm; clip the gradients",
        step=since.step,
        nodes=[fit.first, fit.last],
    )


def _depths(trace: Trace, layers: set[int]) -> dict[int, int]:
    """How many layers lie on the longest way from an input to each node, itself included."""
    depths: dict[int, int] = {}
    for node in trace.nodes:
        before = (depths[part.source] for part in node.inputs if part.source in depths)
        depths[node.id] = max(before, default=0) + (node.id in layers)
    return depths


def _fit(layers: list[Node], depths: dict[int, int], judged: Judged) -> Fit | None:
    """The trend of t over the depth, if there is one that is worth telling."""
    points: dict[int, list[float]] = {}
    known = [node for node in layers if math.isfinite(judged.nodes.get(node.id, math.nan))]
    for node in known:
        points.setdefault(depths[node.id], []).append(judged.nodes[node.id])
    if len(points) < 4:
        return None
    xs, ys = [*points], [fmean(ts) for ts in points.values()]
    if min(ys) == max(ys) or abs(correlation(xs, ys)) < STRAIGHT:
        return None
    slope = linear_regression(xs, ys).slope
    depth = max(xs) - min(xs)
    if abs(slope) * depth < DECADES:
        return None
    first = min(known, key=lambda node: depths[node.id])
    last = max(known, key=lambda node: depths[node.id])
    return Fit(slope, depth, first.id, last.id)


def _zeros(trace: Trace, judged: list[Judged]) -> Iterator[Remark]:
    """Parameters whose gradient is exactly 0."""
    from tinygrad_cv.train.health.kinds import found

    parameters = [node for node in trace.nodes if node.kind == "parameter"]
    without = [node for node in parameters if judged[-1].nodes.get(node.id) == -math.inf]
    if not without:
        return
    since = _since(
        trace.steps, [all(told.nodes.get(n.id) == -math.inf for n in without) for told in judged]
    )
    assert since is not None
    names = [called(trace, node.id) for node in without]
    finding = found(
        "no_gradient",
        f"the gradient of {_few(names)} is exactly 0{since.words}",
        means="what comes behind lets no gradient pass: weights of 0, units that are all dead or "
        "saturated, or a product too small for the dtype",
        remedy="look at the layers behind; initialize at random and smaller, lower the rate",
        step=since.step,
    )
    yield as_remark(finding, [node.id for node in without])


def _without_effect(trace: Trace, judged: Judged) -> Iterator[Remark]:
    """What need not worry anybody."""
    by_words: dict[str, list[int]] = {}
    for i, words in judged.notes.items():
        by_words.setdefault(words, []).append(i)
    for words, places in by_words.items():
        names = [called(trace, i) for i in places]
        op = trace.nodes[places[0]].kind == "op"
        yield Remark(
            level="note",
            kind="no_effect",
            seen=f"{_few(names)}: {words}",
            means="the sum of what a norm gives does not depend on what it got"
            if op
            else "its gradients add up to 0 but for rounding: what comes behind takes away what it "
            "adds, as a norm does that subtracts the mean",
            remedy="look at the gradients of a loss, and not of the outputs themselves"
            if op
            else "nothing; or bias=False",
            nodes=places,
        )


# ----- units -------------------------------------------------------------------------------------


def _dead(trace: Trace) -> Iterator[Remark]:
    """Units that give 0 for the whole batch."""
    from tinygrad_cv.train.health.rules import dead_units
    from tinygrad_cv.train.health.seen import Seen

    def share(node: Node, step: Step) -> float:
        told = step.values.get(node.id)
        if told is None or told.dead is None or len(node.shape) < 2:
            return 0.0
        return told.dead if told.count / max(1, node.shape[1]) >= SAMPLES else 0.0

    def found(node: Node, share: float, name: str, number: int) -> Iterator["Finding"]:
        units, samples = node.shape[1], node.shape[0]
        return dead_units(Seen(asleep={node.key: (share, units, samples, number)}))

    yield from _units(trace, share, found)


def _saturated(trace: Trace) -> Iterator[Remark]:
    """Layers at the ends of tanh or sigmoid. What no layer follows may be sure of itself."""
    from tinygrad_cv.train.health.rules import saturation
    from tinygrad_cv.train.health.seen import Seen

    followed: set[int] = set()
    for node in reversed(trace.nodes):
        if node.id in followed or "parameter" in {
            trace.nodes[part.source].kind for part in node.inputs if part.source is not None
        }:
            followed.update(part.source for part in node.inputs if part.source is not None)

    def share(node: Node, step: Step) -> float:
        told = step.values.get(node.id)
        return (told.saturated or 0.0) if told is not None and node.id in followed else 0.0

    def found(node: Node, share: float, name: str, number: int) -> Iterator["Finding"]:
        return saturation(Seen(saturated={node.key: (2, share, node.op, name, number)}))

    yield from _units(trace, share, found)


def _units(
    trace: Trace,
    share: Callable[[Node, Step], float],
    found: Callable[[Node, float, str, int], Iterator["Finding"]],
) -> Iterator[Remark]:
    """What is `found` of the layers of which half is so at the last step: the worst first."""
    last = trace.steps[-1]
    layers: dict[str, tuple[float, Node]] = {}
    for node in trace.nodes:
        now, name = share(node, last), called(trace, node.id)
        if now >= HALF and (name not in layers or now > layers[name][0]):
            layers[name] = now, node
    worst = sorted(layers.items(), key=lambda item: -item[1][0])
    for place, (name, (now, node)) in enumerate(worst[:MOST]):
        since = _since(trace.steps, [share(node, step) >= HALF for step in trace.steps])
        assert since is not None
        for finding in found(node, now, name, last.number):
            remark = as_remark(finding, [node.id])
            remark.where, remark.step = name, since.step
            remark.seen += since.words
            if place == MOST - 1 and len(worst) > MOST:
                rest = worst[MOST:]
                remark.seen += f"; and so are {_few([name for name, _ in rest])}"
                remark.nodes += [node.id for _, (_, node) in rest]
            yield remark


# ----- updates -----------------------------------------------------------------------------------


def _updates(trace: Trace) -> Iterator[Remark]:
    """Weights that no step changes, and updates far from a thousandth of them."""
    from tinygrad_cv.train.health.kinds import found
    from tinygrad_cv.train.health.rules import update_ratio
    from tinygrad_cv.train.health.seen import Seen

    steps = [step for step in trace.steps if step.gradients]
    if len(steps) < 2:
        return
    weights = [node for node in trace.nodes if node.kind == "parameter" and node.requires_grad]
    if not any(step.updates for step in steps):
        yield as_remark(
            found(
                "no_update",
                f"no weight changed inside the {len(steps)} steps that were recorded",
                means="optimizer.step() is not called, or not inside the block that is recorded",
                remedy="do forward, backward and optimizer.step() inside `with watch.step():`",
                level="warning",
            ),
            [node.id for node in weights],
        )
        return
    still = [node for node in weights if _is_left_out(node.id, steps)]
    if still:
        names = [called(trace, node.id) for node in still]
        text = f"{_few(names)} got gradients, and no update in the {len(steps)} recorded steps"
        yield as_remark(found("not_optimized", text), [node.id for node in still])
    ratios = {
        node.name: [step.updates[node.id] for step in steps[-5:] if step.updates.get(node.id)]
        for node in weights
        if len(node.shape) > 1 and node.name
    }
    number = steps[-1].number
    for finding in update_ratio(Seen(steps=max(5, number + 1), ratios=ratios)):
        yield as_remark(finding, [node.id for node in weights if node.name == finding.key])


def _is_left_out(i: int, steps: list[Step]) -> bool:
    """Whether a parameter is not changed by any step, and the gradients are not just too small."""
    if any(step.updates.get(i) for step in steps) or not any(i in step.updates for step in steps):
        return False
    last = steps[-1]
    own = last.gradients[i].norm if i in last.gradients else None
    others = [
        told.norm or 0.0
        for j, ratio in last.updates.items()
        if ratio and (told := last.gradients.get(j)) is not None
    ]
    return bool(own and others and own > 1e-3 * median(others))
