"""Residual networks: ResNet, ResNeXt, wide ResNet, and the paper's nets for CIFAR."""
# ruff: noqa: N801  weights have torchvision's names

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

from tinygrad_cv import nn
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.models._weights import Weights, WeightsEnum, constructor
from tinygrad_cv.nn import functional as F


def conv3x3(
    in_planes: int,
    out_planes: int,
    stride: int = 1,
    groups: int = 1,
    dilation: int = 1,
    *,
    generator: Any = None,
) -> nn.Conv2d:
    """A convolution 3x3 that keeps the size, but for its stride, without a bias."""
    windows = 3, stride, dilation, dilation
    return nn.Conv2d(in_planes, out_planes, *windows, groups, bias=False, generator=generator)


def conv1x1(
    in_planes: int, out_planes: int, stride: int = 1, *, generator: Any = None
) -> nn.Conv2d:
    """A convolution 1x1 without a bias."""
    return nn.Conv2d(in_planes, out_planes, 1, stride, bias=False, generator=generator)


class BasicBlock(nn.Module):
    """relu(x + f(x)) with f of two convolutions 3x3: (N, inplanes, H, W) -> (N, planes, H', W').

    Where f changes the shape, `downsample` does so with x.
    """

    expansion: ClassVar[int] = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Callable[[int], nn.Module] | None = None,
        *,
        generator: Any = None,
    ) -> None:
        if (groups, base_width, dilation) != (1, 64, 1):
            raise ValueError(
                "a BasicBlock has groups=1, base_width=64 and dilation=1; got "
                f"{groups}, {base_width} and {dilation}. A Bottleneck takes others."
            )
        norm = norm_layer or nn.BatchNorm2d
        self.conv1 = conv3x3(inplanes, planes, stride, generator=generator)
        self.bn1 = norm(planes)
        self.relu = nn.ReLU()
        self.conv2 = conv3x3(planes, planes, generator=generator)
        self.bn2 = norm(planes)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(y + shortcut)
        return x


class Bottleneck(nn.Module):
    """relu(x + f(x)) with f of 1x1, 3x3 and 1x1, the middle one having a fourth of the channels.

    (N, inplanes, H, W) -> (N, 4 planes, H', W'). The stride is that of the middle, as in
    torchvision; in the paper it is that of the first.
    """

    expansion: ClassVar[int] = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Callable[[int], nn.Module] | None = None,
        *,
        generator: Any = None,
    ) -> None:
        norm = norm_layer or nn.BatchNorm2d
        width = planes * base_width // 64 * groups
        out = planes * self.expansion
        self.conv1 = conv1x1(inplanes, width, generator=generator)
        self.bn1 = norm(width)
        self.conv2 = conv3x3(width, width, stride, groups, dilation, generator=generator)
        self.bn2 = norm(width)
        self.conv3 = conv1x1(width, out, generator=generator)
        self.bn3 = norm(out)
        self.relu = nn.ReLU()
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(y + shortcut)
        return x


