"""What a box of a picture says, for the static pictures and the page alike.

Here is text without markup; `labels` sets it for Graphviz, and the page draws it as it is.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tinygrad_cv.viz.data import Input, Module, Node, Trace

FEW = 8
"""The most ops of a layer of the library that is one box: BatchNorm in evaluation, LayerNorm."""


MOST = 8
"""Inputs of a variadic op, such as `stack`, of which all formulas are told."""


@dataclass(frozen=True)
class Words:
    """What a box says."""

    title: str
    """ "0 Conv2d 3×3, 16", "q = add", "layer1 Sequential"."""
    rows: tuple[str, ...]
    """Attributes, and what it makes: "float32 (1, 64, 56, 56)"."""
    formulas: tuple[str, ...] = ()
    """ "∂L/∂q = g · z", and indented below it what it defines: "    where …"."""


class Wording:
    """What the boxes of a trace say.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv import nn, viz
    >>> trace = viz.trace(nn.Sequential(nn.Conv2d(3, 16, 3, stride=2)), (1, 3, 9, 9))
    >>> Wording(trace).of_node(3).title
    '0 Conv2d 3×3, 16, /2'
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.ops = ops_in(trace)
        self.singles, self.leaves = singles(trace), leaves(trace)
        # The innermost module that is the box of an op: a child comes after its parent.
        self.layer = {op: m for m, op in self.singles.items()}

    def of_node(self, i: int, twins: Iterable[int] = ()) -> Words:
        """What the box of a node says.

        `twins` are the nodes in its place in equal blocks that are not shown: a rule that runs in
        one of them only, as backpropagation through time does from the second step on, is told too.
        """
        node = self.trace.nodes[i]
        made = type_of(node)
        if node.kind != "op":
            return Words(own_name(self.trace, node) or node.kind, (made,))
        layer = self.layer.get(i)
        title, attributes = node.op, node.attributes
        if layer is not None:
            module = self.trace.modules[layer]
            brief, attributes = _brief(self.trace, node)
            title = self._layer_title(module, brief)
        if name := own_name(self.trace, node):
            title = f"{name} = {title}"
        numbers = (f"{name_of(e)} = {e.text}" for e in node.inputs if _is_plain(e))
        told = ", ".join(filter(None, [attributes, *numbers]))
        rows = (told, made) if told else (made,)
        return Words(title, rows, tuple(formulas(self.trace, [i, *twins])))

    def of_module(self, m: int) -> Words:
        """What the box of a folded module says: how much is in it, and what its last op makes."""
        module, ops = self.trace.modules[m], self.ops.get(m, [])
        counts = [f"{len(ops):,} op{'s' * (len(ops) != 1)}"]
        if module.parameters:
            counts.append(f"{module.parameters:,} parameters")
        rows = [", ".join(counts)]
        if ops:
            rows.append(type_of(self.trace.nodes[ops[-1]]))
        return Words(self._layer_title(module) if m in self.leaves else frame(module), tuple(rows))

    def _layer_title(self, module: Module, brief: str = "") -> str:
        named = f"{_called(self.trace, module)} {brief}".strip()
        return ", ".join(filter(None, (named, _again(module))))


def frame(module: Module) -> str:
    """The heading of a module: "layer1.0 BasicBlock", "h.0 … 11 Block ×12", "t = 0 … 49"."""
    if module.repeat > 1:
        return _group(module)
    named = " ".join(filter(None, (module.path or module.name, module.type)))
    return ", ".join(filter(None, (named, _again(module), module.note))) or "–"


def step_of(group: Module, i: int) -> str:
    """What one of equal blocks is called: "t = 3"; "4 of 12" where they are no steps of a loop."""
    return f"{i + 1} of {group.repeat}" if group.note else f"t = {i}"


def singles(trace: Trace) -> dict[int, int]:
    """The modules that are drawn as the box of their one op: the id of that op, by module."""
    found = sorted(ops_in(trace).items())
    return {m: ops[0] for m, ops in found if _is_single(trace.modules[m], ops)}


def leaves(trace: Trace) -> set[int]:
    """Layers of the library with a few ops, which are one box unless someone unfolds them."""
    parents = {module.parent for module in trace.modules}
    found = ops_in(trace)
    return {
        module.id
        for module in trace.modules
        if module.library
        and module.repeat == 1
        and module.id not in parents
        and 1 < len(found.get(module.id, ())) <= FEW
    }


def parameter(trace: Trace, i: int) -> str:
    """A parameter as a row in the box of its op: "weight (64, 3, 7, 7)"."""
    node = trace.nodes[i]
    return f"{node.name.rpartition('.')[2] or node.kind} {tuple(node.shape)}"


