"""The functions of vectors, against float64 over the whole of float32."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numba")

from tinygrad_cv.backend.compiled import functions
from tinygrad_cv.backend.compiled.jit import kernel
from tinygrad_cv.backend.compiled.vectors import LANES, load, store

pytestmark = pytest.mark.host

Array = Any

ULPS = {
    "exp": (np.exp, 1.0),
    "expm1": (np.expm1, 2.0),
    "log": (np.log, 1.0),
    "log1p": (np.log1p, 2.5),
    "tanh": (np.tanh, 2.0),
    "sigmoid": (scipy.special.expit, 2.5),
    "erf": (scipy.special.erf, 2.5),
    "erfc": (scipy.special.erfc, 4.5),
    "sqrt": (np.sqrt, 0.5),
    "floor": (np.floor, 0.0),
    "absolute": (np.abs, 0.0),
}
"""What a function is, and by how many units in the last place it may be off."""

EDGES = (0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1.1754944e-38, 3.4e38, -3.4e38, 88.72283)
EDGES += (88.72284, -87.33655, -103.97207, -103.97209, 0.625, 0.5, 1, -1, 0.70710677, 10.05, 11, 20)


@cache
def walk(name: str) -> Any:
    """The function of all vectors of an array."""
    function = getattr(functions, name)

    @kernel(name=f"test_{name}")
    def run(x: Array, y: Array) -> None:
        for i in range(0, x.size, LANES):
            store(y, i, function(load(x, i)))

    return run


def check(name: str, x: Array) -> None:
    """Hold a function to its error, and to NumPy's ∞ and NaN."""
    reference, ulps = ULPS[name]
    x = np.resize(x, len(x) + -len(x) % 16).astype("float32")
    y = np.empty_like(x)
    walk(name)(x, y)
    with np.errstate(all="ignore"):
        wanted = reference(x.astype("float64"))
        rounded = wanted.astype("float32")
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(y[~finite], rounded[~finite])
    zero = rounded == 0
    np.testing.assert_array_equal(np.signbit(y[zero]), np.signbit(rounded[zero]))
    error = np.abs(y[finite].astype("float64") - wanted[finite])
    places = np.minimum(np.abs(rounded[finite]), np.float32(2.0**127))  # beyond, spacing overflows
    off = error > ulps * np.spacing(places).astype("float64")
    assert not off.any(), (x[finite][off][:5], y[finite][off][:5], wanted[finite][off][:5])


@pytest.mark.parametrize("name", ULPS)
def test_everywhere(name: str) -> None:
    """Every 4099th of all float32, many where the functions bend, and the edges."""
    bits = np.arange(0, 1 << 32, 4099, dtype="uint64").astype("uint32").view("float32")
    rng = np.random.default_rng(0)
    check(name, np.concatenate([bits[~np.isnan(bits)], EDGES]))
    check(name, np.concatenate([rng.normal(0, s, 1 << 15) for s in (0.1, 1, 5)]))
    check(name, rng.uniform(-105, 90, 1 << 15))


@given(st.sampled_from([*ULPS]), st.lists(st.floats(width=32), min_size=1, max_size=40))
def test_anywhere(name: str, numbers: list[float]) -> None:
    """Any numbers, which hypothesis chooses with an eye for the odd ones."""
    check(name, np.array(numbers, "float32"))
