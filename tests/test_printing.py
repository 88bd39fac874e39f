"""set_printoptions changes how tensors are printed, and nothing else."""

from collections.abc import Iterator

import numpy as np
import pytest

import tinygrad_cv as tg

pytestmark = pytest.mark.host  # what is printed names the device


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    tg.set_printoptions(profile="default")


def test_precision() -> None:
    x = tg.tensor([np.pi, 100.0])
    assert repr(x) == "tensor([  3.1416, 100.    ])"
    tg.set_printoptions(precision=2)
    assert repr(x) == "tensor([  3.14, 100.  ])"
    assert x.tolist() == [float(np.float32(np.pi)), 100.0]
    tg.set_printoptions(profile="default")
    assert repr(x) == "tensor([  3.1416, 100.    ])"


def test_threshold_and_edgeitems() -> None:
    assert "..." in repr(tg.arange(1001))
    assert "..." not in repr(tg.arange(1000))
    tg.set_printoptions(threshold=5, edgeitems=1)
    assert repr(tg.arange(6)) == "tensor([0, ..., 5])"
    tg.set_printoptions(profile="full")
    assert "..." not in repr(tg.arange(5000))
    tg.set_printoptions(profile="short", edgeitems=1)
    assert repr(tg.arange(1001)) == "tensor([0, ..., 1000])".replace("[0", "[   0")


def test_linewidth() -> None:
    assert repr(tg.arange(20)).count("\n") == 1
    tg.set_printoptions(linewidth=200)
    assert repr(tg.arange(20)).count("\n") == 0


def test_sci_mode() -> None:
    x = tg.tensor([0.00001, 12345.5, -1.0])
    tg.set_printoptions(sci_mode=True, precision=2)
    assert repr(x) == "tensor([ 1.00e-05,  1.23e+04, -1.00e+00])"
    tg.set_printoptions(sci_mode=False)
    assert repr(x) == "tensor([    0.00, 12345.50,    -1.00])"
    assert repr(tg.tensor([np.nan, np.inf, 1.0])) == "tensor([ nan,  inf, 1.00])"
    assert repr(tg.tensor([1, 2])) == "tensor([1, 2])"
    assert repr(tg.zeros(0)) == "tensor([])"
    tg.set_printoptions()
    assert "e" in repr(x)


def test_an_empty_tensor_tells_its_shape() -> None:
    assert repr(tg.zeros(2, 0)) == "tensor([], size=(2, 0))"
    assert repr(tg.zeros(0)) == "tensor([])"


def test_an_unknown_profile() -> None:
    with pytest.raises(ValueError, match=r"one of \['default', 'short', 'full'\]; got 'long'"):
        tg.set_printoptions(profile="long")
