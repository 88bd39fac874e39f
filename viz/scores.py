"""Scores side by side, and scores against how much data there was."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tinygrad_cv.backend import host
from tinygrad_cv.viz.plots import (
    MARKERS,
    PALETTE,
    OptionalPath,
    as_label,
    blank_figure,
    legend_below,
    linear_below,
    number,
    plain,
    saved,
    spans_decades,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def bars(
    scores: Mapping[str, Any],
    path: OptionalPath = None,
    ylabel: str = "accuracy",
    percent: bool | None = None,
) -> "Figure":
    """A bar for each of several scores, with error bars where there are several numbers of it.

    `scores` maps labels to a number, or to the numbers of several runs (other seeds, members of an
    ensemble): the bar is their mean, the line through its end one standard deviation (that of a
    sample, N - 1) to both sides, and a point each number. NaN, None and infinite ones are left out,
    and counted in the label. The axis begins at 0, or where all is far above, just below the least:
    the label says so. With `percent` fractions are told in percent, which is the default for an
    accuracy.

    Raises ValueError if there is nothing to plot, TypeError for what is no number.

    Source: the deck "CNN training" of the course: an ensemble gains two percent.

    >>> from tinygrad_cv import viz
    >>> scores = {"members": [0.951, 0.953, 0.955], "ensemble": 0.967}
    >>> figure = viz.bars(scores, "ensemble.svg")
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['95.3% ± 0.2', '96.7%']
    """
    columns = {str(label): _known(given, str(label)) for label, given in scores.items()}
    means = {label: float(known.mean()) for label, (known, _) in columns.items() if len(known)}
    if not means:
        raise ValueError("there is nothing to plot: there is no finite score.")
    percent = "accuracy" in ylabel if percent is None else percent
    figure = blank_figure(max(4.5, 1.5 * len(columns) + 1.0), 4.0)
    axes = figure.subplots()
    every = host.concatenate([known for known, _ in columns.values()])
    low, high = float(every.min()), float(every.max())
    cut = low > 0 and high - low < 0.25 * high
    base = low - 0.6 * (high - low or 0.1 * high) if cut else min(0.0, low)
    names = []
    for place, (label, (known, lost)) in enumerate(columns.items()):
        names.append(as_label(label) + (f"\n({lost} not finite)" if lost else ""))
        if not len(known):
            continue
        mean = means[label]
        axes.bar(place, mean - base, 0.6, bottom=base, color=PALETTE[0], alpha=0.75, zorder=2)
        spread = float(known.std(ddof=1)) if len(known) > 1 else None
        if spread is not None:
            spots = place + host.linspace(-0.18, 0.18, len(known))
            axes.scatter(spots, known, s=16, color="black", zorder=4)
            axes.errorbar(place, mean, spread, color="black", capsize=5, lw=1.5, zorder=3)
        axes.annotate(
            _told(mean, spread, percent),
            (place, max(float(known.max()), mean + (spread or 0.0))),
            (0, 4),
            textcoords="offset points",
            ha="center",
        )
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.6, len(names) - 0.4)
    above = max(high, max(means.values()))
    axes.set_ylim(base, above + 0.15 * (above - base or 1.0))
    _percent(axes, percent)
    axes.set_ylabel(f"{as_label(ylabel)} (not from 0)" if cut else as_label(ylabel))
    plain(axes, grid="y")
    return saved(figure, path)


def learning_curve(
    scores: Mapping[str, Mapping[float, Any]],
    path: OptionalPath = None,
    xlabel: str = "number of images",
    ylabel: str = "accuracy",
    percent: bool | None = None,
) -> "Figure":
    """A score against the number of images that a model learned from, for several ways to learn.

    `scores` maps labels to mappings of a number of images to a score, or to the scores of several
    runs: the line goes through their means, and one standard deviation (N - 1) to both sides is
    shaded. The axis is logarithmic if the numbers span more than a decade. NaN, None and infinite
    scores leave a hole.

    Raises ValueError if there is nothing to plot, TypeError for what is no number.

    Source: the decks of the course on transfer learning: with little data, train the last layer;
    with more, fine-tune.

    >>> from tinygrad_cv import viz
    >>> scores = {"from scratch": {10: 0.663, 20: 0.795}, "fine-tuned": {10: 0.722, 20: 0.843}}
    >>> figure = viz.learning_curve(scores, "images.svg")
    >>> [line.get_ydata().tolist() for line in figure.axes[0].get_lines()]
    [[0.663, 0.795], [0.722, 0.843]]
    """
    figure = blank_figure(6.5, 4.4)
    axes = figure.subplots()
    percent = "accuracy" in ylabel if percent is None else percent
    counts: set[float] = set()
    for i, (label, by_count) in enumerate(scores.items()):
        if not isinstance(by_count, Mapping) or any(isinstance(count, str) for count in by_count):
            raise TypeError(
                "a learning curve is a mapping of numbers of images to scores; got "
                f"{as_label(by_count)} for {label!r}."
            )
        points = sorted(
            ((float(count), _known(given, label)[0]) for count, given in by_count.items()),
            key=lambda point: point[0],
        )
        x = [count for count, _ in points]
        y = [float(known.mean()) if len(known) else math.nan for _, known in points]
        spread = [float(known.std(ddof=1)) if len(known) > 1 else 0.0 for _, known in points]
        colour, marker = PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]
        axes.plot(x, y, color=colour, marker=marker, label=as_label(label))
        if any(spread):
            low, high = host.asarray(y) - spread, host.asarray(y) + spread
            axes.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
        counts |= {count for count, height in zip(x, y, strict=True) if math.isfinite(height)}
    if not counts:
        raise ValueError("there is nothing to plot: there is no finite score.")
    if spans_decades([*counts]):
        axes.set_xscale("log")
    elif (least := linear_below(counts)) is not None:
        axes.set_xscale("symlog", linthresh=least, linscale=0.5)
    if len(counts) <= 8:
        shown = sorted(counts)
        axes.set_xticks(shown, [number(count) for count in shown], minor=False)
        axes.minorticks_off()
    axes.set(xlabel=as_label(xlabel, 40), ylabel=as_label(ylabel))
    _percent(axes, percent)
    plain(axes, grid="both")
    legend_below(figure, axes.get_lines())
    return saved(figure, path)


def _known(given: Any, label: str) -> tuple[Any, int]:
    """The finite numbers of a score, as float64, and how many are not."""
    many = isinstance(given, Sequence) or getattr(given, "ndim", 0) > 0
    try:
        numbers = [math.nan if v is None else float(v) for v in (given if many else [given])]
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"a score is a number, or several; got {type(given).__name__} for {label!r}."
        ) from error
    values = host.asarray(numbers, dtype="float64")
    finite = values[host.isfinite(values)]
    return finite, len(values) - len(finite)


def _told(mean: float, spread: float | None, percent: bool) -> str:
    if percent:
        return f"{mean:.1%}" + ("" if spread is None else f" ± {100 * spread:.1f}")
    return number(mean) + ("" if spread is None else f" ± {number(spread)}")


def _percent(axes: "Axes", percent: bool) -> None:
    from matplotlib.ticker import PercentFormatter

    if percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
