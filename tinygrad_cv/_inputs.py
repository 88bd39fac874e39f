"""One rule for what a public function takes where its signature says Tensor."""

import functools
import inspect
import operator
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice, repeat, zip_longest
from numbers import Real
from typing import Any, TypeVar, cast, get_args, get_origin

from tinygrad_cv import _public as table
from tinygrad_cv._tensor import Size, StrangerError, Tensor, as_input, as_number
from tinygrad_cv.backend import host

Marked = TypeVar("Marked", bound=Callable[..., Any])
Function = TypeVar("Function", bound=Callable[..., Any])


def public(*places: str, name: str = "", also: str = "") -> Callable[[Marked], Marked]:
    """The mark of a function of tensors (see `_public`), which takes what `takes_arrays` says."""
    mark = table.public(*places, name=name, also=also)
    return lambda function: mark(takes_arrays(function))


NOT_WHOLE = (float, bool, host.floating)
"""What is no size, place or count, though Python would take some of it for one."""


def takes_arrays(function: Function) -> Function:
    """The function, with arrays, lists and numbers as tensors where it is annotated `Tensor`.

    They go to the device of the first argument that is a tensor; see `as_input`. So do the parts of
    a `Sequence[Tensor]`. Where a parameter may be an integer as well (`int | Tensor`), numbers and
    lists stay what they are. A parameter annotated `int` takes no 2.5, no 2.0 and no True, one
    annotated `float` nothing that is no number; and both take NumPy's numbers as Python's. What
    `*shape` collects may be given by that name as well, as shape=(2, 3).

    >>> @takes_arrays
    ... def total(input: Tensor, weight: Tensor | None = None) -> Tensor:
    ...     return input.sum() if weight is None else (input * weight).sum()
    >>> total([1.0, 2.0]), total([1.0, 2.0], [3.0, 4.0])
    (tensor(3.), tensor(11.))
    """
    if hasattr(function, "takes_arrays"):  # marked twice, or made of an op, which sees to it itself
        return function
    signature = inspect.signature(function)
    parameters = signature.parameters.values()
    kinds = {p.name: kind for p in parameters if (kind := _kind(p.annotation))}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)  # it looks at names itself
    if not kinds and (open_ended or signature.return_annotation is not Tensor):
        return function
    names = [p.name for p in parameters]
    places = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    others = [kinds.get(p.name) for p in parameters if p.kind is p.VAR_POSITIONAL]
    numbers = {
        p.name: (i, p.annotation)
        for i, p in enumerate(parameters)
        if _is_whole(p.annotation) or _is_real(p.annotation)
    }
    plain = {p.name: _plain_types(p.annotation) for p in parameters}
    sizes = (p.name for p in parameters if p.kind is p.VAR_POSITIONAL and p.annotation is Any)
    collected = next(sizes, "")
    if collected:
        plain[collected] = NEVER
    plain_places: Iterable[set[type] | None] = [plain[p.name] for p in places]
    if any(others):
        plain_places = repeat(NEVER)

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        # Nearly always all is as it should be, and this is all that it costs.
        for value, types in zip(args, plain_places):  # noqa: B905  `strict` costs a third more
            if types is None or type(value) in types:
                continue
            if types is not SEVERAL or type(value) not in (list, tuple):
                break
            if not TENSORS.issuperset(map(type, value)):
                break
        else:
            if not options:
                return function(*args)
            for name, value in options.items():
                types = plain.get(name, NEVER)
                if types is not None and type(value) not in types:
                    break
            else:
                return function(*args, **options)
        return function(*converted(args, options), **options)

    def converted(args: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, ...]:
        """The arguments as the function takes them; those with a name in place."""
        refuse_out(function.__name__, options, names)
        for other in options.keys() - set(names):
            if (name := ALSO.get(other, "")) in names and name not in options:
                options[name] = options.pop(other)
        if collected in options:
            if len(args) > len(places):
                raise TypeError(
                    f"{function.__name__} got {collected} twice: by position and by name."
                )
            args += tuple(options.pop(p.name) for p in places[len(args) :] if p.name in options)
            args += (options.pop(collected),)
        for name in options:
            if name not in names and not open_ended:
                raise TypeError(
                    f"{function.__name__} takes ({', '.join(names)}); got the name {name}."
                )
        for name, (place, annotation) in numbers.items():
            if name not in options and place >= len(args):
                continue
            value = options[name] if name in options else args[place]
            real = _is_real(annotation)
            try:
                value = (_as_real if real else _as_whole)(value, annotation)
            except (TypeError, ValueError):
                raise TypeError(
                    f"{function.__name__}: {name} is a {'' if real else 'whole '}number; got "
                    f"{value!r}."
                ) from None
            if name in options:
                options[name] = value
            else:
                args = (*args[:place], value, *args[place + 1 :])
        seen = {type(x) for x in (*args, *options.values()) if isinstance(x, Tensor)}
        TENSORS.update(seen)
        OPTIONAL.update(seen)
        like = _first_tensor((*args, *options.values()))
        every = chain([kinds.get(p.name) for p in places], repeat(others[0]) if others else ())
        given = zip_longest(args, islice(every, len(args)))
        try:
            for name in kinds.keys() & options.keys():
                options[name] = kinds[name](options[name], like)
            return tuple([kind(value, like) if kind else value for value, kind in given])
        except StrangerError as error:
            raise StrangerError(f"{function.__name__}: {error}") from None

    call.takes_arrays = True  # type: ignore[attr-defined]
    return cast(Function, call)


