"""Modules and parameters in a row or by name: what a module holds instead of lists and dicts.

They are indexed and changed like a list or a dict, and what is in them is registered: in the
`state_dict` it goes by its index or key.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import index as as_index
from typing import Any

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn.module import Module, _addindent, lines_of
from tinygrad_cv.nn.parameter import Parameter, is_lazy


class _Held(Module):
    """What the containers share: members by name, which they keep in order."""

    def _members(self) -> dict[str, Any]:
        """The members by name, None included."""
        return self._modules.copy()

    def _taken(self, key: Any, value: Any) -> Any:
        """A new member, as it is kept."""
        if not (value is None or isinstance(value, Module)):
            raise TypeError(
                f"{type(self).__name__} takes Module objects, such as nn.ReLU(), one argument "
                f"each; argument {key} is a {type(value).__name__}, {value!r}."
            )
        return value

    def _put_member(self, name: str, value: Any) -> None:
        """Hold a member that was taken."""
        self._register_anew(name, "module", value)

    def _drop_member(self, name: str) -> None:
        """Let go of a member."""
        delattr(self, name)

    def _become(self, members: Mapping[str, Any]) -> None:
        """Hold these members, in this order."""
        members = {name: self._taken(name, value) for name, value in members.items()}
        for name in [*self._members()]:
            self._drop_member(name)
        for name, value in members.items():
            self._put_member(name, value)

    def __len__(self) -> int:
        return len(self._members())


class _Values(_Held):
    """Members that are parameters, or anything that is no tensor."""

    _value_names: tuple[str, ...] = ()

    def _members(self) -> dict[str, Any]:
        return {name: vars(self)[name] for name in self._value_names}

    def _taken(self, key: Any, value: Any) -> Any:
        if isinstance(value, Tensor) and not isinstance(value, Parameter):
            return Parameter(value, value.is_floating_point())
        return value

    def _put_member(self, name: str, value: Any) -> None:
        if name in vars(self) and name not in self._value_names:
            raise KeyError(f"the module has an attribute {name!r} already; delete it first.")
        if name in self._kinds and not isinstance(value, Parameter):
            super().__delattr__(name)  # it was a parameter
        if isinstance(value, Parameter | Module):
            self._register_as(
                name, "parameter" if isinstance(value, Parameter) else "module", value
            )
        elif hasattr(type(self), name):
            raise KeyError(f"{name!r} is an attribute of every {type(self).__name__}.")
        else:
            vars(self)[name] = value
        if name not in self._value_names:
            self._value_names += (name,)

    def _drop_member(self, name: str) -> None:
        delattr(self, name)
        self._value_names = tuple(other for other in self._value_names if other != name)

    def extra_repr(self) -> str:
        """One line for each value."""
        return "\n".join(f"  ({k}): {_described(v)}" for k, v in self._members().items())

    def __repr__(self) -> str:
        return lines_of(self._get_name(), self.extra_repr().split("\n") if len(self) else [], [])

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        raise RuntimeError(f"a {type(self).__name__} holds values, and is not called.")


def _described(value: Any) -> str:
    """What the repr of a list of parameters says of one."""
    if not isinstance(value, Tensor):
        return f"Object of type: {type(value).__name__}"
    size = "unknown" if is_lazy(value) else "x".join(map(str, value.shape))
    kind = "Parameter" if isinstance(value, Parameter) else "Tensor"
    place = "" if value.is_cpu else f" ({value.device})"
    return f"{kind} containing: [{value.dtype} of size {size}{place}]"


class _Row(_Held):
    """Members by position."""

    def __iter__(self) -> Iterator[Any]:
        return iter(self._members().values())

    def _name_at(self, position: Any) -> str:
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
            chosen: Any = type(self).__new__(type(self))  # a subclass may ask for arguments
            chosen._renumber([*self][index])
            return chosen
        return self._members()[self._name_at(index)]

    def __setitem__(self, index: int, value: Any) -> None:
        name = self._name_at(index)
        self._put_member(name, self._taken(name, value))

    def __delitem__(self, index: int | slice) -> None:
        values = [*self]
        del values[index if isinstance(index, slice) else as_index(index)]
        self._renumber(values)

    def __add__(self, other: Iterable[Any]) -> Any:
        joined: Any = type(self).__new__(type(self))
        joined._renumber([*self, *other])
        return joined

    def __iadd__(self, other: Iterable[Any]) -> Any:
        return self.extend(other)

    def __mul__(self, times: int) -> Any:
        repeated: Any = type(self).__new__(type(self))
        repeated._renumber([*self] * as_index(times))
        return repeated

    def __imul__(self, times: int) -> Any:
        self._renumber([*self] * as_index(times))
        return self

    __rmul__ = __mul__

    def append(self, value: Any) -> Any:
        """Add a member at the end."""
        return self.extend([value])

    def extend(self, values: Iterable[Any]) -> Any:
        """Add members at the end; all of them, or none if one is not what belongs here."""
        values = [*values] if values is self else values
        if isinstance(values, Tensor) or not isinstance(values, Iterable):
            raise TypeError(f"extend takes a list of members; got a {type(values).__name__}.")
        number = len(self)
        for value in [self._taken(number + i, value) for i, value in enumerate(values)]:
            while str(number) in vars(self):  # a part of a Sequential keeps its names
                number += 1
            self._put_member(str(number), value)
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
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            self._become(modules[0])
        else:
            self._renumber(modules)

    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, slice):
            return super().__getitem__(index)
        chosen = type(self).__new__(type(self))
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
    >>> layers
    ModuleList(
      (0-2): 3 x Linear(in_features=2, out_features=2, bias=True)
    )
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(() if modules is None else modules)

    def __repr__(self) -> str:
        lines = []
        for shown, alike in groupby(enumerate(map(repr, self)), lambda pair: pair[1]):
            places = [i for i, _ in alike]
            what = f"({places[0]}): {shown}"
            if len(places) > 1:
                what = f"({places[0]}-{places[-1]}): {len(places)} x {shown}"
            lines.append(_addindent(what, 2))
        return lines_of(self._get_name(), [], lines)


@public(NN)
class ParameterList(_Row, _Values):
    """A list of parameters; tensors become parameters, and what else there is stays as it is.

    >>> from tinygrad_cv import nn, ones
    >>> weights = nn.ParameterList([nn.Parameter([1.0]), ones(2), "a note"])
    >>> len(weights), list(weights.state_dict())
    (3, ['0', '1'])
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self.extend(() if values is None else values)


