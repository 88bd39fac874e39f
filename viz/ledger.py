"""Which arrays are there while a training step runs, worked out from the facts of a trace.

The facts are shapes, what the rules keep, and the order in which they let go of it. What an op
needs only while it computes is not among them, but for the windows that a convolution copies.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from tinygrad_cv._op import REGISTRY
from tinygrad_cv.backend import host
from tinygrad_cv.backend.windows import BLOCK_BYTES
from tinygrad_cv.viz.data import Node, Trace
from tinygrad_cv.viz.receptive import kernel_of

Key = tuple[Any, ...]
"""Names an array: ("value", node), ("own", node, name) of a by-product, ("gradient", node, ...),
("again", *key) of one that is computed a second time."""


@dataclass(frozen=True)
class Moment:
    """The bytes that are there while one op computes, by what they are for."""

    node: int
    during: Literal["forward", "again", "backward"]
    """"again": computed a second time, for the backward pass."""
    saved: int
    """Kept for the backward pass."""
    gradients: int
    temporary: int
    """Values that nobody keeps: they go when the last op has read them."""

    @property
    def total(self) -> int:
        """Their sum; the leaves (parameters, inputs), which are always there, come on top."""
        return self.saved + self.gradients + self.temporary


class Facts:
    """What a trace says about arrays: which there are, how large, who keeps them and how long.

    Raises ValueError where that is gone, since the backward pass has freed it.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.ops = [node for node in trace.nodes if node.kind == "op" and node.rule is None]
        if any(node.requires_grad and node.saved is None for node in self.ops):
            raise ValueError(
                "what this graph saved for its backward pass is gone: backward() has freed it. "
                "Trace it before that, or give the model and its inputs."
            )
        self.base: dict[int, int] = {}
        """The node whose memory a node's value lies in; itself, if it is no view."""
        self.sizes: dict[Key, int] = {}
        for node in trace.nodes:
            self.base[node.id] = self.base[_viewed(node)] if _is_view(node) else node.id
            self.sizes["value", node.id] = bytes_of(node)
        counted: set[Key] = set()
        self.keeps = {node.id: list(self._kept(node, counted)) for node in self.ops}
        """The arrays that each op keeps for its rules."""
        self.within: dict[int, list[Node]] = defaultdict(list)
        """The ops in each call of a module."""
        for node in self.ops:
            for module in trace.ancestors(node.module):
                self.within[module.id].append(node)
        self.last = {node.id: node.id for node in self.ops if self.base[node.id] == node.id}
        """The op after which nobody reads the memory of a node any more, by both their ids."""
        for node in self.ops:
            for entry in node.inputs:
                if entry.source is not None and not self.is_leaf(base := self.base[entry.source]):
                    self.last[base] = max(self.last[base], self._end(node, base))

    def is_leaf(self, i: int) -> bool:
        """Whether a node's memory belongs to no op."""
        return self.trace.nodes[i].kind != "op"

    def entering(self, module: int) -> set[Key]:
        """What the ops in a call read that was computed outside of it."""
        own = {node.id for node in self.within[module]}
        sources = (entry.source for node in self.within[module] for entry in node.inputs)
        bases = {self.base[i] for i in sources if i is not None and i not in own}
        return {("value", base) for base in bases if not self.is_leaf(base)}

    def freed(self, module: int) -> int:
        """The bytes less that are kept between the passes if a call is computed again."""
        own = {node.id for node in self.within[module]}
        before = {key for keys in self.keeps.values() for key in keys}
        after = {key for i, keys in self.keeps.items() if i not in own for key in keys}
        after |= self.entering(module)
        return sum(self.sizes[key] for key in before) - sum(self.sizes[key] for key in after)

    def _kept(self, node: Node, counted: set[Key]) -> Iterator[Key]:
        """What an op's rules keep. The trace counts an array at the first op that keeps it."""
        saved = node.saved or {}
        op = REGISTRY.get(node.op)
        wanted = tuple(entry.gradient for entry in node.inputs)
        for name in tuple(saved) if op is None else op.plan(wanted).names:
            keys = [key for key in self._named(node, name) if not self.is_leaf(key[1])]
            if name not in saved:  # it is a leaf's, a number, or was counted before
                yield from (key for key in keys if key in counted)
                continue
            if len(keys) != 1 or keys[0] in counted:  # a by-product, a copy, or several
                keys = [("own", node.id, name)]
            self.sizes[keys[0]] = saved[name]
            counted.add(keys[0])
            yield keys[0]

    def _named(self, node: Node, name: str) -> list[Key]:
        """The arrays that are inputs or the output of an op, by their name in its rules."""
        if name == "y":
            return [("value", self.base[node.id])]
        sources = (e.source for e in node.inputs if e.name.partition("[")[0] == name)
        return [("value", self.base[i]) for i in sources if i is not None]

    def _end(self, node: Node, base: int) -> int:
        """The op until which an input of an op is there: the call that got it holds it."""
        outside = {m.id for m in self.trace.ancestors(self.trace.nodes[base].module)}
        calls = [m.id for m in self.trace.ancestors(node.module) if m.id not in outside]
        return self.within[calls[-1]][-1].id if calls else node.id


