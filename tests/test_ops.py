"""Every registered op, driven by its row: forward, gradients, readings, memory layouts."""

import math
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_cv as tg
from rows import ROWS, Case, Row
from tinygrad_cv import backend as backends
from tinygrad_cv._apply import apply, function
from tinygrad_cv._op import REGISTRY
from tinygrad_cv._reading import Reading, raw
from tinygrad_cv._symbol import Symbol, derive
from tinygrad_cv._tensor import wrap
from tinygrad_cv.testing import check_op
from tinygrad_cv.testing.strategies import LAYOUTS, arrange

OURS = sorted(name for name, op in REGISTRY.items() if op.__module__.startswith("tinygrad_cv."))
DIFFERENTIABLE = [name for name in OURS if REGISTRY[name].rules]


def run(row: Row, case: Case) -> Any:
    inputs = [tg.Tensor(v) if isinstance(v, np.ndarray) else v for v in case.inputs]
    return apply(case.make(row.op), *inputs)


def recorded(row: Row, case: Case) -> tuple[Any, list[Any]]:
    """What the op gives, and its inputs, as leaves where they can be differentiated."""
    leaves = [
        tg.Tensor(value, requires_grad=is_variable(value) and name not in row.op.nondifferentiable)
        if isinstance(value, np.ndarray)
        else value
        for name, value in named_inputs(row, case)
    ]
    return apply(case.make(row.op), *leaves), leaves


def is_variable(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def named_inputs(row: Row, case: Case) -> list[tuple[str, Any]]:
    """The inputs with their names; a variadic name repeats."""
    names = list(row.op.inputs)
    names += [names[-1]] * (len(case.inputs) - len(names))
    return list(zip(names, case.inputs, strict=False))


def parts(y: Any) -> tuple[Any, ...]:
    """What an op gives, as a tuple."""
    return y if isinstance(y, tuple) else (y,)


def node_of(y: Any) -> Any:
    """The node of the op that gave this; several outputs have nodes of their own after it."""
    return y[0].node.inputs[0] if isinstance(y, tuple) else y.node


def cotangent(y: Any) -> Any:
    """A gradient for what an op gives; None for an output of integers."""
    if isinstance(y, tuple):
        return tuple(cotangent(part) if part.is_floating_point() else None for part in y)
    return np.random.default_rng(1).standard_normal(y.shape)


def mapped(f: Any, g: Any) -> Any:
    """f of a gradient, or of each of several."""
    if isinstance(g, tuple):
        return tuple(None if part is None else f(part) for part in g)
    return f(g)


def test_every_op_has_a_row() -> None:
    assert sorted(ROWS) == OURS


@pytest.mark.parametrize("name", OURS)
@given(data=st.data())
def test_forward_agrees_with_the_oracle(name: str, data: Any) -> None:
    row = ROWS[name]
    case = data.draw(row.cases)
    found = parts(run(row, case))
    oracle = parts(row.oracle(*case.inputs, **case.fresh_attributes()))
    for y, expected in zip(found, map(np.asarray, oracle), strict=True):
        assert y.shape == expected.shape
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-9, atol=1e-12)
    shapes = [None if v is None else np.shape(v) for v in case.inputs]
    cost = case.make(row.op).flops(found[0].shape, *shapes)
    assert type(cost) is int
    assert cost >= 0


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_of_order_1_and_2_and_kinks(name: str) -> None:
    row = ROWS[name]
    check_op(row.op, row.cases, order=row.op.orders, kinks=row.kinks)


@pytest.mark.parametrize("name", [name for name in ROWS if ROWS[name].exact])
def test_gradients_by_an_exact_method(name: str) -> None:
    row = ROWS[name]
    check_op(row.op, row.cases, method=row.exact)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@given(data=st.data())
