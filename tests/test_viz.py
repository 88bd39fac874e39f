"""Pictures: what they show, that they change nothing, and how drawing fails."""

import hashlib
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv import nn, viz

pytestmark = pytest.mark.host  # a drawing is made of plain data; test_tracing is about devices

MODES = (False, True, "ops")
SVG = "{http://www.w3.org/2000/svg}"


def named(data: Any, name: str, requires_grad: bool = True) -> tg.Tensor:
    tensor = tg.tensor(data, requires_grad=requires_grad)
    tensor.name = name
    return tensor


class Scene:
    """A ConvNet with batch norm, as the lectures draw it, and its loss on a batch."""

    def __init__(self) -> None:
        tg.manual_seed(0)
        rng = np.random.default_rng(0)
        self.model = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(8 * 4 * 4, 10),
        )
        for name, parameter in self.model.named_parameters():
            parameter.name = name
        self.images = tg.tensor(rng.standard_normal((4, 3, 8, 8)).astype("float32"))
        self.labels = tg.tensor(rng.integers(0, 10, 4))
        self.images.name = "images"
        self.loss = tg.cross_entropy(self.model(self.images), self.labels)
        self.loss.name = "loss"


def words(source: str) -> str:
    """What can be read in DOT text: no tags, one line for each line of a box."""
    broken = re.sub(r"<BR[^>]*>|</TD>", "\n", source)
    return unescape(re.sub(r"<[^<>]*>", "", broken)).replace("\u00a0", " ")


def arrows(source: str) -> Counter[tuple[str, str]]:
    """The arrows of DOT text from tail to head, without their ports."""
    found: Counter[tuple[str, str]] = Counter()
    for upper, lower, rest in re.findall(r"^\t+(\w+)\S* -> (\w+)(.*)$", source, re.MULTILINE):
        found[(lower, upper) if "dir=back" in rest else (upper, lower)] += 1
    return found


def titles(source: str) -> dict[str, str]:
    """The boxes of DOT text by id, each with its title."""
    tables = re.findall(
        r"^\t+(\w+) \[label=<(<TABLE.*?</TABLE>)>\]", source, re.MULTILINE | re.DOTALL
    )
    return {name: title for name, table in tables for title in re.findall("<B>(.*?)</B>", table)}


def boxes(svg: Path) -> dict[str, str]:
    """The boxes of a rendered picture by id, each with the text in it."""
    root = ET.fromstring(svg.read_bytes())
    found = {}
    for group in root.iter(f"{SVG}g"):
        if group.get("class") == "node":
            title = group.findtext(f"{SVG}title")
            assert title is not None
            texts = (text.text or "" for text in group.iter(f"{SVG}text"))
            found[title] = " ".join(" ".join(texts).split())
    return found


# ----- what is drawn -----------------------------------------------------------------------------

