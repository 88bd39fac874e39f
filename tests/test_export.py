"""Models as ONNX files: each op, each layer and each model, run by the package's own evaluator."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray

import tinygrad_cv as tg
from export_layers import LAYERS, WRONG, inputs_of, made_of
from rows import ROWS
from tinygrad_cv import models, nn
from tinygrad_cv._op import REGISTRY
from tinygrad_cv._trees import tensors_in
from tinygrad_cv.onnx import export, export_model, import_model, is_in_onnx_export
from tinygrad_cv.onnx.writing import OPS, REFUSED

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
reference = pytest.importorskip("onnx.reference")

Array = NDArray[Any]

pytestmark = [
    pytest.mark.host,
    pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning"),  # the evaluator's
    pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning"),
]


def ran(made: Any, feeds: dict[str, Array]) -> list[Array]:
    """The outputs of a model by the package's evaluator."""
    return [np.asarray(y) for y in reference.ReferenceEvaluator(made).run(None, feeds)]


def imported(made: Any, feeds: dict[str, Array]) -> list[Array]:
    """The outputs of a model by our own import."""
    return [y.numpy(force=True) for y in import_model(made).run(feeds).values()]


def agree(found: list[Array], expected: list[Array], rtol: float = 1e-5) -> None:
    """Raise unless values, shapes and dtypes are equal, to rounding."""
    for y, wanted in zip(found, expected, strict=True):
        assert (y.shape, y.dtype) == (wanted.shape, wanted.dtype)
        assert_allclose(y, wanted, rtol, rtol)


# ----- the ops -----------------------------------------------------------------------------------

OURS = [name for name, op in REGISTRY.items() if not op.foreign]


def test_every_op_is_written_or_refused_by_name() -> None:
    assert {*OURS} == {*OPS} | {*REFUSED}
    assert not {*OPS} & {*REFUSED}
    assert all(len(why) > 20 for why in REFUSED.values())


