"""Traces: what they say of a graph, what they see of a run, and that they change nothing."""

import cProfile
import gc
import json
import math
import profile
import pstats
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_cv as tg
from tinygrad_cv import nn, viz
from tinygrad_cv._graph import observer
from tinygrad_cv.viz.data import Failure, Frame, Step, Summary
from tinygrad_cv.viz.summarizing import summarize


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        hidden = self.norm(self.conv(x))
        return tg.relu(hidden + x)


class Net(nn.Module):
    def __init__(self, blocks: int = 2) -> None:
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.blocks = nn.Sequential(*[Block(4) for _ in range(blocks)])
        self.head = nn.Linear(4, 2)

    def forward(self, images: tg.Tensor) -> tg.Tensor:
        features = self.blocks(self.stem(images))
        pooled = features.mean(dim=(2, 3))
        return self.head(pooled)


def op_nodes(trace: viz.Trace) -> list[Any]:
    return [node for node in trace.nodes if node.kind == "op"]


def by_op(trace: viz.Trace, op: str) -> Any:
    [node] = [node for node in trace.nodes if node.op == op]
    return node


# ----- the structure ----------------------------------------------------------------------------


def test_nodes_and_edges_are_those_of_the_graph() -> None:
    x = tg.randn(2, 3, 6, 6)
    loss = tg.cross_entropy(Net()(x), tg.tensor([0, 1]))
    graph, trace = tg.graph(loss), viz.trace(loss)
    assert len(trace.nodes) == len(graph)
    for i, (node, told) in enumerate(zip(graph, trace.nodes, strict=True)):
        assert (told.id, told.op, told.shape) == (i, node.label, list(node.shape))
        assert (told.dtype, told.requires_grad) == (str(node.dtype), node.requires_grad)
        assert [o.source for o in told.inputs if o.source is not None] == [
            graph.ids[parent] for parent in node.parents()
        ]
    assert trace.outputs == [len(graph) - 1]
    assert len({node.key for node in trace.nodes}) == len(trace.nodes)
    ends = [(edge.source, edge.target) for edge in trace.edges]
    assert ends == [(graph.ids[p], i) for i, node in enumerate(graph) for p in node.parents()]


def test_the_formulas_are_those_of_the_rules() -> None:
    x = tg.randn(2, 3, requires_grad=True)
    trace = viz.trace(tg.tanh(x) * 2)
    assert [o.formula for o in by_op(trace, "tanh").inputs] == [
        "g · 4 · sigmoid(2 · x) · sigmoid(-2 · x)"
    ]
    first, second = by_op(trace, "mul").inputs
    assert (first.name, first.formula, first.gradient) == ("x", "g · 2", True)
    assert (second.name, second.source, second.text, second.gradient) == ("y", None, "2", False)


def test_modules_have_their_paths_and_classes() -> None:
    trace = viz.trace(Net(), (2, 3, 6, 6))
    told = {module.path: (module.type, module.parameters) for module in trace.modules}
    assert told["blocks.1"] == ("Block", 4 * 4 * 9 + 4 + 8)
    assert told["head"] == ("Linear", 10)
    for module in trace.modules:
        parent = None if module.parent is None else trace.modules[module.parent]
        expected = module.path.rpartition(".")[0] if module.path else None
        assert (parent and parent.path) == expected
        assert module.parent is None or module.parent < module.id
    at = {node.key: trace.modules[node.module].path for node in trace.nodes if node.module}
    assert at["blocks.0.conv/conv2d.0"] == "blocks.0.conv"
    assert at["blocks.0/relu.0"] == "blocks.0"
    assert at["blocks.1.norm.weight"] == "blocks.1.norm"
    assert by_op(trace, "mean").module == 0


