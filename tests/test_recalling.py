"""What a finished graph gave: saved, or computed again, and never a number that was not there."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv import nn, viz
from tinygrad_cv._graph import Beside, observer
from tinygrad_cv.viz.recalling import recalled

pytestmark = pytest.mark.host

ONE: list[Callable[[tg.Tensor], tg.Tensor]] = [
    tg.relu, tg.tanh, tg.exp, lambda x: x * 0.5, lambda x: x + 1.0, lambda x: x.mT.mT,
    lambda x: tg.dropout(x, 0.3), lambda x: x[[2, 0, 1]], lambda x: x.detach() * x,
    lambda x: tg.cat([x[:1], x[1:]]), lambda x: tg.layer_norm(x, (4,)), tg.clone,
    lambda x: tg.stack([x, x]).sum(dim=0), lambda x: x.split(2, dim=1)[1].repeat(1, 2),
    lambda x: x.sort(dim=1).values, lambda x: x.reshape(4, 3).reshape(3, 4),
]  # fmt: skip
TWO: list[Callable[[tg.Tensor, tg.Tensor], tg.Tensor]] = [
    tg.add, tg.mul, tg.sub, tg.maximum, lambda a, b: a / (b * b + 1),
    lambda a, b: tg.where(a > b, a, b), lambda a, b: a @ b.mT @ b,
]  # fmt: skip


def replaced(x: tg.Tensor) -> None:
    x.data = x.data + 1


def written(x: tg.Tensor) -> None:
    x.data[0, 0] = 5.0


def added(x: tg.Tensor) -> None:
    with tg.no_grad():
        x += 1


def scaled(x: tg.Tensor) -> None:
    if not x.is_leaf:
        x.mul_(0.5)


def assigned(x: tg.Tensor) -> None:
    if not x.is_leaf:
        x[0] = 1.0


CHANGES = [replaced, written, added, scaled, assigned]


class Live(Beside):
    """Keeps a copy of what each op gave, as it gave it."""

    def __init__(self) -> None:
        super().__init__(None)
        self.gave: dict[int, Any] = {}

    def made(self, tensor: Any, inputs: tuple[Any, ...]) -> None:
        if tensor.grad_fn is not None:
            self.gave[tensor.grad_fn.number] = tensor.numpy(force=True).copy()


@given(st.data(), st.booleans(), st.integers(0, 99))
def test_what_is_recalled_is_what_was_there(data: Any, changing: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    start = rng.standard_normal((3, 3, 4)).astype("float32")
    values = [tg.tensor(part, requires_grad=i < 2) for i, part in enumerate(start)]

    def change() -> None:
        if changing and data.draw(st.booleans()):
            try:
                data.draw(st.sampled_from(CHANGES))(data.draw(st.sampled_from(values)))
            except RuntimeError:  # what the engine refuses
                return

    live = Live()
    token = observer.set(live)
    try:
        for _ in range(6):
            change()
            if data.draw(st.booleans()):
                made = data.draw(st.sampled_from(ONE))(data.draw(st.sampled_from(values)))
            else:
                pair = [data.draw(st.sampled_from(values)) for _ in range(2)]
                made = data.draw(st.sampled_from(TWO))(*pair)
            values.append(made)
    finally:
        observer.reset(token)
    change()
    for node, array, _ in recalled(values[-2:]):
        if node.number in live.gave:
            np.testing.assert_allclose(array, live.gave[node.number], rtol=1e-4, atol=1e-5)


def known(trace: viz.Trace) -> set[str]:
    """The names and ops of a graph whose values are known."""
    return {trace.nodes[i].name or trace.nodes[i].op for i in trace.steps[0].values}


def test_every_box_of_a_neuron_has_its_value() -> None:
    w, x, b = (tg.tensor(v, requires_grad=True) for v in ([2.0, -3.0], [-1.0, -2.0], -3.0))
    out = 1 / (1 + tg.exp(-((w * x).sum() + b)))
    trace = viz.trace(out, values=True)
    assert set(trace.steps[0].values) == {node.id for node in trace.nodes}
    assert trace.steps[0].loss == pytest.approx(0.731, abs=1e-3)


def test_a_model_is_known_whole_after_an_update_and_freed_values() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    x, labels = tg.randn(3, 1, 4, 4), tg.tensor([0, 1, 1])
    tg.cross_entropy(model(x), labels).backward()
    optimizer.step()  # the counters of the parameters have moved
    loss = tg.cross_entropy(model(x), labels)
    statistics = model[1].running_mean.numpy().copy()
    expected = {"x", "0.weight", "conv2d", "batch_norm", "3.bias", "linear", "labels", "loss"}
    assert expected <= known(viz.trace(loss, values=True))
    assert np.array_equal(model[1].running_mean.numpy(), statistics)
    loss.backward()
    assert expected <= known(viz.trace(loss, values=True))
    optimizer.step()
    assert known(viz.trace(loss, values=True)) == {"x", "labels", "loss"}


def test_random_numbers_and_ops_of_others_are_not_computed_again() -> None:
    runs = []

    class Mine(tg.Op, register=False):
        def forward(self, xp: Any, x: Any) -> Any:
            runs.append(x)
            return x * 2

        def grad_x(self, F: Any, g: Any) -> Any:
            return g * 2

    x = tg.ones(8, requires_grad=True)
    state = tg.manual_seed(0).bit_generator.state
    dropped = tg.dropout(x, 0.5)
    after = tg.manual_seed(0).bit_generator.state
    assert after == state
    y = dropped + 1.0
    z = tg.function(Mine)(x) + 1.0
    total = y + z
    assert known(viz.trace(total, values=True)) == {"x", "total"}
    assert len(runs) == 1


def test_a_value_that_is_written_to_is_not_what_the_op_gave() -> None:
    x = tg.ones(3, requires_grad=True)
    h = x * 2.0
    y = h + 1.0
    assert known(viz.trace(y, values=True)) == {"x", "h", "y"}
    h.data[...] = 9.0  # it was 2 when it was added
    trace = viz.trace(y, values=True)
    means = {trace.nodes[i].name: told.mean for i, told in trace.steps[0].values.items()}
    assert means == {"x": 1.0, "h": 2.0, "y": 3.0}
    z = h + 1.0
    assert "z" in known(viz.trace(z, values=True))
    z.data[...] = 0.0
    assert known(viz.trace(z, values=True)) == {"x", "h"}


def test_other_memory_for_a_leaf_is_another_value() -> None:
    w = tg.ones(3, requires_grad=True)
    y = w + 1.0
    w.data = w.data * 5.0
    assert known(viz.trace(y, values=True)) == {"y"}
    assert known(viz.trace(w + 1.0, values=True)) == {"w", "add"}
