"""Layers: thin holders of parameters around the ops."""

from tinygrad_cv.nn import functional as functional
from tinygrad_cv.nn import init as init
from tinygrad_cv.nn.containers import ModuleDict as ModuleDict
from tinygrad_cv.nn.containers import ModuleList as ModuleList
from tinygrad_cv.nn.containers import ParameterDict as ParameterDict
from tinygrad_cv.nn.containers import ParameterList as ParameterList
from tinygrad_cv.nn.containers import Sequential as Sequential
from tinygrad_cv.nn.layers import AvgPool2d as AvgPool2d
from tinygrad_cv.nn.layers import BatchNorm1d as BatchNorm1d
from tinygrad_cv.nn.layers import BatchNorm2d as BatchNorm2d
from tinygrad_cv.nn.layers import Conv2d as Conv2d
from tinygrad_cv.nn.layers import ConvTranspose2d as ConvTranspose2d
from tinygrad_cv.nn.layers import CrossEntropyLoss as CrossEntropyLoss
from tinygrad_cv.nn.layers import Dropout as Dropout
from tinygrad_cv.nn.layers import Flatten as Flatten
from tinygrad_cv.nn.layers import LeakyReLU as LeakyReLU
from tinygrad_cv.nn.layers import Linear as Linear
from tinygrad_cv.nn.layers import MaxPool2d as MaxPool2d
from tinygrad_cv.nn.layers import MSELoss as MSELoss
from tinygrad_cv.nn.layers import ReLU as ReLU
from tinygrad_cv.nn.layers import Sigmoid as Sigmoid
from tinygrad_cv.nn.layers import Tanh as Tanh
from tinygrad_cv.nn.module import Module as Module
from tinygrad_cv.nn.module import Parameter as Parameter
