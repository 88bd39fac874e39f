"""From a live graph to plain data: its nodes, the calls of modules, the formulas of its rules."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any

from tinygrad_cv._apply import Recorded
from tinygrad_cv._grad_mode import enable_grad
from tinygrad_cv._graph import Graph, Node, Scope, backpropagate
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.creation import ones_like
from tinygrad_cv.nn import Module, Parameter
from tinygrad_cv.viz import data
from tinygrad_cv.viz.cost import flops, owner, saved_bytes
from tinygrad_cv.viz.data import Trace
from tinygrad_cv.viz.letters import Naming, input_names
from tinygrad_cv.viz.naming import holders

LIBRARY = f"{Module.__module__.rpartition('.')[0]}."
"""How the names of the modules of Python begin in which our layers are."""


def structure(graph: Graph, names: dict[int, str], calls: "Calls | None" = None) -> Trace:
    """A graph as data, without anything that was seen; `names` are the user's, by node number."""
    calls = calls or Calls(graph)
    saved = saved_by(graph)
    given = [
        calls.parameters.get(node) or node.title or names.get(node.number, "") for node in graph
    ]
    naming = Naming(graph, given)
    traced = Trace(modules=calls.modules, outputs=[graph.ids[root] for root in graph.roots])
    for (node, i), key in zip(graph.ids.items(), keys(graph, calls), strict=True):
        tensor = node.tensor() if node.tensor is not None else None
        parameter = node.op is None and (node.requires_grad or isinstance(tensor, Parameter))
        kind: Any = "op" if node.op is not None else "parameter" if parameter else "input"
        traced.nodes.append(
            data.Node(
                id=i,
                key=key,
                kind=kind,
                op=node.label if node.op is not None else kind,
                name=given[i],
                module=calls.home(node),
                shape=list(node.shape),
                dtype=str(node.dtype),
                device=node.backend.device,
                requires_grad=node.requires_grad,
                attributes=node.op.describe() if node.op is not None else "",
                inputs=_inputs(node, naming),
                saved=saved[node],
                flops=flops(node),
                called=naming.output(node),
            )
        )
    uses = Counter(edge.source for edge in traced.edges if edge.gradient)
    for edge in traced.edges:
        entry = traced.nodes[edge.target].inputs[edge.port]
        parts = traced.nodes[edge.target].op == "output"  # each gives the gradient of its own
        entry.summed = edge.gradient and uses[edge.source] > 1 and not parts
    return traced


def saved_by(graph: Graph) -> dict[Node, dict[str, int] | None]:
    """What each node keeps for its rules: bytes by name. What a leaf owns is not counted."""
    counted = {
        id(owner(tensor._array))
        for node in graph
        if node.op is None and node.tensor is not None and (tensor := node.tensor()) is not None
    }
    return {node: saved_bytes(node, counted) for node in graph}


def keys(graph: Graph, calls: "Calls") -> list[str]:
    """A name for each node that another run, or a similar model, has for the same place."""
    count: Counter[str] = Counter()
    found: dict[str, None] = {}
    for node in graph:
        key = calls.places.get(node, "")
        if not key or key in found:  # another outermost module has the same path
            place = f"{calls.path(node)}/{node.label}"
            key = f"{place}.{count[place]}"
            count[place] += 1
        found[key] = None
    return list(found)


