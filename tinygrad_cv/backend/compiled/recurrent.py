"""What the gates of a recurrent network make of a state, and the gradients of that, in one pass.

The formulas stand in `ops/recurrent.py`, each rule beside its forward. All arrays are rows without
gaps: the gates (N, 4H) or (N, 3H), whose parts lie one after the other in a row, states (N, H).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_cv.backend.compiled.elementwise import PART
from tinygrad_cv.backend.compiled.functions import Lanes, absolute, exp, function, sigmoid, tanh
from tinygrad_cv.backend.compiled.jit import kernel
from tinygrad_cv.backend.compiled.vectors import LANES, load_first, splat, store_first
from tinygrad_cv.backend.threads import parallel, split

Array = Any


@function
def slope(x: Lanes) -> Lanes:
    """σ'(x) = σ(x) · σ(-x)"""
    small = exp(-absolute(x))
    total = 1.0 + small
    return small / (total * total)


@function
def tanh_slope(x: Lanes) -> Lanes:
    """tanh'(x) = 4σ'(2x)"""
    return 4.0 * slope(2.0 * x)


@kernel
def _lstm(gates: Array, c: Array, h: Array, c_next: Array, H: int, start: int, stop: int) -> None:
    for row in range(start, stop):
        for j in range(0, H, LANES):
            n = min(LANES, H - j)
            at, a = row * H + j, row * 4 * H + j
            i, f = load_first(gates, a, n), load_first(gates, a + H, n)
            u, o = load_first(gates, a + 2 * H, n), load_first(gates, a + 3 * H, n)
            new = sigmoid(f) * load_first(c, at, n) + sigmoid(i) * tanh(u)
            store_first(c_next, at, new, n)
            store_first(h, at, sigmoid(o) * tanh(new), n)


@kernel
def _lstm_backward(
    g_h: Array,
    g_c: Array,
    gates: Array,
    c: Array,
    c_next: Array,
    d_gates: Array,
    d_c: Array,
    H: int,
    start: int,
    stop: int,
) -> None:
    for row in range(start, stop):
        for j in range(0, H, LANES):
            n = min(LANES, H - j)
            at, a = row * H + j, row * 4 * H + j
            i, f = load_first(gates, a, n), load_first(gates, a + H, n)
            u, o = load_first(gates, a + 2 * H, n), load_first(gates, a + 3 * H, n)
            new, gh = load_first(c_next, at, n), load_first(g_h, at, n)
            total = load_first(g_c, at, n) + gh * sigmoid(o) * tanh_slope(new)
            store_first(d_gates, a, total * tanh(u) * slope(i), n)
            store_first(d_gates, a + H, total * load_first(c, at, n) * slope(f), n)
            store_first(d_gates, a + 2 * H, total * sigmoid(i) * tanh_slope(u), n)
            store_first(d_gates, a + 3 * H, gh * tanh(new) * slope(o), n)
            store_first(d_c, at, total * sigmoid(f), n)


@kernel
def _gru(x: Array, y: Array, h: Array, out: Array, H: int, start: int, stop: int) -> None:
    for row in range(start, stop):
        for j in range(0, H, LANES):
            n = min(LANES, H - j)
            at, a = row * H + j, row * 3 * H + j
            r = sigmoid(load_first(x, a, n) + load_first(y, a, n))
            z = sigmoid(load_first(x, a + H, n) + load_first(y, a + H, n))
            m = tanh(load_first(x, a + 2 * H, n) + r * load_first(y, a + 2 * H, n))
            store_first(out, at, m + z * (load_first(h, at, n) - m), n)


