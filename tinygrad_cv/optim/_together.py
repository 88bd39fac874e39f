"""Small parameters are updated as one array: a step of many then costs about as much as of one.

What is remembered of them lies in one buffer for each name, and the tensors in `Optimizer.state`
are views of it. The parameters themselves stay where they are, so they and their gradients are
gathered for each step, and written back after it.
"""

from collections.abc import Iterator
from typing import Any

from tinygrad_cv._tensor import Tensor, wrap

SMALL = 1 << 12
"""With more elements a parameter costs more to copy than to update by itself."""

MOST = 1 << 15
"""How many elements are joined: more would leave the cache."""

State = dict[Any, dict[str, Any]]


def alike(
    params: list[Tensor], state: State, numbers: tuple[str, ...], elementwise: bool
) -> Iterator[list[Tensor]]:
    """The parameters in parts, each of one large one or of small ones that one update is right for.

    Those have the same device, dtype, and numbers remembered of them. Where nothing is remembered
    an update is as short as the copies that joining takes.
    """
    parts: dict[Any, list[Tensor]] = {}
    sizes: dict[Any, int] = {}
    for parameter in params:
        array, own = parameter._array, state.get(parameter)
        if not elementwise or not own or array.size > SMALL:
            yield [parameter]
            continue
        key = (parameter._backend, array.dtype, *own, *[own.get(name) for name in numbers])
        if key in parts and sizes[key] + array.size <= MOST:
            parts[key].append(parameter)
            sizes[key] += array.size
        else:
            if key in parts:
                yield parts[key]
            parts[key], sizes[key] = [parameter], array.size
    yield from parts.values()


class Together:
    """Several small parameters, and the buffers of what is remembered of them."""

    def __init__(self, params: list[Tensor], state: State, names: tuple[str, ...]) -> None:
        self.params, self.names = params, names
        self.backend = params[0]._backend
        self.dtype = params[0]._array.dtype
        self.wide = "float32" if self.dtype == "float16" else self.dtype
        self.slices, end = [], 0
        for parameter in params:
            start, end = end, end + parameter._array.size
            self.slices.append((slice(start, end), parameter._array.shape))
        self.own = [state[parameter] for parameter in params]
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
        if {n for n in self.names if self.own[0].get(n) is not None} != self.buffers.keys():
            return False
        for parameter, own, (_, shape) in zip(self.params, self.own, self.slices, strict=True):
            if state.get(parameter) is not own or parameter._array.shape != shape:
                return False
        for name, parts in self.parts.items():
            for own, part in zip(self.own, parts, strict=True):
                if getattr(own.get(name), "_array", None) is not part:
                    return False
        return True

    def agrees(self, numbers: tuple[str, ...]) -> bool:
        """Whether the same numbers are remembered of all, so that one update is right for them."""
        first = [self.own[0].get(name) for name in numbers]
        return all([own.get(name) for name in numbers] == first for own in self.own[1:])

    def parameters(self) -> Any:
        """The values of the parameters, one after the other."""
        return self._gathered([p._array for p in self.params]).astype(self.wide, copy=False)

    def gradients(self, gradients: list[Any]) -> Any:
        """Their gradients, one after the other."""
        return self._gathered(gradients).astype(self.wide, copy=False)

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
