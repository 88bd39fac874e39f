"""The types of a command's arguments, and how it says that something is wrong."""

import argparse
import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from reprlib import repr as short
from typing import Any, NoReturn


class CommandError(Exception):
    """Ends the program with this sentence and this status."""

    def __init__(self, sentence: str, status: int = 2) -> None:
        super().__init__(sentence)
        self.status = status


class Parser(argparse.ArgumentParser):
    """A parser that says in one sentence what is wrong, without a page of usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        with suppress(OSError):  # nobody is there to read it
            super()._print_message(message, file)


MOST = 1_000_000_000


def integer(least: int, most: float = MOST) -> Callable[[str], int]:
    """The argument type of whole numbers from `least` to `most`."""

    def convert(text: str) -> int:
        with suppress(ValueError):
            if least <= (number := int(text)) <= most:
                return number
            if number > most:
                raise argparse.ArgumentTypeError(
                    f"expected a whole number of at most {most:,}, given {short(text)}."
                )
        raise argparse.ArgumentTypeError(
            f"expected a whole number of at least {least}, given {short(text)}."
        )

    return convert


def positive(text: str) -> float:
    """The argument type of numbers above 0."""
    with suppress(ValueError):
        if 0 < (number := float(text)) < math.inf:
            return number
    raise argparse.ArgumentTypeError(f"expected a number above 0, given {short(text)}.")


def seconds(text: str) -> float:
    """The argument type of times."""
    with suppress(ValueError):
        if 0 <= (number := float(text)) < math.inf:
            return number
    raise argparse.ArgumentTypeError(f"expected a number, 0 or more, given {short(text)}.")


def finite(text: str) -> float:
    """The argument type of numbers that are neither NaN nor infinite."""
    with suppress(ValueError):
        if math.isfinite(number := float(text)):
            return number
    raise argparse.ArgumentTypeError(f"expected a finite number, given {short(text)}.")


def given(text: str) -> str:
    """The argument type of names: an empty one, as of a variable that is not set, is none."""
    if not text:
        raise argparse.ArgumentTypeError("expected a name, given ''.")
    return text


def path(text: str) -> Path:
    """The argument type of paths."""
    return Path(given(text))


AXES = 64  # what a NumPy array can have


def shape(text: str) -> tuple[int, ...]:
    """The argument type of shapes: "2,3", or "" for a number."""
    with suppress(ValueError):
        lengths = tuple(int(part) for part in text.split(",") if part.strip())
        if (
            min(lengths, default=0) >= 0
            and len(lengths) <= AXES
            and max(lengths, default=0) <= MOST
        ):
            return lengths
    raise argparse.ArgumentTypeError(
        f"expected at most {AXES} lengths of at most {MOST:,}, such as 2,3; given {short(text)}."
    )
