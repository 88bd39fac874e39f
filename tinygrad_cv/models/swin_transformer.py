"""Swin transformer (Z. Liu et al., "Swin transformer: hierarchical vision transformer using shifted
windows", 2021).
"""
# ruff: noqa: N801  weights have torchvision's names

import math
from collections.abc import Sequence
from typing import Any

from tinygrad_cv import cat, empty, nn, roll, softmax, tensor
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.models._blocks import MLP, Layer, Permute, StochasticDepth, seeded, zero_bias
from tinygrad_cv.models._weights import Weights, WeightsEnum, constructor
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn.parameter import Parameter

FORBIDDEN = -100.0
"""What is added to the similarity of pixels that are no neighbours: e^-100 is no weight."""


class PatchMerging(nn.Module):
    """Each 2x2 pixels become one of twice the channels: (N, H, W, C) -> (N, H/2, W/2, 2C).

    Their 4C numbers are normalized and go through a linear layer. A row or a column that is left
    over is filled up with 0.
    """

    def __init__(
        self, dim: int, norm_layer: Layer = nn.LayerNorm, *, generator: Any = None
    ) -> None:
        self.dim = dim
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False, generator=generator)
        self.norm = norm_layer(4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[-3:-1]
        x = F.pad(x, (0, 0, 0, columns % 2, 0, rows % 2))
        corners = [x[..., i::2, j::2, :] for j in (0, 1) for i in (0, 1)]
        y: Tensor = self.reduction(self.norm(cat(corners, dim=-1)))
        return y


class ShiftedWindowAttention(nn.Module):
    """Equation 4 in windows: softmax(q kᵀ / √d + b) v, where b depends on how two pixels lie.

    (N, H, W, dim) -> (N, H, W, dim). The pixels of each window of `window_size` attend to one
    another; the windows are moved by `shift_size`, around the border, behind which pixels are no
    neighbours (figure 4). An image that is no multiple of the window is filled up with 0, and along
    an axis where it is one window nothing is moved.
    """

    relative_position_index: Tensor

    def __init__(
        self,
        dim: int,
        window_size: Sequence[int],
        shift_size: Sequence[int],
        num_heads: int,
        qkv_bias: bool = True,
        proj_bias: bool = True,
        attention_dropout: float = 0.0,
        dropout: float = 0.0,
        *,
        generator: Any = None,
    ) -> None:
        if len(window_size) != 2 or len(shift_size) != 2:
            raise ValueError(
                "ShiftedWindowAttention: window_size and shift_size are (rows, columns); got "
                f"{window_size} and {shift_size}."
            )
        self.window_size, self.shift_size = list(window_size), list(shift_size)
        self.num_heads, self.generator = num_heads, generator
        self.attention_dropout, self.dropout = attention_dropout, dropout
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias, generator=generator)
        self.proj = nn.Linear(dim, dim, bias=proj_bias, generator=generator)
        rows, columns = window_size
        # How far one pixel lies below another and to its right, from -(rows - 1) on.
        pixels = [(i, j) for i in range(rows) for j in range(columns)]
        index = [
            (i - k + rows - 1) * (2 * columns - 1) + j - m + columns - 1
            for i, j in pixels
            for k, m in pixels
        ]
        distances = (2 * rows - 1) * (2 * columns - 1)
        self.relative_position_bias_table = Parameter(empty(distances, num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02, generator=generator)
        self.register_buffer("relative_position_index", tensor(index))

    def get_relative_position_bias(self) -> Tensor:
        """b of the heads, for each two pixels of a window: (1, heads, pixels, pixels)."""
        count = math.prod(self.window_size)
        table = self.relative_position_bias_table[self.relative_position_index]
        return table.reshape(count, count, -1).permute(2, 0, 1).unsqueeze(0)

    def forward(self, x: Tensor) -> Tensor:
        n, height, width, dim = x.shape
        rows, columns = self.window_size
        x = F.pad(x, (0, 0, 0, -width % columns, 0, -height % rows))
        high, wide = x.shape[1:3]
        axes = zip(self.window_size, (high, wide), self.shift_size, strict=True)
        shift = [0 if window >= size else by for window, size, by in axes]
        if any(shift):
            x = roll(x, [-by for by in shift], dims=(1, 2))
        grid = high // rows, wide // columns
        windows = x.reshape(n, grid[0], rows, grid[1], columns, dim).permute(0, 1, 3, 2, 4, 5)
        windows = windows.reshape(n * grid[0] * grid[1], rows * columns, dim)
        y = self._attended(windows, self._mask(high, wide, shift) if any(shift) else None)
        y = y.reshape(n, *grid, rows, columns, dim).permute(0, 1, 3, 2, 4, 5)
        y = y.reshape(n, high, wide, dim)
        if any(shift):
            y = roll(y, shift, dims=(1, 2))
        return y[:, :height, :width]

    def _attended(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """Attention in each of the windows (B, pixels, dim)."""
        count, pixels, dim = windows.shape
        heads = self.num_heads
        joined = self.qkv(windows).reshape(count, pixels, 3, heads, dim // heads)
        q, k, v = joined.permute(2, 0, 3, 1, 4)
        similar = (q * (dim // heads) ** -0.5) @ k.transpose(-2, -1)
        similar = similar + self.get_relative_position_bias()
        if mask is not None:
            similar = similar.reshape(-1, len(mask), heads, pixels, pixels) + mask
            similar = similar.reshape(count, heads, pixels, pixels)
        weights = self._dropped(softmax(similar, dim=-1), self.attention_dropout)
        seen = (weights @ v).transpose(1, 2).reshape(count, pixels, dim)
        return self._dropped(self.proj(seen), self.dropout)

    def _dropped(self, x: Tensor, p: float) -> Tensor:
        return F.dropout(x, p, self.training, generator=self.generator)

    def _mask(self, high: int, wide: int, shift: Sequence[int]) -> Tensor:
        """What is added to the similarities in the windows of a moved image.

        (windows, 1, pixels, pixels): 0 for pixels of one region, else FORBIDDEN. The regions are
        what lies in whole windows, and the two parts of the window that goes around the border.
        """
        axes = zip((high, wide), self.window_size, shift, strict=True)
        regions = [
            [(i >= size - window) + (i >= size - by) for i in range(size)]
            for size, window, by in axes
        ]
        rows, columns = self.window_size
        kind = self.relative_position_bias_table
        down, along = (tensor(axis, device=kind.device) for axis in regions)
        x = down.reshape(-1, 1) * 3 + along
        x = x.reshape(high // rows, rows, wide // columns, columns).permute(0, 2, 1, 3)
        x = x.reshape(-1, 1, rows * columns)
        apart = x != x.transpose(1, 2)
        mask: Tensor = (apart.to(kind) * FORBIDDEN).unsqueeze(1)
        return mask


class SwinTransformerBlock(nn.Module):
    """Equation 3: z' = z + attention(norm(z)), then z' + mlp(norm(z')); (N, H, W, dim) as it came.

    Either sum is of its first part alone with probability `stochastic_depth_prob`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window_size: Sequence[int],
        shift_size: Sequence[int],
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        stochastic_depth_prob: float = 0.0,
        norm_layer: Layer = nn.LayerNorm,
        attn_layer: Layer = ShiftedWindowAttention,
        *,
        generator: Any = None,
    ) -> None:
        self.norm1 = norm_layer(dim)
        self.attn = seeded(attn_layer, generator)(
            dim,
            window_size,
            shift_size,
            num_heads,
            attention_dropout=attention_dropout,
            dropout=dropout,
        )
        self.stochastic_depth = StochasticDepth(stochastic_depth_prob, "row", generator=generator)
        self.norm2 = norm_layer(dim)
        self.mlp = MLP(
            dim,
            [int(dim * mlp_ratio), dim],
            activation_layer=nn.GELU,
            dropout=dropout,
            generator=generator,
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.stochastic_depth(self.attn(self.norm1(x)))
        y: Tensor = x + self.stochastic_depth(self.mlp(self.norm2(x)))
        return y


class SwinTransformer(nn.Module):
    """Figure 3: patches, stages of blocks with merging between them, the mean, a linear layer.

    (N, 3, H, W) -> scores (N, num_classes), for images of any size. Patches of `patch_size` become
    `embed_dim` features; stage i has `depths[i]` blocks of `num_heads[i]` heads, and twice the
    features of the one before. The windows of every other block are moved by half of
    `window_size`. Block k of 0 … K is absent with probability `stochastic_depth_prob` · k / K.
    `block` makes a block of the arguments of `SwinTransformerBlock`, `norm_layer` a normalization
    of a number of features, `downsample_layer` what stands between stages of (features,
    norm_layer).

    At first weights are normal with a standard deviation of 0.02, cut off at ±2; they, and then
    what is dropped, are drawn from `generator` or from the one that `manual_seed` seeds.

    >>> from tinygrad_cv import ones
    >>> from tinygrad_cv.models import SwinTransformer
    >>> sizes = {"patch_size": [4, 4], "embed_dim": 8, "window_size": [4, 4]}
    >>> small = SwinTransformer(**sizes, depths=[1, 2], num_heads=[1, 2], num_classes=10)
    >>> small(ones(2, 3, 32, 32)).shape
    (2, 10)
    """

    def __init__(
        self,
        patch_size: Sequence[int],
        embed_dim: int,
        depths: Sequence[int],
        num_heads: Sequence[int],
        window_size: Sequence[int],
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        stochastic_depth_prob: float = 0.1,
        num_classes: int = 1000,
        norm_layer: Layer | None = None,
        block: Layer | None = None,
        downsample_layer: Layer = PatchMerging,
        *,
        generator: Any = None,
    ) -> None:
        if not depths or len(depths) != len(num_heads):
            raise ValueError(
                "SwinTransformer: depths and num_heads have a number for each stage; got "
                f"{depths} and {num_heads}."
            )
        self.num_classes = num_classes
        block = seeded(SwinTransformerBlock if block is None else block, generator)
        merging = seeded(downsample_layer, generator)
        norm = nn.LayerNorm if norm_layer is None else norm_layer
        patch = tuple(patch_size)
        patches = nn.Conv2d(3, embed_dim, patch, stride=patch, generator=generator)
        features: list[nn.Module] = [nn.Sequential(patches, Permute([0, 2, 3, 1]), norm(embed_dim))]
        dim, done, last_block = embed_dim, 0, max(1, sum(depths) - 1)
        for i, (depth, heads) in enumerate(zip(depths, num_heads, strict=True)):
            if i:
                features.append(merging(dim, norm))
                dim *= 2
            blocks = []
            for k in range(depth):
                shift = [size // 2 if k % 2 else 0 for size in window_size]
                blocks.append(
                    block(
                        dim,
                        heads,
                        window_size=window_size,
                        shift_size=shift,
                        mlp_ratio=mlp_ratio,
                        dropout=dropout,
                        attention_dropout=attention_dropout,
                        stochastic_depth_prob=stochastic_depth_prob * done / last_block,
                        norm_layer=norm,
                    )
                )
                done += 1
            features.append(nn.Sequential(*blocks))
        self.features = nn.Sequential(*features)
        self.norm = norm(dim)
        self.permute = Permute([0, 3, 1, 2])
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten(1)
        self.head = nn.Linear(dim, num_classes, generator=generator)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02, generator=generator)
                zero_bias(module)

    def forward(self, x: Tensor) -> Tensor:
        x = self.permute(self.norm(self.features(x)))
        scores: Tensor = self.head(self.flatten(self.avgpool(x)))
        return scores


class Swin_T_Weights(WeightsEnum):
    """Weights of `swin_t`."""

    IMAGENET1K_V1 = Weights(
        "swin_t-704ceda3.pth",
        28_288_354,
        resize_size=232,
        interpolation="bicubic",
        min_size=(224, 224),
    )
    DEFAULT = IMAGENET1K_V1


class Swin_S_Weights(WeightsEnum):
    """Weights of `swin_s`."""

    IMAGENET1K_V1 = Weights(
        "swin_s-5e29d889.pth",
        49_606_258,
        resize_size=246,
        interpolation="bicubic",
        min_size=(224, 224),
    )
    DEFAULT = IMAGENET1K_V1


class Swin_B_Weights(WeightsEnum):
    """Weights of `swin_b`."""

    IMAGENET1K_V1 = Weights(
        "swin_b-68c6b09e.pth",
        87_768_224,
        resize_size=238,
        interpolation="bicubic",
        min_size=(224, 224),
    )
    DEFAULT = IMAGENET1K_V1


def _swin(
    embed_dim: int,
    depth: int,
    num_heads: Sequence[int],
    stochastic_depth_prob: float,
    config: dict[str, Any],
) -> SwinTransformer:
    """Windows of 7x7 patches of 4x4, and `depth` blocks in the third stage."""
    sizes = [4, 4], embed_dim, [2, 2, depth, 2], num_heads, [7, 7]
    return SwinTransformer(*sizes, **{"stochastic_depth_prob": stochastic_depth_prob, **config})


@constructor(Swin_T_Weights)
def swin_t(**config: Any) -> SwinTransformer:
    """`SwinTransformer` Tiny: 28,288,354 parameters, 9 GFLOP for an image of 224x224.

    `config` are the arguments of the class but the sizes of the network.

    >>> from tinygrad_cv.models import Swin_T_Weights
    >>> Swin_T_Weights.DEFAULT.meta["num_params"]
    28288354
    """
    return _swin(96, 6, [3, 6, 12, 24], 0.2, config)


@constructor(Swin_S_Weights)
def swin_s(**config: Any) -> SwinTransformer:
    """`SwinTransformer` Small: 49,606,258 parameters; see `swin_t`."""
    return _swin(96, 18, [3, 6, 12, 24], 0.3, config)


@constructor(Swin_B_Weights)
def swin_b(**config: Any) -> SwinTransformer:
    """`SwinTransformer` Base: 87,768,224 parameters; see `swin_t`."""
    return _swin(128, 18, [4, 8, 16, 32], 0.5, config)
