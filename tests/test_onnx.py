"""The ONNX importer: the node cases of the package onnx, its reference evaluator, and errors.

A node case is a model of one node (or of the operator's definition by simpler ones, "expanded")
with inputs and outputs. In scope are those made of operators of OPERATORS alone, on element types
that NumPy has; all of them pass but for the ones in onnx_xfail.py.
"""

import math
import sys
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

import tinygrad_cv as tg
from onnx_xfail import ROUNDED, XFAIL
from tinygrad_cv.onnx import OPERATORS as HANDLED
from tinygrad_cv.onnx import import_model
from tinygrad_cv.testing import check_gradients

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
loader = pytest.importorskip("onnx.backend.test.loader")
reference = pytest.importorskip("onnx.reference")
onnx_pool = pytest.importorskip("onnx.reference.ops.op_pool_common").pool
helper, numpy_helper = onnx.helper, onnx.numpy_helper
FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64

Array = NDArray[Any]

OPERATORS = """
    Abs Acos Acosh Add AffineGrid And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool
    BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor
    BatchNormalization Cast CastLike Ceil Celu CenterCropPad Clip Col2Im Compress Concat
    ConstantOfShape Conv ConvTranspose Cos Cosh CumProd CumSum DepthToSpace Det Div Dropout Einsum
    Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm
    GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample
    GroupNormalization HardSigmoid HardSwish Hardmax Identity InstanceNormalization IsInf IsNaN LRN
    LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization LpPool MatMul
    Max MaxPool MaxUnpool Mean MeanVarianceNormalization Min Mish Mod Mul Neg
    NegativeLogLikelihoodLoss
    NonZero Not OneHot Or PRelu Pad Pow RNN RMSNormalization Range Reciprocal ReduceL1 ReduceL2
    ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare Relu Reshape Resize Round Scatter ScatterElements ScatterND Selu Shape Shrink
    Sigmoid Sign Sin Sinh Size Slice Softmax SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth
    Split Sqrt Squeeze Sub Sum Swish Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze
    Upsample Where Xor
""".split()  # noqa: SIM905  a list of 130 quoted names is harder to read

FLOOR = 1344
"""How many node cases pass at least."""

DTYPES = {np.dtype(code) for code in "?bhilBHILefd"}


# ----- the node cases ----------------------------------------------------------------------------


class NodeCase(NamedTuple):
    """A model with inputs and outputs by name; its `operator` is the one that it is about."""

    name: str
    operator: str
    model: Any
    inputs: dict[str, Array]
    outputs: dict[str, Array]
    rtol: float
    atol: float


def array(value: Any) -> Array:
    return np.asarray(
        numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
    )


