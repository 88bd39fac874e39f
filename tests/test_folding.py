"""What of a graph is visible: repeated blocks are found, and a folded view says what is true."""

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv import nn, viz
from tinygrad_cv.viz import labels
from tinygrad_cv.viz.data import Failure, Input, Module, Node, Trace
from tinygrad_cv.viz.folding import View, chunked, fold
from tinygrad_cv.viz.grouping import grouped

pytestmark = pytest.mark.host

# ----- programs ----------------------------------------------------------------------------------
# A program is a list of steps: an op's name, or (class, program) for a call of a module. Each op
# reads what was computed last, and one whose name begins with "w" a parameter of its own as well.

Step_ = Any


def written(program: list[Step_], outermost: str = "") -> Trace:
    """The trace of a program, in a model of this class if one is named."""
    nodes = [Node(0, "x", "input", "input", "x", None, [2, 3], "float32", "cpu")]
    modules: list[Module] = []
    latest = 0

    def run(program: list[Step_], path: str, parent: int | None) -> None:
        nonlocal latest
        for place, step in enumerate(program):
            here = f"{path}.{place}".lstrip(".")
            if isinstance(step, tuple):
                modules.append(Module(len(modules), here, step[0], parent))
                run(step[1], here, len(modules) - 1)
                continue
            inputs = [Input("x", latest, gradient=latest > 0, formula="g")]
            if step.startswith("w"):
                nodes.append(leaf(len(nodes), "parameter", f"{here}.w", parent))
                inputs.append(Input("w", len(nodes) - 1, gradient=True, formula="g · x"))
            latest = len(nodes)
            key = f"{here}/{step}"
            nodes.append(
                Node(
                    latest, key, "op", step, "", parent, [2, 3], "float32", "cpu", True, "", inputs
                )
            )

    if outermost:
        modules.append(Module(0, "", outermost, None))
        run(program, "", 0)
    else:
        run(program, "", None)
    return Trace(nodes=nodes, outputs=[latest], modules=modules)


def leaf(i: int, kind: Any, name: str, module: int | None = None) -> Node:
    return Node(i, name, kind, kind, name, module, [3, 3], "float32", "cpu", kind == "parameter")


ops = st.sampled_from(["relu", "tanh", "wlinear", "wconv"])
programs = st.recursive(
    st.lists(ops, max_size=6),
    lambda inner: st.lists(
        ops.map(lambda op: [op])
        | st.tuples(st.sampled_from(["Block", "Layer"]), inner).map(lambda call: [call])
        | st.tuples(st.integers(2, 4), inner).map(lambda loop: loop[1] * loop[0]),
        max_size=4,
    ).map(lambda parts: [step for part in parts for step in part]),
    max_leaves=12,
).filter(lambda program: 0 < size(program) < 200)


def size(program: list[Step_]) -> int:
    return sum(size(step[1]) if isinstance(step, tuple) else 1 for step in program)


def calls(trace: Trace, node: Node) -> list[tuple[str, str]]:
    """The module calls around a node, without what grouping added."""
    around = trace.ancestors(node.module)
    return [(m.path, m.type) for m in around if m.repeat == 1 and m.type]


def ops_in(trace: Trace, module: int) -> list[Node]:
    return [
        node
        for node in trace.nodes
        if node.kind == "op" and any(m.id == module for m in trace.ancestors(node.module))
    ]


# ----- repeated blocks ---------------------------------------------------------------------------


@given(programs, st.sampled_from(["", "Net"]))
def test_grouping_only_adds_modules(program: list[Step_], outermost: str) -> None:
    trace = written(program, outermost)
    before = trace.to_json()
    found = grouped(trace)
    assert trace.to_json() == before
    assert [m.id for m in found.modules] == list(range(len(found.modules)))
    assert all(m.parent is None or m.parent < m.id for m in found.modules)
    for old, new in zip(trace.nodes, found.nodes, strict=True):
        assert (old.id, old.key, old.inputs) == (new.id, new.key, new.inputs)
        if old.kind == "op":
            assert calls(trace, old) == calls(found, new)
    assert grouped(found) == found


