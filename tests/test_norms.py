"""Normalization beside its definitions, group by group; what it does at the edges."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracles
import tinygrad_cv as tg
from tinygrad_cv.ops import norm
from tinygrad_cv.testing import Case, check_gradients, check_op, no_sync
from tinygrad_cv.testing.strategies import arrays, shapes

EPS = st.sampled_from((1e-5, 1e-3, 0.1))


# ----- inputs ------------------------------------------------------------------------------------


@st.composite
def layers(draw: Any, biases: int = 2) -> Case:
    """Samples, and a weight and a bias in the shape of each."""
    batch, shape = draw(shapes(0, 2, 1, 3)), draw(shapes(0, 2, 1, 3))
    shape = (*shape, draw(st.integers(3, 4)))
    x = draw(arrays((*batch, *shape), distinct=True))
    affine = [draw(arrays(shape)) for _ in range(draw(st.integers(0, biases)))]
    return Case((x, shape, *affine), {"eps": draw(EPS)})


@st.composite
def images(draw: Any, groups: bool = False) -> Case:
    """(N, C, *S) with or without weight and bias; several values in each group."""
    count, each = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    space = draw(shapes(0 if groups else 1, 2, 1, 3))
    if each * math.prod(space) < 3:
        each, space = (3, space) if groups else (each, (*space[:-1], 3))
    shape = (draw(st.integers(1, 3)), count * each, *space)
    x = draw(arrays(shape, distinct=True))
    affine = [draw(arrays(shape[1:2])) for _ in range(draw(st.integers(0, 2)))]
    return Case((x, *((count,) if groups else ()), *affine), {"eps": draw(EPS)})


@st.composite
def responses(draw: Any) -> Case:
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 5)), *draw(shapes(1, 2, 1, 2)))
    keywords = {
        "size": draw(st.integers(1, 6)),
        "alpha": draw(st.sampled_from((1e-4, 0.5))),
        "beta": draw(st.sampled_from((0.5, 0.75, 1.0))),
        "k": draw(st.sampled_from((1.0, 2.0))),
        "divide": draw(st.booleans()),
    }
    return Case((draw(arrays(shape)),), keywords)


@st.composite
def rows(draw: Any) -> Case:
    shape = draw(shapes(1, 3, min_side=2))
    x = draw(arrays(shape, 0.1, 2.0, distinct=True))
    p = draw(st.sampled_from((1.0, 1.5, 2.0, 3.0, math.inf)))
    return Case((x,), {"p": p, "dim": draw(st.integers(-len(shape), len(shape) - 1))})


# ----- definitions -------------------------------------------------------------------------------


def standardized(values: Any, eps: float) -> Any:
    """One group, in Python's own arithmetic."""
    flat = values.ravel().tolist()
    mean = math.fsum(flat) / len(flat)
    var = math.fsum((v - mean) ** 2 for v in flat) / len(flat)
    return (values - mean) / math.sqrt(var + eps)


def layer_norm(x: Any, shape: Any, w: Any = 1.0, b: Any = 0.0, eps: float = 1e-5) -> Any:
    y = np.empty(x.shape)
    for place in np.ndindex(x.shape[: x.ndim - len(shape)]):
        y[place] = standardized(x[place], eps) * w + b
    return y


def rms_norm(x: Any, shape: Any, w: Any = 1.0, eps: float = 1e-5) -> Any:
    y = np.empty(x.shape)
    for place in np.ndindex(x.shape[: x.ndim - len(shape)]):
        squares = [v * v for v in x[place].ravel()]
        y[place] = x[place] / math.sqrt(sum(squares) / len(squares) + eps) * w
    return y


def group_norm(x: Any, count: int, w: Any = None, b: Any = None, eps: float = 1e-5) -> Any:
    each = x.shape[1] // count
    y = np.empty(x.shape)
    for n, i in np.ndindex(len(x), count):
        group = n, slice(i * each, (i + 1) * each)
        y[group] = standardized(x[group], eps)
    for c in range(x.shape[1]):
        y[:, c] = y[:, c] * (1 if w is None else w[c]) + (0 if b is None else b[c])
    return y


def instance_norm(x: Any, w: Any = None, b: Any = None, eps: float = 1e-5) -> Any:
    return group_norm(x, x.shape[1], w, b, eps)


