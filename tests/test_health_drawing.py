"""Pictures of a trace: modules, health, failures, playbacks; and that one always comes."""

import hashlib
import json
import math
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tinygrad_cv as tg
from test_folding import written
from test_viz import SVG, arrows, boxes, titles, words
from tinygrad_cv import nn, viz
from tinygrad_cv.models.resnet import BasicBlock
from tinygrad_cv.viz import drawing, labels
from tinygrad_cv.viz.data import Broken, Failure, Frame, Input, Module, Node, Step, Summary, Trace
from tinygrad_cv.viz.judging import judge

pytestmark = pytest.mark.host


def look(source: str, tail: str, head: str) -> list[str]:
    """The attributes of each arrow between two boxes, as it is written."""
    found = re.findall(rf"^\t+{tail}(?::\S*)? -> {head}(?::\S*)?( .*)?$", source, re.MULTILINE)
    return [str(told).strip() for told in found]


def box_of(source: str, name: str) -> str:
    """The table of a box."""
    [found] = re.findall(rf"^\t+{name} \[label=<(<TABLE.*?</TABLE>)>", source, re.M | re.S)
    return str(found)


def rows(source: str, name: str) -> list[str]:
    """What can be read in a box."""
    return [line for line in words(box_of(source, name)).splitlines() if line]


def chain(*norms: float) -> Trace:
    """x -> tanh -> tanh ...: through each op a gradient of this norm flows back."""
    trace = written(["tanh"] * len(norms))
    trace.nodes[0].kind, trace.nodes[0].requires_grad = "parameter", True
    trace.nodes[1].inputs[0].gradient = True
    trace.steps = [
        Step(
            values={i: summary(float(i)) for i in range(len(trace.nodes))},
            gradients={i: summary(norm) for i, norm in enumerate([*norms, 1.0])},
            shares={f"{i + 1}:0": norm for i, norm in enumerate(norms)},
        )
    ]
    return trace


def summary(norm: float) -> Summary:
    bad = {"nan": 1} if math.isnan(norm) else {"inf": 1} if math.isinf(norm) else {}
    histogram = [0, 2, 4, 0]
    return Summary(6, 0.5, 0.25, -1.0, 2.0, norm if not bad else 1.0, histogram=histogram, **bad)


# ----- modules -----------------------------------------------------------------------------------


def frames(source: str) -> dict[str, str]:
    """The headings of the frames of DOT text by id."""
    found = re.findall(r"subgraph cluster_f(m\d+) {\n\s+graph \[.*?label=<(.*?)> label", source)
    return {name: words(heading) for name, heading in found}


def test_a_frame_is_where_it_says_something() -> None:
    """Not around the whole model alone, nor around one box."""
    trace = written([("Linear", ["wlinear"]), "relu"], "Net")
    source = viz.draw(trace, formulas=False).source
    assert frames(source) == {}
    assert rows(source, "n2") == ["0 Linear", "%2 float32 (2, 3)", "w (3, 3)"]
    both = written([("A", [("B", ["wa"]), "relu"]), "tanh"], "Net")
    assert frames(viz.draw(both).source) == {"m1": "0 A"}
    both.modules.append(Module(len(both.modules), "", "Loss", None))
    both.nodes[-1].module = both.modules[-1].id
    assert frames(viz.draw(both).source) == {"m0": "Net", "m1": "0 A"}


def test_arrows_stand_outside_of_frames() -> None:
    trace = written([("A", ["tanh", "relu"]), "exp"])
    source = viz.draw(trace, formulas=False).source
    end = source.index("\n\t}\n", source.index("subgraph cluster_fm0"))
    assert "->" not in source[:end]
    assert arrows(source) == {("n0", "n1"): 1, ("n1", "n2"): 1, ("n2", "n3"): 1, ("n3", "o0"): 1}


def test_sixteen_equal_blocks_are_one() -> None:
    """With an arrow back from one to the next, which has no label and moves no box."""
    trace = written([("Block", ["tanh", "relu"])] * 16)
    source = viz.draw(trace, formulas=False, collapse="repeats").source
    assert frames(source) == {"m0": "0 … 15 Block ×16"}
    assert "penwidth=2" in source
    assert arrows(source) == {
        **{("n0", "n1"): 1, ("n1", "n2"): 1, ("n2", "o0"): 1},
        ("n2", "n1"): 1,
    }
    # The upper end comes first, so that the layout has no circle.
    assert re.search(r"n1 -> n2 \[dir=back", source)
    assert "×15" not in source
    assert len(arrows(viz.draw(trace, collapse=None).source)) == 33
    assert len(arrows(viz.draw(trace, budget=31).source)) == 4
    assert len(arrows(viz.draw(trace).source)) == 4  # more than a screen holds


def test_a_loop_tells_its_steps() -> None:
    w = tg.ones(3, 3, requires_grad=True)

    def loop(h: tg.Tensor) -> tg.Tensor:
        for _ in range(50):
            h = tg.tanh(tg.relu(h) @ w)
        return h

    source = viz.draw(loop, tg.ones(2, 3)).source
    assert frames(source) == {"m0": "t = 0 … 49"}
    # The first step gets no gradient for its input; the others do, and the block says so.
    assert any(row.startswith("∂L/∂x = ") for row in rows(source, "n1"))


