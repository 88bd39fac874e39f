"""Watching a training run: what is recorded, and that the training is the same."""

import asyncio
import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv import nn, optim, viz
from tinygrad_cv._graph import observer


def classifier() -> nn.Sequential:
    generator = np.random.default_rng(0)
    return nn.Sequential(
        nn.Linear(4, 8, generator=generator), nn.ReLU(), nn.Linear(8, 2, generator=generator)
    )


X = np.random.default_rng(1).standard_normal((16, 4)).astype("float32")
LABELS = (X.sum(axis=1) > 0).astype("int64")


def train(model: nn.Module, watch: viz.Watch | None, steps: int, lr: float = 0.1) -> list[float]:
    """Plain gradient descent, watched or not."""
    optimizer = optim.SGD(model.parameters(), lr=lr)
    images, labels = tg.tensor(X), tg.tensor(LABELS)
    losses = []

    def step() -> None:
        loss = tg.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    for _ in range(steps):
        if watch is None:
            step()
        else:
            with watch.step():
                step()
    return losses


def test_each_so_many_steps_are_recorded() -> None:
    model = classifier()
    watch = viz.watch(model, every=3)
    losses = train(model, watch, 8)
    assert watch.steps == 8
    assert [step.number for step in watch.trace.steps] == [0, 3, 6]
    assert [step.loss for step in watch.trace.steps] == pytest.approx(losses[::3])


def test_a_watched_training_is_the_same_training() -> None:
    watched, plain = classifier(), classifier()
    assert train(watched, viz.watch(watched, every=2), 5) == train(plain, None, 5)
    for ours, theirs in zip(watched.parameters(), plain.parameters(), strict=True):
        assert np.array_equal(ours.data.numpy(), theirs.data.numpy())
    assert observer.get() is None


def test_a_step_knows_every_value_gradient_and_share() -> None:
    model = classifier()
    watch = viz.watch(model, every=1)
    train(model, watch, 2)
    trace, step = watch.trace, watch.trace.steps[-1]
    assert set(step.values) == set(range(len(trace.nodes)))
    assert set(step.gradients) == {node.id for node in trace.nodes if node.requires_grad}
    assert set(step.shares) == {edge.key for edge in trace.edges if edge.gradient}


def test_what_was_saved_is_told_though_it_is_freed() -> None:
    model = classifier()
    watch = viz.watch(model)
    train(model, watch, 1)
    saved = {node.op: node.saved for node in watch.trace.nodes if node.kind == "op"}
    assert saved["relu"] == {"positive": 16 * 8}
    images, labels = tg.tensor(X), tg.tensor(LABELS)
    expected = viz.trace(tg.cross_entropy(model(images), labels))
    assert [node.saved for node in watch.trace.nodes if node.requires_grad] == [
        node.saved for node in expected.nodes if node.requires_grad
    ]


def test_updates_are_relative_to_the_weights() -> None:
    model = classifier()
    before = {name: p.data.numpy().copy() for name, p in model.named_parameters()}
    watch = viz.watch(model)
    train(model, watch, 1, lr=0.5)
    names = {node.id: node.name for node in watch.trace.nodes}
    [step] = watch.trace.steps
    assert {names[i] for i in step.updates} == set(before)
    for i, ratio in step.updates.items():
        old = before[names[i]]
        new = dict(model.named_parameters())[names[i]].data.numpy()
        assert ratio == pytest.approx(np.linalg.norm(new - old) / np.linalg.norm(old), rel=1e-4)
        assert step.values[i].norm == pytest.approx(np.linalg.norm(old), rel=1e-5)


def test_without_an_update_in_the_block_no_ratio_is_told() -> None:
    model = classifier()
    watch = viz.watch(model)
    with watch.step():
        tg.cross_entropy(model(tg.tensor(X)), tg.tensor(LABELS)).backward()
    assert watch.trace.steps[0].updates == {}


