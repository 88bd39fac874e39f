"""The body of an elementwise kernel, read as the card's compiler would and done on NumPy arrays.

It takes what `program/on_device.py` writes: statements `type name = expression;` or `name = ...;`,
with arithmetic, comparisons, logic, `a ? b : c`, and calls of C's functions of floats.
"""

import re
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from tinygrad_cv.backend import host as np

Array = Any

TOKEN = re.compile(r"\s*(\d+\.?\d*(?:e[-+]?\d+)?f|\w+|&&|\|\||[<>=!]=|[-+*/<>!?:(),=;])")

special = import_module("scipy.special")
FUNCTIONS: dict[str, Callable[..., Array]] = {
    "float": lambda x: np.asarray(x, "float32"),
    "bool": lambda x: np.asarray(x, "bool"),
    "fabsf": np.abs,
    "copysignf": np.copysign,
    "erff": special.erf,
    "erfcf": special.erfc,
} | {
    f"{name}f": getattr(np, name)
    for name in ("sqrt", "floor", "exp", "expm1", "log", "log1p", "tanh")
}
LEVELS: list[dict[str, Callable[..., Array]]] = [
    {"||": np.logical_or},
    {"&&": np.logical_and},
    {"==": np.equal, "!=": np.not_equal},
    {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal},
    {"+": np.add, "-": np.subtract},
    {"*": np.multiply, "/": np.true_divide},
]
"""The operators of two operands, those that bind least first."""


class Body:
    """A body that can be run: `body(names)` reads the arrays of these names, and adds to them."""

    def __init__(self, text: str) -> None:
        self.statements = [list(_tokens(part)) for part in text.split(";") if part.strip()]

    def __call__(self, names: dict[str, Array]) -> None:
        for statement in self.statements:
            declared = statement[0] in ("float", "bool") and statement[1] != "("
            kind, (name, equals, *expression) = statement[0], statement[declared:]
            if equals != "=":
                raise SyntaxError(f"a statement of a kernel: {' '.join(statement)}")
            reader = _Reader(expression, names)
            value = reader.choice()
            if reader.here() is not None:
                raise SyntaxError(f"in a kernel: {' '.join(statement)}")
            names[name] = FUNCTIONS[kind](value) if declared else value


def _tokens(text: str) -> Iterator[str]:
    at, text = 0, text.rstrip()
    while at < len(text):
        found = TOKEN.match(text, at)
        if found is None:
            raise SyntaxError(f"in a kernel: {text[at:]!r}")
        yield found[1]
        at = found.end()


class _Reader:
    """An expression that is computed while it is read, from left to right."""

    def __init__(self, tokens: list[str], names: dict[str, Array]) -> None:
        self.tokens, self.names, self.at = tokens, names, 0

    def here(self) -> str | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self, wanted: str | None = None) -> str:
        token = self.here()
        if token is None or (wanted is not None and token != wanted):
            raise SyntaxError(f"in a kernel: {wanted or 'more'} expected, and {token} is there")
        self.at += 1
        return token

    def choice(self) -> Array:
        """condition ? yes : no, or what stands for the condition."""
        value = self.operation(0)
        if self.here() != "?":
            return value
        self.take()
        yes = self.choice()
        self.take(":")
        return np.where(value, yes, self.choice())

    def operation(self, level: int) -> Array:
        if level == len(LEVELS):
            return self.operand()
        value = self.operation(level + 1)
        while self.here() in LEVELS[level]:
            function = LEVELS[level][self.take()]
            value = function(value, self.operation(level + 1))
        return value

    def operand(self) -> Array:
        token = self.take()
        if token == "-":
            return np.negative(self.operand())
        if token == "!":
            return np.logical_not(self.operand())
        if token == "(":
            value = self.choice()
            self.take(")")
            return value
        if token in ("true", "false"):
            return np.bool_(token == "true")
        if token[0].isdigit():
            return np.float32(token.removesuffix("f"))
        if self.here() != "(":
            return self.names[token]
        self.take()
        arguments = [self.choice()]
        while self.here() == ",":
            self.take()
            arguments.append(self.choice())
        self.take(")")
        return FUNCTIONS[token](*arguments)
