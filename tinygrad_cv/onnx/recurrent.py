"""Recurrent operators: a layer that goes through a sequence one way, the other way, or both."""

from collections.abc import Sequence
from typing import Any

import tinygrad_cv as tg
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.onnx.operators import operator, room
from tinygrad_cv.ops.recurrent import recurrent

USUAL = {
    "RNN": (["Tanh"], ["Relu"]),
    "GRU": (["Sigmoid", "Tanh"],),
    "LSTM": (["Sigmoid", "Tanh", "Tanh"],),
}
"""The activations that a layer can have here, one after the other."""

ORDERS = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 2, 3, 1)}
"""The gates of ONNX, z r h and i o f c, in the order of ours: r z n and i f u o."""

Strings = Sequence[str] | None
Floats = Sequence[float] | None


def _layer(
    kind: str,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None,
    states: tuple[Tensor | None, ...],
    direction: str,
    layout: int,
    refused: dict[str, Any],
    activations: Strings,
    reset_first: bool = False,
) -> Any:
    """The outputs of a layer: of all steps (T, ways, N, H), and the last of each state.

    With `reset_first` a GRU resets the state before it is multiplied, and not the product.
    """
    if wrong := [
        name for name, value in refused.items() if isinstance(value, Tensor | list) or value
    ]:
        raise NotImplementedError(f"{kind} with {wrong[0]} cannot be imported.")
    ways, rows, width = w.shape[0], w.shape[1], r.shape[2]
    names = [name.capitalize() for name in activations or USUAL[kind][0] * ways]
    one = names[: len(USUAL[kind][0])]
    if one not in USUAL[kind] or names != one * ways:
        raise NotImplementedError(f"{kind} with the activations {names} cannot be imported.")
    mode = f"RNN_{one[0].upper()}" if kind == "RNN" else kind
    if layout:  # the batch comes first
        x = tg.transpose(x, 0, 1)
        states = tuple(None if s is None else tg.transpose(s, 0, 1) for s in states)
    time, batch = x.shape[:2]
    room((time, batch, ways, rows))
    parts = [b[:, :rows], b[:, rows:]] if b is not None else []
    weights = [[_ordered(kind, part[k], width) for part in (w, r, *parts)] for k in range(ways)]
    none = tg.zeros(ways, batch, width, dtype=x.dtype, device=x.device)
    first = tuple(none if s is None else s for s in states)
    back = direction == "reverse"
    steps = tg.flip(x, (0,)) if back else x
    if reset_first:
        both = [_reset_first(steps, first[0][k], weights[k], k > 0) for k in range(ways)]
        flat = tg.cat([y.reshape(time * batch, width) for y, _ in both], 1)
        last: tuple[Tensor, ...] = (tg.stack([h for _, h in both]),)
    else:
        rows_of_all = steps.reshape(time * batch, x.shape[2])
        flat, last = recurrent(mode, rows_of_all, [batch] * time, first, weights, ways)
    y = tg.permute(flat.reshape(time, batch, ways, width), 0, 2, 1, 3)
    y = tg.flip(y, (0,)) if back else y
    if layout:
        return tg.permute(y, 2, 0, 1, 3), *(tg.transpose(s, 0, 1) for s in last)
    return y, *last


def _reset_first(x: Tensor, h: Tensor, weights: list[Tensor], back: bool) -> tuple[Tensor, Tensor]:
    """All states of a GRU whose candidate is tanh(w_n x + b_n + r_n (r · h) + c_n)."""
    w, r, *biases = weights
    b, c = biases if biases else (None, None)
    width = h.shape[1]
    ys: list[Tensor] = []
    for step in reversed(range(x.shape[0])) if back else range(x.shape[0]):
        x_r, x_z, x_n = tg.split(tg.linear(x[step], w, b), width, 1)
        bias = None if c is None else c[: 2 * width]
        h_r, h_z = tg.split(tg.linear(h, r[: 2 * width], bias), width, 1)
        z = tg.sigmoid(x_z + h_z)
        reset = tg.sigmoid(x_r + h_r) * h
        n = tg.tanh(x_n + tg.linear(reset, r[2 * width :], None if c is None else c[2 * width :]))
        h = n + z * (h - n)
        ys.append(h)
    return tg.stack(ys[::-1] if back else ys), h


def _ordered(kind: str, weight: Tensor, width: int) -> Tensor:
    """The rows of the gates in the order of ours."""
    gates = [weight[k * width : (k + 1) * width] for k in ORDERS[kind]]
    return gates[0] if len(gates) == 1 else tg.cat(gates)


@operator("RNN")
def _rnn(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    sequence_lens: Any = None,
    initial_h: Tensor | None = None,
    *,
    activation_alpha: Floats = None,
    activation_beta: Floats = None,
    activations: Strings = None,
    clip: float = 0.0,
    direction: str = "forward",
    hidden_size: int = 0,
    layout: int = 0,
) -> Any:
    refused = {"sequence_lens": sequence_lens, "clip": clip, "activation_alpha": activation_alpha}
    refused["activation_beta"] = activation_beta
    return _layer("RNN", x, w, r, b, (initial_h,), direction, layout, refused, activations)


@operator("GRU")
def _gru(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    sequence_lens: Any = None,
    initial_h: Tensor | None = None,
    *,
    activation_alpha: Floats = None,
    activation_beta: Floats = None,
    activations: Strings = None,
    clip: float = 0.0,
    direction: str = "forward",
    hidden_size: int = 0,
    layout: int = 0,
    linear_before_reset: int = 0,
) -> Any:
    refused = {"sequence_lens": sequence_lens, "clip": clip, "activation_alpha": activation_alpha}
    refused["activation_beta"] = activation_beta
    return _layer(
        "GRU",
        x,
        w,
        r,
        b,
        (initial_h,),
        direction,
        layout,
        refused,
        activations,
        reset_first=not linear_before_reset,
    )


@operator("LSTM")
def _lstm(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    sequence_lens: Any = None,
    initial_h: Tensor | None = None,
    initial_c: Tensor | None = None,
    p: Tensor | None = None,
    *,
    activation_alpha: Floats = None,
    activation_beta: Floats = None,
    activations: Strings = None,
    clip: float = 0.0,
    direction: str = "forward",
    hidden_size: int = 0,
    input_forget: int = 0,
    layout: int = 0,
) -> Any:
    refused = {"sequence_lens": sequence_lens, "clip": clip, "activation_alpha": activation_alpha}
    refused |= {"activation_beta": activation_beta, "input_forget": input_forget}
    refused["peepholes"] = p
    states = (initial_h, initial_c)
    return _layer("LSTM", x, w, r, b, states, direction, layout, refused, activations)
