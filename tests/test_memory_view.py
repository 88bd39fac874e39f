"""What `viz.memory` works out, held against what NumPy counts (tracemalloc)."""

import gc
import tracemalloc
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv import nn, viz
from tinygrad_cv.viz.ledger import Facts, Run

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("one_blas_thread")]

NEAR = 0.2
"""How far from what is measured the peak may be, as a share of it; with compiled kernels, for
others need more arrays of their own."""


def deep(width: int, activation: type[nn.Module]) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, width), activation(), nn.Linear(width, width), activation()
    )


def convolutions(*, norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in ((3, 16), (16, 16)):
        layers += [nn.Conv2d(a, b, 3, padding=1), *([nn.BatchNorm2d(b)] if norm else []), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 16 * 16, 10))


class Residual(nn.Module):
    def __init__(self) -> None:
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.a, self.b = (nn.Conv2d(16, 16, 3, padding=1) for _ in "ab")

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        x = self.first(x)
        for _ in range(3):
            x = tg.relu(x + self.b(tg.relu(self.a(x))))
        return x.mean((2, 3))


class Last(nn.Module):
    """The last state of an LSTM."""

    def __init__(self) -> None:
        self.lstm = nn.LSTM(32, 64)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.lstm(x)[0][-1]


class Blocks(nn.Module):
    """Four equal blocks, some of which are computed again in the backward pass."""

    def __init__(self, make: Callable[[], nn.Module], again: Collection[int] = ()) -> None:
        self.blocks, self.again = nn.ModuleList([make() for _ in range(4)]), again

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        for i, block in enumerate(self.blocks):
            x = tg.recompute(block, x) if i in self.again else block(x)
        return x


def measured(model: nn.Module, shape: tuple[int, ...]) -> tuple[int, int]:
    """Bytes that NumPy counts on top: held between the passes, and the peak of both."""
    x = tg.randn(*shape)

    def step() -> tuple[int, int]:
        for parameter in model.parameters():
            parameter.grad = None
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        loss = model(x).sum()
        held = tracemalloc.get_traced_memory()[0] - before
        loss.backward()
        return held, tracemalloc.get_traced_memory()[1] - before

    gc.collect()
    tracemalloc.start()
    try:
        step()  # what is made once
        return step()
    finally:
        tracemalloc.stop()


def told(model: nn.Module, shape: tuple[int, ...], **options: Any) -> viz.Memory:
    return viz.memory(viz.trace(lambda x: model(x).sum(), shape), **options)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.Sequential(deep(256, nn.ReLU), deep(256, nn.ReLU)), (512, 256)),
        (lambda: nn.Sequential(deep(256, nn.Tanh), deep(256, nn.Tanh)), (512, 256)),
        (lambda: convolutions(norm=False), (16, 3, 32, 32)),
        (lambda: convolutions(norm=True), (16, 3, 32, 32)),
        (Residual, (16, 3, 32, 32)),
        (Last, (20, 32, 32)),
        (lambda: nn.TransformerEncoderLayer(64, 4, 128, 0.0, batch_first=True), (16, 64, 64)),
    ],
)
@pytest.mark.usefixtures("compiled_kernels")
def test_the_peak_is_what_numpy_counts(make: Any, shape: tuple[int, ...]) -> None:
    model = make()
    found = told(model, shape)
    held, peak = measured(model, shape)
    assert found.peak - found.leaves == pytest.approx(peak, rel=NEAR)
    assert found.saved == pytest.approx(held, rel=0.1)  # of which some are objects of Python
    assert found.saved == sum(node.saved_bytes or 0 for node in found.trace.nodes)


def block_of_convolutions() -> nn.Module:
    layers = [
        m for _ in "ab" for m in (nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU())
    ]
    return nn.Sequential(*layers)


@pytest.mark.parametrize("again", [(), (3,), (0, 1, 2, 3)])
@pytest.mark.parametrize(
    ("make", "shape"),
    [(lambda: deep(128, nn.Tanh), (1024, 128)), (block_of_convolutions, (32, 3, 32, 32))],
)
@pytest.mark.usefixtures("compiled_kernels")
def test_recomputing_saves_what_was_promised(
    make: Any, shape: tuple[int, ...], again: tuple[int, ...]
) -> None:
    """Predicted from the trace of the plain model, and measured where it is really done."""
    found = told(Blocks(make), shape, recompute=[f"blocks.{i}" for i in again])
    held, peak = measured(Blocks(make, again), shape)
    assert found.peak - found.leaves == pytest.approx(peak, rel=NEAR)
    assert found.saved == pytest.approx(held, rel=0.05)
    if not again:
        for saving in found.savings:
            if saving.name in ("blocks.0", "blocks.3"):
                assert (
                    found.saved - saving.freed
                    == told(Blocks(make), shape, recompute=[saving.name]).saved
                )


