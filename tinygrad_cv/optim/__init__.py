"""Optimizers: they change parameters in place, along their gradients."""

from tinygrad_cv.optim.optimizer import SGD as SGD
from tinygrad_cv.optim.optimizer import Adam as Adam
from tinygrad_cv.optim.optimizer import Optimizer as Optimizer
