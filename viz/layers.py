"""Panels of histograms, of summaries or of plain arrays, and how layers differ with the depth."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from tinygrad_cv.backend import host
from tinygrad_cv.viz.data import Summary
from tinygrad_cv.viz.plots import (
    BLUE,
    MARKERS,
    PALETTE,
    SMALL,
    VERMILION,
    WARNING,
    array_of,
    as_label,
    blank_figure,
    legend_below,
    log_scale,
    number,
    plain,
)
from tinygrad_cv.viz.summarizing import summarize

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 30  # of an array, as in the deck


# ----- of summaries ------------------------------------------------------------------------------


def histogram(axes: "Axes", told: Summary) -> None:
    """One panel: the bins of a summary, and what else it tells."""
    plain(axes)
    axes.tick_params(labelsize=SMALL)
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=3)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:.6g}".replace("-", "−"))  # no factor aside
    lines, wrong = [], []
    if told.histogram and told.min is not None and told.max is not None:
        bins = len(told.histogram)
        edges = host.linspace(told.min, told.max, bins + 1)
        if told.min == told.max:  # all are in the middle bin, which that value is the middle of
            edges = (
                told.min + (abs(told.min) or 1.0) * (host.arange(bins + 1) - bins // 2 - 0.5) / bins
            )
        # A bin narrower than a pixel is still seen by its edge.
        axes.stairs(told.histogram, edges, fill=True, facecolor=BLUE, edgecolor=BLUE, lw=0.8)
        lines.append(f"mean {number(told.mean)}, std {number(told.std)}")
    else:
        axes.set_xticks([])
        wrong.append("no finite element")
    for share, name in [(told.zeros, "zeros"), (told.dead, "dead"), (told.saturated, "saturated")]:
        if share:
            (wrong if share >= 0.5 and name != "zeros" else lines).append(f"{share:.0%} {name}")
    wrong += [f"{n} {name}" for n, name in [(told.nan, "NaN"), (told.inf, "infinite")] if n]
    axes.set_xlabel("\n".join([*lines[:1], ", ".join(lines[1:])]).strip(), fontsize=SMALL)
    if wrong:
        axes.set_ylim(0, (1 + 0.25 * len(wrong)) * (max(told.histogram, default=0) or 1))
        axes.text(
            0.98,
            0.95,
            "\n".join(wrong),
            transform=axes.transAxes,
            ha="right",
            va="top",
            color=WARNING,
            fontsize=SMALL,
            fontweight="bold",
        )


def ends_of(told: Sequence[Summary]) -> tuple[float, float] | None:
    """The least and the greatest value of all; None if none is finite."""
    ends = [end for each in told for end in (each.min, each.max) if end is not None]
    return (min(ends), max(ends)) if ends else None


def by_depth(panels: Any, rows: Mapping[str, Sequence[Summary]], place: str) -> None:
    """Mean and standard deviation of each panel above, by its number: a line for each row."""
    from matplotlib.ticker import MaxNLocator

    for axes, name, first in zip(panels, ("mean", "std"), (BLUE, VERMILION), strict=True):
        every = []
        for i, (title, told) in enumerate(rows.items()):
            heights = [math.nan if (v := getattr(s, name)) is None else v for s in told]
            colour = PALETTE[i % len(PALETTE)] if len(rows) > 1 else first
            marker = MARKERS[(i if len(rows) > 1 else name == "std") % len(MARKERS)]
            x = range(1, len(told) + 1)
            size = 4 + 1.5 * (len(rows) - 1 - i)  # one that is hidden by a later one looks out
            axes.plot(x, heights, color=colour, marker=marker, ms=size, label=as_label(title))
            every += heights
        axes.set_title(f"{name} by layer", loc="left", fontsize=SMALL, fontweight="bold")
        axes.set_xlabel(place, fontsize=SMALL)
        axes.tick_params(labelsize=SMALL, which="both")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        log_scale(axes, every)
        plain(axes, grid="y")


# ----- of arrays ---------------------------------------------------------------------------------

Rows = dict[str, dict[str, Any]]


def rows_of_layers(given: Any) -> Rows:
    """Arrays by the titles of their panels, by the titles of their rows."""
    if isinstance(given, Mapping) and any(
        isinstance(v, Mapping | list | tuple) for v in given.values()
    ):
        rows = {str(title): _row(layers) for title, layers in given.items()}
    else:
        rows = {"": _row(given)}
    if not any(rows.values()):
        raise ValueError("there is nothing to plot: there are no layers.")
    return rows


def _row(layers: Any) -> dict[str, Any]:
    """The arrays of a row; those without titles are numbered."""
    if isinstance(layers, list | tuple):
        layers = {str(i): values for i, values in enumerate(layers, start=1)}
    elif getattr(layers, "ndim", 0):  # one array
        layers = {"": layers}
    if not isinstance(layers, Mapping):
        raise TypeError(
            "histograms are drawn from a Trace, such as viz.trace(model, x, values=True) or "
            "viz.watch(model).trace, or from arrays, a list of them or a mapping of titles to "
            f"them; got {type(layers).__name__}."
        )
    row = {}
    for title, values in layers.items():
        array = array_of(values, f"layer {title}")
        if array.dtype.kind not in "fiub":
            raise TypeError(f"a layer holds numbers; {title!r} is of {array.dtype}.")
        row[str(title)] = array.astype("float64").ravel()
    return row


def layer_rows(rows: Rows, sharex: bool, limit: int) -> "Figure":
    """The layers of each row side by side, and mean and standard deviation by depth below."""
    told = {title: [summarize(v) for v in row.values()] for title, row in rows.items()}
    columns = min(limit, max(map(len, rows.values())))
    depth = columns > 1
    below = 2.6 if depth else 0.0
    figure = blank_figure(max(5.0, 1.33 * columns + 0.3), 1.55 * len(rows) + below + 0.3)
    grid = figure.add_gridspec(
        2 if depth else 1, 1, height_ratios=[1.55 * len(rows), 2.6][: 1 + depth]
    )
    panels = grid[0].subgridspec(len(rows), columns).subplots(squeeze=False)
    for beside, (title, row) in zip(panels, rows.items(), strict=True):
        ends = ends_of(told[title])
        places = range(len(row))
        if len(row) > limit:
            places = host.linspace(0, len(row) - 1, limit).round().astype(int).tolist()
        names = [*row]
        for axes, place in zip(beside, places, strict=False):
            own = told[title][place]
            shared = ends if sharex else ends_of([own])
            _layer(axes, row[names[place]], own, shared)
            axes.set_title(as_label(names[place], 11), fontsize=SMALL + 1)
        words = "\n".join(wrap(as_label(title), 10))
        beside[0].set_ylabel(words, fontsize=SMALL)
        for axes in beside[len(places) :]:
            axes.remove()
    if depth:
        by_depth(grid[1].subgridspec(1, 2).subplots(), told, "layer")
        if len(rows) > 1:
            legend_below(figure, figure.axes[-1].get_lines())
    return figure


def _layer(axes: "Axes", values: Any, told: Summary, ends: tuple[float, float] | None) -> None:
    """One array: its bins between the ends, its mean and standard deviation, and what is wrong."""
    finite = values[host.isfinite(values)]
    if len(finite) and ends is not None and ends[0] < ends[1] and math.isfinite(ends[1] - ends[0]):
        told = replace(told, min=ends[0], max=ends[1])
        told.histogram = host.histogram(finite, bins=BINS, range=ends)[0].tolist()
    histogram(axes, replace(told, zeros=0.0))
    axes.locator_params(axis="x", nbins=2)
    if len(finite):
        axes.set_xlabel(f"mean {number(told.mean)}\nstd {number(told.std)}", fontsize=SMALL + 1)
