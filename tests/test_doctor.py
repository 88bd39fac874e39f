"""`tinygrad-cv doctor`: planted mistakes are named, healthy runs pass, and what it writes."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planted
import tinygrad_cv as tg
from tinygrad_cv import nn, viz
from tinygrad_cv.cli import main
from tinygrad_cv.cli.doctor import causes_first
from tinygrad_cv.optim import SGD
from tinygrad_cv.train import Health
from tinygrad_cv.train.health import Finding, check

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("one_blas_thread")]

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
    told = doctor(f"{PLANTED}::{mistake.__name__}", "--steps", 40)
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
    assert doctor(target, "--steps", 1, "--strict").status == 1


def test_the_page_has_the_findings_and_marks_their_places(doctor: Any, tmp_path: Path) -> None:
    told = doctor(f"{PLANTED}::weights_all_equal", "--steps", 2, "--out", tmp_path)
    assert told.out.endswith(f"{tmp_path}: doctor.html\n")
    page = (tmp_path / "doctor.html").read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert data is not None
    contents = json.loads(data[1])
    trace = contents["trace"]
    assert [r["kind"] for r in trace["remarks"]] == [f["kind"] for f in told.findings]
    (remark,) = (r for r in trace["remarks"] if r["kind"] == "symmetry")
    places = [trace["nodes"][i] for i in remark["nodes"]]
    assert [place["key"] for place in places] == ["0.weight"]
    assert "error: symmetry" in places[0]["note"]
    assert len(contents["steps"]["told"]) == 2


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


def test_what_was_found_before_is_told_though_the_training_fails(
    doctor: Any, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(
        "import tinygrad_cv as tg\n"
        "from tinygrad_cv import nn, optim\n"
        "def nine():\n"
        "    model = nn.Linear(64, 9)\n"
        "    data = [(tg.randn(20, 64), tg.arange(20) % 10)]\n"
        "    return {'model': model, 'train_loader': data}\n"
        "def judge():\n"
        "    model = nn.Linear(64, 1)\n"
        "    def step(x, y):\n"
        "        model.zero_grad()\n"
        "        loss = model(x).square().mean()\n"
        "        loss.backward()\n"
        "        optim.SGD(model.parameters(), 0.01).step()\n"
        "        return loss\n"
        "    data = [(tg.randn(20, 64), tg.arange(20) % 10)]\n"
        "    return {'model': model, 'step': step, 'train_loader': data}\n"
    )
    told = doctor(f"{tmp_path / 'own.py'}::nine")
    assert [finding["kind"] for finding in told.findings] == ["labels_out_of_range"]
    assert told.status == told.err.count("\n") == 1
    assert "does not train: cross_entropy: label 9 is out of range" in told.err
    told = doctor(f"{tmp_path / 'own.py'}::judge", "--steps", 3)  # labels that are not used
    assert (told.status, told.err) == (0, "")


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
    model = nn.Linear(2, 2)
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


# ----- what looks like a mistake, and what does not ----------------------------------------------


def kinds_of(steps: int, model: nn.Module, step: Callable[[int], object]) -> set[str]:
    """What is worse than a note in a loop of one's own."""
    health = Health(model)
    for k in range(steps):
        with health.step():
            step(k)
    return {finding.kind for finding in health.findings if finding.level != "note"}


@given(every=st.integers(2, 4), way=st.sampled_from(["before", "after", "zeros"]))
@settings(max_examples=5)
def test_gradients_of_several_batches_may_be_added(every: int, way: str) -> None:
    model = nn.Linear(3, 4)
    optimizer = SGD(model.parameters(), lr=0.05)

    def step(k: int) -> None:
        if way == "before" and k % every == 0:
            optimizer.zero_grad()
        (tg.cross_entropy(model(tg.randn(8, 3)), tg.randint(4, (8,))) / every).backward()
        if k % every == every - 1:
            optimizer.step()
            if way != "before":
                optimizer.zero_grad(set_to_none=way == "after")

    assert "no_zero_grad" not in kinds_of(12, model, step)


