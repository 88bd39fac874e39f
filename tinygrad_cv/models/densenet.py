"""DenseNet: every layer sees the maps of all layers before it."""
# ruff: noqa: N801  weights have torchvision's names

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from tinygrad_cv import nn
from tinygrad_cv._recompute import recompute
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.models._weights import Weights, WeightsEnum, constructor
from tinygrad_cv.nn import functional as F
from tinygrad_cv.ops.shape import cat


class _DenseLayer(nn.Module):
    """BN - ReLU - conv 1x1, then BN - ReLU - conv 3x3: `growth_rate` new maps out of all before.

    The convolution 1x1 leaves bn_size · growth_rate channels for the other.
    """

    def __init__(
        self,
        num_input_features: int,
        growth_rate: int,
        bn_size: int,
        drop_rate: float,
        memory_efficient: bool = False,
        *,
        generator: Any = None,
    ) -> None:
        narrow = bn_size * growth_rate
        self.norm1 = nn.BatchNorm2d(num_input_features)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(num_input_features, narrow, 1, bias=False, generator=generator)
        self.norm2 = nn.BatchNorm2d(narrow)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(narrow, growth_rate, 3, padding=1, bias=False, generator=generator)
        self.drop_rate, self.memory_efficient = float(drop_rate), memory_efficient
        self.generator = generator

    def _narrowed(self, *maps: Tensor) -> Tensor:
        x: Tensor = self.conv1(self.relu1(self.norm1(cat(maps, 1))))
        return x

    def forward(self, input: Sequence[Tensor]) -> Tensor:
        maps = [input] if isinstance(input, Tensor) else input
        narrowed = partial(recompute, self._narrowed) if self.memory_efficient else self._narrowed
        x: Tensor = narrowed(*maps)
        x = self.conv2(self.relu2(self.norm2(x)))
        if self.drop_rate:
            x = F.dropout(x, self.drop_rate, self.training, generator=self.generator)
        return x


class _DenseBlock(nn.ModuleDict):
    """Layers that see all before them: (N, C, H, W) -> (N, C + layers · growth_rate, H, W)."""

    def __init__(self, num_layers: int, num_input_features: int, growth_rate: int, **rest: Any):
        super().__init__(
            {
                f"denselayer{i + 1}": _DenseLayer(
                    num_input_features + i * growth_rate, growth_rate, **rest
                )
                for i in range(num_layers)
            }
        )

    def forward(self, init_features: Tensor) -> Tensor:
        maps = [init_features]
        for layer in self.values():
            maps.append(layer(maps))
        return cat(maps, 1)


class _Transition(nn.Sequential):
    """BN - ReLU - conv 1x1 - average pool: fewer channels, half of the size."""

    def __init__(self, num_input_features: int, num_output_features: int, generator: Any) -> None:
        super().__init__(
            {
                "norm": nn.BatchNorm2d(num_input_features),
                "relu": nn.ReLU(),
                "conv": nn.Conv2d(
                    num_input_features, num_output_features, 1, bias=False, generator=generator
                ),
                "pool": nn.AvgPool2d(2, 2),
            }
        )


