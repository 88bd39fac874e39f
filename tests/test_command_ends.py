"""However a command is called, and whatever is at the other end of its output: one sentence."""

import json
import math
import os
import re
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cv import cli
from tinygrad_cv.cli import main
from tinygrad_cv.cli.arguments import finite, integer, positive, shape

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(os.name != "posix", reason="pipes, devices and the shell of Unix"),
]

MINE = "def f(a):\n    return a * 2\n"
HUGE = "9" * 400


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, with a file of one function."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


def ends(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    """The status and the one sentence of a command that fails."""
    with pytest.raises(SystemExit) as stopped:
        main([*argv])
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("tinygrad-cv")
    assert err.count("\n") == 1
    assert isinstance(stopped.value.code, int)
    return stopped.value.code, err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["check", "--low", "nan"], "argument --low: expected a finite number, given 'nan'."),
        (["check", "--low", "inf"], "argument --low: expected a finite number, given 'inf'."),
        (["check", "--low=-inf"], "argument --low: expected a finite number, given '-inf'."),
        (["check", "--high", "nan"], "argument --high: expected a finite number"),
        (["check", "--high", "1e999"], "argument --high: expected a finite number"),
        (["check", "--high", ""], "argument --high: expected a finite number, given ''."),
        (["check", "--low", "5", "--high", "1"], "expected a range of numbers, given 5 to 1."),
        (["check", "--low=-1e308", "--high", "1e308"], "given -1e+308 to 1e+308."),
        (["check", "--order", "0"], "a whole number of at least 1, given '0'."),
        (["check", "--order", HUGE], "a whole number of at most 9, given '999999999999..."),
        (["check", "--order", "1" * 5000], "argument --order: expected a whole number"),
        (["check", "--input", HUGE], "argument --input: expected at most 64 lengths of at most"),
        (["check", "--input", "1," * 65], "argument --input: expected at most 64 lengths"),
        (["check", "--input", "999999999,999999999"], "does not run on inputs of the shapes (9999"),
        (["check", "--seed", "-1"], "argument --seed: expected a whole number of at least 0"),
        (["train", "--epochs", HUGE], "argument --epochs: expected a whole number of at most 1,00"),
        (["train", "--batch-size", HUGE], "a whole number of at most 1,000,000,000, given '9999"),
        (["train", "--limit", HUGE], "argument --limit: expected a whole number of at most"),
        (["train", "--max-bytes", "-1"], "argument --max-bytes: expected a whole number of at"),
        (["train", "--lr", "1e999"], "argument --lr: expected a number above 0, given '1e999'."),
        (["train", "--out", ""], "argument --out: expected a name, given ''."),
        (["train", "--dataset", ""], "argument --dataset: expected a name, given ''."),
        (["train", "--device", ""], "argument --device: unknown device ''"),
        (["train", "--out", HUGE], "must be a folder to write in (File name too long)."),
        (["draw", "--input", "2", "--out", ""], "argument --out: expected a name, given ''."),
        (["draw", "--input", HUGE], "argument --input: expected at most 64 lengths"),
        (["draw", "--input", "2", "--depth", HUGE], "a whole number of at most 1,000,000,000"),
        (["draw", "--input", "2", "--out", "pipe.json"], "found a pipe, expected an ordinary file"),
        (["draw", "--input", "2", "--out", "dir.json"], "found a folder, expected an ordinary"),
        (["draw", "--input", "2", "--out", "no/a.json"], "does not exist"),
        (["ops", ""], "no op is named"),
        (["ops", HUGE], "no op is named"),
    ],
)
def test_arguments_out_of_bounds(
    arguments: list[str], told: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(here / "pipe.json")
    (here / "dir.json").mkdir()
    command, *rest = arguments
    target = ["mine.py::f"] if command in ("check", "draw") else []
    status, said = ends(capsys, command, *target, *rest)
    assert told in said
    assert status in (1, 2)
    assert {*os.listdir(here)} == {"mine.py", "pipe.json", "dir.json"}


@given(
    st.sampled_from((integer(0), integer(2, 9), positive, finite, shape)),
    st.text(max_size=6) | st.floats().map(str) | st.integers().map(str),
)
def test_a_number_is_taken_or_refused_in_one_sentence(
    convert: Callable[[str], Any], text: str
) -> None:
    try:
        value = convert(text)
    except ArgumentTypeError as error:
        message = str(error)
        assert re.fullmatch(r"expected .*[,;] given .*\.", message)
    else:
        assert all(map(math.isfinite, value if isinstance(value, tuple) else [value]))


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import sys; sys.exit(3)", "running it failed with SystemExit(3)"),
        ("f = max", "no signature found"),
        ("def f(x): raise SystemExit", "SystemExit()"),
        ("def f(x): return 1 / 0", "ZeroDivisionError(division by zero)"),
        ("def f(x): raise MemoryError", "MemoryError()"),
        ("def f(x): raise StopIteration", "StopIteration()"),
        ("def f(x): return x.nothing", "nothing"),
        ("def f(x): return 3", "does not run"),
    ],
)
def test_a_program_that_fails_in_its_own_way(
    source: str, told: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "mine.py").write_text(source)
    _, said = ends(capsys, "check", "mine.py::f")
    assert told in said
    if "SystemExit" in told or "nothing" in told:
        _, said = ends(capsys, "draw", "mine.py::f", "--input", "2")
        assert told in said


# ----- the other end of the output ---------------------------------------------------------------


