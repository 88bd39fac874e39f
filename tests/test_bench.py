"""The bench itself: quiet turns, limits, and what it writes. Its workloads: tests/beside_torch."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tinygrad_cv as tg
from bench import __main__ as command
from bench import limits, loading, measure, once, report
from bench.peers import EAGER
from bench.workloads import WORKLOADS

pytestmark = pytest.mark.host

MACHINE = {
    "cpu": "a CPU",
    "date": "2026-01-01",
    "threads": 2,
    "numpy": "2",
    "torch": "3",
    "kernels": "numpy",
    "limits": {"gflops_1": 1e11, "gflops_2": 2e11, "gbytes_1": 1e10, "gbytes_2": 2e10},
}


def result(**medians: float) -> dict[str, Any]:
    named = {
        name.replace("_", " ").replace("ours", "tinygrad_cv"): m for name, m in medians.items()
    }
    return {
        "name": "net",
        "doc": "A net.",
        "unit": "ms",
        "medians": named,
        "turns": {},
        "reference": measure.fastest(
            {name: measure.Times([m]) for name, m in named.items()},
            [name for name in named if name.startswith("torch")],
        ),
        "least_ms": 0.5,
    }


def test_a_turn_beside_others_is_not_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = tmp_path / "stat"
    monkeypatch.setattr(measure.Processors, "stat", stat)
    stat.write_text("cpu 100 0 0 900 50 0 0 0 0 0\n")
    before = measure.Processors()
    before.own = 0.0
    stat.write_text("cpu 160 5 10 990 99 1 2 3 0 0\n")  # 81 ticks of 10 ms, those of idle apart
    after = measure.Processors()
    assert before.others is not None
    assert after.others is not None
    busy = (after.others + after.own) - (before.others + measure.Processors().own)
    assert busy == pytest.approx(0.81, abs=0.05)


@pytest.mark.parametrize("text", [None, "", "cpu a b\n"])
def test_where_the_system_hides_it_every_turn_counts(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if text is not None:
        (tmp_path / "stat").write_text(text)
    monkeypatch.setattr(measure.Processors, "stat", tmp_path / "stat")
    assert measure.Processors().share_of_others(measure.Processors(), 1.0) == 0.0
    monkeypatch.setattr(measure, "PAUSE", 0.0)
    times = measure.interleaved({EAGER: lambda: None}, 3, turn=1e-4)
    assert len(times[EAGER.name].quiet) == 3


def test_disturbed_turns_are_done_again_and_not_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = iter([(9.0, False), (1.0, True), (2.0, True), *[(5.0, False)] * 9])
    monkeypatch.setattr(measure, "_turn", lambda step, turn, wake: next(turns))
    times = measure.interleaved({EAGER: lambda: None}, 3)[EAGER.name]
    assert (times.quiet, len(times.disturbed)) == ([1.0, 2.0], 4)
    assert times.median == 1.5
    assert measure.Times([], [3.0]).median == 3.0


def test_who_is_slow_takes_part_in_fewer_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    woken = []

    def turn(step: Any, seconds: float, wake: bool) -> tuple[float, bool]:
        woken.append((step, wake))
        return (300.0 if step == "slow" else 2.0), True

    monkeypatch.setattr(measure, "_turn", turn)
    slow = replace(EAGER, name="slow", every=3)
    steps: Any = {EAGER: "fast", slow: "slow"}
    times = measure.interleaved(steps, 7)
    assert [len(times[name].quiet) for name in (EAGER.name, "slow")] == [7, 3]
    assert woken[:3] == [("fast", True), ("slow", True), ("fast", True)]
    assert [wake for step, wake in woken if step == "slow"] == [True, False, False]


def test_limits_are_those_of_a_machine() -> None:
    before = tg.get_num_threads()
    found = limits.limits(2)
    assert set(found) == set(MACHINE["limits"])
    assert all(1e7 < limit < 1e14 for limit in found.values())
    assert tg.get_num_threads() == before


def test_what_is_printed() -> None:
    text = "\n".join(report.lines(result(ours=1.0, torch=4.0, torch_channels_last=2.0)))
    assert "ratio   0.50    50.0% of the limit" in text
    assert "torch channels last" in text
    alone = result(ours=1.0)
    assert alone["reference"] is None
    assert "ratio" not in "\n".join(report.lines(alone))


def test_the_table_goes_between_its_markers(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", encoding="utf-8")
    results = {"machine": MACHINE, "workloads": {"net": result(ours=1.0, torch=2.0)}}
    for _ in range(2):  # as often as one likes
        report.rewrite(readme, results)
        text = readme.read_text(encoding="utf-8")
        assert text.startswith(f"before\n{report.BEGIN}\n| | torch")
        assert "| A net | 2 ms | 0.50 | – | – | 50% |" in text
        assert "old" not in text
        assert text.endswith(f"{report.END}\nafter\n")
    readme.write_text("nothing", encoding="utf-8")
    with pytest.raises(SystemExit, match="expected one line"):
        report.rewrite(readme, results)


def test_readme_has_the_markers() -> None:
    text = (Path(__file__).parent / "bench" / "README.md").read_text(encoding="utf-8")
    assert text.count(report.BEGIN) == text.count(report.END) == 1


def test_the_chart(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    results = {"machine": MACHINE, "workloads": {"net": result(ours=1.0, torch=2.0)}}
    report.chart(tmp_path / "chart.png", results)
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "machine", lambda: MACHINE)
    monkeypatch.setattr(command, "theirs", lambda images, compiled: iter(()))
    monkeypatch.setattr(command, "others", lambda name: {})
    monkeypatch.setattr(command, "torch", None)
    monkeypatch.setattr(once, "measured", lambda what, library: 1.0)
    out = tmp_path / "out.json"
    options = ["--repeats", "1", "--turn", "0.001", "--json", str(out)]
    command.main(["--only", "tiny_mlp", "import", *options])
    written = json.loads(out.read_text())["workloads"]
    assert set(written) == {"tiny_mlp", "import"}
    assert written["tiny_mlp"]["medians"]["tinygrad_cv"] > 0
    assert "of the limit" in capsys.readouterr().out


LARGE = {"vgg", "resnet18_32", "resnet18_224", "mobilenet_v2"}
"""In float64, for which NumPy's kernels compute, they say no more than the others."""


