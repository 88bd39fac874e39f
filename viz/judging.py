"""Whether gradients shrink or grow on their way back: their shape, whatever the scale of the loss.

A gradient of 1e-6 says nothing alone: the seed may be a mean over a million numbers. What says
something is how it compares with the gradient at the output of the network, and that is t, in
decades (powers of ten):

    a value v that an op gave:   t = log10 ‖∂L/∂v‖ / ‖∂L/∂r‖
    one that only a norm reads:  t = log10 ‖∂L/∂v‖ · std(v) / ‖∂L/∂r‖
    a parameter w:               t = log10 ‖∂L/∂w‖ · rms(w) / (‖∂L/∂r‖ · rms(r))

r, the reference, is the output of the last layer: going back from the loss, the first value made
from a parameter and something else; without such, the first of more than one number; in a long
chain of single numbers the loss itself.

Why so. In a network whose layers keep the size of what flows through them (He's and Xavier's
initialization, norms, residual connections) the norm ‖∂L/∂v‖ is about the same at every depth,
whatever the shape of v, so t is about 0. Layers that make it ×c each give t = depth · log10 c:
vanishing is t < 0, exploding t > 0. Before a norm the size of v is without meaning (the norm
divides by it), and std(v) takes it out. A parameter is judged by its effect: ‖∂L/∂w‖ · rms(w) is
the spread of L when each element is moved at random by its own size, and of y = W x + b that is the
same for W, b and y if their elements are independent. A bias is measured with the size of y, which
it moves. Where a size is not known, that of r stands in.

The factor by which a loss is scaled is in ‖∂L/∂v‖ and ‖∂L/∂r‖ alike, so it changes no t. Scaling
the inputs of a layer and undoing it in its weights changes no t but that of the scaled values.

What lies between r and the loss has no depth, and t = 0; so have single numbers, such as those of
a formula with a few gates. t = -inf where a gradient is exactly 0, t = nan where a value or a
gradient is not finite, and no t where it is not known.

What is left of sums that cancel is rounding, and no small gradient. The bias of a convolution
before a batch norm has no effect at all, which that norm subtracts: its gradient is 0 but for 1e-8.
It gets t = 0 and a note. So do the ones that `viz.trace` begins from, if the model ends in a norm:
its outputs have a sum that nothing changes, and what goes on back gets no t.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from tinygrad_cv.viz.data import Edge, Node, Step, Summary, Trace

NORMS = {
    "batch_norm": "batch norm",
    "standardize": "layer norm",
    "normalize": "layer norm",
    "rms_norm": "RMS norm",
}
"""The ops whose output does not depend on the size of x, and what people call them."""

CENTRED = ("batch_norm", "standardize", "normalize")
"""Those that subtract the mean as well, so that the gradients that they send back sum to 0."""

GREY, FULL = 2.0, 6.0
"""Up to GREY decades a t is not told from 0, and from FULL decades on its colour is full."""

LONG = 10
"""So many ops in a row make a chain of single numbers one that is judged."""

EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float64": 2.0**-52}
"""The spacing of numbers around 1; 2^-23 in the rest."""


@dataclass
class Judged:
    """How the gradients of one step compare with that at the output of the network."""

    nodes: dict[int, float] = field(default_factory=dict)
    """t of each node by id, in decades: below 0 it shrank, above 0 it grew; nan is broken."""
    edges: dict[str, float] = field(default_factory=dict)
    """The same for what flows back along an edge, by `Edge.key`."""
    notes: dict[int, str] = field(default_factory=dict)
    """What to say of a node instead: "no effect before batch norm"."""
    reference: int | None = None
    """The id of the node that the others are compared with."""


def judge(trace: Trace, step: Step) -> Judged:
    """The t of all nodes and edges at one step of a trace; see above for what t is.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv import nn, viz
    >>> from tinygrad_cv.viz.judging import judge
    >>> _ = tg.manual_seed(0)
    >>> layers = [part for _ in range(20) for part in (nn.Linear(9, 9), nn.Sigmoid())]
    >>> seen = viz.trace(nn.Sequential(*layers), (5, 9), values=True, gradients=True)
    >>> judged = judge(seen, seen.steps[0])
    >>> first = next(node.id for node in seen.nodes if node.op == "sigmoid")
    >>> judged.nodes[first] < -10
    True
    """
    return _Judge(trace).of(step)


def judge_steps(trace: Trace) -> list[Judged]:
    """`judge` of each step of a trace."""
    judging = _Judge(trace)
    return [judging.of(step) for step in trace.steps]


def layers_of(trace: Trace) -> list[Node]:
    """The ops that make a value from a parameter and something else, in the order of computation.

    A regularization is none: it is made from parameters alone.
    """
    kinds = {node.id: node.kind for node in trace.nodes}

    def is_layer(node: Node) -> bool:
        given = {kinds[part.source] for part in node.inputs if part.source is not None}
        return "parameter" in given and len(given) > 1

    return [node for node in trace.nodes if is_layer(node)]


class _Judge:
    """What of a graph matters to every step of it."""

    def __init__(self, trace: Trace) -> None:
        self.nodes = trace.nodes
        self.edges = [(edge.key, edge) for edge in trace.edges if edge.gradient]
        self.readers: dict[int, list[Edge]] = defaultdict(list)
        for edge in trace.edges:
            if trace.nodes[edge.target].rule is None:  # not one of the backward pass
                self.readers[edge.source].append(edge)
        self.before_norm = {
            i: trace.nodes[edges[0].target].op
            for i, edges in self.readers.items()
            if all(trace.nodes[edge.target].op in NORMS and edge.port == 0 for edge in edges)
        }
        self.layers = layers_of(trace)[::-1]
        self.moved: dict[int, int] = {}
        """What a bias is added to, by the ids of both."""
        self.sums: list[tuple[str, Edge, bool]] = []
        """The edges on which a gradient may cancel, and whether they lead to a norm."""
        for key, edge in self.edges:
            if self._is_added(edge):
                self.moved.setdefault(edge.source, edge.target)
                self.sums.append((key, edge, False))
            elif trace.nodes[edge.target].op in CENTRED:
                self.sums.append((key, edge, edge.port == 0))
        self._after: dict[int, set[int]] = {}

    def of(self, step: Step) -> Judged:
        """The judgement on one step."""
        told = Judged()
        cancelled, rounding = self._rounding(step)
        reference = told.reference = self._reference(step, rounding)
        even = set() if reference is None else self._downstream(reference)
        norm = None if reference is None else step.gradients[reference].norm
        decades = math.log10(norm) if norm else 0.0

        def t(i: int, norm: float) -> float:
            if norm == 0:
                return -math.inf
            if not math.isfinite(norm):
                return math.nan
            if reference is None or i in even:
                return 0.0
            return math.log10(norm) - decades + self._size(i, step, reference)

        for i, gradient in step.gradients.items():
            norm = gradient.norm if gradient.finite else math.nan
            if norm is not None and i not in rounding:
                told.nodes[i] = t(i, norm)
        for key, edge in self.edges:
            share = step.shares.get(key)
            if share is not None and key not in cancelled and edge.target not in rounding:
                told.edges[key] = t(edge.source, share)
        for i, value in step.values.items():
            if not value.finite:
                told.nodes[i] = math.nan
        self._note(told, cancelled, rounding)
        return told

    # ----- what is compared ----------------------------------------------------------------------

    def _reference(self, step: Step, rounding: set[int]) -> int | None:
        """The output of the last layer, whose gradient is neither 0 nor broken."""

        def last(nodes: Iterable[Node], least: int) -> int | None:
            for node in nodes:
                told = step.gradients.get(node.id)
                if told is None or node.kind != "op" or node.id in rounding:
                    continue
                if told.finite and told.norm and told.count >= least:
                    return node.id
            return None

        found = last(self.layers, 2)
        if found is None:
            found = last(reversed(self.nodes), 2)
        if found is None and self._depth() > LONG:
            found = last(reversed(self.nodes), 1)
        return found

    def _depth(self) -> int:
        """The ops on the longest way through the graph."""
        depths: dict[int, int] = {}
        for node in self.nodes:
            below = (depths[part.source] for part in node.inputs if part.source in depths)
            depths[node.id] = max(below, default=0) + (node.kind == "op")
        return max(depths.values(), default=0)

    def _downstream(self, reference: int) -> set[int]:
        """The reference, and what was computed from it."""
        if reference not in self._after:
            after, stack = {reference}, [reference]
            while stack:
                found = {edge.target for edge in self.readers[stack.pop()]} - after
                after |= found
                stack += found
            self._after[reference] = after
        return self._after[reference]

    def _size(self, i: int, step: Step, reference: int) -> float:
        """The decades by which the size of a value counts beside its gradient."""
        if self.nodes[i].kind != "op":
            own = step.values.get(self.moved.get(i, i))
            return _log(_rms(own)) - _log(_rms(step.values.get(reference)))
        told = step.values.get(i) if i in self.before_norm else None
        if told is None:
            return 0.0
        return _log(told.std if self.before_norm[i] in CENTRED else _rms(told))

    # ----- sums that cancel ----------------------------------------------------------------------

    def _is_added(self, edge: Edge) -> bool:
        """Whether a leaf is added to the rest, as a bias is."""
        node, leaf = self.nodes[edge.target], self.nodes[edge.source]
        if leaf.kind == "op" or math.prod(leaf.shape) >= math.prod(node.shape):
            return False
        return node.op in ("add", "sub") or node.inputs[edge.port].name in ("b", "shift")

    def _rounding(self, step: Step) -> tuple[set[str], set[int]]:
        """The edges on which a gradient cancels, and the nodes whose gradients are but rounding."""
        cancelled = {key for key, edge, norm in self.sums if self._cancels(key, edge, norm, step)}
        rounding: set[int] = set()
        for node in reversed(self.nodes if cancelled else []):
            flows = [edge for edge in self.readers[node.id] if edge.gradient]
            if flows and all(edge.key in cancelled or edge.target in rounding for edge in flows):
                rounding.add(node.id)
        return cancelled, rounding

    def _cancels(self, key: str, edge: Edge, norm: bool, step: Step) -> bool:
        """Whether what flows back is a sum of numbers of both signs that is 0 but for rounding."""
        share, gradient = step.shares.get(key), step.gradients.get(edge.target)
        if share is None or gradient is None or not gradient.finite or not gradient.norm:
            return False
        if norm:
            own, made = step.values.get(edge.source), step.values.get(edge.target)
            if own is None or made is None or not own.std:
                return False
            share *= own.std / (_rms(made) or 1.0)
        node, leaf = self.nodes[edge.target], self.nodes[edge.source]
        terms = math.prod(node.shape) / max(1, math.prod(leaf.shape))
        bound = 8 * EPSILON.get(node.dtype, 2.0**-23) * math.sqrt(terms + 64)
        return share <= bound * gradient.norm

    def _note(self, told: Judged, cancelled: set[str], rounding: set[int]) -> None:
        """Say where gradients cancel; a parameter that has no effect is nothing to worry about."""
        for key, edge, norm in self.sums:
            if key not in cancelled or edge.target in rounding:
                continue
            node = self.nodes[edge.target]
            if norm:
                told.notes[node.id] = (
                    f"the gradient cancels in this {NORMS[node.op]}; what goes on is rounding"
                )
            elif edge.source in rounding:
                before = NORMS.get(self.before_norm.get(node.id, ""))
                told.notes[edge.source] = (
                    f"no effect before {before}" if before else "no effect: its gradient cancels"
                )
                told.nodes[edge.source] = told.edges[key] = 0.0


def _rms(told: Summary | None) -> float | None:
    """√(Σx² / n)."""
    return None if told is None or told.norm is None else told.norm / math.sqrt(told.count)


def _log(size: float | None) -> float:
    """Its decades; 0, as of a size of 1, where it is 0 or not known."""
    return math.log10(size) if size and math.isfinite(size) else 0.0
