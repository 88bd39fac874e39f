"""`recompute` beside the same call without it: to the last bit, in every order."""

import gc
import re
import sys
import threading
import tracemalloc
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_cv as tg
from programs import Array, leaf, normal, values
from tinygrad_cv import nn, optim, recompute
from tinygrad_cv._graph import Node, Observer, observer
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend.base import drawing
from tinygrad_cv.testing.strategies import expressions
from tinygrad_cv.transforms import hessian, hvp, jvp, vjp

# ----- the same numbers --------------------------------------------------------------------------


def numbers(
    function: Callable[..., Tensor],
    *starts: Array,
    order: int,
    use: Callable[..., Any],
    bare: bool = False,
) -> list[Array]:
    """Value and gradients up to an order, of a function of leaves or of what they make."""
    leaves = [leaf(x) for x in starts]
    rng = np.random.default_rng(0)
    y = use(function, *(x if bare else x * 1 for x in leaves))
    found = [values(y)]
    for k in range(order):
        parts = tg.grad(y, leaves, create_graph=k + 1 < order, allow_unused=True)
        here = [
            np.zeros(x.shape) if g is None else values(g)
            for g, x in zip(parts, starts, strict=True)
        ]
        found += here
        weighted = [
            (g * Tensor(rng.standard_normal(g.shape))).sum()
            for g in parts
            if g is not None and g.requires_grad
        ]
        if not weighted:
            break
        y = sum(weighted[1:], start=weighted[0])
    return found


