"""What a search found: rows, the table, and the file of JSON lines that it goes on from."""

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from tinygrad_cv.storage import read, write
from tinygrad_cv.train.search.spaces import Grid, Refined, Space
from tinygrad_cv.train.search.trials import Outcome

KIND = "tinygrad_cv search 1"
FINAL = ("done", "stopped", "failed")
"""What a trial can be in the end."""


@dataclass
class Row:
    """A trial and what came of it.

    - `status` is "done"; "stopped", if it was hopeless or others were better; or "failed";
    - `values` are those that the objective returned, by name, and `reports` those that it reported,
      by step;
    - `why` says in words why it was stopped or failed;
    - `seed` is its own, and `seconds` what it took, over all rungs.
    """

    number: int
    params: dict[str, Any]
    seed: int
    status: str
    values: dict[str, float] = field(default_factory=dict)
    reports: dict[int, float] = field(default_factory=dict)
    why: str = ""
    rung: int = 0
    first_cost: float | None = None
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The row as one flat mapping: trial, params, values, status, why."""
        end = {"status": self.status, "why": self.why}
        taken = {"trial", *self.params}
        others = {name: value for name, value in self.values.items() if name not in taken}
        return {"trial": self.number, **self.params, **others, **end}

    def behind(self) -> "Row":
        """The row of a trial that came to the end of its rung, and goes on to no other."""
        step = max(self.reports, default=0)
        why = f"rung {self.rung + 1}, step {step}: others were better"
        return replace(self, status="stopped", why=why)


def row_of(number: int, params: dict[str, Any], seed: int, rung: int, outcome: Outcome) -> Row:
    """The row that an outcome makes."""
    return Row(
        number, params, seed, outcome.status, outcome.values, outcome.reports, outcome.why, rung,
        outcome.first_cost, outcome.seconds,
    )  # fmt: skip


class Edge(NamedTuple):
    """A hyperparameter whose best value lies at an end of the declared range."""

    name: str
    side: str
    """Where to search on: "smaller" or "greater"."""
    value: float
    end: float

    def __str__(self) -> str:
        return (
            f"{self.name} {self.value:.4g} lies at the declared end {self.end:.4g}: better values "
            f"may lie beyond, so try {self.side} {self.name}"
        )


class Result:
    """What a search found; `print` shows the trials as a table, the best first.

    - `rows` has the trials in their order (see `Row`), and `to_dicts()` as flat mappings;
    - `best` is the row that is done and has the best value of `metric`, by `mode` "max" or "min";
      it raises ValueError if none is done;
    - `edges` tells where the best lies at the end of a declared range;
    - `space` is what was searched, and `seed` what the trials follow from.

    >>> from tinygrad_cv.train import search
    >>> def objective(trial):
    ...     return 1 - abs(trial["x"] - 1)
    >>> space = {"x": search.grid([0, 0.5, 1])}
    >>> result = search.grid_search(objective, space, max_workers=0)
    >>> print(result)
    trial  x    val_accuracy  status
        2  1    1             done
        1  0.5  0.5           done
        0  0    0             done
    best: trial 2, val_accuracy 1 at x 1
    at the edge: x 1 lies at the declared end 1: better values may lie beyond, so try greater x
    """

    def __init__(
        self,
        rows: Iterable[Row],
        space: Mapping[str, Space],
        metric: str = "val_accuracy",
        mode: str = "max",
        seed: int = 0,
    ) -> None:
        self.rows = sorted(rows, key=lambda row: row.number)
        self.space, self.metric, self.mode, self.seed = dict(space), metric, mode, seed

    def to_dicts(self) -> list[dict[str, Any]]:
        """The rows as flat mappings, as pandas.DataFrame or `viz.search` take them."""
        return [row.to_dict() for row in self.rows]

    def ranked(self) -> list[Row]:
        """The rows from the best to the worst: those that are done first, those that failed last.

        Where values are equal, the earlier trial is first.
        """
        way = -1 if self.mode == "max" else 1

        def order(row: Row) -> tuple[int, float, int]:
            value = row.values.get(self.metric, math.nan)
            return (
                FINAL.index(row.status),
                way * value if math.isfinite(value) else math.inf,
                row.number,
            )

        return sorted(self.rows, key=order)

    @property
    def best(self) -> Row:
        """The best of the trials that are done."""
        first = self.ranked()[:1]
        if not first or first[0].status != "done":
            raise ValueError(f"there is no best trial: none of {len(self.rows)} is done.")
        return first[0]

    @property
    def edges(self) -> list[Edge]:
        """Where the best lies at an end of the declared range: within 5 % of it, on its scale.

        It is the declared range that counts: the drawn values end somewhere inside of it, and the
        best of a few may well be the greatest of them.
        """
        if not any(row.status == "done" for row in self.rows):
            return []
        found = []
        for name, value in self.best.params.items():
            space = self.space.get(name)
            side = "" if space is None else space.border(value)
            if side:
                low, high = ends_of(space)
                found.append(Edge(name, side, value, high if side == "greater" else low))
        return found

    def refine(self, by: float = 3.0, extend: bool = False) -> Refined:
        """A narrower space round the best trial, to search next: from coarse to fine.

        Each range becomes `by` times as narrow, on its own scale, with the best in the middle; a
        grid gets as many numbers between the neighbours of the best one; of a choice all options
        stay. Near an end of the declared range it is moved to stay within it, or goes beyond it
        with `extend`. `print` of the space shows where that was so, and its `notes` say it too.

        Raises ValueError if no trial is done, or unless by > 1.

        Source: the deck "training neural networks" of the course: coarse → fine search in stages.

        >>> from tinygrad_cv.train import search
        >>> coarse = {"lr": search.log_uniform(1e-6, 1e-3), "reg": search.log_uniform(1e-5, 1e5)}
        >>> seen = [{"lr": 4.3e-4, "reg": 0.66}]
        >>> result = search.replay(lambda trial: 0.482, seen, coarse, max_workers=0)
        >>> print(result.refine())
        lr   log_uniform(0.0001, 0.001): kept within the declared end 0.001; the best may lie beyond
        reg  log_uniform(0.01422, 30.63)
        """
        if not by > 1:
            raise ValueError(f"refine makes a range `by` times as narrow, above 1; got {by!r}.")
        params = self.best.params
        narrower = {
            name: space.narrowed(params[name], by, extend) for name, space in self.space.items()
        }
        return Refined(
            {name: space for name, (space, _) in narrower.items()},
            {name: note for name, (_, note) in narrower.items()},
        )

    def __str__(self) -> str:
        names = list(dict.fromkeys(name for row in self.rows for name in row.params))
        values = list(dict.fromkeys(name for row in self.rows for name in row.values))
        table = [["trial", *names, *values, "status"]]
        for row in self.ranked():
            why = f": {row.why}" if row.why else ""
            table.append(
                [
                    str(row.number),
                    *(told(row.params.get(name, "")) for name in names),
                    *(told(row.values.get(name, "")) for name in values),
                    f"{row.status}{why}",
                ]
            )
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join([cells[0].rjust(widths[0]), *map(str.ljust, cells[1:], widths[1:])]).rstrip()
            for cells in table
        ]
        return "\n".join([*lines, *self.summary()])

    def summary(self) -> list[str]:
        """The best trial in words, and whether it lies at an edge."""
        if not any(row.status == "done" for row in self.rows):
            return [f"no trial is done, of {len(self.rows)}"]
        best = self.best
        at = ", ".join(f"{name} {told(value)}" for name, value in best.params.items())
        return [
            f"best: trial {best.number}, {self.metric} {told(best.values[self.metric])}"
            f"{f' at {at}' if at else ''}",
            *(f"at the edge: {edge}" for edge in self.edges),
        ]

    def __repr__(self) -> str:
        return f"Result({len(self.rows)} trials of {', '.join(self.space)})"


def ends_of(space: Any) -> tuple[float, float]:
    """The least and the greatest that a space has, of a range or a grid."""
    return (
        (space.values[0], space.values[-1]) if isinstance(space, Grid) else (space.low, space.high)
    )


def told(value: Any) -> str:
    """A value in a few digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return " ".join(str(value).split())