def test_dead_units_are_seen() -> None:
    model = classifier()
    bias = model[0].bias
    with tg.no_grad():
        bias.copy_(np.array([-100.0] * 6 + [0.0] * 2, "float32"))
    watch = viz.watch(model)
    train(model, watch, 1)
    relu = next(node.id for node in watch.trace.nodes if node.op == "relu")
    assert watch.trace.steps[0].values[relu].dead >= 0.75


def test_the_first_nan_is_seen_at_the_op_that_made_it() -> None:
    model = classifier()
    watch = viz.watch(model)
    with watch.step():
        hidden = model(tg.tensor(X))
        with np.errstate(invalid="ignore"):
            loss = tg.log(hidden - 100.0).sum()
        loss.backward()
    values = watch.trace.steps[0].values
    first = min(i for i, told in values.items() if not told.finite)
    assert watch.trace.nodes[first].op == "log"
    assert math.isnan(watch.trace.steps[0].loss or 0)


def test_a_step_beyond_all_bounds_says_nothing() -> None:
    """Not even where weights go to infinity, or their squares do."""
    model = classifier()
    watch = viz.watch(model, every=1)
    for factor in (1e30, 1e30, -1e30):
        with watch.step():
            tg.cross_entropy(model(tg.tensor(X)), tg.tensor(LABELS)).backward()
            for parameter in model.parameters():
                parameter.data *= factor
    assert not all(math.isfinite(x) for step in watch.trace.steps for x in step.updates.values())


def test_steps_of_other_graphs_are_matched_by_their_keys() -> None:
    model = classifier()
    watch = viz.watch(model, every=1)
    for extra in (True, False):
        with watch.step():
            scores = model(tg.tensor(X))
            penalty = (model[0].weight ** 2).sum()
            loss = tg.cross_entropy(scores, tg.tensor(LABELS))
            (loss + penalty if extra else loss).backward()
    first, second = watch.trace.steps
    linear = [node.id for node in watch.trace.nodes if node.op == "linear"]
    power = next(node.id for node in watch.trace.nodes if node.op == "pow")
    assert set(linear) <= set(second.values)
    assert power in first.values
    assert power not in second.values


def test_a_graph_that_changes_is_followed_and_it_is_said() -> None:
    model = classifier()
    watch = viz.watch(model, every=1)

    def step(extra: bool) -> None:
        images = tg.tensor(X)
        loss = tg.cross_entropy(model(images), tg.tensor(LABELS))
        (loss + (model[0].weight ** 2).sum() if extra else loss).backward()

    for extra in (False, False, True, False):
        with watch.step():
            step(extra)
    trace = watch.trace
    assert trace.changed == ["the graph changed at step 2: 3 nodes more"]
    assert [node.op for node in trace.nodes].count("pow") == 1
    plain, changed = trace.steps[1], trace.steps[2]
    new = set(changed.values) - set(plain.values)
    assert [trace.nodes[i].op for i in sorted(new)] == ["pow", "sum", "add"]
    assert [set(step.values) for step in trace.steps] == [
        set(plain.values), set(plain.values), set(plain.values) | new, set(plain.values),
    ]  # fmt: skip
    weight = next(node.id for node in trace.nodes if node.name == "0.weight")
    assert changed.gradients[weight].norm != pytest.approx(plain.gradients[weight].norm)
    check(trace)
    again = viz.watch(model, every=1)
    again.load_state_dict(watch.state_dict())
    with again.step():
        step(True)
    assert again.trace.changed == trace.changed  # it knows the places still
    assert len(again.trace.nodes) == len(trace.nodes)


def test_a_layer_that_thaws_is_the_same_layer() -> None:
    model = classifier()
    watch = viz.watch(model, every=1)
    for thawed in (False, True):
        model[0].requires_grad_(thawed)
        train(model, watch, 1)
    weight = next(node for node in watch.trace.nodes if node.name == "0.weight")
    assert weight.requires_grad
    assert [weight.id in step.gradients for step in watch.trace.steps] == [False, True]
    assert watch.trace.changed == ["the graph changed at step 1: 4 gradients more"]
    check(watch.trace)


