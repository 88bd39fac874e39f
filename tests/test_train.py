"""The training loop against one written out in NumPy, the ConvNet, and models on disk."""

import io
import json
import math
import re
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from safetensors.numpy import load_file, save_file

import tinygrad_cv as tg
from tinygrad_cv import nn, optim
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.data import DataLoader, TensorDataset
from tinygrad_cv.train import (
    DivergenceError,
    Trainer,
    convnet,
    cosine,
    load_model,
    save_model,
)

SAMPLES, FEATURES, CLASSES = 10, 3, 4
BATCHES = [slice(0, 4), slice(4, 8), slice(8, 10)]  # the last one is smaller


def problem() -> tuple[Any, Any]:
    """Inputs float64 (10, 3) and labels (10,)."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(SAMPLES, FEATURES)), rng.integers(CLASSES, size=SAMPLES)


def loader(**options: Any) -> DataLoader:
    return DataLoader(TensorDataset(*problem()), **({"batch_size": 4} | options))


def linear() -> nn.Linear:
    """A linear classifier in float64, always the same one."""
    model = nn.Linear(FEATURES, CLASSES, bias=False)
    weight = np.random.default_rng(1).normal(size=(CLASSES, FEATURES))
    model.weight = nn.Parameter(tg.tensor(weight))
    return model


def trainer(model: nn.Module, lr: float = 0.3, **options: Any) -> Trainer:
    return Trainer(model, optim.SGD(model.parameters(), lr), **options)


class Spy(nn.Module):
    """A linear classifier that notes for each call whether it trains and what is recorded."""

    def __init__(self) -> None:
        self.linear = linear()
        self.calls: list[tuple[bool, bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append((self.training, tg.is_grad_enabled()))
        return self.linear(x)


# ----- fit ---------------------------------------------------------------------------------------


def fit_by_hand(rates: list[float]) -> tuple[Any, list[dict[str, float]]]:
    """Softmax regression in NumPy: the weight after these steps, and the history."""
    x, labels = problem()
    w = np.random.default_rng(1).normal(size=(CLASSES, FEATURES))
    history = []
    for start in range(0, len(rates), len(BATCHES)):
        losses, right = [], []
        for batch, lr in zip(BATCHES, rates[start : start + len(BATCHES)], strict=True):
            scores = x[batch] @ w.T
            p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
            losses += [-math.log(row[label]) for row, label in zip(p, labels[batch], strict=True)]
            right += [row.argmax() == label for row, label in zip(p, labels[batch], strict=True)]
            w = w - lr * (p - np.eye(CLASSES)[labels[batch]]).T @ x[batch] / len(p)
        scores = x @ w.T
        validated = [scores[i].argmax() == labels[i] for i in range(SAMPLES)]
        p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        history.append(
            {
                "loss": sum(losses) / SAMPLES,
                "train_accuracy": sum(right) / SAMPLES,
                "lr": lr,
                "val_loss": -np.log(p[range(SAMPLES), labels]).mean(),
                "val_accuracy": sum(validated) / SAMPLES,
            }
        )
    return w, history


@pytest.mark.parametrize("falling", [False, True])
def test_fit_does_what_the_formulas_say(falling: bool) -> None:
    progress = np.arange(4 * len(BATCHES)) / (4 * len(BATCHES))
    rates = list(0.3 * (1 - progress) if falling else 0.3 + 0 * progress)
    weight, expected = fit_by_hand(rates)
    model = linear()
    options = {"schedule": lambda progress: 1 - progress} if falling else {}
    history = trainer(model, **options).fit(loader(), loader(), epochs=4)
    assert_allclose(model.weight.detach().numpy(), weight, rtol=1e-12)
    for record, wanted in zip(history, expected, strict=True):
        assert list(record) == ["loss", "train_accuracy", "lr", "val_loss", "val_accuracy"]
        assert record == pytest.approx(wanted, rel=1e-12)
    assert len({record["loss"] for record in history}) == 4


def test_fit_without_validation_has_no_validation_accuracy() -> None:
    history = trainer(linear()).fit(loader(), epochs=2)
    assert [list(record) for record in history] == [["loss", "train_accuracy", "lr"]] * 2


def test_each_fit_starts_the_schedule_anew() -> None:
    met: list[float] = []

    def schedule(progress: float) -> float:
        met.append(progress)
        return 1 - progress

    model = linear()
    fitter = trainer(model, lr=0.5, schedule=schedule)
    fitter.fit(loader(batch_size=5), epochs=2)
    assert met == [0, 0.25, 0.5, 0.75]
    assert fitter.optimizer.param_groups[0]["lr"] == 0.5 * 0.25
    fitter.fit(loader(batch_size=5))
    assert met[4:] == [0, 0.5]
    assert fitter.optimizer.param_groups[0]["lr"] == 0.5 * 0.5


def test_fit_trains_in_training_mode_and_validates_in_evaluation_mode() -> None:
    model = Spy()
    model.eval()
    trainer(model).fit(loader(), loader(batch_size=SAMPLES), epochs=2)
    assert model.calls == ([(True, True)] * 3 + [(False, False)]) * 2


def test_the_loss_function_can_be_chosen() -> None:
    def twice(scores: Tensor, labels: Tensor) -> Tensor:
        return 2 * tg.cross_entropy(scores, labels)

    model, other = linear(), linear()
    [record] = trainer(model, lr=0.1, loss_fn=twice).fit(loader())
    [wanted] = trainer(other, lr=0.2).fit(loader())
    assert record["loss"] == pytest.approx(2 * wanted["loss"])
    assert_allclose(model.weight.detach().numpy(), other.weight.detach().numpy())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_fit_stops_before_the_step_when_the_loss_is_no_number(bad: float) -> None:
    steps = 0

    def loss_fn(scores: Tensor, labels: Tensor) -> Tensor:
        nonlocal steps
        steps += 1
        return tg.cross_entropy(scores, labels) + (bad if steps == 5 else 0.0)

    model, other = linear(), linear()
    with pytest.raises(DivergenceError, match=f"became {bad} in epoch 2; a lower learning rate"):
        trainer(model, loss_fn=loss_fn).fit(loader(), epochs=3)
    fitter = trainer(other)
    fitter.fit(loader())
    fitter.fit(DataLoader(TensorDataset(*(array[:4] for array in problem())), 4))
    assert_array_equal(model.weight.detach().numpy(), other.weight.detach().numpy())


@pytest.mark.parametrize("validated", [False, True])
@pytest.mark.parametrize("lr", [1e308, 1e160])
def test_fit_sees_what_the_last_step_did(lr: float, validated: bool) -> None:
    """The weights become infinite, or so large that the next loss would be NaN."""
    validation = loader() if validated else None
    fitter = trainer(Huge(), lr=lr, loss_fn=lambda *pair: 1e3 * tg.cross_entropy(*pair))
    with np.errstate(all="ignore"), pytest.raises(DivergenceError, match="became nan in epoch 1"):
        fitter.fit(loader(batch_size=SAMPLES), validation)


class Huge(nn.Module):
    """A linear classifier whose scores overflow long before its weights do."""

    def __init__(self) -> None:
        self.linear = linear()

    def forward(self, x: Tensor) -> Tensor:
        return (self.linear(x) / 1e-150) * 1e-150


class Failing(nn.Module):
    """A linear classifier that fails when it is evaluated."""

    def __init__(self) -> None:
        self.linear = linear()

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            raise ZeroDivisionError
        return self.linear(x)


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_frozen_stays_so_and_every_mode_comes_back(fails: bool) -> None:
    norm, spy = nn.BatchNorm1d(FEATURES), Failing() if fails else Spy()
    model = nn.Sequential(norm, nn.Dropout(0.1), spy)
    model[0].eval()
    modes = [module.training for module in model.modules()]
    before = values(model)
    fitter = trainer(model)
    if fails:
        for run in (lambda: fitter.fit(loader(), loader()), lambda: fitter.evaluate(loader())):
            with pytest.raises(ZeroDivisionError):
                run()
            assert [module.training for module in model.modules()] == modes
    else:
        fitter.fit(loader(), loader(), epochs=2)
        assert spy.calls == ([(True, True)] * 3 + [(False, False)] * 3) * 2
    assert [module.training for module in model.modules()] == modes
    after = values(model)
    assert_array_equal(after["0.running_mean"], before["0.running_mean"])
    assert (after["2.linear.weight"] != before["2.linear.weight"]).any()


class Frozen(nn.BatchNorm1d):
    """It learns nothing of its batches, whoever trains it."""

    def train(self, mode: bool = True) -> "Frozen":
        super().train(False)
        return self


def test_a_part_that_trains_in_its_own_way_is_asked() -> None:
    """Also where nobody has called `train` before."""
    model = nn.Sequential(Frozen(FEATURES), nn.BatchNorm1d(FEATURES), linear())
    before = values(model)
    trainer(model).fit(loader(), epochs=2)
    after = values(model)
    assert_array_equal(after["0.running_mean"], before["0.running_mean"])
    assert (after["1.running_mean"] != before["1.running_mean"]).all()


def test_what_the_optimizer_learns_is_finite_at_the_end() -> None:
    """Also what no score depends on."""
    model = linear()
    idle = nn.Parameter([math.inf])
    fitter = Trainer(model, optim.SGD([*model.parameters(), idle], 0.1))
    with pytest.raises(DivergenceError, match="became nan in epoch 2"):
        fitter.fit(loader(), epochs=2)


def test_a_process_without_stderr_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    for progress in (None, True):
        assert len(trainer(linear()).fit(loader(), progress=progress)) == 1


def test_a_loader_without_batches_is_an_error() -> None:
    empty = loader(batch_size=SAMPLES + 1, drop_last=True)
    told = "no batches: 10 samples in batches of 11, drop_last=True"
    with pytest.raises(ValueError, match=told):
        trainer(linear()).fit(empty)
    with pytest.raises(ValueError, match=told):
        trainer(linear()).fit(loader(), empty)
    with pytest.raises(ValueError, match=told):
        trainer(linear()).evaluate(empty)


# ----- the bar -----------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stderr", "progress", "shown"),
    [
        (io.StringIO, None, False),
        (io.StringIO, True, True),
        (Terminal, None, True),
        (Terminal, False, False),
    ],
)
def test_the_bar_shows_on_a_terminal_or_when_asked_for(
    stderr: type[io.StringIO],
    progress: bool | None,
    shown: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stderr", stderr())
    monkeypatch.setenv("COLUMNS", "80")
    history = trainer(linear()).fit(loader(), loader(), epochs=2, progress=progress)
    assert isinstance(sys.stderr, io.StringIO)
    bar = sys.stderr.getvalue()
    if shown:
        last = bar.split("\r")[-1]
        loss, train, _, _, val = history[-1].values()
        assert last.startswith("epoch 2/2: 100%")
        assert last.endswith(f", loss {loss:.3g}, train {train:.3g}, val {val:.3g}\n")
        assert len(last) <= 80
    else:
        assert bar == ""
    assert capsys.readouterr().out == ""


# ----- evaluate ----------------------------------------------------------------------------------


def test_evaluate_is_the_share_of_right_labels() -> None:
    x, labels = problem()
    model = linear()
    scores = x @ model.weight.detach().numpy().T
    best = [max(range(CLASSES), key=row.__getitem__) for row in scores]
    right = sum(a == b for a, b in zip(best, labels, strict=True))
    assert 0 < right < SAMPLES
    for batch_size in (1, 4, SAMPLES):  # a mean over batches would weigh the last one too much
        assert trainer(model).evaluate(loader(batch_size=batch_size)) == right / SAMPLES


@pytest.mark.parametrize("training", [False, True])
def test_evaluate_leaves_no_trace(training: bool) -> None:
    model = nn.Sequential(linear(), nn.BatchNorm1d(CLASSES), nn.Dropout(0.9))
    trainer(model).fit(loader())
    model.train(training)
    before = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    accuracies = {trainer(model).evaluate(loader()) for _ in range(5)}
    assert len(accuracies) == 1
    assert all(module.training is training for module in model.modules())
    for name, tensor in model.state_dict().items():
        assert_array_equal(tensor.numpy(), before[name])


# ----- cosine ------------------------------------------------------------------------------------


def test_cosine_falls_from_one_to_zero() -> None:
    values = [cosine(i / 12) for i in range(13)]
    assert values == sorted(values, reverse=True)
    assert values[::3] == pytest.approx([1, (2 + 2**0.5) / 4, 0.5, (2 - 2**0.5) / 4, 0])


# ----- the ConvNet -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "stages", "rest"),
    [
        ((1, 8, 8), 2, (2, 2)),
        ((1, 28, 28), 3, (3, 3)),
        ((3, 32, 32), 4, (2, 2)),
        ((2, 4, 11), 1, (2, 5)),
    ],
)
def test_the_convnet_halves_images_while_they_are_big_enough(
    shape: tuple[int, int, int], stages: int, rest: tuple[int, int]
) -> None:
    model = convnet(shape, classes=7, width=3)
    assert model(tg.randn(2, *shape)).shape == (2, 7)
    names = [type(layer).__name__ for layer in model]
    stage = ["Conv2d", "BatchNorm2d", "ReLU"] * 2 + ["MaxPool2d", "Dropout"]
    assert names == [*stage * stages, "Flatten", "Linear"]
    dropped = [layer.p for layer in model if isinstance(layer, nn.Dropout)]
    assert dropped == [0.25] * (stages - 1) + [0.5]
    widths = [3, *[6] * (stages - 1)]
    filters = sum(
        9 * (before * after + after * after)
        for before, after in zip([shape[0], *widths], widths, strict=False)
    )
    norms = sum(2 * 2 * filters for filters in widths)
    linear = (widths[-1] * rest[0] * rest[1] + 1) * 7
    assert sum(p.numel() for p in model.parameters()) == filters + norms + linear


@pytest.mark.parametrize("shape", [(1, 3, 8), (1, 8, 3)])
def test_the_convnet_refuses_images_too_small_for_it(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=rf"at least 4x4 pixels; got {shape[1]}x{shape[2]}\."):
        convnet(shape, 10)


def test_one_generator_decides_the_weights_and_the_dropout() -> None:
    x = tg.randn(4, 1, 8, 8)

    def scores(seed: int) -> Any:
        return convnet((1, 8, 8), 10, generator=np.random.default_rng(seed))(x).detach().numpy()

    assert_array_equal(scores(1), scores(1))
    assert (scores(1) != scores(2)).any()


# ----- models on disk ----------------------------------------------------------------------------


class Odd(nn.Module):
    """State that is awkward to write: a number, an empty array, memory out of order, a buffer."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.number = nn.Parameter(tg.tensor(rng.normal()))
        self.turned = nn.Parameter(tg.zeros(2, 3))
        self.turned.data = tg.tensor(rng.normal(size=(3, 2)).astype("float32")).T
        self.register_buffer("count", tg.tensor(rng.integers(9, size=(1, 2))))
        self.register_buffer("empty", tg.zeros(0, 3))


