"""What a search of hyperparameters found, as a figure and as a page."""

import io
import json
import math
import os
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from string import Template
from typing import TYPE_CHECKING, Any, Literal

from tinygrad_cv.backend import host
from tinygrad_cv.storage import write
from tinygrad_cv.train.search.results import Result, told
from tinygrad_cv.train.search.spaces import BORDER, Choice, Grid, Range, Side, Space
from tinygrad_cv.viz.page import beside, hash_of
from tinygrad_cv.viz.plots import (
    BLUE,
    FADED,
    VERMILION,
    WARNING,
    OptionalPath,
    as_label,
    blank_figure,
    linear_below,
    plain,
    saved,
    spans_decades,
)
from tinygrad_cv.viz.render import FORMATS, check_path
from tinygrad_cv.viz.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Trials = Sequence[Mapping[str, Any]]
Ranges = Mapping[str, Space | tuple[float, float]]

CROSS = "#999999"


def search(
    trials: Result | Trials,
    path: OptionalPath = None,
    x: str | None = None,
    y: str | None = None,
    metric: str | None = None,
    mode: Literal["max", "min"] | None = None,
    ranges: Ranges | None = None,
) -> "Figure":
    """What a search of hyperparameters found: a point for each trial, the best one ringed.

    `trials` is a result of `train.search`, which knows the rest by itself, or a list of mappings of
    names to numbers, such as {"lr": 1e-3, "weight_decay": 1e-4, "val_accuracy": 0.5}.

    With two hyperparameters `x` and `y` the colour is the metric; with `x` alone the metric stands
    on the vertical axis. Of a result they are the first two of its space, and of a list `x` is "lr"
    and there is no `y`. The best trial has the greatest metric ("val_accuracy", if nothing else is
    said), or with mode="min" the least. One whose metric is missing, None, NaN or infinite failed:
    a grey cross; one that the search has stopped is hollow.

    `ranges` says what was declared: of each hyperparameter the ends (low, high), or a space such as
    `log_uniform(low, high)`. An axis spans what was declared, inside of dashed lines, and has its
    scale. Of other axes nobody knows more than the values that were drawn: they are logarithmic if
    those are positive and span more than a decade.

    The title tells the best trial. If it lies on the border of the declared range (within 5 % of an
    end), or of the drawn values where none was declared, it says so: better values may lie beyond.

    With a `path` (.svg or .png) the figure is saved; as .html a page that opens without a network:
    the figure, the metric by each hyperparameter, and the trials as a table that a click sorts.

    Raises ValueError if there are no trials, if one lacks a hyperparameter or all lack the metric,
    TypeError for what is no mapping or no number.

    Source: the deck "training neural networks" of the course: coarse to fine random search in log
    space, and a best result that is worrying, since it lies on the border.

    >>> from tinygrad_cv import viz
    >>> trials = [
    ...     {"lr": 9.752279e-04, "reg": 2.850865e-03, "val_accuracy": 0.509},
    ...     {"lr": 9.471549e-04, "reg": 1.433895e-03, "val_accuracy": 0.531},
    ...     {"lr": 1.028377e-04, "reg": 1.220193e-02, "val_accuracy": 0.461},
    ...     {"lr": 2.279484e-04, "reg": 9.991345e-04, "val_accuracy": 0.492},
    ... ]
    >>> declared = {"lr": (1e-4, 1e-3), "reg": (1e-4, 1)}
    >>> print(viz.search(trials, y="reg", ranges=declared).get_suptitle())
    best val_accuracy 0.531 at lr 0.000947, reg 0.00143
    on the border of what was searched: try greater lr
    """
    spaces = _spaces(trials.space if isinstance(trials, Result) else {}, ranges)
    if isinstance(trials, Result):
        metric, mode = metric or trials.metric, mode or ("min" if trials.mode == "min" else "max")
        names = [*spaces] or [name for row in trials.rows[:1] for name in row.params] or ["lr"]
        x = x or names[0]
        rest = [name for name in names if name != x]
        y = y or (rest[0] if rest else None)
        rows: list[Mapping[str, Any]] = [
            row | {metric: row.get(metric)} for row in trials.to_dicts()
        ]
    else:
        rows = list(trials)
        x, metric, mode = x or "lr", metric or "val_accuracy", mode or "max"
    found = _Found(rows, [x] if y is None else [x, y], metric, mode, spaces)
    figure = _figure(found)
    if path is not None and os.fspath(path).lower().endswith(".html"):
        target = check_path(path, (*FORMATS, ".html"))
        write(target, _page(figure, found).encode(errors="backslashreplace"))
        return figure
    return saved(figure, path)


