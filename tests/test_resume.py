"""Runs that end at any moment and go on: the same bits as if they had not."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv import amp, nn, optim, train
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.data import DataLoader, TensorDataset

SAMPLES, EPOCHS = 14, 2


class Killed(BaseException):
    """As by SIGKILL: nothing of the run is used any more."""


class Net(nn.Module):
    """Has all that has a state: parameters, running means, noise from two generators."""

    def __init__(self, alive: int | None) -> None:
        super().__init__()
        self.own = tg.Generator().manual_seed(3)
        self.layers = nn.Sequential(
            nn.Conv2d(1, 3, 3, bias=False),
            nn.BatchNorm2d(3),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Flatten(),
            nn.Dropout(0.1, generator=self.own),
            nn.Linear(48, 3),
        )
        self.alive = alive

    def forward(self, x: Tensor) -> Tensor:
        if self.alive is not None:
            self.alive -= 1
            if self.alive < 0:
                raise Killed
        return self.layers(x)


def augmented(images: Any, labels: Any, generator: Any) -> Any:
    """Draws from all that a program may draw from."""
    shift = random.random() + np.random.rand() + generator.random()
    return images + np.float32(shift / 10), labels


SCHEDULES: dict[str, Any] = {
    "constant": {},
    "cosine": {"schedule": train.cosine},
    "epochs": {"schedule": lambda o: optim.lr_scheduler.StepLR(o, 1, 0.5)},
    "steps": {
        "schedule": lambda o: optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=100),
        "schedule_interval": "step",
    },
    "plateau": {"schedule": lambda o: optim.lr_scheduler.ReduceLROnPlateau(o, patience=0)},
}
OPTIMIZERS: dict[str, Any] = {
    "momentum": lambda p: optim.SGD(p, 0.05, momentum=0.9),
    "Adam": lambda p: optim.Adam(p, 0.01),
    "amsgrad": lambda p: optim.AdamW(p, 0.01, amsgrad=True),
    "RMSprop": lambda p: optim.RMSprop(p, 0.01),
}


class Case(NamedTuple):
    """How a run is."""

    batch_size: int = 4
    optimizer: str = "momentum"
    schedule: str = "constant"
    accumulate: int = 1
    clip: float | None = None
    amp: bool = False
    compile: bool = False
    generator: str = "default"
    validated: bool = True
    every: int = 1


class Run(NamedTuple):
    trainer: train.Trainer
    fit: Any


def run(case: Case, folder: Path, alive: int | None = None) -> Run:
    """All that is made for a run, anew: as a program that is started once more makes it."""
    generator = tg.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    if case.generator == "own":
        generator = tg.Generator().manual_seed(1)
    rng = np.random.default_rng(0)
    data = TensorDataset(
        rng.normal(size=(SAMPLES, 1, 6, 6)).astype("float32"), rng.integers(3, size=SAMPLES)
    )
    loader = DataLoader(
        data,
        case.batch_size,
        shuffle=True,
        generator=None if case.generator == "none" else generator,
        transform=augmented,
    )
    model = Net(alive)
    optimizer = OPTIMIZERS[case.optimizer](model.parameters())
    options = dict(SCHEDULES[case.schedule])
    if case.schedule not in ("constant", "cosine"):
        options["schedule"] = options["schedule"](optimizer)
    scaler: Any = amp.GradScaler(init_scale=2.0**120, growth_interval=2) if case.amp else False
    trainer = train.Trainer(
        model,
        optimizer,
        compile=case.compile,
        accumulate=case.accumulate,
        clip_grad_norm=case.clip,
        amp=scaler,
        **options,
    )
    monitor = "val_loss" if case.validated else "loss"
    callbacks = [
        train.Checkpoint(folder, every_steps=case.every, every_epochs=1),
        train.BestModel(monitor),
        train.EarlyStopping(monitor, patience=2),
        train.MovingAverage(0.9),
    ]
    val_loader = DataLoader(data, 5, shuffle=True) if case.validated else None

    def fit() -> Any:
        return trainer.fit(loader, val_loader, EPOCHS, False, callbacks=callbacks, resume=folder)

    return Run(trainer, fit)


def bits(trainer: train.Trainer, folder: Path) -> Any:
    """All that a run leaves: its files, what it learned, and the numbers that come next."""
    state = trainer.model.state_dict()
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    coming = tg.rand(3).tolist(), random.random(), np.random.rand(), trainer.model.own.random()
    return {k: v.numpy().tobytes() for k, v in state.items()}, trainer.history, coming, files


CASES = st.builds(
    Case,
    st.sampled_from([4, 5, 6]),
    st.sampled_from([*OPTIMIZERS]),
    st.sampled_from([*SCHEDULES]),
    st.integers(1, 3),
    st.sampled_from([None, 0.1]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["default", "own", "none"]),
    st.booleans(),
    st.integers(1, 3),
)


@pytest.mark.filterwarnings("ignore:overflow encountered")
@settings(phases=[Phase.explicit, Phase.reuse, Phase.generate])  # a failure shrinks for minutes
@given(case=CASES, kills=st.lists(st.integers(0, 15), max_size=2))
def test_a_run_that_is_killed_and_goes_on_comes_to_the_same_bits(
    case: Case, kills: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole, parts = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("parts")
    one = run(case, whole)
    one.fit()
    expected = bits(one.trainer, whole)
    for alive in kills:
        cut = run(case, parts, alive)
        try:
            cut.fit()
        except Killed:
            continue
    other = run(case, parts)
    other.fit()
    assert bits(other.trainer, parts) == expected
