"""GoogLeNet: convolutions of several sizes side by side, and scores on the way."""
# ruff: noqa: N801  weights have torchvision's names

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from tinygrad_cv import nn
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.models._weights import Weights, WeightsEnum, constructor
from tinygrad_cv.nn import functional as F
from tinygrad_cv.ops.shape import cat, stack


class BasicConv2d(nn.Module):
    """conv - batch norm - ReLU; further arguments are those of `Conv2d`."""

    def __init__(self, in_channels: int, out_channels: int, **kwargs: Any) -> None:
        self.conv = nn.Conv2d(in_channels, out_channels, bias=False, **kwargs)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    """1x1, 3x3 and "5x5" convolutions and a max-pool side by side; their channels are joined.

    1x1 convolutions make the input of the larger ones narrow. As in torchvision, whose weights are
    trained so, the window of the third branch is 3x3, and not the paper's 5x5.
    """

    def __init__(
        self,
        in_channels: int,
        ch1x1: int,
        ch3x3red: int,
        ch3x3: int,
        ch5x5red: int,
        ch5x5: int,
        pool_proj: int,
        conv_block: Callable[..., nn.Module] | None = None,
    ) -> None:
        conv = conv_block or BasicConv2d
        self.branch1 = conv(in_channels, ch1x1, kernel_size=1)
        self.branch2 = nn.Sequential(
            conv(in_channels, ch3x3red, kernel_size=1),
            conv(ch3x3red, ch3x3, kernel_size=3, padding=1),
        )
        self.branch3 = nn.Sequential(
            conv(in_channels, ch5x5red, kernel_size=1),
            conv(ch5x5red, ch5x5, kernel_size=3, padding=1),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True),
            conv(in_channels, pool_proj, kernel_size=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        branches = self.branch1, self.branch2, self.branch3, self.branch4
        return cat([branch(x) for branch in branches], 1)


class InceptionAux(nn.Module):
    """Scores out of the middle of the net, so that its gradient gets there."""

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        conv_block: Callable[..., nn.Module] | None = None,
        dropout: float = 0.7,
        *,
        generator: Any = None,
    ) -> None:
        self.conv = (conv_block or BasicConv2d)(in_channels, 128, kernel_size=1)
        self.fc1 = nn.Linear(2048, 1024, generator=generator)
        self.fc2 = nn.Linear(1024, num_classes, generator=generator)
        self.dropout = nn.Dropout(dropout, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(x, (4, 4))
        x = self.conv(x).flatten(1)
        x = self.dropout(F.relu(self.fc1(x)))
        x = self.fc2(x)
        return x


class GoogLeNetOutputs(NamedTuple):
    """The scores in training, and those from the later and the earlier of two places before."""

    logits: Tensor
    aux_logits2: Tensor | None
    aux_logits1: Tensor | None


class GoogLeNet(nn.Module):
    """Nine Inception blocks: (N, 3, H, W) -> scores (N, num_classes), for at least 15x15 pixels.

    With `aux_logits` the net gives `GoogLeNetOutputs` while it trains: the paper adds their losses
    with the weights 1, 0.3 and 0.3. `transform_input` takes images that are normalized as
    torchvision's are, by mean and standard deviation, and makes them ones of the range -1 to 1, for
    which the published weights were trained. `blocks` are the classes for BasicConv2d, Inception
    and InceptionAux. With `init_weights` the weights of convolutions and linear layers begin with
    the standard deviation 0.01, and none is above 2.

    C. Szegedy and others, "Going deeper with convolutions", 2015, with batch norm behind each
    convolution.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        aux_logits: bool = True,
        transform_input: bool = False,
        init_weights: bool = True,
        blocks: Sequence[Callable[..., nn.Module]] | None = None,
        dropout: float = 0.2,
        dropout_aux: float = 0.7,
        *,
        generator: Any = None,
    ) -> None:
        if blocks is not None and len(blocks) != 3:
            raise ValueError(
                "blocks are the classes for BasicConv2d, Inception and InceptionAux; got "
                f"{len(blocks)} of them."
            )
        # Blocks of somebody else's need not know of generators.
        drawn = {} if generator is None else {"generator": generator}
        classes: Sequence[Any] = blocks or (BasicConv2d, Inception, InceptionAux)
        conv_block, inception_block, aux_block = classes
        conv = partial(conv_block, **drawn)
        inside = {"conv_block": conv} if drawn else {}
        inception = partial(inception_block, **inside)
        pool = partial(nn.MaxPool2d, ceil_mode=True)
        self.aux_logits, self.transform_input = aux_logits, transform_input

        self.conv1 = conv(3, 64, kernel_size=7, stride=2, padding=3)
        self.maxpool1 = pool(3, 2)
        self.conv2 = conv(64, 64, kernel_size=1)
        self.conv3 = conv(64, 192, kernel_size=3, padding=1)
        self.maxpool2 = pool(3, 2)
        self.inception3a = inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = inception(256, 128, 128, 192, 32, 96, 64)
        self.maxpool3 = pool(3, 2)
        self.inception4a = inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = inception(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = inception(528, 256, 160, 320, 32, 128, 128)
        self.maxpool4 = pool(2, 2)
        self.inception5a = inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = inception(832, 384, 192, 384, 48, 128, 128)
        self.aux1 = self.aux2 = None
        if aux_logits:
            aux = partial(aux_block, dropout=dropout_aux, **inside, **drawn)
            self.aux1, self.aux2 = aux(512, num_classes), aux(528, num_classes)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(dropout, generator=generator)
        self.fc = nn.Linear(1024, num_classes, generator=generator)

        for layer in self.modules() if init_weights else ():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.01, generator=generator)

    def forward(self, x: Tensor) -> Any:
        x = renormalized(x) if self.transform_input else x
        x = self.maxpool1(self.conv1(x))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        x = self.inception3a(x)
        x = self.inception3b(x)
        x = self.inception4a(self.maxpool3(x))
        aux1 = self.aux1(x) if self.aux1 is not None and self.training else None
        x = self.inception4b(x)
        x = self.inception4c(x)
        x = self.inception4d(x)
        aux2 = self.aux2(x) if self.aux2 is not None and self.training else None
        x = self.inception4e(x)
        x = self.inception5a(self.maxpool4(x))
        x = self.inception5b(x)
        x = self.fc(self.dropout(self.avgpool(x).flatten(1)))
        if self.training and self.aux_logits:
            return GoogLeNetOutputs(x, aux2, aux1)
        return x


def renormalized(x: Tensor) -> Tensor:
    """Images normalized by ImageNet's mean and deviation as ones of mean and deviation 1/2."""
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    channels = [
        x[:, i] * (s / 0.5) + (m - 0.5) / 0.5
        for i, (m, s) in enumerate(zip(mean, std, strict=True))
    ]
    return stack(channels, 1)


def _without_unused_heads(state: dict[str, Any], model: Any) -> dict[str, Any]:
    """The state without the scores on the way, if the model has none."""
    if model.aux_logits:
        return state
    heads = ("aux1.", "aux2.", "AuxLogits.")
    return {name: value for name, value in state.items() if not name.startswith(heads)}


class GoogLeNet_Weights(WeightsEnum):
    """Weights of `googlenet`. Its scores on the way were not trained, so they are left out."""

    IMAGENET1K_V1 = Weights(
        "googlenet-1378be20.pth",
        6_624_904,
        min_size=(15, 15),
        config={"transform_input": True, "aux_logits": False},
    )
    DEFAULT = IMAGENET1K_V1


@constructor(GoogLeNet_Weights, _without_unused_heads)
def googlenet(**config: Any) -> GoogLeNet:
    """`GoogLeNet(**config)`: 6,624,904 parameters and 6,379,984 for the scores on the way.

    With the published weights `transform_input` is True and `aux_logits` False by default.

    >>> from tinygrad_cv import ones
    >>> from tinygrad_cv.models import googlenet
    >>> net = googlenet(num_classes=5, aux_logits=False, init_weights=False)
    >>> net(ones(2, 3, 32, 32)).shape
    (2, 5)
    """
    return GoogLeNet(**config)
