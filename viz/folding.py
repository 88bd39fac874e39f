"""What of a graph is visible: equal blocks in a row are shown once, and modules become boxes.

`grouped` finds the blocks and tells them as modules; `fold` decides which modules are unfolded.
An item of a module is one of its ops or a call in it. Items are integers here: an op is its id,
and a module is ~id, which is negative.
"""

import functools
import heapq
import math
import operator
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

from tinygrad_cv.viz.data import Edge, Module, Node, Step, Trace

PATTERN = 64
"""The most items that a repeated block of loose ops may have."""
MOVING = {"getitem"}
"""Ops whose attributes may differ from block to block: step t of a loop reads x[t]."""

NESTED = 40
"""The most frames in one another; modules that are deeper have none."""

# ----- equal blocks ------------------------------------------------------------------------------


def grouped(trace: Trace) -> Trace:
    """The same trace, with a `Module` (`repeat` > 1) around each run of equal blocks.

    A block is a call of a module, or up to 64 loose ops and calls in a row; blocks are equal if
    their classes, details and ops are (with attributes, shapes and dtypes). Two make a run, but
    of single ops three. A block of loose ops becomes a module without a type. A leaf gets the
    module of its consumers: a parameter the innermost around them all; another leaf the innermost
    that something else flows into, so that what a model is called with stays outside.

    A trace with such modules is returned as it is. Time is linear in nodes and their inputs.
    """
    if any(module.repeat > 1 for module in trace.modules):
        return trace
    modules = [replace(module) for module in trace.modules]
    sequences = _sequences(trace)
    signs = _signatures(trace, sequences)
    homes = [node.module for node in trace.nodes]
    pending: list[int | None] = [None, *range(len(modules))]
    for parent in pending:  # which grows: a block may have runs in it
        items = sequences.get(parent, [])
        symbols = [signs[item] for item in items]
        for start, period, count in _runs(symbols, [item < 0 for item in items]):
            run = items[start : start + period * count]
            group = len(modules)
            modules.append(_group(trace, modules, sequences, run, period, count))
            modules[group] = replace(modules[group], id=group, parent=parent)
            if period == 1 and run[0] < 0:
                for item in run:
                    modules[~item].parent = group
                continue
            for first in range(0, len(run), period):
                block, inside = len(modules), run[first : first + period]
                path = _span(modules, sequences, inside)
                modules.append(Module(block, path, type="", parent=group))
                modules[block].parameters = _parameters(modules, inside)
                sequences[block] = inside
                for item in inside:
                    if item < 0:
                        modules[~item].parent = block
                    else:
                        homes[item] = block
                if period > 1:
                    pending.append(block)
    return _with_leaves_at_home(_renumbered(trace, modules, homes))


def _sequences(trace: Trace) -> dict[int | None, list[int]]:
    """The items of each module (None: outside them all) in the order of computation.

    Leaves, the ops of a backward pass and modules without ops are left out.
    """
    sequences: dict[int | None, list[int]] = defaultdict(list)
    entered: set[int] = set()
    for node in trace.nodes:
        if node.kind == "op" and node.rule is None:
            sequences[node.module].append(node.id)
            for module in trace.ancestors(node.module):
                if module.id in entered:
                    break
                entered.add(module.id)
                sequences[module.parent].append(~module.id)
    return sequences


def _signatures(trace: Trace, sequences: dict[int | None, list[int]]) -> dict[int, int]:
    """A number for each item; equal blocks have equal numbers."""
    numbers: dict[object, int] = {}
    signs: dict[int, int] = {}
    for node in trace.nodes:
        if node.kind == "op":
            inputs = tuple(
                entry.text if entry.source is None else tuple(trace.nodes[entry.source].shape)
                for entry in node.inputs
            )
            attributes = "" if node.op in MOVING else node.attributes
            key = (node.op, attributes, tuple(node.shape), node.dtype, inputs)
            signs[node.id] = numbers.setdefault(key, len(numbers))
    for module in reversed(trace.modules):  # a parent comes before its children
        inside = tuple(signs[item] for item in sequences.get(module.id, ()))
        block = (module.type, module.details, inside)
        signs[~module.id] = numbers.setdefault(block, len(numbers))
    return signs


