"""Every optimizer: its paper's formula, its groups, its state, and going on where it was."""

import copy
import inspect
import math
import pickle
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import tinygrad_cv as tg
from tinygrad_cv import nn, optim
from tinygrad_cv._public import OPTIM, PUBLIC
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.testing import no_sync

Array = np.ndarray[Any, Any]
STEPS = 9
OPTIMIZERS = sorted(
    name
    for name, kind in PUBLIC[OPTIM].items()
    if isinstance(kind, type) and issubclass(kind, optim.Optimizer) and name != "Optimizer"
)

# ----- the formulas, as the papers have them -----------------------------------------------------
# Each takes the first value, the gradients and the options, and yields the value after each step.


def sgd(w: Array, gs: list[Array], lr: float, momentum: float, nesterov: bool) -> Iterator[Array]:
    """The velocity holds the rate: v = μv - lr g; x += v, or x += -μ v_before + (1 + μ) v."""
    v = np.zeros_like(w)
    for g in gs:
        before, v = v, momentum * v - lr * g
        w = w + (-momentum * before + (1 + momentum) * v if nesterov else v)
        yield w


def adam(
    w: Array,
    gs: list[Array],
    lr: float,
    betas: tuple[float, float],
    decay: float,
    corrected: bool,
    amsgrad: bool,
) -> Iterator[Array]:
    m = v = top = np.zeros_like(w)
    for t, g in enumerate(gs, 1):
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g**2
        top = np.maximum(top, v)
        mean, square = m, top if amsgrad else v
        if corrected:
            mean, square = m / (1 - betas[0] ** t), square / (1 - betas[1] ** t)
        w = w - lr * mean / (np.sqrt(square) + 1e-8) - lr * decay * w
        yield w


def adamax(w: Array, gs: list[Array], lr: float, beta1: float, beta2: float) -> Iterator[Array]:
    """The p-norm of all gradients, p → ∞: max over i of β₂^(t-i) |gᵢ|."""
    for t in range(1, len(gs) + 1):
        m = sum((1 - beta1) * beta1 ** (t - i) * gs[i - 1] for i in range(1, t + 1))
        u = np.max([beta2 ** (t - i) * np.abs(gs[i - 1]) for i in range(1, t + 1)], axis=0)
        w = w - lr / (1 - beta1**t) * m / (u + 1e-8)
        yield w


