"""Every op with compiled kernels on and off, also on arrays that are too small for them.

Nothing here names a kernel: the rows of the ops (tests/rows) draw the calls, in float32 and in all
memory layouts, and each result and gradient has to be that of NumPy's kernels up to rounding.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tinygrad_cv as tg
from rows import ROWS, Case
from test_ops import OURS, cotangent, is_variable, mapped, node_of, parts, recorded
from tinygrad_cv import backend as backends
from tinygrad_cv._reading import raw
from tinygrad_cv.backend.switch import has_numba
from tinygrad_cv.testing.strategies import LAYOUTS, arrange

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(not has_numba(), reason="the extra `fast` is not installed"),
]


@pytest.fixture(autouse=True, scope="module")
def _whatever_their_size() -> Iterator[None]:
    """Arrays with one number or more go to compiled kernels."""
    from tinygrad_cv.backend.compiled import backend

    takes = backend.takes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "takes", lambda *arrays, least=1: takes(*arrays, least=1))
        patch.setattr(backend, "LEAST_SIDE", 1)
        patch.setattr(backend, "LEAST_PRODUCTS", 1)
        yield


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = tg.get_kernels()
    yield
    tg.set_kernels(before)


def converted(values: Any, dtype: Any, layout: str = "C") -> tuple[Any, ...]:
    return tuple(
        arrange(v.astype(dtype, copy=False), layout) if is_variable(v) else v for v in values
    )


def outcome(name: str, case: Case, layout: str, kernels: str, dtype: Any) -> list[Any]:
    """What the op gives, and the gradients of its inputs; None for what has none."""
    tg.set_kernels(kernels)
    row, xp = ROWS[name], backends.get(None)
    values = converted(converted(case.inputs, np.float32), dtype, layout)
    with xp.active, np.errstate(all="ignore"):
        results = list(parts(case.make(row.op).forward(xp, *values)))
        y, _ = recorded(row, Case(values, case.attributes))
        if not parts(y)[0].requires_grad:
            return results
        # A gradient lies as the result does, or otherwise.
        g = mapped(lambda v: arrange(v.astype(np.float32).astype(dtype), layout), cotangent(y))
        reading = raw(xp)
        shares = reading.shares(node_of(y), g, None)
        # The engine gives a gradient the dtype of its input when it is complete.
        return results + [np.asarray(reading.memory(share), dtype) for _, share in shares]


def assert_same(got: Any, numpys: Any, exact: Any) -> None:
    """Up to rounding: within a few times NumPy's error, and a few digits of the largest number."""
    assert (got is None) == (numpys is None)
    if got is None:
        return
    got, numpys, exact = map(np.asarray, (got, numpys, exact))
    assert got.shape == numpys.shape
    if got.dtype != numpys.dtype:  # of sums, which the op rounds
        assert {got.dtype.name, numpys.dtype.name} == {"float32", "float64"}
    if got.dtype.kind != "f":
        np.testing.assert_array_equal(got, numpys)
        return
    finite = np.isfinite(numpys) & np.isfinite(exact)
    np.testing.assert_array_equal(got[~finite], numpys[~finite])
    a, b, c = (v[finite].astype(float) for v in (got, numpys, exact))
    error, own = np.abs(a - b).max(initial=0), np.abs(b - c).max(initial=0)
    assert error <= 4 * own + 1e-6 * np.abs(c).max(initial=0) + 1e-37


@pytest.mark.parametrize("name", OURS)
@settings(max_examples=6)
@given(data=st.data())
def test_compiled_kernels_compute_what_numpys_do(name: str, data: Any) -> None:
    case = data.draw(ROWS[name].cases)
    # Of one number x / √(x² + eps) is ±1 but for eps, and its gradient what is left of two terms;
    # `test_compiled_norm` holds it to those.
    assume(name != "rms_norm" or case.inputs[0].shape[case.attributes["axis"][0]] > 1)
    layout = data.draw(st.sampled_from(LAYOUTS))
    got, numpys = (outcome(name, case, layout, k, np.float32) for k in ("compiled", "numpy"))
    exact = outcome(name, case, layout, "numpy", np.float64)
    assert len(got) == len(numpys) == len(exact)
    for a, b, c in zip(got, numpys, exact, strict=True):
        assert_same(a, b, c)
