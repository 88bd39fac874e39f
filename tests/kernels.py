"""What the tests of compiled kernels share."""

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_cv as tg


def lain_channels_last(x: Any) -> Any:
    """The same images (N, C, *S), in memory (N, *S, C)."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def on_threads(work: Callable[[], Any]) -> Any:
    """What `work` gives; the same bits on 1 to 3 threads."""
    results = []
    for n in (1, 2, 3):
        tg.set_num_threads(n)
        results.append(work())
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    return results[0]
