"""Written by `python -m tests.stubs`."""

# ruff: noqa

from tinygrad_cv.nn.activation import LeakyReLU as LeakyReLU
from tinygrad_cv.nn.activation import ReLU as ReLU
from tinygrad_cv.nn.activation import Sigmoid as Sigmoid
from tinygrad_cv.nn.activation import Tanh as Tanh
from tinygrad_cv.nn.batchnorm import BatchNorm1d as BatchNorm1d
from tinygrad_cv.nn.batchnorm import BatchNorm2d as BatchNorm2d
from tinygrad_cv.nn.container import ModuleDict as ModuleDict
from tinygrad_cv.nn.container import ModuleList as ModuleList
from tinygrad_cv.nn.container import ParameterDict as ParameterDict
from tinygrad_cv.nn.container import ParameterList as ParameterList
from tinygrad_cv.nn.container import Sequential as Sequential
from tinygrad_cv.nn.conv import Conv2d as Conv2d
from tinygrad_cv.nn.conv import ConvTranspose2d as ConvTranspose2d
from tinygrad_cv.nn.dropout import Dropout as Dropout
from tinygrad_cv.nn.flatten import Flatten as Flatten
from tinygrad_cv.nn.linear import Linear as Linear
from tinygrad_cv.nn.loss import CrossEntropyLoss as CrossEntropyLoss
from tinygrad_cv.nn.loss import MSELoss as MSELoss
from tinygrad_cv.nn.module import Module as Module
from tinygrad_cv.nn.parameter import Buffer as Buffer
from tinygrad_cv.nn.parameter import Parameter as Parameter
from tinygrad_cv.nn.parameter import UninitializedBuffer as UninitializedBuffer
from tinygrad_cv.nn.parameter import UninitializedParameter as UninitializedParameter
from tinygrad_cv.nn.pooling import AvgPool2d as AvgPool2d
from tinygrad_cv.nn.pooling import MaxPool2d as MaxPool2d
from typing import Any
