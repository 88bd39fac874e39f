"""A ConvNet for small images."""

from typing import Any

from tinygrad_cv import nn


def convnet(
    image_shape: tuple[int, int, int], classes: int, width: int = 32, *, generator: Any = None
) -> nn.Sequential:
    """([conv 3x3 - batch norm - ReLU] x 2 - max-pool) x 2 - dropout - linear.

    (N, C, H, W) -> scores (N, classes), for images of `image_shape` (C, H, W). The first two
    convolutions have `width` filters, the other two twice as many, where each pooling has halved
    the height and the width. The pattern is that of Simonyan and Zisserman (2015), with the batch
    norm of Ioffe and Szegedy (2015).

    The initial weights and then the dropout are drawn from `generator`, or from the one that
    `manual_seed` seeds.

    Raises ValueError for images smaller than 4x4: after both poolings nothing would be left.

    >>> from tinygrad_cv import ones
    >>> from tinygrad_cv.train import convnet
    >>> convnet((3, 32, 32), classes=10)(ones(2, 3, 32, 32)).shape
    (2, 10)
    """
    channels, height, size = image_shape
    if min(height, size) < 4:
        raise ValueError(
            f"the ConvNet halves an image twice and so needs at least 4x4 pixels; got "
            f"{height}x{size}."
        )
    layers: list[nn.Module] = []
    for filters in (width, 2 * width):
        for inputs in (channels, filters):
            layers += [
                # Batch norm takes a bias away with the mean and has its own.
                nn.Conv2d(inputs, filters, 3, padding=1, bias=False, generator=generator),
                nn.BatchNorm2d(filters),
                nn.ReLU(),
            ]
        layers.append(nn.MaxPool2d(2))
        channels = filters
    features = channels * (height // 4) * (size // 4)
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Dropout(0.5, generator=generator),
        nn.Linear(features, classes, generator=generator),
    )
