"""The HTML page of a trace: its text in Python, and what it does in a headless browser."""

import base64
import hashlib
import itertools
import json
import math
import random
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv import nn, viz
from tinygrad_cv.viz import labels, words
from tinygrad_cv.viz.data import (
    Broken,
    Failure,
    Frame,
    Input,
    Module,
    Node,
    Remark,
    Step,
    Summary,
    Trace,
)
from tinygrad_cv.viz.grouping import grouped
from tinygrad_cv.viz.page import beside, page

pytestmark = pytest.mark.host

HOSTILE = [
    '"><script>alert(1)</script>',
    "</script><script>alert(1)</script>",
    "<!-- <script>",
    "\\",
    "a\0b",
    "two\nlines\r\n\ttabbed",
    "\u2028\u2029",
    "\ud800 alone",
    "\u202eevil",
    "&lt;b&gt;&amp;",
    "$data ${script} $$",
    "__proto__",
    "x" * 100_000,
]

# ----- traces made by hand -----------------------------------------------------------------------


class Net:
    """Writes a trace node by node: an op belongs to the module that is open."""

    def __init__(self, title: str = "") -> None:
        self.trace = Trace(title=title)
        self.open: int | None = None

    @contextmanager
    def module(self, path: str, kind: str, **more: Any) -> Iterator[int]:
        before, own = self.open, len(self.trace.modules)
        self.trace.modules.append(Module(own, path, kind, before, **more))
        self.open = own
        yield own
        self.open = before

    def leaf(self, kind: Any, name: str, *shape: int) -> int:
        return self._add(kind, kind, name, shape)

    def op(self, op: str, *sources: int, shape: tuple[int, ...] = (4, 8), **more: Any) -> int:
        names = "xwbcdefg" if len(sources) <= 8 else [f"xs[{i}]" for i in range(len(sources))]
        inputs = [
            Input(name, source, gradient=self.trace.nodes[source].requires_grad)
            for name, source in zip(names, sources, strict=False)
        ]
        for operand in inputs:
            if operand.gradient:
                operand.formula = f"g · {op}'({operand.name})"
        grad = any(operand.gradient for operand in inputs)
        return self._add("op", op, more.pop("name", ""), shape, inputs, grad, **more)

    def _add(
        self,
        kind: Any,
        op: str,
        name: str,
        shape: tuple[int, ...],
        inputs: Any = (),
        grad: bool = True,
        **more: Any,
    ) -> int:
        i = len(self.trace.nodes)
        node = Node(i, f"{op}.{i}", kind, op, name, self.open, list(shape), "float32", "cpu")
        node.requires_grad = grad and kind != "input"
        node.inputs = list(inputs)
        self.trace.nodes.append(replace(node, **more))
        return i

    def layer(self, path: str, x: int, kind: str = "Linear", op: str = "linear") -> int:
        """A module of one op with a weight and a bias."""
        with self.module(path, kind, parameters=72):
            w = self.leaf("parameter", f"{path}.weight", 8, 8)
            b = self.leaf("parameter", f"{path}.bias", 8)
            return self.op(op, x, w, b, attributes="stride=(1, 1)")

    def residual(self, path: str, x: int) -> int:
        with self.module(path, "Block", parameters=144):
            y = self.layer(f"{path}.0", x)
            y = self.layer(f"{path}.1", self.op("relu", y))
            return self.op("relu", self.op("add", x, y))


def summary(norm: float, nan: int = 0, **more: Any) -> Summary:
    return Summary(
        8, norm / 4, norm / 2, -norm, norm, norm, nan=nan, histogram=[1, 2, 4, 1], **more
    )


def two_layers(steps: int = 1) -> Net:
    """x → fc1 → relu → fc2 → loss, with `steps` steps whose gradients shrink tenfold each.

    That at the output of fc2, with which the others are compared, stays as it is.
    """
    net = Net("two layers")
    x = net.leaf("input", "x", 4, 8)
    with net.module("", "MLP", parameters=144):
        h = net.op("relu", net.layer("fc1", x), name="h", source="mlp.py:7", code="h = relu(...)")
        y = net.layer("fc2", h)
    loss = net.op("mean", y, shape=(), name="loss", flops=32, seconds=0.25, saved={"x": 2048})
    net.trace.outputs = [loss]
    relu = next(node.id for node in net.trace.nodes if node.op == "relu")
    for i in range(steps):
        norm = 10.0**-i
        net.trace.steps.append(
            Step(
                number=100 * i,
                loss=2.0 / (i + 1),
                values={node.id: summary(1.0) for node in net.trace.nodes},
                gradients={
                    node.id: summary(norm if node.id < y else 1.0)
                    for node in net.trace.nodes
                    if node.requires_grad
                },
                shares={
                    edge.key: norm if edge.target <= y else 1.0
                    for edge in net.trace.edges
                    if edge.gradient
                },
                updates={
                    node.id: 10.0 ** -(i + 2)
                    for node in net.trace.nodes
                    if node.kind == "parameter"
                },
            )
        )
        net.trace.steps[-1].values[relu].dead = i / steps
    return net


def residual_net(blocks: int) -> Net:
    net = Net("residual")
    x = net.leaf("input", "images", 4, 8)
    with net.module("", "ResNet"):
        for i in range(blocks):
            x = net.residual(f"blocks.{i}", x)
    net.trace.outputs = [net.op("mean", x, shape=(), name="loss")]
    return net


# ----- the text --------------------------------------------------------------------------------


