"""One import name: viz/ is tinygrad_cv.viz, examples/ tinygrad_cv.examples, however installed."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.host  # nothing is computed

ROOT = Path(__file__).parent.parent

IMPORT = """
import importlib.resources
import importlib.util

import tinygrad_cv.examples.course
import tinygrad_cv.viz

assert tinygrad_cv.viz.__name__ == "tinygrad_cv.viz"
assert importlib.resources.files("tinygrad_cv.data.digits").joinpath("digits.npz").is_file()
assert importlib.util.find_spec("viz") is None, importlib.util.find_spec("viz")
print(tinygrad_cv.__file__)
"""


def run(*command: str, cwd: Path, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=cwd, env=inherited | environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, unpacked. It is built from a copy, which no earlier build/ folder can feed."""
    folder = tmp_path_factory.mktemp("wheel")
    project, unpacked = folder / "project", folder / "unpacked"
    project.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, project)
    for name in ("tinygrad_cv", "viz", "tests", "examples"):
        caches = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, project / name, ignore=caches)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", cwd=project)
    [built] = project.glob("dist/*.whl")
    zipfile.ZipFile(built).extractall(unpacked)
    return unpacked


def files(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name != "README.md"
    }


def test_wheel_holds_the_three_folders_and_nothing_else(wheel: Path) -> None:
    """Of the examples what runs, and the data that it reads, but not the pictures of README."""
    held = {name for name in files(wheel) if ".dist-info/" not in name}
    package = {f"tinygrad_cv/{name}" for name in files(ROOT / "tinygrad_cv")}
    viz = {f"tinygrad_cv/viz/{name}" for name in files(ROOT / "viz")}
    run = (".py", ".safetensors", ".txt")
    examples = {
        f"tinygrad_cv/examples/{name}" for name in files(ROOT / "examples") if name.endswith(run)
    }
    assert held == package | viz | examples
    assert held >= {
        "tinygrad_cv/py.typed",
        "tinygrad_cv/_stubs/names.pyi",
        "tinygrad_cv/data/digits/digits.npz",
        "tinygrad_cv/viz/__init__.py",
    }


def test_wheel_declares_the_command_and_the_version(wheel: Path) -> None:
    [distribution] = importlib.metadata.distributions(path=[str(wheel)])
    [command] = distribution.entry_points.select(group="console_scripts")
    assert (command.name, command.value) == ("tinygrad-cv", "tinygrad_cv.cli:main")
    assert callable(command.load())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert distribution.version == project["version"]


def test_wheel_imports_from_elsewhere(wheel: Path, tmp_path: Path) -> None:
    imported = run(sys.executable, "-c", IMPORT, cwd=tmp_path, PYTHONPATH=str(wheel))
    assert Path(imported.strip()) == wheel / "tinygrad_cv" / "__init__.py"


def test_wheel_has_the_labs_and_runs_them(wheel: Path, tmp_path: Path) -> None:
    command = (sys.executable, "-m", "tinygrad_cv", "lab", "21", "--quick", "--out", "out")
    assert run(*command, cwd=tmp_path, PYTHONPATH=str(wheel)).startswith("21_gradient_check. ")
    assert files(tmp_path) == {"out/21_gradient_check_error_against_h.svg"}


def test_this_install_imports_from_elsewhere(tmp_path: Path) -> None:
    run(sys.executable, "-c", IMPORT, cwd=tmp_path)
