"""Equal blocks in a row are found and told as modules, and each leaf gets the module it belongs to.

An item of a module is one of its ops or a call in it. Items are integers here: an op is its id,
and a module is ~id, which is negative.
"""

import heapq
import operator
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from tinygrad_cv.viz.data import Module, Node, Trace

PATTERN = 64
"""The most items that a repeated block of loose ops may have."""
MOVING = {"getitem"}
"""Ops whose attributes may differ from block to block: step t of a loop reads x[t]."""

OWN = "each with parameters of its own"
"""Said of equal blocks that are no steps of a loop."""

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
    modules = [copied(module) for module in trace.modules]
    sequences = sequences_of(trace)
    signs = _signatures(trace, sequences)
    homes = [node.module for node in trace.nodes]
    names: dict[int, str] = {}
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
            for place in range(period):
                names |= _names(trace, run[place::period])
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
    return _with_leaves_at_home(_renumbered(trace, modules, homes, names))


def sequences_of(trace: Trace) -> dict[int | None, list[int]]:
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
    kind = ", ".join(
        trace.nodes[item].op if item >= 0 else modules[~item].type for item in run[:period]
    )
    calls = [modules[~item] for item in run if item < 0]
    layers = calls and calls[0].path != calls[-(len(calls) // count)].path  # others in each block
    if layers or (period == 1 and calls):
        first, last = calls[0], calls[-1]
        path = f"{first.path} … {last.path}" if layers else first.path or first.name
        details = first.details if period == 1 else ""
    else:  # of a loop
        path, details = _span(modules, sequences, run), ""
    own = not layers and _own_parameters(trace, run, period)
    return Module(
        *(0, path, kind, None),
        parameters=_parameters(modules, run),
        details=details,
        repeat=count,
        note=OWN if own else "",
        loop=not own and _is_loop(trace, sequences, run, period),
    )


def _own_parameters(trace: Trace, run: list[int], period: int) -> bool:
    """Whether blocks of loose ops read other parameters each: layers, and no steps of a loop."""

    def read(items: list[int]) -> set[int]:
        sources = {entry.source for i in items if i >= 0 for entry in trace.nodes[i].inputs}
        return {i for i in sources if i is not None and trace.nodes[i].kind == "parameter"}

    first, last = read(run[:period]), read(run[-period:])
    return bool(first and last) and first.isdisjoint(last)


def _is_loop(
    trace: Trace, sequences: dict[int | None, list[int]], run: list[int], period: int
) -> bool:
    """Whether a value flows from one of the blocks of a run to a later one."""
    block = {}
    pending = [(item, place // period) for place, item in enumerate(run)]
    for item, own in pending:  # which grows
        if item < 0:
            pending += [(inner, own) for inner in sequences[~item]]
        else:
            block[item] = own
    return any(
        entry.source in block and block[entry.source] < own
        for i, own in block.items()
        for entry in trace.nodes[i].inputs
        if entry.source is not None
    )


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


def _names(trace: Trace, twins: list[int]) -> dict[int, str]:
    """Names for the nodes at one place of a loop: a variable of a loop names its last step's."""
    if twins[0] < 0 or not (last := trace.nodes[twins[-1]].name):
        return {}
    return {i: last for i in twins if not trace.nodes[i].name}


def _renumbered(
    trace: Trace, modules: list[Module], homes: list[int | None], names: dict[int, str]
) -> Trace:
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
        nodes=[
            copied(node, module=ids[homes[node.id]], name=names.get(node.id, node.name))
            for node in trace.nodes
        ],
        modules=[
            copied(modules[module], id=i, parent=ids[modules[module].parent])
            for i, module in enumerate(order)
        ],
        failure=failure and replace(failure, module=ids[failure.module]),
    )


# ----- where leaves belong -----------------------------------------------------------------------


class Tree:
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


def around_consumers(trace: Trace, tree: Tree) -> list[int | None]:
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
    tree = Tree(trace)
    fed: set[int] = set()  # modules that an op outside flows into
    for source, inner in _reads(trace):
        if trace.nodes[source].kind == "op":
            shared = tree.common(trace.nodes[source].module, inner)
            while inner != shared and inner is not None:
                fed.add(inner)
                inner = tree.parents[inner]
    homes = around_consumers(trace, tree)
    for node in trace.nodes:
        if node.kind == "input" and node.rule is None:
            home = homes[node.id]
            while home is not None and home not in fed:
                home = tree.parents[home]
            homes[node.id] = home
    nodes = (
        node if node.module == home else copied(node, module=home)
        for node, home in zip(trace.nodes, homes, strict=True)
    )
    return replace(trace, nodes=[*nodes])


Data = TypeVar("Data", Node, Module)


def copied(data: Data, **changes: Any) -> Data:
    """As `dataclasses.replace`, which takes ten times as long."""
    new = object.__new__(type(data))
    new.__dict__.update(data.__dict__, **changes)
    return new