def test_each_call_of_a_module_stands_for_itself() -> None:
    cell = nn.Linear(3, 3)
    h = tg.ones(2, 3)
    for _ in range(3):
        h = cell(h)
    trace = viz.trace(h)
    assert [(module.path, module.type, module.call) for module in trace.modules] == [
        ("", "Linear", 0), ("", "Linear", 1), ("", "Linear", 2),
    ]  # fmt: skip
    [weight] = [node for node in trace.nodes if node.name == "weight"]
    assert weight.module is None  # it belongs to all of them
    assert [node.module for node in op_nodes(trace)] == [0, 1, 2]


def test_a_model_that_is_gone_has_left_its_classes() -> None:
    y = nn.Sequential(nn.Linear(2, 2), nn.ReLU())(tg.ones(1, 2))
    gc.collect()
    assert [module.type for module in viz.trace(y).modules] == ["Sequential", "Linear", "ReLU"]


def test_nodes_do_not_keep_a_module_alive() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    gone = weakref.ref(model)
    y = model(tg.ones(1, 2))
    gc.disable()
    try:
        del model
        assert gone() is None
    finally:
        gc.enable()
    assert y.shape == (1, 2)


# ----- names and lines ---------------------------------------------------------------------------


def test_variables_name_what_they_hold() -> None:
    x, y = tg.tensor(-2.0, requires_grad=True), tg.tensor(5.0, requires_grad=True)
    weights = [tg.tensor(float(i), requires_grad=True) for i in range(2)]
    q = x + y
    out = q * weights[0] + weights[1]
    named = {node.name for node in viz.trace(out).nodes}
    assert named == {"x", "y", "q", "out", "weights[0]", "weights[1]", ""}


def test_a_variable_of_its_own_counts_more_than_a_place_in_a_list() -> None:
    Out = {3: tg.tensor(1.0, requires_grad=True)}  # as a notebook keeps what cells gave
    x = Out[3]
    trace = viz.trace(x * 2.0)
    assert (trace.nodes[0].name, len(Out)) == ("x", 1)


def test_a_given_name_counts_more_than_a_variable() -> None:
    x = tg.tensor(1.0, requires_grad=True)
    x.name = "input voltage"
    y = x * x
    y.name = "power"
    assert [node.name for node in viz.trace(y).nodes] == ["input voltage", "power"]


def test_the_variables_of_a_watched_function_name_its_nodes() -> None:
    def model(image: tg.Tensor) -> tg.Tensor:
        hidden = tg.relu(image)
        return hidden.sum()

    trace = viz.trace(model, (2, 3))
    assert [(node.op, node.name) for node in trace.nodes] == [
        ("input", "image"), ("relu", "hidden"), ("sum", ""),
    ]  # fmt: skip


def test_parameters_are_named_by_their_path() -> None:
    model = Net()
    names = {node.name for node in viz.trace(model, (1, 3, 4, 4)).nodes if node.kind == "parameter"}
    assert names == {name for name, _ in model.named_parameters()}


def test_a_watched_run_knows_the_line_of_each_op() -> None:
    def model(x: tg.Tensor) -> tg.Tensor:
        y = tg.exp(x)  # this line
        return y.sum()

    node = by_op(viz.trace(model, (2,)), "exp")
    line = model.__code__.co_firstlineno + 1
    assert node.source == f"test_tracing.py:{line}"
    assert node.code == "y = tg.exp(x)  # this line"
    assert by_op(viz.trace(tg.exp(tg.ones(2, requires_grad=True))), "exp").source == ""


# ----- values ------------------------------------------------------------------------------------

ARRAYS = hnp.arrays(
    st.sampled_from(["float16", "float32", "float64", "int64", "bool"]),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
)


