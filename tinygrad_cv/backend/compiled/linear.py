"""Small linear maps on vectors, with few operations: what Winograd's convolution is made of.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016 (arXiv:1509.09308). The
convolution of t = m + 2 numbers d with 3 numbers g, which has m results, is

    y = Aᵀ [(G g) ⊙ (Bᵀ d)]

with t products instead of 3m. d and g are the coefficients of polynomials: G and Bᵀ take them to
their values at t points, where a product of polynomials is a product of numbers, and Aᵀ back.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from tinygrad_cv.backend.compiled.vectors import (
    I64,
    LOOSE,
    constant,
    multiply_add,
    place,
    read,
    vector,
    write,
)

Matrix = Any
Step = tuple[int, float, int | None]

POINTS = {
    2: (Fraction(0), Fraction(1), Fraction(-1)),
    4: (Fraction(0), Fraction(5, 8), Fraction(-5, 8), Fraction(3, 2), Fraction(-3, 2)),
}
"""The points of F(m x m), and infinity. For m = 4 the usual 0, ±1, ±2 have twice the error."""


def matrices(m: int) -> tuple[Matrix, Matrix, Matrix]:
    """Bᵀ (t, t), G (t, 3) and Aᵀ (m, t), each entry rounded once.

    With points p and N_j = Π_{k≠j} (p_j - p_k) the rows are, for the point p_j,

        Bᵀ: the coefficients of Π_{k≠j} (z - p_k)     G: (1, p_j, p_j²) / N_j     A: (1, p_j, ...)

    and for the point ∞ those of Π_k (z - p_k), (0, 0, 1) and (0, ..., 0, 1).
    """
    p = POINTS[m]
    others = [[q for q in p if q != here] for here in p]
    monic = [_from_roots(roots) for roots in (*others, p)]
    scale = [prod(here - q for q in rest) for here, rest in zip(p, others, strict=True)]
    Bt = [[*row, *[Fraction(0)] * (m + 2 - len(row))] for row in monic]
    G = [[here**k / n for k in range(3)] for here, n in zip(p, scale, strict=True)]
    G.append([Fraction(0), Fraction(0), Fraction(1)])
    At = [[*(here**i for here in p), Fraction(i == m - 1)] for i in range(m)]
    return np.array(Bt, float), np.array(G, float), np.array(At, float)


def _from_roots(roots: Sequence[Fraction]) -> list[Fraction]:
    """The coefficients of Π (z - root), the constant one first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        below = [root * c for c in coefficients] + [Fraction(0)]
        coefficients = [a - b for a, b in zip(shifted, below, strict=True)]
    return coefficients


# ----- few operations -----------------------------------------------------------------------------


class _Program:
    """Steps that compute M x; each is c · x + y, of inputs and of results of steps before."""

    def __init__(self, inputs: int) -> None:
        self.inputs = inputs
        self.steps: list[Step] = []

    def add(self, x: int, c: float, y: int | None) -> int:
        """The number of the value c · x + y, or c · x."""
        self.steps.append((x, c, y))
        return self.inputs + len(self.steps) - 1

    def sum(self, row: Matrix, values: Sequence[int]) -> int:
        """Σ row · values"""
        terms = [(c, x) for c, x in zip(row.tolist(), values, strict=True) if c]
        terms.sort(key=lambda term: (term[0] != 1, abs(term[0]) != 1))
        (c, total), *rest = terms
        if c != 1:
            total = self.add(total, c, None)
        for c, x in rest:
            total = self.add(x, c, total)
        return total

    def rows(self, M: Matrix, values: Sequence[int]) -> list[int]:
        """M values: rows that differ in signs only are even + odd and even - odd."""
        results: dict[int, int] = {}
        for i, row in enumerate(M):
            if i in results:
                continue
            for j in range(i + 1, len(M)):
                even, odd = (row + M[j]) / 2, (row - M[j]) / 2
                if j not in results and (abs(row) == abs(M[j])).all() and even.any() and odd.any():
                    # The odd part is summed as a multiple with as many coefficients ±1 as can be.
                    factor = max(
                        odd[odd != 0].tolist(), key=lambda c: ((abs(odd / c) == 1).sum(), c)
                    )
                    e, o = self.sum(even, values), self.sum(odd / factor, values)
                    results[i], results[j] = self.add(o, factor, e), self.add(o, -factor, e)
                    break
            else:
                results[i] = self.sum(row, values)
        return [results[i] for i in range(len(M))]

    def columns(self, M: Matrix, values: Sequence[int]) -> list[int]:
        """M values: of columns that differ in signs only, first x + y and x - y."""
        columns, inputs, used = [], [], set[int]()
        for j in range(M.shape[1]):
            if j in used:
                continue
            for k in range(j + 1, M.shape[1]):
                same, opposite = M[:, j] == M[:, k], M[:, j] == -M[:, k]
                both = (same & (M[:, j] != 0)).any() and (opposite & (M[:, j] != 0)).any()
                if k not in used and (same | opposite).all() and both:
                    inputs += [
                        self.add(values[k], 1, values[j]),
                        self.add(values[k], -1, values[j]),
                    ]
                    columns += [np.where(same, M[:, j], 0), np.where(same, 0, M[:, j])]
                    used.add(k)
                    break
            else:
                columns.append(M[:, j])
                inputs.append(values[j])
        return self.rows(np.stack(columns, 1), inputs)