class _Parts(HTMLParser):
    """The contents of an HTML document: attributes of each tag, and the text inside."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, str] = {}
        self._at = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        self._at = tag + (dict(attributes).get("type") or "") if tag == "script" else tag

    def handle_data(self, data: str) -> None:
        self.inside[self._at] = self.inside.get(self._at, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._at = ""


def carried(text: str) -> dict[str, Any]:
    """What a page carries."""
    contents: dict[str, Any] = json.loads(_Parts(text).inside["scriptapplication/json"])
    return contents


def hostile_trace(word: str) -> Trace:
    net = Net(word)
    with net.module(word, word, details=word):
        x = net.leaf("parameter", word, 2)
        y = net.op(word, x, name=word, attributes=word, source=word, code=word)
        net.op(word, y)
    with net.module(word, word):
        net.op(word, y)
    operand = net.trace.nodes[y].inputs[0]
    operand.name, operand.formula, operand.where = word, word, {word: word}
    net.trace.nodes[y].saved = {word: 8}
    net.trace.frames = [Frame(y, [word, word])]
    net.trace.failure = Failure(word, word, [(word, y, word)], source=word, code=word)
    return net.trace


def test_same_trace_gives_the_same_text() -> None:
    assert page(two_layers(3).trace, [1, 0]) == page(two_layers(3).trace, (0, 1))


@pytest.mark.parametrize("word", HOSTILE, ids=range(len(HOSTILE)))
def test_the_trace_is_in_it_unchanged_whatever_its_text_is(word: str) -> None:
    trace = hostile_trace(word)
    text = page(trace, [0])
    contents = carried(text)
    assert contents["folded"] == [0]
    assert Trace.from_json(json.dumps(contents["trace"])) == trace
    text.encode()  # no half of a surrogate pair
    data = _Parts(text).inside["scriptapplication/json"]
    assert not set(data) & set("<>&\u2028\u2029")


@given(st.text(max_size=20))
def test_any_text_as_the_title(title: str) -> None:
    text = page(Trace(), title=title)
    heading = carried(text)["title"]
    assert heading == "graph" if not title else len(heading) == len(title)
    assert _Parts(text).inside["title"] == heading
    assert heading.isprintable()


def test_title_is_of_the_trace_or_given_and_has_a_limit() -> None:
    assert carried(page(Trace(title="a net")))["title"] == "a net"
    assert carried(page(Trace(title="a net"), title="mine"))["title"] == "mine"
    assert carried(page(Trace(title="x" * 10_000)))["title"] == "x" * 199 + "…"


def test_policy_allows_this_style_and_this_script_alone() -> None:
    parts = _Parts(page(two_layers().trace))
    (policy,) = (a["content"] for _, a in parts.tags if "http-equiv" in a)
    allowed = {}
    for tag in ("style", "script"):
        digest = hashlib.sha256(parts.inside[tag].encode()).digest()
        allowed[tag] = f"'sha256-{base64.b64encode(digest).decode()}'"
    assert policy == (
        f"default-src 'none'; style-src {allowed['style']}; script-src {allowed['script']}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def test_nothing_is_loaded_from_elsewhere() -> None:
    text = page(two_layers().trace)
    assert set(re.findall(r"https?://[^\s\"'`]+", text)) == {"http://www.w3.org/2000/svg"}
    assert not any({"src", "href", "style", "onclick"} & set(a) for _, a in _Parts(text).tags)
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in text


@pytest.mark.parametrize("folded", [[0], [-1, 2]])
def test_only_modules_are_folded(folded: list[int]) -> None:
    with pytest.raises(ValueError, match=f"the trace has no module {folded[0]}; it has 0"):
        page(Trace(), folded)


# ----- the browser -------------------------------------------------------------------------------


class Browser:
    """A headless browser that looks at one page after another."""

    def __init__(self, driver: Any, folder: Path) -> None:
        self.driver, self.folder, self.pages = driver, folder, 0

    def show(self, trace: Trace, folded: Any = (), title: str = "", **more: Any) -> None:
        """Without `folded` (None) the page folds so much that it fits."""
        self.pages += 1  # the same address again might show the page before
        file = self.folder / f"{self.pages}.html"
        file.write_text(page(trace, folded, title, **more), encoding="utf-8")
        self.driver.get(file.as_uri())
        loaded = "return location.href === arguments[0] && document.readyState === 'complete'"
        give_up = time.monotonic() + 60
        while not self.run(loaded, file.as_uri()):  # a busy machine may answer too early
            assert time.monotonic() < give_up, "the page did not load"
            time.sleep(0.01)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        """What can be read there; of a drawing one line for each text."""
        found: str = self.run(
            "const part = document.querySelector(arguments[0]);"
            "if (part instanceof HTMLElement) return part.innerText;"
            "return [...part.querySelectorAll('text')].map((text) => text.textContent)"
            ".filter(Boolean).join('\\n')",
            selector,
        )
        return found

    def all(self, selector: str, attribute: str = "id") -> list[str]:
        return list(
            self.run(
                "return [...document.querySelectorAll(arguments[0])]"
                ".map((element) => element.getAttribute(arguments[1]))",
                selector,
                attribute,
            )
        )

    def click(self, selector: str) -> None:
        self.run(
            "document.querySelector(arguments[0]).dispatchEvent("
            "new MouseEvent('click', {bubbles: true}))",
            selector,
        )

    def press(self, key: str, selector: str = "body") -> None:
        self.run(
            "document.querySelector(arguments[0]).dispatchEvent("
            "new KeyboardEvent('keydown', {key: arguments[1], bubbles: true, cancelable: true}))",
            selector,
            key,
        )

    def type(self, words: str) -> None:
        self.run(
            "const box = document.getElementById('search'); box.value = arguments[0];"
            "box.dispatchEvent(new Event('input'))",
            words,
        )

    def slide(self, place: int) -> None:
        self.run(
            "const slider = document.getElementById('slider'); slider.value = arguments[0];"
            "slider.dispatchEvent(new Event('input'))",
            place,
        )

    def rectangles(self, selector: str) -> dict[str, list[float]]:
        """Left, top, right and bottom of each such part, by the id of what it belongs to."""
        found: dict[str, list[float]] = self.run(RECTANGLES, selector)
        return found

    def complaints(self) -> list[Any]:
        return list(self.driver.get_log("browser"))


RECTANGLES = """
const back = document.getElementById("world").getScreenCTM().inverse();
const found = {};
for (const part of document.querySelectorAll(arguments[0])) {
  const at = part.getBoundingClientRect();
  if (!at.width) continue; // a line that is empty at this step
  const low = new DOMPoint(at.left, at.top).matrixTransform(back);
  const high = new DOMPoint(at.right, at.bottom).matrixTransform(back);
  const number = part.matches("text") ? " " + Object.keys(found).length : "";
  const id = part.closest("[id]").id + number;
  found[id] = [low.x, low.y, high.x, high.y];
}
return found;
"""


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    binary = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no chromium (or google-chrome) with its chromedriver on PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1400,900",
            f"--user-data-dir={profile}",
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        running = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        try:
            yield Browser(running, tmp_path_factory.mktemp("page"))
        finally:
            running.quit()


@pytest.fixture
def browser(chrome: Browser) -> Iterator[Browser]:
    """The browser; after the test it must have had nothing to complain about."""
    chrome.complaints()
    yield chrome
    assert chrome.complaints() == []


# ----- layout ----------------------------------------------------------------------------------


def overlap(a: list[float], b: list[float]) -> bool:
    return min(a[2], b[2]) - max(a[0], b[0]) > 0.5 and min(a[3], b[3]) - max(a[1], b[1]) > 0.5


def within(inner: list[float], outer: list[float]) -> bool:
    return all(inner[i] >= outer[i] - 0.5 and inner[i + 2] <= outer[i + 2] + 0.5 for i in (0, 1))


def expected_home(trace: Trace, box: str) -> set[str]:
    """The modules around a box."""
    if box[0] == "o":
        return set()
    number = int(box[1:])
    module = trace.modules[number].parent if box[0] == "m" else trace.nodes[number].module
    return {f"m{around.id}" for around in trace.ancestors(module)}


def expected_boxes(trace: Trace, folded: set[int]) -> set[str]:
    """A box for each node, or for the outermost folded module around it, and for each output.

    A module of one op is that op's box, and a parameter of a module stands in the box that reads
    it, if that is one alone.
    """
    ops = Counter(
        around.id
        for node in trace.nodes
        if node.kind == "op"
        for around in trace.ancestors(node.module)
    )
    homes = []
    for node in trace.nodes:
        hiding = [
            around.id
            for around in trace.ancestors(node.module)
            if around.id in folded and (ops[around.id] != 1 or around.repeat > 1)
        ]
        homes.append(f"m{hiding[-1]}" if hiding else f"n{node.id}")
    readers: dict[int, set[str]] = {node.id: set() for node in trace.nodes}
    for edge in trace.edges:
        readers[edge.source].add(homes[edge.target])
    found = []
    for node, home in zip(trace.nodes, homes, strict=True):
        in_module = any(around.repeat == 1 for around in trace.ancestors(node.module))
        inside = node.kind == "parameter" and in_module and home[0] == "n"
        alone = len(readers[node.id]) == 1 and min(readers[node.id])[0] == "n"
        found.append(min(readers[node.id]) if inside and alone else home)
    outputs = {found[id]: f"o{k}" for k, id in reversed(list(enumerate(trace.outputs)))}
    return {*found, *outputs.values()}


CROSSED = """
const inside = ([left, top, right, bottom], x, y) =>
  x > left + 1.5 && x < right - 1.5 && y > top + 1.5 && y < bottom - 1.5;
