"""The kernels that walk over memory once, against the ops' own forward and rule in float64."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numba")

import tinygrad_cv as tg
import tinygrad_cv.nn.functional as F
from tinygrad_cv.backend.compiled import elementwise
from tinygrad_cv.backend.compiled.backend import LEAST_OF, CompiledBackend
from tinygrad_cv.backend.numpy_backend import NumpyBackend

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("compiled_kernels")]

Array = Any
NUMPY, COMPILED = NumpyBackend(), CompiledBackend()


SMOOTH = {
    "sigmoid": (F.sigmoid, {}, ()),
    "tanh": (F.tanh, {}, ()),
    "logsigmoid": (F.logsigmoid, {}, ()),
    "softplus": (F.softplus, {"threshold": 15.0}, (15.0,)),
    "silu": (F.silu, {}, ()),
    "mish": (F.mish, {}, ()),
    "gelu": (F.gelu, {}, ()),
    "gelu_tanh": (F.gelu, {"approximate": "tanh"}, ()),
    "elu": (F.elu, {"alpha": 0.75}, (0.75,)),
    "selu": (F.selu, {}, ()),
    "softsign": (F.softsign, {}, ()),
    "hardswish": (F.hardswish, {}, ()),
}
"""By the names of the kernels: the function, its options, and the kernel's numbers."""

GATES = {
    "relu": (F.relu, {}, 0.0, (1.0, 0.0)),
    "leaky_relu": (F.leaky_relu, {"negative_slope": 0.25}, 0.25, (1.0, 0.25)),
    "relu6": (F.relu6, {}, 0.0, (1.0, 0.0)),
    "hardsigmoid": (F.hardsigmoid, {}, 0.0, (1 / 6, 0.0)),
}
"""The same, with what g is multiplied by."""

EDGES = (0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3e38, -3e38, 3, -3, 6, -1000, 1000, 25, -25)


def reference(function: Any, options: Any, x: Array, g: Array) -> tuple[Array, Array]:
    """The op's value and gradient in float64, by NumPy."""
    tg.set_kernels("numpy")
    t = tg.tensor(x.astype("float64"), requires_grad=True)
    y = function(t, **options)
    y.backward(tg.tensor(g.astype("float64")))
    tg.set_kernels("compiled")
    assert t.grad is not None
    return y.detach().numpy(), t.grad.numpy()


def close(y: Array, wanted: Array, scale: Array, x: Array) -> None:
    """Within 16 units in the last place, or where a sum may cancel, of the larger of the terms.

    A share that is subnormal has lost digits by the time x multiplies it, or in the slope of
    gelu_tanh a cubic of x, up to 500, and g.
    """
    with np.errstate(all="ignore"):
        rounded = wanted.astype("float32")
        finite = np.isfinite(rounded)
        np.testing.assert_array_equal(y[~finite], rounded[~finite])
        bound = 16 * np.spacing(np.abs(rounded)).astype("float64") + 2e-42
        bound = np.where(np.abs(x) < 3, np.maximum(bound, 3e-7 * np.abs(scale)), bound)
        bound = np.where(np.abs(x) > 80, 1e-37, bound) + np.abs(wanted) * 1e-6 * (np.abs(x) > 80)
        off = finite & ~(np.abs(y.astype("float64") - wanted) <= bound)
    assert not off.any(), (x[off][:5], y[off][:5], wanted[off][:5])


def numbers(seed: int, size: int) -> tuple[Array, Array]:
    """Places near and far, with the odd ones at either end, and gradients."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, rng.choice([0.1, 1, 5, 30]), size).astype("float32")
    some = min(size, len(EDGES))
    x[size - some :] = rng.permutation(np.array(EDGES, "float32"))[:some]
    return x, rng.normal(0, 1, size).astype("float32")


@pytest.mark.parametrize("name", SMOOTH)
@given(seed=st.integers(0, 1000), size=st.integers(0, 100))
def test_a_function_and_its_slope(name: str, seed: int, size: int) -> None:
    """Of any number of elements: whole vectors, and a last one that is not full."""
    function, options, parameters = SMOOTH[name]
    x, g = numbers(seed, size)
    wanted, slope = reference(function, options, x, g)
    y = elementwise.pointwise(name, (x,), parameters)
    gradient = elementwise.pointwise(f"{name}_backward", (g, x), parameters)
    assert y is not None
    assert gradient is not None
    close(y, wanted, x, x)
    close(gradient, slope, g, x)


@pytest.mark.parametrize("name", GATES)
@given(seed=st.integers(0, 1000), size=st.integers(0, 100))
def test_a_gate_and_its_slope(name: str, seed: int, size: int) -> None:
    """What a gate says, and that nothing comes through a closed one, also of a g that is ∞."""
    function, options, number, (yes, no) = GATES[name]
    x, g = numbers(seed, size)
    g[: size // 4] = np.inf
    wanted, slope = reference(function, options, x, g)
    inside = {"relu6": (0, 6), "hardsigmoid": (-3, 3)}.get(name, (0, np.inf))
    elementwise.gate(name, np.where((x > inside[0]) & (x < inside[1]), -9, 2).astype("float32"))
    y, truth = elementwise.gate(name, x, number)  # into memory that says the opposite, as a rule
    assert truth.dtype == bool
    open_gates = (x > inside[0]) & ((x < inside[1]) | (inside[1] == np.inf))
    np.testing.assert_array_equal(truth, open_gates)
    close(y, wanted, x, x)
    close(elementwise.gate_backward(g, truth, yes, no), slope, g, x)


@given(
    shape=st.lists(st.integers(0, 9), min_size=0, max_size=4),
    seed=st.integers(0, 100),
    steps=st.lists(st.sampled_from([1, 2, -1]), min_size=4, max_size=4),
)
def test_any_layout(shape: list[int], seed: int, steps: list[int]) -> None:
    """Axes in any order, with gaps, backwards, and a gradient that lies otherwise."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(shape))
    base = rng.normal(0, 2, [2 * shape[i] for i in order]).astype("float32")
    x = base.transpose(np.argsort(order))
    x = x[tuple(slice(None, None, 2 * s) for s in steps[: x.ndim])]
    g = rng.normal(0, 1, x.shape).astype("float32")
    y = elementwise.pointwise("silu", (x,))
    np.testing.assert_allclose(y, x / (1 + np.exp(-x)), rtol=1e-6)
    assert y is not None
    assert y.strides == np.empty_like(x).strides
    y, truth = elementwise.gate("relu", x)
    np.testing.assert_array_equal(y, np.maximum(x, 0))
    np.testing.assert_array_equal(truth, x > 0)
    np.testing.assert_array_equal(elementwise.gate_backward(g, truth), np.where(x > 0, g, 0))
    np.testing.assert_array_equal(elementwise.pointwise("add", (g, x)), g + x)


