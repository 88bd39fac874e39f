"""The curves of training runs."""

import math
from typing import TYPE_CHECKING, Any

from tinygrad_cv.backend import host
from tinygrad_cv.viz.plots import (
    BLUE,
    FADED,
    MARKERS,
    PALETTE,
    VERMILION,
    WARNING,
    OptionalPath,
    as_label,
    blank_figure,
    legend_below,
    log_scale,
    plain,
    saved,
)
from tinygrad_cv.viz.runs import (
    Column,
    Run,
    count_epochs,
    divergence,
    panel_of,
    place_of,
    runs_in,
    steps_in,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def curves(
    history: Any = None,
    path: OptionalPath = None,
    *,
    steps: Any = None,
    smooth: int | None = None,
) -> "Figure":
    """The losses and the accuracies of one training run or of several, as a matplotlib figure.

    `history` is what `Trainer.fit` returns, a record for each epoch; or the Trainer; or a mapping
    of columns, one number per epoch under "loss", "val_loss", "train_accuracy", "val_accuracy" and
    other "train_..." and "val_..."; or the path of the table of a `CSVLogger` or of a metrics.json;
    or the stats of the decks' ClassifierTrainer. Several runs are a mapping of labels to such, or a
    list. Each loss, accuracy or metric has a panel. What is lacking is left out, and None or NaN
    leaves a hole. Accuracies are fractions, from 0 to 1. Losses that span two decades or more
    stand on a log scale.

    `steps` adds a panel with the loss of each step: `train.StepLosses`, a list of numbers, or for
    several runs a mapping of labels to these, or a list. The losses of batches are noisy, so a line
    through them is the mean of the `smooth` steps around each (by default a thirtieth of all).

    A run ends where it diverges: from where on its losses are NaN, infinite, or more than three
    times the first. A cross marks the last point before that, and the legend tells.

    Of a single run, what lies between training and validation is shaded, and the title tells that
    generalization gap after the last epoch that has both: training minus validation for accuracies,
    validation minus training for losses. A big gap is overfitting: regularize more. No gap: the
    model could be larger. Of several, training is solid and validation dashed, and the titles tell
    which is best.

    With a `path` (.svg or .png) the figure is saved as well, and the same history gives the same
    bytes. No window is opened.

    Raises ValueError if there is nothing to plot, or if the columns of a run differ in length,
    TypeError for what is no history.

    Source: the deck "training neural networks" of the course: monitor and visualize the loss curve
    and the accuracy; a cost above three times the original one has exploded.

    >>> from tinygrad_cv import data, nn, optim, train, viz
    >>> model, losses = nn.Linear(2, 2), train.StepLosses()
    >>> trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.1))
    >>> loader = data.DataLoader(data.TensorDataset([[1.0, 2.0]] * 8, [0, 1] * 4), batch_size=4)
    >>> figure = viz.curves(trainer.fit(loader, epochs=3, callbacks=[losses]), steps=losses)
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss of a step', 'loss', 'accuracy']

    >>> history = {"loss": [2.3, 0.9], "train_accuracy": [0.4, 0.8], "val_accuracy": [0.5, 0.7]}
    >>> viz.curves(history, "curves.svg").axes[1].get_title()
    'generalization gap: 10.0 percentage points'

    >>> rates = {"1e-3": {"loss": [2.3, 1.9, 1.7]}, "1": {"loss": [2.3, 1e24, float("nan")]}}
    >>> [text.get_text() for text in viz.curves(rates).legends[0].get_texts()]
    ['1e-3', '1 (diverged in epoch 2)']
    """
    if smooth is not None and not smooth >= 1:
        raise ValueError(f"smooth is a number of steps, at least 1; got {smooth!r}.")
    runs = runs_in(history)
    for name, losses in steps_in(steps).items():
        runs.setdefault(name, Run()).steps = losses
    keys = {key: None for run in runs.values() for key in run.columns}
    panels = sorted(dict.fromkeys(map(panel_of, keys)), key=lambda panel: place_of(panel))
    if not any(map(count_epochs, runs.values())):
        panels = []
    by_step = any(run.steps for run in runs.values())
    if not panels and not by_step:
        held = {name: None for run in runs.values() for name in run.names}
        raise ValueError(
            "there is nothing to plot: the history must hold one number per epoch under at least "
            "one of 'loss', 'val_loss', 'train_accuracy', 'val_accuracy', or steps be given; it "
            f"holds {', '.join(map(repr, held)) or 'nothing'}."
        )
    count = len(panels) + by_step
    columns = min(count, 3)
    rows = math.ceil(count / columns)
    several = len(runs) > 1
    width = (6.5 if several else 5.0, 10.0, 13.3)[columns - 1]
    figure = blank_figure(width, 3.6 * rows + 0.4 * several)
    every = iter(figure.subplots(rows, columns, squeeze=False).ravel())
    if by_step:
        _draw_steps(next(every), runs, smooth)
    for panel in panels:
        _draw_epochs(next(every), runs, panel)
    for axes in every:
        axes.remove()
    if several:
        _name_runs(figure, runs)
    return saved(figure, path)


# ----- drawing runs ------------------------------------------------------------------------------


def _draw_steps(axes: "Axes", runs: dict[str, Run], smooth: int | None) -> None:
    """The loss of each step, and a smoothed line."""
    good: list[float] = []
    for i, run in enumerate(runs.values()):
        if not run.steps:
            continue
        end = divergence(run, by_step=True)
        losses, numbers = _cut(run.steps, end), range(1, len(run.steps) + 1)
        window = min(smooth or max(1, len(losses) // 30), len(losses))
        colour = PALETTE[i % len(PALETTE)]
        raw: dict[str, Any] = {"alpha": 0.35, "lw": 0.8} if window > 1 else {"lw": 1.2}
        each, mean = (None, None) if len(runs) > 1 else ("each step", f"mean of {window} steps")
        marker = "o" if len(losses) == 1 else ""
        many = len(losses) > 20_000  # as pixels, so that the file stays small
        x = numbers[: len(losses)]
        axes.plot(x, losses, color=colour, marker=marker, label=each, rasterized=many, **raw)
        if window > 1:
            axes.plot(x, _smoothed(losses[:end], window), color=colour, lw=2, label=mean)
        good += _before(axes, losses, end, colour)
        if end is not None and len(runs) == 1:
            axes.set_title(f"diverged at step {end + 1}", fontsize="medium", color=WARNING)
    axes.set(xlabel="step", ylabel="loss of a step")
    diverged = any(divergence(run, by_step=True) is not None for run in runs.values())
    _finish(axes, good, diverged, loss=True)
    if len(runs) == 1 and len(axes.get_lines()) > 1:
        axes.legend(frameon=False)


def _draw_epochs(axes: "Axes", runs: dict[str, Run], panel: str) -> None:
    """One loss, accuracy or metric of all runs."""
    from matplotlib.ticker import PercentFormatter

    good: list[float] = []
    diverged = False
    for i, run in enumerate(runs.values()):
        training, validation = _pair(run, panel)
        end = divergence(run) if panel == "loss" else None
        diverged |= end is not None
        for kind, column in (("training", training), ("validation", validation)):
            if column is None:
                continue
            drawn = _cut(column, end)
            if len(runs) == 1:
                colour, marker = (BLUE, "o") if kind == "training" else (VERMILION, "s")
            else:
                colour, marker = PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]
            axes.plot(
                range(1, len(drawn) + 1),
                drawn,
                color=colour,
                marker=marker,
                ms=4,
                ls="--" if kind == "validation" and len(runs) > 1 else "-",
                label=kind if len(runs) == 1 else None,
            )
            good += _before(axes, drawn, end, colour)
        if len(runs) == 1 and training is not None and validation is not None:
            low, high = _cut(training, end), _cut(validation, end)
            axes.fill_between(range(1, len(low) + 1), low, high, color=VERMILION, alpha=0.12, lw=0)
            axes.set_title(_gap(panel, low, high), fontsize="medium")
        if len(runs) == 1 and end is not None:
            axes.set_title(f"diverged in epoch {end + 1}", fontsize="medium", color=WARNING)
    if len(runs) > 1:
        axes.set_title(_best(runs, panel), fontsize="medium")
    axes.set(xlabel="epoch", ylabel=as_label(panel))
    _finish(axes, good, diverged, loss=panel == "loss")
    if panel.endswith("accuracy"):
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    if len(runs) == 1:
        axes.legend(frameon=False)


def _pair(run: Run, panel: str) -> tuple[Column | None, Column | None]:
    """The curves of training and of validation in a panel."""
    training = run.columns.get("loss" if panel == "loss" else f"train_{panel}")
    return training, run.columns.get(f"val_{panel}")


def _cut(column: Column, end: int | None) -> list[float]:
    """What is drawn: up to the first point that diverged, with NaN where there is no number."""
    drawn = column if end is None else column[: end + 1]
    return [math.nan if v is None or math.isinf(v) else v for v in drawn]


def _before(axes: "Axes", drawn: list[float], end: int | None, colour: str) -> list[float]:
    """The points before the divergence, the last of which gets a cross."""
    good = [(x, y) for x, y in enumerate(drawn[:end], start=1) if math.isfinite(y)]
    if end is not None:
        look: dict[str, Any] = {"marker": "X", "ms": 10, "color": colour, "mec": "white"}
        if good:
            axes.plot(*good[-1], zorder=3, **look)
        else:  # the first point is none
            axes.plot(1, 0.95, transform=axes.get_xaxis_transform(), **look)
    return [y for _, y in good]


def _finish(axes: "Axes", good: list[float], diverged: bool, loss: bool) -> None:
    """Whole numbers below, and a scale that what diverged does not decide.

    A loss that spans decades has a log scale.
    """
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if all(host.size(line.get_xdata()) <= 1 for line in axes.get_lines()):
        axes.set_xlim(0.5, 1.5)
    plain(axes, grid="y")
    logarithmic = loss and log_scale(axes, good, decades=2)
    if diverged and good and logarithmic:
        axes.set_ylim(min(y for y in good if y) / 1.5, 1.4 * max(good))
    elif diverged and good:
        span = max(good) - min(good) or abs(max(good)) or 1.0
        axes.set_ylim(min(good) - 0.05 * span, max(good) + 0.15 * span)


def _smoothed(losses: list[float], window: int) -> Any:
    """The mean of the numbers among the `window` ones around each."""
    values = host.asarray(losses)
    known = host.isfinite(values)
    ones = host.ones(min(window, len(values)))
    counts = host.convolve(known, ones, "same")
    sums = host.convolve(host.where(known, values, 0.0), ones, "same")
    return host.where(counts > 0.5, sums / host.maximum(counts, 1), math.nan)


def _gap(panel: str, training: list[float], validation: list[float]) -> str:
    """The generalization gap in words; "" if no epoch has both numbers, or none is known to be."""
    if panel not in ("loss", "accuracy"):
        return ""
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


def _best(runs: dict[str, Run], panel: str) -> str:
    """Which run has the best number, of validation if any has that; "" where best has no sense."""
    if panel not in ("loss", "accuracy"):
        return ""
    for kind, place in (("validation", 1), ("training", 0)):
        found = [
            (value, name)
            for name, run in runs.items()
            for value in _pair(run, panel)[place] or ()
            if value is not None and math.isfinite(value)
        ]
        if found:
            value, name = min(found) if panel == "loss" else max(found)
            told = f"{value:.3g}" if panel == "loss" else f"{value:.1%}"
            return f"best {kind} {panel}: {told} ({as_label(name) or 'history'})"
    return ""


def _name_runs(figure: "Figure", runs: dict[str, Run]) -> None:
    """One legend for all panels."""
    from matplotlib.lines import Line2D

    handles = []
    for i, (name, run) in enumerate(runs.items()):
        told = as_label(name) or "history"
        if (end := divergence(run)) is not None:
            told += f" (diverged in epoch {end + 1})"
        elif (end := divergence(run, by_step=True)) is not None:
            told += f" (diverged at step {end + 1})"
        elif not count_epochs(run) and not run.steps:
            told += " (no epoch)"
        marker = MARKERS[i % len(MARKERS)] if run.columns else ""
        colour = PALETTE[i % len(PALETTE)]
        handles.append(Line2D([], [], color=colour, marker=marker, ms=4, label=told))
    if any(key.startswith("val_") for run in runs.values() for key in run.columns):
        for kind, line in (("training", "-"), ("validation", "--")):
            handles.append(Line2D([], [], color=FADED, ls=line, label=kind))
    legend_below(figure, handles)
