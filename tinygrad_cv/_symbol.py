"""The symbolic reading: a rule run on names writes down its own formula."""

from collections.abc import Callable, Collection, Mapping
from itertools import count
from typing import Any

from tinygrad_cv._op import Op, brief
from tinygrad_cv._public import TOP, public
from tinygrad_cv._reading import Reading
from tinygrad_cv.backend import host

# How tightly an expression binds, loosest first.
COMPARE, ADD, MULTIPLY, NEGATE, POWER, ATOM = range(6)


class Symbol:
    """An expression as text. Operators build larger text, with just the parentheses it needs.

    >>> g, y = Symbol("g"), Symbol("y")
    >>> g * (1 - y * y)
    g · (1 - y · y)
    """

    def __init__(self, text: str, binds: int = ATOM) -> None:
        self.text = text
        self.binds = binds

    def __repr__(self) -> str:
        return self.text

    def within(self, binds: int) -> str:
        """The text as an operand of something that binds this tightly."""
        return self.text if self.binds >= binds else f"({self.text})"

    def __neg__(self) -> "Symbol":
        return Symbol(f"-{self.within(POWER)}", NEGATE)

    def __invert__(self) -> "Symbol":
        return Symbol(f"~{self.within(POWER)}", NEGATE)


def _symbol(value: Any) -> Symbol:
    if isinstance(value, Symbol):
        return value
    return Symbol(brief(value), NEGATE if isinstance(value, int | float) and value < 0 else ATOM)


def _binary(sign: str, binds: int, right_binds: int) -> Any:
    """The operator and its reflection. `right_binds`: what the right operand must bind at least."""

    def join(left: Any, right: Any) -> Symbol:
        left, right = _symbol(left), _symbol(right)
        # a · -b reads badly, whatever the precedence says
        least = POWER if right.binds == NEGATE else right_binds
        return Symbol(f"{left.within(binds)} {sign} {right.within(least)}", binds)

    return join, lambda right, left: join(left, right)


for _name, _operator in {
    "add": _binary("+", ADD, ADD),
    "sub": _binary("-", ADD, MULTIPLY),
    "mul": _binary("·", MULTIPLY, MULTIPLY),
    "truediv": _binary("/", MULTIPLY, POWER),
    "matmul": _binary("@", MULTIPLY, POWER),
    "pow": _binary("**", POWER, ATOM),
    "lt": _binary("<", COMPARE, ADD),
    "le": _binary("<=", COMPARE, ADD),
    "gt": _binary(">", COMPARE, ADD),
    "ge": _binary(">=", COMPARE, ADD),
    "eq": _binary("==", COMPARE, ADD),
    "ne": _binary("!=", COMPARE, ADD),
    "and": _binary("&", COMPARE, ADD),
    "or": _binary("|", COMPARE, ADD),
}.items():
    setattr(Symbol, f"__{_name}__", _operator[0])
    setattr(Symbol, f"__r{_name}__", _operator[1])


class Symbols(Reading):
    """Rules on symbols. An op becomes a call: `F.exp(x)` is the text "exp(x)"."""

    def __init__(self, op: Op, attributes: bool = True, taken: Collection[str] = ()) -> None:
        self.attributes = attributes
        self.taken = taken
        # What is no plain literal among the op's attributes (arrays, slices) is written by name.
        self.names = {id(v): self.free(name) for name, v in vars(op).items() if not _is_literal(v)}
        self.definitions: dict[str, Symbol] = {}

    def bind(self, op: type[Op]) -> Callable[..., Any]:
        if op.name == "getitem":
            return self.getitem

        def call(*inputs: Any, **attributes: Any) -> Any:
            keywords = [
                f"{name}={self.text(value)}"
                for name, value in attributes.items()
                if self.attributes and brief(value) != brief(op.attributes.get(name))
            ]
            if op.outputs:
                text = f"{op.name}({', '.join([*(_symbol(x).text for x in inputs), *keywords])})"
                return tuple(Symbol(f"{text}.{name}") for name in op.outputs)
            if op.symbol is not None and not keywords:
                text = op.symbol.format(*[_symbol(x).within(ATOM) for x in inputs])
                return Symbol(text, MULTIPLY if " " in op.symbol else ATOM)
            return Symbol(
                f"{op.name}({', '.join([*(_symbol(x).text for x in inputs), *keywords])})"
            )

        return call

    def text(self, value: Any) -> str:
        """An attribute as text."""
        return self.names.get(id(value)) or brief(value)

    def getitem(self, x: Symbol, index: Any) -> Symbol:
        """x[index], as Python writes it."""
        parts = [index] if id(index) in self.names or not isinstance(index, tuple) else index
        return Symbol(f"{x.within(ATOM)}[{', '.join(map(self.text, parts)) or '()'}]")

    def let(self, name: str, value: Any) -> Symbol:
        meaning = _symbol(value)
        if meaning.text == name:  # it says nothing
            return meaning
        name = self.free(name)
        self.definitions[name] = meaning
        return Symbol(name)

    def free(self, name: str) -> str:
        """A name of the op's own, with a number where somebody else has it."""
        if name not in self.taken:
            return name
        return next(other for i in count(1) if (other := f"{name}_{i}") not in self.taken)


