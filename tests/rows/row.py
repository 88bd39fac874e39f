"""What a row of the op table holds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis.strategies import SearchStrategy

from tinygrad_cv._op import REGISTRY, Op
from tinygrad_cv.testing import Case as Case


@dataclass(frozen=True)
class Row:
    """How an op is tested.

    `cases` draws calls whose inputs keep away from kinks; `oracle(*inputs, **attributes)` is an
    independent forward (NumPy, SciPy or a naive loop), of several outputs a tuple. `kinks` are
    calls that stand on a kink: there the rule must lie between the one-sided slopes. `exact` names
    a method that checks gradients without differences: "linear" for an op that is linear in each
    input, "complex" for an analytic one that computes on complex arrays. An op without rules is
    differentiated nowhere, and only its forward is tested.
    """

    name: str
    cases: SearchStrategy[Case]
    oracle: Callable[..., Any]
    kinks: tuple[Case, ...] = ()
    exact: str = ""

    @property
    def op(self) -> type[Op]:
        return REGISTRY[self.name]
