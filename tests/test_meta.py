"""The device "meta": the shapes and dtypes of every op, without numbers and without memory."""

from contextlib import nullcontext, suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_cv as tg
from rows import ROWS, Case
from tinygrad_cv._apply import apply
from tinygrad_cv._op import REGISTRY

pytestmark = pytest.mark.host  # the devices are named here

OURS = sorted(name for name, op in REGISTRY.items() if op.__module__.startswith("tinygrad_cv."))

NEEDS_NUMBERS = {
    "nonzero": "it finds as many places as there are numbers other than 0",
    "getitem": "a mask picks as many elements as it has truths",
    "scatter_add": "a mask names as many places as it has truths",
    "to_device": "what goes to another device takes its numbers along",
}
"""The ops that refuse, some of them for some inputs, and why."""


def shapes_of(name: str, case: Case, floats: str, device: str) -> list[Any]:
    """Shape and dtype of what an op gives, and of the gradients of its inputs."""
    op = ROWS[name].op
    inputs = []
    for value in case.inputs:
        if isinstance(value, np.ndarray):
            is_float = value.dtype.kind == "f"
            dtype = floats if is_float else None
            value = tg.Tensor(value, dtype=dtype, device=device, requires_grad=is_float)
        inputs.append(value)
    made = apply(case.make(op), *inputs)
    outputs = made if isinstance(made, tuple) else (made,)
    found = [(y.shape, y.dtype, y.requires_grad) for y in outputs]
    roots = [y for y in outputs if y.requires_grad]
    if roots:
        tg.autograd.backward(roots, [tg.ones_like(y) for y in roots])
    leaves = [x.grad for x in inputs if isinstance(x, tg.Tensor)]
    return found + [None if g is None else (g.shape, g.dtype) for g in leaves]


@pytest.mark.parametrize("name", OURS)
@settings(max_examples=3)
@given(data=st.data())
def test_an_op_has_the_shapes_and_dtypes_that_it_has_with_numbers(name: str, data: Any) -> None:
    case, floats = data.draw(ROWS[name].cases), data.draw(st.sampled_from(["float32", "float64"]))
    with suppress(NotImplementedError) if name in NEEDS_NUMBERS else nullcontext():
        assert shapes_of(name, case, floats, "meta") == shapes_of(name, case, floats, "cpu")
