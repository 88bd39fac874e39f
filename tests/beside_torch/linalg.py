"""Matrix products, contractions and decompositions."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from hypothesis import assume
from hypothesis import strategies as st

import tinygrad_cv as tg
from beside_torch.call import Beside, Call
from rows.linalg import LENGTHS, SIDES, regular, symmetric
from tinygrad_cv.ops import linalg
from tinygrad_cv.testing.strategies import arrays, broadcastable, shapes


@st.composite
def shaped(draw: Any, *terms: str) -> Call:
    """Tensors whose axes of the same letter have the same length."""
    lengths = {c: draw(LENGTHS) for c in sorted(set("".join(terms)))}
    return Call(tuple(draw(arrays([lengths[c] for c in term])) for term in terms))


@st.composite
def stacked_products(draw: Any) -> Call:
    n, k, m = (draw(LENGTHS) for _ in range(3))
    left, right = draw(broadcastable(max_dims=2))
    return Call((draw(arrays((*left, n, k))), draw(arrays((*right, k, m)))))


@st.composite
def layers(draw: Any) -> Call:
    batch, n, m = draw(shapes(0, 2)), draw(SIDES), draw(SIDES)
    bias = draw(st.none() | arrays((m,)))
    return Call((draw(arrays((*batch, n))), draw(arrays((m, n))), bias))


EQUATIONS = (
    *("ij,jk->ik", "ij,jk", "bij,bjk->bik", "i,j->ji", "ij,ij->", "ij,kj->i", "ab,bc,cd->ad"),
    *("ii->i", "ii->", "ii", "iji->j", "ij->ji", "ij->", "ba", "aab,bc->c", "ij,j,i"),
    *("...ij,...jk->...ik", "i...,i->...", "...i,...i", "b...->...b", "i...->i", "...,..."),
    *("ab,ab,ab->b", ",a->a", " i j , j -> i ", "Ab,bC"),
)


@st.composite
def contractions(draw: Any) -> Call:
    """Lengths for the letters, 1 instead of some of them, and other axes for the dots."""
    equation = draw(st.sampled_from(EQUATIONS))
    lengths = {c: draw(SIDES) for c in sorted(set(equation)) if c.isalpha()}
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    dots = draw(broadcastable(len(terms), max_dims=2))
    operands = []
    for term, extra in zip(terms, dots, strict=True):
        kept = {c: 1 if draw(st.booleans()) else lengths[c] for c in term if c != "."}
        first, dotted, last = term.partition("...")
        shape = [kept[c] for c in first]
        shape += [*extra] if dotted else []
        shape += [kept[c] for c in last]
        operands.append(draw(arrays(shape)))
    return Call((equation, *operands))


@st.composite
def tensordots(draw: Any) -> Call:
    a, b = draw(shapes(0, 3)), list(draw(shapes(0, 3)))
    n = draw(st.integers(0, min(len(a), len(b))))
    if draw(st.booleans()):
        b[:n] = a[len(a) - n :]
        return Call((draw(arrays(a)), draw(arrays(b))), {"dims": n})
    left = draw(st.permutations(range(len(a))))[:n]
    right = draw(st.permutations(range(len(b))))[:n]
    for i, j in zip(left, right, strict=True):
        b[j] = a[i]
    return Call((draw(arrays(a)), draw(arrays(b))), {"dims": (list(left), list(right))})


@st.composite
def distances(draw: Any) -> Call:
    left, right = draw(broadcastable(max_dims=2))
    d = draw(SIDES)
    rows = st.sampled_from((1, 2, 3, 30))
    p = draw(st.sampled_from((1.0, 1.5, 2.0, 3.0, float("inf"))))
    mode = draw(st.sampled_from([*linalg.CDIST_MODES]))
    # A matrix product loses what makes two rows differ where they are close.
    side = 0.1 if p == 2 and mode != "donot_use_mm_for_euclid_dist" else -2.0
    x1 = draw(arrays((*left, draw(rows), d), low=side))
    x2 = draw(arrays((*right, draw(rows), d), high=-side))
    return Call((x1, x2), {"p": p, "compute_mode": mode})


@st.composite
def systems(draw: Any) -> Call:
    A = draw(regular())
    n, left = A.shape[-1], draw(st.booleans())
    shape = draw(st.sampled_from([(n,), A.shape[:-1], (n, 2), (2, 1, n, 3)]))
    if left or shape in [(n,), A.shape[:-1]]:
        return Call((A, draw(arrays(shape))))
    turned = (*shape[:-2], shape[-1], n)
    assume(turned != A.shape[:-1])  # which both take for vectors, and refuse
    return Call((A, draw(arrays(turned))), {"left": False})


def of(matrices: Any, *options: dict[str, Any]) -> Any:
    return st.tuples(matrices, st.sampled_from(options or ({},))).map(lambda p: Call((p[0],), p[1]))


@st.composite
def rectangles(draw: Any) -> Any:
    return draw(regular(draw(SIDES), draw(SIDES)))


def upright(v: torch.Tensor) -> torch.Tensor:
    """The sign of the largest component of each column, as a row."""
    place = v.abs().argmax(-2, keepdim=True)
    return torch.take_along_dim(v, place, -2).sign()


def symmetrically(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that reads one triangle, of the symmetric part."""
    return lambda A, **options: function((A + A.mT) / 2, **options)


