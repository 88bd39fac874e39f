"""Written by `python -m tests.stubs`."""

# ruff: noqa

from tinygrad_cv.transforms import hessian as hessian
from tinygrad_cv.transforms import hvp as hvp
from tinygrad_cv.transforms import jacobian as jacobian
from tinygrad_cv.transforms import jvp as jvp
from tinygrad_cv.transforms import vhp as vhp
from tinygrad_cv.transforms import vjp as vjp
from typing import Any