def test_blocks_with_parameters_of_their_own_are_no_steps() -> None:
    """The two directions of an LSTM, or the layers of a net, are at no times t."""
    source = viz.draw(written(["relu", "wlinear", "tanh"] * 50)).source
    assert frames(source) == {"m0": "×50, each with parameters of its own"}
    assert "∂L/∂x = g" in rows(source, "n1")
    both = viz.draw(nn.LSTM(3, 4, bidirectional=True), (4, 1, 3)).source
    assert "t = 0 … 3" in frames(both).values()
    assert "t = 0 … 1" not in frames(both).values()


def test_what_is_noted_of_a_module_stands_once_in_its_frame() -> None:
    trace = written([("A", ["tanh", "relu"]), "exp"])
    trace.modules[0].note = "no gradient flows here"
    assert viz.draw(trace).source.count("no gradient flows here") == 1


def test_a_folded_module_is_a_box() -> None:
    trace = written([("Linear", ["wlinear", "relu"]), ("Head", ["tanh", "sum"])], "Net")
    trace.modules[1].parameters, trace.modules[1].details = 1234, "3, 3"
    source = viz.draw(trace, backward=True, depth=1).source
    assert rows(source, "m1") == ["0 Linear", "2 ops, 1,234 parameters", "%3 float32 (2, 3)"]
    assert arrows(source) == {
        **{("n0", "m1"): 1, ("m1", "m2"): 1, ("m2", "o0"): 1},
        **{("m2", "m1"): 1, ("o0", "m2"): 1},
    }
    assert "3, 3" in rows(viz.draw(trace, depth=1, details=True).source, "m1")
    shown = viz.draw(trace, depth=1, expand=lambda m: True if m.type == "Head" else None).source
    assert set(titles(shown)) == {"n0", "m1", "n4", "n5"}


def test_a_layer_of_the_library_with_a_few_ops_is_a_box() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    source = viz.draw(net, (2, 5, 3)).source  # a reshape, the product, and a reshape
    told = rows(source, "m1")
    assert told[0] == "0 Linear"
    assert "3 ops, 16 parameters" in told
    assert [title for name, title in titles(source).items() if name[0] == "n"][1:] == [
        "1 LayerNorm"
    ]
    opened = viz.draw(net, (2, 5, 3), expand=lambda m: True if m.type == "Linear" else None).source
    assert "reshape" in titles(opened).values()


def test_a_whole_resnet_is_a_page_long_and_its_first_view_a_screen(tmp_path: Path) -> None:
    net = nn.Sequential(*[BasicBlock(4, 4) for _ in range(8)])
    trace = viz.trace(net, (1, 4, 8, 8))

    def points(**options: Any) -> list[int]:
        svg = viz.draw(trace, **options).save(tmp_path / "graph.svg").read_text(encoding="utf-8")
        found = re.search(r'<svg width="(\d+)pt" height="(\d+)pt"', svg)
        assert found is not None
        return [int(size) for size in found.groups()]

    width, height = points(collapse=None)
    assert width <= 1600
    assert height <= 6000
    assert points(collapse=None, backward=True)[1] <= 1.1 * height
    width, height = points()
    assert width <= 1400
    assert height <= 900


def test_a_picture_may_flow_to_the_right_and_be_printed_in_greys(tmp_path: Path) -> None:
    trace = chain(1e-7, 1.0)
    right = viz.draw(trace, direction="right").source
    assert "rankdir=LR" in right
    printed = viz.draw(trace, style="print", backward=True).source
    colours = re.findall(r"#([0-9A-F]{2})([0-9A-F]{2})([0-9A-F]{2})\b", printed)
    assert colours
    assert all(r == g == b for r, g, b in colours)
    viz.draw(trace, direction="right", style="print").save(tmp_path / "graph.svg")
    with pytest.raises(ValueError, match="'down' or 'right'; got 'up'"):
        viz.draw(trace, direction="up")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'color' or 'print'; got 'bw'"):
        viz.draw(trace, style="bw")  # type: ignore[arg-type]


def test_boxes_have_the_colour_of_their_cost() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 12))
    source = viz.draw(net, (2, 3), color="parameters").source
    told = {name: box_of(source, name) for name in ("n3", "n7")}
    assert labels.COSTLY in told["n7"]  # 60 of 76
    assert labels.COSTLY not in told["n3"]
    assert "78.9% of all parameters" in rows(source, "n7")


GROUNDS = [fill for fill, _ in labels.STYLES.values()] + ["#FFFFFF", labels.COSTLY]