def values(model: nn.Module) -> dict[str, Any]:
    return {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}


def assert_equal_states(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert_array_equal(one[name], other[name], strict=True)


@pytest.mark.parametrize("model", [Odd, lambda seed: convnet((1, 8, 8), 3, 2)])
def test_a_saved_model_is_read_back(model: Any, tmp_path: Path) -> None:
    saved, loaded = model(1), model(2)
    save_model(saved, tmp_path / "model.safetensors")
    with pytest.raises(AssertionError):
        assert_equal_states(values(saved), values(loaded))
    load_model(loaded, str(tmp_path / "model.safetensors"))
    assert_equal_states(values(saved), values(loaded))


def test_tied_weights_are_saved_under_each_name_and_loaded_from_either(tmp_path: Path) -> None:
    def tied() -> nn.Sequential:
        model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
        model[2].weight = model[0].weight
        return model

    path, saved = tmp_path / "model.safetensors", tied()
    save_model(saved, path)
    stored = load_file(path)
    assert [*stored] == ["0.bias", "0.weight", "2.bias", "2.weight"]
    for missing in ("0.weight", "2.weight", None):
        save_file({name: array for name, array in stored.items() if name != missing}, path)
        loaded = tied()
        load_model(loaded, path)
        assert loaded[0].weight is loaded[2].weight
        assert_equal_states(values(loaded), values(saved))


def test_others_read_what_is_saved(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(Odd(), path)
    assert_equal_states(load_file(path), values(Odd()))
    # The format by its specification: the header's length, a header in JSON, the values.
    contents = path.read_bytes()
    (length,) = struct.unpack("<Q", contents[:8])
    entry = json.loads(contents[8 : 8 + length])["turned"]
    start, stop = entry["data_offsets"]
    assert (entry["dtype"], entry["shape"]) == ("F32", [2, 3])
    stored = struct.unpack("<6f", contents[8 + length :][start:stop])
    assert list(stored) == Odd().turned.detach().numpy().ravel().tolist()


def test_what_others_save_is_read(tmp_path: Path) -> None:
    save_file(values(Odd(3)), tmp_path / "model.safetensors")
    model = Odd(4)
    load_model(model, tmp_path / "model.safetensors")
    assert_equal_states(values(model), values(Odd(3)))


def test_equal_models_are_equal_files(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        save_model(Odd(seed), tmp_path / name)
    a, b, c = (path.read_bytes() for path in sorted(tmp_path.iterdir()))
    assert a == b
    assert a != c


def test_a_model_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(convnet((1, 8, 8), 3, 2), path)
    other = convnet((1, 12, 8), 3, 2)
    before = values(other)
    told = rf"(?s)^{re.escape(str(path))}: .*17\.weight: it is \(3, 16\) and should be \(3, 24\)"
    with pytest.raises(ValueError, match=told):
        load_model(other, path)
    assert_equal_states(values(other), before)


def test_a_model_with_other_names_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(nn.Sequential(linear()), path)
    with pytest.raises(ValueError, match=r'(?s)Missing.*"weight".*Unexpected.*"0\.weight"'):
        load_model(linear(), path)


def safetensors(dtype: str, contents: bytes) -> bytes:
    """A sound file with one array of one value."""
    entry = {"dtype": dtype, "shape": [1], "data_offsets": [0, len(contents)]}
    header = json.dumps({"weight": entry}).encode()
    return struct.pack("<Q", len(header)) + header + contents


@pytest.mark.parametrize(
    ("contents", "told"),
    [
        (b"", "no intact safetensors file"),
        (b"this is something else altogether", "no intact safetensors file"),
        (safetensors("F32", b"\0" * 3), "no intact safetensors file"),
        (safetensors("F32", b"\0" * 4)[:-1], "no intact safetensors file"),
        (safetensors("F8_E5M2", b"\0"), "values of type 'F8_E5M2', which NumPy lacks"),
    ],
)
def test_a_damaged_file_is_refused(contents: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: found {told}"):
        load_model(linear(), path)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "model.safetensors"


@given(data=st.data())
def test_damage_anywhere_is_loaded_or_refused(data: st.DataObject, scratch: Path) -> None:
    save_model(Odd(), scratch)
    contents = bytearray(scratch.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        contents[data.draw(st.integers(0, len(contents) - 1))] = data.draw(st.integers(0, 255))
    scratch.write_bytes(contents[: data.draw(st.integers(0, len(contents)))])
    model = Odd(1)
    before = values(model)
    try:
        load_model(model, scratch)
    except ValueError:
        assert_equal_states(values(model), before)


def test_no_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_model(linear(), tmp_path / "absent.safetensors")
    with pytest.raises(FileNotFoundError):
        save_model(linear(), tmp_path / "absent" / "model.safetensors")
