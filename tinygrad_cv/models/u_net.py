"""U-Net: scores for every pixel, out of what is seen from near and from far."""

import math
from functools import partial
from typing import Any

from tinygrad_cv import nn
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.models._weights import constructor
from tinygrad_cv.ops.shape import cat


class DoubleConv(nn.Sequential):
    """[conv 3x3 - (batch norm) - ReLU] twice."""

    def __init__(
        self, in_channels: int, out_channels: int, padded: bool, batch_norm: bool, generator: Any
    ) -> None:
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            layers += [
                nn.Conv2d(
                    channels,
                    out_channels,
                    3,
                    padding=1 if padded else 0,
                    bias=not batch_norm,
                    generator=generator,
                )
            ]
            layers += [nn.BatchNorm2d(out_channels)] if batch_norm else []
            layers += [nn.ReLU()]
        super().__init__(*layers)


class UNet(nn.Module):
    """Down by max-pools, up by transposed convolutions, and across: scores for every pixel.

    (N, in_channels, H, W) -> (N, num_classes, H, W), for images of at least 2**depth pixels, of any
    size. Each of the `depth` steps down is two convolutions 3x3 and a max-pool 2x2, and doubles the
    `width` channels of the first; each step up is a transposed convolution 2x2, which halves them,
    and two convolutions of its result joined with the maps of that size on the way down.

    With `padded=False` the convolutions lose their borders, as in the paper: 572x572 pixels give
    388x388. Then the maps that go across are cropped in the middle. The paper's net has one channel
    and two classes, drops at the end of the way down (`dropout`), and has no batch norm
    (`batch_norm`). Convolutions begin with He's normal weights and biases 0.

    O. Ronneberger, P. Fischer and T. Brox, "U-Net: convolutional networks for biomedical image
    segmentation", 2015.

    Raises ValueError for images that are too small.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 2,
        width: int = 64,
        depth: int = 4,
        padded: bool = True,
        batch_norm: bool = False,
        dropout: float = 0.0,
        *,
        generator: Any = None,
    ) -> None:
        block = partial(DoubleConv, padded=padded, batch_norm=batch_norm, generator=generator)
        widths = [width * 2**i for i in range(depth + 1)]
        self.padded = padded
        lost = 0 if padded else 4  # pixels of two convolutions
        pixels = 1  # that leave one, from the end of the net back to its beginning
        for _ in range(depth):
            pixels = math.ceil((pixels + lost) / 2)
        pixels += lost
        for _ in range(depth):
            pixels = 2 * pixels + lost
        self.least = pixels
        self.down = nn.ModuleList(
            block(above, here)
            for above, here in zip([in_channels, *widths], widths[:-1], strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.bottom = block(widths[-2] if depth else in_channels, widths[-1])
        self.dropout = nn.Dropout(dropout, generator=generator)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * here, here, 2, stride=2, generator=generator)
            for here in reversed(widths[:-1])
        )
        self.join = nn.ModuleList(block(2 * here, here) for here in reversed(widths[:-1]))
        self.head = nn.Conv2d(width, num_classes, 1, generator=generator)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        if min(x.shape[2:]) < self.least:
            raise ValueError(
                f"this UNet takes images of at least {self.least}x{self.least} pixels; got an "
                f"input of shape {x.shape}."
            )
        across = []
        for block in self.down:
            x = block(x)
            across.append(x)
            x = self.pool(x)
        x = self.dropout(self.bottom(x))
        for up, join in zip(self.up, self.join, strict=True):
            maps = across.pop()
            # A pooling drops the last row of an odd number, and here it comes back.
            x = up(x, maps.shape[2:]) if self.padded else up(x)
            x = join(cat([_middle(maps, x), x], 1))
        x = self.head(x)
        return x


def _middle(maps: Tensor, like: Tensor) -> Tensor:
    """The middle of the maps, of the height and width of another tensor."""
    (height, width), (h, w) = maps.shape[2:], like.shape[2:]
    top, left = (height - h) // 2, (width - w) // 2
    return maps[:, :, top : top + h, left : left + w]


@constructor()
def unet(**config: Any) -> UNet:
    """`UNet(**config)`: 31,031,810 parameters with the defaults.

    >>> from tinygrad_cv import ones
    >>> from tinygrad_cv.models import unet
    >>> unet(in_channels=1, num_classes=3, width=4)(ones(2, 1, 20, 30)).shape
    (2, 3, 20, 30)
    """
    return UNet(**config)
