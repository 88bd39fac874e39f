"""Plots of training: curves, histograms, filters, confusion matrices, searches.

Each returns a matplotlib Figure and opens no window. With a `path` (.svg or .png) it saves the
figure too, whole or not at all, and the same data gives the same bytes.
"""

import io
import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from tinygrad_cv._op import REGISTRY
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.ops.activation import Activation
from tinygrad_cv.storage import write
from tinygrad_cv.viz.data import Node, Summary, Trace
from tinygrad_cv.viz.render import FORMATS, PNG_DPI, check_path
from tinygrad_cv.viz.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OptionalPath = str | os.PathLike[str] | None

# Blue and vermilion differ for every kind of colour vision (Okabe and Ito, 2008), and the markers
# differ too. WARNING is vermilion that is dark enough for small type.
BLUE, VERMILION, WARNING, FADED, GRID = "#0072B2", "#D55E00", "#B34700", "#666666", "#DDDDDD"
SMALL = 8  # points of the type in a panel among many
NAME = 24  # characters of a name that the user gave
TITLE = 34  # characters in the title of a small panel

# What `curves` plots: (key of the history, label, panel, colour, marker).
SERIES = (
    ("loss", "training", "loss", BLUE, "o"),
    ("val_loss", "validation", "loss", VERMILION, "s"),
    ("train_accuracy", "training", "accuracy", BLUE, "o"),
    ("val_accuracy", "validation", "accuracy", VERMILION, "s"),
)


def curves(history: Mapping[str, Sequence[float | None]], path: OptionalPath = None) -> "Figure":
    """The losses and the accuracies of a training run, epoch by epoch, as a matplotlib figure.

    `history` holds one number per epoch under "loss", "val_loss", "train_accuracy" and
    "val_accuracy"; what it lacks is left out, and None or NaN leaves a hole. Accuracies are
    fractions, from 0 to 1. With a `path` (.svg or .png) the figure is saved as well, and the same
    history gives the same bytes. No window is opened.

    What lies between training and validation is shaded, and the title tells that generalization
    gap after the last epoch that has both: training minus validation for accuracies, validation
    minus training for losses. A big gap is overfitting: regularize more. No gap: the model could
    be larger.

    Raises ValueError if there is nothing to plot, or if the lengths differ.

    Source: the deck "training neural networks" of the course: monitor and visualize the accuracy.

    >>> from tinygrad_cv import viz
    >>> history = {"loss": [2.3, 0.9], "train_accuracy": [0.4, 0.8], "val_accuracy": [0.5, 0.7]}
    >>> [axes.get_ylabel() for axes in viz.curves(history, "curves.svg").axes]
    ['loss', 'accuracy']
    >>> viz.curves(history).axes[1].get_title()
    'generalization gap: 10.0 percentage points'
    """
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
    panels = list(dict.fromkeys(panel for _, _, panel, _, _ in series))
    figure = _figure(5 * len(panels), 3.6)
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    for panel, axes in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
        drawn = []
        for key, label, where, colour, marker in series:
            if where == panel:
                drawn.append([math.nan if v is None else float(v) for v in history[key]])
                axes.plot(
                    range(1, epochs + 1), drawn[-1], color=colour, marker=marker, ms=4, label=label
                )
        if len(drawn) == 2:
            axes.fill_between(range(1, epochs + 1), *drawn, color=VERMILION, alpha=0.12, lw=0)
            axes.set_title(_gap(panel, *drawn), fontsize="medium")
        axes.set(xlabel="epoch", ylabel=panel)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _plain(axes, grid="y")
        axes.legend(frameon=False)
        if panel == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    return _saved(figure, path)


def _gap(panel: str, training: list[float], validation: list[float]) -> str:
    """The generalization gap in words; "" if no epoch has both numbers."""
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


# ----- histograms --------------------------------------------------------------------------------


