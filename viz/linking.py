"""Where the graph is cut: values that are detached, and modules that no gradient reaches."""

import weakref
from collections.abc import Iterable
from typing import Any

from tinygrad_cv._graph import Graph, Node
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.viz.data import Input, Trace

NO_GRADIENT = "no gradient flows here"


class Links:
    """Which op made what a leaf holds. `detach` shares the memory and leaves no node."""

    def __init__(self) -> None:
        self.sources: dict[Node, Node] = {}
        self._makers: dict[int, tuple[weakref.ref[Any], Node]] = {}

    def made(self, node: Node, array: Any) -> None:
        """An op made this array."""
        key = id(array)
        self._makers[key] = weakref.ref(array, lambda _: self._makers.pop(key, None)), node

    def read(self, leaf: Node, tensor: Tensor) -> None:
        """An op reads a leaf, which may hold what another op made."""
        held, node = self._makers.get(id(tensor._array), (None, None))
        known = held is not None and held() is tensor._array
        if known and node is not None and leaf is not node and not leaf.requires_grad:
            self.sources.setdefault(leaf, node)

    def graph(self, roots: Iterable[Node]) -> Graph:
        """The graph of these nodes, with all that the detached values come from."""
        roots = list(dict.fromkeys(roots))
        graph, reached = Graph(roots), set(roots)
        while behind := {self.sources[n] for n in graph if n in self.sources} - reached:
            reached |= behind
            graph = Graph([*roots, *reached])
        graph.roots = roots
        return graph

    def draw(self, graph: Graph, traced: Trace) -> None:
        """Let each detached value be an op, which comes from what it holds."""
        readers: dict[Node, int] = {}
        for node, i in graph.ids.items():
            for parent in node.parents():
                readers.setdefault(parent, i)
        for leaf, source in self.sources.items():
            if leaf in graph.ids and source in graph.ids:
                told, held = traced.nodes[graph.ids[leaf]], graph.ids[source]
                told.kind, told.op, told.note = "op", "detach", NO_GRADIENT
                told.inputs, told.flops, told.saved = [Input("x", held)], 0, {}
                if leaf in readers:
                    told.module = _around(traced, held, readers[leaf])


def _around(traced: Trace, first: int, second: int) -> int | None:
    """The innermost call of a module around two nodes."""
    outer = {module.id for module in traced.ancestors(traced.nodes[first].module)}
    around = traced.ancestors(traced.nodes[second].module)
    return next((module.id for module in around if module.id in outer), None)


def note_cuts(traced: Trace) -> None:
    """Let no gradient flow where the graph is cut, and say so at a module with parameters."""
    flows = {i for i in traced.outputs if traced.nodes[i].requires_grad}
    for node in reversed(traced.nodes):
        if node.id in flows:
            flows.update(x.source for x in node.inputs if x.gradient and x.source is not None)
    if not flows:
        return
    for node in traced.nodes:
        for each in node.inputs if node.id not in flows else ():
            each.gradient, each.formula, each.where = False, "", {}
    reached = {m.id for i in flows for m in traced.ancestors(traced.nodes[i].module)}
    for module in traced.modules:
        above = module.parent is not None and traced.modules[module.parent].note
        if module.parameters and module.id not in reached and not above:
            module.note = NO_GRADIENT