@kernel
def _gru_backward(
    g: Array,
    x: Array,
    y: Array,
    h: Array,
    d_x: Array,
    d_y: Array,
    d_h: Array,
    H: int,
    start: int,
    stop: int,
) -> None:
    zero = splat(np.float32(0))
    for row in range(start, stop):
        for j in range(0, H, LANES):
            n = min(LANES, H - j)
            at, a = row * H + j, row * 3 * H + j
            to_r = load_first(x, a, n) + load_first(y, a, n)
            to_z = load_first(x, a + H, n) + load_first(y, a + H, n)
            y_n, r, up = load_first(y, a + 2 * H, n), sigmoid(to_r), load_first(g, at, n)
            to_m = load_first(x, a + 2 * H, n) + r * y_n
            g_m = up * sigmoid(zero - to_z) * tanh_slope(to_m)
            g_r = g_m * y_n * slope(to_r)
            g_z = up * (load_first(h, at, n) - tanh(to_m)) * slope(to_z)
            store_first(d_x, a, g_r, n)
            store_first(d_y, a, g_r, n)
            store_first(d_x, a + H, g_z, n)
            store_first(d_y, a + H, g_z, n)
            store_first(d_x, a + 2 * H, g_m, n)
            store_first(d_y, a + 2 * H, g_m * r, n)
            store_first(d_h, at, up * sigmoid(to_z), n)


KERNELS = {
    "lstm_gates": _lstm,
    "lstm_gates_backward": _lstm_backward,
    "gru_gates": _gru,
    "gru_gates_backward": _gru_backward,
}


def prepared(
    name: str, given: tuple[Array, ...], made: tuple[Array, ...]
) -> tuple[Callable[..., None], tuple[Any, ...]] | None:
    """A method of the backend as a kernel and all that it is called with, to be called often.

    None where it is more than one call: for arrays with gaps, or so many rows that they are shared
    out over the threads.
    """
    arrays = *given, *made
    number, width = made[-1].shape
    if len(_parts(made[-1])) > 1 or any(
        a.dtype != np.float32 or not a.flags.c_contiguous for a in arrays
    ):
        return None
    return KERNELS[name], (*(a.reshape(-1) for a in arrays), width, 0, number)


def _parts(state: Array) -> list[slice]:
    """Rows in parts that are worth a thread each."""
    return split(len(state), min(16, 4 * state.size // PART))


def _walk(step: Callable[..., None], given: tuple[Array, ...], made: tuple[Array, ...]) -> None:
    """`step` on all rows, over the threads where there are many; the last made is a state."""
    rows = [np.ascontiguousarray(a).reshape(-1) for a in given]
    rows += [a.reshape(-1) for a in made]
    number, width = made[-1].shape
    parts = _parts(made[-1])
    if len(parts) < 2:
        step(*rows, width, 0, number)
    else:
        parallel(lambda part: step(*rows, width, part.start, part.stop), parts)


def lstm_gates(gates: Array, c: Array) -> tuple[Array, Array]:
    """See `Backend.lstm_gates`."""
    made = np.empty(c.shape, c.dtype), np.empty(c.shape, c.dtype)
    _walk(_lstm, (gates, c), made)
    return made


def lstm_gates_backward(
    g_h: Array, g_c: Array, gates: Array, c: Array, c_next: Array
) -> tuple[Array, Array]:
    """See `Backend.lstm_gates_backward`."""
    made = np.empty(gates.shape, c.dtype), np.empty(c.shape, c.dtype)
    _walk(_lstm_backward, (g_h, g_c, gates, c, c_next), made)
    return made


def gru_gates(x: Array, y: Array, h: Array) -> Array:
    """See `Backend.gru_gates`."""
    out = np.empty(h.shape, h.dtype)
    _walk(_gru, (x, y, h), (out,))
    return out


def gru_gates_backward(g: Array, x: Array, y: Array, h: Array) -> tuple[Array, Array, Array]:
    """See `Backend.gru_gates_backward`."""
    made = np.empty(x.shape, h.dtype), np.empty(x.shape, h.dtype), np.empty(h.shape, h.dtype)
    _walk(_gru_backward, (g, x, y, h), made)
    return made
