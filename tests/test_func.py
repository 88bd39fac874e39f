"""Functions of functions, held against closed forms, loops and one another."""

from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import tinygrad_cv as tg
from tinygrad_cv import nn
from tinygrad_cv.func import (
    functional_call,
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    stack_module_state,
    vjp,
    vmap,
)
from tinygrad_cv.testing import check_gradients
from tinygrad_cv.testing.strategies import Expression, expressions

Pair = namedtuple("Pair", "first second")


def double(*values: Any) -> Any:
    return tg.tensor(list(values), dtype="float64")


@given(expressions())
def test_gradients_agree_with_the_engine(example: tuple[Expression, tuple[Any, ...]]) -> None:
    expression, arrays = example
    leaves = [tg.Tensor(array, requires_grad=True) for array in arrays]
    expected = [g.numpy() for g in tg.grad(expression(*leaves), leaves)]
    places = tuple(range(len(arrays)))
    found, value = grad_and_value(expression, places)(*[x.detach() for x in leaves])
    assert not value.requires_grad
    for g, other in zip(found, expected, strict=True):
        assert_allclose(g.numpy(), other, rtol=1e-12)
    _, pull = vjp(expression, *leaves)
    directions = tuple(tg.randn(2, *x.shape, dtype="float64") for x in leaves)
    for k in (0, 1):
        along = tuple(v[k] for v in directions)
        slope = sum((g * v.numpy()).sum() for g, v in zip(expected, along, strict=True))
        scale = sum(np.abs(g * v.numpy()).sum() for g, v in zip(expected, along, strict=True))
        moved = jvp(expression, tuple(leaves), along)[1].item()
        assert_allclose(moved, slope, rtol=1e-9, atol=1e-9 * scale)
    pulled = pull(tg.tensor(1.0, dtype="float64", device=leaves[0].device))
    assert_allclose(pulled[0].detach().numpy(), expected[0], rtol=1e-12)


def test_they_nest() -> None:
    x = tg.tensor(2.0, dtype="float64")
    f: Any = lambda x: x**5  # noqa: E731
    for expected in (80.0, 160.0, 240.0, 240.0, 120.0):
        f = grad(f)
        assert f(x).item() == expected
    assert grad(grad(lambda x, y: x**2 * y**3), 1)(x, x).item() == 2 * 2 * 3 * 4
    inner = lambda a: grad(lambda b: a * b**2)(a)  # noqa: E731  2 a², its slope 4 a
    assert grad(inner)(x).item() == 8
    cubes = double(1.0, 2.0)
    assert jacrev(jacrev(lambda x: x**3))(cubes).tolist() == [[[6, 0], [0, 0]], [[0, 0], [0, 12]]]
    assert vmap(hessian(lambda x: (x**3).sum()))(double([1.0], [2.0])).tolist() == [[[6]], [[12]]]
    check_gradients(lambda x: grad(lambda x: (x.sin() * x).sum())(x), [tg.rand(3)])
    check_gradients(lambda x: jacfwd(lambda x: x.exp() * x)(x), [tg.rand(2)], order=1)
    check_gradients(lambda x, v: jvp(lambda x: x.exp() * x, (x,), (v,))[1], [tg.rand(2)] * 2)