def histograms(
    trace: Trace,
    path: OptionalPath = None,
    what: Literal["values", "gradients"] = "values",
    step: int | None = None,
    kind: Literal["op", "parameter"] = "op",
    sharex: bool = False,
    limit: int = 12,
) -> "Figure":
    """How the values or the gradients of a `Trace` are distributed, layer by layer.

    A panel for each op (or parameter) in the order of computation, with mean and standard
    deviation, the share of zeros, and what is wrong: dead units, saturation, NaN and infinities.
    Two panels below follow mean and standard deviation across the depth. Arguments:

    - what: the "values" that the nodes gave, or the "gradients" ∂L/∂value;
    - step: the number of a recorded step; by default the last;
    - kind: "op" for activations, "parameter" for weights;
    - sharex: draw every panel over the same range, as in the deck: a collapse is seen at once;
    - limit: the most panels. If there are more ops, first those that are neither activations nor
      have parameters are left out, then all but activations; of parameters, those with one
      dimension. What still is too much is thinned evenly. The title says what was left out.

    A single number, such as the loss, has no distribution and no panel.

    Raises TypeError for anything but a Trace, KeyError for a step that was not recorded,
    ValueError if there is nothing to plot.

    Source: the deck "training neural networks" of the course: look at the distributions at each
    layer, with the layer's mean and standard deviation.

    >>> from tinygrad_cv import nn, viz
    >>> model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh())
    >>> figure = viz.histograms(viz.trace(model, (100, 8), values=True))
    >>> [axes.get_title(loc="left") for axes in figure.axes]
    ['0 linear', '1 tanh', '2 linear', '3 tanh', 'mean by layer', 'std by layer']
    """
    if not isinstance(trace, Trace):
        raise TypeError(
            "histograms are drawn from a Trace, such as viz.trace(model, x, values=True) or "
            f"viz.watch(model).trace; got {type(trace).__name__}."
        )
    for name, given, known in [
        ("what", what, ("values", "gradients")),
        ("kind", kind, ("op", "parameter")),
    ]:
        if given not in known:
            raise ValueError(f"{name} is {' or '.join(map(repr, known))}; got {given!r}.")
    if limit < 1:
        raise ValueError(f"limit is the most panels, at least 1; got {limit}.")
    seen = (trace if step is None else trace.at(step)).steps[-1:]
    summaries: dict[int, Summary] = getattr(seen[0], what) if seen else {}
    found = [
        node
        for node in trace.nodes
        if node.kind == kind
        and (told := summaries.get(node.id)) is not None
        and told.count > 1
        and (told.histogram or not told.finite)
    ]
    if not found:
        raise ValueError(
            f"there is nothing to plot: no {kind} of this trace has a summary of its {what}. Make "
            f"the trace with viz.trace(..., {what}=True), or with viz.watch(model)."
        )
    shown, choice = _chosen(trace, found, limit)
    columns = min(4, len(shown))
    rows = math.ceil(len(shown) / columns)
    depth = len(shown) > 1
    figure = _figure(max(5.0, 2.5 * columns), 1.7 * rows + 2.2 * depth + 0.5)
    grid = figure.add_gridspec(2 if depth else 1, 1, height_ratios=[1.7 * rows, 2.2][: 1 + depth])
    panels = grid[0].subgridspec(rows, columns).subplots(squeeze=False).ravel()
    ends = [end for node in shown for end in (summaries[node.id].min, summaries[node.id].max)]
    known_ends = [end for end in ends if end is not None]
    for place, (node, axes) in enumerate(zip(shown, panels, strict=False), start=1):
        _histogram(axes, summaries[node.id])
        axes.set_title(_where(trace, node), loc="left", fontsize=SMALL, fontweight="bold")
        axes.set_title(str(place), loc="right", fontsize=SMALL, color=FADED)
        if sharex and min(known_ends) < max(known_ends):
            axes.set_xlim(min(known_ends), max(known_ends))
    for axes in panels[len(shown) :]:
        axes.remove()
    if depth:
        _by_depth(grid[1].subgridspec(1, 2).subplots(), [summaries[node.id] for node in shown])
    model = f"{_label(trace.title)}: " if trace.title else ""
    when = f" at step {seen[0].number}" if len(trace.steps) > 1 else ""
    figure.suptitle(f"{model}{what} of {kind}s{when}{choice}", fontsize="medium", wrap=True)
    return _saved(figure, path)


