"""The models beside torchvision's: names, shapes and order of the state, outputs and gradients."""

import inspect
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tinygrad_cv as tg
from tinygrad_cv import models
from tinygrad_cv.nn.init import undrawn

torchvision = pytest.importorskip("torchvision")
theirs: Any = torchvision.models

pytestmark = pytest.mark.host  # what is compared are values on the CPU

SHARED = [name for name in models.list_models() if name in theirs.list_models()]
ON_META = [name for name in SHARED if not name.startswith("regnet")]
"""torchvision's RegNets read numbers as they are built; test_models2 has two of them."""


def made(name: str, **config: Any) -> Any:
    """torchvision's model, with random statistics and scales in its batch norms."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of new defaults to come
        torch.manual_seed(0)
        model = theirs.get_model(name, **config)
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(layer.running_mean, std=0.1)
            torch.nn.init.uniform_(layer.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
            torch.nn.init.normal_(layer.bias, std=0.1)
    return model


@pytest.mark.parametrize("name", ON_META)
def test_the_state_has_the_names_the_shapes_and_the_order(name: str) -> None:
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawn = "init_weights" in inspect.signature(type(theirs.get_model(name))).parameters
        original = theirs.get_model(name, **({"init_weights": False} if drawn else {}))
    with undrawn():
        model = models.get_model(name)
    assert [(k, tuple(v.shape)) for k, v in model.state_dict().items()] == [
        (k, tuple(v.shape)) for k, v in original.state_dict().items()
    ]
    assert [k for k, _ in model.named_modules()] == [k for k, _ in original.named_modules()]


@pytest.mark.parametrize("name", SHARED)
def test_the_downloads_are_torchvision_s(name: str) -> None:
    ours, original = models.get_model_weights(name), theirs.get_model_weights(name)
    assert ours.__name__ == original.__name__
    assert ours.__members__.keys() == original.__members__.keys()
    for member, there in original.__members__.items():
        here = ours[member]
        assert (here.name, here.url) == (there.name, there.url)
        for fact, value in here.meta.items():
            expected = there.meta.get(fact)
            assert (list(value) if isinstance(value, tuple) else value) == (
                list(expected) if isinstance(expected, tuple) else expected
            )
        for option, value in there.transforms.keywords.items():
            if option == "interpolation":
                assert here.value.interpolation == getattr(value, "value", value)
            else:
                assert np.allclose(getattr(here.value, option), value)


@pytest.mark.parametrize("name", ON_META)
def test_the_classes_take_the_same_arguments(name: str) -> None:
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        original = inspect.signature(type(theirs.get_model(name)).__init__).parameters
    with undrawn():
        ours = inspect.signature(type(models.get_model(name)).__init__).parameters
    positional = [name for name, p in original.items() if p.kind is not p.VAR_KEYWORD]
    assert [*ours][: len(positional) + 1] == [*positional, "generator"]
    for argument in positional:
        if argument != "init_weights":  # where torchvision warns of a default to come
            here, there = (
                re.sub(r"[\w.]+\.", "", str(p[argument].default)) for p in (ours, original)
            )
            assert here == there


def outputs_of(y: Any) -> list[Any]:
    """All scores: those of a named tuple, too."""
    return [*y] if isinstance(y, tuple) else [y]


COMPARED = [
    ("alexnet", 64, {"dropout": 0}),
    ("vgg16_bn", 64, {"dropout": 0}),
    ("resnet18", 64, {}),
    ("resnet34", 65, {"num_classes": 7}),
    ("resnet50", 64, {}),
    ("resnet50", 40, {"replace_stride_with_dilation": [False, True, True], "num_classes": 5}),
    ("resnext50_32x4d", 40, {"num_classes": 5}),
    ("densenet121", 64, {}),
    ("densenet121", 40, {"memory_efficient": True, "num_classes": 5}),
    ("squeezenet1_0", 64, {"dropout": 0}),
    ("squeezenet1_1", 65, {"dropout": 0}),
    ("googlenet", 64, {"dropout": 0, "dropout_aux": 0, "transform_input": True}),
    ("inception_v3", 80, {"dropout": 0, "aux_logits": False, "transform_input": True}),
    ("inception_v3", 299, {"dropout": 0, "num_classes": 5}),  # the least for its other scores
]


@pytest.mark.parametrize(("name", "size", "config"), COMPARED)
def test_outputs_and_gradients_agree(name: str, size: int, config: dict[str, Any]) -> None:
    """To 1e-4 of the largest entry: outputs of evaluation in float32, all the others in float64.

    In float32 a ReLU whose input is rounded to the other side of 0 turns its gradient on or off:
    PyTorch's own gradients of ResNet-50 are 0.03 away from those that it computes in float64.
    """
    original = made(name, **config)
    model = models.get_model(name, weights=original.state_dict(), **config)
    x = np.random.default_rng(0).normal(size=(2, 3, size, size))
    with tg.no_grad(), torch.no_grad():
        here = model.eval()(tg.tensor(x.astype("float32")))
        agree("the output", here, original.eval()(torch.tensor(x.astype("float32"))))
    original, model = original.double(), model.double()
    for training in (False, True) if size < 200 else (True,):
        theirs_x, ours_x = torch.tensor(x, requires_grad=True), tg.tensor(x, requires_grad=True)
        expected = outputs_of(original.train(training)(theirs_x))
        found = outputs_of(model.train(training)(ours_x))
        draw = np.random.default_rng(1)
        weights = [draw.normal(size=y.shape) for y in expected]
        sum((y * torch.tensor(w)).sum() for y, w in zip(expected, weights, strict=True)).backward()
        sum((y * tg.tensor(w)).sum() for y, w in zip(found, weights, strict=True)).backward()
        for here, there in zip(found, expected, strict=True):
            agree("the output", here, there)
        agree("the gradient of the input", ours_x.grad, theirs_x.grad)
        gradients = dict(original.named_parameters())
        for path, parameter in model.named_parameters():
            if training or not path.startswith("aux"):  # which evaluation leaves out
                agree(path, parameter.grad, gradients[path].grad, least=1e-6)
            parameter.grad = gradients[path].grad = None
        for path, buffer in model.named_buffers():
            agree(path, buffer, original.get_buffer(path))


def agree(what: str, ours: Any, theirs: Any, least: float = 0.0) -> None:
    """Equal to 1e-4 of the largest entry, or of `least`, where all of it is rounding."""
    a, b = ours.detach().numpy(), theirs.detach().numpy()
    largest = max(np.abs(b).max(), least)
    assert np.abs(a - b).max() <= 1e-4 * largest, (what, np.abs(a - b).max(), largest)


def test_files_of_pytorch_load(tmp_path: Path) -> None:
    original = made("resnet18", num_classes=3).eval()
    torch.save(original.state_dict(), tmp_path / "net.pth")
    x = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype("float32")
    for path in (tmp_path / "net.pth", str(tmp_path / "net.pth")):
        model = models.resnet18(weights=path, num_classes=3).eval()
        with tg.no_grad(), torch.no_grad():
            agree("the output", model(tg.tensor(x)), original(torch.tensor(x)))


def test_the_older_names_of_densenet_load() -> None:
    """Those of the published files, which torchvision renames by the same rule."""
    state = made("densenet121", num_classes=3).state_dict()
    older = {re.sub(r"(denselayer\d+\.\w+)([12]\.)", r"\1.\2", k): v for k, v in state.items()}
    older = {k: v for k, v in older.items() if "num_batches" not in k}
    assert "features.denseblock4.denselayer16.conv.2.weight" in older
    model = models.densenet121(weights=older, num_classes=3)
    for name, value in model.state_dict().items():
        if "num_batches" not in name:
            agree(name, value, state[name])


def test_a_published_googlenet_leaves_out_its_other_scores() -> None:
    state = made("googlenet", num_classes=3, aux_logits=True).state_dict()
    plain = models.googlenet(weights=state, num_classes=3, aux_logits=False)
    assert not [name for name in plain.state_dict() if name.startswith("aux")]
    assert models.googlenet(weights=state, num_classes=3).aux1 is not None


def test_a_compiled_resnet_agrees_and_trains() -> None:
    """In evaluation with torchvision's outputs, and in training with the eager step."""
    original = made("resnet18", num_classes=5).eval()
    state = original.state_dict()
    x = np.random.default_rng(0).normal(size=(4, 3, 64, 64)).astype("float32")
    labels = tg.tensor([0, 1, 2, 3])
    nets = [models.resnet18(weights=state, num_classes=5).eval() for _ in range(2)]
    with tg.no_grad(), torch.no_grad():
        agree("the output", tg.compile(nets[0])(tg.tensor(x)), original(torch.tensor(x)))

    def training(model: Any) -> Any:
        optimizer = tg.optim.SGD(model.train().parameters(), lr=1e-3, momentum=0.9)

        def step(x: Any, labels: Any) -> Any:
            loss = tg.nn.functional.cross_entropy(model(x), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        return step

    compiled, eager = tg.compile(training(nets[0])), training(nets[1])
    for _ in range(3):
        agree("the loss", compiled(tg.tensor(x), labels), eager(tg.tensor(x), labels))
    for (name, a), b in zip(
        nets[0].state_dict().items(), nets[1].state_dict().values(), strict=True
    ):
        agree(name, a, b)