@pytest.mark.parametrize("printed", [False, True])
def test_all_colours_can_be_told_from_their_grounds(printed: bool) -> None:
    """4.5 for text and 3 for marks (WCAG 2.2, 1.4.3 and 1.4.11), in colour and in greys."""

    def contrast(a: str, b: str) -> float:
        return labels.contrast(*map(labels.greyed, (a, b))) if printed else labels.contrast(a, b)

    for text in (labels.INK, labels.FADED):
        assert min(contrast(text, ground) for ground in GROUNDS) >= 4.5
    for text in (labels.GRADIENT, labels.DEEP):
        grounds = [fill for fill, _ in labels.STYLES.values()] + ["#FFFFFF"]
        assert min(contrast(text, ground) for ground in grounds) >= 4.5
    marks = [line for _, line in labels.STYLES.values()] + [labels.ORANGE, labels.MAGENTA]
    marks += [labels.tone(t)[0] for t in (-9.0, -6.0, -4.0, 0.0, 4.0, 6.0, math.inf, math.nan)]
    for mark in marks:
        assert contrast(mark, "#FFFFFF") >= 3
    for fill, line in labels.STYLES.values():
        assert contrast(line, fill) >= 3
    assert labels.contrast("#000000", "#FFFFFF") == pytest.approx(21)


def test_ops_of_rules_stand_in_the_frame_of_their_module() -> None:
    net = nn.Sequential(nn.Tanh(), nn.Linear(2, 2))
    source = viz.draw(net(tg.ones(1, 2, requires_grad=True)), backward="ops", depth=1).source
    assert "gm2 -> " not in source
    assert rows(source, "gm1") == ["backward of 0 Tanh"]
    whole = viz.draw(net(tg.ones(1, 2, requires_grad=True)), backward="ops").source
    assert re.search(r"cluster_bm1 .*?cluster_1 .*?style=solid", whole, re.S)


# ----- what may be drawn -------------------------------------------------------------------------


def test_models_and_functions_are_called() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    assert titles(viz.draw(net, (4, 3)).source)["n3"] == "0 Linear 2"
    assert titles(viz.draw(lambda x: x.exp(), (4, 3)).source)["n1"] == "exp"
    assert viz.draw(net, (4, 3), health=True).trace.steps
    assert not viz.draw(net, (4, 3)).trace.steps
    with pytest.raises(TypeError, match="got Tensor, Trace"):
        viz.draw(tg.ones(1), viz.trace(tg.ones(1)))


def test_a_trace_without_ops_of_rules_cannot_show_them() -> None:
    x = tg.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match=r"backward='ops'\)"):
        viz.draw(viz.trace(x.exp()), backward="ops")
    trace = viz.trace(x.exp(), backward="ops")
    expected = viz.draw(x.exp(), backward="ops").source
    assert viz.draw(trace, backward="ops").source == expected
    assert set(titles(viz.draw(trace, backward=True).source)) == {"n0", "n1"}


# ----- health ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("t", "expected"),
    [
        (0.0, {"color": "#808080", "penwidth": "2"}),
        (-2.0, {"color": "#808080", "penwidth": "2"}),
        (2.0, {"color": "#808080", "penwidth": "2"}),
        (-4.0, {"color": "#407999", "penwidth": "1.5"}),  # half way to blue
        (-6.0, {"color": "#0072B2", "penwidth": "1"}),
        (-30.0, {"color": "#0072B2", "penwidth": "1"}),
        (-math.inf, {"color": "#0072B2", "penwidth": "1", "style": "dashed"}),
        (4.0, {"color": "#AA6F40", "penwidth": "3"}),  # half way to vermilion
        (6.0, {"color": "#D55E00", "penwidth": "4"}),
        (math.nan, {"color": labels.MAGENTA, "penwidth": "4", "style": "dashed"}),
        (None, {"color": "#808080", "penwidth": "1", "style": "dotted"}),
    ],
)
def test_the_scale_of_gradients(t: float | None, expected: dict[str, str]) -> None:
    assert labels.arrow(t) == expected


def test_gradient_arrows_have_the_look_of_what_is_judged() -> None:
    trace = chain(1e-7, 0.0, 1e7, math.nan, 1.0)
    trace.nodes[-1].inputs[0].name = "w"
    both, one = viz.draw(trace, backward=True).source, viz.draw(trace).source
    judged = judge(trace, trace.steps[0]).edges
    for i in range(5):
        expected = labels.arrow(judged.get(f"{i + 1}:0"))
        on, back = look(both, f"n{i}", f"n{i + 1}")
        assert "color" not in on
        assert "dir=back" in back
        for told in (back, *look(one, f"n{i}", f"n{i + 1}")):
            assert all(re.search(f'{k}="?{v}"?', told) for k, v in expected.items())
    del trace.steps[0].shares["1:0"]
    assert "style=dotted" in look(viz.draw(trace).source, "n0", "n1")[0]


def test_forward_arrows_show_values_that_are_not_finite() -> None:
    trace = chain(1.0, 1.0, 1.0)
    trace.steps[0].values[2].nan = 1
    for backward in (False, True):
        source = viz.draw(trace, backward=backward).source
        bad = f'color="{labels.MAGENTA}"'
        assert bad in look(source, "n2", "n3")[0]
        assert "style=dashed" in look(source, "n2", "n3")[0]
        assert bad not in look(source, "n1", "n2")[0]


