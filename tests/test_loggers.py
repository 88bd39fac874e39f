"""The callbacks that write down how a run goes, read again by others."""

import csv
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto.event_pb2 import Event

import tinygrad_cv as tg
from tinygrad_cv import data, nn, optim, train

pytestmark = pytest.mark.host


def fitted(epochs: int, *callbacks: Any, stop: int | None = None, **options: Any) -> train.Trainer:
    """A run of 4 steps an epoch, which is broken off after step `stop`."""
    generator = tg.manual_seed(0)
    model = nn.Linear(2, 2, generator=generator)
    trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.1))
    points = data.TensorDataset(tg.randn(16, 2, generator=generator), [0, 1] * 8)
    loader = data.DataLoader(points, batch_size=4, shuffle=True, generator=generator)

    class Broken(train.Callback):
        def on_step(self, trainer: train.Trainer) -> None:
            if trainer.step == stop:
                raise KeyboardInterrupt

    try:
        trainer.fit(loader, loader, epochs, callbacks=[*callbacks, Broken()], **options)
    except KeyboardInterrupt:
        assert stop is not None
    return trainer


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [*csv.DictReader(file)]


def test_the_table_has_the_history(tmp_path: Path) -> None:
    trainer = fitted(3, train.CSVLogger(tmp_path / "new" / "run.csv"))
    found = rows(tmp_path / "new" / "run.csv")
    assert [(int(row["epoch"]), int(row["step"])) for row in found] == [(0, 4), (1, 8), (2, 12)]
    for row, record in zip(found, trainer.history, strict=True):
        assert {name: float(row[name]) for name in record} == record


def test_a_number_that_comes_later_gets_a_column(tmp_path: Path) -> None:
    class Late(train.Callback):
        def on_step(self, trainer: train.Trainer) -> None:
            if trainer.step > 2:
                trainer.record["late, and with a comma"] = trainer.step

    fitted(1, Late(), train.CSVLogger(tmp_path / "run.csv", every_steps=1))
    found = [row["late, and with a comma"] for row in rows(tmp_path / "run.csv")]
    assert found == ["", "", "3", "4"]


@pytest.mark.parametrize("torn", [False, True])
def test_a_table_goes_on_with_its_run(torn: bool, tmp_path: Path) -> None:
    """No row comes twice, and none that was half written stays."""
    whole, parted = tmp_path / "whole.csv", tmp_path / "parted.csv"
    fitted(3, train.CSVLogger(whole, every_steps=1))
    saved = train.Checkpoint(tmp_path / "saved", every_steps=3)
    fitted(3, train.CSVLogger(parted, every_steps=1), saved, stop=8)
    if torn:
        parted.write_text(parted.read_text()[:-20])
    fitted(3, train.CSVLogger(parted, every_steps=1), resume=tmp_path / "saved")
    assert parted.read_bytes() == whole.read_bytes()


def test_an_epoch_that_ends_twice_has_one_row(tmp_path: Path) -> None:
    """The last checkpoint is that of its last step, and the row of the epoch was written."""
    whole, parted = tmp_path / "whole.csv", tmp_path / "parted.csv"
    fitted(2, train.CSVLogger(whole))
    saved = train.Checkpoint(tmp_path / "saved", every_steps=4)
    fitted(2, train.CSVLogger(parted), saved, stop=5)
    fitted(2, train.CSVLogger(parted), resume=tmp_path / "saved")
    assert parted.read_bytes() == whole.read_bytes()


def test_another_file_is_no_table(tmp_path: Path) -> None:
    saved, path = train.Checkpoint(tmp_path / "saved"), tmp_path / "run.csv"
    fitted(1, saved)
    for contents in (b"name,step\na,b\n", b"epoch\n1\n", b"\xff\xfe\n\0\n"):
        path.write_bytes(contents)
        with pytest.raises(ValueError, match=r"run\.csv is no table of a run"):
            fitted(2, train.CSVLogger(path), resume=tmp_path / "saved")
        assert path.read_bytes() == contents


def events(folder: Path) -> list[Any]:
    """What lies in the event files: records of a length, its checksum, the event, its checksum."""
    found = []
    for path in sorted(folder.iterdir()):
        contents, place = path.read_bytes(), 0
        while place < len(contents):
            (length,) = struct.unpack_from("<Q", contents, place)
            found.append(Event.FromString(contents[place + 12 : place + 12 + length]))
            place += 16 + length
    return found


def test_tensorboard_is_told_the_numbers(tmp_path: Path) -> None:
    trainer = fitted(2, train.TensorBoardLogger(tmp_path, histograms=True))
    numbers: dict[tuple[str, int], float] = {}
    histograms = set()
    for event in events(tmp_path):
        for value in event.summary.value:
            if value.HasField("histo"):
                histograms.add((value.tag, event.step, value.histo.num))
            else:
                assert (value.tag, event.step) not in numbers, "told once"
                numbers[value.tag, event.step] = value.simple_value
    assert {step for name, step in numbers if name == "loss"} == {*range(1, 9)}
    for epoch, record in enumerate(trainer.history, 1):
        for name, number in record.items():
            assert numbers[name, 4 * epoch] == pytest.approx(number, rel=1e-6)
    assert histograms == {(n, s, k) for s in (4, 8) for n, k in (("weight", 4), ("bias", 2))}


def test_tensorboard_takes_back_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    saved = train.Checkpoint(tmp_path / "saved", every_steps=3)
    fitted(2, train.TensorBoardLogger(tmp_path / "1"), saved, stop=5)
    fitted(2, train.TensorBoardLogger(tmp_path / "2"), resume=tmp_path / "saved")
    starts = [e.step for e in events(tmp_path / "2") if e.HasField("session_log")]
    assert starts == [4]


@pytest.mark.parametrize("logger", [train.CSVLogger, train.TensorBoardLogger])
def test_a_number_of_steps_is_at_least_1(logger: Any) -> None:
    for wrong in (0, -1, 1.5):
        with pytest.raises(ValueError, match="every_steps is a whole number, at least 1"):
            logger("run", every_steps=wrong)


def test_without_tensorboardx_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"pip install 'tinygrad_cv\[tensorboard\]'"):
        fitted(1, train.TensorBoardLogger("logs"))