ALSO = {
    "axis": "dim",
    "keepdims": "keepdim",
    "x": "input",
    "a": "input",
    "x1": "input",
    "x2": "other",
    "sections": "indices_or_sections",
    "indices": "indices_or_sections",
    "tensor_indices_or_sections": "indices_or_sections",
    "split_size": "split_size_or_sections",
}
"""Names that PyTorch takes for others: NumPy's, and the older ones of its own."""


def refuse_out(name: str, options: dict[str, Any], names: Iterable[str]) -> None:
    """Raise where memory for the result is given, to a function that takes none."""
    if "out" in options and "out" not in names and options.pop("out") is not None:
        raise TypeError(
            f"{name} takes no out=, on whose values no graph could rely: write y = {name}(...), or "
            f"y.copy_({name}(...)) to keep the memory of y."
        )


TENSORS: set[type] = {Tensor}
OPTIONAL: set[type] = {Tensor, type(None)}
"""The types of tensors seen so far: a type is found in a set sooner than by `isinstance`."""
SEVERAL: set[type] = set()
"""No type: of a sequence it is the parts that are looked at."""
NEVER: set[type] = set()
"""No type: a second look is always needed."""


def _plain_types(annotation: Any) -> set[type] | None:
    """The types that need no second look where this is the annotation; None for all."""
    parts = get_args(annotation) or (annotation,)
    if annotation is Tensor:
        return TENSORS
    if _kind(annotation) is _each:
        return SEVERAL
    if _kind(annotation) is _or_none:
        return OPTIONAL
    if _is_real(annotation):
        return {float, int, *(part for part in parts if part is type(None))}
    if not _is_whole(annotation):
        return None if Tensor not in parts else NEVER
    if annotation is int:
        return {int}
    return {int, tuple, list, Size, *(part for part in parts if part is type(None))}


def _is_whole(annotation: Any) -> bool:
    return int in (get_args(annotation) or (annotation,))


def _is_real(annotation: Any) -> bool:
    return annotation in (float, float | None)


def _as_real(value: Any, annotation: Any) -> Any:
    """A number as Python's; of a tensor the function says itself whether it takes it."""
    left_out = value is None and annotation is not float
    if not left_out and not isinstance(value, Real) and not hasattr(value, "dtype"):
        raise TypeError
    return as_number(value)


def _as_whole(value: Any, annotation: Any) -> Any:
    """An integer as Python's; what may stand here beside integers as it is.

    Of several in a list the function says itself how many it takes.
    """
    if isinstance(value, (*NOT_WHOLE, str)):
        raise TypeError
    if Tensor in get_args(annotation):
        return int(value) if isinstance(value, host.integer) else value
    several = isinstance(value, Iterable) and getattr(value, "ndim", 1) != 0
    if annotation is not int and (value is None or several):
        return value
    return operator.index(value)


def _kind(annotation: Any) -> Callable[[Any, Tensor | None], Any] | None:
    """How to make a value what this annotation says."""
    if annotation is Tensor:
        return as_input
    parts = get_args(annotation)
    if Tensor not in parts:
        return None
    if get_origin(annotation) is Sequence:
        return _each
    if Sequence[Tensor] in parts:
        return _one_or_each
    return _array if int in parts else _or_none


def _or_none(value: Any, like: Tensor | None) -> Any:
    return value if value is None else as_input(value, like)


def _array(value: Any, like: Tensor | None) -> Any:
    return as_input(value, like) if getattr(value, "ndim", 0) else value


def _each(values: Any, like: Tensor | None) -> Any:
    if not isinstance(values, Iterable) or isinstance(values, str | bytes | dict):
        raise StrangerError(f"expected a list of tensors; got {values!r}.")
    return [as_input(value, like) for value in values]


def _one_or_each(value: Any, like: Tensor | None) -> Any:
    several = isinstance(value, list | tuple) and any(hasattr(part, "dtype") for part in value)
    return _each(value, like) if several else as_input(value, like)


def _first_tensor(values: Iterable[Any]) -> Tensor | None:
    for value in values:
        if isinstance(value, Tensor):
            return value
        if isinstance(value, list | tuple) and (found := _first_tensor(value)) is not None:
            return found
    return None
