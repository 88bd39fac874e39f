"""The gates of recurrent networks in one pass, against the ops' own forward and rule in float64."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numba")

import tinygrad_cv as tg
from tinygrad_cv.backend.compiled.backend import CompiledBackend
from tinygrad_cv.backend.numpy_backend import NumpyBackend
from tinygrad_cv.ops.recurrent import GruGates, LstmGates

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("compiled_kernels")]

Array = Any
NUMPY, COMPILED = NumpyBackend(), CompiledBackend()


def lstm(xp: Any, gates: Array, c: Array, g_h: Array, g_c: Array) -> list[Array]:
    op = LstmGates()
    h, c_next = op.forward(xp, gates, c)
    return [h, c_next, *op.fused(xp, (g_h, g_c), gates, c, c_next)]


def gru(xp: Any, x: Array, y: Array, h: Array, g: Array) -> list[Array]:
    op = GruGates()
    return [op.forward(xp, x, y, h), *op.fused(xp, g, x, y, h)]


PARTS = {"lstm": (lstm, (4, 1, 1, 1)), "gru": (gru, (3, 3, 1, 1))}
"""By name: forward and gradients, and how wide each array is."""


@pytest.mark.parametrize("name", PARTS)
@given(
    rows=st.integers(0, 5) | st.just(700),
    width=st.integers(1, 40) | st.just(128),
    scale=st.sampled_from((1.0, 30.0)),
    seed=st.integers(0, 99),
    turned=st.booleans(),
)
def test_gates(name: str, rows: int, width: int, scale: float, seed: int, turned: bool) -> None:
    work, parts = PARTS[name]
    rng = np.random.default_rng(seed)
    arrays = [np.float32(scale * rng.standard_normal((rows, k * width))) for k in parts]
    expected = work(NUMPY, *[a.astype(float) for a in arrays])
    if turned:  # columns one after the other
        arrays = [np.asfortranarray(a) for a in arrays]
    found = []
    for threads in (1, 2, 3):
        tg.set_num_threads(threads)
        found.append(work(COMPILED, *arrays))
    for first, *others, right in zip(*found, expected, strict=True):
        assert first.dtype == np.float32
        assert first.shape == right.shape
        assert all(first.tobytes() == other.tobytes() for other in others)
        # Sums of a few products, each argument and each slope rounded a few times.
        size = 1 + np.abs(right)
        assert np.all(np.abs(first - right) <= 3e-6 * scale**2 * size)


@pytest.mark.parametrize("name", PARTS)
def test_infinities_and_nan(name: str) -> None:
    """They come out where they come out of NumPy's kernel."""
    work, parts = PARTS[name]
    values = np.array([np.inf, -np.inf, np.nan, 0, 1e30, -1e30, 3, -200], np.float32)
    rng = np.random.default_rng(0)
    arrays = [rng.choice(values, (64, k * 17)) for k in parts]
    with np.errstate(all="ignore"):
        for a, b in zip(work(NUMPY, *arrays), work(COMPILED, *arrays), strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-30)
