"""`tinygrad-cv lab`: list the labs of the course, run one or all, or make a notebook of one."""

import argparse
import math
import runpy
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tinygrad_cv.cli.arguments import CommandError, given, integer, path
from tinygrad_cv.storage import write

ALL = "all"


def add(commands: Any) -> None:
    """Describe the options."""
    parser = commands.add_parser(
        "lab",
        help="run a lab of the course, or all of them, or list them",
        description=(
            "Run a lab: a program of a page or two that does what a lecture says, prints its "
            "numbers beside the deck's and draws its pictures. Without NAME the labs are listed, "
            "with their lectures and how many seconds they take. The status is 1 if a number is "
            "off."
        ),
        allow_abbrev=False,
    )
    parser.add_argument(
        "name",
        nargs="?",
        type=given,
        metavar="NAME",
        help="such as 05_initialization, 5 or init; 'all' runs them all, and ends with a table",
    )
    parser.add_argument(
        "--data", type=path, metavar="PATH", help="real data in place of what is embedded"
    )
    parser.add_argument(
        "--out", type=path, default=Path("labs"), metavar="DIR", help="where pictures go: labs"
    )
    parser.add_argument(
        "--seed", type=integer(0, math.inf), default=0, metavar="N", help="default: %(default)s"
    )
    parser.add_argument("--quick", action="store_true", help="a short run")
    parser.add_argument(
        "--notebook",
        type=path,
        metavar="FILE.ipynb",
        help="do not run it, but write it as a notebook that does so, with these options; with "
        "'all' a folder of notebooks",
    )
    parser.set_defaults(run=lab)


def lab(options: argparse.Namespace) -> None:
    """List the labs, or do what was asked with one or all of them."""
    from tinygrad_cv.examples import course

    if options.name is None:
        if options.said - {"lab"}:
            raise CommandError("argument NAME: say which lab, or 'all'.")
        _list(course.NAMES)
        return
    if options.data is not None and not options.data.exists():
        raise CommandError(f"argument --data: there is no {options.data}.")
    names = course.NAMES if options.name == ALL else [named(options.name, course.NAMES)]
    if options.notebook is not None:
        for name in names:
            file = options.notebook / f"{name}.ipynb" if options.name == ALL else options.notebook
            if options.name == ALL:
                options.notebook.mkdir(parents=True, exist_ok=True)
            print(f"{file}: {_notebook(name, file, options)} cells")
    elif options.name == ALL:
        _run_all(names, options)
    else:
        _run(names[0], options)


def named(text: str, names: list[str]) -> str:
    """The lab that is meant by its name, its number, or the beginning of one of them.

    >>> from tinygrad_cv.cli.lab import named
    >>> labs = ["01_backprop", "05_initialization", "15_convnet"]
    >>> [named(text, labs) for text in ("5", "05", "init", "01_back", "15_convnet.py")]
    ['05_initialization', '05_initialization', '05_initialization', '01_backprop', '15_convnet']
    """
    text = text.removesuffix(".py")
    if text in names:
        return text
    if text.isdecimal():
        found = [name for name in names if name.startswith(f"{int(text):02d}_")]
    else:
        found = [name for name in names if text in (name[: len(text)], name[3 : 3 + len(text)])]
    if not found:
        raise CommandError(
            f"argument NAME: no lab is called {text}; run it without NAME for a list."
        )
    if len(found) > 1:
        raise CommandError(f"argument NAME: {text} may be {' or '.join(found)}.")
    return found[0]


def _list(names: list[str]) -> None:
    from tinygrad_cv.examples.course import title
    from tinygrad_cv.examples.index import DECKS, INDEX

    rows = [("lab", "decks", "seconds", "about")]
    for name in names:
        entry = INDEX[name]
        rows.append((name, entry.decks, f"{entry.seconds:g}", title(name)))
    _table(rows)
    print()
    for key, deck in DECKS.items():
        print(f"{key}  {deck}")


def _table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _arguments(options: argparse.Namespace) -> list[str]:
    """The options of a lab, as its program takes them."""
    data = [] if options.data is None else ["--data", str(options.data)]
    quick = ["--quick"] if options.quick else []
    return [*data, "--out", str(options.out), "--seed", str(options.seed), *quick]


def _run(name: str, options: argparse.Namespace) -> None:
    """Run one in this process, as Python would run its file."""
    from tinygrad_cv.data import DatasetError
    from tinygrad_cv.examples.course import FOLDER

    program = str(FOLDER / f"{name}.py")
    try:
        with patch("sys.argv", [program, *_arguments(options)]):
            runpy.run_path(program, run_name="__main__")
    except SystemExit as error:  # with what was off
        if error.code:
            raise CommandError(str(error.code), status=1) from error
    except DatasetError as error:
        raise CommandError(f"argument --data: {error}") from error
    except ModuleNotFoundError as error:  # it says what to install
        raise CommandError(f"{name}: {error}", status=1) from error


def _run_all(names: list[str], options: argparse.Namespace) -> None:
    """Run each in a process of its own, and say how long it took."""
    rows, failed = [("lab", "seconds", "")], []
    for name in names:
        started = time.perf_counter()
        sys.stdout.flush()
        command = [sys.executable, "-m", "tinygrad_cv", "lab", name, *_arguments(options)]
        status = subprocess.run(command).returncode
        if status == 130:
            raise KeyboardInterrupt
        if status:
            failed.append(name)
        seconds = f"{time.perf_counter() - started:.1f}"
        rows.append((name, seconds, f"failed, status {status}" if status else ""))
        print()
    _table(rows)
    if failed:
        raise CommandError(f"{len(failed)} of {len(names)} failed: {', '.join(failed)}.", status=1)


def _notebook(name: str, file: Path, options: argparse.Namespace) -> int:
    """Write a lab as a notebook, and return the number of its cells."""
    from tinygrad_cv.examples.notebooks import notebook

    if file.suffix != ".ipynb":
        raise CommandError(f"argument --notebook: expected a FILE.ipynb, given {file}.")
    asked = _arguments(options) if options.said & {"--data", "--out", "--seed", "--quick"} else []
    try:
        text, cells = notebook(name, asked)
    except ModuleNotFoundError as error:
        raise CommandError(str(error), status=1) from error
    try:
        write(file, text.encode())
    except OSError as error:
        raise CommandError(f"argument --notebook: {file}: {error.strerror}.") from error
    return cells
