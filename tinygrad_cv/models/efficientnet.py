"""EfficientNet (M. Tan and Q. Le, "EfficientNet: rethinking model scaling for convolutional neural
networks", 2019) and EfficientNetV2 (the same, "EfficientNetV2: smaller models and faster training",
2021).
"""
# ruff: noqa: N801  weights have torchvision's names

import math
from collections.abc import Iterator, Sequence
from copy import copy
from functools import partial
from typing import Any

from tinygrad_cv import nn
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.models._blocks import (
    Conv2dNormActivation,
    Layer,
    SqueezeExcitation,
    StochasticDepth,
    check_setting,
    make_divisible,
    seeded,
    zero_bias,
)
from tinygrad_cv.models._weights import Weights, WeightsEnum, constructor

# Table 1 of 2019: expansion, kernel, stride, channels in, channels out, blocks; of the network B0.
B0 = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)
# The same for those of 2021 (table 4 has S), by the kind of the blocks.
FUSED_S = ((1, 3, 1, 24, 24, 2), (4, 3, 2, 24, 48, 4), (4, 3, 2, 48, 64, 4))
MBCONV_S = ((4, 3, 2, 64, 128, 6), (6, 3, 1, 128, 160, 9), (6, 3, 2, 160, 256, 15))
FUSED_M = ((1, 3, 1, 24, 24, 3), (4, 3, 2, 24, 48, 5), (4, 3, 2, 48, 80, 5))
MBCONV_M = (
    (4, 3, 2, 80, 160, 7),
    (6, 3, 1, 160, 176, 14),
    (6, 3, 2, 176, 304, 18),
    (6, 3, 1, 304, 512, 5),
)
FUSED_L = ((1, 3, 1, 32, 32, 4), (4, 3, 2, 32, 64, 7), (4, 3, 2, 64, 96, 7))
MBCONV_L = (
    (4, 3, 2, 96, 192, 10),
    (6, 3, 1, 192, 224, 19),
    (6, 3, 2, 224, 384, 25),
    (6, 3, 1, 384, 640, 7),
)


class _StageConfig:
    """A row of the tables: `num_layers` blocks, of which the first has the stride."""

    def __init__(
        self,
        expand_ratio: float,
        kernel: int,
        stride: int,
        input_channels: int,
        out_channels: int,
        num_layers: int,
        block: Layer,
    ) -> None:
        self.expand_ratio, self.kernel, self.stride = expand_ratio, kernel, stride
        self.input_channels, self.out_channels = input_channels, out_channels
        self.num_layers, self.block = num_layers, block

    def blocks(self) -> Iterator[Any]:
        """A row for each block: those after the first take what it gives, at stride 1."""
        row = copy(self)
        for _ in range(self.num_layers):
            yield copy(row)
            row.input_channels, row.stride = row.out_channels, 1

    @staticmethod
    def adjust_channels(channels: int, width_mult: float, min_value: int | None = None) -> int:
        """The channels of a network of another width, a multiple of 8."""
        return make_divisible(channels * width_mult, 8, min_value)


class MBConvConfig(_StageConfig):
    """A stage of `MBConv`, with channels times `width_mult` and blocks times `depth_mult`."""

    def __init__(
        self,
        expand_ratio: float,
        kernel: int,
        stride: int,
        input_channels: int,
        out_channels: int,
        num_layers: int,
        width_mult: float = 1.0,
        depth_mult: float = 1.0,
        block: Layer | None = None,
    ) -> None:
        super().__init__(
            expand_ratio,
            kernel,
            stride,
            self.adjust_channels(input_channels, width_mult),
            self.adjust_channels(out_channels, width_mult),
            self.adjust_depth(num_layers, depth_mult),
            MBConv if block is None else block,
        )

    @staticmethod
    def adjust_depth(num_layers: int, depth_mult: float) -> int:
        """The blocks of a network of another depth, rounded up."""
        return math.ceil(num_layers * depth_mult)


class FusedMBConvConfig(_StageConfig):
    """A stage of `FusedMBConv`."""

    def __init__(
        self,
        expand_ratio: float,
        kernel: int,
        stride: int,
        input_channels: int,
        out_channels: int,
        num_layers: int,
        block: Layer | None = None,
    ) -> None:
        sizes = expand_ratio, kernel, stride, input_channels, out_channels, num_layers
        super().__init__(*sizes, FusedMBConv if block is None else block)


class _Block(nn.Module):
    """What both kinds share: the input is added if the shape allows, and then f(x) may be absent.

    y = x + stochastic_depth(f(x)), or f(x), where f is `block`.
    """

    def __init__(self, cnf: _StageConfig, layers: Any, p: float, generator: Any) -> None:
        self.use_res_connect = cnf.stride == 1 and cnf.input_channels == cnf.out_channels
        self.block = nn.Sequential(*layers)
        self.stochastic_depth = StochasticDepth(p, "row", generator=generator)
        self.out_channels = cnf.out_channels

    def forward(self, input: Tensor) -> Tensor:
        y: Tensor = self.block(input)
        return self.stochastic_depth(y) + input if self.use_res_connect else y


