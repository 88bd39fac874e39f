"""What a notebook shows."""

import html
import html.parser
from typing import Any

import pytest

import tinygrad_cv as tg
from tinygrad_cv import nn, viz

pytestmark = pytest.mark.host


class Reader(html.parser.HTMLParser):
    """Collects the text of HTML, and checks that tags are closed in order."""

    VOID = ("br", "meta", "link", "input", "hr", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.tags: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: Any) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def bundle(value: Any) -> dict[str, str]:
    """As a notebook asks for it."""
    told: dict[str, str] = value._repr_mimebundle_(include=None, exclude=None)
    assert told["text/plain"] == repr(value)
    return told


def test_a_tensor_shows_its_numbers_its_rule_and_its_graph() -> None:
    x = tg.tensor([0.5, 1.0], requires_grad=True)
    read = Reader(bundle(tg.tanh(x))["text/html"])
    assert "tensor([0.4621, 0.7616], grad_fn=<tanh>)" in read.text
    assert "float32 (2,) on cpu, made by tanh" in read.text
    assert "∂L/∂x = g · 4 · sigmoid(2 · x) · sigmoid(-2 · x)" in read.text
    assert "its graph, 2 nodes" in read.text
    assert "svg" in read.tags


def test_a_leaf_shows_that_it_is_learned() -> None:
    x = tg.tensor([0.5], requires_grad=True)
    assert "requires a gradient" in Reader(bundle(x)["text/html"]).text
    assert "requires a gradient" not in Reader(bundle(tg.tensor([0.5]))["text/html"]).text


def test_the_graph_of_a_deep_tensor_is_left_out() -> None:
    x = tg.tensor([0.5], requires_grad=True)
    for _ in range(50):
        x = x * 1.0
    assert "svg" not in Reader(bundle(x)["text/html"]).tags


def test_a_module_shows_its_layers() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Sequential(nn.ReLU(), nn.Linear(8, 2)))
    read = Reader(bundle(model)["text/html"])
    assert "Linear(in_features=8, out_features=2, bias=True)" in read.text
    assert "58 parameters" in read.text
    assert read.tags.count("tr") == 6


def test_a_trace_shows_its_page() -> None:
    trace = viz.trace(nn.Linear(2, 2), (1, 2))
    assert 'id="slider"' in inside(bundle(trace))
    assert repr(trace) == "<Trace 'Linear': 4 nodes, 1 module calls, 0 steps>"


def test_without_the_packages_that_draw_a_tensor_is_shown_all_the_same(monkeypatch: Any) -> None:
    x = tg.tensor([0.5], requires_grad=True)
    y = tg.tanh(x)
    monkeypatch.setitem(__import__("sys").modules, "graphviz", None)
    read = Reader(bundle(y)["text/html"])
    assert "pip install 'tinygrad_cv[viz]'" in read.text
    assert "made by tanh" in read.text


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"><img src=x>', "a\0b", "x" * 1000])
def test_names_are_text(name: str) -> None:
    x = tg.tensor([0.5], requires_grad=True)
    x.name = name
    assert "script" not in Reader(bundle(tg.tanh(x))["text/html"]).tags
    assert "img" not in Reader(bundle(tg.tanh(x))["text/html"]).tags
    trace = viz.trace(tg.tanh(x))
    trace.title = name
    assert Reader(bundle(trace)["text/html"]).tags == ["iframe"]


def test_a_drawing_is_shown() -> None:
    x = tg.tensor([0.5], requires_grad=True)
    told = viz.draw(tg.tanh(x))._repr_mimebundle_()
    assert "<svg" in told["image/svg+xml"]
    assert told["text/plain"]


def test_a_diff_is_shown_as_its_page() -> None:
    y = tg.tanh(tg.tensor([0.5], requires_grad=True))
    found = viz.diff(viz.trace(y), viz.trace(y * 2))
    told = found._repr_mimebundle_()
    assert inside(told).startswith(found.page())
    assert told["text/plain"] == str(found)


def inside(bundle: dict[str, str]) -> str:
    """The page that a notebook shows in a frame."""
    assert Reader(bundle["text/html"]).tags == ["iframe"]
    assert 'sandbox="allow-scripts"' in bundle["text/html"]
    return html.unescape(bundle["text/html"].partition('srcdoc="')[2])


def test_a_playback_is_played_in_a_circuit() -> None:
    x = tg.tensor([0.5], requires_grad=True)
    played = viz.playback(tg.tanh(x))
    told = played._repr_mimebundle_()
    assert told["text/plain"] == str(played)
    assert 'id="circuit"' in inside(told)
    assert '"plays": true' in inside(told)


def test_a_playback_of_a_large_graph_and_a_watch_are_pages() -> None:
    x = tg.tensor([0.5], requires_grad=True)
    for _ in range(45):
        x = x * 1.0
    played = viz.playback(x)._repr_mimebundle_()
    assert played["text/plain"].startswith("x = mul(")
    assert 'id="playback"' in inside(played)
    model = nn.Linear(2, 2)
    watch = viz.watch(model, every=1)
    assert "text/html" not in watch._repr_mimebundle_()
    for _ in range(2):
        with watch.step():
            model(tg.ones(1, 2)).sum().backward()
    told = watch._repr_mimebundle_()
    assert told["text/plain"].startswith("<Drawing of")
    assert 'id="slider"' in inside(told)


def test_formulas_speak_of_the_variables_of_the_session(monkeypatch: Any) -> None:
    a, q = tg.tensor([0.5], requires_grad=True), tg.tensor([2.0], requires_grad=True)
    monkeypatch.setattr(__import__("sys").modules["__main__"], "q", q, raising=False)
    obj = a * q
    read = Reader(bundle(obj)["text/html"])
    assert "∂L/∂x = g · q" in read.text
    assert "obj" not in read.text  # as the program that asks for it calls it
