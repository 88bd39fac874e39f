"""The picture of an exception: which op, whose inputs, in which module and line."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

import tinygrad_cv as tg
from tinygrad_cv import nn, viz
from tinygrad_cv.viz.data import Failure


def failure(function: Callable[[], Any]) -> tuple[viz.Trace, Failure]:
    """The trace of what the function raised."""
    with pytest.raises(Exception) as caught:  # noqa: PT011  any error: what it says is compared
        function()
    trace = viz.draw_error(caught.value).trace
    assert trace.failure is not None
    assert trace.failure.message == str(caught.value)
    return trace, trace.failure


def test_an_op_that_refuses_its_shapes() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Sequential(nn.ReLU(), nn.Linear(4, 2)))
    trace, failed = failure(lambda: model(tg.ones(2, 3, 4)))
    assert failed.op == "linear"
    assert [told for _, _, told in failed.inputs] == [
        "float32 (2, 5)", "float32 (2, 4)", "float32 (2,)",
    ]  # fmt: skip
    assert failed.module is not None
    assert trace.modules[failed.module].path == "2.1"
    assert trace.modules[failed.module].type == "Linear"
    assert [node.op for node in trace.nodes if node.kind == "op"] == ["linear", "relu"]
    [source] = [node for name, node, _ in failed.inputs if name == "input"]
    assert trace.nodes[source].op == "relu"
    assert failed.source.startswith("test_failing.py:")
    assert failed.code == "trace, failed = failure(lambda: model(tg.ones(2, 3, 4)))"


def test_an_op_whose_forward_raises() -> None:
    class Picky(tg.Op, register=False):
        def forward(self, xp: Any, x: Any) -> Any:
            raise ZeroDivisionError("no")

        def grad_x(self, F: Any, g: Any) -> Any:
            return g

    x = tg.ones(3, requires_grad=True)
    trace, failed = failure(lambda: tg.function(Picky)(tg.exp(x)))
    assert (failed.op, failed.during) == ("picky", "forward")
    assert [(name, told) for name, _, told in failed.inputs] == [("x", "float32 (3,)")]
    assert [node.op for node in trace.nodes] == ["parameter", "exp"]


def test_operands_that_do_not_broadcast() -> None:
    _, failed = failure(lambda: tg.ones(2, 3) + tg.ones(4))
    assert failed.op == "add"
    assert [(name, told) for name, _, told in failed.inputs] == [
        ("x", "float32 (2, 3)"), ("y", "float32 (4,)"),
    ]  # fmt: skip


def test_variables_name_the_graph_up_to_the_exception() -> None:
    def model(images: tg.Tensor) -> tg.Tensor:
        hidden = tg.exp(images)
        return hidden + tg.ones(7)

    photos = tg.ones(2, 3, requires_grad=True)
    trace, failed = failure(lambda: model(photos))
    assert [(node.op, node.name) for node in trace.nodes[:2]] == [
        ("parameter", "photos"), ("exp", "hidden"),
    ]  # fmt: skip
    assert failed.code == "return hidden + tg.ones(7)"


def test_a_list_of_tensors() -> None:
    x = tg.ones(2, 3, requires_grad=True)
    trace, failed = failure(lambda: tg.cat([tg.exp(x), tg.ones(4, 4)]))
    assert failed.op == "cat"
    assert "float32 (2, 3)" in [told for _, _, told in failed.inputs]
    assert "exp" in [node.op for node in trace.nodes]


def test_a_function_that_takes_its_tensors_in_a_list() -> None:
    _, failed = failure(lambda: tg.cat([tg.ones(2), tg.ones(3)], dim=3))
    assert (failed.op, failed.inputs[:2]) == (
        "cat", [("tensors[0]", 0, "float32 (2,)"), ("tensors[1]", 1, "float32 (3,)")],
    )  # fmt: skip
    _, failed = failure(lambda: tg.einsum("ij,jk", tg.ones(2, 3), tg.ones(4, 5)))
    assert failed.op == "einsum"
    assert [told for _, _, told in failed.inputs] == [
        "'ij,jk'", "float32 (2, 3)", "float32 (4, 5)",
    ]  # fmt: skip


def test_a_rule_that_raises() -> None:
    class Broken(tg.Op, register=False):
        def forward(self, xp: Any, x: Any) -> Any:
            return x

        def grad_x(self, F: Any, g: Any) -> Any:
            raise ArithmeticError("wrong")

    x = tg.ones(3, requires_grad=True)
    y = tg.function(Broken)(tg.exp(x))
    trace, failed = failure(lambda: tg.tanh(y).sum().backward())
    assert (failed.op, failed.during) == ("broken", "backward")
    assert failed.node is not None
    assert trace.nodes[failed.node].op == "broken"
    assert [node.op for node in trace.nodes][-2:] == ["tanh", "sum"]  # the whole graph is there


def test_a_second_backward_pass() -> None:
    x = tg.ones(3, requires_grad=True)
    y = tg.exp(x)
    loss = (y * y).sum()
    loss.backward()
    trace, failed = failure(loss.backward)
    assert (failed.op, failed.during) == ("sum", "backward")
    assert trace.nodes[failed.node or 0].op == "sum"


def test_without_an_error_of_ours_there_is_nothing_to_draw() -> None:
    with pytest.raises(ValueError, match="no op and no function of tensors"):
        viz.draw_error(ZeroDivisionError("1 / 0"))
    if not hasattr(sys, "last_value"):
        with pytest.raises(ValueError, match="no exception to draw"):
            viz.draw_error()


def test_the_exception_being_handled_is_the_default() -> None:
    try:
        tg.ones(2) @ tg.ones(3)
    except ValueError:
        assert viz.draw_error().trace.failure is not None


def test_the_picture_shows_the_failed_op(tmp_path: Any) -> None:
    try:
        nn.Linear(4, 2)(tg.ones(2, 5))
    except ValueError as error:
        source = viz.draw_error(error).source
    assert "linear" in source
    assert "float32 (2, 5)" in source or "(2, 5)" in source
