"""Parameters are updated together: a step of many then costs about as much as of one.

A kernel that takes lists finds each parameter where it is (`Listed`). Elsewhere small ones become
one array (`Joined`): what is remembered of them lies in one buffer for each name, and the tensors
in `Optimizer.state` are views of it. The parameters themselves stay where they are, so they and
their gradients are gathered for each step, and written back after it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tinygrad_cv._tensor import Tensor, wrap
from tinygrad_cv.backend.base import Lasting

SMALL = 1 << 12
"""With more elements a parameter costs more to copy than to update by itself."""

MOST = 1 << 15
"""How many elements are joined: more would leave the cache."""

State = dict[Any, dict[str, Any]]

ENOUGH = 1 << 8
"""With fewer elements in all a kernel for lists is not worth its import."""

NOTHING: dict[str, Any] = {}
"""What is remembered where nothing is."""


class Alike(NamedTuple):
    """Parameters that one update is right for, and how: by itself, joined, or in a list."""

    params: list[Tensor]
    kind: "type[Joined | Listed] | None" = None


def alike(
    params: list[Tensor],
    state: State,
    numbers: tuple[str, ...],
    elementwise: bool,
    lists: Callable[[Tensor], bool],
) -> Iterator[Alike]:
    """The parameters in parts, each of one large one, of small ones, or of many in a list.

    Those of a part have the same device, dtype, and numbers remembered of them. What is listed is
    for a kernel that finds each where it is. Elsewhere those that are small are joined; where
    nothing is remembered an update is as short as the copies that joining takes.
    """
    parts: dict[Any, list[Tensor]] = {}
    rest = []
    enough = sum(parameter._array.size for parameter in params) >= ENOUGH
    for parameter in params:
        if enough and lists(parameter):
            own = state.get(parameter, NOTHING)
            key = (parameter._backend, *own, *[own.get(name) for name in numbers])
            parts.setdefault(key, []).append(parameter)
        else:
            rest.append(parameter)
    for several in parts.values():
        if sum(parameter._array.size for parameter in several) >= ENOUGH:
            yield Alike(several, Listed)
        else:
            rest += several
    parts = {}
    sizes: dict[Any, int] = {}
    for parameter in rest:
        array, own = parameter._array, state.get(parameter, NOTHING)
        if not elementwise or not own or array.size > SMALL:
            yield Alike([parameter])
            continue
        key = (parameter._backend, array.dtype, *own, *[own.get(name) for name in numbers])
        if key in parts and sizes[key] + array.size <= MOST:
            parts[key].append(parameter)
            sizes[key] += array.size
        else:
            if key in parts:
                yield _small(parts[key])
            parts[key], sizes[key] = [parameter], array.size
    yield from map(_small, parts.values())


def _small(params: list[Tensor]) -> Alike:
    return Alike(params, Joined if len(params) > 1 else None)


class Together:
    """Several parameters that are updated together, and what is remembered of them."""

    def __init__(self, params: list[Tensor], state: State, names: tuple[str, ...]) -> None:
        self.params, self.names = params, names
        self.backend = params[0]._backend
        self.own: list[dict[str, Any]] = [state.get(parameter, NOTHING) for parameter in params]

    def agrees(self, numbers: tuple[str, ...]) -> bool:
        """Whether the same numbers are remembered of all, so that one update is right for them."""
        first = [self.own[0].get(name) for name in numbers]
        return all([own.get(name) for name in numbers] == first for own in self.own[1:])

    def has(self, parts: Mapping[str, Sequence[Any]]) -> bool:
        """Whether these are the arrays that are remembered, by their names."""
        if {n for n in self.names if self.own[0].get(n) is not None} != parts.keys():
            return False
        for name, arrays in parts.items():
            for own, array in zip(self.own, arrays, strict=True):
                if getattr(own.get(name), "_array", None) is not array:
                    return False
        return True


class Listed(Together):
    """Parameters that a kernel finds where they are."""

    def __init__(self, params: list[Tensor], state: State, names: tuple[str, ...]) -> None:
        super().__init__(params, state, names)
        self.arrays = Lasting(parameter._array for parameter in params)
        self.parts = {
            name: Lasting(own[name]._array for own in self.own)
            for name in names
            if self.own[0].get(name) is not None
        }

    def holds(self, state: State) -> bool:
        """Whether it is still so: nobody has put anything else into the state or a parameter."""
        for parameter, array, own in zip(self.params, self.arrays, self.own, strict=True):
            if parameter._array is not array or state.get(parameter, NOTHING) is not own:
                return False
        return self.has(self.parts)

    def parameters(self) -> Any:
        """Their arrays."""
        return self.arrays

    def gradients(self, gradients: list[Any], sign: int) -> Any:
        """Their gradients times ±1."""
        return gradients if sign > 0 else [-g for g in gradients]

    def state(self, numbers: tuple[str, ...]) -> dict[str, Any]:
        """What is remembered, as one update sees it."""
        own = self.own[0]
        return {name: own[name] for name in numbers if name in own} | self.parts

    def write(self, p: Any, new: dict[str, Any]) -> None:
        """Note what an update made of the numbers that are remembered."""
        numbers = {name: value for name, value in new.items() if name not in self.parts}
        for parameter, own in zip(self.params, self.own, strict=True):
            parameter._changed()
            if numbers:
                own.update(numbers)


class Joined(Together):
    """Several small parameters as one array, and the buffers of what is remembered of them."""

    def __init__(self, params: list[Tensor], state: State, names: tuple[str, ...]) -> None:
        super().__init__(params, state, names)
        self.dtype = params[0]._array.dtype
        self.wide = "float32" if self.dtype == "float16" else self.dtype
        self.slices, end = [], 0
        for parameter in params:
            start, end = end, end + parameter._array.size
            self.slices.append((slice(start, end), parameter._array.shape))
        self.buffers: dict[str, Any] = {}
        self.parts: dict[str, list[Any]] = {}
        for name in names:
            if self.own[0].get(name) is not None:
                self._keep(name, self._gathered([own[name]._array for own in self.own]))

    def _gathered(self, arrays: list[Any]) -> Any:
        return self.backend.concatenate([a.reshape(-1) for a in arrays])

    def _keep(self, name: str, buffer: Any) -> None:
        """Let a buffer hold what `name` says of all of them."""
        self.buffers[name] = buffer
        self.parts[name] = [buffer[place].reshape(shape) for place, shape in self.slices]
        for own, part in zip(self.own, self.parts[name], strict=True):
            own[name] = wrap(part, self.backend)

    def holds(self, state: State) -> bool:
        """Whether it is still so: nobody has put anything else into the state or a parameter."""
        first = self.params[0]
        if (first._backend, first._array.dtype) != (self.backend, self.dtype):
            return False
        for parameter, own, (_, shape) in zip(self.params, self.own, self.slices, strict=True):
            if state.get(parameter) is not own or parameter._array.shape != shape:
                return False
        return self.has(self.parts)

    def parameters(self) -> Any:
        """The values of the parameters, one after the other."""
        return self._gathered([p._array for p in self.params]).astype(self.wide, copy=False)

    def gradients(self, gradients: list[Any], sign: int) -> Any:
        """Their gradients times ±1, one after the other."""
        g = self._gathered(gradients).astype(self.wide, copy=False)
        return g if sign > 0 else -g

    def state(self, numbers: tuple[str, ...]) -> dict[str, Any]:
        """What is remembered, as one update sees it."""
        own = self.own[0]
        return {name: own[name] for name in numbers if name in own} | self.buffers

    def write(self, p: Any, new: dict[str, Any]) -> None:
        """Give the parameters their new values, and the state what an update made of it."""
        for parameter, (place, shape) in zip(self.params, self.slices, strict=True):
            parameter._array[...] = p[place].reshape(shape)
            parameter._changed()
        for name, value in new.items():
            if name not in self.buffers and hasattr(value, "strides"):
                self._keep(name, value)
            elif name not in self.buffers:
                for own in self.own:
                    own[name] = value
