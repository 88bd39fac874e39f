"""The training loop of a classifier."""

import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from tqdm import tqdm

from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend.threads import on_one_blas_thread
from tinygrad_cv.data import DataLoader
from tinygrad_cv.nn import Module
from tinygrad_cv.ops.loss import cross_entropy
from tinygrad_cv.optim import Optimizer
from tinygrad_cv.program.compiled import Compiled
from tinygrad_cv.train.callbacks import Callback

BAR = "{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"  # fits into 80 columns


class DivergenceError(ArithmeticError):
    """The loss is no longer a finite number. `loss` is what it became, in epoch `epoch`."""

    def __init__(self, loss: float, epoch: int) -> None:
        super().__init__(
            f"the loss became {loss} in epoch {epoch}; a lower learning rate is the likely cure."
        )
        self.loss, self.epoch = loss, epoch

    def __reduce__(self) -> Any:
        return type(self), (self.loss, self.epoch)


def constant(progress: float) -> float:
    """1: the learning rate stays as it is."""
    return 1.0


def cosine(progress: float) -> float:
    """½ (1 + cos(π · progress)): the learning rate glides from its full value to 0.

    `progress` is the share of the training that is done, from 0 to 1.

    Source: I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts",
    2017.

    >>> from tinygrad_cv.train import cosine
    >>> [round(cosine(progress), 2) for progress in (0.0, 0.25, 0.5, 1.0)]
    [1.0, 0.85, 0.5, 0.0]
    """
    return (1 + math.cos(math.pi * progress)) / 2


