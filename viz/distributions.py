"""Histograms of what the layers of a network give, and of the gradients that they get."""

import math
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from tinygrad_cv._op import REGISTRY
from tinygrad_cv.backend import host
from tinygrad_cv.ops.activation import Activation
from tinygrad_cv.viz.data import Node, Summary, Trace
from tinygrad_cv.viz.layers import by_depth, ends_of, histogram, layer_rows, rows_of_layers
from tinygrad_cv.viz.plots import (
    FADED,
    SMALL,
    OptionalPath,
    as_label,
    blank_figure,
    saved,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = 34  # characters in the title of a small panel


def histograms(
    trace: Any,
    path: OptionalPath = None,
    what: Literal["values", "gradients"] = "values",
    step: int | None = None,
    kind: Literal["op", "parameter"] = "op",
    sharex: bool | None = None,
    limit: int = 12,
) -> "Figure":
    """How the values or the gradients of a network are distributed, layer by layer.

    Of a `Trace`, a panel for each op (or parameter) in the order of computation, with mean and
    standard deviation, the share of zeros, and what is wrong: dead units, saturation, NaN and
    infinities. Two panels below follow mean and standard deviation across the depth.

    In place of a Trace there may be what layers gave: a list of arrays or Tensors, or a mapping of
    titles to these. They stand side by side in one row, as in the deck. Several networks are a
    mapping of titles to such lists or mappings: each has a row. Arguments:

    - what: the "values" that the nodes gave, or the "gradients" ∂L/∂value;
    - step: the number of a recorded step; by default the last;
    - kind: "op" for activations, "parameter" for weights;
    - sharex: draw every panel (of a row) over the same range, as in the deck: a collapse is seen at
      once. By default for arrays;
    - limit: the most panels (in a row). If there are more ops, first those that are neither
      activations nor have parameters are left out, then all but activations; of parameters, those
      with one dimension. What still is too much is thinned evenly. The title says what was left
      out.

    A single number, such as the loss, has no distribution and no panel.

    Raises TypeError for what is neither a Trace nor arrays, KeyError for a step that was not
    recorded, ValueError if there is nothing to plot.

    Source: the deck "training neural networks" of the course: look at the distributions at each
    layer, with the layer's mean and standard deviation.

    >>> from tinygrad_cv import nn, viz
    >>> model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh())
    >>> figure = viz.histograms(viz.trace(model, (100, 8), values=True))
    >>> [axes.get_title(loc="left") for axes in figure.axes]
    ['0 linear', '1 tanh', '2 linear', '3 tanh', 'mean by layer', 'std by layer']

    >>> import tinygrad_cv as tg
    >>> h, layers, generator = tg.randn(100, 50, generator=tg.manual_seed(0)), {}, tg.manual_seed(1)
    >>> for k in range(1, 4):
    ...     h = layers[f"layer {k}"] = tg.tanh(h @ (0.01 * tg.randn(50, 50, generator=generator)))
    >>> figure = viz.histograms({"W = 0.01 · randn": layers}, "collapse.svg")
    >>> print(figure.axes[2].get_xlabel())
    mean 1.11e−06
    std 0.000359
    """
    for name, given, known in [
        ("what", what, ("values", "gradients")),
        ("kind", kind, ("op", "parameter")),
    ]:
        if given not in known:
            raise ValueError(f"{name} is {' or '.join(map(repr, known))}; got {given!r}.")
    if limit < 1:
        raise ValueError(f"limit is the most panels, at least 1; got {limit}.")
    if not isinstance(trace, Trace):
        return saved(layer_rows(rows_of_layers(trace), sharex is not False, limit), path)
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
    ends = ends_of([summaries[node.id] for node in shown])
    for place, (node, axes) in enumerate(zip(shown, panels, strict=False), start=1):
        histogram(axes, summaries[node.id])
        axes.set_title(_where(trace, node), loc="left", fontsize=SMALL, fontweight="bold")
        axes.set_title(str(place), loc="right", fontsize=SMALL, color=FADED)
        if sharex and ends is not None and ends[0] < ends[1]:
            axes.set_xlim(*ends)
    for axes in panels[len(shown) :]:
        axes.remove()
    if depth:
        row = [summaries[node.id] for node in shown]
        by_depth(grid[1].subgridspec(1, 2).subplots(), {"": row}, "panel")
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
    left = [
        f"{count} {as_label(op)}{'s' * (count > 1 and op == 'parameter')}" for op, count in rest[:5]
    ]
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
