"""Recurrent layers: a state that goes from step to step of a sequence."""

import warnings
from typing import Any

from tinygrad_cv._graph import in_one
from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.creation import empty, shape_from, zeros
from tinygrad_cv.nn.linear import given, uniform_
from tinygrad_cv.nn.module import Module
from tinygrad_cv.nn.parameter import Parameter
from tinygrad_cv.nn.utils.rnn import PackedSequence
from tinygrad_cv.ops.noise import check_probability
from tinygrad_cv.ops.recurrent import (
    State,
    gru_cell,
    lstm_cell,
    recurrent,
    rnn_relu_cell,
    rnn_tanh_cell,
)
from tinygrad_cv.ops.shape import transpose

GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}
"""How many numbers a unit gets at a step, by mode."""


@public(NN)
class RNNBase(Module):
    """What `RNN`, `LSTM` and `GRU` share: layers on layers, in one direction or both.

    The input is (T, N, input_size), or (N, T, input_size) with `batch_first`, or one sequence
    (T, input_size), or a `PackedSequence`; the output has the same form, with directions · H
    numbers. Layer k has the parameters weight_ih_l{k} (gates · H, D), weight_hh_l{k} (gates · H, H)
    and, with `bias`, bias_ih_l{k} and bias_hh_l{k} (gates · H,); the way back has "_reverse" behind
    the names. They begin uniform on ±1/√H. While training, a share `dropout` of what goes from
    layer to layer is dropped.
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        if mode not in GATES:
            raise ValueError(f"the mode is one of {', '.join(GATES)}; got {mode!r}.")
        for name, value in (("bias", bias), ("batch_first", batch_first)):
            if not isinstance(value, bool):
                raise TypeError(f"{name} is True or False; got {value!r}.")
        check_probability("the layer's dropout", dropout)
        input_size, hidden_size = _size("input_size", input_size), _size("hidden_size", hidden_size)
        num_layers = _size("num_layers", num_layers)
        if proj_size and (mode != "LSTM" or not 0 < proj_size < hidden_size):
            raise ValueError(
                f"proj_size is for an LSTM, and between 0 and its hidden_size={hidden_size}; got "
                f"{proj_size}."
            )
        if dropout and num_layers == 1:
            warnings.warn(
                f"dropout={dropout} has no effect with num_layers=1: it acts between layers.",
                stacklevel=3,
            )
        self.mode, self.input_size, self.hidden_size = mode, input_size, hidden_size
        self.num_layers, self.bias, self.batch_first = num_layers, bias, batch_first
        self.dropout, self.bidirectional, self.proj_size = float(dropout), bidirectional, proj_size
        self.generator = generator
        self._all_weights: list[list[str]] = []  # the names, for each layer and direction
        directions, rows, out = (
            1 + bidirectional,
            GATES[mode] * hidden_size,
            proj_size or hidden_size,
        )
        for layer in range(num_layers):
            columns = directions * out if layer else input_size
            shapes: dict[str, tuple[int, ...]] = {
                "weight_ih": (rows, columns),
                "weight_hh": (rows, out),
            }
            if bias:
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            if proj_size:
                shapes |= {"weight_hr": (proj_size, hidden_size)}
            for way in ("", "_reverse")[:directions]:
                self._all_weights.append([f"{name}_l{layer}{way}" for name in shapes])
                for name, shape in zip(self._all_weights[-1], shapes.values(), strict=True):
                    weight = Parameter(empty(shape, **given(device, dtype)))
                    self.register_parameter(name, weight)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """New initial values, uniform on ±1/√hidden_size."""
        uniform_(self.hidden_size, self.generator, *self.parameters())

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self) -> list[Parameter]:
        return [weight for weights in self.all_weights for weight in weights]

    def flatten_parameters(self) -> None:
        """Nothing: PyTorch moves the weights together here, for the sake of a GPU."""

    @in_one
    def forward(self, input: Any, hx: Any = None) -> Any:
        if isinstance(input, PackedSequence):
            return self._packed(input, hx)
        if input.ndim not in (2, 3) or input.shape[-1] != self.input_size:
            shape = "(N, T, {})" if self.batch_first else "(T, N, {})"
            raise ValueError(
                f"{type(self).__name__} expects an input {shape.format(self.input_size)}, or "
                f"(T, {self.input_size}) for one sequence; got {input.shape}."
            )
        single = input.ndim == 2
        if single:
            steps = input.unsqueeze(1)
        else:
            steps = transpose(input, 0, 1) if self.batch_first else input
        time, number = steps.shape[:2]
        if not time:
            raise ValueError(f"{type(self).__name__} expects one step or more; got {input.shape}.")
        state = self._start(hx, number, input, (number,) * (not single))
        flat = steps.reshape(time * number, self.input_size)
        out, state = self._run(flat, [number] * time, state)
        out = out.reshape(time, number, out.shape[1])
        if single:
            return out.squeeze(1), self._end([s.squeeze(1) for s in state])
        return transpose(out, 0, 1) if self.batch_first else out, self._end(state)

    def _packed(self, input: PackedSequence, hx: Any) -> Any:
        data, batch_sizes, order, inverse = input
        sizes = batch_sizes.tolist()
        state = self._start(hx, sizes[0], data, (sizes[0],))
        if order is not None and hx is not None:
            state = tuple(s.index_select(1, order) for s in state)
        out, state = self._run(data, sizes, state)
        if inverse is not None:
            state = tuple(s.index_select(1, inverse) for s in state)
        return PackedSequence(out, batch_sizes, order, inverse), self._end(state)

    def _start(self, hx: Any, number: int, input: Tensor, batch: tuple[int, ...]) -> State:
        """The first states, (layers · directions, N, H) each: those given, or 0."""
        depth = self.num_layers * (1 + self.bidirectional)
        sizes = [self.proj_size or self.hidden_size, self.hidden_size][: 1 + (self.mode == "LSTM")]
        if hx is None:
            return tuple(
                zeros(depth, number, size, dtype=input.dtype, device=input.device) for size in sizes
            )
        given = tuple(hx) if self.mode == "LSTM" else (hx,)
        expected = [(depth, *batch, size) for size in sizes]
        if [state.shape for state in given] != expected:
            raise ValueError(
                f"{type(self).__name__} expects {' and '.join(map(str, expected))} for the first "
                f"state; got {' and '.join(str(state.shape) for state in given)}."
            )
        return given if batch else tuple(state.unsqueeze(1) for state in given)

    def _end(self, state: Any) -> Any:
        return tuple(state) if self.mode == "LSTM" else state[0]

    def _run(self, data: Tensor, sizes: list[int], state: State) -> tuple[Tensor, State]:
        return recurrent(
            self.mode,
            data,
            sizes,
            state,
            self.all_weights,
            1 + self.bidirectional,
            self.dropout if self.training else 0.0,
            self.generator,
        )

    def extra_repr(self) -> str:
        shown = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False}
        shown |= {"dropout": 0, "bidirectional": False}
        changed = [
            f"{name}={getattr(self, name)}"
            for name, usual in shown.items()
            if getattr(self, name) != usual
        ]
        return ", ".join([str(self.input_size), str(self.hidden_size), *changed])


def _size(name: str, value: Any) -> int:
    """A size that is above 0."""
    (size,) = shape_from((value,))
    if size < 1:
        raise ValueError(f"{name} is above 0; got {value}.")
    return size


@public(NN)
class RNN(RNNBase):
    """h_t = tanh(w_ih x_t + b_ih + w_hh h_{t-1} + b_hh), or `relu` in its place (Elman, 1990).

    Called with a sequence and, if it is not 0, the first state (layers · directions, N, H), it
    returns all h_t and the last states; see `RNNBase` for the shapes.

    >>> from tinygrad_cv import ones
    >>> output, last = RNN(4, 3, num_layers=2)(ones(5, 2, 4))
    >>> output.shape, last.shape
    ((5, 2, 3), (2, 2, 3))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"the nonlinearity is 'tanh' or 'relu'; got {nonlinearity!r}.")
        super().__init__(
            f"RNN_{nonlinearity.upper()}",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
            generator=generator,
        )
        self.nonlinearity = nonlinearity


