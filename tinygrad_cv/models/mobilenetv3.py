"""MobileNetV3 (A. Howard et al., "Searching for MobileNetV3", 2019)."""
# ruff: noqa: N801  weights have torchvision's names

from collections.abc import Sequence
from functools import partial
from typing import Any

from tinygrad_cv import nn
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.models._blocks import (
    Conv2dNormActivation,
    Layer,
    SqueezeExcitation,
    check_setting,
    make_divisible,
    seeded,
)
from tinygrad_cv.models._weights import Weights, WeightsEnum, constructor
from tinygrad_cv.models.mobilenetv2 import initialize

# Tables 1 and 2: kernel, expanded channels, channels out, whether to squeeze, activation, stride.
LARGE = (
    (3, 16, 16, False, "RE", 1),
    (3, 64, 24, False, "RE", 2),
    (3, 72, 24, False, "RE", 1),
    (5, 72, 40, True, "RE", 2),
    (5, 120, 40, True, "RE", 1),
    (5, 120, 40, True, "RE", 1),
    (3, 240, 80, False, "HS", 2),
    (3, 200, 80, False, "HS", 1),
    (3, 184, 80, False, "HS", 1),
    (3, 184, 80, False, "HS", 1),
    (3, 480, 112, True, "HS", 1),
    (3, 672, 112, True, "HS", 1),
    (5, 672, 160, True, "HS", 2),
    (5, 960, 160, True, "HS", 1),
    (5, 960, 160, True, "HS", 1),
)
SMALL = (
    (3, 16, 16, True, "RE", 2),
    (3, 72, 24, False, "RE", 2),
    (3, 88, 24, False, "RE", 1),
    (5, 96, 40, True, "HS", 2),
    (5, 240, 40, True, "HS", 1),
    (5, 240, 40, True, "HS", 1),
    (5, 120, 48, True, "HS", 1),
    (5, 144, 48, True, "HS", 1),
    (5, 288, 96, True, "HS", 2),
    (5, 576, 96, True, "HS", 1),
    (5, 576, 96, True, "HS", 1),
)
TAIL = 3
"""The rows at the end whose channels can be halved, and which can be dilated."""


class InvertedResidualConfig:
    """A row of the tables: the numbers of channels are multiplied by `width_mult`.

    `activation` is "HS", hard swish, or "RE", ReLU; with `use_se` the block squeezes and excites.
    """

    def __init__(
        self,
        input_channels: int,
        kernel: int,
        expanded_channels: int,
        out_channels: int,
        use_se: bool,
        activation: str,
        stride: int,
        dilation: int,
        width_mult: float,
    ) -> None:
        self.input_channels = self.adjust_channels(input_channels, width_mult)
        self.kernel = kernel
        self.expanded_channels = self.adjust_channels(expanded_channels, width_mult)
        self.out_channels = self.adjust_channels(out_channels, width_mult)
        self.use_se, self.use_hs = use_se, activation == "HS"
        self.stride, self.dilation = stride, dilation

    @staticmethod
    def adjust_channels(channels: int, width_mult: float) -> int:
        """The channels of a network of another width, a multiple of 8."""
        return make_divisible(channels * width_mult, 8)


HARD_SQUEEZE = partial(SqueezeExcitation, scale_activation=nn.Hardsigmoid)


