"""Changes in place that are recorded: values, gradients, views, and who is told."""

import copy
import gc
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_cv as tg
from inplace_programs import ALONG, START, STEPS, Program, expected, programs, run
from programs import leaf, right_or_refused, values
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.testing import check_gradients

# ----- programs in place, beside NumPy's views ---------------------------------------------------


def ours(program: Program) -> tuple[float, ...]:
    """The loss of the program on tensors, its slope, and its curvature by two backward passes."""
    leaves = [leaf(x) for x in START]
    along = [tg.tensor(u) for u in ALONG]
    loss = run(program, leaves, tg.zeros(2, 3, dtype="float64"))
    first = tg.grad(loss, leaves, create_graph=True, allow_unused=True)
    slope = sum((g * u).sum() for g, u in zip(first, along, strict=True) if g is not None)
    second = tg.grad(slope, leaves, allow_unused=True)
    curvature = sum((h * u).sum() for h, u in zip(second, along, strict=True) if h is not None)
    return tuple(float(y.detach()) for y in (loss, slope, curvature))


def agrees(program: Program) -> bool:
    """Whether the program was carried out: a rule may have saved what changed, and says so."""
    wanted, found = expected(program), None
    if not np.abs(wanted).max() < 1e6:
        return True
    with right_or_refused():
        found = ours(program)
        assert_allclose(found, wanted, rtol=1e-8, atol=1e-8)
    return found is not None


@given(program=programs)
def test_a_program_in_place_is_what_numpy_says_or_refused(program: Program) -> None:
    event("carried out" if agrees(program) else "refused")


def test_few_programs_are_refused() -> None:
    rng = np.random.default_rng(0)
    names = list(STEPS)
    done = [
        agrees([(names[rng.integers(len(names))], *rng.integers(0, 6, 2)) for _ in range(8)])
        for _ in range(100)
    ]
    assert sum(done) > 70


# ----- what moves on -----------------------------------------------------------------------------


def test_elements_assigned_from_a_graph() -> None:
    x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = tg.zeros(3)
    y[0] = x[1]
    y[1:] = x[:2] * 2.0
    assert y.tolist() == [2, 2, 4]
    assert not y.is_leaf
    (y * y).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [8, 20, 0]


def test_another_name_is_the_same_tensor() -> None:
    y = leaf([1.0, 2.0]) * 1.0
    z = y
    z *= 2.0
    assert z is y
    assert y.tolist() == [2, 4]
    z += y
    assert y.tolist() == [4, 8]


CHANGES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "+=": lambda y, w: y.__iadd__(w),
    "-=": lambda y, w: y.__isub__(w),
    "*=": lambda y, w: y.__imul__(w),
    "/=": lambda y, w: y.__itruediv__(w),
    "**=": lambda y, w: y.__ipow__(w),
    "exp_": lambda y, w: y.exp_(),
    "mul_": lambda y, w: y.mul_(w),
    "addcmul_": lambda y, w: y.addcmul_(w, w),
    "lerp_": lambda y, w: y.lerp_(w, 0.25),
    "masked_fill_": lambda y, w: y.masked_fill_(tg.tensor([True, False, True]), w[1]),
    "index_add_": lambda y, w: y.index_add_(0, [2, 2], w[:2]),
    "index_copy_": lambda y, w: y.index_copy_(0, [2, 0], w[:2]),
    "scatter_": lambda y, w: y.scatter_(0, tg.tensor([2, 0]), w[:2]),
    "scatter_add_": lambda y, w: y.scatter_add_(0, tg.tensor([2, 2]), w[:2]),
    "cumsum_": lambda y, w: y.cumsum_(0),
    "copy_": lambda y, w: y.copy_(w),
    "fill_": lambda y, w: y.fill_(w[0]),
    "[mask]": lambda y, w: y.__setitem__(tg.tensor([True, False, True]), w[:2]),
    "[array]": lambda y, w: y.__setitem__([2, 0], w[:2]),
    "[::2]": lambda y, w: y.__setitem__(slice(None, None, 2), w[1:]),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("view", [False, True])
def test_a_change_is_a_function_of_the_old_values(name: str, view: bool) -> None:
    """Beside differences of the same program; the whole has a place that does not change."""

    def program(x: Tensor, w: Tensor) -> Tensor:
        whole = x * 1.0
        part = whole.T[1, :3] if view else whole[:3, 1] * 1.0
        CHANGES[name](part, w)
        return (whole * whole).sum() + (part.sin() * w).sum()

    x, w = np.linspace(0.5, 1.5, 8).reshape(4, 2), START[1] ** 2 + 0.5
    check_gradients(program, [x, w], allow_zero=True)


