"""The transformer: layers of attention and of small networks at each place, in two stacks."""

import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.creation import full
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn import init
from tinygrad_cv.nn.attention import MultiheadAttention
from tinygrad_cv.nn.container import ModuleList
from tinygrad_cv.nn.dropout import Dropout
from tinygrad_cv.nn.linear import Linear, given
from tinygrad_cv.nn.module import Module
from tinygrad_cv.nn.normalization import LayerNorm
from tinygrad_cv.ops.index import triu

Activation = str | Callable[[Tensor], Tensor]


class _Layer(Module):
    """What the two kinds of layers share: attention to itself, and the network of each place.

    Each part adds to what it gets, x + part(norm(x)) with `norm_first` and norm(x + part(x))
    without. What comes out of a part is dropped out with `dropout`.
    """

    attentions: tuple[str, ...]
    """The names of the attentions, in order."""

    self_attn: MultiheadAttention
    norm1: LayerNorm
    norm2: LayerNorm
    dropout1: Dropout
    dropout2: Dropout

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        new: dict[str, Any] = {"device": device, "dtype": dtype, "generator": generator}
        for name in self.attentions:
            attention = MultiheadAttention(
                d_model, nhead, dropout, bias, batch_first=batch_first, **new
            )
            setattr(self, name, attention)
        self.linear1 = Linear(d_model, dim_feedforward, bias, **new)
        self.dropout = Dropout(dropout, generator=generator)
        self.linear2 = Linear(dim_feedforward, d_model, bias, **new)
        self.norm_first = norm_first
        parts = range(1, len(self.attentions) + 2)
        for i in parts:
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype)
            setattr(self, f"norm{i}", norm)
        for i in parts:
            setattr(self, f"dropout{i}", Dropout(dropout, generator=generator))
        if isinstance(activation, str) and activation not in ("relu", "gelu"):
            raise ValueError(f"activation is 'relu', 'gelu' or a function; got {activation!r}.")
        self.activation = getattr(F, activation) if isinstance(activation, str) else activation

    def _sa_block(
        self,
        x: Tensor,
        attn_mask: Tensor | None,
        key_padding_mask: Tensor | None,
        is_causal: bool = False,
    ) -> Tensor:
        x, _ = self.self_attn(
            x,
            x,
            x,
            attn_mask=attn_mask,
            key_padding_mask=key_padding_mask,
            is_causal=is_causal,
            need_weights=False,
        )
        x = self.dropout1(x)
        return x

    def _hidden(self, x: Tensor) -> Tensor:
        x = self.linear2(self.dropout(self.activation(self.linear1(x))))
        return x


@public(NN)
class TransformerEncoderLayer(_Layer):
    """Attention to itself, then a network of two linear layers at each place.

    src (L, N, d_model), or (N, L, d_model) with `batch_first`, or (L, d_model) -> the same shape.
    With x for what a part gets, it gives norm(x + dropout(part(x))), or x + dropout(part(norm(x)))
    with `norm_first` (Vaswani et al., 2017; Xiong et al., 2020). `activation` is "relu", "gelu" or
    a function. The masks are those of `MultiheadAttention`.

    >>> from tinygrad_cv import ones
    >>> TransformerEncoderLayer(8, 2, 16)(ones(5, 3, 8)).shape
    (5, 3, 8)
    """

    attentions = ("self_attn",)

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        x: Tensor = src
        masks = (src_mask, src_key_padding_mask, is_causal)
        if self.norm_first:
            x = x + self._sa_block(self.norm1(x), *masks)
            x = x + self._ff_block(self.norm2(x))
            return x
        x = self.norm1(x + self._sa_block(x, *masks))
        x = self.norm2(x + self._ff_block(x))
        return x

    def _ff_block(self, x: Tensor) -> Tensor:
        x = self.dropout2(self._hidden(x))
        return x


@public(NN)
class TransformerDecoderLayer(_Layer):
    """Attention to itself, to the memory that an encoder made, and a network at each place.

    tgt (L, N, d_model) and memory (S, N, d_model) -> the shape of tgt; for the rest see
    `TransformerEncoderLayer`.

    >>> from tinygrad_cv import ones
    >>> TransformerDecoderLayer(8, 2, 16)(ones(5, 3, 8), ones(4, 3, 8)).shape
    (5, 3, 8)
    """

    attentions = ("self_attn", "multihead_attn")
    multihead_attn: MultiheadAttention
    norm3: LayerNorm
    dropout3: Dropout

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        x: Tensor = tgt
        masks = (tgt_mask, tgt_key_padding_mask, tgt_is_causal)
        others = (memory, memory_mask, memory_key_padding_mask, memory_is_causal)
        if self.norm_first:
            x = x + self._sa_block(self.norm1(x), *masks)
            x = x + self._mha_block(self.norm2(x), *others)
            return x + self._ff_block(self.norm3(x))
        x = self.norm1(x + self._sa_block(x, *masks))
        x = self.norm2(x + self._mha_block(x, *others))
        x = self.norm3(x + self._ff_block(x))
        return x

    def _mha_block(
        self,
        x: Tensor,
        mem: Tensor,
        attn_mask: Tensor | None,
        key_padding_mask: Tensor | None,
        is_causal: bool = False,
    ) -> Tensor:
        x, _ = self.multihead_attn(
            x,
            mem,
            mem,
            attn_mask=attn_mask,
            key_padding_mask=key_padding_mask,
            is_causal=is_causal,
            need_weights=False,
        )
        x = self.dropout2(x)
        return x

    def _ff_block(self, x: Tensor) -> Tensor:
        x = self.dropout3(self._hidden(x))
        return x


