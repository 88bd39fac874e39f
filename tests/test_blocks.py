"""Elementwise steps block by block, without numba: what comes out is what it was step by step."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv.program import blocks
from tinygrad_cv.program.fuse import Group

pytestmark = pytest.mark.host

STEPS: dict[str, Any] = {
    "x + y": lambda h, x, y, row, column: h + y,
    "x · row": lambda h, x, y, row, column: h * row,
    "x - column": lambda h, x, y, row, column: h - column,
    "half": lambda h, x, y, row, column: h * 0.5,
    "where": lambda h, x, y, row, column: tg.where(h > y, x, h),
    "relu": lambda h, x, y, row, column: h.relu(),
    "tanh": lambda h, x, y, row, column: h.tanh(),
    "in place": lambda h, x, y, row, column: h.clone().mul_(y).abs_(),
    "truth": lambda h, x, y, row, column: (h > 0).float() * x,
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Blocks of a few numbers, so that small arrays have many."""
    kernels, threads = tg.get_kernels(), tg.get_num_threads()
    tg.set_kernels("numpy")
    monkeypatch.setattr(blocks, "WORTH_BLOCKS", 2)
    monkeypatch.setattr(blocks, "BLOCK", 12)
    monkeypatch.setattr(blocks, "PART", 40)
    yield
    tg.set_kernels(kernels)
    tg.set_num_threads(threads)


@given(
    rows=st.sampled_from([1, 2, 7, 50]),
    columns=st.sampled_from([1, 3, 12, 13, 24, 200]),
    names=st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=5),
    turned=st.booleans(),
    threads=st.integers(1, 3),
)
def test_a_chain(rows: int, columns: int, names: list[str], turned: bool, threads: int) -> None:
    """Any steps, whole blocks and a last one, one row for all and one number for a row."""
    rng = np.random.default_rng(rows * columns)
    shapes = ((rows, columns), (rows, columns), (columns,), (rows, 1))
    arrays = [rng.normal(size=shape).astype("float32") for shape in shapes]
    arrays[0].flat[0] = np.nan
    if turned:
        arrays[:2] = [np.asfortranarray(a) for a in arrays[:2]]
    given = [tg.from_numpy(a) for a in arrays]
    tg.set_num_threads(threads)

    def chain(*given: Any) -> Any:
        h = given[0]
        seen = []
        for name in names:
            h = STEPS[name](h, *given)
            seen.append(h)
        return h, seen[len(seen) // 2]

    compiled, eager = tg.compile(chain), chain(*given)
    for _ in range(3):
        for a, b in zip(compiled(*given), eager, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_what_nobody_sees_has_no_memory() -> None:
    """All that lies between is a block, and no array of the plan."""
    x, y = tg.randn(40, 10), tg.randn(40, 10)
    compiled = tg.compile(lambda x, y: ((x * y + x) * 0.5 - y).abs() * y)
    for _ in range(2):
        compiled(x, y)
    plan = compiled.plan
    (group,) = plan.order
    assert isinstance(group, Group)
    assert blocks.is_for_blocks(group)
    assert len(group.internal) == 5
    assert plan.bytes_apart == 3 * x.nbytes  # the inputs and the result


def test_an_error_of_a_step_is_raised() -> None:
    """NumPy's errstate holds on the other threads, too."""
    tg.set_num_threads(3)
    x = tg.full((50, 12), 3e38)
    compiled = tg.compile(lambda x: (x * 2.0 + 1.0) * 0.0)
    for _ in range(3):
        assert compiled(x).isnan().all().item()
