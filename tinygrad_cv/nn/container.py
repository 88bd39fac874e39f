"""Modules and parameters in a row or by name: what a module holds instead of lists and dicts.

They are indexed and changed like a list or a dict, and what is in them is registered: in the
`state_dict` it goes by its index or key.
"""

from collections.abc import Iterable, Iterator, Mapping
from operator import index as as_index
from typing import Any, ClassVar

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn.module import Module
from tinygrad_cv.nn.parameter import Parameter


class _Held(Module):
    """What the containers share: their members, which are all of one kind."""

    kind: ClassVar[str] = "module"

    def _members(self) -> dict[str, Any]:
        return self._own(self.kind)

    def _taken(self, key: Any, value: Any) -> Any:
        """A new member, as it is kept."""
        if self.kind == "parameter":
            return value if isinstance(value, Parameter) else Parameter(value)
        if not isinstance(value, Module):
            raise TypeError(
                f"{type(self).__name__} takes Module objects, such as nn.ReLU(), one argument "
                f"each; argument {key} is a {type(value).__name__}, {value!r}."
            )
        return value

    def _become(self, members: Mapping[str, Any]) -> None:
        """Hold these members, in this order."""
        members = {name: self._taken(name, value) for name, value in members.items()}
        for name in self._members():
            delattr(self, name)
        for name, value in members.items():
            self._register_anew(name, self.kind, value)

    def __len__(self) -> int:
        return len(self._members())

    def extra_repr(self) -> str:
        """The shapes of the parameters."""
        shapes = self._members().items() if self.kind == "parameter" else ()
        return ", ".join(f"{name}: {parameter.shape}" for name, parameter in shapes)


class _Row(_Held):
    """Members by position."""

    def __iter__(self) -> Iterator[Any]:
        return iter(self._members().values())

    def _name(self, position: Any) -> str:
        """The name of the member at a position, which may count from the end."""
        names = [*self._members()]
        try:
            return names[as_index(position)]
        except IndexError:
            raise IndexError(
                f"index {position} in a {type(self).__name__} of {len(names)}."
            ) from None

    def _renumber(self, values: Iterable[Any]) -> None:
        self._become({str(i): value for i, value in enumerate(values)})

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            chosen = type(self)()
            chosen._renumber([*self][index])
            return chosen
        return self._members()[self._name(index)]

    def __setitem__(self, index: int, value: Any) -> None:
        name = self._name(index)
        setattr(self, name, self._taken(name, value))

    def __delitem__(self, index: int | slice) -> None:
        values = [*self]
        del values[index if isinstance(index, slice) else as_index(index)]
        self._renumber(values)

    def __add__(self, other: Iterable[Any]) -> Any:
        joined = type(self)()
        joined._renumber([*self, *other])
        return joined

    def __iadd__(self, other: Iterable[Any]) -> Any:
        return self.extend(other)

    def append(self, value: Any) -> Any:
        """Add a member at the end."""
        return self.extend([value])

    def extend(self, values: Iterable[Any]) -> Any:
        """Add members at the end; all of them, or none if one is not what belongs here."""
        if isinstance(values, Tensor) or not isinstance(values, Iterable):
            raise TypeError(f"extend takes a list of members; got a {type(values).__name__}.")
        number = len(self)
        for value in [self._taken(number + i, value) for i, value in enumerate(values)]:
            while str(number) in self._kinds:  # a part of a Sequential keeps its names
                number += 1
            self._register_anew(str(number), self.kind, value)
        return self

    def insert(self, index: int, value: Any) -> Any:
        """Add a member before the one at `index`."""
        values = [*self]
        values.insert(as_index(index), value)
        self._renumber(values)
        return self

    def pop(self, key: int | slice = -1) -> Any:
        """Remove and return a member."""
        value = self[key]
        del self[key]
        return value


@public(NN)
class Sequential(_Row):
    """Modules applied one after the other; or a dict of them, which gives them names.

    >>> from tinygrad_cv import nn
    >>> nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (1): ReLU()
    )
    >>> nn.Sequential({"act": nn.ReLU()}).act
    ReLU()
    """

    def __init__(self, *modules: Any) -> None:
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            self._become(modules[0])
        else:
            self._renumber(modules)

    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, slice):
            return super().__getitem__(index)
        chosen = Sequential()
        chosen._become(dict([*self._members().items()][index]))
        return chosen

    def forward(self, x: Any) -> Any:
        for module in self:
            x = module(x)
        return x


@public(NN)
class ModuleList(_Row):
    """A list of modules, which are called one by one.

    >>> from tinygrad_cv import nn
    >>> layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])
    >>> [name for name, _ in layers[:1].named_parameters()], len(layers)
    (['0.weight', '0.bias'], 3)
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.extend(modules)


@public(NN)
class ParameterList(_Row):
    """A list of parameters; other tensors and arrays become parameters.

    >>> from tinygrad_cv import nn
    >>> len(nn.ParameterList([nn.Parameter([1.0]), [2.0]]))
    2
    """

    kind = "parameter"

    def __init__(self, values: Iterable[Any] = ()) -> None:
        self.extend(values)


class _Named(_Held):
    """Members by key."""

    def __init__(self, values: Any = ()) -> None:
        self.update(values)

    def __iter__(self) -> Iterator[str]:
        return iter(self._members())

    def __contains__(self, key: object) -> bool:
        return key in self._members()

    def __getitem__(self, key: str) -> Any:
        return self._members()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._register_anew(key, self.kind, self._taken(key, value))

    def __delitem__(self, key: str) -> None:
        self[key]  # KeyError for what is no member
        delattr(self, key)

    def keys(self) -> Any:
        """The keys, in order of registration."""
        return self._members().keys()

    def values(self) -> Any:
        """The members."""
        return self._members().values()

    def items(self) -> Any:
        """The pairs of a key and its member."""
        return self._members().items()

    def update(self, values: Any) -> None:
        """Add the members of a dict, or of pairs, or replace those of the same keys."""
        for key, value in dict(values.items() if isinstance(values, _Named) else values).items():
            self[key] = value

    def pop(self, key: str) -> Any:
        """Remove and return the member of a key."""
        value = self[key]
        del self[key]
        return value

    def clear(self) -> None:
        """Remove all members."""
        self._become({})


@public(NN)
class ModuleDict(_Named):
    """Modules by name, as in a dict.

    >>> from tinygrad_cv import nn
    >>> acts = nn.ModuleDict({"relu": nn.ReLU(), "tanh": nn.Tanh()})
    >>> acts["tanh"], list(acts)
    (Tanh(), ['relu', 'tanh'])
    """


@public(NN)
class ParameterDict(_Named):
    """Parameters by name, as in a dict; other tensors and arrays become parameters.

    >>> from tinygrad_cv import nn
    >>> scales = nn.ParameterDict({"a": [1.0]})
    >>> scales["b"] = nn.Parameter([2.0])
    >>> list(scales.state_dict())
    ['a', 'b']
    """

    kind = "parameter"
