"""The backend seam: an op finds everything through its backend, and devices do not mix."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinygrad_cv as tg
from tinygrad_cv import data, nn, optim
from tinygrad_cv._tensor import Tensor, wrap
from tinygrad_cv.backend import cupy_backend
from tinygrad_cv.backend.numpy_backend import NumpyBackend
from tinygrad_cv.train import load_model, save_model

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
        if PACKAGE / "backend" in path.parents:
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


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def imports(node: ast.AST) -> Iterator[str]:
    """The modules of the package that a program imports when it runs, in functions as well."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for part in node.orelse:
            yield from imports(part)
        return
    names = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    for name in names:
        if name.partition(".")[0] == "tinygrad_cv":
            yield name if name in MODULES else name.rpartition(".")[0]
    for part in ast.iter_child_nodes(node):
        yield from imports(part)


MODULES = {module_of(path): path for path in PACKAGE.rglob("*.py")}
ABOVE = ("__init__.py", "__main__.py", "_einops.py", "einops.py", "jit.py", "_warm_up.py")
"""What lies beside the engine, and stands above it."""
ENGINE = {
    name: set(imports(ast.parse(path.read_text(encoding="utf-8"))))
    for name, path in MODULES.items()
    if path.parent.name in ("ops", "backend") or (path.parent == PACKAGE and path.name not in ABOVE)
}
"""What each module of the engine imports."""


def test_the_engine_knows_nothing_that_stands_above_it() -> None:
    above = {"viz", "train", "nn", "optim", "data", "testing", "onnx", "cli"}
    above |= {"einops", "jit", "_warm_up", "program"}
    for name, imported in ENGINE.items():
        assert "tinygrad_cv" not in imported, f"{name} imports all of the package"
        assert above.isdisjoint(other.split(".")[1] for other in imported), name


def test_imports_make_no_circle() -> None:
    assert ENGINE["tinygrad_cv._reading"] >= {"tinygrad_cv._op", "tinygrad_cv.backend.base"}
    assert "tinygrad_cv.backend.windows" in ENGINE["tinygrad_cv.backend.numpy_backend"]
    TopologicalSorter(ENGINE).prepare()  # raises CycleError, which names the circle


def test_a_circle_would_be_seen() -> None:
    inside = "def f():\n    from tinygrad_cv import _op\n"
    names = "if TYPE_CHECKING:\n    from tinygrad_cv._graph import Node\n"
    assert list(imports(ast.parse(inside + names))) == ["tinygrad_cv._op"]
    back = ENGINE | {"tinygrad_cv._public": {"tinygrad_cv._op"}}
    with pytest.raises(CycleError, match=r"_op.*_public"):
        TopologicalSorter(back).prepare()


# ----- from one device to another -----------------------------------------------------------------

PLACES = ("cpu", "fakecuda", "fakecuda:1")


@pytest.mark.parametrize("source", PLACES)
@pytest.mark.parametrize("target", PLACES)
def test_gradients_flow_back_through_a_transfer(source: str, target: str) -> None:
    x = tg.tensor([1.0, 2.0], device=source, requires_grad=True)
    far = x.to(target)
    assert (far is x) == (source == target)
    y = (far**3).sum().to(source)
    (first,) = tg.grad(y, x, create_graph=True)
    (second,) = tg.grad(first.to(target).sum(), x)
    for result, expected in ((y, 9), (first, [3, 12]), (second, [6, 12])):
        assert result.device == x.device
        assert result.tolist() == expected
    x.to(target).sum().backward()
    assert x.grad is not None
    assert (x.grad.device, x.grad.tolist()) == (x.device, [1, 1])


def test_a_value_with_consumers_on_several_devices() -> None:
    x = tg.tensor([2.0], device="fakecuda:1", requires_grad=True)
    here = x * 1
    loss = (here * here).cpu() + (here.to("fakecuda:0") * 5).cpu() + here.cpu() * 7
    loss.backward()
    assert x.grad is not None
    assert (x.grad.device, x.grad.tolist()) == ("fakecuda:1", [4 + 5 + 7])


def test_to_takes_a_device_a_dtype_both_or_a_tensor() -> None:
    x = tg.tensor([1.5])
    like = tg.zeros(1, dtype="float64", device="fakecuda:1")
    for y in (
        x.to("fakecuda:1", "float64"),
        x.to(device="fakecuda:1", dtype=tg.float64),
        x.to(like),
        x.double().to("fakecuda:1"),
    ):
        assert (y.device, y.dtype, y.tolist()) == ("fakecuda:1", "float64", [1.5])
    with pytest.raises(ValueError, match="unknown device 'gpu'"):
        x.to("gpu")


def test_the_same_device_has_one_name() -> None:
    assert tg.ones(1, device="fakecuda").device == "fakecuda:0"
    y = tg.ones(1, device="fakecuda") + tg.ones(1, device="fakecuda:0")
    assert y.tolist() == [2]
    assert repr(y) == "tensor([2.], device='fakecuda:0')"


def test_a_copy_from_another_device() -> None:
    x = tg.zeros(2, device="fakecuda")
    x.copy_(tg.tensor([1.0, 2.0]))
    x.data[1] = tg.tensor(5.0)
    assert (x.device, x.tolist()) == ("fakecuda:0", [1, 5])
    assert tg.Tensor(x, device="cpu").tolist() == [1, 5]
    assert x[tg.tensor([1])].tolist() == [5]  # an index may come from anywhere
    assert tg.tensor([3.0, 4.0])[x.long() > 3].tolist() == [4]


