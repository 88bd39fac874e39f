"""Vision transformer (A. Dosovitskiy et al., "An image is worth 16x16 words: transformers for image
recognition at scale", 2021).
"""
# ruff: noqa: N801  weights have torchvision's names

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from tinygrad_cv import cat, empty, nn, zeros
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.models._blocks import MLP, Conv2dNormActivation, Layer, zero_bias
from tinygrad_cv.models._weights import Weights, WeightsEnum, constructor
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn.parameter import Parameter

LAYER_NORM = partial(nn.LayerNorm, eps=1e-6)


class ConvStemConfig(NamedTuple):
    """A convolution of the stem that may stand in place of the patches (T. Xiao et al., 2021)."""

    out_channels: int
    kernel_size: int
    stride: int
    norm_layer: Layer = nn.BatchNorm2d
    activation_layer: Layer = nn.ReLU


class MLPBlock(MLP):
    """in_dim -> mlp_dim, GELU, dropout -> in_dim, dropout, for each token by itself."""

    _version = 2
    """States of version 1, such as the published ones, call the layers linear_1 and linear_2."""

    def __init__(self, in_dim: int, mlp_dim: int, dropout: float, *, generator: Any = None) -> None:
        super().__init__(
            in_dim,
            [mlp_dim, in_dim],
            activation_layer=nn.GELU,
            dropout=dropout,
            generator=generator,
        )
        for module in self:
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                if module.bias is not None:
                    nn.init.normal_(module.bias, std=1e-6, generator=generator)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        *more: Any,
    ) -> None:
        if (local_metadata.get("version") or 1) < 2:
            for old, new in (("linear_1", "0"), ("linear_2", "3")):
                for name in ("weight", "bias"):
                    value = state_dict.pop(f"{prefix}{old}.{name}", None)
                    if value is not None:
                        state_dict[f"{prefix}{new}.{name}"] = value
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *more)


class EncoderBlock(nn.Module):
    """Equations 2 and 3: z' = z + attention(norm(z)), then z' + mlp(norm(z')).

    (N, tokens, hidden_dim) -> (N, tokens, hidden_dim).
    """

    def __init__(
        self,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float,
        attention_dropout: float,
        norm_layer: Layer = LAYER_NORM,
        *,
        generator: Any = None,
    ) -> None:
        self.num_heads = num_heads
        self.ln_1 = norm_layer(hidden_dim)
        self.self_attention = nn.MultiheadAttention(
            hidden_dim, num_heads, attention_dropout, batch_first=True, generator=generator
        )
        self.dropout = nn.Dropout(dropout, generator=generator)
        self.ln_2 = norm_layer(hidden_dim)
        self.mlp = MLPBlock(hidden_dim, mlp_dim, dropout, generator=generator)

    def forward(self, input: Tensor) -> Tensor:
        check_tokens(input)
        x = self.ln_1(input)
        seen, _ = self.self_attention(x, x, x, need_weights=False)
        x = self.dropout(seen) + input
        y: Tensor = x + self.mlp(self.ln_2(x))
        return y


class Encoder(nn.Module):
    """The tokens (N, seq_length, hidden_dim) with their places added, through all blocks."""

    def __init__(
        self,
        seq_length: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float,
        attention_dropout: float,
        norm_layer: Layer = LAYER_NORM,
        *,
        generator: Any = None,
    ) -> None:
        self.pos_embedding = Parameter(empty(1, seq_length, hidden_dim))
        nn.init.normal_(self.pos_embedding, std=0.02, generator=generator)
        self.dropout = nn.Dropout(dropout, generator=generator)
        sizes = num_heads, hidden_dim, mlp_dim, dropout, attention_dropout, norm_layer
        self.layers = nn.Sequential(
            {
                f"encoder_layer_{i}": EncoderBlock(*sizes, generator=generator)
                for i in range(num_layers)
            }
        )
        self.ln = norm_layer(hidden_dim)

    def forward(self, input: Tensor) -> Tensor:
        check_tokens(input)
        y: Tensor = self.ln(self.layers(self.dropout(input + self.pos_embedding)))
        return y


def check_tokens(input: Tensor) -> None:
    """Raise unless these are the tokens of a batch."""
    if input.ndim != 3:
        raise ValueError(f"expected tokens (N, tokens, hidden_dim); got the shape {input.shape}.")


