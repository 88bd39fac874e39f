"""Whether loading keeps up: `python -m tests.bench.loading [ROUNDS]`.

How many batches of 100 images like CIFAR-10's (random crop with padding 4, flip, normalize) arrive
a second, of a dataset that gives whole batches and of one that gives single samples, with no
workers, one and two; beside the time of the ConvNet's compiled training step, which consumes one.
Where it says "with the step", one follows each batch, as in a training loop.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from statistics import median
from typing import Any

import numpy as np

import tinygrad_cv as tg
from tinygrad_cv.data import DataLoader, Dataset, TensorDataset
from tinygrad_cv.data import transforms as T

from .peers import EAGER
from .workloads import WORKLOADS

BATCH, BATCHES, STEPS = 100, 40, 8
AUGMENT = T.Compose(
    [
        T.RandomCrop(32, padding=4),
        T.RandomHorizontalFlip(),
        T.ConvertImageDtype("float32"),
        T.Normalize([0.49, 0.48, 0.45], [0.25, 0.24, 0.26]),
    ]
)


class Samples(Dataset):
    """Images one by one, as most people write it."""

    def __init__(self, images: Any, labels: Any) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return AUGMENT(self.images[index]), int(self.labels[index])


def data(count: int = BATCH * BATCHES) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 3, 32, 32), np.uint8), rng.integers(0, 10, count)


def loaders(images: Any, labels: Any, workers: int) -> dict[str, DataLoader]:
    options: dict[str, Any] = {"batch_size": BATCH, "shuffle": True, "num_workers": workers}
    if workers:
        options["persistent_workers"] = True
    return {
        "batches": DataLoader(TensorDataset(images, labels), transform=AUGMENT, **options),
        "samples": DataLoader(Samples(images, labels), **options),
    }


def milliseconds(loader: DataLoader, step: Callable[[], Any] | None = None) -> float:
    """Of a batch, and of the step that it is for; the first batch of an epoch is not counted."""
    epoch = iter(loader)
    next(epoch)
    start, count = time.perf_counter(), 0
    for _ in epoch if step is None else islice(epoch, STEPS):
        if step is not None:
            step()
        count += 1
    return 1e3 * (time.perf_counter() - start) / count


def main(rounds: int) -> None:
    step = WORKLOADS["convnet"](replace(EAGER, replay=tg.compile)).step
    images, labels = data()
    found = [(workers, loaders(images, labels, workers)) for workers in (0, 1, 2)]
    times: dict[tuple[Any, ...], list[float]] = {}

    def note(ms: float, *what: Any) -> None:
        times.setdefault(what, []).append(ms)

    for _ in range(rounds + 1):
        start = time.perf_counter()
        for _ in range(5):
            step()
        note(1e3 * (time.perf_counter() - start) / 5, "step")
        for workers, kinds in found:
            for kind, loader in kinds.items():
                note(milliseconds(loader), kind, workers, "alone")
                note(milliseconds(loader, step), kind, workers, "with the step")
    consumed = median(times.pop(("step",))[1:])  # the first round compiles, and starts workers
    print(f"a training step of the ConvNet takes {consumed:.1f} ms, {1e3 / consumed:.0f} a second")
    for (kind, workers, how), values in times.items():
        ms = median(values[1:])
        print(f"{kind}, num_workers={workers}, {how:<13} {ms:8.2f} ms, {1e3 / ms:6.0f} a second")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
