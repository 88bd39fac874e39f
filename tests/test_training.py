"""What a Trainer makes of its options, and what it tells its callbacks."""

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_cv as tg
from tinygrad_cv import amp, nn, optim, train
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.data import DataLoader, IterableDataset, TensorDataset
from tinygrad_cv.train import Trainer

RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(12, 4)), RNG.integers(3, size=12)


def loader(batch_size: int = 4, labels: Any = LABELS, **options: Any) -> DataLoader:
    return DataLoader(TensorDataset(X, labels), batch_size, **options)


def net(outputs: int = 3) -> nn.Sequential:
    rng = np.random.default_rng(1)
    model = nn.Sequential(
        nn.Linear(4, 5, generator=rng), nn.Tanh(), nn.Linear(5, outputs, generator=rng)
    )
    return model.double()


def fitter(model: nn.Module, lr: float = 0.1, **options: Any) -> Trainer:
    return Trainer(model, optim.SGD(model.parameters(), lr), **options)


def weights(model: nn.Module) -> list[Any]:
    return [p.detach().numpy().copy() for p in model.parameters()]


def assert_near(one: nn.Module, other: nn.Module, rtol: float = 1e-10) -> None:
    for a, b in zip(weights(one), weights(other), strict=True):
        assert_allclose(a, b, rtol, atol=1e-12)


# ----- steps -------------------------------------------------------------------------------------


@settings(max_examples=8)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    accumulate=st.integers(1, 5),
    compile=st.booleans(),
    clip=st.sampled_from([{}, {"clip_grad_norm": 0.05}, {"clip_grad_value": 0.01}]),
)
def test_accumulated_batches_are_one_large_batch(
    sizes: list[int], accumulate: int, compile: bool, clip: Any
) -> None:
    """Of any sizes, the last ones too."""
    ends = np.cumsum([0, *sizes]) % 12
    batches = [
        (tg.tensor(X[np.arange(a, a + n) % 12]), tg.tensor(LABELS[np.arange(a, a + n) % 12]))
        for a, n in zip(ends, sizes, strict=False)
    ]
    groups = [batches[i : i + accumulate] for i in range(0, len(batches), accumulate)]
    large = [tuple(tg.cat(parts) for parts in zip(*group, strict=True)) for group in groups]
    one, other = net(), net()
    trainer = fitter(one, accumulate=accumulate, compile=compile, **clip)
    [record] = trainer.fit(batches)
    [expected] = fitter(other, **clip).fit(large)
    assert_near(one, other)
    assert record == pytest.approx(expected, rel=1e-10)
    assert trainer.step == len(groups)


def test_gradients_are_clipped() -> None:
    model = net()
    before = weights(model)
    fitter(model, lr=1.0, clip_grad_norm=0.01).fit(loader(12))
    length = math.sqrt(
        sum(((a - b) ** 2).sum() for a, b in zip(weights(model), before, strict=True))
    )
    assert length == pytest.approx(0.01, rel=1e-3)
    model = net()
    fitter(model, lr=1.0, clip_grad_value=0.01).fit(loader(12))
    change = [abs(a - b).max() for a, b in zip(weights(model), before, strict=True)]
    assert max(change) == pytest.approx(0.01)


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_scaled_loss_gives_the_same_steps(compile: bool, accumulate: int) -> None:
    one, other = net(), net()
    options: dict[str, Any] = {"accumulate": accumulate, "clip_grad_norm": 0.1}
    fitter(one, amp=True, compile=compile, **options).fit(loader(), epochs=2)
    fitter(other, **options).fit(loader(), epochs=2)
    assert_near(one, other)


@pytest.mark.host
def test_a_model_in_float16_learns() -> None:
    model = net().half()
    trainer = fitter(model, lr=0.5, amp=True)
    history = trainer.fit(loader(), loader(), epochs=20)
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    assert {str(p.dtype) for p in model.parameters()} == {"float16"}


