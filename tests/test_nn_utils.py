"""nn.utils and nn.init, against NumPy and naive loops."""

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_cv as tg
from tinygrad_cv import nn
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn.utils import parametrizations, parametrize, rnn, stateless

# ----- clipping ----------------------------------------------------------------------------------


def with_gradients(*shapes: tuple[int, ...], dtype: str = "float64") -> list[Tensor]:
    rng = np.random.default_rng(0)
    parameters = [tg.zeros(shape, dtype=dtype).requires_grad_() for shape in shapes]
    for p in parameters:
        p.grad = tg.tensor(rng.standard_normal(p.shape).astype(dtype))
    return parameters


@pytest.mark.parametrize("order", [1, 2.0, 3, 0.5, math.inf])
@pytest.mark.parametrize("longest", [1e-3, 1.0, 1e6])
def test_gradients_are_cut_to_a_length(order: float, longest: float) -> None:
    parameters = [*with_gradients((3, 2), (4,)), tg.zeros(2).requires_grad_()]
    before = [p.grad.numpy().copy() for p in parameters[:2]]  # type: ignore[union-attr]
    norm = np.linalg.norm(np.concatenate([g.ravel() for g in before]), order)
    found = nn.utils.clip_grad_norm_(iter(parameters), longest, order, foreach=False)
    assert found.item() == pytest.approx(norm)
    for p, g in zip(parameters, before, strict=False):
        assert p.grad is not None
        assert_allclose(p.grad.numpy(), g * min(1, longest / (norm + 1e-6)))
    assert nn.utils.clip_grad_norm is nn.utils.clip_grad_norm_
    assert nn.utils.clip_grad_norm_([], 1.0).item() == 0


def test_a_norm_that_is_no_number() -> None:
    (p,) = with_gradients((2,))
    p.grad = tg.tensor([math.inf, 1.0], dtype="float64")
    with pytest.raises(RuntimeError, match=r"norm of order 2\.0 is inf"):
        nn.utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    assert p.grad.tolist() == [math.inf, 1]


@given(st.floats(0.0, 3.0))
def test_gradients_are_cut_to_a_range(bound: float) -> None:
    (p,) = with_gradients((5, 4))
    assert p.grad is not None
    expected = np.clip(p.grad.numpy(), -bound, bound)
    nn.utils.clip_grad_value_([p], bound)
    assert_array_equal(p.grad.numpy(), expected)


def test_parameters_as_a_vector_and_back() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    vector = nn.utils.parameters_to_vector(net.parameters())
    assert_array_equal(
        vector.detach().numpy(),
        np.concatenate([p.detach().numpy().ravel() for p in net.parameters()]),
    )
    (vector * tg.arange(13).float()).sum().backward()
    assert net[1].bias.grad.tolist() == [12]
    new = tg.arange(13).float()
    nn.utils.vector_to_parameters(new, net.parameters())
    assert net[0].weight.tolist() == [[0, 1], [2, 3], [4, 5]]
    new += 1  # they share its memory
    assert net[1].bias.tolist() == [13]


# ----- norms of weights --------------------------------------------------------------------------


def length(v: Any, dim: int | None) -> Any:
    """Of a matrix: of all, of each row (0) or of each column (1)."""
    if dim is None:
        return np.sqrt((v**2).sum())
    return np.sqrt((v**2).sum(1 - dim, keepdims=True))


@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("form", [nn.utils.weight_norm, parametrizations.weight_norm])
def test_weight_norm(dim: int | None, form: Any) -> None:
    layer = nn.Linear(3, 2)
    before = layer.weight.detach().numpy().copy()
    form(layer, dim=dim)
    assert_allclose(layer.weight.detach().numpy(), before, rtol=1e-6)
    _, g, v = layer.state_dict().values()
    g.mul_(2.0)
    v.copy_(tg.tensor(np.arange(6.0).reshape(2, 3) + 1))
    expected = g.numpy() * v.numpy() / length(v.numpy(), dim)
    y = layer(tg.eye(3)) - layer.bias
    assert_allclose(y.detach().numpy(), expected.T, rtol=1e-5)
    y.sum().backward()
    assert all(p.grad is not None for p in layer.parameters() if p is not layer.bias)


def test_states_of_the_older_weight_norm_are_loaded() -> None:
    older = nn.utils.weight_norm(nn.Linear(3, 2))
    newer: Any = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 2)))
    newer.load_state_dict({f"0.{name}": value for name, value in older.state_dict().items()})
    x = tg.randn(2, 3)
    assert_array_equal(newer(x).detach().numpy(), older(x).detach().numpy())
    nn.utils.remove_weight_norm(older)
    assert [*older.state_dict()] == ["bias", "weight"]
    assert_array_equal(newer(x).detach().numpy(), older(x).detach().numpy())
    with pytest.raises(ValueError, match="no weight_norm"):
        nn.utils.remove_weight_norm(older)


