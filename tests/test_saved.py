"""What a graph holds for the backward pass, in bytes: ops one by one, functions, and a ConvNet.

What an op may save is said here and not read off its rules, so a rule that begins to ask for more
fails.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_cv as tg
from rows import ROWS
from test_ops import DIFFERENTIABLE, named_inputs, node_of, parts, recorded
from tinygrad_cv import nn
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend.base import Bits
from tinygrad_cv.nn import functional as NF

# ----- counting ----------------------------------------------------------------------------------


def memory(array: Any) -> Any:
    """What owns the memory of an array: a view of it keeps all of it alive."""
    while isinstance(getattr(array, "base", None), np.ndarray):
        array = array.base
    return array


def held(nodes: Iterable[Any], apart: Iterable[Any] = ()) -> int:
    """The bytes that can be reached from what nodes saved and what their forwards left on the ops.

    Memory counts once, and that of the arrays `apart` does not count, nor what an op was given.
    """
    known = {id(memory(array)): array for array in apart}
    total = 0
    for node in nodes:
        left = [v for k, v in vars(node.op).items() if k not in node.op.attributes]
        for value in (*(node.saved or ()), *left):
            for part in value if isinstance(value, tuple) else (value,):
                owner = memory(part)
                if hasattr(owner, "nbytes") and id(owner) not in known:
                    known[id(owner)] = owner
                    total += owner.nbytes
    return total


# ----- each op -----------------------------------------------------------------------------------

SAVED = {
    "": """
        add alpha_dropout broadcast_to cast cat clone cumsum diag_embed diagonal dropout flip fold
        gaussian_noise getitem hardshrink hardsigmoid hardtanh index_put leaky_relu max_pool1d
        max_pool2d max_pool3d max_pool_with_places mean mT neg pad permute relu relu6 resample
        resample_transpose reshape roll rrelu scatter_add softshrink stack sub subtract_mean sum
        sum_to threshold to_device tril triu unfold window_spread window_sum
    """,
    "x": """
        abs acos acosh asin asinh atan atanh celu clamp cofactor cos cosh cumprod det eigvalsh elu
        erf erfc expm1 gelu glu hardswish huber lgamma local_response_norm log log10 log1p log2
        logcumsumexp logit logsigmoid mish nan_to_num norm normalize polygamma pow prod
        selu sigmoid silu sin sinh slogdet softplus softsign square std svdvals tanh tanhshrink var
    """,
    "y": """
        cholesky erfinv exp exp2 inv log_softmax reciprocal rsqrt softmax sqrt tan
    """,
    "w v": "eig eigh",
    "u s v": "svd",
    "q r": "qr",
    "x y": "amax amin copysign div logsumexp matmul maximum minimum mul pinv solve",
    "x w": """
        batch_norm conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear
        rms_norm standardize
    """,
    "x t": "binary_cross_entropy binary_cross_entropy_with_logits euclidean_loss",
    "x center scale": "scale_channels",
    "x d": "conv_weight remainder",
    "x d y": "fmod",
    "x n y": "pow_tensor",
    "x weight": "prelu",
    "x labels": "cross_entropy",
    "x index y": "scatter_extreme",
    "x w index": "sample",
    "x d index": "sample_weight",
    "d w index": "sample_transpose",
    "w y": "recurrence",
    "gates c c_next": "lstm_gates",
    "a b": "atan2 hypot logaddexp logaddexp2 xlogy",
    "z": "spherical_bessel",
    "xs": "einsum",
    "condition": "where",
    "labels": "pick",
    "index": "put_along_dim scatter take_along_dim unpool window_gather window_scatter",
}
"""By what may be saved of them, inputs or the output y. Where y is an input's name, it is that, and
an op that is not here may save as much as its inputs hold, or as its output does."""
TABLE = {name: what.split() for what, names in SAVED.items() for name in names.split()}

BESIDES: dict[str, Callable[[dict[str, Any], Any], int]] = {
    **dict.fromkeys(  # a truth value for each element
        ("relu", "relu6", "leaky_relu", "hardtanh", "hardsigmoid", "hardshrink", "softshrink"),
        lambda given, y: y.size,
    ),
    "threshold": lambda given, y: y.size,
    **dict.fromkeys(  # one at least along axes that share it
        ("dropout", "alpha_dropout"),
        lambda given, y: math.prod(max(1, n) for n in y.shape),
    ),
    **dict.fromkeys(  # the number of a tap
        ("max_pool1d", "max_pool2d", "max_pool3d", "max_pool_with_places"),
        lambda given, y: y.size,
    ),
    "rrelu": lambda given, y: y.nbytes,
    "batch_norm": lambda given, y: 2 * 8 * given["x"].shape[1],
    "standardize": lambda given, y: 2 * 8 * y.size // 3,  # of 3 elements at least
    "rms_norm": lambda given, y: 8 * y.size,  # of 1 element at least
    "cross_entropy": lambda given, y: 2 * y.nbytes,
    "cholesky": lambda given, y: y.shape[-1] ** 2,
    "eig": lambda given, y: given["x"].shape[-1] ** 2,
}
"""What its forward may keep besides, in bytes."""


@pytest.mark.host
@pytest.mark.parametrize("name", DIFFERENTIABLE)
@settings(max_examples=6)
@given(data=st.data())
def test_an_op_saves_no_more_than_it_may(name: str, data: Any) -> None:
    row = ROWS[name]
    case = data.draw(row.cases)
    y, _ = recorded(row, case)
    out = parts(y)[0].detach().numpy()
    given: dict[str, Any] = {}
    sizes: dict[str, int] = {}
    for key, value in named_inputs(row, case):
        given[key] = value
        sizes[key] = sizes.get(key, 0) + getattr(value, "nbytes", 0)
    outputs = node_of(y).op.outputs or ("y",)
    made = dict(zip(outputs, (v.detach().numpy().nbytes for v in parts(y)), strict=True))
    if name in TABLE:
        allowed = sum((made | sizes)[what] for what in TABLE[name])
    else:
        allowed = max(sum(sizes.values()), sum(made.values()))
    allowed += BESIDES.get(name, lambda given, y: 0)(given, out)
    assert held([node_of(y)]) <= allowed


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 2, 3, 1), (3, 1, 0, 2)])
@pytest.mark.parametrize("f", [tg.relu, tg.leaky_relu, tg.hardtanh, NF.hardshrink, NF.dropout])
def test_truth_values_are_saved_as_bits_in_any_layout(
    f: Callable[[Tensor], Tensor], axes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).standard_normal((3, 20, 8, 9), np.float32)
    start = tg.permute(Tensor(values, requires_grad=True), axes)  # a view, in another order
    g = tg.rand(*start.shape)

    def run(create_graph: bool) -> tuple[int, Any]:
        tg.manual_seed(0)
        y = f(start)
        bytes_held = held([y.node])
        (gradient,) = tg.grad(y, start, g, create_graph=create_graph)
        assert gradient is not None
        return bytes_held, gradient.detach().numpy()

    few, gradient = run(False)
    few_too, recorded_gradient = run(True)
    monkeypatch.setattr(Bits, "LEAST", math.inf)
    many, expected = run(False)
    assert few == few_too == many / 8 == values.size / 8
    np.testing.assert_array_equal(gradient, expected)
    np.testing.assert_array_equal(recorded_gradient, expected)


# ----- functions ---------------------------------------------------------------------------------

X, ROWS_OF = (8, 6, 16, 16), (64, 128)

FUNCTIONS: dict[str, tuple[Callable[..., Tensor], tuple[int, ...], float]] = {
    "layer_norm": (lambda x: NF.layer_norm(x, (16, 16), tg.ones(16, 16)), X, 1.04),
    "group_norm": (lambda x: NF.group_norm(x, 2, tg.ones(6), tg.ones(6)), X, 1.02),
    "instance_norm": (lambda x: NF.instance_norm(x, None, None, tg.ones(6)), X, 1.02),
    "rms_norm": (lambda x: NF.rms_norm(x, (16, 16), tg.ones(16, 16)), X, 1.04),
    "batch_norm": (lambda x: NF.batch_norm(x, None, None, tg.ones(6), training=True), X, 1.02),
    "normalize": (NF.normalize, X, 1.0),
    "local_response_norm": (lambda x: NF.local_response_norm(x, 5), X, 1.0),
    "relu": (tg.relu, X, 1 / 32),
    "dropout": (NF.dropout, X, 1 / 32),
    "max_pool2d": (lambda x: NF.max_pool2d(x, 2), X, 1 / 16),
    "avg_pool2d": (lambda x: NF.avg_pool2d(x, 2), X, 0.0),
    "interpolate": (lambda x: NF.interpolate(x, scale_factor=2, mode="bilinear"), X, 0.0),
    "softmax": (lambda x: tg.softmax(x, 1), X, 1.0),
    "gelu": (NF.gelu, X, 1.0),
    "var": (lambda x: tg.var(x, 1), X, 1.0),
    "norm": (lambda x: tg.norm(x, dim=1), X, 1.0),
    "cross_entropy": (
        lambda x: NF.cross_entropy(x, tg.arange(64)),
        ROWS_OF,
        1 + 16 / 512,  # and for a row of 128 scores the label and two numbers
    ),
    "huber_loss": (lambda x: NF.huber_loss(x, tg.zeros(*ROWS_OF)), ROWS_OF, 1.0),
    "smooth_l1_loss": (lambda x: NF.smooth_l1_loss(x, tg.zeros(*ROWS_OF)), ROWS_OF, 1.0),
    "mse_loss": (lambda x: NF.mse_loss(x, tg.zeros(*ROWS_OF)), ROWS_OF, 1.0),
    # What is cut into q, k and v; q scaled, a quarter of it; weights (64, 64), half of it.
    "attention": (
        lambda x: NF.scaled_dot_product_attention(x[:, :32], x[:, 32:64], x[:, 64:96]),
        ROWS_OF,
        1.75,
    ),
    "attention, causal": (
        lambda x: NF.scaled_dot_product_attention(
            x[:, :32], x[:, 32:64], x[:, 64:96], is_causal=True
        ),
        ROWS_OF,
        1.875,  # and which pairs take part
    ),
}
"""A function of one array, its shape, and what may be saved, as a share of the bytes of that."""


@pytest.mark.host
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_saves_no_more_than_it_may(name: str) -> None:
    f, shape, share = FUNCTIONS[name]
    x = tg.rand(*shape, requires_grad=True)
    nodes = [node for node in tg.graph(f(x)) if node.op is not None]
    assert held(nodes) <= share * 4 * x.numel()


# ----- a ConvNet ---------------------------------------------------------------------------------


@pytest.mark.host
def test_a_convnet_holds_what_its_backward_pass_needs() -> None:
    batch, side, layers, must = 8, 32, [], 0
    for inside, channels in ((3, 32), (32, 64)):
        for width in (inside, channels):
            layers += [
                nn.Conv2d(width, channels, 3, padding=1),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            ]
            pixels = batch * side * side
            must += 4 * pixels * width  # the image of the convolution, where a ReLU made it
            must += 4 * pixels * channels  # that of the normalization
        must += pixels * channels // 8  # the signs of the ReLU before the pool
        layers += [nn.MaxPool2d(2)]
        side //= 2
        must += batch * side * side * channels  # a byte for each window
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * side * side, 10))
    must += 4 * batch * (64 * side * side + 10)  # the vectors, the scores
    images = tg.rand(batch, 3, 32, 32)
    loss = tg.cross_entropy(model(images), tg.arange(batch))
    nodes = [node for node in tg.graph(loss) if node.op is not None]
    found = held(nodes, apart=[p.data.numpy() for p in model.parameters()])
    assert must <= found <= 1.05 * must
