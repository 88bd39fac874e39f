"""What all plots share.

A plot is a matplotlib Figure; no window is opened. With a `path` (.svg or .png) it saves the
figure too, whole or not at all, and the same data gives the same bytes.
"""

import io
import math
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.storage import write
from tinygrad_cv.viz.render import FORMATS, PNG_DPI, check_path
from tinygrad_cv.viz.text import one_line

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OptionalPath = str | os.PathLike[str] | None

# Blue and vermilion differ for every kind of colour vision (Okabe and Ito, 2008), and the markers
# differ too. WARNING is vermilion that is dark enough for small type.
BLUE, VERMILION, WARNING, FADED, GRID = "#0072B2", "#D55E00", "#B34700", "#666666", "#DDDDDD"
# One for each of several things; those beside one another differ in lightness too.
PALETTE = (BLUE, VERMILION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # of another number, so pairs come again late
SMALL = 8  # points of the type in a panel among many
NAME = 24  # characters of a name that the user gave


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


def legend_below(figure: "Figure", handles: Sequence["Artist"]) -> None:
    """One legend for all panels, in as many columns as fit; the figure grows with its rows."""
    longest = max((len(str(handle.get_label())) for handle in handles), default=0)
    columns = max(1, min(len(handles), int(13 * figure.get_figwidth() / (longest + 8))))
    rows = math.ceil(len(handles) / columns)
    figure.set_figheight(figure.get_figheight() + 0.22 * (rows - 1))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)


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


def spans_decades(values: Iterable[float], decades: float = 1) -> bool:
    """Whether the finite values are positive and span more than a decade, or so many."""
    finite = [value for value in values if math.isfinite(value)]
    return bool(finite) and 0 < 10**decades * min(finite) < max(finite)


def log_scale(axes: "Axes", values: Iterable[float], decades: float = 1) -> bool:
    """Give the height of lines a log scale where the values span decades, and say if it has one.

    A value of exactly 0 is no reason to go without, which would hide how far the others are apart:
    it has no place on the scale, and stands at its foot as a triangle that points down. NaN and
    infinite values decide nothing; where one is negative there is no log scale.
    """
    if not spans_decades([value for value in values if value], decades):
        return False
    axes.set_yscale("log")
    low = False
    for line in axes.get_lines():
        x, y = host.asarray(line.get_xdata()), host.asarray(line.get_ydata(), dtype="float64")
        if (zeros := x[y == 0]).size:
            foot: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "clip_on": False}
            look: dict[str, Any] = {"marker": "v", "color": line.get_color(), "zorder": 4}
            axes.scatter(zeros, [0.0] * len(zeros), s=36, **look, **foot)
            line.set_ydata(host.where(y == 0, math.nan, y))  # a gap, and no fall to the foot
            low = True
    if low:
        corner: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
        axes.annotate(
            "▾ exactly 0", (1, 0), (0, -34), ha="right", fontsize=SMALL, color=FADED, **corner
        )
    return True


def linear_below(values: Iterable[float]) -> float | None:
    """Of values that span decades, with 0 among them: the least other one; else None.

    Below it a logarithmic scale has to be linear ("symlog"), for 0 to have a place.
    """
    finite = [value for value in values if math.isfinite(value)]
    others = [value for value in finite if value]
    return min(others) if len(others) < len(finite) and spans_decades(others) else None


def array_of(value: Any, name: str) -> Any:
    """A Tensor of any device, an array or nested lists as a host array."""
    if isinstance(value, Tensor):
        return value.detach().numpy()
    try:
        return host.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be a Tensor, an array or nested lists: {error}.") from error
