"""ConvNeXt (Z. Liu et al., "A ConvNet for the 2020s", 2022)."""
# ruff: noqa: N801  weights have torchvision's names

from collections.abc import Sequence
from functools import partial
from typing import Any

from tinygrad_cv import nn, ones
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.models._blocks import (
    Conv2dNormActivation,
    Layer,
    LayerNorm2d,
    Permute,
    StochasticDepth,
    check_setting,
    seeded,
    zero_bias,
)
from tinygrad_cv.models._weights import Weights, WeightsEnum, constructor
from tinygrad_cv.nn.parameter import Parameter


class CNBlock(nn.Module):
    """Figure 4: y = x + γ · f(x), where γ is a learned scale for each channel.

    (N, dim, H, W) -> (N, dim, H, W). f is a 7x7 convolution of each channel by itself, and then for
    each pixel layer norm, a linear layer to 4 dim features, GELU, and a linear layer back. The γ
    begin as `layer_scale`; f(x) is absent with probability `stochastic_depth_prob`.
    """

    def __init__(
        self,
        dim: int,
        layer_scale: float,
        stochastic_depth_prob: float,
        norm_layer: Layer | None = None,
        *,
        generator: Any = None,
    ) -> None:
        norm = partial(nn.LayerNorm, eps=1e-6) if norm_layer is None else norm_layer
        self.block = nn.Sequential(
            nn.Conv2d(dim, dim, 7, padding=3, groups=dim, generator=generator),
            Permute([0, 2, 3, 1]),
            norm(dim),
            nn.Linear(dim, 4 * dim, generator=generator),
            nn.GELU(),
            nn.Linear(4 * dim, dim, generator=generator),
            Permute([0, 3, 1, 2]),
        )
        self.layer_scale = Parameter(layer_scale * ones(dim, 1, 1))
        self.stochastic_depth = StochasticDepth(stochastic_depth_prob, "row", generator=generator)

    def forward(self, input: Tensor) -> Tensor:
        y: Tensor = self.stochastic_depth(self.layer_scale * self.block(input))
        return y + input


class CNBlockConfig:
    """A stage: `num_layers` blocks of `input_channels`, then 2x2 at stride 2 to `out_channels`.

    Behind the last stage, whose `out_channels` are None, nothing is halved.
    """

    def __init__(self, input_channels: int, out_channels: int | None, num_layers: int) -> None:
        self.input_channels, self.out_channels = input_channels, out_channels
        self.num_layers = num_layers

    def __repr__(self) -> str:
        sizes = self.input_channels, self.out_channels, self.num_layers
        return "CNBlockConfig(input_channels={}, out_channels={}, num_layers={})".format(*sizes)


class ConvNeXt(nn.Module):
    """4x4 at stride 4, stages with 2x2 at stride 2 between them, the mean, a linear layer.

    (N, 3, H, W) -> scores (N, num_classes), for images of any size from 32x32 on.
    `block_setting` is a list of `CNBlockConfig`, one for each stage. Block k of 0 … K is absent
    with probability `stochastic_depth_prob` · k / K. `block` makes a block of (dim, layer_scale,
    stochastic_depth_prob), `norm_layer` a normalization of the channels of (N, C, H, W).

    At first weights are normal with a standard deviation of 0.02, cut off at ±2; they, and then
    what is dropped, are drawn from `generator` or from the one that `manual_seed` seeds.

    Raises ValueError for an empty setting, and TypeError for one of something else.

    >>> from tinygrad_cv import ones
    >>> from tinygrad_cv.models import CNBlockConfig, ConvNeXt
    >>> small = ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 2)], num_classes=10)
    >>> small(ones(2, 3, 32, 32)).shape
    (2, 10)
    """

    def __init__(
        self,
        block_setting: Sequence[CNBlockConfig],
        stochastic_depth_prob: float = 0.0,
        layer_scale: float = 1e-6,
        num_classes: int = 1000,
        block: Layer | None = None,
        norm_layer: Layer | None = None,
        *,
        generator: Any = None,
    ) -> None:
        check_setting("ConvNeXt", block_setting, CNBlockConfig)
        block = seeded(CNBlock if block is None else block, generator)
        norm = partial(LayerNorm2d, eps=1e-6) if norm_layer is None else norm_layer
        features: list[nn.Module] = [
            Conv2dNormActivation(
                3,
                block_setting[0].input_channels,
                kernel_size=4,
                stride=4,
                padding=0,
                norm_layer=norm,
                activation_layer=None,
                bias=True,
                generator=generator,
            )
        ]
        last_block, done = max(1, sum(stage.num_layers for stage in block_setting) - 1), 0
        for stage in block_setting:
            inp, out = stage.input_channels, stage.out_channels
            blocks = []
            for _ in range(stage.num_layers):
                blocks.append(block(inp, layer_scale, stochastic_depth_prob * done / last_block))
                done += 1
            features.append(nn.Sequential(*blocks))
            if out is not None:
                halved = nn.Conv2d(inp, out, kernel_size=2, stride=2, generator=generator)
                features.append(nn.Sequential(norm(inp), halved))
        channels = inp if out is None else out
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            norm(channels), nn.Flatten(1), nn.Linear(channels, num_classes, generator=generator)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02, generator=generator)
                zero_bias(module)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.classifier(self.avgpool(self.features(x)))
        return scores


