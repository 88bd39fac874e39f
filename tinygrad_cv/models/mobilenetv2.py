"""MobileNetV2 (M. Sandler et al., "Inverted residuals and linear bottlenecks", 2018)."""
# ruff: noqa: N801  weights have torchvision's names

from collections.abc import Sequence
from functools import partial
from typing import Any

from tinygrad_cv import nn
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.models._blocks import (
    Conv2dNormActivation,
    Layer,
    make_divisible,
    seeded,
    zero_bias,
)
from tinygrad_cv.models._weights import Weights, WeightsEnum, constructor
from tinygrad_cv.nn import functional as F

# Table 2: the expansion t, the channels c, the number n of blocks, the stride s of the first one.
BOTTLENECKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class InvertedResidual(nn.Module):
    """1x1 to `expand_ratio` times the channels, 3x3 on each by itself, 1x1 to `oup` channels.

    (N, inp, H, W) -> (N, oup, H / stride, W / stride). The last convolution is linear: an
    activation would lose what so few channels hold. The input is added if the shape allows.
    """

    def __init__(
        self,
        inp: int,
        oup: int,
        stride: int,
        expand_ratio: float,
        norm_layer: Layer | None = None,
        *,
        generator: Any = None,
    ) -> None:
        if stride not in (1, 2):
            raise ValueError(f"InvertedResidual: the stride is 1 or 2; got {stride}.")
        norm = nn.BatchNorm2d if norm_layer is None else norm_layer
        hidden = round(inp * expand_ratio)
        conv = partial(
            Conv2dNormActivation, norm_layer=norm, activation_layer=nn.ReLU6, generator=generator
        )
        layers: list[nn.Module] = [] if expand_ratio == 1 else [conv(inp, hidden, kernel_size=1)]
        layers += [
            conv(hidden, hidden, stride=stride, groups=hidden),
            nn.Conv2d(hidden, oup, 1, bias=False, generator=generator),
            norm(oup),
        ]
        self.stride, self.out_channels = stride, oup
        self.use_res_connect = stride == 1 and inp == oup
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.use_res_connect else y


class MobileNetV2(nn.Module):
    """The network of table 2: a convolution, inverted residuals, 1x1, the mean, a linear layer.

    (N, 3, H, W) -> scores (N, num_classes), for images of any size; each side is halved five times.
    The channels are multiplied by `width_mult` and rounded to multiples of `round_nearest`.
    `inverted_residual_setting` is a table of (t, c, n, s) in place of the paper's; `block` makes a
    block of (inp, oup, stride, expand_ratio, norm_layer=...), `norm_layer` a normalization of a
    number of channels. Before the linear layer a share `dropout` is dropped.

    At first the weights of convolutions are normal with variance 2 / fan_out, those of the linear
    layer with a standard deviation of 0.01; they, and then what is dropped, are drawn from
    `generator` or from the one that `manual_seed` seeds.

    Raises ValueError for a setting that is no such table.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        width_mult: float = 1.0,
        inverted_residual_setting: Sequence[Sequence[int]] | None = None,
        round_nearest: int = 8,
        block: Layer | None = None,
        norm_layer: Layer | None = None,
        dropout: float = 0.2,
        *,
        generator: Any = None,
    ) -> None:
        block = seeded(InvertedResidual if block is None else block, generator)
        norm = nn.BatchNorm2d if norm_layer is None else norm_layer
        setting = inverted_residual_setting
        table = BOTTLENECKS if setting is None else [tuple(row) for row in setting]
        if not table or any(len(row) != 4 for row in table):
            raise ValueError(
                "MobileNetV2: inverted_residual_setting is a list of rows (expansion, channels, "
                f"number of blocks, stride); got {setting!r}."
            )
        conv = partial(
            Conv2dNormActivation, norm_layer=norm, activation_layer=nn.ReLU6, generator=generator
        )
        channels = make_divisible(32 * width_mult, round_nearest)
        self.last_channel = make_divisible(1280 * max(1.0, width_mult), round_nearest)
        features: list[nn.Module] = [conv(3, channels, stride=2)]
        for t, c, n, s in table:
            out = make_divisible(c * width_mult, round_nearest)
            for i in range(n):
                features.append(block(channels, out, 1 if i else s, t, norm_layer=norm))
                channels = out
        features.append(conv(channels, self.last_channel, kernel_size=1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout, generator=generator),
            nn.Linear(self.last_channel, num_classes, generator=generator),
        )
        initialize(self, generator)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        scores: Tensor = self.classifier(x)
        return scores


def initialize(model: nn.Module, generator: Any = None) -> None:
    """The first weights of the MobileNets: convolutions by fan_out, linear layers N(0, 0.01²)."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", generator=generator)
            zero_bias(module)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01, generator=generator)
            zero_bias(module)


class MobileNet_V2_Weights(WeightsEnum):
    """Weights of `mobilenet_v2`."""

    IMAGENET1K_V1 = Weights("mobilenet_v2-b0353104.pth", 3_504_872)
    IMAGENET1K_V2 = Weights("mobilenet_v2-7ebf99e0.pth", 3_504_872, resize_size=232)
    DEFAULT = IMAGENET1K_V2


@constructor(MobileNet_V2_Weights)
def mobilenet_v2(**config: Any) -> MobileNetV2:
    """`MobileNetV2`: 3,504,872 parameters, 0.63 GFLOP for an image of 224x224.

    `config` are the arguments of the class.

    >>> from tinygrad_cv import ones
    >>> from tinygrad_cv.models import mobilenet_v2
    >>> mobilenet_v2(num_classes=10, width_mult=0.25)(ones(2, 3, 32, 32)).shape
    (2, 10)
    """
    return MobileNetV2(**config)