@given(programs)
def test_the_blocks_of_a_group_are_equal_and_in_a_row(program: list[Step_]) -> None:
    found = grouped(written(program))
    numbers = {node.id: i for i, node in enumerate(n for n in found.nodes if n.kind == "op")}
    for group in found.modules:
        if group.repeat == 1:
            continue
        blocks = [m for m in found.modules if m.parent == group.id]
        assert len(blocks) == group.repeat
        contents = [ops_in(found, block.id) for block in blocks]
        tellings = [
            [(node.op, calls_below(found, node, block.id)) for node in inside]
            for inside, block in zip(contents, blocks, strict=True)
        ]
        assert all(telling == tellings[0] for telling in tellings)
        places = [numbers[node.id] for inside in contents for node in inside]
        assert places == list(range(places[0], places[0] + len(places)))


def calls_below(trace: Trace, node: Node, block: int) -> list[str]:
    found = []
    for module in trace.ancestors(node.module):
        if module.repeat == 1 and module.type:
            found.append(module.type)
        if module.id == block:
            break
    return found


@given(
    st.lists(st.integers(0, 999), min_size=2, max_size=64, unique=True),
    st.integers(2, 40),
    st.lists(st.integers(1000, 1999), max_size=5, unique=True),
)
def test_a_loop_without_modules_is_found(body: list[int], times: int, before: list[int]) -> None:
    steps = [f"op{i}" for i in [*before, *body * times]]
    [group] = [m for m in grouped(written(steps)).modules if m.repeat > 1]
    assert group.repeat == times
    assert group.type == ", ".join(f"op{i}" for i in body)
    first, last = len(before) + 1, len(before) + len(body) * times
    assert group.path == f"ops {first} … {last}"


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (["relu"] * 2, []),
        (["relu"] * 3, [("ops 1 … 3", "relu", 3)]),
        ([("Block", ["relu"])] * 2, [("0 … 1", "Block", 2)]),
        (["a", "b", "a", "b"], [("ops 1 … 4", "a, b", 2)]),
        ([("Block", ["relu"]), ("Block", ["tanh"])], []),
        ([("Block", ["relu"]), ("Other", ["relu"])], []),
        # The run that covers most is taken, though another one begins before it.
        (["a", "a", "a", "b", "a", "b", "a", "b", "a", "b"], [("ops 3 … 10", "a, b", 4)]),
        # A run in a run.
        (
            ["a", "b", "b", "b", "a", "b", "b", "b"],
            [
                ("ops 1 … 8", "a, b, b, b", 2),
                ("ops 2 … 4", "b", 3),
                ("ops 6 … 8", "b", 3),
            ],
        ),
    ],
)
def test_what_counts_as_a_run(program: list[Step_], expected: list[Any]) -> None:
    found = grouped(written(program)).modules
    assert [(m.path, m.type, m.repeat) for m in found if m.repeat > 1] == expected


