"""How the loss answers to the learning rate."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from tinygrad_cv.backend import host
from tinygrad_cv.viz.plots import BLUE, FADED, VERMILION, OptionalPath, blank_figure, plain, saved
from tinygrad_cv.viz.runs import has_diverged

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    end = next((i for i, loss in enumerate(ys) if has_diverged(loss, ys[0])), None)
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