def nadam(w: Array, gs: list[Array], lr: float, psi: float) -> Iterator[Array]:
    def mu(t: int) -> float:
        return 0.9 * (1 - 0.5 * 0.96 ** (t * psi))

    m = v = np.zeros_like(w)
    for t, g in enumerate(gs, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        now, ahead = (math.prod(mu(i) for i in range(1, n + 1)) for n in (t, t + 1))
        mean = mu(t + 1) * m / (1 - ahead) + (1 - mu(t)) * g / (1 - now)
        w = w - lr * mean / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        yield w


def radam(w: Array, gs: list[Array], lr: float, beta2: float) -> Iterator[Array]:
    m = v = np.zeros_like(w)
    most = 2 / (1 - beta2) - 1
    for t, g in enumerate(gs, 1):
        m, v = 0.9 * m + 0.1 * g, beta2 * v + (1 - beta2) * g**2
        rho = most - 2 * t * beta2**t / (1 - beta2**t)
        step = m / (1 - 0.9**t)
        if rho > 5:
            r2 = (rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho)
            step = step * np.sqrt(r2) * np.sqrt(1 - beta2**t) / (np.sqrt(v) + 1e-8)
        w = w - lr * step
        yield w


def adagrad(w: Array, gs: list[Array], lr: float, decay: float, first: float) -> Iterator[Array]:
    cache = np.full_like(w, first)
    for t, g in enumerate(gs):
        cache = cache + g**2
        w = w - lr / (1 + t * decay) * g / (np.sqrt(cache) + 1e-7)
        yield w


def adadelta(w: Array, gs: list[Array], lr: float, rho: float) -> Iterator[Array]:
    def rms(x: Array) -> Array:
        return np.sqrt(x + 1e-6)

    squares = steps = np.zeros_like(w)
    for g in gs:
        squares = rho * squares + (1 - rho) * g**2
        delta = -rms(steps) / rms(squares) * g
        steps = rho * steps + (1 - rho) * delta**2
        w = w + lr * delta
        yield w


def rmsprop(
    w: Array, gs: list[Array], lr: float, alpha: float, momentum: float, centered: bool
) -> Iterator[Array]:
    square = mean = v = np.zeros_like(w)
    for g in gs:
        square = alpha * square + (1 - alpha) * g**2
        mean = alpha * mean + (1 - alpha) * g
        v = momentum * v + g / (np.sqrt(square - mean**2 if centered else square) + 1e-7)
        w = w - lr * v
        yield w


def rprop(w: Array, gs: list[Array], lr: float) -> Iterator[Array]:
    """Number by number, with the branches of the paper (without weight backtracking)."""
    w, size, before = w.copy(), np.full_like(w, lr), np.zeros_like(w)
    for g in gs:
        for i in np.ndindex(w.shape):
            slope = g[i]
            if slope * before[i] > 0:
                size[i] = min(size[i] * 1.2, 50)
            elif slope * before[i] < 0:
                size[i] = max(size[i] * 0.5, 1e-6)
                slope = 0.0
            w[i] -= np.sign(slope) * size[i]
            before[i] = slope
        yield w.copy()


def asgd(w: Array, gs: list[Array], lr: float, lambd: float) -> Iterator[Array]:
    eta = lr
    for t, g in enumerate(gs, 1):
        w = w - eta * (g + lambd * w)
        eta = lr / (1 + lambd * lr * t) ** 0.75
        yield w


def adafactor(w: Array, gs: list[Array], lr: float) -> Iterator[Array]:
    """Algorithm 4 of the paper, for a matrix, with its relative step sizes."""
    rows, columns = np.zeros(w.shape[0]), np.zeros(w.shape[1])
    eps1 = np.finfo("float64").eps
    for t, g in enumerate(gs, 1):
        beta = 1 - t**-0.8
        alpha = max(1e-3, np.sqrt((w**2).mean())) * min(lr, 1 / math.sqrt(t))
        rows = beta * rows + (1 - beta) * (g**2).mean(axis=1)
        columns = beta * columns + (1 - beta) * (g**2).mean(axis=0)
        variance = np.outer(rows, columns) / max(rows.mean(), eps1)
        u = g / np.sqrt(np.maximum(variance, eps1**2))
        u = u / max(1.0, np.sqrt((u**2).mean()))
        w = w - alpha * u
        yield w


def muon(w: Array, gs: list[Array], lr: float, nesterov: bool) -> Iterator[Array]:
    """The iteration acts on the singular values alone, so it is done there."""
    a, b, c = 3.4445, -4.775, 2.0315
    v = np.zeros_like(w)
    for g in gs:
        v = 0.95 * v + 0.05 * g
        left, s, right = np.linalg.svd(0.05 * g + 0.95 * v if nesterov else v, full_matrices=False)
        s = s / np.sqrt((s**2).sum())
        for _ in range(5):
            s = a * s + b * s**3 + c * s**5
        w = (1 - lr * 0.1) * w
        w = w - lr * math.sqrt(max(1, w.shape[0] / w.shape[1])) * (left * s) @ right
        yield w


MU = {"lr": 0.1, "momentum": 0.9}
CASES: dict[str, tuple[Callable[..., optim.Optimizer], Callable[..., Iterator[Array]]]] = {
    "SGD, velocity with lr": (
        lambda p: optim.SGD(p, **MU, velocity_holds_lr=True),
        lambda w, gs: sgd(w, gs, 0.1, 0.9, False),
    ),
    "SGD, velocity with lr, Nesterov": (
        lambda p: optim.SGD(p, **MU, nesterov=True, velocity_holds_lr=True),
        lambda w, gs: sgd(w, gs, 0.1, 0.9, True),
    ),
    "Adam, incomplete": (
        lambda p: optim.Adam(p, lr=0.1, bias_correction=False),
        lambda w, gs: adam(w, gs, 0.1, (0.9, 0.999), 0, False, False),
    ),
    "Adam, amsgrad": (
        lambda p: optim.Adam(p, lr=0.1, betas=(0.5, 0.6), amsgrad=True),
        lambda w, gs: adam(w, gs, 0.1, (0.5, 0.6), 0, True, True),
    ),
    "AdamW": (
        lambda p: optim.AdamW(p, lr=0.1, weight_decay=0.3),
        lambda w, gs: adam(w, gs, 0.1, (0.9, 0.999), 0.3, True, False),
    ),
    "Adamax": (
        lambda p: optim.Adamax(p, lr=0.1, betas=(0.8, 0.7)),
        lambda w, gs: adamax(w, gs, 0.1, 0.8, 0.7),
    ),
    "NAdam": (
        lambda p: optim.NAdam(p, lr=0.1, momentum_decay=0.1),
        lambda w, gs: nadam(w, gs, 0.1, 0.1),
    ),
    "RAdam": (
        lambda p: optim.RAdam(p, lr=0.1, betas=(0.9, 0.99)),
        lambda w, gs: radam(w, gs, 0.1, 0.99),
    ),
    "Adagrad": (
        lambda p: optim.Adagrad(p, lr=0.1, lr_decay=0.2, initial_accumulator_value=0.3, eps=1e-7),
        lambda w, gs: adagrad(w, gs, 0.1, 0.2, 0.3),
    ),
    "Adadelta": (
        lambda p: optim.Adadelta(p, lr=2.0, rho=0.8),
        lambda w, gs: adadelta(w, gs, 2.0, 0.8),
    ),
    "RMSprop": (
        lambda p: optim.RMSprop(p, lr=0.1, alpha=0.9, eps=1e-7),
        lambda w, gs: rmsprop(w, gs, 0.1, 0.9, 0.0, False),
    ),
    "RMSprop, centered": (
        lambda p: optim.RMSprop(p, lr=0.1, alpha=0.9, eps=1e-7, momentum=0.5, centered=True),
        lambda w, gs: rmsprop(w, gs, 0.1, 0.9, 0.5, True),
    ),
    "Rprop": (lambda p: optim.Rprop(p, lr=0.1), lambda w, gs: rprop(w, gs, 0.1)),
    "ASGD": (lambda p: optim.ASGD(p, lr=0.1, lambd=0.2), lambda w, gs: asgd(w, gs, 0.1, 0.2)),
    "Adafactor": (lambda p: optim.Adafactor(p, lr=0.5), lambda w, gs: adafactor(w, gs, 0.5)),
    "Muon": (lambda p: optim.Muon(p, lr=0.1), lambda w, gs: muon(w, gs, 0.1, True)),
    "Muon, plain": (
        lambda p: optim.Muon(p, lr=0.1, nesterov=False),
        lambda w, gs: muon(w, gs, 0.1, False),
    ),
}
MAKE = {name: make for name, (make, _) in CASES.items()} | {
    "SGD": lambda p: optim.SGD(p, lr=0.1),
    "SGD, momentum": lambda p: optim.SGD(p, **MU, dampening=0.3, weight_decay=0.1),
    "Adam": lambda p: optim.Adam(p, lr=0.1, weight_decay=0.1),
}
ELEMENTWISE = [
    name for name, make in MAKE.items() if make([tg.ones(2, 2, requires_grad=True)]).elementwise
]


def gradients(seed: int, shape: tuple[int, ...] = (4, 3)) -> list[Array]:
    return list(np.random.default_rng(seed).standard_normal((STEPS, *shape)))


def leaf(values: Any, dtype: str = "float64") -> Tensor:
    return tg.tensor(np.asarray(values, dtype), requires_grad=True)


def values(tensor: Tensor) -> Array:
    return tensor.detach().cpu().numpy().copy()  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shape", [(4, 3), (2, 5)])
def test_the_formula_of_the_paper(name: str, shape: tuple[int, int]) -> None:
    make, formula = CASES[name]
    start, gs = np.full(shape, 0.5), gradients(0, shape)
    w = leaf(start)
    optimizer = make([w])
    for g, expected in zip(gs, formula(start, gs), strict=True):
        w.grad = tg.tensor(g)
        optimizer.step()
        assert_allclose(values(w), expected, rtol=2e-7, atol=1e-9)


def test_the_velocity_that_holds_lr_keeps_its_old_rate() -> None:
    """After a change of the rate the two forms differ: what the velocity holds is as it was."""
    ends = []
    for holds in (False, True):
        w = leaf([0.0])
        optimizer = optim.SGD([w], lr=1.0, momentum=0.5, velocity_holds_lr=holds)
        for lr in (1.0, 0.1):
            optimizer.param_groups[0]["lr"] = lr
            w.grad = tg.tensor(np.ones(1))
            optimizer.step()
        ends.append(w.item())
    assert_allclose(ends, [-1 - 0.1 * 1.5, -1 - (0.5 + 0.1)])


@pytest.mark.parametrize("name", [n for n in MAKE if n != "Muon, plain"])
def test_maximize_climbs_where_the_other_descends(name: str) -> None:
    kind = type(MAKE[name]([leaf(np.ones((2, 2)))]))
    if "maximize" not in inspect.signature(kind).parameters:
        assert name.startswith("Muon")
        return
    ends = []
    for sign in (1, -1):
        w = leaf(np.full((2, 3), 0.5))
        optimizer = kind([w], lr=0.1, maximize=sign < 0)
        for g in gradients(3, (2, 3)):
            w.grad = tg.tensor(sign * g)
            optimizer.step()
        ends.append(values(w))
    assert_allclose(*ends, rtol=1e-14)


# ----- many parameters ---------------------------------------------------------------------------

shapes = st.lists(st.sampled_from([(), (1,), (3,), (2, 3), (0,), (70, 80)]), min_size=1, max_size=6)


@settings(max_examples=2 * settings.default.max_examples)
@given(name=st.sampled_from(ELEMENTWISE), shapes=shapes, data=st.data())
def test_many_parameters_step_as_each_alone(
    name: str, shapes: list[tuple[int, ...]], data: st.DataObject
) -> None:
    """Whichever have a gradient, whatever their dtypes, with the state replaced in between."""
    rng = np.random.default_rng(0)
    dtypes = [data.draw(st.sampled_from(["float64", "float32", "float16"])) for _ in shapes]
    starts = [rng.standard_normal(shape).astype(d) for shape, d in zip(shapes, dtypes, strict=True)]
    joined = [leaf(s, d) for s, d in zip(starts, dtypes, strict=True)]
    alone = [leaf(s, d) for s, d in zip(starts, dtypes, strict=True)]
    together, apart = MAKE[name](joined), [MAKE[name]([p]) for p in alone]
    for step in range(4):
        for p, q, optimizer in zip(joined, alone, apart, strict=True):
            g = None
            if data.draw(st.integers(0, 3)):
                g = rng.standard_normal(p.shape).astype(p.dtype)
            p.grad, q.grad = (None if g is None else tg.tensor(g) for _ in range(2))
            if g is not None:
                optimizer.step()
        together.step()
        if step == 1:
            together.load_state_dict(copy.deepcopy(together.state_dict()))
        if step == 2 and data.draw(st.booleans()):
            state = together.state[joined[0]]
            for key, value in state.items():
                if isinstance(value, Tensor) and data.draw(st.booleans()):
                    value.data = value.clone()  # the same tensor in other memory
                elif isinstance(value, Tensor):
                    state[key] = value.clone()
        if step == 0 and data.draw(st.booleans()):
            together.state[joined[-1]] = dict(together.state[joined[-1]])
    for p, q, optimizer in zip(joined, alone, apart, strict=True):
        assert_allclose(values(p), values(q), rtol=1e-6, atol=1e-7)
        for key, value in optimizer.state[q].items():
            found = together.state[p][key]
            if isinstance(value, Tensor):
                assert found.shape == value.shape
                assert found.dtype == value.dtype
                assert_allclose(values(found), values(value), rtol=1e-5, atol=1e-7)
            else:
                assert found == value


def test_a_state_that_is_changed_is_what_the_next_step_reads() -> None:
    ps = [leaf([1.0, 2.0]), leaf([3.0])]
    optimizer = optim.SGD(ps, lr=1.0, momentum=0.5)
    for p in ps:
        p.grad = tg.zeros(*p.shape, dtype="float64")
    optimizer.step()
    optimizer.state[ps[0]]["momentum_buffer"].data.fill_(2.0)
    optimizer.step()
    assert_allclose(values(ps[0]), [0.0, 1.0])
    assert_allclose(values(ps[1]), [3.0])


def test_parameters_that_are_replaced_with_their_state() -> None:
    """As programs do whose points come and go: each row is a scalar descent of its own."""

    def descend(steps: range, start: float) -> Array:
        w = leaf([start])
        optimizer = optim.Adam([w], lr=0.1)
        for _ in steps:
            w.grad = 2 * w.detach()
            optimizer.step()
        return values(w)

    groups: Any = [{"params": [leaf([1.0, 2.0, 3.0])]}, {"params": [leaf([4.0])]}]
    optimizer = optim.Adam(groups, lr=0.1)
    for i in range(4):
        for group in optimizer.param_groups:
            (p,) = group["params"]
            p.grad = 2 * p.detach()
        optimizer.step()
        if i == 1:
            (old,) = groups[0]["params"]
            state = optimizer.state.pop(old)
            for name in ("exp_avg", "exp_avg_sq"):
                state[name] = state[name][tg.tensor([True, False, True])]
            new = old.detach()[[0, 2]].clone().requires_grad_()
            groups[0]["params"][0], optimizer.state[new] = new, state
    expected = [descend(range(4), start) for start in (1.0, 3.0, 4.0)]
    assert_allclose(np.concatenate([values(g["params"][0]) for g in groups]), np.ravel(expected))
    assert set(optimizer.state) == {groups[0]["params"][0], groups[1]["params"][0]}


def test_what_remembers_nothing_has_no_state() -> None:
    w = leaf([1.0])
    w.grad = tg.ones(1, dtype="float64")
    optimizer = optim.SGD([w])
    optimizer.step()
    assert not optimizer.state


# ----- going on ----------------------------------------------------------------------------------


def network() -> list[Tensor]:
    rng = np.random.default_rng(4)
    return [leaf(rng.standard_normal((3, 2))), leaf(rng.standard_normal((2, 2)))]


def learn(params: list[Tensor], optimizer: optim.Optimizer, steps: range) -> list[Array]:
    for i in steps:
        for j, p in enumerate(params):
            p.grad = tg.tensor(np.random.default_rng([i, j]).standard_normal(p.shape))
        optimizer.step()
    return [values(p) for p in params]


@pytest.mark.parametrize("way", ["state_dict", "a file", "pickle", "deepcopy"])
@pytest.mark.parametrize("name", MAKE)
def test_it_goes_on_where_it_was(name: str, way: str, tmp_path: Any) -> None:
    params = network()
    optimizer = MAKE[name](params)
    learn(params, optimizer, range(4))
    if way == "pickle":
        others, other = pickle.loads(pickle.dumps((params, optimizer)))
    elif way == "deepcopy":
        others, other = copy.deepcopy((params, optimizer))
    else:
        others = [leaf(values(p)) for p in params]
        other = MAKE[name](others)
        state = optimizer.state_dict()
        if way == "a file":
            tg.save(state, tmp_path / "state.safetensors")
            state = tg.load(tmp_path / "state.safetensors")
        other.load_state_dict(state)
    assert other.param_groups[0]["params"][0] is others[0]
    expected = learn(params, optimizer, range(4, 8))
    for found, right in zip(learn(others, other, range(4, 8)), expected, strict=True):
        assert_allclose(found, right, rtol=1e-13)
    assert {**other.param_groups[0], "params": 0} == {**optimizer.param_groups[0], "params": 0}


def test_the_layout_of_the_state() -> None:
    a, b, c = (leaf(np.ones(n)) for n in (1, 2, 3))
    optimizer = optim.Adam([{"params": [a, b]}, {"params": c, "lr": 0.5}], lr=0.1, amsgrad=True)
    for p in (a, c):
        p.grad = tg.ones(*p.shape, dtype="float64")
    optimizer.step()
    state = optimizer.state_dict()
    assert [group["params"] for group in state["param_groups"]] == [[0, 1], [2]]
    assert [group["lr"] for group in state["param_groups"]] == [0.1, 0.5]
    assert state["state"].keys() == {0, 2}
    assert list(state["state"][2]) == ["step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"]
    assert state["state"][2]["exp_avg"] is optimizer.state[c]["exp_avg"]
    assert state["state"][0]["step"] == 1


def test_what_numbers_are_written_as_tensors_is_read_as_numbers() -> None:
    """As PyTorch has the step; and its options may be tensors."""
    w = leaf([1.0])
    optimizer = optim.NAdam([w])
    group = optimizer.state_dict()["param_groups"][0] | {"lr": tg.tensor(0.5)}
    moment = np.ones(1, "float32")
    state = {"step": np.array(3.0), "mu_product": tg.tensor(0.7), "exp_avg": moment}
    optimizer.load_state_dict(
        {"state": {0: state | {"exp_avg_sq": moment, "none": None}}, "param_groups": [group]}
    )
    found = optimizer.state[w]
    assert (found["step"], found["mu_product"]) == (3.0, pytest.approx(0.7))
    assert found["exp_avg"].dtype == "float64"
    assert found["exp_avg"].device == w.device
    w.grad = tg.ones(1, dtype="float64")
    optimizer.step()


@pytest.mark.parametrize("sizes", [[1], [3], [1, 1], []])
def test_a_state_of_other_groups_changes_nothing(sizes: list[int]) -> None:
    params = network()
    optimizer = optim.SGD(params, lr=0.1)
    state = {"state": {}, "param_groups": [{"params": list(range(n)), "lr": 9.0} for n in sizes]}
    with pytest.raises(ValueError, match=r"groups of \[2\] parameters, and the state is of groups"):
        optimizer.load_state_dict(state)
    for wrong in ({}, 3, [1]):
        with pytest.raises(ValueError, match="is what state_dict"):
            optimizer.load_state_dict(wrong)  # type: ignore[arg-type]
    assert optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize("wrong", [tg.ones(3), tg.ones(2, 1), 1.0, []])
def test_a_state_of_other_shapes_changes_nothing(wrong: Any) -> None:
    """None of these would be told from a right one before a step, and some not even then."""
    w = tg.ones(2, requires_grad=True)
    optimizer = optim.Adam([w])
    w.grad = tg.ones(2)
    optimizer.step()
    before, state = repr(optimizer.state_dict()), copy.deepcopy(optimizer.state_dict())
    state["state"][0]["exp_avg_sq"] = wrong
    with pytest.raises(ValueError, match=r"the exp_avg_sq of a parameter of shape \(2,\) has that"):
        optimizer.load_state_dict(state)
    assert repr(optimizer.state_dict()) == before


def test_half_precision_keeps_its_state_in_single() -> None:
    w = leaf(np.ones(3), "float16")
    optimizer = optim.Adam([w])
    w.grad = tg.ones(3, dtype="float16")
    optimizer.step()
    assert optimizer.state[w]["exp_avg"].dtype == "float32"
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert optimizer.state[w]["exp_avg"].dtype == "float32"


# ----- groups ------------------------------------------------------------------------------------


def test_groups_have_their_own_options_which_may_change_at_any_time() -> None:
    a, b, c = (leaf([1.0]) for _ in range(3))
    optimizer = optim.SGD([{"params": [a]}, {"params": iter([b]), "lr": 0.5}], lr=0.1)
    optimizer.add_param_group({"params": c, "weight_decay": 1.0})
    for p in (a, b, c):
        p.grad = tg.ones(1, dtype="float64")
    optimizer.step()
    assert_allclose([p.item() for p in (a, b, c)], [0.9, 0.5, 0.8])
    for group in optimizer.param_groups:
        group["lr"] *= 0.1
    optimizer.param_groups[2]["weight_decay"] = 0
    optimizer.step()
    assert_allclose([p.item() for p in (a, b, c)], [0.89, 0.45, 0.79])


def test_named_parameters() -> None:
    model = nn.Linear(2, 1)
    optimizer = optim.SGD(model.named_parameters(), lr=0.1)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    with pytest.raises(ValueError, match="all groups of an optimizer have names"):
        optimizer.add_param_group({"params": [leaf([1.0])]})
    with pytest.raises(ValueError, match="all parameters of a group have names"):
        optim.SGD([("a", leaf([1.0])), leaf([1.0])])


def test_wrong_groups() -> None:
    w, other = leaf([1.0]), leaf([1.0])
    with pytest.raises(ValueError, match="twice"):
        optim.SGD([{"params": w}, {"params": [w]}])
    with pytest.raises(ValueError, match="learning rate is a number"):
        optim.SGD([{"params": w, "lr": -1.0}])
    optimizer = optim.SGD([w])
    for wrong, error, words in (
        ([other], TypeError, "a group of parameters is a dict"),
        ({"lr": 0.1}, TypeError, "a group of parameters is a dict"),
        ({"params": {other}}, TypeError, "need an order"),
        ({"params": [3]}, TypeError, "changes tensors; got 3"),
        ({"params": [other * 2]}, ValueError, "changes leaf tensors"),
        ({"params": [w]}, ValueError, "twice"),
        ({"params": [other], "momentum": math.nan}, ValueError, "momentum is a number"),
    ):
        with pytest.raises(error, match=words):
            optimizer.add_param_group(wrong)  # type: ignore[arg-type]
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_every_optimizer_refuses(name: str) -> None:
    kind = PUBLIC[OPTIM][name]
    w = leaf(np.ones((2, 2)))
    for lr in (-1.0, math.nan, "0.1", tg.ones(2)):
        with pytest.raises(ValueError, match="learning rate"):
            kind([w], lr=lr)
    if "differentiable" in inspect.signature(kind).parameters:
        with pytest.raises(ValueError, match="a step is not recorded"):
            kind([w], differentiable=True)
    for wrong in ({"betas": (0.9, 1.0)}, {"eps": -1.0}, {"weight_decay": -1.0}):
        if wrong.keys() <= inspect.signature(kind).parameters.keys() and name != "Adafactor":
            if name == "Muon" and "eps" in wrong:
                continue
            with pytest.raises(ValueError, match="is a number"):
                kind([w], **wrong)


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (optim.Adadelta, {"rho": 1.1}, "rho"),
    (optim.Rprop, {"etas": (1.2, 0.5)}, "etas lie below and above 1"),
    (optim.Rprop, {"step_sizes": (-1, 5)}, "step_sizes"),
    (optim.Adafactor, {"eps": (-1.0, 0.1)}, "eps"),
    (optim.Adafactor, {"d": 0.5}, "d, the most"),
    (optim.Adafactor, {"beta2_decay": 0.5}, "beta2_decay"),
    (optim.Muon, {"adjust_lr_fn": "x"}, "adjust_lr_fn is None or one of 'original'"),
    (optim.LBFGS, {"line_search_fn": "x"}, "line_search_fn"),
    (optim.NAdam, {"momentum_decay": -1}, "momentum_decay"),
    (optim.NewtonCG, {"cg_tol": -1}, "cg_tol"),
]


