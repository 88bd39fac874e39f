"""Two traces held against each other."""

import dataclasses
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import test_page
import tinygrad_cv as tg
from test_page import Browser
from tinygrad_cv import nn, optim, viz
from tinygrad_cv.viz.data import Input, Node

pytestmark = pytest.mark.host
chrome, browser = test_page.chrome, test_page.browser


def net(*widths: int, extra: nn.Module | None = None) -> nn.Sequential:
    layers: list[nn.Module] = []
    generator = np.random.default_rng(0)
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b, generator=generator), nn.ReLU()]
    if extra is not None:
        layers.insert(2, extra)
    return nn.Sequential(*layers)


def traced(model: nn.Module) -> viz.Trace:
    return viz.trace(model, (2, 4))


def test_a_graph_does_not_differ_from_itself() -> None:
    trace = traced(net(4, 8, 2))
    found = viz.diff(trace, traced(net(4, 8, 2)))
    assert found.changes == ()
    assert str(found) == "no difference"
    assert all(not node.note for node in found.trace.nodes)


def test_a_layer_in_between_does_not_disturb_those_after_it() -> None:
    plain, other = traced(net(4, 8, 2)), traced(net(4, 8, 2, extra=nn.Tanh()))
    for pair, side, sign in (((plain, other), "second", "+"), ((other, plain), "first", "-")):
        found = viz.diff(*pair)
        assert [(c.key, c.what) for c in found.changes] == [("2/tanh.0", (f"only in the {side}",))]
        told = [line for line in str(found).splitlines()[2:] if line[0] != " "]
        assert told == [f"{sign} 2 Tanh  float32 (2, 8)"]


def test_a_layer_in_between_changes_no_bias_into_another() -> None:
    """Behind it "15.bias" is of a convolution, and before it was of a norm of the same shape."""

    def model(*extra: nn.Module) -> nn.Sequential:
        blocks = [(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU()) for _ in range(4)]
        blocks.insert(2, extra)
        return nn.Sequential(*(layer for block in blocks for layer in block))

    first, second = (viz.trace(m, (1, 4, 2, 2)) for m in (model(), model(nn.Dropout(0.5))))
    assert [c.what for c in viz.diff(first, second).changes] == [("only in the second",)]
    assert [c.what for c in viz.diff(second, first).changes] == [("only in the first",)]


def test_a_wider_layer_changes_shapes() -> None:
    found = viz.diff(traced(net(4, 8, 2)), traced(net(4, 9, 2)))
    told = {change.key: change.what for change in found.changes}
    assert told["0.weight"] == ("shape (8, 4) -> (9, 4)",)
    assert told["2.weight"] == ("shape (2, 8) -> (2, 9)",)
    assert "2/linear.0" not in told


def test_what_stands_before_a_changed_counterpart_is_told() -> None:
    def first(x: tg.Tensor) -> tg.Tensor:
        return tg.relu(x[:2])

    def second(x: tg.Tensor) -> tg.Tensor:
        return tg.relu(tg.tanh(x[:1]))

    told = {change.key: change.what for change in viz.diff(*(
        viz.trace(function, (3, 3)) for function in (first, second)
    )).changes}  # fmt: skip
    assert told["/tanh.0"] == ("only in the second",)
    assert told["/relu.0"] == ("shape (2, 3) -> (1, 3)",)


def test_notes_of_an_earlier_comparison_are_forgotten() -> None:
    first, second = traced(net(4, 8)), traced(net(4, 8))
    first.nodes[0].note = "of an earlier comparison"
    assert all(not node.note for node in viz.diff(first, second).trace.nodes)


def test_another_attribute() -> None:
    first, second = (
        viz.trace(nn.Conv2d(3, 4, 3, padding=1, stride=s), (1, 3, 8, 8)) for s in (1, 2)
    )
    [change] = viz.diff(first, second).changes
    assert change.what == (
        "attributes padding=(1, 1) -> stride=(2, 2) padding=(1, 1)",
        "shape (1, 4, 8, 8) -> (1, 4, 4, 4)",
    )


@given(
    st.lists(st.integers(1, 6), min_size=2, max_size=5),
    st.lists(st.integers(1, 6), min_size=2, max_size=5),
)
def test_every_node_has_one_counterpart_at_most(a: list[int], b: list[int]) -> None:
    first, second = traced(net(4, *a)), traced(net(4, *b))
    found = viz.diff(first, second)
    lefts = [change.left for change in found.changes if change.left is not None]
    rights = [change.right for change in found.changes if change.right is not None]
    assert len(set(lefts)) == len(lefts)
    assert len(set(rights)) == len(rights)
    matched = len(first.nodes) - sum(c.right is None for c in found.changes)
    assert matched == len(second.nodes) - sum(c.left is None for c in found.changes)
    assert viz.diff(second, first).changes != () or found.changes == ()