@pytest.mark.parametrize("name", [name for name in OPS if name in ROWS])
@settings(max_examples=2, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_an_op_computes_there_what_it_computes_here(name: str, data: Any) -> None:
    row = ROWS[name]
    case = data.draw(row.cases)
    arrays = [value for value in case.inputs if isinstance(value, np.ndarray)]

    def function(*tensors: Any) -> Any:
        rest = iter(tensors)
        given = [next(rest) if isinstance(v, np.ndarray) else v for v in case.inputs]
        return tg.apply(case.make(row.op), *given)

    names = [f"x{i}" for i in range(len(arrays))]
    made = export_model(function, tuple(arrays), None, input_names=names, dynamic_axes={})
    results = function(*(tg.Tensor(a, dtype=a.dtype) for a in arrays))
    expected = [y.numpy(force=True) for y in tensors_in(results)]
    feeds = dict(zip(names, arrays, strict=True))
    agree(imported(made, feeds), expected)
    if name not in WRONG and not (name in EMPTY and any(not a.size for a in arrays)):
        agree(ran(made, feeds), expected)


EMPTY = {"fold", "max_pool_with_places"}
"""Ops of which the evaluator cannot take an input or make a result without elements."""


DTYPES = ("bool", "uint8", "int8", "int32", "int64", "float16", "float32", "float64")
BINARY = """
    add sub mul div floor_divide remainder fmod maximum minimum pow lt ge eq ne logical_and
    bitwise_and atan2 copysign hypot
"""
UNARY = """
    neg abs sign floor ceil trunc round sqrt exp tanh relu gelu softmax sum mean prod amax argmax
    any all std logical_not bitwise_not isnan isfinite square reciprocal silu sort expm1 log1p
"""


def some(dtype: str, seed: int) -> Array:
    """Numbers of a dtype, none of them 0."""
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.random((2, 3)) < 0.5
    signs = 1 if dtype[0] == "u" else np.where(rng.random((2, 3)) < 0.5, 1, -1)
    values = rng.integers(1, 9, (2, 3)) if dtype[0] in "ui" else rng.random((2, 3)) * 3 + 0.1
    return np.asarray(values * signs).astype(dtype)


@settings(max_examples=30)
@given(
    name=st.sampled_from((*BINARY.split(), *UNARY.split())),
    dtype=st.sampled_from(DTYPES),
    other=st.sampled_from((*DTYPES, 2, -1, 2.5, True)),
    seed=st.integers(0, 99),
)
def test_a_result_has_the_dtype_that_it_has_here(
    name: str, dtype: str, other: Any, seed: int
) -> None:
    function = getattr(tg, name)
    arrays = [some(dtype, seed)]
    options: Any = {"dim": 1} if name in ("softmax", "sort") else {}
    if name in BINARY.split() and isinstance(other, str):
        arrays.append(some(other, seed + 1))
    numbers = [other] if name in BINARY.split() and not isinstance(other, str) else []
    tensors = [tg.Tensor(a, dtype=a.dtype) for a in arrays]
    try:
        result = function(*tensors, *numbers, **options)
    except (TypeError, ValueError, ArithmeticError):
        reject()  # this dtype is not for this function
    made = export_model(
        lambda *xs: function(*xs, *numbers, **options), tuple(arrays), None, dynamic_axes={}
    )
    feeds = dict(zip((value.name for value in made.graph.input), arrays, strict=True))
    expected = [y.numpy(force=True) for y in tensors_in(result)]
    half = any(y.dtype == "float16" for y in expected)
    agree(ran(made, feeds), expected, 3e-3 if half else 1e-5)


# ----- the layers --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_computes_there_what_it_computes_here(name: str) -> None:
    layer = LAYERS[name]
    model, made = made_of(layer)
    arrays = inputs_of(layer, 3)  # not the batch that it was exported with
    expected = [y.numpy(force=True) for y in tensors_in(model(*map(tg.tensor, arrays)))]
    feeds = dict(zip((value.name for value in made.graph.input), arrays, strict=True))
    agree(imported(made, feeds), expected, layer.rtol)
    if name not in WRONG:
        agree(ran(made, feeds), expected, layer.rtol)
    if layer.nodes:
        assert " ".join(node.op_type for node in made.graph.node) == layer.nodes
    if isinstance(model, nn.Module) and layer.keeps:
        weights = {value.name for value in made.graph.initializer}
        assert weights >= {k for k in model.state_dict() if "num_batches_tracked" not in k}


def test_every_layer_is_tried() -> None:
    """But for what is none by itself, or draws numbers even in evaluation."""
    models = (layer.make() for layer in LAYERS.values())
    parts = (part for m in models if isinstance(m, nn.Module) for part in m.modules())
    tried = {type(part).__name__ for part in parts}
    things = {name: getattr(nn, name) for name in nn.__all__ if not name.startswith("Lazy")}
    left = {
        name
        for name, thing in things.items()
        if isinstance(thing, type) and issubclass(thing, nn.Module) and thing.__name__ not in tried
    }
    assert left <= LEFT_OUT


LEFT_OUT = {
    *("Module", "RNNBase", "RNNCellBase", "ModuleDict", "ModuleList", "ParameterDict"),
    *("ParameterList", "DataParallel", "FractionalMaxPool2d", "FractionalMaxPool3d"),
    *("AdaptiveLogSoftmaxWithLoss", "CTCLoss", "Container", "TripletMarginWithDistanceLoss"),
}


# ----- the models --------------------------------------------------------------------------------

SMALL = {
    "lenet5": (1, 28),
    "example_net": (3, 32),
    "resnet20": (3, 32),
    "squeezenet1_1": (3, 32),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_model_computes_there_what_it_computes_here(name: str) -> None:
    channels, size = SMALL[name]
    tg.manual_seed(0)
    model = models.get_model(name, weights=None).eval()
    x = tg.randn(3, channels, size, size)
    made = export_model(model, x[:1], None)
    (y,) = ran(made, {made.graph.input[0].name: x.numpy()})
    expected = model(x).numpy(force=True)
    assert np.abs(y - expected).max() <= 1e-5 * np.abs(expected).max()


def test_a_residual_net_has_the_nodes_that_it_should_have() -> None:
    made = export_model(models.resnet18(weights=None), tg.zeros(1, 3, 32, 32), None)
    kinds = [node.op_type for node in made.graph.node]
    counts = {kind: kinds.count(kind) for kind in kinds}
    assert counts == {
        **{"Conv": 20, "BatchNormalization": 20, "Relu": 17, "Add": 8, "MaxPool": 1},
        **{"GlobalAveragePool": 1, "Reshape": 1, "Gemm": 1},
    }


# ----- the file ----------------------------------------------------------------------------------


def small() -> nn.Module:
    tg.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 36, 5),
        nn.BatchNorm1d(5),
    )
    net(tg.randn(9, 3, 8, 8))  # statistics
    return net


