"""Plots: what stands in them, that text is text, and that they are saved whole."""

import math
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from matplotlib.figure import Figure

import tinygrad_cv as tg
from tinygrad_cv import nn, viz
from tinygrad_cv.viz import data

SVG = "{http://www.w3.org/2000/svg}"
host = pytest.mark.host
FEW = settings(max_examples=settings.default.max_examples // 3)  # a figure takes a while

HISTORY = {
    "loss": [2.25, 1.0, 0.5],
    "val_loss": [2.5, 1.5, 1.25],
    "train_accuracy": [0.25, 0.75, 0.875],
    "val_accuracy": [0.5, 0.5, 0.75],
}
# From the fine search of the deck "training neural networks", whose best result is worrying.
TRIALS: list[dict[str, Any]] = [
    {"lr": lr, "reg": reg, "val_accuracy": accuracy}
    for accuracy, lr, reg in [
        (0.527, 5.340517e-04, 4.097824e-01),
        (0.492, 2.279484e-04, 9.991345e-04),
        (0.512, 8.680827e-04, 1.349727e-02),
        (0.461, 1.028377e-04, 1.220193e-02),
        (0.522, 5.586261e-04, 2.312685e-04),
        (0.530, 5.808183e-04, 8.259964e-02),
        (0.489, 1.979168e-04, 1.010889e-04),
        (0.531, 9.471549e-04, 1.433895e-03),
        (0.509, 9.752279e-04, 2.850865e-03),
    ]
]


def counted(values: list[float]) -> list[int]:
    """The counts in 16 equal bins; all in the middle one if there is one value."""
    least, most = min(values), max(values)
    counts = [0] * 16
    for value in values:
        place = (value - least) / (most - least) if least < most else 0.5
        counts[min(15, int(16 * place))] += 1
    return counts


def summary(values: Any) -> data.Summary:
    """A summary as a trace has it, counted one by one."""
    finite = np.ravel(values)[np.isfinite(np.ravel(values))].astype("float64")
    told = data.Summary(
        count=np.size(values),
        nan=int(np.isnan(values).sum()),
        inf=int(np.isinf(values).sum()),
        zeros=float((np.asarray(values) == 0).mean()),
    )
    if finite.size:
        told.mean, told.std = float(finite.mean()), float(finite.std())
        told.min, told.max = float(finite.min()), float(finite.max())
        told.histogram = counted(finite.tolist())
    return told


def chain(ops: list[str], values: list[Any], with_parameters: tuple[str, ...] = ()) -> data.Trace:
    """A trace of ops in a row, each in a module of its own."""
    trace = data.Trace(steps=[data.Step()])
    for op, value in zip(ops, values, strict=True):
        inputs = [data.Input("x", len(trace.nodes) - 1 if trace.nodes else None)]
        module = data.Module(len(trace.modules), f"layers.{len(trace.modules)}", op.title(), None)
        trace.modules.append(module)
        if op in with_parameters:
            inputs.append(data.Input("w", len(trace.nodes)))
            trace.nodes.append(node(len(trace.nodes), "parameter", "parameter", module.id))
        trace.nodes.append(node(len(trace.nodes), "op", op, module.id, inputs))
        trace.steps[0].values[len(trace.nodes) - 1] = summary(value)
    return trace


def node(i: int, kind: Any, op: str, module: int | None, inputs: Any = ()) -> data.Node:
    return data.Node(i, str(i), kind, op, "", module, [4], "float32", "cpu", inputs=list(inputs))


def left(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


DRAWINGS: dict[str, Callable[..., Figure]] = {
    "curves": lambda path=None: viz.curves(HISTORY, path),
    "histograms": lambda path=None: viz.histograms(
        chain(["linear", "tanh", "linear"], [[1.0, 2.0, 2.0], [0.5, np.nan], [3.0, 3.0]]), path
    ),
    "filters": lambda path=None: viz.filters(np.arange(2 * 3 * 4).reshape(2, 3, 2, 2), path),
    "confusion_matrix": lambda path=None: viz.confusion_matrix([0, 1, 2], [0, 2, 2], path=path),
    "search": lambda path=None: viz.search(
        [*TRIALS, {"lr": 5e-4, "reg": 1e-2}], path, y="reg", metric="val_accuracy"
    ),
    "learning_rates": lambda path=None: viz.learning_rates(
        [1e-4, 1e-3, 1e-2, 1e-1, 1], [2.3, 2.2, 1.5, 1.2, 1e30], path
    ),
}
every_drawing = pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)


# ----- what all plots share ----------------------------------------------------------------------


@host
@every_drawing
@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_same_data_are_the_same_bytes(
    draw: Callable[..., Figure], suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"plot{suffix}"
    assert isinstance(draw(path), Figure)
    first = path.read_bytes()
    draw(path)
    assert path.read_bytes() == first
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    if suffix == ".svg":
        assert ET.fromstring(first).tag == f"{SVG}svg"
    else:
        assert first.startswith(b"\x89PNG\r\n\x1a\n")


ANOTHER_INTERPRETER = """
import sys
from pathlib import Path
sys.path.insert(0, {folder!r})
from test_plots import DRAWINGS
for name, draw in DRAWINGS.items():
    draw(Path(sys.argv[1]) / (name + ".svg"))
print("matplotlib.pyplot" in sys.modules)
"""


@host
def test_every_interpreter_draws_the_same_without_pyplot(tmp_path: Path) -> None:
    program = ANOTHER_INTERPRETER.format(folder=str(Path(__file__).parent))
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "False\n", done.stderr
    for name, draw in DRAWINGS.items():
        there = (tmp_path / f"{name}.svg").read_bytes()
        draw(tmp_path / "here.svg")
        assert (tmp_path / "here.svg").read_bytes() == there, name


@host
@every_drawing
@pytest.mark.parametrize(("owner", "name"), [(Figure, "savefig"), (Path, "replace")])
def test_a_plot_is_written_whole_or_not_at_all(
    draw: Callable[..., Figure],
    owner: type,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def breaks(first: Any, second: Any, **options: Any) -> None:
        with open(first, "wb") if isinstance(first, Path) else second as file:
            file.write(b"half a picture")
            raise OSError("no space left")

    (tmp_path / "plot.png").write_bytes(b"the earlier picture")
    monkeypatch.setattr(owner, name, breaks)
    with pytest.raises(OSError, match="no space left"):
        draw(tmp_path / "plot.png")
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"the earlier picture"]


@host
@every_drawing
def test_the_suffix_is_checked(draw: Callable[..., Figure], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"one of \.svg, \.png; got"):
        draw(tmp_path / "plot.pdf")
    with pytest.raises(FileNotFoundError, match="create it first"):
        draw(tmp_path / "nowhere" / "plot.svg")
    assert list(tmp_path.iterdir()) == []


@host
@every_drawing
def test_without_matplotlib_one_sentence_says_what_to_install(
    draw: Callable[..., Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    message = r"^plots are drawn with matplotlib; run pip install 'tinygrad_cv\[viz\]'\.$"
    with pytest.raises(ModuleNotFoundError, match=message) as caught:
        draw()
    assert caught.value.name == "matplotlib"


NAMES = ["$x$", r"\frac{$a_b$", 'a "quoted" -->\nname', "<script>&amp;", "A" * 100_000, "\0\ud800"]
SHOWN = ["$x$", r"\frac{$a_b$", 'a "quoted" --> name', "<script>&amp;", "A" * 23 + "…", "��"]
WITH_NAMES: dict[str, Callable[..., Figure]] = {
    "classes": lambda names, path=None: viz.confusion_matrix([0], [0], names, path),
    "hyperparameters": lambda names, path=None: viz.search(
        [{names[0]: 1, names[-1]: 2, "m": 0.5}, {names[0]: 2, names[-1]: 3, "m": 0.25}],
        path, x=names[0], y=names[-1], metric="m",
    ),
    "metric": lambda names, path=None: viz.search([{"lr": 1, names[0]: 2}], path, metric=names[0]),
    "ops": lambda names, path=None: viz.histograms(
        chain(names, [[1.0, 2.0]] * len(names)), path, limit=max(1, len(names) - 1)
    ),
}  # fmt: skip
with_names = pytest.mark.parametrize("draw", WITH_NAMES.values(), ids=WITH_NAMES)


def words(svg: Path) -> list[str]:
    """The text in a picture, as it is drawn."""
    return ["".join(element.itertext()) for element in ET.parse(svg).iter(f"{SVG}text")]


@host
def test_names_are_drawn_as_they_are(tmp_path: Path) -> None:
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        viz.confusion_matrix([0], [0], NAMES, tmp_path / "plot.svg")
    assert set(SHOWN) <= set(words(tmp_path / "plot.svg"))


@host
@with_names
@pytest.mark.parametrize(
    "names", [["$a", "b$"], ["\\frac", "{^_}"], ["\n\0\ud800", "<&>\"'"], NAMES]
)
def test_no_name_is_read_as_mathematics(
    draw: Callable[..., Figure], tmp_path: Path, names: list[str]
) -> None:
    path = tmp_path / "plot.svg"
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        draw(names, path)
    line = " ".join(names[0].split())
    if len(line) <= 12:  # a longer one may be cut
        shown = "".join(c if c.isprintable() else "�" for c in line)
        assert any(shown in drawn for drawn in words(path))


@host
@pytest.mark.parametrize("draw", [*DRAWINGS.values(), *WITH_NAMES.values()])
def test_no_text_is_cut(draw: Callable[..., Figure]) -> None:
    figure = draw(["W" * 100] * 6) if draw in WITH_NAMES.values() else draw()
    figure.draw_without_rendering()
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 >= 0, "cut at the left"
    assert box.y0 >= 0, "cut at the bottom"
    assert box.x1 <= width, "cut at the right"
    assert box.y1 <= height, "cut at the top"


# ----- curves ------------------------------------------------------------------------------------


@host
def test_what_lies_between_training_and_validation_is_shaded() -> None:
    loss, accuracy = viz.curves(HISTORY).axes
    for axes, keys in [
        (loss, ("loss", "val_loss")),
        (accuracy, ("train_accuracy", "val_accuracy")),
    ]:
        [shade] = axes.collections
        [polygon] = shade.get_paths()
        corners = {(epoch + 1, HISTORY[key][epoch]) for key in keys for epoch in range(3)}
        assert {tuple(point) for point in polygon.vertices} == corners
    assert loss.get_title() == "generalization gap: 0.75"
    assert accuracy.get_title() == "generalization gap: 12.5 percentage points"
    assert [line.get_label() for line in loss.get_lines()] == ["training", "validation"]


@host
def test_without_validation_nothing_is_shaded() -> None:
    [axes] = viz.curves({"loss": [1.0, 0.5]}).axes
    assert (list(axes.collections), axes.get_title()) == ([], "")


shares = st.none() | st.just(math.nan) | st.integers(0, 1000).map(lambda n: n / 1000)


@host
@given(st.lists(st.tuples(shares, shares), min_size=1, max_size=6))
@example([(0.5, None), (None, 0.5)])
@example([(0.5, 0.625), (0.75, None)])
def test_the_gap_is_that_of_the_last_epoch_with_both(pairs: list[Any]) -> None:
    training, validation = zip(*pairs, strict=True)
    [axes] = viz.curves({"train_accuracy": training, "val_accuracy": validation}).axes
    expected = ""
    for epoch, (t, v) in enumerate(pairs, start=1):
        if t is not None and v is not None and t == t and v == v:
            when = "" if epoch == len(pairs) else f" after epoch {epoch}"
            gap = f"{(t - v) * 100:.1f}".replace("-", "−")
            expected = f"generalization gap{when}: {gap} percentage points"
    assert axes.get_title() == expected


# ----- histograms --------------------------------------------------------------------------------

finite = st.floats(-1e30, 1e30)
layers = st.lists(st.lists(finite, min_size=2, max_size=30), min_size=1, max_size=5)


@host
@FEW
@given(layers)
@example([[3.0, 3.0], [0.0, 0.0], [-1e30, -1e30, 1e30], [0.0, 5e-324], [1.0, 1.0 + 2**-52]])
@example([[1e150, -1e150], [1e150, 1e150], [5e-324, 5e-324]])
def test_a_panel_holds_the_counts_of_the_summary(values: list[list[float]]) -> None:
    trace = chain(["exp"] * len(values), values)
    figure = viz.histograms(trace)
    figure.draw_without_rendering()
    for axes, told in zip(figure.axes, trace.steps[0].values.values(), strict=False):
        assert told.min is not None
        assert told.max is not None
        counts, edges, _ = axes.patches[0].get_data()
        assert counts.tolist() == told.histogram
        assert len(edges) == len(counts) + 1
        assert edges[0] <= told.min <= told.max <= edges[-1]
        if told.min < told.max:
            assert (edges[0], edges[-1]) == (told.min, told.max)
        elif not 0 < abs(told.min) < sys.float_info.min:
            assert edges[8] < told.min < edges[9]
        numbers = f"mean {told.mean:.3g}, std {told.std:.3g}".replace("-", "−")
        assert axes.get_xlabel().startswith(numbers)
    if len(values) > 1:
        for axes, name in zip(figure.axes[-2:], ("mean", "std"), strict=True):
            expected = [getattr(told, name) for told in trace.steps[0].values.values()]
            if axes.get_yscale() == "log":  # a zero stands at the foot
                expected = [value or math.nan for value in expected]
            np.testing.assert_equal(axes.get_lines()[0].get_ydata(), expected)


@host
def test_panels_stand_in_the_order_of_computation() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    trace = viz.trace(lambda x: model(x).sum(), (8, 3, 8, 8), values=True, gradients=True)
    rows = ["mean by layer", "std by layer"]
    ops = ["0 conv2d", "1 relu", "2 reshape", "3 linear"]
    assert left(viz.histograms(trace)) == [*ops, *rows]
    assert left(viz.histograms(trace, what="gradients")) == [*ops, *rows]
    assert left(viz.histograms(trace, kind="parameter", limit=2)) == ["0.weight", "3.weight", *rows]


@host
def test_the_deck_s_collapse_is_seen_over_one_range() -> None:
    generator = np.random.default_rng(0)
    values = [generator.standard_normal(100) * 0.01**depth for depth in range(4)]
    figure = viz.histograms(chain(["tanh"] * 4, values), sharex=True)
    ends = (float(values[0].min()), float(values[0].max()))
    assert [axes.get_xlim() for axes in figure.axes[:4]] == [ends] * 4
    assert figure.axes[-1].get_yscale() == "log"


@host
def test_a_large_trace_shows_what_learns_and_what_activates() -> None:
    ops = ["linear", "relu", "reshape"] * 4
    trace = chain(ops, [[0.0, 1.0]] * 12, with_parameters=("linear",))

    def shown(limit: int) -> Counter[str]:
        titles = left(viz.histograms(trace, limit=limit))
        return Counter(title.split()[-1] for title in titles if "by layer" not in title)

    assert shown(12) == {"linear": 4, "relu": 4, "reshape": 4}
    assert shown(11) == shown(8) == {"linear": 4, "relu": 4}
    assert shown(7) == shown(4) == {"relu": 4}
    assert shown(2) == {"relu": 2}
    title = viz.histograms(trace, limit=2).get_suptitle()
    assert title == (
        "values of ops, 2 of 12 (activations, evenly spaced)\nleft out: 4 linear, 4 reshape, 2 relu"
    )
    assert left(viz.histograms(trace, limit=2))[:2] == ["layers.1 relu", "layers.10 relu"]


@host
def test_what_is_wrong_is_told() -> None:
    trace = chain(["relu", "tanh", "log"], [[0.0, 0.0], [1.0, -1.0], [np.nan, np.inf, np.inf]])
    trace.steps[0].values[0].dead = 0.75
    trace.steps[0].values[1].saturated = 0.25
    relu, tanh, log = viz.histograms(trace).axes[:3]
    assert [text.get_text() for text in relu.texts] == ["75% dead"]
    assert relu.get_xlabel() == "mean 0, std 0\n100% zeros"
    assert tanh.get_xlabel() == "mean 0, std 1\n25% saturated"
    assert list(tanh.texts) == []
    assert [text.get_text() for text in log.texts] == ["no finite element\n1 NaN\n2 infinite"]
    assert log.get_xlabel() == ""


@host
def test_a_step_is_chosen_by_its_number() -> None:
    trace = chain(["relu"], [[0.0, 1.0]])
    trace.steps.append(data.Step(number=100, values={0: summary([5.0, 6.0])}))
    for step, number, most in [(None, 100, 6.0), (100, 100, 6.0), (0, 0, 1.0)]:
        figure = viz.histograms(trace, step=step)
        assert figure.get_suptitle() == f"values of ops at step {number}"
        assert figure.axes[0].patches[0].get_data().edges[-1] == most
    with pytest.raises(KeyError, match="no step 7 was recorded; there are: 0, 100"):
        viz.histograms(trace, step=7)


@host
@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"what": "gradients"}, ValueError, r"its gradients\. Make .* gradients=True"),
        ({"what": "weights"}, ValueError, "what is 'values' or 'gradients'; got 'weights'"),
        ({"kind": "input"}, ValueError, "kind is 'op' or 'parameter'; got 'input'"),
        ({"limit": 0}, ValueError, "at least 1; got 0"),
        ({"trace": nn.Linear(2, 2)}, TypeError, "drawn from a Trace, .* got Linear"),
        ({"trace": data.Trace()}, ValueError, "nothing to plot: no op"),
        ({"trace": chain(["sum"], [1.0])}, ValueError, "nothing to plot: no op"),
    ],
)
def test_histograms_need_summaries(options: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        viz.histograms(**{"trace": chain(["relu"], [[0.0, 1.0]])} | options)


# ----- filters -----------------------------------------------------------------------------------


@host
@given(
    st.data(),
    st.sampled_from([1, 2, 3, 5]),
    st.sampled_from(["each", "all"]),
    st.none() | st.integers(1, 8),
)
def test_each_pixel_is_a_weight(
    draw: st.DataObject, channels: int, normalize: Any, columns: int | None
) -> None:
    shape = (
        draw.draw(st.integers(1, 6)),
        channels,
        *draw.draw(st.tuples(*[st.integers(1, 4)] * 2)),
    )
    elements = st.floats(-100, 100, width=32)
    weight = draw.draw(arrays.arrays("float32", shape, elements=elements))
    [axes] = viz.filters(weight, normalize=normalize, columns=columns).axes
    sheet = np.asarray(axes.images[0].get_array())

    out, _, height, width = shape
    groups = [[o] for o in range(out)]
    slots = [(o, c) for o in range(out) for c in range(channels)]
    if channels == 3:
        slots = [(o, None) for [o] in groups]
    wide = columns or (channels if channels not in (1, 3) else math.ceil(math.sqrt(out)))
    wide = min(wide, len(slots))
    seen = np.zeros(sheet.shape[:2], bool)
    for place, (o, c) in enumerate(slots):
        own = weight[o] if c is None else weight[o, c]
        low, high = (own.min(), own.max()) if normalize == "each" else (weight.min(), weight.max())
        for i in range(height):
            for j in range(width):
                row = place // wide * (height + 1) + 1 + i
                column = place % wide * (width + 1) + 1 + j
                seen[row, column] = True
                for rgb in range(3):
                    value = float(weight[o, rgb if c is None else c, i, j])
                    expected = 0.5
                    if low < high:
                        expected = (value - float(low)) / (float(high) - float(low))
                    assert sheet[row, column, rgb] == pytest.approx(expected, abs=1e-12)
    assert (sheet[~seen] == 1).all()


def test_a_weight_may_lie_anywhere() -> None:
    weight = nn.Conv2d(3, 4, 5).weight
    there = np.asarray(viz.filters(weight).axes[0].images[0].get_array())
    here = np.asarray(viz.filters(weight.detach().numpy()).axes[0].images[0].get_array())
    np.testing.assert_array_equal(there, here)


@host
@pytest.mark.parametrize(
    ("weight", "options", "message"),
    [
        (np.ones((2, 3)), {}, r"\(out, in, kh, kw\); got shape \(2, 3\)"),
        (np.ones((0, 3, 2, 2)), {}, r"got shape \(0, 3, 2, 2\)"),
        ([[1.0], [1.0, 2.0]], {}, "weight must be a Tensor, an array or nested lists"),
        (np.ones((1, 1, 1, 1)), {"normalize": "std"}, "'each' or 'all'; got 'std'"),
        (np.ones((1, 1, 1, 1)), {"columns": 0}, "at least 1; got 0"),
        (np.array([1, 2, np.nan, np.inf]).reshape(4, 1, 1, 1), {}, "2 values .* in filter 2"),
    ],
)
def test_filters_are_a_finite_weight(weight: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        viz.filters(weight, **options)


# ----- confusion matrix --------------------------------------------------------------------------


@host
@FEW
@given(
    st.integers(1, 6).flatmap(
        lambda count: st.tuples(
            st.just(count),
            st.lists(st.tuples(*[st.integers(0, count - 1)] * 2), min_size=1, max_size=40),
        )
    ),
    st.booleans(),
)
def test_cells_count_pairs(case: tuple[int, list[tuple[int, int]]], normalize: bool) -> None:
    count, pairs = case
    targets, predictions = (list(labels) for labels in zip(*pairs, strict=True))
    names = [f"class {i}" for i in range(count)]
    figure = viz.confusion_matrix(targets, predictions, names, normalize=normalize)
    axes = figure.axes[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    recall = [label.get_text() for label in axes.child_axes[0].get_yticklabels()]
    for true in range(count):
        row = [p for t, p in pairs if t == true]
        for predicted in range(count):
            expected = row.count(predicted)
            if normalize:
                told = f"{100 * expected / len(row):.0f}" if row else "0"
            else:
                told = str(expected)
            assert cells[predicted, true] == told
        assert recall[true] == (f"{row.count(true) / len(row):.1%}" if row else "–")
    right = sum(t == p for t, p in pairs)
    assert axes.get_title() == f"accuracy {right / len(pairs):.1%}: {right} of {len(pairs)}"
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert [label.get_text() for label in axes.get_xticklabels()] == names
    assert (axes.get_xlabel()[:9], axes.get_ylabel()) == ("predicted", "true class")


def test_predictions_may_be_scores() -> None:
    scores = tg.tensor([[0.1, 0.9, 0.0], [0.5, 0.2, 0.3]], requires_grad=True)
    axes = viz.confusion_matrix(tg.tensor([1, 2]), scores).axes[0]
    assert [text.get_text() for text in axes.texts] == list("000010100")


@host
def test_many_classes_are_colours_alone() -> None:
    figure = viz.confusion_matrix(range(41), range(41))
    assert list(figure.axes[0].texts) == []
    assert figure.axes[1].get_ylabel() == "share of the true class"
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), np.eye(41))


@host
@pytest.mark.parametrize(
    ("targets", "predictions", "classes", "message"),
    [
        ([], [], None, r"N ≥ 1; got shape \(0,\)"),
        ([[0]], [0], None, r"shape \(N,\).* got shape \(1, 1\)"),
        ([0, 1], [0], None, r"\(2,\) or scores \(2, C\).* got shape \(1,\)"),
        ([0], [[[0.5]]], None, r"got shape \(1, 1, 1\)"),
        ([0], [[]], None, r"got shape \(1, 0\)"),
        ([0.0], [0], None, "labels are integers; got targets of float64"),
        ([0], [0.5], None, "labels are integers; got predictions of float64"),
        ([0], [-1], None, "predictions hold -1"),
        ([0, 2], [0, 1], ["a", "b"], "2 classes, called 0 to 1; targets hold 2"),
        ([2], [[0.5, 0.5]], None, "2 classes, called 0 to 1; targets hold 2"),
        ([0], [[0.5, 0.5]], ["a"], "of 2 classes; got 1 names"),
        ([0], [[0.5, math.nan]], None, "scores hold NaN"),
    ],
)
def test_labels_are_checked(targets: Any, predictions: Any, classes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        viz.confusion_matrix(targets, predictions, classes)


# ----- search ------------------------------------------------------------------------------------


def points(figure: Figure) -> dict[str, list[list[float]]]:
    """What stands where, by the words of the legend."""
    return {
        str(drawn.get_label()).split(":")[0]: np.asarray(drawn.get_offsets()).tolist()
        for drawn in figure.axes[0].collections
    }


@host
def test_the_deck_s_best_trial_lies_on_the_border() -> None:
    figure = viz.search(TRIALS, y="reg")
    assert figure.get_suptitle() == (
        "best val_accuracy 0.531 at lr 0.000947, reg 0.00143\n"
        "on the border of what was searched: try greater lr"
    )
    assert points(figure)["best"] == [[9.471549e-04, 1.433895e-03]]
    axes, bar = figure.axes
    # The rates of the fine search span less than a decade.
    assert (axes.get_xscale(), axes.get_yscale(), bar.get_ylabel()) == (
        "linear", "log", "val_accuracy",
    )  # fmt: skip


score = st.none() | st.sampled_from([math.nan, math.inf]) | st.integers(0, 100).map(float)


@host
@FEW
@given(
    st.lists(st.tuples(st.integers(-4, 4), st.integers(-3, 3), score), min_size=1, max_size=12),
    st.sampled_from(["max", "min"]),
)
def test_every_trial_is_drawn(rows: list[Any], mode: Any) -> None:
    trials = [{"lr": 10.0**x, "bias": y, "score": score} for x, y, score in rows]
    figure = viz.search(trials, y="bias", metric="score", mode=mode)
    figure.draw_without_rendering()
    seen = points(figure)
    done = [(x, y, z) for x, y, z in rows if z is not None and math.isfinite(z)]
    failed = [[10.0**x, y] for x, y, z in rows if z is None or not math.isfinite(z)]
    assert seen.get("failed", []) == failed
    assert seen.get("trials", []) == [[10.0**x, y] for x, y, _ in done]
    if not done:
        assert figure.get_suptitle() == "every trial failed"
        return
    values = [z for _, _, z in done]
    best = max(values) if mode == "max" else min(values)
    x, y, _ = done[values.index(best)]
    assert seen["best"] == [[10.0**x, y]]
    first, _, second = figure.get_suptitle().partition("\n")
    assert first == f"best score {best:.3g} at lr {10.0**x:.3g}, bias {y:.3g}"
    # Whole decades and whole numbers: only the ends themselves lie on the border.
    sides = []
    for name, value, column in (("lr", x, 0), ("bias", y, 1)):
        ends = sorted({row[column] for row in rows})
        if len(ends) > 1 and value in (ends[0], ends[-1]):
            sides.append(f"{'greater' if value == ends[-1] else 'smaller'} {name}")
    warned = f"on the border of what was searched: try {' and '.join(sides)}" if sides else ""
    assert second == warned


@host
def test_the_metric_stands_on_the_vertical_axis() -> None:
    trials = [{"lr": 10.0**-i, "loss": 10.0**i} for i in range(3)] + [{"lr": 1.0}]
    figure = viz.search(trials, metric="loss", mode="min")
    [axes] = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("lr", "loss")
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert points(figure)["trials"] == [[10.0**-i, 10.0**i] for i in range(3)]
    figure.draw_without_rendering()
    [cross] = [drawn for drawn in axes.collections if str(drawn.get_label()) == "failed: 1"]
    pixels = cross.get_offset_transform().transform(cross.get_offsets())
    assert axes.transData.inverted().transform(pixels)[0, 0] == pytest.approx(1.0)
    assert axes.transAxes.inverted().transform(pixels)[0, 1] == pytest.approx(0.03)


@host
@pytest.mark.parametrize(
    ("trials", "options", "kind", "message"),
    [
        ([], {}, ValueError, "the search has no trials"),
        ([0.5], {}, TypeError, "trial 0 is float"),
        ([{"lr": 1.0}], {}, ValueError, "no trial has the metric 'val_accuracy'.* 'lr'"),
        ([{"val_accuracy": 0.5}], {}, ValueError, "trial 0 lacks 'lr'; it holds 'val_accuracy'"),
        (TRIALS, {"y": "momentum"}, ValueError, "trial 0 lacks 'momentum'"),
        (TRIALS, {"mode": "best"}, ValueError, "'max' or 'min'.* got 'best'"),
        ([{"lr": "adam", "val_accuracy": 1}], {}, TypeError, "'lr' of trial 0 is str"),
        ([{"lr": math.inf, "val_accuracy": 1}], {}, ValueError, "'lr' of trial 0 is inf"),
    ],
)
def test_trials_are_checked(trials: Any, options: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        viz.search(trials, **options)


# ----- learning rates ----------------------------------------------------------------------------


@host
@FEW
@given(
    st.lists(
        st.tuples(
            st.integers(1, 20), st.floats(-10, 10) | st.sampled_from([1e30, math.nan, math.inf])
        ),
        min_size=3,
        max_size=60,
    )
)
@example([(1, -1.0), (1, -2.0), (1, -3.0), (1, math.inf)])
@example([(5, math.sin(i * i)) for i in range(60)])
def test_descent_and_divergence_are_marked(steps: list[tuple[int, float]]) -> None:
    exponents = np.cumsum([step for step, _ in steps]) / 50 - 8
    rates, losses = (10**exponents).tolist(), [loss for _, loss in steps]
    figure = viz.learning_rates(rates, losses)
    figure.draw_without_rendering()
    [axes] = figure.axes
    np.testing.assert_array_equal(axes.get_lines()[0].get_xdata(), rates)
    np.testing.assert_array_equal(axes.get_lines()[0].get_ydata(), losses)

    end = len(losses)
    for i, loss in reversed(list(enumerate(losses))):
        if not math.isfinite(loss) or (losses[0] > 0 and loss > 3 * losses[0]):
            end = i
    around = max(1, end // 20)
    slopes = {
        i: np.polyfit(*(v[i - around : i + around + 1] for v in (exponents, losses)), 1)[0]
        for i in range(around, end - around)
    }
    marked = {line.get_label(): line.get_xdata()[0] for line in axes.get_lines()[1:]}
    if end < len(losses):
        assert marked["divergence"] == rates[end]
    else:
        assert "divergence" not in marked
    if "steepest descent" in marked:
        at = rates.index(marked["steepest descent"])
        assert slopes[at] == pytest.approx(min(slopes.values()), rel=1e-6, abs=1e-9)
    else:
        assert min(slopes.values(), default=0.0) > -1e-9


@host
def test_a_range_test_says_where_to_begin() -> None:
    rates = np.logspace(-6, 0, 61)
    losses = 2.3 - 1.5 / (1 + np.exp(-4 * (np.log10(rates) + 3)))
    losses[rates > 0.5] = 7.0
    assert viz.learning_rates(rates, losses).axes[0].get_title() == (
        "steepest descent at 0.001, divergence at 0.501"
    )
    flat = viz.learning_rates([1, 2, 3], [1, 1, 1]).axes[0]
    assert flat.get_title() == "the loss neither falls nor diverges"


@host
@pytest.mark.parametrize(
    ("rates", "losses", "message"),
    [
        ([1, 2, 3], [1, 2], "got 3 rates and 2 losses"),
        ([1, 2], [1, 2], "three rates or more; got 2 rates"),
        ([0, 1, 2], [1, 1, 1], "positive and increase"),
        ([1, 3, 2], [1, 1, 1], "positive and increase"),
        ([1, 1, 2], [1, 1, 1], "positive and increase"),
        ([1, 2, math.inf], [1, 1, 1], "positive and increase"),
    ],
)
def test_a_range_test_goes_up(rates: Any, losses: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        viz.learning_rates(rates, losses)
