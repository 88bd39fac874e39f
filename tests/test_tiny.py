"""The whole stack in a few seconds, from a number to a network that learns. Read it as a tour."""

import math
import subprocess
import sys

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

import oracles
import tinygrad_cv as tg
from tinygrad_cv import nn, optim


def test_a_tensor_is_an_array() -> None:
    x = tg.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert (x.shape, x.ndim, x.dtype, x.device) == ((2, 3), 2, tg.float32, tg.get_default_device())
    assert (x + 10 * x).tolist() == [[11, 22, 33], [44, 55, 66]]
    assert (x - tg.tensor([1.0, 2.0, 3.0])).tolist() == [[0, 0, 0], [3, 3, 3]]
    assert x[1, ::2].tolist() == [4, 6]
    assert x.T.shape == (3, 2)
    assert (x @ x.T).tolist() == [[14, 32], [32, 77]]
    assert x.mean().item() == 3.5
    assert_array_equal(x.numpy(), [[1, 2, 3], [4, 5, 6]])


def test_that_remembers_how_it_was_computed() -> None:
    x = tg.tensor([3.0], requires_grad=True)
    y = x * x + 2 * x
    y.backward()
    assert x.grad.tolist() == [2 * 3 + 2]


def test_gradients_add_up_over_the_paths_of_a_graph() -> None:
    x = tg.tensor(2.0, requires_grad=True)
    a = x * x
    (a * x + a).backward()  # x³ + x², on four paths from x
    assert x.grad.item() == 3 * 2**2 + 2 * 2
    (x * x).backward()  # and over calls, until somebody forgets them
    assert x.grad.item() == 16 + 4


def test_a_gradient_is_the_slope_that_small_steps_find() -> None:
    w = np.random.default_rng(0).normal(size=(3, 4))
    x = np.random.default_rng(1).normal(size=(2, 4))

    def loss(w: oracles.Array) -> float:
        return float(np.log(1 / (1 + np.exp(-np.tanh(x @ w.T)))).sum())

    weight = tg.tensor(w, requires_grad=True)
    tg.sigmoid(tg.tanh(tg.tensor(x) @ weight.T)).log().sum().backward()
    assert_allclose(weight.grad.numpy(), oracles.numerical_gradient(loss, w), rtol=1e-7)


def test_gradients_have_gradients() -> None:
    x = tg.tensor(0.5, dtype=tg.float64, requires_grad=True)
    y = x.sin()
    for expected in (math.cos(0.5), -math.sin(0.5), -math.cos(0.5)):
        (y,) = tg.grad(y, x, create_graph=True)
        assert math.isclose(y.item(), expected)


def test_nothing_is_recorded_where_nobody_asks() -> None:
    w = tg.tensor(3.0, requires_grad=True)
    with tg.no_grad():
        assert not (w * w).requires_grad
    assert not w.detach().requires_grad
    assert (w * w).requires_grad


def test_the_graph_is_data_and_prints_itself() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    x.name = "x"
    loss = (x.tanh() ** 2).sum()
    assert str(tg.graph(loss)).splitlines() == [
        "%0  parameter  x          float32 (2,)",
        "%1  tanh       (%0)       float32 (2,)",
        "%2  pow        (%1)  n=2  float32 (2,)",
        "%3  sum        (%2)       float32 ()",
    ]


def test_a_rule_writes_its_own_formula() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    assert tg.formula(x.tanh()) == {"x": "g · 4 · sigmoid(2 · x) · sigmoid(-2 · x)"}
    assert tg.formula(x * x) == {"x": "g · y", "y": "g · x"}
    assert tg.formula(x / x) == {"x": "g / y", "y": "-g · x / y / y"}


def test_an_op_of_your_own_is_ten_lines() -> None:
    class Cube(tg.Op, register=False):
        def forward(self, xp, x):
            return x * x * x

        def local_x(self, F, x):
            return 3 * x * x

    x = tg.tensor(2.0, requires_grad=True)
    y = tg.function(Cube)(x)
    (first,) = tg.grad(y, x, create_graph=True)
    (second,) = tg.grad(first, x)
    assert (y.item(), first.item(), second.item()) == (8, 12, 12)
    assert tg.formula(Cube) == {"x": "g · 3 · x · x"}


