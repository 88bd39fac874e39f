"""What a box says: titles, attributes and formulas, in one place for pictures and pages."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

import tinygrad_cv as tg
from test_folding import written
from test_health_drawing import rows
from test_viz import SVG, arrows, titles, told_by, words
from tinygrad_cv import nn, viz
from tinygrad_cv.viz.data import Trace
from tinygrad_cv.viz.grouping import grouped
from tinygrad_cv.viz.widths import fitted, padded, width
from tinygrad_cv.viz.words import Wording, frame, leaves, parameter, singles

pytestmark = pytest.mark.host


def layer(module: nn.Module, *shape: int) -> str:
    """The title of the one box of a module."""
    trace = viz.trace(nn.Sequential(nn.Sequential(module), nn.Tanh()), shape)
    op = next(node.id for node in trace.nodes if node.kind == "op")
    return Wording(trace).of_node(op).title


@pytest.mark.parametrize(
    ("module", "shape", "expected"),
    [
        (lambda: nn.Conv2d(3, 16, 3), (1, 3, 8, 8), "0 Conv2d 3×3, 16"),
        (lambda: nn.Conv2d(3, 8, (1, 5), stride=2), (1, 3, 8, 8), "0 Conv2d 1×5, 8, /2"),
        (lambda: nn.Conv2d(3, 8, 1, stride=(1, 2)), (1, 3, 8, 8), "0 Conv2d 1×1, 8, /1×2"),
        (lambda: nn.ConvTranspose2d(3, 4, 2), (1, 3, 8, 8), "0 ConvTranspose2d 2×2, 4"),
        (lambda: nn.Linear(5, 7), (2, 5), "0 Linear 7"),
        (lambda: nn.MaxPool2d(2), (1, 3, 8, 8), "0 MaxPool2d 2×2, /2"),
        (lambda: nn.BatchNorm2d(3), (2, 3, 4, 4), "0 BatchNorm2d"),
    ],
)  # fmt: skip
def test_a_layer_is_titled_in_brief(module: Any, shape: tuple[int, ...], expected: str) -> None:
    assert layer(module(), *shape) == expected


def test_what_the_title_says_is_no_attribute() -> None:
    trace = viz.trace(nn.Conv2d(3, 8, 3, stride=2, padding=1), (1, 3, 8, 8))
    told = Wording(trace).of_node(trace.outputs[0])
    assert told.title.endswith("Conv2d 3×3, 8, /2")
    assert told.rows == ("padding=(1, 1)", "float32 (1, 8, 4, 4)")
    leaf = next(node.id for node in trace.nodes if node.name == "weight")
    assert parameter(trace, leaf) == "weight (8, 3, 3, 3)"


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Linear(3, 3)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.conv(tg.exp(self.conv(x)))


def test_calls_of_a_shared_module_are_numbered() -> None:
    source = viz.draw(Twice(), (2, 3)).source
    found = [title for title in titles(source).values() if "Linear" in title]
    assert found == ["conv Linear 3", "conv Linear 3, call 2"]
    # Weights that two boxes read are boxes of their own.
    assert {"conv.weight", "conv.bias"} <= set(titles(source).values())


def test_modules_are_called_by_the_variable_that_holds_them() -> None:
    G, D = nn.Sequential(nn.Linear(2, 2), nn.Tanh()), nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    loss = D(G(tg.ones(1, 2))).sum()
    trace = viz.trace(loss)
    outermost = [frame(module) for module in trace.modules if module.parent is None]
    assert outermost == ["G Sequential", "D Sequential"]


def test_equal_blocks_tell_how_many_they_are() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.h = nn.ModuleList([Twice() for _ in range(12)])
            self.cell = nn.Sequential(nn.Linear(3, 3), nn.Tanh())

        def forward(self, x: tg.Tensor) -> tg.Tensor:
            for block in self.h:
                x = block(x)
            for _ in range(5):
                x = self.cell(x)
            return x

    view = viz.draw(Net(), (2, 3), collapse="repeats").view
    told = [frame(view.trace.modules[group]) for group in view.repeated]
    assert told == ["h.0 … 11 Twice ×12", "cell Sequential, t = 0 … 4"]


def recurrent(steps: int) -> tg.Tensor:
    x = tg.ones(2, steps, 3)
    w, u = tg.ones(3, 4, requires_grad=True), tg.ones(4, 4, requires_grad=True)
    h, hs = tg.zeros(2, 4), []
    for t in range(steps):
        i = tg.sigmoid(x[:, t] @ w)
        h = i * tg.tanh(h @ u)
        hs.append(h)
    return tg.stack(hs).mean()


def test_backpropagation_through_time_is_in_the_block() -> None:
    """The first step has no ∂L/∂h, since its h is a constant; the block has that of the others."""
    source = viz.draw(recurrent(50)).source
    [heading] = re.findall(r"subgraph cluster_fm\d+ {\n\s+graph \[.*?label=<<B>(.*?)</B>>", source)
    assert words(heading) == "t = 0 … 49"
    inside = told_by(source)
    [product] = [
        told for told in inside.values() if "matmul" in told and sum("∂L/∂" in x for x in told) == 2
    ]
    assert any(re.search(r"= g @ \S+ᵀ$", line) for line in product)
    # One arrow from step to step, and one fat arrow into the stack.
    back = [line for line in source.splitlines() if " -> " in line and "dir=back" in line]
    assert len(back) == 1
    [stack] = [name for name, title in titles(source).items() if title.endswith("stack")]
    [fat] = [line for line in source.splitlines() if f" -> {stack} " in line]
    assert "penwidth=5" in fat


def test_names_of_variables_stand_in_the_block() -> None:
    """Those of a loop name the nodes of its last step, and so the place in the block."""
    trace = viz.trace(recurrent(9))
    for name, op in (("i", "sigmoid"), ("h", "mul")):
        last = max(node.id for node in trace.nodes if node.op == op)
        trace.nodes[last].name = name
    found = titles(viz.draw(trace, collapse="repeats").source).values()
    assert {"i = sigmoid", "h = mul", "tanh"} <= set(found)


def test_outputs_have_their_keys() -> None:
    def model(x: tg.Tensor) -> dict[str, tg.Tensor]:
        return {"boxes": tg.exp(x), "scores": tg.tanh(x)}

    source = viz.draw(model, (2, 3)).source
    assert told_by(source)["o0"] == ["boxes"]
    assert told_by(source)["o1"] == ["scores"]
    assert re.search(r"rank=max\]\n\t\to0\n\t\to1\n", source)


def test_which_modules_are_one_box() -> None:
    trace = written([("A", ["tanh"]), ("B", [("C", ["relu"])]), ("D", ["exp", "log"])])
    assert singles(trace) == {0: 1, 1: 2, 2: 2}
    assert leaves(trace) == set()
    trace.modules[3].library = True
    assert leaves(trace) == {3}
    assert leaves(Trace()) == set()


# ----- widths ------------------------------------------------------------------------------------


def test_text_has_a_width_of_its_own(tmp_path: Path) -> None:
    """A font that is wider than Helvetica is squeezed into it: no title leaves its box."""
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16))
    path = viz.draw(net, (2, 3, 8, 8), backward=True).save(tmp_path / "graph.svg")
    root = ET.fromstring(path.read_bytes())
    for group in root.iter(f"{SVG}g"):
        if group.get("class") != "node":
            continue
        corners = [
            float(point.split(",")[0])
            for polygon in group.iter(f"{SVG}polygon")
            for point in (polygon.get("points") or "").split()
        ]
        for text in group.iter(f"{SVG}text"):
            length = float(text.get("textLength", "nan"))
            assert text.get("lengthAdjust") == "spacingAndGlyphs"
            assert float(text.get("x", "nan")) + length < max(corners) + 1.5


def test_widths_of_text() -> None:
    assert width("Hi", 10.0) == pytest.approx(7.22 + 2.22)
    assert width("Hi", 10.0, bold=True) == pytest.approx(7.22 + 2.78)
    assert padded("a = 1") == "a = 1"
    assert padded("∂L/∂x") == "∂L/∂x\u00a0\u00a0"
    assert fitted("<text>a</text><text font-size='1'/>") == "<text>a</text><text font-size='1'/>"
    told = fitted('<text font-size="10.00">&lt;i&#160;</text>')
    assert told == (
        '<text font-size="10.00" textLength="8.06" lengthAdjust="spacingAndGlyphs">&lt;i</text>'
    )


def test_the_main_way_is_straight_and_a_skip_is_not() -> None:
    x = tg.ones(2, requires_grad=True)
    y = tg.exp(tg.tanh(tg.sin(tg.cos(x)))) + x
    source = viz.draw(y).source
    [skip] = re.findall(r"n0 -> n5\S* \[(.*)\]", source)
    assert skip == "weight=0"
    assert len(re.findall(r"\[weight=20\]", source)) == sum(arrows(source).values()) - 1
    assert rows(source, "o0") == ["y"]


def test_layers_that_alternate_are_blocks_and_no_loop() -> None:
    deep = nn.Sequential(*[layer for _ in range(8) for layer in (nn.Linear(4, 4), nn.Sigmoid())])
    (group,) = [m for m in grouped(viz.trace(deep, (2, 4))).modules if m.repeat > 1]
    assert frame(group) == "0 … 15 Linear, Sigmoid ×8"


def test_a_layer_that_is_called_again_and_again_is_a_loop() -> None:
    layer = nn.Linear(4, 4)

    def run(x: tg.Tensor) -> tg.Tensor:
        for _ in range(5):
            x = tg.relu(layer(x))
        return x

    (group,) = [m for m in grouped(viz.trace(run, (2, 4))).modules if m.repeat > 1]
    assert frame(group) == "t = 0 … 4"


def test_calls_side_by_side_are_no_steps_of_a_loop() -> None:
    body = nn.Sequential(nn.Linear(3, 4), nn.Tanh())

    def siamese(a: tg.Tensor, b: tg.Tensor) -> tg.Tensor:
        return (body(a) - body(b)).sum()

    def heads(x: tg.Tensor) -> tg.Tensor:
        return tg.stack([tg.exp(part.reshape(2, 3)).mean() for part in x.split(1)])

    for function, shapes, told in (
        (siamese, ((2, 3), (2, 3)), "body Sequential ×2"),
        (heads, ((4, 6),), "×4"),
    ):
        trace = grouped(viz.trace(function, *shapes))
        groups = {frame(module) for module in trace.modules if module.repeat > 1}
        assert groups == {told}
