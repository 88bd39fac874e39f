"""Images turned in memory: the same numbers, in another order."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kernels import on_threads
from tinygrad_cv.backend import windows
from tinygrad_cv.backend.switch import has_numba

pytestmark = [
    pytest.mark.host,
    pytest.mark.usefixtures("compiled_kernels"),
    pytest.mark.skipif(not has_numba(), reason="the extra `fast` is not installed"),
]

SIDES = st.sampled_from([1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 49, 64, 100])


@given(
    st.integers(0, 5), SIDES, st.lists(st.sampled_from([1, 3, 4, 7, 17]), max_size=3), st.booleans()
)
@example(9, 33, [20, 31], False)  # in parts for the threads
@example(3, 3, [40, 41], False)
def test_channels_last(count: int, channels: int, size: list[int], half: bool) -> None:
    from tinygrad_cv.backend.compiled.turn import channels_last, rows_of

    dtype = np.float16 if half else np.float32
    numbers = np.arange(count * channels * int(np.prod(size))) % 2048
    x = numbers.astype(dtype).reshape(count, channels, *size)
    (y,) = on_threads(lambda: [channels_last(x)])
    assert (y.dtype, y.flags.c_contiguous) == (dtype, True)
    np.testing.assert_array_equal(y, windows.channels_last(x))
    np.testing.assert_array_equal(rows_of(x), y.reshape(-1, channels))
    assert np.shares_memory(channels_last(windows.channels_first(y)), y) or not y.size
    apart: Any = np.stack([x, x], -1)[..., 0]
    np.testing.assert_array_equal(channels_last(apart), y)
