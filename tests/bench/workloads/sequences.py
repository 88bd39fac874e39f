"""Networks that read a text, character by character."""

from itertools import pairwise
from typing import Any

import numpy as np

from .base import Library, Workload, load, workload


@workload(length=4)
def char_rnn(library: Library, length: int = 50, hidden: int = 128, batch: int = 32) -> Workload:
    """A character RNN over 50 steps, vocabulary 65, 128 hidden units, batch 32; no update."""
    lib = library.module
    vocabulary = 65
    rng = np.random.default_rng(0)
    shapes = {
        "Wxh": (vocabulary, hidden),
        "Whh": (hidden, hidden),
        "bh": (hidden,),
        "Why": (hidden, vocabulary),
        "by": (vocabulary,),
    }
    parameters = {
        name: lib.nn.Parameter(library.normal(rng, *shape) / 10) for name, shape in shapes.items()
    }
    Wxh, Whh, bh, Why, by = parameters.values()
    text = rng.integers(vocabulary, size=(length + 1, batch))
    characters = [lib.tensor(row) for row in text]  # each picks a row of Wxh

    def loss() -> Any:
        h = library.zeros(batch, hidden)
        total = library.zeros()
        for current, following in pairwise(characters):
            h = lib.tanh(Wxh[current] + h @ Whh + bh)
            total = total + library.functional.cross_entropy(h @ Why + by, following)
        return total / length

    def step() -> Any:
        for parameter in parameters.values():
            parameter.grad = None
        value = loss()
        value.backward()
        return value

    return Workload(parameters, library.replay(step), loss)


@workload(length=4)
def lstm(library: Library, length: int = 50, batch: int = 32) -> Workload:
    """A character LSTM over 50 steps, vocabulary 65, 64 dimensions, 128 units, batch 32; SGD."""
    lib = library.module
    vocabulary = 65

    class Model(lib.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = lib.nn.Embedding(vocabulary, 64)
            self.lstm = lib.nn.LSTM(64, 128)
            self.head = lib.nn.Linear(128, vocabulary)

        def forward(self, text: Any) -> Any:
            return self.head(self.lstm(self.embedding(text))[0])

    rng = np.random.default_rng(0)
    model = load(library, Model(), rng)
    text = lib.tensor(rng.integers(vocabulary, size=(length + 1, batch)))
    current, following = text[:-1], text[1:].reshape(-1)
    update = lib.optim.SGD(model.parameters(), lr=0.01)
    forward = library.wrap(model)

    def loss() -> Any:
        scores = forward(current).reshape(-1, vocabulary)
        return library.functional.cross_entropy(scores, following)

    def step() -> Any:
        update.zero_grad()
        value = loss()
        value.backward()
        update.step()
        return value

    return Workload(dict(model.named_parameters()), library.replay(step), loss)