@public(TOP)
def formula(source: Any, attributes: bool = True) -> dict[str, str]:
    """The formula of each gradient rule, by the name of the input it is for.

    `source` is an op class, an op, a node, or a tensor (the op that made it). `g` stands for the
    gradient of the output and `y` for the output, unless an input has that name; of several outputs
    each has its own name, and `g_name` is the gradient of `name`. Without `attributes` the calls
    are written without keywords: shorter, for a picture.

    >>> import tinygrad_cv as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> tg.formula(tg.sqrt(x))
    {'x': 'g / (2 · y)'}
    """
    op, inputs = _op_of(source)
    formulas = {}
    for name in op.rules:
        result, definitions = derive(op, name, attributes, inputs)
        where = ", ".join(f"{key} = {value}" for key, value in definitions.items())
        where = where and f"  where {where}"
        if isinstance(result, Symbol):
            formulas[name] = f"{result}{where}"
        else:
            formulas |= {f"{name}[{i}]": f"{part}{where}" for i, part in enumerate(result)}
    return formulas


def derive(
    op: Op,
    name: str,
    attributes: bool = True,
    inputs: tuple[Any, ...] = (),
    numbers: Mapping[str, Any] | None = None,
    taken: Collection[str] = (),
) -> tuple[Any, dict[str, Symbol]]:
    """Read the rule of `op` for its input `name` on symbols.

    `inputs` are those of a node: plain numbers and None among them stand for themselves. `numbers`
    are symbols to write instead of names (`g` among them), and what the op names for itself avoids
    the names that are `taken`. Returns the result (a list of symbols
    for a variadic input), and the subexpressions that the rule named with `F.let`, each defined in
    terms of those before it.
    """
    rule, reading, numbers = op.rules[name], Symbols(op, attributes, taken), numbers or {}
    asked = [
        numbers[ask] if ask in numbers else _asked(ask, op, inputs, reading) for ask in rule.asks
    ]
    try:
        g: Any = tuple(Symbol(f"g_{name}") for name in op.outputs) or Symbol("g")
        result = rule.function(op, reading, numbers.get("g", g), *asked)
    except (AttributeError, TypeError) as error:
        raise ValueError(
            f"the rule of {op.name} for {name} depends on the shapes it ran on ({error}); ask a "
            "tensor that it made for the formula."
        ) from error
    return result, reading.definitions


def _asked(ask: str, op: Op, inputs: tuple[Any, ...], reading: Symbols) -> Any:
    """What stands for a value that a rule asks for: its name, or the plain value that it is."""
    if ask not in op.inputs:
        return Symbol(reading.free(ask))
    i = op.inputs.index(ask)
    if op.variadic and ask == op.inputs[-1]:
        return [Symbol(f"{ask}[{k}]") for k in range(len(inputs) - i if inputs else 2)]
    if i < len(inputs) and (inputs[i] is None or isinstance(inputs[i], int | float)):
        return inputs[i]
    return Symbol(ask)


def _is_literal(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_literal, value))
    return value is None or isinstance(value, int | float | str | host.dtype)


def _unrun(op: type[Op]) -> type[Op]:
    """The op before its forward ran: what that would leave for the rules is a symbol."""

    def unknown(self: Op, name: str) -> Symbol:
        if name.startswith("__"):
            raise AttributeError(name)
        return Symbol(name)

    body = {"name": op.name, "__getattr__": unknown, "__module__": op.__module__}
    return type(op.__name__, (op,), body, register=False)


def _op_of(source: Any) -> tuple[Op, tuple[Any, ...]]:
    """The op, and the inputs of its node if there is one."""
    if isinstance(source, type) and issubclass(source, Op):
        source = _unrun(source)
        op = source.__new__(source)
        missing = [name for name in source.attributes if not hasattr(source, name)]
        op.__dict__.update({name: Symbol(name) for name in missing})
        return op, ()
    node = getattr(source, "node", source)
    op = getattr(node, "op", node)
    if not isinstance(op, Op):
        raise TypeError(
            f"a formula belongs to an op or to a tensor that an op made, not to {source!r}; "
            "a leaf has none."
        )
    return op, getattr(node, "inputs", ()) if node is not op else ()
