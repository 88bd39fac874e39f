"""Plots of runs and steps, points, boundaries, surfaces, layers, layouts and scores."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import tinygrad_cv as tg
from tinygrad_cv import data, nn, optim, train, viz

host = pytest.mark.host

RECORDS = [
    {"loss": 2.25, "train_accuracy": 0.25, "lr": 0.1},
    {"loss": 1.0, "train_accuracy": 0.75, "lr": 0.1, "val_loss": 1.5, "val_accuracy": 0.5},
]
RNG = np.random.default_rng(0)
CLOUD, LABELS = RNG.standard_normal((30, 2)), [0, 1, 2] * 10


def bowl(x: Any, y: Any) -> Any:
    return (x**2 + 50 * y**2) / 2


DRAWINGS: dict[str, Callable[[Path], Figure]] = {
    "several runs": lambda path: viz.curves(
        {"a": RECORDS, "W" * 60: RECORDS, "c": []}, path, steps={"a": [2.3, 1.0, math.nan]}
    ),
    "scatter": lambda path: viz.scatter({"a": CLOUD, "W" * 40: 9 * CLOUD + 4}, LABELS, path),
    "boundary": lambda path: viz.decision_boundary(
        {"a": lambda x: x[:, 0], "$b": lambda x: x @ tg.tensor([[1.0, 2.0, 0.5]] * 2)},
        CLOUD, LABELS, path, resolution=20, classes=["$", "W" * 50, "c"],
    ),
    "contours": lambda path: viz.contours(
        bowl, {"a$": [(-4, 1), (0, 0)], "b": [(-4, 1), (-3, -9)]}, path, resolution=20
    ),
    "layers": lambda path: viz.histograms({"W" * 50: [CLOUD, 3 * CLOUD], "b": [CLOUD]}, path),
    "layouts": lambda path: viz.grid_against_random(
        path=path, generator=np.random.default_rng(0)
    ),
    "bars": lambda path: viz.bars({"a": [0.5, 0.75], "W" * 50: 0.25, "none": None}, path),
    "learning curve": lambda path: viz.learning_curve({"a": {1: [0.5, 0.75], 20: 0.9}}, path),
}  # fmt: skip


@host
@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_plots_are_whole_and_come_again(draw: Callable[[Path], Figure], tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    figure = draw(path)
    first = path.read_bytes()
    draw(path)
    assert path.read_bytes() == first
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert 0 <= box.x0 < box.x1 <= width, "cut at a side"
    assert 0 <= box.y0 < box.y1 <= height, "cut at the top or the bottom"
    with pytest.raises(ValueError, match=r"one of \.svg, \.png; got"):
        draw(tmp_path / "plot.pdf")


# ----- runs --------------------------------------------------------------------------------------


def lines(figure: Figure) -> dict[tuple[str, str], list[float]]:
    """What is drawn, by the panel and the label of the line."""
    return {
        (axes.get_ylabel(), str(line.get_label())): [*map(float, line.get_ydata())]
        for axes in figure.axes
        for line in axes.get_lines()
    }


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@host
def test_a_history_has_many_forms(tmp_path: Path) -> None:
    columns = {
        key: [record.get(key) for record in RECORDS]
        for key in ("loss", "val_loss", "train_accuracy", "val_accuracy")
    }
    (tmp_path / "metrics.json").write_text(json.dumps({"seed": 0, "epochs": RECORDS}))
    (tmp_path / "run.csv").write_text(
        "epoch,step,loss,train_accuracy,lr,val_loss,val_accuracy\n"
        "0,2,2.25,0.25,0.1,,\n1,4,1.0,0.75,0.1,1.5,0.5\n"
    )
    forms = [
        SimpleNamespace(history_=RECORDS),
        RECORDS, tuple(RECORDS), columns, SimpleNamespace(history=RECORDS),
        tmp_path / "metrics.json", str(tmp_path / "run.csv"),
        {key: np.array([math.nan if v is None else v for v in column])
         for key, column in columns.items()},
    ]  # fmt: skip
    expected = {
        ("loss", "training"): [2.25, 1.0],
        ("loss", "validation"): [math.nan, 1.5],
        ("accuracy", "training"): [0.25, 0.75],
        ("accuracy", "validation"): [math.nan, 0.5],
    }
    for form in forms:
        np.testing.assert_equal(lines(viz.curves(form)), expected)
    several = viz.curves({"first": RECORDS, "second": forms[5], "third": columns})
    assert legend(several) == ["first", "second", "third", "training", "validation"]
    assert legend(viz.curves([RECORDS, columns]))[:2] == ["run 1", "run 2"]
    colours = [line.get_color() for line in several.axes[0].get_lines()]
    assert colours[::2] == colours[1::2]
    assert len({*colours}) == 3
    assert [line.get_linestyle() for line in several.axes[0].get_lines()] == ["-", "--"] * 3
    assert several.axes[1].get_title() == "best validation accuracy: 50.0% (third)"


@host
def test_other_metrics_and_the_decks_stats_have_panels() -> None:
    iou = viz.curves([{"loss": 1.0, "train_iou": 0.25, "val_iou": 0.5}])
    assert [axes.get_ylabel() for axes in iou.axes] == ["loss", "iou"]
    stats = {"loss_history": [2.3, 2.2, 2.1], "train_acc_history": [0.5], "val_acc_history": [0.4]}
    drawn = lines(viz.curves(stats))
    assert drawn["loss of a step", "each step"] == [2.3, 2.2, 2.1]
    assert drawn["accuracy", "validation"] == [0.4]


loss = st.none() | st.sampled_from([math.nan, math.inf, 1e24]) | st.integers(1, 20).map(float)


@host
@given(st.lists(loss, min_size=1, max_size=8))
@example([2.0, 6.0, 7.0, None])
@example([2.0, math.inf, 2.0])
@example([None, math.nan])
def test_a_run_ends_where_it_diverges(losses: list[float | None]) -> None:
    runs = {"run": {"loss": losses}, "other": {"loss": [1.0] * len(losses)}}
    figure = viz.curves(runs)
    known = [v for v in losses if v is not None]
    end = None
    for i in range(len(losses)):
        left = [v for v in losses[i:] if v is not None]
        if losses[i] is not None and all(not math.isfinite(v) or v > 3 * known[0] for v in left):
            end = i
            break
    told = "run" if end is None else f"run (diverged in epoch {end + 1})"
    assert legend(figure) == [told, "other"]
    drawn = [*map(float, figure.axes[0].get_lines()[0].get_ydata())]
    cut = losses if end is None else losses[: end + 1]
    shown = [math.nan if v is None or math.isinf(v) else v for v in cut]
    np.testing.assert_equal(drawn, shown)
    if end is not None:
        good = [v for v in losses[:end] if v is not None and math.isfinite(v)]
        assert figure.axes[0].get_ylim()[1] < 1.5 * max([*good, 1.0])


@host
@given(st.lists(st.integers(-9, 9), min_size=1, max_size=40), st.none() | st.integers(1, 12))
def test_the_line_through_the_steps_is_a_mean(losses: list[int], smooth: int | None) -> None:
    [axes] = viz.curves(steps=[*map(abs, losses)], smooth=smooth).axes
    window = min(smooth or max(1, len(losses) // 30), len(losses))
    found = [line for line in axes.get_lines() if "mean" in str(line.get_label())]
    assert len(found) == (window > 1)
    if not found:
        return
    [mean] = found
    end = len(mean.get_ydata())
    for i, value in enumerate(mean.get_ydata()):
        # Of an even number of steps one more lies before than after.
        around = losses[max(0, i - window // 2) : min(end, i + (window + 1) // 2)]
        if 2 * window < end:
            assert value == pytest.approx(sum(map(abs, around)) / len(around))
        assert min(map(abs, losses)) <= value + 1e-9
        assert value <= max(map(abs, losses)) + 1e-9


@host
@pytest.mark.parametrize(
    ("history", "options", "kind", "message"),
    [
        (None, {}, ValueError, "nothing to plot.*holds nothing"),
        ([], {}, ValueError, "nothing to plot"),
        ({"a": [], "b": []}, {}, ValueError, "holds 'a', 'b'"),
        ({"run": [{"lr": 1.0}]}, {}, ValueError, "holds 'lr'"),
        ([{"loss": "much"}], {}, TypeError, "'loss' of the history holds one number"),
        (0.5, {}, TypeError, "what Trainer.fit returns.* got float"),
        ([0.5, 0.25], {}, TypeError, "history of run 1 is .* got float"),
        ({"a": {"loss": [1.0], "val_loss": []}}, {}, ValueError, "history of a needs one"),
        ("run.txt", {}, ValueError, r"a \.csv or \.json file; got 'run.txt'"),
        (RECORDS, {"smooth": 0}, ValueError, "at least 1; got 0"),
        (RECORDS, {"steps": ["x"]}, TypeError, "'loss' of the steps"),
    ],
)
def test_what_is_no_history(history: Any, options: Any, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        viz.curves(history, **options)


def fitted(
    tmp_path: Path | None = None, epochs: int = 3, accumulate: int = 1
) -> tuple[train.StepLosses, list[float], train.Trainer]:
    """The losses that a callback kept, and those that the loss function gave."""
    seen: list[float] = []

    def noted(outputs: Any, labels: Any) -> Any:
        loss = tg.cross_entropy(outputs, labels)
        if outputs.requires_grad:
            seen.append(loss.item() * len(labels))
        return loss

    model = nn.Linear(2, 2, generator=np.random.default_rng(0))
    trainer = train.Trainer(
        model, optim.SGD(model.parameters(), lr=0.5), noted, accumulate=accumulate
    )
    samples = data.TensorDataset(CLOUD[:10].astype("float32"), [0, 1] * 5)
    kept = train.StepLosses()
    callbacks: list[Any] = [kept]
    if tmp_path is not None:
        callbacks.append(train.Checkpoint(tmp_path, every_steps=1))
    trainer.fit(
        data.DataLoader(samples, batch_size=4), epochs=epochs, callbacks=callbacks, resume=tmp_path
    )
    return kept, seen, trainer


@host
def test_step_losses_are_those_of_the_steps(tmp_path: Path) -> None:
    kept, seen, trainer = fitted()
    sizes = [4, 4, 2] * 3
    assert kept.losses == pytest.approx([v / n for v, n in zip(seen, sizes, strict=True)])
    by_epoch = [sum(seen[i : i + 3]) / 10 for i in (0, 3, 6)]
    assert [record["loss"] for record in trainer.history] == pytest.approx(by_epoch)
    drawn = lines(viz.curves(trainer, steps=kept))
    assert drawn["loss of a step", "each step"] == kept.losses

    in_twos, seen, _ = fitted(accumulate=2, epochs=1)
    assert in_twos.losses == pytest.approx([(seen[0] + seen[1]) / 8, seen[2] / 2])

    fitted(tmp_path, epochs=2)
    max(tmp_path.iterdir()).unlink()  # go on in the middle of an epoch
    assert fitted(tmp_path)[0].losses == kept.losses


# ----- points ------------------------------------------------------------------------------------


def test_points_stand_where_they_are() -> None:
    cloud = CLOUD.copy()
    cloud[3] = math.nan
    figure = viz.scatter({"a": tg.tensor(cloud), "b": 2 * CLOUD}, tg.tensor(LABELS), classes="xyz")
    for axes, points in zip(figure.axes, (cloud, 2 * CLOUD), strict=True):
        for k, drawn in enumerate(axes.collections):
            np.testing.assert_array_equal(drawn.get_offsets(), points[np.equal(LABELS, k)])
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        assert right - left == pytest.approx(top - bottom)
        assert axes.get_box_aspect() == 1
    assert figure.axes[0].get_title() == "a (1 not finite)"
    std = ", ".join(f"{v:.3g}" for v in (2 * CLOUD).std(0))
    assert f"std ({std})" in figure.axes[1].get_xlabel()
    assert legend(figure) == ["x", "y", "z"]
    one = viz.scatter([[2.0, 3.0]], same_scale=True).axes[0]
    assert one.get_xlim()[0] < 2 < one.get_xlim()[1]


@host
@pytest.mark.parametrize(
    ("points", "labels", "message"),
    [
        ([], None, "no points"),
        ({}, None, "no points"),
        ([1.0, 2.0], None, r"shape \(N, 2\); got shape \(2,\)"),
        (np.ones((2, 3)), None, r"got shape \(2, 3\)\. Choose two columns"),
        ({"a": np.ones((4, 64))}, None, "the points of a lie"),
        (CLOUD, [0, 1], r"one for each of the 30 points; got shape \(2,\)"),
        (CLOUD, [0.5] * 30, "labels are integers.* float64"),
        (CLOUD, [-1] * 30, "labels are 0 or more; got -1"),
    ],
)
def test_points_lie_in_the_plane(points: Any, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        viz.scatter(points, labels)


class Predicts:
    """As estimators of scikit-learn are."""

    def predict(self, x: Any) -> Any:
        return (x[:, 0] > 0).astype("int64")


def test_a_region_has_the_colour_of_the_class_that_wins() -> None:
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3))
    model[2].eval()
    before = {name: value.tolist() for name, value in model.state_dict().items()}
    figure = viz.decision_boundary(
        {
            "scores": model,
            "one": lambda x: x[:, :1],
            "labels": lambda x: (x[:, 0] > 0).long(),
            "predict": Predicts(),
            "double": nn.Linear(2, 2, dtype="float64"),
            "trainer": SimpleNamespace(model=nn.Linear(2, 2)),
            "infinite": lambda x: (math.inf * x, x),
        },
        CLOUD, LABELS, resolution=15,
    )  # fmt: skip
    assert {name: value.tolist() for name, value in model.state_dict().items()} == before
    assert [module.training for module in model] == [True, True, False, True]
    model.eval()
    x = np.linspace(*figure.axes[0].get_xlim(), 15)
    y = np.linspace(*figure.axes[0].get_ylim(), 15)
    for axes in figure.axes[:4]:
        picture = np.asarray(axes.images[0].get_array())
        for i in range(15):
            for j in range(15):
                expected = int(x[j] > 0)
                if axes is figure.axes[0]:
                    [scores] = model(tg.tensor([[x[j], y[i]]], dtype="float32")).tolist()
                    ranked = sorted(scores)
                    expected = scores.index(ranked[-1])
                    if ranked[-1] - ranked[-2] < 1e-4:
                        continue
                colour = to_rgb(["#0072B2", "#D55E00", "#009E73"][expected])
                assert picture[i, j] == pytest.approx([0.7 + 0.3 * part for part in colour])
    right = sum(int(x > 0) == label for x, label in zip(CLOUD[:, 0], LABELS, strict=True))
    assert figure.axes[1].get_title() == f"one\n{right / 30:.1%} of 30 right"


@host
def test_where_scores_are_nan_it_is_white() -> None:
    axes = viz.decision_boundary(lambda x: (x - 0.1).log(), CLOUD, LABELS, resolution=9).axes[0]
    picture = np.asarray(axes.images[0].get_array())
    assert (picture[0, 0] == 1).all()
    assert (picture[-1, -1] < 1).any()
    with pytest.raises(
        ValueError, match=r"Of|of 81 points a model gives .* got shape \(81, 2, 2\)"
    ):
        viz.decision_boundary(lambda x: tg.zeros(len(x), 2, 2), CLOUD, LABELS, resolution=9)
    with pytest.raises(ValueError, match="no finite points"):
        viz.decision_boundary(lambda x: x, CLOUD * math.nan, LABELS)
    with pytest.raises(ValueError, match="there is no model"):
        viz.decision_boundary({}, CLOUD, LABELS)


# ----- surfaces ----------------------------------------------------------------------------------


@host
def test_ways_go_down_and_those_that_diverge_leave() -> None:
    down = [(-4 * 0.5**i, 0.5**i) for i in range(5)]
    away = [(-4.0, (-1.5) ** i) for i in range(9)]
    away[-1] = (math.nan, math.inf)
    figure = viz.contours(bowl, {"down": np.array(down), "away": away}, resolution=12)
    assert legend(figure) == ["down: 4 steps", "away: diverges"]
    [axes] = figure.axes
    ways = [line for line in axes.get_lines() if line.get_marker() == "."]
    np.testing.assert_allclose(np.transpose(ways[0].get_data()), down)
    assert len(ways[1].get_xdata()) < 4
    assert axes.get_ylim()[1] < 2
    marks = [line.get_marker() for line in axes.get_lines()]
    assert marks == [".", "o", "X", ".", "o"]
    two = viz.contours(
        {"a": bowl, "b": lambda x, y: x + 0 * y}, {"a": {"way": [tg.tensor([1.0, 2.0])]}}, x=(0, 2)
    )
    assert [axes.get_title() for axes in two.axes] == ["a", "b"]
    assert legend(two) == ["way: 0 steps"]
    viz.contours(lambda x, y: 0 * x, resolution=5)  # flat


@host
@pytest.mark.parametrize(
    ("f", "ways", "options", "message"),
    [
        (lambda x, y: x.sum(), None, {}, r"of shape \(120, 120\); got shape \(\)"),
        (lambda x, y: x / 0, None, {}, "nowhere finite"),
        (bowl, {"a": [(1, 2, 3)]}, {}, r"points of a .*\(steps, 2\); got shape \(1, 3\)"),
        (bowl, None, {"x": (1, 1)}, r"x is a range .* got \(1, 1\)"),
        (bowl, None, {"y": (0, math.nan)}, "y is a range"),
        ({}, None, {}, "there is no function"),
    ],
)
def test_what_is_no_surface(f: Any, ways: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        viz.contours(f, ways, **options)


# ----- layers ------------------------------------------------------------------------------------


def test_layers_are_counted_over_one_range() -> None:
    layers = {"one": tg.tensor(CLOUD), "two": 0.1 * CLOUD, "nan": [1.0, math.nan, math.inf]}
    figure = viz.histograms({"net": layers, "other": [CLOUD]})
    ends = (min(CLOUD.min(), 1.0), max(CLOUD.max(), 1.0))
    for axes, values in zip(figure.axes, layers.values(), strict=False):
        told = np.ravel(values.numpy() if isinstance(values, tg.Tensor) else values)
        finite = told[np.isfinite(told)]
        counts, edges, _ = axes.patches[0].get_data()
        assert counts.tolist() == np.histogram(finite, 30, ends)[0].tolist()
        assert (edges[0], edges[-1]) == pytest.approx(ends)
        numbers = f"mean {finite.mean():.3g}\nstd {finite.std():.3g}"
        assert axes.get_xlabel() == numbers.replace("-", "−")
    assert [text.get_text() for text in figure.axes[2].texts] == ["1 NaN\n1 infinite"]
    own = viz.histograms([CLOUD, 0.1 * CLOUD], sharex=False).axes[1].patches[0].get_data()
    assert own.edges[-1] == pytest.approx(0.1 * CLOUD.max())
    assert len(viz.histograms([CLOUD] * 30, limit=3).axes) == 3 + 2


@host
@pytest.mark.parametrize(
    ("layers", "kind", "message"),
    [
        ([], ValueError, "there are no layers"),
        ({}, ValueError, "there are no layers"),
        (0.5, TypeError, "from a Trace.* or from arrays.* got float"),
        (["a"], TypeError, "a layer holds numbers; '1'"),
    ],
)
def test_what_are_no_layers(layers: Any, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        viz.histograms(layers)


# ----- layouts and scores ------------------------------------------------------------------------


@host
def test_a_grid_tries_few_values_of_what_matters() -> None:
    def peak(x: Any) -> Any:
        return x

    figure = viz.grid_against_random(
        peak, lambda y: 0.0, side=4, generator=np.random.default_rng(3)
    )
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    trials = np.random.default_rng(3).random((16, 2))
    assert titles == [
        f"grid: 4 different values\nbest score {7 / 8:.2f}",
        f"random: 16 different values\nbest score {trials[:, 0].max():.2f}",
    ]
    with pytest.raises(ValueError, match="row of the grid; got 0"):
        viz.grid_against_random(side=0)


@host
def test_bars_are_means_with_deviations() -> None:
    runs = [0.5, 0.75, 1.0]
    axes = viz.bars({"a": runs, "b": tg.tensor(0.5), "c": [math.nan], "d": [0.25, None]}).axes[0]
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == [np.mean(runs), 0.5, 0.25]
    assert [text.get_text() for text in axes.texts] == ["75.0% ± 25.0", "50.0%", "25.0%"]
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ["a", "b", "c\n(1 not finite)", "d\n(1 not finite)"]
    steps = viz.bars({"SGD": 127, "Newton": -1}, ylabel="steps").axes[0]
    assert [text.get_text() for text in steps.texts] == ["127", "−1"]
    near = viz.bars({"a": 0.95, "b": 0.96}).axes[0]
    assert near.get_ylabel() == "accuracy (not from 0)"
    assert 0.9 < near.get_ylim()[0] < 0.95
    for nothing in ({}, {"a": []}, {"a": math.inf}):
        with pytest.raises(ValueError, match="no finite score"):
            viz.bars(nothing)
    with pytest.raises(TypeError, match="a score is a number, or several; got str for 'a'"):
        viz.bars({"a": "much"})


@host
def test_a_learning_curve_goes_by_the_number_of_images() -> None:
    scores = {"a": {50: [0.5, 1.0], 5: [0.25], 10: None}, "b": {5: 0.5}}
    axes = viz.learning_curve(scores).axes[0]
    first, second = axes.get_lines()
    np.testing.assert_equal(np.array(first.get_data()), [[5, 10, 50], [0.25, math.nan, 0.75]])
    assert np.array(second.get_data()).tolist() == [[5], [0.5]]
    deviation = math.sqrt(2 * 0.25**2)
    heights = axes.collections[0].get_paths()[-1].vertices[:, 1]
    assert max(heights) == pytest.approx(0.75 + deviation)
    assert axes.get_xscale() == "linear"
    assert viz.learning_curve({"a": {1: 0.5, 100: 0.5}}).axes[0].get_xscale() == "log"
    with pytest.raises(ValueError, match="no finite score"):
        viz.learning_curve({"a": {}})
    with pytest.raises(TypeError, match=r"mapping of numbers of images.* got {'ten': 0.5} for 'a'"):
        viz.learning_curve({"a": {"ten": 0.5}})
