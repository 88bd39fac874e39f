"""The babysitter: each planted mistake is named, and a healthy run gives nothing but notes."""

import contextlib
import math
import pickle
import re
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import numpy as np
import pytest

import tinygrad_cv as tg
from ranks import on_ranks
from tinygrad_cv import data, nn, optim, train
from tinygrad_cv.data import DataLoader, TensorDataset
from tinygrad_cv.distributed import collectives
from tinygrad_cv.train import Health, Trainer, health
from tinygrad_cv.train import ranks as ranks_of_fits
from tinygrad_cv.train.health import Finding, check, expected_loss

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("one_blas_thread")]

SPLITS = data.load_dataset("digits")
X = (SPLITS.train_images - SPLITS.train_images.mean(axis=0)).reshape(-1, 64)
LABELS = SPLITS.train_labels
SHUFFLED = np.random.default_rng(5).permutation(LABELS)


def mlp(*more: nn.Module, hidden: int = 30, outputs: int = 10) -> nn.Sequential:
    rng = np.random.default_rng(1)
    first = nn.Linear(64, hidden, generator=rng)
    last = nn.Linear(hidden, outputs, generator=rng)
    return nn.Sequential(first, nn.ReLU(), last, *more)


def normed() -> nn.Sequential:
    model = mlp()
    return nn.Sequential(model[0], nn.BatchNorm1d(30), nn.ReLU(), nn.Dropout(0.2), model[2])


def kinds(findings: list[Finding], *levels: str) -> list[str]:
    """The kinds of the findings that are worse than a note, or of some levels."""
    return [f.kind for f in findings if f.level in (levels or ("error", "warning"))]


def looped(
    model: Any,
    steps: int = 40,
    *,
    inputs: Any = X,
    labels: Any = LABELS,
    lr: float = 0.1,
    optimizer: Any = None,
    loss_fn: Callable[..., Any] = tg.cross_entropy,
    zero_grad: bool = True,
    after: Callable[[int], object] = lambda step: None,
    **options: Any,
) -> Health:
    """A loop of one's own, looked at."""
    rng = np.random.default_rng(0)
    optimizer = optimizer or optim.SGD(model.parameters(), lr)
    looks = Health(model, **options)
    for step in range(steps):
        rows = rng.integers(len(inputs), size=50)
        with looks.step():
            if zero_grad:
                optimizer.zero_grad()
            loss_fn(model(tg.tensor(inputs[rows])), tg.tensor(labels[rows])).backward()
            optimizer.step()
        after(step)
    return looks


def fitted(
    model: Any,
    epochs: int = 3,
    *,
    labels: Any = LABELS,
    lr: float = 0.1,
    looks: Health | None = None,
    batch: int = 64,
    resume: Any = None,
    callbacks: Any = (),
    **options: Any,
) -> tuple[Health, Trainer]:
    """A fit of a Trainer, looked at."""
    trainer = Trainer(model, optim.SGD(model.parameters(), lr), **options)
    looks = looks or Health()
    loader = DataLoader(
        TensorDataset(X[:500], labels[:500]),
        batch,
        shuffle=True,
        generator=np.random.default_rng(3),
    )
    validation = DataLoader(TensorDataset(X[500:600], labels[500:600]), 100)
    with contextlib.suppress(train.DivergenceError):
        trainer.fit(loader, validation, epochs, callbacks=[looks, *callbacks], resume=resume)
    return looks, trainer


# ----- findings ----------------------------------------------------------------------------------


def test_a_finding_is_plain_data() -> None:
    finding = Finding("gap", "note", "seen", "means", "try", "deck", 3, "1 (ReLU)", "1")
    assert Finding(**finding.to_dict()) == finding
    assert str(finding).splitlines()[0] == "note: gap at step 3, in 1 (ReLU)"
    with pytest.raises(ValueError, match="level is one of error, warning, note; got 'bad'"):
        Finding("gap", "bad", "", "", "", "")  # type: ignore[arg-type]


def test_every_kind_says_what_it_means_and_where_it_is_taught() -> None:
    for name, kind in health.kinds.KINDS.items():
        assert all((kind.means, kind.remedy, kind.source)), name


# ----- before ------------------------------------------------------------------------------------

ROWS = tg.tensor([3, 1, 4, 1, 5, 9, 2, 6], device="cpu").numpy()