class VisionTransformer(nn.Module):
    """Figure 1: patches as tokens, a token for the class before them, an encoder, a linear layer.

    (N, 3, image_size, image_size) -> scores (N, num_classes). Each patch of `patch_size` pixels
    squared becomes `hidden_dim` features by one linear layer (a convolution at that stride), to
    which a learned vector for its place is added. `num_layers` blocks follow, of `num_heads` heads
    and `mlp_dim` features between; the class token of the last, normalized, gives the scores. With
    `representation_size` there is a layer of so many features and tanh before the last one. Shares
    `dropout` and `attention_dropout` are dropped; `norm_layer` makes a normalization of a number of
    features. `conv_stem_configs`, a list of `ConvStemConfig`, puts convolutions and then 1x1 in
    place of the patches (T. Xiao et al., "Early convolutions help transformers see better", 2021).

    At first the scores are 0. What is random is drawn from `generator`, or from the one that
    `manual_seed` seeds.

    Raises ValueError for an image_size that the patches do not divide, and for images of another.

    >>> from tinygrad_cv import ones
    >>> from tinygrad_cv.models import VisionTransformer
    >>> sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
    >>> VisionTransformer(image_size=32, patch_size=8, num_classes=10, **sizes)(
    ...     ones(2, 3, 32, 32)
    ... ).shape
    (2, 10)
    """

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        num_classes: int = 1000,
        representation_size: int | None = None,
        norm_layer: Layer = LAYER_NORM,
        conv_stem_configs: Sequence[ConvStemConfig] | None = None,
        *,
        generator: Any = None,
    ) -> None:
        if image_size % patch_size:
            raise ValueError(
                f"VisionTransformer: patch_size={patch_size} must divide image_size={image_size}."
            )
        self.image_size, self.patch_size = image_size, patch_size
        self.hidden_dim, self.mlp_dim = hidden_dim, mlp_dim
        self.attention_dropout, self.dropout = attention_dropout, dropout
        self.num_classes, self.representation_size = num_classes, representation_size
        self.norm_layer = norm_layer

        self.conv_proj = (
            _patches(patch_size, hidden_dim, generator)
            if conv_stem_configs is None
            else _stem(conv_stem_configs, hidden_dim, generator)
        )
        self.seq_length = (image_size // patch_size) ** 2 + 1
        self.class_token = Parameter(zeros(1, 1, hidden_dim))
        self.encoder = Encoder(
            self.seq_length,
            num_layers,
            num_heads,
            hidden_dim,
            mlp_dim,
            dropout,
            attention_dropout,
            norm_layer,
            generator=generator,
        )
        self.heads = _heads(hidden_dim, representation_size, num_classes, generator)

    def _process_input(self, x: Tensor) -> Tensor:
        """The patches of images as tokens (N, patches, hidden_dim), line by line."""
        if x.ndim != 4 or x.shape[2:] != (self.image_size, self.image_size):
            raise ValueError(
                f"expected images (N, 3, {self.image_size}, {self.image_size}); got the shape "
                f"{x.shape}. A network for another image_size takes the weights of this one: see "
                "interpolate_embeddings."
            )
        patches: Tensor = self.conv_proj(x)
        return patches.flatten(2).permute(0, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        patches = self._process_input(x)
        token = self.class_token.expand(len(x), -1, -1)
        tokens = self.encoder(cat([token, patches], dim=1))
        scores: Tensor = self.heads(tokens[:, 0])
        return scores


def _patches(patch_size: int, hidden_dim: int, generator: Any) -> nn.Module:
    """A linear layer for each patch."""
    layer = nn.Conv2d(3, hidden_dim, patch_size, stride=patch_size, generator=generator)
    std = 1 / math.sqrt(3 * patch_size**2)
    nn.init.trunc_normal_(layer.weight, std=std, generator=generator)
    zero_bias(layer)
    return layer


def _stem(configs: Sequence[ConvStemConfig], hidden_dim: int, generator: Any) -> nn.Module:
    """Convolutions, and 1x1 to `hidden_dim` channels at the end."""
    stem: dict[str, nn.Module] = {}
    channels = 3
    for i, config in enumerate(configs):
        stem[f"conv_bn_relu_{i}"] = Conv2dNormActivation(
            channels,
            config.out_channels,
            config.kernel_size,
            config.stride,
            norm_layer=config.norm_layer,
            activation_layer=config.activation_layer,
            generator=generator,
        )
        channels = config.out_channels
    last = nn.Conv2d(channels, hidden_dim, 1, generator=generator)
    nn.init.normal_(last.weight, std=math.sqrt(2 / hidden_dim), generator=generator)
    zero_bias(last)
    return nn.Sequential({**stem, "conv_last": last})


def _heads(
    hidden_dim: int, representation_size: int | None, num_classes: int, generator: Any
) -> nn.Module:
    """The scores, which are 0 at first; before them perhaps one more layer, and tanh."""
    layers: dict[str, nn.Module] = {}
    if representation_size is not None:
        between = nn.Linear(hidden_dim, representation_size, generator=generator)
        std = 1 / math.sqrt(hidden_dim)
        nn.init.trunc_normal_(between.weight, std=std, generator=generator)
        zero_bias(between)
        layers = {"pre_logits": between, "act": nn.Tanh()}
    features = hidden_dim if representation_size is None else representation_size
    head = nn.Linear(features, num_classes, generator=generator)
    nn.init.zeros_(head.weight)
    zero_bias(head)
    return nn.Sequential({**layers, "head": head})


def interpolate_embeddings(
    image_size: int,
    patch_size: int,
    model_state: Mapping[str, Any],
    interpolation_mode: str = "bicubic",
    reset_heads: bool = False,
) -> dict[str, Any]:
    """The state of a vision transformer, for images of another size.

    The vectors of the places lie on a square grid, which is interpolated as an image whose corners
    stay (section 3.2); that of the class token stays. With `reset_heads` the entries of the last
    layers are left out, for another number of classes. The state that is given stays as it is.

    Raises ValueError for a state whose places are no square.

    >>> from tinygrad_cv.models import VisionTransformer, interpolate_embeddings
    >>> small, large = (VisionTransformer(size, 8, 1, 2, 4, 8, num_classes=3) for size in (16, 32))
    >>> large.load_state_dict(interpolate_embeddings(32, 8, small.state_dict()))
    <All keys matched successfully>
    """
    state = dict(model_state)
    places = state["encoder.pos_embedding"]
    if places.ndim != 3 or places.shape[0] != 1:
        raise ValueError(
            f"encoder.pos_embedding is (1, places, hidden_dim); got the shape {places.shape}."
        )
    _, length, features = places.shape
    side, new_side = math.isqrt(max(0, length - 1)), image_size // patch_size
    if length != 1 + new_side**2:
        if length != 1 + side**2:
            raise ValueError(
                f"{length - 1} places of patches are no square grid, which could be interpolated."
            )
        token, grid = places[:, :1], places[:, 1:]
        grid = grid.permute(0, 2, 1).reshape(1, features, side, side)
        size = new_side, new_side
        grid = F.interpolate(grid, size, mode=interpolation_mode, align_corners=True)
        grid = grid.reshape(1, features, new_side**2).permute(0, 2, 1)
        state["encoder.pos_embedding"] = cat([token, grid], dim=1)
    if reset_heads:
        state = {name: value for name, value in state.items() if not name.startswith("heads")}
    return state


def _at_its_size(state: dict[str, Any], model: VisionTransformer) -> dict[str, Any]:
    """Weights of another image_size, for that of the model."""
    if "encoder.pos_embedding" not in state:
        return state
    return interpolate_embeddings(model.image_size, model.patch_size, state)


class ViT_B_16_Weights(WeightsEnum):
    """Weights of `vit_b_16`."""

    IMAGENET1K_V1 = Weights("vit_b_16-c867db91.pth", 86_567_656, min_size=(224, 224))
    IMAGENET1K_SWAG_E2E_V1 = Weights(
        "vit_b_16_swag-9ac1b537.pth",
        86_859_496,
        crop_size=384,
        resize_size=384,
        interpolation="bicubic",
        min_size=(384, 384),
        config={"image_size": 384},
    )
    IMAGENET1K_SWAG_LINEAR_V1 = Weights(
        "vit_b_16_lc_swag-4e70ced5.pth",
        86_567_656,
        resize_size=224,
        interpolation="bicubic",
        min_size=(224, 224),
    )
    DEFAULT = IMAGENET1K_V1


class ViT_B_32_Weights(WeightsEnum):
    """Weights of `vit_b_32`."""

    IMAGENET1K_V1 = Weights("vit_b_32-d86f8d99.pth", 88_224_232, min_size=(224, 224))
    DEFAULT = IMAGENET1K_V1


class ViT_L_16_Weights(WeightsEnum):
    """Weights of `vit_l_16`."""

    IMAGENET1K_V1 = Weights(
        "vit_l_16-852ce7e3.pth", 304_326_632, resize_size=242, min_size=(224, 224)
    )
    IMAGENET1K_SWAG_E2E_V1 = Weights(
        "vit_l_16_swag-4f3808c9.pth",
        305_174_504,
        crop_size=512,
        resize_size=512,
        interpolation="bicubic",
        min_size=(512, 512),
        config={"image_size": 512},
    )
    IMAGENET1K_SWAG_LINEAR_V1 = Weights(
        "vit_l_16_lc_swag-4d563306.pth",
        304_326_632,
        resize_size=224,
        interpolation="bicubic",
        min_size=(224, 224),
    )
    DEFAULT = IMAGENET1K_V1


class ViT_L_32_Weights(WeightsEnum):
    """Weights of `vit_l_32`."""

    IMAGENET1K_V1 = Weights("vit_l_32-c7638314.pth", 306_535_400, min_size=(224, 224))
    DEFAULT = IMAGENET1K_V1


class ViT_H_14_Weights(WeightsEnum):
    """Weights of `vit_h_14`."""

    IMAGENET1K_SWAG_E2E_V1 = Weights(
        "vit_h_14_swag-80465313.pth",
        633_470_440,
        crop_size=518,
        resize_size=518,
        interpolation="bicubic",
        min_size=(518, 518),
        config={"image_size": 518},
    )
    IMAGENET1K_SWAG_LINEAR_V1 = Weights(
        "vit_h_14_lc_swag-c1eb923e.pth",
        632_045_800,
        resize_size=224,
        interpolation="bicubic",
        min_size=(224, 224),
    )
    DEFAULT = IMAGENET1K_SWAG_E2E_V1


def _vit(
    patch_size: int,
    num_layers: int,
    num_heads: int,
    hidden_dim: int,
    mlp_dim: int,
    config: dict[str, Any],
) -> VisionTransformer:
    image_size = config.pop("image_size", 224)
    sizes = image_size, patch_size, num_layers, num_heads, hidden_dim, mlp_dim
    return VisionTransformer(*sizes, **config)


@constructor(ViT_B_16_Weights, _at_its_size)
def vit_b_16(**config: Any) -> VisionTransformer:
    """`VisionTransformer` Base on patches of 16x16: 86,567,656 parameters, 35 GFLOP an image.

    `config` are the arguments of the class but the sizes of the network; `image_size` is 224 by
    default, or that of the weights that are downloaded. Other weights are interpolated to another
    image_size; see `interpolate_embeddings`.

    >>> from tinygrad_cv.models import ViT_B_16_Weights
    >>> ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1.meta["min_size"]
    (384, 384)
    """
    return _vit(16, 12, 12, 768, 3072, config)


@constructor(ViT_B_32_Weights, _at_its_size)
def vit_b_32(**config: Any) -> VisionTransformer:
    """`VisionTransformer` Base on patches of 32x32: 88,224,232 parameters; see `vit_b_16`."""
    return _vit(32, 12, 12, 768, 3072, config)


@constructor(ViT_L_16_Weights, _at_its_size)
def vit_l_16(**config: Any) -> VisionTransformer:
    """`VisionTransformer` Large on patches of 16x16: 304,326,632 parameters; see `vit_b_16`."""
    return _vit(16, 24, 16, 1024, 4096, config)


@constructor(ViT_L_32_Weights, _at_its_size)
def vit_l_32(**config: Any) -> VisionTransformer:
    """`VisionTransformer` Large on patches of 32x32: 306,535,400 parameters; see `vit_b_16`."""
    return _vit(32, 24, 16, 1024, 4096, config)


@constructor(ViT_H_14_Weights, _at_its_size)
def vit_h_14(**config: Any) -> VisionTransformer:
    """`VisionTransformer` Huge on patches of 14x14: 632,045,800 parameters; see `vit_b_16`."""
    return _vit(14, 32, 16, 1280, 5120, config)