CHANGES: dict[str, Callable[[Node], Any]] = {
    "attributes": lambda node: setattr(node, "attributes", "axis=1"),
    "shape": lambda node: setattr(node, "shape", [7]),
    "dtype": lambda node: setattr(node, "dtype", "float64"),
    "plain value": lambda node: node.inputs.append(Input("y", None, "2.0")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_difference_ends_a_run(change: Callable[[Node], Any]) -> None:
    trace = written(["a", "b"] * 6)
    change(trace.nodes[12])
    [group] = [m for m in grouped(trace).modules if m.repeat > 1]
    assert group.repeat == 5


def test_the_details_of_a_module_are_part_of_it() -> None:
    trace = written([("Block", ["relu"])] * 5)
    trace.modules[4].details = "p=0.5"
    [group] = [m for m in grouped(trace).modules if m.repeat > 1]
    assert (group.repeat, group.path) == (4, "0 … 3")


def test_a_step_of_a_loop_may_read_another_part_of_its_input() -> None:
    trace = written(["getitem", "tanh"] * 4)
    for node in trace.nodes[1:]:
        node.attributes = f"index=(:, {node.id})" if node.op == "getitem" else ""
    assert [m.repeat for m in grouped(trace).modules if m.repeat > 1] == [4]


def test_parameters_of_a_group_are_counted_once() -> None:
    trace = written([("Cell", ["wx"])] * 3)
    for module in trace.modules:
        module.parameters = 9
    assert grouped(trace).modules[0].parameters == 27
    for call, module in enumerate(trace.modules):
        module.path, module.call = "cell", call
    [group, *_] = grouped(trace).modules
    assert (group.path, group.parameters) == ("cell", 9)


def test_a_failure_keeps_its_module() -> None:
    trace = written([("Block", ["relu"])] * 3)
    trace.failure = Failure("mul", "no", [("x", 3, "float32")], module=2)
    found = grouped(trace)
    assert found.failure is not None
    assert found.failure.module is not None
    assert found.modules[found.failure.module].path == "2"


def test_three_thousand_nodes_take_no_time() -> None:
    trace = written([("Block", ["wconv", "relu", ("Inner", ["tanh", "wlinear"])])] * 500)
    assert len(trace.nodes) > 3000
    started = time.process_time()
    view = fold(trace)
    assert time.process_time() - started < 1.0  # measured: 0.1
    assert view.size < 10


def test_modules_in_one_another_need_no_recursion() -> None:
    step: Step_ = "relu"
    trace = written(["relu", "tanh", "exp"])
    trace.modules = [Module(i, f"m{i}", "Nest", i - 1 if i else None) for i in range(3000)]
    trace.nodes[1].module = trace.nodes[2].module = 2999
    assert fold(trace, depth=3000).folded == [2999]
    source = viz.draw(trace, collapse=None).source
    assert source.count("subgraph cluster_fm") == 40
    assert step in source


# ----- leaves ------------------------------------------------------------------------------------


def homes(trace: Trace) -> dict[str, str]:
    """The path of the module of each leaf, "" outside of modules and in the outermost one."""
    found = grouped(trace)
    return {
        node.name: "" if node.module is None else found.modules[node.module].path
        for node in found.nodes
        if node.kind != "op"
    }


def test_a_leaf_belongs_to_its_consumers() -> None:
    trace = written([("A", ["wx"]), ("B", [("C", ["relu", "wy"]), ("D", ["tanh", "tanh2"])])])
    mean, shared = leaf(len(trace.nodes), "input", "mean"), leaf(99, "parameter", "shared")
    by_name = {node.op: node for node in trace.nodes}
    shared.id = mean.id + 1
    trace.nodes += [mean, shared]
    by_name["relu"].inputs.append(Input("m", mean.id))
    by_name["relu"].inputs.append(Input("s", shared.id))
    by_name["tanh2"].inputs.append(Input("s", shared.id))
    assert homes(trace) == {
        "x": "",  # nothing else flows into A, so this is what the model is called with
        "0.0.w": "0",
        "1.0.1.w": "1.0",
        "mean": "1.0",
        "shared": "1",
    }


def test_what_a_failed_call_was_given_belongs_to_it() -> None:
    trace = written([("A", ["wx"])])
    trace.modules.append(Module(1, "1", "B", None))
    trace.nodes.append(leaf(3, "parameter", "1.w"))
    trace.failure = Failure("mul", "no", [("x", 2, ""), ("w", 3, "")], module=1)
    assert homes(trace)["1.w"] == "1"


# ----- what is visible ---------------------------------------------------------------------------


@st.composite
def views(draw: st.DrawFn) -> View:
    """A view of a program, folded somehow."""
    trace = written(draw(programs), draw(st.sampled_from(["", "Net"])))
    salt = draw(st.integers(0, 2))  # some inputs get no gradient
    for node in trace.nodes:
        for entry in node.inputs:
            entry.gradient = (node.id + salt) % 3 > 0
    wishes = draw(st.lists(st.sampled_from([True, False, None, None]), min_size=1, max_size=7))
    expand = None if draw(st.booleans()) else lambda module: wishes[module.id % len(wishes)]
    return fold(
        trace,
        depth=draw(st.none() | st.integers(1, 3)),
        collapse=draw(st.sampled_from(["auto", "repeats", None])),
        budget=draw(st.integers(1, 40)),
        expand=expand,
    )


@given(views())
def test_every_node_is_in_one_box(view: View) -> None:
    assert [box.id for box in view.boxes.values()] == list(view.boxes)
    held = Counter(i for box in view.boxes.values() for i in box.nodes)
    assert held == Counter(range(len(view.trace.nodes)))
    for i, name in enumerate(view.home):
        assert i in view.boxes[name].nodes
    for box in view.boxes.values():
        assert (box.node is None) != (box.module is None)
        assert box.id == (f"n{box.node}" if box.module is None else f"m{box.module}")
        if box.node is not None:
            nodes = [view.trace.nodes[i] for i in box.nodes]
            assert {node.op for node in nodes} - {"parameter"} <= {nodes[0].op}
            assert box.node in box.nodes


@given(views())
def test_a_parameter_that_one_box_reads_stands_in_it(view: View) -> None:
    readers: dict[int, set[str]] = defaultdict(set)
    for edge in view.trace.edges:
        readers[edge.source].add(view.home[edge.target])
    for node in view.trace.nodes:
        box = view.boxes[view.home[node.id]]
        if node.kind == "parameter" and box.module is None:
            alone = box.node is not None and view.trace.nodes[box.node].kind == "parameter"
            twins = [i for i in box.nodes if view.trace.nodes[i].kind == "parameter"]
            homes = set().union(*(readers[i] for i in (twins if alone else [node.id])))
            of_module = any(m.type and m.repeat == 1 for m in view.trace.ancestors(node.module))
            if alone:  # of nobody's module, or there are several boxes, or a folded one
                assert not of_module or len(homes) > 1 or homes.pop()[0] == "m"
            else:
                assert of_module
                assert homes == {box.id}


@given(views())
def test_links_are_the_image_of_the_edges(view: View) -> None:
    expected: dict[Any, list[str]] = defaultdict(list)
    gradients: dict[Any, bool] = defaultdict(bool)
    for edge in view.trace.edges:
        source, target = view.home[edge.source], view.home[edge.target]
        module = view.boxes[target].module
        if source == target and module is not None and is_inside(view, edge, module):
            continue
        if source == target and module is None and view.trace.nodes[edge.source].kind != "op":
            continue
        link = (source, target, None if module is not None else edge.port)
        expected[link].append(edge.key)
        gradients[link] |= edge.gradient
    found = {(link.source, link.target, link.port): link for link in view.links}
    assert len(found) == len(view.links)
    assert {name: link.keys for name, link in found.items()} == expected
    assert {name: link.gradient for name, link in found.items()} == gradients
    assert all(link.targets == {int(k.split(":")[0]) for k in link.keys} for link in view.links)


def is_inside(view: View, edge: Any, module: int) -> bool:
    """Whether both ends are in the same call, this one or one that looks the same."""
    if view.trace.nodes[edge.source].kind != "op":
        return True
    level = sum(1 for _ in view.trace.ancestors(module))
    ends = []
    for end in (edge.source, edge.target):
        around = list(view.trace.ancestors(view.trace.nodes[end].module))[::-1]
        ends.append(around[level - 1].id)
    return ends[0] == ends[1]


@given(views())
def test_frames_are_a_tree_around_what_is_visible(view: View) -> None:
    modules = view.trace.modules
    for frame, outer in view.frames.items():
        above = [m.id for m in view.trace.ancestors(frame)][1:]
        assert outer == next((m for m in above if m in view.frames), None)
        assert modules[frame].repeat == 1 or frame in view.repeated
        assert frame not in view.folded
    for box in view.boxes.values():
        assert box.frame is None or box.frame in view.frames
        start = modules[box.module].parent if box.module is not None else None
        if box.node is not None and view.trace.nodes[box.node].kind == "op":
            start = view.trace.nodes[box.node].module
        if start is not None:
            above = [m.id for m in view.trace.ancestors(start)]
            assert box.frame == next((m for m in above if m in view.frames), None)


@given(programs, st.sampled_from(["", "Net"]), st.integers(1, 60))
def test_the_budget_is_kept_where_modules_allow_it(
    program: list[Step_], outermost: str, budget: int
) -> None:
    trace = written(program, outermost)
    whole = fold(trace, collapse=None)
    least = fold(trace, expand=lambda m: None if m.path == "" else False, collapse=None)
    view = fold(trace, budget=budget)
    if whole.size <= budget:
        assert view == whole
    elif least.size <= budget:
        assert view.size <= budget
    else:
        assert view.size == least.size


@given(programs)
def test_repeats_are_shown_once(program: list[Step_]) -> None:
    view = fold(written(program), collapse="repeats")
    shown = fold(written(program), collapse=None)
    own = [n for n in shown.trace.nodes if n.kind == "parameter" and shown.home[n.id] != f"n{n.id}"]
    assert shown.size == len(shown.home) - len(own)
    assert not shown.repeated
    groups = [m for m in view.trace.modules if m.repeat > 1]
    hidden = {
        node.id
        for group in groups
        for block in [m for m in view.trace.modules if m.parent == group.id][1:]
        for node in ops_in(view.trace, block.id)
    }
    visible = {box.node for box in view.boxes.values()}
    assert visible.isdisjoint(hidden)
    assert {n.id for n in view.trace.nodes if n.kind == "op"} - hidden <= visible


def told(view: View) -> Iterator[str]:
    """What is visible, as text: boxes with the frames around them."""
    for box in view.boxes.values():
        around = [view.trace.modules[frame].path for frame in view.frames_around(box.frame)]
        if box.module is not None:
            module = view.trace.modules[box.module]
            name = module.path or module.type
        else:
            assert box.node is not None
            name = view.trace.nodes[box.node].op
        yield "/".join([*around[::-1], name])


NET = [
    ("Conv", ["wconv"]),
    ("Layer", [("Block", ["wa", "relu"]), ("Block", ["wa", "relu"]), ("Block", ["wa", "relu"])]),
    "tanh",
]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"depth": 1}, ["input", "wconv", "1", "tanh"]),
        ({"depth": 2}, ["input", "wconv", "1/1.0", "1/1.1", "1/1.2", "tanh"]),
        (
            {"depth": 2, "collapse": "repeats"},
            ["input", "wconv", "1.0 … 1.2/1.0", "tanh"],
        ),
        (
            {"budget": 6},
            ["input", "wconv", *(f"1/1.0 … 1.2/{name}" for name in ("wa", "relu")), "tanh"],
        ),
        ({"budget": 4}, ["input", "wconv", "1.0 … 1.2/1.0", "tanh"]),
        ({"budget": 1}, ["input", "wconv", "1", "tanh"]),
        ({"expand": lambda m: False if m.type == "Net" else None}, ["input", "Net"]),
        (
            {"depth": 1, "expand": lambda m: True if m.type == "Layer" else None},
            ["input", "wconv", "1/1.0", "1/1.1", "1/1.2", "tanh"],
        ),
        (
            {"collapse": None, "expand": lambda m: False if m.path in ("1.1", "0") else None},
            [
                *("input", "wconv", "1/1.0/wa", "1/1.0/relu", "1/1.1"),
                *("1/1.2/wa", "1/1.2/relu", "tanh"),
            ],
        ),
        (
            {"collapse": "repeats", "expand": lambda m: True if m.repeat > 1 else None},
            [
                *("input", "wconv"),
                *(f"1/1.{i}/{name}" for i in range(3) for name in ("wa", "relu")),
                "tanh",
            ],
        ),
        (
            {"collapse": "repeats", "expand": lambda m: False if m.repeat > 1 else None},
            ["input", "wconv", "1.0 … 1.2", "tanh"],
        ),
    ],
)
def test_each_option(options: dict[str, Any], expected: list[str]) -> None:
    assert list(told(fold(written(NET, "Net"), **options))) == expected


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match=r"depth must be 1 .* got 0"):
        fold(written(["a"]), depth=0)
    with pytest.raises(ValueError, match="'auto', 'repeats' or None; got 'all'"):
        fold(written(["a"]), collapse="all")  # type: ignore[arg-type]