@pytest.mark.parametrize(("kind", "options", "words"), REFUSED)
def test_options_that_make_no_sense(kind: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        kind([leaf(np.ones((2, 2)))], **options)


def test_shapes_and_groups_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match=r"Muon is for matrices; .* \(3,\)"):
        optim.Muon([leaf(np.ones(3))])
    for kind in (optim.LBFGS, optim.NewtonCG):
        with pytest.raises(ValueError, match="one group"):
            kind([{"params": leaf([1.0])}, {"params": leaf([1.0])}])


@pytest.mark.parametrize("lr", [tg.tensor(0.5), np.float64(0.5), np.float32(0.5)], ids=str)
@pytest.mark.parametrize("name", sorted({*OPTIMIZERS} - {"LBFGS", "NewtonCG"}))
def test_a_rate_may_be_a_tensor_or_a_number_of_numpys(name: str, lr: Any) -> None:
    ends = []
    for rate in (lr, 0.5):
        w = leaf(np.full((2, 2), 0.5), "float32")
        optimizer = PUBLIC[OPTIM][name]([w], lr=rate)
        w.grad = tg.tensor(np.ones((2, 2), "float32"))
        optimizer.step()
        assert w.dtype == "float32"
        ends.append(values(w))
    assert_allclose(*ends)
    assert optimizer.param_groups[0]["lr"] == 0.5


