"""Averages of models: of checkpoints, of statistics of batch norm, of what several models say."""

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_cv as tg
from tinygrad_cv import data, nn, optim, train, viz
from tinygrad_cv.optim.swa_utils import average_states, update_bn

RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(11, 2)) * [1, 5] + [3, 0], RNG.integers(3, size=11)


def net() -> nn.Sequential:
    generator = np.random.default_rng(1)
    first, second = (
        nn.Linear(2, 4, generator=generator),
        nn.Linear(4, 3, generator=generator),
    )
    parts = [nn.BatchNorm1d(2), first, nn.Dropout(0.5), nn.Tanh(), nn.BatchNorm1d(4), second]
    return nn.Sequential(*parts).double()


def fitter(model: nn.Module, lr: float = 0.1) -> train.Trainer:
    return train.Trainer(model, optim.SGD(model.parameters(), lr))


def loader(batch_size: int = 4, **options: Any) -> data.DataLoader:
    return data.DataLoader(data.TensorDataset(X, LABELS), batch_size, **options)


def arrays(model: nn.Module) -> dict[str, Any]:
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


# ----- checkpoints -------------------------------------------------------------------------------


@given(count=st.integers(1, 5), dtype=st.sampled_from(["float16", "float32", "float64"]))
def test_states_are_averaged_number_by_number(count: int, dtype: str) -> None:
    rng = np.random.default_rng(count)
    states: Any = [
        OrderedDict(
            w=tg.tensor(rng.normal(size=(2, 3)).astype(dtype)),
            steps=tg.tensor(10 * k),
            flags=tg.tensor([k % 2 == 0]),
            empty=tg.zeros(0, 2),
        )
        for k in range(count)
    ]
    kept = [state["w"].numpy().copy() for state in states]
    mean = average_states(iter(states))
    assert list(mean) == ["w", "steps", "flags", "empty"]
    expected = np.mean([w.astype("float64") for w in kept], axis=0)
    assert mean["w"].dtype == dtype
    assert_allclose(mean["w"].numpy(), expected, {"float16": 1e-3}.get(dtype, 1e-7), 1e-15)
    assert mean["steps"].item() == 10 * (count - 1)  # those of the last one, never a mean
    assert mean["steps"].dtype == "int64"
    assert mean["flags"].tolist() == [count % 2 == 1]
    mean["w"].zero_()
    assert_array_equal(states[-1]["w"].numpy(), kept[-1])  # and they share no memory


def test_files_and_folders_of_every_kind_are_averaged(tmp_path: Path) -> None:
    model = net()
    callbacks = [train.Checkpoint(tmp_path / "run", every_steps=1, keep=9)]
    fitter(model).fit(loader(), epochs=2, callbacks=callbacks)
    files = sorted((tmp_path / "run").iterdir())
    assert len(files) == 6
    states = [tg.load(file)["model"] for file in files]
    train.save_model(model, tmp_path / "end.safetensors")
    for given_, parts in (
        (tmp_path / "run", states),
        (files[1:3], states[1:3]),
        (
            [files[0], str(tmp_path / "end.safetensors"), model.state_dict()],
            states[:1] + states[-1:] * 2,
        ),
    ):
        mean = train.average_checkpoints(given_)
        other = net()
        other.load_state_dict(mean)
        for name, value in arrays(other).items():
            if name.endswith("tracked"):
                assert value == parts[-1][name].item()
            else:
                expected = np.mean([part[name].numpy() for part in parts], axis=0)
                assert_allclose(value, expected, 1e-12, 1e-12)


