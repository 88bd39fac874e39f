"""The switches of cuDNN, which nothing here is built with: they have no effect.

>>> import tinygrad_cv.backends.cudnn as cudnn
>>> cudnn.benchmark, cudnn.deterministic = True, False
>>> with cudnn.flags(enabled=False):
...     cudnn.enabled
False
>>> cudnn.enabled
True
"""

from collections.abc import Iterator
from contextlib import contextmanager

enabled = True
benchmark = False
benchmark_limit: int | None = 10
deterministic = False
allow_tf32 = False


def is_available() -> bool:
    """False: convolutions on a GPU are kernels of our own."""
    return False


def version() -> int | None:
    """None"""
    return None


@contextmanager
def flags(
    enabled: bool = False,
    benchmark: bool = False,
    benchmark_limit: int | None = 10,
    deterministic: bool = False,
    allow_tf32: bool = True,
) -> Iterator[None]:
    """A `with` block in which the switches are set so."""
    given = dict(locals())
    before = {name: globals()[name] for name in given}
    globals().update(given)
    try:
        yield
    finally:
        globals().update(before)
