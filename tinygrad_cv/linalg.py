"""Linear algebra under the names of `torch.linalg`."""

from tinygrad_cv._inputs import takes_arrays
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.ops.index import diagonal as _diagonal
from tinygrad_cv.ops.linalg import cholesky as cholesky
from tinygrad_cv.ops.linalg import cond as cond
from tinygrad_cv.ops.linalg import cross as _cross
from tinygrad_cv.ops.linalg import det as det
from tinygrad_cv.ops.linalg import eig as eig
from tinygrad_cv.ops.linalg import eigh as eigh
from tinygrad_cv.ops.linalg import eigvals as eigvals
from tinygrad_cv.ops.linalg import eigvalsh as eigvalsh
from tinygrad_cv.ops.linalg import inv as inv
from tinygrad_cv.ops.linalg import lstsq as lstsq
from tinygrad_cv.ops.linalg import matmul as matmul
from tinygrad_cv.ops.linalg import matrix_norm as matrix_norm
from tinygrad_cv.ops.linalg import matrix_power as matrix_power
from tinygrad_cv.ops.linalg import matrix_rank as matrix_rank
from tinygrad_cv.ops.linalg import multi_dot as multi_dot
from tinygrad_cv.ops.linalg import norm as norm
from tinygrad_cv.ops.linalg import pinv as pinv
from tinygrad_cv.ops.linalg import qr as qr
from tinygrad_cv.ops.linalg import slogdet as slogdet
from tinygrad_cv.ops.linalg import solve as solve
from tinygrad_cv.ops.linalg import solve_triangular as solve_triangular
from tinygrad_cv.ops.linalg import svd as svd
from tinygrad_cv.ops.linalg import svdvals as svdvals
from tinygrad_cv.ops.linalg import vecdot as vecdot
from tinygrad_cv.ops.linalg import vector_norm as vector_norm


@takes_arrays
def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross product of vectors along `dim`, an axis of length 3; the other axes broadcast.

    >>> cross(Tensor([0.0, 1.0, 0.0]), Tensor([0.0, 0.0, 1.0]))
    tensor([1., 0., 0.])
    """
    return _cross(input, other, dim)


@takes_arrays
def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonal of each matrix (..., n, m), a new last axis.

    >>> diagonal(Tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([1., 4.])
    """
    return _diagonal(A, offset, dim1, dim2)
