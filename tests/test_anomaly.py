"""`detect_anomaly`: the op, the layer, the line and the place where NaN and infinity arise."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv import autograd, nn, optim, train, viz

INF = float("inf")


class Log(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.log()  # the logarithm


def caught(program: Callable[[], object]) -> Any:
    """The anomaly that a program ends with."""
    with pytest.raises(RuntimeError) as error, autograd.detect_anomaly():
        program()
    assert str(error.value).startswith(error.value.anomaly.op)  # type: ignore[attr-defined]
    return error.value.anomaly  # type: ignore[attr-defined]


def test_a_forward_names_op_layer_line_place_and_what_went_in() -> None:
    model = nn.Sequential(nn.Identity(), nn.Sequential(nn.ReLU6(), Log()))
    model[1][0] = nn.Identity()
    x = tg.ones(5, 2)
    x[3, 1] = -2
    with autograd.detect_anomaly(), pytest.raises(RuntimeError) as error:
        model(x)
    text = str(error.value)
    assert text.startswith("log gave NaN, first at [3, 1], where it got x = -2 (1.1 (Log), ")
    assert "test_anomaly.py:" in text
    assert "return x.log()  # the logarithm" in text
    assert error.value.tinygrad_cv.op.name == "log"  # type: ignore[attr-defined]
    with autograd.detect_anomaly(check_nan=False):
        model(x)


@given(rows=st.integers(1, 4), columns=st.integers(1, 4), data=st.data())
def test_the_place_is_the_first_one_whatever_is_broadcast(
    rows: int, columns: int, data: st.DataObject
) -> None:
    bad = data.draw(st.integers(0, rows * columns - 1))
    shape = data.draw(st.sampled_from([(rows, columns), (columns,), (1, columns), ()]))
    dtype = data.draw(st.sampled_from([tg.float16, tg.float32, tg.float64]))
    x = tg.ones(rows, columns, dtype=dtype)
    x.view(-1)[bad:] = -3.0
    anomaly = caught(lambda: (x + tg.zeros(*shape, dtype=dtype)).pow(0.5))
    assert anomaly.index == divmod(bad, columns)
    assert (anomaly.op, anomaly.value, anomaly.during) == ("pow", "NaN", "forward")
    assert anomaly.got.startswith("x = -3")


def test_infinity_is_named_where_it_arose_and_not_where_it_was_noticed() -> None:
    def overflows() -> None:
        y = tg.tensor([1.0, 200.0]).exp()
        (y.reshape(2, 1) * 2).sub(y.reshape(2, 1) * 3)

    anomaly = caught(overflows)
    assert (anomaly.op, anomaly.index, anomaly.value, anomaly.got) == (
        "exp",
        (1,),
        "inf",
        "x = 200",
    )

    def loss_is_infinite() -> None:
        x = tg.tensor([1.0, 200.0], requires_grad=True)
        x.exp().mean().backward()

    assert caught(loss_is_infinite).op == "exp"

    def forward_is_to_blame_in_a_backward_pass() -> None:
        x = tg.tensor([0.0, 2.0], requires_grad=True)
        (x.log() * tg.tensor([0.0, 1.0])[:1]).sum().backward()

    anomaly = caught(forward_is_to_blame_in_a_backward_pass)
    assert (anomaly.op, anomaly.index, anomaly.got) == ("log", (0,), "x = 0")


def test_a_backward_pass_names_what_its_rule_had() -> None:
    x = tg.tensor([4.0, 0.0], requires_grad=True)
    anomaly = caught(lambda: (x.sqrt() * tg.tensor([1.0, 0.0])).sum().backward())
    assert anomaly.op == "the backward of sqrt of shape (2,)"
    assert (anomaly.index, anomaly.during) == ((1,), "backward")
    assert anomaly.got == "the gradient = 0 and y = 0"

    def infinite_then_nan() -> None:  # sqrt'(0) is infinite, and the next rule makes it NaN
        (x * tg.tensor([1.0, 0.0])).sqrt().sum().backward()

    assert caught(infinite_then_nan).op == "the backward of sqrt of shape (2,)"
    with autograd.detect_anomaly():  # infinite alone is no error, as a step may be left out
        x.sqrt().sum().backward()
    assert math.isinf(x.grad[1].item())


def test_nan_in_the_data_is_told_when_the_loss_has_it() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    x = tg.ones(4, 3)
    x[2, 1] = float("nan")
    with autograd.detect_anomaly():
        assert tg.nan_to_num(x).isfinite().all()
        model(x)  # nothing says that it is wrong
    anomaly = caught(lambda: model(x).sum().backward())
    assert (anomaly.op, anomaly.index) == ("linear", (2, 1))
    assert anomaly.got == "x = NaN at [2, 1], which was there before"
    assert anomaly.layer == "0 (Linear)"


def test_an_infinite_number_that_was_there_before_is_told_with_the_loss() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Flatten())
    with tg.no_grad():
        model[0].weight[1, 2] = -INF
    anomaly = caught(lambda: (model(tg.ones(4, 3)) * 2).mean().backward())
    assert (anomaly.op, anomaly.index, anomaly.layer) == ("linear", (1, 2), "0 (Linear)")
    assert anomaly.got == "w = -inf at [1, 2], which was there before"
    mask = tg.zeros(3, 3).masked_fill(tg.ones(3, 3).triu(1).bool(), -INF)
    with autograd.detect_anomaly():
        (tg.randn(3, 3).requires_grad_() + mask).softmax(dim=1).square().mean().backward()


@pytest.mark.parametrize("compiled", [False, True])
def test_an_update_names_the_parameter(compiled: bool) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    descent = optim.SGD(model.parameters(), lr=0.0)

    def step(x: Any) -> None:
        descent.zero_grad()
        (model(x) * 1000).sum().backward()
        descent.step()

    if compiled:
        if str(tg.get_default_device()) != "cpu":
            return
        step = tg.compile(step)  # type: ignore[assignment]
        step(tg.ones(1, 2))
    descent.param_groups[0]["lr"] = 1e38
    anomaly = caught(lambda: step(tg.ones(1, 2)))
    assert anomaly.during == "update"
    assert anomaly.op == "the step of SGD"
    assert anomaly.layer in ("0.weight", "1.bias", "1.weight", "0.bias")

    x = tg.tensor([0.0, 1.0], requires_grad=True)

    def gradient_was_infinite() -> None:
        x.sqrt().sum().backward()
        optim.Adam([x]).step()

    assert caught(gradient_was_infinite).op == "the backward of sqrt of shape (2,)"


def test_what_is_healthy_passes() -> None:
    tg.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    attention = nn.MultiheadAttention(4, 2, batch_first=True)
    descent = optim.Adam([*model.parameters(), *attention.parameters()])
    with autograd.detect_anomaly():
        for _ in range(2):
            x = model(tg.randn(2, 1, 4, 4)).reshape(2, 4, 4)
            mask = tg.zeros(4, 4).masked_fill(tg.ones(4, 4).triu(1).bool(), -INF)
            y, _ = attention(x, x, x, attn_mask=mask)
            zeros = (y.detach() < 0).float().log()  # of zeros: a mask, too
            loss = (y + zeros).logsumexp(-1).clamp(min=-5).mean() + tg.where(y > 0, y, -INF).max()
            descent.zero_grad()
            loss.backward()
            descent.step()
        tg.full((2,), INF).isinf().all()


@pytest.mark.host
def test_a_replay_looks_at_all_and_what_is_recorded_without_looks_does_not() -> None:
    model = nn.Sequential(nn.Identity(), Log())
    compiled = tg.compile(lambda x: model(x) * 0)
    bad = tg.tensor([1.0, -1.0])
    compiled(tg.ones(2))
    compiled(bad)
    with autograd.detect_anomaly(check_nan=False):
        compiled(bad)
    with autograd.detect_anomaly():
        compiled(tg.ones(2))
        compiled(tg.ones(2))
    for _ in range(2):
        anomaly = caught(lambda: compiled(bad))
        assert (anomaly.op, anomaly.index, anomaly.layer) == ("log", (1,), "1 (Log)")
    compiled(bad)

    def inf_minus_inf(x: Any) -> Any:
        y = x.exp()
        return y - y

    again = tg.compile(inf_minus_inf)
    with autograd.detect_anomaly():
        again(tg.ones(2))
    assert caught(lambda: again(tg.tensor([1.0, 1000.0]))).op == "exp"
    with autograd.detect_anomaly():  # what an earlier replay met is forgotten
        again(tg.ones(2))


def test_nothing_is_held() -> None:
    """What was infinite is known as long as it lives."""
    with autograd.detect_anomaly():
        eye = tg._graph.observer.get()  # type: ignore[attr-defined]
        for _ in range(3):
            tg.tensor([0.0]).log()
        assert len(eye.values) == 0


@pytest.mark.host
@pytest.mark.parametrize("compiled", [False, True])
def test_a_fit_says_where_its_loss_was_lost(compiled: bool) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    x = tg.randn(6, 2)
    x[4, 1] = float("nan")
    trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.1), compile=compiled)
    anomaly = caught(lambda: trainer.fit([(x, tg.tensor([0, 1] * 3))]))
    assert (anomaly.op, anomaly.index, anomaly.layer) == ("linear", (4, 1), "0 (Linear)")


@pytest.mark.host
def test_steps_that_are_watched_are_looked_at_too() -> None:
    model = nn.Sequential(nn.Linear(2, 3), Log())
    watch = viz.watch(model, every=1)

    def step() -> None:
        with watch.step():
            model(tg.zeros(1, 2) - 5).sum().backward()

    nn.init.constant_(model[0].weight, 1.0)
    anomaly = caught(step)
    assert (anomaly.op, anomaly.layer) == ("log", "1 (Log)")
    with autograd.detect_anomaly(), watch.step():
        (model[0](tg.ones(1, 2)) ** 2).sum().backward()
        optim.SGD(model.parameters(), lr=0.1).step()
    assert len(watch.trace.steps) == 1
