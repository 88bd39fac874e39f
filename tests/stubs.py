"""Write tinygrad_cv/_stubs/, from which type checkers learn the public names.

    python -m tests.stubs            writes it
    python -m tests.stubs --check    fails if it is stale

The names come from the one table (see `tinygrad_cv._public`), the methods from Tensor itself.
"""

import argparse
import ast
import builtins
import inspect
import re
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, get_overloads

import tinygrad_cv
import tinygrad_cv.distributions  # which marks its names when it is first used
from tinygrad_cv._public import (
    AMP,
    AUTOGRAD,
    AUTOGRAD_FUNCTIONAL,
    DISTRIBUTIONS,
    FUNC,
    FUNCTIONAL,
    LINALG,
    NN,
    OPTIM,
    PUBLIC,
    TOP,
)
from tinygrad_cv._tensor import Tensor

FOLDER = Path(tinygrad_cv.__file__).parent / "_stubs"
PLACES = {"names": TOP, "functional": FUNCTIONAL, "linalg": LINALG, "nn": NN, "optim": OPTIM}
PLACES |= {"autograd": AUTOGRAD, "autograd_functional": AUTOGRAD_FUNCTIONAL}
PLACES |= {"func": FUNC, "amp": AMP, "distributions": DISTRIBUTIONS}
HEADING = '"""Written by `python -m tests.stubs`."""\n\n# ruff: noqa\n'


class Stub:
    """One file: its definitions, and the imports that they need."""

    def __init__(self, hidden: Iterable[str] = ()) -> None:
        self.hidden = set(hidden)
        """Names of Python's that mean something else where the definitions stand."""
        self.imports = {"from typing import Any"}
        self.lines: list[str] = []

    def text(self, around: str = "") -> str:
        indent = "    " if around else ""
        lines = [around, *(indent + line for line in self.lines)]
        exported = {line.partition(" as ")[0] for line in self.imports if " as " in line}
        source = "\n".join([HEADING, *sorted(self.imports - exported), *lines, ""])
        ruff = [sys.executable, "-m", "ruff", "format", "--stdin-filename", "stub.pyi", "-"]
        done = subprocess.run(ruff, input=source, capture_output=True, text=True, check=True)
        return done.stdout

    def annotation(self, value: Any) -> str:
        """An annotation as source; what it names is imported."""

        def named(match: re.Match[str]) -> str:
            module, _, name = match[0].rpartition(".")
            if module:
                self.imports.add(f"from {module} import {name}")
            elif name in self.hidden:
                self.imports.add("import builtins")
                return f"builtins.{name}"
            return name

        return re.sub(r"[A-Za-z_][\w.]*", named, inspect.formatannotation(value))

    def signature(self, function: Any, method: bool) -> str:
        signature = inspect.signature(function, eval_str=True)
        parameters = list(signature.parameters.values())
        if method:
            parameters[0] = parameters[0].replace(name="self", annotation=inspect.Parameter.empty)
        elif parameters and parameters[0].name == "self":  # a method of Tensor as a function
            parameters[0] = parameters[0].replace(annotation=Tensor)
        written: list[str] = []
        stars: dict[Any, str] = {
            inspect.Parameter.VAR_POSITIONAL: "*",
            inspect.Parameter.VAR_KEYWORD: "**",
        }
        for p in parameters:
            if p.kind is p.KEYWORD_ONLY and not any(text.startswith("*") for text in written):
                written.append("*")
            text = f"{stars.get(p.kind, '')}{p.name}"
            text += "" if p.annotation is p.empty else f": {self.annotation(p.annotation)}"
            text += "" if p.default is p.empty else f" = {default(p.default)}"
            written.append(text)
        return f"({', '.join(written)}) -> {self.annotation(signature.return_annotation)}"

    def define(self, name: str, function: Any, method: bool = False) -> None:
        """One function; several lines where its source has overloads."""
        versions = get_overloads(inspect.unwrap(function))
        if versions:
            self.imports.add("from typing import overload")
        ignored = "  # type: ignore[override]" if name in ("__eq__", "__ne__") else ""
        for version in versions or [function]:
            self.lines += ["@overload"] * bool(versions)
            self.lines.append(f"def {name}{self.signature(version, method)}: ...{ignored}")


def default(value: Any) -> str:
    """The default of a parameter, where it can be written down."""
    try:
        return ascii(ast.literal_eval(repr(value)))
    except (SyntaxError, ValueError):
        return "..."


@cache
def names(place: str) -> str:
    """A namespace: what has a signature in its source is imported, so that editors find it."""
    stub = Stub()
    for name, thing in sorted(PUBLIC[place].items()):
        if thing.__module__ == place:
            continue  # a checker sees it there
        if "__signature__" not in vars(thing) and name == thing.__qualname__:
            stub.imports.add(f"from {thing.__module__} import {name} as {name}")
        else:
            stub.define(name, thing)
    return stub.text()


@cache
def methods() -> str:
    """A base class for Tensor: what it has that the body of its class does not define."""
    stub = Stub(hidden=(name for name in vars(builtins) if hasattr(Tensor, name)))
    for name, value in sorted(vars(Tensor).items()):
        function = value.fget if isinstance(value, property) else value
        if name == "__getattr__":
            continue  # it says what is not there
        if inspect.isfunction(function) and function.__module__ != Tensor.__module__:
            stub.lines += ["@property"] * (function is not value)
            stub.define(name, function, method=True)
    stub.imports.add(f"from {Tensor.__module__} import Tensor")
    return stub.text("class Attached:")


def stubs() -> dict[Path, str]:
    """Each file of the folder, and what it should hold."""
    contents = {name: names(place) for name, place in PLACES.items()} | {"methods": methods()}
    return {FOLDER / f"{name}.pyi": text for name, text in contents.items()}


def stale() -> list[str]:
    """The files that are not what the table says."""
    wanted = stubs()
    found = {path: path.read_text(encoding="utf-8") for path in FOLDER.glob("*")}
    return sorted(p.name for p in wanted.keys() | found if wanted.get(p) != found.get(p))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.stubs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if one is stale")
    if parser.parse_args().check:
        if old := stale():
            sys.exit(f"stale: {', '.join(old)}. Run python -m tests.stubs.")
        return
    for path, text in stubs().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
