"""MNASNet (M. Tan et al., "Platform-aware neural architecture search for mobile", 2019)."""
# ruff: noqa: N801  weights have torchvision's names

from functools import partial
from typing import Any

from tinygrad_cv import nn
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.models._blocks import make_divisible, zero_bias
from tinygrad_cv.models._weights import Weights, WeightsEnum, constructor

# Figure 7a: kernel, stride, expansion, channels out, blocks.
STACKS = (
    (3, 2, 3, 24, 3),
    (5, 2, 3, 40, 3),
    (5, 2, 6, 80, 3),
    (3, 1, 6, 96, 2),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
SLOW_NORM = partial(nn.BatchNorm2d, momentum=1 - 0.9997)


def _narrowed(hidden: int, out: int, kernel: int, stride: int, conv: Any) -> Any:
    """k x k on each of the hidden channels by itself, and 1x1 to few without an activation."""
    depthwise = conv(hidden, hidden, kernel, stride, kernel // 2, groups=hidden)
    return [
        depthwise,
        SLOW_NORM(hidden),
        nn.ReLU(inplace=True),
        conv(hidden, out, 1),
        SLOW_NORM(out),
    ]


class _InvertedResidual(nn.Module):
    """1x1 to more channels, then `_narrowed`; the input is added if the shape allows."""

    def __init__(
        self, inp: int, out: int, kernel: int, stride: int, expansion: int, conv: Any
    ) -> None:
        self.apply_residual = inp == out and stride == 1
        hidden = inp * expansion
        self.layers = nn.Sequential(
            conv(inp, hidden, 1),
            SLOW_NORM(hidden),
            nn.ReLU(inplace=True),
            *_narrowed(hidden, out, kernel, stride, conv),
        )

    def forward(self, input: Tensor) -> Tensor:
        y: Tensor = self.layers(input)
        return y + input if self.apply_residual else y


class MNASNet(nn.Module):
    """The network B1 of figure 7a: (N, 3, H, W) -> scores (N, num_classes), for images of any size.

    The channels are multiplied by `alpha` and rounded to multiples of 8; before the linear layer a
    share `dropout` of 1280 features is dropped. Running statistics follow slowly, by 0.0003.

    At first the weights of convolutions are normal with variance 2 / fan_out, those of the linear
    layer uniform with variance 1 / num_classes; they, and then what is dropped, are drawn from
    `generator` or from the one that `manual_seed` seeds.

    Raises ValueError for an alpha that is not above 0.
    """

    def __init__(
        self,
        alpha: float,
        num_classes: int = 1000,
        dropout: float = 0.2,
        *,
        generator: Any = None,
    ) -> None:
        if not alpha > 0:
            raise ValueError(
                f"MNASNet: alpha multiplies the channels, and is above 0; got {alpha}."
            )
        self.alpha, self.num_classes = alpha, num_classes
        conv = partial(nn.Conv2d, bias=False, generator=generator)
        first, channels = make_divisible(32 * alpha, 8), make_divisible(16 * alpha, 8)
        layers: list[nn.Module] = [
            conv(3, first, 3, stride=2, padding=1),
            SLOW_NORM(first),
            nn.ReLU(inplace=True),
            *_narrowed(first, channels, 3, 1, conv),
        ]
        for kernel, stride, expansion, width, blocks in STACKS:
            out = make_divisible(width * alpha, 8)
            stack = []
            for i in range(blocks):
                sizes = kernel, 1 if i else stride, expansion
                stack.append(_InvertedResidual(channels, out, *sizes, conv))
                channels = out
            layers.append(nn.Sequential(*stack))
        layers += [conv(channels, 1280, 1), SLOW_NORM(1280), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout, inplace=True, generator=generator),
            nn.Linear(1280, num_classes, generator=generator),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", generator=generator)
            elif isinstance(module, nn.Linear):
                nn.init.kaiming_uniform_(
                    module.weight, mode="fan_out", nonlinearity="sigmoid", generator=generator
                )
                zero_bias(module)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.classifier(self.layers(x).mean((2, 3)))
        return scores


class MNASNet0_5_Weights(WeightsEnum):
    """Weights of `mnasnet0_5`."""

    IMAGENET1K_V1 = Weights("mnasnet0.5_top1_67.823-3ffadce67e.pth", 2_218_512)
    DEFAULT = IMAGENET1K_V1


class MNASNet0_75_Weights(WeightsEnum):
    """Weights of `mnasnet0_75`."""

    IMAGENET1K_V1 = Weights("mnasnet0_75-7090bc5f.pth", 3_170_208, resize_size=232)
    DEFAULT = IMAGENET1K_V1


class MNASNet1_0_Weights(WeightsEnum):
    """Weights of `mnasnet1_0`."""

    IMAGENET1K_V1 = Weights("mnasnet1.0_top1_73.512-f206786ef8.pth", 4_383_312)
    DEFAULT = IMAGENET1K_V1


class MNASNet1_3_Weights(WeightsEnum):
    """Weights of `mnasnet1_3`."""

    IMAGENET1K_V1 = Weights("mnasnet1_3-a4c69d6f.pth", 6_282_256, resize_size=232)
    DEFAULT = IMAGENET1K_V1


@constructor(MNASNet0_5_Weights)
def mnasnet0_5(**config: Any) -> MNASNet:
    """`MNASNet` of half the channels: 2,218,512 parameters. `config` are its other arguments.

    >>> from tinygrad_cv import ones
    >>> from tinygrad_cv.models import mnasnet0_5
    >>> mnasnet0_5(num_classes=10)(ones(2, 3, 32, 32)).shape
    (2, 10)
    """
    return MNASNet(0.5, **config)


@constructor(MNASNet0_75_Weights)
def mnasnet0_75(**config: Any) -> MNASNet:
    """`MNASNet` of 0.75 times the channels: 3,170,208 parameters; see `mnasnet0_5`."""
    return MNASNet(0.75, **config)


@constructor(MNASNet1_0_Weights)
def mnasnet1_0(**config: Any) -> MNASNet:
    """`MNASNet`: 4,383,312 parameters; see `mnasnet0_5`."""
    return MNASNet(1.0, **config)


@constructor(MNASNet1_3_Weights)
def mnasnet1_3(**config: Any) -> MNASNet:
    """`MNASNet` of 1.3 times the channels: 6,282,256 parameters; see `mnasnet0_5`."""
    return MNASNet(1.3, **config)
