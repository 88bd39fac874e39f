"""The examples in the docstrings run, so none of them can go stale."""

import doctest
import importlib
import io
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import tinygrad_cv
import tinygrad_cv.viz

pytestmark = pytest.mark.host  # what the examples print names no device

GPU_PACKAGES = {"cudnn", "cupy"}


class Finder(doctest.DocTestFinder):
    """Takes `__module__` for where a thing is defined.

    The stock finder compares a function's globals with the module's, and so misses functions that
    a decorator or a factory in another module made.
    """

    def _from_module(self, module: ModuleType, object: object) -> bool:
        return getattr(object, "__module__", module.__name__) == module.__name__


def module_names() -> list[str]:
    names = set()
    # An editable install keeps viz outside the package's folder, so it has a walk of its own.
    for package in (tinygrad_cv, tinygrad_cv.viz):
        found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        names |= {package.__name__, *(module.name for module in found)}
    names |= {f"tinygrad_cv.examples.{name}" for name in ("course", "index", "notebooks")}
    return sorted(names - {"tinygrad_cv.__main__"})  # to import that is to run the command


def docstrings() -> Iterator[object]:
    for name in module_names():
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in GPU_PACKAGES:
                raise
            reason = f"{name} needs {error.name}"
            yield pytest.param(None, id=name, marks=pytest.mark.skip(reason=reason))
        else:
            for docstring in Finder(exclude_empty=True).find(module):
                if docstring.examples:
                    yield pytest.param(docstring, id=docstring.name)


@pytest.mark.parametrize("docstring", list(docstrings()))
def test_docstring(
    docstring: doctest.DocTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where an example that draws leaves its picture
    report = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(docstring, out=report.write)
    if runner.failures:
        pytest.fail(report.getvalue(), pytrace=False)
