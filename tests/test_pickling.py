"""What goes to another process and comes back, or into a copy, is what it was."""

import copy
import math
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import tinygrad_cv as tg
from tinygrad_cv import backend as backends
from tinygrad_cv import nn, optim, testing, train
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.cli import CommandError
from tinygrad_cv.data.files import DatasetError
from tinygrad_cv.testing.strategies import arrays, shapes

Trip = Callable[[Any], Any]


def by_cloudpickle(value: Any) -> Any:
    return pickle.loads(pytest.importorskip("cloudpickle").dumps(value))


def out_of_band(value: Any) -> Any:
    """As a program does that keeps large arrays apart from the rest."""
    buffers: list[Any] = []
    text = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(text, buffers=[bytes(buffer.raw()) for buffer in buffers])


TRIPS: dict[str, Trip] = {
    **{
        f"pickle {protocol}": lambda value, protocol=protocol: pickle.loads(
            pickle.dumps(value, protocol)
        )
        for protocol in (2, 4, 5)
    },
    "buffers": out_of_band,
    "cloudpickle": by_cloudpickle,
    "deepcopy": copy.deepcopy,
}


@pytest.fixture(params=TRIPS)
def trip(request: pytest.FixtureRequest) -> Trip:
    return TRIPS[request.param]


def twin(x: Tensor, y: Tensor) -> None:
    assert type(x) is type(y)
    assert (x.dtype, x.device, x.requires_grad, x.name) == (
        y.dtype,
        y.device,
        y.requires_grad,
        y.name,
    )
    assert_array_equal(x.detach().numpy(), y.detach().numpy())


@pytest.mark.parametrize("name", TRIPS)
@given(data=st.data())
def test_a_tensor_is_what_it_was(name: str, data: Any) -> None:
    values = data.draw(arrays(shapes(0, 3)))
    dtype = data.draw(st.sampled_from(("bool", "uint8", "int64", "float16", "float32", "float64")))
    kind = data.draw(st.sampled_from(("whole", "turned", "broadcast", "empty")))
    x = tg.tensor(values).to(dtype=dtype)
    x = {
        "whole": lambda: x,
        "turned": lambda: x.T,
        "broadcast": lambda: x.expand(2, *x.shape),
        "empty": lambda: x.reshape(-1)[:0],
    }[kind]()
    x.requires_grad_(x.is_floating_point() and data.draw(st.booleans()))
    x.name = data.draw(st.sampled_from((None, "weight")))
    found = TRIPS[name](x)
    twin(found, x)
    found.data.zero_()  # it can be written to, and its memory is its own
    assert_array_equal(found.detach().numpy(), np.zeros(x.shape))
    if kind == "whole":
        assert_array_equal(x.detach().numpy(), values.astype(dtype))


def test_a_parameter_learns_on(trip: Trip) -> None:
    x = trip(nn.Parameter([1.0, 2.0]))
    assert type(x) is nn.Parameter
    (x * x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, 4.0]


def test_no_gradient_is_pickled() -> None:
    """As in PyTorch; a copy has one."""
    x = tg.ones(2, requires_grad=True)
    x.sum().backward()
    assert pickle.loads(pickle.dumps(x)).grad is None
    assert copy.deepcopy(x).grad is not None


def test_a_copied_parameter_begins_without_a_gradient() -> None:
    """Neither has it what a program said of the other; a pickled one has."""
    w = nn.Parameter([1.0])
    w.no_decay = True  # type: ignore[attr-defined]
    w.sum().backward()
    twin = copy.deepcopy(nn.ParameterList([w]))[0]
    assert (twin.grad, hasattr(twin, "no_decay")) == (None, False)
    assert pickle.loads(pickle.dumps(w)).no_decay


