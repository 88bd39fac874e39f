"""Traces of calls: inputs and outputs by name, what holds a model, cuts, small pictures."""

import base64
import io
from collections import namedtuple
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tinygrad_cv as tg
from test_tracing import Net, by_op
from tinygrad_cv import nn, viz

pytestmark = pytest.mark.host


# ----- what goes in and comes out ----------------------------------------------------------------


@dataclass
class Found:
    scores: tg.Tensor
    boxes: list[tg.Tensor]


def test_inputs_are_named_by_parameter_and_key() -> None:
    def model(batch: Any, *more: Any, mask: tg.Tensor, **rest: Any) -> Found:
        assert rest["mode"] == "fast"
        scores = batch["image"] * mask + more[0][1]
        return Found(scores, [scores * 2, rest["scale"]])

    pixels, m = tg.ones(2, 3), tg.ones(3)
    trace = viz.trace(
        model, {"image": pixels}, ["x", (1, 3)], mask=m, mode="fast", scale=(2,), values=True
    )
    inputs = {node.name: node.shape for node in trace.nodes if node.kind == "input"}
    assert inputs == {
        "batch['image']": [2, 3], "mask": [3], "more[0][1]": [1, 3], "scale": [2],
    }  # fmt: skip
    assert trace.output_names == ["scores", "boxes[0]", "boxes[1]"]
    assert [trace.nodes[i].op for i in trace.outputs] == ["add", "mul", "input"]
    assert set(trace.outputs) <= set(trace.steps[0].values)
    assert viz.Trace.from_json(trace.to_json()) == trace


def test_outputs_are_named_by_key_or_variable() -> None:
    pair = namedtuple("pair", "low high")
    x = tg.ones(2, requires_grad=True)
    loss = (x * 2).sum()
    assert viz.trace(loss).output_names == ["loss"]
    assert viz.trace(lambda x: pair(x + 1, {"top": x * 2}), x).output_names == [
        "low", "high['top']",
    ]  # fmt: skip
    assert viz.trace(lambda x: (x + 1, [x * 2]), x).output_names == ["[0]", "[1][0]"]
    assert viz.trace(lambda x: x + 1, x).output_names == [""]


def test_pictures_and_tables_take_named_inputs() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            self.linear = nn.Linear(3, 2)

        def forward(self, x: tg.Tensor, *, mask: tg.Tensor) -> tg.Tensor:
            return self.linear(x) * mask

    model = Masked()
    assert viz.summary(model, (4, 3), mask=(2,)).rows[0].output == (4, 2)
    names = [node.name for node in viz.draw(model, (4, 3), mask=tg.ones(2)).trace.nodes]
    assert "mask" in names
    with pytest.raises(TypeError, match=r"a tensor has its graph \(got mask\)"):
        viz.draw(tg.ones(2, requires_grad=True) * 2, mask=(2,))


# ----- what holds a model -----------------------------------------------------------------------


def test_models_are_called_by_what_holds_them() -> None:
    class Pair:
        def __init__(self) -> None:
            self.G, self.D = nn.Linear(2, 3), nn.Linear(3, 1)

        def trace(self) -> viz.Trace:
            return viz.trace(lambda z: self.D(self.G(z)), (4, 2))

    G, D = nn.Sequential(nn.Linear(2, 3)), nn.Sequential(nn.Linear(3, 1))
    nets = [nn.Linear(2, 2)]
    trace = viz.trace(lambda z: D(G(nets[0](z))), (4, 2))
    assert [m.name for m in trace.modules if m.parent is None] == ["nets[0]", "G", "D"]
    assert [m.library for m in trace.modules] == [True] * 5
    keys = [node.key for node in trace.nodes]
    assert {"G.0.weight", "D.0.weight", "G.0/linear.0", "D.0/linear.0"} <= set(keys)
    assert len(set(keys)) == len(keys)
    assert {"G.0.weight", "D.0.weight"} <= {node.name for node in trace.nodes}
    held = Pair().trace()
    assert [module.name for module in held.modules] == ["G", "D"]
    model = Net()
    modules = viz.trace(model, (1, 3, 4, 4)).modules
    assert [modules[0].name, modules[0].library] == ["model", False]
    assert {module.name for module in modules[1:]} == {""}