def local_response_norm(
    x: Any, size: int, alpha: float, beta: float, k: float, divide: bool
) -> Any:
    y = np.empty(x.shape)
    for n, c, *place in np.ndindex(x.shape):
        window = range(c - size // 2, c - size // 2 + size)
        total = sum(x[n, j, *place] ** 2 for j in window if 0 <= j < x.shape[1])
        share = total / size if divide else total
        y[n, c, *place] = x[n, c, *place] / (k + alpha * share) ** beta
    return y


def normalize(x: Any, p: float, dim: int) -> Any:
    return x / np.linalg.norm(x, p, dim, keepdims=True)


DEFINITIONS: dict[str, tuple[Callable[..., Any], st.SearchStrategy[Case], Callable[..., Any]]] = {
    "layer_norm": (norm.layer_norm, layers(), layer_norm),
    "rms_norm": (norm.rms_norm, layers(biases=1), rms_norm),
    "group_norm": (norm.group_norm, images(groups=True), group_norm),
    "instance_norm": (
        lambda x, w=None, b=None, **options: norm.instance_norm(x, None, None, w, b, **options),
        images(),
        instance_norm,
    ),
    "local_response_norm": (norm.local_response_norm, responses(), local_response_norm),
    "normalize": (norm.normalize, rows(), normalize),
}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_function_and_its_gradients_follow_the_definition(name: str) -> None:
    ours, cases, reference = DEFINITIONS[name]
    check_op(ours, cases, reference)


@pytest.mark.parametrize("name", DEFINITIONS)
@given(data=st.data())
def test_the_host_does_not_wait_and_float32_stays(name: str, data: Any) -> None:
    ours, cases, reference = DEFINITIONS[name]
    case = data.draw(cases)
    inputs = [
        tg.Tensor(v.astype("float32"), requires_grad=True) if isinstance(v, np.ndarray) else v
        for v in case.inputs
    ]
    with no_sync():
        y = ours(*inputs, **case.attributes)
        gradients = tg.grad(y.sum(), inputs[:1])
    assert y.dtype == gradients[0].dtype == tg.float32
    expected = reference(*case.inputs, **case.attributes)
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-4, atol=1e-4)


# ----- one op behind them ------------------------------------------------------------------------


