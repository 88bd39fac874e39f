"""SqueezeNet: AlexNet's accuracy with a fiftieth of its parameters."""
# ruff: noqa: N801  weights have torchvision's names

from functools import partial
from typing import Any

from tinygrad_cv import nn
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.models._weights import Weights, WeightsEnum, constructor
from tinygrad_cv.ops.shape import cat


class Fire(nn.Module):
    """Squeeze to few channels by 1x1, then expand by 1x1 and by 3x3, side by side."""

    def __init__(
        self,
        inplanes: int,
        squeeze_planes: int,
        expand1x1_planes: int,
        expand3x3_planes: int,
        *,
        generator: Any = None,
    ) -> None:
        Conv2d = partial(nn.Conv2d, generator=generator)
        self.squeeze = Conv2d(inplanes, squeeze_planes, 1)
        self.squeeze_activation = nn.ReLU()
        self.expand1x1 = Conv2d(squeeze_planes, expand1x1_planes, 1)
        self.expand1x1_activation = nn.ReLU()
        self.expand3x3 = Conv2d(squeeze_planes, expand3x3_planes, 3, padding=1)
        self.expand3x3_activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze_activation(self.squeeze(x))
        one = self.expand1x1_activation(self.expand1x1(x))
        three = self.expand3x3_activation(self.expand3x3(x))
        return cat([one, three], 1)


class SqueezeNet(nn.Module):
    """Fire modules, and a convolution for the scores: (N, 3, H, W) -> (N, num_classes).

    Version "1_0" is the paper's, for images of at least 21x21; "1_1" (at least 17x17) pools earlier
    and computes less than half of it. Both were made for 224x224. The last convolution begins with
    the standard deviation 0.01, the others with He's uniform weights.

    F. Iandola, S. Han, M. Moskewicz, K. Ashraf, W. Dally and K. Keutzer, "SqueezeNet: AlexNet-level
    accuracy with 50x fewer parameters and <0.5MB model size", 2016.
    """

    def __init__(
        self,
        version: str = "1_0",
        num_classes: int = 1000,
        dropout: float = 0.5,
        *,
        generator: Any = None,
    ) -> None:
        Conv2d = partial(nn.Conv2d, generator=generator)
        fire = partial(Fire, generator=generator)
        pool = partial(nn.MaxPool2d, 3, 2, ceil_mode=True)
        self.num_classes = num_classes
        if version == "1_0":
            self.features = nn.Sequential(
                Conv2d(3, 96, 7, stride=2),
                nn.ReLU(),
                pool(),
                fire(96, 16, 64, 64),
                fire(128, 16, 64, 64),
                fire(128, 32, 128, 128),
                pool(),
                fire(256, 32, 128, 128),
                fire(256, 48, 192, 192),
                fire(384, 48, 192, 192),
                fire(384, 64, 256, 256),
                pool(),
                fire(512, 64, 256, 256),
            )
        elif version == "1_1":
            self.features = nn.Sequential(
                Conv2d(3, 64, 3, stride=2),
                nn.ReLU(),
                pool(),
                fire(64, 16, 64, 64),
                fire(128, 16, 64, 64),
                pool(),
                fire(128, 32, 128, 128),
                fire(256, 32, 128, 128),
                pool(),
                fire(256, 48, 192, 192),
                fire(384, 48, 192, 192),
                fire(384, 64, 256, 256),
                fire(512, 64, 256, 256),
            )
        else:
            raise ValueError(f"SqueezeNet has the versions '1_0' and '1_1'; got {version!r}.")
        scores = Conv2d(512, num_classes, 1)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout, generator=generator),
            scores,
            nn.ReLU(),
            nn.AdaptiveAvgPool2d((1, 1)),
        )
        for layer in self.modules():
            if not isinstance(layer, nn.Conv2d):
                continue
            if layer is scores:
                nn.init.normal_(layer.weight, std=0.01, generator=generator)
            else:
                nn.init.kaiming_uniform_(layer.weight, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.classifier(self.features(x)).flatten(1)
        return x


class SqueezeNet1_0_Weights(WeightsEnum):
    """Weights of `squeezenet1_0`."""

    IMAGENET1K_V1 = Weights("squeezenet1_0-b66bff10.pth", 1_248_424, min_size=(21, 21))
    DEFAULT = IMAGENET1K_V1


class SqueezeNet1_1_Weights(WeightsEnum):
    """Weights of `squeezenet1_1`."""

    IMAGENET1K_V1 = Weights("squeezenet1_1-b8a52dc0.pth", 1_235_496, min_size=(17, 17))
    DEFAULT = IMAGENET1K_V1


@constructor(SqueezeNet1_0_Weights)
def squeezenet1_0(**config: Any) -> SqueezeNet:
    """`SqueezeNet("1_0", **config)`, the paper's: 1,248,424 parameters.

    >>> from tinygrad_cv import ones
    >>> from tinygrad_cv.models import squeezenet1_0
    >>> squeezenet1_0(num_classes=5)(ones(1, 3, 32, 32)).shape
    (1, 5)
    """
    return SqueezeNet("1_0", **config)


@constructor(SqueezeNet1_1_Weights)
def squeezenet1_1(**config: Any) -> SqueezeNet:
    """`SqueezeNet("1_1", **config)`, which computes less: 1,235,496 parameters."""
    return SqueezeNet("1_1", **config)
