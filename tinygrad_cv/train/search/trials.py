"""A trial: what an objective is given, and what came of it."""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tinygrad_cv.backend import Seeded, host
from tinygrad_cv.backend.threads import on_one_blas_thread
from tinygrad_cv.random import Generator
from tinygrad_cv.train.callbacks import Callback

Objective = Callable[["Trial"], Any]


class Task(NamedTuple):
    """What a worker needs to run a trial."""

    number: int
    params: dict[str, Any]
    seed: int
    metric: str
    minimized: bool
    explosion: float | None
    rung: int = 0
    budget: int | None = None
    first_cost: float | None = None
    folder: str | None = None


@dataclass
class Outcome:
    """What came of a run of an objective."""

    status: str
    values: dict[str, float] = field(default_factory=dict)
    reports: dict[int, float] = field(default_factory=dict)
    why: str = ""
    first_cost: float | None = None
    seconds: float = 0.0


class Trial:
    """What an objective is given: the values to try, and whom to tell how it goes.

    - `trial["lr"]` is a value; `params` has them all;
    - `number` counts the trials from 0;
    - `seed` belongs to the trial alone, and `generator()` begins with it. While the objective runs
      the default generator, Python's `random` and NumPy's functions have been seeded by it too (the
      latter two belong to a process: in a ThreadPoolExecutor trials share them);
    - `folder` is a folder of the trial's own, for checkpoints, if the search was given one.

    >>> from tinygrad_cv.train import search
    >>> def objective(trial):
    ...     for epoch in range(100):
    ...         accuracy = epoch * trial["lr"]
    ...         if trial.report(accuracy, cost=1 / (accuracy + 1)):
    ...             break
    ...     return accuracy
    >>> space = {"lr": search.log_uniform(1e-4, 1e-2)}
    >>> halving = search.SuccessiveHalving(first=1, last=9)
    >>> result = search.random_search(objective, space, 9, max_workers=0, halving=halving)
    >>> [max(row.reports) for row in result.rows]
    [3, 9, 3, 1, 1, 1, 1, 1, 1]
    """

    def __init__(self, task: Task) -> None:
        self.number, self.params, self.seed = task.number, dict(task.params), task.seed
        self.folder = None if task.folder is None else Path(task.folder)
        self.should_stop = False
        """Whether the objective should return now, with what it has."""
        self._task = task
        self._reports: dict[int, float] = {}
        self._first_cost = task.first_cost
        self._why = ""

    @classmethod
    def of(cls, row: Any) -> "Trial":
        """The trial of a row, to call the objective once more by hand: nothing stops it but cost.

        >>> from tinygrad_cv.train import search
        >>> def objective(trial):
        ...     return trial["x"]
        >>> result = search.grid_search(objective, {"x": search.grid([1, 2])}, max_workers=0)
        >>> objective(search.Trial.of(result.best))
        2
        """
        return cls(Task(row.number, row.params, row.seed, "", False, 3.0))

    def __getitem__(self, name: str) -> Any:
        if name not in self.params:
            raise KeyError(f"{name!r} is not searched; the trial has {', '.join(self.params)}.")
        return self.params[name]

    def generator(self) -> Generator:
        """A new generator that begins with the seed of the trial."""
        return Generator().manual_seed(self.seed)

    def report(self, value: Any, step: int | None = None, cost: Any = None) -> bool:
        """Tell how it goes after a step, and be told whether to stop; so does `should_stop`.

        `value` is that of the metric, and `step` counts epochs, or whatever it may be, from 1: by
        default one more than the last. `cost` is what is minimized in training, if it is to be
        judged (see `is_hopeless`). A metric that is minimized is the cost itself, unless there is
        another.

        Raises ValueError for a step that is not above the last.
        """
        last = max(self._reports, default=0)
        step = last + 1 if step is None else int(step)
        if step <= last:
            raise ValueError(f"report: steps go up from 1; after {last} came {step}.")
        task = self._task
        self._reports[step] = number = float(value)
        if cost is None and task.minimized:
            cost = number
        if cost is not None:
            self.is_hopeless(cost)
        if not math.isfinite(number) and not self._why:
            self._why = f"{task.metric} was {number} at step {step}"
        self.should_stop = bool(self._why) or (task.budget is not None and step >= task.budget)
        return self.should_stop

    def is_hopeless(self, cost: Any) -> bool:
        """Whether the cost has exploded: it is no finite number, or over three times the first one.

        Then the trial should stop. The first cost is that of the first call.

        Source: the deck "training neural networks" of the course: "If the cost is ever > 3 *
        original cost, break out early".

        >>> from tinygrad_cv.train import search
        >>> def objective(trial):
        ...     for cost in (2.3, 2.1, 7.5, 1.0):
        ...         if trial.is_hopeless(cost):
        ...             break
        ...     return 1 - cost
        >>> [row] = search.replay(objective, [{"lr": 1}], max_workers=0).rows
        >>> print(row.status, row.why, sep=": ")
        stopped: the cost came to 7.5, over 3 times the first, 2.3
        """
        times, cost = self._task.explosion, float(cost)
        if times is None or self._why:
            return bool(self._why)
        if self._first_cost is None:
            self._first_cost = cost
        if not math.isfinite(cost):
            self._why = f"the cost became {cost}"
        elif cost > times * self._first_cost > 0:
            self._why = (
                f"the cost came to {cost:.3g}, over {times:g} times the first, "
                f"{self._first_cost:.3g}"
            )
        self.should_stop = self.should_stop or bool(self._why)
        return bool(self._why)

    def callback(self, monitor: str = "val_accuracy", cost: str | None = "loss") -> Callback:
        """A callback of a Trainer that reports each epoch, and ends the fit when it is to stop.

        `monitor` and `cost` are names in the record of the epoch. A fit that goes on from a
        checkpoint reports on from there.

        >>> from tinygrad_cv import data, nn, optim, train
        >>> from tinygrad_cv.train import search
        >>> points = data.TensorDataset([[1.0, 2.0], [2.0, 1.0]] * 8, [0, 1] * 8)
        >>> def objective(trial):
        ...     model = nn.Linear(2, 2)
        ...     trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=trial["lr"]))
        ...     loader = data.DataLoader(points, batch_size=8, shuffle=True)
        ...     callbacks = [trial.callback("train_accuracy")]
        ...     return trainer.fit(loader, epochs=3, callbacks=callbacks)[-1]["train_accuracy"]
        >>> space = {"lr": search.log_uniform(0.01, 1)}
        >>> result = search.random_search(objective, space, trials=3, max_workers=0)
        >>> [row.status for row in result.rows]
        ['done', 'done', 'done']
        """
        return _Reports(self, monitor, cost)


