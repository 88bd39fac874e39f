"""What is looked at during the training."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn import Module
from tinygrad_cv.optim import Optimizer
from tinygrad_cv.train.callbacks import Callback
from tinygrad_cv.train.health.finding import Finding, report, worst_first


class Health(Callback):
    """Looks on while a model is trained, and tells what is wrong with the run.

    As a callback, `Trainer.fit(..., callbacks=[health])`; around each step of a loop of one's own,
    `with health.step():`, for which it is given the model, and what else there is.
    """

    def __init__(
        self,
        model: Module | None = None,
        optimizer: Optimizer | None = None,
        loss_fn: Callable[[Any, Any], Tensor] | None = None,
        *,
        every: int = 50,
        stop: bool = True,
    ) -> None:
        self.model, self.optimizer, self.loss_fn = model, optimizer, loss_fn
        self.every, self.stop = every, stop
        self.found: dict[tuple[str, str], Finding] = {}

    @contextmanager
    def step(self) -> Iterator[None]:
        """The `with` block of one training step: forward, backward and update."""
        yield

    @property
    def findings(self) -> list[Finding]:
        """What was found, the worst first."""
        return worst_first(self.found.values())

    def report(self) -> str:
        """The findings as text."""
        return report(self.findings)
