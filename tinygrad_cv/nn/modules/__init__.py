"""PyTorch's longer paths: `nn.modules.conv` is `nn.conv`, the same module object.

>>> from tinygrad_cv import nn
>>> from tinygrad_cv.nn.modules.batchnorm import _BatchNorm
>>> issubclass(nn.BatchNorm2d, _BatchNorm), nn.modules.conv is nn.conv
(True, True)
"""

import sys
from types import ModuleType

from tinygrad_cv import nn
from tinygrad_cv._public import NN, fill
from tinygrad_cv.nn.modules import utils as utils

_OTHERS = ("functional", "init", "modules", "parameter", "utils")
"""What PyTorch has in `nn` and not in `nn.modules`."""

for _name, _value in [*vars(nn).items()]:
    _own = isinstance(_value, ModuleType) and _value.__name__ == f"{NN}.{_name}"
    if _own and _name not in _OTHERS:
        sys.modules[f"{__name__}.{_name}"] = globals()[_name] = _value

fill(globals(), NN)