@pytest.mark.parametrize("size", [3 * elementwise.PART + 1, 2 * elementwise.PART - 1])
def test_the_same_bits_for_any_number_of_threads(size: int) -> None:
    """And the last element of every part is there."""
    rng = np.random.default_rng(0)
    x, g = rng.normal(0, 2, (2, size)).astype("float32")
    results = []
    for threads in (1, 2, 3):
        tg.set_num_threads(threads)
        y, truth = COMPILED.relu(x)
        results.append(
            [y, truth, COMPILED.relu_backward(g, truth), COMPILED.pointwise("gelu_backward", g, x)]
        )
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(results[0][0], np.maximum(x, 0))
    np.testing.assert_array_equal(results[0][2], np.where(x > 0, g, 0))


@pytest.mark.parametrize("name", [*LEAST_OF, "erf", "erfc", "sigmoid"])
def test_what_stands_for_a_ufunc(name: str) -> None:
    """The same as NumPy's to rounding; and whatever else a ufunc takes goes to NumPy."""
    rng = np.random.default_rng(0)
    mine, plain = getattr(COMPILED, name), getattr(NUMPY, name)
    count = 2 if name in ("add", "subtract", "multiply", "true_divide") else 1
    for size in (0, 5, (1 << 17) + 3):
        args = [rng.uniform(0.1, 2, size).astype("float32") for _ in range(count)]
        np.testing.assert_allclose(mine(*args), plain(*args), rtol=5e-7)
    wide = [a.astype("float64") for a in args]
    np.testing.assert_array_equal(mine(*wide), plain(*wide))
    gaps = [a[::2] for a in args]
    np.testing.assert_allclose(mine(*gaps), plain(*gaps), rtol=5e-7)
    if name in LEAST_OF:
        out = np.full_like(args[0], 7)
        where = args[0] > 1
        assert mine(*args, out=out, where=where) is out
        assert (out[~where] == 7).all()
        assert mine(*[2.0] * count) == plain(*[2.0] * count)


def test_broadcasting_is_left_to_numpy() -> None:
    """A row and a column make a matrix."""
    row = np.ones((1, 1 << 17), "float32")
    column = np.full((2, 1 << 16), 2, "float32")[:, :1]
    np.testing.assert_array_equal(COMPILED.add(row, column), row + column)
    g = np.broadcast_to(np.float32(2), (64, 64))
    assert COMPILED.pointwise("silu_backward", g[:1], np.ones((64, 64), "float32")) is None
    y = COMPILED.pointwise("silu_backward", g, np.zeros((64, 64), "float32"))
    np.testing.assert_array_equal(y, np.ones((64, 64)))


@pytest.mark.parametrize("name", [*SMOOTH, *GATES])
def test_an_op_is_the_same_with_and_without(name: str) -> None:
    """Forward and backward of a tensor that is large enough for the kernels."""
    function, options = (SMOOTH.get(name) or GATES[name])[:2]
    x, g = numbers(3, 60 * 64)
    x[np.abs(x) > 100] = 2  # the far ends are looked at above
    found = []
    for kind in ("numpy", "compiled"):
        tg.set_kernels(kind)
        t = tg.tensor(x.reshape(60, 64), requires_grad=True)
        y = function(t, **options)
        y.backward(tg.tensor(g.reshape(60, 64)))
        assert t.grad is not None
        found.append((y.detach().numpy(), t.grad.numpy()))
    for plain, compiled in zip(*found, strict=True):
        assert compiled.dtype == "float32"
        np.testing.assert_allclose(compiled, plain, rtol=2e-6, atol=2e-6)
