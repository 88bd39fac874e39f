"""MobileNets, EfficientNets, ConvNeXts and vision transformers beside torchvision's."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torchvision import ops
from torchvision.models import (
    convnext,
    efficientnet,
    mnasnet,
    mobilenetv2,
    mobilenetv3,
    regnet,
    shufflenetv2,
    swin_transformer,
    vision_transformer,
)

import tinygrad_cv as tg
from tinygrad_cv import models, nn

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("one_thread")]

FILES = (mobilenetv2, mobilenetv3, efficientnet, convnext, vision_transformer)
FILES += (mnasnet, shufflenetv2, regnet, swin_transformer)
ABSENT = {"swin_v2_t", "swin_v2_s", "swin_v2_b"}
NAMES = [name for file in FILES for name in file.__all__ if name == name.lower()]
NAMES = [name for name in NAMES if name not in ABSENT]
"""The constructors of these files."""


def of(lib: Any, name: str) -> Any:
    """A thing of the models of one of the libraries, such as convnext.CNBlock."""
    *path, name = name.split(".")
    package = "tinygrad_cv" if lib is tg else "torchvision"
    return getattr(import_module(".".join([package, "models", *path])), name)


# ----- what is built -----------------------------------------------------------------------------


@pytest.fixture
def _nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes alone: memory that is not written costs nothing."""
    for name in ("kaiming_normal", "kaiming_uniform", "normal", "trunc_normal", "uniform"):
        for lib in (nn, torch.nn):
            monkeypatch.setattr(lib.init, f"{name}_", lambda tensor, *_, **__: tensor)
    for lib in (nn, torch.nn):
        monkeypatch.setattr(lib.init, "xavier_uniform_", lambda tensor, *_, **__: tensor)


def structure(model: Any) -> list[Any]:
    """The layers with their arguments, and the entries of the state in their order."""
    text = repr(model).replace("NonDynamicallyQuantizable", "").splitlines()
    state = model.state_dict()
    kind = {k: str(v.dtype).removeprefix("torch.") for k, v in state.items()}
    return [*text, *((k, tuple(v.shape), kind[k]) for k, v in state.items())]


@pytest.mark.usefixtures("_nothing_is_drawn")
@pytest.mark.parametrize("name", NAMES)
def test_layers_and_states_are_the_same(name: str) -> None:
    theirs = of(torch, name)(num_classes=7)
    assert structure(of(tg, name)(num_classes=7)) == structure(theirs)


def test_published_weights_are_known_by_the_same_facts() -> None:
    for name in NAMES:
        theirs = torchvision.models.get_model_weights(name)
        ours = models.get_model_weights(name)
        assert ours.__name__ == theirs.__name__
        assert [*ours.__members__] == [*theirs.__members__]
        for key, right in theirs.__members__.items():
            found, prepared = ours[key], right.transforms()
            assert found.name == right.name
            assert found.url == right.url
            for fact in ("num_params", "min_size", "categories"):
                assert found.meta[fact] == right.meta[fact]
            weights = found.value
            assert [weights.crop_size] == prepared.crop_size
            assert [weights.resize_size] == prepared.resize_size
            assert weights.interpolation == prepared.interpolation.value
            assert [*weights.mean, *weights.std] == [*prepared.mean, *prepared.std]


# ----- initial values ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "vit_b_32"),
        *("mnasnet0_5", "shufflenet_v2_x0_5", "regnet_y_400mf", "swin_t"),
    ],
)
def test_initial_values_have_the_same_law(name: str) -> None:
    torch.manual_seed(0)
    theirs, ours = of(torch, name)(), of(tg, name)(generator=tg.Generator().manual_seed(0))
    for (key, right), found in zip(
        theirs.state_dict().items(), ours.state_dict().values(), strict=True
    ):
        a, b = found.double().numpy(), right.double().numpy()
        n, spread = a.size, b.std()
        assert abs(a.mean() - b.mean()) <= 8 * spread / n**0.5, key
        assert abs(a.std() - spread) <= 8 * spread / n**0.5, key
        if n > 4096:  # 1.8 of a uniform law, 3 of a normal one
            tails = [np.mean((v - v.mean()) ** 4) for v in (a, b)]
            assert abs(tails[0] - tails[1]) <= 0.6 * spread**4, key


# ----- what is computed --------------------------------------------------------------------------


