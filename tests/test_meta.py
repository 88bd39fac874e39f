"""The device "meta": the shapes and dtypes of every op, without numbers and without memory."""

import copy
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_cv as tg
from rows import ROWS, Case
from tinygrad_cv import models, nn, optim, viz
from tinygrad_cv._apply import apply
from tinygrad_cv._op import REGISTRY
from tinygrad_cv.backend import strided
from tinygrad_cv.nn.init import undrawn

pytestmark = pytest.mark.host  # the devices are named here

OURS = sorted(name for name, op in REGISTRY.items() if op.__module__.startswith("tinygrad_cv."))

NEEDS_NUMBERS = {
    "nonzero": "it finds as many places as there are numbers other than 0",
    "getitem": "a mask picks as many elements as it has truths",
    "scatter_add": "a mask names as many places as it has truths",
    "to_device": "what goes to another device takes its numbers along",
}
"""The ops that refuse, some of them for some inputs, and why."""


def meta(*shape: int, dtype: str = "float32", requires_grad: bool = False) -> tg.Tensor:
    return tg.zeros(*shape, dtype=dtype, device="meta", requires_grad=requires_grad)


# ----- every op ----------------------------------------------------------------------------------


def shapes_of(name: str, case: Case, floats: str, device: str) -> list[Any]:
    """Shape and dtype of what an op gives, and of the gradients of its inputs."""
    op = ROWS[name].op
    inputs = []
    for value in case.inputs:
        if isinstance(value, np.ndarray):
            is_float = value.dtype.kind == "f"
            dtype = floats if is_float else None
            value = tg.Tensor(value, dtype=dtype, device=device, requires_grad=is_float)
        inputs.append(value)
    made = apply(case.make(op), *inputs)
    outputs = made if isinstance(made, tuple) else (made,)
    found = [(y.shape, y.dtype, y.requires_grad) for y in outputs]
    roots = [y for y in outputs if y.requires_grad]
    if roots:
        tg.autograd.backward(roots, [tg.ones_like(y) for y in roots])
    leaves = [x.grad for x in inputs if isinstance(x, tg.Tensor)]
    return found + [None if g is None else (g.shape, g.dtype) for g in leaves]


@settings(max_examples=2)
@given(data=st.data())
def test_every_op_has_the_shapes_and_dtypes_that_it_has_with_numbers(data: Any) -> None:
    floats = data.draw(st.sampled_from(["float32", "float64"]))
    for name in OURS:
        case = data.draw(ROWS[name].cases)
        with suppress(NotImplementedError) if name in NEEDS_NUMBERS else nullcontext():
            found = shapes_of(name, case, floats, "meta")
            assert found == shapes_of(name, case, floats, "cpu"), name


# ----- where a view lies -------------------------------------------------------------------------


@st.composite
def layouts(draw: Any) -> Any:
    """An array of zeros whose axes lie in memory in any order, perhaps with gaps."""
    shape = draw(st.lists(st.integers(1, 4), max_size=4))
    order = draw(st.permutations(range(len(shape))))
    x = np.zeros([2 * n for n in shape]) if draw(st.booleans()) else np.zeros(shape)
    return x[(*map(slice, shape), ...)].transpose(order)


def steps(shape: Any, strides: Any) -> list[int]:
    """The strides that matter."""
    return [step for n, step in zip(shape, strides, strict=True) if n > 1]


@settings(max_examples=40)
@given(x=layouts(), data=st.data())
def test_views_lie_where_numpy_puts_them(x: Any, data: Any) -> None:
    parts = [
        data.draw(
            st.one_of(
                st.slices(n), st.integers(-n, n - 1), st.just(np.zeros((2, 1), int)), st.none()
            )
        )
        for n in x.shape
    ]
    index = tuple(parts)
    y = x[index]
    shape, strides = strided.indexed(x.shape, x.strides, index)
    assert shape == y.shape
    if strides is not None and y.size:
        assert steps(shape, strides) == steps(y.shape, y.strides)
    if y.size:
        like = strided.like(x.shape, x.strides, 8)
        assert steps(x.shape, like) == steps(x.shape, np.empty_like(x).strides)
        wanted = list(data.draw(st.permutations([*x.shape, 1])))
        found = strided.reshaped(x.shape, x.strides, wanted)
        view = np.reshape(x, wanted)
        assert (found is not None) == np.shares_memory(view, x)
        if found is not None:
            assert steps(wanted, found) == steps(wanted, view.strides)