@pytest.mark.parametrize(
    ("loss_fn", "last", "expected"),
    [
        (tg.cross_entropy, None, math.log(10)),
        (nn.CrossEntropyLoss(label_smoothing=0.1), None, math.log(10)),
        (tg.svm_loss, None, 9.0),
        (tg.one_vs_all_logistic_loss, None, 10 * math.log(2)),
        (tg.nll_loss, nn.LogSoftmax(dim=1), math.log(10)),
        (lambda s, y: tg.mse_loss(s, tg.one_hot(y, num_classes=10).float()), None, 0.1),
        (
            lambda s, y: tg.binary_cross_entropy(s, tg.one_hot(y, num_classes=10).float()),
            nn.Sigmoid(),
            math.log(2),
        ),
        (lambda s, y: tg.cross_entropy(s, y, reduction="sum"), None, 8 * math.log(10)),
    ],
)
def test_the_expected_loss_is_that_of_scores_of_zero(
    loss_fn: Any, last: nn.Module | None, expected: float
) -> None:
    scores = (5 * tg.randn(8, 10)).requires_grad_()
    outputs = scores if last is None else last(scores)
    assert expected_loss(loss_fn, outputs, tg.tensor(ROWS)) == pytest.approx(expected, rel=1e-5)


def test_the_expected_loss_of_weighted_classes_and_of_segmentation() -> None:
    weighted = nn.CrossEntropyLoss(weight=tg.arange(1, 11).float())
    assert expected_loss(weighted, tg.randn(8, 10), tg.tensor(ROWS)) == pytest.approx(math.log(10))
    maps, labels = tg.randn(2, 3, 4, 4), tg.randint(3, (2, 4, 4))
    assert expected_loss(tg.cross_entropy, maps, labels) == pytest.approx(math.log(3), rel=1e-5)


def batch_of(count: int = 200, labels: Any = LABELS, scale: float = 1.0) -> list[Any]:
    return [(tg.tensor(scale * X[:count]), tg.tensor(labels[:count]))]


class Detached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 30), nn.Linear(30, 10)

    def forward(self, x: Any) -> Any:
        return self.last(self.first(x).relu().detach())


def equal(value: float) -> nn.Module:
    model = mlp()
    for parameter in model.parameters():
        nn.init.constant_(parameter, value)
    return model


def summed(scores: Any, labels: Any) -> Any:
    return tg.cross_entropy(scores, labels, reduction="sum")


def raw(batches: list[Any]) -> list[Any]:
    return [((x + 0.3) * 255, y) for x, y in batches]


@pytest.mark.parametrize(
    ("model", "loss_fn", "batches", "expected"),
    [
        (mlp, tg.cross_entropy, batch_of, set()),
        (normed, tg.cross_entropy, batch_of, set()),
        (mlp, lambda s, y: summed(s, y) / len(y), batch_of, set()),
        (lambda: mlp(nn.Softmax(dim=1)), tg.cross_entropy, batch_of, {"softmax_twice"}),
        (lambda: mlp(nn.LogSoftmax(dim=1)), tg.cross_entropy, batch_of, set()),
        (lambda: equal(0.1), tg.cross_entropy, batch_of, {"symmetry"}),
        (lambda: equal(0.0), tg.cross_entropy, batch_of, {"symmetry"}),
        (Detached, tg.cross_entropy, batch_of, {"no_gradient"}),
        (mlp, summed, batch_of, {"loss_summed"}),
        (mlp, tg.cross_entropy, lambda: batch_of(labels=SHUFFLED), {"labels_shuffled"}),
        (lambda: mlp(outputs=9), tg.cross_entropy, batch_of, {"labels_out_of_range"}),
        (
            mlp,
            tg.cross_entropy,
            lambda: raw(batch_of()),
            {"inputs_not_centred", "loss_at_start"},
        ),
        (mlp, tg.cross_entropy, lambda: batch_of(scale=math.nan), {"inputs_not_finite"}),
    ],
)
def test_what_is_wrong_before_the_training(
    model: Any, loss_fn: Any, batches: Any, expected: set[str]
) -> None:
    found = kinds(check(model(), loss_fn, batches(), steps=0))
    assert set(found) == expected


def test_a_few_samples_must_be_learned_by_heart() -> None:
    assert not kinds(check(mlp(), loader=batch_of()))
    found = [f for f in check(equal(0.0), loader=batch_of(), steps=40) if f.kind != "symmetry"]
    assert [(f.kind, f.level) for f in found] == [("cannot_overfit", "error")]


