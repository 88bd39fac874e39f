"""What pictures cost: `python -m tests.bench.drawing`.

Each picture is traced, drawn and saved as SVG; the seconds of the three are told apart, with the
size of the picture. The second line of a picture that was collapsed is what it says about that.
The pages are measured in a browser by hand: their program says at the console how long it took.
"""

import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import tinygrad_cv as tg
from tinygrad_cv import models, nn, viz


def resnet18() -> viz.Trace:
    return viz.trace(models.resnet18(generator=tg.Generator().manual_seed(0)), (2, 3, 64, 64))


def irregular(nodes: int = 8_000) -> viz.Trace:
    """A graph in which each op reads one of the last five values, and one of the last fifty."""
    rng = np.random.default_rng(0)
    values = [tg.tensor(1.0, requires_grad=True)]
    ops = (tg.add, tg.mul, tg.maximum, tg.minimum)
    for i in range(nodes - 1):
        near = values[-1 - int(rng.integers(min(5, len(values))))]
        far = values[-1 - int(rng.integers(min(50, len(values))))]
        values.append(tg.tanh(near) if i % 3 == 0 else ops[rng.integers(4)](near, far))
    return viz.trace(values[-1])


def chain(nodes: int = 50_000) -> viz.Trace:
    x = tg.tensor(0.5, requires_grad=True)
    for _ in range(nodes):
        x = tg.tanh(x)
    return viz.trace(x)


def steps(count: int = 1_000) -> viz.Trace:
    """A recurrent net of so many steps."""
    cell = nn.RNNCell(4, 8)
    h = tg.zeros(1, 8)
    for x in tg.randn(count, 1, 4):
        h = cell(x, h)
    return viz.trace(h.sum())


PICTURES: dict[str, Callable[[], viz.Trace]] = {
    "ResNet-18, forward and backward": resnet18,
    "8,000 ops without an order": irregular,
    "a chain of 50,000 ops": chain,
    "a recurrent net of 1,000 steps": steps,
}


def main() -> None:
    with TemporaryDirectory() as folder:
        for name, make in PICTURES.items():
            make()  # what is compiled on first use
            started = time.perf_counter()
            trace = make()
            traced = time.perf_counter()
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                picture = viz.draw(trace, backward=True)
                drawn = time.perf_counter()
                file = picture.save(Path(folder) / "picture.svg")
                saved = time.perf_counter()
            beginning = file.read_text(encoding="utf-8")[:2000]
            width, height = re.findall(r'(?:width|height)="([\d.]+)pt"', beginning)[:2]
            page = viz.draw(trace).save(Path(folder) / "page.html")
            print(
                f"{name}: {len(trace.nodes):,} nodes, traced {traced - started:.2f} s, "
                f"drawn {drawn - traced:.2f} s, saved {saved - drawn:.2f} s, "
                f"{width} x {height} pt; its page {page.stat().st_size / 1e6:.1f} MB"
            )
            for warning in told:
                print(f"  {warning.message}")


if __name__ == "__main__":
    main()
