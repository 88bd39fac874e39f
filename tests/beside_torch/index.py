"""Indexing by functions."""

from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from beside_torch.call import Beside, Call
from rows.index import distinct
from rows.shape import with_empty
from tinygrad_cv.ops import index
from tinygrad_cv.testing.strategies import arrays, shapes


@st.composite
def lines(draw: Any, once: bool, slices: bool, **options: Any) -> Call:
    """An axis, places along it, and a slice for each of them."""
    shape = list(draw(shapes(1)))
    dim = draw(st.integers(0, len(shape) - 1))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    n = shape[dim]
    places = rng.permutation(n)[: rng.integers(n + 1)] if once else rng.integers(0, n, n + 2)
    x = draw(arrays(shape))
    dim -= draw(st.sampled_from((0, len(shape))))
    if not slices:
        return Call((x, dim, places, *options.pop("last", ())), options)
    shape[dim] = len(places)
    return Call((x, dim, places, draw(arrays(shape))), options)


@st.composite
def along(draw: Any, once: bool, source: bool, *last: Any) -> Call:
    """An index in the shape of a part of x, and a source in the shape of the index."""
    x = draw(arrays(shapes(1)))
    dim = draw(st.integers(0, x.ndim - 1))
    shape = [draw(st.integers(1, n)) for n in x.shape]
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    n, k = x.shape[dim], shape[dim] if once else shape[dim] + 2
    lines = np.broadcast_to(np.arange(n), (*shape[:dim], *shape[dim + 1 :], n))
    places = (
        rng.permuted(lines, axis=-1)[..., :k]
        if once
        else rng.integers(0, n, (*lines.shape[:-1], k))
    )
    places = np.moveaxis(places, -1, dim)
    dim -= draw(st.sampled_from((0, x.ndim)))
    return Call((x, dim, places, *([draw(arrays(places.shape))] if source else []), *last))


@st.composite
def masked(draw: Any, *last: Any) -> Call:
    x = draw(arrays(with_empty()))
    mask = np.random.default_rng(draw(st.integers(0, 99))).random(x.shape) < 0.5
    if x.ndim and draw(st.booleans()):
        mask = mask[:1]
    return Call((x, np.asarray(mask), *last))


@st.composite
def replaced(draw: Any, accumulate: bool) -> Call:
    x = draw(arrays(shapes(2, 3)))
    first, second = draw(distinct(x.shape[0])), draw(distinct(x.shape[1]))
    first, second = first.reshape(-1, 1), second.reshape(-1)
    values = draw(arrays((first.size, second.size, *x.shape[2:])))
    return Call((x, first, second, values, accumulate))


@st.composite
def taken(draw: Any) -> Call:
    x = draw(arrays(shapes()))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return Call((x, np.asarray(rng.integers(-x.size, x.size, draw(shapes(0, 2))))))


@st.composite
def with_axes(draw: Any, *names: str, least: int, extra: int = 0) -> Call:
    """An array, a diagonal, and two axes of the array or of the result."""
    x = draw(arrays(with_empty(least, 3)))
    count = x.ndim + extra
    axes = draw(st.permutations(range(count)))[:2]
    dims = [axis - draw(st.sampled_from((0, count))) for axis in axes]
    return Call((x,), dict(zip(names, (draw(st.integers(-3, 3)), *dims), strict=False)))


@st.composite
def parts(draw: Any) -> Call:
    x = draw(arrays(shapes(1)))
    dim = draw(st.integers(-x.ndim, x.ndim - 1))
    start = draw(st.integers(-x.shape[dim], x.shape[dim] - 1))
    return Call((x, dim, start, draw(st.integers(0, x.shape[dim] - start % x.shape[dim]))))


@st.composite
def elements(draw: Any) -> Call:
    x = draw(arrays(shapes(1)))
    dim = draw(st.integers(-x.ndim, x.ndim - 1))
    return Call((x, dim, draw(st.integers(-x.shape[dim], x.shape[dim] - 1))))


@st.composite
def embedded(draw: Any) -> Call:
    rows = draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    words = np.asarray(rng.integers(0, rows, draw(with_empty(0, 2))))
    weight = draw(arrays((rows, draw(st.integers(1, 3)))))
    return Call((words, weight), {"padding_idx": draw(st.none() | st.integers(-rows, rows - 1))})


@st.composite
def classes(draw: Any) -> Call:
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    labels = np.asarray(rng.integers(0, 4, draw(shapes())))
    return Call((labels,), {"num_classes": draw(st.sampled_from((-1, 4, 6)))})


@st.composite
def sparse(draw: Any, **options: Any) -> Call:
    return Call((np.asarray(draw(arrays(with_empty())).round()),), options)


CALLS = [
    Beside(
        "diag", with_axes("diagonal", least=1).filter(lambda c: c.inputs[0].ndim < 3), index.diag
    ),
    Beside("diag_embed", with_axes("offset", "dim1", "dim2", least=1, extra=1), index.diag_embed),
    Beside("diagonal", with_axes("offset", "dim1", "dim2", least=2), index.diagonal),
    Beside("embedding", embedded(), index.embedding),
    Beside("gather", along(False, False), index.gather),
    Beside("index_add", lines(False, True, alpha=-0.5), index.index_add),
    Beside("index_copy", lines(True, True), index.index_copy),
    Beside("index_fill", lines(True, False, last=(2.5,)), index.index_fill),
    Beside(
        "index_put",
        replaced(False) | replaced(True),
        lambda x, i, j, values, accumulate: index.index_put(x, (i, j), values, accumulate),
        lambda x, i, j, values, accumulate: torch.index_put(x, (i, j), values, accumulate),
    ),
    Beside("index_select", lines(False, False), index.index_select),
    Beside("masked_fill", masked(2.5), index.masked_fill),
    Beside("masked_select", masked(), index.masked_select),
    Beside("narrow", parts(), index.narrow),
    Beside("nonzero", sparse() | sparse(as_tuple=True), index.nonzero),
    Beside("argwhere", sparse(), index.argwhere),
    Beside("one_hot", classes(), index.one_hot),
    Beside("scatter", along(True, True), index.scatter),
    Beside("scatter: a value", along(True, False, 2.5), index.scatter, torch.scatter),
    Beside("scatter_add", along(False, True), index.scatter_add),
    Beside("select", elements(), index.select, torch.select),
    Beside("take", taken(), index.take),
    Beside("tril", with_axes("diagonal", least=2), index.tril),
    Beside("triu", with_axes("diagonal", least=2), index.triu),
]
