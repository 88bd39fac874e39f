"""The steps of optimizers: one pass over all parameters and what is remembered of them. And the
norm of all gradients.

Where the numbers lie is told by a table, with a row for each parameter: how many numbers there are
up to its end, then the addresses of its own, of its gradient, and of what is remembered. A part of
the work is a range of those numbers, and so any part of a large parameter, or many small ones.
"""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numba import carray
from numba.core import types
from numba.extending import intrinsic

from tinygrad_cv.backend.base import Lasting
from tinygrad_cv.backend.compiled.elementwise import flat, in_parts
from tinygrad_cv.backend.compiled.functions import sqrt
from tinygrad_cv.backend.compiled.jit import inner, kernel
from tinygrad_cv.backend.compiled.vectors import (
    LANES,
    fma,
    load,
    load_first,
    splat,
    store,
    store_first,
)
from tinygrad_cv.backend.threads import parallel, split

Array = Any


class Column(NamedTuple):
    """Arrays that are changed: where each begins, how long it is, and in which order it lies."""

    addresses: list[int]
    sizes: list[int]
    steps: list[tuple[int, ...]]


def address(x: Array) -> int:
    """Of its first number."""
    place: int = x.__array_interface__["data"][0]
    return place


def column(arrays: Sequence[Array]) -> Column | None:
    """None if one of them has gaps, or is read-only, of which NumPy says what it says."""
    if isinstance(arrays, Lasting) and arrays.known is not None:
        known: Column = arrays.known
        return known
    if not all(x.flags.writeable and flat(x) is not None for x in arrays):
        return None
    found = Column(
        [address(x) for x in arrays], [x.size for x in arrays], [steps(x) for x in arrays]
    )
    if isinstance(arrays, Lasting):
        arrays.known = found
    return found


class Table:
    """Where arrays lie: those of `sizes`, and as many for each of the other columns."""

    def __init__(self, sizes: list[int], *addresses: list[int]) -> None:
        self.size = sum(sizes)
        self.numbers = np.empty((len(sizes), 1 + len(addresses)), np.int64)
        for i, column in enumerate((list(accumulate(sizes)), *addresses)):
            self.numbers[:, i] = column

    def walk(self, step: Callable[..., None], *numbers: Any) -> None:
        """A step of all of them, over the threads."""
        table = self.numbers
        in_parts(lambda part: step(table, *numbers, part.start, part.stop), self.size, PART)


def update(
    step: Callable[..., None],
    numbers: Sequence[Any],
    ps: Sequence[Array],
    gs: Sequence[Array],
    *others: Sequence[Array],
) -> bool:
    """A step of all parameters with these numbers. Whether it was done.

    It is not where memory has gaps, or what is remembered lies in another order than its parameter.
    A gradient that does is copied.
    """
    p, columns = column(ps), [column(arrays) for arrays in others]
    if p is None:
        return False
    found = [c.addresses for c in columns if c is not None and c.steps == p.steps]
    if len(found) < len(columns):
        return False
    gradients = [
        g if g.strides == x.strides or steps(g) == steps(x) else _ordered(g, x)
        for g, x in zip(gs, ps, strict=True)
    ]
    places = [address(g) for g in gradients]
    Table(p.sizes, p.addresses, places, *found).walk(step, *numbers)
    return True


def steps(x: Array) -> tuple[int, ...]:
    """The strides of the axes along which there are any."""
    return tuple(s for n, s in zip(x.shape, x.strides, strict=True) if n > 1)


def _ordered(g: Array, p: Array) -> Array:
    """A gradient in the order in which its parameter lies."""
    ordered = np.empty_like(p)
    ordered[...] = g
    return ordered


