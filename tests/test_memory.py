"""Memory: a graph goes the moment its loss goes, and however deep it is.

The garbage collector is off in all of these tests. What they find freed was freed by counting
references alone, so there was no cycle.
"""

import gc
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_cv as tg
from tinygrad_cv import nn, optim
from tinygrad_cv._tensor import Tensor

MEGABYTE = 1 << 20


@pytest.fixture(autouse=True)
def no_garbage_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def megabytes(value: float = 1.0, **options: Any) -> Tensor:
    """A tensor that weighs one megabyte."""
    return tg.full((MEGABYTE // 4,), value, **options)


def held() -> float:
    """Megabytes in use now."""
    return tracemalloc.get_traced_memory()[0] / MEGABYTE


def watch(*tensors: Tensor) -> list[weakref.ref[Any]]:
    """References that show whether a graph is alive: its nodes, and the arrays they saved."""
    nodes = list(tg.graph(tensors))
    arrays = [a for node in nodes for a in node.saved if isinstance(a, np.ndarray)]
    return [weakref.ref(thing) for thing in (*nodes, *arrays)]


def alive(references: list[weakref.ref[Any]]) -> list[Any]:
    return [thing for reference in references if (thing := reference()) is not None]


def make_network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(64, 5),
    )


# ----- training ----------------------------------------------------------------------------------


def test_training_keeps_memory_flat(traced: None) -> None:
    model, rng = make_network(), np.random.default_rng(0)
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    leaves = {id(p.node) for p in model.parameters()}
    images, labels = rng.normal(size=(8, 1, 8, 8)).astype("float32"), rng.integers(0, 5, 8)
    start = 0.0
    for step in range(300):
        optimizer.zero_grad()
        loss = tg.cross_entropy(model(tg.tensor(images)), tg.tensor(labels))
        graph = [weakref.ref(node) for node in tg.graph(loss) if id(node) not in leaves]
        loss.backward()
        optimizer.step()
        del loss
        assert len(graph) >= 8
        assert alive(graph) == []
        if step == 20:  # by now every cache is filled
            gc.collect()  # which also empties the free lists of tuples, lists and floats
            start = held()
    assert gc.collect() == 0  # no cycles: there was nothing to find
    assert held() - start < 0.05


def test_evaluation_without_no_grad_keeps_nothing_either() -> None:
    model = make_network()
    loss = model(tg.ones(2, 1, 8, 8)).sum()  # and no backward
    graph = [weakref.ref(node) for node in tg.graph(loss) if node.op is not None]
    del loss
    assert alive(graph) == []


@pytest.mark.host
def test_losses_kept_for_a_plot_keep_no_arrays() -> None:
    model = make_network()
    parameters = {id(p.detach().numpy().base) for p in model.parameters()}
    losses, arrays = [], []
    for _ in range(3):
        loss = model(tg.rand(2, 1, 8, 8)).sum()
        arrays += [r for r in watch(loss) if isinstance(r(), np.ndarray)]
        loss.backward()
        losses.append(loss)
    assert arrays
    assert [a.shape for a in alive(arrays) if id(a) not in parameters] == []


def test_gradients_that_have_a_graph_can_be_let_go() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = (x.tanh() * x).sum()
    y.backward(create_graph=True)
    references = watch(y, x.grad)[:-1]
    made = [r for r in references if not isinstance(r(), np.ndarray) and r().op is not None]
    assert len(made) > 5
    x.grad = None
    del y
    assert alive(made) == []


# ----- what lives, and until when ----------------------------------------------------------------


def test_a_chain_that_saves_nothing_holds_one_array(traced: None) -> None:
    x = megabytes(requires_grad=True)
    before = held()
    y = x
    for _ in range(50):
        y = y + 1
    assert held() - before < 1.5  # the last y


def test_no_grad_holds_one_array(traced: None) -> None:
    x = megabytes(requires_grad=True)
    before = held()
    with tg.no_grad():
        y = x
        for _ in range(50):
            y = (y * y).tanh()
    assert held() - before < 1.5


def test_backward_frees_as_it_goes(traced: None) -> None:
    x = megabytes(0.5, requires_grad=True)
    y = x
    for _ in range(50):
        y = y.sqrt()
    y = y.sum()
    before = held()
    assert before > 50
    tracemalloc.reset_peak()
    y.backward()
    peak = tracemalloc.get_traced_memory()[1] / MEGABYTE
    assert peak - before < 5  # a gradient and what a rule works with
    assert held() < 3  # x, its gradient
    assert held() - before < -48


def test_retain_graph_keeps_everything(traced: None) -> None:
    x = megabytes(0.5, requires_grad=True)
    y = x
    for _ in range(10):
        y = y.tanh()
    y = y.sum()
    before = held()
    y.backward(retain_graph=True)
    assert held() - before == pytest.approx(1, abs=0.1)  # the gradient of x, and nothing less
    y.backward()
    assert held() < 3


def test_a_parameter_that_is_gone_gets_no_gradient() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    w = tg.tensor([3.0, 4.0], requires_grad=True)
    gone = weakref.ref(w)
    y = (x * w).sum()
    del w
    assert gone() is None
    y.backward()
    assert x.grad.tolist() == [3, 4]


# ----- depth -------------------------------------------------------------------------------------


@pytest.mark.host  # depth is a matter of the engine
def test_a_chain_of_100_000_nodes() -> None:
    x = tg.tensor(1.0, dtype=tg.float64, requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y + 0.5
    assert y.item() == 50_001
    graph = watch(y)
    assert len(graph) == 100_001
    y.backward()
    assert x.grad.item() == 1
    listing = str(tg.graph(y))
    assert listing.count("\n") == 100_000
    assert listing.endswith("(%99999, 0.5)  float64 ()")
    del y
    assert alive(graph) == [x.node]


def test_a_deep_graph_that_nobody_walked() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y * 1.0
    graph = weakref.ref(y.node)
    del y
    assert graph() is None


def test_the_backward_graph_of_a_deep_chain() -> None:
    x = tg.tensor(0.5, dtype=tg.float64, requires_grad=True)
    y, value, slope, log_slope_slope = x, 0.5, 1.0, 0.0
    for _ in range(5_000):
        y = y.sin()
        # By the chain rule: y' = Π cos yₖ, and (log y')' = -Σ tan(yₖ) yₖ'.
        log_slope_slope -= np.tan(value) * slope
        slope *= np.cos(value)
        value = np.sin(value)
    (first,) = tg.grad(y, x, create_graph=True)
    graph = watch(first, y)
    assert len(tg.graph(first)) > 10_000
    (second,) = tg.grad(first, x)
    assert np.isclose(first.item(), slope)
    assert np.isclose(second.item(), slope * log_slope_slope)
    del first, y
    assert alive([r for r in graph if r() is not x.node and not isinstance(r(), np.ndarray)]) == []


def test_thousands_of_inputs_of_one_op() -> None:
    parts = [tg.tensor([float(i)], requires_grad=True) for i in range(3_000)]
    (tg.cat(parts) * tg.arange(3_000)).sum().backward()
    assert [p.grad.item() for p in parts] == list(range(3_000))


def test_thousands_of_plain_arrays_of_one_op() -> None:
    images = [np.full((2,), i, "float32") for i in range(3_000)]
    assert tg.stack(images).sum().item() == 2 * sum(range(3_000))


# ----- errors ------------------------------------------------------------------------------------


class Refuse(tg.Op, register=False):
    """The identity, of which nobody knows the gradient."""

    def forward(self, xp, x):
        return x * 1

    def grad_x(self, F, g, x):
        raise ArithmeticError("no idea")


@pytest.mark.parametrize(
    "backward",
    [
        lambda loss, x: loss.backward(),
        lambda loss, x: loss.backward(create_graph=True),
        lambda loss, x: tg.grad(loss, x, create_graph=True),
        lambda loss, x: tg.grad(loss, x),
    ],
    ids=["backward", "backward create_graph", "grad create_graph", "grad"],
)
def test_an_error_in_backward_leaks_nothing(backward: Callable[[Tensor, Tensor], Any]) -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    loss = tg.function(Refuse)(x.exp()).exp().sum()
    graph = watch(loss)
    with pytest.raises(ArithmeticError, match="no idea") as caught:
        backward(loss, x)
    del loss, caught
    assert alive(graph) == [x.node]
    assert x.grad is None


def test_an_error_in_forward_leaks_nothing() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    h = x.exp()
    graph = watch(h)
    with pytest.raises(ValueError, match="broadcast") as caught:
        h + tg.ones(3)
    del h, caught
    assert alive(graph) == [x.node]