def test_numpy_is_given_values_when_they_are_asked_for() -> None:
    x = tg.ones(2, device="fakecuda")
    values = x.numpy()
    assert isinstance(values, np.ndarray)
    assert not values.flags.writeable
    with pytest.raises(TypeError, match=r"a tensor of shape \(2,\) on fakecuda:0.*x\.numpy\(\)"):
        np.asarray(x)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


def test_a_module_moves_in_one_piece_and_back(tmp_path: Path) -> None:
    model = network()
    parameters = list(model.parameters())
    model(tg.rand(5, 3)).sum().backward()
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    gradients = [p.grad.numpy().copy() for p in parameters if p.grad is not None]
    assert model.to("fakecuda:1") is model
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    for p, g in zip(parameters, gradients, strict=True):
        assert p.grad is not None
        assert p.device == p.grad.device == "fakecuda:1"
        np.testing.assert_array_equal(p.grad.numpy(), g)
        assert p.requires_grad
        assert p.is_leaf
    for name, value in model.state_dict().items():
        assert value.device == "fakecuda:1"
        np.testing.assert_array_equal(value.numpy(), before[name])
    save_model(model, tmp_path / "model.safetensors")
    other = network()
    load_model(other, tmp_path / "model.safetensors")  # on the CPU
    other.to("fakecuda")
    load_model(other, tmp_path / "model.safetensors")  # on the device
    model.cpu()
    for name, value in other.cpu().state_dict().items():
        np.testing.assert_array_equal(value.numpy(), model.state_dict()[name].numpy())
    model.to("float64")
    floats = [value for name, value in model.state_dict().items() if "num_batches" not in name]
    assert {str(value.dtype) for value in floats} == {"float64"}
    with pytest.raises(TypeError, match="got the dtype int64"):
        model.to("int64")


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_gradient_follows_a_parameter_that_moved(create_graph: bool) -> None:
    layer = nn.Linear(1, 1, bias=False)
    y = layer(tg.tensor([[3.0]])).sum()
    layer.to("fakecuda:1", "float64")
    for times in (1, 2):
        y.backward(retain_graph=True, create_graph=create_graph)
        g = layer.weight.grad
        assert g is not None
        assert (g.device, g.dtype, g.tolist()) == ("fakecuda:1", tg.float64, [[3 * times]])


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, 0.1, momentum=0.9), optim.Adam])
def test_an_optimizer_goes_on_with_the_parameters_of_a_moved_model(make: Any) -> None:
    model = network()
    optimizer = make(model.parameters())
    model.to("fakecuda")
    before = model.state_dict()["0.weight"].numpy().copy()
    x = tg.rand(5, 3, device="fakecuda")
    model(x).sum().backward()
    optimizer.step()
    assert (model.state_dict()["0.weight"].numpy() != before).any()
    model.cpu()
    with pytest.raises(ValueError, match=r"on cpu, its gradient on cpu.*began on fakecuda:0"):
        optimizer.step()


def test_every_device_draws_from_the_generator_it_is_given() -> None:
    for draw in (tg.rand, tg.randn):
        first = draw(1000, generator=tg.manual_seed(0), device="fakecuda")
        again = draw(1000, generator=tg.manual_seed(0), device="fakecuda:1")
        later = draw(1000, device="fakecuda")
        assert first.tolist() == again.tolist()
        assert not set(first.tolist()) & set(later.tolist())
    assert tg.rand(3, dtype="float64", device="fakecuda").dtype == "float64"
    assert tg.rand(3, dtype="float16", device="fakecuda").dtype == "float16"
    with pytest.raises(TypeError, match="int64"):
        tg.rand(3, dtype="int64", device="fakecuda")


def test_batches_are_made_on_their_device() -> None:
    dataset = data.TensorDataset(np.arange(6.0), tg.arange(6, device="fakecuda"))
    loader = data.DataLoader(dataset, batch_size=4, device="fakecuda:1")
    batches = [(x.device, y.device, y.tolist()) for x, y in loader]
    assert batches == [("fakecuda:1",) * 2 + ([0, 1, 2, 3],), ("fakecuda:1",) * 2 + ([4, 5],)]


def test_the_default_device() -> None:
    assert tg.get_default_device() == "cpu"
    tg.set_default_device("fakecuda")
    made = (tg.ones(1), tg.tensor([1]), tg.rand(1), tg.arange(2), tg.eye(1), nn.Linear(1, 1).weight)
    assert {x.device for x in made} == {"fakecuda:0"}
    assert tg.zeros_like(tg.ones(1, device="cpu")).device == "cpu"
    with pytest.raises(ValueError, match="unknown device 'gpu'"):
        tg.set_default_device("gpu")
    assert tg.get_default_device() == "fakecuda:0"


# ----- a GPU that is not there --------------------------------------------------------------------


def test_the_package_is_imported_without_cupy() -> None:
    program = "import sys, tinygrad_cv, tinygrad_cv.testing; print('cupy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_without_cupy_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        cupy_backend.open_device(0)
    assert "pip install 'tinygrad_cv[cuda]'" in str(caught.value)


def test_without_a_card_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class CudaError(RuntimeError):
        pass

    def count() -> int:
        raise CudaError("cudaErrorNoDevice: no CUDA-capable device is detected")

    runtime = SimpleNamespace(CUDARuntimeError=CudaError, getDeviceCount=count)
    cupy = SimpleNamespace(__version__="14.0", cuda=SimpleNamespace(runtime=runtime))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(RuntimeError, match=r"CuPy 14\.0 is installed, and found no NVIDIA driver"):
        cupy_backend.open_device(0)
