"""Where the gates of a circuit stand: layers along the flow, few crossings, straight wires.

The layered drawing of Sugiyama, Tagawa and Toda (1981), for circuits of some forty gates: a layer
for each step of the longest way to the output, the order within layers by the median of the
neighbours, and the places with the least sum of squares of the wires' slopes that the sizes allow.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

SWEEPS = 12  # of the order in layers
TURNS = 300  # of the places, until chains are straight


@dataclass(frozen=True)
class Part:
    """What takes up room: a gate, or the place where a long wire passes a layer."""

    before: float
    """How far it reaches to one side of its wire, across the flow."""
    after: float
    """How far to the other."""


def layered(count: int, wires: Sequence[tuple[int, int]], outputs: Sequence[int]) -> list[int]:
    """The layer of each node, 0 first; every node stands right before the first that uses it."""
    uses = defaultdict(list)
    for source, target in wires:
        uses[source].append(target)
    height = dict.fromkeys(outputs, 0)
    for node in reversed(range(count)):  # in the order of computation
        height[node] = max((height[user] + 1 for user in uses[node]), default=0)
    top = max(height.values())
    return [top - height[node] for node in range(count)]


def bent(layers: list[int], wires: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The nodes that each wire goes through; long ones get new nodes, which `layers` receives."""
    ways = []
    for source, target in wires:
        way = [source]
        for layer in range(layers[source] + 1, layers[target]):
            way.append(len(layers))
            layers.append(layer)
        ways.append([*way, target])
    return ways


def ordered(layers: Sequence[int], ways: Sequence[Sequence[int]]) -> list[list[int]]:
    """The nodes of each layer, so that few wires cross."""
    fore, back = defaultdict(list), defaultdict(list)
    for way in ways:
        for a, b in pairwise(way):
            fore[a].append(b)
            back[b].append(a)
    rows: list[list[int]] = [[] for _ in range(max(layers) + 1)]
    for node in _by_use(back, layers):
        rows[layers[node]].append(node)
    best, least = [list(row) for row in rows], _crossings(rows, fore)
    for sweep in range(SWEEPS):
        near = fore if sweep % 2 else back
        for i in range(1, len(rows)) if near is back else reversed(range(len(rows) - 1)):
            other = rows[i - 1 if near is back else i + 1]
            place = {node: k for k, node in enumerate(other)}
            own = {node: k for k, node in enumerate(rows[i])}
            rows[i].sort(
                key=lambda node, place=place, near=near, own=own: (  # type: ignore[misc]
                    median([place[n] for n in near[node]]) if near[node] else own[node],
                    own[node],
                )
            )
        if (found := _crossings(rows, fore)) < least:
            best, least = [list(row) for row in rows], found
    return best


def _by_use(back: dict[int, list[int]], layers: Sequence[int]) -> list[int]:
    """All nodes, as a walk from the outputs finds them: the inputs of an op stay together."""
    seen: dict[int, None] = {}
    stack = sorted(range(len(layers)), key=lambda node: layers[node])
    while stack:
        node = stack.pop()
        if node not in seen:
            seen[node] = None
            stack += reversed(back[node])
    return list(seen)


def _crossings(rows: Sequence[Sequence[int]], fore: dict[int, list[int]]) -> int:
    count = 0
    for row, following in pairwise(rows):
        place = {node: k for k, node in enumerate(following)}
        ends = [end for node in row for end in sorted(place[target] for target in fore[node])]
        count += sum(b < a for i, a in enumerate(ends) for b in ends[i + 1 :])
    return count


def placed(
    rows: Sequence[Sequence[int]], ways: Sequence[Sequence[int]], parts: dict[int, Part]
) -> dict[int, float]:
    """How far across the flow each node stands."""
    near = defaultdict(list)
    for way in ways:
        for a, b in pairwise(way):
            near[a].append(b)
            near[b].append(a)
    across: dict[int, float] = {}
    for row in rows:
        at = 0.0
        for node in row:
            across[node] = at + parts[node].before
            at = across[node] + parts[node].after
    for turn in range(TURNS):
        for row in rows if turn % 2 else reversed(rows):
            wishes = [sum(across[n] for n in near[node]) / max(1, len(near[node])) for node in row]
            weights = [len(near[node]) for node in row]
            across |= _apart(row, wishes, weights, parts)
    return across


def _apart(
    row: Sequence[int], wishes: list[float], weights: list[int], parts: dict[int, Part]
) -> dict[int, float]:
    """The places where no two overlap, with the least sum of squares of all wires' slopes.

    Neighbours that would overlap are pooled, each with the weight of its wires.
    """
    offsets, at = [], 0.0
    for i, node in enumerate(row):
        at += parts[node].before + parts[row[i - 1]].after if i else 0.0
        offsets.append(at)
    pools: list[tuple[float, int, int]] = []  # the place of their first, weight, how many they are
    for wish, weight, offset in zip(wishes, weights, offsets, strict=True):
        mean, size = wish - offset, 1
        while pools and pools[-1][0] > mean:
            other, more, count = pools.pop()
            mean = (mean * weight + other * more) / (weight + more)
            weight, size = weight + more, size + count
        pools.append((mean, weight, size))
    means = [mean for mean, _, size in pools for _ in range(size)]
    return {n: m + offset for n, m, offset in zip(row, means, offsets, strict=True)}