TWO_GATES = """\
digraph {
	graph [bgcolor=white fontcolor="#222222" fontname=Helvetica fontsize=11 label=<<TABLE\
 BORDER="0" CELLBORDER="0" CELLSPACING="6" CELLPADDING="3"><TR><TD BORDER="1"\
 COLOR="#0072B2" BGCOLOR="#D6E9F6">parameter</TD><TD BORDER="1" COLOR="#222222"\
 BGCOLOR="#FFFFFF">op</TD><TD BORDER="1" COLOR="#D55E00" BGCOLOR="#FCE9DE">gradient</TD>\
<TD><FONT COLOR="#666666">y: the output of an op; g = ∂L/∂y: the gradient that reaches\
 it</FONT></TD></TR></TABLE>> labelloc=b newrank=true nodesep=0.25 ranksep=0.35]
	node [fontcolor="#222222" fontname=Helvetica fontsize=11 shape=plain]
	edge [arrowsize=0.7 color="#222222"]
	subgraph cluster_forward {
		graph [fontcolor="#666666" fontsize=18 label=forward labelloc=t peripheries=0]
		n0 [label=<<TABLE CELLBORDER="0" CELLSPACING="0" CELLPADDING="3" COLOR="#0072B2"\
 BGCOLOR="#D6E9F6">
<TR><TD COLSPAN="1"><FONT POINT-SIZE="13"><B>x</B></FONT></TD></TR>
<TR><TD COLSPAN="1"><FONT COLOR="#666666">%0 </FONT>float32 ()</TD></TR>
</TABLE>>]
		n1 [label=<<TABLE CELLBORDER="0" CELLSPACING="0" CELLPADDING="3" COLOR="#0072B2"\
 BGCOLOR="#D6E9F6">
<TR><TD COLSPAN="1"><FONT POINT-SIZE="13"><B>y</B></FONT></TD></TR>
<TR><TD COLSPAN="1"><FONT COLOR="#666666">%1 </FONT>float32 ()</TD></TR>
</TABLE>>]
		n2 [label=<<TABLE CELLBORDER="0" CELLSPACING="0" CELLPADDING="3" COLOR="#222222"\
 BGCOLOR="#FFFFFF">
<TR><TD PORT="i0">x</TD><VR/><TD PORT="i1">y</TD></TR>
<HR/>
<TR><TD COLSPAN="2"><FONT POINT-SIZE="13"><B>add</B></FONT></TD></TR>
<TR><TD COLSPAN="2"><FONT COLOR="#666666">%2 </FONT>float32 ()</TD></TR>
</TABLE>>]
		n0 -> n2:i0:n
		n1 -> n2:i1:n
		n3 [label=<<TABLE CELLBORDER="0" CELLSPACING="0" CELLPADDING="3" COLOR="#0072B2"\
 BGCOLOR="#D6E9F6">
<TR><TD COLSPAN="1"><FONT POINT-SIZE="13"><B>z</B></FONT></TD></TR>
<TR><TD COLSPAN="1"><FONT COLOR="#666666">%3 </FONT>float32 ()</TD></TR>
</TABLE>>]
		n4 [label=<<TABLE CELLBORDER="0" CELLSPACING="0" CELLPADDING="3" COLOR="#222222"\
 BGCOLOR="#FFFFFF">
<TR><TD PORT="i0">x</TD><VR/><TD PORT="i1">y</TD></TR>
<HR/>
<TR><TD COLSPAN="2"><FONT POINT-SIZE="13"><B>mul</B></FONT></TD></TR>
<TR><TD COLSPAN="2"><FONT COLOR="#666666">%4 </FONT>float32 ()</TD></TR>
</TABLE>>]
		n2 -> n4:i0:n
		n3 -> n4:i1:n
	}
	subgraph cluster_backward {
		graph [fontcolor="#B34700" fontsize=18 label=backward labelloc=t peripheries=0]
		g2 [label=<<TABLE CELLBORDER="0" CELLSPACING="0" CELLPADDING="3" COLOR="#D55E00"\
 BGCOLOR="#FCE9DE">
<TR><TD PORT="i0"><FONT COLOR="#B34700">∂L/∂x<BR/>()</FONT></TD><VR/><TD PORT="i1"><FONT\
 COLOR="#B34700">∂L/∂y<BR/>()</FONT></TD></TR>
<HR/>
<TR><TD COLSPAN="2"><FONT POINT-SIZE="13"><B>backward of add</B></FONT></TD></TR>
<TR><TD COLSPAN="2">∂L/∂x = g<BR ALIGN="LEFT"/>∂L/∂y = g<BR ALIGN="LEFT"/></TD></TR>
</TABLE>>]
		g0 -> g2:i0:n [color="#B34700" dir=back]
		g1 -> g2:i1:n [color="#B34700" dir=back]
		g4 [label=<<TABLE CELLBORDER="0" CELLSPACING="0" CELLPADDING="3" COLOR="#D55E00"\
 BGCOLOR="#FCE9DE">
<TR><TD PORT="i0"><FONT COLOR="#B34700">∂L/∂x<BR/>()</FONT></TD><VR/><TD PORT="i1"><FONT\
 COLOR="#B34700">∂L/∂y<BR/>()</FONT></TD></TR>
<HR/>
<TR><TD COLSPAN="2"><FONT POINT-SIZE="13"><B>backward of mul</B></FONT></TD></TR>
<TR><TD COLSPAN="2">g = 1</TD></TR>
<TR><TD COLSPAN="2">∂L/∂x = g · y<BR ALIGN="LEFT"/>∂L/∂y = g · x<BR ALIGN="LEFT"/></TD></TR>
</TABLE>>]
		g2 -> g4:i0:n [color="#B34700" dir=back]
		g3 -> g4:i1:n [color="#B34700" dir=back]
		g0 [label=<<TABLE CELLBORDER="0" CELLSPACING="0" CELLPADDING="3" COLOR="#D55E00"\
 BGCOLOR="#FCE9DE">
<TR><TD COLSPAN="1"><FONT POINT-SIZE="13"><B>gradient of x</B></FONT></TD></TR>
<TR><TD COLSPAN="1">float32 ()</TD></TR>
</TABLE>>]
		g1 [label=<<TABLE CELLBORDER="0" CELLSPACING="0" CELLPADDING="3" COLOR="#D55E00"\
 BGCOLOR="#FCE9DE">
<TR><TD COLSPAN="1"><FONT POINT-SIZE="13"><B>gradient of y</B></FONT></TD></TR>
<TR><TD COLSPAN="1">float32 ()</TD></TR>
</TABLE>>]
		g3 [label=<<TABLE CELLBORDER="0" CELLSPACING="0" CELLPADDING="3" COLOR="#D55E00"\
 BGCOLOR="#FCE9DE">
<TR><TD COLSPAN="1"><FONT POINT-SIZE="13"><B>gradient of z</B></FONT></TD></TR>
<TR><TD COLSPAN="1">float32 ()</TD></TR>
</TABLE>>]
	}
	{
		graph [rank=same]
		n0
		g0
	}
	{
		graph [rank=same]
		n1
		g1
	}
	{
		graph [rank=same]
		n2
		g2
	}
	{
		graph [rank=same]
		n3
		g3
	}
	{
		graph [rank=same]
		n4
		g4
	}
	n4 -> g4 [color="#B34700" constraint=false]
}
"""