class InvertedResidual(nn.Module):
    """Figure 4: 1x1 to more channels, k x k on each by itself, squeeze and excite, 1x1 to fewer."""

    def __init__(
        self,
        cnf: InvertedResidualConfig,
        norm_layer: Layer,
        se_layer: Layer = HARD_SQUEEZE,
        *,
        generator: Any = None,
    ) -> None:
        if cnf.stride not in (1, 2):
            raise ValueError(f"InvertedResidual: the stride is 1 or 2; got {cnf.stride}.")
        hidden = cnf.expanded_channels
        conv = partial(Conv2dNormActivation, norm_layer=norm_layer, generator=generator)
        act = nn.Hardswish if cnf.use_hs else nn.ReLU
        layers: list[nn.Module] = []
        if hidden != cnf.input_channels:
            layers.append(conv(cnf.input_channels, hidden, 1, activation_layer=act))
        layers.append(
            conv(
                hidden,
                hidden,
                cnf.kernel,
                stride=1 if cnf.dilation > 1 else cnf.stride,  # dilated, the image keeps its size
                dilation=cnf.dilation,
                groups=hidden,
                activation_layer=act,
            )
        )
        if cnf.use_se:
            layers.append(seeded(se_layer, generator)(hidden, make_divisible(hidden // 4, 8)))
        layers.append(conv(hidden, cnf.out_channels, 1, activation_layer=None))
        self.use_res_connect = cnf.stride == 1 and cnf.input_channels == cnf.out_channels
        self.block = nn.Sequential(*layers)
        self.out_channels = cnf.out_channels

    def forward(self, input: Tensor) -> Tensor:
        y: Tensor = self.block(input)
        return y + input if self.use_res_connect else y


class MobileNetV3(nn.Module):
    """A convolution, inverted residuals, 1x1 to 6 times the channels, the mean, two linear layers.

    (N, 3, H, W) -> scores (N, num_classes), for images of any size. The blocks are those of
    `inverted_residual_setting`, a list of `InvertedResidualConfig`; between the linear layers there
    are `last_channel` features, of which a share `dropout` is dropped. `block` makes a block of
    (config, norm_layer), `norm_layer` a normalization of a number of channels.

    Initial weights as in `MobileNetV2`, drawn from `generator`.

    Raises ValueError for an empty setting, and TypeError for one of something else.
    """

    def __init__(
        self,
        inverted_residual_setting: Sequence[InvertedResidualConfig],
        last_channel: int,
        num_classes: int = 1000,
        block: Layer | None = None,
        norm_layer: Layer | None = None,
        dropout: float = 0.2,
        *,
        generator: Any = None,
    ) -> None:
        check_setting("MobileNetV3", inverted_residual_setting, InvertedResidualConfig)
        block = seeded(InvertedResidual if block is None else block, generator)
        norm = (
            partial(nn.BatchNorm2d, eps=0.001, momentum=0.01) if norm_layer is None else norm_layer
        )
        conv = partial(
            Conv2dNormActivation,
            norm_layer=norm,
            activation_layer=nn.Hardswish,
            generator=generator,
        )
        first, last = inverted_residual_setting[0], inverted_residual_setting[-1]
        features = 6 * last.out_channels
        self.features = nn.Sequential(
            conv(3, first.input_channels, stride=2),
            *[block(row, norm) for row in inverted_residual_setting],
            conv(last.out_channels, features, 1),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(features, last_channel, generator=generator),
            nn.Hardswish(inplace=True),
            nn.Dropout(dropout, inplace=True, generator=generator),
            nn.Linear(last_channel, num_classes, generator=generator),
        )
        initialize(self, generator)

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.features(x)).flatten(1)
        scores: Tensor = self.classifier(x)
        return scores


def _rows(
    table: Any, width_mult: float, reduced_tail: bool, dilated: bool
) -> list[InvertedResidualConfig]:
    """The rows of a table, each with the channels that the one before gives."""
    rows, channels, tail = [], 16, len(table) - TAIL
    for i, (kernel, expanded, out, squeeze, act, stride) in enumerate(table):
        if reduced_tail:  # what goes into the tail is as wide as ever
            expanded, out = expanded // (1 + (i > tail)), out // (1 + (i >= tail))
        dilation = 2 if dilated and i >= tail else 1
        kind = squeeze, act, stride, dilation, width_mult
        rows.append(InvertedResidualConfig(channels, kernel, expanded, out, *kind))
        channels = out
    return rows


def _mobilenet_v3(
    table: Any,
    last_channel: int,
    width_mult: float,
    reduced_tail: bool,
    dilated: bool,
    config: dict[str, Any],
) -> MobileNetV3:
    rows = _rows(table, width_mult, reduced_tail, dilated)
    last = InvertedResidualConfig.adjust_channels(last_channel // (1 + reduced_tail), width_mult)
    return MobileNetV3(rows, last, **config)


class MobileNet_V3_Large_Weights(WeightsEnum):
    """Weights of `mobilenet_v3_large`."""

    IMAGENET1K_V1 = Weights("mobilenet_v3_large-8738ca79.pth", 5_483_032)
    IMAGENET1K_V2 = Weights("mobilenet_v3_large-5c1a4163.pth", 5_483_032, resize_size=232)
    DEFAULT = IMAGENET1K_V2


class MobileNet_V3_Small_Weights(WeightsEnum):
    """Weights of `mobilenet_v3_small`."""

    IMAGENET1K_V1 = Weights("mobilenet_v3_small-047dcff4.pth", 2_542_856)
    DEFAULT = IMAGENET1K_V1


@constructor(MobileNet_V3_Large_Weights)
def mobilenet_v3_large(
    *, width_mult: float = 1.0, reduced_tail: bool = False, dilated: bool = False, **config: Any
) -> MobileNetV3:
    """`MobileNetV3` of table 1: 5,483,032 parameters, 0.45 GFLOP for an image of 224x224.

    The channels are multiplied by `width_mult`. `reduced_tail` halves those of the last three
    blocks and of the features before the scores, `dilated` lets those blocks see as far on an image
    of twice the size: both are for networks that go on to segment. `config` are other arguments of
    `MobileNetV3`.
    """
    return _mobilenet_v3(LARGE, 1280, width_mult, reduced_tail, dilated, config)


@constructor(MobileNet_V3_Small_Weights)
def mobilenet_v3_small(
    *, width_mult: float = 1.0, reduced_tail: bool = False, dilated: bool = False, **config: Any
) -> MobileNetV3:
    """`MobileNetV3` of table 2: 2,542,856 parameters, 0.12 GFLOP for an image of 224x224.

    The arguments are those of `mobilenet_v3_large`.

    >>> from tinygrad_cv import ones
    >>> from tinygrad_cv.models import mobilenet_v3_small
    >>> mobilenet_v3_small(num_classes=10, width_mult=0.25)(ones(2, 3, 32, 32)).shape
    (2, 10)
    """
    return _mobilenet_v3(SMALL, 1024, width_mult, reduced_tail, dilated, config)
