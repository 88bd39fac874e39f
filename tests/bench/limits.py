"""What this machine can do at most: multiply-adds in a second, and bytes moved in a second."""

import time
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

import tinygrad_cv as tg
from tinygrad_cv import viz
from tinygrad_cv.backend.threads import parallel, split

from .workloads import Workload

REPEATS = 5


def _shortest(call: Callable[[], object]) -> float:
    call()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def flops_per_second(threads: int, n: int = 2048) -> float:
    """By a product of matrices of n x n, which is as fast as anything on a CPU."""
    a, b, out = (np.ones((n, n), np.float32) for _ in range(3))
    with threadpool_limits(threads, "blas"):
        return 2 * n**3 / _shortest(lambda: np.matmul(a, b, out))


def bytes_per_second(threads: int, size: int = 1 << 26) -> float:
    """By copying an array that is larger than any cache; each number is read and written."""
    a, b = np.ones(size, np.float32), np.ones(size, np.float32)
    parts = split(size, threads)
    before = tg.get_num_threads()
    tg.set_num_threads(threads)
    try:
        seconds = _shortest(lambda: parallel(lambda part: np.copyto(b[part], a[part]), parts))
    finally:
        tg.set_num_threads(before)
    return 2 * a.nbytes / seconds


def limits(threads: int) -> dict[str, float]:
    """Of one thread, and of all."""
    return {
        f"{name}_{count}": measure(count)
        for name, measure in (("gflops", flops_per_second), ("gbytes", bytes_per_second))
        for count in sorted({1, threads})
    }


def least_ms(workload: Workload, limit: dict[str, float], threads: int) -> float | None:
    """How long the step takes at the limit, by its arithmetic or by its memory; None: unknown."""
    flops = workload.flops
    if workload.loss is not None:
        nodes = tg.graph(workload.loss()).nodes
        counted = (viz.cost.flops(node) for node in nodes if node.op is not None)
        flops = workload.passes * sum(count or 0 for count in counted)
    seconds = max(
        flops / limit[f"gflops_{threads}"],
        workload.bytes / limit[f"gbytes_{threads}"],
    )
    return 1000 * seconds if seconds else None
