"""Recurrent networks: what one step does to a state, and many steps in a row.

The sequences of a batch may have different lengths. They are then packed: sorted from the longest
on, and their steps one after the other, (n_1 + n_2 + ..., D), where n_t sequences reach step t. A
batch of equally long ones is packed, too, and everything here works on packed sequences.
"""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from tinygrad_cv._apply import F as T
from tinygrad_cv._apply import computed_in
from tinygrad_cv._inputs import public
from tinygrad_cv._op import Op
from tinygrad_cv._public import TOP
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.ops.activation import _bell, _sigmoid
from tinygrad_cv.ops.linalg import linear
from tinygrad_cv.ops.noise import dropout


class LstmGates(Op):
    """What the gates (N, 4H) = (i, f, u, o) make of a state c (N, H), both in one pass.

    c' = σ(f) · c + σ(i) · tanh u and h = σ(o) · tanh c'.
    """

    outputs = ("h", "c_next")
    real = True

    def forward(self, xp, gates, c):
        self.width = c.shape[1]
        if (made := xp.lstm_gates(gates, c)) is not None:
            return made
        # Each part by itself: its arrays stay in the cache, and in memory that is there already.
        i, f, u, o = _cut(gates, 4)
        c_next = _sigmoid(xp, f) * c + _sigmoid(xp, i) * xp.tanh(u)
        return _sigmoid(xp, o) * xp.tanh(c_next), c_next

    def flops(self, out, gates, c):
        return 6 * math.prod(gates)

    def grad_gates(self, F, g, gates, c, c_next):
        i, f, u, o = _parts(F, gates, 4, self.width)
        total = F.let("k", _through(F, g, o, c_next))
        return F.cat(
            total * F.tanh(u) * _slope(F, i),
            total * c * _slope(F, f),
            total * F.sigmoid(i) * (4 * _slope(F, 2 * u)),
            g[0] * F.tanh(c_next) * _slope(F, o),
            axis=1,
        )

    def grad_c(self, F, g, gates, c_next):
        _, f, _, o = _parts(F, gates, 4, self.width)
        return _through(F, g, o, c_next) * F.sigmoid(f)

    def fused(self, xp, g, gates, c, c_next):
        g_h, g_c = g
        if (made := xp.lstm_gates_backward(g_h, g_c, gates, c, c_next)) is not None:
            return made
        i, f, u, o = _cut(gates, 4)
        (i, slope_i), (f, slope_f), (o, slope_o) = (_with_slope(xp, part) for part in (i, f, o))
        total = g_c + g_h * o * (4 * _bell(xp, c_next, 2))
        parts = (
            total * xp.tanh(u) * slope_i,
            total * c * slope_f,
            total * i * (4 * _bell(xp, u, 2)),
            g_h * xp.tanh(c_next) * slope_o,
        )
        return xp.concatenate(parts, axis=1), total * f


class GruGates(Op):
    """The next state of x = w_ih input + b_ih, y = w_hh h + b_hh (N, 3H each) and h (N, H).

    With the parts r, z, n of x and y it is (1 - σ(x_z + y_z)) · m + σ(x_z + y_z) · h, where m is
    tanh(x_n + σ(x_r + y_r) · y_n).
    """

    real = True

    def forward(self, xp, x, y, h):
        self.width = h.shape[1]
        if (made := xp.gru_gates(x, y, h)) is not None:
            return made
        (x_r, x_z, x_n), (y_r, y_z, y_n) = _cut(x, 3), _cut(y, 3)
        n = xp.tanh(x_n + _sigmoid(xp, x_r + y_r) * y_n)
        return n + _sigmoid(xp, x_z + y_z) * (h - n)

    def flops(self, out, x, y, h):
        return 6 * math.prod(x)

    def _shares(self, F, g, x, y, h):
        """The gradients of x_r, x_z and x_n."""
        (x_r, x_z, x_n), (y_r, y_z, y_n) = _parts(F, x, 3, self.width), _parts(F, y, 3, self.width)
        r, z = F.let("r", x_r + y_r), F.let("z", x_z + y_z)
        n = F.let("n", x_n + F.sigmoid(r) * y_n)
        g_n = F.let("m", g * F.sigmoid(-z) * (4 * _slope(F, 2 * n)))
        return g_n * y_n * _slope(F, r), g * (h - F.tanh(n)) * _slope(F, z), g_n

    def grad_x(self, F, g, x, y, h):
        return F.cat(*self._shares(F, g, x, y, h), axis=1)

    def grad_y(self, F, g, x, y, h):
        g_r, g_z, g_n = self._shares(F, g, x, y, h)
        r = _parts(F, x, 3, self.width)[0] + _parts(F, y, 3, self.width)[0]
        return F.cat(g_r, g_z, g_n * F.sigmoid(r), axis=1)

    def grad_h(self, F, g, x, y):
        return g * F.sigmoid(_parts(F, x, 3, self.width)[1] + _parts(F, y, 3, self.width)[1])

    def fused(self, xp, g, x, y, h):
        if (made := xp.gru_gates_backward(g, x, y, h)) is not None:
            return made
        (x_r, x_z, x_n), (y_r, y_z, y_n) = _cut(x, 3), _cut(y, 3)
        gate = x_z + y_z
        (r, slope_r), (z, slope_z) = _with_slope(xp, x_r + y_r), _with_slope(xp, gate)
        n = x_n + r * y_n
        g_n = g * _sigmoid(xp, -gate) * (4 * _bell(xp, n, 2))
        g_r, g_z = g_n * y_n * slope_r, g * (h - xp.tanh(n)) * slope_z
        g_x = xp.concatenate((g_r, g_z, g_n), axis=1)
        return g_x, xp.concatenate((g_r, g_z, g_n * r), axis=1), g * z


