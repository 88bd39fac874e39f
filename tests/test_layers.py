"""Layers: what they hand to the functions, what they hold, and how it starts."""

import copy
import math
import pickle
import warnings
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import oracles
import tinygrad_cv as tg
from tinygrad_cv import nn
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn.conv import _ConvNd
from tinygrad_cv.testing import check_gradients, no_sync


def draw(*shape: int, seed: int = 0, dtype: str = "float64") -> tg.Tensor:
    return tg.tensor(np.random.default_rng(seed).normal(size=shape), dtype=dtype)


X2, X3, X4, X5 = (2, 6), (2, 4, 6), (2, 4, 6, 6), (2, 4, 4, 6, 6)

# ----- a layer calls its function with what it was given -----------------------------------------

Same = tuple[nn.Module, Callable[[tg.Tensor], Any], tuple[int, ...], str]
"""A layer, the call that it stands for, the shape of the input, and its repr."""


def pools(axes: int) -> list[Same]:
    """The pools of so many axes, with no argument as it would be by default."""
    x = (X3, X4, X5)[axes - 1]
    cls = {
        name: getattr(nn, f"{name}{axes}d")
        for name in ("MaxPool", "AvgPool", "LPPool", "AdaptiveAvgPool", "AdaptiveMaxPool")
    }
    f = {
        name: getattr(F, f"{name}_pool{axes}d")
        for name in ("max", "avg", "lp", "adaptive_avg", "adaptive_max")
    }
    divisor = {} if axes == 1 else {"divisor_override": 5}
    three = "(3,), stride=(2,), padding=(1,)" if axes == 1 else "3, stride=2, padding=1"
    return [
        (
            cls["MaxPool"](3, 2, 1, 1, return_indices=True, ceil_mode=True),
            lambda x: f["max"](x, 3, 2, 1, 1, True, True),
            x,
            "kernel_size=3, stride=2, padding=1, dilation=1, ceil_mode=True",
        ),
        (
            cls["AvgPool"](3, 2, 1, True, False, **divisor),
            lambda x: f["avg"](x, 3, 2, 1, True, False, *divisor.values()),
            x,
            f"kernel_size={three}",
        ),
        (
            cls["LPPool"](3, 3, 2, True),
            lambda x: f["lp"](x, 3.0, 3, 2, True),
            x,
            "norm_type=3, kernel_size=3, stride=2, ceil_mode=True",
        ),
        (
            cls["AdaptiveAvgPool"](3),
            lambda x: f["adaptive_avg"](x, 3),
            x,
            "output_size=3",
        ),
        (
            cls["AdaptiveMaxPool"](3, return_indices=True),
            lambda x: f["adaptive_max"](x, 3, True),
            x,
            "output_size=3",
        ),
    ]


SAME: list[Same] = [
    (nn.ReLU(), tg.relu, X2, ""),
    (nn.ReLU6(), tg.relu6, X2, ""),
    (nn.SELU(), tg.selu, X2, ""),
    (nn.SiLU(), tg.silu, X2, ""),
    (nn.Mish(), tg.mish, X2, ""),
    (nn.Sigmoid(), tg.sigmoid, X2, ""),
    (nn.Tanh(), tg.tanh, X2, ""),
    (nn.Hardsigmoid(), tg.hardsigmoid, X2, ""),
    (nn.Hardswish(), tg.hardswish, X2, ""),
    (nn.LogSigmoid(), tg.logsigmoid, X2, ""),
    (nn.Softsign(), tg.softsign, X2, ""),
    (nn.Tanhshrink(), tg.tanhshrink, X2, ""),
    (nn.ELU(0.7), lambda x: tg.elu(x, 0.7), X2, "alpha=0.7"),
    (nn.CELU(0.7), lambda x: tg.celu(x, 0.7), X2, "alpha=0.7"),
    (nn.LeakyReLU(0.2), lambda x: tg.leaky_relu(x, 0.2), X2, "negative_slope=0.2"),
    (nn.RReLU(0.1, 0.3).eval(), lambda x: tg.leaky_relu(x, 0.2), X2, "lower=0.1, upper=0.3"),
    (nn.Hardtanh(-0.5, 0.7), lambda x: tg.clamp(x, -0.5, 0.7), X2, "min_val=-0.5, max_val=0.7"),
    (
        nn.Hardtanh(min_value=-0.5, max_value=0.7),
        lambda x: tg.clamp(x, -0.5, 0.7),
        X2,
        "min_val=-0.5, max_val=0.7",
    ),
    (nn.Threshold(0.1, 7.0), lambda x: tg.threshold(x, 0.1, 7.0), X2, "threshold=0.1, value=7.0"),
    (nn.GELU("tanh"), lambda x: tg.gelu(x, "tanh"), X2, "approximate='tanh'"),
    (nn.GLU(0), lambda x: tg.glu(x, 0), X2, "dim=0"),
    (nn.Hardshrink(0.3), lambda x: tg.hardshrink(x, 0.3), X2, "0.3"),
    (nn.Softshrink(0.3), lambda x: tg.softshrink(x, 0.3), X2, "0.3"),
    (nn.Softplus(2.0, 0.5), lambda x: tg.softplus(x, 2.0, 0.5), X2, "beta=2.0, threshold=0.5"),
    (nn.Softmax(0), lambda x: tg.softmax(x, 0), X2, "dim=0"),
    (nn.Softmin(0), lambda x: tg.softmax(-x, 0), X2, "dim=0"),
    (nn.LogSoftmax(0), lambda x: tg.log_softmax(x, 0), X2, "dim=0"),
    (nn.Softmax2d(), lambda x: tg.softmax(x, 1), X4, ""),
    (nn.Maxout(3), lambda x: tg.maxout(x, 3), X2, "pieces=3, dim=1"),
    (nn.Identity(1, a=2), lambda x: x, X2, ""),
    (nn.Flatten(0, 1), lambda x: x.reshape(8, 6), X3, "start_dim=0, end_dim=1"),
    (
        nn.Unflatten(1, (2, -1)),
        lambda x: x.reshape(2, 2, 3),
        X2,
        "dim=1, unflattened_size=(2, -1)",
    ),
    (nn.Dropout(0.3).eval(), lambda x: x, X2, "p=0.3, inplace=False"),
    (nn.VanillaDropout(0.3).eval(), lambda x: x * 0.7, X2, "p=0.3"),
    (nn.PixelShuffle(2), lambda x: tg.pixel_shuffle(x, 2), X4, "upscale_factor=2"),
    (nn.PixelUnshuffle(3), lambda x: tg.pixel_unshuffle(x, 3), X4, "downscale_factor=3"),
    (nn.ChannelShuffle(2), lambda x: tg.channel_shuffle(x, 2), X4, "groups=2"),
    (
        nn.Unfold(2, 2, 1, 3),
        lambda x: tg.unfold(x, 2, 2, 1, 3),
        X4,
        "kernel_size=2, dilation=2, padding=1, stride=3",
    ),
    (
        nn.Fold((4, 2), 2, 1, 1, 2),
        lambda x: tg.fold(x, (4, 2), 2, 1, 1, 2),
        (2, 8, 6),
        "output_size=(4, 2), kernel_size=2, dilation=1, padding=1, stride=2",
    ),
    (
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
        lambda x: tg.interpolate(x, None, 2.0, "bilinear", True),
        X4,
        "scale_factor=2.0, mode='bilinear'",
    ),
    (
        nn.UpsamplingNearest2d((9, 7)),
        lambda x: tg.interpolate(x, (9, 7)),
        X4,
        "size=(9, 7), mode='nearest'",
    ),
    (
        nn.UpsamplingBilinear2d(scale_factor=(2, 3)),
        lambda x: tg.interpolate(x, None, (2, 3), "bilinear", True),
        X4,
        "scale_factor=(2.0, 3.0), mode='bilinear'",
    ),
    (
        nn.LocalResponseNorm(3, 2.0, 0.5, 3.0),
        lambda x: tg.local_response_norm(x, 3, 2.0, 0.5, 3.0),
        X4,
        "3, alpha=2.0, beta=0.5, k=3.0",
    ),
    (
        nn.LocalResponseNorm(5, 1e-4, 0.75, 2.0, divide=False),
        lambda x: tg.local_response_norm(x, 5, 5e-4, 0.75, 2.0),
        X4,
        "5, alpha=0.0001, beta=0.75, k=2.0, divide=False",
    ),
    (
        nn.CrossMapLRN2d(5, 2.0, 0.5, 3.0),
        lambda x: tg.local_response_norm(x, 5, 2.0, 0.5, 3.0),
        X4,
        "5, alpha=2.0, beta=0.5, k=3.0",
    ),
    *pools(1),
    *pools(2),
    *pools(3),
]


