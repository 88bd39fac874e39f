"""Labs 08 and 10: learning rates, and a run that is watched."""

from typing import Any

import pytest

from lab_runs import lab_run

__all__ = ["lab_run"]

pytestmark = pytest.mark.host


def test_08_learning_rate(lab_run: Any) -> None:
    numbers = lab_run("08_learning_rate")
    assert abs(numbers["1e-6: last cost"] - numbers["1e-6: first cost"]) < 5e-4
    assert abs(numbers["1e-6: first cost"] - 2.302585) < 2e-4
    assert numbers["1e6: NaN in the end"] == 1
    fires = numbers["0.01: step at which the 3x rule fires"]
    assert 0 < fires < 72
    assert numbers["steps made with the 3x rule"] == fires + 1
    # ln 10 + λ/2 · E ΣW², with the ½ and without biases
    squares = 1e-4**2 * (3072 * 50 + 50 * 10)
    assert abs(numbers["rate 0.05, reg 0.6: iteration 0"] - 2.302585 - 0.3 * squares) < 5e-5
    assert abs(numbers["rate 0.001, reg 0.3: iteration 0"] - 2.302585 - 0.15 * squares) < 5e-5
    assert numbers["rate 0.05, reg 0.6: finite at the end"] == 0
    assert numbers["rate 0.001, reg 0.3: finite at the end"] == 1


def test_10_babysitting(lab_run: Any) -> None:
    numbers = lab_run("10_babysitting")
    slow, usual, best = (
        numbers[f"rate {rate}: update / weight"] for rate in ("1e-06", "0.0001", "0.001")
    )
    assert 1e-6 < slow < 5e-5
    assert 3e-4 < usual < 1e-2
    assert best > 1e-2  # the best rate breaks the rule of 1e-3
    assert numbers["50 images: training accuracy"] > 0.9
    assert numbers["50 images: gap"] > 0.1
    assert numbers["dead units, by all images"] <= numbers["dead units, by a batch of 50"]
    assert numbers["its cost over the first"] > 3
    assert numbers["rate 0.01: steps until it was stopped"] < 60
