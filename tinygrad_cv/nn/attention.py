"""Attention with several heads."""

from typing import Any

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.creation import empty
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn import init
from tinygrad_cv.nn.linear import Linear, given
from tinygrad_cv.nn.module import Module
from tinygrad_cv.nn.parameter import Parameter
from tinygrad_cv.ops.noise import check_probability


@public(NN)
class MultiheadAttention(Module):
    """Heads that attend side by side, and a linear layer over them (Vaswani et al., 2017).

    Called with query (L, N, E), key (S, N, kdim) and value (S, N, vdim) (with N first if
    `batch_first`, or without it for one sample), it returns what is seen, of the shape of query,
    and the weights (N, L, S) or None; see `multi_head_attention_forward` for those and the masks.
    The weights are in_proj_weight (3E, E), or q_proj_weight, k_proj_weight and v_proj_weight if
    kdim or vdim is not E, uniform as `xavier_uniform_` has it; biases begin with 0. While training,
    a share `dropout` of the attention is dropped.

    >>> from tinygrad_cv import ones
    >>> layer = MultiheadAttention(8, 2, batch_first=True)
    >>> seen, weights = layer(*[ones(3, 5, 8)] * 3)
    >>> seen.shape, weights.shape
    ((3, 5, 8), (3, 5, 5))
    """

    in_proj_weight: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        if embed_dim < 1 or num_heads < 1 or embed_dim % num_heads:
            raise ValueError(
                f"embed_dim is a multiple of num_heads, and both are above 0; got {embed_dim} and "
                f"{num_heads}."
            )
        check_probability("the attention's dropout", dropout)
        self.embed_dim, self.num_heads = embed_dim, num_heads
        self.head_dim = embed_dim // num_heads
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.dropout, self.batch_first = dropout, batch_first
        self.add_zero_attn, self.generator = add_zero_attn, generator

        def weight(name: str, there: bool, *shape: int) -> None:
            new = Parameter(empty(shape, **given(device, dtype))) if there else None
            self.register_parameter(name, new)

        separate = (self.kdim, self.vdim) != (embed_dim, embed_dim)
        weight("in_proj_weight", not separate, 3 * embed_dim, embed_dim)
        weight("q_proj_weight", separate, embed_dim, embed_dim)
        weight("k_proj_weight", separate, embed_dim, self.kdim)
        weight("v_proj_weight", separate, embed_dim, self.vdim)
        weight("in_proj_bias", bias, 3 * embed_dim)
        weight("bias_k", add_bias_kv, 1, 1, embed_dim)
        weight("bias_v", add_bias_kv, 1, 1, embed_dim)
        self.out_proj = Linear(embed_dim, embed_dim, bias, device, dtype, generator=generator)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """New initial values, but for the weight of the layer over the heads."""
        for name, parameter in self.named_parameters():
            if name.endswith("proj_weight"):
                init.xavier_uniform_(parameter, generator=self.generator)
            elif name in ("bias_k", "bias_v"):
                init.xavier_normal_(parameter, generator=self.generator)
            elif name.endswith("bias"):
                init.zeros_(parameter)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        return F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            self.training,
            key_padding_mask,
            need_weights,
            attn_mask,
            self.in_proj_weight is None,
            self.q_proj_weight,
            self.k_proj_weight,
            self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
            batch_first=self.batch_first,
            generator=self.generator,
        )
