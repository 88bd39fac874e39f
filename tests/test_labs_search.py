"""Lab 09, a short run: the decks' rows, where their best one lies, coarse to fine."""

from collections.abc import Callable

import pytest

from lab_runs import Numbers
from lab_runs import lab_run as lab_run

pytestmark = pytest.mark.host


def test_09_search(lab_run: Callable[[str], Numbers]) -> None:
    numbers = lab_run("09_search")
    assert numbers["correlation with the deck's accuracy"] > 0.8
    # Of the 22 printed rows, .531 of the 15th is the greatest, at .976 of the way to the top.
    assert numbers["the deck's best trial"] == 14
    assert numbers["its place in the declared range of lr"] == pytest.approx(0.97642, abs=1e-5)
    assert numbers["edges of the deck's search"] == 1
    # Three decades, a third of which is one.
    assert numbers["fine: decades of lr"] == pytest.approx(1)
    assert numbers["fine: best accuracy"] > 0.5
    assert numbers["grid: different learning rates"] == 2
    assert numbers["random: different learning rates"] == 4
