"""Apple's GPUs, under PyTorch's names (`torch.mps`): there are none here."""


def is_available() -> bool:
    """False: arrays lie in NumPy's or CuPy's memory."""
    return False


def device_count() -> int:
    """0"""
    return 0


def empty_cache() -> None:
    """There is nothing to free."""


def synchronize() -> None:
    """There is nothing to wait for."""


def manual_seed(seed: int) -> None:
    """There is nothing to seed; see `tinygrad_cv.manual_seed`."""
