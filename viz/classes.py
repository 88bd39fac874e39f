"""Plots of what a classifier says: which classes it takes for which."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinygrad_cv.backend import host
from tinygrad_cv.viz.plots import BLUE, FADED, OptionalPath, array_of, as_label, blank_figure, saved

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CLASSES = 40  # with their numbers and names written out


def confusion_matrix(
    targets: Any,
    predictions: Any,
    classes: Sequence[str] | None = None,
    path: OptionalPath = None,
    normalize: bool = False,
) -> "Figure":
    """Which classes a classifier takes for which: a row is a true class, a column a predicted one.

    `targets` are the true labels, integers of shape (N,); `predictions` are labels (N,) or scores
    (N, C), of which the greatest counts. Both are Tensors, arrays or lists. Without the names
    `classes` a class is called by its number.

    A cell tells how many samples of the row's class were taken for the column's, with `normalize`
    the share of the row in percent; the colour always is the share. At the right stands the
    recall of each class, the share that was found: "–" if the class has no sample. Above
    40 classes colours stand alone.

    Raises ValueError for other shapes, for labels that are no integers or no class, and for scores
    that are NaN.

    >>> from tinygrad_cv import viz
    >>> figure = viz.confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1], classes=["cat", "dog"])
    >>> figure.axes[0].get_title()
    'accuracy 75.0%: 3 of 4'
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['1', '1', '0', '2']
    """
    true, predicted = array_of(targets, "targets"), array_of(predictions, "predictions")
    if true.ndim != 1 or not true.size:
        raise ValueError(f"targets are labels of shape (N,), N ≥ 1; got shape {true.shape}.")
    if predicted.shape[:1] != true.shape or predicted.ndim > 2 or not predicted.size:
        raise ValueError(
            f"predictions are labels ({true.size},) or scores ({true.size}, C), one or one row for "
            f"each target; got shape {predicted.shape}."
        )
    names = None if classes is None else [as_label(name) for name in classes]
    count = None if names is None else len(names)
    if predicted.ndim == 2:
        if count not in (None, predicted.shape[1]):
            raise ValueError(
                f"scores of shape {predicted.shape} are of {predicted.shape[1]} classes; got "
                f"{count} names."
            )
        if (predicted != predicted).any():
            raise ValueError("the scores hold NaN, which is neither greater nor less than others.")
        count = predicted.shape[1]
        predicted = predicted.argmax(1)
    for name, labels in (("targets", true), ("predictions", predicted)):
        if labels.dtype.kind not in "iub":
            raise ValueError(f"labels are integers; got {name} of {labels.dtype}.")
    if count is None:
        count = int(max(true.max(), predicted.max())) + 1
    for name, labels in (("targets", true), ("predictions", predicted)):
        if labels.min() < 0 or labels.max() >= count:
            wrong = int(labels.min() if labels.min() < 0 else labels.max())
            raise ValueError(
                f"there are {count} classes, called 0 to {count - 1}; {name} hold {wrong}."
            )
    places = true.astype("int64") * count + predicted.astype("int64")
    counts = host.bincount(places, minlength=count * count).reshape(count, count)
    totals = counts.sum(1, keepdims=True)
    shares = counts / host.maximum(totals, 1)

    written = count <= MOST_CLASSES
    names = names or [str(i) for i in range(count)]
    longest = max(map(len, names)) if written else 0
    side = min(max(3.0, 0.45 * count), 11.0) if written else 7.0
    figure = blank_figure(side + 1.5 + 0.09 * longest, side + 0.8 + 0.09 * longest)
    from matplotlib.colors import LinearSegmentedColormap

    axes = figure.subplots()
    shading = LinearSegmentedColormap.from_list("share", ["#FFFFFF", BLUE])
    image = axes.imshow(shares, cmap=shading, vmin=0, vmax=1, interpolation="nearest")
    right = int(counts.trace())
    axes.set_title(f"accuracy {right / true.size:.1%}: {right} of {true.size}")
    axes.set(xlabel="predicted class", ylabel="true class")
    if not written:
        figure.colorbar(image, label="share of the true class", shrink=0.8)
        return saved(figure, path)
    if normalize:
        axes.set_xlabel("predicted class (cells: % of the true class)")
    axes.set_xticks(range(count), names, rotation=0 if longest <= 3 else 90)
    axes.set_yticks(range(count), names)
    recall = axes.secondary_yaxis("right")
    found = [f"{shares[i, i]:.1%}" if totals[i, 0] else "–" for i in range(count)]
    recall.set_yticks(range(count), found)
    recall.set_ylabel("recall")
    recall.tick_params(length=0)
    points = 72 * side / count  # of a cell
    for i in range(count):
        for j in range(count):
            told = f"{100 * shares[i, j]:.0f}" if normalize else f"{counts[i, j]}"
            size = min(10.0, 1.3 * points / max(2, len(told)))
            ink = "white" if shares[i, j] > 0.8 else "black" if counts[i, j] else FADED
            axes.text(j, i, told, ha="center", va="center", fontsize=size, color=ink)
    return saved(figure, path)
