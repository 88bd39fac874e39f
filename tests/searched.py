"""An objective that processes of a search import, with as little as that takes."""

import os

import tinygrad_cv as tg
from tinygrad_cv.train.search import Trial


def mortal(trial: Trial) -> dict[str, float]:
    """One trial kills its process."""
    if trial["x"] == "dies":
        os._exit(3)
    value = tg.rand(1).item()
    return {"val_accuracy": value, "threads": tg.get_num_threads()}