def test_other_losses_are_fine_before_the_training() -> None:
    def hot(labels: Any) -> Any:
        return tg.one_hot(labels, num_classes=10).float()

    for loss_fn in (
        tg.svm_loss,
        lambda s, y: tg.mse_loss(s, hot(y)),
        lambda s, y: tg.binary_cross_entropy_with_logits(s, hot(y)),
    ):
        assert not kinds(check(mlp(), loss_fn, batch_of(50)))
    twice = check(
        mlp(nn.Sigmoid()),
        lambda s, y: tg.binary_cross_entropy_with_logits(s, hot(y)),
        batch_of(50),
        steps=0,
    )
    assert kinds(twice) == ["softmax_twice"]


def test_segmentation_regression_and_float64_are_fine() -> None:
    tg.manual_seed(0)
    images = tg.randn(6, 3, 8, 8)
    parts = (images.sum(dim=1) > 0).long()
    seen = check(nn.Conv2d(3, 2, 3, padding=1), tg.cross_entropy, [(images, parts)], steps=20)
    assert not kinds(seen, "warning")
    parts[:, :2] = 255
    ignoring = nn.CrossEntropyLoss(ignore_index=255)
    assert not kinds(check(nn.Conv2d(3, 2, 1), ignoring, [(images, parts)], steps=0))
    found = check(nn.Conv2d(3, 2, 1), tg.cross_entropy, [(images, parts)], steps=0)
    assert "labels_out_of_range" in kinds(found)
    points = tg.randn(100, 3, dtype="float64")
    line = nn.Linear(3, 1).double()
    assert not kinds(check(line, nn.MSELoss(), [(points, 2 * points[:, :1] - 1)]))
    assert not kinds(check(line, nn.MSELoss(), [(points[:1], points[:1, :1])]))


def test_of_probabilities_one_channel_may_go_on_and_targets_may_be_large() -> None:
    found = check(
        mlp(nn.Sigmoid()),
        lambda s, y: tg.binary_cross_entropy_with_logits(s[:, 1], (y == 1).float()),
        batch_of(50),
        steps=0,
    )
    assert kinds(found) == ["softmax_twice"]
    targets = 3000 * tg.randn(20, 1, generator=np.random.default_rng(0))
    found = check(mlp(outputs=1), tg.mse_loss, [(tg.tensor(X[:20]), targets)], steps=100)
    assert [(f.kind, f.level) for f in found] == [("cannot_overfit", "note")]


def test_labels_of_far_or_of_rare_ones_cannot_be_told_by_neighbours() -> None:
    def told(inputs: Any, labels: Any, loss_fn: Any = tg.cross_entropy) -> list[str]:
        return kinds(check(nn.Linear(inputs.shape[1], 2), loss_fn, [(inputs, labels)], steps=0))

    rng = np.random.default_rng(0)
    many = tg.tensor(rng.normal(size=(300, 600)).astype("float32"))
    assert not told(many, (many[:, :300].sum(dim=1) > 0).long())  # the nearest is far, too
    few = tg.tensor(X[:300])
    rare = np.arange(300) % 60 == 0
    assert not told(few, tg.tensor(rare.astype("int64")))
    odd = (LABELS[:300] % 2).astype("float32")
    for labels, expected in ((odd, []), (rng.permutation(odd), ["labels_shuffled"])):
        found = check(
            mlp(outputs=1),
            tg.binary_cross_entropy_with_logits,
            [(few, tg.tensor(labels[:, None]))],
            steps=0,
        )
        assert kinds(found) == expected


def test_of_a_loss_that_is_not_known_the_data_alone_are_looked_at() -> None:
    net = mlp(nn.Softmax(dim=1), outputs=1)  # which cross-entropy has nothing to say to
    assert not check(net, None, batch_of())
    assert kinds(check(net, None, batch_of(labels=SHUFFLED))) == ["labels_shuffled"]


def test_the_loss_must_rise_with_the_regularization() -> None:
    model = mlp()

    def decayed(strength: float) -> Any:
        def loss(scores: Any, labels: Any) -> Any:  # of the first model, whose weights are equal
            weights = sum((p**2).sum() for p in model.parameters() if p.ndim > 1)
            return tg.cross_entropy(scores, labels) + strength / 2 * weights

        return loss

    def forgotten(strength: float) -> Any:
        return tg.cross_entropy

    assert not kinds(check(model, loader=batch_of(), regularized=decayed, steps=0))
    found = check(model, loader=batch_of(), regularized=forgotten, steps=0)
    assert kinds(found) == ["regularization_missing"]
    decay = optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    found = check(model, loader=batch_of(), optimizer=decay, steps=0)
    assert kinds(found, "note") == ["weight_decay"]


