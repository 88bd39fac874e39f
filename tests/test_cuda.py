"""What only a card, or CuPy itself, can show. The rest of the suite runs on the card as well."""

import importlib.util
from typing import Any

import numpy as np
import pytest

import tinygrad_cv as tg
from gpu import snapshot
from tinygrad_cv import nn, optim
from tinygrad_cv.backend import get
from tinygrad_cv.testing.fakecuda import NAMES

pytestmark = pytest.mark.host  # the device is named here


def test_the_names_of_cupy_are_those_of_the_version_that_is_installed() -> None:
    if importlib.util.find_spec("cupy") is None:
        pytest.skip("CuPy is not installed")
    import cupy

    if cupy.__version__ != NAMES["cupy"]:
        pytest.skip(f"CuPy {cupy.__version__} is installed; the snapshot is of {NAMES['cupy']}")
    assert snapshot.names() == NAMES


def model() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, groups=3, generator=tg.manual_seed(0)),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(96, 4),
    )


@pytest.mark.gpu
@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, 0.1, momentum=0.9), optim.Adam])
def test_some_steps_on_the_card_are_those_of_the_cpu(make: Any) -> None:
    trained = {}
    for device in ("cpu", "cuda"):
        net = model().to(device)
        optimizer = make(net.parameters())
        rng = np.random.default_rng(0)
        for _ in range(3):
            x = tg.tensor(rng.standard_normal((5, 3, 8, 8), np.float32), device=device)
            optimizer.zero_grad()
            tg.cross_entropy(net(x), tg.tensor([0, 1, 2, 3, 0], device=device)).backward()
            optimizer.step()
        trained[device] = {name: value.numpy() for name, value in net.state_dict().items()}
    for name, value in trained["cpu"].items():
        np.testing.assert_allclose(trained["cuda"][name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
def test_the_card_and_the_stand_in_draw_the_same_numbers() -> None:
    for draw in (tg.rand, tg.randn):
        drawn = [
            draw(1001, generator=tg.manual_seed(0), device=device).numpy()
            for device in ("cuda", "fakecuda")
        ]
        np.testing.assert_allclose(*drawn, rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
def test_an_array_of_cupy_becomes_a_tensor() -> None:
    import cupy

    array = cupy.arange(3.0)
    x = tg.Tensor(array, device="cuda")
    array += 1
    assert x.tolist() == [0, 1, 2]
    assert get("cuda").device == "cuda:0" == x.device


@pytest.mark.gpu
def test_dlpack_stays_on_the_card() -> None:
    import cupy

    x = tg.randn(2, 3, device="cuda")
    theirs = cupy.from_dlpack(x)
    np.testing.assert_array_equal(theirs.get(), x.numpy())
    theirs[:] = 0  # a copy: what a graph relies on stays
    assert (x.numpy() != 0).all()
    back = tg.from_dlpack(cupy.arange(6.0).reshape(2, 3).T)
    assert (back.device, back.tolist()) == ("cuda:0", [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]])
    with pytest.raises(BufferError, match="cannot be marked"):
        x.__dlpack__(copy=False)