@pytest.mark.parametrize("form", [nn.utils.spectral_norm, parametrizations.spectral_norm])
def test_spectral_norm(form: Any) -> None:
    layer = nn.Linear(4, 3)
    before = layer.weight.detach().numpy().copy()
    form(layer, n_power_iterations=100)
    x = tg.eye(4)
    expected = before / np.linalg.svd(before)[1].max()
    assert_allclose((layer(x) - layer.bias).detach().numpy(), expected.T, atol=1e-5)
    layer.eval()
    state = {name: value.numpy().copy() for name, value in layer.state_dict().items()}
    layer(x)
    for name, value in layer.state_dict().items():
        assert_array_equal(value.numpy(), state[name])
    # d(W/σ) = dW/σ - W u vᵀdW v/σ², so the weight itself is no direction of change
    loss = (layer.weight * tg.tensor(np.arange(12.0).reshape(3, 4))).sum()
    loss.backward()
    original = next(p for name, p in layer.named_parameters() if "orig" in name)
    assert original.grad is not None
    assert abs((original.grad.numpy() * before).sum()) < 1e-4
    if form is nn.utils.spectral_norm:
        nn.utils.remove_spectral_norm(layer)
        assert_allclose(layer.weight.detach().numpy(), expected, atol=1e-5)
    conv = form(nn.ConvTranspose2d(2, 3, 1), n_power_iterations=100)
    assert next(v for k, v in conv.state_dict().items() if k.endswith("_u")).shape == (3,)


# ----- parametrizations --------------------------------------------------------------------------


