"""Matrix products, contractions and decompositions as functions: shapes, edges, errors.

The rules of the ops are tested in test_ops.py; here are what the functions make of them, the
identities that define a decomposition, and the points where a gradient ends.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.spatial import distance

import tinygrad_cv as tg
from programs import Array, leaf, normal, values
from rows import linalg as rows
from rows.row import Case
from tinygrad_cv._apply import F
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.ops import linalg
from tinygrad_cv.testing import check_gradients, check_op
from tinygrad_cv.testing.strategies import arrays, broadcastable, shapes

SIDES = st.integers(1, 3)


def gradient(function: Callable[..., Tensor], *inputs: Array) -> list[Array]:
    """The gradients of a weighted sum of the output."""
    leaves = [leaf(x) for x in inputs]
    y = function(*leaves)
    weights = np.random.default_rng(3).normal(size=y.shape)
    return [values(g) for g in tg.grad((y * Tensor(weights)).sum(), leaves) if g is not None]


# ----- einsum ------------------------------------------------------------------------------------


@st.composite
def equations(draw: Any) -> Case:
    """Any letters anywhere: diagonals, letters in one term only, axes of length 1."""
    letters = "abcA"[: draw(st.integers(1, 4))]
    lengths = {c: draw(st.integers(0, 3)) for c in letters}
    terms = draw(st.lists(st.text(letters, max_size=3), min_size=1, max_size=3))
    used = sorted(set("".join(terms)))
    out = draw(st.lists(st.sampled_from(used), unique=True)) if used else []
    operands = []
    for term in terms:
        kept = {c: 1 if draw(st.integers(0, 4)) == 0 else lengths[c] for c in sorted(set(term))}
        operands.append(draw(arrays([kept[c] for c in term])))
    return Case(tuple(operands), {"equation": f"{','.join(terms)}->{''.join(out)}"})


def einsum(*operands: Any, equation: str) -> Tensor:
    return linalg.einsum(equation, *operands)


def test_einsum_is_the_sum_over_all_places() -> None:
    check_op(einsum, equations(), rows.einsum)


@st.composite
def dotted(draw: Any) -> Case:
    """Axes without a letter, of different number, that broadcast."""
    equation = draw(
        st.sampled_from(
            ("...ij,...jk->...ik", "...i,...i->...", "i...,i...", "a...b->b...a", "...->...", "...")
        )
    )
    terms = equation.partition("->")[0].split(",")
    lengths = {c: draw(SIDES) for c in sorted(set(equation)) if c.isalpha()}
    operands = []
    for term, extra in zip(terms, draw(broadcastable(len(terms), 2)), strict=True):
        first, _, last = term.partition("...")
        shape = (*(lengths[c] for c in first), *extra, *(lengths[c] for c in last))
        operands.append(draw(arrays(shape)))
    return Case(tuple(operands), {"equation": equation})


def test_dots_stand_for_axes_that_broadcast() -> None:
    check_op(einsum, dotted(), lambda *xs, equation: np.einsum(equation, *xs))


def test_dots_that_the_output_lacks_are_summed_over() -> None:
    x, y = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(2, 2, 3)
    assert_allclose(values(linalg.einsum("...i->i", Tensor(x))), x.sum(0))
    product = linalg.einsum("...i,...i->i", Tensor(x), Tensor(y))
    assert_allclose(values(product), (x * y).sum((0, 1)))


@given(st.data())
def test_without_an_arrow_the_output_has_the_letters_that_occur_once(data: Any) -> None:
    case = data.draw(equations())
    equation = case.attributes["equation"].partition("->")[0]
    lengths: dict[str, set[int]] = {}
    for term, x in zip(equation.split(","), case.inputs, strict=True):
        for c, n in zip(term, x.shape, strict=True):
            lengths.setdefault(c, set()).add(n)
    once = "".join(c for c in sorted(lengths) if equation.count(c) == 1)
    expected = rows.einsum(*case.inputs, equation=f"{equation}->{once}")
    result = linalg.einsum(equation, *map(Tensor, case.inputs))
    assert result.shape == expected.shape
    assert_allclose(values(result), expected, rtol=1e-9, atol=1e-12)


def test_a_contraction_is_one_op_whatever_the_equation_says() -> None:
    x, y = leaf(np.ones((2, 2, 3))), leaf(np.ones((3, 4)))
    names = [node.label for node in tg.graph(linalg.einsum("iij,jk->k", x, y))]
    assert names.count("einsum") == 1
    labels = [
        node.label for node in tg.graph(linalg.einsum("ij,jk->ik", y.T, leaf(np.ones((3, 2)))))
    ]
    assert labels == ["parameter", "permute", "parameter", "einsum"]


def test_a_list_of_tensors_is_taken_too() -> None:
    x, y = Tensor([[1.0, 2.0]]), Tensor([[3.0], [4.0]])
    assert linalg.einsum("ij,jk->ik", [x, y]).tolist() == [[11.0]]
    assert linalg.einsum(" i j , j k -> i k ", (x, y)).tolist() == [[11.0]]


@pytest.mark.parametrize(
    ("equation", "given", "message"),
    [
        ("ij,jk->ik", [(2, 3)], r"it has 2 term\(s\), and 1 tensor"),
        ("ij->i1", [(2, 3)], "'i1' may hold letters and one '...'"),
        ("i..j->ij", [(2, 3)], "'i..j' may hold letters"),
        ("......->", [(2, 3)], "may hold letters and one"),
        ("ijk->k", [(2, 3)], r"'ijk' does not name the axes of a tensor of shape \(2, 3\)"),
        ("i->i", [(2, 3)], r"'i' does not name the axes of a tensor of shape \(2, 3\)"),
        ("...ijk->k", [(2, 3)], "does not name the axes"),
        ("ij->ii", [(2, 3)], "'i' must stand once in the output"),
        ("ij->k", [(2, 3)], "'k' must stand once in the output, and in a term"),
        ("ij,jk->ik", [(2, 3), (4, 5)], r"of \(2, 3\) and \(4, 5\): .*length, \[3, 4\]"),
        ("ii->i", [(2, 3)], r"share a letter differ in length, \[2, 3\]"),
        ("ii,i->i", [(1, 3), (3,)], "share a letter differ in length"),
        ("i,i->i", [(0,), (2,)], r"length, \[0, 2\]"),
    ],
)
def test_a_wrong_equation_is_explained(
    equation: str, given: list[tuple[int, ...]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        linalg.einsum(equation, *(tg.ones(shape) for shape in given))


@pytest.mark.parametrize("equation", ["ij,jk->k", "iij,jk->ik", "ij,jk->ikk"])
def test_the_op_refuses_what_its_rule_does_not_cover(equation: str) -> None:
    inputs = [tg.ones(2, 2, 2)[(0,) * (3 - len(t))] for t in equation.partition("->")[0].split(",")]
    with pytest.raises(ValueError, match="the function einsum takes diagonals and sums first"):
        F.einsum(*inputs, equation=equation)


# ----- products ----------------------------------------------------------------------------------


def test_products_of_fixed_shapes_are_numpys() -> None:
    def pair(*terms: str) -> Any:
        @st.composite
        def draws(draw: Any) -> tuple[Array, ...]:
            lengths = {c: draw(rows.LENGTHS) for c in sorted(set("".join(terms)))}
            return tuple(draw(arrays([lengths[c] for c in term])) for term in terms)

        return draws()

    check_op(linalg.mm, pair("ab", "bc"), np.matmul)
    check_op(linalg.bmm, pair("abc", "acd"), np.matmul)
    check_op(linalg.mv, pair("ab", "b"), np.matmul)
    check_op(linalg.dot, pair("a", "a"), np.dot)
    check_op(linalg.vdot, pair("a", "a"), np.vdot)
    check_op(linalg.outer, pair("a", "b"), np.outer)
    check_op(linalg.inner, pair("ab", "cdb"), np.inner)
    check_op(linalg.inner, pair("", "ab"), np.inner)
    check_op(linalg.trace, pair("ab"), np.trace)


@given(st.lists(SIDES, max_size=3), st.lists(SIDES, max_size=3))
def test_the_kronecker_product_is_numpys(left: list[int], right: list[int]) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=left), rng.normal(size=right)
    result = linalg.kron(Tensor(a), Tensor(b))
    expected = np.kron(a, b)
    assert result.shape == expected.shape
    assert_allclose(values(result), expected)
    check_gradients(linalg.kron, [a, b])


@st.composite
def tensordots(draw: Any) -> Case:
    a, b = draw(shapes(0, 3)), list(draw(shapes(0, 3)))
    n = draw(st.integers(0, min(len(a), len(b))))
    if draw(st.booleans()):
        b[:n] = a[len(a) - n :]
        return Case((draw(arrays(a)), draw(arrays(b))), {"dims": n})
    left = draw(st.permutations(range(-len(a), 0)))[:n]
    right = draw(st.permutations(range(len(b))))[:n]
    for i, j in zip(left, right, strict=True):
        b[j] = draw(st.sampled_from((a[i], a[i], 1)))
    return Case((draw(arrays(a)), draw(arrays(b))), {"dims": (list(left), list(right))})


def tensordot(a: Array, b: Array, dims: Any) -> Any:
    """NumPy's, of axes that are as long as their partners; a length of 1 is repeated before."""
    if not isinstance(dims, int):
        for i, j in zip(*dims, strict=True):
            b = np.repeat(b, a.shape[i], j) if b.shape[j] == 1 else b
            a = np.repeat(a, b.shape[j], i) if a.shape[i] == 1 else a
    return np.tensordot(a, b, dims)