def test_only_a_picture_with_numbers_has_their_legend() -> None:
    trace = chain(1.0)
    told = words(viz.draw(trace).source.splitlines()[1])
    for key in ("gradient ÷10⁶", "gradient as at the output", "gradient ×10⁶"):
        assert key in told
    plain = viz.draw(trace, health=False).source
    assert "norm" not in plain
    assert "÷10⁶" not in plain
    trace.steps = []
    assert viz.draw(trace).source == plain
    with pytest.raises(ValueError, match=r"no steps.*values=True, gradients=True"):
        viz.draw(trace, health=True)


def test_merged_arrows_show_the_worst_of_them() -> None:
    trace = written(["tanh"] * 4)
    trace.steps = [Step(shares={"2:0": 1.0, "3:0": 1.0, "4:0": math.nan})]
    source = viz.draw(trace, collapse="repeats").source
    assert labels.MAGENTA in look(source, "n1", "n1")[0]
    assert "of equal blocks boxes show the first" in words(source)
    assert "of equal blocks" not in words(viz.draw(trace, collapse=None).source)


def test_a_box_in_full_health() -> None:
    trace = chain(1.0, 1e-8)
    trace.steps[0].values[1].saturated = 0.5
    source = viz.draw(trace, formulas=False).source
    assert rows(source, "n1") == [
        *("tanh", "%1 float32 (2, 3)", "0.5 ± 0.25", "-1 to 2"),
        *("saturated 50%", "gradient norm 1e-08"),
    ]
    bars = re.findall(r'WIDTH="5" HEIGHT="(\d+)" BGCOLOR', box_of(source, "n1"))
    assert bars == ["8", "16"]
    assert f'<FONT COLOR="{labels.GRADIENT}"><B>saturated 50%</B></FONT>' in source


def test_what_was_not_computed_is_a_dash() -> None:
    trace = chain(1.0)
    trace.steps = [Step()]
    for backward in (False, True):
        told = rows(viz.draw(trace, backward=backward).source, "n1")
        assert "value –" in told
        assert "gradient norm –" in told


def test_a_single_number_and_an_empty_summary() -> None:
    trace = chain(1.0)
    trace.steps[0].values = {0: Summary(1, mean=2.5, std=0.0), 1: Summary(3, nan=2, inf=1)}
    source = viz.draw(trace).source
    assert "value 2.5" in rows(source, "n0")
    assert "2 NaN and 1 inf of 3" in rows(source, "n1")


def test_dead_and_saturated_shares() -> None:
    trace = chain(1.0)
    trace.steps[0].values[1].dead = 0.25
    assert "dead 25%" in rows(viz.draw(trace).source, "n1")
    trace.steps[0].values[1].dead = 0.5
    shown = box_of(viz.draw(trace).source, "n1")
    assert f'<FONT COLOR="{labels.GRADIENT}"><B>dead 50%</B></FONT>' in shown


@pytest.mark.parametrize(
    ("ratio", "color"),
    [(1e-3, ""), (1e-4, ""), (1e-2, ""), (9e-5, labels.DEEP), (0.011, labels.GRADIENT)],
)
def test_update_ratios(ratio: float, color: str) -> None:
    trace = chain(1.0)
    trace.steps[0].updates = {0: ratio}
    told = f"update/weight {ratio:.3g}"
    expected = f'<FONT COLOR="{color}"><B>{told}</B></FONT>' if color else f">{told}<BR"
    assert expected in viz.draw(trace).source
    trace.steps[0].updates = {99: 1.0}
    assert "update/weight –" in viz.draw(trace).source
    trace.steps[0].updates = {}
    assert "update/weight" not in viz.draw(trace).source


def test_a_long_histogram_is_told_in_sixteen_bars() -> None:
    trace = chain(1.0)
    trace.steps[0].values = {1: Summary(9, 0.0, 1.0, 0.0, 1.0, histogram=[1] * 100)}
    shown = box_of(viz.draw(trace).source, "n1")
    assert shown.count(f'BGCOLOR="{labels.FADED}"') == 15  # each of 7 counts, and what is left


def test_few_are_seen_beside_many_in_a_histogram() -> None:
    heights = re.findall(r'HEIGHT="(\d+)" BGCOLOR', labels.histogram([1, 0, 1000]))
    assert heights == ["1", "16"]


def test_steps_are_chosen_by_their_number() -> None:
    trace = chain(1.0)
    trace.steps = [Step(number=n, values={1: Summary(1, mean=float(n))}) for n in (10, 20)]
    assert "value 20" in rows(viz.draw(trace).source, "n1")
    assert "value 10" in rows(viz.draw(trace, step=10).source, "n1")
    with pytest.raises(KeyError, match="no step 15"):
        viz.draw(trace, step=15)


def test_the_first_bad_value_is_marked() -> None:
    """At the op that made it from finite inputs, not at those that only pass it on."""
    trace = chain(1.0, 1.0, 1.0, 1.0)
    for i in (2, 3, 4):
        trace.steps[0].values[i].nan = 1
    source = viz.draw(trace).source
    assert source.count("first NaN here") == 1
    assert rows(source, "n2")[0] == "first NaN here"
    assert box_of(source, "n2").startswith('<TABLE BORDER="4"')
    assert f'COLOR="{labels.MAGENTA}"' in box_of(source, "n2").splitlines()[0]
    del trace.steps[0].values[2]  # not known: then nobody knows where it arose
    assert "first NaN seen here" in rows(viz.draw(trace).source, "n3")
    trace.steps[0].values[1].inf = 1
    assert "first inf here" in rows(viz.draw(trace).source, "n1")