def _runs(symbols: list[int], calls: list[bool]) -> list[tuple[int, int, int]]:
    """Disjoint runs (start, period, count) of equal blocks, those that cover most chosen first.

    `calls` says which items are modules: two of those in a row are a run, of single ops three.
    """
    candidates: list[tuple[int, int, int, int]] = []

    def consider(start: int, stop: int, period: int) -> None:
        count = (stop - start) // period
        if count >= (3 if period == 1 and not calls[start] else 2):
            heapq.heappush(candidates, (-count * period, period, start, stop))

    for period in range(1, min(PATTERN, len(symbols) // 2) + 1):
        # Blocks repeat with a period p where symbols[j] == symbols[j + p] for many j in a row.
        equal = bytes(map(operator.eq, symbols, symbols[period:]))
        start = equal.find(1)
        while start >= 0:
            stop = equal.find(0, start)
            stop = len(equal) if stop < 0 else stop
            consider(start, stop + period, period)
            start = equal.find(1, stop)
    taken, runs = bytearray(len(symbols)), []
    while candidates:
        covered, period, start, stop = heapq.heappop(candidates)
        if taken.find(1, start, stop) < 0:
            taken[start : start - covered] = bytes([1]) * -covered
            runs.append((start, period, -covered // period))
            continue
        while start < stop:  # what is still free of it
            end = taken.find(1, start, stop)
            end = stop if end < 0 else end
            consider(start, end, period)
            start = taken.find(0, end, stop)
            start = stop if start < 0 else start
    return sorted(runs)


def _group(
    trace: Trace,
    modules: list[Module],
    sequences: dict[int | None, list[int]],
    run: list[int],
    period: int,
    count: int,
) -> Module:
    """What stands for a run of blocks; its id and its parent are still to be given."""
    if period == 1 and run[0] < 0:
        first, last = modules[~run[0]], modules[~run[-1]]
        path = first.path if first.path == last.path else f"{first.path} … {last.path}"
        kind, details = first.type, first.details
    else:
        path, details = _span(modules, sequences, run), ""
        kind = ", ".join(
            trace.nodes[item].op if item >= 0 else modules[~item].type for item in run[:period]
        )
    total = _parameters(modules, run)
    return Module(0, path, kind, None, parameters=total, details=details, repeat=count)


def _span(modules: list[Module], sequences: dict[int | None, list[int]], items: list[int]) -> str:
    """The first and the last op in these items, as text."""
    first, last = items[0], items[-1]
    while first < 0:
        first = sequences[~first][0]
    while last < 0:
        last = sequences[~last][-1]
    return f"op {first}" if first == last else f"ops {first} … {last}"


def _parameters(modules: list[Module], items: Iterable[int]) -> int:
    """Elements of the parameters of the modules among the items; a second call counts none."""
    counted = {modules[~item].path: modules[~item].parameters for item in items if item < 0}
    return sum(counted.values())


def _renumbered(trace: Trace, modules: list[Module], homes: list[int | None]) -> Trace:
    """The trace with these modules, in the order of computation and a parent before its children.

    A module without ops has no place in that order; it follows the call before it.
    """
    first: dict[int, int] = {}
    for node in trace.nodes:
        if node.kind == "op" and node.rule is None:
            module = homes[node.id]
            while module is not None and module not in first:
                first[module] = node.id
                module = modules[module].parent
    children: dict[int | None, list[int]] = defaultdict(list)
    latest = -1
    for module in range(len(modules)):
        latest = first.setdefault(module, latest)
        children[modules[module].parent].append(module)
    for siblings in children.values():
        siblings.sort(key=lambda module: (first[module], module))
    ids: dict[int | None, int | None] = {None: None}
    stack = children[None][::-1]
    order: list[int] = []
    while stack:
        module = stack.pop()
        ids[module] = len(order)
        order.append(module)
        stack += children[module][::-1]
    failure = trace.failure
    return replace(
        trace,
        nodes=[replace(node, module=ids[homes[node.id]]) for node in trace.nodes],
        modules=[
            replace(modules[module], id=i, parent=ids[modules[module].parent])
            for i, module in enumerate(order)
        ],
        failure=failure and replace(failure, module=ids[failure.module]),
    )


# ----- where leaves belong -----------------------------------------------------------------------


class _Tree:
    """The modules of a trace as a tree, to ask what is inside what."""

    def __init__(self, trace: Trace) -> None:
        self.parents = [module.parent for module in trace.modules]
        self.depths: list[int] = []
        for parent in self.parents:
            self.depths.append(0 if parent is None else self.depths[parent] + 1)

    def common(self, a: int | None, b: int | None) -> int | None:
        """The innermost module around both."""
        while a != b:
            if a is None or b is None:
                return None
            if self.depths[a] >= self.depths[b]:
                a = self.parents[a]
            else:
                b = self.parents[b]
        return a

    def inside(self, a: int | None, b: int) -> bool:
        """Whether b is a or around it."""
        return self.common(a, b) == b


def _around_consumers(trace: Trace, tree: _Tree) -> list[int | None]:
    """The module of each op; of a leaf the innermost one around all its consumers."""
    found = [node.module for node in trace.nodes]
    seen: set[int] = set()
    for source, module in _reads(trace):
        if trace.nodes[source].kind != "op":
            found[source] = tree.common(found[source], module) if source in seen else module
            seen.add(source)
    return found


def _reads(trace: Trace) -> Iterator[tuple[int, int | None]]:
    """Each time that a forward op, or the one that failed, reads a node: (node, its module)."""
    for node in trace.nodes:
        if node.rule is None:
            for entry in node.inputs:
                if entry.source is not None:
                    yield entry.source, node.module
    if trace.failure is not None and trace.failure.during == "forward":
        for _, source, _ in trace.failure.inputs:
            if source is not None:
                yield source, trace.failure.module


def _with_leaves_at_home(trace: Trace) -> Trace:
    tree = _Tree(trace)
    fed: set[int] = set()  # modules that an op outside flows into
    for source, inner in _reads(trace):
        if trace.nodes[source].kind == "op":
            shared = tree.common(trace.nodes[source].module, inner)
            while inner != shared and inner is not None:
                fed.add(inner)
                inner = tree.parents[inner]
    homes = _around_consumers(trace, tree)
    for node in trace.nodes:
        if node.kind == "input" and node.rule is None:
            home = homes[node.id]
            while home is not None and home not in fed:
                home = tree.parents[home]
            homes[node.id] = home
    return replace(trace, nodes=[replace(node, module=homes[node.id]) for node in trace.nodes])


# ----- what is visible ---------------------------------------------------------------------------


@dataclass
class Box:
    """One visible box: a node, or a folded module."""

    id: str
    """ "n12" for a node, "m3" for a folded module."""
    node: int | None
    module: int | None
    frame: int | None
    """The innermost frame around it."""
    nodes: list[int] = field(default_factory=list)
    """The nodes that it stands for, itself included."""


@dataclass
class Link:
    """One visible arrow, and the edges of the trace that it stands for."""

    source: str
    target: str
    port: int | None
    """The number of the input; None at a folded module."""
    gradient: bool = False
    """Whether a gradient flows back along one of them."""
    keys: list[str] = field(default_factory=list)
    """As `Edge.key` has them."""

    @property
    def targets(self) -> set[int]:
        """The nodes at the ends of the edges."""
        return {int(key.partition(":")[0]) for key in self.keys}

    def norm(self, step: Step) -> float | None:
        """The largest norm among its gradients; NaN or infinite if one is. None: not known."""
        return largest(step.shares[key] for key in self.keys if key in step.shares)


def largest(norms: Iterable[float]) -> float | None:
    """The largest number, NaN where there is one; None of none."""
    found = list(norms)
    return next((norm for norm in found if math.isnan(norm)), max(found, default=None))


@dataclass
class View:
    """What of a trace is visible."""

    trace: Trace
    """The trace with its groups; ids of modules are those in it."""
    boxes: dict[str, Box]
    """By id, in the order of computation."""
    home: list[str]
    """For each node the id of its box.

    A node of a block that is not shown is at home where its twin in the shown block is, and an op
    of a backward pass where the op is whose rule it belongs to.
    """
    frames: dict[int, int | None]
    """The unfolded modules with something visible in them, each with the frame around it."""
    around: list[int | None]
    """For each module the innermost frame around what is in it."""
    links: list[Link]
    """Edges within a folded module are left out, and those of a backward pass too."""
    folded: list[int]
    """The modules that are boxes."""
    repeated: list[int]
    """The groups of which one block is shown."""

    def frames_around(self, frame: int | None) -> Iterator[int]:
        """A frame and those around it, the innermost first."""
        while frame is not None:
            yield frame
            frame = self.frames[frame]

    @property
    def size(self) -> int:
        """How many boxes it takes, the ops of rules included."""
        rules = [
            node.id
            for node in self.trace.nodes
            if node.rule is not None and node.rule == self.boxes[self.home[node.id]].node
        ]
        return len(self.boxes) + len(rules)


Collapse = Literal["auto", "repeats"] | None


def fold(
    trace: Trace,
    depth: int | None = None,
    collapse: Collapse = "auto",
    budget: int = 150,
    expand: Callable[[Module], bool | None] | None = None,
) -> View:
    """Decide what of a trace is visible.

    `depth=1` makes a box of each top-level module (the outermost one, which has no path, is no
    level), `depth=2` of those in them, and so on. Where more than `budget` boxes would be left,
    `collapse="auto"` shows one block of each repeated group, and then folds modules, the innermost
    first, until they fit. `collapse="repeats"` shows one block of each group in any case, and None
    leaves all as it is. `expand` is asked about each module, and each group, first: True unfolds
    it, False makes it a box, None leaves it to these rules.
    """
    if depth is not None and depth < 1:
        raise ValueError(f"depth must be 1 (the top-level modules) or more; got {depth}.")
    if collapse not in ("auto", "repeats", None):
        raise ValueError(f"collapse must be 'auto', 'repeats' or None; got {collapse!r}.")
    folding = _Folding(grouped(trace), depth, expand)
    view = folding.view(repeats=collapse == "repeats")
    if collapse == "auto" and view.size > budget:
        view = folding.view(repeats=True)
        if view.size > budget and folding.tree.depths:
            # The deeper the cut, the more is visible: find the deepest that fits.
            cuts = range(max(folding.tree.depths), -1, -1)
            fits = bisect_left(
                cuts, True, key=lambda cut: folding.view(repeats=True, cut=cut).size <= budget
            )
            view = folding.view(repeats=True, cut=cuts[min(fits, len(cuts) - 1)])
    return view


class _Folding:
    """A grouped trace, and what does not depend on how far it is folded."""

    def __init__(
        self,
        trace: Trace,
        depth: int | None,
        expand: Callable[[Module], bool | None] | None,
    ) -> None:
        self.trace = trace
        self.tree = _Tree(trace)
        self.wanted = [expand(module) if expand else None for module in trace.modules]
        self.levels, self.depth = self._levels(), depth
        self.inner = _around_consumers(trace, self.tree)
        self.readers: dict[int, list[int]] = defaultdict(list)
        for edge in trace.edges:
            if trace.nodes[edge.target].rule is None:
                self.readers[edge.source].append(edge.target)
        self.first: dict[int, int] = {}
        self.twins: dict[int, dict[int, int]] = {}
        self._pair()

    def _levels(self) -> list[int | None]:
        """The level of each module, from 1; None for groups, blocks of ops and outermost calls."""
        levels: list[int | None] = []
        inside: list[int | None] = []  # the level of the innermost call around or at each
        for module in self.trace.modules:
            above = None if module.parent is None else inside[module.parent]
            call = module.repeat == 1 and module.type != ""
            outermost = above is None and not module.path
            level = (above or 0) + 1 if call and not outermost else None
            levels.append(level)
            inside.append(0 if call and outermost else above if level is None else level)
        return levels

    def _pair(self) -> None:
        """For each block but the first of its group: the twin of each node in the first."""
        sequences = _sequences(self.trace)
        ops: dict[int, list[int]] = {}
        for module in reversed(self.trace.modules):
            ops[module.id] = [
                op
                for item in sequences.get(module.id, ())
                for op in (ops[~item] if item < 0 else (item,))
            ]
        nodes = self.trace.nodes
        for group in self.trace.modules:
            if group.repeat == 1:
                continue
            first, *others = (~item for item in sequences[group.id])
            self.first[group.id] = first
            for block in others:
                twin = dict(zip(ops[block], ops[first], strict=True))
                for mine, its in list(twin.items()):
                    for entry, other in zip(nodes[mine].inputs, nodes[its].inputs, strict=True):
                        if self._is_leaf_in(entry.source, block) and (
                            other.source is not None and nodes[other.source].kind != "op"
                        ):
                            twin.setdefault(entry.source, other.source)  # type: ignore[arg-type]
                self.twins[block] = twin

    def _is_leaf_in(self, node: int | None, block: int) -> bool:
        """Whether it is a leaf with all its consumers in the block."""
        return (
            node is not None
            and self.trace.nodes[node].kind != "op"
            and self.tree.inside(self.inner[node], block)
        )

    def view(self, repeats: bool, cut: int | None = None) -> View:
        """What is visible with one block of each group, or all, and nothing below the cut."""
        modules = self.trace.modules
        # Of each module: the outermost box around it, the outermost hidden block around it, the
        # innermost frame around what is in it.
        box: list[int | None] = []
        hidden: list[int | None] = []
        around: list[int | None] = []
        nesting: list[int] = []
        shown: set[int] = set()
        for module in modules:
            m, parent, wanted = module.id, module.parent, self.wanted[module.id]
            level = self.levels[m]
            outermost = level is None and module.repeat == 1 and module.type != ""
            folded = wanted is False
            if wanted is None and not outermost:
                folded = (level is not None and self.depth is not None and level >= self.depth) or (
                    cut is not None and self.tree.depths[m] >= cut
                )
            outer = None if parent is None else box[parent]
            if outer is None and folded:
                outer = m
            box.append(outer)
            if outer is None and repeats and module.repeat > 1 and wanted is None:
                shown.add(m)
            away = None if parent is None else hidden[parent]
            if away is None and parent in shown and self.first[parent] != m:
                away = m
            hidden.append(away)
            frame = None if parent is None else around[parent]
            real = module.repeat == 1 and module.type != "" and parent not in shown
            nested = 0 if frame is None else nesting[frame]
            if outer is None and away is None and (m in shown or real) and nested < NESTED:
                frame = m
            around.append(frame)
            nesting.append(nested + 1)
        return self._seen(box, hidden, around, sorted(shown))

    def _seen(
        self,
        box: list[int | None],
        hidden: list[int | None],
        around: list[int | None],
        shown: list[int],
    ) -> View:
        trace, modules, groups = self.trace, self.trace.modules, set(shown)
        home: list[str] = []
        boxes: dict[str, Box] = {}
        places: dict[str, int] = {}
        for node in trace.nodes:
            if node.rule is not None:
                home.append("")
                continue
            twin, place = self._twin(node, hidden)
            if node.kind == "parameter" and place in groups:
                place = self._read_in(node.id, hidden)
            m = None if place is None else box[place]
            if m is None:
                frame = None if place is None else around[place]
                found = Box(f"n{twin}", twin, None, frame)
            else:
                parent = modules[m].parent
                found = Box(f"m{m}", None, m, None if parent is None else around[parent])
            home.append(found.id)
            boxes.setdefault(found.id, found).nodes.append(node.id)
            places[found.id] = min(places.get(found.id, node.id), twin)
        for node in trace.nodes:
            if node.rule is not None:
                home[node.id] = home[node.rule]
                boxes[home[node.id]].nodes.append(node.id)
        boxes = dict(sorted(boxes.items(), key=lambda entry: places[entry[0]]))
        frames: dict[int, int | None] = {}
        starts = [found.frame for found in boxes.values()]
        if trace.failure is not None and trace.failure.module is not None:
            starts.append(around[trace.failure.module])
        for frame in starts:
            while frame is not None and frame not in frames:
                parent = modules[frame].parent
                frames[frame] = None if parent is None else around[parent]
                frame = frames[frame]
        return View(
            trace=trace,
            boxes=boxes,
            home=home,
            frames=frames,
            around=around,
            links=self._links(home, boxes),
            folded=sorted({found.module for found in boxes.values() if found.module is not None}),
            repeated=[group for group in shown if group in frames],
        )

    def _twin(self, node: Node, hidden: list[int | None]) -> tuple[int, int | None]:
        """The node that is shown for a node, and the module that it is shown in."""
        i = node.id
        while True:
            inner = self.inner[i]
            block = None if inner is None else hidden[inner]
            if block is None:
                return i, self.trace.nodes[i].module
            if i not in self.twins[block]:  # a leaf that the block shown has no place for
                module = self.trace.nodes[i].module
                inside = self.tree.inside(module, block)
                return i, self.trace.modules[block].parent if inside else module
            i = self.twins[block][i]

    def _read_in(self, parameter: int, hidden: list[int | None]) -> int | None:
        """The innermost module around the shown twins of all that read a parameter."""
        modules = [self._twin(self.trace.nodes[i], hidden)[1] for i in self.readers[parameter]]
        return functools.reduce(self.tree.common, modules)

    def _links(self, home: list[str], boxes: dict[str, Box]) -> list[Link]:
        links: dict[tuple[str, str, int | None], Link] = {}
        for edge in self.trace.edges:
            if self.trace.nodes[edge.target].rule is not None:
                continue
            source, target = home[edge.source], home[edge.target]
            module = boxes[target].module
            if source == target and module is not None and self._is_inside(edge, module):
                continue
            port = edge.port if module is None else None
            link = links.setdefault((source, target, port), Link(source, target, port))
            link.gradient |= edge.gradient
            link.keys.append(edge.key)
        return list(links.values())

    def _is_inside(self, edge: Edge, module: int) -> bool:
        """Whether an edge stays in a module, or leads on to one of those that look the same."""
        if self.trace.nodes[edge.source].kind != "op":
            return True
        ends = []
        for end in (edge.source, edge.target):
            around = self.trace.nodes[end].module
            while around is not None and self.tree.depths[around] > self.tree.depths[module]:
                around = self.tree.parents[around]
            ends.append(around)
        return ends[0] == ends[1]


# ----- the last resort ---------------------------------------------------------------------------


def chunked(trace: Trace, boxes: int = 40) -> View:
    """A view of at most so many boxes, whatever the graph: each stands for nodes in a row."""
    forward = [node.id for node in trace.nodes if node.rule is None]
    length = max(1, math.ceil(len(forward) / boxes))
    starts = [*range(0, len(forward), length), len(forward)]
    homes: dict[int, int] = {}
    modules = []
    for i, (start, stop) in enumerate(pairwise(starts)):
        inside = forward[start:stop]
        path = f"ops {inside[0]} … {inside[-1]}" if len(inside) > 1 else f"op {inside[0]}"
        modules.append(Module(i, path, type="", parent=None))
        homes |= dict.fromkeys(inside, i)
    nodes = [replace(node, module=homes.get(node.id)) for node in trace.nodes]
    failure = trace.failure and replace(trace.failure, module=None)
    parts = replace(trace, nodes=nodes, modules=modules, failure=failure)
    return _Folding(parts, None, lambda module: False).view(repeats=False)