def test_tensordot_is_numpys() -> None:
    check_op(linalg.tensordot, tensordots(), tensordot)
    a, b = np.ones((2, 3, 4)), np.ones((3, 4, 5))
    assert_allclose(values(linalg.tensordot(Tensor(a), Tensor(b))), np.tensordot(a, b))


@pytest.mark.parametrize(
    ("function", "given", "message"),
    [
        (linalg.mm, [(2, 3), (2, 3)], r"mm: expected the shapes \(n, k\) and \(k, m\)"),
        (linalg.mm, [(2, 3), (3,)], r"got \(2, 3\) and \(3,\)"),
        (linalg.bmm, [(1, 2, 3), (2, 3, 4)], r"bmm: expected the shapes \(b, n, k\)"),
        (linalg.mv, [(2, 3), (2,)], r"mv: expected the shapes \(n, k\) and \(k,\)"),
        (linalg.dot, [(2,), (3,)], r"dot: expected the shapes \(n,\) and \(n,\)"),
        (linalg.vdot, [(2, 2), (2, 2)], "vdot: expected"),
        (linalg.outer, [(2, 2), (2,)], r"outer: expected the shapes \(n,\) and \(m,\)"),
        (linalg.trace, [(2, 2, 2)], "trace: expected a matrix"),
        (linalg.inner, [(2, 3), (2,)], r"inner: the last axes of \(2, 3\) and \(2,\)"),
        (linalg.inner, [(2, 3), (1,)], "inner"),
        (linalg.tensordot, [(2, 3), (3, 2)], r"dims=2 of \(2, 3\) and \(3, 2\)"),
        (linalg.tensordot, [(2,), (2,)], "dims=2"),
    ],
)
def test_shapes_that_do_not_fit_are_named(
    function: Callable[..., Tensor], given: list[tuple[int, ...]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        function(*(tg.ones(shape) for shape in given))


# ----- distances ---------------------------------------------------------------------------------

METRICS = {1.0: ("cityblock", {}), 2.0: ("euclidean", {}), math.inf: ("chebyshev", {})}


@st.composite
def points(draw: Any) -> Case:
    """Rows whose differences are far from 0, where a distance has a kink."""
    left, right = draw(broadcastable(max_dims=1))
    d, n = draw(SIDES), draw(st.sampled_from((1, 2, 30)))
    x1 = draw(arrays((*left, draw(SIDES), d), low=-2.0, high=-0.2))
    x2 = draw(arrays((*right, n, d), low=0.2, high=2.0))
    p = draw(st.sampled_from((1.0, 1.5, 2.0, 3.0)))
    return Case((x1, x2), {"p": p, "compute_mode": draw(st.sampled_from([*linalg.CDIST_MODES]))})


def cdist(x1: Array, x2: Array, p: float, compute_mode: str = "") -> Array:
    metric, options = METRICS.get(p, ("minkowski", {"p": p}))
    stack = np.broadcast_shapes(x1.shape[:-2], x2.shape[:-2])
    a = np.broadcast_to(x1, (*stack, *x1.shape[-2:]))
    b = np.broadcast_to(x2, (*stack, *x2.shape[-2:]))
    y = np.empty((*stack, a.shape[-2], b.shape[-2]))
    for place in np.ndindex(*stack):
        y[place] = distance.cdist(a[place], b[place], metric, **options)
    return y


def test_distances_are_scipys() -> None:
    check_op(linalg.cdist, points(), cdist)


@given(arrays((3, 2), distinct=True), arrays((4, 2), distinct=True))
def test_the_largest_difference_is_a_distance_too(x1: Array, x2: Array) -> None:
    result = linalg.cdist(Tensor(x1), Tensor(x2), p=math.inf)
    assert_allclose(values(result), cdist(x1, x2, math.inf))


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, math.inf])
@pytest.mark.parametrize("mode", linalg.CDIST_MODES)
def test_at_distance_0_the_gradient_is_0(p: float, mode: str) -> None:
    x = leaf([[1.0, -2.0], [1.0, -2.0]])
    y = linalg.cdist(x, x, p, mode)
    assert values(y).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    (g,) = tg.grad(y.sum(), x)
    assert g is not None
    assert values(g).tolist() == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize(("dtype", "scale"), [("float16", 300.0), ("float32", 1e20)])
