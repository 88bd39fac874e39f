"""The labs of the course, each run once, and short."""

import io
import runpy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest

import tinygrad_cv as tg

EXAMPLES = Path(__file__).parent.parent / "examples"
Numbers = dict[str, float]


@cache
def quick(name: str) -> tuple[Numbers, str, tuple[str, ...]]:
    """What a lab measured in a short run, what it printed, and the names of its pictures."""
    with TemporaryDirectory() as folder, _state_kept():
        printed = io.StringIO()
        argv = [name, "--quick", "--out", folder]
        with patch("sys.argv", argv), redirect_stdout(printed):
            variables = runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        pictures = tuple(sorted(path.name for path in Path(folder).iterdir()))
    return variables["lab"].numbers, printed.getvalue(), pictures


@contextmanager
def _state_kept() -> Iterator[None]:
    """A lab seeds the default generator; the tests after it go on with theirs."""
    state = tg.get_rng_state()
    try:
        yield
    finally:
        tg.set_rng_state(state)


@pytest.fixture
def lab_run() -> Callable[[str], Numbers]:
    """The numbers of a lab's short run."""
    return lambda name: quick(name)[0]
