"""A ConvNet on CIFAR-10: python cifar_convnet.py --data DIR. Without DIR it learns the digits.

Two stages of [conv 3x3 - batch norm - ReLU] x 2 and a max-pool, of 32 and 64 channels, then linear.
Images are moved and mirrored anew in each epoch (MNIST's and the digits' are only moved), and the
learning rate rises for a fifth of the steps and then falls to 0. The test images are used once, at
the end. DIR may hold MNIST too.
"""

import argparse
import time

import numpy as np

import tinygrad_cv as tg
from tinygrad_cv import data, nn, optim, train

parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
parser.add_argument("--data", default="digits", metavar="DIR")
parser.add_argument("--epochs", type=int, default=16)
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()

started = time.perf_counter()
splits = data.load_dataset(options.data)
_, channels, height, width = splits.train_images.shape
mean = splits.train_images.mean(axis=(0, 2, 3), keepdims=True)  # one number a channel, as VGG
std = splits.train_images.std(axis=(0, 2, 3), keepdims=True)
order, weights = np.random.default_rng(options.seed).spawn(2)


def varied(images, labels, generator):
    """Another view of each image: moved by up to an eighth, and in colour maybe mirrored."""
    if channels == 3:
        images = data.random_horizontal_flip(images, 0.5, generator)
    return data.random_shift(images, height // 8, generator), labels


training = data.TensorDataset((splits.train_images - mean) / std, splits.train_labels)
test = data.TensorDataset((splits.test_images - mean) / std, splits.test_labels)
loader = data.DataLoader(training, 100, shuffle=True, generator=order, transform=varied)

layers = []
for inputs, filters in ((channels, 32), (32, 64)):
    for into in (inputs, filters):
        layers += [
            nn.Conv2d(into, filters, 3, padding=1, bias=False, generator=weights),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
        ]
    layers.append(nn.MaxPool2d(2))
features = 64 * (height // 4) * (width // 4)
model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, splits.classes, generator=weights))

optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
rate = optim.lr_scheduler.OneCycleLR(
    optimizer, 0.1, epochs=options.epochs, steps_per_epoch=len(loader), pct_start=0.2
)
trainer = train.Trainer(
    model,
    optimizer,
    lambda scores, labels: tg.cross_entropy(scores, labels, label_smoothing=0.1),
    schedule=rate,
    schedule_interval="step",
    compile=True,
)
history = trainer.fit(loader, epochs=options.epochs)
for epoch, record in enumerate(history, 1):
    print(f"epoch {epoch}: loss {record['loss']:.4f}, training {record['train_accuracy']:.2%}")
accuracy = trainer.evaluate(data.DataLoader(test, 100))
seconds = time.perf_counter() - started
print(f"{splits.name}, seed {options.seed}: test accuracy {accuracy:.2%} in {seconds:.0f} s")