def test_a_check_leaves_everything_as_it_was() -> None:
    model = normed()
    optimizer = optim.Adam(model.parameters())
    loader = DataLoader(TensorDataset(X[:80], LABELS[:80]), 40, shuffle=True)
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    state = tg.get_rng_state()
    check(model.train(), loader=loader, optimizer=optimizer, steps=3)
    assert all((value.numpy() == before[name]).all() for name, value in model.state_dict().items())
    assert (tg.get_rng_state().numpy() == state.numpy()).all()
    assert all(p.grad is None for p in model.parameters())
    assert model.training
    assert not optimizer.state
    with pytest.raises(ValueError, match="the loader has no batches"):
        check(model, loader=[])


# ----- during ------------------------------------------------------------------------------------


def test_a_healthy_loop_and_a_healthy_fit_give_notes_at_most() -> None:
    assert not kinds(looped(mlp()).findings)
    assert not kinds(looped(normed()).findings)
    for options in ({"compile": True}, {"accumulate": 3, "clip_grad_norm": 1.0}):
        looks, _ = fitted(normed(), **options)
        assert not kinds(looks.findings), looks.report()
    assert "labels_shuffled" not in kinds(looped(mlp(), lr=0.0).findings)


@pytest.mark.parametrize(
    ("model", "options", "expected"),
    [
        (mlp, {"lr": 1e-6}, {"loss_not_moving"}),
        (mlp, {"zero_grad": False, "lr": 0.01}, {"no_zero_grad"}),
        (lambda: mlp(nn.Softmax(dim=1)), {}, {"softmax_twice"}),
        (Detached, {}, {"no_gradient"}),
        (lambda: normed().eval(), {}, {"eval_mode"}),
        (mlp, {"loss_fn": summed, "lr": 1e-3}, {"loss_summed"}),
        (mlp, {"labels": SHUFFLED}, {"labels_shuffled"}),
        (mlp, {"inputs": (X + 0.3).astype("float32") * 255, "lr": 1e-4}, {"inputs_not_centred"}),
    ],
)
def test_a_mistake_in_a_loop_is_named_alone(model: Any, options: Any, expected: set[str]) -> None:
    assert set(kinds(looped(model(), **options).findings)) == expected


def test_steps_that_update_nothing_are_named() -> None:
    def told(loss_fn: Any = tg.cross_entropy, **options: Any) -> list[str]:
        return kinds(looped(mlp(), 30, loss_fn=loss_fn, **options).findings)

    other = optim.SGD(mlp().parameters(), 0.1)
    assert told(optimizer=other, zero_grad=False) == ["no_update"]
    looks = Health(model := mlp())
    for step in range(60):
        with looks.step():  # no backward pass, and then by hand
            loss = tg.cross_entropy(model(tg.tensor(X[:50])), tg.tensor(LABELS[:50]))
            if step >= 30:
                gradients = tg.autograd.grad(loss, [*model.parameters()])
                with tg.no_grad():
                    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                        parameter -= 0.05 * gradient
        if step == 29:
            [finding] = [f for f in looks.findings if f.level != "note"]
            assert finding.kind == "no_update"
            assert "no backward pass began" in finding.seen
    assert not kinds(looks.findings)


class Tokens(nn.Module):
    """A parameter that begins at 0, as the class token of a transformer: all of it is updates."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.net = nn.Parameter(tg.zeros(1, 64)), mlp()

    def forward(self, x: Any) -> Any:
        return self.net(x + self.token)


def test_what_began_at_0_has_no_size() -> None:
    last = nn.Linear(64, 10)
    nn.init.zeros_(last.weight)
    for model in (Tokens(), last):
        looks = looped(model, lr=1e-6)
        assert kinds(looks.findings) == ["loss_not_moving"]
        assert "token" not in looks.report()
        assert not kinds(looped(model).findings)


def test_losses_that_batches_throw_about_do_not_move_either() -> None:
    """The mean of noise is not 0; of a rate of 1e-6 nothing falls, whatever the draw."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        points = rng.normal(size=(400, 6)).astype("float32")
        values = 3 * rng.normal(size=(400, 1)).astype("float32")
        model = nn.Linear(6, 1, generator=rng)
        looks = looped(model, inputs=points, labels=values, lr=1e-6, loss_fn=tg.mse_loss)
        assert kinds(looks.findings) == ["loss_not_moving"], seed


