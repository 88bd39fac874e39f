"""Rows of normalization."""

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

import oracles
from rows.row import Case, Row
from tinygrad_cv.testing.strategies import arrays, shapes


@st.composite
def batches(draw: Any) -> Case:
    """(N, C), (N, C, L) and (N, C, H, W); each channel has several values, none of them equal.

    Equal values would have the variance 0, where 1 / √(var + eps) bends too sharply to be measured.
    """
    space = draw(shapes(0, 2, 1, 3))
    least = math.ceil(3 / math.prod(space))
    shape = (draw(st.integers(least, 4)), draw(st.integers(1, 3)), *space)
    x = draw(arrays(shape, distinct=True))
    w, b = (draw(st.none() | arrays(shape[1:2])) for _ in "wb")
    return Case((x, w, b), {"eps": draw(st.sampled_from((1e-5, 1e-3, 0.1)))})


@st.composite
def standardized(draw: Any) -> Case:
    """Any axes with at least 3 elements, none of them equal; the values near 0 or far from it."""
    shape = draw(shapes(1, 3, 1, 4))
    axes = draw(st.permutations(range(len(shape))))[: draw(st.integers(1, len(shape)))]
    first = axes[0]
    least = math.ceil(3 / math.prod(shape[i] for i in axes if i != first))
    shape = tuple(max(n, least) if i == first else n for i, n in enumerate(shape))
    x = draw(arrays(shape, distinct=True)) + draw(st.sampled_from((0.0, 100.0)))
    return Case((x,), {"axis": tuple(axes), "eps": draw(st.sampled_from((1e-5, 1e-3, 0.1)))})


def standardize(x: Any, axis: tuple[int, ...], eps: float) -> Any:
    """Each group by itself, in Python's own arithmetic."""
    y = np.empty(x.shape)
    for place in np.ndindex(*(1 if i in axis else n for i, n in enumerate(x.shape))):
        group = tuple(slice(None) if i in axis else j for i, j in enumerate(place))
        values = x[group].ravel().tolist()
        mean = math.fsum(values) / len(values)
        var = math.fsum((v - mean) ** 2 for v in values) / len(values)
        y[group] = (x[group] - mean) / math.sqrt(var + eps)
    return y


@st.composite
def centered(draw: Any) -> Case:
    shape = draw(shapes())
    axes = draw(st.none() | st.permutations(range(len(shape))).map(lambda axes: tuple(axes[:2])))
    return Case((draw(arrays(shape)),), {"axis": axes if shape else None})


ROWS = [
    Row(
        "batch_norm",
        batches(),
        lambda x, w, b, eps: oracles.batch_norm_train(x, w, b, eps)[0],
    ),
    Row("standardize", standardized(), standardize),
    Row(
        "subtract_mean",
        centered(),
        lambda x, axis: x - x.mean(axis, keepdims=True),
        exact="linear",
    ),
]