class _Reports(Callback):
    """Reports each epoch of a fit to a trial."""

    def __init__(self, trial: Trial, monitor: str, cost: str | None) -> None:
        self.trial, self.monitor, self.cost = trial, monitor, cost
        self.stopped = False

    def on_fit_start(self, trainer: Any) -> None:
        if self.stopped:  # on an earlier rung; now it goes on
            trainer.should_stop = self.stopped = False

    def on_epoch(self, trainer: Any) -> None:
        if self.monitor not in trainer.record:
            raise ValueError(
                f"trial.callback looks at {self.monitor!r}, and the record has "
                f"{', '.join(trainer.record)}."
            )
        cost = None if self.cost is None else trainer.record.get(self.cost)
        if self.trial.report(trainer.record[self.monitor], len(trainer.history), cost):
            trainer.should_stop = self.stopped = True

    def state_dict(self) -> dict[str, Any]:
        return {"stopped": self.stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.stopped = state_dict["stopped"]


def seed_of(seed: int, number: int) -> int:
    """The seed of a trial: a number below 2⁶³ that follows from that of the search."""
    mixed = host.random.SeedSequence([seed, number, 1]).generate_state(2, "uint32")
    return (int(mixed[0]) << 32 | int(mixed[1])) >> 1


def run(objective: Objective, task: Task) -> Outcome:
    """Run a trial, wherever this is called: an exception is an outcome too.

    BLAS has one thread meanwhile, so that sums are added up in one order on any machine.
    """
    trial, began = Trial(task), time.perf_counter()
    try:
        if trial.folder is not None:
            trial.folder.mkdir(parents=True, exist_ok=True)
        with Seeded(task.seed) as seeded:
            seeded.at(0)
            returned = on_one_blas_thread(objective, trial)
        outcome = _judged(trial, returned)
    except (Exception, SystemExit) as error:
        said = " ".join(str(error).split())
        outcome = Outcome("failed", why=f"{type(error).__name__}: {said}".rstrip(": "))
    outcome.reports, outcome.first_cost = trial._reports, trial._first_cost
    outcome.seconds = time.perf_counter() - began
    return outcome


def _judged(trial: Trial, returned: Any) -> Outcome:
    """What an objective has returned, as an outcome."""
    metric = trial._task.metric
    if returned is None and trial._reports:
        returned = trial._reports[max(trial._reports)]
    if not isinstance(returned, Mapping):
        returned = {metric: returned}
    values = {}
    for name, value in returned.items():
        with suppress(TypeError, ValueError):
            values[str(name)] = float(value)
    if metric not in values:
        got = returned.get(metric, f"a mapping of {', '.join(map(str, returned))}")
        return Outcome("failed", values, why=f"the objective returned no {metric}, but {got}")
    if trial._why:
        return Outcome("stopped", values, why=trial._why)
    if not math.isfinite(values[metric]):
        return Outcome("failed", values, why=f"{metric} is {values[metric]}")
    return Outcome("paused" if trial.should_stop else "done", values)