# ----- steps -------------------------------------------------------------------------------------


def test_a_closure_computes_with_a_graph_and_its_loss_is_returned() -> None:
    w = leaf([3.0])
    optimizer = optim.SGD([w], lr=0.5)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    with tg.no_grad():
        assert optimizer.step(closure).item() == 9.0
    assert w.item() == 0.0


def test_zero_grad() -> None:
    w, unused = leaf([3.0]), leaf([1.0])
    optimizer = optim.SGD([w, unused])
    (w * w).sum().backward()
    gradient = w.grad
    optimizer.zero_grad(set_to_none=False)
    assert w.grad is gradient
    assert (w.grad.tolist(), unused.grad) == ([0.0], None)
    optimizer.zero_grad()
    assert w.grad is None


def test_hooks() -> None:
    w = leaf([1.0])
    optimizer = optim.SGD([w], lr=0.1)
    seen: list[str] = []
    before = optimizer.register_step_pre_hook(lambda o, a, k: seen.append("before"))
    after = optimizer.register_step_post_hook(lambda o, a, k: seen.append("after"))
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("saving"))
    optimizer.register_state_dict_post_hook(lambda o, s: s | {"epoch": 3})
    optimizer.register_load_state_dict_pre_hook(lambda o, s: seen.append(f"epoch {s['epoch']}"))
    optimizer.register_load_state_dict_post_hook(lambda o: seen.append("loaded"))
    optimizer.step()
    before.remove()
    with after:
        optimizer.step()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    assert seen == ["before", "after", "after", "saving", "epoch 3", "loaded"]
    assert copy.deepcopy(optimizer).step() is None


