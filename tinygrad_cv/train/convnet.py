"""A ConvNet for small images."""

from typing import Any

from tinygrad_cv import nn


def convnet(
    image_shape: tuple[int, int, int], classes: int, width: int = 32, *, generator: Any = None
) -> nn.Sequential:
    """([conv 3x3 - batch norm - ReLU] x 2 - max-pool) x stages - dropout - linear.

    (N, C, H, W) -> scores (N, classes), for images of `image_shape` (C, H, W). There is a stage as
    long as the image is at least 4x4, and each pooling halves it: two for 8x8, four for 32x32. The
    first stage has `width` filters, the others twice as many. The pattern is that of Simonyan and
    Zisserman (2015), with the batch norm of Ioffe and Szegedy (2015).

    The filters start with the variance of He et al. (2015), at which the signal keeps its scale;
    so the running variances of batch norm, which begin at 1, are about right from the start. The
    weights and then the dropout are drawn from `generator`, or from the one that `manual_seed`
    seeds.

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
            # No bias: batch norm would take it away with the mean, and it adds one of its own.
            conv = nn.Conv2d(inputs, filters, 3, padding=1, bias=False, generator=generator)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator)
            layers += [conv, nn.BatchNorm2d(filters), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
        channels, rows, columns = filters, rows // 2, columns // 2
        filters = 2 * width
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Dropout(0.5, generator=generator),
        nn.Linear(channels * rows * columns, classes, generator=generator),
    )
