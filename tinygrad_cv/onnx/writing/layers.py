"""Ops of layers: products, normalization, losses and recurrent networks."""

from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.onnx.tracing import Varying
from tinygrad_cv.onnx.writing.graph import (
    DeclinedError,
    Value,
    Writer,
    refuses,
    writes,
    writes_call,
)
from tinygrad_cv.onnx.writing.reductions import axes_of, reduced, variance
from tinygrad_cv.onnx.writing.shapes import padded

# ----- linear algebra ----------------------------------------------------------------------------


@writes("matmul")
def _matmul(g: Writer, x: Any, y: Any) -> Any:
    return g.node("MatMul", *g.alike(x, y))


@writes("linear")
def _linear_op(g: Writer, x: Value, w: Value, b: Value | None) -> Any:
    return _linear(g, x, w, b)


@writes_call("linear")
def _linear(g: Writer, input: Value, weight: Value, bias: Value | None) -> Any:
    x, w = g.alike(input, weight)
    b = None if bias is None else g.cast(bias, g.out.dtype)
    if weight.ndim != 2:
        raise DeclinedError
    if input.ndim == 2:
        return g.node("Gemm", x, w, b, transB=1)
    made = g.node("MatMul", x, g.transpose(w, [1, 0]))
    return made if b is None else g.node("Add", made, b)


@writes("einsum")
def _einsum(g: Writer, *xs: Value, equation: str) -> Any:
    return g.node("Einsum", *g.alike(*xs), equation=equation)


@writes("det")
def _det(g: Writer, x: Value) -> Any:
    return g.node("Det", *g.alike(x))


@writes("slogdet")
def _slogdet(g: Writer, x: Value) -> Any:
    det = g.node("Det", g.cast(x, g.outs[0].dtype))
    return g.node("Sign", det), g.node("Log", g.node("Abs", det))


refuses(
    "inv solve cofactor cholesky eigh eigvalsh svd svdvals pinv qr qr_complete eig",
    "ONNX has no operator for it; compute it outside of the model",
)

# ----- normalization -----------------------------------------------------------------------------


