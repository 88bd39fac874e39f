"""LeNet-5, the net that read cheques."""

from functools import partial
from typing import Any

from tinygrad_cv import nn
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.models._weights import constructor


class LeNet5(nn.Module):
    """LeNet-5 as it is taught: (N, in_channels, 28, 28) -> scores (N, num_classes).

    conv 5x5 - tanh - average pool, twice, with 6 and 16 filters; then linear layers of 120, 84 and
    `num_classes` units, with tanh between them: 61,706 parameters for MNIST. The first convolution
    pads digits of 28x28 pixels to the paper's 32x32; `padding=0` takes images that have that size.

    The net of the paper differs where nobody follows it any more: its pooling has a weight and a
    bias for each map, its second convolution sees a part of the maps only, and its last layer is
    made of radial basis functions. Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based
    learning applied to document recognition", 1998.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        padding: int = 2,
        *,
        generator: Any = None,
    ) -> None:
        Conv2d = partial(nn.Conv2d, generator=generator)
        Linear = partial(nn.Linear, generator=generator)
        self.features = nn.Sequential(
            Conv2d(in_channels, 6, 5, padding=padding),  # C1: 28x28
            nn.Tanh(),
            nn.AvgPool2d(2),  # S2: 14x14
            Conv2d(6, 16, 5),  # C3: 10x10
            nn.Tanh(),
            nn.AvgPool2d(2),  # S4: 5x5
        )
        self.classifier = nn.Sequential(
            Linear(16 * 5 * 5, 120),  # C5
            nn.Tanh(),
            Linear(120, 84),  # F6
            nn.Tanh(),
            Linear(84, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.classifier(self.features(x).flatten(1))
        return x


@constructor()
def lenet5(**config: Any) -> LeNet5:
    """`LeNet5(**config)`: 61,706 parameters.

    >>> from tinygrad_cv import ones
    >>> from tinygrad_cv.models import lenet5
    >>> lenet5()(ones(2, 1, 28, 28)).shape
    (2, 10)
    """
    return LeNet5(**config)
