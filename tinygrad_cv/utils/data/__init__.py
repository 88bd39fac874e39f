"""`tinygrad_cv.data` where PyTorch has it, with its modules `dataset`, `dataloader`, `sampler`
and `distributed`.

>>> from tinygrad_cv.utils.data import DataLoader
>>> from tinygrad_cv.utils.data.dataset import Dataset
"""

import sys

from tinygrad_cv import data as _data
from tinygrad_cv.data import *  # noqa: F403

dataset = dataloader = distributed = sampler = _data
for _name in ("dataset", "dataloader", "distributed", "sampler"):
    sys.modules[f"{__name__}.{_name}"] = _data