def test_what_is_recorded() -> None:
    """A result stands in the graph of what it depends on outside, and of nothing else."""
    x, w = double(1.0, 2.0), double(3.0, 4.0).requires_grad_()
    square = lambda x: (x * x).sum()  # noqa: E731
    weighted = lambda x: (x * x * w).sum()  # noqa: E731
    assert not grad(square)(x).requires_grad
    g, value = grad_and_value(weighted)(x)
    assert g.requires_grad
    assert value.requires_grad
    assert tg.grad(g.sum(), w)[0].tolist() == [2, 4]
    leaf = x.clone().requires_grad_()
    assert tg.grad(grad(weighted)(leaf).sum(), [leaf, w])[0].tolist() == [6, 8]
    assert leaf.grad is None
    found, aux = grad(lambda x: (weighted(x), (x * 2, "x")), has_aux=True)(x)
    assert found.requires_grad
    assert not aux[0].requires_grad  # w is not in it
    assert aux[1] == "x"
    with tg.no_grad():
        assert not grad(weighted)(leaf).requires_grad
        assert grad(weighted)(leaf).tolist() == [6, 16]
    assert not jacrev(lambda x: x)(x).requires_grad
    _, pull = vjp(lambda x: x * x, x)
    v = tg.ones(2, dtype="float64", requires_grad=True)
    assert tg.grad(pull(v)[0].sum(), v)[0].tolist() == [2, 4]
    _, push = linearize(lambda x: x * x, x)
    assert tg.grad(push(v).sum(), v)[0].tolist() == [2, 4]


def test_trees_of_arguments_and_results() -> None:
    a, b = double(1.0, 2.0), double(3.0, 4.0)
    tree = {"a": a, "rest": [b, (a,)], "pair": Pair(a, b)}

    def f(tree: Any) -> Any:
        return (tree["a"] * tree["rest"][0] * tree["pair"].second + tree["rest"][1][0]).sum()

    found = grad(f)(tree)
    assert found.keys() == tree.keys()
    assert [found["a"].tolist(), found["rest"][0].tolist()] == [[9, 16], [3, 8]]
    assert found["rest"][1][0].tolist() == [1, 1]
    assert isinstance(found["pair"], Pair)
    assert found["pair"].first.tolist() == [0, 0]
    rows = jacrev(lambda x, y: OrderedDict(p=x * y, q=(x.sum(),)), argnums=(0, 1))(a, b)
    assert list(rows) == ["p", "q"]
    assert [block.tolist() for block in rows["p"]] == [[[3, 0], [0, 4]], [[1, 0], [0, 2]]]
    assert [block.tolist() for block in rows["q"][0]] == [[1, 1], [0, 0]]
    columns = jacfwd(lambda x, y: OrderedDict(p=x * y, q=(x.sum(),)), argnums=(0, 1))(a, b)
    assert [block.tolist() for block in columns["p"]] == [[[3, 0], [0, 4]], [[1, 0], [0, 2]]]
    value, pull = vjp(lambda x, y: {"p": x * y, "q": x}, a, b)
    assert [g.tolist() for g in pull({"p": b, "q": a})] == [[10, 18], [3, 8]]
    value, moved, aux = jvp(lambda x: ((x * x, x), x), (a,), (b,), has_aux=True)
    assert [t.tolist() for t in (*value, *moved, aux)] == [[1, 4], [1, 2], [6, 16], [3, 4], [1, 2]]


@pytest.mark.parametrize("transform", [jacrev, jacfwd])
def test_a_jacobian_is_measured(transform: Any) -> None:
    matrix = tg.randn(4, 3, dtype="float64")
    f = lambda x: (matrix @ x).tanh().reshape(2, 2)  # noqa: E731
    x, h = tg.randn(3, dtype="float64"), 1e-6
    found = transform(f)(x)
    assert found.shape == (2, 2, 3)
    for i in range(3):
        e = tg.eye(3, dtype="float64")[i] * h
        assert_allclose(found[..., i].numpy(), ((f(x + e) - f(x - e)) / (2 * h)).numpy(), atol=1e-8)
    assert transform(lambda x: tg.ones(2, dtype="float64"))(x).tolist() == [[0] * 3] * 2
    assert transform(lambda x: x[:0])(x).shape == (0, 3)