@pytest.mark.host
def test_what_cannot_be_averaged_is_told(tmp_path: Path) -> None:
    train.save_model(nn.Linear(2, 3), tmp_path / "a.safetensors")
    train.save_model(nn.Linear(2, 4), tmp_path / "b.safetensors")
    (tmp_path / "c.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    tg.save([1, 2], tmp_path / "d.safetensors")
    a, b, c, d = (tmp_path / f"{name}.safetensors" for name in "abcd")
    for call, error, words in (
        (
            lambda: train.average_checkpoints([a, b]),
            ValueError,
            r"b.*bias is \(4,\) .* weight is \(4, 2\) ",
        ),
        (lambda: average_states([{"w": [1.0]}, {"v": [1.0]}]), ValueError, "has 'v', 'w'"),
        (lambda: train.average_checkpoints([]), ValueError, "no states"),
        (lambda: train.average_checkpoints(tmp_path), ValueError, "no folder with checkpoints"),
        (lambda: train.average_checkpoints({"w": 1}), TypeError, "takes several"),
        (lambda: average_states([[1.0]]), TypeError, "a state is a dict"),
        (lambda: train.average_checkpoints([a, c]), ValueError, "c.safetensors"),
        (lambda: train.average_checkpoints([a, d]), ValueError, "holds a list"),
        (lambda: train.average_checkpoints([a, tmp_path / "none"]), OSError, "none"),
    ):
        with pytest.raises(error, match=words):
            call()  # type: ignore[no-untyped-call]


class Odd(nn.Module):
    """With a state that is no tensor."""

    def get_extra_state(self) -> Any:
        return {"name": "odd"}

    def set_extra_state(self, state: Any) -> None:
        self.name = state["name"]


@pytest.mark.host
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_states_may_be_taken_while_the_model_moves_on(dtype: str) -> None:
    model = nn.Linear(1, 1).to(dtype)

    def states() -> Iterator[Any]:
        for value in (1.0, 2.0, 6.0):
            nn.init.constant_(model.weight, value)
            yield model.state_dict()

    assert average_states(states())["weight"].item() == 3.0


@pytest.mark.host
def test_other_states_are_those_of_the_last() -> None:
    mean = average_states([Odd().state_dict()] * 2)
    Odd().load_state_dict(mean)
    assert mean == {"_extra_state": {"name": "odd"}}


# ----- batch norm --------------------------------------------------------------------------------


def whole_set(model: Any) -> list[tuple[Any, Any]]:
    """The statistics of both layers, as NumPy works them out: dropout does nothing in a test."""
    state = arrays(model)
    mean, var = X.mean(axis=0), X.var(axis=0, ddof=1)
    first = (X - mean) / np.sqrt(var + 1e-5) * state["0.weight"] + state["0.bias"]
    h = np.tanh(first @ state["1.weight"].T + state["1.bias"])
    return [(mean, var), (h.mean(axis=0), h.var(axis=0, ddof=1))]


@pytest.mark.parametrize("batch_size", [1, 4, 11])
def test_exact_statistics_are_those_of_the_whole_set(batch_size: int) -> None:
    model = net()
    model[0].train()
    model[4].eval()
    modes = [module.training for module in model.modules()]
    update_bn(loader(batch_size), model, exact=True)
    for layer, (mean, var) in zip((model[0], model[4]), whole_set(model), strict=True):
        assert_allclose(layer.running_mean.numpy(), mean, 1e-10, 1e-12)
        assert_allclose(layer.running_var.numpy(), var, 1e-10, 1e-12)
    assert [module.training for module in model.modules()] == modes


def test_exact_statistics_of_images_and_of_one_layer_used_twice() -> None:
    images = RNG.normal(size=(5, 3, 4, 2))
    norm = nn.BatchNorm2d(3).double()
    update_bn([tg.tensor(images[:2]), tg.tensor(images[2:])], norm, exact=True)
    assert_allclose(norm.running_mean.numpy(), images.mean(axis=(0, 2, 3)), 1e-12, 1e-12)
    assert_allclose(norm.running_var.numpy(), images.var(axis=(0, 2, 3), ddof=1), 1e-12)
    twice = nn.Sequential(norm, norm)
    seen: list[Any] = []
    with norm.register_forward_pre_hook(
        lambda layer, inputs: seen.append(inputs[0].detach().numpy())
    ):
        twice.eval()(tg.tensor(images))
    update_bn([tg.tensor(images)], twice, exact=True)
    assert_allclose(norm.running_mean.numpy(), np.mean(seen, axis=(0, 1, 3, 4)), 1e-10, 1e-12)


@pytest.mark.host
@pytest.mark.parametrize("exact", [False, True])
def test_statistics_of_a_compiled_model_are_those_of_the_model(exact: bool) -> None:
    plain, other = net(), net()
    plain[2], other[2] = nn.Identity(), nn.Identity()  # for the dropout
    for model in (plain, tg.compile(other)):
        model.eval()
        model(tg.tensor(X[:4]))
        model.train()
        model(tg.tensor(X[:4]))  # of which there is a program
        update_bn(loader(), model, exact=exact)
    for name, values in arrays(plain).items():
        assert_allclose(arrays(other)[name], values, 1e-12)


@pytest.mark.host
def test_what_exact_statistics_need_is_told() -> None:
    model, plain = net(), nn.Linear(2, 2)
    with pytest.raises(ValueError, match="asked once for each layer"):
        update_bn(iter(loader()), model, exact=True)
    with pytest.raises(ValueError, match="no samples"):
        update_bn([], model, exact=True)
    update_bn(iter(()), plain, exact=True)
    with pytest.raises(ValueError, match="has no batches"):
        fitter(model).update_bn([])
    tracking: Any = nn.InstanceNorm1d(2, track_running_stats=True)
    update_bn([tg.ones(1, 2, 3)], tracking, exact=True)
    assert tracking.running_mean.tolist() == [0, 0]  # it has no whole set


def test_a_trainer_measures_them_for_the_averaged_weights() -> None:
    """Buffers of an average are those of other weights until then; no random number is used."""
    ends = []
    for callbacks in (
        [train.MovingAverage(0.9, use=True), train.UpdateBN()],
        [train.MovingAverage(0.9, use=True)],
    ):
        model, generator = net(), tg.manual_seed(3)
        shuffled = loader(shuffle=True, generator=generator)
        fitter(model).fit(shuffled, epochs=2, callbacks=callbacks)
        ends.append((arrays(model), tg.rand(2).tolist()))
        means = [model[0].running_mean, model[4].running_mean]
        for found, (mean, _) in zip(means, whole_set(model), strict=True):
            measured = len(callbacks) == 2
            assert np.allclose(found.numpy(), mean, 1e-10, 1e-12) == measured
    assert ends[0][1] == ends[1][1]
    assert_array_equal(ends[0][0]["1.weight"], ends[1][0]["1.weight"])


@pytest.mark.host
def test_a_trainer_measures_a_model_in_half_precision() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 3)).half()
    trainer = train.Trainer(model, optim.SGD(model.parameters(), 0.1), amp=True)
    samples = data.TensorDataset(X.astype("float32"), LABELS)
    trainer.fit(data.DataLoader(samples, 4), callbacks=[train.UpdateBN()])
    assert_allclose(model[0].running_mean.numpy(), X.mean(axis=0), 2e-3)


