"""A dataset for a process that is started afresh, which imports no more than it needs."""

import random
from typing import Any

import numpy as np

import tinygrad_cv as tg
from tinygrad_cv.data import Dataset


class Noisy(Dataset):
    """Samples in which something of each default source is drawn, and how often depends on them."""

    def __init__(self, length: int = 13) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < self.length:
            raise IndexError(index)
        tg.rand(index % 3)
        return {
            "ours": tg.rand(2),
            "python": random.random(),
            "numpy": np.random.randn() if index % 2 else float(np.random.rand()),
            "index": index,
            "name": f"sample {index}",
        }