# ----- the file ----------------------------------------------------------------------------------


class Record:
    """The rows of a search, each also a line of a file if there is one.

    The first line says what is searched; a line is on the disk before the next trial is counted.
    Whenever the program ends, at most the last line is torn, which is then left out.
    """

    def __init__(self, path: Any, about: dict[str, Any]) -> None:
        self.path = None if path is None else Path(path)
        self.rows: dict[tuple[int, int], Row] = {}
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        about = {"kind": KIND, **about}
        try:
            header = json.dumps(about, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"a file has strings, finite numbers, True, False, None and lists ({error}): give "
                "other values a name, and let the objective look it up, or leave out path."
            ) from error
        if not self.path.exists() or not self.path.stat().st_size:
            write(self.path, f"{header}\n".encode())
            return
        found, rows, whole = _read(self.path)
        for name in dict.fromkeys([*about, *found]):
            if found.get(name) != json.loads(json.dumps(about.get(name))):
                raise ValueError(
                    f"{self.path}: is of a search with {name} = {found.get(name)}, and this one "
                    f"has {about.get(name)}. Let them be the same, or choose another file."
                )
        self.rows = {(row.number, row.rung): row for row in rows}
        os.truncate(self.path, whole)

    def known(self, number: int, params: dict[str, Any], rung: int) -> Row | None:
        """The row of a trial, if it is there; ValueError if it is that of other values."""
        row = self.rows.get((number, rung))
        if row is not None and json.loads(json.dumps(params)) != json.loads(json.dumps(row.params)):
            raise ValueError(
                f"{self.path}: its trial {number} has {row.params}, and that of this search "
                f"{params}. Choose another file."
            )
        if row is not None:
            row.params = params  # whose tuples were lists in the file
        return row

    def add(self, row: Row) -> None:
        """Keep a row, in the file too."""
        self.rows[row.number, row.rung] = row
        if self.path is None:
            return
        cost = row.first_cost
        line = {
            "trial": row.number,
            "rung": row.rung,
            "seed": row.seed,
            "params": row.params,
            "status": row.status,
            "values": {name: plain(value) for name, value in row.values.items()},
            "reports": {str(step): plain(value) for step, value in row.reports.items()},
            "why": row.why,
            "first_cost": None if cost is None else plain(cost),
            "seconds": round(row.seconds, 3),
        }
        with self.path.open("ab", buffering=0) as file:
            file.write((json.dumps(line, allow_nan=False) + "\n").encode())
            os.fsync(file.fileno())


