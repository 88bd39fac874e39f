"""README.md tells the truth: its programs run, and its table of kinks is what the rules do."""

import re
from pathlib import Path

import numpy as np
import pytest

import tinygrad_cv as tg

pytestmark = pytest.mark.host  # its programs run as they are

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_program(
    number: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    tg.manual_seed(0)
    exec(compile(PROGRAMS[number], f"README program {number}", "exec"), {"__name__": "readme"})
    printed = capsys.readouterr().out
    for line in re.findall(r"print\(.*\)  # (.*)", PROGRAMS[number]):
        assert line in printed
    if "graph.svg" in PROGRAMS[number]:
        assert (tmp_path / "graph.svg").read_text(encoding="utf-8").count("<svg") == 1


def test_the_convnet_is_20_lines() -> None:
    lines = [line for line in PROGRAMS[0].splitlines() if line and "import" not in line]
    assert len(lines) <= 22


def gradient(f: object, at: list[float]) -> list[float]:
    x = tg.tensor(at, requires_grad=True)
    f(x).sum().backward()  # type: ignore[operator]
    assert x.grad is not None
    return list(x.grad.tolist())


KINKS = {
    "relu": lambda: (
        gradient(tg.relu, [0.0]) == [0.0] and np.allclose(gradient(tg.leaky_relu, [0.0]), [0.01])
    ),
    "abs": lambda: gradient(tg.abs, [0.0]) == [0.0],
    "max_pool2d": lambda: (
        gradient(lambda x: tg.max_pool2d(x.reshape(1, 1, 2, 2), 2), [1, 3, 3, 3.0]) == [0, 1, 0, 0]
    ),
    "max": lambda: (
        all(
            gradient(f, [2.0, 2.0, 1.0, 2.0]) == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3])
            for f in (tg.max, tg.amax, lambda x: tg.max(x, dim=0).values)
        )
        and gradient(tg.min, [1.0, 1.0]) == gradient(tg.amin, [1.0, 1.0]) == [0.5, 0.5]
    ),
    "maximum": lambda: (
        gradient(lambda x: tg.maximum(x, 1.0), [1.0])
        == gradient(lambda x: tg.minimum(1.0, x), [1.0])
        == [0.5]
    ),
    "clamp": lambda: gradient(lambda x: tg.clamp(x, -1, 1), [-1.0, 1.0, 2.0]) == [1, 1, 0],
    "x ** n": lambda: gradient(lambda x: x**0, [0.0]) == [0.0],
}


def test_the_table_of_kinks_is_complete() -> None:
    table = README.split("## At a kink")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([^`]*)`", table, re.MULTILINE)
    assert rows == list(KINKS)


@pytest.mark.parametrize("row", KINKS)
def test_kink(row: str) -> None:
    assert KINKS[row]()
