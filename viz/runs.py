"""The runs that plots are given, in all their forms, as columns of numbers."""

import csv
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinygrad_cv.viz.plots import as_label

Column = list[float | None]


@dataclass
class Run:
    """The numbers of one run: a column for each of its curves, and the loss of each step."""

    columns: dict[str, Column] = field(default_factory=dict)
    steps: Column = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """Of all that was given, also of what is no curve."""


ALIASES = {"train_acc_history": "train_accuracy", "val_acc_history": "val_accuracy"}
STEPS = "loss_history"
"""What the trainer of the decks calls them."""


def runs_in(history: Any) -> dict[str, Run]:
    """The runs by their labels; that of a single one is ""."""
    if history is None:
        return {}
    if isinstance(history, Mapping):
        if any(_is_run(value) for value in history.values()):
            return {str(name): _run(value, str(name)) for name, value in history.items()}
    elif isinstance(history, list | tuple) and not all(map(_is_record, history)):
        return {f"run {i}": _run(value, f"run {i}") for i, value in enumerate(history, start=1)}
    return {"": _run(history, "")}


def _is_run(value: Any) -> bool:
    """Whether it is a run, and neither a number nor a column of numbers."""
    if isinstance(value, list | tuple):
        return any(isinstance(element, Mapping) for element in value)
    return isinstance(value, str | os.PathLike | Mapping) or _kept(value) is not None


def _kept(value: Any) -> Any:
    """The history of a Trainer or of a Classifier; None for all else."""
    return getattr(value, "history", getattr(value, "history_", None))


def _is_record(value: Any) -> bool:
    """Whether it is what one epoch left: names and numbers."""
    return isinstance(value, Mapping) and not any(
        isinstance(entry, Mapping | list | tuple) or getattr(entry, "ndim", 0)
        for entry in value.values()
    )


def _run(given: Any, name: str) -> Run:
    whose = f"history of {as_label(name)}" if name else "history"
    if isinstance(given, str | os.PathLike):
        given = _read(Path(given))
    elif _kept(given) is not None:
        given = _kept(given)
    if isinstance(given, list | tuple) and all(map(_is_record, given)):
        names = {key: None for record in given for key in record}
        given = {key: [record.get(key) for record in given] for key in names}
    if not isinstance(given, Mapping):
        raise TypeError(
            f"a {whose} is what Trainer.fit returns, a list of records; or the Trainer, a mapping "
            f"of columns, or the path of a table; got {type(given).__name__}."
        )
    run = Run(names=[str(key) for key in given])
    for key, column in given.items():
        key = ALIASES.get(key, str(key))
        if key == STEPS:
            run.steps = _numbers(column, whose, key)
        elif key in ("loss", "val_loss") or key.startswith(("train_", "val_")):
            run.columns[key] = _numbers(column, whose, key)
    lengths = {key: len(column) for key, column in run.columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        raise ValueError(
            f"every curve of the {whose} needs one number per epoch (None where there is none); "
            f"{told}."
        )
    return run


def _numbers(column: Any, whose: str, key: str) -> Column:
    """A column, with None where there is no number."""
    try:
        return [None if value is None or value == "" else float(value) for value in column]
    except (TypeError, ValueError) as error:
        raise TypeError(f"{key!r} of the {whose} holds one number per epoch: {error}.") from error


def _read(path: Path) -> Any:
    """The records of a CSV file, or of a JSON file."""
    kind = path.suffix.lower()
    if kind not in (".csv", ".json"):
        raise ValueError(f"a history is read from a .csv or .json file; got {str(path)!r}.")
    text = path.read_text(encoding="utf-8")
    if kind == ".csv":
        return [*csv.DictReader(text.splitlines())]
    held = json.loads(text)
    return held.get("epochs", held) if isinstance(held, dict) else held


def steps_in(steps: Any) -> dict[str, Column]:
    """The losses of the steps of each run by its label; that of a single one is ""."""
    if steps is None:
        return {}
    if isinstance(steps, Mapping):
        return {str(name): _losses(value) for name, value in steps.items()}
    if isinstance(steps, list | tuple) and any(
        hasattr(value, "losses") or isinstance(value, list | tuple) or getattr(value, "ndim", 0)
        for value in steps
    ):
        return {f"run {i}": _losses(value) for i, value in enumerate(steps, start=1)}
    return {"": _losses(steps)}


def _losses(given: Any) -> Column:
    return _numbers(getattr(given, "losses", given), "steps", "loss")


def count_epochs(run: Run) -> int:
    return max(map(len, run.columns.values()), default=0)


def panel_of(key: str) -> str:
    """The panel of a curve: "loss" of "val_loss", "accuracy" of "train_accuracy"."""
    return key.removeprefix("train_").removeprefix("val_")


def place_of(panel: str) -> int:
    return {"loss": 0, "accuracy": 1}.get(panel, 2)


def divergence(run: Run, by_step: bool = False) -> int | None:
    """From where on all training losses have diverged; None if the last has not."""
    losses = run.steps if by_step else run.columns.get("loss", [])
    known = [(i, loss) for i, loss in enumerate(losses) if loss is not None]
    first = None
    for i, loss in reversed(known):
        if not has_diverged(loss, known[0][1]):
            break
        first = i
    return first


def has_diverged(loss: float, first: float) -> bool:
    """Whether a loss is not finite, or above three times the first one."""
    return not math.isfinite(loss) or loss > 3 * first > 0
