"""`compile`: what is recorded and replayed is what runs without it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_cv as tg
from rows import ROWS, Case, Row
from test_ops import is_variable, named_inputs, parts
from tinygrad_cv._apply import apply
from tinygrad_cv.backend.recording import RecordingError

pytestmark = pytest.mark.host

REFUSED = {"nonzero": "nonzero, whose result has a shape", "to_device": "a transfer from cpu"}
"""Ops that cannot be recorded, and what is said of them."""


def tensors(row: Row, case: Case) -> list[Any]:
    return [
        tg.Tensor(v, requires_grad=is_variable(v) and name not in row.op.nondifferentiable)
        if isinstance(v, np.ndarray)
        else v
        for name, v in named_inputs(row, case)
    ]


def orders(row: Row, case: Case) -> Any:
    """A function of the op's inputs: what it gives, its gradients, and those of their squares."""

    def compute(*inputs: Any) -> list[Any]:
        ys = parts(apply(case.make(row.op), *inputs))
        leaves = [x for x in inputs if isinstance(x, tg.Tensor) and x.requires_grad]
        found = [y.detach() for y in ys]
        if not any(y.requires_grad for y in ys):
            return found
        loss = sum((y * y).sum() for y in ys if y.requires_grad)
        first = [g for g in tg.grad(loss, leaves, create_graph=True, allow_unused=True) if g is not None]
        found += [g.detach() for g in first]
        if row.op.orders > 1 and any(g.requires_grad for g in first):
            again = sum((g * g).sum() for g in first if g.requires_grad)
            found += [g for g in tg.grad(again, leaves, allow_unused=True) if g is not None]
        return found

    return compute


@pytest.mark.parametrize("name", sorted(ROWS))
@settings(max_examples=2, deadline=None)
@given(data=st.data())
def test_a_compiled_op_is_the_op(name: str, data: Any) -> None:
    row = ROWS[name]
    case = data.draw(row.cases)
    inputs = tensors(row, case)
    compute = orders(row, case)
    compiled = tg.compile(compute)
    sources = [v for v in case.attributes.values() if isinstance(v, np.random.Generator)]
    seeds = [source.bit_generator.state for source in sources]

    def reseed() -> None:
        tg.manual_seed(3)
        for source, seed in zip(sources, seeds, strict=True):
            source.bit_generator.state = seed

    reseed()
    eager = compute(*inputs)
    if name in REFUSED:
        with pytest.raises(RecordingError, match=REFUSED[name]):
            compiled(*inputs)
        return
    for _ in range(3):
        reseed()
        ours = compiled(*inputs)
        assert len(ours) == len(eager)
        for a, b in zip(ours, eager, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert sum(map(len, compiled.programs.values())) == 1


# ----- networks ----------------------------------------------------------------------------------


def convnet() -> Any:
    nn = tg.nn
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(4, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.3)),
        *(nn.Flatten(), nn.Linear(6 * 1 * 1, 3)),
    )


def batches(count: int, *shape: int, classes: int = 3) -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(0)
    return [
        (
            tg.tensor(rng.standard_normal(shape, np.float32)),
            tg.tensor(rng.integers(classes, size=shape[0])),
        )
        for _ in range(count)
    ]


OPTIMIZERS = {
    "SGD": lambda params: tg.optim.SGD(params, lr=0.05, momentum=0.9, weight_decay=1e-3),
    "Adam": lambda params: tg.optim.Adam(params, lr=0.01),
    "RMSprop": lambda params: tg.optim.RMSprop(params, lr=0.01),
}


def training(make: Any, optimizer: str, data: Any, compiled: bool, schedule: bool = True) -> Any:
    """Losses, parameters, buffers and gradients after a training; and the compiled step."""
    tg.manual_seed(0)
    model = make()
    descent = OPTIMIZERS[optimizer](model.parameters())
    rates = tg.optim.lr_scheduler.StepLR(descent, 7, 0.5)

    def step(x: Any, y: Any) -> Any:
        descent.zero_grad()
        loss = tg.cross_entropy(model(x), y)
        loss.backward()
        descent.step()
        if schedule:
            rates.step()
        return loss

    run = tg.compile(step) if compiled else step
    tg.manual_seed(1)
    losses = [run(x, y).item() for x, y in data]
    state = {k: v.numpy() for k, v in model.state_dict().items()}
    grads = {k: p.grad.numpy() for k, p in model.named_parameters()}
    return losses, state, grads, descent.param_groups[0]["lr"], run


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_convnet_learns_the_same_over_50_steps(optimizer: str) -> None:
    """Dropout draws, running statistics move and the learning rate falls as without `compile`."""
    data = batches(50, 4, 3, 8, 8)
    *eager, _ = training(convnet, optimizer, data, compiled=False)
    *ours, step = training(convnet, optimizer, data, compiled=True)
    assert ours[0] == eager[0]
    assert ours[3] == eager[3]
    for a, b in zip(ours[1:3], eager[1:3], strict=True):
        for name in b:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    assert sum(map(len, step.programs.values())) == 1