@public(NN)
class LSTM(RNNBase):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997); a step is `lstm_cell`.

    The state is a pair (h, c). With `proj_size` what a step gives is w_hr h, so much shorter, with
    weight_hr_l{k} (proj_size, H) (Sak, Senior and Beaufays, 2014). It returns all h_t and the last
    (h, c); see `RNNBase` for the shapes.

    >>> from tinygrad_cv import ones
    >>> output, (h, c) = LSTM(4, 3, bidirectional=True)(ones(5, 2, 4))
    >>> output.shape, h.shape, c.shape
    ((5, 2, 6), (2, 2, 3), (2, 2, 3))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        super().__init__(
            "LSTM",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            device,
            dtype,
            generator=generator,
        )


@public(NN)
class GRU(RNNBase):
    """Gated recurrent units (Cho et al., 2014); a step is `gru_cell`.

    It returns all h_t and the last states; see `RNNBase` for the shapes.

    >>> from tinygrad_cv import ones
    >>> output, last = GRU(4, 3, batch_first=True)(ones(2, 5, 4))
    >>> output.shape, last.shape
    ((2, 5, 3), (1, 2, 3))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        proj_size: int = 0,
        generator: Any = None,
    ) -> None:
        super().__init__(
            "GRU",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            device,
            dtype,
            generator=generator,
        )


# ----- one step ----------------------------------------------------------------------------------


@public(NN)
class RNNCellBase(Module):
    """What the cells share: weight_ih (k · H, D), weight_hh (k · H, H), and two biases (k · H,).

    They begin uniform on ±1/√H. A state that is not given is 0.
    """

    weight_ih: Parameter
    weight_hh: Parameter
    bias_ih: Parameter | None
    bias_hh: Parameter | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        self.input_size, self.hidden_size = (
            _size("input_size", input_size),
            _size("hidden_size", hidden_size),
        )
        self.bias, self.generator = bias, generator
        rows = num_chunks * hidden_size
        for name, columns in (("weight_ih", input_size), ("weight_hh", hidden_size)):
            setattr(self, name, Parameter(empty(rows, columns, **given(device, dtype))))
        for name in ("bias_ih", "bias_hh"):
            weight = Parameter(empty(rows, **given(device, dtype))) if bias else None
            self.register_parameter(name, weight)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """New initial values, uniform on ±1/√hidden_size."""
        uniform_(self.hidden_size, self.generator, *self.parameters())

    def _weights(self) -> tuple[Any, ...]:
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh

    def _nothing(self, input: Tensor) -> Tensor:
        """The state 0 for an input."""
        shape = (*input.shape[:-1], self.hidden_size)
        return zeros(shape, dtype=input.dtype, device=input.device)

    def extra_repr(self) -> str:
        bias = "" if self.bias else ", bias=False"
        return f"{self.input_size}, {self.hidden_size}{bias}"


@public(NN)
class RNNCell(RNNCellBase):
    """One step of an `RNN`: (N, D), and (N, H) or None -> (N, H); see `rnn_tanh_cell`.

    >>> from tinygrad_cv import ones
    >>> RNNCell(4, 3)(ones(2, 4)).shape
    (2, 3)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"the nonlinearity is 'tanh' or 'relu'; got {nonlinearity!r}.")
        super().__init__(input_size, hidden_size, bias, 1, device, dtype, generator=generator)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        cell = rnn_tanh_cell if self.nonlinearity == "tanh" else rnn_relu_cell
        return cell(input, self._nothing(input) if hx is None else hx, *self._weights())

    def extra_repr(self) -> str:
        other = "" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}"
        return super().extra_repr() + other


@public(NN)
class LSTMCell(RNNCellBase):
    """One step of an `LSTM`: (N, D), and (h, c) or None -> (h, c); see `lstm_cell`.

    >>> from tinygrad_cv import ones
    >>> h, c = LSTMCell(4, 3)(ones(2, 4))
    >>> h.shape, c.shape
    ((2, 3), (2, 3))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype, generator=generator)

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        state = (self._nothing(input),) * 2 if hx is None else hx
        return lstm_cell(input, state, *self._weights())


@public(NN)
class GRUCell(RNNCellBase):
    """One step of a `GRU`: (N, D), and (N, H) or None -> (N, H); see `gru_cell`.

    >>> from tinygrad_cv import ones
    >>> GRUCell(4, 3)(ones(2, 4)).shape
    (2, 3)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype, generator=generator)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return gru_cell(input, self._nothing(input) if hx is None else hx, *self._weights())
