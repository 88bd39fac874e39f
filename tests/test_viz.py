"""Pictures: what they show, that they change nothing, and what happens where they cannot be drawn."""

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

MODES = (False, True, "ops")
SVG = "{http://www.w3.org/2000/svg}"


def named(data: Any, name: str, requires_grad: bool = True) -> tg.Tensor:
    tensor = tg.tensor(data, requires_grad=requires_grad)
    tensor.name = name
    return tensor


class Scene:
    """A ConvNet with batch norm, as the lectures draw it, and its loss on a batch."""

    def __init__(self) -> None:
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
        "∂L/∂x = r · (h - mean(h) - z · mean(h · z))",
        "    where r = 1 / sqrt(var(x) + 1e-05)",
        "    where z = (x - mean(x)) · r",
        "    where h = g · reshape(w)",
        "∂L/∂w = sum(g · z)",
        "∂L/∂b = sum(g)",
    ],
    "backward of relu": ["∂L/∂x = where(y > 0, g, 0.0)"],
    "backward of max_pool2d": ["∂L/∂x = window_scatter(g, index)"],
    "backward of reshape": ["∂L/∂x = reshape(g)"],
    "backward of linear": ["∂L/∂x = g @ w", "∂L/∂w = gᵀ @ x", "∂L/∂b = sum(g)"],
    "backward of cross_entropy": ["∂L/∂x = reshape(g) · (softmax(x) - one_hot(labels))"],
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
    assert list(told) == [f"n{i}" for i in range(len(listing))]
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


def test_the_ops_of_a_backward_pass() -> None:
    """y = tanh x, so the pass is g · (1 - y · y): a product, a difference and a product."""
    x = named(0.5, "x")
    source = viz.draw(tg.tanh(x), backward="ops").source
    names = dict(re.findall(r"^\t+(n\d+|g1|s1_1) \[label=(?:(?!>>\]).)*?<B>([^<]*)</B>", source, 16 | 8))
    ops = {name: box for box, name in names.items()}
    products = [box for box, name in names.items() if name == "mul"]
    assert Counter(names.values()) >= Counter({"mul": 2, "sub": 1, "backward of tanh": 1})
    made = arrows(source)
    [inner] = [box for box in products if made["s1_1", box] == 2]
    [outer] = [box for box in products if box != inner]
    assert made == {
        ("n0", "n1"): 1,
        ("n1", "g1"): 1,
        ("s1_1", inner): 2,
        (inner, ops["sub"]): 1,
        (ops["sub"], outer): 1,
        ("g1", outer): 1,
        (outer, "g0"): 1,
    }
