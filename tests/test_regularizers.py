"""Regularizers against their formulas, by hand and in a Trainer."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_cv as tg
from tinygrad_cv import nn, optim, train
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.data import DataLoader, TensorDataset
from tinygrad_cv.testing import check_gradients

RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(12, 4)), RNG.integers(3, size=12)
STRENGTHS = st.floats(0, 3)

# Each with its formula for one array.
TERMS: dict[str, tuple[Any, Any]] = {
    "½λΣW² (D1)": (lambda a, b: optim.L2(a), lambda w, a, b: a * (w**2).sum() / 2),
    "λΣW² (D2)": (lambda a, b: optim.L2(a, half=False), lambda w, a, b: a * (w**2).sum()),
    "λ/2m ΣW² (D3)": (lambda a, b: optim.L2(a, samples=7), lambda w, a, b: a / 14 * (w**2).sum()),
    "λΣ|W|": (lambda a, b: optim.L1(a), lambda w, a, b: a * np.abs(w).sum()),
    "elastic (D1)": (
        lambda a, b: optim.ElasticNet(a, b),
        lambda w, a, b: a * np.abs(w).sum() + b * (w**2).sum(),
    ),
    "elastic (D2)": (
        lambda a, b: optim.ElasticNet(a, beta=b),
        lambda w, a, b: a * (b * w**2 + np.abs(w)).sum(),
    ),
}


def net(norm: bool = True) -> nn.Sequential:
    generator = np.random.default_rng(1)
    parts: list[nn.Module] = [nn.Linear(4, 5, generator=generator)]
    parts += [nn.BatchNorm1d(5)] * norm
    parts += [nn.Tanh(), nn.Linear(5, 3, generator=generator)]
    return nn.Sequential(*parts).double()


def values(x: Tensor) -> Any:
    return x.detach().numpy().copy()


def weights_of(model: nn.Module) -> list[Any]:
    return [values(p) for name, p in model.named_parameters() if p.ndim > 1]


# ----- terms -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TERMS)
@given(a=STRENGTHS, b=STRENGTHS, rows=st.integers(1, 3), columns=st.integers(0, 3))
def test_a_term_is_its_formula(name: str, a: float, b: float, rows: int, columns: int) -> None:
    make, formula = TERMS[name]
    w = np.random.default_rng(rows).normal(size=(rows, columns))
    term = make(a, b)([tg.tensor(w), tg.tensor(-2 * w[0])])
    assert_allclose(term.item(), formula(w, a, b) + formula(2 * w[0], a, b), 1e-12, 1e-12)


@pytest.mark.parametrize("name", TERMS)
def test_gradients_of_a_term_are_right_twice(name: str) -> None:
    make, _ = TERMS[name]
    w = tg.tensor(RNG.normal(size=(3, 4)))
    check_gradients(lambda w: make(0.3, 0.2)([w]), [w], allow_zero=True)
    zero = tg.zeros(2, 3, requires_grad=True)
    make(0.3, 0.2)([zero]).backward()
    assert_array_equal(values(zero.grad), np.zeros((2, 3)))  # type: ignore[arg-type]


def test_the_hessian_of_l2_is_lambda_and_that_of_l1_zero() -> None:
    w = tg.tensor(RNG.normal(size=3))
    for term, expected in ((optim.L2(0.3), 0.3 * np.eye(3)), (optim.L1(0.3), np.zeros((3, 3)))):
        found = tg.autograd.functional.hessian(lambda w, term=term: term([w]), w)
        assert_allclose(values(found), expected, atol=1e-12)


def test_a_strength_may_be_a_tensor_that_learns() -> None:
    w = tg.tensor([[3.0, -4.0]])
    strength = tg.tensor(0.1, requires_grad=True)
    (optim.L2(strength)([w]) + optim.L1(strength)([w])).backward()
    assert strength.grad is not None
    assert strength.grad.item() == 12.5 + 7


def test_half_precision_is_summed_up_in_single() -> None:
    layer = nn.Linear(40, 40).half()
    layer.weight.data.fill_(100.0)
    term = optim.L2(1.0)(layer)
    assert term.dtype == "float32"
    assert_allclose(term.item(), 0.5 * 40 * 40 * 1e4)
    term.backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == "float16"
    assert_array_equal(values(layer.weight.grad), np.full((40, 40), 100, "float16"))


# ----- which parameters --------------------------------------------------------------------------

CHOICES: list[tuple[Any, list[str]]] = [
    (lambda: nn.Conv2d(1, 2, 3), ["weight"]),
    (lambda: nn.LocallyConnected2d(1, 2, (4, 4), 3), ["weight"]),
    (lambda: nn.LSTM(2, 3), ["weight_ih_l0", "weight_hh_l0"]),
    (lambda: nn.MultiheadAttention(4, 2), ["in_proj_weight", "out_proj.weight"]),
    (lambda: nn.Embedding(3, 2), ["weight"]),
    (
        lambda: nn.Sequential(nn.LayerNorm((2, 3)), nn.GroupNorm(1, 2), nn.Linear(3, 1)),
        ["2.weight"],
    ),
    (lambda: nn.Sequential(nn.Linear(2, 2), nn.PReLU(), nn.BatchNorm1d(2)), ["0.weight"]),
]


@pytest.mark.host
@pytest.mark.parametrize(("make", "names"), CHOICES)
def test_weights_are_chosen_and_neither_biases_nor_norms(make: Any, names: list[str]) -> None:
    assert list(optim.L2(0.1).chosen(make())) == names


class OwnNet(nn.Module):
    """As people write it: a bias of two axes, a scale, and one weight for two things."""

    def __init__(self) -> None:
        self.W1, self.b1 = nn.Parameter(tg.ones(3, 2)), nn.Parameter(tg.ones(1, 2))
        self.gamma, self.out_bias = nn.Parameter(tg.ones(2)), nn.Parameter(tg.ones(1, 2))
        self.first = nn.Linear(2, 2)
        self.second = self.first


@pytest.mark.host
def test_the_choice_is_ones_own() -> None:
    model = OwnNet()
    assert list(optim.L2(0.1).chosen(model)) == ["W1", "first.weight"]
    for only, names in (
        ("W1", ["W1"]),
        (["first.*", "W?"], ["W1", "first.weight", "first.bias"]),
        (lambda name, p: p.ndim == 1, ["gamma", "first.bias"]),
    ):
        assert list(optim.L1(0.1, only=only).chosen(model)) == names
    group = {"params": [model.W1, model.gamma, model.gamma], "lr": 1.0}
    assert optim.L2(2.0)(group).item() == 8  # of W1 and once of gamma
    named = [("a", model.W1), ("b", model.gamma)]
    assert list(optim.L2(1.0, only="b").chosen(named)) == ["b"]
    assert optim.L2(2.0)(model.named_parameters()).item() == optim.L2(2.0, only="*")(model).item()
    both = optim.L2(2.0, only="W1") + optim.L1(1.0, only="gamma")
    assert both(model).item() == 8
    assert list(both.chosen(model)) == ["W1", "gamma"]
    assert (optim.L2(2.0) + optim.L1(1.0))(iter([model.W1])).item() == 12


@pytest.mark.host
def test_what_makes_no_sense_is_told() -> None:
    model, spent = OwnNet(), OwnNet().parameters()
    list(spent)
    for call, error, words in (
        (lambda: optim.L2(-1.0), ValueError, "strength is a number, 0 or more"),
        (lambda: optim.L1(math.nan), ValueError, "strength is a number, 0 or more; got nan"),
        (lambda: optim.L2("1"), ValueError, "is a number, 0 or more; got '1'"),
        (lambda: optim.L2(tg.ones(2)), ValueError, "one number"),
        (lambda: optim.L2(1.0, samples=0), ValueError, "samples counts"),
        (lambda: optim.ElasticNet(1.0), ValueError, "takes l2, or beta"),
        (lambda: optim.ElasticNet(1.0, 1.0, beta=1.0), ValueError, "takes l2, or beta"),
        (lambda: optim.MaxNorm(0.0), ValueError, "above 0"),
        (lambda: optim.MaxNorm(1.0, per="row"), ValueError, "'unit', 'layer' or the axis"),
        (lambda: optim.MaxNorm(1.0, per=2).project_(model), ValueError, "no such axis"),
        (lambda: optim.Proximal(optim.MaxNorm(1.0)), TypeError, "L1, L2 or ElasticNet"),
        (lambda: optim.L2(1.0)(spent), ValueError, "of no parameters none is"),
        (lambda: optim.L2(1.0)(nn.PReLU()), ValueError, "say which by `only`"),
        (lambda: optim.L2(1.0, only="W9")(model), ValueError, "called 'W9'; there are W1"),
        (lambda: optim.L2(1.0, only=lambda n, p: False)(model), ValueError, "is chosen"),
        (lambda: optim.L2(1.0)(model.W1), TypeError, "a list of tensors; got a Parameter"),
        (lambda: optim.L2(1.0)([1.0]), TypeError, "is of tensors"),  # type: ignore[list-item]
        (lambda: optim.L2(1.0)({"lr": 1.0}), TypeError, "a dict with"),
        (lambda: optim.Regularizer()(model), NotImplementedError, "has no term"),
        (lambda: optim.L2(1.0) + 1, TypeError, "unsupported operand"),  # type: ignore[operator]
    ):
        with pytest.raises(error, match=words):
            call()


def test_groups_decay_without_the_others() -> None:
    """As the term ½λ‖W‖² does, but that the loss does not show it."""
    ends = []
    for by_term in (False, True):
        model = net()
        groups: Any = model.parameters() if by_term else optim.decay_groups(model, 0.3)
        optimizer = optim.SGD(groups, lr=0.1, momentum=0.9)
        for _ in range(3):
            optimizer.zero_grad()
            loss = tg.cross_entropy(model(tg.tensor(X)), tg.tensor(LABELS))
            (loss + optim.L2(0.3)(model) if by_term else loss).backward()
            optimizer.step()
        ends.append([values(p) for p in model.parameters()])
    for one, other in zip(*ends, strict=True):
        assert_allclose(one, other, 1e-12, 1e-12)
    assert len(optim.decay_groups(nn.Linear(2, 2, bias=False), 0.1)) == 1


# ----- after the step ----------------------------------------------------------------------------


@given(
    kind=st.sampled_from(["l1", "l2", "elastic"]),
    a=STRENGTHS,
    b=STRENGTHS,
    rate=st.floats(0, 2),
    seed=st.integers(0, 99),
)
def test_the_proximal_step_comes_to_the_least(
    kind: str, a: float, b: float, rate: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    before = rng.normal(size=(2, 3))
    if kind != "elastic":
        a, b = (a, 0.0) if kind == "l1" else (0.0, b)
    penalty: Any = {"l1": optim.L1(a), "l2": optim.L2(b, half=False)}.get(
        kind, optim.ElasticNet(a, b)
    )
    w = tg.tensor(before, requires_grad=True)
    optim.Proximal(penalty).project_([w], lr=rate)

    def cost(v: Any) -> Any:
        return rate * (a * np.abs(v) + b * v**2) + (v - before) ** 2 / 2

    for other in (before, np.zeros((2, 3)), *(values(w) + d for d in (1e-3, -1e-3, 0.3, -0.3))):
        assert (cost(values(w)) <= cost(other) + 1e-9).all()


@pytest.mark.host
@pytest.mark.parametrize(
    "options", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"dampening": 0.5}]
)
def test_with_momentum_too_the_same_weights_are_at_rest(options: Any) -> None:
    """Of ½(w - a)² + λ|w| the least is at sign(a) max(|a| - λ, 0)."""
    a = np.array([[2.0, 0.3, -0.7, 0.0]])
    options = {"momentum": 0.5} | options if "dampening" in options else options
    w = tg.tensor(np.ones((1, 4)), requires_grad=True)
    optimizer, regularizer = optim.SGD([w], lr=0.05, **options), optim.Proximal(optim.L1(0.5))
    for _ in range(350):
        optimizer.zero_grad()
        (((w - tg.tensor(a)) ** 2).sum() / 2 + regularizer([w])).backward()
        optimizer.step()
        regularizer.project_([w], optimizer)
    assert_allclose(values(w), np.sign(a) * np.maximum(np.abs(a) - 0.5, 0), atol=1e-6)
    assert (values(w)[0, 1], values(w)[0, 3]) == (0, 0)


BOUNDED: list[tuple[Any, Any, Any]] = [
    (lambda: nn.Linear(5, 4), "unit", lambda w: w.reshape(4, 5)),
    (lambda: nn.Linear(5, 4), "layer", lambda w: w.reshape(1, 20)),
    (lambda: nn.Linear(5, 4), 1, lambda w: w.T),
    (lambda: nn.Linear(5, 4), -2, lambda w: w),
    (lambda: nn.Conv2d(4, 6, 3, groups=2), "unit", lambda w: w.reshape(6, 18)),
    (
        lambda: nn.ConvTranspose2d(4, 6, 3, groups=2),  # (in, out / groups, kh, kw)
        "unit",
        lambda w: np.stack([w[2 * g : 2 * g + 2, k].ravel() for g in (0, 1) for k in range(3)]),
    ),
    (lambda: nn.LocallyConnected2d(2, 3, (4, 4), 3), "unit", lambda w: w.reshape(12, 18)),
    (lambda: nn.Embedding(3, 4), "unit", lambda w: w),
]


@pytest.mark.parametrize(("make", "per", "rows"), BOUNDED)
def test_max_norm_shortens_what_is_too_long_and_nothing_else(
    make: Any, per: Any, rows: Any
) -> None:
    layer = make().double()
    layer.weight.data.copy_(tg.tensor(RNG.normal(size=tuple(layer.weight.shape))))
    before = rows(values(layer.weight))
    squares = (before**2).sum(axis=1)
    c = squares.mean() if len(squares) > 1 else squares[0] / 3
    optim.MaxNorm(c, per).project_(layer)
    after = rows(values(layer.weight))
    long = squares > c
    assert long.any()
    assert_allclose((after**2).sum(axis=1)[long], c, 1e-12)
    assert_allclose(after[long], before[long] * np.sqrt(c / squares[long])[:, None], 1e-12)
    assert_array_equal(after[~long], before[~long])


def test_max_norm_leaves_the_frozen_and_stands_extremes() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    for layer in model:
        nn.init.constant_(layer.weight, 1e30)  # whose squares overflow
    model[0].requires_grad_(False)
    optim.MaxNorm(4.0).project_(model)
    assert_array_equal(values(model[0].weight), np.full((2, 2), 1e30, "float32"))
    assert_allclose(values(model[1].weight), np.full((2, 2), 2**0.5), 1e-6)
    zero = tg.zeros(2, 3, requires_grad=True)
    optim.MaxNorm(1.0).project_([zero])
    assert not values(zero).any()
    assert optim.MaxNorm(1.0)(model).item() == 0
    other = nn.Linear(2, 2)
    nn.init.ones_(other.weight)
    optim.MaxNorm(1.0).project_(other, optim.SGD(model.parameters(), lr=1.0))
    assert_array_equal(values(other.weight), np.ones((2, 2)))  # which that optimizer has not


# ----- in a Trainer ------------------------------------------------------------------------------


def fitter(model: nn.Module, lr: float = 0.1, **options: Any) -> train.Trainer:
    return train.Trainer(model, optim.SGD(model.parameters(), lr, momentum=0.5), **options)


def loader(batch_size: int = 4) -> DataLoader:
    return DataLoader(TensorDataset(X, LABELS), batch_size)


def test_the_cost_has_the_term_wherever_it_is_measured() -> None:
    model = net(norm=False)
    term = 0.5 * 0.7 * sum((w**2).sum() for w in weights_of(model))
    loss = tg.cross_entropy(model(tg.tensor(X)), tg.tensor(LABELS)).item()
    trainer = fitter(model, lr=0.0, regularizer=optim.L2(0.7))
    [record] = trainer.fit(loader(5), loader(5))
    measured = trainer.evaluate(loader(), return_dict=True)
    for found in (record["loss"], record["val_loss"], measured["loss"]):
        assert found == pytest.approx(loss + term)
    for found in (record["train_penalty"], record["val_penalty"], measured["penalty"]):
        assert found == pytest.approx(term)
    assert [*fitter(model).fit(loader(), loader())[0]] == [
        *("loss", "train_accuracy", "lr", "val_loss", "val_accuracy")
    ]


@pytest.mark.host
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("amp", [False, True])
def test_the_term_is_part_of_every_kind_of_step(accumulate: int, compile: bool, amp: bool) -> None:
    """As in the loop that one writes; batches of 5, 5 and 2 samples."""
    regularizer = optim.L2(0.3) + optim.Proximal(optim.L1(0.01)) + optim.MaxNorm(0.9)
    one, other = net(), net()
    options: Any = {"accumulate": accumulate, "compile": compile, "amp": amp}
    trainer = fitter(one, regularizer=regularizer, **options)
    history = trainer.fit(loader(5), epochs=2)
    optimizer, costs = optim.SGD(other.parameters(), 0.1, momentum=0.5), []
    for _ in range(2):
        cost = 0.0
        for parts in ([[0, 5], [5, 10], [10, 12]], [[0, 5, 10], [10, 12]])[accumulate - 1]:
            optimizer.zero_grad()
            samples = parts[-1] - parts[0]
            for a, b in pairwise(parts):
                x, y = tg.tensor(X[a:b]), tg.tensor(LABELS[a:b])
                loss = tg.cross_entropy(other(x), y) + regularizer(other)
                (loss * ((b - a) / samples)).backward()
                cost += loss.item() * (b - a)
            optimizer.step()
            regularizer.project_(other, optimizer)
        costs.append(cost / 12)
    assert [record["loss"] for record in history] == pytest.approx(costs, rel=1e-9)
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        assert_allclose(values(p), values(q), 1e-9, 1e-12)
    assert all(((w**2).sum(axis=1) <= 0.9 * (1 + 1e-12)).all() for w in weights_of(one))


@pytest.mark.host
@pytest.mark.parametrize("strength", [0.8, tg.tensor(0.8)])
@pytest.mark.parametrize(
    "around", [lambda term: term, lambda term: optim.MaxNorm(9.0) + term, optim.Proximal]
)
def test_a_strength_may_change_between_steps(strength: Any, around: Any) -> None:
    """The penalty is that of the strength as it is, in steps that are replayed too."""
    penalties = []
    for compile in (False, True):
        term = optim.L1(strength)

        def halve(trainer: train.Trainer, term: Any = term) -> None:
            term.strength = term.strength * 0.5

        trainer = fitter(net(), lr=0.0, regularizer=around(term), compile=compile)
        history = trainer.fit(loader(), epochs=3, callbacks=[halve])
        penalties.append([record["train_penalty"] for record in history])
    first = penalties[0][0]
    assert penalties == [pytest.approx([first, first / 2, first / 4])] * 2


@pytest.mark.host
def test_a_step_that_is_left_out_projects_nothing() -> None:
    model = net().float()
    before = weights_of(model)
    scaler = tg.amp.GradScaler(init_scale=2.0**127)
    samples = TensorDataset(1e5 * X.astype("float32"), LABELS)  # whose gradients overflow so
    trainer = fitter(model, amp=scaler, regularizer=optim.MaxNorm(1e-3))
    trainer.fit(DataLoader(samples, 12))
    assert trainer.step == 0
    for one, other in zip(weights_of(model), before, strict=True):
        assert_array_equal(one, other)


@pytest.mark.host
def test_a_function_of_the_model_is_a_regularizer_too() -> None:
    model = net()
    trainer = fitter(model, lr=0.0, regularizer=lambda model: (model[0].weight ** 4).sum())
    [record] = trainer.fit(loader())
    assert record["train_penalty"] == pytest.approx((weights_of(model)[0] ** 4).sum())
    with pytest.raises(TypeError, match=r"a function of the model, such as optim\.L2"):
        fitter(model, regularizer=0.1)
    with pytest.raises(ValueError, match="'penalty' is in the record"):
        fitter(model, metrics={"penalty": lambda scores, labels: 0.0})


@pytest.mark.host
def test_a_run_goes_on_with_the_same_regularizer_only(tmp_path: Path) -> None:
    def fit(strength: float | None, epochs: int) -> list[dict[str, float]]:
        regularizer = None if strength is None else optim.Proximal(optim.L1(strength))
        callbacks = [train.Checkpoint(tmp_path)]
        trainer = fitter(net(), regularizer=regularizer)
        return trainer.fit(loader(), epochs=epochs, callbacks=callbacks, resume=tmp_path)

    fit(0.1, 1)
    for wrong in (None, 0.2):
        with pytest.raises(ValueError, match=r"regularizer = 'Proximal\(L1\(strength=0\.1\)\)'"):
            fit(wrong, 2)
    assert len(fit(0.1, 2)) == 2


@pytest.mark.host
def test_a_regularizer_says_what_it_is() -> None:
    both = optim.ElasticNet(0.1, 0.2, only="fc.*") + optim.MaxNorm(2.0, per="layer")
    assert repr(both) == "ElasticNet(l1=0.1, l2=0.2, only='fc.*') + MaxNorm(c=2.0, per='layer')"
    assert repr(optim.L2(0.5, samples=9)) == "L2(strength=0.5, half=True, samples=9)"
