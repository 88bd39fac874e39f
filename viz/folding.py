"""What of a graph is visible: equal blocks in a row are shown once, and modules become boxes.

`fold` decides which modules are unfolded. A parameter that one op alone reads stands in the box of
that op, a module with one op is the box of that op, and a frame is where it says something.
"""

import functools
import math
import operator
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Literal

from tinygrad_cv.viz.data import Edge, Module, Node, Trace
from tinygrad_cv.viz.grouping import Tree, around_consumers, copied, grouped, sequences_of
from tinygrad_cv.viz.words import Wording, Words, leaves

NESTED = 40
"""The most frames in one another; modules that are deeper have none."""
FIRST = (1400, 900)
"""Points that a first view may have: what is on a screen is read without moving it."""
ENOUGH = 4
"""Boxes that a first view has at least, however large they are."""
MANY = 300
"""Boxes that fit in no first view, however small they are."""
LETTER, ROW = 5.6, 13.5  # points of a letter and of a line, about
LANE = 22
"""Points that an arrow needs in a row of boxes that it passes by."""

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
    parameters: list[int] = field(default_factory=list)
    """Of an op: the parameters that it alone reads, which are rows of its box."""


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
    wording: Wording = field(repr=False, compare=False)
    """What its boxes say."""

    def frames_around(self, frame: int | None) -> Iterator[int]:
        """A frame and those around it, the innermost first."""
        while frame is not None:
            yield frame
            frame = self.frames[frame]

    def words(self, box: Box) -> Words:
        """What a box says, its twins in blocks that are not shown included."""
        if box.node is None:
            assert box.module is not None
            return self.wording.of_module(box.module)
        nodes = self.trace.nodes
        kind = nodes[box.node].kind
        others = (i for i in box.nodes if i != box.node)
        twins = (i for i in others if nodes[i].kind == kind and nodes[i].rule is None)
        return self.wording.of_node(box.node, twins)

    @cached_property
    def ranks(self) -> dict[str, int]:
        """How many boxes the longest way to a box has before it."""
        places = {name: place for place, name in enumerate(self.boxes)}
        into: dict[str, list[str]] = defaultdict(list)
        for link in self.links:
            if places[link.source] < places[link.target]:
                into[link.target].append(link.source)
        ranks: dict[str, int] = {}
        for name in self.boxes:
            ranks[name] = 1 + max((ranks[source] for source in into[name]), default=-1)
        return ranks

    @property
    def extent(self) -> tuple[float, float]:
        """About how wide and high a picture of it is, in points, without its legend."""
        wide: dict[int, float] = defaultdict(float)
        high: dict[int, float] = defaultdict(float)
        for box in self.boxes.values():
            told, rank = self.words(box), self.ranks[box.id]
            halves = [(told.title, *told.rows), told.formulas]
            wide[rank] += 20 + sum(
                LETTER * min(56, max(map(len, half), default=0)) for half in halves
            )
            lines = max(len(halves[0]) + len(box.parameters), len(halves[1]))
            high[rank] = max(high[rank], ROW * min(lines, 12) + 34)
        for link in self.links:
            first, last = sorted((self.ranks[link.source], self.ranks[link.target]))
            for rank in range(first + 1, min(last, first + MANY)):
                wide[rank] += LANE * (1 + link.gradient)
        return max(wide.values(), default=0), sum(high.values())

    @cached_property
    def skipped(self) -> int:
        """The rows of boxes that its arrows pass by: what makes a layout slow."""
        ranks = self.ranks
        rows = (abs(ranks[link.target] - ranks[link.source]) - 1 for link in self.links)
        return sum(each for each in rows if each > 0)

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
    budget: int | None = None,
    expand: Callable[[Module], bool | None] | None = None,
    terse: bool = True,
) -> View:
    """Decide what of a trace is visible.

    `depth=1` makes a box of each top-level module (the outermost one, which has no path, is no
    level), `depth=2` of those in them, and so on. Where the picture would be larger than a screen
    (about 1,400 x 900 points), or have more than `budget` boxes if that is given,
    `collapse="auto"` shows one block of each repeated group, and then folds modules, the innermost
    first, until it fits. `collapse="repeats"` shows one block of each group in any case, and None
    leaves all as it is. `expand` is asked about each module, and each group, first: True unfolds
    it, False makes it a box, None leaves it to these rules. A layer of the library with a few ops,
    such as LayerNorm, is one box unless `expand` unfolds it; one with a single op is always that
    op's box. If not `terse`, all parameters are boxes, and all modules frames or boxes.
    """
    if depth is not None and depth < 1:
        raise ValueError(f"depth must be 1 (the top-level modules) or more; got {depth}.")
    if collapse not in ("auto", "repeats", None):
        raise ValueError(f"collapse must be 'auto', 'repeats' or None; got {collapse!r}.")
    folding = _Folding(grouped(trace), depth, expand, terse)
    view = folding.view(repeats=collapse == "repeats")

    def fits(view: View) -> bool:
        if budget is not None:
            return view.size <= budget
        boxes = len(view.boxes)
        return boxes <= ENOUGH or (boxes < MANY and all(map(operator.le, view.extent, FIRST)))

    if collapse == "auto" and folding.trace.modules and not fits(view):
        view = folding.view(repeats=True)
        if not fits(view):
            # The deeper the cut, the more is visible: find the deepest that fits.
            cuts = range(max(folding.tree.depths), -1, -1)
            found = bisect_left(
                cuts, True, key=lambda cut: fits(folding.view(repeats=True, cut=cut))
            )
            view = folding.view(repeats=True, cut=cuts[min(found, len(cuts) - 1)])
    return view


