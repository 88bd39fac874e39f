"""From the text of a formula to a tree of tuples, such as ("call", "exp", [("name", "x")])."""

import re
from typing import Any

Tree = tuple[Any, ...]

_TOKEN = re.compile(
    r"\s*(?:(?P<partial>∂L/∂(?P<of>%?(?:(?![ᵀ])[\w'])+(?:\[[^\[\]]*\])*))"
    r"|(?P<path>(?:\w+\.)+[^\W\d]\w*\b(?!\())"
    r"|(?P<number>\d+\.?\d*(?:e[+-]?\d+)?)"
    r"|(?P<name>%\d+|(?:(?![ᵀ\d])\w)(?:(?!ᵀ)[\w'])*)"
    r"|(?P<sign>\*\*|<=|>=|==|!=|[-+·/@<>&|~()\[\],.…ᵀ:]))"
)


class Parser:
    """Reads what `Symbol` writes, in its order of precedence."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str, bool]] = []
        place = 0
        while place < len(text.rstrip()):
            found = _TOKEN.match(text, place)
            if found is None:
                raise ValueError(f"{text[place:]!r} is no part of a formula")
            kind = "partial" if found["of"] else str(found.lastgroup)
            value = found["of"] or found[kind]
            self.tokens.append((kind, value, text[place] == " "))
            place = found.end()
        self.i = 0

    def whole(self) -> Tree:
        tree = self.comparison()
        if self.i < len(self.tokens):
            raise ValueError(f"{self.tokens[self.i][1]!r} follows a whole formula")
        return tree

    def next(self, *signs: str) -> str:
        """The next sign if it is one of these; else ""."""
        if self.i < len(self.tokens):
            kind, value, _ = self.tokens[self.i]
            if kind == "sign" and value in signs:
                self.i += 1
                return value
        return ""

    def comparison(self) -> Tree:
        tree = self.sum()
        while sign := self.next("<", "<=", ">", ">=", "==", "!=", "&", "|"):
            tree = ("compare", sign, tree, self.sum())
        return tree

    def sum(self) -> Tree:
        terms = [("+", self.product())]
        while sign := self.next("+", "-"):
            terms.append((sign, self.product()))
        return terms[0][1] if len(terms) == 1 else ("sum", terms)

    def product(self) -> Tree:
        factors = [("·", self.unary())]
        while sign := self.next("·", "/", "@"):
            factors.append((sign, self.unary()))
        return factors[0][1] if len(factors) == 1 else ("product", factors)

    def unary(self) -> Tree:
        if sign := self.next("-", "~"):
            return ("negative", sign, self.unary())
        base = self.postfix()
        return ("power", base, self.unary()) if self.next("**") else base

    def postfix(self) -> Tree:
        tree = self.atom()
        while True:
            if self.next("ᵀ"):
                tree = ("transposed", tree)
            elif self.tokens[self.i : self.i + 1] == [("sign", "[", False)]:
                tree = ("index", tree, self.index())
            elif self.next("."):
                tree = ("index", tree, self.tokens[self.i][1])
                self.i += 1
            else:
                return tree

    def index(self) -> str:
        """What stands between brackets, as it is."""
        depth, text = 0, ""
        for kind, value, spaced in self.tokens[self.i :]:
            self.i += 1
            depth += (kind, value) == ("sign", "[")
            depth -= (kind, value) == ("sign", "]")
            text += " " * spaced + value
            if not depth:
                return text[1:-1]
        raise ValueError("a bracket is not closed")

    def atom(self) -> Tree:
        if self.i == len(self.tokens):
            raise ValueError("the formula ends too early")
        kind, value, _ = self.tokens[self.i]
        self.i += 1
        if kind in ("partial", "number"):
            return (kind, value)
        if kind == "path":
            return ("name", value)
        if kind == "name":
            if self.tokens[self.i : self.i + 1] == [("sign", "(", False)]:
                self.i += 1
                return ("call", value, self.listed(")"))
            return ("name", value)
        if value == "(":
            items = self.listed(")")
            return ("group", items[0]) if len(items) == 1 else ("list", items)
        if value == "[":
            return ("list", self.listed("]"))
        if value == "…":
            return ("name", value)
        raise ValueError(f"{value!r} begins no formula")

    def listed(self, end: str) -> list[Tree]:
        """Formulas with commas between them, to the closing sign."""
        items: list[Tree] = []
        while not self.next(end):
            items.append(self.comparison())
            if not self.next(","):
                if not self.next(end):
                    raise ValueError(f"{end!r} is missing")
                break
        return items
