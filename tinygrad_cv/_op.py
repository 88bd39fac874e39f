"""The op contract: a forward, and beside it one gradient rule per input, written once.

    class Tanh(Op):
        def forward(self, xp, x):
            return xp.tanh(x)

        def grad_x(self, F, g, y):
            return g * (1 - y * y)

A rule has three readings, and `F` is the namespace of ops in the reading at hand:

- `Raw` (in _reading.py): on arrays. This is the ordinary backward pass; no Tensor is made.
- `Recorded` (in _apply.py): on Tensors. The backward pass is itself a graph.
- `Symbols` (in _symbol.py): on names. The rule writes down its own formula.

The signature of a rule is its save-list: it names the inputs it needs, or `y` for the output,
or a by-product that the forward keeps (listed in `kept`). Nothing else stays in memory.

One dtype rule holds in all readings. The result has the dtype of the widest float input (see
`promoted`). Forward and rules compute in it, but in `computes_in` at least: float16 becomes float32
on the way in, and float32 becomes float64 where much is added up. A result is rounded once, at the
end, and so is a gradient, when all consumers of its value have sent their share.
"""

import inspect
import math
import re
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, dataclass_transform

from tinygrad_cv._public import TOP, public

if TYPE_CHECKING:
    from tinygrad_cv.backend.base import Backend

REGISTRY: dict[str, type["Op"]] = {}
"""Every op by name; `F.<name>` in a rule means this op."""

Shape = tuple[int, ...]

bound_in: dict[str, "weakref.WeakSet[Any]"] = {}
"""The namespaces that hold a function made from the op of this name."""

_REQUIRED: Any = object()

NOTHING: Any = object()
"""What the rule of `*xs` gives in place of a gradient for one that gets none."""


@dataclass(frozen=True)
class Rule:
    """The gradient with respect to one input: its function and the names it asks for."""

    function: Callable[..., Any]
    asks: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What to save and which rules to run, given which inputs want a gradient.

    `saves` says where each of the saved `names` comes from: the position of an input, a slice of
    positions (a variadic input), "y", or the name of a by-product. The slots of a rule index the
    saved values. `fused` replaces the rules in the raw reading; its results belong to the
    `differentiable` positions.
    """

    names: tuple[str, ...]
    saves: tuple[int | slice | str, ...]
    rules: tuple[tuple[int | slice, Callable[..., Any], tuple[int, ...]], ...]
    fused: tuple[Callable[..., Any], tuple[int, ...]] | None
    differentiable: tuple[int, ...]
    keeps: bool
    """Whether by-products are among what is saved; truth values of them may be so as bits."""


WIDTH = {"float16": 2, "float32": 4, "float64": 8}
"""The bytes of a float dtype."""


def is_array(value: Any) -> bool:
    """Whether it is an array (or a tensor), and not a plain number or None."""
    return hasattr(value, "dtype")


def is_float(value: Any) -> bool:
    """Whether it is an array of real floats."""
    return is_array(value) and value.dtype.kind == "f"


def is_whole(value: Any) -> bool:
    """Whether it is an array of integers or truth values."""
    return is_array(value) and value.dtype.kind in "biu"


def promoted(inputs: Sequence[Any]) -> Any:
    """The float dtype of a result: that of the widest float input, as PyTorch has it; None of none.

    An input without axes counts only where no float has axes, and a Python number never does: it
    does not change what an array is made of.
    """
    floats = [x for x in inputs if is_float(x)]
    widest = max(floats, key=lambda x: (x.ndim > 0, x.dtype.itemsize), default=None)
    return None if widest is None else widest.dtype


def common(inputs: Sequence[Any]) -> Any:
    """The dtype of the float inputs if they have one and the same; None otherwise."""
    found = None
    for x in inputs:
        dtype = getattr(x, "dtype", None)
        if dtype is not found and dtype is not None and dtype.kind == "f":
            if found is not None:
                return None
            found = dtype
    return found


def whole(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Integers and truth values in one dtype, as PyTorch has it; as they are beside a float.

    The kind comes first (a truth value is less than an integer), then whether there are axes, then
    the width: an array keeps its dtype beside numbers of its kind, whatever theirs.
    """
    dtypes = [x.dtype for x in inputs if hasattr(x, "dtype")]
    kinds = {dtype.kind for dtype in dtypes}
    if "f" in kinds or "c" in kinds or len(set(dtypes)) == len(inputs) == 1:
        return inputs
    plain = "int64" if any(type(x) is int for x in inputs) else ""
    if kinds == {"b"} and not plain:
        return inputs
    group = [x for x in inputs if hasattr(x, "dtype") and x.dtype.kind in "iu"]
    group = [x for x in group if x.ndim] or group
    signed = max((x.dtype.itemsize for x in group if x.dtype.kind == "i"), default=0)
    unsigned = max((x.dtype.itemsize for x in group if x.dtype.kind == "u"), default=0)
    if signed and unsigned:  # of 8 and 8 bits, 16 hold every number
        signed, unsigned = min(8, max(signed, 2 * unsigned)), 0
    dtype = f"int{8 * signed}" if signed else f"uint{8 * unsigned}" if unsigned else plain
    return tuple(x.astype(dtype) if hasattr(x, "dtype") and x.dtype != dtype else x for x in inputs)