class DenseNet(nn.Module):
    """DenseNet-BC: (N, 3, H, W) -> scores (N, num_classes), for images of at least 29x29.

    Dense blocks of `block_config` layers, each with `growth_rate` maps (the paper's k), and between
    them transitions that halve channels and size. A layer has bn_size · growth_rate channels
    inside, and drops its maps with probability `drop_rate`. `memory_efficient` computes what the
    layers concatenate a second time in the backward pass, and does not save it (see `recompute`).
    Convolutions begin with He's normal weights.

    G. Huang, Z. Liu, L. van der Maaten and K. Weinberger, "Densely connected convolutional
    networks", 2017.
    """

    def __init__(
        self,
        growth_rate: int = 32,
        block_config: Sequence[int] = (6, 12, 24, 16),
        num_init_features: int = 64,
        bn_size: int = 4,
        drop_rate: float = 0,
        num_classes: int = 1000,
        memory_efficient: bool = False,
        *,
        generator: Any = None,
    ) -> None:
        channels = num_init_features
        parts: dict[str, nn.Module] = {
            "conv0": nn.Conv2d(3, channels, 7, 2, padding=3, bias=False, generator=generator),
            "norm0": nn.BatchNorm2d(channels),
            "relu0": nn.ReLU(),
            "pool0": nn.MaxPool2d(3, 2, padding=1),
        }
        for i, layers in enumerate(block_config, 1):
            parts[f"denseblock{i}"] = _DenseBlock(
                layers,
                channels,
                growth_rate,
                bn_size=bn_size,
                drop_rate=drop_rate,
                memory_efficient=memory_efficient,
                generator=generator,
            )
            channels += layers * growth_rate
            if i < len(block_config):
                parts[f"transition{i}"] = _Transition(channels, channels // 2, generator)
                channels //= 2
        self.features = nn.Sequential(parts | {"norm5": nn.BatchNorm2d(channels)})
        self.classifier = nn.Linear(channels, num_classes, generator=generator)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, generator=generator)
        nn.init.zeros_(self.classifier.get_parameter("bias"))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.features(x))
        x = F.adaptive_avg_pool2d(x, (1, 1)).flatten(1)
        x = self.classifier(x)
        return x


def _renamed(state: dict[str, Any], model: Any) -> dict[str, Any]:
    """The state with the names of today: older files have norm.1 and conv.2 for norm1 and conv2."""
    older = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
    return {older.sub(r"\1\2", name): value for name, value in state.items()}


class DenseNet121_Weights(WeightsEnum):
    """Weights of `densenet121`."""

    IMAGENET1K_V1 = Weights("densenet121-a639ec97.pth", 7_978_856, min_size=(29, 29))
    DEFAULT = IMAGENET1K_V1


@constructor(DenseNet121_Weights, _renamed)
def densenet121(**config: Any) -> DenseNet:
    """`DenseNet(..., **config)` of 121 layers: 7,978,856 parameters.

    >>> from tinygrad_cv.models import DenseNet121_Weights
    >>> DenseNet121_Weights.DEFAULT.meta["min_size"]
    (29, 29)
    """
    return DenseNet(32, (6, 12, 24, 16), 64, **config)


class DenseNet161_Weights(WeightsEnum):
    """Weights of `densenet161`."""

    IMAGENET1K_V1 = Weights("densenet161-8d451a50.pth", 28_681_000, min_size=(29, 29))
    DEFAULT = IMAGENET1K_V1


@constructor(DenseNet161_Weights, _renamed)
def densenet161(**config: Any) -> DenseNet:
    """`DenseNet(..., **config)` of 161 layers: 28,681,000 parameters."""
    return DenseNet(48, (6, 12, 36, 24), 96, **config)


class DenseNet169_Weights(WeightsEnum):
    """Weights of `densenet169`."""

    IMAGENET1K_V1 = Weights("densenet169-b2777c0a.pth", 14_149_480, min_size=(29, 29))
    DEFAULT = IMAGENET1K_V1


@constructor(DenseNet169_Weights, _renamed)
def densenet169(**config: Any) -> DenseNet:
    """`DenseNet(..., **config)` of 169 layers: 14,149,480 parameters."""
    return DenseNet(32, (6, 12, 32, 32), 64, **config)


class DenseNet201_Weights(WeightsEnum):
    """Weights of `densenet201`."""

    IMAGENET1K_V1 = Weights("densenet201-c1103571.pth", 20_013_928, min_size=(29, 29))
    DEFAULT = IMAGENET1K_V1


@constructor(DenseNet201_Weights, _renamed)
def densenet201(**config: Any) -> DenseNet:
    """`DenseNet(..., **config)` of 201 layers: 20,013,928 parameters."""
    return DenseNet(32, (6, 12, 48, 32), 64, **config)