def _chosen(trace: Trace, found: list[Node], limit: int) -> tuple[list[Node], str]:
    """At most `limit` of the nodes, and in words what they are and what was left out."""
    if len(found) <= limit:
        return found, ""

    def parametrized(node: Node) -> bool:
        sources = [operand.source for operand in node.inputs if operand.source is not None]
        return any(trace.nodes[source].kind == "parameter" for source in sources)

    def activates(node: Node) -> bool:
        return node.op in REGISTRY and issubclass(REGISTRY[node.op], Activation)

    choices: list[tuple[str, Callable[[Node], bool]]] = [
        ("activations and layers with parameters", lambda n: activates(n) or parametrized(n)),
        ("activations", activates),
        ("of more than one dimension", lambda n: n.kind == "parameter" and len(n.shape) > 1),
    ]
    shown, words = found, ""
    for told, chosen in choices:
        if len(shown) > limit and (fewer := [node for node in found if chosen(node)]):
            shown, words = fewer, told
    if len(shown) > limit:
        places = host.linspace(0, len(shown) - 1, limit).round().astype(int).tolist()
        shown, words = [shown[i] for i in places], f"{words}, evenly spaced".removeprefix(", ")
    kept = {node.id for node in shown}
    rest = Counter(node.op for node in found if node.id not in kept).most_common()
    left = [f"{count} {_label(op)}" for op, count in rest[:5]]
    if len(rest) > 5:
        left.append(f"{sum(count for _, count in rest[5:])} more")
    return shown, f", {len(shown)} of {len(found)} ({words})\nleft out: {', '.join(left)}"


def _where(trace: Trace, node: Node) -> str:
    """The module path and the op of a node, the end of the path being what tells most."""
    if node.kind == "parameter":
        return _label(node.name or f"%{node.id}", TITLE, keep="end")
    module = None if node.module is None else trace.modules[node.module]
    path = node.name if module is None else module.path
    call = f" (call {module.call + 1})" if module is not None and module.call else ""
    op = f"{_label(node.op, 16)}{call}"
    return f"{_label(path, TITLE - len(op), keep='end')} {op}".strip()