def test_what_was_seen_to_break_is_told_where_it_broke() -> None:
    trace = chain(1.0, 1.0, 1.0)
    trace.steps[0].values = {3: Summary(2, nan=1)}
    trace.steps[0].broken = Broken(2, "log got -2 at [3, 1], train.py:12")
    told = rows(viz.draw(trace).source, "n2")
    assert " ".join(told).startswith("first NaN or inf here: log got -2 at [3, 1], train.py:12 ")
    trace.steps[0].broken_gradient = Broken(1, "sqrt at 0")
    assert "first NaN or inf gradient made here: sqrt at 0" in " ".join(
        rows(viz.draw(trace).source, "n1")
    )


def test_the_rule_that_made_the_first_bad_gradient_is_marked() -> None:
    trace = chain(math.nan, math.inf, 1.0)
    for backward in (False, True):
        source = viz.draw(trace, backward=backward).source
        assert source.count("first inf gradient made here") == 1
        assert "first inf gradient made here" in rows(source, "n2")
    trace.steps[0].shares = {}
    assert "first inf gradient here" in rows(viz.draw(trace).source, "n1")


def test_a_mark_is_seen_on_a_folded_module() -> None:
    trace = written([("A", ["tanh", "log"]), ("B", ["relu"])])
    trace.steps = [Step(values={1: Summary(2, 1.0), 2: Summary(2, inf=1)})]
    source = viz.draw(trace, depth=1).source
    assert rows(source, "m0")[:2] == ["first inf here", "log %2"]


def test_notes_stand_on_what_they_are_about() -> None:
    trace = written([("A", ["tanh", "log"]), ("B", ["relu"]), "exp"])
    for i, note in ((1, "added"), (2, "added"), (4, "other shape")):
        trace.nodes[i].note = note
    trace.modules[0].note = trace.modules[1].note = "no gradient flows here"
    folded, whole = (viz.draw(trace, depth=depth).source for depth in (1, None))
    assert rows(folded, "m0")[:2] == ["no gradient flows here", "2 of its nodes: added"]
    assert rows(whole, "n1")[0] == "added"
    assert rows(whole, "n3")[0] == "no gradient flows here"
    assert frames(whole)["m0"].split("\u00a0")[0].startswith("0 A")
    assert "no gradient flows here" in frames(whole)["m0"]
    for source in (folded, whole):
        assert rows(source, "n4")[0] == "other shape"
        assert "pointed out" in words(source.splitlines()[1])  # what orange means


def test_a_bias_before_a_norm_has_no_effect() -> None:
    tg.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    loss = net(tg.randn(8, 1, 6, 6)).sum()
    source = viz.draw(loss, health=True).source
    assert "bias: no effect before batch norm" in words(source)


# ----- details, failures, playbacks --------------------------------------------------------------


def test_details_are_shown_if_asked_for() -> None:
    trace = chain(1.0)
    node = trace.nodes[1]
    node.source, node.code, node.flops = "model.py:12", "y = x.tanh()", 3_400_000
    node.saved, node.seconds, node.backward_seconds = {"y": 1_200_000}, 8e-4, 2e-5
    before = viz.draw(trace, health=False).source
    assert "model.py" not in before
    told = rows(viz.draw(trace, health=False, details=True).source, "n1")
    assert told[2:5] == [
        "model.py:12",
        "y = x.tanh()",
        "3.4 MFLOP, saves 1.2 MB, 0.8 ms + 20 µs",
    ]


@pytest.mark.parametrize(
    ("seconds", "expected"), [(5e-6, "5 µs"), (1.5e-4, "0.15 ms"), (0.25, "250 ms"), (2.0, "2 s")]
)
def test_durations(seconds: float, expected: str) -> None:
    assert labels.seconds(seconds) == expected


def test_a_failure_is_a_box_with_its_inputs() -> None:
    trace = written([("A", ["wa"]), ("B", [])])
    before = viz.draw(trace).source
    inputs = [("input", 2, "float32 (2, 3)"), ("dim", None, "7")]
    trace.failure = Failure(
        "matmul", "shapes do not <fit>", inputs, module=1, source="a.py:3", code="a @ b"
    )
    source = viz.draw(trace).source
    assert rows(source, "failure") == [
        *("input", "float32 (2, 3)", "dim", "7"),
        *("matmul failed", "a.py:3", "a @ b", "shapes do not <fit>"),
    ]
    assert arrows(source) - arrows(before) == {("n2", "failure"): 1}
    assert arrows(before) - arrows(source) == {("n2", "o0"): 1}  # there is no output
    assert look(source, "n2", "failure") == [f'[color="{labels.STYLES["failure"][1]}"]']
    legends = [text.splitlines()[1] for text in (before, source)]
    assert [">failure<" in legend for legend in legends] == [False, True]
    ET.fromstring(viz.draw(trace)._repr_svg_())