def test_hooks_before_a_step_give_other_arguments() -> None:
    w = leaf([1.0])
    optimizer = optim.SGD([w], lr=0.1)
    seen: list[Any] = []

    def first(o: Any, args: Any, options: Any) -> Any:
        seen.append((args, options))
        return (o, lambda: 3.0), {}

    optimizer.register_step_pre_hook(first)
    optimizer.register_step_post_hook(lambda o, args, options: seen.append((len(args), options)))
    assert optimizer.step() == 3.0
    assert seen == [((optimizer,), {}), (2, {})]
    wrong = optimizer.register_step_pre_hook(lambda o, args, options: 5)
    with wrong, pytest.raises(RuntimeError, match="got 5"):
        optimizer.step()
    assert optimizer.step() == 3.0


def test_hooks_of_all_optimizers() -> None:
    seen: list[str] = []
    one, other = optim.SGD([leaf([1.0])]), Lion([leaf([1.0])])
    other.register_step_pre_hook(lambda o, a, k: seen.append("its own"))
    other.register_step_post_hook(lambda o, a, k: seen.append("its own after"))
    before = optim.optimizer.register_optimizer_step_pre_hook
    after = optim.optimizer.register_optimizer_step_post_hook
    with (
        before(lambda o, a, k: seen.append(type(o).__name__)),
        after(lambda o, a, k: seen.append("after")),
    ):
        one.step()
        other.step()
    one.step()
    assert seen == ["SGD", "after", "Lion", "its own", "its own after", "after"]