@given(st.sampled_from((0.0, 1e3, 1e6)), st.integers(0, 99))
def test_a_large_mean_costs_no_more_than_its_own_rounding(mean: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = (mean + rng.standard_normal((4, 64))).astype("float32")
    exact = x.astype("float64")
    exact = (exact - exact.mean(1, keepdims=True)) / exact.std(1, keepdims=True)
    y = norm.layer_norm(tg.Tensor(x), (64,), eps=0.0).numpy()
    np.testing.assert_allclose(y, exact, rtol=1e-5, atol=1e-5 + 1e-6 * mean)


@pytest.mark.parametrize("value", [0.0, 1 / 3, 1e15, -1e4])
def test_equal_values_become_0(value: float) -> None:
    """Their variance is 0 or a rounding error, and never negative."""
    x = tg.full((2, 7, 3), value, requires_grad=True)
    for y in (norm.layer_norm(x, (7, 3)), norm.group_norm(x, 7), norm.instance_norm(x)):
        assert np.isfinite(y.detach().numpy()).all()
        (gradient,) = tg.grad(y.sum(), [x])
        assert np.isfinite(gradient.numpy()).all()
    np.testing.assert_allclose(norm.layer_norm(x[:, :1], (1, 3)).detach().numpy(), 0, atol=1e-6)


def test_layer_group_and_instance_norm_are_the_same_op_on_other_axes() -> None:
    x = np.random.default_rng(0).standard_normal((2, 6, 4, 4))
    one_group = norm.group_norm(tg.Tensor(x), 1).numpy()
    np.testing.assert_allclose(norm.layer_norm(tg.Tensor(x), x.shape[1:]).numpy(), one_group)
    own_group = norm.group_norm(tg.Tensor(x), 6).numpy()
    np.testing.assert_allclose(norm.instance_norm(tg.Tensor(x)).numpy(), own_group)
    # In a batch of one, the statistics of a channel are those of the instance.
    alone = norm.batch_norm(tg.Tensor(x[:1]), training=True).numpy()
    np.testing.assert_allclose(alone, own_group[:1], rtol=1e-9, atol=1e-12)


def test_nothing_is_normalized_to_nothing() -> None:
    for shape, last in (((0, 3), (3,)), ((3, 0), (0,))):
        assert norm.layer_norm(tg.zeros(shape), last).shape == shape
    assert norm.group_norm(tg.zeros(0, 4, 2), 2).shape == (0, 4, 2)
    assert norm.instance_norm(tg.zeros(0, 4, 2)).shape == (0, 4, 2)
    assert norm.local_response_norm(tg.zeros(0, 4, 2), 3).shape == (0, 4, 2)


# ----- constants, large means, the ends of what floats hold ---------------------------------------

CONSTANTS = [
    *(("float16", c) for c in (0.0, 300.0, 60_000.0, 0.1)),
    *(("float32", c) for c in (128.3, 1e4 / 3, 1e20, -1e-20)),
    *(("float64", c) for c in (128.3, -1e5 / 3, 1e200)),
]


@pytest.mark.parametrize(("dtype", "value"), CONSTANTS)
@pytest.mark.parametrize("shape", [(64, 3, 64, 64), (4000, 3), (7, 3, 5)])
def test_a_constant_channel_becomes_the_bias(dtype: str, value: float, shape: Any) -> None:
    """Between two other channels. Its mean is the constant to the last digit, its variance 0."""
    values = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    values[:, 1] = value
    bias = np.array([1.0, 2.0, 3.0], dtype)
    mean, var = tg.zeros(3, dtype=dtype), tg.ones(3, dtype=dtype)
    x = tg.Tensor(values, requires_grad=True)
    y = norm.batch_norm(x, mean, var, bias=tg.Tensor(bias), training=True, momentum=1.0)
    np.testing.assert_array_equal(y.detach().numpy()[:, 1], bias[1])
    assert mean.numpy()[1] == values[(0, 1, *(0,) * (len(shape) - 2))]
    assert var.numpy()[1] == 0
    g = np.ones(shape, dtype)
    for graph in (True, False):
        (found,) = tg.grad(y, [x], tg.Tensor(g), create_graph=graph)
        np.testing.assert_array_equal(found.detach().numpy()[:, 1], 0)
    y = norm.batch_norm(x, mean, var, bias=tg.Tensor(bias))  # with the same statistics, evaluated
    np.testing.assert_array_equal(y.detach().numpy()[:, 1], bias[1])
    centered = norm.subtract_mean(x, (0, *range(2, len(shape)))).detach().numpy()
    np.testing.assert_array_equal(centered[:, 1], 0)


def batch_norm(x: Any, g: Any, eps: float) -> tuple[Any, Any]:
    """The result and the gradient, of deviations that lose no digit to the mean."""
    axes = (0, *range(2, x.ndim))
    first = x[(slice(1), slice(None), *(slice(1),) * (x.ndim - 2))]
    d = (x - first).astype("float64")  # exact where all numbers are close to one another
    d = d - d.mean(axes, keepdims=True)
    g = g.astype("float64") - g.astype("float64").mean(axes, keepdims=True)
    r = 1 / np.sqrt((d * d).mean(axes, keepdims=True) + eps)
    return d * r, r * (g - d * r * (g * d * r).mean(axes, keepdims=True))


def batch_by_batch(x: tg.Tensor) -> tg.Tensor:
    return norm.batch_norm(x, training=True)


def channel_by_channel(x: tg.Tensor) -> tg.Tensor:
    """The same by way of layer_norm, of a channel as one sample."""
    channels = tg.swapaxes(x, 0, 1)
    flat = channels.reshape(len(channels), -1)
    return tg.swapaxes(norm.layer_norm(flat, flat.shape[1]).reshape(channels.shape), 0, 1)


FAR = [
    ("float32", 1e4, 1.0),
    ("float32", -1e6, 1.0),  # E[x²] - E[x]² has 4 digits left, in float64
    ("float32", 1e3, 1e-2),
    ("float64", 1e7, 0.1),
    ("float16", 1000.0, 2.0),
]


@pytest.mark.parametrize(("dtype", "mean", "spread"), FAR)
@pytest.mark.parametrize("shape", [(200, 2), (20, 2, 30, 30)])
@pytest.mark.parametrize("normalized", [batch_by_batch, channel_by_channel])
def test_far_from_0_normalization_loses_no_digit(
    normalized: Callable[[tg.Tensor], tg.Tensor],
    dtype: str,
    mean: float,
    spread: float,
    shape: Any,
) -> None:
    rng = np.random.default_rng(1)
    values = (mean + spread * rng.uniform(-1, 1, shape)).astype(dtype)
    g = (10 + rng.standard_normal(shape)).astype(dtype)
    expected, slope = batch_norm(values, g, 1e-5)
    x = tg.Tensor(values, requires_grad=True)
    y = normalized(x)
    eps = float(np.finfo(dtype).eps)
    # In float64 the mean itself is rounded; of narrower floats it has more digits than they.
    deviation = spread / 3**0.5
    near = 8 * eps if dtype != "float64" else float(np.spacing(abs(mean))) / deviation
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=8 * eps, atol=near)
    for graph in (True, False):
        (found,) = tg.grad(y, [x], tg.Tensor(g), create_graph=graph)
        scale = float(np.abs(slope).max())
        np.testing.assert_allclose(
            found.detach().numpy() / scale, slope / scale, rtol=0, atol=2 * near
        )