def in_scope(case: Any) -> bool:
    """Whether all operators are in scope, and all element types that the model names NumPy's."""
    graph = case.model.graph
    if not {node.op_type for node in graph.node} <= {*OPERATORS, "Constant"}:
        return False
    if any(not value.type.HasField("tensor_type") for value in (*graph.input, *graph.output)):
        return False
    types = {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to":
                types.add(attribute.i)
            if attribute.type == attribute.TENSOR:
                types.add(attribute.t.data_type)
    return {helper.tensor_dtype_to_np_dtype(code) for code in types} <= DTYPES


def pooled(
    x: Array,
    shape: Any,
    kernel: Any,
    strides: Any,
    made: Any,
    kind: str,
    *pads: Any,
    **options: Any,
) -> Array:
    """`pool` of the package, which makes its cases window by window: in one go where that is easy.

    Three cases have 90,000 windows each, and are most of the time that all take.
    """
    if pads or options.keys() - {"p"} or {*strides} != {1}:
        return onnx_pool(x, shape, kernel, strides, made, kind, *pads, **options)
    axes = tuple(range(2, x.ndim))
    windows = sliding_window_view(x, kernel, axes)
    over = tuple(range(-len(axes), 0))
    p = options.get("p", 1)
    results = {
        "AVG": lambda: windows.mean(over),
        "MAX": lambda: windows.max(over),
        "LPPOOL": lambda: (abs(windows) ** p).sum(over) ** (1 / p),
    }
    return np.asarray(results[kind]())


@cache
def loaded() -> tuple[dict[str, NodeCase], int]:
    """The cases in scope by name, and how many there are in all."""
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")  # making them divides by zero and overflows
        patch.setattr("onnx.reference.ops.op_pool_common.pool", pooled)
        patch.setattr("onnx.backend.test.case.base.process_snippet", lambda *_: ("", ""))
        cases = loader.load_model_tests(kind="node")
    about = {case.name: case.model.graph.node[0].op_type for case in cases}
    found = {}
    for case in filter(in_scope, cases):
        ((inputs, outputs),) = case.data_sets
        graph = case.model.graph
        whole = case.name.split("_expanded")[0]
        found[case.name] = NodeCase(
            case.name,
            about[whole],
            case.model,
            {v.name: array(a) for v, a in zip(graph.input, inputs, strict=True)},
            {v.name: array(a) for v, a in zip(graph.output, outputs, strict=True)},
            case.rtol,
            case.atol,
        )
    return found, len(cases)


def agree(results: dict[str, Any], case: NodeCase) -> None:
    """Raise unless values, shapes and dtypes are those of the case."""
    assert results.keys() == case.outputs.keys()
    rtol = case.rtol if case.name in ROUNDED or half(case) else case.rtol / 100
    for name, expected in case.outputs.items():
        result = results[name].detach().numpy()
        assert (result.dtype, result.shape) == (expected.dtype, expected.shape)
        assert_allclose(result, expected, rtol, case.atol)


def half(case: NodeCase) -> bool:
    """Whether it computes with half precision, of which our tolerance asks too much."""
    return any(value.dtype == "float16" for value in case.inputs.values())


@cache
def failure(name: str, device: str) -> str | None:
    """Why a case fails on a device; None if it passes."""
    case = loaded()[0][name]
    try:
        with np.errstate(all="ignore"):  # log 0 and 0 / 0 are what some cases are about
            model = import_model(case.model)
            agree(model.run({k: tg.tensor(v) for k, v in case.inputs.items()}), case)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


@pytest.mark.parametrize("operator", [*OPERATORS, "others, as their definitions"])
def test_the_node_cases_of_an_operator_pass(operator: str, device: str) -> None:
    cases = loaded()[0].values()
    about = {case.name: case.operator if case.operator in OPERATORS else "others" for case in cases}
    names = [name for name, found in about.items() if found == operator.split(",")[0]]
    failed = {name: why for name in names if (why := failure(name, device)) is not None}
    unexpected = {name: why for name, why in failed.items() if name not in XFAIL}
    assert not unexpected, "\n\n".join(f"{name}: {why}" for name, why in unexpected.items())
    better = {name for name in names if name in XFAIL} - failed.keys()
    assert not better, f"pass, so their entries in onnx_xfail.py have to go: {sorted(better)}"


def test_node_cases_pass_in_number(
    device: str, record_property: Callable[[str, Any], None]
) -> None:
    cases, total = loaded()
    passed = sum(failure(name, device) is None for name in cases)
    record_property("onnx", (passed, len(cases), total))
    assert passed >= FLOOR
    assert passed + len(XFAIL) == len(cases)


@pytest.mark.host
def test_the_scope_is_what_the_importer_handles() -> None:
    assert set(OPERATORS) == set(HANDLED)
    cases = loaded()[0]
    used = {node.op_type for case in cases.values() for node in case.model.graph.node}
    assert set(OPERATORS) - used == {"GlobalLpPool"}  # of which the package has no case
    assert {*XFAIL, *ROUNDED} <= cases.keys()


# ----- beside the reference evaluator ------------------------------------------------------------


def one_node(
    operator: str,
    inputs: dict[str, Array],
    outputs: int = 1,
    opset: int = 22,
    **attributes: Any,
) -> Any:
    """A model of one node; an input whose name begins with "_" is left out."""
    given = {name: value for name, value in inputs.items() if not name.startswith("_")}
    names = [name if name in given else "" for name in inputs]
    results = [f"y{i}" for i in range(outputs)]
    graph = helper.make_graph(
        [helper.make_node(operator, names, results, **attributes)],
        operator,
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
            )
            for name, value in given.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in results],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def beside_reference(
    operator: str,
    inputs: dict[str, Array],
    outputs: int = 1,
    opset: int = 22,
    tolerance: float = 1e-9,
    **attributes: Any,
) -> None:
    """Raise unless the importer and the evaluator of the package onnx agree about a node."""
    model = one_node(operator, inputs, outputs, opset, **attributes)
    feeds = {name: value for name, value in inputs.items() if not name.startswith("_")}
    results = import_model(model).run(feeds)
    expected = reference.ReferenceEvaluator(model).run(None, feeds)
    for result, value in zip(results.values(), expected, strict=True):
        assert (result.dtype, result.shape) == (value.dtype, value.shape)
        assert_allclose(result.numpy(), value, tolerance, tolerance)


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def places(*numbers: int) -> Array:
    return np.array(numbers, dtype="int64")


@st.composite
def windows(draw: st.DrawFn) -> tuple[list[int], dict[str, Any]]:
    """The lengths of one or two axes, and the attributes of windows over them."""
    n = draw(st.integers(1, 2))

    def numbers(low: int, high: int, count: int = n) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=count, max_size=count))

    kernel, dilations = numbers(1, 3), numbers(1, 2)
    sizes = [
        d * (k - 1) + extra for k, d, extra in zip(kernel, dilations, numbers(1, 4), strict=True)
    ]
    attributes: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": numbers(1, 3),
        "dilations": dilations,
    }
    padding = draw(st.sampled_from(["none", "VALID", "SAME_UPPER", "SAME_LOWER", "equal", "any"]))
    if padding == "equal":
        attributes["pads"] = numbers(0, 2) * 2
    elif padding == "any":
        attributes["pads"] = numbers(0, 2, 2 * n)
    elif padding != "none":
        # Of strides beyond the kernel and of dilations the evaluator gets the padding wrong.
        attributes["strides"] = [
            min(s, k) for s, k in zip(attributes["strides"], kernel, strict=True)
        ]
        attributes |= {"auto_pad": padding, "dilations": [1] * n}
    return sizes, attributes


