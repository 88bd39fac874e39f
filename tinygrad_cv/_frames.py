"""Where the user's program is: the calls that are running outside of this package."""

import contextlib
import os
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from types import FrameType

PACKAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")
LABS = os.path.join(PACKAGE, "examples", "")


@cache
def _ours() -> tuple[str, ...]:
    """How the names of files begin that are not the user's: this package, and Python's way in.

    In a checkout the folder of `tinygrad_cv.viz` lies beside the others.
    """
    pictures = find_spec("tinygrad_cv.viz")
    folders = (pictures.submodule_search_locations or ()) if pictures is not None else ()
    beside = tuple(os.path.join(os.path.abspath(folder), "") for folder in folders)
    return (PACKAGE, *beside, contextlib.__file__, "<frozen ")


@cache
def is_ours(file: str) -> bool:
    """Whether a file is part of this package; the labs, which come with it, are programs.

    >>> is_ours(__file__), is_ours("train.py")
    (True, False)
    """
    return file.startswith(_ours()) and not file.startswith(LABS)


def frames_of_user() -> Iterator[FrameType]:
    """The calls of the user's program that are running, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not is_ours(frame.f_code.co_filename):
            yield frame
        frame = frame.f_back


def line_of_user() -> str:
    """The innermost line of the user's program: "train.py:12"; "" where none is running."""
    frame = next(frames_of_user(), None)
    return "" if frame is None else place_of(frame.f_code.co_filename, frame.f_lineno)


def place_of(file: str, line: int) -> str:
    """A line as messages and pictures name it.

    >>> place_of("/home/ada/train.py", 12)
    'train.py:12'
    """
    return f"{os.path.basename(file)}:{line}"