# ----- what no gradient reaches ------------------------------------------------------------------


def test_a_detached_model_is_in_the_graph_and_says_so() -> None:
    frozen, cut, head = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1)

    def model(x: tg.Tensor) -> tg.Tensor:
        with tg.no_grad():
            a = frozen(x)
        b = cut(x).detach()
        return head(a + b)

    trace = viz.trace(model, (4, 2), values=True)
    notes = {module.name: module.note for module in trace.modules}
    nothing = "no gradient flows here"
    assert notes == {"frozen": nothing, "cut": nothing, "head": ""}
    detach = by_op(trace, "detach")
    assert (detach.name, detach.note) == ("b", nothing)
    [edge] = [edge for edge in trace.edges if edge.target == detach.id]
    assert trace.nodes[edge.source].op == "linear"
    assert not edge.gradient
    flows = {edge.target for edge in trace.edges if edge.gradient}
    assert {trace.nodes[i].op for i in flows} == {"linear"}  # the sum requires none
    assert len(flows) == 1
    assert all(edge.source < edge.target for edge in trace.edges)
    assert set(trace.steps[0].values) == {node.id for node in trace.nodes}
    everywhere = viz.trace(nn.Sequential(nn.Linear(2, 2)), (1, 2))
    assert not any(module.note for module in everywhere.modules)


def test_what_is_watched_may_ask_for_a_gradient_of_what_it_made() -> None:
    def model(x: tg.Tensor) -> tg.Tensor:
        noise = (x * 0.1).requires_grad_()  # a leaf, though the trace knows where it comes from
        assert noise.is_leaf
        return (noise * x).sum()

    assert by_op(viz.trace(model, (2,)), "sum").requires_grad


# ----- small pictures ---------------------------------------------------------------------------


def decoded(uri: str) -> Any:
    """The pixels of a PNG, read by another program."""
    content = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(content)) as png:
        return np.asarray(png)


def test_images_are_small_pictures() -> None:
    model = nn.Sequential(nn.Conv2d(3, 10, 3), nn.ReLU(), nn.Conv2d(10, 2, 3))
    images = np.zeros((2, 3, 64, 64), "float32")
    images[0, 0], images[1, 2, :32] = 1.0, 1.0
    trace = viz.trace(model, tg.tensor(images), images=True)
    shown = {trace.nodes[i].key: told.image for i, told in trace.steps[0].values.items()}
    pixels = decoded(shown["/input.0"])
    assert pixels.shape == (32, 65, 3)
    assert pixels[0, 0].tolist() == [255, 1, 1]
    assert pixels[0, 40].tolist() == [1, 1, 255]
    assert pixels[20, 40].tolist() == [1, 1, 1]
    assert pixels[0, 32].tolist() == [0, 0, 0]  # between them
    filters = decoded(shown["0.weight"])
    assert filters.shape == (61, 123, 3)
    weight = model[0].weight.numpy(force=True)
    levels = (weight - weight[:8].min()) / (weight[:8].max() - weight[:8].min()) * 254 + 1
    assert filters[5, 5].tolist() == pytest.approx(levels[0, :, 0, 0], abs=1.01)
    assert decoded(shown["2.weight"]).ndim == 2  # of ten channels the first
    shapes = [decoded(shown[f"{i}/conv2d.0"]).shape for i in (0, 2)]
    assert shapes == [(63, 127), (30, 61)]
    assert all(len(uri) < 20_000 for uri in shown.values())
    plain = viz.trace(model, (1, 3, 9, 9), values=True).steps[0].values.values()
    assert not any(told.image for told in plain)


SHIFT = tg.tensor([1.0, 2.0])


def test_leaves_outside_of_a_function_keep_their_names() -> None:
    """A global one, and one of the caller that no op had read before."""
    scale = tg.ones(2, requires_grad=True)
    held = SimpleNamespace(part=scale)

    def model(x: tg.Tensor) -> tg.Tensor:
        return x * held.part + SHIFT

    names = {node.name for node in viz.trace(model, (2,)).nodes if node.kind != "op"}
    assert names == {"x", "scale", "SHIFT"}