@pytest.mark.parametrize("interval", ["epoch", "step"])
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_a_step_that_is_left_out_moves_no_schedule_on(interval: str) -> None:
    model = net().float()
    optimizer = optim.SGD(model.parameters(), 0.1)
    schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    scaler = amp.GradScaler(init_scale=2.0**129)  # ∞ in float32, until it is halved twice or so
    data = DataLoader(TensorDataset(X.astype("float32"), LABELS), 12)
    before, seen = weights(model), []
    trainer = Trainer(model, optimizer, schedule=schedule, amp=scaler, schedule_interval=interval)
    watching = train.LambdaCallback(on_step=lambda trainer: seen.append(trainer.step))
    trainer.fit(data, epochs=2, callbacks=[watching])
    assert seen == []
    assert trainer.step == schedule.last_epoch == 0
    for a, b in zip(weights(model), before, strict=True):
        assert_array_equal(a, b)
    trainer.fit(data, epochs=6, callbacks=[watching])
    assert 0 < trainer.step == schedule.last_epoch
    assert seen == [*range(1, trainer.step + 1)]


# ----- schedules ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("interval", "moved"), [("epoch", 3), ("step", 9)])
def test_schedule_objects_move_on_by_epochs_or_steps(interval: str, moved: int) -> None:
    model = net()
    optimizer = optim.SGD(model.parameters(), 1.0)
    schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    trainer = Trainer(model, optimizer, schedule=schedule, schedule_interval=interval)
    history = trainer.fit(loader(), epochs=3)
    assert schedule.last_epoch == moved
    rates = [0.5 ** (k if interval == "epoch" else 3 * k + 2) for k in range(3)]
    assert [record["lr"] for record in history] == rates


