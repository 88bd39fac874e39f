"""What a trace shows by itself of a run, and how it is told above the graph."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

import tinygrad_cv as tg
from tinygrad_cv import nn, optim, train, viz
from tinygrad_cv.viz.data import Broken, Remark, Summary, Trace
from tinygrad_cv.viz.diagnosing import lines, remarks_on
from tinygrad_cv.viz.grouping import grouped
from tinygrad_cv.viz.page import page
from tinygrad_cv.viz.summarizing import summarize
from tinygrad_cv.viz.symptoms import symptoms

pytestmark = pytest.mark.host


def mlp(activation: type[nn.Module], layers: int, spread: float = 1.0, width: int = 8) -> Any:
    """A net of equal layers, with the deviation spread / √width in the weights and no biases."""
    tg.manual_seed(0)
    parts: list[nn.Module] = []
    for _ in range(layers):
        parts += [nn.Linear(width, width, bias=False), activation()]
        with tg.no_grad():
            parts[-2].weight.copy_(tg.randn(width, width) * spread / width**0.5)
    return nn.Sequential(*parts, nn.Linear(width, 3))


def seen(model: Any, *inputs: Any) -> Trace:
    labels = tg.tensor([i % 3 for i in range(32)])
    return viz.trace(
        lambda x: tg.cross_entropy(model(x), labels), *inputs, values=True, gradients=True
    )


def kinds(trace: Trace) -> list[str]:
    return [remark.kind for remark in symptoms(trace)]


def trained(
    model: Any, steps: int, rate: float = 0.0, then: Callable[[int], None] = lambda step: None
) -> Trace:
    """What a watch saw of so many steps; `then` is called before each."""
    optimizer = optim.SGD(model.parameters(), lr=rate)
    watch = viz.watch(model, every=1)
    x, labels = tg.randn(32, 8), tg.tensor([i % 3 for i in range(32)])
    for step in range(steps):
        then(step)
        with watch.step():
            loss = tg.cross_entropy(model(x), labels)
            optimizer.zero_grad()
            loss.backward()
            if rate:
                optimizer.step()
    return watch.trace


def test_a_healthy_net_has_nothing() -> None:
    assert symptoms(seen(mlp(nn.ReLU, 8, 2**0.5), (32, 8))) == []
    assert symptoms(Trace()) == []
    assert symptoms(viz.trace(mlp(nn.Sigmoid, 12), (32, 8))) == []  # without numbers


def test_a_gradient_shrinks_layer_by_layer() -> None:
    trace = seen(mlp(nn.Sigmoid, 12), (32, 8))
    (told,) = symptoms(trace)
    assert told.kind == "vanishing_gradient"
    assert told.seen.startswith("the gradient shrinks ×")
    assert "per layer over 13 layers" in told.seen
    assert [trace.modules[trace.nodes[i].module].path for i in told.nodes] == ["0", "24"]
    # The factor is that of the two norms that stand in it.
    first, last = (trace.steps[0].gradients[i].norm for i in told.nodes)
    factor = float(told.seen.split("×")[1].split()[0])
    assert factor**12 == pytest.approx(last / first, rel=3)
    assert f"{first:.3g}" in told.seen
    grows = seen(mlp(nn.ReLU, 12, 6.0), (32, 8))
    assert symptoms(grows)[0].seen.startswith("the gradient grows ×")


def test_it_shrinks_step_by_step_of_a_sequence() -> None:
    tg.manual_seed(0)
    cell, out = nn.RNNCell(8, 8), nn.Linear(8, 3)

    def read(x: Any) -> Any:
        state = None
        for t in range(16):
            state = cell(x[:, t], state)
        return out(state)

    (told,) = symptoms(seen(read, (32, 16, 8)))
    assert told.kind == "vanishing_gradient"
    assert "per step over 16 steps" in told.seen


def test_a_batch_norm_makes_a_bias_idle_and_a_watch_says_since_when() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    (told,) = symptoms(seen(model, (32, 8)))
    assert (told.level, told.kind) == ("note", "no_effect")
    assert told.seen == "0.bias: no effect before batch norm"

    model = mlp(nn.ReLU, 2, 1.4)

    def break_at_step_three(step: int) -> None:
        if step == 3:
            with tg.no_grad():
                model[0].weight.mul_(0.0)
                model[2].weight.add_(-100.0)

    trace = trained(model, 6, 1e-3, break_at_step_three)
    told = {remark.kind: remark for remark in symptoms(trace)}
    assert told["dead_units"].seen.endswith("since step 3")
    assert "8 of 8 units (100%) give 0" in told["dead_units"].seen
    assert told["dead_units"].step == 3
    assert (
        told["no_gradient"].seen
        == "the gradient of 0.weight … 4.weight (3) is exactly 0, since step 3"
    )
    assert {trace.nodes[i].op for i in told["dead_units"].nodes} == {"relu"}

    trace.steps[5].values[told["dead_units"].nodes[0]] = Summary(count=256, nan=256)
    later = symptoms(trace)  # what was so before the NaN is still told
    assert [remark.kind for remark in later[:2]] == ["not_finite", "no_gradient"]
    assert told["dead_units"] in later


def test_saturated_layers_but_not_a_sure_output() -> None:
    model = mlp(nn.Tanh, 2, 60.0)
    assert "saturated" in kinds(seen(model, (32, 8)))
    last = nn.Sequential(nn.Linear(8, 3), nn.Sigmoid())
    with tg.no_grad():
        last[0].weight.mul_(1e3)
    assert "saturated" not in kinds(viz.trace(last, (32, 8), values=True, gradients=True))


def test_updates() -> None:
    assert kinds(trained(mlp(nn.ReLU, 2, 1.4), 3)) == ["no_update"]
    assert kinds(trained(mlp(nn.ReLU, 2, 1.4), 3, 1e-2)) == []
    told = symptoms(trained(mlp(nn.ReLU, 2, 1.4), 6, 30.0))
    assert "update_ratio" in [remark.kind for remark in told]
    assert all(remark.nodes for remark in told)


def test_where_the_first_nan_arose() -> None:
    x = tg.tensor([[1.0, -2.0], [3.0, 4.0]], requires_grad=True)
    trace = viz.trace(lambda: tg.log(2 * x).sum(), values=True, gradients=True)
    log = next(node for node in trace.nodes if node.op == "log")
    (told,) = (remark for remark in symptoms(trace) if remark.kind == "not_finite")
    assert (told.level, told.nodes) == ("error", [log.id])
    assert told.seen.startswith("NaN: ")
    trace.steps[0].broken = Broken(log.id, "log got -4 at [0, 1], train.py:12")
    assert lines(trace)[0] == "error: NaN: log got -4 at [0, 1], train.py:12"
    trace.steps[0].broken = None
    trace.steps[0].values.clear()
    trace.steps[0].gradients[0] = dataclasses.replace(trace.steps[0].gradients[0], inf=1)
    (told,) = (remark for remark in symptoms(trace) if remark.kind == "not_finite")
    assert told.seen == "infinite: first in the gradient of x"


def test_diagnosis_without_findings() -> None:
    trace = seen(mlp(nn.Sigmoid, 12), (32, 8))
    before = copy.deepcopy(trace)
    picture = viz.diagnosis(trace)
    assert trace == before
    assert [remark.kind for remark in picture.trace.remarks] == ["vanishing_gradient"]
    marked = [node.id for node in picture.trace.nodes if node.note]
    assert marked == sorted(picture.trace.remarks[0].nodes)
    assert remarks_on(picture.trace) == picture.trace.remarks
    found = train.health.Finding("gap", "note", "far", "overfitting", "more data", "")
    assert [remark.kind for remark in viz.diagnosis(trace, [found]).trace.remarks] == ["gap"]
    assert viz.diagnosis(trace, []).trace.remarks == []


def test_lines_say_how_many_are_left_out() -> None:
    trace = Trace(remarks=[Remark("note", "gap", f"seen {i}") for i in range(7)])
    assert lines(trace, 3) == [
        "note: seen 0",
        "note: seen 1",
        "… and 5 more; they stand in the page (.html)",
    ]
    assert len(lines(trace, 7)) == 7
    assert lines(Trace(remarks=[])) == []
    remark = Remark("warning", "dead_units", "4 of 4 units give 0", where="1 (ReLU)")
    assert lines(Trace(remarks=[remark])) == ["warning: 1 (ReLU): 4 of 4 units give 0"]


def test_a_graph_that_changed_is_told() -> None:
    trace = trained(mlp(nn.ReLU, 2, 1.4), 3, 1e-2)
    trace.changed = ["the graph changed at step 1: 3 nodes more"]
    (told,) = symptoms(trace)
    assert (told.level, told.seen) == ("note", trace.changed[0])


def test_numbers_of_any_size_have_a_histogram() -> None:
    """The gradients of a deep net of sigmoids are as small as numbers can be."""

    for size in (1e-45, 1e-40, 1e-38, 1e30):
        told = summarize(tg.tensor([0.0, size, 3 * size, 8 * size]).numpy())
        assert sum(told.histogram) == 4
        assert told.histogram[0] >= 1
        assert told.histogram[-1] >= 1


def test_one_that_the_optimizer_lacks_is_not_one_with_a_tiny_gradient() -> None:
    model = mlp(nn.ReLU, 1, 1.4)
    optimizer, watch = optim.SGD(model[2].parameters(), lr=0.1), viz.watch(model, every=1)
    for _ in range(3):
        with watch.step():
            model.zero_grad()
            tg.cross_entropy(model(tg.randn(6, 8)), tg.tensor([0, 1, 2] * 2)).backward()
            optimizer.step()
    (told,) = (remark for remark in symptoms(watch.trace) if remark.kind == "not_optimized")
    assert told.seen == "0.weight got gradients, and no update in the 3 recorded steps"
    assert "not_optimized" not in kinds(trained(mlp(nn.Sigmoid, 14), 3, 0.1))


def test_a_picture_tells_it_on_top() -> None:
    trace = seen(mlp(nn.Sigmoid, 12), (32, 8))
    source = viz.draw(trace, backward=True).source
    assert "diagnosis [label=" in source
    assert "the gradient shrinks" in source
    assert "warning: vanishing" not in source  # the boxes are marked by viz.diagnosis alone
    assert "diagnosis" not in viz.draw(trace, health=False).source
    idle = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    assert "diagnosis" not in viz.draw(seen(idle, (32, 8)), backward=True).source
    again = viz.diagnosis(trace).source
    assert "warning: vanishing gradient" in again


def test_a_page_tells_it_by_itself() -> None:
    trace = seen(mlp(nn.Sigmoid, 12), (32, 8))
    assert '"kind": "vanishing_gradient"' in page(trace)
    assert trace.remarks is None
    trace.remarks = []  # somebody has looked, and found nothing
    assert '"kind": "vanishing_gradient"' not in page(trace)
    healthy = page(seen(mlp(nn.ReLU, 3, 2**0.5), (32, 8)))
    assert '"remarks": null' in healthy  # no list, rather than one that says all is well


def test_a_step_of_a_loop_is_called_by_its_time() -> None:
    w = tg.eye(4).requires_grad_()

    def loop(x: tg.Tensor) -> tg.Tensor:
        h = x
        for _ in range(6):
            h = tg.tanh(h @ w * 5.0)
        return h.sum()

    trace = grouped(viz.trace(loop, tg.ones(8, 4), values=True, gradients=True))
    told = " ".join(f"{remark.where} {remark.seen}" for remark in symptoms(trace))
    assert "h, t = 4" in told
    assert "()" not in told