def test_wrong_use_of_gradients_is_told() -> None:
    x = double(1.0, 2.0)
    for call, error, message in [
        (lambda: grad(lambda x: x)(x), ValueError, r"must return one number.*\(2,\)"),
        (lambda: grad(lambda x: 3.0)(x), ValueError, "must return one number.*float"),
        (lambda: grad(lambda x: x.sum())(3.0), TypeError, "float tensors.*got a float"),
        (lambda: grad(lambda x: x.sum())(tg.ones(2).long()), TypeError, "a tensor of int64"),
        (lambda: grad(lambda x: x.sum(), argnums=1)(x), IndexError, "argnums has 1"),
        (lambda: grad(lambda x: x.sum(), argnums=(0, -1))(x), ValueError, "twice"),
        (lambda: grad(lambda x: x.sum(), has_aux=True)(x), TypeError, "pair"),
        (lambda: jvp(lambda x: x, x, x), TypeError, r"primals is a tuple.*\(primals,\)"),
        (lambda: jvp(lambda x: x, (x,), (x[:1],)), ValueError, r"tangents has the shape \(1,\)"),
        (lambda: vjp(lambda x: x, x)[1]((x, x)), ValueError, "structure|shape"),
        (lambda: jacrev(lambda x: "x")(x), TypeError, "returns tensors.*str"),
    ]:
        with pytest.raises(error, match=message):
            call()


# ----- vmap --------------------------------------------------------------------------------------


@given(st.data(), st.integers(1, 3), st.integers(1, 3))
def test_vmap_is_a_loop(data: Any, count: int, rank: int) -> None:
    shape = tuple(data.draw(st.lists(st.integers(0, 3), min_size=rank - 1, max_size=rank - 1)))
    place = st.integers(-rank, rank - 1)
    one, other, out = data.draw(place), data.draw(st.none() | place), data.draw(place)
    rng = np.random.default_rng(0)

    def batch(dim: int | None) -> Any:
        values = rng.standard_normal(shape if dim is None else (count, *shape))
        return values if dim is None else np.moveaxis(values, 0, dim)

    a, b = batch(one), batch(other)
    f = lambda a, b: a * b + a.sum()  # noqa: E731
    found = vmap(f, in_dims=(one, other), out_dims=out)(tg.Tensor(a), tg.Tensor(b))
    rows = [
        f(np.take(a, i, one), b if other is None else np.take(b, i, other)) for i in range(count)
    ]
    assert_allclose(found.numpy(), np.stack(rows, out), rtol=1e-12)


def test_vmap_of_trees() -> None:
    x, y = double([1.0, 2.0], [3.0, 4.0]), double(10.0, 20.0)
    f = vmap(
        lambda tree, n, offset=0: {"p": tree["x"] * n + offset, "q": (tree["y"],)},
        in_dims=({"x": 0, "y": None}, None),
        out_dims={"p": 1, "q": (None,)},
    )
    found = f({"x": x, "y": y}, 2, offset=y)
    assert found["p"].tolist() == [[12, 16], [24, 28]]
    assert found["q"][0].tolist() == [10, 20]
    assert vmap(lambda a, b: a @ b, in_dims=(0, None))(x, y).tolist() == [50, 110]
    leaf = x.requires_grad_()
    vmap(lambda a: (a * a).sum())(leaf).sum().backward()
    assert leaf.grad.tolist() == [[2, 4], [6, 8]]
    assert tg.vmap is vmap


def test_random_numbers_in_vmap() -> None:
    x = tg.zeros(3)
    draw = lambda x: x + tg.rand(2)  # noqa: E731
    with pytest.raises(RuntimeError, match="drew random numbers"):
        vmap(draw)(x)
    tg.manual_seed(0)
    same = vmap(draw, randomness="same")(x)
    assert (same == same[0]).all()
    assert not (vmap(draw, randomness="different")(x) == same[0]).any()
    tg.manual_seed(0)
    assert same[0].tolist() == tg.rand(2).tolist()
    with pytest.raises(ValueError, match="randomness is"):
        vmap(draw, randomness="none")


def test_the_same_random_numbers_are_as_many() -> None:
    with pytest.raises(RuntimeError, match="randomness='same' it must draw as many"):
        vmap(lambda x: tg.rand(()) if x > 0.5 else x, randomness="same")(tg.tensor([0.0, 1.0]))


