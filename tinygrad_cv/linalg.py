"""Linear algebra under the names of `torch.linalg`."""

from typing import TYPE_CHECKING

from tinygrad_cv._public import LINALG, fill, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.ops.index import diagonal as _diagonal
from tinygrad_cv.ops.linalg import cross as _cross


@public(LINALG)
def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross product of vectors along `dim`, an axis of length 3; the other axes broadcast.

    >>> cross(Tensor([0.0, 1.0, 0.0]), Tensor([0.0, 0.0, 1.0]))
    tensor([1., 0., 0.])
    """
    return _cross(input, other, dim)


@public(LINALG)
def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonal of each matrix (..., n, m), a new last axis.

    >>> diagonal(Tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([1., 4.])
    """
    return _diagonal(A, offset, dim1, dim2)


if TYPE_CHECKING:
    from tinygrad_cv._stubs.linalg import *  # noqa: F403  generated
else:
    fill(globals(), LINALG)