@given(ARRAYS, st.booleans())
def test_a_summary_says_what_numpy_says(array: Any, transposed: bool) -> None:
    array = array.T if transposed else array
    told = summarize(array)
    wide = array.astype("float64").ravel()
    finite = wide[np.isfinite(wide)]
    assert told.count == array.size
    assert (told.nan, told.inf) == (np.isnan(wide).sum(), np.isinf(wide).sum())
    assert told.finite == (finite.size == wide.size)
    if wide.size:
        assert told.zeros == pytest.approx((wide == 0).mean())
    if not finite.size:
        assert (told.mean, told.std, told.min, told.max, told.norm) == (None,) * 5
        return
    scale = np.abs(finite).max() or 1.0  # the squares of large numbers overflow
    tiny = np.finfo(array.dtype).tiny if array.dtype.kind == "f" else 0
    finite = finite / scale
    assert told.min / scale == pytest.approx(finite.min(), rel=1e-12)
    assert told.max / scale == pytest.approx(finite.max(), rel=1e-12)
    assert told.mean / scale == pytest.approx(finite.mean(), rel=1e-4, abs=1e-5)
    assert told.std / scale == pytest.approx(finite.std(), rel=1e-2, abs=1e-3)
    if scale > math.sqrt(tiny) * 1e4 and scale < 1e300:  # the squares of small numbers vanish
        assert told.norm / scale == pytest.approx(np.linalg.norm(finite), rel=1e-4)
    assert sum(told.histogram) == finite.size


@given(hnp.arrays("float64", st.integers(2, 200), elements=st.integers(-8, 8)))
def test_a_histogram_counts_equal_bins(array: Any) -> None:
    told = summarize(array)
    if array.min() == array.max():
        assert told.histogram[8] == array.size
        return
    width = (array.max() - array.min()) / 16
    for i, count in enumerate(told.histogram):
        low = array.min() + i * width
        inside = (array >= low - 1e-9) & ((array < low + width - 1e-9) | (i == 15))
        assert count == inside.sum()


def test_what_is_not_finite_is_counted_and_left_out() -> None:
    told = summarize(np.array([np.nan, 1.0, np.inf, -np.inf, 3.0, np.nan], "float32"))
    assert (told.nan, told.inf, told.finite) == (2, 2, False)
    assert (told.mean, told.min, told.max, told.count) == (2.0, 1.0, 3.0, 6)
    assert summarize(np.array([np.inf])).mean is None


def test_a_large_mean_does_not_hide_the_spread() -> None:
    array = (1e4 + np.random.default_rng(0).standard_normal(10_000)).astype("float32")
    assert summarize(array).std == pytest.approx(1.0, abs=0.03)


def test_the_histogram_of_a_large_array_is_of_a_sample() -> None:
    told = summarize(np.random.default_rng(0).uniform(size=1_000_000))
    assert 16_384 <= sum(told.histogram) < 2 * 16_384
    assert max(told.histogram) < 1.3 * min(told.histogram)


def test_units_that_never_fire_are_dead() -> None:
    batch = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], "float32")
    assert summarize(batch, "relu").dead == pytest.approx(2 / 3)
    images = np.zeros((2, 4, 3, 3))
    images[1, 2, 0, 0] = 1.0
    assert summarize(images, "relu").dead == pytest.approx(3 / 4)
    assert summarize(images, "tanh").dead is None


@pytest.mark.parametrize(
    ("op", "values", "share"),
    [
        ("tanh", [-1.0, -0.985, -0.97, 0.0, 0.97, 0.985], 3 / 6),
        ("sigmoid", [0.0, 0.009, 0.02, 0.5, 0.98, 0.995], 3 / 6),
    ],
)
def test_saturated_is_within_a_hundredth_of_the_end(op: str, values: Any, share: float) -> None:
    assert summarize(np.array(values), op).saturated == pytest.approx(share)
    assert summarize(np.array(values), "relu").saturated is None


def test_a_watched_run_summarizes_every_value() -> None:
    model = Net()
    trace = viz.trace(model, (2, 3, 4, 4), values=True)
    [step] = trace.steps
    assert set(step.values) == set(range(len(trace.nodes)))
    assert not step.gradients
    assert not step.shares


def test_of_a_graph_as_it_stands_every_value_is_known() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    loss = (tg.sqrt(x) + 1.0).exp().sum()
    trace = viz.trace(loss, values=True)
    known = {trace.nodes[i].op: told.mean for i, told in trace.steps[0].values.items()}
    assert set(known) == {"parameter", "sqrt", "add", "exp", "sum"}  # nobody saved what add gave
    assert known["sqrt"] == pytest.approx(np.sqrt([1.0, 2.0]).mean(), rel=1e-5)
    assert known["add"] == pytest.approx(np.sqrt([1.0, 2.0]).mean() + 1, rel=1e-5)
    assert trace.steps[0].loss == pytest.approx(loss.item())