def plain(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


def agree(
    function: Callable[..., Tensor],
    *starts: Array,
    order: int = 3,
    use: Callable[..., Any] = recompute,
    bare: bool = False,
) -> None:
    """Computed once and twice: the same value to the bit, and the same gradients."""
    expected = numbers(function, *starts, order=order, use=plain, bare=bare)
    found = numbers(function, *starts, order=order, use=use, bare=bare)
    assert_array_equal(found[0], expected[0])
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@given(expressions(), st.booleans())
def test_it_changes_no_number(drawn: Any, bare: bool) -> None:
    expression, inputs = drawn
    agree(expression, *inputs, bare=bare)


@given(
    expressions(max_steps=3), expressions(max_steps=3, max_leaves=1), st.booleans(), st.booleans()
)
def test_neither_does_one_in_another(first: Any, second: Any, shared: bool, bare: bool) -> None:
    (outer, inputs), (inside, _) = first, second

    def nested(*xs: Tensor) -> Tensor:
        h = recompute(outer, *xs)
        g = (xs[0] * h).tanh()
        # What the innermost function finds by itself is made of arguments of the outer ones.
        return recompute(lambda x: inside(x) * (g.sum() if shared else 1) + (g * x).sum(), g)

    agree(nested, *inputs, bare=bare)


def test_an_argument_of_two_is_found_by_the_inner_one_too() -> None:
    def function(x: Tensor) -> Tensor:
        h = x.sin()
        return recompute(lambda a: recompute(lambda b: (a * b * h * b.cos()).sum(), a), h)

    agree(function, normal(3))


@given(expressions(max_steps=3), st.data())
def test_intermediate_values_may_come_in_by_any_way(drawn: Any, data: Any) -> None:
    """Leaves and what is made of them, as arguments, found by the function, or both."""
    expression, inputs = drawn
    bare = data.draw(st.booleans())
    ways = st.sampled_from(("argument", "found", "both", "twice"))
    chosen = [data.draw(ways) for _ in range(3)]

    def function(*xs: Tensor, use: Callable[..., Tensor]) -> Tensor:
        h = expression(*xs).tanh() * xs[0]
        values = [xs[0], h, (h * xs[-1]).sin()]
        given = [v for v, way in zip(values, chosen, strict=True) if way != "found"]
        given += [v for v, way in zip(values, chosen, strict=True) if way == "twice"]

        def block(*given: Tensor) -> Tensor:
            total = xs[0].sum() ** 2
            for k, v in enumerate(given):
                total = total + ((k + 1) * v**2).sum()
            for v, way in zip(values, chosen, strict=True):
                if way in ("found", "both"):
                    total = total + (v * v.cos()).sum()
            return total * xs[0].sum()

        return use(block, *given)

    expected = numbers(partial(function, use=plain), *inputs, order=3, use=plain, bare=bare)
    found = numbers(partial(function, use=recompute), *inputs, order=3, use=plain, bare=bare)
    for a, b in zip(found, expected, strict=True):
        assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_a_leaf_and_what_is_made_of_it() -> None:
    """Each sends its own share: that of x·3 does not go through x twice."""
    x = leaf([1.0, 2.0])
    y = recompute(lambda a, b: a * b, x * 3, x).sum()
    (g,) = tg.grad(y, x, create_graph=True)
    assert g is not None
    assert values(g).tolist() == [6, 12]
    assert values(tg.grad(g.sum(), x)[0]).tolist() == [6, 6]


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_recurrent_network_whose_steps_share_weights(order: int) -> None:
    xs = [Tensor(normal(2, 3, seed=k)) for k in range(4)]

    def run(w: Tensor, u: Tensor, use: Callable[..., Any]) -> Tensor:
        h = Tensor(np.zeros((2, 4)))
        for k, x in enumerate(xs):  # the weights go in, or are found
            if k % 2:
                h = use(lambda h, x, w: (x @ u + h @ w).tanh(), h, x, w)
            else:
                h = use(lambda h, x=x: (x @ u + h @ w).tanh(), h)
        return (h**2).sum()

    weights = normal(4, 4), normal(3, 4)
    found, expected = (
        numbers(partial(run, use=use), *weights, order=order, use=plain, bare=True)
        for use in (recompute, plain)
    )
    for a, b in zip(found, expected, strict=True):
        assert_allclose(a, b, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_every_dtype_is_computed_as_it_was(dtype: str) -> None:
    results = []
    for use in (plain, recompute):
        x, w = (Tensor(normal(4, 4, seed=k).astype(dtype), requires_grad=True) for k in (0, 1))
        y = use(lambda h, x, w=w: ((h @ w).tanh() * x.exp()).softmax(1), x * 2, x)
        y.square().sum().backward()
        results.append([values(y), values(x.grad), values(w.grad)])
        assert [a.dtype for a in results[-1]] == [dtype] * 3
    for a, b in zip(*results, strict=True):
        assert_array_equal(a, b)


def test_a_hook_sees_the_whole_gradient_once() -> None:
    x, w, seen = leaf([1.0, 2.0]), leaf([3.0, 4.0]), []
    h = x * 1
    h.retain_grad()
    for tensor in (w, h):
        tensor.register_hook(lambda g: seen.append(values(g).tolist()))
    (recompute(lambda h: h * w, h) + h + w).sum().backward()
    assert sorted(seen) == [[2, 3], [4, 5]]
    assert values(h.grad).tolist() == [4, 5]


@pytest.mark.parametrize("is_leaf", [True, False])
@pytest.mark.parametrize("is_found", [True, False])
@pytest.mark.parametrize("create_graph", [True, False])
@pytest.mark.parametrize("is_used", [True, False])
def test_what_the_function_wants_of_a_gradient_it_gets_once(
    is_leaf: bool, is_found: bool, create_graph: bool, is_used: bool
) -> None:
    x, w = leaf([1.0, 2.0]), leaf([1.0, 2.0])
    h = x if is_leaf else x * 1

    def function(argument: Tensor) -> Tensor:
        y = h if is_found else argument
        y.register_hook(lambda g: 3 * g)
        y.retain_grad()
        return y * y if is_used else w * w

    (recompute(function, h) + h).sum().backward(create_graph=create_graph)
    assert values(x.grad).tolist() == ([9, 15] if is_used else [3, 3])
    assert values(h.grad).tolist() == ([9, 15] if is_used else [3, 3])


def test_a_result_that_the_function_retains_the_gradient_of() -> None:
    def function(x: Tensor) -> list[Tensor]:
        found = [x * 2, x * 3]
        found[0].retain_grad()
        return found

    a, b = recompute(function, leaf([1.0, 2.0]))
    (a * a + b).sum().backward()
    assert values(a.grad).tolist() == [4, 8]
    assert b.grad is None


def test_pytorchs_name_and_its_keywords() -> None:
    assert tg.checkpoint is recompute
    ways: dict[str, Any] = {
        "use_reentrant": False,
        "preserve_rng_state": False,
        "determinism_check": "none",
        "debug": True,
    }
    for name, value in ways.items():
        x = leaf([1.0, 2.0])
        y = tg.checkpoint(lambda x, scale: x * x * scale, x, scale=2, **{name: value})
        y.sum().backward()
        assert values(x.grad).tolist() == [4, 8]


def test_the_function_runs_once_for_each_pass() -> None:
    squares = []
    x = leaf([1.0, 2.0])

    def function(x: Tensor) -> Tensor:
        squares.append(x * x)
        return squares[-1].sum()

    y = recompute(function, x)
    assert len(squares) == 1
    y.backward(retain_graph=True)
    assert len(squares) == 2
    y.backward()
    assert len(squares) == 3
    assert [square.node.saved is None for square in squares] == [False, True, True]
    assert values(x.grad).tolist() == [4, 8]
    with pytest.raises(RuntimeError, match="a second time"):
        y.backward()


# ----- what goes in and comes out ----------------------------------------------------------------


class Pair(NamedTuple):
    first: Tensor
    second: Tensor


@pytest.mark.parametrize("order", [1, 2])
def test_several_outputs_cost_one_run(order: int) -> None:
    runs = []

    def function(x: Tensor, scale: float, *, shift: Tensor, power: int) -> list[Any]:
        runs.append(1)
        y = x * scale + shift
        b = y.float() ** power
        return [b, y.argmax(), "a name", y.tanh(), Tensor(1.0), y[0] * shift.sum()]

    results = []
    for use in (plain, recompute):
        x, shift = leaf([1.0, 2.0]), leaf([0.5, 0.25])
        outputs = use(function, x, 3.0, shift=shift, power=3)
        assert type(outputs) is list
        b, place, name, a, constant, c = outputs
        assert_allclose(values(a), np.tanh(values(x) * 3 + values(shift)), rtol=1e-13)
        assert (place.item(), name, constant.item()) == (1, "a name", 1.0)
        assert (a.dtype, b.dtype, c.shape) == (tg.float64, tg.float32, ())
        runs.clear()
        total = a.sum() * b.sum().double() + c
        found = tg.grad(total, [x, shift], create_graph=order == 2)
        if order == 2:
            (found[0] * found[1]).sum().backward()  # type: ignore[operator]
            found = (x.grad, shift.grad)
        results.append([values(total), *map(values, found)])
    assert len(runs) == order  # in the second order its graph is walked through once more
    for p, q in zip(*results, strict=True):
        assert_allclose(p, q, rtol=1e-6)


def test_the_kind_of_tuple_stays() -> None:
    x = leaf([1.0, 2.0])
    pair = recompute(lambda x: Pair(x * 2, x + 1), x)
    assert isinstance(pair, Pair)
    (pair.first.sum() * 3 + pair.second.sum()).backward()
    assert values(x.grad).tolist() == [7, 7]


def containers(parts: Any) -> Any:
    """What values are given in: alone, in tuples, lists and dicts, these in one another."""
    return st.recursive(
        parts,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.tuples(inner, inner).map(lambda pair: Pair(*pair)),
            st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
            st.dictionaries(st.sampled_from("abc"), inner, max_size=3).map(OrderedDict),
        ),
        max_leaves=6,
    )


def inside(value: Any) -> list[Any]:
    """The values in it, in their order."""
    if isinstance(value, dict):
        return [part for key in value for part in inside(value[key])]
    if isinstance(value, list | tuple):
        return [part for each in value for part in inside(each)]
    return [value]


def kinds(value: Any) -> Any:
    """The containers alone."""
    if isinstance(value, dict):
        return type(value), [(key, kinds(part)) for key, part in value.items()]
    return (type(value), list(map(kinds, value))) if isinstance(value, list | tuple) else None


@given(
    containers(st.sampled_from(("leaf", "made", "constant", "array", "number", "name"))),
    containers(st.integers(0, 3)),
    st.booleans(),
)
def test_what_goes_in_and_out_may_be_nested(given: Any, back: Any, named: bool) -> None:
    """Arrays and lists may be overwritten after the call."""

    def run(use: Callable[..., Any]) -> list[Array]:
        x = leaf([1.0, 2.0])
        made = {"leaf": x, "made": x * 3, "constant": Tensor([2.0, 3.0]), "number": 0.5}
        argument = mapped(lambda k: np.array([3.0, 4.0]) if k == "array" else made.get(k, k), given)

        def function(given: Any, x: Tensor) -> Any:
            total = x
            for k, value in enumerate(v for v in inside(given) if not isinstance(v, str)):
                value = Tensor(value) if isinstance(value, np.ndarray) else value
                total = (total * (value + k)).tanh()
            outputs = [total, total.sum() * 2, 7, total.detach()]
            return [mapped(lambda k: outputs[k], back), total.exp()]

        kind = kinds(argument)
        out = use(function, **{"given": argument, "x": x}) if named else use(function, argument, x)
        assert kinds(argument) == kind
        assert kinds(out) == (list, [kinds(back), None])
        spoil(argument)
        tensors = [y for y in inside(out) if isinstance(y, Tensor)]
        sum((y.sum() for y in tensors), start=x.sum()).backward()
        return [*map(values, tensors), values(x.grad)]

    for a, b in zip(run(plain), run(recompute), strict=True):
        assert_allclose(a, b, rtol=1e-12)


def mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """The containers with other values in them."""
    if isinstance(value, dict):
        return type(value)((key, mapped(function, part)) for key, part in value.items())
    if isinstance(value, Pair):
        return Pair(mapped(function, value.first), mapped(function, value.second))
    if isinstance(value, list | tuple):
        return type(value)(mapped(function, part) for part in value)
    return function(value)


def spoil(value: Any) -> None:
    """Overwrite the arrays, and empty the lists and dicts."""
    parts = value.values() if isinstance(value, dict) else value
    if isinstance(value, np.ndarray):
        value[:] = np.nan
    elif isinstance(value, dict | list | tuple):
        for part in parts:
            spoil(part)
        if not isinstance(value, tuple):
            value.clear()


def test_an_iterator_is_refused() -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(TypeError, match=r"iterator \(list_iterator\) can be run through once"):
        recompute(lambda xs: sum(xs, start=x), iter([x, x]))


def test_views_and_one_tensor_twice() -> None:
    def function(x: Tensor) -> Tensor:
        def block(p: Tensor, q: Tensor, r: Tensor, s: Tensor) -> Tensor:
            return (p[0] * q.sum(0) + r[1] * s.t()[0]).sum().cos()

        h = x * 2
        return use(block, h, h, h[:], h.t())

    for use in (plain, recompute):
        found = numbers(function, normal(3, 3), order=2, use=plain)
        if use is plain:
            expected = found
    for a, b in zip(found, expected, strict=True):
        assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def test_outputs_that_share_no_memory_are_changed_alone() -> None:
    x = leaf([1.0, 2.0])
    a, b = recompute(lambda x: (x * 2, x * 3), x)
    z = (b * b).sum()
    a.data.zero_()
    z.backward()
    assert values(x.grad).tolist() == [18, 36]
    for arguments in (1, 0):
        h = x * 1
        view = recompute(lambda *hs, h=h: (*hs, h)[0][:1], *[h] * arguments)
        z = (h * h).sum()
        view.data.zero_()
        with pytest.raises(RuntimeError, match="in place since"):
            z.backward()


def filled(h: Tensor) -> Tensor:
    y = tg.zeros(2, dtype=h.dtype)
    y[0], y[1] = h[1], h[0] * h[1]
    return y


@pytest.mark.parametrize(
    "function",
    [lambda h: (h * 3)[1:], filled, lambda h: (h * 1, h * 2), lambda h: [y + 1 for y in h * 1]],
)
def test_a_result_with_memory_of_its_own_is_changed_in_place(function: Any) -> None:
    found = []
    for use in (plain, recompute):
        x = leaf([1.0, 2.0])
        y = use(function, x * 2)
        y = y[0] if isinstance(y, tuple | list) else y
        y *= 3
        y += x[0]
        (y * y).sum().backward()
        found.append((y.tolist(), values(x.grad).tolist()))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "function",
    [
        lambda h, outside: h,
        lambda h, outside: h[1:],
        lambda h, outside: outside,
        lambda h, outside: (outside.t(), h * 1),
        lambda h, outside: (h * 2,) * 2,
        lambda h, outside: (lambda y: (y, y[:1], y * 1))(h * 2),
        lambda h, outside: recompute(lambda h: h.reshape(-1, 1), h),
    ],
)
@pytest.mark.parametrize("changes_result", [True, False])
def test_a_result_in_the_memory_of_another_tensor_is_not_changed_alone(
    function: Any, changes_result: bool
) -> None:
    x = leaf([1.0, 2.0])
    h, outside = x * 2, x * 3
    results = recompute(lambda h: function(h, outside), h)
    y, *others = results if isinstance(results, tuple) else (results,)
    for z in (y, *others[:1]) if changes_result else ():
        if z._counter is y._counter:
            with pytest.raises(RuntimeError, match=r"inside of recompute\(\)"):
                z *= 3
    if not changes_result:
        h *= 3
        outside *= 3
        if y._counter[0]:  # it was changed as well
            with pytest.raises(RuntimeError, match="in place since"):
                (y * y).sum().backward()


