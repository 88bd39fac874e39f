"""A search on executors of others, and by Optuna: they need more than the suite has."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import tinygrad_cv as tg
from tinygrad_cv.train import search

pytestmark = pytest.mark.host

SPACE = {"lr": search.log_uniform(1e-4, 1.0), "o": search.choice(["a", ("b", 1)])}
HALVING = search.SuccessiveHalving(1, 4, factor=2)


def objective(trial: search.Trial) -> Any:
    """A small net on random points: drawn from the default generator, whose seed is the trial's."""
    x = tg.randn(64, 5)
    labels = (x.sum(dim=1) > 0).long()
    w = (0.1 * tg.randn(5, 2)).requires_grad_()
    value = 0.0
    for _ in range(4):
        loss = tg.cross_entropy(x @ w, labels)
        loss.backward()
        with tg.no_grad():
            w -= trial["lr"] * w.grad
        w.grad = None
        value = float(((x @ w).argmax(dim=1) == labels).float().mean())
        if trial.report(value, cost=loss):
            break
    if trial.number == 2:
        raise ValueError("no")
    return {"val_accuracy": value, "norm": (w * w).sum()}


def told(result: search.Result) -> list[str]:
    return [
        repr((r.number, r.params, r.seed, r.status, r.values, r.reports, r.why))
        for r in result.rows
    ]


@pytest.fixture(scope="module")
def table() -> list[str]:
    """What comes out without any executor."""
    return told(search.random_search(objective, SPACE, 8, halving=HALVING, max_workers=0))


def test_dask_on_loopback(table: list[str]) -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        result = search.random_search(
            objective, SPACE, 8, halving=HALVING, executor=client.get_executor()
        )
    assert told(result) == table


def test_processes_of_ours(table: list[str]) -> None:
    for workers in (1, 2):
        result = search.random_search(objective, SPACE, 8, halving=HALVING, max_workers=workers)
        assert told(result) == table


def deadly(trial: search.Trial) -> float:
    if trial.number % 3 == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return 0.1 * trial.number


def test_several_processes_may_die() -> None:
    result = search.replay(deadly, [{"x": k} for k in range(7)], max_workers=2)
    died = [row.number for row in result.rows if row.status == "failed"]
    assert died == [1, 4]
    assert [row.status for row in result.rows].count("done") == 5


PROGRAM = """
import os
import time
from tinygrad_cv.train import search

def objective(trial):
    print(os.getpid(), flush=True)
    time.sleep(0.2 if trial.number < 2 else 60)
    return trial["x"]

if __name__ == "__main__":
    space = {"x": search.uniform(0, 1)}
    search.random_search(objective, space, 6, path="p.jsonl", max_workers=2)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_the_search(tmp_path: Path, end: signal.Signals) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    process = subprocess.Popen(
        [sys.executable, "program.py"], cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout:
        pids = {int(process.stdout.readline()) for _ in range(4)}
        process.send_signal(end)
        assert process.wait(timeout=20) != 0
        assert process.stdout.read() == ""  # until the last process has closed it
    assert len(pids) == 2
    assert len(search.load(tmp_path / "p.jsonl")) == 2


def test_optuna_s_trials_come_back_in_our_table() -> None:
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space: Any = {
        "x": search.uniform(-2, 2),
        "k": search.uniform(1, 9, integer=True),
        "lr": search.log_uniform(1e-5, 1),
        "h": search.grid([50, 100, 150]),
        "o": search.choice(["a", ("b", 1)]),
    }

    def far(trial: search.Trial) -> Any:
        if trial.number == 4:
            raise ValueError("no")
        if trial.number == 5:
            trial.report(0.5)
            trial.report(99.0)
        distance = (trial["x"] - 1) ** 2 + (trial["o"] == "a") + abs(trial["k"] - 4)
        return {"loss": distance, "h": trial["h"]} if trial.number else distance

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=1))
    result = search.optuna_search(far, space, 30, study=study, seed=1, metric="loss")
    again = search.optuna_search(far, space, 30, seed=1, metric="loss")
    assert told(again) == told(result)
    assert [row.status for row in result.rows[4:6]] == ["failed", "stopped"]
    states = [trial.state.name for trial in study.trials]
    assert (states[4], states[5], states.count("COMPLETE")) == ("FAIL", "PRUNED", 28)
    assert study.best_value == result.best.values["loss"]
    for row in result.rows:
        assert -2 <= row.params["x"] <= 2
        assert row.params["k"] in range(1, 10)
        assert row.params["h"] in (50, 100, 150)
        assert row.params["o"] in ("a", ("b", 1))
    random = search.random_search(far, space, 30, metric="loss", max_workers=0)
    assert result.best.values["loss"] <= random.best.values["loss"] + 0.5
    with pytest.raises(ValueError, match="the study is to maximize"):
        search.optuna_search(far, space, 1, study=study, metric="accuracy")


MPI = """
import sys
sys.path.insert(0, TESTS)
from beside_torch.test_search import HALVING, SPACE, objective, told
from mpi4py.futures import MPIPoolExecutor
from tinygrad_cv.train import search

if __name__ == "__main__":
    alone = search.random_search(objective, SPACE, 8, halving=HALVING, max_workers=0)
    with MPIPoolExecutor() as executor:
        result = search.random_search(objective, SPACE, 8, halving=HALVING, executor=executor)
    assert told(result) == told(alone)
    print("the same")
"""


def test_mpi(tmp_path: Path) -> None:
    from test_distributed import ranked

    tests = repr(str(Path(__file__).parent.parent))
    (tmp_path / "program.py").write_text(MPI.replace("TESTS", tests))
    done = ranked(3, "-m", "mpi4py.futures", str(tmp_path / "program.py"))
    assert (done.returncode, done.stdout) == (0, "the same\n"), done.stderr
