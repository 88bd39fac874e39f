"""Small parameters are updated as one array: a step of many then costs about as much as of one.

What is remembered of them lies in one buffer for each name, and the tensors in `Optimizer.state`
are views of it. The parameters themselves stay where they are, so they and their gradients are
gathered for each step, and written back after it.
"""

from collections.abc import Iterator
from typing import Any

from tinygrad_cv._tensor import Tensor, wrap

SMALL = 1 << 14
"""With so many elements a parameter costs more to copy than to update by itself."""

State = dict[Any, dict[str, Any]]


def alike(
    params: list[Tensor],
    state: State,
    numbers: tuple[str, ...],
    arrays: tuple[str, ...],
    elementwise: bool,
) -> Iterator[list[Tensor]]:
    """The parameters in parts, each of one large one or of small ones that one update is right for.

    Those have the same device, dtype, and numbers remembered of them.
    """
    parts: dict[Any, list[Tensor]] = {}
    for parameter in params:
        if not elementwise or parameter._array.size > SMALL:
            yield [parameter]
            continue
        own = state[parameter]
        key = (
            parameter._backend,
            parameter._array.dtype,
            *[own.get(name) for name in numbers],
            *[own.get(name) is None for name in arrays],
        )
        parts.setdefault(key, []).append(parameter)
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
        self.arrays: dict[str, Any] = {}
        self.views: dict[str, list[Tensor]] = {}
        for name in names:
            if state[params[0]].get(name) is not None:
                self._keep(name, self._gathered([state[p][name]._array for p in params]), state)

    def _gathered(self, arrays: list[Any]) -> Any:
        return self.backend.concatenate([a.reshape(-1) for a in arrays])

    def _keep(self, name: str, array: Any, state: State) -> None:
        """Let an array hold what `name` says of all of them."""
        self.arrays[name] = array
        self.views[name] = [
            wrap(array[part].reshape(shape), self.backend) for part, shape in self.slices
        ]
        for parameter, view in zip(self.params, self.views[name], strict=True):
            state[parameter][name] = view

    def holds(self, state: State) -> bool:
        """Whether the buffers still hold it: nobody has put anything else into the state."""
        first = self.params[0]
        return (
            (first._backend, first._array.dtype) == (self.backend, self.dtype)
            and {n for n in self.names if state[first].get(n) is not None} == self.arrays.keys()
            and all(
                state[parameter].get(name) is view
                for name, views in self.views.items()
                for parameter, view in zip(self.params, views, strict=True)
            )
        )

    def parameters(self) -> Any:
        """The values of the parameters, one after the other."""
        return self._gathered([p._array for p in self.params]).astype(self.wide, copy=False)

    def gradients(self) -> Any:
        """Their gradients in the same order."""
        return self._gathered([p._grad._array for p in self.params]).astype(  # type: ignore[union-attr]
            self.wide, copy=False
        )

    def state(self, state: State, numbers: tuple[str, ...]) -> dict[str, Any]:
        """What is remembered, as one update sees it."""
        own = state[self.params[0]]
        return {name: own[name] for name in numbers if name in own} | self.arrays

    def write(self, p: Any, new: dict[str, Any], state: State) -> None:
        """Give the parameters their new values, and the state what an update made of it."""
        for parameter, (part, shape) in zip(self.params, self.slices, strict=True):
            parameter._array[...] = p[part].reshape(shape)
            parameter._changed()
        for name, value in new.items():
            if name not in self.arrays and hasattr(value, "strides"):
                self._keep(name, value, state)
            elif name not in self.arrays:
                for parameter in self.params:
                    state[parameter][name] = value
