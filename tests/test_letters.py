"""What formulas call the values of a graph, and that these mean what they say."""

import html
import math
import re
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv import nn, viz
from tinygrad_cv._graph import Graph
from tinygrad_cv.viz.data import Trace
from tinygrad_cv.viz.structure import structure

pytestmark = pytest.mark.host

KNOWN: dict[str, Any] = {
    "where": lambda c, a, b: a if c else b,
    "sigmoid": lambda v: 1 / (1 + math.exp(-v)),
    "hypot": math.hypot,
    "isinf": math.isinf,
    "sign": lambda v: math.copysign(1.0, v),
    "logical_or": lambda a, b: a or b,
    "clamp": lambda v: v,
    "sum": lambda v: v,
    "cos": math.cos,
    "tanh": math.tanh,
    "exp": math.exp,
}
NAME = re.compile(r"∂L/∂%?[\w.\[\]]+|%\d+|[^\W\d]\w*(?:\[\d+\])?(?!\w*\()")


def evaluated(text: str, meaning: dict[str, float]) -> float:
    """A formula as Python reads it; every name in it has to be one of those that have a meaning."""
    kept: list[float] = []

    def number(found: re.Match[str]) -> str:
        kept.append(meaning[found[0]])
        return f"__[{len(kept) - 1}]"

    return float(eval(NAME.sub(number, text).replace("·", "*"), {**KNOWN, "__": kept}))


def rules(trace: Trace) -> dict[str, str]:
    """The formulas of a graph by what they are for."""
    return {
        f"∂L/∂{entry.called}": entry.formula
        for node in trace.nodes
        for entry in node.inputs
        if entry.gradient
    }


UNARY = ("exp", "tanh", "sigmoid", "square", "sin", "softsign", "sqrt", "rsqrt", "atan")
BINARY = ("add", "sub", "mul", "div", "hypot")
NAMES = ("", "", "x", "y", "g", "s", "a", "h", "r", "w", "xs[0]", "a_1", "b", "0.weight", "q")


@given(st.data())
def test_a_formula_in_these_names_gives_the_gradient(draws: Any) -> None:
    """Random graphs with adversarial names; the oracle is `grad` of each value."""
    count = draws.draw(st.integers(1, 3))
    values = [
        tg.tensor(draws.draw(st.sampled_from([0.5, 0.75, 1.25, 1.5])), dtype="float64")
        for _ in range(count)
    ]
    for leaf in values:
        leaf.requires_grad_()
    for _ in range(draws.draw(st.integers(1, 5))):
        first, second = (draws.draw(st.sampled_from(values)) for _ in range(2))
        op = draws.draw(st.sampled_from(UNARY + BINARY))
        made = getattr(tg, op)(first) if op in UNARY else getattr(tg, op)(first, second)
        values.append(made + 2.5 if op in ("sub", "sin", "sqrt") else made)
    loss = values[-1] * 1.5
    graph = Graph([loss.node])
    names = {node.number: draws.draw(st.sampled_from(NAMES)) for node in graph}
    traced = structure(graph, names)
    numbers = {value.node: value for value in [*values, loss]}

    # Every node's value and gradient, by the engine itself.
    by_node = {graph.ids[n]: t for n, t in numbers.items() if n in graph.ids}
    seen = viz.playback(loss).trace.steps[0]
    value = {i: told.mean for i, told in seen.values.items()}
    gradient = {i: told.mean for i, told in seen.gradients.items()}
    user = {node.name.rpartition(".")[2] for node in traced.nodes} - {""}
    shares: dict[int, float] = defaultdict(float)
    for node in traced.nodes:
        if node.kind != "op":
            continue
        meaning = {"g": gradient[node.id]} | {f"∂L/∂{node.called}": gradient[node.id]}
        for entry in node.inputs:
            if entry.source is not None and value.get(entry.source) is not None:
                meaning[entry.called] = value[entry.source]
        if value.get(node.id) is not None:
            meaning[node.called] = value[node.id]
        for entry in node.inputs:
            if not entry.gradient:
                continue
            known = dict(meaning)
            for name, text in entry.where.items():
                known[name] = evaluated(text, known)
            shares[entry.source] += evaluated(entry.formula, known)
            mentioned = set(NAME.findall(entry.formula)) | set(entry.where)
            here = [node, *(traced.nodes[e.source] for e in node.inputs if e.source is not None)]
            assert mentioned & user <= {other.name.rpartition(".")[2] for other in here}
    for i, tensor in by_node.items():
        if i not in traced.outputs:
            expected = tg.autograd.grad(loss, tensor, retain_graph=True)[0]
            assert shares[i] == pytest.approx(expected.item(), rel=1e-6, abs=1e-9)


