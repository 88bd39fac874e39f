"""What a plan does at once for all steps of a sequence, and what it may not."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import tinygrad_cv as tg
from test_plan import Recording, check, numbers
from tinygrad_cv import backend
from tinygrad_cv.backend.switch import KERNELS, has_numba
from tinygrad_cv.program import plan as plan_module
from tinygrad_cv.program import steps
from tinygrad_cv.program.instructions import Program, Value
from tinygrad_cv.program.plan import Plan

pytestmark = pytest.mark.host


@pytest.fixture(params=["numpy", "compiled"], autouse=True)
def kernels(request: Any) -> Any:
    if request.param == "compiled" and not has_numba():
        pytest.skip("numba is missing")
    before = KERNELS.compiled
    KERNELS.compiled = request.param == "compiled"
    yield request.param
    KERNELS.compiled = before


def count(plan: Plan, name: str) -> int:
    return sum(i.function == name for i in plan.order)


def rows(count: int, *shape: int) -> list[Any]:
    return [numbers(*shape, seed=k) for k in range(count)]


def sequence(
    length: int = 6,
    batch: int = 3,
    width: int = 5,
    classes: int = 4,
    recurrent: bool = True,
    changes: int | None = None,
    backwards: bool = True,
    in_place: bool = True,
    joined: str = "",
) -> tuple[Program, list[Any]]:
    """A recurrent network and its gradients by hand; `changes` is when its last matrix does."""
    r = Recording()
    h = start = r.held(numbers(batch, width, seed=30))
    first, last = r.held(numbers(width, width) / 3), r.held(numbers(width, classes, seed=1))
    last_now = r("multiply", last, 1.0)
    bias = r.held(numbers(classes, seed=2))
    xs = [r.input(x) for x in rows(length, batch, width)]
    labels = [r.held((numbers(batch, seed=k) > 0).astype("int64")) for k in range(length)]
    states, scores, outs = [start], [], []
    for t, x in enumerate(xs):
        if t == changes:
            r("multiply", last_now, -2.0, out=last_now)
        h = r(
            "tanh", r("add", x, r("matmul", h, first)) if recurrent else r("add", x, first_row(r))
        )
        states.append(h)
        y = r("add", r("matmul", h, last_now), bias)
        scores.append((y, *r("cross_entropy", y, labels[t])))
        outs.append(scores[-1][1])
    ones = r.held(np.broadcast_to(np.float32(1 / batch), (batch,)))
    total: Any = None
    bias_total: Any = None
    table: Any = None
    order = range(length)
    gs = {}
    for t in reversed(order) if backwards else order:
        y, _, top, log_total = scores[t]
        g = r("cross_entropy_backward", ones, y, labels[t], top, log_total)
        gs[t] = g
        product = r("matmul", r("transpose", states[t + 1]), g)
        sums = r("astype", r("total", g, axis=(0,), keepdims=False), g.dtype)
        looked = r("scatter_add", (classes, classes), labels[t], g)
        if total is None:
            total, bias_total, table = product, sums, looked
        elif in_place:
            r("add", total, product, out=total)
            r("add", bias_total, sums, out=bias_total)
            table = r("add", table, looked)
        else:
            total, bias_total = r("add", total, product), r("add", bias_total, sums)
            table = r("add", table, looked)
    results = [total, bias_total, table, r("multiply", outs[-1], 2.0)]
    if joined == "concatenate":
        results.append(r("multiply", r("concatenate", tuple(states[1:]), axis=0), 2.0))
    if joined == "zeros":
        whole = r("zeros", (length * batch, classes), dtype=ones.dtype)
        for k, g in gs.items():
            part = slice(k * batch, (k + 1) * batch)
            if k % 2:
                r("setitem", whole, part, g)
            else:
                place = r("getitem", whole, part)
                r("add", place, g, out=place)
        results.append(r("multiply", whole, 2.0))
    return r.program(*results), rows(length, batch, width)


def first_row(r: Recording) -> Value:
    return r.held(numbers(1, seed=9))


@given(
    length=st.integers(1, 9),
    batch=st.integers(1, 4),
    width=st.integers(1, 20),
    classes=st.integers(2, 5),
    recurrent=st.booleans(),
    changes=st.none() | st.integers(0, 8),
    backwards=st.booleans(),
    in_place=st.booleans(),
    joined=st.sampled_from(["", "concatenate", "zeros"]),
)
def test_steps_at_once_give_what_they_give_one_by_one(**kinds: Any) -> None:
    check(*sequence(**kinds))


@pytest.mark.parametrize("joined", ["", "concatenate", "zeros"])
def test_one_product_is_made_for_all_steps(joined: str) -> None:
    plan = check(*sequence(length=6, joined=joined))
    assert count(plan, "matmul") == 6 + 1 + 1  # the recurrence; all scores; their gradient
    for name in ("cross_entropy", "cross_entropy_backward", "total", "scatter_add"):
        assert count(plan, name) == 1
    for name in ("concatenate", "setitem", "zeros"):
        assert count(plan, name) == 0


def test_few_steps_stay_as_they_are() -> None:
    assert count(check(*sequence(length=3)), "matmul") == 3 * 3


@pytest.mark.parametrize("changes", [1, 4])
def test_a_matrix_that_changes_between_steps_is_another(changes: int) -> None:
    plan = check(*sequence(length=9, changes=changes))
    assert count(plan, "matmul") == 9 + 2 + 2  # of the steps before, and of those behind


def test_what_is_looked_at_on_the_way_is_not_summed_at_once() -> None:
    r = Recording()
    xs = [r.input(x) for x in rows(8, 3, 4)]
    total: Any = None
    looks = []
    for x in xs:
        product = r("matmul", r("transpose", x), x)
        total = product if total is None else r("add", total, product)
        looks.append(r("tanh", total))
    check(r.program(*looks), rows(8, 3, 4))


def test_zeros_that_are_read_half_way_stay_zeros() -> None:
    r = Recording()
    x = r.input(numbers(2, 4))
    whole = r("zeros", (4, 4), dtype=x.dtype)
    r("setitem", whole, slice(0, 2), r("tanh", x))
    half = r("multiply", whole, 3.0)
    r("setitem", whole, slice(2, 4), r("exp", x))
    more = [r("tanh", half) for _ in range(steps.FEWEST)]
    check(r.program(half, r("multiply", whole, 1.0), *more), [numbers(2, 4, seed=3)])


def test_slices_without_rows_are_no_parts() -> None:
    r = Recording()
    x = r.input(numbers(2, 4))
    whole = r("zeros", (2, 4), dtype=x.dtype)
    r("setitem", whole, slice(0, 0), r("tanh", r.input(numbers(0, 4))))
    more = [r("tanh", x) for _ in range(2 * steps.FEWEST)]
    check(r.program(r("multiply", whole, 1.0), *more), [numbers(2, 4), numbers(0, 4)])


def test_what_was_simplified_before_stays_right() -> None:
    program, inputs = sequence()
    again, _ = plan_module.copied(program)
    xp = backend.get("cpu")
    plan_module.simplified(again, xp)
    pairs = zip(Plan(again, xp).run(inputs), Plan(program, xp).run(inputs), strict=True)
    for ours, theirs in pairs:
        np.testing.assert_array_equal(ours, theirs)


def test_a_view_of_a_sum_may_be_turned() -> None:
    r = Recording()
    xs = [r.input(x) for x in rows(6, 5, 3)]
    total: Any = None
    for x in xs:
        g = r("tanh", r("matmul", r("transpose", x), x))
        g = r("multiply", r("reshape", g, (1, 3, 3)), 2.0)
        sums = r("astype", r("transpose", r("total", g, axis=(0,))), x.dtype)
        total = sums if total is None else r("add", total, sums)
    check(r.program(total), rows(6, 5, 3))


def test_a_result_may_be_a_part_of_what_a_replay_brings() -> None:
    """The gradient of a bias is what came, before it is summed: a slice of a rolled image here."""
    norms = [tg.nn.LayerNorm(8).double() for _ in range(4)]
    x = tg.randn(4, 16, 8, 8, dtype="float64")

    def step() -> Any:
        for norm in norms:
            norm.zero_grad()
        y = x
        for norm in norms:
            padded = tg.nn.functional.pad(norm(y).tanh(), (0, 0, 0, 0, 0, 2))
            y = tg.roll(padded, 1, dims=1)[:, :16]
        loss = (y * x).sum()
        loss.backward()
        return loss

    def found(run: Any) -> list[Any]:
        return [run().item(), *(p.grad.numpy() for norm in norms for p in norm.parameters())]

    compiled = tg.compile(step)
    compiled()
    for plain, fast in zip(found(step), found(compiled), strict=True):
        np.testing.assert_allclose(fast, plain, rtol=1e-9, atol=1e-9)


def test_a_matrix_is_turned_once_and_anew_after_it_changed() -> None:
    r = Recording()
    x, w = r.input(numbers(3, 8)), r.held(numbers(8, 8) / 4)
    now = r("multiply", w, 1.0)
    for k in range(10):
        if k == 5:
            r("multiply", now, -1.0, out=now)
        x = r("matmul", x, r("transpose", now))
    check(r.program(x), [numbers(3, 8, seed=2)])


# ----- layers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_compiled_layers_learn_as_they_do_uncompiled(
    kind: str, backwards: bool, batch: int
) -> None:
    def training(compiled: bool) -> list[Any]:
        tg.manual_seed(0)
        layer = getattr(tg.nn, kind)(5, 17, num_layers=2, bidirectional=backwards)
        head = tg.nn.Linear(17 * (1 + backwards), 3)
        descent = tg.optim.SGD([*layer.parameters(), *head.parameters()], lr=0.1)

        def step(x: Any, labels: Any) -> Any:
            descent.zero_grad()
            out, _ = layer(x)
            loss = sum(tg.cross_entropy(head(h), labels) for h in out) / len(out)
            loss.backward()
            descent.step()
            return loss

        run = tg.compile(step) if compiled else step
        found: list[Any] = []
        for k in range(4):
            x = tg.tensor(numbers(7, batch, 5, seed=k))
            labels = tg.tensor(np.arange(k, k + batch) % 3)
            found.append(run(x, labels).item())
        return [*found, *(p.detach().numpy() for p in (*layer.parameters(), *head.parameters()))]

    for ours, plain in zip(training(True), training(False), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=1e-5)


# ----- mutants -----------------------------------------------------------------------------------


def a_step_less(terms: Any, *others: Any) -> Any:
    return total_of(terms[:-1], *others)


def no_writes(instructions: Any) -> Any:
    return [
        {k for k in needs if not instructions[k].writes or instructions[i].writes}
        - {k for k in needs if instructions[i].writes and not instructions[k].writes}
        for i, needs in enumerate(dependencies(instructions))
    ]


def other_way(items: Any) -> Any:
    return as_they_lie(items)[::-1] if len(items[0][1]) > 2 else as_they_lie(items)


def at_the_first(stacks: Any, v: Value, root: Value, at: int) -> None:
    rebase(stacks, v, root, 0)


def half_as_long(lives: Any) -> Any:
    return arranged([(first, (first + last) // 2, n) for first, last, n in lives])


arranged = plan_module.arranged
total_of, dependencies = steps._total, steps.dependencies
as_they_lie, rebase = steps._as_they_lie, steps.Stacks.rebase
MUTANTS = {
    "a step that is left out": (steps, "_total", a_step_less),
    "a matrix that changes, joined": (steps, "dependencies", no_writes),
    "all steps in one place": (steps.Stacks, "rebase", at_the_first),
    "stacks that go when they are half made": (plan_module, "arranged", half_as_long),
}


@pytest.mark.parametrize("name", [None, *MUTANTS])
def test_steps_that_are_wrong_are_found(name: str | None, monkeypatch: Any) -> None:
    program, inputs = sequence(length=9, batch=4, width=16, classes=16, changes=5)
    if name is not None:
        monkeypatch.setattr(*MUTANTS[name])
        with pytest.raises((AssertionError, ValueError)):
            check(program, inputs)
        return
    check(program, inputs)
