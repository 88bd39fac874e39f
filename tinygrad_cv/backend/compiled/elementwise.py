"""One number in, one number out: kernels that walk over memory once.

The arrays may lie in memory in any order of their axes, all in the same one: what is walked over is
their memory. `flat` gives it, and `in_parts` shares it out over the threads.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_cv.backend.compiled.jit import kernel
from tinygrad_cv.backend.threads import parallel, split

Array = Any

PART = 1 << 16
"""How many numbers a part has at least: a hand-over to another thread takes as long."""


def flat(x: Array, *others: Array) -> list[Array] | None:
    """The memory of arrays of one shape and layout as vectors; None where one has gaps."""
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    rows = [a.transpose(order) for a in (x, *others)]
    if not all(a.flags.c_contiguous for a in rows):
        return None
    return [a.reshape(-1) for a in rows]


def in_parts(work: Callable[[slice], Any], size: int, part: int = PART) -> None:
    """`work` on slices of `size` numbers, over the threads; small work stays on this one."""
    if size < 2 * part:
        work(slice(0, size))
    else:
        parallel(work, split(size, min(16, size // part)))


# ----- relu --------------------------------------------------------------------------------------


@kernel
def _relu(x: Array, y: Array, positive: Array, start: int, stop: int) -> None:
    for i in range(start, stop):
        v = x[i]
        y[i] = v if not v <= 0 else np.float32(0)
        positive[i] = v > 0


def relu(x: Array) -> tuple[Array, Array]:
    """See `Backend.relu`."""
    y, positive = np.empty_like(x), np.empty_like(x, dtype=bool)
    rows = flat(x, y, positive)
    if rows is None:  # with gaps, as a part of a larger array has
        y = np.maximum(x, 0)
        return y, y > 0
    in_parts(lambda part: _relu(*rows, part.start, part.stop), x.size)
    return y, positive


@kernel
def _relu_backward(g: Array, positive: Array, out: Array, start: int, stop: int) -> None:
    for i in range(start, stop):
        out[i] = g[i] if positive[i] else np.float32(0)


def relu_backward(g: Array, positive: Array) -> Array:
    """See `Backend.relu_backward`."""
    out = np.empty_like(g)
    rows = flat(g, positive, out)
    if rows is None:
        return np.where(positive, g, np.float32(0))
    in_parts(lambda part: _relu_backward(*rows, part.start, part.stop), g.size)
    return out
