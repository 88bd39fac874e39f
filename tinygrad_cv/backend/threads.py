"""Worker threads for kernels that walk a batch in blocks.

NumPy releases the interpreter lock inside copies, ufuncs and matrix products, so plain threads
are enough. While a block runs, BLAS is held to one thread: the blocks already use every core.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from threadpoolctl import ThreadpoolController

WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Pool:
    """The executor and the BLAS limit, both made when first needed and again after a fork."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.executor: ThreadPoolExecutor | None = None
        self.blas: ThreadpoolController | None = None
        self.users = 0
        self.limit: Any = None

    def start(self) -> ThreadPoolExecutor:
        with self.lock:
            if self.executor is None:
                self.executor = ThreadPoolExecutor(WORKERS, "tinygrad_cv")
            return self.executor

    @contextmanager
    def single_threaded_blas(self) -> Iterator[None]:
        # The limit is process-wide: the first kernel to enter sets it, the last one to leave
        # restores what was there, so that kernels in several threads do not undo each other.
        with self.lock:
            if self.users == 0:
                self.blas = self.blas or ThreadpoolController()
                self.limit = self.blas.limit(limits=1, user_api="blas")
            self.users += 1
        try:
            yield
        finally:
            with self.lock:
                self.users -= 1
                if self.users == 0:
                    self.limit.restore_original_limits()


_pool = _Pool()


def _after_fork() -> None:
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def split(length: int, parts: int) -> list[slice]:
    """`length` items as at most `parts` contiguous slices of nearly equal size."""
    parts = max(1, min(parts, length))
    bounds = [length * i // parts for i in range(parts + 1)]
    return [slice(a, b) for a, b in zip(bounds, bounds[1:], strict=False)]


def parallel(work: Callable[[slice], Any], parts: Sequence[slice]) -> list[Any]:
    """`[work(part) for part in parts]`, over the worker threads, results in the order of parts."""
    if len(parts) == 1 or WORKERS == 1:
        return [work(part) for part in parts]
    executor = _pool.start()
    with _pool.single_threaded_blas():
        return list(executor.map(work, parts))
