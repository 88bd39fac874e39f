"""Linear algebra under the names of `torch.linalg`."""

from typing import TYPE_CHECKING

from tinygrad_cv._inputs import public
from tinygrad_cv._public import LINALG, fill
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.ops.index import diagonal as _diagonal
from tinygrad_cv.ops.linalg import SvdResult
from tinygrad_cv.ops.linalg import cross as _cross
from tinygrad_cv.ops.linalg import powers as _powers
from tinygrad_cv.ops.linalg import svd as _svd


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


@public(LINALG)
def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> SvdResult:
    """A = U diag(S) Vh for A (..., m, n): U (..., m, m), S (..., k) and Vh (..., n, n).

    Without `full_matrices` U is (..., m, k) and Vh (..., k, n). The columns of U and the rows of Vh
    beyond k complete them to orthogonal matrices, in one of many ways, and no gradient flows
    through them, as in PyTorch. k is min(m, n), and S descends. The largest component of each
    column of U is positive. The gradient of U and Vh needs distinct singular values that are not 0
    (inf or nan otherwise, and large where it is close); `svdvals` has no such limit. There is one
    `driver`.

    >>> svd(Tensor([[3.0, 0.0], [0.0, -2.0]])).S
    tensor([3., 2.])
    """
    U, S, V = _svd(A, not full_matrices)
    return SvdResult(U, S, V.mT)


@public(LINALG)
def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """The powers 0 ... N - 1 of each element of vectors (..., n) as columns: (..., n, N).

    >>> vander(Tensor([2.0, 3.0]), N=3)
    tensor([[1., 2., 4.],
            [1., 3., 9.]])
    """
    return _powers(x if x.ndim else x.reshape(1), N, True)


if TYPE_CHECKING:
    from tinygrad_cv._stubs.linalg import *  # noqa: F403  generated
else:
    fill(globals(), LINALG)