def bytes_of(node: Node) -> int:
    """The bytes of a node's value."""
    return math.prod(node.shape) * int(host.dtype(node.dtype).itemsize)


def _is_view(node: Node) -> bool:
    """Whether a node's value lies in the memory of its input."""
    if not getattr(REGISTRY.get(node.op), "views", False):
        return False
    # An index with arrays copies: "index=(0, 1:3)" has none.
    index = node.attributes.removeprefix("index=")
    return node.op != "getitem" or not any(c.isalpha() or c == "[" for c in index)


def _viewed(node: Node) -> int:
    source = node.inputs[0].source
    assert source is not None
    return source


def _passes_on(node: Node, port: int, source: Node) -> bool:
    """Whether the gradient for an input is the op's own, or a view of it, and no new array."""
    if node.op in ("add", "clone") or (node.op == "sub" and port == 0):
        return source.shape == node.shape
    if node.op in ("cat", "stack", "pad"):
        return True
    return _is_view(node) and node.op not in ("getitem", "broadcast_to", "diagonal")


def _scratch(node: Node, trace: Trace) -> int:
    """The bytes of the windows that a convolution copies: at most a block of the cache."""
    kernel = kernel_of(node, trace) if node.op.startswith("conv") else ()
    if not kernel or (source := node.inputs[0].source) is None:
        return 0
    x = trace.nodes[source]
    wide, channels = (x, node.shape[1]) if "transpose" in node.op else (node, x.shape[1])
    numbers = wide.shape[0] * math.prod(wide.shape[2:]) * channels * math.prod(kernel)
    return min(BLOCK_BYTES, numbers * int(host.dtype(x.dtype).itemsize))


class Ledger:
    """Which arrays are there: each as long as somebody holds it."""

    def __init__(self, sizes: dict[Key, int]) -> None:
        self.sizes = sizes
        self.holders: dict[Key, set[Any]] = {}
        self.totals = {"saved": 0, "gradients": 0, "temporary": 0}

    def hold(self, key: Key, by: Any) -> None:
        """Let somebody hold an array, which is new if nobody did before."""
        self._change(key, self.holders.get(key, set()) | {by})

    def drop(self, key: Key, by: Any) -> None:
        """Let somebody let go of an array, which goes if nobody else holds it."""
        self._change(key, self.holders.get(key, set()) - {by})

    def _change(self, key: Key, holders: set[Any]) -> None:
        for sign, who in ((-1, self.holders.get(key)), (1, holders)):
            if who:
                self.totals[_purpose(key, who)] += sign * self.sizes[key]
        if holders:
            self.holders[key] = holders
        else:
            self.holders.pop(key, None)


def _purpose(key: Key, holders: set[Any]) -> str:
    """What an array is there for. Ops, whose names are numbers, keep it for their rules."""
    if key[0] == "gradient":
        return "gradients"
    return "saved" if any(isinstance(by, int) for by in holders) else "temporary"