class MBConv(_Block):
    """1x1 to more channels, k x k on each by itself, squeeze and excite, 1x1 to few, no activation.

    What is squeezed has a quarter of the channels that came in.
    """

    def __init__(
        self,
        cnf: MBConvConfig,
        stochastic_depth_prob: float,
        norm_layer: Layer,
        se_layer: Layer = SqueezeExcitation,
        *,
        generator: Any = None,
    ) -> None:
        check_stride(cnf)
        inp, out = cnf.input_channels, cnf.out_channels
        hidden = cnf.adjust_channels(inp, cnf.expand_ratio)
        conv = partial(Conv2dNormActivation, norm_layer=norm_layer, generator=generator)
        squeezed, silu = max(1, inp // 4), partial(nn.SiLU, inplace=True)
        layers = [
            *([] if hidden == inp else [conv(inp, hidden, 1, activation_layer=nn.SiLU)]),
            conv(hidden, hidden, cnf.kernel, cnf.stride, groups=hidden, activation_layer=nn.SiLU),
            seeded(se_layer, generator)(hidden, squeezed, activation=silu),
            conv(hidden, out, 1, activation_layer=None),
        ]
        super().__init__(cnf, layers, stochastic_depth_prob, generator)


class FusedMBConv(_Block):
    """k x k to more channels, 1x1 to few without an activation; k x k alone if there are no more.

    Figure 2 of 2021: on large images one full convolution is faster than the two of an `MBConv`.
    """

    def __init__(
        self,
        cnf: FusedMBConvConfig,
        stochastic_depth_prob: float,
        norm_layer: Layer,
        *,
        generator: Any = None,
    ) -> None:
        check_stride(cnf)
        inp, out = cnf.input_channels, cnf.out_channels
        hidden = cnf.adjust_channels(inp, cnf.expand_ratio)
        conv = partial(Conv2dNormActivation, norm_layer=norm_layer, generator=generator)
        full = partial(conv, inp, kernel_size=cnf.kernel, stride=cnf.stride)
        if hidden == inp:
            layers = [full(out, activation_layer=nn.SiLU)]
        else:
            layers = [full(hidden, activation_layer=nn.SiLU)]
            layers.append(conv(hidden, out, 1, activation_layer=None))
        super().__init__(cnf, layers, stochastic_depth_prob, generator)


def check_stride(cnf: _StageConfig) -> None:
    """Raise for a stride that halves no image."""
    if cnf.stride not in (1, 2):
        raise ValueError(f"a block's stride is 1 or 2; got {cnf.stride}.")


class EfficientNet(nn.Module):
    """A convolution, stages of `MBConv` or `FusedMBConv`, 1x1, the mean, dropout, a linear layer.

    (N, 3, H, W) -> scores (N, num_classes), for images of any size; each side is halved five times.
    `inverted_residual_setting` is a list of `MBConvConfig` and `FusedMBConvConfig`, one for each
    stage. Block k of K is absent with probability `stochastic_depth_prob` · k / K. The last
    convolution has `last_channel` channels, or four times those of the last stage; of them a share
    `dropout` is dropped. `norm_layer` makes a normalization of a number of channels.

    At first the weights of convolutions are normal with variance 2 / fan_out, those of the linear
    layer uniform on ±1/√num_classes; they, and then what is dropped, are drawn from `generator` or
    from the one that `manual_seed` seeds.

    Raises ValueError for an empty setting, and TypeError for one of something else.
    """

    def __init__(
        self,
        inverted_residual_setting: Sequence[MBConvConfig | FusedMBConvConfig],
        dropout: float,
        stochastic_depth_prob: float = 0.2,
        num_classes: int = 1000,
        norm_layer: Layer | None = None,
        last_channel: int | None = None,
        *,
        generator: Any = None,
    ) -> None:
        check_setting("EfficientNet", inverted_residual_setting, (MBConvConfig, FusedMBConvConfig))
        norm = nn.BatchNorm2d if norm_layer is None else norm_layer
        conv = partial(
            Conv2dNormActivation, norm_layer=norm, activation_layer=nn.SiLU, generator=generator
        )
        channels = inverted_residual_setting[0].input_channels
        features: list[nn.Module] = [conv(3, channels, stride=2)]
        total, done = sum(stage.num_layers for stage in inverted_residual_setting), 0
        for stage in inverted_residual_setting:
            blocks = []
            for row in stage.blocks():
                absent = stochastic_depth_prob * done / total
                blocks.append(seeded(row.block, generator)(row, absent, norm))
                channels = row.out_channels
                done += 1
            features.append(nn.Sequential(*blocks))
        last = 4 * channels if last_channel is None else last_channel
        features.append(conv(channels, last, kernel_size=1))
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout, inplace=True, generator=generator),
            nn.Linear(last, num_classes, generator=generator),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", generator=generator)
                zero_bias(module)
            elif isinstance(module, nn.Linear):
                bound = 1 / math.sqrt(module.out_features)
                nn.init.uniform_(module.weight, -bound, bound, generator=generator)
                zero_bias(module)

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.features(x)).flatten(1)
        scores: Tensor = self.classifier(x)
        return scores


