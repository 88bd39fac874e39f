"""Attention, made of products and a softmax."""

import math
from typing import Any

from tinygrad_cv._apply import F as T
from tinygrad_cv._apply import computed_in
from tinygrad_cv._public import FUNCTIONAL, TOP, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.ops.linalg import matmul
from tinygrad_cv.ops.noise import dropout
from tinygrad_cv.ops.shape import repeat_interleave


@public(TOP, FUNCTIONAL)
@computed_in("float32")
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    generator: Any = None,
) -> Tensor:
    """softmax(q kᵀ · scale + mask) v: a mean of the values, weighted by how keys fit the query.

    query (..., L, E), key (..., S, E) and value (..., S, D) -> (..., L, D); leading axes broadcast.
    `scale` is 1/√E by default (Vaswani et al., 2017). `attn_mask` broadcasts to (..., L, S): truth
    values say which pairs take part, numbers are added. With `is_causal` query i sees the keys up
    to i. A query that sees no key gets 0. The weights are dropped out with `dropout_p`, always:
    pass 0 in evaluation. With `enable_gqa` each head of key and value (axis -3) serves equally many
    heads of the query in a row (Ainslie et al., 2023).

    >>> q, k, v = Tensor([[0.0, 0.0]]), Tensor([[1.0, 0.0], [0.0, 1.0]]), Tensor([[2.0], [4.0]])
    >>> scaled_dot_product_attention(q, k, v)
    tensor([[3.]])
    """
    shapes = query.shape, key.shape, value.shape
    name = "scaled_dot_product_attention"
    if (
        min(map(len, shapes)) < 2
        or shapes[0][-1] != shapes[1][-1]
        or shapes[1][-2] != shapes[2][-2]
    ):
        raise ValueError(
            f"{name}: expected query (..., L, E), key (..., S, E) and value (..., S, D); got "
            f"{shapes[0]}, {shapes[1]} and {shapes[2]}."
        )
    if is_causal and attn_mask is not None:
        raise ValueError(f"{name}: is_causal is a mask of its own; pass that or attn_mask.")
    if enable_gqa:
        key, value = (_for_heads(query, x) for x in (key, value))
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1]) if query.shape[-1] else 1.0
    scores = matmul(query * scale, T.mT(key))
    if is_causal:
        attn_mask = Tensor(host.tri(*scores.shape[-2:], dtype=bool), device=query.device)
    last, none = scores.ndim - 1, None
    if attn_mask is not None:
        truth = attn_mask.dtype.kind == "b"
        scores = T.where(attn_mask, scores, -math.inf) if truth else scores + attn_mask
        if not is_causal:  # where each query sees the first key
            none = T.all(scores == -math.inf, axis=(last,), keepdims=True)
            scores = T.where(none, 0.0, scores)
    weights = T.softmax(scores, axis=last)
    if dropout_p:
        weights = dropout(weights, dropout_p, generator=generator)
    seen = matmul(weights, value)
    return seen if none is None else T.where(none, 0.0, seen)  # here, where it is small


def _for_heads(query: Tensor, x: Tensor) -> Tensor:
    """Each head of x as often as there are more heads in the query."""
    heads = query.shape[-3] if query.ndim > 2 else 0
    own = x.shape[-3] if x.ndim > 2 else 0
    if not own or heads % own:
        raise ValueError(
            f"scaled_dot_product_attention: with enable_gqa the heads on axis -3 of the query "
            f"{query.shape} are a multiple of those of key and value; got {x.shape}."
        )
    return repeat_interleave(x, heads // own, -3)
