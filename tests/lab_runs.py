"""The labs of the course, each run once, and short."""

import io
import os
import runpy
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from unittest.mock import patch

import pytest

import tinygrad_cv as tg

EXAMPLES = Path(__file__).parent.parent / "examples"
Numbers = dict[str, float]


class Run(NamedTuple):
    """What a lab measured in a short run, what it printed, and the names of its pictures.

    Also what it said on stderr, and what it left in the folder where it ran.
    """

    numbers: Numbers
    printed: str
    pictures: tuple[str, ...]
    said: str
    left: tuple[str, ...]


@cache
def quick(name: str) -> Run:
    """A short run of a lab, in a folder of its own."""
    printed, said = io.StringIO(), io.StringIO()
    with TemporaryDirectory() as here, TemporaryDirectory() as out, _state_kept(), chdir(here):
        argv = [name, "--quick", "--out", out]
        with patch("sys.argv", argv), redirect_stdout(printed), redirect_stderr(said):
            variables = runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        pictures, left = (tuple(sorted(os.listdir(folder))) for folder in (out, here))
    return Run(variables["lab"].numbers, printed.getvalue(), pictures, said.getvalue(), left)


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
    return lambda name: quick(name).numbers
