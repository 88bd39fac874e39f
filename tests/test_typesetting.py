"""Formulas set as in a book say what their text says."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cv._op import REGISTRY
from tinygrad_cv._symbol import Symbol, _op_of, derive
from tinygrad_cv.viz.boxing import Box, Letters, Stroke, fitted, svg
from tinygrad_cv.viz.parsing import Parser
from tinygrad_cv.viz.typesetting import equation, formula

pytestmark = pytest.mark.host


def read(box: Box) -> str:
    """Its words from left to right, without blanks."""
    letters = sorted((m.x, m.text) for m in box.marks if isinstance(m, Letters))
    return "".join(text for _, text in letters).replace(" ", "")


def strokes(box: Box) -> int:
    return sum(isinstance(mark, Stroke) for mark in box.marks)


@pytest.mark.parametrize(
    ("text", "seen", "lines"),
    [
        ("2 · x", "2x", 0),
        ("g · z", "g·z", 0),
        ("1 · (-4)", "1·−4", 2),  # two parentheses
        ("sqrt(x)", "x", 1),
        ("sum(g)", "Σg", 0),
        ("sum(a + b)", "Σa+b", 2),
        ("sigmoid(x)", "σx", 2),
        ("exp(-x)", "e−x", 0),
        ("g / y", "gy", 1),
        ("-g / y / y", "−gy2", 1),
        ("g · y · y · y", "g·y3", 0),
        ("x ** 1", "x", 0),
        ("1e-05 + x", "10−5+x", 0),
        ("3.0 · w0", "3w0", 0),
        ("∂L/∂q", "∂∂qL", 1),
        ("gᵀ @ x", "gTx", 0),
        ("where(m, g, 0.0)", "0gotherwiseifm", 1),
        ("broadcast_to(reshape(g) / 4)", "4g", 1),
        ("2 · %3", "2·%3", 0),
        ("0.weight @ x", "0.weightx", 0),
        ("no formula, but words", "noformula,butwords", 0),
    ],
)
def test_how_a_formula_is_set(text: str, seen: str, lines: int) -> None:
    box = formula(text, 20.0)
    assert sorted(read(box)) == sorted(seen)
    assert strokes(box) == lines


NAMES = {"x": 0.75, "y": 1.25, "w0": 2.0, "g": -0.5}
FUNCTIONS: dict[str, Any] = {"exp": math.exp, "sqrt": lambda v: math.sqrt(abs(v)), "abs": abs}


def value(tree: Any) -> float:
    """What a tree means, by its own rules."""
    kind, *parts = tree
    if kind == "number":
        return float(parts[0])
    if kind == "name":
        return NAMES[parts[0]]
    if kind == "group":
        return value(parts[0])
    if kind == "negative":
        return -value(parts[1])
    if kind == "power":
        return value(parts[0]) ** value(parts[1])
    if kind == "call":
        return float(FUNCTIONS[parts[0]](*map(value, parts[1])))
    total = value(parts[0][0][1])
    for sign, part in parts[0][1:]:
        other = value(part)
        total = {"+": total + other, "-": total - other, "·": total * other}.get(
            sign, total / other if sign == "/" else math.nan
        )
    return total


def expressions() -> st.SearchStrategy[Symbol]:
    atoms = st.sampled_from([*map(Symbol, NAMES), Symbol("2"), Symbol("0.5")])

    def joined(inside: st.SearchStrategy[Symbol]) -> st.SearchStrategy[Symbol]:
        pair = st.tuples(inside, inside)
        return st.one_of(
            pair.map(lambda p: p[0] + p[1]),  # type: ignore[operator]
            pair.map(lambda p: p[0] - p[1]),  # type: ignore[operator]
            pair.map(lambda p: p[0] * p[1]),  # type: ignore[operator]
            pair.map(lambda p: p[0] / p[1]),  # type: ignore[operator]
            inside.map(lambda p: -p),
            inside.map(lambda p: p**2),  # type: ignore[operator]
            inside.map(lambda p: Symbol(f"abs({p})")),
        )

    return st.recursive(atoms, joined, max_leaves=8)


@given(expressions())
def test_the_tree_means_what_python_reads(symbol: Symbol) -> None:
    names = {**NAMES, **FUNCTIONS}
    try:
        expected = eval(symbol.text.replace("·", "*"), names)
    except (ZeroDivisionError, OverflowError):
        return
    tree = Parser(symbol.text).whole()
    assert value(tree) == pytest.approx(expected, rel=1e-9)
    box = formula(symbol.text, 20.0)
    for name in ("x", "y", "w", "g"):
        assert (name in read(box)) == any(name in token for token in (symbol.text,))


def test_the_formulas_of_all_ops_can_be_set() -> None:
    count = 0
    for name, op in REGISTRY.items():
        for rule in op.rules:
            try:
                result, definitions = derive(_op_of(op)[0], rule, attributes=False)
            except ValueError:
                continue  # it depends on shapes
            parts = result if isinstance(result, list | tuple) else [result]
            for part in (*parts, *definitions.values()):
                assert Parser(str(part)).whole(), name
                count += 1
    assert count > 250


def test_a_long_chain_is_broken_before_equal_signs() -> None:
    line = "∂L/∂x = " + " + ".join(["g · y"] * 5) + " = " + " + ".join(["1 · 2"] * 5) + " = 10"
    box = equation(line, 20.0, 300.0)
    heights = {round(m.y) for m in box.marks if isinstance(m, Letters) and m.text == "="}
    assert len(heights) == 3
    assert box.height > 2 * formula("g", 20.0).height
    small = fitted(box, 100.0)
    assert small.width == 100.0
    assert all(m.x + m.width <= 100.5 for m in small.marks if isinstance(m, Letters))


def test_a_where_clause_and_a_matrix() -> None:
    assert read(equation("    where s = [[1, 2], [-3.5, 4]] = 1", 20.0, 900.0)).startswith(
        "wheres="
    )
    box = formula("[[1, 2], [-3.5, 4]]", 20.0)
    assert len({mark.y for mark in box.marks if isinstance(mark, Letters)}) == 2
    assert strokes(box) == 2


def test_words_keep_their_width_in_any_font() -> None:
    assert 'textLength="' in svg(formula("loss", 20.0).marks)
    assert svg(formula("a<b", 20.0).marks).count("&lt;") == 1