class EfficientNet_B0_Weights(WeightsEnum):
    """Weights of `efficientnet_b0`."""

    IMAGENET1K_V1 = Weights(
        "efficientnet_b0_rwightman-7f5810bc.pth", 5_288_548, interpolation="bicubic"
    )
    DEFAULT = IMAGENET1K_V1


class EfficientNet_B1_Weights(WeightsEnum):
    """Weights of `efficientnet_b1`."""

    IMAGENET1K_V1 = Weights(
        "efficientnet_b1_rwightman-bac287d4.pth", 7_794_184, crop_size=240, interpolation="bicubic"
    )
    IMAGENET1K_V2 = Weights(
        "efficientnet_b1-c27df63c.pth", 7_794_184, crop_size=240, resize_size=255
    )
    DEFAULT = IMAGENET1K_V2


class EfficientNet_B2_Weights(WeightsEnum):
    """Weights of `efficientnet_b2`."""

    IMAGENET1K_V1 = Weights(
        "efficientnet_b2_rwightman-c35c1473.pth",
        9_109_994,
        crop_size=288,
        resize_size=288,
        interpolation="bicubic",
    )
    DEFAULT = IMAGENET1K_V1


class EfficientNet_B3_Weights(WeightsEnum):
    """Weights of `efficientnet_b3`."""

    IMAGENET1K_V1 = Weights(
        "efficientnet_b3_rwightman-b3899882.pth",
        12_233_232,
        crop_size=300,
        resize_size=320,
        interpolation="bicubic",
    )
    DEFAULT = IMAGENET1K_V1


class EfficientNet_B4_Weights(WeightsEnum):
    """Weights of `efficientnet_b4`."""

    IMAGENET1K_V1 = Weights(
        "efficientnet_b4_rwightman-23ab8bcd.pth",
        19_341_616,
        crop_size=380,
        resize_size=384,
        interpolation="bicubic",
    )
    DEFAULT = IMAGENET1K_V1


class EfficientNet_B5_Weights(WeightsEnum):
    """Weights of `efficientnet_b5`."""

    IMAGENET1K_V1 = Weights(
        "efficientnet_b5_lukemelas-1a07897c.pth",
        30_389_784,
        crop_size=456,
        resize_size=456,
        interpolation="bicubic",
    )
    DEFAULT = IMAGENET1K_V1


class EfficientNet_B6_Weights(WeightsEnum):
    """Weights of `efficientnet_b6`."""

    IMAGENET1K_V1 = Weights(
        "efficientnet_b6_lukemelas-24a108a5.pth",
        43_040_704,
        crop_size=528,
        resize_size=528,
        interpolation="bicubic",
    )
    DEFAULT = IMAGENET1K_V1


class EfficientNet_B7_Weights(WeightsEnum):
    """Weights of `efficientnet_b7`."""

    IMAGENET1K_V1 = Weights(
        "efficientnet_b7_lukemelas-c5b4e57e.pth",
        66_347_960,
        crop_size=600,
        resize_size=600,
        interpolation="bicubic",
    )
    DEFAULT = IMAGENET1K_V1


class EfficientNet_V2_S_Weights(WeightsEnum):
    """Weights of `efficientnet_v2_s`."""

    IMAGENET1K_V1 = Weights(
        "efficientnet_v2_s-dd5fe13b.pth",
        21_458_488,
        crop_size=384,
        resize_size=384,
        min_size=(33, 33),
    )
    DEFAULT = IMAGENET1K_V1


class EfficientNet_V2_M_Weights(WeightsEnum):
    """Weights of `efficientnet_v2_m`."""

    IMAGENET1K_V1 = Weights(
        "efficientnet_v2_m-dc08266a.pth",
        54_139_356,
        crop_size=480,
        resize_size=480,
        min_size=(33, 33),
    )
    DEFAULT = IMAGENET1K_V1


class EfficientNet_V2_L_Weights(WeightsEnum):
    """Weights of `efficientnet_v2_l`."""

    IMAGENET1K_V1 = Weights(
        "efficientnet_v2_l-59c71312.pth",
        118_515_272,
        crop_size=480,
        resize_size=480,
        interpolation="bicubic",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        min_size=(33, 33),
    )
    DEFAULT = IMAGENET1K_V1


