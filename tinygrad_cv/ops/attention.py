"""Attention, made of products and a softmax."""

import math
from typing import Any

from tinygrad_cv._apply import F as T
from tinygrad_cv._apply import computed_in
from tinygrad_cv._inputs import public
from tinygrad_cv._public import FUNCTIONAL, TOP
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.ops.linalg import linear, matmul
from tinygrad_cv.ops.noise import dropout
from tinygrad_cv.ops.shape import cat, chunk, repeat_interleave, unsqueeze


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
    _check_masks(name, attn_mask)
    if enable_gqa:
        key, value = (_for_heads(query, x) for x in (key, value))
    if is_causal:
        mask = host.tri(query.shape[-2], key.shape[-2], dtype=bool)
        attn_mask = Tensor(mask, device=query.device)
    # With is_causal each query sees the first key.
    return _attended(query, key, value, attn_mask, is_causal, dropout_p, scale, generator)[0]


def _attended(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    all_see: bool,
    dropout_p: float,
    scale: float | None,
    generator: Any,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """What is seen, (..., L, D); the weights, (..., L, S); which queries see nothing, if any may.

    The weights of those are not 0, but what they see is.
    """
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1]) if query.shape[-1] else 1.0
    scores = matmul(query * scale, T.mT(key))
    last, none = scores.ndim - 1, None
    if mask is not None:
        truth = mask.dtype.kind == "b"
        scores = T.where(mask, scores, -math.inf) if truth else scores + mask
        if not all_see:
            none = T.all(scores == -math.inf, axis=(last,), keepdims=True)
            scores = T.where(none, 0.0, scores)
    weights = T.softmax(scores, axis=last)
    if dropout_p:
        weights = dropout(weights, dropout_p, generator=generator)
    seen = matmul(weights, value)
    # What sees nothing is 0, here, where it is small.
    return seen if none is None else T.where(none, 0.0, seen), weights, none


def _check_masks(name: str, *masks: Tensor | None) -> None:
    """Whole numbers might be meant as truth values, and would be added to the scores."""
    for mask in masks:
        if mask is not None and mask.dtype.kind not in "bf":
            raise TypeError(
                f"{name}: a mask holds truth values, or floats to be added; got {mask.dtype}. "
                "Convert it: mask.bool()."
            )


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


# ----- several heads -----------------------------------------------------------------------------


