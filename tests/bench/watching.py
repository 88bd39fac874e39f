"""What `viz.watch` costs: `python -m tests.bench.watching [ROUNDS]`.

A recorded step and a plain one in turns; and the `with` block of a step that is not recorded, by
itself. The share is that of 100 steps, the default, of which one is recorded.
"""

import inspect
import sys
import time
from contextlib import nullcontext
from statistics import median

from tinygrad_cv import nn, viz
from tinygrad_cv.viz.watching import watch as default

from .peers import EAGER
from .workloads import WORKLOADS


class Holder(nn.Module):
    """A model, as far as its parameters go."""

    def __init__(self, parameters: dict[str, nn.Parameter]) -> None:
        for i, parameter in enumerate(parameters.values()):
            setattr(self, f"p{i}", parameter)


def main(rounds: int) -> None:
    every = inspect.signature(default).parameters["every"].default
    for name, build in WORKLOADS.items():
        workload = build(EAGER)
        if not workload.parameters:  # nothing is trained
            continue
        model = Holder(workload.parameters)
        watch = viz.watch(model, every=1)
        times: dict[str, list[float]] = {"plain": [], "recorded": []}
        for _ in range(rounds + 1):
            for kind in times:
                started = time.perf_counter()
                with watch.step() if kind == "recorded" else nullcontext():
                    workload.step()
                times[kind].append(1e3 * (time.perf_counter() - started))
        # The first round lists the graph, and fills caches.
        plain, recorded = (median(values[1:]) for values in times.values())
        share = (idle() + (recorded - plain) / every) / plain
        print(
            f"{name:<16} plain {plain:8.2f} ms, recorded {recorded:8.2f} ms: "
            f"{share:.1%} more with every={every}"
        )


def idle(blocks: int = 10_000) -> float:
    """Milliseconds of the block of a step that is not recorded."""
    watch = viz.watch(nn.Linear(1, 1), every=10 * blocks)
    watch.step()
    started = time.perf_counter()
    for _ in range(blocks):
        with watch.step():
            pass
    return 1e3 * (time.perf_counter() - started) / blocks


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
