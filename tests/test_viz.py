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
    plain = unescape(re.sub(r"<[^<>]*>", "", broken)).replace("\u00a0", " ")
    return re.sub(r" +$", "", plain, flags=re.MULTILINE)  # room for wide letters


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
    found = {name: re.search("<B>(.*?)</B>", table) for name, table in tables}
    return {name: words(title[1]) for name, title in found.items() if title}


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

TWO_GATES = {
    "n0": ["x", "%0 float32 ()"],
    "n1": ["y", "%1 float32 ()"],
    "n2": ["x", "y", "q = add", "%2 float32 ()", "∂L/∂x = g", "∂L/∂y = g"],
    "n3": ["z", "%3 float32 ()"],
    "n4": ["q", "z", "f = mul", "%4 float32 ()", "g = 1", "∂L/∂q = g · z", "∂L/∂z = g · q"],
    "o0": ["f"],
}


def told_by(source: str) -> dict[str, list[str]]:
    """The lines of each box of DOT text, by id."""
    tables = re.findall(
        r"^\t+(\w+) \[label=<(<TABLE.*?</TABLE>)>\]", source, re.MULTILINE | re.DOTALL
    )
    return {
        name: [line for line in words(table).splitlines() if line.strip()] for name, table in tables
    }


def test_two_gates_in_full() -> None:
    """In the user's names: those of the values at hand, not those of the parameters of `mul`."""
    x, y, z = named(-2.0, "x"), named(5.0, "y"), named(-4.0, "z")
    q = x + y
    f = q * z
    source = viz.draw(f, backward=True).source
    assert told_by(source) == TWO_GATES
    down = {("n0", "n2"), ("n1", "n2"), ("n2", "n4"), ("n3", "n4"), ("n4", "o0")}
    assert arrows(source) == Counter([*down, *((head, tail) for tail, head in down)])
    assert re.search(r"rank=min\]\n\t\tn0\n\t\tn1\n\t\tn3\n", source)  # inputs on top
    signed = told_by(viz.draw(f, health=True).source)
    assert [signed[name][-1] for name in ("n0", "n1", "n3")] == [
        *("gradient -4", "gradient -4", "gradient 3")
    ]


# Written down by hand from the op files: what teachers point at.
CONVNET_FORMULAS = {
    "conv2d": ["∂L/∂weight = conv_weight(images, g)", "∂L/∂bias = sum(g)"],
    "batch_norm": [
        "∂L/∂x = s · (subtract_mean(g) - z · mean(g · z))",
        "    where d = subtract_mean(x)",
        "    where r = 1 / sqrt(mean(d · d) + 1e-05)",
        "    where z = d · r",
        "    where s = r · reshape(weight)",
        "∂L/∂weight = sum(g · z)",
        "∂L/∂bias = sum(g)",
    ],
    "relu": ["∂L/∂x = where(positive, g, 0.0)"],
    "max_pool2d": ["∂L/∂x = window_scatter(g, index)"],
    "reshape": ["∂L/∂x = reshape(g)"],
    "linear": ["∂L/∂x = g @ weight", "∂L/∂weight = gᵀ @ x", "∂L/∂bias = sum(g)"],
    "cross_entropy": [  # softmax(x) - one_hot(labels), with all digits of p - 1
        "∂L/∂x = reshape(g) · where(right, expm1(l), exp(l))",
        "    where right = one_hot(labels)",
        "    where l = log_softmax(x)",
    ],
    "mean": ["g = 1", "∂L/∂x = broadcast_to(reshape(g) / 4)"],
}


LAYERS = {
    "conv2d": "0 Conv2d 3×3, 8",
    "batch_norm": "1 BatchNorm2d",
    "relu": "2 ReLU",
    "max_pool2d": "3 MaxPool2d 2×2, /2",
    "reshape": "4 Flatten",
    "linear": "5 Linear 10",
    "mean": "loss = mean",
}


@pytest.mark.parametrize("backward", [True, "ops"])
def test_the_backward_picture_has_the_formula_of_each_rule(backward: Any) -> None:
    scene = Scene()
    read = words(viz.draw(scene.loss, backward=backward).source)
    lines = [line for line in read.splitlines() if line.strip()]
    for op, formulas in CONVNET_FORMULAS.items():
        title = f"backward of {op}" if backward == "ops" else LAYERS.get(op, op)
        at = lines.index(formulas[0], lines.index(title))
        assert at - lines.index(title) < 7
        assert lines[at : at + len(formulas)] == formulas


