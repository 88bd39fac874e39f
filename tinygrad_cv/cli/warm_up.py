"""`tinygrad-cv warm-up`: compile the kernels for this CPU."""

import argparse
import sys
import time
from typing import Any

from tinygrad_cv.backend import set_kernels
from tinygrad_cv.backend.switch import INSTALL, has_numba
from tinygrad_cv.cli.arguments import CommandError


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "warm-up",
        help="compile the kernels for this CPU now, and not on their first use",
        description=(
            "Compile all kernels for this CPU. They are kept in the user's cache folder, and take "
            "no time again until the package, numba or the CPU is another."
        ),
        allow_abbrev=False,
    )
    parser.set_defaults(run=warm_up)


def warm_up(options: argparse.Namespace) -> None:
    """Run a small network for each family of kernels."""
    if not has_numba():
        raise CommandError(f"kernels are compiled by numba, which is missing; {INSTALL}.", status=1)
    from tinygrad_cv._warm_up import FAMILIES
    from tinygrad_cv.backend.compiled import jit

    jit.WAITING.said = True  # whoever gives this command knows
    set_kernels("compiled")
    started = time.perf_counter()
    terminal = sys.stdout.isatty()
    for number, (name, run) in enumerate(FAMILIES.items(), 1):
        if terminal:
            print(f"\r\x1b[Kcompiling {number} of {len(FAMILIES)}: {name}", end="", flush=True)
        run()
    ready = sum(len(kernel.signatures) for kernel in jit.KERNELS)
    new = sum(kernel.stats.cache_misses.total() for kernel in jit.KERNELS)
    folder = jit.usable_folder()
    print(
        f"{chr(13) + chr(27) + '[K' if terminal else ''}{ready} compiled kernels, {new} of them "
        f"new, in {time.perf_counter() - started:.1f} s"
        + (f"; they are kept in {folder}" if folder else "")
    )
    if folder is None:
        raise CommandError(
            "they are not kept: there is no cache folder that this user alone can write to.",
            status=1,
        )