def plain(value: float) -> float | str:
    """JSON has no NaN: "nan", "inf" and "-inf"."""
    return value if math.isfinite(value) else str(value)


def _read(path: Path) -> tuple[dict[str, Any], list[Row], int]:
    """What a file has: what is searched, the rows, and where the last whole line ends."""
    contents = read(path)
    whole = contents.rfind(b"\n") + 1
    found = []
    for k, line in enumerate(contents[:whole].splitlines() or [contents], start=1):
        try:
            found.append(json.loads(line))
        except ValueError:
            raise ValueError(f"{path}: line {k} is no line of a search.") from None
    about, *rows = found
    if not isinstance(about, dict) or about.get("kind") != KIND:
        raise ValueError(f"{path}: is no file of a search.")
    return about, [_row(path, row, k) for k, row in enumerate(rows, start=2)], whole


def _row(path: Path, found: Any, k: int) -> Row:
    try:
        cost = found["first_cost"]
        return Row(
            int(found["trial"]),
            dict(found["params"]),
            int(found["seed"]),
            str(found["status"]),
            {name: float(value) for name, value in found["values"].items()},
            {int(step): float(value) for step, value in found["reports"].items()},
            str(found["why"]),
            int(found["rung"]),
            None if cost is None else float(cost),
            float(found["seconds"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: line {k} is no trial of a search.") from error


def load(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The finished trials in a file of a search, as flat mappings, such as `viz.search` takes.

    Of a trial that was run on several rungs, the last one; where that was not the last of all, it
    is stopped, as it is so far if the search was. A torn last line is left out. Raises OSError if
    there is no such file, and ValueError for any other.

    >>> from tinygrad_cv.train import search
    >>> space = {"x": search.grid([1, 2])}
    >>> _ = search.grid_search(lambda trial: 1 / trial["x"], space, path="x.jsonl", max_workers=0)
    >>> search.load("x.jsonl")
    [{'trial': 0, 'x': 1, 'val_accuracy': 1.0, 'status': 'done', 'why': ''}, {'trial': 1, ...}]
    """
    last: dict[int, Row] = {}
    for row in _read(Path(path))[1]:
        if row.number not in last or row.rung >= last[row.number].rung:
            last[row.number] = row.behind() if row.status == "paused" else row
    return [last[number].to_dict() for number in sorted(last)]
