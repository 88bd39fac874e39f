"""Small programs of `autograd`, `func` and `distributions`, run here and with PyTorch.

A program takes the package and returns a tree of tensors and other values, which must be equal, in
structure, shape, values, and in whether a gradient is required.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import tinygrad_cv as tg

pytestmark = [
    pytest.mark.host,
    # PyTorch warns of itself where its forward mode is used.
    pytest.mark.filterwarnings(r"ignore:`torch.jit.script` is deprecated"),
    pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node:UserWarning"),
]

Program = Callable[[Any], Any]


def vector(T: Any, *values: Any) -> Any:
    return T.tensor(list(values), dtype=T.float64)


def x(T: Any) -> Any:
    return vector(T, 1.0, 2.0, 3.0)


def y(T: Any) -> Any:
    return vector(T, [1.0, 0.0, 2.0], [3.0, 1.0, 1.0])


def wave(t: Any) -> Any:
    return (t.sin() * t).sum()


# ----- func --------------------------------------------------------------------------------------


def recorded(T: Any) -> Any:
    leaf, w = x(T).requires_grad_(), vector(T, 2.0)[0].requires_grad_()
    g = T.func.grad(lambda t: (t * t * w).sum())(leaf)
    g.sum().backward()
    return g, leaf.grad, w.grad


def stacked(T: Any) -> Any:
    models = [T.nn.Linear(3, 2) for _ in range(3)]
    params, buffers = T.func.stack_module_state(models)
    call = lambda p, t: T.func.functional_call(models[0], p, (t,))  # noqa: E731
    out = T.func.vmap(call, in_dims=(0, None))(params, T.ones(5, 3))
    return (
        {k: (tuple(v.shape), v.requires_grad, v.is_leaf) for k, v in params.items()},
        buffers,
        (tuple(out.shape)),
    )


def per_sample(T: Any) -> Any:
    model = T.nn.Sequential(T.nn.Linear(3, 2), T.nn.Tanh(), T.nn.Linear(2, 1))
    state = {
        k: T.linspace(0, 1, v.numel()).reshape(v.shape).double()
        for k, v in model.state_dict().items()
    }

    def loss(p: Any, t: Any) -> Any:
        return T.func.functional_call(model, p, (t[None],)).square().mean()

    return T.func.vmap(T.func.grad(loss), in_dims=(None, 0))(state, y(T))


FUNC: dict[str, Program] = {
    "grad": lambda T: T.func.grad(wave)(x(T)),
    "grad of grad": lambda T: T.func.grad(lambda t: T.func.grad(wave)(t).prod())(x(T)),
    "argnums": lambda T: T.func.grad(lambda a, b: (a @ b.T).sum() * a[0], (0, 1))(x(T), y(T)),
    "last": lambda T: T.func.grad(lambda a, b: (a @ b.T).sum() * a[0], -1)(x(T), y(T)),
    "trees": lambda T: T.func.grad(lambda d, k: (d["a"] * d["b"][0]).sum() * k)(
        {"a": x(T), "b": (x(T) * 2,)}, 3.0
    ),
    "aux": lambda T: T.func.grad_and_value(lambda t: ((t * t).sum(), t * 2), has_aux=True)(x(T)),
    "value": lambda T: T.func.grad_and_value(wave)(x(T)),
    "recorded": recorded,
    "constant": lambda T: T.func.grad(lambda t: t.detach().sum() * t[0])(x(T)),
    "jacrev": lambda T: T.func.jacrev(lambda a, b: {"o": a * b, "p": (a.sum(),)}, (0, 1))(
        x(T), x(T) + 1
    ),
    "jacfwd": lambda T: T.func.jacfwd(lambda a, b: {"o": a * b, "p": (a.sum(),)}, (0, 1))(
        x(T), x(T) + 1
    ),
    "unconnected": lambda T: T.func.jacrev(lambda t: T.ones(2, dtype=T.float64))(x(T)),
    "hessian": lambda T: T.func.hessian(lambda a, b: (a * a * b).sum(), (0, 1))(x(T), x(T)),
    "third": lambda T: T.func.jacrev(T.func.jacrev(lambda t: t**3))(x(T)),
    "vjp": lambda T: T.func.vjp(lambda a, b: (a * b, a), x(T), x(T))[1]((x(T), x(T))),
    "jvp": lambda T: T.func.jvp(lambda a, b: a * b, (x(T), x(T)), (x(T), x(T) * 0)),
    "linearize": lambda T: T.func.linearize(lambda a: (a * a, a), x(T))[1](x(T)),
    "vmap": lambda T: T.vmap(lambda a, b: (a + b, a.sum()), in_dims=(0, 1), out_dims=(1, 0))(
        y(T), y(T).T
    ),
    "vmap of grad": lambda T: T.vmap(T.func.grad(wave))(y(T)),
    "vmap of trees": lambda T: T.vmap(
        lambda d, s: d["k"] * d["z"][0] * s, in_dims=({"k": 0, "z": (None,)}, None)
    )({"k": y(T), "z": (x(T),)}, 2),
    "vmap by name": lambda T: T.vmap(lambda a, c=None: a + c)(y(T), c=y(T)),
    "stacked": stacked,
    "per sample": per_sample,
}


# ----- Function ----------------------------------------------------------------------------------


def kinds(T: Any) -> Any:
    class Parts(T.autograd.Function):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(ctx: Any, a: Any, b: Any, s: int) -> Any:
            seen.append(ctx.needs_input_grad)
            total, mask = a + b, a > b
            ctx.save_for_backward(a, b)
            ctx.mark_non_differentiable(total)
            ctx.s = s
            return a * b * s, total, mask, a - b, "text"

        @staticmethod
        def backward(ctx: Any, *gs: Any) -> Any:
            a, b = ctx.saved_tensors
            seen.append(gs)
            return gs[0] * b * ctx.s + gs[3], gs[0] * a * ctx.s - gs[3], None

    seen: list[Any] = []
    a, b = x(T).requires_grad_(), x(T) + 1
    outputs = Parts.apply(a, b, 2)
    (g,) = T.autograd.grad((outputs[0] ** 2).sum(), a, create_graph=True)
    (h,) = T.autograd.grad(g.sum(), a)
    return outputs, g, h, seen


def dirty(T: Any) -> Any:
    class Doubled(T.autograd.Function):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(ctx: Any, a: Any) -> Any:
            a.mul_(2)
            ctx.mark_dirty(a)
            return a

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2

    leaf = x(T).requires_grad_()
    a = leaf * 1
    part = a[:1]
    same = Doubled.apply(a) is a
    (a * a).sum().backward()
    return same, a, part, leaf.grad


def given(T: Any) -> Any:
    """Which gradients are taken, and what becomes of them."""

    class Given(T.autograd.Function):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(ctx: Any, a: Any, gradient: Any) -> Any:
            ctx.gradient = gradient
            return a * 1

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return ctx.gradient()

    found: list[Any] = []
    for make in [
        lambda: (T.ones(2), None),
        lambda: (T.ones(3, 2), None),
        lambda: (T.ones(2, dtype=T.int64), None, None),
        lambda: (T.ones(2),),
        lambda: (T.ones(3), None),
        lambda: (T.ones(1), None),
        lambda: (2.0, None),
        lambda: (None, None),
        lambda: (T.ones(2), T.ones(2)),
    ]:
        a = T.ones(2, requires_grad=True)
        try:
            Given.apply(a, make).sum().backward()
        except (RuntimeError, TypeError):
            found.append("refused")
        else:
            found.append(a.grad)
    return found


FUNCTIONS: dict[str, Program] = {"kinds": kinds, "dirty": dirty, "given": given}


# ----- distributions -----------------------------------------------------------------------------

LAWS: dict[str, Callable[..., Any]] = {
    "Normal": lambda T, x, y: T.distributions.Normal(x, x),
    "Normal of numbers": lambda T, x, y: T.distributions.Normal(0, 2),
    "Uniform": lambda T, x, y: T.distributions.Uniform(x, 5.0),
    "Exponential": lambda T, x, y: T.distributions.Exponential(x),
    "Laplace": lambda T, x, y: T.distributions.Laplace(x, x),
    "Gamma": lambda T, x, y: T.distributions.Gamma(x, x),
    "Beta": lambda T, x, y: T.distributions.Beta(x + 1, x),
    "Dirichlet": lambda T, x, y: T.distributions.Dirichlet(y + 0.5),
    "Bernoulli": lambda T, x, y: T.distributions.Bernoulli(x / 4),
    "Bernoulli by logits": lambda T, x, y: T.distributions.Bernoulli(logits=x - 2.5),
    "Categorical": lambda T, x, y: T.distributions.Categorical(y),
    "Categorical by logits": lambda T, x, y: T.distributions.Categorical(logits=y),
    "OneHotCategorical": lambda T, x, y: T.distributions.OneHotCategorical(y),
    "MultivariateNormal": lambda T, x, y: T.distributions.MultivariateNormal(
        y, T.diag(x) + T.ones(3, 3, dtype=T.float64)
    ),
    "Independent": lambda T, x, y: T.distributions.Independent(T.distributions.Normal(y, 1.0), 1),
}


def told(law: Any) -> Any:
    """All that a law says without drawing."""
    found: list[Any] = [law.batch_shape, law.event_shape, law.has_rsample]
    found += [law.mean, law.variance, law.stddev, law.mode, law.entropy()]
    larger = law.expand((2, *law.batch_shape))
    found += [larger.batch_shape, larger.mean, law.sample((4,)).shape, law.sample().dtype]
    if law.has_enumerate_support:
        values = law.enumerate_support()
        found += [values, law.enumerate_support(expand=False), law.log_prob(values)]
        found += [law.probs, law.logits, law.param_shape]
    else:
        found += [law.log_prob(law.mean)]
    return found


# ----- how they are compared ---------------------------------------------------------------------


def same(found: Any, expected: Any) -> None:
    if isinstance(expected, torch.Tensor):
        assert tuple(found.shape) == tuple(expected.shape)
        assert found.dtype == str(expected.dtype).removeprefix("torch.")
        assert found.requires_grad == expected.requires_grad
        ours, theirs = found.detach().numpy(), expected.detach().numpy()
        assert_allclose(ours, theirs, rtol=2e-6, atol=1e-9, equal_nan=True)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            same(found[key], value)
    elif isinstance(expected, tuple | list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    elif isinstance(expected, torch.dtype):
        assert found == str(expected).removeprefix("torch.")
    else:
        assert found == expected


@pytest.mark.parametrize("program", [*FUNC.values(), *FUNCTIONS.values()], ids=[*FUNC, *FUNCTIONS])
def test_a_program_gives_the_same(program: Program) -> None:
    same(program(tg), program(torch))


def made(name: str, T: Any, factor: float = 1.0) -> Any:
    importlib.import_module("tinygrad_cv.distributions")
    return LAWS[name](T, x(T) * factor, y(T) * factor + 0.25 * (factor != 1))


@pytest.mark.parametrize("name", LAWS)
def test_a_law_says_the_same(name: str) -> None:
    same(told(made(name, tg)), told(made(name, torch)))


@pytest.mark.parametrize("name", LAWS)
def test_divergences_are_the_same(name: str) -> None:
    ours, theirs = (T.distributions.kl_divergence for T in (tg, torch))
    for factor in (0.75, 1.25):
        same(
            ours(made(name, tg), made(name, tg, factor)),
            theirs(made(name, torch), made(name, torch, factor)),
        )


def test_the_scale_of_a_scaler_moves_alike() -> None:
    """PyTorch's own on the CPU, with gradients that overflow now and then."""
    scales = []
    for T in (tg, torch):
        w = T.ones(1, requires_grad=True)
        optimizer = T.optim.SGD([w], lr=0.5)
        scaler = T.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
        found = []
        for factor in (0.25, np.inf, 0.25, 0.25, 0.25, np.nan, 0.5):
            optimizer.zero_grad()
            scaler.scale((w * factor).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
            found += [scaler.get_scale(), w.item()]
        scales.append((found, scaler.state_dict()))
    assert scales[0] == scales[1]
