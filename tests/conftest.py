"""How the whole suite runs: the hypothesis profiles, and the tour before everything else."""

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from tinygrad_cv.op import REGISTRY

# A shared machine pauses at any moment, so no example has a deadline.
settings.register_profile("dev", max_examples=20, deadline=None)
settings.register_profile("ci", max_examples=50, deadline=None, derandomize=True, print_blob=True)
settings.register_profile("intense", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


@pytest.fixture(autouse=True)
def _ops_of_a_test_go_with_it() -> Iterator[None]:
    """Two tests may each write an op of the same name."""
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """test_tiny.py first: where the stack is broken at all, it says so within seconds."""
    items.sort(key=lambda item: item.path.name != "test_tiny.py")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How many broken rules were tried and caught (see test_mutants.py)."""
    reports = [*terminalreporter.stats.get("passed", ()), *terminalreporter.stats.get("failed", ())]
    counts: dict[str, Counter[str]] = {}
    for report in reports:
        for name, value in report.user_properties:
            if name == "mutant":
                counts.setdefault(value[0], Counter())[value[1]] += 1
    if not counts:
        return
    terminalreporter.section("broken rules")
    terminalreporter.line(f"{'mutant':<18} {'caught':>7} {'equal':>7} {'escaped':>8}")
    for mutant, count in counts.items():
        terminalreporter.line(
            f"{mutant:<18} {count['caught']:>7} {count['equal']:>7} {count['escaped']:>8}"
        )
