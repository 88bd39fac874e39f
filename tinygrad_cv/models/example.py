"""The small net that courses count the parameters of."""

from functools import partial
from typing import Any

from tinygrad_cv import nn
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.models._weights import constructor


class ExampleNet(nn.Module):
    """[conv 3x3 - ReLU - conv 3x3 - ReLU - max-pool 2x2] three times, then linear.

    (N, in_channels, S, S) -> scores (N, num_classes) for images of S = `image_size` pixels. Each
    convolution has `width` filters; with the defaults the net has 6,440 parameters, and every layer
    of it can be looked at. N. Snavely, "CS5670: Introduction to computer vision", whose example it
    is, has it from the demonstration of A. Karpathy's ConvNetJS in CS231n.

    Raises ValueError for images smaller than 8x8, which three poolings would leave nothing of.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        width: int = 10,
        image_size: int = 32,
        *,
        generator: Any = None,
    ) -> None:
        if image_size < 8:
            raise ValueError(
                f"ExampleNet halves images three times, so image_size is at least 8; got "
                f"{image_size}."
            )
        Conv2d = partial(nn.Conv2d, kernel_size=3, padding=1, generator=generator)
        layers: list[nn.Module] = []
        for channels in (in_channels, width, width):
            layers += [Conv2d(channels, width), nn.ReLU(), Conv2d(width, width), nn.ReLU()]
            layers += [nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(
            width * (image_size // 8) ** 2, num_classes, generator=generator
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.classifier(self.features(x).flatten(1))
        return x


@constructor()
def example_net(**config: Any) -> ExampleNet:
    """`ExampleNet(**config)`: 6,440 parameters.

    >>> from tinygrad_cv.models import example_net
    >>> sum(p.numel() for p in example_net().parameters())
    6440
    """
    return ExampleNet(**config)