X = np.random.default_rng(0).standard_normal((3, 3, 8, 8)).astype("float32")


def test_what_the_file_says_of_the_model(tmp_path: Path) -> None:
    net = small()
    path = tmp_path / "net.onnx"
    made = export_model(net, X[:1], path, doc="A small net.")
    assert onnx.load(path) == made
    onnx.checker.check_model(path, full_check=True)
    assert (made.producer_name, made.doc_string) == ("tinygrad_cv", "A small net.")
    assert [(i.version, i.domain) for i in made.opset_import] == [(26, "")]
    (x,), (y,) = made.graph.input, made.graph.output
    assert (x.name, y.name, made.graph.name) == ("x", "output", "Sequential")
    for value, shape in ((x, ["batch", 3, 8, 8]), (y, ["batch", 5])):
        dims = value.type.tensor_type.shape.dim
        assert [d.dim_param or d.dim_value for d in dims] == shape
    net.eval()
    expected = net(tg.tensor(X)).numpy(force=True)
    agree(ran(made, {"x": X}), [expected])
    assert_allclose(import_model(path)(tg.tensor(X)).numpy(), expected, 1e-5, 1e-5)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    digests = set()
    for name in ("a", "b"):
        export_model(small(), X[:1], tmp_path / "net.onnx", external_data=name == "b")
        export_model(small(), X[:1], tmp_path / name)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).digest())
    assert len(digests) == 1


def test_the_model_is_as_before(tmp_path: Path) -> None:
    net = small()
    net[0].eval()
    before = {k: v.numpy(force=True).copy() for k, v in net.state_dict().items()}
    for training in (False, True):
        export_model(net, X, None, training=training)
        assert [part.training for part in net] == [False, True, True, True, True, True]
        assert all(p.requires_grad and p.grad is None for p in net.parameters())
        for key, value in net.state_dict().items():
            assert np.array_equal(value.numpy(force=True), before[key])
    assert not is_in_onnx_export()


class Counting(nn.Module):
    """A state that moves on with every call."""

    calls: Any
    mean: Any

    def __init__(self) -> None:
        self.register_buffer("calls", tg.tensor(0))
        self.register_buffer("mean", tg.zeros(3))

    def forward(self, x: Any) -> Any:
        self.calls += 1
        self.mean = 0.5 * self.mean + x.mean(0)
        return x - self.mean


def test_a_state_that_the_model_changes_is_as_before() -> None:
    model, x = Counting(), X[:, :, 0, 0]
    calls, mean = model.calls, model.mean
    for _ in range(2):
        made = export_model(model, x, None)
        assert [id(b) for b in model.buffers()] == [id(calls), id(mean)]
        assert [calls.item(), *mean.tolist(), mean.requires_grad] == [0, 0, 0, 0, False]
        agree(ran(made, {"x": x}), [x - x.mean(0)])


def test_training_mode_takes_the_statistics_of_the_batch() -> None:
    net = small()
    made = export_model(net, X, None, training=True)
    agree(ran(made, {"x": X}), [net(tg.tensor(X)).numpy(force=True)], 1e-4)