EXTREMES = [
    ("float16", 1.0),
    ("float16", 300.0),
    ("float16", 2e4),
    ("float32", 1.0),
    ("float32", 1e20),
    ("float32", 1e37),
]
COMPOSITES: dict[str, Callable[..., tg.Tensor]] = {
    "batch_norm": lambda x, w: norm.batch_norm(x, weight=w, training=True),
    "batch_norm: evaluated": lambda x, w: norm.batch_norm(x, 0.5 * w, w * w, w),
    "layer_norm": lambda x, w: norm.layer_norm(x, (6,), bias=w),
    "group_norm": lambda x, w: norm.group_norm(x, 2, w),
    "instance_norm": lambda x, w: norm.instance_norm(x, weight=w),
    "rms_norm": lambda x, w: norm.rms_norm(x, (6, 6), eps=1e-5),
    "local_response_norm": lambda x, w: norm.local_response_norm(x, 3),
    "normalize": lambda x, w: norm.normalize(x, 2.0, 2),
    "normalize: p = 3": lambda x, w: norm.normalize(x, 3.0, 1),
    "subtract_mean": lambda x, w: norm.subtract_mean(x, 0),
}


@pytest.mark.parametrize(("dtype", "scale"), EXTREMES)
@pytest.mark.parametrize("name", COMPOSITES)
def test_narrow_floats_give_what_float64_gives(name: str, dtype: str, scale: float) -> None:
    """Of the same numbers, rounded once; in both readings of the rules."""
    rng = np.random.default_rng(2)
    inputs = [(scale * rng.uniform(-1, 1, (5, 6, 6))).astype(dtype), np.arange(1, 7).astype(dtype)]
    g = rng.standard_normal((5, 6, 6)).astype(dtype)
    results: list[Any] = []
    for wide in (True, False):
        x, w = (tg.Tensor(v.astype("float64") if wide else v) for v in inputs)
        x.requires_grad_()
        y = COMPOSITES[name](x, w)
        readings = [
            tg.grad(y, [x], tg.Tensor(g.astype(y.dtype)), retain_graph=True, create_graph=graph)[0]
            for graph in (False, True)
        ]
        assert wide or y.dtype == dtype
        results.append([t.detach().numpy().astype("float64") for t in (y, *readings)])
    tiny, eps = float(np.finfo(dtype).smallest_subnormal), float(np.finfo(dtype).eps)
    for exact, found in zip(*results, strict=True):
        size = float(np.abs(exact).max())
        np.testing.assert_allclose(found, exact, rtol=4 * eps, atol=4 * eps * size + tiny)


def test_the_least_length_of_a_direction_is_none_of_half_precision() -> None:
    zeros = tg.zeros(1, 2, dtype="float16")
    assert norm.normalize(zeros).tolist() == [[0, 0]]
    assert norm.rms_norm(zeros, (2,)).tolist() == [[0, 0]]
    pair = tg.Tensor(np.full(2, 300, "float16"))
    assert norm.rms_norm(pair, (2,)).tolist() == [1, 1]
    many = tg.Tensor(np.array([[100], [101]] * 400, "float16"))
    assert norm.batch_norm(many, training=True).numpy().ravel().tolist() == [-1, 1] * 400


def test_a_row_with_an_infinity_leaves_the_others_alone() -> None:
    values = np.random.default_rng(0).standard_normal((3, 4))
    values[1, 2] = np.inf
    with np.errstate(invalid="ignore"):
        for y in (
            norm.layer_norm(tg.Tensor(values), 4),
            norm.subtract_mean(tg.Tensor(values), 1),
            norm.batch_norm(tg.Tensor(values.T), training=True).mT,
        ):
            assert np.isfinite(y.numpy()[[0, 2]]).all()
            assert not np.isfinite(y.numpy()[1]).any()


