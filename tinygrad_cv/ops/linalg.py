"""Matrix products, contractions, and what linear algebra does with square matrices.

Matrices are the last two axes (..., n, m); the axes before them are a stack of matrices.
"""

import math
import string
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import chain, pairwise
from typing import Any, ClassVar, NamedTuple

from tinygrad_cv._apply import F as T
from tinygrad_cv._apply import computed_in
from tinygrad_cv._graph import in_one
from tinygrad_cv._inputs import public
from tinygrad_cv._op import Op
from tinygrad_cv._public import FUNCTIONAL, IN_PLACE, LINALG, METHOD, TOP
from tinygrad_cv._tensor import Tensor, wrap
from tinygrad_cv.backend import host
from tinygrad_cv.ops import reduce
from tinygrad_cv.ops.reduce import axes_of, axis_of, kept

ALL = slice(None)


class Matmul(Op):
    """x @ y for x (..., n, k) and y (..., k, m) -> (..., n, m); leading axes broadcast."""

    symbol = "{} @ {}"

    def forward(self, xp, x, y):
        return xp.matmul(x, y)

    def flops(self, out, x, y):
        return 2 * math.prod(out) * x[-1]

    def grad_x(self, F, g, y):
        return F.matmul(g, F.mT(y))

    def grad_y(self, F, g, x):
        return F.matmul(F.mT(x), g)

    def explain(self, error: ValueError, arrays: tuple[Any, ...]) -> ValueError:
        x, y = arrays[0].shape, arrays[1].shape
        return ValueError(
            f"matmul: {x} @ {y}: the last axis of the first must equal axis -2 of the second, and "
            "the axes before them must broadcast. Transpose one of them (y.mT), or reshape it."
        )


class Linear(Op):
    """x wᵀ + b for x (n, in), w (out, in) and b (out,) or None -> (n, out)."""

    def forward(self, xp, x, w, b=None):
        y = xp.matmul(x, w.T)
        if b is not None:
            y += b
        return y

    def flops(self, out, x, w, b=None):
        return math.prod(out) * (2 * x[-1] + (b is not None))

    def grad_x(self, F, g, w):
        return F.matmul(g, w)

    def grad_w(self, F, g, x):
        return F.matmul(F.mT(g), x)

    def grad_b(self, F, g):
        return F.sum(g, axis=(0,))


class Einsum(Op):
    """The sum over all letters of the equation that its output lacks: "ij,jk->ik" is x @ y.

    No letter occurs twice in a term, and each occurs in two terms at least, one of which may be
    the output (the function `einsum` sees to both). Such contractions differentiate into one
    another: the output and a term trade places.
    """

    equation: str

    def forward(self, xp, *xs):
        roles = _roles(self.equation)
        self.terms, self.out = roles.terms, roles.out
        if roles.inner and (roles.left or roles.right):
            return self.product(xp, roles, *xs)
        return xp.einsum(self.equation, *xs, optimize=len(xs) > 2)

    def flops(self, out, *xs):
        """For each value of all letters the product of the terms, and where letters go, a sum."""
        left, _, kept = self.equation.partition("->")
        terms = left.split(",")
        lengths = dict(zip("".join(terms), chain(*xs), strict=True))
        each = len(terms) - 1 + (not lengths.keys() <= set(kept))
        return each * math.prod(lengths.values())

    def product(self, xp, roles, x, y):
        """Two operands as a product of matrices, (batch, left, inner) @ (batch, inner, right)."""
        lengths = dict(zip("".join(self.terms), (*x.shape, *y.shape), strict=True))

        def arranged(array, term, rows, columns):
            shape = [lengths[c] for c in roles.batch]
            shape += [math.prod(lengths[c] for c in group) for group in (rows, columns)]
            order = [term.index(c) for c in roles.batch + rows + columns]
            return xp.reshape(xp.transpose(array, order), shape)

        z = xp.matmul(
            arranged(x, self.terms[0], roles.left, roles.inner),
            arranged(y, self.terms[1], roles.inner, roles.right),
        )
        found = roles.batch + roles.left + roles.right
        z = xp.reshape(z, [lengths[c] for c in found])
        return xp.transpose(z, [found.index(c) for c in self.out])

    def grad_xs(self, F, g, xs):
        gradients = []
        for k, term in enumerate(self.terms):
            others = [*self.terms[:k], *self.terms[k + 1 :]]
            equation = f"{','.join([self.out, *others])}->{term}"
            gradients.append(F.einsum(g, *xs[:k], *xs[k + 1 :], equation=equation))
        return gradients


class _Roles(NamedTuple):
    """The terms of an equation; for two of them, what each letter does in their product."""

    terms: tuple[str, ...]
    out: str
    batch: str = ""
    left: str = ""
    inner: str = ""
    right: str = ""


@cache
def _roles(equation: str) -> _Roles:
    left, _, out = equation.partition("->")
    terms = tuple(left.split(","))
    places = Counter(c for term in (*terms, out) for c in set(term))
    lone = {c for c, count in places.items() if count == 1}
    if lone or any(len(set(term)) < len(term) for term in (*terms, out)):
        raise ValueError(
            f"the op einsum got {equation!r}: a letter twice in a term, or in one term only, has "
            "no rule here; the function einsum takes diagonals and sums first."
        )
    if len(terms) != 2:
        return _Roles(terms, out)
    x, y = terms
    return _Roles(
        terms,
        out,
        batch="".join(c for c in x if c in y and c in out),
        left="".join(c for c in x if c not in y),
        inner="".join(c for c in x if c not in out),
        right="".join(c for c in y if c not in x),
    )


# ----- square matrices ---------------------------------------------------------------------------


class _OfMatrices(Op):
    """Base of what the array library's `linalg` computes; `failure` says why it may not."""

    failure: ClassVar[str]
    computes_in = "float64"

    def explain(self, error: ValueError, arrays: tuple[Any, ...]) -> ValueError:
        shapes = " and ".join(str(a.shape) for a in arrays)
        return ValueError(f"{self.name} of {shapes}: {self.failure} ({error})")


# Operations of each algorithm as Golub and Van Loan have them (Matrix Computations, 2013).


def _many(shape, each):
    """`each` for every matrix of a stack."""
    return math.prod(shape[:-2]) * each


def _lu(n):
    return 2 * n**3 // 3


def _svd(m, n):
    n, m = sorted((m, n))
    return 14 * m * n**2 + 8 * n**3


class Inv(_OfMatrices):
    """x⁻¹."""

    failure = "a matrix is singular and has no inverse; pinv gives a pseudo-inverse."

    def forward(self, xp, x):
        return xp.linalg.inv(x)

    def flops(self, out, x):
        return _many(x, 2 * x[-1] ** 3)

    def grad_x(self, F, g, y):
        return -F.matmul(F.mT(y), F.matmul(g, F.mT(y)))


class Solve(_OfMatrices):
    """The z with x z = b, for x (..., n, n) and b (..., n, k) with the same leading axes."""

    failure = (
        "a matrix is singular, so there is no solution or more than one; pinv(A) @ B gives the "
        "shortest that fits best."
    )

    def forward(self, xp, x, b):
        return xp.linalg.solve(x, b)

    def flops(self, out, x, b):
        return _many(x, _lu(x[-1]) + 2 * x[-1] ** 2 * b[-1])

    def grad_x(self, F, g, x, y):
        return -F.matmul(F.solve(F.mT(x), g), F.mT(y))

    def grad_b(self, F, g, x):
        return F.solve(F.mT(x), g)

    def fused(self, xp, g, x, y):
        h = xp.linalg.solve(xp.swapaxes(x, -1, -2), g)
        return -xp.matmul(h, xp.swapaxes(y, -1, -2)), h


class Det(_OfMatrices):
    """The determinant of each matrix."""

    failure = "the determinant was not found."

    def forward(self, xp, x):
        self.ones = (*x.shape[:-2], 1, 1)
        return xp.linalg.det(x)

    def flops(self, out, x):
        return _many(x, _lu(x[-1]))

    def grad_x(self, F, g, x):
        return F.reshape(g, shape=self.ones) * F.cofactor(x)


class Cofactor(_OfMatrices):
    """det(x) x⁻ᵀ, the gradient of the determinant, which a singular matrix has as well.

    With x = U diag(s) Vᵀ it is det(U) det(V) U diag(c) Vᵀ, where c_i is the product of all s but
    s_i. Its own gradient divides by det(x).
    """

    failure = "the singular values were not found; does it hold nan or inf?"

    def forward(self, xp, x):
        self.ones = (*x.shape[:-2], 1, 1)
        self.matrix = (x.ndim - 2, x.ndim - 1)
        u, s, vh = xp.linalg.svd(x, full_matrices=False)
        sign = xp.linalg.det(u) * xp.linalg.det(vh)
        itself = xp.eye(x.shape[-1], dtype=bool)
        others = xp.prod(xp.where(itself, 1, s[..., None, :]), axis=-1)
        return xp.reshape(sign, self.ones) * xp.matmul(u * others[..., None, :], vh)

    def flops(self, out, x):
        n = x[-1]
        return _many(x, _svd(n, n) + 2 * _lu(n) + 2 * n**3)

    def grad_x(self, F, g, x):
        y = F.let("c", F.cofactor(x))  # in float64: the result may be beyond float32
        along = F.sum(g * y, axis=self.matrix, keepdims=True)
        turned = F.matmul(y, F.matmul(F.mT(g), y))
        return (along * y - turned) / F.reshape(F.det(x), shape=self.ones)


class Slogdet(_OfMatrices):
    """The sign of det x: 1, -1, or 0; and log |det x|, also where det x itself would overflow."""

    failure = "the determinant was not found."
    outputs = ("sign", "log")

    def forward(self, xp, x):
        self.ones = (*x.shape[:-2], 1, 1)
        return xp.linalg.slogdet(x)

    def flops(self, out, x):
        return _many(x, _lu(x[-1]))

    def grad_x(self, F, g, x):
        _, g_log = g  # no gradient flows through the sign
        return F.reshape(g_log, shape=self.ones) * F.mT(F.inv(x))