def shell(here: Path, line: str, **environment: str) -> tuple[int, str, str]:
    """How a line of the shell ends, where $T is the command."""
    command = f"T='{sys.executable} -m tinygrad_cv'; {line}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=here,
        capture_output=True,
        env={**os.environ, **environment},
        timeout=60,
    )
    return done.returncode, done.stdout.decode("utf-8", "surrogateescape"), done.stderr.decode()


@pytest.mark.parametrize("line", ["ops", "--version", "draw mine.py::f --input 2"])
def test_who_reads_no_further_ends_the_command_without_a_word(line: str, here: Path) -> None:
    """The reader has closed the pipe before the first word comes."""
    status, out, err = shell(here, f"exec 3> >(true); sleep 0.1; $T {line} >&3")
    assert (out, err) == ("", "")
    assert status in (0, cli.BROKEN_PIPE)
    assert (status == 0) == line.startswith("--")


def test_the_head_of_a_table(here: Path) -> None:
    status, out, err = shell(here, "$T ops | head -1")
    assert (status, err) == (0, "")
    assert out.split()[:2] == ["op", "input"]


@pytest.mark.parametrize("line", ["ops", "check mine.py::f"])
def test_a_full_disk_under_the_output(line: str, here: Path) -> None:
    status, out, err = shell(here, f"$T {line} > /dev/full")
    assert (status, out) == (1, "")
    name = line.split()[0]
    assert err == f"tinygrad-cv {name}: [Errno 28] No space left on device\n"


def test_a_terminal_without_the_characters(here: Path) -> None:
    status, out, err = shell(here, "$T ops tanh", PYTHONIOENCODING="ascii:strict")
    assert (status, err) == (0, "")
    assert r"g \xb7 4 \xb7 sigmoid" in out
    assert out.isascii()


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&- <&-"])
def test_a_run_with_closed_streams(closed: str, here: Path) -> None:
    program = "from tinygrad_cv import cli; cli.train._draw = lambda *_: []; cli.main()"
    train = f"'{sys.executable}' -c '{program}' train --epochs 1 --limit 4 --out run"
    status, out, err = shell(here, f"{train} {closed}")
    assert (status, err) == (0, "")
    assert (out == "") == (closed != "2>&-")
    assert json.loads((here / "run" / "metrics.json").read_text())["dataset"] == "digits"


def test_a_sentence_that_nobody_can_read(here: Path) -> None:
    assert shell(here, "$T fly 2> /dev/full")[0] == 2


def test_names_that_are_no_utf8(here: Path) -> None:
    os.rename(here / "mine.py", os.fsencode(here) + b"/\xff.py")
    line = "F=$(printf '\\377'); $T draw $F.py::f --input 2 --out $F.svg; $T train --dataset $F"
    status, out, err = shell(here, line, PYTHONUTF8="1")
    assert (status, out) == (2, "\\udcff.svg: 2 nodes, 0 module calls\n")
    assert err.startswith("tinygrad-cv train: argument --dataset: \\udcff: found nothing by this")
    assert err.count("\n") == 1


@pytest.mark.parametrize("suffix", ["json", "dot", "html"])
def test_a_picture_of_a_program_whose_name_is_no_utf8(suffix: str, here: Path) -> None:
    os.rename(here / "mine.py", os.fsencode(here) + b"/\xff.py")
    main(["draw", "\udcff.py::f", "--input", "2", "--out", f"it.{suffix}"])
    assert r"\udcff.py" in (here / f"it.{suffix}").read_text("utf-8") or suffix == "dot"


# ----- where a run goes --------------------------------------------------------------------------


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    record = {"loss": 0.0, "train_accuracy": 0.0, "val_accuracy": 0.0}
    monkeypatch.setattr(cli.train.Trainer, "fit", lambda *_, **__: [record])
    monkeypatch.setattr(cli.train.Trainer, "evaluate", lambda *_: 0.0)
    monkeypatch.setattr(cli.train, "_draw", lambda *_: [])


@pytest.mark.usefixtures("no_training")
def test_runs_of_the_same_second_have_folders_of_their_own(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock:
        now = staticmethod(lambda: datetime(2026, 1, 2, 3, 4, 5))

    monkeypatch.setattr(cli.train, "datetime", Clock)
    for seed in range(3):
        main(["train", "--seed", str(seed)])
    name = "2026-01-02_03-04-05"
    assert sorted(os.listdir(here / "runs")) == [name, f"{name}_2", f"{name}_3"]
    for i, folder in enumerate(sorted((here / "runs").iterdir())):
        assert json.loads((folder / "metrics.json").read_text())["seed"] == i


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("nowhere")])
def test_runs_that_are_no_folder(
    make: Callable[[Path], Any], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(here / "runs")
    assert "runs must be a folder to write in (File exists)" in ends(capsys, "train")[1]


@pytest.mark.parametrize("name", ["metrics.json", "model.safetensors", "graph.svg"])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_in_the_way_of_the_results_is_said_before_the_training(
    make: Callable[[Path], Any], name: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "run").mkdir()
    make(here / "run" / name)
    status, said = ends(capsys, "train", "--out", "run", "--epochs", "1000000")
    assert (status, os.listdir(here / "run")) == (2, [name])
    assert said.endswith(f"argument --out: run/{name} is there, and is no file.\n")


@pytest.mark.usefixtures("no_training")
def test_an_unset_limit_for_what_unzips(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[Any] = []
    load = cli.train.load_dataset
    monkeypatch.setattr(
        cli.train,
        "load_dataset",
        lambda source, limit, size: (met.append(limit), load(source, limit, size))[1],
    )
    for options in ([], ["--max-bytes", "5"], ["--max-bytes", "0"]):
        main(["train", "--out", "run", *options])
    assert met == [1 << 30, 5, None]