def test_fused_rule_agrees_with_the_plain_rules(name: str, data: Any) -> None:
    row = ROWS[name]
    y, _ = recorded(row, data.draw(row.cases))
    node, backend = node_of(y), parts(y)[0]._backend
    reading, g = raw(backend), mapped(backend.from_host, cotangent(y))
    with backend.active:
        fused = reading.shares(node, g, None)
        plain = Reading.shares(reading, node, g, None)
        assert [receiver for receiver, _ in fused] == [receiver for receiver, _ in plain]
        for (_, a), (_, b) in zip(fused, plain, strict=True):
            a, b = on_host(reading.memory(a)), on_host(reading.memory(b))
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", [name for name in DIFFERENTIABLE if REGISTRY[name].orders > 1])
@pytest.mark.host
@settings(max_examples=2)
@given(data=st.data())
def test_a_rule_is_linear_in_the_gradient(name: str, data: Any) -> None:
    """At 0, too, where `jvp` differentiates it: g·(J v), found so, is v·(Jᵀ g)."""
    y, leaves = recorded(ROWS[name], data.draw(ROWS[name].cases))
    leaves = [x for x in leaves if isinstance(x, tg.Tensor) and x.requires_grad]
    outputs = [part for part in parts(y) if part.requires_grad]
    if not outputs or not leaves:
        return
    random = np.random.default_rng(2)
    gs = [tg.tensor(random.standard_normal(part.shape), device=part.device) for part in outputs]
    vs = [tg.tensor(random.standard_normal(x.shape), device=x.device) for x in leaves]
    zeros = [tg.zeros_like(part, requires_grad=True) for part in outputs]
    pulled = tg.grad(outputs, leaves, zeros, create_graph=True, materialize_grads=True)
    pairs = [(share, v) for share, v in zip(pulled, vs, strict=True) if share.requires_grad]
    moved: Any = [tg.zeros_like(g) for g in gs]
    if pairs:
        shares, directions = zip(*pairs, strict=True)
        moved = tg.grad(shares, zeros, directions, retain_graph=True, materialize_grads=True)
    back = tg.grad(outputs, leaves, gs, materialize_grads=True)
    one = sum((g * m).sum().item() for g, m in zip(gs, moved, strict=True))
    other = sum((v * b).sum().item() for v, b in zip(vs, back, strict=True))
    assert one == pytest.approx(other, rel=1e-6, abs=1e-8)


def on_host(array: Any) -> Any:
    """An array of any device as NumPy's."""
    return array.get() if hasattr(array, "get") else np.asarray(array)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@given(data=st.data())
def test_formula_evaluates_to_what_the_rule_gives(name: str, data: Any) -> None:
    row = ROWS[name]
    y, leaves = recorded(row, data.draw(row.cases))
    node, backend = node_of(y), parts(y)[0]._backend
    op, plan = node.op, node.plan
    assert op is not None
    assert plan is not None
    g = mapped(lambda part: tg.Tensor(part, device=backend.device), cotangent(y))
    known: dict[str, Any] = {other: with_names(cls) for other, cls in REGISTRY.items()}
    known |= vars(op) | {"float64": np.dtype("float64"), "float32": np.dtype("float32")}
    saved = dict(zip(plan.names, [as_tensor(v, backend) for v in node.saved or ()], strict=True))
    shares: dict[int, Any] = {}
    with backend.active:
        reading = raw(backend)
        for receiver, share in reading.shares(node, mapped(lambda t: t._array, g), None):
            shares.setdefault(id(receiver), []).append(on_host(reading.memory(share)))
    for rule_name in op.rules:
        result, definitions = derive(op, rule_name, inputs=node.inputs)
        results = [result] if isinstance(result, Symbol) else result
        receivers = [
            leaf
            for (n, _), leaf in zip(named_inputs(row, Case(tuple(leaves))), leaves, strict=True)
            if n == rule_name
        ]
        for symbol, leaf in zip(results, receivers, strict=True):
            if not (isinstance(leaf, tg.Tensor) and leaf.requires_grad):
                continue
            names = known | {ask: saved[ask] for ask in op.rules[rule_name].asks}
            names |= {f"g_{k}": v for k, v in zip(op.outputs, parts(g), strict=False)} or {"g": g}
            for key, definition in definitions.items():
                names[key] = evaluate(definition, names)
            # What was broadcast is summed where the share is made, and not in the rule.
            value = known["sum_to"](evaluate(symbol, names), shape=leaf.shape)
            expected = shares[id(leaf.node)].pop(0)
            np.testing.assert_allclose(
                value.detach().numpy(), expected, rtol=1e-9, atol=1e-11, err_msg=str(symbol)
            )


