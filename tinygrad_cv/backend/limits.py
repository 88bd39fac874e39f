"""What the CPU at hand can do at most: operations on numbers in a second, and bytes moved."""

from collections.abc import Callable
from functools import cache
from time import perf_counter
from typing import NamedTuple

import numpy as np

from tinygrad_cv.backend.threads import get_num_threads, on_one_blas_thread, parallel, split

REPEATS = 20
ROWS = 768
"""Of square matrices whose product is as fast as anything on a CPU."""

NUMBERS = 1 << 24
"""In an array that no cache holds: 64 MB."""


class Limits(NamedTuple):
    """A roofline (Williams, Waterman and Patterson, 2009), for float32."""

    threads: int
    flops: float
    """Operations in a second; a multiply-add counts two."""
    bytes: float
    """Moved from and to memory in a second."""

    def seconds(self, flops: float, nbytes: float) -> float:
        """What takes so many operations and moves so many bytes takes at least so long."""
        return max(flops / self.flops, nbytes / self.bytes)

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.flops / 1e9:.3g} GFLOP/s and {self.bytes / 1e9:.3g} GB/s by {threads}"


def limits() -> Limits:
    """As measured for the number of threads that compute now: once, in some tenths of a second."""
    return _measured(get_num_threads())


@cache
def _measured(threads: int) -> Limits:
    return Limits(threads, flops_per_second(), bytes_per_second())


def flops_per_second(rows: int = ROWS) -> float:
    """By a product of matrices, of which each thread has its rows."""
    a, b, out = (np.ones((rows, rows), np.float32) for _ in range(3))
    parts = split(rows, get_num_threads())

    def product() -> None:
        on_one_blas_thread(parallel, lambda part: np.matmul(a[part], b, out[part]), parts)

    return 2 * rows**3 / _shortest(product)


def bytes_per_second(numbers: int = NUMBERS) -> float:
    """By a copy, of which each thread has its part: each number is read and written."""
    a, b = np.ones(numbers, np.float32), np.ones(numbers, np.float32)
    parts = split(numbers, get_num_threads())
    return (
        2 * a.nbytes / _shortest(lambda: parallel(lambda part: np.copyto(b[part], a[part]), parts))
    )


def _shortest(call: Callable[[], object]) -> float:
    """The seconds of the shortest of some calls, after one that wakes the threads up."""
    call()
    times = []
    for _ in range(REPEATS):
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return min(times)