class Trainer:
    """Fits a classifier, (N, ...) -> scores (N, classes), and measures how well it does.

    A batch is (inputs, labels), and `loss_fn(scores, labels)` is its mean loss. Before each step
    the learning rate of each of the optimizer's groups becomes lr · schedule(progress), where lr is
    the one it came with and progress the share of the training that is done. The default schedule
    is constant.

    With `compile` the scores, the loss and the gradients of a batch are computed by a recorded
    program (see `tinygrad_cv.compile`): the same numbers sooner.

    What is in evaluation mode while the model around it trains, such as a frozen batch norm, stays
    in it. After `fit` and `evaluate`, however they end, every module is in the mode that it was in.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv import data, nn, optim, train
    >>> generator = tg.manual_seed(0)
    >>> x = tg.randn(200, 2, generator=generator)
    >>> points = data.TensorDataset(x, (x.sum(dim=1) > 0).long())
    >>> loader = data.DataLoader(points, batch_size=20, shuffle=True, generator=generator)
    >>> model = nn.Linear(2, 2, generator=generator)
    >>> optimizer = optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    >>> trainer = train.Trainer(model, optimizer, schedule=train.cosine)
    >>> history = trainer.fit(loader, epochs=5, progress=False)
    >>> list(history[-1])
    ['loss', 'train_accuracy', 'lr']
    >>> trainer.evaluate(loader) > 0.95
    True
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        loss_fn: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
        schedule: Callable[[float], float] = constant,
        compile: bool = False,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.loss_fn = loss_fn
        self.schedule = schedule
        self.rates = [group["lr"] for group in optimizer.param_groups]
        self.epoch = self.step = 0
        self.record: dict[str, float] = {}
        self.history: list[dict[str, float]] = []
        self.should_stop = self.resumed = False
        self._compiled = Compiled(self._with_gradients) if compile else None
        self._scores = Compiled(model) if compile else model

    def _with_gradients(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and loss of a batch, with the gradients of the loss."""
        scores = self.model(inputs)
        loss = self.loss_fn(scores, labels)
        self.optimizer.zero_grad()
        loss.backward()
        return scores, loss

    def fit(
        self,
        train_loader: DataLoader,
        val_loader: DataLoader | None = None,
        epochs: int = 1,
        progress: bool | None = None,
        watch: Any = None,
        *,
        callbacks: Iterable[Callback] = (),
    ) -> list[dict[str, float]]:
        """Train, and return the history: a dict for each epoch.

        Its "loss" is the mean over the samples and its "train_accuracy" the share of them labelled
        right, both as the model met them: augmented, with dropout, and learning all the while.
        Its "lr" is the learning rate of the last step (of the first group), and its "val_accuracy"
        is what `evaluate(val_loader)` gives after the epoch. `callbacks` look on; see `Callback`.

        `progress` says whether to show a bar on stderr; None shows it on a terminal only. `watch`,
        such as `viz.watch(model)`, looks on: each step is done inside `with watch.step():`.

        Raises DivergenceError, before the step, when a batch has an infinite loss or NaN, and at
        the end when the last step has made the model give infinite scores or NaN; and ValueError
        for a loader without batches.
        """
        batches = _batches(train_loader)
        if val_loader is not None:
            _batches(val_loader)
        told = [*callbacks]

        def tell(moment: str) -> None:
            for callback in told:
                getattr(callback, moment)(self)

        self.history = history = []
        self.should_stop = False
        hidden = None if progress is None else not progress
        if sys.stderr is None:  # closed, or never there
            hidden = True
        bar = tqdm(total=epochs * batches, bar_format=BAR, disable=hidden)
        with bar, _modes_kept(self.model):
            whole = self.model.training
            frozen = [part for part in self.model.modules() if whole and not part.training]
            self.model.train()  # which a part may take in its own way
            for module in frozen:
                module.training = False
            tell("on_fit_start")
            for epoch in range(epochs):
                self.epoch, self.record = epoch, {}
                tell("on_epoch_start")
                bar.set_description(f"epoch {epoch + 1}/{epochs}")
                before = history[-1] if history else {}  # to show until there is news
                loss_sum, right, seen = 0.0, 0, 0
                for batch, (inputs, labels) in enumerate(train_loader):
                    done = (epoch + batch / batches) / epochs
                    for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                        group["lr"] = rate * self.schedule(done)
                    with nullcontext() if watch is None else watch.step():
                        value, hits = on_one_blas_thread(self._step, inputs, labels, epoch)
                    loss_sum += value * len(labels)
                    right += hits
                    seen += len(labels)
                    self.record |= {
                        "loss": loss_sum / seen,
                        "train_accuracy": right / seen,
                        "lr": float(self.optimizer.param_groups[0]["lr"]),
                    }
                    bar.set_postfix_str(_shown(before | self.record), refresh=False)
                    bar.update()
                    self.step += 1
                    tell("on_step")
                    if self.should_stop:
                        break
                last, sound = epoch == epochs - 1 or self.should_stop, True
                if val_loader is not None:
                    self.record["val_accuracy"], sound = self._measure(val_loader)
                elif last:
                    _, sound = self._measure([(inputs, labels)])
                if last and not (sound and self._is_finite()):  # no loss will tell of this step
                    raise DivergenceError(math.nan, epoch + 1)
                bar.set_postfix_str(_shown(self.record))
                history.append(self.record)
                tell("on_epoch")
                if self.should_stop:
                    break
            tell("on_fit_end")
        return history

    def _step(self, inputs: Tensor, labels: Tensor, epoch: int) -> tuple[float, int]:
        """One step of training: the loss of the batch, and how many scores were right."""
        if self._compiled is None:
            scores = self.model(inputs)
            loss = self.loss_fn(scores, labels)
        else:
            scores, loss = self._compiled(inputs, labels)
        # Read before the step: a GPU then waits once, for what comes first anyway.
        value, hits = loss.item(), _right(scores, labels)
        if not math.isfinite(value):
            raise DivergenceError(value, epoch + 1)
        if self._compiled is None:
            self.optimizer.zero_grad()
            loss.backward()
        self.optimizer.step()
        return value, hits

    def evaluate(self, loader: DataLoader) -> float:
        """The share of the samples that the model labels right, in evaluation mode.

        Nothing is recorded or changed. Raises ValueError for a loader without batches.
        """
        _batches(loader)
        accuracy, _ = self._measure(loader)
        return accuracy

    def _measure(self, batches: Iterable[tuple[Tensor, ...]]) -> tuple[float, bool]:
        """The share of samples labelled right, and whether no score is NaN or the best infinite."""
        right = seen = 0
        sound = True
        with _modes_kept(self.model), no_grad():
            self.model.eval()
            for inputs, labels in batches:
                scores = self._scores(inputs)
                right += _right(scores, labels)
                seen += len(labels)
                sound = sound and bool((scores < math.inf).all())  # -inf rules a class out
        return right / seen, sound

    def _is_finite(self) -> bool:
        """Whether all that the optimizer learns is made of finite numbers."""
        groups = self.optimizer.param_groups
        return all(bool(parameter.isfinite().all()) for g in groups for parameter in g["params"])


@contextmanager
def _modes_kept(model: Module) -> Iterator[None]:
    """Put every module back into the mode, training or evaluation, that it is in."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _shown(record: dict[str, float]) -> str:
    """A record as the bar shows it: "loss 0.0123, train 0.998, val 0.993"."""
    return ", ".join(
        f"{key.removesuffix('_accuracy')} {value:.3g}"
        for key, value in record.items()
        if key != "lr"
    )


def _right(scores: Tensor, labels: Tensor) -> int:
    """How many rows score their own label highest."""
    return int((scores.argmax(dim=1) == labels).sum())


def _batches(loader: DataLoader) -> int:
    """How many batches the loader gives, at least one."""
    if len(loader) == 0:
        raise ValueError(
            f"the loader has no batches: {len(loader.dataset)} samples in batches of "
            f"{loader.batch_size}, drop_last={loader.drop_last}."
        )
    return len(loader)
