"""`tinygrad_cv.data` where PyTorch has it, with its modules `dataset`, `dataloader`, `sampler`
and `distributed`, and `_utils.collate`, which many programs import.

>>> from tinygrad_cv.utils.data import DataLoader
>>> from tinygrad_cv.utils.data.dataset import Dataset
"""

import sys

from tinygrad_cv import data as _data
from tinygrad_cv.data import *  # noqa: F403

dataset = dataloader = distributed = sampler = _utils = _data
for _name in ("dataset", "dataloader", "distributed", "sampler", "_utils"):
    sys.modules[f"{__name__}.{_name}"] = _data
sys.modules[f"{__name__}._utils.collate"] = _data.collate
