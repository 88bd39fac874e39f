"""The labs of optimizers, schedules and recurrent nets: their numbers, on short runs."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from tests.lab_runs import lab_run as lab_run

Run = Callable[[str], dict[str, float]]
pytestmark = pytest.mark.host  # a lab runs on the CPU


def test_11_optimizers(lab_run: Run) -> None:
    numbers = lab_run("11_optimizers")
    for name in ("SGD", "momentum", "Nesterov", "Adagrad", "RMSProp", "incomplete Adam", "Adam"):
        assert numbers[f"{name}: off the deck's lines by"] < 1e-12
    assert numbers["Nesterov: φ off θ + μv by"] < 1e-12
    # |x| shrinks by .965 a step from 4, |y| by .75 from 1: ½ x² + 25 y² is below 1e-3 after
    steps = next(t for t in range(999) if 8 * 0.965 ** (2 * t) + 25 * 0.75 ** (2 * t) <= 1e-3)
    assert numbers["steps of SGD"] == steps == 127
    counts = {"momentum": 61, "Nesterov": 24, "Adagrad": 8, "RMSProp": 55, "Adam": 61, "Newton": 1}
    assert {name: numbers[f"steps of {name}"] for name in counts} == counts
    assert numbers["momentum overshoots to x ="] > 0.5
    assert numbers["SGD at .041: y's factor, 1 - 50 lr"] == pytest.approx(1 - 0.041 * 50)
    for name, first in {
        "Adagrad": 0.01,
        "Adam": 0.01,
        "RMSProp": 0.01 / math.sqrt(1 - 0.9),
        "incomplete Adam": 0.01 * (1 - 0.9) / math.sqrt(1 - 0.999),
    }.items():
        assert numbers[f"{name}: first step at lr .01"] == pytest.approx(first, rel=1e-5)


def test_12_schedules(lab_run: Run) -> None:
    numbers = lab_run("12_schedules")
    for what, rate in {
        "half every 20 epochs: at t = 59": 0.5**2,
        ".97 an epoch: at t = 10": 0.7374,
        "exp(-kt), k = .05: at t = 20": 0.3679,
        "1/(1 + kt), k = .05: at t = 20": 0.5,
        "sqrt(1 - t/T): at t = 50": 0.7071,
        "1/t: at t = 4": 0.25,
        "exp(-t): at t = 3": 0.0498,
        ".1 every 50,000 batches: at t = 49,999": 1.0,
        ".1 every 50,000 batches: at t = 150,000": 0.001,
    }.items():
        assert numbers[what] == pytest.approx(rate, abs=5e-5)
    assert numbers["noise floor at lr .5; in theory 1/6"] == pytest.approx(1 / 6, rel=0.05)
    # trap 5: the deck's velocity contains the rate, PyTorch's does not
    assert numbers["constant rate: PyTorch's off the deck's"] < 1e-12
    assert numbers["halved rate: ours off the deck's"] < 1e-12
    assert numbers["halved rate: PyTorch's off the deck's"] > 0.01
    assert numbers["annealed momentum: off the deck's"] < 1e-12


def test_13_second_order(lab_run: Run) -> None:
    numbers = lab_run("13_second_order")
    assert numbers["Newton: gradient after 8 steps"] < 1e-10
    assert numbers["BFGS (all pairs kept): off Newton's by"] < 2e-3
    assert numbers["GB for H of the 3072-50-10 net"] == pytest.approx(154_160**2 * 4e-9)
    assert numbers["L-BFGS against the best other one"] < 1
    assert 1 < numbers["noise over curvature"] < 100


def test_19_rnn(lab_run: Run) -> None:
    numbers = lab_run("19_rnn")
    assert numbers["by hand against nn.RNN(bias=False)"] < 1e-6
    assert numbers["parameters of the deck's net"] == 8 * 4 + 8 * 8 + 4 * 8  # trap 19: no biases
    assert numbers["parameters of nn.RNN(4, 8)"] == 8 * 4 + 8 * 8 + 8 + 8  # two, and no output
    sums = [numbers[f"running sum of 1 2 3 4 [{k}]"] for k in (1, 2, 3, 4)]
    np.testing.assert_allclose(sums, np.cumsum([1, 2, 3, 4]), rtol=1e-6)
    assert numbers["W_hh, learned"] == pytest.approx(1, abs=0.01)
    assert numbers["hello: first loss; ln 4 = 1.386"] == pytest.approx(math.log(4), abs=0.2)
    assert numbers["hello: loss after 300 steps"] < 1e-3
    assert numbers["hello: h is continued to hello"] == 1
    # of h, e, l, l only the two l are not followed by one character: by l, and by o
    assert numbers["hello without a state; ½ ln 2 = .3466"] == pytest.approx(
        2 * math.log(2) / 4, abs=1e-3
    )
    assert numbers["digits, row by row: test accuracy"] > 0.75


def test_20_char_rnn(lab_run: Run) -> None:
    numbers = lab_run("20_char_rnn")
    assert numbers["first loss"] == pytest.approx(
        math.log(numbers["different characters"]), abs=0.05
    )
    assert numbers["loss after 50 steps"] < numbers["loss after 20 steps"] < numbers["first loss"]
    assert numbers["words: first loss"] == pytest.approx(math.log(166), abs=0.1)
    assert numbers["words: after 8 steps"] < 5
