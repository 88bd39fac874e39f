"""Times tinygrad_cv beside PyTorch on the CPU: `python -m tests.bench --help`."""

import argparse
import cProfile
import json
import pstats
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

import tinygrad_cv as tg

from .measure import disagreements, interleaved, ratio_to_fastest
from .workloads import WORKLOADS, Library

try:
    import torch
except ModuleNotFoundError:
    torch = None  # type: ignore[assignment]

OURS = Library("tinygrad_cv", tg, tg)


def libraries(workload: str) -> list[Library]:
    """Ours first, then PyTorch (eager): images in both memory formats, the faster one counts."""
    if torch is None:
        return [OURS]
    found = [OURS, Library("torch", torch, torch.nn.functional)]
    if workload == "convnet":

        def channels_last(value: Any) -> Any:
            return value.to(memory_format=torch.channels_last)

        found.append(
            Library("torch channels_last", torch, torch.nn.functional, arrange=channels_last)
        )
    return found


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "cores": tg.get_num_threads(),
        "numpy": np.__version__,
        "blas": [
            {key: pool.get(key) for key in ("internal_api", "version", "num_threads")}
            for pool in threadpool_info()
            if pool["user_api"] == "blas"
        ],
        "torch": torch.__version__ if torch else None,
        "torch_threads": torch.get_num_threads() if torch else None,
    }


def run(name: str, rounds: int) -> dict[str, Any]:
    """Check one workload, time it, print its lines and return its numbers."""
    check(name)
    steps = {library.name: WORKLOADS[name](library).step for library in libraries(name)}

    def progress(done: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{name}: round {done + 1} of {rounds}\r", end="", file=sys.stderr, flush=True)

    times = interleaved(steps, rounds, progress)
    ratio = ratio_to_fastest(times, OURS.name)
    print(f"{name}: {WORKLOADS[name].__doc__}")
    for key, values in times.items():
        print(f"  {key:<22}{median(values):>9.3f} ms a step")
    if ratio:
        print(
            f"  {OURS.name} / {ratio.reference}: {ratio.median:.2f} "
            f"({ratio.min:.2f} to {ratio.max:.2f} in {rounds} rounds)"
        )
    return {
        "median_ms": {key: median(values) for key, values in times.items()},
        "rounds_ms": times,
        "ratio": asdict(ratio) if ratio else None,
    }


def check(name: str) -> None:
    """Exit unless every library computes what ours computes, from the same weights."""
    build = WORKLOADS[name]
    for library in libraries(name)[1:]:
        if found := list(disagreements(build(OURS), build(library))):
            sys.exit(
                f"{name}: {OURS.name} and {library.name} compute different things, "
                "so their times cannot be compared:\n  " + "\n  ".join(found)
            )


def profile(name: str, steps: int) -> None:
    """Where our own time goes; worker threads show as waiting in the thread that called them."""
    step = WORKLOADS[name](OURS).step
    step()
    profiler = cProfile.Profile()
    with profiler:
        for _ in range(steps):
            step()
    pstats.Stats(profiler).sort_stats("cumulative").print_stats(25)


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} given, at least 1 expected")
    return number


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", choices=WORKLOADS, help="run this workload alone")
    parser.add_argument("--repeats", type=positive, default=15, help="rounds (default 15)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to FILE too")
    parser.add_argument(
        "--profile",
        choices=WORKLOADS,
        metavar="NAME",
        help="run --repeats steps of ours in a profiler instead; the main thread is what it sees",
    )
    options = parser.parse_args()
    if options.profile:
        profile(options.profile, options.repeats)
        return
    if torch is None:
        print("Timing tinygrad_cv alone: pip install tinygrad_cv[bench] to compare with PyTorch.")
    else:
        torch.set_num_threads(tg.get_num_threads())
    about = machine()
    blas = ", ".join(
        f"{pool['internal_api']} {pool['version']} ({pool['num_threads']} threads)"
        for pool in about["blas"]
    )
    print(
        f"{about['cores']} cores, NumPy {about['numpy']} with {blas or 'an unknown BLAS'}, "
        + (
            f"PyTorch {torch.__version__} ({about['torch_threads']} threads)"
            if torch
            else "no PyTorch"
        )
    )
    names = [options.only] if options.only else list(WORKLOADS)
    results = {name: run(name, options.repeats) for name in names}
    if options.json:
        options.json.write_text(json.dumps({"machine": about, "workloads": results}, indent=2))


if __name__ == "__main__":
    main()
