"""Small networks, and graphs of small arrays: what a step costs beside its work."""

from typing import Any

import numpy as np

from .base import Library, Workload, sgd, training, workload


@workload(batch=4)
def mlp(library: Library, batch: int = 100) -> Workload:
    """100 rows of 3072: linear to 50, ReLU, linear to 10; plain SGD."""
    nn = library.module.nn
    model = nn.Sequential(nn.Linear(3072, 50), nn.ReLU(), nn.Linear(50, 10))
    return training(library, model, (batch, 3072))


@workload()
def tiny_mlp(library: Library) -> Workload:
    """32 rows of 8: linear to 16, ReLU, linear to 2; momentum. Nearly all of it is overhead."""
    nn = library.module.nn
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    return training(library, model, (32, 8), classes=2, optimizer=sgd(0.9))


@workload(count=6)
def elementwise(library: Library, count: int = 40) -> Workload:
    """40 ops on 4x4 numbers, in turns x + y, x · y and tanh x: what an op costs beside its work."""
    lib = library.module
    rng = np.random.default_rng(0)
    x, y = (lib.nn.Parameter(library.normal(rng, 4, 4)) for _ in range(2))
    ones = library.zeros(4, 4) + 1

    def step() -> Any:
        x.grad = y.grad = None
        h = x
        for i in range(count):
            h = h + y if i % 3 == 0 else h * y if i % 3 == 1 else lib.tanh(h)
        h.backward(ones)
        return h

    return Workload({"x": x, "y": y}, library.replay(step))


@workload(count=5)
def slices(library: Library, count: int = 2000) -> Workload:
    """2,000 rows of 32, each taken out by itself; they are stacked again, and summed."""
    lib = library.module
    x = lib.nn.Parameter(library.normal(np.random.default_rng(0), count, 32))

    def step() -> Any:
        x.grad = None
        loss = lib.stack(x.unbind(0)).sum()
        loss.backward()
        return loss

    return Workload({"x": x}, library.replay(step))