class _Folding:
    """A grouped trace, and what does not depend on how far it is folded."""

    def __init__(
        self,
        trace: Trace,
        depth: int | None,
        expand: Callable[[Module], bool | None] | None,
        terse: bool = True,
    ) -> None:
        self.trace, self.terse = trace, terse
        self.tree = Tree(trace)
        self.wanted = [expand(module) if expand else None for module in trace.modules]
        self.levels, self.depth = self._levels(), depth
        self.inner = around_consumers(trace, self.tree)
        self.readers: dict[int, list[int]] = defaultdict(list)
        for edge in trace.edges:
            if trace.nodes[edge.target].rule is None:
                self.readers[edge.source].append(edge.target)
        self.wording = Wording(trace)
        self.few = leaves(trace) if terse else set()
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
        sequences = sequences_of(self.trace)
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
                folded = (
                    m in self.few
                    or (level is not None and self.depth is not None and level >= self.depth)
                    or (cut is not None and self.tree.depths[m] >= cut)
                )
            folded = folded and not (self.terse and m in self.wording.singles)
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
        if self.terse:
            self._take_in(home, boxes)
        for node in trace.nodes:
            if node.rule is not None:
                home[node.id] = home[node.rule]
                boxes[home[node.id]].nodes.append(node.id)
        boxes = dict(sorted(boxes.items(), key=lambda entry: places[entry[0]]))
        frames = self._frames(boxes, around, groups)
        for found in boxes.values():
            while found.frame is not None and found.frame not in frames:
                parent = modules[found.frame].parent
                found.frame = None if parent is None else around[parent]
        inner: list[int | None] = []
        for m, frame in enumerate(around):
            parent = modules[m].parent
            above = None if parent is None else inner[parent]
            inner.append(m if frame == m and m in frames else above)
        return View(
            trace=trace,
            boxes=boxes,
            home=home,
            frames=frames,
            around=inner,
            links=self._links(home, boxes),
            folded=sorted({found.module for found in boxes.values() if found.module is not None}),
            repeated=[group for group in shown if group in frames],
            wording=self.wording,
        )

    def _take_in(self, home: list[str], boxes: dict[str, Box]) -> None:
        """Put the parameters of modules that one visible op reads into the box of that op."""
        nodes = self.trace.nodes
        for found in list(boxes.values()):
            leaf = None if found.node is None else nodes[found.node]
            if leaf is None or leaf.kind != "parameter" or not self._is_in_module(leaf):
                continue
            readers = {home[reader] for i in found.nodes for reader in self.readers[i]}
            if len(readers) == 1 and (op := boxes[readers.pop()]).node is not None:
                op.parameters.append(leaf.id)
                op.nodes += found.nodes
                for i in found.nodes:
                    home[i] = op.id
                del boxes[found.id]

    def _is_in_module(self, node: Node) -> bool:
        """Whether a module that the user wrote is around it, and not just a group of blocks."""
        around = self.trace.ancestors(node.module)
        return any(module.type and module.repeat == 1 for module in around)

    def _frames(
        self, boxes: dict[str, Box], around: list[int | None], groups: set[int]
    ) -> dict[int, int | None]:
        """The frames that say something, each with the one around it.

        Those are the groups, and the modules with two boxes or more in them; but an outermost one
        only where something is computed beside it.
        """
        trace = self.trace

        def outwards(frame: int | None) -> Iterator[int]:
            while frame is not None:
                yield frame
                parent = trace.modules[frame].parent
                frame = None if parent is None else around[parent]

        inside: Counter[int] = Counter()
        starts = [(found.frame, self._is_computed(found)) for found in boxes.values()]
        if trace.failure is not None and trace.failure.module is not None:
            starts.append((around[trace.failure.module], True))
        for frame, _ in starts:
            inside.update(outwards(frame))
        every = {m for m in inside if trace.modules[m].parent is None and m not in groups}
        for frame, computed in starts:
            if computed:
                every.intersection_update(outwards(frame))
        kept = {m for m, n in inside.items() if m in groups or (n > 1 and m not in every)}
        if not self.terse:
            kept = set(inside)
        return {
            m: next((outer for outer in outwards(m) if outer != m and outer in kept), None)
            for m in sorted(kept)
        }

    def _is_computed(self, found: Box) -> bool:
        return found.node is None or self.trace.nodes[found.node].kind == "op"

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
        taken = {
            i
            for found in boxes.values()
            if found.parameters
            for i in found.nodes
            if self.trace.nodes[i].kind == "parameter"
        }
        for edge in self.trace.edges:
            if self.trace.nodes[edge.target].rule is not None:
                continue
            source, target = home[edge.source], home[edge.target]
            module = boxes[target].module
            if source == target and (
                edge.source in taken if module is None else self._is_inside(edge, module)
            ):
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
    nodes = [copied(node, module=homes.get(node.id)) for node in trace.nodes]
    failure = trace.failure and replace(trace.failure, module=None)
    parts = replace(trace, nodes=nodes, modules=modules, failure=failure)
    return _Folding(parts, None, lambda module: False).view(repeats=False)
