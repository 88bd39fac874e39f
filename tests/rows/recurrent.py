"""Rows of the recurrent layers."""

from typing import Any

import numpy as np
import scipy.special
from hypothesis import strategies as st

from rows.row import Case, Row
from tinygrad_cv.testing.strategies import arrays


@st.composite
def gated(draw: Any, *parts: int) -> Case:
    """Inputs (N, k · H), for each of the parts one."""
    number, width = draw(st.integers(0, 3)), draw(st.integers(1, 2))
    return Case(tuple(draw(arrays((number, k * width), -3.0, 3.0)) for k in parts))


def lstm(gates: Any, c: Any) -> tuple[Any, Any]:
    i, f, u, o = np.split(gates, 4, axis=1)
    c = scipy.special.expit(f) * c + scipy.special.expit(i) * np.tanh(u)
    return scipy.special.expit(o) * np.tanh(c), c


def gru(x: Any, y: Any, h: Any) -> Any:
    (x_r, x_z, x_n), (y_r, y_z, y_n) = np.split(x, 3, axis=1), np.split(y, 3, axis=1)
    z = scipy.special.expit(x_z + y_z)
    return (1 - z) * np.tanh(x_n + scipy.special.expit(x_r + y_r) * y_n) + z * h


ROWS = [
    Row("lstm_gates", gated(4, 1), lstm),
    Row("gru_gates", gated(3, 3, 1), gru),
]