class Run:
    """A forward and a backward pass, in bytes; the calls of modules in `again` are computed twice.

    None of these calls may be inside another one.
    """

    def __init__(self, facts: Facts, again: Collection[int] = ()) -> None:
        self.facts, self.trace = facts, facts.trace
        self.ledger = Ledger(dict(facts.sizes))
        self.moments: list[Moment] = []
        self.segment = {node.id: module for module in again for node in facts.within[module]}
        """The call among `again` that an op is in."""
        self.ending: dict[int, list[int]] = defaultdict(list)
        """The nodes whose memory nobody reads after an op."""
        for base, end in facts.last.items():
            self.ending[end].append(base)
        self.gradient: dict[int, Key] = {}
        """The array of each node's gradient, as far as it is there."""
        self._forward()
        self._backward()

    def _record(self, node: Node, during: Literal["forward", "again", "backward"]) -> None:
        there = dict(self.ledger.totals)
        there["temporary"] += _scratch(node, self.trace)
        self.moments.append(Moment(node.id, during, **there))

    def _forward(self) -> None:
        for node in self.facts.ops:
            base, segment = self.facts.base[node.id], self.segment.get(node.id)
            if base == node.id:
                self.ledger.hold(("value", base), "variable")
            if node.id in self.trace.outputs and not self.facts.is_leaf(base):
                self.ledger.hold(("value", base), "user")
            if segment is None:
                for key in self.facts.keeps[node.id]:
                    self.ledger.hold(key, node.id)
            elif node is self.facts.within[segment][0]:
                for key in self.facts.entering(segment):
                    self.ledger.hold(key, -1 - segment)
            self._record(node, "forward")
            for gone in self.ending[node.id]:
                self.ledger.drop(("value", gone), "variable")

    def _backward(self) -> None:
        for i in self.trace.outputs:
            if self.trace.nodes[i].requires_grad:
                self._receive(i, ("gradient", i), bytes_of(self.trace.nodes[i]))
        begun: dict[int, Key] = {}
        """The gradient of each call that is computed again: the walk around it holds that."""
        for node in reversed(self.facts.ops):
            segment = self.segment.get(node.id)
            if segment is not None and segment not in begun and node.id in self.gradient:
                begun[segment] = self.gradient[node.id]
                self.ledger.hold(begun[segment], -1 - segment)
                self._again(segment)
            if node.id in self.gradient:
                self._rules(node)
            for key in self.facts.keeps[node.id]:
                self.ledger.drop(key, node.id)
                self.ledger.drop(("again", *key), node.id)
            if segment is not None and node is self.facts.within[segment][0]:
                for key in self.facts.entering(segment):
                    self.ledger.drop(key, -1 - segment)
                if segment in begun:
                    self.ledger.drop(begun[segment], -1 - segment)

    def _again(self, segment: int) -> None:
        """Compute a call once more, and keep this time what its rules ask for."""
        ops = self.facts.within[segment]
        own = {node.id for node in ops}

        def second(key: Key) -> Key:
            """The array that is computed again; what comes from outside is still there."""
            if key[1] not in own:
                return key
            self.ledger.sizes["again", *key] = self.ledger.sizes[key]
            return "again", *key

        for node in ops:
            if self.facts.base[node.id] == node.id:
                self.ledger.hold(second(("value", node.id)), "variable")
            for key in self.facts.keeps[node.id]:
                self.ledger.hold(second(key), node.id)
            self._record(node, "again")
            for gone in self.ending[node.id] if node is not ops[-1] else own:
                self.ledger.drop(("again", "value", gone), "variable")

    def _receive(self, i: int, key: Key, size: int) -> bool:
        """Let a share reach a node; False if it is to be added to one that is there."""
        self.ledger.sizes.setdefault(key, size)
        if i in self.gradient:
            return False
        self.gradient[i] = key
        self.ledger.hold(key, i)
        return True

    def _rules(self, node: Node) -> None:
        """Run the rules of an op: the shares come, then its own gradient goes."""
        g, added = self.gradient.pop(node.id), []
        for port, entry in enumerate(node.inputs):
            if not entry.gradient or entry.source is None:
                continue
            source = self.trace.nodes[entry.source]
            passed_on = _passes_on(node, port, source)
            key = g if passed_on else ("gradient", source.id, node.id, port)
            if self._receive(source.id, key, bytes_of(source)) or key == g:
                continue
            if not (node.op == "getitem" and _is_view(node)):  # whose share is added in its place
                self.ledger.hold(key, "sum")
                added.append(key)
        self._record(node, "backward")
        for key in added:
            self.ledger.drop(key, "sum")
        self.ledger.drop(g, node.id)
