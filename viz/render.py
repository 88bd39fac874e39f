"""From DOT text to a picture: run Graphviz's `dot`, or `graphviz-pure` where there is none."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

FORMATS = (".svg", ".png")
PNG_DPI = 144  # small type stays legible on a projector


def renderer() -> str:
    """The program that lays out graphs: `dot` on PATH, else `graphviz-pure`, which takes the same.

    A wheel puts its programs beside the interpreter, and that folder is often not on PATH.
    """
    beside = (str(Path(sys.executable).parent), sysconfig.get_path("scripts"))
    found = (
        shutil.which("dot")
        or shutil.which("graphviz-pure", path=os.pathsep.join(beside))
        or shutil.which("graphviz-pure")
    )
    if found is None:
        raise RuntimeError(
            "to render a graph, the program `dot` or `graphviz-pure` is needed; run "
            "pip install 'tinygrad_cv[viz]', or install Graphviz (https://graphviz.org/download). "
            "Saving as .dot works without them."
        )
    return found


def render(source: str, suffix: str, timeout: float) -> bytes:
    """The picture of DOT text as the contents of a file with this suffix, one of `FORMATS`."""
    program = renderer()
    command = [program, f"-T{suffix[1:]}"]
    if suffix == ".png":
        command.append(f"-Gdpi={PNG_DPI}")
    try:
        done = subprocess.run(command, input=source.encode(), capture_output=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise TimeoutError(
            f"{program} did not finish within {timeout:g} s. Give it longer (timeout=...), draw a "
            "smaller part of the graph, or save it as .dot."
        ) from None
    if done.returncode != 0:
        complaint = done.stderr.decode(errors="replace").strip()[-1000:]
        raise RuntimeError(f"{program} failed with status {done.returncode}: {complaint}")
    return done.stdout


def check_path(path: str | os.PathLike[str], suffixes: tuple[str, ...]) -> Path:
    """The path, if a picture can be saved there in a format that its suffix names."""
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise ValueError(
            f"the suffix of a picture's file says its format, one of {', '.join(suffixes)}; "
            f"got {str(path)!r}."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"the folder {str(path.parent)!r} for {path.name!r} does not exist; create it first."
        )
    return path