@writes_call("batch_norm")
def _batch_norm_call(
    g: Writer,
    input: Value,
    running_mean: Value | None,
    running_var: Value | None,
    weight: Value | None,
    bias: Value | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Any:
    if training or running_mean is None or running_var is None:
        raise DeclinedError
    x = g.cast(input, g.out.dtype)
    channels = input.shape[1]
    return g.node(
        "BatchNormalization",
        x,
        *_affine(g, channels, weight, bias, running_var.dtype),
        running_mean,
        running_var,
        epsilon=float(eps),
    )


def _affine(
    g: Writer, n: Any, weight: Value | None, bias: Value | None, dtype: str
) -> tuple[Value, Value]:
    """Weight and bias, which an operator needs where a layer has none."""
    (n,) = g.fixed([n], "the number of channels")
    ones = g.const(host.ones(n, dtype)) if weight is None else weight
    return ones, g.const(host.zeros(n, dtype)) if bias is None else bias


@writes("batch_norm")
def _batch_norm(
    g: Writer, x: Value, w: Value | None, b: Value | None, *, eps: float, **kept: Any
) -> Any:
    """With the statistics of the batch; those that are kept for later are not written."""
    channels = (1, x.shape[1], *(1,) * (x.ndim - 2))
    seen = [None if v is None else g.reshape(v, channels) for v in (w, b)]
    return _standardized(g, x, seen[0], seen[1], [0, *range(2, x.ndim)], eps)


@writes_call("group_norm")
def _group_norm(
    g: Writer, input: Value, num_groups: int, weight: Value | None, bias: Value | None, eps: float
) -> Any:
    if g.opset < 21 or input.ndim < 3:
        raise DeclinedError
    x = g.cast(input, g.out.dtype)
    affine = _affine(g, input.shape[1], weight, bias, x.dtype)
    return g.node("GroupNormalization", x, *affine, num_groups=num_groups, epsilon=float(eps))


@writes_call("instance_norm")
def _instance_norm(
    g: Writer,
    input: Value,
    running_mean: Value | None,
    running_var: Value | None,
    weight: Value | None,
    bias: Value | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
) -> Any:
    if not use_input_stats or input.ndim < 3:
        raise DeclinedError
    x = g.cast(input, g.out.dtype)
    affine = _affine(g, input.shape[1], weight, bias, x.dtype)
    return g.node("InstanceNormalization", x, *affine, epsilon=float(eps))


@writes("standardize")
def _standardize(
    g: Writer, x: Value, w: Value | None, b: Value | None, *, axis: Any, eps: float
) -> Any:
    axes = sorted(axes_of(x, axis))
    last = tuple(x.shape[i] for i in axes)
    fits = axes == list(range(x.ndim - len(axes), x.ndim)) and not any(
        isinstance(n, Varying) for n in last
    )
    if fits and all(v is None or v.shape == last for v in (w, b)):
        x = g.cast(x, g.out.dtype)
        ones = g.const(host.ones(last, x.dtype)) if w is None else g.cast(w, x.dtype)
        shift = None if b is None else g.cast(b, x.dtype)
        return g.node("LayerNormalization", x, ones, shift, axis=axes[0], epsilon=float(eps))
    return _standardized(g, x, w, b, axes, eps)


def _standardized(
    g: Writer, x: Value, w: Value | None, b: Value | None, axes: list[int], eps: float
) -> Any:
    wide = g.cast(x, g.out.dtype)
    shifted = g.node("Sub", wide, reduced(g, "ReduceMean", wide, axes, True))
    spread = variance(g, Value(wide.name, wide.dtype, x.shape), axes, True, 0)
    root = g.node("Sqrt", g.node("Add", spread, g.const(eps, wide.dtype)))
    y = g.node("Div", shifted, root)
    y = y if w is None else g.node("Mul", y, g.cast(w, wide.dtype))
    return y if b is None else g.node("Add", y, g.cast(b, wide.dtype))


@writes("rms_norm")
def _rms_norm(g: Writer, x: Value, w: Value | None, *, axis: Any, eps: float) -> Any:
    axes = sorted(axes_of(x, axis))
    last = tuple(x.shape[i] for i in axes)
    wide = g.cast(x, g.out.dtype)
    if (
        g.opset >= 23
        and axes == list(range(x.ndim - len(axes), x.ndim))
        and not any(isinstance(n, Varying) for n in last)
        and (w is None or w.shape == last)
    ):
        ones = g.const(host.ones(last, wide.dtype)) if w is None else g.cast(w, wide.dtype)
        return g.node("RMSNormalization", wide, ones, axis=axes[0], epsilon=float(eps))
    mean = reduced(g, "ReduceMean", g.node("Mul", wide, wide), axes, True)
    y = g.node("Div", wide, g.node("Sqrt", g.node("Add", mean, g.const(eps, wide.dtype))))
    return y if w is None else g.node("Mul", y, g.cast(w, wide.dtype))


@writes("scale_channels")
def _scale_channels(g: Writer, x: Value, center: Value, scale: Value, shift: Value | None) -> Any:
    shape = (1, -1, *(1,) * (x.ndim - 2))
    x, center, scale = g.alike(x, center, scale)
    beside = [g.node("Reshape", v, g.ints(shape)) for v in (center, scale)]
    y = g.node("Mul", g.node("Sub", x, beside[0]), beside[1])
    if shift is None:
        return y
    return g.node("Add", y, g.node("Reshape", g.cast(shift, x.dtype), g.ints(shape)))


@writes("local_response_norm")
def _local_response_norm(
    g: Writer, x: Value, *, size: int, share: float, beta: float, k: float
) -> Any:
    if size % 2:
        return g.node("LRN", x, size=size, alpha=share * size, beta=float(beta), bias=float(k))
    # In an even window the odd one out is the channel before; in ONNX's it is the next one.
    (channels,) = g.fixed(x.shape[1:2], "the number of channels")
    before = size // 2
    pairs = [(0, 0), (before, size - 1 - before), *[(0, 0)] * (x.ndim - 2)]
    squares = padded(g, Value(g.node("Mul", x, x).name, x.dtype), pairs)
    total = g.slice(squares, 1, 0, channels)
    for i in range(1, size):
        total = g.node("Add", total, g.slice(squares, 1, i, i + channels))
    base = g.node("Add", g.node("Mul", total, g.const(share, x.dtype)), g.const(k, x.dtype))
    return g.node("Div", x, g.node("Pow", base, g.const(beta, x.dtype)))


@writes("normalize")
def _normalize(g: Writer, x: Value, *, axis: Any, eps: float) -> Any:
    wide = g.cast(x, g.out.dtype)
    length = reduced(g, "ReduceL2", wide, axes_of(x, axis), True)
    return g.node("Div", wide, g.node("Max", length, g.const(eps, wide.dtype)))


@writes("subtract_mean")
def _subtract_mean(g: Writer, x: Value, *, axis: Any) -> Any:
    wide = g.cast(x, g.out.dtype)
    return g.node("Sub", wide, reduced(g, "ReduceMean", wide, axes_of(x, axis), True))


# ----- losses ------------------------------------------------------------------------------------


def _picked(g: Writer, x: Value, labels: Value) -> Any:
    column = g.unsqueeze(g.cast(labels, "int64"), [1])
    return g.squeeze(g.node("GatherElements", x, column, axis=1), [1])


@writes("cross_entropy")
def _cross_entropy(g: Writer, x: Value, labels: Value) -> Any:
    scores = g.node("LogSoftmax", *g.alike(x), axis=1)
    return g.node("Neg", _picked(g, scores, labels))


@writes("pick")
def _pick(g: Writer, x: Value, labels: Value) -> Any:
    return _picked(g, x, labels)


@writes("euclidean_loss")
def _euclidean_loss(g: Writer, x: Value, t: Value) -> Any:
    off = g.node("Sub", *g.alike(x, t))
    total = g.node("ReduceSumSquare", off, g.ints([1]), keepdims=0)
    return g.node("Mul", total, g.const(0.5, off.dtype))


@writes("huber")
def _huber(g: Writer, x: Value, *, delta: float, scale: float) -> Any:
    size = g.node("Abs", *g.alike(x))
    q = g.node("Min", size, g.const(delta, size.dtype))
    rest = g.node("Sub", size, g.node("Mul", q, g.const(0.5, size.dtype)))
    return g.node("Mul", g.node("Div", q, g.const(scale, size.dtype)), rest)


@writes("binary_cross_entropy")
def _binary_cross_entropy(g: Writer, x: Value, t: Any) -> Any:
    x, t = g.alike(x, t)
    one, least = g.const(1, x.dtype), g.const(-100, x.dtype)
    yes = g.node("Max", g.node("Log", x), least)
    no = g.node("Max", g.node("Log", g.node("Sub", one, x)), least)
    return g.node(
        "Neg", g.node("Add", g.node("Mul", t, yes), g.node("Mul", g.node("Sub", one, t), no))
    )


@writes("binary_cross_entropy_with_logits")
def _with_logits(g: Writer, x: Value, t: Any) -> Any:
    x, t = g.alike(x, t)
    plus = g.node("Softplus", x)
    return g.node("Sub", plus, g.node("Mul", x, t))


# ----- recurrent networks ------------------------------------------------------------------------


@writes("lstm_gates")
def _lstm_gates(g: Writer, gates: Value, c: Value) -> Any:
    gates, c = (g.cast(v, g.outs[0].dtype) for v in (gates, c))
    i, f, u, o = g.several("Split", gates, outputs=4, axis=1, num_outputs=4)
    kept = g.node("Mul", g.node("Sigmoid", f), c)
    c_next = g.node("Add", kept, g.node("Mul", g.node("Sigmoid", i), g.node("Tanh", u)))
    return g.node("Mul", g.node("Sigmoid", o), g.node("Tanh", c_next)), c_next


@writes("gru_gates")
def _gru_gates(g: Writer, x: Value, y: Value, h: Value) -> Any:
    x, y, h = g.alike(x, y, h)
    x_r, x_z, x_n = g.several("Split", x, outputs=3, axis=1, num_outputs=3)
    y_r, y_z, y_n = g.several("Split", y, outputs=3, axis=1, num_outputs=3)
    r, z = (g.node("Sigmoid", g.node("Add", *v)) for v in ((x_r, y_r), (x_z, y_z)))
    n = g.node("Tanh", g.node("Add", x_n, g.node("Mul", r, y_n)))
    return g.node("Add", n, g.node("Mul", z, g.node("Sub", h, n)))


ORDERS = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}
"""The gates of ours, i f u o and r z n, in the order of ONNX: i o f c and z r h."""


