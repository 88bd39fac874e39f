"""The program that `compile` replays, as a picture: a box for each instruction."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tinygrad_cv._graph import Graph, Scope
from tinygrad_cv.printing import quantity
from tinygrad_cv.program.compiled import Compiled
from tinygrad_cv.program.fuse import Group
from tinygrad_cv.program.instructions import Instruction, Value
from tinygrad_cv.program.listing import Names, flops, kernel, made_by, moved, read_by
from tinygrad_cv.program.places import overlap
from tinygrad_cv.program.plan import Plan
from tinygrad_cv.viz import labels
from tinygrad_cv.viz.data import Input, Module, Node, Trace
from tinygrad_cv.viz.folding import Box, Link
from tinygrad_cv.viz.labels import FADED, GRADIENT
from tinygrad_cv.viz.painting import Arrow, Painter, Statement
from tinygrad_cv.viz.structure import Calls

PARTS = ("forward", "backward", "update")
MOST_NAMED = 6  # inputs of an instruction that are told by name


def program(compiled: Compiled) -> Trace:
    """The plan of a compiled function as data.

    Nodes are its instructions, and the inputs, parameters and other arrays from outside that they
    read. Each of the forward pass, the backward pass and the updates is a module, and has in it the
    calls of modules that were recorded. Edges are arrays in memory; what another part has made is
    told by its name, but for the first instruction of a part. Constants are left out.
    """
    return _Reader(compiled).trace


class _Reader:
    def __init__(self, compiled: Compiled) -> None:
        plan = compiled.plan
        if not isinstance(plan, Plan):
            raise TypeError(
                "the plan of a compiled function is drawn where it computes on the CPU; this one "
                "is for a GPU, and print(compiled.plan) lists it."
            )
        self.plan: Plan = plan
        self.trace = Trace(
            title=getattr(compiled, "__qualname__", type(compiled.function).__name__)
        )
        self.named = Names()
        self.trained = compiled.trained
        self.calls = {part: Calls(Graph([])) for part in PARTS}
        self.leaves: dict[Value, int] = {}
        self.writers: dict[Value, list[tuple[int, Value]]] = {}
        self.begun: dict[str, None] = {}
        self.homes: list[tuple[str, int | None]] = []
        for number, instruction in enumerate(self.plan.order):
            self._add(number, instruction)
        self._place()
        self.trace.outputs = sorted(set(map(self._maker, compiled.returned)) - {-1})

    def _add(self, number: int, instruction: Instruction | Group) -> None:
        plan, nodes = self.plan, self.trace.nodes
        part, scope = self._origin(instruction)
        first = part not in self.begun
        self.begun.setdefault(part)
        reads = [v for v in read_by(plan, instruction) if v.root.kind != "constant"]
        inputs = [self._input(v, part, first) for v in reads]
        made = list(made_by(plan, instruction))
        several = [self._shape(v) for v in made[1:]]
        told = [f"also {', '.join(several[:3])}{', …' * (len(several) > 3)}"] if several else []
        if isinstance(instruction, Group):
            told.insert(0, " ".join(step.name for step in instruction.steps))
        told.append(quantity(moved(plan, instruction), "B"))
        work = flops(instruction)
        value = made[0] if made else None
        node = Node(
            id=len(nodes),
            key=f"{part}/{number}",
            kind="op",
            op="loop" if isinstance(instruction, Group) else kernel(instruction),
            name="" if value is None else self.named.of(value),
            module=None,
            shape=[] if value is None else list(value.shape),
            dtype="" if value is None else str(value.dtype),
            device="cpu",
            attributes="; ".join(told),
            inputs=inputs if len(inputs) <= MOST_NAMED else [replace(i, name="") for i in inputs],
            source=instruction.line,
            flops=work,
            seconds=None if plan.times is None else plan.times[number],
        )
        nodes.append(node)
        self.homes.append((part, self.calls[part].enter(scope)))
        for v in made:
            self.writers.setdefault(v.root, []).append((node.id, v))

    def _origin(self, instruction: Instruction | Group) -> tuple[str, Scope | None]:
        """The last part that its results are for, and the innermost call around them all."""
        known = self.plan.program.origins
        found = [known[v] for v in (*instruction.outputs, *instruction.writes) if v in known]
        if not found:  # it makes nothing, as a check does
            return next(reversed(self.begun), PARTS[0]), None
        part = max((origin.part for origin in found), key=PARTS.index)
        around = [list(_around(origin.scope)) for origin in found if origin.part == part]
        shared = (s for s in around[0] if all(s in scopes for scopes in around))
        return part, next(shared, None)

    def _input(self, value: Value, part: str, first: bool) -> Input:
        """What an instruction reads, and which node it comes from."""
        source = None
        for node, written in reversed(self.writers.get(value.root, [])):
            if overlap(written, value):
                source = node
                break
        if source is None and value.root.kind in ("input", "held"):
            source = self._leaf(value.root, part)
        far = source is not None and not self.trace.nodes[source].key.startswith(f"{part}/")
        told = f"{self._shape(value)}, {quantity(value.nbytes, 'B')}"
        return Input(f"{self.named.of(value)} {told}", None if far and not first else source)

    def _leaf(self, root: Value, part: str) -> int:
        """The node of an array from outside, in the part that reads it first."""
        if root not in self.leaves:
            self.leaves[root] = len(self.trace.nodes)
            self.trace.nodes.append(
                Node(
                    id=self.leaves[root],
                    key=f"{part}/{self.named.of(root)}",
                    kind="parameter" if id(root.array) in self.trained else "input",
                    op="input",
                    name=self.named.of(root),
                    module=None,
                    shape=list(root.shape),
                    dtype=str(root.dtype),
                    device="cpu",
                )
            )
            self.homes.append((part, None))
        return self.leaves[root]

    def _maker(self, output: int) -> int:
        """The node of the instruction that makes an output of the program; -1: it was there."""
        found = self.writers.get(self.plan.program.outputs[output].root, [(-1, None)])
        return next((node for node, _ in found if self.homes[node][0] != "update"), found[0][0])

    def _shape(self, value: Value) -> str:
        return "x".join(map(str, value.shape)) or "1"

    def _place(self) -> None:
        """Put the calls of all parts into one list of modules, and each node into its own."""
        starts: dict[str, int] = {}
        modules = self.trace.modules
        for part in PARTS:
            if part not in self.begun:
                continue
            root = starts[part] = len(modules)
            modules.append(Module(root, "", part, None))
            for module in self.calls[part].modules:
                parent = root if module.parent is None else root + 1 + module.parent
                modules.append(replace(module, id=root + 1 + module.id, parent=parent))
        for node, (part, call) in zip(self.trace.nodes, self.homes, strict=True):
            node.module = starts[part] if call is None else starts[part] + 1 + call


def _around(scope: Scope | None) -> Iterator[Scope]:
    while scope is not None:
        yield scope
        scope = scope.outer


# ----- the picture -------------------------------------------------------------------------------


class ProgramPainter(Painter):
    """Writes a view of a program down as DOT: the values flow down, and the gradients up."""

    def finish(self, picture: Any) -> None:
        """The first instruction of the backward pass stands beside what it reads."""
        for found in self.view.boxes.values():
            for link in self.links[found.id]:
                if self._rises(found) and not self._rises(self.view.boxes[link.source]):
                    with picture.subgraph(graph_attr={"rank": "same"}) as row:
                        row.node(link.source)
                        row.node(found.id)
                    return

    def kinds(self) -> set[str]:
        backward = any(self._part(box) == "backward" for box in self.view.boxes.values())
        found = super().kinds() - {"output"}
        return found | ({"gradient"} if backward else set())

    def statements(self) -> Iterator[Statement]:
        for found in self.view.boxes.values():
            arrows = [self._arrow(found, link) for link in self.links[found.id]]
            yield self.statement(found, found.id, self.label(found), arrows)

    def label(self, found: Box) -> str:
        if found.node is None:
            return super().label(found)
        node = self.nodes[found.node]
        if node.kind != "op":
            return labels.box(node.kind, labels.rows_of(self.view.words(found), node.id))
        rows = labels.op_rows(replace(node, id=int(node.key.partition("/")[2])), node.name)
        if node.id in self.trace.outputs:
            rows.append("<B>an output</B>")
        rows += labels.detail_rows(node if self.style.details else replace(node, source=""))
        cells = [(port, labels.text(entry.name)) for port, entry in labels.given(node)]
        kind = "gradient" if self._part(found) == "backward" else "op"
        return labels.box(kind, rows, cells, below=self._rises(found))

    def _part(self, found: Box) -> str:
        return self.nodes[found.nodes[0]].key.partition("/")[0]

    def _rises(self, found: Box) -> bool:
        return self._part(found) != "forward"

    def _arrow(self, target: Box, link: Link) -> Arrow:
        source = self.view.boxes[link.source]
        port = "" if link.port is None or not self.down else f":i{link.port}"
        if self._rises(source) != self._rises(target):
            return source.id, target.id + port, {"color": FADED, "constraint": "false"}
        look = {"constraint": "false"} if self.goes_back(link) else {}
        if self._rises(target):
            tail = target.id + (f"{port}:s" if port else "")
            return tail, source.id, {**look, "dir": "back", "color": GRADIENT}
        return source.id, target.id + (f"{port}:n" if port else ""), look
