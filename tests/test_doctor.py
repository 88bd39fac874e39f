"""`tinygrad-cv doctor`: planted mistakes are named, healthy runs pass, and what it writes."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import planted
import tinygrad_cv as tg
from tinygrad_cv import viz
from tinygrad_cv.cli import main
from tinygrad_cv.cli.doctor import causes_first
from tinygrad_cv.nn import Linear
from tinygrad_cv.optim import SGD
from tinygrad_cv.train.health import Finding

pytestmark = pytest.mark.host

PLANTED = Path(planted.__file__)

MISTAKES = {
    planted.labels_shuffled: "labels_shuffled",
    planted.rate_too_low: "loss_not_moving",
    planted.rate_too_high: "rate_too_high",
    planted.no_zero_grad: "no_zero_grad",
    planted.softmax_twice: "softmax_twice",
    planted.weights_all_equal: "symmetry",
    planted.eval_mode: "eval_mode",
    planted.inputs_to_255: "inputs_not_centred",
    planted.detached_layer: "no_gradient",
    planted.loss_summed: "loss_summed",
}
"""The kind under which each is to be named, before all else."""


class Told(NamedTuple):
    status: int
    out: str
    err: str
    findings: list[dict[str, Any]]


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """What the command says of a run, and how it ends."""

    def call(*arguments: object) -> Told:
        file, status = tmp_path / "told.json", 0
        try:
            main(["doctor", *map(str, arguments), "--json", str(file)])
        except SystemExit as stop:
            status = int(stop.code or 0)
        findings = json.loads(file.read_text())["findings"] if file.exists() else []
        return Told(status, *capsys.readouterr(), findings)

    return call


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_planted_mistake_is_named_first(doctor: Any, mistake: Any) -> None:
    told = doctor(f"{PLANTED}::{mistake.__name__}", "--steps", 60)
    first = told.findings[0]
    assert first["kind"] == MISTAKES[mistake], told.out
    assert first["level"] in ("error", "warning")
    assert f"{first['level']}: {first['kind']}" in told.out
    assert all(first[part] for part in ("seen", "means", "remedy", "source"))
    errors = any(finding["level"] == "error" for finding in told.findings)
    assert told.status == errors
    assert told.err == ""


@pytest.mark.parametrize("name", ["healthy_model", "healthy_adam", "healthy_by_hand"])
def test_a_healthy_run_gives_nothing_worse_than_a_note(doctor: Any, name: str) -> None:
    told = doctor(f"{PLANTED}::{name}", "--steps", 60)
    assert {finding["level"] for finding in told.findings} <= {"note"}, told.out
    assert told.status == 0
    assert re.match(rf"planted.py::{name}: 60 steps, loss \d.* to 0\..*\.\n", told.out)
    assert "\33" not in told.out


def test_warnings_end_with_status_1_if_strict(doctor: Any) -> None:
    target = f"{PLANTED}::loss_summed"
    assert doctor(target, "--steps", 3).status == 0
    assert doctor(target, "--steps", 3, "--strict").status == 1


def test_the_page_has_the_findings_and_marks_their_places(doctor: Any, tmp_path: Path) -> None:
    told = doctor(f"{PLANTED}::weights_all_equal", "--steps", 2, "--out", tmp_path)
    assert told.out.endswith(f"{tmp_path}: doctor.html\n")
    page = (tmp_path / "doctor.html").read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert data is not None
    trace = json.loads(data[1])["trace"]
    assert [r["kind"] for r in trace["remarks"]] == [f["kind"] for f in told.findings]
    (remark,) = (r for r in trace["remarks"] if r["kind"] == "symmetry")
    places = [trace["nodes"][i] for i in remark["nodes"]]
    assert [place["key"] for place in places] == ["0.weight"]
    assert "error: symmetry" in places[0]["note"]
    assert len(trace["steps"]) == 2


def test_colours_are_for_a_terminal(
    doctor: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target = [f"{PLANTED}::loss_summed", "--steps", 3]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\33[33;1mwarning\33[0m: loss_summed" in doctor(*target).out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\33" not in doctor(*target).out


def test_json_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", f"{PLANTED}::loss_summed", "--steps", "3", "--json", "-"])
    told = json.loads(capsys.readouterr().out)
    assert told["steps"] == len(told["losses"]) == 3
    assert told["findings"][0]["kind"] == "loss_summed"


@pytest.mark.parametrize(
    ("program", "sentence", "status"),
    [
        ("def make(): return 3", "gave a int; expected a model", 2),
        ("def make(): return {'optimiser': 1}", "a dict with 'optimiser'; expected any of", 2),
        ("def make(): return {'step': print}", "gave no model", 2),
        ("def make(size): return size", "needs size", 2),
        ("def make(): raise ValueError('no luck')", "does not run: no luck", 1),
        (
            "from tinygrad_cv import nn\ndef make(): return nn.Linear(7, 10)",
            "the model takes no images of digits",
            2,
        ),
        (
            "from tinygrad_cv import nn\ndef make():\n"
            "    return {'model': nn.Linear(64, 10), 'step': lambda x, y: x.no_such_method()}",
            "does not train",
            1,
        ),
    ],
)
def test_what_cannot_be_looked_at_is_told_in_a_sentence(
    doctor: Any, tmp_path: Path, program: str, sentence: str, status: int
) -> None:
    (tmp_path / "own.py").write_text(program)
    told = doctor(f"{tmp_path / 'own.py'}::make")
    assert (told.status, told.err.count("\n")) == (status, 1)
    assert sentence in told.err


def test_parts_are_known_by_what_they_are(doctor: Any, tmp_path: Path) -> None:
    """A tuple of them, and a class that is a model; of rows, of colour images and of large ones."""
    (tmp_path / "own.py").write_text(
        "import tinygrad_cv as tg\n"
        "from tinygrad_cv import nn, optim\n"
        "def parts():\n"
        "    model = nn.Linear(64, 10)\n"
        "    return model, optim.Adam(model.parameters(), lr=0.01), nn.CrossEntropyLoss()\n"
        "class Deck(nn.Sequential):\n"
        "    def __init__(self):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(3072, 10))\n"
        "class Colour(nn.Sequential):\n"
        "    def __init__(self):\n"
        "        super().__init__(nn.Conv2d(3, 10, 8), nn.Flatten())\n"
    )
    for name in ("parts", "Deck", "Colour"):
        told = doctor(f"{tmp_path / 'own.py'}::{name}", "--steps", 10)
        assert f"own.py::{name}: 10 steps" in told.out, told.err


def test_causes_come_before_what_follows_from_them() -> None:
    def finding(kind: str, level: Any) -> Finding:
        return Finding(kind, level, "", "", "", "")

    kinds = [("gap", "note"), ("cost_exploded", "error"), ("rate_too_high", "warning"),
             ("eval_mode", "warning"), ("symmetry", "error")]  # fmt: skip
    told = [found.kind for found in causes_first(finding(*each) for each in kinds)]
    assert told == ["symmetry", "eval_mode", "rate_too_high", "cost_exploded", "gap"]


def test_places_of_findings_in_a_trace() -> None:
    model = Linear(2, 2)
    watch = viz.watch(model)
    with watch.step():
        model(tg.ones(1, 2)).relu().sum().backward()
        SGD(model.parameters(), lr=0.1).step()

    def marked(**place: str) -> list[str]:
        found = Finding("dead_units", "note", "", "", "", "", **place)
        picture = viz.diagnosis(watch.trace, [found])
        assert viz.Trace.from_json(picture.trace.to_json()) == picture.trace
        assert not any(node.note for node in watch.trace.nodes)
        return [node.key for node in picture.trace.nodes if node.note]

    assert marked(key="weight") == ["weight"]
    assert marked(key="/relu.0") == ["/relu.0"]
    assert marked(key="no such place") == marked() == []
