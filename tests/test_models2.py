"""MobileNets, EfficientNets, ConvNeXts and vision transformers, and what they are made of."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_cv as tg
from tinygrad_cv import models, nn
from tinygrad_cv.models import (
    _blocks,
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

FILES = (convnext, efficientnet, mobilenetv2, mobilenetv3, vision_transformer)
FILES += (mnasnet, regnet, shufflenetv2, swin_transformer)


def small_efficientnet(**config: Any) -> nn.Module:
    stages = [
        models.FusedMBConvConfig(1, 3, 1, 8, 8, 1),
        models.FusedMBConvConfig(2, 3, 2, 8, 16, 2),
        models.MBConvConfig(3, 5, 2, 16, 16, 2),
    ]
    return models.EfficientNet(stages, 0.1, 0.3, last_channel=32, **config)


def small_convnext(**config: Any) -> nn.Module:
    stages = [models.CNBlockConfig(8, 16, 1), models.CNBlockConfig(16, None, 2)]
    return models.ConvNeXt(stages, 0.3, layer_scale=0.1, **config)


def small_vit(image_size: int = 32, **config: Any) -> nn.Module:
    return models.VisionTransformer(image_size, 8, 2, 2, 8, 16, 0.1, 0.1, **config)


def convolutional_vit(**config: Any) -> nn.Module:
    stem = [models.ConvStemConfig(4, 3, 2), models.ConvStemConfig(8, 3, 4)]
    return small_vit(representation_size=6, conv_stem_configs=stem, **config)


def small_mobilenet_v2(**config: Any) -> nn.Module:
    setting = [[1, 8, 1, 1], [4, 16, 2, 2]]
    return models.mobilenet_v2(width_mult=0.5, inverted_residual_setting=setting, **config)


def small_mobilenet_v3(**config: Any) -> nn.Module:
    return models.mobilenet_v3_small(width_mult=0.1, reduced_tail=True, **config)


def small_mnasnet(**config: Any) -> nn.Module:
    return models.MNASNet(0.1, **config)


def small_shufflenet(**config: Any) -> nn.Module:
    return models.ShuffleNetV2([1, 2, 1], [8, 16, 24, 32, 40], **config)


def small_regnet(**config: Any) -> nn.Module:
    stages = regnet.BlockParams([1, 2], [16, 24], [8, 6], [1.0, 0.5], [2, 2], 0.25)
    return models.RegNet(stages, stem_width=8, **config)


def small_swin(**config: Any) -> nn.Module:
    sizes = [2, 4], 8, [2, 1], [2, 4], [3, 4]
    return models.SwinTransformer(*sizes, dropout=0.1, attention_dropout=0.1, **config)


SMALL: dict[str, Callable[..., nn.Module]] = {
    make.__name__: make
    for make in (
        small_mobilenet_v2,
        small_mobilenet_v3,
        small_efficientnet,
        small_convnext,
        small_vit,
        convolutional_vit,
        small_mnasnet,
        small_shufflenet,
        small_regnet,
        small_swin,
    )
}
"""Networks of every kind, of a few blocks each."""


def values(model: nn.Module) -> list[np.ndarray]:
    return [tensor.numpy() for tensor in model.state_dict().values()]


# ----- what is built -----------------------------------------------------------------------------


@pytest.mark.host
def test_numbers_of_parameters_are_the_published_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    laws = "kaiming_normal", "kaiming_uniform", "normal", "trunc_normal", "uniform"
    for name in (*laws, "xavier_uniform"):
        # Nothing is drawn, so that the memory of the large ones is never touched.
        monkeypatch.setattr(nn.init, f"{name}_", lambda tensor, *_, **__: tensor)
    names = [name for file in FILES for name in models.list_models(file)]
    assert len(names) == 49
    for name in names:
        published = {
            (*member.value.config.items(), member.meta["num_params"])
            for member in models.get_model_weights(name)
            if member.meta["num_params"] < 3e7  # the others take more memory than a test should
        }
        for *config, number in published:
            model = models.get_model(name, **dict(config))
            assert sum(p.numel() for p in model.parameters()) == number


@pytest.mark.host
@pytest.mark.parametrize("make", SMALL.values(), ids=SMALL)
def test_a_step_of_training_lowers_the_loss(make: Callable[..., nn.Module]) -> None:
    generator = tg.Generator().manual_seed(1)
    model = make(num_classes=4, generator=generator).double()
    images = tg.randn(6, 3, 32, 32, dtype="float64", generator=generator)
    labels = tg.tensor([0, 1, 2, 3, 0, 1])
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # the statistics become those of the images
    model(images)
    model.eval()  # without noise, to be compared
    assert model(images).shape == (6, 4)
    losses = []
    for _ in range(2):
        loss = tg.cross_entropy(model(images), labels)
        losses.append(loss.item())
        model.zero_grad()
        loss.backward()
        gradients = [(p, p.grad) for p in model.parameters() if p.grad is not None]
        slope = sum((g * g).sum().item() for _, g in gradients)
        with tg.no_grad():
            for p, g in gradients:
                p -= 1e-6 / slope * g  # the loss falls by 1e-6, as far as it is a plane
    assert losses[0] - losses[1] == pytest.approx(1e-6, rel=0.05)
    model.train()(images).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", ["small_efficientnet", "small_convnext", "small_swin"])
def test_gradients_are_the_same_on_every_device(name: str, device: str) -> None:
    found = []
    for where in (device, "cpu"):
        model = SMALL[name](num_classes=4, generator=tg.Generator().manual_seed(1)).eval()
        images = tg.randn(2, 3, 32, 32, generator=tg.Generator().manual_seed(2))
        (model.to(where)(images.to(where)) ** 2).sum().backward()
        found.append([p.grad.numpy(force=True) for p in model.parameters() if p.grad is not None])
    for here, there in zip(*found, strict=True):
        assert_allclose(here, there, atol=1e-4 * np.abs(there).max() + 1e-30)


@pytest.mark.host
@pytest.mark.parametrize("make", SMALL.values(), ids=SMALL)
def test_a_generator_decides_alone(make: Callable[..., nn.Module]) -> None:
    """About weights and noise; and the default one is not touched."""
    images = tg.randn(3, 3, 32, 32)
    tg.manual_seed(7)
    before = tg.get_rng_state()
    first, again, other = (
        make(num_classes=4, generator=tg.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    outputs = [model.train()(images).numpy(force=True) for model in (first, again)]
    assert (tg.get_rng_state() == before).all()
    for a, b in zip(values(first), values(again), strict=True):
        assert_array_equal(a, b)
    assert_array_equal(*outputs)
    assert any((a != b).any() for a, b in zip(values(first), values(other), strict=True))
    tg.manual_seed(3)
    plain = make(num_classes=4)
    tg.manual_seed(3)
    for a, b in zip(values(plain), values(make(num_classes=4)), strict=True):
        assert_array_equal(a, b)


@pytest.mark.host
@pytest.mark.parametrize("make", SMALL.values(), ids=SMALL)
def test_a_state_goes_through_a_file(make: Callable[..., nn.Module], tmp_path: Path) -> None:
    generator = tg.Generator().manual_seed(1)
    model, copy = (make(num_classes=4, generator=generator) for _ in range(2))
    images = tg.randn(3, 3, 32, 32, generator=generator)
    model(images)  # so that running statistics are not what they begin with
    tg.save(model.state_dict(), tmp_path / "model.pth")
    copy.load_state_dict(tg.load(tmp_path / "model.pth"))
    assert list(copy.state_dict()) == list(model.state_dict())
    assert_array_equal(
        copy.eval()(images).numpy(force=True), model.eval()(images).numpy(force=True)
    )


@pytest.mark.host
@pytest.mark.usefixtures("compiled_kernels")
@pytest.mark.parametrize("name", ["small_efficientnet", "small_convnext", "small_swin"])
def test_a_compiled_step_is_the_step(name: str) -> None:
    """With dropout and stochastic depth, in float64, where rounding has no kinks to push over."""
    images, labels = tg.randn(4, 3, 32, 32, dtype="float64"), tg.tensor([0, 1, 2, 3])

    def trained(compiled: bool) -> list[Any]:
        generator = tg.Generator().manual_seed(1)
        model = SMALL[name](num_classes=4, generator=generator).double()
        optimizer = tg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        def step() -> Any:
            optimizer.zero_grad()
            loss = tg.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            return loss

        run = tg.compile(step) if compiled else step
        return [*(run().item() for _ in range(3)), *values(model)]

    for plain, fast in zip(trained(False), trained(True), strict=True):
        assert_allclose(fast, plain, rtol=1e-9, atol=1e-12)


# ----- stochastic depth --------------------------------------------------------------------------


@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    p=st.floats(0, 1),
    mode=st.sampled_from(["row", "batch"]),
    seed=st.integers(0, 2**32),
)
def test_stochastic_depth_drops_wholes(shape: list[int], p: float, mode: str, seed: int) -> None:
    x = tg.rand(*shape, dtype="float64", requires_grad=True)
    layer = models.StochasticDepth(p, mode, generator=tg.Generator().manual_seed(seed))
    y = layer(x)
    (g,) = tg.grad(y, x, tg.ones(*shape, dtype="float64"))
    assert g is not None
    kept = 1 / (1 - p) if p < 1 else 0.0
    wholes = g.numpy().reshape(1 if mode == "batch" else shape[0], -1)
    assert all((w == 0).all() or (w == w[0]).all() for w in wholes)
    assert_allclose(wholes[wholes != 0], kept)
    assert_allclose(y.detach().numpy(), (g * x).detach().numpy())
    again = models.stochastic_depth(x, p, mode, generator=tg.Generator().manual_seed(seed))
    assert_array_equal(again.detach().numpy(), y.detach().numpy())
    assert layer.eval()(x) is x


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_stochastic_depth_drops_as_often_as_it_says(p: float) -> None:
    rows = models.stochastic_depth(tg.ones(4000, 2), p, "row", generator=np.random.default_rng(1))
    dropped = (rows[:, 0] == 0).double().mean().item()
    deviation = math.sqrt(p * (1 - p) / 4000)
    assert abs(dropped - p) < 5 * deviation
    assert abs(rows.mean().item() - 1) < 5 * deviation / (1 - p)
    generator = np.random.default_rng(2)
    batches = [
        models.stochastic_depth(tg.ones(3, 1), p, "batch", generator=generator).sum().item()
        for _ in range(300)
    ]
    assert abs(batches.count(0.0) / 300 - p) < 5 * math.sqrt(p * (1 - p) / 300)


@pytest.mark.host
def test_blocks_are_absent_more_often_the_deeper_they_lie() -> None:
    def found(model: nn.Module) -> list[float]:
        return [m.p for m in model.modules() if isinstance(m, models.StochasticDepth)]

    assert found(small_efficientnet()) == pytest.approx([0.0, 0.06, 0.12, 0.18, 0.24])
    assert found(small_convnext()) == pytest.approx([0.0, 0.15, 0.3])
    alone = models.ConvNeXt([models.CNBlockConfig(8, None, 1)], 0.3)
    assert found(alone) == [0.0]


# ----- the parts, by their formulas --------------------------------------------------------------


def numbers(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def random_(module: Any) -> Any:
    """The module, in float64, with values that are not those it begins with."""
    module.double()
    generator = np.random.default_rng(3)
    for p in module.parameters():
        p.data.copy_(tg.tensor(generator.normal(size=p.shape)))
    return module


def layer_norm(x: np.ndarray, weight: Any, bias: Any, eps: float) -> np.ndarray:
    x = x - x.mean(-1, keepdims=True)
    normal: np.ndarray = x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight + bias
    return normal


def gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


X = np.random.default_rng(4).normal(size=(2, 4, 5, 6))


def test_squeeze_and_excitation() -> None:
    layer = random_(models.SqueezeExcitation(4, 3))
    v = numbers(layer)
    squeezed = v["fc1.weight"][:, :, 0, 0] @ X.mean((2, 3)).T + v["fc1.bias"][:, None]
    scale = v["fc2.weight"][:, :, 0, 0] @ np.maximum(squeezed, 0) + v["fc2.bias"][:, None]
    expected = X / (1 + np.exp(-scale.T[:, :, None, None]))
    assert_allclose(layer(tg.tensor(X)).numpy(force=True), expected)


def test_a_block_of_convnext() -> None:
    layer = random_(convnext.CNBlock(4, 0.5, 0.0))
    v = numbers(layer)
    padded = np.pad(X, ((0, 0), (0, 0), (3, 3), (3, 3)))
    seen = np.empty((2, 5, 6, 4))
    for row in range(5):
        for column in range(6):
            window = padded[:, :, row : row + 7, column : column + 7]
            seen[:, row, column] = (window * v["block.0.weight"][:, 0]).sum((2, 3))
    normal = layer_norm(seen + v["block.0.bias"], v["block.2.weight"], v["block.2.bias"], 1e-6)
    wide = gelu(normal @ v["block.3.weight"].T + v["block.3.bias"])
    back = wide @ v["block.5.weight"].T + v["block.5.bias"]
    expected = X + v["layer_scale"] * back.transpose(0, 3, 1, 2)
    assert_allclose(layer(tg.tensor(X)).numpy(force=True), expected)


def test_a_block_of_a_transformer() -> None:
    layer = random_(vision_transformer.EncoderBlock(2, 6, 7, 0.0, 0.0))
    v = numbers(layer)
    z = X[0]  # of 4 samples, 5 tokens of 6 features
    normal = layer_norm(z, v["ln_1.weight"], v["ln_1.bias"], 1e-6)
    joined = normal @ v["self_attention.in_proj_weight"].T + v["self_attention.in_proj_bias"]
    seen = np.empty_like(z)
    for sample in range(4):
        for head in range(2):
            q, k, u = (joined[sample, :, part * 6 + head * 3 :][:, :3] for part in range(3))
            weights = np.exp(q @ k.T / math.sqrt(3))
            seen[sample, :, 3 * head : 3 * head + 3] = weights / weights.sum(1, keepdims=True) @ u
    z = z + seen @ v["self_attention.out_proj.weight"].T + v["self_attention.out_proj.bias"]
    normal = layer_norm(z, v["ln_2.weight"], v["ln_2.bias"], 1e-6)
    wide = gelu(normal @ v["mlp.0.weight"].T + v["mlp.0.bias"])
    expected = z + wide @ v["mlp.3.weight"].T + v["mlp.3.bias"]
    assert_allclose(layer(tg.tensor(X[0])).numpy(force=True), expected)


@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    window=st.tuples(st.integers(2, 4), st.integers(2, 4)),
    moved=st.booleans(),
    data=st.data(),
)
def test_pixels_attend_to_their_window(
    rows: int, columns: int, window: tuple[int, int], moved: bool, data: st.DataObject
) -> None:
    """A change of one pixel is seen in its window, moved or not, and nowhere else."""
    shift = [size // 2 if moved else 0 for size in window]
    layer = random_(swin_transformer.ShiftedWindowAttention(4, window, shift, 2))
    x = np.random.default_rng(1).normal(size=(1, rows, columns, 4))
    i, j = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    other = x.copy()
    other[0, i, j] += 1e-2
    a, b = (layer(tg.tensor(v)).numpy(force=True) for v in (x, other))

    def part(k: int, axis: int) -> int:
        """The window that a row or a column is in; one that is as large as the image stays."""
        size = (rows, columns)[axis]
        return (k - (shift[axis] if size > window[axis] else 0)) // window[axis]

    near = [
        [part(k, 0) == part(i, 0) and part(m, 1) == part(j, 1) for m in range(columns)]
        for k in range(rows)
    ]
    assert_array_equal(np.abs(a - b).max(-1)[0] > 1e-12, near)


def test_attention_in_a_window_that_is_the_image() -> None:
    layer = random_(swin_transformer.ShiftedWindowAttention(6, [2, 3], [1, 1], 2))
    v = numbers(layer)
    x = np.random.default_rng(1).normal(size=(2, 3, 6))
    q, k, u = np.split(x.reshape(6, 6) @ v["qkv.weight"].T + v["qkv.bias"], 3, axis=1)
    seen = np.zeros((6, 6))
    for head in (slice(0, 3), slice(3, 6)):
        similar = q[:, head] @ k[:, head].T / math.sqrt(3)
        for a in range(6):
            for b in range(6):
                down, right = a // 3 - b // 3, a % 3 - b % 3
                place = (down + 1) * 5 + right + 2
                similar[a, b] += v["relative_position_bias_table"][place, head.start // 3]
        weights = np.exp(similar)
        seen[:, head] = weights / weights.sum(1, keepdims=True) @ u[:, head]
    expected = (seen @ v["proj.weight"].T + v["proj.bias"]).reshape(1, 2, 3, 6)
    assert_allclose(layer(tg.tensor(x[None])).numpy(force=True), expected)


def test_pixels_are_merged() -> None:
    layer = random_(swin_transformer.PatchMerging(2))
    v = numbers(layer)
    x = np.random.default_rng(1).normal(size=(1, 3, 4, 2))
    filled = np.concatenate([x, np.zeros((1, 1, 4, 2))], 1)
    expected = np.empty((1, 2, 2, 4))
    for i in range(2):
        for j in range(2):
            corners = [filled[0, 2 * i + k, 2 * j + m] for m in (0, 1) for k in (0, 1)]
            normal = layer_norm(np.concatenate(corners), v["norm.weight"], v["norm.bias"], 1e-5)
            expected[0, i, j] = v["reduction.weight"] @ normal
    assert_allclose(layer(tg.tensor(x)).numpy(force=True), expected)


def test_layer_norm_of_pixels() -> None:
    layer = random_(models.LayerNorm2d(4, eps=0.1))
    v = numbers(layer)
    expected = layer_norm(X.transpose(0, 2, 3, 1), v["weight"], v["bias"], 0.1)
    assert_allclose(layer(tg.tensor(X)).numpy(force=True), expected.transpose(0, 3, 1, 2))


@given(
    kernel=st.tuples(st.sampled_from([1, 3, 5]), st.sampled_from([1, 3, 5])),
    dilation=st.integers(1, 2),
    norm=st.sampled_from([None, nn.BatchNorm2d]),
    activation=st.sampled_from([None, nn.ReLU, nn.SiLU]),
    bias=st.sampled_from([None, False, True]),
)
def test_convolution_normalization_activation(
    kernel: tuple[int, int], dilation: int, norm: Any, activation: Any, bias: bool | None
) -> None:
    layer = models.Conv2dNormActivation(
        2,
        4,
        kernel,
        groups=2,
        norm_layer=norm,
        activation_layer=activation,
        dilation=dilation,
        bias=bias,
    )
    assert [type(m) for m in layer] == [nn.Conv2d, *filter(None, [norm, activation])]
    assert (layer[0].bias is not None) == (norm is None if bias is None else bias)
    assert layer.out_channels == 4
    x = tg.rand(2, 2, 6, 7)
    y = layer(x)
    assert y.shape == (2, 4, 6, 7)
    for part in layer:
        x = part(x)
    assert_array_equal(y.numpy(force=True), x.numpy(force=True))


@pytest.mark.host
def test_linear_layers_in_a_row() -> None:
    layer = models.MLP(4, [5, 3], nn.LayerNorm, nn.GELU, dropout=0.2, bias=False)
    kinds = [nn.Linear, nn.LayerNorm, nn.GELU, nn.Dropout, nn.Linear, nn.Dropout]
    assert [type(m) for m in layer] == kinds
    assert (layer[3].p, layer[0].bias, layer[3].inplace) == (0.2, None, False)
    assert models.MLP(4, [5, 3], inplace=True)[1].inplace
    with pytest.raises(ValueError, match="a number for each linear layer; got none"):
        models.MLP(4, [])


@pytest.mark.host
@given(v=st.floats(0.1, 1e4), divisor=st.integers(1, 64))
def test_channels_are_multiples(v: float, divisor: int) -> None:
    channels = _blocks.make_divisible(v, divisor)
    assert channels % divisor == 0
    assert channels >= max(divisor, 0.9 * v)
    assert channels <= max(divisor, v + divisor)
    if v >= 10 * divisor:
        assert abs(channels - v) <= divisor / 2


# ----- images of another size --------------------------------------------------------------------


@given(side=st.integers(2, 6), new_side=st.integers(1, 7), features=st.integers(1, 3))
def test_places_are_interpolated(side: int, new_side: int, features: int) -> None:
    """Of a plane over the old grid become the same plane over the new one, corner on corner."""
    assume(new_side > 1)
    slope = np.random.default_rng(side).normal(size=(3, features))

    def plane(n: int) -> np.ndarray:
        row, column = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n), indexing="ij")
        return np.stack([np.ones(n * n), row.ravel(), column.ravel()], 1) @ slope

    token = np.full((1, features), 9.0)
    places = np.concatenate([token, plane(side)])[None]
    state = {"encoder.pos_embedding": tg.tensor(places), "heads.head.bias": tg.zeros(3)}
    for size in (new_side * 4, new_side * 4 + 3):
        found = models.interpolate_embeddings(size, 4, state, "bilinear")
        expected = np.concatenate([token, plane(new_side)])[None]
        assert_allclose(found["encoder.pos_embedding"].numpy(), expected, atol=1e-9)
    assert list(found) == list(state)
    assert list(models.interpolate_embeddings(8, 4, state, reset_heads=True)) == [*state][:1]
    assert state["encoder.pos_embedding"].shape == places.shape


def test_weights_of_another_image_size_are_interpolated() -> None:
    generator = tg.Generator().manual_seed(1)
    config = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 8, "num_classes": 3}
    small = models.VisionTransformer(64, 32, generator=generator, **config)

    def of_size(image_size: int) -> Any:
        state = vision_transformer._at_its_size(
            dict(small.state_dict()), models.VisionTransformer(image_size, 32, **config)
        )
        model = models.VisionTransformer(image_size, 32, **config)
        model.load_state_dict(state)
        return model

    images = tg.randn(1, 3, 64, 64, generator=generator)
    assert_array_equal(of_size(64)(images).numpy(force=True), small(images).numpy(force=True))
    assert of_size(128)(tg.ones(1, 3, 128, 128)).shape == (1, 3)


@pytest.mark.host
def test_what_a_vision_transformer_refuses() -> None:
    places = {"encoder.pos_embedding": tg.zeros(1, 7, 2)}
    with pytest.raises(ValueError, match="6 places of patches are no square grid"):
        models.interpolate_embeddings(32, 8, places)
    with pytest.raises(
        ValueError, match=r"is \(1, places, hidden_dim\); got the shape \(2, 5, 3\)"
    ):
        models.interpolate_embeddings(32, 8, {"encoder.pos_embedding": tg.zeros(2, 5, 3)})
    with pytest.raises(ValueError, match="patch_size=7 must divide image_size=32"):
        models.VisionTransformer(32, 7, 1, 1, 4, 4)
    model = small_vit()
    for shape in ((1, 3, 40, 40), (3, 32, 32), (1, 3, 32, 24)):
        with pytest.raises(ValueError, match=r"expected images \(N, 3, 32, 32\); got the shape"):
            model(tg.ones(*shape))
    with pytest.raises(ValueError, match=r"expected tokens \(N, tokens, hidden_dim\)"):
        vision_transformer.EncoderBlock(1, 4, 4, 0.0, 0.0)(tg.ones(3, 4))


@pytest.mark.host
def test_older_states_name_the_layers_in_another_way() -> None:
    """The published ones: linear_1 and linear_2, and they say no version."""
    model, other = small_vit(), small_vit()
    state = {
        name.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"): value
        for name, value in model.state_dict().items()
    }
    other.load_state_dict(state)
    for a, b in zip(values(model), values(other), strict=True):
        assert_array_equal(a, b)


# ----- wrong arguments ---------------------------------------------------------------------------


@pytest.mark.host
@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: models.StochasticDepth(0.5, "rows"), ValueError, "'batch' or 'row'; got 'rows'"),
        (lambda: models.StochasticDepth(1.5, "row"), ValueError, "probability.*got 1.5"),
        (lambda: mobilenetv2.InvertedResidual(8, 8, 3, 6), ValueError, "1 or 2; got 3"),
        (
            lambda: models.MobileNetV2(inverted_residual_setting=[[1, 8, 1]]),
            ValueError,
            r"rows \(expansion, channels, number of blocks, stride\); got \[\[1, 8, 1\]\]",
        ),
        (lambda: models.MobileNetV2(inverted_residual_setting=[]), ValueError, r"got \[\]"),
        (lambda: models.MobileNetV3([], 8), ValueError, "a row for each stage; got none"),
        (lambda: models.MobileNetV3([(1, 2)], 8), TypeError, "list of InvertedResidualConfig"),
        (
            lambda: models.EfficientNet([models.CNBlockConfig(8, 8, 1)], 0.1),
            TypeError,
            "list of MBConvConfig or FusedMBConvConfig; got",
        ),
        (
            lambda: models.EfficientNet([models.MBConvConfig(1, 3, 3, 8, 8, 1)], 0.1),
            ValueError,
            "1 or 2; got 3",
        ),
        (lambda: models.MNASNet(0.0), ValueError, "above 0; got 0.0"),
        (lambda: models.ShuffleNetV2([1], [8]), ValueError, r"5; got \[1\] and \[8\]"),
        (lambda: shufflenetv2.InvertedResidual(8, 8, 4), ValueError, "1, 2 or 3; got 4"),
        (lambda: shufflenetv2.InvertedResidual(6, 8, 1), ValueError, "got 6 and 8"),
        (lambda: regnet.BlockParams.from_init_params(3, 9, 1, 2, 8), ValueError, "w_0=9"),
        (lambda: models.SwinTransformer([4, 4], 8, [1], [1, 2], [7, 7]), ValueError, "each stage"),
        (
            lambda: swin_transformer.ShiftedWindowAttention(4, [7], [3], 1),
            ValueError,
            r"\(rows, columns\); got \[7\]",
        ),
        (lambda: models.ConvNeXt([]), ValueError, "a row for each stage; got none"),
        (lambda: models.mobilenet_v3_small(widht_mult=2.0), TypeError, "widht_mult"),
    ],
)
def test_wrong_arguments(call: Callable[[], Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        call()