def with_names(cls: Any) -> Any:
    """The op as a function; several outputs go by their names, as in formulas."""
    if not cls.outputs:
        return function(cls)
    return lambda *inputs, **attributes: SimpleNamespace(
        **dict(zip(cls.outputs, function(cls)(*inputs, **attributes), strict=True))
    )


def as_tensor(value: Any, backend: Any) -> Any:
    """A saved array as a tensor."""
    if isinstance(value, tuple):
        return tuple(as_tensor(part, backend) for part in value)
    return wrap(value, backend) if hasattr(value, "dtype") else value


def evaluate(symbol: Symbol, names: dict[str, Any]) -> Any:
    text = symbol.text.replace("·", "*").replace("ᵀ", ".mT")
    return eval(text, {"__builtins__": {}, "inf": math.inf}, names)


@pytest.mark.parametrize("name", OURS)
@given(data=st.data())
def test_the_memory_layout_of_an_input_does_not_matter(name: str, data: Any) -> None:
    row = ROWS[name]
    case = data.draw(row.cases)
    layout = data.draw(st.sampled_from(LAYOUTS))
    expected, _ = recorded(row, case)
    xp = backends.get(None)
    arranged = [placed(xp, v, layout) if isinstance(v, np.ndarray) else v for v in case.inputs]
    op = case.make(row.op)
    # The layout goes straight into the forward: a Tensor would copy it into row-major order.
    with xp.active:
        y = op.forward(xp, *arranged)
    # Where numbers cancel, the order of a sum shows in the last digits of the largest of them.
    largest = max(
        (float(np.abs(v[np.isfinite(v)]).max(initial=0)) for v in case.inputs if is_variable(v)),
        default=0.0,
    )
    tolerance = {"rtol": 1e-12, "atol": 1e-13 * max(1.0, largest)}
    for a, b in zip(parts(y), parts(expected), strict=True):
        np.testing.assert_allclose(on_host(a), b.detach().numpy(), **tolerance)
    for value, old in zip(arranged, case.inputs, strict=True):
        if isinstance(old, np.ndarray):  # a forward leaves its inputs alone
            np.testing.assert_array_equal(on_host(value), old)
    if parts(expected)[0].requires_grad:
        g, xp, node = cotangent(expected), parts(expected)[0]._backend, node_of(expected)
        with xp.active:
            reading = raw(xp)
            shares = reading.shares(node, mapped(lambda v: placed(xp, v, layout), g), None)
            plain = dict(reading.shares(node, mapped(xp.from_host, g), None))
            for receiver, share in shares:
                again = on_host(reading.memory(plain[receiver]))
                np.testing.assert_allclose(on_host(reading.memory(share)), again, **tolerance)


def placed(xp: Any, values: Any, layout: str) -> Any:
    """The values on a device, in a memory layout; none is read-only there."""
    if xp.device == "cpu":
        return arrange(values, layout)
    array = xp.array(values, None)
    with xp.active:
        if layout == "F":
            return xp.array(values.T.copy(), None).T
        if layout == "reversed":
            return xp.flip(xp.array(np.flip(values).copy(), None))
        if layout == "strided":
            wide = xp.zeros((*values.shape, 2), values.dtype)
            wide[..., 0] = array
            return wide[..., 0]
        return xp.broadcast_to(array, array.shape) if layout == "broadcast" else array


def test_formula_text_has_no_unknown_signs() -> None:
    signs = set()
    for name in DIFFERENTIABLE:
        if not REGISTRY[name].variadic:
            for text in formulas(name).values():
                signs |= set(re.sub(r"[\w\s()\[\].,+\-*/<>=~@:'&|!]", "", text))
    assert signs <= {"·", "ᵀ"}


def formulas(name: str) -> dict[str, str]:
    try:
        return tg.formula(REGISTRY[name])
    except ValueError:
        return {}
