"""PyTorch's longer paths: `nn.modules.conv` is `nn.conv`, the same module object.

>>> from tinygrad_cv import nn
>>> from tinygrad_cv.nn.modules.batchnorm import _BatchNorm
>>> issubclass(nn.BatchNorm2d, _BatchNorm), nn.modules.conv is nn.conv
(True, True)
"""

import sys
from importlib import import_module
from pkgutil import iter_modules

from tinygrad_cv import nn
from tinygrad_cv._public import NN, fill
from tinygrad_cv.nn.modules import utils as utils

_OTHERS = ("common_types", "functional", "init", "modules", "parameter", "utils")
"""What PyTorch has in `nn` and not in `nn.modules`."""

for _file in iter_modules(nn.__path__):
    if _file.name not in _OTHERS:
        _module = import_module(f"{NN}.{_file.name}")
        sys.modules[f"{__name__}.{_file.name}"] = globals()[_file.name] = _module

fill(globals(), NN)