@intrinsic
def _pointer(typing: Any, address: Any) -> Any:
    """An address as a pointer."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), generate


@inner
def numbers_at(address: int, size: int) -> Array:
    """So many numbers, from an address on."""
    return carray(_pointer(address), (size,), np.float32)


@inner
def within(table: Array, r: int, start: int, stop: int) -> tuple[int, int, int]:
    """How many numbers parameter r has, and from which to which of its own start to stop is."""
    begin = table[r - 1, 0] if r > 0 else 0
    size = table[r, 0] - begin
    return size, max(start - begin, 0), min(stop - begin, size)


@inner
def sgd(
    p: Array,
    g: Array,
    lr: float,
    decay: float,
    start: int,
    stop: int,
) -> None:
    """p ← p - lr · (g + decay · p)"""
    step, pull = splat(-lr), splat(decay)
    for i in range(start, stop, LANES):
        n = min(LANES, stop - i)
        if n == LANES:
            w, d = load(p, i), load(g, i)
        else:
            w, d = load_first(p, i, n), load_first(g, i, n)
        if decay != 0:
            d = fma(pull, w, d)
        w = fma(step, d, w)
        if n == LANES:
            store(p, i, w)
        else:
            store_first(p, i, w, n)


@inner
def sgd_with_momentum(
    p: Array,
    g: Array,
    v: Array,
    lr: float,
    kept: float,
    taken: float,
    decay: float,
    nesterov: int,
    start: int,
    stop: int,
) -> None:
    """g ← g + decay · p;  v ← kept · v + taken · g;  p ← p - lr · v, or with Nesterov
    p ← p - lr · (g + kept · v)"""
    step, pull, keep, take = splat(-lr), splat(decay), splat(kept), splat(taken)
    for i in range(start, stop, LANES):
        n = min(LANES, stop - i)
        if n == LANES:
            w, d, s = load(p, i), load(g, i), load(v, i)
        else:
            w, d, s = load_first(p, i, n), load_first(g, i, n), load_first(v, i, n)
        if decay != 0:
            d = fma(pull, w, d)
        s = fma(keep, s, take * d)
        along = fma(keep, s, d) if nesterov != 0 else s
        w = fma(step, along, w)
        if n == LANES:
            store(v, i, s)
            store(p, i, w)
        else:
            store_first(v, i, s, n)
            store_first(p, i, w, n)


@inner
def adam(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    lr: float,
    beta1: float,
    rest1: float,
    beta2: float,
    rest2: float,
    correction: float,
    eps: float,
    decay: float,
    kept: float,
    start: int,
    stop: int,
) -> None:
    """p ← kept · p;  g ← g + decay · p;  m ← β₁m + (1 - β₁)g;  v ← β₂v + (1 - β₂)g²;
    p ← p - lr · m / (√(correction · v) + eps)"""
    step, pull, small, scale = splat(-lr), splat(decay), splat(eps), splat(correction)
    keep = splat(kept)
    b1, r1, b2, r2 = splat(beta1), splat(rest1), splat(beta2), splat(rest2)
    for i in range(start, stop, LANES):
        n = min(LANES, stop - i)
        if n == LANES:
            w, d, a, b = load(p, i), load(g, i), load(m, i), load(v, i)
        else:
            w, d = load_first(p, i, n), load_first(g, i, n)
            a, b = load_first(m, i, n), load_first(v, i, n)
        if kept != 1:
            w = keep * w
        if decay != 0:
            d = fma(pull, w, d)
        a = fma(b1, a, r1 * d)
        b = fma(b2, b, r2 * (d * d))
        w = w + step * a / (sqrt(scale * b) + small)
        if n == LANES:
            store(m, i, a)
            store(v, i, b)
            store(p, i, w)
        else:
            store_first(m, i, a, n)
            store_first(v, i, b, n)
            store_first(p, i, w, n)


@kernel
def sgd_of_all(table: Array, lr: float, decay: float, start: int, stop: int) -> None:
    """`sgd` of the numbers from start to stop, counted over all parameters."""
    for r in range(table.shape[0]):
        n, first, last = within(table, r, start, stop)
        if first < last:
            p, g = numbers_at(table[r, 1], n), numbers_at(table[r, 2], n)
            sgd(p, g, lr, decay, first, last)


@kernel
def sgd_with_momentum_of_all(
    table: Array,
    lr: float,
    kept: float,
    taken: float,
    decay: float,
    nesterov: int,
    start: int,
    stop: int,
) -> None:
    """`sgd_with_momentum` of the numbers from start to stop."""
    for r in range(table.shape[0]):
        n, first, last = within(table, r, start, stop)
        if first < last:
            p, g = numbers_at(table[r, 1], n), numbers_at(table[r, 2], n)
            v = numbers_at(table[r, 3], n)
            sgd_with_momentum(p, g, v, lr, kept, taken, decay, nesterov, first, last)


@kernel
def adam_of_all(
    table: Array,
    lr: float,
    beta1: float,
    rest1: float,
    beta2: float,
    rest2: float,
    correction: float,
    eps: float,
    decay: float,
    kept: float,
    start: int,
    stop: int,
) -> None:
    """`adam` of the numbers from start to stop."""
    for r in range(table.shape[0]):
        n, first, last = within(table, r, start, stop)
        if first < last:
            p, g = numbers_at(table[r, 1], n), numbers_at(table[r, 2], n)
            m, v = numbers_at(table[r, 3], n), numbers_at(table[r, 4], n)
            rates = (lr, beta1, rest1, beta2, rest2, correction, eps, decay, kept)
            adam(p, g, m, v, *rates, first, last)


@kernel(fast=True)
def squares(table: Array, start: int, stop: int) -> float:
    """Σ x² over the numbers from start to stop, in float64, where no square is too large."""
    s = 0.0
    for r in range(table.shape[0]):
        n, first, last = within(table, r, start, stop)
        if first < last:
            x = numbers_at(table[r, 1], n)[first:last]
            for i in range(x.size):
                s += np.float64(x[i]) * np.float64(x[i])
    return s


PART = 1 << 15
"""How many numbers a part of an update has at least."""


def sgd_steps(
    ps: Sequence[Array],
    gs: Sequence[Array],
    velocities: Sequence[Array] | None,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
) -> bool:
    """See `Backend.sgd_steps`. Whether it was done."""
    f = np.float32
    if velocities is None:
        return update(sgd_of_all, (f(lr), f(weight_decay)), ps, gs)
    numbers = (f(lr), f(momentum), f(1 - dampening), f(weight_decay), int(nesterov))
    return update(sgd_with_momentum_of_all, numbers, ps, gs, velocities)


def adam_steps(
    ps: Sequence[Array],
    gs: Sequence[Array],
    ms: Sequence[Array],
    vs: Sequence[Array],
    step: float,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    kept: float,
) -> bool:
    """See `Backend.adam_steps`. Whether it was done."""
    (beta1, beta2), f = betas, np.float32
    numbers = (
        f(lr / (1 - beta1**step)),
        f(beta1),
        f(1 - beta1),
        f(beta2),
        f(1 - beta2),
        f(1 / (1 - beta2**step)),
        f(eps),
        f(weight_decay),
        f(kept),
    )
    return update(adam_of_all, numbers, ps, gs, ms, vs)


def norm_of_all(xs: Sequence[Array]) -> Array | None:
    """See `Backend.norm_of_all`; None where memory has gaps."""
    found = column(xs)
    if found is None:
        return None
    table = Table(found.sizes, found.addresses)
    numbers, parts = table.numbers, split(table.size, min(16, table.size // PART))
    sums = parallel(lambda part: squares(numbers, part.start, part.stop), parts)
    return np.asarray(np.float32(math.sqrt(sum(sums))))