def test_a_function_that_hands_its_input_on() -> None:
    x, w = leaf([1.0, 2.0]), leaf(3.0)
    h = x * 2
    recompute(lambda h: h, h).sum().backward(retain_graph=True)
    assert values(x.grad).tolist() == [2, 2]
    a, b = recompute(lambda h: (h, w), h)
    (a.sum() * b).backward()
    assert values(x.grad).tolist() == [8, 8]
    assert w.grad is not None
    assert w.grad.item() == 6


def test_an_unused_argument_has_no_gradient() -> None:
    x, y = leaf([1.0]), leaf([2.0])
    found = tg.grad(recompute(lambda x, y: x * y.detach(), x, y).sum(), [x, y], allow_unused=True)
    assert found[1] is None
    assert found[0] is not None
    assert found[0].item() == 2


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("swapped", [True, False])
def test_an_unused_argument_is_what_it_was(swapped: bool, order: int) -> None:
    def function(x: Tensor, y: Tensor) -> Tensor:
        (slope,) = tg.grad((y * y * y).sum(), x, create_graph=True, allow_unused=True)
        return y * y * y.requires_grad * x.requires_grad if slope is None else slope

    found = []
    for use in (plain, recompute):
        x = leaf([1.0, 2.0])
        y = x * 2
        result = use(function, y, x) if swapped else use(function, x, y)
        for _ in range(order):
            (result,) = tg.grad(result.sum(), x, create_graph=True)
        found.append(result.tolist())
    assert found[0] == found[1]