def _b(width: float, depth: float, dropout: float, config: dict[str, Any]) -> EfficientNet:
    """B0 with `width` times the channels, and in each stage `depth` times the blocks."""
    stages = [MBConvConfig(*row, width_mult=width, depth_mult=depth) for row in B0]
    return EfficientNet(stages, **{"dropout": dropout, **config})


def _v2(fused: Any, plain: Any, dropout: float, config: dict[str, Any]) -> EfficientNet:
    """Fused stages and then plain ones."""
    stages: list[Any] = [FusedMBConvConfig(*row) for row in fused]
    stages += [MBConvConfig(*row) for row in plain]
    norm = partial(nn.BatchNorm2d, eps=1e-3)
    usual = {"dropout": dropout, "norm_layer": norm, "last_channel": 1280}
    return EfficientNet(stages, **{**usual, **config})


SLOW_NORM = {"norm_layer": partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)}
"""The normalization of the largest of the first family."""


@constructor(EfficientNet_B0_Weights)
def efficientnet_b0(**config: Any) -> EfficientNet:
    """`EfficientNet` B0: 5,288,548 parameters, 0.8 GFLOP for an image of 224x224.

    It is made for images of 224x224, and the larger ones for larger images; all take any size.
    `config` are the arguments of `EfficientNet` without the setting.

    >>> from tinygrad_cv import ones
    >>> from tinygrad_cv.models import efficientnet_b0
    >>> efficientnet_b0(num_classes=10)(ones(2, 3, 32, 32)).shape
    (2, 10)
    """
    return _b(1.0, 1.0, 0.2, config)


@constructor(EfficientNet_B1_Weights)
def efficientnet_b1(**config: Any) -> EfficientNet:
    """`EfficientNet` B1: 7,794,184 parameters, for images of 240x240; see `efficientnet_b0`."""
    return _b(1.0, 1.1, 0.2, config)


@constructor(EfficientNet_B2_Weights)
def efficientnet_b2(**config: Any) -> EfficientNet:
    """`EfficientNet` B2: 9,109,994 parameters, for images of 260x260; see `efficientnet_b0`."""
    return _b(1.1, 1.2, 0.3, config)


@constructor(EfficientNet_B3_Weights)
def efficientnet_b3(**config: Any) -> EfficientNet:
    """`EfficientNet` B3: 12,233,232 parameters, for images of 300x300; see `efficientnet_b0`."""
    return _b(1.2, 1.4, 0.3, config)


@constructor(EfficientNet_B4_Weights)
def efficientnet_b4(**config: Any) -> EfficientNet:
    """`EfficientNet` B4: 19,341,616 parameters, for images of 380x380; see `efficientnet_b0`."""
    return _b(1.4, 1.8, 0.4, config)


@constructor(EfficientNet_B5_Weights)
def efficientnet_b5(**config: Any) -> EfficientNet:
    """`EfficientNet` B5: 30,389,784 parameters, for images of 456x456; see `efficientnet_b0`."""
    return _b(1.6, 2.2, 0.4, {**SLOW_NORM, **config})


@constructor(EfficientNet_B6_Weights)
def efficientnet_b6(**config: Any) -> EfficientNet:
    """`EfficientNet` B6: 43,040,704 parameters, for images of 528x528; see `efficientnet_b0`."""
    return _b(1.8, 2.6, 0.5, {**SLOW_NORM, **config})


@constructor(EfficientNet_B7_Weights)
def efficientnet_b7(**config: Any) -> EfficientNet:
    """`EfficientNet` B7: 66,347,960 parameters, for images of 600x600; see `efficientnet_b0`."""
    return _b(2.0, 3.1, 0.5, {**SLOW_NORM, **config})


@constructor(EfficientNet_V2_S_Weights)
def efficientnet_v2_s(**config: Any) -> EfficientNet:
    """`EfficientNet` V2-S: 21,458,488 parameters; see `efficientnet_b0`."""
    return _v2(FUSED_S, MBCONV_S, 0.2, config)


@constructor(EfficientNet_V2_M_Weights)
def efficientnet_v2_m(**config: Any) -> EfficientNet:
    """`EfficientNet` V2-M: 54,139,356 parameters; see `efficientnet_b0`."""
    return _v2(FUSED_M, MBCONV_M, 0.3, config)


@constructor(EfficientNet_V2_L_Weights)
def efficientnet_v2_l(**config: Any) -> EfficientNet:
    """`EfficientNet` V2-L: 118,515,272 parameters; see `efficientnet_b0`."""
    return _v2(FUSED_L, MBCONV_L, 0.4, config)