class Calls:
    """The calls of modules in a graph, in order, and where each node belongs.

    Of several outermost modules `main` (or else the first) keeps its paths in keys; those of the
    others begin with what holds them, such as "D".
    """

    def __init__(self, graph: Graph, main: Module | None = None) -> None:
        self.modules: list[data.Module] = []
        self.parameters: dict[Node, str] = {}
        """The path of each parameter that is found in an outermost module."""
        self.places: dict[Node, str] = {}
        """The same for its key."""
        outermost = _outermost(graph)
        self._names = holders(outermost)
        self._several = sum(any(True for _ in each.parameters()) for each in outermost) > 1
        self._prefixes = _prefixes(sorted(outermost, key=lambda m: m is not main), self._names)
        self._roots: dict[int, str] = {}
        self._ids: dict[Scope, int] = {}
        self._homes: dict[Node, int | None] = {}
        self._paths: dict[int, dict[int, str]] = {}
        self._times: Counter[int] = Counter()
        for node in graph:
            self._homes[node] = self.enter(node.scope)
        self._place_parameters(graph)

    def enter(self, scope: Scope | None) -> int | None:
        """The id of a call, which is new if it has made no node yet."""
        if scope is None:
            return None
        for call in reversed(list(_around(scope))):
            if call not in self._ids:
                self._enter(call)
        return self._ids[scope]

    def _enter(self, scope: Scope) -> None:
        module = scope.module()
        name, root = "", next(s for s in _around(scope) if s.outer is None)
        if module is not None:
            self._times[id(module)] += 1
            name = self._paths_below(root).get(
                id(module), scope.type.__name__ if scope is not root else ""
            )
        self._ids[scope] = len(self.modules)
        outer = scope.outer
        self._roots[len(self.modules)] = self._prefixes.get(id(root.module()), "")
        self.modules.append(
            data.Module(
                id=len(self.modules),
                path=name,
                type=scope.type.__name__,
                parent=None if outer is None else self._ids[outer],
                call=self._times[id(module)] - 1 if module is not None else 0,
                parameters=0 if module is None else sum(p.numel() for p in module.parameters()),
                details="" if module is None else module.extra_repr(),
                name=self._names.get(id(module), "") if outer is None else "",
                library=scope.type.__module__.startswith(LIBRARY),
            )
        )

    def _paths_below(self, root: Scope) -> dict[int, str]:
        """The path of each module in an outermost one, which gives its parameters their names."""
        model = root.module()
        if model is None:
            return {}
        if id(model) not in self._paths:
            self._paths[id(model)] = {id(module): path for path, module in model.named_modules()}
            for path, parameter in model.named_parameters():
                if (node := parameter._node) is not None:
                    own = path.rpartition(".")[2]
                    given = parameter.name if parameter.name not in (own, None) else ""
                    holder = self._names.get(id(model), "") if self._several else ""
                    self.parameters.setdefault(node, given or _joined(holder, path))
                    prefix = self._prefixes.get(id(model), "")
                    self.places.setdefault(node, _joined(prefix, given or path))
        return self._paths[id(model)]

    def _place_parameters(self, graph: Graph) -> None:
        """A parameter belongs to the innermost call around all its consumers."""
        consumers: dict[Node, list[Scope | None]] = defaultdict(list)
        for node in graph:
            for parent in node.parents():
                if parent.op is None and parent.requires_grad:
                    consumers[parent].append(node.scope)
        for parameter, scopes in consumers.items():
            shared = list(_around(scopes[0]))
            for scope in scopes[1:]:
                inside = set(_around(scope))
                shared = [outer for outer in shared if outer in inside]
            self._homes[parameter] = self._ids[shared[0]] if shared else None

    def home(self, node: Node) -> int | None:
        """The id of the innermost call that a node belongs to."""
        return self._homes[node]

    def path(self, node: Node) -> str:
        """The path of that call as keys have it."""
        home = self._homes[node]
        return "" if home is None else _joined(self._roots[home], self.modules[home].path)


def _outermost(graph: Graph) -> list[Module]:
    """The modules that were called from outside of any other, in order."""
    found: dict[int, Module] = {}
    for node in graph:
        scope = node.scope
        while scope is not None and scope.outer is not None:
            scope = scope.outer
        if scope is not None and (module := scope.module()) is not None:
            found[id(module)] = module
    return list(found.values())


def _prefixes(modules: list[Module], names: dict[int, str]) -> dict[int, str]:
    """How the keys in each outermost module begin, by its id: the first needs no prefix."""
    prefixes: dict[int, str] = {}
    for module in modules:
        name = names.get(id(module), type(module).__name__) if prefixes else ""
        taken = sum(prefix.partition("#")[0] == name for prefix in prefixes.values())
        prefixes.setdefault(id(module), f"{name}#{taken}" if taken else name)
    return prefixes


def _joined(prefix: str, path: str) -> str:
    """A path behind a prefix."""
    return f"{prefix}.{path}" if prefix and path else prefix or path


