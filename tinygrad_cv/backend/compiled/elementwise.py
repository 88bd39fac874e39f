"""One number in, one number out: kernels that walk over memory once.

The arrays may lie in memory in any order of their axes: what is walked over is their memory. `flat`
gives it, and `in_parts` shares it out over the threads. What is done with each number is written
down once, for `Lanes`, in a table: POINTWISE for the functions and their slopes, GATES for those
that also tell where their slope is another one.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from inspect import signature
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from tinygrad_cv.backend.compiled.functions import (
    Function,
    Lanes,
    absolute,
    erf,
    erfc,
    exp,
    expm1,
    far_erfc,
    halves,
    largest,
    limited,
    log,
    log1p,
    multiply_add,
    select,
    sigmoid,
    sqrt,
    tanh,
)
from tinygrad_cv.backend.compiled.jit import kernel
from tinygrad_cv.backend.compiled.vectors import (
    BYTES,
    I32,
    LANES,
    MASK,
    VECTOR,
    call,
    first_lanes,
    load,
    load_first,
    place,
    read,
    splat,
    store,
    store_first,
    vector,
    write,
)
from tinygrad_cv.backend.threads import parallel, split

Array = Any

PART = 1 << 16
"""How many numbers a part has at least: a hand-over to another thread takes as long."""


def flat(x: Array, *others: Array) -> list[Array] | None:
    """The memory of arrays of one shape and layout as vectors; None where one has gaps."""
    arrays = (x, *others)
    if all(a.flags.c_contiguous for a in arrays):
        return [a.reshape(-1) for a in arrays]
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    rows = [a.transpose(order) for a in arrays]
    if not all(a.flags.c_contiguous for a in rows):
        return None
    return [a.reshape(-1) for a in rows]


def alike(made: Sequence[Array], given: Sequence[Array]) -> list[Array]:
    """The memory of arrays that a kernel makes, which have no gaps, and of those that it is given.

    Those come in the order of the first; what lies in another one is copied.
    """
    rows = flat(*made, *given)
    if rows is None:
        copies = []
        for a in given:
            copies.append(np.empty_like(made[0], dtype=a.dtype))
            copies[-1][...] = a
        rows = flat(*made, *copies)
    assert rows is not None
    return rows


def in_parts(work: Callable[[slice], Any], size: int, part: int = PART) -> None:
    """`work` on slices of `size` numbers, over the threads; small work stays on this one."""
    if size < 2 * part:
        work(slice(0, size))
    else:
        parallel(work, split(size, min(16, size // part)))


# ----- functions and their slopes ----------------------------------------------------------------
# Those of one array x, and those of a gradient g and x whose names end on _backward: g · f'(x), by
# the rule that stands beside the forward in ops/activation.py. There, too, is what the numbers say.
# As there, what dies out is multiplied by x within ±FAR, for ∞ · 0 is no number.

FAR = 1000.0
GELU_SCALE, GELU_CUBE = math.sqrt(2 / math.pi), 0.044715
SELU_SCALE, SELU_ALPHA = 1.0507009873554804934, 1.6732632423543772848

POINTWISE: dict[str, Callable[..., Lanes]] = {
    "exp": exp,
    "expm1": expm1,
    "log": log,
    "log1p": log1p,
    "tanh": tanh,
    "sqrt": sqrt,
    "erf": erf,
    "erfc": erfc,
    "sigmoid": sigmoid,
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "true_divide": lambda x, y: x / y,
}


def pointwise_kernel(definition: Callable[..., Lanes]) -> Callable[..., Lanes]:
    """Put a function into the table, under its name."""
    POINTWISE[definition.__name__] = definition
    return definition


def _both_sigmoids(x: Lanes) -> tuple[Lanes, Lanes]:
    """σ(x) and σ(-x), with one power."""
    small = exp(-absolute(x))
    large = 1.0 / (1.0 + small)
    small = small * large
    return select(x < 0.0, small, large), select(x < 0.0, large, small)


def _bell(x: Lanes) -> Lanes:
    """σ(x) · σ(-x)"""
    small = exp(-absolute(x))
    total = 1.0 + small
    return small / (total * total)


def _softplus(x: Lanes) -> Lanes:
    return largest(x, 0.0) + log1p(exp(-absolute(x)))


@pointwise_kernel
def sigmoid_backward(g: Lanes, x: Lanes) -> Lanes:
    return g * _bell(x)


@pointwise_kernel
def tanh_backward(g: Lanes, x: Lanes) -> Lanes:
    return g * (4.0 * _bell(2.0 * x))


@pointwise_kernel
def logsigmoid(x: Lanes) -> Lanes:
    return -_softplus(-x)


@pointwise_kernel
def logsigmoid_backward(g: Lanes, x: Lanes) -> Lanes:
    return g * sigmoid(-x)


@pointwise_kernel
def softplus(x: Lanes, threshold: Lanes) -> Lanes:
    return select(x > threshold, x, _softplus(x))


@pointwise_kernel
def softplus_backward(g: Lanes, x: Lanes, threshold: Lanes) -> Lanes:
    return select(x > threshold, g, g * sigmoid(x))


@pointwise_kernel
def silu(x: Lanes) -> Lanes:
    return select(x < -FAR, -FAR, x) * sigmoid(x)


@pointwise_kernel
def silu_backward(g: Lanes, x: Lanes) -> Lanes:
    z = limited(x, -FAR, FAR)
    share, rest = _both_sigmoids(z)
    return g * share * multiply_add(z, rest, 1.0)


def _mish(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """eˣ, n and n + 2: tanh(softplus x) = n / (n + 2) with n = eˣ(eˣ + 2). From 20 on it is 1."""
    power = exp(select(x > 20.0, 20.0, x))
    n = power * (power + 2.0)
    return power, n, n + 2.0


@pointwise_kernel
def mish(x: Lanes) -> Lanes:
    _, n, total = _mish(x)
    return select(x < -FAR, -FAR, x) * (n / total)


@pointwise_kernel
def mish_backward(g: Lanes, x: Lanes) -> Lanes:
    power, n, total = _mish(x)
    slope = 4.0 * power * (power + 1.0) / (total * total)
    return g * multiply_add(limited(x, -FAR, FAR), slope, n / total)


def _normal(x: Lanes) -> tuple[Lanes, Lanes]:
    """Φ(x), the normal distribution function, and √(2π) times its density."""
    size = limited(absolute(x), 0.0, 15.5)
    tail, bell = far_erfc(size, 0.5)
    tail = 0.5 * tail
    return select(x > 0.0, 1.0 - tail, tail), bell


@pointwise_kernel
def gelu(x: Lanes) -> Lanes:
    return select(x < -FAR, -FAR, x) * _normal(x)[0]


@pointwise_kernel
def gelu_backward(g: Lanes, x: Lanes) -> Lanes:
    share, density = _normal(x)
    z = limited(x, -FAR, FAR)
    return g * multiply_add(z, density * (1 / math.sqrt(2 * math.pi)), share)


def _product(x: Lanes, y: Lanes) -> tuple[Lanes, Lanes]:
    """x · y, and what its rounding took (T. Dekker, 1971): products of halves are exact."""
    product = x * y
    (a, b), (c, d) = halves(x), halves(y)
    rest = multiply_add(a, d, multiply_add(a, c, -product))
    return product, multiply_add(b, d, multiply_add(b, c, rest))


def _gelu_tanh(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """z = x within ±25, σ(u) and σ(-u) for u = 2√(2/π) (z + 0.044715 z³).

    u is a sum of two numbers, for what its rounding takes would be multiplied in the power.
    """
    z = limited(x, -25.0, 25.0)
    a, b = 2 * GELU_SCALE, 2 * GELU_SCALE * GELU_CUBE
    square, square_rest = _product(z, z)
    scale = float(np.float32(b))
    cubic, cubic_rest = _product(square, square.full(scale))
    cubic_rest = cubic_rest + square_rest * scale + square * (b - scale)
    first = float(np.float32(a))
    total = cubic + first
    part = total - first
    rest = (first - (total - part)) + (cubic - part) + (cubic_rest + (a - first))
    u, u_rest = _product(total, z)
    u_rest = multiply_add(rest, z, u_rest)
    small = exp(-absolute(u))
    small = small * (1.0 + select(u < 0.0, u_rest, -u_rest))
    large = 1.0 / (1.0 + small)
    small = small * large
    return z, select(u < 0.0, small, large), select(u < 0.0, large, small)


@pointwise_kernel
def gelu_tanh(x: Lanes) -> Lanes:
    return select(x < -25.0, -25.0, x) * _gelu_tanh(x)[1]


@pointwise_kernel
def gelu_tanh_backward(g: Lanes, x: Lanes) -> Lanes:
    z, share, rest = _gelu_tanh(x)
    slope = 2 * GELU_SCALE * multiply_add(z * z, 3 * GELU_CUBE, 1.0)
    return g * share * multiply_add(z * slope, rest, 1.0)


@pointwise_kernel
def elu(x: Lanes, alpha: Lanes) -> Lanes:
    return select(x > 0.0, x, alpha * expm1(select(x > 0.0, 0.0, x)))


@pointwise_kernel
def elu_backward(g: Lanes, x: Lanes, alpha: Lanes) -> Lanes:
    return select(x > 0.0, g, g * alpha * exp(select(x > 0.0, 0.0, x)))


@pointwise_kernel
def selu(x: Lanes) -> Lanes:
    return SELU_SCALE * select(x > 0.0, x, SELU_ALPHA * expm1(select(x > 0.0, 0.0, x)))


@pointwise_kernel
def selu_backward(g: Lanes, x: Lanes) -> Lanes:
    slope = select(x > 0.0, 1.0, SELU_ALPHA * exp(select(x > 0.0, 0.0, x)))
    return g * SELU_SCALE * slope


@pointwise_kernel
def softsign(x: Lanes) -> Lanes:
    z = limited(x, -1e30, 1e30)
    return z / (1.0 + absolute(z))


@pointwise_kernel
def softsign_backward(g: Lanes, x: Lanes) -> Lanes:
    a = 1.0 + absolute(x)
    return g / a / a


@pointwise_kernel
def hardswish(x: Lanes) -> Lanes:
    return select(x < -3.0, -3.0, x) * (limited(x + 3.0, 0.0, 6.0) / 6.0)


@pointwise_kernel
def hardswish_backward(g: Lanes, x: Lanes) -> Lanes:
    bent = g * (2.0 * limited(x, -3.0, 3.0) + 3.0) / 6.0
    return select(x <= -3.0, 0.0, select(x >= 3.0, g, bent))


def _step(name: str, arrays: int) -> Function:
    """A function of the table, of so many arrays and of two numbers that it may not ask for."""
    definition = POINTWISE[name]
    count = (
        definition.count
        if isinstance(definition, Function)
        else len(signature(definition).parameters)
    )
    return Function(name, lambda *args: definition(*args[:count]), arrays + 2)


@cache
def _of_one(name: str) -> Any:
    step = _step(name, 1)

    @kernel(name=f"pointwise_{name}")
    def walk(x: Array, y: Array, p: float, q: float, start: int, stop: int) -> None:
        a, b = splat(p), splat(q)
        whole = stop - (stop - start) % LANES
        for i in range(start, whole, LANES):
            store(y, i, step(load(x, i), a, b))
        if whole < stop:
            n = stop - whole
            store_first(y, whole, step(load_first(x, whole, n), a, b), n)

    return walk


@cache
def _of_two(name: str) -> Any:
    step = _step(name, 2)

    @kernel(name=f"pointwise_{name}")
    def walk(g: Array, x: Array, y: Array, p: float, q: float, start: int, stop: int) -> None:
        a, b = splat(p), splat(q)
        whole = stop - (stop - start) % LANES
        for i in range(start, whole, LANES):
            store(y, i, step(load(g, i), load(x, i), a, b))
        if whole < stop:
            n = stop - whole
            v = step(load_first(g, whole, n), load_first(x, whole, n), a, b)
            store_first(y, whole, v, n)

    return walk


def pointwise(name: str, arrays: Sequence[Array], numbers: Sequence[float] = ()) -> Array | None:
    """See `Backend.pointwise`."""
    if name not in POINTWISE:
        return None
    walk = _of_one(name) if len(arrays) == 1 else _of_two(name)
    out = np.empty_like(arrays[-1])
    y, *rows = alike((out,), arrays)
    p, q = (*map(np.float32, numbers), *NONE)[:2]
    if out.size < 2 * PART:
        walk(*rows, y, p, q, 0, out.size)
    else:
        in_parts(lambda part: walk(*rows, y, p, q, part.start, part.stop), out.size)
    return out


NONE = (np.float32(0), np.float32(0))


# ----- gates: a value, and where its slope is that of the middle ---------------------------------
# The truth values are all that is kept of x. The numbers are those of the ops.

GATES: dict[str, Callable[..., tuple[Lanes, Lanes]]] = {
    "relu": lambda x: (largest(x, 0.0), x > 0.0),
    "leaky_relu": lambda x, slope: (select(x > 0.0, x, slope * x), x > 0.0),
    "relu6": lambda x: (limited(x, 0.0, 6.0), (x > 0.0) & (x < 6.0)),
    "hardsigmoid": lambda x: (limited(x + 3.0, 0.0, 6.0) / 6.0, (x > -3.0) & (x < 3.0)),
}


def _gate_step(name: str) -> Any:
    """y[i] and truth[i] of a vector x, for its first n lanes (all, where n is LANES)."""
    definition = GATES[name]
    count = len(signature(definition).parameters)

    @intrinsic
    def step(typing: Any, x: Any, p: Any, y: Any, truth: Any, i: Any, n: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x, p, y, truth, i, n = args
            value, mask = definition(*[Lanes(builder, a) for a in (x, p)][:count])
            at = place(context, builder, signature.args[2], y, i)
            at_bytes = place(context, builder, signature.args[3], truth, i)
            data = builder.zext(mask.value, BYTES)
            with builder.if_else(builder.icmp_signed("==", n, n.type(LANES)), likely=True) as (
                whole,
                rest,
            ):
                with whole:
                    write(builder, value.value, at)
                    write(builder, data, at_bytes)
                with rest:
                    some = first_lanes(builder, n)
                    masked_write(builder, value.value, at, some)
                    masked_write(builder, data, at_bytes, some)
            return context.get_dummy_value()

        n64 = types.intp
        return types.void(vector, vector, y, truth, n64, n64), generate

    return step


def masked_write(builder: Any, value: Any, address: Any, mask: Any) -> None:
    """Put the lanes of a mask at an address."""
    kind, width = ("f32", 4) if value.type == VECTOR else ("i8", 1)
    to = builder.bitcast(address, value.type.as_pointer())
    name = f"llvm.masked.store.v{LANES}{kind}.p0"
    call(builder, name, ir.VoidType(), value, to, ir.Constant(I32, width), mask)


@cache
def _gate(name: str) -> Any:
    step = _gate_step(name)

    @kernel(name=f"gate_{name}")
    def walk(x: Array, y: Array, truth: Array, p: float, start: int, stop: int) -> None:
        a = splat(p)
        whole = stop - (stop - start) % LANES
        for i in range(start, whole, LANES):
            step(load(x, i), a, y, truth, i, LANES)
        if whole < stop:
            step(load_first(x, whole, stop - whole), a, y, truth, whole, stop - whole)

    return walk


def gate(name: str, x: Array, number: float = 0.0) -> tuple[Array, Array]:
    """See `Backend.gate`."""
    walk = _gate(name)
    y, truth = np.empty_like(x), np.empty_like(x, dtype=bool)
    rows = alike((y, truth), (x,))
    p = np.float32(number)
    in_parts(lambda part: walk(rows[2], rows[0], rows[1], p, part.start, part.stop), x.size)
    return y, truth


@intrinsic
def _where(typing: Any, truth: Any, i: Any, x: Any, y: Any) -> Any:
    """x where truth[i : i + LANES], else y"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        truth, i, x, y = args
        data = read(builder, place(context, builder, signature.args[0], truth, i), BYTES)
        return builder.select(builder.trunc(data, MASK), x, y)

    return vector(truth, types.intp, vector, vector), generate


@kernel
def _gate_backward(
    g: Array, truth: Array, out: Array, p: float, q: float, start: int, stop: int
) -> None:
    yes, no, zero = splat(p), splat(q), splat(np.float32(0))
    whole = stop - (stop - start) % LANES
    if q == 0:  # also where g is no number
        for i in range(start, whole, LANES):
            store(out, i, _where(truth, i, load(g, i) * yes, zero))
    else:
        for i in range(start, whole, LANES):
            v = load(g, i)
            store(out, i, _where(truth, i, v * yes, v * no))
    for i in range(whole, stop):
        if truth[i]:
            out[i] = g[i] * p
        else:
            out[i] = g[i] * q if q != 0 else np.float32(0)


def gate_backward(g: Array, truth: Array, yes: float = 1.0, no: float = 0.0) -> Array:
    """See `Backend.gate_backward`."""
    out = np.empty_like(truth, dtype=g.dtype)
    rows = alike((out,), (g, truth))
    p, q = np.float32(yes), np.float32(no)
    in_parts(
        lambda part: _gate_backward(rows[1], rows[2], rows[0], p, q, part.start, part.stop), g.size
    )
    return out