def test_what_was_changed_in_place_is_not_told_as_the_value() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    w = tg.tensor([3.0, 4.0], requires_grad=True)
    y = (w + 1.0) * x  # the product alone saves the sum, and x with it
    ids = {node.name or node.op: node.id for node in viz.trace(y).nodes}
    assert set(viz.trace(y, values=True).steps[0].values) == set(ids.values())
    x.data[...] = 7.0
    known = viz.trace(y, values=True).steps[0].values
    assert ids["x"] not in known
    assert known[ids["add"]].mean == 4.5  # of w, which is as it was
    w.data[...] = 7.0
    assert set(viz.trace(y, values=True).steps[0].values) == {ids["add"], ids["y"]}


# ----- gradients ---------------------------------------------------------------------------------


def test_gradients_are_those_of_grad() -> None:
    model, images = Net(), tg.randn(2, 3, 4, 4, generator=np.random.default_rng(1))
    parameters = dict(model.named_parameters())
    trace = viz.trace(lambda x: model(x).sum(), images, gradients=True)
    expected = tg.grad(model(images).sum(), list(parameters.values()))
    found = {
        node.name: trace.steps[0].gradients[node.id].norm
        for node in trace.nodes
        if node.kind == "parameter"
    }
    for name, gradient in zip(parameters, expected, strict=True):
        assert gradient is not None
        assert found[name] == pytest.approx(np.linalg.norm(gradient.numpy()), rel=1e-3, abs=1e-6)


def test_each_edge_knows_its_share() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x * tg.tensor([3.0, 4.0]) + x * 2.0
    trace = viz.trace(y, gradients=True)
    shares = {edge.key: trace.steps[0].shares.get(edge.key) for edge in trace.edges}
    muls = [node.id for node in trace.nodes if node.op == "mul"]
    assert shares[f"{muls[0]}:0"] == pytest.approx(5.0)
    assert shares[f"{muls[1]}:0"] == pytest.approx(math.sqrt(8))
    assert shares[f"{muls[0]}:1"] is None  # the constant gets none
    leaf = next(node.id for node in trace.nodes if node.name == "x")
    assert trace.steps[0].gradients[leaf].norm == pytest.approx(math.hypot(5, 6))


def test_the_same_input_twice_is_two_edges() -> None:
    x = tg.tensor(3.0, requires_grad=True)
    trace = viz.trace(x * x, gradients=True)
    assert trace.steps[0].shares == {"1:0": 3.0, "1:1": 3.0}
    assert trace.steps[0].gradients[0].norm == 6.0


def test_where_nothing_flows_there_is_no_gradient() -> None:
    x = tg.tensor([1.0], requires_grad=True)
    c = tg.tensor([2.0])
    trace = viz.trace((x * c).sum(), gradients=True)
    constant = next(node.id for node in trace.nodes if node.name == "c")
    assert constant not in trace.steps[0].gradients


def test_the_ops_of_the_backward_pass_say_whose_rule_they_are() -> None:
    x = tg.tensor([0.5], requires_grad=True)
    y = tg.sqrt(x)
    trace = viz.trace(y, backward="ops")
    sqrt = by_op(trace, "sqrt")
    made = [node.op for node in trace.nodes if node.rule == sqrt.id and node.kind == "op"]
    assert made == ["mul", "div"]
    assert trace.nodes[sqrt.inputs[0].share].op == "div"
    assert trace.nodes[: len(tg.graph(y))] == [node for node in trace.nodes if node.rule is None]


