"""What looks on while a Trainer fits, and has a say."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygrad_cv.optim.swa_utils import AveragedModel, get_ema_avg_fn
from tinygrad_cv.train.checkpoint import NAME, checkpoints, save_model

if TYPE_CHECKING:
    from tinygrad_cv.train.trainer import Trainer


class Callback:
    """What is told how a `fit` goes on: write the methods that matter, the others do nothing.

    Each gets the trainer, with `model`, `optimizer`, and how far it is: `epoch` counts from 0,
    `step` counts the steps of the optimizer, `step_loss` is the loss of the last one, `record` has
    the numbers of the running epoch (loss, train_accuracy, lr, and after its last step val_loss,
    val_accuracy, ...), `history` the records of the epochs before it. `trainer.should_stop = True`
    ends the fit after this step.

    - `on_fit_start` before everything; `trainer.resumed` says whether it goes on from a checkpoint;
    - `on_epoch_start` before the first batch of an epoch;
    - `around_step` gives the context in which a step is made, forward, backward and update;
    - `on_step` after each step of the optimizer;
    - `on_epoch` after an epoch and its validation, when its record has come to the history;
    - `on_fit_end` after the last epoch, unless an error has ended the fit.

    What the next calls depend on belongs into `state_dict`, of which checkpoints are made: plain
    values and tensors. An exception ends the fit, and comes out of it.

    >>> from tinygrad_cv import data, nn, optim, train
    >>> class Told(train.Callback):
    ...     def on_epoch(self, trainer):
    ...         print(f"epoch {trainer.epoch}, step {trainer.step}: {[*trainer.record]}")
    >>> model = nn.Linear(2, 2)
    >>> trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.1))
    >>> loader = data.DataLoader(data.TensorDataset([[1.0, 2.0]] * 8, [0, 1] * 4), batch_size=4)
    >>> history = trainer.fit(loader, epochs=2, callbacks=[Told()])
    epoch 0, step 2: ['loss', 'train_accuracy', 'lr']
    epoch 1, step 4: ['loss', 'train_accuracy', 'lr']
    """

    first_only = False
    """Whether, of several ranks that fit a model, the first alone tells it: that is for files."""

    def on_fit_start(self, trainer: "Trainer") -> None:
        """Before everything."""

    def on_epoch_start(self, trainer: "Trainer") -> None:
        """Before the first batch of an epoch."""

    def around_step(
        self, trainer: "Trainer", batches: Sequence[Any]
    ) -> AbstractContextManager[object]:
        """A context in which a step is made of these batches, also if it fails."""
        return nullcontext()

    def on_step(self, trainer: "Trainer") -> None:
        """After a step of the optimizer."""

    def on_epoch(self, trainer: "Trainer") -> None:
        """After an epoch and its validation."""

    def on_fit_end(self, trainer: "Trainer") -> None:
        """After the last epoch."""

    def state_dict(self) -> dict[str, Any]:
        """What a run needs to go on."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict`."""


class LambdaCallback(Callback):
    """Functions of the trainer, under the names of the moments at which they are called.

    >>> from tinygrad_cv import train
    >>> announced = train.LambdaCallback(on_fit_end=lambda trainer: print("done"))
    >>> announced.on_fit_end(None)
    done
    """

    def __init__(self, **functions: Callable[["Trainer"], object]) -> None:
        for name, function in functions.items():
            if name not in MOMENTS:
                raise TypeError(f"LambdaCallback knows {', '.join(MOMENTS)}; got {name!r}.")
            setattr(self, name, function)


MOMENTS = ("on_fit_start", "on_epoch_start", "on_step", "on_epoch", "on_fit_end")


def listed(callbacks: Iterable[Any]) -> list[Callback]:
    """Callbacks in the order in which they are told: checkpoints come last, and hold the others."""
    found: list[Callback] = []
    if isinstance(callbacks, Callback):
        raise TypeError(f"callbacks is a list of them; got one {type(callbacks).__name__}.")
    for callback in callbacks:
        if not isinstance(callback, Callback):
            if isinstance(callback, type) or not callable(callback):
                raise TypeError(
                    "callbacks are objects of Callback, or functions of the trainer; got "
                    f"{callback!r}."
                )
            callback = LambdaCallback(on_epoch=callback)
        found.append(callback)
    return sorted(found, key=lambda callback: isinstance(callback, Checkpoint))


# ----- by a number of the record -----------------------------------------------------------------


