"""Written by `python -m tests.stubs`."""

# ruff: noqa

from tinygrad_cv.optim.optimizer import Adam as Adam
from tinygrad_cv.optim.optimizer import Optimizer as Optimizer
from tinygrad_cv.optim.optimizer import SGD as SGD
from typing import Any
