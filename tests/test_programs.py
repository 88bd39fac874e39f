"""Random programs have the gradients of forward mode, of order 1 and 2, whatever they change."""

import contextlib
from typing import Any

import numpy as np
from hypothesis import assume, event, example, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_cv as tg
from programs import (
    IN_PLACE,
    Array,
    Program,
    agree,
    differentiate_again,
    pure,
    right_or_refused,
    seeds,
    starting_values,
    writing,
)


@given(pure, seeds)
def test_random_programs_have_the_gradients_of_forward_mode(steps: Any, seed: int) -> None:
    program = Program(*starting_values(seed))
    program.run(steps)
    loss, expected = program.loss()
    leaves = program.leaves
    agree(tg.grad(loss, leaves, allow_unused=True, retain_graph=True), expected)
    agree(tg.grad(loss, leaves, allow_unused=True, create_graph=True), expected)
    assert all(x.grad is None for x in leaves)
    loss.backward(retain_graph=True)
    agree([x.grad for x in leaves], expected)
    loss.backward()
    agree([x.grad for x in leaves], [2 * e for e in expected])


@given(pure, seeds)
def test_random_programs_have_second_derivatives(steps: Any, seed: int) -> None:
    """H·v against central differences of the forward-mode gradient."""
    starts = starting_values(seed)
    rng = np.random.default_rng(seed)
    v = [rng.normal(size=value.shape) for value in starts]

    def gradient(t: float) -> list[Array]:
        shifted = Program(*(x + t * u for x, u in zip(starts, v, strict=True)))
        shifted.run(steps)
        return shifted.loss()[1]

    def slope(h: float) -> list[Array]:
        pairs = zip(gradient(h), gradient(-h), strict=True)
        return [(right - left) / (2 * h) for right, left in pairs]

    fine, coarse = slope(1e-4), slope(2e-4)
    expected = [(4 * a - b) / 3 for a, b in zip(fine, coarse, strict=True)]  # Richardson
    scale = max(1.0, *(float(np.abs(part).max()) for part in (*expected, *gradient(0.0))))
    for a, b in zip(fine, coarse, strict=True):  # at a kink of relu there is no derivative
        assume(np.abs(a - b).max() < 1e-4 * scale)
    program = Program(*starts)
    program.run(steps)
    loss, _ = program.loss()
    first = tg.grad(loss, program.leaves, create_graph=True, allow_unused=True)
    for s, e in zip(differentiate_again(first, v, program.leaves), expected, strict=True):
        assert_allclose(s, e, rtol=1e-5, atol=1e-6 * scale)


@given(pure, seeds)
def test_a_graph_lists_inputs_before_what_is_made_of_them(steps: Any, seed: int) -> None:
    program = Program(*starting_values(seed))
    program.run(steps)
    graph = tg.graph(program.loss()[0])
    for node in graph:
        for parent in node.parents():
            assert graph.ids[parent] < graph.ids[node]
    assert len(str(graph).splitlines()) == len(graph) == len(set(graph.nodes))


@given(writing, seeds)
def test_a_program_that_changes_values_is_right_or_refused(steps: Any, seed: int) -> None:
    program = Program(*starting_values(seed))
    program.run(steps)
    loss, expected = program.loss()
    changed = any(name in IN_PLACE for name, _, _ in steps)
    with right_or_refused() if changed else contextlib.nullcontext():
        loss.backward()
        agree([x.grad for x in program.leaves], expected)
        event("computed")


@given(writing, seeds, st.sampled_from(list(IN_PLACE)), st.integers(0, 30))
def test_a_change_between_forward_and_backward_is_right_or_refused(
    steps: Any, seed: int, write: str, place: int
) -> None:
    program = Program(*starting_values(seed))
    program.run(steps)
    loss, expected = program.loss()
    program.write(write, place)
    with right_or_refused():
        loss.backward()
        agree([x.grad for x in program.leaves], expected)


@example([("sin", 0, 0)], 0, "data[...] =", 0)
@given(pure, seeds, st.sampled_from(list(IN_PLACE)), st.integers(0, 30))
def test_a_change_between_two_backwards_is_right_or_refused(
    steps: Any, seed: int, write: str, place: int
) -> None:
    """The backward graph saves values as well, and they are guarded as well."""

    def second_derivatives(change: bool) -> list[Array]:
        program = Program(*starting_values(seed))
        program.run(steps)
        loss, _ = program.loss()
        first = tg.grad(loss, program.leaves, create_graph=True, allow_unused=True)
        if change:
            program.write(write, place)
        return differentiate_again(first, [1.0, 2.0], program.leaves)

    expected = second_derivatives(change=False)
    with right_or_refused():
        for a, e in zip(second_derivatives(change=True), expected, strict=True):
            assert_array_equal(a, e)