def test_a_loss_is_summed_one_by_one_too() -> None:
    def of_each(scores: Any, labels: Any) -> Any:
        return sum(tg.cross_entropy(scores[i : i + 1], labels[i : i + 1]) for i in range(50))

    def doubled(scores: Any, labels: Any) -> Any:  # 2^40 ways lead to the loss
        loss = tg.cross_entropy(scores, labels)
        for _ in range(40):
            loss = (loss + loss) * 0.5
        return loss

    assert "loss_summed" in kinds(looped(mlp(), 2, loss_fn=of_each, lr=1e-3).findings)
    mean = looped(mlp(), 2, loss_fn=lambda s, y: of_each(s, y) / 50)
    assert not kinds(mean.findings)
    assert not kinds(looped(mlp(), 2, loss_fn=doubled).findings)


def test_a_bias_that_is_taken_away_again_is_a_note() -> None:
    model = mlp()
    looks = looped(model, 8, loss_fn=lambda s, y: (s[:25] - s[25:]).square().mean(), lr=0.01)
    [finding] = [f for f in looks.findings if f.kind == "no_gradient"]
    assert (finding.level, finding.key) == ("note", "2")
    assert finding.seen.startswith("2.bias got only gradients that are exactly 0")


def test_one_class_for_all_is_a_note_where_nearly_all_are_it() -> None:
    rare = (np.arange(len(LABELS)) % 12 == 0).astype("int64")
    looks = looped(mlp(outputs=2), labels=rare, lr=0.03, every=2)
    assert not kinds(looks.findings), looks.report()
    [finding] = [f for f in looks.findings if f.kind == "constant_predictions"]
    assert "taken for class 0" in finding.seen
    assert re.search(r"9\d% of all are it", finding.seen)