def widened(values: tuple[Any, ...], least: str, dtype: Any, kinds: str = "f") -> tuple[Any, ...]:
    """The arrays of these kinds among the values in `dtype`, or in `least` if that is wider."""
    wanted = dtype if dtype.itemsize >= WIDTH[least] else least
    for x in values:
        own: Any = getattr(x, "dtype", wanted)
        if own is not wanted and own.kind in kinds and own != wanted:
            return tuple(
                x.astype(wanted) if is_array(x) and x.dtype.kind in kinds else x for x in values
            )
    return values  # as nearly always


@public(TOP)
@dataclass_transform(kw_only_default=True)
class Op:
    """One differentiable operation. Subclass it, write `forward` and a rule per input.

    - `forward(self, xp, x, ...)` computes on arrays; `xp` is the backend: an array namespace and
      its kernels. A parameter `b=None` may be left out, a last one `*xs` takes any number.
    - `grad_x(self, F, g, ...)` returns the gradient for input `x`, given `g`, the gradient of the
      output; `grad_xs` returns one for each of `*xs`. An elementwise op may write
      `local_x(self, F, ...)` instead: it returns the local gradient, the engine multiplies by `g`.
    - An annotated class attribute (`stride: int = 1`) is an attribute of the op, set by keyword.
    - `nondifferentiable` names the inputs through which no gradient flows.
    - `kept` names by-products that `forward` leaves on `self` for the rules. Many truth values are
      saved as bits.
    - `outputs` names the outputs, if there are several: `forward` returns a tuple of as many
      arrays, `g` is a tuple with the gradient of each (None of integers), and a rule can ask for an
      output by its name.
    - `views = True` says that the result lies in the memory of the first input wherever it can.
    - `flops = per_output` (or per_input, or moves; or a method) says what the forward costs.
    - `fused(self, xp, g, ...)`, optional, returns the gradients of all differentiable inputs as a
      tuple. It replaces the rules in the raw reading, and must agree with them; where it returns
      NotImplemented, the rules are used.

    The engine sums a gradient back over broadcast axes, adds up the shares of several consumers
    and skips the rules that nobody needs.

    >>> import tinygrad_cv as tg
    >>> class Cube(tg.Op):
    ...     def forward(self, xp, x):
    ...         return x * x * x
    ...
    ...     def local_x(self, F, x):
    ...         return 3 * x * x
    >>> cube = tg.function(Cube)
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> cube(x).backward()
    >>> x.grad.item()
    12.0
    >>> tg.formula(Cube)
    {'x': 'g · 3 · x · x'}
    """

    name: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[int] = 0
    variadic: ClassVar[bool] = False
    attributes: ClassVar[dict[str, Any]] = {}
    required: ClassVar[frozenset[str]] = frozenset()
    rules: ClassVar[dict[str, Rule]] = {}
    fusion: ClassVar[Rule | None] = None
    outputs: ClassVar[tuple[str, ...]] = ()
    nondifferentiable: ClassVar[tuple[str, ...]] = ()
    kept: ClassVar[tuple[str, ...]] = ()
    hidden: ClassVar[tuple[str, ...]] = ()
    """Attributes that are state and not part of what the op computes; listings leave them out."""
    plans: ClassVar[dict[tuple[bool, ...], Plan]] = {}
    chooses_dtype: ClassVar[bool] = False
    """Whether the dtype of the result is the op's own affair: it has an attribute `dtype`."""
    least: ClassVar[int] = WIDTH["float32"]
    """The bytes of a float of `computes_in`."""
    particular: ClassVar[bool] = False
    """Whether floats of one dtype, wide enough, are not all that `run` has to ask for."""
    made: tuple[tuple[tuple[int, ...], Any], ...]
    """Shape and dtype of each of several outputs."""
    widens = False
    """Whether the inputs of its run were not of one dtype, wide enough: saved values may be not."""
    usual: ClassVar[bool] = True
    """Whether it has one output, of the dtype and on the device of the inputs."""
    foreign: ClassVar[bool] = True
    """Whether it comes from outside of this package, whose own ops are held to what they may do by
    its tests: the rules of others are lent values that they cannot change."""
    fills: ClassVar[bool] = True
    """Whether its rules get zeros (or else None) as the gradient of an output that has none."""
    symbol: ClassVar[str | None] = None
    """How a formula writes a call without attributes, such as "{}ᵀ"; by default name(x, ...)."""
    orders: ClassVar[int] = 2
    """How often the op can be differentiated, as the tests hold it."""
    computes_in: ClassVar[str] = "float32"
    """The least float dtype that forward and rules compute in: "float64" for ops that square or add
    up many numbers, "float16" for ops that only move them."""
    real: ClassVar[bool] = False
    """Whether integers, too, go in as floats: it is a function of real numbers, and an array
    library may find float16 good enough for that of a small integer."""
    views: ClassVar[bool] = False
    """Whether the result lies in the memory of the one input wherever it can, as PyTorch's does; a
    change of one in place then shows in the other. The result of any other op has its own."""
    promotes: ClassVar[bool] = False
    """Whether integer inputs, too, go in as one dtype (see `whole`)."""
    forward: Callable[..., Any]

    if TYPE_CHECKING:  # what a forward leaves for the rules, such as a shape

        def __getattr__(self, name: str) -> Any: ...

    def __init_subclass__(cls, register: bool = True) -> None:
        cls.attributes = cls.attributes | {
            name: getattr(cls, name, _REQUIRED)
            for name, annotation in inspect.get_annotations(cls).items()
            if "ClassVar" not in str(annotation)
        }
        for name in ("nondifferentiable", "kept", "hidden", "outputs"):
            if isinstance(value := getattr(cls, name), str):
                raise TypeError(f"{cls.__name__}.{name} is a tuple of names: ({value!r},)")
        if cls.computes_in not in WIDTH:
            raise TypeError(
                f"{cls.__name__}.computes_in is one of {', '.join(WIDTH)}; got {cls.computes_in!r}."
            )
        if not callable(cls.flops):
            raise TypeError(
                f"{cls.__name__}.flops is a function of the shapes, such as per_output, or a "
                f"method; got {cls.flops!r}."
            )
        cls.required = frozenset(k for k, v in cls.attributes.items() if v is _REQUIRED)
        _check_attributes(cls)
        if "name" not in vars(cls):
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
        if not hasattr(cls, "forward"):  # the base class of a family
            return
        parameters = list(inspect.signature(cls.forward).parameters.values())[2:]
        cls.inputs = tuple(parameter.name for parameter in parameters)
        cls.optional = sum(p.default is None for p in parameters)
        cls.variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        named = (*cls.inputs, *cls.outputs, *cls.kept)
        if twice := {name for name in named if named.count(name) > 1}:
            raise TypeError(
                f"{cls.__name__}: a rule could not say which {', '.join(sorted(twice))} it asks "
                "for; inputs, outputs and what is kept have each a name of their own."
            )
        cls.rules = dict(_read_rules(cls))
        fused = getattr(cls, "fused", None)
        cls.fusion = None if fused is None else Rule(fused, _asks(cls, fused, 3))
        cls.plans = {}
        cls.least = WIDTH[cls.computes_in]
        cls.particular = cls.chooses_dtype or (cls.real and len(cls.inputs) > 1)
        transfers = cls.destination is not Op.destination
        if cls.views and cls.outputs:
            raise TypeError(
                f"{cls.__name__} has several outputs, which are never views of its input; leave "
                "`views` out, and they are copied where they lie in its memory."
            )
        cls.usual = not (cls.chooses_dtype or cls.outputs or transfers)
        cls.foreign = not cls.__module__.startswith("tinygrad_cv.")
        if register:
            _register(cls)

    def __init__(self, **attributes: Any) -> None:
        if not attributes and not self.required:
            return
        if attributes.keys() != self.attributes.keys():
            unknown = attributes.keys() - self.attributes.keys()
            missing = self.required - attributes.keys()
            if unknown or missing:
                raise TypeError(
                    f"{self.name} takes the attributes ({', '.join(self.attributes)}); "
                    f"unknown: {', '.join(sorted(unknown)) or 'none'}, "
                    f"missing: {', '.join(sorted(missing)) or 'none'}."
                )
        self.__dict__.update(attributes)

    def run(self, xp: "Backend", *arrays: Any) -> Any:
        """The forward in every reading: floats of one dtype go in, and the result is rounded."""
        dtype = common(arrays)
        if dtype is None or dtype.itemsize < self.least or self.particular:
            dtype, arrays = self._brought_together(arrays)
        try:
            y = self.forward(xp, *arrays)
        except ValueError as error:
            raise self.explain(error, arrays)  # noqa: B904  the same error is no cause of itself
        except IndexError as error:
            shapes = ", ".join(str(x.shape) for x in arrays if is_array(x))
            raise IndexError(f"{self.name} of {shapes}: {error}") from error
        except AttributeError as error:
            if error.obj is not xp:
                raise
            raise AttributeError(
                f"{self.name}: the backend has no {error.name}. Array functions come from "
                "backend.base.NAMESPACE, and kernels are methods of Backend."
            ) from error
        try:
            if self.usual:
                return xp.result(y, dtype)
            if self.chooses_dtype:
                return y
            if self.outputs:
                ys = tuple([xp.result(part, dtype) for part in self._each_output(y)])
                self.made = tuple([(part.shape, part.dtype) for part in ys])
                return ys
            return self.destination(xp).result(y, dtype)
        except TypeError as error:
            got = type(y).__name__ if y is not None else "None (is its `return` missing?)"
            raise TypeError(f"{self.name}: forward returned {got}. {error}") from None

    def _each_output(self, y: Any) -> Any:
        if not isinstance(y, tuple) or len(y) != len(self.outputs):
            raise TypeError(f"Expected a tuple of as many arrays: ({', '.join(self.outputs)}).")
        return y

    def _brought_together(self, arrays: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        """The float dtype of the result, and the inputs in the dtype in which it is computed."""
        self.widens = True
        dtype = None if self.chooses_dtype else promoted(arrays)
        if dtype is not None:
            return dtype, widened(arrays, self.computes_in, dtype, "biuf" if self.real else "f")
        if self.real and not self.chooses_dtype:
            return None, tuple(x.astype("float64") if is_whole(x) else x for x in arrays)
        return None, whole(arrays) if self.promotes else arrays

    @classmethod
    def plan(cls, wanted: tuple[bool, ...]) -> Plan:
        """The plan when these inputs want a gradient, one flag per actual input."""
        if wanted not in cls.plans:
            cls.plans[wanted] = cls._plan(wanted)
        return cls.plans[wanted]

    def check_kept(self) -> None:
        """Raise if the forward left an array on the op that `kept` does not list."""
        for name, value in vars(self).items():
            if hasattr(value, "dtype") and name not in (*self.attributes, *self.kept):
                raise TypeError(
                    f"{type(self).__name__}.forward left an array in self.{name}: it would stay "
                    f"in memory and be a constant to the rules. List it, kept = ({name!r},), and "
                    "let a rule ask for it by name; or ask for the input itself."
                )

    @classmethod
    def _plan(cls, wanted: tuple[bool, ...]) -> Plan:
        where: dict[str, int | slice] = {name: i for i, name in enumerate(cls.inputs)}
        if cls.variadic:
            where[cls.inputs[-1]] = slice(len(cls.inputs) - 1, None)
        active = {
            name: rule for name, rule in cls.rules.items() if _any_wanted(wanted, where[name])
        }
        fusion = cls.fusion if active else None
        readers = [*active.values(), *([fusion] if fusion else [])]
        names = list(dict.fromkeys(ask for rule in readers for ask in rule.asks))

        def slots(rule: Rule) -> tuple[int, ...]:
            return tuple(names.index(ask) for ask in rule.asks)

        return Plan(
            names=tuple(names),
            saves=tuple(where.get(name, name) for name in names),
            rules=tuple((where[name], rule.function, slots(rule)) for name, rule in active.items()),
            fused=(fusion.function, slots(fusion)) if fusion else None,
            differentiable=tuple(map(cls.inputs.index, cls.rules)),
            keeps=any(name in cls.kept for name in names),
        )

    def flops(self, out: Shape, *inputs: Any) -> int | None:
        """The floating-point operations of a forward with an output and inputs of these shapes.

        A number has the shape (), an input that was left out is None, and of several outputs `out`
        is the first. A multiply-add counts as two, and a function of one element as one: `exp` as
        much as `+`. An op without a method of its own says what it is like (`flops = per_output`);
        None, as here, says that nobody knows.
        """
        return None

    def describe(self, separator: str = " ") -> str:
        """The attributes that differ from their defaults: "stride=(2, 2) padding=(1, 1)"."""
        return separator.join(
            f"{name}={brief(value)}"
            for name, default in self.attributes.items()
            if name not in self.hidden
            and (value := getattr(self, name)) is not default
            and brief(value) != brief(default)
        )

    def __repr__(self) -> str:
        return f"{self.name}({self.describe(', ')})"

    def destination(self, backend: "Backend") -> "Backend":
        """The device of the output, given that of the inputs; another one for transfers only."""
        return backend

    def explain(self, error: ValueError, arrays: tuple[Any, ...]) -> ValueError:
        """The error to raise when `forward` could not compute on these arrays."""
        return error


def per_output(op: Op, out: Shape, *inputs: Any) -> int:
    """`Op.flops` of what computes each element of its output in one operation."""
    return math.prod(out)


def per_input(op: Op, out: Shape, *inputs: Any) -> int:
    """`Op.flops` of what looks once at each element of its largest input."""
    return max((math.prod(shape) for shape in inputs if shape is not None), default=0)


def moves(op: Op, out: Shape, *inputs: Any) -> int:
    """`Op.flops` of what only moves elements."""
    return 0


def _check_attributes(cls: type[Op]) -> None:
    """Raise if an attribute has a name that means something else to the engine."""
    taken = {*vars(Op), *Op.__annotations__, *([] if cls.chooses_dtype else ["dtype"])}
    for name in cls.attributes:
        if name in taken:
            raise TypeError(
                f"{cls.__name__}: an attribute cannot be called {name}, which is the engine's name "
                "for something of every op. Choose another one; or, to set what the engine means, "
                f"write it without an annotation: {name} = ..."
            )


def _any_wanted(wanted: tuple[bool, ...], where: int | slice) -> bool:
    return any(wanted[where]) if isinstance(where, slice) else wanted[where]


def _asks(cls: type[Op], function: Callable[..., Any], given: int) -> tuple[str, ...]:
    """The names after the `given` parameters that every rule gets."""
    asks = tuple(inspect.signature(function).parameters)[given:]
    allowed = {*cls.inputs, *cls.kept, *(cls.outputs or ("y",))}
    if not allowed.issuperset(asks):
        raise TypeError(
            f"{cls.__name__}.{function.__name__} asks for "
            f"{', '.join(sorted(set(asks) - allowed))}; a rule can ask for an input, for the "
            f"output y, or for what `kept` lists: {', '.join(sorted(allowed))}."
        )
    return asks


def _read_rules(cls: type[Op]) -> Iterator[tuple[str, Rule]]:
    for name in cls.inputs:
        full, local = getattr(cls, f"grad_{name}", None), getattr(cls, f"local_{name}", None)
        if full is not None:
            yield name, Rule(full, _asks(cls, full, 3))
        elif local is not None:
            yield name, Rule(_times_gradient(local), _asks(cls, local, 2))
        elif name not in cls.nondifferentiable:
            raise TypeError(
                f"{cls.__name__} has no rule for its input {name}: write grad_{name}(self, F, g, "
                f"...) or local_{name}(self, F, ...), or list it in `nondifferentiable`."
            )
    for attribute in dir(cls):
        kind, _, name = attribute.partition("_")
        if kind in ("grad", "local") and name not in cls.inputs:
            raise TypeError(
                f"{cls.__name__}.{attribute} is a rule for {name}, which is not an input of "
                f"forward({', '.join(cls.inputs)})."
            )


def _times_gradient(local: Callable[..., Any]) -> Callable[..., Any]:
    """[gradient to the left] = [gradient from the right] · [local gradient]."""

    def grad(self: Op, F: Any, g: Any, *asked: Any) -> Any:
        return g * local(self, F, *asked)

    return grad


def _register(cls: type[Op]) -> None:
    known = REGISTRY.get(cls.name)
    origin = (cls.__module__, cls.__qualname__)
    if known is not None and (known.__module__, known.__qualname__) != origin:
        raise TypeError(
            f"an op named {cls.name!r} exists already ({known.__module__}.{known.__qualname__}); "
            f"rename {cls.__qualname__}, or keep it out of the registry with "
            f"class {cls.__name__}(Op, register=False)."
        )
    REGISTRY[cls.name] = cls
    # The same class again means that a notebook cell was run twice: forget the old one.
    for reading in bound_in.pop(cls.name, ()):
        vars(reading).pop(cls.name, None)


def brief(value: Any) -> str:
    """An attribute as text; an array by its type and shape."""
    if isinstance(value, tuple):
        return f"({', '.join(map(brief, value))}{',' if len(value) == 1 else ''})"
    if hasattr(value, "dtype"):
        return f"<{value.dtype} {value.shape}>"
    if hasattr(value, "itemsize"):  # a dtype
        return str(value)
    if isinstance(value, slice):
        parts = ["" if part is None else str(part) for part in (value.start, value.stop)]
        return ":".join(parts) + (f":{value.step}" if value.step is not None else "")
    return "..." if value is Ellipsis else repr(value)


class Output(Op, register=False):
    """One output of an op that has several: the node of that op leads to one node for each."""

    name = "output"
    index: int
    of: str
    hidden = ("index",)
    flops = moves

    def forward(self, xp: Any, ys: Any) -> Any:
        return ys[self.index]

    def grad_ys(self, F: Any, g: Any) -> Any:
        return g  # the pass puts it where the other outputs' gradients are
