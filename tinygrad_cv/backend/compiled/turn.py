"""Rows and columns exchanged: images as their kernels want them, with the channels last in memory.

NumPy copies number by number what lies in another order. Here squares of LANES rows and columns are
turned in registers.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from tinygrad_cv.backend.compiled.jit import kernel
from tinygrad_cv.backend.compiled.vectors import I32, I64, LANES, place, read, write
from tinygrad_cv.backend.numpy_backend import FLOAT32
from tinygrad_cv.backend.threads import parallel, split

Array = Any

PART = 1 << 16
"""How many numbers a part has at least: a hand-over to another thread takes as long."""


@intrinsic
def transpose(typing: Any, x: Any, i: Any, ldx: Any, y: Any, j: Any, ldy: Any) -> Any:
    """y[j + c·ldy + r] = x[i + r·ldx + c] for r, c < LANES

    The rows are shuffled like cards: r and r + LANES/2 go together, number by number, as often as
    LANES can be halved.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, i, ldx, y, j, ldy = args
        source = place(context, builder, signature.args[0], x, i)
        target = place(context, builder, signature.args[3], y, j)
        rows = [
            read(builder, builder.gep(source, [builder.mul(ldx, I64(r))])) for r in range(LANES)
        ]
        half = LANES // 2

        def together(a: Any, b: Any, start: int) -> Any:
            lanes = [n for c in range(start, start + half) for n in (c, LANES + c)]
            return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, LANES), lanes))

        for _ in range(LANES.bit_length() - 1):
            pairs = [(rows[r], rows[r + half]) for r in range(half)]
            rows = [together(a, b, start) for a, b in pairs for start in (0, half)]
        for c, row in enumerate(rows):
            write(builder, row, builder.gep(target, [builder.mul(ldy, I64(c))]))
        return context.get_dummy_value()

    n = types.intp
    return types.void(x, n, n, y, n, n), generate


@kernel
def _turn(x: Array, y: Array, n: int, m: int, first: int, last: int) -> None:
    """Matrices (n, m) -> (m, n), from `first` to `last`.

    The last squares of a side overlap the ones before: what lies in both is written twice. Sides
    that are shorter than a square are copied number by number.
    """
    for at in range(first * n * m, last * n * m, n * m):
        if min(n, m) < LANES:
            for start in range(0, m, 1024):  # what is written stays in the first cache
                for r in range(n):
                    for c in range(start, min(start + 1024, m)):
                        y[at + c * n + r] = x[at + r * m + c]
            continue
        for c in range(0, m, LANES):
            left = min(c, m - LANES)
            for r in range(0, n, LANES):
                top = min(r, n - LANES)
                transpose(x, at + top * m + left, m, y, at + left * n + top, n)


def channels_last(x: Array) -> Array:
    """(N, C, *S) -> (N, *S, C), contiguous; no copy where the memory already lies so."""
    rows = x.transpose(0, *range(2, x.ndim), 1)
    if rows.flags.c_contiguous or not x.flags.c_contiguous or x.dtype != FLOAT32:
        return np.ascontiguousarray(rows)
    y = np.empty(rows.shape, FLOAT32)
    count, channels, size = len(x), x.shape[1], math.prod(x.shape[2:])
    flat = x.reshape(-1), y.reshape(-1), channels, size
    parts = split(count, min(16, x.size // PART))
    parallel(lambda part: _turn(*flat, part.start, part.stop), parts)
    return y


def rows_of(x: Array) -> Array:
    """(N, C, *S) -> (N·S, C), contiguous; no copy where the memory already lies so."""
    return channels_last(x).reshape(-1, x.shape[1])