@writes_call("RNNBase.forward")
def _recurrent(g: Writer, self: Any, input: Any, hx: Any) -> Any:
    """A node for each layer, which goes through the sequence both ways if the layer does."""
    operator = self.mode.partition("_")[0]
    weights = self.all_weights
    if (
        not isinstance(input, Value)
        or input.ndim != 3
        or self.proj_size
        or (self.training and self.dropout)
        or not all(id(w._array) in g.weights for layer in weights for w in layer)
    ):
        raise DeclinedError
    ways, width, dtype = 1 + self.bidirectional, self.hidden_size, g.out.dtype
    x = g.transpose(g.cast(input, dtype), [1, 0, 2] if self.batch_first else [0, 1, 2])
    time, batch = x.shape[:2]
    states = hx if isinstance(hx, tuple) else (hx,)
    last: list[list[Value]] = [[] for _ in range(1 + (operator == "LSTM"))]
    for layer in range(self.num_layers):
        rows = weights[layer * ways : (layer + 1) * ways]
        w, r, b = (_stacked(g, operator, rows, part, width, layer) for part in range(3))
        first = [
            None
            if state is None
            else g.slice(g.cast(state, dtype), 0, layer * ways, (layer + 1) * ways)
            for state in states
        ]
        activation = ["Relu"] * ways if self.mode == "RNN_RELU" else None
        results = g.several(
            operator,
            x,
            w,
            r,
            b,
            None,
            *first,
            outputs=1 + len(last),
            hidden_size=width,
            direction="bidirectional" if ways == 2 else "forward",
            activations=activation,
            linear_before_reset=1 if operator == "GRU" else None,
        )
        for kept, state in zip(last, results[1:], strict=True):
            kept.append(state)
        # (T, ways, N, H) -> (T, N, ways · H)
        y = g.node("Transpose", results[0], perm=[0, 2, 1, 3])
        y = Value(y.name, dtype, (time, batch, ways, width))
        x = g.reshape(y, (time, batch, ways * width))
    ends = [g.node("Concat", *kept, axis=0) if len(kept) > 1 else kept[0] for kept in last]
    return g.transpose(x, [1, 0, 2] if self.batch_first else [0, 1, 2]), *ends


def _stacked(
    g: Writer, operator: str, rows: Any, part: int, width: int, layer: int
) -> Value | None:
    """The weights of both ways, of the input or the state, or the biases; gates in ONNX's order."""
    if part == 2 and len(rows[0]) < 4:
        return None
    order = ORDERS.get(operator, (0,))
    stacked = []
    for row in rows:
        values = [g.on_host(w._array) for w in (row[2:4] if part == 2 else row[part : part + 1])]
        gates = [v.reshape(len(order), width, *v.shape[1:])[list(order)] for v in values]
        stacked.append(host.concatenate([v.reshape(-1, *v.shape[2:]) for v in gates]))
    name = ("weight_ih", "weight_hh", "bias")[part]
    return g.const(host.stack(stacked), hint=f"{g.path()}{name}_l{layer}.onnx")
