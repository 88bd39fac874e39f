"""Optimizers: they change parameters in place, along their gradients. Regularizers beside them."""

from typing import TYPE_CHECKING

from tinygrad_cv._public import OPTIM, fill
from tinygrad_cv.optim import adafactor as adafactor
from tinygrad_cv.optim import adagrad as adagrad
from tinygrad_cv.optim import adam as adam
from tinygrad_cv.optim import lbfgs as lbfgs
from tinygrad_cv.optim import lr_scheduler as lr_scheduler
from tinygrad_cv.optim import muon as muon
from tinygrad_cv.optim import newton as newton
from tinygrad_cv.optim import optimizer as optimizer
from tinygrad_cv.optim import regularizers as regularizers
from tinygrad_cv.optim import rprop as rprop
from tinygrad_cv.optim import sgd as sgd
from tinygrad_cv.optim import swa_utils as swa_utils

if TYPE_CHECKING:
    from tinygrad_cv._stubs.optim import *  # noqa: F403  generated
else:
    fill(globals(), OPTIM, "lr_scheduler", "regularizers", "swa_utils")