def test_weights_beside_the_model(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(40, 30), nn.Tanh(), nn.Linear(30, 20)).eval()
    path = tmp_path / "net.onnx"
    x = np.ones((2, 40), "float32")
    made = export_model(net, x, path, external_data=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.onnx", "net.onnx.data"]
    assert path.stat().st_size < 2000
    entries = {t.name: {e.key: e.value for e in t.external_data} for t in made.graph.initializer}
    assert {name for name, entry in entries.items() if entry} == {"0.weight", "2.weight"}
    assert all(int(e["offset"]) % 4096 == 0 for e in entries.values() if e)
    onnx.checker.check_model(path, full_check=True)
    expected = net(tg.tensor(x)).numpy(force=True)
    agree(
        [np.asarray(y) for y in reference.ReferenceEvaluator(str(path)).run(None, {"x": x})],
        [expected],
    )
    assert_allclose(import_model(path)(tg.tensor(x)).numpy(), expected, 1e-5)


def test_weights_that_are_too_large_for_one_file_lie_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinygrad_cv.onnx.save.MOST_BYTES", 3000)
    net, x = nn.Linear(40, 30), np.ones((2, 40), "float32")
    export_model(net, x, tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx.data").stat().st_size == 4 * 40 * 30
    for options in ({"path": tmp_path / "b", "external_data": False}, {"path": None}):
        with pytest.raises(ValueError, match=r"external_data=True|give a path"):
            export_model(net, x, **options)  # type: ignore[arg-type]
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("make", "norms"),
    [
        (small, 0),
        (lambda: nn.Sequential(nn.ConvTranspose2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)), 0),
        (lambda: nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.BatchNorm2d(6)), 0),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)), 1),
        (lambda: Twice(), 1),
    ],
    ids=["small", "transposed", "groups", "relu between", "used twice"],
)
def test_batch_norm_becomes_part_of_the_layer_before_it(make: Any, norms: int) -> None:
    net = make()
    net(tg.tensor(X + 1))
    net.eval()
    made = export_model(net, X[:1], None, fold_batch_norm=True)
    kinds = [node.op_type for node in made.graph.node]
    assert kinds.count("BatchNormalization") == norms
    name = made.graph.input[0].name
    expected = [y.numpy(force=True) for y in tensors_in(net(tg.tensor(X)))]
    agree(imported(made, {name: X}), expected, 1e-4)
    if make is small:
        weights = {t.name for t in made.graph.initializer}
        assert weights == {"0.weight", "0.bias", "4.weight", "4.bias"} | {
            name for name in weights if name.startswith("constant")
        }


class Twice(nn.Module):
    """What the layer makes is wanted itself, too."""

    def __init__(self) -> None:
        self.layer, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Any) -> Any:
        y = self.layer(x)
        return y, self.norm(y)


def test_a_weight_that_two_layers_share_is_there_once_and_folds_for_one() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            self.layer, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x: Any) -> Any:
            return self.layer(self.norm(self.layer(x)))

    net = Shared()
    net(tg.tensor(X + 1))
    net.eval()
    for fold in (False, True):
        made = export_model(net, X[:1], None, fold_batch_norm=fold)
        agree(ran(made, {"x": X}), [net(tg.tensor(X)).numpy(force=True)], 1e-4)
    names = [t.name for t in export_model(net, X[:1], None).graph.initializer]
    assert len(names) == len({*names}) == 6


def test_names_arguments_and_axes() -> None:
    def function(image: Any, other: Any, *, scale: Any) -> Any:
        return {"sum": image + other[0] * scale, "parts": other[1] * 2}

    images = [tg.randn(2, 3) for _ in range(4)]
    made = export_model(
        lambda image, other, scale: function(image, other, scale=scale),
        {"image": images[0], "other": (images[1], images[2]), "scale": images[3]},
        None,
        dynamic_axes={"image": [0], "other_0": {0: "image_0"}, "scale": {0: "image_0"}},
    )
    assert [v.name for v in made.graph.input] == ["image", "other_0", "other_1", "scale"]
    assert [v.name for v in made.graph.output] == ["sum", "parts"]
    dims = [v.type.tensor_type.shape.dim[0] for v in (*made.graph.input, *made.graph.output)]
    assert [d.dim_param or d.dim_value for d in dims] == ["image_0"] * 2 + [2] + ["image_0"] * 2 + [
        2
    ]


