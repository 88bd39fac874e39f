"""How the values of a tensor are written by `repr`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinygrad_cv._public import TOP, public
from tinygrad_cv.backend import host


@dataclass
class Options:
    """What `set_printoptions` sets."""

    precision: int = 4
    threshold: int = 1000
    edgeitems: int = 3
    linewidth: int = 75
    sci_mode: bool | None = None


_options = Options()

PROFILES: dict[str, dict[str, Any]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 75},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 75},
    "full": {"precision": 4, "threshold": sys.maxsize, "edgeitems": 3, "linewidth": 75},
}


@public(TOP)
def set_printoptions(
    precision: int | None = None,
    threshold: int | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors are printed from now on; what is None stays as it is.

    - `precision`: digits behind the point.
    - `threshold`: a tensor of more elements shows only the `edgeitems` at the ends of each axis.
    - `linewidth`: characters in a line.
    - `profile`: "default", "short" or "full", which stands for values of the four above.
    - `sci_mode`: every float with an exponent (True) or none (False); None, also where it is left
      out, decides by the values.

    >>> import tinygrad_cv as tg
    >>> tg.set_printoptions(precision=2)
    >>> tg.tensor([3.14159])
    tensor([3.14])
    >>> tg.set_printoptions(profile="default")
    """
    if profile is not None and profile not in PROFILES:
        raise ValueError(f"set_printoptions: profile is one of {[*PROFILES]}; got {profile!r}.")
    given = {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "linewidth": linewidth,
    }
    chosen = PROFILES.get(profile or "", {})
    chosen = {**chosen, **{name: value for name, value in given.items() if value is not None}}
    for name, value in chosen.items():
        setattr(_options, name, value)
    _options.sci_mode = sci_mode


def text(values: Any) -> str:
    """An array as `repr` shows it."""
    precision, sci_mode = _options.precision, _options.sci_mode
    formatter: Any = None
    if sci_mode is not None and values.dtype.kind == "f":
        form = f".{precision}{'e' if sci_mode else 'f'}"
        finite = values[host.isfinite(values)]
        ends = (finite.min(), finite.max()) if finite.size else ()
        width = max((len(f"{end:{form}}") for end in ends), default=0)
        formatter = {"float_kind": lambda x: f"{x:{width}{form}}"}
    return host.array2string(
        values,
        separator=", ",
        prefix="tensor(",
        precision=precision,
        threshold=_options.threshold,
        edgeitems=_options.edgeitems,
        max_line_width=_options.linewidth,
        formatter=formatter,
    )


# ----- quantities and tables ---------------------------------------------------------------------


def quantity(number: float | None, unit: str = "") -> str:
    """A number of things in three digits: "1.23 MB", "512 FLOP", "–" where it is not known."""
    if number is None:
        return "–"
    for prefix in ("", "k", "M", "G", "T"):
        if number < 999.5 or prefix == "T":
            break
        number /= 1000
    digits = f"{number:.0f}" if prefix == "" or number >= 99.95 else f"{number:.3g}"
    return f"{digits} {prefix}{unit}".strip()


def seconds(time: float) -> str:
    """A duration in three digits: "0.8 ms"."""
    for unit, scale in (("µs", 1e6), ("ms", 1e3)):
        if time * scale < 999.5 and (unit == "ms" or time * scale < 99.95):
            return f"{time * scale:.3g} {unit}"
    return f"{time:.3g} s"


def aligned(rows: Sequence[Sequence[str]], sides: str) -> tuple[list[str], str]:
    """A table as lines, and a rule as wide as they are.

    `sides` says for each column whether its cells stand at the left ("l") or at the right ("r").
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if side == "l" else cell.rjust(width)
            for cell, side, width in zip(row, sides, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
    return lines, "-" * (sum(widths) + 2 * len(widths) - 2)