class ResNet(nn.Module):
    """Four stages of `layers` blocks each: (N, 3, H, W) -> scores (N, num_classes).

    A convolution 7x7 and a pooling divide the size by 4, and the stages after the first by 2 each,
    while they double the channels. `replace_stride_with_dilation` says of those three stages which
    spread their windows instead; `groups` and `width_per_group` make the wide nets and ResNeXt;
    `norm_layer(channels)` makes the normalization. Convolutions begin with He's normal weights of
    mode fan_out, and with `zero_init_residual` each block begins as its shortcut.

    K. He, X. Zhang, S. Ren and J. Sun, "Deep residual learning for image recognition", 2015; S. Xie
    and others, "Aggregated residual transformations for deep neural networks", 2017 (groups); S.
    Zagoruyko and N. Komodakis, "Wide residual networks", 2016.
    """

    def __init__(
        self,
        block: Callable[..., nn.Module],
        layers: Sequence[int],
        num_classes: int = 1000,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] | None = None,
        norm_layer: Callable[[int], nn.Module] | None = None,
        *,
        generator: Any = None,
    ) -> None:
        dilate = [*(replace_stride_with_dilation or (False, False, False))]
        if len(dilate) != 3:
            raise ValueError(
                "replace_stride_with_dilation says yes or no for three stages; got "
                f"{replace_stride_with_dilation}."
            )
        self._norm_layer = norm_layer or nn.BatchNorm2d
        self._generator = generator
        self.inplanes, self.dilation = 64, 1
        self.groups, self.base_width = groups, width_per_group
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False, generator=generator)
        self.bn1 = self._norm_layer(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        self.layer1 = self._make_layer(block, 64, layers[0])
        self.layer2 = self._make_layer(block, 128, layers[1], 2, dilate[0])
        self.layer3 = self._make_layer(block, 256, layers[2], 2, dilate[1])
        self.layer4 = self._make_layer(block, 512, layers[3], 2, dilate[2])
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(self.inplanes, num_classes, generator=generator)

        draw_convolutions(self, generator)
        for part in self.modules() if zero_init_residual else ():
            if isinstance(part, BasicBlock | Bottleneck):
                last = "bn2.weight" if isinstance(part, BasicBlock) else "bn3.weight"
                nn.init.zeros_(part.get_parameter(last))

    def _make_layer(
        self,
        block: Any,
        planes: int,
        blocks: int,
        stride: int = 1,
        dilate: bool = False,
    ) -> nn.Sequential:
        """A stage: the first block changes the shape, the others keep it."""
        before, norm = self.dilation, self._norm_layer
        if dilate:
            self.dilation, stride = self.dilation * stride, 1
        # A block of somebody else's need not know of generators.
        drawn = {} if self._generator is None else {"generator": self._generator}
        out = planes * block.expansion
        downsample = None
        if stride != 1 or self.inplanes != out:
            downsample = nn.Sequential(
                conv1x1(self.inplanes, out, stride, generator=self._generator), norm(out)
            )
        size = self.groups, self.base_width
        stage = [block(self.inplanes, planes, stride, downsample, *size, before, norm, **drawn)]
        self.inplanes = out
        for _ in range(1, blocks):
            stage += [block(out, planes, 1, None, *size, self.dilation, norm, **drawn)]
        return nn.Sequential(*stage)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer1(x)
        x = self.layer2(x)
        x = self.layer3(x)
        x = self.layer4(x)
        x = self.fc(self.avgpool(x).flatten(1))
        return x


def draw_convolutions(model: nn.Module, generator: Any = None) -> None:
    """He's normal weights of mode fan_out for the convolutions of a model."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(
                layer.weight, mode="fan_out", nonlinearity="relu", generator=generator
            )


# ----- the nets for CIFAR -------------------------------------------------------------------------


class Subsample(nn.Module):
    """Every second pixel, and zeros for the channels that x has not: a shortcut of no parameters.

    (N, C, H, W) -> (N, channels, ⌈H/2⌉, ⌈W/2⌉): option A of the paper.
    """

    def __init__(self, channels: int) -> None:
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        more = self.channels - x.shape[1]
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, more))

    def extra_repr(self) -> str:
        return f"{self.channels}"


class CIFARResNet(nn.Module):
    """The paper's net for small images, of 6n + 2 layers: (N, 3, H, W) -> (N, num_classes).

    A convolution 3x3; three stages of `blocks` = n basic blocks with 16, 32 and 64 channels, for
    CIFAR at 32x32, 16x16 and 8x8; the mean over each map, and a linear layer. Shortcuts have no
    parameters, also where the shape changes (option A, see `Subsample`). Convolutions begin with
    He's normal weights of mode fan_out. K. He, X. Zhang, S. Ren and J. Sun, "Deep residual learning
    for image recognition", 2015, section 4.2.
    """

    def __init__(self, blocks: int, num_classes: int = 10, *, generator: Any = None) -> None:
        block = partial(BasicBlock, generator=generator)

        def stage(channels: int, first: nn.Module) -> nn.Sequential:
            return nn.Sequential(first, *(block(channels, channels) for _ in range(1, blocks)))

        self.conv1 = conv3x3(3, 16, generator=generator)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = stage(16, block(16, 16))
        self.layer2 = stage(32, block(16, 32, 2, Subsample(32)))
        self.layer3 = stage(64, block(32, 64, 2, Subsample(64)))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(64, num_classes, generator=generator)
        draw_convolutions(self, generator)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer1(x)
        x = self.layer2(x)
        x = self.layer3(x)
        x = self.fc(self.avgpool(x).flatten(1))
        return x


# ----- the constructors ---------------------------------------------------------------------------


class ResNet18_Weights(WeightsEnum):
    """Weights of `resnet18`."""

    IMAGENET1K_V1 = Weights("resnet18-f37072fd.pth", 11_689_512)
    DEFAULT = IMAGENET1K_V1


@constructor(ResNet18_Weights)
def resnet18(**config: Any) -> ResNet:
    """`ResNet(..., **config)` of 18 layers: 11,689,512 parameters.

    >>> from tinygrad_cv import ones
    >>> from tinygrad_cv.models import resnet18
    >>> resnet18(num_classes=5)(ones(2, 3, 32, 32)).shape
    (2, 5)
    """
    return ResNet(BasicBlock, [2, 2, 2, 2], **config)


class ResNet34_Weights(WeightsEnum):
    """Weights of `resnet34`."""

    IMAGENET1K_V1 = Weights("resnet34-b627a593.pth", 21_797_672)
    DEFAULT = IMAGENET1K_V1


@constructor(ResNet34_Weights)
def resnet34(**config: Any) -> ResNet:
    """`ResNet(..., **config)` of 34 layers: 21,797,672 parameters."""
    return ResNet(BasicBlock, [3, 4, 6, 3], **config)


class ResNet50_Weights(WeightsEnum):
    """Weights of `resnet50`."""

    IMAGENET1K_V1 = Weights("resnet50-0676ba61.pth", 25_557_032)
    IMAGENET1K_V2 = Weights("resnet50-11ad3fa6.pth", 25_557_032, resize_size=232)
    DEFAULT = IMAGENET1K_V2


@constructor(ResNet50_Weights)
def resnet50(**config: Any) -> ResNet:
    """`ResNet(..., **config)` of 50 layers: 25,557,032 parameters."""
    return ResNet(Bottleneck, [3, 4, 6, 3], **config)


class ResNet101_Weights(WeightsEnum):
    """Weights of `resnet101`."""

    IMAGENET1K_V1 = Weights("resnet101-63fe2227.pth", 44_549_160)
    IMAGENET1K_V2 = Weights("resnet101-cd907fc2.pth", 44_549_160, resize_size=232)
    DEFAULT = IMAGENET1K_V2


@constructor(ResNet101_Weights)
def resnet101(**config: Any) -> ResNet:
    """`ResNet(..., **config)` of 101 layers: 44,549,160 parameters."""
    return ResNet(Bottleneck, [3, 4, 23, 3], **config)


class ResNet152_Weights(WeightsEnum):
    """Weights of `resnet152`."""

    IMAGENET1K_V1 = Weights("resnet152-394f9c45.pth", 60_192_808)
    IMAGENET1K_V2 = Weights("resnet152-f82ba261.pth", 60_192_808, resize_size=232)
    DEFAULT = IMAGENET1K_V2


@constructor(ResNet152_Weights)
def resnet152(**config: Any) -> ResNet:
    """`ResNet(..., **config)` of 152 layers: 60,192,808 parameters."""
    return ResNet(Bottleneck, [3, 8, 36, 3], **config)


class ResNeXt50_32X4D_Weights(WeightsEnum):
    """Weights of `resnext50_32x4d`."""

    IMAGENET1K_V1 = Weights("resnext50_32x4d-7cdf4587.pth", 25_028_904)
    IMAGENET1K_V2 = Weights("resnext50_32x4d-1a0047aa.pth", 25_028_904, resize_size=232)
    DEFAULT = IMAGENET1K_V2


@constructor(ResNeXt50_32X4D_Weights)
def resnext50_32x4d(**config: Any) -> ResNet:
    """`ResNet(..., **config)` of 50 layers, with 32 groups of 4: 25,028,904 parameters."""
    return ResNet(Bottleneck, [3, 4, 6, 3], groups=32, width_per_group=4, **config)


class ResNeXt101_32X8D_Weights(WeightsEnum):
    """Weights of `resnext101_32x8d`."""

    IMAGENET1K_V1 = Weights("resnext101_32x8d-8ba56ff5.pth", 88_791_336)
    IMAGENET1K_V2 = Weights("resnext101_32x8d-110c445d.pth", 88_791_336, resize_size=232)
    DEFAULT = IMAGENET1K_V2


@constructor(ResNeXt101_32X8D_Weights)
def resnext101_32x8d(**config: Any) -> ResNet:
    """`ResNet(..., **config)` of 101 layers, with 32 groups of 8: 88,791,336 parameters."""
    return ResNet(Bottleneck, [3, 4, 23, 3], groups=32, width_per_group=8, **config)


class ResNeXt101_64X4D_Weights(WeightsEnum):
    """Weights of `resnext101_64x4d`."""

    IMAGENET1K_V1 = Weights("resnext101_64x4d-173b62eb.pth", 83_455_272, resize_size=232)
    DEFAULT = IMAGENET1K_V1


@constructor(ResNeXt101_64X4D_Weights)
def resnext101_64x4d(**config: Any) -> ResNet:
    """`ResNet(..., **config)` of 101 layers, with 64 groups of 4: 83,455,272 parameters."""
    return ResNet(Bottleneck, [3, 4, 23, 3], groups=64, width_per_group=4, **config)


class Wide_ResNet50_2_Weights(WeightsEnum):
    """Weights of `wide_resnet50_2`."""

    IMAGENET1K_V1 = Weights("wide_resnet50_2-95faca4d.pth", 68_883_240)
    IMAGENET1K_V2 = Weights("wide_resnet50_2-9ba9bcbe.pth", 68_883_240, resize_size=232)
    DEFAULT = IMAGENET1K_V2


@constructor(Wide_ResNet50_2_Weights)
def wide_resnet50_2(**config: Any) -> ResNet:
    """`ResNet(..., **config)` of 50 layers, with blocks twice as wide: 68,883,240 parameters."""
    return ResNet(Bottleneck, [3, 4, 6, 3], width_per_group=128, **config)


class Wide_ResNet101_2_Weights(WeightsEnum):
    """Weights of `wide_resnet101_2`."""

    IMAGENET1K_V1 = Weights("wide_resnet101_2-32ee1156.pth", 126_886_696)
    IMAGENET1K_V2 = Weights("wide_resnet101_2-d733dc28.pth", 126_886_696, resize_size=232)
    DEFAULT = IMAGENET1K_V2


@constructor(Wide_ResNet101_2_Weights)
def wide_resnet101_2(**config: Any) -> ResNet:
    """`ResNet(..., **config)` of 101 layers, with blocks twice as wide: 126,886,696 parameters."""
    return ResNet(Bottleneck, [3, 4, 23, 3], width_per_group=128, **config)


@constructor()
def resnet20(**config: Any) -> CIFARResNet:
    """`CIFARResNet(..., **config)` of 20 layers: 269,722 parameters."""
    return CIFARResNet(3, **config)


@constructor()
def resnet32(**config: Any) -> CIFARResNet:
    """`CIFARResNet(..., **config)` of 32 layers: 464,154 parameters."""
    return CIFARResNet(5, **config)


@constructor()
def resnet44(**config: Any) -> CIFARResNet:
    """`CIFARResNet(..., **config)` of 44 layers: 658,586 parameters."""
    return CIFARResNet(7, **config)


@constructor()
def resnet56(**config: Any) -> CIFARResNet:
    """`CIFARResNet(..., **config)` of 56 layers: 853,018 parameters."""
    return CIFARResNet(9, **config)


@constructor()
def resnet110(**config: Any) -> CIFARResNet:
    """`CIFARResNet(..., **config)` of 110 layers: 1,727,962 parameters."""
    return CIFARResNet(18, **config)
