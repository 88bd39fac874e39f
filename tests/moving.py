"""Programs written for PyTorch, run here with nothing but their import lines changed.

The programs are in tests/moved/: ours, in the idioms that are common in public programs of computer
vision. Each takes its data from NumPy, and the start of its weights from
`fixed`; it leaves what it has computed in `losses`. What PyTorch computes is written into
tests/moved/losses.json by

    python -m tests.moving

which needs PyTorch, as tests/beside_torch/test_moved.py does, which compares the two again.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "moved"
PROGRAMS = {path.stem: path for path in sorted(FOLDER.glob("*.py"))}
LOSSES = FOLDER / "losses.json"

IMPORT = re.compile(r"^(import|from) torch\b(?! as\b)", re.MULTILINE)


def moved(source: str) -> str:
    """The program with its import lines changed.

    >>> print(moved("import torch\\nimport torch.nn as nn\\nfrom torch import optim"))
    import tinygrad_cv as torch
    import tinygrad_cv.nn as nn
    from tinygrad_cv import optim
    """
    source = re.sub(r"^import torch$", "import tinygrad_cv as torch", source, flags=re.MULTILINE)
    return IMPORT.sub(r"\1 tinygrad_cv", source)


def fixed(module: Any) -> Any:
    """The module with weights that do not depend on the library."""
    rng = np.random.default_rng(0)
    for parameter in module.parameters():
        values = rng.standard_normal(tuple(parameter.shape)) * 0.3
        parameter.data.copy_(parameter.data.new_tensor(values))
    return module


def run(source: str) -> list[float]:
    """What the program leaves in `losses`."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "<program>", "exec"), names)
    return [float(value) for value in names["losses"]]


def main() -> None:
    sys.path.insert(0, str(FOLDER.parent))  # the programs import this module as the tests do
    losses = {name: run(path.read_text(encoding="utf-8")) for name, path in PROGRAMS.items()}
    lines = [f"{json.dumps(name)}: {json.dumps(values)}" for name, values in losses.items()]
    LOSSES.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