def test_a_function_of_several_steps_may_read_the_old_values_in_each() -> None:
    x, w = leaf([0.3, 0.7]), leaf([2.0, 3.0])
    y = x * 1.0
    before = (y * w).sum()
    y._in_place(lambda y: ((y * w).sin() * y).exp(), "an example of three")  # type: ignore[attr-defined]
    expected = tg.grad(((x * w).sin() * x).exp().sum(), (x, w))
    for g, other in zip(tg.grad(y.sum(), (x, w)), expected, strict=True):
        assert_allclose(values(g), values(other), rtol=1e-12)
    with pytest.raises(RuntimeError, match="in place since"):
        before.backward()


def test_who_saved_the_old_value_is_told() -> None:
    x = leaf([1.0, 2.0])
    for change in (
        lambda h: h.__iadd__(1.0),
        lambda h: h.__setitem__(0, x[1]),
        lambda h: h[1:].__imul__(x[:1]),
    ):
        h = x * 1.0
        saved, free = (h * h).sum(), (h + 1.0).sum()
        change(h)
        free.backward()
        with pytest.raises(RuntimeError, match=r"mul of shape .* was changed in place since"):
            saved.backward()


def test_a_view_of_old_values_moves_on_and_so_does_the_base() -> None:
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    h = x * 1.0
    column, flat, rows = h.T[0], h.reshape(4), h.unbind()
    rows[1].mul_(10.0)
    assert column.tolist() == [1, 30]
    assert_array_equal(values(tg.grad(column.sum(), x, retain_graph=True)[0]), [[1, 0], [10, 0]])
    flat[0] = 0.0
    for y in (h, flat, h.T, column):
        (g,) = tg.grad(y.sum(), x, retain_graph=True)
        assert g[0, 0] == 0
        assert g[1, 0] == 10
    assert flat.grad_fn is not None
    assert flat.grad_fn.label == "reshape"


def test_plain_views_follow_a_base_that_becomes_part_of_a_graph() -> None:
    x = leaf([1.0, 2.0])
    y = tg.zeros(2, 2, dtype="float64")
    row, other = y[0], y[1]
    assert other.is_leaf
    row.copy_(x)
    assert y.requires_grad
    assert other.requires_grad  # it is a part of y, where nothing depends on x
    assert not other.is_leaf
    assert tg.grad(y[0, 1] * 3.0, x, retain_graph=True)[0].tolist() == [0, 3]
    assert tg.grad(other.sum(), x)[0].tolist() == [0, 0]


def test_retain_grad_follows_the_tensor_and_hooks_stay_with_the_value() -> None:
    x = leaf([1.0, 2.0])
    h = x * 3.0
    part = h[:1]
    seen: list[Any] = []
    h.register_hook(lambda g: seen.append(g.tolist()))
    h.retain_grad()
    part.retain_grad()
    h *= 5.0
    (h.sum() + part.sum()).backward()
    assert h.grad is not None
    assert h.grad.tolist() == [2, 1]
    assert part.grad is not None
    assert part.grad.tolist() == [1]
    assert seen == [[10, 5]]  # of the value before the change


def test_detached_tensors_share_memory_and_no_history() -> None:
    x = leaf([1.0, 2.0])
    h = x * 1.0
    saved = (h * h).sum()
    alias = h.detach()
    alias[0] = x[1] * 2.0
    assert h.tolist() == [4, 2]
    assert tg.grad(alias.sum(), x)[0].tolist() == [0, 2]
    assert tg.grad(h.sum(), x, retain_graph=True)[0].tolist() == [1, 1]
    with pytest.raises(RuntimeError, match="in place"):
        saved.backward()
    h[0] = 0.0
    assert alias.tolist() == [0, 2]
    left = h[1:]
    h.detach_()
    h[1] = x[0]  # from now on for itself
    assert tg.grad(h.sum(), x, retain_graph=True)[0].tolist() == [1, 0]
    assert left.tolist() == [1]
    assert tg.grad(left.sum(), x)[0].tolist() == [0, 1]


def test_data_that_is_replaced_leaves_its_views() -> None:
    x = leaf([1.0, 2.0])
    h = x * 1.0
    part = h[1:]
    h.data = tg.tensor([5.0, 6.0], dtype="float64")
    h[0] = 0.0
    part *= 3.0
    assert h.tolist() == [0, 6]
    assert tg.grad(h.sum(), x, retain_graph=True)[0].tolist() == [0, 1]
    assert tg.grad(part.sum(), x)[0].tolist() == [0, 3]