def number(value: float) -> tg.Tensor:
    return tg.tensor(value, requires_grad=True, dtype="float64")


def test_the_picture_of_two_gates_speaks_of_q_and_z() -> None:
    x, y, z = number(-2.0), number(5.0), number(-4.0)
    q = x + y
    f = q * z
    assert rules(viz.trace(f)) == {
        "∂L/∂q": "g · z", "∂L/∂z": "g · q", "∂L/∂x": "g", "∂L/∂y": "g"
    }  # fmt: skip
    assert [node.called for node in viz.trace(f).nodes] == ["x", "y", "q", "z", "f"]


def test_a_value_without_a_name_has_the_letter_of_the_op() -> None:
    a = number(2.0)
    assert rules(viz.trace(tg.exp(tg.tanh(a)))) == {
        "∂L/∂x": "g · y", "∂L/∂a": "g · 4 · sigmoid(2 · a) · sigmoid(-2 · a)"
    }  # fmt: skip


def test_or_its_number_where_the_letter_is_a_name() -> None:
    x, y = number(2.0), number(3.0)
    out = tg.exp(x * y)
    assert rules(viz.trace(out)) == {"∂L/∂x": "g · y", "∂L/∂y": "g · x", "∂L/∂%2": "g · out"}
    xs = number(1.0)
    both = tg.stack([xs * 2.0, xs])
    assert [entry.called for entry in viz.trace(both).nodes[-1].inputs] == ["%1", "xs"]


def test_a_g_of_the_users_is_not_the_gradient() -> None:
    g, h = number(2.0), number(3.0)
    f = g * h
    assert rules(viz.trace(f)) == {"∂L/∂g": "∂L/∂f · h", "∂L/∂h": "∂L/∂f · g"}


def test_parameters_have_the_last_part_of_their_path() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(2, 2), nn.Linear(2, 2)
            self.list = nn.ParameterList([tg.ones(2)])

        def forward(self, images: tg.Tensor) -> tg.Tensor:
            return tg.add(images @ (self.one.weight @ self.two.weight), self.list[0])

    told = rules(viz.trace(Twice(), (1, 2)))
    assert told["∂L/∂list[0]"] == "sum(g)"  # (2,) beside (1, 2)
    assert (told["∂L/∂x"], told["∂L/∂y"]) == ("g", "imagesᵀ @ g")  # of products; "weight" is two
    layer = rules(viz.trace(nn.Linear(2, 2), (1, 2)))
    assert layer == {"∂L/∂weight": "gᵀ @ x", "∂L/∂bias": "sum(g)"}


def test_definitions_and_by_products_avoid_the_users_names() -> None:
    d, z, positive = (tg.ones(3, 2, requires_grad=True) for _ in range(3))
    norm = viz.trace(nn.BatchNorm1d(2)(d) * z)
    entry = norm.nodes[[node.op for node in norm.nodes].index("batch_norm")].inputs[0]
    assert entry.formula == "s · (subtract_mean(g) - z_1 · mean(g · z_1))"
    assert entry.where["z_1"] == "d_1 · r"
    assert entry.where["d_1"] == "subtract_mean(d)"
    assert rules(viz.trace(tg.relu(positive)))["∂L/∂positive"] == "where(positive_1, g, 0.0)"