@pytest.mark.parametrize("mode", linalg.CDIST_MODES)
@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, math.inf])
def test_distances_in_narrow_floats(p: float, mode: str, dtype: str, scale: float) -> None:
    points = (scale * normal(9, 3)).astype(dtype)
    x1, x2 = points[:4], points[4:]
    leaf_1 = Tensor(x1, requires_grad=True)
    y = linalg.cdist(leaf_1, Tensor(x2), p, mode)
    assert y.dtype == dtype
    near = 2 * float(np.finfo(dtype).eps)
    assert_allclose(values(y), cdist(x1.astype("float64"), x2.astype("float64"), p), rtol=near)
    (g,) = tg.grad(y.sum(), leaf_1)
    wide = leaf(x1)
    (exact,) = tg.grad(linalg.cdist(wide, leaf(x2), p, mode).sum(), wide)
    assert g is not None
    assert exact is not None
    assert_allclose(values(g), values(exact), rtol=near, atol=near)


def test_many_distances_are_a_matrix_product() -> None:
    def has_product(
        n: int, mode: str = "use_mm_for_euclid_dist_if_necessary", p: float = 2
    ) -> bool:
        y = linalg.cdist(leaf(normal(n, 2)), leaf(normal(2, 2)), p, mode)
        return "matmul" in [node.label for node in tg.graph(y)]

    assert [has_product(n) for n in (2, 25, 26)] == [False, False, True]
    assert not has_product(26, p=3)
    assert has_product(2, "use_mm_for_euclid_dist")
    assert not has_product(26, "donot_use_mm_for_euclid_dist")


def test_what_is_no_distance_is_refused() -> None:
    x = tg.ones(2, 3)
    with pytest.raises(ValueError, match=r"rows of the same length.*\(2, 3\) and \(2, 2\)"):
        linalg.cdist(x, tg.ones(2, 2))
    with pytest.raises(ValueError, match="p is 0 or more; got -1"):
        linalg.cdist(x, x, p=-1)
    with pytest.raises(ValueError, match="compute_mode is one of use_mm"):
        linalg.cdist(x, x, compute_mode="fast")


# ----- systems and inverses ----------------------------------------------------------------------


@st.composite
def systems(draw: Any) -> Case:
    """A right side that is a vector, a stack of vectors, or matrices whose stack broadcasts."""
    A = draw(rows.regular())
    n, stack = A.shape[-1], A.shape[:-2]
    shape = draw(
        st.sampled_from([(n,), (*stack, n), (n, 2), (*stack, n, 3), (2, *(1 for _ in stack), n, 2)])
    )
    return Case((A, draw(arrays(shape))))


def solve(A: Array, B: Array) -> Array:
    """With the inverse, whatever the shapes."""
    inverse = rows.one_by_one(rows.inv)(A)
    if B.ndim == 1 or B.shape == A.shape[:-1]:
        return np.einsum("...ij,...j->...i", inverse, B)
    return np.matmul(inverse, B)


def test_solutions_for_all_kinds_of_right_sides() -> None:
    check_op(linalg.solve, systems(), solve)


def test_a_system_from_the_right() -> None:
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(2, 3, 3)), rng.normal(size=(2, 4, 3))
    X = linalg.solve(Tensor(A), Tensor(B), left=False)
    assert_allclose(values(X) @ A, B, atol=1e-12)
    check_gradients(lambda a, b: linalg.solve(a, b, left=False), [A, B])


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ([(2, 2), (3,)], {}, r"A has the shape \(2, 2\) and B \(3,\); expected B to be \(2,\)"),
        ([(2, 2), (3, 2)], {}, r"or \(\.\.\., 2, k\)"),
        ([(3, 2, 2), (2, 2, 1)], {}, "leading axes that broadcast"),
        ([(2, 2), ()], {}, "A has the shape"),
        ([(2, 2), (2,)], {"left": False}, r"B must be a matrix \(\.\.\., k, n\)"),
        ([(2, 3), (2,)], {}, r"expected square matrices .* got the shape \(2, 3\)"),
    ],
)
def test_a_system_that_does_not_fit_is_explained(
    given: list[tuple[int, ...]], options: dict[str, Any], message: str
) -> None:
    A, B = (tg.ones(shape) for shape in given)
    with pytest.raises(ValueError, match=message):
        linalg.solve(A, B, **options)