class _Monitor(Callback):
    """Looks at a number of the record after each epoch, and knows the best one so far."""

    def __init__(self, monitor: str, mode: str | None, min_delta: float = 0.0) -> None:
        if mode not in (None, "min", "max"):
            raise ValueError(f"mode is 'min' or 'max'; got {mode!r}.")
        guess = {"loss": "min", "accuracy": "max"}.get(monitor.rpartition("_")[2])
        if mode is None and guess is None:
            raise ValueError(f"say whether a low {monitor} is good, mode='min', or a high one.")
        if not min_delta >= 0:
            raise ValueError(f"min_delta is 0 or more; got {min_delta!r}.")
        self.monitor, self.mode, self.min_delta = monitor, mode or guess, min_delta
        self.best: float | None = None
        self.best_epoch: int | None = None

    def on_fit_start(self, trainer: "Trainer") -> None:
        """Forget an earlier fit."""
        if not trainer.resumed:
            self.best = self.best_epoch = None

    def is_better(self, trainer: "Trainer") -> bool:
        """Whether the number of this epoch is the best so far, which it then is."""
        if self.monitor not in trainer.record:
            raise ValueError(
                f"{type(self).__name__} looks at {self.monitor!r}, and the record has "
                f"{', '.join(trainer.record)}."
            )
        value = trainer.record[self.monitor]
        gain = 0.0 if self.best is None else value - self.best
        gain = -gain if self.mode == "min" else gain
        if math.isnan(value) or (self.best is not None and not gain > self.min_delta):
            return False
        self.best, self.best_epoch = value, trainer.epoch
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.best_epoch = state_dict["best"], state_dict["best_epoch"]


class EarlyStopping(_Monitor):
    """Ends the fit when a number of the record has not become better for `patience` epochs.

    Better is by more than `min_delta`: lower with mode "min", higher with "max"; by itself lower
    for names that end in "loss", and higher for those that end in "accuracy". NaN is never better.
    `best` is the best number, and `best_epoch` counts from 0.

    Raises ValueError for a mode that is none, and in the fit for a number that the record lacks.

    Source: L. Prechelt, "Early stopping - but when?", 1998.

    >>> from tinygrad_cv import data, nn, optim, train
    >>> model = nn.Linear(2, 2)
    >>> trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.0))
    >>> loader = data.DataLoader(data.TensorDataset([[1.0, 2.0]] * 8, [0, 1] * 4), batch_size=4)
    >>> stop = train.EarlyStopping("loss", patience=2)
    >>> len(trainer.fit(loader, epochs=10, callbacks=[stop])), stop.best_epoch
    (3, 0)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 3,
        min_delta: float = 0.0,
        mode: str | None = None,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        if patience < 1:
            raise ValueError(f"patience counts epochs, at least 1; got {patience!r}.")
        self.patience, self.waited = patience, 0

    def on_fit_start(self, trainer: "Trainer") -> None:
        super().on_fit_start(trainer)
        if not trainer.resumed:
            self.waited = 0

    def on_epoch(self, trainer: "Trainer") -> None:
        """Stop if it is time."""
        self.waited = 0 if self.is_better(trainer) else self.waited + 1
        if self.waited >= self.patience:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.waited = state_dict["waited"]


class BestModel(_Monitor):
    """Keeps the model of the epoch that was best by a number of the record.

    With a `path` it is also written there, as `save_model` does. With `restore` the model has its
    parameters and buffers again when the fit ends. For `monitor` and `mode` see `EarlyStopping`;
    `state` is what `model.state_dict()` was then, or None.

    >>> from tinygrad_cv import data, nn, optim, train
    >>> model = nn.Linear(2, 2)
    >>> trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.1))
    >>> loader = data.DataLoader(data.TensorDataset([[1.0, 2.0]] * 8, [0, 1] * 4), batch_size=4)
    >>> best = train.BestModel("val_accuracy", path="best.safetensors", restore=True)
    >>> history = trainer.fit(loader, loader, epochs=3, callbacks=[best])
    >>> trainer.evaluate(loader) == max(record["val_accuracy"] for record in history)
    True
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        mode: str | None = None,
        path: str | PathLike[str] | None = None,
        restore: bool = False,
    ) -> None:
        super().__init__(monitor, mode)
        self.path, self.restore = path, restore
        self.state: dict[str, Any] | None = None

    def on_fit_start(self, trainer: "Trainer") -> None:
        super().on_fit_start(trainer)
        if not trainer.resumed:
            self.state = None

    def on_epoch(self, trainer: "Trainer") -> None:
        """Keep the model if it is the best."""
        if self.is_better(trainer):
            self.state = {k: v.detach().clone() for k, v in trainer.model.state_dict().items()}
            if self.path is not None and trainer.ranks.rank == 0:
                save_model(trainer.model, self.path)

    def on_fit_end(self, trainer: "Trainer") -> None:
        """Let the model be the best again."""
        if self.restore and self.state is not None:
            trainer.model.load_state_dict(self.state)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"state": self.state}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.state = state_dict["state"]