def _around(scope: Scope | None) -> Iterator[Scope]:
    """A call and those around it, the innermost first."""
    while scope is not None:
        yield scope
        scope = scope.outer


def receivers(node: Node, useful: set[Node] | None) -> list[tuple[int, Node]]:
    """The inputs that a node sends gradients to, in the order of `Reading.gradients`."""
    assert node.op is not None
    last = len(node.op.inputs) - 1
    return [
        (port, value)
        for port, value in enumerate(node.inputs)
        if isinstance(value, Node)
        and value.requires_grad
        and node.op.inputs[min(port, last)] in node.op.rules
        and (useful is None or value in useful)
    ]


def _inputs(node: Node, naming: Naming) -> list[data.Input]:
    """The inputs that were given; those of a variadic op are named xs[0], xs[1], ..."""
    if node.op is None:
        return []
    told = []
    differentiable = dict(receivers(node, None))
    names = input_names(node.op, len(node.inputs))
    called = naming.inputs(node)
    for port, (name, value) in enumerate(zip(names, node.inputs, strict=True)):
        entry = data.Input(
            name=name,
            source=naming.ids[value] if isinstance(value, Node) else None,
            text="" if isinstance(value, Node) else str(value),
            gradient=port in differentiable,
            called=called[port] or name,
        )
        if entry.gradient:
            entry.formula, entry.where = naming.formula(node, port)
        told.append(entry)
    return told


# ----- the ops of the backward pass --------------------------------------------------------------


class _Traced(Recorded):
    """The graph reading, with a record: each node's gradient, and its (parent, share) pairs."""

    def __init__(self) -> None:
        self.steps: dict[Node, tuple[Node, list[tuple[Node, Node]]]] = {}

    def gradients(self, node: Node, g: Any, useful: set[Node] | None) -> list[tuple[Node, Any]]:
        sent = super().gradients(node, g, useful)
        parts = g if isinstance(g, tuple) else (g,)  # of outputs that nobody used they are zeros
        first = next(part for part in parts if part is not None and part.requires_grad)
        self.steps[node] = (first.node, [(parent, share.node) for parent, share in sent])
        return sent


def recorded_walk(
    roots: dict[Node, Tensor],
) -> dict[Node, tuple[Node, list[tuple[Node, Node]]]]:
    """Run the backward pass from the roots in the graph reading, and say what each node did."""
    # A seed that requires a gradient makes each op that it flows through a part of the graph.
    seeds = {root: ones_like(tensor).requires_grad_() for root, tensor in roots.items()}
    reading = _Traced()
    with enable_grad():
        for _ in backpropagate(seeds, reading, keep=True):
            pass
    return reading.steps


def add_backward(
    traced: Trace, graph: Graph, steps: dict[Node, tuple[Node, list[tuple[Node, Node]]]]
) -> None:
    """Add the ops of the backward pass, and say which rule each belongs to."""
    if not steps:
        return
    shares = [share for _, sent in steps.values() for _, share in sent]
    whole = Graph([*graph.roots, *shares])
    forward = len(traced.nodes)
    names = {node.number: traced.nodes[i].name for node, i in graph.ids.items()}
    traced.nodes += structure(whole, names).nodes[forward:]
    for node, (gradient, sent) in steps.items():
        told = traced.nodes[graph.ids[node]]
        told.gradient = whole.ids[gradient]
        for (port, _), (_, share) in zip(receivers(node, None), sent, strict=True):
            told.inputs[port].share = whole.ids[share]
        for made in _made(graph, gradient, [share for _, share in sent]):
            if made not in graph.ids and traced.nodes[whole.ids[made]].rule is None:
                traced.nodes[whole.ids[made]].rule = graph.ids[node]


def _made(graph: Graph, gradient: Node, shares: Iterable[Node]) -> list[Node]:
    """What the shares were computed from, back to the gradient and the forward graph, in order."""
    seen = {gradient, *shares}
    stack = list(seen)
    while stack:
        node = stack.pop()
        if node is not gradient and node not in graph.ids:
            stack += (parent for parent in node.parents() if parent not in seen)
            seen.update(node.parents())
    return sorted(seen, key=attrgetter("number"))
