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

import typing as _typing
from contextlib import suppress as _suppress
from importlib import import_module as _import_module

from tinygrad_cv import _absent as _absent
from tinygrad_cv import _methods as _methods
from tinygrad_cv import _numpy as _numpy
from tinygrad_cv import _operators as _operators
from tinygrad_cv import _recompute as _recompute
from tinygrad_cv import _symbol as _symbol
from tinygrad_cv import accelerator as accelerator
from tinygrad_cv import amp as amp
from tinygrad_cv import autograd as autograd
from tinygrad_cv import backends as backends
from tinygrad_cv import creation as creation
from tinygrad_cv import cuda as cuda
from tinygrad_cv import data as data
from tinygrad_cv import distributed as distributed
from tinygrad_cv import dtypes as dtypes
from tinygrad_cv import func as func
from tinygrad_cv import hub as hub
from tinygrad_cv import jit as jit
from tinygrad_cv import layouts as layouts
from tinygrad_cv import linalg as linalg
from tinygrad_cv import mps as mps
from tinygrad_cv import nn as nn
from tinygrad_cv import optim as optim
from tinygrad_cv import random as random
from tinygrad_cv import signal as signal
from tinygrad_cv import storage as storage
from tinygrad_cv import switches as switches
from tinygrad_cv import transforms as transforms
from tinygrad_cv import typed as typed
from tinygrad_cv import utils as utils
from tinygrad_cv import version as version
from tinygrad_cv._imports import when_imported as _when_imported
from tinygrad_cv._paths import lay as _lay
from tinygrad_cv._public import TOP as _TOP
from tinygrad_cv._public import fill as _fill
from tinygrad_cv._tensor import Tensor as _Tensor
from tinygrad_cv.backend import host as _host
from tinygrad_cv.layouts import channels_last as channels_last
from tinygrad_cv.layouts import channels_last_3d as channels_last_3d
from tinygrad_cv.layouts import contiguous_format as contiguous_format
from tinygrad_cv.layouts import preserve_format as preserve_format
from tinygrad_cv.layouts import strided as strided
from tinygrad_cv.program import compiled as _compiled  # noqa: F401  marks `compile`
from tinygrad_cv.random import default_generator as default_generator

float16, float32, float64 = (_host.dtype(name) for name in ("float16", "float32", "float64"))
int8, int16, int32 = (_host.dtype(name) for name in ("int8", "int16", "int32"))
int64, uint8 = (_host.dtype(name) for name in ("int64", "uint8"))
bool = _host.dtype("bool")
half, float, double = float16, float32, float64
short, int, long = int16, int32, int64
dtype = _host.dtype

OutOfMemoryError = cuda.OutOfMemoryError
pi, e, inf, nan, newaxis = _host.pi, _host.e, _host.inf, _host.nan, None

if _typing.TYPE_CHECKING:
    from tinygrad_cv import distributions as distributions
    from tinygrad_cv import models as models
    from tinygrad_cv import multiprocessing as multiprocessing
    from tinygrad_cv import onnx as onnx
    from tinygrad_cv import testing as testing
    from tinygrad_cv import train as train
    from tinygrad_cv import viz as viz
    from tinygrad_cv._stubs.names import *  # noqa: F403  generated
    from tinygrad_cv.version import __version__ as __version__
else:  # all that the imports above have marked as public
    _VALUES = (_host.dtype, layouts.layout, layouts.memory_format)
    _CONSTANTS = [name for name, value in globals().items() if isinstance(value, _VALUES)]
    _CONSTANTS += [
        "OutOfMemoryError",
        "default_generator",
        "dtype",
        "e",
        "inf",
        "nan",
        "newaxis",
        "pi",
    ]
    _fill(globals(), _TOP, *_CONSTANTS, "data", "linalg", "nn", "optim")
    _LATER = ("distributions", "models", "multiprocessing", "onnx", "testing", "train", "viz")

    def __getattr__(name):
        """`tinygrad_cv.viz`, `.train` and others are imported when they are first used."""
        if name in _LATER:
            return _import_module(f"tinygrad_cv.{name}")
        if name == "__version__":
            return version.__version__
        raise AttributeError(f"module 'tinygrad_cv' has no attribute {name!r}")

    def __dir__():
        return [*globals(), *_LATER]


def _in_notebook(self: _typing.Any, include: object = None, exclude: object = None) -> _typing.Any:
    """What a notebook shows of a tensor or a module (see `viz`)."""
    from tinygrad_cv.viz.notebook import bundle

    return bundle(self)


for _package in ("autograd", "cuda", "data", "nn", "optim", "utils"):
    _lay(_package)
_absent.tell(_Tensor)

# The engine and the layers know nothing of pictures, so they are told here.
for _shown in (_Tensor, nn.Module):
    setattr(_shown, "_repr_mimebundle_", _in_notebook)  # noqa: B010


def _tell_einops() -> None:
    """It looks for what handles a tensor among the classes that there are."""
    with _suppress(ImportError):  # an einops that keeps them elsewhere
        _import_module("tinygrad_cv._einops")


_when_imported("einops", _tell_einops)
