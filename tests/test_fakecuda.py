"""The stand-in for a GPU: it catches what a card would answer with an error, a lie or a wait."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv import nn, optim
from tinygrad_cv._apply import function
from tinygrad_cv._tensor import Tensor, wrap
from tinygrad_cv.backend import get
from tinygrad_cv.backend.base import NAMESPACE
from tinygrad_cv.testing import SynchronizationError, no_sync, synchronizations
from tinygrad_cv.testing.fakecuda import FAKE_CUPY as CP
from tinygrad_cv.testing.fakecuda import NAMES, DeviceArray
from tinygrad_cv.testing.strategies import arrays, shapes

pytestmark = pytest.mark.host  # the device under test is named here

FAKE = "fakecuda"


def on(values: Any, dtype: Any = "float32") -> DeviceArray:
    array: DeviceArray = get(FAKE).array(np.asarray(values, dtype), None)
    return array


# ----- five typical mistakes ----------------------------------------------------------------------


class Leak(tg.Op, register=False):
    """A NumPy array leaks into the op."""

    def forward(self, xp, x):  # type: ignore[no-untyped-def]
        return x * np.linspace(0, 1, x.shape[0], dtype="float32")

    def local_x(self, F, x):  # type: ignore[no-untyped-def]
        return F.sign(x)


class Keyword(Leak, register=False):
    """A keyword that CuPy lacks."""

    def forward(self, xp, x):  # type: ignore[no-untyped-def]
        return x - xp.max(x, initial=0.0)


class NumpyCall(Leak, register=False):
    """A function of NumPy on a device array."""

    def forward(self, xp, x):  # type: ignore[no-untyped-def]
        return np.exp(x)


class Count(Leak, register=False):
    """+= at places of which one is named twice."""

    def forward(self, xp, x):  # type: ignore[no-untyped-def]
        total = xp.zeros(2, dtype=x.dtype)
        total[xp.array([0, 1, 1], None)] += x
        return total


class Peeking(nn.Module):
    """A layer that reads a number off the device."""

    def forward(self, x: Tensor) -> Tensor:
        return x / float(x.detach().max())


@pytest.mark.parametrize(
    ("mistake", "error", "message"),
    [
        (function(Leak), TypeError, "do not mix"),
        (Peeking(), SynchronizationError, "makes the host wait"),
        (function(Keyword), TypeError, "CuPy's max.*unexpected keyword argument 'initial'"),
        (function(Count), IndexError, "names a place more than once"),
        (function(NumpyCall), TypeError, "np.exp got DeviceArray"),
    ],
)
def test_a_typical_mistake_is_caught(
    mistake: Callable[[Tensor], Tensor], error: type[Exception], message: str
) -> None:
    mistake(tg.tensor([0.5, 1.0, 2.0]))  # the CPU takes it
    with no_sync(), pytest.raises(error, match=message):
        mistake(tg.tensor([0.5, 1.0, 2.0], device=FAKE))


def test_an_array_that_an_op_returns_must_be_the_devices() -> None:
    class Away(Leak, register=False):
        def forward(self, xp, x):  # type: ignore[no-untyped-def]
            return x.get()

    with pytest.raises(TypeError, match="its forward must stay on the device"):
        function(Away)(tg.ones(2, device=FAKE))


# ----- the rules ----------------------------------------------------------------------------------

HOST = np.ones(3, "float32")


@pytest.mark.parametrize(
    "mix",
    [
        lambda d: d + HOST,
        lambda d: HOST + d,
        lambda d: HOST * d,
        lambda d: d > HOST,
        lambda d: d == HOST,
        lambda d: d @ HOST,
        lambda d: np.asarray(d),
        lambda d: np.array([d, d]),
        lambda d: np.exp(d),
        lambda d: np.add(d, d),
        lambda d: np.add.reduce(d),
        lambda d: np.sum(d),
        lambda d: np.concatenate([d, d]),
        lambda d: CP.add(d, HOST),
        lambda d: CP.concatenate([d, HOST]),
        lambda d: CP.where(d > 0, d, HOST),
        lambda d: d.__setitem__(slice(None), HOST),
        lambda d: HOST.copy().__setitem__(slice(None), d),
        lambda d: d.__iadd__(HOST),
        lambda d: d[np.array([0, 1])],
        lambda d: d[np.array([True, False, True])],
        lambda d: d.__setitem__(np.array([0, 1]), 0.0),
        lambda d: d.__add__([1.0, 2.0, 3.0]),
        lambda d: d.dot(HOST),
    ],
)
def test_arrays_of_the_host_and_of_the_device_do_not_mix(mix: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError):
        mix(on([1, 2, 3]))


def test_scalars_mix() -> None:
    d = on([1, 2])
    for result in (d + 1, 1 + d, np.float32(1) + d, d + np.float32(1), True + d):
        assert result.get().tolist() == [2, 3]
        assert result.dtype == "float32"


@given(st.data())
def test_arithmetic_is_numpys(data: Any) -> None:
    x = data.draw(arrays(shapes(), 0.5, 2.0))
    y = np.asarray(x[..., :1] if x.ndim else x + 1)
    a, b = on(x, "float64"), on(y, "float64")
    for f in (
        lambda a, b: a + b * a - b / a,
        lambda a, b: (a**b) // 2 % 3,
        lambda a, b: -a.T.sum() + abs(b).max(),
        lambda a, b: (a < b) | (a >= b) & ~(a == b),
        lambda a, b: a[..., None] * 2,
    ):
        np.testing.assert_array_equal(f(a, b).get(), f(x, y))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: CP.max(d, where=True), "where"),
        (lambda d: CP.sum(d, initial=1), "initial"),
        (lambda d: d.sum(initial=1), "initial"),
        (lambda d: CP.add(d, d, where=True), "where"),
        (lambda d: CP.arange(3, device="gpu"), "device"),
    ],
)
def test_only_the_keywords_that_cupy_has(call: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{message}'"):
        call(on([1, 2]))


def test_only_the_names_that_cupy_has() -> None:
    for name in ("spacing", "nditer", "vdot_"):
        with pytest.raises(AttributeError, match=f"CuPy {NAMES['cupy']} has no {name}"):
            getattr(CP, name)
    with pytest.raises(AttributeError, match=r"has no ndarray\.newbyteorder"):
        on([1]).newbyteorder()


def test_cupy_has_every_name_that_ops_may_use() -> None:
    assert all(getattr(CP, name) for name in NAMESPACE)


def test_a_reduction_gives_an_array_without_axes() -> None:
    for result in (on([1, 2]).sum(), CP.max(on([1, 2])), on([1, 2])[0], CP.mean(on([1, 2]))):
        assert isinstance(result, DeviceArray)
        assert result.shape == ()


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[1:],
        lambda x: x.T,
        lambda x: x.reshape(6),
        lambda x: CP.swapaxes(x, 0, 1),
        lambda x: CP.broadcast_to(x, (5, 2, 3)),
        lambda x: CP.split(x, 2)[1],
    ],
)
def test_a_view_holds_the_array_whose_memory_it_lies_in(view: Callable[[Any], Any]) -> None:
    x = on([[1, 2, 3], [4, 5, 6]])
    assert x.base is None
    assert view(x).base is x
    assert view(x)[:1].base is x
    assert (view(x) + 1).base is None


def test_what_a_function_hands_on_is_the_same_array() -> None:
    x = on([1, 2])
    for same in (x.astype("float32", copy=False), CP.asarray(x), CP.ascontiguousarray(x)):
        assert same is x


def test_an_element_is_a_view() -> None:
    d = on([1, 2])
    first = d[0]
    first[...] = 5
    assert d.get().tolist() == [5, 2]


@pytest.mark.parametrize(
    "wait",
    [
        float,
        int,
        bool,
        complex,
        str,
        repr,
        lambda d: d.item(),
        lambda d: d.get(),
        lambda d: d.tolist(),
        lambda d: d.reshape(1)[d.reshape(1) > 0],
        lambda d: CP.nonzero(d.reshape(1)),
        lambda d: d.reshape(1).nonzero(),
        lambda d: CP.where(d.reshape(1) > 0),
        lambda d: CP.argwhere(d.reshape(1)),
        lambda d: CP.unique(d),
        lambda d: [1, 2, 3][d],
        lambda d: print(d),
    ],
)
def test_a_wait_is_counted_and_can_be_forbidden(wait: Callable[[Any], Any]) -> None:
    d = on(2, "int64")
    before = synchronizations()
    wait(d)
    assert synchronizations() == before + 1
    with no_sync(), pytest.raises(SynchronizationError):
        wait(d)
    wait(d)  # allowed again


def test_arithmetic_does_not_wait() -> None:
    with no_sync():
        d = on([1, 2]) * 2
        d[CP.asarray([0])] = 1
        CP.where(d > 1, d, 0.0).sum(axis=0)


def test_fresh_memory_is_poisoned() -> None:
    assert np.isnan(CP.empty((2, 2), "float32").get()).all()
    assert np.isnan(CP.empty_like(on([1, 2])).get()).all()
    assert CP.empty(2, "int32").get().min() == np.iinfo("int32").max


def test_an_index_out_of_bounds_is_an_error() -> None:
    d = on([1, 2])
    with pytest.raises(IndexError):
        d[CP.asarray([2])]
    with pytest.raises(IndexError):
        d[CP.asarray([-3])] = 0


def test_places_may_not_repeat_in_an_assignment() -> None:
    d = on(np.zeros((2, 3)))
    d[CP.asarray([0, 1]), CP.asarray([0, 0])] = 1
    with pytest.raises(IndexError, match="more than once"):
        d[CP.asarray([0, 0]), CP.asarray([1, -2])] = 1
    assert d.get().tolist() == [[1, 0, 0], [1, 0, 0]]


def test_repeated_places_add_up_in_any_order() -> None:
    """1e8 swallows a 1 in single precision, so the sum depends on the order."""
    values = np.array([1e8, *[1.0] * 50, -1e8], "float32")
    sums = set()
    for _ in range(8):
        d = on([0])
        CP.add.at(d, CP.asarray(np.zeros(52, "int64")), on(values))
        sums.add(float(d.get()[0]))
    assert len(sums) > 1
    exact = on(np.zeros((2, 2)))
    CP.add.at(exact, CP.asarray([1, 1]), on([[1, 2], [3, 4]]))
    assert exact.get().tolist() == [[0, 0], [4, 6]]
    with pytest.raises(TypeError, match="int64"):
        CP.add.at(on([0], "int64"), CP.asarray([0]), 1)


def test_stacked_products_in_half_precision() -> None:
    stack = on(np.ones((2, 2, 2)), "float16")
    with pytest.raises(TypeError, match="half precision"):
        CP.matmul(stack, stack)
    assert CP.matmul(stack[0], stack[0]).dtype == "float16"
    product = tg.matmul(wrap(stack, get(FAKE)), wrap(stack, get(FAKE)))  # our kernel converts
    assert (product.dtype, product.numpy().max()) == (np.float16, 2)


@pytest.mark.parametrize("values", [["a"], [None], np.array(["2026"], "M8[Y]")])
def test_a_device_holds_numbers(values: Any) -> None:
    with pytest.raises(TypeError):
        CP.asarray(np.asarray(values))
    with pytest.raises(TypeError):
        tg.Tensor(np.asarray(values), device=FAKE)


def test_devices_are_told_apart() -> None:
    first, second = get("fakecuda:0"), get("fakecuda:1")
    assert get(FAKE) is first is not second
    a, b = first.array(HOST, None), second.array(HOST, None)
    with pytest.raises(ValueError, match="device 1 was used while device 0 is active"):
        a + b
    with first.active, second.active:
        assert (b + b).device_id == 1
    assert (a + a).device_id == 0
    with pytest.raises(ValueError, match="'fakecuda:2' is not there: this machine has 2"):
        get("fakecuda:2")


# ----- the whole stack ----------------------------------------------------------------------------


def model(generator: Any) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, generator=generator),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1, groups=2, stride=2, generator=generator),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3, generator=generator),
        nn.Linear(8, 4, generator=generator),
    )


@pytest.mark.parametrize("place", [FAKE, "fakecuda:1"])
@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, 0.1, momentum=0.9), optim.Adam])
def test_a_training_step_does_not_wait(place: str, make: Callable[..., Any]) -> None:
    generator = tg.manual_seed(0)
    net = model(generator).to(place)
    optimizer = make(net.parameters())
    x, labels = tg.randn(4, 3, 8, 8, device=place), tg.tensor([0, 1, 2, 3], device=place)
    with no_sync():
        for _ in range(2):
            optimizer.zero_grad()
            loss = tg.cross_entropy(net(x), labels)
            loss.backward()
            optimizer.step()
    assert loss.device == get(place).device
    for parameter in net.parameters():
        assert parameter.grad is not None
        assert parameter.grad.device == parameter.device == loss.device
        assert np.isfinite(parameter.detach().numpy()).all()


def test_a_label_out_of_range_gives_nan() -> None:
    scores = tg.zeros(3, 2, device=FAKE, requires_grad=True)
    losses = tg.cross_entropy(scores, tg.tensor([0, 2, -1], device=FAKE), reduction="none")
    assert np.isnan(losses.detach().numpy()).tolist() == [False, True, True]
    losses.sum().backward()
    assert scores.grad is not None
    assert np.isnan(scores.grad.numpy()).any(axis=1).tolist() == [False, True, True]


def test_an_op_of_ones_own_needs_no_line_about_devices(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(__file__).parents[1] / "examples" / "custom_op.py"
    spec = importlib.util.spec_from_file_location("custom_op", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    printed = {}
    for device in ("cpu", FAKE):
        tg.set_default_device(device)
        module.main()
        printed[device] = capsys.readouterr().out
    tg.set_default_device("cpu")
    assert "swish is right" in printed[FAKE]
    assert "device='fakecuda:0'" in printed[FAKE]
    assert "and a broken rule:\nthe gradient of" in printed[FAKE]
