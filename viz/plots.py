"""What all plots share, and searches.

A plot is a matplotlib Figure; no window is opened. With a `path` (.svg or .png) it saves the
figure too, whole or not at all, and the same data gives the same bytes.
"""

import io
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.storage import write
from tinygrad_cv.viz.render import FORMATS, PNG_DPI, check_path
from tinygrad_cv.viz.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OptionalPath = str | os.PathLike[str] | None

# Blue and vermilion differ for every kind of colour vision (Okabe and Ito, 2008), and the markers
# differ too. WARNING is vermilion that is dark enough for small type.
BLUE, VERMILION, WARNING, FADED, GRID = "#0072B2", "#D55E00", "#B34700", "#666666", "#DDDDDD"
# One for each of several things; those beside one another differ in lightness too.
PALETTE = (BLUE, VERMILION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
SMALL = 8  # points of the type in a panel among many
NAME = 24  # characters of a name that the user gave


# ----- hyperparameters ---------------------------------------------------------------------------

BORDER = 0.05  # the share of a range at either end that counts as its border


def search(
    trials: Sequence[Mapping[str, Any]],
    path: OptionalPath = None,
    x: str = "lr",
    y: str | None = None,
    metric: str = "val_accuracy",
    mode: Literal["max", "min"] = "max",
) -> "Figure":
    """What a search of hyperparameters found: a point for each trial, the best one ringed.

    A trial is a mapping of names to numbers, such as {"lr": 1e-3, "weight_decay": 1e-4,
    "val_accuracy": 0.5}. With two hyperparameters `x` and `y` the colour is the metric; with `x`
    alone the metric stands on the vertical axis. An axis is logarithmic if its values are positive
    and span more than a decade. The best trial has the greatest metric, or with mode="min" the
    least. One whose metric is missing, None, NaN or infinite failed: a grey cross.

    The title tells the best trial. If it lies on the border of the range that was searched (within
    5 % of an end), it says so: better values may lie beyond.

    Raises ValueError if there are no trials, if one lacks a hyperparameter or all lack the metric,
    TypeError for what is no mapping or no number.

    Source: the deck "training neural networks" of the course: coarse to fine random search in log
    space, and a best result that is worrying, since it lies on the border.

    >>> from tinygrad_cv import viz
    >>> trials = [
    ...     {"lr": 9.752279e-04, "reg": 2.850865e-03, "val_accuracy": 0.502},
    ...     {"lr": 9.471549e-04, "reg": 1.433895e-03, "val_accuracy": 0.531},
    ...     {"lr": 1.028377e-04, "reg": 1.220193e-02, "val_accuracy": 0.461},
    ...     {"lr": 2.279484e-04, "reg": 9.991345e-04, "val_accuracy": 0.492},
    ... ]
    >>> print(viz.search(trials, y="reg").get_suptitle())
    best val_accuracy 0.531 at lr 0.000947, reg 0.00143
    on the border of what was searched: try greater lr
    """
    trials = list(trials)
    names = [x] if y is None else [x, y]
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
    values = {name: _column(trials, name) for name in [*names, metric]}
    for name in names:
        for i, value in enumerate(values[name]):
            if not math.isfinite(value):
                raise ValueError(
                    f"hyperparameters are finite numbers; {name!r} of trial {i} is {value}."
                )
    scores = values[metric]
    done = [i for i, score in enumerate(scores) if math.isfinite(score)]
    failed = [i for i, score in enumerate(scores) if not math.isfinite(score)]

    figure = blank_figure(6.0, 4.4)
    axes = figure.subplots()
    vertical = metric if y is None else y
    for name, axis, scale in (
        (x, axes.xaxis, axes.set_xscale),
        (vertical, axes.yaxis, axes.set_yscale),
    ):
        axis.set_label_text(as_label(name))
        if spans_decades(values[name]):
            scale("log")
    plain(axes, grid="both")

    def across(places: list[int]) -> list[float]:
        return [values[x][i] for i in places]

    def up(places: list[int]) -> list[float]:
        return [values[vertical][i] for i in places]

    if failed:
        # Without a value to stand at, they stand at the foot of the plot.
        axes.margins(y=0.12)
        foot = axes.get_xaxis_transform() if y is None else axes.transData
        axes.scatter(
            across(failed),
            [0.03] * len(failed) if y is None else up(failed),
            marker="x",
            color="#999999",
            transform=foot,
            label=f"failed: {len(failed)}",
            zorder=2,
        )
    told, ink = "every trial failed", "black"
    if done:
        best = (max if mode == "max" else min)(done, key=scores.__getitem__)
        colours: dict[str, Any] = {"color": BLUE}
        if y is not None:
            norm = "log" if spans_decades(scores) else None
            colours = {"c": [scores[i] for i in done], "cmap": "cividis", "norm": norm}
        points = axes.scatter(
            across(done),
            up(done),
            s=36,
            edgecolor="#333333",
            lw=0.5,
            zorder=3,
            label=f"trials: {len(done)}",
            **colours,
        )
        if y is not None:
            figure.colorbar(points, label=as_label(metric))
        axes.scatter(
            across([best]),
            up([best]),
            s=150,
            facecolor="none",
            edgecolor=VERMILION,
            lw=2.2,
            zorder=4,
            label="best",
        )
        at = ", ".join(f"{as_label(name)} {values[name][best]:.3g}" for name in names)
        told = f"best {as_label(metric)} {scores[best]:.3g} at {at}"
        beyond = [
            f"{side} {as_label(name)}" for name in names if (side := _border(values[name], best))
        ]
        if beyond:
            ink = WARNING
            told += f"\non the border of what was searched: try {' and '.join(beyond)}"
    figure.suptitle(told, fontsize="medium", color=ink, wrap=True)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return saved(figure, path)


def _column(trials: list[Mapping[str, Any]], name: str) -> list[float]:
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


def _border(values: list[float], best: int) -> Literal["", "smaller", "greater"]:
    """Where to search on if values[best] lies at an end of the values, on the axis as drawn."""
    scale = host.log10(values) if spans_decades(values) else host.asarray(values)
    least, most = scale.min(), scale.max()
    place = (scale[best] - least) / (most - least) if least < most else 0.5
    return "greater" if place >= 1 - BORDER else "smaller" if place <= BORDER else ""


# ----- what all plots share ----------------------------------------------------------------------


def blank_figure(width: float, height: float) -> "Figure":
    """An empty figure (inches) that makes room for all its text."""
    try:
        from matplotlib import figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "plots are drawn with matplotlib; run pip install 'tinygrad_cv[viz]'.",
            name=error.name,
        ) from error
    return figure.Figure(figsize=(width, height), layout="constrained")


