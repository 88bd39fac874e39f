"""Calls that have all kernels compiled before they are needed: `tinygrad-cv warm-up`.

A kernel is compiled for the types of its arguments, so each is called as a training step calls it.
`FAMILIES` are small networks whose forward and backward passes come by all of them; they say
nothing of kernels, and a test sees to it that none is left out.
"""

from collections.abc import Callable, Iterable
from typing import Any

from tinygrad_cv import nn, optim
from tinygrad_cv._autograd import grad
from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv.nn import functional as F
from tinygrad_cv.program.compiled import compile
from tinygrad_cv.random import randint, randn

Function = Callable[..., Any]


def _train(function: Function, *shapes: tuple[int, ...]) -> None:
    """Forward and backward, of a layer also without a graph and as it is evaluated."""
    inputs = [randn(*shape, requires_grad=True) for shape in shapes]
    y = function(*inputs)
    y = y[0] if isinstance(y, tuple) else y
    y.backward(randn(*y.shape))
    if isinstance(function, nn.Module):
        with no_grad():
            function.eval()(*inputs)


def _each(functions: Iterable[Function], *shapes: tuple[int, ...]) -> None:
    for function in functions:
        _train(function, *shapes)


def _convolutions() -> None:
    for channels in (3, 32, 64):  # of an image, and with either width of a tile
        layers = [
            nn.Conv2d(channels, 32, 3, padding=1),
            nn.Conv2d(channels, 32, 3, stride=2, padding=1, bias=False),
            nn.Conv2d(channels, 40, 1),
            nn.Conv2d(channels, 32, 5, dilation=2),
            nn.Conv2d(channels, 2 * channels, 3, groups=channels, padding=1),
            nn.Conv2d(channels, channels, 3, groups=channels, padding=1),
            nn.Conv2d(channels, channels, 3, groups=channels, padding=1, stride=2),
            nn.ConvTranspose2d(channels, 32, 2, stride=2),
        ]
        _each(layers, (4, channels, 16, 16))
    _train(nn.Conv2d(16, 32, 3, groups=2), (4, 16, 16, 16))
    _train(nn.Conv2d(3, 64, 7, stride=2, padding=3), (2, 3, 32, 32))
    # 3x3 in tiles of either size: of many images, of few with many channels, of small ones.
    for images, channels, size in (
        (16, 32, 32),
        (64, 32, 4),
        (64, 64, 4),
        (8, 64, 16),
        (64, 256, 4),
        (1, 64, 10),
    ):
        _train(nn.Conv2d(channels, channels, 3, padding=1), (images, channels, size, size))
    _each([nn.Conv1d(16, 32, 3), nn.ConvTranspose1d(16, 32, 3)], (4, 16, 64))
    _each([nn.Conv3d(8, 16, 3), nn.ConvTranspose3d(8, 16, 2, stride=2)], (2, 8, 8, 8, 8))


def _pools() -> None:
    pools: list[tuple[tuple[int, ...], list[Function]]] = [
        ((4, 32, 64), [nn.MaxPool1d(2), nn.AvgPool1d(2), nn.AdaptiveAvgPool1d(5)]),
        (
            (4, 32, 16, 16),
            [
                nn.MaxPool2d(2),
                nn.MaxPool2d(3, stride=2, padding=1),
                nn.AvgPool2d(2),
                nn.AvgPool2d(3, stride=1, padding=1),
                nn.AdaptiveAvgPool2d(1),
                nn.AdaptiveAvgPool2d(5),
                nn.AdaptiveMaxPool2d(5),
                lambda x: F.max_pool2d(x, 2, return_indices=True)[0],
                lambda x: F.unfold(x, 3),
            ],
        ),
        ((2, 16, 8, 8, 8), [nn.MaxPool3d(2), nn.AvgPool3d(2), nn.AdaptiveAvgPool3d(3)]),
    ]
    for shape, layers in pools:
        _each(layers, shape)