class Halving:
    """A step for any optimizer that has it among its bases."""

    def step(self: Any, closure: Any = None) -> Any:
        for group in self.param_groups:
            for p in group["params"]:
                p.grad *= 0.5
        return super().step(closure)  # type: ignore[misc]


class HalvingSGD(Halving, optim.SGD):
    pass


def test_a_step_from_another_base_has_hooks() -> None:
    w = leaf([1.0])
    w.grad = tg.ones(1, dtype="float64")
    optimizer, seen = HalvingSGD([w], lr=1.0), []
    optimizer.register_step_post_hook(lambda o, a, k: seen.append(w.item()))
    optimizer.step()
    assert seen == [0.5]


def test_a_copy_made_in_a_hook_has_hooks() -> None:
    optimizer, copies, seen = optim.SGD([leaf([1.0])]), [], []
    optimizer.register_step_post_hook(lambda o, a, k: copies.append(copy.deepcopy(o)))
    optimizer.step()
    copies[0].register_step_post_hook(lambda o, a, k: seen.append(o))
    copies[0].step()
    assert seen == copies


class Lookahead(optim.Optimizer):
    """As programs wrap another one, with no call of super().__init__."""

    def __init__(self, optimizer: optim.Optimizer, k: int = 2) -> None:
        self.optimizer, self.k, self.count = optimizer, k, 0
        self.param_groups, self.defaults = optimizer.param_groups, optimizer.defaults
        self.state: Any = defaultdict(dict)

    def step(self, closure: Any = None) -> Any:
        loss = self.optimizer.step(closure)
        self.count += 1
        for group in self.param_groups:
            for p in group["params"]:
                slow = self.state[p].setdefault("slow", tg.zeros_like(p.data))
                if self.count % self.k == 0:
                    slow += (p.data - slow) * 0.5
                    p.data.copy_(slow)
        return loss