def _cut(x, number):
    """An array (N, number · H) as so many (N, H)."""
    width = x.shape[1] // number
    return [x[:, i * width : (i + 1) * width] for i in range(number)]


def _with_slope(xp, x):
    """σ(x) and its derivative."""
    small = xp.exp(-xp.abs(x))
    total = 1 + small
    return xp.exp(xp.minimum(x, 0)) / total, small / (total * total)


def _parts(F, x, number, width):
    """The same in any reading of a rule."""
    return [
        F.getitem(x, index=(slice(None), slice(i * width, (i + 1) * width))) for i in range(number)
    ]


def _slope(F, x):
    """The derivative of σ. That of tanh x is 4σ'(2x)."""
    return F.sigmoid(x) * F.sigmoid(-x)


def _through(F, g, o, c_next):
    """The gradient of c', by itself and by way of h."""
    g_h, g_c = g
    return g_c + g_h * F.sigmoid(o) * (4 * _slope(F, 2 * c_next))


State = tuple[Tensor, ...]
"""(h,), or (h, c) of an LSTM; each (N, H)."""

Step = Callable[[Tensor, State, Tensor, Tensor | None], State]
"""From w_ih x + b_ih, a state, w_hh and b_hh to the next state."""


def _tanh_step(x: Tensor, state: State, w_hh: Tensor, b_hh: Tensor | None) -> State:
    return (T.tanh(x + T.linear(state[0], w_hh, b_hh)),)


def _relu_step(x: Tensor, state: State, w_hh: Tensor, b_hh: Tensor | None) -> State:
    return (T.relu(x + T.linear(state[0], w_hh, b_hh)),)


def _lstm_step(x: Tensor, state: State, w_hh: Tensor, b_hh: Tensor | None) -> State:
    h, c = state
    h, c = T.lstm_gates(x + T.linear(h, w_hh, b_hh), c)
    return h, c


def _gru_step(x: Tensor, state: State, w_hh: Tensor, b_hh: Tensor | None) -> State:
    (h,) = state
    return (T.gru_gates(x, T.linear(h, w_hh, b_hh), h),)


STEPS: dict[str, Step] = {
    "RNN_TANH": _tanh_step,
    "RNN_RELU": _relu_step,
    "LSTM": _lstm_step,
    "GRU": _gru_step,
}
"""What one step is, by PyTorch's name of the mode."""


# ----- one step ----------------------------------------------------------------------------------


