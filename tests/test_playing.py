"""The backward pass in frames: the numbers that stand in the formulas."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv import nn, viz


def number(value: float) -> tg.Tensor:
    return tg.tensor(value, requires_grad=True, dtype="float64")


def test_the_two_gates_of_the_lecture() -> None:
    x, y, z = number(-2.0), number(5.0), number(-4.0)
    q = x + y
    f = q * z
    assert [frame.lines for frame in viz.playback(f).trace.frames] == [
        [
            "f = mul(q, z): g = ∂L/∂f = 1",
            "∂L/∂q = g · z = 1 · (-4) = -4",
            "∂L/∂z = g · q = 1 · 3 = 3",
        ],
        ["q = add(x, y): g = ∂L/∂q = -4", "∂L/∂x = g = -4", "∂L/∂y = g = -4"],
    ]


def test_a_sigmoid_neuron() -> None:
    """The lecture's circuit, 1 / (1 + exp(-(w0 x0 + w1 x1 + w2))), gate by gate."""
    w0, x0, w1, x1, w2 = map(number, (2.0, -1.0, -3.0, -2.0, -3.0))
    dot = w0 * x0 + w1 * x1 + w2
    out = 1 / (1 + tg.exp(-dot))
    lines = [line for frame in viz.playback(out).trace.frames for line in frame.lines]
    ends = {
        line.split(" = ")[0]: float(line.split(" = ")[-1]) for line in lines if ": g" not in line
    }
    assert ends["∂L/∂dot"] == pytest.approx(0.1966, abs=1e-4)
    assert [ends[f"∂L/∂{name}"] for name in ("w0", "x0", "w1", "x1", "w2")] == pytest.approx(
        [-0.1966, 0.3932, -0.3932, -0.5898, 0.1966], abs=2e-4
    )


@given(
    st.sampled_from(["tanh", "sigmoid", "exp", "square", "relu", "sin", "softplus"]),
    st.floats(-2.0, 2.0).filter(lambda v: abs(v) > 0.05),
)
def test_the_numbers_in_a_formula_give_the_gradient(op: str, value: float) -> None:
    """What is written between the equal signs is evaluated by Python itself."""
    x = number(value)
    y = getattr(tg, op)(x)
    [frame] = viz.playback(y * 1.0).trace.frames[1:]
    known: dict[str, Any] = {
        "where": lambda c, a, b: a if c else b,
        "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
        **{name: getattr(np, name) for name in ("cos", "exp", "sign", "abs")},
    }
    for line in frame.lines[2:]:
        name, *_, meaning = line.strip().removeprefix("where ").split(" = ")
        known[name] = eval(meaning.replace("·", "*"), known)
    parts = frame.lines[1].split(" = ")
    result = eval(parts[-2].replace("·", "*"), known)
    assert result == pytest.approx(float(parts[-1]), rel=5e-3, abs=1e-3)
    gradient = tg.grad(y, x)[0]
    assert gradient is not None
    assert float(parts[-1]) == pytest.approx(gradient.item(), rel=1e-3, abs=1e-12)


def test_small_arrays_are_written_out_and_large_ones_told() -> None:
    small, large = tg.ones(2, requires_grad=True), tg.ones(50, requires_grad=True)
    [frame] = viz.playback(small * 3.0).trace.frames
    assert frame.lines[1] == "∂L/∂small = g · 3.0 = [1, 1] · 3.0 = [3, 3]"
    [frame] = viz.playback(large * 3.0).trace.frames
    assert frame.lines[1:] == [
        "∂L/∂large = g · 3.0",
        "    ‖∂L/∂large‖ = 21.2 = ‖g‖ 7.07 · 3, shape (50,)",
    ]


def test_a_convnet_is_played_to_its_first_layer() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)
    )
    images = tg.randn(2, 3, 6, 6)
    loss = tg.cross_entropy(model(images), tg.tensor([0, 1]), ignore_index=None)
    played = viz.playback(loss)
    nodes = played.trace.nodes
    assert [nodes[frame.node].op for frame in played.trace.frames] == [
        "mean", "cross_entropy", "linear", "reshape", "relu", "batch_norm", "conv2d",
    ]  # fmt: skip
    norm = next(frame for frame in played.trace.frames if nodes[frame.node].op == "batch_norm")
    assert "    where d = subtract_mean(x)" in norm.lines
    assert "    where z = d · r" in norm.lines
    assert "conv2d(images, 0.weight, 0.bias), y = conv2d(images, weight, bias)" in str(played)
    told = re.findall(r"‖∂L/∂weight‖ = (\S+)", "\n".join(played.trace.frames[-1].lines))
    expected = tg.grad(loss, model[0].weight)[0]
    assert expected is not None
    assert float(told[0]) == pytest.approx(np.linalg.norm(expected.numpy()), rel=1e-2)
    assert images.grad is None


