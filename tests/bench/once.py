"""What is measured once a process: imports, a first step, the peak of memory, the digits.

`python -m tests.bench.once WHAT LIBRARY` prints one number; `python -m tests.bench` calls it.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

UNITS = {"import": "s", "first_step": "s", "peak_memory": "MB", "digits": "s"}
MODULES = {"tinygrad_cv": "tinygrad_cv", "tinygrad_cv compiled": "tinygrad_cv", "torch": "torch"}
REPEATS = {"import": 5, "first_step": 3, "peak_memory": 1, "digits": 1}


def measured(what: str, library: str) -> float:
    """In a process of its own; the median of a few."""
    return median(
        float(
            subprocess.run(
                [sys.executable, "-m", "tests.bench.once", what, library],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for _ in range(REPEATS[what])
    )


def _import(library: str) -> float:
    start = time.perf_counter()
    __import__(MODULES[library])
    return time.perf_counter() - start


def _library(name: str) -> Any:
    from .peers import ours, theirs

    return next(x for x in (*ours(), *theirs(False, False)) if x.name == name)


def _first_step(library: str) -> float:
    """Import, building the ConvNet, and one step of it, with the kernels in the cache."""
    start = time.perf_counter()
    from .workloads import WORKLOADS

    WORKLOADS["convnet"](_library(library)).step()
    return time.perf_counter() - start


def _resident(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {field}")


def _peak_memory(library: str) -> float:
    """How much larger the process is at its peak during three steps than before it is built.

    A tiny step goes first: it loads the code, and compiles what is to be compiled.
    """
    from .workloads import WORKLOADS

    convnet, chosen = WORKLOADS["convnet"], _library(library)
    convnet(chosen, batch=1).step()
    before = _resident("VmRSS")
    step = convnet(chosen).step
    for _ in range(3):
        step()
    return _resident("VmHWM") - before


def _digits(library: str) -> float:
    """The main job of the command line."""
    options = ["--compile"] if library.endswith("compiled") else []
    with TemporaryDirectory() as folder:
        start = time.perf_counter()
        command = [
            sys.executable,
            "-m",
            "tinygrad_cv",
            "train",
            "--out",
            os.path.join(folder, "run"),
        ]
        subprocess.run([*command, *options], check=True, capture_output=True)
        return time.perf_counter() - start


WHAT: dict[str, Callable[[str], float]] = {
    "import": _import,
    "first_step": _first_step,
    "peak_memory": _peak_memory,
    "digits": _digits,
}

if __name__ == "__main__":
    print(WHAT[sys.argv[1]](sys.argv[2]))