@pytest.mark.parametrize("is_found", [True, False])
@pytest.mark.parametrize("order", [1, 2])
def test_a_view_that_moved_on_before(order: int, is_found: bool) -> None:
    found = []
    for use in (plain, recompute):
        x = leaf([1.0, 2.0])
        y = x * x
        part = y[1:]
        column = y.reshape(-1, 1)
        y *= x
        y[0] = 5 * x[1]

        def function(*given: Tensor, views: Any = (part, column)) -> Tensor:
            part, column = given or views
            return (part * column).sin().sum()

        result = use(function, *(() if is_found else (part, column)))
        for _ in range(order):
            (result,) = tg.grad(result.sum(), x, create_graph=True)
        found.append(result.tolist())
    assert_allclose(found[0], found[1], rtol=1e-5)


def test_nothing_to_save_is_no_op() -> None:
    x, constant = leaf([1.0]), Tensor([1.0])
    with tg.no_grad():
        assert not recompute(lambda x: x * 2, x).requires_grad
        assert recompute(lambda x: x, x) is x
    assert not recompute(lambda c: c * 2, constant).requires_grad
    assert recompute(lambda x: x * 2, x).node.label == "recompute"
    for wrong, kind in ((1.0, "float"), ({"y": [1.0]}, "dict"), (None, "NoneType")):
        with pytest.raises(TypeError, match=f"must return tensors, alone or in .* got {kind}"):
            recompute(lambda x, wrong=wrong: wrong, x)