class ConvNeXt_Tiny_Weights(WeightsEnum):
    """Weights of `convnext_tiny`."""

    IMAGENET1K_V1 = Weights(
        "convnext_tiny-983f1562.pth", 28_589_128, resize_size=236, min_size=(32, 32)
    )
    DEFAULT = IMAGENET1K_V1


class ConvNeXt_Small_Weights(WeightsEnum):
    """Weights of `convnext_small`."""

    IMAGENET1K_V1 = Weights(
        "convnext_small-0c510722.pth", 50_223_688, resize_size=230, min_size=(32, 32)
    )
    DEFAULT = IMAGENET1K_V1


class ConvNeXt_Base_Weights(WeightsEnum):
    """Weights of `convnext_base`."""

    IMAGENET1K_V1 = Weights(
        "convnext_base-6075fbad.pth", 88_591_464, resize_size=232, min_size=(32, 32)
    )
    DEFAULT = IMAGENET1K_V1


class ConvNeXt_Large_Weights(WeightsEnum):
    """Weights of `convnext_large`."""

    IMAGENET1K_V1 = Weights(
        "convnext_large-ea097f82.pth", 197_767_336, resize_size=232, min_size=(32, 32)
    )
    DEFAULT = IMAGENET1K_V1


def _convnext(
    width: int, blocks: Sequence[int], stochastic_depth_prob: float, config: dict[str, Any]
) -> ConvNeXt:
    """Four stages, of which each has twice the channels of the one before."""
    channels = [width, 2 * width, 4 * width, 8 * width]
    stages = [*map(CNBlockConfig, channels, [*channels[1:], None], blocks)]
    return ConvNeXt(stages, **{"stochastic_depth_prob": stochastic_depth_prob, **config})


@constructor(ConvNeXt_Tiny_Weights)
def convnext_tiny(**config: Any) -> ConvNeXt:
    """`ConvNeXt` Tiny: 28,589,128 parameters, 9 GFLOP for an image of 224x224.

    `config` are the arguments of the class without the setting.

    >>> from tinygrad_cv.models import ConvNeXt_Tiny_Weights
    >>> ConvNeXt_Tiny_Weights.DEFAULT.meta["num_params"]
    28589128
    """
    return _convnext(96, (3, 3, 9, 3), 0.1, config)


@constructor(ConvNeXt_Small_Weights)
def convnext_small(**config: Any) -> ConvNeXt:
    """`ConvNeXt` Small: 50,223,688 parameters; see `convnext_tiny`."""
    return _convnext(96, (3, 3, 27, 3), 0.4, config)


@constructor(ConvNeXt_Base_Weights)
def convnext_base(**config: Any) -> ConvNeXt:
    """`ConvNeXt` Base: 88,591,464 parameters; see `convnext_tiny`."""
    return _convnext(128, (3, 3, 27, 3), 0.5, config)


@constructor(ConvNeXt_Large_Weights)
def convnext_large(**config: Any) -> ConvNeXt:
    """`ConvNeXt` Large: 197,767,336 parameters; see `convnext_tiny`."""
    return _convnext(192, (3, 3, 27, 3), 0.5, config)
