"""Runs that end at any moment and go on: the same bits as if they had not."""

import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
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
from tinygrad_cv.train.randomness import Randomness

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
    samples: int = SAMPLES
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
        rng.normal(size=(case.samples, 1, 6, 6)).astype("float32"),
        rng.integers(3, size=case.samples),
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
    st.just(SAMPLES),
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
@settings(
    max_examples=6, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)  # a failure shrinks for minutes
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


# ----- kill -9 -----------------------------------------------------------------------------------

KILLS = int(os.environ.get("TINYGRAD_CV_KILLS", "20"))


def tiny(folder: Path, number: int) -> Run:
    """A run of a few milliseconds, one of three."""
    tg.manual_seed(number)
    random.seed(number)
    np.random.seed(number)
    rng = np.random.default_rng(0)
    data = TensorDataset(rng.normal(size=(8, 4)).astype("float32"), rng.integers(3, size=8))
    loader = DataLoader(data, (2, 4, 4)[number], shuffle=True)
    model = nn.Sequential(nn.Dropout(0.2), nn.Linear(4, 3), nn.BatchNorm1d(3))
    model.own = tg.Generator()
    optimizer = optim.Adam(model.parameters(), 0.01)
    schedule: Any = train.cosine
    if number == 2:
        schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    trainer = train.Trainer(model, optimizer, schedule=schedule, accumulate=(2, 1, 1)[number])
    callbacks = [
        train.Checkpoint(folder, every_steps=1, every_epochs=1),
        train.EarlyStopping("val_loss", patience=2),
    ]

    def fit() -> Any:
        return trainer.fit(loader, loader, 3, False, callbacks=callbacks, resume=folder)

    return Run(trainer, fit)


def finish(folder: Path, number: int) -> str:
    """Let a run go on to its end; what it leaves, in one line."""
    one = tiny(folder, number)
    one.fit()
    return hashlib.sha256(repr(bits(one.trainer, folder)).encode()).hexdigest()


def begun(folder: Path, number: int, ended: Path) -> int:
    """A child that lets a run go on, and writes what it leaves."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        ended.write_text(finish(folder, number))
        os._exit(0)
    return pid


def killed_often(home: Path, kills: int) -> str:
    """Start runs, kill each at a random moment, and let those that live end: how that went."""
    expected, times = [], []
    for number in range(3):
        start = time.perf_counter()
        os.waitpid(begun(home / f"whole{number}", number, home / "ended"), 0)
        times.append(time.perf_counter() - start)
        expected.append((home / "ended").read_text())
    chooser, dead, whole, cut = random.Random(), 0, 0, 0
    while True:
        number, folder, ended = whole % 3, home / f"parts{whole}", home / f"ended{whole}"
        pid = begun(folder, number, ended)
        if dead < kills:
            time.sleep(chooser.uniform(0, times[number]))
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            dead += 1
            cut += any(folder.glob(".*.partial"))
            continue
        if ended.read_text() != expected[number]:
            return f"run {whole} came to other bits"
        whole += 1
        if dead == kills:
            return f"killed {dead}, finished {whole}, in the middle of a write {cut}"


@pytest.mark.host
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_runs_that_are_killed_at_random_moments_come_to_the_same_bits(tmp_path: Path) -> None:
    """In a process of one thread, whose children begin with all imported.

    TINYGRAD_CV_KILLS=200 takes its time.
    """
    shared = Path("/dev/shm")  # memory: to write through to a disk takes longer than the training
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else tmp_path) as home:
        code = f"import test_resume as t; print(t.killed_often(t.Path({home!r}), {KILLS}))"
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parent,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "TINYGRAD_CV_KERNELS": "numpy"},
            capture_output=True,
            text=True,
            timeout=600,
        )
    assert re.fullmatch(rf"killed {KILLS}, finished \d+, in the middle of .*\n", done.stdout), done


# ----- files -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was killed in its second epoch."""
    folder = tmp_path_factory.mktemp("written")
    with pytest.raises(Killed):
        run(Case(), folder, alive=10).fit()
    return folder


def state_of(trainer: train.Trainer) -> Any:
    model, optimizer = trainer.model.state_dict(), trainer.optimizer.state_dict()
    values = {k: v.numpy().tobytes() for k, v in model.items()}
    return values, repr(optimizer), trainer.step, [m.training for m in trainer.model.modules()]


