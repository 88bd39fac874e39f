"""A small ConvNet for digits at 8x8, and how its weights in digit_net.safetensors were made.

    python examples/digit_net.py MNIST-FOLDER [OUT]

They come from the 60,000 training images of MNIST (Y. LeCun, L. Bottou, Y. Bengio and P. Haffner,
"Gradient-based learning applied to document recognition", 1998), made as small as the package's
digits, in five passes over them with seed 0. Lab 18 tunes them to those digits.
"""

import sys
from pathlib import Path

import numpy as np

import tinygrad_cv as tg
from tinygrad_cv import data, nn, optim, train

WEIGHTS = Path(__file__).with_name("digit_net.safetensors")


def digit_net() -> nn.Sequential:
    """[CONV-BN-ReLU-POOL] x 2 with 16 and 32 filters 3x3, and 10 classes: 6,186 parameters.

    >>> from tinygrad_cv.examples.digit_net import digit_net
    >>> sum(p.numel() for p in digit_net().parameters())
    6186
    """
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 2 * 2, 10)),
    )


def at_8x8(images: np.ndarray) -> np.ndarray:
    """Images of MNIST (N, 1, 28, 28) as (N, 1, 8, 8): means over the 20x20 that a digit fills.

    A pixel of the small image is 2.5 of the large one wide, so each is cut in four first.

    >>> import numpy as np
    >>> from tinygrad_cv.examples.digit_net import at_8x8
    >>> at_8x8(np.ones((2, 1, 28, 28), np.float32)).shape
    (2, 1, 8, 8)
    """
    digits = images[:, :, 4:24, 4:24].repeat(2, axis=2).repeat(2, axis=3)
    return digits.reshape(len(images), 1, 8, 5, 8, 5).mean(axis=(3, 5))


def pretrained(folder: str | Path, epochs: int = 5, seed: int = 0) -> nn.Sequential:
    """The net, trained on MNIST in a folder."""
    generator = tg.manual_seed(seed)
    mnist = data.load_dataset(folder)
    model = digit_net()
    samples = data.TensorDataset(at_8x8(mnist.train_images), mnist.train_labels)
    unseen = data.TensorDataset(at_8x8(mnist.test_images), mnist.test_labels)
    trainer = train.Trainer(
        model,
        optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        schedule=train.cosine,
        compile=True,
    )
    loader = data.DataLoader(samples, 100, shuffle=True, generator=generator)
    trainer.fit(loader, epochs=epochs)
    accuracy = trainer.evaluate(data.DataLoader(unseen, 500))
    print(f"accuracy on MNIST's test images at 8x8: {accuracy:.4f}")
    return model


if __name__ == "__main__":
    train.save_model(pretrained(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else WEIGHTS)
