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
    w, b = (draw(st.none() | broadcast(shape)) for _ in "wb")
    return Case((x, w, b), {"axis": tuple(axes), "eps": draw(st.sampled_from((1e-5, 1e-3, 0.1)))})


@st.composite
def broadcast(draw: Any, shape: tuple[int, ...]) -> Any:
    """An array that broadcasts to a shape."""
    own = [draw(st.sampled_from((1, n))) for n in shape]
    return draw(arrays(tuple(own[draw(st.integers(0, len(shape))) :])))


@st.composite
def by_size(draw: Any) -> Case:
    shape = draw(shapes(1, 3, 1, 4))
    axes = tuple(range(draw(st.integers(0, len(shape) - 1)), len(shape)))
    x, w = draw(arrays(shape, 0.3, 2.0)), draw(st.none() | broadcast(shape))
    return Case((x, w), {"axis": axes, "eps": draw(st.sampled_from((1e-5, 0.1)))})


def rms_norm(x: Any, w: Any, axis: tuple[int, ...], eps: float) -> Any:
    """Vectors over the last axes by their length, which is √n times the root of the mean."""
    rows = x.reshape(*x.shape[: axis[0]], -1)
    length = np.apply_along_axis(lambda row: math.hypot(*row), -1, rows)[..., None]
    y = rows / np.hypot(length / math.sqrt(rows.shape[-1]), math.sqrt(eps))
    return y.reshape(x.shape) * (1 if w is None else w)


@st.composite
def responses(draw: Any) -> Case:
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 5)), *draw(shapes(1, 2, 1, 3)))
    attributes = {
        "size": draw(st.integers(1, 6)),
        "share": draw(st.sampled_from((0.1, 0.5))),
        "beta": draw(st.sampled_from((0.5, 0.75, 1.0))),
        "k": draw(st.sampled_from((1.0, 2.0))),
    }
    return Case((draw(arrays(shape)),), attributes)


def local_response_norm(x: Any, size: int, share: float, beta: float, k: float) -> Any:
    y = np.empty(x.shape)
    for n, c, *place in np.ndindex(x.shape):
        window = range(c - size // 2, c - size // 2 + size)
        total = sum(x[n, j, *place] ** 2 for j in window if 0 <= j < x.shape[1])
        y[n, c, *place] = x[n, c, *place] / (k + share * total) ** beta
    return y


@st.composite
def vectors(draw: Any) -> Case:
    """Longer than eps, or all of them shorter."""
    shape = draw(shapes(1, 3, 1, 4))
    x = draw(arrays(shape, 0.3, 2.0))
    axis = draw(st.none() | st.integers(0, len(shape) - 1).map(lambda i: (i,)))
    return Case((x,), {"axis": axis, "eps": draw(st.sampled_from((1e-12, 0.1, 100.0)))})


@st.composite
def scaled(draw: Any) -> Case:
    """(N, C), (N, C, L) and (N, C, H, W), with numbers for each channel."""
    shape = draw(shapes(2, 4, 1, 3))
    center, scale = (draw(arrays(shape[1:2])) for _ in "cs")
    return Case((draw(arrays(shape)), center, scale, draw(st.none() | arrays(shape[1:2]))), {})


def scale_channels(x: Any, center: Any, scale: Any, shift: Any) -> Any:
    y = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        c = place[1]
        y[place] = (x[place] - center[c]) * scale[c] + (0 if shift is None else shift[c])
    return y


def normalize(x: Any, axis: Any, eps: float) -> Any:
    return x / np.maximum(np.sqrt(np.square(x).sum(axis, keepdims=True)), eps)


def standardize(x: Any, w: Any, b: Any, axis: tuple[int, ...], eps: float) -> Any:
    """Each group by itself, in Python's own arithmetic."""
    y = np.empty(x.shape)
    for place in np.ndindex(*(1 if i in axis else n for i, n in enumerate(x.shape))):
        group = tuple(slice(None) if i in axis else j for i, j in enumerate(place))
        values = x[group].ravel().tolist()
        mean = math.fsum(values) / len(values)
        var = math.fsum((v - mean) ** 2 for v in values) / len(values)
        y[group] = (x[group] - mean) / math.sqrt(var + eps)
    return y * (1 if w is None else w) + (0 if b is None else b)


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
    Row("rms_norm", by_size(), rms_norm),
    Row("scale_channels", scaled(), scale_channels),
    Row("local_response_norm", responses(), local_response_norm),
    Row("normalize", vectors(), normalize),
    Row(
        "subtract_mean",
        centered(),
        lambda x, axis: x - x.mean(axis, keepdims=True),
        exact="linear",
    ),
]
