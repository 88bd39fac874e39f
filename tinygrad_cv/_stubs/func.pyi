"""Written by `python -m tests.stubs`."""

# ruff: noqa

from tinygrad_cv.func.derivatives import grad as grad
from tinygrad_cv.func.derivatives import grad_and_value as grad_and_value
from tinygrad_cv.func.derivatives import hessian as hessian
from tinygrad_cv.func.derivatives import jacfwd as jacfwd
from tinygrad_cv.func.derivatives import jacrev as jacrev
from tinygrad_cv.func.derivatives import jvp as jvp
from tinygrad_cv.func.derivatives import linearize as linearize
from tinygrad_cv.func.derivatives import vjp as vjp
from tinygrad_cv.func.modules import functional_call as functional_call
from tinygrad_cv.func.modules import stack_module_state as stack_module_state
from tinygrad_cv.func.vectorized import vmap as vmap
from typing import Any
