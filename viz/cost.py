"""What an op costs: floating-point operations of its forward pass, and the bytes that it keeps."""

from typing import Any

from tinygrad_cv._graph import Node


def flops(node: Node) -> int | None:
    """Floating-point operations of a node's forward pass, as its op counts them (`Op.flops`).

    None for an op that does not say: nobody knows.
    """
    if node.op is None:
        return 0
    return node.op.flops(node.shape, *map(_shape, node.inputs))


def _shape(value: Any) -> Any:
    """The shape of an input; () of a number, None where it was left out."""
    return None if value is None else getattr(value, "shape", ())


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