def _spaces(known: Mapping[str, Space], ranges: Ranges | None) -> dict[str, Space]:
    """What was declared, as spaces: ends that span decades are those of a logarithmic one."""
    spaces = dict(known)
    for name, given in (ranges or {}).items():
        if isinstance(given, Space):
            spaces[name] = given
            continue
        try:
            low, high = (float(end) for end in given)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"ranges: {name!r} is to be (low, high) or a space; got {given!r}."
            ) from error
        spaces[name] = Range(low, high, log=0 < 9.99 * low < high)
    return spaces


class _Found:
    """Trials that were checked: where each stands, which are done, and the best one."""

    def __init__(
        self,
        trials: list[Mapping[str, Any]],
        names: list[str],
        metric: str,
        mode: str,
        spaces: Mapping[str, Space],
    ) -> None:
        x = names[0]
        if mode not in ("max", "min"):
            raise ValueError(f"mode is 'max' or 'min', what the best trial has; got {mode!r}.")
        if not trials:
            raise ValueError("there is nothing to plot: the search has no trials.")
        for i, trial in enumerate(trials):
            if not isinstance(trial, Mapping):
                raise TypeError(
                    f"a trial is a mapping such as {{{x!r}: 0.001, {metric!r}: 0.5}}; trial {i} is "
                    f"{type(trial).__name__}."
                )
            if lacking := [name for name in names if name not in trial]:
                raise ValueError(
                    f"trial {i} lacks {lacking[0]!r}; it holds "
                    f"{', '.join(map(repr, trial)) or 'nothing'}."
                )
        if not any(metric in trial for trial in trials):
            raise ValueError(
                f"no trial has the metric {metric!r}; the first holds "
                f"{', '.join(map(repr, trials[0]))}."
            )
        self.trials, self.names, self.metric, self.mode = trials, names, metric, mode
        self.spaces = spaces
        self.values = {name: self.column(name) for name in names}
        for name in names:
            for i, value in enumerate(self.values[name]):
                if not math.isfinite(value):
                    raise ValueError(
                        f"hyperparameters are finite numbers; {name!r} of trial {i} is {value}."
                    )
        self.scores = self.values[metric] = _numbers(trials, metric)
        status = [trial.get("status") for trial in trials]
        self.failed, self.stopped, self.done = list[int](), list[int](), list[int]()
        for i, score in enumerate(self.scores):
            sound = math.isfinite(score) and status[i] != "failed"
            place = self.stopped if status[i] == "stopped" else self.done
            (place if sound else self.failed).append(i)
        choose = max if mode == "max" else min
        self.best = choose(self.done, key=self.scores.__getitem__) if self.done else None

    def column(self, name: str) -> list[float]:
        """Where the trials stand on an axis; options stand in a row, at 0, 1, …"""
        space = self.spaces.get(name)
        if not isinstance(space, Choice):
            return _numbers(self.trials, name)
        options = [*space.options]
        for i, trial in enumerate(self.trials):
            if trial[name] not in options:
                raise ValueError(f"{name!r} of trial {i} is {trial[name]!r}, and not of {space}.")
        return [float(options.index(trial[name])) for trial in self.trials]

    def ends(self, name: str) -> tuple[float, float] | None:
        """The declared ends of an axis."""
        space = self.spaces.get(name)
        if isinstance(space, Grid):
            return space.values[0], space.values[-1]
        return (space.low, space.high) if isinstance(space, Range) else None

    def is_log(self, name: str) -> bool:
        """Whether an axis is logarithmic."""
        space = self.spaces.get(name)
        if isinstance(space, Range | Grid):
            return space.log and min(self.values[name]) > 0
        return not isinstance(space, Choice) and spans_decades(self.values[name])

    def linear_below(self, name: str) -> float | None:
        """Where the scale of an axis is linear, since 0 stands beside decades; None if nowhere."""
        return None if name in self.spaces else linear_below(self.values[name])

    def border(self, name: str) -> Side:
        """Where to search on if the best lies on the border of what was searched."""
        assert self.best is not None
        space = self.spaces.get(name)
        if space is not None:
            return space.border(self.trials[self.best][name])
        values = host.asarray(self.values[name])
        if (least := self.linear_below(name)) is not None:
            if not values[self.best]:
                return ""  # nothing is smaller than none
            values = host.where(values == 0, least / 10, values)
        scale = host.log10(values) if self.is_log(name) or least is not None else values
        least, most = scale.min(), scale.max()
        place = (scale[self.best] - least) / (most - least) if least < most else 0.5
        return "greater" if place >= 1 - BORDER else "smaller" if place <= BORDER else ""

    def title(self) -> tuple[str, str]:
        """The best trial in words, and what is to be said of the border."""
        if self.best is None:
            return "no trial is done" if self.stopped else "every trial failed", ""
        shown = {
            name: as_label(self.trials[self.best][name])
            if isinstance(self.spaces.get(name), Choice)
            else f"{self.values[name][self.best]:.3g}"
            for name in self.names
        }
        at = ", ".join(f"{as_label(name)} {value}" for name, value in shown.items())
        best = f"best {as_label(self.metric)} {self.scores[self.best]:.3g} at {at}"
        all_names = [*dict.fromkeys([*self.names, *self.spaces])]  # also what is not drawn
        beyond = [f"{side} {as_label(name)}" for name in all_names if (side := self.border(name))]
        if not beyond:
            return best, ""
        return best, f"on the border of what was searched: try {' and '.join(beyond)}"