@given(windows(), st.integers(1, 2), st.booleans())
def test_convolutions(drawn: tuple[list[int], dict[str, Any]], group: int, biased: bool) -> None:
    sizes, attributes = drawn
    assume(attributes.get("auto_pad") != "VALID")  # which the evaluator pads
    inputs = {
        "x": normal(2, 2, *sizes),
        "w": normal(4, 2 // group, *attributes["kernel_shape"], seed=1),
        "b" if biased else "_b": normal(4, seed=2),
    }
    beside_reference("Conv", inputs, group=group, **attributes)


@given(windows(), st.integers(1, 2), st.booleans(), st.data())
def test_transposed_convolutions(
    drawn: tuple[list[int], dict[str, Any]], group: int, biased: bool, data: st.DataObject
) -> None:
    sizes, attributes = drawn
    inputs = {
        "x": normal(2, 2, *sizes),
        "w": normal(2, 2 // group, *attributes["kernel_shape"], seed=1),
        # The evaluator gives every group the bias of the first.
        "b" if biased and group == 1 else "_b": normal(2, seed=2),
    }
    extra = [data.draw(st.integers(0, s - 1)) for s in attributes["strides"]]
    reached = [
        (n - 1) * s + d * (k - 1) + 1 + e
        for n, s, d, k, e in zip(
            sizes,
            attributes["strides"],
            attributes["dilations"],
            attributes["kernel_shape"],
            extra,
            strict=True,
        )
    ]
    pads = attributes.get("pads", [0] * 2 * len(sizes))
    assume(all(n > sum(pads[i :: len(sizes)]) for i, n in enumerate(reached)))
    assume("auto_pad" not in attributes or group == 1)  # where the evaluator fails
    beside_reference("ConvTranspose", inputs, group=group, output_padding=extra, **attributes)


def naively_pooled(
    x: Array, reduce: Callable[[Array, int], float], ceil_mode: int, attributes: dict[str, Any]
) -> Array:
    """`reduce` of what each window finds in the input and how many places it sees in all."""
    sizes, n = x.shape[2:], x.ndim - 2
    kernel, strides, dilations = (attributes[k] for k in ("kernel_shape", "strides", "dilations"))
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    pads = list(attributes.get("pads", [0] * 2 * n))
    auto = attributes.get("auto_pad", "")
    axes: list[list[tuple[list[int], int]]] = []  # for each window its places, and the padding's
    for i, (size, span, s, d) in enumerate(zip(sizes, spans, strides, dilations, strict=True)):
        before, after = pads[i], pads[n + i]
        if auto.startswith("SAME"):
            total = max(0, (math.ceil(size / s) - 1) * s + span - size)
            before = total // 2 if auto == "SAME_UPPER" else math.ceil(total / 2)
            after = total - before
        found = []
        start = -before
        while start + span <= size + after or (
            ceil_mode and start < size and start - s + span < size + after
        ):
            taps = range(start, start + span, d)
            inside = [t for t in taps if 0 <= t < size]
            found.append((inside, len([t for t in taps if t < size + after])))
            start += s
        axes.append(found)
    y = np.empty((*x.shape[:2], *map(len, axes)))
    for index in np.ndindex(*y.shape):
        windows = [axis[i] for axis, i in zip(axes, index[2:], strict=True)]
        image = x[index[:2]][np.ix_(*(np.array(inside, dtype=int) for inside, _ in windows))]
        y[index] = reduce(image, math.prod(seen for _, seen in windows))
    return y


@given(windows(), st.integers(0, 1), st.integers(1, 2))
@example(([6], {"kernel_shape": [2], "strides": [3], "dilations": [1], "pads": [1, 0]}), 1, 2)
def test_pooling(drawn: tuple[list[int], dict[str, Any]], ceil: int, option: int) -> None:
    sizes, attributes = drawn
    ceil = 0 if "auto_pad" in attributes else ceil  # together they are not defined
    x = normal(2, 3, *sizes)

    def pooled(operator: str, **more: int) -> Array:
        model = import_model(one_node(operator, {"x": x}, ceil_mode=ceil, **more, **attributes))
        result: Array = model(tg.tensor(x)).numpy()
        return result

    with np.errstate(all="ignore"):  # the mean of a window that holds nothing but padding
        for operator, more, reduce in [
            ("MaxPool", {}, lambda v, seen: v.max(initial=-np.inf)),
            ("AveragePool", {}, lambda v, seen: v.sum() / np.float64(v.size)),
            ("AveragePool", {"count_include_pad": 1}, lambda v, seen: v.sum() / seen),
            ("LpPool", {"p": option}, lambda v, seen: (np.abs(v) ** option).sum() ** (1 / option)),
        ]:
            expected = naively_pooled(x, reduce, ceil, attributes)
            assert_allclose(pooled(operator, **more), expected, rtol=1e-9, err_msg=operator)


@given(st.integers(1, 3), st.integers(0, 1), st.integers(0, 1))
def test_the_indices_of_pooling(stride: int, padding: int, order: int) -> None:
    x = normal(2, 3, 4, 5)
    attributes = {"kernel_shape": [2, 2], "strides": [stride] * 2, "pads": [padding] * 4}
    proto = one_node("MaxPool", {"x": x}, 2, storage_order=order, **attributes)
    y, indices = import_model(proto)(tg.tensor(x))
    within = (x.swapaxes(2, 3) if order else x).ravel()  # column-major within each image
    assert_array_equal(within[indices.numpy()], y.numpy())


@st.composite
def resizing(draw: st.DrawFn) -> tuple[list[int], dict[str, Array], dict[str, Any]]:
    """The shape of an image, the inputs that say its new size, and the attributes of Resize."""
    shape = [1, 2, draw(st.integers(2, 5)), draw(st.integers(2, 5))]
    mode = draw(st.sampled_from(["nearest", "linear", "cubic"]))
    where = ["half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize"]
    if mode != "nearest":  # where the evaluator's rounding decides between two pixels
        where.append("half_pixel_symmetric")
    attributes: dict[str, Any] = {
        "mode": mode,
        "coordinate_transformation_mode": draw(st.sampled_from(where)),
        "extrapolation_value": 7.0,
    }
    if mode == "nearest":
        rounding = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
        attributes["nearest_mode"] = draw(st.sampled_from(rounding))
    else:
        attributes["antialias"] = draw(st.integers(0, 1))
        attributes["exclude_outside"] = draw(st.integers(0, 1))
    if mode == "cubic":
        attributes["cubic_coeff_a"] = draw(st.sampled_from([-0.75, -0.5]))
    crops = attributes["coordinate_transformation_mode"] == "tf_crop_and_resize"
    corners = np.array([0.0, 0.0, 0.25, -0.125, 1.0, 1.0, 0.75, 1.25])
    inputs = {"roi" if crops else "_roi": corners}
    if draw(st.booleans()):
        scales = [draw(st.sampled_from([0.5, 0.75, 1.0, 1.5, 2.0, 2.25])) for _ in range(2)]
        inputs["scales"] = np.array([1, 1, *scales], dtype="float32")
    else:
        sizes = [draw(st.integers(2, 7)) for _ in range(2)]
        inputs |= {"_scales": np.array([]), "sizes": places(*shape[:2], *sizes)}
    return shape, inputs, attributes


@given(resizing())
def test_resize(drawn: tuple[list[int], dict[str, Array], dict[str, Any]]) -> None:
    shape, inputs, attributes = drawn
    images = {"x": normal(*shape)}
    # The evaluator's numbers are those of single precision.
    beside_reference("Resize", images | inputs, opset=19, tolerance=1e-5, **attributes)


@given(
    st.sampled_from(["constant", "reflect", "edge", "wrap"]),
    st.lists(st.integers(0, 2), min_size=6, max_size=6),
    st.sampled_from([None, [0], [-1, 0], [1, 2]]),
)
def test_pad(mode: str, widths: list[int], axes: list[int] | None) -> None:
    widths = widths[: 2 * len(axes or range(3))]
    inputs = {"x": normal(3, 4, 5), "pads": places(*widths)}
    inputs["value" if mode == "constant" else "_value"] = np.array(3.5)
    if axes is not None:
        inputs["axes"] = places(*axes)
    beside_reference("Pad", inputs, mode=mode)


@given(st.data())
def test_slice(data: st.DataObject) -> None:
    axes = data.draw(st.lists(st.sampled_from([0, 1, -1]), min_size=1, max_size=3, unique=True))

    def numbers(*choices: int) -> Array:
        return places(*(data.draw(st.sampled_from(choices)) for _ in axes))

    far = 2**63 - 1
    inputs = {
        "x": normal(3, 4, 5),
        "starts": numbers(0, 1, 2, -1, -2, 100, -100),
        "ends": numbers(0, 1, 4, -1, -3, far, -far),
        "axes": places(*axes),
        "steps": numbers(1, 2, -1, -2),
    }
    beside_reference("Slice", inputs)


@given(
    st.sampled_from(["none", "add", "mul", "max", "min"]), st.integers(-2, 1), st.integers(0, 99)
)
def test_scatter(reduction: str, axis: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, updates = rng.standard_normal((3, 4)), rng.standard_normal((2, 3))
    n = x.shape[axis]
    if reduction == "none":  # of two updates of one place either may win
        indices = np.argsort(rng.random((2, n) if axis in (1, -1) else (n, 3)), axis)[:2, :3] - n
    else:
        indices = rng.integers(-n, n, (2, 3))
    inputs = {"x": x, "indices": indices, "updates": updates}
    beside_reference("ScatterElements", inputs, axis=axis, reduction=reduction)
    rows = rng.permutation(3)[:2].reshape(2, 1)
    inputs = {"x": x, "indices": rows, "updates": rng.standard_normal((2, 4))}
    beside_reference("ScatterND", inputs, reduction=reduction)


@pytest.mark.parametrize("space", [(1,), (1, 1), (2, 3)])
def test_an_instance_of_one_position_becomes_the_bias(space: tuple[int, ...]) -> None:
    inputs = {"x": normal(2, 3, *space), "scale": normal(3), "bias": normal(3, seed=1)}
    beside_reference("InstanceNormalization", inputs)


class Node(NamedTuple):
    """What stands in `one_node`, for what no node case has."""

    operator: str
    inputs: dict[str, Array]
    attributes: dict[str, Any]
    opset: int = 22
    outputs: int = 1


OLDER = {
    "Clip with bounds as attributes": Node("Clip", {"x": normal(5)}, {"min": -0.3, "max": 0.4}, 6),
    "Dropout with its ratio as an attribute": Node("Dropout", {"x": normal(5)}, {"ratio": 0.9}, 10),
    "Gemm with one scale for both": Node(
        "Gemm",
        {"a": normal(2, 3), "b": normal(4, 3), "c": normal(4)},
        {"transB": 1, "alpha": 0.5, "beta": 0.5},
    ),
    "Pad with widths as an attribute": Node("Pad", {"x": normal(2, 3)}, {"pads": [1, 0, 0, 2]}, 2),
    "ReduceMean with axes as an attribute": Node(
        "ReduceMean", {"x": normal(2, 3, 4)}, {"axes": [0, -1], "keepdims": 0}, 13
    ),
    "ReduceSum over no axes": Node("ReduceSum", {"x": normal(2, 3)}, {"noop_with_empty_axes": 1}),
    "ReduceSum with axes as an attribute": Node(
        "ReduceSum", {"x": normal(2, 3)}, {"axes": [1]}, 11
    ),
    "Slice with attributes": Node(
        "Slice", {"x": normal(4, 5)}, {"starts": [1, -3], "ends": [3, 100], "axes": [1, 0]}, 9
    ),
    "Split with lengths as an attribute": Node(
        "Split", {"x": normal(2, 5)}, {"split": [2, 3], "axis": 1}, 11, 2
    ),
    "Squeeze with axes as an attribute": Node("Squeeze", {"x": normal(1, 3, 1)}, {"axes": [0]}, 11),
    "TopK with its number as an input": Node(
        "TopK", {"x": normal(3, 6), "k": places(4)}, {"axis": 1, "largest": 0}, 11, 2
    ),
    "Unsqueeze with axes as an attribute": Node(
        "Unsqueeze", {"x": normal(3)}, {"axes": [0, -1]}, 11
    ),
}


@pytest.mark.parametrize("name", OLDER)
def test_older_versions_agree_with_the_evaluator(name: str) -> None:
    node = OLDER[name]
    beside_reference(node.operator, node.inputs, node.outputs, node.opset, **node.attributes)


X = normal(2, 6, 3, 2)
ROWS = np.exp(X.reshape(2, -1))
SOFTMAX = (ROWS / ROWS.sum(axis=1, keepdims=True)).reshape(X.shape)
NEAR = sum(np.pad(X, [(0, 0), (1, 2), (0, 0), (0, 0)])[:, i : i + 6] ** 2 for i in range(4))
GROUPS = X.reshape(2, 3, -1)
GROUPS = (GROUPS - GROUPS.mean(2, keepdims=True)) / np.sqrt(GROUPS.var(2, keepdims=True) + 1e-5)
SCALE, BIAS = normal(3, seed=1), normal(3, seed=2)

FAR = np.array([[[[np.inf, 1.0, 2.0]]]])

BY_HAND = {
    "GlobalLpPool": (
        Node("GlobalLpPool", {"x": X}, {"p": 3}),
        (np.abs(X) ** 3).sum((2, 3), keepdims=True) ** (1 / 3),
    ),
    "GroupNormalization with a number for each group": (
        Node(
            "GroupNormalization",
            {"x": X, "scale": SCALE, "bias": BIAS},
            {"num_groups": 3},
            18,
        ),
        (GROUPS * SCALE[:, None] + BIAS[:, None]).reshape(X.shape),
    ),
    "Hardmax along all later axes": (
        Node("Hardmax", {"x": X}, {"axis": 1}, 11),
        (SOFTMAX.max((1, 2, 3), keepdims=True) == SOFTMAX).astype(float),
    ),
    "LRN with an even window": (
        Node("LRN", {"x": X}, {"size": 4, "alpha": 0.5}),
        X / (1 + 0.5 / 4 * NEAR) ** 0.75,
    ),
    "Gemm that does not read C": (
        Node("Gemm", {"a": X[0, 0], "b": X[0, 1].T, "c": np.full((3, 3), np.nan)}, {"beta": 0.0}),
        X[0, 0] @ X[0, 1].T,
    ),
    "Gemm that reads neither A nor B": (
        Node("Gemm", {"a": X[0, 0] * np.inf, "b": X[0, 1].T, "c": X[0, 2, :1, :1]}, {"alpha": 0.0}),
        np.tile(X[0, 2, :1, :1], (3, 3)),
    ),
    "Gemm without C": (
        Node("Gemm", {"a": X[0, 0], "b": X[0, 1]}, {"beta": 0.0, "transB": 1}),
        X[0, 0] @ X[0, 1].T,
    ),
    "InstanceNormalization of a single place": (
        Node("InstanceNormalization", {"x": X[:, :3, :1, :1], "scale": SCALE, "bias": BIAS}, {}),
        np.tile(BIAS[:, None, None], (2, 1, 1, 1)),
    ),
    "LpPool of large numbers": (
        Node("LpPool", {"x": np.abs(X) * -1e200}, {"kernel_shape": [3, 2], "p": 4}),
        1e200 * (X**4).sum((2, 3), keepdims=True) ** 0.25,
    ),
    "Resize beside an infinity": (
        Node(
            "Resize",
            {"x": FAR, "roi": np.array([]), "scales": np.array([1, 1, 1, 2.0], "float32")},
            {"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
        ),
        np.array([[[[np.inf, np.inf, 1, 1.5, 2, 2]]]]),
    ),
    "Resize by a scale that is not a number of single precision": (
        Node(
            "Resize",
            {"x": X[..., :1], "roi": np.array([]), "scales": np.array([1, 1, 1, 7.1], "float32")},
            {"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
        ),
        np.tile(X[..., :1], 7),
    ),
    "LogSoftmax along all later axes": (Node("LogSoftmax", {"x": X}, {}, 11), np.log(SOFTMAX)),
    "Pad with negative widths": (
        Node("Pad", {"x": X, "pads": places(0, -1, 0, 1, 0, 0, -2, 0)}, {}),
        np.pad(X[:, 1:, :-2], [(0, 0), (0, 0), (0, 0), (1, 0)]),
    ),
    "Resize with its scales as the second input": (
        Node("Resize", {"x": X, "scales": np.array([1, 1, 1, 2.5])}, {}, 10),
        X[..., [0, 0, 0, 1, 1]],
    ),
    "Softmax along all later axes": (Node("Softmax", {"x": X}, {"axis": 1}, 11), SOFTMAX),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_what_the_evaluator_lacks_or_gets_wrong(name: str) -> None:
    node, expected = BY_HAND[name]
    model = import_model(one_node(node.operator, node.inputs, 1, node.opset, **node.attributes))
    assert_allclose(model.run(node.inputs)["y0"].numpy(), expected, rtol=1e-6, atol=1e-12)


# ----- a whole network ---------------------------------------------------------------------------


def network(dtype: int = FLOAT) -> Any:
    """Convolution, batch normalization, PReLU, pooling and two linear layers for 1x6x6 images."""
    weights = {
        "conv.weight": 0.5 * normal(3, 1, 3, 3, seed=1),
        "conv.bias": normal(3, seed=2),
        "norm.weight": 1 + 0.1 * normal(3, seed=3),
        "norm.bias": normal(3, seed=4),
        "norm.mean": normal(3, seed=5),
        "norm.var": 1 + normal(3, seed=6) ** 2,
        "slope": np.abs(normal(3, 1, 1, seed=7)),
        "linear.weight": 0.3 * normal(4, 27, seed=8),
        "linear.bias": normal(4, seed=9),
        "head.weight": normal(4, 2, seed=10),
    }
    nodes = [
        ("Conv", ["x", "conv.weight", "conv.bias"], ["a"], {"pads": [1, 1, 1, 1]}),
        (
            "BatchNormalization",
            ["a", "norm.weight", "norm.bias", "norm.mean", "norm.var"],
            ["b"],
            {},
        ),
        ("PRelu", ["b", "slope"], ["c"], {}),
        ("AveragePool", ["c"], ["d"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Shape", ["d"], ["shape"], {"end": 1}),
        ("Constant", [], ["rest"], {"value_ints": [-1]}),
        ("Concat", ["shape", "rest"], ["flat"], {"axis": 0}),
        ("Reshape", ["d", "flat"], ["e"], {}),
        ("Gemm", ["e", "linear.weight", "linear.bias"], ["f"], {"transB": 1}),
        ("Tanh", ["f"], ["g"], {}),
        ("MatMul", ["g", "head.weight"], ["scores"], {}),
    ]
    np_dtype = helper.tensor_dtype_to_np_dtype(dtype)
    graph = helper.make_graph(
        [helper.make_node(op, ins, outs, **attributes) for op, ins, outs, attributes in nodes],
        "network",
        [helper.make_tensor_value_info("x", dtype, ["batch", 1, 6, 6])],
        [helper.make_tensor_value_info("scores", dtype, ["batch", 2])],
        [numpy_helper.from_array(w.astype(np_dtype), name) for name, w in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def test_a_network_agrees_with_the_reference_evaluator(tmp_path: Path) -> None:
    proto = network()
    x = normal(5, 1, 6, 6).astype("float32")
    (expected,) = reference.ReferenceEvaluator(proto).run(None, {"x": x})
    onnx.save(proto, tmp_path / "network.onnx")
    for model in (import_model(proto), import_model(tmp_path / "network.onnx")):
        assert_allclose(model(tg.tensor(x)).numpy(), expected, rtol=1e-4, atol=1e-5)
        assert_allclose(model.run({"x": x})["scores"].numpy(), expected, rtol=1e-4, atol=1e-5)
    assert repr(model) == "OnnxModel((x) -> (scores), 10 nodes)"


def test_the_gradients_of_a_network() -> None:
    model = import_model(network(onnx.TensorProto.DOUBLE))
    names = [name for name, _ in model.named_parameters()]

    def scores(x: Any, *weights: Any) -> Any:
        return model.run({"x": x, **dict(zip(names, weights, strict=True))})["scores"]

    weights = [weight.detach() for weight in model.parameters()]
    check_gradients(scores, [normal(2, 1, 6, 6), *weights])


def test_a_network_learns_and_can_be_listed() -> None:
    model = import_model(network(), requires_grad=True)
    frozen = {"norm.mean", "norm.var", "rest"}
    assert {name for name, _ in model.named_buffers()} == frozen
    assert all(weight.requires_grad for weight in model.parameters())
    assert not any(weight.requires_grad for weight in import_model(network()).parameters())
    images = normal(20, 1, 6, 6).astype("float32")
    x, labels = tg.tensor(images), tg.tensor((images[:, 0, :, :3].sum((1, 2)) > 0).astype("int64"))
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    optimizer = tg.optim.SGD(model.parameters(), lr=0.5)
    losses = []
    for _ in range(40):
        loss = tg.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    moved = {
        name for name, value in model.state_dict().items() if (value.numpy() != before[name]).any()
    }
    assert moved == before.keys() - frozen
    listing = str(tg.graph(loss))
    assert "conv2d" in listing
    assert "conv.weight" in listing


def test_functions_of_a_model_are_put_in_place() -> None:
    body = [
        helper.make_node("Mul", ["v", "v"], ["square"]),
        helper.make_node("Add", ["square", "v"], ["w"]),
    ]
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    function = helper.make_function("own", "SquarePlus", ["v"], ["w"], body, versions[:1])
    info = [helper.make_tensor_value_info(name, FLOAT, [2]) for name in "xy"]
    node = helper.make_node("SquarePlus", ["x"], ["y"], domain="own")
    graph = helper.make_graph([node], "functions", info[:1], info[1:])
    proto = helper.make_model(graph, functions=[function], opset_imports=versions)
    assert import_model(proto)(tg.tensor([2.0, 3.0])).tolist() == [6.0, 12.0]


def test_several_outputs_and_omitted_ones() -> None:
    proto = one_node("Split", {"x": normal(3)}, outputs=3, num_outputs=3)
    assert [part.shape for part in import_model(proto)(tg.zeros(3))] == [(1,)] * 3
    proto.graph.node[0].output[1] = ""
    del proto.graph.output[1]
    assert list(import_model(proto).run({"x": tg.zeros(3)})) == ["y0", "y2"]
    names = ("x", "scale", "bias", "mean", "var")
    statistics = dict.fromkeys(names, normal(1, 1)) | dict.fromkeys(names[1:], np.ones(1))
    proto = one_node("BatchNormalization", statistics, outputs=5, opset=9)
    proto.graph.node[0].output[1:] = [""] * 4
    del proto.graph.output[1:]
    assert list(import_model(proto).run(statistics)) == ["y0"]


# ----- errors ------------------------------------------------------------------------------------


def branching() -> Any:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "branch",
        [],
        [helper.make_tensor_value_info("y", FLOAT, [2])],
    )
    return one_node("If", {"x": np.array(True)}, opset=16, then_branch=branch, else_branch=branch)


def with_constant(array: Any, name: str) -> Any:
    proto = one_node("Relu", {"x": normal(2)})
    constant = array if isinstance(array, onnx.TensorProto) else numpy_helper.from_array(array)
    constant.name = name
    proto.graph.initializer.append(constant)
    return proto


def renamed(**names: str) -> Any:
    proto = one_node("Relu", {"x": normal(2)})
    node = proto.graph.node[0]
    node.input[0], node.output[0] = names.get("input", "x"), names.get("output", "y0")
    return proto


class Mistake(NamedTuple):
    """A model, what is done with it, the error, and words that its message has to contain."""

    model: Callable[[], Any]
    use: Callable[[Any], Any]
    error: type[Exception]
    words: str


def relu() -> Any:
    return one_node("Relu", {"x": normal(2)})


def nothing(model: Any) -> None:
    return None


bfloat16 = onnx.TensorProto.BFLOAT16

MISTAKES = {
    "not a model": Mistake(lambda: b"model", nothing, TypeError, "ModelProto or a path; got bytes"),
    "unknown operators": Mistake(
        lambda: one_node("Bernoulli", {"x": normal(2)}),
        nothing,
        NotImplementedError,
        r"cannot be imported: Bernoulli\. Supported are: Abs, .*Xor",
    ),
    "another domain": Mistake(
        lambda: one_node("Relu", {"x": normal(2)}, domain="ai.onnx.ml"),
        nothing,
        NotImplementedError,
        r"ai\.onnx\.ml\.Relu",
    ),
    "a subgraph": Mistake(branching, nothing, NotImplementedError, r"If \(x\).*subgraph"),
    "an unknown attribute": Mistake(
        lambda: one_node("Add", {"x": normal(2), "y": normal(2)}, broadcast=1, opset=6),
        nothing,
        NotImplementedError,
        r"attribute broadcast .*Add \(x, y\)",
    ),
    "too many inputs": Mistake(
        lambda: one_node("Relu", {"x": normal(2), "y": normal(2)}),
        nothing,
        ValueError,
        "has 2 inputs",
    ),
    "too few inputs": Mistake(
        lambda: one_node("Add", {"x": normal(2)}), nothing, ValueError, "has 1 inputs"
    ),
    "an element type of its own": Mistake(
        lambda: with_constant(helper.make_tensor("", bfloat16, [1], [1.0]), "w"),
        nothing,
        NotImplementedError,
        "BFLOAT16 cannot be imported; those of float32",
    ),
    "a cast to such a type": Mistake(
        lambda: one_node("Cast", {"x": normal(2)}, to=bfloat16),
        lambda model: model(tg.zeros(2)),
        NotImplementedError,
        "BFLOAT16",
    ),
    "a string": Mistake(
        lambda: one_node("Constant", {}, value_string="text"),
        nothing,
        NotImplementedError,
        "value_string",
    ),
    "a sparse weight": Mistake(
        lambda: onnx.ModelProto(
            graph=onnx.GraphProto(sparse_initializer=[onnx.SparseTensorProto()])
        ),
        nothing,
        NotImplementedError,
        "sparse",
    ),
    "a name that the module needs": Mistake(
        lambda: with_constant(normal(2), "forward"), nothing, ValueError, "'forward'.*rename"
    ),
    "an input from nowhere": Mistake(
        lambda: renamed(input="z"), nothing, ValueError, "takes 'z', which is neither"
    ),
    "an output from nowhere": Mistake(
        lambda: renamed(output="z"), nothing, ValueError, "makes its output 'y0'"
    ),
    "an output too many": Mistake(
        lambda: one_node("Relu", {"x": normal(2)}, outputs=2),
        lambda model: model(tg.zeros(2)),
        NotImplementedError,
        r"output 1 \(y1\)",
    ),
    "a missing input": Mistake(
        relu, lambda model: model.run({}), TypeError, r"the inputs \(x\); missing: x"
    ),
    "an unknown input": Mistake(
        relu, lambda model: model(tg.zeros(2), z=tg.zeros(2)), TypeError, "unknown: z"
    ),
    "too many arguments": Mistake(
        relu, lambda model: model(tg.zeros(2), tg.zeros(2)), TypeError, "got 2"
    ),
    "windows over four axes": Mistake(
        lambda: one_node("MaxPool", {"x": normal(2)}, kernel_shape=[1] * 4),
        lambda model: model(tg.zeros(1, 1, 2, 2, 2, 2)),
        NotImplementedError,
        "over 4 axes",
    ),
    "indices of padded windows": Mistake(
        lambda: one_node("MaxPool", {"x": normal(2)}, 2, kernel_shape=[2, 2], pads=[0, 0, 1, 1]),
        lambda model: model(tg.zeros(1, 1, 2, 2)),
        NotImplementedError,
        "same padding on both sides",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_errors_say_what_to_do(name: str) -> None:
    mistake = MISTAKES[name]
    with pytest.raises(mistake.error, match=mistake.words):
        mistake.use(import_model(mistake.model()))


def test_an_error_names_the_node() -> None:
    model = import_model(one_node("MatMul", {"x": normal(2, 3), "y": normal(2, 3)}))
    with pytest.raises(ValueError, match="matmul") as caught:
        model(tg.zeros(2, 3), tg.zeros(2, 3))
    assert caught.value.__notes__ == ["This happened in the ONNX node MatMul (x, y) -> (y0)."]


@pytest.mark.host
def test_without_the_package_an_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'tinygrad_cv\[onnx\]'"):
        import_model("network.onnx")