# ----- instance norm moves its statistics --------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.1, 1.0])
def test_running_statistics_move_towards_the_means_over_the_batch(momentum: float) -> None:
    rng = np.random.default_rng(0)
    mean, var = rng.standard_normal(3), rng.uniform(0.5, 2.0, 3)
    running_mean, running_var = tg.Tensor(mean), tg.Tensor(var)
    for _ in range(2):
        x = rng.standard_normal((4, 3, 5))
        y = norm.instance_norm(tg.Tensor(x), running_mean, running_var, momentum=momentum)
        np.testing.assert_allclose(y.numpy(), instance_norm(x), rtol=1e-9)
        means, variances = x.mean(2), x.var(2)
        mean = oracles.running_update(mean, means.mean(0), momentum, 5, unbiased=False)
        var = oracles.running_update(var, variances.mean(0), momentum, 5, unbiased=True)
    np.testing.assert_allclose(running_mean.numpy(), mean, rtol=1e-9)
    np.testing.assert_allclose(running_var.numpy(), var, rtol=1e-9)
    y = norm.instance_norm(tg.Tensor(x), running_mean, running_var, use_input_stats=False)
    expected = oracles.batch_norm_eval(x, mean, var, None, None)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-9)


def test_the_statistics_are_no_part_of_the_graph() -> None:
    x = tg.randn(2, 3, 4, requires_grad=True)
    mean, var = tg.zeros(3), tg.ones(3)
    norm.instance_norm(x, mean, var).sum().backward()
    assert not mean.requires_grad
    assert not var.requires_grad


# ----- the course --------------------------------------------------------------------------------


def test_the_mean_is_subtracted_forward_and_backward() -> None:
    """h_i = x_i - (1/D) Σ_k x_k sends back the same of its gradient."""
    rng = np.random.default_rng(0)
    x = tg.Tensor(rng.standard_normal(5), requires_grad=True)
    h = norm.subtract_mean(x)
    np.testing.assert_allclose(h.detach().numpy(), x.detach().numpy() - x.detach().numpy().mean())
    g = rng.standard_normal(5)
    h.backward(tg.Tensor(g))
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), g - g.mean(), rtol=1e-12)
    assert tg.formula(norm.SubtractMean) == {"x": "subtract_mean(g)"}


@pytest.mark.parametrize("axes", [0, (0, 2, 3), -1, None])
def test_mean_image_and_mean_of_each_channel(axes: Any) -> None:
    x = np.random.default_rng(0).standard_normal((4, 3, 2, 2))
    expected = x - x.mean(axes, keepdims=True)
    for how in ({"dim": axes}, {"axis": axes}):
        y = norm.subtract_mean(tg.Tensor(x), **how)
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12, atol=1e-15)