def _numbers(trials: Trials, name: str) -> list[float]:
    """One number of each trial; NaN where there is none."""
    column = []
    for i, trial in enumerate(trials):
        value = trial.get(name)
        try:
            column.append(math.nan if value is None else float(value))
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"what is plotted are numbers; {name!r} of trial {i} is {type(value).__name__}."
            ) from error
    return column


def _figure(found: _Found) -> "Figure":
    """The trials, by one hyperparameter or two."""
    figure = blank_figure(6.0, 4.4)
    axes = figure.subplots()
    x, y = found.names[0], found.names[1] if len(found.names) > 1 else None
    bar = _scatter(axes, found, x, y)
    if bar is not None:
        figure.colorbar(bar, label=as_label(found.metric))
    best, warning = found.title()
    figure.suptitle(
        "\n".join(filter(None, [best, warning])),
        fontsize="medium",
        color=WARNING if warning else "black",
        wrap=True,
    )
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


def _scatter(axes: "Axes", found: _Found, x: str, y: str | None) -> Any:
    """The trials in one panel; returns what a bar of colours is drawn for, if one is."""
    vertical = found.metric if y is None else y
    for name, axis, scale, limits, line in (
        (x, axes.xaxis, axes.set_xscale, axes.set_xlim, axes.axvline),
        (vertical, axes.yaxis, axes.set_yscale, axes.set_ylim, axes.axhline),
    ):
        axis.set_label_text(as_label(name))
        if found.is_log(name):
            scale("log")
        elif (least := found.linear_below(name)) is not None:
            scale("symlog", linthresh=least, linscale=0.5)
        space = found.spaces.get(name)
        if isinstance(space, Choice):
            axis.set_ticks(range(len(space.options)), [as_label(o, 12) for o in space.options])
            limits(-0.5, len(space.options) - 0.5)
        ends = found.ends(name)
        if ends is not None and ends[0] < ends[1]:
            limits(*_wider(*_hull(ends, found.values[name]), found.is_log(name)))
            for end in ends:
                line(end, color=FADED, ls="--", lw=0.9, zorder=1)
    plain(axes, grid="both")

    def across(places: list[int]) -> list[float]:
        return [found.values[x][i] for i in places]

    def up(places: list[int]) -> list[float]:
        return [found.values[vertical][i] for i in places]

    if found.failed:
        # Without a value to stand at, they stand at the foot of the plot.
        if found.ends(vertical) is None:
            axes.margins(y=0.12)
        axes.scatter(
            across(found.failed),
            [0.03] * len(found.failed) if y is None else up(found.failed),
            marker="x",
            color=CROSS,
            transform=axes.get_xaxis_transform() if y is None else axes.transData,
            label=f"failed: {len(found.failed)}",
            zorder=2,
        )
    if found.stopped:
        axes.scatter(
            across(found.stopped),
            up(found.stopped),
            s=30,
            facecolor="none",
            edgecolor=FADED,
            lw=1.1,
            label=f"stopped: {len(found.stopped)}",
            zorder=2.5,
        )
    if found.best is None:
        return None
    colours: dict[str, Any] = {"color": BLUE}
    if y is not None:
        # Losses may span decades; an accuracy ten times as high as another is no such scale.
        norm = "log" if found.mode == "min" and spans_decades(found.scores) else None
        colours = {"c": [found.scores[i] for i in found.done], "cmap": "cividis", "norm": norm}
    points = axes.scatter(
        across(found.done),
        up(found.done),
        s=36,
        edgecolor="#333333",
        lw=0.5,
        zorder=3,
        label=f"{'done' if found.stopped else 'trials'}: {len(found.done)}",
        **colours,
    )
    axes.scatter(
        across([found.best]),
        up([found.best]),
        s=150,
        facecolor="none",
        edgecolor=VERMILION,
        lw=2.2,
        zorder=4,
        label="best",
    )
    return None if y is None else points


