"""Schedules beside PyTorch's: the same rates and momenta over 50 steps, and after a resume."""

import copy
import inspect
import random
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from numpy.testing import assert_allclose

import tinygrad_cv as tg

pytestmark = [pytest.mark.host, pytest.mark.filterwarnings("ignore::UserWarning")]

STEPS = 50
Make = Callable[[Any, Any], Any]
"""A schedule, from the module lr_scheduler and an optimizer."""

SCHEDULES: dict[str, Make] = {
    "LambdaLR": lambda s, o: s.LambdaLR(o, lambda t: 0.9**t),
    "LambdaLR, two": lambda s, o: s.LambdaLR(o, [lambda t: 0.9**t, lambda t: 1 / (1 + t)]),
    "MultiplicativeLR": lambda s, o: s.MultiplicativeLR(o, lambda t: 0.95),
    "StepLR": lambda s, o: s.StepLR(o, 7, 0.5),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [5, 5, 20, 31], 0.3),
    "ConstantLR": lambda s, o: s.ConstantLR(o),
    "ConstantLR, long": lambda s, o: s.ConstantLR(o, 0.25, 17),
    "LinearLR": lambda s, o: s.LinearLR(o),
    "LinearLR, down": lambda s, o: s.LinearLR(o, 1.0, 0.1, 20),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.97),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o, 20),
    "PolynomialLR, root": lambda s, o: s.PolynomialLR(o, 60, 0.5),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 10, 0.001),
    "CosineAnnealingLR, 50": lambda s, o: s.CosineAnnealingLR(o, 50),
    "CosineAnnealingWarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 7),
    "CosineAnnealingWarmRestarts, 2": lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, 2, 0.01),
    "CyclicLR": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 6),
    "CyclicLR, 2": lambda s, o: s.CyclicLR(o, [0.01, 0.02], 0.1, 6, 3, "triangular2"),
    "CyclicLR, exp": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 6, mode="exp_range", gamma=0.99),
    "CyclicLR, own": lambda s, o: s.CyclicLR(
        o, 0.01, 0.1, 6, scale_fn=lambda x: 1 / x, cycle_momentum=False
    ),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, 0.1, 60),
    "OneCycleLR, linear": lambda s, o: s.OneCycleLR(
        o, [0.1, 0.2], epochs=6, steps_per_epoch=10, anneal_strategy="linear", pct_start=0.5
    ),
    "OneCycleLR, three": lambda s, o: s.OneCycleLR(o, 0.1, 60, three_phase=True),
    "SequentialLR": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, 1, 5), s.CosineAnnealingLR(o, 20), s.ExponentialLR(o, 0.9)], [5, 25]
    ),
    "SequentialLR, restarts": lambda s, o: s.SequentialLR(
        o, [s.ConstantLR(o, 0.1, 100), s.CosineAnnealingWarmRestarts(o, 5, 2)], [9]
    ),
    "SequentialLR, nested": lambda s, o: s.SequentialLR(
        o,
        [
            s.SequentialLR(o, [s.ConstantLR(o, 0.5, 4), s.StepLR(o, 3)], [4]),
            s.ExponentialLR(o, 0.9),
        ],
        [20],
    ),
    "ChainedScheduler": lambda s, o: s.ChainedScheduler(
        [s.ConstantLR(o, 0.1, 20), s.ExponentialLR(o, 0.95), s.StepLR(o, 10, 0.5)]
    ),
    "two at once": lambda s, o: (s.LinearLR(o, 0.1, total_iters=5), s.MultiStepLR(o, [9, 30]))[1],
    "SWALR": lambda s, o: _swa(s).SWALR(o, 0.05, 5),
    "SWALR, linear": lambda s, o: _swa(s).SWALR(o, [0.05, 0.01], 8, "linear"),
}
OPTIMIZERS = {"SGD": {"lr": 0.1, "momentum": 0.9}, "AdamW": {"lr": 0.01}}


def _swa(schedulers: Any) -> Any:
    return (torch if "torch" in schedulers.__name__ else tg).optim.swa_utils


def made(lib: Any, kind: str, make: Make) -> tuple[Any, Any]:
    first, second = (lib.ones(2, requires_grad=True) for _ in range(2))
    groups = [{"params": [first]}, {"params": [second], "lr": 0.03}]
    optimizer = getattr(lib.optim, kind)(groups, **OPTIMIZERS[kind])
    return optimizer, make(lib.optim.lr_scheduler, optimizer)


def numbers(optimizer: Any) -> list[float]:
    """What a schedule may have changed."""
    return [
        float(value)
        for group in optimizer.param_groups
        for value in (
            group["lr"],
            *([group["momentum"]] if "momentum" in group else group["betas"]),
        )
    ]


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_the_rates_are_pytorchs(name: str, kind: str) -> None:
    (theirs, their_schedule), (ours, schedule) = (
        made(lib, kind, SCHEDULES[name]) for lib in (torch, tg)
    )
    for t in range(STEPS):
        assert_allclose(numbers(ours), numbers(theirs), rtol=1e-10, atol=1e-14, err_msg=f"t={t}")
        assert_allclose(
            schedule.get_last_lr(), their_schedule.get_last_lr(), rtol=1e-10, atol=1e-14
        )
        for optimizer, one in ((theirs, their_schedule), (ours, schedule)):
            optimizer.step()
            one.step()