def test_the_forward_picture_has_the_formula_of_each_rule() -> None:
    scene = Scene()
    read = words(viz.draw(scene.loss).source)
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
    own = {i for i, node in enumerate(listing) if node.op is None and node.requires_grad}
    assert sorted(told) == sorted({f"n{i}" for i in range(len(listing)) if i not in own} | {"o0"})
    for i, node in enumerate(listing):
        if i not in own:
            assert f"%{i} {node.dtype} {node.shape}" in told[f"n{i}"]
    assert told["n0"] == "images %0 float32 (4, 3, 8, 8)"
    conv = "0 Conv2d 3×3, 8 padding=(1, 1) %3 float32 (4, 8, 8, 8) weight (8, 3, 3, 3) bias (8,) ∂L"
    assert told["n3"].startswith(conv)  # the parameters of a layer are in its box
    assert told["n8"].startswith("3 MaxPool2d 2×2, /2 %8 float32 (4, 8, 4, 4) ")
    assert told["n15"].startswith("loss = mean %15 float32 () ")
    assert told["o0"] == "loss"


def test_a_plain_number_stands_in_the_box() -> None:
    x = named([1.0, 2.0], "x")
    assert "y = 1.5\n" in words(viz.draw(x * 1.5).source)


def test_gradients_go_against_the_values() -> None:
    loss = Scene().loss
    graph = tg.graph(loss)
    forward: Counter[tuple[str, str]] = Counter({("n15", "o0"): 1})
    gradients = Counter({("o0", "n15"): 1})
    for node in graph:
        for parent in node.parents():
            ends = f"n{graph.ids[parent]}", f"n{graph.ids[node]}"
            if parent.op is None and parent.requires_grad:
                continue  # a parameter is in the box of its op
            forward[ends] += 1
            if parent.requires_grad:
                gradients[ends[::-1]] += 1
    assert arrows(viz.draw(loss).source) == forward
    assert arrows(viz.draw(loss, backward=True).source) == forward + gradients


def test_each_way_on_is_beside_its_way_back() -> None:
    x, y, z = (named(v, name) for v, name in ((1.0, "x"), (2.0, "y"), (3.0, "z")))
    made = arrows(viz.draw(tg.exp(x * y) + z, backward=True).source)
    assert all(made[head, tail] == count for (tail, head), count in made.items())


