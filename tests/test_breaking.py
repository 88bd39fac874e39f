"""The first NaN or infinite number: the op, or the rule, that made it, and what went in."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv import nn, viz
from tinygrad_cv.viz.data import Broken, Step
from tinygrad_cv.viz.diagnosing import lines

pytestmark = pytest.mark.host


def leaf(values: Any) -> tg.Tensor:
    return tg.tensor(values, requires_grad=True)


def broken(trace: viz.Trace) -> tuple[str, str]:
    """The op that made it in the forward pass, and the words."""
    [step] = trace.steps
    assert step.broken is not None
    assert step.broken_gradient is None
    return trace.nodes[step.broken.node].op, step.broken.words


def test_a_watched_call_names_the_op_its_input_and_the_line() -> None:
    def model(x: tg.Tensor) -> tg.Tensor:
        shifted = x - 4.0
        logs = tg.log(shifted)  # two lines below the def
        return (logs * 2.0).sum()

    x = leaf([[5.0, 6.0], [7.0, 2.0]])
    line = model.__code__.co_firstlineno + 2
    found = broken(viz.trace(model, x, values=True, gradients=True))
    assert found == ("log", f"log got -2 at [1, 1], test_breaking.py:{line}")


def test_a_graph_as_it_stands_names_what_went_in() -> None:
    a, b = leaf([1.0, 2.0, 1.0]), leaf([1.0, 2.0, 0.0])
    c = (a / b).sum()
    assert broken(viz.trace(c, values=True)) == ("div", "div: 1 / 0 at [2]")


@pytest.mark.parametrize(
    ("make", "op", "words"),
    [
        (lambda x: (tg.exp(x * 100.0) * 0.0).sum(), "exp", "exp got 100 at [0]"),
        (lambda x: tg.exp(x * 100.0).log().exp() - 1, "exp", "exp got 100 at [0]"),
        (lambda x: x * 3e38 * -3.0, "mul", "mul: 3e+38 · (-3) at [0]"),
        (lambda x: (x * 1e30) @ (x * 1e30), "matmul", "matmul made inf"),
        (lambda x: tg.softmax(x * -math.inf, dim=0), "softmax", "softmax made NaN"),
    ],
)
def test_the_first_that_is_not_finite_counts(make: Any, op: str, words: str) -> None:
    x = leaf([1.0, 1.0])
    found = broken(viz.trace(make(x), values=True))
    assert found[0] == op
    assert found[1].startswith(words)


def test_a_mask_of_infinities_breaks_nothing() -> None:
    scores, mask = leaf([1.0, 2.0, 3.0]), tg.tensor([0.0, -math.inf, 0.0])
    trace = viz.trace(tg.softmax(scores + mask, dim=0).sum(), values=True, gradients=True)
    assert trace.steps[0].broken is None
    assert trace.steps[0].broken_gradient is None
    scores = leaf([1.0, 2.0, 3.0])
    filled = scores.masked_fill(tg.tensor([False, True, False]), -math.inf)
    assert viz.trace(tg.softmax(filled, dim=0), values=True).steps[0].broken is None


def test_a_number_that_was_there_before_is_found_where_it_stands() -> None:
    pixels, w = tg.tensor([1.0, math.nan]), leaf([1.0, 2.0])
    trace = viz.trace((pixels * w).sum(), values=True)
    assert trace.steps[0].broken is not None
    assert trace.nodes[trace.steps[0].broken.node].name == "pixels"
    assert trace.steps[0].broken.words == "pixels has NaN at [1], before anything was computed"


def test_a_rule_that_makes_it_is_told_with_its_formula() -> None:
    x = leaf([1.0, 4.0, 0.0])
    trace = viz.trace((tg.sqrt(x) * 3.0).sum(), values=True, gradients=True)
    [step] = trace.steps
    assert step.broken is None
    assert step.broken_gradient is not None
    assert trace.nodes[step.broken_gradient.node].op == "sqrt"
    assert step.broken_gradient.words.startswith("sqrt's rule: g / (2 · ")
    assert step.broken_gradient.words.endswith(" = 0 at [2]")
    again = viz.Trace.from_json(trace.to_json())
    assert again == trace


def test_a_watch_finds_it_in_both_passes() -> None:
    model = nn.Linear(2, 2)
    watch = viz.watch(model, every=1)
    for shift in (0.0, 1e3):
        with watch.step():
            hidden = model(tg.ones(3, 2))
            loss = (tg.sqrt(hidden - hidden) if not shift else tg.log(hidden - shift)).sum()
            loss.backward()
    first, second = watch.trace.steps
    assert first.broken is None
    assert first.broken_gradient is not None
    assert watch.trace.nodes[first.broken_gradient.node].op == "sqrt"
    assert second.broken is not None
    assert watch.trace.nodes[second.broken.node].op == "log"
    assert second.broken.words.startswith("log got -")
    assert ", test_breaking.py:" in second.broken.words
    assert second.broken_gradient is None  # it comes of what the forward pass made


CHAIN: list[Callable[[tg.Tensor], tg.Tensor]] = [
    tg.log, tg.exp, tg.sqrt, lambda x: 1 / x, lambda x: x - 3.0, lambda x: x * x, tg.tanh,
]  # fmt: skip


@given(st.lists(st.sampled_from(CHAIN), min_size=1, max_size=8), st.floats(-30, 30, width=32))
def test_it_is_the_first_op_of_a_chain_that_numpy_says_it_is(chain: Any, start: float) -> None:
    x = leaf([0.5, start])
    values = [x]
    for op in chain:
        values.append(op(values[-1]))
    bad = [not np.isfinite(value.numpy(force=True)).all() for value in values]
    trace = viz.trace(values[-1], values=True)
    seen = [node.id for node in trace.nodes if node.shape == [2]]
    found = trace.steps[0].broken
    if True not in bad:
        assert found is None
    else:
        assert found is not None
        assert seen[bad.index(True)] == found.node


def test_older_traces_know_no_broken_node() -> None:
    plain = viz.Trace(steps=[Step(0, broken=Broken(3, "log got -2"))])
    again = viz.Trace.from_json(plain.to_json())
    assert again.steps[0].broken == Broken(3, "log got -2")
    old = plain.to_json().replace('"broken": {"node": 3, "words": "log got -2"}, ', "")
    for name in ('"broken_gradient": null', '"output_names": [], "changed": []'):
        assert name in old
        old = old.replace(f", {name}", "")
    assert viz.Trace.from_json(old).steps[0].broken is None


def test_a_rule_of_single_numbers_tells_them() -> None:
    length = (leaf([0.0, 0.0]) ** 2).sum().sqrt()
    [step] = viz.trace(length, values=True, gradients=True).steps
    assert step.broken_gradient is not None
    assert step.broken_gradient.words.endswith("with g = 1, length = 0")


def test_what_is_infinite_alone_is_not_called_nan() -> None:
    root = tg.sqrt(leaf([0.0, 4.0])).sum()
    [told] = lines(viz.trace(root, values=True, gradients=True))
    assert told.startswith("error: infinite: sqrt's rule")
