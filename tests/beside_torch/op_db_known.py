"""The samples of PyTorch's that differ here, and the calls that it alone refuses, with the reason.

An entry that no failing sample needs any more fails the suite: it has to go.
"""

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, NamedTuple


def _any(sample: Any) -> bool:
    return True


class Known(NamedTuple):
    """A reason for samples of the ops that the pattern names to part from `order` on.

    `where` says which of the samples (a SampleInput: input, args, kwargs).
    """

    ops: str
    reason: str
    where: Callable[[Any], bool] = _any
    order: int = 0

    def explains(self, name: str, sample: Any, order: int = 0) -> bool:
        return fnmatchcase(name, self.ops) and order >= self.order and self.where(sample)


def _at_zero(sample: Any) -> bool:
    return bool(sample.input.numel() and not sample.input.any())


KNOWN = [
    Known(
        "linalg.norm.subgradients_at_zero",
        "the gradient at 0 is 0 here, and so is its derivative, which is NaN in PyTorch",
        lambda sample: _at_zero(sample) and sample.args[0] == 0.5,
        order=2,
    ),
]
"""Samples that do not give PyTorch's numbers."""


def _number_first(sample: Any) -> bool:
    return isinstance(sample.input, int | float)


def _number_second(sample: Any) -> bool:
    return isinstance(sample.args[0], int | float)


_NUMBERS = "a number stands for a tensor of no axes wherever a tensor is taken"

_BINARY = (
    *("atan2", "eq", "fmod", "ge", "gt", "hypot", "le", "logaddexp", "logical_and", "logical_or"),
    *("logical_xor", "lt", "maximum", "minimum", "ne", "pow", "remainder", "xlogy"),
)

KNOWN_ACCEPTED = [
    *(Known(name, _NUMBERS, lambda s: _number_first(s) or _number_second(s)) for name in _BINARY),
]
"""Calls that PyTorch refuses and that are right here."""