def saved(figure: "Figure", path: OptionalPath) -> "Figure":
    """The figure, which is saved if there is a path."""
    if path is None:
        return figure
    import matplotlib

    target = check_path(path, FORMATS)
    # An SVG names its parts by salted hashes and is dated; both would differ in each run.
    contents = io.BytesIO()
    kind = target.suffix[1:].lower()
    metadata = {"Date": None} if kind == "svg" else None
    with matplotlib.rc_context({"svg.hashsalt": "tinygrad_cv"}):
        figure.savefig(contents, format=kind, metadata=metadata, dpi=PNG_DPI)
    write(target, contents.getvalue())
    return figure


def plain(axes: "Axes", grid: Literal["", "y", "both"] = "") -> None:
    """No frame at the top and at the right, and perhaps faint lines behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=GRID)


def as_label(value: Any, limit: int = NAME, keep: Literal["start", "end"] = "start") -> str:
    """What the user named, as one short line in which matplotlib finds no mathematics."""
    words = " ".join(str(value).split())
    way = -1 if keep == "end" else 1
    line = one_line(words[::way], limit)[::way]
    return line.replace("$", r"\$")


def number(value: float | None) -> str:
    """A number in three digits."""
    return "–" if value is None else f"{value:.3g}".replace("-", "−")


def spans_decades(values: Sequence[float]) -> bool:
    """Whether the finite values are positive and span more than a decade."""
    finite = [value for value in values if math.isfinite(value)]
    return bool(finite) and 0 < 10 * min(finite) < max(finite)


def array_of(value: Any, name: str) -> Any:
    """A Tensor of any device, an array or nested lists as a host array."""
    if isinstance(value, Tensor):
        return value.detach().numpy()
    try:
        return host.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be a Tensor, an array or nested lists: {error}.") from error