def test_a_failed_backward_pass_marks_its_node() -> None:
    trace = chain(1.0, 1.0)
    trace.failure = Failure("tanh", "no", [("x", 1, "")], during="backward", node=2)
    source = viz.draw(trace).source
    assert "the backward pass failed here" in rows(source, "n2")


def test_a_failed_op_in_a_folded_module_is_seen() -> None:
    trace = written([("A", ["wa", "relu"])])
    trace.failure = Failure("matmul", "no", [("x", 3, "")], module=0)
    source = viz.draw(trace, depth=1).source
    assert look(source, "m0", "failure")


def test_frames_show_how_far_a_playback_got() -> None:
    trace = chain(1e-7, 1e-7, 1e-7)
    trace.frames = [Frame(i, [f"frame of <{i}>", "    y"]) for i in (3, 2, 1)]
    counts = []
    for frame in range(3):
        source = viz.draw(trace, frame=frame).source
        assert f"frame of <{3 - frame}>" in words(source)
        ways = [look(source, f"n{i}", f"n{i + 1}")[1] for i in range(3)]
        shown = [i for i, way in enumerate(ways) if "style=invis" not in way]
        assert shown == list(range(2 - frame, 3))
        counts.append(source.count("style=invis"))
        assert labels.ORANGE in box_of(source, f"n{3 - frame}").splitlines()[0]
        assert "gradient norm 1e-07" in rows(source, f"n{2 - frame}")
        # Formulas are there from the first, in the colour of their ground: no box changes its size.
        hidden = f'<FONT COLOR="{labels.STYLES["gradient"][0]}"'
        unseen = [hidden in box_of(source, f"n{i}") for i in (1, 2, 3)]
        assert unseen == [frame == 0, False, False]
        assert frame == 2 or "gradient norm –" in rows(source, f"n{1 - frame}")
    assert counts == [2, 1, 0]
    with pytest.raises(ValueError, match="no frame 3; the trace has 3"):
        viz.draw(trace, frame=3)


def test_a_gradient_that_is_not_complete_is_not_told() -> None:
    x = Node(0, "x", "parameter", "parameter", "x", None, [], "float32", "cpu", True)
    nodes = [x]
    for i, reads in enumerate([(0,), (0,), (1, 2)], 1):
        inputs = [Input(f"x{port}", source, gradient=True) for port, source in enumerate(reads)]
        nodes.append(Node(i, "", "op", "op", "", None, [], "float32", "cpu", True, "", inputs))
    step = Step(gradients={i: Summary(1, mean=-2.0, norm=2.0) for i in range(4)})
    trace = Trace(nodes, [3], steps=[step], frames=[Frame(i, []) for i in (3, 2, 1)])
    assert "gradient –" in rows(viz.draw(trace, frame=1).source, "n0")
    assert "gradient -2" in rows(viz.draw(trace, frame=2).source, "n0")


# ----- any text is only text ---------------------------------------------------------------------

HOSTILE = "\\N\"'</TABLE>>]; evil -> n0 <script>alert(1)</script>\x00\n&#0;]]>-->"


def told_by(name: str) -> Trace:
    """A trace that says this wherever it can."""
    trace = written([("A", [("B", ["wa", "relu"])]), ("C", ["tanh"] * 3)])
    for node in trace.nodes:
        node.name = node.op = node.attributes = node.source = node.code = node.key = name
        node.dtype = node.device = name
        for entry in node.inputs:
            entry.name = entry.formula = name
            entry.where = {name: name}
        node.inputs += [Input(name, None, name)] if node.kind == "op" else []
    for module in trace.modules:
        module.path = module.type = module.details = name
    trace.title = name
    trace.steps = [Step(values={3: Summary(2, nan=1)})]
    trace.frames = [Frame(3, [name, name])]
    trace.failure = Failure(name, name, [(name, 3, name)], module=1, source=name, code=name)
    return trace


@given(st.text(max_size=30) | st.text("\\\"<>{}|&;\n\x00 '", max_size=20))
@example(HOSTILE)
@example("\ud800\x1b\ufffe\u2028")
def test_what_a_trace_says_is_only_text(name: str) -> None:
    source = viz.draw(told_by(name), backward=True, details=True, frame=0, depth=2).source
    folded = viz.draw(told_by(name), details=True, collapse="repeats")
    root = ET.fromstring(folded._repr_svg_())
    groups = [group for group in root.iter(f"{SVG}g") if group.get("class") == "node"]
    assert {group.findtext(f"{SVG}title") for group in groups} == {
        *folded.view.boxes,
        "failure",
        "diagnosis",
    }
    assert not [*root.iter(f"{SVG}a"), *root.iter(f"{SVG}script")]
    ends = {end for arrow in arrows(source) for end in arrow}
    assert all(re.fullmatch(r"n\d+|m\d+|o\d+|failure", end) for end in ends)


def test_long_text_is_cut() -> None:
    source = viz.draw(told_by("<&\\" * 40_000), backward=True, details=True).source
    assert len(source) < 100_000


# ----- the same trace, the same bytes ------------------------------------------------------------


