"""Recurrent networks: what one step does to a state, and many steps in a row.

The sequences of a batch may have different lengths. They are then packed: sorted from the longest
on, and their steps one after the other, (n_1 + n_2 + ..., D), where n_t sequences reach step t. A
batch of equally long ones is packed, too, and everything here works on packed sequences.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from tinygrad_cv._apply import F as T
from tinygrad_cv._apply import computed_in
from tinygrad_cv._inputs import public
from tinygrad_cv._public import TOP
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.ops.linalg import linear
from tinygrad_cv.ops.noise import dropout

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
    i, f, u, o = _parts(x + T.linear(h, w_hh, b_hh), 4)
    c = T.sigmoid(f) * c + T.sigmoid(i) * T.tanh(u)
    return T.sigmoid(o) * T.tanh(c), c


def _gru_step(x: Tensor, state: State, w_hh: Tensor, b_hh: Tensor | None) -> State:
    (h,) = state
    x_r, x_z, x_n = _parts(x, 3)
    h_r, h_z, h_n = _parts(T.linear(h, w_hh, b_hh), 3)
    n = T.tanh(x_n + T.sigmoid(x_r + h_r) * h_n)
    return (n + T.sigmoid(x_z + h_z) * (h - n),)


STEPS: dict[str, Step] = {
    "RNN_TANH": _tanh_step,
    "RNN_RELU": _relu_step,
    "LSTM": _lstm_step,
    "GRU": _gru_step,
}
"""What one step is, by PyTorch's name of the mode."""


def _parts(x: Tensor, number: int) -> list[Tensor]:
    """(N, number · H) as so many (N, H)."""
    width = x.shape[1] // number
    return [
        T.getitem(x, index=(slice(None), slice(i * width, (i + 1) * width))) for i in range(number)
    ]


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
