"""What an op costs: floating-point operations of its forward pass, and the bytes that it keeps."""

import math
from typing import Any, Literal, get_args

from tinygrad_cv._graph import Node
from tinygrad_cv.viz import data

Cost = Literal["flops", "parameters", "saved", "time"]
"""What can be counted of a node: see `costs`."""


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

    Of a view all the memory counts that it keeps. What is `counted` already is left out, and what
    is found is added to it.
    """
    if node.saved is None or node.plan is None:
        return None
    found: dict[str, int] = {}
    for name, value in zip(node.plan.names, node.saved, strict=True):
        for array in value if isinstance(value, tuple) else (value,):
            memory = owner(array)
            if hasattr(array, "nbytes") and id(memory) not in counted:
                counted.add(id(memory))
                found[name] = found.get(name, 0) + int(memory.nbytes)  # of a view all of it
    return found


def costs(trace: data.Trace, what: Cost) -> dict[int, float]:
    """What each op of a trace costs, by the id of its node; an op without a number is left out.

    - "flops": the floating-point operations of its forward;
    - "parameters": the elements of those that it reads; one that several ops read is counted
      once, at the first;
    - "saved": the bytes that it keeps for the backward pass;
    - "time": the seconds of its forward and of its rules, as far as they were measured.

    Raises ValueError for another word.

    >>> from tinygrad_cv import nn, viz
    >>> seen = viz.trace(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), (2, 3))
    >>> {seen.nodes[i].op: cost for i, cost in costs(seen, "parameters").items()}
    {'linear': 16, 'relu': 0}
    """
    if what not in get_args(Cost):
        known = ", ".join(map(repr, get_args(Cost)))
        raise ValueError(f"costs are counted as one of {known}; got {what!r}.")
    ops = [node for node in trace.nodes if node.kind == "op"]
    if what == "parameters":
        return _parameters(trace, ops)
    counted = {"flops": _flops, "saved": _saved, "time": _time}[what]
    return {node.id: cost for node in ops if (cost := counted(node)) is not None}


def shares(trace: data.Trace, what: Cost) -> dict[int, float]:
    """What each op costs as a share of the whole, 0 to 1, by the id of its node; see `costs`.

    The shares add up to 1, or are all 0 where nothing costs anything. An op without a number is
    left out, of the whole as well.

    >>> from tinygrad_cv import nn, viz
    >>> seen = viz.trace(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 12)), (2, 3))
    >>> [round(share, 3) for share in shares(seen, "parameters").values()]
    [0.211, 0.789]
    """
    found = costs(trace, what)
    whole = sum(found.values()) or 1
    return {i: cost / whole for i, cost in found.items()}


def _parameters(trace: data.Trace, ops: list[data.Node]) -> dict[int, float]:
    found: dict[int, float] = dict.fromkeys((node.id for node in ops), 0)
    counted: set[int] = set()
    for node in ops:
        for operand in node.inputs:
            source = operand.source
            if source is None or source in counted or trace.nodes[source].kind != "parameter":
                continue
            counted.add(source)
            found[node.id] += math.prod(trace.nodes[source].shape)
    return found


def _flops(node: data.Node) -> float | None:
    return node.flops


def _saved(node: data.Node) -> float | None:
    return node.saved_bytes


def _time(node: data.Node) -> float | None:
    if node.seconds is None:
        return None
    return node.seconds + (node.backward_seconds or 0.0)
