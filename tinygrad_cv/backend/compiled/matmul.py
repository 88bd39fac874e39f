"""Products of small and skinny matrices: C (n, m) = A (n, k) · B (k, m), and stacks of them.

BLAS copies both sides into an order of its own, which does not pay where one of them is short. Here
B alone is packed, 2 · LANES columns at a time, and tiles of ROWS rows of C stay in registers while
they run down such a panel; A is read where it lies. Either may be the transpose of what lies in
memory row by row, and the matrices of a stack may lie anywhere in it: nothing else is copied.

Each number of C is a sum of sums over SEGMENT terms, whatever part it is in: the bits are the same
for any number of threads, and for any number of rows.
"""

from typing import Any

import numpy as np

from tinygrad_cv.backend.compiled.jit import inner, kernel
from tinygrad_cv.backend.compiled.turn import transpose
from tinygrad_cv.backend.compiled.vectors import (
    LANES,
    ROWS,
    load,
    load_first,
    store,
    store_first,
    tile,
)
from tinygrad_cv.backend.threads import (
    MOST_PARTS,
    by_products,
    parallel,
    split,
)

Array = Any

WIDE = 2 * LANES
"""The columns of a panel."""

SEGMENT = 512
"""How many terms are added up before the sum goes to C: sums of sums are rounded less."""

LEAST_ROWS = 256
"""How many rows of C are worth the packing of a panel."""

TILE, FOUR, TWO, ONE = tile(ROWS, 2), tile(4, 2), tile(2, 2), tile(1, 2)


@inner
def pack(B: Array, b: int, ldb: int, kb: int, k: int, width: int, P: Array) -> None:
    """P[r · WIDE + c] = B[b + r·kb + c·ldb], r < k and c < width; 0 in the columns behind."""
    if ldb == 1 and width == WIDE:
        for r in range(k):
            store(P, r * WIDE, load(B, b + r * kb))
            store(P, r * WIDE + LANES, load(B, b + r * kb + LANES))
        return
    if ldb == 1:
        first, second = min(width, LANES), max(0, width - LANES)
        for r in range(k):
            store(P, r * WIDE, load_first(B, b + r * kb, first))
            store(P, r * WIDE + LANES, load_first(B, b + r * kb + LANES, second))
        return
    if width < WIDE:
        P[:] = 0
    whole, down = width - width % LANES, k - k % LANES
    for c in range(0, whole, LANES):
        for r in range(0, down, LANES):
            transpose(B, b + r * kb + c * ldb, ldb, P, r * WIDE + c, WIDE)
    for c in range(width):
        for r in range(down if c < whole else 0, k):
            P[r * WIDE + c] = B[b + r * kb + c * ldb]


@inner
def down_a_panel(
    A: Array, a: int, lda: int, ka: int, P: Array, C: Array, c: int, ldc: int, n: int, k: int
) -> None:
    """n rows of C, as wide as the panel."""
    i = 0
    while i + ROWS <= n:
        TILE(A, a + i * lda, lda, ka, 0, P, 0, WIDE, 0, C, c + i * ldc, ldc, k, 1, 0)
        i += ROWS
    while i + 4 <= n:
        FOUR(A, a + i * lda, lda, ka, 0, P, 0, WIDE, 0, C, c + i * ldc, ldc, k, 1, 0)
        i += 4
    if i + 2 <= n:
        TWO(A, a + i * lda, lda, ka, 0, P, 0, WIDE, 0, C, c + i * ldc, ldc, k, 1, 0)
        i += 2
    if i < n:
        ONE(A, a + i * lda, lda, ka, 0, P, 0, WIDE, 0, C, c + i * ldc, ldc, k, 1, 0)


@inner
def panel(
    A: Array,
    a: int,
    lda: int,
    ka: int,
    B: Array,
    b: int,
    ldb: int,
    kb: int,
    C: Array,
    c: int,
    ldc: int,
    n: int,
    k: int,
    width: int,
    P: Array,
    more: Array,
) -> None:
    """A panel of C, `width` columns of which are wanted; P and `more` are room for it."""
    for r in range(0, k, SEGMENT):
        terms = min(SEGMENT, k - r)
        pack(B, b + r * kb, ldb, kb, terms, width, P)
        if r == 0:
            down_a_panel(A, a, lda, ka, P, C, c, ldc, n, terms)
            continue
        down_a_panel(A, a + r * ka, lda, ka, P, more, 0, WIDE, n, terms)
        for i in range(n):
            row, other = c + i * ldc, i * WIDE
            store(C, row, load(C, row) + load(more, other))
            store(C, row + LANES, load(C, row + LANES) + load(more, other + LANES))


