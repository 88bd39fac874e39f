"""`tinygrad-cv lab`: the list, one lab, all of them, and notebooks of them."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cv.cli import CommandError, lab, main
from tinygrad_cv.examples.course import NAMES, title
from tinygrad_cv.examples.index import DECKS, INDEX

pytestmark = pytest.mark.host  # they run as they are

Ends = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ends(capsys: pytest.CaptureFixture[str]) -> Ends:
    """The status of a command, and what it wrote to stdout and stderr."""

    def run(*argv: Any) -> tuple[int, str, str]:
        status = 0
        try:
            main([str(word) for word in argv])
        except SystemExit as error:
            status = int(error.code or 0)
        return status, *capsys.readouterr()

    return run


def test_the_list_names_every_lab_its_decks_and_its_time(ends: Ends) -> None:
    status, out, err = ends("lab")
    assert (status, err) == (0, "")
    for name in NAMES:
        [row] = [line for line in out.splitlines() if line.startswith(name)]
        assert re.split(r"  +", row) == [
            name,
            INDEX[name].decks,
            f"{INDEX[name].seconds:g}",
            title(name),
        ]
    for key, deck in DECKS.items():
        assert f"{key}  {deck}" in out


@given(st.sampled_from(NAMES), st.data())
def test_a_lab_goes_by_its_number_or_by_what_it_alone_begins_with(name: str, data: Any) -> None:
    number = int(name[:2])
    assert lab.named(str(number), NAMES) == lab.named(f"{number:02d}", NAMES) == name
    assert lab.named(name, NAMES) == lab.named(f"{name}.py", NAMES) == name
    whole = data.draw(st.sampled_from((name, name[3:])))
    text = whole[: data.draw(st.integers(1, len(whole)))]
    also = [other for other in NAMES if other.startswith(text) or other[3:].startswith(text)]
    if text.isdecimal():
        also = [other for other in NAMES if int(other[:2]) == int(text)]
    if also == [name]:
        assert lab.named(text, NAMES) == name
    elif name in also:
        with pytest.raises(CommandError, match=f"{text} may be .*{name}"):
            lab.named(text, NAMES)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["lab", "nothing"], "argument NAME: no lab is called nothing; run it without NAME"),
        (["lab", "99"], "argument NAME: no lab is called 99"),
        (["lab", ""], "argument NAME: expected a name"),
        (["lab", "--quick"], "argument NAME: say which lab, or 'all'."),
        (["lab", "1", "--seed", "-1"], "argument --seed: expected a whole number of at least 0"),
        (["lab", "1", "--data", "nowhere"], "argument --data: there is no nowhere."),
        (["lab", "1", "--notebook", "one.txt"], "--notebook: expected a FILE.ipynb, given one.txt"),
    ],
)
def test_what_is_wrong_is_said(argv: list[str], said: str, ends: Ends) -> None:
    status, out, err = ends(*argv)
    assert (status, out) == (2, "")
    assert err.startswith("tinygrad-cv lab: ")
    assert said in err
    assert err.count("\n") == 1


FAKE = '''"""Nothing."""
# %%
import sys
from tinygrad_cv.examples.course import Lab
lab = Lab("{name}")
lab.compare("seed", lab.seed, expected=(0, {most}))
lab.note(str(lab.data))
{more}
lab.end()
'''


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Labs that take no time: one that is right, one that is off, one that lacks a package."""
    folder = tmp_path / "labs"
    folder.mkdir()
    for name, most, more in (
        ("01_right", 9, ""),
        ("02_off", -1, ""),
        ("03_lacks", 9, "raise ModuleNotFoundError('run pip install it.')"),
    ):
        (folder / f"{name}.py").write_text(FAKE.format(name=name, most=most, more=more))
    from tinygrad_cv.examples import course

    monkeypatch.setattr(course, "FOLDER", folder)
    monkeypatch.setattr(course, "NAMES", ["01_right", "02_off", "03_lacks"])
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.usefixtures("fake")
def test_a_lab_gets_its_options_and_its_status_is_that_of_the_command(ends: Ends) -> None:
    status, out, err = ends("lab", "right", "--seed", 7, "--data", ".", "--out", "x")
    assert (status, err) == (0, "")
    assert out.startswith("01_right. Nothing\nseed  ")
    assert re.search(r" 7\n  \.\n", out)
    status, out, err = ends("lab", "2")
    assert (status, err) == (1, "tinygrad-cv lab: 02_off: 1 of 1 numbers is off: seed.\n")
    assert "OFF: expected 0 to -1" in out
    assert ends("lab", "3")[::2] == (1, "tinygrad-cv lab: 03_lacks: run pip install it.\n")