def randomized(model: Any, size: int | None = None) -> None:
    """Values that leave no gradient at 0; with a size, also statistics of such images."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            if name.endswith("layer_scale"):
                value.copy_(0.5 + 0.1 * noise)
            elif value.ndim == 1 or not value.any():
                value.add_(0.1 * noise)
        norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        usual = [m.momentum for m in norms]
        if norms and size is not None:
            for m in norms:
                m.momentum = 1.0
            model(torch.randn(4, 3, size, size, generator=generator))
            for m, momentum in zip(norms, usual, strict=True):
                m.momentum = momentum


def without_noise(model: Any) -> Any:
    """The model, which drops nothing in training."""
    for module in model.modules():
        if type(module).__name__ in ("Dropout", "StochasticDepth"):
            module.p = 0.0
        if type(module).__name__ == "MultiheadAttention":
            module.dropout = 0.0
    return model


def pair_of(make: Callable[[Any], Any], size: int | None = None) -> tuple[Any, Any]:
    """A model in both libraries, with the same random values."""
    torch.manual_seed(3)
    theirs = make(torch)
    randomized(theirs, size)
    ours = make(tg)
    ours.load_state_dict({k: tg.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    return without_noise(ours), without_noise(theirs)


def compare(
    pair: tuple[Any, Any], images: np.ndarray, tolerance: float, gradients: bool = True
) -> None:
    """Scores, running statistics, and gradients of a weighted sum of the scores.

    A difference counts in parts of the largest entry.
    """
    ours, theirs = (
        model.to(dtype=getattr(lib, str(images.dtype)))
        for lib, model in zip((tg, torch), pair, strict=True)
    )
    for model in pair:
        model.zero_grad()
    x, z = tg.tensor(images, requires_grad=True), torch.tensor(images, requires_grad=True)
    scores, right = ours(x), theirs(z)
    weights = np.random.default_rng(1).normal(size=tuple(right.shape)).astype(images.dtype)
    (scores * tg.tensor(weights)).sum().backward()
    (right * torch.tensor(weights)).sum().backward()
    found = {"scores": scores.detach(), **dict(ours.named_buffers())}
    expected = {"scores": right.detach(), **dict(theirs.named_buffers())}
    if gradients:
        found["images"], expected["images"] = x.grad, z.grad
        found |= {name: p.grad for name, p in ours.named_parameters()}
        expected |= {name: p.grad for name, p in theirs.named_parameters()}
    assert list(found) == list(expected)
    steepest = max(p.grad.abs().max().item() for p in theirs.parameters())
    for name, value in expected.items():
        # Of a shift that batch norm takes away again the gradient is 0, but for rounding.
        floor = 1e-3 * steepest if name.endswith("bias") else 0
        scale = max(value.abs().max().item(), floor)
        difference = np.abs(found[name].numpy() - value.numpy()).max()
        assert difference <= tolerance * scale, (name, difference / scale)


EXACT = 1e-6
"""The tolerance in float64. (The 1/6 in PyTorch's hard sigmoid and hard swish is of float32.)"""


def images_of(size: int, dtype: str, count: int = 2) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(count, 3, size, size)).astype(dtype)


SIZES = {
    "mobilenet_v2": 64,
    "mobilenet_v3_large": 64,
    "mobilenet_v3_small": 96,
    "efficientnet_b0": 64,
    "efficientnet_v2_s": 64,
    "convnext_tiny": 64,
    "vit_b_16": 64,
    "mnasnet0_5": 64,
    "shufflenet_v2_x0_5": 64,
    "regnet_y_400mf": 64,
    "regnet_x_400mf": 64,
    "swin_t": 72,
}


SMOOTH = {"efficientnet_b0", "convnext_tiny", "vit_b_16", "swin_t"}


@pytest.mark.parametrize("name", SIZES)
def test_scores_and_gradients(name: str, tmp_path: Path) -> None:
    size = SIZES[name]
    config = {"image_size": size} if name.startswith("vit") else {}
    torch.manual_seed(3)
    theirs = of(torch, name)(**config)
    randomized(theirs, size)
    path = tmp_path / f"{name}.pth"
    torch.save(theirs.state_dict(), path)
    ours = of(tg, name)(weights=path, **config)
    path.unlink()
    pair = without_noise(ours), without_noise(theirs)
    for model in pair:
        model.eval()
    if name != "efficientnet_v2_s":  # PyTorch's own scores are 9e-4 from those in float64 there
        # Gradients of a ReLU jump at 0, where rounding decides on which side a number is.
        compare(pair, images_of(size, "float32"), 1e-4, gradients=name in SMOOTH)
    compare(pair, images_of(size, "float64"), EXACT)
    for model in pair:
        model.train()
    compare(pair, images_of(size, "float64", 4), EXACT)


def test_a_vision_transformer_at_its_usual_size() -> None:
    pair = pair_of(lambda lib: of(lib, "vit_b_16")().eval())
    compare(pair, images_of(224, "float32", 1), 1e-4)


# ----- arguments that are not the usual ones -----------------------------------------------------