@kernel
def product(
    A: Array,
    lefts: Array,
    a: int,
    lda: int,
    ka: int,
    B: Array,
    rights: Array,
    b: int,
    ldb: int,
    kb: int,
    C: Array,
    step: int,
    c: int,
    ldc: int,
    n: int,
    k: int,
    m: int,
    first: int,
    last: int,
) -> None:
    """C[c + i·ldc + j] = Σ_r A[a + i·lda + r·ka] · B[b + r·kb + j·ldb], for the matrices of a stack
    from `first` to `last`, which begin at `lefts` and `rights`, and `step` numbers apart"""
    P = np.empty(min(k, SEGMENT) * WIDE, np.float32)
    rest = m % WIDE
    side = np.empty(n * WIDE if rest else 1, np.float32)
    more = np.empty(n * WIDE if k > SEGMENT else 1, np.float32)
    for s in range(first, last):
        left, right, to = lefts[s] + a, rights[s] + b, s * step + c
        for j in range(0, m - rest, WIDE):
            panel(
                A, left, lda, ka, B, right + j * ldb, ldb, kb, C, to + j, ldc, n, k, WIDE, P, more
            )
        if rest:  # C is no wider: these columns are computed beside it
            j = m - rest
            panel(A, left, lda, ka, B, right + j * ldb, ldb, kb, side, 0, WIDE, n, k, rest, P, more)
            first, second = min(rest, LANES), max(0, rest - LANES)
            for i in range(n):
                row = to + i * ldc + j
                store_first(C, row, load(side, i * WIDE), first)
                store_first(C, row + LANES, load(side, i * WIDE + LANES), second)


def lying(x: Array) -> tuple[Array, Array, int, int] | None:
    """The memory of a stack of matrices, where in it they begin, and their steps from row to row
    and from column to column.

    None where they lie neither row by row nor column by column.
    """
    *steps, down, across = (stride // x.itemsize for stride in x.strides)
    if x.flags.c_contiguous or x.swapaxes(-1, -2).flags.c_contiguous:
        memory = x.ravel("K")
    elif 1 in (down, across) and min(x.strides) >= 0 and x.flags.aligned and x.flags.writeable:
        span = 1 + sum((n - 1) * stride for n, stride in zip(x.shape, x.strides, strict=True)) // 4
        memory = np.lib.stride_tricks.as_strided(x, (span,), (x.itemsize,))
    else:
        return None
    starts = np.zeros(1, np.int64)
    for n, step in zip(x.shape, steps, strict=False):
        starts = np.add.outer(starts, np.arange(n) * step).reshape(-1)
    return memory, starts, down, across


def padded(columns: int) -> float:
    """How much more is computed for what is wide `columns`."""
    return (columns + -columns % WIDE) / columns


def matmul(a: Array, b: Array) -> Array | None:
    """See `Backend.matmul`; None for what lies in another order, which BLAS is as good at."""
    left, right = lying(a), lying(b)
    if left is None or right is None:
        return None
    n, k, m = a.shape[-2], a.shape[-1], b.shape[-1]
    turned = padded(m) > padded(n) * 1.1  # Cᵀ = Bᵀ · Aᵀ wastes less
    if turned:
        (A, lefts, ka, lda), (B, rights, ldb, kb) = right, left
        n, m = m, n
    else:
        (A, lefts, lda, ka), (B, rights, kb, ldb) = left, right
    out = np.empty((*a.shape[:-2], n, m), np.float32)
    C, step = out.reshape(-1), n * m
    products, panels = out.size * k, -(-m // WIDE)

    def of_stack(part: slice) -> None:
        place = part.start, part.stop
        product(A, lefts, 0, lda, ka, B, rights, 0, ldb, kb, C, step, 0, m, n, k, m, *place)

    def of_blocks(part: slice) -> None:
        for rows, across in blocks[part]:
            i, j = rows.start, across.start * WIDE
            left, right, to = i * lda, j * ldb, i * m + j
            size = rows.stop - i, k, min(across.stop * WIDE, m) - j
            product(A, lefts, left, lda, ka, B, rights, right, ldb, kb, C, step, to, m, *size, 0, 1)

    if len(lefts) > 1:
        parallel(of_stack, by_products(len(lefts), products))
    else:  # in panels, and their rows in parts where there are few of them
        most = len(by_products(MOST_PARTS, products))
        columns = split(panels, most)
        rows = split(n, min(most // len(columns), n // LEAST_ROWS))
        blocks = [(part, across) for across in columns for part in rows]
        parallel(of_blocks, split(len(blocks), len(blocks)))
    return out.swapaxes(-1, -2).copy() if turned else out
