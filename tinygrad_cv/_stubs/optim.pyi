"""Written by `python -m tests.stubs`."""

# ruff: noqa

from tinygrad_cv.optim.adafactor import Adafactor as Adafactor
from tinygrad_cv.optim.adagrad import Adadelta as Adadelta
from tinygrad_cv.optim.adagrad import Adagrad as Adagrad
from tinygrad_cv.optim.adagrad import RMSprop as RMSprop
from tinygrad_cv.optim.adam import Adam as Adam
from tinygrad_cv.optim.adam import AdamW as AdamW
from tinygrad_cv.optim.adam import Adamax as Adamax
from tinygrad_cv.optim.adam import NAdam as NAdam
from tinygrad_cv.optim.adam import RAdam as RAdam
from tinygrad_cv.optim.lbfgs import LBFGS as LBFGS
from tinygrad_cv.optim.muon import Muon as Muon
from tinygrad_cv.optim.newton import NewtonCG as NewtonCG
from tinygrad_cv.optim.optimizer import Optimizer as Optimizer
from tinygrad_cv.optim.regularizers import ElasticNet as ElasticNet
from tinygrad_cv.optim.regularizers import L1 as L1
from tinygrad_cv.optim.regularizers import L2 as L2
from tinygrad_cv.optim.regularizers import MaxNorm as MaxNorm
from tinygrad_cv.optim.regularizers import Proximal as Proximal
from tinygrad_cv.optim.regularizers import Regularizer as Regularizer
from tinygrad_cv.optim.regularizers import decay_groups as decay_groups
from tinygrad_cv.optim.rprop import Rprop as Rprop
from tinygrad_cv.optim.sgd import ASGD as ASGD
from tinygrad_cv.optim.sgd import SGD as SGD
from typing import Any