def test_a_view_from_no_grad_cannot_be_changed_in_a_graph() -> None:
    x = leaf([1.0, 2.0])
    with tg.no_grad():
        view = (x * 1.0)[:1]
        part = view[:1]
    view[0] = 5.0  # plain data
    for y in (view, part):
        with pytest.raises(RuntimeError, match=r"under no_grad\(\)"):
            y[0] = x[0]
        with pytest.raises(RuntimeError, match=r"under no_grad\(\)"):
            y *= x[0]
        assert y.tolist() == [5]


def test_a_shallow_copy_moves_on_as_well() -> None:
    x = leaf([1.0, 2.0])
    for y in (x * 1.0, tg.zeros(2, dtype="float64"), (x * 1.0)[...]):
        twin = copy.copy(y)
        y[0] = x[1] * 3.0
        for z in (y, twin):
            assert tg.grad(z[0], x, retain_graph=True)[0].tolist() == [0, 3]
        twin *= 2.0
        assert tg.grad(y[0], x)[0].tolist() == [0, 6]


def test_parameters_stay() -> None:
    w = leaf([1.0, 2.0])
    for part in (w, w[:1], w.reshape(2, 1)):
        with pytest.raises(RuntimeError, match=r"in place on a .*leaf"):
            part *= 2.0
        with pytest.raises(RuntimeError, match=r"in place on a .*leaf"):
            part[0] = 1.0
    with tg.no_grad():
        w[:1] *= 2.0
    w.data[1:] *= 2.0
    assert w.tolist() == [2, 4]
    assert w.is_leaf
    later = tg.zeros(2)
    view = later[:1]
    later.requires_grad_()
    with pytest.raises(RuntimeError, match="view of a leaf"):
        view[0] = 1.0


def test_a_leaf_that_was_a_view_goes_its_own_way() -> None:
    x, y = leaf([1.0]), tg.zeros(2, dtype="float64")
    own = y[:1].requires_grad_()
    y[1:] = x
    assert own.is_leaf
    with pytest.raises(RuntimeError, match="in place on a leaf"):
        own *= 2.0
    (own * y[1]).sum().backward()
    assert own.grad is not None
    assert own.grad.tolist() == [1]


# ----- shapes, dtypes, errors --------------------------------------------------------------------


def test_a_value_may_have_leading_axes_of_length_1() -> None:
    x = leaf([[[1.0, 2.0, 3.0]]])
    for index in (..., slice(0, 3), [0, 1, 2]):
        y = tg.zeros(3, dtype="float64")
        y[index] = x
        assert tg.grad((y * y).sum(), x)[0].tolist() == [[[2, 4, 6]]]
    whole = tg.zeros(2, 3, dtype="float64").copy_(x)
    assert tg.grad(whole.sum(), x)[0].tolist() == [[[2, 2, 2]]]


def test_dtypes_are_those_of_the_parts() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    for dtype in ("float16", "float64"):
        y = tg.zeros(2, dtype=dtype)
        y[0] = x[1]
        y *= x.to(dtype)
        assert y.dtype == dtype
        (g,) = tg.grad(y.sum(), x)
        assert g.dtype == "float32"
        assert g.tolist() == [2, 1]
    half = tg.zeros(2, dtype="float16").requires_grad_() * 1.0
    half += x
    assert half.dtype == "float16"


def test_integers_have_no_gradients() -> None:
    x = leaf([1.5, 2.5])
    whole = tg.zeros(2, dtype="int64")
    whole[0] = x[0]
    assert whole.tolist() == [1, 0]
    assert not whole.requires_grad


def test_what_cannot_be_written_changes_nothing() -> None:
    x = leaf([1.0, 2.0, 3.0])
    for make, change in (
        (lambda: x * 1.0, lambda y: y.__setitem__(slice(0, 2), x)),
        (lambda: (x * 1.0).expand(2, 3), lambda y: y.__imul__(x)),
        (lambda: (x * 1.0).expand(2, 3), lambda y: y.__setitem__(0, x)),
        (lambda: x * 1.0, lambda y: y.__iadd__(tg.ones(2, 3))),
    ):
        y = make()
        before, node, total = values(y), y.node, (y * y).sum()
        with pytest.raises(ValueError, match="shape"):
            change(y)
        assert_array_equal(values(y), before)
        assert y.node is node
        total.backward()


def test_a_place_that_is_named_twice() -> None:
    x, y = leaf([1.0, 2.0]), tg.zeros(3, 3, dtype="float64")
    for index in ([0, 0], [2, -1], (slice(None), [1, 1]), ([0, 0], [1, 1]), (1, [0, -3])):
        with pytest.raises(RuntimeError, match="names a place twice"):
            y[index] = x[0]
    for index in ([0, 1], ([0, 0], [1, 2]), (1, [0, -1])):
        y[index] = x[0]
    y[0] = 0.0
    assert tg.grad(y.sum(), x)[0].tolist() == [3, 0]