@pytest.mark.parametrize("output", range(3))
def test_the_backward_pass_of_an_op_of_whose_outputs_one_was_used(output: int) -> None:
    class Parts(tg.Op, register=False):
        outputs = ("a", "b", "c")

        def forward(self, xp: Any, x: Any) -> Any:
            return 2 * x, 3 * x, 4 * x

        def grad_x(self, F: Any, g: Any) -> Any:
            return g[output] * (2 + output)  # and the others are left out

    x = tg.tensor([0.5], requires_grad=True)
    trace = viz.trace(tg.function(Parts)(x)[output].exp(), backward="ops")
    parts = by_op(trace, "parts")
    assert trace.nodes[parts.gradient].op == "mul"  # g · exp(...)
    assert trace.nodes[parts.inputs[0].share].rule == parts.id


# ----- costs -------------------------------------------------------------------------------------


def counted(trace: viz.Trace, op: str) -> int | None:
    flops: int | None = by_op(trace, op).flops
    return flops


def test_flops_are_counted_by_hand() -> None:
    count = 0
    for _output in np.ndindex(2, 4, 5, 5):  # a 3x3 filter over 3 channels at each, and a bias
        for _tap in np.ndindex(3, 3, 3):
            count += 2
        count += 1
    model = nn.Conv2d(3, 4, 3)
    assert counted(viz.trace(model, (2, 3, 7, 7)), "conv2d") == count
    assert counted(viz.trace(nn.Conv2d(4, 4, 3, groups=2, bias=False), (1, 4, 3, 3)), "conv2d") == (
        4 * 2 * (2 * 9)
    )
    assert counted(viz.trace(nn.Linear(5, 2), (3, 5)), "linear") == 3 * 2 * (5 * 2 + 1)
    assert counted(viz.trace(lambda a, b: a @ b, (7, 2, 3), (7, 3, 5)), "matmul") == 7 * 2 * 5 * 6
    up = nn.ConvTranspose2d(2, 3, 2, stride=2)
    assert counted(viz.trace(up, (1, 2, 4, 4)), "conv_transpose2d") == 2 * 32 * 12 + 3 * 64
    assert counted(viz.trace(tg.relu, (3, 4)), "relu") == 12
    assert counted(viz.trace(lambda x: x.sum(), (3, 4)), "sum") == 12
    assert counted(viz.trace(lambda x: x.reshape(4, 3), (3, 4)), "reshape") == 0


def test_nobody_counts_the_operations_of_your_own_op() -> None:
    class Twice(tg.Op, register=False):
        def forward(self, xp: Any, x: Any) -> Any:
            return 2 * x

        def grad_x(self, F: Any, g: Any) -> Any:
            return 2 * g

    twice = tg.function(Twice)
    assert counted(viz.trace(twice, (2,)), "twice") is None
    assert viz.summary(twice, (2,)).uncounted == ("twice",)


def test_what_is_saved_is_counted_once_and_without_leaves() -> None:
    x = tg.randn(10, requires_grad=True)
    hidden = tg.exp(x)  # saves its output, 40 bytes
    loss = (hidden * hidden * x).sum()  # hidden again, hidden², and the leaf x
    trace = viz.trace(loss)
    assert [node.saved for node in op_nodes(trace)] == [{"y": 40}, {}, {"x": 40}, {}]
    loss.backward()
    after = [node.saved for node in op_nodes(viz.trace(loss))]
    assert after == [None, None, None, {}]  # the sum saved nothing, and nothing of it is gone


def test_inputs_made_for_a_shape_are_not_counted_as_saved() -> None:
    table = viz.summary(nn.Linear(10, 2), (4, 10))
    assert table.saved_bytes == 0


def test_times_are_those_of_the_run() -> None:
    trace = viz.trace(Net(), (1, 3, 4, 4), gradients=True)
    assert all(node.seconds > 0 for node in op_nodes(trace))
    assert all(node.backward_seconds > 0 for node in op_nodes(trace))


# ----- what a trace leaves alone -----------------------------------------------------------------