def test_a_wrapper_around_an_optimizer() -> None:
    w = leaf([0.0])
    optimizer = Lookahead(optim.SGD([w], lr=0.5))
    schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    seen: list[float] = []
    optimizer.register_step_post_hook(lambda o, a, k: seen.append(w.item()))
    for _ in range(2):
        optimizer.zero_grad()
        w.grad = tg.tensor(np.array([-1.0]))
        optimizer.step()
        schedule.step()
    assert seen == [0.5, 0.375]
    assert "lr: 0.125" in repr(copy.deepcopy(optimizer))


class Lion(optim.Optimizer):
    """As programs write their own: with tensors, under no_grad."""

    def __init__(self, params: Any, lr: float = 1e-3, beta: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "beta": beta})

    @tg.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if len(state) == 0:
                    state["step"] = 0
                    state["exp_avg"] = tg.zeros_like(p)
                state["step"] += 1
                mean = state["exp_avg"]
                p.data.add_(mean.mul(group["beta"]).add(p.grad).sign(), alpha=-group["lr"])
                mean.mul_(group["beta"]).add_(p.grad, alpha=1 - group["beta"])


class Older(optim.Optimizer):
    """With an option that states of before do not have."""

    def __init__(self, params: Any, lr: Any = optim.optimizer.required) -> None:
        super().__init__(params, {"lr": lr})

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("nesterov", False)


class Twice(optim.SGD):
    def step(self, closure: Any = None) -> Any:
        super().step()
        return super().step(closure)


def test_optimizers_of_programs() -> None:
    w = leaf([1.0])
    optimizer = Lion([w], lr=0.25)
    seen: list[int] = []
    optimizer.register_step_post_hook(lambda o, a, k: seen.append(o.state[w]["step"]))
    for _ in range(2):
        w.grad = tg.tensor(np.array([2.0]))
        optimizer.step()
    assert w.item() == 0.5
    other = Lion([w])
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert other.state[w]["step"] == 2
    assert other.param_groups[0]["lr"] == 0.25
    twice = Twice([w], lr=0.5)
    twice.register_step_post_hook(lambda o, a, k: seen.append(-1))
    twice.step()
    assert w.item() == 0.5 - 2 * 0.5 * 2.0
    assert seen == [1, 2, -1]
    with pytest.raises(ValueError, match="needs lr"):
        Older([w])
    older, seen = Older([w], lr=0.5), []
    older.register_step_pre_hook(lambda o, a, k: seen.append(3))
    older.load_state_dict(older.state_dict())
    assert older.param_groups[0]["nesterov"] is False
    with pytest.raises(NotImplementedError):
        older.step()
    assert seen == [3]
    with pytest.raises(NotImplementedError, match="Optimizer has no step"):
        optim.Optimizer([w], {}).step()


def test_an_optimizer_without_its_graph() -> None:
    """A step records nothing, and is seen by a graph that relied on the old values."""
    for name, make in MAKE.items():
        w = leaf(np.ones((2, 2)))
        loss = (w * w).sum()
        w.grad = tg.ones(2, 2, dtype="float64")
        make([w]).step()
        assert w.is_leaf, name
        with pytest.raises(RuntimeError, match="changed"):
            loss.backward()


def test_the_repr_lists_the_options() -> None:
    text = repr(optim.SGD([{"params": leaf([1.0])}, {"params": leaf([1.0]), "lr": 2.0}], lr=0.1))
    assert text.startswith("SGD (\nParameter Group 0\n    dampening: 0\n")
    assert "Parameter Group 1" in text
    assert "    lr: 2.0\n" in text
    text = repr(optim.SGD([("weight", leaf([1.0]))]))
    assert "    nesterov: False\n    param_names: ['weight']\n    weight_decay: 0\n)" in text