@pytest.mark.host
def test_a_moving_average_begins_with_the_initial_weights() -> None:
    """x_test = 0.995·x_test + 0.005·x: after 1,000 steps 0.995¹⁰⁰⁰ = 0.7 % of them are left."""
    weight = nn.Parameter(tg.ones(1, dtype=tg.float64))
    model = nn.ParameterList([weight])
    trainer = train.Trainer(
        nn.Sequential(nn.Linear(2, 3)), optim.SGD([weight], lr=1.0), lambda outputs, labels: outputs
    )
    trainer.model, average = model, train.MovingAverage(0.995)
    average.on_fit_start(trainer)
    nn.init.zeros_(weight)
    for _ in range(1000):
        average.on_step(trainer)
    assert average.averaged is not None
    assert average.averaged.module[0].item() == pytest.approx(0.995**1000)  # type: ignore[index]


@pytest.mark.host
def test_a_lazy_model_has_nothing_to_average_yet() -> None:
    lazy = nn.LazyLinear(3)
    trainer = train.Trainer(lazy, optim.SGD(lazy.parameters(), lr=0.1))
    with pytest.raises(ValueError, match="run the model once before"):
        trainer.fit(loader_of_floats(), callbacks=[train.MovingAverage()])


@pytest.mark.host
def test_a_moving_average_may_come_to_a_run_that_goes_on(tmp_path: Path) -> None:
    def fit(epochs: int, *callbacks: Any) -> train.Trainer:
        model = nn.Linear(2, 3)
        trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.1))
        every = [*callbacks, train.Checkpoint(tmp_path)]
        trainer.fit(loader_of_floats(), epochs=epochs, callbacks=every, resume=tmp_path)
        return trainer

    average = train.MovingAverage(0.9)
    fit(1)
    trainer = fit(2, average)
    assert trainer.resumed
    assert average.averaged is not None
    assert average.averaged.n_averaged.item() == 1 + trainer.step - trainer.step // 2


# ----- several models ----------------------------------------------------------------------------


def members(outputs: int = 3) -> list[nn.Module]:
    generator = np.random.default_rng(2)
    return [
        nn.Linear(2, outputs, generator=generator),
        nn.Sequential(
            nn.Linear(2, 5, generator=generator),
            nn.Tanh(),
            nn.Linear(5, outputs, generator=generator),
        ),
    ]


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def softmax(x: Any) -> Any:
    return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)