def test_tracing_changes_neither_model_nor_generators() -> None:
    generator = np.random.default_rng(3)
    model = nn.Sequential(
        nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Dropout(generator=generator)
    )
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    states = generator.bit_generator.state, tg.manual_seed(0).bit_generator.state
    viz.trace(model, (8, 4), values=True, gradients=True)
    assert generator.bit_generator.state == states[0]
    tg.rand(1)
    first = tg.rand(3).numpy()
    tg.manual_seed(0)
    tg.rand(1)
    assert np.array_equal(first, tg.rand(3).numpy())
    for name, value in model.state_dict().items():
        assert np.array_equal(value.numpy(), before[name]), name
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training


def test_a_trace_with_gradients_can_be_followed_by_backward() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    loss = tg.exp(x).sum()
    viz.trace(loss, values=True, gradients=True, backward="ops")
    assert x.grad is None
    loss.backward()
    assert x.grad is not None
    assert np.allclose(x.grad.numpy(), np.exp([1.0, 2.0]))


def test_watching_ends_with_the_call() -> None:
    def broken(x: tg.Tensor) -> tg.Tensor:
        raise KeyError("broken")

    with pytest.raises(KeyError):
        viz.trace(broken, (2,))
    assert observer.get() is None


@pytest.mark.parametrize("kind", [cProfile.Profile, profile.Profile])
def test_the_profiler_of_the_user_goes_on(kind: Any) -> None:
    def model(x: tg.Tensor) -> tg.Tensor:
        hidden = tg.relu(x)
        result = hidden * 2
        return result

    profiler = kind()
    trace = profiler.runcall(viz.trace, model, (2, 3))
    assert [node.name for node in trace.nodes] == ["x", "hidden", "result"]
    called = [name for _, _, name in pstats.Stats(profiler).stats]  # type: ignore[attr-defined]
    assert "model" in called
    assert called.index("model")


def test_frozen_ops_are_seen_and_then_forgotten() -> None:
    backbone, head = nn.Linear(3, 3).requires_grad_(False), nn.Linear(3, 2)
    kept = []

    def model(x: tg.Tensor) -> tg.Tensor:
        features = tg.relu(backbone(x))
        kept.append(features)
        with tg.no_grad():
            tg.exp(x)
        return head(features)

    trace = viz.trace(model, (2, 3))
    assert [node.op for node in op_nodes(trace)] == ["linear", "relu", "linear"]
    frozen = trace.nodes[0:5]
    assert {node.kind for node in frozen if node.name.startswith("backbone.")} == {"parameter"}
    assert [node.requires_grad for node in op_nodes(trace)] == [False, False, True]
    assert kept[0].is_leaf
    assert len(tg.graph(head(kept[0]))) == 4  # the features are an input again


def test_what_is_kept_of_a_run_that_fails_is_forgotten_too() -> None:
    kept = []

    def broken(x: tg.Tensor) -> None:
        kept.append(tg.exp(x))
        raise KeyError("broken")

    with pytest.raises(KeyError):
        viz.trace(broken, (2,))
    assert kept[0].is_leaf


def test_a_run_without_any_gradient_is_seen_too() -> None:
    trace = viz.trace(nn.Linear(3, 2).requires_grad_(False), (1, 3))
    assert [node.op for node in trace.nodes] == ["input", "parameter", "parameter", "linear"]


def test_random_inputs_are_where_the_model_is() -> None:
    model = nn.Linear(3, 2).to("fakecuda:1")
    assert {node.device for node in viz.trace(model, (1, 3), values=True).nodes} == {"fakecuda:1"}


# ----- errors ------------------------------------------------------------------------------------


def test_what_cannot_be_traced_is_said() -> None:
    x = tg.tensor([1.0], requires_grad=True)
    with pytest.raises(TypeError, match="there is none in the str"):
        viz.trace("model")
    with pytest.raises(TypeError, match="none in the function"):
        viz.trace(lambda x: None, (2,))
    with pytest.raises(TypeError, match="a tensor has its graph"):
        viz.trace(x, (2,))
    with pytest.raises(RuntimeError, match="none of the tensors requires a gradient"):
        viz.trace(tg.ones(2), gradients=True)
    y = tg.exp(x)
    y.backward()
    with pytest.raises(RuntimeError, match=r"exp of shape \(1,\) saved for it was freed"):
        viz.trace(y, gradients=True)


