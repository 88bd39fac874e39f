"""ShuffleNetV2 (N. Ma et al., "ShuffleNet V2: practical guidelines for efficient CNN architecture
design", 2018).
"""
# ruff: noqa: N801  weights have torchvision's names

from collections.abc import Sequence
from functools import partial
from typing import Any

from tinygrad_cv import cat, nn
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.models._blocks import Layer, seeded
from tinygrad_cv.models._weights import Weights, WeightsEnum, constructor
from tinygrad_cv.nn import functional as F


class InvertedResidual(nn.Module):
    """Figure 3c and d: half of the channels passes, the other half goes through three convolutions.

    (N, inp, H, W) -> (N, oup, H / stride, W / stride). At stride 1 the input is split; at stride 2
    both branches see all of it, and the first one is a convolution of each channel and a 1x1. Their
    channels are put beside one another and mixed by turns.
    """

    def __init__(self, inp: int, oup: int, stride: int, *, generator: Any = None) -> None:
        if not 1 <= stride <= 3:
            raise ValueError(f"InvertedResidual: the stride is 1, 2 or 3; got {stride}.")
        half = oup // 2
        if stride == 1 and inp != 2 * half:
            raise ValueError(
                f"InvertedResidual: at stride 1 inp and oup are the same even number; got {inp} "
                f"and {oup}."
            )
        self.stride = stride
        conv = partial(nn.Conv2d, bias=False, generator=generator)

        def depthwise(channels: int) -> list[nn.Module]:
            layer = conv(channels, channels, 3, stride, padding=1, groups=channels)
            return [layer, nn.BatchNorm2d(channels)]

        def pointwise(channels: int) -> list[nn.Module]:
            return [conv(channels, half, 1), nn.BatchNorm2d(half), nn.ReLU(inplace=True)]

        passing = [*depthwise(inp), *pointwise(inp)] if stride > 1 else []
        self.branch1 = nn.Sequential(*passing)
        self.branch2 = nn.Sequential(
            *pointwise(inp if stride > 1 else half), *depthwise(half), *pointwise(half)
        )

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=1) if self.stride == 1 else (x, x)
        joined = cat([self.branch1(first), self.branch2(second)], dim=1)
        return F.channel_shuffle(joined, 2)


class ShuffleNetV2(nn.Module):
    """The network of table 5: (N, 3, H, W) -> scores (N, num_classes), for images of any size.

    `stages_repeats` are the blocks of three stages, `stages_out_channels` the channels of the first
    convolution, of the stages and of the last convolution. `inverted_residual` makes a block of
    (inp, oup, stride). Each side of an image is halved five times; the mean of what is there at the
    end goes through a linear layer.

    Initial weights are those of `nn.Conv2d` and `nn.Linear`, drawn from `generator` or from the one
    that `manual_seed` seeds.

    Raises ValueError for other numbers of stages.
    """

    def __init__(
        self,
        stages_repeats: Sequence[int],
        stages_out_channels: Sequence[int],
        num_classes: int = 1000,
        inverted_residual: Layer = InvertedResidual,
        *,
        generator: Any = None,
    ) -> None:
        if len(stages_repeats) != 3 or len(stages_out_channels) != 5:
            raise ValueError(
                "ShuffleNetV2: stages_repeats are 3 numbers and stages_out_channels are 5; got "
                f"{stages_repeats} and {stages_out_channels}."
            )
        block = seeded(inverted_residual, generator)
        first, *widths, last = stages_out_channels

        def convolved(inp: int, out: int, kernel: int, stride: int) -> nn.Sequential:
            options = {"padding": kernel // 2, "bias": False, "generator": generator}
            conv = nn.Conv2d(inp, out, kernel, stride, **options)
            return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU(inplace=True))

        def stage(inp: int, out: int, blocks: int) -> nn.Sequential:
            return nn.Sequential(
                block(inp, out, 2), *[block(out, out, 1) for _ in range(blocks - 1)]
            )

        self.conv1 = convolved(3, first, 3, 2)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.stage2 = stage(first, widths[0], stages_repeats[0])
        self.stage3 = stage(widths[0], widths[1], stages_repeats[1])
        self.stage4 = stage(widths[1], widths[2], stages_repeats[2])
        self.conv5 = convolved(widths[2], last, 1, 1)
        self.fc = nn.Linear(last, num_classes, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.conv1(x))
        x = self.conv5(self.stage4(self.stage3(self.stage2(x))))
        scores: Tensor = self.fc(x.mean((2, 3)))
        return scores


class ShuffleNet_V2_X0_5_Weights(WeightsEnum):
    """Weights of `shufflenet_v2_x0_5`."""

    IMAGENET1K_V1 = Weights("shufflenetv2_x0.5-f707e7126e.pth", 1_366_792)
    DEFAULT = IMAGENET1K_V1


class ShuffleNet_V2_X1_0_Weights(WeightsEnum):
    """Weights of `shufflenet_v2_x1_0`."""

    IMAGENET1K_V1 = Weights("shufflenetv2_x1-5666bf0f80.pth", 2_278_604)
    DEFAULT = IMAGENET1K_V1


class ShuffleNet_V2_X1_5_Weights(WeightsEnum):
    """Weights of `shufflenet_v2_x1_5`."""

    IMAGENET1K_V1 = Weights("shufflenetv2_x1_5-3c479a10.pth", 3_503_624, resize_size=232)
    DEFAULT = IMAGENET1K_V1


class ShuffleNet_V2_X2_0_Weights(WeightsEnum):
    """Weights of `shufflenet_v2_x2_0`."""

    IMAGENET1K_V1 = Weights("shufflenetv2_x2_0-8be3c8ee.pth", 7_393_996, resize_size=232)
    DEFAULT = IMAGENET1K_V1


@constructor(ShuffleNet_V2_X0_5_Weights)
def shufflenet_v2_x0_5(**config: Any) -> ShuffleNetV2:
    """`ShuffleNetV2` 0.5x: 1,366,792 parameters.

    `config` are the arguments of the class without the stages.

    >>> from tinygrad_cv import ones
    >>> from tinygrad_cv.models import shufflenet_v2_x0_5
    >>> shufflenet_v2_x0_5(num_classes=10)(ones(2, 3, 32, 32)).shape
    (2, 10)
    """
    return ShuffleNetV2([4, 8, 4], [24, 48, 96, 192, 1024], **config)


@constructor(ShuffleNet_V2_X1_0_Weights)
def shufflenet_v2_x1_0(**config: Any) -> ShuffleNetV2:
    """`ShuffleNetV2` 1x: 2,278,604 parameters; see `shufflenet_v2_x0_5`."""
    return ShuffleNetV2([4, 8, 4], [24, 116, 232, 464, 1024], **config)


@constructor(ShuffleNet_V2_X1_5_Weights)
def shufflenet_v2_x1_5(**config: Any) -> ShuffleNetV2:
    """`ShuffleNetV2` 1.5x: 3,503,624 parameters; see `shufflenet_v2_x0_5`."""
    return ShuffleNetV2([4, 8, 4], [24, 176, 352, 704, 1024], **config)


@constructor(ShuffleNet_V2_X2_0_Weights)
def shufflenet_v2_x2_0(**config: Any) -> ShuffleNetV2:
    """`ShuffleNetV2` 2x: 7,393,996 parameters; see `shufflenet_v2_x0_5`."""
    return ShuffleNetV2([4, 8, 4], [24, 244, 488, 976, 2048], **config)