def check(trace: viz.Trace) -> None:
    """Ids are positions, inputs come before those that read them, and steps know only nodes."""
    assert [node.id for node in trace.nodes] == list(range(len(trace.nodes)))
    assert len({node.key for node in trace.nodes}) == len(trace.nodes)
    assert all(edge.source < edge.target for edge in trace.edges)
    assert all(m.parent is None or m.parent < m.id for m in trace.modules)
    assert [m.id for m in trace.modules] == list(range(len(trace.modules)))
    gradients = {edge.key for edge in trace.edges if edge.gradient}
    for step in trace.steps:
        assert set(step.shares) <= gradients
        for i, told in step.values.items():
            assert told.count == math.prod(trace.nodes[i].shape)
    assert viz.Trace.from_json(trace.to_json()) == trace


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=3))
@pytest.mark.host
def test_the_graph_of_all_steps_has_each_of_them(steps: list[list[int]]) -> None:
    """Layers in any order and number: a place that would come before itself is another one."""
    layers = [nn.Linear(2, 2) for _ in range(3)]
    model = nn.Sequential(*layers)
    watch = viz.watch(model, every=1)
    for chosen in steps:
        with watch.step():
            hidden = tg.ones(3, 2)
            for i in chosen:
                hidden = tg.tanh(hidden) if i == 3 else layers[i](hidden) + hidden
            loss = hidden.sum() + layers[0].bias.sum()
            loss.backward()
    check(watch.trace)
    by_step = [Counter(watch.trace.nodes[i].op for i in step.values) for step in watch.trace.steps]
    for chosen, ops in zip(steps, by_step, strict=True):
        assert ops["tanh"] == chosen.count(3)
        assert ops["linear"] == len(chosen) - chosen.count(3)
        assert ops["sum"] == 2


def test_two_models_are_watched_by_the_names_of_their_variables() -> None:
    G, D = classifier(), classifier()
    watch = viz.watch(D, every=1)
    for trains_both in (False, True):
        with watch.step():
            noise = tg.tensor(X)
            if trains_both:
                noise = tg.cat([G(noise), G(noise)], dim=1)
            D(noise).sum().backward()
    names = [module.name for module in watch.trace.modules if module.parent is None]
    assert names == ["D", "G", "G"]
    assert [m.call for m in watch.trace.modules if m.name == "G"] == [0, 1]
    keys = {node.key for node in watch.trace.nodes}
    assert {"0.weight", "G.0.weight"} <= keys
    check(watch.trace)


def test_a_step_sees_what_no_gradient_reaches() -> None:
    model, teacher = classifier(), classifier()
    watch = viz.watch(model)

    def step() -> tg.Tensor:
        images = tg.tensor(X)
        with tg.no_grad():
            targets = teacher(images)
        (model(images) - teacher(images).detach() + targets).square().sum().backward()
        made = tg.ones(2) * 2
        made.requires_grad_()
        return targets

    with watch.step():
        targets = step()
    notes = [(m.name, m.call, m.note) for m in watch.trace.modules if m.parent is None]
    nothing = "no gradient flows here"
    assert sorted(notes) == [("model", 0, ""), ("teacher", 0, nothing), ("teacher", 1, nothing)]
    assert [node.op for node in watch.trace.nodes].count("detach") == 1
    assert targets.is_leaf
    assert targets.node.op is None  # what the recording saw is forgotten
    assert set(watch.trace.steps[0].values) == {node.id for node in watch.trace.nodes}
    again = viz.watch(model, every=1)
    again.load_state_dict(watch.state_dict() | {"every": 1})
    with again.step():
        step()
    assert again.trace.changed == []