def test_both_graphs_stand_in_one_trace() -> None:
    first, second = traced(net(4, 8, 2)), traced(net(4, 8, 2, extra=nn.Tanh()))
    joined = viz.diff(first, second, ("plain", "with tanh")).trace
    assert len(joined.nodes) == len(first.nodes) + len(second.nodes)
    assert [node.id for node in joined.nodes] == list(range(len(joined.nodes)))
    roots = [module.path for module in joined.modules if module.parent is None]
    assert roots == ["plain", "with tanh"]
    start = len(first.nodes)
    for edge in joined.edges:
        assert (edge.source < start) == (edge.target < start)
    for node in joined.nodes:
        assert node.module is not None
        home = [module.path for module in joined.ancestors(node.module)][-1]
        assert home == ("plain" if node.id < start else "with tanh")
    assert [node.note for node in joined.nodes if node.op == "tanh"] == ["only in the second"]
    assert len({node.key for node in joined.nodes}) == len(joined.nodes)
    assert first == traced_again(first)  # what was given is not changed


def traced_again(trace: viz.Trace) -> viz.Trace:
    return viz.Trace.from_json(trace.to_json())


def test_two_steps_of_a_training_run() -> None:
    model = net(4, 8, 2)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    watch = viz.watch(model, every=1)
    x, labels = tg.randn(8, 4, generator=np.random.default_rng(0)), tg.tensor([0, 1] * 4)
    for scale in (1.0, 1e-3):
        with watch.step():
            loss = tg.cross_entropy(model(x), labels) * scale
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    found = viz.diff(watch.trace.at(0), watch.trace.at(1))
    told = {change.key: " ".join(change.what) for change in found.changes}
    assert "‖gradient‖" in told["0.weight"]
    assert "update/weight" in told["0.weight"]
    assert [m.path for m in found.trace.modules if m.parent is None] == [
        "Sequential, step 0", "Sequential, step 1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "old", "new", "told"),
    [
        ("dead", 0.0, 0.4, "dead 0% -> 40%"),
        ("saturated", 0.9, 0.2, "saturated 90% -> 20%"),
        ("nan", 0, 3, "value finite -> NaN"),
        ("inf", 0, 1, "value finite -> infinite"),
        ("std", 1.0, 3.0, "std 1 -> 3"),
        ("std", 1.0, 1.5, None),
        ("dead", 0.0, 0.05, None),
    ],
)
def test_health_that_changed_is_told(field: str, old: Any, new: Any, told: str | None) -> None:
    model = net(4, 8)

    def with_health(value: Any) -> viz.Trace:
        trace = viz.trace(model, (2, 4), values=True)
        summary = trace.steps[0].values[4]
        trace.steps[0].values[4] = dataclasses.replace(summary, **{field: value})
        for i in (0, 1, 2, 3):
            del trace.steps[0].values[i]
        return trace

    found = viz.diff(with_health(old), with_health(new))
    assert [what for change in found.changes for what in change.what] == ([told] if told else [])


def test_the_picture_has_the_notes() -> None:
    found = viz.diff(traced(net(4, 8, 2)), traced(net(4, 8, 2, extra=nn.Tanh())))
    assert "only in the second" in found.drawing().source


# ----- aligned lines -----------------------------------------------------------------------------


def chain(*ops: str) -> viz.Trace:
    """Ops in a row, as a function of a vector."""

    def run(x: tg.Tensor) -> tg.Tensor:
        for op in ops:
            x = getattr(tg, op)(x)
        return x

    return viz.trace(run, (3,))


OPS = st.lists(st.sampled_from(["relu", "tanh", "exp"]), min_size=1, max_size=12)


@given(OPS, OPS)
def test_the_rows_are_both_graphs_in_their_order(a: list[str], b: list[str]) -> None:
    first, second = chain(*a), chain(*b)
    rows = viz.diff(first, second).rows
    assert [r.left for r in rows if r.left is not None] == list(range(len(first.nodes)))
    assert [r.right for r in rows if r.right is not None] == list(range(len(second.nodes)))
    for row in rows:
        assert (row.kind == "removed") == (row.right is None)
        assert (row.kind == "added") == (row.left is None)
        assert (row.kind == "equal") == (not row.what)
        if row.kind == "equal":
            assert row.left is not None
            assert row.right is not None
            left, right = first.nodes[row.left], second.nodes[row.right]
            assert (left.op, left.shape) == (right.op, right.shape)
    kept = sum(row.kind == "equal" for row in rows) - 1  # the input
    assert kept <= longest_common(a, b)
    assert (kept == len(a) == len(b)) == (a == b)