def own_block(lib: Any) -> Any:
    """A block of a user: of whatever arguments, one convolution."""

    class Block(lib.nn.Module):  # type: ignore[misc]
        def __init__(self, row: Any, *more: Any, **options: Any) -> None:
            super().__init__()
            if isinstance(row, int):  # of MobileNetV2 there are (inp, out, …), else (dim, …)
                sizes = (row, more[0]) if isinstance(more[0], int) else (row, row)
            else:
                sizes = row.input_channels, row.out_channels
            self.conv = lib.nn.Conv2d(*sizes, 1)

        def forward(self, x: Any) -> Any:
            return self.conv(x)

    return Block


def grouped(lib: Any) -> Any:
    """A normalization that does not look at the batch."""
    return partial(lib.nn.GroupNorm, 4)


def v2_of_other_layers(lib: Any) -> Any:
    return of(lib, "mobilenet_v2")(block=own_block(lib), norm_layer=grouped(lib))


def v3_of_other_layers(lib: Any) -> Any:
    return of(lib, "mobilenet_v3_small")(block=own_block(lib), norm_layer=grouped(lib))


def efficientnet_of_other_stages(lib: Any) -> Any:
    fused, plain = (of(lib, f"efficientnet.{kind}Config") for kind in ("FusedMBConv", "MBConv"))
    stages = [
        fused(1, 3, 1, 8, 8, 1),
        fused(2, 3, 2, 8, 16, 2),
        plain(3, 5, 2, 32, 24, 2, 0.5, 1.4),
        plain(2, 3, 1, 16, 24, 1, block=own_block(lib)),
    ]
    return of(lib, "EfficientNet")(stages, 0.1, 0.3, 9, grouped(lib), 40)


def convnext_of_other_stages(lib: Any) -> Any:
    rows = ((8, 16, 1), (16, 24, 2), (24, 32, 1))  # behind the last block there is a step too
    stages = [of(lib, "convnext.CNBlockConfig")(*row) for row in rows]
    norm = partial(of(lib, "convnext.LayerNorm2d"), eps=0.1)
    return of(lib, "ConvNeXt")(stages, 0.2, 0.5, 7, own_block(lib), norm)


def vit_of_another_norm(lib: Any) -> Any:
    norm = partial(lib.nn.LayerNorm, eps=0.5, bias=False)
    return of(lib, "VisionTransformer")(64, 16, 2, 4, 8, 16, norm_layer=norm)


def vit_of_convolutions(lib: Any) -> Any:
    row = of(lib, "vision_transformer.ConvStemConfig")
    stem = [row(6, 3, 2), row(8, 5, 4, grouped(lib), lib.nn.ReLU6)]
    return of(lib, "VisionTransformer")(64, 8, 1, 2, 8, 16, conv_stem_configs=stem)


def shufflenet_of_own_blocks(lib: Any) -> Any:
    sizes = [1, 2, 1], [8, 16, 24, 32, 40]
    return of(lib, "ShuffleNetV2")(*sizes, 6, of(lib, "shufflenetv2.InvertedResidual"))


def regnet_of_other_layers(lib: Any) -> Any:
    stages = of(lib, "regnet.BlockParams").from_init_params(7, 16, 9.5, 2.2, 12, 0.5, 0.3)
    options = {"stem_width": 12, "stem_type": of(lib, "regnet.SimpleStemIN")}
    options |= {"block_type": of(lib, "regnet.ResBottleneckBlock"), "norm_layer": grouped(lib)}
    return of(lib, "RegNet")(stages, 6, activation=lib.nn.ReLU6, **options)


def swin_of_other_sizes(lib: Any) -> Any:
    norm = partial(lib.nn.LayerNorm, eps=0.1)
    sizes = [2, 4], 8, [2, 1, 2], [1, 2, 4], [3, 5], 1.5, 0.1, 0.2, 0.3, 6, norm
    return of(lib, "SwinTransformer")(*sizes)


def swin_of_own_layers(lib: Any) -> Any:
    attention = partial(
        of(lib, "swin_transformer.ShiftedWindowAttention"), qkv_bias=False, proj_bias=False
    )
    block = partial(of(lib, "swin_transformer.SwinTransformerBlock"), attn_layer=attention)
    merging = of(lib, "swin_transformer.PatchMerging")
    sizes = [4, 4], 8, [2, 2], [2, 2], [32, 4]
    return of(lib, "SwinTransformer")(*sizes, block=block, downsample_layer=merging)


def with_config(name: str, *args: Any, **config: Any) -> Any:
    return lambda lib: of(lib, name)(*args, **config)


