"""The gallery: a picture of each kind of graph, from two gates to a transformer.

`tinygrad-cv gallery` draws them all. A piece is a function that gives what is drawn: a trace, and
how `viz.draw` is to draw it. Three of them are the pictures in README.md.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tinygrad_cv as tg
from tinygrad_cv import data, models, nn, optim, train, viz


@dataclass(frozen=True)
class Piece:
    """What is drawn, and the arguments of `viz.draw`."""

    trace: viz.Trace
    look: dict[str, Any] = field(default_factory=dict)
    circuit: viz.Circuit | None = None
    """Of a small graph, to be played gate by gate."""


def two_gates() -> Piece:
    """The two gates of CS231n's notes: f = (x + y) z."""
    f, *_inputs = gates()  # what nobody holds has no value to show
    seen = viz.trace(f, values=True, gradients=True)
    return Piece(seen, {"backward": True}, viz.circuit(f))


def gates() -> tuple[tg.Tensor, ...]:
    """f = (x + y) z at x = -2, y = 5, z = -4, and these."""
    x, y, z = (tg.tensor(value, requires_grad=True) for value in (-2.0, 5.0, -4.0))
    x.name, y.name, z.name = "x", "y", "z"
    q = x + y
    q.name = "q"
    f = q * z
    f.name = "f"
    return f, x, y, z


def sigmoid_neuron() -> Piece:
    """The neuron of CS231n's notes: 1 / (1 + e^-(w0 x0 + w1 x1 + w2)), gate by gate."""
    w0, x0, w1, x1, w2 = (
        tg.tensor(value, requires_grad=True) for value in (2.0, -1.0, -3.0, -2.0, -3.0)
    )
    f = 1 / (1 + tg.exp(-(w0 * x0 + w1 * x1 + w2)))
    return Piece(viz.trace(f, values=True, gradients=True), {"backward": True}, viz.circuit(f))


def softmax() -> Piece:
    """The loss of three scores: e^s over its sum, and -log of the first."""
    s = tg.tensor([1.0, 2.0, 0.5], requires_grad=True)
    e = tg.exp(s)
    p = e / e.sum()
    loss = -tg.log(p[0])
    seen = viz.trace(loss, values=True, gradients=True)
    return Piece(seen, {"backward": True}, viz.circuit(loss))


def two_layer_net() -> Piece:
    """Two layers by hand: scores = max(0, x W1 + b1) W2 + b2, and a softmax."""
    rng = tg.Generator().manual_seed(0)
    x, labels = tg.randn(5, 4, generator=rng), tg.tensor([0, 1, 2, 1, 0])
    W1 = tg.randn(4, 10, generator=rng, requires_grad=True)
    b1 = tg.zeros(10, requires_grad=True)
    W2 = tg.randn(10, 3, generator=rng, requires_grad=True)
    b2 = tg.zeros(3, requires_grad=True)
    hidden = tg.relu(x @ W1 + b1)
    scores = hidden @ W2 + b2
    loss = tg.cross_entropy(scores, labels)
    seen = viz.trace(loss, values=True, gradients=True)
    return Piece(seen, {"backward": True}, viz.circuit(loss))


def convnet() -> Piece:
    """The ConvNet in README.md, forward and backward."""
    rng = tg.Generator().manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, generator=rng),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, generator=rng),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 10, generator=rng),
    )
    digits = data.load_dataset("digits")
    images, labels = tg.tensor(digits.train_images[:25]), tg.tensor(digits.train_labels[:25])
    loss = tg.cross_entropy(model(images), labels)
    return Piece(viz.trace(loss), {"backward": True})


def alexnet() -> Piece:
    """AlexNet, forward."""
    return Piece(viz.trace(models.alexnet().eval(), (1, 3, 224, 224)))


def vgg16() -> Piece:
    """VGG-16, forward."""
    return Piece(viz.trace(models.vgg16().eval(), (1, 3, 224, 224)))


def resnet18() -> Piece:
    """ResNet-18, forward, with every block unfolded."""
    return Piece(viz.trace(models.resnet18().eval(), (1, 3, 224, 224)), {"budget": 400})


def resnet18_backward() -> Piece:
    """ResNet-18 at its first step, with the health of its gradients."""
    model = models.resnet18(generator=tg.Generator().manual_seed(0))
    images = tg.randn(2, 3, 64, 64, generator=tg.Generator().manual_seed(1))
    seen = viz.trace(model, images, values=True, gradients=True)
    return Piece(seen, {"backward": True, "budget": 400})


def resnet50() -> Piece:
    """ResNet-50, forward; its blocks are folded, since there are many."""
    return Piece(viz.trace(models.resnet50().eval(), (1, 3, 224, 224)))


def densenet_block() -> Piece:
    """A dense block: each layer reads all that were before it."""
    model = models.DenseNet(growth_rate=12, block_config=(6,), num_init_features=24, num_classes=10)
    block = model.get_submodule("features.denseblock1").eval()
    return Piece(viz.trace(block, (1, 24, 32, 32)))


def inception_block() -> Piece:
    """GoogLeNet's block: four branches side by side."""
    model = models.googlenet(init_weights=False, aux_logits=False).inception3a
    return Piece(viz.trace(model.eval(), (1, 192, 28, 28)))