def make_network() -> nn.Sequential:
    """Images (N, 1, 6, 6) to scores of 3 classes, in double precision to be compared."""
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, generator=np.random.default_rng(0)),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8, 3, generator=np.random.default_rng(1)),
    )
    for i in (0, 4):
        model[i].weight = nn.Parameter(model[i].weight.double())
        model[i].bias = nn.Parameter(model[i].bias.double())
    return model


def make_images() -> tuple[oracles.Array, oracles.Array]:
    """Noise with a bright bar: a row, a column, or none."""
    rng = np.random.default_rng(2)
    labels = np.arange(6) % 3
    images = rng.normal(0, 0.1, (6, 1, 6, 6))
    for image, label, place in zip(images, labels, rng.integers(1, 5, 6), strict=True):
        if label == 0:
            image[0, place] += 1
        elif label == 1:
            image[0, :, place] += 1
    return images, labels


def test_a_convnet_has_the_gradients_that_small_steps_find() -> None:
    model = make_network()
    images, labels = make_images()
    loss = tg.cross_entropy(model(tg.tensor(images)), tg.tensor(labels))
    loss.backward()
    values = [p.detach().numpy().copy() for p in model.parameters()]

    def by_hand(w: oracles.Array, b: oracles.Array, v: oracles.Array, c: oracles.Array) -> float:
        y = oracles.relu(oracles.conv2d(images, w) + b[:, None, None])
        y = y.reshape(6, 2, 2, 2, 2, 2).max((3, 5)).reshape(6, 8)  # 2x2 windows of 4x4 images
        return float(oracles.cross_entropy(y @ v.T + c, labels))

    assert math.isclose(loss.item(), by_hand(*values))
    for i, (name, parameter) in enumerate(model.named_parameters()):
        numerical = oracles.numerical_gradient(
            lambda value, i=i: by_hand(*values[:i], value, *values[i + 1 :]), values[i]
        )
        assert_allclose(parameter.grad.numpy(), numerical, atol=1e-8, err_msg=name)


def test_an_optimizer_steps_downhill_until_the_images_are_told_apart() -> None:
    model = make_network()
    images, labels = (tg.tensor(array) for array in make_images())
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    before = model[4].bias.detach().numpy().copy()
    loss = first = tg.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    assert_allclose(model[4].bias.detach().numpy(), before - 0.1 * model[4].bias.grad.numpy())

    for _ in range(100):
        optimizer.zero_grad()
        loss = tg.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1 < first.item()
    assert (model(images).argmax(axis=1) == labels).all()


def test_a_network_prints_its_graph_and_formulas() -> None:
    images, labels = make_images()
    model = make_network()
    loss = tg.cross_entropy(model(tg.tensor(images)), tg.tensor(labels), ignore_index=None)
    graph = tg.graph(loss)
    made = [node.label for node in graph if node.op is not None]
    assert made == ["conv2d", "relu", "max_pool2d", "reshape", "linear", "cross_entropy", "mean"]
    assert len(str(graph).splitlines()) == len(graph) == 7 + 4 + 2  # ops, parameters, data
    formulas = {node.label: tg.formula(node) for node in graph if node.op is not None}
    assert formulas["relu"] == {"x": "where(positive, g, 0.0)"}
    assert formulas["linear"] == {"x": "g @ w", "w": "gᵀ @ x", "b": "sum(g, axis=(0,))"}
    rule, *where = formulas["cross_entropy"]["x"].split("  where ")
    assert rule == "reshape(g, shape=(-1, 1)) · where(right, expm1(l), exp(l))"
    assert where == [
        "right = one_hot(labels, num_classes=3, dtype='bool'), l = log_softmax(x, axis=1)"
    ]


def test_the_parts_above_the_engine_are_there_when_they_are_asked_for() -> None:
    program = (
        "import sys, tinygrad_cv as tg\n"
        "print('tinygrad_cv.viz' in sys.modules, 'matplotlib' in sys.modules)\n"
        "x = tg.tensor([1.0], requires_grad=True)\n"
        "print('tanh' in tg.viz.draw(x.tanh()).source)\n"
        "print(tg.testing.check_gradients(tg.sin, [x]).order)\n"
        "tg.nowhere\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False", "True", "1"]
    assert "has no attribute 'nowhere'" in done.stderr
