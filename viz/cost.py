"""What an op costs: floating-point operations of its forward pass, and the bytes that it keeps."""

import math
from collections.abc import Callable
from typing import Any

from tinygrad_cv._graph import Node
from tinygrad_cv._op import Op

PER_OUTPUT = {"elementwise", "activation", "noise"}  # families that do one operation an output
PER_INPUT = {"reduce", "sort", "loss"}  # families that look once at each element of an input
NORMALIZE = 5  # operations an element: mean, variance, subtract, scale, shift
SAMPLE = 8  # operations for a bilinear sample: four products, three sums, one weight


def flops(node: Node) -> int | None:
    """Floating-point operations of a node's forward pass; a multiply-add counts as two.

    An elementwise op counts one for each output (`exp` as much as `+`), a reduction one for each
    input, and what only moves elements none. None for an op of one's own: nobody knows.
    """
    op = node.op
    if op is None:
        return 0
    family = type(op).__module__.rpartition("tinygrad_cv.ops.")[2]
    exact = _EXACT.get(op.name)
    if exact is not None:
        return exact(op, node)
    out, largest = math.prod(node.shape), max(map(_size, node.parents()), default=0)
    if family in PER_OUTPUT:
        return out
    if family in PER_INPUT:
        return largest
    if family == "norm":
        return NORMALIZE * out
    if family == "pool":
        return max(out, largest)
    if family == "image":
        return SAMPLE * max(out, largest)
    return 0 if family in ("shape", "index") else None


def _size(node: Node) -> int:
    return math.prod(node.shape)


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape)


def _convolution(op: Op, node: Node) -> int:
    """Each output is a product with one filter: (C/groups)·kh·kw multiply-adds, and a bias."""
    products = math.prod(_shape(node.inputs[1])[1:])
    return _size(node) * (2 * products + (node.inputs[2] is not None))


def _transposed(op: Op, node: Node) -> int:
    """Each input is spread by its filter: (O/groups)·kh·kw multiply-adds."""
    image, weight, bias = node.inputs
    products = _size(image) * math.prod(_shape(weight)[1:])
    return 2 * products + (_size(node) if bias is not None else 0)


def _convolution_weight(op: Op, node: Node) -> int:
    """Each output position meets each element of its filter."""
    return 2 * _size(node.inputs[1]) * math.prod(node.shape[1:])


def _linear(op: Op, node: Node) -> int:
    x, _, bias = node.inputs
    return _size(node) * (2 * _shape(x)[-1] + (bias is not None))


def _matmul(op: Op, node: Node) -> int:
    return 2 * _size(node) * _shape(node.inputs[0])[-1]


def _einsum(op: Any, node: Node) -> int:
    """One product of all terms, and one sum, for each value of all letters."""
    terms = op.equation.split("->")[0].split(",")
    lengths: dict[str, int] = {}
    for letters, term in zip(terms, node.parents(), strict=True):
        lengths |= dict(zip(letters, term.shape, strict=True))
    return len(terms) * math.prod(lengths.values())


_EXACT: dict[str, Callable[[Any, Node], int]] = {
    **{f"conv{axes}d": _convolution for axes in (1, 2, 3)},
    **{f"conv_transpose{axes}d": _transposed for axes in (1, 2, 3)},
    "conv_weight": _convolution_weight,
    "linear": _linear,
    "matmul": _matmul,
    "einsum": _einsum,
    **dict.fromkeys(("unfold", "fold", "clone", "cast", "to_device"), lambda op, node: 0),
}


def owner(array: Any) -> Any:
    """The array whose memory this one looks at."""
    base = getattr(array, "base", None)
    return base if hasattr(base, "dtype") else array


def saved_bytes(node: Node, counted: set[int]) -> dict[str, int] | None:
    """The bytes that a node keeps for its rules, by name; None once they were freed.

    What lies in memory that is `counted` already is left out, and what is found is added to it.
    """
    if node.saved is None or node.plan is None:
        return None
    found: dict[str, int] = {}
    for name, value in zip(node.plan.names, node.saved, strict=True):
        for array in value if isinstance(value, tuple) else (value,):
            memory = owner(array)
            if hasattr(array, "nbytes") and id(memory) not in counted:
                counted.add(id(memory))
                found[name] = found.get(name, 0) + int(array.nbytes)
    return found