@pytest.mark.parametrize("number", range(len(SAME)))
def test_a_layer_is_its_function(number: int) -> None:
    layer, function, shape, shown = SAME[number]
    x = draw(*shape)
    found, expected = layer(x), function(x)
    if not isinstance(expected, tuple):
        found, expected = (found,), (expected,)
    for a, b in zip(found, expected, strict=True):
        assert_allclose(a.numpy(), b.numpy(), rtol=1e-15)
    assert repr(layer) == f"{type(layer).__name__}({shown})"
    assert not layer.state_dict()


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("Constant", "constant"),
        ("Zero", "constant"),
        ("Reflection", "reflect"),
        ("Replication", "edge"),
        ("Circular", "wrap"),
    ],
)
def test_the_paddings_are_those_of_numpy(kind: str, mode: str, axes: int) -> None:
    cls = getattr(nn, f"{kind}Pad{axes}d")
    value = (7.0,) if kind == "Constant" else ()
    x = draw(2, 3, *(4, 5, 6)[:axes])
    for padding in (2, tuple(range(1, 2 * axes + 1))[::-1] if axes == 1 else (1, 2, 0, 3, 2, 1)):
        padding = padding if isinstance(padding, int) else padding[: 2 * axes]
        layer = cls(padding, *value)
        flat = (padding,) * (2 * axes) if isinstance(padding, int) else padding
        pairs = [(flat[2 * i], flat[2 * i + 1]) for i in range(axes)][::-1]
        options: dict[str, Any] = {"constant_values": value[0]} if value else {}
        for samples, before in ((x, 2), (x[0], 1)):
            widths = [(0, 0)] * before + pairs
            expected = np.pad(samples.numpy(), widths, mode=mode, **options)  # type: ignore[call-overload]
            assert_array_equal(layer(samples).numpy(), expected)
        shown = f"padding={flat}, value=7.0" if value else str(flat)
        assert repr(layer) == f"{kind}Pad{axes}d({shown})"


def test_distances() -> None:
    a, b = draw(3, 4), draw(3, 4, seed=1)
    difference = (a - b).numpy() + 0.1
    expected = np.abs(difference).sum(1, keepdims=True)
    assert_allclose(nn.PairwiseDistance(1.0, 0.1, True)(a, b).numpy(), expected)
    cosine = (a * b).sum(0).numpy() / np.linalg.norm(a.numpy(), axis=0)
    cosine /= np.linalg.norm(b.numpy(), axis=0)
    assert_allclose(nn.CosineSimilarity(0)(a, b).numpy(), cosine)


# ----- inplace -----------------------------------------------------------------------------------

ACTIVATIONS: dict[str, tuple[Any, ...]] = {
    "relu": (),
    "relu6": (),
    "selu": (),
    "silu": (),
    "mish": (),
    "hardsigmoid": (),
    "hardswish": (),
    "leaky_relu": (0.2,),
    "elu": (1.3,),
    "celu": (1.3,),
    "hardtanh": (-0.5, 0.5),
    "threshold": (0.1, 0.3),
    "rrelu": (0.1, 0.3, False),
}
IN_PLACE = {
    f.__name__[:-1]
    for f in (tg.relu_, tg.selu_, tg.celu_, tg.rrelu_, tg.threshold_, F.elu_, F.leaky_relu_)
} | {"hardtanh"}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_in_place(name: str) -> None:
    """The input becomes the result, its views see it, and the gradient is the same."""
    function, args = getattr(F, name), ACTIVATIONS[name]
    x = draw(3, 4).requires_grad_()
    (function(2 * x, *args) ** 2).sum().backward()
    expected, x.grad = x.grad, None
    y = 2 * x
    row, values = y[1], function(2 * x, *args).detach().numpy()
    assert function(y, *args, inplace=True) is y
    assert_array_equal(y.detach().numpy(), values)
    assert_array_equal(row.detach().numpy(), values[1])
    (y**2).sum().backward()
    assert expected is not None
    assert_allclose(x.grad.numpy(), expected.numpy(), rtol=1e-12)
    if name in IN_PLACE:
        z = draw(3, 4)
        assert getattr(F, f"{name}_")(z, *args) is z
        assert_array_equal(z.numpy(), function(draw(3, 4), *args).numpy())
    with pytest.raises(RuntimeError, match=rf"{name.replace('rr', 'leaky_r')} in place on a leaf"):
        function(draw(3, 4).requires_grad_(), *args, inplace=True)


