"""The labs on initialization and on batch norm, by what theory says."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest

from lab_runs import Numbers
from lab_runs import lab_run as lab_run

pytestmark = pytest.mark.host


def column(numbers: Numbers, name: str) -> list[float]:
    """The ten numbers of a table."""
    return [numbers[f"{name} [{layer}]"] for layer in range(1, 11)]


# From integrals over a standard normal: q <- E[tanh²(s √(500 q) z)].
TANH = {
    "0.01 randn": [
        2.135e-1, 4.764e-2, 1.065e-2, 2.382e-3, 5.326e-4,
        1.191e-4, 2.663e-5, 5.955e-6, 1.331e-6, 2.977e-7,
    ],
    "1.0 randn": [0.98203, *[0.98170] * 9],
    "Xavier": [
        0.6279, 0.4863, 0.4082, 0.3576, 0.3216, 0.2944, 0.2729, 0.2554, 0.2409, 0.2285,
    ],
}  # fmt: skip
DECK = [0.213081, 0.047551, 0.010630, 0.002378, 0.000532, 0.000119, 0.000026, 0.000006, 1e-6, 0.0]


def test_05_initialization(lab_run: Callable[[str], Numbers]) -> None:
    numbers = lab_run("05_initialization")
    small = column(numbers, "tanh, 0.01 randn: std")
    assert small == pytest.approx(TANH["0.01 randn"], rel=0.05)
    assert small == pytest.approx(DECK, rel=0.02, abs=1e-6)
    large = column(numbers, "tanh, 1.0 randn: std")
    assert large == pytest.approx(TANH["1.0 randn"], abs=1e-3)
    assert column(numbers, "tanh, Xavier: std") == pytest.approx(TANH["Xavier"], rel=0.03)
    for name, first in (("std", math.sqrt(1 - 1 / math.pi)), ("mean", 1 / math.sqrt(math.pi))):
        he = column(numbers, f"ReLU, He: {name}")
        assert he[0] == pytest.approx(first, rel=0.02)
        assert all(first / 2 < each < 2 * first for each in he)
    xavier = column(numbers, "ReLU, Xavier: std")
    assert xavier[0] == pytest.approx(0.5838, rel=0.02)
    assert xavier[9] == pytest.approx(0.5838 / 2**4.5, rel=0.5)

    # The gradients: with W = 1.0 they grow, whatever the deck says.
    grown = column(numbers, "tanh, 1.0 randn: gradient, down")
    assert all(3 < after / before < 4 for before, after in pairwise(grown))
    assert 1e5 < grown[9] < 6e5
    assert 0.9 < numbers["W = 1.0: saturated units"] < 0.93
    assert column(numbers, "tanh, 0.01 randn: gradient, down")[9] == pytest.approx(3e-7, rel=0.15)
    assert column(numbers, "tanh, Xavier: gradient, down")[9] == pytest.approx(0.27, rel=0.15)

    assert numbers["Var(Σwx), W = 0.01 randn"] == pytest.approx(1 / 20, rel=0.05)
    assert numbers["Var(Σwx), W = 1.0 randn"] == pytest.approx(500, rel=0.05)
    assert [numbers[f"W = 0: W1, b1, W2 after 20 steps [{k}]"] for k in (1, 2, 3)] == [0, 0, 0]
    assert numbers["W = 0: b2 after 20 steps"] > 0
    rand = [numbers[f"ReLU, rand: std [{k}]"] for k in (1, 2, 3, 4)]
    assert rand == pytest.approx([0.47, 6.2, 98, 1547], rel=0.15)


def test_06_batch_norm(lab_run: Callable[[str], Numbers]) -> None:
    numbers = lab_run("06_batch_norm")
    relu = math.sqrt(0.5 - 0.5 / math.pi)
    for scale in ("0.01", "1.0"):
        tanh = column(numbers, f"tanh, {scale} randn + BN: std")
        assert tanh == pytest.approx([0.6279] * 10, abs=0.006)
        assert column(numbers, f"ReLU, {scale} randn + BN: std") == pytest.approx(
            [relu] * 10, abs=0.006
        )
    assert numbers["|BN(x) - x| with γ = √Var, β = E"] < 1e-12
    assert numbers["exact, by batches of 50 and of 275"] < 1e-3
    assert numbers["after 8 steps: accuracy, exact"] > numbers["after 8 steps: accuracy, running"]
    assert numbers["without: validation accuracy"] < 0.3
    assert numbers["with batch norm: validation accuracy"] > 0.5
    assert numbers["an image in two batches, evaluation"] < 1e-4
    assert numbers["an image in two batches, training"] > 1e-3
