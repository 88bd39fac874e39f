"""Histograms of what the layers of a network give, and of the gradients that they get."""

import math
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from tinygrad_cv._op import REGISTRY
from tinygrad_cv.backend import host
from tinygrad_cv.ops.activation import Activation
from tinygrad_cv.viz.data import Node, Summary, Trace
from tinygrad_cv.viz.plots import (
    BLUE,
    FADED,
    SMALL,
    VERMILION,
    WARNING,
    OptionalPath,
    as_label,
    blank_figure,
    number,
    plain,
    saved,
    spans_decades,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = 34  # characters in the title of a small panel


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
    figure = blank_figure(max(5.0, 2.5 * columns), 1.7 * rows + 2.2 * depth + 0.5)
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
    model = f"{as_label(trace.title)}: " if trace.title else ""
    when = f" at step {seen[0].number}" if len(trace.steps) > 1 else ""
    figure.suptitle(f"{model}{what} of {kind}s{when}{choice}", fontsize="medium", wrap=True)
    return saved(figure, path)


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
    left = [f"{count} {as_label(op)}" for op, count in rest[:5]]
    if len(rest) > 5:
        left.append(f"{sum(count for _, count in rest[5:])} more")
    return shown, f", {len(shown)} of {len(found)} ({words})\nleft out: {', '.join(left)}"


def _where(trace: Trace, node: Node) -> str:
    """The module path and the op of a node, the end of the path being what tells most."""
    if node.kind == "parameter":
        return as_label(node.name or f"%{node.id}", TITLE, keep="end")
    module = None if node.module is None else trace.modules[node.module]
    path = node.name if module is None else module.path
    call = f" (call {module.call + 1})" if module is not None and module.call else ""
    op = f"{as_label(node.op, 16)}{call}"
    return f"{as_label(path, TITLE - len(op), keep='end')} {op}".strip()


def _histogram(axes: "Axes", told: Summary) -> None:
    """One panel: the bins of a summary, and what else it tells."""
    plain(axes)
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
        lines.append(f"mean {number(told.mean)}, std {number(told.std)}")
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
        if spans_decades(heights):
            axes.set_yscale("log")
        plain(axes, grid="y")
