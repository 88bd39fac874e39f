"""What people see of a compiled function: the listing of its plan, its times, its picture."""

import re
from pathlib import Path
from typing import Any

import pytest

import tinygrad_cv as tg
from tinygrad_cv import nn, optim, viz
from tinygrad_cv.backend import limits
from tinygrad_cv.backend.switch import KERNELS
from tinygrad_cv.program.listing import flops, kernel, listed, moved
from tinygrad_cv.viz.data import Trace

pytestmark = pytest.mark.host


class Net(nn.Module):
    """A small ConvNet."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(64, 3)

    def forward(self, x: Any) -> Any:
        return self.head(self.norm(self.conv(x)).relu().flatten(1))


def step_of(model: Any) -> Any:
    descent = optim.SGD(model.parameters(), lr=0.1)

    @tg.compile
    def step(x: Any, labels: Any) -> Any:
        descent.zero_grad()
        loss = tg.cross_entropy(model(x), labels)
        loss.backward()
        descent.step()
        return loss

    return step


BATCH = tg.arange(360.0).sin().reshape(5, 2, 6, 6), tg.tensor([0, 1, 2, 0, 1])


@pytest.fixture(scope="module")
def step() -> Any:
    """Recorded, and replayed once."""
    made = step_of(Net())
    made(*BATCH)
    made(*BATCH)
    return made


# ----- the listing -------------------------------------------------------------------------------


def table(plan: Any) -> list[dict[str, str]]:
    """The rows of a listing, by column."""
    _, _, rule, head, _, *rows = str(plan).splitlines()
    assert set(rule) == {"-"}
    starts = [0, *(m.end() for m in re.finditer(r"\s{2,}", head)), None]
    names = ["number", *head.split("  ")]
    assert [name.strip() for name in names if name.strip()][1:3] == ["kernel", "reads"]
    cut = re.compile(r"\s{2,}")
    assert all(len(row) >= starts[1] for row in rows)
    return [dict(enumerate(cut.split(row.strip()))) for row in rows]  # type: ignore[arg-type]


def test_each_instruction_has_a_row(step: Any) -> None:
    text = str(step.plan)
    assert len(table(step.plan)) == len(step.plan.order)
    head = text.splitlines()
    assert head[0].startswith(f"{len(step.plan.order)} instructions of {step.plan.recorded} ")
    assert "at least" in head[1]
    assert f"limits measured: {limits.limits()}" in head[1]


def test_arrays_have_the_names_of_the_user(step: Any) -> None:
    text = str(step.plan)
    for name in (
        "input 0 5x2x6x6",
        "input 1 5 int64",
        "conv.weight 4x2x3x3",
        "norm.running_mean 4",
    ):
        assert name in text
    assert "head.weight.grad 3x64" in text
    assert "test_program_viewing.py:" in text
    assert str(Path(__file__).parent) not in text


def test_places_are_told_of_what_is_made(step: Any) -> None:
    (row,) = [line for line in str(step.plan).splitlines() if " SGD.step " in line]
    assert "conv.weight 4x2x3x3 there" in row
    assert " more " in row
    assert re.search(r" v\d+ \S+ @[\d,]+ ", str(step.plan))


def test_a_profile_tells_times_and_goes_on_training() -> None:
    model = Net()
    step = step_of(model)
    before = model.head.weight.detach().clone()
    plan = step.profile(*BATCH)
    assert plan is step.plan
    assert not tg.equal(before, model.head.weight)
    assert len(plan.times) == len(plan.order)
    assert sum(plan.times) > 0
    text = str(plan)
    assert "FLOP/s" in text
    assert "of limit" in text
    assert "at the limits" in text.splitlines()[1]
    least = list(plan.times)
    step.profile(*BATCH)
    assert all(a <= b for a, b in zip(plan.times, least, strict=True))


def test_a_profile_is_the_same_training() -> None:
    losses = []
    for timed in (False, True):
        tg.manual_seed(3)
        step = step_of(Net())
        if timed:
            step.profile(*BATCH)
        else:
            for _ in range(11):
                step(*BATCH)
        losses.append(step(*BATCH).item())
    assert losses[0] == losses[1]


@pytest.mark.parametrize("kernels", ["numpy", "compiled"])
def test_what_is_counted(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KERNELS, "compiled", kernels == "compiled" and KERNELS.compiled)
    w = tg.ones(6, 2, 3, 3)

    @tg.compile
    def step(x: Any, a: Any) -> Any:
        return tg.conv2d(x, w, groups=2), a @ a, a.sum(0)

    for _ in range(2):
        step(tg.ones(1, 4, 5, 5), tg.ones(7, 7))
    plan = step.plan
    found = {i.function: (flops(i), moved(plan, i)) for i in plan.order}
    assert found["conv"] == (2 * 6 * 3 * 3 * 2 * 3 * 3, 4 * (4 * 25 + 6 * 18 + 6 * 9))
    assert found["matmul"] == (2 * 7 * 7 * 7, 4 * 2 * 49)  # a is read once
    sums = [cost for name, (cost, _) in found.items() if name in ("total", "sum")]
    assert sums == [49]


@pytest.mark.usefixtures("compiled_kernels")
def test_a_pass_over_images_tells_what_is_in_it() -> None:
    model = tg.nn.Sequential(
        tg.nn.Conv2d(8, 16, 3, padding=1), tg.nn.BatchNorm2d(16), tg.nn.ReLU()
    ).eval()
    step = tg.compile(tg.no_grad()(lambda x: model(x)))
    for _ in range(2):
        step(tg.ones(4, 8, 32, 32))
    (found,) = [i for i in step.plan.order if i.function == "image_pass"]
    maps = 4 * 16 * 32 * 32
    assert flops(found) == 2 * maps * 8 * 3 * 3 + maps
    assert kernel(found) == "conv - normalized"


def test_long_lists_are_cut() -> None:
    assert listed([]) == ""
    assert listed(["a", "b"]) == "a, b"
    assert listed(["abc", "def", "g"], room=8) == "abc, def and 1 more"
    assert listed(["a long name", "b"], room=5) == "a long name and 1 more"
    assert listed(["add", "exp", "tanh"], " ", 7) == "add exp and 1 more"


def test_limits_are_measured_once_for_each_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = limits.limits()
    monkeypatch.setattr(limits, "flops_per_second", lambda: 1 / 0)
    assert limits.limits() is first
    bound = limits.Limits(2, flops=100.0, bytes=10.0)
    assert bound.seconds(50, 1) == 0.5
    assert bound.seconds(50, 20) == 2.0
    assert str(limits.Limits(1, 2e11, 3e10)) == "200 GFLOP/s and 30 GB/s by 1 thread"


# ----- the picture -------------------------------------------------------------------------------


def test_the_parts_of_a_step_stand_apart(step: Any) -> None:
    trace = viz.draw(step).trace
    parts = [module for module in trace.modules if module.parent is None]
    assert [part.type for part in parts] == ["forward", "backward", "update"]
    inside = {
        part.type: {
            node.op
            for node in trace.nodes
            if node.kind == "op" and part in trace.ancestors(node.module)
        }
        for part in parts
    }
    assert inside["update"] == {"SGD.step"}
    assert {"conv", "cross_entropy"} <= inside["forward"]
    assert {"conv_weight", "cross_entropy_backward"} <= inside["backward"]
    assert not inside["forward"] & {"conv_weight", "conv_transpose"}


def test_instructions_stand_in_the_modules_they_are_of(step: Any) -> None:
    trace = viz.draw(step).trace
    paths = {
        node.op: [module.path for module in trace.ancestors(node.module)] for node in trace.nodes
    }
    assert paths["conv"] == ["conv", "", ""]
    assert paths["conv_weight"] == ["conv", "", ""]
    assert paths["cross_entropy"] == [""]


def test_arrays_from_outside_are_marked(step: Any) -> None:
    trace = viz.draw(step).trace
    kinds = {node.name: node.kind for node in trace.nodes if node.kind != "op"}
    assert kinds["input 0"] == kinds["norm.running_mean"] == "input"
    assert kinds["conv.weight"] == kinds["head.bias"] == "parameter"
    (output,) = trace.outputs
    assert trace.nodes[output].shape == []
    assert "an output" in viz.draw(step).source


def test_edges_are_arrays_with_their_sizes(step: Any) -> None:
    source = viz.draw(step, collapse=None).source
    assert "conv.weight 4x2x3x3, 288 B" in source
    assert "input 0 5x2x6x6, 1.44 kB" in source
    trace = viz.draw(step).trace
    conv = next(node for node in trace.nodes if node.op == "conv")
    assert [trace.nodes[i.source].name for i in conv.inputs if i.source is not None] == [
        "input 0",
        "conv.weight",
        "conv.bias",
    ]


def test_a_joined_kernel_is_one_box() -> None:
    step = tg.compile(lambda x, y: ((x * y).tanh() + 1).exp())
    for _ in range(2):
        step(tg.ones(64, 64), tg.ones(64, 64))
    (box,) = [node for node in viz.draw(step).trace.nodes if node.kind == "op"]
    assert box.op == "loop"
    assert box.attributes.startswith("multiply tanh add exp; ")


def test_a_program_is_folded_as_other_graphs_are(step: Any) -> None:
    whole = viz.draw(step, collapse=None)
    small = viz.draw(step, budget=12)
    assert small.view.size < whole.view.size
    assert "conv_weight" not in small.source or "Linear" in small.source

    @tg.compile
    def loop(x: Any, w: Any) -> Any:
        for _ in range(30):
            x = x @ w
        return x

    for _ in range(2):
        loop(tg.ones(3, 3), tg.ones(3, 3))
    repeated = viz.draw(loop, collapse="repeats")
    assert repeated.view.size < 6
    assert "t = 0 … 29" in repeated.source


def test_times_stand_in_a_picture_once_they_are_known() -> None:
    step = step_of(Net())
    step(*BATCH)
    step(*BATCH)
    assert "µs" not in viz.draw(step).source
    step.profile(*BATCH)
    assert "µs" in viz.draw(step).source
    assert "test_program_viewing.py" in viz.draw(step, details=True).source


@pytest.mark.parametrize("suffix", [".svg", ".png", ".html", ".json", ".dot"])
def test_pictures_of_programs_are_saved_as_all_are(suffix: str, step: Any, tmp_path: Path) -> None:
    path = viz.draw(step).save(tmp_path / f"plan{suffix}", timeout=120)
    contents = path.read_bytes()
    if suffix == ".svg":
        text = contents.decode()
        assert "cross_entropy_backward" in text
        assert "forward" in text
    elif suffix == ".json":
        assert len(Trace.from_json(contents.decode()).nodes) == len(viz.draw(step).trace.nodes)
    else:
        assert len(contents) > 1000


def test_the_same_program_gives_the_same_picture(step: Any) -> None:
    assert viz.draw(step) == viz.draw(step)


def test_nothing_is_recorded_yet() -> None:
    with pytest.raises(RuntimeError, match="nothing is recorded yet"):
        viz.draw(tg.compile(lambda x: x))


def test_with_inputs_it_is_the_graph_of_the_function() -> None:
    step = tg.compile(lambda x: x.exp().sum())
    trace = viz.draw(step, tg.ones(3, requires_grad=True)).trace
    assert [node.op for node in trace.nodes if node.kind == "op"] == ["exp", "sum"]
