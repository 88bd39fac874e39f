"""Inception v3: large windows as rows of small and narrow ones."""
# ruff: noqa: N801  weights have torchvision's names

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from tinygrad_cv import nn
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.models._weights import Weights, WeightsEnum, constructor
from tinygrad_cv.models.googlenet import BasicConv2d, _without_unused_heads, renormalized
from tinygrad_cv.nn import functional as F
from tinygrad_cv.ops.shape import cat

Block = Callable[..., nn.Module]


class InceptionA(nn.Module):
    """1x1, 5x5, two of 3x3, and an average pool, side by side (35x35 pixels in the paper)."""

    def __init__(
        self, in_channels: int, pool_features: int, conv_block: Block | None = None
    ) -> None:
        conv = conv_block or BasicConv2d
        self.branch1x1 = conv(in_channels, 64, kernel_size=1)
        self.branch5x5_1 = conv(in_channels, 48, kernel_size=1)
        self.branch5x5_2 = conv(48, 64, kernel_size=5, padding=2)
        self.branch3x3dbl_1 = conv(in_channels, 64, kernel_size=1)
        self.branch3x3dbl_2 = conv(64, 96, kernel_size=3, padding=1)
        self.branch3x3dbl_3 = conv(96, 96, kernel_size=3, padding=1)
        self.branch_pool = conv(in_channels, pool_features, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.branch1x1(x)
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        pool = self.branch_pool(F.avg_pool2d(x, 3, stride=1, padding=1))
        return cat([one, five, double, pool], 1)


class InceptionB(nn.Module):
    """Half of the size: 3x3, two of 3x3, and a max-pool, each with stride 2 at the end."""

    def __init__(self, in_channels: int, conv_block: Block | None = None) -> None:
        conv = conv_block or BasicConv2d
        self.branch3x3 = conv(in_channels, 384, kernel_size=3, stride=2)
        self.branch3x3dbl_1 = conv(in_channels, 64, kernel_size=1)
        self.branch3x3dbl_2 = conv(64, 96, kernel_size=3, padding=1)
        self.branch3x3dbl_3 = conv(96, 96, kernel_size=3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3(x)
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return cat([three, double, F.max_pool2d(x, 3, stride=2)], 1)


class InceptionC(nn.Module):
    """1x1, 7x7 as 1x7 and 7x1, that twice, and an average pool (17x17 pixels in the paper)."""

    def __init__(
        self, in_channels: int, channels_7x7: int, conv_block: Block | None = None
    ) -> None:
        conv, c7 = conv_block or BasicConv2d, channels_7x7
        row = partial(conv, kernel_size=(1, 7), padding=(0, 3))
        column = partial(conv, kernel_size=(7, 1), padding=(3, 0))
        self.branch1x1 = conv(in_channels, 192, kernel_size=1)
        self.branch7x7_1 = conv(in_channels, c7, kernel_size=1)
        self.branch7x7_2 = row(c7, c7)
        self.branch7x7_3 = column(c7, 192)
        self.branch7x7dbl_1 = conv(in_channels, c7, kernel_size=1)
        self.branch7x7dbl_2 = column(c7, c7)
        self.branch7x7dbl_3 = row(c7, c7)
        self.branch7x7dbl_4 = column(c7, c7)
        self.branch7x7dbl_5 = row(c7, 192)
        self.branch_pool = conv(in_channels, 192, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.branch1x1(x)
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        pool = self.branch_pool(F.avg_pool2d(x, 3, stride=1, padding=1))
        return cat([one, seven, double, pool], 1)


class InceptionD(nn.Module):
    """Half of the size again: 3x3, 7x7 and 3x3, and a max-pool."""

    def __init__(self, in_channels: int, conv_block: Block | None = None) -> None:
        conv = conv_block or BasicConv2d
        self.branch3x3_1 = conv(in_channels, 192, kernel_size=1)
        self.branch3x3_2 = conv(192, 320, kernel_size=3, stride=2)
        self.branch7x7x3_1 = conv(in_channels, 192, kernel_size=1)
        self.branch7x7x3_2 = conv(192, 192, kernel_size=(1, 7), padding=(0, 3))
        self.branch7x7x3_3 = conv(192, 192, kernel_size=(7, 1), padding=(3, 0))
        self.branch7x7x3_4 = conv(192, 192, kernel_size=3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        seven = self.branch7x7x3_4(seven)
        return cat([three, seven, F.max_pool2d(x, 3, stride=2)], 1)


class InceptionE(nn.Module):
    """The widest, for 8x8 pixels: 1x3 and 3x1 side by side, after 1x1 and after 3x3."""

    def __init__(self, in_channels: int, conv_block: Block | None = None) -> None:
        conv = conv_block or BasicConv2d
        row = partial(conv, kernel_size=(1, 3), padding=(0, 1))
        column = partial(conv, kernel_size=(3, 1), padding=(1, 0))
        self.branch1x1 = conv(in_channels, 320, kernel_size=1)
        self.branch3x3_1 = conv(in_channels, 384, kernel_size=1)
        self.branch3x3_2a = row(384, 384)
        self.branch3x3_2b = column(384, 384)
        self.branch3x3dbl_1 = conv(in_channels, 448, kernel_size=1)
        self.branch3x3dbl_2 = conv(448, 384, kernel_size=3, padding=1)
        self.branch3x3dbl_3a = row(384, 384)
        self.branch3x3dbl_3b = column(384, 384)
        self.branch_pool = conv(in_channels, 192, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.branch1x1(x)
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pool = self.branch_pool(F.avg_pool2d(x, 3, stride=1, padding=1))
        threes = [self.branch3x3_2a(three), self.branch3x3_2b(three)]
        doubles = [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return cat([one, *threes, *doubles, pool], 1)


class InceptionAux(nn.Module):
    """Scores out of the middle of the net: (N, in_channels, H, W) of 17x17 pixels and more."""

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        conv_block: Block | None = None,
        *,
        generator: Any = None,
    ) -> None:
        conv = conv_block or BasicConv2d
        self.conv0 = conv(in_channels, 128, kernel_size=1)
        self.conv1 = conv(128, 768, kernel_size=5)
        self.fc = nn.Linear(768, num_classes, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv0(F.avg_pool2d(x, 5, stride=3))
        x = F.adaptive_avg_pool2d(self.conv1(x), (1, 1))
        x = self.fc(x.flatten(1))
        return x


class InceptionOutputs(NamedTuple):
    """The scores in training, and those from the middle of the net."""

    logits: Tensor
    aux_logits: Tensor | None


class Inception3(nn.Module):
    """Inception v3: (N, 3, H, W) -> scores (N, num_classes), made for 299x299 pixels.

    Images are at least 75x75. With `aux_logits` the net gives `InceptionOutputs` while it trains,
    and then images are at least 299x299. `transform_input` is that of `GoogLeNet`.
    `inception_blocks` are the classes for BasicConv2d, InceptionA to InceptionE and InceptionAux.
    With `init_weights` the weights of convolutions and linear layers begin with the standard
    deviation 0.1, for the scores from the middle 0.01 and 0.001, and none is above 2.

    Raises ValueError for images that are too small.

    C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens and Z. Wojna, "Rethinking the Inception
    architecture for computer vision", 2016.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        aux_logits: bool = True,
        transform_input: bool = False,
        inception_blocks: Sequence[Block] | None = None,
        init_weights: bool = True,
        dropout: float = 0.5,
        *,
        generator: Any = None,
    ) -> None:
        ours = BasicConv2d, InceptionA, InceptionB, InceptionC, InceptionD, InceptionE, InceptionAux
        blocks: Sequence[Block] = ours if inception_blocks is None else inception_blocks
        if len(blocks) != 7:
            raise ValueError(
                "inception_blocks are the classes for BasicConv2d, InceptionA to InceptionE and "
                f"InceptionAux; got {len(blocks)} of them."
            )
        # Blocks of somebody else's need not know of generators.
        drawn = {} if generator is None else {"generator": generator}
        conv = partial(blocks[0], **drawn)
        inside = {"conv_block": conv} if drawn else {}
        A, B, C, D, E = (partial[Any](block, **inside) for block in blocks[1:6])
        self.aux_logits, self.transform_input = aux_logits, transform_input

        self.Conv2d_1a_3x3 = conv(3, 32, kernel_size=3, stride=2)
        self.Conv2d_2a_3x3 = conv(32, 32, kernel_size=3)
        self.Conv2d_2b_3x3 = conv(32, 64, kernel_size=3, padding=1)
        self.maxpool1 = nn.MaxPool2d(3, 2)
        self.Conv2d_3b_1x1 = conv(64, 80, kernel_size=1)
        self.Conv2d_4a_3x3 = conv(80, 192, kernel_size=3)
        self.maxpool2 = nn.MaxPool2d(3, 2)
        self.Mixed_5b = A(192, pool_features=32)
        self.Mixed_5c = A(256, pool_features=64)
        self.Mixed_5d = A(288, pool_features=64)
        self.Mixed_6a = B(288)
        self.Mixed_6b = C(768, channels_7x7=128)
        self.Mixed_6c = C(768, channels_7x7=160)
        self.Mixed_6d = C(768, channels_7x7=160)
        self.Mixed_6e = C(768, channels_7x7=192)
        self.AuxLogits = blocks[6](768, num_classes, **inside, **drawn) if aux_logits else None
        self.Mixed_7a = D(768)
        self.Mixed_7b = E(1280)
        self.Mixed_7c = E(2048)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(dropout, generator=generator)
        self.fc = nn.Linear(2048, num_classes, generator=generator)

        deviations = {"AuxLogits.conv1.conv": 0.01, "AuxLogits.fc": 0.001}
        for name, layer in self.named_modules() if init_weights else ():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                std = deviations.get(name, 0.1)
                nn.init.trunc_normal_(layer.weight, std=std, generator=generator)

    def forward(self, x: Tensor) -> Any:
        if self.training and self.aux_logits and min(x.shape[2:]) < 299:
            raise ValueError(
                "in training the scores from the middle of Inception3 want images of at least "
                f"299x299 pixels; got an input of shape {x.shape}. Use aux_logits=False for others."
            )
        x = renormalized(x) if self.transform_input else x
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.maxpool1(x)))
        x = self.maxpool2(x)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6a(x)
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        aux = self.AuxLogits(x) if self.AuxLogits is not None and self.training else None
        x = self.Mixed_7a(x)
        x = self.Mixed_7c(self.Mixed_7b(x))
        x = self.fc(self.dropout(self.avgpool(x)).flatten(1))
        if self.training and self.aux_logits:
            return InceptionOutputs(x, aux)
        return x


class Inception_V3_Weights(WeightsEnum):
    """Weights of `inception_v3`."""

    IMAGENET1K_V1 = Weights(
        "inception_v3_google-0cc3c7bd.pth",
        27_161_264,
        crop_size=299,
        resize_size=342,
        min_size=(75, 75),
        config={"transform_input": True},
    )
    DEFAULT = IMAGENET1K_V1


@constructor(Inception_V3_Weights, _without_unused_heads)
def inception_v3(**config: Any) -> Inception3:
    """`Inception3(**config)`: 27,161,264 parameters, with those for the scores from the middle.

    With the published weights `transform_input` is True by default.

    >>> from tinygrad_cv.models import Inception_V3_Weights
    >>> Inception_V3_Weights.DEFAULT.meta["min_size"]
    (75, 75)
    """
    return Inception3(**config)
