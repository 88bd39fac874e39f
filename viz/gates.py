"""Ops as the gates of a circuit: what stands on them, and their forward pass as a formula."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_cv._graph import Node
from tinygrad_cv._op import Op
from tinygrad_cv._symbol import Symbol, Symbols
from tinygrad_cv.viz.data import Node as Told

WRITTEN: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "neg": operator.neg,
    "matmul": operator.matmul,
    "pow_tensor": operator.pow,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
    "eq": operator.eq,
    "ne": operator.ne,
    "square": lambda x: x**2,
    "reciprocal": lambda x: 1 / x,
    "rsqrt": lambda x: operator.truediv(1, Symbol(f"sqrt({x})")),
    "relu": lambda x: Symbol(f"max(0, {x})"),
    "linear": lambda x, w, b=None: x @ Symbol(f"{w.within(5)}ᵀ") + (0 if b is None else b),
}
"""The ops that a formula writes with signs, and not as the call of a function."""

FACES = {
    "add": "+", "sub": "−", "mul": "·", "div": "÷", "neg": "−x", "matmul": "@", "sum": "Σ",
    "sigmoid": "σ", "square": "x²", "sqrt": "√", "reciprocal": "1/x", "rsqrt": "1/√x",
    "maximum": "max", "minimum": "min", "amax": "max", "amin": "min", "relu": "max(0, x)",
    "mT": "xᵀ", "abs": "|x|",
}  # fmt: skip
_BESIDE = {"add": "+{}", "sub": "−{}", "mul": "·{}", "div": "÷{}"}
_BEFORE = {"add": "{}+", "sub": "{}−x", "mul": "{}·", "div": "{}/x"}


def face(node: Told, op: Op | None) -> str:
    """What stands on a gate: its sign, with the plain number that it adds or multiplies by."""
    numbers = [(port, entry.text) for port, entry in enumerate(node.inputs) if entry.source is None]
    if node.op in _BESIDE and len(node.inputs) == 2 and len(numbers) == 1:
        [(port, text)] = numbers
        sign = (_BESIDE if port else _BEFORE)[node.op]
        if len(text) < 8:
            return sign.format(text.removesuffix(".0").replace("-", "−"))
    if node.op == "getitem" and op is not None:
        return Symbols(op, False).getitem(Symbol(""), op.index).text
    if node.op == "pow" and op is not None:
        raised = "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(d)] if d.isdigit() else "" for d in str(op.n))
        return f"x{raised}" if str(op.n).isdigit() else f"x^{op.n}"
    return FACES.get(node.op, node.op)


def applied(node: Node, values: Sequence[Any]) -> Any:
    """What an op computes of these symbols and plain numbers, as a formula."""
    op = node.op
    assert op is not None
    try:
        if op.name == "pow":
            return values[0] ** op.n
        if op.name == "getitem":
            return Symbols(op, False).getitem(values[0], op.index)
        if op.name == "output":
            return Symbol(f"{values[0].within(5)}.{op.of}")
        if op.name in WRITTEN:
            return WRITTEN[op.name](*values)
        given = [value for value in values if value is not None]
        if op.outputs:
            return Symbol(f"{op.name}({', '.join(map(str, given))})")
        result = getattr(Symbols(op, False), op.name)(*given)
        return result if isinstance(result, Symbol) else Symbol(f"{op.name}(…)")
    except Exception:  # arrays among the attributes may do what symbols cannot
        return Symbol(f"{op.name}(…)")