def test_the_arguments_that_pytorch_takes() -> None:
    made = export(nn.Linear(2, 3), tg.zeros(4, 2), input_names=["a"], output_names=["b"])
    (x,), (y,) = made.graph.input, made.graph.output
    assert (x.name, y.name, x.type.tensor_type.shape.dim[0].dim_value) == ("a", "b", 4)
    made = export(
        nn.Linear(2, 3),
        (tg.zeros(4, 2),),
        export_params=True,
        do_constant_folding=True,
        input_names=["input"],
        output_names=["output"],
        dynamic_axes={"input": {0: "many"}, "output": {0: "many"}},
    )
    for value in (*made.graph.input, *made.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "many"

    def function(x: Any, other: Any, factor: int = 1) -> Any:
        return x - other["a"][0] * factor

    one, two = X[..., 0, 0], X[..., 1, 1]
    for args, kwargs in (
        ((one, {"other": {"a": [two]}, "factor": 2}), None),
        ((one,), {"other": {"a": [two]}, "factor": 2}),
        (one, {"other": {"a": [two]}, "factor": 2}),
        ((one, {"a": [two]}, 2), None),
    ):
        made = export(function, args, kwargs=kwargs)
        assert [value.name for value in made.graph.input] == ["x", "other_0"]
        agree(ran(made, {"x": two, "other_0": one}), [two - one * 2])


def test_an_input_with_the_name_of_a_weight_gets_another_one() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            self.x = nn.Parameter(tg.tensor([2.0, 3.0]))

        def forward(self, x: Any, x_: Any) -> Any:
            return x * self.x + x_

    x = X[:, :2, 0, 0]
    made = export_model(Scale(), (x, x), None)
    assert [value.name for value in made.graph.input] == ["x_", "x__"]
    agree(ran(made, {"x_": x, "x__": x}), [x * np.array([3, 4], "float32")])


@given(size=st.integers(1, 5), other=st.integers(0, 5), opset=st.sampled_from((20, 23, 26)))
@settings(max_examples=5)
def test_how_many_samples_the_example_has_does_not_matter(
    size: int, other: int, opset: int
) -> None:
    net = small().eval()
    made = export_model(net, X.repeat(2, 0)[:size], None, opset_version=opset)
    x = X.repeat(2, 0)[:other]
    agree(imported(made, {"x": x}), [net(tg.tensor(x)).numpy(force=True)])


# ----- what cannot be exported -------------------------------------------------------------------


class Inside(nn.Module):
    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.inner = nn.Sequential(nn.Identity(), Called(function))

    def forward(self, x: Any) -> Any:
        return self.inner(x)


class Called(nn.Module):
    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


def counted(x: Any) -> Any:
    counts = tg.zeros(3, 4, dtype=tg.int64)
    total = counts + 1
    counts[0] = 5
    return x.sum() + total + counts


def counted_calls() -> Callable[[Any], Any]:
    calls = iter(range(1, 99))
    return lambda x: x * next(calls)


REFUSALS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "half of the batch": (lambda x: x[: x.shape[0] // 2], r"not known \(1 or 2\)"),
    "the larger half": (lambda x: x[: -(-x.shape[0] // 2)], r"not known \(1 or 3\)"),
    "pairs": (lambda x: x[: x.shape[0] % 2], r"not known \(0 or 1\)"),
    "at most 4": (lambda x: x[: min(x.shape[0], 4)], r"not known \(2 or 4\)"),
    "calls that are counted": (counted_calls(), "not known"),
    "an op": (tg.lgamma, r"lgamma in Called 'inner\.1' cannot be exported to ONNX: ONNX has no"),
    "an if": (lambda x: x if x.mean() > 0 else -x, r"test_export\.py:\d+: a number is taken"),
    "item": (lambda x: x * x.mean().item(), r"taken out of a tensor of shape \(\)"),
    "numpy": (lambda x: x + tg.tensor(x.detach().numpy()), r"where\(condition, a, b\)"),
    "a place": (lambda x: x[[0, 1], x[0, 0, 0, 0].long()], r"\.py:\d+: a number is taken"),
    "a mask": (lambda x: x[x > 0], r"getitem in Called 'inner\.1'.*mask.*where\(\) instead"),
    "nonzero": (tg.nonzero, r"nonzero in .*depends on their values"),
    "noise": (
        lambda x: tg.dropout(x, training=True),
        r"dropout in .*random numbers.*training=False",
    ),
    "numbers drawn": (lambda x: x + tg.randn(8), r"add in|randn|constant"),
    "a gradient": (lambda x: tg.grad((x * x).sum(), x)[0], r"cannot be exported"),
    "a write": (counted, r"changed in place"),
    "an inverse": (lambda x: tg.linalg.inv(x), r"inv in Called 'inner\.1'.*outside of the model"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_exported_is_named_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    function, words = REFUSALS[name]
    path = tmp_path / "net.onnx"
    path.write_bytes(b"before")
    with pytest.raises(NotImplementedError, match=words):
        export_model(Inside(function), X, path)
    assert path.read_bytes() == b"before"
    assert [*tmp_path.iterdir()] == [path]


MISTAKES: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no model": ({"model": 3}, TypeError, "a module or a function; got int"),
    "no tensor": ({"example": "x"}, ValueError, "holds no tensor"),
    "an old opset": ({"opset_version": 9}, ValueError, r"from 20 to \d+.*got 9"),
    "no tensors": ({"example": np.zeros((0, 3, 8, 8), "float32")}, ValueError, "no elements along"),
    "no name": ({"input_names": [3]}, ValueError, r"got \[3\]"),
    "the name of a weight, again": ({"input_names": ["0.weight"]}, ValueError, "of a weight"),
    "one axis": ({"dynamic_axes": {"x": 4}}, ValueError, "has no axis 4"),
    "an axis by a word": ({"dynamic_axes": {"x": "batch"}}, ValueError, "has no axis 'b'"),
    "axes without a name": ({"dynamic_axes": ["x"]}, TypeError, r"as in \{'x': \{0: 'batch'\}\}"),
    "two names": ({"input_names": ["a", "b"]}, ValueError, "each of the 1 tensors"),
    "no output": ({"output_names": []}, ValueError, "each of the 1 outputs"),
    "the name of a weight": ({"output_names": ["0.weight"]}, ValueError, "an input or a weight"),
    "no such input": ({"dynamic_axes": {"y": {0: "n"}}}, ValueError, r"'y' is no input.*\(x\)"),
    "no such axis": ({"dynamic_axes": {"x": {4: "n"}}}, ValueError, "has no axis 4"),
    "a fixed axis": ({"dynamic_axes": {"x": {2: "h"}}}, ValueError, "linear"),
    "no folder": ({"path": "/nowhere/net.onnx"}, OSError, "nowhere"),
    "a number": ({"model": lambda x: 3}, TypeError, "returns int"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told(name: str, tmp_path: Path) -> None:
    changed, error, words = MISTAKES[name]
    arguments = {"model": small(), "example": X, "path": tmp_path / "net.onnx"} | changed
    with pytest.raises(error, match=words):
        export_model(**arguments)
    assert not [*tmp_path.iterdir()]


def test_any_number_of_axes_is_free() -> None:
    names = {"x": {0: "a", 1: "b", 2: "c", 3: "d"}, "y": {0: "e", 1: "f", 2: "g", 3: "h"}}
    axes = {**names, "z": {0: "i", 1: "j", 2: "k", 3: "l"}}
    example = [tg.zeros(1, 1, 1, 1) for _ in axes]
    made = export_model(lambda x, y, z: (x, y, z.flatten(1)), example, None, dynamic_axes=axes)
    arrays = [X[..., :n, :1] for n in (1, 2, 3)]
    results = ran(made, dict(zip("xyz", arrays, strict=True)))
    agree(results, [*arrays[:2], arrays[2].reshape(3, -1)])


def test_axes_of_one_name_have_one_length() -> None:
    with pytest.raises(ValueError, match="'batch' is 2 long in x and 3 in y; give"):
        export_model(lambda x, y: (x, y), (tg.zeros(2), tg.zeros(3)), None)