def program(M: Matrix) -> tuple[list[Step], list[int]]:
    """The shorter of two ways to compute M x: its steps, and which values are the result."""
    ways = []
    for way in (_Program.rows, _Program.columns):
        made = _Program(M.shape[1])
        results = way(made, M, range(M.shape[1]))
        ways.append((made.steps, results))
    return min(ways, key=lambda way: len(way[0]))


# ----- on vectors ---------------------------------------------------------------------------------


def _apply(builder: Any, steps: Sequence[Step], results: Sequence[int], x: Sequence[Any]) -> Any:
    values = list(x)
    for i, c, j in steps:
        if j is None:
            value = builder.fmul(values[i], constant(c), flags=LOOSE)
        elif c == 1:
            value = builder.fadd(values[j], values[i], flags=LOOSE)
        elif c == -1:
            value = builder.fsub(values[j], values[i], flags=LOOSE)
        else:
            value = multiply_add(builder, values[i], constant(c), values[j])
        values.append(value)
    return [values[i] for i in results]


def sandwich(M: Matrix) -> Any:
    """The kernel of Y = M X Mᵀ + b for small matrices X whose entries are vectors.

    f(x, i, down, right,  y, j, below, beside,  b) reads X from x[i + r·down + c·right], writes Y to
    y[j + r·below + c·beside], and returns the sum of all entries of Y.
    """
    rows, columns = M.shape
    steps, results = program(M)

    @intrinsic
    def transform(
        typing: Any,
        x: Any,
        i: Any,
        down: Any,
        right: Any,
        y: Any,
        j: Any,
        below: Any,
        beside: Any,
        b: Any,
    ) -> Any:
        n = types.intp
        signature = vector(x, n, n, n, y, n, n, n, vector)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x, i, down, right, y, j, below, beside, b = args
            x = place(context, builder, signature.args[0], x, i)
            y = place(context, builder, signature.args[4], y, j)

            def entry(start: Any, r: int, row: Any, c: int, column: Any) -> Any:
                offset = builder.add(
                    builder.mul(row, ir.Constant(I64, r)), builder.mul(column, ir.Constant(I64, c))
                )
                return builder.gep(start, [offset])

            MX = []  # a list for each column
            for c in range(columns):
                X = [read(builder, entry(x, r, down, c, right)) for r in range(columns)]
                MX.append(_apply(builder, steps, results, X))
            total = None
            for r in range(rows):
                Y = _apply(builder, steps, results, [column[r] for column in MX])
                for c, value in enumerate(Y):
                    value = builder.fadd(value, b, flags=LOOSE)
                    write(builder, value, entry(y, r, below, c, beside))
                    total = value if total is None else builder.fadd(total, value)
            return total

        return signature, generate

    return transform
