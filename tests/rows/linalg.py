"""Rows of matrix products, contractions and decompositions.

The oracles are the definitions: sums over permutations and over places, and for decompositions
SciPy's, one matrix at a time.
"""

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import scipy.linalg
from hypothesis import strategies as st
from numpy.typing import NDArray

import oracles
from rows.row import Case, Row
from tinygrad_cv.testing.strategies import arrays, broadcastable, shapes

Array = NDArray[Any]

LENGTHS = st.sampled_from((1, 2, 3, 4, 0))
SIDES = st.integers(1, 3)
STACKS = shapes(0, 2, 1, 2)

# ----- what is computed, by its definition -------------------------------------------------------


def einsum(*operands: Array, equation: str) -> Array:
    """Every place of every letter, one after the other."""
    left, _, out = equation.partition("->")
    terms = left.split(",")
    lengths: dict[str, int] = {}
    for term, x in zip(terms, operands, strict=True):
        for c, n in zip(term, x.shape, strict=True):
            lengths[c] = n if n != 1 else lengths.get(c, 1)
    y = np.zeros([lengths[c] for c in out])
    for places in itertools.product(*map(range, lengths.values())):
        at = dict(zip(lengths, places, strict=True))
        factors = [
            x[tuple(at[c] if n > 1 else 0 for c, n in zip(term, x.shape, strict=True))]
            for term, x in zip(terms, operands, strict=True)
        ]
        y[tuple(at[c] for c in out)] += math.prod(factors)
    return y


def one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """An oracle for a stack of matrices, of one for a matrix; that may give several arrays."""

    def oracle(x: Array, *others: Array, **attributes: Any) -> Any:
        stack = x.shape[:-2]
        found = [
            function(x[place], *(y[place] for y in others), **attributes)
            for place in np.ndindex(*stack)
        ]
        if not isinstance(found[0], tuple):
            return stacked(found, stack)
        return tuple(stacked(part, stack) for part in zip(*found, strict=True))

    return oracle


def stacked(arrays: Iterable[Any], stack: tuple[int, ...]) -> Array:
    whole = np.array([np.asarray(part) for part in arrays])
    return whole.reshape((*stack, *whole.shape[1:]))


def sign_of(order: tuple[int, ...]) -> int:
    """1 for a permutation that takes an even number of exchanges, else -1."""
    return (-1) ** sum(a > b for a, b in itertools.combinations(order, 2))


def det(x: Array) -> Any:
    """The sum over all ways to take one element of each row and column (Leibniz)."""
    n = len(x)
    return sum(
        sign_of(order) * math.prod(x[i, j] for i, j in enumerate(order))
        for order in itertools.permutations(range(n))
    )


def cofactor(x: Array) -> Array:
    """The determinants of what is left without row i and column j, with alternating signs."""
    y = np.empty(x.shape)
    for i, j in np.ndindex(*x.shape):
        y[i, j] = (-1) ** (i + j) * det(np.delete(np.delete(x, i, 0), j, 1))
    return y


def inv(x: Array) -> Array:
    """Cramer's rule."""
    return cofactor(x).T / det(x)


def cholesky(x: Array) -> Array:
    """Row by row, so that the product has the elements of (x + xᵀ) / 2 that came so far."""
    a, y = (x + x.T) / 2, np.zeros(x.shape)
    for i in range(len(x)):
        for j in range(i):
            y[i, j] = (a[i, j] - y[i, :j] @ y[j, :j]) / y[j, j]
        y[i, i] = math.sqrt(a[i, i] - y[i, :i] @ y[i, :i])
    return y


def upright(v: Array) -> Array:
    """The sign of the largest component of each column."""
    return np.array([np.sign(column[np.argmax(np.abs(column))]) for column in v.T])


def slogdet(x: Array) -> tuple[Array, ...]:
    return np.sign(det(x)), np.log(np.abs(det(x)))


def eigh(x: Array) -> tuple[Array, ...]:
    w, v = scipy.linalg.eigh((x + x.T) / 2)
    return w, v * upright(v)


def svd(x: Array) -> tuple[Array, ...]:
    u, s, vh = scipy.linalg.svd(x, full_matrices=False)
    return u * upright(u), s, vh.T * upright(u)


def qr(x: Array) -> tuple[Array, ...]:
    q, r = scipy.linalg.qr(x, mode="economic")
    return q, r


def qr_complete(x: Array) -> tuple[Array, ...]:
    q, r = scipy.linalg.qr(x)
    return q, r


def eig(x: Array) -> tuple[Array, ...]:
    w, v = scipy.linalg.eig(x)
    order = np.argsort(w.real)
    v = v.real[:, order]
    return w.real[order], v * upright(v)


def pinv(x: Array, atol: float, rtol: float) -> Array:
    return scipy.linalg.pinv(x, atol=atol, rtol=rtol)


# ----- calls to try ------------------------------------------------------------------------------


@st.composite
def products(draw: Any) -> Case:
    """Matrices, and stacks of them whose leading axes broadcast."""
    n, k, m = (draw(LENGTHS) for _ in range(3))
    left, right = draw(broadcastable(max_dims=2))
    return Case((draw(arrays((*left, n, k))), draw(arrays((*right, k, m)))))