def test_a_name_that_is_no_clear_term_is_not_put_into_a_formula() -> None:
    x = number(2.0)
    x.name = "a + b"
    assert rules(viz.trace(tg.exp(x))) == {"∂L/∂x": "g · y"}


def test_outputs_of_an_op_that_has_several() -> None:
    a = tg.tensor([[2.0, 1.0], [1.0, 3.0]], requires_grad=True)
    w, vectors = tg.linalg.eigh(a)
    seen = rules(viz.trace((w * w).sum() + vectors.sum()))["∂L/∂a"]
    assert "g_w" in seen
    assert "vectors @" in seen
    assert "vectorsᵀ" in seen


def told(trace: Trace) -> str:
    """The words of a picture."""
    return html.unescape(re.sub(r"<[^<>]*>", " ", viz.draw(trace).source))


def test_a_picture_explains_the_letters_that_are_in_it() -> None:
    x, y, z = number(-2.0), number(5.0), number(-4.0)
    q = x + y
    f = q * z
    assert "∂L/∂q = g · z" in told(viz.trace(f))
    assert "y: its output" not in told(viz.trace(f))  # y is the user's
    assert "g: the gradient that reaches an op" in told(viz.trace(f))
    assert "y: its output" in told(viz.trace(tg.exp(tg.exp(x))))
    g = number(2.0)
    g.name = "g"
    assert "g: the gradient" not in told(viz.trace(g * x))


def test_no_letter_is_explained_that_means_something_else() -> None:
    x = number(0.5)
    assert "y: its output" not in told(viz.trace(x.sum() * 1.0))  # no formula has it
    second = tg.exp(tg.exp(x) + tg.tanh(x))  # add calls one input y, exp what it gives
    assert "y: its output, where no input is y" in told(viz.trace(second))


def test_where_g_is_a_name_the_seed_is_not_called_so() -> None:
    g, y = number(2.0), number(3.0)
    f = g * y
    source = html.unescape(viz.draw(f, backward=True).source)
    assert "∂L/∂f = 1" in source
    assert not re.search(r"\bg = 1", source)


def test_the_gradients_of_several_outputs_are_not_added() -> None:
    source = viz.draw(nn.LSTMCell(2, 3), (1, 2), backward=True).source
    box = next(line for line in source.splitlines() if "lstm_gates" in line)
    assert "g_h" in box
    assert "the sum of" not in box


def test_a_share_of_a_gradient_is_not_called_the_gradient() -> None:
    x = number(3.0)
    assert "∂L/∂x += g · x" in told(viz.trace(x * x))
    assert "+=: added to what others send" in told(viz.trace(x * x))
    assert "+=" not in told(viz.trace(x * 2.0))


def test_the_page_says_the_same(tmp_path: Any) -> None:
    x, z = number(3.0), number(2.0)
    q = x * x
    text = viz.draw(q * z).save(tmp_path / "graph.html").read_text()
    assert "∂L/∂x += g · x" in text
    assert "∂L/∂q = g · z" in text


def test_a_block_that_adds_from_its_second_step_on_explains_the_sign() -> None:
    layers = [nn.Linear(4, 4) for _ in range(3)]

    class Residual(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            self.inner = inner

        def forward(self, x: tg.Tensor) -> tg.Tensor:
            return x + self.inner(x)

    net = nn.Sequential(*map(Residual, layers))
    source = viz.draw(net, (2, 4), collapse="repeats").source
    assert "+= g" in source
    assert "+=: added to what others send" in source


def test_a_gradient_of_several_is_not_called_like_a_value() -> None:
    cell, g_h = nn.LSTMCell(2, 3), tg.ones(1, 3, requires_grad=True)
    seen = rules(viz.trace(cell(tg.ones(1, 2), (g_h * 2.0, g_h))))["∂L/∂g_h"]
    assert "∂L/∂h" in seen
    assert "g_h" not in seen
