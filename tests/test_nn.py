"""Modules hold parameters; layers call the ops with them."""

import math
from typing import Any

import numpy as np
import pytest

import oracles
import tinygrad_cv as tg
from tinygrad_cv import nn


def network() -> nn.Sequential:
    generator = np.random.default_rng(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, generator=generator),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5, generator=generator),
        nn.Linear(4 * 4, 3, generator=generator),
    )


class Tied(nn.Module):
    """Two layers that share one weight, and a child of children."""

    def __init__(self) -> None:
        self.first = nn.Linear(2, 2, bias=False)
        self.second = nn.Linear(2, 2)
        self.second.weight = self.first.weight
        self.rest = network()


def test_parameters_and_buffers_have_dotted_names() -> None:
    assert [name for name, _ in network().named_parameters()] == [
        *("0.weight", "0.bias", "1.weight", "1.bias", "6.weight", "6.bias"),
    ]
    assert [name for name, _ in network().named_buffers()] == [
        *("1.running_mean", "1.running_var", "1.num_batches_tracked"),
    ]
    names = [name for name, _ in Tied().named_parameters()]
    assert names[:2] == ["first.weight", "second.bias"]  # the shared one is listed once
    assert "rest.0.weight" in names


def test_layers_compute_what_their_ops_do() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 4, 5, 5)).astype("float32")
    conv = nn.Conv2d(4, 6, (3, 2), stride=2, padding=(1, 0), groups=2)
    w, b = conv.weight.detach().numpy(), conv.bias.detach().numpy()  # type: ignore[union-attr]
    expected = oracles.conv2d(x, w, (2, 2), (1, 0), (1, 1), 2) + b[:, None, None]
    np.testing.assert_allclose(conv(tg.tensor(x)).detach().numpy(), expected, atol=1e-5)
    back = nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2)
    expected = oracles.conv_transpose2d(x, back.weight.detach().numpy(), (2, 2), groups=2)
    expected = expected + back.bias.detach().numpy()[:, None, None]  # type: ignore[union-attr]
    np.testing.assert_allclose(back(tg.tensor(x)).detach().numpy(), expected, atol=1e-5)
    linear = nn.Linear(5, 3)
    y = linear(tg.tensor(x)).detach().numpy()
    assert y.shape == (2, 4, 5, 3)
    np.testing.assert_allclose(
        y, x @ linear.weight.detach().numpy().T + linear.bias.detach().numpy(), atol=1e-5
    )


def test_batch_norm_learns_running_statistics_and_uses_them() -> None:
    norm, rng = nn.BatchNorm2d(3, momentum=0.5), np.random.default_rng(0)
    batches = rng.normal(3.0, 2.0, (4, 8, 3, 2, 2))
    mean, var = np.zeros(3), np.ones(3)
    for batch in batches:
        norm(tg.tensor(batch))
        mean = oracles.running_update(mean, batch.mean((0, 2, 3)), 0.5, 32, False)
        var = oracles.running_update(var, batch.var((0, 2, 3)), 0.5, 32, True)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    np.testing.assert_allclose(norm.running_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(norm.running_var.numpy(), var, rtol=1e-5)
    norm.eval()
    before = norm.running_mean.numpy().copy()
    y = norm(tg.tensor(batches[0])).detach().numpy()
    expected = oracles.batch_norm_eval(batches[0], mean, var, None, None)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(norm.running_mean.numpy(), before)


def test_train_and_eval_reach_every_module() -> None:
    model = Tied()
    model.eval()
    assert not any(module.training for module in model.modules())
    x = tg.ones(2, 1, 4, 4)
    assert (model.rest(x) == model.rest(x)).all().item()  # no dropout
    assert all(module.training for module in model.train().modules())


def test_a_state_goes_into_another_model_of_the_same_kind() -> None:
    a, b = network(), network()
    a(tg.randn(8, 1, 4, 4))
    with tg.no_grad():
        for parameter in a.parameters():
            parameter += 1.0
    state = {name: value.numpy().copy() for name, value in a.state_dict().items()}
    b.load_state_dict(state)
    for name, value in b.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), state[name])
    x = tg.ones(2, 1, 4, 4)
    assert (a.eval()(x) == b.eval()(x)).all().item()


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
def test_a_state_that_does_not_fit_changes_nothing(change: str) -> None:
    model = network()
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    state: dict[str, Any] = {name: value + 1 for name, value in before.items()}
    if change == "missing":
        del state["6.bias"]
    elif change == "unexpected":
        state["7.weight"] = np.zeros(2)
    else:
        state["6.bias"] = np.zeros(5)
    with pytest.raises(ValueError, match=r"6\.bias|7\.weight"):
        model.load_state_dict(state)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


