"""What is looked at before the training."""

from collections.abc import Callable, Iterable
from typing import Any

from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn import Module
from tinygrad_cv.ops.loss import cross_entropy
from tinygrad_cv.optim import Optimizer
from tinygrad_cv.train.health.finding import Finding


def check(
    model: Module,
    loss_fn: Callable[[Any, Any], Tensor] = cross_entropy,
    loader: Iterable[Any] | None = None,
    *,
    optimizer: Optimizer | None = None,
    regularization: Callable[[float], Tensor] | None = None,
    subset: int = 20,
    steps: int = 200,
) -> list[Finding]:
    """The sanity checks of the course, before the training; what was found, the worst first."""
    return []
