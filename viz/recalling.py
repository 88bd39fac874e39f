"""What the nodes of a finished graph gave: what the rules saved, and what can be computed again."""

import copy
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from tinygrad_cv._graph import Graph, Node
from tinygrad_cv._op import REGISTRY, Output
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.backend.base import Bits, drawing


class _DrawsError(Exception):
    """An op draws random numbers: it would give others."""


def recalled(outputs: Iterable[Tensor]) -> Iterator[tuple[Node, Any, list[Any] | None]]:
    """The values of a graph in the order of computation, each with what went into its op.

    A value is known if a rule saved it, or a tensor holds it, and its memory was not changed since;
    or else if what went in is known and the op gives the same once more. That is true of the ops of
    this package, but for those that draw random numbers; what they do beside, such as moving the
    statistics of a batch norm, is left out.
    """
    outputs = list(outputs)
    graph = Graph([tensor.node for tensor in outputs])
    readers: dict[Node, list[int]] = {node: [] for node in graph}
    for node in graph:
        for parent in node.parents():
            readers[parent].append(node.number)
    kept = _kept(graph, outputs, readers)
    left = {node: len(numbers) for node, numbers in readers.items()}
    known: dict[Node, Any] = {}
    for node in graph:
        given: list[Any] | None = None
        array, was_read = kept.get(node, (None, False))
        if node.op is not None and known.keys() >= set(node.parents()):
            given = [known[x] if isinstance(x, Node) else x for x in node.inputs]
            if array is None:
                array = _again(node, given)
                was_read = node.counter is not None and node.counter[2] <= node.number
        if array is not None and not isinstance(array, tuple):
            yield node, array, given
        if array is not None and was_read:
            known[node] = array
        for parent in node.parents():
            left[parent] -= 1
            if not left[parent]:
                known.pop(parent, None)


def _kept(
    graph: Graph, outputs: list[Tensor], readers: dict[Node, list[int]]
) -> dict[Node, tuple[Any, bool]]:
    """The arrays that tensors or rules hold and that nobody wrote to since.

    Of each, whether all that read the node have read this array. Where only some have read what a
    leaf holds, that is not its value.
    """
    kept: dict[Node, tuple[Any, bool]] = {}

    def keep(node: Node, array: Any, counter: list[int]) -> None:
        _, written, outside = counter
        numbers = readers[node] or [max(written, outside)]
        since = numbers[0] if node.op is None else node.number
        was_read = outside <= since or outside > numbers[-1]
        if written <= since and (was_read or node.op is not None):
            kept.setdefault(node, (array, was_read))

    for node in graph:
        tensor = node.tensor() if node.tensor is not None else None
        if tensor is not None and tensor._node is node:
            keep(node, tensor._array, tensor._counter)
        for source, array, counter, version in _saved(node):
            if counter[0] == version:
                keep(source, array, counter)
    for tensor in outputs:
        keep(tensor.node, tensor._array, tensor._counter)
    return kept


def _saved(node: Node) -> Iterator[tuple[Node, Any, list[int], int]]:
    """What the rules of a node keep of the values of nodes, each with its counter of changes."""
    if node.saved is None or node.plan is None:
        return
    guards = iter(node.guards)
    for value, where in zip(node.saved, node.plan.saves, strict=True):
        sources: Iterable[Any] = ()
        if where == "y":
            sources, value = (node,), (value,)
        elif isinstance(where, int):
            sources, value = (node.inputs[where],), (value,)
        elif isinstance(where, slice):
            sources = node.inputs[where]
        elif node.op is not None and where in node.op.outputs:
            next(guards)
        for source, array in zip(sources, value, strict=True) if sources else ():
            if isinstance(source, Node):
                _, counter, version = next(guards)
                yield source, array.truth() if type(array) is Bits else array, counter, version


def _again(node: Node, given: list[Any]) -> Any:
    """What an op gives once more for the arrays that went in; None if that is not certain."""
    op = node.op
    assert op is not None
    if isinstance(op, Output):
        return given[0][op.index]
    if REGISTRY.get(op.name) is not type(op) or type(op).foreign:
        return None
    op = copy.copy(op)
    for name in op.hidden:  # its state: a generator, running statistics
        vars(op)[name] = type(op).attributes[name]
    backend = next(node.parents()).backend
    token = drawing.set(_refuse)
    try:
        with backend.active, host.errstate(all="ignore"):
            made = op.run(backend, *given)
    except Exception:  # what does not run again is not known
        return None
    finally:
        drawing.reset(token)
    if isinstance(made, tuple):
        return made
    return made if made.shape == node.shape and made.dtype == node.dtype else None


def _refuse(generator: Any, law: Any) -> NoReturn:
    raise _DrawsError