OF_MATRICES: dict[str, Callable[[Tensor], Any]] = {
    name: getattr(linalg, name)
    for name in (
        *("inv", "det", "slogdet", "cholesky", "eigh", "eigvalsh", "svd", "svdvals", "pinv"),
        *("qr", "eig", "eigvals", "cond"),
    )
}
RECTANGULAR = ("svd", "svdvals", "pinv", "qr", "cond")


@pytest.mark.parametrize("name", OF_MATRICES)
def test_what_is_no_matrix_of_floats_is_refused(name: str) -> None:
    function = OF_MATRICES[name]
    with pytest.raises(ValueError, match=rf"{name}: expected .*matrices .* got the shape \(3,\)"):
        function(tg.ones(3))
    if name not in RECTANGULAR:
        with pytest.raises(ValueError, match=rf"{name}: expected square .* shape \(4, 2, 3\)"):
            function(tg.ones(4, 2, 3))
    for dtype in ("float16", "int64"):
        with pytest.raises(TypeError, match=rf"{name}: expected float32 or float64.*{dtype}"):
            function(tg.ones(2, 2, dtype=dtype))


@pytest.mark.host  # a GPU does not look, so as not to wait
def test_a_matrix_without_a_result_is_explained() -> None:
    singular, indefinite = tg.ones(2, 2), Tensor([[1.0, 0.0], [0.0, -1.0]])
    broken = Tensor([[math.nan, 0.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match=r"inv of \(2, 2\): a matrix is singular .* pinv"):
        linalg.inv(singular)
    with pytest.raises(ValueError, match=r"solve of \(2, 2\) and \(2, 1\): a matrix is singular"):
        linalg.solve(singular, tg.ones(2))
    with pytest.raises(ValueError, match=r"cholesky of \(2, 2\): .*not positive definite.*eps"):
        linalg.cholesky(indefinite)
    with pytest.raises(ValueError, match=r"svd of \(2, 2\): .*nan or inf"):
        linalg.svd(broken)


# ----- determinants ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "matrix",
    [np.zeros((2, 2)), np.outer([1.0, 2.0, 3.0], [1.0, 0.0, 2.0]), np.diag([0.0, 2.0, 3.0])],
)
def test_the_determinant_of_a_singular_matrix_has_its_gradient(matrix: Array) -> None:
    (g,) = tg.grad(linalg.det(x := leaf(matrix)), x)
    assert g is not None
    assert_allclose(values(g), rows.cofactor(matrix), atol=1e-13)


@given(rows.regular())
def test_sign_and_logarithm_make_the_determinant(matrix: Array) -> None:
    sign, logarithm = linalg.slogdet(Tensor(matrix))
    assert_allclose(
        values(sign) * np.exp(values(logarithm)), rows.one_by_one(rows.det)(matrix), rtol=1e-9
    )
    assert not linalg.slogdet(leaf(matrix)).sign.requires_grad
    check_gradients(lambda x: linalg.slogdet(x).logabsdet, [matrix])


def test_the_logarithm_does_not_overflow() -> None:
    sign, logarithm = linalg.slogdet(-1e30 * tg.eye(25))
    assert sign.item() == -1
    assert math.isclose(logarithm.item(), 25 * 30 * math.log(10), rel_tol=1e-6)
    sign, logarithm = linalg.slogdet(tg.zeros(2, 2))
    assert (sign.item(), logarithm.item()) == (0, -math.inf)


# ----- decompositions ----------------------------------------------------------------------------


@given(rows.symmetric(0.6), st.booleans())
def test_a_triangle_times_its_transpose(matrix: Array, upper: bool) -> None:
    y = values(linalg.cholesky(Tensor(matrix), upper=upper))
    lower = np.swapaxes(y, -1, -2) if upper else y
    assert_allclose(lower, np.tril(lower))
    expected = (matrix + np.swapaxes(matrix, -1, -2)) / 2
    assert_allclose(lower @ np.swapaxes(lower, -1, -2), expected, atol=1e-12)
    (g,) = gradient(lambda x: linalg.cholesky(x, upper=upper), matrix)
    assert_allclose(g, np.swapaxes(g, -1, -2), atol=1e-12)


@given(rows.symmetric(-0.8))
def test_eigenvectors_diagonalize(matrix: Array) -> None:
    w, v = map(values, linalg.eigh(Tensor(matrix)))
    transposed = np.swapaxes(v, -1, -2)
    assert_allclose(v @ transposed, np.eye(v.shape[-1]) + 0 * v, atol=1e-12)
    assert (np.diff(w, axis=-1) > 0).all()
    symmetric = (matrix + np.swapaxes(matrix, -1, -2)) / 2
    assert_allclose((v * w[..., None, :]) @ transposed, symmetric, atol=1e-12)
    assert (v.max(-2) >= -v.min(-2)).all()
    assert_allclose(values(linalg.eigvalsh(Tensor(matrix))), w, atol=1e-12)


@given(st.data())
def test_singular_vectors_diagonalize(data: Any) -> None:
    matrix = data.draw(rows.regular(data.draw(SIDES), data.draw(SIDES)))
    k = min(matrix.shape[-2:])
    u, s, vh = map(values, tg.linalg.svd(Tensor(matrix), full_matrices=False))
    assert (u.shape[-1], s.shape[-1], vh.shape[-2]) == (k, k, k)
    identity = np.eye(k) + np.zeros((*matrix.shape[:-2], k, k))
    assert_allclose(np.swapaxes(u, -1, -2) @ u, identity, atol=1e-12)
    assert_allclose(vh @ np.swapaxes(vh, -1, -2), identity, atol=1e-12)
    assert_allclose((u * s[..., None, :]) @ vh, matrix, atol=1e-12)
    assert (np.diff(s, axis=-1) < 0).all()
    assert (u.max(-2) >= -u.min(-2)).all()
    assert_allclose(values(linalg.svdvals(Tensor(matrix))), s, atol=1e-12)


@given(rows.regular(4, 3))
def test_whitening_can_be_differentiated(data: Array) -> None:
    """The course's whitening: centred, turned to the principal axes, scaled, and turned back."""

    def whiten(x: Tensor) -> Tensor:
        centred = x - x.mean(-2, keepdim=True)
        w, v = linalg.eigh(linalg.einsum("...ni,...nj->...ij", centred, centred) / 4)
        scaled = centred @ v / (w.unsqueeze(-2) + 0.01).sqrt()
        return scaled @ v.mT

    covariance = np.array([np.cov(x.T, bias=True) for x in data.reshape(-1, 4, 3)])
    w = np.linalg.eigvalsh(covariance)
    assume(np.diff(w).min() > 0.05)
    white = values(whiten(Tensor(data))).reshape(-1, 4, 3)
    found = np.linalg.eigvalsh(np.swapaxes(white, -1, -2) @ white / 4)
    assert_allclose(found, w / (w + 0.01), atol=1e-10)
    check_gradients(whiten, [data], order=1)


def test_equal_eigenvalues_have_gradients_but_not_their_vectors() -> None:
    """d log det = trace of A⁻¹ dA, also by way of eigenvalues that are all the same."""
    for function in (linalg.eigvalsh, lambda a: linalg.eigh(a).eigenvalues):
        A = leaf(2 * np.eye(3))
        (g,) = tg.grad(function(A).log().sum(), A)
        assert g is not None
        assert_allclose(values(g), np.eye(3) / 2)
    A = leaf(2 * np.eye(3))
    vectors = linalg.eigh(A).eigenvectors
    with np.errstate(divide="ignore", invalid="ignore"):
        (g,) = tg.grad((vectors * Tensor(np.arange(9.0).reshape(3, 3))).sum(), A)
    assert g is not None
    assert not np.isfinite(values(g)).all()


def test_equal_singular_values_have_gradients_but_not_their_vectors() -> None:
    """The nuclear norm of an orthogonal matrix has the gradient U Vᵀ, which is that matrix."""
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    for function in (linalg.svdvals, lambda a: linalg.svd(a).S):
        A = leaf(turn)
        (g,) = tg.grad(function(A).sum(), A)
        assert g is not None
        assert_allclose(values(g), turn, atol=1e-12)
    A = leaf(np.zeros((3, 2)))
    (g,) = tg.grad(linalg.svd(A).S.sum(), A)
    assert g is not None
    assert np.isfinite(values(g)).all()


@given(st.integers(0, 4), st.integers(0, 4), st.sampled_from(((), (2,), (0,))))
def test_columns_beyond_the_thin_ones_complete_them(m: int, n: int, stack: tuple[int, ...]) -> None:
    rng = np.random.default_rng(m + 5 * n)
    A, k = rng.standard_normal((*stack, m, n)), min(m, n)
    x = leaf(A)
    U, S, Vh = tg.linalg.svd(x)
    for matrix, size in ((U, m), (Vh, n)):
        assert matrix.shape == (*stack, size, size)
        unit = values(matrix) @ values(matrix).swapaxes(-1, -2)
        assert_allclose(unit, np.broadcast_to(np.eye(size), unit.shape), atol=1e-12)
    thin = tg.linalg.svd(x, full_matrices=False)
    assert np.array_equal(values(U)[..., :k], values(thin.U))
    assert np.array_equal(values(Vh)[..., :k, :], values(thin.Vh))
    rebuilt = (values(U)[..., :k] * values(S)[..., None, :]) @ values(Vh)[..., :k, :]
    assert_allclose(rebuilt, A, atol=1e-12)
    if k:  # through the further columns no gradient flows
        weights = rng.standard_normal((m, m)), rng.standard_normal((n, n))
        whole = (U * tg.tensor(weights[0])).sum() + (Vh * tg.tensor(weights[1])).sum()
        part = (thin.U * tg.tensor(weights[0][:, :k])).sum()
        part = part + (thin.Vh * tg.tensor(weights[1][:k])).sum()
        (got,), (wanted,) = tg.grad(whole, x), tg.grad(part, x)
        assert_allclose(values(got), values(wanted))


@given(st.integers(0, 4), st.sampled_from("LU"), st.sampled_from(((), (2,))))
def test_the_triangle_that_is_named_counts(n: int, UPLO: str, stack: tuple[int, ...]) -> None:
    A = np.random.default_rng(n).standard_normal((*stack, n, n))
    x = leaf(A)
    w, v = linalg.eigh(x, UPLO)
    expected = np.linalg.eigvalsh(A, UPLO) if n else np.zeros((*stack, 0))
    assert_allclose(values(w), expected, atol=1e-12)
    assert_allclose(values(linalg.eigvalsh(x, UPLO)), expected, atol=1e-12)
    half = np.tril(A) if UPLO == "L" else np.triu(A)
    whole = half + half.swapaxes(-1, -2) - np.eye(n) * A
    product = values(v) * values(w)[..., None, :] @ values(v).swapaxes(-1, -2)
    assert_allclose(product, whole, atol=1e-12)
    (g,) = tg.grad((w * w).sum(), x)  # of the sum of the squares of a symmetric matrix
    assert_allclose(values(g), 2 * whole, atol=1e-12)
    assert_allclose(
        values(linalg.pinv(x, hermitian=True)),
        np.linalg.pinv(np.tril(A) + np.tril(A, -1).swapaxes(-1, -2)),
        atol=1e-8,
    )


def test_a_triangle_is_upper_or_lower() -> None:
    for function in (linalg.eigh, linalg.eigvalsh):
        with pytest.raises(ValueError, match=r"UPLO is 'L' or 'U'.*got 'X'"):
            function(tg.eye(2), "X")


@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 3))
def test_each_matrix_may_have_bounds_of_its_own(m: int, n: int, count: int) -> None:
    rng = np.random.default_rng(m + 4 * n)
    A = rng.standard_normal((count, m, n))
    bounds = {"atol": rng.uniform(0, 1, count), "rtol": rng.uniform(0, 1, count)}
    for names in (("atol",), ("rtol",), ("atol", "rtol")):
        given = {name: tg.tensor(bounds[name]) for name in names}
        y = values(linalg.pinv(tg.tensor(A), **given))
        assert y.shape == (count, n, m)
        for i in range(count):
            u, s, vh = np.linalg.svd(A[i], full_matrices=False)
            absolute, relative = (bounds[b][i] if b in names else 0 for b in ("atol", "rtol"))
            inverse = [1 / t if t > max(absolute, relative * s[0]) else 0.0 for t in s]
            assert_allclose(y[i], (vh.T * inverse) @ u.T, atol=1e-10)


