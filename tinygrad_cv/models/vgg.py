"""VGG: nothing but 3x3 convolutions, in stages of one size."""
# ruff: noqa: N801  weights have torchvision's names

from collections.abc import Sequence
from functools import partial
from typing import Any

from tinygrad_cv import nn
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.models._weights import Weights, WeightsEnum, constructor

WIDTHS = (64, 128, 256, 512, 512)
"""The filters of a convolution in each of the five stages."""

DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""The convolutions in each stage: columns A, B, D and E of the paper's table."""


def make_layers(
    depths: Sequence[int], batch_norm: bool = False, *, generator: Any = None
) -> nn.Sequential:
    """Stages of so many [conv 3x3 - (batch norm) - ReLU], with a max-pool 2x2 behind each."""
    layers: list[nn.Module] = []
    channels = 3
    for width, depth in zip(WIDTHS, depths, strict=True):
        for _ in range(depth):
            layers += [nn.Conv2d(channels, width, 3, padding=1, generator=generator)]
            layers += [nn.BatchNorm2d(width)] if batch_norm else []
            layers += [nn.ReLU()]
            channels = width
        layers += [nn.MaxPool2d(2, 2)]
    return nn.Sequential(*layers)


class VGG(nn.Module):
    """`features`, which give 512 channels, and three linear layers: (N, 3, H, W) -> scores.

    Images are at least 32x32, and 224x224 in the paper; the scores are (N, num_classes). With
    `init_weights` convolutions begin with He's normal weights of mode fan_out, linear layers with
    the standard deviation 0.01, and biases with 0.

    K. Simonyan and A. Zisserman, "Very deep convolutional networks for large-scale image
    recognition", 2015; batch norm, where there is one, came later.
    """

    def __init__(
        self,
        features: nn.Module,
        num_classes: int = 1000,
        init_weights: bool = True,
        dropout: float = 0.5,
        *,
        generator: Any = None,
    ) -> None:
        Linear = partial(nn.Linear, generator=generator)
        Dropout = partial(nn.Dropout, generator=generator)
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            Linear(512 * 7 * 7, 4096),
            nn.ReLU(),
            Dropout(dropout),
            Linear(4096, 4096),
            nn.ReLU(),
            Dropout(dropout),
            Linear(4096, num_classes),
        )
        for layer in self.modules() if init_weights else ():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(
                    layer.weight, mode="fan_out", nonlinearity="relu", generator=generator
                )
            elif isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.01, generator=generator)
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return x


def _vgg(depth: int, batch_norm: bool, *, generator: Any = None, **config: Any) -> VGG:
    layers = make_layers(DEPTHS[depth], batch_norm, generator=generator)
    return VGG(layers, generator=generator, **config)


class VGG11_Weights(WeightsEnum):
    """Weights of `vgg11`."""

    IMAGENET1K_V1 = Weights("vgg11-8a719046.pth", 132_863_336, min_size=(32, 32))
    DEFAULT = IMAGENET1K_V1


@constructor(VGG11_Weights)
def vgg11(**config: Any) -> VGG:
    """`VGG(..., **config)` of 11 layers: 132,863,336 parameters."""
    return _vgg(11, False, **config)


class VGG11_BN_Weights(WeightsEnum):
    """Weights of `vgg11_bn`."""

    IMAGENET1K_V1 = Weights("vgg11_bn-6002323d.pth", 132_868_840, min_size=(32, 32))
    DEFAULT = IMAGENET1K_V1


@constructor(VGG11_BN_Weights)
def vgg11_bn(**config: Any) -> VGG:
    """`VGG(..., **config)` of 11 layers, with batch norm: 132,868,840 parameters."""
    return _vgg(11, True, **config)


class VGG13_Weights(WeightsEnum):
    """Weights of `vgg13`."""

    IMAGENET1K_V1 = Weights("vgg13-19584684.pth", 133_047_848, min_size=(32, 32))
    DEFAULT = IMAGENET1K_V1


@constructor(VGG13_Weights)
def vgg13(**config: Any) -> VGG:
    """`VGG(..., **config)` of 13 layers: 133,047,848 parameters."""
    return _vgg(13, False, **config)


class VGG13_BN_Weights(WeightsEnum):
    """Weights of `vgg13_bn`."""

    IMAGENET1K_V1 = Weights("vgg13_bn-abd245e5.pth", 133_053_736, min_size=(32, 32))
    DEFAULT = IMAGENET1K_V1


@constructor(VGG13_BN_Weights)
def vgg13_bn(**config: Any) -> VGG:
    """`VGG(..., **config)` of 13 layers, with batch norm: 133,053,736 parameters."""
    return _vgg(13, True, **config)


class VGG16_Weights(WeightsEnum):
    """Weights of `vgg16`."""

    IMAGENET1K_V1 = Weights("vgg16-397923af.pth", 138_357_544, min_size=(32, 32))
    IMAGENET1K_FEATURES = Weights(
        "vgg16_features-amdegroot-88682ab5.pth",
        138_357_544,
        min_size=(32, 32),
        mean=(0.48235, 0.45882, 0.40784),
        std=(1 / 255, 1 / 255, 1 / 255),
        classifies=False,
    )
    DEFAULT = IMAGENET1K_V1


@constructor(VGG16_Weights)
def vgg16(**config: Any) -> VGG:
    """`VGG(..., **config)` of 16 layers: 138,357,544 parameters."""
    return _vgg(16, False, **config)


class VGG16_BN_Weights(WeightsEnum):
    """Weights of `vgg16_bn`."""

    IMAGENET1K_V1 = Weights("vgg16_bn-6c64b313.pth", 138_365_992, min_size=(32, 32))
    DEFAULT = IMAGENET1K_V1


@constructor(VGG16_BN_Weights)
def vgg16_bn(**config: Any) -> VGG:
    """`VGG(..., **config)` of 16 layers, with batch norm: 138,365,992 parameters."""
    return _vgg(16, True, **config)


class VGG19_Weights(WeightsEnum):
    """Weights of `vgg19`."""

    IMAGENET1K_V1 = Weights("vgg19-dcbb9e9d.pth", 143_667_240, min_size=(32, 32))
    DEFAULT = IMAGENET1K_V1


@constructor(VGG19_Weights)
def vgg19(**config: Any) -> VGG:
    """`VGG(..., **config)` of 19 layers: 143,667,240 parameters."""
    return _vgg(19, False, **config)


class VGG19_BN_Weights(WeightsEnum):
    """Weights of `vgg19_bn`."""

    IMAGENET1K_V1 = Weights("vgg19_bn-c79401a0.pth", 143_678_248, min_size=(32, 32))
    DEFAULT = IMAGENET1K_V1


@constructor(VGG19_BN_Weights)
def vgg19_bn(**config: Any) -> VGG:
    """`VGG(..., **config)` of 19 layers, with batch norm: 143,678,248 parameters."""
    return _vgg(19, True, **config)