@public(TOP)
@computed_in("float32")
def rnn_tanh_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """The next state tanh(w_ih x + b_ih + w_hh h + b_hh) (Elman, 1990).

    input (N, D) or (D,), hx (N, H) or (H,), w_ih (H, D), w_hh (H, H) -> the shape of hx.

    >>> rnn_tanh_cell(Tensor([1.0]), Tensor([0.0]), Tensor([[0.5]]), Tensor([[1.0]]))
    tensor([0.4621])
    """
    return _one_step("RNN_TANH", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


@public(TOP)
@computed_in("float32")
def rnn_relu_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """The next state max(0, w_ih x + b_ih + w_hh h + b_hh); see `rnn_tanh_cell`.

    >>> rnn_relu_cell(Tensor([1.0]), Tensor([2.0]), Tensor([[0.5]]), Tensor([[1.0]]))
    tensor([2.5])
    """
    return _one_step("RNN_RELU", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


@public(TOP)
@computed_in("float32")
def gru_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """The next state (1 - z) · n + z · h of a gated recurrent unit (Cho et al., 2014).

    With the rows of the weights in three parts, r, z and n, where r and z are
    σ(w_ih x + b_ih + w_hh h + b_hh) and n is tanh(w_ih x + b_ih + r · (w_hh h + b_hh)).

    input (N, D) or (D,), hx (N, H) or (H,), w_ih (3H, D), w_hh (3H, H) -> the shape of hx.

    >>> gru_cell(Tensor([1.0]), Tensor([1.0]), Tensor([[0.0]] * 3), Tensor([[0.0]] * 3))
    tensor([0.5])
    """
    return _one_step("GRU", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


@public(TOP)
@computed_in("float32")
def lstm_cell(
    input: Tensor,
    hx: Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The next state (h, c) of a long short-term memory (Hochreiter and Schmidhuber, 1997).

    c' = σ(f) · c + σ(i) · tanh u and h' = σ(o) · tanh c', where i, f, u and o are the four parts of
    w_ih x + b_ih + w_hh h + b_hh.

    input (N, D) or (D,), hx = (h, c), each (N, H) or (H,), w_ih (4H, D), w_hh (4H, H).

    >>> w = Tensor([[0.0]] * 4)
    >>> lstm_cell(Tensor([1.0]), (Tensor([1.0]), Tensor([1.0])), w, w)
    (tensor([0.2311]), tensor([0.5]))
    """
    h, c = _one_step("LSTM", input, tuple(hx), w_ih, w_hh, b_ih, b_hh)
    return h, c


def _one_step(
    mode: str,
    input: Tensor,
    state: State,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
) -> State:
    single = input.ndim == 1
    batch = input.shape[:-1]
    if input.ndim not in (1, 2) or any(s.shape != (*batch, w_hh.shape[1]) for s in state):
        raise ValueError(
            f"expected an input (N, {w_ih.shape[1]}) with a state (N, {w_hh.shape[1]}), or without "
            f"the N; got {input.shape} with {', '.join(str(s.shape) for s in state)}."
        )
    if single:
        input = T.reshape(input, shape=(1, -1))
        state = tuple(T.reshape(s, shape=(1, -1)) for s in state)
    state = STEPS[mode](linear(input, w_ih, b_ih), state, w_hh, b_hh)
    return tuple(T.reshape(s, shape=(-1,)) for s in state) if single else state


# ----- many steps --------------------------------------------------------------------------------


def recurrent(
    mode: str,
    data: Tensor,
    sizes: Sequence[int],
    state: State,
    weights: Sequence[Sequence[Tensor]],
    directions: int = 1,
    p: float = 0.0,
    generator: Any = None,
) -> tuple[Tensor, State]:
    """Layers on layers over packed sequences: data (Σ sizes, D) -> (Σ sizes, directions · H).

    `state` holds the first states, (layers · directions, N, H) each; the last ones come out in that
    shape. `weights` are those of each layer and direction: w_ih, w_hh, then b_ih and b_hh, then the
    projection w_hr, if there are any. Between layers a share `p` is dropped.
    """
    last: list[State] = []
    for first in range(0, len(weights), directions):
        if first and p:
            data = dropout(data, p, generator=generator)
        outs = []
        for k in range(first, first + directions):
            start = tuple(T.getitem(s, index=(k,)) for s in state)
            out, end = _one_way(STEPS[mode], data, sizes, start, *weights[k], back=k > first)
            outs.append(out)
            last.append(end)
        data = outs[0] if directions == 1 else T.cat(*outs, axis=1)
    return data, tuple(T.stack(*parts, axis=0) for parts in zip(*last, strict=True))


def _one_way(
    step: Step,
    data: Tensor,
    sizes: Sequence[int],
    start: State,
    w_ih: Tensor,
    w_hh: Tensor,
    *others: Tensor,
    back: bool,
) -> tuple[Tensor, State]:
    """One layer in one direction. The inputs of all steps are projected in one product."""
    b_ih, b_hh = others[:2] if len(others) > 1 else (None, None)
    w_hr = others[-1] if len(others) % 2 else None
    if b_ih is not None and step is not _gru_step:  # they are only ever added up
        b_ih, b_hh = b_ih + b_hh, None
    xs = linear(data, w_ih, b_ih)
    ends = [*accumulate(sizes)]
    outs: list[Tensor] = []
    over: list[State] = []  # the states of sequences that have ended
    state = tuple(_rows(s, 0, sizes[-1]) for s in start) if back else start
    for end, size in (
        reversed([*zip(ends, sizes, strict=True)]) if back else zip(ends, sizes, strict=True)
    ):
        here = len(state[0])
        if size > here:  # from behind, a sequence begins
            state = tuple(
                T.cat(s, _rows(s0, here, size), axis=0) for s, s0 in zip(state, start, strict=True)
            )
        elif size < here:
            over.append(tuple(_rows(s, size, here) for s in state))
            state = tuple(_rows(s, 0, size) for s in state)
        state = step(_rows(xs, end - size, end), state, w_hh, b_hh)
        if w_hr is not None:
            state = (T.linear(state[0], w_hr), *state[1:])
        outs.append(state[0])
    if over:
        parts = zip(state, *reversed(over), strict=True)
        state = tuple(T.cat(*part, axis=0) for part in parts)
    return T.cat(*(reversed(outs) if back else outs), axis=0), state


def _rows(x: Tensor, start: int, end: int) -> Tensor:
    return x if (start, end) == (0, len(x)) else T.getitem(x, index=(slice(start, end),))