def test_where_nothing_lays_out_graphs_a_sentence_says_what_to_install(
    fake: Path, ends: Ends
) -> None:
    more = "class Graph:\n    def save(self, path):\n        raise RuntimeError('install it.')\n"
    more += "lab.picture(Graph())"
    (fake / "03_lacks.py").write_text(FAKE.format(name="03_lacks", most=9, more=more))
    assert ends("lab", "3")[::2] == (1, "tinygrad-cv lab: 03_lacks: install it.\n")


@pytest.mark.usefixtures("fake")
def test_all_run_one_after_the_other_and_a_table_tells_how(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        asked.append(command[1:])
        return subprocess.CompletedProcess(command, 1 if "02_off" in command else 0)

    monkeypatch.setattr(lab.subprocess, "run", run)
    status, out, err = ends("lab", "all", "--quick", "--out", "x")
    options = ["--out", "x", "--seed", "0", "--quick"]
    names = ["01_right", "02_off", "03_lacks"]
    assert asked == [["-m", "tinygrad_cv", "lab", name, *options] for name in names]
    assert (status, err) == (1, "tinygrad-cv lab: 1 of 3 failed: 02_off.\n")
    rows = [re.split(r"  +", line) for line in out.strip().splitlines() if line]
    assert [row[0] for row in rows] == ["lab", *names]
    assert [row[2:] for row in rows[1:]] == [[], ["failed, status 1"], []]


def test_a_lab_from_another_folder_through_a_pipe(tmp_path: Path) -> None:
    """It finds itself where it is installed, and whoever reads may stop."""
    command = [sys.executable, "-m", "tinygrad_cv", "lab", "21", "--quick", "--out", "pictures"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{NAMES[20]}. {title(NAMES[20])}\n"
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode in (0, 141)
    assert os.listdir(tmp_path) in ([], ["pictures"])


# ----- notebooks ---------------------------------------------------------------------------------


def test_a_notebook_has_the_cells_of_the_program(tmp_path: Path, ends: Ends) -> None:
    pytest.importorskip("jupytext", reason="jupytext is not installed")
    file = tmp_path / "lab.ipynb"
    status, out, err = ends("lab", "2", "--notebook", file)
    notebook = json.loads(file.read_text(encoding="utf-8"))
    assert (status, err) == (0, "")
    assert out == f"{file}: {len(notebook['cells'])} cells\n"
    name = NAMES[1]
    first, second, *_ = cells = notebook["cells"]
    assert first["cell_type"] == second["cell_type"] == "markdown"
    assert "".join(first["source"]) == f"# {name}. {title(name)}"
    program = (lab.Path(__file__).parent.parent / "examples" / f"{name}.py").read_text()
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) == len(re.findall(r"^# %%$", program, flags=re.MULTILINE))
    for cell in code:
        assert "".join(cell["source"]).strip() in program
        assert cell["outputs"] == []
    again = file.read_bytes()
    ends("lab", "2", "--notebook", file)
    assert file.read_bytes() == again


def test_a_notebook_of_each_with_options(
    tmp_path: Path, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("jupytext", reason="jupytext is not installed")
    monkeypatch.chdir(tmp_path)
    status, out, _ = ends("lab", "all", "--notebook", "books", "--seed", 3, "--out", "my labs")
    assert status == 0
    assert sorted(os.listdir("books")) == [f"{name}.ipynb" for name in NAMES]
    assert out.count("\n") == len(NAMES)
    for name in NAMES:
        notebook = json.loads(Path(f"books/{name}.ipynb").read_text(encoding="utf-8"))
        source = "".join(notebook["cells"][1]["source"])
        assert source.endswith("= \"--out 'my labs' --seed 3\"")


def test_without_jupytext_a_sentence_says_what_to_install(
    tmp_path: Path, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jupytext", None)
    status, out, err = ends("lab", "1", "--notebook", tmp_path / "one.ipynb")
    assert (status, out) == (1, "")
    assert "pip install 'tinygrad_cv[notebooks]'" in err
    assert os.listdir(tmp_path) == []


EVERY = os.environ.get("TINYGRAD_CV_NOTEBOOKS") == "all"


@pytest.mark.parametrize("name", NAMES if EVERY else ["01_backprop"])
def test_a_notebook_runs_and_shows_its_pictures(
    name: str, tmp_path: Path, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them; all with TINYGRAD_CV_NOTEBOOKS=all in the environment."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    import nbformat

    file = tmp_path / "lab.ipynb"
    ends("lab", name, "--notebook", file, "--quick", "--out", tmp_path / "out")
    notebook = nbformat.read(file, as_version=4)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    nbclient.NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert f"{name}. {title(name)}" in printed
    pictures = os.listdir(tmp_path / "out")
    shown = [output.data for output in outputs if output.output_type == "display_data"]
    drawn = [data for data in shown if data.keys() & {"image/svg+xml", "image/png", "text/html"}]
    assert len(drawn) >= len(pictures) > 0
    assert "stderr" not in [output.get("name") for output in outputs]
