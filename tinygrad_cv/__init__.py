"""tinygrad_cv: reverse-mode automatic differentiation for computer vision on NumPy.

>>> import tinygrad_cv as tg
>>> x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> loss = (x.tanh() ** 2).sum()
>>> loss.backward()
>>> x.grad.shape
(3,)
>>> print(tg.graph(loss))
%0  parameter                  float32 (3,)
%1  tanh       (%0)            float32 (3,)
%2  pow        (%1)       n=2  float32 (3,)
%3  sum        (%2)            float32 ()
"""

from importlib import import_module as _import_module
from importlib.metadata import version as _version
from typing import Any as _Any

from tinygrad_cv.backend import get_default_device as get_default_device
from tinygrad_cv.backend import host as _host
from tinygrad_cv.backend import manual_seed as manual_seed
from tinygrad_cv.backend import set_default_device as set_default_device
from tinygrad_cv.graph import Graph as Graph
from tinygrad_cv.graph import Node as Node
from tinygrad_cv.graph import enable_grad as enable_grad
from tinygrad_cv.graph import is_grad_enabled as is_grad_enabled
from tinygrad_cv.graph import no_grad as no_grad
from tinygrad_cv.op import Op as Op
from tinygrad_cv.symbol import formula as formula
from tinygrad_cv.tensor import Tensor as Tensor
from tinygrad_cv.tensor import apply as apply
from tinygrad_cv.tensor import function as function
from tinygrad_cv.tensor import grad as grad
from tinygrad_cv.tensor import graph as graph

# isort: split
# The ops need Tensor, and everything below needs the ops.
from tinygrad_cv.ops.activation import leaky_relu as leaky_relu
from tinygrad_cv.ops.activation import log_softmax as log_softmax
from tinygrad_cv.ops.activation import relu as relu
from tinygrad_cv.ops.activation import sigmoid as sigmoid
from tinygrad_cv.ops.activation import softmax as softmax
from tinygrad_cv.ops.activation import tanh as tanh
from tinygrad_cv.ops.conv import conv2d as conv2d
from tinygrad_cv.ops.conv import conv_output_size as conv_output_size
from tinygrad_cv.ops.conv import conv_transpose2d as conv_transpose2d
from tinygrad_cv.ops.elementwise import abs as abs
from tinygrad_cv.ops.elementwise import add as add
from tinygrad_cv.ops.elementwise import clamp as clamp
from tinygrad_cv.ops.elementwise import clone as clone
from tinygrad_cv.ops.elementwise import cos as cos
from tinygrad_cv.ops.elementwise import div as div
from tinygrad_cv.ops.elementwise import eq as eq
from tinygrad_cv.ops.elementwise import exp as exp
from tinygrad_cv.ops.elementwise import ge as ge
from tinygrad_cv.ops.elementwise import gt as gt
from tinygrad_cv.ops.elementwise import le as le
from tinygrad_cv.ops.elementwise import log as log
from tinygrad_cv.ops.elementwise import logical_and as logical_and
from tinygrad_cv.ops.elementwise import logical_not as logical_not
from tinygrad_cv.ops.elementwise import logical_or as logical_or
from tinygrad_cv.ops.elementwise import lt as lt
from tinygrad_cv.ops.elementwise import maximum as maximum
from tinygrad_cv.ops.elementwise import minimum as minimum
from tinygrad_cv.ops.elementwise import mul as mul
from tinygrad_cv.ops.elementwise import ne as ne
from tinygrad_cv.ops.elementwise import neg as neg
from tinygrad_cv.ops.elementwise import pow as pow
from tinygrad_cv.ops.elementwise import reciprocal as reciprocal
from tinygrad_cv.ops.elementwise import sign as sign
from tinygrad_cv.ops.elementwise import sin as sin
from tinygrad_cv.ops.elementwise import sqrt as sqrt
from tinygrad_cv.ops.elementwise import square as square
from tinygrad_cv.ops.elementwise import sub as sub
from tinygrad_cv.ops.elementwise import where as where
from tinygrad_cv.ops.index import one_hot as one_hot
from tinygrad_cv.ops.linalg import linear as linear
from tinygrad_cv.ops.linalg import matmul as matmul
from tinygrad_cv.ops.loss import cross_entropy as cross_entropy
from tinygrad_cv.ops.loss import mse_loss as mse_loss
from tinygrad_cv.ops.noise import dropout as dropout
from tinygrad_cv.ops.norm import batch_norm as batch_norm
from tinygrad_cv.ops.pool import avg_pool2d as avg_pool2d
from tinygrad_cv.ops.pool import max_pool2d as max_pool2d
from tinygrad_cv.ops.reduce import all as all
from tinygrad_cv.ops.reduce import amax as amax
from tinygrad_cv.ops.reduce import amin as amin
from tinygrad_cv.ops.reduce import any as any
from tinygrad_cv.ops.reduce import argmax as argmax
from tinygrad_cv.ops.reduce import argmin as argmin
from tinygrad_cv.ops.reduce import logsumexp as logsumexp
from tinygrad_cv.ops.reduce import max as max
from tinygrad_cv.ops.reduce import mean as mean
from tinygrad_cv.ops.reduce import min as min
from tinygrad_cv.ops.reduce import sum as sum
from tinygrad_cv.ops.reduce import var as var
from tinygrad_cv.ops.shape import broadcast_to as broadcast_to
from tinygrad_cv.ops.shape import cat as cat
from tinygrad_cv.ops.shape import expand as expand
from tinygrad_cv.ops.shape import flatten as flatten
from tinygrad_cv.ops.shape import pad as pad
from tinygrad_cv.ops.shape import permute as permute
from tinygrad_cv.ops.shape import reshape as reshape
from tinygrad_cv.ops.shape import squeeze as squeeze
from tinygrad_cv.ops.shape import stack as stack
from tinygrad_cv.ops.shape import transpose as transpose
from tinygrad_cv.ops.shape import unsqueeze as unsqueeze

# isort: split
from tinygrad_cv import data as data
from tinygrad_cv import nn as nn
from tinygrad_cv import optim as optim
from tinygrad_cv.creation import arange as arange
from tinygrad_cv.creation import eye as eye
from tinygrad_cv.creation import full as full
from tinygrad_cv.creation import ones as ones
from tinygrad_cv.creation import ones_like as ones_like
from tinygrad_cv.creation import rand as rand
from tinygrad_cv.creation import randint as randint
from tinygrad_cv.creation import randn as randn
from tinygrad_cv.creation import tensor as tensor
from tinygrad_cv.creation import zeros as zeros
from tinygrad_cv.creation import zeros_like as zeros_like

float16, float32, float64 = (_host.dtype(name) for name in ("float16", "float32", "float64"))
int32, int64, uint8 = (_host.dtype(name) for name in ("int32", "int64", "uint8"))
bool = _host.dtype("bool")

__version__ = _version("tinygrad_cv")


def __getattr__(name: str) -> _Any:
    """`tinygrad_cv.viz`, `.train` and `.testing` are imported when they are first used."""
    if name in ("testing", "train", "viz"):
        return _import_module(f"tinygrad_cv.{name}")
    raise AttributeError(f"module 'tinygrad_cv' has no attribute {name!r}")