@pytest.mark.parametrize("name", SCHEDULES)
def test_what_pytorch_wrote_goes_on_here(name: str) -> None:
    theirs, their_schedule = made(torch, "SGD", SCHEDULES[name])
    for _ in range(17):
        theirs.step()
        their_schedule.step()
    ours, schedule = made(tg, "SGD", SCHEDULES[name])
    ours.load_state_dict(copy.deepcopy(theirs.state_dict()))
    schedule.load_state_dict(copy.deepcopy(their_schedule.state_dict()))
    for _ in range(17, STEPS):
        assert_allclose(numbers(ours), numbers(theirs), rtol=1e-10, atol=1e-14)
        for optimizer, one in ((theirs, their_schedule), (ours, schedule)):
            optimizer.step()
            one.step()


LAST_EPOCH: dict[str, Callable[[Any, Any, int], Any]] = {
    "LambdaLR": lambda s, o, e: s.LambdaLR(o, lambda t: 0.9**t, e),
    "MultiplicativeLR": lambda s, o, e: s.MultiplicativeLR(o, lambda t: 0.95, e),
    "StepLR": lambda s, o, e: s.StepLR(o, 7, 0.5, e),
    "MultiStepLR": lambda s, o, e: s.MultiStepLR(o, [5, 25], 0.3, e),
    "ConstantLR": lambda s, o, e: s.ConstantLR(o, 0.5, 20, e),
    "LinearLR": lambda s, o, e: s.LinearLR(o, 0.1, 1, 30, e),
    "ExponentialLR": lambda s, o, e: s.ExponentialLR(o, 0.9, e),
    "PolynomialLR": lambda s, o, e: s.PolynomialLR(o, 40, 2.0, e),
    "CosineAnnealingLR": lambda s, o, e: s.CosineAnnealingLR(o, 20, 0, e),
    "CosineAnnealingWarmRestarts": lambda s, o, e: s.CosineAnnealingWarmRestarts(o, 7, 2, 0, e),
    "CyclicLR": lambda s, o, e: s.CyclicLR(o, 0.01, 0.1, 6, last_epoch=e),
    "OneCycleLR": lambda s, o, e: s.OneCycleLR(o, 0.1, 60, last_epoch=e),
}


@pytest.mark.parametrize("name", sorted(LAST_EPOCH.keys() - {"CosineAnnealingWarmRestarts"}))
def test_last_epoch_means_what_it_means_there(name: str) -> None:
    """A schedule made anew on a loaded optimizer, as older programs resume.

    PyTorch's warm restarts take another rate then than a run without a stop, and its steps at a
    milestone are made twice; ours are not.
    """
    found, make = [], LAST_EPOCH[name]
    for lib in (torch, tg):
        optimizer, schedule = made(lib, "SGD", lambda s, o: make(s, o, -1))
        for _ in range(17):
            optimizer.step()
            schedule.step()
        schedule = make(lib.optim.lr_scheduler, optimizer, schedule.last_epoch)
        path = [numbers(optimizer)]
        for _ in range(20):
            optimizer.step()
            schedule.step()
            path.append(numbers(optimizer))
        found.append(path)
    assert_allclose(found[1], found[0], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", LAST_EPOCH)
def test_a_given_epoch(name: str) -> None:
    found = []
    for lib in (torch, tg):
        optimizer, schedule = made(lib, "SGD", lambda s, o: LAST_EPOCH[name](s, o, -1))
        path = []
        for epoch in (3, 18, 7, 0, 21):
            schedule.step(epoch)
            path.append(numbers(optimizer))
        found.append(path)
    assert_allclose(found[1], found[0], rtol=1e-10, atol=1e-14)


PLATEAUS: list[dict[str, Any]] = [
    {},
    {"mode": "max", "patience": 1},
    {"factor": 0.5, "patience": 2, "cooldown": 3},
    {"threshold_mode": "abs", "threshold": 0.3, "patience": 0},
    {"mode": "max", "threshold_mode": "abs", "threshold": 0.3, "patience": 1, "min_lr": [0.05, 0]},
    {"patience": 0, "eps": 1e-3},
]


@pytest.mark.parametrize("options", PLATEAUS, ids=str)
def test_a_plateau(options: dict[str, Any]) -> None:
    draw = random.Random(0)
    losses = [1 / (1 + t) + draw.uniform(-0.3, 0.3) for t in range(STEPS)]
    (theirs, a), (ours, b) = (
        made(lib, "SGD", lambda s, o: s.ReduceLROnPlateau(o, **options)) for lib in (torch, tg)
    )
    for t, loss in enumerate(losses):
        a.step(loss)
        b.step(loss)
        assert_allclose(numbers(ours), numbers(theirs), rtol=1e-12)
        if t == 20:  # what PyTorch wrote goes on here
            ours, b = made(tg, "SGD", lambda s, o: s.ReduceLROnPlateau(o, **options))
            ours.load_state_dict(copy.deepcopy(theirs.state_dict()))
            b.load_state_dict(copy.deepcopy(a.state_dict()))


def test_the_warning_before_the_first_step() -> None:
    for lib in (torch, tg):
        optimizer, schedule = made(lib, "SGD", SCHEDULES["StepLR"])
        with pytest.warns(UserWarning, match=r"optimizer\.step\(\)"):
            schedule.step()
        optimizer, schedule = made(lib, "SGD", SCHEDULES["StepLR"])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            optimizer.step()
            schedule.step()
            schedule.step()


def test_the_arguments_are_pytorchs() -> None:
    for name, theirs in vars(torch.optim.lr_scheduler).items():
        if inspect.isclass(theirs) and issubclass(theirs, torch.optim.lr_scheduler.LRScheduler):
            ours = getattr(tg.optim.lr_scheduler, name)
            expected, found = (
                {k: p.default for k, p in inspect.signature(c.__init__).parameters.items()}
                for c in (theirs, ours)
            )
            found.pop("verbose", None)
            assert list(found.items()) == list(expected.items()), name