def test_a_deep_copy_keeps_one_tensor_one() -> None:
    x = tg.ones(2, requires_grad=True)
    x.sum().backward()
    one, (same,), gradient = copy.deepcopy((x, [x], x.grad))
    assert one is same is not x
    assert gradient is one.grad is not x.grad
    memo: dict[int, Any] = {}
    assert x.__deepcopy__(memo) is memo[id(x)]
    layer = nn.Linear(2, 2)
    model = nn.Sequential(layer, layer)
    twin, optimizer = copy.deepcopy((model, optim.SGD(model.parameters(), lr=0.1)))
    assert twin[0] is twin[1]
    assert optimizer.param_groups[0]["params"][0] is twin[0].weight
    (x * 2).sum().backward(create_graph=True)
    assert copy.deepcopy(x).grad.tolist() == [3.0, 3.0]


def test_what_shares_memory_shares_it_again() -> None:
    x = tg.ones(3, requires_grad=True)
    found, view, again = pickle.loads(pickle.dumps((x, x.detach(), x)))
    assert found is again
    assert view is not found
    if found.device == "cpu":
        view.zero_()
        assert found.tolist() == [0.0] * 3
        y = (found * found).sum()
        view += 1.0
        with pytest.raises(RuntimeError, match="changed in place"):
            y.backward()


@pytest.mark.parametrize("name", [name for name in TRIPS if name != "deepcopy"])
def test_a_tensor_of_a_graph_is_refused(name: str) -> None:
    x = tg.ones(2, requires_grad=True)
    for inside in (x * 2, [x * 2], {"a": x.sum()}):
        with pytest.raises(RuntimeError, match=r"(mul|sum) made stands in a graph.*x.detach\(\)"):
            TRIPS[name](inside)
    twin(TRIPS[name]((x * 2).detach()), (x * 2).detach())
    with tg.no_grad():
        twin(TRIPS[name](x * 2), x * 2)


class Named(Tensor):
    """A tensor of somebody else's, with an attribute."""


def test_a_kind_of_tensor_keeps_its_attributes() -> None:
    x = Named([1.0])
    x.unit = "m"  # type: ignore[attr-defined]
    found = pickle.loads(pickle.dumps(x))
    assert (type(found), found.unit) == (Named, "m")


def net() -> nn.Module:
    generator = tg.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, generator=generator),
        nn.BatchNorm2d(2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5, generator=generator),
        nn.Linear(2 * 2 * 2, 3, generator=generator),
    )


