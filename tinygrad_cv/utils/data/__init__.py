"""`tinygrad_cv.data` where PyTorch has it, with its modules `dataset`, `dataloader` and `sampler`.

>>> from tinygrad_cv.utils.data import DataLoader
>>> from tinygrad_cv.utils.data.dataset import Dataset
"""

import sys
from types import ModuleType
from typing import Any

from tinygrad_cv import data as _data

__all__ = [
    name
    for name, value in vars(_data).items()
    if name[0] != "_" and not isinstance(value, ModuleType)
]
for _name in ("dataset", "dataloader", "sampler"):
    sys.modules[f"{__name__}.{_name}"] = _data


def __getattr__(name: str) -> Any:
    return getattr(_data, name)


def __dir__() -> list[str]:
    return __all__
