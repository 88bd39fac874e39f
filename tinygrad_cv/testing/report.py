"""What a gradient check found, as data and as text."""

import math
from dataclasses import dataclass, field
from html import escape

from tinygrad_cv.testing.measure import Slope

BANDS = (
    (1e-2, "wrong, in all likelihood"),
    (1e-4, "doubtful"),
    (1e-7, "fine where there are kinks, otherwise doubtful"),
    (0.0, "right"),
)
"""How CS231n reads a relative error, from the largest down."""


class GradientError(AssertionError):
    """A gradient does not agree with finite differences. `report` holds the details, if any."""

    def __init__(self, message: str, report: "Report | None" = None) -> None:
        super().__init__(message)
        self.report = report


@dataclass(frozen=True)
class Entry:
    """One comparison: of element `index` of input `name`, or of a random direction (index None).

    `scale` is the size of the gradient there and nowhere else, which errors are measured by.
    `rounding` is how much of the analytic value may be the rounding error of its rule.
    """

    name: str
    index: tuple[int, ...] | None
    analytic: float
    numeric: Slope
    scale: float
    rounding: float = 0.0

    @property
    def excess(self) -> float:
        """How far the analytic value lies outside what was measured, relative to the gradient."""
        if not math.isfinite(self.analytic):
            return math.inf
        return max(self.distance - self.numeric.error - self.rounding, 0.0) / self.scale

    @property
    def distance(self) -> float:
        """How far the analytic value lies from the slope, or from those of the two sides."""
        return max(self.numeric.low - self.analytic, self.analytic - self.numeric.high, 0.0)

    @property
    def is_resolved(self) -> bool:
        """Whether the slope was measured well enough to say anything about the rule.

        It was if the rule claims next to nothing: what rounding makes of zero.
        """
        well = self.numeric.error <= 1e-3 * self.scale
        return well or abs(self.analytic) <= self.rounding

    @property
    def relative_error(self) -> float:
        """|a - n| / max(|a|, |n|), the measure of CS231n."""
        largest = max(abs(self.analytic), abs(self.numeric.value))
        return abs(self.analytic - self.numeric.value) / largest if largest else 0.0

    @property
    def band(self) -> str:
        """The relative error in the words of `BANDS`; on a kink it is the slopes that count."""
        if self.numeric.has_kink and not self.excess:
            return "right: on a kink, between its slopes"
        return next((words for bound, words in BANDS if self.relative_error >= bound), BANDS[0][1])

    @property
    def place(self) -> str:
        return "direction" if self.index is None else str(self.index)


@dataclass
class Report:
    """All comparisons of one check. A notebook shows it as a table.

    `sweep` holds the relative error of the worst comparison at several step sizes, and `hint`
    what the mistake looks like; both are filled in when a check fails.
    """

    order: int
    entries: list[Entry] = field(default_factory=list)
    sweep: dict[float, float] = field(default_factory=dict)
    hint: str = ""

    @property
    def worst(self) -> Entry:
        """The comparison that is furthest off."""
        return max(self.entries, key=lambda entry: entry.excess)

    def _rows(self, count: int) -> list[tuple[str, ...]]:
        ranked = sorted(self.entries, key=lambda entry: -entry.excess)
        first: dict[str, Entry] = {}  # the worst of each input comes before the rest
        for entry in ranked:
            first.setdefault(entry.name, entry)
        rest = [entry for entry in ranked if entry is not first[entry.name]]
        worst = [*first.values(), *rest][:count]
        return [
            (
                entry.name,
                entry.place,
                f"{entry.analytic:.6g}",
                f"{entry.numeric.value:.6g}",
                f"{entry.relative_error:.1e}",
                entry.band,
            )
            for entry in worst
        ]

    def table(self, rows: int = 8) -> str:
        """The worst comparisons as text, one a line, then the sweep and the hint."""
        head = ("input", "index", "analytic", "numeric", "relative", "in words")
        table = [head, *self._rows(rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in table
        ]
        if self.sweep:
            errors = ", ".join(f"{error:.0e} at h={h:.0e}" for h, error in self.sweep.items())
            lines.append(f"relative error of the worst over step sizes: {errors}")
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        head = "".join(
            f"<th>{name}</th>"
            for name in ("input", "index", "analytic", "numeric", "relative", "in words")
        )
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self._rows(20)
        )
        hint = f"<p>{escape(self.hint)}</p>" if self.hint else ""
        return f"<table><tr>{head}</tr>{rows}</table>{hint}"
