"""The labs as Jupyter notebooks, made from their programs by jupytext."""

import ast
import shlex
from collections.abc import Sequence

from tinygrad_cv.examples.course import FOLDER, OPTIONS, title


def notebook(name: str, options: Sequence[str] = ()) -> tuple[str, int]:
    """A lab as the text of a notebook, and the number of its cells.

    Its title is the first cell, and `# %%` begins each other one. The lab is run with `options`,
    those of its command line, which stand in a cell at the beginning.

    Raises ModuleNotFoundError without the extra `notebooks`.

    >>> from tinygrad_cv.examples.notebooks import notebook
    >>> text, cells = notebook("01_backprop", ["--quick"])
    >>> '"# 01_backprop. ' in text
    True
    """
    try:
        import jupytext
        from nbformat.v4 import new_code_cell, new_markdown_cell
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "a notebook is made by jupytext; run pip install 'tinygrad_cv[notebooks]'."
        ) from error
    program = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    docstring = ast.parse(program).body[0].end_lineno
    cells = "".join(program.splitlines(keepends=True)[docstring:]).lstrip("\n")
    made = jupytext.reads(cells, fmt="py:percent")
    first = [new_markdown_cell(f"# {name}. {title(name)}", id="title")]
    if options:
        line = f"os.environ[{OPTIONS!r}] = {shlex.join(options)!r}"
        first.append(new_code_cell(f"import os\n\n{line}", id="options"))
    made.cells[:0] = first
    for number, cell in enumerate(made.cells[len(first) :], 1):
        cell.id = f"cell-{number}"  # and not at random: the same lab is the same file
    made.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    return jupytext.writes(made, fmt="ipynb"), len(made.cells)