@pytest.mark.host
@settings(max_examples=10, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(data=st.data())
def test_a_damaged_checkpoint_is_refused_and_changes_nothing(
    data: st.DataObject, written: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    source = train.checkpoint.newest(written)
    assert source is not None
    contents = bytearray(source.read_bytes())
    damage = data.draw(st.sampled_from(["cut", "flip", "more"]))
    if damage == "cut":
        del contents[data.draw(st.integers(0, len(contents) - 1)) :]
    elif damage == "more":
        contents += data.draw(st.binary(min_size=1, max_size=9))
    else:
        place = data.draw(st.integers(0, len(contents) - 1))
        contents[place] ^= data.draw(st.integers(1, 255))
    folder = tmp_path_factory.mktemp("damaged")
    (folder / source.name).write_bytes(contents)
    one = run(Case(), folder)
    before, coming = state_of(one.trainer), random.getstate()
    with pytest.raises(ValueError, match=re.escape(str(folder / source.name))):
        one.fit()
    assert state_of(one.trainer) == before
    assert random.getstate() == coming


@pytest.mark.host
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"batch_size": 5}, r"batches = 4, and this one has 3"),
        ({"samples": 13}, "samples = 14, and this one has 13"),
        ({"optimizer": "Adam"}, "optimizer = 'SGD', and this one has 'Adam'"),
        ({"schedule": "cosine"}, "schedule = 'constant', and this one has 'cosine'"),
        ({"accumulate": 2}, "accumulate = 1, and this one has 2"),
        ({"clip": 0.1}, "clip_grad_norm = None, and this one has 0.1"),
        ({"amp": True}, "amp = False, and this one has True"),
    ],
)
def test_a_run_with_other_settings_is_refused(change: Any, told: str, written: Path) -> None:
    one = run(Case(**change), written)
    before = state_of(one.trainer)
    with pytest.raises(ValueError, match=told):
        one.fit()
    assert state_of(one.trainer) == before


