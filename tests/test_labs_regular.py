"""The labs on regularization, ensembles and fine-tuning: what theory says of their numbers."""

import math
from collections.abc import Callable

import pytest

from lab_runs import lab_run as lab_run  # a fixture

pytestmark = pytest.mark.host
Run = Callable[[str], dict[str, float]]


def test_14_regularization(lab_run: Run) -> None:
    numbers = lab_run("14_regularization")
    assert numbers["data loss, ln 10"] == pytest.approx(math.log(10), abs=1e-4)
    costs = {
        (strength, deck): numbers[f"λ = {strength:g}: {name} ({deck})"] - math.log(10)
        for strength in (1e3, 0.6, 0.3)
        for name, deck in (("λ/2 ΣW²", "D1"), ("λ ΣW²", "D2"), ("λ/2m ΣΘ²", "D3"))
    }
    printed = {1e3: 3.068597, 0.6: 2.303033, 0.3: 2.302811}
    for strength, cost in printed.items():  # the ½ without biases, and nothing else
        off = {d: abs(costs[strength, d] + math.log(10) - cost) for d in ("D1", "D2", "D3")}
        assert off["D1"] < 0.01 * (cost - math.log(10)) + 1e-4
        assert off["D1"] == min(off.values())
    assert costs[1e3, "D2"] == pytest.approx(2 * costs[1e3, "D1"], abs=2e-4)
    assert numbers["W after 10 steps: (1 − αλ)¹⁰"] == pytest.approx(0.99**10, rel=1e-5)
    assert numbers["b after 10 steps"] == 1
    zeros = {name[: -len(": zeros in W1")]: x for name, x in numbers.items() if "zeros" in name}
    assert zeros["L1 .002, proximal"] > zeros["elastic .001, .0005, proximal"] > 0.05
    assert max(zeros[name] for name in ("none", "L2 .01", "L1 .002", "max norm 1")) < 0.02
    assert numbers["max norm 1: longest ‖w‖² in W1"] <= 1 + 1e-5
    assert numbers["vanilla, training: mean of h = 3"] == pytest.approx(1.5, abs=0.06)
    assert numbers["vanilla, test: h = 3"] == 1.5
    assert numbers["inverted, training: mean of h = 3"] == pytest.approx(3, abs=0.12)
    assert numbers["inverted, test: h = 3"] == 3
    sizes = [numbers[f"λ = {strength}: ‖W‖²"] for strength in ("0.001", "0.01", "0.1")]
    right = [numbers[f"λ = {s}: training accuracy"] for s in ("0.001", "0.01", "0.1")]
    assert sizes == sorted(sizes, reverse=True)
    assert right == sorted(right, reverse=True)


def test_17_ensembles(lab_run: Run) -> None:
    numbers = lab_run("17_ensembles")
    left = numbers["share of the initial weights after 1,000 steps"]
    assert left == pytest.approx(0.995**1000)
    assert numbers["half-life in steps"] == pytest.approx(math.log(0.5) / math.log(0.995))
    for rate in ("constant rate", "falling rate"):
        gain = numbers[f"{rate}: ensemble"] - numbers[f"{rate}: single"]
        assert gain >= 0.005


def test_18_fine_tuning(lab_run: Run) -> None:
    numbers = lab_run("18_fine_tuning")
    assert numbers["parameters"] == 6186
    assert numbers["missing: the head's"] == 2
    for each, least in ((1, 0.05), (2, 0.03), (5, 0.01)):
        scratch, frozen, tuned = (
            numbers[f"{each} per class, {way}"] for way in ("from scratch", "frozen", "tuned")
        )
        assert frozen > scratch + least
        assert tuned > scratch + least
    assert numbers["5 per class, tuned"] > numbers["1 per class, tuned"]
