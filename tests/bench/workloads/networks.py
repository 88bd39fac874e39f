"""Networks that look at images."""

from typing import Any

from .base import Library, Workload, adamw, inference, sgd, training, workload


def _stages(nn: Any, *widths: int) -> list[Any]:
    """[conv 3x3 - BN - ReLU] x 2 and a pool for each width."""
    layers, channels = [], 3
    for width in widths:
        for inputs in (channels, width):
            layers += [
                nn.Conv2d(inputs, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
        layers.append(nn.MaxPool2d(2))
        channels = width
    return layers


def _convnet(nn: Any) -> Any:
    return nn.Sequential(*_stages(nn, 32, 64), nn.Flatten(), nn.Linear(64 * 8 * 8, 10))


@workload(images=True, batch=3)
def convnet(library: Library, batch: int = 100) -> Workload:
    """100 images 3x32x32: [conv-BN-ReLU] x 2, pool, the same with 64 channels, linear; momentum."""
    model = _convnet(library.module.nn)
    return training(library, model, (batch, 3, 32, 32), optimizer=sgd(0.9))


@workload(images=True, batch=3)
def convnet_inference(library: Library, batch: int = 100) -> Workload:
    """The ConvNet's scores of 100 images, in evaluation mode."""
    return inference(library, _convnet(library.module.nn), (batch, 3, 32, 32))


@workload(images=True, batch=2)
def vgg(library: Library, batch: int = 64) -> Workload:
    """64 images 3x32x32: [conv-BN-ReLU] x 2 and pool, of 64, 128 and 256 channels; momentum."""
    nn = library.module.nn
    model = nn.Sequential(*_stages(nn, 64, 128, 256), nn.Flatten(), nn.Linear(256 * 16, 10))
    return training(library, model, (batch, 3, 32, 32), optimizer=sgd(0.9))


def _resnet18(nn: Any, stem: Any) -> Any:
    """He et al. (2016), the net of 18 layers."""

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(outputs)
            self.relu = nn.ReLU()
            self.short = nn.Identity()
            if stride > 1 or inputs != outputs:
                self.short = nn.Sequential(
                    nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
                )

        def forward(self, x: Any) -> Any:
            h = self.relu(self.bn1(self.conv1(x)))
            return self.relu(self.bn2(self.conv2(h)) + self.short(x))

    blocks, inputs = [], 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        blocks += [Block(inputs, outputs, stride), Block(outputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


@workload(images=True, batch=2)
def resnet18_32(library: Library, batch: int = 32) -> Workload:
    """ResNet-18 on 32 images 3x32x32, with a stem of one 3x3 convolution; momentum."""
    nn = library.module.nn
    stem = [nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    return training(library, _resnet18(nn, stem), (batch, 3, 32, 32), optimizer=sgd(0.9))


@workload(images=True, batch=2, size=48)
def resnet18_224(library: Library, batch: int = 8, size: int = 224) -> Workload:
    """ResNet-18 on 8 images 3x224x224; momentum."""
    nn = library.module.nn
    stem = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    return training(library, _resnet18(nn, stem), (batch, 3, size, size), optimizer=sgd(0.9))


@workload(images=True, batch=2)
def mobilenet_v2(library: Library, batch: int = 32) -> Workload:
    """MobileNetV2 (Sandler et al., 2018) on 32 images 3x32x32, strides 1 at first; momentum."""
    nn = library.module.nn

    def conv(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> list[Any]:
        return [
            nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
        ]

    class Inverted(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
            super().__init__()
            self.adds = stride == 1 and inputs == outputs
            width = inputs * expansion
            first = [*conv(inputs, width, 1), nn.ReLU6()] if expansion > 1 else []
            self.layers = nn.Sequential(
                *first, *conv(width, width, 3, stride, width), nn.ReLU6(), *conv(width, outputs, 1)
            )

        def forward(self, x: Any) -> Any:
            return x + self.layers(x) if self.adds else self.layers(x)

    layers, inputs = [*conv(3, 32, 3), nn.ReLU6()], 32
    for expansion, outputs, count, stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 1),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for i in range(count):
            layers.append(Inverted(inputs, outputs, stride if i == 0 else 1, expansion))
            inputs = outputs
    layers += [*conv(320, 1280, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(1280, 10))
    return training(library, model, (batch, 3, 32, 32), optimizer=sgd(0.9))


@workload(images=True, batch=1, size=16)
def unet(library: Library, batch: int = 4, size: int = 64) -> Workload:
    """A U-Net (Ronneberger et al., 2015) of 32, 64 and 128 channels on 4 images 3x64x64; Adam."""
    lib = library.module
    nn = lib.nn

    def double(inputs: int, outputs: int) -> Any:
        layers = []
        for channels in (inputs, outputs):
            layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.ReLU()]
        return nn.Sequential(*layers)

    class UNet(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.down1, self.down2, self.bottom = double(3, 32), double(32, 64), double(64, 128)
            self.pool = nn.MaxPool2d(2)
            self.up2, self.up1 = (nn.ConvTranspose2d(2 * c, c, 2, 2) for c in (64, 32))
            self.join2, self.join1 = double(128, 64), double(64, 32)
            self.last = nn.Conv2d(32, 5, 1)

        def forward(self, x: Any) -> Any:
            fine = self.down1(x)
            coarse = self.down2(self.pool(fine))
            h = self.up2(self.bottom(self.pool(coarse)))
            h = self.up1(self.join2(lib.cat([h, coarse], 1)))
            return self.last(self.join1(lib.cat([h, fine], 1)))

    shape = (batch, 3, size, size)
    adam = lambda optim, parameters: optim.Adam(parameters, lr=1e-4)  # noqa: E731
    return training(library, UNet(), shape, (size, size), classes=5, optimizer=adam)


@workload(images=True, batch=2, depth=2)
def vit_tiny(library: Library, batch: int = 16, depth: int = 12) -> Workload:
    """ViT-tiny (Touvron et al., 2021): 16 images 3x32x32, 64 patches, 12 layers of 192; AdamW."""
    lib = library.module
    nn, F = lib.nn, library.functional
    width, heads = 192, 3

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.mlp = nn.Sequential(
                nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
            )

        def forward(self, x: Any) -> Any:
            n, length, _ = x.shape
            parts = self.qkv(self.norm1(x)).reshape(n, length, 3, heads, width // heads)
            q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
            seen = F.scaled_dot_product_attention(q, k, v)
            x = x + self.out(seen.transpose(1, 2).reshape(n, length, width))
            return x + self.mlp(self.norm2(x))

    class ViT(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, width, 4, 4)
            self.places = nn.Parameter(lib.zeros(64, width))
            self.blocks = nn.Sequential(*(Block() for _ in range(depth)))
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

        def forward(self, x: Any) -> Any:
            h = self.patches(x).flatten(2).transpose(1, 2) + self.places
            return self.head(self.norm(self.blocks(h)).mean(1))

    return training(library, ViT(), (batch, 3, 32, 32), optimizer=adamw)
