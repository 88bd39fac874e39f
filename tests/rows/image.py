"""Rows of the ops that change the geometry of images."""

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from rows.row import Case, Row
from tinygrad_cv.testing.strategies import arrays, shapes

Array = NDArray[Any]

METHODS = ("nearest", "nearest-exact", "linear", "cubic", "area")

# ----- one line of pixels -------------------------------------------------------------------------


def cubic(t: float) -> float:
    """Keys' kernel for a = -0.75, as he writes it."""
    a, t = -0.75, abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def pixel(line: Array, i: int, size: int, step: float, mode: str, aligned: bool) -> Any:
    """Output i of `size` from a line of pixels."""
    n = len(line)
    if mode in ("nearest", "nearest-exact"):
        middle = 0.5 if mode == "nearest-exact" else 0.0
        return line[min(math.floor(np.float32(i + middle) * np.float32(step)), n - 1)]
    if mode == "area":
        return np.mean(line[math.floor(i * n / size) : math.ceil((i + 1) * n / size)])
    s = step * i if aligned else step * (i + 0.5) - 0.5
    if mode == "linear":
        return np.interp(s, range(n), line)
    first = math.floor(s) - 1
    return sum(line[min(max(j, 0), n - 1)] * cubic(s - j) for j in range(first, first + 4))


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
    aligned = mode in ("linear", "cubic") and draw(st.booleans())
    if aligned:
        step = (length - 1) / (size - 1) if size > 1 else 0.0
    else:
        step = draw(st.sampled_from((length / size, length / size, 0.75 * length / size)))
    return {"size": size, "step": step, "mode": mode, "aligned": aligned}


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


ROWS = [
    Row("resample", resamplings(), resample, exact="linear"),
    Row("resample_transpose", transposed(), resample_transpose, exact="linear"),
]