def test_wrong_use_of_vmap_is_told() -> None:
    x = tg.ones(2, 3)
    for call, message in [
        (lambda: vmap(lambda a, b: a)(x, x.T), "lengths .2, 3."),
        (lambda: vmap(lambda a: a, in_dims=None)(x), "one length; got none"),
        (lambda: vmap(lambda a: a)(3), "in_dims has 0 for a int"),
        (lambda: vmap(lambda a: a, in_dims=2)(x), r"in_dims has 2 for a tensor of shape \(2, 3\)"),
        (lambda: vmap(lambda a, b: a, in_dims=(0,))(x, x), "in_dims .* structure"),
        (lambda: vmap(lambda a: (a, a), out_dims=(0, 0, 0))(x), "out_dims .* structure"),
        (lambda: vmap(lambda a: 3)(x), "returns tensors; got a int"),
        (lambda: vmap(lambda a: a)(x[:0]), "length 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


# ----- modules -----------------------------------------------------------------------------------


def test_functional_call_gives_everything_back() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
    before = dict(model.state_dict(keep_vars=True))
    state = {name: tg.ones(x.shape) for name, x in model.named_parameters()}
    x = tg.tensor([[1.0, 2.0], [3.0, 5.0]])
    model.eval()
    once = functional_call(model, state, x)
    assert tg.allclose(once, tg.tensor([[11.0], [21.0]]), rtol=1e-4)
    assert tg.allclose(functional_call(model, [state, {"2.bias": tg.zeros(1)}][:1], (x,)), once)
    after = model.state_dict(keep_vars=True)
    assert all(after[name] is before[name] for name in before)
    gradients = grad(lambda p: functional_call(model, p, (x,)).sum())(state)
    assert gradients["2.bias"].tolist() == [2]
    for dicts, options, message in [
        ({"3.weight": x}, {}, "has no 3.weight"),
        ([state, state], {}, "in two dicts"),
        ({"2.bias": tg.zeros(1)}, {"strict": True}, "missing .*0.bias"),
    ]:
        with pytest.raises(ValueError, match=message):
            functional_call(model, dicts, x, **options)
    with pytest.raises(ValueError, match=r"matmul|linear"):
        functional_call(model, state, tg.ones(2, 7))
    assert model[0].weight is before["0.weight"]


def test_functional_call_and_shared_weights() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    model[1].weight = model[0].weight
    x, two = tg.ones(1, 1), tg.full((1, 1), 2.0)
    assert functional_call(model, {"0.weight": two}, x).item() == 4
    own = model[0].weight.item()
    untied = functional_call(model, {"0.weight": two}, x, tie_weights=False)
    assert untied.item() == pytest.approx(2 * own)
    with pytest.raises(ValueError, match="one tensor with another"):
        functional_call(model, {"0.weight": two, "1.weight": x}, x)


def test_an_ensemble_and_gradients_of_each_sample() -> None:
    models = [nn.Linear(3, 2) for _ in range(4)]
    params, buffers = stack_module_state(models)
    assert params["weight"].shape == (4, 2, 3)
    assert params["weight"].is_leaf
    assert params["weight"].requires_grad
    x = tg.randn(5, 3)
    call = lambda p, b, x: functional_call(models[0], (p, b), (x,))  # noqa: E731
    found = vmap(call, in_dims=(0, 0, None))(params, buffers, x)
    for row, model in zip(found, models, strict=True):
        assert tg.allclose(row, model(x))
    weights = {name: p.detach() for name, p in models[0].named_parameters()}
    loss = lambda p, x: (functional_call(models[0], p, (x,)) ** 2).sum()  # noqa: E731
    each = vmap(grad(loss), in_dims=(None, 0))(weights, x)
    for g, sample in zip(each["weight"], x, strict=True):
        models[0].zero_grad()
        (models[0](sample) ** 2).sum().backward()
        assert tg.allclose(g, models[0].weight.grad)
    with pytest.raises(ValueError, match="models of one class"):
        stack_module_state([nn.Linear(1, 1), nn.ReLU()])
