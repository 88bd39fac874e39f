"""The command `tinygrad-cv draw`."""

import textwrap
from pathlib import Path

import pytest

from tinygrad_cv import viz
from tinygrad_cv.cli import main

pytestmark = pytest.mark.host

MODELS = """
import tinygrad_cv as tg
from tinygrad_cv import nn

class Net(nn.Module):
    def __init__(self, width=4):
        self.conv = nn.Conv2d(3, width, 3)
        self.head = nn.Linear(width * 4, 2)

    def forward(self, x):
        return self.head(tg.relu(self.conv(x)).flatten(1))

def make_model():
    return Net(8)

def make_deep():
    return nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Flatten())

model = Net()

def energy(x, y):
    return (x @ y).sum()

def broken():
    raise OSError("no weights")
"""


@pytest.fixture
def models(tmp_path: Path) -> str:
    path = tmp_path / "models.py"
    path.write_text(textwrap.dedent(MODELS))
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    main(["draw", *words])
    out, err = capsys.readouterr()
    assert err == ""
    return out


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["draw", *words])
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert isinstance(ended.value.code, int)
    return ended.value.code, err


@pytest.mark.parametrize("name", ["make_model", "Net", "model"])
def test_a_table_for_the_terminal(
    models: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(capsys, f"{models}::{name}", "--input", "1,3,4,4")
    width = 8 if name == "make_model" else 4
    assert f"(1, {width}, 2, 2)" in out
    assert f"parameters: {width * 28 + 2 * (4 * width + 1)}" in out


@pytest.mark.parametrize("suffix", ["html", "svg", "png", "pdf", "dot", "json"])
def test_each_kind_of_picture(
    models: str, suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"graph.{suffix}"
    out = run(capsys, f"{models}::make_model", "--input", "1,3,4,4", "--out", str(path))
    assert out == f"{path}: 9 nodes, 3 module calls\n"
    starts = {
        "html": b"<!",
        "svg": b"<",
        "png": b"\x89PNG",
        "pdf": b"%PDF",
        "dot": b"di",
        "json": b"{",
    }
    assert path.read_bytes().lstrip().startswith(starts[suffix])


def test_a_function_of_tensors(
    models: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "graph.json"
    run(capsys, f"{models}::energy", "--input", "2,3", "--input", "3,2", "--out", str(path))
    nodes = viz.Trace.from_json(path.read_text()).nodes
    assert [(node.op, node.name) for node in nodes] == [
        ("parameter", "x"), ("parameter", "y"), ("matmul", ""), ("sum", ""),
    ]  # fmt: skip


def test_the_options_reach_the_picture(
    models: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {}
    choices = {"plain": "", "forward": "--forward-only", "health": "--health", "depth": "--depth=1"}
    for name, option in choices.items():
        path = tmp_path / f"{name}.dot"
        target = f"{models}::make_deep"
        run(capsys, target, "--input", "1,3,4,4", "--out", str(path), *option.split())
        texts[name] = path.read_text()
    assert len(set(texts.values())) == 4
    assert "dir=back" in texts["plain"]
    assert "dir=back" not in texts["forward"]
    assert "2 ops" in texts["depth"]


def test_a_model_is_drawn_and_counted_without_memory(
    models: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (f"{models}::make_model", "--input", "1,3,4,4")
    assert run(capsys, *words, "--device", "meta") == run(capsys, *words)
    seen = {}
    for device in ("cpu", "meta"):
        path = tmp_path / f"{device}.dot"
        run(capsys, *words, "--device", device, "--out", str(path))
        seen[device] = path.read_text()
    assert seen["meta"] == seen["cpu"]
    status, said = refused(capsys, *words, "--device", "meta", "--health")
    assert (status, "--health: on meta there are no values" in said) == (2, True)
    status, said = refused(capsys, *words, "--device", "tpu")
    assert (status, "--device: unknown device 'tpu'" in said) == (2, True)


def test_what_goes_wrong_is_said_in_one_sentence(
    models: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = refused(capsys, f"{models}::Nett", "--input", "1,3,4,4")
    assert (status, "its modules are Net" in said) == (2, True)
    status, said = refused(capsys, f"{models}::Net", "--input", "1,3")
    assert (status, "does not run on inputs of the shapes (1, 3)" in said) == (1, True)
    status, said = refused(capsys, f"{models}::Net", "--input", "1,3,4,4", "--out", "graph.gif")
    assert (status, "--out" in said and "graph.gif" in said) == (2, True)
    status, said = refused(capsys, f"{models}::Net", "--input", "1,3,4,4", "--out", "no/graph.svg")
    assert (status, "does not exist" in said) == (2, True)
    status, said = refused(capsys, f"{models}::Net")
    assert (status, "--input" in said) == (2, True)
    status, said = refused(capsys, f"{tmp_path / 'none.py'}::Net", "--input", "1")
    assert (status, "there is no such file" in said) == (2, True)