def test_two_gates_in_full() -> None:
    x, y, z = named(-2.0, "x"), named(5.0, "y"), named(-4.0, "z")
    assert viz.draw((x + y) * z, backward=True).source == TWO_GATES


# Written down by hand from the op files: what teachers point at.
CONVNET_FORMULAS = {
    "backward of conv2d": ["∂L/∂w = conv_weight(x, g)", "∂L/∂b = sum(g)"],
    "backward of batch_norm": [
        "∂L/∂x = s · (subtract_mean(g) - z · mean(g · z))",
        "    where d = subtract_mean(x)",
        "    where r = 1 / sqrt(mean(d · d) + 1e-05)",
        "    where z = d · r",
        "    where s = r · reshape(w)",
        "∂L/∂w = sum(g · z)",
        "∂L/∂b = sum(g)",
    ],
    "backward of relu": ["∂L/∂x = where(positive, g, 0.0)"],
    "backward of max_pool2d": ["∂L/∂x = window_scatter(g, index)"],
    "backward of reshape": ["∂L/∂x = reshape(g)"],
    "backward of linear": ["∂L/∂x = g @ w", "∂L/∂w = gᵀ @ x", "∂L/∂b = sum(g)"],
    "backward of cross_entropy": [  # softmax(x) - one_hot(labels), with all digits of p - 1
        "∂L/∂x = reshape(g) · where(right, expm1(l), exp(l))",
        "    where right = one_hot(labels)",
        "    where l = log_softmax(x)",
    ],
    "backward of mean": ["g = 1", "∂L/∂x = broadcast_to(reshape(g) / 4)"],
}


@pytest.mark.parametrize("backward", [True, "ops"])
def test_the_backward_picture_has_the_formula_of_each_rule(backward: Any) -> None:
    lines = words(viz.draw(Scene().loss, backward=backward).source).splitlines()
    for title, formulas in CONVNET_FORMULAS.items():
        at = lines.index(title) + 1
        below = [line for line in lines[at : at + len(formulas) + 2] if line]
        assert below[: len(formulas)] == formulas


def test_the_forward_picture_has_the_formula_of_each_rule() -> None:
    read = words(viz.draw(Scene().loss).source)
    for formulas in CONVNET_FORMULAS.values():
        assert all(formula in read for formula in formulas if formula != "g = 1")


@pytest.mark.parametrize("backward", MODES)
def test_formulas_can_be_left_out(backward: Any, tmp_path: Path) -> None:
    drawing = viz.draw(Scene().loss, backward=backward, formulas=False)
    assert not re.search(r"∂L/∂\w+ =|where r", words(drawing.source))
    drawing.save(tmp_path / "graph.svg")


