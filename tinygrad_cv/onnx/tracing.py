"""What a model computes, op by op: traces of it, and two of them side by side.

A trace runs the model and keeps the node of every op. It says nothing of what would be otherwise
for another input. So the model is traced twice, with other numbers and with other lengths along the
axes that are to be free, and the two are compared: what differs and is a length is asked for when
the exported model runs, and what differs and is none cannot be exported.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tinygrad_cv._frames import line_of_user
from tinygrad_cv._graph import Node, Observer
from tinygrad_cv._op import is_array
from tinygrad_cv._tensor import Tensor
from tinygrad_cv._trees import leaves, mapped, tensors_in


@dataclass(frozen=True)
class Varying:
    """A length that was another one in the second trace."""

    first: int
    second: int

    def __repr__(self) -> str:
        return f"{self.first} or {self.second}"


@dataclass(eq=False)
class Call:
    """A call of a function that an `Observer` hears of as one, with nodes in place of tensors."""

    name: str
    arguments: dict[str, Any]
    results: tuple[Node, ...] = ()

    def nodes(self) -> Iterator[Node]:
        """The nodes among its arguments."""
        return (leaf for leaf in leaves(self.arguments) if isinstance(leaf, Node))


@dataclass(eq=False)
class Trace(Observer):
    """Who looks on while a model runs, and keeps all that it computes.

    `values` are the arrays of the nodes, and `home` says which node an array belongs to: through
    `detach` and through an index a tensor gets by as an array. `same` leads from the leaf that
    such a tensor has to the node that it really comes from.
    """

    everything = general = True
    values: dict[Node, Any] = field(default_factory=dict)
    home: dict[int, Node] = field(default_factory=dict)
    same: dict[Node, Node] = field(default_factory=dict)
    calls: dict[Node, list[Call]] = field(default_factory=dict)
    inputs: list[Node] = field(default_factory=list)
    outputs: list[Node] = field(default_factory=list)
    versions: dict[Node, tuple[list[int], int]] = field(default_factory=dict)
    kept: list[Any] = field(default_factory=list)
    """The tensors and arrays whose ids are in use."""
    known: dict[Node, bool] = field(default_factory=dict)
    """Whether a node depends on the inputs."""
    whole: Tensor | None = None
    """The tensor whose memory is being changed."""

    def meet(self, tensor: Tensor) -> None:
        """Note a tensor that is about to be used, or was."""
        node = tensor.node
        origin = node if node.op else self.home.get(id(tensor._array), node)
        counter, version = self.versions.get(node, self.versions.get(origin, (None, 0)))
        if counter is tensor._counter and counter[0] != version:
            raise NotImplementedError(
                f"a tensor of shape {tensor.shape} and dtype {tensor.dtype} was changed in place, "
                "and no graph holds the change, so that the model cannot be exported: write it as "
                "a new tensor: where(), index_put() or cat()."
            )
        if node not in self.values:
            self.values[node] = tensor._array
            self.versions[node] = (tensor._counter, tensor._counter[0])
            self.kept.append(tensor)
            self.home.setdefault(id(tensor._array), origin)
            if origin is not node:
                self.same[node] = origin

    def changing(self, tensor: Tensor, value: Any) -> None:
        for used in tensors_in([tensor, value]):
            self.meet(used)
        self.whole = tensor
        if tensor.node.op is None:  # no op makes the old values again
            self.values[tensor.node] = tensor._backend.array(tensor._array, None)

    def made(self, tensor: Any, inputs: tuple[Any, ...]) -> None:
        for value in inputs:
            if isinstance(value, Tensor) and value is not tensor:
                self.meet(value)
        node = tensor.node
        self.values[node] = tensor._array
        self.versions[node] = (tensor._counter, tensor._counter[0])
        self.home[id(tensor._array)] = node
        self.kept.append(tensor)
        if self.whole is not None and inputs and inputs[0] is tensor:  # it was changed
            whole, self.whole = self.whole, None
            self.home[id(whole._array)] = whole.node
            self.meet(whole)

    def copied(self, array: Any, source: Any) -> None:
        if isinstance(source, Tensor):
            self.meet(source)
        node = source.node if isinstance(source, Tensor) else self.home.get(id(source))
        if node is not None:
            self.home[id(array)] = node
            self.kept.append(array)

    def leaving(self, values: Any) -> None:
        if isinstance(values, Tensor):
            self.meet(values)
        node = values.node if isinstance(values, Tensor) else self.home.get(id(values))
        if node is not None and self.depends(node):
            raise NotImplementedError(
                f"{line_of_user()}: a number is taken out of a tensor of shape {values.shape} "
                "(.item(), .numpy(), an if), and an exported model would have that number for "
                "every input: compute with tensors, and choose with where(condition, a, b)."
            )

    def composed(self, function: Callable[..., Any], args: Any, options: Any) -> Any:
        bound = inspect.signature(function).bind(*args, **options)
        bound.apply_defaults()
        for tensor in tensors_in(bound.arguments):
            self.meet(tensor)
        arguments = mapped(_as_node, dict(bound.arguments))
        result = function(*args, **options)
        made = Call(function.__qualname__, arguments, tuple(t.node for t in tensors_in(result)))
        if not {*made.results} & {*made.nodes()} and all(n.op for n in made.results):
            for node in made.results:
                self.calls.setdefault(node, []).append(made)
        return result

    # ----- what was kept -------------------------------------------------------------------------

    def origin(self, node: Node) -> Node:
        """Where a node really comes from."""
        while node in self.same:
            node = self.same[node]
        return node

    def sources(self, node: Node) -> list[Node]:
        """What a node was computed from: its inputs, and the tensors in its index."""
        if node.op is None or node in self.inputs:
            return []
        found = [self.origin(parent) for parent in node.parents()]
        for array in arrays_in(node.op):
            if (home := self.home.get(id(array))) is not None:
                found.append(self.origin(home))
        return found

    def depends(self, node: Node) -> bool:
        """Whether a node depends on the inputs of the model."""
        known = self.known
        known.update(dict.fromkeys(self.inputs, True))
        stack = [self.origin(node)]
        while stack:
            top = stack[-1]
            if top in known:
                stack.pop()
                continue
            sources = self.sources(top)
            waiting = [source for source in sources if source not in known]
            if waiting:
                stack += waiting
            else:
                known[top] = any(known[source] for source in sources)
        return known[self.origin(node)]


def _as_node(value: Any) -> Any:
    return value.node if isinstance(value, Tensor) else value


def arrays_in(op: Any) -> Iterator[Any]:
    """The arrays among the attributes of an op, and of the ops among them."""
    for name in op.attributes:
        for value in _parts(getattr(op, name)):
            if is_array(value):
                yield value
            elif hasattr(value, "attributes"):
                yield from arrays_in(value)


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple | list):
        for part in value:
            yield from _parts(part)
    else:
        yield value


def together(one: Any, other: Any) -> Any:
    """Two values of the same attribute as one: equal, or with a length that is varying.

    Raises ValueError where they differ in anything else.
    """
    if one is other:
        return one
    if type(one) is int and type(other) is int:
        return one if one == other else Varying(one, other)
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        if len(one) != len(other):
            raise ValueError
        return tuple(together(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, slice) and isinstance(other, slice):
        return slice(
            together(one.start, other.start),
            together(one.stop, other.stop),
            together(one.step, other.step),
        )
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return {key: together(value, other[key]) for key, value in one.items()}
    if is_array(one) or is_array(other) or type(one) is not type(other) or one != other:
        raise ValueError
    return one


def shapes(one: Sequence[int], other: Sequence[int]) -> tuple[Any, ...]:
    """The shape of a value in two traces."""
    merged: tuple[Any, ...] = together(tuple(map(int, one)), tuple(map(int, other)))
    return merged