def test_a_playback_knows_values_and_gradients() -> None:
    x = number(2.0)
    y = x * x
    [step] = viz.playback(y).trace.steps
    assert (step.values[1].mean, step.gradients[0].mean, step.gradients[1].mean) == (4.0, 4.0, 1.0)
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == 4.0  # the graph is still whole


def test_the_parts_of_a_variadic_op() -> None:
    a, b = tg.tensor([1.0], requires_grad=True), tg.tensor([2.0], requires_grad=True)
    frame = viz.playback(tg.cat([a, b]) * 1.0).trace.frames[1]
    assert frame.lines[1:] == [
        "∂L/∂a = g[0:1] = [1, 1][0:1] = 1",
        "∂L/∂b = g[1:2] = [1, 1][1:2] = 1",
    ]


@pytest.mark.host
def test_frames_are_saved_as_a_page_or_as_numbered_pictures(tmp_path: Path) -> None:
    x, y = number(-2.0), number(5.0)
    played = viz.playback((x + y) * x)
    page = played.save(tmp_path / "playback.html")
    assert "g · x" in page.read_text()
    folder = played.save(tmp_path / "frames")
    assert sorted(path.name for path in folder.iterdir()) == ["000.svg", "001.svg"]
    first, second = ((folder / f"00{i}.svg").read_text() for i in range(2))
    assert first != second
    assert "<svg" in first
    with pytest.raises(FileExistsError, match=r"000\.svg of an earlier playback"):
        played.save(folder)


def test_long_lines_are_wrapped_under_a_picture() -> None:
    weights = tg.ones(1, 100, requires_grad=True)
    weights.name = "the weights of the first layer of all"
    trace = viz.playback(weights * 3.0).trace
    drawn = re.sub(r"<[^<>]*>|&#160;", " ", viz.draw(trace, frame=0).source)
    assert trace.frames[0].lines[0].endswith("an array of shape (1, 100), norm 10")
    assert "an array of shape (1, 100), norm 10" in " ".join(drawn.split())


def test_what_cannot_be_played_is_said() -> None:
    with pytest.raises(RuntimeError, match="none of the tensors requires a gradient"):
        viz.playback(tg.ones(2))
    y = tg.exp(number(1.0))
    y.backward()
    with pytest.raises(RuntimeError, match="freed by backward"):
        viz.playback(y)


def test_a_value_with_several_uses_gets_a_sum() -> None:
    """No share of it is called the gradient: CS231n's "gradients add up at forks"."""
    x = number(3.0)
    y = x * x + tg.exp(x) * 0.0
    lines = str(viz.playback(y)).splitlines()
    assert lines.count("∂L/∂x += g · x = 1 · 3 = 3") == 2
    assert not any(line.startswith("∂L/∂x = g ·") and "3" in line for line in lines)


def test_text_for_a_terminal() -> None:
    x = number(3.0)
    y: Any = x * 2.0
    assert str(viz.playback(y)) == "y = mul(x, 2.0): g = ∂L/∂y = 1\n∂L/∂x = g · 2.0 = 1 · 2.0 = 2"
    assert len(viz.playback(y)) == 1


def test_an_op_with_several_outputs() -> None:
    a = tg.tensor([[2.0, 0.0], [0.0, 3.0]], requires_grad=True)
    w, _ = tg.linalg.eigh(a)
    [*_, last] = viz.playback((w * w).sum()).trace.frames
    assert last.lines[0] == "%1 = eigh(a): g_w = [4, 6], g_v = [[0, 0], [0, 0]]"
    assert last.lines[1].startswith("∂L/∂a = ")
    assert last.lines[1].endswith(" = [[4, 0], [0, 6]]")


@pytest.mark.parametrize("index", [0, slice(1, None), None, (Ellipsis, 1), [0, 1]])
def test_a_part_of_a_tensor(index: Any) -> None:
    """The zeros around its gradient are there to be told."""
    x = tg.tensor([1.0, 2.0, 4.0], requires_grad=True)
    loss = (x[index] * 3.0).sum()
    (left,) = tg.autograd.grad(loss, x, retain_graph=True)
    written = ", ".join(f"{value:.0f}" for value in left.tolist())
    assert str(viz.playback(loss)).endswith(f"= [{written}]")