def test_a_plateau_is_that_of_what_is_monitored() -> None:
    met: list[float] = []
    for monitor, validated in ((None, False), (None, True), ("train_accuracy", True)):
        model = net()
        optimizer = optim.SGD(model.parameters(), 0.1)
        schedule = optim.lr_scheduler.ReduceLROnPlateau(optimizer)
        schedule.step = met.append  # type: ignore[method-assign,assignment]
        trainer = Trainer(model, optimizer, schedule=schedule, monitor=monitor)
        history = trainer.fit(loader(), loader() if validated else None, epochs=2)
        name = monitor or ("val_loss" if validated else "loss")
        assert met == [record[name] for record in history]
        met.clear()
    trainer = Trainer(model, optimizer, schedule=schedule, monitor="val_top5")
    with pytest.raises(ValueError, match="monitor: the record has loss, train_accuracy"):
        trainer.fit(loader())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"schedule_interval": "batch"}, "schedule_interval is 'epoch' or 'step'"),
        ({"schedule": 0.1}, "schedule is a function of the progress or an object"),
        ({"accumulate": 0}, "accumulate counts batches, at least 1; got 0"),
        ({"accumulate": 1.5}, "accumulate counts batches"),
        ({"clip_grad_norm": 0.0}, "clip_grad_norm is above 0; got 0.0"),
        ({"clip_grad_value": -1.0}, "clip_grad_value is above 0"),
    ],
)
@pytest.mark.host
def test_options_that_make_no_sense_are_refused(options: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        fitter(net(), **options)


def test_a_schedule_of_another_optimizer_is_refused() -> None:
    other = optim.SGD(net().parameters(), 0.1)
    with pytest.raises(ValueError, match="of another optimizer"):
        fitter(net(), schedule=optim.lr_scheduler.StepLR(other, 1))
    model = net()
    optimizer = optim.SGD(model.parameters(), 0.1)
    plateau = optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    with pytest.raises(ValueError, match="ReduceLROnPlateau looks at whole epochs"):
        Trainer(model, optimizer, schedule=plateau, schedule_interval="step")


# ----- measures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("compile", [False, True])
def test_metrics_are_means_over_the_samples(compile: bool) -> None:
    def second(scores: Tensor, labels: Tensor) -> Tensor:
        return (scores.topk(2, dim=1)[1] == labels[:, None]).any(dim=1).double().mean()

    model = net()
    trainer = fitter(model, lr=0.0, metrics={"top2": second}, compile=compile)
    [record] = trainer.fit(loader(5), loader(7))
    scores = trainer.predict(loader(5)).numpy()
    best = np.argsort(-scores, axis=1)[:, :2]
    right = (best == LABELS[:, None]).any(axis=1).mean()
    assert record["train_top2"] == pytest.approx(right)
    assert record["val_top2"] == pytest.approx(right)
    told = trainer.evaluate(loader(5), return_dict=True)
    assert [*told] == ["loss", "accuracy", "top2"]
    assert told["top2"] == pytest.approx(right)
    assert told["loss"] == pytest.approx(record["val_loss"])


def test_a_regression_has_no_accuracy() -> None:
    labels = X[:, :1] * 2.0
    trainer = fitter(net(1), loss_fn=nn.MSELoss())
    data = loader(5, labels)
    history = trainer.fit(data, data, epochs=2)
    assert [*history[0]] == ["loss", "lr", "val_loss"]
    expected = ((trainer.predict(data).numpy() - labels) ** 2).mean()
    assert trainer.evaluate(data) == pytest.approx(expected)


def test_pixels_have_an_accuracy() -> None:
    images, labels = RNG.normal(size=(5, 2, 3, 3)), RNG.integers(4, size=(5, 3, 3))
    model = nn.Conv2d(2, 4, 1).double()
    data = DataLoader(TensorDataset(images, labels), 2)
    found = fitter(model).evaluate(data)
    best = model(tg.tensor(images)).detach().numpy().argmax(axis=1)
    assert found == pytest.approx((best == labels).mean())


class Auxiliary(nn.Module):
    """Gives scores twice while it trains, as Inception does."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: Tensor) -> Any:
        return (self.net(x), -self.net(x)) if self.training else self.net(x)


def test_a_model_may_give_more_than_scores() -> None:
    def loss(outputs: Any, labels: Any) -> Tensor:
        parts = outputs if isinstance(outputs, tuple) else (outputs,)
        losses = [tg.cross_entropy(part, labels, label_smoothing=0.1) for part in parts]
        return losses[0] if len(losses) == 1 else losses[0] + 0.4 * losses[1]

    model = Auxiliary()
    [record] = fitter(model, lr=0.0, loss_fn=loss).fit(loader(), loader())
    assert record["train_accuracy"] == record["val_accuracy"]
    assert record["loss"] > record["val_loss"]


def test_predict_gives_all_samples_in_order() -> None:
    model = net()
    expected = model(tg.tensor(X)).detach().numpy()
    alone = DataLoader(TensorDataset(X), 5)
    tensors = [tg.tensor(X[:7]), tg.tensor(X[7:])]
    for data in (loader(5), alone, tensors):
        assert_allclose(fitter(model).predict(data).numpy(), expected, rtol=1e-12)
    with pytest.raises(ValueError, match="no batches"):
        fitter(model).predict([])


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[Any]:
        return iter(zip(X, LABELS, strict=True))


def test_a_stream_has_no_length_and_trains() -> None:
    met: list[float] = []

    def schedule(progress: float) -> float:
        met.append(progress)
        return 1.0

    one, other = net(), net()
    data = DataLoader(Stream(), 5)
    history = fitter(one, schedule=schedule, accumulate=2).fit(data, data, epochs=2)
    assert history == fitter(other, accumulate=2).fit(loader(5), loader(5), epochs=2)
    assert met == [0.0, 0.0, 0.5, 0.5]
    with pytest.raises(ValueError, match="the loader gave no batches"):
        fitter(one).fit(iter(()))


def test_measuring_leaves_random_numbers_as_they_are() -> None:
    model = nn.Sequential(nn.Dropout(0.5), net())
    shuffled = loader(5, shuffle=True)
    for measure in ("evaluate", "predict"):
        tg.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        expected = tg.rand(2).tolist(), random.random(), np.random.rand()
        tg.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        getattr(fitter(model), measure)(shuffled)
        assert (tg.rand(2).tolist(), random.random(), np.random.rand()) == expected


@pytest.mark.parametrize("validated", [False, True])
def test_validation_changes_nothing_of_the_training(validated: bool) -> None:
    def history(val_loader: Any) -> list[Any]:
        tg.manual_seed(0)
        model = nn.Sequential(nn.Dropout(0.5), net())
        found = fitter(model).fit(loader(shuffle=True), val_loader, epochs=3)
        return [record["loss"] for record in found]

    assert history(loader(5, shuffle=True)) == history(None)


@pytest.mark.parametrize(
    ("batch", "error", "told"),
    [
        ({"x": 1}, TypeError, "a batch is .inputs, labels.; the loader gave a dict"),
        ((1, 2, 3), TypeError, "the loader gave a tuple of 3. Its collate_fn"),
        ((tg.ones(2, 1, 8, 8), [0, 1]), TypeError, "labels of a batch are tensors.* a list"),
        ((tg.ones(0, 1, 8, 8), tg.tensor([0])[:0]), ValueError, "a batch without samples"),
    ],
)
def test_what_is_no_batch_is_told(batch: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        fitter(net()).fit([batch])


def test_measures_do_without_a_batch_without_samples() -> None:
    X, y = next(iter(loader()))
    trainer = fitter(net())
    whole = trainer.evaluate([(X, y)], return_dict=True)
    assert trainer.evaluate([(X, y), (X[:0], y[:0])], return_dict=True) == whole


def test_what_makes_no_sense_is_told() -> None:
    for epochs in (-1, 1.5, None, "2"):
        with pytest.raises(ValueError, match="epochs is a whole number, 0 or more; got"):
            fitter(net()).fit(loader(), epochs=epochs)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'loss' is in the record already"):
        fitter(net(), metrics={"loss": lambda scores, labels: 0.0})
    with pytest.raises(TypeError, match="settings/path is a"):
        fitter(net(), settings={"path": Path("x")})
    with pytest.raises(TypeError, match="a list of them; got one EarlyStopping"):
        fitter(net()).fit(loader(), callbacks=train.EarlyStopping())  # type: ignore[arg-type]


def test_a_fit_ends_before_an_epoch_if_told_so() -> None:
    def stop(trainer: train.Trainer) -> None:
        trainer.should_stop = trainer.epoch == 1

    stopping = train.LambdaCallback(on_epoch_start=stop)
    assert len(fitter(net()).fit(loader(), epochs=3, callbacks=[stopping])) == 1


# ----- callbacks ---------------------------------------------------------------------------------


class Diary(train.Callback):
    def __init__(self) -> None:
        self.pages: list[Any] = []

    def on_fit_start(self, trainer: Trainer) -> None:
        self.pages.append(("start", trainer.epoch, trainer.step, [*trainer.record]))

    def on_epoch_start(self, trainer: Trainer) -> None:
        self.pages.append(("epoch start", trainer.epoch, trainer.step, [*trainer.record]))

    def on_step(self, trainer: Trainer) -> None:
        self.pages.append(("step", trainer.epoch, trainer.step, len(trainer.history)))

    def on_epoch(self, trainer: Trainer) -> None:
        assert trainer.history[-1] is trainer.record
        self.pages.append(("epoch", trainer.epoch, trainer.step, [*trainer.record][-1]))

    def on_fit_end(self, trainer: Trainer) -> None:
        self.pages.append(("end", trainer.epoch, trainer.step, len(trainer.history)))


def test_callbacks_are_told_everything_in_its_time() -> None:
    diary = Diary()
    trainer = fitter(net(), accumulate=2)
    assert trainer.fit(loader(), loader(), epochs=2, callbacks=[diary]) is trainer.history
    assert diary.pages == [
        ("start", 0, 0, []),
        ("epoch start", 0, 0, []),
        ("step", 0, 1, 0),
        ("step", 0, 2, 0),
        ("epoch", 0, 2, "val_accuracy"),
        ("epoch start", 1, 2, []),
        ("step", 1, 3, 1),
        ("step", 1, 4, 1),
        ("epoch", 1, 4, "val_accuracy"),
        ("end", 1, 4, 2),
    ]
    trainer.fit(loader(12), callbacks=[diary])
    assert diary.pages[-1] == ("end", 0, 5, 1)  # another fit, and its own history


@pytest.mark.host
def test_no_epochs_are_no_steps() -> None:
    diary, model = Diary(), net()
    before = weights(model)
    assert fitter(model).fit(loader(), epochs=0, callbacks=[diary]) == []
    assert [page[0] for page in diary.pages] == ["start", "end"]
    for a, b in zip(weights(model), before, strict=True):
        assert_array_equal(a, b)


@pytest.mark.host
@pytest.mark.parametrize("moment", ["on_fit_start", "on_epoch_start", "on_step", "on_epoch"])
@pytest.mark.parametrize("kind", [ZeroDivisionError, KeyboardInterrupt])
def test_an_exception_of_a_callback_ends_the_fit_and_comes_out(moment: str, kind: Any) -> None:
    def fail(trainer: Trainer) -> None:
        raise kind("mine")

    model = net().eval()
    model[1].train()
    modes = [module.training for module in model.modules()]
    with pytest.raises(kind, match="mine"):
        fitter(model).fit(loader(), callbacks=[train.LambdaCallback(**{moment: fail})])
    assert [module.training for module in model.modules()] == modes


@pytest.mark.host
@pytest.mark.parametrize(("moment", "steps"), [("on_step", 2), ("on_epoch", 3)])
def test_a_callback_can_stop_the_fit(moment: str, steps: int) -> None:
    def stop(trainer: Trainer) -> None:
        trainer.should_stop = trainer.step >= 2

    trainer = fitter(net())
    history = trainer.fit(
        loader(), loader(), epochs=9, callbacks=[train.LambdaCallback(**{moment: stop})]
    )
    assert (trainer.step, len(history)) == (steps, 1)
    assert "val_loss" in history[0]
    assert len(trainer.fit(loader(), epochs=2)) == 2


@pytest.mark.host
def test_a_plain_function_is_called_after_each_epoch() -> None:
    seen: list[int] = []
    fitter(net()).fit(loader(), epochs=3, callbacks=[lambda trainer: seen.append(trainer.epoch)])
    assert seen == [0, 1, 2]


@pytest.mark.host
@pytest.mark.parametrize("wrong", [3, train.EarlyStopping, None])
def test_what_is_no_callback_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="callbacks are objects of Callback, or functions"):
        fitter(net()).fit(loader(), callbacks=[wrong])
    with pytest.raises(TypeError, match="LambdaCallback knows on_fit_start"):
        train.LambdaCallback(on_batch=print)


class Scripted(Trainer):
    """A trainer whose record says what it is told to."""

    def __init__(self, values: list[float]) -> None:
        model = net()
        super().__init__(model, optim.SGD(model.parameters(), 0.1))
        self.values = values

    def _step_schedule(self, schedule: Any) -> None:
        raise AssertionError

    def _measure(self, batches: Any) -> Any:
        sums, _ = super()._measure(batches)
        sums.totals["loss"] = [self.values[self.epoch], 1]
        return sums, True


@pytest.mark.host
@pytest.mark.parametrize(
    ("values", "options", "epochs", "best"),
    [
        ([3, 2, 1, 0], {}, 4, 3),
        ([1, 2, 3, 4], {"patience": 2}, 3, 0),
        ([1, 2, 0.5, 4, 5], {"patience": 2}, 5, 2),
        ([1, 0.95, 0.91, 0.5], {"patience": 2, "min_delta": 0.1}, 3, 0),
        ([1, 2, 3, 2, 1], {"patience": 1, "mode": "max"}, 4, 2),
        ([math.nan, math.nan, 1, 1], {"patience": 2}, 2, None),
        ([math.nan, 2, math.nan, 1], {"patience": 2}, 4, 3),
        ([1, 1, 1], {"patience": 1}, 2, 0),
    ],
)
def test_early_stopping_waits_so_long(
    values: list[float], options: Any, epochs: int, best: int | None
) -> None:
    stop = train.EarlyStopping("val_loss", **options)
    trainer = Scripted(values)
    for _ in range(2):  # a second fit begins anew
        assert len(trainer.fit(loader(), loader(), len(values), callbacks=[stop])) == epochs
        assert stop.best_epoch == best


@pytest.mark.host
def test_the_best_model_is_that_of_the_best_epoch(tmp_path: Path) -> None:
    path, states = tmp_path / "best.safetensors", []
    trainer = Scripted([3, 1, 2])
    callbacks = [
        lambda trainer: states.append(weights(trainer.model)),
        train.BestModel("val_loss", path=path),
    ]
    trainer.fit(loader(), loader(), 3, callbacks=callbacks)
    copy = net()
    train.load_model(copy, path)
    for a, b in zip(weights(copy), states[1], strict=True):
        assert_array_equal(a, b)
    for a, b in zip(weights(trainer.model), states[2], strict=True):
        assert_array_equal(a, b)
    states.clear()
    again = train.BestModel("val_loss", restore=True)
    trainer.fit(loader(), loader(), 3, callbacks=[callbacks[0], again])
    for a, b in zip(weights(trainer.model), states[1], strict=True):
        assert_array_equal(a, b)


@pytest.mark.host
def test_monitors_say_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="say whether a low val_top5 is good"):
        train.EarlyStopping("val_top5")
    with pytest.raises(ValueError, match="mode is 'min' or 'max'; got 'low'"):
        train.BestModel("loss", "low")
    with pytest.raises(ValueError, match="patience counts epochs"):
        train.EarlyStopping("loss", patience=0)
    with pytest.raises(ValueError, match="looks at 'val_loss', and the record has loss, train_ac"):
        fitter(net()).fit(loader(), callbacks=[train.EarlyStopping()])
    with pytest.raises(ValueError, match="keep is a whole number"):
        train.Checkpoint("nowhere", keep=0)


@pytest.mark.host
def test_the_moving_average_is_that_of_the_steps() -> None:
    model, seen = net(), []
    average = train.MovingAverage(0.75, use=True)
    watching = train.LambdaCallback(on_step=lambda trainer: seen.append(weights(trainer.model)[0]))
    expected = weights(model)[0]  # the initial ones
    fitter(model).fit(loader(), epochs=2, callbacks=[watching, average])
    for value in seen:
        expected = 0.75 * expected + 0.25 * value
    assert_allclose(weights(model)[0], expected, rtol=1e-12)


@pytest.mark.host
@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, [6, 9]),
        ({"keep": 9}, [3, 6, 9]),
        ({"every_epochs": 2, "keep": 9}, [6]),
        ({"every_steps": 4, "keep": 9}, [4, 8]),
        ({"every_steps": 4, "every_epochs": 3, "keep": 2}, [8, 9]),
        ({"every_seconds": 0, "keep": 3}, [7, 8, 9]),
        ({"every_seconds": 3600}, []),
    ],
)
def test_checkpoints_come_so_often_and_the_newest_stay(
    options: Any, steps: list[int], tmp_path: Path
) -> None:
    folder = tmp_path / "a" / "b"
    fitter(net()).fit(loader(), epochs=3, callbacks=[train.Checkpoint(folder, **options)])
    found = sorted(folder.iterdir()) if folder.exists() else []
    assert [path.name for path in found] == [f"step_{step:09}.safetensors" for step in steps]


@pytest.mark.host
def test_more_epochs_are_allowed_where_they_change_no_step(tmp_path: Path) -> None:
    def trained(epochs: int, folder: Path, schedule: Any) -> Any:
        tg.manual_seed(0)
        model = net()
        trainer = fitter(model, schedule=schedule)
        saving = train.Checkpoint(folder)
        trainer.fit(loader(shuffle=True), None, epochs, callbacks=[saving], resume=folder)
        return weights(model)

    constant = train.trainer.constant
    trained(2, tmp_path / "a", constant)
    for a, b in zip(
        trained(4, tmp_path / "a", constant), trained(4, tmp_path / "b", constant), strict=True
    ):
        assert_array_equal(a, b)
    trained(2, tmp_path / "c", train.cosine)
    with pytest.raises(ValueError, match="epochs = 2, and this one has 4"):
        trained(4, tmp_path / "c", train.cosine)
