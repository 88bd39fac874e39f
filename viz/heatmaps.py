"""The health of all layers over all steps in one picture."""

import math
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from tinygrad_cv.backend import host
from tinygrad_cv.viz.data import Node, Step, Summary, Trace
from tinygrad_cv.viz.plots import (
    BLUE,
    FADED,
    SMALL,
    VERMILION,
    OptionalPath,
    as_label,
    blank_figure,
    legend_below,
    log_scale,
    plain,
    saved,
)
from tinygrad_cv.viz.summarizing import RANGES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

What = Literal["gradient", "update", "dead", "saturated", "spread"]

MAGENTA, NAVY, PALE, NEUTRAL = "#CC79A7", "#00304D", "#F4F4F4", "#EEEEEE"
DECADES = 4, 12  # from the usual size to the full colour: the least, and the most
ROW, TALL = 0.15, 18.0  # inches of a row, and of all rows at most
LABEL = 34  # characters of the name of a layer


class Measure(NamedTuple):
    """What is shown of a node at a step."""

    words: str
    of: Callable[[Step, Node], float | None]
    """The number; None where none is known."""
    share: bool = False
    """Whether it is a share, from none to all; else decades are shown."""
    usual: float | None = None
    """What is in the middle of the colours; by default the median."""


def _rms(told: Summary | None) -> float | None:
    if told is None or (told.finite and told.norm is None):
        return None
    return told.norm / math.sqrt(told.count) if told.finite and told.norm is not None else math.nan


def _dead(told: Summary | None, node: Node) -> float | None:
    """NaN gives no share, and is no unit that was not recorded."""
    broken = told is not None and not told.finite and node.op in ("relu", "relu6")
    return math.nan if broken else None if told is None else told.dead


def _saturated(told: Summary | None, node: Node) -> float | None:
    broken = told is not None and not told.finite and node.op in RANGES
    return math.nan if broken else None if told is None else told.saturated


def _std(told: Summary | None) -> float | None:
    return None if told is None or told.count < 2 else told.std if told.finite else math.nan


MEASURES: dict[str, Measure] = {
    "gradient": Measure(
        "RMS of the gradient of each weight",
        lambda step, node: _rms(step.gradients.get(node.id)) if node.kind == "parameter" else None,
    ),
    "update": Measure(
        "update/weight, 1e-3 being usual", lambda step, node: step.updates.get(node.id), usual=1e-3
    ),
    "dead": Measure(
        "share of units that give 0 for the whole batch",
        lambda step, node: _dead(step.values.get(node.id), node),
        share=True,
    ),
    "saturated": Measure(
        "share within 1 % of an end of the range",
        lambda step, node: _saturated(step.values.get(node.id), node),
        share=True,
    ),
    "spread": Measure(
        "standard deviation of what each op gave",
        lambda step, node: _std(step.values.get(node.id)) if node.kind == "op" else None,
    ),
}


def heatmap(trace: Trace, what: What = "gradient", path: OptionalPath = None) -> "Figure":
    """How healthy each layer was at each recorded step, as a matplotlib figure.

    A row is a layer, those next to the input on top, and a column is a step; the loss stands above,
    on a log scale where it spans decades. `what` is shown:

    - "gradient": √(Σg²/n) of each weight of more than one dimension (of all parameters, if there is
      none), in decades from the median of all: blue is smaller, vermilion larger. A gradient that
      vanishes is a picture that gets blue upwards;
    - "update": ‖update‖ / ‖weight‖ of these, in decades from 1e-3, which is healthy;
    - "dead": of each ReLU the share of units that give 0 for the whole batch;
    - "saturated": of each tanh and sigmoid the share of elements within 1 % of an end of the range;
    - "spread": the standard deviation of what each op gave, in decades from the median of all.

    Magenta is NaN or infinite, dark blue exactly 0, and what was not recorded is hatched. Rows of
    single numbers, such as the loss, are left out.

    Raises TypeError for what is no Trace, ValueError if there is nothing to show.

    Source: the deck "training neural networks" of the course: track the ratio of weight updates to
    weight magnitudes, and the share of dead units.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv import nn, optim, viz
    >>> _ = tg.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> optimizer, watch = optim.SGD(model.parameters(), lr=0.1), viz.watch(model, every=1)
    >>> for _ in range(3):
    ...     with watch.step():
    ...         optimizer.zero_grad()
    ...         tg.cross_entropy(model(tg.randn(8, 2)), tg.tensor([0, 1] * 4)).backward()
    ...         optimizer.step()
    >>> figure = viz.heatmap(watch.trace, "gradient", "health.png")
    >>> [label.get_text() for label in figure.axes[1].get_yticklabels()]
    ['0.weight', '2.weight']
    """
    if not isinstance(trace, Trace):
        raise TypeError(
            "a heatmap is made of a Trace with steps, such as viz.watch(model).trace; got "
            f"{type(trace).__name__}."
        )
    if what not in MEASURES:
        raise ValueError(f"what is one of {', '.join(map(repr, get_args(What)))}; got {what!r}.")
    measure = MEASURES[what]
    rows = _rows(trace, measure)
    if not rows:
        known = [name for name, other in MEASURES.items() if _rows(trace, other)]
        told = f"it has {', '.join(map(repr, known))}" if known else "it has no numbers at all"
        raise ValueError(
            f"there is nothing to show: this trace has no {what!r} of any layer; {told}. Record "
            "the training with viz.watch(model), and do each step inside `with watch.step():`."
        )
    cells = host.asarray(
        [
            [math.inf if (x := measure.of(step, node)) is None else x for step in trace.steps]
            for node in rows
        ],
        dtype="float64",
    )  # infinity stands for what is not known; an infinite number is NaN here
    cells[host.isneginf(cells)] = math.nan
    losses = [math.nan if step.loss is None else step.loss for step in trace.steps]
    with_loss = any(map(math.isfinite, losses))
    height = min(TALL, max(1.2, ROW * len(rows)))
    width = max(6.0, min(13.0, 3.5 + 0.06 * len(trace.steps)))
    figure = blank_figure(width, height + 1.3 * with_loss + 1.0)
    panels = figure.subplots(
        1 + with_loss,
        1,
        sharex=True,
        squeeze=False,
        height_ratios=[1.2, height] if with_loss else [1],
    )[:, 0]
    if with_loss:
        _draw_loss(panels[0], losses)
    _draw_cells(figure, panels[-1], cells, measure)
    _name(panels[-1], trace, rows, height)
    model = f"{as_label(trace.title)}: " if trace.title else ""
    panels[0].set_title(f"{model}{measure.words}", fontsize="medium", loc="left")
    return saved(figure, path)