def test_a_box_tells_names_attributes_shape_and_dtype(tmp_path: Path) -> None:
    scene = Scene()
    told = boxes(viz.draw(scene.loss).save(tmp_path / "graph.svg"))
    listing = tg.graph(scene.loss)
    assert sorted(told) == sorted(f"n{i}" for i in range(len(listing)))
    for i, node in enumerate(listing):
        assert f"%{i} {node.dtype} {node.shape}" in told[f"n{i}"]
    assert told["n0"] == "images %0 float32 (4, 3, 8, 8)"
    assert told["n1"] == "0.weight %1 float32 (8, 3, 3, 3)"
    assert told["n3"].startswith("x w b conv2d padding=(1, 1) %3 float32 (4, 8, 8, 8) ∂L/∂w = ")
    assert told["n8"].startswith("x max_pool2d kernel=(2, 2) stride=(2, 2) %8 ")
    assert told["n15"].startswith("x loss = mean %15 float32 () ")


def test_a_plain_number_stands_in_the_box() -> None:
    x = named([1.0, 2.0], "x")
    assert "y = 1.5\n" in words(viz.draw(x * 1.5).source)


def test_gradients_go_against_the_values() -> None:
    loss = Scene().loss
    graph = tg.graph(loss)
    forward: Counter[tuple[str, str]] = Counter()
    gradients = Counter({("n15", "g15"): 1})
    for node in graph:
        for parent in node.parents():
            ends = graph.ids[parent], graph.ids[node]
            forward[f"n{ends[0]}", f"n{ends[1]}"] += 1
            if parent.requires_grad:
                gradients[f"g{ends[1]}", f"g{ends[0]}"] += 1
    assert arrows(viz.draw(loss).source) == forward
    assert arrows(viz.draw(loss, backward=True).source) == forward + gradients


def test_gradients_have_a_colour_of_their_own() -> None:
    source = viz.draw(Scene().loss, backward=True).source
    colours = re.findall(r"dir=back|color=\S+(?= dir=back| constraint)", source)
    assert set(colours) == {'color="#B34700"', "dir=back"}
    [general] = re.findall(r"edge \[.*color=(\S+)\]", source)
    assert general != '"#B34700"'


class PlainTanh(tg.Op, register=False):
    """tanh x, with the rule that needs only y."""

    name = "tanh"

    def forward(self, xp: Any, x: Any) -> Any:
        return xp.tanh(x)

    def local_x(self, F: Any, y: Any) -> Any:
        return 1 - y * y


def test_the_ops_of_a_backward_pass() -> None:
    """y = tanh x, so the pass is g · (1 - y · y): a product, a difference and a product."""
    x = named(0.5, "x")
    source = viz.draw(tg.function(PlainTanh)(x), backward="ops").source
    named_boxes = titles(source)
    products = [box for box, title in named_boxes.items() if title == "mul"]
    [difference] = [box for box, title in named_boxes.items() if title == "sub"]
    assert named_boxes["g1"] == "backward of tanh"
    every = set(re.findall(r"^\t+(\w+) \[label=<", source, re.MULTILINE))
    assert every == {*named_boxes, "s1_1"}  # nothing that the rule does not read
    made = arrows(source)
    [inner] = [box for box in products if made["s1_1", box] == 2]
    [outer] = [box for box in products if box != inner]
    assert made == {
        ("n0", "n1"): 1,
        ("n1", "g1"): 1,
        ("s1_1", inner): 2,
        (inner, difference): 1,
        (difference, outer): 1,
        ("g1", outer): 1,
        (outer, "g0"): 1,
    }


def test_a_gradient_with_several_consumers_is_a_sum() -> None:
    x = named([1.0, 2.0], "x")
    y = tg.sin(x)
    loss = (y * y + y).sum() + x.sum()
    for backward in (True, "ops"):
        source = viz.draw(loss, backward=backward).source
        into = Counter(head for _, head in arrows(source).elements())
        assert into["g0"] == 2  # from sin and from sum
        assert into["g1"] == 3  # twice from mul, once from add
        assert titles(source)["g0"] == "gradient of x"
        assert words(source).count("the sum of 2 gradients\n") == 1
        assert words(source).count("g = the sum of 3 gradients\n") == 1


def test_a_broadcast_value_gets_a_gradient_of_its_own_shape() -> None:
    x, b = named([[1.0, 2.0]], "x"), named([[3.0], [4.0]], "b")
    source = viz.draw(x + b, backward=True).source
    assert "∂L/∂x\n(1, 2)\n" in words(source)
    assert "∂L/∂y\n(2, 1)\n" in words(source)
    assert list(titles(viz.draw(x + b, backward="ops").source).values()).count("sum_to") == 2