class _Named(_Held):
    """Members by key."""

    def __iter__(self) -> Iterator[str]:
        return iter(self._members())

    def __contains__(self, key: object) -> bool:
        return key in self._members()

    def __getitem__(self, key: str) -> Any:
        return self._members()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._put_member(key, self._taken(key, value))

    def __delitem__(self, key: str) -> None:
        self[key]  # KeyError for what is no member
        self._drop_member(key)

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
        if isinstance(values, Module) and not isinstance(values, _Named):
            raise TypeError(f"{type(self).__name__} takes a dict, or pairs of a key and a member.")
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

    def __init__(self, modules: Any = None) -> None:
        super().__init__()
        self.update(() if modules is None else modules)


@public(NN)
class ParameterDict(_Named, _Values):
    """Parameters by name, as in a dict; tensors become parameters, and what else there is stays.

    Of a plain dict the members come in the order of their keys, as in PyTorch: that is their order
    in the state. Pairs and an OrderedDict keep theirs.

    >>> from tinygrad_cv import nn, ones
    >>> scales = nn.ParameterDict({"b": ones(1), "a": ones(2)})
    >>> scales["c"] = nn.Parameter([2.0])
    >>> list(scales.state_dict())
    ['a', 'b', 'c']
    """

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        self.update(() if parameters is None else parameters)

    def update(self, values: Any) -> None:
        """Add the members of a dict, or of pairs, or replace those of the same keys."""
        if isinstance(values, Mapping) and not isinstance(values, OrderedDict):
            values = sorted(values.items(), key=lambda pair: pair[0])
        super().update(values)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._value_names)

    def __or__(self, other: Any) -> "ParameterDict":
        return self.copy().__ior__(other)

    def __ror__(self, other: Any) -> "ParameterDict":
        joined = ParameterDict(other)
        joined.update(self)
        return joined

    def __ior__(self, other: Any) -> "ParameterDict":
        self.update(other)
        return self

    def copy(self) -> "ParameterDict":
        """Another one with the same members."""
        return ParameterDict([*self.items()])

    def get(self, key: str, default: Any = None) -> Any:
        """The member of a key, or `default`."""
        return self._members().get(key, default)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The member of a key, which is `default` if there was none."""
        if key not in self:
            self[key] = default
        return self[key]

    def popitem(self) -> tuple[str, Any]:
        """Remove and return the last pair of a key and its member."""
        key = [*self][-1]
        return key, self.pop(key)

    def fromkeys(self, keys: Iterable[str], default: Any = None) -> "ParameterDict":
        """A new one in which all these keys have the member `default`."""
        return ParameterDict((key, default) for key in keys)