def _rows(trace: Trace, measure: Measure) -> list[Node]:
    """The nodes of which anything is known: of parameters the weights, if there are some."""
    nodes = [
        node
        for node in trace.nodes
        if math.prod(node.shape) > 1
        and any(measure.of(step, node) is not None for step in trace.steps)
    ]
    weights = [node for node in nodes if node.kind == "parameter" and len(node.shape) > 1]
    return weights or nodes


def _draw_loss(axes: "Axes", losses: list[float]) -> None:
    drawn = [x if math.isfinite(x) else math.nan for x in losses]
    marker = "" if len(drawn) > 60 else "."
    axes.plot(range(len(drawn)), drawn, color=FADED, lw=1.2, marker=marker)
    axes.set_ylabel("loss", fontsize=SMALL)
    axes.tick_params(labelsize=SMALL, which="both", labelbottom=False)
    log_scale(axes, drawn, decades=2)
    plain(axes, grid="y")


def _draw_cells(figure: "Figure", axes: "Axes", cells: Any, measure: Measure) -> None:
    """The cells as an image over a hatched ground, with a bar for the colours."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize, to_rgba
    from matplotlib.patches import Patch

    known = host.isfinite(cells)
    sizes = cells[known & (cells > 0)]
    if measure.share:
        colours = LinearSegmentedColormap.from_list("share", [NEUTRAL, VERMILION])
        scale: Normalize = Normalize(0, 1)
    else:
        middle = measure.usual or (float(median(sizes)) if sizes.size else 1.0)
        colours = LinearSegmentedColormap.from_list("decades", [BLUE, NEUTRAL, VERMILION])
        far = abs(host.log10(sizes / middle)).max() if sizes.size else 0.0
        factor = 10 ** min(max(far, DECADES[0]), DECADES[1])
        scale = LogNorm(middle / factor, middle * factor, clip=True)
    image = host.zeros((*cells.shape, 4))  # what is not known is transparent
    shown = known if measure.share else known & (cells > 0)
    image[shown] = colours(scale(cells[shown]))
    none = known & (cells == 0) & (not measure.share)
    broken = host.isnan(cells)
    image[none], image[broken] = to_rgba(NAVY), to_rgba(MAGENTA)
    axes.set_facecolor(PALE)
    axes.patch.set(hatch="////", edgecolor="#BBBBBB", lw=0)
    axes.imshow(image, aspect="auto", interpolation="nearest")
    bar = figure.colorbar(ScalarMappable(scale, colours), ax=axes, pad=0.01, fraction=0.04)
    bar.ax.tick_params(labelsize=SMALL)
    if measure.share:
        bar.ax.yaxis.set_major_formatter("{x:.0%}")
    keys = [
        (broken.any(), Patch(color=MAGENTA, label="NaN or infinite")),
        (none.any(), Patch(color=NAVY, label="exactly 0")),
        (
            host.isposinf(cells).any(),
            Patch(facecolor=PALE, edgecolor="#BBBBBB", hatch="////", label="not recorded"),
        ),
    ]
    if handles := [patch for there, patch in keys if there]:
        legend_below(figure, handles)


def _name(axes: "Axes", trace: Trace, rows: list[Node], height: float) -> None:
    """The names of the layers, as many as can be read, and the numbers of the steps."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    every = math.ceil(0.11 * len(rows) / height)  # inches that a name needs
    places = range(0, len(rows), every)
    size = min(SMALL, 72 * 0.9 * height / len(rows) * every)
    names = [_name_of(trace, rows[place]) for place in places]
    axes.set_yticks(places, names, fontsize=size)
    numbers = [step.number for step in trace.steps]
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.xaxis.set_major_formatter(
        FuncFormatter(
            lambda x, _: (
                f"{numbers[round(x)]:,}"
                if 0 <= round(x) < len(numbers) and abs(x - round(x)) < 1e-6
                else ""
            )
        )
    )
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.set_xlabel("step", fontsize=SMALL)
    axes.spines[:].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _name_of(trace: Trace, node: Node) -> str:
    """ "features.3.weight"; of an op its module and itself."""
    if node.kind == "parameter" or node.module is None:
        return as_label(node.name or node.op, LABEL, keep="end")
    module = trace.modules[node.module]
    call = f" (call {module.call + 1})" if module.call else ""
    return as_label(f"{module.path or module.type} {node.op}{call}", LABEL, keep="end")
