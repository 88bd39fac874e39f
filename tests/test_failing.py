"""The picture of an exception: which op, whose inputs, in which module and line."""

import gc
import pickle
import sys
import traceback
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    assert (failed.op, failed.during) == ("mul", "backward")  # sum saved nothing
    assert trace.nodes[failed.node or 0].op == "mul"


# ----- what the exception itself carries ---------------------------------------------------------


class Refusing(Exception):  # noqa: N818  it is not ours to name
    """An exception that takes no attributes."""

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(name)

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class Broken(tg.Op, register=False):
    """Raises what it is told to, in its forward or in its rule."""

    error: Any
    backward: bool = False

    def forward(self, xp: Any, x: Any) -> Any:
        if not self.backward:
            raise self.error
        return x + 1

    def grad_x(self, F: Any, g: Any) -> Any:
        if hasattr(g, "shape"):  # and not when its formula is asked for
            raise self.error
        return g


broken = tg.function(Broken)

ERRORS = st.sampled_from(
    [ValueError, KeyError, ZeroDivisionError, OSError, KeyboardInterrupt, SystemExit, MemoryError]
)


@given(kind=ERRORS, backward=st.booleans(), create=st.booleans(), around=st.booleans())
def test_an_exception_of_any_type_says_where_it_comes_from(
    kind: type[BaseException], backward: bool, create: bool, around: bool
) -> None:
    x = tg.ones(2, requires_grad=True)

    class Calling(nn.Module):
        def forward(self, x: tg.Tensor) -> tg.Tensor:
            result: tg.Tensor = broken(tg.exp(x), error=error, backward=backward)
            return result

    model, error = Calling(), kind("why")
    outermost = nn.Sequential(model) if around else model
    with pytest.raises(kind) as caught:
        outermost(x).sum().backward(create_graph=create)
    assert caught.value is error
    assert error.__cause__ is None
    carried: Any = vars(error)["tinygrad_cv"]
    assert carried.op.name == "broken"
    (given_to,) = carried.inputs
    if backward:
        assert given_to is carried.node.inputs[0]
        assert [root.op.name for root in carried.roots] == ["sum"]
    else:
        assert isinstance(given_to, tg.Tensor)
        assert (carried.node, carried.roots) == (None, ())
        assert carried.scope.module() is model
    where = traceback.extract_tb(error.__traceback__)[-1].name
    assert where == ("grad_x" if backward else "forward")
    seen = viz.draw_error(error).trace.failure
    assert seen is not None
    assert (seen.op, seen.during) == ("broken", "backward" if backward else "forward")


@pytest.mark.parametrize("backward", [False, True])
def test_an_exception_that_takes_no_attributes_stays_what_it_is(backward: bool) -> None:
    error = Refusing("no")
    with pytest.raises(Refusing) as caught:
        broken(tg.ones(2, requires_grad=True), error=error, backward=backward).sum().backward()
    assert caught.value is error
    assert error.__context__ is None


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("create", [False, True])
def test_the_graph_goes_with_the_exception(backward: bool, create: bool) -> None:
    """At once, without the garbage collector: there is no cycle through the traceback."""

    class Failing(tg.Op, register=False):
        def forward(self, xp: Any, x: Any) -> Any:
            if not backward:
                raise ArithmeticError("no")
            return x + 1

        def grad_x(self, F: Any, g: Any) -> Any:
            raise ArithmeticError("no")

    failing = tg.function(Failing)

    def run() -> list[weakref.ref[Any]]:
        x = tg.ones(2, requires_grad=True)
        hidden = tg.exp(x)
        left = [weakref.ref(x), weakref.ref(hidden), weakref.ref(hidden.node)]
        try:
            failing(hidden).sum().backward(create_graph=create)
        except ArithmeticError as error:
            left.append(weakref.ref(vars(error)["tinygrad_cv"]))
        return left

    gc.disable()
    try:
        assert all(gone() is None for gone in run())
    finally:
        gc.enable()


def test_errors_of_the_engine_go_with_their_graph() -> None:
    def run(wrong: Callable[[tg.Tensor], Any]) -> tuple[weakref.ref[Any], bool]:
        x = tg.exp(tg.ones(2, 3, requires_grad=True))
        try:
            wrong(x)
        except Exception as error:
            return weakref.ref(x.node), vars(error)["tinygrad_cv"].op is not None
        raise AssertionError("nothing was raised")

    def twice(x: tg.Tensor) -> None:
        loss = (x * x).sum()
        loss.backward()
        loss.backward()

    gc.disable()
    try:
        for wrong in (
            lambda x: x + tg.ones(4),
            lambda x: x + tg.ones(2, 3, device="fakecuda:0"),
            lambda x: tg.add(x, [[1], [2, 3]]),
            lambda x: tg.add(x, object()),
            lambda x: tg.nn.Linear(2, 2)(x),
            twice,
        ):
            gone, has_op = run(wrong)
            assert has_op or "Linear" in wrong.__code__.co_names
            assert gone() is None
    finally:
        gc.enable()


def test_what_an_exception_carries_stays_in_its_process() -> None:
    with pytest.raises(ValueError, match="broadcast") as caught:
        tg.ones(2, requires_grad=True) + tg.ones(3)
    sent = pickle.loads(pickle.dumps(caught.value))
    assert str(sent) == str(caught.value)
    assert sent.tinygrad_cv is None
    with pytest.raises(ValueError, match="no op and no function of tensors"):
        viz.draw_error(sent)


def test_an_error_raised_from_another_has_its_op() -> None:
    def load() -> tg.Tensor:
        try:
            return tg.ones(2) @ tg.ones(3)
        except ValueError as error:
            raise RuntimeError("the model does not fit") from error

    trace, failed = failure(load)
    assert failed.op == "matmul"
    assert trace.title == "RuntimeError in matmul"


def test_a_rule_that_fails_within_another_backward_pass() -> None:
    """The innermost rule is named, and the graphs of all walks are there."""

    def inner(x: tg.Tensor) -> tg.Tensor:
        result: tg.Tensor = broken(x, error=ArithmeticError("no"), backward=True)
        return result

    x = tg.ones(2, requires_grad=True)
    trace, failed = failure(lambda: tg.sin(tg.checkpoint(inner, x)).sum().backward())
    assert failed.op == "broken"
    assert {"recompute", "sin", "sum"} <= {node.op for node in trace.nodes}


# ----- without an exception of ours --------------------------------------------------------------


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
