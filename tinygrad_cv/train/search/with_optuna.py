"""Optuna chooses the values, and the trials come back in our table."""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from tinygrad_cv.train.search.results import Result, row_of
from tinygrad_cv.train.search.running import check_names, mode_of
from tinygrad_cv.train.search.spaces import Choice, Grid, Space, checked, whole
from tinygrad_cv.train.search.trials import Objective, Task, run, seed_of


def optuna_search(
    objective: Objective,
    space: Mapping[str, Space],
    trials: int,
    *,
    study: Any = None,
    seed: int = 0,
    metric: str = "val_accuracy",
    mode: str | None = None,
    explosion: float | None = 3.0,
) -> Result:
    """Run an objective with values that a study of Optuna asks for, one trial after another here.

    Without a `study` there is a new one, with Optuna's own sampler (TPE) of this seed. The
    objective, the space and the options are those of `random_search`. A trial that is stopped is
    told to the study as pruned, and one that failed as failed.

    Raises ImportError without Optuna (pip install 'tinygrad_cv[search]'), and ValueError for a
    study that seeks the other direction.

    >>> from tinygrad_cv.train import search
    >>> space = {"x": search.uniform(-1, 1), "kind": search.choice(["a", "b"])}
    >>> def objective(trial):
    ...     return trial["x"] ** 2 + (trial["kind"] == "b")
    >>> search.optuna_search(objective, space, 20, metric="loss").best.params["kind"]
    'a'
    """
    optuna = _optuna()
    space, mode = checked(space), mode_of(metric, mode)
    trials, seed = whole("trials", trials, 1), whole("seed", seed, 0)
    check_names(metric, space)
    direction = {"max": "maximize", "min": "minimize"}[mode]
    if study is None:
        sampler = optuna.samplers.TPESampler(seed=seed)
        study = optuna.create_study(direction=direction, sampler=sampler)
    if study.direction.name.lower() != direction:
        raise ValueError(f"the study is to {direction} {metric}; it has {study.direction.name}.")
    asked = {name: _distribution(optuna, each) for name, each in space.items()}
    rows = []
    for number in range(trials):
        trial = study.ask(asked)
        params = {name: _value(space[name], trial.params[name]) for name in space}
        task = Task(number, params, seed_of(seed, number), metric, mode == "min", explosion)
        outcome = run(objective, task)
        for step, value in outcome.reports.items():
            trial.report(value, step)
        state = optuna.trial.TrialState
        states = {"done": state.COMPLETE, "stopped": state.PRUNED, "failed": state.FAIL}
        done = outcome.values[metric] if outcome.status == "done" else None
        study.tell(trial, done, states[outcome.status])
        rows.append(row_of(number, params, task.seed, 0, outcome))
    return Result(rows, space, metric, mode, seed)


def _optuna() -> ModuleType:
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "this search asks Optuna what to try; run pip install 'tinygrad_cv[search]'.",
            name=error.name,
        ) from error
    return optuna


def _distribution(optuna: Any, space: Space) -> Any:
    """A space as Optuna knows it; of a grid it chooses the place, which has an order."""
    if isinstance(space, Choice):
        return optuna.distributions.CategoricalDistribution(range(len(space.options)))
    if isinstance(space, Grid):
        return optuna.distributions.IntDistribution(0, len(space.values) - 1)
    kind = "IntDistribution" if space.integer else "FloatDistribution"
    return getattr(optuna.distributions, kind)(space.low, space.high, log=space.log)


def _value(space: Space, asked: Any) -> Any:
    """What Optuna asked for, as a value of the space."""
    if isinstance(space, Choice):
        return space.options[asked]
    return space.values[asked] if isinstance(space, Grid) else asked
