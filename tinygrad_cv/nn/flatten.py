"""Axes joined and taken apart."""

from collections.abc import Sequence

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn.module import Module
from tinygrad_cv.ops.shape import flatten, unflatten


@public(NN)
class Flatten(Module):
    """The axes from start_dim to end_dim joined: (N, C, H, W) -> (N, C·H·W).

    >>> from tinygrad_cv import ones
    >>> Flatten()(ones(2, 3, 4)).shape
    (2, 12)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        return flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


@public(NN)
class Unflatten(Module):
    """One axis taken apart into several; a -1 among their lengths is worked out.

    >>> from tinygrad_cv import ones
    >>> Unflatten(1, (3, -1))(ones(2, 12)).shape
    (2, 3, 4)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        if not isinstance(dim, int) or isinstance(dim, bool):
            raise TypeError(
                f"Unflatten: dim is the number of an axis, names are not there; {dim!r}."
            )
        if not isinstance(unflattened_size, tuple | list) or not all(
            isinstance(n, int) and not isinstance(n, bool) for n in unflattened_size
        ):
            raise TypeError(
                f"Unflatten: unflattened_size is a tuple of integers; got {unflattened_size!r}."
            )
        self.dim, self.unflattened_size = dim, unflattened_size

    def forward(self, input: Tensor) -> Tensor:
        return unflatten(input, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