def learn(model: nn.Module, optimizer: optim.Optimizer, steps: int = 2) -> list[float]:
    x = tg.randn(4, 1, 6, 6, generator=np.random.default_rng(1))
    losses = []
    for _ in range(steps):
        loss = tg.cross_entropy(model(x), tg.tensor([0, 1, 2, 0]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(
    "make",
    [
        lambda params: optim.SGD(params, lr=0.1, momentum=0.9),
        lambda params: optim.SGD(params, lr=0.1),
        lambda params: optim.Adam(params, lr=0.1),
    ],
    ids=["momentum", "plain", "adam"],
)
@pytest.mark.parametrize("name", ["pickle 5", "buffers", "cloudpickle", "deepcopy"])
def test_a_model_and_its_optimizer_go_on_where_they_were(name: str, make: Any) -> None:
    """The optimizer's parameters are those of the model, its state and the chances go along."""
    model = net()
    optimizer = make(list(model.parameters()))
    learn(model, optimizer)
    other_model, other_optimizer = TRIPS[name]((model, optimizer))
    assert all(
        p is q
        for p, q in zip(
            other_model.parameters(), other_optimizer.param_groups[0]["params"], strict=True
        )
    )
    assert not {id(p) for p in model.parameters()} & {id(p) for p in other_model.parameters()}
    assert learn(other_model, other_optimizer) == learn(model, optimizer)
    for (name, x), (other, y) in zip(
        model.state_dict().items(), other_model.state_dict().items(), strict=True
    ):
        assert name == other
        twin(x, y)


def test_a_trainer_goes_along(trip: Trip) -> None:
    model = net()
    trainer = train.Trainer(model, optim.Adam(model.parameters()), schedule=train.cosine)
    found = trip(trainer)
    assert found.optimizer.param_groups[0]["params"][0] is next(found.model.parameters())
    assert found.loss_fn is tg.cross_entropy


@pytest.mark.host
def test_errors_come_from_another_process(trip: Trip) -> None:
    """As they were; one that cannot be read back breaks a whole pool of processes."""
    calls: list[Callable[[], Any]] = [
        lambda: tg.ones(2) + tg.ones(3),
        lambda: tg.linalg.inv(tg.zeros(2, 2)),
        lambda: nn.Linear(1, 1).load_state_dict({}),
        lambda: tg.load("nowhere"),
        lambda: tg.add(object(), tg.ones(1)),
        lambda: testing.check_gradients(lambda x: x.detach() * x, [np.ones(2)]),
    ]
    errors: list[BaseException] = [
        train.DivergenceError(math.inf, 3),
        DatasetError.about(Path("a"), "b", "c"),
        CommandError("sentence", status=7),
    ]
    for call in calls:
        with pytest.raises(Exception) as caught:  # noqa: PT011  each has its own
            call()
        errors.append(caught.value)
    for error in errors:
        found = trip(error)
        assert (type(found), str(found)) == (type(error), str(error))
        told = {k: v for k, v in vars(error).items() if k != "tinygrad_cv"}
        assert {k: v for k, v in vars(found).items() if k in told}.keys() == told.keys()


def test_there_is_one_backend_a_device(trip: Trip) -> None:
    backend = tg.ones(1)._backend
    assert trip(backend) is backend
    assert copy.copy(backend) is backend


def test_generators_draw_on(trip: Trip) -> None:
    generator = np.random.default_rng(3)
    tg.rand(3, generator=generator)
    other = trip(generator)
    assert tg.rand(3, generator=other).tolist() == tg.rand(3, generator=generator).tolist()


@pytest.mark.host
def test_a_device_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    text = pickle.dumps(tg.ones(2, 3, device="fakecuda:1"))

    def absent(device: str | None) -> Any:
        raise RuntimeError("no card is here")

    monkeypatch.setattr(backends, "get", absent)
    with pytest.raises(RuntimeError, match=r"\(2, 3\).* on fakecuda:1.*not here.*no card.*cpu\(\)"):
        pickle.loads(text)


@pytest.mark.host
def test_other_processes_take_tensors_models_and_functions() -> None:
    """Started anew, so that all comes by pickle; on the host and on the stand-in of a GPU."""
    model = nn.Sequential(nn.Linear(3, 2), nn.Softmax(1) if hasattr(nn, "Softmax") else nn.Tanh())
    model.requires_grad_(False)
    x = tg.randn(4, 3)
    card = tg.ones(2, device="fakecuda:1")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        jobs = [
            pool.submit(model, x),
            pool.submit(tg.softmax, x, 1),
            pool.submit(tg.exp, card),
            pool.submit(tg.exp, tg.ones(2, requires_grad=True)),
        ]
        twin(jobs[0].result(), model(x))
        twin(jobs[1].result(), tg.softmax(x, 1))
        twin(jobs[2].result(), tg.exp(card))
        with pytest.raises(RuntimeError, match="exp made stands in a graph"):
            jobs[3].result()


@pytest.mark.host
def test_joblib_keeps_a_model(tmp_path: Any) -> None:
    """It maps large arrays into memory, where they cannot be written to."""
    joblib = pytest.importorskip("joblib")
    model = nn.Linear(300, 300)
    joblib.dump(model, tmp_path / "model")
    for mode in (None, "r", "c"):
        found = joblib.load(tmp_path / "model", mmap_mode=mode)
        twin(found.weight, model.weight)
        assert type(found.weight._array) is np.ndarray
        found.weight.data.zero_()
        twin(joblib.load(tmp_path / "model").weight, model.weight)
