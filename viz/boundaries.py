"""What a classifier of points in the plane says where."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv.backend import host
from tinygrad_cv.creation import tensor
from tinygrad_cv.nn import Module
from tinygrad_cv.viz.plots import PALETTE, OptionalPath, array_of, as_label, saved
from tinygrad_cv.viz.points import draw_points, labels_in, name_classes, panels_beside, points_in

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS = 8192  # that a model is given at once


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

    `model` is a module, a Trainer's, a function of points (M, 2) or an object with `predict`; or a
    mapping of titles to such, or a list, each in a panel. It gives scores (M, C), of which the
    greatest counts; or one score (M,) or (M, 1), whose sign tells class 1 from 0; or labels,
    integers (M,). A module is asked in evaluation mode and without gradients, and is left as it
    was. `points` are of shape (N, 2), `labels` integers (N,), from 0.

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
    if isinstance(model, list | tuple):
        model = {f"model {i}": each for i, each in enumerate(model, start=1)}
    models = model if isinstance(model, Mapping) else {"": model}
    if not models:
        raise ValueError("there is nothing to plot: there is no model.")
    cloud = points_in(points, "")
    groups = labels_in(labels, cloud, classes)
    known = host.isfinite(cloud).all(axis=1)
    if not known.any():
        raise ValueError("there is nothing to plot: there are no finite points.")
    cloud, groups = cloud[known], groups[known]
    low, high = cloud.min(axis=0), cloud.max(axis=0)
    margin = host.where(high > low, 0.12 * (high - low), 1.0)
    (left, bottom), (right, top) = (low - margin).tolist(), (high + margin).tolist()
    x, y = host.linspace(left, right, resolution), host.linspace(bottom, top, resolution)
    grid = host.stack(host.meshgrid(x, y), axis=-1).reshape(-1, 2)

    figure, every = panels_beside(len(models), 3.6, 3.8)
    for axes, (name, asked) in zip(every, models.items(), strict=True):
        scores = _scores(asked, grid).reshape(resolution, resolution, -1)
        _draw_regions(axes, x, y, scores)
        draw_points(axes, cloud, groups, size=22 if len(cloud) < 400 else 10)
        axes.set(xlim=(left, right), ylim=(bottom, top), xlabel="$x_1$", ylabel="$x_2$")
        right_ones = (_scores(asked, cloud).argmax(axis=1) == groups).mean()
        told = f"{right_ones:.1%} of {len(cloud)} right"
        axes.set_title(f"{as_label(name)}\n{told}".strip(), fontsize="medium")
    name_classes(figure, [groups], classes)
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
    if isinstance(held := getattr(model, "model", None), Module) and not callable(model):
        model = held
    if not isinstance(model, Module):
        if not callable(model) and hasattr(model, "predict"):
            return array_of(model.predict(rows.astype("float32")), "labels")
        with no_grad():
            return _first(model(tensor(rows.astype("float32"))))
    parameter = next(model.parameters(), None)
    dtype, device = ("float32", None) if parameter is None else (parameter.dtype, parameter.device)
    modes = [(module, module.training) for module in model.modules()]
    try:
        with no_grad():
            return _first(model.eval()(tensor(rows, dtype=dtype, device=device)))
    finally:
        for module, training in modes:
            module.training = training


def _first(outputs: Any) -> Any:
    """The first of what a model gives, as a host array."""
    return array_of(outputs[0] if isinstance(outputs, list | tuple) else outputs, "scores")


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
        with host.errstate(invalid="ignore"):  # of infinite scores
            ahead = host.where(known, scores[..., k] - others, math.nan)
        ahead[host.isinf(ahead)] = math.nan
        if host.nanmin(ahead, initial=1.0) < 0 < host.nanmax(ahead, initial=-1.0):
            axes.contour(x, y, ahead, levels=[0.0], colors="#333333", linewidths=1.0)