def test_integer_arguments_pass() -> None:
    x, labels = leaf(normal(4, 3)), tg.tensor([0, 2, 1, 1])
    recompute(tg.cross_entropy, x, labels).backward()
    expected = np.exp(values(x)) / np.exp(values(x)).sum(1, keepdims=True)
    expected[np.arange(4), [0, 2, 1, 1]] -= 1
    assert_allclose(values(x.grad), expected / 4)


def test_transforms_go_through() -> None:
    x, v = Tensor(normal(3)), Tensor(normal(3, seed=1))
    first = lambda a, b: (a.sin() * b).sum()  # noqa: E731
    function = lambda x: first(x * 3, x)  # noqa: E731
    for saving in (lambda x: recompute(function, x), lambda x: recompute(first, x * 3, x)):
        assert_allclose(values(hessian(saving, x)), values(hessian(function, x)), atol=1e-13)
        for transform, direction in ((jvp, v), (hvp, v), (vjp, None)):
            found, expected = (transform(f, x, direction) for f in (saving, function))
            assert_allclose(values(found[1]), values(expected[1]))


# ----- parameters and chance ---------------------------------------------------------------------


def make_block() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )


def trained(use: Callable[..., Any]) -> tuple[list[Array], float]:
    """The parameters after some steps, and a number drawn then."""
    tg.manual_seed(1)
    block, head = make_block(), nn.Linear(64, 3)
    parameters = [*block.parameters(), *head.parameters()]
    optimizer = optim.SGD(parameters, lr=0.1, momentum=0.9)
    images, labels = tg.rand(5, 1, 8, 8), tg.tensor([0, 1, 2, 1, 0])
    for _ in range(3):
        optimizer.zero_grad()
        features = use(lambda x: use(block, x) * 1.5, images)
        tg.cross_entropy(use(head, features), labels).backward()
        optimizer.step()
    return [values(p) for p in parameters], tg.rand(1).item()


def test_training_is_the_same_with_one_in_another() -> None:
    """A network with dropout, whose parameters are no arguments."""
    expected, then = trained(plain)
    found, now = trained(recompute)
    for a, b in zip(found, expected, strict=True):
        assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert now == then


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("own", [False, True])
def test_random_numbers_are_drawn_again(own: bool, order: int) -> None:
    """From the common generator or from one that only the function knows; both then go on."""
    results = []
    for use in (plain, recompute):
        tg.manual_seed(3)
        generator = np.random.default_rng(4) if own else None

        def function(x: Tensor, generator: Any = generator) -> Tensor:
            y = tg.dropout(x * x, 0.5, generator=generator) * tg.randn(3, 4).double()
            return recompute(lambda y: (tg.dropout(y, 0.3, generator=generator) ** 2).sum(), y)

        found = numbers(function, normal(3, 4), order=order, use=use)
        then = tg.rand(2), (generator or np.random.default_rng(0)).random(2)
        results.append([*found, *map(np.asarray, map(values_or_array, then))])
    for a, b in zip(*results, strict=True):
        assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def values_or_array(value: Any) -> Array:
    return values(value) if isinstance(value, Tensor) else np.asarray(value)


