"""Filters as images."""

import math
from typing import TYPE_CHECKING, Any, Literal

from tinygrad_cv.backend import host
from tinygrad_cv.nn import Module
from tinygrad_cv.viz.plots import FADED, SMALL, OptionalPath, array_of, blank_figure, saved

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def filters(
    weight: Any,
    path: OptionalPath = None,
    columns: int | None = None,
    normalize: Literal["each", "all"] = "each",
) -> "Figure":
    """The filters of a convolution as images: what the first layer of a network looks for.

    `weight` is a Tensor or an array of shape (out, in, kh, kw), or the module that has it, such as
    an nn.Conv2d. With three input channels each
    filter is one RGB image; otherwise each (out, in) pair is one grey image, and by default a row
    is a filter and a column an input channel. Values are scaled to 0 (black) up to 1 (white),
    "each" filter (or grey image) by its own least and greatest value, or "all" by those of the
    whole weight. A constant one is grey.

    The rows of a linear classifier are templates: reshape its weight to (classes, 3, 32, 32).

    Raises ValueError for another shape, or for NaN and infinities in the weight, TypeError for a
    module without such a weight of its own.

    Source: the deck "CNN structure and training" of the course: visualize the weights.

    >>> from tinygrad_cv import nn, viz
    >>> figure = viz.filters(nn.Conv2d(3, 16, 5), "filters.png")
    >>> print(figure.axes[0].get_title())
    filters of shape (16, 3, 5, 5),
    each scaled to its own range
    """
    if isinstance(weight, Module):
        weight = _weight_of(weight)
    values = array_of(weight, "weight").astype("float64")
    if values.ndim != 4 or 0 in values.shape:
        raise ValueError(
            "filters are the weight of a convolution, of shape (out, in, kh, kw); got shape "
            f"{values.shape}."
        )
    if normalize not in ("each", "all"):
        raise ValueError(f"normalize is 'each' or 'all'; got {normalize!r}.")
    if columns is not None and columns < 1:
        raise ValueError(f"columns is how many images stand in a row, at least 1; got {columns}.")
    finite = host.isfinite(values)
    if not finite.all():
        first = int(host.argmin(finite.all(axis=(1, 2, 3))))
        raise ValueError(
            f"the weight holds {int((~finite).sum())} values that are NaN or infinite, the first "
            f"in filter {first}; they have no place on a scale from black to white."
        )
    out, channels, height, width = values.shape
    if channels == 3:
        images = values.transpose(0, 2, 3, 1)
        beside = math.ceil(math.sqrt(out))
    else:
        images = values.reshape(out * channels, height, width, 1)
        beside = channels if channels > 1 else math.ceil(math.sqrt(out))
    columns = min(columns or beside, len(images))
    rows = math.ceil(len(images) / columns)
    axis = (1, 2, 3) if normalize == "each" else None
    least, most = images.min(axis, keepdims=True), images.max(axis, keepdims=True)
    span = host.where(most > least, most - least, 1.0)
    scaled = host.where(most > least, (images - least) / span, 0.5)

    # One white line of pixels around each image.
    sheet = host.ones((rows * (height + 1) + 1, columns * (width + 1) + 1, 3))
    for i, image in enumerate(scaled):
        top, left = i // columns * (height + 1) + 1, i % columns * (width + 1) + 1
        sheet[top : top + height, left : left + width] = image

    across = min(8.0, max(3.5, 0.6 * columns))
    figure = blank_figure(across, min(11.0, across * sheet.shape[0] / sheet.shape[1]) + 0.5)
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    axes = figure.subplots()
    axes.imshow(sheet, interpolation="nearest")
    # White filters end at their frames.
    frames = [
        Rectangle(
            (i % columns * (width + 1) + 0.5, i // columns * (height + 1) + 0.5), width, height
        )
        for i in range(len(images))
    ]
    axes.add_collection(PatchCollection(frames, facecolor="none", edgecolor=FADED, lw=0.5))
    axes.spines[:].set_visible(False)
    axes.set(xticks=[], yticks=[])
    if channels not in (1, 3) and columns == channels:
        axes.set(xlabel="input channel", ylabel="filter")
    scale = "each scaled to its own range" if normalize == "each" else "all scaled to one range"
    axes.set_title(f"filters of shape {values.shape},\n{scale}", fontsize=SMALL + 1)
    return saved(figure, path)


def _weight_of(module: Module) -> Any:
    """The weight of a convolution. Raises TypeError that says what another module has."""
    own = dict(module.named_parameters(recurse=False)).get("weight")
    if own is not None and own.ndim == 4:
        return own
    name = type(module).__name__
    inside = [path for path, weight in module.named_parameters() if weight.ndim == 4]
    if inside:
        told = f"it has {len(inside)} inside, such as viz.filters(model{_indexed(inside[0])})"
    else:
        has = [f"{path} {tuple(p.shape)}" for path, p in module.named_parameters()]
        more = f" and {len(has) - 4} more" if len(has) > 4 else ""
        told = f"it has {', '.join(has[:4]) + more if has else 'no parameters'}"
    raise TypeError(
        "filters are the weight of a convolution, of shape (out, in, kh, kw); this "
        f"{name} has no such weight of its own: {told}."
    )


def _indexed(path: str) -> str:
    """A path as Python writes it: ".features[0].weight" for "features.0.weight"."""
    return "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in path.split("."))
