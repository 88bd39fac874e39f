"""Write down which functions, methods and keywords CuPy has, for the stand-in to hold us to.

    python -m tests.gpu.snapshot

CuPy can be imported and looked at where there is no driver. The result is
tinygrad_cv/testing/cupy_names.json, which names the version that was looked at.
"""

import inspect
import json
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

TARGET = Path(__file__).parents[2] / "tinygrad_cv" / "testing" / "cupy_names.json"


def names() -> dict[str, Any]:
    """What the installed CuPy has."""
    import cupy

    public = [name for name in dir(cupy) if not name.startswith("_")]
    found: dict[str, Any] = {
        "cupy": cupy.__version__,
        "shared": [n for n in public if hasattr(np, n) and getattr(np, n) is getattr(cupy, n)],
        "functions": {},
        "ufuncs": {},
        "methods": {},
        "modules": {},
    }
    for name in public:
        value = getattr(cupy, name)
        if name in found["shared"] or isinstance(value, type | ModuleType) or not callable(value):
            continue
        if isinstance(value, cupy.ufunc):
            found["ufuncs"][name] = from_docstring(value)
        elif (signature := from_signature(value)) is not None:
            found["functions"][name] = signature
    for name in dir(cupy.ndarray):
        method = getattr(cupy.ndarray, name)
        if not name.startswith("_") and callable(method):
            signature = from_docstring(method)
            found["methods"][name] = signature.removeprefix("self").removeprefix(", ")
    for module in (cupy.linalg, import_module("cupyx.scipy.special")):
        for name in dir(module):
            value = getattr(module, name)
            if isinstance(value, cupy.ufunc):
                stated = "(" in value.__doc__.partition("\n")[0]
                text = from_docstring(value) if stated else positional(value)
            else:
                text = (from_signature(value) if inspect.isfunction(value) else None) or ""
            if text and not name.startswith("_"):
                found["modules"].setdefault(module.__name__, {})[name] = text
    return found


def positional(ufunc: Any) -> str:
    """The parameters of a ufunc whose docstring does not state them."""
    inputs = "".join(f"x{i}, " for i in range(1, ufunc.nin + 1))
    return f"{inputs}/, out=..., *, casting=..., dtype=..."


def main() -> None:
    found = names()
    TARGET.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    counts = ", ".join(f"{len(found[kind])} {kind}" for kind in ("functions", "ufuncs", "methods"))
    print(f"{TARGET.name}: CuPy {found['cupy']}, {counts}")


def from_signature(function: Any) -> str | None:
    """The parameters as in a `def`, without annotations and with `...` for every default."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return None
    bare = [
        p.replace(
            annotation=inspect.Parameter.empty, default=p.default if p.default is p.empty else ...
        )
        for p in parameters
    ]
    return str(inspect.Signature(bare)).strip("()").replace("Ellipsis", "...")


def from_docstring(function: Any) -> str:
    """The same from the first line of a docstring, where compiled functions state it."""
    line = re.sub(r"\\", "", (function.__doc__ or "").partition("\n")[0])
    text = re.sub(r"\s*->.*$", "", line)
    inside = text[text.index("(") + 1 : text.rindex(")")]
    typed = re.sub(r"\b(?:int|_ndarray_base|Py_ssize_t) (?=\w)", "", inside)
    return re.sub(r"=[^,)]+", "=...", typed)


if __name__ == "__main__":
    main()
