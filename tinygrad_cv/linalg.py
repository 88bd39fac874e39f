"""Linear algebra under the names of `torch.linalg`."""

from tinygrad_cv.ops.linalg import cholesky as cholesky
from tinygrad_cv.ops.linalg import det as det
from tinygrad_cv.ops.linalg import eigh as eigh
from tinygrad_cv.ops.linalg import eigvalsh as eigvalsh
from tinygrad_cv.ops.linalg import inv as inv
from tinygrad_cv.ops.linalg import matmul as matmul
from tinygrad_cv.ops.linalg import matrix_power as matrix_power
from tinygrad_cv.ops.linalg import pinv as pinv
from tinygrad_cv.ops.linalg import slogdet as slogdet
from tinygrad_cv.ops.linalg import solve as solve
from tinygrad_cv.ops.linalg import svd as svd
from tinygrad_cv.ops.linalg import svdvals as svdvals
from tinygrad_cv.ops.reduce import norm as norm
