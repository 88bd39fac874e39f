"""What the nodes of a finished graph gave: what the rules saved, and what can be computed again."""

import copy
from collections import Counter
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
    known = _kept(graph, outputs)
    readers = Counter(parent for node in graph for parent in node.parents())
    for node in graph:
        parents = set(node.parents())
        given = None
        if node.op is not None and parents <= known.keys():
            given = [known[x] if isinstance(x, Node) else x for x in node.inputs]
            if node not in known and (array := _again(node, given)) is not None:
                known[node] = array
        if node in known and not isinstance(known[node], tuple):
            yield node, known[node], given
        readers.subtract(node.parents())
        for parent in parents:
            if not readers[parent]:
                known.pop(parent, None)


def _kept(graph: Graph, outputs: list[Tensor]) -> dict[Node, Any]:
    """The arrays that tensors or rules hold, and that nobody wrote to since."""
    first: dict[Node, int] = {}
    for node in graph:
        for parent in node.parents():
            first.setdefault(parent, node.number)

    def is_as_it_was(node: Node, counter: list[int]) -> bool:
        """Whether the memory was not written to since an op made it, or since one read a leaf."""
        if node.op is not None:
            return counter[1] <= node.number
        return node not in first or counter[1] < first[node]

    known: dict[Node, Any] = {}
    for node in graph:
        tensor = node.tensor() if node.tensor is not None else None
        if tensor is not None and tensor._node is node and is_as_it_was(node, tensor._counter):
            known[node] = tensor._array
        for source, array, counter, version in _saved(node):
            if counter[0] == version and is_as_it_was(source, counter):
                known.setdefault(source, array)
    for tensor in outputs:
        if is_as_it_was(tensor.node, tensor._counter):
            known.setdefault(tensor.node, tensor._array)
    return known


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
