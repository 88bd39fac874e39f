"""Python's multiprocessing where PyTorch has its own (`torch.multiprocessing`).

A tensor that goes to another process is copied, where PyTorch's shares its memory.

>>> from tinygrad_cv import multiprocessing as mp
>>> mp.get_context("spawn").Queue is mp.Queue
False
"""

from multiprocessing import *  # noqa: F403

from tinygrad_cv._absent import told as _told


def get_all_sharing_strategies() -> set[str]:
    """The names that PyTorch has; see `set_sharing_strategy`."""
    return {"file_descriptor", "file_system"}


def get_sharing_strategy() -> str:
    """What `set_sharing_strategy` was told."""
    return _strategy


def set_sharing_strategy(new_strategy: str) -> None:
    """Accepted: tensors are copied to other processes, and share nothing."""
    global _strategy
    if new_strategy not in get_all_sharing_strategies():
        raise ValueError(
            f"set_sharing_strategy: 'file_descriptor' or 'file_system'; got {new_strategy!r}."
        )
    _strategy = new_strategy


_strategy = "file_descriptor"
__getattr__ = _told(__name__)
