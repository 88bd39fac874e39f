"""The optimizers against their laws, written out in NumPy."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv import optim

STEPS = 6


def gradients(seed: int) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).standard_normal((STEPS, 2, 3)))


def run(make: Callable[..., optim.Optimizer], seed: int) -> list[np.ndarray]:
    """The parameter after each step, for given gradients."""
    w = tg.tensor(np.full((2, 3), 0.5), requires_grad=True)
    optimizer = make([w])
    path = []
    for g in gradients(seed):
        w.grad = tg.tensor(g)
        optimizer.step()
        path.append(w.detach().numpy().copy())
    return path


def sgd_by_hand(
    gs: list[np.ndarray], lr: float, momentum: float, decay: float, nesterov: bool
) -> Iterator[np.ndarray]:
    w, v = np.full((2, 3), 0.5), np.zeros((2, 3))
    for g in gs:
        g = g + decay * w
        v = momentum * v + g
        w = w - lr * (g + momentum * v if nesterov else v if momentum else g)
        yield w


@given(
    st.sampled_from([0.0, 0.5, 0.9]), st.sampled_from([0.0, 0.1]), st.booleans(), st.integers(0, 9)
)
def test_sgd(momentum: float, decay: float, nesterov: bool, seed: int) -> None:
    nesterov = nesterov and momentum > 0
    options: dict[str, Any] = {"momentum": momentum, "weight_decay": decay, "nesterov": nesterov}
    path = run(lambda p: optim.SGD(p, lr=0.1, **options), seed)
    for ours, w in zip(
        path, sgd_by_hand(gradients(seed), 0.1, momentum, decay, nesterov), strict=True
    ):
        np.testing.assert_allclose(ours, w, rtol=1e-12)


def test_dampening_spares_the_first_step() -> None:
    path = run(lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5), 0)
    first, second = gradients(0)[:2]
    w = 0.5 - 0.1 * first
    np.testing.assert_allclose(path[0], w, rtol=1e-12)
    np.testing.assert_allclose(path[1], w - 0.1 * (0.9 * first + 0.5 * second), rtol=1e-12)


@given(st.sampled_from([(0.9, 0.999), (0.5, 0.9)]), st.sampled_from([0.0, 0.1]), st.integers(0, 9))
def test_adam(betas: tuple[float, float], decay: float, seed: int) -> None:
    path = run(lambda p: optim.Adam(p, lr=0.01, betas=betas, weight_decay=decay), seed)
    w, m, v = np.full((2, 3), 0.5), 0.0, 0.0
    for t, (g, ours) in enumerate(zip(gradients(seed), path, strict=True), 1):
        g = g + decay * w
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        unbiased = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
        w = w - 0.01 * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
        np.testing.assert_allclose(ours, w, rtol=1e-10)


# ----- narrow floats ------------------------------------------------------------------------------

LAWS: dict[str, Callable[..., optim.Optimizer]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, weight_decay=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.1, weight_decay=1e-5),
    "nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.01),
    "adam with decay": lambda p: optim.Adam(p, lr=0.01, weight_decay=1e-5),
    "adam without memory": lambda p: optim.Adam(p, lr=0.01, betas=(0.0, 0.0)),
    "amsgrad": lambda p: optim.Adam(p, lr=0.01, amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, lr=0.01, weight_decay=0.1),
}


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("size", [0.0, 1e-7, 1e-4, 1.0, 300.0])
@pytest.mark.parametrize("name", LAWS)
def test_narrow_floats_step_as_float64_does(name: str, size: float, dtype: str) -> None:
    """From the same parameter, rounded after each step; what is remembered has digits enough."""
    signs = np.array([1.0, -0.5, 0.25, 2.0])
    narrow = tg.tensor(np.array([1.0, -1.0, 0.5, 3.0], dtype), requires_grad=True)
    wide = tg.tensor(narrow.detach().numpy().astype("float64"), requires_grad=True)
    steps = [LAWS[name]([narrow]), LAWS[name]([wide])]
    for i in range(6):
        g = (size * signs * (-1.0) ** (i // 2) / (1 + i)).astype(dtype)
        narrow.grad, wide.grad = tg.tensor(g), tg.tensor(g.astype("float64"))
        before = narrow.detach().numpy().astype("float64")
        wide.data.copy_(tg.tensor(before))
        for optimizer in steps:
            optimizer.step()
        exact, found = wide.detach().numpy(), narrow.detach().numpy()
        last_place = np.spacing(np.abs(found)).astype("float64")
        assert found.dtype == dtype
        # The step itself has the digits of float32, and the sum is rounded once.
        assert (np.abs(found - exact) <= last_place + 1e-5 * np.abs(exact - before)).all()


def test_adam_in_half_precision_by_hand() -> None:
    for g, after in ((0.0, 1.0), (1e-4, 0.99), (300.0, 0.99)):
        w = tg.tensor(np.ones(1, "float16"), requires_grad=True)
        w.grad = tg.tensor(np.full(1, g, "float16"))
        optim.Adam([w], lr=0.01).step()
        assert w.item() == pytest.approx(after, rel=1e-3)


@given(st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=5))
def test_without_memory_adam_steps_by_the_sign(sizes: list[float]) -> None:
    """m = g and v = g², whatever was before: lr · g / (|g| + eps), in float32 as well."""
    w = tg.tensor([0.0], requires_grad=True)
    optimizer = optim.Adam([w], lr=1.0, betas=(0.0, 0.0))
    before = 0.0
    for size in sizes:
        w.grad = tg.tensor([size])
        optimizer.step()
        step = size / (size + 1e-8)
        assert w.item() == pytest.approx(before - step, rel=1e-6)
        before = w.item()


# ----- what a step leaves alone -------------------------------------------------------------------


def test_a_parameter_without_a_gradient_stays() -> None:
    used, unused = (tg.tensor([1.0], requires_grad=True) for _ in range(2))
    optimizer = optim.SGD([used, unused], lr=0.5)
    (used * 2).sum().backward()
    optimizer.step()
    assert (used.item(), unused.item()) == (0.0, 1.0)
    optimizer.zero_grad()
    assert used.grad is None


def test_the_gradient_is_not_changed_by_a_step() -> None:
    w = tg.tensor([1.0], requires_grad=True)
    w.grad = tg.tensor([3.0])
    optim.SGD([w], lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True).step()
    assert w.grad.item() == 3.0


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, lr=-1),
        lambda p: optim.SGD(p, nesterov=True),
        lambda p: optim.SGD(p, momentum=0.9, dampening=0.1, nesterov=True),
        lambda p: optim.Adam(p, betas=(0.9, 1.0)),
        lambda p: optim.SGD([]),
    ],
)
def test_settings_that_make_no_sense(make: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"is a number|needs|no parameters"):
        make([tg.tensor([1.0], requires_grad=True)])