class Exp(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.exp()

    def right_inverse(self, y: Any) -> Any:
        return y.log()


class Sum(nn.Module):
    def forward(self, a: Any, b: Any) -> Any:
        return a + b

    def right_inverse(self, y: Any) -> Any:
        return y / 2, y / 2


def test_a_parametrized_tensor_is_read_and_assigned() -> None:
    layer: Any = nn.Linear(2, 1)
    weight = layer.weight
    nn.init.constant_(weight, 2.0)
    parametrize.register_parametrization(layer, "weight", Exp())
    assert layer.parametrizations.weight.original is weight  # an optimizer may have it
    assert_allclose(weight.tolist(), [[math.log(2)] * 2], rtol=1e-6)
    assert isinstance(layer, nn.Linear)
    layer.weight = tg.full((1, 2), 3.0)
    assert_allclose(layer.weight.tolist(), [[3, 3]], rtol=1e-6)
    parametrize.register_parametrization(layer, "weight", Exp())
    assert_allclose(layer.weight.tolist(), [[3, 3]], rtol=1e-6)
    layer(tg.ones(1, 2)).sum().backward()
    assert_allclose(weight.grad.tolist(), [[3 * math.log(3)] * 2], rtol=1e-5)
    twin = copy.deepcopy(layer)
    assert [*twin.state_dict()] == ["bias", "parametrizations.weight.original"]
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear
    assert layer.weight is weight
    assert_allclose(layer.weight.tolist(), [[3, 3]], rtol=1e-6)
    parametrize.remove_parametrizations(twin, "weight", leave_parametrized=False)
    assert_allclose(twin.weight.tolist(), [[math.log(math.log(3))] * 2], rtol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: parametrizations.weight_norm(nn.Linear(2, 3)),
        lambda: parametrizations.spectral_norm(nn.Conv2d(1, 2, 3)).eval(),
        lambda: parametrizations.orthogonal(nn.Linear(2, 3)),
        lambda: parametrize.register_parametrization(
            parametrizations.weight_norm(nn.Linear(2, 3)), "bias", nn.Tanh()
        ),
    ],
)
@pytest.mark.parametrize("trip", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_parametrized_modules_are_pickled(make: Any, trip: Any) -> None:
    layer = make()
    found, alone = trip((layer, trip(layer)))
    for twin in (found, alone):
        assert type(twin) is type(layer)
        assert_array_equal(twin.weight.detach().numpy(), layer.weight.detach().numpy())
        assert repr(twin) == repr(layer)
        assert twin.load_state_dict(layer.state_dict()) == ([], [])
        parametrize.remove_parametrizations(twin, "weight")
    assert parametrize.is_parametrized(layer, "weight")


def test_parametrizations_are_handed_on() -> None:
    layer = parametrize.register_parametrization(nn.Linear(2, 2), "weight", Sum())
    parametrize.register_parametrization(layer, "bias", Exp())
    with tg.no_grad():
        layer.parametrizations.weight.original0 += 1
    for other in (nn.Linear(2, 2), nn.Module()):
        found = parametrize.transfer_parametrizations_and_params(layer, other, "weight")
        assert found.weight.tolist() == layer.weight.tolist()
        assert not parametrize.is_parametrized(found, "bias")
        originals = [module.parametrizations.weight.original0 for module in (found, layer)]
        assert originals[0] is originals[1]
    all_of = parametrize.transfer_parametrizations_and_params(layer, nn.Linear(2, 2))
    assert [*all_of.state_dict()] == [*layer.state_dict()]
    assert {*all_of.parameters()} == {*layer.parameters()}
    norm = parametrize.register_parametrization(nn.BatchNorm1d(2), "running_var", Exp())
    twin = parametrize.transfer_parametrizations_and_params(norm, nn.BatchNorm1d(2))
    assert twin.parametrizations.running_var.original is norm.parametrizations.running_var.original
    plain = nn.Linear(1, 1)
    assert parametrize.transfer_parametrizations_and_params(nn.ReLU(), plain) is plain


@pytest.mark.parametrize("make", [parametrizations.spectral_norm, parametrizations.orthogonal])
def test_a_tensor_that_is_not_there(make: Any) -> None:
    with pytest.raises(ValueError, match="ReLU has no parameter and no buffer 'weight'"):
        make(nn.ReLU())


def test_several_originals_and_buffers() -> None:
    layer: Any = nn.BatchNorm1d(2)
    for name in ("weight", "running_var"):
        parametrize.register_parametrization(layer, name, Sum())
    names = [f"parametrizations.{n}.original{i}" for n in ("weight", "running_var") for i in "01"]
    assert [name for name in layer.state_dict() if "original" in name] == names
    assert [name for name, _ in layer.named_parameters() if "original" in name] == names[:2]
    assert layer.weight.tolist() == [1, 1]
    parametrize.remove_parametrizations(layer, "weight")
    assert parametrize.is_parametrized(layer, "running_var")
    assert not parametrize.is_parametrized(layer, "weight")
    with pytest.raises(ValueError, match="2 originals"):
        parametrize.remove_parametrizations(layer, "running_var", leave_parametrized=False)


def test_what_is_no_parametrization() -> None:
    layer = nn.Linear(2, 3)
    with pytest.raises(ValueError, match="no parameter and no buffer 'x'"):
        parametrize.register_parametrization(layer, "x", Exp())
    with pytest.raises(ValueError, match=r"float32 \(6,\) of a tensor of float32 \(3, 2\)"):
        parametrize.register_parametrization(layer, "weight", nn.Flatten(0))
    with pytest.raises(ValueError, match="no parametrization of 'bias'"):
        parametrize.remove_parametrizations(layer, "bias")
    assert [*layer.state_dict()] == ["weight", "bias"]
    layer = parametrize.register_parametrization(layer, "bias", nn.Tanh())
    with pytest.raises(RuntimeError, match="a Tanh has no method right_inverse"):
        layer.bias = tg.zeros(3)  # type: ignore[assignment]


def test_cached_values_are_computed_once() -> None:
    layer: Any = parametrize.register_parametrization(nn.Linear(2, 2), "weight", nn.Tanh())
    with parametrize.cached():
        first = layer.weight
        with parametrize.cached():
            assert layer.weight is first
    assert layer.weight is not first


@pytest.mark.parametrize("name", ["matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (2, 4)])
@pytest.mark.parametrize("based", [False, True])
def test_orthogonal(name: str, shape: tuple[int, int], based: bool) -> None:
    layer: Any = nn.Linear(*shape[::-1])
    start = nn.init.orthogonal_(tg.zeros(shape))
    layer.weight.data.copy_(start)
    parametrizations.orthogonal(layer, orthogonal_map=name, use_trivialization=based)
    if based or name == "householder":
        assert_allclose(layer.weight.detach().numpy(), start.numpy(), atol=1e-5)
        other = nn.init.orthogonal_(tg.zeros(shape))
        layer.weight = other
        assert_allclose(layer.weight.detach().numpy(), other.numpy(), atol=1e-5)
    original = layer.parametrizations.weight.original
    original.data.copy_(tg.randn(shape) * 3)
    if name == "householder":
        original.data.copy_(original.data.tril(-1) + tg.eye(*shape))
    w = layer.weight
    w = (w if shape[0] >= shape[1] else w.t()).detach().numpy()
    assert_allclose(w.T @ w, np.eye(w.shape[1]), atol=2e-5)
    (layer.weight * tg.randn(shape)).sum().backward()
    assert np.isfinite(original.grad.numpy()).all()


# ----- functions of parameters -------------------------------------------------------------------


def test_the_older_place_of_functional_call() -> None:
    assert stateless.functional_call is tg.func.functional_call
    with pytest.raises(AttributeError, match="no attribute 'x'"):
        stateless.x  # noqa: B018


@pytest.mark.parametrize("make", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("options", [{}, {"affine": False}])
def test_a_batch_normalization_is_fused_into_a_convolution(make: Any, options: Any) -> None:
    conv, bn = make(2, 3, 2, bias=not options), nn.BatchNorm2d(3, **options)
    bn(tg.randn(4, 3, 5, 5) * 3 + 1)
    with pytest.raises(ValueError, match="test mode"):
        nn.utils.fuse_conv_bn_eval(conv, bn)
    conv.eval(), bn.eval()
    x = tg.randn(1, 2, 4, 4)
    fused = nn.utils.fuse_conv_bn_eval(conv, bn, transpose=make is nn.ConvTranspose2d)
    assert_allclose(fused(x).detach().numpy(), bn(conv(x)).detach().numpy(), atol=1e-5)


def test_what_is_left_out_says_so() -> None:
    with pytest.raises(AttributeError, match="has no prune: multiply the weight by a mask"):
        nn.utils.prune  # noqa: B018


def test_a_batch_is_not_split() -> None:
    net: Any = nn.Linear(2, 1)
    x = tg.randn(3, 2)
    for devices in (None, [0], [0, 1], range(4)):
        model = nn.DataParallel(net, device_ids=devices)
        assert model(x).tolist() == net(x).tolist()
        assert nn.parallel.data_parallel(net, x, devices).tolist() == net(x).tolist()
    assert not isinstance(model, nn.parallel.DistributedDataParallel)
    state = model.state_dict()
    nn.modules.utils.consume_prefix_in_state_dict_if_present(state, "module.")
    assert net.load_state_dict(state) == ([], [])
    assert state._metadata == net.state_dict()._metadata  # type: ignore[attr-defined]


# ----- sequences ---------------------------------------------------------------------------------


@given(st.data(), st.booleans(), st.booleans())
def test_sequences_are_packed_step_by_step(data: Any, batch_first: bool, vectors: bool) -> None:
    lengths = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    longest = max(lengths) + data.draw(st.integers(0, 1))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((len(lengths), longest, *(3,) * vectors))  # batch first
    given_ = tg.tensor(x if batch_first else x.swapaxes(0, 1), requires_grad=True)
    packed = rnn.pack_padded_sequence(given_, lengths, batch_first, enforce_sorted=False)
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    steps = [[x[i][t] for i in order if lengths[i] > t] for t in range(max(lengths))]
    assert_array_equal(packed.data.detach().numpy(), [v for step in steps for v in step])
    assert packed.batch_sizes.tolist() == [len(step) for step in steps]
    assert packed.sorted_indices is not None
    assert packed.sorted_indices.tolist() == order
    total = max(lengths) + data.draw(st.integers(0, 2))
    padded, found = rnn.pad_packed_sequence(packed, True, -1.0, total_length=total)
    assert found.tolist() == lengths
    expected = np.full((len(lengths), total, *x.shape[2:]), -1.0)
    for i, n in enumerate(lengths):
        expected[i, :n] = x[i, :n]
    assert_array_equal(padded.detach().numpy(), expected)
    (padded * padded).sum().backward()
    assert given_.grad is not None
    gradient = np.zeros_like(x)
    for i, n in enumerate(lengths):
        gradient[i, :n] = 2 * x[i, :n]
    got = given_.grad.numpy()
    assert_array_equal(got if batch_first else got.swapaxes(0, 1), gradient)
    parts = rnn.unpack_sequence(packed)
    for i, n in enumerate(lengths):
        assert_array_equal(parts[i].detach().numpy(), x[i, :n])
    for side in ("left", "right"):
        joined = rnn.pad_sequence([p.detach() for p in parts], padding_side=side).numpy()
        for i, n in enumerate(lengths):
            at = slice(len(joined) - n, None) if side == "left" else slice(n)
            assert_array_equal(joined[at, i], x[i, :n])
            assert joined[:, i].sum() == pytest.approx(x[i, :n].sum())


def test_packed_sequences_in_other_dtypes() -> None:
    packed = rnn.pack_sequence([tg.tensor([1.5, 2.0]), tg.tensor([3.0])])
    assert packed.batch_sizes.device == "cpu"
    assert rnn.pad_packed_sequence(packed)[1].device == "cpu"
    assert packed.float() is packed.to(packed.data.device, "float32") is packed
    assert packed.cpu().data.device == "cpu"
    for name, dtype in (("double", "float64"), ("short", "int16"), ("byte", "uint8")):
        other = getattr(packed, name)()
        assert (other.data.dtype, other.batch_sizes.tolist()) == (dtype, [2, 1])


@pytest.mark.parametrize(
    ("lengths", "told"),
    [
        ([1, 2], "do not descend"),
        ([2, 0], "from 1 to the 3 steps"),
        ([4, 1], "from 1 to the 3 steps"),
        ([2], "1 lengths were given for a batch of 2"),
    ],
)
def test_lengths_that_do_not_fit(lengths: list[int], told: str) -> None:
    with pytest.raises(RuntimeError, match=told):
        rnn.pack_padded_sequence(tg.zeros(3, 2), tg.tensor(lengths))


# ----- initial values ----------------------------------------------------------------------------


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 2), st.sampled_from([(3,), (2, 3)]))
def test_dirac_passes_channels_on(
    out: int, inside: int, groups: int, window: tuple[int, ...]
) -> None:
    w = nn.init.dirac_(tg.ones(out * groups, inside, *window), groups).numpy()
    expected = np.zeros_like(w)
    for g in range(groups):
        for i in range(min(out, inside)):
            expected[(g * out + i, i, *(n // 2 for n in window))] = 1
    assert_array_equal(w, expected)


@given(st.integers(1, 5), st.integers(1, 5), st.floats(0.5, 2.0))
def test_orthogonal_rows_or_columns(rows: int, columns: int, gain: float) -> None:
    w = nn.init.orthogonal_(tg.zeros(rows, columns), gain).numpy()
    w = w if rows >= columns else w.T
    assert_allclose(w.T @ w, gain**2 * np.eye(w.shape[1]), atol=1e-5 * gain**2)


@given(st.floats(-2, 2), st.floats(0.1, 3.0), st.floats(-3, 0), st.floats(0.5, 3))
def test_a_normal_that_is_cut_off(mean: float, std: float, a: float, b: float) -> None:
    """Its moments are those of the density on [a, b], integrated in small steps."""
    assume(abs(mean - (a + b) / 2) < 3 * std)
    w = nn.init.trunc_normal_(
        tg.zeros(4000, dtype="float64"), mean, std, a, b, np.random.default_rng(0)
    ).numpy()
    assert a <= w.min() <= w.max() <= b
    x = np.linspace(a, b, 20001)
    density = np.exp(-(((x - mean) / std) ** 2) / 2)
    density /= density.sum()
    expected = (x * density).sum()
    spread = math.sqrt(((x - expected) ** 2 * density).sum())
    assert w.mean() == pytest.approx(expected, abs=5 * spread / math.sqrt(w.size))
    assert w.std() == pytest.approx(spread, rel=0.1)


@given(st.integers(1, 8), st.integers(1, 5), st.floats(0, 1))
def test_columns_with_zeros(rows: int, columns: int, share: float) -> None:
    w = nn.init.sparse_(tg.ones(rows, columns), share, 1.0).numpy()
    assert ((w == 0).sum(0) == math.ceil(share * rows)).all()


def test_weights_without_elements() -> None:
    for name in ("kaiming_uniform_", "kaiming_normal_"):
        for shape in ((3, 0), (0, 3), (2, 2, 0)):
            assert getattr(nn.init, name)(tg.zeros(shape)).shape == shape


def test_gains_and_older_names() -> None:
    assert nn.init.calculate_gain("selu") == 3 / 4
    for name in ("conv1d", "conv2d", "conv3d", "conv_transpose2d", "linear"):
        assert nn.init.calculate_gain(name) == 1
    assert nn.init.xavier_uniform is nn.init.xavier_uniform_
    assert nn.init._calculate_fan_in_and_fan_out(tg.zeros(4, 3, 2, 2)) == (12, 16)
    for wrong in (
        lambda: nn.init.eye_(tg.zeros(3)),
        lambda: nn.init.dirac_(tg.zeros(3, 3)),
        lambda: nn.init.dirac_(tg.zeros(3, 3, 3), groups=2),
        lambda: nn.init.orthogonal_(tg.zeros(3)),
        lambda: nn.init.sparse_(tg.zeros(3, 3, 3), 0.1),
        lambda: nn.init.trunc_normal_(tg.zeros(3), a=1, b=0),
        lambda: nn.init.calculate_gain("gelu"),
    ):
        with pytest.raises(ValueError, match=r"got|must be one of|must divide"):
            wrong()
