"""`tinygrad-cv check PATH::NAME`: an op of a user's file, checked from the shell."""

import subprocess
import sys
from pathlib import Path

import pytest

from tinygrad_cv.cli import main

EXAMPLE = Path(__file__).parent.parent / "examples" / "custom_op.py"


def run(*argv: str) -> None:
    main(["check", *argv])


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stopped:
        run(*argv)
    assert isinstance(stopped.value.code, int)
    return stopped.value.code, capsys.readouterr().err


def test_a_right_op(capsys: pytest.CaptureFixture[str]) -> None:
    run(f"{EXAMPLE}::Swish", "--input", "4,3", "--input", "3")
    printed = capsys.readouterr().out
    assert "right to order 2, on inputs of the shapes [(4, 3), (3,)]" in printed
    assert "beta" in printed


def test_a_wrong_op_in_its_own_process() -> None:
    command = [sys.executable, "-m", "tinygrad_cv", "check", f"{EXAMPLE}::Forgetful"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "the gradient of x is wrong at index" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_function(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def f(a, b, scale=2.0):\n    return (a * b).tanh() * scale\n")
    run(f"{path}::f")
    assert "right to order 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "name", "said"),
    [
        ("", "f", "has no op or function 'f'"),
        ("import nothing_of_that_name", "f", "running it failed"),
        ("f = 3", "f", "has no op"),
        ("def f(a):\n    return a @ a", "f", "does not run on inputs of the shapes (2, 3)"),
    ],
)
def test_a_file_that_does_not_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, name: str, said: str
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(source)
    status, message = refused(capsys, f"{path}::{name}")
    assert status in (1, 2)
    assert said in message


@pytest.mark.parametrize("target", ["nowhere.py::f", "nothing"])
def test_a_target_that_is_none(capsys: pytest.CaptureFixture[str], target: str) -> None:
    status, message = refused(capsys, target)
    assert status == 2
    assert "expected PATH::NAME" in message
    assert message.count("\n") == 1


def test_a_shape_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, f"{EXAMPLE}::Swish", "--input", "2,x")[0] == 2