def test_an_unrolled_loop_of_plain_functions_is_shown_once() -> None:
    x = tg.ones(2, 7, 3)
    w, u, b = (tg.ones(*shape, requires_grad=True) for shape in ((3, 4), (4, 4), (4,)))
    h = tg.zeros(2, 4)
    for t in range(7):
        h = tg.tanh(x[:, t] @ w + h @ u + b)
    view = fold(viz.trace(h.sum()), collapse="repeats")
    assert [view.trace.modules[m].repeat for m in view.repeated] == [7]
    names = [view.trace.nodes[box.node or 0].op for box in view.boxes.values()]
    assert Counter(names) == {
        **{"matmul": 2, "add": 2, "tanh": 1, "sum": 1},
        **{"input": 2, "parameter": 3},  # the first x[:, t] for all of them, and the first h
    }
    [back] = [link for link in view.links if int(link.source[1:]) > int(link.target[1:])]
    assert len(back.keys) == 6


def test_calls_of_one_module_are_shown_once() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.Linear(3, 3)

        def forward(self, x: tg.Tensor) -> tg.Tensor:
            for _ in range(5):
                x = self.cell(x)
            return x

    trace = viz.trace(Net(), (2, 3))
    view = fold(trace, collapse="repeats")
    [group] = view.repeated
    assert view.trace.modules[group].path == "cell"
    _, box = view.boxes.values()
    assert box.frame == group
    assert len(box.nodes) == 7  # with the parameters, which only the calls read
    assert [trace.nodes[i].name for i in box.parameters] == ["cell.weight", "cell.bias"]
    [loop] = [link for link in view.links if link.source == box.id]
    assert (loop.source, len(loop.keys)) == (loop.target, 4)


