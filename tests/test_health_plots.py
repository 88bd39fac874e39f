"""The heatmap of a watched training, and scales that one zero does not switch off."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex

import tinygrad_cv as tg
from tinygrad_cv import nn, optim, viz
from tinygrad_cv.viz.data import Node, Step, Summary, Trace
from tinygrad_cv.viz.heatmaps import BLUE, MAGENTA, NAVY, VERMILION

pytestmark = pytest.mark.host


def trained(steps: int = 4) -> Trace:
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    optimizer, watch = optim.SGD(model.parameters(), lr=0.1), viz.watch(model, every=2)
    for _ in range(2 * steps):
        with watch.step():
            optimizer.zero_grad()
            tg.cross_entropy(model(tg.randn(6, 4)), tg.tensor([0, 1, 2] * 2)).backward()
            optimizer.step()
    return watch.trace


def written(columns: list[dict[str, float | None]], kind: Any = "parameter") -> Trace:
    """A trace of weights with these RMS gradients at each step; None where none was recorded."""
    names = list(columns[0])
    trace = Trace(
        nodes=[
            Node(i, name, kind, kind, name, None, [2, 2], "float32", "cpu", requires_grad=True)
            for i, name in enumerate(names)
        ]
    )
    for number, column in enumerate(columns):
        step = Step(number=number)
        for i, name in enumerate(names):
            rms = column[name]
            if rms is not None:
                nan = int(not math.isfinite(rms))
                step.gradients[i] = Summary(4, 0.0, 1.0, 0.0, 0.0, 2 * rms, nan=nan)
        trace.steps.append(step)
    return trace


def cells(figure: Any) -> Any:
    (image,) = (image for axes in figure.axes for image in axes.images)
    return image.get_array()


def keys(figure: Any) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_a_heatmap_of_each_measure(tmp_path: Any) -> None:
    trace = trained()
    path = tmp_path / "health.svg"
    weights = ["0.weight", "2.weight", "4.weight"]
    for what, expected in {
        "gradient": weights,
        "update": weights,
        "dead": ["1 relu"],
        "saturated": ["3 tanh"],
        "spread": ["0 linear", "1 relu", "2 linear", "3 tanh", "4 linear", "cross_entropy"],
    }.items():
        figure = viz.heatmap(trace, what)  # type: ignore[arg-type]
        loss, rows = figure.axes[:2]
        assert [label.get_text() for label in rows.get_yticklabels()] == expected
        assert cells(figure).shape == (len(expected), len(trace.steps), 4)
        assert [x for line in loss.get_lines() for x in line.get_ydata()] == [
            step.loss for step in trace.steps
        ]
        shown = [rows.xaxis.get_major_formatter()(place, None) for place in range(4)]
        assert shown == ["0", "2", "4", "6"]
        assert not keys(figure)
    viz.heatmap(trace, "gradient", path)
    first = path.read_bytes()
    viz.heatmap(trace, "gradient", path)
    assert path.read_bytes() == first


def test_the_colours_of_a_heatmap() -> None:
    columns = [
        {"a": 1e-12, "b": 1e-4, "c": 1e4},
        {"a": 0.0, "b": math.nan, "c": None},
    ]
    figure = viz.heatmap(written(columns))
    image = cells(figure)
    colours = [[to_hex(cell[:3]).upper() for cell in row] for row in image]
    assert colours[0] == [BLUE, NAVY]
    assert colours[1][1] == MAGENTA
    assert colours[2][0] == VERMILION
    assert image[2, 1, 3] == 0  # through it the hatched ground is seen
    red, _, blue = image[1, 0, :3]
    assert red == pytest.approx(blue, abs=0.01)  # the median is grey
    assert keys(figure) == ["NaN or infinite", "exactly 0", "not recorded"]
    assert figure.axes[-2].patch.get_hatch()


@settings(max_examples=6)
@given(
    st.lists(
        st.sampled_from([0.0, 1e-300, 1e-45, 1e-7, 1.0, 1e30, math.inf, math.nan, None]),
        min_size=1,
        max_size=4,
    )
)
@example([0.0, 1e-300, 1e-45, 1e30, math.inf, math.nan, None])
def test_any_numbers_can_be_drawn(sizes: list[float | None]) -> None:
    trace = written([{"a": size, "b": 1.0} for size in sizes])
    for step, size in zip(trace.steps, sizes, strict=True):
        step.loss = size
    figure = viz.heatmap(trace)
    figure.canvas.draw()
    assert np.isfinite(cells(figure)).all()


def test_the_names_of_a_hundred_layers_do_not_touch() -> None:
    trace = written([dict.fromkeys((f"layers.{i}.weight" for i in range(200)), 1.0)])
    figure = viz.heatmap(trace)
    figure.canvas.draw()
    labels = [label for label in figure.axes[0].get_yticklabels() if label.get_text()]
    boxes = [label.get_window_extent() for label in labels]
    assert len(boxes) >= 100
    assert labels[0].get_fontsize() >= 5
    assert all(a.y0 >= b.y1 - 1 for a, b in pairwise(boxes))


def test_what_broke_is_not_called_unrecorded() -> None:
    trace = trained()
    relu = next(node.id for node in trace.nodes if node.op == "relu")
    trace.steps[-1].values[relu] = Summary(count=48, nan=48)
    assert keys(viz.heatmap(trace, "dead")) == ["NaN or infinite"]


def test_a_heatmap_says_what_is_missing() -> None:
    with pytest.raises(TypeError, match=r"Trace with steps, such as viz.watch\(model\).trace"):
        viz.heatmap([1.0])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'gradient', 'update', 'dead', 'saturated', 'spread'"):
        viz.heatmap(Trace(), "loss")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="it has no numbers at all"):
        viz.heatmap(Trace())
    with pytest.raises(ValueError, match="no 'dead' of any layer; it has 'gradient'"):
        viz.heatmap(written([{"a": 1.0}]), "dead")


# ----- a zero among decades ----------------------------------------------------------------------


def scales(figure: Any) -> dict[str, str]:
    return {
        axes.get_title(loc="left") or axes.get_ylabel(): axes.get_yscale() for axes in figure.axes
    }


def zeros(axes: Any) -> list[float]:
    """Where a triangle at the foot says that a value is exactly 0."""
    feet = (found for found in axes.collections if found.get_offset_transform() != axes.transData)
    return [float(x) for found in feet for x, _ in found.get_offsets()]


def test_one_layer_without_spread_hides_no_vanishing() -> None:
    rng = np.random.default_rng(0)
    layers: list[Any] = [rng.standard_normal((9, 9)) * 10.0**-k for k in range(6)]
    layers[2] = np.zeros((9, 9))
    figure = viz.histograms(layers)
    assert scales(figure)["std by layer"] == "log"
    (axes,) = (axes for axes in figure.axes if axes.get_title(loc="left") == "std by layer")
    assert len(axes.get_lines()) == 1  # the legend is of lines
    assert zeros(axes) == [3.0]
    assert [text.get_text() for text in axes.texts] == ["▾ exactly 0"]
    model = nn.Sequential(*[part for _ in range(8) for part in (nn.Linear(8, 8), nn.Sigmoid())])
    trace = viz.trace(model, (9, 8), values=True, gradients=True)
    first = next(node.id for node in trace.nodes if node.op == "sigmoid")
    trace.steps[0].gradients[first].std = 0.0
    assert scales(viz.histograms(trace, what="gradients"))["std by layer"] == "log"


@settings(max_examples=6)
@given(
    st.lists(
        st.sampled_from([0.0, 1e-30, 1e-3, 1.0, 30.0, math.nan, math.inf, -1.0]),
        min_size=1,
        max_size=6,
    )
)
@example([1.0, 0.0, 1e-30, math.nan, math.inf])
@example([-1.0, 1e-3, 1.0, 0.0])
def test_a_log_scale_is_decided_by_what_has_a_place_on_it(losses: list[float]) -> None:
    figure = viz.curves({"loss": losses}) if losses[0] > 0 else viz.curves(steps=losses)
    figure.canvas.draw()
    (axes,) = figure.axes
    if axes.get_yscale() == "log":
        low, high = axes.get_ylim()
        assert 0 < low < high < math.inf
        drawn = [y for line in axes.get_lines() for y in line.get_ydata()]
        assert min(y for y in drawn if math.isfinite(y)) > 0


def test_losses_that_span_decades_have_a_log_scale() -> None:
    falling = [2.0, 0.1, 1e-3, 1e-5]
    assert viz.curves({"loss": falling}).axes[0].get_yscale() == "log"
    assert viz.curves(steps=falling).axes[0].get_yscale() == "log"
    figure = viz.curves({"loss": [*falling, 0.0], "train_accuracy": [0.001, 0.1, 0.5, 1.0, 1.0]})
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear"]
    assert zeros(figure.axes[0]) == [5.0]
    assert viz.curves({"loss": [2.3, 1.0, 0.3]}).axes[0].get_yscale() == "linear"
    assert viz.curves({"loss": [2.0, 0.0, 1.0]}).axes[0].get_yscale() == "linear"
    assert viz.curves({"loss": [-2.0, 0.1, 1e-3]}).axes[0].get_yscale() == "linear"
    diverged = viz.curves({"loss": [2.0, 1e-3, 1e30]}).axes[0]
    assert diverged.get_yscale() == "log"
    assert diverged.get_ylim()[1] < 10


# ----- filters -----------------------------------------------------------------------------------


def test_a_convolution_has_filters() -> None:
    conv = nn.Conv2d(3, 4, 3)
    module, weight = (viz.filters(part).axes[0].images[0] for part in (conv, conv.weight))
    assert np.array_equal(module.get_array(), weight.get_array())
    for part, told in [
        (nn.Linear(3, 4), r"this Linear has no such weight of its own: it has weight \(4, 3\)"),
        (nn.ReLU(), "it has no parameters"),
        (nn.Sequential(nn.ReLU(), conv), r"1 inside, such as viz.filters\(model\[1\].weight\)"),
        (nn.Conv1d(3, 4, 3), r"this Conv1d .* it has weight \(4, 3, 3\), bias \(4,\)"),
    ]:
        with pytest.raises(TypeError, match=told):
            viz.filters(part)


def test_a_search_that_tried_none_as_well_has_its_decades() -> None:
    """Weight decays 0, 1e-5, …: on a linear axis all but the last would stand at 0."""
    trials = [{"decay": decay, "loss": 1 + decay} for decay in (0.0, 1e-5, 1e-4, 1e-3, 1e-2)]
    figure = viz.search(trials, x="decay", metric="loss", mode="min")
    assert figure.axes[0].get_xscale() == "symlog"
    assert "try" not in figure.get_suptitle()  # nothing is smaller than none
    trials[0]["loss"] = 9.0
    assert "try" not in viz.search(trials, x="decay", metric="loss", mode="min").get_suptitle()
    trials[-1]["loss"] = 0.5
    told = viz.search(trials, x="decay", metric="loss", mode="min").get_suptitle()
    assert "try greater decay" in told
    scores = {"ours": {0: 0.1, 1: 0.3, 10: 0.5, 100: 0.9}}
    assert viz.learning_curve(scores).axes[0].get_xscale() == "symlog"