@pytest.mark.host
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", {}),
        ("optimizer", {"state": {}, "param_groups": [], "steps": 0}),
        ("step", -1),
        ("history", [{"loss": "low"}]),
        ("callbacks", [["Other", {}]]),
        ("callbacks", []),
        ("randomness", {"python": None, "numpy": None, "generators": []}),
        ("loader", {"seed": "x"}),
        ("scaler", {"scale": 1.0}),
        ("learns", {}),
    ],
)
def test_a_checkpoint_that_fits_only_partly_changes_nothing(
    key: str, value: Any, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = train.checkpoint.newest(written)
    assert source is not None
    state = train.checkpoint.load_run(source)
    monkeypatch.setattr(train.checkpoint, "load_run", lambda path: state | {key: value})
    one = run(Case(), written)
    before, coming = state_of(one.trainer), (tg.get_rng_state(), random.getstate())
    with pytest.raises(ValueError, match="this is no checkpoint of such a run"):
        one.fit()
    assert state_of(one.trainer) == before
    assert tg.get_rng_state().equal(coming[0])
    assert random.getstate() == coming[1]


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    one = run(Case(), tmp_path)
    train.save_model(one.trainer.model, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors: is no checkpoint of a Trainer"):
        one.trainer.load_checkpoint(tmp_path / "model.safetensors")
    with pytest.raises(FileNotFoundError):
        one.trainer.load_checkpoint(tmp_path / "absent.safetensors")


def test_another_run_in_the_folder_is_not_taken_for_this_one(written: Path) -> None:
    one, X, y = run(Case(), written), tg.ones(2, 1, 6, 6), tg.tensor([0, 1])
    with pytest.raises(ValueError, match="has a checkpoint of another run"):
        one.trainer.fit([(X, y)], None, 1, False, callbacks=[train.Checkpoint(written)])


def test_a_checkpoint_can_be_loaded_to_begin_another_fit(written: Path, tmp_path: Path) -> None:
    source = train.checkpoint.newest(written)
    assert source is not None
    one = run(Case(), tmp_path)
    one.trainer.load_checkpoint(source)
    assert one.trainer.step == int(source.stem.removeprefix("step_"))
    assert len(one.fit()) == EPOCHS


def test_a_loader_without_a_state_is_asked_for_its_batches_again(tmp_path: Path) -> None:
    """Also one whose order is drawn as it begins; and one that has no length."""

    class Shuffled:
        def __iter__(self) -> Any:
            order = np.random.permutation(4)
            return iter([(X[2 * k : 2 * k + 2], LABELS[2 * k : 2 * k + 2]) for k in order])

    X, LABELS = tg.randn(8, 4), tg.tensor([0, 1] * 4)

    def trained(stop: int | None, folder: Path) -> Any:
        tg.manual_seed(0)
        np.random.seed(0)
        model = nn.Sequential(nn.Dropout(0.3), nn.Linear(4, 2))
        trainer = train.Trainer(model, optim.Adam(model.parameters()))

        def stopped(trainer: train.Trainer) -> None:
            if trainer.step == stop:
                raise Killed

        after = train.Checkpoint(folder)
        after.on_step = stopped  # type: ignore[method-assign]  told after the one that saves
        callbacks = [train.Checkpoint(folder, every_steps=1), after]
        history = trainer.fit(Shuffled(), None, 3, False, callbacks=callbacks, resume=folder)
        return history, model[1].weight.tolist(), np.random.rand()

    expected = trained(None, tmp_path / "whole")
    for stop in (1, 3, 4, 7):
        with pytest.raises(Killed):
            trained(stop, tmp_path / "parts")
    assert trained(None, tmp_path / "parts") == expected


# ----- what else has a state ---------------------------------------------------------------------

S = optim.lr_scheduler
OBJECTS: dict[str, Any] = {
    "LambdaLR": lambda o: S.LambdaLR(o, lambda t: 1 / (1 + t)),
    "MultiplicativeLR": lambda o: S.MultiplicativeLR(o, lambda t: 0.9),
    "MultiStepLR": lambda o: S.MultiStepLR(o, [2, 4], 0.5),
    "LinearLR": lambda o: S.LinearLR(o, 0.1, total_iters=4),
    "PolynomialLR": lambda o: S.PolynomialLR(o, 6),
    "CosineAnnealingLR": lambda o: S.CosineAnnealingLR(o, 5),
    "CosineAnnealingWarmRestarts": lambda o: S.CosineAnnealingWarmRestarts(o, 2),
    "CyclicLR": lambda o: S.CyclicLR(o, 0.01, 0.1, 2),
    "ChainedScheduler": lambda o: S.ChainedScheduler([S.LinearLR(o), S.ExponentialLR(o, 0.9)]),
    "SequentialLR": lambda o: S.SequentialLR(o, [S.ConstantLR(o), S.StepLR(o, 1, 0.5)], [3]),
    "SWALR": lambda o: optim.swa_utils.SWALR(o, 0.01, 3),
}


@pytest.mark.host
@pytest.mark.parametrize("kind", OBJECTS)
def test_every_schedule_goes_on(kind: str, tmp_path: Path) -> None:
    def fitted(folder: Path, stop: int | None) -> Any:
        tg.manual_seed(0)
        model = nn.Linear(4, 2)
        optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
        data = [(X[:4], LABELS[:4]), (X[4:], LABELS[4:])]
        trainer = train.Trainer(
            model, optimizer, schedule=OBJECTS[kind](optimizer), schedule_interval="step"
        )

        def loss_fn(scores: Tensor, labels: Tensor) -> Tensor:
            if trainer.step == stop:
                raise Killed
            return tg.cross_entropy(scores, labels)

        trainer.loss_fn = loss_fn
        saving = train.Checkpoint(folder, every_steps=1)
        history = trainer.fit(data, None, 3, False, callbacks=[saving], resume=folder)
        return history, model.weight.tolist(), optimizer.param_groups[0]["lr"]

    X, LABELS = tg.randn(8, 4), tg.tensor([0, 1] * 4)
    expected = fitted(tmp_path / "whole", None)
    for stop in (1, 2, 5):
        with pytest.raises(Killed):
            fitted(tmp_path / "parts", stop)
    assert fitted(tmp_path / "parts", None) == expected


@pytest.mark.host
def test_callbacks_of_one_class_keep_their_own_state(tmp_path: Path) -> None:
    class Noted(train.Callback):
        def __init__(self, notes: dict[str, Any]) -> None:
            self.notes = notes

        def state_dict(self) -> dict[str, Any]:
            return self.notes

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            self.notes = state_dict

    def trained(*notes: dict[str, Any]) -> list[dict[str, Any]]:
        one = run(Case(), tmp_path)
        callbacks = [Noted(each) for each in notes]
        loader = DataLoader(TensorDataset(tg.randn(4, 1, 6, 6), [0, 1] * 2), 2)
        saving = train.Checkpoint(tmp_path)
        one.trainer.fit(loader, None, 1, callbacks=[*callbacks, saving], resume=tmp_path)
        return [each.notes for each in callbacks]

    trained({}, {"n": 3})
    assert trained({}, {"n": 0}) == [{}, {"n": 3}]


@pytest.mark.host
def test_a_watch_goes_on(tmp_path: Path) -> None:
    def watched(folder: Path, alive: int | None) -> Any:
        one = run(Case(), folder, alive)
        loader = DataLoader(TensorDataset(tg.randn(8, 1, 6, 6), [0, 1] * 4), 2)
        watch = tg.viz.watch(one.trainer.model, every=3)
        saving = train.Checkpoint(folder, every_steps=1)
        one.trainer.fit(loader, None, 2, watch=watch, callbacks=[saving], resume=folder)
        return watch.trace.to_json(), watch.steps

    expected = watched(tmp_path / "whole", None)
    for alive in (2, 3):
        with pytest.raises(Killed):
            watched(tmp_path / "parts", alive)
    assert watched(tmp_path / "parts", None) == expected


@pytest.mark.host
def test_generators_are_found_where_objects_hold_them() -> None:
    def augment(images: Any) -> Any:
        return closed.random()

    closed, deep, kept = (np.random.default_rng(i) for i in range(3))
    module = nn.Sequential(nn.Dropout(0.1, generator=kept))
    old, python = np.random.RandomState(3), random.Random(4)
    owners = [module, augment, {"a": [partial(print, deep)]}, [old, python], module]
    randomness = Randomness(*owners)
    assert [*map(id, randomness.sources)] == [*map(id, (kept, closed, deep, old, python))]
    with randomness.kept():
        first = [closed.random(), deep.random(), kept.random(), old.rand(), python.random()]
    assert first == [closed.random(), deep.random(), kept.random(), old.rand(), python.random()]
    fewer = Randomness(module)
    with pytest.raises(ValueError, match="there are 2 generators, and states for 6"):
        fewer.load_state_dict(randomness.state_dict())
