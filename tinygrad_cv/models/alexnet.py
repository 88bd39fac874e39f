"""AlexNet, in the two forms that are called so."""
# ruff: noqa: N801  weights have torchvision's names

from functools import partial
from typing import Any

from tinygrad_cv import nn
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.models._weights import Weights, WeightsEnum, constructor


class AlexNet(nn.Module):
    """AlexNet as torchvision has it: (N, 3, H, W) -> scores (N, num_classes).

    Images are at least 63x63; the layers in the middle, and what they see of an image, are for
    224x224. This is the net of A. Krizhevsky, "One weird trick for parallelizing convolutional
    neural networks", 2014: one column, without local response normalization, and with fewer filters
    than the net of 2012, which is `AlexNetOriginal`.
    """

    def __init__(
        self, num_classes: int = 1000, dropout: float = 0.5, *, generator: Any = None
    ) -> None:
        Conv2d = partial(nn.Conv2d, generator=generator)
        Linear = partial(nn.Linear, generator=generator)
        Dropout = partial(nn.Dropout, generator=generator)
        self.features = nn.Sequential(
            Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            Dropout(dropout),
            Linear(256 * 6 * 6, 4096),
            nn.ReLU(),
            Dropout(dropout),
            Linear(4096, 4096),
            nn.ReLU(),
            Linear(4096, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return x


class AlexNetOriginal(nn.Module):
    """AlexNet as it won in 2012: (N, 3, 224, 224) -> scores (N, num_classes).

    Of the five convolutions the second, fourth and fifth see half of the channels each, as the net
    was spread over two GPUs (`groups=2`: 60,965,224 parameters; with `groups=1` 62,378,344). Behind
    the first two stands local response normalization, and dropout before the first two of the three
    linear layers. The images have the sizes 55-27-27-13-13-13-13-6.

    The initial weights are normal with the standard deviation 0.01; the biases of the second,
    fourth and fifth convolution and of the hidden linear layers are 1, the others 0.

    A. Krizhevsky, I. Sutskever and G. Hinton, "ImageNet classification with deep convolutional
    neural networks", 2012.

    Raises ValueError for images of another size: the linear layers want what 224x224 pixels give.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        dropout: float = 0.5,
        groups: int = 2,
        *,
        generator: Any = None,
    ) -> None:
        Conv2d = partial(nn.Conv2d, generator=generator)
        Linear = partial(nn.Linear, generator=generator)
        Dropout = partial(nn.Dropout, generator=generator)
        normalization = partial(nn.LocalResponseNorm, 5, alpha=1e-4, beta=0.75, k=2.0, divide=False)
        self.features = nn.Sequential(
            Conv2d(3, 96, 11, stride=4, padding=2),  # 55x55
            nn.ReLU(),
            normalization(),
            nn.MaxPool2d(3, 2),  # 27x27: the windows of three overlap
            Conv2d(96, 256, 5, padding=2, groups=groups),
            nn.ReLU(),
            normalization(),
            nn.MaxPool2d(3, 2),  # 13x13
            Conv2d(256, 384, 3, padding=1),
            nn.ReLU(),
            Conv2d(384, 384, 3, padding=1, groups=groups),
            nn.ReLU(),
            Conv2d(384, 256, 3, padding=1, groups=groups),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),  # 6x6
        )
        self.classifier = nn.Sequential(
            Dropout(dropout),
            Linear(256 * 6 * 6, 4096),
            nn.ReLU(),
            Dropout(dropout),
            Linear(4096, 4096),
            nn.ReLU(),
            Linear(4096, num_classes),
        )
        weights = [p for name, p in self.named_parameters() if name.endswith("weight")]
        biases = [p for name, p in self.named_parameters() if name.endswith("bias")]
        for weight in weights:
            nn.init.normal_(weight, std=0.01, generator=generator)
        for bias, value in zip(biases, (0, 1, 0, 1, 1, 1, 1, 0), strict=True):
            nn.init.constant_(bias, value)

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x)
        if y.shape[2:] != (6, 6):
            raise ValueError(
                f"AlexNetOriginal takes images of 224x224 pixels; got an input of shape {x.shape}. "
                "`alexnet` takes other sizes."
            )
        x = self.classifier(y.flatten(1))
        return x


class AlexNet_Weights(WeightsEnum):
    """Weights of `alexnet`."""

    IMAGENET1K_V1 = Weights("alexnet-owt-7be5be79.pth", 61_100_840, min_size=(63, 63))
    DEFAULT = IMAGENET1K_V1


@constructor(AlexNet_Weights)
def alexnet(**config: Any) -> AlexNet:
    """`AlexNet(**config)`: 61,100,840 parameters.

    >>> from tinygrad_cv.models import AlexNet_Weights
    >>> AlexNet_Weights.DEFAULT.url
    'https://download.pytorch.org/models/alexnet-owt-7be5be79.pth'
    """
    return AlexNet(**config)


@constructor()
def alexnet_original(**config: Any) -> AlexNetOriginal:
    """`AlexNetOriginal(**config)`: 60,965,224 parameters."""
    return AlexNetOriginal(**config)
