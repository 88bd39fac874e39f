"""Products in tiles, against float64, BLAS, and themselves on other numbers of threads."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

pytest.importorskip("numba")

import tinygrad_cv as tg
from tinygrad_cv.backend.compiled import matmul
from tinygrad_cv.backend.compiled.backend import CompiledBackend
from tinygrad_cv.backend.numpy_backend import NumpyBackend

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("compiled_kernels")]

Array = Any
NUMPY, COMPILED = NumpyBackend(), CompiledBackend()


def matrices(rng: Any, stack: tuple[int, ...], n: int, m: int, turned: bool | str) -> Array:
    """Random ones that lie row by row, or column by column; or in the order of other axes, with
    something between them."""
    if turned == "apart":
        shape = (n, *stack[::-1], m + 3)
        wide = rng.normal(size=shape).astype("float32")[..., 1 : m + 1]
        return wide.transpose(*range(len(stack), 0, -1), 0, len(stack) + 1)
    if turned == "turned apart":
        return matrices(rng, stack, m, n, "apart").swapaxes(-1, -2)
    if turned:
        return rng.normal(size=(*stack, m, n)).astype("float32").swapaxes(-1, -2)
    return rng.normal(size=(*stack, n, m)).astype("float32")


SIDE = st.integers(1, 40) | st.sampled_from([31, 32, 33, 47, 48, 63, 64, 65, 96])
EDGE = matmul.SEGMENT
LIES = st.sampled_from([False, True, "apart", "turned apart"])


@given(
    stack=st.sampled_from([(), (), (1,), (3,), (2, 2)]),
    n=SIDE,
    k=SIDE | st.sampled_from([EDGE - 1, EDGE, EDGE + 1, 2 * EDGE + 5]),
    m=SIDE,
    turned=st.tuples(LIES, LIES),
    seed=st.integers(0, 100),
)
@example(stack=(), n=9, k=2 * EDGE + 5, m=49, turned=(False, True), seed=0)
@example(stack=(3,), n=15, k=EDGE + 1, m=65, turned=(True, True), seed=0)
def test_any_shape(
    stack: tuple[int, ...], n: int, k: int, m: int, turned: tuple[Any, Any], seed: int
) -> None:
    """Sides that fill tiles and vectors, and that do not; each matrix in any order."""
    rng = np.random.default_rng(seed)
    a, b = matrices(rng, stack, n, k, turned[0]), matrices(rng, stack, k, m, turned[1])
    y = matmul.matmul(a, b)
    assert y is not None
    assert y.flags.c_contiguous
    assert y.dtype == "float32"
    wanted = a.astype("float64") @ b.astype("float64")
    assert y.shape == wanted.shape
    size = np.abs(a).astype("float64") @ np.abs(b).astype("float64")
    assert (np.abs(y - wanted) <= 2e-6 * size).all()


@pytest.mark.parametrize(
    ("stack", "n", "k", "m"),
    [
        ((), 300, 700, 300),
        ((), 70, 512, 1000),
        ((), 2000, 70, 50),
        ((), 3001, 90, 70),
        ((37,), 64, 64, 65),
    ],
)
@pytest.mark.parametrize(
    "turned", [(False, False), (True, False), (False, True), ("apart", "turned apart")]
)
def test_the_same_bits_for_any_number_of_threads(
    stack: tuple[int, ...], n: int, k: int, m: int, turned: tuple[Any, Any]
) -> None:
    """Products that are shared out by rows, by columns, by both and by the stack; as accurate as
    BLAS."""
    rng = np.random.default_rng(0)
    a, b = matrices(rng, stack, n, k, turned[0]), matrices(rng, stack, k, m, turned[1])
    results = []
    for threads in (1, 2, 3):
        tg.set_num_threads(threads)
        results.append(matmul.matmul(a, b))
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])
    wanted = a.astype("float64") @ b.astype("float64")

    def error(y: Array) -> float:
        return float(np.linalg.norm(y - wanted) / np.linalg.norm(wanted))

    assert error(results[0]) <= 1.6 * error(NUMPY.matmul(a, b))


def test_a_row_has_the_same_bits_among_others() -> None:
    """Which tile it is in does not show."""
    rng = np.random.default_rng(1)
    a, b = matrices(rng, (), 29, 600, False), matrices(rng, (), 600, 64, True)
    whole = matmul.matmul(a, b)
    assert whole is not None
    for i in range(1, 29, 5):
        np.testing.assert_array_equal(matmul.matmul(a[i:], b), whole[i:])


def test_infinity_and_nan() -> None:
    """They reach their row, or their column, and no other."""
    a, b = np.ones((33, 40), "float32"), np.ones((40, 50), "float32")
    a[5, 7], b[39, 49] = np.inf, np.nan
    y = matmul.matmul(a, b)
    np.testing.assert_array_equal(y, a @ b)


def test_what_is_left_to_blas() -> None:
    """Other dtypes, other layouts, stacks that broadcast, and sides that do not fit."""
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 128, 128)).astype("float32")
    for gaps in (a[:, ::2], a[::-1, :64]):  # no unit step; from behind
        np.testing.assert_array_equal(COMPILED.matmul(gaps, b[:64]), NUMPY.matmul(gaps, b[:64]))
    wide = a.astype("float64")
    np.testing.assert_array_equal(COMPILED.matmul(wide, b), NUMPY.matmul(wide, b))
    stack = rng.normal(size=(5, 128, 128)).astype("float32")
    np.testing.assert_array_equal(COMPILED.matmul(stack, b), NUMPY.matmul(stack, b))
    gaps = stack[::2].transpose(1, 0, 2)  # 3 rows
    np.testing.assert_array_equal(
        COMPILED.matmul(gaps, gaps.swapaxes(1, 2)), gaps @ gaps.swapaxes(1, 2)
    )
    with pytest.raises(ValueError, match="matmul"):
        COMPILED.matmul(a, b[1:])
    with pytest.raises(ValueError, match="matmul"):
        COMPILED.matmul(a, b.T[1:])
    np.testing.assert_allclose(COMPILED.matmul(a, b.T), a @ b.T, atol=2e-4)
