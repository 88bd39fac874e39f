"""Every function that PyTorch has too gives its values and its gradients."""

import importlib
import pkgutil
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import beside_torch
import tinygrad_cv as tg
from beside_torch.call import Beside, Call

FAMILIES = [
    module.name
    for module in pkgutil.iter_modules(beside_torch.__path__)
    if module.name not in ("call", "conftest")
    and "_db" not in module.name
    and "test_" not in module.name
]
TABLE: dict[str, Beside] = {
    f"{family}: {entry.name}": entry
    for family in FAMILIES
    for entry in importlib.import_module(f"beside_torch.{family}").CALLS
}


def theirs(entry: Beside) -> Any:
    functional = torch.nn.functional
    return entry.theirs or getattr(functional, entry.name, None) or getattr(torch, entry.name)


def parts(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple | list) else [result]


def is_float(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


@pytest.mark.parametrize("key", TABLE)
@given(data=st.data())
def test_values_and_gradients_are_pytorchs(key: str, data: Any) -> None:
    entry = TABLE[key]
    call: Call = data.draw(entry.calls)
    mine = [
        tg.Tensor(v, requires_grad=is_float(v)) if isinstance(v, np.ndarray) else v
        for v in call.inputs
    ]
    other = [
        torch.tensor(v, requires_grad=is_float(v)) if isinstance(v, np.ndarray) else v
        for v in call.inputs
    ]
    ours = entry.ours or getattr(tg, entry.name)
    y, z = parts(ours(*mine, **call.options)), parts(theirs(entry)(*other, **call.options))
    assert len(y) == len(z)
    for a, b in zip(y, z, strict=True):
        assert a.shape == tuple(b.shape)
        assert str(a.dtype) == str(b.dtype).removeprefix("torch.")
        close(a.detach().numpy(), b.detach().numpy(), entry.rtol)
    rng = np.random.default_rng(0)
    pairs = [(a, b) for a, b in zip(y, z, strict=True) if b.requires_grad]
    if not entry.gradients or not pairs:
        return
    cotangents = [rng.standard_normal(a.shape) for a, _ in pairs]
    leaves = [t for t in mine if isinstance(t, tg.Tensor) and t.requires_grad]
    found = tg.grad([a for a, _ in pairs], leaves, [*map(tg.Tensor, cotangents)], allow_unused=True)
    expected = torch.autograd.grad(
        [b for _, b in pairs],
        [t for t in other if isinstance(t, torch.Tensor) and t.requires_grad],
        [*map(torch.tensor, cotangents)],
        allow_unused=True,
    )
    for g, h in zip(found, expected, strict=True):
        if g is None or h is None:
            close(np.zeros(()) if g is None else g.numpy(), 0 if h is None else h.numpy(), 1e-9)
        else:
            close(g.numpy(), h.numpy(), entry.rtol)


def close(a: Any, b: Any, rtol: float) -> None:
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)