class Cholesky(_OfMatrices):
    """The lower triangle L with L Lᵀ = (x + xᵀ) / 2.

    The gradient is L⁻ᵀ S L⁻¹ / 2, where S is symmetric and has the lower triangle of Lᵀ g (Murray,
    Differentiation of the Cholesky decomposition, 2016).
    """

    failure = (
        "a matrix is not positive definite. A covariance with little variance in some direction "
        "needs a small number on its diagonal, A + eps·I."
    )
    kept = ("lower",)

    def forward(self, xp, x):
        n = x.shape[-1]
        self.lower = xp.tril(xp.ones((n, n), dtype=bool))
        return xp.linalg.cholesky(_symmetric(xp, x))

    def flops(self, out, x):
        return _many(x, x[-1] ** 3 // 3)

    def grad_x(self, F, g, y, lower):
        t = F.let("t", F.mT(y))
        h = F.let("h", F.matmul(t, g))
        s = F.where(lower, h, F.mT(h))
        return F.solve(t, F.mT(F.solve(t, s))) / 2


def _symmetric(xp, x):
    return (x + xp.swapaxes(x, -1, -2)) / 2


class Eigh(_OfMatrices):
    """The eigenvalues w (..., n) and eigenvectors V (..., n, n) of (x + xᵀ) / 2.

    w ascends; the columns of V each have their largest component positive. The gradient is
    V (K + diag(g_w)) Vᵀ, where K is the antisymmetric part of Vᵀ g_V divided by w_j - w_i. Where
    two eigenvalues are equal it exists only if their vectors are not asked for.
    """

    failure = "the eigenvalues were not found; does it hold nan or inf?"

    outputs = ("w", "v")

    def forward(self, xp, x):
        self.row = (*x.shape[:-2], 1, x.shape[-1])
        w, v = xp.linalg.eigh(_symmetric(xp, x))
        return w, xp.where(_upright(xp, v), v, -v)

    def flops(self, out, x):
        return _many(x, 9 * x[-1] ** 3)

    def grad_x(self, F, g, w, v):
        g_w, g_v = g
        row = F.let("r", F.reshape(w, shape=self.row))
        turn = F.let("n", _turn(F, "h", v, g_v) / 2)
        k = _quotient(F, turn, F.let("d", row - F.mT(row)))
        return F.matmul(F.matmul(v, k) + v * F.reshape(g_w, shape=self.row), F.mT(v))


class Eigvalsh(_OfMatrices):
    """The eigenvalues of (x + xᵀ) / 2 in ascending order. The gradient is V diag(g) Vᵀ."""

    failure = "the eigenvalues were not found; does it hold nan or inf?"

    def forward(self, xp, x):
        self.row = (*x.shape[:-2], 1, x.shape[-1])
        return xp.linalg.eigvalsh(_symmetric(xp, x))

    def flops(self, out, x):
        return _many(x, 4 * x[-1] ** 3 // 3)

    def grad_x(self, F, g, x):
        v = F.let("v", F.eigh(x)[1])
        return F.matmul(v * F.reshape(g, shape=self.row), F.mT(v))


class Svd(_OfMatrices):
    """x = U diag(s) Vᵀ for x (..., m, n): U (..., m, k), s (..., k) and V (..., n, k).

    k is min(m, n), and s descends. In each column of U the largest component is positive. The
    gradient is (Townsend, Differentiating the singular
    value decomposition, 2016)

    U (K + diag(g_s)) Vᵀ + (I - U Uᵀ) g_U diag(1/s) Vᵀ + U diag(1/s) g_Vᵀ (I - V Vᵀ), where
    K_ij = ((Uᵀ g_U - g_Uᵀ U)_ij s_j + s_i (Vᵀ g_V - g_Vᵀ V)_ij) / (s_j² - s_i²).

    Where two singular values are equal, or one is 0, it exists only if the vectors are not asked
    for.
    """

    failure = "the singular values were not found; does it hold nan or inf?"

    outputs = ("u", "s", "v")

    def forward(self, xp, x):
        self.m, self.n = x.shape[-2:]
        self.row = (*x.shape[:-2], 1, min(self.m, self.n))
        u, s, vh = xp.linalg.svd(x, full_matrices=False)
        v, upright = xp.swapaxes(vh, -1, -2), _upright(xp, u)
        return xp.where(upright, u, -u), s, xp.where(upright, v, -v)

    def flops(self, out, x):
        return _many(x, _svd(*x[-2:]))

    def grad_x(self, F, g, u, s, v):
        gu, gs, gv = g
        s = F.let("r", F.reshape(s, shape=self.row))
        t = F.mT(s)
        turn = F.let("n", _turn(F, "a", u, gu) * s + t * _turn(F, "b", v, gv))
        k = _quotient(F, turn, F.let("d", (s - t) * (s + t)))
        gradient = F.matmul(F.matmul(u, k) + u * F.reshape(gs, shape=self.row), F.mT(v))
        if self.m > self.n:
            outside = F.let("p", gu - F.matmul(u, F.matmul(F.mT(u), gu)))
            gradient = gradient + F.matmul(_quotient(F, outside, s), F.mT(v))
        if self.n > self.m:
            outside = F.let("q", gv - F.matmul(v, F.matmul(F.mT(v), gv)))
            gradient = gradient + F.matmul(u, F.mT(_quotient(F, outside, s)))
        return gradient


class Svdvals(_OfMatrices):
    """The singular values in descending order. The gradient is U diag(g) Vᵀ."""

    failure = "the singular values were not found; does it hold nan or inf?"

    def forward(self, xp, x):
        self.row = (*x.shape[:-2], 1, min(x.shape[-2:]))
        return xp.linalg.svd(x, compute_uv=False)

    def flops(self, out, x):
        n, m = sorted(x[-2:])
        return _many(x, 4 * m * n**2 - 4 * n**3 // 3)

    def grad_x(self, F, g, x):
        u, _, v = F.svd(x)
        return F.matmul(u * F.reshape(g, shape=self.row), F.mT(v))


class Pinv(_OfMatrices):
    """The pseudo-inverse, V diag(1/s) Uᵀ over the singular values above max(atol, rtol · s_max).

    The gradient is that of matrices of one rank (Golub and Pereyra, The differentiation of
    pseudo-inverses, 1973); where the rank jumps there is none.
    """

    atol: float
    rtol: float
    failure = "the singular values were not found; does it hold nan or inf?"

    def forward(self, xp, x):
        u, s, vh = xp.linalg.svd(x, full_matrices=False)
        large = s > xp.maximum(self.rtol * s[..., :1], self.atol)
        inverse = xp.where(large, 1 / xp.where(large, s, 1), 0)
        return xp.matmul(xp.swapaxes(vh, -1, -2) * inverse[..., None, :], xp.swapaxes(u, -1, -2))

    def flops(self, out, x):
        return _many(x, _svd(*x[-2:]) + 2 * math.prod(x[-2:]) * min(x[-2:]))

    def grad_x(self, F, g, x, y):
        t, h = F.let("t", F.mT(y)), F.let("h", F.mT(g))
        below = F.let("b", h - F.matmul(x, F.matmul(y, h)))
        beside = F.let("c", h - F.matmul(F.matmul(h, y), x))
        return (
            F.matmul(F.matmul(below, y), t)
            + F.matmul(t, F.matmul(y, beside))
            - F.matmul(t, F.matmul(g, t))
        )


class Qr(_OfMatrices):
    """x = Q R for x (..., m, n) with m >= n: Q (..., m, n) and R (..., n, n).

    Q has orthonormal columns, and R is an upper triangle with the signs that Householder's
    reflections give. With M = R g_Rᵀ - g_Qᵀ Q the gradient is (Walter, Lehmann and Lamour, On
    evaluating higher-order derivatives of the QR decomposition, 2012)

    (g_Q + Q (tril M + (strict tril M)ᵀ)) R⁻ᵀ.

    It needs columns that are independent.
    """

    failure = "the columns were not made orthogonal."

    outputs = ("q", "r")

    def forward(self, xp, x):
        return tuple(xp.linalg.qr(x))

    def flops(self, out, x):
        """Each reflection turns what is left of x, and of Q."""
        m, n = x[-2:]
        return _many(x, sum(8 * (m - j) * (n - j) for j in range(n)))

    def grad_x(self, F, g, q, r):
        gq, gr = g
        m = F.let("n", F.matmul(r, F.mT(F.triu(gr))) - F.matmul(F.mT(gq), q))
        both = F.tril(m) + F.mT(F.tril(m, diagonal=-1))
        return F.mT(F.solve(r, F.mT(gq + F.matmul(q, both))))


class QrComplete(_OfMatrices):
    """x = Q R with a square Q: Q (..., m, m) and R (..., m, n)."""

    failure = Qr.failure
    outputs = ("q", "r")
    nondifferentiable = ("x",)

    def forward(self, xp, x):
        return tuple(xp.linalg.qr(x, mode="complete"))

    def flops(self, out, x):
        m, n = x[-2:]
        return _many(x, sum(4 * (m - j) * (m + n - 2 * j) for j in range(min(m, n))))


class Eig(_OfMatrices):
    """The eigenvalues w (..., n) and eigenvectors V (..., n, n) of x, which must all be real.

    w ascends; the columns of V have the length 1, and their largest component is positive. With
    h = Vᵀ g_V the gradient is V⁻ᵀ (K + diag(g_w)) Vᵀ, where K is h - Vᵀ V diag(h) divided by
    w_j - w_i, and 0 on the diagonal.
    """

    failure = "real eigenvalues were not found; those of a symmetric matrix are, by eigh."
    kept = ("itself",)
    outputs = ("w", "v")

    def forward(self, xp, x):
        self.itself = xp.eye(x.shape[-1], dtype=bool)
        self.row = (*x.shape[:-2], 1, x.shape[-1])
        self.rows = (x.ndim - 2,)
        w, v = xp.linalg.eig(x)
        if w.dtype.kind == "c":
            if bool(xp.any(w.imag != 0)):
                raise ValueError(
                    "some eigenvalues are complex, and no complex numbers are differentiated here"
                )
            w, v = w.real, v.real
        order = xp.argsort(w, axis=-1)
        v = xp.take_along_axis(v, order[..., None, :], -1)
        v = v / xp.sqrt(xp.sum(v * v, axis=-2, keepdims=True))
        return xp.take_along_axis(w, order, -1), xp.where(_upright(xp, v), v, -v)

    def flops(self, out, x):
        return _many(x, 25 * x[-1] ** 3)

    def grad_x(self, F, g, w, v, itself):
        g_w, g_v = g
        row = F.let("r", F.reshape(w, shape=self.row))
        t = F.let("t", F.mT(v))
        h = F.let("h", F.matmul(t, g_v))
        along = F.sum(F.where(itself, h, 0.0), axis=self.rows, keepdims=True)
        turn = F.let("n", F.where(itself, 0.0, h - F.matmul(t, v) * along))
        k = _quotient(F, turn, F.let("d", row - F.mT(row)))
        k = k + F.where(itself, F.reshape(g_w, shape=self.row), 0.0)
        return F.matmul(F.solve(t, k), t)


def _upright(xp, v):
    """For each column whether its largest component is positive."""
    if not v.shape[-2]:
        return xp.ones((*v.shape[:-2], 1, v.shape[-1]), dtype=bool)
    return xp.max(v, axis=-2, keepdims=True) >= -xp.min(v, axis=-2, keepdims=True)


def _turn(F, name, v, g):
    """Vᵀ g - gᵀ V: how g turns the columns of V towards one another; its diagonal is exactly 0."""
    h = F.let(name, F.matmul(F.mT(v), g))
    return h - F.mT(h)


def _quotient(F, n, gap):
    """n / gap, and 0 where both are 0: nothing is asked there."""
    return n / F.where(F.logical_and(n == 0, gap == 0), 1, gap)


# ----- as functions: products --------------------------------------------------------------------


@public(TOP, METHOD, LINALG)
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product, as PyTorch and NumPy define it.

    (n, k) @ (k, m) -> (n, m); leading axes are a batch and broadcast; a vector on the left is a
    row, a vector on the right a column, and that axis is gone from the result.

    >>> matmul(Tensor([[1.0, 2.0]]), Tensor([3.0, 4.0]))
    tensor([11.])
    """
    if input.ndim == 0 or other.ndim == 0:
        raise ValueError(
            f"matmul: {input.shape} @ {other.shape}: both need an axis; use * for numbers."
        )
    inner = other.shape[-2] if other.ndim > 1 else other.shape[0]
    if input.shape[-1] != inner:
        raise ValueError(
            f"matmul: {input.shape} @ {other.shape}: the last axis of the first has length "
            f"{input.shape[-1]}, and the axis of the second that it meets {inner}. Transpose one "
            "of them (y.mT), or reshape it."
        )
    left = input if input.ndim > 1 else T.reshape(input, shape=(1, *input.shape))
    right = other if other.ndim > 1 else T.reshape(other, shape=(*other.shape, 1))
    product = T.matmul(left, right)
    if left is input and right is other:
        return product
    shape = product.shape
    rows = shape[:-2] if left is not input else shape[:-1]
    columns = () if right is not other else shape[-1:]
    return T.reshape(product, shape=(*rows, *columns))


@public(TOP, FUNCTIONAL)
@in_one
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x wᵀ + b along the last axis: (..., in) -> (..., out), with the weight (out, in).

    The bias has the shape (out,), with or without axes of length 1 in front. With a weight (in,)
    and a bias () the result is without the last axis.

    >>> linear(Tensor([[1.0, 2.0]]), Tensor([[3.0, 4.0]]), Tensor([0.5]))
    tensor([[11.5]])
    """
    if weight.ndim == 1 and (bias is None or bias.ndim == 0):
        row = T.reshape(weight, shape=(1, *weight.shape))
        y = linear(input, row, None if bias is None else T.reshape(bias, shape=(1,)))
        return T.reshape(y, shape=y.shape[:-1])
    w = weight.shape
    if bias is not None and bias.ndim > 1 and bias.numel() == bias.shape[-1]:
        bias = T.reshape(bias, shape=(-1,))
    b = None if bias is None else bias.shape
    if len(w) != 2 or input.shape[-1:] != w[1:] or b not in (None, w[:1]):
        raise ValueError(
            f"linear: the input {input.shape} must end in the in_features of the weight "
            f"(out_features, in_features), here {w}, and the bias be (out_features,), here {b}. "
            "A stack of images is flattened first: x.flatten(1)."
        )
    if input.ndim == 2:
        return T.linear(input, weight, bias)
    # (..., in) -> (n, in) -> (n, out) -> (..., out)
    flat = T.reshape(input, shape=(math.prod(input.shape[:-1]), w[1]))
    return T.reshape(T.linear(flat, weight, bias), shape=(*input.shape[:-1], weight.shape[0]))


@public(TOP, FUNCTIONAL)
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y[o] = x₁ᵀ w[o] x₂ + b[o]: (..., in1) and (..., in2) -> (..., out), with w (out, in1, in2).

    >>> bilinear(Tensor([[1.0, 2.0]]), Tensor([[3.0]]), Tensor([[[10.0], [1.0]]]))
    tensor([[36.]])
    """
    w, b = weight.shape, None if bias is None else bias.shape
    x1, x2 = input1.shape, input2.shape
    if (
        len(w) != 3
        or not x1
        or x1[:-1] != x2[:-1]
        or (x1[-1], x2[-1]) != w[1:]
        or b not in (None, w[:1])
    ):
        raise ValueError(
            "bilinear: expected inputs (..., in1) and (..., in2), a weight (out, in1, in2) and a "
            f"bias (out,); got {x1}, {x2}, {w} and {b}."
        )
    # (n, in1) @ (in1, out·in2) -> (n, out, in2), and that @ (n, in2, 1) -> (n, out, 1)
    sides = T.reshape(T.permute(weight, axes=(1, 0, 2)), shape=(w[1], w[0] * w[2]))
    first = T.matmul(T.reshape(input1, shape=(math.prod(x1[:-1]), w[1])), sides)
    first = T.reshape(first, shape=(math.prod(x1[:-1]), w[0], w[2]))
    second = T.reshape(input2, shape=(math.prod(x1[:-1]), w[2], 1))
    y = T.reshape(T.matmul(first, second), shape=(*x1[:-1], w[0]))
    return y if bias is None else y + bias


def _check_axes(name: str, equation: str, input: Tensor, other: Tensor) -> str:
    """The equation, if each of the tensors has exactly the axes of its term."""
    terms = equation.partition("->")[0].split(",")
    shapes = input.shape, other.shape
    lengths: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        if len(shape) != len(term) or any(
            lengths.setdefault(c, n) != n for c, n in zip(term, shape, strict=True)
        ):
            expected = " and ".join(f"({', '.join(t)}{',' * (len(t) == 1)})" for t in terms)
            raise ValueError(
                f"{name}: expected the shapes {expected}, equal letters for equal lengths; got "
                f"{shapes[0]} and {shapes[1]}."
            )
    return equation


@public(TOP, METHOD)
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices, (n, k) @ (k, m); nothing broadcasts.

    >>> mm(Tensor([[1.0, 2.0]]), Tensor([[3.0], [4.0]]))
    tensor([[11.]])
    """
    _check_axes("mm", "nk,km->nm", input, mat2)
    return T.matmul(input, mat2)


@public(TOP, METHOD)
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The products of two stacks of matrices, (b, n, k) @ (b, k, m); nothing broadcasts.

    >>> bmm(Tensor([[[1.0, 2.0]]]), Tensor([[[3.0], [4.0]]]))
    tensor([[[11.]]])
    """
    _check_axes("bmm", "bnk,bkm->bnm", input, mat2)
    return T.matmul(input, mat2)


@public(TOP, METHOD)
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """A matrix times a vector, (n, k) @ (k,).

    >>> mv(Tensor([[1.0, 2.0], [0.0, 1.0]]), Tensor([3.0, 4.0]))
    tensor([11.,  4.])
    """
    return T.einsum(input, vec, equation=_check_axes("mv", "nk,k->n", input, vec))


@public(TOP, METHOD)
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """Σ x y of two vectors.

    >>> dot(Tensor([1.0, 2.0]), Tensor([3.0, 4.0]))
    tensor(11.)
    """
    return T.einsum(input, tensor, equation=_check_axes("dot", "n,n->", input, tensor))


@public(TOP, METHOD)
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """Σ x y of two vectors; the same as `dot`, for there are no complex gradients here."""
    return T.einsum(input, other, equation=_check_axes("vdot", "n,n->", input, other))


@public(TOP, METHOD, also="ger")
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """All products of an element of one vector with one of the other, (n,) and (m,) -> (n, m).

    >>> outer(Tensor([1.0, 2.0]), Tensor([3.0, 4.0]))
    tensor([[3., 4.],
            [6., 8.]])
    """
    return T.einsum(input, vec2, equation=_check_axes("outer", "n,m->nm", input, vec2))


@public(TOP, METHOD)
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Σ x y over the last axis of both, (..., k) and (***, k) -> (..., ***); of numbers, x y.

    >>> inner(Tensor([[1.0, 2.0], [0.0, 1.0]]), Tensor([3.0, 4.0]))
    tensor([11.,  4.])
    """
    if input.ndim == 0 or other.ndim == 0:
        return T.mul(input, other)
    if input.shape[-1] != other.shape[-1]:
        raise ValueError(
            f"inner: the last axes of {input.shape} and {other.shape} must have the same length."
        )
    return tensordot(input, other, dims=([-1], [-1]))


# A matrix product on top of something: beta · input + alpha · product. With beta = 0 the input is
# not looked at, so that nothing comes of a nan in it.


def _on_top(input: Tensor, product: Tensor, beta: Any, alpha: Any) -> Tensor:
    added: Tensor = product if alpha == 1 else T.mul(product, alpha)
    if beta == 0:
        return added
    below = T.broadcast_to(input, shape=product.shape)
    total: Tensor = T.add(below if beta == 1 else T.mul(below, beta), added)
    return total


@public(TOP, METHOD, IN_PLACE)
@computed_in("float32")
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """`beta` · input + `alpha` · mat1 @ mat2, (n, k) @ (k, m); input broadcasts to (n, m).

    >>> addmm(Tensor([1.0]), Tensor([[1.0, 2.0]]), Tensor([[3.0], [4.0]]), alpha=2)
    tensor([[23.]])
    """
    return _on_top(input, mm(mat1, mat2), beta, alpha)


@public(TOP, METHOD, IN_PLACE)
@computed_in("float32")
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """`beta` · input + `alpha` · mat @ vec, (n, k) @ (k,); input broadcasts to (n,).

    >>> addmv(Tensor([1.0]), Tensor([[1.0, 2.0]]), Tensor([3.0, 4.0]))
    tensor([12.])
    """
    return _on_top(input, mv(mat, vec), beta, alpha)


@public(TOP, METHOD, IN_PLACE)
@computed_in("float32")
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """`beta` · input + `alpha` · the `outer` product, (n, m); input broadcasts to it.

    >>> addr(Tensor([1.0]), Tensor([1.0, 2.0]), Tensor([3.0, 4.0]))
    tensor([[4., 5.],
            [7., 9.]])
    """
    return _on_top(input, outer(vec1, vec2), beta, alpha)


@public(TOP, METHOD, IN_PLACE)
@computed_in("float32")
def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    """`beta` · input + `alpha` · batch1 @ batch2, (b, n, k) @ (b, k, m); input broadcasts.

    >>> baddbmm(Tensor([1.0]), Tensor([[[1.0, 2.0]]]), Tensor([[[3.0], [4.0]]]))
    tensor([[[12.]]])
    """
    return _on_top(input, bmm(batch1, batch2), beta, alpha)


@public(TOP, METHOD, IN_PLACE)
@computed_in("float32")
def addbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    """`beta` · input + `alpha` · the sum of all products of a stack, (b, n, k) @ (b, k, m).

    >>> addbmm(Tensor([1.0]), Tensor([[[1.0]], [[2.0]]]), Tensor([[[3.0]], [[4.0]]]))
    tensor([[12.]])
    """
    equation = _check_axes("addbmm", "bnk,bkm->nm", batch1, batch2)
    return _on_top(input, T.einsum(batch1, batch2, equation=equation), beta, alpha)


@public(TOP)
def chain_matmul(*matrices: Tensor) -> Tensor:
    """The product of matrices, each an argument: linalg.multi_dot by its older name.

    >>> chain_matmul(Tensor([[1.0, 2.0]]), Tensor([[3.0], [4.0]]))
    tensor([[11.]])
    """
    return matrices[0] if len(matrices) == 1 else multi_dot(matrices)


@public(LINALG)
@computed_in("float32")
def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of two or more matrices, in the order of the fewest multiplications.

    The first and the last may be vectors: a row and a column, whose axis the result lacks (Cormen
    et al., Introduction to Algorithms, chapter 15.2).

    >>> multi_dot([Tensor([1.0, 2.0]), Tensor([[1.0], [0.0]]), Tensor([[5.0, 6.0]])])
    tensor([5., 6.])
    """
    if len(tensors) < 2:
        raise ValueError(f"multi_dot: expected at least two tensors; got {len(tensors)}.")
    first, last = tensors[0], tensors[-1]
    matrices = list(tensors)
    if first.ndim == 1:
        matrices[0] = T.reshape(first, shape=(1, *first.shape))
    if last.ndim == 1:
        matrices[-1] = T.reshape(last, shape=(*last.shape, 1))
    if any(x.ndim != 2 for x in matrices) or any(
        a.shape[1] != b.shape[0] for a, b in pairwise(matrices)
    ):
        raise ValueError(
            "multi_dot: expected matrices (n, k), (k, m), ..., the first and the last perhaps a "
            f"vector; got the shapes {', '.join(str(x.shape) for x in tensors)}."
        )
    sides = [matrices[0].shape[0], *(x.shape[1] for x in matrices)]

    @cache
    def best(i: int, j: int) -> tuple[int, int]:
        """How many multiplications the product of i to j takes, and what is to be split off."""
        if i == j:
            return 0, i
        return min(
            (best(i, k)[0] + best(k + 1, j)[0] + sides[i] * sides[k + 1] * sides[j + 1], k)
            for k in range(i, j)
        )

    def product(i: int, j: int) -> Tensor:
        k = best(i, j)[1]
        return matrices[i] if i == j else T.matmul(product(i, k), product(k + 1, j))

    shape = (*first.shape[: first.ndim - 1], *last.shape[1:])
    result: Tensor = T.reshape(product(0, len(matrices) - 1), shape=shape)
    return result


@public(LINALG)
@computed_in("float64")
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Σ x y along `dim`; the other axes broadcast.

    >>> vecdot(Tensor([[1.0, 2.0], [0.0, 1.0]]), Tensor([3.0, 4.0]))
    tensor([11.,  4.])
    """
    return reduce.sum(T.mul(x, y), dim)


# ----- as functions: contractions ----------------------------------------------------------------


@public(TOP)
def einsum(equation: str, *operands: Tensor | Sequence[Tensor]) -> Tensor:
    """A sum of products, written with a letter for each axis (Einstein's convention).

    A letter that the output lacks is summed over; equal letters go together, and axes of length 1
    broadcast. A letter twice in a term takes the diagonal. "..." stands for the axes that have no
    letter. Without "->" the output has, after these, each letter that occurs once, in order.

    - "ij,jk->ik" the matrix product, "bij,bjk->bik" one for each b
    - "i,j->ij" the outer product, "ij->ji" the transpose
    - "ii->i" the diagonal, "ii->" the trace, "ij->j" the sum of the rows

    >>> einsum("ij,j->i", Tensor([[1.0, 2.0], [0.0, 1.0]]), Tensor([3.0, 4.0]))
    tensor([11.,  4.])
    """
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    if not isinstance(equation, str) or not operands:
        raise TypeError(
            'einsum takes an equation such as "ij,jk->ik" and a tensor for each of its terms; got '
            f"{type(equation).__name__} and {len(operands)} tensors."
        )
    tensors: list[Any] = list(operands)
    shapes = [x.shape for x in tensors]
    terms, out = _read(equation, shapes)
    lengths = _lengths(equation, terms, shapes)
    for k, term in enumerate(terms):
        tensors[k] = _diagonal(tensors[k], term)
        term = "".join(dict.fromkeys(term))
        narrow = [c for c, n in zip(term, tensors[k].shape, strict=True) if n != lengths[c]]
        terms[k] = "".join(c for c in term if c not in narrow)
        if narrow:
            tensors[k] = T.reshape(tensors[k], shape=tuple(lengths[c] for c in terms[k]))
    for k, term in enumerate(terms):
        others = out + "".join(terms[:k] + terms[k + 1 :])
        lone = tuple(i for i, c in enumerate(term) if c not in others)
        if lone:
            tensors[k] = T.sum(tensors[k], axis=lone)
            terms[k] = "".join(c for c in term if c in others)
    if len(terms) == 1:
        return T.permute(tensors[0], axes=tuple(terms[0].index(c) for c in out))
    return T.einsum(*tensors, equation=f"{','.join(terms)}->{out}")


def _read(equation: str, shapes: Sequence[tuple[int, ...]]) -> tuple[list[str], str]:
    """The terms of an equation and its output, with letters in place of each "..."."""

    def wrong(what: str) -> ValueError:
        return ValueError(f"einsum: {equation!r}: {what}")

    text = equation.replace(" ", "")
    left, arrow, out = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise wrong(f"it has {len(terms)} term(s), and {len(shapes)} tensor(s) were given.")
    for term in (*terms, out):
        rest = term.replace("...", "", 1)
        if not set(rest) <= set(string.ascii_letters):
            raise wrong(
                f"{term!r} may hold letters and one '...'; terms are separated by commas, and an "
                "output stands behind '->'."
            )
    widths = []
    for term, shape in zip(terms, shapes, strict=True):
        width = len(shape) - len(term.replace("...", ""))
        if width < 0 or (width > 0 and "..." not in term):
            raise wrong(
                f"the term {term!r} does not name the axes of a tensor of shape {shape}; each has "
                "a letter, and '...' stands for any number of them."
            )
        widths.append(width)
    free = [c for c in string.ascii_letters if c not in text]
    if max(widths) > len(free):
        raise wrong(f"there are no letters left for {max(widths)} axes behind '...'.")
    dots = "".join(free[: max(widths)])
    if not arrow:
        once = [c for c, count in Counter(left).items() if count == 1 and c.isalpha()]
        out = "..." + "".join(sorted(once))
    terms = [t.replace("...", dots[len(dots) - w :]) for t, w in zip(terms, widths, strict=True)]
    out = out.replace("...", dots)
    for c in out:
        if out.count(c) > 1 or not any(c in term for term in terms):
            raise wrong(f"{c!r} must stand once in the output, and in a term as well.")
    return terms, out


def _lengths(
    equation: str, terms: Sequence[str], shapes: Sequence[tuple[int, ...]]
) -> dict[str, int]:
    """The length that belongs to each letter; where there are others they are 1 and broadcast."""
    lengths: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for c, n in zip(term, shape, strict=True):
            known = lengths.get(c, 1)
            repeated = {m for d, m in zip(term, shape, strict=True) if d == c}
            if (n != known and 1 not in (n, known)) or len(repeated) > 1:
                given = " and ".join(map(str, shapes))
                raise ValueError(
                    f"einsum: {equation!r} of {given}: the axes that share a letter differ in "
                    f"length, {sorted({n, known, *repeated} - {1})}. Equal lengths are expected, "
                    "or 1 in another tensor."
                )
            lengths[c] = n if known == 1 else known
    return lengths


def _diagonal(input: Tensor, term: str) -> Tensor:
    """The elements at which axes of the same letter have the same place: one axis a letter."""
    if len(set(term)) == len(term):
        return input
    lengths = dict(zip(term, input.shape, strict=True))
    count = {c: term.count(c) for c in lengths}
    order = sorted(range(len(term)), key=lambda i: list(lengths).index(term[i]))
    together = T.permute(input, axes=tuple(order))
    flat = T.reshape(together, shape=tuple(n ** count[c] for c, n in lengths.items()))
    # In the joined axis, the place (i, i, ...) is i·(1 + n + n² + ...).
    steps = [sum(n**k for k in range(count[c])) for c, n in lengths.items()]
    return T.getitem(flat, index=tuple(slice(None, None, step) for step in steps))


@public(TOP)
def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """The sum of products over some axes of both tensors.

    `dims` is a number n (the last n axes of `a` with the first n of `b`), or a pair of lists of
    axes. The result has the other axes of `a`, and then those of `b`. Of a pair of axes one may
    have the length 1; it broadcasts.

    >>> tensordot(Tensor([[1.0, 2.0]]), Tensor([[3.0, 4.0]]), dims=([1], [1]))
    tensor([[11.]])
    """
    if isinstance(dims, int | host.integer):
        left, right = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    else:
        left, right = ([int(i) for i in axes] for axes in dims)
    pairs = list(zip(left, right, strict=False))
    if (
        len(left) != len(right)
        or any(not (-a.ndim <= i < a.ndim and -b.ndim <= j < b.ndim) for i, j in pairs)
        or any(a.shape[i] != b.shape[j] and 1 not in (a.shape[i], b.shape[j]) for i, j in pairs)
    ):
        raise ValueError(
            f"tensordot: dims={dims} of {a.shape} and {b.shape}: as many axes of one as of the "
            "other are expected, with equal lengths pair by pair, or 1 in one of them."
        )
    first = list(string.ascii_letters[: a.ndim])
    second = list(string.ascii_letters[a.ndim : a.ndim + b.ndim])
    for i, j in pairs:
        second[j] = first[i]
    summed = {first[i] for i in left}
    out = "".join(c for c in (*first, *second) if c not in summed)
    return einsum(f"{''.join(first)},{''.join(second)}->{out}", a, b)


@public(TOP, METHOD)
def trace(input: Tensor) -> Tensor:
    """The sum of the diagonal of a matrix.

    >>> trace(Tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor(5.)
    """
    if input.ndim != 2:
        raise ValueError(f"trace: expected a matrix (n, m); got the shape {input.shape}.")
    rows, columns = input.shape
    diagonal = slice(0, min(rows, columns) * columns, columns + 1)
    return T.sum(T.getitem(T.reshape(input, shape=(-1,)), index=diagonal))


@public(TOP, METHOD)
def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product: each element of the first times a copy of the second.

    >>> kron(Tensor([1.0, 10.0]), Tensor([1.0, 2.0]))
    tensor([ 1.,  2., 10., 20.])
    """
    axes = max(input.ndim, other.ndim)
    a = (1,) * (axes - input.ndim) + input.shape
    b = (1,) * (axes - other.ndim) + other.shape
    apart = T.reshape(input, shape=tuple(n for size in a for n in (size, 1)))
    beside = T.reshape(other, shape=tuple(n for size in b for n in (1, size)))
    return T.reshape(apart * beside, shape=tuple(n * m for n, m in zip(a, b, strict=True)))


@public(TOP, METHOD)
@computed_in("float64")
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross product a x b of vectors along `dim`, an axis of length 3; the others broadcast.

    By default it is the first axis of that length, as in PyTorch; `linalg.cross` takes the last.

    >>> cross(Tensor([1.0, 0.0, 0.0]), Tensor([0.0, 1.0, 0.0]))
    tensor([0., 0., 1.])
    """
    if dim is None:
        dim = next((i for i, n in enumerate(input.shape) if n == 3), input.ndim - 1)
    if input.ndim != other.ndim or not input.ndim:
        raise ValueError(
            f"cross: expected tensors with equally many axes, one of length 3; got {input.shape} "
            f"and {other.shape}."
        )
    axis = axis_of(input, dim, None)
    if input.shape[axis] != 3 or other.shape[axis] != 3:
        raise ValueError(
            f"cross: vectors have 3 components; got {input.shape} and {other.shape} along axis "
            f"{axis}."
        )

    def turned(x: Tensor, by: int) -> Tensor:
        y: Tensor = T.roll(x, shifts=(-by,), axes=(axis,))
        return y

    # Component i is a_(i+1) b_(i+2) - a_(i+2) b_(i+1), with the numbers counted in a circle.
    return turned(input, 1) * turned(other, 2) - turned(input, 2) * turned(other, 1)


LARGE = 25
"""From more rows than these on `cdist` uses a matrix product, as PyTorch does."""

CDIST_MODES = {
    "use_mm_for_euclid_dist_if_necessary": None,
    "use_mm_for_euclid_dist": True,
    "donot_use_mm_for_euclid_dist": False,
}


@public(TOP)
@computed_in("float64")
def cdist(
    x1: Tensor,
    x2: Tensor,
    p: float = 2.0,
    compute_mode: str = "use_mm_for_euclid_dist_if_necessary",
) -> Tensor:
    """The distance (Σ |a - b|ᵖ)^(1/p) of each row of x1 (..., n, d) from each of x2 (..., m, d).

    p is 0 or more: inf takes the largest difference, and 0 counts those that are not 0, without a
    gradient. The gradient at distance 0 is 0, and for p < 1 that at a difference of 0. Where x1 or
    x2 has more than 25 rows, Euclidean distances are worked out as √(|a|² + |b|² - 2 a·b): a matrix
    product instead of n·m·d differences, but points that are far from 0 and close to one another
    lose digits, in float64, in which all of it is computed. With
    `compute_mode`="donot_use_mm_for_euclid_dist" the points are subtracted in any case.

    >>> cdist(Tensor([[0.0, 0.0]]), Tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[5., 1.]])
    """
    if x1.ndim < 2 or x2.ndim < 2 or x1.shape[-1] != x2.shape[-1]:
        raise ValueError(
            f"cdist: expected rows of the same length, (..., n, d) and (..., m, d); got {x1.shape} "
            f"and {x2.shape}."
        )
    if not p >= 0:
        raise ValueError(f"cdist: p is 0 or more; got {p}.")
    if compute_mode not in CDIST_MODES:
        raise ValueError(
            f"cdist: compute_mode is one of {', '.join(CDIST_MODES)}; got {compute_mode!r}."
        )
    product = CDIST_MODES[compute_mode]
    if product is None:
        product = max(x1.shape[-2], x2.shape[-2]) > LARGE
    if p == 2 and product:
        a, b = T.square(x1), T.mT(T.square(x2))
        total = T.sum(a, axis=(a.ndim - 1,), keepdims=True)
        total = total + T.sum(b, axis=(b.ndim - 2,), keepdims=True)
        return _root(T.clamp(total - 2 * T.matmul(x1, T.mT(x2)), min=0.0, max=None), 2)
    difference = T.abs(_with_axis(x1, -2) - _with_axis(x2, -3))
    last = (difference.ndim - 1,)
    if p == math.inf:
        return T.amax(difference, axis=last)
    if p == 1:
        return T.sum(difference, axis=last)
    if p < 1:
        return reduce.norm(difference, p, last)
    return _root(T.sum(T.pow(difference, n=p), axis=last), p)


@public(TOP, FUNCTIONAL)
@computed_in("float64")
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The distances of all pairs of rows i < j of x (n, d), as one vector; see `cdist`.

    >>> pdist(Tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 0.0]]))
    tensor([5., 3., 4.])
    """
    if input.ndim != 2 or not p >= 0:
        raise ValueError(
            f"pdist: expected rows (n, d), and p from 0 up; got {input.shape} and p={p}."
        )
    n = input.shape[0]
    first, second = host.triu_indices(n, 1)
    return reduce.norm(input[first] - input[second], p, -1)


@public(TOP, METHOD)
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """‖input - other‖ₚ over all elements; the shapes broadcast, and p is as in `norm`.

    >>> dist(Tensor([3.0, 0.0]), Tensor([0.0, 4.0]))
    tensor(5.)
    """
    return reduce.norm(input - other, p)


def _with_axis(input: Tensor, place: int) -> Tensor:
    """A new axis of length 1 that the result has at `place`, counted from the end."""
    cut = input.ndim + 1 + place
    return T.reshape(input, shape=(*input.shape[:cut], 1, *input.shape[cut:]))


def _root(powers: Tensor, p: float) -> Tensor:
    """powers^(1/p), with the gradient 0 at 0, where the slope of the root is infinite."""
    none = powers == 0
    return T.where(none, 0.0, T.pow(T.where(none, 1.0, powers), n=1 / p))


# ----- as functions: torch.linalg ----------------------------------------------------------------


def _check(name: str, A: Tensor, square: bool = True) -> None:
    n, m = A.shape[-2:] if A.ndim > 1 else (0, 1)
    if A.ndim < 2 or (square and n != m):
        wanted = "square matrices (..., n, n)" if square else "matrices (..., m, n)"
        raise ValueError(f"{name}: expected {wanted}; got the shape {A.shape}.")
    if str(A.dtype) not in ("float32", "float64"):
        raise TypeError(
            f"{name}: expected float32 or float64, which the decompositions are written for; got "
            f"{A.dtype}. Convert it: A.float()."
        )


@public(TOP, METHOD, name="inverse")
@public(LINALG)
def inv(A: Tensor) -> Tensor:
    """The inverse of each matrix (..., n, n).

    A singular matrix is an error; on a GPU, where looking for one would make the host wait, the
    result is then not finite. `solve` is faster and more accurate than a product with an inverse.

    >>> inv(Tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5 , 0.  ],
            [0.  , 0.25]])
    """
    _check("inv", A)
    return T.inv(A)


@public(LINALG)
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """The X with A X = B (or X A = B, if not `left`), for A (..., n, n).

    B is a vector (n,), a stack of vectors with the shape of A less its last axis, or a stack of
    matrices (..., n, k); leading axes broadcast. A singular A is an error (on a GPU the result is
    not finite).

    >>> solve(Tensor([[2.0, 0.0], [0.0, 4.0]]), Tensor([1.0, 1.0]))
    tensor([0.5 , 0.25])
    """
    _check("solve", A)
    vectors = B.ndim == 1 or (B.ndim == A.ndim - 1 and B.shape == A.shape[:-1])
    if not left:
        if vectors:
            raise ValueError(
                f"solve: with left=False, B must be a matrix (..., k, n); got {B.shape}."
            )
        return T.mT(solve(T.mT(A), T.mT(B)))
    right = T.reshape(B, shape=(*B.shape, 1)) if vectors else B
    n = A.shape[-1]
    try:
        batch = host.broadcast_shapes(A.shape[:-2], right.shape[:-2])
    except ValueError:
        batch = None
    if batch is None or right.ndim < 2 or right.shape[-2] != n:
        raise ValueError(
            f"solve: A has the shape {A.shape} and B {B.shape}; expected B to be ({n},) or "
            f"(..., {n}, k), with leading axes that broadcast against those of A."
        )
    solution = T.solve(_stacked(A, batch), _stacked(right, batch))
    return T.reshape(solution, shape=solution.shape[:-1]) if vectors else solution


def _stacked(A: Tensor, batch: tuple[int, ...]) -> Tensor:
    """The matrices with these leading axes."""
    shape = (*batch, *A.shape[-2:])
    return A if A.shape == shape else T.broadcast_to(A, shape=shape)


@public(TOP, METHOD, LINALG)
def det(A: Tensor) -> Tensor:
    """The determinant of each matrix (..., n, n).

    Its gradient, the matrix of cofactors, is right for singular matrices too; its second
    derivative needs det A ≠ 0.

    >>> det(Tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor(-2.)
    """
    _check("det", A)
    return T.det(A)


class SlogdetResult(NamedTuple):
    """What `slogdet` returns; det = sign · exp(logabsdet)."""

    sign: Tensor
    logabsdet: Tensor


@public(TOP, METHOD, LINALG)
def slogdet(A: Tensor) -> SlogdetResult:
    """The sign of the determinant and the logarithm of its size, which do not overflow.

    The gradient of logabsdet is A⁻ᵀ. For a singular matrix sign is 0 and logabsdet -inf, without
    a gradient.

    >>> slogdet(Tensor([[0.0, 1.0], [1.0, 0.0]])).sign
    tensor(-1.)
    """
    _check("slogdet", A)
    sign, logarithm = T.slogdet(A)
    return SlogdetResult(sign.detach(), logarithm)


@public(TOP, METHOD)
def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant: nan where that is negative, -inf for a singular matrix.

    >>> logdet(Tensor([[2.0, 0.0], [0.0, 0.5]]))
    tensor(0.)
    """
    sign, logarithm = slogdet(input)
    result: Tensor = T.where(sign < 0, math.nan, logarithm)
    return result


@public(TOP, METHOD, LINALG)
def cholesky(A: Tensor, upper: bool = False) -> Tensor:
    """The lower triangle L with L Lᵀ = A (or its transpose, if `upper`), for positive definite A.

    The symmetric part (A + Aᵀ) / 2 is decomposed, and the gradient is symmetric. A matrix that is
    not positive definite is an error; on a GPU the result is then without meaning.

    >>> cholesky(Tensor([[4.0, 2.0], [2.0, 5.0]]))
    tensor([[2., 0.],
            [1., 2.]])
    """
    _check("cholesky", A)
    triangle = T.cholesky(A)
    return T.mT(triangle) if upper else triangle


class EighResult(NamedTuple):
    """What `eigh` returns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


def _of_triangle(name: str, A: Tensor, UPLO: str | None) -> Tensor:
    """The symmetric matrix with the lower ("L") or the upper ("U") triangle of A; A for None.

    Its gradient is that of the symmetric part, as in PyTorch.
    """
    if UPLO is None:
        return A
    if UPLO not in ("L", "U"):
        raise ValueError(f"{name}: UPLO is 'L' or 'U', for a triangle; got {UPLO!r}.")
    lower = (A if UPLO == "L" else T.mT(A)).detach()
    symmetric = T.tril(lower) + T.mT(T.tril(lower, diagonal=-1))
    part = (A + T.mT(A)) / 2
    return symmetric + (part - part.detach())  # what is added is 0, but lets the gradient through


@public(LINALG)
def eigh(A: Tensor, UPLO: str | None = None) -> EighResult:
    """Eigenvalues (..., n), ascending, and eigenvectors, the columns of V (..., n, n).

    A = V diag(w) Vᵀ, where A stands for the symmetric part (A + Aᵀ) / 2, or with `UPLO`="L" or "U"
    for the symmetric matrix with its lower or upper triangle; the gradient is symmetric. The
    largest component of each vector is positive, so the result is one function of A, with a
    gradient. The gradient of vectors whose eigenvalues are equal does not exist: it comes out as
    inf or nan, and large where two are close. `eigvalsh` has no such limit.

    >>> w, v = eigh(Tensor([[2.0, 0.0], [0.0, 1.0]]))
    >>> w
    tensor([1., 2.])
    >>> v
    tensor([[0., 1.],
            [1., 0.]])
    """
    _check("eigh", A)
    return EighResult(*T.eigh(_of_triangle("eigh", A, UPLO)))


@public(LINALG)
def eigvalsh(A: Tensor, UPLO: str | None = None) -> Tensor:
    """The eigenvalues of the symmetric part (A + Aᵀ) / 2, ascending; for `UPLO` see `eigh`.

    The gradient is that of a function of all eigenvalues; of single ones that are equal it is one
    choice among many. The second derivative needs distinct eigenvalues.

    >>> eigvalsh(Tensor([[2.0, 0.0], [0.0, 1.0]]))
    tensor([1., 2.])
    """
    _check("eigvalsh", A)
    return T.eigvalsh(_of_triangle("eigvalsh", A, UPLO))


class SvdResult(NamedTuple):
    """What `svd` returns."""

    U: Tensor
    S: Tensor
    Vh: Tensor


class SvdParts(NamedTuple):
    """What the older `svd` returns."""

    U: Tensor
    S: Tensor
    V: Tensor


@public(TOP, METHOD)
def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> SvdParts:
    """input = U diag(S) Vᵀ: `linalg.svd`, thin if `some`, with V in place of its transpose.

    Without `compute_uv` U and V are zeros.

    >>> svd(Tensor([[3.0, 0.0], [0.0, -2.0]])).S
    tensor([3., 2.])
    """
    _check("svd", input, square=False)
    m, n = input.shape[-2:]
    if not compute_uv:
        U, V = (
            Tensor(host.zeros((*input.shape[:-2], k, k)), dtype=input.dtype, device=input.device)
            for k in (m, n)
        )
        return SvdParts(U, svdvals(input), V)
    U, S, V = T.svd(input)
    return SvdParts(U, S, V) if some else SvdParts(_completed(U), S, _completed(V))


def _completed(U: Tensor) -> Tensor:
    """Orthonormal columns (..., m, k) and m - k more of them, through which no gradient flows."""
    m, k = U.shape[-2:]
    if m == k:
        return U
    rest = T.getitem(T.qr_complete(U.detach())[0], index=(..., slice(k, m)))
    return T.cat(U, rest, axis=U.ndim - 1)


@public(LINALG)
def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values of each matrix (..., m, n), descending. There is one `driver`.

    The second derivative needs distinct values that are not 0.

    >>> svdvals(Tensor([[3.0, 0.0], [0.0, -2.0]]))
    tensor([3., 2.])
    """
    _check("svdvals", A, square=False)
    return T.svdvals(A)


@public(LINALG)
def pinv(
    A: Tensor,
    rcond: Any = None,
    hermitian: bool = False,
    *,
    atol: Any = None,
    rtol: Any = None,
) -> Tensor:
    """The pseudo-inverse (..., n, m) of each matrix (..., m, n) (Moore and Penrose).

    Singular values up to max(atol, rtol · S_max) count as 0. `atol` is 0 by default, and `rtol`
    max(m, n) times the smallest step from 1 (0 if `atol` is given); `rcond` is its older name. Both
    are numbers, or tensors with one for each matrix (read by the host, which waits for a GPU). Of a
    `hermitian` (symmetric) matrix the lower triangle counts.

    >>> pinv(Tensor([[2.0], [0.0]]))
    tensor([[0.5, 0. ]])
    """
    _check("pinv", A, square=hermitian)
    rtol = _older(rcond, rtol, "pinv", "rcond")
    if hermitian:
        return pinv(_of_triangle("pinv", A, "L"), atol=atol, rtol=rtol)
    if isinstance(atol, Tensor) or isinstance(rtol, Tensor):
        return _pinv_each(A, atol, rtol)
    if rtol is None:
        step = float(host.finfo(A.dtype).eps)
        rtol = max(A.shape[-2:]) * step if atol is None else 0.0
    return T.pinv(A, atol=atol or 0.0, rtol=rtol)


@public(TOP, METHOD)
def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """`pinv`, in which singular values up to rcond · S_max count as 0.

    >>> pinverse(Tensor([[2.0], [0.0]]))
    tensor([[0.5, 0. ]])
    """
    return pinv(input, rtol=rcond)


def _pinv_each(A: Tensor, atol: Any, rtol: Any) -> Tensor:
    """`pinv` with bounds of its own for each matrix."""
    stack = A.shape[:-2]
    each = T.reshape(A, shape=(math.prod(stack), *A.shape[-2:]))

    def numbers(bound: Any) -> list[Any]:
        if isinstance(bound, Tensor):
            bound = bound.detach().numpy()
        return [bound] * len(each) if bound is None else _numbers(bound, stack)

    bounds = zip(numbers(atol), numbers(rtol), strict=True)
    found = [pinv(T.getitem(each, index=(i,)), atol=a, rtol=r) for i, (a, r) in enumerate(bounds)]
    if not found:
        return T.mT(A)
    return T.reshape(T.stack(*found, axis=0), shape=(*stack, A.shape[-1], A.shape[-2]))


def _older(value: Any, bound: Any, name: str, older: str) -> Any:
    """A bound that may be given by its older name."""
    if value is not None and bound is not None:
        raise TypeError(f"{name}: {older} is an older name of a bound that was given as well.")
    return bound if value is None else value


def _numbers(bound: Any, stack: tuple[int, ...]) -> list[float]:
    """One number for each of a stack of matrices."""
    return [float(n) for n in host.broadcast_to(host.asarray(bound), stack).reshape(-1)]


@public(TOP, METHOD, LINALG)
def matrix_power(A: Tensor, n: int) -> Tensor:
    """A · A ⋯ A, n times; the identity for n = 0, and powers of the inverse for n < 0.

    >>> matrix_power(Tensor([[1.0, 1.0], [0.0, 1.0]]), 5)
    tensor([[1., 5.],
            [0., 1.]])
    """
    _check("matrix_power", A)
    if n < 0:
        return matrix_power(T.inv(A), -n)
    if n == 0:
        backend = A._backend
        with backend.active:
            identity = backend.eye(A.shape[-1], dtype=A.dtype)
            return wrap(backend.array(backend.broadcast_to(identity, A.shape), None), backend)
    if n == 1:
        return T.clone(A)
    half = A if n < 4 else matrix_power(A, n // 2)
    squared = T.matmul(half, half)
    return T.matmul(squared, A) if n % 2 else squared


class QRResult(NamedTuple):
    """What `qr` returns."""

    Q: Tensor
    R: Tensor


@public(LINALG)
def qr(A: Tensor, mode: str = "reduced") -> QRResult:
    """A = Q R for A (..., m, n): Q (..., m, k) with orthonormal columns, and R (..., k, n) upper.

    k is min(m, n). `mode`="r" gives an empty Q, and "complete" k = m; columns beyond n have no
    gradient, so for m > n this mode takes a tensor that needs none. The gradient needs the first k
    columns to be independent.

    >>> Q, R = qr(Tensor([[0.0, 2.0], [3.0, 0.0]]))
    >>> (Q @ R).round()
    tensor([[0., 2.],
            [3., 0.]])
    """
    _check("qr", A, square=False)
    if mode not in ("reduced", "complete", "r"):
        raise ValueError(f"qr: mode is 'reduced', 'complete' or 'r'; got {mode!r}.")
    m, n = A.shape[-2:]
    if mode == "complete" and m > n:
        if A.requires_grad:
            raise ValueError(
                f"qr: mode='complete' adds {m - n} columns to Q that no gradient determines, for "
                f"matrices {A.shape}. Use mode='reduced', or A.detach()."
            )
        return QRResult(*T.qr_complete(A))
    square = T.getitem(A, index=(..., slice(0, m))) if n > m else A
    Q, R = T.qr(square)
    if n > m:  # what stands to the right of the square has the same Q
        rest = T.getitem(A, index=(..., slice(m, None)))
        R = T.cat(R, T.matmul(T.mT(Q), rest), axis=R.ndim - 1)
    return QRResult(T.getitem(Q, index=(slice(0, 0),) * Q.ndim).reshape(0) if mode == "r" else Q, R)


class EigResult(NamedTuple):
    """What `eig` returns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


@public(LINALG)
def eig(A: Tensor) -> EigResult:
    """Real eigenvalues (..., n), ascending, and eigenvectors, the columns of V (..., n, n).

    A V = V diag(w); each vector has the length 1, and its largest component is positive. There are
    no complex gradients here, so a matrix with complex eigenvalues is an error (finding out makes
    the host wait for a GPU). The gradient of vectors needs distinct eigenvalues. For symmetric
    matrices use `eigh`.

    >>> eig(Tensor([[1.0, 2.0], [0.0, 3.0]])).eigenvalues
    tensor([1., 3.])
    """
    _check("eig", A)
    return EigResult(*T.eig(A))


@public(LINALG)
def eigvals(A: Tensor) -> Tensor:
    """The eigenvalues of each matrix, which must be real, ascending; see `eig`.

    >>> eigvals(Tensor([[1.0, 2.0], [0.0, 3.0]]))
    tensor([1., 3.])
    """
    _check("eigvals", A)
    values: Tensor = T.eig(A)[0]
    return values


class LstsqResult(NamedTuple):
    """What `lstsq` returns."""

    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


@public(LINALG)
def lstsq(
    A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None
) -> LstsqResult:
    """The shortest X that minimizes ‖A X - B‖, for A (..., m, n) and B (..., m, k) or (..., m).

    It is pinv(A) B; singular values up to rcond · S_max count as 0 (rcond is by default max(m, n)
    times the smallest step from 1). The residuals are the Σ (A X - B)² of each column where m > n
    and every A has the rank n, and otherwise empty. Rank and singular values have no gradient.
    PyTorch's drivers all do the same here, but leave empty what they do there: "gels" the rank and
    the singular values, "gelsy" the residuals and the singular values.

    >>> lstsq(Tensor([[1.0], [1.0]]), Tensor([[1.0], [3.0]])).solution
    tensor([[2.]])
    """
    _check("lstsq", A, square=False)
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise ValueError(f"lstsq: driver is gels, gelsy, gelsd or gelss; got {driver!r}.")
    m, n = A.shape[-2:]
    vectors = B.ndim == A.ndim - 1 and B.shape == A.shape[:-1]
    right = T.reshape(B, shape=(*B.shape, 1)) if vectors else B
    try:
        batch = host.broadcast_shapes(A.shape[:-2], right.shape[:-2])
    except ValueError:
        batch = None
    if batch is None or right.ndim < 2 or right.ndim > A.ndim or right.shape[-2] != m:
        raise ValueError(
            f"lstsq: A has the shape {A.shape} and B {B.shape}; expected B to be {A.shape[:-1]} or "
            f"(..., {m}, k), with leading axes that broadcast against those of A."
        )
    X = T.matmul(pinv(A, rtol=rcond), right)
    singular = svdvals(A.detach())
    rank = _count_above(singular, (m, n), None, rcond)
    residuals = Tensor([], dtype=A.dtype, device=A.device)
    if m > n and driver != "gelsy" and bool(T.all(rank == n)):
        residuals = T.sum(T.square(T.matmul(A, X) - right), axis=(X.ndim - 2,))
        residuals = T.reshape(residuals, shape=residuals.shape[:-1]) if vectors else residuals
    X = T.reshape(X, shape=X.shape[:-1]) if vectors else X
    if driver in ("gels", "gelsy"):
        singular = Tensor([], dtype=A.dtype, device=A.device)
    if driver == "gels":
        rank = Tensor([], dtype="int64", device=A.device)
    return LstsqResult(X, residuals, rank, singular)


def _count_above(values: Tensor, sides: tuple[int, ...], atol: Any, rtol: Any) -> Tensor:
    """How many singular values are above max(atol, rtol · the largest); see pinv."""
    if rtol is None:
        rtol = max(sides) * float(host.finfo(values.dtype).eps) if atol is None else 0.0
    if not values.shape[-1]:
        return reduce.sum(values.long(), -1)
    atol, rtol = (
        T.reshape(bound, shape=(*bound.shape, 1)) if isinstance(bound, Tensor) else bound
        for bound in (0.0 if atol is None else atol, rtol)
    )
    return reduce.sum(values > T.maximum(reduce.amax(values, -1, True) * rtol, atol), -1)


@public(LINALG)
def matrix_rank(
    A: Tensor,
    tol: Any = None,
    hermitian: bool = False,
    *,
    atol: Any = None,
    rtol: Any = None,
) -> Tensor:
    """The number of singular values above max(atol, rtol · S_max) (int64); the defaults are pinv's.

    Both bounds are numbers, or tensors with one for each matrix; `tol` is an older name of `atol`.

    Of a `hermitian` (symmetric) matrix they are the sizes of the eigenvalues, and its lower
    triangle counts.

    >>> matrix_rank(Tensor([[1.0, 1.0], [1.0, 1.0]]))
    tensor(1)
    """
    _check("matrix_rank", A, square=hermitian)
    atol = _older(tol, atol, "matrix_rank", "tol")
    values = T.abs(eigvalsh(A.detach(), "L")) if hermitian else svdvals(A.detach())
    return _count_above(values, A.shape[-2:], atol, rtol)


@public(LINALG)
def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """The X with A X = B (or X A = B, if not `left`), where of A (..., n, n) one triangle counts.

    It is the `upper` one or the lower one; with `unitriangular` the diagonal counts as 1s. The
    gradient stays in the triangle. B is a matrix (..., n, k); leading axes broadcast.

    >>> solve_triangular(Tensor([[2.0, 9.0], [1.0, 1.0]]), Tensor([[2.0], [3.0]]), upper=False)
    tensor([[1.],
            [2.]])
    """
    _check("solve_triangular", A)
    if B.ndim < 2:
        raise ValueError(f"solve_triangular: B must be a matrix (..., n, k); got {B.shape}.")
    aside = int(unitriangular)
    triangle = T.triu(A, diagonal=aside) if upper else T.tril(A, diagonal=-aside)
    if unitriangular:
        triangle = triangle + Tensor(host.eye(A.shape[-1]), dtype=A.dtype, device=A.device)
    return solve(triangle, B, left=left)


@public(TOP, METHOD)
def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """The X with A X = B for A = L Lᵀ; with `upper` A = Lᵀ L.

    >>> cholesky_solve(Tensor([[4.0]]), Tensor([[2.0]]))
    tensor([[1.]])
    """
    _check("cholesky_solve", L)
    lower, higher = (T.mT(L), L) if upper else (L, T.mT(L))
    return solve_triangular(higher, solve_triangular(lower, B, upper=False), upper=True)


@public(TOP, METHOD)
def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of A = L Lᵀ; with `upper` of A = Lᵀ L.

    >>> cholesky_inverse(Tensor([[2.0]]))
    tensor([[0.25]])
    """
    _check("cholesky_inverse", L)
    one = Tensor(host.eye(L.shape[-1]), dtype=L.dtype, device=L.device)
    return cholesky_solve(T.broadcast_to(one, shape=L.shape), L, upper)


@public(LINALG)
def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of A as a map of tensors: tensordot(tensorinv(A), A, ind) is the identity.

    A is square between its first `ind` axes and the others.

    >>> tensorinv(Tensor([[[2.0, 0.0]], [[0.0, 4.0]]]), 1).shape
    (1, 2, 2)
    """
    rows, columns = math.prod(A.shape[:ind]), math.prod(A.shape[ind:])
    if ind < 1 or rows != columns:
        raise ValueError(
            f"tensorinv: the first {ind} axes of {A.shape} must have as many elements as the others"
            "."
        )
    inverse = inv(T.reshape(A, shape=(rows, columns)))
    return T.reshape(inverse, shape=(*A.shape[ind:], *A.shape[:ind]))


@public(LINALG)
def tensorsolve(A: Tensor, B: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """The X with tensordot(A, X, X.ndim) = B; the axes `dims` of A are moved to its end first.

    >>> tensorsolve(Tensor([[[2.0, 0.0]], [[0.0, 4.0]]]), Tensor([[1.0], [1.0]]))
    tensor([0.5 , 0.25])
    """
    if dims is not None:
        moved = axes_of(A, tuple(dims), None) or ()
        A = T.permute(A, axes=(*(i for i in range(A.ndim) if i not in moved), *moved))
    shape = A.shape[B.ndim :]
    if A.numel() != B.numel() ** 2 or math.prod(shape) != B.numel():
        raise ValueError(
            f"tensorsolve: the first {B.ndim} axes of A {A.shape}, and the others, must have as "
            f"many elements as B {B.shape}."
        )
    solution = solve(T.reshape(A, shape=(B.numel(), -1)), T.reshape(B, shape=(-1,)))
    return T.reshape(solution, shape=shape)


PADE = [1.0]
for _k in range(13):
    PADE.append(PADE[-1] * (13 - _k) / ((_k + 1) * (26 - _k)))
"""The quotient of Σ bₖ Xᵏ and Σ bₖ (-X)ᵏ is e^X to the last digit of float64 for norms up to 5.37
(Higham, The scaling and squaring method for the matrix exponential revisited, 2005)."""


@public(TOP, METHOD, LINALG)
@computed_in("float64")
def matrix_exp(A: Tensor) -> Tensor:
    """Σ Aᵏ / k! of each matrix (..., n, n): e^A by scaling and squaring. On a GPU this is a wait.

    >>> matrix_exp(Tensor([[0.0, 1.0], [0.0, 0.0]]))
    tensor([[1., 1.],
            [0., 1.]])
    """
    _check("matrix_exp", A)
    if not A.numel():
        return T.clone(A)
    size = float(T.amax(T.sum(T.abs(A.detach()), axis=(-2,), keepdims=False), axis=None).item())
    halvings = max(0, math.ceil(math.log2(size / 5.37))) if 0 < size < math.inf else 0
    X = A * 0.5**halvings
    one = Tensor(host.eye(A.shape[-1]), dtype=A.dtype, device=A.device)
    X2 = X @ X
    X4 = X2 @ X2
    powers = [one, X2, X4, X4 @ X2]

    def polynomial(start: int) -> Tensor:
        """Σ bₖ Xᵏ⁻ˢᵗᵃʳᵗ over every other k from `start` on."""
        low = sum((PADE[start + 2 * i] * powers[i] for i in range(1, 4)), PADE[start] * one)
        high = sum((PADE[start + 6 + 2 * i] * powers[i] for i in range(2, 4)), PADE[start + 8] * X2)
        return low + powers[3] @ high

    odd, even = X @ polynomial(1), polynomial(0)
    y = solve(even - odd, even + odd)
    for _ in range(halvings):
        y = y @ y
    return y


@public(TOP)
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of each element of a vector (n,) as columns: (n, N), by default N = n.

    >>> vander(Tensor([2.0, 3.0]), 3)
    tensor([[4., 2., 1.],
            [9., 3., 1.]])
    """
    if x.ndim != 1:
        raise ValueError(f"vander: expected a vector; got {x.shape}. linalg.vander takes stacks.")
    return powers(x, N, increasing)


def powers(x: Tensor, N: int | None, increasing: bool) -> Tensor:
    """The powers of each element, along a new last axis."""
    count = x.shape[-1] if N is None else N
    if count < 0:
        raise ValueError(f"vander: N is 0 or more; got {N}.")
    if not count:
        return T.reshape(T.getitem(x, index=(..., slice(0, 0))), shape=(*x.shape, 0))
    columns = [T.pow(x, n=k) for k in range(count)]
    return T.stack(*(columns if increasing else columns[::-1]), axis=x.ndim)


# ----- as functions: norms -----------------------------------------------------------------------


@public(TOP, METHOD, IN_PLACE)
@computed_in("float32")
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """`input` with each slice along `dim` whose p-norm is above `maxnorm` scaled down to it.

    >>> renorm(Tensor([[3.0, 4.0], [0.3, 0.4]]), 2, 0, 1)
    tensor([[0.6, 0.8],
            [0.3, 0.4]])
    """
    if not p > 0 or maxnorm < 0 or input.ndim < 2:
        raise ValueError(
            "renorm: expected two axes or more, p > 0 and maxnorm >= 0; got the shape "
            f"{input.shape}, p={p} and maxnorm={maxnorm}."
        )
    axis = axis_of(input, dim, None)
    others = tuple(i for i in range(input.ndim) if i != axis)
    length = reduce.norm(input, p, others, True)
    return input * T.where(length > maxnorm, maxnorm / (length + 1e-7), 1.0)


@public(TOP)
def nuclear_norm(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The sum of the singular values: norm(input, "nuc", dim, keepdim).

    >>> nuclear_norm(Tensor([[3.0, 0.0], [0.0, -2.0]]))
    tensor(5.)
    """
    return reduce.norm(input, "nuc", dim, keepdim)


@public(LINALG)
def vector_norm(
    x: Tensor,
    ord: Any = 2,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """(Σ |x|ᵖ)^(1/p) with p = `ord` over `dim`, of any number of axes; see `norm` for every p.

    >>> vector_norm(Tensor([[3.0, -4.0]]), 1)
    tensor(7.)
    """
    if isinstance(ord, str):
        raise TypeError(f"vector_norm: ord is a number; got {ord!r}, which is for matrix_norm.")
    _check_float("vector_norm", x, dtype)
    return reduce.norm(x, ord, dim, keepdim, dtype=dtype, axis=axis, keepdims=keepdims)


@public(LINALG)
def matrix_norm(
    A: Tensor,
    ord: float | str = "fro",
    dim: Sequence[int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> Tensor:
    """A norm of the matrices that lie along two axes.

    - "fro": the root of the sum of all squares; "nuc": the sum of the singular values
    - 2, -2: the largest and the smallest singular value
    - 1, -1: the largest and the smallest sum of |x| over a column; inf, -inf: over a row

    >>> A = Tensor([[1.0, -2.0], [0.0, 3.0]])
    >>> matrix_norm(A, 1), matrix_norm(A, float("inf"))
    (tensor(5.), tensor(3.))
    """
    _check_float("matrix_norm", A, dtype)
    axes = axes_of(A, tuple(dim), None)
    if A.ndim < 2 or axes is None or len(axes) != 2:
        raise ValueError(
            f"matrix_norm: expected two axes of a tensor with at least two; got dim={dim} of the "
            f"shape {A.shape}."
        )
    known = ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf)
    if ord not in known:
        raise ValueError(f"matrix_norm: ord is one of {known}; got {ord!r}.")
    x = A if dtype is None else A.to(dtype=dtype)
    keep = kept(keepdim, None)
    rows, columns = axes
    if ord in ("fro", "nuc"):
        return reduce.norm(x, ord, axes, keep)
    if ord in (2, -2):
        y = _end(svdvals(x.movedim(axes, (-2, -1))), -1, False, ord == 2)
        if keep:
            y = T.reshape(y, shape=tuple(1 if i in axes else n for i, n in enumerate(x.shape)))
        return y
    over, then = (rows, columns) if ord in (1, -1) else (columns, rows)
    y = _end(reduce.sum(T.abs(x), over, True), then, True, ord in (1, math.inf))
    return (
        y if keep else T.reshape(y, shape=tuple(n for i, n in enumerate(x.shape) if i not in axes))
    )


def _end(values: Tensor, axis: int, keepdim: bool, largest: bool) -> Tensor:
    """The largest (of nothing: 0, as of all norms) or the smallest value along an axis."""
    if largest and not values.shape[axis]:
        return reduce.sum(values, axis, keepdim)
    return (reduce.amax if largest else reduce.amin)(values, axis, keepdim)


def _check_float(name: str, x: Tensor, dtype: Any) -> None:
    if not x.is_floating_point():
        raise TypeError(f"{name}: expected floats; got {x.dtype} {x.shape}. Convert: x.float().")


@public(LINALG)
def norm(
    A: Tensor,
    ord: float | str | None = None,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> Tensor:
    """A norm of vectors or of matrices, as `torch.linalg.norm` chooses it.

    Without `ord` the root of the sum of all squares over `dim` (None: over everything). With `ord`
    it is vector_norm along one axis `dim`, or of a vector; and matrix_norm along two, or of a
    matrix.

    >>> A = Tensor([[1.0, -2.0], [0.0, 3.0]])
    >>> norm(A, 1), norm(A, 1, dim=0), norm(A)
    (tensor(5.), tensor([1., 5.]), tensor(3.7417))
    """
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    axes = tuple(range(A.ndim)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    if len(axes) not in (1, 2):
        raise ValueError(
            f"linalg.norm: with ord={ord!r}, expected a vector or a matrix, or dim with one or two "
            f"axes; got dim={dim} of the shape {A.shape}. vector_norm takes any number of axes."
        )
    if len(axes) == 1:
        if isinstance(ord, str):
            raise ValueError(
                f"linalg.norm: {ord!r} is a norm of matrices; got one axis, dim={axes[0]} of the "
                f"shape {A.shape}."
            )
        return vector_norm(A, ord, axes[0], keepdim, dtype=dtype)
    return matrix_norm(A, ord, axes, keepdim, dtype=dtype)


@public(LINALG)
def cond(A: Tensor, p: float | str | None = None) -> Tensor:
    """The condition number of each matrix, ‖A‖ₚ · ‖A⁻¹‖ₚ; inf for a singular one.

    p is 2 by default: the largest singular value over the smallest (-2: the other way round). For
    these two A may be (..., m, n), and for the others of `matrix_norm` it is (..., n, n).

    >>> cond(Tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor(2.)
    """
    _check("cond", A, square=p not in (None, 2, -2))
    if not A.shape[-1] or not A.shape[-2]:
        return reduce.sum(A, (-2, -1))
    if p in (None, 2, -2):
        values = svdvals(A)
        largest, smallest = reduce.amax(values, -1), reduce.amin(values, -1)
        return smallest / largest if p == -2 else largest / smallest
    singular = slogdet(A.detach()).sign == 0
    each = T.reshape(singular, shape=(*singular.shape, 1, 1))
    identity = Tensor(host.eye(A.shape[-1]), dtype=A.dtype, device=A.device)
    regular = T.where(each, identity, A)
    assert p is not None
    return T.where(singular, math.inf, matrix_norm(regular, p) * matrix_norm(T.inv(regular), p))