def test_ops_of_rules_are_where_the_op_is() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    trace = viz.trace(tg.tanh(x).sum(), backward="ops")
    view = fold(trace, collapse=None)
    assert view.size == len(trace.nodes)
    for node in trace.nodes:
        if node.rule is not None:
            assert view.home[node.id] == f"n{node.rule}"
    assert all(trace.nodes[i].rule is None for link in view.links for i in link.targets)


def test_the_worst_of_several_gradients_is_told() -> None:
    assert labels.worst([]) is None
    assert labels.worst([1.0, -3.0, -math.inf]) == -3.0
    assert labels.worst([-math.inf]) == -math.inf
    assert math.isnan(labels.worst([-8.0, math.nan]) or 0.0)


@given(programs, st.integers(1, 10))
def test_a_last_resort_has_few_boxes_for_any_graph(program: list[Step_], boxes: int) -> None:
    trace = written(program)
    assume(len(trace.nodes) > boxes)
    view = chunked(trace, boxes)
    assert len(view.boxes) <= boxes
    assert [i for box in view.boxes.values() for i in box.nodes] == list(range(len(trace.nodes)))
    keys = Counter(key for link in view.links for key in link.keys)
    crossing = [e.key for e in trace.edges if view.home[e.source] != view.home[e.target]]
    assert keys == Counter(crossing)


def test_arrows_that_pass_by_boxes_need_room_too() -> None:
    """All steps of a cell have short boxes, but each reads the weights at the top."""
    cell = nn.GRUCell(3, 4)

    def net(xs: tg.Tensor) -> tg.Tensor:
        h, hs = tg.zeros(1, 4), []
        for x in xs:
            h = cell(x, h)
            hs.append(h)
        return tg.stack(hs)

    view = fold(viz.trace(net, (7, 1, 3)))
    assert [view.trace.modules[group].repeat for group in view.repeated] == [7]