def test_two_optimizers_may_take_turns() -> None:
    first, second = nn.Linear(3, 4), nn.Linear(4, 2)
    model = nn.Sequential(first, second)
    optimizers = [SGD(part.parameters(), lr=0.05) for part in (first, second)]

    def step(forgotten: bool) -> None:
        for optimizer in optimizers:
            if not (forgotten and optimizer is optimizers[1]):
                optimizer.zero_grad()
            out = model(tg.randn(8, 3)) if optimizer is optimizers[0] else second(tg.randn(8, 4))
            tg.cross_entropy(out, tg.randint(2, (8,))).backward()
            optimizer.step()

    assert "no_zero_grad" in kinds_of(6, model, lambda k: step(True))
    for optimizer in optimizers:
        optimizer.zero_grad()

    def clean(k: int) -> None:
        for part, optimizer in zip((first, second), optimizers, strict=True):
            optimizer.zero_grad()
            x = tg.randn(8, 3) if part is first else tg.randn(8, 4)
            (part(x) ** 2).mean().backward()
            optimizer.step()

    assert "no_zero_grad" not in kinds_of(6, model, clean)


def test_a_model_without_batch_norm_in_evaluation_mode_is_named_too() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    optimizer = SGD(model.parameters(), lr=0.05)

    def step(k: int) -> None:
        optimizer.zero_grad()
        tg.cross_entropy(model(tg.randn(8, 3)), tg.randint(2, (8,))).backward()
        optimizer.step()

    assert "eval_mode" in kinds_of(3, model, step)


def test_a_rate_is_too_high_if_it_throws_the_weights_away_and_the_loss_up() -> None:
    tg.manual_seed(0)
    x, labels = tg.randn(64, 3), tg.randint(4, (64,))
    for rate, too_high in ((0.1, False), (100.0, True)):
        model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4))
        optimizer = SGD(model.parameters(), lr=rate)

        def step(k: int, model: nn.Module = model, optimizer: SGD = optimizer) -> None:
            optimizer.zero_grad()
            tg.cross_entropy(model(x), labels).backward()
            optimizer.step()

        assert ("rate_too_high" in kinds_of(20, model, step)) == too_high


def test_weights_that_began_all_equal_are_told_though_biases_differ() -> None:
    def model(**values: float) -> nn.Module:
        net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 4))
        for name, value in values.items():
            nn.init.constant_(net[int(name[1:])].weight, value)
        return net

    x, labels = tg.randn(32, 3), tg.randint(4, (32,))

    def told(net: nn.Module) -> bool:
        found = check(net, loader=[(x, labels)], steps=0)
        return "symmetry" in [finding.kind for finding in found]

    assert told(model(_0=0.1))
    assert told(model(_2=-0.3))
    assert told(model(_0=0.0, _2=0.0, _4=0.0))
    assert not told(model())
    assert not told(model(_4=0.0))  # a last layer of zeros breaks no symmetry by itself


def test_labels_of_a_regression_may_be_whole_numbers() -> None:
    class Flat(nn.Linear):
        def forward(self, x: Any) -> Any:
            return super().forward(x)[:, 0]

    model = Flat(3, 1)
    x, labels = tg.randn(40, 3), tg.randint(4, (40,))
    check(model, lambda outputs, y: ((outputs - y) ** 2).mean(), [(x, labels)], steps=5)


def test_the_first_loss_of_a_single_sample_proves_nothing() -> None:
    line = nn.Linear(1, 1)
    nn.init.constant_(line.weight, 9.0)
    sample = tg.ones(1, 1), tg.full((1, 1), 0.1)
    found = check(line, tg.mse_loss, [sample], steps=0)
    assert [f.level for f in found if f.kind == "loss_at_start"] == ["note"]
    many = tg.ones(40, 1) + 0.1 * tg.randn(40, 1), tg.full((40, 1), 0.1)
    found = check(line, tg.mse_loss, [many], steps=0)
    assert [f.level for f in found if f.kind == "loss_at_start"] == ["warning"]
