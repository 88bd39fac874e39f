"""Pictures in the plane: points, what a classifier says where, and how an optimizer goes."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv.backend import host
from tinygrad_cv.creation import tensor
from tinygrad_cv.nn import Module
from tinygrad_cv.viz.plots import (
    FADED,
    MARKERS,
    PALETTE,
    SMALL,
    WARNING,
    OptionalPath,
    array_of,
    as_label,
    blank_figure,
    number,
    plain,
    saved,
)
from tinygrad_cv.viz.runs import has_diverged

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Range = tuple[float, float]
ROWS = 8192  # that a model is given at once
BESIDE = 5  # panels beside one another, at most


# ----- points ------------------------------------------------------------------------------------


def scatter(
    points: Any,
    labels: Any = None,
    path: OptionalPath = None,
    *,
    classes: Any = None,
    same_scale: bool = False,
) -> "Figure":
    """Points in the plane, in panels side by side: what preprocessing does to the data.

    `points` is of shape (N, 2), or a mapping of titles to such: original, centred, normalized,
    decorrelated, whitened. Both axes of a panel have the same scale, so that a round cloud looks
    round; lines mark 0. Below stand the mean and the standard deviation of each coordinate and
    their correlation. `labels`, integers of shape (N,), colour the points; `classes` names them.
    With `same_scale` all panels show the same range. Points that are not finite have no place: the
    title counts them.

    Raises ValueError for other shapes, and if there are no points.

    Source: the decks of the course on data preprocessing: original, zero-centered, normalized,
    decorrelated and whitened data.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv import viz
    >>> x = tg.randn(200, 2, generator=tg.manual_seed(0)) * tg.tensor([3.0, 1.0]) + 5
    >>> figure = viz.scatter({"original": x, "centred": x - x.mean(dim=0)}, path="points.svg")
    >>> [axes.get_title() for axes in figure.axes]
    ['original', 'centred']
    >>> print(figure.axes[1].get_xlabel())
    mean (0, 0)
    std (2.99, 0.974)
    correlation −0.06
    """
    panels = points if isinstance(points, Mapping) else {"": points}
    clouds = {str(name): _points(cloud, str(name)) for name, cloud in panels.items()}
    if not any(len(cloud) for cloud in clouds.values()):
        raise ValueError("there is nothing to plot: there are no points.")
    groups = {
        name: _labels(labels, cloud, classes) if labels is not None else None
        for name, cloud in clouds.items()
    }
    figure, every = _panels(len(clouds), 2.9, 4.1)
    known = {name: cloud[host.isfinite(cloud).all(axis=1)] for name, cloud in clouds.items()}
    whole = host.concatenate([*known.values()])
    for axes, (name, cloud) in zip(every, clouds.items(), strict=True):
        _draw_points(axes, cloud, groups[name], size=14 if len(cloud) < 1000 else 6)
        _equal(axes, whole if same_scale else known[name])
        axes.axhline(0, color=FADED, lw=0.8, zorder=1)
        axes.axvline(0, color=FADED, lw=0.8, zorder=1)
        axes.locator_params(nbins=4)
        plain(axes)
        lost = len(cloud) - len(known[name])
        told = f"{as_label(name)} ({lost} not finite)" if lost else as_label(name)
        axes.set_title(told.strip(), fontsize="medium", color=WARNING if lost else "black")
        if len(known[name]):
            axes.set_xlabel(_moments(known[name]), fontsize=SMALL + 1)
    if labels is not None:
        _name_classes(figure, groups.values(), classes)
    return saved(figure, path)


def _points(given: Any, name: str, rows: str = "N") -> Any:
    """Points of shape (N, 2), as float64."""
    cloud = array_of(given, "points")
    if not cloud.size:
        cloud = cloud.reshape(0, 2)
    if cloud.ndim != 2 or cloud.shape[1] != 2:
        whose = f" of {as_label(name)}" if name else ""
        raise ValueError(
            f"the points{whose} lie in the plane, of shape ({rows}, 2); got shape {cloud.shape}. "
            "Choose two columns, such as x[:, :2], or two principal components."
        )
    return cloud.astype("float64")


def _labels(given: Any, cloud: Any, classes: Any = None) -> Any:
    """The labels of the points, as integers."""
    labels = array_of(given, "labels")
    if labels.shape != cloud.shape[:1] or labels.dtype.kind not in "iub":
        raise ValueError(
            f"labels are integers, one for each of the {len(cloud)} points; got shape "
            f"{labels.shape} of {labels.dtype}."
        )
    if labels.size and (labels.min() < 0 or (classes is not None and labels.max() >= len(classes))):
        most = "" if classes is None else f" below {len(classes)}, as there are names"
        raise ValueError(f"labels are 0 or more{most}; got {labels.min()} to {labels.max()}.")
    return labels.astype("int64")


def _panels(count: int, width: float, height: float) -> tuple["Figure", list["Axes"]]:
    """Panels side by side, in rows if there are many."""
    columns = min(count, BESIDE)
    rows = math.ceil(count / columns)
    figure = blank_figure(max(4.0, width * columns), height * rows)
    every = [*figure.subplots(rows, columns, squeeze=False).ravel()]
    for axes in every[count:]:
        axes.remove()
    return figure, every[:count]


def _draw_points(axes: "Axes", cloud: Any, groups: Any, size: float) -> None:
    """The points, those of a class in its colour and with its marker."""
    for label in [None] if groups is None else host.unique(groups).tolist():
        chosen = cloud if label is None else cloud[groups == label]
        axes.scatter(
            chosen[:, 0],
            chosen[:, 1],
            s=size,
            color=PALETTE[(label or 0) % len(PALETTE)],
            marker=MARKERS[(label or 0) % len(MARKERS)],
            edgecolor="white",
            lw=0.3,
            zorder=2,
        )


def _equal(axes: "Axes", cloud: Any) -> None:
    """One scale for both axes, in a square around the points."""
    axes.set_box_aspect(1)  # and the ranges are equally long
    if not len(cloud):
        return
    low, high = cloud.min(axis=0), cloud.max(axis=0)
    half = 0.55 * float((high - low).max()) or 0.5 * (float(abs(high).max()) or 1.0)
    x, y = ((low + high) / 2).tolist()
    axes.set_xlim(x - half, x + half)
    axes.set_ylim(y - half, y + half)


def _moments(cloud: Any) -> str:
    """Mean, standard deviation and correlation in words."""
    span = float(abs(cloud).max()) or 1.0
    means = [0.0 if abs(v) < 1e-6 * span else v for v in cloud.mean(axis=0).tolist()]
    deviations = cloud.std(axis=0)
    told = [
        f"mean ({', '.join(map(number, means))})",
        f"std ({', '.join(map(number, deviations.tolist()))})",
    ]
    if min(deviations) > 1e-9 * span:
        x, y = (cloud - cloud.mean(axis=0)).T / deviations[:, None]
        told.append(f"correlation {(x * y).mean():.2f}".replace("-", "−"))
    return "\n".join(told)


def _name_classes(figure: "Figure", groups: Any, classes: Any) -> None:
    """The legend of the classes."""
    from matplotlib.lines import Line2D

    found = sorted({label for group in groups for label in group.tolist()})
    handles = [
        Line2D(
            [],
            [],
            ls="",
            color=PALETTE[label % len(PALETTE)],
            marker=MARKERS[label % len(MARKERS)],
            label=f"class {label}" if classes is None else as_label(classes[label]),
        )
        for label in found
    ]
    longest = max((len(str(handle.get_label())) for handle in handles), default=0)
    columns = max(1, min(len(handles), int(13 * figure.get_figwidth() / (longest + 6))))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)


# ----- what a classifier says where --------------------------------------------------------------


def decision_boundary(
    model: Any,
    points: Any,
    labels: Any,
    path: OptionalPath = None,
    *,
    classes: Any = None,
    resolution: int = 160,
) -> "Figure":
    """What a classifier of points in the plane says everywhere, with the points that it learned.

    `model` is a module, a function of points (M, 2) or an object with `predict`, or a mapping of
    titles to such, each in a panel. It gives scores (M, C), of which the greatest counts; or one score (M,) or (M, 1), whose
    sign tells class 1 from 0; or labels, integers (M,). A module is asked in evaluation mode and
    without gradients, and is left as it was. `points` are of shape (N, 2), `labels` integers (N,),
    from 0.

    A region has the pale colour of its class, and lines are where two classes have the same score,
    found on a grid of `resolution` points a side; where a score is NaN, it is white. The title
    tells the accuracy on the points.

    Raises ValueError for other shapes, and if there are no finite points.

    Source: the deck "CNN structure and training" of the course: the decision regions at three
    strengths of regularization.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv import nn, viz
    >>> x = tg.tensor([[-1.0, 0.0], [1.0, 0.5], [2.0, -1.0]])
    >>> figure = viz.decision_boundary(lambda x: x[:, 0], x, [0, 1, 1], "boundary.svg")
    >>> figure.axes[0].get_title()
    '100.0% of 3 right'
    >>> models = {
    ...     f"{n} hidden": nn.Sequential(nn.Linear(2, n), nn.ReLU(), nn.Linear(n, 2))
    ...     for n in (3, 6, 20)
    ... }
    >>> len(viz.decision_boundary(models, x, [0, 1, 1]).axes)
    3
    """
    if resolution < 2:
        raise ValueError(f"resolution is points a side, at least 2; got {resolution}.")
    models = model if isinstance(model, Mapping) else {"": model}
    if not models:
        raise ValueError("there is nothing to plot: there is no model.")
    cloud = _points(points, "")
    groups = _labels(labels, cloud, classes)
    known = host.isfinite(cloud).all(axis=1)
    if not known.any():
        raise ValueError("there is nothing to plot: there are no finite points.")
    cloud, groups = cloud[known], groups[known]
    low, high = cloud.min(axis=0), cloud.max(axis=0)
    margin = host.where(high > low, 0.12 * (high - low), 1.0)
    (left, bottom), (right, top) = (low - margin).tolist(), (high + margin).tolist()
    x, y = host.linspace(left, right, resolution), host.linspace(bottom, top, resolution)
    grid = host.stack(host.meshgrid(x, y), axis=-1).reshape(-1, 2)

    figure, every = _panels(len(models), 3.6, 3.8)
    for axes, (name, asked) in zip(every, models.items(), strict=True):
        scores = _scores(asked, grid).reshape(resolution, resolution, -1)
        _draw_regions(axes, x, y, scores)
        _draw_points(axes, cloud, groups, size=22 if len(cloud) < 400 else 10)
        axes.set(xlim=(left, right), ylim=(bottom, top), xlabel="$x_1$", ylabel="$x_2$")
        right_ones = (_scores(asked, cloud).argmax(axis=1) == groups).mean()
        told = f"{right_ones:.1%} of {len(cloud)} right"
        axes.set_title(f"{as_label(name)}\n{told}".strip(), fontsize="medium")
    _name_classes(figure, [groups], classes)
    return saved(figure, path)


def _scores(model: Any, rows: Any) -> Any:
    """The scores (M, C) that a model gives, as float64; of labels, 1 for the class said."""
    parts = [_asked(model, rows[i : i + ROWS]) for i in range(0, len(rows), ROWS)]
    found = host.concatenate(parts)
    if found.shape == (len(rows), 1) and found.dtype.kind == "f":
        found = found[:, 0]
    if found.shape == (len(rows),):
        if found.dtype.kind in "iub":
            return host.eye(max(2, int(found.max()) + 1))[found.astype("int64")]
        return host.stack([-found, found], axis=1).astype("float64")
    if found.ndim != 2 or len(found) != len(rows) or not found.shape[1]:
        raise ValueError(
            f"of {len(rows)} points a model gives scores ({len(rows)}, C), one score "
            f"({len(rows)},), or labels; got shape {found.shape}."
        )
    return found.astype("float64")


def _asked(model: Any, rows: Any) -> Any:
    """What a model gives for some points, as a host array."""
    if not isinstance(model, Module):
        if not callable(model) and hasattr(model, "predict"):
            return array_of(model.predict(rows.astype("float32")), "labels")
        with no_grad():
            return array_of(model(tensor(rows.astype("float32"))), "scores")
    parameter = next(model.parameters(), None)
    dtype, device = ("float32", None) if parameter is None else (parameter.dtype, parameter.device)
    modes = [(module, module.training) for module in model.modules()]
    try:
        with no_grad():
            return array_of(model.eval()(tensor(rows, dtype=dtype, device=device)), "scores")
    finally:
        for module, training in modes:
            module.training = training


def _draw_regions(axes: "Axes", x: Any, y: Any, scores: Any) -> None:
    """The regions of the classes, and the lines between them."""
    from matplotlib.colors import to_rgb

    known = ~host.isnan(scores).any(axis=2)
    chosen = host.where(known[..., None], scores, 0.0).argmax(axis=2)
    pale = [[0.3 * part + 0.7 for part in to_rgb(colour)] for colour in PALETTE]
    picture = host.asarray(pale)[chosen % len(PALETTE)]
    picture[~known] = 1.0
    step = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
    extent = (x[0] - step[0], x[-1] + step[0], y[0] - step[1], y[-1] + step[1])
    axes.imshow(picture, origin="lower", extent=extent, aspect="auto", interpolation="nearest")
    for k in host.unique(chosen[known]).tolist():
        others = host.delete(scores, k, axis=2).max(axis=2, initial=-math.inf)
        ahead = host.where(known, scores[..., k] - others, math.nan)
        ahead[host.isinf(ahead)] = math.nan
        if host.nanmin(ahead, initial=1.0) < 0 < host.nanmax(ahead, initial=-1.0):
            axes.contour(x, y, ahead, levels=[0.0], colors="#333333", linewidths=1.0)


# ----- how an optimizer goes ---------------------------------------------------------------------


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
    figure, every = _panels(len(functions), 6.0 if len(functions) == 1 else 4.4, 4.4)
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
            if label in lost and outside.any():  # it leaves, and need not be seen again
                way = way[: int(outside.any(axis=1).argmax()) + 1]
            _draw_way(axes, way, labels.index(label))
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
    ways = {str(label): _points(_rows(way), str(label), "steps") for label, way in named.items()}
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


def _draw_way(axes: "Axes", way: Any, i: int) -> None:
    """A trajectory, from its ring to its cross."""
    colour, last = PALETTE[i % len(PALETTE)], len(way) - 1
    while last and not host.isfinite(way[last]).all():
        last -= 1
    axes.plot(way[:, 0], way[:, 1], color=colour, lw=1.6, marker=".", ms=5, zorder=3)
    axes.plot(*way[0], marker="o", ms=9, mfc="white", mec="black", ls="", zorder=4)
    axes.plot(*way[last], marker="X", ms=10, color=colour, mec="white", ls="", zorder=5)


def _name_ways(figure: "Figure", told: dict[str, str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=PALETTE[i % len(PALETTE)], marker="X", label=words)
        for i, words in enumerate(told.values())
    ]
    longest = max(map(len, told.values()))
    columns = max(1, min(len(handles), int(13 * figure.get_figwidth() / (longest + 8))))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)