const areas = Object.entries(arguments[0]);
const found = [];
for (const path of document.querySelectorAll(".edge.value")) {
  const length = path.getTotalLength();
  for (let at = 0; at <= length; at += 4) {
    const { x, y } = path.getPointAtLength(at);
    for (const [id, area] of areas) if (inside(area, x, y)) found.push(id);
  }
}
return [...new Set(found)];
"""


def check_drawing(browser: Browser, trace: Trace, folded: set[int]) -> None:
    """What must hold of every drawing."""
    boxes = browser.rectangles(".box .outline")
    frames = browser.rectangles(".frame .border")
    headings = browser.rectangles(".frame .heading rect")
    assert set(boxes) == expected_boxes(trace, folded)
    names = sorted(boxes)
    for i, name in enumerate(names):
        for other in names[:i]:
            assert not overlap(boxes[name], boxes[other]), f"{name} overlaps {other}"
    for name, box in boxes.items():
        home = expected_home(trace, name)
        for frame, area in frames.items():
            if frame in home:
                assert within(box, area), f"{name} is not inside {frame}"
            else:
                assert not overlap(box, area), f"{name} overlaps the frame of {frame}"
        for heading, area in headings.items():
            assert not overlap(box, area), f"{name} covers the heading of {heading}"
    for name, area in frames.items():
        outer = {f"m{module.id}" for module in trace.ancestors(int(name[1:]))}
        for other, wider in frames.items():
            if other in outer:
                assert within(area, wider)
            elif f"m{int(name[1:])}" not in {
                f"m{module.id}" for module in trace.ancestors(int(other[1:]))
            }:
                assert not overlap(area, wider), f"the frames {name} and {other} overlap"
    for name, text in browser.rectangles(".box text").items():
        assert within(text, boxes[name.split()[0]]), f"text of {name} is cut"
    for name, text in browser.rectangles(".heading text").items():
        assert within(text, frames[name.split()[0]]), f"heading of {name} is cut"
    assert browser.run(CROSSED, boxes) == [], "an edge runs through a box"
    assert browser.run(CROSSED, headings) == [], "an edge runs through a heading"


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """Any graph: modules nested at random, also such as take turns, and edges between all."""
    net = Net("any")
    for i in range(draw(st.integers(0, 5))):
        parent = draw(st.none() | st.integers(0, i - 1)) if i else None
        name = draw(st.sampled_from(["a", "features.12", "a.rather.long.path.to.a.module"]))
        repeat = draw(st.sampled_from([1, 16]))
        net.trace.modules.append(Module(i, name, "Block", parent, repeat=repeat))
    homes = st.sampled_from([None, *range(len(net.trace.modules))])
    for i in range(draw(st.integers(1, 22))):
        net.open = draw(homes)
        sources = draw(st.lists(st.integers(0, i - 1), max_size=4)) if i else []
        if sources or draw(st.booleans()):
            name = draw(st.sampled_from(["", "h", "hidden_state_of_the_decoder"]))
            attributes = draw(st.sampled_from(["", "axis=0", "kernel_size=(3, 3) stride=(2, 2)"]))
            net.op(
                draw(st.sampled_from(["add", "tanh"])), *sources, name=name, attributes=attributes
            )
        else:
            net.leaf(draw(st.sampled_from(["input", "parameter"])), f"w{i}", 4, 8)
    if draw(st.booleans()):
        norms = st.sampled_from([0.0, 1e-9, 1.0, 1e7, float("nan"), float("inf")])
        step = Step(shares={edge.key: draw(norms) for edge in net.trace.edges if edge.gradient})
        for node in net.trace.nodes:
            step.values[node.id] = summary(1.0, nan=draw(st.integers(0, 1)), dead=0.5)
            step.gradients[node.id] = summary(1.0, nan=draw(st.integers(0, 1)))
        net.trace.steps = [step]
    return net.trace


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(traces(), st.data())
def test_nothing_overlaps_and_frames_hold_just_their_members(
    browser: Browser, trace: Trace, data: st.DataObject
) -> None:
    modules = [module.id for module in trace.modules]
    folded = set(data.draw(st.lists(st.sampled_from(modules)))) if modules else set()
    browser.show(trace, folded)
    check_drawing(browser, trace, folded)
    browser.click("#halves")
    check_drawing(browser, trace, folded)


@pytest.mark.parametrize("blocks", [1, 4])
def test_a_residual_net_is_drawn_well(browser: Browser, blocks: int) -> None:
    trace = residual_net(blocks).trace
    browser.show(trace)
    check_drawing(browser, trace, set())


def test_modules_that_take_turns_are_drawn_well(browser: Browser) -> None:
    """Each of the two needs the other; beside them stands a module that is taller."""
    net = Net()
    net.trace.modules = [Module(i, "abc"[i], "M", None) for i in range(3)]
    net.open = 0
    x = net.leaf("input", "x", 4, 8)
    y = net.op("exp", x)
    net.open = 1
    y = net.op("log", y)
    net.open = 0
    net.op("tanh", y)
    net.open = 2
    y = net.leaf("input", "y", 4, 8)
    for _ in range(6):
        y = net.op("relu", y)
    browser.show(net.trace)
    check_drawing(browser, net.trace, set())


def test_an_early_result_leaves_its_module_beside_what_comes_later(browser: Browser) -> None:
    net = Net()
    with net.module("a", "M"):
        early = net.op("exp", net.leaf("input", "x", 4, 8))
        late = [net.op("log", early) for _ in range(2)]
        late = [net.op("tanh", *late, attributes="wider than the boxes above")]
    net.op("add", early, *late)
    browser.show(net.trace)
    check_drawing(browser, net.trace, set())


def test_values_flow_downwards_in_a_straight_line(browser: Browser) -> None:
    """Of the chain of ops each is below the one before, with no bend in between."""
    trace = two_layers(0).trace
    browser.show(trace)
    boxes = browser.rectangles(".box .outline")
    chain = [f"n{node.id}" for node in trace.nodes if node.kind != "parameter"]
    assert all(boxes[a][3] < boxes[b][1] for a, b in itertools.pairwise(chain))
    paths = browser.all(".edge.value", "d")
    assert not any("C" in path for path in paths)


def test_three_thousand_nodes_take_seconds(browser: Browser) -> None:
    net = Net("large")
    x = net.leaf("input", "x", 4, 8)
    with net.module("", "Deep"):
        for i in range(334):
            x = net.residual(f"blocks.{i}", x)
    assert len(net.trace.nodes) > 3000
    started = time.perf_counter()
    browser.show(net.trace)
    elapsed = time.perf_counter() - started
    assert browser.run("return graph.boxes.size") == len(expected_boxes(net.trace, set()))
    assert 0 < len(browser.all(".box")) < 200  # those in sight
    layout = browser.run("const t = performance.now(); redraw(); return performance.now() - t")
    print(f"{len(net.trace.nodes)} nodes: opened in {elapsed:.2f} s, drawn in {layout:.0f} ms")
    assert elapsed < 30


# ----- folding ---------------------------------------------------------------------------------


def test_folding_a_module_makes_its_frame_a_box(browser: Browser) -> None:
    trace = residual_net(2).trace
    browser.show(trace)
    before = set(browser.all(".box"))
    assert set(browser.all(".frame")) == {"m0", "m1", "m4"}  # none around one op
    browser.click("#m1 .heading")
    hidden = {f"n{node.id}" for node in trace.nodes if node.module in (1, 2, 3)}
    assert set(browser.all(".box")) == before - hidden | {"m1"}
    assert set(browser.all(".frame")) == {"m0", "m4"}
    assert browser.text("#m1").split("\n") == [
        "blocks.0 Block",
        "5 ops, 144 parameters",
        "float32 (4, 8)",
    ]
    browser.press("Enter", "#m1")
    assert set(browser.all(".box")) == before


def test_edges_between_folded_modules_are_merged_with_the_largest_norm(browser: Browser) -> None:
    net = Net()
    with net.module("a", "A"):
        x, y = net.leaf("parameter", "x", 2), net.leaf("parameter", "y", 2)
        p, q = net.op("exp", x), net.op("log", y)
    with net.module("b", "B", repeat=16):
        net.op("add", p, q)
    net.trace.steps = [Step(shares={"4:0": 1e-9, "4:1": 1e7})]
    browser.show(net.trace, [0, 1])
    assert len(browser.all(".edge.value")) == len(browser.all(".edge.gradient")) == 1
    assert "b B ×16" in browser.text("#m1")
    assert browser.text(".inside").endswith("1e+07")
    net.trace.steps[0].shares["4:0"] = float("nan")
    browser.show(net.trace, [0, 1])
    assert browser.text(".inside").endswith("nan")


def test_fold_all_and_unfold_all(browser: Browser) -> None:
    trace = residual_net(2).trace
    browser.show(trace, [1])
    browser.click("#fold")
    assert set(browser.all(".box")) == {"n0", "m1", "m4", f"n{len(trace.nodes) - 1}", "o0"}
    browser.click("#unfold")
    assert set(browser.all(".box")) == expected_boxes(trace, set())


def test_forward_only_hides_the_backward_half(browser: Browser) -> None:
    browser.show(two_layers().trace)
    assert browser.all(".edge.gradient") != []
    assert "∂L/∂w" in browser.text("#world")
    browser.click("#halves")
    assert browser.all(".edge.gradient") == []
    assert "∂L" not in browser.text("#world")
    browser.click("#halves")
    assert browser.all(".edge.gradient") != []


# ----- steps -----------------------------------------------------------------------------------


def style(browser: Browser, source: str, name: str) -> str:
    """How the gradient is drawn that flows back to a box."""
    found: str = browser.run(
        "return getComputedStyle(graph.edges.find((edge) => edge.from.id === arguments[0])"
        ".line)[arguments[1]]",
        source,
        name,
    )
    return found


def colour(browser: Browser, source: str) -> list[int]:
    told = style(browser, source, "stroke")
    scale = 255 if told.startswith("color") else 1
    return [round(scale * float(part)) for part in re.findall(r"[\d.]+", told)[:3]]


def test_the_slider_changes_colours_and_numbers_but_no_place(browser: Browser) -> None:
    browser.show(two_layers(6).trace)
    places = browser.rectangles(".box .outline")
    linear, relu = "n3", "n4"
    assert colour(browser, linear) == [128, 128, 128]
    assert browser.text("#moment") == "step 0 · loss 2"
    assert "dead 0.0 %" in browser.text(f"#{relu}")
    browser.slide(5)
    assert browser.text("#moment") == "step 500 · loss 0.333"
    assert colour(browser, linear) == pytest.approx([32, 118, 166], abs=1)  # 3/4 of the way
    assert "dead 83 %" in browser.text(f"#{relu}")
    assert "update/weight 1e-07" in browser.text(f"#{linear}")
    assert browser.rectangles(".box .outline") == places
    browser.press("ArrowLeft")
    assert browser.text("#moment") == "step 400 · loss 0.4"


@pytest.mark.parametrize(
    ("t", "expected", "dashed"),
    [
        ("0", (128, 128, 128), False),
        ("-2", (128, 128, 128), False),
        ("4", (170, 111, 64), False),
        ("-6", (0, 114, 178), False),
        ("-20", (0, 114, 178), False),
        ("-Infinity", (0, 114, 178), True),
        ("30", (213, 94, 0), False),
        ("NaN", (192, 99, 153), True),
    ],
)
def test_scale_of_gradients(
    browser: Browser, t: str, expected: tuple[int, ...], dashed: bool
) -> None:
    """The same as in the static pictures."""
    net = Net()
    net.op("exp", net.leaf("parameter", "x", 2))
    net.trace.steps = [Step(shares={"1:0": 1.0})]
    browser.show(net.trace)
    browser.run(f"steps[0].judged.edges['1:0'] = {t}; update()")
    assert colour(browser, "n0") == pytest.approx(expected, abs=1)
    tone, width = labels.tone(float(t))
    assert [int(tone[i : i + 2], 16) for i in (1, 3, 5)] == pytest.approx(expected, abs=1)
    assert float(style(browser, "n0", "strokeWidth").removesuffix("px")) == pytest.approx(width)
    assert (style(browser, "n0", "strokeDasharray") != "none") == dashed


def test_what_was_not_computed_is_a_dash_and_never_zero(browser: Browser) -> None:
    trace = two_layers().trace
    trace.steps = []
    browser.show(trace)
    assert len(browser.all(".edge.gradient.plain")) == len(browser.all(".edge.gradient")) > 0
    browser.click("#n3")
    lines = browser.text("#details").split("\n")
    for name in ("FLOPs", "time forward", "saved", "source", "norm", "‖∂L/∂w‖"):
        assert lines[lines.index(name) + 1] == "–", name
    assert browser.run("return document.getElementById('player').hidden")


def test_steps_without_a_loss_have_a_slider_too(browser: Browser) -> None:
    net = two_layers(3)
    for step in net.trace.steps:
        step.loss = None
    browser.show(net.trace)
    browser.slide(2)
    assert browser.text("#moment") == "step 200 · loss –"


def test_first_nan_forward_and_backward(browser: Browser) -> None:
    net = two_layers(2)
    step = net.trace.steps[1]
    for i in (4, 7, 8):  # the ReLU, and all that is computed from it
        step.values[i] = summary(1.0, nan=1)
    for i in range(8):
        step.gradients[i] = summary(1.0, nan=2)
    browser.show(net.trace)
    places = browser.rectangles(".box .outline")
    assert browser.all(".box.broken") == []
    browser.slide(1)
    assert set(browser.all(".box.broken")) == {"n4", "n7"}
    assert "first NaN here" in browser.text("#n4")
    assert "first NaN gradient here" in browser.text("#n7")  # nobody knows whose rule made it
    assert "NaN" not in browser.text("#n8")
    assert browser.rectangles(".box .outline") == places
    step.shares["8:0"] = math.nan
    browser.show(net.trace)
    browser.slide(1)
    assert set(browser.all(".box.broken")) == {"n4", "n8"}
    assert "first NaN gradient made here" in browser.text("#n8")
    step.broken = Broken(3, "linear got -2 at [3, 1], mlp.py:6")
    browser.show(net.trace, [0])
    assert "NaN" not in browser.text("#m0")
    browser.slide(1)
    assert set(browser.all(".box.broken")) == {"m0", "n8"}
    told = "first NaN or inf here: linear got -2 at [3, 1], mlp.py:6\nlinear %3"
    assert told in browser.text("#m0").replace("\u00a0", " ")


def test_the_marks_are_those_of_the_static_picture(browser: Browser) -> None:
    x, w = (tg.tensor(value, requires_grad=True) for value in ([1.0, -2.0], [2.0, 1.0]))
    loss = (tg.log(x * w) * w).mean()
    trace = viz.trace(loss, values=True, gradients=True)
    browser.show(trace)
    assert set(browser.all(".box.broken")) == {"n3", "n4"}  # log, and the mul after it
    drawn = viz.draw(trace, backward=True).source.replace("&#45;", "-")
    for box in ("n3", "n4"):
        (told,) = (line for line in browser.text(f"#{box}").split("\n") if "first" in line)
        assert f"<B>{told}</B>" in drawn
    play = viz.playback(loss).trace
    browser.show(play)
    places = [frame.node for frame in play.frames]
    for place, node in enumerate(places):
        browser.slide(place)
        assert ("n4" in browser.all(".box.broken")) == (4 in places[: place + 1]), node


def test_a_mark_names_a_weight_that_stands_in_the_box_of_its_op(browser: Browser) -> None:
    trace = two_layers(1).trace
    for i in (1, 3, 4, 7, 8):
        trace.steps[0].values[i] = summary(1.0, nan=1)
    browser.show(trace)
    assert "first NaN here\nfc1.weight" in browser.text("#n3")
    assert "first NaN here; fc1.weight" in labels_of(viz.draw(trace).source)


def labels_of(source: str) -> str:
    return "; ".join(re.findall(r"<B>([^<]*)</B>", source))


def test_values_that_are_nan_flow_on_in_magenta(browser: Browser) -> None:
    net = two_layers(1)
    for i in (4, 7, 8):
        net.trace.steps[0].values[i] = summary(1.0, nan=1)
    browser.show(net.trace)
    broken = "return graph.edges.filter(({valueLine}) => valueLine.matches('.broken'))"
    assert browser.run(broken + ".map(({from}) => from.id)") == ["n4", "n7", "n8"]
    dash = "return getComputedStyle(document.querySelector('.edge.value.broken')).strokeDasharray"
    assert browser.run(dash) == "7px, 4px"


@pytest.mark.parametrize(
    ("ratio", "kind"), [(1e-5, "low"), (1e-3, "faint"), (0.5, "high"), (float("nan"), "nan")]
)
def test_update_ratio_of_a_parameter(browser: Browser, ratio: float, kind: str) -> None:
    net = two_layers()
    net.trace.steps[0].updates = {1: ratio}
    browser.show(net.trace)
    script = (
        "return [...document.querySelectorAll('#n3 text')]"
        ".find((text) => text.textContent.startsWith('update')).getAttribute('class')"
    )
    assert kind in browser.run(script)
    assert browser.text("#n3").count("update") == 1


def test_dead_relu_is_bold_from_one_half_on(browser: Browser) -> None:
    browser.show(two_layers(4).trace)
    script = (
        "const text = [...document.querySelectorAll('#n4 text')]"
        ".find((text) => text.textContent.startsWith('dead'));"
        "return getComputedStyle(text).fontWeight"
    )
    weights = []
    for place in range(4):  # dead: 0, 1/4, 1/2, 3/4
        browser.slide(place)
        weights.append(browser.run(script))
    assert weights == ["400", "400", "700", "700"]


# ----- search and details ------------------------------------------------------------------------


def test_search_unfolds_and_highlights_one_match_after_another(browser: Browser) -> None:
    trace = two_layers().trace
    browser.show(trace, [0])
    browser.type("LINEAR")  # two ops, and their weights and biases
    assert browser.text("#found") == "6 found"
    browser.press("Enter", "#search")
    assert browser.text("#found") == "1 of 6"
    assert "m0" not in browser.all(".box")
    for _ in range(6):
        browser.press("Enter", "#search")
    assert browser.text("#found") == "1 of 6"
    browser.type("mlp.py:7")
    browser.press("Enter", "#search")
    assert browser.all(".hit") == ["n4"]
    browser.type("float32 ()")
    assert browser.text("#found") == "1 found"
    browser.type("no such thing")
    assert browser.text("#found") == "no match"
    browser.press("Enter", "#search")
    assert browser.all(".hit") == []


def test_details_of_a_node(browser: Browser) -> None:
    browser.show(two_layers().trace)
    browser.click("#n8")
    lines = browser.text("#details").split("\n")
    told = dict(itertools.pairwise(lines))
    assert told["op"] == "mean"
    assert told["type"] == "float32 ()"
    assert told["FLOPs"] == "32"
    assert told["time forward"] == "250 ms"
    assert told["saved"] == told["· x"] == "2.05 kB"
    assert told["‖∂L/∂x‖"] == "1"
    assert "∂L/∂x = g · mean'(x)" in lines
    assert told["mean ± std"] == "0.25 ± 0.5"
    assert browser.run("return document.querySelectorAll('.histogram rect').length") == 8
    browser.click("#n4")
    lines = browser.text("#details").split("\n")
    told = dict(itertools.pairwise(lines))
    assert told["source"] == "mlp.py:7"
    assert told["module"] == "MLP"
    assert told["dead"] == "0.0 %"
    browser.click("#n3")
    assert "‖update‖/‖weight‖\n0.01" in browser.text("#details")
    browser.press("Escape")
    assert browser.run("return document.getElementById('details').hidden")


def test_a_note_is_in_the_box_and_in_the_details(browser: Browser) -> None:
    net = two_layers()
    net.trace.nodes[3].note = "only in the second"
    browser.show(net.trace)
    assert browser.all(".box.noted") == ["n3"]
    assert "only in the second" in browser.text("#n3")
    browser.click("#n3")
    assert "note\nonly in the second" in browser.text("#details")


def test_findings_stand_above_the_graph_and_lead_to_their_nodes(browser: Browser) -> None:
    trace = two_layers().trace
    trace.remarks = [
        Remark("error", "cost_exploded", HOSTILE[0], "too high", "lower it", "a deck", step=7),
        Remark("note", "dead_units", "3 of 4", where="relu, net.py:7", nodes=[4, 8]),
    ]
    browser.show(trace, [0])
    assert "too high" not in browser.text("#remarks")
    browser.run("for (const one of document.querySelectorAll('#remarks details')) one.open = true")
    lines = browser.text("#remarks").split("\n")
    assert lines[0] == "1 error, 1 note"
    told = dict(itertools.pairwise(lines))
    assert told["means"] == "too high"
    assert {"3 of 4", HOSTILE[0]} <= set(lines)
    assert "source" in lines
    assert browser.all("#remarks li", "class") == ["error", "note"]
    assert browser.all("#remarks .place", "title") == ["show n4", "show n8"]
    browser.click("#remarks .place")  # unfolds what hides it
    assert browser.all(".box.chosen") == ["n4"]
    trace.remarks = []
    browser.show(trace)
    assert browser.text("#remarks") == "nothing was found"
    trace.remarks = None
    browser.show(trace)
    assert browser.run("return document.getElementById('remarks').hidden")


def test_details_of_a_module(browser: Browser) -> None:
    browser.show(residual_net(1).trace)
    browser.click("#m1 .heading")
    lines = browser.text("#details").split("\n")
    told = dict(itertools.pairwise(lines))
    assert (told["path"], told["class"], told["parameters"]) == ("blocks.0", "Block", "144")
    assert told["FLOPs"] == "–"


# ----- playback, failure, view -------------------------------------------------------------------


def test_playback_shows_gradients_as_they_arrive(browser: Browser) -> None:
    net = two_layers()
    order = [8, 7, 4, 3]
    net.trace.frames = [Frame(i, [f"rule of {i}", "g = 0.25"]) for i in order]
    browser.show(net.trace)
    gradients = len(browser.all(".edge.gradient"))
    assert browser.all(".box.now") == ["n8"]
    assert browser.text("#playback") == "n8 loss = mean\nrule of 8\ng = 0.25"
    unknown = []
    for place in range(4):
        browser.slide(place)
        unknown.append(len(browser.all(".edge.gradient.unknown")))
    assert unknown == [gradients - 1, gradients - 2, 0, 0]
    assert browser.all(".box.now") == ["n3"]
    browser.slide(0)
    browser.click("#n4")
    assert "gradient\nnorm\n–" in browser.text("#details")
    browser.slide(1)  # fc2 has sent its gradients on, and the ReLU has all of its own
    assert "gradient\nnorm\n1" in browser.text("#details")
    assert browser.text("#moment") == "2 of 4"


def test_numbers_of_scalars_have_their_sign_and_come_as_the_playback_gets_there(
    browser: Browser,
) -> None:
    x, y, z = (tg.tensor(value, requires_grad=True) for value in (-2.0, 5.0, -4.0))
    q = x + y
    f = q * z
    browser.show(viz.playback(f).trace)
    assert browser.text("#n0").endswith("value -2\ngradient –")
    assert browser.text("#n3").endswith("value -4\ngradient 3")
    browser.slide(1)
    assert browser.text("#n0").endswith("value -2\ngradient -4")


IN_VIEW = """
const at = document.querySelector(arguments[0]).getBoundingClientRect();
const seen = document.getElementById("view").getBoundingClientRect();
return at.top >= seen.top && at.bottom <= seen.bottom
  && at.left >= seen.left && at.right <= seen.right;
