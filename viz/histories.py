"""Plots of a training run: its curves, and how the loss answers to the learning rate."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from tinygrad_cv.backend import host
from tinygrad_cv.viz.plots import BLUE, FADED, VERMILION, OptionalPath, blank_figure, plain, saved

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What `curves` plots: (key of the history, label, panel, colour, marker).
SERIES = (
    ("loss", "training", "loss", BLUE, "o"),
    ("val_loss", "validation", "loss", VERMILION, "s"),
    ("train_accuracy", "training", "accuracy", BLUE, "o"),
    ("val_accuracy", "validation", "accuracy", VERMILION, "s"),
)


def curves(history: Mapping[str, Sequence[float | None]], path: OptionalPath = None) -> "Figure":
    """The losses and the accuracies of a training run, epoch by epoch, as a matplotlib figure.

    `history` holds one number per epoch under "loss", "val_loss", "train_accuracy" and
    "val_accuracy"; what it lacks is left out, and None or NaN leaves a hole. Accuracies are
    fractions, from 0 to 1. With a `path` (.svg or .png) the figure is saved as well, and the same
    history gives the same bytes. No window is opened.

    What lies between training and validation is shaded, and the title tells that generalization
    gap after the last epoch that has both: training minus validation for accuracies, validation
    minus training for losses. A big gap is overfitting: regularize more. No gap: the model could
    be larger.

    Raises ValueError if there is nothing to plot, or if the lengths differ.

    Source: the deck "training neural networks" of the course: monitor and visualize the accuracy.

    >>> from tinygrad_cv import viz
    >>> history = {"loss": [2.3, 0.9], "train_accuracy": [0.4, 0.8], "val_accuracy": [0.5, 0.7]}
    >>> [axes.get_ylabel() for axes in viz.curves(history, "curves.svg").axes]
    ['loss', 'accuracy']
    >>> viz.curves(history).axes[1].get_title()
    'generalization gap: 10.0 percentage points'
    """
    series = [row for row in SERIES if row[0] in history]
    lengths = {key: len(history[key]) for key, *_ in series}
    epochs = max(lengths.values(), default=0)
    if epochs == 0:
        raise ValueError(
            "there is nothing to plot: the history must hold one number per epoch under at least "
            f"one of {', '.join(key for key, *_ in SERIES)}; it holds "
            f"{', '.join(map(repr, history)) or 'nothing'}."
        )
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        raise ValueError(
            f"every curve needs one number per epoch (None where there is none); {told}."
        )
    panels = list(dict.fromkeys(panel for _, _, panel, _, _ in series))
    figure = blank_figure(5 * len(panels), 3.6)
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    for panel, axes in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
        drawn = []
        for key, label, where, colour, marker in series:
            if where == panel:
                drawn.append([math.nan if v is None else float(v) for v in history[key]])
                axes.plot(
                    range(1, epochs + 1), drawn[-1], color=colour, marker=marker, ms=4, label=label
                )
        if len(drawn) == 2:
            axes.fill_between(range(1, epochs + 1), *drawn, color=VERMILION, alpha=0.12, lw=0)
            axes.set_title(_gap(panel, *drawn), fontsize="medium")
        axes.set(xlabel="epoch", ylabel=panel)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        plain(axes, grid="y")
        axes.legend(frameon=False)
        if panel == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    return saved(figure, path)


def _gap(panel: str, training: list[float], validation: list[float]) -> str:
    """The generalization gap in words; "" if no epoch has both numbers."""
    gaps = [
        t - v if panel == "accuracy" else v - t for t, v in zip(training, validation, strict=True)
    ]
    known = [epoch for epoch, gap in enumerate(gaps) if math.isfinite(gap)]
    if not known:
        return ""
    gap = gaps[known[-1]]
    size = f"{100 * gap:.1f} percentage points" if panel == "accuracy" else f"{gap:.3g}"
    when = "" if known[-1] == len(gaps) - 1 else f" after epoch {known[-1] + 1}"
    return f"generalization gap{when}: {size}".replace("-", "−")


# ----- learning rates ----------------------------------------------------------------------------


def learning_rates(
    rates: Sequence[float], losses: Sequence[float], path: OptionalPath = None
) -> "Figure":
    """Loss against learning rate, from a learning-rate range test: train a few steps, each with a
    greater rate, and note the loss.

    Two rates are marked: where the loss falls most steeply, a rate to begin with, and where it
    diverges: the first loss that is NaN, infinite or greater than three times the first one. The
    slope at a point is that of the line fitted to log10(rate) and the losses around it, a tenth of
    all and at least three. Losses beyond the divergence are cut off.

    Raises ValueError if the lengths differ, for fewer than three points, and if the rates are not
    positive and increasing.

    Source: the deck "training neural networks" of the course: a cost above three times the
    original one has exploded.

    >>> from tinygrad_cv import viz
    >>> figure = viz.learning_rates([1e-4, 1e-3, 1e-2, 1e-1, 1], [2.3, 2.2, 1.5, 1.2, float("nan")])
    >>> figure.axes[0].get_title()
    'steepest descent at 0.01, divergence at 1'
    """
    xs, ys = [float(rate) for rate in rates], [float(loss) for loss in losses]
    if len(xs) != len(ys) or len(xs) < 3:
        raise ValueError(
            f"each rate needs one loss, of three rates or more; got {len(xs)} rates and {len(ys)} "
            "losses."
        )
    if not all(0 < a < b < math.inf for a, b in pairwise(xs)):
        raise ValueError(
            "the rates of a range test are positive and increase from step to step; sort them, "
            "with their losses."
        )
    end = next((i for i, loss in enumerate(ys) if _diverged(loss, ys[0])), None)
    steepest = _steepest(xs[:end], ys[:end])

    figure = blank_figure(5.5, 3.8)
    axes = figure.subplots()
    axes.plot(xs, ys, color=BLUE, marker="o", ms=3, lw=1.2)
    axes.set(xlabel="learning rate", ylabel="loss", xscale="log")
    plain(axes, grid="both")
    told = []
    if steepest is not None:
        axes.axvline(xs[steepest], color=FADED, ls="--", lw=1.2, label="steepest descent")
        axes.plot(xs[steepest], ys[steepest], "D", color="#009E73", ms=8, zorder=3)
        told.append(f"steepest descent at {xs[steepest]:.3g}")
    if end is not None:
        axes.axvline(xs[end], color=VERMILION, lw=1.8, label="divergence")
        told.append(f"divergence at {xs[end]:.3g}")
        before = [*ys[:end], 3.3 * ys[0]]
        low, high = min(before), max(before)
        if low < high < math.inf:
            axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    axes.set_title(", ".join(told) or "the loss neither falls nor diverges", fontsize="medium")
    if told:
        axes.legend(frameon=False)
    return saved(figure, path)


def _diverged(loss: float, first: float) -> bool:
    return not math.isfinite(loss) or loss > 3 * first > 0


def _steepest(rates: list[float], losses: list[float]) -> int | None:
    """Where the fitted slope is the most negative; None if the loss never falls."""
    around = max(1, len(rates) // 20)
    slopes = {}
    for i in range(around, len(rates) - around):
        x = host.log10(rates[i - around : i + around + 1])
        y = host.asarray(losses[i - around : i + around + 1])
        slopes[i] = float((x - x.mean()) @ (y - y.mean()) / ((x - x.mean()) @ (x - x.mean())))
    falling = {i: slope for i, slope in slopes.items() if slope < 0}
    return min(falling, key=falling.__getitem__, default=None)
