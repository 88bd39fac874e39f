"""A traced graph as plain data: what every picture, page and table is made from.

It holds numbers, text and lists only, no tensor and no array, so it can be kept, sent and compared:
`Trace.to_json()` and `Trace.from_json(text)` are exact inverses.
"""

import dataclasses
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

VERSION = 1
"""Of the JSON; a reader refuses another one."""


@dataclass
class Summary:
    """What is in an array, in a few numbers. Those from `mean` to `norm` are of finite elements."""

    count: int
    mean: float | None = None
    std: float | None = None
    min: float | None = None
    max: float | None = None
    norm: float | None = None
    """√Σx², the Euclidean norm."""
    zeros: float = 0.0
    """The share of elements that are exactly 0."""
    nan: int = 0
    inf: int = 0
    histogram: list[int] = field(default_factory=list)
    """Counts in equal bins from min to max."""
    dead: float | None = None
    """Of a ReLU: the share of units that give 0 for every sample of the batch."""
    saturated: float | None = None
    """Of tanh and sigmoid: the share of elements within 1 % of an end of the range."""
    image: str = ""
    """A small PNG as a data URI, where images were asked for: an input that is one, the channels of
    a convolution for the first sample, the filters of its weight."""

    @property
    def finite(self) -> bool:
        """Whether there is neither NaN nor an infinity in it."""
        return not (self.nan or self.inf)


@dataclass
class Input:
    """One input of an op: an edge from another node, or a plain value."""

    name: str
    """As the op's `forward` and its formulas call it: "x"; "xs[0]" for a variadic input."""
    source: int | None
    """The id of the node that it comes from; None for a plain value."""
    text: str = ""
    """A plain value as text."""
    gradient: bool = False
    """Whether a gradient flows back along this edge."""
    formula: str = ""
    """What ∂L/∂name is, in terms of g, y and the inputs; "" where no gradient flows."""
    where: dict[str, str] = field(default_factory=dict)
    """The names that the formula defines for itself, in order."""
    share: int | None = None
    """Where the ops of the backward pass are traced: the node that is this edge's gradient."""
    called: str = ""
    """What the formulas call it: the user's name, a parameter's own, or else the op's `name`."""
    summed: bool = False
    """Whether others send a gradient to it, too: then the formula gives a share of the sum."""


@dataclass
class Node:
    """One application of an op, or a leaf."""

    id: int
    """Its place in `Trace.nodes`, and its number in `print(graph(...))`."""
    key: str
    """The same for the same place in another step or in a similar model: "features.3/conv2d.0"."""
    kind: Literal["input", "parameter", "op"]
    op: str
    """The op's name; of a leaf its kind."""
    name: str
    """The parameter's path or the user's name for it; "" if none is known."""
    module: int | None
    """The id of the innermost module call that it belongs to."""
    shape: list[int]
    dtype: str
    device: str
    requires_grad: bool = False
    attributes: str = ""
    inputs: list[Input] = field(default_factory=list)
    source: str = ""
    """The line of the user's program that made it: "model.py:12"; "" if not known."""
    code: str = ""
    """What stands in that line."""
    saved: dict[str, int] | None = None
    """What its rules keep until the backward pass: bytes by name. None once it was freed.

    An array that several nodes keep is counted at the first; one that a leaf owns is not.
    """
    flops: int | None = None
    """Floating-point operations of the forward pass; None where no rule for counting is known."""
    seconds: float | None = None
    """Time of the forward, where it was measured."""
    backward_seconds: float | None = None
    rule: int | None = None
    """Of an op of the backward pass: the id of the forward node whose rule it belongs to."""
    gradient: int | None = None
    """Where the ops of the backward pass are traced: the node that is its complete gradient."""
    note: str = ""
    """What to point out about it, such as what changed (`viz.diff`)."""
    called: str = ""
    """What the formulas call what it gives: the user's name, or else "y"."""

    @property
    def saved_bytes(self) -> int | None:
        """The sum of `saved`."""
        return None if self.saved is None else sum(self.saved.values())


