"""Written by `python -m tests.stubs`."""

# ruff: noqa

from typing import Any