def u_net() -> Piece:
    """U-Net: what is lost on the way down comes back over the skips."""
    return Piece(viz.trace(models.UNet(3, 2).eval(), (1, 3, 64, 64)))


def lstm() -> Piece:
    """An LSTM over 50 steps: backpropagation through time."""
    model = nn.LSTM(8, 16, batch_first=True, generator=tg.Generator().manual_seed(0))
    inputs = tg.randn(2, 50, 8, generator=tg.Generator().manual_seed(1))
    return Piece(viz.trace(model, inputs, values=True, gradients=True), {"backward": True})


def transformer() -> Piece:
    """An encoder of 12 layers, which are equal: one is shown."""
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    return Piece(viz.trace(nn.TransformerEncoder(layer, 12).eval(), (2, 10, 64)))


def gan() -> Piece:
    """Two nets: the generator learns from what the discriminator says."""
    rng = tg.Generator().manual_seed(0)
    G = nn.Sequential(nn.Linear(8, 16, generator=rng), nn.ReLU(), nn.Linear(16, 2, generator=rng))
    D = nn.Sequential(nn.Linear(2, 16, generator=rng), nn.ReLU(), nn.Linear(16, 1, generator=rng))
    noise = tg.randn(4, 8, generator=rng)

    def losses(noise: tg.Tensor, real: tg.Tensor) -> dict[str, tg.Tensor]:
        fake, true = D(G(noise)), D(real)
        bce = tg.binary_cross_entropy_with_logits
        learns = bce(true, tg.ones(4, 1)) + bce(fake, tg.zeros(4, 1))
        return {"G": bce(fake, tg.ones(4, 1)), "D": learns}

    seen = viz.trace(losses, noise, tg.randn(4, 2, generator=rng), values=True, gradients=True)
    return Piece(seen, {"backward": True})


def double_backward() -> Piece:
    """The graph of a gradient: d²/dx² of x³ is 6x, by the same rules."""
    x = tg.tensor(2.0, requires_grad=True)
    y = x**3
    dy = tg.grad(y, x, create_graph=True)[0]
    assert dy is not None
    ddy = tg.grad(dy, x, create_graph=True)[0]
    return Piece(viz.trace([dy, ddy], values=True, gradients=True), {"backward": True})


def nan() -> Piece:
    """Where the first NaN arose, and what went in."""
    x = tg.tensor([1.0, 0.5, -2.0], requires_grad=True)
    w = tg.tensor([2.0, 1.0, 1.0], requires_grad=True)
    loss = (tg.log(x * w) * w).mean()
    return Piece(viz.trace(loss, values=True, gradients=True), {"backward": True})


def dead() -> Piece:
    """ReLUs that a large negative bias has killed: nothing flows through them."""
    rng = tg.Generator().manual_seed(0)
    model = nn.Sequential(
        nn.Linear(8, 16, generator=rng),
        nn.ReLU(),
        nn.Linear(16, 16, generator=rng),
        nn.ReLU(),
        nn.Linear(16, 2, generator=rng),
    )
    with tg.no_grad():
        model[2].bias.fill_(-20.0)
    loss = tg.cross_entropy(model(tg.randn(32, 8, generator=rng)), tg.tensor([0, 1] * 16))
    return Piece(viz.trace(loss, values=True, gradients=True), {"backward": True})


def vanishing() -> Piece:
    """Eight layers of sigmoids: at each the gradient loses, and the first weights hardly learn."""
    rng = tg.Generator().manual_seed(0)
    layers = [layer for _ in range(8) for layer in (nn.Linear(16, 16, generator=rng), nn.Sigmoid())]
    deep = nn.Sequential(*layers, nn.Linear(16, 2, generator=rng))
    points = tg.randn(32, 16, generator=rng)
    loss = tg.cross_entropy(deep(points), (points.sum(dim=1) > 0).long())
    return Piece(viz.trace(loss, values=True, gradients=True), {"budget": 400})


def training() -> Piece:
    """A training run, watched: a page with a slider over its steps."""
    rng = tg.Generator().manual_seed(0)
    digits = data.load_dataset("digits")
    samples = data.TensorDataset(digits.train_images[:512], digits.train_labels[:512])
    loader = data.DataLoader(samples, batch_size=64, shuffle=True, generator=rng)
    model = models.resnet20(generator=rng)
    model.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False, generator=rng)
    trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    watch = viz.watch(model, every=4)
    trainer.fit(loader, epochs=4, watch=watch)
    return Piece(watch.trace, {"backward": True})


PIECES: dict[str, Callable[[], Piece]] = {
    piece.__name__: piece
    for piece in (
        two_gates,
        sigmoid_neuron,
        softmax,
        two_layer_net,
        convnet,
        alexnet,
        vgg16,
        resnet18,
        resnet18_backward,
        resnet50,
        densenet_block,
        inception_block,
        u_net,
        lstm,
        transformer,
        gan,
        double_backward,
        nan,
        dead,
        vanishing,
        training,
    )
}
"""By name, in the order of the gallery."""