@dataclass
class Module:
    """One call of a module, or what folding made of several (see `viz.folding`)."""

    id: int
    """Its place in `Trace.modules`; a parent comes before its children."""
    path: str
    """Its dotted path in the outermost module: "features.3"; "" for that one itself."""
    type: str
    """The name of its class."""
    parent: int | None
    call: int = 0
    """How often the same module was called before."""
    parameters: int = 0
    """Elements of all its parameters, those of the modules below it included."""
    details: str = ""
    """What stands between the parentheses of its repr."""
    repeat: int = 1
    """More than 1: no call, but so many equal blocks in a row, which have this as their parent."""
    name: str = ""
    """Of an outermost module: the user's variable that holds it, such as "G"; "" if not known."""
    library: bool = False
    """Whether its class is one of `tinygrad_cv.nn`."""
    note: str = ""
    """What to point out about it, such as that no gradient flows here."""
    loop: bool = False
    """Of equal blocks: whether a value flows from one of them to a later one."""


@dataclass
class Broken:
    """Where the first NaN or infinite number arose: an op, or its rule, made it of finite ones."""

    node: int
    words: str
    """What went in, and where: "log got -2 at [3, 1], train.py:12"."""


@dataclass
class Step:
    """What was seen at one step of training, or in the one run that was traced."""

    number: int = 0
    loss: float | None = None
    values: dict[int, Summary] = field(default_factory=dict)
    """What each node gave, by id."""
    gradients: dict[int, Summary] = field(default_factory=dict)
    """The complete gradient ∂L/∂value at each node, by id."""
    shares: dict[str, float] = field(default_factory=dict)
    """The norm of the gradient that flows back along an edge, by `Edge.key`."""
    updates: dict[int, float] = field(default_factory=dict)
    """‖update‖ / ‖weight‖ of each parameter, by id; healthy around 1e-3."""
    broken: Broken | None = None
    """The node whose forward made the first number that is not finite."""
    broken_gradient: Broken | None = None
    """The node whose rule did, where the forward pass was finite."""


@dataclass
class Frame:
    """One picture of a playback: a node sends its gradients on."""

    node: int
    lines: list[str]
    """The rule with the numbers in it."""


@dataclass
class Failure:
    """An op that raised. It has no node: nothing was computed."""

    op: str
    message: str
    inputs: list[tuple[str, int | None, str]]
    """(name, id of the node that it comes from, "float32 (2, 3)" or the value)."""
    module: int | None = None
    source: str = ""
    code: str = ""
    during: Literal["forward", "backward"] = "forward"
    node: int | None = None
    """In a backward pass: the node whose rule raised."""


@dataclass
class Remark:
    """What was found about a training run: a finding of `train.health`, and its places."""

    level: Literal["error", "warning", "note"]
    kind: str
    seen: str
    means: str = ""
    remedy: str = ""
    source: str = ""
    step: int | None = None
    where: str = ""
    """The layer and the line of the program."""
    nodes: list[int] = field(default_factory=list)
    """The ids of the nodes that it is about."""


class Edge(NamedTuple):
    """Input number `port` of node `target` comes from node `source`."""

    source: int
    target: int
    port: int
    gradient: bool

    @property
    def key(self) -> str:
        """How `Step.shares` names the edge: "target:port"."""
        return f"{self.target}:{self.port}"


