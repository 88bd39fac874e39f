"""What an operator is, the limit on what it makes, and what the handlers of operators share.

What an operator takes is written down once, in the signature of its handler: inputs by position
(None where one may be left out), attributes by keyword, with the defaults of the standard
(https://onnx.ai/onnx/operators/). An attribute that a later version of the standard made an input
is taken as that input. A handler that depends on the version of the operator set, or on how many
outputs are wanted, asks for `opset` or `outputs`; one that moves windows asks for `geometry`.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import zip_longest
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import tinygrad_cv as tg
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host

Handler = TypeVar("Handler", bound=Callable[..., Any])

Ints = Sequence[int] | None
Pads = list[tuple[int, int]]
"""For each axis, how much is put before and after."""


@dataclass(frozen=True)
class Operator:
    """A handler, and what its signature says."""

    handler: Callable[..., Any]
    inputs: tuple[str, ...]
    least: int
    variadic: bool
    keywords: frozenset[str]
    required: frozenset[str]
    kinds: Mapping[str, Any]


OPERATORS: dict[str, Operator] = {}
"""Every operator that can be imported, by its name in the standard."""


def operator(*names: str) -> Callable[[Handler], Handler]:
    """Register a handler for the operators of these names."""

    def register(handler: Handler) -> Handler:
        parameters = inspect.signature(handler).parameters.values()
        inputs = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        keywords = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
        described = Operator(
            handler,
            inputs=tuple(p.name for p in inputs),
            least=sum(p.default is p.empty for p in inputs),
            variadic=any(p.kind is p.VAR_POSITIONAL for p in parameters),
            keywords=frozenset(p.name for p in keywords),
            required=frozenset(p.name for p in keywords if p.default is p.empty),
            kinds={p.name: p.annotation for p in parameters},
        )
        OPERATORS.update(dict.fromkeys(names, described))
        return handler

    return register


def fits(value: Any, annotation: Any) -> bool:
    """Whether the value of an attribute is of a type: a number, text, or a list of numbers."""
    if annotation is Any:  # as an input it would be a tensor: one number, several, or an array
        return not isinstance(value, str)
    if get_origin(annotation) in (Union, UnionType):
        return any(fits(value, one) for one in get_args(annotation) if one is not NoneType)
    if get_origin(annotation) is not None:  # Sequence[int]
        (kind,) = get_args(annotation)
        return isinstance(value, list) and all(isinstance(part, kind) for part in value)
    return isinstance(value, int | float if annotation is float else annotation)


# ----- the limit ---------------------------------------------------------------------------------

LIMIT = 2**28
"""How many elements one result may have unless the importer is told otherwise: 1 GiB of floats."""

_limit: ContextVar[int | None] = ContextVar("_limit", default=None)


@contextmanager
def limited(limit: int | None) -> Iterator[None]:
    """Inside, `room` refuses what is larger."""
    before = _limit.get()
    try:
        _limit.set(limit)
        yield
    finally:
        _limit.set(before)


def room(shape: Iterable[Any]) -> None:
    """Raise ValueError if a result of this shape has more elements than the model may make.

    A handler asks before it makes what may be larger than all of its inputs: a file of a hundred
    bytes can ask for an image of 10⁹ by 10⁹.
    """
    limit, shape = _limit.get(), tuple(shape)
    if limit is not None and math.prod(max(n, 0) for n in shape) > limit:
        raise ValueError(
            f"a result of shape {shape} has more than {limit:,} elements; if it is meant, import "
            "the model with a larger limit=, or with limit=None for none."
        )


def meet(*xs: Tensor | Sequence[int]) -> None:
    """`room` for the shape to which these tensors or shapes broadcast."""
    shapes = [x.shape if isinstance(x, Tensor) else x for x in xs]
    # Where lengths are neither equal nor 1, the function that is about to take them says so.
    ends = zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1)
    room([min(lengths) and max(lengths) for lengths in ends][::-1])


# ----- what handlers share -----------------------------------------------------------------------


def numbers(value: Any) -> list[Any]:
    """The numbers in an input that says what to do (axes, a shape); none where it is left out."""
    listed = value.tolist() if isinstance(value, Tensor) else value
    if listed is None:
        return []
    return list(listed) if isinstance(listed, list | tuple) else [listed]


def number(value: Any, otherwise: Any = None) -> Any:
    """The one number in such an input."""
    return numbers(value)[0] if value is not None else otherwise


def count(n: int, like: Tensor) -> Tensor:
    """0, 1, ..., n - 1 beside `like`."""
    room((n,))
    return tg.arange(n, device=like.device)


def along(axis: int, index: Any) -> tuple[Any, ...]:
    """The index that takes `index` along one axis and all of the axes before it."""
    return (*(slice(None),) * axis, index)


def beside(values: Tensor, axis: int, ndim: int) -> Tensor:
    """A vector along one of `ndim` axes."""
    return values.reshape([-1 if i == axis else 1 for i in range(ndim)])


def from_end(index: Tensor, n: int) -> Tensor:
    """Places in a length n, of which negative ones count from the end, as places from 0 on."""
    return tg.where(index < 0, index + n, index)


def padded(x: Tensor, pads: Pads, value: float = 0.0, mode: str = "constant") -> Tensor:
    """`x` with (before, after) put around its last axes."""
    if not any(map(any, pads)):
        return x
    around: Pads = [*[(0, 0)] * (x.ndim - len(pads)), *pads]
    room(n + before + after for n, (before, after) in zip(x.shape, around, strict=True))
    flat = [width for pair in reversed(pads) for width in pair]
    return tg.pad(x, flat, mode, value) if mode == "constant" else tg.pad(x, flat, mode)


def smallest(dtype: Any) -> Any:
    """The least value of a dtype."""
    if dtype.kind == "b":
        return False
    return -math.inf if dtype.kind == "f" else host.iinfo(dtype).min


def largest(dtype: Any) -> Any:
    """The greatest value of a dtype."""
    if dtype.kind == "b":
        return True
    return math.inf if dtype.kind == "f" else host.iinfo(dtype).max
