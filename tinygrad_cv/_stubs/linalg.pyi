"""Written by `python -m tests.stubs`."""

# ruff: noqa

from tinygrad_cv.ops.linalg import cholesky as cholesky
from tinygrad_cv.ops.linalg import cond as cond
from tinygrad_cv.ops.linalg import det as det
from tinygrad_cv.ops.linalg import eig as eig
from tinygrad_cv.ops.linalg import eigh as eigh
from tinygrad_cv.ops.linalg import eigvals as eigvals
from tinygrad_cv.ops.linalg import eigvalsh as eigvalsh
from tinygrad_cv.ops.linalg import inv as inv
from tinygrad_cv.ops.linalg import lstsq as lstsq
from tinygrad_cv.ops.linalg import matmul as matmul
from tinygrad_cv.ops.linalg import matrix_exp as matrix_exp
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
from tinygrad_cv.ops.linalg import svdvals as svdvals
from tinygrad_cv.ops.linalg import tensorinv as tensorinv
from tinygrad_cv.ops.linalg import tensorsolve as tensorsolve
from tinygrad_cv.ops.linalg import vecdot as vecdot
from tinygrad_cv.ops.linalg import vector_norm as vector_norm
from typing import Any
