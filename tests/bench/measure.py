"""Do two libraries compute the same, and how long does each take?"""

import gc
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from .workloads import Library, Workload

TOLERANCE = {"float64": 1e-6, "float32": 0.05}
LOSSES = {"float64": 3, "float32": 1}  # the third is the first that momentum changes
TURN = 0.2  # seconds
PAUSE = 0.05
QUIET = 0.06  # of a processor, kept busy by others


def disagreements(ours: Workload, theirs: Workload, dtype: str) -> Iterator[str]:
    """What differs, one sentence each: the first gradients and the first few losses.

    The error of an array is |a - b| / |b| in the Euclidean norm. In float64 it is small if both
    compute the same. In float32 it may be some percent in a deep network, where rounding moves the
    input of a ReLU, or a maximum, across a kink; it is checked that no kernel goes wrong there.
    """
    errors = {"loss 1": _error(ours.step(), theirs.step())}
    gradients = {name: _array(parameter.grad) for name, parameter in theirs.parameters.items()}
    # Some are 0 but for rounding, such as that of the bias of a batch norm before another one.
    least = 1e-3 * max(map(np.linalg.norm, gradients.values()), default=0)
    for name, parameter in ours.parameters.items():
        errors[f"gradient of {name}"] = _error(parameter.grad, gradients[name], least)
    for number in range(2, LOSSES[dtype] + 1):
        errors[f"loss {number}"] = _error(ours.step(), theirs.step())
    for name, error in errors.items():
        if not error <= TOLERANCE[dtype]:  # a NaN is a difference too
            yield (
                f"{name} in {dtype}: relative difference {error:.1e}, at most "
                f"{TOLERANCE[dtype]:.0e} expected"
            )


def _array(x: Any) -> Any:
    """The numbers of a tensor of any library."""
    return x if isinstance(x, np.ndarray) else np.asarray(x.detach().cpu().numpy(), np.float64)


def _error(a: Any, b: Any, least: float = 0) -> float:
    a, b = _array(a), _array(b)
    if a.shape != b.shape:
        return np.inf
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), least))


class Processors:
    """Seconds of processor time, of this process and of all; all is None where the system hides it.

    The counters of Linux: user, nice, system, idle, iowait, irq, softirq and steal.
    """

    stat = Path("/proc/stat")

    def __init__(self) -> None:
        self.own, self.others = time.process_time(), None
        with suppress(OSError, ValueError, IndexError, AttributeError):
            counts = [int(x) for x in self.stat.read_text().splitlines()[0].split()[1:9]]
            busy = sum(counts) - counts[3] - counts[4]
            self.others = busy / os.sysconf("SC_CLK_TCK") - self.own

    def share_of_others(self, since: "Processors", seconds: float) -> float:
        """How many processors other processes kept busy since then; 0 where nobody knows."""
        if self.others is None or since.others is None:
            return 0.0
        return max(0.0, self.others - since.others) / seconds


@dataclass
class Times:
    """Milliseconds a step, one number for each quiet turn, and how many were not quiet."""

    quiet: list[float] = field(default_factory=list)
    disturbed: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return median(self.quiet or self.disturbed)


def interleaved(
    libraries: Mapping[Library, Callable[[], Any]],
    rounds: int,
    report: Callable[[int], None] = lambda done: None,
    turn: float = TURN,
) -> dict[str, Times]:
    """A B A B ..., so drift of the machine hits all, until each has its quiet turns.

    A turn is quiet if other processes took little of it. After twice the number of rounds it has to
    do with what there is. Who takes part in one round of several (`Library.every`) has so many
    turns less.
    """
    times = {library.name: Times() for library in libraries}
    for number in range(2 * rounds):
        short = [
            library
            for library in libraries
            if len(times[library.name].quiet) * library.every < rounds
        ]
        if not short:
            break
        report(number)
        for library in libraries if len(short) > 1 else short:
            if number % library.every:
                continue
            kept = times[library.name]
            library.switch()
            is_long = any(ms > 1000 * turn for ms in (*kept.quiet[-1:], *kept.disturbed[-1:]))
            ms, quiet = _turn(libraries[library], turn, not is_long)
            (kept.quiet if quiet else kept.disturbed).append(ms)
    return times


def _turn(step: Callable[[], Any], turn: float, wake: bool) -> tuple[float, bool]:
    """The mean over as many steps as fill a turn, in milliseconds, and whether it was quiet."""
    # The threads of the library before may still wait for work in a busy loop, on the same cores:
    # give them time to fall asleep, then this library one untimed step to wake up its own. Within
    # a step that is longer than a turn that makes no difference.
    gc.collect()
    time.sleep(PAUSE)
    if wake:
        step()
    before = Processors()
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < turn:
        step()
        count += 1
    return 1000 * elapsed / count, Processors().share_of_others(before, elapsed) < QUIET


def fastest(times: Mapping[str, Times], names: Iterable[str]) -> str | None:
    """Whose steps are the shortest of these; None if there are none."""
    return min(names, key=lambda name: times[name].median, default=None)
