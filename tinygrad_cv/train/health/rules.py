"""The rules: from what was seen of a run to what is to be said about it.

Each is a function of `Seen` that tells findings. They are asked whenever somebody wants to know, so
what was true only for a while is not said any more.
"""

import math
from collections.abc import Callable, Iterator
from statistics import stdev

from tinygrad_cv.train.health.finding import Finding
from tinygrad_cv.train.health.kinds import found
from tinygrad_cv.train.health.looks import by_chance, entropy, told_neighbours, told_uniform
from tinygrad_cv.train.health.seen import MANY, Seen, mean

THROWS = 0.4
"""An update ratio after which a weight is another one."""

MOVES = 3e-4
"""An update ratio below which weights hardly move."""

RESTS = 3e-5
"""One below which no step can be seen in the loss, whatever falls by the draw of the batches."""


def loss_not_moving(seen: Seen) -> Iterator[Finding]:
    """The last losses are the first ones, and the weights hardly move."""
    few = min(len(seen.last), seen.steps // 3)
    ratio = seen.ratio()
    if seen.steps < 30 or few < 5 or ratio is None or not _finite(seen):
        return
    if len(seen.rates) == 2 and seen.rates[1] > 1.05 * seen.rates[0]:
        return  # a warm-up is under way
    if any(share >= 0.9 for share, *_ in seen.asleep.values()):
        return  # a layer is dead, which no rate would wake
    if any(no_update(seen)):
        return
    first, last = seen.first[:few], seen.last[-few:]
    noise = math.sqrt((stdev(first) ** 2 + stdev(last) ** 2) / few)
    fall = mean(first) - mean(last)
    if ratio[0] < RESTS:
        noise *= 3
    if abs(fall) > max(0.01 * abs(mean(first)), noise) or ratio[0] > MOVES:
        return
    unknowing = _entropy(seen)
    if unknowing is not None and mean(last) < 0.5 * unknowing:
        return  # it has nothing to learn any more
    rate = f" at rate {seen.rates[-1]:.3g}" if seen.rates else ""
    yield found(
        "loss_not_moving",
        f"the loss went from {mean(first):.6f} to {mean(last):.6f} in {seen.steps} steps{rate}; an "
        f"update changes {ratio[1]} by {ratio[0]:.2g} of its size",
        step=seen.steps - 1,
        key=ratio[1],
    )


def rate_too_high(seen: Seen) -> Iterator[Finding]:
    """Updates as large as the weights, after which the loss was above the first one."""
    name = max(seen.peaks, key=lambda name: seen.peaks[name], default=None)
    if name is None or seen.peaks[name] < THROWS or not seen.first:
        return
    start, rises = max(seen.first[0], _entropy(seen) or 0.0), 1.1
    if seen.rows < MANY or not seen.labels:  # the losses of steps are far apart by themselves
        few = 5 if seen.rows < MANY else 1
        start, rises = max(start, mean(seen.first[:few])), 3.0
        if mean(seen.last) < 0.5 * start:
            return
    if not seen.most > rises * start > 0:
        return
    rate = f" at rate {max(seen.rates):.3g}" if seen.rates else ""
    yield found(
        "rate_too_high",
        f"an update changed {name} by {seen.peaks[name]:.2g} times its size{rate}, where 1e-3 is "
        f"usual; the loss was {seen.first[0]:.4g} at first and rose to {seen.most:.4g}",
        step=seen.steps - 1,
        where=name,
        key=name,
    )


def update_ratio(seen: Seen) -> Iterator[Finding]:
    """Updates far from a thousandth of the weights."""
    ratio = seen.ratio()
    if ratio is None or seen.steps < 5 or not math.isfinite(ratio[0]):
        return
    if 1e-5 <= ratio[0] <= 1e-2 or any(no_update(seen)):
        return
    yield found(
        "update_ratio",
        f"an update changes {ratio[1]} by {ratio[0]:.2g} of its size, where 1e-3 is usual",
        level="warning" if ratio[0] > 0.5 else "note",
        step=seen.steps - 1,
        where=ratio[1],
        key=ratio[1],
    )


def dead_units(seen: Seen) -> Iterator[Finding]:
    """Units that gave 0 for all samples of an epoch."""
    for key, (share, units, samples, step) in seen.asleep.items():
        if share < 0.1:
            continue
        yield found(
            "dead_units",
            f"{round(share * units)} of {units} units ({share:.0%}) give 0 for each of the "
            f"{samples:,} samples of the last pass",
            level="warning" if share >= 0.5 else "note",
            step=step,
            where=seen.places.get(key, ""),
            key=key.partition("#")[0],
        )


def saturation(seen: Seen) -> Iterator[Finding]:
    """Most of a layer at the ends of tanh or sigmoid, time and again."""
    for key, (times, share, op, where, step) in seen.saturated.items():
        if times >= 2:
            yield found(
                "saturated",
                f"{share:.0%} of what {op} gives is within 1 % of an end of its range",
                step=step,
                where=where,
                key=key.partition("#")[0],
            )


def no_gradient(seen: Seen) -> Iterator[Finding]:
    """Parameters that never got a gradient."""
    if seen.updates < 3:
        return
    layers: dict[tuple[str, str], list[str]] = {}
    for name, why in seen.waiting.items():
        layers.setdefault((name.rpartition(".")[0], why), []).append(name)
    for (path, why), names in layers.items():
        story = ""
        if why == "none" and path and seen.called:
            used = path in seen.called
            story = (
                "its layer was called, and what it gave is detached" if used else "nobody calls it"
            )
        got = "no gradient" if why == "none" else "only gradients that are exactly 0"
        seen_text = f"{', '.join(names)} got {got} in {seen.updates} updates"
        means, remedy = None, None
        if why == "zeros":
            means = (
                "what comes behind it lets no gradient pass: weights of 0, or units that are all "
                "dead or saturated"
            )
            remedy = (
                "look at the layers behind it; initialize at random and smaller, lower the rate"
            )
        cancelled = why == "zeros" and path and names == [f"{path}.bias"]
        if cancelled:
            means = "what comes behind takes it away again: a batch norm, or a difference"
            remedy = "nothing; or bias=False"
        yield found(
            "no_gradient",
            f"{seen_text}; {story}" if story else seen_text,
            level="note" if cancelled else None,
            means=means,
            remedy=remedy,
            step=seen.steps - 1,
            where=path,
            key=path or names[0],
        )


def no_update(seen: Seen) -> Iterator[Finding]:
    """Steps that change nothing."""
    if seen.steps < 30 or seen.updates or any(seen.peaks.values()) or not seen.peaks:
        return
    passed = "a backward pass began in each" if seen.first else "no backward pass began"
    yield found(
        "no_update",
        f"no optimizer made a step with the model's parameters in {seen.steps} steps of the loop, "
        f"and no weight changed; {passed}",
        step=seen.steps - 1,
    )


def not_optimized(seen: Seen) -> Iterator[Finding]:
    """Parameters that get gradients, and no updates."""
    if seen.lonely and seen.updates:
        yield found(
            "not_optimized",
            f"no optimizer has {_some(seen.lonely)}",
            key=seen.lonely[0],
        )


def symmetry(seen: Seen) -> Iterator[Finding]:
    """Layers whose units are all the same, or began so."""
    if seen.uniform:
        yield told_uniform(seen.uniform)
    for name, times in seen.alike.items():
        if times >= 2 and name not in seen.uniform:
            yield found(
                "symmetry",
                f"after {seen.updates} updates the rows of {name} are all equal, and so are their "
                "gradients",
                step=seen.steps - 1,
                where=name.rpartition(".")[0] or name,
                key=name,
            )


def no_zero_grad(seen: Seen) -> Iterator[Finding]:
    """Gradients that nobody clears."""
    if seen.unclean >= 2:
        yield found(
            "no_zero_grad",
            f"{seen.unclean} updates were made with gradients to which those of the update before "
            "had been added",
            step=seen.steps - 1,
        )


def constant_predictions(seen: Seen) -> Iterator[Finding]:
    """One class for all."""
    if len(seen.constant) < 3 or seen.constant[0] < 3 or seen.updates < 16 or not _finite(seen):
        return
    if not any(loss_not_moving(seen)):  # which says more
        share = seen.labels.get(str(seen.constant[2]), 0) / max(1, sum(seen.labels.values()))
        yield found(
            "constant_predictions",
            f"all of {seen.constant[1]} samples, of several labels, are taken for class "
            f"{seen.constant[2]}, at the last {seen.constant[0]} looks; {share:.0%} of all are it",
            level="note" if share > 0.8 else None,
            means="nearly all samples are of that class, and nothing else is learned as yet"
            if share > 0.8
            else None,
            remedy="train longer; weigh the classes, or draw the rare ones more often"
            if share > 0.8
            else None,
            step=seen.steps - 1,
        )


def labels_shuffled(seen: Seen) -> Iterator[Finding]:
    """Nothing is learned, or but by heart, of labels that are strangers to the inputs."""
    if not seen.labels:
        return
    chance = max(seen.labels.values()) / sum(seen.labels.values())
    record = seen.records[-1] if seen.records else {}
    train, validation = record.get("train_accuracy"), record.get("val_accuracy")
    lost = validation is not None and validation <= 1.5 * chance
    by_heart = lost and train is not None and train >= max(0.5, 3 * chance) and chance < 0.4
    unknowing = _entropy(seen)
    nothing = (
        unknowing is not None
        and seen.steps >= 30
        and bool(seen.last)
        and _finite(seen)
        and mean(seen.last) > 0.95 * unknowing
    )
    strangers = seen.neighbours is not None and by_chance(*seen.neighbours)
    if by_heart:
        yield found(
            "labels_shuffled",
            f"{train:.1%} of the training samples are known and {validation:.1%} of the "
            f"validation samples, where the most frequent label alone gives {chance:.1%}",
            step=seen.steps - 1,
        )
    elif strangers and (lost or nothing):
        assert seen.neighbours is not None
        assert unknowing is not None
        told = told_neighbours(*seen.neighbours, step=seen.steps - 1)
        yield found(
            "labels_shuffled",
            f"the loss is {mean(seen.last):.3f} after {seen.steps} steps, where the frequencies of "
            f"the labels alone give {unknowing:.3f}; {told.seen}",
            step=seen.steps - 1,
        )


def gap(seen: Seen) -> Iterator[Finding]:
    """How far validation is behind training."""
    record = seen.records[-1] if seen.records else {}
    train, validation = record.get("train_accuracy"), record.get("val_accuracy")
    if train is not None and validation is not None:
        apart = train - validation
        before = [
            r["train_accuracy"] - r["val_accuracy"]
            for r in seen.records[-3:-1]
            if "train_accuracy" in r and "val_accuracy" in r
        ]
        # Early, the statistics of batch norm are of few batches, and the gap closes again.
        lasts = len(before) == 2 and min(before) > 0.25 and apart > before[-1] - 0.05
        if apart > 0.1:
            yield found(
                "gap",
                f"accuracy {train:.1%} in training, {validation:.1%} in validation, a gap of "
                f"{apart:.1%}",
                level="warning" if apart > 0.25 and lasts and seen.steps >= 30 else "note",
                step=seen.steps - 1,
            )
        elif (
            len(seen.records) >= 5
            and abs(apart) < 0.02
            and train < 0.9
            and not any(loss_not_moving(seen))
        ):
            yield found(
                "no_gap",
                f"accuracy {train:.1%} in training and {validation:.1%} in validation after "
                f"{len(seen.records)} epochs",
                step=seen.steps - 1,
            )
    losses = [r["val_loss"] for r in seen.records if "val_loss" in r]
    if validation is None and len(losses) >= 3 and 0 < 1.5 * min(losses) < losses[-1]:
        best = losses.index(min(losses))
        if seen.records[-1]["loss"] < seen.records[best]["loss"]:
            yield found(
                "gap",
                f"the validation loss went up from {losses[best]:.4g} after epoch {best + 1} to "
                f"{losses[-1]:.4g}, while the training loss went down",
                step=seen.steps - 1,
            )


RULES: tuple[Callable[[Seen], Iterator[Finding]], ...] = (
    no_zero_grad,
    no_update,
    symmetry,
    labels_shuffled,
    loss_not_moving,
    rate_too_high,
    dead_units,
    saturation,
    no_gradient,
    constant_predictions,
    gap,
    update_ratio,
    not_optimized,
)


def _entropy(seen: Seen) -> float | None:
    """The loss of who knows the frequencies of the labels alone."""
    return entropy(seen.labels) if sum(seen.labels.values()) >= 30 else None


def _finite(seen: Seen) -> bool:
    return all(map(math.isfinite, (*seen.first, *seen.last)))


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