@given(st.just(0.0) | st.floats(0.1, 0.99), st.integers(0, 3))
def test_a_distance_of_a_power_below_1(p: float, m: int) -> None:
    rng = np.random.default_rng(m)
    a, b = rng.integers(-2, 3, (3, 4)) / 1.0, rng.integers(-2, 3, (m, 4)) / 1.0
    size = np.abs(a[:, None] - b)
    wanted = (size != 0).sum(-1) if p == 0 else np.sum(size**p, -1) ** (1 / p)
    assert_allclose(values(linalg.cdist(tg.tensor(a), tg.tensor(b), p)), wanted, rtol=1e-10)


# ----- pseudo-inverses and powers ----------------------------------------------------------------


@st.composite
def factors(draw: Any) -> tuple[Array, Array]:
    """Two factors whose product has a lower rank than its shape allows."""
    rank = draw(st.integers(1, 2))
    m, n = draw(st.integers(rank + 1, 4)), draw(st.integers(rank + 1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = np.diag(rng.uniform(0.8, 1.5, rank))
    return rows.turned(rng, m, rank) @ spread, rows.turned(rng, n, rank).T


@given(factors())
def test_pseudo_inverses_satisfy_their_four_equations(given_: tuple[Array, Array]) -> None:
    B, C = given_
    A = B @ C
    P = values(linalg.pinv(Tensor(A)))
    tolerance = {"atol": 1e-12}
    assert_allclose(A @ P @ A, A, **tolerance)
    assert_allclose(P @ A @ P, P, **tolerance)
    assert_allclose(A @ P, (A @ P).T, **tolerance)
    assert_allclose(P @ A, (P @ A).T, **tolerance)


@given(factors())
def test_pseudo_inverses_of_one_rank_have_gradients(given_: tuple[Array, Array]) -> None:
    check_gradients(lambda b, c: linalg.pinv(b @ c, rtol=1e-8), list(given_))


def test_small_singular_values_count_as_0() -> None:
    A = Tensor(np.diag([4.0, 0.5, 0.01]))
    for options, expected in (
        ({}, [0.25, 2, 100]),
        ({"rtol": 0.1}, [0.25, 2, 0]),
        ({"rtol": 0.2}, [0.25, 0, 0]),
        ({"atol": 0.1}, [0.25, 2, 0]),
        ({"atol": 0.001, "rtol": 0.2}, [0.25, 0, 0]),
        ({"atol": 1.0, "rtol": 0.0}, [0.25, 0, 0]),
    ):
        assert_allclose(values(linalg.pinv(A, **options)), np.diag(expected), atol=1e-12)
    tiny = linalg.pinv(Tensor(np.diag([1.0, 1e-18])), atol=1e-20)  # then rtol is 0
    assert_allclose(values(tiny), np.diag([1.0, 1e18]))
    assert values(linalg.pinv(tg.zeros(2, 3))).tolist() == np.zeros((3, 2)).tolist()


@given(rows.regular(), st.integers(-3, 7))
def test_powers_of_matrices_are_numpys(matrix: Array, n: int) -> None:
    result = linalg.matrix_power(Tensor(matrix), n)
    assert_allclose(values(result), np.linalg.matrix_power(matrix, n), rtol=1e-9, atol=1e-9)
    if n:
        check_gradients(lambda x: linalg.matrix_power(x, n), [matrix], order=1)


def test_a_power_takes_few_products() -> None:
    graph = tg.graph(linalg.matrix_power(leaf(np.eye(2)), 100))
    assert [node.label for node in graph].count("matmul") == 8  # 100 is 1100100 in binary
    assert values(linalg.matrix_power(tg.ones(3, 2, 2), 0)).tolist() == [np.eye(2).tolist()] * 3


# ----- triangles, eigenvectors, least squares -----------------------------------------------------


@st.composite
def any_sides(draw: Any) -> Case:
    """Wide matrices too, whose first columns are independent."""
    m = draw(SIDES)
    x = draw(rows.regular(m, m))
    rest = draw(arrays((*x.shape[:-1], draw(st.integers(0, 2)))))
    x = np.concatenate([x, rest], -1)
    return Case((x if draw(st.booleans()) else np.ascontiguousarray(np.swapaxes(x, -1, -2)),))


@given(any_sides(), st.sampled_from(("reduced", "complete", "r")))
def test_orthonormal_columns_times_a_triangle(case: Case, mode: str) -> None:
    (x,) = case.inputs
    m, n = x.shape[-2:]
    Q, R = linalg.qr(Tensor(x), mode)
    k = m if mode == "complete" else min(m, n)
    assert R.shape == (*x.shape[:-2], k, n)
    assert_allclose(np.tril(values(R), -1), 0, atol=1e-12)
    if mode == "r":
        assert Q.shape == (0,)
        assert_allclose(values(R), values(linalg.qr(Tensor(x)).R))
        return
    assert Q.shape == (*x.shape[:-2], m, k)
    assert_allclose(values(Q @ R), x, atol=1e-12)
    assert_allclose(values(Q.mT @ Q), np.broadcast_to(np.eye(k), (*x.shape[:-2], k, k)), atol=1e-12)


def test_both_factors_of_a_matrix_of_any_sides_have_gradients() -> None:
    def both(x: Tensor) -> Tensor:
        Q, R = linalg.qr(x)
        return tg.cat([Q.flatten(), R.flatten()])

    check_op(both, any_sides())


def test_columns_beyond_the_reduced_ones_have_no_gradient() -> None:
    x = leaf(normal(3, 2))
    with pytest.raises(ValueError, match=r"adds 1 columns.*\(3, 2\).*detach"):
        linalg.qr(x, "complete")
    assert linalg.qr(leaf(normal(2, 3)), "complete").Q.requires_grad
    with pytest.raises(ValueError, match="mode is"):
        linalg.qr(x, "full")


@given(rows.with_real_eigenvalues())
def test_real_eigenvectors_stay_in_their_direction(matrix: Array) -> None:
    w, v = linalg.eig(Tensor(matrix))
    assert_allclose(matrix @ values(v), values(v) * values(w)[..., None, :], atol=1e-9)
    assert (np.diff(values(w), axis=-1) > 0).all()
    assert_allclose(np.linalg.norm(values(v), axis=-2), 1)
    assert_allclose(values(linalg.eigvals(Tensor(matrix))), values(w))


def test_complex_eigenvalues_are_refused() -> None:
    for function in (linalg.eig, linalg.eigvals):
        with pytest.raises(ValueError, match=r"eig of \(2, 2\): real eigenvalues.*complex"):
            function(Tensor([[0.0, 1.0], [-1.0, 0.0]]))


@given(any_sides(), st.booleans(), st.booleans())
def test_the_best_solution_is_scipys(case: Case, vectors: bool, driver: bool) -> None:
    (A,) = case.inputs
    B = np.cos(np.arange(math.prod(A.shape[:-1]) * 2.0)).reshape((*A.shape[:-1], 2))
    B = B[..., 0] if vectors else B
    found = linalg.lstsq(Tensor(A), Tensor(B), driver="gelsd" if driver else None)
    m, n = A.shape[-2:]
    for place in np.ndindex(*A.shape[:-2]):
        expected = scipy.linalg.lstsq(A[place], B[place])
        assert_allclose(values(found.solution)[place], expected[0], atol=1e-10)
        assert found.rank.numpy()[place] == expected[2]
        assert_allclose(found.singular_values.numpy()[place], expected[3])
        if m > n:
            assert_allclose(values(found.residuals)[place], expected[1], atol=1e-10)
    assert m > n or found.residuals.shape == (0,)


def test_least_squares_have_gradients_and_say_what_does_not_fit() -> None:
    check_gradients(lambda A, B: linalg.lstsq(A, B).solution, [normal(4, 2), normal(4, 3)])
    check_gradients(lambda A, B: linalg.lstsq(A, B).residuals, [normal(4, 2), normal(4)])
    for A, B, options, match in (
        (tg.ones(3, 2), tg.ones(2, 1), {}, r"\(3, 2\) and B \(2, 1\)"),
        (tg.ones(3, 2), tg.ones(2, 3, 1), {}, "expected B"),
        (tg.ones(3, 2), tg.ones(3, 1), {"driver": "magic"}, "driver is gels"),
    ):
        with pytest.raises(ValueError, match=match):
            linalg.lstsq(A, B, **options)


@st.composite
def triangular(draw: Any) -> Case:
    A = draw(rows.regular())
    A = A + 3 * np.eye(A.shape[-1]) * np.sign(np.einsum("...ii->...i", A))[..., None]
    left = draw(st.booleans())
    B = draw(arrays((*A.shape[:-1], 2) if left else (*A.shape[:-2], 2, A.shape[-1])))
    options = {name: draw(st.booleans()) for name in ("upper", "unitriangular")}
    return Case((A, B), options | {"left": left})


def of_a_triangle(A: Array, B: Array, upper: bool, unitriangular: bool, left: bool) -> Array:
    A = np.triu(A) if upper else np.tril(A)
    if unitriangular:
        A = A - A * np.eye(A.shape[-1]) + np.eye(A.shape[-1])
    return np.linalg.inv(A) @ B if left else B @ np.linalg.inv(A)


def test_solutions_of_triangles() -> None:
    check_op(linalg.solve_triangular, triangular(), of_a_triangle)
    with pytest.raises(ValueError, match=r"matrix.*\(2,\)"):
        linalg.solve_triangular(tg.ones(2, 2), tg.ones(2), upper=True)


def test_ranks_count_what_is_large_enough() -> None:
    A = np.stack([np.ones((3, 3)), np.eye(3), np.diag([1.0, 1e-3, 0.0])])
    assert linalg.matrix_rank(Tensor(A)).tolist() == np.linalg.matrix_rank(A).tolist() == [1, 3, 2]
    assert linalg.matrix_rank(Tensor(A), atol=1e-2).tolist() == [1, 3, 1]
    assert linalg.matrix_rank(Tensor(A), rtol=0.5).tolist() == [1, 3, 1]
    assert linalg.matrix_rank(Tensor(-A), hermitian=True).tolist() == [1, 3, 2]
    assert linalg.matrix_rank(Tensor(A), atol=Tensor([4.0, 0.5, 1e-2])).tolist() == [0, 3, 1]
    assert linalg.matrix_rank(tg.ones(2, 3, 0)).tolist() == [0, 0]


# ----- norms --------------------------------------------------------------------------------------

MATRIX_NORMS = ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf)


@st.composite
def normed_matrices(draw: Any) -> Case:
    """Two axes of three, away from where rows or columns weigh the same."""
    x = draw(arrays((draw(SIDES), draw(SIDES), draw(SIDES)), distinct=True))
    dim = draw(st.permutations(range(-3, 0)))[:2]
    options = {"ord": draw(st.sampled_from(MATRIX_NORMS)), "dim": tuple(dim)}
    return Case((x,), options | {"keepdim": draw(st.booleans())})


@pytest.mark.parametrize("function", [linalg.matrix_norm, tg.linalg.norm])
def test_norms_of_matrices_are_numpys(function: Callable[..., Tensor]) -> None:
    drawn = normed_matrices()

    @given(drawn)
    def check(case: Case) -> None:
        (x,), options = case.inputs, case.attributes
        ord_, dim, keep = options["ord"], options["dim"], options["keepdim"]
        expected = np.linalg.norm(x, ord_, axis=dim, keepdims=keep)
        assert_allclose(values(function(Tensor(x), ord_, dim, keep)), expected, atol=1e-10)

    check()
    for ord_ in MATRIX_NORMS:
        check_gradients(lambda x, ord_=ord_: function(x, ord_), [normal(3, 2)])
        assert_allclose(
            values(function(leaf(normal(3, 2)), ord_)), np.linalg.norm(normal(3, 2), ord_)
        )


@given(arrays(shapes(1, 2)), st.sampled_from((0, 0.5, 1, 2, 3.5, -1, -2.5, math.inf, -math.inf)))
def test_norms_of_vectors_are_numpys(x: Array, ord_: float) -> None:
    for function in (linalg.vector_norm, tg.linalg.norm):
        y = function(Tensor(x), ord_, -1)
        assert_allclose(values(y), np.linalg.norm(x, ord_, axis=-1))
    assert_allclose(values(tg.norm(Tensor(x), ord_)), np.linalg.norm(x.ravel(), ord_))
    assert_allclose(
        values(linalg.vector_norm(Tensor(x), ord_, ())), np.linalg.norm(x.ravel(), ord_)
    )
    nuclear = tg.norm(Tensor(np.stack([normal(2, 3)] * 2, -1)), "nuc", (0, 1))
    assert_allclose(values(nuclear), np.linalg.norm(normal(2, 3), "nuc"))
    assert_allclose(values(tg.linalg.norm(Tensor(x))), np.linalg.norm(x.ravel()))


@pytest.mark.parametrize("p", [-0.5, -1, -2, -3.5])
def test_a_norm_of_negative_order_is_0_beside_a_0(p: float) -> None:
    check_gradients(lambda x: tg.norm(x, p, 1), [normal(2, 3)])
    x = leaf([[0.0, 2.0], [1.0, 2.0]])
    y = tg.norm(x, p, 1, True)
    assert_allclose(values(y), [[0], [np.linalg.norm([1, 2], p)]])
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.numpy()[0].tolist() == [0, 0]
    assert (x.grad.numpy()[1] > 0).all()
    half = np.array([1.5, 2.0, 3.0], "float16")
    assert tg.norm(Tensor(half), p).numpy() == np.linalg.norm(half.astype(float), p).astype(
        "float16"
    )
    with pytest.raises(ValueError, match="no element"):
        tg.norm(tg.zeros(0), p)


def test_norms_say_what_they_are_of() -> None:
    A = tg.ones(2, 3)
    for wrong, match in (
        (lambda: tg.linalg.norm(A, 3), "ord is one of"),
        (lambda: tg.linalg.norm(A, 0), "ord is one of"),
        (lambda: tg.linalg.norm(A[None], 1), r"\(1, 2, 3\)"),
        (lambda: tg.linalg.norm(tg.ones(()), 1), r"\(\)"),
        (lambda: tg.linalg.norm(A, "fro", 0), "norm of matrices"),
        (lambda: tg.linalg.norm(tg.ones(2), "nuc"), "norm of matrices"),
        (lambda: linalg.matrix_norm(A, dim=(0, 0)), "repeat"),
        (lambda: linalg.matrix_norm(A, dim=(0,)), "two axes"),
        (lambda: linalg.matrix_norm(tg.ones(2)), r"axis -2|two axes"),
        (lambda: linalg.cond(A, 1), "square"),
        (lambda: linalg.cond(tg.ones(2, 2), 3), "ord is one of"),
    ):
        with pytest.raises((ValueError, IndexError), match=match):
            wrong()
    with pytest.raises(TypeError, match="for matrix_norm"):
        linalg.vector_norm(A, "fro")
    for function in (linalg.vector_norm, linalg.matrix_norm):
        with pytest.raises(TypeError, match="floats; got int64"):
            function(A.long())


@pytest.mark.parametrize("p", [None, *MATRIX_NORMS])
def test_condition_numbers_are_numpys(p: Any) -> None:
    A = normal(2, 3, 3)
    assert_allclose(values(linalg.cond(Tensor(A), p)), np.linalg.cond(A, p))
    check_gradients(lambda A: linalg.cond(A, p), [A])
    if p not in (None, 2, -2):
        singular = Tensor(np.array([np.ones((2, 2)), np.eye(2)]))
        found = values(linalg.cond(singular, p))
        assert_allclose(found, [math.inf, np.linalg.cond(np.eye(2), p)])


# ----- dtypes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OF_MATRICES)
def test_the_dtype_stays(name: str, dtype: str) -> None:
    A = Tensor(np.array([[3.0, 1.0], [1.0, 2.0]]), dtype=dtype, requires_grad=True)
    results = OF_MATRICES[name](A)
    for result in (results,) if isinstance(results, Tensor) else results:
        assert str(result.dtype) == dtype
        if result.requires_grad:
            (g,) = tg.grad(result.sum(), A, retain_graph=True)
            assert g is not None
            assert str(g.dtype) == dtype