def test_the_response_norm_of_alexnet() -> None:
    """b_i = a_i / (k + α Σ_j a_j²)^β for j from max(0, i - n/2) to min(N - 1, i + n/2)."""
    n, alpha, beta, k = 5, 1e-4, 0.75, 2.0
    a = np.random.default_rng(0).uniform(0, 100, (1, 8, 1))
    b = [
        a[0, i, 0] / (k + alpha * sum(a[0, max(0, i - n // 2) : i + n // 2 + 1, 0] ** 2)) ** beta
        for i in range(8)
    ]
    y = norm.local_response_norm(tg.Tensor(a), n, alpha, beta, k, divide=False)
    np.testing.assert_allclose(y.numpy().ravel(), b, rtol=1e-12)


# ----- vectors of length 1 -----------------------------------------------------------------------


def test_the_direction_of_0_is_0_and_of_huge_vectors_exact() -> None:
    values = np.array([[3e200, 4e200], [3e-200, 4e-200]])
    y = norm.normalize(tg.Tensor(values), eps=1e-300)
    np.testing.assert_allclose(y.numpy(), [[0.6, 0.8], [0.6, 0.8]], rtol=1e-12)
    zero = tg.zeros(1, 2, requires_grad=True)
    y = norm.normalize(zero, eps=0.5)
    assert y.tolist() == [[0, 0]]
    y.sum().backward()
    assert zero.grad is not None
    assert zero.grad.tolist() == [[2, 2]]


def test_gradients_below_the_least_length() -> None:
    """There the divisor is eps, a constant."""
    check_gradients(lambda x: norm.normalize(x, eps=10.0), [np.array([[1.0, 2.0]])])


# ----- errors ------------------------------------------------------------------------------------

WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "layer_norm: another shape": (
        lambda: norm.layer_norm(tg.ones(2, 3), (2,)),
        r"layer_norm: .*normalized_shape \(2,\).*\(2, 3\)",
    ),
    "rms_norm: more axes than there are": (
        lambda: norm.rms_norm(tg.ones(3), (2, 3)),
        r"rms_norm: .*\(2, 3\).*\(3,\)",
    ),
    "layer_norm: no axis": (lambda: norm.layer_norm(tg.ones(3), ()), r"normalized_shape \(\)"),
    "layer_norm: weight": (
        lambda: norm.layer_norm(tg.ones(2, 3), 3, tg.ones(2)),
        r"weight must have the shape \(3,\); got \(2,\)",
    ),
    "group_norm: groups": (
        lambda: norm.group_norm(tg.ones(2, 3), 2),
        "3 channels do not split into 2 equal groups",
    ),
    "group_norm: no channels": (lambda: norm.group_norm(tg.ones(3), 1), r"\(N, C\).*\(3,\)"),
    "group_norm: bias": (
        lambda: norm.group_norm(tg.ones(2, 3), 3, None, tg.ones(2)),
        r"bias must have the shape \(3,\); got \(2,\)",
    ),
    "instance_norm: one position": (
        lambda: norm.instance_norm(tg.ones(2, 3, 1)),
        r"at least 2 positions.*\(2, 3, 1\)",
    ),
    "instance_norm: half of the statistics": (
        lambda: norm.instance_norm(tg.ones(2, 3, 2), tg.ones(3)),
        "both running_mean and running_var",
    ),
    "local_response_norm: axes": (
        lambda: norm.local_response_norm(tg.ones(2, 3), 2),
        r"\(N, C, \*S\); got \(2, 3\)",
    ),
    "local_response_norm: size": (
        lambda: norm.local_response_norm(tg.ones(2, 3, 1), 0),
        "at least 1; got 0",
    ),
    "normalize: p": (lambda: norm.normalize(tg.ones(2, 3), p=math.nan), "norm: p is .*got nan"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_error_says_what_was_given_and_expected(name: str) -> None:
    call, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        call()


NORMS: dict[str, Callable[..., Any]] = {
    "batch": lambda x: norm.batch_norm(x, training=True),
    "group": lambda x: norm.group_norm(x, 2),
    "instance": norm.instance_norm,
    "layer": lambda x: norm.layer_norm(x, 5),
    "local response": lambda x: norm.local_response_norm(x, 3),
    "rms": lambda x: norm.rms_norm(x, (5,), eps=1e-6),
}


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64"])
def test_a_norm_of_integers_is_that_of_the_numbers(name: str, dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 100, (2, 4, 5)).astype(dtype)
    y = NORMS[name](tg.Tensor(x))
    assert y.dtype == tg.float32
    expected = NORMS[name](tg.Tensor(x.astype("float64"))).numpy()
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("momentum", [0.1, 1.0])
def test_a_running_variance_beyond_half_precision_is_infinite(momentum: float) -> None:
    x = tg.tensor([[[500.0, -500.0, 500.0], [1.0, 2.0, 3.0]]] * 2, dtype=tg.float16)
    for f in (norm.batch_norm, norm.instance_norm):
        mean = tg.zeros(2, dtype=tg.float16)
        var = tg.full((2,), 60000.0, dtype=tg.float16)
        with np.errstate(over="ignore"):
            for _ in range(3):
                y = f(x, mean, var, momentum=momentum, **TRAINING.get(f, {}))
        assert np.isfinite(y.numpy()).all()
        assert np.isfinite(mean.numpy()).all()
        assert math.isinf(var[0].item())
        assert math.isfinite(var[1].item())


TRAINING: dict[Any, dict[str, bool]] = {norm.batch_norm: {"training": True}}


def test_an_infinite_weight_gives_infinities_and_no_nan() -> None:
    x = tg.tensor([[1.1, 3.0], [2.3, 5.0], [7.9, 9.0]], requires_grad=True)
    y = norm.batch_norm(x, weight=tg.tensor([math.inf, 1.0]), training=True)
    assert y[:, 0].tolist() == [-math.inf, -math.inf, math.inf]
    for recorded in (False, True):
        y = norm.batch_norm(x, weight=tg.tensor([math.inf, 1.0]), training=True)
        g = tg.tensor([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]])
        (gradient,) = tg.grad(y, [x], g, create_graph=recorded)
        assert np.isfinite(gradient.detach().numpy()[:, 1]).all()
        assert not np.isnan(gradient.detach().numpy()).any()
