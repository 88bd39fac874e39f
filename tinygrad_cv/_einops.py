"""What the package einops is told of our tensors, when it is imported (see `__init__`)."""

from collections.abc import Sequence
from typing import Any

from einops._backends import AbstractBackend

import tinygrad_cv
from tinygrad_cv._tensor import Tensor


class Backend(AbstractBackend):
    """What einops asks of a library: it finds its subclasses by itself."""

    framework_name = "tinygrad_cv"

    def is_appropriate_type(self, tensor: Any) -> bool:
        return isinstance(tensor, Tensor)

    def is_float_type(self, x: Tensor) -> bool:
        return x.is_floating_point()

    def from_numpy(self, x: Any) -> Tensor:
        return tinygrad_cv.from_numpy(x)

    def to_numpy(self, x: Tensor) -> Any:
        return x.numpy(force=True)

    def arange(self, start: int, stop: int) -> Tensor:
        return tinygrad_cv.arange(start, stop)

    def transpose(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        return x.permute(axes)

    def reduce(self, x: Tensor, operation: str, axes: Sequence[int]) -> Tensor:
        if operation in ("min", "max"):
            operation = f"a{operation}"
        if operation == "prod":
            for axis in sorted(axes, reverse=True):
                x = x.prod(axis)
            return x
        reduced: Tensor = getattr(x, operation)(dim=tuple(axes))
        return reduced

    def stack_on_zeroth_dimension(self, tensors: list[Tensor]) -> Tensor:
        return tinygrad_cv.stack(tensors)

    def add_axis(self, x: Tensor, new_position: int) -> Tensor:
        return x.unsqueeze(new_position)

    def add_axes(self, x: Tensor, n_axes: int, pos2len: dict[int, int]) -> Tensor:
        for place in pos2len:
            x = x.unsqueeze(place)
        return x.expand([pos2len.get(place, -1) for place in range(n_axes)])

    def tile(self, x: Tensor, repeats: Sequence[int]) -> Tensor:
        return x.repeat(repeats)

    def concat(self, tensors: list[Tensor], axis: int) -> Tensor:
        return tinygrad_cv.cat(tensors, axis)

    def einsum(self, pattern: str, *x: Tensor) -> Tensor:
        return tinygrad_cv.einsum(pattern, *x)