LAYERS_IN_PLACE = [
    *(nn.ReLU, nn.ReLU6, nn.SELU, nn.SiLU, nn.Mish, nn.Hardsigmoid, nn.Hardswish, nn.ELU, nn.CELU),
    *(nn.LeakyReLU, nn.Hardtanh, nn.RReLU, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
    *(nn.AlphaDropout, nn.FeatureAlphaDropout, lambda **options: nn.Threshold(0.1, 0.3, **options)),
]


@pytest.mark.parametrize("make", LAYERS_IN_PLACE)
def test_a_layer_in_place(make: Callable[..., nn.Module]) -> None:
    drawn = "Dropout" in make.__name__ or make is nn.RReLU
    shape = {nn.Dropout1d: X3, nn.Dropout3d: X5}.get(make, X4)  # type: ignore[call-overload]
    kinds = [make(inplace=inplace) for inplace in (False, True)]
    for training in (True, False) if drawn else (True,):
        x = draw(*shape)
        results = []
        for layer in kinds:
            layer.train(training)
            if drawn:
                layer.generator = np.random.default_rng(3)
            results.append(layer(x))
        assert results[1] is x
        assert_allclose(results[0].numpy(), x.numpy())
    told = "inplace=True" in repr(kinds[1])
    assert told != (make in (nn.Hardsigmoid, nn.Hardswish)), "as PyTorch's repr has it"


def test_noise_in_place_has_the_gradient_of_its_draw() -> None:
    x = draw(2, 3, 4).requires_grad_()
    for name in ("dropout", "dropout1d", "alpha_dropout", "feature_alpha_dropout"):
        y = x * 1
        kept = y.detach().numpy().copy()
        getattr(F, name)(y, 0.5, True, True, generator=np.random.default_rng(1))
        slope = np.where(y.detach().numpy() == kept, 1, (y.detach().numpy()) / kept)
        x.grad = None
        y.sum().backward()
        if "alpha" not in name:
            assert_allclose(x.grad.numpy(), slope)
        else:
            assert len(np.unique(x.grad.numpy().round(12))) == 2


@pytest.mark.host
def test_feature_alpha_dropout_drops_whole_channels() -> None:
    x = tg.randn(40, 50, 6, dtype="float64")
    y = F.feature_alpha_dropout(x, 0.3, True)
    a = 1 / math.sqrt(0.7 * (1 + 0.3 * 1.7580993408473766**2))
    dropped = np.isclose(y.numpy(), a * -1.7580993408473766 * 0.7).all(2)
    assert abs(dropped.mean() - 0.3) < 0.05
    kept = y.numpy()[~dropped]
    assert_allclose(kept, a * (x.numpy()[~dropped] + 1.7580993408473766 * 0.3))


# ----- softmax and its choices -------------------------------------------------------------------


@pytest.mark.parametrize(("axes", "chosen"), [(0, 0), (1, 0), (2, 1), (3, 0), (4, 1)])
def test_a_softmax_without_an_axis_says_which_it_takes(axes: int, chosen: int) -> None:
    x = draw(*(2, 3, 4, 5)[:axes])
    for function in (F.softmax, F.log_softmax, F.softmin):
        with pytest.warns(UserWarning, match=rf"axis {chosen}.*dim="):
            y = function(x)
        assert_array_equal(y.numpy(), function(x, chosen).numpy())
    assert F.softmax(draw(2, 3), 1, 3, tg.float32).dtype == "float32"


def test_a_choice_by_gumbel_noise_follows_the_softmax() -> None:
    p = np.array([0.5, 0.3, 0.2])
    logits = tg.tensor(np.tile(np.log(p), (4000, 1)))
    hard = F.gumbel_softmax(logits, tau=0.7, hard=True)
    assert_allclose(hard.numpy().max(1), 1)
    assert_allclose(hard.numpy().sum(1), 1, atol=1e-12)
    assert_allclose(hard.numpy().mean(0), p, atol=0.04)
    soft = F.gumbel_softmax(logits[:5], tau=0.7, dim=0)
    assert_allclose(soft.numpy().sum(0), 1)
    x = tg.tensor([[0.3, -0.2, 0.1]], dtype="float64", requires_grad=True)
    gradients = []
    for hard_one in (False, True):
        x.grad = None
        y = F.gumbel_softmax(x, 0.5, hard_one, generator=np.random.default_rng(2))
        (y * tg.tensor([1.0, 2.0, 5.0])).sum().backward()
        gradients.append(x.grad.numpy())
    assert_allclose(*gradients)


# ----- convolutions ------------------------------------------------------------------------------

NUMPY = {"reflect": "reflect", "replicate": "edge", "circular": "wrap", "zeros": "constant"}


@pytest.mark.parametrize("mode", NUMPY)
@pytest.mark.parametrize("padding", ["same", "valid", 2, (1, 2)])
def test_a_convolution_continues_the_image_as_it_says(mode: str, padding: Any) -> None:
    for kernel, dilation in (((3, 2), (1, 2)), ((2, 3), (2, 1))):
        layer = nn.Conv2d(4, 6, kernel, 1, padding, dilation, 2, padding_mode=mode, dtype="float64")
        x = draw(*X4)
        widths = []
        for axis in (0, 1):
            total = dilation[axis] * (kernel[axis] - 1)
            widths.append(
                (total // 2, total - total // 2)
                if padding == "same"
                else (0, 0)
                if padding == "valid"
                else (padding, padding)
                if padding == 2
                else (padding[axis], padding[axis])
            )
        whole = np.pad(x.numpy(), [(0, 0), (0, 0), *widths], mode=NUMPY[mode])  # type: ignore[call-overload]
        weight, bias = (p.detach().numpy() for p in layer.parameters())
        expected = oracles.conv(whole, weight, (1, 1), (0, 0), dilation, 2)
        expected += bias[:, None, None]
        assert_allclose(layer(x).detach().numpy(), expected, atol=1e-12)
        assert_allclose(layer(x[0]).detach().numpy(), expected[0], atol=1e-12)


@pytest.mark.parametrize("axes", [1, 2, 3])
@given(st.data())
def test_an_output_size_is_what_comes_out(axes: int, data: st.DataObject) -> None:
    """Of the sizes that a convolution brings to one, each can be asked for."""
    ints = st.tuples(*[st.integers(1, 3)] * axes)
    kernel, stride, dilation = data.draw(ints), data.draw(ints), data.draw(ints)
    size = data.draw(st.tuples(*[st.integers(7, 9)] * axes))
    conv = getattr(nn, f"Conv{axes}d")(2, 2, kernel, stride, 0, dilation, dtype="float64")
    back = getattr(nn, f"ConvTranspose{axes}d")(
        2, 2, kernel, stride, dilation=dilation, dtype="float64"
    )
    x = draw(1, 2, *size)
    y = conv(x).detach()
    for asked in (size, x.shape):
        assert back(y, output_size=asked).shape == x.shape
    back.weight.data.copy_(conv.weight.data)
    back.bias.data.zero_()
    conv.bias.data.zero_()
    g = draw(*y.shape, seed=1)
    assert_allclose((conv(x) * g).sum().item(), (back(g, size) * x).sum().item(), atol=1e-10)
    with pytest.raises(ValueError, match="output_size="):
        back(y, output_size=[n + s for n, s in zip(size, stride, strict=True)])


REPRS = [
    (lambda: nn.Conv1d(3, 4, 3), "Conv1d(3, 4, kernel_size=(3,), stride=(1,))"),
    (
        lambda: nn.Conv2d(4, 6, 3, 2, 1, 2, 2, False, "reflect"),
        "Conv2d(4, 6, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), dilation=(2, 2), "
        "groups=2, bias=False, padding_mode=reflect)",
    ),
    (
        lambda: nn.Conv3d(3, 4, 1, padding="same"),
        "Conv3d(3, 4, kernel_size=(1, 1, 1), stride=(1, 1, 1), padding=same)",
    ),
    (
        lambda: nn.ConvTranspose2d(4, 6, 3, 2, output_padding=1),
        "ConvTranspose2d(4, 6, kernel_size=(3, 3), stride=(2, 2), output_padding=(1, 1))",
    ),
    (lambda: nn.Bilinear(2, 3, 4, False), "in1_features=2, in2_features=3, out_features=4, bias=F"),
    (
        lambda: nn.BatchNorm2d(3, momentum=None, affine=False),
        "BatchNorm2d(3, eps=1e-05, momentum=None, affine=False, bias=False, track_running_stats=T",
    ),
    (
        lambda: nn.InstanceNorm1d(3),
        "InstanceNorm1d(3, eps=1e-05, momentum=0.1, affine=False, bias=False, "
        "track_running_stats=False)",
    ),
    (
        lambda: nn.LayerNorm([2, 3], bias=False),
        "LayerNorm((2, 3), eps=1e-05, elementwise_affine=True, bias=False)",
    ),
    (lambda: nn.GroupNorm(2, 4), "GroupNorm(2, 4, eps=1e-05, affine=True, bias=True)"),
    (lambda: nn.RMSNorm(4), "RMSNorm((4,), eps=None, elementwise_affine=True)"),
    (lambda: nn.PReLU(3), "PReLU(num_parameters=3)"),
    (
        lambda: nn.Embedding(5, 3, -1, 2.0, 1.0, True, True),
        "Embedding(5, 3, padding_idx=4, max_norm=2.0, norm_type=1.0, scale_grad_by_freq=True, "
        "sparse=True)",
    ),
    (lambda: nn.EmbeddingBag(5, 3, mode="sum"), "EmbeddingBag(5, 3, mode='sum')"),
    (lambda: nn.LazyConv2d(4, 3), "LazyConv2d(0, 4, kernel_size=(3, 3), stride=(1, 1))"),
]


@pytest.mark.host
@pytest.mark.parametrize("number", range(len(REPRS)))
def test_the_repr_of_a_layer(number: int) -> None:
    make, shown = REPRS[number]
    assert shown in repr(make())


class Standardized(nn.Conv2d):
    """A convolution with other weights than its own, as programs write it."""

    def forward(self, input: tg.Tensor) -> tg.Tensor:
        return self._conv_forward(input, self.weight - self.weight.mean((1, 2, 3), True), self.bias)


def test_a_convolution_may_be_given_other_weights() -> None:
    layer = Standardized(4, 2, 3, padding=1, padding_mode="circular", bias=False)
    assert_allclose(layer(tg.ones(X4)).detach().numpy(), 0, atol=1e-6)
    assert layer._reversed_padding_repeated_twice == (1, 1, 1, 1)


class OfOnes(_ConvNd):
    """A convolution of a program's own, on PyTorch's base."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: tuple[int, ...]) -> None:
        windows = 1, 0, 1, False, 0
        super().__init__(in_channels, out_channels, kernel_size, *windows, 1, True, "zeros")

    def forward(self, input: tg.Tensor) -> tg.Tensor:
        convolve = nn.functional.conv2d if len(self.kernel_size) == 2 else nn.functional.conv1d
        return convolve(input, tg.ones_like(self.weight))


def test_programs_have_convolutions_of_their_own() -> None:
    assert repr(OfOnes(4, 2, (3,))) == "OfOnes(4, 2, kernel_size=(3,), stride=(1,))"
    for shape, kernel in ((X3, (3,)), (X4, (3, 2))):
        y = OfOnes(shape[1], 2, kernel)(tg.ones(shape))
        assert y.shape[:2] == (shape[0], 2)
        assert (y == shape[1] * math.prod(kernel)).all()


def test_older_states_do_not_count_the_batches() -> None:
    model = nn.Sequential(nn.BatchNorm2d(4), nn.InstanceNorm2d(4, track_running_stats=True))
    model(tg.ones(X4))
    state = model.state_dict()
    older = {name: value for name, value in state.items() if "batches" not in name}
    model.load_state_dict(older)
    assert [int(state[f"{i}.num_batches_tracked"]) for i in (0, 1)] == [1, 0]
    for i in (0, 1):
        del state[f"{i}.num_batches_tracked"]
    with pytest.raises(RuntimeError, match="num_batches_tracked"):
        model.load_state_dict(state)


CONVOLUTIONS = [
    getattr(nn, f"Conv{transposed}{axes}d")
    for transposed in ("", "Transpose")
    for axes in (1, 2, 3)
]


@pytest.mark.host
def test_convolutions_are_told_by_their_base() -> None:
    for cls in CONVOLUTIONS:
        layer = cls(4, 6, 3, 2, groups=2)
        assert isinstance(layer, _ConvNd)
        assert (layer.in_channels, layer.out_channels, layer.groups) == (4, 6, 2)
        assert layer.transposed == ("Transpose" in cls.__name__)
        assert layer.weight.shape[:2] == ((4, 3) if layer.transposed else (6, 2))


@pytest.mark.host
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.Conv2d(3, 4, 3, stride=2, padding="same"), r"'same' \(with stride 1\)"),
        (lambda: nn.Conv2d(3, 4, 3, padding="full"), "'full'"),
        (lambda: nn.Conv2d(3, 4, 3, padding_mode="mirror"), "padding_mode .*'mirror'"),
        (lambda: nn.Conv1d(3, 4, 3, groups=2), "groups=2 must divide in_channels=3"),
        (lambda: nn.ConvTranspose2d(3, 4, 3, padding_mode="reflect"), "only be 'zeros'"),
        (lambda: nn.ConvTranspose2d(3, 4, 3, padding="same"), "made of numbers; got 'same'"),
        (lambda: nn.ReflectionPad2d((1, 2)), "one number or 4"),
        (lambda: nn.GroupNorm(2, 3), "num_groups=2 must divide num_channels=3"),
        (lambda: nn.FractionalMaxPool2d(2), "either output_size or output_ratio"),
        (lambda: nn.FractionalMaxPool2d(2, output_ratio=1.5), "between 0 and 1"),
        (lambda: nn.Hardtanh(1.0, 1.0), "below max_val"),
        (lambda: nn.Embedding(3, 2, padding_idx=3), "padding_idx=3"),
        (lambda: nn.Bilinear(0, 2, 3), "above 0"),
    ],
)
def test_what_no_layer_can_be_is_refused(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


# ----- the first values --------------------------------------------------------------------------

FANS: list[tuple[Callable[..., nn.Module], int]] = [
    (lambda **o: nn.Linear(64, 50, **o), 64),
    (lambda **o: nn.Bilinear(16, 20, 9, **o), 16),
    (lambda **o: nn.Conv1d(8, 60, 5, groups=2, **o), 20),
    (lambda **o: nn.Conv2d(8, 60, 3, **o), 72),
    (lambda **o: nn.Conv3d(4, 60, 2, groups=2, **o), 16),
    (lambda **o: nn.ConvTranspose2d(60, 8, 3, groups=2, **o), 36),
    (lambda **o: nn.LocallyConnected2d(3, 8, 7, 3, **o), 27),
]


@pytest.mark.host
@pytest.mark.parametrize(("make", "fan"), FANS)
def test_weights_start_uniform_by_their_inputs(make: Callable[..., nn.Module], fan: int) -> None:
    layer, bound = make(generator=np.random.default_rng(0)), 1 / math.sqrt(fan)
    for name, p in layer.named_parameters():
        values = p.detach().numpy().ravel()
        assert np.abs(values).max() <= bound * (1 + 1e-6)
        if name == "weight":
            assert np.abs(values).max() > 0.98 * bound
            assert abs(values.std() - bound / math.sqrt(3)) < 0.06 * bound
    again = make(generator=np.random.default_rng(0))
    for a, b in zip(layer.parameters(), again.parameters(), strict=True):
        assert_array_equal(a.detach().numpy(), b.detach().numpy())
    tg.manual_seed(3)
    one, two = make(), make()
    tg.manual_seed(3)
    assert_array_equal(make().weight.detach().numpy(), one.weight.detach().numpy())
    assert (two.weight != one.weight).any()
    one.reset_parameters()
    assert_allclose(np.abs(one.weight.detach().numpy()).max(), bound, rtol=0.02)


class Constant(nn.Linear):
    """A layer with its own first values, as programs write them."""

    def reset_parameters(self) -> None:
        nn.init.constant_(self.weight, 2.0)
        nn.init.zeros_(self.bias)


def test_a_class_may_have_its_own_first_values() -> None:
    assert Constant(3, 1)(tg.ones(1, 3)).tolist() == [[6.0]]


MAKERS: list[Callable[..., nn.Module]] = [
    *[make for make, _ in FANS],
    lambda **o: nn.PReLU(3, **o),
    lambda **o: nn.Embedding(4, 3, **o),
    lambda **o: nn.EmbeddingBag(4, 3, **o),
    lambda **o: nn.BatchNorm3d(3, **o),
    lambda **o: nn.SyncBatchNorm(3, **o),
    lambda **o: nn.InstanceNorm2d(3, affine=True, track_running_stats=True, **o),
    lambda **o: nn.LayerNorm(3, **o),
    lambda **o: nn.GroupNorm(1, 3, **o),
    lambda **o: nn.RMSNorm(3, **o),
]


@pytest.mark.host
@pytest.mark.parametrize("make", MAKERS)
def test_a_layer_is_made_in_a_dtype_on_a_device(make: Callable[..., nn.Module]) -> None:
    layer = make(device="fakecuda:1", dtype=tg.float64)
    assert layer.state_dict()
    for name, tensor in layer.state_dict().items():
        assert tensor.device == "fakecuda:1"
        assert tensor.dtype == ("int64" if "num_batches" in name else "float64")
    twin = copy.deepcopy(pickle.loads(pickle.dumps(layer)))
    for a, b in zip(twin.parameters(), layer.parameters(), strict=True):
        assert_array_equal(a.detach().cpu().numpy(), b.detach().cpu().numpy())


# ----- normalization -----------------------------------------------------------------------------


def test_a_batch_norm_without_momentum_keeps_the_means_of_all_batches() -> None:
    layer = nn.BatchNorm2d(4, momentum=None, dtype="float64")
    batches = [draw(*X4, seed=seed) for seed in range(4)]
    for number, batch in enumerate(batches, 1):
        layer(batch)
        assert int(layer.num_batches_tracked) == number
    arrays = [batch.numpy() for batch in batches]
    means = np.mean([a.mean((0, 2, 3)) for a in arrays], axis=0)
    variances = np.mean([a.var((0, 2, 3), ddof=1) for a in arrays], axis=0)
    assert_allclose(layer.running_mean.numpy(), means)
    assert_allclose(layer.running_var.numpy(), variances)
    layer.eval()(batches[0])
    assert int(layer.num_batches_tracked) == 4
    layer.reset_running_stats()
    assert int(layer.num_batches_tracked) == 0
    assert layer.running_var.tolist() == [1.0] * 4


def test_a_batch_norm_that_tracks_nothing_uses_the_batch_always() -> None:
    layer = nn.BatchNorm1d(6, affine=False, track_running_stats=False)
    assert not layer.state_dict()
    assert layer.num_batches_tracked is None
    x = draw(5, 6)
    expected = (x.numpy() - x.numpy().mean(0)) / np.sqrt(x.numpy().var(0) + 1e-5)
    for _ in (layer.train(), layer.eval()):
        assert_allclose(layer(x).numpy(), expected, rtol=1e-6)


def test_a_batch_norm_of_no_samples_moves_nothing() -> None:
    layer = nn.BatchNorm1d(3)
    y = layer(tg.zeros(0, 3, requires_grad=True))
    y.sum().backward()
    assert y.shape == (0, 3)
    assert layer.weight.grad.tolist() == [0.0] * 3
    assert layer.running_mean.tolist() == [0.0] * 3


def test_a_batch_norm_does_not_wait_for_the_device() -> None:
    layer, x = nn.BatchNorm2d(4), draw(*X4, dtype="float32")
    with no_sync():
        layer(x).sum().backward()


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_an_instance_norm(axes: int) -> None:
    x = draw(3, 4, *(5, 3, 2)[:axes])
    spatial = tuple(range(2, 2 + axes))
    cls = getattr(nn, f"InstanceNorm{axes}d")
    layer = cls(4, affine=True, track_running_stats=True, dtype="float64")
    layer.weight.data.copy_(draw(4, seed=1))
    layer.bias.data.copy_(draw(4, seed=2))
    a, column = x.numpy(), (4, *(1,) * axes)
    z = (a - a.mean(spatial, keepdims=True)) / np.sqrt(a.var(spatial, keepdims=True) + 1e-5)
    weight, bias = (p.detach().numpy().reshape(column) for p in layer.parameters())
    assert_allclose(layer(x).detach().numpy(), z * weight + bias)
    assert_allclose(layer.running_mean.numpy(), 0.1 * a.mean(spatial).mean(0))
    unbiased = a.var(spatial, ddof=1).mean(0)
    assert_allclose(layer.running_var.numpy(), 0.9 + 0.1 * unbiased)
    assert list(layer.state_dict())[2:] == ["running_mean", "running_var", "num_batches_tracked"]
    assert_allclose(cls(4)(x[0]).numpy(), z[0])  # one sample, without N
    with pytest.raises(ValueError, match=r"4 channels; got .* with 3"):
        layer(x[:, :3])
    with pytest.warns(UserWarning, match=r"4 channels; got .* with 3"):
        cls(4)(x[:, :3])


def test_normalizations_of_each_sample() -> None:
    x = draw(3, 4, 5)
    a = x.numpy()
    layer = nn.LayerNorm((4, 5), eps=0.1, dtype="float64")
    layer.weight.data.copy_(draw(4, 5, seed=1))
    z = (a - a.mean((1, 2), keepdims=True)) / np.sqrt(a.var((1, 2), keepdims=True) + 0.1)
    assert_allclose(layer(x).detach().numpy(), z * layer.weight.detach().numpy())
    halves = a.reshape(3, 2, 2, 5)
    z = halves - halves.mean((2, 3), keepdims=True)
    z /= np.sqrt(halves.var((2, 3), keepdims=True) + 1e-5)
    assert_allclose(nn.GroupNorm(2, 4, affine=False)(x).numpy(), z.reshape(a.shape))
    scaled = a / np.sqrt((a * a).mean(2, keepdims=True) + 0.1)
    assert_allclose(nn.RMSNorm(5, 0.1, dtype="float64")(x).detach().numpy(), scaled)
    for plain in (nn.LayerNorm(5, bias=False), nn.GroupNorm(1, 4, bias=False)):
        assert list(plain.state_dict()) == ["weight"]
    assert not nn.LayerNorm(5, elementwise_affine=False).state_dict()


def test_a_window_of_an_even_number_of_channels() -> None:
    """Each channel is in the middle of one channel less, and alpha is divided by all of them."""
    x = draw(1, 7, 1, 1)
    a = x.numpy().ravel()
    sums = [sum(v * v for v in a[max(0, c - 1) : c + 2]) for c in range(7)]
    expected = a / (1 + 0.5 / 4 * np.array(sums)) ** 0.75
    assert_allclose(nn.CrossMapLRN2d(4, 0.5)(x).numpy().ravel(), expected)


# ----- layers of the lecture ---------------------------------------------------------------------


def test_a_locally_connected_layer_has_a_kernel_for_each_place() -> None:
    layer = nn.LocallyConnected2d(3, 2, (5, 6), (3, 2), 2, 1, dtype="float64")
    x = draw(2, 3, 5, 6)
    whole = np.pad(x.numpy(), [(0, 0), (0, 0), (1, 1), (1, 1)])
    weight, bias = (p.detach().numpy() for p in layer.parameters())
    y = layer(x).detach().numpy()
    assert y.shape == (2, 2, 3, 4)
    for n, o, i, j in product(*map(range, y.shape)):
        window = whole[n, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 2]
        assert_allclose(y[n, o, i, j], (window * weight[i, j, o]).sum() + bias[o, i, j])


def test_vanilla_dropout_is_scaled_when_it_is_tested() -> None:
    x = tg.ones(1000, dtype="float64")
    layer = nn.VanillaDropout(0.3, generator=np.random.default_rng(0))
    assert {*layer(x).tolist()} == {0.0, 1.0}
    assert abs(layer(x).mean().item() - 0.7) < 0.05
    assert_allclose(layer.eval()(x).numpy(), 0.7)


# ----- embeddings --------------------------------------------------------------------------------

WHOLE = st.lists(st.integers(0, 5), min_size=1, max_size=9)


@given(WHOLE, st.sampled_from([1.0, 2.0]), st.booleans(), st.sampled_from([None, 2, -1]))
def test_an_embedding_looks_rows_up(
    numbers: list[int], order: float, frequent: bool, padding: int | None
) -> None:
    layer = nn.Embedding(6, 3, padding, 1.0, order, frequent, dtype="float64")
    before = layer.weight.detach().numpy().copy()
    if padding is not None:
        assert not before[padding].any()
    index = tg.tensor(numbers)
    y = layer(index)
    expected = before.copy()
    for number in {*numbers}:
        length = (np.abs(before[number]) ** order).sum() ** (1 / order)
        if length > 1:
            expected[number] *= 1 / (length + 1e-7)
    assert_allclose(layer.weight.detach().numpy(), expected, rtol=1e-12)
    assert_allclose(y.detach().numpy(), expected[numbers], rtol=1e-12)
    g = draw(*y.shape)
    (y * g).sum().backward()
    slope = np.zeros((6, 3))
    for number, row in zip(numbers, g.numpy(), strict=True):
        slope[number] += row / (numbers.count(number) if frequent else 1)
    if padding is not None:
        slope[padding] = 0
    assert_allclose(layer.weight.grad.numpy(), slope, atol=1e-12)


@given(
    WHOLE,
    st.lists(st.integers(0, 9), max_size=4),
    st.sampled_from(["sum", "mean", "max"]),
    st.sampled_from([None, 2, -1]),
    st.booleans(),
)
def test_a_bag_of_rows_is_reduced_to_one(
    numbers: list[int], cuts: list[int], mode: str, padding: int | None, last: bool
) -> None:
    starts = sorted([0, *(min(cut, len(numbers)) for cut in cuts)])
    layer = nn.EmbeddingBag(
        6, 3, mode=mode, include_last_offset=last, padding_idx=padding, dtype="float64"
    )
    weighted = mode == "sum"
    factors = draw(len(numbers), seed=1) if weighted else None
    offsets = tg.tensor([*starts, *[len(numbers)] * last])
    y = layer(tg.tensor(numbers), offsets, factors).detach().numpy()
    weight = layer.weight.detach().numpy()
    skipped = None if padding is None else padding % 6
    for row, start, end in zip(y, starts, [*starts[1:], len(numbers)], strict=True):
        bag = [
            weight[numbers[i]] * (factors[i].item() if factors is not None else 1)
            for i in range(start, end)
            if numbers[i] != skipped
        ]
        reduce = {"sum": np.sum, "mean": np.mean, "max": np.max}[mode]
        assert_allclose(row, reduce(bag, axis=0) if bag else np.zeros(3), atol=1e-12)


def test_bags_of_equal_size_are_the_rows_of_a_matrix() -> None:
    weight = draw(6, 3).requires_grad_()
    index = tg.tensor([[0, 1, 1], [5, 2, 0]])
    for mode in ("sum", "mean", "max"):
        rows = F.embedding_bag(index, weight, mode=mode)
        flat = F.embedding_bag(index.flatten(), weight, tg.tensor([0, 3]), mode=mode)
        assert_array_equal(rows.detach().numpy(), flat.detach().numpy())
        check_gradients(lambda w, mode=mode: F.embedding_bag(index, w, mode=mode), [weight])
    check_gradients(
        lambda w, s: F.embedding_bag(index, w, mode="sum", per_sample_weights=s),
        [weight, draw(2, 3, seed=1)],
    )


def test_rows_that_are_known_already() -> None:
    rows = nn.Parameter(draw(4, 3))
    frozen = nn.Embedding.from_pretrained(rows, padding_idx=1)
    assert not frozen.weight.requires_grad
    assert rows.requires_grad
    assert_array_equal(frozen.weight.detach().numpy(), rows.detach().numpy())
    assert frozen.padding_idx == 1
    learned = nn.EmbeddingBag.from_pretrained(rows, freeze=False, mode="max")
    assert learned.weight.requires_grad
    assert learned.mode == "max"
    with pytest.raises(ValueError, match=r"\(V, D\)"):
        nn.Embedding.from_pretrained(draw(3))
    with pytest.raises(ValueError, match=r"\(5, 3\); got \(4, 3\)"):
        nn.Embedding(5, 3, _weight=rows)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda w: F.embedding_bag([1, 2], w), "without offsets"),
        (lambda w: F.embedding_bag([[1, 2]], w, [0]), "without offsets"),
        (lambda w: F.embedding_bag([1, 2], w, [0], mode="min"), "sum, mean or max"),
        (lambda w: F.embedding_bag([[1, 2]], w, per_sample_weights=[[1.0, 2.0]]), "mode='sum'"),
        (lambda w: F.embedding_bag([[1, 2]], w, padding_idx=9), "no row 9"),
    ],
)
def test_bags_that_are_none(call: Callable[[tg.Tensor], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(draw(6, 3))


def test_offsets_that_do_not_fit_are_told_on_the_cpu(device: str) -> None:
    if device == "cpu":
        for offsets in ([1, 2], [0, 2, 1], [0, 4]):
            with pytest.raises(ValueError, match="begin with 0, go up"):
                F.embedding_bag([1, 2, 3], draw(6, 3), offsets)


# ----- further functions -------------------------------------------------------------------------


def test_a_bilinear_layer() -> None:
    layer = nn.Bilinear(3, 4, 2, dtype="float64")
    a, b = draw(5, 2, 3), draw(5, 2, 4, seed=1)
    weight, bias = (p.detach().numpy() for p in layer.parameters())
    expected = np.einsum("...i,oij,...j->...o", a.numpy(), weight, b.numpy()) + bias
    assert_allclose(layer(a, b).detach().numpy(), expected)
    check_gradients(F.bilinear, [draw(2, 3), draw(2, 2, seed=1), draw(2, 3, 2), draw(2)])
    with pytest.raises(ValueError, match=r"\(out, in1, in2\)"):
        layer(b, a)


@pytest.mark.parametrize("axes", [2, 3])
@given(st.data())
def test_windows_at_random_places(axes: int, data: st.DataObject) -> None:
    kernel = data.draw(st.tuples(*[st.integers(1, 3)] * axes))
    size = data.draw(st.tuples(*[st.integers(4, 7)] * axes))
    out = tuple(data.draw(st.integers(1, n - k + 1)) for n, k in zip(size, kernel, strict=True))
    x, u = draw(2, 3, *size), np.random.default_rng(len(size)).random((2, 3, axes))
    cls = getattr(nn, f"FractionalMaxPool{axes}d")
    samples = tg.tensor(u)
    pool = cls(kernel, output_size=out, return_indices=True, _random_samples=samples)
    y, places = pool(x)
    for n, c in product(range(2), range(3)):
        starts = []
        for axis in range(axes):
            s, m, k = size[axis], out[axis], kernel[axis]
            share = u[n, c, axes - 1 - axis if axes == 2 else axis]
            step = (s - k) / (m - 1) if m > 1 else 0.0
            first = [int((i + share) * step) - int(share * step) for i in range(m - 1)]
            starts.append([*first, s - k])
        image = x.numpy()[n, c]
        for place in product(*map(range, out)):
            corner = [starts[axis][i] for axis, i in enumerate(place)]
            window = image[tuple(slice(s, s + k) for s, k in zip(corner, kernel, strict=True))]
            assert y.numpy()[(n, c, *place)] == window.max()
            assert image.ravel()[places.numpy()[(n, c, *place)]] == window.max()
    x.requires_grad_()
    pool(x)[0].sum().backward()
    assert x.grad.sum().item() == y.numel()


def test_random_windows_come_from_the_generator() -> None:
    x = draw(2, 3, 9, 9)
    one, two, three = (
        nn.FractionalMaxPool2d(2, output_ratio=0.6, generator=np.random.default_rng(seed))(x)
        for seed in (0, 0, 1)
    )
    assert one.shape == (2, 3, 5, 5)
    assert_array_equal(one.numpy(), two.numpy())
    assert (one != three).any()
    with pytest.raises(ValueError, match="do not fit"):
        F.fractional_max_pool2d(x, 3, 8)


def test_pools_with_indices_are_pools_that_return_them() -> None:
    for axes, shape in ((1, X3), (2, X4), (3, X5)):
        x = draw(*shape)
        for name, args in ((f"max_pool{axes}d", (2, 2, 1)), (f"adaptive_max_pool{axes}d", (3,))):
            found = getattr(F, f"{name}_with_indices")(x, *args)
            expected = getattr(F, name)(x, *args, return_indices=True)
            for a, b in zip(found, expected, strict=True):
                assert_array_equal(a.numpy(), b.numpy())
            y, places = found
            unpool = getattr(nn, f"MaxUnpool{axes}d", None)
            if unpool and "adaptive" not in name:
                back = unpool(2, 2, 1)(y, places, output_size=x.shape)
                assert_array_equal(back.numpy()[back.numpy() != 0], x.numpy()[back.numpy() != 0])
        for inputs in ((), (x, 2, 2, 1, 1, True, True, 9)):
            with pytest.raises(TypeError, match=r"take|argument"):
                F.max_pool2d_with_indices(*inputs)


@pytest.mark.host
def test_older_names_of_functions() -> None:
    x = draw(*X4)
    assert tg.native_channel_shuffle is tg.channel_shuffle
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_array_equal(
            F.upsample(x, scale_factor=2, mode="bilinear").numpy(),
            tg.interpolate(x, scale_factor=2, mode="bilinear").numpy(),
        )
        assert_array_equal(F.upsample_nearest(x, 9).numpy(), tg.interpolate(x, 9).numpy())
        corners = tg.interpolate(x, (9, 7), mode="bilinear", align_corners=True)
        assert_array_equal(F.upsample_bilinear(x, (9, 7)).numpy(), corners.numpy())


# ----- without the number of channels ------------------------------------------------------------

LAZY: list[tuple[Callable[..., nn.Module], Callable[..., nn.Module], tuple[int, ...]]] = [
    (lambda: nn.LazyLinear(5), lambda: nn.Linear(6, 5), X2),
    (lambda: nn.LazyLinear(5, bias=False), lambda: nn.Linear(6, 5, bias=False), X3),
]
for _axes, _shape in ((1, X3), (2, X4), (3, X5)):
    for _name in ("Conv", "ConvTranspose"):
        _lazy, _plain = (getattr(nn, f"{lazy}{_name}{_axes}d") for lazy in ("Lazy", ""))
        LAZY.append(
            (
                lambda c=_lazy: c(6, 2, 2, groups=2),  # type: ignore[misc]
                lambda c=_plain: c(4, 6, 2, 2, groups=2),  # type: ignore[misc]
                _shape,
            )
        )
    for _name in ("BatchNorm", "InstanceNorm"):
        _lazy, _plain = (getattr(nn, f"{lazy}{_name}{_axes}d") for lazy in ("Lazy", ""))
        LAZY.append(
            (
                lambda c=_lazy: c(eps=0.1),  # type: ignore[misc]
                lambda c=_plain: c(4, 0.1, 0.1, True, True),  # type: ignore[misc]
                _shape,
            )
        )


@pytest.mark.parametrize("number", range(len(LAZY)))
def test_a_lazy_layer_takes_its_channels_from_the_input(number: int) -> None:
    make_lazy, make_plain, shape = LAZY[number]
    x = draw(*shape, dtype="float32")
    tg.manual_seed(0)
    plain = make_plain()
    tg.manual_seed(0)
    lazy = make_lazy()
    kind = type(lazy)
    assert lazy.has_uninitialized_params()  # type: ignore[operator]
    y = lazy(x)
    assert type(lazy) is type(plain)
    assert repr(lazy) == repr(plain)
    assert_array_equal(y.detach().numpy(), plain(x).detach().numpy())
    assert list(lazy.state_dict()) == list(plain.state_dict())
    other = make_lazy()
    other.load_state_dict(plain.state_dict())
    plain.eval()
    assert isinstance(other, kind)
    assert_array_equal(other.eval()(x).detach().numpy(), plain(x).detach().numpy())
    assert other.extra_repr() == plain.extra_repr()


def test_linear_without_features_gives_the_bias() -> None:
    layer = nn.Linear(0, 3)
    for shape in ((0,), (2, 0), (2, 4, 0)):
        y = layer(tg.ones(*shape))
        assert y.shape == (*shape[:-1], 3)
        assert (y == layer.bias).all()


@pytest.mark.host
def test_what_a_lazy_parameter_does_not_have_is_not_counted_or_written() -> None:
    weight = nn.LazyLinear(3).weight
    with pytest.raises(ValueError, match="no number of elements yet"):
        weight.numel()
    for use in (weight.zero_, lambda: weight.fill_(1.0)):
        with pytest.raises(RuntimeError, match="no shape yet"):
            use()
