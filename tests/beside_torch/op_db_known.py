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
        "no norm has a second derivative at 0: it is finite here, and NaN in PyTorch",
        _at_zero,
        order=2,
    ),
    Known(
        "nn.functional.ctc_loss",
        "PyTorch gives the gradient of the scores before a log_softmax, not that of its input",
        order=1,
    ),
    Known(
        "linalg.pinv.hermitian",
        "PyTorch's rule takes the matrix as it is, and its inverse from the lower triangle",
        lambda sample: not sample.input.equal(sample.input.mT),
        order=1,
    ),
    Known(
        "cov",
        "PyTorch multiplies weights in their float32, and we in float64",
        lambda sample: sample.kwargs.get("aweights") is not None,
    ),
    Known(
        "cholesky_*",
        "one triangle of the factor counts, and the gradient stays in it; PyTorch fills both",
        order=1,
    ),
    Known("linalg.eig", "there are no complex tensors: the eigenvalues must be real"),
    Known("linalg.eigvals", "there are no complex tensors: the eigenvalues must be real"),
    Known(
        "nn.functional.ctc_loss",
        "the derivative by log_probs as they are; PyTorch's is the one behind their log_softmax",
        order=1,
    ),
    Known(
        "nn.functional.feature_alpha_dropout.without_train",
        "an input has channels, also where nothing is dropped",
        lambda sample: sample.input.ndim < 2,
    ),
    Known(
        "nn.functional.*_norm",
        "an eps below 0, or a momentum that is no share, is refused",
        lambda sample: (
            sample.kwargs.get("eps", 0) < 0 or not 0 <= sample.kwargs.get("momentum", 0) <= 1
        ),
    ),
    Known(
        "logit",
        "of a lower bound above the upper one the upper holds, as in clamp; since 2.14 not in "
        "PyTorch's logit",
        lambda sample: bool(sample.args and sample.args[0] is not None and sample.args[0] > 0.5),
    ),
    Known(
        "nn.functional.batch_norm",
        "an input has an axis of channels, also where it is empty",
        lambda sample: sample.input.ndim < 2,
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
    *("logical_xor", "lt", "maximum", "minimum", "ne", "pow", "remainder", "xlogy", "__radd__"),
    *("__rand__", "__rmul__", "__ror__", "__rxor__", "clamp_max", "clamp_min", "copysign"),
    *("float_power", "fmax", "fmin", "heaviside", "isclose", "rsub", "bitwise_and", "bitwise_or"),
    *("bitwise_xor", "bitwise_left_shift", "bitwise_right_shift", "ldexp", "max.binary"),
    *("min.binary", "gcd", "lcm"),
)

KNOWN_ACCEPTED = [
    *(Known(name, _NUMBERS, lambda s: _number_first(s) or _number_second(s)) for name in _BINARY),
    Known(
        "mean",
        "the mean of integers is a float",
        lambda sample: not sample.input.is_floating_point() and not sample.kwargs,
    ),
    Known(
        "nn.functional.group_norm",
        "what is empty has no mean that could be missing",
        lambda sample: sample.input.numel() == 0,
    ),
    Known(
        "roll",
        "a number may be rolled along its axis 0, as PyTorch sums it",
        lambda sample: sample.input.ndim == 0,
    ),
]
"""Calls that PyTorch refuses and that are right here."""