CHAOTIC = {"mobilenet_v2"}
"""In float32 a tenth of its gradients is rounding after one step (against float64), for which some
parts of a thousand between two orders of adding up are little."""


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(n, d) for n in WORKLOADS for d in ("float32", "float64") if d == "float32" or n not in LARGE],
)
def test_a_workload_is_the_same_compiled(
    name: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradients of the first replay, and the losses of the next two."""
    rounding = 1e-2 if name in CHAOTIC else 1e-3
    monkeypatch.setattr(measure, "TOLERANCE", {"float32": rounding, "float64": 1e-9})
    monkeypatch.setattr(measure, "LOSSES", {"float32": 3, "float64": 3})
    entry = WORKLOADS[name]
    eager, compiled = (
        entry(replace(EAGER, dtype=dtype, replay=replay), **entry.tiny)
        for replay in (EAGER.replay, tg.compile)
    )
    for workload in (eager, compiled):
        workload.step()
    assert not list(measure.disagreements(compiled, eager, dtype))
    (programs,) = compiled.step.programs.values()
    assert len(programs) == 1


def test_loading_is_measured_alone_and_with_a_step() -> None:
    steps: list[int] = []
    for loader in loading.loaders(*loading.data(3 * loading.BATCH), workers=0).values():
        assert loading.milliseconds(loader) > 0
        assert loading.milliseconds(loader, lambda: steps.append(1)) > 0
        (images, labels), *_ = loader
        assert (images.shape, images.dtype) == ((100, 3, 32, 32), tg.float32)
        assert labels.shape == (100,)
    assert len(steps) == 4