def test_the_node_says_what_was_written_where() -> None:
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = x * 1.0
    y.T[0, 1:] = x[0, :1]
    written = str(tg.graph(y)).splitlines()[-1]
    for part in ("index_put  (%1, %3)", "index=(0, 1:)", "view=(permute(axes=(1, 0)),)"):
        assert part in written
    assert tg.formula(y) == {
        "x": "index_put(g, 0.0, index=index, view=view)",
        "source": "sum_to(permute(g, axes=(1, 0))[index], shape=())",
    }


# ----- memory and time ---------------------------------------------------------------------------


@pytest.mark.host
def test_memory_goes_with_the_last_tensor_that_needs_it() -> None:
    gc.collect()
    gc.disable()
    try:
        x = leaf(np.ones(4))
        y = x * 1.0
        views = [y[:2], y[2:], y.reshape(2, 2)]
        views[0] *= x[:2]
        y[3] = x[0]
        loss = (views[2] * views[1][0]).sum()
        loss.backward()
        nodes = [weakref.ref(t.node) for t in (y, loss, *views)]
        base = weakref.ref(y)
        del y
        assert base() is None  # a view does not keep its base
        views[1][:] = 0.0
        del views, loss
        assert [node() for node in nodes] == [None] * 5
    finally:
        gc.enable()


@pytest.mark.host
def test_views_that_are_gone_leave_nothing() -> None:
    w = leaf(np.ones(3))
    kept = [w[:i] for i in range(3)]
    for _ in range(300):
        (w[1] * w[2]).sum()
    assert w._view is not None
    assert w._view.family is not None
    assert len(w._view.family.members) < 4 * len(kept)


@pytest.mark.host
def test_a_change_costs_what_it_writes() -> None:
    x = leaf(np.ones(3))
    y = tg.zeros(1_000_000, dtype="float64")
    y[:3] = x
    tracemalloc.start()
    try:
        for i in range(20):
            y[i : i + 3] = x
            y[7:9] *= x[1]
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


# ----- in real programs --------------------------------------------------------------------------


def test_a_recurrence_that_fills_its_output() -> None:
    w, x = leaf([[0.5, 0.2], [0.1, -0.4]]), leaf(np.linspace(-1, 1, 8).reshape(4, 2))

    def filled(w: Tensor, x: Tensor) -> Tensor:
        out, state = tg.zeros(4, 2, dtype="float64"), tg.zeros(2, dtype="float64")
        for t in range(4):
            state = (state @ w + x[t]).tanh()
            out[t] = state
        return out

    def stacked(w: Tensor, x: Tensor) -> Tensor:
        states = [tg.zeros(2, dtype="float64")]
        for t in range(4):
            states.append((states[-1] @ w + x[t]).tanh())
        return tg.stack(states[1:])

    found = [tg.grad((f(w, x) ** 2).sum(), (w, x)) for f in (filled, stacked)]
    for a, b in zip(*found, strict=True):
        assert_allclose(values(a), values(b), rtol=1e-12)


@pytest.mark.parametrize("shape", [(2, 3), (1, 2, 3), (1, 1, 2, 3)])
def test_what_was_expanded_to_its_own_size_is_written_to(shape: tuple[int, ...]) -> None:
    x = tg.zeros(3, 2).t()
    x.expand(*shape).add_(1.0)
    assert x.tolist() == [[1.0] * 3] * 2
    with pytest.raises(ValueError, match="repeats its memory"):
        x.expand(2, *shape).add_(1.0)


@pytest.mark.parametrize("shape", [(1,), (1, 1), (1, 1, 3)])
def test_leading_axes_of_length_1_are_no_part_of_a_value(shape: tuple[int, ...]) -> None:
    """As losses[i] = net(x), which is of shape (1, 1)."""
    for traced in (False, True):
        x = tg.zeros(2, 3)
        value = tg.full(shape, 5.0).requires_grad_(traced)
        if shape[-1] == 1:
            x[1, 2] = value
            x[0, [0, 1]] = value
            assert x.tolist() == [[5, 5, 0], [0, 0, 5]]
        else:
            x[1] = value
            assert x.tolist() == [[0, 0, 0], [5, 5, 5]]
        if traced:
            x.sum().backward()
            assert value.grad is not None
            assert value.grad.tolist() == tg.full(shape, 3.0 if shape[-1] == 1 else 1.0).tolist()
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        tg.zeros(2, 3)[0, 0] = tg.ones(2)