def test_a_tensor_has_the_strides_that_it_would_have() -> None:
    x = meta(2, 3, 4)
    assert (x.stride(), x.is_contiguous()) == ((12, 4, 1), True)
    assert (x.permute(2, 0, 1).stride(), x.permute(2, 0, 1).is_contiguous()) == ((1, 12, 4), False)
    assert x.expand(5, 2, 3, 4).stride() == (0, 12, 4, 1)
    assert x[:, ::2, 1].stride() == (12, 8)
    y = x.view(6, 4)
    y.zero_()
    assert x._version == 1  # one memory


# ----- no numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.sum().item(),
        lambda x: float(x.sum()),
        lambda x: bool(x.sum()),
        lambda x: x.tolist(),
        lambda x: x.numpy(),
        lambda x: np.asarray(x),
        lambda x: x.cpu(),
        lambda x: f"{x.sum():.2f}",
        lambda x: nn.Linear(2, 3, device="meta").to("cpu"),
        lambda x: tg.allclose(x, x),
        lambda x: tg.viz.playback((x.requires_grad_() * 2).sum()),
    ],
)
def test_numbers_are_not_read(read: Callable[[Any], Any]) -> None:
    with pytest.raises(NotImplementedError, match=r"on meta.*no numbers.*to_empty"):
        read(meta(2, 3))


@pytest.mark.parametrize(
    "find", [lambda x: x[x > 0], lambda x: x.nonzero(), lambda x: tg.masked_select(x, x > 0)]
)
def test_a_shape_that_depends_on_numbers_is_refused(find: Callable[[Any], Any]) -> None:
    with pytest.raises(NotImplementedError, match="a shape that depends on numbers"):
        find(meta(2, 3))


def test_what_is_printed() -> None:
    assert repr(meta(2, 3)) == "tensor(..., device='meta', size=(2, 3))"
    x = meta(2, dtype="float64", requires_grad=True)
    assert repr(x) == "tensor(..., device='meta', size=(2,), dtype=float64, requires_grad=True)"
    assert f"{x.sum()}" == repr(x.sum())
    place = tg.device("meta")
    assert (repr(place), x.is_meta, x.is_cuda, x.is_cpu, x.get_device()) == (
        "device(type='meta')", True, False, False, -1,
    )  # fmt: skip
    assert x.type() == "torch.DoubleTensor"


def test_nothing_is_drawn() -> None:
    tg.manual_seed(0)
    first = tg.rand(3)
    tg.manual_seed(0)
    nn.Sequential(nn.Linear(4, 4, device="meta"), nn.Conv2d(1, 2, 3, device="meta"))
    nn.functional.dropout(tg.randn(5, device="meta"))
    for fill in (nn.init.orthogonal_, nn.init.trunc_normal_, nn.init.kaiming_normal_):
        fill(meta(3, 4))
    assert tg.rand(3).tolist() == first.tolist()


def test_devices_do_not_mix() -> None:
    with pytest.raises(ValueError, match=r"on meta.*on cpu"):
        meta(2) + tg.ones(2)
    assert tg.ones(2).to("meta").shape == (2,)


# ----- models ------------------------------------------------------------------------------------


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(36, 2),
    )  # fmt: skip


def test_a_model_gets_memory_and_numbers_later() -> None:
    trained = net()
    with tg.device("meta"):
        model = net()
    assert {x.device for x in [*model.parameters(), *model.buffers()]} == {"meta"}
    with pytest.raises(RuntimeError, match="on meta and keeps no numbers; load with assign=True"):
        model.load_state_dict(trained.state_dict())
    sent = pickle.loads(pickle.dumps(model))
    assert repr(sent[0].weight) == repr(model[0].weight)
    twin = copy.deepcopy(model).to_empty(device="cpu")
    twin.load_state_dict(trained.state_dict())
    model.load_state_dict(trained.state_dict(), assign=True)
    x = tg.randn(2, 3, 8, 8)
    for other in (twin, model):
        assert other.eval()(x).tolist() == trained.eval()(x).tolist()
    assert {x.device for x in trained.to("meta").parameters()} == {"meta"}


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.Adagrad])
def test_an_optimizer_steps_on_shapes(kind: Any) -> None:
    with tg.device("meta"):
        model = net()
    optimizer = kind(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(meta(2, 3, 8, 8)), meta(2, dtype="int64"))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert [p.grad.shape for p in model.parameters()] == [p.shape for p in model.parameters()]