# ----- JSON --------------------------------------------------------------------------------------

NUMBERS = st.floats(width=32)


@given(
    st.text(),
    st.lists(st.text(max_size=5), max_size=3),
    st.dictionaries(st.integers(0, 3), NUMBERS, max_size=3),
    NUMBERS | st.none(),
)
def test_json_and_back(title: str, lines: list[str], updates: Any, loss: float | None) -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    trace = viz.trace(nn.Linear(2, 2)(tg.exp(x)), values=True, gradients=True)
    trace.title = title
    trace.frames = [Frame(1, lines)]
    trace.failure = Failure("conv2d", title, [("x", 0, "float32 (2,)"), ("n", None, "3")])
    shares = {f"{k}:0": v for k, v in updates.items()}
    trace.steps.append(Step(7, loss, {0: Summary(3, mean=1.5)}, {}, shares, updates))
    again = viz.Trace.from_json(trace.to_json())
    assert repr(again.to_json()) == repr(trace.to_json())  # NaN differs from itself
    assert again.failure == trace.failure
    strict = json.loads(trace.to_json(), parse_constant=pytest.fail)  # JSON has no NaN
    assert strict["title"] == title


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 99}', '{"version": 1, "nodes": 3}'])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the JSON of a trace"):
        viz.Trace.from_json(text)


def test_one_step_of_a_trace() -> None:
    trace = viz.Trace(steps=[Step(0), Step(50)])
    assert [step.number for step in trace.at(50).steps] == [50]
    with pytest.raises(KeyError, match="there are: 0, 50"):
        trace.at(7)


# ----- the table ---------------------------------------------------------------------------------


def test_the_table_adds_up() -> None:
    model = Net()
    table = viz.summary(model, (2, 3, 6, 6))
    assert table.parameters == sum(p.numel() for p in model.parameters()) == table.trainable
    rows = {(row.depth, row.name): row for row in table.rows}
    assert rows[0, "Net"].parameters == table.parameters
    assert rows[0, "Net"].flops == table.flops
    assert rows[0, "Net"].saved_bytes == table.saved_bytes
    assert rows[1, "stem"].output == (2, 4, 6, 6)
    assert rows[1, "pooled"].type == "mean"
    inner = [row for row in table.rows if row.depth == 1]
    assert sum(row.flops for row in inner) == table.flops
    assert sum(row.parameters or 0 for row in inner) == table.parameters
    lines = str(table).splitlines()
    assert lines[2].split()[0] == "Net"
    assert len({len(line) for line in lines[3:5]}) == 1


def test_depth_leaves_out_what_is_below() -> None:
    table = viz.summary(Net(), (2, 3, 6, 6), depth=1)
    assert [row.name for row in table.rows] == ["Net", "stem", "blocks", "pooled", "head"]


def test_a_second_call_counts_no_parameters() -> None:
    cell = nn.Linear(3, 3)
    table = viz.summary(lambda x: cell(cell(x)), (2, 3))
    assert [row.parameters for row in table.rows] == [12, None]
    assert "shared" in str(table)
    assert table.parameters == 12


def test_frozen_parameters_are_told_apart() -> None:
    model = nn.Sequential(nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 2))
    table = viz.summary(model, (1, 2))
    assert (table.parameters, table.trainable) == (12, 6)
    assert "of which 6 are frozen" in str(table)


def test_a_table_is_safe_to_print() -> None:
    x = tg.tensor([1.0], requires_grad=True)
    x.name = "\x1b[2J" + "a" * 100
    table = viz.summary(lambda: tg.exp(x))
    y = tg.exp(x)
    y.name = x.name
    assert "\x1b" not in str(table)
    assert all(len(line) < 120 for line in str(viz.summary(lambda: y * 1)).splitlines())
    html = viz.summary(nn.Linear(2, 2), (1, 2))._repr_html_()
    assert html.startswith("<table><tr><th")
