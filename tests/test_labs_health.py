"""Lab 07: the numbers of the sanity checks, by theory and by the specification of the course."""

import math
from collections.abc import Callable

import pytest

from lab_runs import lab_run  # noqa: F401  a fixture

pytestmark = pytest.mark.host


def test_07_sanity_checks(lab_run: Callable[[str], dict[str, float]]) -> None:  # noqa: F811
    numbers = lab_run("07_sanity_checks")
    assert numbers["softmax, 3 classes: ln 3"] == pytest.approx(1.098612, abs=1e-6)
    assert numbers["one-vs-all, 10 classes: 10 ln 2"] == pytest.approx(6.931, abs=1e-3)
    assert numbers["SVM, 10 classes: 9"] == 9
    first = numbers["loss at initialization, reg 0"]
    assert first == pytest.approx(math.log(10), abs=1e-4)
    strong = numbers["loss at initialization, reg 1e3"]
    assert strong == pytest.approx(math.log(10) + 500 * 154_100 * 1e-8, abs=0.01)
    assert numbers["20 examples: cost after 200 epochs"] < 0.005
    assert numbers["20 examples: accuracy"] == 1
    assert numbers["findings: right"] == 0
    assert numbers["findings: no term"] == 1