"""


def test_playback_scrolls_to_the_node(browser: Browser) -> None:
    net = residual_net(12)
    ops = [node.id for node in net.trace.nodes if node.kind == "op"]
    net.trace.frames = [Frame(i, ["…"]) for i in reversed(ops)]
    browser.show(net.trace)
    for place in (0, len(ops) // 2, len(ops) - 1):
        browser.slide(place)
        assert browser.run(IN_VIEW, ".now")


def test_search_and_details_scroll_to_the_node(browser: Browser) -> None:
    net = residual_net(12)
    browser.show(net.trace)
    last = f"#n{len(net.trace.nodes) - 1}"
    assert not browser.run(IN_VIEW, last)
    browser.type("loss")
    browser.press("Enter", "#search")
    assert browser.run(IN_VIEW, last)
    browser.press("0")  # the whole graph is narrow; at the right edge the details would cover it
    for _ in range(16):
        browser.press("+")
    browser.click("#n0")
    assert browser.run(IN_VIEW, "#n0")


def test_an_op_that_failed_has_a_box(browser: Browser) -> None:
    net = two_layers()
    net.trace.failure = Failure(
        "matmul",
        "the inner lengths differ: 8 and 9",
        [("x", 4, "float32 (4, 8)"), ("n", None, "3")],
        module=2,
        source="mlp.py:9",
        code="h @ w",
    )
    browser.show(net.trace, [2])
    assert "matmul failed in the forward pass: the inner lengths" in browser.text("#failure")
    assert "mlp.py:9" in browser.text("#failure")
    box = f"n{len(net.trace.nodes)}"
    assert browser.all(".box.failed") == [box]
    assert "x: float32 (4, 8)" in browser.text(f"#{box}")
    assert "n: 3" in browser.text(f"#{box}")


def test_a_rule_that_failed_marks_its_node(browser: Browser) -> None:
    net = two_layers()
    net.trace.failure = Failure("relu", "no", [("x", 3, "?")], during="backward", node=4)
    browser.show(net.trace)
    assert browser.all(".box.failed") == ["n4"]
    assert "its rule failed" in browser.text("#n4")
    assert "relu failed in the backward pass: no" in browser.text("#failure")


def test_pan_zoom_and_fit(browser: Browser) -> None:
    browser.show(residual_net(3).trace)
    browser.press("0")
    view = browser.run("return document.getElementById('view').getBoundingClientRect().toJSON()")
    seen = browser.run("return document.getElementById('world').getBoundingClientRect().toJSON()")
    for low, high in (("left", "right"), ("top", "bottom")):
        assert view[low] <= seen[low] <= seen[high] <= view[high]
    browser.press("+")
    larger = browser.run("return document.getElementById('world').getBoundingClientRect().width")
    assert larger == pytest.approx(1.25 * seen["width"])
    browser.press("-")
    browser.run(
        "const view = document.getElementById('view');"
        "for (const [kind, x, y] of [['down', 400, 400], ['move', 430, 410], ['up', 430, 410]])"
        "  view.dispatchEvent(new PointerEvent('pointer' + kind,"
        "    {clientX: x, clientY: y, button: 0, pointerId: 1, bubbles: true}))"
    )
    moved = browser.run("return document.getElementById('world').getBoundingClientRect().toJSON()")
    assert (moved["left"], moved["top"]) == pytest.approx((seen["left"] + 30, seen["top"] + 10))


def test_dark_and_light(browser: Browser) -> None:
    browser.show(two_layers().trace)
    look = (
        "return [document.documentElement, document.querySelector('.box.op .ground')].map("
        "(part, i) => getComputedStyle(part)[i ? 'fill' : 'backgroundColor'])"
    )
    light = browser.run(look)
    browser.click("#theme")
    dark = browser.run(look)
    assert all(a != b for a, b in zip(light, dark, strict=True))
    assert sum(int(part) for part in re.findall(r"\d+", dark[0])) < 150
    browser.click("#theme")
    assert browser.run(look) == light


def test_the_title_is_the_heading_and_that_of_the_window(browser: Browser) -> None:
    browser.show(two_layers().trace)
    assert browser.driver.title == browser.text("#title") == "two layers"


def test_an_empty_trace(browser: Browser) -> None:
    browser.show(Trace())
    assert browser.all(".box") == []


# ----- the same as the static pictures -----------------------------------------------------------


def small_nets() -> dict[str, Callable[[], viz.Drawing]]:
    def gates() -> viz.Drawing:
        x, y, z = (tg.tensor(value, requires_grad=True) for value in (-2.0, 5.0, -4.0))
        return viz.draw((x + y) * z, backward=True)

    def convolutions() -> viz.Drawing:
        layers = [nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 2)]
        return viz.draw(nn.Sequential(*layers), (2, 1, 5, 5), backward=True)

    def blocks() -> viz.Drawing:
        block = [nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(3)]
        return viz.draw(nn.Sequential(*block), (2, 4), backward=True, collapse="repeats")

    def attention() -> viz.Drawing:
        layers = [nn.LayerNorm(4), nn.Linear(4, 4)]
        return viz.draw(nn.Sequential(*layers), (2, 3, 4), backward=True)

    def recurrent() -> viz.Drawing:
        cell = nn.RNNCell(2, 2)

        def run(x: tg.Tensor) -> tg.Tensor:
            h = tg.zeros(1, 2)
            for step in range(5):
                h = cell(x[step], h)
            return h

        return viz.draw(run, tg.ones(5, 1, 2), backward=True, collapse="repeats")

    return {f.__name__: f for f in (gates, convolutions, blocks, attention, recurrent)}


@pytest.mark.parametrize("net", small_nets())
def test_boxes_and_words_are_those_of_the_static_picture(browser: Browser, net: str) -> None:
    view = small_nets()[net]().view
    browser.show(view.trace, view.folded, repeated=view.repeated)
    assert {box for box in browser.all(".box") if box[0] != "o"} == set(view.boxes)
    for box in view.boxes.values():
        told = view.words(box)
        held = [words.parameter(view.trace, i) for i in box.parameters]
        lines = browser.text(f"#{box.id}").split("\n")
        assert lines[0] == told.title
        assert [line for line in lines if line in {*told.rows, *held}] == [*told.rows, *held]
        formulas = [line.strip() for line in told.formulas]
        shown = [line for line in lines if line.startswith(("∂L", "where"))]
        assert len(shown) == (len(formulas) if len(formulas) <= 6 else 5)
        for line, formula in zip(shown, formulas, strict=False):
            assert line == formula or (line[-1] == "…" and formula.startswith(line[:-1]))


def test_numbers_are_written_as_in_the_static_pictures(browser: Browser) -> None:
    numbers = [0.0, 1.0, -12.0, 999.4, 999.5, 1e5, 12345.0, 0.03125, 2.125, 1e-4, 9.9999e-5, 1e-300]
    draw = random.Random(0)
    numbers += [draw.uniform(-10, 10) * 10 ** draw.randint(-9, 9) for _ in range(300)]
    numbers += [draw.randint(1, 9999) / 2 ** draw.randint(0, 14) for _ in range(300)]  # ties
    browser.show(Trace())
    told = browser.run("return arguments[0].map(figure)", numbers)
    assert told == [labels.number(number) for number in numbers]
    assert browser.run("return [NaN, Infinity, -Infinity, null].map(figure)") == [
        labels.number(number) for number in (math.nan, math.inf, -math.inf, None)
    ]


# ----- the steps -------------------------------------------------------------------------------


def test_steps_arrive_with_four_digits(browser: Browser) -> None:
    draw = random.Random(1)
    numbers = [draw.uniform(-10, 10) * 10 ** draw.randint(-40, 38) for _ in range(50)]
    steps = [
        Step(
            number=7 * i,
            loss=numbers[i],
            values={0: Summary(9, mean=numbers[i + 1], norm=math.inf, nan=i, histogram=[0, 3, 6])},
            gradients={} if i else {3: Summary(2, dead=0.25)},
            shares={"1:0": math.nan, "2:1": numbers[i + 2]},
            updates={1: -0.0625},
        )
        for i in range(40)
    ]
    net = Net()
    x = net.leaf("parameter", "x", 9)
    net.op("tanh", net.op("add", x, net.op("exp", x)))
    net.trace.steps = steps
    browser.show(net.trace)
    told = browser.run(
        "return steps.map(({number, loss, values, shares, updates}) => [number, loss,"
        " values[0].mean, values[0].count, values[0].nan, values[0].norm === Infinity,"
        " values[0].histogram, Number.isNaN(shares['1:0']), shares['2:1'], updates[1]])"
    )
    for i, (number, loss, mean, count, nan, *rest) in enumerate(told):
        assert (number, count, nan) == (7 * i, 9, i)
        assert [loss, mean] == pytest.approx([numbers[i], numbers[i + 1]], rel=1.1e-3)
        assert [figure(loss), figure(mean)] == [figure(numbers[i]), figure(numbers[i + 1])]
        assert rest[:3] == [True, [0, 32, 63], True]
        assert rest[3:] == [pytest.approx(numbers[i + 2], rel=1.1e-3), -0.0625]
    assert browser.run("return [steps[0].gradients[3].dead, steps[1].gradients]") == [0.25, {}]


def figure(value: float) -> str:
    return labels.number(value)


def test_a_long_watch_is_a_small_page() -> None:
    """200 steps of 180 nodes with values and gradients in less than 5 MB; here a tenth of it."""
    draw = random.Random(2)

    def told() -> Summary:
        five = [draw.random() for _ in range(5)]
        return Summary(
            999, *five, zeros=draw.random(), histogram=[draw.randint(0, 99) for _ in range(16)]
        )

    net = residual_net(14)  # 143 nodes
    for i in range(20):
        nodes = range(180)
        shares = {edge.key: draw.random() for edge in net.trace.edges}
        summaries = [{k: told() for k in nodes if k < len(net.trace.nodes)} for _ in range(2)]
        net.trace.steps.append(Step(i, draw.random(), *summaries, shares))
    net.trace.steps.append(net.trace.steps[0])
    size = len(page(net.trace)) - len(page(replace(net.trace, steps=[])))
    assert size * (200 / 21) * (180 / len(net.trace.nodes)) < 4.2e6


# ----- loops -------------------------------------------------------------------------------------


def loop(count: int) -> Trace:
    """h = tanh(W h + x[t]), `count` times, and the last h as the result; step t has ∂L/∂h = t."""
    net = Net("loop")
    x, h = net.leaf("input", "x", count, 8), net.leaf("input", "h0", 8)
    w = net.leaf("parameter", "w", 8, 8)
    states = []
    for t in range(count):
        term = net.op("getitem", x, shape=(8,), attributes=f"index={t}")
        product = net.op("matmul", w, h, shape=(8,))
        h = net.op("tanh", net.op("add", product, term, shape=(8,)), shape=(8,))
        states.append(h)
    net.trace.outputs = [net.op("stack", *states, shape=(count, 8))]
    shares = {edge.key: float(edge.target) for edge in net.trace.edges if edge.gradient}
    net.trace.steps = [Step(shares=shares)]
    return grouped(net.trace)


def test_a_loop_opens_to_one_step_with_an_arrow_back(browser: Browser) -> None:
    trace = loop(50)
    browser.show(trace)
    assert len(browser.all(".box")) == 9  # x, h0, w, getitem, matmul, add, tanh, stack, output
    assert "t = 0 … 49" in browser.text(".frame")
    (back,) = browser.run("return graph.edges.filter(e => e.back).map(e => [e.from.id, e.to.id])")
    ops = {node.op: f"n{node.id}" for node in reversed(trace.nodes)}
    assert back == [ops["tanh"], ops["matmul"]]
    assert len(browser.all(".edge.value.back")) == len(browser.all(".edge.gradient.back")) == 1
    assert len(browser.all(".edge.value.many")) == 1  # all states go to the stack
    assert "∂L/∂w" in browser.text(f"#{ops['matmul']}")
    assert "∂L/∂x" in browser.text(f"#{ops['matmul']}") or "∂L/∂h" in browser.text(
        f"#{ops['matmul']}"
    )


def test_the_picker_shows_the_numbers_of_one_step_or_all(browser: Browser) -> None:
    trace = loop(20)
    browser.show(trace)
    tanh = [node.id for node in trace.nodes if node.op == "tanh"]
    browser.click("[aria-label='next block']")
    assert f"n{tanh[1]}" in browser.all(".box")
    told = (
        "return toldOf(graph.edges.find(({from, to}) => to.id === arguments[0]"
        " && from.node?.op === 'add'))"
    )
    assert browser.run(told, f"n{tanh[1]}") == labels.number(float(tanh[1]))
    browser.click("[aria-label='block before']")
    browser.click("[aria-label='block before']")
    assert f"n{tanh[19]}" in browser.all(".box")
    browser.run("choose(`m${groups.keys().next().value}`)")
    browser.run(
        "const slider = document.querySelector('#details .block'); slider.value = 11;"
        "slider.dispatchEvent(new Event('change'))"
    )
    assert f"n{tanh[11]}" in browser.all(".box")
    browser.type("index=7")
    browser.press("Enter", "#search")
    assert f"n{tanh[7]}" in browser.all(".box")
    browser.click("[aria-label='show all 20 blocks']")
    assert {f"n{i}" for i in tanh} <= set(browser.all(".box"))
    browser.click("[aria-label='show one block']")
    assert len(browser.all(".box")) == 9


def test_nothing_comes_back_to_the_first_step_of_a_loop(browser: Browser) -> None:
    browser.show(loop(12))
    hidden = "return getComputedStyle(document.querySelector('.edge.gradient.back')).display"
    assert browser.run(hidden) == "none"  # not "unknown"
    assert browser.run("return document.querySelector('.key.unknown').hidden")
    assert "–" not in browser.text("#world")
    browser.click("[aria-label='next block']")
    assert browser.run(hidden) == "inline"


def test_a_first_block_to_which_no_gradient_flows_is_not_unknown(browser: Browser) -> None:
    net = Net()
    x = net.leaf("input", "x", 4, 8)
    for i in range(6):
        with net.module(f"layers.{i}", "Block"):
            x = net.layer(f"layers.{i}.0", net.op("reshape", x))
    net.trace.outputs = [x]
    net.trace.steps = [Step(shares={e.key: 1.0 for e in net.trace.edges if e.gradient})]
    browser.show(grouped(net.trace))
    assert browser.all(".edge.gradient.unknown") == []
    assert browser.run("return document.querySelector('.key.unknown').hidden")


@pytest.mark.parametrize("count", [40, 400])
def test_unfold_all_shows_something_at_once(browser: Browser, count: int) -> None:
    browser.show(loop(count), None)
    browser.click("#unfold")
    assert len(browser.all(".box")) == 9
    assert all(browser.run(IN_VIEW, f"#{box}") for box in browser.all(".box.input"))


# ----- what fits ---------------------------------------------------------------------------------


def test_the_first_view_fits_and_can_be_read(browser: Browser) -> None:
    net = Net()
    x = net.leaf("input", "x", 4, 8)
    with net.module("", "Deep"):
        for i in range(8):
            with net.module(f"stages.{i}", "Stage"):
                for j in range(i + 1):
                    x = net.residual(f"stages.{i}.{j}", x)
    browser.show(net.trace, None)
    assert 8 < len(browser.all(".box")) < 60
    for box in browser.all(".box"):
        assert browser.run(IN_VIEW, f"#{box}")
    assert browser.run("return 13 * camera.scale") >= 11.4


def test_a_page_that_had_no_size_fits_when_it_gets_one(browser: Browser) -> None:
    """As in a tab of a notebook that is not in front."""
    size = {"width": 500, "height": 400, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.show(residual_net(9).trace, None)
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.run("dispatchEvent(new Event('resize'))")
    assert all(browser.run(IN_VIEW, f"#{box}") for box in browser.all(".box"))
    browser.click("#in")
    before = browser.run("return {...camera}")
    browser.run("dispatchEvent(new Event('resize'))")
    assert browser.run("return {...camera}") == before


def test_a_tall_graph_is_cut_into_columns(browser: Browser) -> None:
    trace = residual_net(6).trace
    browser.show(trace, {module.id for module in trace.modules if module.type == "Block"} - {1, 5})
    assert browser.run("return graph.levels.at(0).rows.some(row => row[0]?.column)")
    folded = {module.id for module in trace.modules if module.type == "Block"} - {1, 5}
    check_drawing(browser, trace, folded)


def test_on_paper_the_whole_graph_is_there_with_its_legend(browser: Browser) -> None:
    browser.show(residual_net(12).trace)
    browser.run("zoom(3); dispatchEvent(new Event('beforeprint'))")
    left, top, width, height = map(float, browser.all("#view", "viewBox")[0].split())
    for area in browser.rectangles(".box .outline").values():
        assert within(area, [left, top, left + width, top + height])
    assert browser.all("#world", "transform") == [None]
    browser.run("dispatchEvent(new Event('afterprint'))")
    assert browser.all("#view", "viewBox") == [None]
    text = re.sub(r"\s", "", page(Trace()))
    printed = text[text.index("@mediaprint") :]
    assert "footer{display" not in printed
    assert "print-color-adjust:exact" in printed


def many_findings() -> Trace:
    """A net, a chain beside it, and a lot that was found."""
    net = two_layers(2)
    x = net.trace.outputs[0]
    for i in range(20):
        x = net.op(f"f{i}", x, net.leaf("input", f"x{i}", 4), shape=())
    net.trace.remarks = [Remark("note", "gap", f"finding {i} " * 4) for i in range(6)]
    return net.trace


def test_findings_leave_room_for_the_graph(browser: Browser) -> None:
    height = "return document.getElementById('view').clientHeight / innerHeight"
    browser.show(many_findings(), None)
    assert "m0" in browser.all(".box")  # what does not fit is folded at least
    paper = browser.driver.execute_cdp_cmd("Page.printToPDF", {})["data"]
    assert base64.b64decode(paper).count(b"/Type /Page\n") == 1
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.show(many_findings())
        browser.run("document.getElementById('heat').click()")
        assert browser.run(height) > 0.45
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_on_a_phone_details_are_below_and_nothing_overflows(browser: Browser) -> None:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.show(two_layers(2).trace)
        browser.click("#n3")
        assert browser.run("return document.documentElement.scrollWidth") == 390
        at = "const at = document.querySelector(arguments[0]).getBoundingClientRect(); return at."
        assert browser.run(at + "top", "#details") >= browser.run(at + "bottom", "#view") - 1
        assert browser.run(at + "width", "#details") == 390
        assert browser.run(at + "width", "#details dd") > 200
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_two_fingers_zoom_and_pan(browser: Browser) -> None:
    browser.show(residual_net(3).trace)
    before = browser.run("return {...camera}")
    browser.run(
        "const view = document.getElementById('view'), {left, top} = view.getBoundingClientRect();"
        "for (const [kind, pointerId, x, y] of [['down', 1, 300, 300], ['down', 2, 400, 300],"
        "  ['move', 1, 250, 310], ['move', 2, 450, 310], ['up', 1, 250, 310], ['up', 2, 450, 310]])"
        "  view.dispatchEvent(new PointerEvent('pointer' + kind, {pointerId, button: 0,"
        "    clientX: left + x, clientY: top + y, bubbles: true}))"
    )
    after = browser.run("return {...camera}")
    assert after["scale"] == pytest.approx(2 * before["scale"], rel=0.01)
    middle = [(350 - camera["x"]) / camera["scale"] for camera in (before, after)]
    assert middle[0] == pytest.approx(middle[1], abs=3)


# ----- colours -----------------------------------------------------------------------------------


def colours(scheme: int) -> dict[str, str]:
    """The custom properties of the page, light (0) or dark (1)."""
    found = {}
    for name, value in re.findall(r"--([a-z]+): ([^;]+);", beside("page.css")):
        both = re.findall(r"#[0-9a-f]{6}", value)
        if both:
            found[name] = both[min(scheme, len(both) - 1)]
    return found


TEXTS = {
    "ink": ["paper", "panel", "op", "input", "parameter", "folded", "output"],
    "faint": ["paper", "panel", "op", "input", "folded", "parameter", "backward"],
    "formula": ["backward", "panel"],
    "high": ["paper", "op", "input", "folded", "backward", "parameter"],
    "low": ["op", "input", "folded", "parameter"],
    "nan": ["op", "input", "folded", "backward", "parameter"],
    "good": ["paper"],
    "chosen": ["paper", "panel"],
    "noted": ["op", "folded", "input", "parameter"],
}
MARKS = [
    "value",
    "unknown",
    "neutral",
    "blue",
    "vermilion",
    "broken",
    "chosen",
    "hit",
    "now",
    "frame",
]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_contrast(scheme: int) -> None:
    """At least 4.5 for text and 3 for marks (WCAG 2.2), of each colour on each ground it is on."""
    found = colours(scheme)
    assert {*re.findall(r"(?<![-a-z])color: var\(--([a-z]+)\)", beside("page.css"))} <= {*TEXTS}
    low = [
        (text, ground, round(ratio, 2))
        for text, grounds, least in [
            *((text, grounds, 4.5) for text, grounds in TEXTS.items()),
            *((mark, ["paper"], 3.0) for mark in MARKS),
        ]
        for ground in grounds
        if (ratio := contrast(found[text], found[ground])) < least
    ]
    assert low == []
    mixed = [
        (45 * int(found["cost"][i : i + 2], 16) + 55 * int(found["op"][i : i + 2], 16)) // 100
        for i in (1, 3, 5)
    ]
    assert contrast(found["ink"], "#" + "".join(f"{c:02x}" for c in mixed)) >= 4.5


def contrast(a: str, b: str) -> float:
    def luminance(colour: str) -> float:
        channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted(map(luminance, (a, b)))
    return (high + 0.05) / (low + 0.05)


def test_colour_by_cost(browser: Browser) -> None:
    trace = two_layers(0).trace
    browser.show(trace)
    assert browser.run(
        "return [...document.getElementById('paint').options].map(o => o.value)"
    ) == [
        "health",
        "flops",
        "parameters",
        "saved",
        "time",
    ]
    browser.run(
        "const select = document.getElementById('paint'); select.value = 'parameters';"
        "select.dispatchEvent(new Event('change'))"
    )
    share = "return document.getElementById(arguments[0]).style.getPropertyValue('--share')"
    assert [browser.run(share, box) for box in ("n3", "n4", "n7")] == ["45%", "0%", "45%"]
    assert not browser.run("return document.querySelector('.key.cost').hidden")
    browser.show(Trace())
    assert browser.run("return document.getElementById('paint').hidden")


def test_the_legend_has_the_keys_of_what_is_drawn(browser: Browser) -> None:
    shown = (
        "return [...document.querySelectorAll('.key')]"
        ".filter(key => !key.hidden).map(key => key.classList[1])"
    )
    browser.show(two_layers(0).trace)
    drawn = ["input", "parameter", "op", "output", "value", "arriving", "backwards"]
    assert browser.run(shown) == drawn
    net = two_layers(1)
    net.trace.nodes[4].inputs[0].summed = True
    net.trace.nodes[4].note = "changed"
    net.trace.steps[0].values[4] = summary(1.0, nan=1)
    net.trace.steps[0].shares["4:0"] = 0.0
    net.trace.steps[0].gradients[3] = summary(0.0)
    browser.show(net.trace, [])
    keys = browser.run(shown)
    assert {"gradient", "width", "zero", "nan", "broken", "noted", "sum"} <= set(keys)
    assert not {"unknown", "backwards"} & set(keys)
    browser.show(loop(12))
    assert {"repeat", "loop", "many"} <= set(browser.run(shown))


def test_activations_and_filters_are_in_the_box_of_a_convolution(browser: Browser) -> None:
    net = two_layers(1)
    image = (
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAA"
        "AgABSK+kcQAAAABJRU5ErkJggg=="
    )
    net.trace.steps[0].values[3].image = image
    browser.show(net.trace)
    assert browser.all("#n3 image", "href") == [image]
    assert browser.all("#n4 image") == []
    check_drawing(browser, net.trace, set())


def test_where_a_watched_graph_changed_is_told(browser: Browser) -> None:
    trace = two_layers(2).trace
    trace.changed = ["the graph changed at step 12: 3 nodes more"]
    browser.show(trace)
    assert browser.text("#remarks").count(trace.changed[0]) == 1
    assert browser.text("#changed") == ""
    trace.remarks = []  # of somebody who does not tell it
    browser.show(trace)
    assert browser.text("#changed") == trace.changed[0]


# ----- safety ----------------------------------------------------------------------------------


@pytest.mark.parametrize("word", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_neither_runs_nor_breaks(browser: Browser, word: str) -> None:
    trace = hostile_trace(word)
    browser.show(trace)
    assert set(browser.all(".box")) == {"n1", "n2", "n3", "n4"}
    boxes = browser.rectangles(".box .outline")
    for name, text in browser.rectangles(".box text").items():
        assert within(text, boxes[name.split()[0]])
    for target in ("#n1", "#n2", "#n4", "#m0 .heading", "#m0"):
        browser.click(target)
    browser.type(word[:50].encode(errors="replace").decode())
    assert browser.run("return document.querySelectorAll('script').length") == 2
    assert browser.run("return document.querySelectorAll('main b, main i, header b').length") == 0


def test_the_policy_stops_requests_and_programs(browser: Browser) -> None:
    browser.show(two_layers().trace)
    assert browser.run("return performance.getEntriesByType('resource').length") == 0
    stopped = browser.driver.execute_async_script(
        """const done = arguments[0], found = [];
        document.addEventListener("securitypolicyviolation", (event) => {
          found.push(event.effectiveDirective);
          if (found.length === 3) done(found.sort());
        });
        fetch("http://127.0.0.1:9/").catch(() => {});
        new Image().src = "http://127.0.0.1:9/x.png";
        const script = document.createElement("script");
        script.textContent = "window.ran = true";
        document.body.append(script);"""
    )
    assert stopped == ["connect-src", "img-src", "script-src-elem"]
    assert browser.run("return window.ran") is None
    browser.complaints()  # about just that
