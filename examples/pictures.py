"""README's pictures: two gates, gradients that vanish, and a training run as a page.

Writes gates.svg, vanishing.svg and training.html, and prints the playback of the two gates.
"""

import tinygrad_cv as tg
from tinygrad_cv import data, nn, optim, train, viz

# The two gates of the lecture: f = (x + y) z.
x, y, z = (tg.tensor(value, requires_grad=True) for value in (-2.0, 5.0, -4.0))
q = x + y
f = q * z
viz.draw(f, backward=True, health=True).save("gates.svg")
print(viz.playback(f))

# Eight layers of sigmoids: at each the gradient loses, and the first weights hardly learn.
generator = tg.manual_seed(0)
layers = [
    layer for _ in range(8) for layer in (nn.Linear(16, 16, generator=generator), nn.Sigmoid())
]
deep = nn.Sequential(*layers, nn.Linear(16, 2, generator=generator))
points = tg.randn(32, 16, generator=generator)
labels = (points.sum(dim=1) > 0).long()
loss = tg.cross_entropy(deep(points), labels)
viz.draw(loss, health=True, depth=1).save("vanishing.svg")


class Block(nn.Module):
    """x + convolution(batch norm(relu(x))), as in He et al. (2016)."""

    def __init__(self, channels: int) -> None:
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return x + self.conv(tg.relu(self.norm(x)))


class ResNet(nn.Module):
    """A convolution, equal blocks around a skip each, and scores."""

    def __init__(self, blocks: int, channels: int, classes: int) -> None:
        self.stem = nn.Conv2d(1, channels, 3, padding=1)
        self.blocks = nn.Sequential(*[Block(channels) for _ in range(blocks)])
        self.head = nn.Linear(channels, classes)

    def forward(self, images: tg.Tensor) -> tg.Tensor:
        features = self.blocks(self.stem(images))
        return self.head(features.mean(dim=(2, 3)))


digits = data.load_dataset("digits")
samples = data.TensorDataset(digits.train_images[:512], digits.train_labels[:512])
loader = data.DataLoader(samples, batch_size=64, shuffle=True, generator=generator)
model = ResNet(blocks=4, channels=8, classes=10)
trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
watch = viz.watch(model, every=4)
trainer.fit(loader, epochs=4, watch=watch)
print(f"watched {watch.steps} steps; {watch.save('training.html')} has a slider over them")
