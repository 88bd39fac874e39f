"""Schedules: their formulas, and the same rates after a stop; averages of weights."""

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import tinygrad_cv as tg
from tinygrad_cv import nn, optim
from tinygrad_cv.optim import lr_scheduler as s
from tinygrad_cv.optim import swa_utils

pytestmark = pytest.mark.host  # rates are Python's numbers

LR = (0.4, 0.03)


def made(make: Callable[[Any], Any], lr: Any = LR) -> tuple[optim.Optimizer, Any]:
    groups = [{"params": [tg.ones(1, requires_grad=True)], "lr": rate} for rate in lr]
    optimizer = optim.SGD(groups, momentum=0.9)
    return optimizer, make(optimizer)


def state_of(optimizer: optim.Optimizer) -> list[float]:
    return [float(group[k]) for group in optimizer.param_groups for k in ("lr", "momentum")]


def advance(optimizer: optim.Optimizer, schedule: Any, steps: int) -> list[list[float]]:
    path = []
    for _ in range(steps):
        path.append(state_of(optimizer))
        optimizer.step()
        schedule.step()
    return path


# ----- formulas ----------------------------------------------------------------------------------

count = st.integers(1, 12)
share = st.floats(0.05, 1)

FORMULAS: dict[str, tuple[Callable[..., Any], Callable[..., float]]] = {
    "LambdaLR": (
        lambda o, n, a: s.LambdaLR(o, lambda t: a / (n + t)),
        lambda t, n, a: a / (n + t),
    ),
    "MultiplicativeLR": (
        lambda o, n, a: s.MultiplicativeLR(o, lambda t: a),
        lambda t, n, a: a**t,
    ),
    "StepLR": (lambda o, n, a: s.StepLR(o, n, a), lambda t, n, a: a ** (t // n)),
    "MultiStepLR": (
        lambda o, n, a: s.MultiStepLR(o, [n, 2 * n, 2 * n], a),
        lambda t, n, a: a ** ((t >= n) + 2 * (t >= 2 * n)),
    ),
    "ConstantLR": (lambda o, n, a: s.ConstantLR(o, a, n), lambda t, n, a: a if t < n else 1),
    "LinearLR": (
        lambda o, n, a: s.LinearLR(o, a, 0.5, n),
        lambda t, n, a: a + (0.5 - a) * min(t / n, 1),
    ),
    "ExponentialLR": (lambda o, n, a: s.ExponentialLR(o, a), lambda t, n, a: a**t),
    "PolynomialLR": (
        lambda o, n, a: s.PolynomialLR(o, n, a),
        lambda t, n, a: max(0, 1 - t / n) ** a,
    ),
    "1/(1 + kt)": (lambda o, n, a: s.InverseTimeLR(o, a), lambda t, n, a: 1 / (1 + a * t)),
    "CosineAnnealingLR": (
        lambda o, n, a: s.CosineAnnealingLR(o, n),
        lambda t, n, a: (1 + math.cos(math.pi * t / n)) / 2,
    ),
    "warm restarts": (
        lambda o, n, a: s.CosineAnnealingWarmRestarts(o, n),
        lambda t, n, a: (1 + math.cos(math.pi * (t % n) / n)) / 2,
    ),
    "SWALR": (
        lambda o, n, a: swa_utils.SWALR(o, [a * lr for lr in LR], n, "linear"),
        lambda t, n, a: 1 + (a - 1) * min(1, t / n),
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
@given(n=count, a=share)
def test_the_rates_follow_the_formula(name: str, n: int, a: float) -> None:
    make, formula = FORMULAS[name]
    optimizer, schedule = made(lambda o: make(o, n, a))
    for t, rates in enumerate(advance(optimizer, schedule, 30)):
        expected = [lr * formula(t, n, a) for lr in LR]
        assert_allclose(rates[::2], expected, rtol=1e-9, atol=1e-9)


@given(n=count, a=share, chained=st.booleans())
def test_the_momentum_follows_its_function(n: int, a: float, chained: bool) -> None:
    """Of each group its own; the rates are left to another schedule, and so is the order."""
    each = [lambda t: 1 - a / (1 + t), lambda t: a / (n + t)]

    def make(optimizer: Any) -> Any:
        both = [s.LambdaMomentum(optimizer, each), s.StepLR(optimizer, n, 0.5)]
        return s.ChainedScheduler(both) if chained else both[0]

    optimizer, schedule = made(make)
    for t, state in enumerate(advance(optimizer, schedule, 20)):
        assert state[1::2] == [each[0](t), each[1](t)]
        rate = 0.5 ** (t // n) if chained else 1.0
        assert_allclose(state[::2], [lr * rate for lr in LR], rtol=1e-12)


def test_an_annealed_momentum_is_that_of_the_velocity_and_of_beta1() -> None:
    """v = mu v - lr dx with mu .5, then .9; and Adam's first beta, in a compiled step too."""
    mu = [0.5, 0.9, 0.99]
    w = tg.tensor([1.0], dtype="float64", requires_grad=True)
    optimizer = optim.SGD([w], 0.1, momentum=0.5)
    schedule = s.LambdaMomentum(optimizer, lambda t: mu[min(t, 2)])
    x, v = 1.0, 0.0
    for t in range(3):
        w.grad = 2 * w.detach()
        optimizer.step()
        schedule.step()
        v = mu[t] * v - 0.1 * 2 * x
        x += v
    assert w.item() == pytest.approx(x, rel=1e-12)
    compared = []
    for wrap in (lambda f: f, tg.compile):
        w = tg.tensor([1.0], dtype="float64", requires_grad=True)
        adam = optim.Adam([w], 0.1)
        schedule = s.LambdaMomentum(adam, lambda t: mu[min(t, 2)])

        @wrap
        def step() -> None:
            adam.zero_grad()  # noqa: B023  called in this turn
            (w**2).sum().backward()  # noqa: B023
            adam.step()  # noqa: B023

        for _ in range(4):
            step()
            schedule.step()
        assert adam.param_groups[0]["betas"] == (0.99, 0.999)
        compared.append(w.item())
    assert compared[0] == pytest.approx(compared[1], rel=1e-12)


def test_a_momentum_may_begin_at_nothing() -> None:
    """v is 0 until there is a momentum, and what it was when there is one again."""
    mu = [0.0, 0.0, 0.5, 0.0, 0.9]
    for wrap in (lambda f: f, tg.compile):
        w = tg.tensor([1.0], dtype="float64", requires_grad=True)
        optimizer = optim.RMSprop([w], 0.1, alpha=0.5)
        schedule = s.LambdaMomentum(optimizer, lambda t: mu[min(t, 4)])

        @wrap
        def step() -> None:
            optimizer.zero_grad()  # noqa: B023  called in this turn
            (w**2).sum().backward()  # noqa: B023
            optimizer.step()  # noqa: B023

        x, mean, v = 1.0, 0.0, 0.0
        for t in range(5):
            step()
            schedule.step()
            mean = 0.5 * mean + 0.5 * (2 * x) ** 2
            d = 2 * x / (mean**0.5 + 1e-8)
            v = mu[t] * v + d if mu[t] else v
            x -= 0.1 * (v if mu[t] else d)
        assert w.item() == pytest.approx(x, rel=1e-12)


def test_what_the_lectures_say() -> None:
    for make, steps, rate in (
        (lambda o: s.ExponentialLR(o, 0.97), 10, 0.7374),
        (lambda o: s.PolynomialLR(o, 10, 0.5), 5, 0.7071),
        (lambda o: s.StepLR(o, 1, 0.5), 3, 0.125),
        (lambda o: s.InverseTimeLR(o, 1.0), 3, 0.25),
        (lambda o: s.StepLR(o, 50_000, 0.1), 3, 1.0),
        (lambda o: s.ExponentialLR(o, math.exp(-1)), 3, math.exp(-3)),
    ):
        optimizer, schedule = made(make, [1.0])
        advance(optimizer, schedule, steps)
        assert schedule.get_last_lr() == [pytest.approx(rate, abs=5e-5)]


def test_cycles() -> None:
    optimizer, schedule = made(lambda o: s.CyclicLR(o, 1.0, 3.0, 2, 4, mode="triangular2"))
    rates, momenta = zip(*(path[:2] for path in advance(optimizer, schedule, 13)), strict=True)
    assert_allclose(rates, [1, 2, 3, 2.5, 2, 1.5, 1, 1.5, 2, 1.75, 1.5, 1.25, 1])
    assert_allclose(momenta, 0.9 - 0.05 * (np.array(rates) - 1))
    adam = optim.Adam([tg.ones(1, requires_grad=True)])
    cycle = s.OneCycleLR(adam, 1.0, 11, pct_start=0.5, anneal_strategy="linear")
    path = []
    for _ in range(11):
        path.append((adam.param_groups[0]["lr"], adam.param_groups[0]["betas"]))
        adam.step()
        if len(path) < 11:
            cycle.step()
    top = int(np.argmax([lr for lr, _ in path]))
    assert 4 <= top <= 5
    assert path[0] == (pytest.approx(1 / 25), (0.95, 0.999))
    assert path[-1] == (pytest.approx(1 / 25 / 1e4), (pytest.approx(0.95), 0.999))
    assert min(betas[0] for _, betas in path) == pytest.approx(0.85, abs=0.02)
    cycle.step()
    with pytest.raises(ValueError, match="made for 11 steps, and this is step 13"):
        cycle.step()


# ----- a stop in between -------------------------------------------------------------------------

SCHEDULES = st.one_of(
    st.tuples(st.sampled_from(sorted(FORMULAS)), count, share).map(
        lambda c: lambda o: FORMULAS[c[0]][0](o, *c[1:])
    ),
    st.tuples(count, count, st.sampled_from(["triangular", "triangular2", "exp_range"])).map(
        lambda c: lambda o: s.CyclicLR(o, 0.1, [0.5, 0.7], c[0], c[1], mode=c[2], gamma=0.9)
    ),
    st.tuples(st.booleans(), st.sampled_from(["cos", "linear"])).map(
        lambda c: lambda o: s.OneCycleLR(o, 0.5, 60, three_phase=c[0], anneal_strategy=c[1])
    ),
)
PARTS = st.lists(SCHEDULES, min_size=1, max_size=3)
ANY = st.one_of(
    SCHEDULES,
    PARTS.map(lambda parts: lambda o: s.ChainedScheduler([make(o) for make in parts])),
    PARTS.map(
        lambda parts: (
            lambda o: s.SequentialLR(o, [make(o) for make in parts], [4, 9][: len(parts) - 1])
        )
    ),
)


@given(make=ANY, stop=st.integers(0, 20), other_lr=st.sampled_from([LR, (1.0, 1.0)]))
def test_a_run_that_was_stopped_goes_on_with_the_same_rates(
    make: Callable[[Any], Any], stop: int, other_lr: tuple[float, float]
) -> None:
    """Also where the new optimizer was made with other rates: the state has those that count."""
    expected = advance(*made(make), 40)
    optimizer, schedule = made(make)
    path = advance(optimizer, schedule, stop)
    states = copy.deepcopy((optimizer.state_dict(), schedule.state_dict()))
    optimizer, schedule = made(make, other_lr)
    optimizer.load_state_dict(states[0])
    schedule.load_state_dict(states[1])
    assert schedule.get_last_lr() == [group["lr"] for group in optimizer.param_groups]
    assert path + advance(optimizer, schedule, 40 - stop) == expected


def test_a_schedule_that_takes_over_at_once() -> None:
    def make(o: Any) -> Any:
        return s.SequentialLR(o, [s.ConstantLR(o, 0.5, 9), s.ExponentialLR(o, 0.5)], [0])

    optimizer, schedule = made(make, [1.0])
    assert schedule.get_last_lr() == [1.0]
    assert [rates[0] for rates in advance(optimizer, schedule, 3)] == [1.0, 0.5, 0.25]


def test_what_chained_schedules_leave_below_zero_is_resumed() -> None:
    """A cosine around eta_min, of a rate that another schedule has made small, dips below 0."""

    def make(o: Any) -> Any:
        return s.ChainedScheduler([s.ExponentialLR(o, 0.5), s.CosineAnnealingLR(o, 4, 0.1)])

    optimizer, schedule = made(make)
    advance(optimizer, schedule, 8)
    assert optimizer.param_groups[0]["lr"] < 0
    other, _ = made(make)
    other.load_state_dict(optimizer.state_dict())
    assert other.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]


WITH_LAST_EPOCH: dict[str, Callable[..., Any]] = {
    "LambdaLR": lambda o, n, a, e: s.LambdaLR(o, lambda t: a / (n + t), e),
    "MultiplicativeLR": lambda o, n, a, e: s.MultiplicativeLR(o, lambda t: a, e),
    "StepLR": lambda o, n, a, e: s.StepLR(o, n, a, e),
    "MultiStepLR": lambda o, n, a, e: s.MultiStepLR(o, [n, 2 * n, 2 * n], a, e),
    "ConstantLR": lambda o, n, a, e: s.ConstantLR(o, a, n, e),
    "LinearLR": lambda o, n, a, e: s.LinearLR(o, a, 0.5, n, e),
    "ExponentialLR": lambda o, n, a, e: s.ExponentialLR(o, a, e),
    "PolynomialLR": lambda o, n, a, e: s.PolynomialLR(o, n, a, e),
    "1/(1 + kt)": lambda o, n, a, e: s.InverseTimeLR(o, a, e),
    "CosineAnnealingLR": lambda o, n, a, e: s.CosineAnnealingLR(o, n, last_epoch=e),
    "warm restarts": lambda o, n, a, e: s.CosineAnnealingWarmRestarts(o, n, 2, last_epoch=e),
    "LambdaMomentum": lambda o, n, a, e: s.LambdaMomentum(o, lambda t: a / (n + t), e),
    "CyclicLR": lambda o, n, a, e: s.CyclicLR(o, 0.1, a, n, last_epoch=e),
    "OneCycleLR": lambda o, n, a, e: s.OneCycleLR(o, a, 60, last_epoch=e),
}


@given(name=st.sampled_from(sorted(WITH_LAST_EPOCH)), n=count, a=share, stop=st.integers(1, 20))
def test_a_schedule_made_anew_goes_on_after_its_last_epoch(
    name: str, n: int, a: float, stop: int
) -> None:
    make = WITH_LAST_EPOCH[name]
    expected = advance(*made(lambda o: make(o, n, a, -1)), 30)
    optimizer, schedule = made(lambda o: make(o, n, a, -1))
    path = advance(optimizer, schedule, stop)
    schedule = make(optimizer, n, a, schedule.last_epoch - 1)
    assert_allclose(path + advance(optimizer, schedule, 30 - stop), expected, rtol=1e-12)


def test_a_state_goes_through_a_file(tmp_path: Any) -> None:
    optimizer, schedule = made(lambda o: s.MultiStepLR(o, [2, 5], 0.5))
    advance(optimizer, schedule, 3)
    tg.save([optimizer.state_dict(), schedule.state_dict()], tmp_path / "run")
    expected = advance(optimizer, schedule, 6)
    optimizer, schedule = made(lambda o: s.MultiStepLR(o, [2, 5], 0.5))
    first, second = tg.load(tmp_path / "run")
    optimizer.load_state_dict(first)
    schedule.load_state_dict(second)
    assert advance(optimizer, schedule, 6) == expected


class Factor:
    """A function with a memory, which goes into the state."""

    def __init__(self, base: float) -> None:
        self.base, self.calls = base, 0

    def __call__(self, t: int) -> float:
        self.calls += 1
        return float(self.base**t)


def test_a_function_that_is_an_object_is_remembered() -> None:
    optimizer, schedule = made(lambda o: s.LambdaLR(o, [Factor(0.5), lambda t: 1.0]))
    advance(optimizer, schedule, 3)
    state = schedule.state_dict()
    assert state["lr_lambdas"] == [{"base": 0.5, "calls": 4}, None]
    optimizer, schedule = made(lambda o: s.LambdaLR(o, [Factor(0.1), lambda t: 1.0]))
    schedule.load_state_dict(state)
    optimizer.step()
    schedule.step()
    assert schedule.get_last_lr()[0] == LR[0] * 0.5**4


# ----- on results --------------------------------------------------------------------------------


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=40),
    st.integers(0, 3),
    st.integers(0, 3),
    st.booleans(),
)
def test_a_plateau(losses: list[int], patience: int, cooldown: int, highest: bool) -> None:
    """Against the rule in words: more than `patience` epochs in a row without a new best."""
    mode = "max" if highest else "min"
    optimizer, schedule = made(
        lambda o: s.ReduceLROnPlateau(
            o, mode, 0.5, patience, 0.0, "abs", cooldown, min_lr=[0.02, 0.0], eps=0
        )
    )
    rate, best, bad, rest = LR[0], None, 0, 0
    for loss in losses:
        score = loss if highest else -loss
        if best is None or score > best:
            best, bad = score, 0
        else:
            bad += 1
        if rest:
            rest, bad = rest - 1, 0
        if bad > patience:
            rate, bad, rest = max(rate / 2, 0.02), 0, cooldown
        schedule.step(tg.tensor(float(loss)))
        assert optimizer.param_groups[0]["lr"] == pytest.approx(rate)
        assert schedule.get_last_lr()[0] == pytest.approx(rate)


def test_a_plateau_by_a_share_of_the_best() -> None:
    optimizer, schedule = made(lambda o: s.ReduceLROnPlateau(o, patience=0, threshold=0.1))
    for loss in (10.0, 8.9, 7.0):
        schedule.step(loss)
    assert optimizer.param_groups[0]["lr"] == LR[0]
    schedule.step(6.5)  # not a tenth better
    assert optimizer.param_groups[0]["lr"] == pytest.approx(LR[0] / 10)


# ----- use ---------------------------------------------------------------------------------------


def test_a_step_before_the_optimizers_warns_once() -> None:
    _, schedule = made(lambda o: s.StepLR(o, 2))
    with pytest.warns(UserWarning, match=r"called before optimizer.step\(\)"):
        schedule.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule.step()


def test_a_rate_that_is_a_tensor_stays_that_tensor() -> None:
    lr = tg.tensor(0.4)
    optimizer = optim.SGD([tg.ones(1, requires_grad=True)], lr=lr)
    schedule = s.ExponentialLR(optimizer, 0.5)
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] is lr
    assert lr.item() == pytest.approx(0.2)
    assert schedule.base_lrs[0].item() == pytest.approx(0.4)


class Warmup(s._LRScheduler):
    """As programs write their own, with the older name of the base and its formula of the epoch."""

    def __init__(self, optimizer: Any, total: int, last_epoch: int = -1) -> None:
        self.total = total
        super().__init__(optimizer, last_epoch, False)

    def get_lr(self) -> list[float]:
        if not self._get_lr_called_within_step:
            warnings.warn("use get_last_lr()", UserWarning, stacklevel=2)
        return [base * self.last_epoch / self.total for base in self.base_lrs]


def test_schedules_of_programs() -> None:
    optimizer, schedule = made(lambda o: Warmup(o, 4), [1.0])
    assert [rates[0] for rates in advance(optimizer, schedule, 5)] == [0, 0.25, 0.5, 0.75, 1]
    assert schedule.state_dict()["total"] == 4
    with pytest.warns(UserWarning, match="get_last_lr"):
        assert schedule.get_lr() == schedule.get_last_lr()
    assert isinstance(schedule, s.LRScheduler)
    with pytest.raises(NotImplementedError, match="no get_lr"):
        made(s.LRScheduler)


WRONG: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (lambda o: s.StepLR(tg.ones(1), 2), TypeError, "of an optimizer; got a Tensor"),  # type: ignore[arg-type]
    (lambda o: s.StepLR(o, 2, last_epoch=3), KeyError, "initial_lr"),
    (lambda o: s.LambdaLR(o, 0.5), TypeError, "a function"),  # type: ignore[arg-type]
    (lambda o: s.LambdaLR(o, [lambda t: 1.0] * 3), ValueError, "expected 2 values"),
    (lambda o: s.ConstantLR(o, 2.0), ValueError, "between 0 and 1"),
    (lambda o: s.LinearLR(o, 0.0), ValueError, "start_factor"),
    (lambda o: s.LinearLR(o, 0.5, 1.5), ValueError, "end_factor"),
    (lambda o: s.CosineAnnealingWarmRestarts(o, 0), ValueError, "T_0"),
    (lambda o: s.CosineAnnealingWarmRestarts(o, 1, 0), ValueError, "T_mult"),
    (lambda o: s.CyclicLR(o, 0.1, 1.0, mode="x"), ValueError, "mode is"),
    (lambda o: s.OneCycleLR(o, 1.0), ValueError, "needs total_steps"),
    (lambda o: s.OneCycleLR(o, 1.0, 0), ValueError, "1 or more"),
    (lambda o: s.OneCycleLR(o, 1.0, 5, pct_start=2.0), ValueError, "pct_start"),
    (lambda o: s.OneCycleLR(o, 1.0, 5, anneal_strategy="x"), ValueError, "'cos' or 'linear'"),
    (lambda o: s.ReduceLROnPlateau(o, factor=1.0), ValueError, "below 1"),
    (lambda o: s.ReduceLROnPlateau(o, "x"), ValueError, "mode is"),
    (lambda o: s.ReduceLROnPlateau(o, threshold_mode="x"), ValueError, "threshold_mode is"),
    (lambda o: s.SequentialLR(o, [], []), ValueError, "at least one"),
    (lambda o: s.SequentialLR(o, [s.StepLR(o, 1)], [3]), ValueError, "need 0 milestones"),
    (lambda o: s.ChainedScheduler([3]), TypeError, "no schedule"),  # type: ignore[list-item]
    (lambda o: s.ChainedScheduler([s.ReduceLROnPlateau(o)]), ValueError, "no measure"),
    (
        lambda o: s.ChainedScheduler([s.StepLR(o, 1), s.StepLR(made(lambda x: x)[0], 1)]),
        ValueError,
        "of another optimizer",
    ),
    (lambda o: s.InverseTimeLR(o, -1.0), ValueError, "0 or more"),
    (lambda o: swa_utils.SWALR(o, 0.1, -1), ValueError, "anneal_epochs"),
    (lambda o: swa_utils.SWALR(o, 0.1, 1, "x"), ValueError, "'cos' or 'linear'"),
    (lambda o: swa_utils.SWALR(o, [0.1]), ValueError, "expected 2 values"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_makes_no_sense(number: int) -> None:
    make, error, words = WRONG[number]
    with pytest.raises(error, match=words):
        made(make)


def test_a_group_that_came_later() -> None:
    """A schedule that goes on from the rates there are takes it along; others say what to do."""
    kinds: dict[str, Callable[[Any], Any]] = {
        "StepLR": lambda o: s.StepLR(o, 1, 0.5),
        "LambdaLR": lambda o: s.LambdaLR(o, lambda t: 0.5),
        "CosineAnnealingWarmRestarts": lambda o: s.CosineAnnealingWarmRestarts(o, 5),
        "CyclicLR": lambda o: s.CyclicLR(o, 0.1, 1.0),
        "OneCycleLR": lambda o: s.OneCycleLR(o, 1.0, 9),
        "LambdaMomentum": lambda o: s.LambdaMomentum(o, lambda t: 0.5),
    }
    for name, make in kinds.items():
        optimizer, schedule = made(make)
        optimizer.add_param_group({"params": tg.ones(1, requires_grad=True), "lr": 1.0})
        optimizer.step()
        if name == "StepLR":
            schedule.step()
            assert schedule.get_last_lr() == [0.2, 0.015, 0.5]
            continue
        with pytest.raises(ValueError, match=f"{name} was made for 2 groups .* has 3 by now"):
            schedule.step()


def test_a_cycle_needs_a_momentum() -> None:
    plain = optim.Adagrad([tg.ones(1, requires_grad=True)])
    for make in (lambda: s.CyclicLR(plain, 0.1, 1.0), lambda: s.OneCycleLR(plain, 1.0, 5)):
        with pytest.raises(ValueError, match="cycle_momentum=False"):
            make()
    with pytest.raises(ValueError, match=r"Adagrad has none\.$"):
        s.LambdaMomentum(plain, lambda t: 0.5)


# ----- averages ----------------------------------------------------------------------------------


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


AVERAGES: dict[str, tuple[dict[str, Any], Callable[[list[Any]], Any]]] = {
    "mean": ({}, lambda xs: np.mean(xs, axis=0)),
    "mean, by itself": ({"avg_fn": swa_utils.get_swa_avg_fn()}, lambda xs: np.mean(xs, axis=0)),
    "mean, of a program": (
        {"avg_fn": lambda mean, value, n: mean + (value - mean) / (n.float() + 1)},
        lambda xs: np.mean(xs, axis=0),
    ),
    "mean, many": ({"multi_avg_fn": swa_utils.get_swa_multi_avg_fn()}, lambda xs: np.mean(xs, 0)),
    "moving": (
        {"avg_fn": swa_utils.get_ema_avg_fn(0.9)},
        lambda xs: 0.81 * xs[0] + 0.09 * xs[1] + 0.1 * xs[2],
    ),
    "moving, many": (
        {"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.9)},
        lambda xs: 0.81 * xs[0] + 0.09 * xs[1] + 0.1 * xs[2],
    ),
}


@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize("name", AVERAGES)
def test_averages_of_weights(name: str, use_buffers: bool) -> None:
    options, average = AVERAGES[name]
    model = net()
    averaged = swa_utils.AveragedModel(model, use_buffers=use_buffers, **options)
    weights, means = [], []
    for i in range(3):
        with tg.no_grad():
            for p in model.parameters():
                p.normal_()
            model(tg.randn(5, 2))
            model[1].running_mean.fill_(float(i))  # type: ignore[index]
        weights.append(model[0].weight.detach().numpy().copy())  # type: ignore[index]
        means.append(model[1].running_mean.numpy().copy())  # type: ignore[index]
        averaged.update_parameters(model)
    assert_allclose(averaged.module[0].weight.detach().numpy(), average(weights), rtol=1e-5)
    expected = average(means) if use_buffers else means[-1]
    assert_allclose(averaged.module[1].running_mean.numpy(), expected, rtol=1e-5)
    assert int(averaged.n_averaged) == 3
    assert "n_averaged" in averaged.state_dict()
    assert averaged(tg.ones(4, 2)).shape == (4, 3)
    assert model[0].weight is not averaged.module[0].weight  # type: ignore[index]


def test_what_averages_refuse() -> None:
    one = swa_utils.get_swa_avg_fn()
    with pytest.raises(ValueError, match="not both"):
        swa_utils.AveragedModel(net(), avg_fn=one, multi_avg_fn=swa_utils.get_swa_multi_avg_fn())
    for make in (swa_utils.get_ema_avg_fn, swa_utils.get_ema_multi_avg_fn):
        with pytest.raises(ValueError, match="between 0 and 1"):
            make(1.5)


def test_the_statistics_of_batch_norm_are_worked_out_anew() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.0), nn.BatchNorm1d(2))
    model.eval()
    model[0].train()
    modes = [module.training for module in model.modules()]
    batches = [np.random.default_rng(i).standard_normal((6, 2)).astype("f") + i for i in range(3)]
    swa_utils.update_bn([(tg.tensor(x), None) for x in batches], model)
    first: Any = model[0]
    assert_allclose(first.running_mean.numpy(), np.mean([x.mean(0) for x in batches], 0), rtol=1e-5)
    variances = [x.var(0, ddof=1) for x in batches]
    assert_allclose(first.running_var.numpy(), np.mean(variances, 0), rtol=1e-5)
    assert first.momentum == 0.1
    assert [module.training for module in model.modules()] == modes
    plain = nn.Linear(1, 1)
    swa_utils.update_bn(iter(()), plain)
