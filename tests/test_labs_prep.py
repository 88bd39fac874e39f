"""The labs on activations and on preprocessing: what theory and many seeds say of their numbers."""

import math
from collections.abc import Callable

import pytest

from lab_runs import Numbers
from lab_runs import lab_run as lab_run

pytestmark = pytest.mark.host


def test_03_activations(lab_run: Callable[[str], Numbers]) -> None:
    numbers = lab_run("03_activations")
    for x in (-10, 0, 10):
        assert numbers[f"tanh'({x})"] == pytest.approx(1 / math.cosh(x) ** 2, rel=1e-9)
        assert numbers[f"ReLU'({x})"] == (x > 0)
        assert numbers[f"σ'({x})"] == pytest.approx(0.25 / math.cosh(x / 2) ** 2, rel=1e-9)
    assert numbers["1 - tanh²(10) in float32"] == 0  # the trap
    assert numbers["tanh'(10) in float32"] == pytest.approx(1 / math.cosh(10) ** 2, rel=1e-5)
    assert numbers["gradients of one sign, pixels ≥ 0"] == 1
    assert numbers["gradients of one sign, centred"] < 0.01
    assert numbers["|maxout - ReLU|"] < 1e-5
    assert numbers["parameters, maxout against ReLU"] == 2
    assert numbers["dead units, ReLU, rate 0.1"] == 0
    assert 0.5 < numbers["dead units, ReLU, rate 10"] < 0.95
    for name in ("leaky, .01", "leaky, .1", "PReLU", "maxout"):
        assert numbers[f"dead units, {name}, rate 10"] == 0


def test_04_preprocessing(lab_run: Callable[[str], Numbers]) -> None:
    numbers = lab_run("04_preprocessing")
    # Of [[20402, 20200], [20200, 20002]]: det = 4·101², trace = 40,404; det/trace² is 1/κ, nearly.
    assert numbers["condition, (101, ·)"] == pytest.approx(40_006, rel=1e-4)
    assert numbers["condition, (.2, ·)"] == pytest.approx((10 / 0.2) ** 2)
    assert numbers["steps, (.2, ·)"] == pytest.approx(math.log(1000) * 2500, rel=1e-3)
    assert numbers["condition, (1, ·)"] == pytest.approx(1)
    assert numbers["steps, (1, ·)"] == 1
    assert numbers["|covariance - identity|"] < 1e-9
    assert numbers["whitened: |covariance - identity|"] < 1e-9
    assert abs(numbers["  of the decorrelated"]) < 1e-9
    assert (numbers["constant pixels"], numbers["axes kept"]) == (3, 61)
    assert numbers["numbers in the mean image"] == 3 * 32 * 32
    raw, centred, normalized = (
        numbers[f"steps to the loss 0.6, {name}"] for name in ("raw", "centred", "normalized")
    )
    assert raw > 7 * max(centred, normalized)