@st.composite
def layers(draw: Any) -> Case:
    """Rows, a weight (out, in), and a bias or none."""
    n, inner, out = (draw(LENGTHS) for _ in range(3))
    b = draw(st.none() | arrays((out,)))
    return Case((draw(arrays((n, inner))), draw(arrays((out, inner))), b))


@st.composite
def contractions(draw: Any) -> Case:
    """Two or three operands; each letter stands in two or more of the terms and the output."""
    count = draw(st.integers(2, 3))
    terms = [""] * (count + 1)
    lengths = {}
    for letter in "abcd"[: draw(st.integers(0, 4))]:
        lengths[letter] = draw(LENGTHS)
        for k in draw(st.lists(st.integers(0, count), min_size=2, unique=True)):
            terms[k] += letter
    *terms, out = ("".join(draw(st.permutations(term))) for term in terms)
    operands = [draw(arrays([lengths[c] for c in term])) for term in terms]
    return Case(tuple(operands), {"equation": f"{','.join(terms)}->{out}"})


def turned(rng: np.random.Generator, n: int, k: int) -> Array:
    """k orthonormal columns of length n, in each of which one component is by far the largest."""
    basis = np.eye(n)[rng.permutation(n)] * rng.choice([-1, 1], n)
    return np.linalg.qr(basis + rng.uniform(-0.2, 0.2, (n, n)))[0][:, :k]


@st.composite
def regular(draw: Any, m: int | None = None, n: int | None = None, low: int = 1) -> Array:
    """Stacks of matrices whose singular values lie between 0.6 and 3, 0.4 apart or more."""
    m = m or draw(st.integers(low, 3))
    n, k = n or m, min(m, n or m)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(STACKS)
    found = [
        (turned(rng, m, k) * (rng.permutation(k) * 0.6 + rng.uniform(0.6, 0.8, k)))
        @ turned(rng, n, k).T
        for _ in range(math.prod(shape))
    ]
    return np.array(found).reshape((*shape, m, n))


@st.composite
def symmetric(draw: Any, low: float) -> Array:
    """Stacks of matrices whose symmetric part has eigenvalues from `low` on, 0.4 apart or more."""
    n, shape = draw(SIDES), draw(STACKS)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    found = []
    for _ in range(math.prod(shape)):
        v, other = turned(rng, n, n), rng.uniform(-1, 1, (n, n))
        w = low + rng.permutation(n) * 0.6 + rng.uniform(0, 0.2, n)
        found.append((v * w) @ v.T + other - other.T)
    return np.array(found).reshape((*shape, n, n))


@st.composite
def tall(draw: Any, attributes: dict[str, Any]) -> Case:
    n = draw(SIDES)
    return Case((draw(regular(n + draw(st.integers(0, 2)), n)),), attributes)


@st.composite
def with_real_eigenvalues(draw: Any) -> Array:
    """Stacks of matrices with eigenvalues 0.4 apart or more, and vectors that are independent."""
    n, shape = draw(SIDES), draw(STACKS)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    found = []
    for _ in range(math.prod(shape)):
        v = turned(rng, n, n) + 0.3 * rng.uniform(-1, 1, (n, n)) / n
        w = rng.permutation(n) * 0.6 + rng.uniform(-0.8, -0.6, n)
        found.append((v * w) @ np.linalg.inv(v))
    return np.array(found).reshape((*shape, n, n))


@st.composite
def systems(draw: Any) -> Case:
    x = draw(regular())
    return Case((x, draw(arrays((*x.shape[:-1], draw(SIDES))))))


@st.composite
def rectangles(draw: Any, attributes: dict[str, Any]) -> Case:
    return Case((draw(regular(draw(SIDES), draw(SIDES))),), attributes)


ROWS = [
    Row("matmul", products(), oracles.matmul, exact="linear"),
    Row(
        "linear",
        layers(),
        lambda x, w, b: oracles.matmul(x, w.T) + (0 if b is None else b),
    ),
    Row("einsum", contractions(), einsum, exact="linear"),
    Row("inv", regular().map(lambda x: Case((x,))), one_by_one(inv), exact="complex"),
    Row("solve", systems(), one_by_one(lambda x, b: inv(x) @ b), exact="complex"),
    Row("det", regular().map(lambda x: Case((x,))), one_by_one(det), exact="complex"),
    Row("cofactor", regular(low=2).map(lambda x: Case((x,))), one_by_one(cofactor)),
    Row("slogdet", regular().map(lambda x: Case((x,))), one_by_one(slogdet)),
    Row("cholesky", symmetric(0.6).map(lambda x: Case((x,))), one_by_one(cholesky)),
    Row("eigh", symmetric(-0.8).map(lambda x: Case((x,))), one_by_one(eigh)),
    Row("eigvalsh", symmetric(-0.8).map(lambda x: Case((x,))), one_by_one(lambda x: eigh(x)[0])),
    Row("svd", rectangles({}), one_by_one(svd)),
    Row("svdvals", rectangles({}), one_by_one(lambda x: svd(x)[1])),
    Row("qr", tall({}), one_by_one(qr)),
    Row("qr_complete", tall({}), one_by_one(qr_complete)),
    Row("eig", with_real_eigenvalues().map(lambda x: Case((x,))), one_by_one(eig)),
    Row("pinv", rectangles({"atol": 0.0, "rtol": 1e-6}), one_by_one(pinv)),
]