@pytest.mark.host
def test_other_threads_may_draw_in_between() -> None:
    """In the middle of both runs, and they never see a state twice."""
    interval, ended, others = sys.getswitchinterval(), threading.Event(), []
    sys.setswitchinterval(1e-6)

    def noise() -> None:
        while not ended.is_set():
            others.append(tg.rand(2, dtype="float64").tolist()[0])

    def block(x: Tensor) -> Tensor:
        for _ in range(3):
            x = tg.dropout(x, 0.5)
        return x * x

    threads = [threading.Thread(target=noise) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            x = leaf(np.ones(40))
            y = recompute(block, x)
            tg.rand(3)
            y.sum().backward()
            assert_array_equal(values(x.grad), 2 * values(y))
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert len(set(others)) == len(others)


def test_the_backward_pass_may_run_in_another_thread_and_many_at_once() -> None:
    tg.manual_seed(0)
    xs = [leaf(np.ones(40)) for _ in range(6)]
    ys = [recompute(lambda x: recompute(partial(tg.dropout, p=0.5), x) * x, x) for x in xs]
    with ThreadPoolExecutor(6) as executor:
        list(executor.map(lambda y: y.sum().backward(), ys))
    for x, y in zip(xs, ys, strict=True):
        assert_array_equal(values(x.grad), 2 * values(y))


def test_an_error_inside_leaves_everything_as_it_was() -> None:
    x, runs = leaf(np.ones(20)), []

    def function(x: Tensor) -> Tensor:
        runs.append(1)
        y = tg.dropout(x, 0.5) * x
        if len(runs) in (1, 3):
            raise KeyError
        return y

    tg.manual_seed(5)
    with pytest.raises(KeyError):
        recompute(function, x)
    y = recompute(function, x)
    expected = tg.rand(3).tolist()
    with pytest.raises(KeyError):
        y.sum().backward()
    assert (observer.get(), drawing.get(), tg.is_grad_enabled()) == (None, None, True)
    y.sum().backward()
    assert_allclose(values(x.grad), 2 * values(y))
    tg.manual_seed(5)
    tg.dropout(x, 0.5)
    tg.dropout(x, 0.5)
    assert tg.rand(3).tolist() == expected


def test_a_new_seed_between_the_passes_does_not_matter() -> None:
    x = leaf(np.ones(50))
    y = recompute(lambda x: tg.dropout(x, 0.5) * x, x)
    tg.manual_seed(7)
    y.sum().backward()
    assert_allclose(values(x.grad), 2 * values(y))
    expected = np.array(tg.manual_seed(7).random(3))
    tg.manual_seed(7)
    assert_array_equal(tg.manual_seed(7).random(3), expected)


def test_a_seed_goes_on_after_the_backward_pass() -> None:
    x = leaf(np.ones(5))
    tg.manual_seed(7)
    recompute(lambda x: tg.dropout(x, 0.5), x)
    expected = [values(tg.rand(3)), values(tg.rand(3))]
    tg.manual_seed(7)
    y = recompute(lambda x: tg.dropout(x, 0.5), x).sum()
    between = values(tg.rand(3))
    y.backward()
    assert_array_equal([between, values(tg.rand(3))], expected)


def test_the_innermost_function_may_be_the_one_that_draws() -> None:
    x, generator = leaf(np.ones(50)), np.random.default_rng(0)

    def outer(x: Tensor) -> Tensor:
        return recompute(lambda x: tg.dropout(x, 0.5, generator=generator), x) * x

    y = recompute(outer, x)
    y.sum().backward()
    assert_allclose(values(x.grad), 2 * values(y))


# ----- memory ------------------------------------------------------------------------------------


def saved_bytes(y: Tensor) -> int:
    """What the graph keeps for the backward pass, each array once."""
    arrays: dict[int, Any] = {}
    for node in tg.graph(y):
        for value in node.saved or ():
            for array in value if isinstance(value, tuple) else (value,):
                arrays[id(array)] = array
    return sum(getattr(array, "nbytes", 0) for array in arrays.values())


def deep(x: Tensor) -> Tensor:
    for _ in range(10):
        x = (x.tanh() * x).exp() * 0.1
    return x


def test_the_input_alone_is_saved() -> None:
    x = tg.ones(100, requires_grad=True)
    assert saved_bytes(deep(deep(x)).sum()) > 30 * 400
    y = recompute(deep, recompute(deep, x)).sum()
    assert saved_bytes(y) == 2 * 400
    assert [node.label for node in tg.graph(y)] == ["parameter", "recompute", "recompute", "sum"]


@pytest.mark.host
def test_it_frees_what_it_promises() -> None:
    """Bytes: between the passes one array a function, and then what one function needs."""
    size, held, peak = 100_000, {}, {}
    x = tg.ones(size, requires_grad=True)
    for use in (plain, recompute):
        tracemalloc.start()
        y = x
        for _ in range(4):
            y = use(deep, y)
        y = y.sum()
        held[use] = tracemalloc.get_traced_memory()[0] / (4 * size)
        y.backward()
        peak[use] = tracemalloc.get_traced_memory()[1] / (4 * size)
        tracemalloc.stop()
        x.grad = None
    assert 3 <= held[recompute] < 3.1  # of the four inputs, x is there anyway
    assert held[plain] > 100
    assert peak[recompute] < held[recompute] + peak[plain] / 4 + 5


@contextmanager
def no_garbage_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.host
def test_nobody_keeps_the_result_of_the_first_run() -> None:
    with no_garbage_collector():
        y = recompute(lambda x: x * 2, tg.ones(100, requires_grad=True))
        array, z = weakref.ref(y._array), y + 1  # a sum saves nothing
        del y
        assert array() is None
        z.sum().backward()


def test_what_is_saved_goes_after_the_pass_and_with_the_graph() -> None:
    with no_garbage_collector():
        w, found = tg.ones(100, requires_grad=True), tg.ones(100)
        h = w * 2

        def make(h: Tensor, found: Tensor) -> Tensor:
            return recompute(lambda x: recompute(deep, x * w) * found, h).sum()

        y = make(h, found)
        nodes = [weakref.ref(node) for node in tg.graph(y) if node.op is not None]
        tensor = weakref.ref(found)
        del h, found
        assert saved_bytes(y) > 0
        assert tensor() is not None
        y.backward()
        assert saved_bytes(y) == 0
        assert tensor() is None
        del y
        assert [node() for node in nodes if node() is not None] == []
        assert gc.collect() == 0


# ----- what cannot be repeated -------------------------------------------------------------------


def test_what_changed_in_between_is_refused() -> None:
    def made() -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x, w, c = leaf([1.0, 2.0]), leaf([3.0, 4.0]), Tensor([5.0, 6.0])
        return x, w, c, recompute(lambda x: x + w + c, x).sum()

    for change in (
        lambda x, w, c: x.data.zero_(),
        lambda x, w, c: w.data.zero_(),
        lambda x, w, c: c.zero_(),
    ):
        x, w, c, y = made()
        change(x, w, c)
        with pytest.raises(RuntimeError, match=r"recompute of shape \(2,\) .* in place since"):
            y.backward()
    for which, label in ((1, "parameter"), (2, "input")):
        *tensors, y = made()
        tensors[which].data = tensors[which].data * 2
        with pytest.raises(RuntimeError, match=rf"a {label} of shape \(2,\) .* was replaced"):
            y.backward()
    x, *_, y = made()
    x.data = x.data * 2  # of an argument the old array is there
    y.backward()
    assert values(x.grad).tolist() == [1, 1]


@pytest.mark.parametrize(
    "function",
    [
        lambda x, h, c: (h + x).exp(),  # no rule saves h
        lambda x, h, c: x * c.exp(),  # what is made of c needs no gradient
        lambda x, h, c: x + c.detach()[:],
        lambda x, h, c: recompute(lambda x: x + (c + h), x),
        lambda x, h, c: recompute(lambda x, c: x + c, x, c),
    ],
)
def test_what_it_found_by_itself_may_not_change(function: Callable[..., Tensor]) -> None:
    x, c = leaf([1.0, 2.0]), Tensor([5.0, 6.0])
    h = x * 2
    y = recompute(lambda x: function(x, h, c), x).sum()
    y.backward(retain_graph=True)
    c.add_(1)
    h.data.add_(1)
    with pytest.raises(RuntimeError, match="in place since"):
        y.backward()


def test_what_it_writes_itself_is_its_own_business() -> None:
    """State is written twice; but not what goes in, which would be other values the second time."""
    x, steps = leaf([1.0, 2.0]), Tensor([0.0])

    def counted(x: Tensor) -> Tensor:
        scratch = tg.zeros(2)
        scratch[0] = 1.0
        steps.add_(1)
        return x * x * scratch

    recompute(counted, x).sum().backward()
    assert values(x.grad).tolist() == [2, 0]
    assert steps.item() == 2

    y, made = recompute(lambda x, c: (x * (d := c + 1), d), x, Tensor([1.0, 2.0]))
    made.zero_()  # it is made anew
    y.sum().backward()
    assert values(x.grad).tolist() == [4, 3]

    def changed(x: Tensor, c: Tensor) -> Tensor:
        c.add_(1)
        return x * c

    h = x * 2
    for function, c in ((changed, Tensor([1.0, 2.0])), (lambda x, _: changed(x, h.data), None)):
        with pytest.raises(RuntimeError, match=r"changed in place a tensor.*x\.clone\(\)"):
            recompute(lambda x, c, function=function: h + function(x, c), x, c)


def test_a_function_that_does_something_else_the_second_time_is_refused() -> None:
    x, w = leaf([1.0, 2.0]), leaf([3.0])
    ways: list[Callable[[Tensor], Tensor]] = [lambda x: x * 2]

    def function(x: Tensor) -> Tensor:
        return ways[-1](x)

    for way, message in (
        (lambda x: x[:1] * 2, r"gave the shape \(1,\), and before \(2,\)"),
        (lambda x: x * w, r"used a parameter of shape \(1,\) that it had not used"),
        (lambda x: x.detach(), "depends on no input"),
        (lambda x: None, "returned 0 tensors"),
        (lambda x: tg.dropout(x * 2, 0.5), "drew more random numbers than before"),
    ):
        ways[:] = [lambda x: x * 2]
        y = recompute(function, x).sum()
        ways.append(way)
        with pytest.raises(RuntimeError, match=message):
            y.backward()


def test_what_was_frozen_in_between_gets_nothing() -> None:
    x, w, v = leaf([1.0, 2.0]), leaf([3.0, 4.0]), leaf([5.0, 6.0])
    both = recompute(lambda x: x * w, x).sum()
    alone = recompute(lambda: w * 2).sum() + v.sum()
    w.requires_grad = False
    both.backward()
    alone.backward()
    assert [values(t.grad).tolist() for t in (x, v)] == [[3, 4], [1, 1]]
    assert w.grad is None or values(w.grad).tolist() == [0, 0]


@pytest.mark.parametrize("order", [1, 2])
def test_what_was_frozen_for_a_while_gets_its_gradient(order: int) -> None:
    """It stands at another node then; as an argument at the old one."""
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    y = recompute(lambda a: a * w * w * x, w).sum()
    w.requires_grad_(False).requires_grad_()
    y.backward(create_graph=order == 2)
    assert values(w.grad).tolist() == [27, 96]
    assert values(x.grad).tolist() == [27, 64]


def test_it_has_no_formula() -> None:
    y = recompute(lambda x: x * 2, leaf([1.0]))
    with pytest.raises(ValueError, match="the rule of recompute"):
        tg.formula(y)


def test_who_looks_on_sees_the_first_run_and_one_step_back() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(recompute(lambda x: self.first(x).relu(), x))

    class Eye(Observer):
        everything = True

        def __init__(self) -> None:
            self.seen: list[str] = []

        def forward(self, op: Any, backend: Any, arrays: Any) -> Any:
            self.seen.append(op.name)
            return super().forward(op, backend, arrays)

        def made(self, tensor: Tensor, inputs: tuple[Any, ...]) -> None:
            assert tensor._node is not None
            assert all(isinstance(x, Tensor) for x in inputs)

        def arrived(self, node: Node, gradient: Any) -> None:
            self.seen.append(f"to {node.label}")

    model, x = Model(), tg.ones(2, 3)
    eye = Eye()
    token = observer.set(eye)
    model(x).sum().backward()
    observer.reset(token)
    inside = ["linear", "relu", "recompute", "linear", "sum"]
    back = ["to sum", "to linear", *["to parameter"] * 2, "to recompute", *["to parameter"] * 2]
    assert eye.seen == [*inside, *back]
    watch = tg.viz.watch(model, every=1)
    for _ in range(2):
        with watch.step():
            model(x).sum().backward()
    labels = [node.op for node in watch.trace.nodes]
    assert sorted(labels) == ["input", "linear", *["parameter"] * 4, "recompute", "sum"]
    assert watch.trace.outputs == [labels.index("sum")]


@pytest.mark.parametrize("backward", [True, "ops"])
def test_it_can_be_drawn(backward: Any) -> None:
    x, w = leaf(normal(2, 3)), leaf(normal(3, 4))
    y = recompute(lambda x: (x @ w).tanh() * x.sum(), x * 2).sum()
    source = tg.viz.draw(y, backward=backward).source
    assert re.search("<B>(backward of )?recompute</B>", source)
    assert ("<B>tanh</B>" in source) == (backward == "ops")  # it is computed there once more
