"""`tinygrad_cv.data` where PyTorch has it; its modules `dataset`, `dataloader`, `sampler` and
`distributed` are there too (see `_paths`).

>>> from tinygrad_cv.utils.data import DataLoader
>>> from tinygrad_cv.utils.data.dataset import Dataset
"""

from tinygrad_cv.data import *  # noqa: F403