@public(NN)
class TransformerEncoder(Module):
    """`num_layers` copies of a layer, one after the other, and a norm at the end if it is given.

    The copies begin with the same weights. `enable_nested_tensor` and `mask_check` are about a way
    of PyTorch's to compute it, and have no effect.

    >>> from tinygrad_cv import ones
    >>> TransformerEncoder(TransformerEncoderLayer(8, 2, 16), 2)(ones(5, 3, 8)).shape
    (5, 3, 8)
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        self.layers = ModuleList(deepcopy(encoder_layer) for _ in range(num_layers))
        self.num_layers, self.norm = num_layers, norm
        self.enable_nested_tensor, self.mask_check = enable_nested_tensor, mask_check

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        for layer in self.layers:
            src = layer(
                src,
                src_mask=mask,
                src_key_padding_mask=src_key_padding_mask,
                is_causal=bool(is_causal),
            )
        return src if self.norm is None else self.norm(src)


@public(NN)
class TransformerDecoder(Module):
    """`num_layers` copies of a layer, one after the other, and a norm at the end if it is given.

    >>> from tinygrad_cv import ones
    >>> decoder = TransformerDecoder(TransformerDecoderLayer(8, 2, 16), 2)
    >>> decoder(ones(5, 3, 8), ones(4, 3, 8)).shape
    (5, 3, 8)
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        self.layers = ModuleList(deepcopy(decoder_layer) for _ in range(num_layers))
        self.num_layers, self.norm = num_layers, norm

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        for layer in self.layers:
            tgt = layer(
                tgt,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=bool(tgt_is_causal),
                memory_is_causal=memory_is_causal,
            )
        return tgt if self.norm is None else self.norm(tgt)


@public(NN)
class Transformer(Module):
    """An encoder and a decoder, with a norm at the end of each (Vaswani et al., 2017).

    src (S, N, d_model) and tgt (T, N, d_model) -> (T, N, d_model), with N first if `batch_first`,
    or without it. All matrices begin as `xavier_uniform_` has it. `custom_encoder` and
    `custom_decoder` take the place of the stacks.

    >>> from tinygrad_cv import ones
    >>> model = Transformer(8, 2, 1, 1, 16)
    >>> mask = Transformer.generate_square_subsequent_mask(5)
    >>> model(ones(4, 3, 8), ones(5, 3, 8), tgt_mask=mask).shape
    (5, 3, 8)
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        custom_encoder: Any = None,
        custom_decoder: Any = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        what: tuple[Any, ...] = (d_model, nhead, dim_feedforward, dropout, activation)
        what += (layer_norm_eps, batch_first, norm_first, bias, device, dtype)

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype)

        self.encoder = custom_encoder
        if custom_encoder is None:
            layer: Module = TransformerEncoderLayer(*what, generator=generator)
            self.encoder = TransformerEncoder(layer, num_encoder_layers, norm())
        self.decoder = custom_decoder
        if custom_decoder is None:
            layer = TransformerDecoderLayer(*what, generator=generator)
            self.decoder = TransformerDecoder(layer, num_decoder_layers, norm())
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        self.generator = generator
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter, generator=self.generator)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        batch = 0 if self.batch_first else 1
        if {src.shape[-1], tgt.shape[-1]} != {self.d_model} or (
            src.ndim == 3 and src.shape[batch] != tgt.shape[batch]
        ):
            raise ValueError(
                f"expected as many samples in src as in tgt, of d_model={self.d_model} numbers at "
                f"each place; got {src.shape} and {tgt.shape}."
            )
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        tgt = self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )
        return tgt

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """The mask (sz, sz) with which each place sees those up to itself: -∞ above the diagonal.

        >>> Transformer.generate_square_subsequent_mask(2)
        tensor([[  0., -inf],
                [  0.,   0.]])
        """
        return triu(full((sz, sz), -math.inf, **given(device, dtype)), 1)
