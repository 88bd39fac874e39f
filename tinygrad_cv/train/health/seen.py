"""What a `Health` has seen of a run: plain values, so that a run can go on with them."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from statistics import median
from typing import Any

from tinygrad_cv.train.health.finding import Finding

FEW = 20

MANY = 16
"""So many samples in a step make its loss a measure of the net."""


@dataclass
class Seen:
    """The numbers that the rules look at."""

    steps: int = 0
    """The steps of the loop."""
    updates: int = 0
    """The steps of the optimizer."""
    first: list[float] = field(default_factory=list)
    """The losses of the first steps."""
    last: list[float] = field(default_factory=list)
    """Those of the last steps."""
    rows: int = 0
    """The samples of the first step."""
    beyond: int = 0
    """The steps in a row whose loss was over three times the first."""
    rates: list[float] = field(default_factory=list)
    """The first and the last learning rate."""
    ratios: dict[str, list[float]] = field(default_factory=dict)
    """‖update‖ / ‖weight‖ of each weight matrix, at the last looks."""
    zeros: list[str] = field(default_factory=list)
    """The weight matrices that began at 0."""
    peaks: dict[str, float] = field(default_factory=dict)
    """The greatest of these ratios at any look after the first update."""
    most: float = 0.0
    """The greatest loss that was finite."""
    waiting: dict[str, str] = field(default_factory=dict)
    """The parameters that never got a gradient other than 0: whether they got "zeros" or "none"."""
    called: list[str] = field(default_factory=list)
    """The paths of the modules that made something."""
    lonely: list[str] = field(default_factory=list)
    """The parameters with gradients that no optimizer has."""
    awake: dict[str, list[bool]] = field(default_factory=dict)
    """Of the ReLUs: which units ever gave more than 0 in the epoch, or window, under way."""
    samples: int = 0
    """The samples of that window."""
    asleep: dict[str, tuple[float, int, int, int]] = field(default_factory=dict)
    """Of the last window: the share of dead units, the units, the samples, and the step."""
    places: dict[str, str] = field(default_factory=dict)
    """Where each layer of ReLUs is."""
    saturated: dict[str, tuple[int, float, str, str, int]] = field(default_factory=dict)
    """How many looks in a row found it so, the share, the op, the place, the step."""
    alike: dict[str, int] = field(default_factory=dict)
    """The weights whose rows and gradients are all equal: how many looks in a row."""
    uniform: list[str] = field(default_factory=list)
    """The weights that were one number all over before the first update."""
    constant: list[int] = field(default_factory=list)
    """How many looks in a row found one class for all, of how many samples, which class."""
    labels: dict[str, int] = field(default_factory=dict)
    """How often each label was seen."""
    neighbours: tuple[float, float, int] | None = None
    unclean: int = 0
    """The updates by gradients that nobody had cleared since the update before."""
    records: list[dict[str, float]] = field(default_factory=list)
    """Those of the epochs."""
    events: dict[str, Finding] = field(default_factory=dict)
    """What was found at once, by what it is and where."""

    def lose(self, loss: float) -> None:
        """Count the loss of a step."""
        if math.isfinite(loss):
            self.most = max(self.most, loss)
        if len(self.first) < FEW:
            self.first.append(loss)
        self.last = [*self.last[-FEW + 1 :], loss]

    def ratio(self) -> tuple[float, str] | None:
        """The greatest of the usual update ratios, and whose it is."""
        usual = {name: median(values) for name, values in self.ratios.items() if values}
        name = max(usual, key=lambda name: usual[name], default=None)
        return None if name is None else (usual[name], name)

    def close_window(self, awake: dict[str, Any], samples: int) -> None:
        """Count the units that slept all through a window, which is over."""
        for key, units in awake.items():
            share = float((~units).mean()) if units.size else 0.0
            self.asleep[key] = share, int(units.size), samples, self.steps

    def to_json(self) -> str:
        """All of it as text."""
        told = {f.name: getattr(self, f.name) for f in fields(self)}
        told["events"] = {name: event.to_dict() for name, event in self.events.items()}
        return json.dumps(told)

    @classmethod
    def from_json(cls, text: str) -> "Seen":
        """What `to_json` told."""
        told = json.loads(text)
        told["events"] = {name: Finding(**event) for name, event in told["events"].items()}
        for name in ("asleep", "saturated"):
            told[name] = {key: tuple(value) for key, value in told[name].items()}
        told["neighbours"] = told["neighbours"] and tuple(told["neighbours"])
        return cls(**told)


def mean(values: Iterable[float]) -> float:
    """The mean."""
    kept = list(values)
    return sum(kept) / len(kept)