@pytest.mark.parametrize("name", MAKE)
def test_nothing_warns_where_numbers_run_away(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for dtype in ("float16", "float32"):
            w = leaf(np.full((2, 2), 6e4), dtype)
            optimizer = MAKE[name]([w])
            for g in (np.inf, 6e4, 0.0, np.nan):
                w.grad = tg.tensor(np.full((2, 2), g, dtype))
                optimizer.step()


@pytest.mark.parametrize("name", MAKE)
def test_a_step_makes_nobody_wait_for_the_device(name: str) -> None:
    params = network()
    optimizer = MAKE[name](params)
    for _ in range(2):
        for p in params:
            p.grad = tg.ones(*p.shape, dtype="float64")
        with no_sync():
            optimizer.step()


# ----- with the curvature ------------------------------------------------------------------------


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
@given(seed=st.integers(0, 99), maximize=st.booleans())
def test_lbfgs_finds_the_bottom_of_a_bowl(search: str | None, seed: int, maximize: bool) -> None:
    """In a convex quadratic, whose bottom is the solution of a linear system; or upside down."""
    rng = np.random.default_rng(seed)
    root, b = rng.standard_normal((4, 4)), rng.standard_normal(4)
    a = root @ root.T / 4 + np.eye(4)
    ws = [leaf(np.zeros(3)), leaf(np.zeros(1))]
    lr = 1.0 if search else 0.9
    optimizer = optim.LBFGS(
        ws,
        lr=lr,
        max_iter=40,
        line_search_fn=search,
        tolerance_grad=1e-8,
        tolerance_change=0,
        maximize=maximize,
    )
    matrix, vector = tg.tensor(a), tg.tensor(b)

    def closure() -> Tensor:
        optimizer.zero_grad()
        x = tg.cat(ws)
        loss = (x @ matrix @ x) / 2 - vector @ x
        loss = -loss if maximize else loss
        loss.backward()
        return loss

    optimizer.step(closure)
    assert_allclose(np.concatenate([values(w) for w in ws]), np.linalg.solve(a, b), atol=1e-6)


def rosenbrock(w: Tensor) -> Tensor:
    return (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2


def test_the_line_search_ends_where_wolfe_says() -> None:
    """Each step lowers the loss by its share of the slope, and ends where the slope is small."""
    w = leaf([-1.2, 1.0])
    optimizer = optim.LBFGS([w], max_iter=1, max_eval=50, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = rosenbrock(w)
        loss.backward()
        return loss

    for _ in range(60):
        before, start = float(rosenbrock(w)), values(w)
        closure()
        g = values(w.grad)
        if np.abs(g).max() < 1e-6:
            break
        optimizer.step(closure)
        moved = values(w) - start
        after = float(closure())
        assert after <= before + 1e-4 * (g @ moved) + 1e-12
        assert abs(values(w.grad) @ moved) <= 0.9 * abs(g @ moved) + 1e-12
    assert_allclose(values(w), [1, 1], atol=1e-3)


@pytest.mark.parametrize("most", [1, 2, 3, 8])
def test_the_line_search_keeps_to_its_calls(most: int) -> None:
    """Where no length is right: along |w|, whose slope never gets small."""
    w, calls = leaf([-1.2, 1.0]), 0
    optimizer = optim.LBFGS([w], max_eval=most, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        nonlocal calls
        calls += 1
        optimizer.zero_grad()
        loss = w.abs().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert calls <= max(most + 1, 3)


def test_the_line_search_runs_along_a_straight_line() -> None:
    """Ten times as far with each try, for the lowest point is the last that it may look at."""
    w, seen = leaf([0.0]), []
    optimizer = optim.LBFGS([w], max_eval=4, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        seen.append(w.item())
        optimizer.zero_grad()
        loss = -w.sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert seen == [0, 1, 10, 100, 1000]


@pytest.mark.parametrize("split", [2, 5])
def test_lbfgs_goes_on_where_it_was(split: int) -> None:
    ends = []
    for stop in (None, split):
        w = leaf([-1.2, 1.0])
        optimizer = optim.LBFGS([w], max_iter=2, line_search_fn="strong_wolfe")
        for i in range(8):
            if i == stop:
                w, state = leaf(values(w)), copy.deepcopy(optimizer.state_dict())
                optimizer = optim.LBFGS([w])
                optimizer.load_state_dict(state)

            def closure(w: Tensor = w, optimizer: Any = optimizer) -> Tensor:
                optimizer.zero_grad()
                loss = rosenbrock(w)
                loss.backward()
                return loss

            optimizer.step(closure)
        ends.append(values(w))
    assert_allclose(*ends, rtol=1e-12)


@given(seed=st.integers(0, 99))
def test_newton_solves_a_bowl_in_one_step(seed: int) -> None:
    rng = np.random.default_rng(seed)
    root, b = rng.standard_normal((4, 4)), rng.standard_normal(4)
    a = root @ root.T + np.eye(4)
    ws = [leaf(np.zeros(3)), leaf(np.zeros(1)), leaf([7.0])]  # the last has no say
    matrix, vector = tg.tensor(a), tg.tensor(b)

    def closure() -> Tensor:
        x = tg.cat(ws[:2])
        return (x @ matrix @ x) / 2 - vector @ x

    optim.NewtonCG(ws, cg_tol=1e-12).step(closure)
    assert_allclose(np.concatenate([values(w) for w in ws[:2]]), np.linalg.solve(a, b), atol=1e-8)
    assert ws[2].item() == 7.0


def test_newton_in_a_valley_and_on_a_saddle() -> None:
    w = leaf([-1.2, 1.0])
    optimizer = optim.NewtonCG([w], max_iter=60, cg_tol=1e-8)
    losses = [float(optimizer.step(lambda: rosenbrock(w))), float(rosenbrock(w))]
    assert losses[1] < 1e-10 < losses[0]
    assert optimizer.state[w]["n_iter"] < 40
    saddle = leaf([1.0, 1e-3])  # x² - y² + y⁴, whose curvature is negative along y
    optim.NewtonCG([saddle], max_iter=50).step(
        lambda: saddle[0] ** 2 - saddle[1] ** 2 + saddle[1] ** 4
    )
    assert_allclose(np.abs(values(saddle)), [0, math.sqrt(0.5)], atol=1e-4)


def test_newton_wants_the_loss() -> None:
    w = leaf([1.0])
    for wrong in (lambda: 3.0, lambda: w * tg.ones(2), lambda: w.detach().sum()):
        with pytest.raises(ValueError, match="returns the loss"):
            optim.NewtonCG([w]).step(wrong)
    before = w.item()
    optim.NewtonCG([w]).step(lambda: (w * 0).sum())
    assert w.item() == before
