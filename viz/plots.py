"""Plots of a training run."""

import io
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tinygrad_cv.storage import write
from tinygrad_cv.viz.render import FORMATS, check_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What is plotted: (key of the history, label, panel, colour). The two colours differ for every
# kind of colour vision (Okabe and Ito, 2008), and the markers differ too.
SERIES = (
    ("loss", "training", "loss", "#0072B2", "o"),
    ("train_accuracy", "training", "accuracy", "#0072B2", "o"),
    ("val_accuracy", "validation", "accuracy", "#D55E00", "s"),
)


def curves(
    history: Mapping[str, Sequence[float | None]], path: str | os.PathLike[str] | None = None
) -> "Figure":
    """The loss and the accuracies of a training run, epoch by epoch, as a matplotlib figure.

    `history` holds one number per epoch under "loss", "train_accuracy" and "val_accuracy"; what
    it lacks is left out, and None or NaN leaves a gap. Accuracies are fractions, from 0 to 1.
    With a `path` (.svg or .png) the figure is saved as well, and the same history gives the same
    bytes. No window is opened.

    Raises ValueError if there is nothing to plot, or if the lengths differ.

    >>> from tinygrad_cv import viz
    >>> history = {"loss": [2.3, 0.9], "train_accuracy": [0.4, 0.8], "val_accuracy": [0.5, 0.7]}
    >>> [axes.get_ylabel() for axes in viz.curves(history, "curves.svg").axes]
    ['loss', 'accuracy']
    """
    target = None if path is None else check_path(path, FORMATS)
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
    try:
        import matplotlib
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator, PercentFormatter
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "curves are plotted with matplotlib; run pip install 'tinygrad_cv[viz]'.",
            name=error.name,
        ) from error
    panels = list(dict.fromkeys(panel for _, _, panel, _, _ in series))
    figure = Figure(figsize=(5 * len(panels), 3.6), layout="constrained")
    for panel, axes in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
        for key, label, where, colour, marker in series:
            if where == panel:
                values = [math.nan if value is None else float(value) for value in history[key]]
                axes.plot(
                    range(1, epochs + 1), values, color=colour, marker=marker, ms=4, label=label
                )
        axes.set(xlabel="epoch", ylabel=panel)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#DDDDDD")
        axes.legend(frameon=False)
        if panel == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    if target is not None:
        # An SVG names its parts by salted hashes and is dated; both would differ in each run.
        contents = io.BytesIO()
        kind = target.suffix[1:].lower()
        metadata = {"Date": None} if kind == "svg" else None
        with matplotlib.rc_context({"svg.hashsalt": "tinygrad_cv"}):
            figure.savefig(contents, format=kind, metadata=metadata, dpi=144)
        write(target, contents.getvalue())
    return figure
