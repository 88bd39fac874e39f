"""The examples run, and show what they say."""

import re
import runpy
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.host  # they run as they are

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_custom_op(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "custom_op.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "swish is right" in printed
    assert "∂L/∂beta = g · y · (x - y)" in printed
    assert "the gradient of x is wrong at index" in printed


def test_convnet_draws_the_picture_in_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / "convnet.py"), run_name="__main__")
    accuracy = float(capsys.readouterr().out.rsplit("test accuracy ", 1)[1].split("%")[0])
    assert accuracy > 90
    drawn = (tmp_path / "graph.svg").read_text(encoding="utf-8")
    shown = (EXAMPLES / "convnet.svg").read_text(encoding="utf-8")
    for words in (
        "backward of batch_norm",
        "images",
        "conv_weight(x, g)",
        "float32 (25, 16, 8, 8)",
    ):
        assert words in drawn
        assert words in shown


def test_pictures_are_those_in_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / "pictures.py"), run_name="__main__")
    played, watched = capsys.readouterr().out.rsplit("\n", 2)[:2]
    assert f"```\n{played}\n```" in (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    assert watched == "watched 32 steps; training.html has a slider over them"
    gates = (tmp_path / "gates.svg").read_text(encoding="utf-8")
    shown = (EXAMPLES / "gates.svg").read_text(encoding="utf-8")
    for words in ("f = mul", "q = add", "∂L/∂y = g · x"):
        assert words in gates
        assert words in shown
    blue = (tmp_path / "vanishing.svg").read_text(encoding="utf-8").lower().count("#0072b2")
    assert blue > gates.lower().count("#0072b2")  # arrows, and not the boxes of parameters alone


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_a_folder_of_pictures_is_trained_killed_gone_on_with_and_exported(tmp_path: Path) -> None:
    """With a small model; the evaluator is that of onnx, where onnxruntime is not installed."""
    pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("PIL", reason="Pillow is not installed")
    from folder_program import comes_to_the_same_bits

    small = "import tinygrad_cv.models as m; m.resnet18 = m.resnet20"
    told = comes_to_the_same_bits(tmp_path, small)
    assert re.fullmatch(r"test accuracy \d+\.\d%\nthe ONNX file agrees: True\n", told)