def longest_common(a: list[str], b: list[str]) -> int:
    """The length of the longest common subsequence, by the table."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = (
                table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
            )
    return table[-1][-1]


def test_layers_of_the_same_name_are_counterparts() -> None:
    """Those of equal shape further on are not: every layer of a wider net is wider."""

    class Net(nn.Module):
        def __init__(self, width: int, more: int) -> None:
            self.first = nn.Linear(4, width)
            self.extra = nn.Sequential(*[nn.Linear(width, width) for _ in range(more)])
            self.last = nn.Linear(width, 2)

        def forward(self, x: tg.Tensor) -> tg.Tensor:
            return self.last(self.extra(self.first(x)))

    first, second = traced(Net(6, 2)), traced(Net(7, 3))
    found = viz.diff(first, second)
    pairs = {(first.nodes[r.left].key, second.nodes[r.right].key)
             for r in found.rows if r.left is not None and r.right is not None}  # fmt: skip
    assert all(left == right for left, right in pairs)
    added = [second.nodes[r.right].key for r in found.rows if r.kind == "added"]
    assert added == ["extra.2.weight", "extra.2.bias", "extra.2/linear.0"]


def test_what_stands_at_another_place_is_one_change() -> None:
    class Net(nn.Module):
        def __init__(self, norm_first: bool) -> None:
            self.norm_first = norm_first
            self.fc, self.act, self.norm = nn.Linear(4, 4), nn.ReLU(), nn.LayerNorm(4)

        def forward(self, x: tg.Tensor) -> tg.Tensor:
            x = self.fc(x)
            return self.act(self.norm(x)) if self.norm_first else self.norm(self.act(x))

    found = viz.diff(traced(Net(norm_first=True)), traced(Net(norm_first=False)))
    [change] = found.changes
    assert (change.key, change.what) == ("act/relu.0", ("in both, at another place in the order",))
    assert change.left is not None
    assert change.right is not None
    assert [row.kind for row in found.rows if row.what] == ["added", "removed"]
    assert str(found).count("~ in both, at another place in the order") == 2
    assert "only in" not in str(found)


def test_the_text_is_a_unified_diff(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = ["relu"] * 20
    found = viz.diff(chain(*layers), chain(*layers[:10], "tanh", *layers[10:]), ("a", "\x1b[2Jb"))
    lines = str(found).splitlines()
    assert lines[:3] == ["--- a", "+++ \ufffd[2Jb", "@@ 8 equal @@"]
    assert [line[0] for line in lines[3:10]] == [*"   +   "]
    assert lines[10:] == ["@@ 7 equal @@"]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[32m+ tanh  float32 (3,)\x1b[0m" in str(found)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in str(found)


def test_a_changed_line_says_what_the_lines_do_not() -> None:
    found = viz.diff(traced(net(4, 8, 2)), traced(net(4, 9, 2)))
    lines = str(found).splitlines()
    at = lines.index("- 0: weight  float32 (8, 4)")
    assert lines[at + 1] == "+ 0: weight  float32 (9, 4)"
    assert not any("shape" in line for line in lines)
    first, second = watched_steps()
    lines = str(viz.diff(first, second)).splitlines()
    at = lines.index("  0: weight  float32 (8, 4)")
    assert lines[at + 1].startswith("  ~ ‖gradient‖ ")


def watched_steps() -> list[viz.Trace]:
    """Two steps, the second with a gradient that is a thousand times smaller."""
    model = net(4, 8, 2)
    watch = viz.watch(model, every=1)
    x, labels = tg.randn(8, 4, generator=np.random.default_rng(0)), tg.tensor([0, 1] * 4)
    for scale in (1.0, 1e-3):
        with watch.step():
            model.zero_grad()
            (tg.cross_entropy(model(x), labels) * scale).backward()
    return [watch.trace.at(0), watch.trace.at(1)]


def test_large_graphs() -> None:
    """Two thousand ops that are much alike: 7 put in for 3, and 10 taken out, are found."""

    def large(ops: list[str]) -> viz.Trace:
        trace = viz.Trace(outputs=[len(ops) - 1])
        for i, op in enumerate(ops):
            before = [Input("x", i - 1)] if i else []
            trace.nodes.append(
                Node(i, f"/{op}.{i}", "op", op, "", None, [3], "float32", "cpu", inputs=before)
            )
        return trace

    ops = ["relu", "relu", "tanh", "relu", "exp"] * 400
    found = viz.diff(large(ops), large([*ops[:900], *["sin"] * 7, *ops[903:1500], *ops[1510:]]))
    kinds = Counter(row.kind for row in found.rows)
    assert kinds == {"equal": 2000 - 3 - 10, "removed": 13, "added": 7}
    assert len(found.page()) < 1_000_000


# ----- the page ----------------------------------------------------------------------------------


def test_the_page_holds_nothing_but_text(tmp_path: Path) -> None:
    hostile = "</script><script>alert(1)</script>"
    first, second = chain("relu"), chain("tanh")
    for trace in (first, second):
        trace.nodes[0].name = hostile
    found = viz.diff(first, second, (hostile, "b"))
    text = found.save(tmp_path / "diff.html").read_text(encoding="utf-8")
    assert text == found.page()
    assert text.count("<script") == 2
    assert "default-src 'none'" in text
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "://"):
        assert word not in text
    assert found._repr_mimebundle_()["text/html"].startswith('<iframe sandbox="allow-scripts"')
    assert found.save(tmp_path / "diff.dot").read_text().startswith("digraph")


def shown(browser: Browser, found: viz.Diff) -> None:
    browser.pages += 1
    file = browser.folder / f"diff{browser.pages}.html"
    file.write_text(found.page(), encoding="utf-8")
    browser.driver.get(file.as_uri())


def test_the_page_opens_at_the_first_change_and_goes_on(browser: Browser) -> None:
    ops = ["relu"] * 60
    changed = [*ops[:30], "tanh", "exp", *ops[30:45], "tanh", *ops[45:]]
    shown(browser, viz.diff(chain(*ops), chain(*changed), ("plain", "changed")))
    assert browser.text("#first") == "plain"
    assert browser.text("#count") == "change 1 of 2"
    now = "document.querySelector('.row.now .title').textContent"
    assert browser.run(f"return {now}") == "tanh"
    assert [browser.text(f".fold:nth-of-type({i})") for i in (1,)] == ["… 28 equal"]
    browser.press("n")
    assert browser.text("#count") == "change 2 of 2"
    browser.press("n")
    browser.press("p")
    assert browser.text("#count") == "change 2 of 2"
    inside = browser.run(
        "const row = document.querySelector('.now').getBoundingClientRect();"
        "const view = document.getElementById('rows').getBoundingClientRect();"
        "return row.top >= view.top && row.bottom <= view.bottom;"
    )
    assert inside
    assert browser.run("return document.querySelectorAll('.row').length") < 30
    browser.click(".fold")
    assert browser.run("return document.querySelectorAll('.row').length") > 40
    browser.click("#open")
    assert browser.run("return document.querySelectorAll('.fold').length") == 0
    assert browser.run("return document.querySelectorAll('.row').length") == 64
    browser.click("#theme")


def test_both_columns_are_one_that_scrolls_and_what_differs_is_read(browser: Browser) -> None:
    first, second = watched_steps()
    shown(browser, viz.diff(first, second))
    assert "‖gradient‖" in browser.text(".row.changed .what")
    tops = "return [...document.querySelectorAll('.row.changed .cell')].map((c) => c.offsetTop)"
    places = browser.run(tops)
    assert places[::2] == places[1::2]
    assert browser.run("return document.querySelectorAll('.row.equal').length") > 0
    shown(browser, viz.diff(first, first))
    assert browser.text("#count") == "no difference"


CONTRAST = """
const parts = (text) => text.match(/[\\d.]+/g).map(Number);
const linear = (c) => ((c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
const light = (c) => 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
function ground(element) {
  for (let e = element; e; e = e.parentElement) {
    const c = parts(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c;
  }
}
const found = [];
const texts = "h1, button, output, .sign, .place, .title, .rest, .what, footer span";
for (const e of document.querySelectorAll(texts)) {
  if (!e.textContent || !e.offsetParent) continue;
  const [a, b] = [light(parts(getComputedStyle(e).color)), light(ground(e))];
  found.push((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
}
return Math.min(...found);
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_text_can_be_read(browser: Browser, theme: str) -> None:
    shown(
        browser, viz.diff(chain("relu", "exp", *["relu"] * 9), chain("exp", "tanh", *["relu"] * 9))
    )
    browser.run(f"document.documentElement.style.colorScheme = '{theme}'")
    assert browser.run(CONTRAST) >= 4.5
