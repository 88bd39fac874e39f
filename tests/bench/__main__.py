"""Times tinygrad_cv beside PyTorch on the CPU: `python -m tests.bench --help`."""

import argparse
import cProfile
import json
import platform
import pstats
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import tinygrad_cv as tg

from . import once, report
from .limits import least_ms, limits
from .measure import TURN, disagreements, fastest, interleaved
from .peers import EAGER, KERNELS, OURS, THEIRS, others, ours, theirs, torch
from .workloads import WORKLOADS, Library, Workload

NAMES = (*WORKLOADS, *once.UNITS)


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        cpu = models[0].split(":")[1].strip() if models else cpu
    threads = tg.get_num_threads()
    return {
        "cpu": cpu,
        "date": date.today().isoformat(),
        "threads": threads,
        "numpy": np.__version__,
        "torch": torch.__version__ if torch else None,
        "kernels": KERNELS,
        "limits": limits(threads),
    }


Build = Callable[[Library], Workload]


def builders(name: str, compiled: bool) -> dict[Library, Build]:
    """Every library that takes part, and how it makes the workload."""
    entry = WORKLOADS[name]
    built: dict[Library, Build] = dict.fromkeys((*ours(), *theirs(entry.images, compiled)), entry)
    for peer, build in others(name).items():
        built[replace(EAGER, name=peer, module=None)] = lambda _, build=build: build()
    return built


def compared(name: str, library: Library, build: Build) -> list[str]:
    """How its results differ from ours: of a tiny step in float64, and of a whole one."""
    entry, found = WORKLOADS[name], []
    for dtype, sizes in (("float64", entry.tiny), ("float32", {})):
        first = replace(EAGER, dtype=dtype)
        first.switch()
        mine = entry(first, **sizes)
        library.switch()
        if library.module is None:  # it has one size, and one dtype
            if dtype == "float32":
                found += disagreements(mine, build(library), dtype)
        else:
            found += disagreements(mine, entry(replace(library, dtype=dtype), **sizes), dtype)
    return found


def check(name: str, built: dict[Library, Build]) -> list[Library]:
    """Exit unless every library computes what ours computes; which of them can run it at all."""
    able = [EAGER]
    for library, build in built.items():
        if library is EAGER:
            continue
        try:
            found = compared(name, library, build)
        except Exception as error:  # such as a compiler that is not there
            if library.name in (OURS, THEIRS):
                raise
            print(f"  {library.name} does not run it: {type(error).__name__}: {error}"[:200])
            continue
        if found:
            sys.exit(
                f"{name}: {OURS} and {library.name} compute different things, "
                "so their times cannot be compared:\n  " + "\n  ".join(found)
            )
        able.append(library)
    return able


def run(name: str, options: argparse.Namespace, about: dict[str, Any]) -> dict[str, Any]:
    """Check one workload, time it, and give its numbers."""
    built = builders(name, options.compile_peers)
    able = check(name, built)
    steps = {}
    for library in able:
        library.switch()
        steps[library] = built[library](library).step

    def progress(done: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{name}: round {done + 1}\x1b[K\r", end="", file=sys.stderr, flush=True)

    times = interleaved(steps, options.repeats, progress, options.turn)
    EAGER.switch()
    return {
        "name": name,
        "doc": WORKLOADS[name].doc,
        "unit": "ms",
        "medians": {key: value.median for key, value in times.items()},
        "turns": {k: (len(t.quiet), len(t.quiet) + len(t.disturbed)) for k, t in times.items()},
        "reference": fastest(times, [key for key in times if key.startswith(THEIRS)]),
        "least_ms": least_ms(WORKLOADS[name](EAGER), about["limits"], about["threads"]),
    }


def run_once(name: str) -> dict[str, Any]:
    """What is measured in processes of its own."""
    libraries = [OURS, *([f"{OURS} compiled"] if hasattr(tg, "compile") else [])]
    if name == "import":
        libraries = [OURS]
    if torch and name != "digits":
        libraries.append(THEIRS)
    return {
        "name": name,
        "doc": {
            "import": "Import.",
            "first_step": "Import and first step of the ConvNet.",
            "peak_memory": "Peak memory of the ConvNet step.",
            "digits": "The digits main job.",
        }[name],
        "unit": once.UNITS[name],
        "medians": {library: once.measured(name, library) for library in libraries},
        "turns": {},
        "reference": THEIRS if THEIRS in libraries else None,
        "least_ms": None,
    }


def profile(name: str, steps: int) -> None:
    """Where our own time goes; worker threads show as waiting in the thread that called them."""
    step = WORKLOADS[name](EAGER).step
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


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", choices=NAMES, nargs="+", help="run these alone", metavar="NAME")
    parser.add_argument("--repeats", type=positive, default=15, help="quiet rounds (default 15)")
    parser.add_argument("--turn", type=float, default=TURN, help="seconds (default %(default)s)")
    parser.add_argument(
        "--compile-peers", action="store_true", help="torch.compile too, which takes minutes"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to FILE too")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw the ratios (extra viz)")
    parser.add_argument(
        "--readme",
        type=Path,
        nargs="?",
        const=Path("tests/bench/README.md"),
        metavar="FILE",
        help="write the table between the markers of FILE (tests/bench/README.md)",
    )
    parser.add_argument(
        "--profile",
        choices=WORKLOADS,
        metavar="NAME",
        help="run --repeats steps of ours in a profiler instead; the main thread is what it sees",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    options = arguments(argv)
    if options.profile:
        profile(options.profile, options.repeats)
        return
    if torch is None:
        print("Timing tinygrad_cv alone: pip install tinygrad_cv[bench] to compare with PyTorch.")
    else:
        torch.set_num_threads(tg.get_num_threads())
    about = machine()
    print(report.machine_line(about))
    results: dict[str, Any] = {"machine": about, "workloads": {}}
    names, start = options.only or NAMES, perf_counter()
    for i, name in enumerate(names):
        minutes = (perf_counter() - start) / 60
        print(f"{i + 1} of {len(names)}, after {minutes:.1f} min: {name}", file=sys.stderr)
        result = run_once(name) if name in once.UNITS else run(name, options, about)
        results["workloads"][name] = result
        print(*report.lines(result), sep="\n", flush=True)
        if options.json:  # after each: a long run that is broken off leaves what it has
            options.json.write_text(json.dumps(results, indent=2))
    if options.chart:
        report.chart(options.chart, results)
    if options.readme:
        report.rewrite(options.readme, results)


if __name__ == "__main__":
    main()