# ----- each step ---------------------------------------------------------------------------------


class StepLosses(Callback):
    """Keeps the loss of each step, which is noisier than an epoch's and shows more.

    `losses` is a list of numbers: the mean loss over the samples of each step of the optimizer, as
    the model met them, since the fit began. A run that goes on from a checkpoint goes on with it.

    Source: the deck "training neural networks" of the course: the loss curve.

    >>> from tinygrad_cv import data, nn, optim, train, viz
    >>> model, losses = nn.Linear(2, 2), train.StepLosses()
    >>> trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.1))
    >>> loader = data.DataLoader(data.TensorDataset([[1.0, 2.0]] * 8, [0, 1] * 4), batch_size=4)
    >>> history = trainer.fit(loader, epochs=3, callbacks=[losses])
    >>> len(losses.losses)
    6
    >>> figure = viz.curves(history, steps=losses)
    """

    def __init__(self) -> None:
        self.losses: list[float] = []
        self._before = [0.0, 0.0]  # the epoch's sum and number of samples up to the last step

    def on_fit_start(self, trainer: "Trainer") -> None:
        """Forget an earlier fit."""
        if not trainer.resumed:
            self.losses = []

    def on_epoch_start(self, trainer: "Trainer") -> None:
        """Begin with the sums of the epoch."""
        self._before = [0.0, 0.0]

    def on_step(self, trainer: "Trainer") -> None:
        """Keep what the step has added to the sums."""
        now = trainer.sums.totals["loss"]
        (total, count), self._before = self._before, [*now]
        self.losses.append((now[0] - total) / (now[1] - count))

    def state_dict(self) -> dict[str, Any]:
        return {"losses": [*self.losses], "before": [*self._before]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.losses, self._before = [*state_dict["losses"]], [*state_dict["before"]]


# ----- averages ----------------------------------------------------------------------------------


class MovingAverage(Callback):
    """Averages the weights over the steps: a ← decay · a + (1 - decay) w, and use a to test.

    It begins with the initial weights, of which decayᵗ is left after t steps: with CS231n's decay
    of 0.995 a half after 138.3 steps, and 0.7 % after 1,000. `averaged` is the model with the
    averages, an `optim.swa_utils.AveragedModel`. With `use` the model gets them when the fit ends.
    Its buffers are the model's own. Running statistics of batch norm then are those of other
    weights: an `UpdateBN` after it measures them anew.

    Sources: CS231n, lecture 6, "Model ensembles": x_test = 0.995·x_test + 0.005·x. B. Polyak and
    A. Juditsky, "Acceleration of stochastic approximation by averaging", 1992.

    >>> from tinygrad_cv import data, nn, optim, train
    >>> model = nn.Linear(2, 2)
    >>> trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.1))
    >>> loader = data.DataLoader(data.TensorDataset([[1.0, 2.0]] * 8, [0, 1] * 4), batch_size=4)
    >>> average = train.MovingAverage(0.9, use=True)
    >>> _ = trainer.fit(loader, epochs=2, callbacks=[average])
    >>> model.weight.equal(average.averaged.module.weight)
    True
    """

    def __init__(self, decay: float = 0.999, use: bool = False) -> None:
        self.average, self.use = get_ema_avg_fn(decay), use
        self.averaged: AveragedModel | None = None
        self._loaded: dict[str, Any] | None = None

    def on_fit_start(self, trainer: "Trainer") -> None:
        """Begin anew, or go on."""
        if trainer.resumed and self._loaded is not None:
            self.averaged = AveragedModel(trainer.model, avg_fn=self.average)
            self.averaged.load_state_dict(self._loaded)
            self._loaded = None
        elif not trainer.resumed or self.averaged is None:  # the checkpoint may know of none
            self.averaged = AveragedModel(trainer.model, avg_fn=self.average)
            self.averaged.update_parameters(trainer.model)

    def on_step(self, trainer: "Trainer") -> None:
        """Take the weights into the averages."""
        assert self.averaged is not None
        self.averaged.update_parameters(trainer.model)

    def on_fit_end(self, trainer: "Trainer") -> None:
        """Let the model be the average."""
        if self.use and self.averaged is not None:
            trainer.model.load_state_dict(self.averaged.module.state_dict())

    def state_dict(self) -> dict[str, Any]:
        return {} if self.averaged is None else {"averaged": self.averaged.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._loaded = state_dict["averaged"]


class UpdateBN(Callback):
    """Measures the running statistics of batch norm anew when the fit ends, over all of a loader.

    They become the mean and variance of the whole set, as by `optim.swa_utils.update_bn` with
    exact=True: of `loader`, or of the one that is fitted, with its augmentation. Of callbacks that
    change the weights at the end, such as a `MovingAverage` with `use`, it comes last. Random
    numbers go on as they would have. Several ranks measure the whole set together.

    >>> from tinygrad_cv import data, nn, optim, train
    >>> model = nn.Sequential(nn.BatchNorm1d(1), nn.Linear(1, 2))
    >>> trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.1))
    >>> samples = data.TensorDataset([[1.0], [2.0], [6.0]], [0, 1, 1])
    >>> _ = trainer.fit(data.DataLoader(samples, batch_size=3), callbacks=[train.UpdateBN()])
    >>> model[0].running_mean, model[0].running_var
    (tensor([3.]), tensor([7.]))
    """

    def __init__(self, loader: Iterable[Any] | None = None) -> None:
        self.loader = loader

    def on_fit_end(self, trainer: "Trainer") -> None:
        """Measure."""
        trainer.update_bn(trainer.loader if self.loader is None else self.loader)


# ----- checkpoints -------------------------------------------------------------------------------


class Checkpoint(Callback):
    """Writes a checkpoint to a folder so often, from which `fit(resume=folder)` goes on.

    It does so each `every_steps` steps of the optimizer, after each `every_epochs` epochs, and at
    the first step that ends `every_seconds` or more after the last one; after each epoch if nothing
    is said. The file is step_<step>.safetensors, written whole or not at all, and the `keep` newest
    stay: the last one is there until the next one is. It comes after all other callbacks, and holds
    their states.

    Raises ValueError for numbers below 1, and as the fit begins for a folder that has checkpoints
    of another run further on: they would be taken for those of this one.

    >>> from tinygrad_cv import data, nn, optim, train
    >>> def trained(epochs):
    ...     model = nn.Linear(2, 2)
    ...     trainer = train.Trainer(model, optim.Adam(model.parameters()))
    ...     points = data.TensorDataset([[1.0, 2.0]] * 8, [0, 1] * 4)
    ...     loader = data.DataLoader(points, batch_size=4, shuffle=True)
    ...     checkpoint = train.Checkpoint("run", every_epochs=1)
    ...     history = trainer.fit(loader, epochs=epochs, callbacks=[checkpoint], resume="run")
    ...     return trainer.resumed, len(history)
    >>> trained(2), trained(5)
    ((False, 2), (True, 5))
    """

    first_only = True

    def __init__(
        self,
        folder: str | PathLike[str],
        every_epochs: int | None = None,
        *,
        every_steps: int | None = None,
        every_seconds: float | None = None,
        keep: int = 2,
    ) -> None:
        if every_epochs is every_steps is every_seconds is None:
            every_epochs = 1
        for name, number in (
            ("every_epochs", every_epochs),
            ("every_steps", every_steps),
            ("keep", keep),
        ):
            if number is not None and (number < 1 or number % 1):
                raise ValueError(f"{name} is a whole number, at least 1; got {number!r}.")
        if every_seconds is not None and not every_seconds >= 0:
            raise ValueError(f"every_seconds is 0 or more; got {every_seconds!r}.")
        self.folder, self.keep = Path(folder), keep
        self.every_epochs, self.every_steps = every_epochs, every_steps
        self.every_seconds = every_seconds
        self._saved = time.monotonic()

    def on_fit_start(self, trainer: "Trainer") -> None:
        """Look whether the folder is free."""
        self._saved = time.monotonic()
        found = checkpoints(self.folder)
        if found and not trainer.resumed and max(found) > trainer.step:
            raise ValueError(
                f"{self.folder} has a checkpoint of another run, {found[max(found)].name}: go on "
                f"with it by fit(resume={str(self.folder)!r}), or give another folder."
            )

    def on_step(self, trainer: "Trainer") -> None:
        """Write a checkpoint if it is time."""
        late = time.monotonic() - self._saved
        if (self.every_steps is not None and trainer.step % self.every_steps == 0) or (
            self.every_seconds is not None and late >= self.every_seconds
        ):
            self.save(trainer)

    def on_epoch(self, trainer: "Trainer") -> None:
        """Write a checkpoint if it is time."""
        if self.every_epochs is not None and len(trainer.history) % self.every_epochs == 0:
            self.save(trainer)

    def save(self, trainer: "Trainer") -> Path:
        """Write a checkpoint now, and remove the oldest ones."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / NAME.format(trainer.step)
        trainer.save_checkpoint(path)
        self._saved = time.monotonic()
        found = checkpoints(self.folder)
        for step in sorted(found)[: -self.keep]:
            found[step].unlink(missing_ok=True)
        return path
