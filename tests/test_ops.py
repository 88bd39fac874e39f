"""Every registered op, driven by its row: forward, gradients, readings, memory layouts."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from rows import ROWS, Case, Row
from tinygrad_cv.op import REGISTRY, Raw, Reading
from tinygrad_cv.symbol import Symbol, derive
from tinygrad_cv.tensor import apply, function
from tinygrad_cv.testing import check_op
from tinygrad_cv.testing.strategies import LAYOUTS, arrange

OURS = sorted(name for name, op in REGISTRY.items() if op.__module__.startswith("tinygrad_cv."))
DIFFERENTIABLE = [name for name in OURS if REGISTRY[name].rules]


def run(row: Row, case: Case) -> tg.Tensor:
    inputs = [tg.Tensor(v) if isinstance(v, np.ndarray) else v for v in case.inputs]
    return apply(row.op(**case.fresh_attributes()), *inputs)


def recorded(row: Row, case: Case) -> tuple[tg.Tensor, list[Any]]:
    """The output of the op and its inputs, as leaves where they can be differentiated."""
    leaves = [
        tg.Tensor(value, requires_grad=is_variable(value) and name not in row.op.nondifferentiable)
        if isinstance(value, np.ndarray)
        else value
        for name, value in named_inputs(row, case)
    ]
    return apply(row.op(**case.fresh_attributes()), *leaves), leaves


def is_variable(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def named_inputs(row: Row, case: Case) -> list[tuple[str, Any]]:
    """The inputs with their names; a variadic name repeats."""
    names = list(row.op.inputs)
    names += [names[-1]] * (len(case.inputs) - len(names))
    return list(zip(names, case.inputs, strict=False))


def cotangent(y: tg.Tensor) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(y.shape)


def test_every_op_has_a_row() -> None:
    assert sorted(ROWS) == OURS


@pytest.mark.parametrize("name", OURS)
@given(data=st.data())
def test_forward_agrees_with_the_oracle(name: str, data: Any) -> None:
    row = ROWS[name]
    case = data.draw(row.cases)
    y = run(row, case).numpy()
    expected = np.asarray(row.oracle(*case.inputs, **case.fresh_attributes()))
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_of_order_1_and_2_and_kinks(name: str) -> None:
    row = ROWS[name]
    check_op(row.op, row.cases, order=2, kinks=row.kinks)


@pytest.mark.parametrize("name", [name for name in DIFFERENTIABLE if ROWS[name].exact])
def test_gradients_by_an_exact_method(name: str) -> None:
    row = ROWS[name]
    check_op(row.op, row.cases, method=row.exact)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@given(data=st.data())
def test_fused_rule_agrees_with_the_plain_rules(name: str, data: Any) -> None:
    row = ROWS[name]
    y, _ = recorded(row, data.draw(row.cases))
    node, raw = y.node, y._backend.raw
    fused = raw.shares(node, cotangent(y), None)
    plain = Reading.shares(raw, node, cotangent(y), None)
    assert [receiver for receiver, _ in fused] == [receiver for receiver, _ in plain]
    for (_, a), (_, b) in zip(fused, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@given(data=st.data())
def test_formula_evaluates_to_what_the_rule_gives(name: str, data: Any) -> None:
    row = ROWS[name]
    y, leaves = recorded(row, data.draw(row.cases))
    node = y.node
    op, plan = node.op, node.plan
    assert op is not None
    assert plan is not None
    g = tg.Tensor(cotangent(y))
    known: dict[str, Any] = {other: function(cls) for other, cls in REGISTRY.items()}
    known |= vars(op) | {"float64": np.dtype("float64"), "float32": np.dtype("float32")}
    saved = dict(zip(plan.names, map(as_tensor, node.saved or ()), strict=True))
    shares: dict[int, Any] = {}
    for receiver, share in Raw(y._backend).shares(node, g.numpy(), None):
        shares.setdefault(id(receiver), []).append(share)
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
            names = known | {"g": g} | {ask: saved[ask] for ask in op.rules[rule_name].asks}
            for key, definition in definitions.items():
                names[key] = evaluate(definition, names)
            value = evaluate(symbol, names)
            expected = shares[id(leaf.node)].pop(0)
            np.testing.assert_allclose(
                value.detach().numpy(), expected, rtol=1e-9, atol=1e-11, err_msg=str(symbol)
            )


def as_tensor(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(as_tensor, value))
    return tg.Tensor(value) if isinstance(value, np.ndarray) else value


def evaluate(symbol: Symbol, names: dict[str, Any]) -> Any:
    text = symbol.text.replace("·", "*").replace("ᵀ", ".mT")
    return eval(text, {"__builtins__": {}}, names)


@pytest.mark.parametrize("name", OURS)
@given(data=st.data())
def test_the_memory_layout_of_an_input_does_not_matter(name: str, data: Any) -> None:
    row = ROWS[name]
    case = data.draw(row.cases)
    layout = data.draw(st.sampled_from(LAYOUTS))
    expected, _ = recorded(row, case)
    xp = expected._backend
    arranged = [arrange(v, layout) if isinstance(v, np.ndarray) else v for v in case.inputs]
    before = [v.copy() if isinstance(v, np.ndarray) else v for v in arranged]
    op = row.op(**case.fresh_attributes())
    # The layout goes straight into the forward: a Tensor would copy it into row-major order.
    y = op.forward(xp, *arranged)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-12, atol=1e-14)
    for value, old in zip(arranged, before, strict=True):
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, old)  # a forward leaves its inputs alone
    if expected.requires_grad:
        g = cotangent(expected)
        for receiver, share in xp.raw.shares(expected.node, arrange(g, layout), None):
            again = dict(xp.raw.shares(expected.node, g, None))[receiver]
            np.testing.assert_allclose(share, again, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", OURS)
@given(data=st.data())
def test_float32_stays_float32_and_agrees(name: str, data: Any) -> None:
    row = ROWS[name]
    case = data.draw(row.cases)
    single = tuple(v.astype("float32") if is_variable(v) else v for v in case.inputs)
    attributes = {
        k: np.dtype("float32") if isinstance(v, np.dtype) and v.kind == "f" else v
        for k, v in case.attributes.items()
    }
    y, leaves = recorded(row, Case(single, attributes))
    exact = run(row, case).numpy()
    if exact.dtype.kind == "f":
        assert y.dtype == np.float32
        scale = max(1.0, float(np.abs(exact).max(initial=0)))
        np.testing.assert_allclose(y.detach().numpy(), exact, rtol=1e-4, atol=1e-4 * scale)
    if y.requires_grad:
        y.backward(tg.Tensor(cotangent(y).astype("float32")))
        for leaf in leaves:
            if isinstance(leaf, tg.Tensor) and leaf.requires_grad:
                assert leaf.grad is not None
                assert (leaf.grad.dtype, leaf.grad.shape) == (leaf.dtype, leaf.shape)


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
