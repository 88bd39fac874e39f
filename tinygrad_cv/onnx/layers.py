"""Operators of layers: products, normalization and losses."""

import math
from collections.abc import Sequence
from typing import Any

import tinygrad_cv as tg
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.onnx.operators import meet, operator, room

# ----- linear algebra ----------------------------------------------------------------------------


@operator("MatMul")
def _matmul(x: Tensor, y: Tensor) -> Tensor:
    columns = y.shape[-1] if y.ndim > 1 else 1
    meet((*x.shape[:-1], 1), (*y.shape[:-2], 1, columns))
    return tg.matmul(x, y)


@operator("Gemm")
def _gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    # As in BLAS, what has the factor 0 is not read: it may hold anything.
    c = None if beta == 0 else c
    if a.ndim == b.ndim == 2:
        meet((a.shape[1 if transA else 0], b.shape[0 if transB else 1]), () if c is None else c)
    if transB and alpha == beta == 1 and (c is None or c.shape == b.shape[:1]):
        return tg.linear(a.T if transA else a, b, c)
    if alpha == 0:
        a, b = tg.zeros_like(a), tg.zeros_like(b)
    product = (a.T if transA else a) @ (b.T if transB else b)
    product = product if alpha in (0, 1) else alpha * product
    if c is None:
        return product
    return product + (c if beta == 1 else beta * c)


@operator("Einsum")
def _einsum(*xs: Tensor, equation: str) -> Tensor:
    terms, arrow, out = equation.replace(" ", "").replace("...", ".").partition("->")
    if not arrow:
        out = "." + "".join(c for c in terms if c.isalpha() and terms.count(c) == 1)
    lengths: dict[str, int] = {}
    for term, x in zip(terms.split(","), xs, strict=False):
        before, _, after = term.partition(".")
        inner = x.shape[len(before) : x.ndim - len(after)]
        lengths["."] = max(lengths.get(".", 1), math.prod(inner))
        ends = (*x.shape[: len(before)], *x.shape[x.ndim - len(after) :])
        lengths |= zip(before + after, ends, strict=False)
    room(lengths.get(letter, 1) for letter in out)
    return tg.einsum(equation, *xs)


# ----- normalization -----------------------------------------------------------------------------


@operator("BatchNormalization")
def _batch_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Any:
    if not training_mode:
        return tg.batch_norm(x, mean, var, scale, bias, eps=epsilon)
    y = tg.batch_norm(x, weight=scale, bias=bias, training=True, eps=epsilon)
    # The standard's momentum is the share of the old value, and its variance the biased one.
    axes = (0, *range(2, x.ndim))
    moved = [
        old * momentum + new.detach() * (1 - momentum)
        for old, new in ((mean, tg.mean(x, axes)), (var, tg.var(x, axes, correction=0)))
    ]
    return y, *moved


@operator("InstanceNormalization")
def _instance_norm(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    return tg.group_norm(x, x.shape[1], scale, bias, epsilon)  # which takes a single position too


@operator("GroupNormalization")
def _group_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    opset: int,
) -> Tensor:
    if opset < 21:  # one number for each group
        channels = (num_groups, x.shape[1] // num_groups)
        scale, bias = (tg.broadcast_to(v.reshape(-1, 1), channels).flatten() for v in (scale, bias))
    return tg.group_norm(x, num_groups, scale, bias, epsilon)


@operator("LayerNormalization")
def _layer_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    outputs: int,
) -> Any:
    axes = tuple(range(axis % x.ndim, x.ndim))
    y = tg.layer_norm(x, [x.shape[i] for i in axes], scale, bias, epsilon)
    if outputs == 1:
        return y
    var = tg.var(x, axes, correction=0, keepdim=True)
    return y, tg.mean(x, axes, True), (var + epsilon) ** -0.5


@operator("RMSNormalization")
def _rms_norm(
    x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    axes = tuple(range(axis % x.ndim, x.ndim))
    meet(x, scale)
    return x * (tg.mean(tg.square(x), axes, True) + epsilon) ** -0.5 * scale


@operator("MeanVarianceNormalization")
def _mean_variance_norm(x: Tensor, *, axes: Sequence[int] = (0, 2, 3)) -> Tensor:
    over = tuple(axes)
    deviation = tg.sqrt(tg.var(x, over, correction=0, keepdim=True))
    return (x - tg.mean(x, over, True)) / (deviation + 1e-9)


@operator("LpNormalization")
def _lp_norm(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    length = tg.norm(x, p, axis, True)
    return x / tg.where(length == 0, 1.0, length)


@operator("LRN")
def _lrn(
    x: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Tensor:
    room((x.shape[0], x.shape[1] + size, *x.shape[2:]))
    if size % 2:
        return tg.local_response_norm(x, size, alpha, beta, bias)
    # In an even window the odd one out is the next channel; in PyTorch's it is the one before.
    mirrored = tg.local_response_norm(tg.flip(x, (1,)), size, alpha, beta, bias)
    return tg.flip(mirrored, (1,))


# ----- losses ------------------------------------------------------------------------------------


@operator("NegativeLogLikelihoodLoss")
def _nll_loss(
    x: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
    ignore_index: int = -100,
) -> Tensor:
    return tg.nll_loss(x, target, weight=weight, ignore_index=ignore_index, reduction=reduction)


@operator("SoftmaxCrossEntropyLoss")
def _cross_entropy(
    x: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
    ignore_index: int = -100,
    outputs: int,
) -> Any:
    loss = tg.cross_entropy(
        x, target, weight=weight, ignore_index=ignore_index, reduction=reduction
    )
    return loss if outputs == 1 else (loss, tg.log_softmax(x, 1))
