"""What the colours of gradients say: vanishing and exploding, and not the scale of a loss."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv import nn, viz
from tinygrad_cv.viz.data import Trace
from tinygrad_cv.viz.judging import FULL, GREY, Judged, judge, judge_steps

pytestmark = pytest.mark.host


def judged(target: Any, *inputs: Any) -> tuple[Trace, Judged]:
    """What is said of one pass."""
    trace = viz.trace(target, *inputs, values=True, gradients=True)
    return trace, judge(trace, trace.steps[0])


def of(trace: Trace, told: Judged, op: str) -> list[float]:
    """The t of the nodes of an op (or kind), the first computed first."""
    return [told.nodes[node.id] for node in trace.nodes if op == node.op and node.id in told.nodes]


def by_name(trace: Trace, told: dict[int, Any]) -> dict[str, Any]:
    return {trace.nodes[i].name: value for i, value in told.items() if trace.nodes[i].name}


def deep(activation: type[nn.Module], spread: float, layers: int = 20, width: int = 16) -> Any:
    """A net of equal layers whose weights are normal with a deviation of spread / √width."""
    tg.manual_seed(0)
    rng = np.random.default_rng(0)
    parts: list[nn.Module] = []
    for _ in range(layers):
        linear = nn.Linear(width, width)
        weight = rng.standard_normal((width, width)) * spread / math.sqrt(width)
        with tg.no_grad():
            linear.weight.copy_(tg.tensor(weight.astype("float32")))
        parts += [linear, activation()]
    return nn.Sequential(*parts, nn.Linear(width, 3))


def loss_of(model: Any, scale: float = 1.0) -> Any:
    labels = tg.tensor([0, 1, 2, 0, 1, 2])
    return lambda x: scale * tg.cross_entropy(model(x), labels)


def grey(told: Judged) -> bool:
    return all(abs(t) <= GREY for t in [*told.nodes.values(), *told.edges.values()])


def convnet(norm: bool) -> Any:
    """Three convolutions, a pooling over all places and a classifier of 100 classes."""
    tg.manual_seed(0)
    parts: list[nn.Module] = []
    for before, after in ((3, 8), (8, 16), (16, 16)):
        parts += [nn.Conv2d(before, after, 3, padding=1)]
        nn.init.kaiming_normal_(parts[-1].weight)  # the usual one shrinks by 2.4 a layer
        parts += [nn.BatchNorm2d(after)] if norm else []
        parts += [nn.ReLU()]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 100))


@pytest.mark.parametrize("norm", [True, False])
def test_a_healthy_net_is_grey_from_ones_and_from_a_loss(norm: bool) -> None:
    """Ones of shape (6, 100) have a norm of 24, and the gradient of a mean is small: both grey."""
    model = convnet(norm)
    for target in (model, loss_of(model), loss_of(model, 1e-6)):
        trace, told = judged(target, (6, 3, 8, 8))
        assert grey(told)
        assert trace.nodes[told.reference].op == "linear"
        assert {edge.key for edge in trace.edges if edge.gradient} == set(told.edges)
        assert set(told.nodes) == set(trace.steps[0].gradients)


def test_vanishing_is_blue_towards_the_input() -> None:
    trace, told = judged(loss_of(deep(nn.Sigmoid, 1.0)), (6, 16))
    ts = of(trace, told, "sigmoid")
    assert ts == sorted(ts)
    assert ts[0] < -FULL
    assert ts[-1] > -GREY
    weights = by_name(trace, told.nodes)
    assert weights["0.weight"] < -FULL < -GREY < weights["40.weight"]
    # The first gradient is as much smaller as its norm says.
    step = trace.steps[0]
    first = next(node.id for node in trace.nodes if node.op == "sigmoid")
    ratio = step.gradients[first].norm / step.gradients[told.reference].norm
    assert ts[0] == pytest.approx(math.log10(ratio))


@pytest.mark.parametrize(("activation", "spread"), [(nn.ReLU, 5.0), (nn.Tanh, 6.0)])
def test_exploding_is_red_towards_the_input(activation: Any, spread: float) -> None:
    trace, told = judged(loss_of(deep(activation, spread)), (6, 16))
    ts = of(trace, told, activation.__name__.lower())
    assert ts[0] > GREY > ts[-1]
    assert ts[0] > max(ts) - 0.5


def test_it_vanishes_over_time() -> None:
    tg.manual_seed(0)
    cell, out = nn.LSTMCell(4, 8), nn.Linear(8, 3)

    def read(x: Any) -> Any:
        state = None
        for t in range(20):
            state = cell(x[:, t], state)
        return tg.cross_entropy(out(state[0]), tg.tensor([0, 1, 2]))

    trace, told = judged(read, (3, 20, 4))
    steps = of(trace, told, "linear")
    assert steps[0] < -GREY < steps[-1]
    assert all(abs(t) < GREY for name, t in by_name(trace, told.nodes).items() if "weight" in name)


@settings(max_examples=9)
@given(
    power=st.integers(-20, 20),
    net=st.sampled_from(["sigmoid", "relu", "norm"]),
)
def test_the_scale_of_the_loss_changes_no_colour(power: int, net: str) -> None:
    tg.manual_seed(0)
    model: Any = {
        "sigmoid": lambda: deep(nn.Sigmoid, 1.0, 4, 4),
        "relu": lambda: deep(nn.ReLU, 9.0, 4, 4),
        "norm": lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)),
    }[net]()
    told = [judged(loss_of(model, scale), (6, 4))[1] for scale in (1.0, 2.0**power)]
    assert told[0].nodes == pytest.approx(told[1].nodes, abs=1e-3)
    assert told[0].edges == pytest.approx(told[1].edges, abs=1e-3)
    assert told[0].notes == told[1].notes


@settings(max_examples=5)
@given(power=st.integers(-8, 8))
def test_a_scale_that_is_undone_changes_its_own_values_alone(power: int) -> None:
    model, scale = deep(nn.ReLU, 1.4, 4, 4), 2.0**power
    _, before = judged(loss_of(model), (6, 4))
    with tg.no_grad():
        model[2].weight.mul_(scale)
        model[2].bias.mul_(scale)
        model[4].weight.mul_(1 / scale)
    trace, after = judged(loss_of(model), (6, 4))
    for i, t in before.nodes.items():
        node = trace.nodes[i]
        moved = node.module is not None and trace.modules[node.module].path in ("2", "3")
        expected = t - math.log10(scale) * (moved and node.kind == "op")
        assert after.nodes[i] == pytest.approx(expected, abs=1e-3)


def test_before_a_norm_the_size_has_no_meaning() -> None:
    """A batch norm divides by the size of what it gets, and its rule divides the gradient."""
    model = convnet(norm=True)
    _, before = judged(model, (6, 3, 8, 8))
    with tg.no_grad():
        model[3].weight.mul_(1e4)
        model[3].bias.mul_(1e4)
    _, after = judged(model, (6, 3, 8, 8))
    assert after.nodes == pytest.approx(before.nodes, abs=0.02)
    assert after.edges == pytest.approx(before.edges, abs=0.02)


def test_a_bias_before_batch_norm_has_no_effect() -> None:
    model = convnet(norm=True)
    trace, told = judged(loss_of(model), (6, 3, 8, 8))
    biases = {"0.bias", "3.bias", "6.bias"}
    assert by_name(trace, told.notes) == dict.fromkeys(biases, "no effect before batch norm")
    assert {told.nodes[i] for i in told.notes} == {0.0}
    model.eval()  # now the mean is a constant, and the bias has its effect
    trace, told = judged(loss_of(model), (6, 3, 8, 8))
    assert not told.notes
    assert grey(told)


def test_ones_through_a_norm_cancel() -> None:
    """The sum of what a norm gives is that of its bias: no gradient goes on but rounding."""
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.LayerNorm(8))
    trace, told = judged(model, (6, 4))
    assert [trace.nodes[i].op for i in told.notes] == ["standardize"]
    assert "cancels in this layer norm" in next(iter(told.notes.values()))
    assert {trace.nodes[i].op for i in told.nodes} == {"standardize", "parameter"}
    assert not [name for name in by_name(trace, told.nodes) if not name.startswith("3.")]
    trace, told = judged(loss_of(nn.Sequential(*model, nn.Linear(8, 3))), (6, 4))
    assert not told.notes
    assert grey(told)


def test_dead_and_broken_and_unknown() -> None:
    model = deep(nn.ReLU, 1.4, 3, 4)
    with tg.no_grad():
        model[2].bias.fill_(-1e3)
    trace, told = judged(loss_of(model), (6, 4))
    names = by_name(trace, told.nodes)
    assert names["0.weight"] == names["2.bias"] == -math.inf
    assert names["6.bias"] > -GREY
    x = tg.tensor([1.0, -2.0, 4.0], requires_grad=True)
    trace, told = judged(lambda: tg.log(3 * x).sum())
    log = next(node.id for node in trace.nodes if node.op == "log")
    assert trace.steps[0].gradients[log].finite  # its value has a NaN
    assert math.isnan(told.nodes[log])
    trace = viz.trace(loss_of(deep(nn.Sigmoid, 1.0)), (6, 16), gradients=True)
    assert not trace.steps[0].values
    told = judge(trace, trace.steps[0])  # by their norms alone
    assert of(trace, told, "sigmoid")[0] < -FULL
    assert judge_steps(Trace()) == []


def test_numbers_of_a_formula_are_grey_and_a_long_chain_is_judged() -> None:
    x, y, z = (tg.tensor(value, requires_grad=True) for value in (-2.0, 5e3, -4e5))
    _, told = judged((x + y) * z)
    assert set(told.nodes.values()) == set(told.edges.values()) == {0.0}
    assert told.reference is None
    value = x
    for _ in range(15):
        value = tg.sigmoid(value)
    trace, told = judged(value)
    assert told.nodes[0] < -FULL
    assert told.nodes[len(trace.nodes) - 1] == 0


def test_a_fit_that_is_good_is_not_exploding() -> None:
    """Its errors are tiny, and so is the gradient at the output: that of the loss is not above."""
    model = deep(nn.Tanh, 1.0, 3, 4)
    target = model(tg.ones(6, 4)).detach() + 1e-6
    _, told = judged(((model(tg.ones(6, 4)) - target) ** 2).mean())
    assert max(told.nodes.values()) < GREY


def test_ops_of_the_backward_pass_change_nothing() -> None:
    model = convnet(norm=True)
    _, plain = judged(loss_of(model), (6, 3, 8, 8))
    trace = viz.trace(loss_of(model), (6, 3, 8, 8), values=True, gradients=True, backward="ops")
    told = judge(trace, trace.steps[0])
    assert told.nodes == pytest.approx(plain.nodes)
    assert told.notes == plain.notes
    assert told.reference == plain.reference
