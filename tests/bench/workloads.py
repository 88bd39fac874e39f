"""The workloads. Each is written once, for any library with PyTorch's names.

A workload is built from a `Library` and returns its parameters and one training step. Weights and
data are drawn by NumPy from a fixed seed, so every library starts from the same numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Library:
    """A library under test. Its names resolve at run time, hence `Any`."""

    name: str
    module: Any
    functional: Any  # where cross_entropy lives
    arrange: Callable[[Any], Any] = lambda value: value  # memory format of a model or of images


@dataclass(frozen=True)
class Workload:
    """`step()` runs one step and returns its loss; the gradients stay on `parameters`."""

    parameters: dict[str, Any]
    step: Callable[[], Any]


def convnet(library: Library, batch: int = 100) -> Workload:
    """100 images 3x32x32: [conv-BN-ReLU] x 2, pool, the same with 64 channels, linear; momentum."""
    nn = library.module.nn

    def block(in_channels: int, out_channels: int) -> list[Any]:
        layers = []
        for channels in (in_channels, out_channels):
            layers += [
                nn.Conv2d(channels, out_channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(out_channels),
                nn.ReLU(),
            ]
        return [*layers, nn.MaxPool2d(2)]

    model = nn.Sequential(*block(3, 32), *block(32, 64), nn.Flatten(), nn.Linear(64 * 8 * 8, 10))
    return _classifier(library, model, (batch, 3, 32, 32), momentum=0.9)


def mlp(library: Library) -> Workload:
    """100 rows of 3072: linear to 50, ReLU, linear to 10; plain SGD."""
    nn = library.module.nn
    model = nn.Sequential(nn.Linear(3072, 50), nn.ReLU(), nn.Linear(50, 10))
    return _classifier(library, model, (100, 3072), momentum=0.0)


def _classifier(
    library: Library, model: Any, shape: tuple[int, ...], momentum: float, classes: int = 10
) -> Workload:
    """One step: forward, cross-entropy, backward, SGD."""
    lib = library.module
    rng = np.random.default_rng(0)
    weights = {
        name: lib.tensor(_initial(name, tuple(parameter.shape), rng))
        for name, parameter in model.named_parameters()
    }
    model.load_state_dict({**model.state_dict(), **weights})
    model = library.arrange(model)
    images = library.arrange(lib.tensor(rng.standard_normal(shape, np.float32)))
    labels = lib.tensor(rng.integers(classes, size=shape[0]))
    optimizer = lib.optim.SGD(model.parameters(), lr=0.001, momentum=momentum)

    def step() -> Any:
        optimizer.zero_grad()
        loss = library.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    return Workload(dict(model.named_parameters()), step)


def _initial(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """He et al. (2015) for matrices and filters; gains of batch norm 1, biases 0."""
    if len(shape) > 1:
        fan_in = np.prod(shape[1:])
        return rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / fan_in))
    return np.full(shape, 0 if name.endswith("bias") else 1, np.float32)


def rnn(library: Library) -> Workload:
    """A character RNN over 50 steps, vocabulary 65, 100 hidden units, batch 1; no update."""
    lib = library.module
    vocabulary, hidden, length = 65, 100, 50
    rng = np.random.default_rng(0)
    shapes = {
        "Wxh": (vocabulary, hidden),
        "Whh": (hidden, hidden),
        "bh": (hidden,),
        "Why": (hidden, vocabulary),
        "by": (vocabulary,),
    }
    parameters = {
        name: lib.nn.Parameter(lib.tensor(rng.standard_normal(shape, np.float32) / np.float32(10)))
        for name, shape in shapes.items()
    }
    Wxh, Whh, bh, Why, by = parameters.values()
    text = rng.integers(vocabulary, size=length + 1)
    # Batch 1: each character is an array of one index, and picks one row of Wxh.
    characters = [lib.tensor(text[t : t + 1]) for t in range(length + 1)]

    def step() -> Any:
        for parameter in parameters.values():
            parameter.grad = None
        h = lib.zeros(1, hidden)
        loss = lib.zeros(())
        for current, following in pairwise(characters):
            h = lib.tanh(Wxh[current] + h @ Whh + bh)
            loss = loss + library.functional.cross_entropy(h @ Why + by, following)
        loss.backward()
        return loss

    return Workload(parameters, step)


def elementwise(library: Library) -> Workload:
    """40 ops on 4x4 numbers, in turns x + y, x · y and tanh x: what an op costs beside its work."""
    lib = library.module
    rng = np.random.default_rng(0)
    x, y = (lib.nn.Parameter(lib.tensor(rng.random((4, 4), np.float32))) for _ in range(2))
    ones = lib.ones(4, 4)

    def step() -> Any:
        x.grad = y.grad = None
        h = x
        for i in range(40):
            h = h + y if i % 3 == 0 else h * y if i % 3 == 1 else lib.tanh(h)
        h.backward(ones)
        return h

    return Workload({"x": x, "y": y}, step)


def tiny_mlp(library: Library) -> Workload:
    """32 rows of 8: linear to 16, ReLU, linear to 2; momentum. Nearly all of it is overhead."""
    nn = library.module.nn
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    return _classifier(library, model, (32, 8), momentum=0.9, classes=2)


def slices(library: Library) -> Workload:
    """2,000 rows of 32, each taken out by itself; they are stacked again, and summed."""
    lib = library.module
    x = lib.nn.Parameter(lib.tensor(np.random.default_rng(0).random((2000, 32), np.float32)))

    def step() -> Any:
        x.grad = None
        loss = lib.stack(x.unbind(0)).sum()
        loss.backward()
        return loss

    return Workload({"x": x}, step)


WORKLOADS: dict[str, Callable[[Library], Workload]] = {
    "convnet": convnet,
    "mlp": mlp,
    "rnn": rnn,
    "elementwise": elementwise,
    "tiny_mlp": tiny_mlp,
    "slices": slices,
}
