"""A ConvNet for small images."""

from typing import Any

from tinygrad_cv import nn


def convnet(
    image_shape: tuple[int, int, int], classes: int, width: int = 32, *, generator: Any = None
) -> nn.Sequential:
    """Stages of ([conv 3x3 - batch norm - ReLU] x 2 - max-pool - dropout), then linear.

    (N, C, H, W) -> scores (N, classes), for images of `image_shape` (C, H, W). A stage halves the
    image, and there is one as long as it is at least 4x4: two for 8x8, four for 32x32. The first
    stage has `width` filters, the others twice as many. The last dropout takes half of what it
    gets, the others a quarter.

    The pattern is that of K. Simonyan and A. Zisserman, "Very deep convolutional networks for
    large-scale image recognition", 2015, with the batch norm of S. Ioffe and C. Szegedy, 2015.

    The initial weights and then the dropout are drawn from `generator`, or from the one that
    `manual_seed` seeds.

    Raises ValueError for images smaller than 4x4.

    >>> from tinygrad_cv import ones
    >>> from tinygrad_cv.train import convnet
    >>> convnet((3, 32, 32), classes=10)(ones(2, 3, 32, 32)).shape
    (2, 10)
    """
    channels, rows, columns = image_shape
    if min(rows, columns) < 4:
        raise ValueError(f"the ConvNet takes images of at least 4x4 pixels; got {rows}x{columns}.")
    layers: list[nn.Module] = []
    filters = width
    while min(rows, columns) >= 4:
        for inputs in (channels, filters):
            layers += [
                # No bias: batch norm would take it away with the mean, and adds one of its own.
                nn.Conv2d(inputs, filters, 3, padding=1, bias=False, generator=generator),
                nn.BatchNorm2d(filters),
                nn.ReLU(),
            ]
        channels, rows, columns = filters, rows // 2, columns // 2
        filters = 2 * width
        last = min(rows, columns) < 4
        layers += [nn.MaxPool2d(2), nn.Dropout(0.5 if last else 0.25, generator=generator)]
    features = channels * rows * columns
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, classes, generator=generator))
