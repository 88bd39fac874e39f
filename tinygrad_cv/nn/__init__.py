"""Layers: thin holders of parameters around the ops. One file a family, under PyTorch's names."""

from typing import TYPE_CHECKING

from tinygrad_cv._public import NN, fill
from tinygrad_cv.nn import activation as activation
from tinygrad_cv.nn import adaptive as adaptive
from tinygrad_cv.nn import attention as attention
from tinygrad_cv.nn import batchnorm as batchnorm
from tinygrad_cv.nn import channelshuffle as channelshuffle
from tinygrad_cv.nn import container as container
from tinygrad_cv.nn import conv as conv
from tinygrad_cv.nn import distance as distance
from tinygrad_cv.nn import dropout as dropout
from tinygrad_cv.nn import flatten as flatten
from tinygrad_cv.nn import fold as fold
from tinygrad_cv.nn import functional as functional
from tinygrad_cv.nn import hooks as hooks
from tinygrad_cv.nn import init as init
from tinygrad_cv.nn import instancenorm as instancenorm
from tinygrad_cv.nn import lazy as lazy
from tinygrad_cv.nn import linear as linear
from tinygrad_cv.nn import loss as loss
from tinygrad_cv.nn import module as module
from tinygrad_cv.nn import modules as modules  # the files again, under longer paths
from tinygrad_cv.nn import normalization as normalization
from tinygrad_cv.nn import padding as padding
from tinygrad_cv.nn import parallel as parallel
from tinygrad_cv.nn import parameter as parameter
from tinygrad_cv.nn import pixelshuffle as pixelshuffle
from tinygrad_cv.nn import pooling as pooling
from tinygrad_cv.nn import rnn as rnn
from tinygrad_cv.nn import sparse as sparse
from tinygrad_cv.nn import transformer as transformer
from tinygrad_cv.nn import upsampling as upsampling
from tinygrad_cv.nn import utils as utils

if TYPE_CHECKING:
    from tinygrad_cv._stubs.nn import *  # noqa: F403  generated
else:
    fill(globals(), NN, "functional", "init", "utils")