# ----- parts of it -------------------------------------------------------------------------------


def type_of(node: Node) -> str:
    """The dtype and the shape of a node's value."""
    return f"{node.dtype} {tuple(node.shape)}"


def name_of(entry: Input) -> str:
    """What formulas call an input."""
    return entry.called or entry.name


def own_name(trace: Trace, node: Node) -> str:
    """The name of a node without the path of the module that it stands in."""
    path = "" if node.module is None else trace.modules[node.module].path
    return node.name.removeprefix(f"{path}.") if path else node.name


def formulas(trace: Trace, ids: Sequence[int]) -> Iterator[str]:
    """The formula of each input of a node, of the first among it and its twins that has one."""
    nodes = [trace.nodes[i] for i in ids]
    told: dict[str, str] = {}
    several = [port for port, entry in enumerate(nodes[0].inputs) if entry.name.endswith("]")]
    left_out = set(several[2:-1] if len(several) > MOST else ())
    for port in range(len(nodes[0].inputs)):
        if port in left_out:
            if port == several[2]:
                yield "…"
            continue
        found = (node.inputs[port] for node in nodes if port < len(node.inputs))
        entry = next((entry for entry in found if entry.gradient), None)
        if entry is None:
            continue
        yield f"∂L/∂{name_of(entry)} {'+=' if entry.summed else '='} {entry.formula}"
        for name, meaning in entry.where.items():
            if told.get(name) != meaning:  # several rules may share a definition
                told[name] = meaning
                yield f"    where {name} = {meaning}"


def ops_in(trace: Trace) -> dict[int, list[int]]:
    """The forward ops in each module, those in the modules below it included."""
    found: dict[int, list[int]] = defaultdict(list)
    for node in trace.nodes:
        if node.kind == "op" and node.rule is None:
            for module in trace.ancestors(node.module):
                found[module.id].append(node.id)
    return found


def _is_plain(entry: Input) -> bool:
    return entry.source is None and entry.text not in ("", "None")


def _is_single(module: Module, ops: list[int]) -> bool:
    return len(ops) == 1 and module.repeat == 1 and module.type != ""


def _called(trace: Trace, module: Module) -> str:
    """A single module's own part of its path, and its type."""
    name = module.path
    for outer in trace.ancestors(module.parent):
        if outer.path and outer.type:
            name = name.removeprefix(f"{outer.path}.")
            break
    return f"{name or module.name} {module.type}".strip()


def _again(module: Module) -> str:
    return f"call {module.call + 1}" if module.call else ""


def _group(module: Module) -> str:
    """The heading of equal blocks in a row."""
    first, _, last = module.path.partition(" … ")
    turns = f"t = 0 … {module.repeat - 1}" if module.loop else f"×{module.repeat}"
    if first.startswith(("op ", "ops ")):
        return f"×{module.repeat}, {module.note}" if module.note else turns
    if not last or last == first:  # the same module again and again
        return f"{first} {module.type}{', ' if module.loop else ' '}{turns}".strip()
    shared = first.rpartition(".")[0]
    if shared and last.startswith(f"{shared}."):
        last = last.removeprefix(f"{shared}.")
    return f"{first} … {last} {module.type} ×{module.repeat}"


def _brief(trace: Trace, node: Node) -> tuple[str, str]:
    """A layer's kernel, channels and stride, and the attributes that this leaves to be told."""
    attributes = dict(re.findall(r"(\w+)=(\([^)]*\)|\S+)", node.attributes))
    if (
        re.fullmatch(r"linear|conv(_transpose)?\d?d?", node.op) is None
        and "kernel" not in attributes
    ):
        return "", node.attributes
    weight = node.inputs[1].source if len(node.inputs) > 1 else None
    kernel = _sizes(attributes.pop("kernel", ""))
    if not kernel and weight is not None:
        kernel = trace.nodes[weight].shape[2:]
    parts = ["×".join(map(str, kernel))] if kernel else []
    if weight is not None:
        parts.append(str(node.shape[1] if kernel else node.shape[-1]))
    stride = _sizes(attributes.pop("stride", ""))
    if stride and set(stride) != {1}:
        same = len(set(stride)) == 1
        parts.append(f"/{stride[0]}" if same else "/" + "×".join(map(str, stride)))
    return ", ".join(parts), " ".join(f"{name}={value}" for name, value in attributes.items())


def _sizes(text: str) -> list[int]:
    return [int(size) for size in re.findall(r"\d+", text)]
