"""The arguments of a call: arrays and other values, alone or in tuples, lists, dicts and slices."""

from collections.abc import Callable, Iterator
from typing import Any


def exchanged(function: Callable[[Any], Any], tree: Any) -> Any:
    """The same arguments with `function(value)` in place of each value.

    What has names of its own, such as a NamedTuple, is one value.

    >>> exchanged(str, (1, [2], {"at": slice(3, None)}))
    ('1', ['2'], {'at': slice('3', 'None', 'None')})
    """
    kind = type(tree)
    if kind is tuple or kind is list:
        return kind([exchanged(function, part) for part in tree])
    if kind is dict:
        return {name: exchanged(function, part) for name, part in tree.items()}
    if kind is slice:
        return slice(*[exchanged(function, part) for part in (tree.start, tree.stop, tree.step)])
    return function(tree)


def each(tree: Any) -> Iterator[Any]:
    """The values in them, in their order.

    >>> list(each((1, [2], {"at": slice(3, None)})))
    [1, 2, 3, None, None]
    """
    kind = type(tree)
    if kind is slice:
        yield from (tree.start, tree.stop, tree.step)
    elif kind is tuple or kind is list or kind is dict:
        for part in tree.values() if kind is dict else tree:
            yield from each(part)
    else:
        yield tree
