"""The babysitter on every device."""

import contextlib

import numpy as np

import tinygrad_cv as tg
from tinygrad_cv import nn, optim, train
from tinygrad_cv.data import DataLoader, TensorDataset
from tinygrad_cv.train import Health, Trainer, health

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype("float32")
LABELS = (X.sum(axis=1) > 0).astype("int64")


def test_a_check_and_a_fit_are_looked_at_where_they_are() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    with tg.no_grad():
        model[1].weight[:6] = 0.0
        model[1].bias[:6] = -1.0
    loader = DataLoader(TensorDataset(X, LABELS), 20)
    squashed = nn.Sequential(model, nn.Softmax(dim=1))
    assert "softmax_twice" in [f.kind for f in health.check(squashed, loader=loader, steps=2)]
    trainer = Trainer(model, optim.SGD(model.parameters(), 0.05))
    trainer.fit(loader, loader, epochs=2, callbacks=[looks := Health()])
    [dead] = [f for f in looks.findings if f.kind == "dead_units"]
    assert dead.seen.startswith("6 of 8 units (75%) give 0 for each of the 60 samples")


def test_a_nan_is_found_where_it_began() -> None:
    class Logged(nn.Linear):
        def forward(self, x: tg.Tensor) -> tg.Tensor:
            return super().forward(x).log()

    model = Logged(4, 2)
    trainer = Trainer(model, optim.SGD(model.parameters(), 0.05))
    with contextlib.suppress(train.DivergenceError):
        trainer.fit(DataLoader(TensorDataset(X, LABELS), 20), callbacks=[looks := Health()])
    assert looks.findings[0].seen.startswith("forward: log gave NaN, first at [")
