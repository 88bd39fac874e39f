"""The steps of a trace, small: what a page of a long watch carries.

200 steps of a network of 180 nodes are 70,000 summaries, 25 MB as JSON. Here a number takes four
letters, a histogram one letter for each bar, and a field that says nothing takes none.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields, replace
from decimal import Decimal
from typing import Any

from tinygrad_cv.viz.data import Step, Summary
from tinygrad_cv.viz.judging import Judged

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
DIGITS = 4
EMPTY: dict[str, Any] = {"loss": None, "broken": None, "broken_gradient": None} | {
    table: {} for table in ("values", "gradients", "shares", "updates")
}
"""The fields of a step that have a form of their own here, or become a mark (`viz.marking`)."""
NUMBERS = [part.name for part in fields(Summary) if part.name not in ("histogram", "image")]
MUTE = {part.name: part.default for part in fields(Summary)}
"""What is left out where every summary says it."""
BARS = len(LETTERS) - 1  # the height of the highest bar of a histogram


def packed(steps: Sequence[Step], judged: Sequence[Judged]) -> dict[str, Any]:
    """All that steps hold, as JSON can have it; `reading.js` reads it again."""
    return {
        "told": [asdict(replace(step, **EMPTY)) for step in steps],
        "loss": "".join(four(step.loss) for step in steps),
        "values": _summaries([step.values for step in steps]),
        "gradients": _summaries([step.gradients for step in steps]),
        "shares": _numbers([step.shares for step in steps]),
        "updates": _numbers([step.updates for step in steps]),
        "judged": {
            "nodes": _numbers([told.nodes for told in judged]),
            "edges": _numbers([told.edges for told in judged]),
            "notes": [told.notes for told in judged],
        },
    }


def four(value: float | None) -> str:
    """A number as four letters: its first four decimal digits and its power of ten.

    The last digit is such that three digits of it are those of the number itself: where more
    follows, 0 becomes 1 and 5 becomes 6.

    >>> four(None), four(0.25), four(math.inf)
    ('AAAA', 'axV8', 'AAAC')
    """
    code = 0
    if value is not None and math.isfinite(value):
        digits, exponent = _short(value)
        code = 4 + (digits + 10000) * 700 + exponent + 350
    elif value is not None:
        code = 1 if math.isnan(value) else 2 if value > 0 else 3
    return "".join(LETTERS[code >> shift & 63] for shift in (18, 12, 6, 0))


def _short(value: float) -> tuple[int, int]:
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    assert isinstance(exponent, int)
    kept, more = digits[:DIGITS], digits[DIGITS:]
    number = int("".join(map(str, kept)))
    number += number % 5 == 0 and any(more)
    return (-number if sign else number), (exponent + len(more) if number else 0)


def _keys(rows: Iterable[dict[Any, Any]]) -> list[Any]:
    return sorted({key for row in rows for key in row})


def _numbers(rows: Sequence[dict[Any, float]]) -> dict[str, Any]:
    keys = _keys(rows)
    return {"keys": keys, "told": "".join(four(row.get(key)) for row in rows for key in keys)}


def _summaries(rows: Sequence[dict[int, Summary]]) -> dict[str, Any]:
    keys = _keys(rows)
    cells = [row.get(key) for row in rows for key in keys]
    columns: dict[str, str] = {}
    for name in NUMBERS:
        told = [None if cell is None else getattr(cell, name) for cell in cells]
        if name == "count" or any(value not in (None, MUTE[name]) for value in told):
            columns[name] = "".join(map(four, told))
    return {
        "keys": keys,
        "columns": columns,
        "histograms": ",".join(_bars(cell.histogram if cell else ()) for cell in cells),
        "images": {i: cell.image for i, cell in enumerate(cells) if cell and cell.image},
    }


def _bars(counts: Sequence[int]) -> str:
    most = max(counts, default=0) or 1
    return "".join(LETTERS[math.ceil(BARS * count / most)] for count in counts)
