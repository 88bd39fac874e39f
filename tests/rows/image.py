"""Rows of the ops that change the geometry of images."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from rows.row import Case, Row
from tinygrad_cv.testing.strategies import arrays, shapes

Array = NDArray[Any]

METHODS = ("nearest", "nearest-exact", "linear", "cubic", "area")

# ----- one line of pixels -------------------------------------------------------------------------


def cubic(t: Fraction, a: Fraction) -> Fraction:
    """Keys' kernel, as he writes it."""
    t = abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else Fraction(0)


def shares(
    n: int, i: int, size: int, step: Fraction, mode: str, aligned: bool, antialias: bool
) -> dict[int, Fraction]:
    """What output i of `size` takes of each of n pixels, exactly; nothing is left out."""
    half, one = Fraction(1, 2), Fraction(1)
    if mode in ("nearest", "nearest-exact"):
        middle = half if mode == "nearest-exact" else 0
        return {min(math.floor((i + middle) * step), n - 1): one}
    if mode == "area":
        touched = range(math.floor(Fraction(i * n, size)), math.ceil(Fraction((i + 1) * n, size)))
        return dict.fromkeys(touched, one / len(touched))
    s = step * i if aligned else step * (i + half) - half
    wide = max(step, one) if antialias else one
    found: dict[int, Fraction] = {}
    for j in range(math.floor(s - 2 * wide), math.ceil(s + 2 * wide) + 1):
        d = (j - s) / wide
        tent = max(1 - abs(d), Fraction(0))
        weight = tent if mode == "linear" else cubic(d, -half if antialias else Fraction(-3, 4))
        if antialias and not 0 <= j < n:
            continue  # there is nothing: the others share all
        place = min(max(j, 0), n - 1)
        found[place] = found.get(place, Fraction(0)) + weight
    whole = sum(found.values())
    return {j: weight / whole for j, weight in found.items() if weight}


def pixel(line: Array, i: int, size: int, step: Any, mode: str, **how: bool) -> Any:
    """Output i of `size` from a line of pixels."""
    how = {"aligned": False, "antialias": False, **how}
    given = shares(len(line), i, size, Fraction(*step), mode, **how)
    return sum(line[j] * line.dtype.type(weight) for j, weight in given.items())


def resample(x: Array, axis: int, size: int, **how: Any) -> Array:
    def line(values: Array) -> Array:
        return np.array([pixel(values, i, size, **how) for i in range(size)], x.dtype)

    return np.apply_along_axis(line, axis, x)


def resample_transpose(x: Array, axis: int, length: int, **how: Any) -> Array:
    """Element j is the product of x and of what becomes of a line with a 1 at j."""
    y = np.empty((*x.shape[:axis], length, *x.shape[axis + 1 :]))
    for j in range(length):
        response = resample(np.eye(length)[j], axis=0, **how)
        y[(slice(None),) * axis + (j,)] = np.tensordot(x, response, (axis, 0))
    return y


# ----- calls to try -------------------------------------------------------------------------------


@st.composite
def resizings(draw: Any, length: int) -> dict[str, Any]:
    """The attributes of resample for a line of this length."""
    mode = draw(st.sampled_from(METHODS))
    size = draw(st.integers(1, 6))
    smooth = mode in ("linear", "cubic")
    aligned = smooth and draw(st.booleans())
    if aligned:
        step = Fraction(length - 1, size - 1) if size > 1 else Fraction(0)
    else:
        step = draw(st.sampled_from((1, 1, Fraction(3, 4)))) * Fraction(length, size)
    return {
        "size": size,
        "step": step.as_integer_ratio(),
        "mode": mode,
        "aligned": aligned,
        "antialias": smooth and draw(st.booleans()),
    }


@st.composite
def resamplings(draw: Any) -> Case:
    x = draw(arrays(shapes(1, 4)))
    axis = draw(st.integers(0, x.ndim - 1))
    return Case((x,), {"axis": axis, **draw(resizings(x.shape[axis]))})


@st.composite
def transposed(draw: Any) -> Case:
    shape = list(draw(shapes(1, 4)))
    axis = draw(st.integers(0, len(shape) - 1))
    how = draw(resizings(shape[axis]))
    length, shape[axis] = shape[axis], how["size"]
    return Case((draw(arrays(shape)),), {"axis": axis, "length": length, **how})


@st.composite
def samples(draw: Any) -> tuple[Array, Array, Array, Array]:
    """x (N, C, P), w (N, K, L) with some zeros, d (N, C, L) and places (N, K, L) in x."""
    n, c, p, k, rows = (draw(st.integers(1, most)) for most in (2, 2, 4, 3, 3))
    x, w, d = (draw(arrays(shape)) for shape in ((n, c, p), (n, k, rows), (n, c, rows)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return x, w, d, rng.integers(0, p, w.shape)


def sample(x: Array, w: Array, index: Array) -> Array:
    y = np.zeros((len(x), x.shape[1], w.shape[2]))
    for n, k, i in np.ndindex(*w.shape):
        y[n, :, i] += w[n, k, i] * x[n, :, index[n, k, i]]
    return y


def sample_transpose(d: Array, w: Array, index: Array, length: int) -> Array:
    x = np.zeros((*d.shape[:2], length))
    for n, k, i in np.ndindex(*w.shape):
        x[n, :, index[n, k, i]] += w[n, k, i] * d[n, :, i]
    return x


def sample_weight(x: Array, d: Array, index: Array) -> Array:
    w = np.empty(index.shape)
    for n, k, i in np.ndindex(*w.shape):
        w[n, k, i] = x[n, :, index[n, k, i]] @ d[n, :, i]
    return w


ROWS = [
    Row("sample", samples().map(lambda s: Case((s[0], s[1], s[3]), {})), sample, exact="linear"),
    Row(
        "sample_transpose",
        samples().map(lambda s: Case((s[2], s[1], s[3]), {"length": s[0].shape[2]})),
        sample_transpose,
        exact="linear",
    ),
    Row(
        "sample_weight",
        samples().map(lambda s: Case((s[0], s[2], s[3]), {})),
        sample_weight,
        exact="linear",
    ),
    Row("resample", resamplings(), resample, exact="linear"),
    Row("resample_transpose", transposed(), resample_transpose, exact="linear"),
]