def test_the_numbers_of_a_small_net() -> None:
    model = nn.Sequential(nn.Linear(8, 4, bias=False), nn.Tanh(), nn.Linear(4, 2, bias=False))
    found = viz.memory(model, (5, 8))
    assert (found.parameters, found.inputs) == (160, 160)
    hidden, out = 5 * 4 * 4, 5 * 2 * 4
    assert [(m.during, m.saved, m.gradients, m.temporary) for m in found.moments] == [
        ("forward", 0, 0, hidden),
        ("forward", hidden, 0, hidden),  # tanh keeps what came in, and nobody yet what it gives
        ("forward", 2 * hidden, 0, out),
        ("backward", 2 * hidden, out + hidden + 32, out),  # of the output, tanh, the weight
        ("backward", hidden, hidden + hidden + 32, out),
        ("backward", 0, hidden + 32 + 128, out),
    ]
    assert found.peak == 320 + 3 * hidden + 32 + 2 * out
    assert found.saved == 2 * hidden


def test_the_last_block_computed_again_does_not_lower_the_peak() -> None:
    found = told(Blocks(lambda: deep(64, nn.Tanh)), (256, 64))
    by_name = {saving.name: saving for saving in found.savings}
    assert by_name["blocks.0"].peak < found.peak <= by_name["blocks.3"].peak
    assert by_name["blocks.0"].freed == by_name["blocks.3"].freed == 3 * 256 * 64 * 4
    assert by_name["blocks.0"].flops == 2 * (2 * 64 * 64 + 64) * 256 + 2 * 256 * 64
    assert "Blocks" not in by_name  # all of the forward pass
    freed = [saving.freed for saving in found.savings]
    assert freed == sorted(freed, reverse=True)
    lines = str(found).splitlines()
    assert lines[0].startswith("peak ")
    assert any(line.split()[0] == "blocks.0" for line in lines if line)


@given(st.lists(st.sampled_from(["relu", "tanh", "exp", "view", "skip"]), min_size=1, max_size=8))
def test_every_array_goes_and_the_gradients_of_leaves_stay(kinds: list[str]) -> None:
    w = tg.ones((3, 4), requires_grad=True)

    def net() -> tg.Tensor:
        x = before = w
        for kind in kinds:
            if kind == "view":
                x = x.T.T.reshape(3, 4)
            else:
                x, before = (x + before if kind == "skip" else getattr(tg, kind)(x)), x
        return (x * 1).sum()

    run = Run(Facts(viz.trace(net)))
    assert run.ledger.totals == {"saved": 0, "gradients": 48, "temporary": 4}  # the loss
    assert all(min(m.saved, m.gradients, m.temporary) >= 0 for m in run.moments)
    assert run.moments[len(run.facts.ops) - 1].saved == sum(
        node.saved_bytes or 0 for node in run.trace.nodes
    )


def test_a_model_with_keywords() -> None:
    def masked(x: tg.Tensor, mask: tg.Tensor) -> tg.Tensor:
        return x * mask

    assert viz.memory(masked, (2, 3), mask=tg.ones((2, 3))).inputs == 48


def test_what_is_not_known_is_said() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = tg.exp(x).sum()
    y.backward()
    with pytest.raises(ValueError, match="backward\\(\\) has freed it"):
        viz.memory(y)
    with pytest.raises(ValueError, match="no module 'fc' was called; there are: '', '0'"):
        viz.memory(nn.Sequential(nn.Linear(2, 2)), (1, 2), recompute=["fc"])
    with pytest.raises(ValueError, match="no op"):
        viz.memory(x)
    inside = viz.memory(lambda x: tg.recompute(tg.exp, x * 2), tg.ones(3, requires_grad=True))
    assert "is not in the trace" in str(inside)


def test_without_gradients_there_is_only_a_forward_pass() -> None:
    found = viz.memory(lambda x: tg.exp(tg.exp(x)), (10,))
    assert [moment.during for moment in found.moments] == ["forward", "forward"]
    assert found.peak == 3 * 40
    assert found.savings == ()
    found.figure()


def test_the_figure_is_the_numbers(tmp_path: Path) -> None:
    found = told(Blocks(lambda: deep(16, nn.Tanh)), (8, 16), recompute=["blocks.1"])
    [axes] = found.figure().axes
    names = [patch.get_label() for patch in axes.patches]
    assert names == [
        "parameters and inputs",
        "saved for the backward pass",
        "gradients",
        "temporary",
    ]
    top = axes.patches[-1].get_data().values
    assert top.tolist() == pytest.approx([(found.leaves + m.total) / 1e3 for m in found.moments])
    assert max(top) == pytest.approx(found.peak / 1e3)
    assert axes.get_ylabel() == "kB"
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels[:5] == ["blocks.0", "blocks.1", "blocks.2", "blocks.3", "sum"]
    assert any("peak" in text.get_text() for text in axes.texts)
    assert found.save(tmp_path / "memory.svg").read_text().startswith("<?xml")
    assert found._repr_png_().startswith(b"\x89PNG")
