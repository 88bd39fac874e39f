"""One graph of several steps: what a later step has more is added to what is known."""

from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

from tinygrad_cv._graph import Graph, Node
from tinygrad_cv.viz import data
from tinygrad_cv.viz.data import Broken, Step, Trace
from tinygrad_cv.viz.letters import input_names
from tinygrad_cv.viz.linking import Links
from tinygrad_cv.viz.recorder import Recorder
from tinygrad_cv.viz.structure import Calls, keys, receivers

Place = tuple[tuple[Any, ...], int]

Sources = list[tuple[str, str | None]]
"""Each input of a node: its name, and the key of the node that it comes from."""


class Union:
    """A trace that has the nodes of all steps: each at its key, with the inputs that it ever had.

    An op between modules is known by its line in the program. Where a place would come before
    itself, what came later has one of its own, such as "add.0'".
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._sources: dict[str, Sources] = {
            node.key: [
                (each.name, None if each.source is None else trace.nodes[each.source].key)
                for each in node.inputs
            ]
            for node in trace.nodes
        }
        self._flowing = {
            key: {each for each, x in zip(sources, node.inputs, strict=True) if x.gradient}
            for node, (key, sources) in zip(trace.nodes, self._sources.items(), strict=True)
        }
        """The inputs that a gradient flows to."""
        self._keys: dict[Place, str] = {}
        count: Counter[Any] = Counter()
        for node in trace.nodes:
            place = _place(node.key, node.code, node.dtype, len(node.shape), node.kind)
            self._keys[place, count[place]] = node.key
            count[place] += 1
        self._given: dict[str, Sources] = {}
        self.nodes = self.edges = self.gradients = 0
        """How many of them the step had that were not known; gradients, on edges that were."""

    def places(self, graph: Graph, calls: Calls, seen: Recorder) -> list[str]:
        """The key of each node of another step."""
        found: dict[Node, str] = {}
        count: Counter[Any] = Counter()
        self._given, self.nodes, self.edges, self.gradients = {}, 0, 0, 0
        flows = {root for root in graph.roots if root.requires_grad}
        for node in reversed(graph.nodes):
            if node in flows and node.op is not None:
                flows.update(receiver for _, receiver in receivers(node, None))
        for node, key in zip(graph, keys(graph, calls), strict=True):
            given = _sources(node, found, seen.links)
            kind = "op" if given or node.op is not None else "leaf"
            place = _place(key, seen.line(node)[1], str(node.dtype), len(node.shape), kind)
            while True:
                own = self._keys.get((place, count[place]))
                count[place] += 1
                if own is None or not self._is_circle(own, given):
                    break
            if own is not None:
                key = own
            else:
                while key in self._sources:
                    key += "'"
                self._keys[place, count[place] - 1] = key
            found[node], self._given[key] = key, given
            ports = receivers(node, None) if node in flows and node.op is not None else ()
            flowing = {given[port] for port, _ in ports}
            if key not in self._sources:
                self._sources[key], self._flowing[key] = [*given], flowing
                self.nodes += 1
                continue
            new = [each for each in given if each not in self._sources[key]]
            self.edges += sum(source is not None for _, source in new)
            self.gradients += len(flowing - self._flowing[key] - {*new})
            self._sources[key] += new
            self._flowing[key] |= flowing
        return list(found.values())

    def news(self) -> str:
        """In words what the step had more: "3 nodes and 1 edge"; "" if nothing."""
        counts = {"node": self.nodes, "edge": self.edges, "gradient": self.gradients}
        told = [f"{n} {what}{'s' * (n > 1)}" for what, n in counts.items() if n]
        return ", ".join(told[:-1]) + " and " * (len(told) > 1) + told[-1] if told else ""

    def _is_circle(self, key: str, given: Sources) -> bool:
        """Whether a known place would come before itself with these inputs."""
        known = self._sources.get(key)
        if known is None:
            return False
        waiting = [source for name, source in given if source and (name, source) not in known]
        seen = set(waiting)
        while waiting:
            if (here := waiting.pop()) == key:
                return True
            behind = {source for _, source in self._sources[here] if source} - seen
            seen |= behind
            waiting += behind
        return False

    def add(self, told: Trace, places: list[str]) -> None:
        """Take the nodes and edges of the step whose places these are."""
        trace = self.trace
        modules = self._add_modules(told)
        known = {node.key: node for node in trace.nodes}
        old = list(known)
        for node, key in zip(told.nodes, places, strict=True):
            if key not in known:
                home = None if node.module is None else modules[node.module]
                known[key] = replace(node, key=key, module=home)
                continue
            own = known[key]
            own.requires_grad |= node.requires_grad
            inputs = dict(zip(self._given[key], node.inputs, strict=True))
            for i, each in enumerate(self._sources[key]):
                if i >= len(own.inputs):
                    own.inputs.append(inputs[each])
                elif each in inputs and not own.inputs[i].gradient:
                    own.inputs[i] = inputs[each]
        ordered = self._ordered(old, places, known)
        ids = {key: i for i, key in enumerate(ordered)}
        moved = {i: ids[key] for i, key in enumerate(old)}
        trace.nodes = [known[key] for key in ordered]
        for key, node in zip(ordered, trace.nodes, strict=True):
            node.id = ids[key]
            for operand, (_, source) in zip(node.inputs, self._sources[key], strict=True):
                operand.source = None if source is None else ids[source]
        trace.steps = [renumbered(step, moved) for step in trace.steps]
        outputs = [moved[i] for i in trace.outputs] + [ids[places[i]] for i in told.outputs]
        trace.outputs = list(dict.fromkeys(outputs))
        trace.output_names = [trace.nodes[i].name for i in trace.outputs]
        for remark in trace.remarks or ():
            remark.nodes = [moved[i] for i in remark.nodes]

    def _add_modules(self, told: Trace) -> dict[int, int]:
        """Take the calls of modules that are not known; the id here of each."""
        known = dict(zip(_module_keys(self.trace), self.trace.modules, strict=True))
        ids: dict[int, int] = {}
        for module, key in zip(told.modules, _module_keys(told), strict=True):
            if key not in known:
                parent = None if module.parent is None else ids[module.parent]
                known[key] = replace(module, id=len(self.trace.modules), parent=parent)
                self.trace.modules.append(known[key])
            ids[module.id] = known[key].id
        return ids

    def _ordered(self, old: list[str], places: list[str], known: dict[str, data.Node]) -> list[str]:
        """All keys, inputs before those that read them, a leaf right before its first reader.

        What is new comes behind what was before it in its step.
        """
        behind: dict[str, list[str]] = defaultdict(list)
        anchor = ""
        for key in places:
            if known[key].kind == "op":
                if key in self._given and key not in old:
                    behind[anchor].append(key)
                else:
                    anchor = key
        wanted = [*behind[""]]
        for key in old:
            wanted += [key, *behind[key]]
        read = {source for sources in self._sources.values() for _, source in sources}
        ordered: dict[str, None] = {}
        for each in wanted:
            waiting = [each] if known[each].kind == "op" or each not in read else []
            while waiting:
                key = waiting[-1]
                before = [s for _, s in self._sources[key] if s is not None and s not in ordered]
                if before:
                    waiting += reversed(before)
                else:
                    ordered[waiting.pop()] = None
        return [*ordered, *(key for key in known if key not in ordered)]

    def ids(self, places: list[str]) -> list[int]:
        """The id of the node at each of these places."""
        ids = {node.key: node.id for node in self.trace.nodes}
        return [ids[key] for key in places]

    def step(self, step: Step, places: list[str]) -> Step:
        """A step as the nodes and edges of all steps are numbered."""
        ids = dict(enumerate(self.ids(places)))
        ports = {
            f"{i}:{port}": f"{i}:{self._sources[key].index(each)}"
            for i, key in enumerate(places)
            for port, each in enumerate(self._given[key])
        }
        shares = {ports[edge]: share for edge, share in step.shares.items()}
        return renumbered(replace(step, shares=shares), ids)


def _place(key: str, code: str, dtype: str, axes: int, kind: str) -> tuple[Any, ...]:
    """What nodes at the same place have in common, but for their number."""
    inside, slash, name = key.partition("/")
    if not slash:
        return (key,)  # a parameter
    what = name.partition(".")[0]
    return (inside, what, code) if kind == "op" else (inside, what, dtype, axes)


def _sources(node: Node, found: dict[Node, str], links: Links) -> Sources:
    """What a node is made of, by the places of its inputs; a detached value of what it holds."""
    if node.op is None:
        source = links.sources.get(node)
        return [("x", found[source])] if source in found else []
    names = input_names(node.op, len(node.inputs))
    return [
        (name, found[value] if isinstance(value, Node) else None)
        for name, value in zip(names, node.inputs, strict=True)
    ]


def _module_keys(trace: Trace) -> list[tuple[str, ...]]:
    """What names a call of a module in any step."""
    count: Counter[tuple[str, ...]] = Counter()
    found: list[tuple[str, ...]] = []
    for module in trace.modules:
        *_, root = trace.ancestors(module.id)
        key = (root.name, root.type, module.path, module.type, str(module.call))
        found.append((*key, str(count[key])))
        count[key] += 1
    return found


def renumbered(step: Step, ids: dict[int, int]) -> Step:
    """A step whose node i is now called ids[i]."""

    def broken(found: Broken | None) -> Broken | None:
        return None if found is None else replace(found, node=ids[found.node])

    shares = {}
    for edge, share in step.shares.items():
        node, _, port = edge.partition(":")
        shares[f"{ids[int(node)]}:{port}"] = share
    return replace(
        step,
        values={ids[i]: told for i, told in step.values.items()},
        gradients={ids[i]: told for i, told in step.gradients.items()},
        shares=shares,
        updates={ids[i]: ratio for i, ratio in step.updates.items()},
        broken=broken(step.broken),
        broken_gradient=broken(step.broken_gradient),
    )
