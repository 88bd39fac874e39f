"""Where NaN and infinite numbers arise in what is traced: the op, or the rule, that made them."""

import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from tinygrad_cv._graph import Graph, Node
from tinygrad_cv._op import is_array, is_float
from tinygrad_cv.autograd.anomaly_mode import Anomaly, Frames, Look, LookBack
from tinygrad_cv.backend import host
from tinygrad_cv.viz import data
from tinygrad_cv.viz.data import Broken

INFIX = {"add": "+", "sub": "-", "mul": "·", "div": "/", "pow": "^"}
"""Ops that are written between their inputs."""

NOWHERE: Frames = (("", 0, ""),)
"""The node knows its line."""


class _Seen(Look):
    """A look at what is not finite: nobody raises, and all is remembered."""

    def _given(self, i: int, value: Any, here: Anomaly) -> Anomaly:
        """What was there before: in a leaf."""
        known = super()._given(i, value, here)
        node = None if self.node is None else self.node()
        source = None if node is None else [*_flat(node)][i]
        return replace(known, node=weakref.ref(source) if isinstance(source, Node) else None)

    def fail(self, arose: Anomaly, seen: Anomaly, then: str = "") -> None:
        self.arose = arose


class _SeenBack(LookBack):
    """The same for the gradient that a rule gave."""

    def fail(self, arose: Anomaly, seen: Anomaly, then: str = "") -> None:
        self.arose = arose


def _flat(node: Node) -> Iterable[Any]:
    """The inputs of an op; of one output of several, those of the op itself."""
    own = node.op is not None and node.op.name == "output"
    return node.inputs[0].inputs if own else node.inputs


class Breaks:
    """What was found in a forward and a backward pass, by the numbers of nodes."""

    def __init__(self) -> None:
        self._looks: dict[int, _Seen | None] = {}
        """At each node that is not finite; None where it is not known what went in."""
        self._nan: set[int] = set()
        self._back: dict[int, list[_SeenBack]] = {}
        """At the gradients that a node was sent, if one is not finite."""
        self._rules: list[tuple[bool, _SeenBack]] = []

    def forward(self, node: Node, array: Any, given: Sequence[Any] | None, nan: bool) -> None:
        """An op made what is not finite, of these inputs (None: they are not known)."""
        assert node.op is not None
        parents = [parent.number for parent in _flat(node) if isinstance(parent, Node)]
        look = None
        if given is not None and not any(self._looks.get(n, 0) is None for n in parents):
            op = node.inputs[0].op if node.op.name == "output" else node.op
            look = _Seen(op, node.backend, [self._looks.get(number) for number in parents])
            look.node, look.frames = weakref.ref(node), NOWHERE
            look(array, *(x for part in given for x in (part if type(part) is tuple else (part,))))
        self._looks[node.number] = look
        if nan:
            self._nan.add(node.number)

    def backward(
        self,
        node: Node,
        port: int,
        receiver: Node,
        share: Any,
        gradient: Any,
        saved: Sequence[Any],
        nan: bool,
    ) -> None:
        """The rule of a node for one input gave what is not finite, of these arrays."""
        assert node.plan is not None
        share, gradient, *saved = map(_as_array, (share, gradient, *saved))
        asked = {
            name: value
            for name, value in zip(node.plan.names, saved, strict=False)
            if is_float(value) and type(value) is type(share)
        }
        sources: list[Look | None] = [self._looks.get(n.number) for n in (node, *node.parents())]
        sources += self._back.get(node.number, [])
        look = _SeenBack(node, port, receiver, sources, NOWHERE, list(asked))
        given = gradient if is_array(gradient) and type(gradient) is type(share) else None
        look(share, given, *asked.values())
        self._back.setdefault(receiver.number, []).append(look)
        self._rules.append((nan, look))

    def first(self, graph: Graph, nodes: list[data.Node]) -> Broken | None:
        """The node that made the first NaN out of others, or else the first infinite number."""
        found = [(n in self._nan, look) for n, look in self._looks.items() if look is not None]
        arose, node = next(_arisen(found, graph), (None, None))
        if arose is None or node is None:
            return None
        return Broken(graph.ids[node], _forward_words(arose, node, nodes[graph.ids[node]]))

    def first_gradient(self, graph: Graph, nodes: list[data.Node]) -> Broken | None:
        """The same in the backward pass, if that made it."""
        ports: dict[int, int] = {}
        for _, look in self._rules:  # the first that knows of it is where it arose
            ports.setdefault(id(look.arose), look.port)
        arose, node = next(_arisen(self._rules, graph), (None, None))
        if arose is None or node is None or arose.during == "forward":
            return None
        words = _backward_words(arose, ports[id(arose)], nodes[graph.ids[node]])
        return Broken(graph.ids[node], words)


def _as_array(value: Any) -> Any:
    """A number of NumPy, which is what arithmetic on arrays without axes gives, as an array."""
    return host.asarray(value) if isinstance(value, host.generic) else value


def _arisen(found: Iterable[tuple[bool, Look]], graph: Graph) -> Iterator[tuple[Anomaly, Node]]:
    """Where numbers arose in this graph, as looks know; those that saw NaN come first."""
    for _, look in sorted(found, key=lambda pair: not pair[0]):
        node = look.arose.node() if look.arose is not None and look.arose.node else None
        if look.arose is not None and node in graph.ids:
            yield look.arose, node


def _forward_words(arose: Anomaly, node: Node, told: data.Node) -> str:
    """What went into an op: "log got -2 at [3, 1], train.py:12"; or "div: 1 / 0 at [2]"."""
    at = f" at {list(arose.index)}" if arose.index else ""
    line = f", {told.source}" if told.source else ""
    if node.op is None:
        return f"{told.name or told.op} has {arose.value}{at}, before anything was computed"
    numbers = [number for _, number in arose.numbers]
    plain = not any(number.startswith("from ") for number in numbers)
    if told.op in INFIX and len(numbers) == 2 and plain:
        left, right = (f"({number})" if number.startswith("-") else number for number in numbers)
        return f"{told.op}: {left} {INFIX[told.op]} {right}{at}{line}"
    if len(numbers) == 1 and plain:
        return f"{told.op} got {numbers[0]}{at}{line}"
    got = f" of {_listed(arose.numbers, told)}" if numbers else ""
    return f"{told.op} made {arose.value}{at}{got}{line}"


def _backward_words(arose: Anomaly, port: int, told: data.Node) -> str:
    """What a rule computed: "sqrt's rule: g / (2 · y) with g = 1, y = 0 at [5]"."""
    formula = told.inputs[port].formula
    with_ = _listed(arose.numbers, told)
    at = f" at {list(arose.index)}" if arose.index else ""
    return f"{told.op}'s rule: {formula or arose.value}{f' with {with_}' if with_ else ''}{at}"


def _listed(numbers: Iterable[tuple[str, str]], told: data.Node) -> str:
    """Numbers by what the formulas of a node call them."""
    called = {"the gradient": "g", "y": told.called or "y"}
    called |= {each.name: each.called or each.name for each in told.inputs}
    return ", ".join(
        f"{called.get(name, name)} {number}"
        if number.startswith("from ")
        else f"{called.get(name, name)} = {number}"
        for name, number in numbers
    )
