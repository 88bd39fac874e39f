"""The backend seam: an op finds everything through its backend, and devices do not mix."""

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_cv as tg
from tinygrad_cv.backend.numpy_backend import NumpyBackend
from tinygrad_cv.tensor import Tensor, wrap

pytestmark = pytest.mark.host  # the devices are named here

PACKAGE = Path(tg.__file__).parent


class Elsewhere(NumpyBackend):
    """A second device, which counts what is asked of it."""

    def __init__(self) -> None:
        super().__init__("elsewhere")
        self.asked: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name in ("conv", "relu", "max_pool", "batch_norm", "batch_norm_backward", "matmul"):
            self.asked.append(name)
        return super().__getattribute__(name)


def there(backend: Elsewhere, *shape: int, requires_grad: bool = True) -> Tensor:
    tensor = wrap(np.random.default_rng(0).standard_normal(shape), backend)
    tensor.requires_grad = requires_grad
    return tensor


@pytest.mark.parametrize(
    "mix", [lambda a, b: a + b, lambda a, b: a @ b, lambda a, b: tg.cat([a, b]), tg.maximum]
)
def test_devices_do_not_mix(mix: Any) -> None:
    a, b = there(Elsewhere(), 2, 2), tg.ones(2, 2)
    with pytest.raises(ValueError, match=r"\(2, 2\) on elsewhere.*\(2, 2\) on cpu.*\.to\(device\)"):
        mix(a, b)
    with pytest.raises(ValueError, match="on different devices"):
        mix(b, a)


def test_a_gradient_from_another_device_is_refused() -> None:
    y = there(Elsewhere(), 2) * 2
    with pytest.raises(ValueError, match="on cpu and the output on elsewhere"):
        y.backward(tg.ones(2))


def test_a_step_stays_on_its_device_and_goes_through_its_backend() -> None:
    backend = Elsewhere()
    x = there(backend, 4, 3, 6, 6, requires_grad=False)
    w, gain, shift = there(backend, 5, 3, 3, 3), there(backend, 5), there(backend, 5)
    v = there(backend, 10, 20)
    h = tg.batch_norm(tg.conv2d(x, w), None, None, gain, shift, training=True)
    scores = tg.linear(tg.max_pool2d(h.relu(), 2).flatten(1), v)
    labels = wrap(np.array([0, 1, 2, 3]), backend)
    loss = tg.cross_entropy(scores, labels)
    loss.backward()
    for leaf in (w, gain, shift, v):
        assert leaf.grad is not None
        assert leaf.grad.device == loss.device == "elsewhere"
    wanted = {"conv", "relu", "max_pool", "batch_norm", "batch_norm_backward", "matmul"}
    assert set(backend.asked) == wanted


@pytest.mark.host
@pytest.mark.parametrize("name", ["tpu", "cpu:1", "cuda:x", "cuda:-1", "cuda:"])
def test_a_device_that_nobody_knows(name: str) -> None:
    with pytest.raises(ValueError, match=f"unknown device '{name}'"):
        tg.ones(2, device=name)


def test_only_the_backend_imports_an_array_library() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name == "backend":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            for name in names:
                assert name.split(".")[0] not in ("numpy", "cupy"), f"{path}: import {name}"


def test_the_engine_knows_nothing_that_stands_above_it() -> None:
    above = ("viz", "train", "nn", "optim", "data", "testing")
    engine = [PACKAGE / f"{name}.py" for name in ("tensor", "graph", "op", "symbol", "creation")]
    for path in [*engine, *(PACKAGE / "ops").glob("*.py"), *(PACKAGE / "backend").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tinygrad_cv."):
                assert str(node.module).split(".")[1] not in above, f"{path}: {node.module}"