def test_several_tensors_share_a_picture() -> None:
    x = named([1.0, 2.0], "x")
    y = tg.exp(x)
    source = viz.draw(y, y.sum(), tg.tensor([1.0]), backward=True).source
    made = arrows(source)
    assert made["n1", "g1"] == made["n2", "g2"] == made["g2", "g1"] == 1
    assert {"n0", "n1", "n2", "n3", "g0", "g1", "g2"} == set(titles(source))


def test_inputs_without_a_name_are_told_by_their_number() -> None:
    shown = titles(viz.draw(tg.ones(1, requires_grad=True) * tg.ones(1), backward=True).source)
    assert shown == {
        "n0": "parameter",
        "n1": "input",
        "n2": "mul",
        "g2": "backward of mul",
        "g0": "gradient of %0",
    }


def test_the_inputs_of_a_variadic_op_are_numbered() -> None:
    parts = [named([float(i)], f"part{i}") for i in range(40)]
    source = viz.draw(tg.cat(parts), backward=True).source
    read = words(source)
    assert "∂L/∂xs[0] = g[0:1]\n" in read
    assert "∂L/∂xs[11] = g[11:12]\n…\n" in read  # forty lines would hide the rest of the graph
    assert "∂L/∂xs[12] =" not in read
    assert arrows(source)["g40", "g39"] == 1


def test_a_rule_that_cannot_run_on_symbols_is_drawn_without_its_formula(tmp_path: Path) -> None:
    class Odd(tg.Op, register=False):
        def forward(self, xp: Any, x: Any) -> Any:
            return x + 1

        def grad_x(self, F: Any, g: Any, x: Any) -> Any:
            return g * float(x.shape[0])

    y = tg.function(Odd)(named([1.0, 2.0], "x"))
    for backward in MODES:
        drawing = viz.draw(y, backward=backward)
        assert "∂L/∂x = …\n" in words(drawing.source)
        drawing.save(tmp_path / "graph.svg")


def test_a_second_derivative_is_a_graph_like_any_other(tmp_path: Path) -> None:
    x = named(0.5, "x")
    (first,) = tg.grad(tg.tanh(x), x, create_graph=True)
    for backward in MODES:
        drawing = viz.draw(first, backward=backward)
        assert set(boxes(drawing.save(tmp_path / "graph.svg"))) >= {
            f"n{i}" for i in range(len(tg.graph(first)))
        }


def test_a_deep_graph_needs_no_recursion() -> None:
    x = named(1.0, "x")
    y = x
    for _ in range(3000):
        y = y + 1
    for backward in (True, "ops"):
        whole = viz.draw(y, backward=backward, collapse=None).source
        assert len(arrows(whole)) == 2 * 3000 + 1
        # From x, from each sum to the next, to the backward pass, and the way back.
        assert len(arrows(viz.draw(y, backward=backward).source)) == 5


@pytest.mark.parametrize(
    ("backward", "kinds"),
    [(False, ["parameter", "op"]), (True, ["parameter", "op", "gradient"])],
)
def test_the_legend_lists_what_is_there(backward: bool, kinds: list[str]) -> None:
    first = viz.draw(named(1.0, "x") * 2.0, backward=backward).source.splitlines()[1]
    assert re.findall(r'BGCOLOR="\S+">(\w+)</TD>', first) == kinds


# ----- the same graph, the same bytes ------------------------------------------------------------

ANOTHER_INTERPRETER = """
import hashlib, sys
sys.path.insert(0, {folder!r})
import tinygrad_cv as tg
from tinygrad_cv import viz
from test_viz import HISTORY, MODES, Scene
tg.exp(tg.ones(3, requires_grad=True)).sum().backward()  # other nodes came before
drawn = [viz.draw(Scene().loss, backward=backward).source for backward in MODES]
viz.curves(HISTORY, sys.argv[1])
print(hashlib.sha256("".join(drawn).encode()).hexdigest())
"""
HISTORY = {
    "loss": [2.25, 1.0, 0.5],
    "train_accuracy": [0.25, 0.75, 0.875],
    "val_accuracy": [0.5, None, 0.75],
    "seconds": [1.0, 1.0, 1.0],
}


