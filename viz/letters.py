"""What the formulas of a graph call its values: the user's names, else the letters of an op."""

import re
from collections import ChainMap, Counter
from collections.abc import Iterable, Sequence
from typing import Any

from tinygrad_cv._graph import Graph, Node
from tinygrad_cv._op import Op, Output
from tinygrad_cv._symbol import Symbol, derive
from tinygrad_cv.ops.elementwise import Elementwise

CLEAR = re.compile(r"[^\W\d][\w']{0,39}(\[[^\[\]]{1,20}\])*")
"""What can stand in a formula and be taken for one value: "q", "hs[3]", "batch['image']"."""


class Naming:
    """The names of the values in one graph; `given` are the user's and the paths of parameters.

    - A value has the user's name, a parameter the last part of its path ("weight").
    - Where there is none, or two inputs of an op have the same, it has the letter that the op uses
      in its rules, "y" for the output; or its number ("%3") if that letter is somebody's name.
    - The gradient that reaches an op is g; or ∂L/∂f in full where g is somebody's name.

    No two values in the formulas of one op are called the same, and no letter in them means
    something else in the user's program.
    """

    def __init__(self, graph: Graph, given: Sequence[str]) -> None:
        self.ids = graph.ids
        self.names = {node: _short(name) for node, name in zip(graph, given, strict=True)}
        self.taken = letters_in(given)
        self._inputs: dict[Node, list[str]] = {}
        self._last: tuple[Any, tuple[Any, Any]] | None = None
        """The rule that was derived last, and what it gave."""
        self.results = {
            (parent, node.op.index): node
            for node in graph
            if isinstance(node.op, Output)
            for parent in node.parents()
        }

    def inputs(self, node: Node) -> list[str]:
        """What the formulas of an op call each of its inputs; "" for a plain value."""
        if node not in self._inputs:
            self._inputs[node] = self._called(node)
        return self._inputs[node]

    def _called(self, node: Node) -> list[str]:
        if node.op is None:
            return []
        distinct = {value for value in node.inputs if isinstance(value, Node)}
        count = Counter(self.names[value] for value in distinct)
        called: dict[Node, str] = {}
        letters = input_names(node.op, len(node.inputs))
        for letter, value in zip(letters, node.inputs, strict=True):
            if isinstance(value, Node):
                name = self.names[value] if count[self.names[value]] == 1 else ""
                called.setdefault(value, name or self._letter(letter, value))
        return [called[value] if isinstance(value, Node) else "" for value in node.inputs]

    def output(self, node: Node) -> str:
        """What they call the output."""
        if node.op is None or node.op.outputs:
            return self.names[node] or f"%{self.ids[node]}"
        return self._output(node, self.names[node] or "y", self.inputs(node))

    def _output(self, node: Node, name: str, inputs: list[str]) -> str:
        mine = name == self.names[node] and name not in inputs
        free = name not in self.taken and name not in inputs
        return name if mine or free else f"%{self.ids[node]}"

    def _letter(self, letter: str, node: Node) -> str:
        return letter if _base(letter) not in self.taken else f"%{self.ids[node]}"

    def symbols(self, node: Node) -> dict[str, Any]:
        """What to write for the names that the rules of an op use."""
        assert node.op is not None
        op, inputs, output = node.op, self.inputs(node), self.output(node)
        symbols: dict[str, Any] = {} if "y" in op.inputs else {"y": Symbol(output)}
        symbols |= {
            letter: Symbol(name)
            for letter, name, value in zip(op.inputs, inputs, node.inputs, strict=False)
            if isinstance(value, Node)
        }
        if op.variadic:
            first = len(op.inputs) - 1
            symbols[op.inputs[-1]] = [
                Symbol(name) if isinstance(value, Node) else value
                for name, value in zip(inputs[first:], node.inputs[first:], strict=True)
            ]
        spelled = "g" in self.taken or "g" in inputs
        if not op.outputs:
            return symbols | {"g": Symbol(f"∂L/∂{output}" if spelled else "g")}
        for i, letter in enumerate(op.outputs):
            result = self.results.get((node, i))
            name = self._output(result, self.names[result] or letter, inputs) if result else letter
            symbols[letter] = Symbol(name)
        known = [*self.taken, *inputs]
        spelled = spelled or any(f"g_{symbols[letter]}" in known for letter in op.outputs)
        sign = "∂L/∂" if spelled else "g_"
        return symbols | {"g": tuple(Symbol(f"{sign}{symbols[letter]}") for letter in op.outputs)}

    def formula(
        self, node: Node, port: int, numbers: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, str]]:
        """The rule for one input as text, and the definitions that it uses.

        `numbers` are written instead of names.
        """
        op = node.op
        assert op is not None
        last = len(op.inputs) - 1
        try:
            result, definitions = self._derived(node, op.inputs[min(port, last)], numbers)
        except Exception:  # a rule may do with its arrays what cannot be done with symbols
            return "…", {}
        chosen = result[port - last] if isinstance(result, list | tuple) else result
        if _is_summed(node, port):
            chosen = Symbol(f"sum({chosen})")
        return str(chosen), {name: str(meaning) for name, meaning in definitions.items()}

    def _derived(self, node: Node, letter: str, numbers: dict[str, Any] | None) -> tuple[Any, Any]:
        """What the rule for an input gives; for all of `*xs` it is run once."""
        key = node, letter
        if numbers is None and self._last is not None and self._last[0] == key:
            return self._last[1]
        assert node.op is not None
        symbols, taken = self.symbols(node), ChainMap(dict.fromkeys(self.inputs(node)), self.taken)
        found = derive(node.op, letter, False, node.inputs, symbols | (numbers or {}), taken)
        if numbers is None:
            self._last = key, found
        return found


def _is_summed(node: Node, port: int) -> bool:
    """Whether an input was repeated along an axis, and the shares of all its copies are added."""
    shape = node.inputs[port].shape
    if isinstance(node.op, Elementwise):
        return bool(shape != node.shape)
    return node.label == "matmul" and len(shape) > 1 and shape[:-2] != node.shape[:-2]


def _short(name: str) -> str:
    """A name as it stands in a formula: the last part of a path; "" if it would not be clear."""
    before, _, last = name.rpartition(".")
    if before and last.isdigit():  # of a list of parameters
        last = f"{before.rpartition('.')[2]}[{last}]"
    return last if CLEAR.fullmatch(last) else ""


def letters_in(given: Iterable[str]) -> dict[str, None]:
    """What somebody is called in formulas, and what stands before a bracket in it."""
    names = map(_short, given)
    return {part: None for name in names for part in (name, _base(name)) if part}


def _base(name: str) -> str:
    return name.partition("[")[0]


def input_names(op: Op, count: int) -> list[str]:
    """The names of so many inputs of an op; those of a variadic one are xs[0], xs[1], ..."""
    last = len(op.inputs) - 1
    return [
        f"{op.inputs[last]}[{i - last}]" if op.variadic and i >= last else op.inputs[i]
        for i in range(count)
    ]