@pytest.mark.parametrize(
    ("fill", "low", "high", "std"),
    [
        (nn.init.xavier_uniform_, -math.sqrt(6 / 300), math.sqrt(6 / 300), math.sqrt(2 / 300)),
        (nn.init.xavier_normal_, None, None, math.sqrt(2 / 300)),
        (nn.init.kaiming_normal_, None, None, math.sqrt(2 / 200)),
        (nn.init.kaiming_uniform_, -math.sqrt(6 / 200), math.sqrt(6 / 200), math.sqrt(2 / 200)),
    ],
)
def test_initial_weights_have_the_variance_of_their_law(
    fill: Any, low: float | None, high: float | None, std: float
) -> None:
    w = fill(tg.zeros(100, 200), generator=np.random.default_rng(0)).numpy()
    assert abs(w.mean()) < 4 * std / math.sqrt(w.size)
    assert w.std() == pytest.approx(std, rel=0.02)
    if low is not None and high is not None:
        assert low <= w.min() < 0.99 * low
        assert 0.99 * high < w.max() <= high


FANS = {(120, 200): (200, 120), (64, 32, 3, 2): (192, 384), (40, 10, 5): (50, 200)}
"""Of weights (out, in, *window): the inputs to a unit, and the outputs of one."""


@pytest.mark.parametrize("shape", FANS)
@pytest.mark.parametrize("law", ["uniform", "normal"])
@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
@pytest.mark.parametrize(
    ("nonlinearity", "a", "gain"),
    [
        ("leaky_relu", 0.0, 2**0.5),
        ("leaky_relu", 1.0, 1.0),
        ("leaky_relu", 3.0, 0.2**0.5),
        ("relu", 3.0, 2**0.5),
        ("tanh", 0.0, 5 / 3),
        ("sigmoid", 0.0, 1.0),
        ("linear", 3.0, 1.0),
    ],
)
def test_kaiming_makes_up_for_the_nonlinearity(
    shape: tuple[int, ...], law: str, mode: str, nonlinearity: str, a: float, gain: float
) -> None:
    """Variance gain² / fan; of a leaky ReLU with the slope a, gain² = 2 / (1 + a²)."""
    fill = {"uniform": nn.init.kaiming_uniform_, "normal": nn.init.kaiming_normal_}[law]
    w = fill(tg.zeros(shape), a, mode, nonlinearity, np.random.default_rng(0)).numpy()
    fan = FANS[shape][mode == "fan_out"]
    assert w.std() == pytest.approx(gain / math.sqrt(fan), rel=0.05)
    assert nn.init.calculate_gain(nonlinearity, a) == pytest.approx(gain)


@pytest.mark.parametrize("shape", FANS)
@pytest.mark.parametrize("fill", [nn.init.xavier_uniform_, nn.init.xavier_normal_])
def test_xavier_counts_the_window_in_both_fans(shape: tuple[int, ...], fill: Any) -> None:
    w = fill(tg.zeros(shape), 3.0, np.random.default_rng(0)).numpy()
    assert w.std() == pytest.approx(3 * math.sqrt(2 / sum(FANS[shape])), rel=0.05)


def test_the_gain_of_a_leaky_relu_has_a_slope_by_default() -> None:
    assert nn.init.calculate_gain("leaky_relu") == pytest.approx(math.sqrt(2 / 1.0001), rel=1e-12)


def test_the_same_generator_seed_gives_the_same_model() -> None:
    a, b = network(), network()
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        assert (p == q).all().item()


def test_a_sequential_is_a_sequence() -> None:
    model = network()
    assert len(model) == 7
    assert isinstance(model[1], nn.BatchNorm2d)
    assert [type(m).__name__ for m in model[2:4]] == ["ReLU", "MaxPool2d"]
    assert repr(model[6]) == "Linear(in_features=16, out_features=3, bias=True)"