def test_a_compiled_function_runs_as_it_is_written() -> None:
    with tg.device("meta"):
        assert tg.compile(net())(meta(2, 3, 8, 8)).shape == (2, 2)


def test_anomaly_mode_has_nothing_to_say() -> None:
    with tg.autograd.detect_anomaly(), tg.device("meta"):
        net()(meta(2, 3, 8, 8)).sum().backward()


# ----- pictures and counts -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        models.resnet20,
        models.mobilenet_v3_small,
        lambda: models.VisionTransformer(32, 8, 2, 4, hidden_dim=64, mlp_dim=128),
    ],
)
def test_a_model_is_counted_as_with_numbers(make: Callable[[], nn.Module]) -> None:
    """It was done once for all models: the same FLOPs, parameters and saved bytes of each op."""
    seen = {}
    for device in ("meta", "cpu"):
        with tg.device(device), undrawn():
            trace = viz.trace(make(), (2, 3, 32, 32))
        seen[device] = [(n.key, n.shape, n.dtype, n.flops, n.saved_bytes) for n in trace.nodes]
    assert seen["meta"] == seen["cpu"]


def test_a_large_model_takes_no_memory() -> None:
    """200 million parameters, which are 800 MB as numbers."""
    program = (
        "import resource, tinygrad_cv as tg\n"
        "from tinygrad_cv import nn, viz\n"
        "def peak():\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "with tg.device('meta'):\n"
        "    model = nn.Sequential(*[nn.Linear(10_000, 10_000, bias=False) for _ in range(2)])\n"
        "table = viz.summary(model, (64, 10_000))\n"
        "viz.draw(model, (64, 10_000), backward=True).source\n"
        "print(table.parameters, table.flops, peak() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    parameters, flops, kilobytes = map(int, done.stdout.split())
    assert (parameters, flops) == (200_000_000, 2 * 64 * 200_000_000)
    assert kilobytes < 50_000


def test_a_backward_pass_takes_no_memory() -> None:
    with tg.device("meta"):
        model = nn.Sequential(nn.Linear(20_000, 20_000), nn.ReLU(), nn.Linear(20_000, 10))
    tracemalloc.start()
    model(meta(64, 20_000)).sum().backward()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1_000_000
    assert next(model.parameters()).grad.shape == (20_000, 20_000)


def test_what_is_not_known_is_a_dash(tmp_path: Path) -> None:
    with tg.device("meta"):
        model = net()
    trace = viz.trace(model, (2, 3, 8, 8), values=True, gradients=True)
    step = trace.steps[0]
    assert {value.mean for value in [*step.values.values(), *step.gradients.values()]} == {None}
    assert not step.shares
    assert {(node.seconds, node.backward_seconds) for node in trace.nodes} == {(None, None)}
    assert viz.Trace.from_json(trace.to_json()) == trace
    for suffix in ("svg", "html"):
        drawing = viz.draw(trace, backward=True, health=True)
        text = drawing.save(tmp_path / f"graph.{suffix}").read_text()
        assert "nan<" not in text.lower()
    watch = viz.watch(model, every=1)
    for _ in range(2):
        with watch.step():
            model(meta(2, 3, 8, 8)).sum().backward()
    assert [step.updates for step in watch.trace.steps] == [{}, {}]


def test_saved_bytes_count_all_the_memory_that_is_kept() -> None:
    """Two views of one memory keep all of it, and not the first alone."""
    for device in ("cpu", "meta"):
        x = tg.ones(6, 4, device=device, requires_grad=True)
        both = x * 2
        first, second = both[:3], both[3:]
        assert sum(n.saved_bytes or 0 for n in viz.trace(first * second).nodes) == both.nbytes