def eigh(A: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    w, v = torch.linalg.eigh((A + A.mT) / 2)
    return w, v * upright(v)


def svd(A: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    u, s, vh = torch.linalg.svd(A, full_matrices=False)
    return u * upright(u), s, upright(u).mT * vh


def slogdet(A: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The sign is a constant here, and in PyTorch a function with the gradient 0."""
    sign, logarithm = torch.linalg.slogdet(A)
    return sign.detach(), logarithm


def matrix_power(A: torch.Tensor, n: int = 1) -> torch.Tensor:
    """So is the identity."""
    return torch.linalg.matrix_power(A if n else A.detach(), n)


def thin(A: tg.Tensor) -> Any:
    return tg.linalg.svd(A, full_matrices=False)


def beside(name: str, calls: Any, theirs: Callable[..., Any] | None = None) -> Beside:
    return Beside(name, calls, ours=getattr(linalg, name), theirs=theirs)


@st.composite
def on_top(draw: Any, *terms: str) -> Call:
    """The product of the last two tensors added to the first, some or all of it."""
    shares = ({}, {"beta": 0}, {"alpha": 2.5}, {"beta": -1.5, "alpha": 0.5})
    return Call(draw(shaped(*terms)).inputs, draw(st.sampled_from(shares)))


@st.composite
def chains(draw: Any) -> Call:
    sides = [draw(SIDES) for _ in range(draw(st.integers(3, 6)))]
    sizes: list[tuple[int, ...]] = [*pairwise(sides)]
    if draw(st.booleans()):
        sizes[0] = sizes[0][1:]
    if draw(st.booleans()):
        sizes[-1] = sizes[-1][:1]
    return Call(tuple(draw(arrays(size)) for size in sizes))


def chained(library: Any) -> Any:
    return lambda *tensors: library.linalg.multi_dot(list(tensors))


CALLS = [
    beside(
        "matmul", stacked_products() | shaped("a", "ab") | shaped("cab", "b") | shaped("a", "a")
    ),
    beside("linear", layers()),
    beside("mm", shaped("ab", "bc")),
    beside("bmm", shaped("abc", "acd")),
    beside("mv", shaped("ab", "b")),
    beside("dot", shaped("a", "a")),
    beside("vdot", shaped("a", "a")),
    beside("outer", shaped("a", "b")),
    beside("inner", shaped("ab", "cdb") | shaped("a", "a") | shaped("", "ab")),
    beside("einsum", contractions()),
    beside("addmm", on_top("ac", "ab", "bc") | on_top("c", "ab", "bc") | on_top("", "ab", "bc")),
    # Of an empty matrix and one number PyTorch makes one number.
    beside(
        "addmv",
        on_top("a", "ab", "b") | on_top("", "ab", "b").filter(lambda call: call.inputs[1].size),
    ),
    beside("addr", on_top("ab", "a", "b") | on_top("b", "a", "b")),
    beside("baddbmm", on_top("abd", "abc", "acd") | on_top("bd", "abc", "acd")),
    beside("addbmm", on_top("bd", "abc", "acd") | on_top("d", "abc", "acd")),
    Beside("multi_dot", chains(), chained(tg), chained(torch)),
    beside("vecdot", shaped("ab", "ab") | shaped("cab", "b"), torch.linalg.vecdot),
    beside("logdet", of(regular()), torch.logdet),
    beside("pdist", of(arrays(shapes(2, 2), distinct=True), {}, {"p": 1.0}, {"p": 3.0})),
    beside("dist", shaped("ab", "ab") | shaped("ab", "b")),
    beside("tensordot", tensordots()),
    beside("trace", shaped("ab")),
    beside("kron", shaped("ab", "cd") | shaped("a", "bc") | shaped("abc", "")),
    beside("cdist", distances()),
    beside("inv", of(regular()), torch.linalg.inv),
    beside("solve", systems(), torch.linalg.solve),
    beside("det", of(regular()), torch.linalg.det),
    beside("slogdet", of(regular()), slogdet),
    beside(
        "cholesky",
        of(symmetric(0.6), {}, {"upper": True}),
        symmetrically(torch.linalg.cholesky),
    ),
    beside("eigh", of(symmetric(-0.8)), eigh),
    beside("eigvalsh", of(symmetric(-0.8)), symmetrically(torch.linalg.eigvalsh)),
    Beside("svd", of(rectangles()), ours=thin, theirs=svd),
    beside("svdvals", of(rectangles()), torch.linalg.svdvals),
    beside("pinv", of(rectangles(), {}, {"rtol": 1e-3}, {"atol": 1e-3}), torch.linalg.pinv),
    beside("matrix_power", of(regular(), *({"n": n} for n in range(-2, 7))), matrix_power),
]