def test_gradients_towards_some_inputs_alone_are_seen() -> None:
    model = classifier()
    watch = viz.watch(model)
    with watch.step():
        loss = tg.cross_entropy(model(tg.tensor(X)), tg.tensor(LABELS))
        tg.grad(loss, model[2].weight)
    [step] = watch.trace.steps
    named = {node.name: node.id for node in watch.trace.nodes}
    assert named["2.weight"] in step.gradients
    assert named["2.bias"] not in step.gradients
    linear = [node.id for node in watch.trace.nodes if node.op == "linear"][-1]
    assert {key for key in step.shares if key.startswith(f"{linear}:")} == {f"{linear}:1"}


def test_weights_of_zero_have_no_ratio() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    watch = viz.watch(model)
    train(model, watch, 1)
    names = {watch.trace.nodes[i].name for i in watch.trace.steps[0].updates}
    assert "1.weight" in names
    assert "1.bias" not in names


def test_a_long_training_is_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_cv.viz.watching.LIMIT", 4)
    model = classifier()
    watch = viz.watch(model, every=1)
    train(model, watch, 13)
    assert [step.number for step in watch.trace.steps] == [0, 4, 8, 12]
    assert watch.every == 4


def test_a_smaller_last_batch_is_the_same_graph() -> None:
    model = classifier()
    watch = viz.watch(model, every=1)
    for size in (16, 5):
        with watch.step():
            tg.cross_entropy(model(tg.tensor(X[:size])), tg.tensor(LABELS[:size])).backward()
    counts = [step.values[0].count for step in watch.trace.steps]
    assert counts == [64, 20]


def test_a_step_that_fails_is_not_recorded() -> None:
    model = classifier()
    watch = viz.watch(model)
    with pytest.raises(ValueError, match="in_features"), watch.step():
        model(tg.ones(3, 5))
    assert watch.trace.steps == []
    assert observer.get() is None
    with pytest.raises(RuntimeError, match="nothing was recorded"):
        watch.save("page.html")


def test_names_and_lines_are_those_of_the_loop() -> None:
    model = classifier()
    watch = viz.watch(model)
    images = tg.tensor(X)
    with watch.step():
        scores = model(images)
        loss = tg.cross_entropy(scores, tg.tensor(LABELS))
        loss.backward()
    named = {node.name: node for node in watch.trace.nodes}
    assert {"images", "scores", "loss", "0.weight"} <= set(named)
    assert named["scores"].code == "scores = model(images)"


def test_every_counts_from_one() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        viz.watch(classifier(), every=0)


def test_the_page_of_a_watch_has_its_steps(tmp_path: Any) -> None:
    model = classifier()
    watch = viz.watch(model, every=1)
    train(model, watch, 3)
    path = watch.save(tmp_path / "training.html")
    text = path.read_text()
    assert all(f'"number":{i},' in text.replace(" ", "") for i in range(3))
    again = viz.Trace.from_json(watch.trace.to_json())
    assert again == watch.trace


def test_threads_and_tasks_watch_each_their_own_model() -> None:
    def watched() -> tuple[nn.Module, viz.Watch]:
        model = classifier()
        return model, viz.watch(model, every=2)

    async def in_a_task() -> viz.Watch:
        model, watch = watched()
        for _ in range(4):
            with watch.step():
                loss = tg.cross_entropy(model(tg.tensor(X)), tg.tensor(LABELS))
                await asyncio.sleep(0)
                loss.backward()
        return watch

    async def tasks() -> list[viz.Watch]:
        return await asyncio.gather(*[in_a_task() for _ in range(3)])

    def in_a_thread(_: int) -> viz.Watch:
        model, watch = watched()
        train(model, watch, 4)
        return watch

    with ThreadPoolExecutor(3) as executor:
        watches = [*asyncio.run(tasks()), *executor.map(in_a_thread, range(3))]
    for watch in watches:
        assert [step.number for step in watch.trace.steps] == [0, 2]
        assert [node.op for node in watch.trace.nodes] == [
            node.op for node in watches[0].trace.nodes
        ]
    assert observer.get() is None
