"""Optimizers: they change parameters in place, along their gradients."""

from typing import TYPE_CHECKING

from tinygrad_cv._public import OPTIM, fill
from tinygrad_cv.optim import optimizer as optimizer

if TYPE_CHECKING:
    from tinygrad_cv._stubs.optim import *  # noqa: F403  generated
else:
    fill(globals(), OPTIM)
