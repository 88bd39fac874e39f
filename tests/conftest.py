"""How the whole suite runs: the hypothesis profiles, and the tour before everything else."""

import os

import pytest
from hypothesis import settings

# A shared machine pauses at any moment, so no example has a deadline.
settings.register_profile("dev", max_examples=20, deadline=None)
settings.register_profile("ci", max_examples=50, deadline=None, derandomize=True, print_blob=True)
settings.register_profile("intense", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """test_tiny.py first: where the stack is broken at all, it says so within seconds."""
    items.sort(key=lambda item: item.path.name != "test_tiny.py")