def _norms() -> None:
    images = (8, 32, 16, 16)
    layers = [
        nn.BatchNorm2d(32),
        nn.Sequential(nn.BatchNorm2d(32), nn.ReLU()),
        nn.Sequential(nn.Conv2d(32, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        nn.GroupNorm(4, 32),
        nn.InstanceNorm2d(32, affine=True),
        nn.LocalResponseNorm(3),
    ]
    _each(layers, images)
    _train(nn.BatchNorm1d(128), (64, 128))
    _each([nn.LayerNorm(128), nn.RMSNorm(128), lambda x: F.normalize(x, dim=1)], (64, 128))


ACTIVATIONS = (
    "relu relu6 leaky_relu elu selu celu gelu silu mish sigmoid tanh softplus logsigmoid hardswish "
    "hardsigmoid hardtanh softsign softshrink hardshrink tanhshrink"
)


def _elementwise() -> None:
    shape = (64, 128)
    _each([getattr(F, name) for name in ACTIVATIONS.split()], shape)
    _train(lambda x: F.gelu(x, approximate="tanh"), shape)
    _each([nn.PReLU(), nn.Dropout(0.5)], shape)
    _train(nn.Dropout2d(0.5), (16, 64, 8, 8))
    _each([lambda x: x.exp(), lambda x: x.sin(), lambda x: (x * x + 1).log().sqrt()], shape)
    _train(lambda x: (x * x + 1).rsqrt() + (x * x + 1).reciprocal() + x.erf() + x.cos(), shape)
    _each([lambda x, y: x + y, lambda x, y: x * y, lambda x, y: x / y], shape, shape)


def _rows() -> None:
    shape, labels = (64, 128), randint(0, 128, (64,))
    for dim in (0, 1):
        _train(lambda x, dim=dim: F.softmax(x, dim), shape)
        _train(lambda x, dim=dim: F.log_softmax(x, dim), shape)
        _each([lambda x, dim=dim: x.sum(dim), lambda x, dim=dim: x.amax(dim)], shape)
        _each([lambda x, dim=dim: x.mean(dim), lambda x, dim=dim: x.var(dim)], shape)
        _train(lambda x, dim=dim: x.logsumexp(dim), shape)
    _train(lambda x: F.cross_entropy(x, labels), shape)
    _train(lambda x: F.cross_entropy(x, labels, label_smoothing=0.1), shape)
    _train(lambda x: F.cross_entropy(x, labels, reduction="sum", ignore_index=None), shape)


def _products() -> None:
    _train(nn.Linear(128, 64), (64, 128))
    _train(nn.Linear(128, 64, bias=False), (8, 16, 128))
    _train(lambda x, y: x @ y, (64, 128), (128, 64))
    _train(lambda x, y: x @ y, (4, 32, 64), (4, 64, 32))
    _train(F.scaled_dot_product_attention, *[(2, 4, 32, 16)] * 3)
    _train(nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), (4, 32, 64))


def _recurrences() -> None:
    for layer in (nn.RNN, nn.LSTM, nn.GRU):
        _train(layer(32, 64, num_layers=2), (6, 16, 32))
    _train(nn.RNN(32, 64, nonlinearity="relu"), (6, 16, 32))


def _places() -> None:
    words = randint(0, 100, (16, 12))
    _train(lambda weight: F.embedding(words, weight), (100, 64))
    _train(lambda x: x[randint(0, 64, (50,))], (64, 128))
    _train(lambda x: x.gather(1, randint(0, 128, (64, 50))), (64, 128))
    _train(lambda x: x.scatter_add(1, randint(0, 128, (64, 50)), x[:, :50]), (64, 128))
    _train(lambda x: x.index_add(0, randint(0, 64, (64,)), x), (64, 128))


def _images() -> None:
    images = (4, 16, 16, 16)
    for mode in ("nearest", "bilinear", "bicubic"):
        _train(lambda x, mode=mode: F.interpolate(x, scale_factor=2, mode=mode), images)
    for mode in ("nearest", "bilinear"):
        _train(lambda x, g, mode=mode: F.grid_sample(x, g, mode=mode), images, (4, 16, 16, 2))
    _each([lambda x: F.pad(x, (1, 1, 1, 1)), nn.ReflectionPad2d(1)], images)


PLAIN: tuple[Any, ...] = (
    *(optim.Adam, optim.AdamW, optim.Adamax, optim.NAdam, optim.RAdam),
    *(optim.Adagrad, optim.Adadelta, optim.RMSprop, optim.ASGD, optim.Rprop),
)


def _optimizers() -> None:
    makers: list[Callable[[Any], Any]] = [
        lambda p: optim.SGD(p, 0.01),
        lambda p: optim.SGD(p, 0.01, momentum=0.9, weight_decay=0.01),
        lambda p: optim.SGD(p, 0.01, momentum=0.9, nesterov=True),
        lambda p: optim.Adam(p, 0.01, weight_decay=0.01),
        lambda p: optim.Adam(p, 0.01, amsgrad=True),
        *(lambda p, make=make: make(p, 0.01) for make in PLAIN),
        lambda p: optim.RMSprop(p, 0.01, momentum=0.9, centered=True),
    ]
    for maker in makers:
        parameters = [nn.Parameter(randn(*shape)) for shape in ((64, 128), (5,), (16, 3, 3, 3))]
        optimizer = maker(parameters)
        for _ in range(2):  # the first step has no momentum yet
            for p in parameters:
                p.grad = randn(*p.shape)
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()


def _twice() -> None:
    """A gradient of a gradient, through a maximum."""
    x = randn(4, 32, 16, 16, requires_grad=True)
    (g,) = grad((F.max_pool2d(x, 2) ** 2).sum(), [x], create_graph=True)
    assert g is not None
    (g * g).sum().backward()


def _compiled() -> None:
    """A recorded step, in which layers are joined."""
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 64, 10),
    )
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    @compile
    def step(images: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(2):
        step(randn(16, 3, 16, 16), randint(10, (16,)))


FAMILIES: dict[str, Callable[[], None]] = {
    "elementwise": _elementwise,
    "rows": _rows,
    "products": _products,
    "convolutions": _convolutions,
    "pools": _pools,
    "norms": _norms,
    "recurrences": _recurrences,
    "places": _places,
    "images": _images,
    "optimizers": _optimizers,
    "second derivatives": _twice,
    "recorded steps": _compiled,
}
"""Each compiles a family of kernels, those that it shares with the ones before excepted."""
