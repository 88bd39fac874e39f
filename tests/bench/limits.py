"""What this machine can do at most, and how long a workload takes at least."""

import tinygrad_cv as tg
from tinygrad_cv import viz
from tinygrad_cv.backend import limits as machine

from .workloads import Workload


def limits(threads: int) -> dict[str, float]:
    """Of one thread, and of all."""
    found, before = {}, tg.get_num_threads()
    try:
        for count in sorted({1, threads}):
            tg.set_num_threads(count)
            limit = machine.limits()
            found |= {f"gflops_{count}": limit.flops, f"gbytes_{count}": limit.bytes}
    finally:
        tg.set_num_threads(before)
    return found


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
