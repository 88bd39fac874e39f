"""Points in the plane, as preprocessing moves them."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tinygrad_cv.backend import host
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
    legend_below,
    number,
    plain,
    saved,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BESIDE = 5  # panels beside one another, at most


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
    clouds = {str(name): points_in(cloud, str(name)) for name, cloud in panels.items()}
    if not any(len(cloud) for cloud in clouds.values()):
        raise ValueError("there is nothing to plot: there are no points.")
    groups = {
        name: labels_in(labels, cloud, classes) if labels is not None else None
        for name, cloud in clouds.items()
    }
    figure, every = panels_beside(len(clouds), 2.9, 3.7 if labels is None else 4.1)
    known = {name: cloud[host.isfinite(cloud).all(axis=1)] for name, cloud in clouds.items()}
    whole = host.concatenate([*known.values()])
    for axes, (name, cloud) in zip(every, clouds.items(), strict=True):
        draw_points(axes, cloud, groups[name], size=14 if len(cloud) < 1000 else 6)
        _equal(axes, whole if same_scale else known[name])
        axes.axhline(0, color=FADED, lw=0.8, zorder=1)
        axes.axvline(0, color=FADED, lw=0.8, zorder=1)
        axes.locator_params(nbins=4)
        plain(axes)
        lost = len(cloud) - len(known[name])
        told = as_label(name, 18) + (f" ({lost} not finite)" if lost else "")
        axes.set_title(told.strip(), fontsize="medium", color=WARNING if lost else "black")
        if len(known[name]):
            axes.set_xlabel(_moments(known[name]), fontsize=SMALL + 1)
    if labels is not None:
        name_classes(figure, groups.values(), classes)
    return saved(figure, path)


def points_in(given: Any, name: str, rows: str = "N") -> Any:
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


def labels_in(given: Any, cloud: Any, classes: Any = None) -> Any:
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


def panels_beside(count: int, width: float, height: float) -> tuple["Figure", list["Axes"]]:
    """Panels side by side, in rows if there are many."""
    columns = min(count, BESIDE)
    rows = math.ceil(count / columns)
    figure = blank_figure(max(4.0, width * columns), height * rows)
    every = [*figure.subplots(rows, columns, squeeze=False).ravel()]
    for axes in every[count:]:
        axes.remove()
    return figure, every[:count]


def draw_points(axes: "Axes", cloud: Any, groups: Any, size: float) -> None:
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
    with host.errstate(over="ignore"):
        means = [0.0 if abs(v) < 1e-6 * span else v for v in cloud.mean(axis=0).tolist()]
        deviations = cloud.std(axis=0)
    told = [
        f"mean ({', '.join(map(number, means))})",
        f"std ({', '.join(map(number, deviations.tolist()))})",
    ]
    if 1e-9 * span < min(deviations) <= max(deviations) < math.inf:
        x, y = (cloud - cloud.mean(axis=0)).T / deviations[:, None]
        told.append(f"correlation {round(float((x * y).mean()), 2) + 0.0:.2f}".replace("-", "−"))
    return "\n".join(told)


def name_classes(figure: "Figure", groups: Any, classes: Any) -> None:
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
    legend_below(figure, handles)
