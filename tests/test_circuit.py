"""The circuit of a small graph: its play, its drawing and its page."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from test_page import Browser, browser, chrome
from tinygrad_cv import nn, viz
from tinygrad_cv.viz.boxing import Letters, Stroke
from tinygrad_cv.viz.inking import COLORS
from tinygrad_cv.viz.page import beside
from tinygrad_cv.viz.schematic import LEGIBLE
from tinygrad_cv.viz.sheets import Element, Layer, Sheet

pytestmark = pytest.mark.host

__all__ = ["browser", "chrome"]  # the fixtures of test_page


def number(value: Any) -> tg.Tensor:
    return tg.tensor(value, requires_grad=True, dtype="float64")


def gates() -> viz.Circuit:
    x, y, z = number(-2.0), number(5.0), number(-4.0)
    q = x + y
    f = q * z
    return viz.circuit(f)


def neuron(direction: Any = "right") -> viz.Circuit:
    w0, x0, w1, x1, w2 = map(number, (2.0, -1.0, -3.0, -2.0, -3.0))
    f = 1 / (1 + tg.exp(-(w0 * x0 + w1 * x1 + w2)))
    return viz.circuit(f, direction)


def softmax() -> viz.Circuit:
    s = number([1.0, 2.0, 0.5])
    e = tg.exp(s)
    p = e / e.sum()
    loss = -tg.log(p[0])
    return viz.circuit(loss)


def net() -> viz.Circuit:
    x, b1 = tg.tensor([[1.0, 2.0]]), number([0.1, -0.1])
    W1, W2 = number([[1.0, -1.0], [0.5, 0.25]]), number([[1.0], [-1.0]])
    h = tg.relu(x @ W1 + b1)
    loss = ((h @ W2 - 1.0) ** 2).mean()
    return viz.circuit(loss)


def layers() -> viz.Circuit:
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))
    loss = tg.cross_entropy(model(tg.randn(4, 2)), tg.tensor([0, 1, 1, 0]))
    return viz.circuit(loss)


ALL = (gates, neuron, softmax, net, layers)


# ----- the play ----------------------------------------------------------------------------------


def at_wires(circuit: viz.Circuit) -> dict[str, tuple[str, str]]:
    """The value and the gradient of each leaf by name."""
    return {
        look.face: (look.value, look.gradient)
        for i, look in circuit.looks.items()
        if circuit.trace.nodes[i].kind != "op"
    }


def test_the_neuron_has_the_numbers_of_the_notes() -> None:
    """CS231n, "Backpropagation, Intuitions": its picture of the sigmoid neuron, in two digits."""
    circuit = neuron()
    told = {
        name: (float(value), round(float(gradient), 2))
        for name, (value, gradient) in at_wires(circuit).items()
    }
    assert told == {
        "w0": (2, -0.2), "x0": (-1, 0.39), "w1": (-3, -0.39), "x1": (-2, -0.59), "w2": (-3, 0.2)
    }  # fmt: skip
    faces = [look.face for i, look in circuit.looks.items() if circuit.trace.nodes[i].kind == "op"]
    assert faces == ["·", "·", "+", "+", "−x", "exp", "1+", "1/x"]
    assert circuit.moments[0].lines == ("f = 1 / (1 + exp(-(w0 · x0 + w1 · x1 + w2)))",)
    assert circuit.moments[7].lines == ("%11 = 1 + y = 1 + 0.3679 = 1.368",)
    assert circuit.moments[-1].lines[0] == "∂L/∂w0 = g · x0 = 0.1966 · (-1) = -0.1966"


def test_what_no_rule_saved_is_computed_again() -> None:
    assert "–" not in {value for value, _ in at_wires(neuron()).values()}
    assert [look.value for look in neuron().looks.values()][-3:] == ["0.368", "1.37", "0.731"]


def test_gradients_add_up_at_a_fork() -> None:
    circuit = softmax()
    assert set(circuit.shares.values()) == {"[-0.368, 0, 0]", "[0.0851, 0.0851, 0.0851]"}
    lines = [line for moment in circuit.moments for line in moment.lines]
    assert (
        lines[-2] == "∂L/∂e = [0.0851, 0.0851, 0.0851] + [-0.368, 0, 0] = [-0.283, 0.0851, 0.0851]"
    )
    assert [line for line in lines if line.startswith("∂L/∂e +=")] != []
    expected = np.exp([1.0, 2.0, 0.5]) / np.exp([1.0, 2.0, 0.5]).sum() - [1.0, 0.0, 0.0]
    _, gradient = at_wires(circuit)["s"]
    assert eval(gradient) == pytest.approx(expected, rel=2e-3)


def test_a_sum_over_copies_is_written_as_a_sum() -> None:
    x, b = number([[1.0, 2.0], [3.0, 4.0]]), number([0.5, 0.5])
    y = (x + b).sum()
    [*_, last] = viz.circuit(y).moments
    assert last.lines[1] == "∂L/∂b = sum(g) = sum([[1, 1], [1, 1]]) = [2, 2]"


def test_the_play_reveals_one_gate_at_a_time() -> None:
    circuit = gates()
    known = [sorted(moment.known) for moment in circuit.moments]
    assert known[0] == ["v0", "v1", "v3"]
    assert [sorted(set(b) - set(a)) for a, b in pairwise(known)] == [
        ["v2"], ["v4"], ["d4"], ["d2", "d3", "s4:0", "s4:1"], ["d0", "d1", "s2:0", "s2:1"]
    ]  # fmt: skip
    drawing = circuit.schematic
    assert drawing.active(circuit.moments[1]) == {"n2", "w2:0", "w2:1", "t2", "v2"}
    assert {"n4", "d2", "d3"} < drawing.active(circuit.moments[4])
    letters = {"l1:0", "y1"}  # a value without a name has one while its gates are at work
    chain = viz.circuit(tg.exp(tg.tanh(number(0.5))) * 1.0)
    shown = [bool(letters & chain.schematic.shown(moment)) for moment in chain.moments]
    assert shown == [False, True, False, False, False, False, False, True]


def test_what_is_no_circuit_is_said() -> None:
    x = number(1.0)
    for _ in range(45):
        x = x * 1.0
    with pytest.raises(ValueError, match=r"46\. viz\.playback\(loss\).*viz\.draw"):
        viz.circuit(x)
    with pytest.raises(ValueError, match="'right' or 'down'; got 'up'"):
        viz.circuit(number(1.0) * 2.0, direction="up")  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="none of the tensors requires a gradient"):
        viz.circuit(tg.ones(2))


@pytest.mark.parametrize(
    "make",
    [
        lambda x: tg.linalg.eigh(x @ x.mT)[0].sum(),
        lambda x: nn.GRU(2, 3)(x[:, None])[0].sum(),
        lambda x: tg.cat([x, x]) * tg.stack([x, x]).reshape(4, 2),
        lambda x: tg.where(x > 0, x, -x)[tg.tensor([1]), None].max(),
        lambda x: tg.log(x - 100.0).sum(),
        lambda x: tg.einsum("ij,jk->ik", x, x).half().sum(),
        lambda x: tg.conv2d(x[None, None], x[None, None]) ** -0.5,
        lambda x: nn.LayerNorm(2)(x)[:0].sum(),
        lambda x: tg.dropout(x, 0.5),
        lambda x: x,
    ],
)
def test_any_small_graph_is_a_circuit(make: Any) -> None:
    circuit = viz.circuit(make(tg.tensor([[0.5, 1.5], [2.0, 1.0]], requires_grad=True)))
    ElementTree.fromstring(circuit.svg())
    ElementTree.fromstring(circuit.frame(len(circuit) - 1))
    assert circuit.page()
    check_apart(circuit)


def test_nothing_of_the_graph_is_changed() -> None:
    x = number(3.0)
    y = x * x
    viz.circuit(y).svg()
    assert x.grad is None
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == 6.0


# ----- the drawing -------------------------------------------------------------------------------


def rectangle(element: Element) -> tuple[float, float, float, float]:
    """Left, top, right and bottom."""
    xs: list[float] = []
    ys: list[float] = []
    for shape in element.shapes:
        if isinstance(shape, Letters):
            xs += [shape.x, shape.x + shape.width]
            ys += [shape.y - 0.6 * shape.size, shape.y + 0.1 * shape.size]
        elif isinstance(shape, Stroke):
            xs += [x for x, _ in shape.points]
            ys += [y for _, y in shape.points]
        else:
            assert not hasattr(shape, "points")
            xs += [shape.x - shape.width / 2, shape.x + shape.width / 2]
            ys += [shape.y - shape.height / 2, shape.y + shape.height / 2]
    return min(xs), min(ys), max(xs), max(ys)


def check_apart(circuit: viz.Circuit) -> None:
    """No gate and no number lies on another."""
    places = [
        (element.key, rectangle(element))
        for element in circuit.schematic.parts
        if element.kind.split()[0] in ("gate", "value", "gradient") and element.shapes
    ]
    for i, (key, a) in enumerate(places):
        for other, b in places[:i]:
            apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
            assert apart, (key, other)


@pytest.mark.parametrize("made", ALL)
def test_nothing_overlaps_in_the_pictures_of_the_lectures(made: Any) -> None:
    check_apart(made())


@given(st.data(), st.sampled_from(["right", "down"]))
def test_nothing_overlaps(draws: Any, direction: Any) -> None:
    values = [number(1.0), number([1.0, 2.0])]
    for _ in range(draws.draw(st.integers(1, 12))):
        first, second = (draws.draw(st.sampled_from(values)) for _ in range(2))
        op = draws.draw(st.sampled_from([tg.exp, tg.tanh, tg.add, tg.mul, tg.maximum]))
        values.append(op(first) if op in (tg.exp, tg.tanh) else op(first, second))
    check_apart(viz.circuit(values[-1] * values[0], direction))


def test_a_chain_is_straight_and_gates_flow_one_way() -> None:
    drawing = neuron().schematic
    ends = [drawing.side[i] for i in range(8, 13)]
    assert max(ends) - min(ends) < 0.5
    assert all(drawing.center[e.source] < drawing.center[e.target] for e in drawing.edges)


def sizes(sheet: Sheet) -> Iterator[float]:
    """The sizes of all words, as they are seen."""
    for layer in sheet.layers:
        for element in layer.elements:
            most = max((s.size for s in element.shapes if isinstance(s, Letters)), default=None)
            if most is not None:  # of one with an index or a power: the line itself
                yield most * layer.scale


@pytest.mark.parametrize("made", ALL)
def test_frames_are_legible_when_projected(made: Any) -> None:
    circuit = made()
    for moment in circuit.moments:
        sheet = circuit.schematic.frame(moment)
        assert (sheet.width, sheet.height) == (1280, 720)
        assert min(sizes(sheet)) >= LEGIBLE
        said = sheet.layers[-1]
        for element in said.elements:
            left, top, right, bottom = rectangle(element)
            assert left >= 0
            assert right <= 1280
            assert bottom <= 720
            assert top >= 0
        focus = circuit.schematic.focus(moment)
        circuit_layer: Layer = sheet.layers[0]
        assert 0 <= focus[0] * circuit_layer.scale + circuit_layer.x <= 1280


def words(svg: str) -> str:
    root = ElementTree.fromstring(svg)
    return " ".join(text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text"))


def test_pictures_are_saved(tmp_path: Path) -> None:
    circuit = gates()
    whole = words(circuit.save(tmp_path / "all.svg").read_text())
    assert "g · z" in re.sub(r" +", " ", whole)
    assert "− 12" in whole
    folder = circuit.save(tmp_path / "frames")
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"{i:03}.svg" for i in range(6)]
    first, last = (words((folder / names[i]).read_text()) for i in (0, -1))
    assert "− 12" not in first
    assert "− 12" in last
    with pytest.raises(FileExistsError, match=r"000\.svg of an earlier playback"):
        circuit.save(folder)
    assert circuit.save(tmp_path / "all.png").read_bytes().startswith(b"\x89PNG")
    assert circuit.save(tmp_path / "all.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(ValueError, match=r"one of \.html, \.svg, \.png, \.pdf"):
        circuit.save(tmp_path / "all.gif")


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a & b", "x" * 1000, "\ud800"])
def test_names_are_text(name: str, tmp_path: Path) -> None:
    x = number(1.0)
    x.name = name
    circuit = viz.circuit(tg.exp(x))
    ElementTree.fromstring(circuit.save(tmp_path / "all.svg").read_text())
    assert "<script>alert" not in circuit.save(tmp_path / "all.html").read_text()


# ----- colours -----------------------------------------------------------------------------------


def contrast(first: str, second: str) -> float:
    """As the guidelines for accessible contents (WCAG 2.1) have it."""

    def light(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    bright, dark = sorted((light(first), light(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_colours_have_contrast_in_light_and_dark() -> None:
    """Text 4.5 against what it stands on, strokes 3 against the page."""
    rules = dict(re.findall(r"([^{}]+) \{([^{}]*)\}", beside("circuit.css")))
    papers = [("#ffffff", "#16181d")]
    plates = [
        re.findall(r"fill: light-dark\((\S+), (\S+)\)", body)[0]
        for name, body in rules.items()
        if ".gate" in name and "rect" in name
    ]
    for name, body in rules.items():
        pairs = re.findall(r"(fill|stroke): light-dark\((\S+), (\S+)\)", body)
        text = "text" in name
        for kind, *pair in pairs:
            if kind == "fill" and not text:
                continue
            for paper in papers + plates * (text and ".gate" in name):
                for mine, other in zip(pair, paper, strict=True):
                    assert contrast(mine, other) >= (4.5 if text else 3), (name, mine, other)


def test_pictures_by_matplotlib_have_the_colours_of_the_page() -> None:
    css = beside("circuit.css")
    for kind, colors in COLORS.items():
        part = kind.split()[-1]
        for color in colors:
            assert color == "none" or f"light-dark({color}," in css, (part, color)


# ----- the page ----------------------------------------------------------------------------------


def shown(browser: Browser) -> dict[str, Any]:
    found: dict[str, Any] = browser.run(
        "const seen = (s) => [...document.querySelectorAll(s)].map((p) => p.dataset.key);"
        "return {unknown: seen('.unknown').filter((k) => k[0] === 'v' || k[0] === 'd'),"
        " now: seen('.now'), said: document.querySelector('.said.shown').textContent,"
        " place: document.getElementById('place').textContent}"
    )
    return found


def open_page(browser: Browser, circuit: viz.Circuit) -> None:
    browser.pages += 1
    file = browser.folder / f"{browser.pages}.circuit.html"
    browser.driver.get(circuit.save(file).as_uri())


def test_arrows_play_the_circuit(browser: Browser) -> None:
    open_page(browser, gates())
    assert shown(browser)["place"] == "1 of 6"
    assert set(shown(browser)["unknown"]) == {"v2", "v4", "d0", "d1", "d2", "d3", "d4"}
    browser.press("ArrowRight")
    assert set(shown(browser)["now"]) == {"n2", "w2:0", "w2:1", "t2", "v2"}
    assert shown(browser)["said"].startswith("forward")
    browser.press("End")
    assert shown(browser)["unknown"] == []
    browser.press("ArrowLeft")
    assert set(shown(browser)["unknown"]) == {"d0", "d1"}
    assert browser.run("return document.querySelectorAll('.back').length") > 0
    browser.press("Home")
    browser.press(" ")
    assert browser.run("return document.getElementById('play').textContent") == "❚❚"
    browser.click("#next")
    assert browser.run("return document.getElementById('play').textContent") == "▶"
    assert shown(browser)["place"] == "2 of 6"


def test_the_gate_at_work_is_in_sight_and_legible_on_any_screen(browser: Browser) -> None:
    open_page(browser, neuron())
    for width, height in ((1280, 720), (390, 844)):
        browser.driver.set_window_size(width, height)
        for key in ("Home", *["ArrowRight"] * 12):
            browser.press(key)
            browser.run("look()")
            x, size, wide = browser.run(
                "const now = document.querySelector('.gate.now') || "
                "document.querySelector('.now'); const box = now.getBoundingClientRect();"
                "const scale = circuit.getScreenCTM().a;"
                "return [box.x + box.width / 2, 16 * scale, innerWidth]"
            )
            assert 0 <= x <= wide
            assert size >= 11.9
    browser.driver.set_window_size(1400, 900)