class Hidden(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        inner = nn.Linear(64, 30)
        self.inner, self.last = lambda: inner, nn.Linear(30, 10)

    def forward(self, x: Any) -> Any:
        return self.last(self.inner()(x).relu())


class Unrecorded(Detached):
    def forward(self, x: Any) -> Any:
        with tg.no_grad():
            hidden = self.first(x).relu()
        return self.last(hidden)


def test_layers_that_nobody_updates() -> None:
    [finding] = [f for f in looped(Hidden()).findings if f.kind == "not_registered"]
    assert finding.level == "note"
    assert "(30, 64)" in finding.seen
    for model in (Detached(), Unrecorded()):
        [finding] = [f for f in looped(model).findings if f.level != "note"]
        assert (finding.kind, finding.key) == ("no_gradient", "first")
        assert finding.seen.endswith("its layer was called, and what it gave is detached")


def test_equal_weights_are_named() -> None:
    for value in (0.0, 0.1):
        assert "symmetry" in kinds(looped(equal(value)).findings, "error")
    fresh = mlp()
    nn.init.zeros_(fresh[2].weight)  # the last layer may begin at 0: its units have other labels
    assert "symmetry" not in kinds(looped(fresh).findings)


def test_a_rate_is_too_high_for_a_regression_too() -> None:
    sine = np.sin(X[:, :1] + X[:, 9:10])
    looks = looped(mlp(outputs=1), 2, labels=sine, loss_fn=tg.mse_loss, lr=30.0)
    assert set(kinds(looks.findings)) >= {"rate_too_high", "cost_exploded"}, looks.report()


def test_a_rate_that_is_too_high_ends_the_fit() -> None:
    looks, trainer = fitted(mlp(), lr=30.0, epochs=5)
    assert kinds(looks.findings, "error") == ["cost_exploded"]
    assert trainer.should_stop
    assert looks.should_stop
    assert trainer.step < 20
    patient, trainer = fitted(mlp(), lr=30.0, epochs=2, looks=Health(stop=False))
    assert trainer.step == 16
    assert "cost_exploded" in kinds(patient.findings)


class Rooted(nn.Module):
    """0 · √0: a forward pass that is finite, and a gradient that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(64, 10)

    def forward(self, x: Any) -> Any:
        return self.inner(x) + ((self.inner.weight * 0).sqrt() * 0).sum()


class Logged(Rooted):
    def forward(self, x: Any) -> Any:
        return self.inner(x).log()


@pytest.mark.parametrize(
    ("model", "when", "op"), [(Rooted, "backward", "sqrt"), (Logged, "forward", "log")]
)
@pytest.mark.parametrize("compile", [False, True])
def test_a_nan_is_traced_to_the_op_that_made_it(
    model: Any, when: str, op: str, compile: bool
) -> None:
    with pytest.raises(RuntimeError, match=op):
        looped(model(), 3)
    looks, _ = fitted(model(), compile=compile)
    [finding] = [f for f in looks.findings if f.kind == "not_finite"]
    assert finding.step == 0
    assert finding.level == "error"
    assert finding.seen.startswith(f"{when}: ")
    assert op in finding.seen
    assert "at [0, " in finding.seen
    assert model.__name__ in finding.where
    assert "test_health.py:" in finding.where


def test_a_loop_that_is_not_to_stop_is_told_of_the_nan_too() -> None:
    looks = looped(Rooted(), 3, stop=False)
    assert kinds(looks.findings) == ["not_finite"]
    assert looks.should_stop
    assert looks.findings[0].key == "inner.weight"


def test_units_are_dead_over_all_samples_or_not_at_all() -> None:
    model = mlp()
    with tg.no_grad():
        model[0].weight[:15] = 0.0
        model[0].bias[:15] = -1.0
    looks = looped(model)
    [finding] = [f for f in looks.findings if f.kind == "dead_units"]
    assert (finding.level, finding.key) == ("warning", "1")
    assert finding.seen.startswith("15 of 30 units (50%)")
    assert finding.where.startswith("1 (ReLU), test_health.py:")
    # Units that each wake for one of four batches only are dead in every single one, and alive.
    wakes = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    with tg.no_grad():
        wakes[0].weight.copy_(tg.eye(4))
        wakes[0].bias.fill_(-0.5)
    turns = [(tg.eye(4)[[i] * 10], tg.tensor([0, 1] * 5)) for i in range(4)]
    trainer = Trainer(wakes, optim.SGD(wakes.parameters(), 0.0))
    trainer.fit(turns, epochs=2, callbacks=[quiet := Health()])
    assert "dead_units" not in [f.kind for f in quiet.findings]


def test_a_unit_is_a_channel_of_a_sequence_and_a_feature_of_a_set() -> None:
    for layer, axes in ((nn.Conv1d(4, 6, 1), (0, 2)), (nn.Linear(4, 6), (0, 1))):
        with tg.no_grad():
            layer.weight[:4] = 0.0
            layer.bias[:4] = -1.0
            layer.bias[4:] = 3.0
        model = nn.Sequential(layer, nn.ReLU())
        optimizer = optim.SGD(model.parameters(), 1e-3)
        looks = Health(model)
        for _ in range(12):
            with looks.step():
                optimizer.zero_grad()
                model(tg.randn(5, 4, 4)).mean(dim=axes).square().mean().backward()
                optimizer.step()
        [dead] = [f for f in looks.findings if f.kind == "dead_units"]
        assert dead.seen.startswith("4 of 6 units")


def test_saturated_units_are_named() -> None:
    model = nn.Sequential(nn.Linear(64, 30), nn.Tanh(), nn.Linear(30, 10))
    assert not kinds(looped(model).findings)
    with tg.no_grad():
        model[0].weight.mul_(50)
    assert "saturated" in kinds(looped(model, lr=0.01).findings)


def test_modes_of_batch_norm() -> None:
    def validated(model: nn.Module, right: bool) -> Callable[[int], object]:
        def after(step: int) -> None:
            if step % 10 == 5:
                model.train(not right)
                with tg.no_grad():
                    model(tg.tensor(X[:50]))
                model.train()

        return after

    for right, expected in ((True, []), (False, ["train_mode"])):
        model = normed()
        assert kinds(looped(model, after=validated(model, right)).findings) == expected
    frozen = normed()
    looped(frozen, 2)
    frozen[1].eval().requires_grad_(False)  # as in fine-tuning
    assert not kinds(looped(frozen).findings)
    new = normed()
    new[1].eval()  # its statistics are of no batch
    looks, _ = fitted(new)
    [finding] = [f for f in looks.findings if f.kind == "eval_mode"]
    assert finding.key == "1"
    assert finding.where.startswith("1 (BatchNorm1d), test_health.py:")


def test_schedules() -> None:
    def run(schedule: Any, step: Callable[[Any, int], object]) -> list[str]:
        model = mlp()
        optimizer = optim.SGD(model.parameters(), 0.1)
        made = schedule(optimizer)
        seen = looped(model, optimizer=optimizer, after=lambda i: step(made, i))
        return kinds(seen.findings)

    lr = optim.lr_scheduler
    assert run(lambda o: lr.StepLR(o, 5), lambda s, i: None) == ["scheduler_never_stepped"]
    assert not run(lambda o: lr.StepLR(o, 5), lambda s, i: i % 10 or s.step())
    assert not run(lambda o: lr.StepLR(o, 99), lambda s, i: s.step())
    twice = run(lambda o: lr.StepLR(o, 99), lambda s, i: [s.step(), s.step()])
    assert twice == ["scheduler_too_often"]
    both = run(
        lambda o: lr.SequentialLR(o, [lr.LinearLR(o), lr.StepLR(o, 99)], [99]),
        lambda s, i: s.step(),
    )
    assert not both
    model = mlp()
    optimizer = optim.SGD(model.parameters(), 0.1)
    forgotten = lr.ExponentialLR(optimizer, 0.9)
    trainer = Trainer(model, optimizer)
    loader = [(tg.tensor(X[:50]), tg.tensor(LABELS[:50]))] * 3
    trainer.fit(loader, epochs=2, callbacks=[looks := Health()])
    assert kinds(looks.findings) == ["scheduler_never_stepped"]
    assert forgotten.last_epoch == 0
    trainer = Trainer(model, optimizer, schedule=forgotten)
    trainer.fit(loader, epochs=2, callbacks=[looks := Health()])
    assert not kinds(looks.findings)


def test_a_warm_up_and_frozen_layers_are_no_mistakes() -> None:
    model = mlp()
    optimizer = optim.SGD(model.parameters(), 0.1)
    rising = optim.lr_scheduler.LambdaLR(optimizer, lambda t: t / 1e6)
    assert not kinds(looped(model, optimizer=optimizer, after=lambda i: rising.step()).findings)
    frozen = mlp()
    frozen[0].requires_grad_(False)
    assert not kinds(looped(frozen).findings)
    part = mlp()
    looks = looped(part, optimizer=optim.SGD(part[2].parameters(), 0.1))
    assert not kinds(looks.findings)
    assert "not_optimized" in kinds(looks.findings, "note")


def test_gradients_that_are_added_up_on_purpose() -> None:
    model = mlp()
    optimizer = optim.SGD(model.parameters(), 0.1)
    looks = Health(model)
    for _ in range(20):
        with looks.step():
            for part in range(3):
                rows = slice(50 * part, 50 * part + 50)
                scores = model(tg.tensor(X[rows]))
                (tg.cross_entropy(scores, tg.tensor(LABELS[rows])) / 3).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
    assert not kinds(looks.findings)


def test_several_passes_and_optimizers_in_one_step() -> None:
    model = mlp()
    with tg.no_grad():
        model[0].weight[:20] = 0.0
        model[0].bias[:20] = -1.0
    first, last = (optim.SGD(model[i].parameters(), 0.1) for i in (0, 2))
    looks = Health(model)
    for _ in range(12):
        with looks.step():
            first.zero_grad()
            last.zero_grad()
            for part in range(3):
                rows = slice(50 * part, 50 * part + 50)
                tg.cross_entropy(model(tg.tensor(X[rows])), tg.tensor(LABELS[rows])).backward()
            first.step()
            last.step()
    [dead] = [f for f in looks.findings if f.level != "note"]
    assert dead.seen.startswith("20 of 30 units (67%) give 0 for each of the 1,800 samples")


def test_losses_of_few_samples_are_far_apart_and_no_mistake() -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        points = rng.normal(size=(100, 3)).astype("float32")
        values = points @ rng.normal(size=(3, 1)).astype("float32") * 3
        model = nn.Linear(3, 1, generator=rng)
        loader = DataLoader(TensorDataset(points, values), 1 + seed % 4)
        trainer = Trainer(model, optim.SGD(model.parameters(), 0.01), nn.MSELoss())
        trainer.fit(loader, epochs=2, callbacks=[looks := Health()])
        assert not kinds(looks.findings), looks.report()
        assert not trainer.should_stop


def test_two_nets_against_each_other_are_no_mistake() -> None:
    maker, judge = nn.Linear(2, 2), mlp(outputs=1)
    judge[0] = nn.Linear(2, 30)
    makes, judges = optim.SGD(maker.parameters(), 0.1), optim.SGD(judge.parameters(), 0.1)
    looks = Health(judge)
    ones = tg.ones(40, 1)
    for _ in range(40):
        with looks.step():
            judges.zero_grad()
            real, drawn = judge(tg.randn(40, 2)), judge(maker(tg.randn(40, 2)).detach())
            loss = tg.binary_cross_entropy_with_logits
            (loss(real, ones) + loss(drawn, 0 * ones)).backward()
            judges.step()
            makes.zero_grad()
            loss(judge(maker(tg.randn(40, 2))), ones).backward()
            makes.step()
    assert not kinds(looks.findings)


def test_what_is_known_by_heart_is_told_from_what_is_learned() -> None:
    looks, _ = fitted(mlp(), 30, labels=SHUFFLED, lr=1.0, batch=500)
    assert "labels_shuffled" in kinds(looks.findings)
    few = Trainer(model := mlp(), optim.Adam(model.parameters(), 0.01))
    batch = (tg.tensor(X[:20]), tg.tensor(LABELS[:20]))
    few.fit(
        [batch], [(tg.tensor(X[20:80]), tg.tensor(LABELS[20:80]))], 60, callbacks=[h := Health()]
    )
    assert "gap" in [f.kind for f in h.findings]


def test_a_run_that_goes_on_knows_what_was_seen(tmp_path: Any) -> None:
    def run(epochs: int, resume: Any) -> Health:
        saving = train.Checkpoint(tmp_path / str(resume), every_epochs=1)
        folder = tmp_path / str(resume) if resume else None
        return fitted(mlp(nn.Softmax(dim=1)), epochs, callbacks=[saving], resume=folder)[0]

    whole = fitted(mlp(nn.Softmax(dim=1)), 3)[0]
    run(1, "parts")
    parts = run(3, "parts")
    assert parts.seen.steps == whole.seen.steps == 24
    assert parts.seen.last == whole.seen.last
    assert [f.kind for f in parts.findings] == [f.kind for f in whole.findings]


def test_looking_changes_no_bit() -> None:
    one, other = normed(), normed()
    for model, callbacks in ((one, [Health()]), (other, [])):
        tg.manual_seed(0)
        trainer = Trainer(model, optim.SGD(model.parameters(), 0.1), compile=True)
        trainer.fit(
            DataLoader(TensorDataset(X[:200], LABELS[:200]), 50, shuffle=True),
            epochs=2,
            callbacks=callbacks,
        )
    for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        assert a.equal(b)


def test_a_loop_of_ones_own_may_say_where_epochs_end() -> None:
    model = mlp()
    looks = looped(model, 20)
    looks.epoch(loss=0.1, train_accuracy=0.9, val_accuracy=0.89)
    assert not [f for f in looks.findings if f.kind == "gap"]
    for _ in range(3):
        looks.epoch(train_accuracy=0.99, val_accuracy=0.5)
    assert [f.level for f in looks.findings if f.kind == "gap"] == ["note"]  # of 20 steps
    again = pickle.loads(pickle.dumps(looks))
    assert again.findings == looks.findings


def test_ranks_stop_together_and_count_all_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    here: ContextVar[Any] = ContextVar("here")
    monkeypatch.setattr(ranks_of_fits, "get_rank", lambda: here.get().rank)
    monkeypatch.setattr(ranks_of_fits, "get_world_size", lambda: here.get().size)
    monkeypatch.setattr(ranks_of_fits, "group_given", lambda group: here.get())
    monkeypatch.setattr(collectives, "group_given", lambda group: here.get())

    def work(lr: float) -> Callable[[Any], tuple[int, list[Finding]]]:
        def on_rank(group: Any) -> tuple[int, list[Finding]]:
            here.set(group)
            model = mlp()
            with tg.no_grad():
                model[0].weight[:15] = 0.0
                model[0].bias[:15] = -1.0
            looks, trainer = fitted(model, 2, lr=lr, batch=50)
            return trainer.step, looks.findings

        return on_rank

    for steps, found in on_ranks(2, work(0.1)):
        [dead] = [f for f in found if f.kind == "dead_units"]
        assert steps == 20
        assert "for each of the 500 samples" in dead.seen
    (one, told), (other, _) = on_ranks(2, work(30.0))
    assert one == other < 20
    assert "cost_exploded" in kinds(told)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="every is at least 1 step; got 0"):
        Health(every=0)
    with pytest.raises(TypeError, match="the model is None"), Health().step():
        pass
    assert Health(mlp()).report() == "nothing was found."


def test_a_dict_of_tensors_is_looked_at_too() -> None:
    weights = {"W": (0.01 * tg.randn(64, 10)).requires_grad_(), "b": tg.zeros(10).requires_grad_()}
    looks, optimizer = Health(weights), optim.SGD(list(weights.values()), 1e-7)
    for _ in range(40):
        with looks.step():
            optimizer.zero_grad()
            scores = tg.tensor(X[:300]) @ weights["W"] + weights["b"]
            tg.cross_entropy(scores, tg.tensor(LABELS[:300])).backward()
            optimizer.step()
    assert kinds(looks.findings) == ["loss_not_moving"]
