"""Worker threads for kernels that walk a batch in blocks.

NumPy releases the interpreter lock inside copies, ufuncs and matrix products, so plain threads
are enough. BLAS itself is held to one thread while a kernel runs: the blocks already use every
core, and a BLAS worker goes on spinning for some 30 ms after its part is done, on a core that
the next kernel needs.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import pairwise
from typing import Any

from threadpoolctl import ThreadpoolController

WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _OneThread:
    """`with one_blas_thread:` holds BLAS to one thread.

    The number is process-wide: the first to enter sets it and the last to leave restores what was
    there, so that kernels running at the same time do not undo each other.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.libraries: list[Any] | None = None
        self.before: list[int] = []

    def __enter__(self) -> None:
        with self.lock:
            if self.users == 0:
                if self.libraries is None:
                    found = ThreadpoolController().select(user_api="blas")
                    self.libraries = found.lib_controllers
                self.before = [library.get_num_threads() for library in self.libraries]
                for library in self.libraries:
                    library.set_num_threads(1)
            self.users += 1

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0:
                for library, threads in zip(self.libraries or (), self.before, strict=True):
                    library.set_num_threads(threads)


one_blas_thread = _OneThread()
_executor: ThreadPoolExecutor | None = None
_starting = threading.Lock()


def _workers() -> ThreadPoolExecutor:
    global _executor
    with _starting:
        if _executor is None:
            _executor = ThreadPoolExecutor(WORKERS, "tinygrad_cv")
        return _executor


def _after_fork() -> None:
    """Threads and held locks do not survive a fork: start afresh in the child."""
    global _executor, _starting
    _executor, _starting = None, threading.Lock()
    one_blas_thread.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def split(length: int, parts: int) -> list[slice]:
    """`length` items as at most `parts` contiguous slices of nearly equal size."""
    parts = max(1, min(parts, length))
    bounds = [length * i // parts for i in range(parts + 1)]
    return [slice(a, b) for a, b in pairwise(bounds)]


def parallel(work: Callable[[slice], Any], parts: Sequence[slice]) -> list[Any]:
    """`[work(part) for part in parts]`, over the worker threads, results in the order of parts.

    The calling thread works too. Every thread takes the next part when it is done with its last.
    """
    results: list[Any] = [None] * len(parts)
    waiting = deque(range(len(parts)))

    def drain() -> None:
        while waiting:
            try:
                i = waiting.popleft()
            except IndexError:  # another thread was quicker
                return
            results[i] = work(parts[i])

    with one_blas_thread:
        # NumPy's errstate is part of the context, which a thread of a pool does not inherit.
        helpers = [
            _workers().submit(copy_context().run, drain)
            for _ in range(min(WORKERS, len(parts)) - 1)
        ]
        try:
            drain()
        finally:
            waiting.clear()  # after an error nobody starts another part
            for helper in helpers:
                helper.result()
    return results