def test_every_interpreter_draws_the_same(tmp_path: Path) -> None:
    told, plots = set(), set()
    for seed in ("1", "2"):
        plot = tmp_path / f"{seed}.svg"
        program = ANOTHER_INTERPRETER.format(folder=str(Path(__file__).parent))
        done = subprocess.run(
            [sys.executable, "-c", program, str(plot)],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        told.add(done.stdout)
        plots.add(plot.read_bytes())
    drawn = [viz.draw(Scene().loss, backward=backward).source for backward in MODES]
    assert told == {hashlib.sha256("".join(drawn).encode()).hexdigest() + "\n"}
    assert len(plots) == 1


def test_drawing_again_draws_the_same() -> None:
    loss = Scene().loss
    for backward in MODES:
        first = viz.draw(loss, backward=backward).source
        assert viz.draw(loss, backward=backward).source == first


# ----- drawing changes nothing -------------------------------------------------------------------


def gradients(model: nn.Module) -> list[Any]:
    return [p.grad if p.grad is None else p.grad.numpy().copy() for p in model.parameters()]


@pytest.mark.parametrize("backward", MODES)
def test_drawing_changes_nothing(backward: Any) -> None:
    drawn, control = Scene(), Scene()
    buffers = {name: value.numpy().copy() for name, value in drawn.model.named_buffers()}
    nodes = [(node.saved, node.guards) for node in tg.graph(drawn.loss)]
    viz.draw(drawn.loss, backward=backward)
    assert gradients(drawn.model) == [None] * 6
    assert all(
        node.saved is saved and node.guards is guards
        for node, (saved, guards) in zip(tg.graph(drawn.loss), nodes, strict=True)
    )
    for name, value in drawn.model.named_buffers():
        np.testing.assert_array_equal(value.numpy(), buffers[name])
    for scene in (drawn, control):
        scene.loss.backward()
    for mine, its in zip(gradients(drawn.model), gradients(control.model), strict=True):
        np.testing.assert_array_equal(mine, its)


def test_drawing_leaves_earlier_gradients_alone() -> None:
    x = named([1.0, 2.0], "x")
    (x * x).sum().backward()
    before = x.grad
    y = tg.exp(x).sum()
    for backward in MODES:
        viz.draw(y, backward=backward)
    assert x.grad is before
    assert before is not None
    assert before.tolist() == [2.0, 4.0]


def test_the_ops_are_found_even_where_nothing_is_recorded() -> None:
    loss = Scene().loss
    expected = viz.draw(loss, backward="ops").source
    with tg.no_grad():
        assert viz.draw(loss, backward="ops").source == expected


def test_the_rules_can_be_drawn_after_backward_and_the_ops_cannot() -> None:
    loss = Scene().loss
    before = viz.draw(loss, backward=True).source
    viz.draw(loss, backward="ops")
    loss.backward()
    assert viz.draw(loss, backward=True).source == before
    with pytest.raises(RuntimeError, match=r"freed by backward\(\).*retain_graph=True"):
        viz.draw(loss, backward="ops")


def test_the_ops_are_not_found_from_changed_values() -> None:
    x = named([1.0, 2.0], "x")
    y = x * x
    x.data[0] = 5.0
    viz.draw(y, backward=True)
    with pytest.raises(RuntimeError, match="changed in place"):
        viz.draw(y, backward="ops")


# ----- any text is only text ---------------------------------------------------------------------


@given(st.text(max_size=60) | st.text('\\"<>{}|&;\n\x00 ', max_size=20))
@example("</B></TD></TR></TABLE>> shape=star]; evil -> n0")
@example("&lt;&#0;&nbsp;")
@example("\\N\\G\\l\\")
@example(" ")
@example("-->]]>")
@example("\ud800\x00\x1b\ufffe\u2028")
@example("日本語 ∂ 🙂")
def test_a_name_is_only_text(name: str) -> None:
    x = named([1.0], name)
    y = tg.exp(x)
    y.name = name
    drawing = viz.draw(y, backward=True)
    root = ET.fromstring(drawing._repr_svg_())
    groups = [group for group in root.iter(f"{SVG}g") if group.get("class") == "node"]
    assert {group.findtext(f"{SVG}title") for group in groups} == {"n0", "n1", "g0", "g1"}
    assert not list(root.iter(f"{SVG}a"))
    if name.isprintable() and 0 < len(name) <= 40:
        [leaf] = [group for group in groups if group.findtext(f"{SVG}title") == "n0"]
        shown = [text.text or "" for text in leaf.iter(f"{SVG}text")]
        assert shown[0].replace("\u00a0", " ").split() == name.split()


def test_a_long_name_is_cut(tmp_path: Path) -> None:
    x = named([1.0], "long" * 25_000)
    drawing = viz.draw(x * 2.0, backward=True)
    assert len(drawing.source) < 10_000
    told = boxes(drawing.save(tmp_path / "graph.svg"))
    assert told["n0"] == "long" * 9 + "lon… %0 float32 (1,)"


def test_long_attributes_are_cut(tmp_path: Path) -> None:
    class Noted(tg.Op, register=False):
        note: str = ""

        def forward(self, xp: Any, x: Any) -> Any:
            return x + 1

        def grad_x(self, F: Any, g: Any) -> Any:
            return g

    y = tg.function(Noted)(named([1.0], "x"), note='<b>"\\ ' * 10_000)
    drawing = viz.draw(y, backward="ops")
    assert len(drawing.source) < 10_000
    assert "note='<b>" in boxes(drawing.save(tmp_path / "graph.svg"))["n1"]


# ----- files and renderers -----------------------------------------------------------------------


@pytest.fixture
def picture() -> viz.Drawing:
    return viz.draw(named(1.0, "x") * 2.0)


@pytest.fixture
def fake_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put a program called dot first on PATH, with this Python text as its body."""

    def install(body: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir()
        program = folder / "dot"
        program.write_text(f"#!{sys.executable}\nimport sys, time\n{body}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
        return program

    return install


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def test_each_suffix_is_a_format(picture: viz.Drawing, out: Path) -> None:
    assert picture.save(out / "graph.dot") == out / "graph.dot"
    assert (out / "graph.dot").read_text(encoding="utf-8") == picture.source
    picture.save(str(out / "graph.SVG"))
    assert ET.parse(out / "graph.SVG").getroot().tag == f"{SVG}svg"
    picture.save(out / "graph.png")
    assert (out / "graph.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert sorted(path.name for path in out.iterdir()) == ["graph.SVG", "graph.dot", "graph.png"]


def test_a_notebook_shows_svg(picture: viz.Drawing) -> None:
    assert ET.fromstring(picture._repr_svg_()).tag == f"{SVG}svg"


@pytest.mark.parametrize("name", ["graph.jpg", "graph", "graph.svg.gz"])
def test_another_suffix_is_refused(picture: viz.Drawing, out: Path, name: str) -> None:
    suffixes = r"\.svg, \.png, \.pdf, \.dot, \.json, \.html"
    with pytest.raises(ValueError, match=rf"one of {suffixes}; got .*graph"):
        picture.save(out / name)
    assert not list(out.iterdir())


def test_a_missing_folder_is_named(picture: viz.Drawing, out: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere.*does not exist; create it first"):
        picture.save(out / "nowhere" / "graph.svg")


def test_without_a_renderer_dot_text_still_works(
    picture: viz.Drawing, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinygrad_cv.viz.render.shutil.which", lambda *_, **__: None)
    with pytest.raises(RuntimeError, match=r"pip install 'tinygrad_cv\[viz\]'"):
        picture.save(out / "graph.svg")
    assert not list(out.iterdir())
    picture.save(out / "graph.dot")


def test_dot_comes_first(picture: viz.Drawing, out: Path, fake_dot: Callable[[str], Path]) -> None:
    fake_dot("sys.stdout.buffer.write(repr(sys.argv[1:]).encode() + sys.stdin.buffer.read())")
    for suffix, flags in ((".svg", ["-Tsvg"]), (".png", ["-Tpng", "-Gdpi=144"])):
        path = picture.save(out / f"graph{suffix}")
        assert path.read_text(encoding="utf-8") == f"{flags}{picture.source}"


def test_the_wheel_is_found_beside_the_interpreter(
    picture: viz.Drawing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "<svg" in picture._repr_svg_()


@pytest.mark.parametrize("before", [None, b"of an earlier run"])
@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ("time.sleep(60)", TimeoutError, r"did not finish within 0\.5 s.*timeout="),
        ("print('half'); sys.exit('no memory')", RuntimeError, "failed with status 1: no memory"),
    ],
    ids=["slow", "broken"],
)
def test_a_failed_rendering_leaves_no_trace(
    picture: viz.Drawing,
    out: Path,
    fake_dot: Callable[[str], Path],
    before: bytes | None,
    body: str,
    error: type[Exception],
    message: str,
) -> None:
    program = fake_dot(body)
    path = out / "graph.svg"
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(error, match=f"^{re.escape(str(program))} {message}"):
        picture.save(path, timeout=0.5)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == (
        {} if before is None else {"graph.svg": before}
    )


def test_a_failed_write_leaves_no_trace(picture: viz.Drawing, out: Path) -> None:
    (out / "graph.dot").mkdir()
    with pytest.raises(OSError, match=r"graph\.dot"):
        picture.save(out / "graph.dot")
    assert [path.name for path in out.iterdir()] == ["graph.dot"]


# ----- wrong arguments, and missing packages -----------------------------------------------------


def test_only_tensors_are_drawn() -> None:
    with pytest.raises(TypeError, match="got nothing"):
        viz.draw()
    with pytest.raises(TypeError, match="got Tensor, int"):
        viz.draw(tg.ones(1), 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"False, True or 'ops'; got 'all'"):
        viz.draw(tg.ones(1), backward="all")  # type: ignore[arg-type]


@pytest.mark.parametrize("backward", [True, "ops"])
def test_a_backward_pass_needs_something_to_flow_to(backward: Any) -> None:
    x = tg.ones(2)
    with pytest.raises(RuntimeError, match="none of the tensors requires a gradient"):
        viz.draw(x.exp(), backward=backward)


def test_the_import_needs_no_package() -> None:
    program = (
        "import sys, tinygrad_cv.viz\n"
        "print(sorted({'graphviz', 'matplotlib'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize(
    ("package", "draw"),
    [
        ("graphviz", lambda: viz.draw(tg.ones(1)).source),
        ("matplotlib", lambda: viz.curves(HISTORY)),
    ],
)
def test_a_missing_package_is_one_sentence(
    package: str, draw: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    message = rf"^[^.]* with (the )?{package}( package)?; run pip install 'tinygrad_cv\[viz\]'\.$"
    with pytest.raises(ModuleNotFoundError, match=message):
        draw()


# ----- curves ------------------------------------------------------------------------------------


def test_curves_plot_each_epoch() -> None:
    loss, accuracy = viz.curves(HISTORY).axes
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss", "accuracy")
    assert loss.get_xlabel() == accuracy.get_xlabel() == "epoch"
    plotted = {
        (axes.get_ylabel(), line.get_label()): (line.get_xdata(), line.get_ydata())
        for axes in (loss, accuracy)
        for line in axes.get_lines()
    }
    expected = {
        ("loss", "training"): [2.25, 1.0, 0.5],
        ("accuracy", "training"): [0.25, 0.75, 0.875],
        ("accuracy", "validation"): [0.5, np.nan, 0.75],
    }
    assert plotted.keys() == expected.keys()
    for key, (epochs, values) in plotted.items():
        np.testing.assert_array_equal(epochs, [1, 2, 3])
        np.testing.assert_array_equal(values, expected[key])


def test_a_history_without_accuracies_has_one_panel() -> None:
    [axes] = viz.curves({"loss": [1.0]}).axes
    assert axes.get_ylabel() == "loss"


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_curves_are_saved(suffix: str, out: Path) -> None:
    path = out / f"curves{suffix}"
    viz.curves(HISTORY, path)
    first = path.read_bytes()
    viz.curves(HISTORY, path)
    assert path.read_bytes() == first
    assert [file.name for file in out.iterdir()] == [path.name]
    if suffix == ".svg":
        assert ET.fromstring(first).tag == f"{SVG}svg"


def test_curves_open_no_window(out: Path) -> None:
    program = (
        "import sys\n"
        "from tinygrad_cv import viz\n"
        "viz.curves({'loss': [1.0]}, sys.argv[1])\n"
        "print('matplotlib' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(out / "curves.svg")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "True False\n", done.stderr


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ({}, "it holds nothing"),
        ({"loss": []}, "one number per epoch"),
        ({"lr": [0.1]}, "it holds 'lr'"),
        ({"loss": [1.0], "val_accuracy": [0.5, 0.75]}, "loss has 1, val_accuracy has 2"),
    ],
)
def test_curves_need_a_number_per_epoch(history: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        viz.curves(history)


def test_curves_are_saved_as_svg_or_png_only(out: Path) -> None:
    with pytest.raises(ValueError, match=r"one of \.svg, \.png; got"):
        viz.curves(HISTORY, out / "curves.pdf")
