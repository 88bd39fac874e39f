"""Numbers beside arrays in an index, numbers as rows, and what is reduced, counted, attended to."""

import math
from typing import Any

import numpy as np
import torch
from hypothesis import assume
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel

import tinygrad_cv as tg
from beside_torch.call import Beside, Call
from rows.linalg import regular
from rows.shape import with_empty
from tinygrad_cv.testing.strategies import arrays, shapes


@st.composite
def mixed_indices(draw: Any) -> Call:
    """Slices, numbers, None and an ellipsis around integers of one shape, or a mask."""
    x = draw(arrays(shapes(2, 4, 1, 3)))
    size = draw(st.sampled_from(((2,), (1,), (3, 2))))
    parts: list[Any] = []
    for n in x.shape[: draw(st.integers(2, x.ndim))]:
        kind = draw(st.sampled_from(("number", "slice", "array")))
        rng = np.random.default_rng(draw(st.integers(0, 9)))
        if kind == "slice":
            parts.append(slice(draw(st.integers(0, n)), None, draw(st.integers(1, 2))))
        else:
            parts.append(draw(st.integers(-n, n - 1)))
            if kind == "array":
                parts[-1] = rng.integers(-n, n, size).tolist()
    if len(parts) < x.ndim and draw(st.booleans()):
        parts.append(...)
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), None)
    return Call((x,), {"index": tuple(parts)})


def indexed(x: Any, index: Any) -> Any:
    return x[index]


@st.composite
def rows_of_one(draw: Any) -> Call:
    return Call((draw(arrays(())), np.asarray(0 if draw(st.booleans()) else [0])))


@st.composite
def scattered(draw: Any) -> Call:
    """Values apart; PyTorch wants every source to be sent, and shares the gradient of an extreme
    with an element that does not take part but is equal."""
    lengths = draw(shapes(1))
    axis = draw(st.integers(-len(lengths), len(lengths) - 1))
    reached = [draw(st.integers(1, n)) for n in lengths]
    reached[axis] = draw(st.integers(1, 4))
    places = np.random.default_rng(draw(st.integers(0, 99))).integers(0, lengths[axis], reached)
    count = math.prod(lengths)
    both = draw(arrays((count + places.size,), distinct=True))
    x, src = both[:count].reshape(lengths), both[count:].reshape(reached)
    options = {"include_self": draw(st.booleans())}
    return Call((x, axis, places, src, draw(st.sampled_from(KINDS))), options)


KINDS = ("sum", "prod", "mean", "amax", "amin")


@st.composite
def along(draw: Any, **values: Any) -> Call:
    x = draw(arrays(shapes(1), **values))
    return Call((x, draw(st.integers(-x.ndim, x.ndim - 1))))


@st.composite
def differences(draw: Any) -> Call:
    (x, axis) = draw(along()).inputs
    return Call((x, draw(st.integers(0, 3)), axis))


@st.composite
def grids(draw: Any) -> Call:
    x = draw(arrays(shapes(1, 3, 3, 4)))
    options = {"spacing": draw(st.floats(0.1, 3.0)), "edge_order": draw(st.integers(1, 2))}
    return Call((x,), options)


@st.composite
def windows(draw: Any) -> Call:
    x = draw(arrays(shapes()))
    axis = draw(st.integers(-max(x.ndim, 1), max(x.ndim, 1) - 1))
    size = draw(st.integers(0, x.shape[axis] if x.ndim else 1))
    return Call((x, axis, size, draw(st.integers(1, 3))))


@st.composite
def counted(draw: Any) -> Call:
    x = np.asarray(np.rint(draw(arrays(with_empty()))))
    options: dict[str, Any] = {name: draw(st.booleans()) for name in RETURNS}
    if x.ndim and x.size and draw(st.booleans()):
        options["dim"] = draw(st.integers(-x.ndim, x.ndim - 1))
    return Call((x,), options)


RETURNS = ("return_inverse", "return_counts")


@st.composite
def questions(draw: Any) -> Call:
    wide = draw(shapes(0, 2, 1, 2))
    rows, keys, width = (draw(st.integers(1, 3)) for _ in range(3))
    inputs = [draw(arrays((*wide, n, width))) for n in (rows, keys, keys)]
    seen = np.random.default_rng(draw(st.integers(0, 99))).random((rows, keys)) < 0.6
    mask = draw(st.sampled_from((None, seen, np.where(seen, 0.5, -math.inf))))
    return Call((*inputs, mask), {"is_causal": mask is None and draw(st.booleans())})


def attention(q: Any, k: Any, v: Any, mask: Any, is_causal: bool) -> Any:
    with sdpa_kernel(SDPBackend.MATH):
        return torch.nn.functional.scaled_dot_product_attention(
            q, k, v, None if mask is None else mask.detach(), is_causal=is_causal
        )


def ours(q: Any, k: Any, v: Any, mask: Any, is_causal: bool) -> Any:
    mask = None if mask is None else mask.detach()
    return tg.scaled_dot_product_attention(q, k, v, mask, is_causal=is_causal)


ORDERS = ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf)


@st.composite
def normed(draw: Any) -> Call:
    x = draw(regular(draw(st.integers(1, 3)), draw(st.integers(1, 3))))
    return Call(
        (x, draw(st.sampled_from(ORDERS))), {"keepdim": draw(st.booleans()), "dim": (-2, -1)}
    )


@st.composite
def vectors(draw: Any) -> Call:
    x = draw(arrays(shapes(1), kinks=(0.0,)))
    order = draw(st.sampled_from((0.5, 1, 2, 3.5, -1, -2.5, math.inf, -math.inf)))
    assume(x.size)
    return Call((x, order, draw(st.integers(-x.ndim, x.ndim - 1))))


@st.composite
def factored(draw: Any) -> Call:
    return Call((draw(regular(draw(st.integers(1, 3)), draw(st.integers(1, 3)))),))


@st.composite
def fitted(draw: Any) -> Call:
    (x,) = draw(factored()).inputs
    return Call((x, draw(arrays((*x.shape[:-1], 2)))))


def solution(library: Any) -> Any:
    return lambda A, B: library.lstsq(A, B)[0]


def methods(name: str) -> Any:
    return lambda x, *args: getattr(x, name)(*args)


CALLS = [
    Beside("an index", mixed_indices(), indexed, indexed),
    Beside(
        "gather", rows_of_one(), lambda x, i: tg.gather(x, 0, i), lambda x, i: torch.gather(x, 0, i)
    ),
    Beside(
        "index_select",
        rows_of_one(),
        lambda x, i: tg.index_select(x, 0, i),
        lambda x, i: torch.index_select(x, 0, i),
    ),
    Beside("scatter_reduce", scattered()),
    Beside("cummax", along(distinct=True)),
    Beside("cummin", along(distinct=True)),
    Beside("diff", differences()),
    Beside("gradient", grids()),
    Beside("unfold", windows(), methods("unfold"), methods("unfold")),
    Beside("unique", counted(), gradients=False),
    Beside("unique_consecutive", counted(), gradients=False),
    Beside("scaled_dot_product_attention", questions(), ours, attention),
    Beside("matrix_norm", normed(), tg.linalg.matrix_norm, torch.linalg.matrix_norm),
    Beside("linalg.norm", normed(), tg.linalg.norm, torch.linalg.norm),
    Beside("vector_norm", vectors(), tg.linalg.vector_norm, torch.linalg.vector_norm),
    Beside("norm", vectors()),
    Beside("qr", factored(), tg.linalg.qr, torch.linalg.qr),
    Beside("lstsq", fitted(), solution(tg.linalg), solution(torch.linalg)),
]
