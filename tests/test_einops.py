"""einops on our tensors: values beside its own on NumPy's arrays, and gradients."""

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_cv as tg
from tinygrad_cv import einops
from tinygrad_cv.testing import check_gradients

X = np.random.default_rng(0).standard_normal((2, 4, 6, 3))

CALLS: dict[str, Callable[[Any], Any]] = {
    "rearrange": lambda x: einops.rearrange(x, "b (h p) w c -> p b c (h w)", p=2),
    "rearrange a list": lambda x: einops.rearrange([x, x * 2], "n b h w c -> b (n c) w h"),
    "mean": lambda x: einops.reduce(x, "b (h 2) (w 3) c -> b c h w", "mean"),
    "sum": lambda x: einops.reduce(x, "b ... -> ...", "sum"),
    "max": lambda x: einops.reduce(x, "b h w c -> b () c", "max"),
    "min": lambda x: einops.reduce(x, "b h w c -> h w", "min"),
    "prod": lambda x: einops.reduce(x, "b h w c -> b w", "prod"),
    "repeat": lambda x: einops.repeat(x, "b h w c -> b (h 2) (3 w) n c", n=2),
    "einsum": lambda x: einops.einsum(x, x[0], "b h w c, h w d -> b c d"),
    "pack": lambda x: einops.pack([x, x[..., 0]], "b h w *")[0],
    "unpack": lambda x: einops.unpack(x, [(2,), (2, 2)], "b h * c")[1],
}


@pytest.mark.parametrize("name", CALLS)
def test_the_values_are_those_of_arrays_and_gradients_flow(name: str) -> None:
    found = CALLS[name](tg.tensor(X))
    assert isinstance(found, tg.Tensor)
    assert_allclose(found.numpy(), CALLS[name](X), rtol=1e-12)
    check_gradients(CALLS[name], [tg.tensor(X[:, :, :3] if name == "prod" else X)], order=1)


ORDERS = {
    "einops last": "import tinygrad_cv as tg\nfrom einops import rearrange",
    "einops first": "from einops import rearrange\nimport tinygrad_cv as tg",
    "einops used before": (
        "from einops import rearrange\nimport numpy\nrearrange(numpy.ones(2), 'a -> a 1')\n"
        "import tinygrad_cv as tg"
    ),
    "looked for, then imported": (
        "import importlib.util\nimport tinygrad_cv as tg\n"
        "assert importlib.util.find_spec('einops')\nfrom einops import rearrange"
    ),
    "a part of it": "import tinygrad_cv as tg\nfrom einops.einops import rearrange",
}


@pytest.mark.host
@pytest.mark.parametrize("order", ORDERS)
def test_its_own_functions_take_our_tensors_in_any_order_of_imports(order: str) -> None:
    program = f"{ORDERS[order]}\nprint(rearrange(tg.ones(6, 2), '(a b) c -> a b c', a=2).shape)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "(2, 3, 2)\n", done.stderr


@pytest.mark.host
def test_another_einops_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "einops.py").write_text("rearrange = 3")
    program = "import tinygrad_cv\nfrom einops import rearrange\nprint(rearrange)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert done.stdout == "3\n", done.stderr


@pytest.mark.host
def test_without_it_nothing_is_missed() -> None:
    program = (
        "import sys\nimport tinygrad_cv\nassert 'einops' not in sys.modules\n"
        "del sys.path[:]\nimport einops"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.endswith("ModuleNotFoundError: No module named 'einops'\n")


def test_what_does_not_fit_is_an_error_of_einops() -> None:
    with pytest.raises(einops.EinopsError, match="p"):
        einops.rearrange(tg.ones(3, 2), "(a p) b -> a b p", p=2)
    assert einops.parse_shape(tg.ones(3, 2), "a b") == {"a": 3, "b": 2}


def test_layers_are_modules() -> None:
    model = tg.nn.Sequential(
        einops.Rearrange("b h w c -> b c h w"),
        einops.Reduce("b c (h 2) (w 2) -> b c h w", "max"),
        einops.EinMix(
            "b c h w -> b (h w) d", weight_shape="c d", bias_shape="d", c=3, d=5, h=2, w=3
        ),
    )
    x = tg.tensor(X, dtype="float32")
    y = model(x)
    pooled = X.reshape(2, 2, 2, 3, 2, 3).max((2, 4))
    mix = model[2]
    wanted = pooled.reshape(2, 6, 3) @ mix.weight.detach().numpy() + mix.bias.detach().numpy()[0]
    assert_allclose(y.detach().numpy(), wanted.reshape(2, 6, 5), rtol=1e-5, atol=1e-6)
    y.sum().backward()
    assert {name for name, _ in model.named_parameters()} == {"2.weight", "2.bias"}
    assert all(p.grad is not None for p in model.parameters())
    assert abs(mix.weight.detach().numpy()).max() <= 1
    assert "Rearrange('b h w c -> b c h w')" in repr(model)
    assert_array_equal(copy.deepcopy(model[0])(x).numpy(), model[0](x).numpy())
    grouped = einops.EinMix("b (g c) -> b (g d)", weight_shape="g c d", g=2, c=3, d=4)
    assert grouped(tg.ones(5, 6)).shape == (5, 8)
    assert grouped.bias is None
