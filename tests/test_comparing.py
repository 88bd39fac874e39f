"""Two traces held against each other."""

import dataclasses
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv import nn, optim, viz


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
    found = viz.diff(traced(net(4, 8, 2)), traced(net(4, 8, 2, extra=nn.Tanh())))
    assert str(found) == "2/tanh.0: only in the second"
    found = viz.diff(traced(net(4, 8, 2, extra=nn.Tanh())), traced(net(4, 8, 2)))
    assert str(found) == "2/tanh.0: only in the first"


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
