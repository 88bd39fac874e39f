"""ONNX models that are damaged, or that ask for more than any memory holds: refused at once."""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import tinygrad_cv as tg
from test_onnx import OPERATORS, helper, loaded, network, normal, numpy_helper, one_node, onnx
from tinygrad_cv.onnx import import_model

pytestmark = pytest.mark.host

HUGE = 10**9
MEGABYTE = 2**20


@contextmanager
def at_most(megabytes: int) -> Iterator[None]:
    """Raise if more memory was held at once; arrays count before anything is written to them."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * MEGABYTE
    finally:
        tracemalloc.stop()


def ints(*values: int) -> Any:
    return np.array(values, dtype="int64")


def floats(*values: float) -> Any:
    return np.array(values, dtype="float32")


# ----- what would be too large -------------------------------------------------------------------

X = normal(1, 1, 2, 2).astype("float32")
COLUMN, ROW = np.zeros((10**5, 1), "float32"), np.zeros((1, 10**5), "float32")
LINE = np.zeros(10**5, "float32")
NOWHERE = np.zeros(10**5, "int64")

TOO_LARGE: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "Resize by scales": ("Resize", {"x": X, "_": X, "s": floats(1, 1, HUGE, HUGE)}, {}),
    "Resize of one axis": ("Resize", {"x": X, "_": X, "s": floats(1, 1, HUGE, 1)}, {}),
    "Resize to sizes": (
        "Resize",
        {"x": X, "_": X, "_s": X, "n": ints(1, 1, HUGE, 2)},
        {"mode": "cubic", "cubic_coeff_a": -0.5},
    ),
    "Resize of an axis by exact places": (
        "Resize", {"x": X, "_": X, "s": floats(1, 1, 1e7, 1)}, {"nearest_mode": "ceil"},
    ),
    "Upsample": ("Upsample", {"x": X, "s": floats(1, 1, HUGE, HUGE)}, {"opset": 9}),
    "Tile": ("Tile", {"x": X, "n": ints(1, 1, 1, HUGE)}, {}),
    "Pad": ("Pad", {"x": X, "n": ints(0, 0, HUGE, 0, 0, 0, HUGE, 0)}, {}),
    "Pad with the edge": ("Pad", {"x": X, "n": ints(0, 0, 0, 0, 0, 0, 2**62, 0)}, {"mode": "edge"}),
    "CenterCropPad": ("CenterCropPad", {"x": X, "n": ints(1, 1, HUGE, 2)}, {}),
    "Expand": ("Expand", {"x": X, "n": ints(HUGE, 1, 2, 2)}, {}),
    "Expand beyond 64 bits": ("Expand", {"x": X, "n": ints(HUGE, HUGE, HUGE, 1, 1, 1)}, {}),
    "ConstantOfShape": ("ConstantOfShape", {"n": ints(HUGE, HUGE)}, {}),
    "Range": ("Range", {"a": ints(0)[0], "b": ints(10**18)[0], "c": ints(1)[0]}, {}),
    "Range in tiny steps": (
        "Range", {"a": floats(0)[0], "b": floats(1)[0], "c": floats(1e-30)[0]}, {},
    ),
    "OneHot": ("OneHot", {"i": ints(1, 2), "n": ints(HUGE), "v": floats(0, 1)}, {}),
    "Split": ("Split", {"x": X}, {"num_outputs": HUGE}),
    "Concat": ("Concat", {f"x{i}": np.zeros(2**20, "bool") for i in range(9)}, {"axis": 0}),
    "Add": ("Add", {"x": COLUMN, "y": ROW}, {}),
    "Div": ("Div", {"x": COLUMN, "y": ROW}, {}),
    "Mod": ("Mod", {"x": COLUMN, "y": ROW}, {"fmod": 1}),
    "Pow": ("Pow", {"x": COLUMN, "y": ROW}, {}),
    "Max": ("Max", {"x": COLUMN, "y": ROW}, {}),
    "Mean": ("Mean", {"x": COLUMN, "y": ROW}, {}),
    "Where": ("Where", {"c": COLUMN > 0, "x": floats(1), "y": ROW}, {}),
    "PRelu": ("PRelu", {"x": COLUMN, "y": ROW}, {}),
    "RMSNormalization": ("RMSNormalization", {"x": COLUMN, "y": LINE}, {}),
    "MatMul": ("MatMul", {"x": COLUMN, "y": ROW}, {}),
    "MatMul of stacks": ("MatMul", {"x": COLUMN[..., None, None], "y": ROW[..., None, None]}, {}),
    "Gemm": ("Gemm", {"x": COLUMN, "y": COLUMN}, {"transB": 1}),
    "Einsum": ("Einsum", {"x": LINE, "y": LINE}, {"equation": "i,j"}),
    "Gather": ("Gather", {"x": ROW, "i": NOWHERE}, {}),
    "GatherND": ("GatherND", {"x": ROW, "i": NOWHERE[:, None]}, {}),
    "ScatterElements": (
        "ScatterElements", {"x": LINE, "i": NOWHERE, "u": LINE}, {"reduction": "max"},
    ),
    "Conv with padding": ("Conv", {"x": X, "w": X}, {"pads": [HUGE] * 4}),
    "Conv of many channels": (
        "Conv", {"x": COLUMN[..., None, None], "w": COLUMN[..., None, None]}, {},
    ),
    "ConvTranspose with strides": ("ConvTranspose", {"x": X, "w": X}, {"strides": [HUGE] * 2}),
    "ConvTranspose to a shape": ("ConvTranspose", {"x": X, "w": X}, {"output_shape": [HUGE] * 2}),
    "MaxPool": ("MaxPool", {"x": X}, {"kernel_shape": [HUGE, 1], "pads": [HUGE // 2, 0] * 2}),
    "AveragePool": ("AveragePool", {"x": X}, {"kernel_shape": [HUGE, 1], "auto_pad": "SAME_UPPER"}),
    "LpPool": ("LpPool", {"x": X}, {"kernel_shape": [1, 1], "pads": [HUGE] * 4}),
    "MaxUnpool": (
        "MaxUnpool",
        {"x": X, "i": ints(0, 1, 2, 3).reshape(1, 1, 2, 2)},
        {"kernel_shape": [2, 2], "strides": [HUGE, HUGE]},
    ),
    "Col2Im": ("Col2Im", {"x": X[0, :, :1], "n": ints(HUGE, HUGE), "b": ints(1, 1)}, {}),
    "AffineGrid": ("AffineGrid", {"t": LINE[:6].reshape(1, 2, 3), "n": ints(1, 1, HUGE, 2)}, {}),
    "LRN": ("LRN", {"x": X}, {"size": HUGE}),
}  # fmt: skip


@pytest.mark.parametrize("batch", [1, "batch"])
@pytest.mark.parametrize("where", ["output", "value_info"])
def test_what_is_declared_too_large_is_refused_at_once(where: str, batch: Any) -> None:
    model = one_node("Resize", {"x": X, "_": X, "s": floats(1, 1, HUGE, HUGE)})
    name = {"output": "y0", "value_info": "hidden"}[where]
    declared = helper.make_tensor_value_info(name, 1, [batch, 1, HUGE, HUGE])
    values = getattr(model.graph, where)
    del values[:]
    values.append(declared)
    with at_most(64), pytest.raises(ValueError, match=r"has more than .* elements") as caught:
        import_model(model)
    assert caught.value.__notes__ == [f"This is {name!r}, which the ONNX model makes."]
    assert isinstance(import_model(model, limit=None), tg.nn.Module)


@pytest.mark.parametrize("name", TOO_LARGE)
def test_what_is_too_large_is_refused_before_it_is_made(name: str) -> None:
    operator, inputs, attributes = TOO_LARGE[name]
    model = one_node(operator, inputs, **attributes)
    feeds = {name: value for name, value in inputs.items() if not name.startswith("_")}
    limit = 2**22 if name == "Concat" else 2**28
    with at_most(64), pytest.raises(ValueError, match=r"has more than .* elements") as caught:
        import_model(model, limit=limit).run(feeds)
    assert caught.value.__notes__[0].startswith(f"This happened in the ONNX node {operator}")


def test_the_limit_is_an_option() -> None:
    model = one_node("Tile", {"x": X, "n": ints(1, 1, 2, 2)})
    feeds = {"x": X, "n": ints(1, 1, 2, 2)}
    for limit in (16, None):
        assert_array_equal(
            import_model(model, limit=limit).run(feeds)["y0"].numpy(), np.tile(X, (1, 1, 2, 2))
        )
    with pytest.raises(ValueError, match=r"larger limit=, or with limit=None"):
        import_model(model, limit=15).run(feeds)
    assert tg.tile(tg.tensor(X), (1, 1, 4, 4)).shape == (1, 1, 8, 8)  # it holds for the model alone


NEVER_LARGER = set(
    """
    Abs Acos Acosh ArgMax ArgMin Asin Asinh Atan Atanh BatchNormalization BitwiseNot Cast
    CastLike Ceil Celu Clip Cos Cosh CumProd CumSum DepthToSpace Det Dropout Elu Erf Exp Flatten
    Floor Gelu GatherElements GlobalAveragePool GlobalMaxPool GroupNormalization HardSigmoid
    HardSwish Identity InstanceNormalization IsInf IsNaN LayerNormalization LeakyRelu Log
    LogSoftmax LpNormalization MeanVarianceNormalization Mish Neg NegativeLogLikelihoodLoss
    NonZero Not Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean
    ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Round Selu Shape Shrink Sigmoid
    Sign Sin Sinh Size Slice Softmax SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth Sqrt
    Squeeze Swish Tan Tanh ThresholdedRelu TopK Transpose Trilu Unsqueeze
    """.split()  # noqa: SIM905  as in test_onnx.py
)
"""Operators whose result has no more elements than their inputs have together."""


@cache
def small_cases() -> dict[str, Any]:
    """The smallest node case of each operator."""
    found: dict[str, Any] = {}
    for case in loaded()[0].values():
        before = found.get(case.operator)
        if case.operator in OPERATORS and (
            before is None or case.model.ByteSize() < before.model.ByteSize()
        ):
            found[case.operator] = case
    return found


def test_no_operator_makes_more_than_the_limit_from_less() -> None:
    """With a limit of 0 whatever is not empty is too large, where a handler asks at all."""
    asks = set()
    for operator, case in small_cases().items():
        try:
            model = import_model(case.model, limit=None)
            model._limit = 0
            model.run(case.inputs)
        except ValueError as error:
            if "has more than 0 elements" in str(error):
                asks.add(operator)
    assert small_cases().keys() - asks == NEVER_LARGER


def test_results_go_when_no_later_node_takes_them() -> None:
    n = 2**20
    names = [f"v{i}" for i in range(20)]
    nodes = [helper.make_node("Neg", [a], [b]) for a, b in pairwise(names)]
    info = [helper.make_tensor_value_info(name, 1, [n]) for name in (names[0], names[-1])]
    model = import_model(helper.make_model(helper.make_graph(nodes, "chain", info[:1], info[1:])))
    x = np.ones(n, "float32")
    with at_most(5 * 4):  # four of twenty results
        (y,) = model.run({"v0": x}).values()
    assert_array_equal(y.numpy(), -x)


# ----- what is damaged ---------------------------------------------------------------------------


def with_weight(**changes: Any) -> Any:
    """A model with one weight of six numbers, whose TensorProto is changed."""
    model = one_node("Relu", {"x": X})
    tensor = numpy_helper.from_array(normal(2, 3).astype("float32"), "w")
    for name, value in changes.items():
        if name == "dims":
            tensor.dims[:] = value
        else:
            setattr(tensor, name, value)
    model.graph.initializer.append(tensor)
    return model


def typed(count: int) -> Any:
    model = with_weight()
    (tensor,) = model.graph.initializer
    tensor.ClearField("raw_data")
    tensor.float_data.extend([1.0] * count)
    return model


def elsewhere() -> Any:
    model = with_weight()
    (tensor,) = model.graph.initializer
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return model


def attribute(operator: str, *inputs: str, **changes: Any) -> Any:
    model = one_node(operator, dict.fromkeys(inputs, X))
    model.graph.node[0].attribute.add(**changes)
    return model


def functions(*bodies: tuple[str, list[str]]) -> Any:
    """Functions by name, each of which calls others one after the other."""
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    made = []
    for name, calls in bodies:
        steps = [f"{name}{i}" for i in range(len(calls))]
        body = [
            helper.make_node(call, [a], [b], domain="own" if len(call) == 1 else "")
            for call, a, b in zip(calls, ["v", *steps[:-1]], steps, strict=True)
        ]
        made.append(helper.make_function("own", name, ["v"], steps[-1:], body, versions))
    info = [helper.make_tensor_value_info(name, 1, [2]) for name in "xy"]
    node = helper.make_node(bodies[0][0], ["x"], ["y"], domain="own")
    graph = helper.make_graph([node], "functions", info[:1], info[1:])
    return helper.make_model(graph, functions=made, opset_imports=versions)


def edited(edit: Callable[[Any], None]) -> Any:
    model = network()
    edit(model.graph)
    return model


def cyclic(graph: Any) -> None:
    graph.node[0].input[0] = "scores"


def unnamed(graph: Any) -> None:
    graph.input.add()


def without_constant(graph: Any) -> None:
    del graph.node[5].attribute[:]


DAMAGED: dict[str, tuple[Callable[[], Any], str]] = {
    "no graph": (onnx.ModelProto, "holds no graph"),
    "more promised than held": (lambda: with_weight(dims=[HUGE, HUGE]), "it holds 6 elements"),
    "less promised than held": (lambda: with_weight(dims=[5]), "it holds 6 elements"),
    "half an element": (lambda: with_weight(raw_data=b"12345"), "it holds 1 elements"),
    "numbers missing": (lambda: typed(5), "it holds 5 elements"),
    "negative lengths": (lambda: with_weight(dims=[-2, -3]), r"\(-2, -3\) is damaged"),
    "a length to be worked out": (lambda: with_weight(dims=[-1, 3]), "is damaged"),
    "an unknown element type": (lambda: with_weight(data_type=999), "type 999, which the standard"),
    "weights in a file that nobody named": (elsewhere, "give the path of the model"),
    "a cycle": (lambda: edited(cyclic), "takes 'scores', which is neither"),
    "an input without a name": (lambda: edited(unnamed), "need a name each"),
    "a constant without a value": (lambda: edited(without_constant), "has 0 attributes"),
    "text for a number": (
        lambda: attribute("Softmax", "x", name="axis", type=3, s=b"one"),
        "attribute axis .* is damaged: its value has another type",
    ),
    "a number for numbers": (
        lambda: attribute("MaxPool", "x", name="kernel_shape", type=2, i=2),
        "kernel_shape .* is damaged",
    ),
    "text that is none": (
        lambda: attribute("Gelu", "x", name="approximate", type=3, s=b"\xff\xfe"),
        "approximate .* is damaged",
    ),
    "an equation that is no text": (
        lambda: attribute("Einsum", "x", "y", name="equation", type=3, s=b"\x8cJ\xb7"),
        "equation .* is damaged",
    ),
    "a missing attribute": (lambda: one_node("Concat", {"x": X}), "lacks the attribute axis"),
    "a function that calls itself": (
        lambda: functions(("A", ["B"]), ("B", ["A"])), "functions of the ONNX model cannot be put",
    ),
    "functions that call others twice, 40 deep": (
        lambda: functions(*((chr(65 + i), [chr(66 + i)] * 2) for i in range(40)), ("m", ["Relu"])),
        "more than 100,000 nodes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    make, words = DAMAGED[name]
    with at_most(64), pytest.raises(ValueError, match=words):
        import_model(make())


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (b"", "holds no graph: the file is empty"),
        (b"\0" * 100, "found no intact ONNX model"),
        (b"no model\n" * 9, "found no intact ONNX model"),
        (b"\x80\x03}q\0.", "found no intact ONNX model|holds no graph"),
    ],
)
def test_a_file_that_is_no_model(contents: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=words):
        import_model(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        import_model(tmp_path / "model.onnx")


@pytest.mark.parametrize("name", ["scores", "conv.weight", "Tanh", "rest", "linear"])
def test_names_that_are_no_text(name: str, tmp_path: Path) -> None:
    contents = network().SerializeToString()
    assert name.encode() in contents
    path = tmp_path / "model.onnx"
    path.write_bytes(contents.replace(name.encode(), b"\xff" * len(name)))
    with pytest.raises(ValueError, match=r"\\xff.* of a (Node|Tensor|ValueInfo)Proto was expected"):
        import_model(path)


def test_external_data_is_no_longer_than_its_file(tmp_path: Path) -> None:
    model = elsewhere()
    (tensor,) = model.graph.initializer
    tensor.ClearField("raw_data")
    tensor.dims[:] = [HUGE, HUGE]
    tensor.external_data.add(key="length", value=str(4 * HUGE * HUGE))
    (tmp_path / "weights.bin").write_bytes(bytes(24))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with at_most(64), pytest.raises(ValueError, match=r"damaged|no intact ONNX model"):
        import_model(tmp_path / "model.onnx")


# ----- any damage --------------------------------------------------------------------------------


def used(model: Any, feeds: dict[str, Any]) -> None:
    """Import and run it. ValueError, or what is not supported, is the answer to damage."""
    with at_most(64), np.errstate(all="ignore"):
        try:
            imported = import_model(model)
            known = {name: feeds.get(name, X) for name in imported.inputs}
            for value in imported.run(known).values():
                assert isinstance(value, tg.Tensor)
        except (ValueError, NotImplementedError):
            pass


many = settings(max_examples=10 * settings.default.max_examples)
"""A file takes a few milliseconds."""

CHANGES = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 2), st.binary(min_size=1, max_size=4)), max_size=4
)


@many
@given(CHANGES, st.floats(0, 1))
@example([], 1.0)
@example([], 0.0)
def test_changed_bytes(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[float, int, bytes]], kept: float
) -> None:
    contents = bytearray(network().SerializeToString())
    for where, removed, put in changes:
        place = int(where * len(contents))
        contents[place : place + len(put) * min(removed, 1)] = put if removed < 2 else b""
    path = tmp_path_factory.getbasetemp() / "changed.onnx"
    path.write_bytes(contents[: int(kept * len(contents))] if not changes else contents)
    used(path, {"x": normal(1, 1, 6, 6).astype("float32")})


def places(message: Any) -> Iterator[tuple[Any, Any]]:
    """Every field that is set in a message and in those inside of it."""
    for field, value in message.ListFields():
        yield message, field
        parts = value if hasattr(value, "append") else (value,)
        for part in parts:
            if hasattr(part, "ListFields"):
                yield from places(part)


NUMBERS = st.sampled_from([0, 1, -1, 2, 7, 99, HUGE, 2**31, 2**62, -(2**63)])
NAMES = st.sampled_from(["", "x", "axis", "value", *OPERATORS])


def other(data: st.DataObject, value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, int):
        return data.draw(NUMBERS)
    if isinstance(value, float):
        return data.draw(st.floats(width=32))
    return data.draw(NAMES) if isinstance(value, str) else value[:-1]


@many
@given(st.sampled_from(sorted(OPERATORS)), st.integers(1, 3), st.data())
def test_changed_fields(operator: str, count: int, data: st.DataObject) -> None:
    case = small_cases().get(operator)
    model = onnx.ModelProto()
    model.CopyFrom(network() if case is None else case.model)
    for _ in range(count):
        found = list(places(model.graph))
        message, field = found[data.draw(st.integers(0, len(found) - 1))]
        value = getattr(message, field.name)
        try:
            if hasattr(value, "ListFields"):
                message.ClearField(field.name)
            elif hasattr(value, "append"):
                i = data.draw(st.integers(0, len(value) - 1))
                if data.draw(st.booleans()) or hasattr(value[i], "ListFields"):
                    del value[i]
                else:
                    value[i] = other(data, value[i])
            else:
                setattr(message, field.name, other(data, value))
        except ValueError:
            pass  # out of the range of this field
    used(model, {} if case is None else case.inputs)
