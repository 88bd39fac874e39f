"""Training runs with one mistake each, and healthy ones: what `tinygrad-cv doctor` is held against.

Each function makes a run on the digits, as a program would. The nets and the ways to train differ.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_cv as tg
from tinygrad_cv import data, nn, optim
from tinygrad_cv.train import Trainer

Case = dict[str, Any]


def digits(scale: float = 1.0, shuffled: bool = False, flat: bool = True) -> Case:
    """Loaders for the digits, centred unless they are scaled."""
    images, labels = data.load_digits()
    images = images * scale if scale != 1 else images - images.mean(axis=0)
    images = images.reshape(len(images), -1) if flat else images
    rng = np.random.default_rng(0)
    order = rng.permutation(len(images))
    images, labels = images[order].astype("float32"), labels[order]
    if shuffled:
        labels = rng.permutation(labels)
    train, val = slice(0, 1500), slice(1500, None)
    return {
        "train_loader": data.DataLoader(
            data.TensorDataset(images[train], labels[train]), 50, shuffle=True, generator=rng
        ),
        "val_loader": data.DataLoader(data.TensorDataset(images[val], labels[val]), 100),
    }


def mlp(*more: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10), *more)


def conv(norm: bool = True) -> nn.Sequential:
    layers = [nn.Conv2d(1, 8, 3, padding=1), *([nn.BatchNorm2d(8)] if norm else []), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10))


def by_hand(
    model: nn.Module,
    optimizer: optim.Optimizer,
    loss_fn: Callable[..., Any] = tg.cross_entropy,
    zero: bool = True,
    **loaders: Any,
) -> Case:
    """A loop of one's own."""

    def step(inputs: Any, labels: Any) -> Any:
        if zero:
            optimizer.zero_grad()
        loss = loss_fn(model(inputs), labels)
        loss.backward()
        optimizer.step()
        return loss

    return {"model": model, "optimizer": optimizer, "step": step, **loaders}


def by_trainer(
    model: nn.Module,
    optimizer: optim.Optimizer,
    loss_fn: Callable[..., Any] = tg.cross_entropy,
    **loaders: Any,
) -> Case:
    return {"trainer": Trainer(model, optimizer, loss_fn), **loaders}


# ----- healthy -----------------------------------------------------------------------------------


def healthy_model() -> nn.Module:
    """Trained as doctor does by itself."""
    return mlp()


def healthy_adam() -> Case:
    model = mlp()
    return by_trainer(model, optim.Adam(model.parameters(), lr=3e-3), **digits())


def healthy_by_hand() -> Case:
    model = conv()
    return by_hand(
        model, optim.SGD(model.parameters(), lr=0.05, momentum=0.9), **digits(flat=False)
    )


# ----- with a mistake ----------------------------------------------------------------------------


def labels_shuffled() -> Case:
    model = mlp()
    return by_trainer(model, optim.SGD(model.parameters(), lr=0.1), **digits(shuffled=True))


def rate_too_low() -> Case:
    model = conv(norm=False)
    return by_hand(model, optim.SGD(model.parameters(), lr=1e-6), **digits(flat=False))


def rate_too_high() -> Case:
    model = mlp()
    return by_trainer(model, optim.SGD(model.parameters(), lr=10), **digits())


def no_zero_grad() -> Case:
    model = mlp()
    return by_hand(model, optim.SGD(model.parameters(), lr=0.05), zero=False, **digits())


def softmax_twice() -> Case:
    model = mlp(nn.Softmax(dim=1))
    return by_trainer(model, optim.Adam(model.parameters(), lr=3e-3), **digits())


def weights_all_equal() -> Case:
    model = mlp()
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.1)
    return by_trainer(model, optim.SGD(model.parameters(), lr=0.1), **digits())


def eval_mode() -> Case:
    model = conv().eval()
    return by_hand(
        model, optim.SGD(model.parameters(), lr=0.05, momentum=0.9), **digits(flat=False)
    )


def inputs_to_255() -> Case:
    model = mlp()
    return by_trainer(model, optim.SGD(model.parameters(), lr=0.05), **digits(scale=255.0))


class Detached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 48), nn.Linear(48, 10)

    def forward(self, x: Any) -> Any:
        return self.last(self.first(x).relu().detach())


def detached_layer() -> Case:
    model = Detached()
    return by_trainer(model, optim.SGD(model.parameters(), lr=0.1), **digits())


def loss_summed() -> Case:
    model = mlp()

    def loss_fn(scores: Any, labels: Any) -> Any:
        return tg.cross_entropy(scores, labels, reduction="sum")

    return by_trainer(model, optim.SGD(model.parameters(), lr=0.002), loss_fn, **digits())
