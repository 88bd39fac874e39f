"""What looks on while a Trainer fits, and has a say."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinygrad_cv.train.trainer import Trainer


class Callback:
    """What is told how a `fit` goes on: write the methods that matter, the others do nothing.

    Each gets the trainer, with `model`, `optimizer`, and how far it is: `epoch` counts from 0,
    `step` counts the steps of the optimizer, `record` has the numbers of the running epoch (loss,
    train_accuracy, lr, and after its last step val_loss, val_accuracy, ...), `history` the records
    of the epochs before it. `trainer.should_stop = True` ends the fit after this step.

    - `on_fit_start` before everything; `trainer.resumed` says whether it goes on from a checkpoint;
    - `on_epoch_start` before the first batch of an epoch;
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

    def on_fit_start(self, trainer: "Trainer") -> None:
        """Before everything."""

    def on_epoch_start(self, trainer: "Trainer") -> None:
        """Before the first batch of an epoch."""

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
