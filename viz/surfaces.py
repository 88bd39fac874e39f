"""A function of two variables, and how optimizers go down on it."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv.backend import host
from tinygrad_cv.creation import tensor
from tinygrad_cv.viz.plots import (
    PALETTE,
    OptionalPath,
    array_of,
    as_label,
    legend_below,
    plain,
    saved,
)
from tinygrad_cv.viz.points import panels_beside, points_in
from tinygrad_cv.viz.runs import has_diverged

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Range = tuple[float, float]


def contours(
    f: Any,
    trajectories: Any = None,
    path: OptionalPath = None,
    *,
    x: Range | None = None,
    y: Range | None = None,
    names: tuple[str, str] = ("x", "y"),
    levels: int = 16,
    resolution: int = 120,
) -> "Figure":
    """A function of two variables as lines of equal height, and the way that optimizers take.

    `f(x, y)` takes two float64 Tensors (or arrays) of one shape and gives one of that shape, such
    as `lambda x, y: (x**2 + 50 * y**2) / 2`. `trajectories` is a mapping of labels to positions
    of shape (steps, 2), or the positions of one. A ring marks the start, a cross the end. Several
    functions are a mapping of titles to them, each in a panel; their trajectories are then a
    mapping of the same titles to such mappings.

    `x` and `y` are the ranges that are drawn; by default where the trajectories are that do not
    diverge, or from -1 to 1. One that ends higher than three times where it began, or not finite,
    diverges: it leaves the panel, and the legend tells. Heights grow from line to line by squares,
    so those of a bowl are equally far apart.

    Raises ValueError for other shapes, ranges that are none, and a function that is nowhere finite.

    Source: the decks of the course on parameter updates: SGD jitters along the steep direction,
    momentum overshoots.

    >>> from tinygrad_cv import viz
    >>> bowl = lambda x, y: (x**2 + 50 * y**2) / 2
    >>> steps = [(-4 * 0.965**i, (1 - 0.035 * 50) ** i) for i in range(20)]
    >>> figure = viz.contours(bowl, {"SGD, lr 0.035": steps}, "bowl.svg", x=(-5, 1), y=(-1.5, 1.5))
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['SGD, lr 0.035: 19 steps']
    """
    functions = f if isinstance(f, Mapping) else {"": f}
    if not isinstance(f, Mapping):
        trajectories = {"": trajectories}
    if not functions:
        raise ValueError("there is nothing to plot: there is no function.")
    ways = {name: _ways((trajectories or {}).get(name)) for name in functions}
    labels = list(dict.fromkeys(label for each in ways.values() for label in each))
    for axis, given in (("x", x), ("y", y)):
        if given is not None and not -math.inf < given[0] < given[1] < math.inf:
            raise ValueError(f"{axis} is a range (least, greatest); got {given!r}.")
    figure, every = panels_beside(len(functions), 6.0 if len(functions) == 1 else 4.4, 4.4)
    told: dict[str, str] = {}
    for axes, (name, function) in zip(every, functions.items(), strict=True):
        heights = {label: _heights(function, way.T) for label, way in ways[name].items()}
        lost = {
            label
            for label, each in heights.items()
            if len(each) and has_diverged(each[-1], each[0])
        }
        kept = [way for label, way in ways[name].items() if label not in lost]
        starts = [way[:1] for way in ways[name].values()]
        box = host.concatenate([host.zeros((0, 2)), *kept, *starts])
        across, up = x or _range(box[:, 0]), y or _range(box[:, 1])
        _draw_heights(axes, function, across, up, levels, resolution)
        for label, way in ways[name].items():
            outside = (way < (across[0], up[0])) | (way > (across[1], up[1])) | host.isnan(way)
            left = label in lost and outside.any()  # it need not be seen again
            shown = way[: int(outside.any(axis=1).argmax()) + 1] if left else way
            _draw_way(axes, shown, labels.index(label), ends=not left)
            words = "diverges" if label in lost else _steps(len(way) - 1)
            told[label] = f"{told[label]}, {words}" if label in told else f": {words}"
        axes.set(xlim=across, ylim=up, xlabel=as_label(names[0]))
        axes.set_ylabel(as_label(names[1]))
        axes.set_title(as_label(name), fontsize="medium")
        plain(axes)
    if labels:
        _name_ways(figure, {label: as_label(label) + told[label] for label in labels})
    return saved(figure, path)


def _steps(count: int) -> str:
    return f"{count} step{'' if count == 1 else 's'}"


def _ways(given: Any) -> dict[str, Any]:
    """The positions of each trajectory by its label."""
    if given is None:
        return {}
    named = given if isinstance(given, Mapping) else {"way": given}
    ways = {str(label): points_in(_rows(way), str(label), "steps") for label, way in named.items()}
    return {label: way for label, way in ways.items() if len(way)}


def _rows(way: Any) -> Any:
    """A list of positions, which may be Tensors, as one array."""
    if isinstance(way, list | tuple):
        return host.asarray([array_of(position, "a position") for position in way])
    return way


def _heights(function: Callable[..., Any], places: Any) -> list[float]:
    """The function at places (2, ...), flat."""
    with no_grad(), host.errstate(all="ignore"):
        given = [tensor(part, dtype="float64") for part in places]
        found = function(*given)
    heights = array_of(found, "the heights")
    if heights.shape != places.shape[1:]:
        raise ValueError(
            f"f(x, y) gives one number for each of those it is given, of shape "
            f"{places.shape[1:]}; got shape {heights.shape}."
        )
    flat: list[float] = heights.astype("float64").ravel().tolist()
    return flat


def _range(values: Any) -> Range:
    """Where finite values lie, with room around them."""
    values = values[host.isfinite(values)]
    if not len(values):
        return -1.0, 1.0
    low, high = float(values.min()), float(values.max())
    margin = 0.15 * (high - low) or abs(high) or 1.0
    return low - margin, high + margin


def _draw_heights(
    axes: "Axes", function: Callable[..., Any], x: Range, y: Range, levels: int, resolution: int
) -> None:
    """The lines of equal height, on shades that are the lighter the lower."""
    xs, ys = host.linspace(*x, resolution), host.linspace(*y, resolution)
    grid = host.stack(host.meshgrid(xs, ys))
    heights = host.asarray(_heights(function, grid)).reshape(resolution, resolution)
    finite = host.isfinite(heights)
    if not finite.any():
        raise ValueError(f"the function is nowhere finite for x in {x} and y in {y}.")
    low, high = float(heights[finite].min()), float(heights[finite].max())
    if low == high:
        return  # it is flat
    heights[~finite] = math.nan
    at = low + (high - low) * host.linspace(0, 1, levels + 1) ** 2
    axes.contourf(xs, ys, heights, levels=at, cmap="Greys", alpha=0.35)
    axes.contour(xs, ys, heights, levels=at[1:-1], colors="#999999", linewidths=0.7)


def _draw_way(axes: "Axes", way: Any, i: int, ends: bool) -> None:
    """A trajectory, from its ring to its cross."""
    colour = PALETTE[i % len(PALETTE)]
    axes.plot(way[:, 0], way[:, 1], color=colour, lw=1.6, marker=".", ms=5, zorder=3)
    axes.plot(*way[0], marker="o", ms=9, mfc="white", mec="black", ls="", zorder=4)
    if ends:
        axes.plot(*way[-1], marker="X", ms=10, color=colour, mec="white", ls="", zorder=5)


def _name_ways(figure: "Figure", told: dict[str, str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=PALETTE[i % len(PALETTE)], marker="X", label=words)
        for i, words in enumerate(told.values())
    ]
    legend_below(figure, handles)