SETTING = [[1, 8, 2, 1], [3, 16, 2, 2]]
OTHERS = {
    "v2 width": with_config("mobilenet_v2", width_mult=0.35, round_nearest=4, dropout=0.5),
    "v2 setting": with_config("mobilenet_v2", inverted_residual_setting=SETTING, num_classes=5),
    "v2 layers": v2_of_other_layers,
    "v3 width": with_config("mobilenet_v3_large", width_mult=0.75),
    "v3 tail": with_config("mobilenet_v3_large", reduced_tail=True, dropout=0.4),
    "v3 dilated": with_config("mobilenet_v3_small", dilated=True, reduced_tail=True),
    "v3 layers": v3_of_other_layers,
    "efficientnet": with_config("efficientnet_b1", dropout=0.3, stochastic_depth_prob=0.4),
    "efficientnet stages": efficientnet_of_other_stages,
    "convnext": with_config("convnext_tiny", layer_scale=0.5, stochastic_depth_prob=0.7),
    "convnext stages": convnext_of_other_stages,
    "vit": with_config("VisionTransformer", 64, 8, 2, 3, 12, 24, 0.1, 0.2, 5, 16),
    "vit norm": vit_of_another_norm,
    "vit stem": vit_of_convolutions,
    "mnasnet": with_config("MNASNet", 0.3, 7, 0.4),
    "shufflenet": shufflenet_of_own_blocks,
    "regnet": regnet_of_other_layers,
    "swin sizes": swin_of_other_sizes,
    "swin layers": swin_of_own_layers,
}
"""Models with arguments that are not the usual ones."""


@pytest.mark.parametrize("name", OTHERS)
def test_other_arguments(name: str) -> None:
    ours, theirs = pair = pair_of(lambda lib: OTHERS[name](lib), 64)
    for model in pair:
        model.eval()
    assert structure(ours) == structure(theirs)
    compare(pair, images_of(64, "float64"), EXACT)
    probabilities = [getattr(m, "p", None) for m in OTHERS[name](tg).modules()]
    expected = [getattr(m, "p", None) for m in OTHERS[name](torch).modules()]
    assert probabilities == expected


# ----- the parts ---------------------------------------------------------------------------------


PARTS: dict[str, Callable[[Any, Any], Any]] = {
    "conv": lambda lib, o: o.Conv2dNormActivation(8, 8, (3, 5), 2, groups=2, dilation=(2, 1)),
    "conv alone": lambda lib, o: o.Conv2dNormActivation(
        8, 4, 3, padding=0, norm_layer=None, activation_layer=lib.nn.Hardswish, inplace=None
    ),
    "conv biased": lambda lib, o: o.Conv2dNormActivation(
        8, 4, padding="same", activation_layer=None, bias=True
    ),
    "squeeze": lambda lib, o: o.SqueezeExcitation(8, 3, lib.nn.SiLU, lib.nn.Hardsigmoid),
    "mlp": lambda lib, o: o.MLP(
        6, [5, 4, 3], lib.nn.LayerNorm, lib.nn.GELU, bias=False, dropout=0.1
    ),
    "mlp in place": lambda lib, o: o.MLP(6, [5, 2], inplace=True, dropout=0.1),
    "mlp plain": lambda lib, o: o.MLP(6, [2], activation_layer=None),
    "permute": lambda lib, o: lib.nn.Sequential(o.Permute([0, 3, 1, 2]), lib.nn.Conv2d(6, 2, 1)),
}


@pytest.mark.parametrize("name", PARTS)
def test_parts(name: str) -> None:
    ours, theirs = pair = pair_of(lambda lib: PARTS[name](lib, models if lib is tg else ops))
    assert structure(ours) == structure(theirs)
    compare(pair, np.random.default_rng(2).normal(size=(2, 8, 7, 6)), EXACT)


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
@pytest.mark.parametrize("reset", [False, True])
def test_embeddings_are_interpolated(mode: str, reset: bool) -> None:
    sizes = 8, 1, 2, 4, 8
    torch.manual_seed(0)
    state = of(torch, "VisionTransformer")(32, *sizes).state_dict()
    for size in (16, 56):
        right = vision_transformer.interpolate_embeddings(size, 8, state.copy(), mode, reset)
        given = {k: tg.tensor(v.numpy()) for k, v in state.items()}
        found = models.interpolate_embeddings(size, 8, given, mode, reset)
        assert {*found} == {*right}
        for name, value in right.items():
            np.testing.assert_allclose(found[name].numpy(), value.numpy(), rtol=1e-5, atol=1e-6)


def test_a_state_of_version_1_names_the_layers_in_another_way(tmp_path: Path) -> None:
    """The published files do."""
    make = with_config("VisionTransformer", 16, 8, 2, 2, 4, 8, num_classes=3)
    theirs = make(torch)
    randomized(theirs)
    state = {
        name.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"): value
        for name, value in theirs.state_dict().items()
    }
    torch.save(state, tmp_path / "old.pth")
    ours = make(tg)
    ours.load_state_dict(tg.load(tmp_path / "old.pth"))
    compare((ours, theirs), images_of(16, "float64"), EXACT)