def _histogram(axes: "Axes", told: Summary) -> None:
    """One panel: the bins of a summary, and what else it tells."""
    _plain(axes)
    axes.tick_params(labelsize=SMALL)
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=3)
    lines, wrong = [], []
    if told.histogram and told.min is not None and told.max is not None:
        bins = len(told.histogram)
        edges = host.linspace(told.min, told.max, bins + 1)
        if told.min == told.max:  # all are in the middle bin, which that value is the middle of
            edges = (
                told.min + (abs(told.min) or 1.0) * (host.arange(bins + 1) - bins // 2 - 0.5) / bins
            )
        # A bin narrower than a pixel is still seen by its edge.
        axes.stairs(told.histogram, edges, fill=True, facecolor=BLUE, edgecolor=BLUE, lw=0.8)
        lines.append(f"mean {_number(told.mean)}, std {_number(told.std)}")
    else:
        axes.set_xticks([])
        wrong.append("no finite element")
    for share, name in [(told.zeros, "zeros"), (told.dead, "dead"), (told.saturated, "saturated")]:
        if share:
            (wrong if share >= 0.5 and name != "zeros" else lines).append(f"{share:.0%} {name}")
    wrong += [f"{n} {name}" for n, name in [(told.nan, "NaN"), (told.inf, "infinite")] if n]
    axes.set_xlabel("\n".join([*lines[:1], ", ".join(lines[1:])]).strip(), fontsize=SMALL)
    if wrong:
        axes.set_ylim(0, (1 + 0.25 * len(wrong)) * (max(told.histogram, default=0) or 1))
        axes.text(
            0.98,
            0.95,
            "\n".join(wrong),
            transform=axes.transAxes,
            ha="right",
            va="top",
            color=WARNING,
            fontsize=SMALL,
            fontweight="bold",
        )


def _by_depth(panels: Any, told: list[Summary]) -> None:
    """Mean and standard deviation of each panel above, by its number."""
    from matplotlib.ticker import MaxNLocator

    for axes, name, colour, marker in zip(
        panels, ("mean", "std"), (BLUE, VERMILION), "os", strict=True
    ):
        heights = [math.nan if (v := getattr(s, name)) is None else v for s in told]
        axes.plot(range(1, len(told) + 1), heights, color=colour, marker=marker, ms=4)
        axes.set_title(f"{name} by layer", loc="left", fontsize=SMALL, fontweight="bold")
        axes.set_xlabel("panel", fontsize=SMALL)
        axes.tick_params(labelsize=SMALL)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if _spans_decades(heights):
            axes.set_yscale("log")
        _plain(axes, grid="y")


# ----- filters -----------------------------------------------------------------------------------


def filters(
    weight: Any,
    path: OptionalPath = None,
    columns: int | None = None,
    normalize: Literal["each", "all"] = "each",
) -> "Figure":
    """The filters of a convolution as images: what the first layer of a network looks for.

    `weight` is a Tensor or an array of shape (out, in, kh, kw). With three input channels each
    filter is one RGB image; otherwise each (out, in) pair is one grey image, and by default a row
    is a filter and a column an input channel. Values are scaled to 0 (black) up to 1 (white),
    "each" filter (or grey image) by its own least and greatest value, or "all" by those of the
    whole weight. A constant one is grey.

    The rows of a linear classifier are templates: reshape its weight to (classes, 3, 32, 32).

    Raises ValueError for another shape, or for NaN and infinities in the weight.

    Source: the deck "CNN structure and training" of the course: visualize the weights.

    >>> from tinygrad_cv import nn, viz
    >>> figure = viz.filters(nn.Conv2d(3, 16, 5).weight, "filters.png")
    >>> print(figure.axes[0].get_title())
    filters of shape (16, 3, 5, 5),
    each scaled to its own range
    """
    values = _array(weight, "weight").astype("float64")
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
    figure = _figure(across, min(11.0, across * sheet.shape[0] / sheet.shape[1]) + 0.5)
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
    return _saved(figure, path)


# ----- confusion matrix --------------------------------------------------------------------------

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
    true, predicted = _array(targets, "targets"), _array(predictions, "predictions")
    if true.ndim != 1 or not true.size:
        raise ValueError(f"targets are labels of shape (N,), N ≥ 1; got shape {true.shape}.")
    if predicted.shape[:1] != true.shape or predicted.ndim > 2 or not predicted.size:
        raise ValueError(
            f"predictions are labels ({true.size},) or scores ({true.size}, C), one or one row for "
            f"each target; got shape {predicted.shape}."
        )
    names = None if classes is None else [_label(name) for name in classes]
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
    figure = _figure(side + 1.5 + 0.09 * longest, side + 0.8 + 0.09 * longest)
    from matplotlib.colors import LinearSegmentedColormap

    axes = figure.subplots()
    shading = LinearSegmentedColormap.from_list("share", ["#FFFFFF", BLUE])
    image = axes.imshow(shares, cmap=shading, vmin=0, vmax=1, interpolation="nearest")
    right = int(counts.trace())
    axes.set_title(f"accuracy {right / true.size:.1%}: {right} of {true.size}")
    axes.set(xlabel="predicted class", ylabel="true class")
    if not written:
        figure.colorbar(image, label="share of the true class", shrink=0.8)
        return _saved(figure, path)
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
    return _saved(figure, path)


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

    figure = _figure(6.0, 4.4)
    axes = figure.subplots()
    vertical = metric if y is None else y
    for name, axis, scale in (
        (x, axes.xaxis, axes.set_xscale),
        (vertical, axes.yaxis, axes.set_yscale),
    ):
        axis.set_label_text(_label(name))
        if _spans_decades(values[name]):
            scale("log")
    _plain(axes, grid="both")

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
            norm = "log" if _spans_decades(scores) else None
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
            figure.colorbar(points, label=_label(metric))
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
        at = ", ".join(f"{_label(name)} {values[name][best]:.3g}" for name in names)
        told = f"best {_label(metric)} {scores[best]:.3g} at {at}"
        beyond = [
            f"{side} {_label(name)}" for name in names if (side := _border(values[name], best))
        ]
        if beyond:
            ink = WARNING
            told += f"\non the border of what was searched: try {' and '.join(beyond)}"
    figure.suptitle(told, fontsize="medium", color=ink, wrap=True)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return _saved(figure, path)


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
    scale = host.log10(values) if _spans_decades(values) else host.asarray(values)
    least, most = scale.min(), scale.max()
    place = (scale[best] - least) / (most - least) if least < most else 0.5
    return "greater" if place >= 1 - BORDER else "smaller" if place <= BORDER else ""


def learning_rates(
    rates: Sequence[float], losses: Sequence[float], path: OptionalPath = None
) -> "Figure":
    """Loss against learning rate, from a learning-rate range test: train a few steps, each with a
    greater rate, and note the loss.

    Two rates are marked: where the loss falls most steeply, a rate to begin with, and where it
    diverges: the first loss that is NaN, infinite or greater than three times the first one. The
    slope at a point is that of the line fitted to log10(rate) and the losses around it, a tenth of
    all and at least three. Losses beyond the divergence are cut off.

    Raises ValueError if the lengths differ, for fewer than three points, and if the rates are not
    positive and increasing.

    Source: the deck "training neural networks" of the course: a cost above three times the
    original one has exploded.

    >>> from tinygrad_cv import viz
    >>> figure = viz.learning_rates([1e-4, 1e-3, 1e-2, 1e-1, 1], [2.3, 2.2, 1.5, 1.2, float("nan")])
    >>> figure.axes[0].get_title()
    'steepest descent at 0.01, divergence at 1'
    """
    xs, ys = [float(rate) for rate in rates], [float(loss) for loss in losses]
    if len(xs) != len(ys) or len(xs) < 3:
        raise ValueError(
            f"each rate needs one loss, of three rates or more; got {len(xs)} rates and {len(ys)} "
            "losses."
        )
    if not all(0 < a < b < math.inf for a, b in pairwise(xs)):
        raise ValueError(
            "the rates of a range test are positive and increase from step to step; sort them, "
            "with their losses."
        )
    end = next((i for i, loss in enumerate(ys) if _diverged(loss, ys[0])), None)
    steepest = _steepest(xs[:end], ys[:end])

    figure = _figure(5.5, 3.8)
    axes = figure.subplots()
    axes.plot(xs, ys, color=BLUE, marker="o", ms=3, lw=1.2)
    axes.set(xlabel="learning rate", ylabel="loss", xscale="log")
    _plain(axes, grid="both")
    told = []
    if steepest is not None:
        axes.axvline(xs[steepest], color=FADED, ls="--", lw=1.2, label="steepest descent")
        axes.plot(xs[steepest], ys[steepest], "D", color="#009E73", ms=8, zorder=3)
        told.append(f"steepest descent at {xs[steepest]:.3g}")
    if end is not None:
        axes.axvline(xs[end], color=VERMILION, lw=1.8, label="divergence")
        told.append(f"divergence at {xs[end]:.3g}")
        before = [*ys[:end], 3.3 * ys[0]]
        low, high = min(before), max(before)
        if low < high < math.inf:
            axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    axes.set_title(", ".join(told) or "the loss neither falls nor diverges", fontsize="medium")
    if told:
        axes.legend(frameon=False)
    return _saved(figure, path)


def _diverged(loss: float, first: float) -> bool:
    return not math.isfinite(loss) or loss > 3 * first > 0


def _steepest(rates: list[float], losses: list[float]) -> int | None:
    """Where the fitted slope is the most negative; None if the loss never falls."""
    around = max(1, len(rates) // 20)
    slopes = {}
    for i in range(around, len(rates) - around):
        x = host.log10(rates[i - around : i + around + 1])
        y = host.asarray(losses[i - around : i + around + 1])
        slopes[i] = float((x - x.mean()) @ (y - y.mean()) / ((x - x.mean()) @ (x - x.mean())))
    falling = {i: slope for i, slope in slopes.items() if slope < 0}
    return min(falling, key=falling.__getitem__, default=None)


# ----- what all plots share ----------------------------------------------------------------------


def _figure(width: float, height: float) -> "Figure":
    """An empty figure (inches) that makes room for all its text."""
    try:
        from matplotlib import figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "plots are drawn with matplotlib; run pip install 'tinygrad_cv[viz]'.",
            name=error.name,
        ) from error
    return figure.Figure(figsize=(width, height), layout="constrained")


def _saved(figure: "Figure", path: OptionalPath) -> "Figure":
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


def _plain(axes: "Axes", grid: Literal["", "y", "both"] = "") -> None:
    """No frame at the top and at the right, and perhaps faint lines behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=GRID)


def _label(value: Any, limit: int = NAME, keep: Literal["start", "end"] = "start") -> str:
    """What the user named, as one short line in which matplotlib finds no mathematics."""
    words = " ".join(str(value).split())
    way = -1 if keep == "end" else 1
    line = one_line(words[::way], limit)[::way]
    return line.replace("$", r"\$")


def _number(value: float | None) -> str:
    """A number in three digits."""
    return "–" if value is None else f"{value:.3g}".replace("-", "−")


def _spans_decades(values: Sequence[float]) -> bool:
    """Whether the finite values are positive and span more than a decade."""
    finite = [value for value in values if math.isfinite(value)]
    return bool(finite) and 0 < 10 * min(finite) < max(finite)


def _array(value: Any, name: str) -> Any:
    """A Tensor of any device, an array or nested lists as a host array."""
    if isinstance(value, Tensor):
        return value.detach().numpy()
    try:
        return host.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be a Tensor, an array or nested lists: {error}.") from error