def _hull(ends: tuple[float, float], values: list[float]) -> tuple[float, float]:
    """The declared ends, and what was tried beyond them."""
    return min(ends[0], *values), max(ends[1], *values)


def _wider(low: float, high: float, log: bool) -> tuple[float, float]:
    """Ends with some room around."""
    if log:
        room = (high / low) ** 0.04
        return low / room, high * room
    return low - 0.04 * (high - low), high + 0.04 * (high - low)


# ----- the page ----------------------------------------------------------------------------------


def _page(figure: "Figure", found: _Found) -> str:
    """The figure, the metric by each hyperparameter, and all trials as a table."""
    best, warning = found.title()
    style, script = beside("search.css"), beside("search.js")
    names = [*found.spaces] or [name for name in found.names if name != found.metric]
    names = [name for name in names if all(name in trial for trial in found.trials)]
    pictures = [_picture(figure, best)]
    if len(names) > 1 or len(found.names) > 1:
        pictures.append(_picture(_panels(found, names), f"{found.metric} by each hyperparameter"))
    return Template(beside("search.html")).substitute(
        title=escape(one_line(best.replace(r"\$", "$"), 200)),
        policy=f"default-src 'none'; img-src data:; style-src {hash_of(style)}; "
        f"script-src {hash_of(script)}; base-uri 'none'; form-action 'none'",
        style=style,
        warning=escape(warning.replace(r"\$", "$")),
        hidden="" if warning else "hidden",
        pictures="\n".join(pictures),
        table=_table(found),
        script=script,
    )


def _panels(found: _Found, names: list[str]) -> "Figure":
    """The metric by each hyperparameter."""
    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    figure = blank_figure(3.4 * columns, 2.8 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for name, axes in zip(names, panels, strict=False):
        each = _Found(found.trials, [name], found.metric, found.mode, found.spaces)
        _scatter(axes, each, name, None)
    for axes in panels[len(names) :]:
        axes.remove()
    return figure


def _picture(figure: "Figure", words: str) -> str:
    """A figure inside of a page; as an image, its own styles are no business of the page's."""
    import matplotlib

    contents = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "tinygrad_cv"}):
        figure.savefig(contents, format="svg", metadata={"Date": None})
    code = b64encode(contents.getvalue()).decode()
    return f'<img alt="{escape(words, quote=True)}" src="data:image/svg+xml;base64,{code}">'


def _table(found: _Found) -> str:
    """The trials as a table, the best first."""
    columns = list(dict.fromkeys(name for trial in found.trials for name in trial))
    columns = [name for name in columns if any(trial.get(name) != "" for trial in found.trials)]
    way = -1 if found.mode == "max" else 1
    order = sorted(found.done, key=lambda i: way * found.scores[i])
    order += sorted(found.stopped, key=lambda i: way * found.scores[i]) + found.failed
    lines = ["<thead><tr>"]
    lines += [
        f'<th scope="col"><button>{escape(one_line(name, 40))}</button></th>' for name in columns
    ]
    lines.append("</tr></thead><tbody>")
    for i in order:
        kind = (
            "best" if i == found.best else "done" if i in found.done
            else "stopped" if i in found.stopped else "failed"
        )  # fmt: skip
        cells = "".join(_cell(found.trials[i].get(name)) for name in columns)
        lines.append(f'<tr class="{kind}">{cells}</tr>')
    return "\n".join([*lines, "</tbody>"])


def _cell(value: Any) -> str:
    """A cell, with what it is sorted by."""
    key = json.dumps(value) if isinstance(value, int | float) and math.isfinite(value) else ""
    text = "" if value is None else escape(one_line(told(value), 200))
    return f'<td data-key="{escape(key, quote=True)}">{text}</td>'