@public(FUNCTIONAL)
@computed_in("float32")
def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
    *,
    batch_first: bool = False,
    generator: Any = None,
) -> tuple[Tensor, Tensor | None]:
    """w_o [head_1, ..., head_H], each head a `scaled_dot_product_attention` (Vaswani et al., 2017).

    Head i attends with its share of w_q query, w_k key and w_v value (plus the parts of
    `in_proj_bias`), which are E / H numbers wide. `in_proj_weight` (3E, E) is w_q, w_k and w_v one
    below the other; with `use_separate_proj_weight` they are the three others.

    query (L, N, E), key (S, N, ·) and value (S, N, ·), or without the N for one sample, or with N
    first if `batch_first` -> the same shape as query, and the weights (N, L, S), averaged over the
    heads, or (N, H, L, S); None without `need_weights`.

    The masks say which keys do *not* count, as truth values, or what is added to the scores:
    `key_padding_mask` (N, S) for all queries, `attn_mask` (L, S) or (N · H, L, S). `is_causal` is a
    hint that attn_mask is causal, and changes nothing. `bias_k` and `bias_v` (1, 1, E) are a
    further key and value, and `add_zero_attn` adds one of zeros. `static_k` and `static_v`
    (N · H, S, E / H) stand in for what comes of key and value. A query that sees no key sees 0.

    >>> from tinygrad_cv import eye, ones
    >>> x, w = ones(3, 1, 4), (ones(12, 4), None, None, None, False, 0.0, eye(4), None)
    >>> y, weights = multi_head_attention_forward(x, x, x, 4, 2, *w)
    >>> y.shape, weights.shape
    ((3, 1, 4), (1, 3, 3))
    """
    single = query.ndim == 2
    batch, time = (0, 1) if batch_first or single else (1, 0)
    same = query is key is value
    if single:
        query, key, value = (unsqueeze(x, 0) for x in (query, key, value))
        key_padding_mask = None if key_padding_mask is None else unsqueeze(key_padding_mask, 0)
    name = "multi_head_attention_forward"
    shapes = query.shape, key.shape, value.shape
    if {len(shape) for shape in shapes} != {3} or shapes[1][:2] != shapes[2][:2]:
        raise ValueError(
            f"{name}: expected query (L, N, E) with key and value (S, N, ·), or all without the N; "
            f"got {shapes[0]}, {shapes[1]} and {shapes[2]}."
        )
    width = query.shape[2]
    number, length = query.shape[batch], query.shape[time]
    if width != embed_dim_to_check or width % num_heads or key.shape[batch] != number:
        raise ValueError(
            f"{name}: the query has embed_dim={embed_dim_to_check} numbers, a multiple of "
            f"num_heads={num_heads}, and as many samples as the key; got {shapes[0]} and "
            f"{shapes[1]}."
        )
    if is_causal and attn_mask is None:
        raise ValueError(f"{name}: is_causal says what attn_mask is; pass that, too.")
    # (N, L, E) or (L, N, E) -> (N, H, L, E / H)
    axes = (batch, 2, time, 3)

    def heads(x: Tensor) -> Tensor:
        shape = (*x.shape[:2], num_heads, width // num_heads)
        return T.permute(T.reshape(x, shape=shape), axes=axes)

    if same and in_proj_weight is not None and not use_separate_proj_weight:  # in one product
        all_three = linear(query, in_proj_weight, in_proj_bias)
        q, k, v = (heads(part) for part in chunk(all_three, 3, 2))
    else:
        matrices: tuple[Any, ...] = (q_proj_weight, k_proj_weight, v_proj_weight)
        if in_proj_weight is not None and not use_separate_proj_weight:
            matrices = chunk(in_proj_weight, 3)
        biases = (None,) * 3 if in_proj_bias is None else chunk(in_proj_bias, 3)
        q, k, v = (
            heads(linear(x, w, b))
            for x, w, b in zip((query, key, value), matrices, biases, strict=True)
        )
    if static_k is not None:
        k = T.reshape(static_k, shape=(number, num_heads, *static_k.shape[1:]))
    if static_v is not None:
        v = T.reshape(static_v, shape=(number, num_heads, *static_v.shape[1:]))
    mask = _merged(name, attn_mask, key_padding_mask, (number, num_heads, length, k.shape[2]))
    further = 0
    if bias_k is not None and bias_v is not None:
        shape = (number, num_heads, 1, width // num_heads)
        k, v = (
            cat([x, T.broadcast_to(T.reshape(b, shape=(1, *shape[1:])), shape=shape)], 2)
            for x, b in ((k, bias_k), (v, bias_v))
        )
        further += 1
    if add_zero_attn:
        k, v = (T.pad(x, widths=((0, 0), (0, 0), (0, 1), (0, 0))) for x in (k, v))
        further += 1
    if mask is not None and further:  # which all queries see
        value = mask.dtype.kind == "b"
        mask = T.pad(mask, widths=((0, 0),) * 3 + ((0, further),), value=value)
    p = dropout_p if training else 0.0
    seen, weights, none = _attended(q, k, v, mask, False, p, None, generator)
    # (N, H, L, E / H) -> (N, L, E) or (L, N, E)
    back = (0, 2, 1, 3) if batch == 0 else (2, 0, 1, 3)
    out = T.reshape(T.permute(seen, axes=back), shape=(*query.shape[:2], width))
    out = linear(out, out_proj_weight, out_proj_bias)
    out = T.reshape(out, shape=out.shape[1:]) if single else out
    if not need_weights:
        return out, None
    if none is not None:
        weights = T.where(none, 0.0, weights)
    if average_attn_weights:
        weights = T.mean(weights, axis=(1,))
    return out, T.reshape(weights, shape=weights.shape[1:]) if single else weights


def _merged(
    name: str, attn: Tensor | None, padding: Tensor | None, shape: tuple[int, ...]
) -> Tensor | None:
    """Two masks as one that broadcasts to (N, H, L, S): truth values of what counts, or numbers."""
    number, heads, length, keys = shape
    _check_masks(name, attn, padding)
    if attn is not None:
        if attn.shape not in ((length, keys), (number * heads, length, keys)):
            raise ValueError(
                f"{name}: attn_mask is {(length, keys)} or {(number * heads, length, keys)}; got "
                f"{attn.shape}."
            )
        attn = T.reshape(attn, shape=(1, 1, *attn.shape) if attn.ndim == 2 else shape)
    if padding is not None:
        if padding.shape != (number, keys):
            raise ValueError(f"{name}: key_padding_mask is {(number, keys)}; got {padding.shape}.")
        padding = T.reshape(padding, shape=(number, 1, 1, keys))
    masks = [mask for mask in (attn, padding) if mask is not None]
    if not masks:
        return None
    if all(mask.dtype.kind == "b" for mask in masks):
        hidden = masks[0] if len(masks) == 1 else T.logical_or(*masks)
        return T.logical_not(hidden)
    added = [T.where(m, -math.inf, 0.0) if m.dtype.kind == "b" else m for m in masks]
    return added[0] if len(added) == 1 else added[0] + added[1]