def test_an_ensemble_says_the_mean_of_what_its_members_say() -> None:
    x, labels = tg.tensor(X.astype("float32")), tg.tensor(LABELS)
    given_ = members()
    each = [member(x).detach().numpy().astype("float64") for member in given_]
    mean = np.mean([softmax(scores) for scores in each], axis=0)
    ensemble = train.Ensemble(given_)
    assert_allclose(softmax(ensemble(x).detach().numpy()), mean, 1e-5)
    loss = tg.cross_entropy(ensemble(x), labels).item()
    assert loss == pytest.approx(-np.log(mean[np.arange(11), LABELS]).mean(), rel=1e-5)
    logits = train.Ensemble(given_, "sigmoid")(x).detach().numpy()
    assert_allclose(sigmoid(logits), np.mean([sigmoid(s) for s in each], axis=0), 1e-5)
    outputs = train.Ensemble(given_, mean_of="outputs")(x)
    assert_allclose(outputs.detach().numpy(), np.mean(each, axis=0), 1e-5)
    rows = data.DataLoader(data.TensorDataset(x, labels), 4)
    accuracy = fitter(ensemble).evaluate(rows)
    assert accuracy == pytest.approx((mean.argmax(axis=1) == LABELS).mean())
    one = train.Ensemble(given_[:1])
    assert_allclose(softmax(one(x).detach().numpy()), softmax(each[0]), 1e-5)


class Far(nn.Module):
    """Scores far beyond what exp can say, of pixels."""

    def __init__(self, sign: float) -> None:
        self.sign = sign

    def forward(self, x: Any) -> Any:
        return {"out": self.sign * 1000 * x, "aux": x.sum()}


def test_an_ensemble_stands_extremes_pixels_and_several_outputs() -> None:
    x = tg.tensor(np.stack([np.ones((2, 4, 4)), -np.ones((2, 4, 4))], axis=1).astype("float32"))
    x.requires_grad_()
    scores = train.Ensemble([Far(1.0), Far(-1.0), Far(1.0)])(x)
    assert_allclose(np.exp(scores.detach().numpy())[:, :, 0, 0], [[2 / 3, 1 / 3]] * 2, 1e-4)
    logits = train.Ensemble([Far(1.0), Far(-1.0), Far(1.0)], "sigmoid")(x)
    assert_allclose(logits.detach().numpy()[0, 0], np.full((4, 4), np.log(2)), 1e-4)
    (scores.sum() + logits.sum()).backward()
    assert x.grad is not None
    assert x.grad.isfinite().all().item()


@pytest.mark.host
def test_an_ensemble_is_a_module(tmp_path: Path) -> None:
    ensemble = train.Ensemble(members())
    assert list(ensemble.state_dict())[:3] == [
        "members.0.weight",
        "members.0.bias",
        "members.1.0.weight",
    ]
    train.save_model(ensemble, tmp_path / "both.safetensors")
    other = train.Ensemble([nn.Linear(2, 3), members()[1]])
    train.load_model(other, tmp_path / "both.safetensors")
    x = tg.tensor(X.astype("float32"))
    assert other(x).equal(ensemble(x))
    assert "mean_of='softmax'" in repr(ensemble)
    assert not any(part.training for part in ensemble.eval().modules())
    assert viz.draw(ensemble(x)).source.count(" Linear ") >= 3
    [first, last] = fitter(ensemble).fit(loader_of_floats(), epochs=2)
    assert last["loss"] < first["loss"]  # it can learn as a whole


def loader_of_floats() -> data.DataLoader:
    return data.DataLoader(data.TensorDataset(X.astype("float32"), LABELS), 4)


@pytest.mark.host
def test_what_is_no_ensemble_is_told() -> None:
    x = tg.ones(1, 2)
    for call, error, words in (
        (lambda: train.Ensemble([]), ValueError, "at least one"),
        (lambda: train.Ensemble(nn.Linear(1, 1)), TypeError, "got one Linear"),
        (lambda: train.Ensemble([nn.Linear]), TypeError, "are models"),
        (lambda: train.Ensemble(members(), "mean"), ValueError, "one of 'softmax'"),
        (lambda: train.Ensemble([*members(3), *members(4)])(x), ValueError, "of one shape"),
        (lambda: train.Ensemble(members(1))(x), ValueError, "two classes or more"),
        (lambda: train.Ensemble([nn.Identity()])([]), TypeError, "give tensors; got a list"),
    ):
        with pytest.raises(error, match=words):
            call()  # type: ignore[no-untyped-call]
    assert len(train.Ensemble(nn.ModuleList(members())).members) == 2
