"""What was found in a training run, as plain data."""

import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["note", "warning", "error"]

LEVELS: tuple[Level, ...] = ("error", "warning", "note")
"""The worst first."""


@dataclass(frozen=True)
class Finding:
    """Something that was found in a training run: what it is, what it means and what to try.

    A "note" is good to know, a "warning" is likely to be a mistake, an "error" spoils the run.

    >>> from tinygrad_cv.train.health import Finding
    >>> finding = Finding(
    ...     "dead_units",
    ...     "warning",
    ...     "7 of 10 units give 0 for all of 500 samples",
    ...     "the rate was too high",
    ...     "lower it",
    ...     "the course, deck 3",
    ...     step=200,
    ...     where="1 (ReLU), net.py:12",
    ... )
    >>> print(finding)
    warning: dead_units at step 200, in 1 (ReLU), net.py:12
      seen:  7 of 10 units give 0 for all of 500 samples
      means: the rate was too high
      try:   lower it (the course, deck 3)
    >>> finding.to_dict()["kind"]
    'dead_units'
    """

    kind: str
    """A name that stays, such as "loss_not_moving"."""
    level: Level
    seen: str
    """What was seen, with its numbers."""
    means: str
    """What it usually means."""
    remedy: str
    """What to try."""
    source: str
    """Where the course says so."""
    step: int | None = None
    """The step of the optimizer, counted from 0, at which it was seen; None before the training."""
    where: str = ""
    """The layer and the line of the program: "2 (Linear), net.py:12"; "" if it has no place."""
    key: str = ""
    """The key of a node in a `viz` trace, or the path of a module or parameter; or ""."""

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"level is one of {', '.join(LEVELS)}; got {self.level!r}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, by the names of the fields: `Finding(**finding.to_dict()) == finding`."""
        return asdict(self)

    def __str__(self) -> str:
        head = f"{self.level}: {self.kind}"
        if self.step is not None:
            head += f" at step {self.step}"
        if self.where:
            head += f", in {self.where}"
        remedy = f"{self.remedy} ({self.source})" if self.source else self.remedy
        rows = (("seen:", self.seen), ("means:", self.means), ("try:", remedy))
        return "\n".join([head, *(_row(name, text) for name, text in rows if text)])


def _row(name: str, text: str) -> str:
    return textwrap.fill(
        f"{name:<7}{text}",
        98,
        initial_indent="  ",
        subsequent_indent=" " * 9,
        break_on_hyphens=False,
    )


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """The errors, then the warnings, then the notes, each in the order in which they were found."""
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def report(findings: Iterable[Finding]) -> str:
    """Findings as text, the worst first.

    >>> from tinygrad_cv.train.health import report
    >>> report([])
    'nothing was found.'
    """
    found = worst_first(findings)
    if not found:
        return "nothing was found."
    counts = {level: sum(f.level == level for f in found) for level in LEVELS}
    told = ", ".join(
        f"{count} {level}{'s' * (count > 1)}" for level, count in counts.items() if count
    )
    return "\n".join([told, *map(str, found)])
