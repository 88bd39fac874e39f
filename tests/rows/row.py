"""What a row of the op table holds."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis.strategies import SearchStrategy

from tinygrad_cv.op import REGISTRY, Op


@dataclass(frozen=True)
class Case:
    """One call of an op: its inputs (arrays, numbers, None) and its attributes."""

    inputs: tuple[Any, ...]
    attributes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:  # NumPy turns 0-d arrays into scalars on many occasions
        arrays = tuple(np.asarray(v) if isinstance(v, np.generic) else v for v in self.inputs)
        object.__setattr__(self, "inputs", arrays)


@dataclass(frozen=True)
class Row:
    """How an op is tested.

    `cases` draws calls whose inputs keep away from kinks; `oracle(*inputs, **attributes)` is an
    independent forward (NumPy, SciPy or a naive loop). `kinks` are calls that stand on a kink:
    there the rule must lie between the one-sided slopes. An op without rules is differentiated
    nowhere, and only its forward is tested.
    """

    name: str
    cases: SearchStrategy[Case]
    oracle: Callable[..., Any]
    kinks: tuple[Case, ...] = ()

    @property
    def op(self) -> type[Op]:
        return REGISTRY[self.name]