def test_gradients_have_a_colour_of_their_own() -> None:
    source = viz.draw(Scene().loss, backward=True).source
    backward = [line for line in source.splitlines() if "dir=back" in line]
    assert len(backward) == 8  # none to the images and the labels
    assert all('color="#A33F00"' in line for line in backward)
    [general] = re.findall(r"edge \[.*color=(\S+)\]", source)
    assert general != '"#A33F00"'


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
    assert every == {*named_boxes, "s1_1", "o0"}  # nothing that the rule does not read
    made = arrows(source)
    [inner] = [box for box in products if made["s1_1", box] == 2]
    [outer] = [box for box in products if box != inner]
    assert made == {
        ("n0", "n1"): 1,
        ("n1", "o0"): 1,
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
        into = Counter(
            head
            for (tail, head), count in arrows(source).items()
            for _ in range(count)
            if backward == "ops" or int(tail[1:]) > int(head[1:]) or tail[0] == "o"
        )
        letter = "g" if backward == "ops" else "n"
        assert into[f"{letter}0"] == 2  # from sin and from sum
        assert into[f"{letter}1"] == 3  # twice from mul, once from add
        assert words(source).count("the sum of 2 gradients\n") == 1
        assert words(source).count("g = the sum of 3 gradients\n") == 1


def test_a_broadcast_value_gets_a_gradient_of_its_own_shape() -> None:
    x, b = named([[1.0, 2.0]], "x"), named([[3.0], [4.0]], "b")
    assert list(titles(viz.draw(x + b, backward="ops").source).values()).count("sum_to") == 2


def test_several_tensors_share_a_picture() -> None:
    x = named([1.0, 2.0], "x")
    y = tg.exp(x)
    y.name = "y"
    source = viz.draw(y, y.sum(), tg.tensor([1.0]), backward=True).source
    made = arrows(source)
    assert made["n1", "o0"] == made["o0", "n1"] == made["n2", "o1"] == made["o1", "n2"] == 1
    assert made["n3", "o2"] == 1
    assert made["o2", "n3"] == 0  # a constant gets no gradient
    read = words(source).splitlines()
    assert read.count("y") == 1
    assert {"n0", "n1", "n2", "n3"} == set(titles(source))


def test_inputs_without_a_name_are_told_by_their_kind() -> None:
    shown = titles(viz.draw(tg.ones(1, requires_grad=True) * tg.ones(1), backward="ops").source)
    assert {name: shown[name] for name in ("n0", "n1", "n2", "g0")} == {
        "n0": "parameter",
        "n1": "input",
        "n2": "mul",
        "g0": "gradient of %0",
    }


def test_the_inputs_of_a_variadic_op_are_numbered() -> None:
    parts = [named([float(i)], f"part{i}") for i in range(40)]
    source = viz.draw(tg.cat(parts), backward=True).source
    read = words(source)
    # Forty lines would hide the rest of the graph.
    told = [line for line in read.splitlines() if line == "…" or " = g[" in line]
    assert len(told) == 4
    assert "[0:1]" in told[0]
    assert "[1:2]" in told[1]
    assert told[2] == "…"
    assert "[39:40]" in told[3]
    assert arrows(source)["n40", "n39"] == 1


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
        assert len(arrows(whole)) == 2 * 3000 + 2
        # From x, from each sum to the next, to the output, and the way back.
        short = viz.draw(y, backward=backward, collapse="repeats").source
        assert sum(arrows(short).values()) == 6


KEYS: dict[str, dict[str, Any]] = {
    "value": {"backward": True},
    "its gradient": {"backward": True},
    "rules of its gradient": {},
    "g: the gradient that reaches an op, ∂L/∂(its output)": {},
    "gradient as at the output": {"health": True},
    "gradient exactly 0": {"health": True, "shares": {"1:0": 0.0}},
    "NaN or inf": {"health": True, "shares": {"1:0": float("nan")}},
    "gradient not known": {"health": True, "shares": {"7:0": 1.0}},  # of another edge alone
    "mean ± standard deviation, least to most, and a histogram": {"health": True},
    "the darker a box, the larger its share of the cost": {"color": "flops"},
}


def the_legend(*targets: Any, **options: Any) -> list[str]:
    """The lines of a picture's legend."""
    source = viz.draw(*targets, **options).source
    [table] = re.findall(r"graph \[.*?label=<(.*?</TABLE>)> labelloc", source)
    return [line for line in words(table).splitlines() if line]


@pytest.mark.parametrize("key", KEYS)
def test_the_legend_has_a_key_for_what_is_there_alone(key: str) -> None:
    x = named([1.0, 2.0], "x")
    options = dict(KEYS[key])
    plain = viz.draw(tg.tensor([1.0, 2.0]) * 2.0, formulas=False)
    assert key not in words(plain.source)
    trace = viz.trace(tg.exp(x), values=True, gradients=True)
    if (shares := options.pop("shares", None)) is not None:
        trace.steps[0].shares = shares
    if not options.get("health"):
        trace.steps = []
    assert any(line.startswith(key) for line in the_legend(trace, **options))


def test_the_legend_lists_the_kinds_of_boxes_that_are_there() -> None:
    x = tg.ones(2, requires_grad=True)
    assert the_legend(tg.ones(2), formulas=False) == ["input", "output"]
    assert the_legend(x * 2.0, formulas=False) == ["parameter", "op", "output"]
    assert the_legend(x * 2.0)[-1] == "rules of its gradient"
    assert "several values" in the_legend(tg.stack([x] * 5))
    nested = nn.Sequential(nn.Sequential(nn.Tanh(), nn.ReLU()), nn.Tanh())
    assert "module" not in the_legend(nested, x)
    assert "module" in the_legend(nested, x, depth=1)
    loop = nn.Sequential(*[nn.Tanh() for _ in range(5)])
    assert "equal blocks, one shown" in the_legend(loop, x, collapse="repeats")


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
    assert {group.findtext(f"{SVG}title") for group in groups} == {"n0", "n1", "o0"}
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
    assert told["n0"] == "long" * 13 + "lon… %0 float32 (1,)"


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


def test_a_picture_without_numbers_explains_none() -> None:
    net = nn.Linear(3, 2).to("meta")
    assert not any(line.startswith("mean ±") for line in the_legend(net, (2, 3), health=True))
