"""Do two libraries compute the same, and how long does each take?"""

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from .workloads import Workload

TOLERANCE = 1e-3
LOSSES = 3  # the third is the first that momentum changes
TURN = 0.2  # seconds
PAUSE = 0.05


@dataclass(frozen=True)
class Ratio:
    """Our time over theirs, from the pairs of one round each."""

    reference: str
    median: float
    min: float
    max: float


def disagreements(ours: Workload, theirs: Workload) -> Iterator[str]:
    """What differs, one sentence each: the first gradients and the first few losses.

    The error of an array is |a - b| / |b| in the Euclidean norm. Later gradients are no test: a
    ReLU input or a maximum that rounding moves across a kink changes them by more than rounding.
    The later losses are: they follow from the updates.
    """
    pairs = {"loss 1": (ours.step(), theirs.step())}
    for name, parameter in ours.parameters.items():
        pairs[f"gradient of {name}"] = (parameter.grad, theirs.parameters[name].grad)
    errors = {name: _error(a, b) for name, (a, b) in pairs.items()}
    for number in range(2, LOSSES + 1):
        errors[f"loss {number}"] = _error(ours.step(), theirs.step())
    for name, error in errors.items():
        if not error <= TOLERANCE:  # a NaN is a difference too
            yield f"{name}: relative difference {error:.1e}, at most {TOLERANCE:.0e} expected"


def _error(a: Any, b: Any) -> float:
    a, b = (np.asarray(tensor.detach().cpu().numpy(), np.float64) for tensor in (a, b))
    if a.shape != b.shape:
        return np.inf
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def interleaved(
    steps: dict[str, Callable[[], Any]], rounds: int, report: Callable[[int], None]
) -> dict[str, list[float]]:
    """Milliseconds a step, one number a round: A B A B ..., so drift of the machine hits all."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for done in range(rounds):
        report(done)
        for name, step in steps.items():
            times[name].append(_turn(step))
    return times


def _turn(step: Callable[[], Any]) -> float:
    """The mean over as many steps as fill TURN seconds, in milliseconds."""
    # The threads of the library before may still wait for work in a busy loop, on the same cores:
    # give them time to fall asleep, then this library one untimed step to wake up its own.
    gc.collect()
    time.sleep(PAUSE)
    step()
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < TURN:
        step()
        count += 1
    return 1000 * elapsed / count


def ratio_to_fastest(times: dict[str, list[float]], ours: str) -> Ratio | None:
    """Ours over the fastest of the others; None when we ran alone."""
    others = [name for name in times if name != ours]
    if not others:
        return None
    reference = min(others, key=lambda name: median(times[name]))
    pairwise = [a / b for a, b in zip(times[ours], times[reference], strict=True)]
    return Ratio(reference, median(pairwise), min(pairwise), max(pairwise))
