"""Layers that go through the cache a few images at a time, beside the kernels one by one."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import tinygrad_cv as tg
import tinygrad_cv.nn as nn
import tinygrad_cv.nn.functional as F
from kernels import lain_channels_last
from tinygrad_cv.backend.base import Local
from tinygrad_cv.backend.compiled.backend import CompiledBackend, family
from tinygrad_cv.backend.numpy_backend import NumpyBackend
from tinygrad_cv.backend.switch import has_numba

pytestmark = [
    pytest.mark.host,
    pytest.mark.usefixtures("compiled_kernels"),
    pytest.mark.skipif(not has_numba(), reason="the extra `fast` is not installed"),
]

REFERENCE, COMPILED = NumpyBackend(), CompiledBackend()
A, B, D, E, G, H = map(Local, range(6))

geometries = st.fixed_dictionaries(
    {
        "n": st.integers(1, 7),
        "c": st.integers(1, 40),
        "o": st.integers(1, 40),
        "size": st.tuples(st.integers(1, 11), st.integers(1, 11)),
        "k": st.integers(1, 3),
        "stride": st.integers(1, 2),
        "dilation": st.integers(1, 2),
        "is_deep": st.booleans(),
        "chunk": st.sampled_from([1, 1 << 10, 1 << 12]),
    }
)
tops = st.sampled_from([None, math.inf, 1.5])
by_tiles = {"n": 5, "c": 32, "o": 24, "size": (9, 10), "k": 3, "stride": 1, "dilation": 1}
by_tiles |= {"is_deep": False, "chunk": 1 << 13}


class Layer:
    """Random maps and weights of batch norm, convolution and batch norm."""

    def __init__(self, seed: int, **q: Any) -> None:
        self.rng = np.random.default_rng(seed)
        c, k = q["c"], q["k"]
        o, groups = (c, c) if q["is_deep"] and c > 1 else (q["o"], 1)
        self.kernel = k, k
        dilation = q["dilation"] if min(q["size"]) > 2 else 1  # a window has to see something
        self.steps = (q["stride"],) * 2, (k // 2,) * 2, (dilation,) * 2, groups
        self.x = self.maps(q["n"], c, *q["size"])
        self.w = self.rng.standard_normal((o, c // groups, k, k)).astype(np.float32)
        self.norm = self.normalization(self.x)
        y = REFERENCE.conv(self.x, self.w, None, *self.steps)
        self.y, self.g = self.maps(*y.shape), self.maps(*y.shape)
        self.next_norm = self.normalization(self.y)

    def maps(self, *shape: int) -> Any:
        return lain_channels_last(self.rng.standard_normal(shape).astype(np.float32))

    def normalization(self, x: Any) -> Any:
        weight, bias = self.rng.standard_normal((2, x.shape[1])).astype(np.float32)
        return *REFERENCE.channel_moments(x), weight, bias, 1e-3

    def behind_gates(self, g: Any, x: Any, norm: Any, top: float | None) -> Any:
        """0 in place of gradients whose gate rounding may decide."""
        y = REFERENCE.normalized(x.astype("f8"), norm)
        edges = [] if top is None else [0, top]
        return g * np.all([np.abs(y - edge) > 1e-4 for edge in edges] or [True], axis=0)


def wide(tree: Any) -> Any:
    from tinygrad_cv.backend.arguments import exchanged

    return exchanged(
        lambda x: x.astype("f8") if getattr(x, "dtype", None) == np.float32 else x, tree
    )


def check(stages: Any, wanted: Any, chunk: int, error: float = 1e-5) -> Any:
    """A pass has the same bits on any number of threads, and is near the kernels in float64."""
    passes = family("passes")
    results = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "CHUNK", chunk)
        patch.setattr(passes, "WEIGHT_PARTS", 2)  # a part has several chunks
        for count in (1, 2, 3):
            tg.set_num_threads(count)
            results.append(passes.image_pass(stages, wanted))
    exact = REFERENCE.image_pass(wide(stages), wanted)
    for i, right in enumerate(exact if len(wanted) > 1 else [exact]):
        got = results[0][i]
        assert got.shape == right.shape
        scale = max(1.0, float(np.abs(right).max(initial=0)))
        if got.ndim != 4:  # sums of as many numbers, which may cancel
            scale = max(scale, math.sqrt(stages[0][1][0].size))
        np.testing.assert_allclose(got, right, rtol=0, atol=error * scale)
        for other in results[1:]:
            np.testing.assert_array_equal(got, other[i])
    return results[0]


seeds = st.integers(0, 2**32 - 1)


@given(seeds, geometries, tops)
@example(0, by_tiles, math.inf)
@example(0, by_tiles | {"o": 40, "chunk": 1 << 11}, None)
@settings(max_examples=25)
def test_forward(seed: int, q: Any, top: float | None) -> None:
    a = Layer(seed, **q)
    stages = (
        ("normalized", (a.x, a.norm), {"top": top}, (A,)),
        ("conv", (A, a.w, None, *a.steps), {}, (B,)),
        ("channel_moments", (B,), {}, (D, E)),
    )
    y, z, _, _ = check(stages, (A, B, D, E), q["chunk"])
    alone = COMPILED.conv(a.x, a.w, None, *a.steps)
    assert (z.strides, z.dtype) == (alone.strides, alone.dtype)
    assert np.array_equal(y, check(stages[:1], (A,), q["chunk"])[0])


@given(seeds, geometries, tops)
@example(0, by_tiles, math.inf)
@example(0, by_tiles | {"c": 40, "o": 33, "chunk": 1 << 11}, 1.5)
@settings(max_examples=25)
def test_backward(seed: int, q: Any, top: float | None) -> None:
    a = Layer(seed, **q)
    g = lain_channels_last(a.behind_gates(a.g, a.y, a.next_norm, top).astype("f4"))
    sums = (("normalized_sums", (g, a.y, a.next_norm), {"top": top}, (A, B)),)
    added = check(sums, (A, B), q["chunk"])
    stages = (
        ("normalized_backward", (g, a.y, a.next_norm, *added), {"top": top}, (A,)),
        ("normalized", (a.x, a.norm), {"top": top}, (B,)),
        ("conv_transpose", (A, a.w, a.x.shape[2:], *a.steps), {}, (D,)),
        ("conv_weight", (B, A, a.kernel, *a.steps), {}, (E,)),
    )
    check(stages, (D, E), q["chunk"], 3e-5)
    dx, _ = check(stages, (D, E), q["chunk"], 3e-5)
    below = (("normalized_sums", (dx, a.x, a.norm), {"top": None}, (G, H)),)
    joined = (*stages, ("normalized_sums", (D, a.x, a.norm), {"top": None}, (G, H)))
    apart = check(below, (G, H), q["chunk"])
    for x, y in zip(family("passes").image_pass(joined, (G, H)), apart, strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-5 * np.abs(dx).sum())


@given(
    seeds, st.integers(1, 7), st.integers(1, 40), st.tuples(st.integers(1, 5), st.integers(1, 5))
)
@example(3, 7, 33, (5, 5))
@settings(max_examples=15)
def test_windows(seed: int, n: int, c: int, half: tuple[int, int]) -> None:
    q = by_tiles | {"n": n, "c": c, "size": (2 * half[0], 2 * half[1]), "k": 1}
    a, how, chunk = Layer(seed, **q), {"kernel": (2, 2)}, 1 << 10
    y, index = check((("pooled", (a.x, a.norm), how, (A, B)),), (A, B), chunk)
    g = a.maps(*y.shape)
    sums = (("pooled_sums", (g, y, index, a.x, a.norm), how, (A, B)),)
    added = check(sums, (A, B), chunk)
    check((("pooled_backward", (g, y, index, a.x, a.norm, *added), how, (A,)),), (A,), chunk, 3e-5)


@pytest.mark.parametrize("number", [np.nan, np.inf, 3e38])
def test_what_is_not_finite(number: float) -> None:
    """The kernels one by one say which numbers are not."""
    a = Layer(0, **by_tiles)
    x = a.x.copy("K")
    x[1, 3, 2, 2] = number
    stages = (
        ("conv", (x, a.w, None, *a.steps), {}, (A,)),
        ("channel_moments", (A,), {}, (B, D)),
    )
    with np.errstate(all="ignore"):
        z = COMPILED.conv(x, a.w, None, *a.steps)
        got = COMPILED.image_pass(stages, (A, B, D))
        for one, other in zip(got, (z, *COMPILED.channel_moments(z)), strict=True):
            np.testing.assert_array_equal(one, other)
        norm = *got[1:], None, None, 1e-3
        y = COMPILED.image_pass((("normalized", (z, norm), {"top": math.inf}, (A,)),), (A,))
        np.testing.assert_array_equal(y, COMPILED.normalized(z, norm, math.inf))


# ----- in programs -------------------------------------------------------------------------------


def stages_of(step: Any) -> list[str]:
    found = step.plan.program.instructions
    return [" ".join(s[0] for s in i.args[0]) for i in found if i.function == "image_pass"]


class Net(nn.Module):
    """conv - BN - `act` - conv - BN - `last`, with a shortcut from the middle if `adds`."""

    def __init__(self, act: Any, last: Any, adds: bool = False, looks: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 24, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(24, 24, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(24), nn.BatchNorm2d(24)
        self.act, self.last, self.adds, self.looks = act, last, adds, looks

    def forward(self, x: Any) -> Any:
        z = self.conv1(x)
        h = self.act(self.bn1(z))
        y = self.last(self.bn2(self.conv2(h)))
        y = y + h if self.adds else y
        return y + z.sin() if self.looks else y


def gradients(net: Net, x: Any, step: Any) -> list[Any]:
    loss = step(x)
    return [loss.numpy(), *(p.grad.numpy().copy() for p in net.parameters())]


def step_of(net: Net) -> Any:
    def step(x: Any) -> Any:
        for p in net.parameters():
            p.grad = None
        out = net(x)
        loss = (out * out * 0.5).mean()
        loss.backward()
        return loss.detach()

    return step


RELU, POOL = nn.ReLU(), nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))
NETS = {
    "relu": (Net(RELU, RELU), 7),
    "relu6": (Net(nn.ReLU6(), nn.ReLU6()), 7),
    "windows": (Net(POOL, POOL), 7),
    "no activation": (Net(nn.Identity(), nn.Identity()), 7),
    "a shortcut": (Net(RELU, RELU, adds=True), None),
    "another who looks": (Net(RELU, RELU, looks=True), None),
}


@pytest.mark.parametrize("name", NETS)
def test_passes(name: str) -> None:
    net, count = NETS[name]
    rng = np.random.default_rng(0)
    x = tg.tensor(rng.standard_normal((10, 3, 24, 24)).astype(np.float32))
    step = step_of(net)
    running = {k: v.numpy().copy() for k, v in net.named_buffers()}
    expected = gradients(net, x, step)
    after = {k: v.numpy().copy() for k, v in net.named_buffers()}
    replayed = tg.compile(step)
    for _ in range(3):
        net.load_state_dict({**net.state_dict(), **{k: tg.tensor(v) for k, v in running.items()}})
        got = gradients(net, x, replayed)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * max(np.abs(b).max(), 0.01))
        for k, v in net.named_buffers():
            np.testing.assert_allclose(v.numpy(), after[k], rtol=1e-5, atol=1e-6)
    found = stages_of(replayed)
    assert any("conv channel_moments" in each for each in found)
    if count is not None:
        half = "pooled" if name == "windows" else "normalized"
        again = "" if name == "windows" else "normalized "
        assert found == [
            "conv channel_moments",
            f"{half} conv channel_moments",
            half,
            f"{half}_sums",
            f"{half}_backward conv_transpose {half}_sums {again}conv_weight",
            f"{half}_backward conv_weight",
        ]


def test_what_is_seen_again_is_not_kept() -> None:
    """The activation between two convolutions is no value of the program any more."""
    net = NETS["relu"][0]
    step = tg.compile(step_of(net))
    x = tg.tensor(np.ones((10, 3, 24, 24), np.float32))
    step(x), step(x)
    passes = [i for i in step.plan.program.instructions if i.function == "image_pass"]
    maps = [[v for v in i.outputs if len(v.shape) == 4 and v.shape[0] == 10] for i in passes]
    assert list(map(len, maps)) == [1, 1, 1, 0, 1, 0]


def test_a_bias_that_changes_in_between() -> None:
    """The gradient is that of the bias in the forward: it is not worked out again."""
    net = Net(nn.Identity(), RELU)
    x = tg.tensor(np.random.default_rng(0).standard_normal((10, 3, 24, 24)).astype(np.float32))

    def step(x: Any) -> Any:
        for p in net.parameters():
            p.grad = None
        loss = net(x).square().mean()
        with tg.no_grad():
            net.bn1.bias.add_(3.0)
        loss.backward()
        with tg.no_grad():
            net.bn1.bias.sub_(3.0)
        return net.conv2.weight.grad

    expected = step(x).numpy().copy()
    replayed = tg.compile(step)
    for _ in range(3):
        np.testing.assert_allclose(replayed(x).numpy(), expected, rtol=0, atol=1e-5)


def test_no_gradients() -> None:
    """Statistics of the batch without a backward."""
    net = NETS["relu"][0]

    @tg.compile
    def forward(x: Any) -> Any:
        with tg.no_grad():
            return net(x)

    x = tg.tensor(np.random.default_rng(0).standard_normal((10, 3, 24, 24)).astype(np.float32))
    for _ in range(3):
        got = forward(x)
        with tg.no_grad():
            expected = net(x)
        np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=0, atol=1e-5)
    assert F.relu(got).numpy().min() >= 0


@given(seeds, geometries, tops, st.booleans())
@example(0, by_tiles | {"size": (8, 10)}, math.inf, True)
@settings(max_examples=15)
def test_given_statistics(seed: int, q: Any, top: float | None, pools: bool) -> None:
    a = Layer(seed, **q)
    o, size = a.w.shape[0], a.y.shape[2:]
    center, scale, shift = a.rng.standard_normal((3, 1, o, 1, 1)).astype(np.float32)
    norm = center, scale, shift
    conv = ("conv", (a.x, a.w, None, *a.steps), {}, (A,))
    if pools and not (size[0] % 2 or size[1] % 2):
        last = ("pooled", (A, norm), {"kernel": (2, 2)}, (B, D))
    else:
        last = ("normalized", (A, norm), {"top": top}, (B,))
    check((conv, last), (B,), q["chunk"], 1e-4)  # of numbers that are larger than `top`


@pytest.mark.parametrize("name", NETS)
def test_evaluation(name: str) -> None:
    net = NETS[name][0]
    net.eval()
    try:
        rng = np.random.default_rng(0)
        x = tg.tensor(rng.standard_normal((10, 3, 24, 24)).astype(np.float32))
        with tg.no_grad():
            expected = net(x).numpy()
        replayed = tg.compile(tg.no_grad()(net.forward))
        for _ in range(3):
            got = replayed(x).numpy()
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
        with tg.no_grad():  # which a replay looks up
            net.bn1.running_mean.add_(1.0)
            np.testing.assert_allclose(replayed(x).numpy(), net(x).numpy(), rtol=0, atol=1e-4)
            net.bn1.running_mean.sub_(1.0)
    finally:
        net.train()
    kinds = {
        "windows": ["conv pooled"] * 2,
        "no activation": [],
        "another who looks": ["normalized", "conv normalized"],
    }
    assert stages_of(replayed) == kinds.get(name, ["conv normalized"] * 2)