def drawn(trace: Trace) -> str:
    options: list[dict[str, Any]] = [
        {"backward": True, "details": True},
        {"collapse": "repeats", "backward": True},
        {"depth": 1},
        {"frame": 0},
    ]
    text = "".join(viz.draw(trace, **option).source for option in options)
    return hashlib.sha256(text.encode()).hexdigest()


def test_every_interpreter_draws_the_same(tmp_path: Path) -> None:
    trace = chain(*[1.0] * 5)
    trace.frames = [Frame(5, ["a"])]
    other = written([("A", ["wa", "relu"]), ("B", ["tanh"])] * 4)
    trace.modules, trace.nodes[2].module = [Module(0, "a", "A", None)], 0
    other.frames = [Frame(4, ["b"])]
    for i, each in enumerate((trace, other)):
        (tmp_path / f"{i}.json").write_text(each.to_json(), encoding="utf-8")
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from test_health_drawing import Trace, drawn\n"
        "print(*(drawn(Trace.from_json(Path(p).read_text('utf-8'))) for p in sys.argv[2:]))"
    )
    command = [sys.executable, "-c", program, str(Path(__file__).parent)]
    for seed in ("1", "2"):
        done = subprocess.run(
            [*command, str(tmp_path / "0.json"), str(tmp_path / "1.json")],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.stdout.split() == [drawn(trace), drawn(other)], done.stderr


# ----- a picture always comes --------------------------------------------------------------------


@pytest.fixture
def slow_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Put a program called dot first on PATH: it echoes small graphs and is stuck on others."""

    def install(most: int) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        program = folder / "dot"
        program.write_text(
            f"#!{sys.executable}\nimport re, sys, time\n"
            "text = sys.stdin.buffer.read()\n"
            f"if len(re.findall(rb'^\\t+(?:n|m)\\d+ .label', text, re.M)) > {most}:\n"
            "    time.sleep(60)\n"
            "sys.stdout.buffer.write(text)\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)

    return install


def varied(length: int) -> Trace:
    """Ops in a row of which nothing repeats."""
    return written([f"op{i}" for i in range(length)])


@pytest.mark.parametrize(
    ("trace", "most", "left"),
    [
        (written([("Block", ["tanh", "relu"])] * 50), 10, 3),
        (written([(f"Block{i}", [f"a{i}", f"b{i}"]) for i in range(50)]), 60, 51),
        (varied(400), 50, 37),
    ],
    ids=["repeats", "depth", "chunks"],
)
def test_a_slow_picture_is_collapsed(
    trace: Trace, most: int, left: int, slow_dot: Callable[[int], None], tmp_path: Path
) -> None:
    slow_dot(most)
    picture = viz.draw(trace, collapse=None)
    started = time.monotonic()
    with pytest.warns(
        UserWarning, match=rf"^Collapsed from \d+ boxes to {left}, .* save as \.html"
    ):
        path = picture.save(tmp_path / "graph.svg", timeout=5.0)
    text = path.read_text(encoding="utf-8")
    assert time.monotonic() - started < 8
    size = len(trace.nodes)
    note = f"Collapsed from {size} boxes to {left}, since it took longer than 2.5 s. To see all: "
    assert note in words(text)
    assert "Collapsed" not in picture.source


def test_a_hopeless_picture_is_not_tried(
    slow_dot: Callable[[int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_dot(10)
    monkeypatch.setattr(drawing, "HOPELESS", 2)  # for each of 30 seconds
    picture = viz.draw(written([("Block", ["tanh", "relu"])] * 50), collapse=None)
    with pytest.warns(UserWarning, match="would take longer than 30 s"):
        path = picture.save(tmp_path / "graph.svg")
    assert "since laying out so many would take longer" in words(path.read_text(encoding="utf-8"))


def test_a_renderer_that_is_stuck_is_an_error_in_time(
    slow_dot: Callable[[int], None], tmp_path: Path
) -> None:
    slow_dot(0)
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"collapsed to 3 boxes was rendered within 2 s\."):
        viz.draw(written([("Block", ["tanh", "relu"])] * 50), collapse=None).save(
            tmp_path / "graph.svg", timeout=2.0
        )
    assert time.monotonic() - started < 5
    with pytest.raises(TimeoutError, match=r"did not finish within 0\.5 s.*\.dot\.$"):
        viz.draw(written(["relu"])).save(tmp_path / "graph.svg", timeout=0.5)


def test_three_thousand_nodes_are_rendered() -> None:
    trace = written([("Block", ["wconv", "relu", "tanh", "wlinear"])] * 500)
    source = viz.draw(trace).source
    assert len(titles(source)) == 5
    assert ET.fromstring(viz.draw(varied(3000))._repr_svg_()).tag == f"{SVG}svg"


def test_a_large_png_has_a_bounded_number_of_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinygrad_cv.viz.render.PIXELS", 200_000)
    path = viz.draw(varied(60), collapse=None).save(tmp_path / "graph.png")
    width, height = (int.from_bytes(path.read_bytes()[i : i + 4], "big") for i in (16, 20))
    assert 100_000 < width * height < 250_000


# ----- files -------------------------------------------------------------------------------------


def test_json_and_html_and_pdf(tmp_path: Path) -> None:
    trace = chain(1.0, math.nan, 0.0)
    picture = viz.draw(trace, backward=True)
    saved = picture.save(tmp_path / "graph.json").read_text(encoding="utf-8")
    assert Trace.from_json(saved).to_json() == trace.to_json()
    assert picture.save(tmp_path / "graph.html").read_text(encoding="utf-8").startswith("<!")
    first = picture.save(tmp_path / "graph.pdf").read_bytes()
    assert first.startswith(b"%PDF-")
    assert picture.save(tmp_path / "graph.pdf").read_bytes() == first
    assert b"CreationDate" not in first


def test_a_page_begins_as_the_picture_is_folded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def page(trace: Trace, folded: list[int], **rest: Any) -> str:
        given.extend([trace, folded, rest])
        return ""

    monkeypatch.setattr("tinygrad_cv.viz.page.page", page)
    picture = viz.draw(
        written([("A", ["wa", "tanh"]), *[("B", ["relu"])] * 3]),
        collapse="repeats",
        expand=lambda m: False if m.type == "A" else None,
    )
    picture.save(tmp_path / "graph.html")
    assert [given[0].modules[i].type for i in given[1]] == ["A"]
    [group] = given[2]["repeated"]
    assert given[0].modules[group].repeat == 3


def test_a_pdf_shows_what_the_svg_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each text once, within the page, and no arrow as a filled shape."""
    from matplotlib.backends.backend_pdf import RendererPdf

    texts: list[str] = []
    filled: list[Any] = []
    draw_text, draw_path = RendererPdf.draw_text, RendererPdf.draw_path

    def text(self: Any, context: Any, x: float, y: float, told: str, *rest: Any) -> None:
        assert x >= 0
        assert y >= 0
        texts.append(told.replace("\u00a0", " "))
        draw_text(self, context, x, y, told, *rest)

    def path(self: Any, context: Any, outline: Any, transform: Any, fill: Any = None) -> None:
        if fill is not None and fill[:3] != (1.0, 1.0, 1.0):
            filled.append(outline.codes)
        draw_path(self, context, outline, transform, fill)

    monkeypatch.setattr(RendererPdf, "draw_text", text)
    monkeypatch.setattr(RendererPdf, "draw_path", path)
    monkeypatch.setenv("PATH", str(tmp_path))  # no dot, which makes PDFs itself
    picture = viz.draw(written([("A", ["wa"])]), backward=True)
    picture.save(tmp_path / "graph.pdf")
    root = ET.fromstring(picture._repr_svg_())
    expected = [(text.text or "").replace("\u00a0", " ") for text in root.iter(f"{SVG}text")]
    assert sorted(t for t in texts if t.strip()) == sorted(t for t in expected if t.strip())
    assert not [codes for codes in filled if 4 in codes]  # no curve


def test_a_pdf_without_matplotlib_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tinygrad_cv\[viz\]'"):
        viz.draw(tg.ones(1)).save(tmp_path / "graph.pdf")


def test_a_pdf_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tinygrad_cv.viz import render

    layout = {"bb": "0,0,10,10", "objects": [{}] * 10}
    with pytest.raises(TimeoutError):
        render._pdf(layout, time.monotonic() - 1)
    wide = render._pdf({"bb": "0,0,100000,10"}, time.monotonic() + 60)
    [box] = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", wide)
    assert float(box[0]) <= 14_400


def test_dot_makes_its_own_pdf(slow_dot: Callable[[int], None], tmp_path: Path) -> None:
    slow_dot(99)
    picture = viz.draw(written(["relu"]))
    assert picture.save(tmp_path / "graph.pdf").read_text(encoding="utf-8") == picture.source


def test_a_notebook_gets_a_picture_and_a_line() -> None:
    bundle = viz.draw(chain(1.0))._repr_mimebundle_()
    assert bundle["text/plain"] == "<Drawing of 2 nodes in 2 boxes>"
    assert ET.fromstring(bundle["image/svg+xml"]).tag == f"{SVG}svg"
    assert bundle.keys() == {"text/plain", "image/svg+xml"}


def test_a_rendered_picture_of_a_real_model(tmp_path: Path) -> None:
    net = nn.Sequential(*[nn.Sequential(nn.Linear(3, 3), nn.Tanh()) for _ in range(4)])
    picture = viz.draw(
        lambda x: tg.cross_entropy(net(x), tg.tensor(np.array([0, 1]))),
        (2, 3),
        backward=True,
        health=True,
        details=True,
        collapse="repeats",
    )
    told = boxes(picture.save(tmp_path / "graph.svg"))
    assert set(picture.view.boxes) < set(told)
    assert any("saturated 0%" in text for text in told.values())
    assert "0 … 3 Sequential ×4" in words(picture.source)
    assert json.loads(picture.trace.to_json())["steps"]


def test_a_finite_gradient_at_a_value_that_is_not_is_in_no_colour() -> None:
    told = Summary(count=3, mean=0.5, norm=0.8)
    assert labels.gradient_row(told, t=math.nan) == "gradient norm 0.8"
    assert "<FONT" in labels.gradient_row(told, t=5.0)
