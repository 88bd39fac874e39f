"""The steps of optimizers, in one pass over a parameter and what is remembered of it."""

from typing import Any

import numpy as np

from tinygrad_cv.backend.compiled.elementwise import flat, in_parts
from tinygrad_cv.backend.compiled.functions import sqrt
from tinygrad_cv.backend.compiled.jit import kernel
from tinygrad_cv.backend.compiled.vectors import (
    LANES,
    fma,
    load,
    load_first,
    splat,
    store,
    store_first,
)

Array = Any


def rows(p: Array, g: Array, *others: Array) -> list[Array] | None:
    """The memory of a parameter, of its gradient and of what is remembered.

    None with gaps in it, or where it is read-only, of which NumPy says what it says. A gradient
    that lies in another order is copied.
    """
    if not all(a.flags.writeable for a in (p, *others)):
        return None
    if g.strides != p.strides:
        ordered = np.empty_like(p)
        ordered[...] = g
        g = ordered
    return flat(p, g, *others)


@kernel
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


@kernel
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


@kernel
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
    start: int,
    stop: int,
) -> None:
    """g ← g + decay · p;  m ← β₁m + (1 - β₁)g;  v ← β₂v + (1 - β₂)g²;
    p ← p - lr · m / (√(correction · v) + eps)"""
    step, pull, small, scale = splat(-lr), splat(decay), splat(eps), splat(correction)
    b1, r1, b2, r2 = splat(beta1), splat(rest1), splat(beta2), splat(rest2)
    for i in range(start, stop, LANES):
        n = min(LANES, stop - i)
        if n == LANES:
            w, d, a, b = load(p, i), load(g, i), load(m, i), load(v, i)
        else:
            w, d = load_first(p, i, n), load_first(g, i, n)
            a, b = load_first(m, i, n), load_first(v, i, n)
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


PART = 1 << 15
"""How many numbers a part of an update has at least."""


def sgd_step(
    p: Array,
    g: Array,
    velocity: Array | None,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
) -> bool:
    """See `Backend.sgd_step`. Whether it was done."""
    arrays = rows(p, g) if velocity is None else rows(p, g, velocity)
    if arrays is None:
        return False
    f = np.float32
    if velocity is None:
        numbers: tuple[Any, ...] = (f(lr), f(weight_decay))
        in_parts(lambda part: sgd(*arrays, *numbers, part.start, part.stop), p.size, PART)
    else:
        numbers = (f(lr), f(momentum), f(1 - dampening), f(weight_decay), int(nesterov))
        in_parts(
            lambda part: sgd_with_momentum(*arrays, *numbers, part.start, part.stop), p.size, PART
        )
    return True


def adam_step(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    step: float,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> bool:
    """See `Backend.adam_step`. Whether it was done."""
    arrays = rows(p, g, m, v)
    if arrays is None:
        return False
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
    )
    in_parts(lambda part: adam(*arrays, *numbers, part.start, part.stop), p.size, PART)
    return True
