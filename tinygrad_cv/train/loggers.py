"""Callbacks that write down how a run goes: a table, and what TensorBoard shows."""

import csv
import io
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygrad_cv.storage import write
from tinygrad_cv.train.callbacks import Callback

if TYPE_CHECKING:
    from tinygrad_cv.train.trainer import Trainer


class CSVLogger(Callback):
    """Writes the numbers of the record to a CSV file, a row for each epoch.

    Or for each `every_steps` steps. The columns are epoch (from 0), step, and the names of the
    record; a number that comes in later gets a column, and what a row lacks is empty there. The
    file is whole after every row. A run that goes on from a checkpoint goes on with the file:
    rows that were written after the checkpoint are dropped, so that none comes twice.

    Raises ValueError for a number of steps below 1, and as a run goes on for a file that is no
    table of these columns.

    >>> from pathlib import Path
    >>> from tinygrad_cv import data, nn, optim, train
    >>> model = nn.Linear(2, 2)
    >>> trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.1))
    >>> loader = data.DataLoader(data.TensorDataset([[1.0, 2.0]] * 8, [0, 1] * 4), batch_size=4)
    >>> history = trainer.fit(loader, epochs=2, callbacks=[train.CSVLogger("run.csv")])
    >>> print(Path("run.csv").read_text())
    epoch,step,loss,train_accuracy,lr
    0,2,...,0.5,0.1
    1,4,...,0.5,0.1
    """

    first_only = True

    def __init__(self, path: str | PathLike[str], every_steps: int | None = None) -> None:
        if every_steps is not None:
            _check(every_steps)
        self.path, self.every_steps = Path(path), every_steps
        self.rows: list[dict[str, Any]] = []
        self.columns: list[str] = []

    def on_fit_start(self, trainer: "Trainer") -> None:
        """Begin the table, or go on with it."""
        self.rows, self.columns = [], ["epoch", "step"]
        if trainer.resumed and self.path.exists():
            self._read(trainer)
        self._rewrite()

    def _read(self, trainer: "Trainer") -> None:
        """The rows that are there of what the run has done."""
        try:
            text = self.path.read_text(encoding="utf-8")
            whole, _, _ = text.rpartition("\n")  # a row may be torn
            table = csv.DictReader(io.StringIO(whole, newline=""))
            self.rows = [row for row in table if int(row["step"]) <= trainer.step]
            if self.every_steps is None:  # an epoch may have to end once more, at the same step
                over = len(trainer.history)
                self.rows = [row for row in self.rows if int(row["epoch"]) < over]
            self.columns = [*(table.fieldnames or self.columns)]
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise ValueError(
                f"{self.path} is no table of a run, which begins with epoch,step; give another "
                "path, or remove it."
            ) from error

    def on_step(self, trainer: "Trainer") -> None:
        """Write a row if it is time."""
        if self.every_steps is not None and trainer.step % self.every_steps == 0:
            self._add(trainer)

    def on_epoch(self, trainer: "Trainer") -> None:
        """Write a row, unless rows are for steps."""
        if self.every_steps is None:
            self._add(trainer)

    def _add(self, trainer: "Trainer") -> None:
        row = {"epoch": trainer.epoch, "step": trainer.step, **trainer.record}
        self.rows.append(row)
        new = [name for name in row if name not in self.columns]
        if new:
            self.columns += new
            self._rewrite()
        else:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                self._table(file).writerow(row)

    def _rewrite(self) -> None:
        text = io.StringIO()
        table = self._table(text)
        table.writeheader()
        table.writerows(self.rows)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write(self.path, text.getvalue().encode())

    def _table(self, file: Any) -> "csv.DictWriter[str]":
        return csv.DictWriter(file, self.columns, lineterminator="\n")


class TensorBoardLogger(Callback):
    """Writes the numbers of the record for TensorBoard, after each `every_steps` steps and epochs.

    With `histograms` the values of every parameter too, after each epoch. See them with
    `tensorboard --logdir LOGDIR`. A run that goes on from a checkpoint adds a file, in which what
    was written after the checkpoint is taken back.

    The files are written by tensorboardX: pip install 'tinygrad_cv[tensorboard]'; without it the
    fit raises ImportError. Raises ValueError for a number of steps below 1.

    >>> from tinygrad_cv import data, nn, optim, train
    >>> model = nn.Linear(2, 2)
    >>> trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.1))
    >>> loader = data.DataLoader(data.TensorDataset([[1.0, 2.0]] * 8, [0, 1] * 4), batch_size=4)
    >>> history = trainer.fit(loader, callbacks=[train.TensorBoardLogger("logs", histograms=True)])
    """

    first_only = True

    def __init__(
        self, logdir: str | PathLike[str], every_steps: int = 1, histograms: bool = False
    ) -> None:
        _check(every_steps)
        self.logdir, self.every_steps, self.histograms = Path(logdir), every_steps, histograms
        self.writer: Any = None
        self._written: dict[str, float] = {}  # of the step that was the last

    def on_fit_start(self, trainer: "Trainer") -> None:
        """Open a file."""
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "what TensorBoard shows is written by tensorboardX; run "
                "pip install 'tinygrad_cv[tensorboard]'."
            ) from error
        after = trainer.step + 1 if trainer.resumed else None
        self.writer = SummaryWriter(str(self.logdir), purge_step=after)

    def on_step(self, trainer: "Trainer") -> None:
        """Write the numbers if it is time."""
        self._written = {}
        if trainer.step % self.every_steps == 0:
            self._add(trainer)

    def on_epoch(self, trainer: "Trainer") -> None:
        """Write the numbers of the epoch, and the histograms."""
        self._add(trainer)
        if self.histograms:
            for name, parameter in trainer.model.named_parameters():
                self.writer.add_histogram(name, parameter.detach().cpu().numpy(), trainer.step)
        self.writer.flush()

    def _add(self, trainer: "Trainer") -> None:
        for name, number in trainer.record.items():
            if name not in self._written:
                self.writer.add_scalar(name, number, trainer.step)
        self._written = dict(trainer.record)

    def on_fit_end(self, trainer: "Trainer") -> None:
        """Close the file."""
        self.writer.close()


def _check(every_steps: int) -> None:
    if every_steps < 1 or every_steps % 1:
        raise ValueError(f"every_steps is a whole number, at least 1; got {every_steps!r}.")
