"""The examples run, and show what they say."""

import re
import runpy
import sys
from pathlib import Path

import pytest

from tinygrad_cv import cli, viz
from tinygrad_cv.examples.gallery import PIECES, gates

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
        "1 BatchNorm2d",
        "images",
        "conv_weight(images, g)",
        "float32 (25, 16, 8, 8)",
    ):
        assert words in drawn
        assert words in shown


def test_the_playback_of_the_gallerys_gates_is_the_one_in_readme() -> None:
    played = str(viz.playback(gates()[0]))
    assert f"```\n{played}\n```" in (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")


def test_the_gallery_has_every_kind_of_graph() -> None:
    assert set(PIECES) >= {
        *("two_gates", "sigmoid_neuron", "softmax", "two_layer_net", "convnet", "alexnet"),
        *("vgg16", "resnet18", "resnet18_backward", "resnet50", "densenet_block"),
        "inception_block",
        *("u_net", "lstm", "transformer", "gan", "double_backward", "nan", "dead", "vanishing"),
    }
    assert all(make.__doc__ for make in PIECES.values())


def test_the_gallery_is_drawn_by_one_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["gallery", "two_gates", "nan", "--out", str(tmp_path / "drawn")])
    files = {file.name for file in (tmp_path / "drawn").iterdir()}
    suffixes = (".svg", ".png", ".pdf", ".html", "-print.svg")
    circuits = {f"two_gates-circuit{suffix}" for suffix in suffixes[:-1]}
    pictures = {n + s for n in ("two_gates", "nan") for s in suffixes}
    assert files == {"index.html"} | pictures | circuits
    told = capsys.readouterr().out.splitlines()
    assert re.match(r"two_gates: 5 nodes, traced in .* svg .* \(\d+ x \d+ pt\), png", told[0])
    shown = (EXAMPLES / "gates.svg").read_text(encoding="utf-8")
    drawn = (tmp_path / "drawn" / "two_gates.svg").read_text(encoding="utf-8")
    words = [re.findall(r">([^<>]*\S[^<>]*)</text>", text) for text in (shown, drawn)]
    assert words[0] == words[1], "README shows an older picture"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["one"], "there is no piece 'one'"), (["--formats", "svg,gif"], "given 'gif'")],
)
def test_the_gallery_says_what_it_does_not_have(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["gallery", *arguments])
    assert said in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_a_folder_of_pictures_is_trained_killed_gone_on_with_and_exported(tmp_path: Path) -> None:
    """With a small model; the evaluator is that of onnx, where onnxruntime is not installed."""
    pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("PIL", reason="Pillow is not installed")
    from folder_program import comes_to_the_same_bits

    small = "import tinygrad_cv.models as m; m.resnet18 = m.resnet20"
    told = comes_to_the_same_bits(tmp_path, small)
    assert re.fullmatch(r"test accuracy \d+\.\d%\nthe ONNX file agrees: True\n", told)
