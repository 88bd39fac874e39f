"""Tuples, lists and dicts, in one another, with tensors and other values in them."""

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tinygrad_cv._tensor import Tensor


def mapped(function: Callable[..., Any], value: Any, *more: Any) -> Any:
    """The value with `function` done to what is in its tuples, lists and dicts.

    `more` are trees of the same shape; the function gets what is at the same place in each.

    >>> mapped(lambda x, y: x + y, {"a": (1, [2])}, {"a": (10, [20])})
    {'a': (11, [22])}
    """
    if isinstance(value, tuple):
        parts = [mapped(function, *at) for at in zip(value, *more, strict=True)]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, list):
        places = enumerate(zip(value, *more, strict=True))
        return _filled(value, ((k, mapped(function, *at)) for k, at in places))
    if isinstance(value, dict):
        return _filled(
            value,
            ((k, mapped(function, part, *(m[k] for m in more))) for k, part in value.items()),
        )
    return function(value, *more)


def _filled(value: Any, items: Iterable[tuple[Any, Any]]) -> Any:
    """A list or dict of the same kind with other values."""
    new = copy.copy(value)
    for key, part in items:
        new[key] = part
    return new


def leaves(value: Any) -> Iterator[Any]:
    """What is in its tuples, lists and dicts, in their order.

    >>> list(leaves([1, {"a": (2, None)}]))
    [1, 2, None]
    """
    if isinstance(value, tuple | list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from leaves(part)
    else:
        yield value


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in it, in their order."""
    return (leaf for leaf in leaves(value) if isinstance(leaf, Tensor))


def spread(prefix: Any, value: Any, what: str) -> Any:
    """A tree like `value`, of what `prefix` says of each place: of a whole subtree in one word.

    >>> spread((0, None), ([1, 2], {"a": 3}), "in_dims")
    ([0, 0], {'a': None})
    """
    if prefix is None or isinstance(prefix, int):
        return mapped(lambda _: prefix, value)
    kinds = (tuple, list, dict)
    kind = next((k for k in kinds if isinstance(prefix, k) and isinstance(value, k)), None)
    if (
        kind is None
        or len(prefix) != len(value)
        or (kind is dict and prefix.keys() != value.keys())
    ):
        raise ValueError(
            f"{what} is an int, None, or has the structure of what it is said of; got {prefix!r} "
            f"for a {type(value).__name__}" + (f" of {len(value)}." if kind else ".")
        )
    if kind is dict:
        return {k: spread(prefix[k], part, what) for k, part in value.items()}
    parts = [spread(p, v, what) for p, v in zip(prefix, value, strict=True)]
    return parts if kind is list else tuple(parts)