@dataclass(repr=False)
class Trace:
    """A graph as data. Made by `viz.trace`; see there."""

    nodes: list[Node] = field(default_factory=list)
    """In the order of computation, a leaf right before its first use."""
    outputs: list[int] = field(default_factory=list)
    modules: list[Module] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    """Empty if neither values nor gradients were asked for."""
    frames: list[Frame] = field(default_factory=list)
    failure: Failure | None = None
    remarks: list[Remark] | None = None
    """What was found about the run, the worst first; None where nobody has looked."""
    title: str = ""
    output_names: list[str] = field(default_factory=list)
    """What each output is called: a key or a field of what the model returned, "[0]", or the user's
    variable; "" if not known."""
    changed: list[str] = field(default_factory=list)
    """Where a watched graph changed: "the graph changed at step 12: 3 nodes more"."""

    def __repr__(self) -> str:
        title = f" {self.title!r}" if self.title else ""
        nodes, modules, steps = len(self.nodes), len(self.modules), len(self.steps)
        return f"<Trace{title}: {nodes} nodes, {modules} module calls, {steps} steps>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from tinygrad_cv.viz.notebook import bundle

        return bundle(self)

    @property
    def edges(self) -> Iterator[Edge]:
        """Every edge, by target and then by input."""
        for node in self.nodes:
            for port, operand in enumerate(node.inputs):
                if operand.source is not None:
                    yield Edge(operand.source, node.id, port, operand.gradient)

    def ancestors(self, module: int | None) -> Iterator[Module]:
        """A module call and those around it, the innermost first."""
        while module is not None:
            yield self.modules[module]
            module = self.modules[module].parent

    def at(self, number: int) -> "Trace":
        """The same graph with one of its steps alone, that of this number.

        Raises KeyError if there is no such step.
        """
        for step in self.steps:
            if step.number == number:
                return dataclasses.replace(self, steps=[step])
        known = ", ".join(str(step.number) for step in self.steps) or "none"
        raise KeyError(f"no step {number} was recorded; there are: {known}.")

    def to_json(self, indent: int | None = None) -> str:
        """The trace as JSON text, with NaN and infinities as the strings "nan", "inf", "-inf"."""
        return json.dumps(self.plain(), indent=indent, ensure_ascii=False, allow_nan=False)

    def plain(self) -> dict[str, Any]:
        """What `to_json` writes, as dicts and lists."""
        return {"version": VERSION, **_plain(dataclasses.asdict(self))}

    @classmethod
    def from_json(cls, text: str) -> "Trace":
        """The trace that `to_json` wrote.

        Raises ValueError for text that is not such JSON.
        """
        try:
            plain = json.loads(text)
            if (version := plain.pop("version")) != VERSION:
                raise ValueError(f"version {version!r}, where version {VERSION} is expected")
            return _read(plain)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"this is not the JSON of a trace: {error!r}.") from error


def _plain(value: Any) -> Any:
    """What JSON can hold: numbers that it lacks become strings, and keys too."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _read(plain: dict[str, Any]) -> Trace:
    nodes = [
        Node(**node | {"inputs": [Input(**operand) for operand in node["inputs"]]})
        for node in plain["nodes"]
    ]
    steps = [
        Step(
            number=step["number"],
            loss=None if step["loss"] is None else float(step["loss"]),
            values={int(node): Summary(**told) for node, told in step["values"].items()},
            gradients={int(node): Summary(**told) for node, told in step["gradients"].items()},
            shares={edge: float(norm) for edge, norm in step["shares"].items()},
            updates={int(node): float(ratio) for node, ratio in step["updates"].items()},
            broken=_broken(step.get("broken")),
            broken_gradient=_broken(step.get("broken_gradient")),
        )
        for step in plain["steps"]
    ]
    remarks = plain.get("remarks")  # which traces of old lack
    failure = plain["failure"]
    if failure is not None:
        inputs = [(name, node, told) for name, node, told in failure["inputs"]]
        failure = Failure(**failure | {"inputs": inputs})
    return Trace(
        nodes=nodes,
        outputs=plain["outputs"],
        modules=[Module(**module) for module in plain["modules"]],
        steps=steps,
        frames=[Frame(**frame) for frame in plain["frames"]],
        failure=failure,
        remarks=None if remarks is None else [Remark(**remark) for remark in remarks],
        title=plain["title"],
        output_names=plain.get("output_names", []),
        changed=plain.get("changed", []),
    )


def _broken(plain: dict[str, Any] | None) -> Broken | None:
    return None if plain is None else Broken(**plain)
