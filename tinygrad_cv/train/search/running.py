"""Grid and random search: which trials there are, which go on, and where they run."""

import math
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, TypedDict, Unpack

from tqdm import tqdm

from tinygrad_cv.backend.threads import _available
from tinygrad_cv.train.search.results import Record, Result, Row, plain, row_of
from tinygrad_cv.train.search.spaces import (
    Choice,
    Grid,
    Range,
    Space,
    as_python,
    checked,
    drawn,
    is_number,
    whole,
)
from tinygrad_cv.train.search.trials import Objective, Task, seed_of
from tinygrad_cv.train.search.workers import Given, Here, Processes

BAR = "{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {elapsed}<{remaining}{postfix}"

Path_ = str | PathLike[str] | None


@dataclass(frozen=True)
class SuccessiveHalving:
    """Many trials for a few steps, the best of them for more: `factor` times as few and as long.

    On the first rung every trial runs until its report of step `first`. When all are there, the
    best 1/factor of them (at least one) run until step factor · first, and so on until step `last`.
    Nobody goes on while a trial of the rung is under way, so what is stopped depends on the values
    alone, not on how fast a worker was: the table is the same with any number of workers.

    A trial that goes on is run anew, with the seed that it had, and so comes by the same steps: at
    most factor / (factor - 1) times the steps in all. To spare them, give the search a `folder`,
    and let the objective go on from a checkpoint in `trial.folder`.

    Raises ValueError unless 1 <= first <= last and factor >= 2.

    Source: K. Jamieson and A. Talwalkar, "Non-stochastic best arm identification and hyperparameter
    optimization", 2016; and the decks' first stage of "only a few epochs to get rough idea".

    >>> from tinygrad_cv.train import search
    >>> search.SuccessiveHalving(first=1, last=9).budgets
    [1, 3, 9]
    """

    first: int
    last: int
    factor: int = 3

    def __post_init__(self) -> None:
        for name in ("first", "last", "factor"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise ValueError(f"SuccessiveHalving: {name} is a whole number; got {value!r}.")
        if not (1 <= self.first <= self.last and self.factor >= 2):
            raise ValueError(f"expected 1 <= first <= last and factor >= 2; got {self}.")

    @property
    def budgets(self) -> list[int]:
        """The step that each rung runs to."""
        steps = [self.first]
        while steps[-1] < self.last:
            steps.append(min(steps[-1] * self.factor, self.last))
        return steps


class Options(TypedDict, total=False):
    """What all searches take; see `random_search`."""

    metric: str
    mode: str | None
    explosion: float | None
    halving: SuccessiveHalving | None
    path: Path_
    retry: bool
    folder: Path_
    max_workers: int | None
    executor: Any
    progress: bool | None


def random_search(
    objective: Objective,
    space: Mapping[str, Space],
    trials: int,
    *,
    seed: int = 0,
    **options: Unpack[Options],
) -> Result:
    """Run an objective with values drawn at random; the result is a table of the trials.

    `objective(trial)` trains with `trial["lr"]` and so on (see `Trial`) and returns the value of
    the metric, or a mapping of names to numbers with the metric among them; or None, if it has
    reported values, of which the last counts. The values and the seed of trial n follow from `seed`
    and n: a search of more trials begins with the same, and where they run changes nothing.

    Further options, of `grid_search` and `replay` too:

    - `metric`: its name, by default "val_accuracy"; `mode`: "max" or "min", which follows from
      names that end in accuracy, or in loss, cost or error;
    - `explosion`: a trial is told to stop when a cost that it reports is over so many times the
      first, 3 by default (None: never), or no finite number;
    - `halving`: a `SuccessiveHalving`, that stops those that fall behind;
    - `path`: a file of JSON lines, one for each trial that is finished. If the program ends, or is
      killed, call it again: trials in the file are not run again. With `retry=True` those that
      failed are;
    - `folder`: where each trial gets a folder of its own, `trial.folder`;
    - `max_workers`: how many processes run trials, by default one for each processor, which they
      share out; 0: none, trials run here. The objective then need not be pickled. Processes are
      started afresh: a script that is run calls the search under `if __name__ == "__main__":`;
    - `executor`: any `concurrent.futures.Executor` in place of them, such as Dask's
      `Client.get_executor()` or `mpi4py.futures.MPIPoolExecutor()`. It is not shut down;
    - `progress`: whether to show a bar on stderr; None shows it on a terminal only.

    A trial that raises an exception, gives NaN or kills its process is a row of the table, with the
    status "failed" and why. Ctrl-C ends the search, and the file keeps what was done.

    Raises TypeError for an objective that processes cannot be sent, and ValueError for a file that
    is of another search.

    Source: J. Bergstra and Y. Bengio, "Random search for hyper-parameter optimization", 2012; the
    deck "training neural networks" of the course: prefer random search over grid search.

    >>> from tinygrad_cv.train import search
    >>> def objective(trial):
    ...     return 0.5 - abs(trial["x"])
    >>> space = {"x": search.uniform(-1, 1)}
    >>> print(search.random_search(objective, space, trials=3, max_workers=0))
    trial  x        val_accuracy  status
        0  0.2739   0.2261        done
        1  0.7795   -0.2795       done
        2  -0.8384  -0.3384       done
    best: trial 0, val_accuracy 0.2261 at x 0.2739
    """
    space, trials, seed = checked(space), whole("trials", trials, 1), whole("seed", seed, 0)
    points = [drawn(space, seed, number) for number in range(trials)]
    return _search(objective, space, points, {"how": "random"}, seed, options)


def grid_search(
    objective: Objective,
    space: Mapping[str, Space],
    points: int | Mapping[str, int] | None = None,
    *,
    seed: int = 0,
    **options: Unpack[Options],
) -> Result:
    """Run an objective with each combination of the values of a grid; see `random_search`.

    A `grid` has its own values and a `choice` its options. A range is cut into `points` values from
    end to end, evenly on its scale; as a mapping, so many for each name. The last name in the space
    changes fastest.

    Raises ValueError if a range lacks its number of points; else as `random_search` does.

    Source: the deck "loss functions and optimization" of the course (INF5860): three loops over
    hidden units, learning rates and regularization.

    >>> from tinygrad_cv.train import search
    >>> space = {"hidden": search.grid([50, 100]), "lr": search.log_uniform(1e-4, 1e-2)}
    >>> result = search.grid_search(lambda trial: trial["lr"], space, points=3, max_workers=0)
    >>> [(row.params["hidden"], round(row.params["lr"], 6)) for row in result.rows]
    [(50, 0.0001), (50, 0.001), (50, 0.01), (100, 0.0001), (100, 0.001), (100, 0.01)]
    """
    space, seed = checked(space), whole("seed", seed, 0)
    lists: dict[str, Iterable[Any]] = {}
    for name, each in space.items():
        count = points.get(name) if isinstance(points, Mapping) else points
        if isinstance(each, Range):
            if count is None:
                raise ValueError(f"{name}: {each} needs a number of points, as in points=5.")
            lists[name] = each.grid(count).values
        else:
            lists[name] = each.values if isinstance(each, Grid) else each.options
    combined: list[dict[str, Any]] = [{}]
    for name, values in lists.items():
        combined = [point | {name: value} for point in combined for value in values]
    about = {"how": "grid", "points": {name: [*values] for name, values in lists.items()}}
    return _search(objective, space, combined, about, seed, options)


def replay(
    objective: Objective,
    points: Iterable[Mapping[str, Any]],
    space: Mapping[str, Space] | None = None,
    *,
    seed: int = 0,
    **options: Unpack[Options],
) -> Result:
    """Run an objective with given values, such as those that somebody has printed.

    `space` says where they were drawn from, for the edges and for `refine`; the options are those
    of `random_search`.

    Raises ValueError if there are no points, or if one lacks a name of the space, or has no number
    where that is a range.

    >>> from tinygrad_cv.train import search
    >>> points = [{"lr": 1.405206e-04, "reg": 4.793564e-01}, {"lr": 7.2e-06, "reg": 2.3e-04}]
    >>> result = search.replay(lambda trial: trial["lr"], points, max_workers=0)
    >>> result.best.params
    {'lr': 0.0001405206, 'reg': 0.4793564}
    """
    space, seed = checked(space or {}), whole("seed", seed, 0)
    given = [{name: as_python(value) for name, value in point.items()} for point in points]
    if not given:
        raise ValueError("replay: there are no points.")
    for k, point in enumerate(given):
        if lacking := [name for name in space if name not in point]:
            raise ValueError(f"point {k} lacks {lacking[0]!r}; it has {', '.join(point)}.")
        for name, each in space.items():
            if not isinstance(each, Choice) and not is_number(point[name]):
                raise ValueError(
                    f"{name} of point {k} is {point[name]!r}, and no number of {each}."
                )
    return _search(objective, space, given, {"how": "given", "points": given}, seed, options)


def _search(
    objective: Objective,
    space: dict[str, Space],
    points: list[dict[str, Any]],
    about: dict[str, Any],
    seed: int,
    options: Options,
) -> Result:
    if unknown := options.keys() - Options.__annotations__.keys():
        raise TypeError(
            f"a search has no option {min(unknown)!r}; it has {', '.join(Options.__annotations__)}."
        )
    metric, folder = options.get("metric", "val_accuracy"), options.get("folder")
    mode = mode_of(metric, options.get("mode"))
    explosion, halving = as_python(options.get("explosion", 3.0)), options.get("halving")
    check_names(metric, {name for point in points for name in point})
    if explosion is not None and not explosion > 1:
        raise ValueError(f"explosion is a number above 1, or None; got {explosion!r}.")
    if halving is not None and not isinstance(halving, SuccessiveHalving):
        raise TypeError(f"halving is a SuccessiveHalving, or None; got {halving!r}.")
    if not callable(objective):
        raise TypeError(f"the objective is a function of a trial; got {objective!r}.")
    record = Record(
        options.get("path"),
        about
        | {
            "space": {name: repr(each) for name, each in space.items()},
            "seed": seed,
            "metric": metric,
            "mode": mode,
            "explosion": None if explosion is None else plain(explosion),
            "halving": None if halving is None else f"{halving} of {len(points)} trials",
        },
    )
    budgets: list[int | None] = [None] if halving is None else [*halving.budgets]
    tasks = [
        Task(
            number,
            point,
            seed_of(seed, number),
            metric,
            mode == "min",
            explosion,
            folder=None if folder is None else str(Path(folder) / f"trial_{number:04}"),
        )
        for number, point in enumerate(points)
    ]
    final: dict[int, Row] = {}
    pool = None
    now = True
    try:
        for rung, budget in enumerate(budgets):
            waiting, rows = [], []
            for task in tasks:
                task = task._replace(rung=rung, budget=budget)
                before = final.get(task.number)
                row = record.known(task.number, task.params, rung)
                if before is not None:
                    if before.status == "done":  # it had no more steps to make
                        rows.append(before)
                        continue
                    task = task._replace(first_cost=before.first_cost)
                if row is not None and not (options.get("retry") and row.status == "failed"):
                    rows.append(row)
                else:
                    waiting.append(task)
            if waiting and pool is None:
                pool = _pool(objective, options, len(waiting))
            if pool is not None and waiting:
                last, progress = rung == len(budgets) - 1, options.get("progress")
                rows += _run_all(pool, waiting, record, final, rung, last, metric, mode, progress)
            rows.sort(key=lambda row: row.number)
            final |= {row.number: row for row in rows}
            if budget is None or rung == len(budgets) - 1:
                break
            assert halving is not None
            best = _best(rows, budget, max(1, len(rows) // halving.factor), metric, mode)
            for row in rows:
                if row.status == "paused" and row.number not in best:
                    final[row.number] = row.behind()
            tasks = [task for task in tasks if task.number in best]
        now = False
    finally:
        if pool is not None:
            pool.end(now)
    return Result(final.values(), space, metric, mode, seed)


def _run_all(
    pool: Any,
    waiting: list[Task],
    record: Record,
    before: Mapping[int, Row],
    rung: int,
    last: bool,
    metric: str,
    mode: str,
    progress: bool | None,
) -> list[Row]:
    """Run the trials of a rung, and note each when it is done."""
    rows = []
    hidden = None if progress is None else not progress
    better: Callable[[float, float], float] = max if mode == "max" else min
    best = math.nan
    with tqdm(
        total=len(waiting), bar_format=BAR, disable=True if sys.stderr is None else hidden
    ) as bar:
        bar.set_description(f"rung {rung + 1} " if rung else "")
        for task, outcome in pool.run(waiting):
            row = row_of(task.number, task.params, task.seed, rung, outcome)
            if last and row.status == "paused":
                row.status = "done"
            if task.number in before:
                earlier = before[task.number]
                row.seconds += earlier.seconds
                row.reports = earlier.reports | row.reports
            record.add(row)
            rows.append(row)
            value = row.values.get(metric, math.nan)
            if row.status in ("done", "paused"):
                best = value if math.isnan(best) else better(best, value)
                bar.set_postfix_str(f"best {metric} {best:.4g}", refresh=False)
            bar.update()
    return rows


def _best(rows: list[Row], budget: int, count: int, metric: str, mode: str) -> set[int]:
    """The numbers of the best trials of a rung, by what they had at its last step."""

    def value(row: Row) -> float:
        steps = [step for step in row.reports if step <= budget]
        return row.reports[max(steps)] if steps else row.values.get(metric, math.nan)

    sound = [r for r in rows if r.status in ("done", "paused") and math.isfinite(value(r))]
    way = -1 if mode == "max" else 1
    ranked = sorted(sound, key=lambda row: (way * value(row), row.number))
    return {row.number for row in ranked[:count]}


def _pool(objective: Objective, options: Options, tasks: int) -> Any:
    """Where trials run."""
    executor, max_workers = options.get("executor"), options.get("max_workers")
    if max_workers is not None:
        max_workers = whole("max_workers", max_workers, 0)
    if executor is not None:
        if not hasattr(executor, "submit"):
            raise TypeError(
                "executor is a concurrent.futures.Executor, such as Client.get_executor() of Dask; "
                f"got {type(executor).__name__}."
            )
        return Given(objective, executor, max_workers or None)
    if max_workers == 0:
        return Here(objective)
    return Processes(objective, min(_available() if max_workers is None else max_workers, tasks))


def mode_of(metric: str, mode: str | None) -> str:
    """Whether the best trial has the greatest metric or the least."""
    if mode in ("max", "min"):
        return mode
    guess = {"loss": "min", "cost": "min", "error": "min", "accuracy": "max"}
    if mode is None and (found := guess.get(metric.rpartition("_")[2])):
        return found
    if mode is None:
        raise ValueError(f"say whether a high {metric} is good, mode='max', or a low one, 'min'.")
    raise ValueError(f"mode is 'max' or 'min', what the best trial has; got {mode!r}.")


def check_names(metric: str, params: Collection[str]) -> None:
    """Raise ValueError unless the columns of the table have names of their own."""
    taken = ("trial", "status", "why")
    if metric in taken or metric in params:
        raise ValueError(f"metric: {metric!r} is the name of another column; choose another.")
    if wrong := [name for name in taken if name in params]:
        raise ValueError(
            f"{wrong[0]!r} is a column of the table; name the hyperparameter otherwise."
        )
